//! Reading tapes and comparing what is on them (`formats/tape.md#reading-back`).

use std::path::Path;

use super::catalog::{Catalog, Whole};
use super::digest::Digester;
use super::drive::{Drive, Opened};
use super::members::{self, Checker};
use super::ring::{Go, Pace, Piece, Stream};
use super::survey::{self, Kind, MAX_CATALOG};
use super::ustar;
use crate::Result;
use crate::archive::Monitor;
use crate::format::container::{CATALOG, Label as ContainerLabel, MemberName};
use crate::format::tape::Label;

/// Bytes of memory between tape and hash.
const MEMORY: u64 = 64 << 20;

const STREAM: Stream = Stream {
    memory: MEMORY,
    heed_warning: false,
};

/// How a tape file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileState {
    /// Right.
    Sound,
    /// Whole, but nothing says which SHA-256 it should have.
    Unknown(Whole),
    /// A container that a run which was cut off has left: it counts for nothing.
    CutOff,
    /// Damaged: what is wrong.
    Damaged(String),
}

/// A tape file that was read.
#[derive(Debug)]
pub struct Checked {
    /// Its number.
    pub number: u32,
    /// What it is.
    pub kind: Kind,
    /// How it is.
    pub state: FileState,
    /// How fast it was read.
    pub pace: Pace,
}

/// Reads all of the tape in the drive, whose label was read, and compares it with the
/// newest of its catalogs that can be read, and with `catalog` if there is one.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) if the drive fails;
/// [`Error::Interrupted`](crate::Error::Interrupted).
pub fn verify(
    drive: &mut dyn Drive,
    label: &Label,
    catalog: Option<&Catalog>,
    monitor: &Monitor,
    report: &mut dyn FnMut(&Checked),
) -> Result<Option<Catalog>> {
    let entries = survey::entries(drive)?;
    let mut damaged = Vec::new();
    let newest = survey::last_catalog(drive, &entries, &mut |number, why| {
        damaged.push((number, why));
    })?;
    let mut known = newest;
    if let (Some(known), Some(catalog)) = (&mut known, catalog)
        && known.set == catalog.set
    {
        known.absorb(catalog);
    }
    let known = known.or_else(|| catalog.cloned());
    for entry in entries {
        monitor.check()?;
        let mut pace = Pace::default();
        let state = match &entry.kind {
            Kind::Label => FileState::Sound,
            Kind::Catalog => match survey::catalog(drive, entry.number)? {
                Ok(_) => FileState::Sound,
                Err(why) => FileState::Damaged(why),
            },
            Kind::Other => FileState::Damaged("not written by dtar".into()),
            Kind::Unreadable => {
                let number = entry.number;
                let expected = known.as_ref().and_then(|catalog| {
                    let mut places = catalog.places.iter();
                    places.find(|place| place.tape == label.id && place.file == number)
                });
                FileState::Damaged(match expected {
                    Some(there) => format!(
                        "its beginning cannot be read; container {} is there",
                        there.container
                    ),
                    None => "its beginning cannot be read".into(),
                })
            }
            Kind::Container(container) => {
                let (state, read) =
                    check_container(drive, entry.number, container, known.as_ref(), monitor)?;
                pace = read;
                let counts = known.as_ref().is_some_and(|catalog| {
                    let mut places = catalog.places_of(container.number);
                    places.any(|place| place.tape == label.id && place.file == entry.number)
                });
                match state {
                    FileState::CutOff if counts => FileState::Damaged("it is cut off".into()),
                    state => state,
                }
            }
        };
        report(&Checked {
            number: entry.number,
            kind: entry.kind,
            state,
            pace,
        });
    }
    Ok(known)
}

fn check_container(
    drive: &mut dyn Drive,
    number: u32,
    label: &ContainerLabel,
    catalog: Option<&Catalog>,
    monitor: &Monitor,
) -> Result<(FileState, Pace)> {
    let known = catalog
        .filter(|catalog| catalog.set == label.set)
        .and_then(|catalog| catalog.containers.get(&label.number));
    let expected = known.and_then(|container| container.whole);
    let members = known.and_then(|container| container.members.as_deref());
    let mut checker = Checker::new(members.unwrap_or_default());
    let read = read_file(drive, number, monitor, Some(&mut checker))?;
    let Some(read) = read else {
        return Ok((
            FileState::Damaged("it cannot be read".into()),
            Pace::default(),
        ));
    };
    let pace = read.pace;
    if read.bad.is_empty() && read.end.is_none() {
        return Ok((FileState::CutOff, pace));
    }
    let whole = read.digester.finish(expected.map(|whole| whole.length));
    let state = match (whole, expected) {
        _ if !read.bad.is_empty() => FileState::Damaged(format!(
            "{}{}",
            read.bad,
            named(&checker.finish(), members.is_some())
        )),
        (Some(found), Some(expected)) if found == expected => FileState::Sound,
        (Some(found), None) => FileState::Unknown(found),
        (None, _) => FileState::CutOff,
        (Some(_), Some(_)) => FileState::Damaged(format!(
            "its SHA-256 is not that in the catalog{}",
            named(&checker.finish(), members.is_some())
        )),
    };
    Ok((state, pace))
}

fn named(damaged: &[&MemberName], known: bool) -> String {
    match (damaged.is_empty(), known) {
        (true, true) => "; no brick in it is damaged".into(),
        (true, false) => String::new(),
        (false, _) => format!("; damaged in it: {}", members::list(damaged)),
    }
}

/// A tape file that was read to its end.
struct FileRead {
    digester: Digester,
    /// What could not be read; empty if all could.
    bad: String,
    end: Option<u64>,
    pace: Pace,
}

/// Reads a tape file to its end; none if it is not there.
fn read_file(
    drive: &mut dyn Drive,
    number: u32,
    monitor: &Monitor,
    mut checker: Option<&mut Checker<'_>>,
) -> Result<Option<FileRead>> {
    if drive.open(number)? == Opened::End {
        return Ok(None);
    }
    let mut digester = Digester::default();
    let (mut at, mut bad_blocks, mut first_bad) = (0_u64, 0_u64, None);
    let pace = STREAM.read(drive, monitor, |piece| {
        match piece {
            Piece::Data(bytes) => {
                digester.update(bytes);
                if let Some(checker) = checker.as_deref_mut() {
                    checker.update(bytes);
                }
                at += bytes.len() as u64;
            }
            Piece::Bad { length, error } => {
                first_bad.get_or_insert_with(|| (at, error.to_string()));
                bad_blocks += 1;
                if let Some(checker) = checker.as_deref_mut() {
                    checker.miss(length);
                }
                at += length;
            }
        }
        Ok(Go::On)
    })?;
    let bad = first_bad.map_or_else(String::new, |(offset, error)| {
        let blocks = if bad_blocks == 1 {
            "a block".to_owned()
        } else {
            format!("{bad_blocks} blocks")
        };
        format!("{blocks} cannot be read, the first at byte {offset}: {error}")
    });
    let end = digester.end();
    Ok(Some(FileRead {
        digester,
        bad,
        end,
        pace,
    }))
}

/// Reads a container's tape file, and says what is wrong with it, if anything is.
pub(super) fn digest_file(
    drive: &mut dyn Drive,
    number: u32,
    expected: Option<Whole>,
    monitor: &Monitor,
) -> Result<(Option<String>, Pace)> {
    let Some(read) = read_file(drive, number, monitor, None)? else {
        return Ok((Some("it is not on the tape".into()), Pace::default()));
    };
    let pace = read.pace;
    if !read.bad.is_empty() {
        return Ok((Some(read.bad), pace));
    }
    let found = read.digester.finish(expected.map(|whole| whole.length));
    let wrong = (found.is_none() || found != expected)
        .then(|| "what is on the tape is not what was written".to_owned());
    Ok((wrong, pace))
}

/// Reads a container's tape file from front to back: its length and SHA-256, and the
/// catalog at its end if that is sound. Or says why the container is not whole.
pub(super) fn read_own_catalog(
    drive: &mut dyn Drive,
    number: u32,
    monitor: &Monitor,
) -> Result<std::result::Result<(Whole, Option<Catalog>), String>> {
    let Some(read) = read_file(drive, number, monitor, None)? else {
        return Ok(Err("it is not on the tape".into()));
    };
    if !read.bad.is_empty() {
        return Ok(Err(read.bad));
    }
    let Some(end) = read.end else {
        return Ok(Err(
            "it has no catalog at its end: begun by a run that was cut off".into(),
        ));
    };
    let Some(whole) = read.digester.finish(None) else {
        return Ok(Err("it is cut off".into()));
    };
    // A place that is not that of a catalog: what is between would have to be held in memory.
    if whole.length.saturating_sub(end) > MAX_CATALOG as u64 {
        return Ok(Ok((whole, None)));
    }
    if drive.open(number)? == Opened::End {
        return Ok(Err("it cannot be found a second time".into()));
    }
    let skipped = drive.skip(end)?;
    let from = usize::try_from(end.saturating_sub(skipped)).unwrap_or(usize::MAX);
    let mut text = Vec::new();
    STREAM.read(drive, monitor, |piece| {
        if let Piece::Data(bytes) = piece {
            text.extend_from_slice(bytes);
        }
        let is_enough = text.len() as u64 >= whole.length.saturating_sub(skipped);
        Ok(if is_enough { Go::Stop } else { Go::On })
    })?;
    let tail = text.get(from..).unwrap_or_default();
    let catalog = ustar::members(tail)
        .next()
        .filter(|(name, _)| name == CATALOG)
        .and_then(|(_, text)| Catalog::parse(text, Path::new("the catalog")).ok())
        .map(|(catalog, _)| catalog);
    Ok(Ok((whole, catalog)))
}
