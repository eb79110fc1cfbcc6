//! Joins the streams of a snapshot to the index that they are of.

use std::io::{self, BufRead, ErrorKind, Read, Write};

use super::split::record_length;
use super::{BLOCK, CHECKSUM, HEADER, STREAMS, Stream, TIMES, checksum, pax};
use crate::format::record;
use crate::format::wire::{Decoder, UV_MAX_LENGTH};

/// Joins `streams`, in the order of their numbers, to an index of `length` bytes.
///
/// # Errors
/// Those of reading and writing; [`ErrorKind::InvalidData`], with what is wrong, if the
/// streams are not those of an index of this length.
pub fn join<R: BufRead, W: Write>(
    streams: &mut [R; STREAMS],
    out: W,
    length: u64,
) -> io::Result<()> {
    let [steps, headers, times, records, blocks, accesses, changes] = streams;
    let mut join = Join {
        headers,
        times,
        records,
        blocks,
        accesses,
        changes,
        out,
        left: length,
        record: Vec::new(),
    };
    while let Some(count) = number(steps)? {
        let kind = more(steps)?;
        let repeat = more(steps)?;
        if repeat == 0 || (count == 0 && kind == 0) {
            return Err(broken("an empty step"));
        }
        for _ in 0..repeat {
            join.step(count, kind)?;
        }
    }
    join.finish()
}

struct Join<'a, R, W> {
    headers: &'a mut R,
    times: &'a mut R,
    records: &'a mut R,
    blocks: &'a mut R,
    accesses: &'a mut R,
    changes: &'a mut R,
    out: W,
    /// Bytes of the index that are still to come.
    left: u64,
    record: Vec<u8>,
}

impl<R: BufRead, W: Write> Join<'_, R, W> {
    fn step(&mut self, blocks: u64, kind: u64) -> io::Result<()> {
        let length = blocks
            .checked_mul(BLOCK as u64)
            .filter(|length| *length <= self.left)
            .ok_or_else(too_long)?;
        for _ in 0..length / BLOCK as u64 {
            self.block(BLOCK)?;
        }
        for _ in 0..kind / 2 {
            self.header()?;
        }
        if kind % 2 == 1 {
            self.body_record()?;
        }
        Ok(())
    }

    /// A block, or the rest of the index.
    fn block(&mut self, length: usize) -> io::Result<()> {
        let mut block = [0; BLOCK];
        let block = &mut block[..length];
        fill(self.blocks, block, Stream::Blocks)?;
        pax::digits(block, |stream, digit| {
            let from = match stream {
                Stream::Accesses => &mut *self.accesses,
                Stream::Changes => &mut *self.changes,
                _ => &mut *self.times,
            };
            fill(from, std::slice::from_mut(digit), stream)?;
            if digit.is_ascii_digit() {
                return Ok(());
            }
            Err(broken("a time that is no digit"))
        })?;
        self.write(block)
    }

    fn header(&mut self) -> io::Result<()> {
        let mut block = [0; BLOCK];
        let mut header = [0; HEADER];
        fill(self.headers, &mut header, Stream::Headers)?;
        let (before, behind) = header.split_at(TIMES.start);
        block[..TIMES.start].copy_from_slice(before);
        block[CHECKSUM.end..].copy_from_slice(behind);
        fill(self.times, &mut block[TIMES], Stream::Times)?;
        let checksum = checksum(&block);
        block[CHECKSUM].copy_from_slice(&checksum);
        self.write(&block)
    }

    fn body_record(&mut self) -> io::Result<()> {
        let mut bytes = std::mem::take(&mut self.record);
        bytes.clear();
        bytes.resize(record::HEAD_LENGTH, 0);
        fill(self.records, &mut bytes, Stream::Records)?;
        let Some(length) = record_length(&bytes) else {
            return Err(broken("no record where one should be"));
        };
        bytes.resize(length.next_multiple_of(BLOCK), 0);
        let rest = &mut bytes[record::HEAD_LENGTH..length];
        fill(self.records, rest, Stream::Records)?;
        self.write(&bytes)?;
        self.record = bytes;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.left = self
            .left
            .checked_sub(bytes.len() as u64)
            .ok_or_else(too_long)?;
        self.out.write_all(bytes)
    }

    /// What is left of the blocks ends the index, and nothing else may be left.
    fn finish(mut self) -> io::Result<()> {
        while self.left > 0 {
            self.block(self.left.min(BLOCK as u64) as usize)?;
        }
        for rest in [
            self.headers,
            self.times,
            self.records,
            self.blocks,
            self.accesses,
            self.changes,
        ] {
            if !rest.fill_buf()?.is_empty() {
                return Err(too_long());
            }
        }
        self.out.flush()
    }
}

/// The next number; `None` at the end of the stream.
fn number(steps: &mut impl BufRead) -> io::Result<Option<u64>> {
    let mut bytes = [0; UV_MAX_LENGTH];
    for length in 1..=UV_MAX_LENGTH {
        let Some(&byte) = steps.fill_buf()?.first() else {
            return if length == 1 {
                Ok(None)
            } else {
                Err(short(Stream::Steps))
            };
        };
        steps.consume(1);
        bytes[length - 1] = byte;
        if byte < 0x80 {
            return Decoder::new("snapshot", &bytes[..length])
                .uv("step")
                .map(Some)
                .map_err(|error| broken(&error.to_string()));
        }
    }
    Err(broken("a number of more than 64 bits"))
}

fn more(steps: &mut impl BufRead) -> io::Result<u64> {
    number(steps)?.ok_or_else(|| short(Stream::Steps))
}

fn fill(from: &mut impl Read, bytes: &mut [u8], stream: Stream) -> io::Result<()> {
    from.read_exact(bytes).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => short(stream),
        _ => error,
    })
}

fn short(stream: Stream) -> io::Error {
    broken(&format!("stream {} ends too early", stream as u8))
}

fn too_long() -> io::Error {
    broken("its streams yield more than the length of the index")
}

fn broken(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("broken snapshot: {what}"))
}
