//! Bricks in the making: header, frames, table of contents, footer, and the name that
//! follows from all of them (`formats/brick.md`).

use std::sync::Arc;

use super::Store;
use super::named::NamedByHash;
use super::runs::Lease;
use crate::brick::{BrickSealer, SidecarSeal, footer};
use crate::crypto::PutKeys;
use crate::error::Result;
use crate::format::origins::Origin;
use crate::format::toc::{Toc, TocChunk};
use crate::id::{BrickName, Class};

/// Length of brick header, TOC without its frames, and footer.
pub(crate) const AROUND: u64 = 80 + 132 + 64;

/// The most that a frame of so many chunks takes in a TOC.
pub(crate) const fn toc_share(chunks: usize) -> u64 {
    // Frame: three `uv` of at most 5, 4 and 3 bytes. Chunk: an id and a `uv` of at most 3.
    12 + chunks as u64 * 19
}

/// A brick that takes further frames.
pub(crate) struct NewBrick {
    sealer: Arc<BrickSealer>,
    file: NamedByHash,
    toc: Toc,
}

impl NewBrick {
    /// Begins the brick of a sealer of this class, in a file of the run.
    pub(crate) fn begin(lease: &Lease, sealer: Arc<BrickSealer>, class: Class) -> Result<Self> {
        let mut file = NamedByHash::new(Some(lease.temp_file()?));
        file.write(&sealer.header())?;
        Ok(Self {
            sealer,
            file,
            toc: Toc::new(class, lease.writer()),
        })
    }

    /// Begins a brick of frames that were sealed in others.
    pub(crate) fn begin_moved(lease: &Lease, store: &Store, class: Class) -> Result<Self> {
        let sealer = BrickSealer::new(*store.id(), store.epoch(), class, store.recipients())?;
        Self::begin(lease, Arc::new(sealer), class)
    }

    /// Bytes so far.
    pub(crate) const fn length(&self) -> u64 {
        self.file.length()
    }

    /// What it holds so far.
    pub(crate) const fn toc(&self) -> &Toc {
        &self.toc
    }

    /// Adds a sealed frame, whose content is `plain_length` bytes long.
    pub(crate) fn push(
        &mut self,
        frame: &[u8],
        plain_length: u32,
        chunks: impl IntoIterator<Item = TocChunk>,
    ) -> Result<()> {
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        self.toc.push_frame(length, plain_length, chunks)?;
        self.file.write(frame)
    }

    /// Says where the frames stood before (see [`Toc::set_origins`]).
    pub(crate) fn set_origins(&mut self, frames: &[Vec<Origin>], old: &[BrickName]) -> Result<()> {
        self.toc.set_origins(frames, old)
    }

    /// Ends it: nothing but its name is missing then.
    pub(crate) fn close(mut self, keys: &PutKeys) -> Result<ClosedBrick> {
        let toc_offset = self.file.length();
        let toc_bytes = self.sealer.seal_toc(keys, &self.toc)?;
        self.file.write(&toc_bytes)?;
        self.file
            .write(&footer(toc_offset, toc_bytes.len() as u64))?;
        Ok(ClosedBrick {
            name: BrickName(self.file.hash()),
            file: self.file,
            toc: self.toc,
            toc_bytes,
        })
    }
}

/// A brick of which all bytes are written.
pub(crate) struct ClosedBrick {
    pub(crate) name: BrickName,
    pub(crate) toc: Toc,
    file: NamedByHash,
    toc_bytes: Vec<u8>,
}

impl ClosedBrick {
    /// Its bytes.
    pub(crate) const fn length(&self) -> u64 {
        self.file.length()
    }

    /// Publishes the brick, then its sidecar, each durable before the next. Returns its
    /// table of contents, and the seal of its sidecar.
    pub(crate) fn publish(
        self,
        store: &Store,
        keys: &PutKeys,
        lease: &Lease,
    ) -> Result<(Toc, SidecarSeal)> {
        let (name, class) = (&self.name, self.toc.class());
        self.file
            .publish(|file| store.publish_brick(lease, file, name, class).map(drop))?;
        let seal = store.write_sidecar(lease, keys, name, &self.toc_bytes)?;
        Ok((self.toc, seal))
    }
}
