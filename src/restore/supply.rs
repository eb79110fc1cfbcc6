//! Bricks that are not here yet: fetched, or waited for.

use std::collections::HashMap;
use std::fmt::Debug;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::archive::Monitor;
use crate::error::{Error, Result};
use crate::id::BrickName;
use crate::store::layout::Layout;

/// Gets bricks, in the order in which a restore asks for them.
pub trait Supply: Debug + Send + Sync {
    /// The file of a brick, and what to call it. Waits until it is here; its bytes have
    /// then the hash that is its name.
    ///
    /// # Errors
    /// That it cannot be had; [`Error::Interrupted`].
    fn supply(&self, brick: &BrickName) -> Result<(PathBuf, Arc<File>)>;

    /// Whether [`Supply::supply`] would not have to wait.
    fn is_at_hand(&self, brick: &BrickName) -> bool;
}

/// How often to look for a file, at first and at most.
const FIRST_LOOK: Duration = Duration::from_millis(200);
const LAST_LOOK: Duration = Duration::from_secs(10);
const SETTLED: Duration = Duration::from_secs(3);
const NAP: Duration = Duration::from_millis(100);

/// Waits for bricks to appear in the store or in other folders, and to be whole there.
#[derive(Debug)]
pub struct Arrivals<T> {
    layout: Layout,
    bricks_in: Vec<PathBuf>,
    monitor: Arc<Monitor>,
    tell: T,
    seen: Mutex<HashMap<PathBuf, Seen>>,
}

/// A file as it was when its hash was last looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    length: u64,
    modified: Option<SystemTime>,
    is_whole: bool,
}

/// Says that a brick is waited for.
pub trait Tell: Debug + Send + Sync {
    /// This one is.
    fn waiting_for(&self, brick: &BrickName);
}

impl<T: Tell> Arrivals<T> {
    /// Looks in the store `layout` and in the folders `bricks_in`.
    pub fn new(layout: Layout, bricks_in: Vec<PathBuf>, monitor: Arc<Monitor>, tell: T) -> Self {
        Self {
            layout,
            bricks_in,
            monitor,
            tell,
            seen: Mutex::default(),
        }
    }

    /// A copy that is whole.
    fn find(&self, brick: &BrickName) -> Option<(PathBuf, Arc<File>)> {
        let copies = self.layout.copies_of_brick(brick, &self.bricks_in);
        copies
            .flatten()
            .find(|(path, file)| self.is_whole(path, file, brick))
            .map(|(path, file)| (path, Arc::new(file)))
    }

    /// Whether a file has its name as hash. One that has not may be half copied, and is
    /// looked at again once it has changed.
    fn is_whole(&self, path: &Path, file: &File, brick: &BrickName) -> bool {
        let Ok(found) = file.metadata() else {
            return false;
        };
        let (length, modified) = (found.len(), found.modified().ok());
        let before = self.lock().get(path).copied();
        if let Some(before) = before
            && (before.length, before.modified) == (length, modified)
            && modified.is_some_and(|time| before.is_whole || is_settled(time))
        {
            return before.is_whole;
        }
        let is_whole = hash(file).is_ok_and(|hash| hash.as_bytes() == brick.as_bytes());
        let seen = Seen {
            length,
            modified,
            is_whole,
        };
        self.lock().insert(path.to_owned(), seen);
        is_whole
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, Seen>> {
        // What was seen is true whoever panicked.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a file that was changed since then would show a later time: clocks of file
/// systems tick slowly, and a file that is being copied may have its length from the start.
fn is_settled(modified: SystemTime) -> bool {
    modified.elapsed().is_ok_and(|since| since > SETTLED)
}

fn hash(mut file: &File) -> std::io::Result<blake3::Hash> {
    use std::io::Seek;
    file.rewind()?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize()),
            length => hasher.update(&buffer[..length]),
        };
    }
}

impl<T: Tell> Supply for Arrivals<T> {
    fn supply(&self, brick: &BrickName) -> Result<(PathBuf, Arc<File>)> {
        let mut pause = FIRST_LOOK;
        let mut told = false;
        loop {
            if let Some(found) = self.find(brick) {
                return Ok(found);
            }
            if !told {
                self.tell.waiting_for(brick);
                told = true;
            }
            sleep(pause, &self.monitor)?;
            pause = (pause * 2).min(LAST_LOOK);
        }
    }

    fn is_at_hand(&self, brick: &BrickName) -> bool {
        self.find(brick).is_some()
    }
}

/// Sleeps, unless somebody asks to stop.
fn sleep(time: Duration, monitor: &Monitor) -> Result<(), Error> {
    let mut rest = time;
    while !rest.is_zero() {
        monitor.check()?;
        let nap = rest.min(NAP);
        std::thread::sleep(nap);
        rest -= nap;
    }
    monitor.check()
}

#[cfg(test)]
mod tests {
    use std::io::Seek;
    use std::thread;

    use super::*;

    #[derive(Debug, Default)]
    struct Told(Arc<Mutex<Vec<BrickName>>>);

    impl Tell for Told {
        fn waiting_for(&self, brick: &BrickName) {
            self.0.lock().unwrap().push(*brick);
        }
    }

    fn arrivals(dir: &Path) -> (Arrivals<Told>, Arc<Mutex<Vec<BrickName>>>, Arc<Monitor>) {
        let told = Told::default();
        let (list, monitor) = (Arc::clone(&told.0), Arc::new(Monitor::default()));
        let layout = Layout::new(dir.join("store"));
        let all = Arrivals::new(layout, vec![dir.to_owned()], Arc::clone(&monitor), told);
        (all, list, monitor)
    }

    #[test]
    fn a_file_counts_once_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = vec![7; 300_000];
        let brick = BrickName(*blake3::hash(&bytes).as_bytes());
        let path = dir.path().join(format!("{brick}.brick"));
        let (arrivals, told, _) = arrivals(dir.path());
        assert!(!arrivals.is_at_hand(&brick));
        thread::scope(|scope| {
            let supplied = scope.spawn(|| arrivals.supply(&brick));
            std::fs::write(&path, &bytes[..200_000]).unwrap();
            thread::sleep(Duration::from_millis(400));
            assert!(!supplied.is_finished(), "half of it is not all of it");
            std::fs::write(&path, &bytes).unwrap();
            let (found, mut file) = supplied.join().unwrap().unwrap();
            assert_eq!(found, path);
            Arc::get_mut(&mut file).unwrap().rewind().unwrap();
            let mut read = Vec::new();
            Arc::get_mut(&mut file)
                .unwrap()
                .read_to_end(&mut read)
                .unwrap();
            assert!(read == bytes);
        });
        assert_eq!(*told.lock().unwrap(), [brick]);
        assert!(arrivals.is_at_hand(&brick));
    }

    #[test]
    fn a_copy_whose_length_and_time_stay_the_same_is_looked_at_again() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = vec![7; 300_000];
        let brick = BrickName(*blake3::hash(&bytes).as_bytes());
        let path = dir.path().join(format!("{brick}.brick"));
        let (arrivals, ..) = arrivals(dir.path());
        std::fs::write(&path, vec![0; bytes.len()]).unwrap();
        let time = std::fs::metadata(&path).unwrap().modified().unwrap();
        assert!(!arrivals.is_at_hand(&brick));
        std::fs::write(&path, &bytes).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(time).unwrap();
        assert!(arrivals.is_at_hand(&brick));
    }

    #[test]
    fn who_asks_to_stop_is_heard() {
        let dir = tempfile::tempdir().unwrap();
        let (arrivals, _, monitor) = arrivals(dir.path());
        monitor.stop();
        let error = arrivals.supply(&BrickName([1; 32])).unwrap_err();
        assert!(matches!(error, Error::Interrupted));
    }
}
