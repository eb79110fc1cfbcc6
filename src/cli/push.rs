//! `dtar push`: what a bucket lacks goes up.

use std::time::{Duration, Instant};

use serde_json::json;

use super::args::GlobalArgs;
use super::progress::{Progress, speed};
use super::remote_args::PushArgs;
use super::say::Say;
use super::{remote, setup, size};
use dtar::error::{Error, Exit, Result};
use dtar::remote::{LEAST_PART, MOST_PART, PushOptions, PushSummary};
use dtar::store::layout::Layout;

pub fn run(args: &PushArgs, global: &GlobalArgs, say: Say) -> Result<Exit> {
    if !(LEAST_PART..=MOST_PART).contains(&args.part_size) {
        return Err(Error::Usage("--part-size: expected 5M to 5G".into()));
    }
    let layout = Layout::new(setup::store_path(global)?);
    let bucket = remote::open(&args.url, &args.remote, say)?;
    let options = PushOptions {
        storage_class: args
            .storage_class
            .as_ref()
            .map(|class| class.to_ascii_uppercase()),
        jobs: args.remote.jobs.into(),
        part_size: args.part_size,
        check: args.check,
        dry_run: args.dry_run,
        delete_local: args.delete_local,
    };
    let monitor = remote::monitor(say)?;
    let start = Instant::now();
    let progress = Progress::start(say, &monitor, "sent");
    let mut warn = |text: String| say.warn(&text);
    let summary = dtar::remote::push(&layout, &bucket, &options, &monitor, &mut warn);
    drop(progress);
    let summary = summary?;
    tell(&summary, args, start.elapsed(), say);
    Ok(summary.exit())
}

fn tell(summary: &PushSummary, args: &PushArgs, time: Duration, say: Say) {
    for (path, why) in &summary.damaged {
        say.error_text(&format!("{}: {why}", path.display()));
    }
    if summary.held_back {
        say.error_text(
            "no snapshots and roots were sent, and not all tables of contents, since others \
             would rely on what is damaged here: bring back another copy of it and push again, or \
             mark it with `dtar verify`, so that it is stored again, and push then",
        );
    }
    let lost = "was pushed, but the bucket does not have it any more, and it is not here";
    remote::tell_bricks(&summary.lost, lost, say);
    for (path, why) in &summary.kept {
        say.error_text(&format!("{}: kept: {why}", path.display()));
    }
    if let Some(name) = &summary.one_unknown
        && summary.unknown > 0
    {
        say.warn(&format!(
            "{} bricks such as {name} are not here, though their sidecars are, and {}",
            summary.unknown,
            if args.check {
                "the bucket does not have them: look on tapes and in other buckets"
            } else {
                "nothing says that they are in the bucket: `dtar push --check` looks there"
            }
        ));
    }
    let what = remote::amount(summary.files, summary.bytes);
    let mut text = if args.dry_run {
        format!("would send {what}")
    } else {
        format!("sent {what}")
    };
    if summary.taken_up > 0 {
        let taken_up = size::show(summary.taken_up);
        text = format!("{text} ({taken_up} of it were there from a push that was cut off)");
    }
    text = format!("{text}; {} files were there", summary.there);
    if args.delete_local {
        text = format!(
            "{text}; deleted {} here",
            remote::amount(summary.deleted, summary.deleted_bytes)
        );
    }
    say.summary(
        &text,
        &json!({
            "type": "summary",
            "dry_run": args.dry_run,
            "files": summary.files,
            "bytes": summary.bytes,
            "taken_up": summary.taken_up,
            "there": summary.there,
            "lost": summary.lost.len(),
            "unknown": summary.unknown,
            "damaged": summary.damaged.len(),
            "deleted": summary.deleted,
            "deleted_bytes": summary.deleted_bytes,
            "kept": summary.kept.len(),
            "seconds": time.as_secs_f64(),
            "bytes_per_second": speed(summary.bytes, time),
        }),
    );
}
