//! Commands, what is done before them, and what is promised then.

use crate::place::{Place, Step, stream};

/// A command, and what was done before it.
pub struct Scenario {
    pub name: &'static str,
    pub before: &'static [Step],
    pub step: Step,
    /// The exit code of the command.
    pub code: i32,
    /// The run that was damaged before, and whether the command mends that.
    pub harmed: Option<(&'static str, bool)>,
}

const A: Step = Step::Archive("a", &[1, 2]);
const B: Step = Step::Archive("b", &[2, 3]);
/// Has nothing in common with the others.
const C: Step = Step::Archive("c", &[4]);

impl Scenario {
    const fn new(name: &'static str, before: &'static [Step], step: Step) -> Self {
        Self {
            name,
            before,
            step,
            code: 0,
            harmed: None,
        }
    }

    const fn of_harm(self, code: i32, run: &'static str, mends: bool) -> Self {
        Self {
            code,
            harmed: Some((run, mends)),
            ..self
        }
    }
}

/// The commands that write, each in a small store.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("first archive", &[], A),
    Scenario::new("second archive", &[A], B),
    Scenario::new(
        "archive --no-snapshot",
        &[A],
        Step::ArchiveBare("b", &[2, 3]),
    ),
    Scenario::new("archive --index", &[A], Step::ArchiveTo("b", &[2, 3])),
    Scenario::new("init", &[], Step::Command(&["init"])),
    Scenario::new("key new", &[], Step::Command(&["key", "new"])),
    Scenario::new("restore", &[A], Step::Restore("a", &[1, 2])),
    Scenario::new("forget", &[A, B], Step::Forget("a")),
    Scenario::new(
        "gc",
        &[A, B, C, Step::Forget("a"), Step::Forget("c")],
        Step::Command(&["gc", "--threshold", "0"]),
    ),
    Scenario::new(
        "gc with rewriting",
        &[
            Step::Archive("a", &[101, 102]),
            Step::Archive("b", &[102]),
            Step::Forget("a"),
        ],
        Step::Command(&["gc", "--threshold", "100"]),
    ),
    Scenario::new(
        "gc under parity",
        &[
            A,
            B,
            C,
            Step::Command(&["parity", "add"]),
            Step::Forget("c"),
        ],
        Step::Command(&["gc", "--threshold", "0"]),
    ),
    Scenario::new("parity add", &[A, C], Step::Command(&["parity", "add"])),
    Scenario::new(
        "parity repair",
        &[
            A,
            Step::Command(&["parity", "add", "--share", "100"]),
            C,
            Step::Lose,
        ],
        Step::Command(&["parity", "repair"]),
    )
    .of_harm(0, "a", true),
    Scenario::new(
        "rebuild",
        &[A, C, Step::LoseSidecar],
        Step::Command(&["rebuild"]),
    ),
    Scenario::new(
        "verify that marks",
        &[A, Step::Flip, C],
        Step::Command(&["verify"]),
    )
    .of_harm(3, "a", false),
    Scenario::new("salvage", &[A, C], Step::Salvage),
    Scenario::new("pack", &[A, Step::Pack, B], Step::Pack),
];

/// A finished run that has to restore.
pub struct Promise {
    /// Of its index.
    pub name: &'static str,
    pub stream: Vec<u8>,
    has_snapshot: bool,
}

/// What is promised after these steps.
pub fn promises<'a>(steps: impl IntoIterator<Item = &'a Step>) -> Vec<Promise> {
    let mut promises: Vec<Promise> = Vec::new();
    for &step in steps {
        promises.retain(|promise| Some(promise.name) != step.gives_up());
        promises.extend(Promise::of(step));
    }
    promises
}

impl Promise {
    /// What is promised once a step is done, if it is a run.
    pub fn of(step: Step) -> Option<Self> {
        let (name, files) = step.run()?;
        Some(Self {
            name,
            stream: stream(files),
            has_snapshot: !matches!(step, Step::ArchiveBare(..)),
        })
    }

    /// Panics, saying after what, unless the index restores.
    #[track_caller]
    pub fn is_kept(&self, place: &Place, after: &str) {
        self.restores(place, self.name, after);
    }

    /// The same of the snapshot, if there is one.
    #[track_caller]
    pub fn snapshot_is_kept(&self, place: &Place, after: &str) {
        if self.has_snapshot {
            self.restores(place, &format!("@label:{}", self.name), after);
        } else {
            self.is_kept(place, after);
        }
    }

    /// Panics, saying after what, unless containers and key are enough.
    #[track_caller]
    pub fn is_packed(&self, place: &Place, after: &str) {
        place.unpacked_restores(self.name, &self.stream, after);
    }

    #[track_caller]
    fn restores(&self, place: &Place, index: &str, after: &str) {
        if let Err(error) = place.restores(index, &self.stream) {
            panic!("{after}: {index} is lost: {error}");
        }
    }
}
