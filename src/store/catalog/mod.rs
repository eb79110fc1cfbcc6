//! The catalog: from chunk id to location, in the user's cache folder
//! (`formats/store.md#catalog`).
//!
//! It is a cache and nothing else. What it says counts only for bricks whose
//! sidecars stand in the store and which carry no mark; whatever is wrong with
//! it, it is deleted and made again from the sidecars. Ordinals name bricks
//! within one catalog; a brick keeps its ordinal even while its sidecar is
//! gone, for a name always means the same bytes.

mod batch;
mod entry;
mod environment;
mod fault;
mod filter;
mod host;
mod lookup;
mod merge;
mod pages;
mod run;
#[cfg(test)]
mod run_tests;
mod sync;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

pub use self::sync::CatalogReport;

use self::batch::Batch;
use self::entry::{Checker, IDENTITY, Kind};
use self::environment::{Environment, FIRST_MAP};
use self::fault::{Fault, Step};
use self::lookup::{LiveSet, Reader};
use self::merge::Merge;
use self::run::Runs;
use self::sync::Sync;
use super::{Store, atomic};
use crate::crypto::PutKeys;
use crate::format::toc::Toc;
use crate::id::{BrickName, ChunkId};
use crate::{Error, Result};

/// A brick within one open catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BrickRef(pub u32);

/// Where a chunk lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// The brick.
    pub brick: BrickRef,
    /// The number of the frame in the brick.
    pub frame: u32,
    /// The place of the chunk among those of the frame.
    pub place: u32,
    /// Length of the chunk in bytes.
    pub length: u32,
}

/// A brick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrickInfo {
    /// Its name.
    pub name: BrickName,
    /// Length of its file in bytes.
    pub length: u64,
    /// The number of its frames.
    pub frame_count: u32,
}

/// A frame of a brick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameInfo {
    /// Where it begins in the brick's file.
    pub offset: u64,
    /// Its length in bytes, header and sealed bytes.
    pub length: u32,
    /// The length in bytes of its plain content: chunks and chunk table.
    pub plain_length: u32,
}

/// What the live bricks of a catalog hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CatalogTotals {
    /// The number of bricks.
    pub bricks: u64,
    /// Bytes of the bricks' files.
    pub brick_bytes: u64,
    /// The number of frames.
    pub frames: u64,
    /// The number of chunks; one that stands in two bricks counts twice.
    pub chunks: u64,
    /// Bytes of these chunks.
    pub chunk_bytes: u64,
}

/// An open catalog. Several processes may have the same one open at once, but
/// one process only once.
pub struct Catalog {
    environment: Environment,
    checker: Checker,
    live: LiveSet,
}

impl Catalog {
    /// Opens the catalog of `store` below the folder `dir`, or makes it, and
    /// brings it up to date with the sidecars. A catalog that is damaged, of
    /// another store or of another version is deleted and made anew; damaged
    /// sidecars are reported and left out.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Refused`] on a network file system.
    pub fn open(dir: &Path, store: &Store, keys: &PutKeys) -> Result<(Self, CatalogReport)> {
        Self::open_sized(dir, store, keys, FIRST_MAP)
    }

    fn open_sized(
        dir: &Path,
        store: &Store,
        keys: &PutKeys,
        first_map: usize,
    ) -> Result<(Self, CatalogReport)> {
        let place = Place::new(dir, store)?;
        let error = |fault: Fault| fault.into_error(&place.dir);
        let (mut catalog, mut rebuilt) = place.open(store, first_map).map_err(error)?;
        let mut report = match Sync::new(&mut catalog, store, keys).run() {
            Ok(report) => report,
            Err(fault) => {
                let Some(damage) = fault.damage() else {
                    return Err(error(fault));
                };
                drop(catalog);
                catalog = place.open_anew(store, first_map).map_err(error)?;
                rebuilt = Some(damage);
                Sync::new(&mut catalog, store, keys).run().map_err(error)?
            }
        };
        report.rebuilt = rebuilt;
        Ok((catalog, report))
    }

    /// Puts into `out`, for each chunk id and length, where such a chunk lies
    /// that may be relied upon; nothing, if the store has none.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Refused`] if the catalog is damaged.
    pub fn lookup(
        &mut self,
        ids: &[ChunkId],
        lengths: &[u32],
        out: &mut Vec<Option<Location>>,
    ) -> Result<()> {
        out.clear();
        let checker = self.checker;
        let live = &mut self.live;
        let result = self.environment.read(|txn, tables| {
            let runs = Runs::read(txn, tables, checker)?;
            let reader = Reader {
                txn,
                tables,
                checker,
                runs: &runs.list,
            };
            for (id, &length) in ids.iter().zip(lengths) {
                out.push(reader.find(live, id, length)?);
            }
            Ok(())
        });
        result.map_err(|fault| fault.into_error(self.environment.dir()))
    }

    /// Enters a brick whose sidecar stands in the store, durably. `brick_length`
    /// is that of its file in bytes. A brick that is there already stays as it is.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Refused`] if the catalog is damaged.
    pub fn insert(&mut self, name: &BrickName, brick_length: u64, toc: &Toc) -> Result<BrickRef> {
        let mut ordinals = Vec::new();
        let mut batch = Batch::default();
        let brick = batch
            .add(name, brick_length, toc)
            .and_then(|()| batch.store(&mut self.environment, self.checker, &mut ordinals))
            .and_then(|()| {
                ordinals
                    .first()
                    .copied()
                    .ok_or(Fault::Corrupt("no ordinal"))
            })
            .and_then(|brick| self.merge_runs(false).map(|()| brick))
            .map_err(|fault| fault.into_error(self.environment.dir()))?;
        self.live.set(brick, true);
        Ok(brick)
    }

    /// A brick.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Refused`] if the catalog is damaged.
    pub fn brick(&mut self, brick: BrickRef) -> Result<BrickInfo> {
        self.reading(|reader| Ok(reader.record(brick)?.info()))
    }

    /// A frame of a brick.
    ///
    /// # Errors
    /// As [`Catalog::brick`]; [`Error::Internal`] if there is no such frame.
    pub fn frame(&mut self, brick: BrickRef, number: u32) -> Result<FrameInfo> {
        self.reading(|reader| {
            let mut frames = reader.record(brick)?.frames();
            frames.nth(number as usize).ok_or_else(|| {
                Fault::Other(Error::Internal(format!(
                    "brick {} has no frame {number}",
                    brick.0
                )))
            })
        })
    }

    /// Puts all frames of a brick into `out`, in order.
    ///
    /// # Errors
    /// As [`Catalog::brick`].
    pub fn frames(&mut self, brick: BrickRef, out: &mut Vec<FrameInfo>) -> Result<()> {
        out.clear();
        self.reading(|reader| {
            out.extend(reader.record(brick)?.frames());
            Ok(())
        })
    }

    /// What the live bricks hold.
    ///
    /// # Errors
    /// As [`Catalog::brick`].
    pub fn totals(&mut self) -> Result<CatalogTotals> {
        let live: Vec<_> = self.live.live().collect();
        self.reading(|reader| {
            let mut totals = CatalogTotals::default();
            for &brick in &live {
                let record = reader.record(brick)?;
                totals.bricks += 1;
                totals.brick_bytes += record.length;
                totals.frames += u64::from(record.frame_count);
                totals.chunks += u64::from(record.chunk_count);
                totals.chunk_bytes += record.chunk_bytes;
            }
            Ok(totals)
        })
    }

    /// The number of bricks that it knows, live or not.
    fn known(&mut self) -> Step<u64> {
        self.environment
            .read(|txn, tables| Ok(tables.names.len(txn)?))
    }

    /// Merges runs if it is time. If another process is at it, `wait` says
    /// whether to wait for it: a lookup is slow while there are many runs.
    fn merge_runs(&mut self, wait: bool) -> Step<()> {
        let checker = self.checker;
        let due = |environment: &mut Environment| {
            environment.read(|txn, tables| {
                let runs = Runs::read(txn, tables, checker)?;
                Ok(merge::due(&runs.list).to_vec())
            })
        };
        if due(&mut self.environment)?.is_empty() {
            return Ok(());
        }
        let Some(_lock) = self.environment.lock_merges(wait)? else {
            return Ok(());
        };
        // The other one may have done it.
        let sources = due(&mut self.environment)?;
        if sources.is_empty() {
            return Ok(());
        }
        Merge::run(&mut self.environment, checker, &sources)
    }

    fn reading<T>(&mut self, step: impl FnOnce(&Reader<'_, '_>) -> Step<T>) -> Result<T> {
        let checker = self.checker;
        let result = self.environment.read(|txn, tables| {
            step(&Reader {
                txn,
                tables,
                checker,
                runs: &[],
            })
        });
        result.map_err(|fault| fault.into_error(self.environment.dir()))
    }
}

/// Where one store's catalog stands. Opening, deleting and making it is one
/// process's business at a time; using it is not.
struct Place {
    dir: PathBuf,
    /// The file on which whoever opens, deletes or makes it holds a `flock`.
    lock: PathBuf,
}

impl Place {
    fn new(base: &Path, store: &Store) -> Result<Self> {
        fs::create_dir_all(base).map_err(Error::io("make the folder", base))?;
        Ok(Self {
            dir: base.join(store.id().to_string()),
            lock: base.join(format!("{}.lock", store.id())),
        })
    }

    fn lock(&self) -> Result<File> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&self.lock)
            .map_err(Error::io("open", &self.lock))?;
        flock(&file, FlockOperation::LockExclusive)
            .map_err(|error| Error::io("lock", &self.lock)(error.into()))?;
        Ok(file)
    }

    /// Opens the catalog; makes it anew, and says why, if it is no good.
    fn open(&self, store: &Store, first_map: usize) -> Step<(Catalog, Option<String>)> {
        let _lock = self.lock()?;
        let fault = match self.attempt(store, first_map) {
            Ok(catalog) => return Ok((catalog, None)),
            Err(fault) => fault,
        };
        let Some(damage) = fault.damage() else {
            return Err(fault);
        };
        self.discard()?;
        Ok((self.attempt(store, first_map)?, Some(damage)))
    }

    fn open_anew(&self, store: &Store, first_map: usize) -> Step<Catalog> {
        let _lock = self.lock()?;
        self.discard()?;
        self.attempt(store, first_map)
    }

    fn attempt(&self, store: &Store, first_map: usize) -> Step<Catalog> {
        if self.dir.exists() && !self.dir.is_dir() {
            return Err(Fault::Corrupt("not a folder"));
        }
        let mut environment = Environment::open(&self.dir, first_map)?;
        let checker = Checker::new(store.id());
        identify(&mut environment, checker, store)?;
        Ok(Catalog {
            environment,
            checker,
            live: LiveSet::new(store.layout().clone()),
        })
    }

    /// Deletes the catalog. It is renamed first: processes that have it open
    /// go on with their files, and nobody opens one that is half deleted.
    fn discard(&self) -> Result<()> {
        let random = atomic::random_name(&self.dir)?;
        let doomed = self.dir.with_extension(format!("{random}.deleted"));
        fs::rename(&self.dir, &doomed).map_err(Error::io("rename", &self.dir))?;
        let removed = match fs::remove_dir_all(&doomed) {
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => fs::remove_file(&doomed),
            result => result,
        };
        removed.map_err(Error::io("delete", &doomed))
    }
}

/// Checks that the catalog is of this version and store; writes so in a new one.
fn identify(environment: &mut Environment, checker: Checker, store: &Store) -> Step<()> {
    let mut expected = entry::identity(store.id());
    checker.seal(Kind::Meta, IDENTITY, &mut expected);
    let known = environment.read(|txn, tables| match tables.meta.get(txn, IDENTITY)? {
        None => Ok(false),
        Some(found) if found == expected => Ok(true),
        Some(_) => Err(Fault::Corrupt("of another version or another store")),
    })?;
    if known {
        return Ok(());
    }
    environment.write(|txn, tables| {
        if !tables.names.is_empty(txn)? {
            return Err(Fault::Corrupt("without identity"));
        }
        Ok(tables.meta.put(txn, IDENTITY, &expected)?)
    })
}
