//! Forget: a run is given up (`formats/collection.md#forget`).

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::crypto::PutKeys;
use crate::error::{Error, Exit, Result};
use crate::snapshot::{self, Moment, Run, Selector};
use crate::store::Store;
use crate::store::atomic::sync_dir_if_there;
use crate::store::guard::refuse_links;
use crate::store::layout::RunName;

/// What [`forget`] has deleted, or would delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forgotten {
    /// A snapshot file.
    pub snapshot: bool,
    /// A root.
    pub root: bool,
}

/// The run that is meant. By the start of its name, a run may be meant that made no
/// snapshot; by its whole name one whose root is lost or does not open. By a time only the
/// one run that ended then, as exactly as it is written: what is said twice must not give
/// up the run before.
///
/// # Errors
/// As [`snapshot::select`]; [`Error::Refused`] if no run, or more than one, is of the time.
pub fn select(store: &Store, keys: &PutKeys, selector: &Selector) -> Result<RunName> {
    let start = match selector {
        Selector::Name(start) => start,
        Selector::At(time) => return at(store, keys, time),
        _ => return Ok(snapshot::select(store, keys, selector)?.name),
    };
    let layout = store.layout();
    let mut names = layout.runs()?;
    names.extend(layout.snapshots()?);
    names.retain(|name| name.to_string().starts_with(start.as_str()));
    names.sort_unstable();
    names.dedup();
    let refused = |message: String| Error::Refused {
        path: layout.roots_dir(),
        message,
        exit: Exit::Failed,
    };
    match names.len() {
        0 => Err(refused(format!("no run is named @{start}…"))),
        1 => Ok(names.remove(0)),
        count => Err(refused(format!(
            "{count} runs are named @{start}…: give more of it"
        ))),
    }
}

/// The only run with a snapshot that ended at a time.
fn at(store: &Store, keys: &PutKeys, time: &Moment) -> Result<RunName> {
    let mut runs = snapshot::runs(store, 0, u64::MAX)?;
    let mut then = Vec::new();
    for name in runs.iter().filter(|name| time.contains(name.time)) {
        if Run::read(store, keys, name.clone())?.is_some() {
            then.push(name.clone());
        }
    }
    let message = match then.len() {
        1 => return Ok(then.remove(0)),
        0 => {
            runs.sort_by_key(|name| time.distance(name.time));
            let nearest = runs.first().map_or(String::new(), |name| {
                format!("; the nearest is @{name}, {}", shown(name))
            });
            format!("no run ended at that time{nearest}")
        }
        count => {
            let last = then.last().map_or(String::new(), |name| {
                format!(", the last is @{name}, {}", shown(name))
            });
            format!("{count} runs ended at that time{last}: give one by its name")
        }
    };
    Err(Error::Refused {
        path: store.layout().roots_dir(),
        message,
        exit: Exit::Failed,
    })
}

fn shown(name: &RunName) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(name.time));
    time.map_or(String::new(), |time| {
        let zoned = time.to_zoned(jiff::tz::TimeZone::system());
        zoned.strftime("%Y-%m-%d %H:%M:%S").to_string()
    })
}

/// What [`forget`] would delete.
///
/// # Errors
/// [`Error::Io`].
pub fn would_forget(store: &Store, run: &RunName) -> Result<Forgotten> {
    let stands = |path: &Path| path.try_exists().map_err(Error::io("look for", path));
    let layout = store.layout();
    Ok(Forgotten {
        snapshot: stands(&layout.snapshot_path(run))?,
        root: stands(&layout.root_path(run))?,
    })
}

/// Deletes snapshot and root of a run, durably. What becomes garbage is for gc.
///
/// # Errors
/// [`Error::Io`].
pub fn forget(store: &Store, run: &RunName) -> Result<Forgotten> {
    let layout = store.layout();
    Ok(Forgotten {
        snapshot: delete(store, &layout.snapshot_path(run), &layout.snapshots_dir())?,
        root: delete(store, &layout.root_path(run), &layout.roots_dir())?,
    })
}

/// What is not there may have been deleted by one who was cut off before that was durable.
fn delete(store: &Store, path: &Path, folder: &Path) -> Result<bool> {
    refuse_links(store.path(), folder)?;
    let was_there = match fs::remove_file(path) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(Error::io("delete", path)(error)),
    };
    sync_dir_if_there(folder)?;
    Ok(was_there)
}
