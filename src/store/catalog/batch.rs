//! Bricks on their way into the catalog: entered together, as one run.

use heed::RwTxn;

use super::entry::{self, Checker, Entry, Kind, NEXT, ORDINALS, Record};
use super::environment::{Environment, Tables};
use super::fault::{Fault, Step};
use super::run::RunWriter;
use super::{BrickInfo, BrickRef, FrameInfo};
use crate::brick::SidecarSeal;
use crate::format::toc::Toc;
use crate::id::{BrickName, ChunkId};

/// How many chunks are entered in one transaction, unless one brick alone has more.
const CHUNKS: usize = 1 << 19;
/// How many bytes of bricks' records are entered in one transaction, unless one brick alone has more.
const RECORD_BYTES: usize = 16 << 20;

/// Bricks to be entered in one transaction.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bricks: Vec<Pending>,
    /// In the order of the bricks until [`Batch::store`] sorts them; the brick's
    /// number is its place in `bricks`.
    chunks: Vec<(ChunkId, Entry)>,
    record_bytes: usize,
}

#[derive(Debug)]
struct Pending {
    name: BrickName,
    /// Without its check, which needs the ordinal.
    record: Vec<u8>,
}

impl Batch {
    /// Whether it is large enough to be stored.
    pub fn is_full(&self) -> bool {
        self.chunks.len() >= CHUNKS || self.record_bytes >= RECORD_BYTES
    }

    pub fn is_empty(&self) -> bool {
        self.bricks.is_empty()
    }

    /// The number of its chunks.
    pub fn len(&self) -> usize {
        self.chunks.len()
    }

    /// The number of its bricks.
    pub fn bricks(&self) -> u64 {
        self.bricks.len() as u64
    }

    /// The record of its first brick, without check.
    pub fn first_record(&self) -> Option<&[u8]> {
        let first = self.bricks.first()?;
        Some(&first.record)
    }

    /// Forgets all, keeping its memory.
    pub fn clear(&mut self) {
        self.bricks.clear();
        self.chunks.clear();
        self.record_bytes = 0;
    }

    /// Adds a brick, from the sidecar with this seal. `length` is that of its file in bytes.
    pub fn add(
        &mut self,
        name: &BrickName,
        length: u64,
        toc: &Toc,
        seal: &SidecarSeal,
    ) -> Step<()> {
        let brick = BrickRef(count(self.bricks.len())?);
        let info = BrickInfo {
            name: *name,
            length,
            frame_count: count(toc.frames().len())?,
        };
        let chunk_count = count(toc.chunks().len())?;
        let chunk_bytes = toc
            .chunks()
            .iter()
            .map(|chunk| u64::from(chunk.length))
            .sum();
        let mut record = Vec::new();
        Record::encode(&info, seal, chunk_count, chunk_bytes, &mut record);
        for (number, frame) in (0..).zip(toc.frames()) {
            Record::encode_frame(
                &FrameInfo {
                    offset: frame.offset,
                    length: frame.length,
                    plain_length: frame.plain_length,
                },
                &mut record,
            );
            let entries = (0..).zip(toc.chunks_of(frame)).map(|(place, chunk)| {
                let entry = Entry {
                    brick,
                    frame: number,
                    place,
                    length: chunk.length,
                };
                (chunk.id, entry)
            });
            self.chunks.extend(entries);
        }
        self.record_bytes += record.len();
        self.bricks.push(Pending {
            name: *name,
            record,
        });
        Ok(())
    }

    /// Enters the bricks durably and empties the batch, keeping its memory.
    /// Puts the bricks' ordinals in `ordinals`, in the order of [`Batch::add`].
    pub fn store(
        &mut self,
        environment: &mut Environment,
        checker: Checker,
        ordinals: &mut Vec<BrickRef>,
    ) -> Step<()> {
        // The first place in a brick wins, should a chunk stand in it twice.
        self.chunks
            .sort_unstable_by_key(|(id, entry)| (*id, entry.brick.0, entry.frame, entry.place));
        self.chunks.dedup_by_key(|(id, entry)| (*id, entry.brick.0));
        let mut fresh = Vec::new();
        environment.write(|txn, tables| {
            let mut writer = Writer {
                txn,
                tables,
                checker,
            };
            ordinals.clear();
            fresh.clear();
            writer.bricks(&self.bricks, ordinals, &mut fresh)?;
            writer.chunks(&self.chunks, ordinals, &fresh)
        })?;
        self.clear();
        Ok(())
    }
}

/// Enters into one transaction.
struct Writer<'a, 'txn> {
    txn: &'a mut RwTxn<'txn>,
    tables: &'a Tables,
    checker: Checker,
}

impl Writer<'_, '_> {
    /// Enters the bricks that no other process has entered meanwhile; `fresh` tells which those are.
    fn bricks(
        &mut self,
        bricks: &[Pending],
        ordinals: &mut Vec<BrickRef>,
        fresh: &mut Vec<bool>,
    ) -> Step<()> {
        let mut next = next_ordinal(self.txn, self.tables, self.checker)?;
        for brick in bricks {
            let name = brick.name.as_bytes();
            if let Some(known) = find_name(self.txn, self.tables, self.checker, &brick.name)? {
                ordinals.push(known);
                fresh.push(false);
                continue;
            }
            if next >= ORDINALS {
                return Err(Fault::Corrupt("all ordinals used up"));
            }
            let key = entry::brick_key(BrickRef(next));
            let mut record = brick.record.clone();
            self.checker.seal(Kind::Brick, &key, &mut record);
            self.tables.bricks.put(self.txn, &key, &record)?;
            let value = self.checker.seal_u32(Kind::Name, name, next);
            self.tables.names.put(self.txn, name, &value)?;
            ordinals.push(BrickRef(next));
            fresh.push(true);
            next += 1;
        }
        let value = self.checker.seal_u32(Kind::Meta, NEXT, next);
        Ok(self.tables.meta.put(self.txn, NEXT, &value)?)
    }

    fn chunks(
        &mut self,
        chunks: &[(ChunkId, Entry)],
        ordinals: &[BrickRef],
        fresh: &[bool],
    ) -> Step<()> {
        // Ordinals ascend as the bricks do: the entries stay sorted.
        let entries = chunks.iter().filter_map(|(id, pending)| {
            let place = pending.brick.0 as usize;
            let (&brick, true) = (ordinals.get(place)?, *fresh.get(place)?) else {
                return None;
            };
            Some((id, Entry { brick, ..*pending }))
        });
        match entries.clone().count() {
            0 => Ok(()),
            count => {
                RunWriter::write_all(self.txn, self.tables, self.checker, count as u64, entries)
            }
        }
    }
}

/// The next ordinal that nobody has used.
pub(super) fn next_ordinal(txn: &heed::RoTxn, tables: &Tables, checker: Checker) -> Step<u32> {
    match tables.meta.get(txn, NEXT)? {
        None => Ok(0),
        Some(sealed) => checker
            .open_u32(Kind::Meta, NEXT, sealed)
            .ok_or(Fault::Corrupt("the next ordinal does not verify")),
    }
}

/// The ordinal of a brick.
pub(super) fn find_name(
    txn: &heed::RoTxn,
    tables: &Tables,
    checker: Checker,
    name: &BrickName,
) -> Step<Option<BrickRef>> {
    let key = name.as_bytes();
    match tables.names.get(txn, key)? {
        None => Ok(None),
        Some(sealed) => checker
            .open_u32(Kind::Name, key, sealed)
            .map(|ordinal| Some(BrickRef(ordinal)))
            .ok_or(Fault::Corrupt("an ordinal does not verify")),
    }
}

/// A count as a `u32`: TOCs hold fewer than 2^32 of anything.
fn count(count: usize) -> Step<u32> {
    u32::try_from(count).map_err(|_| Fault::Corrupt("more than 2^32 entries"))
}
