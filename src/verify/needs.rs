//! What runs need that nothing in the store meets, by the rule of
//! `formats/collection.md#rewriting`.

use std::collections::HashMap;

use super::means::Keyed;
use crate::error::Result;
use crate::format::frames::Frames;
use crate::format::toc::Toc;
use crate::id::BrickName;

/// Frames that roots name and that nothing has been found to meet yet. Takes as much
/// memory as the tables of the roots, joined.
#[derive(Default)]
pub(super) struct Needs {
    /// By brick; one without frames is met.
    unmet: HashMap<BrickName, Frames>,
    /// A root does not open, so that there are others.
    is_partial: bool,
}

impl Needs {
    /// Those of all roots.
    pub(super) fn of_roots(keyed: &Keyed<'_>) -> Result<Self> {
        let store = keyed.store;
        let mut needs = Self::default();
        for run in store.layout().runs()? {
            let path = store.layout().root_path(&run);
            match store.read_root(&keyed.keys, &path, run.time) {
                Ok(root) => {
                    for (name, frames) in &root.bricks {
                        needs.add(name, frames);
                    }
                }
                Err(_) => needs.is_partial = true,
            }
        }
        Ok(needs)
    }

    /// Adds these frames.
    pub(super) fn add(&mut self, name: &BrickName, frames: &Frames) {
        self.unmet.entry(*name).or_default().add(frames);
    }

    /// Whether more is needed than is known.
    pub(super) const fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// Whether nothing was ever added.
    pub(super) fn is_empty(&self) -> bool {
        self.unmet.is_empty()
    }

    /// Whether a brick is needed for a frame that nothing meets.
    pub(super) fn is_unmet(&self, name: &BrickName) -> bool {
        let unmet = self.unmet.get(name);
        unmet.is_some_and(|frames| !frames.is_empty())
    }

    /// Whether anything is needed that nothing meets.
    pub(super) fn has_unmet(&self) -> bool {
        self.unmet.values().any(|frames| !frames.is_empty())
    }

    /// Whether this frame is needed, and nothing meets that.
    pub(super) fn holds(&self, name: &BrickName, frame: u32) -> bool {
        let unmet = self.unmet.get(name);
        unmet.is_some_and(|frames| frames.contains(frame))
    }

    /// A brick stands with its sidecar, which meets all needs for it, and with its frames
    /// those for the places that they come from.
    pub(super) fn meet(&mut self, name: &BrickName, toc: &Toc) {
        self.unmet.remove(name);
        for place in 0..toc.frames().len() {
            for (old, frame) in toc.origins().into_iter().flat_map(|all| all.of(place)) {
                self.meet_frame(&old, frame);
            }
        }
    }

    /// This frame is to be had.
    pub(super) fn meet_frame(&mut self, name: &BrickName, frame: u32) {
        if let Some(unmet) = self.unmet.get_mut(name) {
            unmet.remove(frame);
        }
    }

    /// Whether a brick with this table of contents would meet a need that nothing meets.
    pub(super) fn would_meet(&self, toc: &Toc) -> bool {
        let Some(origins) = toc.origins() else {
            return false;
        };
        let is_concerned = origins.bricks().iter().any(|old| self.is_unmet(old));
        let mut places = 0..toc.frames().len();
        is_concerned && places.any(|place| origins.of(place).any(|(old, at)| self.holds(&old, at)))
    }
}
