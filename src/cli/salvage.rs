//! `dtar salvage`: whatever bytes are left in, sound bricks out.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use super::args::{GlobalArgs, SalvageArgs};
use super::indexes::Indexes;
use super::ls::{escape, put_text};
use super::progress::{Progress, speed};
use super::say::Say;
use super::{setup, size};
use dtar::archive::Monitor;
use dtar::crypto::Key;
use dtar::error::{Error, Exit, Result};
use dtar::id::StoreId;
use dtar::index::{IndexFile, Trailer};
use dtar::restore::{Origin, open_index};
use dtar::salvage::{
    Chunks, Event, IndexReport, MemberReport, SalvageOptions, SalvageSummary, Salvaged, State,
    compare, salvage,
};

pub fn run(args: &SalvageArgs, global: &GlobalArgs, say: Say) -> Result<Exit> {
    let key = if args.no_key {
        None
    } else {
        Some(setup::key(global)?)
    };
    let indexes = open_indexes(args, global, say, key.as_ref())?;
    let options = SalvageOptions {
        inputs: args.inputs.clone(),
        to: args.to.clone(),
        dry_run: args.dry_run,
        store: store(args, &indexes)?,
        block_size: args.block_size,
        brick_size: args.brick_size,
        remember_chunks: !indexes.is_empty(),
    };
    if key.as_ref().is_none_or(Key::is_put_key) {
        say.warn(
            "without the secret key frames are taken by their headers alone: nothing is \
             verified, and only bricks that are whole become bricks",
        );
    }
    let monitor = Arc::new(Monitor::default());
    setup::stop_on_signals(&monitor, say)?;
    let start = Instant::now();
    let progress = Progress::start(say, &monitor, "scanned");
    let salvaged = salvage(&options, key.as_ref(), &monitor, &mut |event| {
        tell(event, say);
    });
    drop(progress);
    let Salvaged { summary, chunks } = salvaged?;
    let mut exit = Exit::Done;
    if let Some(mut chunks) = chunks {
        for (index, trailer) in &indexes {
            if report(index, trailer, &mut chunks, say)? > 0 {
                exit = Exit::Damaged;
            }
        }
    } else if summary.has_losses() {
        exit = Exit::Damaged;
    }
    summarise(&summary, args, start.elapsed(), say);
    Ok(exit)
}

/// The indexes to compare with. Their seals are verified before hours of reading.
fn open_indexes(
    args: &SalvageArgs,
    global: &GlobalArgs,
    say: Say,
    key: Option<&Key>,
) -> Result<Vec<(IndexFile, Trailer)>> {
    let mut indexes = Vec::new();
    let mut finder = Indexes::new(global, say, false, &[]);
    for path in &args.index {
        let Some(key) = key else { break };
        setup::require_secret(global, key)?;
        let index = finder.find(path)?;
        let origin = Origin::without_store(args.to.as_deref().unwrap_or(Path::new(".")));
        let (trailer, _) = open_index(&index, &origin, key)?;
        indexes.push((index, trailer));
    }
    Ok(indexes)
}

/// The store that is meant: as it is named, or that of the indexes.
fn store(args: &SalvageArgs, indexes: &[(IndexFile, Trailer)]) -> Result<Option<StoreId>> {
    let mut store = args.store_id;
    for (index, trailer) in indexes {
        let found = trailer.summary.store_id;
        let expected = *store.get_or_insert(found);
        if found != expected {
            return Err(Error::OtherStore {
                path: index.path().to_owned(),
                expected,
                found,
            });
        }
    }
    Ok(store)
}

fn tell(event: &Event<'_>, say: Say) {
    let at = |path: &Path, offset: u64| format!("{}: byte {offset}", path.display());
    match event {
        Event::BadBlock {
            path,
            offset,
            length,
            reason,
        } => say.error_text(&format!(
            "{}: {length} bytes cannot be read and are passed: {reason}",
            at(path, *offset)
        )),
        Event::Unreadable { reason } => say.error_text(reason),
        Event::Lost {
            path,
            offset,
            reason,
        } => say.warn(&format!("{}: lost: {reason}", at(path, *offset))),
        Event::Blocked { path } => say.error_text(&format!(
            "{}: damaged, and in the way of what was found; what a brick of this name holds is \
             put into other bricks; remove this file and run again to keep all as it was",
            path.display()
        )),
        Event::Brick { name, path, offset } => {
            say.event(&json!({
                "type": "brick",
                "name": name.to_string(),
                "path": path.display().to_string(),
                "offset": offset,
            }));
        }
    }
}

/// Says what is left of each member; returns how many are not whole.
fn report(index: &IndexFile, trailer: &Trailer, chunks: &mut Chunks, say: Say) -> Result<u64> {
    let mut out = BufWriter::new(io::stdout().lock());
    let path = index.path().display().to_string();
    let mut failed = None;
    let report = compare(index, trailer, chunks, &mut |member| {
        let line = if say.is_json() {
            json_line(&path, member)
        } else {
            line(member)
        };
        if failed.is_none() {
            failed = out.write_all(&line).err();
        }
    })?;
    let outcome = failed.map_or_else(|| out.flush(), Err);
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(Error::io("write to", "standard output")(error));
        }
        _ => {}
    }
    let IndexReport {
        whole,
        part,
        gone,
        lost,
    } = report;
    if say.is_json() {
        say.event(&json!({
            "type": "index", "index": path,
            "whole": whole, "part": part, "gone": gone, "lost": lost,
        }));
    } else {
        say.note(&format!(
            "{path}: {whole} whole, {part} part, {gone} gone, {} lost",
            size::show(lost)
        ));
    }
    Ok(part + gone)
}

fn line(member: &MemberReport) -> Vec<u8> {
    let mut line = format!("{:<5}  ", member.state.word()).into_bytes();
    if member.name.is_empty() {
        line.extend_from_slice(b"(outside of members)");
    } else {
        escape(&member.name, &mut line);
    }
    if member.state != State::Whole {
        let lost = format!("  ({} of {} bytes lost)", member.lost, member.size);
        line.extend_from_slice(lost.as_bytes());
    }
    line.push(b'\n');
    line
}

fn json_line(index: &str, member: &MemberReport) -> Vec<u8> {
    let mut value = json!({
        "index": index,
        "state": member.state.word(),
        "size": member.size,
        "lost": member.lost,
    });
    put_text(&mut value, "name", &member.name);
    format!("{value}\n").into_bytes()
}

fn summarise(summary: &SalvageSummary, args: &SalvageArgs, time: std::time::Duration, say: Say) {
    for store in &summary.other_stores {
        say.note(&format!(
            "there are frames of store {store} too: to get them, run again with \
             --store-id {store} and another folder"
        ));
    }
    if summary.is_mostly_of_others() {
        say.warn(&format!(
            "{} frames are of other stores, more than of the one that was kept{}",
            summary.other_store,
            summary
                .store
                .map_or(String::new(), |store| format!(", {store}")),
        ));
    }
    if summary.refused > 0 {
        say.warn(&format!(
            "{} frames were written by a newer dtar, and are not kept: run again with that",
            summary.refused
        ));
    }
    if summary.other_key > 0 {
        say.warn(&format!(
            "{} frames are not sealed to this key",
            summary.other_key
        ));
    }
    if summary.loose.number > 0 && !args.dry_run {
        say.note(
            "frames that need the store's own key are in DIR/frames: run again with that key and \
             the same DIR to make bricks of them",
        );
    }
    let found = summary.sound.number + summary.unverified.number;
    let text = format!(
        "read {}, found {found} frame{}{}, {}, {} damaged; {} whole brick{}, {} new{}; {}/s",
        size::show(summary.inputs.bytes),
        plural(found),
        if summary.unverified.number > 0 {
            " (not verified)"
        } else {
            ""
        },
        size::show(summary.sound.bytes + summary.unverified.bytes),
        summary.damaged,
        summary.whole_bricks.number,
        plural(summary.whole_bricks.number),
        summary.new_bricks.number,
        if args.dry_run { " (dry run)" } else { "" },
        size::show(speed(summary.inputs.bytes, time)),
    );
    say.summary(&text, &json_summary(summary, args, time));
}

fn plural(number: u64) -> &'static str {
    if number == 1 { "" } else { "s" }
}

fn json_summary(
    summary: &SalvageSummary,
    args: &SalvageArgs,
    time: std::time::Duration,
) -> serde_json::Value {
    json!({
        "type": "summary",
        "dry_run": args.dry_run,
        "store": summary.store.map(|store| store.to_string()),
        "inputs": summary.inputs.number,
        "read": summary.inputs.bytes,
        "bad_blocks": summary.bad_blocks.number,
        "bad_bytes": summary.bad_blocks.bytes,
        "unreadable": summary.unreadable,
        "sound": summary.sound.number,
        "sound_bytes": summary.sound.bytes,
        "unverified": summary.unverified.number,
        "unverified_bytes": summary.unverified.bytes,
        "again": summary.again.number,
        "damaged": summary.damaged,
        "refused": summary.refused,
        "other_key": summary.other_key,
        "other_store": summary.other_store,
        "whole_bricks": summary.whole_bricks.number,
        "new_bricks": summary.new_bricks.number,
        "new_brick_bytes": summary.new_bricks.bytes,
        "loose_files": summary.loose.number,
        "roots": summary.roots,
        "snapshots": summary.snapshots,
        "blocked": summary.blocked,
        "seconds": time.as_secs_f64(),
        "bytes_per_second": speed(summary.inputs.bytes, time),
    })
}
