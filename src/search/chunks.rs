//! Which chunks one index needs and another does not, by where they lie: that is known
//! from the indexes alone (`formats/index.md#hint`).

use super::last::Last;
use super::sort::Sorter;
use crate::error::{Error, Exit, Result};
use crate::format::record::{Item, Record};
use crate::format::wire::{Decoder, put_uv};
use crate::index::{BrickTable, HintReader, IndexFile, Trailer};

/// Bytes of chunks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needed {
    /// How many.
    pub bytes: u64,
    /// Whether that is a guess: of the chunks of long bodies an index names number and
    /// place, but only the sum of their lengths.
    pub estimated: bool,
}

/// Gathers where the chunks of bodies lie.
pub(super) struct ChunkSorter {
    hints: Option<HintReader>,
    bricks: BrickTable,
    sorter: Sorter,
    /// The frame of the last chunk, and its part of the key.
    recent: Option<(u64, [u8; FRAME])>,
    value: Vec<u8>,
}

/// Brick and frame in a key: half of the brick's name, which no two bricks share, and the
/// place of the frame in it.
const FRAME: usize = 16 + 4;
const KEY: usize = FRAME + 4;

impl ChunkSorter {
    pub(super) fn new(index: &IndexFile, trailer: &Trailer) -> Result<Self> {
        let [hints, ..] = trailer.hints(index)?;
        Ok(Self {
            hints,
            bricks: trailer.bricks(index)?,
            sorter: Sorter::new(),
            recent: None,
            value: Vec::new(),
        })
    }

    /// Takes the chunks of the body that comes next, if it is `wanted`.
    pub(super) fn body(&mut self, record: &Record, wanted: bool) -> Result<()> {
        for item in &record.items {
            let (count, length) = match item {
                Item::Zeros { .. } => continue,
                Item::Whole => (1, record.body_length),
                Item::Chunk { length, .. } => (1, u64::from(*length)),
                Item::List(list) => (list.counts[0], list.covers),
            };
            let Some(hints) = &mut self.hints else {
                return Err(self.without_hints());
            };
            if !wanted {
                hints.skip(count)?;
                continue;
            }
            let estimated = matches!(item, Item::List(_));
            for number in 0..count {
                // So that the guesses add up to what the list covers.
                let part = length / count + u64::from(number < length % count);
                self.chunk(part, estimated)?;
            }
        }
        Ok(())
    }

    fn chunk(&mut self, length: u64, estimated: bool) -> Result<()> {
        let Some(hints) = &mut self.hints else {
            return Err(self.without_hints());
        };
        let (ordinal, place) = hints.next_chunk()?;
        let frame = match self.recent {
            Some((recent, frame)) if recent == ordinal => frame,
            _ => {
                let (_, brick, number) = self.bricks.frame(ordinal)?;
                let mut frame = [0; FRAME];
                frame[..16].copy_from_slice(&brick.name.as_bytes()[..16]);
                frame[16..].copy_from_slice(&brick.frames[number].number.to_be_bytes());
                self.recent = Some((ordinal, frame));
                frame
            }
        };
        let mut key = [0; KEY];
        key[..FRAME].copy_from_slice(&frame);
        key[FRAME..].copy_from_slice(&place.to_be_bytes());
        self.value.clear();
        put_uv(&mut self.value, length << 1 | u64::from(estimated));
        self.sorter.push(&key, &self.value)
    }

    fn without_hints(&self) -> Error {
        Error::Refused {
            path: self.bricks.path().to_owned(),
            message: "broken index: no hints for chunks of level 0; take another copy of the \
                      index, or archive again"
                .into(),
            exit: Exit::Damaged,
        }
    }

    /// What `self` has and `other` has not.
    pub(super) fn without(self, other: Self) -> Result<Needed> {
        let (mut own, mut other) = (
            Last::new(self.sorter.finish()?),
            Last::new(other.sorter.finish()?),
        );
        let mut needed = Needed::default();
        let mut rest = other.advance()?;
        while own.advance()? {
            while rest && other.key() < own.key() {
                rest = other.advance()?;
            }
            if rest && other.key() == own.key() {
                continue;
            }
            let value = Decoder::new("chunk", own.value())
                .uv("length")
                .map_err(|error| Error::Internal(error.to_string()))?;
            needed.bytes = needed.bytes.saturating_add(value >> 1);
            needed.estimated |= value & 1 == 1;
        }
        Ok(needed)
    }
}
