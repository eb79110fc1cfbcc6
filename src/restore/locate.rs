//! Where a chunk lies: from the index's hints, or without them from the catalog.

use std::path::Path;
use std::sync::Arc;

use super::frames::FrameSpec;
use super::moved::Moved;
use crate::crypto::ChunkIdKey;
use crate::error::{Error, Exit, Result};
use crate::format::record::Counts;
use crate::format::trailer::UsedFrame;
use crate::id::ChunkHash;
use crate::index::{BrickTable, HintReader, IndexFile, Levels, Trailer};
use crate::store::catalog::Catalog;

/// Where a chunk lies: a number that stands for the frame, the frame, the place in it.
pub(super) type Place = (u64, FrameSpec, u32);

/// Says where chunks lie, in the order in which the stream uses them.
pub(super) enum Locator {
    /// By the hints of an index.
    Hints {
        levels: Box<Levels>,
        /// Of the copies of lists.
        copies: Box<Levels>,
        bricks: BrickTable,
        moved: Arc<Moved>,
    },
    /// By a catalog, where an index has no trailer.
    Catalog {
        catalog: Box<Catalog>,
        key: ChunkIdKey,
    },
}

impl Locator {
    /// Frames in `moved` are not where the hints say.
    pub(super) fn from_hints(
        index: &IndexFile,
        trailer: &Trailer,
        moved: &Arc<Moved>,
    ) -> Result<Self> {
        let levels = trailer.hints(index)?;
        Ok(Self::Hints {
            copies: Box::new(trailer.copies(index, &levels)?),
            levels: Box::new(levels),
            bricks: trailer.bricks(index)?,
            moved: Arc::clone(moved),
        })
    }

    /// Whether the index has a trailer, and with it a hash of the whole stream.
    pub(super) const fn has_trailer(&self) -> bool {
        matches!(self, Self::Hints { .. })
    }

    /// Where the next chunk of `level` lies. `None`: nowhere (only without hints).
    pub(super) fn locate(
        &mut self,
        level: usize,
        hash: &ChunkHash,
        length: u32,
    ) -> Result<Option<Place>> {
        match self {
            Self::Hints {
                levels,
                bricks,
                moved,
                ..
            } => {
                let hints = hints_of(&mut levels[..], level, bricks.path())?;
                next_place(hints, bricks, moved).map(Some)
            }
            Self::Catalog { catalog, key } => {
                let mut found = Vec::new();
                catalog.lookup(&[key.id(hash)], &[length], &mut found)?;
                let Some(location) = found.first().copied().flatten() else {
                    return Ok(None);
                };
                let brick = catalog.brick(location.brick)?;
                let frame = catalog.frame(location.brick, location.frame)?;
                let spec = FrameSpec {
                    brick: brick.name,
                    frame: UsedFrame {
                        number: location.frame,
                        offset: frame.offset,
                        length: frame.length,
                        plain_length: frame.plain_length,
                    },
                };
                let key = u64::from(location.brick.0) << 32 | u64::from(location.frame);
                Ok(Some((key, spec, location.place)))
            }
        }
    }

    /// Where the copy of the list that was located last lies, if that is known; `level` is
    /// the list's. To be called once for each list.
    pub(super) fn locate_copy(&mut self, level: usize) -> Result<Option<Place>> {
        if let Self::Hints {
            copies,
            bricks,
            moved,
            ..
        } = self
            && let Some(Some(copies)) = copies.get_mut(level)
        {
            return next_place(copies, bricks, moved).map(Some);
        }
        Ok(None)
    }

    /// Passes chunks that are not wanted, and the copies of those that are lists.
    pub(super) fn skip(&mut self, counts: &Counts) -> Result<()> {
        if let Self::Hints {
            levels,
            copies,
            bricks,
            ..
        } = self
        {
            for (level, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                hints_of(&mut levels[..], level, bricks.path())?.skip(count)?;
                if let Some(Some(copies)) = copies.get_mut(level) {
                    copies.skip(count)?;
                }
            }
        }
        Ok(())
    }

    /// Checks that the stream has used every chunk that the hints name.
    pub(super) fn end(&self) -> Result<()> {
        match self {
            Self::Hints { levels, copies, .. } => {
                let mut all = levels.iter().chain(copies.iter()).flatten();
                all.try_for_each(HintReader::end)
            }
            Self::Catalog { .. } => Ok(()),
        }
    }
}

/// What `hints` name next.
fn next_place(hints: &mut HintReader, bricks: &mut BrickTable, moved: &Moved) -> Result<Place> {
    let (ordinal, place) = hints.next_chunk()?;
    let (_, brick, number) = bricks.frame(ordinal)?;
    let spec = FrameSpec {
        brick: brick.name,
        frame: brick.frames[number],
    };
    Ok((ordinal, moved.follow(spec), place))
}

fn hints_of<'a>(
    levels: &'a mut [Option<HintReader>],
    level: usize,
    path: &Path,
) -> Result<&'a mut HintReader> {
    let hints = levels.get_mut(level).and_then(Option::as_mut);
    hints.ok_or_else(|| Error::Refused {
        path: path.to_owned(),
        message: format!(
            "broken index: no hints for chunks of level {level}; take another copy of the index, \
             or archive again"
        ),
        exit: Exit::Damaged,
    })
}
