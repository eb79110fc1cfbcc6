//! Says what a restore waits for.

use super::say::Say;
use dtar::id::BrickName;
use dtar::restore::Tell;

/// On standard error.
#[derive(Debug)]
pub struct SayWaiting(pub Say);

impl Tell for SayWaiting {
    fn waiting_for(&self, brick: &BrickName) {
        self.0.note(&format!("waiting for {brick}.brick"));
    }
}
