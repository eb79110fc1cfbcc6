//! Streams that are made while they are read, and their comparison: neither
//! ever stands in memory as a whole.

use std::fmt;
use std::io::{self, Read};

/// Where two streams part.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    /// Offset of the first byte that is not the same.
    pub offset: u64,
    /// What was found there, with what follows; empty at the end.
    pub found: Vec<u8>,
    /// What was expected there.
    pub expected: Vec<u8>,
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "differs at byte {}: found \"{}\", expected \"{}\" (an empty text is the end)",
            self.offset,
            self.found.escape_ascii(),
            self.expected.escape_ascii()
        )
    }
}

/// Compares two streams to the end of the longer one, or to the first difference.
///
/// # Errors
/// When either cannot be read.
pub fn first_difference(
    mut found: impl Read,
    mut expected: impl Read,
) -> io::Result<Option<Difference>> {
    const SIZE: usize = 1 << 18;
    let (mut left, mut right) = (vec![0; SIZE], vec![0; SIZE]);
    let mut offset = 0;
    loop {
        let left_length = fill(&mut found, &mut left)?;
        let right_length = fill(&mut expected, &mut right)?;
        let (left, right) = (&left[..left_length], &right[..right_length]);
        if left != right {
            let same = left.iter().zip(right).take_while(|(a, b)| a == b).count();
            let piece = |bytes: &[u8]| bytes[same..].iter().take(16).copied().collect();
            return Ok(Some(Difference {
                offset: offset + same as u64,
                found: piece(left),
                expected: piece(right),
            }));
        }
        if left.is_empty() {
            return Ok(None);
        }
        offset += left.len() as u64;
    }
}

/// Reads until `buffer` is full or the stream ends.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match input.read(&mut buffer[length..])? {
            0 => break,
            count => length += count,
        }
    }
    Ok(length)
}

/// Numbers that look random and are the same on every run (`splitmix64`).
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(8) {
            let number = self.next().to_le_bytes();
            piece.copy_from_slice(&number[..piece.len()]);
        }
    }

    /// That many bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes);
        bytes
    }
}

/// A stream made of pieces, each made when it is its turn.
pub struct Pieces<I> {
    rest: I,
    piece: Vec<u8>,
    position: usize,
}

impl<I: Iterator<Item = Vec<u8>>> Pieces<I> {
    /// The stream of `pieces` one after another.
    pub fn new(pieces: I) -> Self {
        Self {
            rest: pieces,
            piece: Vec::new(),
            position: 0,
        }
    }
}

impl<I: Iterator<Item = Vec<u8>>> Read for Pieces<I> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.position == self.piece.len() {
            let Some(piece) = self.rest.next() else {
                return Ok(0);
            };
            self.piece = piece;
            self.position = 0;
        }
        let rest = &self.piece[self.position..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.position += length;
        Ok(length)
    }
}
