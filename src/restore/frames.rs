//! Frames on restore: fetched and opened ahead on the pool, kept while they
//! are likely to be needed again, and then those of their chunks that will be.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::ThreadPool;

use super::ahead::Ahead;
use super::bricks::Bricks;
use super::elsewhere::Elsewhere;
use super::slot::{Failure, Opened, REPLACE, Slot, Spares};
use crate::brick::{FrameError, FrameOpener, OpenScratch};
use crate::error::{Error, Exit};
use crate::format::trailer::UsedFrame;
use crate::id::{BrickName, ChunkHash, Class};
use crate::store::{BrickFile, ReadAt};

/// A frame as an index or the catalog names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameSpec {
    pub(super) brick: BrickName,
    pub(super) frame: UsedFrame,
}

/// Fetches frames; keeps the ones used last up to a number of bytes, and of those that
/// have to go the chunks that the stream uses again: most frames are used by a few
/// chunks only once their own time has passed.
pub(super) struct FrameCache {
    bricks: Arc<Bricks>,
    opener: Arc<FrameOpener>,
    elsewhere: Option<Arc<Elsewhere>>,
    pool: Arc<ThreadPool>,
    spares: Spares,
    slots: HashMap<u64, Entry>,
    by_use: BTreeMap<u64, u64>,
    uses: u64,
    bytes: u64,
    budget: u64,
    files: Vec<(BrickName, PathBuf, Arc<BrickFile>)>,
    ahead: Ahead,
    remnants: Remnants,
}

/// Chunks of frames that had to go, by frame.
#[derive(Default)]
struct Remnants {
    slots: HashMap<u64, (Arc<Slot>, u64)>,
    bytes: u64,
}

impl Remnants {
    /// Bytes of chunks kept at most.
    const MOST: u64 = 16 << 20;

    fn get(&self, key: u64, place: u32) -> Option<Arc<Slot>> {
        let (slot, _) = self.slots.get(&key)?;
        slot.has(place).then(|| Arc::clone(slot))
    }

    fn remove(&mut self, key: u64) {
        if let Some((_, bytes)) = self.slots.remove(&key) {
            self.bytes -= bytes;
        }
    }

    /// Keeps `slot`; if that is too much, what is used last goes.
    fn insert(&mut self, key: u64, slot: Slot, bytes: u64, ahead: &Ahead) {
        self.remove(key);
        self.slots.insert(key, (Arc::new(slot), bytes));
        self.bytes += bytes;
        while self.bytes > Self::MOST {
            let next_use = |key: &u64| ahead.next_use(*key).unwrap_or(u64::MAX);
            let Some(last) = self.slots.keys().copied().max_by_key(next_use) else {
                return;
            };
            self.remove(last);
        }
    }

    /// Drops what is not used again.
    fn drop_used(&mut self, ahead: &Ahead) {
        self.slots.retain(|&key, (_, bytes)| {
            let used_again = ahead.next_use(key).is_some();
            if !used_again {
                self.bytes -= *bytes;
            }
            used_again
        });
    }
}

struct Entry {
    slot: Arc<Slot>,
    used: u64,
    bytes: u64,
}

/// So many frames of the largest length are kept, if they fit [`MOST_KEPT`] bytes.
const FEW: u64 = 5;
const MOST_KEPT: u64 = 80 << 20;

/// Brick files kept open.
const OPEN_FILES: usize = 16;
thread_local! {
    /// Sealed bytes and decompression state of this thread.
    static SCRATCH: std::cell::RefCell<(Vec<u8>, OpenScratch)> = std::cell::RefCell::default();
}

impl FrameCache {
    pub(super) fn new(
        bricks: Arc<Bricks>,
        opener: Arc<FrameOpener>,
        elsewhere: Option<Arc<Elsewhere>>,
        pool: Arc<ThreadPool>,
        budget: u64,
        ahead: Ahead,
    ) -> Self {
        Self {
            bricks,
            opener,
            elsewhere,
            pool,
            spares: Spares::default(),
            slots: HashMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
            bytes: 0,
            budget,
            files: Vec::new(),
            ahead,
            remnants: Remnants::default(),
        }
    }

    /// Where frames are looked for that are not where they should be.
    pub(super) fn elsewhere(&self) -> Option<Arc<Elsewhere>> {
        self.elsewhere.clone()
    }

    /// Takes note that the walk has passed `count` more chunks of bodies.
    pub(super) fn pass(&mut self, count: u64) {
        self.ahead.pass(count);
    }

    /// What is kept under `key`, if the chunk at `place` is there.
    pub(super) fn kept(&mut self, key: u64, place: u32) -> Option<Arc<Slot>> {
        let Some(entry) = self.slots.get_mut(&key) else {
            return self.remnants.get(key, place);
        };
        self.uses += 1;
        self.by_use.remove(&entry.used);
        entry.used = self.uses;
        self.by_use.insert(self.uses, key);
        Some(Arc::clone(&entry.slot))
    }

    /// Starts to fetch and open a frame, and keeps it under `key`.
    pub(super) fn fetch(&mut self, key: u64, spec: FrameSpec) -> Arc<Slot> {
        let found = self.file(&spec.brick);
        let path = match &found {
            Ok((path, _)) => path.clone(),
            Err(failure) => failure.path.clone(),
        };
        let slot = Arc::new(Slot::new(path, self.spares.clone()));
        self.open(&slot, spec, found.map(|(_, file)| file));
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
        self.remnants.remove(key);
        slot
    }

    fn make_room(&mut self, bytes: u64) {
        while self.bytes + bytes > self.budget {
            let Some((_, oldest)) = self.by_use.pop_first() else {
                return;
            };
            if let Some(entry) = self.slots.remove(&oldest) {
                self.bytes -= entry.bytes;
                self.keep_chunks(oldest, &entry.slot);
            }
        }
    }

    /// Keeps those chunks of a frame that the stream uses again.
    fn keep_chunks(&mut self, key: u64, slot: &Slot) {
        self.remnants.drop_used(&self.ahead);
        if let Some((slot, bytes)) = slot.keep(&self.ahead.places(key), Remnants::MOST) {
            self.remnants.insert(key, slot, bytes, &self.ahead);
        }
    }

    fn file(&mut self, name: &BrickName) -> Result<(PathBuf, Arc<BrickFile>), Failure> {
        if let Some((_, path, file)) = self.files.iter().find(|(open, ..)| open == name) {
            return Ok((path.clone(), Arc::clone(file)));
        }
        let found = self.bricks.find(name);
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
            other => {
                let said = other.to_string().replacen(&format!(" {name}"), "", 1);
                let gc = "; gc may have deleted it, if the root of the index was forgotten";
                let gc = if self.elsewhere.is_some() { gc } else { "" };
                (
                    self.bricks.layout.brick_path(name, Class::Data),
                    format!("{said}{gc}"),
                )
            }
        };
        Failure {
            path,
            message,
            exit: error.exit(),
        }
    }

    fn open(&self, slot: &Arc<Slot>, spec: FrameSpec, file: Result<Arc<BrickFile>, Failure>) {
        let FrameSpec { brick, frame } = spec;
        let slot = Arc::clone(slot);
        let opener = Arc::clone(&self.opener);
        let bricks = Arc::clone(&self.bricks);
        let elsewhere = self.elsewhere.clone();
        let mut content = self.spares.take(frame.plain_length as usize);
        self.pool.spawn_fifo(move || {
            let guard = SetOnDrop(&slot);
            let path = &slot.path;
            let open_copy = |file: Arc<BrickFile>| {
                open_frame(&file, path, frame, &opener, &mut content).or_else(|failure| {
                    // Another copy may be sound.
                    bricks
                        .copies(&brick)
                        .filter(|(other, _)| other != path)
                        .find_map(|(path, file)| {
                            open_frame(&file, &path, frame, &opener, &mut content).ok()
                        })
                        .ok_or(failure)
                })
            };
            let result = file.and_then(open_copy).or_else(|failure| {
                let elsewhere = elsewhere.filter(|all| all.open_moved(&spec, &mut content));
                elsewhere.map(|_| ()).ok_or(failure)
            });
            guard.0.set(result.map(|()| content));
        });
    }
}

/// Tells whoever waits that nothing will come, should the job panic.
struct SetOnDrop<'a>(&'a Slot);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.set(Err(Failure {
            path: self.0.path.clone(),
            message: "internal error while opening a frame; please report this".into(),
            exit: Exit::Failed,
        }));
    }
}

pub(super) fn open_frame(
    file: &BrickFile,
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
    file: &BrickFile,
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
        .length()
        .map_err(|error| failure(format!("cannot read: {error}"), Exit::Failed))?;
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
    file.fill_from(frame.offset, sealed).map_err(|error| {
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

    /// Chunks kept of a frame, so many bytes.
    fn remnant(length: usize) -> (Slot, u64) {
        let chunk = vec![1; length];
        let opened = Opened {
            frame: crate::brick::OpenFrame::of(&[&chunk]),
            hashes: vec![ChunkHash([0; 32])],
        };
        let slot = Slot::new(PathBuf::new(), Spares::default());
        slot.set(Ok(opened));
        slot.keep(&[0], u64::MAX).unwrap()
    }

    #[test]
    fn of_too_many_chunks_those_go_that_are_used_last() {
        let mut runs = (0..10).map(|frame| (frame, 0, 1));
        let mut ahead = Ahead::new(Some(Box::new(move || runs.next())));
        ahead.pass(0);
        let mut remnants = Remnants::default();
        for frame in [9, 3, 0, 5, 8, 2] {
            let (slot, bytes) = remnant(5 << 20);
            remnants.insert(frame, slot, bytes, &ahead);
            assert!(remnants.bytes <= Remnants::MOST);
        }
        let kept = |remnants: &Remnants| {
            let found = (0..10).filter(|&frame| remnants.get(frame, 0).is_some());
            found.collect::<Vec<u64>>()
        };
        assert_eq!(kept(&remnants), [0, 2, 3]);
        assert!(remnants.get(2, 1).is_none(), "another chunk of that frame");
        ahead.pass(3);
        remnants.drop_used(&ahead);
        assert_eq!((kept(&remnants), remnants.bytes), (vec![3], 5 << 20));
    }
}
