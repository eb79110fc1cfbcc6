//! The run that was finished last from here (`formats/store.md#what-was-made-here`).
//!
//! A store cannot tell that it was set back: an old copy of it is a store. Who wrote to it
//! can, if he remembers what he wrote.

use std::fs;
use std::path::{Path, PathBuf};

use super::layout::RunName;
use super::{Store, is_missing};
use crate::{Error, Result};

/// What a folder of catalogs remembers of the run that wrote its root last into a store.
#[derive(Debug, Clone)]
pub struct LastRun {
    path: PathBuf,
    store: Store,
}

impl LastRun {
    /// Of runs with catalogs in the folder `dir`.
    #[must_use]
    pub fn new(dir: &Path, store: &Store) -> Self {
        Self {
            path: dir.join(format!("{}.last", store.id())),
            store: store.clone(),
        }
    }

    /// The run whose root is remembered and gone: somebody has forgotten it, or the store
    /// was set back.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn missing(&self) -> Result<Option<RunName>> {
        let Some(run) = self.read()? else {
            return Ok(None);
        };
        let root = self.store.layout().root_path(&run);
        let stands = root.try_exists().map_err(Error::io("look for", &root))?;
        Ok((!stands).then_some(run))
    }

    fn read(&self) -> Result<Option<RunName>> {
        match fs::read_to_string(&self.path) {
            // One that was cut short is none.
            Ok(text) => Ok(text.trim_end().parse().ok()),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(Error::io("read", &self.path)(error)),
        }
    }

    /// Remembers a run instead of the one before.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remember(&self, run: &RunName) -> Result<()> {
        fs::write(&self.path, format!("{run}\n")).map_err(Error::io("write", &self.path))
    }

    /// Remembers nothing any more, if it is this run that was remembered.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn forget(&self, run: &RunName) -> Result<()> {
        if self.read()?.as_ref() != Some(run) {
            return Ok(());
        }
        match fs::remove_file(&self.path) {
            Err(error) if is_missing(&error) => Ok(()),
            removed => removed.map_err(Error::io("remove", &self.path)),
        }
    }
}
