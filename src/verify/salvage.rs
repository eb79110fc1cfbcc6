//! What is left of a brick whose bytes are not those of its name, and that has no sidecar:
//! its frames, put into a new brick (`formats/store.md#rebuilding`).

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;

use super::copy::Scratch;
use super::finding::{Fault, Kind};
use super::jobs::Copy;
use super::means::{Keyed, Means};
use super::rebuild::{Rebuilding, open};
use super::scan::{Scanned, scan};
use crate::archive::Monitor;
use crate::brick::{BrickSealer, FrameOpener, OpenFrame, footer};
use crate::error::{Error, Result};
use crate::format::brick::HEADER_LENGTH;
use crate::format::frame::FrameHeader;
use crate::format::toc::{Toc, TocChunk};
use crate::id::{BrickName, ChunkHash, ChunkId, Class};
use crate::store::atomic::TempFile;
use crate::store::catalog::Catalog;
use crate::store::runs::Lease;

/// The salvage of one brick.
pub(super) struct Salvage<'a> {
    means: &'a Means<'a>,
    keyed: &'a Keyed<'a>,
    lease: &'a Lease,
    monitor: &'a Monitor,
    catalog: &'a mut Catalog,
    name: BrickName,
    /// Chunks of the frames of this brick that stand in other bricks already.
    moved: HashSet<Vec<ChunkId>>,
    /// New bricks, one a class.
    bricks: [Option<NewBrick>; 2],
}

impl<'a> Salvage<'a> {
    /// `carriers`: the bricks that frames of this one were put into before.
    pub(super) fn new(
        means: &'a Means<'a>,
        keyed: &'a Keyed<'a>,
        lease: &'a Lease,
        monitor: &'a Monitor,
        catalog: &'a mut Catalog,
        name: BrickName,
        carriers: &[BrickName],
    ) -> Self {
        let mut moved = HashSet::new();
        for carrier in carriers {
            let toc = keyed
                .store
                .read_sidecar(&keyed.keys, carrier, &mut Vec::new());
            // One that has gone since it was listed: then there is more to do.
            if let Ok(toc) = toc {
                moved.extend(
                    toc.frames()
                        .iter()
                        .map(|frame| ids_of(toc.chunks_of(frame))),
                );
            }
        }
        Self {
            moved,
            means,
            keyed,
            lease,
            monitor,
            catalog,
            name,
            bricks: [None, None],
        }
    }

    /// Puts what is left in `copies`, and nowhere else, into new bricks. Says what came
    /// of each file.
    pub(super) fn run(&mut self, copies: &[Copy]) -> Result<Vec<Rebuilding>> {
        let mut steps = Vec::new();
        let Some(opener) = &self.means.opener else {
            let path = copies.first().map_or(Path::new(""), |copy| &copy.path);
            let message = "damaged, and it has no sidecar: what is left of it is found with the \
                           secret key only";
            let fault = Fault::new(Kind::Brick, path, message).of(self.name);
            return Ok(vec![Rebuilding::Fault(fault)]);
        };
        for copy in copies {
            match self.file(opener, &copy.path) {
                Ok(scanned) => steps.extend(self.finish(&copy.path, &scanned)?),
                Err(Stop::Fault(fault)) => steps.push(Rebuilding::Fault(fault.of(self.name))),
                Err(Stop::Error(error)) => return Err(error),
            }
        }
        Ok(steps)
    }

    fn file(&mut self, opener: &FrameOpener, path: &Path) -> Result<Scanned, Stop> {
        let (file, length) = open(path).map_err(Stop::Fault)?;
        let mut scratch = Scratch::default();
        let mut sealed = Vec::new();
        let monitor = self.monitor;
        // The place of a frame is known as long as none was missed before it.
        let mut next = Some((HEADER_LENGTH as u64, 0));
        let scanned = scan(&file, 0..length, monitor, &mut |offset, bytes| {
            // Opening decrypts in place.
            sealed.clear();
            sealed.extend_from_slice(bytes);
            if !scratch.opens(opener, &mut sealed) {
                return Ok(false);
            }
            let place = next.filter(|(start, _)| *start == offset);
            next = place.map(|(start, place)| (start + bytes.len() as u64, place + 1));
            self.frame(bytes, scratch.frame(), place.map(|(_, place)| place))?;
            Ok(true)
        });
        scanned.map_err(Stop::Error)
    }

    /// Takes a frame over, unless that was done before.
    fn frame(&mut self, bytes: &[u8], frame: &OpenFrame, place: Option<u32>) -> Result<()> {
        let class = match FrameHeader::decode(bytes) {
            Ok(header) => header.fields.class,
            Err(_) => return Ok(()),
        };
        let ids = self.keyed.ids(class);
        let mut chunks = Vec::new();
        for place in 0..frame.chunk_count() {
            let chunk = frame.chunk(place).unwrap_or_default();
            chunks.push(TocChunk {
                id: ids.id(&ChunkHash(*blake3::hash(chunk).as_bytes())),
                length: u32::try_from(chunk.len()).unwrap_or(u32::MAX),
            });
        }
        if !self.moved.insert(ids_of(&chunks)) {
            return Ok(());
        }
        let slot = match class {
            Class::Data => &mut self.bricks[0],
            Class::Metadata => &mut self.bricks[1],
        };
        let brick = match slot {
            Some(brick) => brick,
            None => slot.insert(NewBrick::new(self.lease, self.keyed, class)?),
        };
        let plain = u32::try_from(frame.plain.len()).unwrap_or(u32::MAX);
        brick.push(bytes, plain, chunks, place)
    }

    /// Publishes what was taken over from a file.
    fn finish(&mut self, from: &Path, scanned: &Scanned) -> Result<Vec<Rebuilding>> {
        let lost = scanned.gaps.iter().map(|gap| gap.end - gap.start).sum();
        let mut steps = Vec::new();
        for brick in self.bricks.each_mut() {
            let Some(brick) = brick.take() else { continue };
            let frames = brick.toc.frames().len() as u64;
            let to = brick.publish(self.name, self.keyed, self.lease, self.catalog)?;
            steps.push(Rebuilding::Salvaged {
                from: from.to_owned(),
                to,
                frames,
                lost,
            });
        }
        if steps.is_empty() {
            steps.push(Rebuilding::Elsewhere {
                from: from.to_owned(),
                lost,
            });
        }
        Ok(steps)
    }
}

fn ids_of(chunks: &[TocChunk]) -> Vec<ChunkId> {
    chunks.iter().map(|chunk| chunk.id).collect()
}

enum Stop {
    Fault(Fault),
    Error(Error),
}

/// A brick of frames that were sealed in another.
struct NewBrick {
    sealer: BrickSealer,
    file: TempFile,
    hasher: blake3::Hasher,
    length: u64,
    toc: Toc,
    /// Of each frame its place in the old brick, if that is known.
    places: Vec<Option<u32>>,
}

impl NewBrick {
    fn new(lease: &Lease, keyed: &Keyed<'_>, class: Class) -> Result<Self> {
        let store = keyed.store;
        let sealer = BrickSealer::new(*store.id(), store.epoch(), class, store.recipients())?;
        let mut brick = Self {
            file: lease.temp_file()?,
            hasher: blake3::Hasher::new(),
            length: 0,
            places: Vec::new(),
            toc: Toc::new(class, lease.writer()),
            sealer,
        };
        let header = brick.sealer.header();
        brick.write(&header)?;
        Ok(brick)
    }

    fn push(
        &mut self,
        frame: &[u8],
        plain: u32,
        chunks: Vec<TocChunk>,
        place: Option<u32>,
    ) -> Result<()> {
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        self.toc.push_frame(length, plain, chunks)?;
        self.places.push(place);
        self.write(frame)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        self.file
            .write_all(bytes)
            .map_err(Error::io("write", self.file.path()))
    }

    /// The brick, its sidecar, its catalog entry, each durable before the next.
    fn publish(
        mut self,
        old: BrickName,
        keyed: &Keyed<'_>,
        lease: &Lease,
        catalog: &mut Catalog,
    ) -> Result<BrickName> {
        // By these gc knows what the frames are needed for.
        let origin = |place: &Option<u32>| place.map(|place| (old, place)).into_iter().collect();
        let origins: Vec<_> = self.places.iter().map(origin).collect();
        self.toc.set_origins(&origins, &[old])?;
        let toc_offset = self.length;
        let toc = self.sealer.seal_toc(&keyed.keys, &self.toc)?;
        self.write(&toc)?;
        self.write(&footer(toc_offset, toc.len() as u64))?;
        let name = BrickName(*self.hasher.finalize().as_bytes());
        keyed
            .store
            .publish_brick(lease, self.file, &name, self.toc.class())?;
        let seal = keyed.store.write_sidecar(lease, &keyed.keys, &name, &toc)?;
        catalog.insert(&name, self.length, &self.toc, &seal)?;
        Ok(name)
    }
}
