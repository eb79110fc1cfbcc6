//! Which members a fault hits: said by the index alone, without a look at any brick.

use std::sync::Arc;

use super::emit::Hit;
use super::locate::{Locator, Place};
use super::steps::{Segment, Steps};
use crate::error::{Error, Result};
use crate::format::record::{Item, Kind, List, Record};
use crate::format::trailer::UsedFrame;
use crate::id::{BrickName, ChunkHash};
use crate::index::{IndexFile, Region, Trailer};
use crate::tar::{Globals, Member, Part, parts, rewrite};

/// Says of a frame why it is lost; `None`: it is not.
pub type Judge<'a> = dyn Fn(&BrickName, &UsedFrame) -> Option<Lost> + 'a;

/// Why a frame is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The file that is to blame, or the place where it should be.
    pub path: std::path::PathBuf,
    /// What is wrong.
    pub reason: String,
}

/// Calls `on_hit` for each range of a member of which a frame is lost, by `judge`, in
/// the order of the stream. The seal of the index was verified.
///
/// What a list of chunks stands for is one range, since the list is not read.
///
/// # Errors
/// A broken index.
pub fn survey(
    index: &IndexFile,
    trailer: &Trailer,
    judge: &Judge<'_>,
    on_hit: &mut dyn FnMut(Hit),
) -> Result<()> {
    let mut survey = Survey {
        members: trailer.members(index),
        locator: Locator::from_hints(index, trailer, &Arc::default())?,
        judge,
        on_hit,
        run: Vec::new(),
        globals: Globals::default(),
        name: Vec::new(),
        position: 0,
        hit: None,
    };
    let mut steps = Steps::new(index, trailer);
    while let Some(segment) = steps.next_segment()? {
        survey.segment(&segment)?;
    }
    survey.locator.end()
}

struct Survey<'a> {
    members: Region,
    locator: Locator,
    judge: &'a Judge<'a>,
    on_hit: &'a mut dyn FnMut(Hit),
    run: Vec<u8>,
    globals: Globals,
    /// Of the member whose body it is; empty outside of members.
    name: Vec<u8>,
    /// In the stream.
    position: u64,
    hit: Option<Hit>,
}

impl Survey<'_> {
    fn segment(&mut self, segment: &Segment) -> Result<()> {
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
        self.name.clear();
        for part in parts(&self.run, record.kind == Kind::Member) {
            if let Part::Group { bytes, has_body } = part {
                self.globals.read(bytes);
                if has_body && let Some(member) = Member::parse(bytes, &self.globals) {
                    self.name = member.name;
                }
            }
        }
        self.position += length as u64;
        self.body(record)?;
        self.position += record.body_length + record.padding().len() as u64;
        Ok(())
    }

    fn body(&mut self, record: &Record) -> Result<()> {
        // As of `restore --keep-going`: in the body, or outside of members in the stream.
        let mut start = if self.name.is_empty() {
            self.position
        } else {
            0
        };
        for item in &record.items {
            let length = item.covers(record.body_length);
            let lost = match item {
                Item::Zeros { .. } => None,
                Item::Whole => self.chunk(0, &record.body_hash)?,
                Item::Chunk { hash, .. } => self.chunk(0, hash)?,
                Item::List(list) => self.list(list)?,
            };
            if let Some(lost) = lost {
                self.lost(start, length, lost);
            }
            start += length;
        }
        if let Some(hit) = self.hit.take() {
            (self.on_hit)(hit);
        }
        Ok(())
    }

    fn chunk(&mut self, level: usize, hash: &ChunkHash) -> Result<Option<Lost>> {
        let place = self.locator.locate(level, hash, 0)?;
        Ok(self.judged(place))
    }

    fn judged(&self, place: Option<Place>) -> Option<Lost> {
        let (_, spec, _) = place?;
        (self.judge)(&spec.brick, &spec.frame)
    }

    /// The first loss of a list that has no sound copy, or of what is below it.
    fn list(&mut self, list: &List) -> Result<Option<Lost>> {
        let level = usize::from(list.level);
        let mut first = self.one_list(level, &list.hash)?;
        for (below, &count) in list.counts.iter().enumerate().take(level) {
            for _ in 0..count {
                let found = match below {
                    0 => self.chunk(0, &list.hash)?,
                    _ => self.one_list(below, &list.hash)?,
                };
                first = first.or(found);
            }
        }
        Ok(first)
    }

    fn one_list(&mut self, level: usize, hash: &ChunkHash) -> Result<Option<Lost>> {
        let lost = self.chunk(level, hash)?;
        let copy = self.locator.locate_copy(level)?;
        match (lost, copy) {
            (Some(lost), Some(copy)) => Ok(self.judged(Some(copy)).map(|_| lost)),
            (lost, _) => Ok(lost),
        }
    }

    fn lost(&mut self, start: u64, length: u64, Lost { path, reason }: Lost) {
        if let Some(hit) = &mut self.hit
            && hit.start + hit.length == start
            && hit.reason == reason
        {
            hit.length += length;
            return;
        }
        let hit = Hit {
            member: self.name.clone(),
            start,
            length,
            reason,
            path,
        };
        if let Some(before) = self.hit.replace(hit) {
            (self.on_hit)(before);
        }
    }
}
