//! What a run has to tell while it works, and what it did.

use std::path::{Path, PathBuf};

use crate::id::{BrickName, StoreId};

/// Something that whoever started the run may want to hear of at once.
#[derive(Debug)]
pub enum Event<'a> {
    /// Bytes of an input could not be read, and were passed.
    BadBlock {
        /// The input.
        path: &'a Path,
        /// Where they begin.
        offset: u64,
        /// How many.
        length: u64,
        /// Why.
        reason: String,
    },
    /// An input could not be read, or not to its end.
    Unreadable {
        /// Why.
        reason: String,
    },
    /// Something that dtar wrote is there, but cannot be kept.
    Lost {
        /// The input.
        path: &'a Path,
        /// Where it begins.
        offset: u64,
        /// Why.
        reason: String,
    },
    /// A file in the output has the name of something that was found, and is damaged: a
    /// brick is kept frame by frame then, a root or a snapshot is not.
    Blocked {
        /// The file.
        path: &'a Path,
    },
    /// A brick was found whole, and is kept under its own name.
    Brick {
        /// Its name.
        name: BrickName,
        /// The input.
        path: &'a Path,
        /// Where it begins.
        offset: u64,
    },
}

/// How much of something there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub number: u64,
    /// Bytes in all.
    pub bytes: u64,
}

impl Count {
    pub(super) const fn add(&mut self, bytes: u64) {
        self.number += 1;
        self.bytes += bytes;
    }
}

/// How many stores are named at most.
const MOST_STORES: usize = 16;

/// What a run found and wrote. In a dry run: would have written.
#[derive(Debug, Clone, Default)]
pub struct SalvageSummary {
    /// The store whose frames were kept.
    pub store: Option<StoreId>,
    /// Inputs, and bytes read from them.
    pub inputs: Count,
    /// Blocks that could not be read.
    pub bad_blocks: Count,
    /// Inputs that could not be read, or not to their ends.
    pub unreadable: u64,
    /// Frames that the key opens.
    pub sound: Count,
    /// Frames that are whole by their headers, but could not be opened for want of a key.
    pub unverified: Count,
    /// Of these two, frames that were there already: found before, or by an earlier run.
    pub again: Count,
    /// Frames with a good header that do not open, or of which not all is there.
    pub damaged: u64,
    /// Frames that a newer dtar wrote.
    pub refused: u64,
    /// Frames that are not sealed to the key in use.
    pub other_key: u64,
    /// Frames of other stores.
    pub other_store: u64,
    /// These stores, the first few.
    pub other_stores: Vec<StoreId>,
    /// Bricks that were found whole.
    pub whole_bricks: Count,
    /// Bricks that were made of other frames.
    pub new_bricks: Count,
    /// Files of frames that need a key to become bricks.
    pub loose: Count,
    /// Roots.
    pub roots: u64,
    /// Snapshot files.
    pub snapshots: u64,
    /// Roots and snapshot files that were not kept, because something else in the output has
    /// their names.
    pub blocked: u64,
}

impl SalvageSummary {
    pub(super) fn add_other_store(&mut self, store: StoreId) {
        self.other_store += 1;
        if self.other_stores.len() < MOST_STORES && !self.other_stores.contains(&store) {
            self.other_stores.push(store);
        }
    }

    /// Whether something could not be read or kept.
    #[must_use]
    pub const fn has_losses(&self) -> bool {
        self.bad_blocks.number > 0
            || self.unreadable > 0
            || self.damaged > 0
            || self.blocked > 0
            || self.refused > 0
            || self.other_key > 0
            || self.is_mostly_of_others()
    }

    /// Whether more frames were found of other stores than of the one that was kept: it may
    /// be the wrong one.
    #[must_use]
    pub const fn is_mostly_of_others(&self) -> bool {
        self.other_store > self.sound.number + self.unverified.number
    }
}

/// Where something of the input stands.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    pub(super) offset: u64,
}
