//! What takes the place of damaged bricks: frames that hold chunks of theirs, because
//! they were stored again (`formats/collection.md#marks`).

use std::collections::{HashMap, HashSet};

use super::frames::Frames;
use super::needs::Needs;
use super::plan::Bricks;
use crate::crypto::PutKeys;
use crate::error::{Error, Result};
use crate::format::toc::Toc;
use crate::id::{BrickName, ChunkId};
use crate::store::Store;

/// The frames, by brick, that hold a chunk which is needed of a marked brick. Without
/// marked bricks nothing is read.
pub(super) fn stand_ins(
    bricks: &Bricks,
    needs: &Needs,
    store: &Store,
    keys: &PutKeys,
) -> Result<HashMap<BrickName, Frames>> {
    let mut found: HashMap<BrickName, Frames> = HashMap::new();
    let wanted = wanted(bricks, needs, store, keys)?;
    if wanted.is_empty() {
        return Ok(found);
    }
    for name in bricks.all.keys().filter(|name| !bricks.is_marked(name)) {
        let Some(toc) = read(store, keys, name)? else {
            continue;
        };
        for (number, frame) in (0..).zip(toc.frames()) {
            let mut chunks = toc.chunks_of(frame).iter();
            if chunks.any(|chunk| wanted.contains(&chunk.id)) {
                found.entry(*name).or_default().insert(number);
            }
        }
    }
    Ok(found)
}

/// The chunks that are needed of marked bricks.
fn wanted(
    bricks: &Bricks,
    needs: &Needs,
    store: &Store,
    keys: &PutKeys,
) -> Result<HashSet<ChunkId>> {
    let mut wanted = HashSet::new();
    for (name, frames) in &needs.frames {
        if !bricks.is_marked(name) {
            continue;
        }
        let Some(toc) = read(store, keys, name)? else {
            continue;
        };
        for (number, frame) in (0..).zip(toc.frames()) {
            if frames.contains(number) {
                wanted.extend(toc.chunks_of(frame).iter().map(|chunk| chunk.id));
            }
        }
    }
    Ok(wanted)
}

/// What a sidecar says; nothing, if it is not there or does not open.
fn read(store: &Store, keys: &PutKeys, name: &BrickName) -> Result<Option<Toc>> {
    match store.read_sidecar(keys, name, &mut Vec::new()) {
        Ok(toc) => Ok(Some(toc)),
        Err(Error::Io { source, .. }) if crate::store::is_missing(&source) => Ok(None),
        Err(error @ Error::Io { .. }) => Err(error),
        Err(_) => Ok(None),
    }
}
