//! What was done, in numbers.

use std::collections::BTreeMap;
use std::fmt;

/// Counts of a soak.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Of operations, kills, damages, by their names.
    pub done: BTreeMap<&'static str, u64>,
    /// Bricks that gc deleted and rewrote.
    pub deleted: u64,
    pub rewritten: u64,
    pub restores: u64,
    pub snapshots_restored: u64,
    /// Restores that said that data is lost, of what may be lost.
    pub refused: u64,
    /// Bytes of these that did not come out, all of them damaged beyond parity.
    pub bytes_beyond: u64,
    /// Damaged files that verify named.
    pub reported: u64,
    /// Damages that were there to be named.
    pub to_report: u64,
    /// Damaged bricks that parity brought back, sidecars that rebuild made again, runs
    /// that an archive of the same stream healed.
    pub by_parity: u64,
    pub by_rebuild: u64,
    pub by_archive: u64,
    /// Runs that had to restore and did not.
    pub lost_runs: u64,
    /// Restores that put out a wrong byte.
    pub wrong: u64,
}

impl Tally {
    /// Counts what was done once.
    pub fn did(&mut self, what: &'static str) {
        *self.done.entry(what).or_default() += 1;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in &self.done {
            write!(out, "{what} {count}, ")?;
        }
        write!(
            out,
            "bricks deleted {}, rewritten {}, restores {} (from snapshots {}), of which {} said what is lost ({} bytes, beyond \
             parity), damages named by verify {} of {}, mended by parity {}, rebuild {}, \
             archiving again {}, runs lost {}, wrong outputs {}",
            self.deleted,
            self.rewritten,
            self.restores,
            self.snapshots_restored,
            self.refused,
            self.bytes_beyond,
            self.reported,
            self.to_report,
            self.by_parity,
            self.by_rebuild,
            self.by_archive,
            self.lost_runs,
            self.wrong,
        )
    }
}
