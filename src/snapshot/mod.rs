//! Snapshots: copies of indexes in the store (`formats/snapshot.md`).
//!
//! ```text
//! index -> split (seven streams) -> cut -> frames of class metadata -> store
//! store -> chunks -> join -> index
//! ```
//!
//! Splitting and joining are pure: they know bytes, not stores. Writing a snapshot
//! is part of an archive run; reading one is here.
#![expect(
    clippy::cast_possible_truncation,
    reason = "lengths are below limits that were checked, and addresses have 64 bits"
)]

mod chunks;
mod join;
mod moment;
mod pax;
mod read;
mod runs;
mod split;
#[cfg(test)]
mod tests;
mod unverified;

pub use join::join;
pub use moment::{Moment, ParseMomentError};
pub use read::open;
pub use runs::{Run, Selector, runs, select};
pub use split::Splitter;
pub use unverified::open_unverified;

/// Length of a block.
const BLOCK: usize = 512;
/// Where the times begin and end in a header block, and where the checksum ends behind them.
const TIMES: std::ops::Range<usize> = 136..148;
const CHECKSUM: std::ops::Range<usize> = 148..156;
/// Bytes of a header block in the stream of headers.
const HEADER: usize = BLOCK - TIMES.end + TIMES.start - (CHECKSUM.end - CHECKSUM.start);

/// The number of streams.
pub const STREAMS: usize = 7;

/// The streams of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// How the others interlock.
    Steps = 0,
    /// Header blocks without times and checksums.
    Headers = 1,
    /// Times of last change.
    Times = 2,
    /// Body records.
    Records = 3,
    /// All else.
    Blocks = 4,
    /// Times of last access, of pax records.
    Accesses = 5,
    /// Times of last status change, of pax records.
    Changes = 6,
}

impl Stream {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; STREAMS] = [
        Self::Steps,
        Self::Headers,
        Self::Times,
        Self::Records,
        Self::Blocks,
        Self::Accesses,
        Self::Changes,
    ];

    /// Whether it is cut finely: what is in it hardly compresses, and changes here and there.
    #[must_use]
    pub const fn is_fine(self) -> bool {
        matches!(
            self,
            Self::Times | Self::Records | Self::Accesses | Self::Changes
        )
    }
}

/// The bytes of each stream.
pub type Streams = [Vec<u8>; STREAMS];

/// The sum of the bytes: eight at a time, in four lanes of 16 bits, of which 128 bytes
/// each cannot overflow one.
fn sum(block: &[u8; BLOCK]) -> u32 {
    const EVEN: u64 = 0x00ff_00ff_00ff_00ff;
    let mut lanes = 0;
    for word in block.as_chunks::<8>().0 {
        let word = u64::from_le_bytes(*word);
        lanes += (word & EVEN) + (word >> 8 & EVEN);
    }
    (0..4)
        .map(|lane| (lanes >> (16 * lane)) as u32 & 0xffff)
        .sum()
}

/// The checksum of a header block, as [`Stream::Headers`] leaves it out.
fn checksum(block: &[u8; BLOCK]) -> [u8; 8] {
    let own: u32 = block[CHECKSUM].iter().map(|&byte| u32::from(byte)).sum();
    let mut rest = sum(block) - own + 8 * u32::from(b' ');
    let mut field = *b"000000\0 ";
    // At most 512 * 255: six octal digits hold it.
    for digit in field[..6].iter_mut().rev() {
        *digit = b'0' + (rest & 7) as u8;
        rest >>= 3;
    }
    field
}
