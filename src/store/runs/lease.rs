//! The lease of a run: its folder.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FlockOperation, flock};

use super::{LEASE, new_note, now};
use crate::brick::seal_note;
use crate::crypto::PutKeys;
use crate::error::Exit;
use crate::format::note::{Note, NoteKind};
use crate::id::WriterId;
use crate::store::atomic::{self, TempFile};
use crate::store::layout::{Layout, RunName};
use crate::store::{Store, guard, is_missing};
use crate::{Error, Result};

/// How often a folder may be taken away before its lease is locked: each time needs
/// somebody who came within microseconds.
const ATTEMPTS: usize = 16;

/// A living run: its folder in the store, and the lock of the lease in it.
///
/// It is given up when it is dropped. Threads may share it.
pub struct Lease {
    layout: Layout,
    name: RunName,
    writer: WriterId,
    dir: PathBuf,
    /// Holds the lock.
    file: File,
    given_up: AtomicBool,
}

impl Lease {
    /// Makes the folder of a run of this kind, [`NoteKind::ArchiverLease`] or
    /// [`NoteKind::GcLease`], durably. `text` is for people.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn take(store: &Store, keys: &PutKeys, kind: NoteKind, text: &str) -> Result<Self> {
        Self::make(store.layout(), &|lease| {
            let note = Note {
                text: text.as_bytes().to_vec(),
                ..new_note(kind, Some(&lease.name), lease.writer)
            };
            seal_note(keys, &note)
        })
    }

    /// Makes the folder of a run that has no key, durably. Its lease says nothing: a gc that
    /// began before it waits for it, and one that begins later takes it for another gc's.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn take_without_key(layout: &Layout) -> Result<Self> {
        Self::make(layout, &|_| Ok(Vec::new()))
    }

    fn make(layout: &Layout, note: &dyn Fn(&Self) -> Result<Vec<u8>>) -> Result<Self> {
        let dir = layout.runs_dir();
        guard::refuse_links(layout.path(), &dir)?;
        atomic::create_dir(&dir)?;
        for _ in 0..ATTEMPTS {
            if let Some(lease) = Self::attempt(layout.clone(), note)? {
                return Ok(lease);
            }
        }
        Err(Error::io("make a folder in", dir)(
            io::ErrorKind::AlreadyExists.into(),
        ))
    }

    /// Nothing, if the name is taken or somebody took the folder for that of a dead run.
    fn attempt(layout: Layout, note: &dyn Fn(&Self) -> Result<Vec<u8>>) -> Result<Option<Self>> {
        let name = RunName::draw(now())?;
        let dir = layout.run_dir(&name);
        match fs::create_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            result => result.map_err(Error::io("make the folder", &dir))?,
        }
        let path = dir.join(LEASE);
        let made = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = match made {
            Ok(file) => file,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => {
                let _ = retire(&layout, &name, None);
                return Err(Error::io("make", path)(error));
            }
        };
        let lease = Self {
            layout,
            writer: WriterId(atomic::random(&dir)?),
            name,
            dir,
            file,
            given_up: AtomicBool::new(false),
        };
        // From here on what fails gives the folder up.
        flock(&lease.file, FlockOperation::LockExclusive)
            .map_err(|error| Error::io("lock", &path)(error.into()))?;
        if !atomic::is_in_place(&lease.file, &path)? {
            return Ok(None);
        }
        let note = note(&lease)?;
        // A gc may end it as soon as it is there.
        lease.settle(&note).map_err(|error| lease.explain(error))?;
        Ok(Some(lease))
    }

    /// Writes the lease, durably.
    fn settle(&self, note: &[u8]) -> Result<()> {
        (&self.file)
            .write_all(note)
            .and_then(|()| self.file.sync_all())
            .map_err(Error::io("write", self.dir.join(LEASE)))?;
        atomic::sync_dir(&self.dir)?;
        atomic::sync_dir(&self.layout.runs_dir())
    }

    /// What it is called.
    #[must_use]
    pub const fn name(&self) -> &RunName {
        &self.name
    }

    /// The run, as TOCs and roots name it.
    #[must_use]
    pub const fn writer(&self) -> WriterId {
        self.writer
    }

    /// Its folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Begins a file that will get its name later.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Refused`] if the run was ended.
    pub fn temp_file(&self) -> Result<TempFile> {
        TempFile::create_in(&self.dir).map_err(|error| self.explain(error))
    }

    /// Makes a file of the run durable under its name.
    ///
    /// # Errors
    /// As [`Lease::temp_file`].
    pub fn publish(&self, file: TempFile, target: &Path) -> Result<()> {
        guard::refuse_links_to(self.layout.path(), target)?;
        file.publish(target).map_err(|error| self.explain(error))
    }

    /// Writes `bytes` as the file `target`, durably.
    ///
    /// # Errors
    /// As [`Lease::temp_file`].
    pub fn write(&self, target: &Path, bytes: &[u8]) -> Result<()> {
        let mut file = self.temp_file()?;
        file.write_all(bytes).map_err(Error::io("write", target))?;
        self.publish(file, target)
    }

    /// Deletes a file by way of the folder. `false`: it is not there. The folder that it
    /// left is not synced yet.
    ///
    /// # Errors
    /// As [`Lease::temp_file`].
    pub fn delete(&self, path: &Path) -> Result<bool> {
        let Some(file) = path.file_name() else {
            return Ok(false);
        };
        guard::refuse_links_to(self.layout.path(), path)?;
        let grave = self.dir.join(file);
        match fs::rename(path, &grave) {
            Ok(()) => {
                fs::remove_file(&grave).map_err(Error::io("delete", &grave))?;
                Ok(true)
            }
            Err(error) if is_missing(&error) => {
                self.require()?;
                Ok(false)
            }
            Err(error) => Err(Error::io("delete", path)(error)),
        }
    }

    /// Fails if the run was ended.
    ///
    /// # Errors
    /// [`Error::Refused`]; [`Error::Io`] if that cannot be told.
    pub fn require(&self) -> Result<()> {
        if self.stands()? {
            return Ok(());
        }
        Err(self.ended())
    }

    fn stands(&self) -> Result<bool> {
        self.dir
            .try_exists()
            .map_err(Error::io("look for", &self.dir))
    }

    fn ended(&self) -> Error {
        Error::Refused {
            path: self.dir.clone(),
            message: "this run was ended by a gc, which took it for dead or was told to end it; \
                      nothing that was there before is harmed: run it again"
                .into(),
            exit: Exit::Failed,
        }
    }

    /// The error of a run whose folder is gone: that is what is behind it.
    #[must_use]
    pub fn explain(&self, error: Error) -> Error {
        let others = matches!(error, Error::Interrupted)
            || self.given_up.load(Ordering::SeqCst)
            || self.stands().unwrap_or(true);
        if others { error } else { self.ended() }
    }

    /// Gives the folder up; the second time nothing is done. The run can neither publish
    /// nor delete any more.
    ///
    /// # Errors
    /// [`Error::Io`]. Whoever starts a run removes what is left.
    pub fn give_up(&self) -> Result<()> {
        if self.given_up.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        retire(&self.layout, &self.name, None)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Nothing need be done about a failure: the lock goes with the handle, and then
        // the run is dead, and anybody may end it.
        let _ = self.give_up();
    }
}

/// Takes the folder of a run away, and removes it with all that is in it. Nothing is done
/// if it is gone. `lock` is given up in between: where the file system keeps files that are
/// open, the folder would not become empty.
///
/// # Errors
/// [`Error::Io`]. The run may still publish then: a rename that had found the folder
/// before it was taken away goes on, until what it renames is gone.
pub(super) fn retire(layout: &Layout, name: &RunName, lock: Option<File>) -> Result<()> {
    let temp = layout.temp_dir();
    guard::refuse_links(layout.path(), &temp)?;
    guard::refuse_links(layout.path(), &layout.run_dir(name))?;
    atomic::create_dir(&temp)?;
    let grave = temp.join(atomic::random_name(&temp)?);
    let dir = layout.run_dir(name);
    match fs::rename(&dir, &grave) {
        Err(error) if is_missing(&error) => return Ok(()),
        result => result.map_err(Error::io("end the run", &dir))?,
    }
    atomic::sync_dir(&layout.runs_dir())?;
    drop(lock);
    let mut outcome = Ok(());
    for _ in 0..ATTEMPTS {
        outcome = match fs::remove_dir_all(&grave) {
            // Somebody else has cleaned up.
            Err(error) if is_missing(&error) => Ok(()),
            outcome => outcome,
        };
        if outcome.is_ok() && !grave.exists() {
            return Ok(());
        }
    }
    // What one writes into it that is being ended may come in between, but not for long.
    outcome.map_err(Error::io("remove what is left of a run", &grave))
}
