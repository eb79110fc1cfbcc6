//! The power fails after any call: what is on the disk then must do.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::disk::{Disk, Image, Loss};
use crate::inject::in_parallel;
use crate::place::{Place, Step};
use crate::scenario::Promise;
use crate::shim::{Call, Fault, Injection, Scope, Watch};

/// Commands one after another, in one place.
pub struct History {
    pub name: &'static str,
    pub steps: &'static [Step],
    /// The step from which on the power may fail.
    pub from: usize,
    /// The files of the run that has to succeed after the power failure.
    pub next: &'static [u64],
}

pub const HISTORIES: &[History] = &[
    History {
        name: "archive, archive again, forget, gc, archive",
        steps: &[
            Step::Archive("a", &[1, 2]),
            Step::Archive("b", &[2, 3]),
            Step::ArchiveBare("c", &[4]),
            Step::Forget("a"),
            Step::Command(&["gc", "--threshold", "0"]),
            Step::Archive("d", &[1, 3]),
        ],
        from: 0,
        next: &[1, 2, 3, 4, 5],
    },
    History {
        name: "gc with rewriting",
        steps: &[
            Step::Archive("a", &[101, 102]),
            Step::Archive("b", &[102]),
            Step::Forget("a"),
            Step::Command(&["gc", "--threshold", "100"]),
        ],
        from: 2,
        next: &[102, 5],
    },
    History {
        name: "parity add, gc under parity",
        steps: &[
            Step::Archive("a", &[1, 2]),
            Step::Archive("b", &[3]),
            Step::Command(&["parity", "add", "--share", "50"]),
            Step::Forget("a"),
            Step::Command(&["gc", "--threshold", "0"]),
        ],
        from: 3,
        next: &[1, 3, 5],
    },
    History {
        name: "parity add, parity repair, rebuild",
        steps: &[
            Step::Archive("a", &[1, 2]),
            Step::Archive("b", &[4]),
            Step::Command(&["parity", "add", "--share", "100"]),
            Step::Lose,
            Step::Command(&["parity", "repair"]),
            Step::LoseSidecar,
            Step::Command(&["rebuild"]),
        ],
        from: 2,
        next: &[6],
    },
    History {
        name: "pack, archive, pack",
        steps: &[
            Step::Archive("a", &[1]),
            Step::Pack,
            Step::Archive("b", &[1, 2]),
            Step::Pack,
        ],
        from: 3,
        next: &[2, 3],
    },
];

/// A run, and what is known of it at some moment.
struct Known {
    step: Step,
    name: &'static str,
    /// Its index.
    index: Vec<u8>,
    /// Whether its command had ended, and its loss was not asked for.
    promised: bool,
}

/// A disk after a power failure, and what must be there.
struct Case {
    image: Image,
    promised: Vec<&'static str>,
    /// Whether something is known to be missing.
    is_harmed: bool,
    /// Whether all goes into containers.
    is_packed: bool,
    what: String,
}

/// What was checked.
#[derive(Default)]
pub struct Report {
    pub calls: usize,
    pub prefixes: usize,
    /// Different disks that these led to.
    pub disks: usize,
    /// Runs that were restored on them.
    pub restored: usize,
    pub compared: usize,
}

struct Recorder {
    place: Place,
    disk: Disk,
    runs: Vec<Known>,
    is_harmed: bool,
}

impl Recorder {
    fn new() -> Self {
        let place = Place::new();
        fs::remove_dir(place.path().join("home")).unwrap();
        Self {
            place,
            disk: Disk::new(),
            runs: Vec::new(),
            is_harmed: false,
        }
    }

    /// Does a step; returns its calls.
    fn run(&mut self, step: Step, fault: Option<Injection>) -> Vec<Call> {
        let watch = Watch {
            data: true,
            ..Watch::default()
        };
        if let Some((name, _)) = step.run() {
            // The step opens it as it is.
            let path = self.place.path().join(name);
            fs::write(&path, "").unwrap();
            self.disk.make(name, fs::metadata(path).unwrap().ino());
        }
        let (run, calls) = self.place.watch(step, watch, fault);
        assert!(
            fault.is_some() || run.code == Some(0),
            "{step:?}: {}",
            run.stderr
        );
        calls
    }

    /// Does a step to its end; returns the number of its calls.
    fn follow(&mut self, step: Step, fault: Option<Injection>) -> usize {
        let calls = self.run(step, fault);
        for call in &calls {
            self.disk.apply(call);
        }
        self.begin(step);
        if fault.is_none() {
            self.end(step);
        }
        calls.len()
    }

    fn damage(&mut self, step: Step) {
        let files =
            |place: &Place| [place.files("store/bricks"), place.files("store/tocs")].concat();
        let before = files(&self.place);
        self.place.succeeds(step);
        let after = files(&self.place);
        for path in before.iter().filter(|path| !after.contains(path)) {
            self.disk
                .remove(path.strip_prefix(self.place.path()).unwrap());
        }
        self.is_harmed = true;
    }

    fn promised(&self) -> Vec<&'static str> {
        let kept = self.runs.iter().filter(|run| run.promised);
        kept.map(|run| run.name).collect()
    }

    fn begin(&mut self, step: Step) {
        for run in &mut self.runs {
            run.promised &= Some(run.name) != step.gives_up();
        }
    }

    fn end(&mut self, step: Step) {
        self.is_harmed = false;
        if let Some((name, _)) = step.run() {
            self.runs.push(Known {
                step,
                name,
                index: fs::read(self.place.path().join(name)).unwrap(),
                promised: true,
            });
        }
    }
}

/// What may become of what was not synced.
fn losses(seed: u64, coins: usize) -> impl Iterator<Item = Loss> {
    let all = [
        Loss::All,
        Loss::Nothing,
        Loss::Bytes,
        Loss::Zeros,
        Loss::Names,
    ];
    let some = (0..coins as u64).map(move |coin| Loss::Some(seed.wrapping_mul(1000) + coin));
    all.into_iter().chain(some)
}

/// How much is tried.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    pub seed: u64,
    /// Disks with random losses for each prefix.
    pub coins: usize,
    /// Of each so many disks one is checked.
    pub stride: usize,
}

/// Lets the power fail after each call of a history.
pub fn cut(history: &History, effort: Effort) -> Report {
    let mut recorder = Recorder::new();
    let mut seen = HashSet::new();
    let mut cases = Vec::new();
    let mut report = Report::default();
    for (number, &step) in history.steps.iter().enumerate() {
        if matches!(step, Step::Lose | Step::LoseSidecar) {
            recorder.damage(step);
            continue;
        }
        let calls = recorder.run(step, None);
        recorder.begin(step);
        let count = calls.len();
        for (done, call) in calls.iter().enumerate() {
            recorder.disk.apply(call);
            report.calls += 1;
            if done + 1 == count {
                recorder.end(step);
            }
            if number < history.from {
                continue;
            }
            report.prefixes += 1;
            for loss in losses(effort.seed + report.calls as u64, effort.coins) {
                let image = recorder.disk.after(loss);
                let promised = recorder.promised();
                if !seen.insert((digest(&image), promised.clone())) {
                    continue;
                }
                cases.push(Case {
                    image,
                    promised,
                    is_harmed: recorder.is_harmed,
                    is_packed: history.steps.contains(&Step::Pack),
                    what: format!(
                        "{}: power failed after call {} of {step:?} ({:?} {}), lost: {loss:?}",
                        history.name,
                        done + 1,
                        call.kind,
                        call.path.display()
                    ),
                });
            }
        }
    }
    let cases: Vec<_> = cases.into_iter().step_by(effort.stride).collect();
    check_all(&cases, &recorder.runs, history.next, &mut report);
    report
}

/// A command that fails, and what is done then.
pub struct Again {
    pub name: &'static str,
    pub before: &'static [Step],
    pub step: Step,
    pub then: &'static [Step],
    /// The files of the run that has to succeed after the power failure.
    pub next: &'static [u64],
}

pub const AGAIN: &[Again] = &[
    Again {
        name: "archive again after a failure",
        before: &[],
        step: Step::Archive("a", &[1, 2]),
        then: &[Step::Archive("a", &[1, 2])],
        next: &[1, 4],
    },
    Again {
        name: "gc again after a failure",
        before: &[
            Step::Archive("a", &[1, 2]),
            Step::Archive("b", &[3]),
            Step::Forget("a"),
        ],
        step: Step::Command(&["gc", "--threshold", "0"]),
        then: &[Step::Command(&["gc", "--threshold", "0"])],
        next: &[1, 2, 3],
    },
    Again {
        name: "gc with rewriting again after a failure",
        before: &[
            Step::Archive("a", &[101, 102]),
            Step::Archive("b", &[102]),
            Step::Forget("a"),
        ],
        step: Step::Command(&["gc", "--threshold", "100"]),
        then: &[Step::Command(&["gc", "--threshold", "100"])],
        next: &[102, 5],
    },
    Again {
        name: "rebuild and archive after an archive that failed",
        before: &[Step::Archive("a", &[1])],
        step: Step::Archive("b", &[2, 3]),
        then: &[Step::Command(&["rebuild"]), Step::Archive("c", &[2, 3])],
        next: &[1, 2],
    },
];

/// Lets a command fail from each call on, as if it had been killed there; does others,
/// which succeed; and then the power fails. What the first has left unsynced these must
/// not take for durable.
pub fn cut_after_failure(again: &Again, effort: Effort) -> Report {
    let (_, calls) = Place::after(again.before).watch(again.step, Watch::default(), None);
    let mut report = Report::default();
    for at in (1..=calls.len()).step_by(effort.stride) {
        let mut recorder = Recorder::new();
        for &step in again.before {
            recorder.follow(step, None);
        }
        let injection = Injection {
            at,
            fault: Fault::Errno(rustix::io::Errno::IO.raw_os_error()),
            scope: Scope::All,
        };
        report.calls += recorder.follow(again.step, Some(injection));
        for &step in again.then {
            report.calls += recorder.follow(step, None);
        }
        report.prefixes += 1;
        let cases: Vec<_> = losses(effort.seed + at as u64, effort.coins)
            .map(|loss| Case {
                image: recorder.disk.after(loss),
                promised: recorder.promised(),
                is_harmed: false,
                is_packed: false,
                what: format!("{}, at call {at}, lost: {loss:?}", again.name),
            })
            .collect();
        check_all(&cases, &recorder.runs, again.next, &mut report);
    }
    report
}

/// Panics unless the disk, with nothing lost, holds what stands there, but for what a
/// process has written through a map.
pub fn records_are_whole(steps: &[Step]) {
    let mut recorder = Recorder::new();
    for &step in steps {
        recorder.follow(step, None);
    }
    let image = recorder.disk.after(Loss::Nothing);
    let mut files = 0;
    for (path, bytes) in &image {
        let stands = recorder.place.path().join(path);
        match bytes {
            None => assert!(stands.is_dir(), "{}", path.display()),
            Some(_) if path.ends_with("lock.mdb") => {}
            Some(bytes) => {
                assert!(fs::read(stands).unwrap() == **bytes, "{}", path.display());
                files += 1;
            }
        }
    }
    assert!(files > 10, "{files}");
    let mut folders = vec![recorder.place.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(recorder.place.path()).unwrap();
            assert!(image.contains_key(name), "{}", name.display());
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
}

fn digest(image: &Image) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for (path, bytes) in image {
        hasher.update(path.as_os_str().as_encoded_bytes());
        let content = bytes.as_ref().map(|bytes| blake3::hash(bytes));
        hasher.update(content.map_or([0; 32], Into::into).as_slice());
    }
    hasher.finalize().into()
}

fn check_all(cases: &[Case], runs: &[Known], next: &'static [u64], report: &mut Report) {
    let (restored, compared) = (AtomicUsize::new(0), AtomicUsize::new(0));
    in_parallel(cases.len(), |number| {
        let checked = cases[number].check(runs, next);
        restored.fetch_add(checked.len(), Ordering::Relaxed);
        compared.fetch_add(checked.iter().sum(), Ordering::Relaxed);
    });
    report.disks += cases.len();
    report.restored += restored.into_inner();
    report.compared += compared.into_inner();
}

impl Case {
    /// Checks all that is promised; returns the lengths of the streams that were restored.
    fn check(&self, runs: &[Known], next: &'static [u64]) -> Vec<usize> {
        let place = Place::new();
        lay_out(&self.image, place.path());
        let mut promises = Vec::new();
        for run in runs {
            if self.promised.contains(&run.name) {
                let index = self.image.get(Path::new(run.name)).cloned().flatten();
                let is_there = index.is_some_and(|index| *index == run.index);
                assert!(is_there, "{}: the index {} is lost", self.what, run.name);
                if !self.is_harmed {
                    promises.extend(Promise::of(run.step));
                }
            } else if place.path().join(run.name).exists() {
                // It may be refused, but not be taken for something else.
                let stream = Promise::of(run.step)
                    .unwrap_or_else(|| unreachable!())
                    .stream;
                if let Err(error) = place.restores(run.name, &stream) {
                    assert!(error.starts_with("exit code"), "{}: {error}", self.what);
                }
            }
        }
        for promise in &promises {
            promise.is_kept(&place, &self.what);
        }
        if !self.is_harmed {
            place.is_sound(&self.what);
        }
        if self.is_packed {
            place.containers_are_whole(&self.what);
            let run = place.run(Step::Pack);
            let (code, said) = (run.code, &run.stderr);
            assert_eq!(code, Some(0), "{}: the next pack: {said}", self.what);
            place.containers_are_whole(&self.what);
            for promise in &promises {
                promise.is_packed(&place, &self.what);
            }
        }
        let next = Step::Archive("next", next);
        let run = place.run(next);
        assert_eq!(
            run.code,
            Some(0),
            "{}: the next run: {}",
            self.what,
            run.stderr
        );
        promises.extend(Promise::of(next));
        if self.is_harmed {
            place.is_clean(&self.what);
        } else {
            // It ends gcs that were cut off, too.
            let run = place.ask(&["gc", "--threshold", "100"]);
            assert_eq!(
                run.code,
                Some(0),
                "{}: the next gc: {}",
                self.what,
                run.stderr
            );
            place.has_no_runs(&self.what);
        }
        let context = format!("{}, after the next run and gc", self.what);
        for promise in &promises {
            promise.snapshot_is_kept(&place, &context);
        }
        promises
            .iter()
            .map(|promise| promise.stream.len())
            .collect()
    }
}

fn lay_out(image: &Image, root: &Path) {
    fs::remove_dir(root.join("home")).unwrap();
    for (path, bytes) in image {
        let path = root.join(path);
        match bytes {
            None if path == root.join("") => {}
            None => fs::create_dir(path).unwrap(),
            Some(bytes) => write(&path, bytes),
        }
    }
}

fn write(path: &Path, bytes: &Arc<Vec<u8>>) {
    fs::write(path, &**bytes).unwrap();
    // Keys must be their owner's alone.
    fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}
