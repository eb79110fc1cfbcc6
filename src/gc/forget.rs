//! Forget: a run is given up (`formats/collection.md#forget`).

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::crypto::PutKeys;
use crate::error::{Error, Exit, Result};
use crate::snapshot::{self, Selector};
use crate::store::Store;
use crate::store::atomic::sync_dir_if_there;
use crate::store::guard::refuse_links;
use crate::store::layout::RunName;

/// What [`forget`] has deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forgotten {
    /// A snapshot file.
    pub snapshot: bool,
    /// A root.
    pub root: bool,
}

/// The run that is meant. By the start of its name, a run may be meant that made no
/// snapshot; by its whole name one whose root is lost or does not open.
///
/// # Errors
/// As [`snapshot::select`].
pub fn select(store: &Store, keys: &PutKeys, selector: &Selector) -> Result<RunName> {
    let Selector::Name(start) = selector else {
        return Ok(snapshot::select(store, keys, selector)?.name);
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
