//! Large reused buffers between the reader of the stream and its splitter.

use std::io::{self, Read};
use std::path::Path;

use crossbeam_channel::{Receiver, Sender};

use crate::error::{Error, Result};

/// Room in front of a slab's data for what the splitter could not consume of
/// the slab before: less than one chunk and one header's lookahead.
const HEADROOM: usize = (1 << 20) + (64 << 10);
/// Bytes read into a slab at most.
const DATA: usize = 2 << 20;

/// A run of the stream: the rest of the slab before, and what was read behind it.
pub(super) struct Slab {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Whether the stream ends with this slab.
    pub(super) last: bool,
}

impl Slab {
    pub(super) fn new() -> Self {
        Self {
            buffer: vec![0; HEADROOM + DATA],
            start: HEADROOM,
            end: HEADROOM,
            last: false,
        }
    }

    /// A slab without any memory.
    pub(super) const fn empty() -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            end: 0,
            last: false,
        }
    }

    /// The bytes of the stream in it.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Puts `rest` in front of what was read.
    pub(super) fn carry(&mut self, rest: &[u8]) -> Result<()> {
        let Some(start) = self.start.checked_sub(rest.len()) else {
            let message = format!("the splitter left {} bytes", rest.len());
            return Err(Error::Internal(message));
        };
        self.buffer[start..self.start].copy_from_slice(rest);
        self.start = start;
        Ok(())
    }

    /// Reads until the slab is full or the stream ends.
    fn fill(&mut self, input: &mut impl Read) -> io::Result<()> {
        (self.start, self.end, self.last) = (HEADROOM, HEADROOM, false);
        while self.end < self.buffer.len() {
            match input.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    self.last = true;
                    break;
                }
                Ok(length) => self.end += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Stage *read*: fills free slabs from `input` until it ends or nobody wants them.
pub(super) fn read(mut input: impl Read, free: &Receiver<Slab>, filled: &Sender<Result<Slab>>) {
    for mut slab in free {
        let result = slab
            .fill(&mut input)
            .map(|()| slab)
            .map_err(Error::io("read", Path::new("standard input")));
        let ends = result.as_ref().map_or(true, |slab| slab.last);
        if filled.send(result).is_err() || ends {
            return;
        }
    }
}
