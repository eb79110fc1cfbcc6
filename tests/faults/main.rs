//! Faults of the disk.

#[path = "../common/mod.rs"]
mod common;
mod disk;
mod inject;
mod place;
mod power;
mod scenario;
mod shim;

#[test]
fn commands_meet_every_fault() {
    if !shim::is_there() {
        return;
    }
    let only = std::env::var("DTAR_FAULTS_ONLY").unwrap_or_default();
    for series in inject::SERIES {
        for scenario in scenario::SCENARIOS {
            let name = format!("{}: {}", series.name, scenario.name);
            if !name.contains(&only) {
                continue;
            }
            let report = inject::inject(scenario, series, false, 1);
            println!(
                "{name}: calls {} {:?} compared {}",
                report.calls, report.tally, report.compared
            );
        }
    }
}

#[test]
fn power_may_fail_at_any_call() {
    if !shim::is_there() {
        return;
    }
    let only = std::env::var("DTAR_FAULTS_ONLY").unwrap_or_default();
    let stride = std::env::var("STRIDE").map_or(1, |s| s.parse().unwrap());
    let effort = power::Effort {
        seed: 1,
        coins: 2,
        stride,
    };
    for history in power::HISTORIES {
        if !history.name.contains(&only) {
            continue;
        }
        let r = power::cut(history, effort);
        println!(
            "{}: calls {} prefixes {} disks {} restored {} compared {}",
            history.name, r.calls, r.prefixes, r.disks, r.restored, r.compared
        );
    }
}

#[test]
fn power_may_fail_after_a_failed_run() {
    if !shim::is_there() {
        return;
    }
    let stride = std::env::var("STRIDE").map_or(1, |s| s.parse().unwrap());
    let effort = power::Effort {
        seed: 1,
        coins: 2,
        stride,
    };
    let only = std::env::var("DTAR_FAULTS_ONLY").unwrap_or_default();
    for again in power::AGAIN {
        if !again.name.contains(&only) {
            continue;
        }
        let r = power::cut_after_failure(again, effort);
        println!(
            "{} calls {} prefixes {} disks {} restored {} compared {}",
            again.name, r.calls, r.prefixes, r.disks, r.restored, r.compared
        );
    }
}
