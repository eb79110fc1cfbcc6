//! Restoring: an index in, the stream out.
//!
//! ```text
//! steps (index) -> walk (locate, fetch ahead) -> open frames (pool) -> emit in order, verified
//! ```
//!
//! The walk runs ahead of the output by a few batches, each of a bounded
//! number of bytes; frames stay open while batches that need them wait, and
//! beyond that up to a budget, the ones used last; of the others those chunks are
//! kept that the stream uses again.
#![expect(
    clippy::cast_possible_truncation,
    reason = "lengths are below limits that were checked, and addresses have 64 bits"
)]

mod ahead;
mod batch;
mod bricks;
mod elsewhere;
mod emit;
mod filter;
mod frames;
mod incomplete;
mod listing;
mod locate;
mod moved;
mod needed;
mod origin;
mod select;
mod slot;
mod steps;
mod supply;
mod survey;
mod tocs;
mod walk;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use rayon::ThreadPool;

pub use emit::Hit;
pub use listing::{Listed, Listing};
pub use moved::{Moved, Needs, Stand, Standing, find_needed};
pub use needed::{Need, needed};
pub use origin::Origin;
pub use select::Selection;
pub(crate) use select::normal;
pub use steps::{Segment, Steps};
pub use supply::{Arrivals, Supply, Tell};
pub use survey::{Judge, Lost, survey};
pub use tocs::Tocs;

use crate::archive::Monitor;
use crate::brick::FrameOpener;
use crate::container::Shelf;
use crate::crypto::{Key, PutKeys};
use crate::error::{Error, Exit, Result};
use crate::index::{HintReader, IndexFile, Trailer};
use crate::store::Store;
use crate::store::catalog::Catalog;
use crate::store::layout::Layout;
use crate::threads;
use crate::verify::Share;
use ahead::Ahead;
use batch::{Arriving, Batch, Batches, Permit};
use bricks::Bricks;
use elsewhere::Elsewhere;
use emit::Emitter;
use frames::FrameCache;
use incomplete::Found;
use locate::Locator;
use walk::{Walked, Walker};

/// Bytes of frames kept for another use.
const KEPT_FRAMES: u64 = 24 << 20;

/// How to restore.
#[derive(Debug, Clone, Default)]
pub struct RestoreOptions {
    /// Further places to look for bricks in.
    pub bricks_in: Vec<PathBuf>,
    /// Containers to read bricks from, in place.
    pub containers: Arc<Shelf>,
    /// Only members that match these; all if empty.
    pub patterns: Vec<String>,
    /// Take an index whose seal the key cannot check ([`open_unauthenticated`]).
    pub unauthenticated: bool,
    /// The folder of catalogs: to find what is not where an index says, should that happen.
    pub catalog: Option<PathBuf>,
    /// Threads that open frames; 0: one a processor.
    pub threads: usize,
    /// Read only these frames and those of chunk lists, and take zeros for the rest:
    /// for a look at a part of what an index needs, never for a restore.
    pub share: Option<Share>,
    /// Gets bricks, in place of a look at where they should be.
    pub supply: Option<Arc<dyn Supply>>,
    /// Frames that are not where the index says, as far as that is known.
    pub moved: Arc<Moved>,
}

/// What a restore run did.
#[derive(Debug, Clone, Default)]
pub struct RestoreSummary {
    /// Bytes emitted.
    pub stream: u64,
    /// Members emitted.
    pub members: u64,
    /// Places where bytes had to be replaced by zeros.
    pub hits: u64,
    /// Patterns that matched nothing.
    pub unmatched: Vec<String>,
    /// Selected members that were left out, because the stream cuts them short.
    pub cut_short: Vec<Vec<u8>>,
    /// Selected hard links whose targets are not selected: names and targets.
    pub dangling: Vec<(Vec<u8>, Vec<u8>)>,
    /// Bytes whose frames were left unread, by [`RestoreOptions::share`].
    pub unread: u64,
    /// Why chunk lists were read from their copies, each reason once. Nothing is lost by it.
    pub mended: Vec<String>,
    /// The reader went away after the end-of-archive blocks.
    pub closed_early: bool,
    /// Why an index without a trailer could not be restored further.
    pub stopped_at: Option<String>,
}

/// Opens an index and checks that it belongs to the store in use, where one is, and
/// its seal.
///
/// # Errors
/// Not an index, an incomplete, damaged, altered or foreign one, a wrong key.
pub fn open_index(index: &IndexFile, origin: &Origin, key: &Key) -> Result<(Trailer, PutKeys)> {
    let trailer = index.trailer()?;
    let summary = &trailer.summary;
    origin.require_own(index, summary.store_id)?;
    if summary.key_id != key.key_id() {
        return Err(Error::WrongKey {
            path: index.path().to_owned(),
            expected: vec![summary.key_id],
            found: key.key_id(),
        });
    }
    let keys = key.put_keys(summary.store_id, summary.epoch)?;
    trailer.verify(index, keys.index.hasher())?;
    Ok((trailer, keys))
}

/// Opens an index as [`open_index`], or without a look at its seal if `key` is not
/// the own key of the store that it names: what it says is then whatever somebody
/// wrote (`formats/threat-model.md#a-restore-with-an-escrow-key`).
///
/// # Errors
/// As [`open_index`], but for the wrong key.
pub fn open_unauthenticated(index: &IndexFile, origin: &Origin, key: &Key) -> Result<Trailer> {
    let trailer = index.trailer()?;
    if is_sealed_with(&trailer, key) {
        return Ok(open_index(index, origin, key)?.0);
    }
    origin.require_own(index, trailer.summary.store_id)?;
    Ok(trailer)
}

/// Whether an index says that `key` is its store's own, and so made its seal.
#[must_use]
pub fn is_sealed_with(trailer: &Trailer, key: &Key) -> bool {
    trailer.summary.key_id == key.key_id()
}

/// Restores the stream of `index` to `output`.
///
/// With `on_hit`, what is missing or damaged becomes zeros of the right
/// length, and each such place is reported; without, it ends the run.
///
/// # Errors
/// Whatever goes wrong. No byte is emitted that was not verified.
pub fn restore<W: Write>(
    index: &IndexFile,
    origin: &Origin,
    key: &Key,
    output: W,
    options: &RestoreOptions,
    on_hit: Option<&mut dyn FnMut(Hit)>,
    monitor: &Arc<Monitor>,
) -> Result<RestoreSummary> {
    let trailer = if options.unauthenticated {
        open_unauthenticated(index, origin, key)?
    } else {
        open_index(index, origin, key)?.0
    };
    let opener = Arc::new(key.opener(trailer.summary.store_id)?);
    let selection = Selection::new(&options.patterns)?;
    let whole = selection.is_none();
    if whole {
        let total = trailer.summary.stream_length;
        monitor
            .total
            .store(total, std::sync::atomic::Ordering::Relaxed);
    }
    let [bodies, ..] = trailer.hints(index)?;
    let bricks = bricks_of(origin.layout(), options);
    let mut elsewhere = None;
    if is_sealed_with(&trailer, key) {
        let keys = key.put_keys(trailer.summary.store_id, trailer.summary.epoch)?;
        let catalog = options.catalog.clone().zip(origin.store().cloned());
        let opener = Arc::clone(&opener);
        let all = Elsewhere::new(Arc::clone(&bricks), keys, opener, catalog);
        elsewhere = Some(Arc::new(all));
    }
    let (frames, pool) = frame_cache(bricks, opener, elsewhere.clone(), options, bodies)?;
    let locator = Locator::from_hints(index, &trailer, &options.moved)?;
    let (out, batches) = Batches::queue();
    let mut walker = Walker::new(trailer.members(index), locator, frames, selection, out);
    if let Some(share) = options.share {
        walker.read_only(share);
    } else if !is_sealed_with(&trailer, key) {
        walker.hash_bodies();
    }
    let mut steps = Steps::new(index, &trailer);
    if whole {
        // The emitter counts, and compares length and checksum at once.
        steps = steps.of_any_length();
    }
    let expected = (whole && options.share.is_none())
        .then_some((trailer.summary.stream_length, trailer.summary.stream_xxh3));
    let walk = move || -> Result<Walked> {
        while let Some(segment) = steps.next_segment()? {
            if walker.segment(&segment)?.is_err() {
                return Ok(walker.finish());
            }
        }
        walker.locator.end()?;
        Ok(walker.finish())
    };
    let summary = run(walk, batches, output, elsewhere, expected, on_hit, monitor)?;
    drop(pool);
    Ok(summary)
}

/// Restores what an index without a trailer still gives. Nothing but chunk
/// hashes is verified.
///
/// # Errors
/// As [`restore`].
#[expect(
    clippy::too_many_arguments,
    reason = "those of `restore`, and the catalog"
)]
pub fn restore_incomplete<W: Write>(
    index: &IndexFile,
    store: &Store,
    key: &Key,
    catalog: Catalog,
    output: W,
    options: &RestoreOptions,
    on_hit: Option<&mut dyn FnMut(Hit)>,
    monitor: &Arc<Monitor>,
) -> Result<RestoreSummary> {
    let opener = Arc::new(key.opener(*store.id())?);
    let keys = store.put_keys(key)?;
    let selection = Selection::new(&options.patterns)?;
    let (frames, pool) = frame_cache(
        bricks_of(store.layout(), options),
        opener,
        None,
        options,
        None,
    )?;
    let locator = Locator::Catalog {
        catalog: Box::new(catalog),
        key: keys.chunk_id,
    };
    let (out, batches) = Batches::queue();
    let members = index.region("index members", 0, index.length());
    let mut walker = Walker::new(members, locator, frames, selection, out);
    let mut steps = incomplete::Steps::new(index);
    let (stop, stopped): (Sender<String>, Receiver<String>) = bounded(1);
    let walk = move || -> Result<Walked> {
        loop {
            match steps.next()? {
                Found::Segment(segment) => {
                    if walker.segment(&segment)?.is_err() {
                        return Ok(walker.finish());
                    }
                }
                Found::End(why) => {
                    let _ = stop.send(why);
                    return Ok(walker.finish());
                }
            }
        }
    };
    let mut summary = run(walk, batches, output, None, None, on_hit, monitor)?;
    summary.stopped_at = stopped.try_recv().ok();
    drop(pool);
    Ok(summary)
}

fn bricks_of(layout: &Layout, options: &RestoreOptions) -> Arc<Bricks> {
    Arc::new(Bricks {
        layout: layout.clone(),
        dirs: options.bricks_in.clone(),
        shelf: Arc::clone(&options.containers),
    })
}

fn frame_cache(
    bricks: Arc<Bricks>,
    opener: Arc<FrameOpener>,
    elsewhere: Option<Arc<Elsewhere>>,
    options: &RestoreOptions,
    bodies: Option<HintReader>,
) -> Result<(FrameCache, Arc<ThreadPool>)> {
    let pool = threads::pool(options.threads)?;
    let frames = FrameCache::new(
        (bricks, options.supply.clone()),
        opener,
        elsewhere,
        Arc::clone(&pool),
        KEPT_FRAMES,
        Ahead::new(bodies.map(|mut hints| -> ahead::Source {
            Box::new(move || hints.next_run_of_chunks().ok())
        })),
    );
    Ok((frames, pool))
}

/// Runs the walk on a thread of its own and writes what comes from it.
fn run<W: Write>(
    walk: impl FnOnce() -> Result<Walked> + Send,
    arriving: Arriving,
    output: W,
    elsewhere: Option<Arc<Elsewhere>>,
    expected: Option<(u64, u128)>,
    on_hit: Option<&mut dyn FnMut(Hit)>,
    monitor: &Arc<Monitor>,
) -> Result<RestoreSummary> {
    thread::scope(|scope| {
        let walk = threads::start_in(scope, "walk", walk)?;
        let emitted = emit(&arriving.batches, output, elsewhere, on_hit, monitor);
        // Lets the walk end if it waits to send.
        drop(arriving);
        let walked = walk
            .join()
            .unwrap_or_else(|_| Err(Error::Internal("the walk through the index failed".into())));
        let (mut summary, checksum) = emitted?;
        let walked = walked?;
        summary.members = walked.members;
        summary.unmatched = walked.unmatched;
        summary.cut_short = walked.cut_short;
        summary.dangling = walked.dangling;
        summary.mended = walked.mended;
        summary.unread = walked.unread;
        if let Some((length, xxh3)) = expected
            && !summary.closed_early
            && summary.hits == 0
            && (summary.stream, checksum) != (length, xxh3)
        {
            return Err(Error::Damaged(format!(
                "what was restored ({} bytes) is not the stream that was archived ({length} \
                 bytes): their checksums differ, though every chunk was right; do not use what \
                 came out, and please report this",
                summary.stream
            )));
        }
        Ok(summary)
    })
}

fn emit<W: Write>(
    batches: &Receiver<(Batch, Option<Permit>)>,
    output: W,
    elsewhere: Option<Arc<Elsewhere>>,
    on_hit: Option<&mut dyn FnMut(Hit)>,
    monitor: &Arc<Monitor>,
) -> Result<(RestoreSummary, u128)> {
    let mut emitter = Emitter::new(output, Arc::clone(monitor), elsewhere, on_hit);
    let mut closed_early = false;
    for (batch, _permit) in batches {
        monitor.check()?;
        if !emitter.batch(&batch)? {
            closed_early = true;
            break;
        }
    }
    let (stream, checksum, hits, complete) = emitter.finish()?;
    let summary = RestoreSummary {
        stream,
        hits,
        closed_early: closed_early || !complete,
        ..RestoreSummary::default()
    };
    Ok((summary, checksum))
}

/// What a selected member that is cut short, or a hit, makes of the exit code.
#[must_use]
pub fn exit(summary: &RestoreSummary) -> Exit {
    if summary.hits > 0 || !summary.cut_short.is_empty() || summary.stopped_at.is_some() {
        Exit::Damaged
    } else if summary.unmatched.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    }
}
