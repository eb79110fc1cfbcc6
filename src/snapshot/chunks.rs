//! Where the chunks of a snapshot lie, and what they hold.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::runs::{Run, refused};
use crate::brick::{FrameOpener, OpenFrame, OpenScratch, require_metadata};
use crate::crypto::{Key, PutKeys};
use crate::error::{Error, Exit, Result};
use crate::format::frame::FrameHeader;
use crate::format::frames::Frames;
use crate::format::toc::{Toc, TocFrame};
use crate::id::{BrickName, ChunkHash, ChunkId, Class};
use crate::store::Store;
use crate::store::guard::open_file;
use crate::store::layout::{Layout, places_of_brick};
use crate::store::own_toc::{read_brick, read_own_toc};

/// Where a chunk lies: which of the bricks, which frame of it, the place in the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) brick: u32,
    pub(super) frame: u32,
    /// Among the chunks of the frame.
    pub(super) number: u32,
}

pub(super) struct Brick {
    pub(super) path: PathBuf,
    /// Offset and length of each frame.
    pub(super) frames: Vec<(u64, u32)>,
}

/// What chunks are found by.
pub(super) enum Ids<'a> {
    /// Their ids, which TOCs hold.
    Keyed(&'a PutKeys),
    /// The beginning of their hash: whoever has no put secret has opened all frames.
    Unkeyed,
}

impl Ids<'_> {
    pub(super) fn id(&self, hash: &ChunkHash) -> ChunkId {
        match self {
            Self::Keyed(keys) => keys.metadata_id.id(hash),
            Self::Unkeyed => {
                let mut id = ChunkId([0; ChunkId::SIZE]);
                id.0.copy_from_slice(&hash.as_bytes()[..ChunkId::SIZE]);
                id
            }
        }
    }
}

/// The metadata bricks of other runs: gc may have moved frames there, and what is damaged
/// may have been stored again.
struct Others<'a> {
    store: Store,
    keys: &'a PutKeys,
    bricks_in: Vec<PathBuf>,
}

/// The metadata bricks of a run. Takes some 40 bytes for each chunk in them.
pub(super) struct Chunks<'a> {
    pub(super) ids: Ids<'a>,
    pub(super) opener: FrameOpener,
    pub(super) bricks: Vec<Brick>,
    pub(super) places: HashMap<ChunkId, Place>,
    /// Further places of chunks that stand in several.
    more: HashMap<ChunkId, Vec<Place>>,
    /// The numbers of bricks.
    ordinals: HashMap<PathBuf, u32>,
    /// Brick and frame of those that do not open.
    broken: HashSet<(u32, u32)>,
    /// Why the table of contents of one of the run's bricks cannot be read.
    trouble: Option<Error>,
    /// Where the bricks of class metadata are looked for, once one of the run's is missing
    /// or damaged.
    others: Option<Others<'a>>,
    /// For errors: the snapshot, and bricks of the run that are not here.
    snapshot: PathBuf,
    absent: Vec<BrickName>,
    scratch: OpenScratch,
    sealed: Vec<u8>,
    frame: OpenFrame,
    /// Brick and frame that are open.
    open: Option<(u32, u32)>,
}

impl<'a> Chunks<'a> {
    /// No bricks yet; errors call the snapshot `path`.
    pub(super) fn new(ids: Ids<'a>, opener: FrameOpener, path: PathBuf) -> Self {
        Self {
            ids,
            opener,
            bricks: Vec::new(),
            places: HashMap::new(),
            more: HashMap::new(),
            ordinals: HashMap::new(),
            broken: HashSet::new(),
            trouble: None,
            others: None,
            snapshot: path,
            absent: Vec::new(),
            scratch: OpenScratch::new(),
            sealed: Vec::new(),
            frame: OpenFrame::new(),
            open: None,
        }
    }

    /// Reads the tables of contents of the run's bricks that stand in `meta/`, of the
    /// store or of one of the folders `bricks_in`.
    pub(super) fn find(
        store: &Store,
        key: &Key,
        keys: &'a PutKeys,
        run: &Run,
        bricks_in: &[PathBuf],
    ) -> Result<Self> {
        let opener = key.opener(*store.id())?;
        let snapshot = store.layout().snapshot_path(&run.name);
        let mut chunks = Self::new(Ids::Keyed(keys), opener, snapshot);
        chunks.others = Some(Others {
            store: store.clone(),
            keys,
            bricks_in: bricks_in.to_vec(),
        });
        let mut buffer = Vec::new();
        for (name, frames) in &run.root.bricks {
            let own = store.brick_path(name, Class::Metadata);
            let mut elsewhere = bricks_in.iter().map(|dir| {
                let [.., meta] = places_of_brick(dir, name);
                meta
            });
            let path = if own.is_file() {
                Some(own)
            } else {
                elsewhere.find(|path| path.is_file())
            };
            if let Some(path) = path {
                match read_toc(store, keys, name, &path, &mut buffer) {
                    Ok(toc) => chunks.add(path, &toc, Some(frames)),
                    // Its chunks may stand in others.
                    Err(error) => {
                        chunks.trouble.get_or_insert(error);
                    }
                }
            } else if !store.brick_path(name, Class::Data).is_file() {
                chunks.absent.push(*name);
            }
        }
        Ok(chunks)
    }

    /// Adds a brick: all frames, or only the `used` ones.
    fn add(&mut self, path: PathBuf, toc: &Toc, used: Option<&Frames>) {
        let next = u32::try_from(self.bricks.len()).unwrap_or(u32::MAX);
        let brick = *self.ordinals.entry(path.clone()).or_insert(next);
        for (number, frame) in (0..).zip(toc.frames()) {
            if used.is_some_and(|used| !used.contains(number)) {
                continue;
            }
            let chunks = toc.chunks().iter().skip(frame.first_chunk as usize);
            for (place, chunk) in (0..frame.chunk_count).zip(chunks) {
                let place = Place {
                    brick,
                    frame: number,
                    number: place,
                };
                let first = *self.places.entry(chunk.id).or_insert(place);
                if first != place {
                    self.more.entry(chunk.id).or_default().push(place);
                }
            }
        }
        if brick == next {
            let place = |frame: &TocFrame| (frame.offset, frame.length);
            self.bricks.push(Brick {
                path,
                frames: toc.frames().iter().map(place).collect(),
            });
        }
    }

    /// Adds all metadata bricks that are here and open.
    fn add_others(&mut self, others: &Others<'a>) -> Result<()> {
        let mut buffer = Vec::new();
        let copies = others.bricks_in.iter().map(Layout::new);
        for layout in [others.store.layout().clone()].into_iter().chain(copies) {
            layout.each_brick(Class::Metadata, |name, _| {
                let path = layout.brick_path(&name, Class::Metadata);
                if let Ok(toc) = read_toc(&others.store, others.keys, &name, &path, &mut buffer) {
                    self.add(path, &toc, None);
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Where a chunk lies.
    pub(super) fn place(&mut self, hash: &ChunkHash) -> Result<Place> {
        let id = self.ids.id(hash);
        if let Some(place) = self.another(&id, &[])? {
            return Ok(place);
        }
        let trouble = self.trouble.take();
        Err(trouble.unwrap_or_else(|| self.missing(hash)))
    }

    fn missing(&self, hash: &ChunkHash) -> Error {
        let absent = self.absent.iter().take(3).map(ToString::to_string);
        let absent = absent.collect::<Vec<_>>().join(", ");
        let message = format!(
            "incomplete snapshot: chunk {hash} is in none of the {} bricks of its run that stand \
             in meta/{}{absent}; bring back the others and their sidecars, or name a copy of the \
             store with --bricks DIR",
            self.bricks.len(),
            if absent.is_empty() {
                ""
            } else {
                ", and not here are "
            },
        );
        refused(self.snapshot.clone(), message, Exit::Damaged)
    }

    /// A place of a chunk that is not among those that were `tried`.
    fn another(&mut self, id: &ChunkId, tried: &[Place]) -> Result<Option<Place>> {
        let known = |chunks: &Self| {
            let first = chunks.places.get(id).into_iter();
            let mut all = first.chain(chunks.more.get(id).into_iter().flatten());
            all.find(|place| !tried.contains(place)).copied()
        };
        let mut found = known(self);
        if found.is_none()
            && let Some(others) = self.others.take()
        {
            self.add_others(&others)?;
            found = known(self);
        }
        Ok(found)
    }

    /// The chunk at `place`, whose hash must be this; if it is damaged there, from wherever
    /// else it stands. The last frame stays open.
    pub(super) fn chunk(&mut self, place: Place, hash: &ChunkHash, length: u32) -> Result<&[u8]> {
        let id = self.ids.id(hash);
        let (mut tried, mut next) = (Vec::new(), Some(place));
        while let Some(place) = next {
            let is_broken = self.broken.contains(&(place.brick, place.frame));
            if !is_broken && self.load(place, hash, length).is_ok() {
                return Ok(self.frame.chunk(place.number).unwrap_or_default());
            }
            tried.push(place);
            next = self.another(&id, &tried)?;
        }
        // Once more, to say why.
        self.load(place, hash, length)?;
        Ok(self.frame.chunk(place.number).unwrap_or_default())
    }

    /// Opens the frame of a chunk, and compares it with its hash.
    fn load(&mut self, place: Place, hash: &ChunkHash, length: u32) -> Result<()> {
        let Place { brick, frame, .. } = place;
        if self.open != Some((brick, frame)) {
            self.open = None;
            let opened = self.open_frame(brick, frame);
            if opened.is_err() {
                self.broken.insert((brick, frame));
            }
            opened?;
            self.open = Some((brick, frame));
        }
        let chunk = self.frame.chunk(place.number);
        let is_right = chunk.is_some_and(|chunk| {
            chunk.len() == length as usize && blake3::hash(chunk) == *hash.as_bytes()
        });
        if is_right {
            return Ok(());
        }
        let message = format!(
            "frame {frame}: chunk {} is not {hash} of {length} bytes, which the snapshot names; \
             take another copy of this file",
            place.number
        );
        let path = self.bricks[brick as usize].path.clone();
        Err(refused(path, message, Exit::Damaged))
    }

    fn open_frame(&mut self, brick: u32, frame: u32) -> Result<()> {
        let Brick { path, frames } = &self.bricks[brick as usize];
        let (offset, length) = frames[frame as usize];
        self.sealed.resize(length as usize, 0);
        let file = open_file(path).map_err(Error::io("open", path))?;
        read_brick(&file, path, offset, &mut self.sealed)?;
        FrameHeader::decode(&self.sealed)
            .and_then(|header| require_metadata(header.fields.class))
            .map_err(Error::decode(path, offset))?;
        self.opener
            .open(&mut self.sealed, &mut self.scratch, &mut self.frame)
            .map_err(|error| error.into_error(path, offset))
    }
}

/// The table of contents of a brick: its sidecar, or if that is missing or damaged the
/// one in the brick.
fn read_toc(
    store: &Store,
    keys: &PutKeys,
    name: &BrickName,
    path: &Path,
    buffer: &mut Vec<u8>,
) -> Result<Toc> {
    if let Ok(toc) = store.read_sidecar(keys, name, buffer) {
        return Ok(toc);
    }
    let file = open_file(path).map_err(Error::io("open", path))?;
    let (header, toc) = read_own_toc(&file, path, keys, buffer)?;
    require_metadata(header.class).map_err(Error::decode(path, 0))?;
    Ok(toc)
}
