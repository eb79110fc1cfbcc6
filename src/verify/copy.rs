//! One file of a brick, read once: its bytes are hashed and its frames opened as they
//! go by.

use std::collections::BTreeSet;
use std::fs::{self, File};

use super::finding::{Fault, Kind};
use super::jobs::Copy;
use super::means::{Level, Means};
use super::read::{Unread, announce, read_at};
use super::scan::scan;
use crate::archive::Monitor;
use crate::brick::{FrameError, FrameOpener, OpenFrame, OpenScratch};
use crate::error::Result;
use crate::format::brick::{BrickHeader, HEADER_LENGTH};
use crate::format::frame::FrameHeader;
use crate::format::toc::{Toc, TocFrame};
use crate::format::wire::DecodeError;
use crate::id::{BrickName, ChunkHash};
use crate::store::is_missing;

/// Read at a time where frames do not matter.
const PIECE: usize = 1 << 20;

/// Memory of one worker, to be reused: a frame, sealed and open, and a table.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) buffer: Vec<u8>,
    pub(super) toc: Vec<u8>,
    pub(super) sidecar: Vec<u8>,
    open: OpenScratch,
    frame: OpenFrame,
}

impl Scratch {
    /// Whether a frame opens; its chunks are in [`Scratch::frame`] then.
    pub(super) fn opens(&mut self, opener: &FrameOpener, bytes: &mut [u8]) -> bool {
        opener.open(bytes, &mut self.open, &mut self.frame).is_ok()
    }

    /// The frame that was opened last.
    pub(super) const fn frame(&self) -> &OpenFrame {
        &self.frame
    }
}

/// What a fault does to a brick.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Harm {
    /// It is damaged: it must not be relied upon any more.
    pub(super) damaged: bool,
    /// Any of its frames may be lost.
    pub(super) all: bool,
    /// Numbers of frames that are lost.
    pub(super) frames: BTreeSet<u32>,
}

impl Harm {
    /// Nothing of it is to be had.
    pub(super) fn total() -> Self {
        Self {
            damaged: true,
            all: true,
            frames: BTreeSet::new(),
        }
    }

    /// Whether a frame is lost.
    pub(super) fn hits(&self, frame: u32) -> bool {
        self.all || self.frames.contains(&frame)
    }
}

/// What a look at one file found.
#[derive(Default)]
pub(super) struct Inspected {
    pub(super) faults: Vec<Fault>,
    pub(super) harm: Harm,
    /// The bytes are those that the name says.
    pub(super) is_named: bool,
    /// They are those of another brick that is known.
    pub(super) is_another: bool,
    /// Something of it cannot be read that may be sound all the same.
    pub(super) out_of_reach: bool,
    pub(super) frames: u64,
    pub(super) chunks: u64,
}

/// What to look at, and what with.
pub(super) struct Inspection<'a> {
    pub(super) means: &'a Means<'a>,
    pub(super) monitor: &'a Monitor,
    pub(super) name: BrickName,
    pub(super) copy: &'a Copy,
    /// What its sidecar says, if that is sound: the same as the table in the brick.
    pub(super) sidecar: Option<&'a Toc>,
    /// Names of all bricks, ascending: to say whose bytes these are.
    pub(super) known: &'a dyn Fn(&BrickName) -> bool,
}

impl Inspection<'_> {
    /// Looks at header, footer and length alone. Nothing, if the file is gone.
    pub(super) fn quick(&self) -> Option<Inspected> {
        let mut found = Inspected::default();
        if let Some((file, length)) = self.open(&mut found)? {
            self.header(&file, length, &mut found);
            self.footer(&file, length, &mut found);
            // A brick in the wrong folder is not damaged.
            found.harm.damaged = found.faults.iter().any(|fault| fault.offset.is_some());
            found.harm.all = found.harm.damaged;
        }
        Some(found)
    }

    /// Reads all of it. Nothing, if the file is gone. The bytes of the table of contents
    /// are in `scratch.toc` then, if they could be found.
    pub(super) fn whole(&self, scratch: &mut Scratch) -> Result<Option<Inspected>> {
        let mut found = Inspected::default();
        scratch.toc.clear();
        let Some(opened) = self.open(&mut found) else {
            return Ok(None);
        };
        let Some((file, length)) = opened else {
            return Ok(Some(found));
        };
        announce(&file);
        let header = self.header(&file, length, &mut found);
        let footer = self.footer(&file, length, &mut found);
        let own = self.table(&file, header.as_ref(), footer.as_ref(), scratch, &mut found);
        let toc = own.as_ref().or(self.sidecar);
        let hash = match toc {
            Some(toc) => self.frames(&file, length, header.as_ref(), toc, scratch, &mut found)?,
            None => self.bytes(&file, 0, length, scratch, &mut found)?,
        };
        found.is_named = hash == Some(self.name);
        found.is_another = !found.is_named && hash.is_some_and(|hash| (self.known)(&hash));
        if toc.is_none() && !found.is_named && self.means.level() == Level::Frames {
            self.scan(&file, length, scratch, &mut found)?;
        }
        self.conclude(hash, toc.is_some(), &mut found);
        Ok(Some(found))
    }

    /// The file and its length; the inner nothing is a fault. Nothing, if it is gone.
    #[expect(clippy::option_option, reason = "gone, or there and not to be opened")]
    fn open(&self, found: &mut Inspected) -> Option<Option<(File, u64)>> {
        let path = &self.copy.path;
        // Looked at before it is opened: to open a pipe is to wait for its writer.
        let opened = fs::metadata(path).and_then(|kind| {
            if !kind.is_file() {
                return Ok(None);
            }
            let file = File::open(path)?;
            let length = file.metadata()?.len();
            Ok(Some((file, length)))
        });
        match opened {
            Ok(Some(opened)) => Some(Some(opened)),
            Ok(None) => {
                self.fault(found, Kind::Brick, "it is no file".to_owned());
                found.harm = Harm::total();
                Some(None)
            }
            Err(error) if is_missing(&error) => None,
            Err(error) => {
                self.fault(found, Kind::Brick, format!("cannot be opened: {error}"));
                Self::lose(found, &Unread::Failed(error));
                found.harm.all = true;
                Some(None)
            }
        }
    }

    /// Hashes the whole file, and looks at each frame that the table names on the way.
    /// The hash; nothing, if not all could be read.
    fn frames(
        &self,
        file: &File,
        length: u64,
        header: Option<&BrickHeader>,
        toc: &Toc,
        scratch: &mut Scratch,
        found: &mut Inspected,
    ) -> Result<Option<BrickName>> {
        let mut hasher = blake3::Hasher::new();
        let mut buffer = std::mem::take(&mut scratch.buffer);
        let head = read_at(file, 0, HEADER_LENGTH, &mut buffer);
        let mut is_read = head.is_ok();
        if let Err(unread) = head {
            Self::lose(found, &unread);
        }
        hasher.update(&buffer);
        for (number, frame) in (0..).zip(toc.frames()) {
            self.monitor.check()?;
            let size = u64::from(frame.length);
            if let Err(unread) = read_at(file, frame.offset, frame.length as usize, &mut buffer) {
                let span = (frame.offset, size);
                let what = format!("frame {number}");
                self.unread(found, Kind::Frame, &what, span, length, &unread);
                if let Some(fault) = found.faults.last_mut() {
                    fault.frame = Some(number);
                }
                Self::lose(found, &unread);
                if matches!(unread, Unread::Short) {
                    // One fault says it for all that follow.
                    let behind = (0..).zip(toc.frames()).map(|(behind, _)| behind);
                    found.harm.frames.extend(behind.skip(number as usize));
                    is_read = false;
                    break;
                }
                found.harm.frames.insert(number);
                is_read = false;
                continue;
            }
            hasher.update(&buffer);
            Monitor::add(&self.monitor.stream, size);
            if let Err(problem) = self.frame(header, toc, frame, &mut buffer, scratch) {
                self.bad_frame(found, number, frame, problem);
            }
            found.frames += 1;
            found.chunks += u64::from(frame.chunk_count);
        }
        scratch.buffer = buffer;
        if !is_read {
            return Ok(None);
        }
        self.rest(file, toc.end(), length, hasher, scratch, found)
    }

    /// Why a frame is not what it should be. Decrypts `bytes` in place.
    fn frame(
        &self,
        header: Option<&BrickHeader>,
        toc: &Toc,
        frame: &TocFrame,
        bytes: &mut [u8],
        scratch: &mut Scratch,
    ) -> Result<(), FrameError> {
        let decoded = FrameHeader::decode(bytes).map_err(FrameError::Header)?;
        if let Some(header) = header {
            header.require_frame(&decoded).map_err(FrameError::Header)?;
        }
        let length = decoded.frame_length();
        if length != frame.length {
            let error = DecodeError::value("frame header", "lengths", 16, frame.length, length);
            return Err(FrameError::Header(error));
        }
        let (Some(opener), Some(keyed)) = (&self.means.opener, &self.means.keyed) else {
            return Ok(());
        };
        opener.open(bytes, &mut scratch.open, &mut scratch.frame)?;
        let content = |field, expected: u32, found: u32| {
            let at = u64::from(length);
            FrameError::Content(DecodeError::value(
                "frame content",
                field,
                at,
                expected,
                found,
            ))
        };
        let inside = &scratch.frame;
        let plain = u32::try_from(inside.plain.len()).unwrap_or(u32::MAX);
        if plain != frame.plain_length {
            return Err(content("plain length", frame.plain_length, plain));
        }
        if inside.chunk_count() != frame.chunk_count {
            let count = inside.chunk_count();
            return Err(content("number of chunks", frame.chunk_count, count));
        }
        let ids = keyed.ids(toc.class());
        for (place, listed) in (0..).zip(toc.chunks_of(frame)) {
            let chunk = inside.chunk(place).unwrap_or_default();
            let id = ids.id(&ChunkHash(*blake3::hash(chunk).as_bytes()));
            if id != listed.id || chunk.len() != listed.length as usize {
                let expected = format_args!("{} of {} bytes", listed.id, listed.length);
                let found = format_args!("{id} of {} bytes at place {place}", chunk.len());
                let error = DecodeError::value("frame content", "chunk id", 0, expected, found);
                return Err(FrameError::Content(error));
            }
        }
        Ok(())
    }

    fn bad_frame(&self, found: &mut Inspected, number: u32, frame: &TocFrame, error: FrameError) {
        let at = frame.offset;
        let is_damage = match &error {
            FrameError::Header(source) | FrameError::Content(source) => source.fault.is_damage(),
            FrameError::Seal => true,
            FrameError::OtherStore { .. } | FrameError::OtherKey { .. } => false,
        };
        let message = match error {
            FrameError::Header(source) | FrameError::Content(source) => {
                source.moved_by(at).to_string()
            }
            other => other.to_string(),
        };
        let message = format!("frame {number} at byte {at}: {message}");
        let fault = Fault::new(Kind::Frame, &self.copy.path, message);
        found
            .faults
            .push(fault.at(at).of(self.name).in_frame(number));
        found.harm.damaged |= is_damage;
        found.harm.frames.insert(number);
    }

    /// Hashes a part of the file from its start on.
    fn bytes(
        &self,
        file: &File,
        from: u64,
        length: u64,
        scratch: &mut Scratch,
        found: &mut Inspected,
    ) -> Result<Option<BrickName>> {
        self.rest(file, from, length, blake3::Hasher::new(), scratch, found)
    }

    /// Hashes what is left of the file; the hash of all of it.
    fn rest(
        &self,
        file: &File,
        mut at: u64,
        length: u64,
        mut hasher: blake3::Hasher,
        scratch: &mut Scratch,
        found: &mut Inspected,
    ) -> Result<Option<BrickName>> {
        while at < length {
            self.monitor.check()?;
            let piece = (length - at).min(PIECE as u64);
            let size = usize::try_from(piece).unwrap_or(PIECE);
            if let Err(unread) = read_at(file, at, size, &mut scratch.buffer) {
                self.unread(
                    found,
                    Kind::Brick,
                    "the brick",
                    (at, piece),
                    length,
                    &unread,
                );
                Self::lose(found, &unread);
                found.harm.all = true;
                return Ok(None);
            }
            hasher.update(&scratch.buffer);
            Monitor::add(&self.monitor.stream, piece);
            at += piece;
        }
        Ok(Some(BrickName(*hasher.finalize().as_bytes())))
    }

    /// Looks for frames where no table says where they are.
    fn scan(
        &self,
        file: &File,
        length: u64,
        scratch: &mut Scratch,
        found: &mut Inspected,
    ) -> Result<()> {
        let Some(opener) = &self.means.opener else {
            return Ok(());
        };
        let range = (HEADER_LENGTH as u64).min(length)..length;
        let (mut chunks, open, frame) = (0, &mut scratch.open, &mut scratch.frame);
        let scanned = scan(file, range, self.monitor, &mut |_, bytes| {
            let is_sound = opener.open(bytes, open, frame).is_ok();
            chunks += u64::from(frame.chunk_count());
            Ok(is_sound)
        })?;
        (found.frames, found.chunks) = (scanned.frames, chunks);
        let message = format!(
            "no table of contents is left; {} frames with {chunks} chunks are found by their \
             markers, and {} bytes hold none",
            scanned.frames,
            scanned
                .gaps
                .iter()
                .map(|gap| gap.end - gap.start)
                .sum::<u64>(),
        );
        let at = scanned.gaps.first().map_or(length, |gap| gap.start);
        let fault = Fault::new(Kind::Brick, &self.copy.path, message);
        found.faults.push(fault.at(at).of(self.name));
        Ok(())
    }

    /// Takes note that something cannot be read: damage, or nothing to be marked for.
    fn lose(found: &mut Inspected, unread: &Unread) {
        found.harm.damaged |= unread.is_damage();
        found.out_of_reach |= !unread.is_damage();
    }

    /// Says what the hash says, unless what was found explains it.
    fn conclude(&self, hash: Option<BrickName>, has_table: bool, found: &mut Inspected) {
        let Some(hash) = hash else { return };
        if hash == self.name {
            return;
        }
        found.harm.damaged = true;
        let explained = found
            .faults
            .iter()
            .any(|fault| fault.offset.is_some() || fault.kind == Kind::Brick);
        // Only where each frame was opened is it known which of them are lost.
        if !explained || self.means.level() < Level::Frames || !has_table {
            found.harm.all = true;
        }
        if !explained {
            let whose = if (self.known)(&hash) {
                format!("these are the bytes of brick {hash}")
            } else {
                format!("its bytes have the hash {hash}, which is not its name")
            };
            self.fault(found, Kind::Brick, whose);
        }
    }
}
