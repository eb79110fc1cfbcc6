//! A brick that may turn out to be whole, as its pieces come by: header, frames, TOC
//! and footer, one right behind the other (`formats/brick.md`).

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::event::Place;
use super::file::new_file;
use super::frame::SalvagedFrame;
use crate::brick::open_brick_toc;
use crate::crypto::PutKeys;
use crate::error::{Error, Result};
use crate::format::brick::{BrickHeader, Footer, HEADER_LENGTH, MAX_CHUNKS, MAX_FRAMES};
use crate::format::toc::{Toc, TocHeader};
use crate::id::BrickName;
use crate::store::named::NamedByHash;

/// A brick as far as it was found.
pub(super) struct Attempt {
    pub(super) header: BrickHeader,
    /// Where it begins.
    pub(super) place: Place,
    /// Where its next piece must stand.
    next: u64,
    /// Its bytes so far. Headers are easily made: a file is only with the first frame.
    file: NamedByHash,
    header_bytes: Vec<u8>,
    temp_dir: Option<PathBuf>,
    frames: Vec<SalvagedFrame>,
    chunks: usize,
    toc: Option<(u64, Vec<u8>)>,
}

/// A brick of which every byte is accounted for.
pub(super) struct Whole {
    pub(super) header: BrickHeader,
    pub(super) place: Place,
    pub(super) file: NamedByHash,
    pub(super) frames: Vec<SalvagedFrame>,
    pub(super) toc: Vec<u8>,
}

impl Whole {
    pub(super) fn name(&self) -> BrickName {
        BrickName(self.file.hash())
    }

    /// Its frames one by one, where it cannot stay whole.
    pub(super) fn remains(self) -> Remains {
        remains(self.file, self.place, self.frames)
    }
}

/// What became of an attempt.
pub(super) enum Outcome {
    Whole(Whole),
    Failed(Remains),
}

impl Attempt {
    /// Begins with a brick's header. With `temp_dir`, its bytes are kept there, from the
    /// first frame on, until it is known whether it is whole; otherwise they can be read
    /// where they stand.
    pub(super) fn begin(bytes: &[u8], place: Place, temp_dir: Option<PathBuf>) -> Option<Self> {
        let header = BrickHeader::decode(bytes).ok()?;
        Some(Self {
            header,
            next: place.offset + HEADER_LENGTH as u64,
            place,
            file: NamedByHash::new(None),
            header_bytes: bytes.to_vec(),
            temp_dir,
            frames: Vec::new(),
            chunks: 0,
            toc: None,
        })
    }

    /// Whether a frame at this offset can be the next of the brick.
    pub(super) fn takes(&self, offset: u64, frame: &SalvagedFrame) -> bool {
        offset == self.next
            && self.toc.is_none()
            && (frame.store, frame.class) == (self.header.store_id, self.header.class)
            && self.frames.len() < MAX_FRAMES as usize
            && self.chunks + frame.chunks.len() <= MAX_CHUNKS as usize
    }

    /// Adds a frame that it [takes](Attempt::takes).
    pub(super) fn frame(&mut self, frame: SalvagedFrame, bytes: &[u8]) -> Result<()> {
        if self.frames.is_empty() {
            self.file = new_file(self.temp_dir.as_deref())?;
            self.file.write(&self.header_bytes)?;
        }
        self.chunks += frame.chunks.len();
        self.frames.push(frame);
        self.piece(bytes)
    }

    fn piece(&mut self, bytes: &[u8]) -> Result<()> {
        self.next += bytes.len() as u64;
        self.file.write(bytes)
    }

    /// Whether the key in use is the store's own, as far as is known.
    pub(super) fn is_own(&self) -> bool {
        self.frames.first().is_some_and(|frame| frame.is_own)
    }

    /// Adds a TOC. `false`: it cannot be that of the brick.
    pub(super) fn toc(&mut self, offset: u64, bytes: &[u8]) -> Result<bool> {
        let Ok(header) = TocHeader::decode(bytes) else {
            return Ok(false);
        };
        let brick = &self.header;
        if offset != self.next
            || self.toc.is_some()
            || self.frames.is_empty()
            || (header.store_id, header.salt, header.epoch)
                != (brick.store_id, brick.salt, brick.epoch)
        {
            return Ok(false);
        }
        self.toc = Some((offset - self.place.offset, bytes.to_vec()));
        self.piece(bytes)?;
        Ok(true)
    }

    /// Ends with a footer. Whole is what agrees with it, and, with keys, with the TOC.
    pub(super) fn footer(
        mut self,
        offset: u64,
        bytes: &[u8],
        footer: &Footer,
        keys: Option<&PutKeys>,
    ) -> Result<Outcome> {
        let fits = |toc: &(u64, Vec<u8>)| {
            let agrees = (footer.toc_offset, footer.toc_length) == (toc.0, toc.1.len() as u64);
            agrees && keys.is_none_or(|keys| self.toc_agrees(keys, &toc.1, footer))
        };
        if offset != self.next || !self.toc.as_ref().is_some_and(fits) {
            return Ok(Outcome::Failed(self.fail()));
        }
        self.piece(bytes)?;
        Ok(Outcome::Whole(Whole {
            header: self.header,
            place: self.place,
            file: self.file,
            frames: self.frames,
            toc: self.toc.map(|(_, bytes)| bytes).unwrap_or_default(),
        }))
    }

    fn toc_agrees(&self, keys: &PutKeys, bytes: &[u8], footer: &Footer) -> bool {
        open_brick_toc(keys, &self.header, bytes, footer)
            .is_ok_and(|toc| toc.frames().len() == self.frames.len() && self.frames_agree(&toc))
    }

    fn frames_agree(&self, toc: &Toc) -> bool {
        let mut pairs = toc.frames().iter().zip(&self.frames);
        pairs.all(|(told, found)| {
            told.length == found.length
                && (!found.verified
                    || told.plain_length == found.plain_length
                        && toc.chunks_of(told) == found.chunks)
        })
    }

    /// Gives the brick up; its frames are good all the same.
    pub(super) fn fail(self) -> Remains {
        remains(self.file, self.place, self.frames)
    }
}

fn remains(file: NamedByHash, place: Place, frames: Vec<SalvagedFrame>) -> Remains {
    let (path, base) = match file.path() {
        Some(path) => (path.to_owned(), 0),
        None => (place.path, place.offset),
    };
    Remains {
        path,
        position: base + HEADER_LENGTH as u64,
        frames: frames.into_iter(),
        _file: file,
    }
}

/// The frames of a brick that is not whole.
pub(super) struct Remains {
    path: PathBuf,
    position: u64,
    frames: std::vec::IntoIter<SalvagedFrame>,
    /// Where they can be read as long as this lives.
    _file: NamedByHash,
}

impl Remains {
    /// The next frame. Its bytes are put into `bytes` if they are wanted.
    pub(super) fn next(
        &mut self,
        bytes: &mut Vec<u8>,
        wanted: bool,
    ) -> Result<Option<SalvagedFrame>> {
        let Some(frame) = self.frames.next() else {
            return Ok(None);
        };
        let position = self.position;
        self.position += u64::from(frame.length);
        bytes.clear();
        if wanted {
            bytes.resize(frame.length as usize, 0);
            File::open(&self.path)
                .and_then(|file| file.read_exact_at(bytes, position))
                .map_err(Error::io("read", &self.path))?;
        }
        Ok(Some(frame))
    }
}
