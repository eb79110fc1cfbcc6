//! Putting containers on tapes (`formats/tape.md`).

use std::collections::{BTreeSet, VecDeque};
use std::io::Write;
use std::path::Path;

use super::catalog::{Catalog, Place, Sha256Sum, Whole};
use super::change::{Changer, Obtained, Wanted, obtain};
use super::drive::{Drive, WriteFault};
use super::label::{LabelOptions, draw_id, is_bare, write_label, wrong_tape};
use super::plan::Room;
use super::ring::{Pace, Stream, WriteFailure};
use super::room::free;
use super::source::{Containers, Next, Planned};
use super::survey::{self, Entry, Kind, Labelled};
use super::{ustar, verify};
use crate::archive::Monitor;
use crate::format::container::CATALOG;
use crate::format::tape::{
    ContainerName, Label, Owner, SUMS_MEMBER, TapeFile, TapeFileKind, TapeName, put_sum,
};
use crate::id::TapeId;
use crate::{Error, Result};

/// So many tapes in a row may turn out to be of no use before the run gives up.
const MOST_USELESS: u32 = 5;

/// How to write.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// Bytes that a tape holds, if the drive is not to be asked.
    pub capacity: Option<u64>,
    /// Bytes kept free on each tape besides the catalog's.
    pub reserve: u64,
    /// Bytes of memory between source and tape.
    pub memory: u64,
    /// Whether to read back what was written.
    pub verify: bool,
    /// How blank tapes are labelled.
    pub label: LabelOptions,
    /// Whether the last tape stays in the drive.
    pub keep_loaded: bool,
}

/// What happens in a run.
#[derive(Debug)]
pub enum Event<'a> {
    /// A tape is in the drive and will be written.
    Tape {
        /// Its label.
        label: &'a Label,
        /// Whether it was labelled just now.
        new: bool,
        /// Bytes free on it.
        free: u64,
    },
    /// A container is being written.
    Container {
        /// Its number.
        number: u32,
        /// Its length.
        length: u64,
        /// The number of the tape file.
        file: u32,
    },
    /// It is on the tape.
    Written(u32, Pace),
    /// It is not, and will be written again; or this copy is damaged.
    Void(u32, String),
    /// A container that a run which was cut off has left on the tape is whole, and counts.
    Adopted(u32),
    /// The catalog could not be put on this tape.
    NoCatalog(String),
    /// The tape is read back.
    ReadingBack,
    /// What was written to the tape is right, and remembered.
    Done(&'a TapeSummary),
}

/// What a run has written to one tape.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TapeSummary {
    /// The tape's name.
    pub name: String,
    /// The containers that are on it and right.
    pub containers: Vec<u32>,
    /// How fast they were written.
    pub written: Pace,
    /// How fast they were read back.
    pub read: Pace,
}

/// What a run has written.
#[derive(Debug, Default)]
pub struct WriteSummary {
    /// The tapes, also those of no use.
    pub tapes: Vec<TapeSummary>,
    /// Why a container could not be had: the run ended with it.
    pub source_error: Option<Error>,
}

/// A tape in the drive, ready to be written.
struct Ready {
    label: Label,
    /// The number of the next tape file.
    next: u32,
    /// Bytes free behind the last one.
    free: u64,
    new: bool,
    /// What earlier runs have left on it, and nobody remembers.
    adopted: Vec<Copy>,
}

/// What a run has at hand besides the drive.
struct Run<'a> {
    containers: &'a mut dyn Containers,
    options: &'a WriteOptions,
    monitor: &'a Monitor,
    report: &'a mut dyn FnMut(Event<'_>),
    /// Tapes that this run is done with.
    used_up: BTreeSet<TapeId>,
    names: VecDeque<TapeName>,
}

/// A container that this run has put on the tape in the drive.
struct Copy {
    number: u32,
    file: u32,
    whole: Whole,
    /// Whether it was read back.
    checked: bool,
}

/// Writes all containers that are on no tape yet, to as many tapes as that takes.
///
/// # Errors
/// If there are no more tapes, or five in a row are of no use: what was read back before
/// stays remembered, and the next run goes on there. [`Error::Interrupted`].
pub fn write(
    containers: &mut dyn Containers,
    drive: &mut dyn Drive,
    changer: &mut dyn Changer,
    options: &WriteOptions,
    monitor: &Monitor,
    report: &mut dyn FnMut(Event<'_>),
) -> Result<WriteSummary> {
    let mut summary = WriteSummary::default();
    let mut run = Run {
        containers,
        options,
        monitor,
        report,
        used_up: BTreeSet::new(),
        names: options.label.names.clone().into(),
    };
    let (mut first, mut useless) = (true, 0);
    while !run.is_done()? {
        let obtained = obtain(drive, changer, &Wanted::Room, first, |drive, found| {
            run.accept(drive, found)
        })?;
        let ready = match obtained {
            Obtained::NoMore(None) => {
                let why = "there are containers left, but no more tapes; run the command again \
                           when there are";
                return Err(survey::refused(drive, why));
            }
            obtained => obtained.or_refuse(drive, &Wanted::Room)?,
        };
        first = false;
        run.used_up.insert(ready.label.id);
        let (tape, source_error) = run.use_tape(drive, ready)?;
        useless = if tape.containers.is_empty() {
            useless + 1
        } else {
            0
        };
        summary.tapes.push(tape);
        let ends = source_error.is_some() || run.is_done()?;
        if !(ends && options.keep_loaded) {
            drive.unload()?;
        }
        if source_error.is_some() {
            summary.source_error = source_error;
            break;
        }
        if useless >= MOST_USELESS {
            return Err(survey::refused(
                drive,
                format!(
                    "nothing could be written to {MOST_USELESS} tapes in a row: clean the drive, \
                     or try another one; what is on earlier tapes is right"
                ),
            ));
        }
    }
    Ok(summary)
}

impl Run<'_> {
    fn is_done(&mut self) -> Result<bool> {
        Ok(matches!(self.containers.next(u64::MAX)?, Next::Nothing))
    }

    const fn room(&self, block: u32) -> Room {
        Room {
            block,
            reserve: self.options.reserve,
        }
    }

    fn owner(&self) -> Owner {
        Owner {
            set: self.containers.set(),
            store: self.containers.store(),
        }
    }

    /// Whether the tape in the drive can be written; labels it if need be.
    fn accept(&mut self, drive: &mut dyn Drive, found: Labelled) -> Result<Ready> {
        let owner = self.owner();
        let ready = match found {
            Labelled::Yes(label) if self.used_up.contains(&label.id) => {
                let message = format!(
                    "{} is done with in this run: put in another tape",
                    label.name
                );
                return Err(survey::refused(drive, message));
            }
            Labelled::Yes(label) if label.owner == Some(owner) => {
                let entries = survey::entries(drive)?;
                let free = self.free(drive)?;
                Ready {
                    next: u32::try_from(entries.len()).unwrap_or(u32::MAX),
                    free,
                    new: false,
                    adopted: self.adopt(drive, &label, &entries)?,
                    label,
                }
            }
            Labelled::Yes(label) if label.owner.is_none() && is_bare(drive)? => {
                self.label(drive, Some(label))?
            }
            Labelled::Blank => self.label(drive, None)?,
            found if self.options.label.overwrite => {
                let name = match found {
                    Labelled::Yes(label) => Some(label),
                    _ => None,
                };
                // A tape of another set keeps its sticker, and is another tape from now on.
                let id = draw_id(drive)?;
                self.label(drive, name.map(|label| Label { id, ..label }))?
            }
            found => return Err(wrong_tape(drive, &found)),
        };
        self.check_room(drive, &ready)?;
        (self.report)(Event::Tape {
            label: &ready.label,
            new: ready.new,
            free: ready.free,
        });
        Ok(ready)
    }

    fn check_room(&mut self, drive: &dyn Drive, ready: &Ready) -> Result<()> {
        let room = self.room(ready.label.block);
        let left = room.for_container(ready.free, self.containers.catalog_bound());
        match self.containers.next(left)? {
            _ if !ready.adopted.is_empty() => Ok(()),
            Next::NoRoom { .. } if ready.new => {
                Err(super::plan::too_long(self.containers, ready.free, room)?)
            }
            Next::NoRoom { length, .. } => Err(survey::refused(
                drive,
                format!(
                    "{} is full: {left} bytes are free besides the catalog, and the next \
                     container has {length}; put in another tape",
                    ready.label.name
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Takes in containers on a tape of the set that nobody remembers: a run that was cut
    /// off wrote them. Those that are whole need not be written again.
    fn adopt(
        &mut self,
        drive: &mut dyn Drive,
        label: &Label,
        entries: &[Entry],
    ) -> Result<Vec<Copy>> {
        let mut copies = Vec::new();
        for entry in entries {
            let Kind::Container(container) = &entry.kind else {
                continue;
            };
            if container.set != self.containers.set() {
                continue;
            }
            let (monitor, number) = (self.monitor, entry.number);
            let mut find = || {
                let found = verify::read_own_catalog(drive, number, monitor)?;
                Ok(found.ok().map(|(whole, _)| whole))
            };
            let Some(whole) = self.containers.adopt(container.number, &mut find)? else {
                continue;
            };
            let place = Place {
                container: container.number,
                tape: label.id,
                file: number,
                name: label.name.clone(),
            };
            self.containers.written(whole, place)?;
            (self.report)(Event::Adopted(container.number));
            copies.push(Copy {
                number: container.number,
                file: number,
                whole,
                checked: true,
            });
        }
        Ok(copies)
    }

    /// Labels the tape in the drive; one that has a label already keeps name and id.
    fn label(&mut self, drive: &mut dyn Drive, before: Option<Label>) -> Result<Ready> {
        let options = &self.options.label;
        let is_named = before.is_some();
        let (id, name) = match before {
            Some(label) => (label.id, label.name),
            None => (draw_id(drive)?, self.next_name(drive)?),
        };
        let label = Label {
            id,
            name,
            owner: Some(self.owner()),
            block: options.block,
            time: options.time,
        };
        write_label(drive, &label, self.monitor)?;
        if !is_named {
            // A tape that does not take its label leaves the name to the next one.
            self.names.pop_front();
        }
        Ok(Ready {
            free: self.free(drive)?,
            label,
            next: 1,
            new: true,
            adopted: Vec::new(),
        })
    }

    /// The next name that was given, or one made of the tape's time and set.
    fn next_name(&self, drive: &dyn Drive) -> Result<TapeName> {
        if let Some(name) = self.names.front() {
            return Ok(name.clone());
        }
        if !self.options.label.names.is_empty() {
            let message = "a blank tape, and no name left for it: give one more with --names, \
                           or put in a tape that is labelled";
            return Err(survey::refused(drive, message));
        }
        let prefix = crate::format::tape::SetPrefix::from(self.containers.set());
        let mut random = [0; 2];
        getrandom::fill(&mut random).map_err(|error| {
            Error::io("draw a name for", drive.name())(std::io::Error::other(error))
        })?;
        let [high, low] = random;
        format!("{prefix}-{high:02X}{low:02X}")
            .parse()
            .map_err(|error| Error::Internal(format!("{error}")))
    }

    fn free(&self, drive: &mut dyn Drive) -> Result<u64> {
        free(drive, self.options.capacity)
    }

    /// Fills a tape, ends it with a catalog, reads back what was written. Returns what is on
    /// it, and why the source failed, if it did.
    fn use_tape(
        &mut self,
        drive: &mut dyn Drive,
        mut ready: Ready,
    ) -> Result<(TapeSummary, Option<Error>)> {
        let mut tape = TapeSummary {
            name: ready.label.name.to_string(),
            ..TapeSummary::default()
        };
        let mut copies = std::mem::take(&mut ready.adopted);
        let source_error = self.fill(drive, &mut ready, &mut copies, &mut tape);
        let source_error = match source_error {
            Ok(source_error) => source_error,
            Err(error) => {
                // The drive itself failed: nothing on this tape counts.
                for copy in copies.drain(..) {
                    self.void(&copy, ready.label.id, &error.to_string());
                }
                return match error {
                    Error::Interrupted => Err(Error::Interrupted),
                    _ => Ok((tape, None)),
                };
            }
        };
        if copies.is_empty() {
            // A mark ends what was begun and given up.
            let _ = drive.finish();
            return Ok((tape, source_error));
        }
        self.end_tape(drive, &ready)?;
        if self.options.verify {
            (self.report)(Event::ReadingBack);
            tape.read = self.read_back(drive, &ready.label, &mut copies)?;
        }
        self.containers.confirm(ready.label.id)?;
        tape.containers = copies.iter().map(|copy| copy.number).collect();
        (self.report)(Event::Done(&tape));
        Ok((tape, source_error))
    }

    /// Writes containers until the tape is full, or fails, or nothing is left.
    fn fill(
        &mut self,
        drive: &mut dyn Drive,
        ready: &mut Ready,
        copies: &mut Vec<Copy>,
        tape: &mut TapeSummary,
    ) -> Result<Option<Error>> {
        let room = self.room(ready.label.block);
        loop {
            self.monitor.check()?;
            let left = room.for_container(ready.free, self.containers.catalog_bound());
            let Next::Container(mut container) = self.containers.next(left)? else {
                return Ok(None);
            };
            let (number, file) = (container.number(), ready.next);
            (self.report)(Event::Container {
                number,
                length: container.length(),
                file,
            });
            match self.write_one(drive, file, container.as_mut()) {
                Ok((whole, speed)) => {
                    let place = Place {
                        container: number,
                        tape: ready.label.id,
                        file,
                        name: ready.label.name.clone(),
                    };
                    self.containers.written(whole, place)?;
                    copies.push(Copy {
                        number,
                        file,
                        whole,
                        checked: false,
                    });
                    ready.free = ready.free.saturating_sub(room.taken(whole.length));
                    ready.next += 1;
                    tape.written.add(speed);
                    (self.report)(Event::Written(number, speed));
                }
                Err(WriteFailure::Source(error)) => {
                    drive.abandon()?;
                    return Ok(Some(error));
                }
                Err(WriteFailure::Tape(fault)) => {
                    let why = describe(&fault);
                    (self.report)(Event::Void(number, why));
                    drive.abandon()?;
                    return Ok(None);
                }
            }
        }
    }

    fn write_one(
        &mut self,
        drive: &mut dyn Drive,
        number: u32,
        container: &mut dyn Planned,
    ) -> std::result::Result<(Whole, Pace), WriteFailure> {
        let name = ContainerName {
            set: self.containers.set().into(),
            number: container.number(),
        };
        let kind = TapeFileKind::Container(name);
        let stream = Stream {
            memory: self.options.memory,
            heed_warning: true,
        };
        create(drive, TapeFile { number, kind })?;
        let length = container.length();
        let written = stream.write(drive, self.monitor, |out| container.write(out))?;
        if written.0.length != length {
            let message = format!("container {} was to have {length} bytes", name.number);
            return Err(WriteFailure::Source(Error::Internal(message)));
        }
        Ok(written)
    }

    /// Puts the catalog behind the last container, if it fits.
    fn end_tape(&mut self, drive: &mut dyn Drive, ready: &Ready) -> Result<()> {
        let tar = self.catalog_tar()?;
        let kind = TapeFileKind::Catalog(self.containers.set().into());
        let file = TapeFile {
            number: ready.next,
            kind,
        };
        let result = create(drive, file).and_then(|()| {
            // What is short still fits behind the early warning.
            let stream = Stream {
                memory: 0,
                heed_warning: false,
            };
            stream.write(drive, self.monitor, |out| put_bytes(out, &tar))
        });
        if let Err(failure) = result {
            let why = match failure {
                WriteFailure::Source(error) => error.to_string(),
                WriteFailure::Tape(fault) => describe(&fault),
            };
            (self.report)(Event::NoCatalog(why));
            drive.abandon()?;
        }
        if let Err(fault) = drive.finish() {
            (self.report)(Event::NoCatalog(describe(&fault)));
        }
        Ok(())
    }

    fn catalog_tar(&self) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        self.containers.catalog(&mut text)?;
        catalog_tar(&text, self.options.label.time)
    }

    /// Reads what this run has written, and makes void what is not right.
    fn read_back(
        &mut self,
        drive: &mut dyn Drive,
        label: &Label,
        copies: &mut Vec<Copy>,
    ) -> Result<Pace> {
        let mut pace = Pace::default();
        let mut bad = Vec::new();
        let unchecked = copies.iter().enumerate().filter(|(_, copy)| !copy.checked);
        for (at, copy) in unchecked {
            let found = verify::digest_file(drive, copy.file, Some(copy.whole), self.monitor);
            match found {
                Ok((None, read)) => pace.add(read),
                Ok((Some(why), _)) => bad.push((at, why)),
                Err(Error::Interrupted) => return Err(Error::Interrupted),
                Err(error) => bad.push((at, error.to_string())),
            }
        }
        for (at, why) in bad.into_iter().rev() {
            let copy = copies.remove(at);
            self.void(&copy, label.id, &why);
        }
        Ok(pace)
    }

    fn void(&mut self, copy: &Copy, tape: TapeId, why: &str) {
        self.containers.void(copy.number, tape);
        (self.report)(Event::Void(copy.number, why.to_owned()));
    }
}

fn describe(fault: &WriteFault) -> String {
    match fault {
        WriteFault::Full => "the tape ended earlier than it said".into(),
        WriteFault::Failed(error) => format!("writing failed: {error}"),
    }
}

pub(super) fn create(
    drive: &mut dyn Drive,
    file: TapeFile,
) -> std::result::Result<(), WriteFailure> {
    drive.create(file).map_err(|error| {
        WriteFailure::Tape(WriteFault::Failed(std::io::Error::other(error.to_string())))
    })
}

pub(super) fn put_bytes(out: &mut dyn Write, bytes: &[u8]) -> Result<()> {
    out.write_all(bytes)
        .map_err(Error::io("write to", "the tape"))
}

/// The tar of a catalog's tape file: the text, and the checksums of what it names.
fn catalog_tar(text: &[u8], time: u64) -> Result<Vec<u8>> {
    let (catalog, _) = Catalog::parse(text, Path::new("the catalog"))?;
    let mut sums = String::new();
    put_sum(&mut sums, &Sha256Sum::of(text).0, CATALOG);
    let set = catalog.set.into();
    for (number, container) in &catalog.containers {
        if let Some(whole) = container.whole {
            let number = *number;
            put_sum(&mut sums, &whole.sha256.0, ContainerName { set, number });
        }
    }
    let mut tar = Vec::new();
    ustar::put_member(&mut tar, CATALOG, text, time)?;
    ustar::put_member(&mut tar, SUMS_MEMBER, sums.as_bytes(), time)?;
    ustar::put_end(&mut tar);
    Ok(tar)
}
