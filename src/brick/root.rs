//! Seals and opens roots (`formats/store.md#roots`).

use rand_core::CryptoRng;

use super::toc::require;
use crate::crypto::{PutKeys, Random, TAG_LENGTH};
use crate::error::{Error, Result};
use crate::format::root::{MAX_SEALED_ROOT_LENGTH, ROOT_HEADER_LENGTH, Root, RootHeader};
use crate::format::wire::{DecodeError, DecodeResult, Decoder, Fault};
use crate::id::Salt;

/// Seals a root: the bytes of its file.
///
/// # Errors
/// Fails if the root breaks a limit, or if the operating system has no random bytes.
pub fn seal_root(keys: &PutKeys, root: &Root) -> Result<Vec<u8>> {
    seal_root_with_random(keys, root, &mut Random::from_os()?)
}

/// As [`seal_root`], with a salt from `random`: for test vectors.
///
/// # Errors
/// Fails if the root breaks a limit.
#[doc(hidden)]
pub fn seal_root_with_random(
    keys: &PutKeys,
    root: &Root,
    random: &mut impl CryptoRng,
) -> Result<Vec<u8>> {
    let mut salt = Salt([0; Salt::SIZE]);
    random.fill_bytes(&mut salt.0);
    let mut plain = Vec::new();
    root.encode(&mut plain)?;
    let sealed_length = (plain.len() + TAG_LENGTH) as u64;
    if sealed_length > MAX_SEALED_ROOT_LENGTH {
        return Err(Error::Internal("a root of more than 1 GiB".into()));
    }
    let mut out = Vec::with_capacity(ROOT_HEADER_LENGTH + plain.len() + TAG_LENGTH);
    let sealing = keys.root.begin(salt, &mut plain);
    RootHeader {
        sealed_length,
        epoch: keys.epoch,
        store_id: keys.store_id,
        salt,
        siv: sealing.siv(),
    }
    .encode(&mut out);
    let tag = sealing.finish(&out)?;
    out.extend_from_slice(&plain);
    out.extend_from_slice(&tag);
    Ok(out)
}

/// Opens the bytes of a root's file. [`RootHeader::decode`] says, without keys, of which
/// epoch and store it is.
///
/// # Errors
/// All that can be wrong with it; a field `epoch` or `store id` if the keys are of
/// another one.
pub fn open_root(keys: &PutKeys, bytes: &[u8]) -> DecodeResult<Root> {
    let header = RootHeader::decode(bytes)?;
    let mut decoder = Decoder::new("root", bytes);
    let associated = decoder.bytes("header", ROOT_HEADER_LENGTH)?;
    let length = usize::try_from(header.sealed_length).unwrap_or(usize::MAX);
    let sealed = decoder.bytes("sealed bytes", length)?;
    if !decoder.is_empty() {
        let found = format_args!("{} bytes more", decoder.rest().len());
        return Err(decoder.error("length", "the end of the root", found));
    }
    require("root", "epoch", 24, keys.epoch, header.epoch)?;
    require("root", "store id", 32, keys.store_id, header.store_id)?;
    let mut sealed = sealed.to_vec();
    let opened = keys
        .root
        .open(header.salt, header.siv, associated, &mut sealed)
        .map_err(|_| DecodeError {
            structure: "root",
            field: "seal",
            offset: ROOT_HEADER_LENGTH as u64,
            fault: Fault::Check,
        })?;
    Root::decode(opened).map_err(|error| error.moved_by(ROOT_HEADER_LENGTH as u64))
}
