//! Gathers the members of an index, and where their chunks lie.

use super::chunks::ChunkSorter;
use super::sort::{Sorted, Sorter};
use super::version::Version;
use crate::error::Result;
use crate::index::{IndexFile, Trailer};
use crate::restore::{Listing, Selection, normal};

/// What an index holds, sorted.
pub(super) struct Gathered {
    /// Versions by name, in the order of the stream where a name stands again.
    pub(super) members: Sorted,
    /// Where chunks lie, if that was asked for.
    pub(super) chunks: Option<ChunkSorter>,
}

/// Gathers the members that `selection` wants, or all; where their chunks lie if `chunks`.
///
/// Bodies that belong to no member, such as what is no tar, count if there is no selection.
pub(super) fn gather(
    index: &IndexFile,
    trailer: &Trailer,
    mut selection: Option<&mut Selection>,
    chunks: bool,
) -> Result<Gathered> {
    let mut members = Sorter::new();
    let mut chunks = chunks
        .then(|| ChunkSorter::new(index, trailer))
        .transpose()?;
    let mut listing = Listing::new(index, trailer);
    let mut value = Vec::new();
    loop {
        let mut wants_body = selection.is_none();
        let mut pushed = Ok(());
        let more = listing.next(&mut |listed| {
            let name = &listed.member.name;
            let wanted = selection
                .as_mut()
                .is_none_or(|selection| selection.wants(name));
            if !wanted || pushed.is_err() {
                return;
            }
            wants_body |= listed.body.is_some();
            value.clear();
            Version::of(listed).encode(&mut value);
            pushed = members.push(normal(name), &value);
        })?;
        pushed?;
        if !more {
            break;
        }
        if let (Some(chunks), Some(record)) = (&mut chunks, listing.record()) {
            chunks.body(record, wants_body)?;
        }
    }
    Ok(Gathered {
        members: members.finish()?,
        chunks,
    })
}
