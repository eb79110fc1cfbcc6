//! Stage *snapshot*: the index, while it is written, into frames of class metadata
//! (`formats/snapshot.md`).
//!
//! ```text
//! index writer -> split + cut + hash (thread) -> dedup (the indexer's thread) -> frames and bricks
//! ```
//!
//! The indexer looks chunks up, since it has the catalog. It never waits for room, only
//! for pieces that the other thread goes on to make by itself, so neither waits for the
//! other in a ring; and it takes pieces after each batch, so that few buffers are under way.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use rayon::ThreadPool;

use super::body::BodyItems;
use super::bricks::{FrameOptions, Published};
use super::dedup::Dedup;
use super::monitor::Monitor;
use super::{Context, next_of};
use crate::chunk::Chunker;
use crate::crypto::ChunkIdKey;
use crate::error::{Error, Result};
use crate::format::snapshot::StreamItems;
use crate::id::{ChunkHash, ChunkId, Class};
use crate::index::{FrameRef, HeldIndex, Series, StoredFrame, Tap, Used};
use crate::snapshot::{STREAMS, Splitter, Stream, Streams};
use crate::store::catalog::Catalog;
use crate::threads;

/// So many buffers and pieces are under way when a batch is done; each has some 256 KiB.
const UNDER_WAY: usize = 8;

/// A piece of the streams that was cut.
#[derive(Default)]
struct Piece {
    streams: Streams,
    chunks: Vec<Cut>,
}

/// A chunk of a stream.
struct Cut {
    stream: Stream,
    start: usize,
    length: u32,
    hash: ChunkHash,
    id: ChunkId,
}

impl Piece {
    fn bytes(&self, cut: &Cut) -> &[u8] {
        &self.streams[cut.stream as usize][cut.start..][..cut.length as usize]
    }
}

/// What a snapshot consists of, once all its bricks stand.
pub(super) struct Stored {
    pub(super) streams: [StreamItems; STREAMS],
    pub(super) used: Used,
    /// Bytes of new bricks.
    pub(super) new: u64,
}

/// The indexer's side of the stage.
pub(super) struct SnapshotStage {
    shelf: Shelf,
    full: Sender<Vec<u8>>,
    pieces: Receiver<Piece>,
    spare: Sender<Piece>,
    items: [BodyItems; STREAMS],
    lengths: [u64; STREAMS],
    /// Reused: what a piece's chunks are looked up by.
    ids: Vec<ChunkId>,
    chunk_lengths: Vec<u32>,
}

impl SnapshotStage {
    /// The stage, and what the index writer is to give its bytes to.
    pub(super) fn start(
        context: &Arc<Context>,
        pool: &Arc<ThreadPool>,
        monitor: &Arc<Monitor>,
        options: FrameOptions,
    ) -> Result<(Self, Tap)> {
        let options = FrameOptions {
            class: Class::Metadata,
            ..options
        };
        // None is bounded: the indexer sees to it that there is little in them.
        let (full, to_cut) = unbounded();
        let (give_back, empty) = unbounded();
        let (cut, pieces) = unbounded();
        let (spare, spares) = bounded(2 * UNDER_WAY);
        let key = Arc::new(context.keys.metadata_id.clone());
        let cutter = Cutter {
            splitter: Splitter::new(),
            chunker: Chunker::new(&context.keys.gear.table()),
            key: Arc::clone(&key),
            streams: Streams::default(),
            offsets: [0; STREAMS],
            out: cut,
            spares,
        };
        threads::start("snapshot", move || cutter.run(&to_cut, &give_back))?;
        let stage = Self {
            shelf: Shelf {
                dedup: Dedup::new(context, pool, monitor, options)?,
                key,
                used: Used::default(),
                new: 0,
            },
            full: full.clone(),
            pieces,
            spare,
            items: Default::default(),
            lengths: [0; STREAMS],
            ids: Vec::new(),
            chunk_lengths: Vec::new(),
        };
        Ok((stage, Tap { full, empty }))
    }

    /// Takes the pieces that are ready, and waits until few are under way.
    pub(super) fn take(&mut self, catalog: &mut Catalog, monitor: &Monitor) -> Result<()> {
        loop {
            let under_way = self.full.len() + self.pieces.len();
            let piece = if under_way > UNDER_WAY {
                Some(next_of(&self.pieces, monitor)?.ok_or_else(ended)?)
            } else {
                self.pieces.try_recv().ok()
            };
            let Some(piece) = piece else { return Ok(()) };
            self.piece(piece, catalog, monitor)?;
        }
    }

    fn piece(&mut self, mut piece: Piece, catalog: &mut Catalog, monitor: &Monitor) -> Result<()> {
        self.shelf.published(catalog)?;
        self.ids.clear();
        self.chunk_lengths.clear();
        for cut in &piece.chunks {
            self.ids.push(cut.id);
            self.chunk_lengths.push(cut.length);
        }
        let store = &mut self.shelf;
        store
            .dedup
            .look_up(catalog, &self.ids, &self.chunk_lengths)?;
        for (number, cut) in piece.chunks.iter().enumerate() {
            let found = store.dedup.find(number, &cut.id);
            store.keep(found, cut.id, piece.bytes(cut), monitor)?;
            let stream = cut.stream as usize;
            self.lengths[stream] += u64::from(cut.length);
            self.items[stream].chunk(cut.length, cut.hash, &mut |_, list| {
                store.list(list, catalog, monitor)
            })?;
        }
        piece.chunks.clear();
        piece.streams.iter_mut().for_each(Vec::clear);
        // There may be enough of them.
        let _ = self.spare.try_send(piece);
        Ok(())
    }

    /// Adds the bytes that the index writer has held back, and waits for the last brick.
    pub(super) fn finish<W: std::io::Write>(
        mut self,
        held: &mut HeldIndex<W>,
        catalog: &mut Catalog,
        monitor: &Monitor,
    ) -> Result<Stored> {
        let outcome = self.last(held, catalog, monitor);
        let (streams, outcome) = match outcome {
            Ok(streams) => (streams, Ok(())),
            Err(error) => (Default::default(), Err(error)),
        };
        let (used, new) = self.shelf.finish(outcome, catalog, monitor)?;
        Ok(Stored { streams, used, new })
    }

    fn last<W: std::io::Write>(
        &mut self,
        held: &mut HeldIndex<W>,
        catalog: &mut Catalog,
        monitor: &Monitor,
    ) -> Result<[StreamItems; STREAMS]> {
        held.held(|bytes| {
            self.full.send(bytes.to_vec()).map_err(|_| ended())?;
            self.take(catalog, monitor)
        })?;
        // The other thread ends once nobody can send to it.
        self.full = unbounded().0;
        while let Some(piece) = next_of(&self.pieces, monitor)? {
            self.piece(piece, catalog, monitor)?;
        }
        let store = &mut self.shelf;
        let mut streams: [StreamItems; STREAMS] = Default::default();
        for ((stream, items), length) in streams.iter_mut().zip(&mut self.items).zip(self.lengths) {
            stream.length = length;
            stream.items = items.finish(&mut |_, list| store.list(list, catalog, monitor))?;
        }
        Ok(streams)
    }

    /// Ends the run that has failed. If the stages that make the bricks have failed,
    /// `error` is only its consequence: theirs counts.
    pub(super) fn give_up(self, error: Error, catalog: &mut Catalog, monitor: &Monitor) -> Error {
        match self.shelf.finish(Err(error), catalog, monitor) {
            Err(error) => error,
            Ok(_) => Error::Internal("a run that failed did not fail".into()),
        }
    }
}

/// Where chunks of snapshots go.
struct Shelf {
    dedup: Dedup,
    key: Arc<ChunkIdKey>,
    /// Frames that the snapshot uses.
    used: Used,
    /// Bytes of bricks that it has added.
    new: u64,
}

impl Shelf {
    /// Stores a chunk unless it was found.
    fn keep(
        &mut self,
        found: Option<(FrameRef, u32)>,
        id: ChunkId,
        bytes: &[u8],
        monitor: &Monitor,
    ) -> Result<()> {
        match found {
            Some((FrameRef::Stored(frame), _)) => self.used.add(frame),
            // All frames of this run are used.
            Some((FrameRef::Own(_), _)) => {}
            None => {
                self.dedup.store(Series::Chunks, id, bytes, monitor)?;
            }
        }
        Ok(())
    }

    fn list(&mut self, list: &[u8], catalog: &mut Catalog, monitor: &Monitor) -> Result<ChunkHash> {
        let hash = ChunkHash(*blake3::hash(list).as_bytes());
        let id = self.key.id(&hash);
        let found = self.dedup.find_one(catalog, &id, list.len())?;
        self.keep(found, id, list, monitor)?;
        Ok(hash)
    }

    fn published(&mut self, catalog: &mut Catalog) -> Result<()> {
        let Self {
            dedup, used, new, ..
        } = self;
        dedup.published(catalog, |published, brick| {
            note(used, new, published, brick);
            Ok(())
        })
    }

    /// Waits for the last brick; gives the frames that are used and the bytes added.
    fn finish(
        self,
        outcome: Result<()>,
        catalog: &mut Catalog,
        monitor: &Monitor,
    ) -> Result<(Used, u64)> {
        let Self {
            dedup,
            mut used,
            mut new,
            ..
        } = self;
        dedup.finish(outcome, catalog, monitor, |published, brick| {
            note(&mut used, &mut new, published, brick);
            Ok(())
        })?;
        Ok((used, new))
    }
}

fn note(used: &mut Used, new: &mut u64, published: &Published, brick: u32) {
    *new += published.length;
    for (frame, _) in (0..).zip(published.toc.frames()) {
        used.add(StoredFrame { brick, frame });
    }
}

/// The other thread: splits, cuts and hashes.
struct Cutter {
    splitter: Splitter,
    chunker: Chunker,
    key: Arc<ChunkIdKey>,
    /// What is not cut yet.
    streams: Streams,
    /// Of the first byte that is not cut yet, in each stream.
    offsets: [u64; STREAMS],
    out: Sender<Piece>,
    spares: Receiver<Piece>,
}

impl Cutter {
    fn run(mut self, full: &Receiver<Vec<u8>>, give_back: &Sender<Vec<u8>>) {
        for buffer in full {
            self.splitter.push(&buffer, &mut self.streams);
            // Nobody takes it at the end.
            let _ = give_back.send(buffer);
            if self.send(false).is_none() {
                return;
            }
        }
        std::mem::take(&mut self.splitter).finish(&mut self.streams);
        let _ = self.send(true);
    }

    /// Cuts what there is. `None` if nobody wants it.
    fn send(&mut self, last: bool) -> Option<()> {
        let mut next = self.spares.try_recv().unwrap_or_default();
        let mut chunks = std::mem::take(&mut next.chunks);
        for stream in Stream::ALL {
            let bytes = &self.streams[stream as usize];
            let end = self.cut(stream, bytes, last, &mut chunks);
            self.offsets[stream as usize] += end as u64;
            next.streams[stream as usize].extend_from_slice(&bytes[end..]);
        }
        let streams = std::mem::replace(&mut self.streams, next.streams);
        self.out.send(Piece { streams, chunks }).ok()
    }

    /// Cuts the bytes of a stream; returns where those begin that cannot be cut yet.
    fn cut(&self, stream: Stream, bytes: &[u8], last: bool, out: &mut Vec<Cut>) -> usize {
        let offset = self.offsets[stream as usize];
        let mut start = 0;
        while start < bytes.len() {
            let (window, offset) = (&bytes[start..], offset + start as u64);
            let cut = self
                .chunker
                .cut_metadata(stream.is_fine(), offset, window, last);
            let Some(length) = cut else { break };
            let hash = ChunkHash(*blake3::hash(&window[..length]).as_bytes());
            out.push(Cut {
                stream,
                start,
                length: length as u32,
                hash,
                id: self.key.id(&hash),
            });
            start += length;
        }
        start
    }
}

fn ended() -> Error {
    Error::Internal("the snapshot's thread ended early".into())
}
