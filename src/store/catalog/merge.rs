//! Merges runs of like size into one, so that a lookup has few to ask.
//!
//! The new run stands in the list beside its sources from the start. Step by
//! step entries come to stand in it, and the blocks that held them go, in one
//! transaction: at each moment all runs together hold every entry, so that
//! others may look up and enter meanwhile, and a process that dies leaves
//! nothing to repair; the next merge takes up what it has left. Memory and the
//! room on the disk grow by a step, not by the size of the runs.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::entry::{Checker, ENTRY};
use super::environment::{Environment, Tables};
use super::fault::Step;
use super::run::{BlockKey, Run, RunWriter, Runs, id_of};

/// A run is merged with those after it unless it has this many times their entries.
const RATIO: u64 = 4;
/// How many runs are worth a merge.
const FEWEST: usize = 4;
/// Bytes of blocks written in one transaction.
const STEP: usize = 16 << 20;

/// The runs at the end of the list that should be merged, if it is time: from
/// the first one on that has not many times the entries of those after it.
pub(super) fn due(list: &[Run]) -> &[Run] {
    let (mut first, mut entries) = (list.len(), 0_u64);
    for (place, run) in list.iter().enumerate().rev() {
        if run.count < entries.saturating_mul(RATIO) {
            first = place;
        }
        entries = entries.saturating_add(run.count);
    }
    let runs = list.get(first..).unwrap_or_default();
    if runs.len() < FEWEST { &[] } else { runs }
}

/// A merge that goes on.
pub(super) struct Merge {
    checker: Checker,
    step: usize,
    sources: Vec<Source>,
    /// The next entry of each source that has one.
    heads: BinaryHeap<Reverse<([u8; ENTRY], usize)>>,
    /// Number of the new run, and how many entries it has been given.
    number: u32,
    moved: u64,
    writer: RunWriter,
    last: [u8; ENTRY],
    /// Blocks all of whose entries are in the new run or wait for it.
    consumed: Vec<BlockKey>,
}

impl Merge {
    /// Merges runs, which must stand in the list side by side. Only one process
    /// at a time may be doing this.
    pub fn run(environment: &mut Environment, checker: Checker, sources: &[Run]) -> Step<()> {
        let mut merge = Self::begin(environment, checker, sources, STEP)?;
        while merge.step(environment)? {}
        Ok(())
    }

    /// Enters the new run into the list. `step` is in bytes of blocks.
    pub fn begin(
        environment: &mut Environment,
        checker: Checker,
        sources: &[Run],
        step: usize,
    ) -> Step<Self> {
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
            step,
            sources: sources.iter().copied().map(Source::new).collect(),
            heads: BinaryHeap::new(),
            number: run.number,
            moved: 0,
            writer: RunWriter::new(run),
            last: [0; ENTRY],
            consumed: Vec::new(),
        };
        environment.read(|txn, tables| {
            (0..merge.sources.len()).try_for_each(|source| merge.advance(txn, tables, source))
        })?;
        Ok(merge)
    }

    /// Moves some entries, durably; at the end deletes the sources and returns false.
    pub fn step(&mut self, environment: &mut Environment) -> Step<bool> {
        if self.heads.is_empty() {
            environment.write(|txn, tables| self.end(txn, tables))?;
            return Ok(false);
        }
        environment.read(|txn, tables| self.gather(txn, tables))?;
        environment.write(|txn, tables| self.put(txn, tables))?;
        self.writer.clear();
        self.consumed.clear();
        Ok(true)
    }

    /// Takes entries until there are enough for a step, and ends where the id changes.
    fn gather(&mut self, txn: &heed::RoTxn, tables: &Tables) -> Step<()> {
        while let Some(head) = self.heads.peek() {
            let Reverse((entry, source)) = *head;
            if self.writer.waiting() >= self.step && id_of(&entry) != id_of(&self.last) {
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

    fn put(&self, txn: &mut heed::RwTxn, tables: &Tables) -> Step<()> {
        let mut runs = Runs::read(txn, tables, self.checker)?;
        for run in &mut runs.list {
            let mut sources = self.sources.iter();
            if let Some(source) = sources.find(|source| source.run.number == run.number) {
                run.count = source.left();
            } else if run.number == self.number {
                run.count = self.moved;
            }
        }
        runs.write(txn, tables, self.checker)?;
        for key in &self.consumed {
            tables.chunks.delete(txn, key)?;
        }
        self.writer.put(txn, tables)
    }

    fn end(&self, txn: &mut heed::RwTxn, tables: &Tables) -> Step<()> {
        let mut runs = Runs::read(txn, tables, self.checker)?;
        let is_source = |run: &Run| {
            self.sources
                .iter()
                .any(|source| source.run.number == run.number)
        };
        runs.list.retain(|run| !is_source(run));
        runs.write(txn, tables, self.checker)?;
        let mut sources = self.sources.iter();
        sources.try_for_each(|source| source.run.delete(txn, tables))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: u32, count: u64) -> Run {
        let room = count;
        Run {
            number,
            count,
            room,
        }
    }

    fn runs(counts: &[u64]) -> Vec<Run> {
        (0..)
            .zip(counts)
            .map(|(number, &count)| run(number, count))
            .collect()
    }

    fn due_counts(counts: &[u64]) -> Vec<u64> {
        due(&runs(counts)).iter().map(|run| run.count).collect()
    }

    #[test]
    fn runs_of_like_size_are_due_and_large_ones_are_left_alone() {
        assert_eq!(due_counts(&[]), []);
        assert_eq!(due_counts(&[10, 10, 10]), []);
        assert_eq!(due_counts(&[10, 10, 10, 10]), [10; 4]);
        assert_eq!(due_counts(&[1000, 10, 10, 10, 10]), [10; 4]);
        assert_eq!(due_counts(&[100, 10, 10, 10]), [100, 10, 10, 10]);
        assert_eq!(due_counts(&[1000, 200, 10, 10]), []);
        assert_eq!(due_counts(&[1, 1, 1, 5]), [1, 1, 1, 5]);
        assert_eq!(due_counts(&[9, 9, 9, 9, 1]), [9, 9, 9, 9, 1]);
        assert_eq!(due_counts(&[5_000, 9, 9, 9, 9, 1]).len(), 5);
    }

    #[test]
    fn there_are_never_many_runs_and_each_entry_moves_seldom() {
        let (mut list, mut moved, mut most) = (Vec::new(), 0, 0);
        for number in 0..4_000 {
            list.push(run(number, 10));
            let due = due(&list).len();
            if due > 0 {
                let merged = list.split_off(list.len() - due);
                let count = merged.iter().map(|run| run.count).sum();
                moved += count;
                list.push(run(number, count));
            }
            most = most.max(list.len());
        }
        assert!(most <= 12, "{most} runs");
        assert!(moved / 40_000 <= 12, "moved {} times", moved / 40_000);
    }
}
