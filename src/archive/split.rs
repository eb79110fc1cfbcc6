//! Stages *split + cut* and *hash*: slabs in, batches of events out.

use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use rayon::ThreadPool;
use xxhash_rust::xxh3::Xxh3;

use super::Context;
use super::monitor::Monitor;
use super::slab::{self, Slab};
use crate::chunk::{Chunker, is_zero};
use crate::crypto::ChunkIdKey;
use crate::error::{Error, Result};
use crate::format::record::Kind;
use crate::id::{ChunkHash, ChunkId};
use crate::tar::{self, BodyHead, BodyKind, Padding, Splitter};
use crate::threads;

/// A slab and what the splitter found in it.
pub(super) struct Batch {
    slab: Slab,
    /// Header groups, explicit padding, and body bytes that are in no slab.
    bytes: Vec<u8>,
    pub(super) events: Vec<Event>,
    /// Length and XXH3-128 of the stream, in its last batch.
    pub(super) end: Option<(u64, u128)>,
}

/// Where an event's bytes stand.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Slab(Range<usize>),
    Bytes(Range<usize>),
}

/// What a batch tells, in the order of the stream.
pub(super) enum Event {
    /// Pass these bytes on.
    Verbatim(Range<usize>),
    /// Pass so many zero blocks on.
    ZeroBlocks(u64),
    /// A body begins; a member's header group stands in the bytes.
    BodyStart {
        kind: Kind,
        offset: u64,
        group: Range<usize>,
        head: Option<Box<BodyHead>>,
    },
    /// So many zero bytes of the body.
    Zeros(u64),
    /// A chunk of the body.
    Chunk(Chunk),
    /// The body ends.
    BodyEnd {
        /// What follows it, if not the usual zeros.
        padding: Option<Range<usize>>,
        /// How many bytes the stream lacks of it.
        missing: u64,
        /// Its hash, if it began and ended in this batch and is not one chunk.
        hash: Option<ChunkHash>,
    },
}

/// A chunk as it was cut; the pool fills in hash and id.
pub(super) struct Chunk {
    pub(super) place: Place,
    /// Whether it is the body's first chunk and reaches its end.
    pub(super) whole: bool,
    /// Whether all its bytes are zero; then it has neither hash nor id.
    pub(super) zero: bool,
    pub(super) hash: ChunkHash,
    pub(super) id: ChunkId,
}

impl Chunk {
    /// Its length in bytes.
    pub(super) fn length(&self) -> u32 {
        let (Place::Slab(range) | Place::Bytes(range)) = &self.place;
        u32::try_from(range.len()).unwrap_or(u32::MAX)
    }
}

impl Batch {
    /// Bytes that do not stand in the slab.
    pub(super) fn bytes(&self, range: &Range<usize>) -> &[u8] {
        &self.bytes[range.clone()]
    }

    /// The bytes of a chunk.
    pub(super) fn chunk(&self, place: &Place) -> &[u8] {
        match place {
            Place::Slab(range) => &self.slab.bytes()[range.clone()],
            Place::Bytes(range) => &self.bytes[range.clone()],
        }
    }

    fn push_bytes(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }
}

/// Batches on their way, and where their buffers go when they are done with.
pub(super) struct Batches {
    pub(super) ready: Receiver<Receiver<Result<Batch>>>,
    give_back: Sender<Slab>,
}

impl Batches {
    /// Gives a batch's slab back to the reader.
    pub(super) fn give_back(&self, batch: Batch) {
        // Nobody takes it once the stream has ended.
        let _ = self.give_back.send(batch.slab);
    }
}

/// Starts reading, splitting and hashing `input`.
pub(super) fn start(
    input: impl Read + Send + 'static,
    context: &Arc<Context>,
    pool: &Arc<ThreadPool>,
    monitor: &Arc<Monitor>,
) -> Result<Batches> {
    // One slab being read, one split, one hashed by each thread, one indexed.
    let slabs = pool.current_num_threads() + 3;
    let (give_back, free) = bounded(slabs);
    for _ in 0..slabs {
        let _ = give_back.send(Slab::new());
    }
    // The slabs bound both queues.
    let (filled, to_split) = bounded(slabs);
    let (split, ready) = bounded(slabs);
    threads::start("read", move || slab::read(input, &free, &filled))?;
    let stage = Split {
        splitter: Splitter::new(),
        chunker: Chunker::new(&context.keys.gear.table()),
        body: None,
        cut: 0,
        position: 0,
        carry: Vec::new(),
        checksum: Xxh3::new(),
        length: 0,
        out: split,
        pool: Arc::clone(pool),
        key: Arc::new(context.keys.chunk_id.clone()),
        monitor: Arc::clone(monitor),
    };
    threads::start("split", move || stage.run(&to_split))?;
    Ok(Batches { ready, give_back })
}

/// The body that the splitter is in.
struct Body {
    /// Offset in the body of the first byte that is not cut yet.
    offset: u64,
    /// Length of the body, where the header tells.
    length: Option<u64>,
}

/// Stage *split + cut*.
struct Split {
    splitter: Splitter,
    chunker: Chunker,
    body: Option<Body>,
    /// Where in the slab the bytes of the body begin that are not cut yet;
    /// outside of bodies the same as `position`.
    cut: usize,
    /// Where in the slab the splitter stands.
    position: usize,
    carry: Vec<u8>,
    checksum: Xxh3,
    length: u64,
    out: Sender<Receiver<Result<Batch>>>,
    pool: Arc<ThreadPool>,
    key: Arc<ChunkIdKey>,
    monitor: Arc<Monitor>,
}

impl Split {
    fn run(mut self, slabs: &Receiver<Result<Slab>>) {
        for slab in slabs {
            let batch = slab.and_then(|slab| self.slab(slab));
            let ends = batch.as_ref().map_or(true, |batch| batch.end.is_some());
            if self.send(batch).is_none() || ends {
                return;
            }
        }
    }

    /// Hands a batch to the pool to be hashed.
    fn send(&self, batch: Result<Batch>) -> Option<()> {
        let (done, job) = bounded(1);
        let key = Arc::clone(&self.key);
        self.pool.spawn_fifo(move || {
            let result = batch.map(|mut batch| {
                hash(&mut batch, &key);
                batch
            });
            // Nobody waits if another stage has failed.
            let _ = done.send(result);
        });
        self.out.send(job).ok()
    }

    fn slab(&mut self, mut slab: Slab) -> Result<Batch> {
        self.checksum.update(slab.bytes());
        self.length += slab.bytes().len() as u64;
        Monitor::add(&self.monitor.stream, slab.bytes().len() as u64);
        slab.carry(&self.carry)?;
        let last = slab.last;
        let mut batch = Batch {
            slab,
            bytes: Vec::new(),
            events: Vec::new(),
            end: None,
        };
        // The events borrow nothing of the slab, so it can be looked at meanwhile.
        let slab = std::mem::replace(&mut batch.slab, Slab::empty());
        let ended = self.split(slab.bytes(), last, &mut batch)?;
        if last && !ended {
            return Err(Error::Internal("the splitter did not reach the end".into()));
        }
        batch.end = ended.then(|| (self.length, self.checksum.digest128()));
        let from = self.cut.min(self.position);
        self.carry.clear();
        self.carry.extend_from_slice(&slab.bytes()[from..]);
        self.position -= from;
        self.cut -= from;
        batch.slab = slab;
        Ok(batch)
    }

    /// Splits a window. True at the end of the stream.
    fn split(&mut self, window: &[u8], last: bool, batch: &mut Batch) -> Result<bool> {
        loop {
            let step = self.splitter.next(&window[self.position..], last);
            let before = self.position;
            self.position += step.consumed;
            match step.event {
                tar::Event::NeedMore => {
                    if self.body.is_none() {
                        self.cut = self.position;
                    }
                    return Ok(false);
                }
                tar::Event::End => {
                    self.cut = self.position;
                    return Ok(true);
                }
                tar::Event::ZeroBlocks(count) => batch.events.push(Event::ZeroBlocks(count)),
                tar::Event::Group => {
                    let group = batch.push_bytes(self.splitter.group());
                    batch.events.push(Event::Verbatim(group));
                }
                tar::Event::BodyStart { kind, zeros } => self.start_body(kind, zeros, batch),
                tar::Event::Body => self.cut(window, self.position, false, batch),
                tar::Event::BodyEnd { padding } => {
                    self.cut(window, before, true, batch);
                    self.end_body(&window[before..self.position], padding, batch);
                }
            }
            if self.body.is_none() {
                self.cut = self.position;
            }
        }
    }

    fn start_body(&mut self, kind: BodyKind, zeros: u64, batch: &mut Batch) {
        let mut head = None;
        let mut group = 0..0;
        let kind = match kind {
            BodyKind::Member => {
                head = Some(Box::new(self.splitter.head().clone()));
                group = batch.push_bytes(self.splitter.group());
                Kind::Member
            }
            BodyKind::Opaque => Kind::Opaque,
            BodyKind::Tail => Kind::Tail,
        };
        let carried = self.splitter.carried();
        let offset = self.splitter.offset() - zeros - carried.len() as u64;
        let length = head.as_ref().map(|head| head.declared);
        batch.events.push(Event::BodyStart {
            kind,
            offset,
            group,
            head,
        });
        if zeros > 0 {
            batch.events.push(Event::Zeros(zeros));
        }
        self.cut = self.position;
        self.body = Some(Body {
            offset: zeros,
            length,
        });
        if !carried.is_empty() {
            let carried = batch.push_bytes(carried);
            self.cut_carried(carried, batch);
        }
    }

    /// Cuts body bytes that stand in no slab as if the body ended with them.
    fn cut_carried(&mut self, carried: Range<usize>, batch: &mut Batch) {
        let Some(body) = &mut self.body else { return };
        let mut start = carried.start;
        while start < carried.end {
            let window = &batch.bytes[start..carried.end];
            let length = self
                .chunker
                .cut(body.offset, window, true)
                .unwrap_or(window.len());
            let whole = body.offset == 0 && body.length == Some(length as u64);
            let place = Place::Bytes(start..start + length);
            batch.events.push(Event::Chunk(Chunk::new(place, whole)));
            body.offset += length as u64;
            start += length;
        }
    }

    /// Cuts what can be cut of the body's bytes up to `end`; all of them at its end.
    fn cut(&mut self, window: &[u8], end: usize, last: bool, batch: &mut Batch) {
        let Some(body) = &mut self.body else { return };
        while self.cut < end {
            let rest = &window[self.cut..end];
            // Most bodies are read as a whole: then their end is known before it is reported.
            let ends = last || body.length == Some(body.offset + rest.len() as u64);
            let Some(length) = self.chunker.cut(body.offset, rest, ends) else {
                return;
            };
            let whole = ends && body.offset == 0 && length == rest.len();
            let place = Place::Slab(self.cut..self.cut + length);
            batch.events.push(Event::Chunk(Chunk::new(place, whole)));
            body.offset += length as u64;
            self.cut += length;
        }
    }

    fn end_body(&mut self, behind: &[u8], padding: Padding, batch: &mut Batch) {
        self.body = None;
        let (padding, missing) = match padding {
            Padding::Usual => (None, 0),
            Padding::Explicit => (Some(batch.push_bytes(behind)), 0),
            Padding::Missing(missing) => (None, missing),
        };
        batch.events.push(Event::BodyEnd {
            padding,
            missing,
            hash: None,
        });
    }
}

impl Chunk {
    const fn new(place: Place, whole: bool) -> Self {
        Self {
            place,
            whole,
            zero: false,
            hash: ChunkHash([0; 32]),
            id: ChunkId([0; 16]),
        }
    }
}

/// Stage *hash*: hashes and ids of chunks, and the hashes of bodies that lie
/// within the batch.
fn hash(batch: &mut Batch, key: &ChunkIdKey) {
    let mut events = std::mem::take(&mut batch.events);
    // Where the body that is going by began among the events, if it did in this batch.
    let mut body: Option<usize> = None;
    for number in 0..events.len() {
        match &mut events[number] {
            Event::BodyStart { .. } => body = Some(number),
            Event::Chunk(chunk) => {
                let bytes = batch.chunk(&chunk.place);
                chunk.zero = is_zero(bytes);
                if !chunk.zero {
                    chunk.hash = ChunkHash(*blake3::hash(bytes).as_bytes());
                    chunk.id = key.id(&chunk.hash);
                }
            }
            Event::BodyEnd { .. } => {
                let found = body
                    .take()
                    .map(|start| body_hash(batch, &events[start..number]));
                if let Event::BodyEnd { hash, .. } = &mut events[number] {
                    *hash = found;
                }
            }
            Event::Verbatim(_) | Event::ZeroBlocks(_) | Event::Zeros(_) => {}
        }
    }
    batch.events = events;
}

fn body_hash(batch: &Batch, events: &[Event]) -> ChunkHash {
    let mut hasher = blake3::Hasher::new();
    for event in events {
        match event {
            Event::Chunk(chunk) if chunk.whole && !chunk.zero => return chunk.hash,
            Event::Chunk(chunk) => {
                hasher.update(batch.chunk(&chunk.place));
            }
            Event::Zeros(length) => hash_zeros(&mut hasher, *length),
            _ => {}
        }
    }
    ChunkHash(*hasher.finalize().as_bytes())
}

/// Hashes so many zero bytes.
pub(super) fn hash_zeros(hasher: &mut blake3::Hasher, mut length: u64) {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    while length > 0 {
        let piece = length.min(ZEROS.len() as u64);
        hasher.update(&ZEROS[..piece as usize]);
        length -= piece;
    }
}
