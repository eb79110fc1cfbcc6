//! Whose bytes a file holds, where its hash does not say it: each brick has a salt of its
//! own, which stands in its header and in its table of contents.

use std::collections::HashMap;
use std::fs::File;

use super::read::read_at;
use crate::format::brick::{BrickHeader, HEADER_LENGTH};
use crate::id::{BrickName, Salt};

/// The bricks under whose names a salt was found.
#[derive(Default)]
pub(super) struct Salts(HashMap<Salt, Vec<BrickName>>);

impl Salts {
    /// A brick of this name, or what passes for it, has this salt.
    pub(super) fn add(&mut self, salt: Salt, name: BrickName) {
        let names = self.0.entry(salt).or_default();
        if !names.contains(&name) {
            names.push(name);
        }
    }

    /// The bricks other than `name` to which this salt may belong.
    pub(super) fn others(&self, salt: Option<&Salt>, name: &BrickName) -> Vec<BrickName> {
        let names = salt.and_then(|salt| self.0.get(salt)).into_iter().flatten();
        names.filter(|other| *other != name).copied().collect()
    }
}

/// The salt in the header of a brick's file, if that can be read.
pub(super) fn salt_of(file: &File) -> Option<Salt> {
    let mut bytes = Vec::new();
    read_at(file, 0, HEADER_LENGTH, &mut bytes).ok()?;
    BrickHeader::decode(&bytes).ok().map(|header| header.salt)
}
