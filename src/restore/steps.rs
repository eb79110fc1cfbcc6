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
        }
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
            Place::InPlace => {
                let record = read_record(&mut self.members)?;
                let missing = self.members.position().wrapping_neg() % BLOCK;
                self.members.skip(missing)?;
                record
            }
            Place::Detached => read_record(&mut self.records)?,
            Place::Opaque => {
                let base = self.members.position();
                let mut decoder = Decoder::new("opaque marker", self.members.take(512)?);
                decoder
                    .prefix(OPAQUE_MAGIC)
                    .map_err(|source| crate::Error::decode(self.map.path(), base)(source))?;
                read_record(&mut self.records)?
            }
        };
        self.has_tail = record.kind == Kind::Tail;
        Ok(Some(Segment {
            start,
            length,
            record,
        }))
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
        if self.has_tail && left == [0, 0] {
            return Ok(());
        }
        Err(self.map.error(
            "steps for all members and records, and the tail",
            format!("{} and {} bytes left over", left[0], left[1]),
        ))
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
