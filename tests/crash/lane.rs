//! One store, in which command after command is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::acts::Act;
use crate::common::kill::{End, Measure, killed, measured};
use crate::common::log::Log;
use crate::common::sandbox::{Run, Sandbox};
use crate::common::source::{Random, first_difference};
use crate::common::stored::{Stored, events, remains, roots, summary};
use crate::common::tree::Tree;
use crate::tally::Tally;

/// More finished runs than this are not kept.
const MOST_FINISHED: usize = 4;
/// What a run or gc leaves only if it is killed.
const PASSING: [&str; 3] = ["tmp", "runs", "dead"];

/// A run that ended with exit code 0.
pub struct Finished {
    pub index: PathBuf,
    /// Its root's name.
    pub run: String,
    pub stream: Arc<Vec<u8>>,
}

/// A store and what must be in it.
pub struct Lane {
    pub sandbox: Sandbox,
    pub random: Random,
    pub tree: Tree,
    /// Must restore whatever happens.
    pub finished: Vec<Finished>,
    /// Roots of killed runs.
    pub abandoned: BTreeSet<String>,
    measures: BTreeMap<Act, Measure>,
    pub tally: Tally,
    pub log: Log,
    indexes: u64,
    /// A gc was killed, and none has cleaned up after it yet.
    pub dead_gc: bool,
}

impl Lane {
    pub fn new(seed: u64, number: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(1000) + number);
        Self {
            sandbox: Sandbox::new().kept_on_failure(),
            tree: Tree::new(random.next(), 12, 3 << 20),
            random,
            finished: Vec::new(),
            abandoned: BTreeSet::new(),
            measures: BTreeMap::new(),
            tally: Tally::default(),
            log: Log::new(format!("crash, lane {number}"), seed),
            indexes: 0,
            dead_gc: false,
        }
    }

    /// Works until so many commands were killed.
    pub fn run(mut self, kills: u64) -> Tally {
        self.archive();
        while self.tally.kills() < kills {
            let act = Act::ALL[usize::try_from(self.random.below(Act::ALL.len() as u64)).unwrap()];
            self.act(act);
        }
        self.restore_all();
        self.collect();
        self.restore_all();
        self.tally
    }

    /// Runs a command that is killed at a random moment.
    pub fn kill(&mut self, act: Act, command: &mut Command) -> End {
        let like = match act {
            Act::ArchiveToFile => Act::Archive,
            other => other,
        };
        let measure = self.measures.get(&like).copied().unwrap_or_default();
        let moment = measure.draw(&mut self.random);
        self.log.step(format!("{act:?} to be killed, {moment:?}"));
        let end = killed(command, moment);
        match &end {
            End::Killed => {
                self.tally.kill(act, moment);
                self.log.outcome("killed");
                let left = remains(&self.sandbox.store(), &PASSING);
                self.tally.leftovers += u64::from(!left.is_empty());
            }
            End::Done(run) => {
                self.tally.too_late += 1;
                self.log.outcome(&format!("ended with {:?}", run.code));
            }
        }
        end
    }

    /// Runs a command to its end, for its kind to be measured.
    pub fn measure(&mut self, act: Act, command: &mut Command) -> Run {
        self.log.step(format!("{act:?}"));
        let (run, measure) = measured(command, &self.sandbox.path().join("calls"));
        self.log.outcome(&format!("{:?}", run.code));
        self.measures.insert(act, measure);
        run
    }

    /// A name for an index, and the stream of the tree as the file `stream`.
    pub fn next_stream(&mut self) -> (PathBuf, Arc<Vec<u8>>) {
        self.tree.change();
        let stream = self.tree.stream();
        fs::write(self.sandbox.path().join("stream"), &stream).unwrap();
        self.indexes += 1;
        let index = format!("index-{}.tar", self.indexes);
        (self.sandbox.path().join(index), Arc::new(stream))
    }

    /// The command that archives the file `stream`; to `index`, by way of standard
    /// output unless `named`.
    pub fn archiver(&self, index: &PathBuf, named: bool) -> Command {
        let stream = File::open(self.sandbox.path().join("stream")).unwrap();
        let mut command = self.sandbox.command(["--quiet"]);
        if named {
            command.arg("--index").arg(index).stdout(Stdio::null());
        } else {
            command.stdout(File::create(index).unwrap());
        }
        command.stdin(stream);
        command
    }

    /// A good run.
    pub fn archive(&mut self) {
        let (index, stream) = self.next_stream();
        let before = roots(&self.sandbox.store());
        let mut command = self.archiver(&index, false);
        self.measure(Act::Archive, &mut command).exits(0);
        self.finish(index, &before, stream);
        // The next run cleans up after archivers.
        if !self.dead_gc {
            let mut left = remains(&self.sandbox.store(), &PASSING);
            // A run that was killed before it had said what it is, is left for the next gc.
            left.retain(|path| {
                let lease = fs::read(path.join("lease")).unwrap_or_default();
                !path.parent().unwrap().ends_with("runs") || !lease.is_empty()
            });
            assert!(left.is_empty(), "left after a good run: {left:?}");
        }
    }

    /// A run has ended well: what it read must restore from now on.
    pub fn finish(&mut self, index: PathBuf, before: &BTreeSet<String>, stream: Arc<Vec<u8>>) {
        let now = roots(&self.sandbox.store());
        let mut new: Vec<_> = now.difference(before).cloned().collect();
        assert_eq!(new.len(), 1, "a finished run leaves one root");
        let run = new.remove(0);
        self.finished.push(Finished { index, run, stream });
    }

    /// All that is finished restores, from the indexes and one from its snapshot.
    pub fn restore_all(&mut self) {
        self.log.step(format!("restore {}", self.finished.len()));
        let chosen = self.random.below(self.finished.len() as u64 + 1);
        let mut faults = Vec::new();
        for (number, finished) in self.finished.iter().enumerate() {
            let mut ways = vec![finished.index.clone()];
            if number as u64 == chosen {
                ways.push(format!("@{}", finished.run).into());
            }
            for way in ways {
                let none: [&str; 0] = [];
                let (run, difference) = self.sandbox.restore_with(&way, none, |out| {
                    first_difference(out, &finished.stream[..]).unwrap()
                });
                self.tally.restores += 1;
                if run.code == Some(0) && difference.is_none() {
                    continue;
                }
                let offset = difference.as_ref().map_or(0, |found| found.offset);
                self.tally.lost_runs += 1;
                self.tally.lost_bytes += finished.stream.len() as u64 - offset;
                faults.push(format!("{}: {run:?}, {difference:?}", way.display()));
            }
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    /// Forgets what is beyond measure, and what killed runs left; then a gc, after which
    /// nothing is left that nobody needs.
    pub fn collect(&mut self) {
        while self.finished.len() > MOST_FINISHED {
            let finished = self.finished.remove(0);
            self.forget(&finished.run);
            fs::remove_file(finished.index).unwrap();
        }
        for run in std::mem::take(&mut self.abandoned) {
            self.forget(&run);
        }
        let threshold = self.threshold();
        let mut command = self
            .sandbox
            .command(["gc", "--json", "--threshold", threshold]);
        command.stdout(Stdio::null());
        let run = self.measure(Act::Gc, &mut command).exits(0);
        let summary = summary(&run);
        self.tally.deleted += summary["deleted"].as_u64().unwrap();
        self.tally.rewritten += summary["rewritten"].as_u64().unwrap();
        self.dead_gc = false;
        self.is_clean();
        self.tally.collections += 1;
        // Sets lose no member that they have not been made anew without.
        if self.sandbox.store().join("parity").exists() {
            self.parity("check");
        }
    }

    /// Of which share of a brick gc rewrites it.
    pub fn threshold(&mut self) -> &'static str {
        ["0", "50", "100"][usize::try_from(self.random.below(3)).unwrap()]
    }

    /// Nothing in the store is damaged or missing; but a root without its snapshot, as a
    /// killed run or `forget` may leave it, cannot be told from one whose snapshot was lost.
    pub fn verify(&mut self) {
        let mut command = self.sandbox.command(["verify", "--json", "--all-here"]);
        let run = self.measure(Act::Verify, command.stdout(Stdio::null()));
        let faults = events(&run, "fault");
        let abandoned = faults.iter().all(|fault| {
            let path = fault["path"].as_str().unwrap();
            let mut runs = self.abandoned.iter();
            fault["kind"] == "snapshot" && runs.any(|run| path.contains(run.as_str()))
        });
        assert!(abandoned, "{}", run.stderr);
        let run = run.exits(if faults.is_empty() { 0 } else { 3 });
        self.tally.verified += summary(&run)["frames"].as_u64().unwrap();
    }

    /// Forgets a run, if its root or snapshot is still there.
    pub fn forget(&mut self, run: &str) {
        let mut command = self.sandbox.command(["forget", &format!("@{run}")]);
        command.stdout(Stdio::null());
        self.measure(Act::Forget, &mut command).exits(0);
    }

    fn is_clean(&self) {
        let store = self.sandbox.store();
        let left = remains(&store, &PASSING);
        assert!(left.is_empty(), "left after gc: {left:?}");
        let garbage = Stored::open(&store).garbage();
        assert!(garbage.is_empty(), "garbage after gc: {garbage:?}");
        let known: BTreeSet<_> = self.finished.iter().map(|one| one.run.clone()).collect();
        assert_eq!(roots(&store), known, "roots are those of finished runs");
    }
}
