//! The splitter: a pull parser over windows of the stream.

use super::event::{BodyHead, BodyKind, Event, MAX_ZERO_BLOCKS, Padding, Step};
use super::header::{
    Header, has_next_sparse_extension, has_sparse_extension, is_extension, is_old_sparse, is_pax,
    is_usually_bodyless, is_zero_block, may_be_header,
};
use super::pax::Summary;
use super::sparse::{MapReader, Progress};
use super::{BLOCK, MAX_GROUP, padding_after};
use crate::chunk::is_zero;

/// Where the splitter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At a block that may be anything.
    Boundary,
    /// In the body of the extension header at `start` in the group; `size`
    /// bytes of it count, `left` blocks' bytes have not come yet.
    Extension {
        start: usize,
        size: u64,
        left: u64,
        pax: bool,
    },
    /// Before an extension block of a main header of type `S`.
    SparseExtension,
    /// Behind the headers: does a body follow?
    Decide,
    /// Before a block that should belong to a sparse map.
    Map,
    /// In a member's body.
    Body { left: u64 },
    /// Behind a member's body.
    Padding,
    /// Before an opaque run, of which so many zero blocks have been consumed.
    OpaqueStart,
    /// In an opaque run, at a block.
    Opaque,
    /// The group's last extension header, from `start` on, is cut by the end.
    CutExtension { start: usize },
    /// In the tail.
    Tail,
    /// Behind it.
    Ended,
}

/// One step of the state machine.
enum Advance {
    /// Go on behind so many bytes.
    Go(usize),
    /// Report, behind so many bytes.
    Report(usize, Event),
}

use Advance::{Go, Report};

/// Splits a stream into segments, looking at each byte once and copying none
/// but header groups.
#[derive(Debug)]
pub struct Splitter {
    state: State,
    offset: u64,
    /// Zero blocks consumed but not reported.
    zeros: u64,
    /// The group, then what is carried.
    buffer: Vec<u8>,
    /// Whether the buffer holds a group that has not been reported.
    pending: bool,
    head: BodyHead,
    size_field: u64,
    pax: Summary,
    map: MapReader,
}

impl Default for Splitter {
    fn default() -> Self {
        Self::new()
    }
}

impl Splitter {
    /// A splitter at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: State::Boundary,
            offset: 0,
            zeros: 0,
            buffer: Vec::new(),
            pending: false,
            head: BodyHead::default(),
            size_field: 0,
            pax: Summary::default(),
            map: MapReader::default(),
        }
    }

    /// Looks at `window`, the stream's bytes from the current position on, and
    /// tells what comes next. `eof`: nothing follows the window.
    ///
    /// Whoever gets [`Event::NeedMore`] calls again with a window that begins
    /// behind the consumed bytes and is longer than what was left of this one.
    pub fn next(&mut self, window: &[u8], eof: bool) -> Step {
        let mut consumed = 0;
        let event = loop {
            let rest = window.get(consumed..).unwrap_or_default();
            match self.advance(rest, eof) {
                Go(count) => consumed += count,
                Report(count, event) => {
                    consumed += count;
                    break event;
                }
            }
        };
        self.offset += consumed as u64;
        Step { consumed, event }
    }

    /// The header group just reported; valid until [`Splitter::next`] is called.
    #[must_use]
    pub fn group(&self) -> &[u8] {
        self.buffer
            .get(..self.head.group_length)
            .unwrap_or_default()
    }

    /// The first bytes of the body just begun, behind its zeros, as far as
    /// they are consumed already: at most 16 MiB, most often none. Valid until
    /// [`Splitter::next`] is called.
    #[must_use]
    pub fn carried(&self) -> &[u8] {
        self.buffer
            .get(self.head.group_length..)
            .unwrap_or_default()
    }

    /// The member whose body was last begun; valid until [`Event::BodyEnd`].
    #[must_use]
    pub const fn head(&self) -> &BodyHead {
        &self.head
    }

    /// How many bytes of the stream are consumed.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// The length of a group that is read but not reported.
    pub(super) const fn pending_group(&self) -> usize {
        if self.pending { self.buffer.len() } else { 0 }
    }

    /// How many zero blocks are read but not reported.
    pub(super) const fn pending_zeros(&self) -> u64 {
        self.zeros
    }

    fn advance(&mut self, rest: &[u8], eof: bool) -> Advance {
        match self.state {
            State::Boundary => self.at_boundary(rest, eof),
            State::Extension {
                start,
                size,
                left,
                pax,
            } => self.in_extension(rest, eof, (start, size, left, pax)),
            State::SparseExtension => self.at_sparse_extension(rest, eof),
            State::Decide => self.decide(rest, eof),
            State::Map => self.at_map(rest, eof),
            State::Body { left } => self.in_body(rest, eof, left),
            State::Padding => self.at_padding(rest, eof),
            State::OpaqueStart => self.start_body(BodyKind::Opaque, State::Opaque),
            State::Opaque => self.in_opaque(rest, eof),
            State::CutExtension { start } => self.at_cut_extension(start),
            State::Tail if rest.is_empty() => {
                self.state = State::Ended;
                end_of_body(0, Padding::Usual)
            }
            State::Tail => Report(rest.len(), Event::Body),
            State::Ended => Report(0, Event::End),
        }
    }

    /// Ends a group that no main header has joined.
    fn flush_group(&mut self) -> Advance {
        self.head.group_length = self.buffer.len();
        self.pending = false;
        self.state = State::Boundary;
        Report(0, Event::Group)
    }

    /// Begins a body without a header, with all zero blocks that wait.
    fn start_body(&mut self, kind: BodyKind, state: State) -> Advance {
        self.buffer.clear();
        self.head.group_length = 0;
        self.state = state;
        let zeros = std::mem::take(&mut self.zeros) * BLOCK as u64;
        Report(0, Event::BodyStart { kind, zeros })
    }

    fn at_boundary(&mut self, rest: &[u8], eof: bool) -> Advance {
        let Some(block) = rest.first_chunk() else {
            return match eof {
                false => Report(0, Event::NeedMore),
                true if self.pending => self.flush_group(),
                true => self.start_body(BodyKind::Tail, State::Tail),
            };
        };
        if is_zero_block(block) {
            if self.pending {
                return self.flush_group();
            }
            self.zeros += 1;
            return Go(BLOCK);
        }
        if self.zeros > 0 {
            return self.flush_zeros();
        }
        match Header::parse(block) {
            Some(header) => self.take_header(header, block),
            None if self.pending => self.flush_group(),
            None => self.start_body(BodyKind::Opaque, State::Opaque),
        }
    }

    /// Reports the zero blocks before another segment.
    fn flush_zeros(&mut self) -> Advance {
        let count = self.zeros.min(MAX_ZERO_BLOCKS);
        self.zeros -= count;
        if self.zeros > 0 {
            self.state = State::OpaqueStart;
        }
        Report(0, Event::ZeroBlocks(count))
    }

    fn take_header(&mut self, header: Header, block: &[u8; BLOCK]) -> Advance {
        if !self.pending {
            self.pending = true;
            self.buffer.clear();
            self.pax.clear();
        }
        let start = self.buffer.len();
        self.buffer.extend_from_slice(block);
        if is_extension(header.type_flag) && self.fits(header.size) {
            let left = header.size + padding_after(header.size) as u64;
            self.state = State::Extension {
                start,
                size: header.size,
                left,
                pax: is_pax(header.type_flag),
            };
            return Go(BLOCK);
        }
        self.head.main = start;
        self.head.type_flag = header.type_flag;
        self.size_field = header.size;
        self.state = if is_old_sparse(header.type_flag) && has_sparse_extension(block) {
            State::SparseExtension
        } else {
            State::Decide
        };
        Go(BLOCK)
    }

    /// Whether the group stays short enough with an extension body of `size` bytes.
    fn fits(&self, size: u64) -> bool {
        let body = size + padding_after(size) as u64;
        self.buffer.len() as u64 + body <= MAX_GROUP as u64
    }

    fn in_extension(
        &mut self,
        rest: &[u8],
        eof: bool,
        (start, size, left, pax): (usize, u64, u64, bool),
    ) -> Advance {
        let taken = up_to(rest, left);
        self.buffer.extend_from_slice(&rest[..taken]);
        let left = left - taken as u64;
        if left == 0 {
            if pax {
                let body = start + BLOCK;
                // It fitted into the group, so it fits `usize`.
                let length = usize::try_from(size).unwrap_or(0);
                self.pax.read(&self.buffer, body..body + length);
            }
            self.state = State::Boundary;
            return Go(taken);
        }
        if eof {
            self.state = State::CutExtension { start };
            return Go(taken);
        }
        self.state = State::Extension {
            start,
            size,
            left,
            pax,
        };
        Report(taken, Event::NeedMore)
    }

    fn at_cut_extension(&mut self, start: usize) -> Advance {
        self.head.group_length = start;
        // The whole ones before it pass into the index.
        if std::mem::take(&mut self.pending) && start > 0 {
            return Report(0, Event::Group);
        }
        self.state = State::Tail;
        let kind = BodyKind::Tail;
        Report(0, Event::BodyStart { kind, zeros: 0 })
    }

    fn at_sparse_extension(&mut self, rest: &[u8], eof: bool) -> Advance {
        let Some(block) = rest.first_chunk::<BLOCK>() else {
            if !eof {
                return Report(0, Event::NeedMore);
            }
            self.state = State::Decide;
            return Go(0);
        };
        if self.buffer.len() + BLOCK > MAX_GROUP {
            return self.flush_group();
        }
        self.buffer.extend_from_slice(block);
        if !has_next_sparse_extension(block) {
            self.state = State::Decide;
        }
        Go(BLOCK)
    }

    fn decide(&mut self, rest: &[u8], eof: bool) -> Advance {
        let length = self.pax.size.unwrap_or(self.size_field);
        if length == 0 {
            return self.flush_group();
        }
        if is_usually_bodyless(self.head.type_flag) {
            match rest.first_chunk() {
                None if !eof => return Report(0, Event::NeedMore),
                Some(block) if is_zero_block(block) => return self.start_bodyless(),
                None => return self.start_bodyless(),
                Some(block) if Header::parse(block).is_some() => return self.flush_group(),
                Some(_) => {}
            }
        }
        self.head.group_length = self.buffer.len();
        self.head.declared = length;
        if self.pax.has_map() {
            self.map = MapReader::default();
            self.state = State::Map;
            return Go(0);
        }
        self.start_member(0)
    }

    /// Reports a member that declares a length but has no body, as one of no
    /// bytes: in the index the trailer follows, which no reader must skip into.
    fn start_bodyless(&mut self) -> Advance {
        self.head.group_length = self.buffer.len();
        self.head.declared = 0;
        self.begin_member(0, true)
    }

    /// Begins a member's body, behind `map_length` bytes of a map.
    fn start_member(&mut self, map_length: usize) -> Advance {
        let head = &mut self.head;
        head.group_length += map_length;
        head.declared -= map_length as u64;
        if head.declared == 0 {
            return self.flush_group();
        }
        self.begin_member(map_length, false)
    }

    fn begin_member(&mut self, map_length: usize, bodyless: bool) -> Advance {
        let head = &mut self.head;
        head.map_length = map_length;
        head.bodyless = bodyless;
        head.sparse = self.pax.sparse || is_old_sparse(head.type_flag);
        head.pax_sizes.clear();
        head.pax_sizes.extend_from_slice(self.pax.rewritten_sizes());
        self.pending = false;
        let carried = (self.buffer.len() - head.group_length) as u64;
        self.state = State::Body {
            left: head.declared - carried,
        };
        let kind = BodyKind::Member;
        Report(0, Event::BodyStart { kind, zeros: 0 })
    }

    fn at_map(&mut self, rest: &[u8], eof: bool) -> Advance {
        let map_length = self.buffer.len() - self.head.group_length + BLOCK;
        let fits =
            map_length as u64 <= self.head.declared && self.buffer.len() + BLOCK <= MAX_GROUP;
        let block = match rest.first_chunk::<BLOCK>() {
            Some(block) if fits => block,
            None if fits && !eof => return Report(0, Event::NeedMore),
            _ => return self.start_member(0),
        };
        let progress = self.map.read(block);
        if progress == Progress::Bad {
            return self.start_member(0);
        }
        self.buffer.extend_from_slice(block);
        if progress == Progress::More {
            return Go(BLOCK);
        }
        match self.start_member(map_length) {
            Go(count) => Go(BLOCK + count),
            Report(count, event) => Report(BLOCK + count, event),
        }
    }

    fn in_body(&mut self, rest: &[u8], eof: bool, left: u64) -> Advance {
        if left == 0 {
            self.state = State::Padding;
            return Go(0);
        }
        let taken = up_to(rest, left);
        if taken > 0 {
            self.state = State::Body {
                left: left - taken as u64,
            };
            return Report(taken, Event::Body);
        }
        if !eof {
            return Report(0, Event::NeedMore);
        }
        self.state = State::Boundary;
        end_of_body(0, Padding::Missing(left))
    }

    fn at_padding(&mut self, rest: &[u8], eof: bool) -> Advance {
        let length = padding_after(self.head.declared);
        let padding = match rest.get(..length) {
            Some(bytes) if is_zero(bytes) => Padding::Usual,
            None if !eof => return Report(0, Event::NeedMore),
            _ => Padding::Explicit,
        };
        self.state = State::Boundary;
        end_of_body(rest.len().min(length), padding)
    }

    fn in_opaque(&mut self, rest: &[u8], eof: bool) -> Advance {
        let (blocks, partial) = rest.as_chunks::<BLOCK>();
        let header = blocks
            .iter()
            .position(|block| may_be_header(block) && Header::parse(block).is_some());
        let length = match header {
            Some(0) => return self.end_opaque(),
            Some(count) => count * BLOCK,
            None if eof => rest.len(),
            None => rest.len() - partial.len(),
        };
        match length {
            0 if eof => self.end_opaque(),
            0 => Report(0, Event::NeedMore),
            _ => Report(length, Event::Body),
        }
    }

    fn end_opaque(&mut self) -> Advance {
        self.state = State::Boundary;
        end_of_body(0, Padding::Usual)
    }
}

fn end_of_body(consumed: usize, padding: Padding) -> Advance {
    Report(consumed, Event::BodyEnd { padding })
}

/// The length of `rest`, or `left` if that is less.
fn up_to(rest: &[u8], left: u64) -> usize {
    usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()))
}
