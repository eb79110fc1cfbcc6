//! Checking what is in a store, and making again what can be made.
//!
//! ```text
//! list roots, bricks, sidecars -> read each brick once (threads): hash, open frames, compare tables
//!                              -> marks of damage; then roots and snapshots: which runs are hit
//! index -> restore without output -> members that are hit; blamed bricks as above
//! rebuild: brick -> sidecar; frames of a brick that is beyond that -> a new brick; sidecars -> catalog
//! ```
//!
//! Nothing ends a check but what hinders it: each fault is reported, and the next file is
//! looked at. Memory: one frame, sealed and open, for each thread, and some 100 bytes for
//! each brick of the store.

mod away;
mod bricks;
mod copy;
mod ends;
mod finding;
mod healed;
mod index;
mod jobs;
mod means;
mod needs;
mod read;
mod rebuild;
mod runs;
mod salts;
mod salvage;
mod sample;
mod scan;
mod workers;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub use finding::{Fault, Finding, Kind, RunHit};
pub use index::verify_index;
pub use means::{Level, Means};
pub use rebuild::{RebuildOptions, RebuildSummary, Rebuilding, rebuild};
pub use sample::{ParsePercentError, Percent, Sample, Share};

use crate::archive::Monitor;
use crate::error::{Error, Exit, Result};
use crate::store::inventory::each_stray;
use bricks::Bricks;

/// Told of each finding, by several threads, in no order.
pub type Found<'a> = dyn Fn(Finding) + Sync + 'a;

/// How to check.
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are options of a command"
)]
pub struct VerifyOptions {
    /// Further places to look for bricks in.
    pub bricks_in: Vec<PathBuf>,
    /// Read only a part of the bricks, or of the frames that an index needs.
    pub sample: Option<Sample>,
    /// Look only whether files are there, at their right lengths.
    pub quick: bool,
    /// A brick that is not here is a fault, though its sidecar is, and to be marked.
    pub all_here: bool,
    /// Set marks on damaged bricks, and remove those of bricks that are found whole.
    pub mark: bool,
    /// Name the members that a fault hits, by the snapshots.
    pub members: bool,
    /// Threads; 0: one a processor.
    pub threads: usize,
}

/// What a check did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// How deep it went.
    pub level: Level,
    /// Bricks read whole, each copy for itself; of a quick check of an index, those it needs.
    pub bricks: u64,
    /// Frames looked at.
    pub frames: u64,
    /// Chunks in these.
    pub chunks: u64,
    /// Sound sidecars.
    pub sidecars: u64,
    /// Sound roots.
    pub roots: u64,
    /// Sound snapshot files.
    pub snapshots: u64,
    /// Indexes looked at.
    pub indexes: u64,
    /// Bytes of their streams that were read.
    pub stream: u64,
    /// Faults found.
    pub faults: u64,
    /// Damaged bricks.
    pub damaged: u64,
    /// Bricks that are needed and neither here nor have a sidecar.
    pub missing: u64,
    /// Bricks of which only the sidecar is here.
    pub away: u64,
    /// Files that belong to nothing.
    pub strays: u64,
    /// Runs whose streams are hit.
    pub hits: u64,
    /// Parts of members that are hit, as far as they were asked for.
    pub members: u64,
    /// Marks of damage that stand now and did not before.
    pub marked: u64,
    /// Marks that were removed.
    pub unmarked: u64,
}

impl Default for Summary {
    fn default() -> Self {
        Self::new(Level::Bytes)
    }
}

impl Summary {
    /// Nothing yet.
    #[must_use]
    pub const fn new(level: Level) -> Self {
        Self {
            level,
            bricks: 0,
            frames: 0,
            chunks: 0,
            sidecars: 0,
            roots: 0,
            snapshots: 0,
            indexes: 0,
            stream: 0,
            faults: 0,
            damaged: 0,
            missing: 0,
            away: 0,
            strays: 0,
            hits: 0,
            members: 0,
            marked: 0,
            unmarked: 0,
        }
    }

    /// Adds what another check did.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.bricks, other.bricks),
            (&mut self.frames, other.frames),
            (&mut self.chunks, other.chunks),
            (&mut self.sidecars, other.sidecars),
            (&mut self.roots, other.roots),
            (&mut self.snapshots, other.snapshots),
            (&mut self.indexes, other.indexes),
            (&mut self.stream, other.stream),
            (&mut self.faults, other.faults),
            (&mut self.damaged, other.damaged),
            (&mut self.missing, other.missing),
            (&mut self.away, other.away),
            (&mut self.strays, other.strays),
            (&mut self.hits, other.hits),
            (&mut self.members, other.members),
            (&mut self.marked, other.marked),
            (&mut self.unmarked, other.unmarked),
        ];
        for (sum, more) in pairs {
            *sum += more;
        }
    }

    /// How a program should end.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        Exit::of_damage(self.faults + self.hits + self.members > 0)
    }
}

/// Checks a whole store, as deep as `means` go; and bricks elsewhere, if places are named.
///
/// # Errors
/// What hinders the check itself: a folder that cannot be listed, a place that is no
/// folder; [`Error::Interrupted`]. What is wrong in the store is no error, but found.
pub fn verify_store(
    means: &Means<'_>,
    options: &VerifyOptions,
    found: &Found<'_>,
    monitor: &Arc<Monitor>,
) -> Result<Summary> {
    // The roots first: what they need stands before they do.
    let runs = means.layout.runs()?;
    let snapshots = means.layout.snapshots()?;
    let jobs = jobs::gather(&means.layout, &options.bricks_in)?;
    let mut bricks = Bricks::new(means, options, monitor, &jobs, found)?;
    bricks.state().summary.level = means.level();
    if let Some(sample) = options.sample {
        let here = jobs.iter().filter(|job| job.is_here());
        bricks.share = Some(sample.bricks(here.map(|job| &job.name)));
    }
    let total = jobs.iter().filter(|job| bricks.reads(&job.name));
    let total = total.map(jobs::Job::bytes).sum();
    monitor.total.store(total, Ordering::Relaxed);
    let threads = if options.quick { 1 } else { options.threads };
    workers::for_each(threads, &jobs, |job, scratch| bricks.check(job, scratch))?;
    runs::check(&bricks, &runs)?;
    bricks.report_missing_sidecars()?;
    let roots = means.layout.roots_dir();
    if !jobs.is_empty() && !roots.exists() && means.layout.config_path().exists() {
        let message = "missing, though a store has it from the beginning: what is needed is not \
                       known";
        bricks.report(Fault::new(Kind::Root, roots, message));
    }
    let mut stray = |path| {
        bricks.state().summary.strays += 1;
        bricks.say(Finding::Stray(path));
    };
    for run in snapshots {
        let (path, root) = (
            means.layout.snapshot_path(&run),
            means.layout.root_path(&run),
        );
        // A root is written before its snapshot, and `forget` deletes it after that.
        if runs.binary_search(&run).is_err() && !root.exists() && path.exists() {
            let message = "missing, though the snapshot of its run is here";
            bricks.report(Fault::new(Kind::Root, root, message));
        }
    }
    each_stray(&means.layout, &mut stray)?;
    Ok(bricks.into_state().summary)
}

/// The fault of a `store.toml` that does not open, if that is what `error` says.
#[must_use]
pub fn config_fault(means: &Means<'_>, error: &Error) -> Option<Fault> {
    let path = means.layout.config_path();
    match error {
        Error::Refused {
            path: at,
            message,
            exit,
        } if *exit == Exit::Damaged && *at == path => {
            Some(Fault::new(Kind::Config, path, message.clone()))
        }
        Error::Refused { path: at, .. } if at == means.layout.path() && !path.exists() => {
            let stands = means.layout.tocs_dir().is_dir();
            let message = "missing, though there are sidecars beside it";
            stands.then(|| Fault::new(Kind::Config, path, message))
        }
        _ => None,
    }
}
