//! What is on the tape in a drive: label, containers, catalogs.

use std::path::Path;

use super::catalog::Catalog;
use super::drive::{Drive, Opened, Read};
use super::ustar;
use crate::error::Exit;
use crate::format::container::{CATALOG, LABEL, Label as ContainerLabel};
use crate::format::tape::{LABEL_MEMBER, Label, MAX_BLOCK, MAX_LABEL, TapeFileKind};
use crate::format::wire::Fault;
use crate::{Error, Result};

/// The longest catalog that is read from a tape: that of some 300 TB of bricks of 64 MiB.
pub(super) const MAX_CATALOG: usize = 1 << 30;

/// What a tape file is, as its first bytes say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The tape's label.
    Label,
    /// A container; whether it is whole is not known.
    Container(ContainerLabel),
    /// A catalog.
    Catalog,
    /// Its first bytes cannot be read.
    Unreadable,
    /// Something that dtar did not write.
    Other,
}

/// A tape file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub number: u32,
    /// What it is.
    pub kind: Kind,
}

/// What the first file of a tape says.
#[derive(Debug)]
pub enum Labelled {
    /// Nothing at all is on the tape.
    Blank,
    /// It is a tape of dtar.
    Yes(Label),
    /// It holds something, but no label of dtar that can be read: why not.
    No(String),
}

/// Reads the label of the tape in the drive, which is loaded.
///
/// # Errors
/// [`Error::Io`] if the drive fails; [`Error::Decode`] if a newer dtar wrote the label.
pub fn label(drive: &mut dyn Drive) -> Result<Labelled> {
    match drive.open(0)? {
        Opened::End => {
            let foreign = drive.foreign()?;
            return Ok(foreign.map_or(Labelled::Blank, |name| {
                Labelled::No(format!("it holds {name:?}"))
            }));
        }
        Opened::Unreadable => {
            return Ok(Labelled::No("its first block cannot be read".into()));
        }
        Opened::File(_) => {}
    }
    let start = read_start(drive, MAX_LABEL + ustar::BLOCK)?;
    let Some((_, text)) = ustar::members(&start).find(|(name, _)| *name == LABEL_MEMBER) else {
        return Ok(Labelled::No(
            "its first file is not the label of a tape of dtar".into(),
        ));
    };
    match Label::parse(text) {
        Ok(label) => {
            drive.set_block(label.block);
            Ok(Labelled::Yes(label))
        }
        Err(error) if matches!(error.fault, Fault::Version { .. }) => {
            Err(Error::decode(drive.name(), 0)(error))
        }
        Err(error) => Ok(Labelled::No(format!("{error}"))),
    }
}

/// The first bytes of the open file: as many as asked for, up to a block more, or all that
/// can be read before the first fault.
fn read_start(drive: &mut dyn Drive, wanted: usize) -> Result<Vec<u8>> {
    let mut start = Vec::new();
    let mut buffer = vec![0; buffer_length(drive)];
    while start.len() < wanted {
        match drive.read(&mut buffer)? {
            Read::Data(length) => {
                start.extend_from_slice(buffer.get(..length).unwrap_or_default());
            }
            Read::Bad { .. } | Read::End => break,
        }
    }
    Ok(start)
}

/// As long as any block that the drive may meet before it knows the label.
fn buffer_length(drive: &dyn Drive) -> usize {
    match drive.block() {
        0 => 64 << 10,
        _ => MAX_BLOCK as usize,
    }
}

/// Goes over all tape files, and says what they are. The drive then stands where the next
/// new file begins: behind the last one.
///
/// # Errors
/// [`Error::Io`] if the drive fails.
pub fn entries(drive: &mut dyn Drive) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for number in 0.. {
        let kind = match drive.open(number)? {
            Opened::End => break,
            Opened::Unreadable => Kind::Unreadable,
            Opened::File(name) => {
                let start = read_start(drive, MAX_LABEL + ustar::BLOCK)?;
                kind(&start, name.map(|file| file.kind))
            }
        };
        entries.push(Entry { number, kind });
    }
    Ok(entries)
}

fn kind(start: &[u8], name: Option<TapeFileKind>) -> Kind {
    if start.is_empty() {
        return Kind::Unreadable;
    }
    let first = ustar::members(start).next();
    match first.as_ref().map(|(name, body)| (name.as_str(), body)) {
        Some((LABEL_MEMBER, _)) => Kind::Label,
        Some((CATALOG, _)) => Kind::Catalog,
        Some((LABEL, text)) => ContainerLabel::decode(text).map_or(Kind::Other, Kind::Container),
        // A catalog is longer than what was read here.
        _ if ustar::parse(start).is_some_and(|(name, _)| name == CATALOG) => Kind::Catalog,
        _ if name.is_some() => Kind::Unreadable,
        _ => Kind::Other,
    }
}

/// Reads the catalog in the tape file of this number; says why, if it is damaged.
///
/// # Errors
/// [`Error::Io`] if the drive fails.
pub fn catalog(drive: &mut dyn Drive, number: u32) -> Result<std::result::Result<Catalog, String>> {
    if !matches!(drive.open(number)?, Opened::File(_)) {
        return Ok(Err("it cannot be read".into()));
    }
    let head = read_start(drive, ustar::BLOCK)?;
    let header = ustar::parse(&head).filter(|(name, _)| name == CATALOG);
    let Some((_, size)) = header else {
        return Ok(Err("its header cannot be read".into()));
    };
    let size = usize::try_from(size)
        .ok()
        .filter(|size| *size <= MAX_CATALOG);
    let Some(size) = size else {
        return Ok(Err("it says that it is longer than any catalog".into()));
    };
    let mut text = head;
    let mut buffer = vec![0; buffer_length(drive)];
    while text.len() < ustar::BLOCK + size {
        match drive.read(&mut buffer)? {
            Read::Data(length) => text.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            Read::Bad { error, .. } => return Ok(Err(format!("a block cannot be read: {error}"))),
            Read::End => return Ok(Err("it is cut off".into())),
        }
    }
    let body = text
        .get(ustar::BLOCK..ustar::BLOCK + size)
        .unwrap_or_default();
    Ok(Catalog::parse(body, Path::new("the catalog"))
        .map(|(catalog, _)| catalog)
        .map_err(|error| error.to_string()))
}

/// Reads the last catalog of a set on the tape that is not damaged. Says of the files behind
/// it that are, or may be, catalogs why they are not used.
///
/// # Errors
/// [`Error::Io`] if the drive fails.
pub fn last_catalog(
    drive: &mut dyn Drive,
    entries: &[Entry],
    damaged: &mut dyn FnMut(u32, String),
) -> Result<Option<Catalog>> {
    for entry in entries.iter().rev() {
        match entry.kind {
            Kind::Catalog => match catalog(drive, entry.number)? {
                Ok(catalog) => return Ok(Some(catalog)),
                Err(why) => damaged(entry.number, why),
            },
            Kind::Unreadable | Kind::Other => {
                damaged(entry.number, "its beginning cannot be read".into());
            }
            Kind::Label | Kind::Container(_) => {}
        }
    }
    Ok(None)
}

/// An error about the tape in a drive.
pub(super) fn refused(drive: &dyn Drive, message: impl Into<String>) -> Error {
    Error::Refused {
        path: drive.name().into(),
        message: message.into(),
        exit: Exit::Failed,
    }
}
