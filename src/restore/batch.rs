//! Pieces of the output in batches, and the queue from the walk to the output.

use std::ops::Range;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::slot::{Failure, Slot};
use crate::id::ChunkHash;

/// A batch is sent once it holds so many bytes of headers …
const BATCH_BYTES: usize = 256 << 10;
/// … or so many operations …
const BATCH_OPS: usize = 4096;
/// … or has asked for frames of so many bytes.
const BATCH_FRAMES: u64 = 8 << 20;

/// One piece of the output.
pub(super) enum Op {
    /// Bytes of the batch.
    Bytes(Range<usize>),
    /// A chunk of a frame.
    Chunk {
        slot: Arc<Slot>,
        place: u32,
        length: u32,
        hash: ChunkHash,
    },
    /// Zero bytes.
    Zeros(u64),
    /// Bytes that cannot be restored, because what lists them is lost.
    Lost { length: u64, failure: Box<Failure> },
    /// From here on the output is the body of the member with this name.
    Member(Name),
    /// From here on bytes are the body's, up to [`Op::BodyEnd`].
    BodyStart,
    /// The body ends here, and its BLAKE3-256 must be this.
    BodyEnd(ChunkHash),
    /// So many bytes on, tar's end-of-archive blocks begin.
    ArchiveEnd { ahead: u64 },
    /// Two zero blocks, then zeros up to a multiple of `record`.
    EndRecord { record: u64 },
}

/// Where a member's name stands in the bytes of the batch: itself, or its only header,
/// which need not be looked at unless something of the member is lost.
pub(super) enum Name {
    Text(Range<usize>),
    Header(Range<usize>),
}

/// Pieces of the output in order.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) ops: Vec<Op>,
    pub(super) bytes: Vec<u8>,
    pub(super) frame_bytes: u64,
}

impl Batch {
    /// Whether it should be sent.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= BATCH_BYTES
            || self.ops.len() >= BATCH_OPS
            || self.frame_bytes >= BATCH_FRAMES
    }
}

/// Batches that wait at most; each has some 256 KiB of headers and as much of operations.
const WAITING: usize = 24;
/// Batches at most, waiting or being written, that have asked for frames.
const WITH_FRAMES: usize = 3;

/// Leave to be under way for a batch that has asked for frames: these take memory, while
/// headers alone take little. Where members are tiny many batches use one frame, and the
/// walk must be far ahead to ask for the next in time.
pub(super) struct Permit(Sender<()>);

impl Drop for Permit {
    fn drop(&mut self) {
        // There is always room; and if the walk has ended nobody waits for it.
        let _ = self.0.try_send(());
    }
}

/// Where the walk sends batches.
pub(super) struct Batches {
    out: Sender<(Batch, Option<Permit>)>,
    permits: Receiver<()>,
    give_back: Sender<()>,
    /// Disconnected once the other end is gone. Then batches may be left in the queue, and
    /// hold permits that come back only when the queue itself goes.
    gone: Receiver<()>,
}

/// Where batches come from.
pub(super) struct Arriving {
    pub(super) batches: Receiver<(Batch, Option<Permit>)>,
    _here: Sender<()>,
}

impl Batches {
    /// The walk's end of the queue, and the other.
    pub(super) fn queue() -> (Self, Arriving) {
        let (out, batches) = bounded(WAITING);
        let (give_back, permits) = bounded(WITH_FRAMES);
        for _ in 0..WITH_FRAMES {
            let _ = give_back.try_send(());
        }
        let (here, gone) = bounded(0);
        let this = Self {
            out,
            permits,
            give_back,
            gone,
        };
        let arriving = Arriving {
            batches,
            _here: here,
        };
        (this, arriving)
    }

    /// Sends a batch, once there is room for it.
    pub(super) fn send(&self, batch: Batch) -> Result<(), Gone> {
        let permit = if batch.frame_bytes > 0 {
            select! {
                recv(self.permits) -> _ => {}
                recv(self.gone) -> _ => return Err(Gone),
            }
            Some(Permit(self.give_back.clone()))
        } else {
            None
        };
        self.out.send((batch, permit)).map_err(|_| Gone)
    }
}

/// The other end of the queue is gone: it has failed, or needs no more.
pub(super) struct Gone;

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn batch() -> Batch {
        Batch {
            frame_bytes: 1,
            ..Batch::default()
        }
    }

    /// A restore that failed hung when the queue held all permits.
    #[test]
    fn whoever_waits_for_a_permit_learns_that_the_other_end_is_gone() {
        for taken in 0..=WITH_FRAMES {
            let (out, arriving) = Batches::queue();
            for _ in 0..WITH_FRAMES {
                assert!(out.send(batch()).is_ok());
            }
            for _ in 0..taken {
                drop(arriving.batches.recv());
            }
            let (ended, end) = bounded(1);
            let walk = thread::spawn(move || {
                while out.send(batch()).is_ok() {}
                let _ = ended.send(());
            });
            drop(arriving);
            // So long only if it never ends.
            assert!(end.recv_timeout(Duration::from_secs(60)).is_ok(), "{taken}");
            walk.join().unwrap();
        }
    }
}
