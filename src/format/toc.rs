//! Tables of contents (`formats/brick.md#table-of-contents`).

use super::brick::{HEADER_LENGTH as BRICK_HEADER_LENGTH, MAX_CHUNKS, MAX_FRAMES, MAX_LENGTH};
use super::frame::{
    self, MAX_CHUNK_LENGTH, MAX_HEADER_LENGTH, MAX_PLAIN_LENGTH, MAX_SEALED_LENGTH,
    MIN_HEADER_LENGTH, MIN_SEALED_LENGTH, code,
};
use super::origins::{Origin, Origins};
use super::wire::{DecodeError, DecodeResult, Decoder, put_check, put_prefix, put_uv, uv_length};
use crate::error::{Error, Result};
use crate::id::{BrickName, ChunkId, Class, Epoch, Salt, Siv, StoreId, WriterId};

/// Length of the header in the clear, which is the associated data of the seal.
pub const TOC_HEADER_LENGTH: usize = 88;
/// The longest sealed bytes, with the tag: 32 MiB.
pub const MAX_SEALED_TOC_LENGTH: u32 = 33_554_432;
/// The longest TOC: header and sealed bytes.
pub const MAX_TOC_LENGTH: u64 = TOC_HEADER_LENGTH as u64 + MAX_SEALED_TOC_LENGTH as u64;

const MAGIC: &[u8; 8] = b"dtarTOC1";
const HEADER: &str = "TOC header";
const STRUCTURE: &str = "TOC";
const TAG_ORIGINS: u8 = 1;
/// A frame takes three numbers, a chunk an id and a number: so many bytes at least.
const MIN_FRAME_BYTES: u64 = 3;
const MIN_CHUNK_BYTES: u64 = 17;

/// What stands in the clear before a sealed TOC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TocHeader {
    /// Length of the sealed bytes, with the tag.
    pub sealed_length: u32,
    /// Epoch of the put secret in use.
    pub epoch: Epoch,
    /// The store.
    pub store_id: StoreId,
    /// Salt of the brick.
    pub salt: Salt,
    /// The SIV of what is sealed.
    pub siv: Siv,
}

impl TocHeader {
    /// Appends the 88 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        put_prefix(out, MAGIC);
        out.extend_from_slice(&self.sealed_length.to_le_bytes());
        out.extend_from_slice(&self.epoch.0.to_le_bytes());
        out.extend_from_slice(self.store_id.as_bytes());
        out.extend_from_slice(self.salt.as_bytes());
        out.extend_from_slice(self.siv.as_bytes());
        put_check(out, start);
    }

    /// Reads the header at the start of `bytes`.
    ///
    /// # Errors
    /// A prefix that this dtar does not know, a check that does not match, a sealed
    /// length beyond the limit, epoch 0, fewer than 88 bytes.
    pub fn decode(bytes: &[u8]) -> DecodeResult<Self> {
        let mut decoder = Decoder::new(HEADER, bytes);
        decoder.prefix(MAGIC)?;
        let mut checked = decoder.clone();
        decoder.bytes("sealed length and epoch", 8)?;
        let store_id = StoreId(decoder.array("store id")?);
        let salt = Salt(decoder.array("salt")?);
        let siv = Siv(decoder.array("SIV")?);
        decoder.check(0)?;
        let range = frame::TAG_LENGTH as u64..=u64::from(MAX_SEALED_TOC_LENGTH);
        Ok(Self {
            sealed_length: checked.u32_in("sealed length", range)?,
            epoch: frame::epoch(&mut checked)?,
            store_id,
            salt,
            siv,
        })
    }

    /// Length of the whole TOC: header and sealed bytes.
    #[must_use]
    pub const fn toc_length(&self) -> u64 {
        TOC_HEADER_LENGTH as u64 + self.sealed_length as u64
    }
}

/// One chunk of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TocChunk {
    /// Its id.
    pub id: ChunkId,
    /// Its length in bytes.
    pub length: u32,
}

/// One frame of a brick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TocFrame {
    /// Where it begins in the brick. Follows from the lengths before it.
    pub offset: u64,
    /// Its length: header and sealed bytes together.
    pub length: u32,
    /// Length of its plain content: chunks and chunk table.
    pub plain_length: u32,
    /// Place of its first chunk among all chunks of the brick.
    pub first_chunk: u32,
    /// How many chunks it holds.
    pub chunk_count: u32,
}

/// What a brick holds. The chunks of all frames stand in one vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toc {
    class: Class,
    writer: WriterId,
    frames: Vec<TocFrame>,
    chunks: Vec<TocChunk>,
    origins: Option<Origins>,
}

impl Toc {
    /// A TOC without frames; a brick has at least one.
    #[must_use]
    pub const fn new(class: Class, writer: WriterId) -> Self {
        Self {
            class,
            writer,
            frames: Vec::new(),
            chunks: Vec::new(),
            origins: None,
        }
    }

    /// Class of the brick.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.class
    }

    /// Who wrote it.
    #[must_use]
    pub const fn writer(&self) -> WriterId {
        self.writer
    }

    /// The frames, in the order of the brick.
    #[must_use]
    pub fn frames(&self) -> &[TocFrame] {
        &self.frames
    }

    /// The chunks of all frames, in the order of the brick.
    #[must_use]
    pub fn chunks(&self) -> &[TocChunk] {
        &self.chunks
    }

    /// The chunks of `frame`, which must be one of [`Toc::frames`]; no chunks otherwise.
    #[must_use]
    pub fn chunks_of(&self, frame: &TocFrame) -> &[TocChunk] {
        let start = frame.first_chunk as usize;
        let end = start.saturating_add(frame.chunk_count as usize);
        self.chunks.get(start..end).unwrap_or_default()
    }

    /// Where its frames come from, if gc has made the brick.
    #[must_use]
    pub const fn origins(&self) -> Option<&Origins> {
        self.origins.as_ref()
    }

    /// Says where the frames come from, in their order: to be called behind the last one.
    /// Those whose place is not known stem from `bricks`.
    ///
    /// # Errors
    /// [`Error::Internal`] if there are not as many as frames, or if a limit breaks.
    pub fn set_origins(&mut self, frames: &[Vec<Origin>], bricks: &[BrickName]) -> Result<()> {
        if frames.len() != self.frames.len() {
            return Err(Error::Internal("origins of other frames".into()));
        }
        self.origins = Some(Origins::new(frames, bricks)?);
        Ok(())
    }

    /// Where the last frame ends in the brick, and the TOC begins.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.frames
            .last()
            .map_or(BRICK_HEADER_LENGTH as u64, |frame| {
                frame.offset + u64::from(frame.length)
            })
    }

    /// Adds a frame behind the others.
    ///
    /// # Errors
    /// [`Error::Internal`] if a limit of the format would break; the TOC is as before.
    pub fn push_frame(
        &mut self,
        length: u32,
        plain_length: u32,
        chunks: impl IntoIterator<Item = TocChunk>,
    ) -> Result<()> {
        let first = self.chunks.len();
        self.chunks.extend(chunks);
        let added = self.close_frame(first, length, plain_length);
        added.map_err(|what| {
            self.chunks.truncate(first);
            Error::Internal(format!("a frame does not fit its TOC: {what}"))
        })
    }

    /// Makes a frame of the chunks from `first` on; says which limit breaks.
    fn close_frame(
        &mut self,
        first: usize,
        length: u32,
        plain_length: u32,
    ) -> Result<(), &'static str> {
        let chunks = self.chunks.get(first..).unwrap_or_default();
        let chunk_count = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
        let chunk_bytes: u64 = chunks.iter().map(|chunk| u64::from(chunk.length)).sum();
        let offset = self.end();
        let shortest = MIN_HEADER_LENGTH + MIN_SEALED_LENGTH;
        if !(shortest..=MAX_HEADER_LENGTH + MAX_SEALED_LENGTH).contains(&length) {
            return Err("length of a frame");
        }
        if !(1..=frame::MAX_CHUNKS).contains(&chunk_count) {
            return Err("number of chunks in a frame");
        }
        if chunks
            .iter()
            .any(|chunk| !(1..=MAX_CHUNK_LENGTH).contains(&chunk.length))
        {
            return Err("chunk length");
        }
        let table: usize = chunks
            .iter()
            .map(|chunk| uv_length(chunk.length.into()))
            .sum();
        if plain_length > MAX_PLAIN_LENGTH || chunk_bytes + table as u64 != u64::from(plain_length)
        {
            return Err("plain length");
        }
        if self.frames.len() >= MAX_FRAMES as usize {
            return Err("number of frames");
        }
        if self.chunks.len() > MAX_CHUNKS as usize {
            return Err("number of chunks");
        }
        if offset + u64::from(length) > MAX_LENGTH {
            return Err("length of the brick");
        }
        self.frames.push(TocFrame {
            offset,
            length,
            plain_length,
            first_chunk: u32::try_from(first).map_err(|_| "number of chunks")?,
            chunk_count,
        });
        Ok(())
    }

    /// Appends the bytes to seal.
    ///
    /// # Errors
    /// [`Error::Internal`] if there is no frame.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<()> {
        let count = |length: usize| {
            u32::try_from(length)
                .ok()
                .filter(|&length| length > 0)
                .ok_or_else(|| Error::Internal("a TOC without frames".into()))
        };
        out.extend_from_slice(&count(self.frames.len())?.to_le_bytes());
        out.extend_from_slice(&count(self.chunks.len())?.to_le_bytes());
        out.extend_from_slice(&[self.class as u8, 0, 0, 0]);
        out.extend_from_slice(self.writer.as_bytes());
        for frame in &self.frames {
            put_uv(out, u64::from(frame.length));
            put_uv(out, u64::from(frame.plain_length));
            put_uv(out, u64::from(frame.chunk_count));
            for chunk in self.chunks_of(frame) {
                out.extend_from_slice(chunk.id.as_bytes());
                put_uv(out, u64::from(chunk.length));
            }
        }
        if let Some(origins) = &self.origins {
            if origins.frame_count() != self.frames.len() {
                return Err(Error::Internal("origins of other frames".into()));
            }
            let mut value = Vec::new();
            origins.encode(&mut value);
            out.push(TAG_ORIGINS);
            put_uv(out, value.len() as u64);
            out.extend_from_slice(&value);
        }
        Ok(())
    }

    /// Reads the opened bytes. Offsets in errors are theirs.
    ///
    /// # Errors
    /// Counts that do not agree, lengths that break a limit, an unknown class or
    /// critical field.
    pub fn decode(opened: &[u8]) -> DecodeResult<Self> {
        let mut decoder = Decoder::new(STRUCTURE, opened);
        let frame_count = decoder.u32_in("number of frames", 1..=u64::from(MAX_FRAMES))?;
        let chunk_count = decoder.u32_in("number of chunks", 1..=u64::from(MAX_CHUNKS))?;
        let class = code(
            &mut decoder,
            "class",
            "0 (data) or 1 (metadata)",
            Class::from_code,
        )?;
        decoder.bytes("reserved", 3)?;
        let writer = WriterId(decoder.array("writer")?);
        let needed =
            u64::from(frame_count) * MIN_FRAME_BYTES + u64::from(chunk_count) * MIN_CHUNK_BYTES;
        let found = decoder.rest().len() as u64;
        if needed > found {
            let expected = format_args!("{needed} bytes for them at least");
            return Err(decoder.error("frames and chunks", expected, found));
        }
        let mut toc = Self::new(class, writer);
        toc.frames.reserve_exact(frame_count as usize);
        toc.chunks.reserve_exact(chunk_count as usize);
        for _ in 0..frame_count {
            let left = u64::from(chunk_count) - toc.chunks.len() as u64;
            toc.decode_frame(&mut decoder, left)?;
        }
        if toc.chunks.len() != chunk_count as usize {
            let expected = chunk_count;
            let found = toc.chunks.len();
            return Err(DecodeError::value(
                STRUCTURE,
                "number of chunks",
                4,
                expected,
                found,
            ));
        }
        decoder.fields(|tag, mut value| {
            if tag == TAG_ORIGINS {
                toc.origins = Some(Origins::decode(&mut value, toc.frames.len())?);
            }
            Ok(tag == TAG_ORIGINS)
        })?;
        Ok(toc)
    }

    /// Reads one frame, with at most `left` chunks.
    fn decode_frame(&mut self, decoder: &mut Decoder<'_>, left: u64) -> DecodeResult<()> {
        let start = decoder.clone();
        let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let length = narrow(decoder.uv("length of a frame")?);
        let plain_length = narrow(decoder.uv("plain length")?);
        let count = decoder.uv_in("number of chunks in a frame", 0..=left)?;
        let first = self.chunks.len();
        for _ in 0..count {
            let id = ChunkId(decoder.array("chunk id")?);
            let length = narrow(decoder.uv("chunk length")?);
            self.chunks.push(TocChunk { id, length });
        }
        self.close_frame(first, length, plain_length)
            .map_err(|field| {
                let found =
                    format_args!("a frame of {length} bytes, {plain_length} plain, {count} chunks");
                start.error(field, "what the format allows", found)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chunk(byte: u8, length: u32) -> TocChunk {
        TocChunk {
            id: ChunkId([byte; 16]),
            length,
        }
    }

    fn toc() -> Toc {
        let mut toc = Toc::new(Class::Data, WriterId([9; 16]));
        toc.push_frame(1400, 303, [chunk(1, 100), chunk(2, 200)])
            .unwrap();
        toc.push_frame(1300, 51, [chunk(3, 50)]).unwrap();
        toc
    }

    fn encoded(toc: &Toc) -> Vec<u8> {
        let mut bytes = Vec::new();
        toc.encode(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn offsets_follow_from_lengths() {
        let toc = toc();
        assert_eq!(toc.frames()[0].offset, 80);
        assert_eq!(toc.frames()[1].offset, 1480);
        assert_eq!(toc.end(), 2780);
        assert_eq!(toc.chunks_of(&toc.frames()[1]), [chunk(3, 50)]);
    }

    #[test]
    fn what_breaks_a_limit_is_not_added() {
        let mut toc = toc();
        let before = toc.clone();
        for (length, plain, chunks) in [
            (161, 11, vec![chunk(1, 10)]),
            (u32::MAX, 11, vec![chunk(1, 10)]),
            (1300, 9, vec![chunk(1, 10)]),
            (1300, 10, vec![chunk(1, 10)]),
            (1300, 12, vec![chunk(1, 10)]),
            (1300, MAX_PLAIN_LENGTH + 1, vec![chunk(1, 10)]),
            (1300, 0, vec![]),
            (1300, 1, vec![chunk(1, 0)]),
            (1300, (1 << 20) + 4, vec![chunk(1, MAX_CHUNK_LENGTH + 1)]),
            (1300, 2 * 65_537, vec![chunk(1, 1); 65_537]),
        ] {
            assert!(toc.push_frame(length, plain, chunks).is_err());
            assert_eq!(toc, before);
        }
    }

    #[test]
    fn counts_must_agree() {
        let good = encoded(&toc());
        for (offset, value) in [
            (0, 0),
            (0, 1),
            (0, 3),
            (4, 0),
            (4, 2),
            (4, 4),
            (3, 1),
            (8, 2),
        ] {
            let mut bad = good.clone();
            bad[offset] = value;
            assert!(Toc::decode(&bad).is_err(), "{offset}: {value}");
        }
        assert!(Toc::decode(&good[..good.len() - 1]).is_err());
    }

    #[test]
    fn fields_behind_the_frames_are_skipped_unless_critical() {
        let good = encoded(&toc());
        assert!(Toc::decode(&[&good[..], &[5, 1, 0]].concat()).is_ok());
        assert!(Toc::decode(&[&good[..], &[200, 1, 0]].concat()).is_err());
    }

    #[test]
    fn origins_stand_behind_the_frames() {
        let mut toc = toc();
        let origin = |byte: u8, place| (BrickName([byte; 32]), place);
        assert!(toc.set_origins(&[vec![origin(1, 0)]], &[]).is_err());
        toc.set_origins(&[vec![origin(1, 0)], vec![origin(2, 5)]], &[])
            .unwrap();
        assert_eq!(Toc::decode(&encoded(&toc)), Ok(toc.clone()));
        toc.push_frame(1300, 51, [chunk(4, 50)]).unwrap();
        assert!(toc.encode(&mut Vec::new()).is_err());
    }

    #[test]
    fn a_toc_needs_a_frame() {
        let toc = Toc::new(Class::Data, WriterId([9; 16]));
        assert!(toc.encode(&mut Vec::new()).is_err());
    }

    proptest! {
        #[test]
        fn round_trip(
            frames in prop::collection::vec(
                (162u32..68_000_000, prop::collection::vec((any::<u8>(), 1u32..2000), 1..20)),
                1..20,
            )
        ) {
            let mut toc = Toc::new(Class::Metadata, WriterId([1; 16]));
            for (length, chunks) in frames {
                let plain: usize = chunks
                    .iter()
                    .map(|(_, length)| *length as usize + uv_length((*length).into()))
                    .sum();
                let chunks = chunks.into_iter().map(|(id, length)| chunk(id, length));
                toc.push_frame(length, u32::try_from(plain).unwrap(), chunks).unwrap();
            }
            prop_assert_eq!(Toc::decode(&encoded(&toc)), Ok(toc));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, position: prop::sample::Index, value: u8) {
            let _ = Toc::decode(&bytes);
            let mut bad = encoded(&toc());
            let position = position.index(bad.len());
            bad[position] = value;
            // What is read has one spelling, but for reserved bytes.
            if let Ok(read) = Toc::decode(&bad) {
                bad[9..12].fill(0);
                prop_assert_eq!(encoded(&read), bad);
            }
        }
    }
}
