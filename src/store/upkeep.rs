//! What stands in a store that comes and goes, or should: runs at work, dead lists, marks of
//! damage, and roots and snapshots of which the other half is missing
//! (`formats/collection.md`).

use std::collections::BTreeSet;

use super::layout::RunName;
use super::runs::{OtherRun, is_of};
use super::{Store, is_missing};
use crate::crypto::PutKeys;
use crate::format::note::{Note, NoteKind};
use crate::format::root::Root;
use crate::id::BrickName;
use crate::{Error, Result};

/// A run that made no snapshot, or lost it.
#[derive(Debug)]
pub struct Lone {
    /// What its root is named.
    pub name: RunName,
    /// The root, or why it does not open.
    pub root: Result<Root>,
}

/// What comes and goes in a store.
#[derive(Default)]
pub struct Upkeep {
    /// Runs that have a folder, the oldest first.
    pub runs: Vec<OtherRun>,
    /// Dead lists, the oldest first, with what they hold if they open.
    pub dead_lists: Vec<(RunName, Option<Note>)>,
    /// Marked bricks by name, with the mark if it is sealed.
    pub marks: Vec<(BrickName, Option<Note>)>,
    /// Roots without a snapshot file.
    pub lone_roots: Vec<Lone>,
    /// Snapshot files without a root: that was lost, and gc stops until they are forgotten.
    pub lone_snapshots: Vec<RunName>,
}

impl Upkeep {
    /// Looks through a store. What goes meanwhile is left out.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn of(store: &Store, keys: &PutKeys) -> Result<Self> {
        let layout = store.layout();
        let mut upkeep = Self::default();
        for name in layout.leases()? {
            let run = OtherRun::look(store, keys, &name)?;
            upkeep.runs.extend(run.map(OtherRun::without_lock));
        }
        for name in layout.dead_lists()? {
            let path = layout.dead_path(&name);
            let is_its = |note: &Note| note.kind == NoteKind::DeadList && is_of(note, &name);
            if let Some(note) = open(store.read_note(keys, &path), is_its)? {
                upkeep.dead_lists.push((name, note));
            }
        }
        for name in layout.marked()? {
            let path = layout.mark_path(&name);
            let is_its = |note: &Note| note.kind == NoteKind::Mark && note.bricks == [name];
            if let Some(note) = open(store.read_note(keys, &path), is_its)? {
                upkeep.marks.push((name, note));
            }
        }
        upkeep.halves(store, keys)?;
        Ok(upkeep)
    }

    /// A run writes its root, then its snapshot; forget deletes them the other way round.
    fn halves(&mut self, store: &Store, keys: &PutKeys) -> Result<()> {
        let layout = store.layout();
        let snapshots = BTreeSet::from_iter(layout.snapshots()?);
        let roots = BTreeSet::from_iter(layout.runs()?);
        for name in roots.difference(&snapshots) {
            let root = store.read_root(keys, &layout.root_path(name), name.time);
            match root {
                Err(Error::Io { source, .. }) if is_missing(&source) => {}
                Err(error @ Error::Io { .. }) => return Err(error),
                root if !layout.snapshot_path(name).exists() => self.lone_roots.push(Lone {
                    name: name.clone(),
                    root,
                }),
                _ => {}
            }
        }
        let lone = snapshots.difference(&roots).cloned();
        self.lone_snapshots = lone
            .filter(|name| layout.snapshot_path(name).exists())
            .collect();
        Ok(())
    }
}

/// A note as it should be; the inner nothing for any other. Nothing, if it has gone.
#[expect(clippy::option_option, reason = "gone, or there and not to be opened")]
fn open(read: Result<Note>, is_its: impl Fn(&Note) -> bool) -> Result<Option<Option<Note>>> {
    match read {
        Ok(note) => Ok(Some(Some(note).filter(is_its))),
        Err(Error::Io { source, .. }) if is_missing(&source) => Ok(None),
        Err(error @ Error::Io { .. }) => Err(error),
        Err(_) => Ok(Some(None)),
    }
}
