//! The same work on many things at once, on threads that mostly wait for the network.

use std::sync::{Mutex, PoisonError};
use std::thread;

use crossbeam_channel::bounded;

use crate::archive::Monitor;
use crate::error::{Error, Result};
use crate::threads;

/// Takes things from `next` and does `work` on them on `jobs` threads, until there is
/// nothing left, or something fails: then what was begun ends, and the first failure is
/// returned. No more than one thing waits.
pub(super) fn each_in_parallel<T: Send>(
    jobs: usize,
    monitor: &Monitor,
    next: &mut dyn FnMut() -> Result<Option<T>>,
    work: &(dyn Fn(T) -> Result<()> + Sync),
) -> Result<()> {
    let failed: Mutex<Option<Error>> = Mutex::new(None);
    let (sender, receiver) = bounded::<T>(0);
    let given = thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let (receiver, failed) = (receiver.clone(), &failed);
            threads::start_in(scope, "transfer", move || {
                for thing in receiver {
                    if let Err(error) = work(thing) {
                        // The other threads end as their channel does.
                        lock(failed).get_or_insert(error);
                        return;
                    }
                }
            })?;
        }
        drop(receiver);
        // Gone at the end of this scope, and with it what the threads wait for.
        let sender = sender;
        loop {
            monitor.check()?;
            if lock(&failed).is_some() {
                return Ok(());
            }
            let Some(thing) = next()? else {
                return Ok(());
            };
            if sender.send(thing).is_err() {
                return Ok(());
            }
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.map_or(given, Err)
}

/// What the mutex holds is right whoever panicked.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn run(fails_at: u64) -> (u64, Result<()>) {
        let mut numbers = 1..=100_u64;
        let sum = AtomicU64::new(0);
        let result = each_in_parallel(
            4,
            &Monitor::default(),
            &mut || Ok(numbers.next()),
            &|number| {
                if number == fails_at {
                    return Err(Error::Damaged(format!("{number}")));
                }
                sum.fetch_add(number, Ordering::Relaxed);
                Ok(())
            },
        );
        (sum.into_inner(), result)
    }

    #[test]
    fn all_is_done_once() {
        let (sum, result) = run(0);
        result.unwrap();
        assert_eq!(sum, 5050);
    }

    #[test]
    fn the_first_failure_ends_it() {
        let (sum, result) = run(1);
        assert_eq!(result.unwrap_err().to_string(), "1");
        assert!(sum < 5050);
    }

    #[test]
    fn who_asks_to_stop_is_heard() {
        let monitor = Monitor::default();
        monitor.stop();
        let result = each_in_parallel(2, &monitor, &mut || Ok(Some(())), &|()| Ok(()));
        assert!(matches!(result, Err(Error::Interrupted)));
    }
}
