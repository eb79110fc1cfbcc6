//! One at a time changes the parity of a folder, or deletes bricks that may be in a set
//! (`formats/parity.md#one-at-a-time`).

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use crate::archive::Monitor;
use crate::error::{Error, Result};
use crate::store::atomic;

const NAME: &str = "parity.lock";
/// How often is looked whether it is free.
const INTERVAL: Duration = Duration::from_millis(50);
/// So many looks are not worth a word: whoever empties the folder holds it for a moment.
const SILENT: u32 = 10;

/// A lock that is held. Given up when it is dropped, and with the process.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Waits until it is free; `waiting` is called if that takes time. `temp_dir` is the
    /// folder for files in the making.
    pub(crate) fn take(
        temp_dir: &Path,
        monitor: &Monitor,
        waiting: &mut dyn FnMut(),
    ) -> Result<Self> {
        let path = temp_dir.join(NAME);
        let mut looks = 0;
        loop {
            monitor.check()?;
            // A plain folder's is removed when nobody uses it.
            atomic::create_dir(temp_dir)?;
            let mut options = OpenOptions::new();
            let options = options.read(true).write(true).create(true).truncate(false);
            // Not through a link that somebody planted, which may lead anywhere.
            let flags = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
            let options = options.custom_flags(flags);
            let file = match options.open(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                result => result.map_err(Error::io("open", &path))?,
            };
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                // Whoever gave it up has removed it.
                Ok(()) if !atomic::is_in_place(&file, &path)? => continue,
                Ok(()) => return Ok(Self { path, _file: file }),
                Err(Errno::WOULDBLOCK | Errno::INTR) => {}
                Err(error) => return Err(Error::io("lock", &path)(error.into())),
            }
            looks += 1;
            if looks == SILENT {
                waiting();
            }
            std::thread::sleep(INTERVAL);
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Before the lock goes: so nobody else's is removed. What stays is swept away.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_it_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let temp = dir.path().join("tmp");
        let monitor = Monitor::default();
        let count = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let lock = Lock::take(&temp, &monitor, &mut || {}).unwrap();
                        let before = count.load(std::sync::atomic::Ordering::SeqCst);
                        std::thread::yield_now();
                        count.store(before + 1, std::sync::atomic::Ordering::SeqCst);
                        drop(lock);
                    }
                });
            }
            for _ in 0..200 {
                atomic::remove_stale(&temp).unwrap();
            }
        });
        assert_eq!(count.into_inner(), 160);
        assert_eq!(fs::read_dir(&temp).unwrap().count(), 0);
    }

    #[test]
    fn who_waits_can_be_stopped_and_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let monitor = Monitor::default();
        let _held = Lock::take(dir.path(), &monitor, &mut || {}).unwrap();
        let mut told = 0;
        let result = Lock::take(dir.path(), &monitor, &mut || {
            told += 1;
            monitor.stop();
        });
        assert!(matches!(result, Err(Error::Interrupted)));
        assert_eq!(told, 1);
    }
}
