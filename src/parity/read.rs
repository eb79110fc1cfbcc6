//! Reading pieces of files that may be damaged, cut short, or on bad sectors.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::archive::Monitor;
use crate::error::{Error, Result};

const PIECE: usize = 1 << 20;

/// Fills `buffer` from `offset`, and returns how many bytes there were: fewer at the end
/// of the file.
pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..)
        && !rest.is_empty()
    {
        match file.read_at(rest, offset + done as u64) {
            Ok(0) => break,
            Ok(length) => done += length,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Whether a file can be read and its bytes have this hash. Being interrupted is an error.
pub(super) fn has_hash(path: &Path, hash: &[u8; 32], monitor: &Monitor) -> Result<bool> {
    match hash_file(path, monitor) {
        Err(Error::Interrupted) => Err(Error::Interrupted),
        found => Ok(found.is_ok_and(|found| found == *hash)),
    }
}

/// The BLAKE3-256 of a whole file.
pub(super) fn hash_file(path: &Path, monitor: &Monitor) -> Result<[u8; 32]> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; PIECE];
    let mut offset = 0;
    loop {
        monitor.check()?;
        let length = read_at(&file, &mut buffer, offset).map_err(Error::io("read", path))?;
        let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else {
            return Ok(*hasher.finalize().as_bytes());
        };
        hasher.update(bytes);
        offset += length as u64;
    }
}
