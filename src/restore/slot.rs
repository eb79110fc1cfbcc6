//! One frame on restore: on its way, open, or what is kept of it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::brick::OpenFrame;
use crate::error::{Error, Exit};
use crate::format::record::copy_of_list;
use crate::id::ChunkHash;

/// What to do about a damaged brick.
pub(super) const REPLACE: &str = "name a folder with another copy of the brick with --bricks";

/// Why a frame could not be opened.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) path: PathBuf,
    pub(super) message: String,
    pub(super) exit: Exit,
}

impl Failure {
    pub(super) fn error(&self) -> Error {
        Error::Refused {
            path: self.path.clone(),
            message: self.message.clone(),
            exit: self.exit,
        }
    }

    /// The failure of a list whose copy failed `also`.
    pub(super) fn and(mut self, also: &Self) -> Self {
        if (&self.path, &self.message) != (&also.path, &also.message) {
            self.message = format!(
                "{}; nor is there the copy of this chunk list: {}",
                self.message,
                also.error()
            );
        }
        self
    }
}

/// A frame's chunks, each hashed when the frame was opened.
#[derive(Default)]
pub(super) struct Opened {
    pub(super) frame: OpenFrame,
    pub(super) hashes: Vec<ChunkHash>,
}

impl Opened {
    /// A chunk and its hash.
    pub(super) fn chunk(&self, place: u32) -> Option<(&[u8], &ChunkHash)> {
        Some((
            self.frame.chunk(place)?,
            self.hashes.get(usize::try_from(place).ok()?)?,
        ))
    }
}

/// Opened frames whose memory waits to be used again.
#[derive(Clone, Default)]
pub(super) struct Spares(Arc<Mutex<Vec<Opened>>>);

impl Spares {
    /// So many are kept at most: as many as batches that are under way give back at once.
    const MOST: usize = 16;
    /// Memory up to this length, in bytes, suits any frame.
    const SMALL: usize = 256 << 10;

    /// One for a frame of so many plain bytes. It has no more than four times
    /// the memory that the frame needs, or a cache of many small frames would
    /// come to hold the memory of as many large ones.
    pub(super) fn take(&self, plain_length: usize) -> Opened {
        let most = plain_length.saturating_mul(4).max(Self::SMALL);
        let mut spares = self.lock();
        let suits = |spare: &Opened| spare.frame.plain.capacity() <= most;
        match spares.iter().rposition(suits) {
            Some(place) => spares.swap_remove(place),
            None => Opened::default(),
        }
    }

    fn give_back(&self, opened: Opened) {
        let mut spares = self.lock();
        if spares.len() < Self::MOST {
            spares.push(opened);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Opened>> {
        // Poisoned only if a thread panicked while pushing; the list is whole all the same.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A frame that is or will be open, or some of its chunks.
pub(super) struct Slot {
    held: Held,
    /// Of the brick: where it was found, or should be.
    pub(super) path: PathBuf,
}

enum Held {
    Frame {
        opened: OnceLock<Result<Opened, Failure>>,
        spares: Spares,
    },
    /// Chunks by their places, ascending.
    Chunks(Vec<KeptChunk>),
}

struct KeptChunk {
    place: u32,
    hash: ChunkHash,
    bytes: Box<[u8]>,
}

impl Slot {
    /// One for a frame that is on its way.
    pub(super) fn new(path: PathBuf, spares: Spares) -> Self {
        Self {
            held: Held::Frame {
                opened: OnceLock::new(),
                spares,
            },
            path,
        }
    }

    /// Says what became of the frame. Only the first answer counts.
    pub(super) fn set(&self, outcome: Result<Opened, Failure>) {
        if let Held::Frame { opened, .. } = &self.held {
            let _ = opened.set(outcome);
        }
    }

    /// Copies of the chunks at `places`, which ascend, up to `most` bytes; and their length
    /// in bytes. `None`: the frame is not open yet, or there is none of them.
    pub(super) fn keep(&self, places: &[u32], most: u64) -> Option<(Self, u64)> {
        let Held::Frame { opened, .. } = &self.held else {
            return None;
        };
        let Some(Ok(opened)) = opened.get() else {
            return None;
        };
        let mut length = 0;
        let mut chunks = Vec::new();
        for &place in places {
            if let Some((bytes, hash)) = opened.chunk(place)
                && length + bytes.len() as u64 <= most
            {
                length += bytes.len() as u64;
                chunks.push(KeptChunk {
                    place,
                    hash: *hash,
                    bytes: bytes.into(),
                });
            }
        }
        let slot = Self {
            held: Held::Chunks(chunks),
            path: self.path.clone(),
        };
        (length > 0).then_some((slot, length))
    }

    /// Whether the chunk at `place` is here, or will be.
    pub(super) fn has(&self, place: u32) -> bool {
        match &self.held {
            Held::Frame { .. } => true,
            Held::Chunks(chunks) => find(chunks, place).is_some(),
        }
    }

    /// The chunk at `place` and its hash. Waits for the frame.
    fn get(&self, place: u32) -> Result<Option<(&[u8], &ChunkHash)>, Failure> {
        match &self.held {
            Held::Frame { opened, .. } => {
                let opened = opened.wait().as_ref().map_err(Clone::clone)?;
                Ok(opened.chunk(place))
            }
            Held::Chunks(chunks) => {
                Ok(find(chunks, place).map(|chunk| (&*chunk.bytes, &chunk.hash)))
            }
        }
    }

    /// The chunk at `place`, which must have this hash and length. Waits for the frame.
    pub(super) fn chunk(
        &self,
        place: u32,
        length: u32,
        hash: &ChunkHash,
    ) -> Result<&[u8], Failure> {
        match self.get(place)? {
            Some((chunk, found)) if found == hash && chunk.len() == length as usize => Ok(chunk),
            _ => Err(self.other_chunk(&format!("{hash} of {length} bytes"), place)),
        }
    }

    /// Puts into `list` what the copy at `place` is a copy of: a list that must have this
    /// hash and length. Waits for the frame.
    pub(super) fn list_of_copy(
        &self,
        place: u32,
        length: u32,
        hash: &ChunkHash,
        list: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let copy = self.get(place)?.map(|(copy, _)| copy);
        copy_of_list(copy.unwrap_or_default(), list);
        if list.len() == length as usize && blake3::hash(list) == *hash.as_bytes() {
            return Ok(());
        }
        Err(self.other_chunk(&format!("that is a copy of {hash}"), place))
    }

    fn other_chunk(&self, wanted: &str, place: u32) -> Failure {
        Failure {
            path: self.path.clone(),
            message: format!(
                "its frame is sound, but place {place} does not hold the chunk {wanted} that \
                 the index names; {REPLACE}"
            ),
            exit: Exit::Damaged,
        }
    }
}

fn find(chunks: &[KeptChunk], place: u32) -> Option<&KeptChunk> {
    let found = chunks.binary_search_by_key(&place, |chunk| chunk.place);
    chunks.get(found.ok()?)
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Held::Frame { opened, spares } = &mut self.held
            && let Some(Ok(opened)) = opened.take()
        {
            spares.give_back(opened);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(capacity: usize) -> Opened {
        let mut opened = Opened::default();
        opened.frame.plain = Vec::with_capacity(capacity);
        opened
    }

    #[test]
    fn small_frames_do_not_hold_the_memory_of_large_ones() {
        let spares = Spares::default();
        spares.give_back(opened(4 << 20));
        assert_eq!(spares.take(10_000).frame.plain.capacity(), 0);
        assert!(spares.take(2 << 20).frame.plain.capacity() >= 4 << 20);
    }

    #[test]
    fn of_a_frame_the_chunks_are_kept_that_are_wanted() {
        let chunks: [&[u8]; 3] = [b"none", b"one", b"two"];
        let hash = |chunk: &[u8]| ChunkHash(*blake3::hash(chunk).as_bytes());
        let opened = Opened {
            frame: OpenFrame::of(&chunks),
            hashes: chunks.map(hash).into(),
        };
        let hashes = opened.hashes.clone();
        let slot = Slot::new("brick".into(), Spares::default());
        assert!(slot.keep(&[0], 100).is_none(), "it is not open yet");
        slot.set(Ok(opened));
        let (kept, length) = slot.keep(&[0, 2, 9], 100).unwrap();
        assert_eq!(length, 7);
        assert!(kept.has(0) && !kept.has(1) && kept.has(2) && !kept.has(9));
        assert_eq!(kept.chunk(2, 3, &hashes[2]).unwrap(), b"two");
        assert!(kept.chunk(2, 3, &hashes[1]).is_err());
        assert!(kept.chunk(2, 4, &hashes[2]).is_err());
        assert!(kept.chunk(1, 3, &hashes[1]).is_err());
        let (kept, length) = slot.keep(&[0, 1], 4).unwrap();
        assert!(length == 4 && kept.has(0) && !kept.has(1));
        assert!(slot.keep(&[9], 100).is_none());
    }

    #[test]
    fn only_so_many_spares_are_kept() {
        let spares = Spares::default();
        for _ in 0..1000 {
            spares.give_back(opened(1));
        }
        assert_eq!(spares.lock().len(), Spares::MOST);
    }
}
