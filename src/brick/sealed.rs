//! Seals and opens what has a salt of its own and is sealed as a whole: roots and notes.

use rand_core::CryptoRng;

use super::toc::require;
use crate::crypto::{PutKeys, SaltedKey, TAG_LENGTH};
use crate::error::{Error, Result};
use crate::format::sealed::{HEADER_LENGTH, MAX_SEALED_LENGTH, SealedHeader, SealedKind};
use crate::format::wire::{DecodeError, DecodeResult, Decoder, Fault};
use crate::id::Salt;

/// The bytes of the file that holds `plain`, sealed with `key`, one of `keys`.
pub(super) fn seal(
    kind: SealedKind,
    keys: &PutKeys,
    key: &SaltedKey,
    plain: &mut [u8],
    random: &mut impl CryptoRng,
) -> Result<Vec<u8>> {
    let mut salt = Salt([0; Salt::SIZE]);
    random.fill_bytes(&mut salt.0);
    let sealed_length = (plain.len() + TAG_LENGTH) as u64;
    if sealed_length > MAX_SEALED_LENGTH {
        return Err(Error::Internal(format!(
            "a {} of more than 1 GiB",
            kind.name
        )));
    }
    let mut out = Vec::with_capacity(HEADER_LENGTH + plain.len() + TAG_LENGTH);
    let sealing = key.begin(salt, plain);
    SealedHeader {
        sealed_length,
        epoch: keys.epoch,
        store_id: keys.store_id,
        salt,
        siv: sealing.siv(),
    }
    .encode(kind, &mut out);
    let tag = sealing.finish(&out)?;
    out.extend_from_slice(plain);
    out.extend_from_slice(&tag);
    Ok(out)
}

/// Opens the bytes of a file with `key`, one of `keys`, and hands them to `decode`.
pub(super) fn open<T>(
    kind: SealedKind,
    keys: &PutKeys,
    key: &SaltedKey,
    bytes: &[u8],
    decode: impl FnOnce(&[u8]) -> DecodeResult<T>,
) -> DecodeResult<T> {
    let header = SealedHeader::decode(kind, bytes)?;
    let mut decoder = Decoder::new(kind.name, bytes);
    let associated = decoder.bytes("header", HEADER_LENGTH)?;
    let length = usize::try_from(header.sealed_length).unwrap_or(usize::MAX);
    let sealed = decoder.bytes("sealed bytes", length)?;
    if !decoder.is_empty() {
        let expected = format_args!("the end of the {}", kind.name);
        let found = format_args!("{} bytes more", decoder.rest().len());
        return Err(decoder.error("length", expected, found));
    }
    require(kind.name, "epoch", 24, keys.epoch, header.epoch)?;
    require(kind.name, "store id", 32, keys.store_id, header.store_id)?;
    let mut sealed = sealed.to_vec();
    let opened = key
        .open(header.salt, header.siv, associated, &mut sealed)
        .map_err(|_| DecodeError {
            structure: kind.name,
            field: "seal",
            offset: HEADER_LENGTH as u64,
            fault: Fault::Check,
        })?;
    decode(opened).map_err(|error| error.moved_by(HEADER_LENGTH as u64))
}
