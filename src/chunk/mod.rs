//! Where bodies are cut into chunks (`formats/chunk.md`).

use std::sync::Arc;

use fastcdc::v2020::cut_gear;

/// The longest chunk in bytes.
pub const MAX_CHUNK: usize = 1 << 20;

/// How chunks are cut that begin below an offset in their body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    min: usize,
    average: usize,
    max: usize,
    small_mask: u64,
    large_mask: u64,
}

/// The rows of the table in `formats/chunk.md#parameters`, each with the offset below
/// which it holds.
const STEPS: [(u64, Step); 2] = [
    (
        4 << 20,
        Step {
            min: 8 << 10,
            average: 16 << 10,
            max: 64 << 10,
            small_mask: 0x7fff_8000_0000_0000,
            large_mask: 0x7ff8_0000_0000_0000,
        },
    ),
    (
        1 << 30,
        Step {
            min: 16 << 10,
            average: 64 << 10,
            max: 512 << 10,
            small_mask: 0x7fff_e000_0000_0000,
            large_mask: 0x7ffe_0000_0000_0000,
        },
    ),
];
/// The last row.
const LAST_STEP: Step = Step {
    min: 64 << 10,
    average: 256 << 10,
    max: MAX_CHUNK,
    small_mask: 0x7fff_f800_0000_0000,
    large_mask: 0x7fff_8000_0000_0000,
};

/// How fine streams of snapshots are cut that hardly compress, at first
/// (`formats/snapshot.md#chunks`).
const FINE: Step = Step {
    min: 256,
    average: 1 << 10,
    max: 8 << 10,
    small_mask: 0x7ff8_0000_0000_0000,
    large_mask: 0x7f80_0000_0000_0000,
};

impl Step {
    /// The row for a stream of a snapshot: those of bodies, but the first reaches further.
    fn of_metadata(fine: bool, offset: u64) -> Self {
        let [(_, first), (far, second)] = STEPS;
        match (offset < far, fine) {
            (true, true) => FINE,
            (true, false) => first,
            (false, _) => second,
        }
    }

    fn at(offset: u64) -> Self {
        STEPS
            .iter()
            .find(|(end, _)| offset < *end)
            .map_or(LAST_STEP, |(_, step)| *step)
    }
}

/// Cuts bodies into chunks, with a secret gear table.
///
/// There is no `Debug`: the table must not leak.
#[derive(Clone)]
pub struct Chunker(Arc<Tables>);

struct Tables {
    gear: [u64; 256],
    /// Each entry shifted left by one bit.
    shifted: [u64; 256],
}

impl Drop for Tables {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.gear);
        zeroize::Zeroize::zeroize(&mut self.shifted);
    }
}

impl Chunker {
    /// A chunker with a gear table, which follows from the gear key as
    /// `formats/chunk.md#gear-table` says.
    #[must_use]
    pub fn new(gear: &[u64; 256]) -> Self {
        Self(Arc::new(Tables {
            gear: *gear,
            shifted: gear.map(|entry| entry << 1),
        }))
    }

    /// The length in bytes of the chunk that begins at `offset` in its body;
    /// at least 1 unless `window` is empty.
    ///
    /// `window` holds the body's bytes from there on; `last` says that it
    /// reaches the body's end. `None`: that cannot be known from so few bytes;
    /// [`MAX_CHUNK`] are always enough.
    #[must_use]
    pub fn cut(&self, offset: u64, window: &[u8], last: bool) -> Option<usize> {
        self.cut_by(Step::at(offset), window, last)
    }

    /// As [`Chunker::cut`], of a stream of a snapshot, which may be cut more finely.
    #[must_use]
    pub fn cut_metadata(
        &self,
        fine: bool,
        offset: u64,
        window: &[u8],
        last: bool,
    ) -> Option<usize> {
        self.cut_by(Step::of_metadata(fine, offset), window, last)
    }

    fn cut_by(&self, step: Step, window: &[u8], last: bool) -> Option<usize> {
        if window.len() < step.max && !last {
            return None;
        }
        let Tables { gear, shifted } = &*self.0;
        let (_hash, length) = cut_gear(
            window,
            step.min,
            step.average,
            step.max,
            step.small_mask,
            step.large_mask,
            step.small_mask << 1,
            step.large_mask << 1,
            gear,
            shifted,
        );
        Some(length)
    }
}

/// Whether all of `bytes` are zero: such a chunk is not stored.
#[must_use]
pub fn is_zero(bytes: &[u8]) -> bool {
    // Wide enough for the compiler to compare many bytes at once, short enough
    // to give up early: nearly all chunks end at the first piece.
    const PIECE: usize = 256;
    let (pieces, rest) = bytes.as_chunks::<PIECE>();
    let zero = |bytes: &[u8]| bytes.iter().fold(0, |all, byte| all | byte) == 0;
    pieces.iter().all(|piece| zero(piece)) && zero(rest)
}

#[cfg(test)]
mod tests;
