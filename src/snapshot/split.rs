//! Splits an index into streams, as its bytes go by.

use std::convert::Infallible;

use super::{BLOCK, CHECKSUM, Stream, Streams, TIMES, checksum, pax};
use crate::chunk::is_zero;
use crate::format::record;
use crate::format::wire::put_uv;

/// What a whole block of the index is, or begins.
enum Found {
    Block,
    Header,
    /// A record of this length.
    Record(usize),
    /// A record, perhaps, of which not all is at hand: so many bytes are needed.
    More(usize),
}

/// One step: blocks, then headers, then perhaps a record.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Step {
    blocks: u64,
    headers: u64,
    record: bool,
}

/// Splits an index. Whatever the bytes are, [`super::join`] gives them back.
#[derive(Default)]
pub struct Splitter {
    /// Bytes of a block or record that is not complete yet; at most 1 MiB and a block.
    carry: Vec<u8>,
    step: Step,
    /// The step before, and how often it stands.
    last: Option<(Step, u64)>,
    length: u64,
}

impl Splitter {
    /// A splitter at the start of an index.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of the index so far.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Splits the next bytes of the index, appending to `out`.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Streams) {
        self.length += bytes.len() as u64;
        while !self.carry.is_empty() {
            let missing = needed(&self.carry) - self.carry.len();
            let (piece, rest) = bytes.split_at(missing.min(bytes.len()));
            self.carry.extend_from_slice(piece);
            bytes = rest;
            if piece.len() < missing {
                return;
            }
            let carry = std::mem::take(&mut self.carry);
            let used = self.blocks(&carry, out);
            self.carry = carry;
            self.carry.drain(..used);
        }
        let used = self.blocks(bytes, out);
        self.carry.extend_from_slice(&bytes[used..]);
    }

    /// Splits what is left at the end of the index.
    pub fn finish(mut self, out: &mut Streams) {
        // A record that the end cuts short is no record.
        while !self.carry.is_empty() {
            let mut carry = std::mem::take(&mut self.carry);
            let piece = carry.len().min(BLOCK);
            self.verbatim(&carry[..piece], out);
            carry.drain(..piece);
            let used = self.blocks(&carry, out);
            carry.drain(..used);
            self.carry = carry;
        }
        if self.step.headers > 0 {
            self.end_step(out);
        }
        // Blocks behind the last step need none.
        self.flush(out);
    }

    /// Splits whole blocks and records at the start of `bytes`; returns how many bytes these are.
    fn blocks(&mut self, bytes: &[u8], out: &mut Streams) -> usize {
        let mut rest = bytes;
        while let Some(block) = rest.first_chunk::<BLOCK>() {
            let used = match classify(block, rest) {
                Found::More(_) => break,
                Found::Block => {
                    self.verbatim(block, out);
                    BLOCK
                }
                Found::Header => {
                    out[Stream::Headers as usize].extend_from_slice(&block[..TIMES.start]);
                    out[Stream::Times as usize].extend_from_slice(&block[TIMES]);
                    out[Stream::Headers as usize].extend_from_slice(&block[CHECKSUM.end..]);
                    self.step.headers += 1;
                    BLOCK
                }
                Found::Record(length) => {
                    out[Stream::Records as usize].extend_from_slice(&rest[..length]);
                    self.step.record = true;
                    self.end_step(out);
                    length.next_multiple_of(BLOCK)
                }
            };
            rest = &rest[used..];
        }
        bytes.len() - rest.len()
    }

    /// Takes a block, or what is left at the end.
    fn verbatim(&mut self, bytes: &[u8], out: &mut Streams) {
        if self.step.headers > 0 {
            self.end_step(out);
        }
        self.step.blocks += 1;
        let mut block = [0; BLOCK];
        let block = &mut block[..bytes.len()];
        block.copy_from_slice(bytes);
        let Ok(()) = pax::digits(block, |stream, digit| -> Result<(), Infallible> {
            out[stream as usize].push(*digit);
            *digit = b'0';
            Ok(())
        });
        out[Stream::Blocks as usize].extend_from_slice(block);
    }

    fn end_step(&mut self, out: &mut Streams) {
        let step = std::mem::take(&mut self.step);
        match &mut self.last {
            Some((last, repeat)) if *last == step => *repeat += 1,
            _ => {
                self.flush(out);
                self.last = Some((step, 1));
            }
        }
    }

    fn flush(&mut self, out: &mut Streams) {
        if let Some((step, repeat)) = self.last.take() {
            let steps = &mut out[Stream::Steps as usize];
            put_uv(steps, step.blocks);
            put_uv(steps, step.headers << 1 | u64::from(step.record));
            put_uv(steps, repeat);
        }
    }
}

/// How many bytes must be at hand to tell what those of `carry` are.
fn needed(carry: &[u8]) -> usize {
    match carry.first_chunk::<BLOCK>() {
        None => BLOCK,
        Some(block) => match classify(block, carry) {
            Found::More(needed) => needed,
            _ => carry.len(),
        },
    }
}

/// What stands at the start of `rest`, which begins with `block`.
fn classify(block: &[u8; BLOCK], rest: &[u8]) -> Found {
    if let Some(length) = record_length(block) {
        let end = length.next_multiple_of(BLOCK);
        return match rest.get(length..end) {
            None => Found::More(end),
            Some(padding) if is_zero(padding) => Found::Record(length),
            Some(_) => Found::Block,
        };
    }
    // The last two bytes first: nearly all that is no header ends here.
    if block[CHECKSUM][6..] == *b"\0 " && block[CHECKSUM] == checksum(block) {
        return Found::Header;
    }
    Found::Block
}

/// The length of the record that a block begins with, if it looks like one.
pub(super) fn record_length(start: &[u8]) -> Option<usize> {
    let head = start.get(..record::HEAD_LENGTH)?;
    let (rest, length) = head.split_last_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    let fits = (record::HEAD_LENGTH..=record::MAX_LENGTH).contains(&length);
    (fits && rest.starts_with(record::MAGIC)).then_some(length)
}
