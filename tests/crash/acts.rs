//! The commands that are killed: what comes before, and what must hold after.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::kill::End;
use crate::common::sandbox::Sandbox;
use crate::common::source::first_difference;
use crate::common::stored::roots;
use crate::lane::Lane;

/// A command that is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// Index to standard output.
    Archive,
    /// Index to a file that appears when it is whole.
    ArchiveToFile,
    Forget,
    /// With all thresholds of rewriting.
    Gc,
    /// Makes key and store.
    FirstRun,
    /// Of a store with a damaged brick, so that it sets a mark.
    Verify,
    Rebuild,
    ParityAdd,
    ParityRepair,
}

impl Act {
    /// Those with more to go wrong more than once.
    pub const ALL: [Self; 11] = [
        Self::Archive,
        Self::Archive,
        Self::ArchiveToFile,
        Self::Forget,
        Self::Gc,
        Self::Gc,
        Self::FirstRun,
        Self::Verify,
        Self::Rebuild,
        Self::ParityAdd,
        Self::ParityRepair,
    ];
}

impl Lane {
    /// Kills one command, and looks whether all is as it must be.
    pub fn act(&mut self, act: Act) {
        let killed = match act {
            Act::Archive | Act::ArchiveToFile => self.kill_archive(act),
            Act::Forget => self.kill_forget(),
            Act::Gc => self.kill_gc(),
            Act::FirstRun => return self.kill_first_run(),
            Act::Verify => self.kill_verify(),
            Act::Rebuild => self.kill_rebuild(),
            Act::ParityAdd => self.kill_parity_add(),
            Act::ParityRepair => self.kill_parity_repair(),
        };
        if !killed {
            return;
        }
        if self.random.below(2) == 0 {
            self.tree.thin();
        }
        self.archive();
        self.verify();
        self.restore_all();
        if self.random.below(2) == 0 {
            self.collect();
            self.restore_all();
        }
    }

    fn kill_archive(&mut self, act: Act) -> bool {
        let (index, stream) = self.next_stream();
        let before = roots(&self.sandbox.store());
        let mut command = self.archiver(&index, act == Act::ArchiveToFile);
        if let End::Done(run) = self.kill(act, &mut command) {
            run.exits(0);
            self.finish(index, &before, stream);
            return false;
        }
        let left: Vec<_> = roots(&self.sandbox.store())
            .difference(&before)
            .cloned()
            .collect();
        assert!(left.len() <= 1, "{left:?}");
        self.tally.roots_left += left.len() as u64;
        for run in left {
            // Whether it was finished cannot be told: what comes out is right at any rate.
            let way = format!("@{run}");
            let (restored, bytes) = output(&self.sandbox, Path::new(&way));
            assert!(bytes.is_empty() && restored != Some(0) || bytes == *stream);
            self.abandoned.insert(run);
        }
        self.judge(&index, &stream, act);
        let _ = fs::remove_file(&index);
        true
    }

    /// The index of a killed run is refused, unless it has its trailer.
    fn judge(&mut self, index: &Path, stream: &[u8], act: Act) {
        let Ok(bytes) = fs::read(index) else {
            assert_eq!(act, Act::ArchiveToFile, "{} is gone", index.display());
            self.tally.refused += 1;
            return;
        };
        let end = bytes.len().saturating_sub(64);
        let is_whole = bytes[end..].starts_with(b"dtarIEND");
        assert!(is_whole || act == Act::Archive, "appeared unfinished");
        let none: [&str; 0] = [];
        let (run, difference) = self.sandbox.restore_with(index, none, |out| {
            first_difference(out, if is_whole { stream } else { &[] }).unwrap()
        });
        assert_eq!(difference, None, "{}", run.stderr);
        if is_whole {
            run.exits(0);
            self.tally.whole += 1;
        } else {
            assert!(matches!(run.code, Some(1 | 3)), "{run:?}");
            self.tally.refused += 1;
        }
    }

    fn kill_forget(&mut self) -> bool {
        if self.finished.len() < 2 {
            self.archive();
        }
        let number = self.random.below(self.finished.len() as u64);
        let finished = self.finished.remove(usize::try_from(number).unwrap());
        fs::remove_file(&finished.index).unwrap();
        let mut command = self
            .sandbox
            .command(["forget", &format!("@{}", finished.run)]);
        command.stdout(Stdio::null());
        let end = self.kill(Act::Forget, &mut command);
        let store = self.sandbox.store();
        let snapshot = store.join(format!("snapshots/{}.snap", finished.run));
        if roots(&store).contains(&finished.run) {
            self.abandoned.insert(finished.run);
        } else {
            assert!(!snapshot.exists(), "a snapshot without its root");
        }
        match end {
            End::Killed => true,
            End::Done(run) => {
                run.exits(0);
                false
            }
        }
    }

    fn kill_gc(&mut self) -> bool {
        // Something to delete, and something to rewrite.
        self.tree.grow();
        self.archive();
        let given_up = self.finished.pop().unwrap();
        self.tree.thin();
        self.archive();
        self.forget(&given_up.run);
        fs::remove_file(given_up.index).unwrap();
        let threshold = self.threshold();
        let mut command = self.sandbox.command(["gc", "--threshold", threshold]);
        command.stdout(Stdio::null());
        match self.kill(Act::Gc, &mut command) {
            End::Killed => {
                self.dead_gc = true;
                true
            }
            End::Done(run) => {
                run.exits(0);
                self.dead_gc = false;
                false
            }
        }
    }

    /// A first run, with key and store to be made, in a place of its own; then another.
    fn kill_first_run(&mut self) {
        let place = Sandbox::without_key().kept_on_failure();
        let (_, stream) = self.next_stream();
        let index = place.path().join("index.tar");
        let mut first = self.archiver(&index, false);
        redirect(&mut first, &place);
        if let End::Done(run) = self.kill(Act::FirstRun, &mut first) {
            run.exits(0);
        }
        let mut again = self.archiver(&index, false);
        redirect(&mut again, &place);
        self.measure(Act::FirstRun, &mut again).exits(0);
        place.restores(&index, &stream[..]);
    }
}

/// Exit code and standard output of a restore.
fn output(sandbox: &Sandbox, index: &Path) -> (Option<i32>, Vec<u8>) {
    let none: [&str; 0] = [];
    let (run, bytes) = sandbox.restore_with(index, none, |mut out| {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut out, &mut bytes).unwrap();
        bytes
    });
    (run.code, bytes)
}

/// Has a command work in another place.
fn redirect(command: &mut Command, place: &Sandbox) {
    command
        .env("DTAR_STORE", place.store())
        .env("DTAR_KEY", place.key())
        .env("DTAR_CATALOG", place.catalog());
}
