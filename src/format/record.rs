//! Body records and their items (`formats/index.md`, "Body record" and "Items").

use std::ops::RangeInclusive;

use super::wire::{DecodeResult, Decoder, PREFIX_LENGTH, put_prefix, put_uv};
use crate::id::ChunkHash;

/// Magic of a body record.
pub const MAGIC: &[u8; 8] = b"dtarBODY";
/// The longest record.
pub const MAX_LENGTH: usize = 1 << 20;
/// How much of a record must be at hand to learn its length.
pub const HEAD_LENGTH: usize = PREFIX_LENGTH + 4;
/// Levels of chunks: those of bodies have level 0, lists 1 to 7.
pub const LEVELS: usize = 8;
/// Furthest reach of a patch back from the end of its run.
pub const MAX_PATCH_DISTANCE: u64 = 32 << 20;

const STRUCTURE: &str = "body record";
const MAX_ITEMS: u64 = 65_536;
const CHUNK_LENGTHS: RangeInclusive<u64> = 1..=1 << 20;
const TAG_PATCHES: u8 = 128;
const TAG_PADDING: u8 = 129;
const TAG_DECLARED: u8 = 130;

/// What kind of body a record stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Kind {
    /// The body of a member.
    #[default]
    Member = 0,
    /// Bytes that do not parse as tar.
    Opaque = 1,
    /// What stood behind the last whole segment.
    Tail = 2,
}

/// How many chunks of each level stand below a list, level 0 first.
pub type Counts = [u64; LEVELS];

/// One piece of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// The body is one chunk, whose hash is the body's.
    Whole,
    /// A chunk.
    Chunk {
        /// Its length in bytes.
        length: u32,
        /// BLAKE3-256 of its bytes.
        hash: ChunkHash,
    },
    /// A chunk that holds items in its turn.
    List(List),
    /// Zero bytes, which are not stored.
    Zeros {
        /// How many.
        length: u64,
    },
}

/// An item that stands for a list of items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct List {
    /// 1 for a list of chunks, one more than the highest level in it otherwise.
    pub level: u8,
    /// Length of the list itself in bytes.
    pub length: u32,
    /// BLAKE3-256 of the list itself.
    pub hash: ChunkHash,
    /// Bytes of the body that it covers.
    pub covers: u64,
    /// Chunks below it; zero from `level` on.
    pub counts: Counts,
}

impl Item {
    /// Bytes of the body that it covers; `body_length` is that of the whole body.
    #[must_use]
    pub const fn covers(&self, body_length: u64) -> u64 {
        match self {
            Self::Whole => body_length,
            Self::Chunk { length, .. } => *length as u64,
            Self::List(list) => list.covers,
            Self::Zeros { length } => *length,
        }
    }

    /// Whether it is a chunk or a list: something that has a hash of its own.
    #[must_use]
    pub const fn is_stored(&self) -> bool {
        matches!(self, Self::Chunk { .. } | Self::List(_))
    }

    /// Appends the item.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Whole => out.push(0),
            Self::Chunk { length, hash } => {
                out.push(1);
                put_uv(out, u64::from(*length));
                out.extend_from_slice(hash.as_bytes());
            }
            Self::List(list) => {
                out.push(2);
                out.push(list.level);
                put_uv(out, u64::from(list.length));
                out.extend_from_slice(list.hash.as_bytes());
                put_uv(out, list.covers);
                for &count in &list.counts[..usize::from(list.level)] {
                    put_uv(out, count);
                }
            }
            Self::Zeros { length } => {
                out.push(3);
                put_uv(out, *length);
            }
        }
    }

    fn decode(decoder: &mut Decoder<'_>) -> DecodeResult<Self> {
        let start = decoder.clone();
        Ok(match decoder.u8("item kind")? {
            0 => Self::Whole,
            1 => Self::Chunk {
                length: small(decoder.uv_in("chunk length", CHUNK_LENGTHS)?),
                hash: ChunkHash(decoder.array("chunk hash")?),
            },
            2 => {
                let level = decoder.u8("list level")?;
                if !(1..LEVELS).contains(&usize::from(level)) {
                    return Err(start.error("list level", "1 to 7", level));
                }
                let length = small(decoder.uv_in("list length", CHUNK_LENGTHS)?);
                let hash = ChunkHash(decoder.array("list hash")?);
                let covers = decoder.uv_in("bytes covered by the list", 1..=u64::MAX)?;
                let mut counts = Counts::default();
                for count in &mut counts[..usize::from(level)] {
                    *count = decoder.uv("chunks below the list")?;
                }
                Self::List(List {
                    level,
                    length,
                    hash,
                    covers,
                    counts,
                })
            }
            3 => Self::Zeros {
                length: decoder.uv_in("length of the zero run", 1..=u64::MAX)?,
            },
            other => return Err(start.error("item kind", "0 to 3", other)),
        })
    }
}

/// A value that a range check has bounded to 32 bits.
fn small(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Bytes of the stream's header that the index had to overwrite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// Where they begin, counted back from the end of the verbatim run.
    pub distance: u64,
    /// The stream's bytes.
    pub bytes: Vec<u8>,
}

/// What stands in an index for one body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What kind of body.
    pub kind: Kind,
    /// How the stream's size field was written; 0: look at the patches.
    pub size_form: u8,
    /// How the stream's checksum field was written; 0: look at the patches.
    pub checksum_form: u8,
    /// Bytes of the body that were in the stream.
    pub body_length: u64,
    /// BLAKE3-256 of these bytes.
    pub body_hash: ChunkHash,
    /// What the body consists of.
    pub items: Vec<Item>,
    /// Corrections to the verbatim run before the record.
    pub patches: Vec<Patch>,
    /// The bytes after the body, where they are not the usual zeros.
    pub padding: Option<Vec<u8>>,
    /// The length that the header declares, where the stream ended before it.
    pub declared: Option<u64>,
}

impl Record {
    /// A record of a body without bytes, which yields nothing.
    #[must_use]
    pub fn empty(kind: Kind) -> Self {
        Self {
            kind,
            size_form: 0,
            checksum_form: 0,
            body_length: 0,
            body_hash: ChunkHash(*blake3::hash(&[]).as_bytes()),
            items: Vec::new(),
            patches: Vec::new(),
            padding: None,
            declared: None,
        }
    }

    /// What follows the body in the stream.
    #[must_use]
    pub fn padding(&self) -> &[u8] {
        const ZEROS: [u8; 512] = [0; 512];
        match &self.padding {
            Some(padding) => padding,
            None if self.kind != Kind::Member || self.declared.is_some() => &[],
            None => &ZEROS[..(self.body_length.wrapping_neg() % 512) as usize],
        }
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        put_prefix(out, MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&[self.kind as u8, self.size_form, self.checksum_form, 0]);
        put_uv(out, self.body_length);
        out.extend_from_slice(self.body_hash.as_bytes());
        put_uv(out, self.items.len() as u64);
        for item in &self.items {
            item.encode(out);
        }
        if !self.patches.is_empty() {
            let mut value = Vec::new();
            for patch in &self.patches {
                put_uv(&mut value, patch.distance);
                put_uv(&mut value, patch.bytes.len() as u64);
                value.extend_from_slice(&patch.bytes);
            }
            put_field(out, TAG_PATCHES, &value);
        }
        if let Some(padding) = &self.padding {
            put_field(out, TAG_PADDING, padding);
        }
        if let Some(declared) = self.declared {
            let mut value = Vec::new();
            put_uv(&mut value, declared);
            put_field(out, TAG_DECLARED, &value);
        }
        let length = small((out.len() - start) as u64).to_le_bytes();
        out[start + PREFIX_LENGTH..][..4].copy_from_slice(&length);
    }

    /// The length of the record that begins with `head`, at least [`HEAD_LENGTH`] bytes.
    ///
    /// # Errors
    /// No record of a known version; a length beyond the limit.
    pub fn peek_length(head: &[u8]) -> DecodeResult<usize> {
        let mut decoder = Decoder::new(STRUCTURE, head);
        decoder.prefix(MAGIC)?;
        let least = HEAD_LENGTH as u64 + 4 + 1 + 32 + 1;
        Ok(decoder.u32_in("record length", least..=MAX_LENGTH as u64)? as usize)
    }

    /// The record that is all of `bytes`.
    ///
    /// # Errors
    /// Whatever breaks a MUST of the page.
    pub fn decode(bytes: &[u8]) -> DecodeResult<Self> {
        let length = Self::peek_length(bytes)?;
        let mut decoder = Decoder::new(STRUCTURE, bytes);
        decoder.prefix(MAGIC)?;
        if length != bytes.len() {
            return Err(decoder.error("record length", bytes.len(), length));
        }
        decoder.u32("record length")?;
        let kind = match decoder.u8("kind")? {
            0 => Kind::Member,
            1 => Kind::Opaque,
            2 => Kind::Tail,
            other => return Err(decoder.error("kind", "0 to 2", other)),
        };
        let size_form = decoder.u8("size form")?;
        let checksum_form = decoder.u8("checksum form")?;
        if size_form > 3 {
            return Err(decoder.error("size form", "0 to 3", size_form));
        }
        if checksum_form > 4 {
            return Err(decoder.error("checksum form", "0 to 4", checksum_form));
        }
        decoder.u8("reserved")?;
        let body_length = decoder.uv("body length")?;
        let body_hash = ChunkHash(decoder.array("body hash")?);
        let items = decode_items(&mut decoder)?;
        let mut record = Self {
            kind,
            size_form,
            checksum_form,
            body_length,
            body_hash,
            items,
            patches: Vec::new(),
            padding: None,
            declared: None,
        };
        record.decode_fields(&mut decoder)?;
        check_items(&decoder, &record.items, body_length, None)?;
        Ok(record)
    }

    fn decode_fields(&mut self, decoder: &mut Decoder<'_>) -> DecodeResult<()> {
        decoder.fields(|tag, mut value| {
            match tag {
                TAG_PATCHES => self.patches = decode_patches(&mut value)?,
                TAG_PADDING => {
                    let bytes = value.rest();
                    if bytes.len() > 511 {
                        return Err(value.error("padding", "at most 511 bytes", bytes.len()));
                    }
                    self.padding = Some(bytes.to_vec());
                }
                TAG_DECLARED => {
                    let least = self.body_length.saturating_add(1);
                    self.declared = Some(value.uv_in("declared length", least..=u64::MAX)?);
                    if !value.is_empty() {
                        return Err(value.error("declared length", "one number", "more"));
                    }
                }
                _ => return Ok(false),
            }
            Ok(true)
        })
    }
}

/// A number of items, and the items.
fn decode_items(decoder: &mut Decoder<'_>) -> DecodeResult<Vec<Item>> {
    let count = decoder.uv_in("number of items", 0..=MAX_ITEMS)?;
    // No reservation by `count`: each item that is really there costs bytes.
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(Item::decode(decoder)?);
    }
    Ok(items)
}

/// The items of a stream of a snapshot: chunks and lists that cover `length` bytes
/// (`formats/snapshot.md#snapshot-file`).
///
/// # Errors
/// Items of other kinds, or that cover other bytes.
pub fn decode_stream(decoder: &mut Decoder<'_>, length: u64) -> DecodeResult<Vec<Item>> {
    let items = decode_items(decoder)?;
    if items.iter().any(|item| !item.is_stored()) {
        return Err(decoder.error("items", "chunks and lists", "others"));
    }
    check_items(decoder, &items, length, None)?;
    Ok(items)
}

fn put_field(out: &mut Vec<u8>, tag: u8, value: &[u8]) {
    out.push(tag);
    put_uv(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn decode_patches(value: &mut Decoder<'_>) -> DecodeResult<Vec<Patch>> {
    let mut patches: Vec<Patch> = Vec::new();
    // Patches stand in the order of the bytes that they replace, so that none
    // overlaps another: each begins where the one before ends, or later.
    let mut limit = MAX_PATCH_DISTANCE;
    while !value.is_empty() {
        let distance = value.uv_in("patch distance", 1..=limit)?;
        let length = value.uv_in("patch length", 1..=distance)?;
        let bytes = value.bytes("patch", usize::try_from(length).unwrap_or(usize::MAX))?;
        patches.push(Patch {
            distance,
            bytes: bytes.to_vec(),
        });
        limit = distance - length;
    }
    Ok(patches)
}

/// Puts the copy of `list`, as it is stored beside it, into `copy`; or the list
/// back from its copy (`formats/index.md#copies`).
pub fn copy_of_list(list: &[u8], copy: &mut Vec<u8>) {
    copy.clear();
    copy.extend(list.iter().map(|byte| !byte));
}

/// The items of the list `bytes`, which `list` describes.
///
/// # Errors
/// Items that are no list's, that leave bytes over, or that cover other bytes
/// or chunks than `list` states.
pub fn decode_list(bytes: &[u8], list: &List) -> DecodeResult<Vec<Item>> {
    let mut decoder = Decoder::new("chunk list", bytes);
    let mut items = Vec::new();
    while !decoder.is_empty() {
        if items.len() as u64 == MAX_ITEMS {
            return Err(decoder.error("items", format_args!("at most {MAX_ITEMS}"), "more"));
        }
        items.push(Item::decode(&mut decoder)?);
    }
    check_items(&decoder, &items, list.covers, Some(list))?;
    Ok(items)
}

/// Whether a chunk looks like a list: items that a list may hold, up to its last byte.
/// What is in a file may look so by chance, or because somebody wanted it to.
#[must_use]
pub fn is_list(chunk: &[u8]) -> bool {
    let mut decoder = Decoder::new("chunk list", chunk);
    let mut count = 0;
    while !decoder.is_empty() {
        match Item::decode(&mut decoder) {
            Ok(Item::Whole) | Err(_) => return false,
            Ok(_) if count == MAX_ITEMS => return false,
            Ok(_) => count += 1,
        }
    }
    count > 0
}

/// Checks that `items` cover `length` bytes and fit the list that they stand in.
fn check_items(
    decoder: &Decoder<'_>,
    items: &[Item],
    length: u64,
    parent: Option<&List>,
) -> DecodeResult<()> {
    let mut covered: u64 = 0;
    let mut counts = Counts::default();
    let mut highest = 0;
    for item in items {
        if *item == Item::Whole && (parent.is_some() || items.len() > 1) {
            return Err(decoder.error("items", "\"whole\" as the only item", "more items"));
        }
        if *item == Item::Whole && !CHUNK_LENGTHS.contains(&length) {
            return Err(decoder.error("body length", "1 to 1048576 for one chunk", length));
        }
        covered = covered
            .checked_add(item.covers(length))
            .ok_or_else(|| decoder.error("items", "a sum below 2^64", "a greater one"))?;
        if let Item::List(list) = item {
            highest = highest.max(list.level);
        }
        add_counts(&mut counts, item)
            .ok_or_else(|| decoder.error("items", "counts below 2^64", "greater ones"))?;
    }
    if covered != length {
        return Err(decoder.error(
            "items",
            format_args!("{length} bytes in all"),
            format_args!("{covered}"),
        ));
    }
    if let Some(list) = parent {
        if highest + 1 != list.level {
            return Err(decoder.error("list level", list.level, highest + 1));
        }
        if counts != list.counts {
            return Err(decoder.error(
                "chunks below the list",
                format_args!("{:?}", list.counts),
                format_args!("{counts:?}"),
            ));
        }
    }
    Ok(())
}

/// Adds the chunks that `item` stands for; `None` if a count overflows.
#[must_use]
pub fn add_counts(counts: &mut Counts, item: &Item) -> Option<()> {
    match item {
        Item::Whole | Item::Chunk { .. } => counts[0] = counts[0].checked_add(1)?,
        Item::Zeros { .. } => {}
        Item::List(list) => {
            for (sum, count) in counts.iter_mut().zip(list.counts) {
                *sum = sum.checked_add(count)?;
            }
            // The list is itself a chunk of its level.
            let own = counts.get_mut(usize::from(list.level))?;
            *own = own.checked_add(1)?;
        }
    }
    Some(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hash() -> impl Strategy<Value = ChunkHash> {
        any::<[u8; 32]>().prop_map(ChunkHash)
    }

    fn item() -> impl Strategy<Value = Item> {
        prop_oneof![
            (1_u32..=1 << 20, hash()).prop_map(|(length, hash)| Item::Chunk { length, hash }),
            (1_u64..1 << 40).prop_map(|length| Item::Zeros { length }),
            (
                1_u8..=7,
                1_u32..=1 << 20,
                hash(),
                1_u64..1 << 40,
                any::<[u32; 8]>()
            )
                .prop_map(|(level, length, hash, covers, raw)| {
                    let mut counts = Counts::default();
                    for (count, raw) in counts.iter_mut().zip(raw).take(level.into()) {
                        *count = raw.into();
                    }
                    Item::List(List {
                        level,
                        length,
                        hash,
                        covers,
                        counts,
                    })
                }),
        ]
    }

    prop_compose! {
        pub(crate) fn record()(
            kind in prop_oneof![Just(Kind::Member), Just(Kind::Opaque), Just(Kind::Tail)],
            size_form in 0_u8..=3,
            checksum_form in 0_u8..=4,
            body_hash in hash(),
            items in proptest::collection::vec(item(), 0..20),
            raw_patches in proptest::collection::vec((0_u64..100, proptest::collection::vec(any::<u8>(), 1..9)), 0..4),
            padding in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..512)),
            truncated in proptest::option::of(1_u64..1 << 30),
        ) -> Record {
            let body_length = items.iter().map(|item| item.covers(0)).sum();
            let mut distance = 0;
            let mut patches: Vec<_> = raw_patches.into_iter().map(|(gap, bytes)| {
                distance += gap + bytes.len() as u64;
                Patch { distance, bytes }
            }).collect();
            patches.reverse();
            Record {
                kind, size_form, checksum_form, body_length, body_hash, items, patches, padding,
                declared: truncated.map(|more| body_length + more),
            }
        }
    }

    fn whole(length: u64) -> Record {
        Record {
            kind: Kind::Member,
            size_form: 1,
            checksum_form: 1,
            body_length: length,
            body_hash: ChunkHash([7; 32]),
            items: vec![Item::Whole],
            patches: Vec::new(),
            padding: None,
            declared: None,
        }
    }

    #[test]
    fn a_record_of_one_chunk_is_short() {
        let mut bytes = Vec::new();
        whole(1000).encode(&mut bytes);
        assert_eq!(bytes.len(), 60);
    }

    #[test]
    fn whole_stands_alone_and_has_a_chunks_length() {
        for bad in [
            Record {
                items: vec![Item::Whole; 2],
                ..whole(10)
            },
            whole(0),
            whole((1 << 20) + 1),
        ] {
            let mut bytes = Vec::new();
            bad.encode(&mut bytes);
            assert!(Record::decode(&bytes).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn patches_must_not_overlap() {
        let patch = |distance, length| Patch {
            distance,
            bytes: vec![0; length],
        };
        for (patches, good) in [
            (vec![patch(10, 5), patch(5, 5)], true),
            (vec![patch(10, 6), patch(5, 5)], false),
            (vec![patch(5, 5), patch(10, 5)], false),
            (vec![patch(5, 6)], false),
        ] {
            let mut bytes = Vec::new();
            Record {
                patches: patches.clone(),
                ..whole(10)
            }
            .encode(&mut bytes);
            assert_eq!(Record::decode(&bytes).is_ok(), good, "{patches:?}");
        }
    }

    #[test]
    fn padding_defaults_to_zeros_up_to_the_next_block() {
        assert_eq!(whole(1000).padding().len(), 24);
        assert_eq!(whole(512).padding().len(), 0);
        let cut = Record {
            declared: Some(2000),
            ..whole(1000)
        };
        assert_eq!(cut.padding().len(), 0);
        let odd = Record {
            padding: Some(vec![1, 2]),
            ..whole(1000)
        };
        assert_eq!(odd.padding(), [1, 2]);
    }

    #[test]
    fn a_list_must_be_what_its_item_states() {
        let items = [
            Item::Chunk {
                length: 10,
                hash: ChunkHash([1; 32]),
            },
            Item::Zeros { length: 5 },
        ];
        let mut bytes = Vec::new();
        for item in &items {
            item.encode(&mut bytes);
        }
        let mut counts = Counts::default();
        counts[0] = 1;
        let list = List {
            level: 1,
            length: u32::try_from(bytes.len()).unwrap(),
            hash: ChunkHash([2; 32]),
            covers: 15,
            counts,
        };
        assert_eq!(decode_list(&bytes, &list).unwrap(), items);
        assert!(decode_list(&bytes, &List { covers: 16, ..list }).is_err());
        assert!(decode_list(&bytes, &List { level: 2, ..list }).is_err());
        counts[0] = 2;
        assert!(decode_list(&bytes, &List { counts, ..list }).is_err());
        bytes.push(0);
        assert!(decode_list(&bytes, &list).is_err());
    }

    proptest! {
        #[test]
        fn decode_inverts_encode(record in record()) {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            prop_assert_eq!(Record::peek_length(&bytes), Ok(bytes.len()));
            prop_assert_eq!(Record::decode(&bytes), Ok(record));
        }

        #[test]
        fn any_bytes_are_refused_or_decoded(bytes: Vec<u8>) {
            let _ = Record::decode(&bytes);
        }

        #[test]
        fn any_change_is_refused_or_decodes_to_another_record(
            record in record(), place: prop::sample::Index, change in 1_u8..,
        ) {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            let place = place.index(bytes.len());
            // Compatible-feature bits and reserved bytes are ignored.
            prop_assume!(!matches!(place, 10..=11 | 23));
            bytes[place] ^= change;
            prop_assert_ne!(Record::decode(&bytes), Ok(record));
        }
    }
}
