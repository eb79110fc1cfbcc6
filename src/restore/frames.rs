//! Frames on restore: fetched and opened ahead on the pool, kept while they
//! are likely to be needed again.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rayon::ThreadPool;

use crate::brick::{FrameError, FrameOpener, OpenFrame, OpenScratch};
use crate::error::{Error, Exit};
use crate::format::record::copy_of_list;
use crate::format::trailer::UsedFrame;
use crate::id::{BrickName, ChunkHash, Class};
use crate::store::layout::Layout;

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
    frame: OpenFrame,
    hashes: Vec<ChunkHash>,
}

/// Opened frames whose memory waits to be used again.
#[derive(Clone, Default)]
struct Spares(Arc<Mutex<Vec<Opened>>>);

impl Spares {
    /// So many are kept at most: as many as batches that are under way give back at once.
    const MOST: usize = 16;
    /// Memory up to this length, in bytes, suits any frame.
    const SMALL: usize = 256 << 10;

    /// One for a frame of so many plain bytes. It has no more than four times
    /// the memory that the frame needs, or a cache of many small frames would
    /// come to hold the memory of as many large ones.
    fn take(&self, plain_length: usize) -> Opened {
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

/// A frame that is or will be open.
pub(super) struct Slot {
    opened: OnceLock<Result<Opened, Failure>>,
    spares: Spares,
    /// Of the brick: where it was found, or should be.
    path: PathBuf,
}

impl Slot {
    /// The chunk at `place`, which must have this hash and length. Waits for the frame.
    pub(super) fn chunk(
        &self,
        place: u32,
        length: u32,
        hash: &ChunkHash,
    ) -> Result<&[u8], Failure> {
        let opened = self.opened.wait().as_ref().map_err(Clone::clone)?;
        let chunk = opened.frame.chunk(place);
        match (chunk, opened.hashes.get(place as usize)) {
            (Some(chunk), Some(found)) if found == hash && chunk.len() == length as usize => {
                Ok(chunk)
            }
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
        let opened = self.opened.wait().as_ref().map_err(Clone::clone)?;
        copy_of_list(opened.frame.chunk(place).unwrap_or_default(), list);
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

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(Ok(opened)) = self.opened.take() {
            self.spares.give_back(opened);
        }
    }
}

/// A frame as an index or the catalog names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameSpec {
    pub(super) brick: BrickName,
    pub(super) frame: UsedFrame,
}

/// Fetches frames; keeps the ones used last up to a number of bytes.
pub(super) struct FrameCache {
    layout: Arc<Layout>,
    bricks_in: Arc<[PathBuf]>,
    opener: Arc<FrameOpener>,
    pool: Arc<ThreadPool>,
    spares: Spares,
    slots: HashMap<u64, Entry>,
    by_use: BTreeMap<u64, u64>,
    uses: u64,
    bytes: u64,
    budget: u64,
    files: Vec<(BrickName, PathBuf, Arc<File>)>,
}

struct Entry {
    slot: Arc<Slot>,
    used: u64,
    bytes: u64,
}

/// So many frames of the largest length are kept, if they fit [`MOST_KEPT`] bytes.
const FEW: u64 = 10;
const MOST_KEPT: u64 = 160 << 20;

/// What to do about a damaged brick.
const REPLACE: &str = "name a folder with another copy of the brick with --bricks";
/// Brick files kept open.
const OPEN_FILES: usize = 16;
thread_local! {
    /// Sealed bytes and decompression state of this thread.
    static SCRATCH: std::cell::RefCell<(Vec<u8>, OpenScratch)> = std::cell::RefCell::default();
}

impl FrameCache {
    pub(super) fn new(
        layout: Layout,
        bricks_in: Vec<PathBuf>,
        opener: FrameOpener,
        pool: Arc<ThreadPool>,
        budget: u64,
    ) -> Self {
        Self {
            layout: Arc::new(layout),
            bricks_in: bricks_in.into(),
            opener: Arc::new(opener),
            pool,
            spares: Spares::default(),
            slots: HashMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
            bytes: 0,
            budget,
            files: Vec::new(),
        }
    }

    /// The slot kept under `key`, if it is still there.
    pub(super) fn kept(&mut self, key: u64) -> Option<Arc<Slot>> {
        let entry = self.slots.get_mut(&key)?;
        self.uses += 1;
        self.by_use.remove(&entry.used);
        entry.used = self.uses;
        self.by_use.insert(self.uses, key);
        Some(Arc::clone(&entry.slot))
    }

    /// Starts to fetch and open a frame, and keeps it under `key`.
    pub(super) fn fetch(&mut self, key: u64, spec: FrameSpec) -> Arc<Slot> {
        let found = self.file(&spec.brick);
        let slot = Arc::new(Slot {
            opened: OnceLock::new(),
            spares: self.spares.clone(),
            path: match &found {
                Ok((path, _)) => path.clone(),
                Err(failure) => failure.path.clone(),
            },
        });
        match found {
            Ok((_, file)) => self.open(&slot, spec, file),
            Err(failure) => {
                let _ = slot.opened.set(Err(failure));
            }
        }
        let bytes = u64::from(spec.frame.plain_length);
        // Where frames are large, a few of them must fit all the same, or each
        // deduplicated chunk opens one of them again.
        self.budget = self.budget.max((bytes * FEW).min(MOST_KEPT));
        self.make_room(bytes);
        self.uses += 1;
        self.by_use.insert(self.uses, key);
        self.bytes += bytes;
        let entry = Entry {
            slot: Arc::clone(&slot),
            used: self.uses,
            bytes,
        };
        self.slots.insert(key, entry);
        slot
    }

    fn make_room(&mut self, bytes: u64) {
        while self.bytes + bytes > self.budget {
            let Some((_, oldest)) = self.by_use.pop_first() else {
                return;
            };
            if let Some(entry) = self.slots.remove(&oldest) {
                self.bytes -= entry.bytes;
            }
        }
    }

    fn file(&mut self, name: &BrickName) -> Result<(PathBuf, Arc<File>), Failure> {
        if let Some((_, path, file)) = self.files.iter().find(|(open, ..)| open == name) {
            return Ok((path.clone(), Arc::clone(file)));
        }
        let found = self.layout.find_brick(name, &self.bricks_in);
        let (path, file) = found.map_err(|error| self.not_found(name, &error))?;
        let file = Arc::new(file);
        if self.files.len() == OPEN_FILES {
            self.files.remove(0);
        }
        self.files.push((*name, path.clone(), Arc::clone(&file)));
        Ok((path, file))
    }

    /// The path stands before the message, which need not repeat it.
    fn not_found(&self, name: &BrickName, error: &Error) -> Failure {
        let (path, message) = match error {
            Error::Io {
                action,
                path,
                source,
            } => (path.clone(), format!("cannot {action} it: {source}")),
            other => (
                self.layout.brick_path(name, Class::Data),
                other.to_string().replacen(&format!(" {name}"), "", 1),
            ),
        };
        Failure {
            path,
            message,
            exit: error.exit(),
        }
    }

    fn open(&self, slot: &Arc<Slot>, spec: FrameSpec, file: Arc<File>) {
        let FrameSpec { brick, frame } = spec;
        let slot = Arc::clone(slot);
        let opener = Arc::clone(&self.opener);
        let (layout, bricks_in) = (Arc::clone(&self.layout), Arc::clone(&self.bricks_in));
        let mut content = self.spares.take(frame.plain_length as usize);
        self.pool.spawn_fifo(move || {
            let guard = SetOnDrop(&slot);
            let path = &slot.path;
            let result = open_frame(&file, path, frame, &opener, &mut content).or_else(|failure| {
                // Another copy may be sound.
                layout
                    .copies_of_brick(&brick, &bricks_in)
                    .flatten()
                    .filter(|(other, _)| other != path)
                    .find_map(|(path, file)| {
                        open_frame(&file, &path, frame, &opener, &mut content).ok()
                    })
                    .ok_or(failure)
            });
            let _ = guard.0.opened.set(result.map(|()| content));
        });
    }
}

/// Tells whoever waits that nothing will come, should the job panic.
struct SetOnDrop<'a>(&'a Slot);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.opened.get_or_init(|| {
            Err(Failure {
                path: self.0.path.clone(),
                message: "internal error while opening a frame; please report this".into(),
                exit: Exit::Failed,
            })
        });
    }
}

fn open_frame(
    file: &File,
    path: &Path,
    frame: UsedFrame,
    opener: &FrameOpener,
    content: &mut Opened,
) -> Result<(), Failure> {
    SCRATCH.with_borrow_mut(|(sealed, scratch)| {
        read_frame(file, path, frame, sealed)?;
        opener
            .open(sealed, scratch, &mut content.frame)
            .map_err(|error| frame_failure(path, frame, error))?;
        // Memory is counted by the length that was named, and anyone can seal a frame
        // to a public key.
        let found = content.frame.plain.len();
        if found != frame.plain_length as usize {
            return Err(other_length(path, frame, found));
        }
        content.hashes.clear();
        for place in 0..content.frame.chunk_count() {
            let chunk = content.frame.chunk(place).unwrap_or_default();
            content
                .hashes
                .push(ChunkHash(*blake3::hash(chunk).as_bytes()));
        }
        Ok(())
    })
}

fn read_frame(
    file: &File,
    path: &Path,
    frame: UsedFrame,
    sealed: &mut Vec<u8>,
) -> Result<(), Failure> {
    let failure = |message: String, exit| Failure {
        path: path.to_owned(),
        message,
        exit,
    };
    let length = file
        .metadata()
        .map_err(|error| failure(format!("cannot read: {error}"), Exit::Failed))?
        .len();
    let end = frame.offset.saturating_add(u64::from(frame.length));
    if end > length {
        return Err(failure(
            format!(
                "brick cut short: frame {} ends at byte {end}, but the file has {length} bytes; \
                 {REPLACE}",
                frame.number
            ),
            Exit::Damaged,
        ));
    }
    sealed.resize(frame.length as usize, 0);
    file.read_exact_at(sealed, frame.offset).map_err(|error| {
        failure(
            format!(
                "cannot read frame {} at byte {}: {error}",
                frame.number, frame.offset
            ),
            Exit::Damaged,
        )
    })
}

fn other_length(path: &Path, frame: UsedFrame, found: usize) -> Failure {
    Failure {
        path: path.to_owned(),
        message: format!(
            "frame {} at byte {}: it is sound, but not the frame that the index names: expected \
             a plain length of {}, found {found}; {REPLACE}",
            frame.number, frame.offset, frame.plain_length
        ),
        exit: Exit::Damaged,
    }
}

/// Offsets in the message are those in the brick's file.
fn frame_failure(path: &Path, frame: UsedFrame, error: FrameError) -> Failure {
    let message = match &error {
        FrameError::Header(source) | FrameError::Content(source) => {
            source.clone().moved_by(frame.offset).to_string()
        }
        other => other.to_string(),
    };
    let exit = error.into_error(path, frame.offset).exit();
    let remedy = if exit == Exit::Damaged {
        format!("; {REPLACE}")
    } else {
        String::new()
    };
    Failure {
        path: path.to_owned(),
        message: format!(
            "frame {} at byte {}: {message}{remedy}",
            frame.number, frame.offset
        ),
        exit,
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
    fn only_so_many_spares_are_kept() {
        let spares = Spares::default();
        for _ in 0..1000 {
            spares.give_back(opened(1));
        }
        assert_eq!(spares.lock().len(), Spares::MOST);
    }
}
