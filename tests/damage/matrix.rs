//! Each way to damage each structure of each kind of file, against each command.
//!
//! What is asked of a command stands in `rules.rs`. Whatever it says: it does not panic;
//! it ends with 0, 1 or 3; what it restores is right, or the beginning of it with an error,
//! or, with `--keep-going`, right but for ranges that it names and that lie in the damaged
//! brick; what the damage does not hit restores to the byte; and once the damaged file is
//! brought back from a copy all runs restore, whatever gc, rebuild and others have done
//! meanwhile: damage never makes them delete what somebody needs.
//!
//! In CI a part of the cells, by a seed; all with `DTAR_MATRIX=1`, another part with
//! `DTAR_SEED=N`:
//!
//! ```text
//! DTAR_MATRIX=1 cargo test --test damage matrix -- --nocapture
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZero;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::common::block::Stream;
use crate::common::sandbox::Run;
use crate::common::source::Random;
use crate::faults::{Fault, Kind, Way};
use crate::made::text;
use crate::rules::{Command, Expected};
use crate::yard::{Archived, By, Yard};

/// What came of all cells.
#[derive(Default)]
struct Tally {
    faults: usize,
    cells: usize,
    detected: usize,
    /// Where nothing was said: how often, for which reason.
    harmless: BTreeMap<&'static str, usize>,
    restores: usize,
    /// Bytes that a restore with `--keep-going` replaced, in the damaged bricks and elsewhere.
    lost: usize,
    lost_beyond: usize,
    /// What was not as it should be.
    failures: Vec<String>,
}

struct Matrix<'a> {
    whole: &'a Yard,
    tally: &'a Mutex<Tally>,
}

/// One damaged store.
struct Cells<'a> {
    matrix: &'a Matrix<'a>,
    fault: &'a Fault,
    /// To be looked at alone.
    damaged: &'a Yard,
    case: &'a str,
}

impl Cells<'_> {
    /// Takes note of what must not be.
    fn require(&self, condition: bool, failure: impl FnOnce() -> String) {
        if !condition {
            let failure = format!("{}: {}", self.case, failure());
            self.matrix.tally.lock().unwrap().failures.push(failure);
        }
    }

    /// Judges what a command said.
    fn judge(&self, command: Command, run: &Run) {
        let Run { code, stderr, .. } = run;
        let says = |what: &str| format!("{command:?}: {what}, exit code {code:?}: {stderr}");
        self.require(matches!(code, Some(0 | 1 | 3)), || says("ends badly"));
        let succeeds = *code == Some(0);
        let named = self.fault.names().iter().any(|name| stderr.contains(name));
        let told = !succeeds || named && !self.names_by_the_way(command);
        let may_be = succeeds || named || self.is_nameless();
        self.require(may_be, || says("not named"));
        let expected = self
            .fault
            .expected(command, |label| self.matrix.whole.archived(label));
        {
            let mut tally = self.matrix.tally.lock().unwrap();
            tally.cells += 1;
            tally.detected += usize::from(told);
            if let (Expected::Passed(reason) | Expected::Either(reason), false) = (expected, told) {
                *tally.harmless.entry(reason).or_default() += 1;
            }
        }
        match expected {
            Expected::Found => self.require(told, || says("not found")),
            Expected::Passed(reason) => self.require(succeeds, || says(reason)),
            Expected::Either(_) => {}
        }
    }

    /// Whether a message may name the file without saying that anything is wrong.
    fn names_by_the_way(&self, command: Command) -> bool {
        let kind = self.fault.target.kind;
        matches!(
            (command, kind),
            (Command::Gc | Command::GcDryRun, Kind::Lease)
        )
    }

    /// Whether nobody can know the name of what is missing or wrong.
    fn is_nameless(&self) -> bool {
        matches!(
            (self.fault.target.kind, self.fault.way),
            // The message is that of the key, which is none or another. Another store's config
            // is sound, and what does not belong to that store is named, or both stores. Of
            // parity the set is named; what its files are called only the bricks can tell.
            (Kind::Key, _) | (Kind::Config, Way::Swap) | (Kind::Parity, Way::Delete | Way::Folder)
        )
    }

    /// Restores a run; the bytes are right, or the beginning of them with an error.
    fn restore(&self, yard: &Yard, label: &str, by: By) -> Run {
        let run = yard.restore(label, by, &[]);
        self.matrix.tally.lock().unwrap().restores += 1;
        self.is_right(&run, &yard.archived(label).stream, || {
            format!("{label} by {by:?}")
        });
        run
    }

    fn is_right(&self, run: &Run, stream: &[u8], what: impl Fn() -> String) {
        let right = if run.code == Some(0) || run.stdout.len() >= stream.len() {
            run.stdout == stream
        } else {
            stream.starts_with(&run.stdout)
        };
        self.require(right, || format!("{}: WRONG BYTES {}", what(), run.stderr));
    }

    /// What can be looked at without changing anything.
    fn look(&self) {
        let sandbox = &self.damaged.sandbox;
        let verify = ["verify", "--all-here", "--no-mark"];
        let put_key = text(&self.damaged.file(Path::new("put-key"))).to_owned();
        for (command, more) in [
            (Command::Verify, vec![]),
            (Command::VerifyWithPutKey, vec!["--key", &put_key]),
            (Command::VerifyWithoutKey, vec!["--no-key"]),
            (Command::VerifyQuick, vec!["--quick"]),
            (Command::VerifyIndex("b"), vec!["b.tar"]),
            (Command::VerifyIndex("h"), vec!["h.tar"]),
        ] {
            let run = sandbox.run(verify.iter().chain(&more));
            self.judge(command, &run);
        }
        for label in ["a", "b", "c", "h"] {
            for by in [By::Index, By::Snapshot] {
                let run = self.restore(self.damaged, label, by);
                self.judge(Command::Restore(label, by), &run);
            }
        }
        self.keep_going();
        let gc = sandbox.run(["gc", "--dry-run", "--threshold", "100"]);
        self.judge(Command::GcDryRun, &gc);
        self.judge(Command::ParityCheck, &sandbox.run(["parity", "check"]));
    }

    /// What cannot be had is zeros, in the damaged brick alone.
    fn keep_going(&self) {
        let run = self.damaged.restore("c", By::Index, &["--keep-going"]);
        self.judge(Command::KeepGoing, &run);
        let Archived { stream, bodies, .. } = self.damaged.archived("c");
        if run.stdout.is_empty() && run.code != Some(0) {
            return;
        }
        let bricks = &self.damaged.content.brick_of;
        let damaged = self.fault.bricks();
        let (mut lost, mut beyond) = (0, 0);
        for (at, _) in run
            .stdout
            .iter()
            .zip(stream)
            .enumerate()
            .filter(|(_, (a, b))| a != b)
        {
            let body = bodies.iter().find(|(_, body)| body.contains(&at));
            let brick = body.and_then(|(member, _)| bricks.iter().find(|(of, _)| of == member));
            let is_damaged = brick.is_some_and(|(_, name)| damaged.contains(name));
            lost += usize::from(is_damaged);
            beyond += usize::from(!is_damaged);
        }
        let length_is = run.stdout.len() == stream.len();
        self.require(length_is, || "keeping going gives another length".into());
        let told = (lost + beyond > 0) == (run.code == Some(3));
        self.require(told, || format!("keeping going says {}", run.stderr));
        let mut tally = self.matrix.tally.lock().unwrap();
        tally.lost += lost;
        tally.lost_beyond += beyond;
    }

    /// What changes the store, each on a copy of its own.
    fn change(&self) {
        for command in [
            Command::Gc,
            Command::Rebuild,
            Command::Archive,
            Command::ArchiveAnew,
            Command::ParityRepair,
        ] {
            let yard = self.damaged.copy();
            let is_sidecar = self.fault.target.kind == Kind::Sidecar;
            let run = match command {
                Command::Gc => yard.sandbox.run(["gc", "--threshold", "100"]),
                Command::Rebuild => yard.sandbox.run(["rebuild"]),
                Command::Archive => self.archive(&yard, false),
                // Only what it does with sidecars is another matter.
                Command::ArchiveAnew if !is_sidecar => continue,
                Command::ArchiveAnew => {
                    fs::remove_dir_all(yard.sandbox.catalog()).unwrap();
                    self.archive(&yard, false)
                }
                _ => yard.sandbox.run(["parity", "repair"]),
            };
            self.judge(command, &run);
            self.mended(&yard, command);
            // What was not hit is as good as before, and all is with the file brought back.
            for label in ["b", "h"] {
                self.restores_unless_hit(&yard, label, &[]);
            }
            self.whole_again(&yard, command);
        }
        let is_brick = !self.fault.bricks().is_empty();
        if is_brick && self.fault.way != Way::Delete {
            self.heal();
        }
    }

    /// Once the damage is known, what is archived next does not rely on it.
    fn heal(&self) {
        let yard = self.damaged.copy();
        yard.sandbox.run(["verify"]);
        let run = self.archive(&yard, true);
        let healed = run.code == Some(0);
        self.require(healed, || format!("verify and archive: {}", run.stderr));
        self.whole_again(&yard, Command::Archive);
    }

    /// Archives; what was archived restores, or is told to be damaged if the brick is that
    /// is relied upon and nobody knows. `marked`: it is known.
    fn archive(&self, yard: &Yard, marked: bool) -> Run {
        let stream = &yard.archived("c").stream;
        let more = Stream(stream[..stream.len() - 1024].to_vec());
        let stream = more.file("new", &Random(77).bytes(300)).end();
        let index = yard.file(Path::new("new.tar"));
        let run = yard.sandbox.archive_to([""; 0], &stream[..], &index);
        if run.code == Some(0) {
            let restored = yard.sandbox.run(["restore", text(&index)]);
            let what = || format!("what was archived, marked: {marked}");
            self.is_right(&restored, &stream, what);
            let hit = !marked && self.fault.hits(yard.archived("c"), By::Index);
            let fine = hit || restored.code == Some(0);
            self.require(fine, || format!("{}: {}", what(), restored.stderr));
        }
        run
    }

    fn restores_unless_hit(&self, yard: &Yard, label: &str, more: &[&str]) {
        let run = yard.restore(label, By::Index, more);
        self.is_right(&run, &yard.archived(label).stream, || label.into());
        let hit = self.fault.hits(yard.archived(label), By::Index);
        let fine = hit || run.code == Some(0);
        self.require(fine, || format!("{label} {more:?}: {}", run.stderr));
    }

    /// What was repaired is to the byte what it was.
    fn mended(&self, yard: &Yard, command: Command) {
        let fault = self.fault;
        let is_mended = match command {
            Command::Rebuild => fault.target.kind == Kind::Sidecar,
            Command::ParityRepair => {
                fault.target.kind == Kind::Parity || !fault.bricks().is_empty()
            }
            _ => false,
        };
        // What stands in the place of a file is for people to take away.
        if !is_mended || matches!(fault.way, Way::Folder | Way::Duplicate) {
            return;
        }
        let read = |yard: &Yard| fs::read(yard.file(&fault.target.file)).unwrap_or_default();
        let same = read(yard) == read(self.matrix.whole);
        self.require(same, || format!("{command:?} does not mend it"));
    }

    /// Brings the damaged file back from a copy: all runs restore.
    fn whole_again(&self, yard: &Yard, command: Command) {
        self.fault.undo(self.matrix.whole, yard);
        for (label, by) in [
            ("b", By::Index),
            ("c", By::Snapshot),
            ("h", By::Index),
            ("h", By::Snapshot),
        ] {
            let run = self.restore(yard, label, by);
            let what = || format!("{label} by {by:?} after {command:?}, and brought back");
            self.require(run.code == Some(0), || {
                format!("{}: {}", what(), run.stderr)
            });
        }
    }

    /// Salvages what is left into a store of its own.
    fn salvage(&self) {
        if !matches!(
            self.fault.target.kind,
            Kind::Brick | Kind::PartlyNeeded | Kind::Metadata
        ) {
            return;
        }
        let yard = self.damaged;
        let out = yard.file(Path::new("salvaged"));
        let store = yard.sandbox.store();
        let run = yard
            .sandbox
            .run(["salvage", text(&store), "--to", text(&out)]);
        self.judge(Command::Salvage, &run);
        let check = [
            "verify",
            "--no-key",
            "--store",
            "none",
            "--bricks",
            text(&out),
        ];
        let run = yard.sandbox.run(check);
        self.require(run.code == Some(0), || format!("salvaged: {}", run.stderr));
        fs::copy(store.join("store.toml"), out.join("store.toml")).unwrap();
        for label in ["b", "c", "h"] {
            self.restores_unless_hit(yard, label, &["--store", text(&out)]);
        }
        fs::remove_dir_all(out).unwrap();
    }
}

/// So many ways for each kind of file, where not all are tried.
const PART: usize = 3;

/// The faults that are tried: all, or a part of them that the seed decides.
fn chosen(faults: Vec<Fault>) -> (Vec<Fault>, String) {
    if std::env::var_os("DTAR_MATRIX").is_some() {
        return (faults, "all".into());
    }
    let seed = std::env::var("DTAR_SEED").map_or(4, |seed| seed.parse().unwrap());
    let mut random = Random(seed);
    let mut keyed: Vec<(u64, Fault)> = faults
        .into_iter()
        .map(|fault| (random.next(), fault))
        .collect();
    keyed.sort_by_key(|(key, _)| *key);
    // Of each kind some, in as many ways.
    let mut tried: BTreeMap<Kind, Vec<Way>> = BTreeMap::new();
    keyed.retain(|(_, fault)| {
        let ways = tried.entry(fault.target.kind).or_default();
        let new = ways.len() < PART && !ways.contains(&fault.way);
        if new {
            ways.push(fault.way);
        }
        new
    });
    let chosen = keyed.into_iter().map(|(_, fault)| fault).collect();
    (chosen, format!("a part, seed {seed}"))
}

#[test]
fn damage_is_found_and_named_and_costs_nothing_else() {
    let whole = Yard::new();
    whole
        .sandbox
        .run(["verify", "--all-here", "--no-mark"])
        .exits(0);
    whole.sandbox.run(["parity", "check"]).exits(0);
    let (faults, which) = chosen(Fault::all(&whole));
    let tally = Mutex::default();
    let matrix = Matrix {
        whole: &whole,
        tally: &tally,
    };
    let next = AtomicUsize::new(0);
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let damaged = whole.copy();
                    if !fault.inflict(&damaged) {
                        continue;
                    }
                    tally.lock().unwrap().faults += 1;
                    let cells = Cells {
                        matrix: &matrix,
                        fault,
                        damaged: &damaged,
                        case: &fault.text(),
                    };
                    cells.look();
                    cells.change();
                    cells.salvage();
                }
            });
        }
    });
    let tally = tally.into_inner().unwrap();
    for (reason, count) in &tally.harmless {
        println!("  harmless {count}: {reason}");
    }
    let harmless: usize = tally.harmless.values().sum();
    println!(
        "damage matrix ({which}): faults {}, cells {}, detected {}, harmless {harmless}, restores \
         compared {}, bytes lost in damaged bricks {}, bytes lost beyond the damage {}",
        tally.faults, tally.cells, tally.detected, tally.restores, tally.lost, tally.lost_beyond
    );
    for failure in &tally.failures {
        println!("FAILED {failure}");
    }
    assert_eq!((tally.failures.len(), tally.lost_beyond), (0, 0));
    assert!(tally.faults > 30, "{} faults", tally.faults);
}
