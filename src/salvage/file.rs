//! Files in the making, named by what is in them.

use std::io::{ErrorKind, Write};
use std::path::Path;

use crate::error::{Error, Result};
use crate::store::atomic::TempFile;

/// Bytes on their way into a file whose name follows from them. In a dry run, and where
/// the bytes stand somewhere already, there is no file, and only the name is found.
pub(super) struct NamedByHash {
    file: Option<TempFile>,
    hasher: blake3::Hasher,
    length: u64,
}

impl NamedByHash {
    /// An empty file in the folder `temp_dir`; without it none.
    pub(super) fn new(temp_dir: Option<&Path>) -> Result<Self> {
        Ok(Self {
            file: temp_dir.map(TempFile::create).transpose()?,
            hasher: blake3::Hasher::new(),
            length: 0,
        })
    }

    /// No file: bytes of which only the name is wanted.
    pub(super) fn nowhere() -> Self {
        Self {
            file: None,
            hasher: blake3::Hasher::new(),
            length: 0,
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        file.write_all(bytes)
            .map_err(|error| Error::io("write", file.path())(error))
    }

    /// Counts bytes that are not at hand, as those of a dry run may be.
    pub(super) const fn count(&mut self, length: u64) {
        self.length += length;
    }

    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// Where the bytes can be read until the file has its name.
    pub(super) fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(TempFile::path)
    }

    /// BLAKE3-256 of the bytes.
    pub(super) fn hash(&self) -> [u8; 32] {
        *self.hasher.finalize().as_bytes()
    }

    /// Gives the file its name, durably, unless there is one of that name already.
    pub(super) fn publish(self, target: &Path) -> Result<()> {
        match self.file {
            Some(file) => publish(file, target),
            None => Ok(()),
        }
    }
}

/// Writes a small file, durably, unless there is one of that name already.
pub(super) fn write_new(temp_dir: &Path, target: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = TempFile::create(temp_dir)?;
    file.write_all(bytes).map_err(Error::io("write", target))?;
    publish(file, target)
}

fn publish(file: TempFile, target: &Path) -> Result<()> {
    match file.publish_new(target) {
        // What has this name holds these bytes.
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}
