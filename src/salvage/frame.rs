//! A frame that is to be kept.

use crate::brick::OpenFrame;
use crate::crypto::PutKeys;
use crate::format::frame::FrameHeader;
use crate::format::toc::TocChunk;
use crate::id::{ChunkHash, Class, Epoch, StoreId};

/// What a frame is told apart by.
pub(super) type Identity = [u8; 16];

/// What is known of a frame that is to be kept.
pub(super) struct SalvagedFrame {
    pub(super) identity: Identity,
    pub(super) store: StoreId,
    pub(super) epoch: Epoch,
    pub(super) class: Class,
    pub(super) length: u32,
    /// Of a verified frame: its plain length and its chunks.
    pub(super) plain_length: u32,
    pub(super) chunks: Vec<TocChunk>,
    /// Whether it was opened.
    pub(super) verified: bool,
    /// Whether the key in use is its store's own, so that TOCs can be opened and sealed.
    pub(super) is_own: bool,
}

impl SalvagedFrame {
    /// A frame that could not be opened. It is told apart by all its bytes: a damaged
    /// copy must not keep a sound one out.
    pub(super) fn unverified(header: &FrameHeader<'_>, bytes: &[u8]) -> Self {
        Self::new(header, bytes, false)
    }

    /// A frame that was opened; without `keys` its chunks have no ids. It is told apart
    /// by its header: that says what the sealed bytes must be.
    pub(super) fn verified(
        header: &FrameHeader<'_>,
        bytes: &[u8],
        opened: &OpenFrame,
        hashes: &[ChunkHash],
        keys: Option<&PutKeys>,
    ) -> Self {
        let header_bytes = bytes.get(..header.length as usize).unwrap_or(bytes);
        let mut frame = Self::new(header, header_bytes, true);
        frame.plain_length = u32::try_from(opened.plain.len()).unwrap_or(u32::MAX);
        if let Some(keys) = keys {
            let key = match frame.class {
                Class::Data => &keys.chunk_id,
                Class::Metadata => &keys.metadata_id,
            };
            let chunk = |(place, hash)| {
                let length = opened.chunk(place).unwrap_or_default().len();
                TocChunk {
                    id: key.id(hash),
                    length: u32::try_from(length).unwrap_or(u32::MAX),
                }
            };
            frame.chunks = (0..).zip(hashes).map(chunk).collect();
        }
        frame
    }

    fn new(header: &FrameHeader<'_>, identifying: &[u8], verified: bool) -> Self {
        let mut identity = Identity::default();
        identity.copy_from_slice(&blake3::hash(identifying).as_bytes()[..16]);
        Self {
            identity,
            store: header.fields.store_id,
            epoch: header.fields.epoch,
            class: header.fields.class,
            length: header.frame_length(),
            plain_length: 0,
            chunks: Vec::new(),
            verified,
            is_own: false,
        }
    }
}
