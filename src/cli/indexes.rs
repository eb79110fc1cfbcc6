//! The indexes that a command reads: files, or snapshots in the store.

use std::mem;
use std::path::{Path, PathBuf};

use super::args::GlobalArgs;
use super::say::Say;
use super::setup;
use dtar::crypto::{Key, PutKeys};
use dtar::error::{Error, Result};
use dtar::index::{IndexFile, Trailer};
use dtar::restore::{Origin, is_sealed_with, open_index};
use dtar::snapshot::{self, Run, Selector};
use dtar::store::Store;

/// Finds indexes, and checks each as far as the key at hand can. Key and store are opened
/// once, so that a passphrase is asked for once.
pub struct Indexes<'a> {
    global: &'a GlobalArgs,
    say: Say,
    unauthenticated: bool,
    bricks_in: &'a [PathBuf],
    key: Option<Key>,
    store: Option<(Store, PutKeys)>,
    /// Whether it was said that an index could not be checked.
    told: bool,
}

impl<'a> Indexes<'a> {
    /// `unauthenticated`: take indexes that the key cannot check. `bricks_in`: further
    /// places of the bricks of snapshots.
    pub const fn new(
        global: &'a GlobalArgs,
        say: Say,
        unauthenticated: bool,
        bricks_in: &'a [PathBuf],
    ) -> Self {
        Self {
            global,
            say,
            unauthenticated,
            bricks_in,
            key: None,
            store: None,
            told: false,
        }
    }

    /// The index that the user means, a file or for `@…` a snapshot; its seal checked.
    pub fn open(&mut self, path: &Path) -> Result<(IndexFile, Trailer)> {
        let index = self.find(path)?;
        self.checked(index)
    }

    /// The same, but its seal is not checked yet.
    pub fn find(&mut self, path: &Path) -> Result<IndexFile> {
        let Some(selector) = setup::selector_of(path)? else {
            return IndexFile::open(path);
        };
        if self.has_escrow_key()? {
            let dir = setup::store_path(self.global)?;
            let bricks_in = self.bricks_in;
            return snapshot::open_unverified(&dir, self.key()?, &selector, bricks_in);
        }
        let run = self.run(&selector)?;
        self.find_snapshot(&run)
    }

    /// Whether the key is not the store's own, and the user knows: it then opens
    /// snapshots, but no root.
    pub fn has_escrow_key(&mut self) -> Result<bool> {
        if !self.unauthenticated {
            return Ok(false);
        }
        let path = setup::store_path(self.global)?;
        let key = self.key()?;
        Ok(!key.is_put_key() && matches!(Store::open(&path, key), Err(Error::WrongKey { .. })))
    }

    /// The run that is meant.
    pub fn run(&mut self, selector: &Selector) -> Result<Run> {
        let (_, store, keys) = self.store()?;
        snapshot::select(store, keys, selector)
    }

    /// The index that a run made, its seal checked.
    pub fn open_snapshot(&mut self, run: &Run) -> Result<(IndexFile, Trailer)> {
        let index = self.find_snapshot(run)?;
        self.checked(index)
    }

    fn find_snapshot(&mut self, run: &Run) -> Result<IndexFile> {
        let bricks_in = self.bricks_in;
        let (key, store, keys) = self.store()?;
        snapshot::open(store, key, keys, run, bricks_in)
    }

    /// The key in use.
    pub fn key(&mut self) -> Result<&Key> {
        let key = match self.key.take() {
            Some(key) => key,
            None => setup::key(self.global)?,
        };
        Ok(self.key.insert(key))
    }

    /// The keys that open the TOCs of the store of an index, if the key at hand is that
    /// store's own, or a put key of it.
    pub fn put_keys(&mut self, trailer: &Trailer) -> Result<Option<PutKeys>> {
        let is_here = self.key.is_some() || self.global.key.is_some();
        if !is_here && !setup::has_key(self.global)? {
            return Ok(None);
        }
        let key = self.key()?;
        if !is_sealed_with(trailer, key) {
            return Ok(None);
        }
        let summary = &trailer.summary;
        key.put_keys(summary.store_id, summary.epoch).map(Some)
    }

    /// The store in use with its keys; the key must be one that reads.
    pub fn store(&mut self) -> Result<(&Key, &Store, &PutKeys)> {
        let global = self.global;
        let key = match self.key.take() {
            Some(key) => key,
            None => setup::key(global)?,
        };
        let key = &*self.key.insert(key);
        setup::require_secret(global, key)?;
        let opened = if let Some(opened) = self.store.take() {
            opened
        } else {
            let store = Store::open(&setup::store_path(global)?, key)?;
            let keys = store.put_keys(key)?;
            (store, keys)
        };
        let (store, keys) = self.store.insert(opened);
        Ok((key, store, keys))
    }

    /// Checks the seal if the key is at hand; says so if not.
    fn checked(&mut self, index: IndexFile) -> Result<(IndexFile, Trailer)> {
        let trailer = index.trailer()?;
        let is_named = self.global.key.is_some();
        // A key that is named must be there: a slip would be a check that nobody makes.
        if self.key.is_none() && !is_named && !setup::has_key(self.global)? {
            if !mem::replace(&mut self.told, true) {
                self.say
                    .warn("no key here: the index could not be checked for changes");
            }
            return Ok((index, trailer));
        }
        let (say, unauthenticated) = (self.say, self.unauthenticated);
        let path = setup::store_path(self.global)?;
        let key = self.key()?;
        if is_sealed_with(&trailer, key) {
            let origin = if Store::stands_in(&path)? {
                Origin::from(&Store::open(&path, key)?)
            } else {
                Origin::without_store(&path)
            };
            open_index(&index, &origin, key)?;
            return Ok((index, trailer));
        }
        if !unauthenticated {
            return Err(setup::not_the_own_key(&index, &trailer, key));
        }
        setup::refuse_disowned(&index, &trailer, &path, key)?;
        if !mem::replace(&mut self.told, true) {
            say.warn(
                "this key cannot check the index for changes: names and sizes are what it says",
            );
        }
        Ok((index, trailer))
    }
}
