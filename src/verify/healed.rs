//! What of damaged and missing bricks is to be had elsewhere: frames that were moved, and
//! chunks that were stored again (`formats/collection.md#marks`).

use std::collections::{BTreeMap, HashMap, HashSet};

use super::bricks::Bricks;
use super::copy::Harm;
use super::means::Keyed;
use crate::error::{Error, Result};
use crate::format::toc::Toc;
use crate::id::{BrickName, ChunkId};

/// Chunks that are looked for at a time: some 100 MiB.
const AT_A_TIME: usize = 1 << 20;

/// A frame that stands in another brick than roots say.
pub(super) struct Moved {
    /// The brick and the place as roots say.
    pub(super) old: (BrickName, u32),
    pub(super) new: (BrickName, u32),
}

impl Moved {
    /// Those of one brick.
    pub(super) fn of(name: BrickName, toc: &Toc, out: &mut Vec<Self>) {
        let Some(origins) = toc.origins() else {
            return;
        };
        for (place, frame) in (0..toc.frames().len()).zip(0..) {
            out.extend(origins.of(place).map(|old| Self {
                old,
                new: (name, frame),
            }));
        }
    }
}

/// What is harmed, and what of it stands elsewhere.
pub(super) struct Missing {
    harmed: BTreeMap<BrickName, Harm>,
    elsewhere: HashSet<(BrickName, u32)>,
}

impl Missing {
    /// To be called once all bricks were looked at, and all roots.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Interrupted`].
    pub(super) fn find(bricks: &Bricks<'_>, keyed: &Keyed<'_>) -> Result<Self> {
        let (harmed, moved) = {
            let mut state = bricks.state();
            (state.harmed.clone(), std::mem::take(&mut state.moved))
        };
        let mut lost = Self {
            harmed,
            elsewhere: HashSet::new(),
        };
        for Moved { old, new } in moved {
            if bricks.is_here(&new.0) && !lost.is_harmed(new) {
                lost.elsewhere.insert(old);
            }
        }
        lost.find_chunks(bricks, keyed)?;
        Ok(lost)
    }

    fn is_harmed(&self, (name, frame): (BrickName, u32)) -> bool {
        self.harmed.get(&name).is_some_and(|harm| harm.hits(frame))
    }

    /// Whether a frame is neither sound in its place nor elsewhere.
    pub(super) fn holds(&self, name: &BrickName, frame: u32) -> bool {
        self.is_harmed((*name, frame)) && !self.elsewhere.contains(&(*name, frame))
    }

    /// Of how many of these bricks something is lost that is needed: of each the frames of
    /// its bitmap.
    pub(super) fn hits(&self, needed: &[(BrickName, Vec<u8>)]) -> u64 {
        let is_hit = |(name, bitmap): &&(BrickName, Vec<u8>)| {
            self.harmed.contains_key(name) && used(bitmap).any(|frame| self.holds(name, frame))
        };
        needed.iter().filter(is_hit).count() as u64
    }

    /// Finds harmed frames of which each chunk stands in a sound frame too.
    fn find_chunks(&mut self, bricks: &Bricks<'_>, keyed: &Keyed<'_>) -> Result<()> {
        let mut wanted = Wanted::default();
        let harmed: Vec<BrickName> = self.harmed.keys().copied().collect();
        for name in harmed {
            let Some(toc) = sidecar(keyed, &name)? else {
                continue;
            };
            for (number, frame) in (0..).zip(toc.frames()) {
                if self.holds(&name, number) {
                    let ids = toc.chunks_of(frame).iter().map(|chunk| chunk.id);
                    wanted.add((name, number), ids.collect());
                }
            }
            if wanted.stands.len() >= AT_A_TIME {
                self.look_for(&mut wanted, bricks, keyed)?;
            }
        }
        self.look_for(&mut wanted, bricks, keyed)
    }

    fn look_for(
        &mut self,
        wanted: &mut Wanted,
        bricks: &Bricks<'_>,
        keyed: &Keyed<'_>,
    ) -> Result<()> {
        if wanted.frames.is_empty() {
            return Ok(());
        }
        for job in bricks.jobs.iter().filter(|job| job.is_here()) {
            bricks.monitor.check()?;
            let Some(toc) = sidecar(keyed, &job.name)? else {
                continue;
            };
            for (number, frame) in (0..).zip(toc.frames()) {
                if !self.is_harmed((job.name, number)) {
                    wanted.found(toc.chunks_of(frame).iter().map(|chunk| &chunk.id));
                }
            }
        }
        self.elsewhere.extend(wanted.take());
        Ok(())
    }
}

/// Frames, and whether their chunks were found.
#[derive(Default)]
struct Wanted {
    frames: Vec<((BrickName, u32), Vec<ChunkId>)>,
    stands: HashMap<ChunkId, bool>,
}

impl Wanted {
    fn add(&mut self, frame: (BrickName, u32), ids: Vec<ChunkId>) {
        self.stands.extend(ids.iter().map(|id| (*id, false)));
        self.frames.push((frame, ids));
    }

    fn found<'a>(&mut self, ids: impl Iterator<Item = &'a ChunkId>) {
        for id in ids {
            if let Some(stands) = self.stands.get_mut(id) {
                *stands = true;
            }
        }
    }

    /// The frames of which all chunks were found; nothing is left then.
    fn take(&mut self) -> Vec<(BrickName, u32)> {
        let stands = std::mem::take(&mut self.stands);
        let all = |ids: &[ChunkId]| ids.iter().all(|id| stands.get(id) == Some(&true));
        let frames = self.frames.drain(..).filter(|(_, ids)| all(ids));
        frames.map(|(frame, _)| frame).collect()
    }
}

/// The frames of a bitmap (`formats/store.md#roots`).
pub(super) fn used(bitmap: &[u8]) -> impl Iterator<Item = u32> {
    let bytes = (0..).zip(bitmap);
    bytes.flat_map(|(byte, bits)| {
        let bit = move |bit: &u32| bits >> bit & 1 == 1;
        (0..8).filter(bit).map(move |bit| byte * 8 + bit)
    })
}

fn sidecar(keyed: &Keyed<'_>, name: &BrickName) -> Result<Option<Toc>> {
    let read = keyed.store.read_sidecar(&keyed.keys, name, &mut Vec::new());
    match read {
        Ok(toc) => Ok(Some(toc)),
        // It was reported already.
        Err(Error::Interrupted) => Err(Error::Interrupted),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: BrickName = BrickName([1; 32]);
    const TWO: BrickName = BrickName([2; 32]);

    fn missing(harmed: &[(BrickName, &[u32])], elsewhere: &[(BrickName, u32)]) -> Missing {
        let harm = |frames: &[u32]| Harm {
            frames: frames.iter().copied().collect(),
            ..Harm::default()
        };
        Missing {
            harmed: harmed
                .iter()
                .map(|(name, frames)| (*name, harm(frames)))
                .collect(),
            elsewhere: elsewhere.iter().copied().collect(),
        }
    }

    #[test]
    fn a_run_is_hit_by_frames_that_it_needs_and_that_are_nowhere() {
        // Frames 1 and 10.
        let needed = vec![0b10, 0b100];
        assert_eq!(used(&needed).collect::<Vec<_>>(), [1, 10]);
        let needed = [(ONE, needed.clone()), (TWO, needed)];
        for (frames, elsewhere, hits) in [
            (&[][..], &[][..], 0),
            (&[0, 2, 9, 11, 100], &[], 0),
            (&[1], &[], 1),
            (&[1, 10], &[1], 1),
            (&[1, 10], &[1, 10], 0),
        ] {
            let elsewhere: Vec<_> = elsewhere.iter().map(|frame| (ONE, *frame)).collect();
            let missing = missing(&[(ONE, frames)], &elsewhere);
            assert_eq!(missing.hits(&needed), hits, "{frames:?} {elsewhere:?}");
        }
        let both = missing(&[(ONE, &[1]), (TWO, &[10])], &[(ONE, 10), (TWO, 1)]);
        assert_eq!(both.hits(&needed), 2);
    }

    #[test]
    fn a_frame_is_found_if_all_its_chunks_are() {
        let id = |byte: u8| ChunkId([byte; 16]);
        let mut wanted = Wanted::default();
        wanted.add((ONE, 1), vec![id(1), id(2)]);
        wanted.add((ONE, 2), vec![id(2), id(3)]);
        wanted.add((TWO, 1), vec![id(1), id(1)]);
        wanted.found([id(9), id(1), id(3)].iter());
        assert_eq!(wanted.take(), [(TWO, 1)]);
        assert!(wanted.take().is_empty());
    }
}
