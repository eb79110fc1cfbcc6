//! Where a chunk lies: from the index's hints, or without them from the catalog.

use std::path::Path;

use super::frames::FrameSpec;
use crate::crypto::ChunkIdKey;
use crate::error::{Error, Exit, Result};
use crate::format::record::Counts;
use crate::format::trailer::UsedFrame;
use crate::id::ChunkHash;
use crate::index::{BrickTable, HintReader, IndexFile, Trailer};
use crate::store::catalog::Catalog;

/// Where a chunk lies: a number that stands for the frame, the frame, the place in it.
pub(super) type Place = (u64, FrameSpec, u32);

/// Says where chunks lie, in the order in which the stream uses them.
pub(super) enum Locator {
    /// By the hints of an index.
    Hints {
        levels: Vec<HintReader>,
        bricks: BrickTable,
    },
    /// By a catalog, where an index has no trailer.
    Catalog {
        catalog: Box<Catalog>,
        key: ChunkIdKey,
    },
}

impl Locator {
    pub(super) fn from_hints(index: &IndexFile, trailer: &Trailer) -> Result<Self> {
        Ok(Self::Hints {
            levels: trailer.hints(index)?,
            bricks: trailer.bricks(index)?,
        })
    }

    /// Where the next chunk of `level` lies. `None`: nowhere (only without hints).
    pub(super) fn locate(
        &mut self,
        level: usize,
        hash: &ChunkHash,
        length: u32,
    ) -> Result<Option<Place>> {
        match self {
            Self::Hints { levels, bricks } => {
                let Some(hints) = levels.get_mut(level) else {
                    return Err(no_hints(bricks.path(), level));
                };
                let (ordinal, place) = hints.next_chunk()?;
                let (_, brick, number) = bricks.frame(ordinal)?;
                let spec = FrameSpec {
                    brick: brick.name,
                    frame: brick.frames[number],
                };
                Ok(Some((ordinal, spec, place)))
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

    /// Passes chunks that are not wanted.
    pub(super) fn skip(&mut self, counts: &Counts) -> Result<()> {
        if let Self::Hints { levels, bricks } = self {
            for (level, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                levels
                    .get_mut(level)
                    .ok_or_else(|| no_hints(bricks.path(), level))?
                    .skip(count)?;
            }
        }
        Ok(())
    }

    /// Checks that the stream has used every chunk that the hints name.
    pub(super) fn end(&self) -> Result<()> {
        match self {
            Self::Hints { levels, bricks } if !levels.iter().all(HintReader::is_empty) => {
                Err(broken(
                    bricks.path(),
                    "it has hints for more chunks than its records hold",
                ))
            }
            _ => Ok(()),
        }
    }
}

fn no_hints(path: &Path, level: usize) -> Error {
    broken(path, &format!("no hints for chunks of level {level}"))
}

fn broken(path: &Path, what: &str) -> Error {
    Error::Refused {
        path: path.to_owned(),
        message: format!("broken index: {what}; take another copy of the index, or archive again"),
        exit: Exit::Damaged,
    }
}
