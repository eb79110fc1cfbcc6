//! Where a restore looks for bricks: the store, folders, and containers in them.

use std::path::PathBuf;
use std::sync::Arc;

use crate::container::Shelf;
use crate::error::{Error, Result};
use crate::id::BrickName;
use crate::store::BrickFile;
use crate::store::layout::Layout;

/// The places of bricks, the first ones first.
#[derive(Debug, Clone)]
pub(super) struct Bricks {
    pub(super) layout: Layout,
    pub(super) dirs: Vec<PathBuf>,
    pub(super) shelf: Arc<Shelf>,
}

impl Bricks {
    /// A brick, and what errors call it.
    pub(super) fn find(&self, name: &BrickName) -> Result<(PathBuf, BrickFile)> {
        self.layout
            .find_brick(name, &self.dirs)
            .map(|(path, file)| (path, file.into()))
            .or_else(|error: Error| {
                let mut copies = self.shelf.copies(name);
                copies.find_map(Result::ok).ok_or(error)
            })
    }

    /// All its copies that can be opened: if one is damaged, the next may not be.
    pub(super) fn copies<'a>(
        &'a self,
        name: &'a BrickName,
    ) -> impl Iterator<Item = (PathBuf, BrickFile)> + 'a {
        let files = self.layout.copies_of_brick(name, &self.dirs).flatten();
        let files = files.map(|(path, file)| (path, BrickFile::from(file)));
        files.chain(self.shelf.copies(name).flatten())
    }
}
