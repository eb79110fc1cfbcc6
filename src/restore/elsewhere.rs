//! Where a frame or a chunk lies that is not where the index says: hints are hints
//! (`formats/collection.md#others-at-the-same-time`).
//!
//! Nothing here is asked before something is missing, so it may be slow; but it must stay
//! small, however large the store is.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::frames::{FrameSpec, open_frame};
use super::slot::Opened;
use crate::brick::FrameOpener;
use crate::crypto::PutKeys;
use crate::error::Result;
use crate::format::toc::{Toc, TocFrame};
use crate::format::trailer::UsedFrame;
use crate::id::{BrickName, ChunkHash, ChunkId};
use crate::store::catalog::Catalog;
use crate::store::inventory::bricks_below;
use crate::store::layout::Layout;
use crate::store::own_toc::read_own_toc;
use crate::store::{Store, read_sidecar};

/// Looks in the sidecars of the store, and of the folders that were named, and in bricks
/// that have none, for whoever has the put secret.
pub(super) struct Elsewhere {
    stores: Vec<Layout>,
    bricks_in: Vec<PathBuf>,
    keys: PutKeys,
    opener: Arc<FrameOpener>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    moves: Moves,
    recent: Recent,
    catalog: Lookup,
    /// Of the chunks of all bricks that are here.
    filter: Option<Filter>,
    /// Frames that were opened last.
    open: VecDeque<(FrameSpec, Opened)>,
    /// Frames that cannot be opened.
    broken: HashSet<(BrickName, u32)>,
}

/// Which bricks hold frames of which old bricks.
#[derive(Default)]
struct Moves {
    new: HashMap<BrickName, Vec<BrickName>>,
    /// Bricks that were looked for.
    asked: HashSet<BrickName>,
    /// TOCs that were read, by the first bytes of their names.
    read: HashSet<u64>,
}

/// The catalog, if there is one.
#[derive(Default)]
enum Lookup {
    #[default]
    Nowhere,
    Closed(PathBuf, Box<Store>),
    Open(Box<Catalog>),
}

/// TOCs that were read last.
#[derive(Default)]
struct Recent(VecDeque<(BrickName, Arc<Toc>)>);

impl Recent {
    /// So many chunks they hold in all, but for the last one.
    const MOST: usize = 1 << 20;

    fn get(&self, name: &BrickName) -> Option<Arc<Toc>> {
        let found = self.0.iter().find(|(recent, _)| recent == name);
        found.map(|(_, toc)| Arc::clone(toc))
    }

    fn push(&mut self, name: BrickName, toc: &Arc<Toc>) {
        if self.get(&name).is_some() {
            return;
        }
        let mut chunks: usize = self.0.iter().map(|(_, toc)| toc.chunks().len()).sum();
        while chunks + toc.chunks().len() > Self::MOST {
            let Some((_, oldest)) = self.0.pop_front() else {
                break;
            };
            chunks -= oldest.chunks().len();
        }
        self.0.push_back((name, Arc::clone(toc)));
    }
}

/// Says of a chunk that it is in no brick; of some it does not, although they are in none.
struct Filter {
    words: Vec<u64>,
}

impl Filter {
    /// Bits for each brick, of some 4,000 chunks, and in all.
    const OF_BRICK: usize = 16 * 4096;
    const LEAST: usize = 1 << 16;
    const MOST: usize = 1 << 29;

    fn new(bricks: usize) -> Self {
        let bits = bricks.saturating_mul(Self::OF_BRICK);
        let bits = bits.clamp(Self::LEAST, Self::MOST).next_power_of_two();
        Self {
            words: vec![0; bits / 64],
        }
    }

    /// Two bits of an id, which is uniform.
    fn bits(&self, id: &ChunkId) -> [(usize, u64); 2] {
        let bits = self.words.len() * 64;
        let half = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0, |sum, &byte| sum << 8 | usize::from(byte))
        };
        let (one, two) = id.as_bytes().split_at(8);
        [one, two].map(|bytes| {
            let bit = half(bytes) % bits;
            (bit / 64, 1 << (bit % 64))
        })
    }

    fn add(&mut self, id: &ChunkId) {
        for (word, bit) in self.bits(id) {
            self.words[word] |= bit;
        }
    }

    fn may_hold(&self, id: &ChunkId) -> bool {
        let bits = self.bits(id);
        bits.iter().all(|&(word, bit)| self.words[word] & bit != 0)
    }
}

impl Elsewhere {
    /// Looks in the store `layout`, and in the folders `bricks_in`, which may be laid out
    /// like stores. `catalog` is the folder of the catalog of the store, if both are there.
    pub(super) fn new(
        layout: &Layout,
        bricks_in: &[PathBuf],
        keys: PutKeys,
        opener: Arc<FrameOpener>,
        catalog: Option<(PathBuf, Store)>,
    ) -> Self {
        let more = bricks_in.iter().map(Layout::new);
        let state = State {
            catalog: catalog.map_or(Lookup::Nowhere, |(dir, store)| {
                Lookup::Closed(dir, Box::new(store))
            }),
            ..State::default()
        };
        Self {
            stores: std::iter::once(layout.clone()).chain(more).collect(),
            bricks_in: bricks_in.to_vec(),
            keys,
            opener,
            state: Mutex::new(state),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Poisoned only if a thread panicked; what is known is true all the same.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the frame that stood at this place of this brick, wherever it was moved.
    pub(super) fn open_moved(&self, spec: &FrameSpec, content: &mut Opened) -> bool {
        let moved = self.moved(&spec.brick, spec.frame.number);
        let opens = |spec: &FrameSpec| self.open_anywhere(spec, content);
        moved.iter().any(opens)
    }

    /// The frames with this origin.
    fn moved(&self, brick: &BrickName, place: u32) -> Vec<FrameSpec> {
        let mut state = self.lock();
        if !state.moves.new.contains_key(brick) && state.moves.asked.insert(*brick) {
            // Also those that have come since: gc may be at work.
            let _ = self.read_moves(&mut state);
        }
        let new = state.moves.new.get(brick).cloned().unwrap_or_default();
        let mut found = Vec::new();
        for name in new {
            let Some(toc) = self.toc(&mut state, &name) else {
                continue;
            };
            for (number, frame) in (0..).zip(toc.frames()) {
                let origins = toc.origins();
                let mut origins = origins.into_iter().flat_map(|all| all.of(number as usize));
                if origins.any(|origin| origin == (*brick, place)) {
                    found.push(spec(name, number, frame));
                }
            }
        }
        found
    }

    /// Reads the TOCs that were not read yet.
    fn read_moves(&self, state: &mut State) -> Result<()> {
        self.each_brick(|name| {
            if !state.moves.read.insert(first_bytes(name)) {
                return Ok(true);
            }
            let Some(toc) = self.read_toc(name) else {
                return Ok(true);
            };
            if let Some(origins) = toc.origins() {
                for old in origins.bricks() {
                    let new = state.moves.new.entry(*old).or_default();
                    if !new.contains(name) {
                        new.push(*name);
                    }
                }
            }
            Ok(true)
        })
    }

    /// Puts into `out` a chunk of this hash and length from whichever brick has it.
    pub(super) fn chunk(&self, hash: &ChunkHash, length: u32, out: &mut Vec<u8>) -> bool {
        let id = self.keys.chunk_id.id(hash);
        let mut state = self.lock();
        let state = &mut *state;
        let wanted = Wanted { id, hash, length };
        let recent: Vec<_> = state.recent.0.iter().rev().cloned().collect();
        for (name, toc) in recent {
            if self.take_from(state, &name, &toc, &wanted, out) {
                return true;
            }
        }
        if let Lookup::Closed(dir, store) = &state.catalog {
            state.catalog = match Catalog::open(dir, store, &self.keys) {
                Ok((catalog, _)) => Lookup::Open(Box::new(catalog)),
                Err(_) => Lookup::Nowhere,
            };
        }
        if let Lookup::Open(catalog) = &mut state.catalog {
            let brick = brick_of(catalog, &wanted).ok().flatten();
            return brick.is_some_and(|name| self.take_from_brick(state, &name, &wanted, out));
        }
        self.scan(state, &wanted, out)
    }

    /// Looks through all TOCs, if the chunk may be in one.
    fn scan(&self, state: &mut State, wanted: &Wanted<'_>, out: &mut Vec<u8>) -> bool {
        if state.filter.is_none() {
            state.filter = self.make_filter().ok();
        }
        let filter = state.filter.as_ref();
        if !filter.is_some_and(|filter| filter.may_hold(&wanted.id)) {
            return false;
        }
        let mut found = false;
        let _ = self.each_brick(|name| {
            found = self.take_from_brick(state, name, wanted, out);
            Ok(!found)
        });
        found
    }

    fn make_filter(&self) -> Result<Filter> {
        let mut bricks = 0;
        self.each_brick(|_| {
            bricks += 1;
            Ok(true)
        })?;
        let mut filter = Filter::new(bricks);
        self.each_brick(|name| {
            if self.is_here(name)
                && let Some(toc) = self.read_toc(name)
            {
                toc.chunks().iter().for_each(|chunk| filter.add(&chunk.id));
            }
            Ok(true)
        })?;
        Ok(filter)
    }

    fn take_from_brick(
        &self,
        state: &mut State,
        name: &BrickName,
        wanted: &Wanted<'_>,
        out: &mut Vec<u8>,
    ) -> bool {
        let toc = state.recent.get(name).or_else(|| self.read_toc(name));
        let Some(toc) = toc.filter(|toc| wanted.is_in(toc)) else {
            return false;
        };
        state.recent.push(*name, &toc);
        self.take_from(state, name, &toc, wanted, out)
    }

    /// Takes the chunk from a brick with this TOC, if it is there and sound.
    fn take_from(
        &self,
        state: &mut State,
        name: &BrickName,
        toc: &Toc,
        wanted: &Wanted<'_>,
        out: &mut Vec<u8>,
    ) -> bool {
        for (number, frame) in (0..).zip(toc.frames()) {
            for (place, chunk) in (0..).zip(toc.chunks_of(frame)) {
                if (chunk.id, chunk.length) != (wanted.id, wanted.length) {
                    continue;
                }
                let opened = self.opened(state, spec(*name, number, frame));
                if let Some((bytes, hash)) = opened.and_then(|opened| opened.chunk(place))
                    && (hash, bytes.len()) == (wanted.hash, wanted.length as usize)
                {
                    out.clear();
                    out.extend_from_slice(bytes);
                    return true;
                }
            }
        }
        false
    }

    /// A frame, which stays open until others are.
    fn opened<'a>(&self, state: &'a mut State, spec: FrameSpec) -> Option<&'a Opened> {
        const MOST: usize = 2;
        let key = (spec.brick, spec.frame.number);
        if state.broken.contains(&key) {
            return None;
        }
        if !state.open.iter().any(|(open, _)| *open == spec) {
            let mut content = Opened::default();
            if state.open.len() == MOST {
                let oldest = state.open.pop_front();
                content = oldest.map(|(_, opened)| opened).unwrap_or_default();
            }
            if !self.open_anywhere(&spec, &mut content) {
                state.broken.insert(key);
                return None;
            }
            state.open.push_back((spec, content));
        }
        let mut open = state.open.iter();
        open.find(|(open, _)| *open == spec)
            .map(|(_, opened)| opened)
    }

    fn open_anywhere(&self, spec: &FrameSpec, content: &mut Opened) -> bool {
        self.copies(&spec.brick)
            .any(|(path, file)| open_frame(&file, &path, spec.frame, &self.opener, content).is_ok())
    }

    fn copies(&self, name: &BrickName) -> impl Iterator<Item = (PathBuf, std::fs::File)> {
        let store = self.stores.first();
        let copies = store.map(|store| store.copies_of_brick(name, &self.bricks_in));
        copies.into_iter().flatten().flatten()
    }

    fn is_here(&self, name: &BrickName) -> bool {
        self.copies(name).next().is_some()
    }

    fn toc(&self, state: &mut State, name: &BrickName) -> Option<Arc<Toc>> {
        if let Some(toc) = state.recent.get(name) {
            return Some(toc);
        }
        let toc = self.read_toc(name)?;
        state.recent.push(*name, &toc);
        Some(toc)
    }

    /// The TOC of a brick: by the first of its sidecars that opens, or else its own.
    fn read_toc(&self, name: &BrickName) -> Option<Arc<Toc>> {
        let mut bytes = Vec::new();
        let mut tocs = self.stores.iter().filter_map(|store| {
            read_sidecar(&store.toc_path(name), &self.keys, name, &mut bytes).ok()
        });
        let toc = tocs.next().or_else(|| {
            let mut own = self.copies(name).filter_map(|(path, file)| {
                let own = read_own_toc(&file, &path, &self.keys, &mut bytes);
                own.ok().map(|(_, toc)| toc)
            });
            own.next()
        });
        toc.map(Arc::new)
    }

    /// Calls `each` for the bricks with sidecars, then for those without, until it says
    /// that that was enough.
    fn each_brick(&self, mut each: impl FnMut(&BrickName) -> Result<bool>) -> Result<()> {
        let mut names = Vec::new();
        for shard in 0..=u8::MAX {
            names.clear();
            for store in &self.stores {
                store.sidecar_names(shard, &mut names)?;
            }
            names.dedup();
            for name in &names {
                if !each(name)? {
                    return Ok(());
                }
            }
        }
        names.clear();
        for store in &self.stores {
            bricks_below(store.path(), &mut |name, _| names.push(name))?;
        }
        names.sort_unstable();
        names.dedup();
        for name in &names {
            let mut stores = self.stores.iter();
            let has_sidecar = stores.any(|store| store.sidecar_stands(name).unwrap_or(false));
            if !has_sidecar && !each(name)? {
                return Ok(());
            }
        }
        Ok(())
    }
}

struct Wanted<'a> {
    id: ChunkId,
    hash: &'a ChunkHash,
    length: u32,
}

impl Wanted<'_> {
    fn is_in(&self, toc: &Toc) -> bool {
        toc.chunks().iter().any(|chunk| chunk.id == self.id)
    }
}

fn brick_of(catalog: &mut Catalog, wanted: &Wanted<'_>) -> Result<Option<BrickName>> {
    let mut found = Vec::new();
    catalog.lookup(&[wanted.id], &[wanted.length], &mut found)?;
    match found.first().copied().flatten() {
        Some(location) => Ok(Some(catalog.brick(location.brick)?.name)),
        None => Ok(None),
    }
}

fn spec(brick: BrickName, number: u32, frame: &TocFrame) -> FrameSpec {
    FrameSpec {
        brick,
        frame: UsedFrame {
            number,
            offset: frame.offset,
            length: frame.length,
            plain_length: frame.plain_length,
        },
    }
}

fn first_bytes(name: &BrickName) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&name.as_bytes()[..8]);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_knows_what_was_added() {
        let mut filter = Filter::new(1);
        let id = |number: u32| {
            let mut id = [0; 16];
            id.copy_from_slice(&blake3::hash(&number.to_le_bytes()).as_bytes()[..16]);
            ChunkId(id)
        };
        (0..1000).for_each(|number| filter.add(&id(number)));
        assert!((0..1000).all(|number| filter.may_hold(&id(number))));
        let wrong = (1000..11_000).filter(|&number| filter.may_hold(&id(number)));
        assert!(wrong.count() < 100);
    }
}
