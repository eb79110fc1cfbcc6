//! Byte strings of unknown length: in memory while short, on disk when long.

use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::SpooledTempFile;

use crate::error::{Error, Result};

/// Up to this length a spool stays in memory.
const IN_MEMORY: usize = 256 << 10;

/// Something that is written once and then read once from the front.
pub struct Spool {
    file: BufWriter<SpooledTempFile>,
    dir: PathBuf,
    length: u64,
}

impl Spool {
    /// An empty spool; if it grows it moves to an unnamed file in `dir`.
    pub fn new(dir: &Path) -> Self {
        let file = tempfile::spooled_tempfile_in(IN_MEMORY, dir);
        Self {
            file: BufWriter::new(file),
            dir: dir.to_owned(),
            length: 0,
        }
    }

    /// Bytes written so far.
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Appends `bytes`.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.length += bytes.len() as u64;
        self.file.write_all(bytes).map_err(spool_error(&self.dir))
    }

    /// All that was written.
    pub fn reader(&mut self) -> Result<SpoolReader<'_>> {
        self.file.flush().map_err(spool_error(&self.dir))?;
        let file = self.file.get_mut();
        file.seek(SeekFrom::Start(0))
            .map_err(spool_error(&self.dir))?;
        Ok(SpoolReader {
            file: BufReader::with_capacity(64 << 10, file),
            dir: &self.dir,
            rest: self.length,
        })
    }
}

/// Reads a spool from the front.
pub struct SpoolReader<'a> {
    file: BufReader<&'a mut SpooledTempFile>,
    dir: &'a Path,
    rest: u64,
}

impl SpoolReader<'_> {
    /// The next `N` bytes; `None` at the end.
    pub fn array<const N: usize>(&mut self) -> Result<Option<[u8; N]>> {
        if self.rest < N as u64 {
            return Ok(None);
        }
        let mut array = [0; N];
        self.file
            .read_exact(&mut array)
            .map_err(spool_error(self.dir))?;
        self.rest -= N as u64;
        Ok(Some(array))
    }

    /// Fills `buffer` with as much as is left and fits; returns how much.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.file.read(buffer).map_err(spool_error(self.dir))
    }
}

/// Pairs of numbers, appended in order and looked up by position.
pub struct PairSpool {
    file: SpooledTempFile,
    dir: PathBuf,
    /// Pairs not yet written to the file.
    recent: Vec<(u32, u32)>,
    written: u64,
    block: Vec<u8>,
    block_number: Option<u64>,
}

/// Pairs a block; neighbours are mostly looked up together.
const BLOCK_PAIRS: u64 = 4096;
const PAIR: u64 = 8;

impl PairSpool {
    /// An empty table; if it grows it moves to an unnamed file in `dir`.
    pub fn new(dir: &Path) -> Self {
        Self {
            file: tempfile::spooled_tempfile_in(IN_MEMORY, dir),
            dir: dir.to_owned(),
            recent: Vec::new(),
            written: 0,
            block: Vec::new(),
            block_number: None,
        }
    }

    /// Appends a pair.
    pub fn push(&mut self, pair: (u32, u32)) -> Result<()> {
        self.recent.push(pair);
        if self.recent.len() as u64 == BLOCK_PAIRS {
            self.block.clear();
            for (first, second) in self.recent.drain(..) {
                self.block.extend_from_slice(&first.to_le_bytes());
                self.block.extend_from_slice(&second.to_le_bytes());
            }
            self.file
                .seek(SeekFrom::End(0))
                .map_err(spool_error(&self.dir))?;
            self.file
                .write_all(&self.block)
                .map_err(spool_error(&self.dir))?;
            self.block_number = None;
            self.written += BLOCK_PAIRS;
        }
        Ok(())
    }

    /// The pair at `position`.
    pub fn get(&mut self, position: u64) -> Result<Option<(u32, u32)>> {
        if let Some(recent) = position.checked_sub(self.written) {
            let recent = usize::try_from(recent).unwrap_or(usize::MAX);
            return Ok(self.recent.get(recent).copied());
        }
        let number = position / BLOCK_PAIRS;
        if self.block_number != Some(number) {
            let start = number * BLOCK_PAIRS * PAIR;
            self.block.resize((BLOCK_PAIRS * PAIR) as usize, 0);
            self.file
                .seek(SeekFrom::Start(start))
                .map_err(spool_error(&self.dir))?;
            self.file
                .read_exact(&mut self.block)
                .map_err(spool_error(&self.dir))?;
            self.block_number = Some(number);
        }
        let pair = &self.block[((position % BLOCK_PAIRS) * PAIR) as usize..][..PAIR as usize];
        let half =
            |at: usize| u32::from_le_bytes([pair[at], pair[at + 1], pair[at + 2], pair[at + 3]]);
        Ok(Some((half(0), half(4))))
    }
}

fn spool_error(dir: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
    Error::io("use a temporary file in", dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_gives_back_what_it_got() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(dir.path());
        for number in 0..200_000_u32 {
            spool.write(&number.to_le_bytes()).unwrap();
        }
        let mut reader = spool.reader().unwrap();
        for number in 0..200_000_u32 {
            assert_eq!(reader.array().unwrap(), Some(number.to_le_bytes()));
        }
        assert_eq!(reader.array::<4>().unwrap(), None);
    }

    #[test]
    fn pairs_are_found_by_position() {
        let dir = tempfile::tempdir().unwrap();
        let mut pairs = PairSpool::new(dir.path());
        for number in 0..100_000 {
            pairs.push((number, number * 7)).unwrap();
        }
        for number in [0_u32, 99_999, 4095, 4096, 50_000, 1, 98_304] {
            assert_eq!(
                pairs.get(number.into()).unwrap(),
                Some((number, number * 7))
            );
        }
        assert_eq!(pairs.get(100_000).unwrap(), None);
    }
}
