//! What the splitter reports.

use std::ops::Range;

/// As many zero blocks in a row pass into the index as they are.
pub const MAX_ZERO_BLOCKS: u64 = 128;

/// What [`Splitter::next`](super::Splitter::next) found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// So many bytes of the window are done with; the next window begins
    /// behind them.
    pub consumed: usize,
    /// What they told.
    pub event: Event,
}

/// What is reported, in the order of the stream.
///
/// The stream is: the bytes of each [`Event::Group`], the zero blocks, and of
/// each body its leading zeros, then [`Splitter::carried`](super::Splitter::carried), then what its
/// [`Event::Body`] steps consumed, then its padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A longer window is needed; one of 512 bytes is always long enough.
    NeedMore,
    /// So many zero blocks, at least one and at most [`MAX_ZERO_BLOCKS`], that
    /// pass into the index as they are. They are consumed already.
    ZeroBlocks(u64),
    /// A header group without a body, or extension headers that no main header
    /// follows: [`Splitter::group`](super::Splitter::group).
    Group,
    /// A body begins.
    BodyStart {
        /// Whose body it is.
        kind: BodyKind,
        /// Its first so many bytes are zero; they are consumed already.
        zeros: u64,
    },
    /// The consumed bytes, at least one, belong to the body.
    Body,
    /// The body ends, and the consumed bytes are its padding.
    BodyEnd {
        /// What they are.
        padding: Padding,
    },
    /// The tail has been reported; there is nothing left.
    End,
}

/// Whose body it is; as in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// That of the member whose header group is [`Splitter::group`](super::Splitter::group);
    /// [`Splitter::head`](super::Splitter::head) describes it.
    Member,
    /// An opaque run.
    Opaque,
    /// What is left at the stream's end, perhaps nothing.
    Tail,
}

/// What followed a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// Of a member: zero bytes up to the next block, perhaps none. Of another body:
    /// nothing.
    Usual,
    /// Other bytes, or too few: those that were consumed, perhaps none.
    Explicit,
    /// The stream ended so many bytes, at least one, before the length that
    /// the header declares.
    Missing(u64),
}

/// A member's header group, as far as rewriting it needs to know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BodyHead {
    /// Offset of the main header in the group.
    pub main: usize,
    /// Length of the group in bytes, map blocks included.
    pub group_length: usize,
    /// Length of the map blocks of pax sparse 1.0 at the group's end, in bytes.
    pub map_length: usize,
    /// Length of the body in bytes as the header declares it, without the map.
    pub declared: u64,
    /// Whether the header declares a length though no body follows: its record goes
    /// aside, and its size becomes 0.
    pub bodyless: bool,
    /// Whether the member is sparse in any way.
    pub sparse: bool,
    /// The main header's type.
    pub type_flag: u8,
    /// Where in the group the digits of pax `size` values stand that are to be
    /// rewritten, ascending.
    pub pax_sizes: Vec<Range<u32>>,
}
