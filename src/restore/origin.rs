//! Where a restore takes bricks from.

use std::path::Path;

use crate::error::{Error, Result};
use crate::id::StoreId;
use crate::index::IndexFile;
use crate::store::Store;
use crate::store::layout::Layout;

/// The store to restore from, as far as there is one. An index names its store, and
/// its seal proves that: key, index and bricks are enough.
#[derive(Debug, Clone)]
pub struct Origin {
    layout: Layout,
    store_id: Option<StoreId>,
    /// If it is open: its catalog may be of use.
    store: Option<Store>,
}

impl From<&Store> for Origin {
    fn from(store: &Store) -> Self {
        Self {
            layout: store.layout().clone(),
            store_id: Some(*store.id()),
            store: Some(store.clone()),
        }
    }
}

impl Origin {
    /// The folder `dir`, in which no `store.toml` stands. Bricks are looked for there
    /// as in a store; it need not exist.
    #[must_use]
    pub fn without_store(dir: &Path) -> Self {
        Self {
            layout: Layout::new(dir),
            store_id: None,
            store: None,
        }
    }

    /// The store in `dir`, whose `store.toml` the key in use cannot verify. Its id keeps
    /// the index of another store from being taken by mistake, and no more.
    ///
    /// # Errors
    /// As [`Store::unverified_id`].
    pub fn unverified(dir: &Path) -> Result<Self> {
        Ok(Self {
            layout: Layout::new(dir),
            store_id: Some(Store::unverified_id(dir)?),
            store: None,
        })
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(super) fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    /// Refuses an index that names another store than the one in use, where one is.
    pub(super) fn require_own(&self, index: &IndexFile, found: StoreId) -> Result<()> {
        match self.store_id {
            Some(expected) if expected != found => Err(Error::OtherStore {
                path: index.path().to_owned(),
                expected,
                found,
            }),
            _ => Ok(()),
        }
    }
}
