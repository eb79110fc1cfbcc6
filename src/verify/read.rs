//! Reading from files of which nothing is known, not even whether they can be read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::store::is_damage;

/// Why bytes could not be had.
#[derive(Debug)]
pub(super) enum Unread {
    /// The file ends before them.
    Short,
    /// The system says so.
    Failed(io::Error),
}

impl Unread {
    /// Whether the bytes are gone, rather than out of reach for now: no right to read
    /// them, a server that does not answer.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Short => true,
            Self::Failed(error) => is_damage(error),
        }
    }

    /// What to say of bytes from `offset` on, in a file of `length` bytes.
    pub(super) fn message(&self, what: &str, end: u64, length: u64) -> String {
        match self {
            Self::Short => {
                format!("cut short: {what} ends at byte {end}, but the file has {length} bytes")
            }
            Self::Failed(error) => format!("{what} cannot be read: {error}"),
        }
    }
}

/// Reads `length` bytes at `offset` into `bytes`, in place of what is there.
pub(super) fn read_at(
    file: &File,
    offset: u64,
    length: usize,
    bytes: &mut Vec<u8>,
) -> Result<(), Unread> {
    bytes.resize(length, 0);
    fill(file, offset, bytes)
}

/// Fills `bytes` from `offset` on.
pub(super) fn fill(file: &File, offset: u64, bytes: &mut [u8]) -> Result<(), Unread> {
    file.read_exact_at(bytes, offset)
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Unread::Short,
            _ => Unread::Failed(error),
        })
}

/// Tells the system that the file will be read from front to back.
pub(super) fn announce(file: &File) {
    #[cfg(target_os = "linux")]
    {
        // A hint: nothing is lost without it.
        let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::Sequential);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = file;
}
