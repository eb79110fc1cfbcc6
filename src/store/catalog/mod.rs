//! The catalog: from chunk id to location, in the user's cache folder
//! (`formats/store.md#catalog`).
//!
//! It is a cache and nothing else. What it says counts only for bricks whose
//! sidecars stand in the store and which carry no mark; whatever is wrong with
//! it, it is deleted and made again from the sidecars. Ordinals name bricks
//! within one catalog; a brick keeps its ordinal even while its sidecar is
//! gone, for a name always means the same bytes.
//!
//! ```text
//! sidecars -> batch -> run: blocks of entries, sorted by chunk id; filter
//!                       runs -> merge -> run           chunk id -> filters -> blocks -> live brick
//! ```
//!
//! An LMDB environment holds five tables: what the catalog is (`meta`), bricks by
//! name (`names`) and by ordinal (`bricks`), and the chunks' entries in sorted
//! runs that are never altered (`chunks`, `filters`; see `run.rs`). Whatever is
//! entered or merged is entered or merged in one transaction, so that a process
//! may be killed at any time. Several may look up and enter at once; one at a time
//! merges (`schedule.rs`), and if two do, nothing is lost (`merge.rs`).
//!
//! What happens when
//! - the file is damaged: its pages are checked before they are mapped if it is
//!   small or a user of it has died (`pages.rs`), and each value has a check
//!   (`entry.rs`). What fails at opening has the catalog made anew; a damaged entry
//!   counts as absent.
//! - the disk is full: a run goes on and says so at its end (`aside.rs`).

mod aside;
mod batch;
mod entry;
mod environment;
mod fault;
mod filter;
#[cfg(test)]
mod hard_tests;
mod host;
mod lookup;
mod merge;
mod own;
mod pages;
mod place;
mod run;
#[cfg(test)]
mod run_tests;
mod schedule;
mod sync;
#[cfg(test)]
mod tests;

use std::path::Path;

pub use self::aside::Unentered;
pub use self::own::{OwnSeals, OwnSidecars};
pub use self::sync::CatalogReport;

use self::aside::Aside;
use self::batch::Batch;
use self::entry::Checker;
use self::environment::{Environment, FIRST_MAP};
use self::fault::{Fault, Step};
use self::lookup::{LiveSet, Reader};
use self::place::Place;
use self::run::Runs;
use self::schedule::Schedule;
use self::sync::Sync;
use super::Store;
use crate::brick::SidecarSeal;
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
    schedule: Schedule,
    aside: Aside,
    own: OwnSidecars,
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

    /// Deletes the catalog of `store` below the folder `dir`, whatever it is, and makes it
    /// anew from the sidecars.
    ///
    /// # Errors
    /// As [`Catalog::open`].
    pub fn remake(dir: &Path, store: &Store, keys: &PutKeys) -> Result<(Self, CatalogReport)> {
        let place = Place::new(dir, store)?;
        let error = |fault: Fault| fault.into_error(&place.dir);
        let mut catalog = place.open_anew(store, FIRST_MAP).map_err(error)?;
        let report = Sync::new(&mut catalog, store, keys).run().map_err(error)?;
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
                aside: &[],
                runs: &runs.list,
            };
            for (id, &length) in ids.iter().zip(lengths) {
                out.push(reader.find(live, id, length)?);
            }
            Ok(())
        });
        result.map_err(|fault| fault.into_error(self.environment.dir()))
    }

    /// From now on relies only on bricks whose sidecars were made with the catalogs of
    /// this folder, and on those that are inserted. Returns how many of those that it
    /// relied upon until now are others'.
    ///
    /// # Errors
    /// As [`Catalog::brick`]; [`Error::Io`].
    pub fn trust_own(&mut self) -> Result<u64> {
        let own = self.own.read()?;
        let live: Vec<_> = self.live.live().collect();
        let others = self.reading(|reader| {
            let mut others = 0;
            for &brick in &live {
                others += u64::from(!own.contains(&reader.record(brick)?.seal));
            }
            Ok(others)
        })?;
        self.live.set_own(own);
        Ok(others)
    }

    /// Enters a brick that was made here, durably, and remembers that. Its sidecar
    /// stands in the store, with this `seal`; `brick_length` is that of its file in
    /// bytes. A brick that is there already stays as it is, unless it was entered from
    /// another sidecar: then it is held in memory, too.
    ///
    /// A catalog that cannot take it in, because the disk is full, fails no run:
    /// the brick is held in memory, [`Catalog::brick`] and [`Catalog::frame`]
    /// know it, but its chunks are not found ([`Catalog::unentered`]).
    ///
    /// # Errors
    /// [`Error::Refused`] if there are 2^31 such bricks already.
    pub fn insert(
        &mut self,
        name: &BrickName,
        brick_length: u64,
        toc: &Toc,
        seal: &SidecarSeal,
    ) -> Result<BrickRef> {
        let mut batch = Batch::default();
        let result = batch
            .add(name, brick_length, toc, seal)
            .and_then(|()| self.enter(&mut batch, seal))
            .or_else(|fault| {
                batch.clear();
                batch.add(name, brick_length, toc, seal)?;
                self.aside.hold(&batch, self.checker, fault)
            });
        if let Err(error) = self.own.add(seal) {
            self.aside.note(&Fault::Other(error));
        }
        result.map_err(|fault| fault.into_error(self.environment.dir()))
    }

    fn enter(&mut self, batch: &mut Batch, seal: &SidecarSeal) -> Step<BrickRef> {
        let (entered, mut ordinals) = (batch.len(), Vec::new());
        batch.store(&mut self.environment, self.checker, &mut ordinals)?;
        let brick = ordinals.first().copied();
        let brick = brick.ok_or(Fault::Corrupt("no ordinal"))?;
        if self.reading_step(|reader| Ok(reader.record(brick)?.seal != *seal))? {
            return Err(Fault::Corrupt("a new brick has another sidecar already"));
        }
        self.live.set_made(brick);
        if self.aside.has_failed() {
            return Ok(brick);
        }
        let merged = self
            .schedule
            .go_on(&mut self.environment, self.checker, entered);
        // The brick is in, and runs that are not merged lose nothing.
        if let Err(fault) = merged {
            self.aside.note(&fault);
        }
        Ok(brick)
    }

    /// What the catalog could not take in since it was opened; nothing, if all is well.
    #[must_use]
    pub fn unentered(&self) -> Option<Unentered> {
        self.aside.unentered()
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

    fn reading<T>(&mut self, step: impl FnOnce(&Reader<'_, '_>) -> Step<T>) -> Result<T> {
        let result = self.reading_step(step);
        result.map_err(|fault| fault.into_error(self.environment.dir()))
    }

    fn reading_step<T>(&mut self, step: impl FnOnce(&Reader<'_, '_>) -> Step<T>) -> Step<T> {
        let checker = self.checker;
        let aside = self.aside.records();
        self.environment.read(|txn, tables| {
            step(&Reader {
                txn,
                tables,
                checker,
                aside,
                runs: &[],
            })
        })
    }
}
