//! Whether all that an index needs is there, and right.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::away::Pushed;
use super::bricks::{Bricks, fault_of};
use super::copy::Scratch;
use super::finding::{Fault, Finding, Kind};
use super::healed::moved;
use super::jobs::Job;
use super::means::{Keyed, Level, Means};
use super::sample::Share;
use super::{Found, Summary, VerifyOptions};
use crate::archive::Monitor;
use crate::error::{Error, Result};
use crate::format::trailer::{UsedBrick, UsedFrame};
use crate::id::BrickName;
use crate::index::{IndexFile, Trailer};
use crate::restore::{
    Hit, Lost, Origin, RestoreOptions, RestoreSummary, open_index, restore, survey,
};

/// Checks that all chunks that `index` needs are there and right, by doing all that a
/// restore does, but for the output; with [`VerifyOptions::quick`] only that the bricks
/// are there, at their right lengths, for which a put key is enough.
///
/// A damaged index is a fault like any other.
///
/// # Errors
/// A put key without `quick`; what hinders the check itself.
pub fn verify_index(
    index: &IndexFile,
    means: &Means<'_>,
    options: &VerifyOptions,
    found: &Found<'_>,
    monitor: &Arc<Monitor>,
) -> Result<Summary> {
    let Some(keyed) = &means.keyed else {
        let message = "an index is checked with the key of its store".to_owned();
        return Err(Error::Usage(message));
    };
    let mut check = IndexCheck {
        index,
        means,
        keyed,
        options,
        pushed: Pushed::read(&means.layout, found)?,
        found,
        monitor,
        summary: Summary::new(means.level()),
        blamed: BTreeSet::new(),
    };
    let outcome = check.run();
    match outcome {
        Err(Error::Interrupted) => return Err(Error::Interrupted),
        Err(error) if error.exit() == crate::error::Exit::Damaged => {
            check.report(fault_of(Kind::Index, index.path(), error));
        }
        outcome => outcome?,
    }
    check.look_at_blamed()?;
    Ok(check.summary)
}

struct IndexCheck<'a> {
    index: &'a IndexFile,
    means: &'a Means<'a>,
    keyed: &'a Keyed<'a>,
    options: &'a VerifyOptions,
    /// By away lists.
    pushed: Pushed,
    found: &'a Found<'a>,
    monitor: &'a Arc<Monitor>,
    summary: Summary,
    /// Bricks of the store in which something is wrong.
    blamed: BTreeSet<BrickName>,
}

impl IndexCheck<'_> {
    fn run(&mut self) -> Result<()> {
        let origin = Origin::from(self.keyed.store);
        let (trailer, _) = open_index(self.index, &origin, self.keyed.key)?;
        self.summary.indexes += 1;
        if self.options.quick {
            return self.quick(&trailer);
        }
        if self.means.level() < Level::Frames {
            return Err(Error::PutKey { action: "read" });
        }
        self.read(&origin, self.share(&trailer)?)
    }

    fn report(&mut self, fault: Fault) {
        self.summary.faults += 1;
        (self.found)(Finding::Fault(fault));
    }

    /// The frames to be read, if not all are.
    fn share(&self, trailer: &Trailer) -> Result<Option<Share>> {
        let Some(sample) = self.options.sample else {
            return Ok(None);
        };
        let mut frames = Vec::new();
        each_brick(self.index, trailer, |brick| {
            let numbers = brick.frames.iter().map(|frame| frame.number);
            frames.extend(numbers.map(|number| (brick.name, number)));
        })?;
        Ok(Some(sample.frames(frames.into_iter())))
    }

    /// Does what a restore does.
    fn read(&mut self, origin: &Origin, share: Option<Share>) -> Result<()> {
        let options = RestoreOptions {
            bricks_in: self.options.bricks_in.clone(),
            threads: self.options.threads,
            share,
            ..RestoreOptions::default()
        };
        let (found, summary, blamed) = (self.found, &mut self.summary, &mut self.blamed);
        let mut on_hit = |hit: Hit| {
            summary.members += 1;
            blamed.extend(brick_of(&hit.path));
            found(Finding::Member(None, hit));
        };
        let RestoreSummary {
            stream,
            unread,
            mended,
            ..
        } = restore(
            self.index,
            origin,
            self.keyed.key,
            io::sink(),
            &options,
            Some(&mut on_hit),
            self.monitor,
        )?;
        self.summary.stream += stream - unread.min(stream);
        for reason in mended {
            let path = reason.split(": ").next().unwrap_or_default();
            self.blamed.extend(brick_of(Path::new(path)));
            let message = format!("{reason}; the chunk lists there have copies: nothing is lost");
            self.report(Fault::new(Kind::Frame, self.index.path(), message));
        }
        Ok(())
    }

    /// Looks whether the bricks are there.
    fn quick(&mut self, trailer: &Trailer) -> Result<()> {
        let mut lost = BTreeMap::new();
        let mut needed = Vec::new();
        each_brick(self.index, trailer, |brick| {
            let numbers = brick.frames.iter().map(|frame| frame.number);
            let frames: Vec<_> = numbers.collect();
            needed.push((brick.name, brick.length, frames));
        })?;
        self.summary.bricks += needed.len() as u64;
        let mut absent = Vec::new();
        for (name, length, frames) in needed {
            self.monitor.check()?;
            if let Some(fault) = self.absence(&name, length)? {
                absent.push((name, frames, fault));
            }
        }
        let moved = self.moved(&absent)?;
        for (name, frames, fault) in absent {
            if self.are_elsewhere(&name, &frames, &moved)? {
                continue;
            }
            self.summary.missing += u64::from(fault.is_missing);
            lost.insert(
                name,
                (fault.fault.path.clone(), fault.fault.message.clone()),
            );
            self.report(fault.fault);
        }
        if lost.is_empty() {
            return Ok(());
        }
        let judge = |name: &BrickName, _: &UsedFrame| {
            let (path, reason) = lost.get(name)?;
            Some(Lost {
                path: path.clone(),
                reason: reason.clone(),
            })
        };
        let (found, mut members) = (self.found, 0);
        survey(self.index, trailer, &judge, &mut |hit| {
            members += 1;
            found(Finding::Member(None, hit));
        })?;
        self.summary.members += members;
        Ok(())
    }

    /// Of the frames that are not where they should be those that gc has moved, by all
    /// sidecars.
    fn moved(&self, absent: &[(BrickName, Vec<u32>, Absence)]) -> Result<Moves> {
        let mut moves = Moves::new();
        for (name, frames, _) in absent {
            moves.extend(frames.iter().map(|frame| ((*name, *frame), Vec::new())));
        }
        if moves.is_empty() {
            return Ok(moves);
        }
        let (mut names, mut bytes) = (Vec::new(), Vec::new());
        for shard in 0..=u8::MAX {
            names.clear();
            self.means.layout.sidecar_names(shard, &mut names)?;
            for name in &names {
                self.monitor.check()?;
                let Keyed { store, keys, .. } = self.keyed;
                // One that does not open is for the check of the store.
                if let Ok(toc) = store.read_sidecar(keys, name, &mut bytes) {
                    for (old, _) in moved(&toc) {
                        if let Some(new) = moves.get_mut(&old) {
                            new.push(*name);
                        }
                    }
                }
            }
        }
        Ok(moves)
    }

    /// Whether all these frames were moved, to bricks that are here, or away.
    fn are_elsewhere(&self, name: &BrickName, frames: &[u32], moved: &Moves) -> Result<bool> {
        let layout = &self.means.layout;
        for frame in frames {
            let mut is_there = false;
            for new in moved.get(&(*name, *frame)).into_iter().flatten() {
                let found = Job::find(layout, *new);
                is_there |= found.is_here() || self.is_away(new)?;
            }
            if !is_there {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a brick that is not here may be elsewhere: it was pushed, or its sidecar
    /// stands and not all bricks have to be here.
    fn is_away(&self, name: &BrickName) -> Result<bool> {
        if self.pushed.holds(name) {
            return Ok(true);
        }
        Ok(!self.options.all_here && self.means.layout.sidecar_stands(name)?)
    }

    /// What is wrong with a brick that should be somewhere, at this length.
    fn absence(&mut self, name: &BrickName, length: u64) -> Result<Option<Absence>> {
        let layout = &self.means.layout;
        let mut short = None;
        for copy in layout.copies_of_brick(name, &self.options.bricks_in) {
            let Ok((path, file)) = copy else { continue };
            let found = file.metadata().map_or(0, |found| found.len());
            if found == length {
                return Ok(None);
            }
            let message = format!("brick {name} has {found} bytes, not {length}");
            short.get_or_insert(Fault::new(Kind::Brick, path, message).of(*name));
        }
        if let Some(fault) = short {
            let is_missing = false;
            return Ok(Some(Absence { fault, is_missing }));
        }
        if self.is_away(name)? {
            self.summary.away += 1;
            (self.found)(Finding::Away(*name));
            return Ok(None);
        }
        let dir = layout.bricks_dir(crate::id::Class::Data);
        let message = format!("brick {name} is missing");
        Ok(Some(Absence {
            fault: Fault::new(Kind::Brick, dir, message).of(*name),
            is_missing: true,
        }))
    }

    /// Looks at the bricks in which something was wrong, so that they are marked if they
    /// are to blame, or lost.
    fn look_at_blamed(&mut self) -> Result<()> {
        if self.options.quick || self.blamed.is_empty() {
            return Ok(());
        }
        let jobs: Vec<_> = self
            .blamed
            .iter()
            .map(|name| Job::find(&self.means.layout, *name))
            .filter(|job| job.is_here() || self.options.all_here && !self.pushed.holds(&job.name))
            .collect();
        let bricks = Bricks::new(self.means, self.options, self.monitor, &jobs, self.found)?;
        let mut scratch = Scratch::default();
        for job in &jobs {
            bricks.check(job, &mut scratch)?;
        }
        let state = bricks.into_state();
        self.summary.faults += state.summary.faults;
        self.summary.damaged += state.summary.damaged;
        self.summary.marked += state.summary.marked;
        self.summary.unmarked += state.summary.unmarked;
        Ok(())
    }
}

/// The bricks in which frames stand now that were in others.
type Moves = HashMap<(BrickName, u32), Vec<BrickName>>;

/// Why a brick is not where it should be.
struct Absence {
    fault: Fault,
    /// There is no file of it.
    is_missing: bool,
}

fn each_brick(
    index: &IndexFile,
    trailer: &Trailer,
    mut each: impl FnMut(&UsedBrick),
) -> Result<()> {
    let mut table = trailer.bricks(index)?;
    for number in 0..table.brick_count() {
        each(table.brick(number)?);
    }
    Ok(())
}

/// The brick whose file this is, by its name.
fn brick_of(path: &Path) -> Option<BrickName> {
    let name = path.file_stem()?.to_str()?;
    path.extension().filter(|ending| *ending == "brick")?;
    name.parse().ok()
}
