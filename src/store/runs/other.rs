//! The runs of others: whose they are, whether they live, and how they are ended.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::lease::retire;
use super::{LEASE, host_name, is_of};
use crate::Result;
use crate::brick::open_note;
use crate::crypto::PutKeys;
use crate::format::note::{Note, NoteKind};
use crate::store::layout::RunName;
use crate::store::{Store, guard, host, is_missing};

/// Longer than any lease is: header, tag, and all texts at their longest.
const MAX_LEASE_LENGTH: u64 = 8 << 10;

/// A run of somebody's.
pub struct OtherRun {
    /// What it is called.
    pub name: RunName,
    /// What its lease says, if that opens.
    pub lease: Option<Note>,
    /// Whether nobody holds its lock any more, and that can be believed.
    pub is_dead: bool,
    /// The lock of a dead run: so nobody makes this run's lease his own meanwhile.
    lock: Option<File>,
}

impl OtherRun {
    /// Looks at a run. `None`: it has gone.
    ///
    /// # Errors
    /// [`crate::Error::Io`].
    pub fn look(store: &Store, keys: &PutKeys, name: &RunName) -> Result<Option<Self>> {
        let layout = store.layout();
        let path = layout.run_dir(name).join(LEASE);
        let is_here = !host::may_be_shared(&layout.runs_dir())?;
        let file = match open(&path) {
            Ok(file) => file,
            Err(error) if is_missing(&error) => {
                if !layout.run_dir(name).exists() {
                    return Ok(None);
                }
                return Ok(Some(Self {
                    name: name.clone(),
                    lease: None,
                    is_dead: is_here,
                    lock: None,
                }));
            }
            // It is somebody's whom we do not know.
            Err(_) => {
                return Ok(Some(Self {
                    name: name.clone(),
                    lease: None,
                    is_dead: false,
                    lock: None,
                }));
            }
        };
        // What is no file says nothing, and to read a pipe is to wait for a writer.
        let length = match file.metadata() {
            Ok(found) if found.is_file() => MAX_LEASE_LENGTH,
            _ => 0,
        };
        let mut bytes = Vec::new();
        if (&file).take(length).read_to_end(&mut bytes).is_err() {
            bytes.clear();
        }
        let lease = open_note(keys, &bytes).ok().filter(|note| {
            matches!(note.kind, NoteKind::ArchiverLease | NoteKind::GcLease) && is_of(note, name)
        });
        let boot_id = host::boot_id();
        let is_known = lease
            .as_ref()
            .is_some_and(|note| !boot_id.is_empty() && note.boot_id == boot_id);
        // A file system of this host may be served to others, whose locks do not show here.
        let is_foreign = lease
            .as_ref()
            .is_some_and(|note| note.boot_id != boot_id && note.host != host_name());
        let is_free = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        Ok(Some(Self {
            name: name.clone(),
            lease,
            is_dead: is_free && (is_known || is_here && !is_foreign),
            lock: is_free.then_some(file),
        }))
    }

    /// Whether it is an archiver, as far as its lease opens.
    #[must_use]
    pub fn is_archiver(&self) -> bool {
        let kind = self.lease.as_ref().map(|note| note.kind);
        kind == Some(NoteKind::ArchiverLease)
    }

    /// The same without the lock of a dead run: whoever only looks must not make it seem
    /// alive to others.
    #[must_use]
    pub fn without_lock(self) -> Self {
        Self { lock: None, ..self }
    }

    /// Ends it: from now on it can neither publish nor delete.
    ///
    /// # Errors
    /// [`crate::Error::Io`]: it may still be able to.
    pub fn end(self, store: &Store) -> Result<()> {
        retire(store.layout(), &self.name, self.lock)
    }
}

/// To write, since some file systems lock only such handles; else to read.
fn open(path: &Path) -> std::io::Result<File> {
    let writable = OpenOptions::new().read(true).write(true).open(path);
    writable.or_else(|error| {
        if is_missing(&error) {
            return Err(error);
        }
        guard::open_file(path)
    })
}

/// Removes what is left of runs that are gone: what stands in `tmp/`, and the folders of
/// dead archivers; their names and leases are returned. Dead gcs are for the next gc.
///
/// # Errors
/// [`crate::Error::Io`].
pub fn clean_up(store: &Store, keys: &PutKeys) -> Result<Vec<(RunName, Note)>> {
    let mut ended = Vec::new();
    for name in store.layout().leases()? {
        let Some(run) = OtherRun::look(store, keys, &name)? else {
            continue;
        };
        if run.is_dead && run.is_archiver() {
            let lease = run.lease.clone();
            run.end(store)?;
            ended.extend(lease.map(|lease| (name, lease)));
        }
    }
    store.remove_stale()?;
    Ok(ended)
}
