//! A store that all use at once.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::archiver::Archiver;
use crate::common::sandbox::Sandbox;
use crate::common::source::first_difference;
use crate::common::stored::{Stored, remains};

const ARCHIVERS: u64 = 8;

/// The store, and how it is used.
pub struct Scene {
    pub sandbox: Sandbox,
    shares_catalog: bool,
    /// Some gcs end runs that may be alive.
    pub ends_runs: bool,
    /// Archivers at work.
    at_work: AtomicU64,
    failed: AtomicBool,
    counts: Mutex<Counts>,
}

/// A finished run that nobody has forgotten.
pub struct Kept {
    pub index: PathBuf,
    pub stream: Vec<u8>,
}

/// What was done.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    pub archives: u64,
    /// Archives that ended with the error that a gc has ended them.
    pub ended: u64,
    pub forgotten: u64,
    /// Archives of what had just been forgotten.
    pub again: u64,
    pub gcs: u64,
    /// Gcs that met another one.
    pub met: u64,
    pub deleted: u64,
    pub rewritten: u64,
    pub spared: u64,
    pub verifies: u64,
    /// Of parity and rebuild.
    pub mends: u64,
    pub restores: u64,
    pub lost_runs: u64,
    pub lost_bytes: u64,
}

impl Scene {
    pub fn new(shares_catalog: bool, ends_runs: bool) -> Self {
        let sandbox = Sandbox::new().with_threads(2).kept_on_failure();
        sandbox.run(["init"]).exits(0);
        sandbox.run(["key", "put", "put-key"]).exits(0);
        Self {
            sandbox,
            shares_catalog,
            ends_runs,
            at_work: AtomicU64::new(ARCHIVERS),
            failed: AtomicBool::new(false),
            counts: Mutex::default(),
        }
    }

    pub fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the others have something to be beside of.
    pub fn goes_on(&self) -> bool {
        self.at_work.load(Ordering::SeqCst) > 0 && !self.failed.load(Ordering::SeqCst)
    }

    /// A command, on the host with this number.
    pub fn command(&self, host: u64, arguments: &[&str]) -> Command {
        let mut command = self.sandbox.command(arguments);
        if !self.shares_catalog {
            let catalog = format!("catalog-{host}");
            command.env("DTAR_CATALOG", self.sandbox.path().join(catalog));
        }
        command
    }

    /// All at once; then nothing may be lost, and nothing left.
    pub fn run(&self, seed: u64, rounds: u64) -> Counts {
        let kept: Vec<Kept> = thread::scope(|scope| {
            let archivers: Vec<_> = (0..ARCHIVERS)
                .map(|number| {
                    scope.spawn(move || {
                        let _end = End(self);
                        Archiver::new(self, seed, number).run(rounds)
                    })
                })
                .collect();
            scope.spawn(|| self.collect_all_the_while(seed, false));
            if self.ends_runs {
                scope.spawn(|| self.collect_all_the_while(seed + 1, true));
            }
            if !self.ends_runs {
                scope.spawn(|| self.mend_all_the_while());
            }
            scope.spawn(|| self.verify_all_the_while());
            let kept = archivers.into_iter().map(|one| one.join().unwrap());
            kept.flatten().collect()
        });
        self.restore_all(&kept);
        self.sandbox.run(["verify", "--all-here"]).exits(0);
        self.sandbox.run(["gc"]).exits(0);
        self.is_clean();
        self.restore_all(&kept);
        self.sandbox.run(["verify", "--all-here"]).exits(0);
        if self.sandbox.store().join("parity").exists() {
            self.sandbox.run(["parity", "check"]).exits(0);
        }
        self.counts().clone()
    }

    fn restore_all(&self, kept: &[Kept]) {
        let mut faults = Vec::new();
        for Kept { index, stream } in kept {
            let none: [&str; 0] = [];
            let (run, difference) = self.sandbox.restore_with(index, none, |out| {
                first_difference(out, &stream[..]).unwrap()
            });
            let mut counts = self.counts();
            counts.restores += 1;
            if run.code == Some(0) && difference.is_none() {
                continue;
            }
            let offset = difference.as_ref().map_or(0, |found| found.offset);
            counts.lost_runs += 1;
            counts.lost_bytes += stream.len() as u64 - offset;
            faults.push(format!("{}: {run:?}, {difference:?}", index.display()));
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    fn is_clean(&self) {
        let store = self.sandbox.store();
        let left = remains(&store, &["tmp", "runs", "dead"]);
        assert!(left.is_empty(), "left: {left:?}");
        let garbage = Stored::open(&store).garbage();
        assert!(garbage.is_empty(), "garbage: {garbage:?}");
    }
}

/// Says that an archiver has ended, however it did.
struct End<'a>(&'a Scene);

impl Drop for End<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.failed.store(true, Ordering::SeqCst);
        }
        self.0.at_work.fetch_sub(1, Ordering::SeqCst);
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "archives {} (of what was just forgotten {}), ended by a gc {}, runs forgotten {}, \
             gcs {} (met another {}, bricks deleted {}, rewritten {}, spared {}), verifies \
             without fault {}, parity and rebuild {}, restores {}, lost runs {}, bytes lost {}",
            self.archives,
            self.again,
            self.ended,
            self.forgotten,
            self.gcs,
            self.met,
            self.deleted,
            self.rewritten,
            self.spared,
            self.verifies,
            self.mends,
            self.restores,
            self.lost_runs,
            self.lost_bytes,
        )
    }
}
