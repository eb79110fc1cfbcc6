//! Frames: header, content header, chunk table (`formats/frame.md`).

use std::fmt;

use super::recipient::{ENTRY_LENGTH, Recipients};
use super::wire::{
    CHECK_LENGTH, DecodeError, DecodeResult, Decoder, put_check, put_prefix, put_uv,
};
use crate::id::{Class, Epoch, Salt, Siv, StoreId};

/// The magic, which a scanner for frames searches for.
pub const FRAME_MAGIC: &[u8; 8] = b"dtarFRAM";
/// Length of the tag that ends the sealed bytes.
pub const TAG_LENGTH: usize = 16;
/// The shortest header: one recipient entry of a suite that nobody knows.
pub const MIN_HEADER_LENGTH: u32 = 130;
/// The longest header.
pub const MAX_HEADER_LENGTH: u32 = 65_536;
/// The shortest sealed bytes, with the tag.
pub const MIN_SEALED_LENGTH: u32 = 32;
/// The longest sealed bytes, with the tag: 65 MiB.
pub const MAX_SEALED_LENGTH: u32 = 68_157_440;
/// The longest plain content, chunks and table: 64 MiB.
pub const MAX_PLAIN_LENGTH: u32 = 67_108_864;
/// Most chunks in a frame.
pub const MAX_CHUNKS: u32 = 65_536;
/// The longest chunk: 1 MiB.
pub const MAX_CHUNK_LENGTH: u32 = 1_048_576;
/// Most recipients of a frame.
pub const MAX_RECIPIENTS: usize = 32;
/// Length of the header of the content.
pub const CONTENT_HEADER_LENGTH: usize = 16;

pub(super) const HEADER: &str = "frame header";
const CONTENT: &str = "frame content";
const FIXED_LENGTH: usize = 88;

/// How the content of a frame is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Codec {
    /// Not at all.
    Stored = 0,
    /// As one zstd frame without dictionary.
    Zstd = 1,
}

impl Codec {
    /// The codec with this number.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Stored),
            1 => Some(Self::Zstd),
            _ => None,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Stored => "stored",
            Self::Zstd => "zstd",
        })
    }
}

/// The number of the only seal so far: ChaCha20-Poly1305.
const SEAL: u8 = 1;

/// Length of the header that dtar writes for so many recipients.
#[must_use]
pub const fn header_length(recipients: usize) -> usize {
    FIXED_LENGTH + recipients * ENTRY_LENGTH + CHECK_LENGTH
}

/// What a frame's header says, apart from lengths and recipients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameFields {
    /// The store.
    pub store_id: StoreId,
    /// Salt of the brick in which the frame was first sealed.
    pub salt: Salt,
    /// The number under which it was sealed.
    pub number: u32,
    /// Epoch of the put secret in use.
    pub epoch: Epoch,
    /// Class of its brick.
    pub class: Class,
    /// How the content is compressed.
    pub codec: Codec,
    /// The SIV of what is sealed.
    pub siv: Siv,
}

impl FrameFields {
    /// Writes a header to `out`, which it replaces: these fields, the length of the
    /// sealed bytes, and `count` recipient entries, already encoded.
    pub fn encode(&self, sealed_length: u32, count: u8, entries: &[u8], out: &mut Vec<u8>) {
        out.clear();
        put_prefix(out, FRAME_MAGIC);
        let length = FIXED_LENGTH + entries.len() + CHECK_LENGTH;
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&sealed_length.to_le_bytes());
        out.extend_from_slice(self.store_id.as_bytes());
        out.extend_from_slice(self.salt.as_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.epoch.0.to_le_bytes());
        out.extend_from_slice(&[self.class as u8, self.codec as u8, SEAL, count]);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(self.siv.as_bytes());
        out.extend_from_slice(entries);
        put_check(out, 0);
    }
}

/// A frame's header.
#[derive(Debug, Clone)]
pub struct FrameHeader<'a> {
    /// Length of the header, with the check.
    pub length: u32,
    /// Length of the sealed bytes behind it, with the tag.
    pub sealed_length: u32,
    /// The fixed fields.
    pub fields: FrameFields,
    /// To whom the brick key is wrapped.
    pub recipients: Recipients<'a>,
}

impl<'a> FrameHeader<'a> {
    /// Reads the header at the start of `bytes`; what follows it is not looked at.
    ///
    /// # Errors
    /// In this order: prefix, header length, check, then the rest.
    pub fn decode(bytes: &'a [u8]) -> DecodeResult<Self> {
        let mut decoder = Decoder::new(HEADER, bytes);
        decoder.prefix(FRAME_MAGIC)?;
        let range = u64::from(MIN_HEADER_LENGTH)..=u64::from(MAX_HEADER_LENGTH);
        let length = decoder.u32_in("header length", range)?;
        let header = Decoder::new(HEADER, bytes).bytes("header", length as usize)?;
        let unchecked = length as usize - CHECK_LENGTH;
        let mut decoder = Decoder::new(HEADER, header);
        let fields = decoder.bytes("header", unchecked)?;
        decoder.check(0)?;

        let mut decoder = Decoder::new(HEADER, fields);
        decoder.bytes("prefix", 20)?;
        let range = u64::from(MIN_SEALED_LENGTH)..=u64::from(MAX_SEALED_LENGTH);
        let sealed_length = decoder.u32_in("sealed length", range)?;
        let store_id = StoreId(decoder.array("store id")?);
        let salt = Salt(decoder.array("salt")?);
        let number = decoder.u32("frame number")?;
        let epoch = epoch(&mut decoder)?;
        let class = code(&mut decoder, "class", "0 (data) or 1 (metadata)", |code| {
            Class::from_code(code)
        })?;
        let codec = code(&mut decoder, "codec", "0 (stored) or 1 (zstd)", |code| {
            Codec::from_code(code)
        })?;
        code(&mut decoder, "seal", "1 (ChaCha20-Poly1305)", |code| {
            (code == SEAL).then_some(())
        })?;
        let count = code(&mut decoder, "number of recipients", "1 to 32", |count| {
            (1..=MAX_RECIPIENTS)
                .contains(&usize::from(count))
                .then_some(count)
        })?;
        decoder.bytes("reserved", 4)?;
        let siv = Siv(decoder.array("SIV")?);
        let recipients = Recipients::decode(&mut decoder, count)?;
        decoder.fields(|_, _| Ok(false))?;
        Ok(Self {
            length,
            sealed_length,
            fields: FrameFields {
                store_id,
                salt,
                number,
                epoch,
                class,
                codec,
                siv,
            },
            recipients,
        })
    }

    /// Length of the frame: header and sealed bytes.
    #[must_use]
    pub const fn frame_length(&self) -> u32 {
        self.length + self.sealed_length
    }
}

/// An epoch, which is never 0.
pub(super) fn epoch(decoder: &mut Decoder<'_>) -> DecodeResult<Epoch> {
    let range = u64::from(Epoch::FIRST.0)..=u64::from(u32::MAX);
    decoder.u32_in("epoch", range).map(Epoch)
}

/// A `u8` that `known` must know.
pub(super) fn code<T>(
    decoder: &mut Decoder<'_>,
    field: &'static str,
    expected: &str,
    known: impl FnOnce(u8) -> Option<T>,
) -> DecodeResult<T> {
    let here = decoder.clone();
    let code = decoder.u8(field)?;
    known(code).ok_or_else(|| here.error(field, expected, code))
}

/// The header of a frame's content, inside the seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentHeader {
    /// Length of the content as it stands, compressed.
    pub content_length: u32,
    /// Length of the content once decompressed.
    pub plain_length: u32,
    /// How many chunks it holds.
    pub chunk_count: u32,
    /// Length of the chunk table at its end.
    pub table_length: u32,
}

impl ContentHeader {
    /// The 16 bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; CONTENT_HEADER_LENGTH] {
        let mut bytes = [0; CONTENT_HEADER_LENGTH];
        let numbers = [
            self.content_length,
            self.plain_length,
            self.chunk_count,
            self.table_length,
        ];
        for (place, number) in bytes.as_chunks_mut().0.iter_mut().zip(numbers) {
            *place = number.to_le_bytes();
        }
        bytes
    }

    /// Reads the header of `opened`, and splits off content and padding.
    ///
    /// # Errors
    /// Lengths that break a limit or do not fit, padding that is not zero.
    pub fn decode(opened: &[u8]) -> DecodeResult<(Self, &[u8])> {
        let mut decoder = Decoder::new(CONTENT, opened);
        let room = (opened.len() as u64).saturating_sub(CONTENT_HEADER_LENGTH as u64);
        let content_length = decoder.u32_in("content length", 0..=room)?;
        let plain_length = decoder.u32_in("plain length", 0..=u64::from(MAX_PLAIN_LENGTH))?;
        let chunk_count = decoder.u32_in("number of chunks", 1..=u64::from(MAX_CHUNKS))?;
        let table_length = decoder.u32_in("table length", 0..=u64::from(plain_length))?;
        let content = decoder.bytes("content", content_length as usize)?;
        if let Some(at) = decoder.rest().iter().position(|&byte| byte != 0) {
            decoder.bytes("padding", at)?;
            return Err(decoder.error("padding", "zero bytes", "another"));
        }
        let header = Self {
            content_length,
            plain_length,
            chunk_count,
            table_length,
        };
        Ok((header, content))
    }
}

/// Appends a chunk's length to a chunk table.
pub fn put_chunk_length(table: &mut Vec<u8>, length: u32) {
    put_uv(table, u64::from(length));
}

/// Reads the chunk table at the end of `plain` into `ends`, which it replaces: where
/// each chunk ends in `plain`.
///
/// # Errors
/// Fails if the table does not hold exactly the stated number of lengths, each 1 to
/// 1 MiB, that add up to the bytes before it.
pub fn decode_chunk_table(
    header: &ContentHeader,
    plain: &[u8],
    ends: &mut Vec<u32>,
) -> DecodeResult<()> {
    ends.clear();
    let chunk_bytes = plain.len().saturating_sub(header.table_length as usize);
    let mut decoder = Decoder::new("chunk table", plain);
    decoder.bytes("chunks", chunk_bytes)?;
    // Each length takes a byte at least.
    if u64::from(header.chunk_count) > decoder.rest().len() as u64 {
        let expected = format_args!("{} lengths", header.chunk_count);
        let found = format_args!("{} bytes", decoder.rest().len());
        return Err(decoder.error("chunk lengths", expected, found));
    }
    ends.reserve(header.chunk_count as usize);
    let mut end = 0;
    for _ in 0..header.chunk_count {
        end += decoder.uv_in("chunk length", 1..=u64::from(MAX_CHUNK_LENGTH))?;
        // At most 65,536 times 1 MiB is more than 32 bits hold, so check as we go.
        let Ok(checked) = u32::try_from(end) else {
            return Err(sum_error(chunk_bytes, end));
        };
        ends.push(checked);
    }
    if !decoder.is_empty() {
        let found = format_args!("{} more", decoder.rest().len());
        return Err(decoder.error("chunk lengths", "the end of the table", found));
    }
    if end != chunk_bytes as u64 {
        return Err(sum_error(chunk_bytes, end));
    }
    Ok(())
}

fn sum_error(chunk_bytes: usize, end: u64) -> DecodeError {
    let expected = format_args!("chunks of {chunk_bytes} bytes together");
    DecodeError::value("chunk table", "chunk lengths", 0, expected, end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::wire::{Fault, check};
    use crate::id::KeyId;

    const FIELDS: FrameFields = FrameFields {
        store_id: StoreId([1; 16]),
        salt: Salt([2; 16]),
        number: 3,
        epoch: Epoch(4),
        class: Class::Metadata,
        codec: Codec::Zstd,
        siv: Siv([8; 16]),
    };

    fn header() -> Vec<u8> {
        let mut entry = Vec::new();
        crate::format::recipient::Recipient::known(KeyId([7; 16]), &[5; 1120], &[6; 48])
            .encode(&mut entry);
        let mut bytes = Vec::new();
        FIELDS.encode(64, 1, &entry, &mut bytes);
        bytes
    }

    fn rechecked(mut bytes: Vec<u8>) -> Vec<u8> {
        let end = bytes.len() - CHECK_LENGTH;
        let check = check(&bytes[..end]);
        bytes[end..].copy_from_slice(&check);
        bytes
    }

    #[test]
    fn headers_go_both_ways() {
        let bytes = header();
        assert_eq!(bytes.len(), header_length(1));
        let decoded = FrameHeader::decode(&bytes).unwrap();
        assert_eq!(decoded.fields, FIELDS);
        assert_eq!(decoded.frame_length() as usize, bytes.len() + 64);
        assert_eq!(decoded.recipients.count(), 1);
    }

    #[test]
    fn the_check_comes_before_everything_behind_the_header_length() {
        let mut bytes = header();
        bytes[64] = 9;
        let error = FrameHeader::decode(&bytes).unwrap_err();
        assert_eq!((error.field, error.fault), ("check", Fault::Check));
        let error = FrameHeader::decode(&rechecked(bytes)).unwrap_err();
        assert_eq!((error.field, error.offset), ("class", 64));
    }

    #[test]
    fn unknown_codes_are_named() {
        for (offset, field) in [(64, "class"), (65, "codec"), (66, "seal")] {
            let mut bytes = header();
            bytes[offset] = 7;
            let error = FrameHeader::decode(&rechecked(bytes)).unwrap_err();
            assert_eq!((error.field, error.offset), (field, offset as u64));
            assert!(error.to_string().ends_with("found 7"), "{error}");
        }
    }

    #[test]
    fn a_header_that_is_cut_short_is_truncated() {
        let bytes = header();
        for length in [0, 7, 19, 40, bytes.len() - 1] {
            let error = FrameHeader::decode(&bytes[..length]).unwrap_err();
            assert!(matches!(error.fault, Fault::Truncated { .. }), "{length}");
        }
    }

    #[test]
    fn tables_that_do_not_fit_are_refused() {
        let decode = |chunk_count, table_length, plain: &[u8]| {
            let header = ContentHeader {
                content_length: 0,
                plain_length: 0,
                chunk_count,
                table_length,
            };
            let mut ends = Vec::new();
            decode_chunk_table(&header, plain, &mut ends).map(|()| ends)
        };
        assert_eq!(decode(2, 2, b"abc\x01\x02").unwrap(), [1, 3]);
        for (count, table, plain) in [
            (1, 2, &b"abc\x01\x02"[..]),
            (3, 2, b"abc\x01\x02"),
            (2, 2, b"abc\x01\x01"),
            (2, 2, b"abc\x00\x03"),
            (1, 2, b"abc\x83\x00"),
            (1, 1, b"abc\x83"),
            (65_536, 1, b"abc\x03"),
            (1, 0, b"abc"),
        ] {
            assert!(decode(count, table, plain).is_err(), "{plain:?}");
        }
    }
}
