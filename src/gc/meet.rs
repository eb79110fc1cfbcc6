//! Which frames meet what is needed (`formats/collection.md#gc`).

use std::collections::{BTreeMap, HashMap, HashSet};

use super::needs::Needs;
use super::plan::{Brick, Bricks, Facts, Sidecar};
use super::standins::stand_ins;
use crate::archive::Monitor;
use crate::crypto::PutKeys;
use crate::error::Result;
use crate::format::frames::Frames;
use crate::format::origins::Origins;
use crate::id::BrickName;
use crate::store::Store;

/// Frames, and the bricks they stand in, by what they take the place of.
type Carriers<T> = HashMap<T, Vec<(BrickName, u32)>>;

/// What meets the needs.
pub(super) struct Met {
    /// Frames, by brick.
    pub(super) frames: HashMap<BrickName, Frames>,
    /// The bricks whose needs nothing meets for certain.
    pub(super) missing: Vec<BrickName>,
}

impl Met {
    fn insert(&mut self, frames: Option<&Vec<(BrickName, u32)>>) {
        for (brick, frame) in frames.into_iter().flatten() {
            self.frames.entry(*brick).or_default().insert(*frame);
        }
    }
}

impl Bricks {
    /// Which frames meet the needs. `condemned`: bricks that a gc was deleting that was
    /// cut off.
    pub(super) fn meet(
        &self,
        needs: &Needs,
        condemned: &HashSet<BrickName>,
        store: &Store,
        keys: &PutKeys,
        monitor: &Monitor,
    ) -> Result<Met> {
        let (carriers, unplaced) = self.carriers(needs);
        let mut met = Met {
            frames: HashMap::new(),
            missing: Vec::new(),
        };
        for (name, frames) in &needs.frames {
            let brick = self.all.get(name);
            let mut unmet = false;
            if !self.is_sound(name) {
                for place in frames.iter() {
                    let found = carriers.get(&(*name, place));
                    unmet |= found.is_none();
                    met.insert(found);
                }
            }
            match brick.map(|brick| &brick.sidecar) {
                // Cut off between the sidecar and the brick: what takes its place stands.
                Some(Sidecar::Missing) if !unmet && condemned.contains(name) => continue,
                Some(_) => met.frames.entry(*name).or_default().add(frames),
                None => {}
            }
            let is_missing = match brick.map(|brick| &brick.sidecar) {
                // What it holds that stands elsewhere, too, nobody knows.
                None | Some(Sidecar::Missing) => unmet,
                Some(Sidecar::Broken) => unmet && self.is_marked(name),
                Some(Sidecar::Open(_)) => false,
            };
            if is_missing {
                met.missing.push(*name);
                met.insert(unplaced.get(name));
            }
        }
        met.missing.sort_unstable();
        stand_ins(self, &mut met.frames, store, keys, monitor)?;
        Ok(met)
    }

    /// Whether a brick stands with all that belongs to it, and nothing else is to take
    /// its place: what lies elsewhere may not be counted upon.
    fn is_sound(&self, name: &BrickName) -> bool {
        let is_here =
            |brick: &Brick| brick.file.is_some() && !matches!(brick.sidecar, Sidecar::Missing);
        self.all.get(name).is_some_and(is_here) && !self.is_marked(name)
    }

    /// The bricks that some of `candidates` were to take the place of, and are needed where
    /// they stand; and which candidates these are.
    pub(super) fn relied_upon(
        &self,
        candidates: &[BrickName],
        needs: &Needs,
    ) -> BTreeMap<BrickName, HashSet<BrickName>> {
        let mut relied: BTreeMap<BrickName, HashSet<BrickName>> = BTreeMap::new();
        for name in candidates {
            let Some(Sidecar::Open(facts)) = self.all.get(name).map(|brick| &brick.sidecar) else {
                continue;
            };
            for old in facts.origins.as_ref().map_or(&[][..], Origins::bricks) {
                if needs.frames.contains_key(old) && self.is_sound(old) {
                    relied.entry(*old).or_default().insert(*name);
                }
            }
        }
        relied
    }

    /// The frames with needed origins in bricks that are not sound.
    fn carriers(&self, needs: &Needs) -> (Carriers<(BrickName, u32)>, Carriers<BrickName>) {
        let mut carriers: Carriers<(BrickName, u32)> = HashMap::new();
        let mut unplaced: Carriers<BrickName> = HashMap::new();
        for (name, brick) in &self.all {
            let Sidecar::Open(Facts {
                origins: Some(origins),
                frames,
                ..
            }) = &brick.sidecar
            else {
                continue;
            };
            let is_gone = |old: &BrickName| needs.frames.contains_key(old) && !self.is_sound(old);
            if !origins.bricks().iter().any(is_gone) {
                continue;
            }
            for (number, frame) in (0..frames.len()).zip(0_u32..) {
                for origin in origins.of(number).filter(|(old, _)| is_gone(old)) {
                    carriers.entry(origin).or_default().push((*name, frame));
                }
                if origins.of(number).next().is_none() {
                    for old in origins.bricks().iter().filter(|old| is_gone(old)) {
                        unplaced.entry(*old).or_default().push((*name, frame));
                    }
                }
            }
        }
        (carriers, unplaced)
    }
}
