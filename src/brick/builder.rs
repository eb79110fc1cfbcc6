//! Gathers chunks into a frame and compresses them (`formats/frame.md#content`).

use std::io::Cursor;

use zstd::zstd_safe::CParameter;

use super::pad::Pad;
use crate::error::{Error, Result};
use crate::format::frame::{
    CONTENT_HEADER_LENGTH, Codec, ContentHeader, MAX_CHUNK_LENGTH, MAX_CHUNKS, MAX_PLAIN_LENGTH,
    TAG_LENGTH, put_chunk_length,
};

/// The chunks of one frame, gathered in one buffer. To be reused.
#[derive(Default)]
pub struct FrameBuilder {
    bytes: Vec<u8>,
    lengths: Vec<u32>,
    table: Vec<u8>,
}

impl FrameBuilder {
    /// A builder without chunks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a chunk, 1 byte to 1 MiB, and returns its place in the frame.
    pub fn push(&mut self, chunk: &[u8]) -> u32 {
        let place = self.chunk_count();
        // What does not fit 32 bits is refused by `compress`, as is all beyond a limit.
        let length = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(chunk);
        self.lengths.push(length);
        put_chunk_length(&mut self.table, length);
        place
    }

    /// Length of what will be compressed: the chunks and their table. It becomes the
    /// frame's plain length, at most 64 MiB.
    #[must_use]
    pub fn plain_length(&self) -> usize {
        self.bytes.len() + self.table.len()
    }

    /// How many chunks there are; at most 65,536 fit a frame.
    #[must_use]
    pub fn chunk_count(&self) -> u32 {
        u32::try_from(self.lengths.len()).unwrap_or(u32::MAX)
    }

    /// Whether there is no chunk yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// The length of each chunk.
    #[must_use]
    pub fn lengths(&self) -> &[u32] {
        &self.lengths
    }

    /// Forgets the chunks and keeps the buffers.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.lengths.clear();
        self.table.clear();
    }

    /// Compresses the chunks into `out`, which it replaces: room for a header of
    /// `header_length` bytes, the content's header, the content, the padding. Content
    /// that zstd does not shrink is stored. The chunks stay until [`FrameBuilder::clear`].
    ///
    /// # Errors
    /// [`Error::Internal`] if there is no chunk, if the frame breaks a limit of the
    /// format, or if zstd fails.
    pub fn compress(
        &mut self,
        compressor: &mut Compressor,
        effort: impl Into<Effort>,
        header_length: usize,
        pad: Pad,
        out: &mut CompressedFrame,
    ) -> Result<()> {
        let plain_length = self.check_limits()?;
        let chunk_bytes = self.bytes.len();
        let content_start = header_length + CONTENT_HEADER_LENGTH;
        out.bytes.clear();
        out.bytes.resize(content_start, 0);

        self.bytes.extend_from_slice(&self.table);
        let compressed = compressor.append(effort.into(), &self.bytes, &mut out.bytes);
        out.codec = Codec::Zstd;
        if compressed.is_ok() && out.bytes.len() - content_start >= self.bytes.len() {
            out.bytes.truncate(content_start);
            out.bytes.extend_from_slice(&self.bytes);
            out.codec = Codec::Stored;
        }
        self.bytes.truncate(chunk_bytes);
        compressed?;

        let length = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let header = ContentHeader {
            content_length: length(out.bytes.len() - content_start),
            plain_length,
            chunk_count: self.chunk_count(),
            table_length: length(self.table.len()),
        };
        if let Some(place) = out.bytes.get_mut(header_length..content_start) {
            place.copy_from_slice(&header.encode());
        }
        let sealed = out.bytes.len() - header_length + TAG_LENGTH;
        out.bytes
            .resize(header_length + pad.apply(sealed) - TAG_LENGTH, 0);
        out.header_length = header_length;
        out.plain_length = plain_length;
        out.chunk_count = self.chunk_count();
        Ok(())
    }

    fn check_limits(&self) -> Result<u32> {
        let refuse = |what: &str| Err(Error::Internal(format!("a frame with {what}")));
        if !(1..=MAX_CHUNKS).contains(&self.chunk_count()) {
            return refuse("no chunks or too many");
        }
        if self
            .lengths
            .iter()
            .any(|length| !(1..=MAX_CHUNK_LENGTH).contains(length))
        {
            return refuse("an empty chunk or one longer than 1 MiB");
        }
        match u32::try_from(self.plain_length()) {
            Ok(length) if length <= MAX_PLAIN_LENGTH => Ok(length),
            _ => refuse("more than 64 MiB"),
        }
    }
}

/// zstd's level unless something else is asked for.
pub const DEFAULT_LEVEL: i32 = 3;
/// Up to this level speed counts more than the last bytes.
const MOST_FOR_SPEED: i32 = 8;

/// How hard to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// zstd level, 1 to 22.
    pub level: i32,
    /// Larger frames, and a search for matches far apart in them.
    pub long: bool,
}

impl Effort {
    /// Plain bytes to gather in a frame. Grouping is worth more than 27 % in size against
    /// single chunks (design, "Measured while designing"). For the sources of Linux 6 MiB
    /// take 0.6 % less than 4 MiB and 8 MiB 1.1 %, but each frame in the making takes its
    /// length in memory, a damaged byte costs so much, and restore took 8 % longer with
    /// 8 MiB (when it still opened some frames again).
    #[must_use]
    pub const fn frame_length(self) -> usize {
        if self.long { 16 << 20 } else { 6 << 20 }
    }

    /// So that a match may lie anywhere in a frame and its table: zstd's own choice at
    /// level 3 is 2 MiB, and 0.5 % more bytes for the sources of Linux. Where a
    /// frame is shorter zstd takes less by itself.
    const fn window_log(self) -> u32 {
        if self.long { 25 } else { 23 }
    }

    /// log2 of the entries in the table of short matches; 0: zstd's own choice, 16 at
    /// level 3. Half of it costs 0.2 % in size and saves 2.3 % of the time.
    const fn chain_log(self) -> u32 {
        if self.level == DEFAULT_LEVEL { 15 } else { 0 }
    }

    /// The longest block; 0: zstd's own choice, 128 KiB. One byte less keeps zstd 1.5.7
    /// from looking for better places to split blocks at: that costs 0.1 % in size and
    /// saves 6 % of the time at level 3, 3 % at level 6, nothing at level 12.
    const fn block_length(self) -> u32 {
        if self.level <= MOST_FOR_SPEED {
            (128 << 10) - 1
        } else {
            0
        }
    }
}

impl From<i32> for Effort {
    fn from(level: i32) -> Self {
        Self { level, long: false }
    }
}

/// A zstd compressor, one for each worker: its memory is reused.
#[derive(Default)]
pub struct Compressor {
    wanted: Zstd,
    /// At level 1, for a look at frames that high levels would take long for.
    quick: Zstd,
}

/// From this level on a frame is first compressed at level 1, which takes a hundredth of
/// the time of level 19 and less. What that hardly shrinks (photographs, films, what is
/// compressed already) is left so: 200 MB of noise took 26 s at level 19, and gained nothing.
const LOOKS_FIRST: i32 = 6;

impl Compressor {
    /// A compressor.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `plain`, compressed as one zstd frame, to `out`.
    fn append(&mut self, effort: Effort, plain: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        if effort.level >= LOOKS_FIRST {
            self.quick
                .append(Effort { level: 1, ..effort }, plain, out)?;
            if out.len() - start > plain.len() - plain.len() / 100 {
                return Ok(());
            }
            out.truncate(start);
        }
        self.wanted.append(effort, plain, out)
    }
}

/// A context of zstd and what it is set to.
#[derive(Default)]
struct Zstd {
    zstd: zstd::bulk::Compressor<'static>,
    effort: Option<Effort>,
}

impl Zstd {
    fn append(&mut self, effort: Effort, plain: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let internal =
            |error: std::io::Error| Error::Internal(format!("zstd does not compress: {error}"));
        if self.effort != Some(effort) {
            for parameter in [
                CParameter::CompressionLevel(effort.level),
                CParameter::WindowLog(effort.window_log()),
                CParameter::ChainLog(effort.chain_log()),
                CParameter::MaxBlockSize(effort.block_length()),
                CParameter::EnableLongDistanceMatching(effort.long),
            ] {
                self.zstd.set_parameter(parameter).map_err(internal)?;
            }
            self.effort = Some(effort);
        }
        out.reserve(zstd::zstd_safe::compress_bound(plain.len()));
        let mut end = Cursor::new(&mut *out);
        end.set_position(end.get_ref().len() as u64);
        self.zstd
            .compress_to_buffer(plain, &mut end)
            .map_err(internal)?;
        Ok(())
    }
}

/// A compressed frame: first with room for its header, and once sealed with all its
/// bytes as they stand in the brick. To be reused.
pub struct CompressedFrame {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// How the content is compressed.
    pub codec: Codec,
    /// Length of the plain content: chunks and table.
    pub plain_length: u32,
    /// How many chunks it holds.
    pub chunk_count: u32,
    /// Length of the room for the header.
    pub header_length: usize,
}

impl CompressedFrame {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            codec: Codec::Stored,
            plain_length: 0,
            chunk_count: 0,
            header_length: 0,
        }
    }
}

impl Default for CompressedFrame {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compressed(chunks: &[&[u8]], pad: Pad) -> CompressedFrame {
        let mut builder = FrameBuilder::new();
        for chunk in chunks {
            builder.push(chunk);
        }
        let mut out = CompressedFrame::new();
        builder
            .compress(&mut Compressor::new(), 3, 100, pad, &mut out)
            .unwrap();
        assert_eq!(builder.lengths().len(), chunks.len());
        out
    }

    #[test]
    fn what_does_not_shrink_is_stored() {
        let noise = blake3::hash(b"noise");
        assert_eq!(
            compressed(&[noise.as_bytes()], Pad::None).codec,
            Codec::Stored
        );
        assert_eq!(compressed(&[&[7; 1000]], Pad::None).codec, Codec::Zstd);
    }

    #[test]
    fn high_levels_do_not_try_what_level_1_hardly_shrinks() {
        let mut noise = vec![0; 100_000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        let text: Vec<u8> = (0..20_000_u32)
            .flat_map(|n| n.to_string().into_bytes())
            .collect();
        let length = |compressor: &mut Compressor, level: i32, plain: &[u8]| {
            let mut out = Vec::new();
            compressor.append(level.into(), plain, &mut out).unwrap();
            assert_eq!(zstd::decode_all(&out[..]).unwrap(), plain);
            out.len()
        };
        let mut compressor = Compressor::new();
        let low = length(&mut compressor, 1, &text);
        assert!(length(&mut compressor, 19, &text) < low);
        assert!(compressor.quick.effort.is_some());
        let mut compressor = Compressor::new();
        assert!(length(&mut compressor, 19, &noise) >= noise.len());
        assert!(compressor.wanted.effort.is_none(), "level 19 was tried");
    }

    #[test]
    fn padding_counts_the_tag() {
        let frame = compressed(&[&[7; 1000]], Pad::Blocks);
        assert_eq!(frame.bytes.len() - 100 + TAG_LENGTH, 4096);
    }

    #[test]
    fn limits_are_kept() {
        let compress = |builder: &mut FrameBuilder| {
            let mut out = CompressedFrame::new();
            builder.compress(&mut Compressor::new(), 1, 100, Pad::None, &mut out)
        };
        let mut builder = FrameBuilder::new();
        assert!(compress(&mut builder).is_err());
        builder.push(&[]);
        assert!(compress(&mut builder).is_err());
        builder.clear();
        builder.push(&vec![0; MAX_CHUNK_LENGTH as usize + 1]);
        assert!(compress(&mut builder).is_err());
        builder.clear();
        for _ in 0..=MAX_CHUNKS {
            builder.push(&[1]);
        }
        assert!(compress(&mut builder).is_err());
        builder.clear();
        let longest = vec![0; MAX_CHUNK_LENGTH as usize];
        for _ in 0..64 {
            builder.push(&longest);
        }
        assert!(compress(&mut builder).is_err(), "the table counts too");
    }
}
