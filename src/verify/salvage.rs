//! What is left of a brick whose bytes are not those of its name, and that has no sidecar:
//! its frames, put into a new brick (`formats/store.md#rebuilding`).

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use super::copy::Scratch;
use super::finding::{Fault, Kind};
use super::jobs::Copy;
use super::means::{Keyed, Means};
use super::read::read_at;
use super::rebuild::{Rebuilding, open};
use super::salts::{Salts, salt_of};
use super::scan::{Scanned, scan};
use crate::archive::Monitor;
use crate::brick::{FrameOpener, OpenFrame};
use crate::error::{Error, Result};
use crate::format::brick::{HEADER_LENGTH, MAX_CHUNKS, MAX_FRAMES};
use crate::format::frame::FrameHeader;
use crate::format::origins::{MAX_ORIGINS, Origin, Origins};
use crate::format::toc::{Toc, TocChunk, TocFrame};
use crate::id::{BrickName, ChunkHash, ChunkId, Class};
use crate::store::catalog::Catalog;
use crate::store::new_brick::NewBrick;
use crate::store::own_toc::read_own_toc;
use crate::store::runs::Lease;

/// What all salvages of a rebuild share.
pub(super) struct Salvages<'a> {
    pub(super) means: &'a Means<'a>,
    pub(super) keyed: &'a Keyed<'a>,
    pub(super) lease: &'a Lease,
    pub(super) monitor: &'a Monitor,
    /// Where bricks are looked for besides the store.
    pub(super) bricks_in: &'a [PathBuf],
    /// Which bricks are here, by what their frames were sealed under.
    pub(super) salts: &'a Salts,
}

/// The salvage of one brick.
pub(super) struct Salvage<'a> {
    all: &'a Salvages<'a>,
    catalog: &'a mut Catalog,
    name: BrickName,
    /// Frames of other bricks that may be frames of this one, by their chunks.
    others: HashMap<Vec<ChunkId>, Vec<(BrickName, TocFrame)>>,
    /// Chunks of the frames that were taken over.
    taken: HashSet<Vec<ChunkId>>,
    /// New bricks, one a class.
    bricks: [Option<Open>; 2],
    /// Those that were full, and how many frames they hold.
    full: Vec<(BrickName, u64)>,
    scratch: Scratch,
}

impl<'a> Salvage<'a> {
    /// `carriers`: the bricks that frames of this one were put into before.
    pub(super) fn new(
        all: &'a Salvages<'a>,
        catalog: &'a mut Catalog,
        name: BrickName,
        carriers: &[BrickName],
    ) -> Self {
        let mut salvage = Self {
            all,
            catalog,
            name,
            others: HashMap::new(),
            taken: HashSet::new(),
            bricks: [None, None],
            full: Vec::new(),
            scratch: Scratch::default(),
        };
        for other in carriers {
            salvage.compare_with(other);
        }
        salvage
    }

    /// Leaves out from now on what stands in another brick.
    fn compare_with(&mut self, other: &BrickName) {
        let Keyed { store, keys, .. } = self.all.keyed;
        // One that has gone since it was listed: then there is more to do.
        if let Ok(toc) = store.read_sidecar(keys, other, &mut Vec::new()) {
            for frame in toc.frames() {
                let same = self.others.entry(ids_of(toc.chunks_of(frame))).or_default();
                same.push((*other, *frame));
            }
        }
    }

    /// Whether a frame of these chunks stands in another brick: it is here, and opens.
    fn stands_elsewhere(&mut self, opener: &FrameOpener, class: Class, ids: &[ChunkId]) -> bool {
        let Salvages {
            means,
            keyed,
            bricks_in,
            ..
        } = self.all;
        let others = self.others.get(ids);
        others.into_iter().flatten().any(|(other, frame)| {
            let mut copies = means.layout.copies_of_brick(other, bricks_in).flatten();
            copies.any(|(_, file)| {
                let mut sealed = std::mem::take(&mut self.scratch.buffer);
                let read = read_at(&file, frame.offset, frame.length as usize, &mut sealed);
                let is_sound = read.is_ok() && self.scratch.opens(opener, &mut sealed);
                self.scratch.buffer = sealed;
                is_sound && ids_of(&chunks_in(keyed, class, self.scratch.frame())) == ids
            })
        })
    }

    /// Puts what is left in `copies`, and nowhere else, into new bricks. Says what came
    /// of each file.
    pub(super) fn run(&mut self, copies: &[Copy]) -> Result<Vec<Rebuilding>> {
        let mut steps = Vec::new();
        let Some(opener) = &self.all.means.opener else {
            let path = copies.first().map_or(Path::new(""), |copy| &copy.path);
            let message = "damaged, and it has no sidecar: what is left of it is found with the \
                           secret key only";
            let fault = Fault::new(Kind::Brick, path, message).of(self.name);
            return Ok(vec![Rebuilding::Fault(fault)]);
        };
        for copy in copies {
            match self.file(opener, &copy.path) {
                Ok((old, scanned)) => steps.extend(self.finish(&copy.path, &old, &scanned)?),
                Err(Stop::Fault(fault)) => steps.push(Rebuilding::Fault(fault.of(self.name))),
                Err(Stop::Error(error)) => return Err(error),
            }
        }
        Ok(steps)
    }

    /// Takes over what is left in a file; the bricks of which that may be.
    fn file(
        &mut self,
        opener: &FrameOpener,
        path: &Path,
    ) -> Result<(Vec<BrickName>, Scanned), Stop> {
        let (file, length) = open(path).map_err(Stop::Fault)?;
        let salt = salt_of(&file);
        let others = self.all.salts.others(salt.as_ref(), &self.name);
        for other in &others {
            self.compare_with(other);
        }
        let mut places = Places {
            name: self.name,
            is_own: others.is_empty(),
            // Without its header it is not known under which salt its frames should be.
            salts: salt.is_none().then_some(self.all.salts),
            table: self.own_toc(&file, path),
            next: Some((HEADER_LENGTH as u64, 0)),
        };
        let mut old = others;
        old.push(self.name);
        let mut scratch = Scratch::default();
        let mut sealed = Vec::new();
        let scanned = scan(&file, 0..length, self.all.monitor, &mut |offset, bytes| {
            // Opening decrypts in place.
            sealed.clear();
            sealed.extend_from_slice(bytes);
            if !scratch.opens(opener, &mut sealed) {
                return Ok(false);
            }
            if let Ok(header) = FrameHeader::decode(bytes) {
                let class = header.fields.class;
                let chunks = chunks_in(self.all.keyed, class, scratch.frame());
                let origins = places.of(offset, bytes.len(), &header, &chunks);
                let plain = u32::try_from(scratch.frame().plain.len()).unwrap_or(u32::MAX);
                let ids = ids_of(&chunks);
                if !self.taken.contains(&ids) && !self.stands_elsewhere(opener, class, &ids) {
                    self.taken.insert(ids);
                    let brick = self.brick(class, chunks.len(), &old)?;
                    brick.push(bytes, plain, chunks, origins)?;
                }
            }
            Ok(true)
        });
        Ok((old, scanned.map_err(Stop::Error)?))
    }

    /// What the file itself says of its frames, if that can be read.
    fn own_toc(&self, file: &File, path: &Path) -> Option<Toc> {
        let keys = &self.all.keyed.keys;
        let own = read_own_toc(file, path, keys, &mut Vec::new());
        own.ok().map(|(_, toc)| toc)
    }

    /// The new brick of a class, which has room for a frame of so many chunks: a file may
    /// hold the frames of many. `old`: the bricks that it may be.
    fn brick(&mut self, class: Class, chunks: usize, old: &[BrickName]) -> Result<&mut Open> {
        let Salvages { keyed, lease, .. } = self.all;
        let slot = match class {
            Class::Data => &mut self.bricks[0],
            Class::Metadata => &mut self.bricks[1],
        };
        if let Some(full) = slot.take_if(|brick| !brick.has_room(chunks)) {
            let frames = full.brick.toc().frames().len() as u64;
            let name = full.publish(old, keyed, lease, self.catalog)?;
            self.full.push((name, frames));
        }
        match slot {
            Some(brick) => Ok(brick),
            None => Ok(slot.insert(Open::new(lease, keyed, class)?)),
        }
    }

    /// Publishes what was taken over from a file.
    fn finish(
        &mut self,
        from: &Path,
        old: &[BrickName],
        scanned: &Scanned,
    ) -> Result<Vec<Rebuilding>> {
        let lost = scanned.gaps.iter().map(|gap| gap.end - gap.start).sum();
        let mut made = std::mem::take(&mut self.full);
        for brick in self.bricks.each_mut() {
            let Some(brick) = brick.take() else { continue };
            let frames = brick.brick.toc().frames().len() as u64;
            let to = brick.publish(old, self.all.keyed, self.all.lease, self.catalog)?;
            made.push((to, frames));
        }
        let salvaged = |(to, frames)| Rebuilding::Salvaged {
            from: from.to_owned(),
            to,
            frames,
            lost,
        };
        let mut steps: Vec<_> = made.into_iter().map(salvaged).collect();
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

/// The chunks of an open frame.
fn chunks_in(keyed: &Keyed<'_>, class: Class, frame: &OpenFrame) -> Vec<TocChunk> {
    let ids = keyed.ids(class);
    let chunk = |place| {
        let chunk = frame.chunk(place).unwrap_or_default();
        TocChunk {
            id: ids.id(&ChunkHash(*blake3::hash(chunk).as_bytes())),
            length: u32::try_from(chunk.len()).unwrap_or(u32::MAX),
        }
    };
    (0..frame.chunk_count()).map(chunk).collect()
}

/// Tells which frame of the old brick a frame is, and of which bricks before that.
struct Places<'a> {
    name: BrickName,
    /// Nothing says that the file is another brick's than its name's.
    is_own: bool,
    /// To be asked of each frame, if the file itself has no salt.
    salts: Option<&'a Salts>,
    table: Option<Toc>,
    /// Where the next frame begins, and its place: known as long as none was missed.
    next: Option<(u64, u32)>,
}

impl Places<'_> {
    /// The origins of the frame at `offset`, of so many bytes.
    fn of(
        &mut self,
        offset: u64,
        length: usize,
        header: &FrameHeader<'_>,
        chunks: &[TocChunk],
    ) -> Vec<Origin> {
        let counted = self.next.filter(|(start, _)| *start == offset);
        self.next = counted.map(|(start, place)| (start + length as u64, place + 1));
        let listed = self.table.as_ref().and_then(|toc| {
            let frames = toc.frames();
            let at = frames.binary_search_by_key(&offset, |frame| frame.offset);
            let at = at.ok().filter(|&at| toc.chunks_of(&frames[at]) == chunks)?;
            Some((at, toc.origins()))
        });
        let place = match listed {
            Some((at, _)) => u32::try_from(at).ok(),
            None => counted.map(|(_, place)| place),
        };
        let salt = &header.fields.salt;
        let of_others = |salts: &Salts| !salts.others(Some(salt), &self.name).is_empty();
        let is_own = self.is_own && !self.salts.is_some_and(of_others);
        let place = place.filter(|_| is_own).map(|place| (self.name, place));
        let before = listed.and_then(|(at, origins)| Some(Origins::of(origins?, at).collect()));
        let before: Vec<Origin> = before.unwrap_or_default();
        place.into_iter().chain(before).collect()
    }
}

enum Stop {
    Fault(Fault),
    Error(Error),
}

/// A brick of frames that were sealed in another.
struct Open {
    brick: NewBrick,
    /// Of each frame where it stood before, as far as that is known.
    origins: Vec<Vec<Origin>>,
    origin_count: usize,
}

impl Open {
    fn new(lease: &Lease, keyed: &Keyed<'_>, class: Class) -> Result<Self> {
        Ok(Self {
            brick: NewBrick::begin_moved(lease, keyed.store, class)?,
            origins: Vec::new(),
            origin_count: 0,
        })
    }

    /// Whether a frame of so many chunks fits.
    fn has_room(&self, chunks: usize) -> bool {
        self.brick.toc().frames().len() < MAX_FRAMES as usize
            && self.brick.toc().chunks().len() + chunks <= MAX_CHUNKS as usize
    }

    fn push(
        &mut self,
        frame: &[u8],
        plain: u32,
        chunks: Vec<TocChunk>,
        origins: Vec<Origin>,
    ) -> Result<()> {
        self.brick.push(frame, plain, chunks)?;
        self.origin_count += origins.len();
        // Without a place gc keeps it all the same.
        let fits = self.origin_count <= MAX_ORIGINS;
        self.origins.push(if fits { origins } else { Vec::new() });
        Ok(())
    }

    /// The brick, its sidecar, its catalog entry, each durable before the next.
    fn publish(
        mut self,
        old: &[BrickName],
        keyed: &Keyed<'_>,
        lease: &Lease,
        catalog: &mut Catalog,
    ) -> Result<BrickName> {
        // By these gc knows what the frames are needed for.
        self.brick.set_origins(&self.origins, old)?;
        let brick = self.brick.close(&keyed.keys)?;
        let (name, length) = (brick.name, brick.length());
        let (toc, seal) = brick.publish(keyed.store, &keyed.keys, lease)?;
        catalog.insert(&name, length, &toc, &seal)?;
        Ok(name)
    }
}
