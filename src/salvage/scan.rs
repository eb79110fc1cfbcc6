//! Finds what dtar wrote in any bytes: structures that begin with a magic and whose
//! check is good (`formats/frame.md`, "A scanner for surviving frames").
//!
//! What is sealed looks random, and what is in the clear is short. So no structure that
//! is whole holds the good header of another: a header that is found within one shows
//! that the outer one is damaged, cut short or false. It is given up then, and each
//! byte belongs to at most one structure that is ever opened, whatever lengths false
//! headers claim. Work is linear in the input, and memory bounded by the longest frame.

use std::ops::Range;

use memchr::memmem::Finder;

use crate::format::brick::{BrickHeader, FOOTER_LENGTH, Footer, HEADER_LENGTH};
use crate::format::frame::{
    FRAME_MAGIC, FrameHeader, MAX_HEADER_LENGTH, MAX_SEALED_LENGTH, MIN_HEADER_LENGTH,
};
use crate::format::sealed::{self, ROOT, SealedHeader};
use crate::format::toc::{TOC_HEADER_LENGTH, TocHeader};
use crate::format::wire::{DecodeError, Fault};

/// What all magics of dtar begin with.
const FAMILY: &[u8; 4] = b"dtar";
/// Bytes by which a magic can begin before the end of what was searched, and go on behind.
const OVERLAP: usize = FAMILY.len() - 1;
/// Enough of a structure to tell which one it is, and how long a frame's header is.
const HEAD: usize = 20;
/// The longest structure that is looked for. A longer root, of millions of bricks, is not.
pub const MAX_LENGTH: usize = (MAX_HEADER_LENGTH + MAX_SEALED_LENGTH) as usize;

/// The structures that are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Structure {
    /// A frame: header and sealed bytes.
    Frame,
    /// The header of a brick.
    BrickHeader,
    /// A TOC: header and sealed bytes.
    Toc,
    /// The footer of a brick.
    Footer,
    /// A root: header and sealed bytes.
    Root,
}

/// What stands at some place of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A structure with a good check, and as many bytes behind it as it claims.
    Whole {
        /// Which.
        structure: Structure,
        /// Where it begins in the input.
        offset: u64,
        /// Its length in bytes.
        length: usize,
    },
    /// A structure with a good check that is cut short: by the end, by bytes that could
    /// not be read, or by another one that begins within it.
    Cut {
        /// Which.
        structure: Structure,
        /// Where it begins in the input.
        offset: u64,
    },
    /// A frame with a good check that this dtar does not understand.
    Refused {
        /// Where it begins in the input.
        offset: u64,
        /// Why.
        error: DecodeError,
    },
}

/// A structure whose end is awaited.
#[derive(Debug, Clone, Copy)]
struct Pending {
    structure: Structure,
    /// In the buffer.
    start: usize,
    end: usize,
}

/// Searches bytes that are given to it piece by piece. Does no I/O.
pub struct Scanner {
    finder: Finder<'static>,
    buffer: Vec<u8>,
    filled: usize,
    /// Where the buffer begins in the input.
    base: u64,
    /// No structure that begins before this place of the buffer is yet to be found.
    searched: usize,
    pending: Option<Pending>,
    /// Nothing follows the bytes that are there.
    ended: bool,
    read: usize,
}

impl Scanner {
    /// A scanner that takes at least `read` bytes at a time.
    #[must_use]
    pub fn new(read: usize) -> Self {
        Self {
            finder: Finder::new(FAMILY),
            buffer: Vec::new(),
            filled: 0,
            base: 0,
            searched: 0,
            pending: None,
            ended: false,
            read: read.max(1),
        }
    }

    /// Bytes of memory in use.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.buffer.capacity()
    }

    /// Begins a run of bytes that stand at `offset` of the input. What was there before
    /// is forgotten.
    pub fn begin(&mut self, offset: u64) {
        self.base = offset;
        (self.filled, self.searched) = (0, 0);
        self.pending = None;
        self.ended = false;
    }

    /// Room for the next bytes; tell with [`Scanner::advance`] how many there are.
    pub fn room(&mut self) -> &mut [u8] {
        let kept = self.pending.map_or(self.searched, |pending| pending.start);
        let longest = MAX_LENGTH + MAX_HEADER_LENGTH as usize + 2 * self.read;
        if self.buffer.len() - self.filled < self.read {
            // Moving what is kept must be rarer than reading as much.
            if kept > 0 && (kept >= self.filled - kept || self.buffer.len() >= longest) {
                self.forget(kept);
            }
        }
        if self.buffer.len() - self.filled < self.read {
            let doubled = (self.buffer.len() * 2).clamp(4 * self.read, longest);
            self.buffer.resize(doubled.max(self.filled + self.read), 0);
        }
        let room = self.filled..self.filled + self.read;
        self.buffer.get_mut(room).unwrap_or_default()
    }

    fn forget(&mut self, length: usize) {
        self.buffer.copy_within(length..self.filled, 0);
        self.base += length as u64;
        self.filled -= length;
        self.searched -= length;
        if let Some(pending) = &mut self.pending {
            pending.start -= length;
            pending.end -= length;
        }
    }

    /// So many bytes were put into the room.
    pub fn advance(&mut self, length: usize) {
        self.filled = (self.filled + length).min(self.buffer.len());
    }

    /// Nothing follows in this run.
    pub const fn end(&mut self) {
        self.ended = true;
    }

    /// The bytes of what was found last.
    #[must_use]
    pub fn bytes(&self, offset: u64, length: usize) -> &[u8] {
        let start = usize::try_from(offset.wrapping_sub(self.base)).unwrap_or(usize::MAX);
        let end = start.saturating_add(length).min(self.filled);
        self.buffer.get(start..end).unwrap_or_default()
    }

    /// What is found next. `None`: more bytes are needed, or the run is over.
    pub fn next_found(&mut self) -> Option<Found> {
        loop {
            match self.search() {
                Some(hit) => match self.look(hit) {
                    Look::Nothing => self.searched = hit + FAMILY.len(),
                    Look::NeedsMore if self.ended => self.searched = hit + FAMILY.len(),
                    Look::NeedsMore => {
                        self.searched = hit;
                        return None;
                    }
                    Look::Refused(error) => {
                        self.searched = hit + FAMILY.len();
                        let offset = self.base + hit as u64;
                        return Some(Found::Refused { offset, error });
                    }
                    Look::Structure(structure, length) => {
                        self.searched = hit + FAMILY.len();
                        let pending = Pending {
                            structure,
                            start: hit,
                            end: hit + length,
                        };
                        if let Some(outer) = self.pending.replace(pending) {
                            return Some(self.cut(outer));
                        }
                    }
                },
                None => return self.settle(),
            }
        }
    }

    /// The next place where a structure may begin, within the one that is pending.
    fn search(&self) -> Option<usize> {
        let end = self.search_end();
        let place = self.buffer.get(self.searched..end)?;
        self.finder.find(place).map(|at| self.searched + at)
    }

    fn search_end(&self) -> usize {
        let inside = self
            .pending
            .map_or(usize::MAX, |pending| pending.end + OVERLAP);
        self.filled.min(inside)
    }

    /// Nothing more is found in what is there: completes or gives up what is pending.
    fn settle(&mut self) -> Option<Found> {
        let searched = self.search_end().saturating_sub(OVERLAP);
        let Some(pending) = self.pending else {
            self.searched = self.searched.max(searched);
            return None;
        };
        let there = self.filled >= pending.end;
        if there && (self.ended || self.filled >= pending.end + OVERLAP) {
            self.pending = None;
            self.searched = self.searched.max(pending.end);
            return Some(Found::Whole {
                structure: pending.structure,
                offset: self.base + pending.start as u64,
                length: pending.end - pending.start,
            });
        }
        self.searched = self.searched.max(searched);
        if !self.ended {
            return None;
        }
        self.pending = None;
        Some(self.cut(pending))
    }

    const fn cut(&self, pending: Pending) -> Found {
        Found::Cut {
            structure: pending.structure,
            offset: self.base + pending.start as u64,
        }
    }

    /// What stands at a place of the buffer.
    fn look(&self, at: usize) -> Look {
        let Some(bytes) = self.buffer.get(at..self.filled) else {
            return Look::Nothing;
        };
        let Some(magic) = bytes.first_chunk::<8>() else {
            return Look::NeedsMore;
        };
        match magic {
            b"dtarFRAM" => look_at_frame(bytes),
            b"dtarBRIK" => fixed(bytes, Structure::BrickHeader, HEADER_LENGTH, |bytes| {
                BrickHeader::decode(bytes).ok()?;
                Some(HEADER_LENGTH as u64)
            }),
            b"dtarFOOT" => fixed(bytes, Structure::Footer, FOOTER_LENGTH, |bytes| {
                footer_of_any(bytes)?;
                Some(FOOTER_LENGTH as u64)
            }),
            b"dtarTOC1" => fixed(bytes, Structure::Toc, TOC_HEADER_LENGTH, |bytes| {
                Some(TocHeader::decode(bytes).ok()?.toc_length())
            }),
            b"dtarROOT" => fixed(bytes, Structure::Root, sealed::HEADER_LENGTH, |bytes| {
                let length = SealedHeader::decode(ROOT, bytes).ok()?.sealed_length;
                Some(sealed::HEADER_LENGTH as u64 + length)
            }),
            _ => Look::Nothing,
        }
    }
}

enum Look {
    Nothing,
    NeedsMore,
    Refused(DecodeError),
    /// Which, and its length.
    Structure(Structure, usize),
}

/// The footer of a brick of whatever length.
pub(super) fn footer_of_any(bytes: &[u8]) -> Option<Footer> {
    const LENGTH: Range<usize> = 32..40;
    let bytes = bytes.first_chunk::<FOOTER_LENGTH>()?;
    let length = bytes.get(LENGTH)?.first_chunk::<8>()?;
    Footer::decode(bytes, u64::from_le_bytes(*length)).ok()
}

/// A structure whose header has `header` bytes; `length` says how long it is in all.
fn fixed(
    bytes: &[u8],
    structure: Structure,
    header: usize,
    length: impl FnOnce(&[u8]) -> Option<u64>,
) -> Look {
    if bytes.len() < header {
        return Look::NeedsMore;
    }
    match length(bytes).and_then(|length| usize::try_from(length).ok()) {
        Some(length) if length <= MAX_LENGTH => Look::Structure(structure, length),
        _ => Look::Nothing,
    }
}

fn look_at_frame(bytes: &[u8]) -> Look {
    let Some(length) = bytes.get(16..HEAD).and_then(<[u8]>::first_chunk::<4>) else {
        return Look::NeedsMore;
    };
    let length = u32::from_le_bytes(*length);
    if !(MIN_HEADER_LENGTH..=MAX_HEADER_LENGTH).contains(&length) {
        return Look::Nothing;
    }
    // A header that holds another magic is false; so no byte is hashed twice.
    let header = bytes.get(..length as usize);
    let inside = header.unwrap_or(bytes).get(HEAD..).unwrap_or_default();
    if memchr::memmem::find(inside, FRAME_MAGIC).is_some() {
        return Look::Nothing;
    }
    match header.map(FrameHeader::decode) {
        None => Look::NeedsMore,
        Some(Ok(header)) => Look::Structure(Structure::Frame, header.frame_length() as usize),
        Some(Err(error)) if is_behind_check(&error) => Look::Refused(error),
        Some(Err(_)) => Look::Nothing,
    }
}

/// Whether an error in a frame's header came up only once its check was found good.
fn is_behind_check(error: &DecodeError) -> bool {
    match error.fault {
        Fault::Value { .. } => error.field != "header length",
        Fault::CriticalField { .. } => true,
        _ => false,
    }
}
