//! Judges frames by what the key can tell of them.

use crate::brick::{FrameError, FrameOpener, OpenFrame, OpenScratch};
use crate::crypto::{Key, PutKeys};
use crate::error::{Error, Result};
use crate::format::frame::FrameHeader;
use crate::id::{Epoch, KeyId, StoreId};

/// What a frame is found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It opens; its chunks are at hand.
    Sound,
    /// Whole by its header alone: there is no key to open it with.
    Unverified,
    /// Of another store.
    OtherStore(StoreId),
    /// Not sealed to the key in use.
    OtherKey,
    /// It does not open.
    Damaged(FrameError),
}

/// The key in use, and what follows from it.
pub(super) struct Keyring<'a> {
    key: Option<&'a Key>,
    key_id: Option<KeyId>,
    store: Option<StoreId>,
    opener: Option<(StoreId, FrameOpener)>,
    put_keys: Option<PutKeys>,
    scratch: OpenScratch,
    sealed: Vec<u8>,
    /// The frame that was opened last.
    pub(super) frame: OpenFrame,
}

impl<'a> Keyring<'a> {
    /// With no key, frames are taken by their headers. `store`: the one that is wanted;
    /// without it, that of the first thing that the key opens, or of a put key.
    pub(super) fn new(key: Option<&'a Key>, store: Option<StoreId>) -> Result<Self> {
        let of_key = key.and_then(Key::store_id);
        if let (Some(of_key), Some(store)) = (of_key, store)
            && of_key != store
        {
            return Err(Error::OtherStorePutKey {
                expected: store,
                found: of_key,
            });
        }
        Ok(Self {
            key,
            key_id: key.map(Key::key_id),
            store: store.or(of_key),
            opener: None,
            put_keys: None,
            scratch: OpenScratch::new(),
            sealed: Vec::new(),
            frame: OpenFrame::new(),
        })
    }

    /// The store whose frames are kept, once it is known.
    pub(super) const fn store(&self) -> Option<StoreId> {
        self.store
    }

    /// Whether frames can be opened.
    pub(super) fn opens(&self) -> bool {
        self.key.is_some_and(|key| !key.is_put_key())
    }

    /// Settles which store is meant, by the first thing of it that was kept.
    pub(super) fn settle(&mut self, store: StoreId) {
        self.store.get_or_insert(store);
    }

    /// Whether something of `store` may be kept.
    pub(super) fn is_wanted(&self, store: StoreId) -> bool {
        self.store.is_none_or(|wanted| wanted == store)
    }

    /// Whether the key is the store's own: writers seal to that first, as `store.toml`
    /// has it first. A further recipient's key opens frames, but no TOC follows from it.
    pub(super) fn is_own(&self, header: &FrameHeader<'_>) -> bool {
        let first = header.recipients.clone().next();
        first.is_some_and(|entry| Some(entry.key_id) == self.key_id)
    }

    /// Judges a frame whose check is good: `bytes` are all of it.
    pub(super) fn judge(&mut self, header: &FrameHeader<'_>, bytes: &[u8]) -> Result<Verdict> {
        let store = header.fields.store_id;
        if !self.is_wanted(store) {
            return Ok(Verdict::OtherStore(store));
        }
        let Some(key) = self.key.filter(|key| !key.is_put_key()) else {
            self.settle(store);
            return Ok(Verdict::Unverified);
        };
        if !header
            .recipients
            .clone()
            .any(|entry| Some(entry.key_id) == self.key_id)
        {
            return Ok(Verdict::OtherKey);
        }
        let opener = match &mut self.opener {
            Some((known, opener)) if *known == store => opener,
            other => &mut other.insert((store, key.opener(store)?)).1,
        };
        self.sealed.clear();
        self.sealed.extend_from_slice(bytes);
        Ok(
            match opener.open(&mut self.sealed, &mut self.scratch, &mut self.frame) {
                Ok(()) => {
                    self.store = Some(store);
                    Verdict::Sound
                }
                Err(FrameError::OtherKey { .. }) => Verdict::OtherKey,
                Err(error) => Verdict::Damaged(error),
            },
        )
    }

    /// The keys that seal TOCs of a store and epoch, if they follow from the key in use.
    pub(super) fn put_keys(&mut self, store: StoreId, epoch: Epoch) -> Option<&PutKeys> {
        let is_known = |keys: &PutKeys| (keys.store_id, keys.epoch) == (store, epoch);
        if !self.put_keys.as_ref().is_some_and(is_known) {
            // A put key of another store or epoch is none.
            self.put_keys = self.key?.put_keys(store, epoch).ok();
        }
        self.put_keys.as_ref()
    }

    /// The same, if the key is known to be the store's own: what would follow from
    /// another seals TOCs that nobody opens.
    pub(super) fn own_keys(
        &mut self,
        is_own: bool,
        store: StoreId,
        epoch: Epoch,
    ) -> Option<&PutKeys> {
        if is_own {
            self.put_keys(store, epoch)
        } else {
            None
        }
    }
}
