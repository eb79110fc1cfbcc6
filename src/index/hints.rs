//! Where chunks lie: noted while the stream goes by, resolved at its end.

use std::collections::HashMap;
use std::path::Path;

use super::spool::{PairSpool, Spool};
use crate::error::{Error, Result};
use crate::format::record::LEVELS;
use crate::format::trailer::{PAGE_LENGTH, PageHead, Run, UsedBrick, UsedFrame};
use crate::format::wire::put_uv;
use crate::id::BrickName;

/// A frame that stands in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredFrame {
    /// The catalog's ordinal of its brick.
    pub brick: u32,
    /// Its number in the brick.
    pub frame: u32,
}

/// A frame, perhaps not yet in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameRef {
    /// In the store before this run needed it.
    Stored(StoredFrame),
    /// One of this run.
    Own(OwnFrame),
}

/// What a frame of this run is for. The frames of each series are numbered for
/// themselves, in the order in which they were sent: while one of chunks is
/// filled, one of copies may be, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Series {
    /// Chunks of bodies, and lists.
    Chunks,
    /// Copies of lists.
    Copies,
}

/// A frame of this run: the highest bit is its series, the others its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnFrame(u32);

impl OwnFrame {
    const COPIES: u32 = 1 << 31;

    /// The first frame of a series.
    #[must_use]
    pub const fn first(series: Series) -> Self {
        Self(match series {
            Series::Chunks => 0,
            Series::Copies => Self::COPIES,
        })
    }

    /// The next frame of the series; `None` behind the last.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match Self(self.0.wrapping_add(1)) {
            next if next.0 & !Self::COPIES == 0 => None,
            next => Some(next),
        }
    }

    const fn series(self) -> Series {
        if self.0 & Self::COPIES == 0 {
            Series::Chunks
        } else {
            Series::Copies
        }
    }

    const fn number(self) -> u32 {
        self.0 & !Self::COPIES
    }
}

/// What is known about bricks by their ordinals.
pub trait BrickSource {
    /// Name and length of a brick.
    ///
    /// # Errors
    /// Fails if the ordinal is unknown.
    fn brick(&mut self, brick: u32) -> Result<(BrickName, u64)>;

    /// Place and size of a frame.
    ///
    /// # Errors
    /// Fails if the frame is unknown.
    fn frame(&mut self, frame: StoredFrame) -> Result<UsedFrame>;
}

/// An ordinal that no brick has: marks frames of this run in a spool.
const OWN: u32 = u32::MAX;

/// Runs of chunks of one level, or of their copies, in stream order.
struct Level {
    spool: Spool,
    chunks: u64,
    run: Option<(FrameRef, u32, u32)>,
}

impl Level {
    fn new(dir: &Path) -> Self {
        Self {
            spool: Spool::new(dir),
            chunks: 0,
            run: None,
        }
    }

    fn push(&mut self, frame: FrameRef, place: u32) -> Result<()> {
        self.chunks += 1;
        if let Some((last, first, count)) = &mut self.run
            && *last == frame
            && *first + *count == place
        {
            *count += 1;
            return Ok(());
        }
        self.flush()?;
        self.run = Some((frame, place, 1));
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let Some((frame, place, count)) = self.run.take() else {
            return Ok(());
        };
        let (brick, frame) = match frame {
            FrameRef::Stored(StoredFrame { brick, frame }) => (brick, frame),
            FrameRef::Own(own) => (OWN, own.0),
        };
        let mut entry = [0; 16];
        for (bytes, value) in entry.chunks_exact_mut(4).zip([brick, frame, place, count]) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
        self.spool.write(&entry)
    }
}

/// The places of all chunks that a stream uses.
pub(super) struct Hints {
    levels: Vec<Level>,
    /// Of the copies of lists: those of level 1 come first.
    copies: Vec<Level>,
    own: Own,
}

/// Where the frames of this run came to lie.
struct Own {
    chunks: PairSpool,
    copies: PairSpool,
}

impl Own {
    fn series(&mut self, series: Series) -> &mut PairSpool {
        match series {
            Series::Chunks => &mut self.chunks,
            Series::Copies => &mut self.copies,
        }
    }
}

impl Hints {
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            levels: Vec::new(),
            copies: Vec::new(),
            own: Own {
                chunks: PairSpool::new(dir),
                copies: PairSpool::new(dir),
            },
        }
    }

    /// Notes the place of the next chunk of `level`.
    pub(super) fn push(
        &mut self,
        dir: &Path,
        level: usize,
        frame: FrameRef,
        place: u32,
    ) -> Result<()> {
        debug_assert!(level < LEVELS);
        while self.levels.len() <= level {
            self.levels.push(Level::new(dir));
        }
        self.levels[level].push(frame, place)
    }

    /// Notes the place of the copy of the next list of `level`, which is at least 1.
    pub(super) fn push_copy(
        &mut self,
        dir: &Path,
        level: usize,
        frame: FrameRef,
        place: u32,
    ) -> Result<()> {
        debug_assert!((1..LEVELS).contains(&level));
        while self.copies.len() < level {
            self.copies.push(Level::new(dir));
        }
        self.copies[level - 1].push(frame, place)
    }

    /// Says where the next frame of a series of this run came to lie.
    pub(super) fn own_frame(&mut self, series: Series, stored: StoredFrame) -> Result<()> {
        self.own.series(series).push((stored.brick, stored.frame))
    }

    /// All bricks and frames that the stream uses.
    pub(super) fn used(&mut self) -> Result<Used> {
        let mut used = Used::default();
        for level in self.levels.iter_mut().chain(&mut self.copies) {
            level.runs(&mut self.own, |frame, _, _| {
                used.add(frame);
                Ok(())
            })?;
        }
        used.number();
        Ok(used)
    }

    /// The `HINT` sections' payloads, level by level.
    pub(super) fn sections(&mut self, dir: &Path, used: &Used) -> Result<Vec<Spool>> {
        let levels = (0_u8..).zip(&mut self.levels);
        levels
            .map(|(number, level)| level.section(number, dir, &mut self.own, used))
            .collect()
    }

    /// The `COPY` sections' payloads, level by level.
    pub(super) fn copy_sections(&mut self, dir: &Path, used: &Used) -> Result<Vec<Spool>> {
        let levels = (1_u8..).zip(&mut self.copies);
        levels
            .map(|(number, level)| level.section(number, dir, &mut self.own, used))
            .collect()
    }
}

impl Level {
    /// Calls `each` for every run, with its frame resolved.
    fn runs(
        &mut self,
        own: &mut Own,
        mut each: impl FnMut(StoredFrame, u32, u32) -> Result<()>,
    ) -> Result<()> {
        self.flush()?;
        let mut reader = self.spool.reader()?;
        while let Some(entry) = reader.array::<16>()? {
            let mut values = [0; 4];
            for (value, bytes) in values.iter_mut().zip(entry.chunks_exact(4)) {
                *value = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            }
            let [brick, frame, place, count] = values;
            let stored = if brick == OWN {
                let number = OwnFrame(frame).number();
                let (brick, frame) = own
                    .series(OwnFrame(frame).series())
                    .get(u64::from(number))?
                    .ok_or_else(|| Error::Internal(format!("frame {number} was never stored")))?;
                StoredFrame { brick, frame }
            } else {
                StoredFrame { brick, frame }
            };
            each(stored, place, count)?;
        }
        Ok(())
    }

    /// The payload of the section of this level.
    fn section(&mut self, number: u8, dir: &Path, own: &mut Own, used: &Used) -> Result<Spool> {
        let mut payload = Spool::new(dir);
        let mut head = vec![number];
        put_uv(&mut head, self.chunks);
        payload.write(&head)?;
        let mut page = Page::default();
        self.runs(own, |frame, place, count| {
            let frame = used.ordinal(frame);
            // A run takes at most 30 bytes.
            if page.runs.len() + 30 > PAGE_LENGTH {
                page.flush(&mut payload)?;
            }
            page.push(Run {
                frame,
                place,
                count: u64::from(count),
            });
            Ok(())
        })?;
        page.flush(&mut payload)?;
        Ok(payload)
    }
}

#[derive(Default)]
struct Page {
    runs: Vec<u8>,
    previous: u64,
    count: u32,
    before: u64,
}

impl Page {
    fn push(&mut self, run: Run) {
        run.encode(self.previous, &mut self.runs);
        self.previous = run.frame;
        // A run takes at least 3 bytes and has at most 65,536 chunks: no overflow.
        self.count += u32::try_from(run.count).unwrap_or(u32::MAX);
    }

    fn flush(&mut self, payload: &mut Spool) -> Result<()> {
        if self.runs.is_empty() {
            return Ok(());
        }
        let head = PageHead {
            length: u32::try_from(self.runs.len()).unwrap_or(u32::MAX),
            count: self.count,
            first: self.before,
        };
        payload.write(&head.encode())?;
        payload.write(&self.runs)?;
        self.before += u64::from(self.count);
        self.count = 0;
        self.previous = 0;
        self.runs.clear();
        Ok(())
    }
}

/// The bricks and frames that a stream uses, bricks in the order of first use.
///
/// It takes about a hundred bytes for each brick that is used, so some two
/// megabytes for each terabyte of stream.
#[derive(Debug, Default)]
pub struct Used {
    order: Vec<u32>,
    frames: HashMap<u32, Frames>,
}

#[derive(Debug, Default)]
struct Frames {
    bitmap: Vec<u64>,
    /// Ordinal of the first used frame.
    base: u64,
}

impl Used {
    /// Notes that a frame is used.
    pub fn add(&mut self, stored: StoredFrame) {
        let frames = self.frames.entry(stored.brick).or_insert_with(|| {
            self.order.push(stored.brick);
            Frames::default()
        });
        let word = (stored.frame / 64) as usize;
        if frames.bitmap.len() <= word {
            frames.bitmap.resize(word + 1, 0);
        }
        frames.bitmap[word] |= 1 << (stored.frame % 64);
    }

    fn number(&mut self) {
        let mut base = 0;
        for brick in &self.order {
            if let Some(frames) = self.frames.get_mut(brick) {
                frames.base = base;
                base += frames
                    .bitmap
                    .iter()
                    .map(|word| u64::from(word.count_ones()))
                    .sum::<u64>();
            }
        }
    }

    fn ordinal(&self, stored: StoredFrame) -> u64 {
        self.frames.get(&stored.brick).map_or(0, |frames| {
            let word = (stored.frame / 64) as usize;
            let whole = frames.bitmap[..word]
                .iter()
                .map(|word| u64::from(word.count_ones()))
                .sum::<u64>();
            let below = frames.bitmap[word] & ((1 << (stored.frame % 64)) - 1);
            frames.base + whole + u64::from(below.count_ones())
        })
    }

    /// The bricks' ordinals in the catalog, in the order of first use.
    #[must_use]
    pub fn bricks(&self) -> &[u32] {
        &self.order
    }

    /// Which frames of a brick are used: frame *n* is bit *n* mod 8 of byte *n* ÷ 8.
    #[must_use]
    pub fn bitmap(&self, brick: u32) -> Vec<u8> {
        let mut bytes: Vec<u8> = self
            .frames
            .get(&brick)
            .into_iter()
            .flat_map(|frames| &frames.bitmap)
            .flat_map(|word| word.to_le_bytes())
            .collect();
        while bytes.last() == Some(&0) {
            bytes.pop();
        }
        bytes
    }

    /// The payload of `BRIK`.
    pub(super) fn section(&self, dir: &Path, source: &mut impl BrickSource) -> Result<Spool> {
        let mut payload = Spool::new(dir);
        let mut bytes = Vec::new();
        put_uv(&mut bytes, self.order.len() as u64);
        for &brick in &self.order {
            let (name, length) = source.brick(brick)?;
            let bitmap = self
                .frames
                .get(&brick)
                .map_or(&[][..], |frames| &frames.bitmap);
            let frames = set_bits(bitmap)
                .map(|frame| source.frame(StoredFrame { brick, frame }))
                .collect::<Result<_>>()?;
            UsedBrick {
                name,
                length,
                frames,
            }
            .encode(&mut bytes);
            payload.write(&bytes)?;
            bytes.clear();
        }
        payload.write(&bytes)?;
        Ok(payload)
    }
}

fn set_bits(bitmap: &[u64]) -> impl Iterator<Item = u32> + '_ {
    (0_u32..).zip(bitmap).flat_map(|(number, &word)| {
        (0..64)
            .filter(move |bit| word >> bit & 1 == 1)
            .map(move |bit| number * 64 + bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_frames_are_numbered_by_first_use_of_their_brick() {
        let mut used = Used::default();
        let at = |brick, frame| StoredFrame { brick, frame };
        for frame in [at(7, 70), at(3, 1), at(7, 2), at(7, 70)] {
            used.add(frame);
        }
        used.number();
        assert_eq!(used.bricks(), [7, 3]);
        assert_eq!(used.ordinal(at(7, 2)), 0);
        assert_eq!(used.ordinal(at(7, 70)), 1);
        assert_eq!(used.ordinal(at(3, 1)), 2);
        assert_eq!(used.bitmap(7), [4, 0, 0, 0, 0, 0, 0, 0, 64]);
        assert_eq!(used.bitmap(3), [2]);
    }
}
