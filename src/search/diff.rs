//! What differs between two indexes.

use std::cmp::Ordering;

use super::chunks::{ChunkSorter, Needed};
use super::gather::gather;
use super::last::Last;
use super::version::{Change, Version};
use crate::error::Result;
use crate::index::{IndexFile, Trailer};
use crate::restore::Selection;

/// How to compare.
#[derive(Debug, Clone, Default)]
pub struct DiffOptions {
    /// Only members that match these; all if empty.
    pub patterns: Vec<String>,
    /// Whether another time alone makes a member a changed one.
    pub times: bool,
    /// Whether to add up the chunks that only the newer index needs.
    pub chunks: bool,
}

/// A member that is not the same in both indexes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// Only the newer index has it.
    Added(Version),
    /// Only the older one has it.
    Removed(Version),
    /// Both have it.
    Changed {
        /// In the older index.
        old: Box<Version>,
        /// In the newer one.
        new: Box<Version>,
        /// What differs: at least one thing.
        changes: Vec<Change>,
    },
}

/// What a comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiffSummary {
    /// Members that only the newer index has.
    pub added: u64,
    /// Members that only the older one has.
    pub removed: u64,
    /// Members that differ.
    pub changed: u64,
    /// Members that do not.
    pub same: u64,
    /// Sizes of members added, and of those with another content as they are now.
    pub bytes_added: u64,
    /// Sizes of members removed, and of those with another content as they were.
    pub bytes_removed: u64,
    /// Members that a later one of the same name overrules, in both indexes.
    pub overruled: u64,
    /// Chunks that the newer index needs and the older does not, if asked for.
    pub needed: Option<Needed>,
}

impl DiffSummary {
    /// Whether the indexes differ.
    #[must_use]
    pub const fn differs(&self) -> bool {
        self.added + self.removed + self.changed > 0
    }
}

/// The differences between two indexes, by name.
pub struct Diff {
    old: Side,
    new: Side,
    times: bool,
    chunks: Option<(ChunkSorter, ChunkSorter)>,
    unmatched: Vec<String>,
    summary: DiffSummary,
}

/// Compares `old` and `new`, each an index with its trailer: both are read before the
/// first difference is known.
///
/// # Errors
/// A broken index; a pattern that cannot be; no room for temporary files.
pub fn diff(
    old: (&IndexFile, &Trailer),
    new: (&IndexFile, &Trailer),
    options: &DiffOptions,
) -> Result<Diff> {
    let mut selection = Selection::new(&options.patterns)?;
    let old = gather(old.0, old.1, selection.as_mut(), options.chunks)?;
    let new = gather(new.0, new.1, selection.as_mut(), options.chunks)?;
    let unmatched = selection.iter().flat_map(Selection::unmatched);
    Ok(Diff {
        unmatched: unmatched.map(str::to_owned).collect(),
        chunks: new.chunks.zip(old.chunks),
        old: Side::new(Last::new(old.members))?,
        new: Side::new(Last::new(new.members))?,
        times: options.times,
        summary: DiffSummary::default(),
    })
}

/// The members of one index, one at a time.
struct Side {
    members: Last,
    stands: bool,
}

impl Side {
    fn new(mut members: Last) -> Result<Self> {
        let stands = members.advance()?;
        Ok(Self { members, stands })
    }

    /// The member, and goes to the next.
    fn take(&mut self) -> Result<Version> {
        let version = Version::decode(self.members.value())?;
        self.pass()?;
        Ok(version)
    }

    fn pass(&mut self) -> Result<()> {
        self.stands = self.members.advance()?;
        Ok(())
    }
}

impl Diff {
    /// The patterns that no member of either index has matched.
    pub fn unmatched(&self) -> impl Iterator<Item = &str> {
        self.unmatched.iter().map(|pattern| &**pattern)
    }

    /// The next difference; `None` at the end.
    ///
    /// # Errors
    /// [`crate::Error::Io`] about temporary files.
    pub fn next_difference(&mut self) -> Result<Option<Difference>> {
        loop {
            let order = match (self.old.stands, self.new.stands) {
                (false, false) => return Ok(None),
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
                (true, true) => self.old.members.key().cmp(self.new.members.key()),
            };
            let difference = match order {
                Ordering::Less => Difference::Removed(self.old.take()?),
                Ordering::Greater => Difference::Added(self.new.take()?),
                Ordering::Equal if self.old.members.value() == self.new.members.value() => {
                    self.old.pass()?;
                    self.new.pass()?;
                    self.summary.same += 1;
                    continue;
                }
                Ordering::Equal => {
                    let (old, new) = (Box::new(self.old.take()?), Box::new(self.new.take()?));
                    let changes = new.changes_since(&old, self.times);
                    if changes.is_empty() {
                        self.summary.same += 1;
                        continue;
                    }
                    Difference::Changed { old, new, changes }
                }
            };
            self.count(&difference);
            return Ok(Some(difference));
        }
    }

    fn count(&mut self, difference: &Difference) {
        let summary = &mut self.summary;
        let (added, removed) = match difference {
            Difference::Added(new) => {
                summary.added += 1;
                (new.member.size, 0)
            }
            Difference::Removed(old) => {
                summary.removed += 1;
                (0, old.member.size)
            }
            Difference::Changed { old, new, changes } => {
                summary.changed += 1;
                let content = [Change::Type, Change::Content];
                if changes.iter().any(|change| content.contains(change)) {
                    (new.member.size, old.member.size)
                } else {
                    (0, 0)
                }
            }
        };
        summary.bytes_added = summary.bytes_added.saturating_add(added);
        summary.bytes_removed = summary.bytes_removed.saturating_add(removed);
    }

    /// What was found, once there are no more differences.
    ///
    /// # Errors
    /// [`crate::Error::Io`] about temporary files.
    pub fn finish(mut self) -> Result<DiffSummary> {
        let sides = [&self.old, &self.new];
        self.summary.overruled = sides.map(|side| side.members.overruled()).iter().sum();
        if let Some((new, old)) = self.chunks {
            drop((self.old, self.new));
            self.summary.needed = Some(new.without(old)?);
        }
        Ok(self.summary)
    }
}
