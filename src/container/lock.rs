//! Only one at a time reads and replaces the catalogs of a store's sets.

use std::fs::{self, File, OpenOptions};
use std::path::PathBuf;

use rustix::fs::{FlockOperation, flock};

use crate::error::{Error, Result};
use crate::store::layout::Layout;
use crate::store::{atomic, guard};

/// In the folder `tmp` of a store, while somebody enters something.
const NAME: &str = "containers.lock";

/// Held while a catalog in a store is read and replaced, by a run that packs or one that
/// puts containers on tapes: what one enters the other must not overwrite. Others wait.
#[derive(Debug)]
pub(crate) struct CatalogLock {
    /// Locked; the lock goes with it.
    _file: File,
    path: PathBuf,
}

impl CatalogLock {
    /// Waits until nobody else holds it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn take(layout: &Layout) -> Result<Self> {
        let dir = layout.temp_dir();
        guard::refuse_links(layout.path(), &dir)?;
        atomic::create_dir(&dir)?;
        let path = dir.join(NAME);
        loop {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(Error::io("make", &path))?;
            flock(&file, FlockOperation::LockExclusive)
                .map_err(|error| Error::io("lock", &path)(error.into()))?;
            // Whoever held it has removed it, or somebody has cleaned up: then another file
            // is the one to be locked.
            if atomic::is_in_place(&file, &path)? {
                return Ok(Self { _file: file, path });
            }
        }
    }
}

impl Drop for CatalogLock {
    fn drop(&mut self) {
        // What stays behind whoever starts a run removes.
        let _ = fs::remove_file(&self.path);
    }
}
