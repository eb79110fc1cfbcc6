//! Opens TOCs, in bricks and as sidecars (`formats/brick.md`).

use std::fmt::Display;

use crate::crypto::PutKeys;
use crate::format::brick::{BrickHeader, Footer};
use crate::format::toc::{TOC_HEADER_LENGTH, Toc, TocHeader};
use crate::format::wire::{DecodeError, DecodeResult, Decoder, Fault};
use crate::id::BrickName;

/// Length of the bytes that bind a sidecar to its brick.
pub const SIDECAR_SEAL_LENGTH: usize = 32;

/// The last bytes of a sidecar: the keyed hash over a brick's name and its TOC
/// (`formats/brick.md#sidecar`). Two sidecars that differ in either have others, whoever
/// made them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SidecarSeal(pub [u8; SIDECAR_SEAL_LENGTH]);

impl SidecarSeal {
    /// That of a sidecar; `None` for what is too short to be one.
    #[must_use]
    pub fn of(sidecar: &[u8]) -> Option<Self> {
        sidecar.last_chunk().copied().map(Self)
    }
}

/// Opens a TOC: header and sealed bytes, no more. [`TocHeader::decode`] says, without
/// keys, of which epoch and store it is.
///
/// # Errors
/// All that can be wrong with it; a field `epoch` or `store id` if the keys are of
/// another one.
pub fn open_toc(keys: &PutKeys, bytes: &[u8]) -> DecodeResult<Toc> {
    let header = TocHeader::decode(bytes)?;
    let mut decoder = Decoder::new("TOC", bytes);
    let associated = decoder.bytes("header", TOC_HEADER_LENGTH)?;
    let sealed = decoder.bytes("sealed bytes", header.sealed_length as usize)?;
    if !decoder.is_empty() {
        let found = format_args!("{} bytes more", decoder.rest().len());
        return Err(decoder.error("length", "the end of the TOC", found));
    }
    require("TOC", "epoch", 20, keys.epoch, header.epoch)?;
    require("TOC", "store id", 24, keys.store_id, header.store_id)?;
    let mut sealed = sealed.to_vec();
    let opened = keys
        .toc
        .open(header.salt, header.siv, associated, &mut sealed)
        .map_err(|_| unverified("TOC", "seal", TOC_HEADER_LENGTH))?;
    Toc::decode(opened).map_err(|error| error.moved_by(TOC_HEADER_LENGTH as u64))
}

/// Opens the TOC of a brick with this header and footer: the TOC is of the same brick
/// and class, and its frames end where it begins.
///
/// # Errors
/// As [`open_toc`]; a field of the TOC that is another in the brick. Offsets are those
/// in the TOC.
pub fn open_brick_toc(
    keys: &PutKeys,
    brick: &BrickHeader,
    bytes: &[u8],
    footer: &Footer,
) -> DecodeResult<Toc> {
    let header = TocHeader::decode(bytes)?;
    require("TOC", "epoch", 20, brick.epoch, header.epoch)?;
    require("TOC", "store id", 24, brick.store_id, header.store_id)?;
    require("TOC", "salt", 40, brick.salt, header.salt)?;
    let toc = open_toc(keys, bytes)?;
    let content = TOC_HEADER_LENGTH as u64;
    require("TOC", "class", content + 8, brick.class, toc.class())?;
    require(
        "TOC",
        "end of the frames",
        content,
        footer.toc_offset,
        toc.end(),
    )?;
    Ok(toc)
}

/// Refuses a field that is not what the brick or the keys say.
pub(super) fn require<T: PartialEq + Display>(
    structure: &'static str,
    field: &'static str,
    offset: u64,
    expected: T,
    found: T,
) -> DecodeResult<()> {
    if expected == found {
        return Ok(());
    }
    Err(DecodeError::value(
        structure, field, offset, expected, found,
    ))
}

/// The sidecar of the brick `name`, whose TOC, sealed, is `toc`.
#[must_use]
pub fn make_sidecar(keys: &PutKeys, name: &BrickName, toc: &[u8]) -> Vec<u8> {
    [toc, &keys.sidecar.bind(name, toc)].concat()
}

/// Opens the sidecar that was found under `name`.
///
/// # Errors
/// As [`open_toc`]; a field `sidecar seal` if it is not the sidecar of that brick.
pub fn open_sidecar(keys: &PutKeys, name: &BrickName, bytes: &[u8]) -> DecodeResult<Toc> {
    let Some((toc, seal)) = bytes.split_last_chunk::<SIDECAR_SEAL_LENGTH>() else {
        return Err(DecodeError {
            structure: "sidecar",
            field: "sidecar seal",
            offset: 0,
            fault: Fault::Truncated {
                needed: SIDECAR_SEAL_LENGTH as u64,
                found: bytes.len() as u64,
            },
        });
    };
    // The header in the clear first: it tells a newer version and another epoch or
    // store, whose keys are others, from damage.
    let header = TocHeader::decode(toc)?;
    let ours = header.epoch == keys.epoch && header.store_id == keys.store_id;
    if ours && !keys.sidecar.verify(name, toc, seal) {
        return Err(unverified("sidecar", "sidecar seal", toc.len()));
    }
    open_toc(keys, toc)
}

fn unverified(structure: &'static str, field: &'static str, offset: usize) -> DecodeError {
    DecodeError {
        structure,
        field,
        offset: offset as u64,
        fault: Fault::Check,
    }
}
