//! `dtar pull`: bricks come down.

use std::collections::HashSet;
use std::time::Instant;

use serde_json::json;

use super::args::GlobalArgs;
use super::progress::Progress;
use super::remote_args::PullArgs;
use super::say::Say;
use super::{remote, setup};
use dtar::error::{Exit, Result};
use dtar::id::{BrickName, Class};
use dtar::remote::{SyncOptions, Waiter, Wanted};
use dtar::store::layout::Layout;

pub fn run(args: &PullArgs, global: &GlobalArgs, say: Say) -> Result<Exit> {
    let bucket = remote::open(&args.url, &args.remote, say)?;
    let monitor = remote::monitor(say)?;
    let start = Instant::now();
    let jobs = args.remote.jobs.into();
    let progress = Progress::start(say, &monitor, "fetched");
    let layout = if let Some(dir) = &args.to {
        Layout::new(dir)
    } else {
        let layout = Layout::new(setup::store_path(global)?);
        let key = remote::key_at_hand(global)?;
        // Bricks without sidecars would be of no use to it.
        let options = SyncOptions {
            jobs,
            parity: args.all,
        };
        let summary = dtar::remote::sync(&layout, &bucket, key.as_ref(), &options, &monitor)?;
        remote::tell_download(&summary, say);
        layout
    };
    let wanted = if args.all {
        Wanted::All
    } else {
        let is_here = |name: &BrickName| layout.brick_path(name, Class::Data).is_file();
        let sight = remote::Sight {
            bucket: &bucket,
            jobs,
            monitor: &monitor,
            is_here: &is_here,
        };
        let (mut names, mut seen) = (Vec::new(), HashSet::new());
        for index in &args.indexes {
            let needs = remote::needs(index, &[], &sight, global, say)?;
            let new = needs.iter().map(|need| (need.brick, need.length));
            names.extend(new.filter(|(name, _)| seen.insert(*name)));
        }
        Wanted::Bricks(names)
    };
    let waiter = Waiter {
        waits: args.wait,
        tell: &|waiting| remote::tell_waiting(waiting, say),
    };
    let summary = dtar::remote::pull(&layout, &bucket, wanted, jobs, &waiter, &monitor);
    drop(progress);
    let summary = summary?;
    remote::tell_download(&summary, say);
    say.summary(
        &format!(
            "fetched {}; {} were here",
            remote::amount(summary.files, summary.bytes),
            summary.here
        ),
        &json!({
            "type": "summary",
            "files": summary.files,
            "bytes": summary.bytes,
            "here": summary.here,
            "refused": summary.refused.len(),
            "missing": summary.missing.len(),
            "cold": summary.cold.len(),
            "seconds": start.elapsed().as_secs_f64(),
        }),
    );
    Ok(summary.exit())
}
