//! A folder that one run alone uses.

use std::fs::File;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::Exit;
use crate::{Error, Result};

/// How often is looked whether the folder is free, and how long between.
const LOOKS: u32 = 100;
const BETWEEN: Duration = Duration::from_millis(50);

/// Locks a folder as long as the result lives; refuses with `message` if another run has it.
/// Nothing: its file system knows no such locks.
///
/// A run that has just ended may still hold it for a moment: a program that was started
/// meanwhile, such as a change command, holds what was open until it has begun.
pub(super) fn lock(dir: &Path, message: &str) -> Result<Option<File>> {
    let file = File::open(dir).map_err(Error::io("open", dir))?;
    for _ in 0..LOOKS {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(file)),
            Err(Errno::WOULDBLOCK) => thread::sleep(BETWEEN),
            // As NFS, for folders.
            Err(Errno::BADF | Errno::OPNOTSUPP | Errno::NOSYS | Errno::NOLCK) => return Ok(None),
            Err(error) => return Err(Error::io("lock", dir)(error.into())),
        }
    }
    Err(Error::Refused {
        path: dir.to_owned(),
        message: message.into(),
        exit: Exit::Failed,
    })
}
