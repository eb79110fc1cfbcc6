//! `dtar thaw`: bricks in cold storage are asked for.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::json;

use super::args::GlobalArgs;
use super::remote_args::{RemoteArgs, ThawArgs};
use super::say::Say;
use super::{remote, setup, size};
use dtar::error::{Error, Exit, Result};
use dtar::id::BrickName;
use dtar::remote::{Access, Bucket, ThawOptions, tier};
use dtar::store::away;
use dtar::store::layout::Layout;

pub fn run(args: &ThawArgs, global: &GlobalArgs, say: Say) -> Result<Exit> {
    let options = ThawOptions {
        tier: tier(&args.tier)?,
        days: args.days,
        jobs: args.remote.jobs.into(),
        dry_run: args.dry_run,
        wait: args.wait,
    };
    let layout = Layout::new(setup::store_path(global)?);
    let bucket = match &args.from {
        Some(url) => remote::open(url, &args.remote, say)?,
        None => pushed_to(&layout, &args.remote, say)?,
    };
    let monitor = remote::monitor(say)?;
    let start = Instant::now();
    let is_here = |name: &BrickName| layout.find_brick(name, &args.bricks).is_ok();
    let sight = remote::Sight {
        bucket: &bucket,
        jobs: options.jobs,
        monitor: &monitor,
        is_here: &is_here,
    };
    let needs = remote::needs(&args.index, &args.patterns, &sight, global, say)?;
    let bricks: Vec<BrickName> = needs
        .iter()
        .map(|need| need.brick)
        .filter(|name| !is_here(name))
        .collect();
    let here = needs.len() - bricks.len();
    let tell = |waiting: dtar::remote::Waiting<'_>| remote::tell_waiting(waiting, say);
    let summary = dtar::remote::thaw(&bucket, &bricks, &options, &tell, &monitor)?;
    remote::tell_missing(&summary.missing, say);
    let verb = if args.dry_run { "would ask" } else { "asked" };
    say.summary(
        &format!(
            "{verb} for {}, {}; asked for before: {}, can be read: {}, here: {here}",
            size::count(summary.asked, "brick"),
            size::show(summary.asked_bytes),
            summary.under_way,
            summary.readable,
        ),
        &json!({
            "type": "summary",
            "dry_run": args.dry_run,
            "asked": summary.asked,
            "asked_bytes": summary.asked_bytes,
            "under_way": summary.under_way,
            "readable": summary.readable,
            "here": here,
            "missing": summary.missing.len(),
            "seconds": start.elapsed().as_secs_f64(),
        }),
    );
    Ok(if summary.missing.is_empty() {
        Exit::Done
    } else {
        Exit::Damaged
    })
}

/// The bucket to which bricks of this store were pushed, of the server that is in use: a
/// list says where to ask, but not whom to trust.
fn pushed_to(layout: &Layout, args: &RemoteArgs, say: Say) -> Result<Bucket> {
    let access = Access {
        endpoint: args.endpoint.clone(),
        ..Access::default()
    };
    let endpoint = access.endpoint();
    let mut urls = BTreeSet::new();
    let warn = &mut |warning: String| say.warn(&warning);
    away::each(layout, warn, &mut |place, _, _| {
        if place.endpoint == endpoint && !urls.contains(&place.url) {
            urls.insert(place.url.clone());
        }
        Ok(())
    })?;
    let mut found = urls.iter();
    match (found.next(), found.next()) {
        (Some(url), None) => remote::open(url, args, say),
        (None, _) => Err(Error::Usage(
            "it is not known here where on this server bricks were pushed to: say it with --from \
             s3://…"
                .into(),
        )),
        _ => {
            let urls: Vec<_> = urls.into_iter().collect();
            Err(Error::Usage(format!(
                "bricks were pushed to several places: name one with --from: {}",
                urls.join(", ")
            )))
        }
    }
}
