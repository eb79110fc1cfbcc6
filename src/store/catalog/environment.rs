//! The LMDB environment: the one room of dtar with `unsafe` in it.
//!
//! LMDB maps a file into memory. What must hold for that is stated at each
//! block below; the rest of the catalog sees transactions only, by closures,
//! so that none of them can outlive the call that began it.
#![allow(
    unsafe_code,
    reason = "heed declares opening and resizing a memory map unsafe; each block says why it holds"
)]

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvOpenOptions, MdbError, RoTxn, RwTxn, WithoutTls};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::fault::{Fault, Step};
use super::host;
use super::pages::DataFile;
use crate::Error;
use crate::store::atomic::{self, TempFile};

/// The map's first size in bytes: room for more than a million chunks.
pub(super) const FIRST_MAP: usize = 64 << 20;

/// More bytes than any transaction of a catalog needs: one that still finds
/// the map full then has met a damaged list of free pages.
const MAX_STEP: usize = 2 << 30;

/// How many processes may look things up at the same moment: each has one
/// transaction at a time. LMDB's own limit is 126.
const MAX_READERS: u32 = 1024;

/// Up to this length in bytes, looking at every page takes no time worth saving.
const SMALL: u64 = 16 << 20;

/// A table: bytes to bytes.
pub(super) type Table = Database<'static, Bytes, Bytes>;

/// The tables of a catalog; their values are in [`super::entry`].
#[derive(Clone, Copy)]
pub(super) struct Tables {
    /// What the catalog is, and the next ordinal.
    pub meta: Table,
    /// Brick name to ordinal.
    pub names: Table,
    /// Ordinal to brick.
    pub bricks: Table,
    /// Run and last chunk id to a block of chunks' entries.
    pub chunks: Table,
    /// Run and number to a part of the run's filter.
    pub filters: Table,
}

/// An open environment.
pub(super) struct Environment {
    /// Nothing once the map could not be put back after a change of its size.
    env: Option<Env<WithoutTls>>,
    tables: Tables,
    dir: PathBuf,
    /// On which whoever merges runs holds a `flock`. It stays open: by its name one
    /// might later find that of a catalog that was made anew.
    merging: File,
    /// How many transactions the disk has room for yet.
    #[cfg(test)]
    pub room: u32,
    /// Says that the environment is in use. Dropped last.
    _user: TempFile,
}

impl Environment {
    /// Opens the environment in `dir`, or makes it; one process at a time. `first_map` is the size of
    /// the map in bytes, a multiple of the page size, if the file needs no greater one.
    pub fn open(dir: &Path, first_map: usize) -> Step<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(Error::io("make the folder", dir))?;
        host::refuse_network(dir)?;
        let user = enter(dir)?;
        let (env, tables) = open_env(dir, first_map)?;
        let merging = dir.join("merging");
        let mut options = File::options();
        options.create(true).truncate(false).write(true);
        let merging = options
            .open(&merging)
            .map_err(Error::io("open", &merging))?;
        Ok(Self {
            env: Some(env),
            tables,
            dir: dir.to_owned(),
            merging,
            #[cfg(test)]
            room: u32::MAX,
            _user: user,
        })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Runs `step` on the state that was committed last.
    pub fn read<T>(&mut self, step: impl FnOnce(&RoTxn, &Tables) -> Step<T>) -> Step<T> {
        loop {
            let env = self.env()?;
            let error = match env.read_txn() {
                Ok(txn) => return step(&txn, &self.tables),
                Err(error) => error,
            };
            match error {
                heed::Error::Mdb(MdbError::MapResized) => self.adopt_size()?,
                // Processes that were killed keep their places until somebody looks.
                heed::Error::Mdb(MdbError::ReadersFull) if env.clear_stale_readers()? > 0 => {}
                heed::Error::Mdb(MdbError::Panic) => self.reopen()?,
                error => return Err(error.into()),
            }
        }
    }

    /// Runs `step` and commits what it did, durably; if it fails, nothing has
    /// happened. It runs again from the start whenever the map was too small.
    pub fn write<T>(&mut self, mut step: impl FnMut(&mut RwTxn, &Tables) -> Step<T>) -> Step<T> {
        loop {
            match self.attempt(&mut step) {
                Err(Fault::Lmdb(heed::Error::Mdb(MdbError::MapFull))) => self.grow()?,
                Err(Fault::Lmdb(heed::Error::Mdb(MdbError::MapResized))) => self.adopt_size()?,
                Err(Fault::Lmdb(heed::Error::Mdb(MdbError::Panic))) => self.reopen()?,
                result => {
                    #[cfg(test)]
                    {
                        self.room = self.room.saturating_sub(1);
                    }
                    return result;
                }
            }
        }
    }

    fn attempt<T>(&self, step: &mut impl FnMut(&mut RwTxn, &Tables) -> Step<T>) -> Step<T> {
        let mut txn = self.env()?.write_txn()?;
        let value = step(&mut txn, &self.tables)?;
        #[cfg(test)]
        if self.room == 0 {
            return Err(heed::Error::Io(std::io::ErrorKind::StorageFull.into()).into());
        }
        txn.commit()?;
        Ok(value)
    }

    /// Makes this process the only one that merges runs, unless another one
    /// is already; whether it did.
    pub fn lock_merges(&self) -> Step<bool> {
        match flock(&self.merging, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(error) => {
                let path = self.dir.join("merging");
                return Err(Error::io("lock", path)(error.into()).into());
            }
        }
        // Pages that a merge frees cannot be used again while a reader, even a dead one, sees them.
        self.env()?.clear_stale_readers()?;
        Ok(true)
    }

    /// Lets others merge.
    pub fn unlock_merges(&self) {
        // This fails for no file that is open; and if so, it ends with the process.
        let _ = flock(&self.merging, FlockOperation::Unlock);
    }

    /// For transactions that stay open, as those of other processes may. The map must
    /// not grow meanwhile.
    #[cfg(test)]
    pub fn snapshots(&self) -> (Env<WithoutTls>, Tables) {
        (self.env().unwrap().clone(), self.tables)
    }

    /// The size of the map in bytes.
    #[cfg(test)]
    pub fn map_size(&self) -> usize {
        self.env().unwrap().info().map_size
    }

    /// Doubles the map.
    fn grow(&mut self) -> Step<()> {
        let env = self.env()?;
        let info = env.info();
        let map_size = info.map_size;
        let page_size = env.unnamed_database_stat().page_size as usize;
        let used = info.last_page_number.saturating_mul(page_size);
        if map_size > used.saturating_mul(4).saturating_add(MAX_STEP) {
            return Err(Fault::Corrupt("full, but there is nothing in it"));
        }
        match map_size.checked_mul(2) {
            Some(size) => self.resize(size),
            None => Err(Fault::Lmdb(MdbError::MapFull.into())),
        }
    }

    /// Takes over the size to which another process has grown the map.
    fn adopt_size(&mut self) -> Step<()> {
        self.resize(0)
    }

    fn resize(&mut self, size: usize) -> Step<()> {
        let env = self.env.take();
        let env = env.ok_or_else(|| no_map(&self.dir))?;
        // SAFETY: No transaction of this process may be active. The environment
        // is private to this struct and never cloned; transactions begin and
        // end within `read` and `write`, whose closures get them by reference
        // only; and this function has the struct to itself (`&mut self`).
        unsafe { env.resize(size) }?;
        self.env = Some(env);
        Ok(())
    }

    /// Closes the environment and opens it again: after a failure to write the page that
    /// says which state is the last one, LMDB does nothing more with it. What was
    /// committed before is there, as for any other process.
    fn reopen(&mut self) -> Step<()> {
        let env = self.env.take();
        let size = env.ok_or_else(|| no_map(&self.dir))?.info().map_size;
        let (env, tables) = open_env(&self.dir, size)?;
        (self.env, self.tables) = (Some(env), tables);
        Ok(())
    }

    /// After a failed change of size there is no map: LMDB must not be entered again.
    fn env(&self) -> Step<&Env<WithoutTls>> {
        Ok(self.env.as_ref().ok_or_else(|| no_map(&self.dir))?)
    }
}

fn no_map(dir: &Path) -> Error {
    Error::io("map the catalog", dir)(std::io::ErrorKind::OutOfMemory.into())
}

/// Opens the environment itself, or makes it, with a map of so many bytes.
fn open_env(dir: &Path, map_size: usize) -> Step<(Env<WithoutTls>, Tables)> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options
        .map_size(map_size)
        .max_dbs(5)
        .max_readers(MAX_READERS);
    // SAFETY: A map is unsound if the file changes behind LMDB's back or
    // does not reach as far as its own records say. The file lies in a
    // folder of this user (mode 0700), on a local file system, so that
    // LMDB's locks order all of its writers; `enter` has compared its length
    // with its last used page; heed refuses to open it twice in one process;
    // and none of the flags that give up LMDB's guarantees is set.
    let env = unsafe { options.open(dir) }?;
    // A process that was killed may have left its place among the readers.
    env.clear_stale_readers()?;
    let tables = open_tables(&env).map_err(|fault| match fault {
        // Tables that are there need no room, and a new file has enough.
        Fault::Lmdb(heed::Error::Mdb(MdbError::MapFull)) => Fault::Corrupt("without tables"),
        fault => fault,
    })?;
    Ok((env, tables))
}

/// Checks the data file, and leaves a mark that this process uses it. Only one
/// process at a time may be doing this.
///
/// Every page is looked at if the file is small, or if a user has died; but
/// not while others use it, for they change it meanwhile.
fn enter(dir: &Path) -> Step<TempFile> {
    let users = dir.join("users");
    let died = atomic::remove_stale(&users)? > 0;
    let alone = match fs::read_dir(&users) {
        Ok(mut others) => others.next().is_none(),
        Err(_) => true,
    };
    if let Some(file) = DataFile::open(&dir.join("data.mdb"))?
        && alone
        && (died || file.length() <= SMALL)
    {
        file.walk()?;
    }
    Ok(TempFile::create(&users)?)
}

fn open_tables(env: &Env<WithoutTls>) -> Step<Tables> {
    let txn = env.write_txn()?;
    let opened = env.create_databases_and_commit(txn, |opener, txn| {
        let mut plain = |name| opener.create_database::<Bytes, Bytes>(txn, Some(name));
        let plain = [
            plain("meta")?,
            plain("names")?,
            plain("bricks")?,
            plain("chunks")?,
            plain("filters")?,
        ];
        Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(plain))
    })?;
    let CommitOrAbort::Commit([meta, names, bricks, chunks, filters]) = opened else {
        return Err(Fault::Corrupt("without tables"));
    };
    Ok(Tables {
        meta,
        names,
        bricks,
        chunks,
        filters,
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    const CHILD: &str = "DTAR_TEST_READERS_CHILD";

    #[test]
    fn many_readers_at_once_find_a_place() {
        let dir = tempfile::tempdir().unwrap();
        let mut environment = Environment::open(dir.path(), FIRST_MAP).unwrap();
        let env = environment.env().unwrap().clone();
        let others: Vec<_> = (1..MAX_READERS).map(|_| env.read_txn().unwrap()).collect();
        environment.read(|_, _| Ok(())).unwrap();
        let last = env.read_txn().unwrap();
        let full = environment.read(|_, _| Ok(())).unwrap_err();
        assert_eq!(full.damage(), None, "no reason to delete the catalog");
        assert!(full.reason().contains("READERS_FULL"), "{}", full.reason());
        drop((others, last));
        environment.read(|_, _| Ok(())).unwrap();
    }

    /// Not a test of its own: dies with all places of readers taken.
    #[test]
    #[ignore = "run by places_of_dead_readers_are_taken_over"]
    fn child() {
        let Ok(dir) = std::env::var(CHILD) else {
            return;
        };
        let environment = Environment::open(Path::new(&dir), FIRST_MAP).unwrap();
        while let Ok(reader) = environment.env().unwrap().read_txn() {
            std::mem::forget(reader);
        }
        std::process::abort();
    }

    #[test]
    fn places_of_dead_readers_are_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let mut environment = Environment::open(dir.path(), FIRST_MAP).unwrap();
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::catalog::environment::tests::child"])
            .arg("--ignored")
            .env(CHILD, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(!status.success());
        environment.read(|_, _| Ok(())).unwrap();
    }

    #[test]
    fn one_at_a_time_merges() {
        let dir = tempfile::tempdir().unwrap();
        let environment = Environment::open(dir.path(), FIRST_MAP).unwrap();
        let other = File::options()
            .write(true)
            .open(dir.path().join("merging"))
            .unwrap();
        flock(&other, FlockOperation::LockExclusive).unwrap();
        assert!(!environment.lock_merges().unwrap());
        flock(&other, FlockOperation::Unlock).unwrap();
        assert!(environment.lock_merges().unwrap());
        assert!(flock(&other, FlockOperation::NonBlockingLockExclusive).is_err());
        environment.unlock_merges();
        flock(&other, FlockOperation::NonBlockingLockExclusive).unwrap();
    }
}
