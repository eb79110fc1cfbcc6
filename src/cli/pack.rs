//! `dtar pack` and `dtar unpack`: containers.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use serde_json::json;

use super::args::GlobalArgs;
use super::cold_args::{PackArgs, UnpackArgs};
use super::indexes::Indexes;
use super::progress::{Progress, speed};
use super::say::Say;
use super::{setup, size};
use dtar::archive::Monitor;
use dtar::container::{
    PackOptions, PackSummary, Packing, UnpackOptions, UnpackSummary, pack, unpack,
};
use dtar::error::{Error, Exit, Result};
use dtar::id::BrickName;
use dtar::snapshot;

pub fn run_pack(args: &PackArgs, global: &GlobalArgs, say: Say) -> Result<Exit> {
    let (store, key) = setup::open(global)?;
    let keys = store.put_keys(&key)?;
    let only = match &args.index {
        Some(path) => Some(bricks_of(path, global, say)?),
        None => None,
    };
    let since = match &args.since {
        Some(text) => Some(snapshot::select(&store, &keys, &setup::selector(text)?)?.name),
        None => None,
    };
    let options = PackOptions {
        to: args.to.clone(),
        bound: args.size,
        only,
        since,
        parity: args.parity,
        new_set: args.new_set,
        set: args.set.clone(),
        dry_run: args.dry_run,
        most: args.count,
    };
    let monitor = Arc::new(Monitor::default());
    setup::stop_on_signals(&monitor, say)?;
    let start = Instant::now();
    let progress = Progress::start(say, &monitor, "packed");
    let mut told = |step: &Packing<'_>| tell(step, args.dry_run, say);
    let summary = pack(&store, &keys, &options, &mut told, &monitor);
    drop(progress);
    let summary = summary?;
    close_pack(&summary, args.dry_run, start, say);
    Ok(summary.exit())
}

/// The bricks that an index needs, in the order of first use.
fn bricks_of(path: &Path, global: &GlobalArgs, say: Say) -> Result<Vec<BrickName>> {
    let mut indexes = Indexes::new(global, say, false, &[]);
    let (index, trailer) = indexes.open(path)?;
    let mut bricks = trailer.bricks(&index)?;
    let mut names = Vec::new();
    for number in 0..bricks.brick_count() {
        names.push(bricks.brick(number)?.name);
    }
    Ok(names)
}

fn tell(step: &Packing<'_>, dry_run: bool, say: Say) {
    match step {
        Packing::Done(packed) => {
            let path = packed.path.display().to_string();
            if say.is_json() {
                say.event(&json!({
                    "type": "container",
                    "path": path,
                    "bytes": packed.length,
                    "bricks": packed.bricks,
                    "found": packed.found,
                }));
                return;
            }
            let bricks = match packed.bricks {
                1 => "1 brick".to_owned(),
                many => format!("{many} bricks"),
            };
            let length = size::show(packed.length);
            say.note(&if packed.found {
                format!("{path}: {length}, {bricks}; it was whole already, and is entered now")
            } else if dry_run {
                format!("{path}: would have {bricks}, {length} at most")
            } else {
                format!("{path}: {length}, {bricks}")
            });
        }
        Packing::LeftOut(error) => say.error(error),
    }
}

fn close_pack(summary: &PackSummary, dry_run: bool, start: Instant, say: Say) {
    let mut text = format!(
        "set {}: {}{}{}, {}, {} bricks",
        summary.set.get(..8).unwrap_or_default(),
        if dry_run { "would get " } else { "" },
        summary.containers,
        if summary.containers == 1 {
            " container"
        } else {
            " containers"
        },
        size::show(summary.bytes),
        summary.bricks,
    );
    if summary.containers == 0 {
        text = format!(
            "set {}: all is packed",
            summary.set.get(..8).unwrap_or_default()
        );
    }
    if summary.resumed > 0 {
        text = format!("{text}; {} of them were there from before", summary.resumed);
    }
    if summary.left > 0 {
        text = format!("{text}; {} bricks are left for the next run", summary.left);
    }
    if summary.unneeded > 0 {
        text = format!(
            "{text}; {} bricks that no run needs were left out (`dtar gc` deletes them)",
            summary.unneeded
        );
    }
    if summary.runs_left > 0 {
        text = format!(
            "{text}; {} runs are not whole in the set yet",
            summary.runs_left
        );
    }
    let damaged: Vec<_> = summary
        .damaged
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    if !damaged.is_empty() {
        text = format!("{text}; LEFT OUT, damaged: {}", damaged.len());
    }
    if !summary.too_long.is_empty() {
        text = format!("{text}; LEFT OUT, too long: {}", summary.too_long.len());
    }
    if summary.missing > 0 {
        say.warn(&format!(
            "{} that runs need are neither in the store nor in the set: these runs can be restored \
             only with bricks from elsewhere, such as a bucket or another set",
            match summary.missing {
                1 => "1 brick".to_owned(),
                many => format!("{many} bricks"),
            }
        ));
    }
    let time = start.elapsed();
    say.summary(
        &text,
        &json!({
            "type": "summary",
            "set": summary.set,
            "containers": summary.containers,
            "bytes": summary.bytes,
            "bricks": summary.bricks,
            "resumed": summary.resumed,
            "left": summary.left,
            "unneeded": summary.unneeded,
            "runs_left": summary.runs_left,
            "damaged": damaged,
            "too_long": summary.too_long.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
            "missing": summary.missing,
            "dry_run": dry_run,
            "seconds": time.as_secs_f64(),
            "bytes_per_second": speed(summary.bytes, time),
        }),
    );
}

pub fn run_unpack(args: &UnpackArgs, say: Say) -> Result<Exit> {
    let options = UnpackOptions {
        to: args.to.clone(),
        hot: args.hot,
    };
    let monitor = Arc::new(Monitor::default());
    setup::stop_on_signals(&monitor, say)?;
    let mut total = 0;
    for path in &args.containers {
        if path != Path::new("-") {
            total += path.metadata().map_err(Error::io("open", path))?.len();
        }
    }
    monitor.total.store(total, Ordering::Relaxed);
    let start = Instant::now();
    let progress = Progress::start(say, &monitor, "read");
    let mut summary = UnpackSummary::default();
    let mut outcome = Ok(());
    for path in &args.containers {
        outcome = open(path)
            .and_then(|mut input| unpack(input.as_mut(), path, &options, &mut summary, &monitor));
        if outcome.is_err() {
            break;
        }
    }
    drop(progress);
    outcome?;
    for damage in &summary.damaged {
        say.error_text(damage);
    }
    let time = start.elapsed();
    say.summary(
        &format!(
            "{}: {} files, {}; {} were there{}",
            match summary.containers {
                1 => "1 container".to_owned(),
                many => format!("{many} containers"),
            },
            summary.files,
            size::show(summary.bytes),
            summary.there,
            match summary.damaged.len() {
                0 => String::new(),
                many => format!("; DAMAGED: {many}"),
            }
        ),
        &json!({
            "type": "summary",
            "containers": summary.containers,
            "files": summary.files,
            "bytes": summary.bytes,
            "there": summary.there,
            "damaged": summary.damaged,
            "seconds": time.as_secs_f64(),
            "bytes_per_second": speed(summary.bytes, time),
        }),
    );
    Ok(summary.exit())
}

/// A container, or standard input, from which a tape can be read.
fn open(path: &Path) -> Result<Box<dyn Read>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path).map_err(Error::io("open", path))?;
    Ok(Box::new(io::BufReader::with_capacity(1 << 20, file)))
}
