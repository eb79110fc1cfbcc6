//! Moves needed frames into new bricks, byte for byte (`formats/collection.md#rewriting`).

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::{Gc, GcEvent, GcOptions};
use crate::brick::{SidecarSeal, open_brick_toc};
use crate::error::{Error, Exit, Result};
use crate::format::brick::{
    BrickHeader, FOOTER_LENGTH, Footer, HEADER_LENGTH, MAX_CHUNKS, MAX_FRAMES,
};
use crate::format::frame::FrameHeader;
use crate::format::frames::Frames;
use crate::format::origins::{MAX_ORIGINS, Origin};
use crate::format::toc::{Toc, TocFrame};
use crate::format::wire::DecodeError;
use crate::id::{BrickName, Class};
use crate::store::catalog::{OwnSeals, OwnSidecars};
use crate::store::guard::open_file;
use crate::store::is_damage;
use crate::store::new_brick::NewBrick;

/// Read at a time.
const PIECE: usize = 1 << 20;

/// Why a brick is not rewritten.
enum Hindrance {
    /// It is damaged.
    Damage(String),
    Other(String),
}

impl From<DecodeError> for Hindrance {
    fn from(error: DecodeError) -> Self {
        Self::Other(error.to_string())
    }
}

impl From<std::io::Error> for Hindrance {
    fn from(error: std::io::Error) -> Self {
        let text = format!("cannot read it: {error}");
        if is_damage(&error) {
            Self::Damage(text)
        } else {
            Self::Other(text)
        }
    }
}

/// What was moved.
#[derive(Default)]
pub(super) struct Moved {
    /// By old brick.
    pub(super) frames: HashMap<BrickName, Frames>,
    pub(super) frame_count: u64,
    pub(super) new_bricks: Vec<BrickName>,
    pub(super) new_bytes: u64,
}

/// A brick whose frames are moved.
struct Source {
    toc: Toc,
    /// Of the needed frames.
    hashes: Vec<blake3::Hash>,
    /// Whether it was made here.
    is_own: bool,
}

/// A brick in the making.
struct Open {
    brick: NewBrick,
    /// Whether all frames are of bricks that were made here.
    is_own: bool,
    origins: Vec<Vec<Origin>>,
    origin_count: usize,
}

impl Open {
    /// Whether a frame of so many bytes, chunks and origins fits.
    fn has_room(&self, length: u64, chunks: u32, origins: usize, options: &GcOptions) -> bool {
        let all = self.brick.toc().chunks().len() as u64 + u64::from(chunks);
        self.brick.length() + length <= options.brick_size
            && self.origins.len() < MAX_FRAMES as usize
            && all <= u64::from(MAX_CHUNKS)
            && self.origin_count + origins <= MAX_ORIGINS / 2
    }
}

/// Writes the new bricks.
pub(super) struct Rewriter<'a> {
    gc: &'a Gc<'a>,
    open: Option<Open>,
    /// Places that wait for the brick that is being written.
    waiting: Vec<Origin>,
    moved: Moved,
    /// Bricks whose bytes have their names as hashes.
    whole: HashSet<BrickName>,
    buffer: Vec<u8>,
    own: OwnSeals,
}

impl<'a> Rewriter<'a> {
    pub(super) fn new(gc: &'a Gc<'a>) -> Result<Self> {
        let own = gc.options.own.as_ref();
        Ok(Self {
            own: own.map(OwnSidecars::read).transpose()?.unwrap_or_default(),
            gc,
            open: None,
            waiting: Vec::new(),
            moved: Moved::default(),
            whole: HashSet::new(),
            buffer: Vec::new(),
        })
    }

    /// Moves the needed frames of a brick, unless something is wrong with it. To be
    /// called for all bricks of one class, then for all of another.
    pub(super) fn brick(
        &mut self,
        name: &BrickName,
        class: Class,
        needed: &Frames,
        tell: &mut dyn FnMut(GcEvent),
    ) -> Result<()> {
        let path = self.gc.store.brick_path(name, class);
        let examined = open_file(&path)
            .map_err(Hindrance::from)
            .and_then(|file| Ok((self.examine(&file, name, class, needed)?, file)));
        match examined {
            Ok((source, file)) => self.move_frames(&file, &path, name, &source, needed),
            Err(hindrance) => self.keep(name, "not rewritten", hindrance, tell),
        }
    }

    /// Says why a brick is kept as it is; marks it if it is damaged.
    fn keep(
        &self,
        name: &BrickName,
        what: &str,
        hindrance: Hindrance,
        tell: &mut dyn FnMut(GcEvent),
    ) -> Result<()> {
        self.gc.monitor.check()?;
        let reason = match hindrance {
            Hindrance::Damage(text) => {
                self.gc.mark(name, &text)?;
                format!("{what}, and marked bad: {text}")
            }
            Hindrance::Other(reason) => format!("{what}: {reason}"),
        };
        tell(GcEvent::Kept {
            brick: *name,
            reason,
        });
        Ok(())
    }

    /// Whether the bytes of a brick have its name as hash. It is marked if they have not.
    pub(super) fn is_whole(
        &mut self,
        name: &BrickName,
        tell: &mut dyn FnMut(GcEvent),
    ) -> Result<bool> {
        if self.whole.contains(name) {
            return Ok(true);
        }
        let paths =
            [Class::Data, Class::Metadata].map(|class| self.gc.store.brick_path(name, class));
        let path = paths.iter().find(|path| path.exists());
        let Some(path) = path else { return Ok(false) };
        let hashed = open_file(path)
            .map_err(Hindrance::from)
            .and_then(|file| self.hash(&file, name, std::iter::empty()));
        match hashed {
            Ok(_) => Ok(true),
            Err(hindrance) => {
                let what = "what was to take its place is kept too";
                self.keep(name, what, hindrance, tell)?;
                Ok(false)
            }
        }
    }

    /// A brick whose bytes have its name as hash, and whose needed frames are where its
    /// TOC says.
    fn examine(
        &mut self,
        file: &File,
        name: &BrickName,
        class: Class,
        needed: &Frames,
    ) -> Result<Source, Hindrance> {
        match self.inspect(file, name, class, needed) {
            Ok((toc, is_own)) => {
                let frames = needed_frames(&toc, needed).map(|(_, frame)| frame);
                let hashes = self.hash(file, name, frames)?;
                Ok(Source {
                    toc,
                    hashes,
                    is_own,
                })
            }
            Err(hindrance) => {
                self.hash(file, name, std::iter::empty())?;
                Err(hindrance)
            }
        }
    }

    /// The TOC of a brick, whose needed frames are where it says; and whether the brick
    /// was made here. Nothing is known of its hash yet.
    fn inspect(
        &mut self,
        file: &File,
        name: &BrickName,
        class: Class,
        needed: &Frames,
    ) -> Result<(Toc, bool), Hindrance> {
        let length = file.metadata()?.len();
        let mut head = [0; HEADER_LENGTH];
        file.read_exact_at(&mut head, 0)?;
        let header = BrickHeader::decode(&head)?;
        let mut end = [0; FOOTER_LENGTH];
        let footer_at = length.saturating_sub(FOOTER_LENGTH as u64);
        file.read_exact_at(&mut end, footer_at)?;
        let footer = Footer::decode(&end, length)?;
        let mut bytes = vec![0; footer.require_toc_length()?];
        file.read_exact_at(&mut bytes, footer.toc_offset)?;
        let keys = self.gc.keys;
        let toc = open_brick_toc(keys, &header, &bytes, &footer)?;
        let sidecar = self.gc.store.read_sidecar(keys, name, &mut bytes);
        if sidecar.ok().as_ref() != Some(&toc) {
            let text = "its TOC is not that of its sidecar".to_owned();
            return Err(Hindrance::Other(text));
        }
        let is_own = SidecarSeal::of(&bytes).is_some_and(|seal| self.own.contains(&seal));
        if header.class != class {
            return Err(Hindrance::Other(
                "it stands in the other class's folder".into(),
            ));
        }
        for (number, frame) in needed_frames(&toc, needed) {
            let least = file_head(frame);
            self.buffer.resize(least, 0);
            file.read_exact_at(&mut self.buffer, frame.offset)?;
            let found = FrameHeader::decode(&self.buffer)?;
            header.require_frame(&found)?;
            if found.fields.epoch != header.epoch || found.frame_length() != frame.length {
                let text = format!("frame {number} is not the one that its TOC names");
                return Err(Hindrance::Other(text));
            }
        }
        Ok((toc, is_own))
    }

    /// Hashes of these frames of a brick whose hash is its name: what is moved later must
    /// be what this read saw.
    fn hash<'t>(
        &mut self,
        mut file: &File,
        name: &BrickName,
        frames: impl Iterator<Item = &'t TocFrame>,
    ) -> Result<Vec<blake3::Hash>, Hindrance> {
        let mut hasher = blake3::Hasher::new();
        let mut of_frames = Vec::new();
        let mut frames = frames.peekable();
        let mut of_frame = blake3::Hasher::new();
        let mut start = 0;
        self.buffer.resize(PIECE, 0);
        loop {
            let read = file.read(&mut self.buffer)?;
            if read == 0 {
                break;
            }
            let piece = &self.buffer[..read];
            hasher.update(piece);
            let end = start + read as u64;
            while let Some(frame) = frames.peek() {
                let frame_end = frame.offset + u64::from(frame.length);
                of_frame.update(part(piece, start, frame.offset, frame_end));
                if frame_end > end {
                    break;
                }
                of_frames.push(of_frame.finalize());
                of_frame.reset();
                frames.next();
            }
            start = end;
            let monitor = self.gc.monitor;
            monitor.stream.fetch_add(read as u64, Ordering::Relaxed);
            if monitor.check().is_err() {
                return Err(Hindrance::Other("interrupted".into()));
            }
        }
        if hasher.finalize() == *name.as_bytes() {
            self.whole.insert(*name);
            return Ok(of_frames);
        }
        Err(Hindrance::Damage("its hash is not its name".into()))
    }

    fn move_frames(
        &mut self,
        file: &File,
        path: &Path,
        name: &BrickName,
        source: &Source,
        needed: &Frames,
    ) -> Result<()> {
        let toc = &source.toc;
        for ((number, frame), hash) in needed_frames(toc, needed).zip(&source.hashes) {
            self.gc.monitor.check()?;
            let mut origins = vec![(*name, number)];
            origins.extend(
                toc.origins()
                    .into_iter()
                    .flat_map(|all| all.of(number as usize)),
            );
            let mut bytes = std::mem::take(&mut self.buffer);
            bytes.resize(frame.length as usize, 0);
            file.read_exact_at(&mut bytes, frame.offset)
                .map_err(Error::io("read", path))?;
            if blake3::hash(&bytes) != *hash {
                return Err(Error::Refused {
                    path: path.to_owned(),
                    message: format!(
                        "frame {number} reads otherwise than a moment ago: memory or disk cannot \
                         be relied upon; nothing was deleted"
                    ),
                    exit: Exit::Damaged,
                });
            }
            let written = self.frame(&bytes, toc, frame, origins);
            self.buffer = bytes;
            written?;
            if let Some(open) = &mut self.open {
                open.is_own &= source.is_own;
            }
            self.waiting.push((*name, number));
        }
        Ok(())
    }

    fn frame(
        &mut self,
        bytes: &[u8],
        toc: &Toc,
        frame: &TocFrame,
        origins: Vec<Origin>,
    ) -> Result<()> {
        let class = toc.class();
        if let Some(open) = &self.open
            && (open.brick.toc().class() != class
                || !open.has_room(
                    bytes.len() as u64,
                    frame.chunk_count,
                    origins.len(),
                    self.gc.options,
                ))
        {
            self.close()?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(self.gc.begin(class)?),
        };
        let chunks = toc.chunks_of(frame).iter().copied();
        open.brick.push(bytes, frame.plain_length, chunks)?;
        open.origin_count += origins.len();
        open.origins.push(origins);
        Ok(())
    }

    /// Publishes the brick that is being written, if there is one, and its sidecar.
    fn close(&mut self) -> Result<()> {
        let Some(mut open) = self.open.take() else {
            return Ok(());
        };
        open.brick.set_origins(&open.origins, &[])?;
        let Gc {
            store, keys, lease, ..
        } = self.gc;
        let brick = open.brick.close(keys)?;
        let (name, length) = (brick.name, brick.length());
        let (_, seal) = brick.publish(store, keys, lease)?;
        if let Some(own) = self.gc.options.own.as_ref().filter(|_| open.is_own) {
            // What it does not remember costs deduplication, and nothing else.
            let _ = own.add(&seal);
        }
        self.moved.new_bricks.push(name);
        self.moved.new_bytes += length;
        for (old, place) in self.waiting.drain(..) {
            self.moved.frame_count += 1;
            self.moved.frames.entry(old).or_default().insert(place);
        }
        Ok(())
    }

    /// What was moved, once the last brick stands.
    pub(super) fn finish(mut self) -> Result<Moved> {
        self.close()?;
        Ok(self.moved)
    }
}

impl Gc<'_> {
    fn begin(&self, class: Class) -> Result<Open> {
        Ok(Open {
            brick: NewBrick::begin_moved(self.lease, self.store, class)?,
            is_own: true,
            origins: Vec::new(),
            origin_count: 0,
        })
    }
}

/// What of a piece that begins at `at` lies between `start` and `end`.
fn part(piece: &[u8], at: u64, start: u64, end: u64) -> &[u8] {
    let place = |offset: u64| {
        let place = offset.saturating_sub(at).min(piece.len() as u64);
        usize::try_from(place).unwrap_or(piece.len())
    };
    piece.get(place(start)..place(end)).unwrap_or_default()
}

fn needed_frames<'a>(
    toc: &'a Toc,
    needed: &'a Frames,
) -> impl Iterator<Item = (u32, &'a TocFrame)> {
    let frames = (0..).zip(toc.frames());
    frames.filter(|(number, _)| needed.contains(*number))
}

/// So many bytes of a frame hold its header.
fn file_head(frame: &TocFrame) -> usize {
    let most = crate::format::frame::MAX_HEADER_LENGTH;
    frame.length.min(most) as usize
}
