//! Archiving: a stream in, bricks and an index out.
//!
//! ```text
//! read -> split + cut -> hash (pool) -> dedup + index -> compress (pool) -> assign -> seal (pool) -> write -> publish
//!                                             \-> snapshot (split + cut + hash the index) -> dedup -> likewise
//! ```
//!
//! Each stage runs on a thread of its own and hands its work on in the order
//! of the stream; the pool's jobs may finish in any order, but are waited for
//! in that of the stream. So the outcome does not depend on timing. All queues
//! are bounded, by their length or by the number of buffers that circulate.
#![expect(
    clippy::cast_possible_truncation,
    reason = "lengths are below limits that were checked, and addresses have 64 bits"
)]

mod body;
mod bricks;
mod dedup;
mod indexer;
mod monitor;
mod publish;
mod slab;
mod snapshot;
mod split;

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use crossbeam_channel::{Receiver, RecvTimeoutError};

pub use monitor::Monitor;

use crate::brick::{DEFAULT_LEVEL, Effort, Pad};
use crate::crypto::PutKeys;
use crate::error::{Error, Result};
use crate::store::Store;
use crate::store::catalog::{Catalog, Unentered};
use crate::store::layout::RunName;
use crate::store::runs::Lease;
use crate::threads;

/// What every stage needs of the store.
pub struct Context {
    /// The store.
    pub store: Store,
    /// The keys of its epoch.
    pub keys: PutKeys,
    /// The run's folder in it: taken before the catalog is opened
    /// (`formats/collection.md#archive`).
    pub lease: Lease,
}

/// How to archive.
#[derive(Debug, Clone)]
pub struct ArchiveOptions {
    /// How hard to compress.
    pub effort: Effort,
    /// A brick is closed before it grows beyond this many bytes.
    pub brick_size: u64,
    /// Rounds frames up, so that their length tells less.
    pub pad: Pad,
    /// A text for the root.
    pub label: String,
    /// Whether to put a copy of the index into the store.
    pub snapshot: bool,
    /// Threads that hash, compress and seal; 0: one a processor.
    pub threads: usize,
}

impl Default for ArchiveOptions {
    fn default() -> Self {
        Self {
            effort: Effort::from(DEFAULT_LEVEL),
            brick_size: 64 << 20,
            pad: Pad::None,
            label: String::new(),
            snapshot: true,
            threads: 0,
        }
    }
}

/// What an archive run did.
#[derive(Debug, Clone, Default)]
pub struct ArchiveSummary {
    /// Bytes of the stream.
    pub stream: u64,
    /// Members with a body.
    pub members: u64,
    /// Chunks of the stream, without zero runs.
    pub chunks: u64,
    /// Bytes in chunks that were not in the store before.
    pub new: u64,
    /// Bytes in chunks that were.
    pub deduplicated: u64,
    /// Bytes of zero runs, which are not stored.
    pub zeros: u64,
    /// Bytes of new bricks.
    pub stored: u64,
    /// Number of new bricks.
    pub bricks: u64,
    /// Length of the index.
    pub index: u64,
    /// What its snapshot added to the store: new metadata bricks and the snapshot file.
    /// `None`: there was to be none.
    pub snapshot: Option<u64>,
    /// What its root and its snapshot are named.
    pub run: Option<RunName>,
    /// Bytes that are not tar.
    pub opaque: u64,
    /// Where the first opaque bytes stand in the stream.
    pub first_opaque: Option<u64>,
    /// Whether the stream ended inside a member.
    pub truncated: bool,
    /// Whether it ended with zero blocks, as archives do.
    pub ended: bool,
    /// New bricks that the catalog could not take in, if any, and why: the store has them.
    pub unentered: Option<Unentered>,
}

/// Archives `input`, writing the index to `output`, which errors call `output_name`.
///
/// Returns once every brick, the root and the index are written. `input` is
/// read on a thread of its own, which is left behind if the run fails while it
/// waits for input. The run's folder is given up in any case.
///
/// # Errors
/// Whatever goes wrong; the index then has no trailer, and nothing that stood
/// in the store before is touched.
pub fn archive<W: Write>(
    input: impl Read + Send + 'static,
    output: W,
    output_name: &Path,
    context: Arc<Context>,
    catalog: Catalog,
    options: &ArchiveOptions,
    monitor: &Arc<Monitor>,
) -> Result<(W, ArchiveSummary)> {
    let pool = threads::pool(options.threads)?;
    let lease_of = Arc::clone(&context);
    let run = move || {
        let batches = split::start(input, &context, &pool, monitor)?;
        let indexer = indexer::Indexer::new(
            output,
            output_name,
            context,
            catalog,
            &pool,
            options,
            monitor,
        )?;
        indexer.run(&batches)
    };
    let lease = &lease_of.lease;
    let outcome = run().map_err(|error| lease.explain(error));
    // The index is whole, or the run has failed for another reason; whoever starts a run
    // removes what could not be removed here.
    let _ = lease.give_up();
    outcome
}

/// Waits for a job of the pool.
fn wait<T>(job: &Receiver<Result<T>>) -> Result<T> {
    job.recv()
        .unwrap_or_else(|_| Err(Error::Internal("a worker thread failed".into())))
}

/// Waits for the next of `queue`, but not longer than it takes somebody to ask for a stop.
fn next_of<T>(queue: &Receiver<T>, monitor: &Monitor) -> Result<Option<T>> {
    loop {
        monitor.check()?;
        match queue.recv_timeout(std::time::Duration::from_millis(100)) {
            Ok(value) => return Ok(Some(value)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
        }
    }
}
