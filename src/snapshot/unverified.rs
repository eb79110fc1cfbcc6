//! Reads a snapshot with the key of a further recipient, which has no put secret: it opens
//! frames, but neither roots nor tables of contents (`formats/snapshot.md#snapshot-file`).

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::chunks::{Brick, Chunks, Ids, Place};
use super::read::put_together;
use super::runs::{Selector, refused};
use crate::brick::{FrameOpener, OpenFrame, OpenScratch, open_snapshot};
use crate::crypto::Key;
use crate::error::{Error, Exit, Result};
use crate::format::brick::HEADER_LENGTH;
use crate::format::frame::{FRAME_MAGIC, FrameHeader, MAX_HEADER_LENGTH};
use crate::id::{BrickName, ChunkHash, Class};
use crate::index::IndexFile;
use crate::store::guard::open_file;
use crate::store::layout::{Layout, RunName};
use crate::store::own_toc::read_brick;
use crate::store::{Store, read_snapshot};

/// Puts together the index of a snapshot of the store in `dir` with a key that cannot
/// verify `store.toml`, roots or the index: all frames in `meta/` are opened, there and in
/// the folders `bricks_in`, and their chunks are found by hash.
///
/// # Errors
/// Whatever is missing or damaged; a selector that only a root can answer; a put key.
pub fn open_unverified(
    dir: &Path,
    key: &Key,
    selector: &Selector,
    bricks_in: &[PathBuf],
) -> Result<IndexFile> {
    let layout = Layout::new(dir);
    let store_id = Store::unverified_id(dir)?;
    let name = select(&layout, selector)?;
    let path = layout.snapshot_path(&name);
    let bytes = read_snapshot(&layout, &name)?;
    let snapshot = open_snapshot(&key.opener(store_id)?, &path, bytes)?;
    if snapshot.time != name.time {
        let message = "broken snapshot: its time is not the one in its name; take another copy \
                       of this file";
        return Err(refused(path, message.into(), Exit::Damaged));
    }
    let mut chunks = Chunks::new(Ids::Unkeyed, key.opener(store_id)?, path.clone());
    scan(&layout, bricks_in, &mut chunks)?;
    put_together(&path, &snapshot, &mut chunks)
}

/// The run that is meant, of those with a root and a snapshot file.
fn select(layout: &Layout, selector: &Selector) -> Result<RunName> {
    let mut names = layout.snapshots()?;
    // Without a root it is what an interrupted run has left.
    names.retain(|name| layout.root_path(name).is_file());
    let found = match selector {
        Selector::Newest(number) => number
            .checked_sub(1)
            .and_then(|newer| names.into_iter().rev().nth(newer)),
        Selector::At(time) => names.into_iter().rfind(|name| name.time <= time.end()),
        Selector::Name(start) => {
            let mut matches = names
                .into_iter()
                .filter(|name| name.to_string().starts_with(start.as_str()));
            matches.next().filter(|_| matches.next().is_none())
        }
        Selector::Label(_) | Selector::Host(_) => {
            let message = "only the store's own key knows labels and hosts of snapshots; name \
                           this one by number, time or name";
            let path = layout.roots_dir();
            return Err(refused(path, message.into(), Exit::Failed));
        }
    };
    found.ok_or_else(|| {
        let message = "no such snapshot in this store, or more than one";
        refused(layout.path().to_owned(), message.into(), Exit::Failed)
    })
}

/// Opens all frames of the bricks in `meta/`. Those that do not open are passed: what they
/// hold is missed later on, if it is needed.
fn scan(layout: &Layout, bricks_in: &[PathBuf], chunks: &mut Chunks<'_>) -> Result<()> {
    let copies = bricks_in.iter().map(Layout::new);
    let mut bricks: BTreeMap<BrickName, Vec<PathBuf>> = BTreeMap::new();
    for layout in std::iter::once(layout.clone()).chain(copies) {
        layout.each_brick(Class::Metadata, |name, _| {
            // All copies: what is damaged in one may be whole in another.
            let path = layout.brick_path(&name, Class::Metadata);
            bricks.entry(name).or_default().push(path);
            Ok(())
        })?;
    }
    let mut scanner = Scanner::default();
    for path in bricks.into_values().flatten() {
        scanner.brick(path, chunks)?;
    }
    Ok(())
}

#[derive(Default)]
struct Scanner {
    bytes: Vec<u8>,
    scratch: OpenScratch,
    frame: OpenFrame,
}

impl Scanner {
    /// Goes from frame to frame. Behind what is none, the table of contents or a damaged
    /// frame, the next is looked for.
    fn brick(&mut self, path: PathBuf, chunks: &mut Chunks<'_>) -> Result<()> {
        let file = open_file(&path).map_err(Error::io("open", &path))?;
        let length = file.metadata().map_err(Error::io("read", &path))?.len();
        let brick = u32::try_from(chunks.bricks.len()).unwrap_or(u32::MAX);
        let mut frames = Vec::new();
        let mut offset = HEADER_LENGTH as u64;
        while offset < length {
            let Some(frame_length) = self.frame_length(&file, &path, offset, length)? else {
                offset = self.next_frame(&file, &path, offset + 1, length)?;
                continue;
            };
            self.bytes.resize(frame_length as usize, 0);
            read_brick(&file, &path, offset, &mut self.bytes)?;
            let frame = frames.len() as u32;
            if self.opens(&chunks.opener) {
                for number in 0..self.frame.chunk_count() {
                    let chunk = self.frame.chunk(number).unwrap_or_default();
                    let hash = ChunkHash(*blake3::hash(chunk).as_bytes());
                    let place = Place {
                        brick,
                        frame,
                        number,
                    };
                    chunks.places.insert(chunks.ids.id(&hash), place);
                }
            }
            frames.push((offset, frame_length));
            offset += u64::from(frame_length);
        }
        chunks.bricks.push(Brick { path, frames });
        Ok(())
    }

    /// Where, from `offset` on, the next magic of a frame stands; the length of the brick
    /// if there is none.
    fn next_frame(&mut self, file: &File, path: &Path, offset: u64, length: u64) -> Result<u64> {
        /// Bytes looked through at a time.
        const PIECE: u64 = 1 << 20;
        let mut start = offset;
        while start < length {
            let piece = PIECE.min(length - start);
            self.bytes.resize(piece as usize, 0);
            read_brick(file, path, start, &mut self.bytes)?;
            let mut windows = self.bytes.windows(FRAME_MAGIC.len());
            if let Some(found) = windows.position(|window| window == FRAME_MAGIC) {
                return Ok(start + found as u64);
            }
            if start + piece == length {
                break;
            }
            // A magic may lie across the border.
            start += piece - (FRAME_MAGIC.len() as u64 - 1);
        }
        Ok(length)
    }

    fn opens(&mut self, opener: &FrameOpener) -> bool {
        opener
            .open(&mut self.bytes, &mut self.scratch, &mut self.frame)
            .is_ok()
    }

    /// Length of the frame that begins at `offset`, if a whole one does.
    fn frame_length(
        &mut self,
        file: &File,
        path: &Path,
        offset: u64,
        length: u64,
    ) -> Result<Option<u32>> {
        let rest = length.saturating_sub(offset);
        let header = rest.min(u64::from(MAX_HEADER_LENGTH)) as usize;
        self.bytes.resize(header, 0);
        read_brick(file, path, offset, &mut self.bytes)?;
        Ok(FrameHeader::decode(&self.bytes)
            .ok()
            .map(|header| header.frame_length())
            .filter(|length| u64::from(*length) <= rest))
    }
}
