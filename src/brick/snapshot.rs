//! Seals and opens snapshot files (`formats/snapshot.md#snapshot-file`).

use std::path::Path;

use rand_core::CryptoRng;

use super::builder::{CompressedFrame, Compressor, DEFAULT_LEVEL, FrameBuilder};
use super::opener::{FrameOpener, OpenFrame, OpenScratch};
use super::pad::Pad;
use super::sealer::BrickSealer;
use crate::crypto::{PublicKey, Random};
use crate::error::{Error, Result};
use crate::format::frame::FrameHeader;
use crate::format::snapshot::Snapshot;
use crate::format::wire::DecodeError;
use crate::id::{Class, Epoch, StoreId};

/// Seals a snapshot to `recipients`: the bytes of its file, one frame.
///
/// # Errors
/// Fails if it breaks a limit, or if the operating system has no random bytes.
pub fn seal_snapshot(
    store_id: StoreId,
    epoch: Epoch,
    recipients: &[PublicKey],
    snapshot: &Snapshot,
    pad: Pad,
) -> Result<Vec<u8>> {
    let random = &mut Random::from_os()?;
    seal_snapshot_with_random(store_id, epoch, recipients, snapshot, pad, random)
}

/// As [`seal_snapshot`], with salt and brick key from `random`: for test vectors.
///
/// # Errors
/// Fails if it breaks a limit.
#[doc(hidden)]
pub fn seal_snapshot_with_random(
    store_id: StoreId,
    epoch: Epoch,
    recipients: &[PublicKey],
    snapshot: &Snapshot,
    pad: Pad,
    random: &mut impl CryptoRng,
) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    snapshot.encode(&mut content)?;
    let mut builder = FrameBuilder::new();
    builder.push(&content);
    let sealer = BrickSealer::with_random(store_id, epoch, Class::Metadata, recipients, random)?;
    let mut frame = CompressedFrame::new();
    builder.compress(
        &mut Compressor::new(),
        DEFAULT_LEVEL,
        sealer.frame_header_length(),
        pad,
        &mut frame,
    )?;
    sealer.seal_frame(0, &mut frame)?;
    Ok(frame.bytes)
}

/// Opens the bytes of the snapshot file at `path`.
///
/// # Errors
/// All that can be wrong with it: another store or key, damage, a frame of another class.
pub fn open_snapshot(opener: &FrameOpener, path: &Path, mut bytes: Vec<u8>) -> Result<Snapshot> {
    let decode = |error| Error::decode(path, 0)(error);
    let header = FrameHeader::decode(&bytes).map_err(decode)?;
    require_metadata(header.fields.class).map_err(decode)?;
    let mut frame = OpenFrame::new();
    opener
        .open(&mut bytes, &mut OpenScratch::new(), &mut frame)
        .map_err(|error| error.into_error(path, 0))?;
    if frame.chunk_count() != 1 {
        return Err(decode(DecodeError::value(
            "snapshot",
            "number of chunks",
            0,
            1,
            frame.chunk_count(),
        )));
    }
    Snapshot::decode(frame.chunk(0).unwrap_or_default()).map_err(decode)
}

/// Refuses a frame that is not of class metadata.
pub(crate) fn require_metadata(class: Class) -> Result<(), DecodeError> {
    if class == Class::Metadata {
        return Ok(());
    }
    Err(DecodeError::value(
        "frame header",
        "class",
        64,
        "1, metadata",
        "0, data",
    ))
}
