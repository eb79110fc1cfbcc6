//! What was found becomes bricks, sidecars, roots and snapshots, in folders as a store
//! has them. Nothing that stands there is ever altered.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::event::SalvageSummary;
use super::file::{new_file, publish, write_new};
use super::frame::{Identity, SalvagedFrame};
use super::whole::Whole;
use crate::brick::{MovedBrick, footer, make_sidecar};
use crate::crypto::PutKeys;
use crate::error::{Error, Result};
use crate::format::brick::{MAX_CHUNKS, MAX_FRAMES};
use crate::format::toc::Toc;
use crate::id::{BrickName, Class, Epoch, WriterId};
use crate::store::atomic;
use crate::store::guard::{refuse_links, refuse_links_to};
use crate::store::layout::{Layout, RunName};
use crate::store::named::NamedByHash;
use crate::store::new_brick::{AROUND, toc_share};

/// Bricks under way at a time, by epoch and class. There are two in an honest store of
/// one epoch.
const MOST_OPEN: usize = 8;

/// Where what was found goes.
pub(super) struct Output {
    /// None in a dry run.
    layout: Option<Layout>,
    writer: WriterId,
    /// A brick is closed before it grows beyond this.
    brick_size: u64,
    bricks: Vec<NewBrick>,
    loose: Vec<(Class, NamedByHash)>,
    /// The frames that stand in the output.
    known: HashSet<Identity>,
    /// The bricks that stand in the output, whole and under their names.
    sound: HashSet<BrickName>,
}

/// What became of something that has a name already.
pub(super) enum Kept {
    /// It was written, or would be.
    New,
    /// It was there.
    Again,
    /// Something else has its name.
    Blocked(PathBuf),
}

impl Output {
    pub(super) fn new(layout: Option<Layout>, brick_size: u64) -> Result<Self> {
        let mut writer = WriterId([0; WriterId::SIZE]);
        getrandom::fill(&mut writer.0).map_err(|error| {
            Error::io("draw an id for", "this run")(std::io::Error::other(error))
        })?;
        if let Some(layout) = &layout {
            refuse_links(layout.path(), &layout.foreign_temp_dir())?;
            atomic::create_dir(&layout.foreign_temp_dir())?;
            atomic::remove_remains(&layout.foreign_temp_dir())?;
        }
        Ok(Self {
            layout,
            writer,
            brick_size,
            bricks: Vec::new(),
            loose: Vec::new(),
            known: HashSet::new(),
            sound: HashSet::new(),
        })
    }

    /// Where half-written files stand. None in a dry run.
    pub(super) fn temp_dir(&self) -> Option<PathBuf> {
        self.layout.as_ref().map(Layout::foreign_temp_dir)
    }

    /// Whether frames are written at all.
    pub(super) const fn writes(&self) -> bool {
        self.layout.is_some()
    }

    /// Notes that a frame stands in the output. `false`: that was known.
    pub(super) fn note(&mut self, identity: Identity) -> bool {
        self.known.insert(identity)
    }

    /// Keeps a frame that is in no whole brick: with keys in a new brick, without them in
    /// a file of frames, from which a later run with the key makes bricks.
    pub(super) fn keep(
        &mut self,
        frame: &SalvagedFrame,
        bytes: &[u8],
        keys: Option<&PutKeys>,
        summary: &mut SalvageSummary,
    ) -> Result<()> {
        if !self.note(frame.identity) {
            summary.again.add(u64::from(frame.length));
            return Ok(());
        }
        match keys {
            Some(keys) if frame.verified => self.gather(frame, bytes, keys, summary),
            _ => self.keep_loose(frame, bytes, summary),
        }
    }

    fn gather(
        &mut self,
        frame: &SalvagedFrame,
        bytes: &[u8],
        keys: &PutKeys,
        summary: &mut SalvageSummary,
    ) -> Result<()> {
        let fits =
            |brick: &NewBrick| (brick.epoch, brick.toc.class()) == (frame.epoch, frame.class);
        let mut at = self.bricks.iter().position(fits);
        if let Some(full) = at.filter(|&at| self.bricks[at].is_full(frame, self.brick_size)) {
            at = None;
            let brick = self.bricks.remove(full);
            self.close(brick, summary)?;
        }
        if at.is_none() {
            if self.bricks.len() == MOST_OPEN {
                let oldest = self.bricks.remove(0);
                self.close(oldest, summary)?;
            }
            let temp_dir = self.temp_dir();
            let brick = NewBrick::begin(frame, keys.clone(), self.writer, temp_dir.as_deref())?;
            self.bricks.push(brick);
        }
        let at = at.unwrap_or(self.bricks.len() - 1);
        self.bricks[at].push(frame, bytes)
    }

    fn close(&self, brick: NewBrick, summary: &mut SalvageSummary) -> Result<()> {
        let (class, keys) = (brick.toc.class(), brick.keys.clone());
        let (file, toc) = brick.finish()?;
        summary.new_bricks.add(file.length());
        self.publish(file, class, &toc, Some(&keys))
    }

    /// Gives a brick its name, and then writes its sidecar, if there are keys.
    fn publish(
        &self,
        file: NamedByHash,
        class: Class,
        toc: &[u8],
        keys: Option<&PutKeys>,
    ) -> Result<()> {
        let Some(layout) = &self.layout else {
            return Ok(());
        };
        let name = BrickName(file.hash());
        let (brick, sidecar) = (layout.brick_path(&name, class), layout.toc_path(&name));
        refuse_links_to(layout.path(), &brick)?;
        refuse_links_to(layout.path(), &sidecar)?;
        file.publish(|file| publish(file, &brick))?;
        match keys {
            Some(keys) if !layout.sidecar_stands(&name)? => {
                let bytes = make_sidecar(keys, &name, toc);
                write_new(&layout.foreign_temp_dir(), &sidecar, &bytes)
            }
            _ => Ok(()),
        }
    }

    /// Notes a brick of the output that is whole. `false`: it does not stand where its
    /// name says, and nobody would find it.
    pub(super) fn note_whole(&mut self, whole: &Whole, to: &Layout) -> bool {
        let name = whole.name();
        let path = to.brick_path(&name, whole.header.class);
        let length = std::fs::metadata(&path).map_or(0, |found| found.len());
        let place = &whole.place;
        let is_there = (&place.path, place.offset, whole.file.length()) == (&path, 0, length);
        if is_there {
            self.sound.insert(name);
        }
        is_there
    }

    /// Whether a file that is not the brick of this name has it.
    pub(super) fn is_blocked(&self, name: &BrickName, class: Class) -> Option<PathBuf> {
        let path = self.layout.as_ref()?.brick_path(name, class);
        (!self.sound.contains(name) && path.symlink_metadata().is_ok()).then_some(path)
    }

    /// Keeps a brick as it is, whose name is not [blocked](Output::is_blocked). `false`:
    /// it stands in the output already.
    pub(super) fn keep_whole(&mut self, whole: Whole, keys: Option<&PutKeys>) -> Result<bool> {
        for frame in &whole.frames {
            self.note(frame.identity);
        }
        let is_new = self.sound.insert(whole.name());
        self.publish(whole.file, whole.header.class, &whole.toc, keys)?;
        Ok(is_new)
    }

    fn keep_loose(
        &mut self,
        frame: &SalvagedFrame,
        bytes: &[u8],
        summary: &mut SalvageSummary,
    ) -> Result<()> {
        let fits = |(class, _): &(Class, NamedByHash)| *class == frame.class;
        let at = if let Some(at) = self.loose.iter().position(fits) {
            at
        } else {
            let file = new_file(self.temp_dir().as_deref())?;
            self.loose.push((frame.class, file));
            self.loose.len() - 1
        };
        let (_, file) = &mut self.loose[at];
        file.write(bytes)?;
        if file.length() >= self.brick_size {
            let (_, file) = self.loose.remove(at);
            self.publish_loose(file, summary)?;
        }
        Ok(())
    }

    fn publish_loose(&self, file: NamedByHash, summary: &mut SalvageSummary) -> Result<()> {
        summary.loose.add(file.length());
        let Some(layout) = &self.layout else {
            return Ok(());
        };
        let name = BrickName(file.hash());
        refuse_links(layout.path(), &loose_dir(layout))?;
        let path = loose_dir(layout).join(format!("{name}.frames"));
        file.publish(|file| publish(file, &path))
    }

    /// Writes a root, under the time of its run and a number that follows from its
    /// snapshot, if it has one.
    pub(super) fn root(&self, name: &RunName, bytes: &[u8]) -> Result<Kept> {
        self.small(|layout| layout.root_path(name), bytes)
    }

    /// Writes a snapshot file.
    pub(super) fn snapshot(&self, name: &RunName, bytes: &[u8]) -> Result<Kept> {
        self.small(|layout| layout.snapshot_path(name), bytes)
    }

    fn small(&self, path: impl FnOnce(&Layout) -> PathBuf, bytes: &[u8]) -> Result<Kept> {
        let Some(layout) = &self.layout else {
            return Ok(Kept::New);
        };
        let path = path(layout);
        refuse_links_to(layout.path(), &path)?;
        if path.symlink_metadata().is_ok() {
            let same = holds(&path, bytes);
            return Ok(if same {
                Kept::Again
            } else {
                Kept::Blocked(path)
            });
        }
        write_new(&layout.foreign_temp_dir(), &path, bytes)?;
        Ok(Kept::New)
    }

    /// Removes the folder for half-written files, unless another run is using it.
    pub(super) fn leave(&self) {
        if let Some(dir) = self.temp_dir() {
            let _ = std::fs::remove_dir(dir);
        }
    }

    /// Closes all that is open.
    pub(super) fn finish(&mut self, summary: &mut SalvageSummary) -> Result<()> {
        for brick in std::mem::take(&mut self.bricks) {
            self.close(brick, summary)?;
        }
        for (_, file) in std::mem::take(&mut self.loose) {
            self.publish_loose(file, summary)?;
        }
        Ok(())
    }
}

/// Whether a file holds just these bytes.
fn holds(path: &Path, bytes: &[u8]) -> bool {
    let length = path.metadata().map_or(0, |found| found.len());
    length == bytes.len() as u64 && std::fs::read(path).is_ok_and(|found| found == bytes)
}

/// The folder of frames that need a key to become bricks.
pub(super) fn loose_dir(layout: &Layout) -> PathBuf {
    layout.path().join("frames")
}

/// A brick under way, of frames that were sealed in others.
struct NewBrick {
    brick: MovedBrick,
    epoch: Epoch,
    keys: PutKeys,
    file: NamedByHash,
    toc: Toc,
    /// Length of the TOC at most.
    toc_length: u64,
}

impl NewBrick {
    fn begin(
        first: &SalvagedFrame,
        keys: PutKeys,
        writer: WriterId,
        temp_dir: Option<&Path>,
    ) -> Result<Self> {
        let brick = MovedBrick::new(first.store, first.epoch, first.class)?;
        let mut file = new_file(temp_dir)?;
        file.write(&brick.header())?;
        Ok(Self {
            brick,
            epoch: first.epoch,
            keys,
            file,
            toc: Toc::new(first.class, writer),
            toc_length: 0,
        })
    }

    fn is_full(&self, frame: &SalvagedFrame, brick_size: u64) -> bool {
        let length = self.file.length() + self.toc_length + AROUND;
        self.toc.frames().len() >= MAX_FRAMES as usize
            || self.toc.chunks().len() + frame.chunks.len() > MAX_CHUNKS as usize
            || length + u64::from(frame.length) + toc_share(frame.chunks.len()) > brick_size
    }

    fn push(&mut self, frame: &SalvagedFrame, bytes: &[u8]) -> Result<()> {
        let chunks = frame.chunks.iter().copied();
        self.toc
            .push_frame(frame.length, frame.plain_length, chunks)?;
        self.toc_length += toc_share(frame.chunks.len());
        if bytes.is_empty() {
            self.file.count(u64::from(frame.length));
        }
        self.file.write(bytes)
    }

    fn finish(mut self) -> Result<(NamedByHash, Vec<u8>)> {
        let offset = self.file.length();
        let toc = self.brick.seal_toc(&self.keys, &self.toc)?;
        self.file.write(&toc)?;
        self.file.write(&footer(offset, toc.len() as u64))?;
        Ok((self.file, toc))
    }
}
