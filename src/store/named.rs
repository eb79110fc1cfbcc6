//! Files in the making, named by what is in them.

use std::io::Write;
use std::path::Path;

use super::atomic::TempFile;
use crate::error::{Error, Result};

/// Bytes on their way into a file whose name follows from them. Where nothing is to be
/// kept there is no file, and only the name is found.
pub(crate) struct NamedByHash {
    file: Option<TempFile>,
    hasher: blake3::Hasher,
    length: u64,
}

impl NamedByHash {
    /// Nothing yet, on its way into this file, which is empty.
    pub(crate) fn new(file: Option<TempFile>) -> Self {
        Self {
            file,
            hasher: blake3::Hasher::new(),
            length: 0,
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        file.write_all(bytes)
            .map_err(|error| Error::io("write", file.path())(error))
    }

    /// Counts bytes that are not at hand, as those of a dry run may be.
    pub(crate) const fn count(&mut self, length: u64) {
        self.length += length;
    }

    pub(crate) const fn length(&self) -> u64 {
        self.length
    }

    /// Where the bytes can be read until the file has its name.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(TempFile::path)
    }

    /// BLAKE3-256 of the bytes.
    pub(crate) fn hash(&self) -> [u8; 32] {
        *self.hasher.finalize().as_bytes()
    }

    /// Has `publish` give the file its name, if there is a file.
    pub(crate) fn publish(self, publish: impl FnOnce(TempFile) -> Result<()>) -> Result<()> {
        self.file.map_or(Ok(()), publish)
    }
}
