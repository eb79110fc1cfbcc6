//! `dtar sync`: what others have pushed, but for the data bricks.

use std::time::Instant;

use serde_json::json;

use super::args::GlobalArgs;
use super::progress::Progress;
use super::remote_args::SyncArgs;
use super::say::Say;
use super::{remote, setup};
use dtar::error::{Exit, Result};
use dtar::remote::SyncOptions;
use dtar::store::layout::Layout;

pub fn run(args: &SyncArgs, global: &GlobalArgs, say: Say) -> Result<Exit> {
    let layout = Layout::new(setup::store_path(global)?);
    let bucket = remote::open(&args.url, &args.remote, say)?;
    let key = remote::key_at_hand(global)?;
    let options = SyncOptions {
        jobs: args.remote.jobs.into(),
        parity: args.parity,
    };
    let monitor = remote::monitor(say)?;
    let start = Instant::now();
    let progress = Progress::start(say, &monitor, "fetched");
    let summary = dtar::remote::sync(&layout, &bucket, key.as_ref(), &options, &monitor);
    let listed = summary.and_then(|summary| {
        let warn = &mut |warning: String| say.warn(&warning);
        dtar::remote::list_bricks(&layout, &bucket, warn).map(|()| summary)
    });
    drop(progress);
    let summary = listed?;
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
            "seconds": start.elapsed().as_secs_f64(),
        }),
    );
    Ok(summary.exit())
}
