//! What is needed: what roots name, frame by frame, and the indexes that are to be kept.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::path::Path;

use crate::crypto::{Key, PutKeys};
use crate::error::{Error, Exit, Result};
use crate::format::frames::Frames;
use crate::id::{BrickName, WriterId};
use crate::index::IndexFile;
use crate::restore::{Origin, open_index};
use crate::store::Store;
use crate::store::layout::{Layout, RunName};

/// Frames that are needed, by brick and place as roots and indexes name them, and the
/// roots that were read.
#[derive(Default)]
pub(super) struct Needs {
    pub(super) frames: HashMap<BrickName, Frames>,
    read: HashSet<RunName>,
    /// Writers of the roots, and what the roots are named.
    pub(super) writers: HashMap<WriterId, RunName>,
}

impl Needs {
    /// Adds what an index needs, whose seal must verify.
    pub(super) fn add_index(&mut self, path: &Path, store: &Store, key: &Key) -> Result<()> {
        let index = IndexFile::open(path)?;
        let (trailer, _) = open_index(&index, &Origin::from(store), key)?;
        let mut bricks = trailer.bricks(&index)?;
        for number in 0..bricks.brick_count() {
            let brick = bricks.brick(number)?;
            let frames = self.frames.entry(brick.name).or_default();
            brick
                .frames
                .iter()
                .for_each(|frame| frames.insert(frame.number));
        }
        Ok(())
    }

    /// Adds what the roots need that were not read yet. What was forgotten meanwhile
    /// still counts: the next gc may take it. Returns how many roots there are.
    pub(super) fn add_roots(&mut self, store: &Store, keys: &PutKeys) -> Result<usize> {
        let layout = store.layout();
        require_roots(layout)?;
        let snapshots = layout.snapshots()?;
        let runs = layout.runs()?;
        for run in &runs {
            if self.read.contains(run) {
                continue;
            }
            let root = match store.read_root(keys, &layout.root_path(run), run.time) {
                // Forgotten a moment ago.
                Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => continue,
                root => root.map_err(stopped)?,
            };
            for (brick, frames) in &root.bricks {
                self.frames.entry(*brick).or_default().add(frames);
            }
            self.writers.insert(root.writer, run.clone());
            self.read.insert(run.clone());
        }
        for run in snapshots {
            // `forget` deletes the snapshot first: where one still stands, its root was
            // not forgotten.
            let path = layout.snapshot_path(&run);
            if runs.binary_search(&run).is_err() && path.exists() && !self.read.contains(&run) {
                let message = format!(
                    "this snapshot has no root: roots/{run}.root was lost, and with it what the \
                     run needs; nothing is deleted. Bring back a copy of the root, or give up the \
                     run with `dtar forget @{run}`"
                );
                return Err(Error::Refused {
                    path,
                    message,
                    exit: Exit::Damaged,
                });
            }
        }
        Ok(runs.len())
    }
}

/// Without the folder of roots it is not that nothing is needed: it was lost, or not
/// mounted, or not brought along. A store has it from the beginning, and `forget`
/// leaves it.
fn require_roots(layout: &Layout) -> Result<()> {
    let path = layout.roots_dir();
    if path.try_exists().map_err(Error::io("look for", &path))? {
        return Ok(());
    }
    Err(Error::Refused {
        path,
        message: "missing: what is needed is not known, so nothing is deleted. Bring it back; if \
                  no run has ever ended well here, make an empty folder of this name"
            .into(),
        exit: Exit::Damaged,
    })
}

/// The error of a root that does not open, and what follows from it.
fn stopped(error: Error) -> Error {
    let (path, reason) = match &error {
        Error::Decode { path, source } => (path.clone(), source.to_string()),
        Error::Refused { path, message, .. } => (path.clone(), message.clone()),
        _ => return error,
    };
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let message = format!(
        "{reason}; what this root needs is not known, so nothing is deleted. Bring back a copy of \
         it, or give up its run with `dtar forget @{name}`"
    );
    Error::Refused {
        path: path.clone(),
        message,
        exit: error.exit(),
    }
}
