//! The steps of an index without a trailer, found by splitting it as tar
//! (`formats/index.md`, "Without a trailer").

use super::steps::{Segment, read_record};
use crate::error::Result;
use crate::format::record::{self, Kind, Record};
use crate::index::{IndexFile, Region};
use crate::tar::{BodyKind, Event, Splitter};

/// Looked at a time.
const WINDOW: usize = 256 << 10;
/// A run of headers without bodies is handed on once it is longer.
const LONG_RUN: u64 = 1 << 20;

/// What the next step is.
pub(super) enum Found {
    Segment(Box<Segment>),
    /// No more can be restored, for this reason.
    End(String),
}

/// Splits the members part of an index whose end is missing.
pub(super) struct Steps {
    index: Region,
    records: Region,
    splitter: Splitter,
    length: u64,
    /// Where the splitter stands.
    position: u64,
    /// Where the run before the next record began.
    run_start: u64,
    /// Where its last whole group ends.
    run_end: u64,
    /// Why nothing follows the run, once that is known.
    end: Option<String>,
}

impl Steps {
    pub(super) fn new(index: &IndexFile) -> Self {
        let length = index.length();
        Self {
            index: index.region("index members", 0, length),
            records: index.region("index members", 0, length),
            splitter: Splitter::new(),
            length,
            position: 0,
            run_start: 0,
            run_end: 0,
            end: None,
        }
    }

    /// The next segment, or why there is none.
    pub(super) fn next(&mut self) -> Result<Found> {
        if self.end.is_none() {
            match self.find()? {
                Found::Segment(segment) => return Ok(Found::Segment(segment)),
                Found::End(why) => self.end = Some(why),
            }
        }
        // Whole groups before the end may stand without a record behind them.
        if self.run_end > self.run_start {
            return Ok(self.bare_run());
        }
        Ok(Found::End(self.end.clone().unwrap_or_default()))
    }

    /// The run up to its last whole group, without a record.
    fn bare_run(&mut self) -> Found {
        let start = std::mem::replace(&mut self.run_start, self.run_end);
        segment(start, self.run_end, Record::empty(Kind::Opaque))
    }

    fn find(&mut self) -> Result<Found> {
        loop {
            self.index.seek(self.position);
            let window = self.index.peek(WINDOW)?;
            // A record's padding may be cut off: then this is beyond the end.
            let eof = self.position + window.len() as u64 >= self.length;
            let step = self.splitter.next(window, eof);
            self.position += step.consumed as u64;
            match step.event {
                Event::BodyStart {
                    kind: BodyKind::Member,
                    ..
                } => return self.member(),
                Event::BodyStart {
                    kind: BodyKind::Opaque,
                    ..
                } => {
                    return Ok(Found::End(format!(
                        "from byte {} of the index on stands what is no tar header; opaque bytes \
                         need the trailer",
                        self.position
                    )));
                }
                Event::BodyStart {
                    kind: BodyKind::Tail,
                    ..
                }
                | Event::End => {
                    let end = self.position;
                    return Ok(Found::End(format!("the index ends at byte {end}")));
                }
                Event::NeedMore if eof => {
                    return Ok(Found::End(format!(
                        "the index ends at byte {}",
                        self.length
                    )));
                }
                Event::Group => {
                    self.run_end = self.position - self.splitter.carried().len() as u64;
                    if self.run_end - self.run_start > LONG_RUN {
                        return Ok(self.bare_run());
                    }
                }
                _ => {}
            }
        }
    }

    /// A member's group ends here, and its record should follow.
    fn member(&mut self) -> Result<Found> {
        // What the splitter has carried of the body stands behind the group.
        let start = self.position - self.splitter.carried().len() as u64;
        self.records.seek(start);
        let head = self.records.peek(record::HEAD_LENGTH)?;
        if !head.starts_with(record::MAGIC) {
            return Ok(Found::End(format!(
                "no record stands at byte {start} of the index; the one that belongs there stood \
                 in the trailer"
            )));
        }
        let found = match read_record(&mut self.records) {
            Ok(record) => record,
            Err(error) => return Ok(Found::End(error.to_string())),
        };
        let run_start = self.run_start;
        self.position = self.records.position().next_multiple_of(512);
        self.run_start = self.position;
        self.run_end = self.position;
        // The splitter was in the record; what follows begins afresh.
        self.splitter = Splitter::new();
        Ok(segment(run_start, start, found))
    }
}

/// A run from `start` to `end`, and the record behind it.
fn segment(start: u64, end: u64, record: Record) -> Found {
    Found::Segment(Box::new(Segment {
        start,
        length: usize::try_from(end - start).unwrap_or(usize::MAX),
        record,
    }))
}
