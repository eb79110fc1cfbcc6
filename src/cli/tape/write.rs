//! `dtar tape label` and `dtar tape write`.

use serde_json::{Value, json};

use super::args::{DriveArgs, WriteArgs};
use super::drive::{self, Kind, changer};
use super::{count, megabytes, now, show_pace};
use crate::cli::args::GlobalArgs;
use crate::cli::say::Say;
use crate::cli::size;
use dtar::archive::Monitor;
use dtar::error::{Exit, Result};
use dtar::format::tape::TapeName;
use dtar::tape::{
    self, Event, Folder, LabelOptions, Pace, Plan, Room, Wanted, WriteOptions, WriteSummary,
};

/// Bytes kept free for marks, and for blocks that a drive writes a second time.
const RAW_RESERVE: u64 = 64 << 20;
/// Bytes kept free for what a file system needs itself.
const MOUNTED_RESERVE: u64 = 16 << 20;

pub fn label(
    name: &TapeName,
    overwrite: bool,
    block: u32,
    args: &DriveArgs,
    monitor: &Monitor,
    say: Say,
) -> Result<Exit> {
    let (mut drive, kind) = drive::open(args)?;
    let options = LabelOptions {
        names: Vec::new(),
        block: block_of(kind, block),
        overwrite,
        time: now(),
    };
    let mut hands = changer(args, say);
    let labelled = tape::obtain(
        &mut *drive,
        &mut *hands,
        &Wanted::Any,
        true,
        |drive, found| tape::label_tape(drive, &found, name.clone(), &options, monitor),
    )?;
    let label = labelled.or_refuse(&*drive, &Wanted::Any)?;
    say.summary(
        &format!("this tape is {} now (id {})", label.name, label.id),
        &json!({ "type": "summary", "name": label.name.to_string(), "id": label.id.to_string() }),
    );
    Ok(Exit::Done)
}

const fn block_of(kind: Kind, block: u32) -> u32 {
    match kind {
        Kind::Mounted => 0,
        Kind::Raw => block,
    }
}

pub fn write(args: &WriteArgs, global: &GlobalArgs, monitor: &Monitor, say: Say) -> Result<Exit> {
    let (mut drive, kind) = drive::open(&args.drive)?;
    let mut containers = Folder::open(&args.from, args.set)?;
    if let Some(layout) = super::store(global)? {
        containers = containers.with_store(layout)?;
    }
    if args.delete {
        containers = containers.deleting();
    }
    let reserve = args.reserve.unwrap_or(match kind {
        Kind::Raw => RAW_RESERVE,
        Kind::Mounted => MOUNTED_RESERVE,
    });
    let options = WriteOptions {
        capacity: args.drive.capacity,
        reserve,
        memory: args.buffer,
        verify: !args.no_verify,
        label: LabelOptions {
            names: args.names.clone(),
            block: block_of(kind, args.block),
            overwrite: args.overwrite,
            time: now(),
        },
        keep_loaded: args.keep_loaded,
    };
    if args.dry_run {
        let (first, blank) = tape::look(&mut *drive, &containers, &options)?;
        let room = Room {
            block: options.label.block,
            reserve,
        };
        let plan = tape::plan(&mut containers, first, blank, room)?;
        tell_plan(&plan, say);
        return Ok(Exit::Done);
    }
    let mut hands = changer(&args.drive, say);
    let mut report = |event: Event<'_>| tell(&event, say);
    let summary = tape::write(
        &mut containers,
        &mut *drive,
        &mut *hands,
        &options,
        monitor,
        &mut report,
    )?;
    tell_summary(&summary, say);
    match summary.source_error {
        Some(error) => Err(error),
        None => Ok(Exit::Done),
    }
}

fn tell_plan(plan: &Plan, say: Say) {
    for (at, tape) in plan.tapes.iter().enumerate() {
        let name = tape.name.as_ref().map(ToString::to_string);
        let numbers: Vec<_> = tape.containers.iter().map(|(number, _)| *number).collect();
        let text = format!(
            "tape {}, {}: {}, {} of {} free",
            at + 1,
            name.as_deref().unwrap_or("a blank one"),
            containers_text(&numbers),
            size::show(tape.bytes),
            size::show(tape.free),
        );
        if say.is_json() {
            let containers = tape.containers.iter();
            let containers: Vec<_> = containers
                .map(|(number, length)| json!({ "container": number, "length": length }))
                .collect();
            say.event(&json!({
                "type": "tape",
                "name": name,
                "containers": containers,
                "bytes": tape.bytes,
                "free": tape.free,
            }));
        } else {
            say.note(&text);
        }
    }
    let bytes: u64 = plan.tapes.iter().map(|tape| tape.bytes).sum();
    let containers: usize = plan.tapes.iter().map(|tape| tape.containers.len()).sum();
    say.summary(
        &format!(
            "{} on {}, {}; besides, up to {} of catalog on each; nothing was written",
            count(containers, "container"),
            count(plan.tapes.len(), "tape"),
            size::show(bytes),
            size::show(plan.catalog),
        ),
        &json!({
            "type": "summary",
            "tapes": plan.tapes.len(),
            "containers": containers,
            "bytes": bytes,
            "catalog": plan.catalog,
        }),
    );
}

fn containers_text(numbers: &[u32]) -> String {
    match numbers {
        [] => "no container".into(),
        [one] => format!("container {one}"),
        [first, .., last] if numbers.iter().copied().eq(*first..=*last) => {
            format!("containers {first} to {last}")
        }
        _ => {
            let numbers: Vec<_> = numbers.iter().map(ToString::to_string).collect();
            format!("containers {}", numbers.join(", "))
        }
    }
}

fn tell(event: &Event<'_>, say: Say) {
    let (text, value) = match event {
        Event::Tape { label, new, free } => (
            if *new {
                format!(
                    "labelled the tape {0}, {1} free: write {0} on its sticker",
                    label.name,
                    size::show(*free)
                )
            } else {
                format!("going on with {}, {} free", label.name, size::show(*free))
            },
            json!({
                "type": "tape",
                "name": label.name.to_string(),
                "id": label.id.to_string(),
                "new": new,
                "free": free,
            }),
        ),
        Event::Container {
            number,
            length,
            file,
        } => (
            format!(
                "container {number}, {}, to tape file {file}",
                size::show(*length)
            ),
            json!({ "type": "container", "container": number, "length": length, "file": file }),
        ),
        Event::Written(number, pace) => (
            format!(
                "container {number}: {}, {}",
                show_pace(pace),
                count(
                    usize::try_from(pace.underruns).unwrap_or(usize::MAX),
                    "underrun"
                )
            ),
            with_pace(json!({ "type": "written", "container": number }), pace),
        ),
        Event::Adopted(number) => (
            format!(
                "container {number} is on this tape already, whole: an earlier run was cut off"
            ),
            json!({ "type": "adopted", "container": number }),
        ),
        Event::Void(number, why) => {
            say.warn(&format!(
                "container {number} is not on this tape: {why}; it will be written again"
            ));
            return;
        }
        Event::NoCatalog(why) => {
            say.warn(&format!(
                "no catalog on this tape: {why}; `dtar tape recover` finds what is on it"
            ));
            return;
        }
        Event::ReadingBack => ("reading back".into(), json!({ "type": "reading-back" })),
        Event::Done(tape) => (
            format!(
                "{}: {} on it, {}",
                tape.name,
                containers_text(&tape.containers),
                if tape.read.bytes > 0 {
                    "read back"
                } else {
                    "not read back"
                }
            ),
            json!({ "type": "done", "name": tape.name, "containers": tape.containers }),
        ),
    };
    if say.is_json() {
        say.event(&value);
    } else {
        say.note(&text);
    }
}

fn with_pace(mut value: Value, pace: &Pace) -> Value {
    value["bytes"] = json!(pace.bytes);
    value["seconds"] = json!(pace.time.as_secs_f64());
    value["megabytes_per_second"] = json!(megabytes(pace));
    value["underruns"] = json!(pace.underruns);
    value
}

fn tell_summary(summary: &WriteSummary, say: Say) {
    let (mut written, mut read) = (Pace::default(), Pace::default());
    let mut containers = 0;
    for tape in &summary.tapes {
        written.add(tape.written);
        read.add(tape.read);
        containers += tape.containers.len();
    }
    let used = summary
        .tapes
        .iter()
        .filter(|tape| !tape.containers.is_empty());
    let used: Vec<_> = used.map(|tape| tape.name.as_str()).collect();
    let mut text = format!(
        "{} on {}{}{}",
        count(containers, "container"),
        count(used.len(), "tape"),
        if used.is_empty() { "" } else { ": " },
        used.join(", "),
    );
    if written.bytes > 0 {
        let underruns = usize::try_from(written.underruns).unwrap_or(usize::MAX);
        text = format!(
            "{text}; wrote {}, {}",
            show_pace(&written),
            count(underruns, "buffer underrun")
        );
    }
    if read.bytes > 0 {
        text = format!("{text}; read back {}", show_pace(&read));
    }
    let value = with_pace(
        json!({
            "type": "summary",
            "tapes": used,
            "tapes_tried": summary.tapes.len(),
            "containers": containers,
            "read_back": { "bytes": read.bytes, "megabytes_per_second": megabytes(&read) },
        }),
        &written,
    );
    say.summary(&text, &value);
}
