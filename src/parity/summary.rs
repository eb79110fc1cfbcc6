//! What check and repair have to say at their end.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use super::examine::SetState;
use super::repair::Repaired;
use super::sets::Unusable;
use crate::error::Exit;
use crate::id::{BrickName, SetId};

/// What check or repair found. A brick counts once, however many sets it is in.
#[derive(Debug, Default)]
pub struct CheckSummary {
    /// Sets of which a description is there.
    pub sets: u64,
    /// Sets that are wrong about bricks which are whole: forged, or made of something else.
    pub wrong_sets: u64,
    /// Members of sets: bricks that are protected.
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
    tally: HashMap<BrickName, BrickTally>,
}

/// How a brick was found first, and whether any of its sets can bring it back.
#[derive(Debug, Clone, Copy)]
enum BrickTally {
    Sound,
    Missing { repairable: bool },
    Damaged { repairable: bool },
}

impl CheckSummary {
    /// How a check ends: anything missing or damaged is damage.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let damaged = self.missing + self.damaged + self.damaged_files + self.wrong_sets;
        Exit::of_damage(damaged > 0 || !self.failed.is_empty())
    }

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

    pub(super) fn count(&mut self, state: &SetState) {
        self.sets += 1;
        self.wrong_sets += u64::from(state.is_wrong());
        for member in &state.members {
            let found = match (member.is_sound(), member.is_missing()) {
                (true, _) => BrickTally::Sound,
                (_, true) => BrickTally::Missing { repairable: false },
                _ => BrickTally::Damaged { repairable: false },
            };
            let name = member.member.name;
            match self.tally.entry(name).or_insert(found) {
                BrickTally::Missing { repairable } | BrickTally::Damaged { repairable } => {
                    *repairable |= member.repairable;
                }
                BrickTally::Sound => {}
            }
        }
        self.files += state.files.len() as u64;
        let damaged = state.files.iter().filter(|file| !file.whole).count() as u64;
        self.damaged_files += damaged + state.files_missing;
        let spare = state.bricks_to_spare();
        let least = self.bricks_to_spare.map_or(spare, |least| least.min(spare));
        self.bricks_to_spare = Some(least);
    }

    pub(super) fn add_unusable(&mut self, unusable: Vec<Unusable>) {
        self.files += unusable.len() as u64;
        self.damaged_files += unusable.len() as u64;
        self.unusable.extend(unusable);
    }

    /// Adds up once all sets were counted.
    pub(super) fn add_up(&mut self) {
        self.bricks = self.tally.len() as u64;
        for brick in std::mem::take(&mut self.tally).into_values() {
            let repairable = match brick {
                BrickTally::Sound => continue,
                BrickTally::Missing { repairable } => {
                    self.missing += 1;
                    repairable
                }
                BrickTally::Damaged { repairable } => {
                    self.damaged += 1;
                    repairable
                }
            };
            self.repairable += u64::from(repairable);
        }
    }
}

/// What several passes of a repair have done, and what is still to be done.
#[derive(Debug, Default)]
pub(super) struct Progress {
    restored: Vec<PathBuf>,
    back: HashSet<BrickName>,
    remade: Vec<PathBuf>,
    /// Why bricks are not back.
    bricks: BTreeMap<BrickName, String>,
    /// Why sets are not in order.
    sets: BTreeMap<SetId, Vec<String>>,
    /// Sets that may get further once a brick is back.
    open: HashSet<SetId>,
}

impl Progress {
    /// Notes what was done for a set, as `state` was found.
    pub(super) fn add(&mut self, state: &SetState, done: Repaired) {
        for member in &state.members {
            if member.whole().is_some() {
                self.bricks.remove(&member.member.name);
            } else if !member.repairable && !self.back.contains(&member.member.name) {
                let why = "cannot be brought back: more is lost than its set has parity for";
                let name = member.member.name;
                self.bricks.insert(name, format!("brick {name}: {why}"));
            }
        }
        self.bricks.extend(done.not_back);
        for (name, path) in done.bricks {
            self.bricks.remove(&name);
            self.back.insert(name);
            self.restored.push(path);
        }
        self.remade.extend(done.files);
        self.sets.remove(&state.id);
        let has_lost = state
            .members
            .iter()
            .any(|member| self.bricks.contains_key(&member.member.name));
        if has_lost || !done.failed.is_empty() {
            self.open.insert(state.id);
        }
        if !done.failed.is_empty() {
            self.sets.insert(state.id, done.failed);
        }
    }

    /// How many bricks are back.
    pub(super) fn bricks_back(&self) -> usize {
        self.back.len()
    }

    /// The sets to look at again.
    pub(super) fn take_open(&mut self) -> HashSet<SetId> {
        std::mem::take(&mut self.open)
    }

    /// Puts it all into the summary.
    pub(super) fn finish(self, summary: &mut CheckSummary) {
        summary.restored = self.restored;
        summary.remade = self.remade;
        summary.failed = self.bricks.into_values().collect();
        summary.failed.extend(self.sets.into_values().flatten());
    }
}
