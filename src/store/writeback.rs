//! Files written from start to end, whose bytes go to the disk while the rest is made.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

/// Bytes after which the system is told to begin writing them to the disk.
const STEP: u64 = 8 << 20;

/// A file that is written from start to end.
///
/// Every 8 MiB the system is told to begin writing them to the disk, so that the
/// fsync at the end of a long file finds little left to do. Writes are not buffered.
#[derive(Debug)]
pub struct EagerFile {
    file: File,
    position: u64,
    /// Up to where the system was told.
    begun: u64,
}

impl EagerFile {
    /// Goes on where `file` stands.
    #[must_use]
    pub fn new(mut file: File) -> Self {
        // A pipe has no position, and none is needed.
        let position = file.stream_position().unwrap_or(0);
        Self {
            file,
            position,
            begun: position,
        }
    }

    /// The file itself, for whatever else than writing.
    #[must_use]
    pub const fn file(&self) -> &File {
        &self.file
    }
}

impl Write for EagerFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.file.write(bytes)?;
        self.position += length as u64;
        if self.position.saturating_sub(self.begun) >= STEP {
            begin_writeback(&self.file, self.begun, self.position - self.begun);
            self.begun = self.position;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for EagerFile {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.position = self.file.seek(position)?;
        Ok(self.position)
    }
}

/// Only a hint, which a pipe refuses: whether it is heeded decides nothing.
#[cfg(target_os = "linux")]
fn begin_writeback(file: &File, offset: u64, length: u64) {
    use rustix::fs::{Advice, fadvise};
    let _ = fadvise(file, offset, length.try_into().ok(), Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
const fn begin_writeback(_file: &File, _offset: u64, _length: u64) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_what_was_written_across_steps() {
        let temp = tempfile::NamedTempFile::new().unwrap();
        let mut file = EagerFile::new(temp.reopen().unwrap());
        let piece: Vec<u8> = (0..=255).cycle().take(3 << 20).collect();
        for _ in 0..4 {
            file.write_all(&piece).unwrap();
        }
        assert_eq!((file.position, file.begun), (12 << 20, 9 << 20));
        let found = std::fs::read(temp.path()).unwrap();
        assert!(found == piece.repeat(4));
    }
}
