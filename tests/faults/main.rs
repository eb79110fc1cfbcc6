//! Faults of the disk.

#[path = "../common/mod.rs"]
mod common;
mod inject;
mod place;
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
