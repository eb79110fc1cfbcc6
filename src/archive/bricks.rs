//! From full frames to bricks in the store: compress and seal in parallel,
//! number and write in order.
//!
//! ```text
//! full frame -> compress (pool) -> assign to a brick -> seal (pool) -> write -> publish
//! ```
//!
//! A frame's brick and number depend only on the frames before it, so bricks
//! come out the same whatever the timing. The number of frames under way is
//! the number of [`FrameSlot`]s; that alone bounds the memory of all stages.

use std::cell::RefCell;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use rayon::ThreadPool;

use super::monitor::Monitor;
use super::{Context, wait};
use crate::brick::{
    BrickSealer, CompressedFrame, Compressor, Effort, FrameBuilder, Pad, SidecarSeal,
    frame_header_length,
};
use crate::error::{Error, Result};
use crate::format::brick::{MAX_CHUNKS, MAX_FRAMES};
use crate::format::frame::TAG_LENGTH;
use crate::format::toc::{Toc, TocChunk};
use crate::id::{BrickName, ChunkId, Class};
use crate::index::Series;
use crate::store::new_brick::{AROUND, ClosedBrick, NewBrick, toc_share};
use crate::threads;

/// How frames and bricks are made.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameOptions {
    pub(super) effort: Effort,
    pub(super) pad: Pad,
    /// A brick is closed before it grows beyond this.
    pub(super) brick_size: u64,
    /// Of all frames and bricks.
    pub(super) class: Class,
}

/// One frame and all its buffers, used again and again.
pub(super) struct FrameSlot {
    pub(super) series: Series,
    pub(super) builder: FrameBuilder,
    pub(super) ids: Vec<ChunkId>,
    frame: CompressedFrame,
}

impl FrameSlot {
    fn new() -> Self {
        Self {
            series: Series::Chunks,
            builder: FrameBuilder::new(),
            ids: Vec::new(),
            frame: CompressedFrame::new(),
        }
    }
}

/// The outcome of a job on the pool, to be waited for in order.
type Job<T> = Receiver<Result<T>>;

enum ToWrite {
    Open(Arc<BrickSealer>),
    Frame(Job<Box<FrameSlot>>),
    Close,
}

/// A brick that stands in the store.
pub(super) struct Published {
    pub(super) name: BrickName,
    pub(super) length: u64,
    pub(super) toc: Toc,
    /// That of its sidecar.
    pub(super) seal: SidecarSeal,
    /// Of each frame.
    pub(super) series: Vec<Series>,
}

/// The stages that make bricks, each on a thread of its own.
pub(super) struct BrickStages {
    frames: Sender<Job<Box<FrameSlot>>>,
    pub(super) free: Receiver<Box<FrameSlot>>,
    pub(super) published: Receiver<Published>,
    threads: Vec<JoinHandle<Result<()>>>,
    pool: Arc<ThreadPool>,
    pub(super) options: FrameOptions,
    header_length: usize,
}

impl BrickStages {
    pub(super) fn start(
        context: &Arc<Context>,
        pool: &Arc<ThreadPool>,
        monitor: &Arc<Monitor>,
        options: FrameOptions,
    ) -> Result<Self> {
        // One slot of each series being filled, one on each thread of the pool, two
        // waiting. Those that are sent come back without any help of whoever fills
        // the others, so one can always be waited for.
        // Of metadata there is little: one being filled, two on their way.
        let slots = match options.class {
            Class::Data => pool.current_num_threads() + 4,
            Class::Metadata => 3,
        };
        let (give_back, free) = bounded(slots);
        for _ in 0..slots {
            let _ = give_back.send(Box::new(FrameSlot::new()));
        }
        // The slots bound these queues; they need room for all, so that no
        // stage waits for one that waits for it.
        let (frames, to_assign) = bounded(slots);
        let (assigned, to_write) = bounded(slots * 2);
        // One brick being published while the next is written.
        let (closed, to_publish) = bounded(0);
        // Not bounded: few and small, and their receiver feeds the other end
        // of this pipeline, so it must never be waited for.
        let (publish, published) = unbounded();
        let assign = Assign {
            context: Arc::clone(context),
            pool: Arc::clone(pool),
            out: assigned,
            options,
            brick: None,
        };
        let write = Write {
            context: Arc::clone(context),
            monitor: Arc::clone(monitor),
            give_back,
            out: closed,
            class: options.class,
        };
        let store = Arc::clone(context);
        let threads = vec![
            threads::start("assign", move || assign.run(&to_assign))?,
            threads::start("write", move || write.run(&to_write))?,
            threads::start("publish", move || {
                publish_bricks(&store, &to_publish, &publish)
            })?,
        ];
        Ok(Self {
            frames,
            free,
            published,
            threads,
            pool: Arc::clone(pool),
            options,
            header_length: frame_header_length(context.store.recipients().len()),
        })
    }

    /// Sends a full frame on its way. False if the stages have ended early.
    pub(super) fn send(&self, mut slot: Box<FrameSlot>) -> bool {
        let (done, job) = bounded(1);
        let (options, header_length) = (self.options, self.header_length);
        self.pool.spawn_fifo(move || {
            let result = compress(&mut slot, options, header_length).map(|()| slot);
            // Nobody waits if another stage has failed.
            let _ = done.send(result);
        });
        self.frames.send(job).is_ok()
    }

    /// Ends the input. What is published from now on comes through the channel,
    /// which ends after the last brick.
    pub(super) fn finish(self) -> (Receiver<Published>, Vec<JoinHandle<Result<()>>>) {
        (self.published, self.threads)
    }
}

thread_local! {
    static COMPRESSOR: RefCell<Compressor> = RefCell::default();
}

fn compress(slot: &mut FrameSlot, options: FrameOptions, header_length: usize) -> Result<()> {
    COMPRESSOR.with_borrow_mut(|compressor| {
        slot.builder.compress(
            compressor,
            options.effort,
            header_length,
            options.pad,
            &mut slot.frame,
        )
    })
}

/// Stage *assign*: gives each frame its brick and number.
struct Assign {
    context: Arc<Context>,
    pool: Arc<ThreadPool>,
    out: Sender<ToWrite>,
    options: FrameOptions,
    brick: Option<OpenBrick>,
}

struct OpenBrick {
    sealer: Arc<BrickSealer>,
    frames: u32,
    chunks: u32,
    /// Of the whole brick, with the TOC at its longest.
    length: u64,
}

impl Assign {
    fn run(mut self, frames: &Receiver<Job<Box<FrameSlot>>>) -> Result<()> {
        for job in frames {
            let slot = wait(&job)?;
            if self.assign(slot)?.is_none() {
                return Ok(());
            }
        }
        if self.brick.is_some() {
            let _ = self.out.send(ToWrite::Close);
        }
        Ok(())
    }

    /// `None` if the next stage has ended.
    fn assign(&mut self, mut slot: Box<FrameSlot>) -> Result<Option<()>> {
        let chunks = slot.builder.chunk_count();
        // Sealing adds the tag.
        let length = (slot.frame.bytes.len() + TAG_LENGTH) as u64 + toc_share(chunks as usize);
        if let Some(brick) = &self.brick
            && (brick.length + length > self.options.brick_size
                || brick.frames == MAX_FRAMES
                || brick.chunks + chunks > MAX_CHUNKS)
        {
            self.brick = None;
            if self.out.send(ToWrite::Close).is_err() {
                return Ok(None);
            }
        }
        let brick = match &mut self.brick {
            Some(brick) => brick,
            none => {
                let store = &self.context.store;
                let class = self.options.class;
                let sealer =
                    BrickSealer::new(*store.id(), store.epoch(), class, store.recipients())?;
                let sealer = Arc::new(sealer);
                if self.out.send(ToWrite::Open(Arc::clone(&sealer))).is_err() {
                    return Ok(None);
                }
                none.insert(OpenBrick {
                    sealer,
                    frames: 0,
                    chunks: 0,
                    length: AROUND,
                })
            }
        };
        let (number, sealer) = (brick.frames, Arc::clone(&brick.sealer));
        brick.frames += 1;
        brick.chunks += chunks;
        brick.length += length;
        let (done, job) = bounded(1);
        self.pool.spawn_fifo(move || {
            let result = sealer.seal_frame(number, &mut slot.frame).map(|()| slot);
            let _ = done.send(result);
        });
        Ok(self.out.send(ToWrite::Frame(job)).ok())
    }
}

/// Stage *write*: bytes into files, and the file's name from its bytes.
struct Write {
    context: Arc<Context>,
    monitor: Arc<Monitor>,
    give_back: Sender<Box<FrameSlot>>,
    out: Sender<(ClosedBrick, Vec<Series>)>,
    class: Class,
}

struct WrittenBrick {
    brick: NewBrick,
    series: Vec<Series>,
}

impl Write {
    fn run(self, steps: &Receiver<ToWrite>) -> Result<()> {
        let mut brick: Option<WrittenBrick> = None;
        for step in steps {
            match (step, &mut brick) {
                (ToWrite::Open(sealer), _) => brick = Some(self.open(sealer)?),
                (ToWrite::Frame(job), Some(brick)) => self.frame(brick, &job)?,
                (ToWrite::Close, _) => {
                    if let Some(brick) = brick.take()
                        && self.out.send(self.close(brick)?).is_err()
                    {
                        return Ok(());
                    }
                }
                (ToWrite::Frame(_), None) => {
                    return Err(Error::Internal("a frame without a brick".into()));
                }
            }
        }
        // A brick that was not closed is dropped, and its file with it.
        Ok(())
    }

    fn open(&self, sealer: Arc<BrickSealer>) -> Result<WrittenBrick> {
        Ok(WrittenBrick {
            brick: NewBrick::begin(&self.context.lease, sealer, self.class)?,
            series: Vec::new(),
        })
    }

    fn frame(&self, brick: &mut WrittenBrick, job: &Job<Box<FrameSlot>>) -> Result<()> {
        let mut slot = wait(job)?;
        let bytes = &slot.frame.bytes;
        let chunks = slot.ids.iter().zip(slot.builder.lengths());
        let chunks = chunks.map(|(&id, &length)| TocChunk { id, length });
        brick.brick.push(bytes, slot.frame.plain_length, chunks)?;
        Monitor::add(&self.monitor.stored, bytes.len() as u64);
        brick.series.push(slot.series);
        slot.builder.clear();
        slot.ids.clear();
        let _ = self.give_back.send(slot);
        Ok(())
    }

    fn close(&self, brick: WrittenBrick) -> Result<(ClosedBrick, Vec<Series>)> {
        let toc_offset = brick.brick.length();
        let closed = brick.brick.close(&self.context.keys)?;
        let around = closed.length() - toc_offset;
        Monitor::add(&self.monitor.stored, around);
        Ok((closed, brick.series))
    }
}

/// Stage *publish*.
fn publish_bricks(
    context: &Context,
    closed: &Receiver<(ClosedBrick, Vec<Series>)>,
    published: &Sender<Published>,
) -> Result<()> {
    for (brick, series) in closed {
        let (name, length) = (brick.name, brick.length());
        let Context { store, keys, lease } = context;
        let (toc, seal) = brick.publish(store, keys, lease)?;
        let brick = Published {
            name,
            length,
            toc,
            seal,
            series,
        };
        if published.send(brick).is_err() {
            return Ok(());
        }
    }
    Ok(())
}
