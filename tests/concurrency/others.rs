//! Gc and verify, all the while.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::common::sandbox::{Run, Watchdog};
use crate::common::source::Random;
use crate::common::stored::summary;
use crate::scene::Scene;

impl Scene {
    /// Gc, with all thresholds of rewriting; with `--end-runs` if `ends`.
    pub fn collect_all_the_while(&self, seed: u64, ends: bool) {
        let mut random = Random(seed);
        while self.goes_on() {
            let threshold = ["0", "50", "100"][usize::try_from(random.below(3)).unwrap()];
            let mut arguments = vec!["gc", "--json", "--threshold", threshold];
            if random.below(3) == 0 {
                arguments.extend(["--min-age", "1s"]);
            }
            if ends {
                arguments.push("--end-runs");
                thread::sleep(Duration::from_millis(400));
            }
            self.collect(&arguments);
            thread::sleep(Duration::from_millis(random.below(50)));
        }
    }

    fn collect(&self, arguments: &[&str]) {
        let run = ended(&mut self.command(100, arguments));
        let mut counts = self.counts();
        if run.code == Some(0) {
            let done = summary(&run);
            let count = |field: &str| done[field].as_u64().unwrap();
            counts.gcs += 1;
            counts.deleted += count("deleted");
            counts.rewritten += count("rewritten");
            counts.spared += count("spared");
            return;
        }
        let met = ["another gc", "ended by a gc"];
        let has_met = met.iter().any(|text| run.stderr.contains(text));
        assert!(
            self.ends_runs && has_met && run.code == Some(1),
            "gc: {run:?}"
        );
        counts.met += 1;
    }

    /// Parity over what has come, and rebuild, which finds nothing to do.
    pub fn mend_all_the_while(&self) {
        for way in [&["parity", "add"][..], &["rebuild"]].iter().cycle() {
            if !self.goes_on() {
                return;
            }
            let run = ended(&mut self.command(102, way));
            assert_eq!(run.code, Some(0), "{way:?}: {}", run.stderr);
            self.counts().mends += 1;
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Verify, which never finds a fault.
    pub fn verify_all_the_while(&self) {
        let ways: [&[&str]; 4] = [
            &["verify", "--json", "--all-here"],
            &["verify", "--json", "--key", "put-key"],
            &["verify", "--json", "--no-key"],
            &["verify", "--json", "--quick"],
        ];
        for way in ways.iter().cycle() {
            if !self.goes_on() {
                return;
            }
            let run = ended(&mut self.command(101, way));
            assert_eq!(run.code, Some(0), "{way:?}: {}", run.stderr);
            let summary = summary(&run);
            assert_eq!(
                (&summary["faults"], &summary["marked"]),
                (&0.into(), &0.into())
            );
            self.counts().verifies += 1;
            for reader in ["snapshots", "store"] {
                let run = ended(&mut self.command(101, &[reader]));
                assert_eq!(run.code, Some(0), "{reader}: {}", run.stderr);
            }
        }
    }
}

/// Runs a command to its end.
fn ended(command: &mut Command) -> Run {
    let child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _watchdog = Watchdog::new(&child);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!stderr.contains("panicked at"), "{stderr}");
    Run {
        code: output.status.code(),
        stdout: Vec::new(),
        stderr,
    }
}
