//! `dtar gc`: what nobody needs leaves the store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::args::{GcArgs, GlobalArgs};
use super::progress::Progress;
use super::say::Say;
use super::size::count;
use super::{setup, size};
use dtar::archive::Monitor;
use dtar::crypto::Key;
use dtar::error::{Exit, Result};
use dtar::gc::{GcEvent, GcOptions, GcSummary, Run, gc};
use dtar::id::BrickName;
use dtar::parity::KeptSet;
use dtar::snapshot;
use dtar::store::Store;
use dtar::store::catalog::OwnSidecars;

pub fn run(args: &GcArgs, global: &GlobalArgs, say: Say) -> Result<Exit> {
    let (store, key) = setup::open(global)?;
    let options = GcOptions {
        keep: kept(args, say, &store, &key)?,
        dry_run: args.dry_run,
        min_age: args.min_age,
        threshold: args.threshold,
        end_runs: args.end_runs.clone().unwrap_or_default(),
        last: setup::last_run(global, &store),
        own: setup::catalog_dir(global)
            .ok()
            .map(|dir| OwnSidecars::new(&dir, store.id())),
        allow_missing: args.allow_missing,
        ..GcOptions::default()
    };
    let monitor = Arc::new(Monitor::default());
    setup::stop_on_signals(&monitor, say)?;
    let start = Instant::now();
    let mut exit = Exit::Done;
    let progress = Progress::start(say, &monitor, "examined");
    let summary = gc(&store, &key, &options, &monitor, &mut |event| {
        if matches!(event, GcEvent::Missing(_) | GcEvent::SetBack(_)) {
            exit = Exit::Damaged;
        }
        report(&event, say);
    });
    drop(progress);
    tell(&summary?, args.dry_run, start.elapsed(), say);
    Ok(exit)
}

/// The indexes to keep that are files. A snapshot that is named must be there: what it needs
/// its root keeps.
fn kept(args: &GcArgs, say: Say, store: &Store, key: &Key) -> Result<Vec<PathBuf>> {
    let keys = store.put_keys(key)?;
    let mut files = Vec::new();
    for path in &args.keep {
        match setup::selector_of(path)? {
            Some(selector) => {
                let run = snapshot::select(store, &keys, &selector)?;
                let text = path.display();
                say.note(&format!("{text} is kept by its root, {}", run.name));
            }
            None => files.push(path.clone()),
        }
    }
    Ok(files)
}

fn report(event: &GcEvent, say: Say) {
    match event {
        GcEvent::Step(step) => say.note(&format!("{step}…")),
        GcEvent::Kept { brick, reason } => say.warn(&format!("brick {brick} is kept: {reason}")),
        GcEvent::UnsealedMarks(marks) => super::setup::warn_unsealed(say, marks),
        GcEvent::Waiting(run) => say.note(&format!(
            "waiting for {} to end, which began before; --end-runs={} does not wait",
            describe(run),
            run.name
        )),
        GcEvent::Ended(run) => say.note(&format!("ended {}", describe(run))),
        GcEvent::RootOfEnded(root) => super::setup::warn_root_of_ended(say, root),
        GcEvent::Missing(bricks) => say.error_text(&format!(
            "{} that roots or kept indexes need {} nowhere, {}: bring back bricks and sidecars",
            count(bricks.len() as u64, "brick"),
            if bricks.len() == 1 { "is" } else { "are" },
            names(bricks)
        )),
        GcEvent::SetBack(root) => say.error_text(&format!(
            "{} is gone, which the last run from here wrote",
            root.display()
        )),
        GcEvent::WaitingForParity => {
            say.note("waiting for a parity command to end, which makes or repairs sets");
        }
        GcEvent::KeptSet(set) => tell_kept(set, say),
        GcEvent::Cold(bricks) => say.note(&format!(
            "of {} that {} not here nothing is needed any more, and they may be deleted where \
             they lie: {}",
            count(bricks.len() as u64, "brick"),
            if bricks.len() == 1 {
                "does lie"
            } else {
                "do lie"
            },
            names(bricks)
        )),
    }
}

fn tell_kept(set: &KeptSet, say: Say) {
    let files: Vec<_> = set
        .files
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    say.warn(&format!(
        "{} that nobody needs must stay with parity set {}, which protects {} that cannot be \
         read here: {}. If they are lost or damaged, `dtar parity repair` brings them back; if \
         they were moved away, bring them back; or, to do without this set, delete {}",
        count(set.held.len() as u64, "brick"),
        set.id,
        count(set.bricks.len() as u64, "brick"),
        names(&set.bricks),
        files.join(", ")
    ));
}

fn names(bricks: &[BrickName]) -> String {
    let names: Vec<_> = bricks.iter().map(ToString::to_string).collect();
    names.join(", ")
}

fn describe(run: &Run) -> String {
    let Some(lease) = &run.lease else {
        return format!("a run whose lease does not open (runs/{})", run.name);
    };
    let label = String::from_utf8_lossy(&lease.text);
    format!(
        "a run on {}, process {}{}",
        String::from_utf8_lossy(&lease.host),
        lease.process,
        if label.is_empty() {
            String::new()
        } else {
            format!(", {label:?}")
        }
    )
}

fn tell(summary: &GcSummary, dry_run: bool, time: Duration, say: Say) {
    let GcSummary {
        roots,
        bricks,
        deleted,
        rewritten,
        moved,
        new_bytes,
        freed,
        spared,
        left_out,
        parity,
        ..
    } = *summary;
    let freed = size::show(freed.saturating_sub(new_bytes));
    let done = if dry_run {
        format!("would delete {deleted}, rewrite {rewritten}, and free {freed}")
    } else {
        let frames = count(moved, "frame");
        format!("deleted {deleted}, rewrote {rewritten} ({frames} moved), freed {freed}")
    };
    let mut text = format!(
        "{}, {}: {done}",
        count(roots, "root"),
        count(bricks, "brick")
    );
    for (number, what) in [
        (spared, "came to be needed meanwhile"),
        (parity.held, "kept for the sake of parity"),
        (left_out, "left out: young, or of a living run"),
    ] {
        if number > 0 {
            text = format!("{text}, {number} {what}");
        }
    }
    if parity.old_sets + parity.new_sets > 0 {
        let would = if dry_run { "would be " } else { "" };
        text = format!(
            "{text}; {} {would}replaced by {}: {} read, {} of parity made",
            count(parity.old_sets, "parity set"),
            parity.new_sets,
            size::show(parity.read),
            size::show(parity.bytes),
        );
    }
    say.summary(&text, &json_summary(summary, dry_run, time));
}

fn json_summary(summary: &GcSummary, dry_run: bool, time: Duration) -> Value {
    json!({
        "type": "summary",
        "dry_run": dry_run,
        "roots": summary.roots,
        "bricks": summary.bricks,
        "deleted": summary.deleted,
        "rewritten": summary.rewritten,
        "moved_frames": summary.moved,
        "new_bricks": summary.new_bricks,
        "new_bytes": summary.new_bytes,
        "freed": summary.freed,
        "spared": summary.spared,
        "left_out": summary.left_out,
        "missing": summary.missing,
        "cold": summary.cold,
        "parity": {
            "old_sets": summary.parity.old_sets,
            "new_sets": summary.parity.new_sets,
            "read": summary.parity.read,
            "bytes": summary.parity.bytes,
            "kept_sets": summary.parity.kept_sets,
            "held": summary.parity.held,
        },
        "seconds": time.as_secs_f64(),
    })
}
