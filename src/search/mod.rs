//! Comparing indexes, and finding members in many of them.
//!
//! ```text
//! index -> members (listing) -> versions, sorted by name -> merge -> differences, or histories
//! ```
//!
//! Indexes need not be sorted and may have a hundred million members: what is compared
//! goes through an external sort, so memory does not grow with their number. Names are
//! compared without a leading `./` and a trailing `/`, as patterns are. Of a member that
//! stands several times in one stream the last counts, as `tar` extracts it.
#![expect(
    clippy::cast_possible_truncation,
    reason = "lengths are below limits that were checked, and addresses have 64 bits"
)]

mod chunks;
mod diff;
mod find;
mod gather;
mod last;
mod sort;
mod version;

pub use chunks::Needed;
pub use diff::{Diff, DiffOptions, DiffSummary, Difference, diff};
pub use find::{Finder, Found, Histories, Since};
pub use version::{Change, Version};
