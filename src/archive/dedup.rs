//! Decides for each chunk whether the store has it, and gathers those that it
//! has not in frames.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use rayon::ThreadPool;

use super::Context;
use super::bricks::{BrickStages, FrameOptions, FrameSlot, Published};
use super::monitor::Monitor;
use crate::error::{Error, Result};
use crate::format::trailer::UsedFrame;
use crate::id::{BrickName, ChunkId};
use crate::index::{BrickSource, FrameRef, OwnFrame, Series, StoredFrame};
use crate::store::catalog::{BrickRef, Catalog, Location};

/// Chunks in a frame, so that its table stays small where files are tiny.
const FRAME_CHUNKS: u32 = 16_384;

/// Where a chunk lies.
pub(super) type Found = (FrameRef, u32);

/// Chunks of this run that the catalog does not know yet.
///
/// They leave when their brick is published, so there are never more than
/// those of two or three bricks, 262,144 chunks each at most.
type Pending = HashMap<ChunkId, (OwnFrame, u32), BuildHasherDefault<IdHasher>>;

/// Chunk ids are already uniform, and keyed: their first bytes are a good hash.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for (byte, slot) in bytes.iter().zip(0..8) {
            self.0 ^= u64::from(*byte) << (8 * slot);
        }
    }
}

/// The dedup stage's state.
pub(super) struct Dedup {
    stages: BrickStages,
    pending: Pending,
    chunks: Filling,
    copies: Filling,
    found: Vec<Option<Location>>,
}

/// The frame of one series that is being filled.
struct Filling {
    series: Series,
    slot: Option<Box<FrameSlot>>,
    frame: OwnFrame,
}

impl Filling {
    const fn new(series: Series) -> Self {
        Self {
            series,
            slot: None,
            frame: OwnFrame::first(series),
        }
    }

    fn push(
        &mut self,
        id: ChunkId,
        chunk: &[u8],
        stages: &BrickStages,
        monitor: &Monitor,
    ) -> Result<(OwnFrame, u32)> {
        let frame_length = stages.options.effort.frame_length();
        if let Some(slot) = &self.slot
            && (slot.builder.plain_length() + chunk.len() > frame_length
                || slot.builder.chunk_count() == FRAME_CHUNKS)
        {
            self.send(stages)?;
        }
        let slot = match &mut self.slot {
            Some(slot) => slot,
            none => match super::next_of(&stages.free, monitor)? {
                Some(slot) => none.insert(slot),
                None => return Err(stages_ended()),
            },
        };
        slot.series = self.series;
        slot.ids.push(id);
        Ok((self.frame, slot.builder.push(chunk)))
    }

    /// Sends what there is on its way.
    fn send(&mut self, stages: &BrickStages) -> Result<()> {
        let Some(slot) = self.slot.take() else {
            return Ok(());
        };
        self.frame = self
            .frame
            .next()
            .ok_or_else(|| Error::Internal("more than 2^31 frames in one run".into()))?;
        if stages.send(slot) {
            return Ok(());
        }
        Err(stages_ended())
    }
}

impl Dedup {
    pub(super) fn new(
        context: &Arc<Context>,
        pool: &Arc<ThreadPool>,
        monitor: &Arc<Monitor>,
        options: FrameOptions,
    ) -> Result<Self> {
        Ok(Self {
            stages: BrickStages::start(context, pool, monitor, options)?,
            pending: Pending::default(),
            chunks: Filling::new(Series::Chunks),
            copies: Filling::new(Series::Copies),
            found: Vec::new(),
        })
    }

    /// Looks `ids` up in the store; the answers are read with [`Dedup::find`].
    pub(super) fn look_up(
        &mut self,
        catalog: &mut Catalog,
        ids: &[ChunkId],
        lengths: &[u32],
    ) -> Result<()> {
        self.found.clear();
        catalog.lookup(ids, lengths, &mut self.found)
    }

    /// Where the chunk is, if it is anywhere: `number` is its place in the last lookup.
    pub(super) fn find(&self, number: usize, id: &ChunkId) -> Option<Found> {
        if let Some(&(frame, place)) = self.pending.get(id) {
            return Some((FrameRef::Own(frame), place));
        }
        self.found.get(number).copied().flatten().map(|location| {
            let stored = StoredFrame {
                brick: location.brick.0,
                frame: location.frame,
            };
            (FrameRef::Stored(stored), location.place)
        })
    }

    /// Where one chunk is, if it is anywhere. Leaves the last lookup's answers alone.
    pub(super) fn find_one(
        &mut self,
        catalog: &mut Catalog,
        id: &ChunkId,
        length: usize,
    ) -> Result<Option<Found>> {
        let others = std::mem::take(&mut self.found);
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.look_up(catalog, std::slice::from_ref(id), &[length])?;
        let found = self.find(0, id);
        self.found = others;
        Ok(found)
    }

    /// Puts a chunk that is nowhere yet into the frame of `series` that is being filled.
    pub(super) fn store(
        &mut self,
        series: Series,
        id: ChunkId,
        chunk: &[u8],
        monitor: &Monitor,
    ) -> Result<Found> {
        let filling = match series {
            Series::Chunks => &mut self.chunks,
            Series::Copies => &mut self.copies,
        };
        let (frame, place) = filling.push(id, chunk, &self.stages, monitor)?;
        self.pending.insert(id, (frame, place));
        Ok((FrameRef::Own(frame), place))
    }

    fn send_last_frames(&mut self) -> Result<()> {
        self.chunks.send(&self.stages)?;
        self.copies.send(&self.stages)
    }

    /// Takes note of the bricks that were published since the last call.
    pub(super) fn published(
        &mut self,
        catalog: &mut Catalog,
        mut each: impl FnMut(&Published, u32) -> Result<()>,
    ) -> Result<()> {
        while let Ok(published) = self.stages.published.try_recv() {
            note(catalog, &mut self.pending, &published, &mut each)?;
        }
        Ok(())
    }

    /// Sends the last frames and waits for the last brick. If a stage has
    /// failed, `outcome` so far is only its consequence: the stage's error counts.
    pub(super) fn finish(
        mut self,
        outcome: Result<()>,
        catalog: &mut Catalog,
        monitor: &Monitor,
        mut each: impl FnMut(&Published, u32) -> Result<()>,
    ) -> Result<()> {
        let outcome = outcome.and_then(|()| self.send_last_frames());
        let Self {
            stages,
            mut pending,
            ..
        } = self;
        let (published, threads) = stages.finish();
        let outcome = outcome.and_then(|()| {
            while let Some(brick) = super::next_of(&published, monitor)? {
                note(catalog, &mut pending, &brick, &mut each)?;
            }
            Ok(())
        });
        drop(published);
        let stages: Vec<Result<()>> = threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err(Error::Internal("a thread failed".into())))
            })
            .collect();
        if !matches!(outcome, Err(Error::Interrupted)) {
            stages.into_iter().collect::<Result<()>>()?;
        }
        outcome?;
        if !pending.is_empty() {
            let message = format!("{} chunks were not stored", pending.len());
            return Err(Error::Internal(message));
        }
        Ok(())
    }
}

fn note(
    catalog: &mut Catalog,
    pending: &mut Pending,
    published: &Published,
    each: &mut impl FnMut(&Published, u32) -> Result<()>,
) -> Result<()> {
    let Published {
        name,
        length,
        toc,
        seal,
        ..
    } = published;
    let brick = catalog.insert(name, *length, toc, seal)?;
    each(published, brick.0)?;
    for chunk in toc.chunks() {
        pending.remove(&chunk.id);
    }
    Ok(())
}

/// Replaced by the stage's own error when the stages are joined.
fn stages_ended() -> Error {
    Error::Internal("the brick writer ended early".into())
}

impl BrickSource for Catalog {
    fn brick(&mut self, brick: u32) -> Result<(BrickName, u64)> {
        let info = Self::brick(self, BrickRef(brick))?;
        Ok((info.name, info.length))
    }

    fn frame(&mut self, frame: StoredFrame) -> Result<UsedFrame> {
        let info = Self::frame(self, BrickRef(frame.brick), frame.frame)?;
        Ok(UsedFrame {
            number: frame.frame,
            offset: info.offset,
            length: info.length,
            plain_length: info.plain_length,
        })
    }
}
