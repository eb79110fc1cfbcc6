//! Stage *dedup + index*: takes batches in order, decides what is new, and
//! writes the index.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use rayon::ThreadPool;

use super::body::BodyItems;
use super::bricks::FrameOptions;
use super::dedup::Dedup;
use super::monitor::Monitor;
use super::publish::Publisher;
use super::snapshot::SnapshotStage;
use super::split::{Batch, Batches, Chunk, Event, hash_zeros};
use super::{ArchiveOptions, ArchiveSummary, Context, next_of, wait};
use crate::brick::Pad;
use crate::error::{Error, Result};
use crate::format::record::{self, Item, Kind, Record};
use crate::format::trailer::Summary;
use crate::id::{ChunkHash, ChunkId, Class};
use crate::index::{FrameRef, IndexWriter, Series, StoredFrame};
use crate::store::catalog::Catalog;
use crate::tar::BodyHead;
use crate::tar::rewrite::{self, Placement};

const ZERO_BLOCKS: [u8; 16 << 10] = [0; 16 << 10];
/// A verbatim run ends once it is longer (`formats/index.md#maps`).
const LONG_RUN: u64 = 1 << 20;

/// The state of the stage.
pub(super) struct Indexer<W: Write> {
    context: Arc<Context>,
    monitor: Arc<Monitor>,
    label: String,
    index: IndexWriter<W>,
    catalog: Catalog,
    dedup: Dedup,
    snapshot: Option<SnapshotStage>,
    pad: Pad,
    body: Body,
    summary: ArchiveSummary,
    end: Option<(u64, u128)>,
    /// Where the verbatim run that is being written began.
    run_start: u64,
    /// Reused: ids and lengths of a batch's chunks, encoded records, the copy of a list.
    ids: Vec<ChunkId>,
    lengths: Vec<u32>,
    record: Vec<u8>,
    list_copy: Vec<u8>,
}

/// The body that is going by.
struct Body {
    kind: Kind,
    group: Vec<u8>,
    head: Option<Box<BodyHead>>,
    items: BodyItems,
    length: u64,
    /// The hash of a body that is one chunk.
    whole: Option<ChunkHash>,
    /// Hashes a body that does not lie within one batch.
    hasher: blake3::Hasher,
    began_earlier: bool,
}

impl<W: Write> Indexer<W> {
    pub(super) fn new(
        output: W,
        output_name: &Path,
        context: Arc<Context>,
        catalog: Catalog,
        pool: &Arc<ThreadPool>,
        options: &ArchiveOptions,
        monitor: &Arc<Monitor>,
    ) -> Result<Self> {
        let frames = FrameOptions {
            effort: options.effort,
            pad: options.pad,
            brick_size: options.brick_size,
            class: Class::Data,
        };
        let hasher = context.keys.index.hasher();
        let mut index = IndexWriter::new(output, output_name, hasher, context.lease.dir());
        let mut snapshot = None;
        if options.snapshot {
            let (stage, tap) = SnapshotStage::start(&context, pool, monitor, frames)?;
            index = index.with_tap(tap);
            snapshot = Some(stage);
        }
        Ok(Self {
            dedup: Dedup::new(&context, pool, monitor, frames)?,
            catalog,
            snapshot,
            pad: options.pad,
            monitor: Arc::clone(monitor),
            label: options.label.clone(),
            context,
            index,
            body: Body {
                kind: Kind::Tail,
                group: Vec::new(),
                head: None,
                items: BodyItems::default(),
                length: 0,
                whole: None,
                hasher: blake3::Hasher::new(),
                began_earlier: false,
            },
            summary: ArchiveSummary::default(),
            end: None,
            run_start: 0,
            ids: Vec::new(),
            lengths: Vec::new(),
            record: Vec::new(),
            list_copy: Vec::new(),
        })
    }

    /// Takes all batches and finishes the index.
    pub(super) fn run(mut self, batches: &Batches) -> Result<(W, ArchiveSummary)> {
        let outcome = self.batches(batches);
        let Self {
            context,
            monitor,
            mut index,
            mut catalog,
            dedup,
            snapshot,
            pad,
            mut summary,
            end,
            label,
            ..
        } = self;
        let outcome = dedup.finish(outcome, &mut catalog, &monitor, |published, brick| {
            note_published(&mut index, &mut summary, published, brick)
        });
        if let Err(error) = outcome {
            return Err(match snapshot {
                Some(snapshot) => snapshot.give_up(error, &mut catalog, &monitor),
                None => error,
            });
        }
        let Some((stream_length, stream_xxh3)) = end else {
            return Err(Error::Internal("the stream has no end".into()));
        };
        monitor.check()?;
        let used = index.used()?;
        summary.stream = stream_length;
        summary.unentered = catalog.unentered();
        let trailer = Summary {
            store_id: *context.store.id(),
            key_id: context.store.recipients()[0].key_id(),
            epoch: context.store.epoch(),
            stream_length,
            stream_xxh3,
            members_length: 0,
            member_count: summary.members,
        };
        // All but the trailer goes out now: a reader that has gone is noticed before the
        // root is written.
        let mut held = index.hold(&used, &mut catalog, trailer)?;
        let snapshot = match snapshot {
            Some(snapshot) => Some(snapshot.finish(&mut held, &mut catalog, &monitor)?),
            None => None,
        };
        let mut publisher = Publisher {
            context: &context,
            catalog: &mut catalog,
            label,
            pad,
        };
        let (run, snapshot) =
            publisher.publish(&used, snapshot, &summary, stream_xxh3, held.length())?;
        (summary.run, summary.snapshot) = (Some(run), snapshot);
        monitor.check()?;
        let (output, length) = held.release()?;
        summary.index = length;
        Ok((output, summary))
    }

    fn batches(&mut self, batches: &Batches) -> Result<()> {
        while self.end.is_none() {
            let Some(job) = next_of(&batches.ready, &self.monitor)? else {
                return Err(Error::Internal("the splitter ended early".into()));
            };
            let batch = wait(&job)?;
            self.batch(&batch)?;
            self.end = batch.end;
            batches.give_back(batch);
            if let Some(snapshot) = &mut self.snapshot {
                snapshot.take(&mut self.catalog, &self.monitor)?;
            }
        }
        Ok(())
    }

    fn batch(&mut self, batch: &Batch) -> Result<()> {
        let Self {
            catalog,
            dedup,
            index,
            summary,
            ..
        } = self;
        // Before the lookup, so that what leaves the pending chunks is found in the catalog.
        dedup.published(catalog, |published, brick| {
            note_published(index, summary, published, brick)
        })?;
        self.ids.clear();
        self.lengths.clear();
        for event in &batch.events {
            if let Event::Chunk(chunk) = event
                && !chunk.zero
            {
                self.ids.push(chunk.id);
                self.lengths.push(chunk.length());
            }
        }
        self.dedup
            .look_up(&mut self.catalog, &self.ids, &self.lengths)?;
        self.body.began_earlier = true;
        let mut number = 0;
        for event in &batch.events {
            match event {
                Event::Verbatim(range) => self.verbatim(batch.bytes(range))?,
                Event::ZeroBlocks(count) => self.zero_blocks(*count)?,
                Event::BodyStart {
                    kind,
                    offset,
                    group,
                    head,
                } => self.start_body(*kind, *offset, batch.bytes(group), head.as_deref()),
                Event::Zeros(length) => self.zeros(*length),
                Event::Chunk(chunk) => {
                    self.chunk(batch, chunk, number)?;
                    number += usize::from(!chunk.zero);
                }
                Event::BodyEnd {
                    padding,
                    missing,
                    hash,
                } => {
                    let padding = padding.as_ref().map(|range| batch.bytes(range).to_vec());
                    self.end_body(padding, *missing, *hash)?;
                }
            }
        }
        self.hash_rest_of_batch(batch);
        Ok(())
    }

    fn verbatim(&mut self, bytes: &[u8]) -> Result<()> {
        self.index.verbatim(bytes)?;
        if self.index.position() - self.run_start > LONG_RUN {
            self.end_run()?;
        }
        Ok(())
    }

    fn zero_blocks(&mut self, count: u64) -> Result<()> {
        // At most 128 at a time: 64 KiB.
        let mut length = count as usize * 512;
        while length > 0 {
            let piece = length.min(ZERO_BLOCKS.len());
            self.index.verbatim(&ZERO_BLOCKS[..piece])?;
            length -= piece;
        }
        Ok(())
    }

    /// Ends a long verbatim run with a record that yields nothing.
    fn end_run(&mut self) -> Result<()> {
        let record = Record::empty(Kind::Opaque);
        self.write_record(&record)?;
        self.index.record_detached(&self.record)?;
        self.run_start = self.index.position();
        Ok(())
    }

    fn start_body(&mut self, kind: Kind, offset: u64, group: &[u8], head: Option<&BodyHead>) {
        if kind == Kind::Opaque {
            self.summary.first_opaque.get_or_insert(offset);
        }
        let body = &mut self.body;
        body.kind = kind;
        body.group.clear();
        body.group.extend_from_slice(group);
        body.head = head.map(|head| Box::new(head.clone()));
        body.items.clear();
        body.length = 0;
        body.whole = None;
        body.hasher.reset();
        body.began_earlier = false;
    }

    fn zeros(&mut self, length: u64) {
        self.body.items.zeros(length);
        self.body.length += length;
        self.summary.zeros += length;
        if self.body.began_earlier {
            hash_zeros(&mut self.body.hasher, length);
        }
    }

    fn chunk(&mut self, batch: &Batch, chunk: &Chunk, number: usize) -> Result<()> {
        let bytes = batch.chunk(&chunk.place);
        let length = bytes.len() as u64;
        self.body.length += length;
        if self.body.began_earlier {
            self.body.hasher.update(bytes);
        }
        if chunk.zero {
            self.body.items.zeros(length);
            self.summary.zeros += length;
            return Ok(());
        }
        self.summary.chunks += 1;
        let (frame, place) = if let Some(found) = self.dedup.find(number, &chunk.id) {
            self.summary.deduplicated += length;
            found
        } else {
            self.summary.new += length;
            Monitor::add(&self.monitor.new, length);
            self.dedup
                .store(Series::Chunks, chunk.id, bytes, &self.monitor)?
        };
        self.index.hint(0, frame, place)?;
        if chunk.whole {
            self.body.whole = Some(chunk.hash);
            return Ok(());
        }
        let mut lists = Lists {
            context: &self.context,
            catalog: &mut self.catalog,
            dedup: &mut self.dedup,
            index: &mut self.index,
            monitor: &self.monitor,
            copy: &mut self.list_copy,
        };
        let length = chunk.length();
        self.body
            .items
            .chunk(length, chunk.hash, &mut |level, list| {
                lists.store(level, list)
            })
    }

    /// A body that goes on in the next batch is hashed here; others the pool has hashed.
    fn hash_rest_of_batch(&mut self, batch: &Batch) {
        if self.body.began_earlier {
            return;
        }
        let is_start = |event: &Event| matches!(event, Event::BodyStart { .. });
        let Some(start) = batch.events.iter().rposition(is_start) else {
            return;
        };
        let events = &batch.events[start..];
        let ended = |event: &Event| matches!(event, Event::BodyEnd { .. });
        if events.iter().any(ended) {
            return;
        }
        for event in events {
            match event {
                Event::Chunk(chunk) => {
                    self.body.hasher.update(batch.chunk(&chunk.place));
                }
                Event::Zeros(length) => hash_zeros(&mut self.body.hasher, *length),
                _ => {}
            }
        }
    }

    fn end_body(
        &mut self,
        padding: Option<Vec<u8>>,
        missing: u64,
        hash: Option<ChunkHash>,
    ) -> Result<()> {
        let mut lists = Lists {
            context: &self.context,
            catalog: &mut self.catalog,
            dedup: &mut self.dedup,
            index: &mut self.index,
            monitor: &self.monitor,
            copy: &mut self.list_copy,
        };
        let items = match self.body.whole {
            Some(_) => vec![Item::Whole],
            None => self
                .body
                .items
                .finish(&mut |level, list| lists.store(level, list))?,
        };
        let body_hash = hash
            .or(self.body.whole)
            .unwrap_or_else(|| ChunkHash(*self.body.hasher.finalize().as_bytes()));
        let mut record = Record {
            body_length: self.body.length,
            body_hash,
            items,
            padding,
            declared: (missing > 0).then_some(self.body.length + missing),
            ..Record::empty(self.body.kind)
        };
        self.summary.truncated |= missing > 0;
        match self.body.kind {
            Kind::Member => self.member(&mut record)?,
            Kind::Opaque => {
                self.summary.opaque += record.body_length;
                self.write_record(&record)?;
                self.index.opaque(&self.record)?;
            }
            Kind::Tail => {
                // All zero blocks at the end belong to the tail.
                self.summary.ended = record.body_length >= 512;
                self.write_record(&record)?;
                self.index.record_detached(&self.record)?;
            }
        }
        self.run_start = self.index.position();
        Ok(())
    }

    fn member(&mut self, record: &mut Record) -> Result<()> {
        let Some(head) = self.body.head.take() else {
            return Err(Error::Internal("a member without a header".into()));
        };
        self.summary.members += 1;
        let undo = rewrite::Undo::of(&self.body.group, &head);
        record.size_form = undo.size_form;
        record.checksum_form = undo.checksum_form;
        record.patches = undo.patches;
        self.write_record(record)?;
        let length = self.record.len();
        let placement = rewrite::place(&head, length);
        rewrite::write_size(&mut self.body.group, &head, placement, length);
        self.index.verbatim(&self.body.group)?;
        match placement {
            Placement::InPlace => self.index.record_in_place(&self.record),
            Placement::Aside => self.index.record_detached(&self.record),
        }
    }

    fn write_record(&mut self, record: &Record) -> Result<()> {
        self.record.clear();
        record.encode(&mut self.record);
        if self.record.len() > crate::format::record::MAX_LENGTH {
            let length = self.record.len();
            return Err(Error::Internal(format!("a record of {length} bytes")));
        }
        Ok(())
    }
}

/// Stores lists of chunks as chunks, each twice (`formats/index.md#copies`).
struct Lists<'a, W: Write> {
    context: &'a Context,
    catalog: &'a mut Catalog,
    dedup: &'a mut Dedup,
    index: &'a mut IndexWriter<W>,
    monitor: &'a Monitor,
    copy: &'a mut Vec<u8>,
}

impl<W: Write> Lists<'_, W> {
    fn store(&mut self, level: usize, list: &[u8]) -> Result<ChunkHash> {
        let hash = ChunkHash(*blake3::hash(list).as_bytes());
        let id = self.context.keys.chunk_id.id(&hash);
        let (frame, place) = match self.dedup.find_one(self.catalog, &id, list.len())? {
            Some(found) => found,
            None => self.dedup.store(Series::Chunks, id, list, self.monitor)?,
        };
        self.index.hint(level, frame, place)?;
        self.store_copy(level, list, frame)?;
        Ok(hash)
    }

    /// The copy must not share the fate of the list, which lies in the frame `other`.
    /// Only a stream that holds both as contents of files can have put them together.
    fn store_copy(&mut self, level: usize, list: &[u8], other: FrameRef) -> Result<()> {
        record::copy_of_list(list, self.copy);
        let hash = ChunkHash(*blake3::hash(self.copy).as_bytes());
        let id = self.context.keys.chunk_id.id(&hash);
        let found = self.dedup.find_one(self.catalog, &id, list.len())?;
        let (frame, place) = match found.filter(|(frame, _)| *frame != other) {
            Some(found) => found,
            None => self
                .dedup
                .store(Series::Copies, id, self.copy, self.monitor)?,
        };
        self.index.copy_hint(level, frame, place)
    }
}

fn note_published<W: Write>(
    index: &mut IndexWriter<W>,
    summary: &mut ArchiveSummary,
    published: &super::bricks::Published,
    brick: u32,
) -> Result<()> {
    summary.bricks += 1;
    summary.stored += published.length;
    for (frame, &series) in (0_u32..).zip(&published.series) {
        index.own_frame(series, StoredFrame { brick, frame })?;
    }
    Ok(())
}
