//! The runs at work in a store: their folders, which are their leases, and how a run is
//! ended (`formats/collection.md#runs`).
//!
//! A run publishes and deletes by rename from and into its folder, and never makes the
//! folder again. So whoever takes the folder away has ended the run, however long it
//! lives on.

mod lease;
mod other;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

pub use lease::Lease;
pub use other::{OtherRun, clean_up};

use super::host;
use super::layout::RunName;
use super::{Store, is_missing, without_path};
use crate::crypto::PutKeys;
use crate::error::Exit;
use crate::format::note::{MAX_HOST_LENGTH, MAX_TEXT_LENGTH, Note, NoteKind};
use crate::id::{BrickName, WriterId};
use crate::{Error, Result};

/// The file in a run's folder that says whose it is.
const LEASE: &str = "lease";

/// The bricks on all dead lists, sorted: read after the run's own folder was made, and
/// before `tocs/` is listed (`formats/collection.md#archive`).
///
/// # Errors
/// [`Error::Io`]; [`Error::Refused`] if a list does not open.
pub fn dead_bricks(store: &Store, keys: &PutKeys) -> Result<Vec<BrickName>> {
    let mut dead = Vec::new();
    for name in store.layout().dead_lists()? {
        let path = store.layout().dead_path(&name);
        let note = match store.read_note(keys, &path) {
            // Its gc has ended, or another has begun: that one waits for this run.
            Err(Error::Io { source, .. }) if is_missing(&source) => continue,
            Ok(note) if note.kind == NoteKind::DeadList && is_of(&note, &name) => note,
            Ok(_) => return Err(bad_list(path, "it is not the list of its name")),
            Err(error) => return Err(bad_list(path, &without_path(error))),
        };
        dead.extend(note.bricks);
    }
    dead.sort_unstable();
    dead.dedup();
    Ok(dead)
}

fn bad_list(path: PathBuf, reason: &str) -> Error {
    Error::Refused {
        path,
        message: format!(
            "the bricks that a gc was about to delete stand in this list, and it does not open \
             ({reason}); they must not be relied upon: run `dtar gc`, which makes a new list"
        ),
        exit: Exit::Damaged,
    }
}

/// Whether a note is that of the run with this name.
pub(super) fn is_of(note: &Note, name: &RunName) -> bool {
    (note.time, note.random) == (name.time, name.random())
}

/// A note of this process, without text and bricks; of the run `name`, or a mark.
#[must_use]
pub fn new_note(kind: NoteKind, name: Option<&RunName>, writer: WriterId) -> Note {
    Note {
        kind,
        process: std::process::id(),
        time: name.map_or_else(now, |name| name.time),
        random: name.map_or([0; 8], RunName::random),
        writer,
        host: host_name(),
        boot_id: host::boot_id(),
        text: Vec::new(),
        bricks: Vec::new(),
    }
}

/// A mark of this process on a brick. Of `text`, which says what is wrong, as much as a
/// note holds.
#[must_use]
pub fn new_mark(name: &BrickName, text: &str, writer: WriterId) -> Note {
    Note {
        text: text.as_bytes()[..text.len().min(MAX_TEXT_LENGTH)].to_vec(),
        bricks: vec![*name],
        ..new_note(NoteKind::Mark, None, writer)
    }
}

/// The name of this machine, as roots and notes give it.
pub(crate) fn host_name() -> Vec<u8> {
    let name = rustix::system::uname();
    let name = name.nodename().to_bytes();
    name[..name.len().min(MAX_HOST_LENGTH)].to_vec()
}

/// Nanoseconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}
