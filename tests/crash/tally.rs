//! What was done, in numbers.

use std::collections::BTreeMap;
use std::fmt;

use crate::acts::Act;
use crate::common::kill::Moment;

/// Counts of one lane, or of several.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    kills: BTreeMap<Act, u64>,
    by_call: u64,
    /// Commands that ended before the moment of their kill.
    pub too_late: u64,
    /// Indexes of killed runs that were refused.
    pub refused: u64,
    /// Indexes of killed runs that had their trailer, and restored.
    pub whole: u64,
    /// Roots that killed runs left.
    pub roots_left: u64,
    /// Stores in which something was left in `tmp/`, `runs/` or `dead/`.
    pub leftovers: u64,
    /// Restores of finished runs, from indexes and snapshots.
    pub restores: u64,
    /// Finished runs that did not restore.
    pub lost_runs: u64,
    /// Bytes of their streams that did not come out.
    pub lost_bytes: u64,
    /// Frames that verify found sound.
    pub verified: u64,
    /// Gcs after which there was no garbage.
    pub collections: u64,
    /// Bricks that these deleted.
    pub deleted: u64,
    /// Bricks that these rewrote.
    pub rewritten: u64,
}

impl Tally {
    /// All kills.
    pub fn kills(&self) -> u64 {
        self.kills.values().sum()
    }

    /// Counts a kill.
    pub fn kill(&mut self, act: Act, moment: Moment) {
        *self.kills.entry(act).or_default() += 1;
        self.by_call += u64::from(!matches!(moment, Moment::After(_)));
    }

    /// The sum of two.
    pub fn plus(mut self, other: Self) -> Self {
        for (act, count) in other.kills {
            *self.kills.entry(act).or_default() += count;
        }
        self.by_call += other.by_call;
        self.too_late += other.too_late;
        self.refused += other.refused;
        self.whole += other.whole;
        self.roots_left += other.roots_left;
        self.leftovers += other.leftovers;
        self.restores += other.restores;
        self.lost_runs += other.lost_runs;
        self.lost_bytes += other.lost_bytes;
        self.verified += other.verified;
        self.collections += other.collections;
        self.deleted += other.deleted;
        self.rewritten += other.rewritten;
        self
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "kills {} (", self.kills())?;
        for (act, count) in &self.kills {
            write!(out, "{act:?} {count}, ")?;
        }
        write!(
            out,
            "by call {}), too late {}, unfinished indexes refused {}, killed but whole {}, \
             roots left {}, leftovers cleaned {}, gcs without garbage {} (bricks deleted {}, rewritten {}), frames verified {}, restores of finished \
             runs {}, lost runs {}, bytes lost {}",
            self.by_call,
            self.too_late,
            self.refused,
            self.whole,
            self.roots_left,
            self.leftovers,
            self.collections,
            self.deleted,
            self.rewritten,
            self.verified,
            self.restores,
            self.lost_runs,
            self.lost_bytes,
        )
    }
}
