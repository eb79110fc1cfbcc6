//! Files go up: read and hashed in order by one thread, sent in parts by several.
//!
//! An upload is completed only if the hash of what was read is the file's name. Memory is
//! bounded by the number of jobs times the length of a part.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded};

use super::bucket::Bucket;
use super::checksum::Checksums;
use super::multipart::{Multipart, Open, Part};
use super::parallel::lock;
use crate::archive::Monitor;
use crate::error::{Error, Result};
use crate::id::BrickName;
use crate::store::{guard, is_missing};
use crate::threads;

/// Parts of an object, at most.
const MOST_PARTS: u64 = 10_000;
/// The least part that servers take, but for the last one.
pub const LEAST_PART: u64 = 5 << 20;
/// The longest part that servers take.
pub const MOST_PART: u64 = 5 << 30;
/// As long as parts are if nothing is said.
pub const DEFAULT_PART: u64 = 16 << 20;

/// A file that is to go up.
#[derive(Debug, Clone)]
pub(super) struct Job {
    /// Its path in the store, and in the bucket.
    pub(super) path: String,
    /// Its length in bytes, when it was listed.
    pub(super) length: u64,
    /// The hash that its bytes must have, if it is named after one.
    pub(super) name: Option<BrickName>,
    /// Its storage class, unless it is the standard one.
    pub(super) class: Option<String>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Uploaded {
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// Bytes in parts that the server had from an earlier run.
    pub(super) taken_up: u64,
    /// Files that were gone when it was their turn.
    pub(super) vanished: u64,
    /// Files whose bytes are not those that their names say, and why.
    pub(super) damaged: Vec<(PathBuf, String)>,
}

/// Sends files.
pub(super) struct Uploader<'a> {
    pub(super) bucket: &'a Bucket,
    /// The folder of the store.
    pub(super) dir: &'a Path,
    pub(super) jobs: usize,
    pub(super) part_size: u64,
    pub(super) monitor: &'a Monitor,
}

/// A file whose parts are under way.
struct Flight {
    job: Job,
    length: u64,
    upload: Multipart,
    state: Mutex<FlightState>,
}

#[derive(Default)]
struct FlightState {
    parts: Vec<Part>,
    /// Parts that were handed over and are not done.
    under_way: usize,
    /// What is to be done once all parts are.
    verdict: Verdict,
}

/// What a file turned out to be.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It is still being read.
    #[default]
    Open,
    /// All of it was read, and its hash is its name.
    Whole,
    /// It is not what its name says.
    Damaged,
}

/// What is sent at once.
enum Piece {
    Whole(Job, Bytes),
    Part(Arc<Flight>, i32, Bytes),
}

/// What the threads share.
struct Shared<'a> {
    uploader: &'a Uploader<'a>,
    failed: Mutex<Option<Error>>,
    taken_up: AtomicU64,
    done: &'a (dyn Fn(&Job, u64) + Sync),
}

/// As long as the parts of a file are: the same each time, so that what was sent can be
/// taken up.
pub(super) fn part_of(length: u64, part_size: u64) -> u64 {
    let least = length.div_ceil(MOST_PARTS).next_multiple_of(1 << 20);
    part_size.max(LEAST_PART).max(least)
}

impl Uploader<'_> {
    /// Sends the files that `next` gives. Calls `done` with each that the server has
    /// confirmed, and its length, on any thread.
    ///
    /// # Errors
    /// The first failure of the server, the network or a disk. What was confirmed until
    /// then counts.
    pub(super) fn run(
        &self,
        next: &mut dyn FnMut() -> Result<Option<Job>>,
        done: &(dyn Fn(&Job, u64) + Sync),
    ) -> Result<Uploaded> {
        let (files, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        let count = |job: &Job, length| {
            files.fetch_add(1, Ordering::Relaxed);
            bytes.fetch_add(length, Ordering::Relaxed);
            done(job, length);
        };
        let shared = Shared {
            uploader: self,
            failed: Mutex::new(None),
            taken_up: AtomicU64::new(0),
            done: &count,
        };
        let (sender, receiver) = bounded(0);
        let read = thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                let (receiver, shared) = (receiver.clone(), &shared);
                threads::start_in(scope, "upload", move || shared.send_all(&receiver))?;
            }
            drop(receiver);
            let read = shared.read_all(&sender, next);
            // Without it the threads would wait for more.
            drop(sender);
            read
        });
        let failed = lock(&shared.failed).take();
        let mut uploaded = match failed {
            Some(error) => return Err(error),
            None => read?,
        };
        uploaded.taken_up = shared.taken_up.into_inner();
        uploaded.files = files.into_inner();
        uploaded.bytes = bytes.into_inner();
        Ok(uploaded)
    }
}

/// Why no more is read.
enum Stop {
    /// A thread that sends has failed, and has said why.
    Failed,
    Here(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Here(error)
    }
}

impl Shared<'_> {
    /// Reads all files and hands them over.
    fn read_all(
        &self,
        sender: &Sender<Piece>,
        next: &mut dyn FnMut() -> Result<Option<Job>>,
    ) -> Result<Uploaded> {
        let mut uploaded = Uploaded::default();
        let mut open = None;
        loop {
            self.uploader.monitor.check()?;
            if lock(&self.failed).is_some() {
                return Ok(uploaded);
            }
            let Some(job) = next()? else {
                return Ok(uploaded);
            };
            match self.read(sender, job, &mut open, &mut uploaded) {
                Ok(()) => {}
                Err(Stop::Failed) => return Ok(uploaded),
                Err(Stop::Here(error)) => return Err(error),
            }
        }
    }

    fn read(
        &self,
        sender: &Sender<Piece>,
        job: Job,
        open: &mut Option<Open>,
        uploaded: &mut Uploaded,
    ) -> Result<(), Stop> {
        let path = self.uploader.dir.join(&job.path);
        let opened = guard::open_file(&path).and_then(|file| {
            let length = file.metadata()?.len();
            Ok((file, length))
        });
        let (file, length) = match opened {
            Ok(opened) => opened,
            // A gc was here.
            Err(error) if is_missing(&error) => {
                uploaded.vanished += 1;
                return Ok(());
            }
            Err(error) => return Err(Error::io("open", path)(error).into()),
        };
        let part_size = part_of(length, self.uploader.part_size);
        if length > part_size {
            return self.read_parts(sender, job, (file, length), open, uploaded);
        }
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        file.take(length)
            .read_to_end(&mut bytes)
            .map_err(Error::io("read", &path))?;
        let hash = blake3::hash(&bytes);
        if is_other(&job, &hash) || bytes.len() as u64 != length {
            uploaded.damaged.push((path, other_hash(&hash)));
            return Ok(());
        }
        let piece = Piece::Whole(job, bytes.into());
        sender.send(piece).map_err(|_| Stop::Failed)
    }

    fn read_parts(
        &self,
        sender: &Sender<Piece>,
        job: Job,
        (mut file, length): (File, u64),
        open: &mut Option<Open>,
        uploaded: &mut Uploaded,
    ) -> Result<(), Stop> {
        let path = self.uploader.dir.join(&job.path);
        let bucket = self.uploader.bucket;
        let open = match open {
            Some(open) => open,
            None => open.insert(bucket.open_uploads()?),
        };
        let upload = bucket.begin(&job.path, job.class.as_deref(), open.get(&job.path))?;
        let flight = Arc::new(Flight {
            job,
            length,
            upload,
            state: Mutex::default(),
        });
        let part_size = part_of(length, self.uploader.part_size);
        let mut hasher = blake3::Hasher::new();
        let (mut rest, mut number) = (length, 0);
        while rest > 0 {
            self.uploader.monitor.check()?;
            if lock(&self.failed).is_some() {
                return Err(Stop::Failed);
            }
            let size = usize::try_from(rest.min(part_size)).unwrap_or_default();
            let mut bytes = vec![0; size];
            match file.read_exact(&mut bytes) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    let why = "became shorter while it was read";
                    uploaded.damaged.push((path, why.to_owned()));
                    return Ok(self.settle(&flight, Verdict::Damaged)?);
                }
                Err(error) => return Err(Error::io("read", path)(error).into()),
            }
            hasher.update(&bytes);
            number += 1;
            rest -= size as u64;
            lock(&flight.state).under_way += 1;
            let piece = Piece::Part(Arc::clone(&flight), number, bytes.into());
            sender.send(piece).map_err(|_| Stop::Failed)?;
        }
        let hash = hasher.finalize();
        if is_other(&flight.job, &hash) {
            uploaded.damaged.push((path, other_hash(&hash)));
            return Ok(self.settle(&flight, Verdict::Damaged)?);
        }
        Ok(self.settle(&flight, Verdict::Whole)?)
    }

    /// Takes note of what a file is, all of which was handed over.
    fn settle(&self, flight: &Flight, verdict: Verdict) -> Result<()> {
        let mut state = lock(&flight.state);
        state.verdict = verdict;
        self.end(flight, state)
    }

    /// Completes an upload, or gives it up, if no part is under way any more.
    fn end(&self, flight: &Flight, mut state: MutexGuard<'_, FlightState>) -> Result<()> {
        if state.under_way > 0 || state.verdict == Verdict::Open {
            return Ok(());
        }
        let (verdict, parts) = (state.verdict, std::mem::take(&mut state.parts));
        drop(state);
        let bucket = self.uploader.bucket;
        if verdict == Verdict::Damaged {
            bucket.give_up(&flight.upload);
            return Ok(());
        }
        bucket.complete(&flight.upload, parts, flight.length)?;
        (self.done)(&flight.job, flight.length);
        Ok(())
    }

    /// Sends what comes, until something fails.
    fn send_all(&self, receiver: &Receiver<Piece>) {
        for piece in receiver {
            if let Err(error) = self.send(piece) {
                lock(&self.failed).get_or_insert(error);
                return;
            }
        }
    }

    fn send(&self, piece: Piece) -> Result<()> {
        let Uploader {
            bucket, monitor, ..
        } = self.uploader;
        match piece {
            Piece::Whole(job, bytes) => {
                let checksums = Checksums::of(&bytes);
                bucket.write(&job.path, &bytes, &checksums, job.class.as_deref())?;
                Monitor::add(&monitor.stream, bytes.len() as u64);
                (self.done)(&job, bytes.len() as u64);
                Ok(())
            }
            Piece::Part(flight, number, bytes) => {
                monitor.check()?;
                let part = bucket.write_part(&flight.upload, number, &bytes, flight.length)?;
                Monitor::add(&monitor.stream, bytes.len() as u64);
                if part.was_there {
                    Monitor::add(&self.taken_up, bytes.len() as u64);
                }
                drop(bytes);
                let mut state = lock(&flight.state);
                state.parts.push(part);
                state.under_way -= 1;
                self.end(&flight, state)
            }
        }
    }
}

fn is_other(job: &Job, hash: &blake3::Hash) -> bool {
    job.name
        .is_some_and(|name| name.as_bytes() != hash.as_bytes())
}

fn other_hash(hash: &blake3::Hash) -> String {
    format!(
        "damaged: its bytes have the hash {hash}, not its name; it was not put into the bucket; \
         bring back another copy"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_goes_up_in_more_parts_than_servers_take() {
        for length in [
            1,
            5 << 20,
            1 << 30,
            160_000 << 20,
            (160_000 << 20) + 1,
            1 << 40,
        ] {
            let part = part_of(length, DEFAULT_PART);
            assert!(length.div_ceil(part) <= MOST_PARTS && part >= DEFAULT_PART);
        }
        assert_eq!(part_of(1 << 40, DEFAULT_PART), 105 << 20);
        assert_eq!(part_of(1 << 30, 1), LEAST_PART);
    }

    #[test]
    fn what_is_read_must_have_its_name_as_hash() {
        let hash = blake3::hash(b"x");
        let job = |name| Job {
            path: String::new(),
            length: 1,
            name,
            class: None,
        };
        assert!(!is_other(&job(None), &hash));
        assert!(!is_other(&job(Some(BrickName(*hash.as_bytes()))), &hash));
        assert!(is_other(&job(Some(BrickName([0; 32]))), &hash));
    }
}
