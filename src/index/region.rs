//! A part of an index file, read by offset through a window.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::wire::{DecodeError, Fault};

/// Read at a time.
const WINDOW: usize = 64 << 10;

/// A part of a file, from which one structure after another is read.
///
/// Every read is checked against the part's end before anything is allocated.
pub struct Region {
    file: Arc<File>,
    path: Arc<PathBuf>,
    what: &'static str,
    position: u64,
    end: u64,
    window: Vec<u8>,
    window_start: u64,
}

impl Region {
    /// Bytes `start` to `end` of `file`; errors call the part `what`.
    pub(super) fn new(
        file: &Arc<File>,
        path: &Arc<PathBuf>,
        what: &'static str,
        start: u64,
        end: u64,
    ) -> Self {
        Self {
            file: Arc::clone(file),
            path: Arc::clone(path),
            what,
            position: start,
            end,
            window: Vec::new(),
            window_start: start,
        }
    }

    /// Offset in the file of the next byte.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Bytes left.
    #[must_use]
    pub const fn rest(&self) -> u64 {
        self.end.saturating_sub(self.position)
    }

    /// The file's name, for errors.
    #[must_use]
    pub fn path(&self) -> &PathBuf {
        &self.path
    }

    /// Goes to an offset in the file.
    pub const fn seek(&mut self, position: u64) {
        self.position = position;
    }

    /// Goes `length` bytes on.
    ///
    /// # Errors
    /// Fails if the part ends before.
    pub fn skip(&mut self, length: u64) -> Result<()> {
        self.require(length)?;
        self.position += length;
        Ok(())
    }

    /// The next `length` bytes, which are then passed.
    ///
    /// # Errors
    /// Fails if the part ends before, and if the file cannot be read.
    pub fn take(&mut self, length: usize) -> Result<&[u8]> {
        self.require(length as u64)?;
        self.fill(length)?;
        let start = self.offset_in_window();
        self.position += length as u64;
        Ok(&self.window[start..start + length])
    }

    /// The next bytes without passing them: at most `length`, fewer only at the part's end.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    pub fn peek(&mut self, length: usize) -> Result<&[u8]> {
        let length = self.rest().min(length as u64) as usize;
        self.fill(length)?;
        let start = self.offset_in_window();
        Ok(&self.window[start..start + length])
    }

    /// Decodes what comes next, of which no more than `most` bytes are needed.
    ///
    /// # Errors
    /// Those of `decode`, and of reading.
    pub fn decode<T>(
        &mut self,
        most: usize,
        decode: impl FnOnce(&[u8]) -> Result<(T, usize), DecodeError>,
    ) -> Result<T> {
        let base = self.position;
        let (value, length) =
            decode(self.peek(most)?).map_err(|source| Error::decode(self.path(), base)(source))?;
        self.position += length as u64;
        Ok(value)
    }

    /// An error at the next byte.
    #[must_use]
    pub fn error(
        &self,
        field: &'static str,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Error {
        let source = DecodeError::value(self.what, field, self.position, expected, found);
        Error::decode(self.path(), 0)(source)
    }

    fn require(&self, needed: u64) -> Result<()> {
        let found = self.rest();
        if needed <= found {
            return Ok(());
        }
        Err(Error::decode(self.path(), 0)(DecodeError {
            structure: self.what,
            field: "length",
            offset: self.position,
            fault: Fault::Truncated { needed, found },
        }))
    }

    fn offset_in_window(&self) -> usize {
        (self.position - self.window_start) as usize
    }

    /// Makes the window hold `length` bytes from here on; there are that many.
    fn fill(&mut self, length: usize) -> Result<()> {
        let window_end = self.window_start + self.window.len() as u64;
        if self.position >= self.window_start && self.position + length as u64 <= window_end {
            return Ok(());
        }
        let wanted = self.rest().min(length.max(WINDOW) as u64) as usize;
        self.window.resize(wanted, 0);
        self.window_start = self.position;
        self.file
            .read_exact_at(&mut self.window, self.position)
            .map_err(Error::io("read", &*self.path))
    }
}
