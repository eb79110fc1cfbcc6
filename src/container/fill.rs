//! What fits into a container.

use super::catalog::MAX_END_LINE;
use super::header::{BLOCK, padded, whole};
use super::write::Member;

/// The members of one container, as far as the bound allows.
pub(crate) struct Fill {
    bound: u64,
    /// Headers and bodies so far, without catalog and end.
    used: u64,
    /// Of the catalog so far, at most.
    catalog: u64,
    /// What was taken.
    pub(crate) members: Vec<Member>,
}

impl Fill {
    /// A container of at most `bound` bytes, with `opening` bytes before the first member;
    /// its catalog has `catalog` bytes without lines of its members.
    pub(crate) const fn new(bound: u64, opening: u64, catalog: u64) -> Self {
        Self {
            bound,
            used: opening,
            catalog: catalog + MAX_END_LINE,
            members: Vec::new(),
        }
    }

    /// Takes all of `members`, or none if they do not fit.
    pub(crate) fn take(&mut self, members: &[Member]) -> bool {
        let (mut used, mut catalog) = (self.used, self.catalog);
        for member in members {
            used = used.saturating_add(BLOCK + padded(member.length));
            catalog += line_length(member, self.bound);
        }
        if length(used, catalog) > self.bound {
            return false;
        }
        self.used = used;
        self.catalog = catalog;
        self.members.extend_from_slice(members);
        true
    }

    /// The length of the container, at most, in bytes.
    pub(crate) const fn length(&self) -> u64 {
        length(self.used, self.catalog)
    }
}

const fn length(used: u64, catalog: u64) -> u64 {
    whole(used.saturating_add(BLOCK + padded(catalog)))
}

/// The longest line of a member of a container with this bound.
fn line_length(member: &Member, bound: u64) -> u64 {
    let digits = |number: u64| u64::from(number.checked_ilog10().unwrap_or(0)) + 1;
    let name = member.name.to_string().len() as u64;
    digits(bound) + 1 + digits(member.length) + 1 + name + 1
}
