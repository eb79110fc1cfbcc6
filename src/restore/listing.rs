//! The members of an index, for listings.

use super::steps::{Segment, Steps};
use crate::error::{Error, Result};
use crate::format::record::{Kind, Record};
use crate::index::{IndexFile, Region, Trailer};
use crate::tar::{Globals, Member, Part, parts, rewrite};

/// Goes through the members of an index, with their original headers.
pub struct Listing {
    steps: Steps,
    members: Region,
    run: Vec<u8>,
    globals: Globals,
    segment: Option<Segment>,
}

/// A member as it stands in an index.
pub struct Listed<'a> {
    /// What its headers say.
    pub member: &'a Member,
    /// Its header group as it stood in the stream, with the map of a sparse member.
    pub group: &'a [u8],
    /// The record of its body, if it has one.
    pub body: Option<&'a Record>,
}

impl Listing {
    /// A listing of an index whose trailer was found.
    #[must_use]
    pub fn new(index: &IndexFile, trailer: &Trailer) -> Self {
        Self {
            steps: Steps::new(index, trailer),
            members: trailer.members(index),
            run: Vec::new(),
            globals: Globals::default(),
            segment: None,
        }
    }

    /// Calls `each` for the next few members. `false` at the end.
    ///
    /// # Errors
    /// A broken index.
    pub fn next(&mut self, each: &mut dyn FnMut(&Listed<'_>)) -> Result<bool> {
        self.segment = self.steps.next_segment()?;
        let Some(segment) = &self.segment else {
            return Ok(false);
        };
        let record = &segment.record;
        self.members.seek(segment.start);
        self.run.clear();
        self.run
            .extend_from_slice(self.members.take(segment.length)?);
        rewrite::restore(&mut self.run, record)
            .map_err(|source| Error::decode(self.members.path(), segment.start)(source))?;
        for part in parts(&self.run, record.kind == Kind::Member) {
            if let Part::Group { bytes, has_body } = part {
                self.globals.read(bytes);
                if let Some(member) = Member::parse(bytes, &self.globals) {
                    each(&Listed {
                        member: &member,
                        group: bytes,
                        body: has_body.then_some(record),
                    });
                }
            }
        }
        Ok(true)
    }

    /// The record behind the members that [`Listing::next`] listed last: that of the body
    /// of the last of them, if it has one; of no member, if not.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        self.segment.as_ref().map(|segment| &segment.record)
    }
}
