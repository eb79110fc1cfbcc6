//! Tar streams: split into segments without loss, and headers rewritten for
//! the index and back (`formats/stream.md`).
//!
//! Any bytes are a stream. What the splitter reports adds up to what it was
//! given, byte for byte, however the stream was cut into windows.

mod event;
mod extensions;
mod header;
mod member;
mod parts;
mod pax;
pub mod rewrite;
mod sparse;
mod split;

pub use event::{BodyHead, BodyKind, Event, MAX_ZERO_BLOCKS, Padding, Step};
pub use extensions::{Extension, Globals, extensions};
pub use member::Member;
pub use parts::{Part, parts};
pub use split::Splitter;

/// The length of a block in bytes.
pub const BLOCK: usize = 512;
/// The greatest length of a header group in bytes; its main header may stand
/// beyond.
pub const MAX_GROUP: usize = 16 << 20;

/// The bytes from `length` up to the next multiple of a block.
#[expect(clippy::cast_possible_truncation, reason = "a remainder below 512")]
const fn padding_after(length: u64) -> usize {
    (length.wrapping_neg() % BLOCK as u64) as usize
}

#[cfg(test)]
mod tests;
