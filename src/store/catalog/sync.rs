//! Brings a catalog up to date: what stands in `tocs/` today is what counts.

use std::path::PathBuf;

use super::batch::{self, Batch};
use super::entry::{Kind, VANISHED};
use super::fault::{Fault, Step};
use super::{BrickRef, Catalog, Unentered};
use crate::Error;
use crate::brick::{SIDECAR_SEAL_LENGTH, SidecarSeal};
use crate::crypto::PutKeys;
use crate::format::brick::FOOTER_LENGTH;
use crate::format::toc::Toc;
use crate::id::BrickName;
use crate::store::runs::dead_bricks;
use crate::store::{Store, without_path};

/// What opening a catalog found.
#[derive(Debug, Default)]
pub struct CatalogReport {
    /// Bricks against which chunks may be deduplicated.
    pub live: u64,
    /// Of these, those whose sidecars were read just now.
    pub loaded: u64,
    /// Bricks that stand in `tocs/` but are on a dead list or have a mark.
    pub marked: u64,
    /// Marks that no holder of a key has made.
    pub unsealed: Vec<PathBuf>,
    /// Bricks that the catalog knows and whose sidecars are gone.
    pub vanished: u64,
    /// Of these, those that had theirs when the catalog was opened last: gc has deleted
    /// them, or they were lost.
    pub newly_vanished: u64,
    /// Sidecars that could not be read, and why; their bricks are left out.
    pub damaged: Vec<(PathBuf, String)>,
    /// Sidecars that the catalog had no room for, and why.
    pub unentered: Option<Unentered>,
    /// Why the catalog was deleted and made anew, if it was.
    pub rebuilt: Option<String>,
}

/// A run through all sidecars of a store.
pub(super) struct Sync<'a> {
    pub catalog: &'a mut Catalog,
    pub store: &'a Store,
    pub keys: &'a PutKeys,
    batch: Batch,
    /// Names and ordinals of the batch's bricks, and the bytes of one sidecar: kept for their memory.
    ordinals: Vec<BrickRef>,
    sidecar: Vec<u8>,
    /// Why nothing more can be entered.
    hindrance: Option<Fault>,
    report: CatalogReport,
}

impl<'a> Sync<'a> {
    pub fn new(catalog: &'a mut Catalog, store: &'a Store, keys: &'a PutKeys) -> Self {
        Self {
            catalog,
            store,
            keys,
            batch: Batch::default(),
            ordinals: Vec::new(),
            sidecar: Vec::new(),
            hindrance: None,
            report: CatalogReport::default(),
        }
    }

    pub fn run(mut self) -> Step<CatalogReport> {
        let marks = Marks::read(self.store, self.keys)?;
        self.report.unsealed = self.store.unsealed_marks(self.keys, &marks.bad)?;
        self.catalog.live.set_dead(&marks.dead);
        let known = self.catalog.known()?;
        let (mut standing, mut names, mut fresh) = (0, Vec::new(), Vec::new());
        for shard in 0..=u8::MAX {
            names.clear();
            fresh.clear();
            self.store.layout().sidecar_names(shard, &mut names)?;
            standing += self.sort_out(&names, &marks, &mut fresh)?;
            if !fresh.is_empty() {
                // Whoever wrote them may have been cut off before their names were durable.
                self.store.layout().sync_sidecars(shard)?;
            }
            for (place, name) in fresh.iter().enumerate() {
                if let Some(fault) = &self.hindrance {
                    let rest = fresh.len() - place;
                    self.catalog.aside.leave_out(rest as u64, fault);
                    break;
                }
                self.load(name)?;
            }
        }
        self.flush()?;
        self.merge()?;
        self.report.unentered = self.catalog.unentered();
        self.report.vanished = known.saturating_sub(standing);
        self.report.newly_vanished = self.note_vanished()?;
        Ok(self.report)
    }

    /// Notes how many bricks have no sidecars; returns how many more than last time.
    fn note_vanished(&mut self) -> Step<u64> {
        let vanished = u32::try_from(self.report.vanished).unwrap_or(u32::MAX);
        let Catalog {
            environment,
            checker,
            ..
        } = &mut *self.catalog;
        let noted = environment.read(|txn, tables| {
            let sealed = tables.meta.get(txn, VANISHED)?;
            Ok(sealed.and_then(|sealed| checker.open_u32(Kind::Meta, VANISHED, sealed)))
        })?;
        if noted.unwrap_or(0) != vanished {
            let value = checker.seal_u32(Kind::Meta, VANISHED, vanished);
            let written =
                environment.write(|txn, tables| Ok(tables.meta.put(txn, VANISHED, &value)?));
            match written {
                // They are reported again next time.
                Err(fault) if fault.hinders_writing() => {}
                written => written?,
            }
        }
        Ok(u64::from(vanished.saturating_sub(noted.unwrap_or(0))))
    }

    /// Notes which of the known bricks are live, and puts the unknown ones in
    /// `fresh`. Returns how many are known.
    fn sort_out(
        &mut self,
        names: &[BrickName],
        marks: &Marks,
        fresh: &mut Vec<BrickName>,
    ) -> Step<u64> {
        let Catalog {
            environment,
            checker,
            live,
            ..
        } = &mut *self.catalog;
        let report = &mut self.report;
        environment.read(|txn, tables| {
            let mut known = 0;
            for name in names {
                let marked = marks.contain(name);
                report.marked += u64::from(marked);
                match batch::find_name(txn, tables, *checker, name)? {
                    Some(brick) => {
                        known += 1;
                        live.set(brick, !marked);
                        report.live += u64::from(!marked);
                    }
                    None if marked => {}
                    None => fresh.push(*name),
                }
            }
            Ok(known)
        })
    }

    fn load(&mut self, name: &BrickName) -> Step<()> {
        let toc = match self.store.read_sidecar(self.keys, name, &mut self.sidecar) {
            Ok(toc) => toc,
            // It stood there a moment ago.
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(());
            }
            Err(error) => {
                let path = self.store.toc_path(name);
                self.report.damaged.push((path, without_path(error)));
                return Ok(());
            }
        };
        let Some(seal) = SidecarSeal::of(&self.sidecar) else {
            return Ok(());
        };
        let length = brick_length(&toc, self.sidecar.len());
        self.batch.add(name, length, &toc, &seal)?;
        if self.batch.is_full() {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Step<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let catalog = &mut *self.catalog;
        let (environment, checker) = (&mut catalog.environment, catalog.checker);
        let stored = self.batch.store(environment, checker, &mut self.ordinals);
        match stored {
            Err(fault) if fault.hinders_writing() => {
                catalog.aside.leave_out(self.batch.bricks(), &fault);
                self.batch.clear();
                self.hindrance = Some(fault);
                return Ok(());
            }
            stored => stored?,
        }
        for &brick in &self.ordinals {
            catalog.live.set(brick, true);
        }
        let loaded = self.ordinals.len() as u64;
        self.report.loaded += loaded;
        self.report.live += loaded;
        Ok(())
    }

    /// Merges what is due, before a stream waits for it.
    fn merge(&mut self) -> Step<()> {
        let catalog = &mut *self.catalog;
        if self.hindrance.is_some() {
            return Ok(());
        }
        let merged = catalog
            .schedule
            .finish(&mut catalog.environment, catalog.checker);
        match merged {
            Err(fault) if fault.hinders_writing() => {
                catalog.aside.note(&fault);
                Ok(())
            }
            merged => merged,
        }
    }
}

/// The length of a brick in bytes, from that of its sidecar: header and
/// frames, TOC, footer (`formats/brick.md`).
fn brick_length(toc: &Toc, sidecar: usize) -> u64 {
    let toc_length = sidecar.saturating_sub(SIDECAR_SEAL_LENGTH);
    toc.end() + toc_length as u64 + FOOTER_LENGTH as u64
}

/// The bricks that must not be relied upon, whatever stands in `tocs/`.
struct Marks {
    dead: Vec<BrickName>,
    bad: Vec<BrickName>,
}

impl Marks {
    /// To be called before `tocs/` is listed.
    fn read(store: &Store, keys: &PutKeys) -> Result<Self, Fault> {
        Ok(Self {
            dead: dead_bricks(store, keys)?,
            bad: store.layout().marked()?,
        })
    }

    fn contain(&self, name: &BrickName) -> bool {
        self.dead.binary_search(name).is_ok() || self.bad.binary_search(name).is_ok()
    }
}
