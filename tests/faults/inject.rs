//! Every call that changes a file fails once, or from some call on all do.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustix::io::Errno;

use crate::common::sandbox::Run;
use crate::place::{Place, Step, stream};
use crate::scenario::{Promise, Scenario, promises};
use crate::shim::{Call, Fault, Injection, Kind, Scope, Watch};

/// What came of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The run failed and said why.
    Detected,
    /// The run did all that it should.
    Survived,
    /// The run had no such call: threads do not always take the same turns.
    Missed,
}

/// How often faults came out how.
pub type Tally = BTreeMap<Outcome, usize>;

/// A series of faults, each befalling another call of a command.
#[derive(Debug, Clone, Copy)]
pub struct Series {
    pub name: &'static str,
    pub faults: &'static [Fault],
    pub scope: Scope,
    pub reads: bool,
    pub befalls: fn(&Call) -> bool,
    /// Of so many calls the short form takes one.
    pub stride: usize,
}

fn always(call: &Call) -> bool {
    call.kind < Kind::OpenToRead
}

/// LMDB takes a write that is cut short for a full disk, and knows of few
/// interruptions. Local file systems interrupt and shorten nothing of what it does.
fn is_lmdbs(call: &Call) -> bool {
    call.path.extension().is_some_and(|end| end == "mdb")
}

fn interruptible(call: &Call) -> bool {
    !is_lmdbs(call) && matches!(call.kind, Kind::Open | Kind::Sync | Kind::Write)
}

fn written(call: &Call) -> bool {
    !is_lmdbs(call) && call.kind == Kind::Write
}

fn read(call: &Call) -> bool {
    call.kind >= Kind::OpenToRead
}

const fn errno(errno: Errno) -> Fault {
    Fault::Errno(errno.raw_os_error())
}

const TAKEN_IN_TURN: &[Fault] = &[errno(Errno::NOSPC), errno(Errno::IO), errno(Errno::DQUOT)];

pub const SERIES: &[Series] = &[
    Series {
        name: "one call fails",
        faults: TAKEN_IN_TURN,
        scope: Scope::Once,
        reads: false,
        befalls: always,
        stride: 1,
    },
    Series {
        name: "interrupted",
        faults: &[errno(Errno::INTR)],
        scope: Scope::Once,
        reads: false,
        befalls: interruptible,
        stride: 3,
    },
    Series {
        name: "half written",
        faults: &[Fault::Half],
        scope: Scope::Once,
        reads: false,
        befalls: written,
        stride: 2,
    },
    Series {
        name: "full from there on",
        faults: &[errno(Errno::NOSPC)],
        scope: Scope::Space,
        reads: false,
        befalls: always,
        stride: 4,
    },
    Series {
        name: "read-only from there on",
        faults: &[errno(Errno::ROFS)],
        scope: Scope::All,
        reads: false,
        befalls: always,
        stride: 4,
    },
    Series {
        name: "one read fails",
        faults: &[errno(Errno::IO)],
        scope: Scope::Once,
        reads: true,
        befalls: read,
        stride: 9,
    },
];

impl Series {
    fn must_survive(&self) -> bool {
        self.faults == [Fault::Half] || self.faults == [errno(Errno::INTR)]
    }
}

/// Does `work` for each number below `count`, on all processors.
pub fn in_parallel(count: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    let threads = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads.min(count) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    work(number);
                }
            });
        }
    });
}

/// What was done to a scenario.
#[derive(Default)]
pub struct Report {
    pub calls: usize,
    pub tally: Tally,
    /// Bytes of the runs that were restored and compared.
    pub compared: usize,
}

/// Lets faults befall the calls of a scenario; in the long form each fault all of them.
pub fn inject(scenario: &Scenario, series: &Series, long: bool) -> Report {
    let stride = if long { 1 } else { series.stride };
    let base = Place::after(scenario.before);
    let watch = Watch {
        reads: series.reads,
        ..Watch::default()
    };
    let (run, calls) = base.copy().watch(scenario.step, watch, None);
    assert_eq!(
        run.code,
        Some(scenario.code),
        "{}: {}",
        scenario.name,
        run.stderr
    );
    let strange = calls.iter().find(|call| call.kind == Kind::Other);
    assert!(strange.is_none(), "{strange:?}");
    let mut plan = Vec::new();
    let befallen = calls
        .iter()
        .enumerate()
        .filter(|(_, call)| (series.befalls)(call));
    for (turn, (number, _)) in befallen.step_by(stride).enumerate() {
        let faults = match series.faults {
            faults if long => faults,
            faults => &faults[turn % faults.len()..][..1],
        };
        plan.extend(faults.iter().map(|&fault| Injection {
            at: number + 1,
            fault,
            scope: series.scope,
        }));
    }
    let report = Mutex::new(Report {
        calls: calls.len(),
        ..Report::default()
    });
    in_parallel(plan.len(), |number| {
        let trial = Trial {
            scenario,
            series,
            injection: plan[number],
            place: base.copy(),
            promises: promises(scenario.before),
        };
        let (outcome, compared) = trial.run(watch);
        let mut report = report.lock().unwrap();
        *report.tally.entry(outcome).or_default() += 1;
        report.compared += compared;
    });
    report.into_inner().unwrap()
}

/// One fault, and all that has to hold after it.
struct Trial<'a> {
    scenario: &'a Scenario,
    series: &'a Series,
    injection: Injection,
    place: Place,
    promises: Vec<Promise>,
}

impl Trial<'_> {
    fn run(mut self, watch: Watch) -> (Outcome, usize) {
        let Scenario { step, code, .. } = *self.scenario;
        let (run, calls) = self.place.watch(step, watch, Some(self.injection));
        let hit = calls.iter().find(|call| call.injected);
        let context = self.context(hit, &run);
        let outcome = match hit {
            _ if run.code != Some(code) => {
                self.is_told(hit, &run, &context);
                Outcome::Detected
            }
            None => Outcome::Missed,
            Some(hit) => {
                self.may_survive(hit, &run, &context);
                Outcome::Survived
            }
        };
        self.promises
            .retain(|promise| Some(promise.name) != step.gives_up());
        if let Some((name, _)) = self.scenario.harmed {
            self.promises.retain(|promise| promise.name != name);
        }
        let mut compared = self.all_kept(Promise::is_kept, &context);
        match step.run() {
            Some((name, files)) if outcome == Outcome::Detected => {
                self.is_refused(name, files, hit, &context);
            }
            _ => self.promises.extend(Promise::of(step)),
        }
        // A run that is forgotten by half has a root without snapshot, and the sidecar that
        // is to be made again is missing.
        if step.gives_up().is_none() && step != Step::Command(&["rebuild"]) {
            self.is_sound(&context);
        }
        if step == Step::Pack {
            self.place.containers_are_whole(&context);
        }
        self.once_more(&context);
        compared += self.all_kept(Promise::snapshot_is_kept, &context);
        (outcome, compared)
    }

    fn context(&self, hit: Option<&Call>, run: &Run) -> String {
        let hit = hit.map(|call| (call.kind, call.path.display().to_string()));
        format!(
            "{}, {}: {:?} befell {hit:?}; exit code {:?}; standard error:\n{}",
            self.scenario.name, self.series.name, self.injection, run.code, run.stderr
        )
    }

    /// A run that fails says in one line what the system refused, and where.
    fn is_told(&self, hit: Option<&Call>, run: &Run, context: &str) {
        let Some(hit) = hit else {
            panic!("failed without a fault: {context}");
        };
        // Threads take turns: the call may be another one than planned.
        let may_fail = !self.series.must_survive() || !(self.series.befalls)(hit);
        assert!(may_fail, "{context}");
        // A set that cannot be repaired keeps no other from it, and is damage left.
        let may_go_on = self.series.reads || self.scenario.name == "parity repair";
        let codes: &[_] = if may_go_on { &[1, 3] } else { &[1] };
        assert!(
            run.code.is_some_and(|code| codes.contains(&code)),
            "{context}"
        );
        assert!(!run.stderr.contains("panicked"), "{context}");
        let reason = match self.injection.fault {
            Fault::Errno(errno) => std::io::Error::from_raw_os_error(errno).to_string(),
            Fault::Half => "os error".into(),
        };
        let mut lines = run.stderr.lines().filter(|line| line.contains(&reason));
        let (line, more) = (lines.next(), lines.next());
        assert!(line.is_some() && more.is_none(), "not one line: {context}");
        let line = line.unwrap_or_default();
        let place = self.place.path().to_str().unwrap();
        // A path stands as it was given.
        let given = hit.path.to_str().unwrap_or_default();
        let names_it = [place, given, "standard output"]
            .iter()
            .any(|name| line.contains(name));
        assert!(line.starts_with("dtar: ") && names_it, "no path: {context}");
    }

    /// Whether the fault of this call may do without a failure: what the catalog lacks
    /// is found again, and what was to be removed is removed by the next run.
    fn may_survive(&self, hit: &Call, run: &Run, context: &str) {
        let below = |folder| hit.path.starts_with(folder);
        let removes = matches!(hit.kind, Kind::Unlink | Kind::RemoveDir);
        let gives_up = matches!(hit.kind, Kind::Rename | Kind::Sync) && below("store/runs");
        let warns = run
            .stderr
            .contains("dtar: warning: cannot set or remove marks");
        let harmless = below("catalog") || gives_up || removes || warns;
        let allowed = self.series.must_survive() || self.series.reads || harmless;
        assert!(allowed, "swallowed: {context}");
    }

    fn all_kept(&self, check: fn(&Promise, &Place, &str), context: &str) -> usize {
        for promise in &self.promises {
            check(promise, &self.place, context);
        }
        self.promises
            .iter()
            .map(|promise| promise.stream.len())
            .sum()
    }

    /// The index of a run that failed is not taken for whole. It may be whole if it was
    /// not possible to tell the disk so.
    fn is_refused(&self, name: &str, files: &[u64], hit: Option<&Call>, context: &str) {
        if !self.place.path().join(name).exists() {
            return;
        }
        let whole = self.place.restores(name, &stream(files));
        let index = hit.is_some_and(|hit| {
            let beside = hit.path.to_str().unwrap().starts_with(".dtar-index-");
            hit.path == Path::new(name) || hit.path == Path::new("") || beside
        });
        // Where all fails from a call on, the one that told the disk came later.
        let index = index || context.contains("cannot write the index to standard output");
        match whole {
            Ok(()) => assert!(index, "a whole index: {context}"),
            Err(error) => assert!(error.starts_with("exit code"), "{error}: {context}"),
        }
    }

    /// Nothing is wrong with the store, unless something was before.
    fn is_sound(&self, context: &str) {
        if self.scenario.harmed.is_none() {
            self.place.is_sound(context);
        }
    }

    /// The same command does its work the next time, and leaves nothing behind.
    fn once_more(&mut self, context: &str) {
        let Scenario {
            step, code, before, ..
        } = *self.scenario;
        let run = self.place.run(step);
        let done = run.code == Some(code) || self.was_done(&run);
        assert!(
            done,
            "again: {:?} {}\nafter {context}",
            run.code, run.stderr
        );
        if let Some((name, true)) = self.scenario.harmed {
            let mended = promises(before).into_iter().find(|run| run.name == name);
            self.promises.extend(mended);
        }
        if let Some(promise) = Promise::of(step) {
            self.promises.retain(|other| other.name != promise.name);
            self.promises.push(promise);
        }
        self.is_sound(&format!("the next run, after {context}"));
        if step == Step::Pack {
            self.place.containers_are_whole(context);
            self.all_kept(Promise::is_packed, context);
        }
        self.is_clean(context);
    }

    /// Some commands refuse to do what the first of two has done in spite of the fault.
    fn was_done(&self, run: &Run) -> bool {
        let words = match self.scenario.step {
            Step::Forget(_) => "no snapshot has the label",
            Step::Command(["key", ..]) => "stands there already",
            Step::Command(["init"]) => "a store already",
            _ => return false,
        };
        run.code != Some(0) && run.stderr.contains(words)
    }

    /// Whoever starts a run removes what is left of others.
    fn is_clean(&self, context: &str) {
        if self.scenario.step.run().is_none() && self.place.path().join("store").exists() {
            self.place.succeeds(Step::Archive("last", &[5]));
        }
        self.place.is_clean(context);
    }
}
