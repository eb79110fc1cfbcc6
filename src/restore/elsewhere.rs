//! Where a frame or a chunk lies that is not where the index says: hints are hints
//! (`formats/collection.md#others-at-the-same-time`).
//!
//! Nothing here is asked before something is missing, so it may be slow; but it must stay
//! small, however large the store is.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::bricks::Bricks;
use super::filter::Filter;
use super::frames::{FrameSpec, open_frame};
use super::slot::Opened;
use super::tocs::Tocs;
use crate::brick::FrameOpener;
use crate::crypto::PutKeys;
use crate::error::Result;
use crate::format::toc::{Toc, TocChunk, TocFrame};
use crate::format::trailer::UsedFrame;
use crate::id::{BrickName, ChunkHash, ChunkId};
use crate::store::Store;
use crate::store::catalog::Catalog;

/// Looks in the sidecars of the store, and of the folders that were named, and in bricks
/// that have none, for whoever has the put secret.
pub(super) struct Elsewhere {
    tocs: Tocs,
    bricks: Arc<Bricks>,
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
    copies: Copies,
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
    listed: Pace,
}

/// Keeps what is done again and again from taking more than a tenth of the time.
#[derive(Default)]
struct Pace(Option<(Instant, Duration)>);

impl Pace {
    const REST: u32 = 10;

    fn is_due(&self) -> bool {
        let last = self.0.as_ref();
        last.is_none_or(|(end, took)| end.elapsed() >= took.saturating_mul(Self::REST))
    }

    fn ended(&mut self, start: Instant) {
        self.0 = Some((Instant::now(), start.elapsed()));
    }
}

/// The bricks that hold a chunk, of chunks that stand in several: in a store that was never
/// damaged these are few. If they are too many, of the chunks of those bricks in which
/// something did not open; to find that takes a pass through all TOCs for each such brick.
#[derive(Default)]
struct Copies {
    bricks: HashMap<ChunkId, Vec<BrickName>>,
    /// All other chunks stand in one brick at most.
    are_all: bool,
    passed: Pace,
}

impl Copies {
    /// So many chunks at most, some 50 MiB; and of a pass that is for several bricks.
    const MOST: usize = 1 << 19;
    const OF_PASS: usize = 1 << 18;
}

/// What came of looking for a chunk in a brick.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Taken,
    /// It is listed there, but cannot be had.
    Broken,
    Absent,
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

impl Elsewhere {
    /// Looks where bricks are, in the store and in folders that may be laid out like stores. `catalog` is the folder of the catalog of the store, if both are there.
    pub(super) fn new(
        bricks: Arc<Bricks>,
        keys: PutKeys,
        opener: Arc<FrameOpener>,
        catalog: Option<(PathBuf, Store)>,
    ) -> Self {
        let state = State {
            catalog: catalog.map_or(Lookup::Nowhere, |(dir, store)| {
                Lookup::Closed(dir, Box::new(store))
            }),
            ..State::default()
        };
        Self {
            tocs: Tocs::of(Arc::clone(&bricks), keys.clone()),
            bricks,
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
        let mut tried: Vec<FrameSpec> = Vec::new();
        loop {
            for moved in self.moved(&spec.brick, spec.frame.number) {
                if !tried.contains(&moved) {
                    if self.open_anywhere(&moved, content) {
                        return true;
                    }
                    tried.push(moved);
                }
            }
            // It may have been moved since, or once more.
            if !self.look_again(&spec.brick) {
                return false;
            }
        }
    }

    /// The frames with this origin, as far as they are known.
    fn moved(&self, brick: &BrickName, place: u32) -> Vec<FrameSpec> {
        let mut state = self.lock();
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

    /// Reads what has come since the TOCs were read last, for gc may be at work: once for
    /// each brick, and from time to time. Whether anything has come.
    fn look_again(&self, brick: &BrickName) -> bool {
        let mut state = self.lock();
        if !state.moves.asked.insert(*brick) && !state.moves.listed.is_due() {
            return false;
        }
        let (start, before) = (Instant::now(), state.moves.read.len());
        let _ = self.read_moves(&mut state);
        state.moves.listed.ended(start);
        state.moves.read.len() > before
    }

    /// Reads the TOCs that were not read yet.
    fn read_moves(&self, state: &mut State) -> Result<()> {
        self.tocs.each_brick(|name| {
            if state.moves.read.contains(&first_bytes(name)) {
                return Ok(true);
            }
            let Some(toc) = self.read_toc(name) else {
                return Ok(true);
            };
            state.moves.read.insert(first_bytes(name));
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
        if state.copies.bricks.contains_key(&id) {
            return self.take_copy(state, &wanted, out);
        }
        let recent: Vec<_> = state.recent.0.iter().rev().cloned().collect();
        for (name, toc) in recent {
            match self.take_from(state, &name, &toc, &wanted, out) {
                Found::Taken => return true,
                Found::Broken => return self.take_other(state, &name, &wanted, out),
                Found::Absent => {}
            }
        }
        if let Lookup::Closed(dir, store) = &state.catalog {
            state.catalog = match Catalog::open(dir, store, &self.keys) {
                Ok((catalog, _)) => Lookup::Open(Box::new(catalog)),
                Err(_) => Lookup::Nowhere,
            };
        }
        if let Lookup::Open(catalog) = &mut state.catalog
            && let Ok(Some(name)) = brick_of(catalog, &wanted)
        {
            match self.take_from_brick(state, &name, &wanted, out) {
                Found::Taken => return true,
                Found::Broken => return self.take_other(state, &name, &wanted, out),
                Found::Absent => {}
            }
        }
        // The catalog leaves out bricks that are marked, and what it had no room for.
        self.scan(state, &wanted, out)
    }

    /// Looks through all TOCs, if the chunk may be in one.
    fn scan(&self, state: &mut State, wanted: &Wanted<'_>, out: &mut Vec<u8>) -> bool {
        self.survey(state);
        let filter = state.filter.as_ref();
        if !filter.is_some_and(|filter| filter.may_hold(&wanted.id)) {
            return false;
        }
        let mut found = Found::Absent;
        let mut last = None;
        let _ = self.tocs.each_brick(|name| {
            found = self.take_from_brick(state, name, wanted, out);
            last = Some(*name);
            Ok(found == Found::Absent)
        });
        match (found, last) {
            (Found::Broken, Some(name)) => self.take_other(state, &name, wanted, out),
            (found, _) => found == Found::Taken,
        }
    }

    /// Takes a chunk that cannot be had from the brick `broken` from another.
    fn take_other(
        &self,
        state: &mut State,
        broken: &BrickName,
        wanted: &Wanted<'_>,
        out: &mut Vec<u8>,
    ) -> bool {
        self.survey(state);
        if !state.copies.are_all {
            self.find_copies(state, broken);
        }
        self.take_copy(state, wanted, out)
    }

    /// Takes a chunk from one of the bricks that hold it; these are known.
    fn take_copy(&self, state: &mut State, wanted: &Wanted<'_>, out: &mut Vec<u8>) -> bool {
        let mut tried = Vec::new();
        loop {
            let bricks = state.copies.bricks.get(&wanted.id);
            for name in bricks.cloned().unwrap_or_default() {
                if !tried.contains(&name) {
                    if self.take_from_brick(state, &name, wanted, out) == Found::Taken {
                        return true;
                    }
                    tried.push(name);
                }
            }
            // What has gone since these were noted may stand in another brick now.
            let has_gone = tried.iter().any(|name| !self.is_here(name));
            if !has_gone || !state.copies.passed.is_due() {
                return false;
            }
            self.look_for(state, &HashSet::from([wanted.id]));
            let mut bricks = state.copies.bricks.get(&wanted.id).into_iter().flatten();
            if bricks.all(|name| tried.contains(name)) {
                return false;
            }
        }
    }

    /// Finds out which bricks hold the chunks of the brick `broken`, and of others that
    /// carry marks.
    fn find_copies(&self, state: &mut State, broken: &BrickName) {
        let mut ids = HashSet::new();
        let marked = self
            .tocs
            .layouts()
            .iter()
            .filter_map(|store| store.marked().ok());
        for name in [*broken].into_iter().chain(marked.flatten()) {
            if ids.len() >= Copies::OF_PASS {
                break;
            }
            if let Some(toc) = self.read_toc(&name) {
                let known = &state.copies.bricks;
                let more = toc.chunks().iter().map(|chunk| chunk.id);
                ids.extend(more.filter(|id| !known.contains_key(id)));
            }
        }
        self.look_for(state, &ids);
    }

    /// Notes for each of these chunks the bricks that hold it.
    fn look_for(&self, state: &mut State, ids: &HashSet<ChunkId>) {
        let copies = &mut state.copies;
        if copies.bricks.len() + ids.len() > Copies::MOST {
            copies.bricks.clear();
            copies.are_all = false;
        }
        let start = Instant::now();
        copies.bricks.extend(ids.iter().map(|id| (*id, Vec::new())));
        let _ = self.tocs.each_brick(|name| {
            if let Some(toc) = self.read_toc(name) {
                for chunk in toc.chunks().iter().filter(|chunk| ids.contains(&chunk.id)) {
                    let bricks = copies.bricks.entry(chunk.id).or_default();
                    if bricks.last() != Some(name) {
                        bricks.push(*name);
                    }
                }
            }
            Ok(true)
        });
        copies.passed.ended(start);
    }

    /// Finds out which chunks are here, and which of them in several bricks.
    fn survey(&self, state: &mut State) {
        if state.filter.is_some() {
            return;
        }
        if let Ok((filter, again)) = self.make_filter() {
            state.filter = Some(filter);
            if let Some(again) = again {
                self.look_for(state, &again);
                state.copies.bricks.retain(|_, bricks| bricks.len() > 1);
                state.copies.are_all = true;
            }
        }
    }

    /// The chunks of the bricks that are here; and of those that were met twice all, and
    /// few others, unless they are too many.
    fn make_filter(&self) -> Result<(Filter, Option<HashSet<ChunkId>>)> {
        let mut bricks = 0;
        self.tocs.each_brick(|_| {
            bricks += 1;
            Ok(true)
        })?;
        let mut filter = Filter::new(bricks);
        let mut again = Some(HashSet::new());
        self.tocs.each_brick(|name| {
            if self.is_here(name)
                && let Some(toc) = self.read_toc(name)
            {
                for TocChunk { id, .. } in toc.chunks() {
                    if let Some(again) = &mut again
                        && filter.may_hold(id)
                    {
                        again.insert(*id);
                    }
                    filter.add(id);
                }
                again.take_if(|again| again.len() > Copies::MOST);
            }
            Ok(true)
        })?;
        Ok((filter, again))
    }

    fn take_from_brick(
        &self,
        state: &mut State,
        name: &BrickName,
        wanted: &Wanted<'_>,
        out: &mut Vec<u8>,
    ) -> Found {
        let toc = state.recent.get(name).or_else(|| self.read_toc(name));
        let Some(toc) = toc.filter(|toc| wanted.is_in(toc)) else {
            return Found::Absent;
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
    ) -> Found {
        let mut found = Found::Absent;
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
                    return Found::Taken;
                }
                found = Found::Broken;
            }
        }
        found
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
        self.bricks
            .copies(&spec.brick)
            .any(|(path, file)| open_frame(&file, &path, spec.frame, &self.opener, content).is_ok())
    }

    fn is_here(&self, name: &BrickName) -> bool {
        self.bricks.copies(name).next().is_some()
    }

    fn toc(&self, state: &mut State, name: &BrickName) -> Option<Arc<Toc>> {
        if let Some(toc) = state.recent.get(name) {
            return Some(toc);
        }
        let toc = self.read_toc(name)?;
        state.recent.push(*name, &toc);
        Some(toc)
    }

    fn read_toc(&self, name: &BrickName) -> Option<Arc<Toc>> {
        self.tocs.read(name).map(|(toc, _)| Arc::new(toc))
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
    use crate::format::origins::Origin;
    use crate::store::testing;

    #[test]
    fn what_was_moved_again_since_it_was_looked_for_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (store, keys) = testing::store(dir.path());
        let opener = Arc::new(testing::key(1).opener(*store.id()).unwrap());
        let all = Elsewhere::new(
            Arc::new(Bricks {
                layout: store.layout().clone(),
                dirs: Vec::new(),
                shelf: Arc::default(),
            }),
            keys.clone(),
            opener,
            None,
        );
        let write = |brick: u32, origins: &[Origin]| {
            let mut toc = testing::toc(&[&[brick]]);
            toc.set_origins(&[origins.to_vec()], &[]).unwrap();
            testing::write_sidecar(&store, &keys, &testing::name(brick), &toc);
        };
        let [old, first, second] = [0, 1, 2].map(testing::name);
        let bricks = || {
            let moved = all.moved(&old, 7).into_iter();
            moved.map(|spec| spec.brick).collect::<Vec<_>>()
        };
        write(1, &[(old, 7)]);
        assert!(all.look_again(&old));
        assert_eq!(bricks(), [first]);
        std::fs::remove_file(store.toc_path(&first)).unwrap();
        write(2, &[(old, 7), (first, 0)]);
        while !all.look_again(&old) {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(bricks().contains(&second));
    }
}
