//! What stands in the catalog's tables, to and from bytes.
//!
//! Every value ends with a check over its table, its key, itself, the store's
//! id and a number drawn when the catalog was made, so that a flipped bit in the
//! cache, the catalog of another store, or a page of one that was deleted, never
//! becomes a reference. The check finds accidents: whoever can write to the
//! catalog can also write to the store.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::fault::{Fault, Step};
use super::{BrickInfo, BrickRef, FrameInfo};
use crate::brick::{SIDECAR_SEAL_LENGTH, SidecarSeal};
use crate::id::{BrickName, ChunkId, StoreId};

/// Grows whenever tables or values change their form; a catalog of another version is made anew.
pub(super) const VERSION: u32 = 3;

/// Key in the table `meta`: version, store, and what was drawn for this catalog.
pub(super) const IDENTITY: &[u8] = b"identity";
/// Key in the table `meta`: the next ordinal. An ordinal is never used twice.
pub(super) const NEXT: &[u8] = b"next";
/// Key in `meta` of the number of bricks without sidecars that was reported last.
pub(super) const VANISHED: &[u8] = b"vanished";
/// Key in the table `meta`: the runs.
pub(super) const RUNS: &[u8] = b"runs";

/// Ordinals are below this.
pub(super) const ORDINALS: u32 = 1 << 31;

const CHECK: usize = 4;
/// Length of a chunk's entry in bytes: id, brick, frame, place, length, check.
/// 120 of them fill a page of 4,096 bytes to the last one.
pub(super) const ENTRY: usize = ChunkId::SIZE + 4 + 2 + 4 + 4 + CHECK;
/// Length of a brick's record up to its frames.
const BRICK: usize = BrickName::SIZE + SIDECAR_SEAL_LENGTH + 8 + 4 + 4 + 8;
/// Length of a frame in a brick's record.
const FRAME: usize = 16;

/// The table to which a value belongs, for its check.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Table `meta`.
    Meta = 1,
    /// Table `names`.
    Name = 2,
    /// Table `bricks`.
    Brick = 3,
    /// Table `chunks`.
    Chunk = 4,
}

/// Makes the checks of one store's catalog.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checker {
    seed: u64,
    /// That of entries, which have no key.
    entries: u64,
}

impl Checker {
    /// Checks [`IDENTITY`], from which follows what checks all else.
    pub fn of_store(store: &StoreId) -> Self {
        Self::seeded(xxh3_64_with_seed(store.as_bytes(), u64::from(VERSION)))
    }

    /// Checks the values of one catalog of the store.
    pub fn of_catalog(self, drawn: Drawn) -> Self {
        Self::seeded(xxh3_64_with_seed(&drawn, self.seed))
    }

    fn seeded(seed: u64) -> Self {
        let entries = xxh3_64_with_seed(&[], seed ^ Kind::Chunk as u64);
        Self { seed, entries }
    }

    fn check(self, kind: Kind, key: &[u8], value: &[u8]) -> [u8; CHECK] {
        shorten(value, xxh3_64_with_seed(key, self.seed ^ kind as u64))
    }

    /// Appends the check to a value.
    pub fn seal(self, kind: Kind, key: &[u8], value: &mut Vec<u8>) {
        let check = self.check(kind, key, value);
        value.extend_from_slice(&check);
    }

    /// The value without its check, if that is right.
    pub fn open<'a>(self, kind: Kind, key: &[u8], sealed: &'a [u8]) -> Option<&'a [u8]> {
        let (value, check) = sealed.split_last_chunk::<CHECK>()?;
        (*check == self.check(kind, key, value)).then_some(value)
    }

    /// A `u32` as a value.
    pub fn seal_u32(self, kind: Kind, key: &[u8], number: u32) -> [u8; 8] {
        let value = number.to_le_bytes();
        join(value, self.check(kind, key, &value))
    }

    /// The `u32` in a value.
    pub fn open_u32(self, kind: Kind, key: &[u8], sealed: &[u8]) -> Option<u32> {
        let value = self.open(kind, key, sealed)?;
        value.try_into().ok().map(u32::from_le_bytes)
    }

    /// A chunk's entry. Entries sort as their bytes do: by id, then by brick.
    pub fn seal_entry(self, id: &ChunkId, entry: &Entry) -> Step<[u8; ENTRY]> {
        let frame = u16::try_from(entry.frame).map_err(|_| Fault::Corrupt("a frame's number"))?;
        let mut sealed = [0; ENTRY];
        let fields = [
            &id.as_bytes()[..],
            &entry.brick.0.to_be_bytes(),
            &frame.to_be_bytes(),
            &entry.place.to_be_bytes(),
            &entry.length.to_be_bytes(),
        ];
        for (to, from) in sealed.iter_mut().zip(fields.into_iter().flatten()) {
            *to = *from;
        }
        if let Some((value, check)) = sealed.split_last_chunk_mut::<CHECK>() {
            *check = shorten(value, self.entries);
        }
        Ok(sealed)
    }

    /// The location in a chunk's entry.
    pub fn open_entry(self, sealed: &[u8; ENTRY]) -> Option<Entry> {
        let (value, check) = sealed.split_last_chunk::<CHECK>()?;
        if *check != shorten(value, self.entries) {
            return None;
        }
        let mut reader = Reader(value);
        reader.array::<{ ChunkId::SIZE }>()?;
        Some(Entry {
            brick: BrickRef(u32::from_be_bytes(reader.array()?)),
            frame: u16::from_be_bytes(reader.array()?).into(),
            place: u32::from_be_bytes(reader.array()?),
            length: u32::from_be_bytes(reader.array()?),
        })
    }
}

fn shorten(value: &[u8], seed: u64) -> [u8; CHECK] {
    let [a, b, c, d, ..] = xxh3_64_with_seed(value, seed).to_le_bytes();
    [a, b, c, d]
}

fn join<const A: usize, const B: usize>(value: [u8; A], check: [u8; CHECK]) -> [u8; B] {
    let mut joined = [0; B];
    for (to, from) in joined.iter_mut().zip(value.iter().chain(&check)) {
        *to = *from;
    }
    joined
}

/// Where a chunk lies, according to the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub brick: BrickRef,
    pub frame: u32,
    pub place: u32,
    pub length: u32,
}

/// What is drawn at random when a catalog is made. Ordinals mean something within
/// one catalog only, and a damaged disk may bring back a page of an earlier one.
pub(super) type Drawn = [u8; 16];

/// The value of [`IDENTITY`].
pub(super) fn identity(store: &StoreId, drawn: Drawn) -> Vec<u8> {
    let mut value = VERSION.to_le_bytes().to_vec();
    value.extend_from_slice(store.as_bytes());
    value.extend_from_slice(&drawn);
    value
}

/// What was drawn, if a value of [`IDENTITY`] is of this version and store.
pub(super) fn drawn(store: &StoreId, identity: &[u8]) -> Option<Drawn> {
    let rest = identity.strip_prefix(&VERSION.to_le_bytes())?;
    rest.strip_prefix(store.as_bytes())?.try_into().ok()
}

/// The key of a brick in the table `bricks`.
pub(super) const fn brick_key(brick: BrickRef) -> [u8; 4] {
    brick.0.to_be_bytes()
}

/// What the catalog knows of a brick.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    pub name: BrickName,
    /// That of the sidecar from which it and the brick's entries were made.
    pub seal: SidecarSeal,
    /// Length of the brick in bytes.
    pub length: u64,
    pub frame_count: u32,
    pub chunk_count: u32,
    /// Bytes of all its chunks together.
    pub chunk_bytes: u64,
    frames: &'a [u8],
}

impl<'a> Record<'a> {
    /// Appends a record without its check; [`Record::encode_frame`] follows for each frame.
    pub fn encode(
        info: &BrickInfo,
        seal: &SidecarSeal,
        chunk_count: u32,
        chunk_bytes: u64,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(info.name.as_bytes());
        out.extend_from_slice(&seal.0);
        out.extend_from_slice(&info.length.to_le_bytes());
        out.extend_from_slice(&info.frame_count.to_le_bytes());
        out.extend_from_slice(&chunk_count.to_le_bytes());
        out.extend_from_slice(&chunk_bytes.to_le_bytes());
    }

    /// Appends a frame to a record.
    pub fn encode_frame(frame: &FrameInfo, out: &mut Vec<u8>) {
        out.extend_from_slice(&frame.offset.to_le_bytes());
        out.extend_from_slice(&frame.length.to_le_bytes());
        out.extend_from_slice(&frame.plain_length.to_le_bytes());
    }

    /// Reads the record of a brick.
    pub fn decode(checker: Checker, brick: BrickRef, sealed: &'a [u8]) -> Step<Self> {
        checker
            .open(Kind::Brick, &brick_key(brick), sealed)
            .and_then(Self::parse)
            .ok_or(Fault::Corrupt("a brick's record does not verify"))
    }

    fn parse(value: &'a [u8]) -> Option<Self> {
        let (fixed, frames) = value.split_at_checked(BRICK)?;
        let (name, rest) = fixed.split_first_chunk()?;
        let (seal, rest) = rest.split_first_chunk()?;
        let mut reader = Reader(rest);
        let record = Self {
            name: BrickName(*name),
            seal: SidecarSeal(*seal),
            length: reader.u64()?,
            frame_count: reader.u32()?,
            chunk_count: reader.u32()?,
            chunk_bytes: reader.u64()?,
            frames,
        };
        let count = usize::try_from(record.frame_count).ok()?;
        (count.checked_mul(FRAME)? == frames.len()).then_some(record)
    }

    /// The brick.
    pub fn info(&self) -> BrickInfo {
        BrickInfo {
            name: self.name,
            length: self.length,
            frame_count: self.frame_count,
        }
    }

    /// The frames.
    pub fn frames(&self) -> impl ExactSizeIterator<Item = FrameInfo> + 'a {
        self.frames.chunks_exact(FRAME).map(|frame| {
            let mut reader = Reader(frame);
            FrameInfo {
                offset: reader.u64().unwrap_or_default(),
                length: reader.u32().unwrap_or_default(),
                plain_length: reader.u32().unwrap_or_default(),
            }
        })
    }
}

/// Little-endian integers, front to back.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: StoreId = StoreId([1; 16]);
    const ID: ChunkId = ChunkId([2; 16]);
    const LOCATED: Entry = Entry {
        brick: BrickRef(3),
        frame: 65_535,
        place: 5,
        length: 1 << 20,
    };

    #[test]
    fn an_entry_goes_both_ways() {
        let checker = Checker::of_store(&STORE);
        let sealed = checker.seal_entry(&ID, &LOCATED).unwrap();
        assert_eq!(sealed[..16], ID.0);
        assert_eq!(checker.open_entry(&sealed), Some(LOCATED));
        let frame = 65_536;
        assert!(
            checker
                .seal_entry(&ID, &Entry { frame, ..LOCATED })
                .is_err()
        );
    }

    #[test]
    fn any_flipped_bit_is_found() {
        let checker = Checker::of_store(&STORE);
        let sealed = checker.seal_entry(&ID, &LOCATED).unwrap();
        for bit in 0..8 * super::ENTRY {
            let mut flipped = sealed;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(checker.open_entry(&flipped), None, "bit {bit}");
        }
        let other = Checker::of_store(&StoreId([9; 16]));
        assert_eq!(other.open_entry(&sealed), None);
    }

    #[test]
    fn what_another_catalog_of_the_store_said_does_not_verify() {
        let of = |drawn| Checker::of_store(&STORE).of_catalog([drawn; 16]);
        let (one, other) = (of(1), of(2));
        let sealed = one.seal_entry(&ID, &LOCATED).unwrap();
        assert_eq!(one.open_entry(&sealed), Some(LOCATED));
        assert_eq!(other.open_entry(&sealed), None);
        let sealed = one.seal_u32(Kind::Name, b"key", 7);
        assert_eq!(one.open_u32(Kind::Name, b"key", &sealed), Some(7));
        assert_eq!(other.open_u32(Kind::Name, b"key", &sealed), None);
    }

    #[test]
    fn an_identity_tells_version_store_and_what_was_drawn() {
        let good = identity(&STORE, [7; 16]);
        assert_eq!(drawn(&STORE, &good), Some([7; 16]));
        assert_eq!(drawn(&StoreId([9; 16]), &good), None);
        assert_eq!(drawn(&STORE, &good[..20]), None);
        let mut newer = good;
        newer[0] += 1;
        assert_eq!(drawn(&STORE, &newer), None);
    }

    #[test]
    fn entries_sort_by_id_then_by_brick() {
        let checker = Checker::of_store(&STORE);
        let seal = |id: u8, brick| {
            let brick = BrickRef(brick);
            let entry = Entry { brick, ..LOCATED };
            checker.seal_entry(&ChunkId([id; 16]), &entry).unwrap()
        };
        let sorted = [seal(1, 300), seal(2, 2), seal(2, 256), seal(2, 1 << 24)];
        assert!(sorted.is_sorted());
    }

    #[test]
    fn a_value_of_another_table_does_not_verify() {
        let checker = Checker::of_store(&STORE);
        let sealed = checker.seal_u32(Kind::Name, b"key", 7);
        assert_eq!(checker.open_u32(Kind::Name, b"key", &sealed), Some(7));
        assert_eq!(checker.open_u32(Kind::Meta, b"key", &sealed), None);
        assert_eq!(checker.open_u32(Kind::Name, b"kez", &sealed), None);
    }

    #[test]
    fn a_record_goes_both_ways_and_no_shorter() {
        let checker = Checker::of_store(&STORE);
        let info = BrickInfo {
            name: BrickName([4; 32]),
            length: 1 << 40,
            frame_count: 2,
        };
        let frames = [
            FrameInfo {
                offset: 80,
                length: 1000,
                plain_length: 3000,
            },
            FrameInfo {
                offset: 1080,
                length: 2000,
                plain_length: 4000,
            },
        ];
        let mut value = Vec::new();
        Record::encode(&info, &SidecarSeal([5; 32]), 9, 6990, &mut value);
        for frame in &frames {
            Record::encode_frame(frame, &mut value);
        }
        checker.seal(Kind::Brick, &brick_key(BrickRef(3)), &mut value);
        let record = Record::decode(checker, BrickRef(3), &value).unwrap();
        assert_eq!((record.info(), record.seal), (info, SidecarSeal([5; 32])));
        assert_eq!(record.frames().collect::<Vec<_>>(), frames);
        assert!(Record::decode(checker, BrickRef(4), &value).is_err());
        for length in 0..value.len() {
            assert!(Record::decode(checker, BrickRef(3), &value[..length]).is_err());
        }
    }
}
