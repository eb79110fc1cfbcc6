//! Threads and pools of threads, for archiving and restoring alike.

use std::path::Path;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result};

/// A pool of `threads` threads; 0: one a processor.
///
/// A job that panics ends alone: whoever waits for it must notice that it is
/// gone, by a sender or a guard that the job drops.
pub(crate) fn pool(threads: usize) -> Result<Arc<ThreadPool>> {
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|number| format!("dtar pool {number}"))
        .panic_handler(|_| {})
        .build()
        .map(Arc::new)
        .map_err(|error| refused(std::io::Error::other(error)))
}

/// Starts a thread, which the system may refuse.
pub(crate) fn start<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>> {
    named(name).spawn(work).map_err(refused)
}

/// The same within a scope.
pub(crate) fn start_in<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    named(name).spawn_scoped(scope, work).map_err(refused)
}

fn named(name: &str) -> Builder {
    Builder::new().name(format!("dtar {name}"))
}

fn refused(error: std::io::Error) -> Error {
    Error::io("start", Path::new("a thread"))(error)
}
