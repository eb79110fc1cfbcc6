//! `dtar restore`: an index in, the stream out.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use super::args::{GlobalArgs, RestoreArgs};
#[cfg(feature = "s3")]
use super::fetch;
use super::indexes::Indexes;
use super::ls::put_text;
use super::progress::{Progress, speed};
use super::say::Say;
use super::wait::SayWaiting;
use super::{setup, size};
use dtar::archive::Monitor;
use dtar::container::Shelf;
use dtar::crypto::Key;
use dtar::error::{Error, Exit, Result};
use dtar::id::BrickName;
use dtar::index::IndexFile;
use dtar::restore::{
    self, Arrivals, Hit, Moved, Origin, RestoreOptions, RestoreSummary, Standing, Supply,
    find_needed,
};
use dtar::store::Store;
use dtar::store::layout::Layout;

pub fn run(args: &RestoreArgs, global: &GlobalArgs, say: Say) -> Result<Exit> {
    if io::stdout().is_terminal() {
        return Err(Error::Usage(
            "a tar stream is not for a terminal: try `dtar restore INDEX | tar x`".into(),
        ));
    }
    let monitor = Arc::new(Monitor::default());
    setup::stop_on_signals(&monitor, say)?;
    #[cfg(feature = "s3")]
    if let Some(url) = fetch::url_of(global) {
        let (mirror, global) = fetch::Mirror::open(url, args, global, &monitor, say)?;
        return restore(args, &global, Some(mirror), &monitor, say);
    }
    restore(args, global, None, &monitor, say)
}

#[cfg(feature = "s3")]
type Mirror = fetch::Mirror;
/// There is none.
#[cfg(not(feature = "s3"))]
type Mirror = std::convert::Infallible;

fn restore(
    args: &RestoreArgs,
    global: &GlobalArgs,
    mirror: Option<Mirror>,
    monitor: &Arc<Monitor>,
    say: Say,
) -> Result<Exit> {
    let mut indexes = Indexes::new(global, say, args.unauthenticated, &args.bricks);
    let index = indexes.find(&args.index)?;
    let key = indexes.key()?;
    setup::require_secret(global, key)?;
    let shelf = containers(&args.bricks, say)?;
    let (supply, moved) = supply(args, global, mirror, &index, (key, &shelf), monitor, say)?;
    let options = RestoreOptions {
        bricks_in: folders(&args.bricks),
        containers: shelf,
        supply,
        moved,
        patterns: args.patterns.clone(),
        unauthenticated: args.unauthenticated,
        // Without one it takes longer to find what is not where the index says.
        catalog: setup::catalog_dir(global).ok(),
        ..RestoreOptions::default()
    };
    let start = Instant::now();
    let progress = Progress::start(say, monitor, "restored");
    let mut report = |hit: Hit| report_hit(&hit, say);
    let on_hit: Option<&mut dyn FnMut(Hit)> = if args.keep_going {
        Some(&mut report)
    } else {
        None
    };
    let output = setup::output()?;
    let summary = if args.incomplete && index.trailer().is_err() {
        say.warn(
            "restoring without a trailer: only chunks are verified, not names, modes or order",
        );
        let store = Store::open(&setup::store_path(global)?, key)?;
        let keys = store.put_keys(key)?;
        let catalog = setup::catalog(global, say, &store, &keys)?;
        restore::restore_incomplete(
            &index, &store, key, catalog, output, &options, on_hit, monitor,
        )
    } else {
        origin(args, global, &index, key, say).and_then(|origin| {
            restore::restore(&index, &origin, key, output, &options, on_hit, monitor)
        })
    };
    drop(progress);
    let summary = summary.map_err(|error| advise(error, &index))?;
    tell(&summary, start.elapsed(), say);
    Ok(restore::exit(&summary))
}

/// The folders among the places of bricks; the others are containers.
fn folders(places: &[PathBuf]) -> Vec<PathBuf> {
    let folders = places.iter().filter(|path| !path.is_file());
    folders.cloned().collect()
}

/// The containers in the places of bricks.
fn containers(places: &[PathBuf], say: Say) -> Result<Arc<Shelf>> {
    let shelf = Shelf::open(places)?;
    for error in shelf.unreadable() {
        say.warn(&format!("{error}; this container is left out"));
    }
    Ok(Arc::new(shelf))
}

/// Who brings bricks that are not here, if anybody does, and which frames are elsewhere
/// than the index says.
type Supplied = (Option<Arc<dyn Supply>>, Arc<Moved>);

fn supply(
    args: &RestoreArgs,
    global: &GlobalArgs,
    mirror: Option<Mirror>,
    index: &IndexFile,
    (key, shelf): (&Key, &Arc<Shelf>),
    monitor: &Arc<Monitor>,
    say: Say,
) -> Result<Supplied> {
    #[cfg(feature = "s3")]
    if let Some(mirror) = mirror {
        let (spool, moved) = mirror.supply(index, args, (key, shelf), monitor, say)?;
        return Ok((Some(Arc::new(spool)), moved));
    }
    #[cfg(not(feature = "s3"))]
    let _ = mirror;
    if !args.wait {
        return Ok(Default::default());
    }
    let layout = Layout::new(setup::store_path(global)?);
    let (bricks_in, monitor) = (args.bricks.clone(), Arc::clone(monitor));
    let moved = if args.incomplete && index.trailer().is_err() {
        Arc::default()
    } else {
        expected(args, &layout, index, key, shelf, say)?
    };
    let arrivals = Arrivals::new(layout, bricks_in, monitor, SayWaiting(say));
    Ok((Some(Arc::new(arrivals)), moved))
}

/// Which frames to wait for in other bricks than the index says: gc has moved them.
fn expected(
    args: &RestoreArgs,
    layout: &Layout,
    index: &IndexFile,
    key: &Key,
    shelf: &Arc<Shelf>,
    say: Say,
) -> Result<Arc<Moved>> {
    let origin = Origin::without_store(layout.path());
    let trailer = restore::open_unauthenticated(index, &origin, key)?;
    let stand = |name: &BrickName| {
        let is_here =
            layout.find_brick(name, &args.bricks).is_ok() || shelf.copies(name).next().is_some();
        Ok(match is_here {
            true => Standing::Here,
            false if layout.sidecar_stands(name)? => Standing::Somewhere,
            false => Standing::Nowhere,
        })
    };
    let tocs = setup::tocs(&trailer, key, layout, &args.bricks, shelf)?;
    let stand_all = &mut |names: &[BrickName]| names.iter().map(stand).collect();
    let needs = find_needed(index, &trailer, &args.patterns, tocs.as_ref(), stand_all)?;
    if Store::stands_in(layout.path())? {
        let mut nowhere = Vec::new();
        for need in &needs.bricks {
            if stand(&need.brick)? == Standing::Nowhere {
                nowhere.push(need.brick);
            }
        }
        if let Some(first) = nowhere.first() {
            say.warn(&format!(
                "{} not in the store any more, and no table of contents there says where a gc has \
                 put what is needed of it; waiting all the same, first for {first}.brick",
                size::count(nowhere.len() as u64, "needed brick"),
            ));
        }
    }
    Ok(needs.moved)
}

/// Where to restore from. Says what is not there, and what cannot be checked.
fn origin(
    args: &RestoreArgs,
    global: &GlobalArgs,
    index: &IndexFile,
    key: &Key,
    say: Say,
) -> Result<Origin> {
    let trailer = index.trailer()?;
    let path = setup::store_path(global)?;
    let stands = Store::stands_in(&path)?;
    if !stands && args.bricks.is_empty() {
        return Err(Error::Refused {
            path,
            message: "not a dtar store: no store.toml in it; name the store with --store DIR or \
                      DTAR_STORE, or, if there are only bricks, the folder that they are in \
                      with --bricks DIR"
                .into(),
            exit: Exit::Failed,
        });
    }
    let authentic = restore::is_sealed_with(&trailer, key);
    if !authentic && !args.unauthenticated {
        return Err(setup::not_the_own_key(index, &trailer, key));
    }
    if !authentic {
        say.warn(&format!(
            "restoring without authentication: {} is the store's own key, {} is not, and cannot \
             check the index{}. Chunks are verified, but names, modes, order and which chunks \
             make up a file are whatever the index says: use only an index and bricks that \
             nobody else could alter",
            trailer.summary.key_id,
            key.key_id(),
            if stands { " or store.toml" } else { "" },
        ));
    }
    match (stands, authentic) {
        (false, _) => {
            say.note(&format!(
                "{}: no store here; bricks are looked for where --bricks says",
                path.display()
            ));
            Ok(Origin::without_store(&path))
        }
        (true, true) => Ok(Origin::from(&Store::open(&path, key)?)),
        (true, false) => {
            setup::refuse_disowned(index, &trailer, &path, key)?;
            Origin::unverified(&path)
        }
    }
}

/// Says what to do where the store in use is not that of the index: the one in the
/// default place, perhaps, while the right one is gone.
fn advise(error: Error, index: &IndexFile) -> Error {
    let (path, problem) = match error {
        Error::OtherStore { ref path, .. } if path == index.path() => (path, error.to_string()),
        Error::WrongKey { ref path, .. } if path.ends_with("store.toml") => {
            (path, error.to_string())
        }
        other => return other,
    };
    let problem = problem.trim_start_matches(&format!("{}: ", path.display()));
    Error::Refused {
        path: path.clone(),
        message: format!(
            "{problem}; or name the store of the index with --store DIR; if only its bricks are \
             left, name them with --bricks DIR, and with --store a folder that is no store"
        ),
        exit: error.exit(),
    }
}

fn report_hit(hit: &Hit, say: Say) {
    let end = hit.start.saturating_add(hit.length);
    let member = String::from_utf8_lossy(&hit.member);
    if say.is_json() {
        let mut event = json!({
            "type": "damage",
            "start": hit.start,
            "end": end,
            "reason": hit.reason,
        });
        put_text(&mut event, "member", &hit.member);
        say.event(&event);
        return;
    }
    let place = if hit.member.is_empty() {
        "the stream (outside of members)"
    } else {
        &member
    };
    say.error_text(&format!(
        "{place}: bytes {} to {end} are zeros now: {}",
        hit.start, hit.reason
    ));
}

fn tell(summary: &RestoreSummary, time: std::time::Duration, say: Say) {
    for pattern in &summary.unmatched {
        say.error_text(&format!(
            "{pattern}: no member of the index has such a name"
        ));
    }
    for (name, target) in &summary.dangling {
        say.warn(&format!(
            "{}: a hard link to {}, which is not selected; it cannot be extracted alone",
            String::from_utf8_lossy(name),
            String::from_utf8_lossy(target)
        ));
    }
    for reason in &summary.mended {
        say.warn(&format!(
            "{reason}. The chunk lists there were read from their copies: these are not lost"
        ));
    }
    for name in &summary.cut_short {
        let name = String::from_utf8_lossy(name);
        say.error_text(&format!(
            "{name}: left out, because the archived stream ends within it"
        ));
    }
    if let Some(why) = &summary.stopped_at {
        say.error_text(&format!("stopped: {why}"));
    }
    let speed = speed(summary.stream, time);
    let damage = match summary.hits {
        0 => String::new(),
        1 => ", 1 chunk replaced by zeros".into(),
        hits => format!(", {hits} chunks replaced by zeros"),
    };
    let text = format!(
        "restored {}, {} members{damage}, {}/s",
        size::show(summary.stream),
        summary.members,
        size::show(speed),
    );
    say.summary(
        &text,
        &json!({
            "type": "summary",
            "restored": summary.stream,
            "members": summary.members,
            "replaced_chunks": summary.hits,
            "seconds": time.as_secs_f64(),
            "bytes_per_second": speed,
        }),
    );
}
