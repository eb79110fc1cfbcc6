//! What takes the place of damaged bricks: frames that hold chunks of theirs, because
//! they were stored again (`formats/collection.md#marks`).

use std::collections::{HashMap, HashSet};

use super::plan::Bricks;
use crate::archive::Monitor;
use crate::crypto::PutKeys;
use crate::error::{Error, Result};
use crate::format::frames::Frames;
use crate::format::toc::Toc;
use crate::id::{BrickName, ChunkId};
use crate::store::Store;

/// Adds to the frames that meet needs those that hold a chunk of one that stands in a
/// marked brick. Another brick with a mark counts, too: it may be damaged elsewhere.
/// Without marked bricks nothing is read.
pub(super) fn stand_ins(
    bricks: &Bricks,
    met: &mut HashMap<BrickName, Frames>,
    store: &Store,
    keys: &PutKeys,
    monitor: &Monitor,
) -> Result<()> {
    let mut wanted: HashSet<ChunkId> = HashSet::new();
    for (name, frames) in met.iter().filter(|(name, _)| bricks.is_marked(name)) {
        monitor.check()?;
        let Some(toc) = read(store, keys, name)? else {
            continue;
        };
        for (number, frame) in (0..).zip(toc.frames()) {
            if frames.contains(number) {
                wanted.extend(toc.chunks_of(frame).iter().map(|chunk| chunk.id));
            }
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    for name in bricks.all.keys() {
        monitor.check()?;
        let Some(toc) = read(store, keys, name)? else {
            continue;
        };
        for (number, frame) in (0..).zip(toc.frames()) {
            let mut chunks = toc.chunks_of(frame).iter();
            if chunks.any(|chunk| wanted.contains(&chunk.id)) {
                met.entry(*name).or_default().insert(number);
            }
        }
    }
    Ok(())
}

/// What a sidecar says; nothing, if it is not there or does not open. One that cannot be
/// read ends the gc: it may hold what is needed.
fn read(store: &Store, keys: &PutKeys, name: &BrickName) -> Result<Option<Toc>> {
    match store.read_sidecar(keys, name, &mut Vec::new()) {
        Ok(toc) => Ok(Some(toc)),
        Err(Error::Io { source, .. }) if crate::store::is_missing(&source) => Ok(None),
        Err(error @ Error::Io { .. }) => Err(error),
        Err(_) => Ok(None),
    }
}
