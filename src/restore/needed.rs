//! Which bricks a restore needs, in the order in which it needs them: said by the index
//! alone.

use std::collections::HashMap;
use std::sync::Arc;

use super::frames::FrameSpec;
use super::locate::Locator;
use super::moved::Moved;
use super::select::Selection;
use super::steps::{Segment, Steps};
use crate::error::{Error, Result};
use crate::format::frames::Frames;
use crate::format::record::{Item, Kind, List, Record};
use crate::id::{BrickName, ChunkHash};
use crate::index::{BrickTable, IndexFile, Region, Trailer};
use crate::tar::{Globals, Member, Part, parts, rewrite};

/// A brick that is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Its name.
    pub brick: BrickName,
    /// Its length in bytes.
    pub length: u64,
    /// Of how many bricks something was used when this one was used last: with the next
    /// brick after these it is of no more use.
    pub last: u32,
    /// The frames of it that are needed.
    pub frames: Frames,
    /// How many these are.
    pub frame_count: u32,
    /// Bytes of these in the brick.
    pub used: u64,
}

impl Need {
    /// A brick of which nothing is needed yet.
    #[must_use]
    pub fn of(brick: BrickName) -> Self {
        Self {
            brick,
            length: 0,
            last: 0,
            frames: Frames::default(),
            frame_count: 0,
            used: 0,
        }
    }
}

/// The bricks that a restore of the members that match `patterns` (all, if there are
/// none) needs, in the order of their first use; frames in `moved` are needed where they
/// are now. The seal of the index was verified.
/// Copies of chunk lists are left out, which are needed only where a list is damaged.
///
/// # Errors
/// A broken index; a pattern that cannot be.
pub fn needed(
    index: &IndexFile,
    trailer: &Trailer,
    patterns: &[String],
    moved: &Arc<Moved>,
) -> Result<Vec<Need>> {
    let mut walk = Walk {
        members: trailer.members(index),
        locator: Locator::from_hints(index, trailer, moved)?,
        lengths: trailer.bricks(index)?,
        selection: Selection::new(patterns)?,
        run: Vec::new(),
        globals: Globals::default(),
        needs: Vec::new(),
        numbers: HashMap::new(),
        recent: None,
    };
    let mut steps = Steps::new(index, trailer);
    while let Some(segment) = steps.next_segment()? {
        walk.segment(&segment)?;
    }
    walk.locator.end()?;
    walk.with_lengths(moved)
}

struct Walk {
    members: Region,
    locator: Locator,
    lengths: BrickTable,
    selection: Option<Selection>,
    run: Vec<u8>,
    globals: Globals,
    needs: Vec<Need>,
    numbers: HashMap<BrickName, usize>,
    /// The brick that was used last.
    recent: Option<usize>,
}

impl Walk {
    fn segment(&mut self, segment: &Segment) -> Result<()> {
        if self.wants(segment)? {
            return self.body(&segment.record);
        }
        let mut counts = crate::format::record::Counts::default();
        for item in &segment.record.items {
            // `Record::decode` has refused counts that overflow.
            let _ = crate::format::record::add_counts(&mut counts, item);
        }
        self.locator.skip(&counts)
    }

    /// Whether the body of a segment is selected, as on restore.
    fn wants(&mut self, segment: &Segment) -> Result<bool> {
        let Some(selection) = &mut self.selection else {
            return Ok(true);
        };
        let Segment {
            start,
            length,
            ref record,
        } = *segment;
        self.members.seek(start);
        self.run.clear();
        self.run.extend_from_slice(self.members.take(length)?);
        rewrite::restore(&mut self.run, record)
            .map_err(|source| Error::decode(self.members.path(), start)(source))?;
        let mut wanted = false;
        for part in parts(&self.run, record.kind == Kind::Member) {
            if let Part::Group { bytes, has_body } = part {
                self.globals.read(bytes);
                if has_body && let Some(member) = Member::parse(bytes, &self.globals) {
                    wanted = selection.wants(&member.name) && record.declared.is_none();
                }
            }
        }
        Ok(wanted)
    }

    fn body(&mut self, record: &Record) -> Result<()> {
        for item in &record.items {
            match item {
                Item::Zeros { .. } => {}
                Item::Whole => self.chunk(0, &record.body_hash)?,
                Item::Chunk { hash, .. } => self.chunk(0, hash)?,
                Item::List(list) => self.list(list)?,
            }
        }
        Ok(())
    }

    fn list(&mut self, list: &List) -> Result<()> {
        let level = usize::from(list.level);
        self.one_list(level, &list.hash)?;
        for (below, &count) in list.counts.iter().enumerate().take(level).rev() {
            for _ in 0..count {
                match below {
                    0 => self.chunk(0, &list.hash)?,
                    _ => self.one_list(below, &list.hash)?,
                }
            }
        }
        Ok(())
    }

    fn one_list(&mut self, level: usize, hash: &ChunkHash) -> Result<()> {
        self.chunk(level, hash)?;
        self.locator.locate_copy(level).map(|_| ())
    }

    fn chunk(&mut self, level: usize, hash: &ChunkHash) -> Result<()> {
        let place = self.locator.locate(level, hash, 0)?;
        if let Some((_, spec, _)) = place {
            self.used(&spec);
        }
        Ok(())
    }

    fn used(&mut self, spec: &FrameSpec) {
        let brick = spec.brick;
        let recent = self.recent.filter(|&at| self.needs[at].brick == brick);
        let number = recent.unwrap_or_else(|| {
            *self.numbers.entry(brick).or_insert_with(|| {
                self.needs.push(Need::of(brick));
                self.needs.len() - 1
            })
        });
        self.recent = Some(number);
        let last = u32::try_from(self.needs.len()).unwrap_or(u32::MAX);
        let need = &mut self.needs[number];
        if !need.frames.contains(spec.frame.number) {
            need.frames.insert(spec.frame.number);
            need.frame_count += 1;
            need.used += u64::from(spec.frame.length);
        }
        need.last = last;
    }

    fn with_lengths(mut self, moved: &Moved) -> Result<Vec<Need>> {
        for (name, length) in moved.carriers() {
            if let Some(&at) = self.numbers.get(&name) {
                self.needs[at].length = length;
            }
        }
        for number in 0..self.lengths.brick_count() {
            let brick = self.lengths.brick(number)?;
            if let Some(&at) = self.numbers.get(&brick.name) {
                self.needs[at].length = brick.length;
            }
        }
        Ok(self.needs)
    }
}
