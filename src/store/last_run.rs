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
        match fs::read(&self.path) {
            // One that was cut short, or damaged, is none: it must not stop a run.
            Ok(bytes) => {
                let text = str::from_utf8(&bytes).ok();
                Ok(text.and_then(|text| text.trim_end().parse().ok()))
            }
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

    /// Remembers nothing any more, if it is this run that was remembered. Whether it was.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn forget(&self, run: &RunName) -> Result<bool> {
        if self.read()?.as_ref() != Some(run) {
            return Ok(false);
        }
        match fs::remove_file(&self.path) {
            Err(error) if is_missing(&error) => Ok(true),
            removed => removed
                .map(|()| true)
                .map_err(Error::io("remove", &self.path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::store;

    #[test]
    fn what_is_remembered_and_damaged_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = store(dir.path());
        let last = LastRun::new(store.path(), &store);
        assert_eq!(last.missing().unwrap(), None);
        let run = RunName::draw(12).unwrap();
        last.remember(&run).unwrap();
        assert_eq!(last.missing().unwrap(), Some(run.clone()));
        let good = fs::read(&last.path).unwrap();
        for damaged in [
            &good[..good.len() / 2],
            b"",
            b"\xff\xfe",
            &[&good[..], &[0x80]].concat(),
        ] {
            fs::write(&last.path, damaged).unwrap();
            assert_eq!(last.missing().unwrap(), None, "{damaged:?}");
        }
        last.remember(&run).unwrap();
        last.forget(&run).unwrap();
        assert_eq!(last.missing().unwrap(), None);
    }
}
