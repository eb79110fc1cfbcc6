//! When runs are merged, so that a lookup has few to ask, and how fast.
//!
//! A merge may be of all that the catalog holds. Who enters a brick has a stream
//! to archive and does not wait for it: with each brick merges go on by a number
//! of bytes that follows from the brick's, the smallest of them first, so that
//! small runs stay few while large ones are merged. What is not done when the
//! process ends the next one does, before its stream begins.

use super::entry::{Checker, ENTRY};
use super::environment::Environment;
use super::fault::Step;
use super::merge::Merge;
use super::run::{Run, Runs};

/// A run is merged with those after it unless it has this many times their entries.
const RATIO: u64 = 4;
/// How many runs are worth a merge.
const FEWEST: usize = 4;
/// Bytes of blocks written in one transaction, at most.
const STEP: usize = 16 << 20;
/// How many entries are moved for each that is entered. Each is moved once for
/// every level of runs, of which there are fewer.
const PACE: usize = 16;

/// The runs at the end of the list that should be merged, if it is time: from
/// the first one on that has not many times the entries of those after it.
fn due(list: &[Run]) -> &[Run] {
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

/// The merges of this process.
#[derive(Default)]
pub(super) struct Schedule {
    /// Each is of younger runs than the one before.
    under_way: Vec<Merge>,
}

impl Schedule {
    /// Goes on after so many entries have been entered.
    pub fn go_on(
        &mut self,
        environment: &mut Environment,
        checker: Checker,
        entered: usize,
    ) -> Step<()> {
        self.work(environment, checker, entered.saturating_mul(PACE * ENTRY))
    }

    /// Does all that is due.
    pub fn finish(&mut self, environment: &mut Environment, checker: Checker) -> Step<()> {
        self.work(environment, checker, usize::MAX)
    }

    /// Writes up to so many bytes of blocks. Does nothing while another process merges.
    fn work(&mut self, environment: &mut Environment, checker: Checker, bytes: usize) -> Step<()> {
        let result = self.steps(environment, checker, bytes);
        if result.is_err() {
            // What they have moved is moved; the next merge takes it up.
            self.under_way.clear();
        }
        if self.under_way.is_empty() {
            environment.unlock_merges();
        }
        result
    }

    fn steps(
        &mut self,
        environment: &mut Environment,
        checker: Checker,
        mut bytes: usize,
    ) -> Step<()> {
        while bytes > 0 {
            self.begin(environment, checker)?;
            let Some(merge) = self.under_way.last_mut() else {
                return Ok(());
            };
            let step = bytes.min(STEP);
            if !merge.step(environment, step)? {
                self.under_way.pop();
            }
            bytes -= step;
        }
        Ok(())
    }

    /// Begins a merge of the runs behind those that are being merged, if it is time.
    fn begin(&mut self, environment: &mut Environment, checker: Checker) -> Step<()> {
        if self.due(environment, checker)?.is_empty() {
            return Ok(());
        }
        if self.under_way.is_empty() && !environment.lock_merges()? {
            return Ok(());
        }
        // Another process may have done it before the lock was free.
        let sources = self.due(environment, checker)?;
        if !sources.is_empty() {
            let merge = Merge::begin(environment, checker, &sources)?;
            self.under_way.push(merge);
        }
        Ok(())
    }

    fn due(&self, environment: &mut Environment, checker: Checker) -> Step<Vec<Run>> {
        let runs = environment.read(|txn, tables| Runs::read(txn, tables, checker))?;
        let concerned = |run: &Run| self.under_way.iter().any(|merge| merge.concerns(run));
        let behind = runs.list.iter().rposition(concerned);
        let behind = behind.map_or(0, |place| place + 1);
        Ok(due(runs.list.get(behind..).unwrap_or_default()).to_vec())
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
        assert!(due_counts(&[]).is_empty());
        assert!(due_counts(&[10, 10, 10]).is_empty());
        assert_eq!(due_counts(&[10, 10, 10, 10]), [10; 4]);
        assert_eq!(due_counts(&[1000, 10, 10, 10, 10]), [10; 4]);
        assert_eq!(due_counts(&[100, 10, 10, 10]), [100, 10, 10, 10]);
        assert!(due_counts(&[1000, 200, 10, 10]).is_empty());
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
