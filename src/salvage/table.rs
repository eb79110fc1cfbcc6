//! What is found by chunk hash: sorted on disk, so that memory does not grow with it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::id::ChunkHash;

/// What of a chunk hash stands in a table.
pub(super) const KEY: usize = 16;
/// Bytes that are sorted at a time.
const RUN: usize = 32 << 20;
/// Entries in a block; the key of the first of each stays in memory.
const BLOCK: usize = 256;

type Key = [u8; KEY];

/// Takes entries of `N` bytes in any order: each begins with a key.
pub(super) struct TableWriter<const N: usize> {
    dir: PathBuf,
    entries: Vec<[u8; N]>,
    runs: Vec<File>,
}

/// The key of a chunk.
pub(super) fn key(hash: &ChunkHash) -> Key {
    let mut key = [0; KEY];
    key.copy_from_slice(&hash.as_bytes()[..KEY]);
    key
}

/// The key of an entry.
fn key_of<const N: usize>(entry: &[u8; N]) -> Key {
    entry.first_chunk().copied().unwrap_or_default()
}

impl<const N: usize> TableWriter<N> {
    /// An empty table; what does not fit memory goes to unnamed files in `dir`.
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            entries: Vec::new(),
            runs: Vec::new(),
        }
    }

    pub(super) fn insert(&mut self, entry: [u8; N]) -> Result<()> {
        self.entries.push(entry);
        if self.entries.len() >= RUN / N {
            self.spill()?;
        }
        Ok(())
    }

    fn spill(&mut self) -> Result<()> {
        self.entries.sort_unstable();
        self.entries.dedup_by_key(|entry| key_of(entry));
        let mut out = BufWriter::with_capacity(1 << 20, temp_file(&self.dir)?);
        for entry in self.entries.drain(..) {
            out.write_all(&entry).map_err(failed(&self.dir))?;
        }
        let file = out
            .into_inner()
            .map_err(|error| failed(&self.dir)(error.into_error()))?;
        self.runs.push(file);
        Ok(())
    }

    /// Sorts what was put in; of entries with one key one stays.
    pub(super) fn finish(mut self) -> Result<Table<N>> {
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
            if let Some(first) = run.next::<N>(&dir)? {
                runs.push((first, run));
            }
        }
        let mut table = TableMaker {
            out: BufWriter::with_capacity(1 << 20, temp_file(&dir)?),
            first: Vec::new(),
            count: 0,
            last: None,
        };
        // Few runs, each of 32 MiB: the least of all is found by looking.
        while let Some(at) = least(&runs) {
            let (entry, run) = &mut runs[at];
            table.push(*entry, &dir)?;
            match run.next(&dir)? {
                Some(next) => *entry = next,
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

fn least<const N: usize>(runs: &[([u8; N], RunReader)]) -> Option<usize> {
    let entries = runs.iter().enumerate();
    entries
        .min_by_key(|(_, (entry, _))| *entry)
        .map(|(at, _)| at)
}

struct RunReader {
    file: File,
    position: u64,
    buffer: Vec<u8>,
    next: usize,
}

impl RunReader {
    /// Entries read at a time.
    const PIECE: usize = 4096;

    fn next<const N: usize>(&mut self, dir: &Path) -> Result<Option<[u8; N]>> {
        if self.next >= self.buffer.len() {
            self.buffer.resize(Self::PIECE * N, 0);
            let length =
                read_up_to(&self.file, &mut self.buffer, self.position).map_err(failed(dir))?;
            self.buffer.truncate(length);
            self.position += length as u64;
            self.next = 0;
        }
        let rest = self.buffer.get(self.next..).unwrap_or_default();
        self.next += N;
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
    fn push<const N: usize>(&mut self, entry: [u8; N], dir: &Path) -> Result<()> {
        let key = key_of(&entry);
        if self.last == Some(key) {
            return Ok(());
        }
        if self.count.is_multiple_of(BLOCK as u64) {
            self.first.push(key);
        }
        self.last = Some(key);
        self.count += 1;
        self.out.write_all(&entry).map_err(failed(dir))
    }
}

/// Entries by key.
pub(super) struct Table<const N: usize> {
    file: File,
    dir: PathBuf,
    /// The first key of each block.
    first: Vec<Key>,
    block: Vec<u8>,
    /// The number of the block that was read last.
    read: Option<usize>,
}

impl<const N: usize> Table<N> {
    /// The entry of a chunk.
    pub(super) fn find(&mut self, hash: &ChunkHash) -> Result<Option<[u8; N]>> {
        let key = key(hash);
        let behind = self.first.partition_point(|first| *first <= key);
        let Some(number) = behind.checked_sub(1) else {
            return Ok(None);
        };
        if self.read != Some(number) {
            self.read = None;
            self.block.resize(BLOCK * N, 0);
            let position = (number * BLOCK * N) as u64;
            let length =
                read_up_to(&self.file, &mut self.block, position).map_err(failed(&self.dir))?;
            self.block.truncate(length);
            self.read = Some(number);
        }
        let entries = self.block.as_chunks::<N>().0;
        let found = entries.binary_search_by_key(&key, key_of);
        Ok(found.ok().and_then(|at| entries.get(at)).copied())
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
            writer.insert(key(&hash(number))).unwrap();
            writer.insert(key(&hash(number / 2))).unwrap();
            if number % 1000 == 0 {
                writer.spill().unwrap();
            }
        }
        let mut table = writer.finish().unwrap();
        let length = table.file.metadata().unwrap().len();
        assert_eq!(length, 5000 * KEY as u64, "each stands once");
        for number in 0..10_000 {
            let found = table.find(&hash(number)).unwrap();
            assert_eq!(found.is_some(), number < 5000);
        }
    }

    #[test]
    fn entries_hold_more_than_their_keys() {
        let dir = tempfile::tempdir().unwrap();
        let hash = |number: u32| ChunkHash(*blake3::hash(&number.to_le_bytes()).as_bytes());
        let entry = |number: u32| {
            let mut entry = [0; KEY + 4];
            entry[..KEY].copy_from_slice(&key(&hash(number)));
            entry[KEY..].copy_from_slice(&number.to_le_bytes());
            entry
        };
        let mut writer = TableWriter::new(dir.path());
        for number in (0..10_000).rev() {
            writer.insert(entry(number)).unwrap();
            if number % 3000 == 0 {
                writer.spill().unwrap();
            }
        }
        let mut table = writer.finish().unwrap();
        for number in 0..10_000 {
            assert_eq!(table.find(&hash(number)).unwrap(), Some(entry(number)));
        }
        assert_eq!(table.find(&hash(10_000)).unwrap(), None);
    }

    #[test]
    fn an_empty_table_holds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut table = TableWriter::<KEY>::new(dir.path()).finish().unwrap();
        assert!(table.find(&ChunkHash([0; 32])).unwrap().is_none());
        assert!(table.find(&ChunkHash([255; 32])).unwrap().is_none());
    }
}
