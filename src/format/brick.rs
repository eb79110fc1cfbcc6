//! Bricks: header and footer (`formats/brick.md`).

use std::fmt::Display;

use super::frame::{self, FrameHeader, code};
use super::toc::MAX_TOC_LENGTH;
use super::wire::{CHECK_LENGTH, DecodeError, DecodeResult, Decoder, put_check, put_prefix};
use crate::id::{Class, Epoch, Salt, StoreId};

/// Length of the header; frame 0 follows it.
pub const HEADER_LENGTH: usize = 80;
/// Length of the footer.
pub const FOOTER_LENGTH: usize = 64;
/// The longest brick: 2^40 bytes.
pub const MAX_LENGTH: u64 = 1 << 40;
/// Most frames in a brick.
pub const MAX_FRAMES: u32 = 65_536;
/// Most chunks in a brick.
pub const MAX_CHUNKS: u32 = 262_144;

const HEADER_MAGIC: &[u8; 8] = b"dtarBRIK";
const FOOTER_MAGIC: &[u8; 8] = b"dtarFOOT";
const HEADER: &str = "brick header";
const FOOTER: &str = "brick footer";

/// What a brick begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrickHeader {
    /// The store.
    pub store_id: StoreId,
    /// The brick's salt.
    pub salt: Salt,
    /// Epoch of the put secret in use.
    pub epoch: Epoch,
    /// Class of all its frames.
    pub class: Class,
}

impl BrickHeader {
    /// The 80 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LENGTH);
        put_prefix(&mut out, HEADER_MAGIC);
        out.extend_from_slice(self.store_id.as_bytes());
        out.extend_from_slice(self.salt.as_bytes());
        out.extend_from_slice(&self.epoch.0.to_le_bytes());
        out.push(self.class as u8);
        out.resize(HEADER_LENGTH - CHECK_LENGTH, 0);
        put_check(&mut out, 0);
        out
    }

    /// Reads the header at the start of `bytes`.
    ///
    /// # Errors
    /// A prefix that this dtar does not know, a check that does not match, epoch 0, an
    /// unknown class, fewer than 80 bytes.
    pub fn decode(bytes: &[u8]) -> DecodeResult<Self> {
        let mut decoder = Decoder::new(HEADER, bytes);
        decoder.prefix(HEADER_MAGIC)?;
        let store_id = StoreId(decoder.array("store id")?);
        let salt = Salt(decoder.array("salt")?);
        let mut checked = decoder.clone();
        decoder.bytes("epoch, class and reserved", 16)?;
        decoder.check(0)?;
        let epoch = frame::epoch(&mut checked)?;
        let class = code(&mut checked, "class", "0 (data) or 1 (metadata)", |code| {
            Class::from_code(code)
        })?;
        Ok(Self {
            store_id,
            salt,
            epoch,
            class,
        })
    }
}

impl BrickHeader {
    /// Refuses a frame that does not belong into the brick with this header. Its salt,
    /// number and epoch are those under which it was sealed, perhaps in another brick.
    ///
    /// # Errors
    /// A field `store id` or `class` of the frame header that is another here.
    pub fn require_frame(&self, frame: &FrameHeader<'_>) -> DecodeResult<()> {
        let fields = &frame.fields;
        let value = |field, at, expected: &dyn Display, found: &dyn Display| {
            Err(DecodeError::value(
                frame::HEADER,
                field,
                at,
                expected,
                found,
            ))
        };
        if fields.store_id != self.store_id {
            return value("store id", 24, &self.store_id, &fields.store_id);
        }
        if fields.class != self.class {
            return value("class", 64, &self.class, &fields.class);
        }
        Ok(())
    }
}

/// What a brick ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footer {
    /// Where the TOC begins in the brick.
    pub toc_offset: u64,
    /// Length of the TOC.
    pub toc_length: u64,
}

impl Footer {
    /// The length of the brick that ends with this footer.
    #[must_use]
    pub const fn brick_length(&self) -> u64 {
        self.toc_offset
            .saturating_add(self.toc_length)
            .saturating_add(FOOTER_LENGTH as u64)
    }

    /// How many bytes to read for the TOC.
    ///
    /// # Errors
    /// More than a TOC has. The offset is that in the footer.
    pub fn require_toc_length(&self) -> DecodeResult<usize> {
        if self.toc_length <= MAX_TOC_LENGTH
            && let Ok(length) = usize::try_from(self.toc_length)
        {
            return Ok(length);
        }
        Err(DecodeError::value(
            FOOTER,
            "length of the TOC",
            24,
            MAX_TOC_LENGTH,
            self.toc_length,
        ))
    }

    /// The 64 bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; FOOTER_LENGTH] {
        let mut out = Vec::with_capacity(FOOTER_LENGTH);
        put_prefix(&mut out, FOOTER_MAGIC);
        for number in [self.toc_offset, self.toc_length, self.brick_length(), 0] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        put_check(&mut out, 0);
        let mut bytes = [0; FOOTER_LENGTH];
        bytes.copy_from_slice(&out);
        bytes
    }

    /// Reads a footer, the last 64 bytes of a brick of `brick_length` bytes.
    ///
    /// # Errors
    /// A prefix that this dtar does not know, a check that does not match, an offset
    /// and lengths that do not agree with each other or with the brick.
    pub fn decode(bytes: &[u8; FOOTER_LENGTH], brick_length: u64) -> DecodeResult<Self> {
        let mut decoder = Decoder::new(FOOTER, bytes);
        decoder.prefix(FOOTER_MAGIC)?;
        let toc_offset = decoder.u64("offset of the TOC")?;
        let toc_length = decoder.u64("length of the TOC")?;
        let mut at_length = decoder.clone();
        let length = decoder.u64("length of the brick")?;
        let _reserved = decoder.u64("reserved")?;
        decoder.check(0)?;
        let footer = Self {
            toc_offset,
            toc_length,
        };
        if length != brick_length || length > MAX_LENGTH {
            let expected = format_args!("{brick_length}, at most {MAX_LENGTH}");
            return Err(at_length.error("length of the brick", expected, length));
        }
        if footer.brick_length() != length || toc_offset < HEADER_LENGTH as u64 {
            at_length = Decoder::new(FOOTER, bytes);
            at_length.bytes("prefix", 16)?;
            let expected = "header, frames, TOC and footer to be the whole brick";
            let found = format_args!("a TOC of {toc_length} bytes at {toc_offset} of {length}");
            return Err(at_length.error("offset of the TOC", expected, found));
        }
        Ok(footer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::wire::{Fault, check};

    const HEADER: BrickHeader = BrickHeader {
        store_id: StoreId([1; 16]),
        salt: Salt([2; 16]),
        epoch: Epoch(3),
        class: Class::Metadata,
    };

    #[test]
    fn headers_go_both_ways() {
        let bytes = HEADER.encode();
        assert_eq!(bytes.len(), HEADER_LENGTH);
        assert_eq!(BrickHeader::decode(&bytes), Ok(HEADER));
    }

    #[test]
    fn every_damaged_byte_of_a_header_is_noticed() {
        for position in 0..HEADER_LENGTH {
            let mut bytes = HEADER.encode();
            bytes[position] ^= 1;
            assert!(BrickHeader::decode(&bytes).is_err(), "{position}");
        }
    }

    #[test]
    fn an_unknown_class_is_named() {
        let mut bytes = HEADER.encode();
        bytes[52] = 2;
        let check = check(&bytes[..64]);
        bytes[64..].copy_from_slice(&check);
        let error = BrickHeader::decode(&bytes).unwrap_err();
        assert_eq!((error.field, error.offset), ("class", 52));
    }

    #[test]
    fn a_footer_names_no_longer_toc_than_there_are() {
        let length = |toc_length| {
            let footer = Footer {
                toc_offset: 80,
                toc_length,
            };
            footer.require_toc_length()
        };
        assert_eq!(length(88 + (32 << 20)), Ok(33_554_520));
        let error = length(88 + (32 << 20) + 1).unwrap_err();
        assert_eq!((error.field, error.offset), ("length of the TOC", 24));
        assert!(length(u64::MAX).is_err());
    }

    #[test]
    fn a_footer_agrees_with_itself_and_with_the_brick() {
        let footer = Footer {
            toc_offset: 1000,
            toc_length: 100,
        };
        assert_eq!(Footer::decode(&footer.encode(), 1164), Ok(footer));
        assert!(Footer::decode(&footer.encode(), 1163).is_err());
        let inside_the_header = Footer {
            toc_offset: 79,
            toc_length: 100,
        };
        assert!(Footer::decode(&inside_the_header.encode(), 243).is_err());
        let mut bytes = footer.encode();
        bytes[20] ^= 1;
        assert_eq!(
            Footer::decode(&bytes, 1164).unwrap_err().fault,
            Fault::Check
        );
    }
}
