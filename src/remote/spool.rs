//! Bricks for a restore straight from a bucket: fetched a few ahead, in the order in which
//! they are needed, into a folder of bounded size, and deleted as they are used up.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::bucket::{Bucket, Read};
use super::download::{brick_path, too_long};
use super::parallel::lock;
use super::wait::{Waiter, Waiting};
use crate::archive::Monitor;
use crate::error::{Error, Exit, Result};
use crate::format::brick::MAX_LENGTH;
use crate::id::BrickName;
use crate::restore::{Need, Supply};
use crate::store::layout::Layout;
use crate::threads;

/// How often a brick is read that comes back altered.
const ATTEMPTS: usize = 3;
/// How long to wait for a brick that expired while the server said it could be read, at
/// first and at most.
const EXPIRED: Duration = Duration::from_secs(1);
const LAST_EXPIRED: Duration = Duration::from_secs(300);

/// How to fetch bricks for a restore.
pub struct SpoolOptions {
    /// The folder in which they wait; made and removed here.
    pub dir: PathBuf,
    /// Bytes that wait there at most, if a single brick has no more.
    pub room: u64,
    /// Transfers at the same time.
    pub jobs: usize,
    /// Wait for bricks that thaw.
    pub waits: bool,
    /// Called when one has to be waited for.
    pub tell: Box<dyn Fn(Waiting<'_>) + Send + Sync>,
    /// Where bricks are looked for first.
    pub bricks_in: Vec<PathBuf>,
}

/// Fetches bricks ahead of a restore.
pub struct Spool {
    shared: Arc<Shared>,
}

struct Shared {
    bucket: Bucket,
    options: SpoolOptions,
    dir: SpoolDir,
    plan: Vec<Need>,
    numbers: HashMap<BrickName, usize>,
    state: Mutex<State>,
    changed: Condvar,
    monitor: Arc<Monitor>,
}

#[derive(Default)]
struct State {
    /// By number in the plan.
    slots: HashMap<usize, Slot>,
    /// Of all that is here or on its way.
    bytes: u64,
    /// How far the restore is: the highest number that it asked for.
    front: usize,
    /// Where to look for what is to be fetched next.
    next: usize,
    /// What the restore waits for.
    wanted: Option<usize>,
    stopped: bool,
    /// So many bricks were fetched, and bytes in them.
    fetched: (u64, u64),
    /// The most bytes that were here at once.
    peak: u64,
}

enum Slot {
    OnItsWay,
    Here(PathBuf),
    Failed {
        message: String,
        exit: Exit,
        /// It was fetched ahead, and the restore did not wait for it yet.
        ahead: bool,
    },
}

impl fmt::Debug for Spool {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Spool({})", self.shared.bucket.place())
    }
}

impl Spool {
    /// Starts to fetch the bricks of `plan`.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be made or a thread not be started.
    pub fn start(
        bucket: Bucket,
        plan: Vec<Need>,
        options: SpoolOptions,
        monitor: Arc<Monitor>,
    ) -> Result<Self> {
        let dir = SpoolDir::make(&options.dir)?;
        let jobs = options.jobs.max(1);
        let numbers = plan.iter().enumerate();
        let shared = Arc::new(Shared {
            numbers: numbers.map(|(number, need)| (need.brick, number)).collect(),
            bucket,
            options,
            dir,
            plan,
            state: Mutex::default(),
            changed: Condvar::new(),
            monitor,
        });
        for _ in 0..jobs {
            let shared = Arc::clone(&shared);
            threads::start("fetch", move || shared.fetch_all())?;
        }
        Ok(Self { shared })
    }

    /// Bricks fetched, bytes in them, and the most bytes that waited at once.
    #[must_use]
    pub fn fetched(&self) -> (u64, u64, u64) {
        let state = lock(&self.shared.state);
        (state.fetched.0, state.fetched.1, state.peak)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        lock(&self.shared.state).stopped = true;
        self.shared.changed.notify_all();
        // Nobody waits for a thread that is in the middle of a transfer: it finds no place
        // for its file, and ends with the process.
        self.shared.dir.remove();
    }
}

/// The folder in which bricks wait, locked as long as somebody uses it.
struct SpoolDir {
    path: PathBuf,
    _lock: File,
}

const PREFIX: &str = "spool-";

impl SpoolDir {
    /// Makes one in `dir`, and removes those that runs have left that were killed.
    fn make(dir: &Path) -> Result<Self> {
        let io = |error| Error::io("make a folder in", dir)(error);
        fs::create_dir_all(dir).map_err(io)?;
        for entry in fs::read_dir(dir).map_err(io)?.flatten() {
            let is_spool = entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.starts_with(PREFIX));
            if is_spool && lock_folder(&entry.path()).is_ok() {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        loop {
            let made = tempfile::Builder::new().prefix(PREFIX).tempdir_in(dir);
            let path = made.map_err(io)?.keep();
            // Another run may take it for left over until it is locked.
            if let Ok(lock) = lock_folder(&path)
                && path.exists()
            {
                return Ok(Self { path, _lock: lock });
            }
        }
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn remove(&self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn lock_folder(path: &Path) -> std::io::Result<File> {
    let folder = File::open(path)?;
    rustix::fs::flock(
        &folder,
        rustix::fs::FlockOperation::NonBlockingLockExclusive,
    )?;
    Ok(folder)
}

impl Supply for Spool {
    fn supply(&self, brick: &BrickName) -> Result<(PathBuf, Arc<File>)> {
        let shared = &self.shared;
        if let Some(found) = shared.find_here(brick) {
            return Ok(found);
        }
        let shown = PathBuf::from(shared.bucket.place().show(&brick_path(brick)));
        let Some(&number) = shared.numbers.get(brick) else {
            // A copy of a chunk list, because the list is damaged.
            return shared.fetch_unplanned(brick, shown);
        };
        let mut state = lock(&shared.state);
        if number > state.front {
            state.front = number;
            shared.drop_used(&mut state);
        }
        state.wanted = Some(number);
        shared.changed.notify_all();
        loop {
            shared.monitor.check()?;
            match state.slots.get(&number) {
                Some(Slot::Here(path)) => {
                    let opened = File::open(path).map_err(Error::io("open", path));
                    state.wanted = None;
                    return Ok((shown, Arc::new(opened?)));
                }
                // What failed then may succeed now.
                Some(Slot::Failed { ahead: true, .. }) => {
                    state.slots.remove(&number);
                    shared.changed.notify_all();
                }
                Some(Slot::Failed { message, exit, .. }) => {
                    let error = Error::Refused {
                        path: shown,
                        message: message.clone(),
                        exit: *exit,
                    };
                    state.wanted = None;
                    return Err(error);
                }
                Some(Slot::OnItsWay) | None => state = shared.wait(state),
            }
        }
    }

    fn is_at_hand(&self, brick: &BrickName) -> bool {
        let number = self.shared.numbers.get(brick);
        let state = lock(&self.shared.state);
        number.is_some_and(|number| matches!(state.slots.get(number), Some(Slot::Here(_))))
    }
}

impl Shared {
    /// Waits for a change, but not for ever: nobody tells of a signal.
    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let limit = Duration::from_millis(200);
        let waited = self.changed.wait_timeout(state, limit);
        waited.unwrap_or_else(std::sync::PoisonError::into_inner).0
    }

    /// A copy in one of the folders that were named.
    fn find_here(&self, brick: &BrickName) -> Option<(PathBuf, Arc<File>)> {
        let nowhere = Layout::new(self.dir.path());
        let found = nowhere.find_brick(brick, &self.options.bricks_in).ok()?;
        Some((found.0, Arc::new(found.1)))
    }

    /// Deletes what is of no more use.
    fn drop_used(&self, state: &mut State) {
        let front = state.front;
        let is_used = |number: usize| {
            self.plan
                .get(number)
                .is_none_or(|need| need.last as usize <= front)
        };
        let numbers: Vec<usize> = state.slots.keys().copied().collect();
        for number in numbers {
            if is_used(number) {
                self.remove(state, number);
            }
        }
    }

    fn remove(&self, state: &mut State, number: usize) {
        if let Some(Slot::Here(path)) = state.slots.get(&number) {
            let _ = fs::remove_file(path);
            state.slots.remove(&number);
            state.bytes = state.bytes.saturating_sub(self.length(number));
        }
    }

    fn length(&self, number: usize) -> u64 {
        self.plan.get(number).map_or(0, |need| need.length)
    }

    /// Fetches what is needed next, until there is nothing left.
    fn fetch_all(&self) {
        while let Some(number) = self.next() {
            let fetched = self.fetch(number);
            let mut state = lock(&self.state);
            let slot = match fetched {
                Ok(path) => {
                    state.fetched.0 += 1;
                    state.fetched.1 += self.length(number);
                    Slot::Here(path)
                }
                Err(error) => {
                    state.bytes = state.bytes.saturating_sub(self.length(number));
                    Slot::Failed {
                        message: message_of(&error),
                        exit: error.exit(),
                        ahead: state.wanted != Some(number),
                    }
                }
            };
            state.slots.insert(number, slot);
            self.changed.notify_all();
        }
    }

    /// The number of the brick to fetch next, once there is room for it; `None`: no more.
    fn next(&self) -> Option<usize> {
        let mut state = lock(&self.state);
        loop {
            if state.stopped || self.monitor.check().is_err() {
                return None;
            }
            let wanted = state
                .wanted
                .filter(|number| !state.slots.contains_key(number));
            let number = match wanted {
                Some(number) => {
                    // Used again, though it had to go, or the first of all.
                    self.make_room(&mut state, number);
                    Some(number)
                }
                None => self.ahead(&mut state),
            };
            if let Some(number) = number {
                state.slots.insert(number, Slot::OnItsWay);
                state.bytes = state.bytes.saturating_add(self.length(number));
                state.peak = state.peak.max(state.bytes);
                return Some(number);
            }
            state = self.wait(state);
        }
    }

    /// The next brick in the plan, if there is room for it.
    fn ahead(&self, state: &mut State) -> Option<usize> {
        while state.slots.contains_key(&state.next) || state.next < state.front {
            state.next += 1;
        }
        let need = self.plan.get(state.next)?;
        if state.bytes.saturating_add(need.length) > self.options.room {
            return None;
        }
        let number = state.next;
        state.next += 1;
        // Those in the folders that were named are not fetched.
        self.find_here(&need.brick).is_none().then_some(number)
    }

    /// Deletes what is used last, until there is room.
    fn make_room(&self, state: &mut State, number: usize) {
        while state.bytes.saturating_add(self.length(number)) > self.options.room {
            let here = state.slots.iter().filter_map(|(number, slot)| match slot {
                Slot::Here(_) => Some(*number),
                _ => None,
            });
            // What lies ahead is used later than what was used already.
            let Some(last) = here.max() else {
                return;
            };
            self.remove(state, last);
            state.next = state.next.min(last);
        }
    }

    fn fetch(&self, number: usize) -> Result<PathBuf> {
        let Some(need) = self.plan.get(number) else {
            return Err(Error::Internal("a brick that is not in the plan".into()));
        };
        self.fetch_brick(&need.brick, need.length)
    }

    /// Fetches a brick of at most `most` bytes.
    fn fetch_brick(&self, brick: &BrickName, most: u64) -> Result<PathBuf> {
        let path = brick_path(brick);
        let waiter = Waiter {
            waits: self.options.waits,
            tell: &|waiting| (self.options.tell)(waiting),
        };
        let file = self.dir.path().join(brick.to_string());
        let mut found = blake3::hash(b"");
        let (mut attempts, mut pause) = (0, EXPIRED);
        while attempts < ATTEMPTS {
            if !waiter.is_readable(&self.bucket, &path, &self.monitor)? {
                return Err(Error::Refused {
                    path: self.bucket.place().show(&path).into(),
                    message: "it lies in cold storage: bring it up with `dtar thaw`, and restore \
                              with --wait"
                        .into(),
                    exit: Exit::Failed,
                });
            }
            let hash = self.read(&path, &file, most);
            if hash.is_err() {
                let _ = fs::remove_file(&file);
            }
            found = match hash? {
                Ok(hash) => hash,
                // What was thawed has just expired: it is waited for again, also where what
                // the server says of it lags behind.
                Err(_) if self.options.waits => {
                    let shown = self.bucket.place().show(&path);
                    if pause > EXPIRED {
                        (self.options.tell)(Waiting::Cold(&shown));
                    }
                    super::wait::sleep(pause, &self.monitor)?;
                    pause = (pause * 2).min(LAST_EXPIRED);
                    continue;
                }
                Err(error) => return Err(error),
            };
            if found.as_bytes() == brick.as_bytes() {
                return Ok(file);
            }
            attempts += 1;
        }
        let _ = fs::remove_file(&file);
        Err(Error::Refused {
            path: self.bucket.place().show(&path).into(),
            message: format!(
                "altered or damaged: its bytes have the hash {found}, not its name; name a \
                 folder with another copy of it with --bricks"
            ),
            exit: Exit::Damaged,
        })
    }

    /// The hash of what was read; or, inside, what the server says of an object that is cold.
    fn read(&self, path: &str, file: &Path, most: u64) -> Result<Result<blake3::Hash>> {
        let mut out = File::create(file).map_err(Error::io("make", file))?;
        let mut hasher = blake3::Hasher::new();
        let read = self.bucket.read(path, most, &self.monitor, &mut |bytes| {
            hasher.update(bytes);
            out.write_all(bytes).map_err(Error::io("write", file))
        })?;
        let message = match read {
            Read::All(_) => return Ok(Ok(hasher.finalize())),
            Read::Cold(error) => return Ok(Err(error)),
            Read::Missing => "missing there: push it from where it is".to_owned(),
            Read::TooLong(found) => too_long(found, most),
        };
        Err(Error::Refused {
            path: self.bucket.place().show(path).into(),
            message: format!("{message}; or name a folder with a copy of it with --bricks"),
            exit: Exit::Damaged,
        })
    }

    /// Fetches a brick that no plan foresaw, for one use.
    fn fetch_unplanned(&self, brick: &BrickName, shown: PathBuf) -> Result<(PathBuf, Arc<File>)> {
        let path = self.fetch_brick(brick, MAX_LENGTH)?;
        let file = File::open(&path).map_err(Error::io("open", &path))?;
        let _ = fs::remove_file(&path);
        Ok((shown, Arc::new(file)))
    }
}

/// An error without the path in front, which is said again.
fn message_of(error: &Error) -> String {
    match error {
        Error::Refused { message, .. } => message.clone(),
        other => other.to_string(),
    }
}

/// What is in the way of a restore, known before it reads.
#[derive(Debug, Clone, Default)]
pub struct Outlook {
    /// Bricks that can be read.
    pub readable: u64,
    /// Bricks that thaw.
    pub thawing: Vec<BrickName>,
    /// Bricks in cold storage that nobody has asked for.
    pub cold: Vec<BrickName>,
    /// Bricks that the bucket does not have.
    pub missing: Vec<BrickName>,
}

/// Looks at each of these bricks in the bucket.
///
/// # Errors
/// What the server or the network says.
pub fn outlook(
    bucket: &Bucket,
    bricks: &[BrickName],
    jobs: usize,
    monitor: &Monitor,
) -> Result<Outlook> {
    let outlook = Mutex::new(Outlook::default());
    let mut names = bricks.iter();
    let look = |name: &BrickName| {
        let object = bucket.look_at(&brick_path(name))?;
        let mut outlook = lock(&outlook);
        match object.map(|object| object.state) {
            None => outlook.missing.push(*name),
            Some(super::State::Cold) => outlook.cold.push(*name),
            Some(super::State::Thawing) => outlook.thawing.push(*name),
            Some(_) => outlook.readable += 1,
        }
        Ok(())
    };
    super::parallel::each_in_parallel(jobs, monitor, &mut || Ok(names.next()), &look)?;
    Ok(outlook.into_inner().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_run_has_left_goes_and_what_is_in_use_stays() {
        let dir = tempfile::tempdir().unwrap();
        let left = dir.path().join("spool-left");
        fs::create_dir(&left).unwrap();
        fs::write(left.join("brick"), "x").unwrap();
        let other = dir.path().join("other");
        fs::create_dir(&other).unwrap();
        let first = SpoolDir::make(dir.path()).unwrap();
        assert!(!left.exists() && other.exists());
        let second = SpoolDir::make(dir.path()).unwrap();
        assert!(first.path().exists() && second.path().exists());
        first.remove();
        assert!(!first.path().exists() && second.path().exists());
    }
}
