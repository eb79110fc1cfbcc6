//! What can go wrong, and with which exit code a program should say so.

use std::io;
use std::path::{Path, PathBuf};

use crate::format::wire::DecodeError;
use crate::id::{BrickName, Epoch, KeyId, StoreId};

/// The result of the library's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// How a run ended: the exit codes of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed; nothing is known to be damaged.
    Failed = 1,
    /// Used wrongly.
    Usage = 2,
    /// Data is damaged or missing.
    Damaged = 3,
    /// There are differences, and the user wants to know by the exit code.
    Different = 4,
    /// Interrupted by a signal.
    Interrupted = 130,
}

impl Exit {
    /// How a check or a copy ends that was not hindered: whether it found damage.
    #[must_use]
    pub const fn of_damage(is_damaged: bool) -> Self {
        if is_damaged {
            Self::Damaged
        } else {
            Self::Done
        }
    }
}

/// All errors of the library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused something.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {source}{}", path.display(), remedy(source))]
    Decode {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: DecodeError,
    },
    /// The key belongs to something else.
    #[error("{}: wrong key: sealed to key {}, but the key in use is {found}; give the right one with --key", path.display(), list(expected))]
    WrongKey {
        /// The file that it does not open.
        path: PathBuf,
        /// The keys that would do.
        expected: Vec<KeyId>,
        /// The key in use.
        found: KeyId,
    },
    /// A put key was used to read.
    #[error(
        "this is a put key: it can archive, but not {action}; use the secret key that it was made from"
    )]
    PutKey {
        /// What it was to do.
        action: &'static str,
    },
    /// A put key of another store.
    #[error(
        "the put key is for store {found}, but the store in use is {expected}; name the other store \
         with --store, or make a put key for this one with `dtar key put` and the secret key"
    )]
    OtherStorePutKey {
        /// The store in use.
        expected: StoreId,
        /// The store that the put key serves.
        found: StoreId,
    },
    /// A put key of another epoch.
    #[error(
        "the put key is for epoch {found}, but epoch {expected} is needed; make a new one with `dtar key put`"
    )]
    WrongEpoch {
        /// The epoch that is needed.
        expected: Epoch,
        /// The epoch of the put key.
        found: Epoch,
    },
    /// The passphrase does not open the key.
    #[error(
        "{}: wrong passphrase (or a damaged key file); give the right one in DTAR_PASSPHRASE or at the prompt",
        path.display()
    )]
    WrongPassphrase {
        /// The key file.
        path: PathBuf,
    },
    /// Something about a key file, a store or an index that no other error says.
    #[error("{}: {message}", path.display())]
    Refused {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong and what to do.
        message: String,
        /// The exit code to end with.
        exit: Exit,
    },
    /// A brick is nowhere to be found.
    #[error(
        "brick {name} is missing: looked in {}; bring it back, or name the place with --bricks DIR",
        paths(looked_in)
    )]
    BrickMissing {
        /// Its name.
        name: BrickName,
        /// Where it was sought.
        looked_in: Vec<PathBuf>,
    },
    /// An index or brick of another store.
    #[error("{}: belongs to store {found}, not to store {expected}", path.display())]
    OtherStore {
        /// The file.
        path: PathBuf,
        /// The store in use.
        expected: StoreId,
        /// The store that the file names.
        found: StoreId,
    },
    /// What came out is not what went in.
    #[error("{0}")]
    Damaged(String),
    /// Used wrongly.
    #[error("{0}")]
    Usage(String),
    /// Stopped by a signal.
    #[error("interrupted")]
    Interrupted,
    /// The reader of standard output is gone.
    #[error("cannot write {what} to standard output: the reader closed it early")]
    OutputClosed {
        /// What was being written.
        what: &'static str,
    },
    /// A defect of dtar itself.
    #[error("internal error: {0}; please report this")]
    Internal(String),
}

/// What to do about a damaged file. Faults that are no damage say it themselves.
const fn remedy(error: &DecodeError) -> &'static str {
    if error.fault.is_damage() {
        "; take another copy of this file"
    } else {
        ""
    }
}

fn list(ids: &[KeyId]) -> String {
    let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
    ids.join(", ")
}

fn paths(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    paths.join(", ")
}

impl Error {
    /// An I/O error with its circumstances: `.map_err(Error::io("open", path))`.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            action,
            path: path.as_ref().to_owned(),
            source,
        }
    }

    /// A decode error in a file: `.map_err(Error::decode(path, base))`, where
    /// `base` is the offset in the file at which the decoded bytes began.
    pub fn decode(path: impl AsRef<Path>, base: u64) -> impl FnOnce(DecodeError) -> Self {
        move |source| Self::Decode {
            path: path.as_ref().to_owned(),
            source: source.moved_by(base),
        }
    }

    /// The exit code that a program should end with.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Decode { source, .. } if !source.fault.is_damage() => Exit::Failed,
            Self::Decode { .. } | Self::BrickMissing { .. } | Self::Damaged(_) => Exit::Damaged,
            Self::Refused { exit, .. } => *exit,
            Self::Usage(_) => Exit::Usage,
            Self::Interrupted => Exit::Interrupted,
            _ => Exit::Failed,
        }
    }
}
