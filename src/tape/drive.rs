//! A drive: what reads and writes the files of the tape that is in it.

use std::io;

use crate::format::tape::TapeFile;
use crate::{Error, Result};

/// What a try to read brought.
#[derive(Debug)]
pub enum Read {
    /// So many bytes stand at the start of the buffer.
    Data(usize),
    /// The tape file is at its end.
    End,
    /// So many bytes cannot be read; what stands behind them can be tried.
    Bad {
        /// How many, as far as the drive knows.
        length: u64,
        /// Why not.
        error: io::Error,
    },
}

/// Why something could not be written.
#[derive(Debug)]
pub enum WriteFault {
    /// The tape is at its end.
    Full,
    /// Tape or drive failed.
    Failed(io::Error),
}

/// What is found where a tape file is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// A tape file, which can be read now. Its name, if names stand on such tapes.
    File(Option<TapeFile>),
    /// A file that is there, but whose place cannot be read.
    Unreadable,
    /// Nothing: the tape has no file of this number or a greater one.
    End,
}

/// A drive and the tape in it. Tape files are numbered from 0, and are written and read
/// one at a time, from front to back.
pub trait Drive: Send {
    /// What it is called in messages.
    fn name(&self) -> String;

    /// Makes the tape in the drive ready.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Refused`] if there is none, or it cannot be used.
    fn load(&mut self) -> Result<()>;

    /// Hands the tape out.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Refused`].
    fn unload(&mut self) -> Result<()>;

    /// What stands on the tape although dtar did not write it: a description, for messages.
    ///
    /// # Errors
    /// [`Error::Io`].
    fn foreign(&mut self) -> Result<Option<String>> {
        Ok(None)
    }

    /// The length of the blocks of tape files; 0 if they are as long as what is written.
    fn block(&self) -> u32;

    /// Writes and reads blocks of this length from now on, as the tape's label says.
    fn set_block(&mut self, block: u32);

    /// How many bytes the tape holds in all, if the drive knows.
    ///
    /// # Errors
    /// [`Error::Io`].
    fn capacity(&mut self) -> Result<Option<u64>>;

    /// How many bytes of the tape are in use before the next new file, if the drive knows.
    /// To be asked after [`Drive::open`] has found the end.
    ///
    /// # Errors
    /// [`Error::Io`].
    fn used(&mut self) -> Result<Option<u64>>;

    /// Looks for the tape file of this number, to read it from its start.
    ///
    /// # Errors
    /// [`Error::Io`] if the drive fails.
    fn open(&mut self, number: u32) -> Result<Opened>;

    /// Reads on in the open tape file, at most as much as `buffer` holds, which is not
    /// shorter than a block.
    ///
    /// # Errors
    /// [`Error::Io`] if nothing more can be read of this file.
    fn read(&mut self, buffer: &mut [u8]) -> Result<Read>;

    /// Passes over bytes of the open tape file, whole blocks of them; returns over how many.
    /// Less than asked for, or nothing, is no fault.
    ///
    /// # Errors
    /// [`Error::Io`].
    fn skip(&mut self, bytes: u64) -> Result<u64>;

    /// Makes all that stands on the tape void: the next new file is number 0.
    ///
    /// # Errors
    /// [`Error::Io`].
    fn erase(&mut self) -> Result<()>;

    /// Begins a new tape file behind the last one. `file.number` is the number of files
    /// before it; what stood from there on is void.
    ///
    /// # Errors
    /// [`Error::Io`].
    fn create(&mut self, file: TapeFile) -> Result<()>;

    /// Writes on in the new tape file: one block, or the last one, which may be shorter.
    ///
    /// # Errors
    /// If the tape is full, or fails.
    fn write(&mut self, bytes: &[u8]) -> std::result::Result<(), WriteFault>;

    /// Whether the tape has said that its end is near. What is short still fits.
    fn is_warned(&self) -> bool {
        false
    }

    /// Ends the new tape file: what was written is on the tape when this returns.
    ///
    /// # Errors
    /// If the tape is full, or fails.
    fn close(&mut self) -> std::result::Result<(), WriteFault>;

    /// Gives the new tape file up. The next one takes its place.
    ///
    /// # Errors
    /// [`Error::Io`].
    fn abandon(&mut self) -> Result<()>;

    /// Ends the tape, after the last file of a run.
    ///
    /// # Errors
    /// If the tape is full, or fails.
    fn finish(&mut self) -> std::result::Result<(), WriteFault>;
}

impl WriteFault {
    /// The fault as an error of the library.
    #[must_use]
    pub fn into_error(self, drive: &str) -> Error {
        match self {
            Self::Full => Error::io("write to", drive)(io::ErrorKind::StorageFull.into()),
            Self::Failed(source) => Error::io("write to", drive)(source),
        }
    }
}
