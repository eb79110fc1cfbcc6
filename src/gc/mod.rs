//! Gc: what nobody needs leaves the store, while others archive
//! (`formats/collection.md#gc`).
//!
//! ```text
//! lease -> other gcs -> list bricks, then roots -> plan -> rewrite -> dead list
//!       -> wait for older runs -> roots again -> parity of what stays
//!       -> delete sidecars, bricks, old parity -> end of the list
//! ```
//!
//! The numbers of the steps in this folder are those of the page, whose model goes
//! through all interleavings (`tests/collection_model/`).

mod forget;
mod meet;
mod needs;
mod others;
mod parity;
mod plan;
mod rewrite;
mod standins;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

pub use forget::{Forgotten, forget, select, would_forget};

use crate::archive::Monitor;
use crate::brick::seal_note;
use crate::crypto::{Key, PutKeys};
use crate::error::{Error, Exit, Result};
use crate::format::frames::Frames;
use crate::format::note::{Note, NoteKind};
use crate::id::{BrickName, Class, WriterId};
use crate::parity::KeptSet;
use crate::store::Store;
use crate::store::atomic::{sync_dir, sync_dir_if_there};
use crate::store::catalog::OwnSidecars;
use crate::store::guard::refuse_links_to;
use crate::store::last_run::LastRun;
use crate::store::layout::{ParseRunNameError, RunName};
use crate::store::runs::{Lease, clean_up, new_mark, new_note};
use needs::Needs;
use plan::{Bricks, Plan};
use rewrite::{Moved, Rewriter};

/// How to collect.
#[derive(Debug, Clone)]
pub struct GcOptions {
    /// Indexes that can be restored afterwards, though their roots were forgotten.
    pub keep: Vec<PathBuf>,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Leaves out bricks that were changed more recently than so long ago.
    pub min_age: Option<Duration>,
    /// Bricks of which less than so many per cent is needed are rewritten; 0: none.
    pub threshold: u8,
    /// Ends runs that may be alive, instead of waiting for them.
    pub end_runs: EndRuns,
    /// Goes on though needed bricks, or the root that `last` remembers, are missing.
    pub allow_missing: bool,
    /// A new brick is closed before it grows beyond this many bytes.
    pub brick_size: u64,
    /// Which sidecars were made here: the new ones are too, if all their frames come from
    /// such bricks.
    pub own: Option<OwnSidecars>,
    /// The run that wrote its root last from here: if that is gone, others may be, too.
    pub last: Option<LastRun>,
}

/// Which runs of others to end that may be alive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum EndRuns {
    /// None.
    #[default]
    None,
    /// All.
    All,
    /// The one of this name.
    One(RunName),
}

impl EndRuns {
    fn holds(&self, name: &RunName) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::One(one) => one == name,
        }
    }
}

impl FromStr for EndRuns {
    type Err = ParseRunNameError;

    /// `all`, or what the folder of a run is called.
    fn from_str(text: &str) -> Result<Self, ParseRunNameError> {
        match text {
            "all" => Ok(Self::All),
            name => name.parse().map(Self::One),
        }
    }
}

impl Default for GcOptions {
    fn default() -> Self {
        Self {
            keep: Vec::new(),
            dry_run: false,
            min_age: None,
            threshold: 50,
            end_runs: EndRuns::None,
            allow_missing: false,
            brick_size: 64 << 20,
            own: None,
            last: None,
        }
    }
}

/// Something that whoever started a gc should know.
#[derive(Debug)]
pub enum GcEvent {
    /// A step begins.
    Step(&'static str),
    /// A brick is kept that is damaged, or whose sidecar is.
    Kept {
        /// The brick.
        brick: BrickName,
        /// Why.
        reason: String,
    },
    /// Marks of damage that no holder of a key has made.
    UnsealedMarks(Vec<PathBuf>),
    /// Gc waits for a run to end.
    Waiting(Box<Run>),
    /// A run was ended.
    Ended(Box<Run>),
    /// This root is that of a run that was ended, which may have written no index.
    RootOfEnded(RunName),
    /// Bricks that roots or kept indexes need and that are nowhere.
    Missing(Vec<BrickName>),
    /// The root that was written last from here is gone.
    SetBack(PathBuf),
    /// Bricks whose sidecars were deleted, and which do not lie here: nothing of them is
    /// needed.
    Cold(Vec<BrickName>),
    /// A parity set stays, and with it all its bricks, for it has some that cannot be read
    /// here.
    KeptSet(KeptSet),
    /// Gc waits for a command that changes parity.
    WaitingForParity,
}

/// A run of somebody else.
#[derive(Debug, Clone)]
pub struct Run {
    /// What its folder is called.
    pub name: RunName,
    /// What its lease says, if that opens.
    pub lease: Option<Note>,
}

/// What a gc did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GcSummary {
    /// Roots that say what is needed.
    pub roots: u64,
    /// Bricks with a sidecar or a file when it began.
    pub bricks: u64,
    /// Bricks that were deleted: of which nothing was needed.
    pub deleted: u64,
    /// Old bricks that were rewritten, and deleted.
    pub rewritten: u64,
    /// Frames that were moved.
    pub moved: u64,
    /// New bricks with moved frames.
    pub new_bricks: u64,
    /// Their bytes.
    pub new_bytes: u64,
    /// Bytes of the bricks that were deleted.
    pub freed: u64,
    /// Bricks that were given up and came to be needed meanwhile.
    pub spared: u64,
    /// Bricks that were left alone, because they are young or their run is alive.
    pub left_out: u64,
    /// Needed bricks that are nowhere.
    pub missing: u64,
    /// Bricks whose sidecars were deleted, and which do not lie here.
    pub cold: u64,
    /// What became of parity.
    pub parity: ParitySummary,
}

/// What a gc did to parity sets, or would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ParitySummary {
    /// Sets that were deleted: bricks in them were, or another set has all of theirs.
    pub old_sets: u64,
    /// New sets, over what stays.
    pub new_sets: u64,
    /// Bytes of bricks that were read for these.
    pub read: u64,
    /// Bytes of recovery shards in them.
    pub bytes: u64,
    /// Sets that nothing can take the place of, for they have bricks that cannot be read
    /// here.
    pub kept_sets: u64,
    /// Bricks that nobody needs, and that were not deleted for the sake of these sets.
    pub held: u64,
}

/// A gc at work.
struct Gc<'a> {
    store: &'a Store,
    keys: &'a PutKeys,
    lease: &'a Lease,
    options: &'a GcOptions,
    monitor: &'a Monitor,
}

/// Deletes what neither roots nor the indexes to be kept need. `key` may be a put key.
///
/// # Errors
/// Another gc at work; a root, an index or a snapshot because of which it is not known
/// what is needed; [`Error::Io`]; [`Error::Interrupted`]. The next gc cleans up.
pub fn gc(
    store: &Store,
    key: &Key,
    options: &GcOptions,
    monitor: &Monitor,
    tell: &mut dyn FnMut(GcEvent),
) -> Result<GcSummary> {
    let keys = store.put_keys(key)?;
    let mut needs = Needs::default();
    for index in &options.keep {
        needs.add_index(index, store, key)?;
    }
    if options.dry_run {
        let living = others::living_writers(store, &keys)?;
        let young = options.min_age.map(|age| before(SystemTime::now(), age));
        return dry_run(store, &keys, needs, &living, young, options, monitor, tell);
    }
    // Before anything is written: what was cut off may have filled the disk.
    let mut ended = Vec::new();
    for (name, lease) in clean_up(store, &keys)? {
        let lease = Some(lease);
        let run = Run { name, lease };
        tell(GcEvent::Ended(Box::new(run.clone())));
        ended.push(run);
    }
    // Step 1.
    let lease = Lease::take(store, &keys, NoteKind::GcLease, "")?;
    let gc = Gc {
        store,
        keys: &keys,
        lease: &lease,
        options,
        monitor,
    };
    let outcome = gc
        .run(needs, ended, tell)
        .map_err(|error| lease.explain(error));
    // Step 12.
    let given_up = lease.give_up();
    let summary = outcome?;
    given_up?;
    Ok(summary)
}

/// Up to step 3.
#[expect(
    clippy::too_many_arguments,
    reason = "those of `gc`, and what it found"
)]
fn dry_run(
    store: &Store,
    keys: &PutKeys,
    mut needs: Needs,
    living: &HashSet<WriterId>,
    young: Option<SystemTime>,
    options: &GcOptions,
    monitor: &Monitor,
    tell: &mut dyn FnMut(GcEvent),
) -> Result<GcSummary> {
    tell(GcEvent::Step("reading the sidecars"));
    let bricks = Bricks::list(store, keys, young, monitor, tell)?;
    let roots = needs.add_roots(store, keys)?;
    let condemned = condemned(store, keys, &store.layout().dead_lists()?);
    let met = bricks.meet(&needs, &condemned, store, keys, monitor)?;
    let mut plan = Plan::make(&bricks, met, living, options);
    plan.look_again(&bricks, store)?;
    plan.set_back = set_back(options)?.map(|run| store.layout().root_path(&run));
    let mut summary = begin_summary(&bricks, &plan, roots, tell);
    summary.parity = parity::hold(store, &bricks, &mut plan, monitor, tell)?;
    summary.deleted = plan.delete.len() as u64;
    summary.rewritten = plan.rewrite.len() as u64;
    let mut cold = Vec::new();
    for name in &plan.delete {
        if let Some(brick) = bricks.all.get(name) {
            summary.freed += brick.length();
            cold.extend(brick.file.is_none().then_some(*name));
        }
    }
    for (name, _, needed) in &plan.rewrite {
        summary.moved += needed.iter().count() as u64;
        if let Some(brick) = bricks.all.get(name) {
            summary.freed += brick.length();
            summary.new_bytes += brick.needed_bytes(needed);
        }
    }
    summary.cold = cold.len() as u64;
    if !cold.is_empty() {
        tell(GcEvent::Cold(cold));
    }
    Ok(summary)
}

fn begin_summary(
    bricks: &Bricks,
    plan: &Plan,
    roots: usize,
    tell: &mut dyn FnMut(GcEvent),
) -> GcSummary {
    if !plan.missing.is_empty() {
        tell(GcEvent::Missing(plan.missing.clone()));
    }
    if let Some(root) = &plan.set_back {
        tell(GcEvent::SetBack(root.clone()));
    }
    GcSummary {
        roots: roots as u64,
        bricks: bricks.all.len() as u64,
        left_out: plan.left_out,
        missing: plan.missing.len() as u64,
        ..GcSummary::default()
    }
}

impl Gc<'_> {
    fn run(
        &self,
        mut needs: Needs,
        mut ended: Vec<Run>,
        tell: &mut dyn FnMut(GcEvent),
    ) -> Result<GcSummary> {
        let Self {
            store,
            keys,
            options,
            monitor,
            ..
        } = self;
        // Step 2.
        let living = self.meet_others(&mut ended, tell)?;
        let old_lists = store.layout().dead_lists()?;
        // Step 3.
        tell(GcEvent::Step("reading the sidecars"));
        let condemned = condemned(store, keys, &old_lists);
        let mut bricks = Bricks::list(store, keys, self.young()?, monitor, tell)?;
        let roots = needs.add_roots(store, keys).or_else(|error| {
            self.stop(&old_lists, error.exit())?;
            Err(error)
        })?;
        let met = bricks.meet(&needs, &condemned, store, keys, monitor)?;
        let mut plan = Plan::make(&bricks, met, &living, options);
        plan.look_again(&bricks, store)?;
        let set_back = set_back(options)?;
        plan.set_back = set_back.as_ref().map(|run| store.layout().root_path(run));
        let mut summary = begin_summary(&bricks, &plan, roots, tell);
        if let Some(error) = plan.refusal(store).filter(|_| !options.allow_missing) {
            self.stop(&old_lists, error.exit())?;
            return Err(error);
        }
        let ParitySummary {
            kept_sets, held, ..
        } = parity::hold(store, &bricks, &mut plan, monitor, tell)?;
        summary.parity.kept_sets = kept_sets;
        summary.parity.held = held;
        // Step 4.
        if !plan.rewrite.is_empty() {
            tell(GcEvent::Step("rewriting bricks"));
        }
        let mut rewriter = Rewriter::new(self)?;
        for (name, class, needed) in &plan.rewrite {
            rewriter.brick(name, *class, needed, tell)?;
        }
        for (old, carriers) in bricks.relied_upon(&plan.delete, &needs) {
            // It has not been read since its frames were moved, perhaps.
            if !rewriter.is_whole(&old, tell)? {
                plan.delete.retain(|name| !carriers.contains(name));
            }
        }
        let moved = rewriter.finish()?;
        summary.moved = moved.frame_count;
        summary.new_bricks = moved.new_bricks.len() as u64;
        summary.new_bytes = moved.new_bytes;
        // Step 5.
        let mut candidates = plan.delete;
        candidates.extend(moved.frames.keys());
        candidates.sort_unstable();
        self.write_list(&candidates)?;
        self.delete_lists(&old_lists)?;
        // Steps 6 to 8. What stops them has deleted nothing, so that the list may go.
        let (mut doomed, missing) = if candidates.is_empty() {
            (Vec::new(), plan.missing)
        } else {
            self.await_others(&mut ended, tell)
                .and_then(|()| {
                    needs.add_roots(store, keys)?;
                    // Marks may have been set since: by this gc, or by verify.
                    bricks.read_marks(store, keys)?;
                    let met = bricks.meet(&needs, &condemned, store, keys, monitor)?;
                    let doomed = doomed(&candidates, &met.frames, &moved.frames);
                    Ok((doomed, met.missing))
                })
                .inspect_err(|_| {
                    let _ = self.withdraw_list();
                })?
        };
        summary.spared = (candidates.len() - doomed.len()) as u64;
        for run in ended {
            let writer = run.lease.map(|lease| lease.writer);
            if let Some(root) = writer.and_then(|writer| needs.writers.get(&writer)) {
                tell(GcEvent::RootOfEnded(root.clone()));
            }
        }
        let gone = parity::GivenUp::new(store, &bricks, &missing, &doomed);
        let told = &mut summary.parity;
        let remaking = self
            .remake_parity(&gone, &moved, &mut doomed, told, tell)
            .inspect_err(|_| {
                let _ = self.withdraw_list();
            })?;
        // Steps 9 to 11.
        self.delete(&bricks, &doomed, &moved, &mut summary, tell)?;
        self.delete_parity(&remaking)?;
        if !candidates.is_empty() {
            self.delete_lists(std::slice::from_ref(self.lease.name()))?;
        }
        if let (Some(run), Some(last)) = (&set_back, &options.last) {
            // That it is gone was agreed to.
            last.forget(run)?;
        }
        Ok(summary)
    }

    /// Before an error that stops it before anything is deleted: nothing is being deleted
    /// any more, and a list that does not open would hinder the remedies.
    fn stop(&self, old_lists: &[RunName], exit: Exit) -> Result<()> {
        match exit {
            Exit::Damaged => self.delete_lists(old_lists),
            _ => Ok(()),
        }
    }

    /// The time after which a file is too young, by the clock of the storage.
    fn young(&self) -> Result<Option<SystemTime>> {
        let Some(age) = self.options.min_age else {
            return Ok(None);
        };
        let file = self.lease.temp_file()?;
        let path = file.path();
        let made = fs::metadata(path).and_then(|found| found.modified());
        let now = made.map_err(Error::io("examine", path))?;
        Ok(Some(before(now, age)))
    }

    fn write_list(&self, candidates: &[BrickName]) -> Result<()> {
        if candidates.is_empty() {
            return Ok(());
        }
        let list = Note {
            bricks: candidates.to_vec(),
            ..self.note(NoteKind::DeadList)
        };
        let path = self.store.layout().dead_path(self.lease.name());
        self.lease.write(&path, &seal_note(self.keys, &list)?)
    }

    fn note(&self, kind: NoteKind) -> Note {
        new_note(kind, Some(self.lease.name()), self.lease.writer())
    }

    /// Marks a brick as damaged.
    fn mark(&self, name: &BrickName, text: &str) -> Result<()> {
        let mark = new_mark(name, text, self.lease.writer());
        let path = self.store.layout().mark_path(name);
        self.lease.write(&path, &seal_note(self.keys, &mark)?)
    }

    fn delete_lists(&self, lists: &[RunName]) -> Result<()> {
        for list in lists {
            let path = self.store.layout().dead_path(list);
            refuse_links_to(self.store.path(), &path)?;
            match fs::remove_file(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                result => result.map_err(Error::io("delete", &path))?,
            }
        }
        if lists.is_empty() {
            return Ok(());
        }
        sync_dir(&self.store.layout().dead_dir())
    }

    /// Deletes the own list, if the run still stands: if another gc has ended it, that
    /// one has taken note of the list.
    fn withdraw_list(&self) -> Result<()> {
        self.lease.require()?;
        self.delete_lists(std::slice::from_ref(self.lease.name()))
    }

    fn delete(
        &self,
        bricks: &Bricks,
        doomed: &[BrickName],
        moved: &Moved,
        summary: &mut GcSummary,
        tell: &mut dyn FnMut(GcEvent),
    ) -> Result<()> {
        if !doomed.is_empty() {
            tell(GcEvent::Step("deleting"));
        }
        let layout = self.store.layout();
        if !doomed.is_empty() {
            // What takes their place may be the work of one who was cut off before its name
            // was durable.
            layout.sync_all_sidecars()?;
        }
        // A sidecar without its brick must not be what a power failure leaves.
        self.delete_all(doomed.iter().map(|name| (*name, layout.toc_path(name))))?;
        let mut files = HashSet::new();
        for class in [Class::Data, Class::Metadata] {
            let paths = doomed
                .iter()
                .map(|name| (*name, layout.brick_path(name, class)));
            files.extend(self.delete_all(paths)?);
        }
        let mut marks = doomed.to_vec();
        for name in &bricks.stray_marks {
            // It may have come since the bricks were listed.
            if !layout.anything_stands(name)? {
                marks.push(*name);
            }
        }
        let mark = |name| (name, layout.mark_path(&name));
        self.delete_all(marks.into_iter().map(mark))?;
        let mut cold = Vec::new();
        for name in doomed {
            if moved.frames.contains_key(name) {
                summary.rewritten += 1;
            } else {
                summary.deleted += 1;
            }
            summary.freed += bricks.all.get(name).map_or(0, plan::Brick::length);
            if !files.contains(name) {
                cold.push(*name);
            }
        }
        summary.cold = cold.len() as u64;
        if !cold.is_empty() {
            tell(GcEvent::Cold(cold));
        }
        Ok(())
    }

    /// Deletes files, durably. Returns whose were there. One that is not there may have
    /// been deleted by a gc that was cut off before this was durable.
    fn delete_all(
        &self,
        paths: impl Iterator<Item = (BrickName, PathBuf)>,
    ) -> Result<Vec<BrickName>> {
        let (mut deleted, mut folders) = (Vec::new(), HashSet::new());
        for (name, path) in paths {
            if self.lease.delete(&path)? {
                deleted.push(name);
            }
            folders.extend(path.parent().map(PathBuf::from));
        }
        for folder in folders {
            sync_dir_if_there(&folder)?;
        }
        Ok(deleted)
    }
}

/// The run whose root was written last from here, if that is gone.
fn set_back(options: &GcOptions) -> Result<Option<RunName>> {
    let last = options.last.as_ref();
    Ok(last.map(LastRun::missing).transpose()?.flatten())
}

/// So long before `now`; before 1970 there was nothing.
fn before(now: SystemTime, age: Duration) -> SystemTime {
    now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// What stands on these lists, as far as they open: of gcs that were cut off.
fn condemned(store: &Store, keys: &PutKeys, lists: &[RunName]) -> HashSet<BrickName> {
    let list = |name: &RunName| store.read_note(keys, &store.layout().dead_path(name)).ok();
    let lists = lists.iter().filter_map(list);
    lists.flat_map(|list| list.bricks).collect()
}

/// The candidates of which nothing is needed but what was moved.
fn doomed(
    candidates: &[BrickName],
    met: &HashMap<BrickName, Frames>,
    moved: &HashMap<BrickName, Frames>,
) -> Vec<BrickName> {
    let none = Frames::default();
    let may_go = |name: &&BrickName| {
        let moved = moved.get(*name).unwrap_or(&none);
        met.get(*name).is_none_or(|needed| needed.is_within(moved))
    };
    candidates.iter().filter(may_go).copied().collect()
}
