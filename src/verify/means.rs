//! What a check has to go by: no key, a put key, or the key.

use std::path::Path;

use crate::brick::FrameOpener;
use crate::crypto::{ChunkIdKey, Key, PutKeys};
use crate::error::Result;
use crate::id::{Class, StoreId};
use crate::store::Store;
use crate::store::layout::Layout;

/// How deep a check can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Without a key: bytes against names, and what stands in the clear.
    Bytes,
    /// With a put key: also tables of contents, sidecars, roots.
    Tables,
    /// With the key: also frames, chunks, snapshots.
    Frames,
}

impl Level {
    /// One word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Tables => "tables",
            Self::Frames => "frames",
        }
    }
}

/// A store, and what opens what is in it.
pub struct Means<'a> {
    pub(super) layout: Layout,
    /// As `store.toml` says; nothing vouches for it without a key.
    pub(super) store_id: Option<StoreId>,
    pub(super) keyed: Option<Keyed<'a>>,
    pub(super) opener: Option<FrameOpener>,
}

/// A store that was opened with a key.
pub(super) struct Keyed<'a> {
    pub(super) store: &'a Store,
    pub(super) key: &'a Key,
    pub(super) keys: PutKeys,
}

impl<'a> Means<'a> {
    /// No key: the folder `dir`, in which a store may stand or not.
    #[must_use]
    pub fn without_key(dir: &Path) -> Self {
        Self {
            layout: Layout::new(dir),
            store_id: Store::unverified_id(dir).ok(),
            keyed: None,
            opener: None,
        }
    }

    /// A store and a key: as deep as the key reaches.
    ///
    /// # Errors
    /// [`crate::Error::OtherStorePutKey`] and [`crate::Error::WrongEpoch`] for a put key
    /// of another store or epoch.
    pub fn with_key(store: &'a Store, key: &'a Key) -> Result<Self> {
        let opener = if key.is_put_key() {
            None
        } else {
            Some(key.opener(*store.id())?)
        };
        Ok(Self {
            layout: store.layout().clone(),
            store_id: Some(*store.id()),
            keyed: Some(Keyed {
                store,
                key,
                keys: store.put_keys(key)?,
            }),
            opener,
        })
    }

    /// How deep it goes.
    #[must_use]
    pub const fn level(&self) -> Level {
        match (&self.keyed, &self.opener) {
            (_, Some(_)) => Level::Frames,
            (Some(_), None) => Level::Tables,
            (None, None) => Level::Bytes,
        }
    }
}

impl Keyed<'_> {
    /// The key that makes the ids of chunks of a class.
    pub(super) const fn ids(&self, class: Class) -> &ChunkIdKey {
        match class {
            Class::Data => &self.keys.chunk_id,
            Class::Metadata => &self.keys.metadata_id,
        }
    }
}
