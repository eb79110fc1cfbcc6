//! A brick's bytes: a file of its own, or a part of a container.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes that are read from anywhere.
pub trait ReadAt {
    /// How many there are.
    ///
    /// # Errors
    /// Those of the system.
    fn length(&self) -> io::Result<u64>;

    /// Fills `bytes` from `offset` on.
    ///
    /// # Errors
    /// Those of the system; [`io::ErrorKind::UnexpectedEof`] beyond the end.
    fn fill_from(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;
}

impl ReadAt for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn fill_from(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(bytes, offset)
    }
}

/// A brick that is open to be read.
#[derive(Debug)]
pub struct BrickFile {
    file: File,
    /// Where it begins in the file, and its length; nothing: it is the whole file.
    part: Option<(u64, u64)>,
}

impl BrickFile {
    /// The brick that is `length` bytes of a file from `start` on.
    #[must_use]
    pub const fn part(file: File, start: u64, length: u64) -> Self {
        Self {
            file,
            part: Some((start, length)),
        }
    }
}

impl ReadAt for BrickFile {
    fn length(&self) -> io::Result<u64> {
        self.part
            .map_or_else(|| self.file.length(), |(_, length)| Ok(length))
    }

    fn fill_from(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let Some((start, length)) = self.part else {
            return self.file.fill_from(offset, bytes);
        };
        let end = offset.checked_add(bytes.len() as u64);
        if end.is_none_or(|end| end > length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.file.fill_from(start + offset, bytes)
    }
}

impl From<File> for BrickFile {
    fn from(file: File) -> Self {
        Self { file, part: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_part_ends_where_it_ends() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let part = BrickFile::part(file.try_clone().unwrap(), 2, 5);
        assert_eq!(part.length().unwrap(), 5);
        let mut bytes = [0; 3];
        part.fill_from(2, &mut bytes).unwrap();
        assert_eq!(&bytes, b"456");
        assert!(part.fill_from(3, &mut bytes).is_err());
        assert!(part.fill_from(u64::MAX, &mut bytes).is_err());
        let whole = BrickFile::from(file);
        assert_eq!(whole.length().unwrap(), 10);
        whole.fill_from(7, &mut bytes).unwrap();
        assert_eq!(&bytes, b"789");
    }
}
