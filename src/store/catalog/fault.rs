//! What can go wrong in a catalog, and whether making it anew helps.

use std::path::Path;

use heed::MdbError;

use crate::Error;
use crate::error::Exit;

/// The result of a step in the catalog.
pub(super) type Step<T> = Result<T, Fault>;

/// Why a step failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// LMDB refused.
    Lmdb(heed::Error),
    /// What stands there is not what dtar wrote.
    Corrupt(&'static str),
    /// Something outside of the catalog.
    Other(Error),
}

impl From<heed::Error> for Fault {
    fn from(error: heed::Error) -> Self {
        Self::Lmdb(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl Fault {
    /// Why the catalog is no good, if deleting it and making it again helps.
    pub fn damage(&self) -> Option<String> {
        match self {
            Self::Corrupt(what) => Some((*what).to_owned()),
            Self::Lmdb(heed::Error::Mdb(
                MdbError::MapFull
                | MdbError::MapResized
                | MdbError::ReadersFull
                | MdbError::DbsFull
                | MdbError::TxnFull,
            )) => None,
            Self::Lmdb(heed::Error::Mdb(error)) => Some(error.to_string()),
            Self::Lmdb(_) | Self::Other(_) => None,
        }
    }

    /// Whether the catalog is good as far as it goes, but takes nothing more in:
    /// the disk is full, say. LMDB calls a write that was cut short an I/O error.
    pub const fn hinders_writing(&self) -> bool {
        matches!(
            self,
            Self::Lmdb(heed::Error::Io(_) | heed::Error::Mdb(MdbError::MapFull))
        )
    }

    /// Why, in a few words.
    pub fn reason(&self) -> String {
        match self {
            Self::Lmdb(error) => error.to_string(),
            Self::Corrupt(what) => (*what).to_owned(),
            Self::Other(error) => error.to_string(),
        }
    }

    /// The error for a caller that cannot help itself.
    pub fn into_error(self, dir: &Path) -> Error {
        let refused = |message| Error::Refused {
            path: dir.to_owned(),
            message,
            exit: Exit::Failed,
        };
        if let Some(damage) = self.damage() {
            return refused(format!(
                "damaged catalog ({damage}); delete this folder and run again: it is made anew from the store"
            ));
        }
        match self {
            Self::Other(error) => error,
            Self::Lmdb(heed::Error::Io(source)) => Error::io("use the catalog", dir)(source),
            Self::Lmdb(heed::Error::EnvAlreadyOpened) => {
                Error::Internal(format!("{} is opened twice", dir.display()))
            }
            Self::Lmdb(error) => refused(format!("the catalog cannot be used: {error}")),
            Self::Corrupt(what) => refused(what.to_owned()),
        }
    }
}
