//! Files of the output, written where no run holds a lease.

use std::io::{ErrorKind, Write};
use std::path::Path;

use crate::error::{Error, Result};
use crate::store::atomic::TempFile;
use crate::store::named::NamedByHash;

/// An empty file in the folder `temp_dir`. In a dry run, and where the bytes stand
/// somewhere already, there is none.
pub(super) fn new_file(temp_dir: Option<&Path>) -> Result<NamedByHash> {
    Ok(NamedByHash::new(
        temp_dir.map(TempFile::create).transpose()?,
    ))
}

/// Writes a small file, durably, unless there is one of that name already.
pub(super) fn write_new(temp_dir: &Path, target: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = TempFile::create(temp_dir)?;
    file.write_all(bytes).map_err(Error::io("write", target))?;
    publish(file, target)
}

/// Gives a file its name, durably, unless there is one of that name already.
pub(super) fn publish(file: TempFile, target: &Path) -> Result<()> {
    match file.publish_new(target) {
        // What has this name holds these bytes.
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}
