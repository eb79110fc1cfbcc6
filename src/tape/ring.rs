//! A steady stream between a tape and the rest: a ring of large blocks that are used over
//! and over, filled on one thread and emptied on another.
//!
//! A tape that runs out of data stops, winds back and starts again, which wears it and
//! takes seconds. So writing begins, and begins again, only when half the ring is full.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};

use super::catalog::{Sha256Sum, Whole};
use super::drive::{Drive, Read, WriteFault};
use super::source::Sink;
use crate::archive::Monitor;
use crate::{Error, Result, threads};
use sha2::{Digest, Sha256};

/// How long a block is where the tape does not say it.
const FREE_BLOCK: usize = 1 << 20;
/// The fewest blocks that a ring is of use with.
const LEAST_BLOCKS: usize = 4;

/// How fast a tape was written or read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace {
    /// Bytes.
    pub bytes: u64,
    /// In this time.
    pub time: Duration,
    /// How often the tape had to wait for data.
    pub underruns: u64,
}

impl Pace {
    /// Takes in another stretch.
    pub fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.time += other.time;
        self.underruns += other.underruns;
    }
}

/// Why a tape file was not written.
#[derive(Debug)]
pub enum WriteFailure {
    /// What was to be written could not be had.
    Source(Error),
    /// The tape.
    Tape(WriteFault),
}

/// A block on its way to the tape, or the sign that it was the last.
enum Filled {
    Block(Vec<u8>),
    Last,
}

/// What the tape's thread has to be told.
#[derive(Debug, Clone, Copy)]
pub struct Stream {
    /// Bytes of memory for the ring.
    pub memory: u64,
    /// Whether the tape's early warning counts as its end.
    pub heed_warning: bool,
}

impl Stream {
    fn blocks(self, block: usize) -> usize {
        usize::try_from(self.memory)
            .unwrap_or(usize::MAX)
            .checked_div(block)
            .unwrap_or(0)
            .max(LEAST_BLOCKS)
    }

    /// Writes one tape file, already begun, and ends it: what `produce` writes, with its
    /// length and SHA-256.
    ///
    /// # Errors
    /// Which side failed. The tape file is still open then.
    pub fn write(
        self,
        drive: &mut dyn Drive,
        monitor: &Monitor,
        produce: impl FnOnce(&mut dyn Sink) -> Result<()>,
    ) -> std::result::Result<(Whole, Pace), WriteFailure> {
        let block = block_of(drive);
        let count = self.blocks(block);
        let (full_in, full_out) = bounded(count);
        let (empty_in, empty_out) = bounded(count);
        thread::scope(|scope| {
            let tape = threads::start_in(scope, "tape", move || {
                self.put(drive, count, &full_out, &empty_in)
            })
            .map_err(WriteFailure::Source)?;
            let mut filler = Filler {
                block,
                unmade: count - 1,
                current: Vec::new(),
                empty: empty_out,
                full: full_in,
                hash: Sha256::new(),
                length: 0,
                monitor,
            };
            let produced = produce(&mut filler).and_then(|()| filler.finish());
            let whole = Whole {
                length: filler.length,
                sha256: filler.sha256(),
            };
            drop(filler);
            let written = tape.join().unwrap_or_else(|_| {
                Err(WriteFault::Failed(io::Error::other(
                    "the tape's thread failed",
                )))
            });
            match (written, produced) {
                // The source saw no more than that nobody took its blocks.
                (Err(fault), _) => Err(WriteFailure::Tape(fault)),
                (Ok(_), Err(error)) => {
                    let stopped = monitor.check().err();
                    Err(WriteFailure::Source(stopped.unwrap_or(error)))
                }
                (Ok(pace), Ok(())) => Ok((whole, pace)),
            }
        })
    }

    /// The tape's thread.
    fn put(
        self,
        drive: &mut dyn Drive,
        count: usize,
        full: &Receiver<Filled>,
        empty: &Sender<Vec<u8>>,
    ) -> std::result::Result<Pace, WriteFault> {
        let mut pace = Pace::default();
        let mut ready = Ready::new(full, count);
        ready.collect();
        let start = Instant::now();
        loop {
            let next = ready.next(&mut pace.underruns);
            match next {
                Some(Filled::Block(block)) => {
                    drive.write(&block)?;
                    if self.heed_warning && drive.is_warned() {
                        return Err(WriteFault::Full);
                    }
                    pace.bytes += block.len() as u64;
                    // The source may have ended; then nobody needs the buffer.
                    let _ = empty.send(block);
                }
                Some(Filled::Last) => {
                    drive.close()?;
                    pace.time = start.elapsed();
                    return Ok(pace);
                }
                // The source has failed, and says so itself.
                None => return Ok(pace),
            }
        }
    }

    /// Reads the open tape file to its end, and hands over piece by piece.
    ///
    /// # Errors
    /// Those of the drive and of `consume`.
    pub fn read(
        self,
        drive: &mut dyn Drive,
        monitor: &Monitor,
        mut consume: impl FnMut(Piece<'_>) -> Result<Go>,
    ) -> Result<Pace> {
        let block = block_of(drive);
        let count = self.blocks(block);
        let (full_in, full_out) = bounded(count);
        let (empty_in, empty_out) = bounded(count);
        for _ in 0..count {
            // Memory is taken when a buffer is first used.
            let _ = empty_in.send(Vec::new());
        }
        let start = Instant::now();
        thread::scope(|scope| {
            let tape = threads::start_in(scope, "tape", move || {
                get(drive, block, &empty_out, &full_in)
            })?;
            let mut pace = Pace::default();
            let mut consumed = Ok(());
            for part in &full_out {
                let go = match &part {
                    Part::Data(bytes) => {
                        pace.bytes += bytes.len() as u64;
                        monitor.check().and_then(|()| {
                            Monitor::add(&monitor.stream, bytes.len() as u64);
                            consume(Piece::Data(bytes))
                        })
                    }
                    Part::Bad(length, error) => consume(Piece::Bad {
                        length: *length,
                        error,
                    }),
                };
                if let Part::Data(buffer) = part {
                    let _ = empty_in.send(buffer);
                }
                match go {
                    Ok(Go::On) => {}
                    Ok(Go::Stop) => break,
                    Err(error) => {
                        consumed = Err(error);
                        break;
                    }
                }
            }
            drop(full_out);
            drop(empty_in);
            let read = tape
                .join()
                .unwrap_or_else(|_| Err(Error::Internal("the tape's thread failed".into())));
            pace.time = start.elapsed();
            consumed.and(read).map(|()| pace)
        })
    }
}

/// Whether to read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Go {
    /// Yes.
    On,
    /// What was wanted is there.
    Stop,
}

/// A piece of a tape file.
#[derive(Debug)]
pub enum Piece<'a> {
    /// The next bytes.
    Data(&'a [u8]),
    /// So many bytes that cannot be read.
    Bad {
        /// How many.
        length: u64,
        /// Why not.
        error: &'a io::Error,
    },
}

enum Part {
    Data(Vec<u8>),
    Bad(u64, io::Error),
}

/// The tape's thread, reading.
fn get(
    drive: &mut dyn Drive,
    block: usize,
    empty: &Receiver<Vec<u8>>,
    full: &Sender<Part>,
) -> Result<()> {
    while let Ok(mut buffer) = empty.recv() {
        buffer.resize(block, 0);
        let part = match drive.read(&mut buffer)? {
            Read::Data(length) => {
                buffer.truncate(length);
                Part::Data(buffer)
            }
            Read::Bad { length, error } => Part::Bad(length, error),
            Read::End => return Ok(()),
        };
        if full.send(part).is_err() {
            break;
        }
    }
    Ok(())
}

fn block_of(drive: &dyn Drive) -> usize {
    match drive.block() {
        0 => FREE_BLOCK,
        block => block as usize,
    }
}

/// Blocks that were collected before the tape runs.
struct Ready<'a> {
    full: &'a Receiver<Filled>,
    blocks: VecDeque<Filled>,
    /// So many before the tape starts.
    enough: usize,
}

impl<'a> Ready<'a> {
    fn new(full: &'a Receiver<Filled>, count: usize) -> Self {
        let enough = count / 2;
        Self {
            full,
            blocks: VecDeque::with_capacity(enough + 1),
            enough,
        }
    }

    /// Waits until there are enough blocks, or the last one.
    fn collect(&mut self) {
        while self.blocks.len() < self.enough {
            let Ok(next) = self.full.recv() else { return };
            let is_last = matches!(next, Filled::Last);
            self.blocks.push_back(next);
            if is_last {
                return;
            }
        }
    }

    fn next(&mut self, underruns: &mut u64) -> Option<Filled> {
        if let Some(next) = self.blocks.pop_front() {
            return Some(next);
        }
        match self.full.try_recv() {
            Ok(next) => Some(next),
            Err(TryRecvError::Disconnected) => None,
            Err(TryRecvError::Empty) => {
                self.collect();
                // To wait for the end of a file is to wait for no data.
                if !matches!(self.blocks.front(), None | Some(Filled::Last)) {
                    *underruns += 1;
                }
                self.blocks.pop_front()
            }
        }
    }
}

/// The source's end of the ring.
struct Filler<'a> {
    block: usize,
    /// Buffers that were not made yet.
    unmade: usize,
    current: Vec<u8>,
    empty: Receiver<Vec<u8>>,
    full: Sender<Filled>,
    hash: Sha256,
    length: u64,
    monitor: &'a Monitor,
}

impl Filler<'_> {
    fn send(&mut self) -> io::Result<()> {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        self.monitor.check().map_err(io::Error::other)?;
        let next = if self.unmade > 0 {
            self.unmade -= 1;
            Vec::with_capacity(self.block)
        } else {
            self.empty.recv().map_err(|_| gone())?
        };
        let block = std::mem::replace(&mut self.current, next);
        self.current.clear();
        Monitor::add(&self.monitor.stream, block.len() as u64);
        self.full.send(Filled::Block(block)).map_err(|_| gone())
    }

    fn finish(&mut self) -> Result<()> {
        self.monitor.check()?;
        let last = if self.current.is_empty() {
            Ok(())
        } else {
            self.send()
        };
        last.and_then(|()| {
            let gone = |_| io::ErrorKind::BrokenPipe.into();
            self.full.send(Filled::Last).map_err(gone)
        })
        .map_err(Error::io("write to", "the tape"))
    }
}

impl Sink for Filler<'_> {
    fn sha256(&self) -> Sha256Sum {
        Sha256Sum(self.hash.clone().finalize().into())
    }
}

impl Write for Filler<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.current.len() == self.block {
            self.send()?;
        }
        let length = bytes.len().min(self.block - self.current.len());
        let taken = bytes.get(..length).unwrap_or_default();
        self.hash.update(taken);
        self.current.extend_from_slice(taken);
        self.length += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
