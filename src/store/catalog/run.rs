//! Runs: where the chunks' entries stand, sorted.
//!
//! Chunk ids are random. In one large tree each new chunk would touch a page of
//! its own, and a brick of 64 MiB some 100 MB of pages. So a brick's entries, or
//! those of many bricks, are written side by side as a *run* that is never
//! altered, in blocks of a page each; runs of like size are merged now and then
//! ([`super::merge`]), as in a log-structured merge tree. A lookup asks each
//! run's filter ([`super::filter`]), and looks into a block if it says yes.
//!
//! Each id has all its entries of a run in one block, whose key in the table
//! `chunks` is the run and the block's last id.

use std::ops::Bound;

use heed::{RoTxn, RwTxn};

use super::entry::{Checker, ENTRY, Entry, Kind, RUNS};
use super::environment::Tables;
use super::fault::{Fault, Step};
use super::filter::FilterLine;
use crate::id::ChunkId;

/// Entries of a block: with LMDB's header a page of 4,096 bytes.
const BLOCK: usize = 120 * ENTRY;

/// Bytes of blocks that wait before they are put.
const AT_ONCE: usize = 1 << 20;

/// The key of a block.
pub(super) type BlockKey = [u8; 4 + ChunkId::SIZE];
type PartKey = [u8; 8];

/// One run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// Its number, which no other run ever has.
    pub number: u32,
    /// How many entries it has.
    pub count: u64,
    /// For how many entries its filter was made.
    pub room: u64,
}

impl Run {
    /// Length of a run in the list of runs.
    const LENGTH: usize = 20;

    /// The key of the block that holds `id`, if that is its last one.
    pub fn block_key(&self, id: &[u8; ChunkId::SIZE]) -> BlockKey {
        let mut key = [0; size_of::<BlockKey>()];
        let (number, last) = key.split_at_mut(4);
        number.copy_from_slice(&self.number.to_be_bytes());
        last.copy_from_slice(id);
        key
    }

    /// Whether a block is of this run.
    pub fn owns(&self, key: &[u8]) -> bool {
        key.starts_with(&self.number.to_be_bytes())
    }

    fn part_key(&self, part: u32) -> PartKey {
        (u64::from(self.number) << 32 | u64::from(part)).to_be_bytes()
    }

    /// Whether the filter lets `id` pass. A part that is not there, because a
    /// merge has not come so far, lets all pass.
    fn may_hold(&self, txn: &RoTxn, tables: &Tables, id: &ChunkId) -> Step<bool> {
        let line = FilterLine::of(id, self.room);
        let part = tables.filters.get(txn, &self.part_key(line.part))?;
        Ok(part.is_none_or(|part| line.is_set(part)))
    }

    /// The block that holds `id`, if any does.
    pub fn block<'t>(
        &self,
        txn: &'t RoTxn,
        tables: &Tables,
        id: &ChunkId,
    ) -> Step<Option<Block<'t>>> {
        if !self.may_hold(txn, tables, id)? {
            return Ok(None);
        }
        let key = self.block_key(id.as_bytes());
        let found = tables.chunks.get_greater_than_or_equal_to(txn, &key)?;
        Ok(found.and_then(|(key, block)| self.owns(key).then(|| Block::new(key, block))))
    }

    /// Deletes what is left of the run.
    pub fn delete(&self, txn: &mut RwTxn, tables: &Tables) -> Step<()> {
        let (first, last) = (self.block_key(&[0; 16]), self.block_key(&[0xff; 16]));
        let range = (Bound::Included(&first[..]), Bound::Included(&last[..]));
        tables.chunks.delete_range(txn, &range)?;
        let (first, last) = (self.part_key(0), self.part_key(u32::MAX));
        let range = (Bound::Included(&first[..]), Bound::Included(&last[..]));
        tables.filters.delete_range(txn, &range)?;
        Ok(())
    }
}

/// The list of all runs, oldest first.
#[derive(Debug, Default)]
pub(super) struct Runs {
    next: u32,
    pub list: Vec<Run>,
}

impl Runs {
    pub fn read(txn: &RoTxn, tables: &Tables, checker: Checker) -> Step<Self> {
        let Some(sealed) = tables.meta.get(txn, RUNS)? else {
            return Ok(Self::default());
        };
        checker
            .open(Kind::Meta, RUNS, sealed)
            .and_then(Self::parse)
            .ok_or(Fault::Corrupt("the list of runs does not verify"))
    }

    fn parse(value: &[u8]) -> Option<Self> {
        let (next, list) = value.split_first_chunk()?;
        let (list, []) = list.as_chunks::<{ Run::LENGTH }>() else {
            return None;
        };
        let run = |bytes: &[u8; Run::LENGTH]| {
            let (number, rest) = bytes.split_first_chunk()?;
            let (count, room) = rest.split_first_chunk()?;
            Some(Run {
                number: u32::from_le_bytes(*number),
                count: u64::from_le_bytes(*count),
                room: u64::from_le_bytes(room.try_into().ok()?),
            })
        };
        Some(Self {
            next: u32::from_le_bytes(*next),
            list: list.iter().map(run).collect::<Option<_>>()?,
        })
    }

    pub fn write(&self, txn: &mut RwTxn, tables: &Tables, checker: Checker) -> Step<()> {
        let mut value = self.next.to_le_bytes().to_vec();
        for run in &self.list {
            value.extend_from_slice(&run.number.to_le_bytes());
            value.extend_from_slice(&run.count.to_le_bytes());
            value.extend_from_slice(&run.room.to_le_bytes());
        }
        checker.seal(Kind::Meta, RUNS, &mut value);
        Ok(tables.meta.put(txn, RUNS, &value)?)
    }

    /// A new run, empty and not in the list yet, with room for so many entries.
    pub fn begin(&mut self, room: u64) -> Step<Run> {
        let number = self.next;
        self.next = number
            .checked_add(1)
            .ok_or(Fault::Corrupt("all numbers of runs used up"))?;
        Ok(Run {
            number,
            count: 0,
            room,
        })
    }
}

/// Entries of a run, as far as they have the same place in the tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block<'t> {
    entries: &'t [[u8; ENTRY]],
    /// The front of the id of the last one.
    last: u64,
}

impl<'t> Block<'t> {
    /// A damaged block may end with half an entry, which counts as absent.
    pub fn new(key: &[u8], bytes: &'t [u8]) -> Self {
        Self {
            entries: bytes.as_chunks().0,
            last: front(key.get(4..).unwrap_or_default()),
        }
    }

    /// The entries of `id`, sealed.
    pub fn find(self, id: &ChunkId) -> impl Iterator<Item = &'t [u8; ENTRY]> + use<'t> {
        let id = *id;
        let first = self.first_of(&id);
        let rest = self.entries.get(first..).unwrap_or_default();
        rest.iter().take_while(move |entry| id_of(entry) == id)
    }

    /// Where the first entry stands whose id is not below `id`.
    ///
    /// A block that nobody looked at lately stands in none of the processor's
    /// caches, and to halve it again and again would touch seven of its lines.
    /// Ids are uniform: where one stands among the others can be reckoned to
    /// within a few entries.
    fn first_of(self, id: &ChunkId) -> usize {
        let below = |entry: &[u8; ENTRY]| id_of(entry) < *id;
        let mut place = self.guess(id);
        for _ in 0..NEAR {
            let (before, rest) = self.entries.split_at(place.min(self.entries.len()));
            if before.last().is_some_and(|entry| !below(entry)) {
                place -= 1;
            } else if rest.first().is_some_and(below) {
                place += 1;
            } else {
                return place;
            }
        }
        self.entries.partition_point(below)
    }

    fn guess(self, id: &ChunkId) -> usize {
        let first = self.entries.first().map_or(0, |entry| front(entry));
        // Without their last bits, so that the product has no more than 64.
        let part = front(id.as_bytes()).saturating_sub(first) >> 24;
        let whole = (self.last.saturating_sub(first) >> 24).max(1);
        let most = self.entries.len().saturating_sub(1);
        let place = part.saturating_mul(most as u64) / whole;
        usize::try_from(place).map_or(most, |place| place.min(most))
    }
}

/// So many entries from where it should be an id is sought one by one: three
/// times the standard deviation in a block of 120.
const NEAR: usize = 16;

/// The first eight bytes of an id as a number.
fn front(id: &[u8]) -> u64 {
    let front = id.first_chunk().copied().unwrap_or_default();
    u64::from_be_bytes(front)
}

/// The id in an entry, which begins with it.
pub(super) fn id_of(entry: &[u8; ENTRY]) -> ChunkId {
    const { assert!(ChunkId::SIZE <= ENTRY) };
    ChunkId(entry.first_chunk().copied().unwrap_or_default())
}

/// Makes the blocks and the filter of a run from entries that come in order.
///
/// What it has made waits in memory for [`RunWriter::put`], so that a step
/// that has to run again finds it there.
#[derive(Debug)]
pub(super) struct RunWriter {
    run: Run,
    blocks: Pages<BlockKey>,
    parts: Pages<PartKey>,
    last: Option<ChunkId>,
    part: u32,
}

/// Values that are ready, and one that is not.
#[derive(Debug)]
struct Pages<K> {
    bytes: Vec<u8>,
    /// Keys, and where the values end.
    ready: Vec<(K, usize)>,
    begun: Vec<u8>,
}

impl<K: AsRef<[u8]>> Pages<K> {
    const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            ready: Vec::new(),
            begun: Vec::new(),
        }
    }

    fn finish(&mut self, key: K) {
        if !self.begun.is_empty() {
            self.bytes.append(&mut self.begun);
            self.ready.push((key, self.bytes.len()));
        }
    }

    fn put(&self, txn: &mut RwTxn, table: &super::environment::Table) -> Step<()> {
        let mut start = 0;
        for (key, end) in &self.ready {
            let value = self.bytes.get(start..*end).unwrap_or_default();
            table.put(txn, key.as_ref(), value)?;
            start = *end;
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ready.clear();
    }
}

impl RunWriter {
    pub const fn new(run: Run) -> Self {
        Self {
            run,
            blocks: Pages::new(),
            parts: Pages::new(),
            last: None,
            part: 0,
        }
    }

    /// Adds an entry. It must not sort before the last one.
    pub fn push(&mut self, entry: &[u8; ENTRY]) {
        let id = id_of(entry);
        if self.blocks.begun.len() >= BLOCK && self.last != Some(id) {
            self.finish_block();
        }
        self.blocks.begun.extend_from_slice(entry);
        self.last = Some(id);
        let line = FilterLine::of(&id, self.run.room);
        if line.part != self.part {
            self.finish_part();
            self.part = line.part;
        }
        line.set(&mut self.parts.begun);
    }

    fn finish_block(&mut self) {
        if let Some(last) = self.last {
            self.blocks.finish(self.run.block_key(last.as_bytes()));
        }
    }

    fn finish_part(&mut self) {
        self.parts.finish(self.run.part_key(self.part));
    }

    /// Bytes of the blocks that wait.
    pub const fn waiting(&self) -> usize {
        self.blocks.bytes.len()
    }

    /// Ends the last block, so that all entries wait to be put. The next one
    /// must have another id.
    pub fn pause(&mut self) {
        self.finish_block();
    }

    /// Ends the run.
    pub fn finish(&mut self) {
        self.finish_block();
        self.finish_part();
    }

    /// Puts what waits into the tables; it goes on waiting until [`RunWriter::clear`].
    pub fn put(&self, txn: &mut RwTxn, tables: &Tables) -> Step<()> {
        self.blocks.put(txn, &tables.chunks)?;
        self.parts.put(txn, &tables.filters)
    }

    /// Forgets what has been put.
    pub fn clear(&mut self) {
        self.blocks.clear();
        self.parts.clear();
    }

    /// Enters a whole run of so many entries into the tables and into the list.
    pub fn write_all<'c>(
        txn: &mut RwTxn,
        tables: &Tables,
        checker: Checker,
        count: u64,
        entries: impl Iterator<Item = (&'c ChunkId, Entry)>,
    ) -> Step<()> {
        let mut runs = Runs::read(txn, tables, checker)?;
        let run = runs.begin(count)?;
        let mut writer = Self::new(run);
        for (id, entry) in entries {
            writer.push(&checker.seal_entry(id, &entry)?);
            if writer.waiting() >= AT_ONCE {
                writer.put(txn, tables)?;
                writer.clear();
            }
        }
        writer.finish();
        writer.put(txn, tables)?;
        runs.list.push(Run { count, ..run });
        runs.write(txn, tables, checker)
    }
}
