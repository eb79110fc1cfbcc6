//! What a tape device does, as the st driver of Linux shows it.

use std::io;
use std::path::Path;

/// An operation that moves the tape or sets the device (`MTIOCTOP`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// To the beginning.
    Rewind,
    /// Over so many filemarks, to what stands behind the last of them.
    ForwardFiles(u32),
    /// Back over so many filemarks, to what stands before the last of them.
    BackFiles(u32),
    /// Over so many blocks.
    ForwardBlocks(u32),
    /// Writes so many filemarks; what was written before is on the tape then.
    WriteMarks(u32),
    /// The length of blocks; 0: each is as long as what is written or read at once.
    SetBlock(u32),
    /// Rewinds and hands the tape out.
    Eject,
}

/// How the device stands (`MTIOCGET`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Status {
    /// A tape is in the drive, and ready.
    pub online: bool,
    /// It must not be written.
    pub write_protected: bool,
    /// It stands behind all that was recorded.
    pub end_of_data: bool,
}

/// A tape device.
///
/// `read` and `write` behave as the st driver's: a read at a filemark returns 0 and stands
/// behind it then, one behind all data returns 0 or fails, and the status says end of data;
/// a block longer than the buffer is `ENOMEM`; a write after the early warning fails with
/// `ENOSPC`, the one after that is carried out, and so on until the tape really ends.
pub trait Medium: Send {
    /// The device, for messages.
    fn path(&self) -> &Path;

    /// Opens the device, if it is not open, for whatever tape is in it.
    ///
    /// # Errors
    /// As the system says.
    fn open(&mut self) -> io::Result<()>;

    /// Closes the device: another tape may be put in.
    fn close(&mut self);

    /// Carries out an operation.
    ///
    /// # Errors
    /// As the system says.
    fn operate(&mut self, operation: Operation) -> io::Result<()>;

    /// How the device stands.
    ///
    /// # Errors
    /// As the system says.
    fn status(&mut self) -> io::Result<Status>;

    /// How many blocks and filemarks stand before the place of the tape (`MTIOCPOS`); none
    /// if the device does not tell.
    fn position(&mut self) -> Option<u64>;

    /// Reads a block.
    ///
    /// # Errors
    /// As the system says.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes a block.
    ///
    /// # Errors
    /// As the system says.
    fn write(&mut self, block: &[u8]) -> io::Result<usize>;

    /// How many bytes the tape holds, if the device knows.
    fn capacity(&mut self) -> Option<u64> {
        None
    }
}
