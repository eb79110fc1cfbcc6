//! Merges runs into one.
//!
//! The new run stands in the list beside its sources from the start. Step by
//! step entries come to stand in it, and the blocks that held them go, in one
//! transaction: at each moment all runs together hold every entry, so that
//! others may look up and enter meanwhile, and a process that dies leaves
//! nothing to repair; the next merge takes up what it has left. Memory and the
//! room on the disk grow by a step, not by the size of the runs.
//!
//! Two merges of the same runs would delete what the other one moves. A lock
//! keeps them apart ([`super::schedule`]), but no entry hangs on it: a step that
//! finds its runs in the list otherwise than the one before has left them does
//! nothing, and ends its merge.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::entry::{Checker, ENTRY};
use super::environment::{Environment, Tables};
use super::fault::Step;
use super::run::{BlockKey, Run, RunWriter, Runs, id_of};

/// A merge that goes on.
pub(super) struct Merge {
    checker: Checker,
    sources: Vec<Source>,
    /// The next entry of each source that has one.
    heads: BinaryHeap<Reverse<([u8; ENTRY], usize)>>,
    /// Number of the new run, and how many entries it has been given.
    number: u32,
    moved: u64,
    /// The new run and the sources as they stand in the list.
    left: Vec<Run>,
    writer: RunWriter,
    last: [u8; ENTRY],
    /// Blocks all of whose entries are in the new run or wait for it.
    consumed: Vec<BlockKey>,
}

impl Merge {
    /// Enters the new run into the list. The sources must stand in the list side by side.
    pub fn begin(environment: &mut Environment, checker: Checker, sources: &[Run]) -> Step<Self> {
        let run = environment.write(|txn, tables| {
            let mut runs = Runs::read(txn, tables, checker)?;
            let run = runs.begin(sources.iter().map(|run| run.count).sum())?;
            let first = runs.list.iter().position(|run| sources.contains(run));
            runs.list.insert(first.unwrap_or_default(), run);
            runs.write(txn, tables, checker)?;
            Ok(run)
        })?;
        let mut merge = Self {
            checker,
            sources: sources.iter().copied().map(Source::new).collect(),
            heads: BinaryHeap::new(),
            number: run.number,
            moved: 0,
            left: Vec::new(),
            writer: RunWriter::new(run),
            last: [0; ENTRY],
            consumed: Vec::new(),
        };
        merge.left.push(run);
        merge.left.extend_from_slice(sources);
        environment.read(|txn, tables| {
            (0..merge.sources.len()).try_for_each(|source| merge.advance(txn, tables, source))
        })?;
        Ok(merge)
    }

    /// Whether it makes this run or takes from it.
    pub fn concerns(&self, run: &Run) -> bool {
        self.left.iter().any(|left| left.number == run.number)
    }

    /// Moves entries until their blocks have so many bytes, durably; with the last of
    /// them the sources go. Whether there is more to do.
    pub fn step(&mut self, environment: &mut Environment, bytes: usize) -> Step<bool> {
        environment.read(|txn, tables| self.gather(txn, tables, bytes))?;
        let Some(left) = environment.write(|txn, tables| self.put(txn, tables))? else {
            return Ok(false);
        };
        self.left = left;
        self.writer.clear();
        self.consumed.clear();
        Ok(!self.heads.is_empty())
    }

    /// Takes entries until there are enough for a step, and ends where the id changes.
    fn gather(&mut self, txn: &heed::RoTxn, tables: &Tables, bytes: usize) -> Step<()> {
        while let Some(head) = self.heads.peek() {
            let Reverse((entry, source)) = *head;
            if self.writer.waiting() >= bytes && id_of(&entry) != id_of(&self.last) {
                self.writer.pause();
                return Ok(());
            }
            // After a merge that was cut short an entry stands in two runs.
            if entry != self.last {
                self.writer.push(&entry);
                self.moved += 1;
                self.last = entry;
            }
            let checker = self.checker;
            let its_source = self.sources.get_mut(source);
            if let Some(next) = its_source.and_then(|source| source.next(checker)) {
                if let Some(mut head) = self.heads.peek_mut() {
                    *head = Reverse((next, source));
                }
            } else {
                self.heads.pop();
                self.advance(txn, tables, source)?;
            }
        }
        self.writer.finish();
        Ok(())
    }

    /// Goes on with the next block of a source, which has used up the one before.
    fn advance(&mut self, txn: &heed::RoTxn, tables: &Tables, number: usize) -> Step<()> {
        let Some(source) = self.sources.get_mut(number) else {
            return Ok(());
        };
        loop {
            self.consumed.extend(source.key);
            if !source.load(txn, tables)? {
                return Ok(());
            }
            if let Some(entry) = source.next(self.checker) {
                self.heads.push(Reverse((entry, number)));
                return Ok(());
            }
        }
    }

    /// Returns the runs of this merge as they are now; nothing, having done
    /// nothing, if they are not as the step before has left them.
    fn put(&self, txn: &mut heed::RwTxn, tables: &Tables) -> Step<Option<Vec<Run>>> {
        let mut runs = Runs::read(txn, tables, self.checker)?;
        if !self.left.iter().all(|left| runs.list.contains(left)) {
            return Ok(None);
        }
        let ends = self.heads.is_empty();
        runs.list.retain_mut(|run| {
            let mut sources = self.sources.iter();
            if let Some(source) = sources.find(|source| source.run.number == run.number) {
                run.count = source.left();
                return !ends;
            }
            if run.number == self.number {
                run.count = self.moved;
            }
            true
        });
        runs.write(txn, tables, self.checker)?;
        for key in &self.consumed {
            tables.chunks.delete(txn, key)?;
        }
        self.writer.put(txn, tables)?;
        if ends {
            let mut sources = self.sources.iter();
            sources.try_for_each(|source| source.run.delete(txn, tables))?;
        }
        runs.list.retain(|run| self.concerns(run));
        Ok(Some(runs.list))
    }
}

/// A run whose entries are taken in order.
struct Source {
    run: Run,
    /// The block at hand.
    key: Option<BlockKey>,
    block: Vec<u8>,
    /// Where in it the next entry is.
    place: usize,
    /// How many entries the blocks before it had.
    taken: u64,
}

impl Source {
    const fn new(run: Run) -> Self {
        Self {
            run,
            key: None,
            block: Vec::new(),
            place: 0,
            taken: 0,
        }
    }

    /// How many entries stand in blocks that are not used up.
    const fn left(&self) -> u64 {
        self.run.count.saturating_sub(self.taken)
    }

    /// Loads the next block; whether there is one.
    fn load(&mut self, txn: &heed::RoTxn, tables: &Tables) -> Step<bool> {
        let found = if let Some(key) = &self.key {
            tables.chunks.get_greater_than(txn, key)?
        } else {
            let first = self.run.block_key(&[0; 16]);
            tables.chunks.get_greater_than_or_equal_to(txn, &first)?
        };
        self.taken += (self.block.len() / ENTRY) as u64;
        self.block.clear();
        self.place = 0;
        let Some((key, block)) = found.filter(|(key, _)| self.run.owns(key)) else {
            return Ok(false);
        };
        self.key = Some(
            key.try_into()
                .map_err(|_| super::Fault::Corrupt("a block's key"))?,
        );
        self.block.extend_from_slice(block);
        Ok(true)
    }

    /// The next entry that verifies. What is damaged may sort anywhere, and is
    /// left behind.
    fn next(&mut self, checker: Checker) -> Option<[u8; ENTRY]> {
        loop {
            let entry = *self.block.get(self.place..)?.first_chunk()?;
            self.place += ENTRY;
            if checker.open_entry(&entry).is_some() {
                return Some(entry);
            }
        }
    }
}
