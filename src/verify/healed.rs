//! What of damaged and missing bricks is to be had elsewhere: frames that were moved, and
//! chunks that were stored again (`formats/collection.md#marks`).
//!
//! Memory: a bit for each frame of the bricks in which something is wrong, and some 100 MiB
//! at most for the chunks that are looked for. The sidecars of the bricks that hold moved
//! frames are read once more, and if chunks are looked for all others.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use super::bricks::Bricks;
use super::copy::Harm;
use super::finding::{Fault, Finding, Kind};
use super::means::Keyed;
use super::needs::Needs;
use crate::error::Result;
use crate::format::frames::Frames;
use crate::format::toc::Toc;
use crate::id::{BrickName, ChunkId};

/// Chunks that are looked for at most.
const MOST_CHUNKS: usize = 1 << 21;

/// The places that frames of a brick come from, and their numbers in it.
pub(super) fn moved(toc: &Toc) -> impl Iterator<Item = ((BrickName, u32), u32)> {
    let places = (0..toc.frames().len()).zip(0..);
    let origins = toc.origins().into_iter();
    origins.flat_map(move |origins| {
        let places = places.clone();
        places.flat_map(move |(place, frame)| origins.of(place).map(move |old| (old, frame)))
    })
}

/// What runs need and is to be had nowhere.
pub(super) struct Missing(Needs);

impl Missing {
    /// Whether nothing is lost, so that no run is hit.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a frame is lost.
    pub(super) fn holds(&self, name: &BrickName, frame: u32) -> bool {
        self.0.holds(name, frame)
    }

    /// Of how many of these bricks something is lost that is needed.
    pub(super) fn hits(&self, needed: &[(BrickName, Frames)]) -> u64 {
        let is_hit = |(name, frames): &&(BrickName, Frames)| {
            self.0.is_unmet(name) && frames.iter().any(|frame| self.holds(name, frame))
        };
        needed.iter().filter(is_hit).count() as u64
    }
}

/// Frames that runs need and that are not sound where roots say.
pub(super) struct Search<'a> {
    bricks: &'a Bricks<'a>,
    keyed: &'a Keyed<'a>,
    harmed: BTreeMap<BrickName, Harm>,
    /// Those that have not been found elsewhere yet.
    lost: Needs,
    /// Of bricks of which nothing is here those that stand in no other brick, not even
    /// damaged; and the first root that needs the brick.
    nowhere: Needs,
    gone: BTreeMap<BrickName, PathBuf>,
}

impl<'a> Search<'a> {
    /// To be made once all bricks were looked at.
    pub(super) fn new(bricks: &'a Bricks<'a>, keyed: &'a Keyed<'a>) -> Self {
        Self {
            bricks,
            keyed,
            harmed: bricks.state().harmed.clone(),
            lost: Needs::default(),
            nowhere: Needs::default(),
            gone: BTreeMap::new(),
        }
    }

    /// The root at `path` needs these frames of a brick.
    pub(super) fn add(&mut self, path: &std::path::Path, name: &BrickName, frames: &Frames) {
        if !self.bricks.knows(name) {
            self.lost.add(name, frames);
            self.nowhere.add(name, frames);
            self.gone.entry(*name).or_insert_with(|| path.to_owned());
        } else if let Some(harm) = self.harmed.get(name) {
            let hit = frames.iter().filter(|frame| harm.hits(*frame)).collect();
            self.lost.add(name, &hit);
        }
    }

    /// Looks for them. Reports the bricks that are missing.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Interrupted`].
    pub(super) fn end(mut self) -> Result<Missing> {
        if self.lost.is_empty() {
            return Ok(Missing(self.lost));
        }
        let mut wanted = Wanted::default();
        self.find_moved(&mut wanted)?;
        self.report();
        self.find_chunks(&mut wanted)?;
        Ok(Missing(self.lost))
    }

    fn is_harmed(&self, name: &BrickName, frame: u32) -> bool {
        self.harmed.get(name).is_some_and(|harm| harm.hits(frame))
    }

    /// Finds what gc or a rebuild has moved. Where that is damaged in turn, its chunks may
    /// stand elsewhere.
    fn find_moved(&mut self, wanted: &mut Wanted) -> Result<()> {
        let mut carriers = std::mem::take(&mut self.bricks.state().carriers);
        carriers.sort_unstable();
        self.look_in(&carriers, wanted)?;
        if self.nowhere.has_unmet() {
            // A gc may have put it into bricks that came after this began to list them.
            carriers.clear();
            for shard in 0..=u8::MAX {
                self.bricks
                    .means
                    .layout
                    .sidecar_names(shard, &mut carriers)?;
            }
            carriers.retain(|name| !self.bricks.knows(name));
            self.look_in(&carriers, wanted)?;
        }
        Ok(())
    }

    fn look_in(&mut self, carriers: &[BrickName], wanted: &mut Wanted) -> Result<()> {
        for name in carriers {
            self.bricks.monitor.check()?;
            let Some(toc) = sidecar(self.keyed, name) else {
                continue;
            };
            for ((old, place), number) in moved(&toc) {
                if !self.lost.holds(&old, place) {
                    continue;
                }
                self.nowhere.meet_frame(&old, place);
                if !self.is_harmed(name, number) {
                    self.lost.meet_frame(&old, place);
                } else if let Some(frame) = toc.frames().get(number as usize) {
                    let ids = toc.chunks_of(frame).iter().map(|chunk| chunk.id);
                    wanted.add((old, place), ids.collect());
                }
            }
        }
        Ok(())
    }

    /// Reports the bricks of which something is nowhere.
    fn report(&self) {
        for (name, path) in &self.gone {
            if self.nowhere.is_unmet(name) {
                let message = format!(
                    "needs brick {name}, which is missing: neither it nor its sidecar is here"
                );
                let fault = Fault::new(Kind::Brick, path, message);
                self.bricks.report(fault.of(*name));
                self.bricks.cannot_tell();
                self.bricks.state().summary.missing += 1;
            }
        }
    }

    /// Finds frames of which each chunk stands in a sound frame too.
    fn find_chunks(&mut self, wanted: &mut Wanted) -> Result<()> {
        for name in self.harmed.keys().filter(|name| self.lost.is_unmet(name)) {
            self.bricks.monitor.check()?;
            let Some(toc) = sidecar(self.keyed, name) else {
                continue;
            };
            for (number, frame) in (0..).zip(toc.frames()) {
                if self.lost.holds(name, number) {
                    let ids = toc.chunks_of(frame).iter().map(|chunk| chunk.id);
                    wanted.add((*name, number), ids.collect());
                }
            }
        }
        if wanted.is_too_much {
            self.bricks.say(Finding::Warning(format!(
                "more than {MOST_CHUNKS} chunks are damaged: of the others it was not looked \
                 whether they were stored again, so runs may be named that have lost nothing"
            )));
        }
        if wanted.frames.is_empty() {
            return Ok(());
        }
        for job in self.bricks.jobs.iter().filter(|job| job.is_here()) {
            self.bricks.monitor.check()?;
            let Some(toc) = sidecar(self.keyed, &job.name) else {
                continue;
            };
            for (number, frame) in (0..).zip(toc.frames()) {
                if !self.is_harmed(&job.name, number) {
                    wanted.found(toc.chunks_of(frame).iter().map(|chunk| &chunk.id));
                }
            }
        }
        for (name, frame) in wanted.take() {
            self.lost.meet_frame(&name, frame);
        }
        Ok(())
    }
}

/// Frames, and whether their chunks were found.
#[derive(Default)]
struct Wanted {
    frames: Vec<((BrickName, u32), Vec<ChunkId>)>,
    stands: HashMap<ChunkId, bool>,
    /// Something was left out.
    is_too_much: bool,
}

impl Wanted {
    fn add(&mut self, frame: (BrickName, u32), ids: Vec<ChunkId>) {
        if self.stands.len() + ids.len() > MOST_CHUNKS {
            self.is_too_much = true;
            return;
        }
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

/// What a sidecar says; one that does not open was reported already.
fn sidecar(keyed: &Keyed<'_>, name: &BrickName) -> Option<Toc> {
    let read = keyed.store.read_sidecar(&keyed.keys, name, &mut Vec::new());
    read.ok()
}

#[cfg(test)]
mod tests {
    use super::super::VerifyOptions;
    use super::super::means::Means;
    use super::*;
    use crate::archive::Monitor;
    use crate::store::testing;

    const ONE: BrickName = BrickName([1; 32]);
    const TWO: BrickName = BrickName([2; 32]);

    #[test]
    fn a_run_is_hit_by_frames_that_it_needs_and_that_are_lost() {
        let needed: Frames = [1, 10].into_iter().collect();
        let needed = [(ONE, needed.clone()), (TWO, needed)];
        for (lost, hits) in [
            (&[][..], 0),
            (&[(ONE, 0), (ONE, 2), (ONE, 9), (TWO, 11), (TWO, 100)], 0),
            (&[(ONE, 1)], 1),
            (&[(ONE, 1), (ONE, 10)], 1),
            (&[(ONE, 1), (TWO, 10)], 2),
        ] {
            let mut needs = Needs::default();
            for (name, frame) in lost {
                needs.add(name, &[*frame].into_iter().collect());
            }
            assert_eq!(Missing(needs).hits(&needed), hits, "{lost:?}");
        }
    }

    /// What a verify sees that lists a folder before a gc puts a new brick there, and the
    /// next one after the old brick was deleted.
    #[test]
    fn what_was_moved_while_bricks_were_listed_is_not_missing() {
        let dir = tempfile::tempdir().unwrap();
        let (store, keys) = testing::store(dir.path());
        let key = testing::key(1);
        let means = Means::with_key(&store, &key).unwrap();
        let (monitor, options) = (Monitor::default(), VerifyOptions::default());
        let found = |_: Finding| {};
        let missing = |of: u32| {
            let bricks = Bricks::new(&means, &options, &monitor, &[], &found).unwrap();
            let mut search = Search::new(&bricks, means.keyed.as_ref().unwrap());
            let needed = [0, 2].into_iter().collect();
            search.add(std::path::Path::new("root"), &testing::name(of), &needed);
            let lost = search.end().unwrap();
            let missing = bricks.state().summary.missing;
            (lost.is_empty(), missing)
        };
        let mut toc = testing::toc(&[&[1], &[2]]);
        let old = testing::name(7);
        toc.set_origins(&[vec![(old, 0)], vec![(old, 2)]], &[])
            .unwrap();
        assert_eq!(missing(7), (false, 1));
        testing::write_sidecar(&store, &keys, &testing::name(8), &toc);
        assert_eq!(missing(7).1, 0);
        assert_eq!(missing(9).1, 1);
    }

    #[test]
    fn so_many_chunks_are_looked_for_and_no_more() {
        let ids = |from: usize, to: usize| {
            let id = |number: usize| ChunkId((number as u128).to_le_bytes());
            (from..to).map(id).collect::<Vec<_>>()
        };
        let mut wanted = Wanted::default();
        wanted.add((ONE, 1), ids(0, MOST_CHUNKS));
        assert!(!wanted.is_too_much);
        wanted.add((ONE, 2), ids(MOST_CHUNKS, MOST_CHUNKS + 1));
        assert!(wanted.is_too_much);
        wanted.found(ids(0, MOST_CHUNKS + 1).iter());
        assert_eq!(wanted.take(), [(ONE, 1)]);
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
