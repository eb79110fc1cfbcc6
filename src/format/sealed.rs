//! The header of what is sealed as a whole under a salt of its own: roots
//! (`formats/store.md#roots`) and notes (`formats/collection.md#notes`).

use super::frame::{self, TAG_LENGTH};
use super::wire::{DecodeResult, Decoder, put_check, put_prefix};
use crate::id::{Epoch, Salt, Siv, StoreId};

/// Length of the header in the clear, which is the associated data of the seal.
pub const HEADER_LENGTH: usize = 96;
/// The longest sealed bytes, with the tag: 1 GiB.
pub const MAX_SEALED_LENGTH: u64 = 1 << 30;

/// What is sealed so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedKind {
    magic: &'static [u8; 8],
    header: &'static str,
    /// What it is called, in errors.
    pub name: &'static str,
}

/// Roots.
pub const ROOT: SealedKind = SealedKind {
    magic: b"dtarROOT",
    header: "root header",
    name: "root",
};

/// Notes.
pub const NOTE: SealedKind = SealedKind {
    magic: b"dtarNOTE",
    header: "note header",
    name: "note",
};

/// What stands in the clear before the sealed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedHeader {
    /// Length of the sealed bytes, with the tag.
    pub sealed_length: u64,
    /// Epoch of the put secret in use.
    pub epoch: Epoch,
    /// The store.
    pub store_id: StoreId,
    /// The salt, drawn for this one.
    pub salt: Salt,
    /// The SIV of what is sealed.
    pub siv: Siv,
}

impl SealedHeader {
    /// Appends the 96 bytes.
    pub fn encode(&self, kind: SealedKind, out: &mut Vec<u8>) {
        let start = out.len();
        put_prefix(out, kind.magic);
        out.extend_from_slice(&self.sealed_length.to_le_bytes());
        out.extend_from_slice(&self.epoch.0.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(self.store_id.as_bytes());
        out.extend_from_slice(self.salt.as_bytes());
        out.extend_from_slice(self.siv.as_bytes());
        put_check(out, start);
    }

    /// Reads the header at the start of `bytes`.
    ///
    /// # Errors
    /// A prefix that this dtar does not know, a check that does not match, a sealed
    /// length beyond the limit, epoch 0, fewer than 96 bytes.
    pub fn decode(kind: SealedKind, bytes: &[u8]) -> DecodeResult<Self> {
        let mut decoder = Decoder::new(kind.header, bytes);
        decoder.prefix(kind.magic)?;
        let at_length = decoder.clone();
        let sealed_length = decoder.u64("sealed length")?;
        let mut at_epoch = decoder.clone();
        decoder.bytes("epoch", 4)?;
        let _reserved = decoder.u32("reserved")?;
        let store_id = StoreId(decoder.array("store id")?);
        let salt = Salt(decoder.array("salt")?);
        let siv = Siv(decoder.array("SIV")?);
        decoder.check(0)?;
        if !(TAG_LENGTH as u64..=MAX_SEALED_LENGTH).contains(&sealed_length) {
            let expected = format_args!("{TAG_LENGTH} to {MAX_SEALED_LENGTH}");
            return Err(at_length.error("sealed length", expected, sealed_length));
        }
        Ok(Self {
            sealed_length,
            epoch: frame::epoch(&mut at_epoch)?,
            store_id,
            salt,
            siv,
        })
    }
}
