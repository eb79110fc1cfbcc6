//! Frames, bricks, roots and notes: where formats and cryptography join. No files.
//!
//! Archiving: a [`FrameBuilder`] gathers chunks and compresses them, a
//! [`BrickSealer`] seals the frames of one brick and its TOC. Restoring: a
//! [`FrameOpener`] opens frames wherever they lie, [`open_toc`] opens TOCs.

mod builder;
mod note;
mod opener;
mod pad;
mod root;
mod sealed;
mod sealer;
mod snapshot;
mod toc;

pub use builder::{CompressedFrame, Compressor, DEFAULT_LEVEL, Effort, FrameBuilder};
pub use note::{open_note, seal_note, seal_note_with_random};
pub use opener::{FrameError, FrameOpener, OpenFrame, OpenScratch};
pub use pad::Pad;
pub use root::{open_root, seal_root, seal_root_with_random};
pub use sealer::{BrickSealer, MovedBrick, frame_header_length};
pub(crate) use snapshot::require_metadata;
pub use snapshot::{open_snapshot, seal_snapshot, seal_snapshot_with_random};
pub use toc::{
    SIDECAR_SEAL_LENGTH, SidecarSeal, make_sidecar, open_brick_toc, open_sidecar, open_toc,
};

use crate::format::brick::{FOOTER_LENGTH, Footer};

/// The last 64 bytes of a brick whose TOC lies at `toc_offset`
/// (`formats/brick.md#footer`).
#[must_use]
pub fn footer(toc_offset: u64, toc_length: u64) -> [u8; FOOTER_LENGTH] {
    Footer {
        toc_offset,
        toc_length,
    }
    .encode()
}
