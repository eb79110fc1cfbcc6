//! The drive of a virtual library, which behaves as the st driver does.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::settings::Broken;
use super::tape::{Item, Tape};
use crate::tape::raw::{Medium, Operation, Status};

/// A write may be so late before a tape with a least rate stops: what a drive's own
/// buffer bridges.
const DRIVE_BUFFER: Duration = Duration::from_millis(100);

/// The drive of a virtual library.
#[derive(Debug)]
pub struct SimDevice {
    library: PathBuf,
    tape: Option<Tape>,
    /// Blocks and marks before the tape's place.
    at: usize,
    block: u32,
    /// Whether the next write behind the early warning is carried out.
    warned: bool,
    end_of_data: bool,
    /// When writing without a pause began, and how much was written since.
    streaming: Option<(Instant, u64)>,
}

impl SimDevice {
    /// The drive of the library in a folder.
    #[must_use]
    pub fn new(library: &Path) -> Self {
        Self {
            library: library.to_owned(),
            tape: None,
            at: 0,
            block: 0,
            warned: false,
            end_of_data: false,
            streaming: None,
        }
    }

    fn tape(&mut self) -> io::Result<&mut Tape> {
        self.tape.as_mut().ok_or_else(|| Errno::BADF.into())
    }

    fn space_forward(&mut self, mut count: u32, marks: bool) -> io::Result<()> {
        while count > 0 {
            let at = self.at;
            match self.tape()?.item(at) {
                None => {
                    self.end_of_data = true;
                    return Err(Errno::IO.into());
                }
                Some(Item::Mark) => {
                    self.at += 1;
                    count -= 1;
                    if !marks {
                        return Err(Errno::IO.into());
                    }
                }
                Some(Item::Block { .. }) => {
                    self.at += 1;
                    count -= u32::from(!marks);
                }
            }
        }
        Ok(())
    }

    fn space_back(&mut self, mut count: u32) -> io::Result<()> {
        while count > 0 {
            self.at = self.at.checked_sub(1).ok_or(Errno::IO)?;
            let at = self.at;
            count -= u32::from(self.tape()?.item(at) == Some(Item::Mark));
        }
        Ok(())
    }

    fn write_marks(&mut self, count: u32) -> io::Result<()> {
        let at = self.at;
        let tape = self.tape()?;
        if tape.settings.broken == Some(Broken::Write) {
            return Err(Errno::IO.into());
        }
        for mark in 0..count as usize {
            tape.put(at + mark, None)?;
        }
        self.at += count as usize;
        self.streaming = None;
        Ok(())
    }

    /// What is wrong with writing `length` bytes now.
    fn check_write(&mut self, length: u64) -> io::Result<()> {
        let (at, warned) = (self.at, self.warned);
        let tape = self.tape()?;
        let settings = &tape.settings;
        let (offset, number) = tape.next_block(at);
        if settings.write_protected {
            return Err(Errno::ROFS.into());
        }
        if settings.broken == Some(Broken::Write) || settings.fail_write.contains(&number) {
            return Err(Errno::IO.into());
        }
        if settings.power_cut.is_some_and(|cut| offset + length > cut) {
            // No destructors, nothing flushed: as if the machine had lost its power.
            std::process::exit(137);
        }
        let end = settings.end();
        let warns = offset + length > end.saturating_sub(settings.early_warning);
        if offset + length > end {
            self.warned = false;
            return Err(Errno::NOSPC.into());
        }
        self.warned = warns && !warned;
        if self.warned {
            return Err(Errno::NOSPC.into());
        }
        Ok(())
    }

    /// Takes the time that the tape takes; fails if the data came too late for it.
    fn take_time(&mut self, length: u64) -> io::Result<()> {
        let settings = &self.tape()?.settings;
        let (slow, rate) = (settings.slow, settings.least_rate);
        let (since, written) = self.streaming.unwrap_or_else(|| (Instant::now(), 0));
        if let Some(rate @ 1..) = rate {
            let due = Duration::from_millis(written.saturating_mul(1000) / rate);
            if since.elapsed() > due + DRIVE_BUFFER {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("the tape ran out of data: it needs {rate} bytes a second"),
                ));
            }
        }
        self.streaming = Some((since, written + length));
        if slow > 0 {
            std::thread::sleep(Duration::from_millis(slow));
        }
        Ok(())
    }

    fn eject(&mut self) -> io::Result<()> {
        self.tape = None;
        match fs::remove_file(self.library.join("loaded")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Medium for SimDevice {
    fn path(&self) -> &Path {
        &self.library
    }

    fn open(&mut self) -> io::Result<()> {
        if self.tape.is_some() {
            return Ok(());
        }
        let name = fs::read_to_string(self.library.join("loaded")).unwrap_or_default();
        let name = name.trim();
        let dir = self.library.join(name);
        // As st says it when it waits for a tape in vain.
        let none = io::Error::from_raw_os_error(Errno::NOMEDIUM.raw_os_error());
        if name.is_empty() || name.contains('/') || !dir.is_dir() {
            return Err(none);
        }
        let tape = Tape::open(&dir)?;
        if tape.settings.broken == Some(Broken::Load) {
            return Err(Errno::IO.into());
        }
        self.tape = Some(tape);
        self.at = 0;
        self.warned = false;
        self.end_of_data = false;
        self.streaming = None;
        Ok(())
    }

    fn close(&mut self) {
        self.tape = None;
    }

    fn operate(&mut self, operation: Operation) -> io::Result<()> {
        if operation == Operation::Eject {
            return self.eject();
        }
        self.tape()?;
        self.end_of_data = false;
        match operation {
            Operation::Rewind => {
                self.at = 0;
                self.streaming = None;
                Ok(())
            }
            Operation::ForwardFiles(count) => self.space_forward(count, true),
            Operation::BackFiles(count) => self.space_back(count),
            Operation::ForwardBlocks(count) => self.space_forward(count, false),
            Operation::WriteMarks(count) => self.write_marks(count),
            Operation::SetBlock(length) => {
                self.block = length;
                Ok(())
            }
            Operation::Eject => Ok(()),
        }
    }

    fn status(&mut self) -> io::Result<Status> {
        let end_of_data = self.end_of_data;
        let tape = self.tape()?;
        Ok(Status {
            online: true,
            write_protected: tape.settings.write_protected,
            end_of_data,
        })
    }

    fn position(&mut self) -> Option<u64> {
        self.tape.as_ref()?;
        Some(self.at as u64)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (at, block) = (self.at, self.block);
        let tape = self.tape()?;
        let Some(item) = tape.item(at) else {
            // Once as the end of a file, as st does behind a filemark; then as a fault.
            let first = !std::mem::replace(&mut self.end_of_data, true);
            return if first && at > 0 {
                Ok(0)
            } else {
                Err(Errno::IO.into())
            };
        };
        let Item::Block {
            offset,
            length,
            number,
        } = item
        else {
            self.at += 1;
            return Ok(0);
        };
        let settings = &tape.settings;
        if settings.broken == Some(Broken::Read) || settings.fail_read.contains(&number) {
            return Err(Errno::IO.into());
        }
        if block != 0 && block != length {
            self.at += 1;
            return Err(Errno::IO.into());
        }
        let Some(place) = buffer.get_mut(..length as usize) else {
            self.at += 1;
            return Err(Errno::NOMEM.into());
        };
        tape.read(offset, place)?;
        if settings.flip.contains(&number) {
            place.iter_mut().step_by(997).for_each(|byte| *byte ^= 0x10);
        }
        let slow = settings.slow;
        self.at += 1;
        if slow > 0 {
            std::thread::sleep(Duration::from_millis(slow));
        }
        Ok(length as usize)
    }

    fn write(&mut self, block: &[u8]) -> io::Result<usize> {
        if self.block != 0 && block.len() != self.block as usize {
            return Err(Errno::INVAL.into());
        }
        let length = block.len() as u64;
        self.check_write(length)?;
        self.take_time(length)?;
        let at = self.at;
        self.tape()?.put(at, Some(block))?;
        self.at += 1;
        self.end_of_data = false;
        debug_assert_eq!(self.tape.as_ref().map(Tape::len), Some(self.at));
        Ok(block.len())
    }

    fn capacity(&mut self) -> Option<u64> {
        let capacity = self.tape.as_ref()?.settings.capacity;
        (capacity > 0).then_some(capacity)
    }
}
