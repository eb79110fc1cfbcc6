//! Which members of an index are whole, part or gone, by the chunks that were found.

use super::chunks::Chunks;
use crate::error::{Error, Result};
use crate::format::record::{Item, Kind, List, Record, decode_list};
use crate::id::ChunkHash;
use crate::index::{IndexFile, Region, Trailer};
use crate::restore::Steps;
use crate::tar::{Globals, Member, Part, parts, rewrite};

/// How much of a member is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// All of it. What has no body, or one of zeros alone, stands in the index.
    Whole,
    /// Some of its body.
    Part,
    /// Nothing of its body.
    Gone,
}

impl State {
    /// As a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Part => "part",
            Self::Gone => "gone",
        }
    }
}

/// What is left of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberReport {
    /// Its name; empty for bytes of the stream that belong to no member.
    pub name: Vec<u8>,
    /// How much.
    pub state: State,
    /// Length of its body in bytes.
    pub size: u64,
    /// Bytes of its body that are lost.
    pub lost: u64,
}

/// What is left of the stream of an index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IndexReport {
    /// Members that are whole.
    pub whole: u64,
    /// Members of which a part is left.
    pub part: u64,
    /// Members of whose bodies nothing is left.
    pub gone: u64,
    /// Bytes of bodies that are lost, those outside of members too.
    pub lost: u64,
}

/// Goes through an index whose seal was verified, and calls `each` for each member, and
/// for bytes outside of members of which some are lost.
///
/// # Errors
/// A broken index; [`Error::Io`] of temporary files.
pub fn compare(
    index: &IndexFile,
    trailer: &Trailer,
    chunks: &mut Chunks,
    each: &mut dyn FnMut(&MemberReport),
) -> Result<IndexReport> {
    let mut comparison = Comparison {
        chunks,
        members: trailer.members(index),
        globals: Globals::default(),
        run: Vec::new(),
        report: IndexReport::default(),
        each,
    };
    let mut steps = Steps::new(index, trailer);
    while let Some(segment) = steps.next_segment()? {
        comparison.segment(segment.start, segment.length, &segment.record)?;
    }
    Ok(comparison.report)
}

struct Comparison<'a> {
    chunks: &'a mut Chunks,
    members: Region,
    globals: Globals,
    run: Vec<u8>,
    report: IndexReport,
    each: &'a mut dyn FnMut(&MemberReport),
}

/// Bytes of a body.
#[derive(Clone, Copy, Default)]
struct Tally {
    found: u64,
    lost: u64,
}

impl Comparison<'_> {
    fn segment(&mut self, start: u64, length: usize, record: &Record) -> Result<()> {
        self.members.seek(start);
        self.run.clear();
        self.run.extend_from_slice(self.members.take(length)?);
        rewrite::restore(&mut self.run, record)
            .map_err(|source| Error::decode(self.members.path(), start)(source))?;
        let run = std::mem::take(&mut self.run);
        let mut name = Vec::new();
        for part in parts(&run, record.kind == Kind::Member) {
            let Part::Group { bytes, has_body } = part else {
                continue;
            };
            self.globals.read(bytes);
            let Some(member) = Member::parse(bytes, &self.globals) else {
                continue;
            };
            if has_body {
                name = member.name;
            } else {
                self.tell(member.name, 0, Tally::default());
            }
        }
        self.run = run;
        let mut tally = Tally::default();
        for item in &record.items {
            self.item(item, record, &mut tally)?;
        }
        if record.kind == Kind::Member || tally.lost > 0 {
            self.tell(name, record.body_length, tally);
        }
        Ok(())
    }

    fn tell(&mut self, name: Vec<u8>, size: u64, tally: Tally) {
        let (state, count) = match tally {
            Tally { lost: 0, .. } => (State::Whole, &mut self.report.whole),
            Tally { found: 0, .. } => (State::Gone, &mut self.report.gone),
            Tally { .. } => (State::Part, &mut self.report.part),
        };
        *count += 1;
        self.report.lost += tally.lost;
        (self.each)(&MemberReport {
            name,
            state,
            size,
            lost: tally.lost,
        });
    }

    fn item(&mut self, item: &Item, record: &Record, tally: &mut Tally) -> Result<()> {
        match item {
            Item::Zeros { .. } => Ok(()),
            Item::Whole => self.chunk(&record.body_hash, record.body_length, tally),
            Item::Chunk { length, hash } => self.chunk(hash, u64::from(*length), tally),
            Item::List(list) => self.list(list, record, tally),
        }
    }

    fn chunk(&mut self, hash: &ChunkHash, length: u64, tally: &mut Tally) -> Result<()> {
        if self.chunks.contains(hash)? {
            tally.found += length;
        } else {
            tally.lost += length;
        }
        Ok(())
    }

    /// Levels fall from list to list, so this ends.
    fn list(&mut self, list: &List, record: &Record, tally: &mut Tally) -> Result<()> {
        let mut bytes = Vec::new();
        let items = if self.chunks.list(&list.hash, &mut bytes)? {
            decode_list(&bytes, list).ok()
        } else {
            None
        };
        let Some(items) = items else {
            tally.lost += list.covers;
            return Ok(());
        };
        let mut items = items.iter();
        items.try_for_each(|item| self.item(item, record, tally))
    }
}
