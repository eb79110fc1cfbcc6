//! Bricks that the catalog could not take in.
//!
//! The catalog is a cache: a full disk under it must not end a run that has
//! stored its bricks. What the index needs to know of them is held in memory,
//! some 2 KB for a brick of 64 MiB; their chunks are found again once a later
//! run has entered their sidecars.

use super::BrickRef;
use super::batch::Batch;
use super::entry::{self, Checker, Kind, ORDINALS};
use super::fault::{Fault, Step};

/// What a catalog could not take in, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unentered {
    /// The number of bricks whose chunks it does not know; 0 if it could not
    /// merge what it knows, which slows lookups down.
    pub bricks: u64,
    /// What the first fault was.
    pub reason: String,
}

/// The bricks that one process holds for itself.
#[derive(Default)]
pub(super) struct Aside {
    /// As in the table `bricks`. Their ordinals begin at [`ORDINALS`], where
    /// those of the table end.
    records: Vec<Vec<u8>>,
    /// Bricks of which not even the record is held.
    others: u64,
    reason: Option<String>,
}

impl Aside {
    /// Holds the first brick of a batch that could not be stored.
    pub fn hold(&mut self, batch: &Batch, checker: Checker, fault: Fault) -> Step<BrickRef> {
        self.note(&fault);
        let ordinal = u32::try_from(self.records.len()).ok();
        let ordinal = ordinal.and_then(|number| ORDINALS.checked_add(number));
        // The last one is nobody's: spools of the index mark their own frames with it.
        let brick = ordinal.filter(|&ordinal| ordinal < u32::MAX).map(BrickRef);
        let (Some(brick), Some(record)) = (brick, batch.first_record()) else {
            return Err(fault);
        };
        let mut record = record.to_vec();
        checker.seal(Kind::Brick, &entry::brick_key(brick), &mut record);
        self.records.push(record);
        Ok(brick)
    }

    /// Notes that so many bricks whose sidecars stand could not be entered.
    pub fn leave_out(&mut self, bricks: u64, fault: &Fault) {
        self.note(fault);
        self.others += bricks;
    }

    /// Notes that the catalog could not be written. The first reason is kept.
    pub fn note(&mut self, fault: &Fault) {
        self.reason.get_or_insert_with(|| fault.reason());
    }

    /// The records, in the order of their ordinals.
    pub fn records(&self) -> &[Vec<u8>] {
        &self.records
    }

    /// Whether the catalog has failed to take something in.
    pub const fn has_failed(&self) -> bool {
        self.reason.is_some()
    }

    pub fn unentered(&self) -> Option<Unentered> {
        let reason = self.reason.clone()?;
        let bricks = self.records.len() as u64 + self.others;
        Some(Unentered { bricks, reason })
    }
}
