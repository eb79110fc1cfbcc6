//! Makes again what follows from bricks: sidecars, and from these the catalog.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use super::bricks::fault_of;
use super::copy::{Inspection, Scratch};
use super::finding::{Fault, Kind};
use super::jobs::{self, Copy, Job};
use super::means::{Keyed, Means};
use super::needs::Needs;
use super::salts::{Salts, salt_of};
use super::salvage::{Salvage, Salvages};
use super::workers;
use crate::archive::Monitor;
use crate::brick::SIDECAR_SEAL_LENGTH;
use crate::crypto::Key;
use crate::error::{Error, Exit, Result};
use crate::format::brick::{FOOTER_LENGTH, Footer};
use crate::format::note::NoteKind;
use crate::format::origins::Origins;
use crate::format::toc::{Toc, TocHeader};
use crate::id::BrickName;
use crate::store::atomic;
use crate::store::catalog::{Catalog, CatalogReport};
use crate::store::guard::open_file;
use crate::store::own_toc::read_own_toc;
use crate::store::runs::{self, Lease};
use crate::store::{MAX_SIDECAR_LENGTH, Store, is_damage, is_missing};

/// How to rebuild.
#[derive(Debug, Clone, Default)]
pub struct RebuildOptions {
    /// Further places to look for bricks in.
    pub bricks_in: Vec<PathBuf>,
    /// Folder for the catalog.
    pub catalog: PathBuf,
    /// Threads; 0: one a processor.
    pub threads: usize,
}

/// What a rebuild does, as it does it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rebuilding {
    /// A sidecar was made from its brick.
    Sidecar(PathBuf),
    /// Frames of a damaged brick were put into a new one.
    Salvaged {
        /// The damaged brick.
        from: PathBuf,
        /// The new one.
        to: BrickName,
        /// How many frames.
        frames: u64,
        /// Bytes of the damaged brick in which no frame is left.
        lost: u64,
    },
    /// Nothing of a damaged brick had to be put into a new one: what is left stands in
    /// others.
    Elsewhere {
        /// The damaged brick.
        from: PathBuf,
        /// Bytes in which no frame is left.
        lost: u64,
    },
    /// What could not be mended.
    Fault(Fault),
}

/// What a rebuild did.
#[derive(Debug, Default)]
pub struct RebuildSummary {
    /// Sidecars that were sound before.
    pub sound: u64,
    /// Sidecars that were made.
    pub made: u64,
    /// New bricks with frames of damaged ones.
    pub salvaged: u64,
    /// Faults that were not mended.
    pub faults: u64,
    /// Of the new catalog.
    pub catalog: CatalogReport,
}

impl RebuildSummary {
    /// How a program should end.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        Exit::of_damage(self.faults > 0)
    }
}

/// Makes missing and damaged sidecars from their bricks, and the catalog from the sidecars.
///
/// A sidecar is made only from a brick whose bytes have its name as hash. Of another
/// brick, frames that open are put, byte for byte, into a new brick (`formats/store.md#rebuilding`); that takes the secret key. Nothing is
/// deleted, and to do it again changes nothing.
///
/// # Errors
/// What hinders it; [`Error::Interrupted`]. What cannot be mended is no error, but told.
pub fn rebuild(
    store: &Store,
    key: &Key,
    options: &RebuildOptions,
    told: &(dyn Fn(Rebuilding) + Sync),
    monitor: &Arc<Monitor>,
) -> Result<RebuildSummary> {
    let means = Means::with_key(store, key)?;
    let Some(keyed) = &means.keyed else {
        return Err(Error::Internal("a store without a key".into()));
    };
    // A gc waits for it as for an archiver, and what a gc deletes is left alone: a sidecar
    // made again must not outlive its brick.
    let lease = Lease::take(store, &keyed.keys, NoteKind::ArchiverLease, "dtar rebuild")?;
    let dead = runs::dead_bricks(store, &keyed.keys)?;
    let mut all = jobs::gather(&means.layout, &options.bricks_in)?;
    let dying = all.extract_if(.., |job| dead.binary_search(&job.name).is_ok());
    let dying: Vec<Job> = dying.collect();
    let sidecars = Sidecars {
        lease: &lease,
        jobs: &all,
        means: &means,
        keyed,
        monitor,
        told,
        state: Mutex::default(),
    };
    sidecars.tell_dying(&dying)?;
    let mut known = Known::default();
    if !options.bricks_in.is_empty() {
        known.needs = Needs::of_roots(keyed)?;
    }
    // What stands is read first, so that it is known how much there is to do.
    let (mut jobs, mut elsewhere, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    for job in &all {
        monitor.check()?;
        match sidecars.standing(job, &mut bytes) {
            Standing::Sound(toc) => {
                known.sound += 1;
                known.note(&job.name, &bytes, &toc);
            }
            Standing::Unread => {}
            Standing::Nothing if job.is_own() || store.layout().sidecar_stands(&job.name)? => {
                jobs.push(job.clone());
            }
            Standing::Nothing => elsewhere.push(job.clone()),
        }
    }
    sidecars.make_all(&jobs, options.threads, &mut known)?;
    // What lies elsewhere only as far as nothing meets what it is needed for.
    let (named, others): (Vec<_>, Vec<_>) = elsewhere
        .into_iter()
        .partition(|job| known.misses(&job.name));
    sidecars.make_all(&named, options.threads, &mut known)?;
    sidecars.make_carriers(&others, &mut known)?;
    let State {
        made,
        beyond,
        faults,
    } = sidecars
        .state
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let (mut catalog, report) = Catalog::remake(&options.catalog, store, &keyed.keys)?;
    let mut summary = RebuildSummary {
        sound: known.sound,
        made: made.len() as u64,
        salvaged: 0,
        faults,
        catalog: report,
    };
    if !beyond.is_empty() {
        known.add_files(&all, &means);
    }
    let salvages = Salvages {
        means: &means,
        keyed,
        lease: &lease,
        monitor,
        bricks_in: &options.bricks_in,
        salts: &known.salts,
    };
    for (name, copies) in beyond {
        let before = known.carriers.get(&name).map_or(&[][..], Vec::as_slice);
        let mut salvage = Salvage::new(&salvages, &mut catalog, name, before);
        for step in salvage.run(&copies)? {
            match &step {
                Rebuilding::Salvaged { .. } => summary.salvaged += 1,
                Rebuilding::Fault(_) => summary.faults += 1,
                _ => {}
            }
            told(step);
        }
    }
    lease.give_up()?;
    Ok(summary)
}

/// What the bricks with sound sidecars come to.
#[derive(Default)]
struct Known {
    sound: u64,
    /// Of the roots, if bricks are looked for elsewhere.
    needs: Needs,
    /// By old brick, the bricks that frames of it were put into.
    carriers: HashMap<BrickName, Vec<BrickName>>,
    salts: Salts,
    /// The bricks with sound sidecars.
    names: HashSet<BrickName>,
}

impl Known {
    /// A brick has a sound sidecar: its bytes, and what they say.
    fn note(&mut self, name: &BrickName, sidecar: &[u8], toc: &Toc) {
        self.needs.meet(name, toc);
        self.names.insert(*name);
        if let Ok(header) = TocHeader::decode(sidecar) {
            self.salts.add(header.salt, *name);
        }
        for old in toc.origins().map_or(&[][..], Origins::bricks) {
            self.carriers.entry(*old).or_default().push(*name);
        }
    }

    /// Adds the salts of the bricks that have no sidecars, by their files.
    fn add_files(&mut self, jobs: &[Job], means: &Means<'_>) {
        for job in jobs.iter().filter(|job| !self.names.contains(&job.name)) {
            for copy in job.copies(&means.layout) {
                if let Some(salt) = open(&copy.path).ok().and_then(|(file, _)| salt_of(&file)) {
                    self.salts.add(salt, job.name);
                }
            }
        }
    }

    /// Whether a brick that lies elsewhere is missed here. Others get no sidecars, lest
    /// what was collected comes back from old media, and what took its place goes.
    fn misses(&self, name: &BrickName) -> bool {
        let is_replaced = self.carriers.contains_key(name);
        self.needs.is_unmet(name) || self.needs.is_partial() && !is_replaced
    }
}

struct Sidecars<'a> {
    lease: &'a Lease,
    /// All bricks, ascending.
    jobs: &'a [Job],
    means: &'a Means<'a>,
    keyed: &'a Keyed<'a>,
    monitor: &'a Monitor,
    told: &'a (dyn Fn(Rebuilding) + Sync),
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    made: Vec<BrickName>,
    /// Bricks whose bytes are not those of their names, and their files.
    beyond: Vec<(BrickName, Vec<Copy>)>,
    faults: u64,
}

impl Sidecars<'_> {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self, fault: Fault) {
        self.state().faults += 1;
        (self.told)(Rebuilding::Fault(fault));
    }

    /// Says which damaged sidecars a gc is about to delete, or to keep after all.
    fn tell_dying(&self, jobs: &[Job]) -> Result<()> {
        let mut bytes = Vec::new();
        for job in jobs {
            let path = self.means.layout.toc_path(&job.name);
            if self.means.layout.sidecar_stands(&job.name)?
                && matches!(self.standing(job, &mut bytes), Standing::Nothing)
            {
                let message = "damaged, and not made again, since a gc is about to delete its \
                               brick: run `dtar gc`, then `dtar rebuild` once more";
                self.fault(Fault::new(Kind::Sidecar, path, message).of(job.name));
            }
        }
        Ok(())
    }

    /// Makes the sidecars of `jobs`, as far as that can be done.
    fn make_all(&self, jobs: &[Job], threads: usize, known: &mut Known) -> Result<()> {
        let total: u64 = jobs.iter().map(Job::bytes).sum();
        self.monitor.total.fetch_add(total, Ordering::Relaxed);
        let before = self.state().made.len();
        workers::for_each(threads, jobs, |job, scratch| self.make(job, scratch))?;
        let mut made = self.state().made.split_off(before);
        let mut bytes = Vec::new();
        for name in &made {
            let keyed = self.keyed;
            let toc = keyed.store.read_sidecar(&keyed.keys, name, &mut bytes)?;
            known.note(name, &bytes, &toc);
        }
        self.state().made.append(&mut made);
        Ok(())
    }

    /// Makes those of bricks elsewhere whose frames were moved there from bricks that are
    /// missed; one after another, since one may make the next superfluous.
    fn make_carriers(&self, jobs: &[Job], known: &mut Known) -> Result<()> {
        for job in jobs {
            self.monitor.check()?;
            let toc = self.own_toc(job);
            if toc.is_some_and(|toc| known.needs.would_meet(&toc)) {
                self.make_all(std::slice::from_ref(job), 1, known)?;
            }
        }
        Ok(())
    }

    /// The table of contents in a brick's file, if there is one.
    fn own_toc(&self, job: &Job) -> Option<Toc> {
        let copies = job.copies(&self.means.layout);
        copies.iter().find_map(|copy| {
            let file = open_file(&copy.path).ok()?;
            let own = read_own_toc(&file, &copy.path, &self.keyed.keys, &mut Vec::new());
            own.ok().map(|(_, toc)| toc)
        })
    }

    /// What stands where the sidecar of a brick should, and its `bytes`.
    fn standing(&self, job: &Job, bytes: &mut Vec<u8>) -> Standing {
        let Keyed { store, keys, .. } = self.keyed;
        match store.read_sidecar(keys, &job.name, bytes) {
            Ok(toc) => {
                let length = bytes.len().saturating_sub(SIDECAR_SEAL_LENGTH);
                if self.is_refuted(job, bytes.get(..length).unwrap_or_default()) {
                    return Standing::Nothing;
                }
                Standing::Sound(Box::new(toc))
            }
            // Out of reach for now, which is no reason to put another in its place.
            Err(Error::Io { source, .. }) if !is_missing(&source) && !is_damage(&source) => {
                let path = self.means.layout.toc_path(&job.name);
                let message = format!("cannot be read: {source}");
                self.fault(Fault::new(Kind::Sidecar, path, message).of(job.name));
                Standing::Unread
            }
            Err(_) => Standing::Nothing,
        }
    }

    /// Whether a file of the brick is sound and holds another table of contents than its
    /// sidecar: everybody with a put key can seal one for any name.
    fn is_refuted(&self, job: &Job, toc: &[u8]) -> bool {
        job.copies(&self.means.layout).iter().any(|copy| {
            // To open a pipe is to wait for its writer.
            if !fs::metadata(&copy.path).is_ok_and(|found| found.is_file()) {
                return false;
            }
            let opened = File::open(&copy.path);
            let tables = opened.and_then(|file| Ok((table_of(&file)?, file)));
            tables.is_ok_and(|(table, mut file)| {
                // Only if they differ is it worth reading all of it.
                let mut hasher = blake3::Hasher::new();
                table != toc
                    && hasher.update_reader(&mut file).is_ok()
                    && hasher.finalize() == *job.name.as_bytes()
            })
        })
    }

    /// Makes the sidecar of a brick, if one of its files is sound.
    fn make(&self, job: &Job, scratch: &mut Scratch) -> Result<()> {
        let copies = job.copies(&self.means.layout);
        let path = self.means.layout.toc_path(&job.name);
        if copies.is_empty() {
            let message = "damaged, and its brick is not here: bring it back, or name its \
                           folder with --bricks";
            self.fault(Fault::new(Kind::Sidecar, path, message).of(job.name));
            return Ok(());
        }
        let (mut problem, mut beyond) = (None, Vec::new());
        for copy in copies {
            match self.attempt(job.name, &copy, scratch)? {
                Attempt::Made => {
                    self.state().made.push(job.name);
                    (self.told)(Rebuilding::Sidecar(path));
                    return Ok(());
                }
                Attempt::Gone => return Ok(()),
                Attempt::Beyond => {
                    self.distrust(&job.name, &copy, "found damaged by rebuild")?;
                    beyond.push(copy);
                }
                Attempt::Another => {
                    self.distrust(&job.name, &copy, "its bytes are those of another brick")?;
                    (self.told)(Rebuilding::Elsewhere {
                        from: copy.path,
                        lost: 0,
                    });
                }
                Attempt::Refused(fault) => problem = Some(*fault),
            }
        }
        match problem {
            // Its bytes are right, so nothing better is to be had.
            Some(fault) => self.fault(fault),
            None if beyond.is_empty() => {}
            None => self.state().beyond.push((job.name, beyond)),
        }
        Ok(())
    }

    /// Marks a brick of which the store's own file is not what it should be, before it
    /// gets a sidecar from another: until then nobody relies on it.
    fn distrust(&self, name: &BrickName, copy: &Copy, text: &str) -> Result<()> {
        let Keyed { store, keys, .. } = self.keyed;
        match copy.folder {
            Some(_) => store.mark(keys, name, text),
            None => Ok(()),
        }
    }

    fn attempt(&self, name: BrickName, copy: &Copy, scratch: &mut Scratch) -> Result<Attempt> {
        // Without the key that opens frames: hash and table are all that matters.
        let tables = Means {
            opener: None,
            layout: self.means.layout.clone(),
            store_id: self.means.store_id,
            keyed: Some(Keyed {
                store: self.keyed.store,
                key: self.keyed.key,
                keys: self.keyed.keys.clone(),
            }),
        };
        let inspection = Inspection {
            means: &tables,
            monitor: self.monitor,
            name,
            copy,
            sidecar: None,
            known: &|name| {
                let found = self.jobs.binary_search_by_key(name, |job| job.name);
                found.is_ok_and(|at| self.jobs.get(at).is_some_and(Job::is_here))
            },
        };
        let Some(inspected) = inspection.whole(scratch)? else {
            return Ok(Attempt::Gone);
        };
        if inspected.out_of_reach
            && let Some(fault) = inspected.faults.first()
        {
            return Ok(Attempt::Refused(Box::new(fault.clone())));
        }
        if inspected.is_another {
            return Ok(Attempt::Another);
        }
        if !inspected.is_named {
            return Ok(Attempt::Beyond);
        }
        let blocks = |fault: &Fault| matches!(fault.kind, Kind::Toc | Kind::Footer | Kind::Header);
        if let Some(fault) = inspected.faults.into_iter().find(blocks) {
            return Ok(Attempt::Refused(Box::new(fault)));
        }
        if copy.folder.is_some() {
            // Whoever put it there may have been cut off before its name was durable.
            atomic::settle(&copy.path)?;
        }
        let (store, keys) = (self.keyed.store, &self.keyed.keys);
        store.write_sidecar(self.lease, keys, &name, &scratch.toc)?;
        Ok(Attempt::Made)
    }
}

/// What stands where a sidecar should.
enum Standing {
    Sound(Box<Toc>),
    /// Nothing of use.
    Nothing,
    /// Nobody knows.
    Unread,
}

enum Attempt {
    Made,
    /// It has gone meanwhile.
    Gone,
    /// Its bytes are not those of its name.
    Beyond,
    /// Its bytes are those of another brick, which is here too.
    Another,
    /// Its bytes are right, but no table of contents of this store is in it.
    Refused(Box<Fault>),
}

/// The bytes where a brick's footer says that its table of contents is.
fn table_of(file: &File) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    let mut end = [0; FOOTER_LENGTH];
    file.read_exact_at(&mut end, length.saturating_sub(FOOTER_LENGTH as u64))?;
    let footer = Footer::decode(&end, length).map_err(io::Error::other)?;
    if footer.toc_length > MAX_SIDECAR_LENGTH {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut toc = vec![0; usize::try_from(footer.toc_length).unwrap_or_default()];
    file.read_exact_at(&mut toc, footer.toc_offset)?;
    Ok(toc)
}

/// Opens a file of a brick, and says how long it is.
pub(super) fn open(path: &Path) -> Result<(File, u64), Fault> {
    let opened = open_file(path).and_then(|file| {
        let length = file.metadata()?.len();
        Ok((file, length))
    });
    opened.map_err(|error| fault_of(Kind::Brick, path, Error::io("open", path)(error)))
}
