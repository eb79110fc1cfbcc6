//! The index trailer: sections, summary, map, brick table, hints and end
//! (`formats/index.md`, from "Trailer" on).

use std::ops::RangeInclusive;

use super::frame;
use super::wire::{
    DecodeError, DecodeResult, Decoder, Fault, PREFIX_LENGTH, check, put_check, put_prefix, put_uv,
};
use crate::id::{BrickName, Epoch, KeyId, StoreId};

/// Magic of the trailer.
pub const MAGIC: &[u8; 8] = b"dtarTRLR";
/// Magic of the end.
pub const END_MAGIC: &[u8; 8] = b"dtarIEND";
/// Magic of an opaque marker.
pub const OPAQUE_MAGIC: &[u8; 8] = b"dtarOPAQ";
/// Length of the end.
pub const END_LENGTH: usize = 64;
/// Length of the seal before the end.
pub const SEAL_LENGTH: usize = 32;
/// Length of what precedes the first section.
pub const HEAD_LENGTH: usize = PREFIX_LENGTH + 8;
/// Length of a section's head.
pub const SECTION_HEAD_LENGTH: usize = 16;
/// Most bytes of runs in a page of hints.
pub const PAGE_LENGTH: usize = 65_536;
/// Length of the head of a page of hints.
pub const PAGE_HEAD_LENGTH: usize = 16;

/// The opaque marker block.
#[must_use]
pub fn opaque_marker() -> [u8; 512] {
    let mut block = [0xff; 512];
    let mut prefix = Vec::with_capacity(PREFIX_LENGTH);
    put_prefix(&mut prefix, OPAQUE_MAGIC);
    block[..PREFIX_LENGTH].copy_from_slice(&prefix);
    block
}

/// The last 64 bytes of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Offset of the trailer in the index.
    pub trailer_offset: u64,
    /// Length of the trailer, seal included.
    pub trailer_length: u64,
    /// Length of the index.
    pub index_length: u64,
}

impl End {
    const STRUCTURE: &'static str = "index end";

    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(END_LENGTH);
        put_prefix(&mut out, END_MAGIC);
        for value in [
            self.trailer_offset,
            self.trailer_length,
            self.index_length,
            0,
        ] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        put_check(&mut out, 0);
        out
    }

    /// Whether `bytes`, the last 64 of a file, are meant as an end.
    #[must_use]
    pub fn is_present(bytes: &[u8]) -> bool {
        bytes.len() == END_LENGTH && bytes.starts_with(END_MAGIC)
    }

    /// The length of the index that `bytes`, the last 64 of a file, state.
    #[must_use]
    pub fn stated_length(bytes: &[u8]) -> Option<u64> {
        let length = bytes.get(PREFIX_LENGTH + 16..)?.first_chunk()?;
        Some(u64::from_le_bytes(*length))
    }

    /// The end of an index of `length` bytes.
    ///
    /// # Errors
    /// Damage; offsets and lengths that do not agree with each other or `length`.
    pub fn decode(bytes: &[u8], length: u64) -> DecodeResult<Self> {
        let mut decoder = Decoder::new(Self::STRUCTURE, bytes);
        decoder.prefix(END_MAGIC)?;
        let end = Self {
            trailer_offset: decoder.u64("trailer offset")?,
            trailer_length: decoder.u64("trailer length")?,
            index_length: decoder.u64("index length")?,
        };
        let reserved = decoder.u64("reserved")?;
        decoder.check(0)?;
        if reserved != 0 {
            return Err(decoder.error("reserved", 0, reserved));
        }
        if end.index_length != length || !length.is_multiple_of(512) {
            return Err(decoder.error("index length", length, end.index_length));
        }
        let least = (HEAD_LENGTH + SECTION_HEAD_LENGTH + SEAL_LENGTH) as u64;
        let sum = end
            .trailer_offset
            .checked_add(end.trailer_length)
            .and_then(|sum| sum.checked_add(END_LENGTH as u64));
        if sum != Some(length)
            || end.trailer_length < least
            || !end.trailer_offset.is_multiple_of(512)
        {
            return Err(decoder.error(
                "trailer offset and length",
                "those of a trailer before the end",
                format_args!("{} and {}", end.trailer_offset, end.trailer_length),
            ));
        }
        Ok(end)
    }
}

/// The kinds of section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SectionKind {
    /// Summary.
    Summary,
    /// Records that have no place in the members part.
    Records,
    /// What the members part consists of.
    Map,
    /// The bricks and frames that the stream needs.
    Bricks,
    /// Where the chunks of one level lie.
    Hints,
    /// Where the copies of the lists of one level lie.
    Copies,
    /// The end of the sections.
    Done,
}

impl SectionKind {
    const ALL: [(Self, [u8; 4]); 7] = [
        (Self::Summary, *b"SUMM"),
        (Self::Records, *b"RECS"),
        (Self::Map, *b"MAPS"),
        (Self::Bricks, *b"BRIK"),
        (Self::Hints, *b"HINT"),
        (Self::Copies, *b"COPY"),
        (Self::Done, *b"DONE"),
    ];

    /// Its magic.
    #[must_use]
    pub fn magic(self) -> [u8; 4] {
        Self::ALL
            .iter()
            .find(|(kind, _)| *kind == self)
            .map_or([0; 4], |(_, magic)| *magic)
    }

    /// The head of a section of `length` bytes; all but the places of copies are critical.
    #[must_use]
    pub fn head(self, length: u64) -> [u8; SECTION_HEAD_LENGTH] {
        let mut head = [0; SECTION_HEAD_LENGTH];
        head[..4].copy_from_slice(&self.magic());
        head[4] = u8::from(self != Self::Copies);
        head[8..].copy_from_slice(&length.to_le_bytes());
        head
    }

    /// Kind (`None`: unknown, to be skipped) and length from a section's head.
    ///
    /// # Errors
    /// An unknown critical section.
    pub fn decode(head: &[u8]) -> DecodeResult<(Option<Self>, u64)> {
        let mut decoder = Decoder::new("index section", head);
        let magic: [u8; 4] = decoder.array("magic")?;
        let flags = decoder.u32("flags")?;
        let length = decoder.u64("length")?;
        let kind = Self::ALL.iter().find(|(_, known)| *known == magic);
        if kind.is_none() && flags & 1 == 1 {
            return Err(DecodeError {
                structure: "index section",
                field: "magic",
                offset: 0,
                fault: Fault::CriticalField {
                    tag: format!("\"{}\"", magic.escape_ascii()),
                },
            });
        }
        Ok((kind.map(|(kind, _)| *kind), length))
    }
}

/// What stands before the first section of a trailer at `offset`.
#[must_use]
pub fn encode_head(offset: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_LENGTH);
    put_prefix(&mut out, MAGIC);
    out.extend_from_slice(&offset.to_le_bytes());
    out
}

/// Checks what stands before the first section.
///
/// # Errors
/// No trailer; a trailer of another place.
pub fn decode_head(bytes: &[u8], offset: u64) -> DecodeResult<()> {
    let mut decoder = Decoder::new("index trailer", bytes);
    decoder.prefix(MAGIC)?;
    let found = decoder.u64("own offset")?;
    if found != offset {
        return Err(decoder.error("own offset", offset, found));
    }
    Ok(())
}

/// Section `SUMM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// The store that holds the stream's chunks.
    pub store_id: StoreId,
    /// The store's own key.
    pub key_id: KeyId,
    /// The epoch of the keys in use.
    pub epoch: Epoch,
    /// Length of the stream in bytes.
    pub stream_length: u64,
    /// XXH3-128 of the stream.
    pub stream_xxh3: u128,
    /// Length of the members part.
    pub members_length: u64,
    /// Number of members with a record.
    pub member_count: u64,
}

impl Summary {
    /// The payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(self.store_id.as_bytes());
        out.extend_from_slice(self.key_id.as_bytes());
        out.extend_from_slice(&self.epoch.0.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.stream_length.to_le_bytes());
        out.extend_from_slice(&self.stream_xxh3.to_le_bytes());
        out.extend_from_slice(&self.members_length.to_le_bytes());
        out.extend_from_slice(&self.member_count.to_le_bytes());
        out
    }

    /// The summary in `payload`.
    ///
    /// # Errors
    /// A payload that is too short; epoch 0; an unknown critical field.
    pub fn decode(payload: &[u8]) -> DecodeResult<Self> {
        let mut decoder = Decoder::new("index summary", payload);
        let store_id = StoreId(decoder.array("store id")?);
        let key_id = KeyId(decoder.array("key id")?);
        let epoch = frame::epoch(&mut decoder)?;
        decoder.u32("reserved")?;
        let summary = Self {
            store_id,
            key_id,
            epoch,
            stream_length: decoder.u64("stream length")?,
            stream_xxh3: u128::from_le_bytes(decoder.array("stream checksum")?),
            members_length: decoder.u64("length of the members part")?,
            member_count: decoder.u64("number of members")?,
        };
        decoder.fields(|_, _| Ok(false))?;
        Ok(summary)
    }
}

/// What follows a verbatim run in the members part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A record in place.
    InPlace,
    /// The next record of `RECS`, nothing in the members part.
    Detached,
    /// An opaque marker and the next record of `RECS`.
    Opaque,
}

/// One step of the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Blocks of the verbatim run.
    pub blocks: u64,
    /// What follows.
    pub place: Place,
}

impl Step {
    /// Appends an entry: this step `repeat` times.
    pub fn encode(self, repeat: u64, out: &mut Vec<u8>) {
        let kind = match self.place {
            Place::InPlace => 0,
            Place::Detached => 1,
            Place::Opaque => 2,
        };
        put_uv(out, self.blocks << 2 | kind);
        put_uv(out, repeat);
    }

    /// The next entry: a step and how often it stands.
    ///
    /// # Errors
    /// An unknown kind; no repeat.
    pub fn decode(decoder: &mut Decoder<'_>) -> DecodeResult<(Self, u64)> {
        let value = decoder.uv("map step")?;
        let place = match value & 3 {
            0 => Place::InPlace,
            1 => Place::Detached,
            2 => Place::Opaque,
            other => return Err(decoder.error("map step", "kind 0 to 2", other)),
        };
        let repeat = decoder.uv_in("map repeat", 1..=u64::MAX)?;
        let blocks = value >> 2;
        Ok((Self { blocks, place }, repeat))
    }
}

/// Where a frame lies that an index needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsedFrame {
    /// Its number in the brick.
    pub number: u32,
    /// Its offset in the brick.
    pub offset: u64,
    /// Its length: header and sealed bytes.
    pub length: u32,
    /// The length of what it holds.
    pub plain_length: u32,
}

/// A brick that an index needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedBrick {
    /// Its name.
    pub name: BrickName,
    /// Its length in bytes.
    pub length: u64,
    /// The frames that are needed, ascending.
    pub frames: Vec<UsedFrame>,
}

/// Offset of a brick's first frame.
const FIRST_FRAME: u64 = 80;
const MAX_FRAMES: u64 = 65_536;
const MAX_BRICK_LENGTH: u64 = 1 << 40;
/// Header and sealed part.
const FRAME_LENGTHS: RangeInclusive<u64> = (frame::MIN_HEADER_LENGTH + frame::MIN_SEALED_LENGTH)
    as u64
    ..=(frame::MAX_HEADER_LENGTH + frame::MAX_SEALED_LENGTH) as u64;

impl UsedBrick {
    /// Appends the entry of the brick table.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.name.as_bytes());
        put_uv(out, self.length);
        put_uv(out, self.frames.len() as u64);
        let (mut number, mut offset) = (0, FIRST_FRAME);
        for frame in &self.frames {
            put_uv(out, u64::from(frame.number) - number);
            put_uv(out, frame.offset - offset);
            put_uv(out, u64::from(frame.length));
            put_uv(out, u64::from(frame.plain_length));
            number = u64::from(frame.number) + 1;
            offset = frame.offset + u64::from(frame.length);
        }
    }

    /// The next entry of the brick table.
    ///
    /// # Errors
    /// Frames that break a limit or reach beyond the brick.
    pub fn decode(decoder: &mut Decoder<'_>) -> DecodeResult<Self> {
        let name = BrickName(decoder.array("brick name")?);
        let length = decoder.uv_in("brick length", FIRST_FRAME..=MAX_BRICK_LENGTH)?;
        let count = decoder.uv_in("number of frames", 1..=MAX_FRAMES)?;
        let mut frames = Vec::new();
        let (mut number, mut offset) = (0, FIRST_FRAME);
        for _ in 0..count {
            number += decoder.uv_in("frame number", 0..=MAX_FRAMES)?;
            offset += decoder.uv_in("frame offset", 0..=MAX_BRICK_LENGTH)?;
            let frame_length = decoder.uv_in("frame length", FRAME_LENGTHS)?;
            let plain_length = decoder.uv_in("plain length", 1..=64 << 20)?;
            if number >= MAX_FRAMES || offset + frame_length > length {
                return Err(decoder.error(
                    "frame",
                    format_args!("one of {MAX_FRAMES} within {length} bytes"),
                    format_args!("frame {number} at {offset}, {frame_length} bytes long"),
                ));
            }
            frames.push(UsedFrame {
                number: low_u32(number),
                offset,
                length: low_u32(frame_length),
                plain_length: low_u32(plain_length),
            });
            number += 1;
            offset += frame_length;
        }
        Ok(Self {
            name,
            length,
            frames,
        })
    }
}

/// A value that a range check has bounded to 32 bits.
fn low_u32(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Consecutive chunks of one frame, in the order in which the stream uses them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Ordinal of the frame in the brick table.
    pub frame: u64,
    /// Place of the first chunk in the frame.
    pub place: u32,
    /// Number of chunks.
    pub count: u64,
}

impl Run {
    /// Appends the run; `previous` is the frame of the run before in the page, or 0.
    pub fn encode(&self, previous: u64, out: &mut Vec<u8>) {
        let delta = self.frame.wrapping_sub(previous).cast_signed();
        put_uv(out, (delta << 1 ^ delta >> 63).cast_unsigned());
        put_uv(out, u64::from(self.place));
        put_uv(out, self.count);
    }

    /// The next run.
    ///
    /// # Errors
    /// A place or count beyond a frame's chunks; a frame below 0.
    pub fn decode(previous: u64, decoder: &mut Decoder<'_>) -> DecodeResult<Self> {
        let raw = decoder.uv("frame ordinal")?;
        let delta = (raw >> 1).cast_signed() ^ -(raw & 1).cast_signed();
        let frame = previous
            .checked_add_signed(delta)
            .ok_or_else(|| decoder.error("frame ordinal", "0 or more", delta))?;
        let place = decoder.uv_in("place in the frame", 0..=65_535)?;
        Ok(Self {
            frame,
            place: low_u32(place),
            count: decoder.uv_in("number of chunks", 1..=65_536 - place)?,
        })
    }
}

/// The head of a page of hints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageHead {
    /// Length of the runs in bytes.
    pub length: u32,
    /// Number of chunks in the page.
    pub count: u32,
    /// Number of chunks of the level before the page.
    pub first: u64,
}

impl PageHead {
    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; PAGE_HEAD_LENGTH] {
        let mut out = [0; PAGE_HEAD_LENGTH];
        out[..4].copy_from_slice(&self.length.to_le_bytes());
        out[4..8].copy_from_slice(&self.count.to_le_bytes());
        out[8..].copy_from_slice(&self.first.to_le_bytes());
        out
    }

    /// The head of a page.
    ///
    /// # Errors
    /// A length beyond the limit.
    pub fn decode(bytes: &[u8]) -> DecodeResult<Self> {
        let mut decoder = Decoder::new("page of hints", bytes);
        Ok(Self {
            length: decoder.u32_in("length", 1..=PAGE_LENGTH as u64)?,
            count: decoder.u32_in("number of chunks", 1..=u64::from(u32::MAX))?,
            first: decoder.u64("chunks before the page")?,
        })
    }
}

/// Whether the check of an end matches its bytes: tells damage from another format.
#[must_use]
pub fn end_is_sound(bytes: &[u8]) -> bool {
    bytes.len() == END_LENGTH && check(&bytes[..48])[..] == bytes[48..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_reader_takes_the_marker_for_a_header() {
        let block = opaque_marker();
        assert!(block[148..156].iter().all(|&byte| byte == 0xff));
    }

    #[test]
    fn every_changed_byte_of_an_end_is_found() {
        let end = End {
            trailer_offset: 1024,
            trailer_length: 448,
            index_length: 1536,
        };
        let bytes = end.encode();
        assert_eq!(End::decode(&bytes, 1536), Ok(end));
        for place in 0..END_LENGTH {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            assert!(End::decode(&changed, 1536).is_err(), "byte {place}");
        }
        assert!(End::decode(&bytes, 2048).is_err());
    }

    #[test]
    fn unknown_sections_are_skipped_unless_critical() {
        let mut head = SectionKind::Map.head(5);
        head[..4].copy_from_slice(b"NEXT");
        assert!(SectionKind::decode(&head).is_err());
        head[4] = 0;
        assert_eq!(SectionKind::decode(&head), Ok((None, 5)));
    }

    #[test]
    fn summary_round_trips() {
        let summary = Summary {
            store_id: StoreId([1; 16]),
            key_id: KeyId([2; 16]),
            epoch: Epoch(2),
            stream_length: 3,
            stream_xxh3: 4,
            members_length: 5,
            member_count: 6,
        };
        let mut bytes = summary.encode();
        assert_eq!(Summary::decode(&bytes), Ok(summary));
        bytes[32..36].fill(0);
        assert_eq!(Summary::decode(&bytes).unwrap_err().field, "epoch");
    }

    proptest! {
        #[test]
        fn steps_round_trip(blocks in 0_u64..1 << 62, kind in 0_usize..3, repeat in 1_u64..) {
            let place = [Place::InPlace, Place::Detached, Place::Opaque][kind];
            let step = Step { blocks, place };
            let mut bytes = Vec::new();
            step.encode(repeat, &mut bytes);
            prop_assert_eq!(Step::decode(&mut Decoder::new("map", &bytes)), Ok((step, repeat)));
        }

        #[test]
        fn runs_round_trip(previous in 0_u64..1 << 60, frame in 0_u64..1 << 60, place in 0_u32..32_768, count in 1_u64..=32_768) {
            let run = Run { frame, place, count };
            let mut bytes = Vec::new();
            run.encode(previous, &mut bytes);
            prop_assert_eq!(Run::decode(previous, &mut Decoder::new("hints", &bytes)), Ok(run));
        }

        #[test]
        fn bricks_round_trip(
            name: [u8; 32],
            raw in proptest::collection::vec((0_u32..100, 0_u64..1000, 1_u32..1 << 26, 1_u32..=64 << 20), 1..30),
        ) {
            let (mut number, mut offset) = (0, FIRST_FRAME);
            let frames: Vec<_> = raw.into_iter().map(|(skip, gap, length, plain_length)| {
                let frame = UsedFrame { number: number + skip, offset: offset + gap, length, plain_length };
                number = frame.number + 1;
                offset = frame.offset + u64::from(length);
                frame
            }).collect();
            let brick = UsedBrick { name: BrickName(name), length: offset + 100, frames };
            let mut bytes = Vec::new();
            brick.encode(&mut bytes);
            prop_assert_eq!(UsedBrick::decode(&mut Decoder::new("bricks", &bytes)), Ok(brick));
        }
    }
}
