//! The runs at work in a store: their folders, which are their leases, and how a run is
//! ended (`formats/collection.md#runs`).
//!
//! A run publishes and deletes by rename from and into its folder, and never makes the
//! folder again. So whoever takes the folder away has ended the run, however long it
//! lives on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};

use super::atomic::{self, TempFile};
use super::host;
use super::layout::{Layout, RunName};
use super::{Store, is_missing};
use crate::brick::{open_note, seal_note};
use crate::crypto::PutKeys;
use crate::error::Exit;
use crate::format::note::{MAX_HOST_LENGTH, Note, NoteKind};
use crate::id::{BrickName, WriterId};
use crate::{Error, Result};

const LEASE: &str = "lease";
/// Longer than any lease is: header, tag, and all texts at their longest.
const MAX_LEASE_LENGTH: u64 = 8 << 10;
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
        let dir = store.layout().runs_dir();
        atomic::create_dir(&dir)?;
        for _ in 0..ATTEMPTS {
            if let Some(lease) = Self::attempt(store, keys, kind, text)? {
                return Ok(lease);
            }
        }
        Err(Error::io("make a folder in", dir)(
            io::ErrorKind::AlreadyExists.into(),
        ))
    }

    /// Nothing, if the name is taken or somebody took the folder for that of a dead run.
    fn attempt(store: &Store, keys: &PutKeys, kind: NoteKind, text: &str) -> Result<Option<Self>> {
        let layout = store.layout().clone();
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
                let _ = retire(&layout, &name);
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
        let note = Note {
            text: text.as_bytes().to_vec(),
            ..new_note(kind, Some(&lease.name), lease.writer)
        };
        (&lease.file)
            .write_all(&seal_note(keys, &note)?)
            .and_then(|()| lease.file.sync_all())
            .map_err(Error::io("write", &path))?;
        atomic::sync_dir(&lease.dir)?;
        atomic::sync_dir(&lease.layout.runs_dir())?;
        Ok(Some(lease))
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
        retire(&self.layout, &self.name)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Nothing need be done about a failure: the lock goes with the handle, and then
        // the run is dead, and anybody may end it.
        let _ = self.give_up();
    }
}

/// Takes the folder of a run away, and empties it. Nothing is done if it is gone.
fn retire(layout: &Layout, name: &RunName) -> Result<()> {
    let temp = layout.temp_dir();
    atomic::create_dir(&temp)?;
    let grave = temp.join(atomic::random_name(&temp)?);
    let dir = layout.run_dir(name);
    match fs::rename(&dir, &grave) {
        Err(error) if is_missing(&error) => return Ok(()),
        result => result.map_err(Error::io("end the run", &dir))?,
    }
    atomic::sync_dir(&layout.runs_dir())?;
    // What cannot be removed is removed by whoever starts the next run.
    let _ = fs::remove_dir_all(&grave);
    Ok(())
}

/// A run of somebody's.
pub struct OtherRun {
    /// What it is called.
    pub name: RunName,
    /// What its lease says, if that opens.
    pub lease: Option<Note>,
    /// Whether nobody holds its lock any more, and that can be believed.
    pub is_dead: bool,
    /// The lock of a dead run: so nobody makes this run's lease his own meanwhile.
    _lock: Option<File>,
}

impl OtherRun {
    /// Looks at a run. `None`: it has gone.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn look(store: &Store, keys: &PutKeys, name: &RunName) -> Result<Option<Self>> {
        let layout = store.layout();
        let path = layout.run_dir(name).join(LEASE);
        let is_here = !host::may_be_shared(&layout.runs_dir())?;
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if is_missing(&error) => {
                if !layout.run_dir(name).exists() {
                    return Ok(None);
                }
                return Ok(Some(Self {
                    name: name.clone(),
                    lease: None,
                    is_dead: is_here,
                    _lock: None,
                }));
            }
            Err(error) => return Err(Error::io("open", path)(error)),
        };
        let mut bytes = Vec::new();
        (&file)
            .take(MAX_LEASE_LENGTH)
            .read_to_end(&mut bytes)
            .map_err(Error::io("read", &path))?;
        let lease = open_note(keys, &bytes).ok().filter(|note| {
            matches!(note.kind, NoteKind::ArchiverLease | NoteKind::GcLease) && is_of(note, name)
        });
        let boot_id = host::boot_id();
        let is_known = lease
            .as_ref()
            .is_some_and(|note| !boot_id.is_empty() && note.boot_id == boot_id);
        let is_free = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        Ok(Some(Self {
            name: name.clone(),
            lease,
            is_dead: is_free && (is_here || is_known),
            _lock: is_free.then_some(file),
        }))
    }

    /// Whether it is an archiver, as far as its lease opens.
    #[must_use]
    pub fn is_archiver(&self) -> bool {
        let kind = self.lease.as_ref().map(|note| note.kind);
        kind == Some(NoteKind::ArchiverLease)
    }

    /// Ends it: from now on it can neither publish nor delete.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn end(self, store: &Store) -> Result<()> {
        retire(store.layout(), &self.name)
    }
}

/// Removes what is left of runs that are gone: what stands in `tmp/`, and the folders of
/// dead archivers, which are returned. Dead gcs are for the next gc.
///
/// # Errors
/// [`Error::Io`].
pub fn clean_up(store: &Store, keys: &PutKeys) -> Result<Vec<Note>> {
    let mut ended = Vec::new();
    for name in store.layout().leases()? {
        let Some(run) = OtherRun::look(store, keys, &name)? else {
            continue;
        };
        if run.is_dead && run.is_archiver() {
            ended.extend(run.lease.clone());
            run.end(store)?;
        }
    }
    store.remove_stale()?;
    Ok(ended)
}

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

fn without_path(error: Error) -> String {
    match error {
        Error::Decode { source, .. } => source.to_string(),
        Error::Io { source, .. } => source.to_string(),
        Error::Refused { message, .. } => message,
        other => other.to_string(),
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

#[cfg(test)]
mod tests {
    use super::super::testing::store;
    use super::*;

    fn take(store: &Store, keys: &PutKeys) -> Lease {
        Lease::take(store, keys, NoteKind::ArchiverLease, "nightly").unwrap()
    }

    fn entries(dir: &Path) -> usize {
        fs::read_dir(dir).map_or(0, Iterator::count)
    }

    #[test]
    fn a_lease_says_whose_it_is_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (store, keys) = store(dir.path());
        let lease = take(&store, &keys);
        assert_eq!(store.layout().leases().unwrap(), [lease.name().clone()]);
        let other = OtherRun::look(&store, &keys, lease.name())
            .unwrap()
            .unwrap();
        assert!(!other.is_dead && other.is_archiver());
        let note = other.lease.unwrap();
        assert_eq!(note.writer, lease.writer());
        assert_eq!((note.text, note.host), (b"nightly".to_vec(), host_name()));
        let target = dir.path().join("roots/file");
        lease.write(&target, b"content").unwrap();
        assert!(lease.delete(&target).unwrap());
        assert!(!lease.delete(&target).unwrap());
        let half = lease.temp_file().unwrap();
        lease.give_up().unwrap();
        lease.give_up().unwrap();
        drop(half);
        assert_eq!(entries(&store.layout().runs_dir()), 0);
        assert_eq!(entries(&store.layout().temp_dir()), 0);
    }

    #[test]
    fn a_run_that_was_ended_can_do_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let (store, keys) = store(dir.path());
        let lease = take(&store, &keys);
        let half = lease.temp_file().unwrap();
        let target = dir.path().join("roots/file");
        lease.write(&target, b"content").unwrap();
        let other = OtherRun::look(&store, &keys, lease.name())
            .unwrap()
            .unwrap();
        other.end(&store).unwrap();
        let missed = dir.path().join("roots/missed");
        for error in [
            lease.publish(half, &missed).unwrap_err(),
            lease.write(&missed, b"").unwrap_err(),
            lease.delete(&target).unwrap_err(),
            lease.require().unwrap_err(),
        ] {
            assert!(error.to_string().contains("ended by a gc"), "{error}");
        }
        assert!(target.exists() && !missed.exists());
        let error = lease.explain(Error::Interrupted);
        assert!(matches!(error, Error::Interrupted));
    }

    #[test]
    fn only_dead_archivers_are_cleaned_up() {
        let dir = tempfile::tempdir().unwrap();
        let (store, keys) = store(dir.path());
        let living = take(&store, &keys);
        // What a killed process leaves: the folder, and nobody who holds the lock.
        for kind in [NoteKind::ArchiverLease, NoteKind::GcLease] {
            let name = RunName::draw(now()).unwrap();
            let run = store.layout().run_dir(&name);
            fs::create_dir(&run).unwrap();
            let note = new_note(kind, Some(&name), WriterId([1; 16]));
            fs::write(run.join(LEASE), seal_note(&keys, &note).unwrap()).unwrap();
            fs::write(run.join("half"), b"half").unwrap();
            let found = OtherRun::look(&store, &keys, &name).unwrap().unwrap();
            assert!(found.is_dead);
        }
        let remains = store.layout().temp_dir().join("0123456789abcdef");
        fs::create_dir_all(remains.join("more")).unwrap();
        fs::write(remains.join("half"), b"half").unwrap();
        let ended = clean_up(&store, &keys).unwrap();
        assert_eq!(ended.len(), 1);
        assert_eq!(ended[0].kind, NoteKind::ArchiverLease);
        assert_eq!(entries(&store.layout().temp_dir()), 0);
        assert_eq!(store.layout().leases().unwrap().len(), 2);
        living.require().unwrap();
    }

    #[test]
    fn a_lease_that_does_not_open_is_nobodys() {
        let dir = tempfile::tempdir().unwrap();
        let (store, keys) = store(dir.path());
        let lease = take(&store, &keys);
        let other = take(&store, &keys);
        let path = |lease: &Lease| lease.dir().join(LEASE);
        fs::copy(path(&other), path(&lease)).unwrap();
        let found = OtherRun::look(&store, &keys, lease.name())
            .unwrap()
            .unwrap();
        assert!(found.lease.is_none() && !found.is_dead, "it is locked");
        assert!(clean_up(&store, &keys).unwrap().is_empty());
        lease.require().unwrap();
    }

    #[test]
    fn dead_lists_must_open_and_be_those_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let (store, keys) = store(dir.path());
        let lease = take(&store, &keys);
        let bricks = vec![BrickName([1; 32]), BrickName([2; 32])];
        let list = Note {
            bricks: bricks.clone(),
            ..new_note(NoteKind::DeadList, Some(lease.name()), lease.writer())
        };
        let bytes = seal_note(&keys, &list).unwrap();
        let path = store.layout().dead_path(lease.name());
        lease.write(&path, &bytes).unwrap();
        assert_eq!(dead_bricks(&store, &keys).unwrap(), bricks);
        let other = RunName::draw(now()).unwrap();
        let mut damaged = bytes.clone();
        damaged[100] ^= 1;
        for (name, bytes) in [
            (&other, &bytes[..]),
            (lease.name(), &damaged),
            (&other, b""),
        ] {
            let path = store.layout().dead_path(name);
            fs::write(&path, bytes).unwrap();
            let text = dead_bricks(&store, &keys).unwrap_err().to_string();
            assert!(text.contains("dtar gc"), "{text}");
            fs::remove_file(&path).unwrap();
        }
        assert!(dead_bricks(&store, &keys).unwrap().is_empty());
    }
}
