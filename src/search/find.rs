//! In which of many indexes a member stands, and how it changed.

use std::collections::HashSet;

use super::sort::{Sorted, Sorter};
use super::version::Version;
use crate::error::{Error, Result};
use crate::id::ChunkHash;
use crate::index::{IndexFile, Trailer};
use crate::restore::{Listing, Selection, normal};

/// Looks for members in one index after another, the newest first.
pub struct Finder {
    selection: Option<Selection>,
    bodies: HashSet<ChunkHash>,
    sorter: Sorter,
    sources: u32,
    /// Before which of them one could not be searched.
    gaps: Vec<usize>,
}

impl Finder {
    /// Looks for members that match one of `patterns` (if there are any) and whose body
    /// has one of the hashes `bodies` (if there are any).
    ///
    /// # Errors
    /// A pattern that cannot be.
    pub fn new(patterns: &[String], bodies: &[ChunkHash]) -> Result<Self> {
        Ok(Self {
            selection: Selection::new(patterns)?,
            bodies: bodies.iter().copied().collect(),
            sorter: Sorter::new(),
            sources: 0,
            gaps: Vec::new(),
        })
    }

    /// Looks through an index, older than those before. Of a member that stands in it
    /// several times the last that matches counts. Returns how many members match.
    ///
    /// # Errors
    /// A broken index; no room for temporary files.
    pub fn add(&mut self, index: &IndexFile, trailer: &Trailer) -> Result<u64> {
        let number = self.sources;
        self.sources += 1;
        let mut found = 0;
        let mut value = Vec::new();
        let mut listing = Listing::new(index, trailer);
        loop {
            let mut pushed = Ok(());
            let more = listing.next(&mut |listed| {
                if pushed.is_err() {
                    return;
                }
                let name = &listed.member.name;
                // Patterns first, so that each learns whether it matches.
                let selection = self.selection.as_mut();
                if !selection.is_none_or(|selection| selection.wants(name)) {
                    return;
                }
                let version = Version::of(listed);
                let wanted = |body| self.bodies.contains(&body);
                if !self.bodies.is_empty() && !version.body.is_some_and(wanted) {
                    return;
                }
                found += 1;
                value.clear();
                value.extend_from_slice(&number.to_le_bytes());
                version.encode(&mut value);
                pushed = self.sorter.push(normal(name), &value);
            })?;
            pushed?;
            if !more {
                return Ok(found);
            }
        }
    }

    /// Notes that an index could not be searched, or not to its end, which is older than
    /// those before: how members changed across it cannot be told.
    pub fn gap(&mut self) {
        self.gaps.push(self.sources as usize);
    }

    /// The patterns that no member has matched.
    pub fn unmatched(&self) -> impl Iterator<Item = &str> {
        self.selection.iter().flat_map(Selection::unmatched)
    }

    /// What was found, by name.
    ///
    /// # Errors
    /// [`Error::Io`] about temporary files.
    pub fn finish(self) -> Result<Histories> {
        Ok(Histories {
            gaps: self.gaps,
            is_filtered: !self.bodies.is_empty(),
            found: self.sorter.finish()?,
            entry: None,
            older: None,
        })
    }
}

/// How a member came to be what it is in an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// No older index has it.
    First,
    /// The next older index that has it has another content, type or link target.
    Changed,
    /// It is the same there.
    Same,
    /// That was not looked at: an index in between could not be searched, or only some
    /// contents were looked for.
    Unknown,
}

/// A member in one index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The number of the index, in the order of [`Finder::add`].
    pub source: usize,
    /// The member.
    pub version: Version,
    /// Whether it differs from the next older one.
    pub since: Since,
}

/// What was found, by name; of each name the newest first.
pub struct Histories {
    found: Sorted,
    gaps: Vec<usize>,
    /// Whether versions with other contents were left out.
    is_filtered: bool,
    /// The first entry of the next member.
    entry: Option<Entry>,
    /// The member that comes next.
    older: Option<Entry>,
}

struct Entry {
    name: Vec<u8>,
    source: usize,
    version: Version,
}

impl Histories {
    /// The next one; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Io`] about temporary files.
    pub fn next_found(&mut self) -> Result<Option<Found>> {
        let newer = match self.older.take() {
            Some(entry) => entry,
            None => match self.last()? {
                Some(entry) => entry,
                None => return Ok(None),
            },
        };
        self.older = self.last()?;
        let older = self.older.as_ref().filter(|older| older.name == newer.name);
        let before = older.map_or(usize::MAX, |older| older.source);
        let mut gaps = self.gaps.iter();
        let since = match older {
            _ if self.is_filtered => Since::Unknown,
            _ if gaps.any(|gap| (newer.source + 1..=before).contains(gap)) => Since::Unknown,
            Some(older) if newer.version.holds_the_same(&older.version) => Since::Same,
            Some(_) => Since::Changed,
            None => Since::First,
        };
        Ok(Some(Found {
            source: newer.source,
            version: newer.version,
            since,
        }))
    }

    /// Of the entries of one name and index the last.
    fn last(&mut self) -> Result<Option<Entry>> {
        let first = match self.entry.take() {
            Some(entry) => Some(entry),
            None => self.read()?,
        };
        let Some(mut last) = first else {
            return Ok(None);
        };
        while let Some(next) = self.read()? {
            if (&next.name, next.source) != (&last.name, last.source) {
                self.entry = Some(next);
                break;
            }
            last = next;
        }
        Ok(Some(last))
    }

    fn read(&mut self) -> Result<Option<Entry>> {
        let Some((name, value)) = self.found.next()? else {
            return Ok(None);
        };
        let Some((source, version)) = value.split_first_chunk() else {
            return Err(Error::Internal("an entry without its index".into()));
        };
        Ok(Some(Entry {
            name: name.to_vec(),
            source: u32::from_le_bytes(*source) as usize,
            version: Version::decode(version)?,
        }))
    }
}
