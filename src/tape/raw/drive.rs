//! Tape files on a raw tape: blocks of one length, a filemark behind each file.

use std::io;

use rustix::io::Errno;

use super::medium::{Medium, Operation};
use crate::error::Exit;
use crate::format::tape::{DEFAULT_BLOCK, MAX_BLOCK, TapeFile};
use crate::tape::drive::{Drive, Opened, Read, WriteFault};
use crate::{Error, Result};

/// Bad blocks in a row after which the rest of a tape file is given up: each may cost a
/// drive minutes.
const MOST_BAD_BLOCKS: u32 = 100;

/// The most blocks that are passed over at once: the drive's command has a count of 24 bits
/// with a sign, and st cuts off what is above them.
const MOST_SPACED: u64 = 1 << 22;

/// A drive for tapes of blocks and filemarks.
#[derive(Debug)]
pub struct RawDrive<M> {
    medium: M,
    block: u32,
    /// What the device was last told, if anything.
    device_block: Option<u32>,
    place: Place,
    /// The block with which the open file begins, while it is not handed out.
    first: Vec<u8>,
    has_first: bool,
    bad_in_a_row: u32,
    /// How many blocks and marks stand before the tape's place, while a file is read.
    at: Option<u64>,
    warned: bool,
    /// A filled-up last block.
    padded: Vec<u8>,
}

/// Where the tape stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Unknown,
    /// Somewhere in the tape file of this number, before its filemark.
    In(u32),
    /// At the start of the tape file of this number.
    StartOf(u32),
    /// Where the file of this number, which is not there, would begin.
    End(u32),
    /// Behind a file of this number that has no filemark.
    CutOff(u32),
    /// In a new file of this number.
    Writing(u32),
}

/// What stands where a file would begin.
enum First {
    Block,
    Bad,
    Mark,
    EndOfData,
}

impl<M: Medium> RawDrive<M> {
    /// A drive that is `medium`; writes blocks of 1 MiB until told otherwise.
    #[must_use]
    pub fn new(medium: M) -> Self {
        Self {
            medium,
            block: DEFAULT_BLOCK,
            device_block: None,
            place: Place::Unknown,
            first: Vec::new(),
            has_first: false,
            bad_in_a_row: 0,
            at: None,
            warned: false,
            padded: Vec::new(),
        }
    }

    /// The device below.
    pub const fn medium(&mut self) -> &mut M {
        &mut self.medium
    }

    fn fault(&self, action: &'static str) -> impl FnOnce(io::Error) -> Error + use<M> {
        Error::io(action, self.medium.path().to_owned())
    }

    fn operate(&mut self, operation: Operation) -> io::Result<()> {
        let result = self.medium.operate(operation);
        if result.is_err() {
            self.place = Place::Unknown;
        }
        result
    }

    fn use_blocks(&mut self, length: u32) -> io::Result<()> {
        if self.device_block != Some(length) {
            self.medium.operate(Operation::SetBlock(length))?;
            self.device_block = Some(length);
        }
        Ok(())
    }

    /// Moves to the start of a tape file, if all filemarks before it are there; or to the
    /// end of the data, if the last of them is not.
    fn go_to(&mut self, number: u32) -> Result<()> {
        self.has_first = false;
        let marks = match self.place {
            Place::StartOf(at) | Place::End(at) if at == number => return Ok(()),
            Place::In(at) | Place::StartOf(at) if at < number => number - at,
            _ => {
                self.operate(Operation::Rewind)
                    .map_err(self.fault("rewind"))?;
                number
            }
        };
        self.place = Place::StartOf(number);
        if marks == 0 {
            return Ok(());
        }
        let Err(error) = self.operate(Operation::ForwardFiles(marks)) else {
            return Ok(());
        };
        if self.is_at_end_of_data() {
            self.place = Place::CutOff(number - 1);
            return Ok(());
        }
        Err(self.fault("find a file on")(error))
    }

    fn is_at_end_of_data(&mut self) -> bool {
        self.medium.status().is_ok_and(|status| status.end_of_data)
    }

    /// Reads the block at the start of a file, whatever its length is.
    fn read_first(&mut self, number: u32) -> Result<First> {
        self.use_blocks(0)
            .map_err(self.fault("set the blocks of"))?;
        for length in [DEFAULT_BLOCK.max(self.block), MAX_BLOCK] {
            self.first.resize(length as usize, 0);
            let error = match self.medium.read(&mut self.first) {
                Ok(0) if self.is_at_end_of_data() => return Ok(First::EndOfData),
                Ok(0) => return Ok(First::Mark),
                Ok(length) => {
                    self.first.truncate(length);
                    return Ok(First::Block);
                }
                Err(error) => error,
            };
            if self.is_at_end_of_data() {
                return Ok(First::EndOfData);
            }
            if error.raw_os_error() != Some(Errno::NOMEM.raw_os_error()) {
                return Ok(First::Bad);
            }
            // A longer block than that: once more from the start of the file.
            self.place = Place::Unknown;
            self.go_to(number)?;
        }
        Ok(First::Bad)
    }

    /// Passes over a block that could not be read, unless the drive has done so itself.
    fn pass_bad_block(&mut self) -> io::Result<()> {
        let at = self.medium.position();
        if at.is_some() && at == self.at {
            self.operate(Operation::ForwardBlocks(1))?;
        }
        self.at = self.at.map(|at| at + 1);
        Ok(())
    }

    /// Writes a block; the early warning is no fault as long as the block gets on the tape.
    fn put(&mut self, block: &[u8]) -> std::result::Result<bool, WriteFault> {
        let mut warned = false;
        loop {
            match self.medium.write(block) {
                Ok(length) if length == block.len() => return Ok(warned),
                Ok(_) => return Err(WriteFault::Full),
                Err(error) if is_full(&error) && !warned => warned = true,
                Err(error) if is_full(&error) => return Err(WriteFault::Full),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(WriteFault::Failed(error)),
            }
        }
    }

    fn mark(&mut self, count: u32) -> std::result::Result<(), WriteFault> {
        for attempt in 0..2 {
            match self.operate(Operation::WriteMarks(count)) {
                Ok(()) => return Ok(()),
                // The early warning alone: the mark fits behind it.
                Err(error) if is_full(&error) && attempt == 0 => {}
                Err(error) if is_full(&error) => return Err(WriteFault::Full),
                Err(error) => return Err(WriteFault::Failed(error)),
            }
        }
        Err(WriteFault::Full)
    }
}

fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::StorageFull
}

impl<M: Medium> Drive for RawDrive<M> {
    fn name(&self) -> String {
        self.medium.path().display().to_string()
    }

    fn load(&mut self) -> Result<()> {
        self.place = Place::Unknown;
        self.device_block = None;
        self.warned = false;
        self.medium.close();
        self.medium.open().map_err(self.fault("open the tape in"))?;
        let status = self.medium.status().map_err(self.fault("examine"))?;
        if !status.online {
            return Err(Error::Refused {
                path: self.medium.path().to_owned(),
                message: "no tape in this drive; put one in".into(),
                exit: Exit::Failed,
            });
        }
        self.operate(Operation::Rewind)
            .map_err(self.fault("rewind"))?;
        self.place = Place::StartOf(0);
        Ok(())
    }

    fn unload(&mut self) -> Result<()> {
        let result = self.operate(Operation::Eject);
        self.medium.close();
        self.place = Place::Unknown;
        result.map_err(self.fault("unload"))
    }

    fn block(&self) -> u32 {
        self.block
    }

    fn set_block(&mut self, block: u32) {
        if block > 0 {
            self.block = block;
        }
    }

    fn capacity(&mut self) -> Result<Option<u64>> {
        Ok(self.medium.capacity())
    }

    fn used(&mut self) -> Result<Option<u64>> {
        let position = self.medium.position();
        Ok(position.map(|blocks| blocks.saturating_mul(self.block.into())))
    }

    fn open(&mut self, number: u32) -> Result<Opened> {
        self.go_to(number)?;
        if self.place == (Place::CutOff(number.wrapping_sub(1))) {
            return Ok(Opened::End);
        }
        self.bad_in_a_row = 0;
        match self.read_first(number)? {
            First::Block => {
                self.place = Place::In(number);
                self.at = self.medium.position();
                self.has_first = true;
                Ok(Opened::File(None))
            }
            First::Bad => {
                self.place = Place::In(number);
                self.at = self.medium.position();
                Ok(Opened::Unreadable)
            }
            First::Mark => {
                // The second of the two marks at the end: the next file takes its place.
                self.operate(Operation::BackFiles(1))
                    .map_err(self.fault("find the end of the data on"))?;
                self.place = Place::End(number);
                Ok(Opened::End)
            }
            First::EndOfData => {
                self.place = Place::End(number);
                Ok(Opened::End)
            }
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<Read> {
        let Place::In(number) = self.place else {
            return Err(Error::Internal("read from a tape that is not open".into()));
        };
        if std::mem::take(&mut self.has_first) {
            let Some(start) = buffer.get_mut(..self.first.len()) else {
                return Err(Error::Internal("a buffer shorter than a block".into()));
            };
            start.copy_from_slice(&self.first);
            return Ok(Read::Data(self.first.len()));
        }
        match self.medium.read(buffer) {
            Ok(0) => {
                self.place = if self.is_at_end_of_data() {
                    Place::CutOff(number)
                } else {
                    Place::StartOf(number + 1)
                };
                Ok(Read::End)
            }
            Ok(length) => {
                self.bad_in_a_row = 0;
                self.at = self.at.map(|at| at + 1);
                Ok(Read::Data(length))
            }
            Err(_) if self.is_at_end_of_data() => {
                self.place = Place::CutOff(number);
                Ok(Read::End)
            }
            Err(error) => {
                self.bad_in_a_row += 1;
                if self.bad_in_a_row > MOST_BAD_BLOCKS {
                    self.place = Place::Unknown;
                    return Err(self.fault("read")(error));
                }
                self.pass_bad_block().map_err(self.fault("read"))?;
                Ok(Read::Bad {
                    length: self.block.into(),
                    error,
                })
            }
        }
    }

    fn skip(&mut self, bytes: u64) -> Result<u64> {
        let block = u64::from(self.block);
        let mut left = bytes / block;
        let mut skipped = 0;
        if left > 0 && std::mem::take(&mut self.has_first) {
            skipped += block;
            left -= 1;
        }
        while let Some(count) = u32::try_from(left.min(MOST_SPACED)).ok().filter(|&n| n > 0) {
            self.operate(Operation::ForwardBlocks(count))
                .map_err(self.fault("find a block on"))?;
            skipped += u64::from(count) * block;
            left -= u64::from(count);
            self.at = self.at.map(|at| at + u64::from(count));
        }
        Ok(skipped)
    }

    fn erase(&mut self) -> Result<()> {
        self.operate(Operation::Rewind)
            .map_err(self.fault("rewind"))?;
        // What is written here makes all that stood behind it unreachable.
        self.place = Place::End(0);
        Ok(())
    }

    fn create(&mut self, file: TapeFile) -> Result<()> {
        let number = file.number;
        let status = self.medium.status().map_err(self.fault("examine"))?;
        if status.write_protected {
            return Err(Error::Refused {
                path: self.medium.path().to_owned(),
                message: "this tape is write-protected; move its tab, or put in another".into(),
                exit: Exit::Failed,
            });
        }
        let cut_off = Place::CutOff(number.wrapping_sub(1));
        if ![Place::End(number), cut_off].contains(&self.place) {
            self.go_to(number)?;
        }
        if self.place == cut_off {
            // A run was cut off here: a mark tells its rest from what comes now.
            self.mark(1)
                .map_err(|fault| fault.into_error(&self.name()))?;
        }
        let block = self.block;
        self.use_blocks(block)
            .map_err(self.fault("set the blocks of"))?;
        self.place = Place::Writing(number);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> std::result::Result<(), WriteFault> {
        let length = self.block as usize;
        let warned = if bytes.len() == length {
            self.put(bytes)
        } else {
            let mut padded = std::mem::take(&mut self.padded);
            padded.clear();
            padded.extend_from_slice(bytes);
            padded.resize(length, 0);
            let result = self.put(&padded);
            self.padded = padded;
            result
        }?;
        self.warned |= warned;
        Ok(())
    }

    fn is_warned(&self) -> bool {
        self.warned
    }

    fn close(&mut self) -> std::result::Result<(), WriteFault> {
        let Place::Writing(number) = self.place else {
            return Err(WriteFault::Failed(io::Error::other("no tape file is open")));
        };
        self.mark(1)?;
        self.place = Place::End(number + 1);
        Ok(())
    }

    fn abandon(&mut self) -> Result<()> {
        let Place::Writing(number) = self.place else {
            self.place = Place::Unknown;
            return Ok(());
        };
        self.place = Place::Unknown;
        self.go_to(number)?;
        self.place = Place::End(number);
        Ok(())
    }

    fn finish(&mut self) -> std::result::Result<(), WriteFault> {
        if !matches!(self.place, Place::End(_)) {
            return Err(WriteFault::Failed(io::Error::other("a tape file is open")));
        }
        let result = self.mark(1);
        self.place = Place::Unknown;
        result
    }
}
