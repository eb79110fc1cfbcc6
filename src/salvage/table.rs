//! Which chunks were found: sorted on disk, so that memory does not grow with them.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::id::ChunkHash;

/// What of a chunk hash stands in the table.
const KEY: usize = 16;
/// Keys that are sorted at a time: 32 MiB.
const RUN: usize = 2 << 20;
/// Keys in a block; the first of each stays in memory.
const BLOCK: usize = 256;

type Key = [u8; KEY];

/// Takes chunk hashes in any order.
pub(super) struct TableWriter {
    dir: PathBuf,
    keys: Vec<Key>,
    runs: Vec<File>,
}

impl TableWriter {
    /// An empty table; what does not fit memory goes to unnamed files in `dir`.
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            keys: Vec::new(),
            runs: Vec::new(),
        }
    }

    pub(super) fn insert(&mut self, hash: &ChunkHash) -> Result<()> {
        let mut key = [0; KEY];
        key.copy_from_slice(&hash.as_bytes()[..KEY]);
        self.keys.push(key);
        if self.keys.len() == RUN {
            self.spill()?;
        }
        Ok(())
    }

    fn spill(&mut self) -> Result<()> {
        self.keys.sort_unstable();
        self.keys.dedup();
        let mut out = BufWriter::with_capacity(1 << 20, temp_file(&self.dir)?);
        for key in self.keys.drain(..) {
            out.write_all(&key).map_err(failed(&self.dir))?;
        }
        let file = out
            .into_inner()
            .map_err(|error| failed(&self.dir)(error.into_error()))?;
        self.runs.push(file);
        Ok(())
    }

    /// Sorts what was put in.
    pub(super) fn finish(mut self) -> Result<Table> {
        self.spill()?;
        let dir = self.dir;
        let mut runs = Vec::new();
        for file in self.runs {
            let mut run = RunReader {
                file,
                position: 0,
                buffer: Vec::new(),
                next: 0,
            };
            if let Some(first) = run.next(&dir)? {
                runs.push((first, run));
            }
        }
        let mut table = TableMaker {
            out: BufWriter::with_capacity(1 << 20, temp_file(&dir)?),
            first: Vec::new(),
            count: 0,
            last: None,
        };
        // Few runs, each of two million keys: the least of all is found by looking.
        while let Some(at) = least(&runs) {
            let (key, run) = &mut runs[at];
            table.push(*key, &dir)?;
            match run.next(&dir)? {
                Some(next) => *key = next,
                None => drop(runs.swap_remove(at)),
            }
        }
        let file = table.out.into_inner();
        Ok(Table {
            file: file.map_err(|error| failed(&dir)(error.into_error()))?,
            dir,
            first: table.first,
            block: Vec::new(),
            read: None,
        })
    }
}

fn least(runs: &[(Key, RunReader)]) -> Option<usize> {
    let keys = runs.iter().enumerate();
    keys.min_by_key(|(_, (key, _))| *key).map(|(at, _)| at)
}

struct RunReader {
    file: File,
    position: u64,
    buffer: Vec<u8>,
    next: usize,
}

impl RunReader {
    /// Bytes read at a time.
    const PIECE: usize = 64 << 10;

    fn next(&mut self, dir: &Path) -> Result<Option<Key>> {
        if self.next >= self.buffer.len() {
            self.buffer.resize(Self::PIECE, 0);
            let length =
                read_up_to(&self.file, &mut self.buffer, self.position).map_err(failed(dir))?;
            self.buffer.truncate(length);
            self.position += length as u64;
            self.next = 0;
        }
        let rest = self.buffer.get(self.next..).unwrap_or_default();
        self.next += KEY;
        Ok(rest.first_chunk().copied())
    }
}

fn read_up_to(file: &File, buffer: &mut [u8], position: u64) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], position + filled as u64)? {
            0 => break,
            length => filled += length,
        }
    }
    Ok(filled)
}

struct TableMaker {
    out: BufWriter<File>,
    first: Vec<Key>,
    count: u64,
    last: Option<Key>,
}

impl TableMaker {
    fn push(&mut self, key: Key, dir: &Path) -> Result<()> {
        if self.last == Some(key) {
            return Ok(());
        }
        if self.count.is_multiple_of(BLOCK as u64) {
            self.first.push(key);
        }
        self.last = Some(key);
        self.count += 1;
        self.out.write_all(&key).map_err(failed(dir))
    }
}

/// Chunks that were found.
pub(super) struct Table {
    file: File,
    dir: PathBuf,
    /// The first key of each block.
    first: Vec<Key>,
    block: Vec<u8>,
    /// The number of the block that was read last.
    read: Option<usize>,
}

impl Table {
    pub(super) fn contains(&mut self, hash: &ChunkHash) -> Result<bool> {
        let mut key = [0; KEY];
        key.copy_from_slice(&hash.as_bytes()[..KEY]);
        let behind = self.first.partition_point(|first| *first <= key);
        let Some(number) = behind.checked_sub(1) else {
            return Ok(false);
        };
        if self.read != Some(number) {
            self.read = None;
            self.block.resize(BLOCK * KEY, 0);
            let position = (number * BLOCK * KEY) as u64;
            let length =
                read_up_to(&self.file, &mut self.block, position).map_err(failed(&self.dir))?;
            self.block.truncate(length);
            self.read = Some(number);
        }
        let keys = self.block.as_chunks::<KEY>().0;
        Ok(keys.binary_search(&key).is_ok())
    }
}

pub(super) fn temp_file(dir: &Path) -> Result<File> {
    tempfile::tempfile_in(dir).map_err(Error::io("make a file in", dir))
}

fn failed(dir: &Path) -> impl FnOnce(std::io::Error) -> Error {
    Error::io("keep what was found, in", dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_found_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let hash = |number: u32| ChunkHash(*blake3::hash(&number.to_le_bytes()).as_bytes());
        let mut writer = TableWriter::new(dir.path());
        for number in 0..5000 {
            // Twice, and in several runs.
            writer.insert(&hash(number)).unwrap();
            writer.insert(&hash(number / 2)).unwrap();
            if number % 1000 == 0 {
                writer.spill().unwrap();
            }
        }
        let mut table = writer.finish().unwrap();
        let length = table.file.metadata().unwrap().len();
        assert_eq!(length, 5000 * KEY as u64, "each stands once");
        for number in 0..10_000 {
            assert_eq!(table.contains(&hash(number)).unwrap(), number < 5000);
        }
    }

    #[test]
    fn an_empty_table_holds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut table = TableWriter::new(dir.path()).finish().unwrap();
        assert!(!table.contains(&ChunkHash([0; 32])).unwrap());
        assert!(!table.contains(&ChunkHash([255; 32])).unwrap());
    }
}
