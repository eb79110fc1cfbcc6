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
mod aside;
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
mod summary;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fs;
use std::sync::atomic::Ordering;

pub use add::{AddOptions, AddSummary, add};
pub use collect::KeptSet;
pub(crate) use collect::{Collection, Made, Remade};
pub use examine::{Copy, FileState, MemberState, SetState};
pub(crate) use lock::Lock;
pub use places::Places;
pub use plan::Share;
pub use repair::{RepairOptions, Repaired};
pub use sets::{SetFile, Unusable, files};
pub use summary::CheckSummary;

use crate::archive::Monitor;
use crate::error::{Error, Result};
use crate::id::{BrickName, SetId};
use crate::threads;
use summary::Progress;

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
    each_set(places, None, monitor, &mut summary, |state| {
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
/// As [`check()`]. What cannot be read or written keeps one set from repair, and is in the
/// summary.
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
        places.remove_stale()?;
    }
    let pool = threads::pool(0)?;
    let (mut summary, mut progress) = (CheckSummary::default(), Progress::default());
    let mend = |places: &Places, progress: &mut Progress, state: &SetState| {
        let mut done = Repaired::default();
        if !state.is_sound() {
            match repair::repair_set(state, places, options, &pool, monitor, &mut done) {
                // What is wrong with a set, or with the disk, must not keep others from repair.
                Err(error @ (Error::Damaged(_) | Error::Io { .. })) => {
                    done.failed.push(format!("set {}: {error}", state.id));
                }
                result => result?,
            }
        }
        progress.add(state, done);
        Ok(())
    };
    each_set(places, None, monitor, &mut summary, |state| {
        report(&state);
        mend(places, &mut progress, &state)
    })?;
    // What has come back by one set is there for others.
    let places_then = places.with(options.to.as_deref());
    let mut before = 0;
    while progress.bricks_back() > before {
        before = progress.bricks_back();
        let open = progress.take_open();
        let mut again = CheckSummary::default();
        each_set(&places_then, Some(&open), monitor, &mut again, |state| {
            mend(&places_then, &mut progress, &state)
        })?;
    }
    drop(lock);
    places.leave();
    progress.finish(&mut summary);
    Ok(summary)
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

/// Examines all sets, or those of `only`.
fn each_set(
    places: &Places,
    only: Option<&HashSet<SetId>>,
    monitor: &Monitor,
    summary: &mut CheckSummary,
    mut each: impl FnMut(SetState) -> Result<()>,
) -> Result<()> {
    let pool = threads::pool(0)?;
    let (groups, unusable) = sets::find(places)?;
    summary.add_unusable(unusable);
    let mut covered: HashSet<BrickName> = HashSet::new();
    let groups = groups.into_iter();
    for mut group in groups.filter(|group| only.is_none_or(|only| only.contains(&group.id))) {
        let (description, unusable) = group.describe();
        summary.add_unusable(unusable);
        let Some(description) = description else {
            continue;
        };
        let bytes = description.shape.member_bytes();
        monitor.total.fetch_add(bytes, Ordering::Relaxed);
        let state = examine::examine(group.id, description, group.files, places, &pool, monitor)?;
        let members = state.members.iter().filter(|member| !member.at_odds);
        covered.extend(members.map(|member| member.member.name));
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
    summary.add_up();
    Ok(())
}
