//! Faults of the disk: calls that fail, disks that are full, power that fails.
//!
//! dtar runs under a shim (`shim.c`), which sees every system call that changes a file,
//! whoever makes it, and lets chosen ones fail. So each command that writes is run again
//! and again, each time with another call that fails, is done by half or interrupted; and
//! of whole histories of commands the calls are recorded, so that what a disk may hold
//! after a power failure can be laid out, for each moment (`disk.rs`), and be used.
//!
//! What is promised then: `formats/store.md#order-of-writes`.
//!
//! The short form, for CI, takes a part of the moments and of the ways to lose what was
//! not synced. `DTAR_FAULTS=long` takes all. `DTAR_FAULTS_SEED` draws other losses, and
//! `DTAR_FAULTS_ONLY` takes series, scenarios and histories whose name has that in it.

#[path = "../common/mod.rs"]
mod common;
mod disk;
mod inject;
mod place;
mod power;
mod room;
mod scenario;
mod shim;
mod sight;

use std::env;

use inject::{Outcome, SERIES, Tally};
use power::Effort;
use scenario::SCENARIOS;

fn is_long() -> bool {
    env::var_os("DTAR_FAULTS").is_some_and(|value| value == "long")
}

fn is_wanted(name: &str) -> bool {
    env::var("DTAR_FAULTS_ONLY").map_or(true, |part| name.contains(&part))
}

#[test]
fn a_call_that_fails_is_told_of_or_does_no_harm() {
    if !shim::is_there() {
        return;
    }
    let (mut all, mut compared) = (Tally::new(), 0);
    for series in SERIES {
        let (mut calls, mut tally) = (0, Tally::new());
        for scenario in SCENARIOS {
            if !is_wanted(&format!("{}: {}", series.name, scenario.name)) {
                continue;
            }
            let report = inject::inject(scenario, series, is_long());
            calls += report.calls;
            compared += report.compared;
            for (outcome, count) in report.tally {
                *tally.entry(outcome).or_default() += count;
                *all.entry(outcome).or_default() += count;
            }
        }
        println!("{}: {calls} calls seen, {}", series.name, told(&tally));
    }
    println!("{}; {compared} bytes compared, bytes lost 0", told(&all));
}

fn told(tally: &Tally) -> String {
    let count = |outcome| tally.get(&outcome).copied().unwrap_or_default();
    let (detected, survived) = (count(Outcome::Detected), count(Outcome::Survived));
    let injected = detected + survived;
    format!("faults injected {injected}, detected {detected}, survived {survived}")
}

/// Of so many disks the short form takes one.
fn effort(stride: usize) -> Effort {
    let seed = env::var("DTAR_FAULTS_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("seed {seed}");
    if is_long() {
        Effort {
            seed,
            coins: 4,
            stride: 1,
        }
    } else {
        Effort {
            seed,
            coins: 1,
            stride,
        }
    }
}

fn tell(name: &str, report: &power::Report) {
    println!(
        "{name}: {} calls recorded, power failures {}, disks checked {}, runs restored {}, \
         {} bytes compared, bytes lost 0",
        report.calls, report.prefixes, report.disks, report.restored, report.compared
    );
}

#[test]
fn power_may_fail_after_any_call() {
    if !shim::is_there() {
        return;
    }
    let effort = effort(5);
    for history in power::HISTORIES {
        if is_wanted(history.name) {
            tell(history.name, &power::cut(history, effort));
        }
    }
}

#[test]
fn power_may_fail_after_a_run_that_followed_a_failed_one() {
    if !shim::is_there() {
        return;
    }
    let effort = effort(5);
    for again in power::AGAIN {
        if is_wanted(again.name) {
            tell(again.name, &power::cut_after_failure(again, effort));
        }
    }
}
