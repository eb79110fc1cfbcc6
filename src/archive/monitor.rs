//! What a run tells the outside while it works, and how it is told to stop.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::error::{Error, Result};

/// Counters that another thread may read at any time, and a request to stop.
#[derive(Debug, Default)]
pub struct Monitor {
    stop: AtomicBool,
    /// Bytes of the stream read (or, on restore, written) so far.
    pub stream: AtomicU64,
    /// Bytes of the stream in all; 0 while unknown.
    pub total: AtomicU64,
    /// Bytes of chunks that were not in the store yet.
    pub new: AtomicU64,
    /// Bytes written to bricks (or, on salvage, in frames that were found).
    pub stored: AtomicU64,
    /// Frames found so far, on salvage.
    pub frames: AtomicU64,
}

impl Monitor {
    /// Asks the run to stop as soon as it can.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Fails if the run was asked to stop.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn check(&self) -> Result<()> {
        if self.stop.load(Ordering::SeqCst) {
            return Err(Error::Interrupted);
        }
        Ok(())
    }

    pub(crate) fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }
}
