//! Sorts more entries than memory holds: runs of bounded size in unnamed temporary files,
//! compressed, and merged.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::mem;

use crate::error::{Error, Result};

/// Bytes of entries that are sorted in memory at once, if nothing else is said.
pub(super) const RUN_BYTES: usize = 16 << 20;
/// Runs that are merged into one; more are never open at once on one level.
const FAN_IN: usize = 24;
/// Of each run that is read: 128 KiB of window, so that many fit.
const WINDOW_LOG: u32 = 17;
const BUFFER: usize = 32 << 10;

/// Where an entry stands among the bytes.
pub(super) struct Span {
    start: u32,
    key: u32,
    value: u32,
}

impl Span {
    fn key<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.start as usize..][..self.key as usize]
    }

    fn value<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.start as usize + self.key as usize..][..self.value as usize]
    }
}

/// Takes entries, each a key and a value, in any order; entries with one key keep theirs.
///
/// At most [`RUN_BYTES`] are held in memory (more only for a single entry that is
/// longer), and a few MiB while runs are merged.
pub(super) struct Sorter {
    run_bytes: usize,
    bytes: Vec<u8>,
    spans: Vec<Span>,
    /// Sorted runs. Those of a level are older than those of the levels below it.
    levels: Vec<Vec<File>>,
}

impl Sorter {
    pub(super) fn new() -> Self {
        Self::with_run_bytes(RUN_BYTES)
    }

    /// As [`Sorter::new`], with another bound, below 2^31.
    pub(super) fn with_run_bytes(run_bytes: usize) -> Self {
        Self {
            run_bytes,
            bytes: Vec::new(),
            spans: Vec::new(),
            levels: Vec::new(),
        }
    }

    /// Takes an entry. Key and value are shorter than 2^30 bytes.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let more = key.len() + value.len() + size_of::<Span>();
        let held = self.bytes.len() + self.spans.len() * size_of::<Span>();
        if held + more > self.run_bytes && !self.spans.is_empty() {
            self.spill()?;
        }
        let span = Span {
            start: self.bytes.len() as u32,
            key: key.len() as u32,
            value: value.len() as u32,
        };
        // In steps, so that doubling does not take twice the bound.
        reserve(&mut self.bytes, key.len() + value.len());
        reserve(&mut self.spans, 1);
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        self.spans.push(span);
        Ok(())
    }

    /// All entries, sorted by key.
    pub(super) fn finish(mut self) -> Result<Sorted> {
        if self.levels.is_empty() {
            self.sort();
            return Ok(Sorted::Memory {
                bytes: self.bytes,
                spans: self.spans,
                next: 0,
            });
        }
        if !self.spans.is_empty() {
            self.spill()?;
        }
        // The oldest first: on the highest level.
        let runs = mem::take(&mut self.levels).into_iter().rev().flatten();
        drop(self);
        Ok(Sorted::Merged(Merge::new(runs)?))
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        self.spans
            .sort_by(|one, other| one.key(bytes).cmp(other.key(bytes)));
    }

    /// Makes a run of what is held in memory.
    fn spill(&mut self) -> Result<()> {
        self.sort();
        let mut run = RunWriter::create()?;
        for span in &self.spans {
            run.write(span.key(&self.bytes), span.value(&self.bytes))?;
        }
        let mut run = run.finish()?;
        self.bytes.clear();
        self.spans.clear();
        for level in 0.. {
            if level == self.levels.len() {
                self.levels.push(Vec::new());
            }
            let runs = &mut self.levels[level];
            runs.push(run);
            if runs.len() < FAN_IN {
                break;
            }
            run = merged(mem::take(runs))?;
        }
        Ok(())
    }
}

fn reserve<T>(vec: &mut Vec<T>, more: usize) {
    const STEP: usize = 1 << 20;
    if vec.capacity() - vec.len() < more {
        vec.reserve_exact(more.max(STEP.min(vec.len().max(4096))));
    }
}

fn merged(runs: Vec<File>) -> Result<File> {
    let mut from = Sorted::Merged(Merge::new(runs)?);
    let mut run = RunWriter::create()?;
    while let Some((key, value)) = from.next()? {
        run.write(key, value)?;
    }
    run.finish()
}

/// Entries in the order of their keys.
pub(super) enum Sorted {
    Memory {
        bytes: Vec<u8>,
        spans: Vec<Span>,
        next: usize,
    },
    Merged(Merge),
}

impl Sorted {
    /// The next entry; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        match self {
            Self::Memory { bytes, spans, next } => {
                let span = spans.get(*next);
                *next += usize::from(span.is_some());
                Ok(span.map(|span| (span.key(bytes), span.value(bytes))))
            }
            Self::Merged(merge) => merge.next(),
        }
    }
}

/// Merges runs; of equal keys that of the older run comes first.
pub(super) struct Merge {
    runs: BinaryHeap<RunReader>,
    /// Whether the entry on top was given out.
    given: bool,
}

impl Merge {
    fn new(runs: impl IntoIterator<Item = File>) -> Result<Self> {
        let mut heap = BinaryHeap::new();
        for (age, file) in runs.into_iter().enumerate() {
            let mut run = RunReader::open(file, age)?;
            if run.advance()? {
                heap.push(run);
            }
        }
        Ok(Self {
            runs: heap,
            given: false,
        })
    }

    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        if mem::replace(&mut self.given, true)
            && let Some(mut top) = self.runs.peek_mut()
            && !top.advance()?
        {
            PeekMut::pop(top);
        }
        Ok(self.runs.peek().map(|run| (&run.key[..], &run.value[..])))
    }
}

/// Writes a run: for each entry the lengths of key and value as `u32`, key and value.
struct RunWriter(zstd::Encoder<'static, BufWriter<File>>);

impl RunWriter {
    fn create() -> Result<Self> {
        let dir = env::temp_dir();
        let file = tempfile::tempfile_in(&dir).map_err(Error::io("make a file in", &dir))?;
        let file = BufWriter::with_capacity(BUFFER, file);
        let mut encoder = zstd::Encoder::new(file, 1).map_err(written)?;
        encoder.window_log(WINDOW_LOG).map_err(written)?;
        Ok(Self(encoder))
    }

    fn write(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let lengths = [key, value].map(|bytes| (bytes.len() as u32).to_le_bytes());
        [&lengths[0], &lengths[1], key, value]
            .into_iter()
            .try_for_each(|bytes| self.0.write_all(bytes))
            .map_err(written)
    }

    fn finish(self) -> Result<File> {
        let file = self.0.finish().map_err(written)?;
        let mut file = file
            .into_inner()
            .map_err(|error| written(error.into_error()))?;
        file.rewind().map_err(read)?;
        Ok(file)
    }
}

fn written(error: io::Error) -> Error {
    Error::io("write a temporary file in", env::temp_dir())(error)
}

fn read(error: io::Error) -> Error {
    Error::io("read a temporary file in", env::temp_dir())(error)
}

struct RunReader {
    from: BufReader<zstd::Decoder<'static, BufReader<File>>>,
    key: Vec<u8>,
    value: Vec<u8>,
    /// The less, the older.
    age: usize,
}

impl RunReader {
    fn open(file: File, age: usize) -> Result<Self> {
        let file = BufReader::with_capacity(BUFFER, file);
        let decoder = zstd::Decoder::with_buffer(file).map_err(read)?;
        Ok(Self {
            from: BufReader::with_capacity(BUFFER, decoder),
            key: Vec::new(),
            value: Vec::new(),
            age,
        })
    }

    /// Reads the next entry; `false` at the end.
    fn advance(&mut self) -> Result<bool> {
        self.try_advance().map_err(read)
    }

    fn try_advance(&mut self) -> io::Result<bool> {
        if self.from.fill_buf()?.is_empty() {
            return Ok(false);
        }
        let mut lengths = [[0; 4]; 2];
        for length in &mut lengths {
            self.from.read_exact(length)?;
        }
        for (bytes, length) in [&mut self.key, &mut self.value].into_iter().zip(lengths) {
            bytes.resize(u32::from_le_bytes(length) as usize, 0);
            self.from.read_exact(bytes)?;
        }
        Ok(true)
    }
}

/// The heap has its greatest on top: that with the least key, and of these the oldest.
impl Ord for RunReader {
    fn cmp(&self, other: &Self) -> Ordering {
        (&other.key, other.age).cmp(&(&self.key, self.age))
    }
}

impl PartialOrd for RunReader {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for RunReader {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for RunReader {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Entries = Vec<(Vec<u8>, Vec<u8>)>;

    fn sorted(entries: &Entries, run_bytes: usize) -> Entries {
        let mut sorter = Sorter::with_run_bytes(run_bytes);
        for (key, value) in entries {
            sorter.push(key, value).unwrap();
        }
        let mut entries = sorter.finish().unwrap();
        let mut all = Entries::new();
        while let Some((key, value)) = entries.next().unwrap() {
            all.push((key.to_vec(), value.to_vec()));
        }
        assert!(entries.next().unwrap().is_none());
        all
    }

    #[test]
    fn many_runs_on_several_levels_keep_the_order_of_equal_keys() {
        let count = FAN_IN * FAN_IN + 7;
        let entries: Entries = (0..count)
            .map(|number| {
                let key = (number * 7919 % 10).to_string().into_bytes();
                (key, (number as u32).to_be_bytes().to_vec())
            })
            .collect();
        // One entry a run.
        let found = sorted(&entries, 1);
        let mut expected = entries;
        expected.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn nothing_is_sorted_too() {
        assert!(sorted(&Vec::new(), 1).is_empty());
    }

    proptest! {
        #[test]
        fn whatever_the_size_of_a_run_the_order_is_that_of_a_stable_sort(
            entries in prop::collection::vec(
                (prop::collection::vec(0..3_u8, 0..4), prop::collection::vec(any::<u8>(), 0..9)),
                0..60,
            ),
            run_bytes in 1..900_usize,
        ) {
            let mut expected = entries.clone();
            expected.sort_by(|one, other| one.0.cmp(&other.0));
            prop_assert_eq!(sorted(&entries, run_bytes), expected);
        }
    }
}
