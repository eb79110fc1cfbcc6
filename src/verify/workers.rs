//! Threads that take one job after another.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::error::{Error, Result};
use crate::threads;

/// Calls `work` for each of `jobs`, in order but at the same time, on `threads` threads
/// (0: one a processor), each with a scratch of its own.
///
/// # Errors
/// The first of `work`, which ends the others once they are done with their jobs.
pub(super) fn for_each<J: Sync, S: Default>(
    threads: usize,
    jobs: &[J],
    work: impl Fn(&J, &mut S) -> Result<()> + Sync,
) -> Result<()> {
    let threads = match threads {
        0 => thread::available_parallelism().map_or(1, NonZero::get),
        threads => threads,
    };
    let next = AtomicUsize::new(0);
    let run = || -> Result<()> {
        let mut scratch = S::default();
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = work(job, &mut scratch) {
                next.store(jobs.len(), Ordering::Relaxed);
                return Err(error);
            }
        }
        Ok(())
    };
    let run = &run;
    thread::scope(|scope| {
        let mut workers = Vec::new();
        for _ in 0..threads.min(jobs.len()) {
            workers.push(threads::start_in(scope, "verify", run)?);
        }
        let mut outcome = Ok(());
        for worker in workers {
            let done = worker
                .join()
                .unwrap_or_else(|_| Err(Error::Internal("a check has failed".into())));
            outcome = outcome.and(done);
        }
        outcome
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn each_job_is_done_once() {
        let jobs: Vec<u64> = (0..1000).collect();
        let sum = AtomicU64::new(0);
        for_each(3, &jobs, |job, (): &mut ()| {
            sum.fetch_add(*job, Ordering::Relaxed);
            Ok(())
        })
        .unwrap();
        assert_eq!(sum.into_inner(), 499_500);
        for_each(0, &[], |_: &u8, (): &mut ()| Ok(())).unwrap();
    }

    #[test]
    fn the_first_error_ends_all() {
        let jobs: Vec<u64> = (0..1000).collect();
        let done = AtomicU64::new(0);
        let outcome = for_each(2, &jobs, |job, (): &mut ()| {
            done.fetch_add(1, Ordering::Relaxed);
            if *job == 5 {
                return Err(Error::Interrupted);
            }
            Ok(())
        });
        assert!(matches!(outcome, Err(Error::Interrupted)));
        assert!(done.into_inner() <= 1000);
    }
}
