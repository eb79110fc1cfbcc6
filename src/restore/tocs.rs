//! The TOCs that are at hand: sidecars in the store, and in folders that were named, and
//! those of bricks that have none.

use std::path::PathBuf;
use std::sync::Arc;

use super::bricks::Bricks;
use crate::brick::SIDECAR_SEAL_LENGTH;
use crate::container::Shelf;
use crate::crypto::PutKeys;
use crate::error::Result;
use crate::format::brick::FOOTER_LENGTH;
use crate::format::toc::Toc;
use crate::id::BrickName;
use crate::store::inventory::bricks_below;
use crate::store::layout::Layout;
use crate::store::own_toc::read_own_toc;
use crate::store::read_sidecar;

/// Reads TOCs, for whoever has the put secret.
pub struct Tocs {
    /// The store, then folders that may be laid out like one.
    layouts: Vec<Layout>,
    bricks: Arc<Bricks>,
    keys: PutKeys,
}

impl Tocs {
    /// Those in the store `layout`, which need not be one, in the folders `bricks_in`, and
    /// in containers.
    #[must_use]
    pub fn new(layout: &Layout, bricks_in: &[PathBuf], shelf: Arc<Shelf>, keys: PutKeys) -> Self {
        let bricks = Bricks {
            layout: layout.clone(),
            dirs: bricks_in.to_vec(),
            shelf,
        };
        Self::of(Arc::new(bricks), keys)
    }

    pub(super) fn of(bricks: Arc<Bricks>, keys: PutKeys) -> Self {
        let more = bricks.dirs.iter().map(Layout::new);
        Self {
            layouts: std::iter::once(bricks.layout.clone()).chain(more).collect(),
            bricks,
            keys,
        }
    }

    pub(super) fn layouts(&self) -> &[Layout] {
        &self.layouts
    }

    /// Whether the store has the sidecar of a brick: then the brick is there, or was moved
    /// away, but not deleted by gc (`formats/collection.md#cold-bricks`).
    ///
    /// # Errors
    /// [`crate::Error::Io`] if that cannot be told.
    pub(super) fn stands(&self, name: &BrickName) -> Result<bool> {
        self.bricks.layout.sidecar_stands(name)
    }

    /// The TOC of a brick, by the first of its sidecars that opens, or else its own; and the
    /// length of the brick in bytes.
    pub(super) fn read(&self, name: &BrickName) -> Option<(Toc, u64)> {
        let mut bytes = Vec::new();
        let mut sidecars = self.layouts.iter().filter_map(|store| {
            let toc = read_sidecar(&store.toc_path(name), &self.keys, name, &mut bytes).ok()?;
            Some((toc, bytes.len().saturating_sub(SIDECAR_SEAL_LENGTH)))
        });
        let found = sidecars.next().or_else(|| {
            let mut own = self.bricks.copies(name).filter_map(|(path, file)| {
                let (_, toc) = read_own_toc(&file, &path, &self.keys, &mut bytes).ok()?;
                Some((toc, bytes.len()))
            });
            own.next()
        });
        found.map(|(toc, length)| {
            let behind = (length + FOOTER_LENGTH) as u64;
            let length = toc.end() + behind;
            (toc, length)
        })
    }

    /// Calls `each` for the bricks with sidecars, then for those without, until it says
    /// that that was enough.
    pub(super) fn each_brick(
        &self,
        mut each: impl FnMut(&BrickName) -> Result<bool>,
    ) -> Result<()> {
        let mut names = Vec::new();
        for shard in 0..=u8::MAX {
            names.clear();
            for store in &self.layouts {
                store.sidecar_names(shard, &mut names)?;
            }
            names.sort_unstable();
            names.dedup();
            for name in &names {
                if !each(name)? {
                    return Ok(());
                }
            }
        }
        names.clear();
        for store in &self.layouts {
            bricks_below(store.path(), &mut |name, _| names.push(name))?;
        }
        self.bricks.shelf.each_brick(&mut |name| names.push(name))?;
        names.sort_unstable();
        names.dedup();
        for name in &names {
            let mut stores = self.layouts.iter();
            let has_sidecar = stores.any(|store| store.sidecar_stands(name).unwrap_or(false));
            if !has_sidecar && !each(name)? {
                return Ok(());
            }
        }
        Ok(())
    }
}
