//! `dtar rebuild`: sidecars from bricks, the catalog from sidecars.

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use super::args::{GlobalArgs, RebuildArgs};
use super::progress::Progress;
use super::say::Say;
use super::{setup, size};
use dtar::archive::Monitor;
use dtar::error::{Exit, Result};
use dtar::verify::{RebuildOptions, RebuildSummary, Rebuilding, rebuild};

pub fn run(args: &RebuildArgs, global: &GlobalArgs, say: Say) -> Result<Exit> {
    let (store, key) = setup::open(global)?;
    let options = RebuildOptions {
        bricks_in: args.bricks.clone(),
        catalog: setup::catalog_dir(global)?,
        threads: 0,
    };
    let monitor = Arc::new(Monitor::default());
    setup::stop_on_signals(&monitor, say)?;
    let start = Instant::now();
    let progress = Progress::start(say, &monitor, "read");
    let outcome = rebuild(&store, &key, &options, &|step| tell(&step, say), &monitor);
    drop(progress);
    let summary = outcome?;
    if let Some(unentered) = &summary.catalog.unentered {
        setup::warn_unentered(global, say, unentered)?;
    }
    close(&summary, start.elapsed().as_secs_f64(), say);
    Ok(summary.exit())
}

fn tell(step: &Rebuilding, say: Say) {
    match step {
        Rebuilding::Sidecar(path) => {
            let path = path.display().to_string();
            if say.is_json() {
                say.event(&json!({ "type": "sidecar", "path": path }));
            } else {
                say.note(&format!("{path}: made"));
            }
        }
        Rebuilding::Salvaged {
            from,
            to,
            frames,
            lost,
        } => {
            let path = from.display().to_string();
            if say.is_json() {
                say.event(&json!({
                    "type": "salvaged",
                    "path": path,
                    "brick": to.to_string(),
                    "frames": frames,
                    "lost": lost,
                }));
            } else {
                say.note(&format!(
                    "{path}: damaged, and it has no sidecar; {frames} frames of it that stand \
                     nowhere else are in brick {to} now, {} are lost",
                    size::show(*lost)
                ));
            }
        }
        Rebuilding::Elsewhere { from, lost } => {
            let path = from.display().to_string();
            if say.is_json() {
                say.event(&json!({ "type": "elsewhere", "path": path, "lost": lost }));
            } else {
                say.note(&format!(
                    "{path}: damaged, and it has no sidecar; what is left of it stands in other \
                     bricks too, {} are lost",
                    size::show(*lost)
                ));
            }
        }
        Rebuilding::Fault(fault) => say.fault(fault),
    }
}

fn close(summary: &RebuildSummary, seconds: f64, say: Say) {
    let catalog = &summary.catalog;
    let faults = match summary.faults {
        0 => String::new(),
        faults => format!("; {faults} could not be mended"),
    };
    say.summary(
        &format!(
            "sidecars: {} sound, {} made; salvaged bricks: {}; catalog made anew with {} \
             bricks{faults}",
            summary.sound, summary.made, summary.salvaged, catalog.live
        ),
        &json!({
            "type": "summary",
            "sound": summary.sound,
            "made": summary.made,
            "salvaged": summary.salvaged,
            "catalog": catalog.live,
            "faults": summary.faults,
            "seconds": seconds,
        }),
    );
}
