//! Parity: brings lost and damaged bricks back, without any key (`formats/parity.md`).
//!
//! ```text
//! add:    bricks in no set -> groups -> stripes -> sums -> parity files
//! check:  parity files -> sets -> their bricks and recovery shards -> what is lost
//! repair: check -> sums of what is there -> what is lost -> hash -> in place
//! gc:     sets with bricks that are to be deleted -> sets of the others -> old sets away
//! ```
//!
//! Memory is that of one stripe, twice its recovery shards: at most 128 MiB, and 32 MiB
//! more while lost shards are solved for, whatever the set and whatever a file claims;
//! besides that the description of one set, at most 128 MiB, usually 2.

mod add;
mod code;
mod collect;
mod encode;
mod examine;
mod lock;
mod merge;
mod places;
mod plan;
mod read;
mod rebuild;
mod repair;
mod sets;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

pub use add::{AddOptions, AddSummary, add};
pub use collect::KeptSet;
pub(crate) use collect::{Collection, Made, Remade};
pub use examine::{Copy, FileState, MemberState, SetState};
pub(crate) use lock::Lock;
pub use places::Places;
pub use plan::Share;
pub use repair::{RepairOptions, Repaired};
pub use sets::Unusable;

use crate::archive::Monitor;
use crate::error::{Error, Exit, Result};
use crate::id::BrickName;
use crate::store::atomic;
use crate::threads;

/// What check or repair found.
#[derive(Debug, Default)]
pub struct CheckSummary {
    /// Sets of which a description is there.
    pub sets: u64,
    /// Their members: bricks that are protected.
    pub bricks: u64,
    /// Of these, those of which there is no file.
    pub missing: u64,
    /// Of these, those of which a file is damaged.
    pub damaged: u64,
    /// Of those missing or damaged, the ones that can be brought back.
    pub repairable: u64,
    /// Parity files.
    pub files: u64,
    /// Parity files that are damaged, missing, or of no use.
    pub damaged_files: u64,
    /// Bricks in the folder that are in no set.
    pub uncovered: u64,
    /// The fewest further bricks whose loss some set survives.
    pub bricks_to_spare: Option<u64>,
    /// Parity files that are of no use.
    pub unusable: Vec<Unusable>,
    /// Bricks that were brought back, and where they are.
    pub restored: Vec<PathBuf>,
    /// Parity files that were made again, and where they are.
    pub remade: Vec<PathBuf>,
    /// What a repair could not do, and why.
    pub failed: Vec<String>,
}

impl CheckSummary {
    /// How a check ends: anything missing or damaged is damage.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if self.missing + self.damaged + self.damaged_files == 0 && self.failed.is_empty() {
            Exit::Done
        } else {
            Exit::Damaged
        }
    }

    fn count(&mut self, state: &SetState) {
        self.sets += 1;
        self.bricks += state.members.len() as u64;
        for member in &state.members {
            if member.is_sound() {
                continue;
            }
            if member.is_missing() {
                self.missing += 1;
            } else {
                self.damaged += 1;
            }
            self.repairable += u64::from(member.repairable);
        }
        self.files += state.files.len() as u64;
        let damaged = state.files.iter().filter(|file| !file.whole).count() as u64;
        self.damaged_files += damaged + state.files_missing;
        let spare = state.bricks_to_spare();
        let least = self.bricks_to_spare.map_or(spare, |least| least.min(spare));
        self.bricks_to_spare = Some(least);
    }

    fn add_unusable(&mut self, unusable: Vec<Unusable>) {
        self.files += unusable.len() as u64;
        self.damaged_files += unusable.len() as u64;
        self.unusable.extend(unusable);
    }
}

/// Reads all sets, their members and their parity files, and calls `report` for each set.
///
/// # Errors
/// [`Error::Io`] if a folder cannot be listed; [`Error::Interrupted`]. What cannot be read
/// is damage, not an error.
pub fn check(
    places: &Places,
    monitor: &Monitor,
    report: &mut dyn FnMut(&SetState),
) -> Result<CheckSummary> {
    let mut summary = CheckSummary::default();
    each_set(places, monitor, &mut summary, |state| {
        report(&state);
        Ok(())
    })?;
    Ok(summary)
}

/// Checks all sets, and repairs what can be repaired; calls `report` for each set as it was
/// found, and `waiting` if somebody else changes the parity of the folder at the moment.
/// The summary's exit code is that of what is left to repair.
///
/// # Errors
/// As [`check()`], and if files cannot be written.
pub fn repair(
    places: &Places,
    options: &RepairOptions,
    monitor: &Monitor,
    waiting: &mut dyn FnMut(),
    report: &mut dyn FnMut(&SetState),
) -> Result<CheckSummary> {
    // What goes elsewhere alters nothing here.
    let lock = match options.to {
        None => {
            places.guard(&places.temp_dir().join("*"))?;
            Some(Lock::take(&places.temp_dir(), monitor, waiting)?)
        }
        Some(_) => None,
    };
    if lock.is_some() {
        atomic::remove_stale(&places.temp_dir())?;
    }
    let pool = threads::pool(0)?;
    let mut summary = CheckSummary::default();
    let (mut restored, mut remade, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    each_set(places, monitor, &mut summary, |state| {
        report(&state);
        if state.is_sound() {
            return Ok(());
        }
        for member in state.members.iter().filter(|member| !member.repairable) {
            failed.push(format!(
                "brick {}: cannot be brought back: more is lost than its set has parity for",
                member.member.name
            ));
        }
        match repair::repair_set(&state, places, options, &pool, monitor) {
            Ok(done) => {
                restored.extend(done.bricks);
                remade.extend(done.files);
                failed.extend(done.failed);
            }
            // A set that is at odds with itself must not keep others from repair.
            Err(Error::Damaged(why)) => failed.push(format!("set {}: {why}", state.id)),
            Err(error) => return Err(error),
        }
        Ok(())
    })?;
    drop(lock);
    places.leave();
    summary.restored = restored;
    summary.remade = remade;
    summary.failed = failed;
    Ok(summary)
}

impl CheckSummary {
    /// How a repair ends: what could not be repaired is damage.
    #[must_use]
    pub fn exit_after_repair(&self) -> Exit {
        let remade: HashSet<&PathBuf> = self.remade.iter().collect();
        let left = self
            .unusable
            .iter()
            .filter(|file| !remade.contains(&file.path));
        if self.failed.is_empty() && left.count() == 0 {
            Exit::Done
        } else {
            Exit::Damaged
        }
    }
}

/// The parity in a folder, by the heads of its files alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ParityTotals {
    /// Sets of which a file is there.
    pub sets: u64,
    /// Their files.
    pub files: u64,
    /// The lengths of these together, in bytes.
    pub bytes: u64,
    /// Files that are of no use.
    pub unusable: u64,
}

/// What parity there is.
///
/// # Errors
/// [`Error::Io`] if a folder cannot be listed.
pub fn totals(places: &Places) -> Result<ParityTotals> {
    let (groups, unusable) = sets::find(places)?;
    let mut totals = ParityTotals {
        sets: groups.len() as u64,
        unusable: unusable.len() as u64,
        ..ParityTotals::default()
    };
    for file in groups.iter().flat_map(|group| &group.files) {
        totals.files += 1;
        totals.bytes += fs::metadata(&file.path).map_or(0, |found| found.len());
    }
    Ok(totals)
}

fn each_set(
    places: &Places,
    monitor: &Monitor,
    summary: &mut CheckSummary,
    mut each: impl FnMut(SetState) -> Result<()>,
) -> Result<()> {
    let pool = threads::pool(0)?;
    let (groups, unusable) = sets::find(places)?;
    summary.add_unusable(unusable);
    let mut covered: HashSet<BrickName> = HashSet::new();
    for mut group in groups {
        let (description, unusable) = group.describe();
        summary.add_unusable(unusable);
        let Some(description) = description else {
            continue;
        };
        let members = description.shape.members.iter();
        let bytes: u64 = members.clone().map(|member| member.length).sum();
        covered.extend(members.map(|member| member.name));
        monitor.total.fetch_add(bytes, Ordering::Relaxed);
        let state = examine::examine(group.id, description, group.files, places, &pool, monitor)?;
        summary.count(&state);
        each(state)?;
    }
    let mut others = HashSet::new();
    for brick in places.bricks()? {
        if !covered.contains(&brick.name) {
            others.insert(brick.name);
        }
    }
    summary.uncovered = others.len() as u64;
    Ok(())
}
