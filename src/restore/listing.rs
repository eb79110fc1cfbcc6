//! The members of an index, for listings.

use super::steps::Steps;
use crate::error::{Error, Result};
use crate::format::record::Kind;
use crate::index::{IndexFile, Region, Trailer};
use crate::tar::{Globals, Member, Part, parts, rewrite};

/// Goes through the members of an index, with their original headers.
pub struct Listing {
    steps: Steps,
    members: Region,
    run: Vec<u8>,
    globals: Globals,
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
        }
    }

    /// Calls `each` for the next few members. `false` at the end.
    ///
    /// # Errors
    /// A broken index.
    pub fn next(&mut self, each: &mut dyn FnMut(&Member)) -> Result<bool> {
        let Some(segment) = self.steps.next_segment()? else {
            return Ok(false);
        };
        self.members.seek(segment.start);
        self.run.clear();
        self.run
            .extend_from_slice(self.members.take(segment.length)?);
        rewrite::restore(&mut self.run, &segment.record)
            .map_err(|source| Error::decode(self.members.path(), segment.start)(source))?;
        for part in parts(&self.run, segment.record.kind == Kind::Member) {
            if let Part::Group { bytes, .. } = part {
                self.globals.read(bytes);
                if let Some(member) = Member::parse(bytes, &self.globals) {
                    each(&member);
                }
            }
        }
        Ok(true)
    }
}
