//! The steps of an index: a verbatim run and a record, again and again.

use crate::error::Result;
use crate::format::record::{self, Kind, Record};
use crate::format::trailer::{OPAQUE_MAGIC, Place, Step};
use crate::format::wire::Decoder;
use crate::index::{IndexFile, MapReader, Region, Trailer};

const BLOCK: u64 = 512;
/// Blocks of a verbatim run at most.
const MOST_BLOCKS: u64 = 65_536;

/// A verbatim run, and the record behind it.
pub struct Segment {
    /// Where the run begins in the index.
    pub start: u64,
    /// Its length in bytes.
    pub length: usize,
    /// The record.
    pub record: Record,
}

/// Reads an index by its map.
pub struct Steps {
    map: MapReader,
    members: Region,
    records: Region,
    has_tail: bool,
    /// What the index says of itself, and what the steps so far add up to.
    expected: Sums,
    sums: Sums,
    any_length: bool,
}

/// What all steps of an index add up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sums {
    /// Bytes of the stream.
    stream: u64,
    /// Records of members.
    members: u64,
}

impl Steps {
    /// The steps of an index whose seal was verified.
    #[must_use]
    pub fn new(index: &IndexFile, trailer: &Trailer) -> Self {
        Self {
            map: trailer.map(index),
            members: trailer.members(index),
            records: trailer.records(index),
            has_tail: false,
            expected: Sums {
                stream: trailer.summary.stream_length,
                members: trailer.summary.member_count,
            },
            sums: Sums::default(),
            any_length: false,
        }
    }

    /// The same, but they may yield a stream of another length than the index says.
    #[must_use]
    pub fn of_any_length(mut self) -> Self {
        self.any_length = true;
        self
    }

    /// The next segment; `None` behind the tail.
    ///
    /// # Errors
    /// A map that does not fit the members part or the records; broken records.
    pub fn next_segment(&mut self) -> Result<Option<Segment>> {
        let Some(step) = self.map.next_step()? else {
            return self.end().map(|()| None);
        };
        if self.has_tail {
            return Err(self.map.error("the tail as the last step", "more steps"));
        }
        let start = self.members.position();
        let length = self.run_length(step)?;
        self.members.skip(length as u64)?;
        let record = match step.place {
            Place::InPlace => self.record_in_place()?,
            Place::Detached => read_record(&mut self.records)?,
            Place::Opaque => {
                self.marker()?;
                read_record(&mut self.records)?
            }
        };
        self.check_kind(step.place, &record)?;
        self.add(length as u64, &record)?;
        self.has_tail = record.kind == Kind::Tail;
        Ok(Some(Segment {
            start,
            length,
            record,
        }))
    }

    fn record_in_place(&mut self) -> Result<Record> {
        let record = read_record(&mut self.members)?;
        let missing = self.members.position().wrapping_neg() % BLOCK;
        if self
            .members
            .take(missing as usize)?
            .iter()
            .any(|&byte| byte != 0)
        {
            let expected = "zeros behind the record";
            return Err(self.members.error("record", expected, "other bytes"));
        }
        Ok(record)
    }

    fn marker(&mut self) -> Result<()> {
        let base = self.members.position();
        let block = self.members.take(BLOCK as usize)?;
        let mut decoder = Decoder::new("opaque marker", block);
        decoder
            .prefix(OPAQUE_MAGIC)
            .map_err(|source| crate::Error::decode(self.map.path(), base)(source))?;
        if decoder.rest().iter().any(|&byte| byte != 0xff) {
            let expected = "bytes of 0xff";
            return Err(self.members.error("opaque marker", expected, "others"));
        }
        Ok(())
    }

    /// Checks that a record of this kind may stand in this place.
    fn check_kind(&self, place: Place, record: &Record) -> Result<()> {
        let fits = match (record.kind, place) {
            (Kind::Member, Place::InPlace | Place::Detached)
            | (Kind::Opaque, Place::Opaque)
            | (Kind::Tail, Place::Detached) => true,
            (Kind::Opaque, Place::Detached) => record.body_length == 0,
            _ => false,
        };
        if fits {
            return Ok(());
        }
        let found = format!("{:?} in a step of kind {}", record.kind, place as u8);
        Err(self
            .map
            .error("a record that goes with its step", found.to_lowercase()))
    }

    fn add(&mut self, run: u64, record: &Record) -> Result<()> {
        let padding = record.padding().len() as u64;
        self.sums.stream = [run, record.body_length, padding]
            .iter()
            .try_fold(self.sums.stream, |sum, length| sum.checked_add(*length))
            .ok_or_else(|| self.map.error("a stream below 2^64 bytes", "a longer one"))?;
        self.sums.members += u64::from(record.kind == Kind::Member);
        Ok(())
    }

    fn run_length(&self, step: Step) -> Result<usize> {
        if step.blocks > MOST_BLOCKS {
            let most = format!("at most {MOST_BLOCKS} blocks in a run");
            return Err(self.map.error(most, step.blocks));
        }
        Ok((step.blocks * BLOCK) as usize)
    }

    fn end(&self) -> Result<()> {
        let left = [self.members.rest(), self.records.rest()];
        if !self.has_tail || left != [0, 0] {
            return Err(self.map.error(
                "steps for all members and records, and the tail",
                format!("{} and {} bytes left over", left[0], left[1]),
            ));
        }
        let Sums { stream, members } = self.expected;
        if self.sums.members != members || self.sums.stream != stream && !self.any_length {
            let told = |sums: Sums| format!("{} bytes in {} members", sums.stream, sums.members);
            return Err(self.map.error(told(self.expected), told(self.sums)));
        }
        Ok(())
    }
}

/// Reads the record that comes next.
pub(super) fn read_record(region: &mut Region) -> Result<Record> {
    let base = region.position();
    let length = Record::peek_length(region.peek(record::HEAD_LENGTH)?)
        .map_err(|source| crate::Error::decode(region.path(), base)(source))?;
    let bytes = region.take(length)?;
    Record::decode(bytes).map_err(|source| crate::Error::decode(region.path(), base)(source))
}
