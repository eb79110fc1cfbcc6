//! Invariant 2: an index lists like its stream.

use std::path::Path;

use super::shell::{have, python};

/// What the listings of a stream say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listing {
    /// GNU tar, bsdtar and Python list the stream alike, and so the index; this many members.
    Alike(usize),
    /// They do not list the stream alike, so nothing is promised.
    Apart(String),
    /// A tool is missing.
    Skipped,
}

/// Panics unless each of three tar readers lists `index` as it lists `stream`,
/// provided that they list `stream` without error and alike.
#[track_caller]
pub fn compare_listings(name: &str, stream: &Path, index: &Path) -> Listing {
    if !["tar", "bsdtar", "python3"].iter().all(|tool| have(tool)) {
        return Listing::Skipped;
    }
    let output = python("listings.py")
        .args([stream, index])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{name}: the index lists otherwise than the stream: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    match text.trim().split_once(' ') {
        Some(("alike", count)) => Listing::Alike(count.parse().unwrap()),
        Some(("apart", reason)) => Listing::Apart(reason.to_owned()),
        _ => panic!("{name}: listings.py printed {text:?}"),
    }
}
