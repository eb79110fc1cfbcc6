//! What must restore, whatever was done to the store.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dtar::id::{BrickName, Class};

use crate::common::files::files;
use crate::common::stored::Stored;

/// A run that ended well and was not forgotten.
#[derive(Clone)]
pub struct Archive {
    pub label: String,
    pub index: PathBuf,
    pub run: String,
    pub stream: Arc<Vec<u8>>,
    /// The frames that its root names, by brick.
    pub needs: BTreeMap<BrickName, Vec<u32>>,
    pub has_snapshot: bool,
}

/// What is known of a brick since it was made.
pub struct Brick {
    class: Class,
    /// Offset and length of each frame.
    frames: Vec<(u64, u64)>,
    /// Where each frame stood before gc moved it.
    origins: Vec<Vec<(BrickName, u32)>>,
}

impl Brick {
    fn holds(&self, brick: &BrickName, place: u32) -> impl Iterator<Item = u32> {
        let origins = (0..).zip(&self.origins);
        let (brick, is_from) = (*brick, move |from: &[(BrickName, u32)], brick| {
            from.contains(&(brick, place))
        });
        origins.filter_map(move |(number, from)| is_from(from, brick).then_some(number))
    }
}

/// The kinds of files that are damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Brick,
    Sidecar,
    Root,
    Snapshot,
}

/// A file that is not what it was.
pub struct Damage {
    pub part: Part,
    pub path: PathBuf,
    pub good: Vec<u8>,
    /// The brick of which it is a part.
    pub brick: Option<BrickName>,
    /// Frames that are lost; of a brick only.
    pub frames: BTreeSet<u32>,
}

/// All that is known of the store.
#[derive(Default)]
pub struct Model {
    pub archives: Vec<Archive>,
    pub bricks: BTreeMap<BrickName, Brick>,
    pub damages: Vec<Damage>,
    /// Roots of killed runs.
    pub abandoned: BTreeSet<String>,
}

/// The name of the brick whose file or sidecar this is.
pub fn brick_of(path: &Path) -> Option<BrickName> {
    path.file_stem()?.to_str()?.parse().ok()
}

impl Model {
    /// Takes note of the bricks that have come.
    pub fn learn(&mut self, store: &Path) {
        let stored = Stored::open(store);
        for path in files(&store.join("tocs")).into_keys() {
            let Some(name) = brick_of(&path) else {
                continue;
            };
            if self.bricks.contains_key(&name) {
                continue;
            }
            let Some(toc) = stored.toc(&name) else {
                continue;
            };
            let origins = |number| match toc.origins() {
                Some(origins) => origins.of(number).collect(),
                None => Vec::new(),
            };
            let frames = toc.frames().iter();
            let brick = Brick {
                class: toc.class(),
                origins: (0..frames.len()).map(origins).collect(),
                frames: frames
                    .map(|frame| (frame.offset, u64::from(frame.length)))
                    .collect(),
            };
            self.bricks.insert(name, brick);
        }
    }

    /// The frames of a brick that are not whole if only bytes from `start` to `end` are lost.
    pub fn frames_in(&self, name: &BrickName, start: u64, end: u64) -> BTreeSet<u32> {
        let frames = self.bricks.get(name).map_or(&[][..], |brick| &brick.frames);
        let is_hit =
            |&(_, &(offset, length)): &(u32, &(u64, u64))| offset < end && start < offset + length;
        let hit = (0..).zip(frames).filter(is_hit);
        hit.map(|(number, _)| number).collect()
    }

    /// Whether a frame in this place was damaged, and stayed so.
    fn is_harmed(&self, name: &BrickName, frame: u32) -> bool {
        let mut damages = self.damages.iter();
        damages.any(|damage| damage.brick == Some(*name) && damage.frames.contains(&frame))
    }

    /// Whether what stood in this place may be lost: it was damaged, and gc has moved it
    /// nowhere, or where it is damaged too.
    fn may_be_lost(&self, store: &Path, name: &BrickName, frame: u32) -> bool {
        let stands = |name: &BrickName| {
            let hex = name.to_string();
            let file = |part: &str| store.join(format!("{part}/{}/{hex}.brick", &hex[..2]));
            file("bricks").exists() || file("meta").exists()
        };
        let is_harmed = self.is_harmed(name, frame);
        if !is_harmed && stands(name) {
            return false;
        }
        let mut moved = Vec::new();
        for (new, brick) in self.bricks.iter().filter(|(new, _)| *new != name) {
            if stands(new) || self.damages.iter().any(|damage| damage.brick == Some(*new)) {
                moved.extend(brick.holds(name, frame).map(|frame| (*new, frame)));
            }
        }
        let all_harmed = moved.iter().all(|(new, frame)| self.is_harmed(new, *frame));
        // What has gone without damage must be elsewhere.
        all_harmed && (is_harmed || !moved.is_empty())
    }

    /// Whether the run must restore: from its index, or from its snapshot.
    pub fn must_restore(&self, store: &Path, archive: &Archive, from_snapshot: bool) -> bool {
        let broken = |damage: &Damage| {
            let is_of_run = damage.path.to_str().unwrap().contains(&archive.run);
            from_snapshot && is_of_run
        };
        if self.damages.iter().any(broken) {
            return false;
        }
        archive.needs.iter().all(|(name, frames)| {
            let class = self.bricks.get(name).map(|brick| brick.class);
            (class == Some(Class::Metadata) && !from_snapshot)
                || frames
                    .iter()
                    .all(|frame| !self.may_be_lost(store, name, *frame))
        })
    }

    /// The bricks in which something was damaged, and those whose frames these took over.
    pub fn suspects(&self) -> BTreeSet<BrickName> {
        let mut suspects = BTreeSet::new();
        for name in self.damages.iter().filter_map(|damage| damage.brick) {
            suspects.insert(name);
            let brick = self.bricks.get(&name);
            let origins = brick.into_iter().flat_map(|brick| brick.origins.iter());
            suspects.extend(origins.flatten().map(|(old, _)| *old));
        }
        suspects
    }

    /// Whether an archive needs something that a brick holds.
    pub fn is_needed(&self, name: &BrickName) -> bool {
        let brick = self.bricks.get(name);
        let origins = brick.into_iter().flat_map(|brick| brick.origins.iter());
        let mut names: BTreeSet<_> = origins.flatten().map(|(old, _)| *old).collect();
        names.insert(*name);
        let mut needs = self
            .archives
            .iter()
            .flat_map(|archive| archive.needs.keys());
        needs.any(|needed| names.contains(needed))
    }
}
