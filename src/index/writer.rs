//! Writes an index as the stream goes by.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crossbeam_channel::{Receiver, Sender};

use super::hints::{BrickSource, FrameRef, Hints, Series, StoredFrame, Used};
use super::spool::Spool;
use crate::error::{Error, Result};
use crate::format::trailer::{
    self, END_LENGTH, End, Place, SEAL_LENGTH, SectionKind, Step, Summary, opaque_marker,
};

const BLOCK: u64 = 512;
/// Written at a time: large enough for BLAKE3 to use its widest code.
const BUFFER: usize = 256 << 10;

/// An index being written to `W`, which need not be seekable.
pub struct IndexWriter<W: Write> {
    out: SealedWriter<W>,
    spool_dir: PathBuf,
    map: MapSpool,
    records: Spool,
    hints: Hints,
    /// Blocks of the verbatim run since the last record.
    run_blocks: u64,
}

impl<W: Write> IndexWriter<W> {
    /// An empty index on `out`, which errors call `name`. `hasher` is keyed
    /// with the index key; long spools go to unnamed files in `spool_dir`.
    pub fn new(out: W, name: &Path, hasher: blake3::Hasher, spool_dir: &Path) -> Self {
        Self {
            out: SealedWriter {
                out,
                name: name.to_owned(),
                hasher,
                buffer: Vec::with_capacity(BUFFER),
                position: 0,
                tap: None,
                held: None,
            },
            spool_dir: spool_dir.to_owned(),
            map: MapSpool {
                spool: Spool::new(spool_dir),
                step: None,
                bytes: Vec::new(),
            },
            records: Spool::new(spool_dir),
            hints: Hints::new(spool_dir),
            run_blocks: 0,
        }
    }

    /// Gives all bytes of the index to `tap` as well, but for those that are held back.
    #[must_use]
    pub fn with_tap(mut self, tap: Tap) -> Self {
        self.out.tap = Some(tap);
        self
    }

    /// Bytes written so far.
    pub const fn position(&self) -> u64 {
        self.out.position
    }

    /// Passes whole blocks of the stream into the index as they are.
    ///
    /// # Errors
    /// I/O errors of the output or of a spool.
    pub fn verbatim(&mut self, blocks: &[u8]) -> Result<()> {
        debug_assert!((blocks.len() as u64).is_multiple_of(BLOCK));
        self.run_blocks += blocks.len() as u64 / BLOCK;
        self.out.write(blocks)
    }

    /// Puts an encoded record where the body would be.
    ///
    /// # Errors
    /// I/O errors of the output or of a spool.
    pub fn record_in_place(&mut self, record: &[u8]) -> Result<()> {
        self.out.write(record)?;
        self.out.pad()?;
        self.step(Place::InPlace)
    }

    /// Keeps an encoded record for the trailer.
    ///
    /// # Errors
    /// I/O errors of the output or of a spool.
    pub fn record_detached(&mut self, record: &[u8]) -> Result<()> {
        self.records.write(record)?;
        self.step(Place::Detached)
    }

    /// Puts an opaque marker in place and keeps its record for the trailer.
    ///
    /// # Errors
    /// I/O errors of the output or of a spool.
    pub fn opaque(&mut self, record: &[u8]) -> Result<()> {
        self.out.write(&opaque_marker())?;
        self.records.write(record)?;
        self.step(Place::Opaque)
    }

    fn step(&mut self, place: Place) -> Result<()> {
        let blocks = std::mem::take(&mut self.run_blocks);
        self.map.push(Step { blocks, place })
    }

    /// Notes where the next chunk of `level` lies.
    ///
    /// # Errors
    /// I/O errors of the output or of a spool.
    pub fn hint(&mut self, level: usize, frame: FrameRef, place: u32) -> Result<()> {
        self.hints.push(&self.spool_dir, level, frame, place)
    }

    /// Notes where the copy of the next list of `level` lies.
    ///
    /// # Errors
    /// I/O errors of the output or of a spool.
    pub fn copy_hint(&mut self, level: usize, frame: FrameRef, place: u32) -> Result<()> {
        self.hints.push_copy(&self.spool_dir, level, frame, place)
    }

    /// Says where the next frame of a series of this run came to lie.
    ///
    /// # Errors
    /// I/O errors of the output or of a spool.
    pub fn own_frame(&mut self, series: Series, stored: StoredFrame) -> Result<()> {
        self.hints.own_frame(series, stored)
    }

    /// The bricks that the stream uses. All frames of this run must be known by now.
    ///
    /// # Errors
    /// I/O errors of the output or of a spool.
    pub fn used(&mut self) -> Result<Used> {
        self.hints.used()
    }

    /// Writes trailer and end as [`IndexWriter::hold`], and lets them out at once.
    /// Returns `W` and the index's length.
    ///
    /// # Errors
    /// I/O errors of the output or of a spool.
    pub fn finish(
        self,
        used: &Used,
        source: &mut impl BrickSource,
        summary: Summary,
    ) -> Result<(W, u64)> {
        self.hold(used, source, summary)?.release()
    }

    /// Makes trailer and end and holds them back; the last step must have been the
    /// tail's record. `summary.members_length` is filled in.
    ///
    /// # Errors
    /// I/O errors of the output or of a spool.
    pub fn hold(
        mut self,
        used: &Used,
        source: &mut impl BrickSource,
        mut summary: Summary,
    ) -> Result<HeldIndex<W>> {
        debug_assert_eq!(self.run_blocks, 0, "the tail's record comes last");
        summary.members_length = self.out.position;
        self.out.flush_buffer()?;
        self.out.held = Some(Spool::new(&self.spool_dir));
        self.out.write(&[0; 2 * BLOCK as usize])?;
        let offset = self.out.position;
        self.out.write(&trailer::encode_head(offset))?;
        let mut payload = Spool::new(&self.spool_dir);
        payload.write(&summary.encode())?;
        self.out.section(SectionKind::Summary, &mut payload)?;
        self.out.section(SectionKind::Records, &mut self.records)?;
        self.map.flush()?;
        self.out.section(SectionKind::Map, &mut self.map.spool)?;
        let mut bricks = used.section(&self.spool_dir, source)?;
        self.out.section(SectionKind::Bricks, &mut bricks)?;
        for mut hints in self.hints.sections(&self.spool_dir, used)? {
            self.out.section(SectionKind::Hints, &mut hints)?;
        }
        for mut copies in self.hints.copy_sections(&self.spool_dir, used)? {
            self.out.section(SectionKind::Copies, &mut copies)?;
        }
        self.out.write(&SectionKind::Done.head(0))?;
        self.out.finish(offset)
    }
}

/// The map, with equal steps counted.
struct MapSpool {
    spool: Spool,
    step: Option<(Step, u64)>,
    bytes: Vec<u8>,
}

impl MapSpool {
    fn push(&mut self, step: Step) -> Result<()> {
        match &mut self.step {
            Some((last, repeat)) if *last == step => *repeat += 1,
            _ => {
                self.flush()?;
                self.step = Some((step, 1));
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if let Some((step, repeat)) = self.step.take() {
            self.bytes.clear();
            step.encode(repeat, &mut self.bytes);
            self.spool.write(&self.bytes)?;
        }
        Ok(())
    }
}

/// A second way that the bytes of an index go, buffer by buffer.
pub struct Tap {
    /// Takes full buffers.
    pub full: Sender<Vec<u8>>,
    /// Gives empty ones back, for their memory.
    pub empty: Receiver<Vec<u8>>,
}

impl Tap {
    /// Takes the bytes of `buffer`, and leaves another in its place. False if nobody
    /// is at the other end.
    fn take(&self, buffer: &mut Vec<u8>) -> bool {
        let mut other = self.empty.try_recv().unwrap_or_default();
        other.clear();
        other.reserve(BUFFER);
        self.full.send(std::mem::replace(buffer, other)).is_ok()
    }
}

/// An index of which all is written but the trailer, which is made, and held back.
pub struct HeldIndex<W: Write> {
    out: W,
    name: PathBuf,
    held: Spool,
    length: u64,
}

impl<W: Write> HeldIndex<W> {
    /// Length of the whole index in bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Calls `each` with the bytes that are held back, piece by piece.
    ///
    /// # Errors
    /// Those of `each`; I/O errors of the spool.
    pub fn held(&mut self, each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        pieces(&mut self.held, each)
    }

    /// Writes what was held back. Returns `W` and the index's length.
    ///
    /// # Errors
    /// I/O errors of the output or of the spool.
    pub fn release(mut self) -> Result<(W, u64)> {
        let (out, name) = (&mut self.out, &self.name);
        pieces(&mut self.held, |piece| {
            out.write_all(piece).map_err(output_error(name))
        })?;
        self.out.flush().map_err(output_error(&self.name))?;
        Ok((self.out, self.length))
    }
}

/// Calls `each` with what is in a spool, piece by piece.
fn pieces(spool: &mut Spool, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut reader = spool.reader()?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(()),
            length => each(&buffer[..length])?,
        }
    }
}

/// Writes through a buffer and hashes all that goes through.
struct SealedWriter<W: Write> {
    out: W,
    name: PathBuf,
    hasher: blake3::Hasher,
    buffer: Vec<u8>,
    position: u64,
    tap: Option<Tap>,
    /// Where bytes go instead of `out`, once there is one.
    held: Option<Spool>,
}

impl<W: Write> SealedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.position += bytes.len() as u64;
        if self.buffer.len() + bytes.len() > BUFFER {
            self.flush_buffer()?;
        }
        self.buffer.extend_from_slice(bytes);
        if bytes.len() >= BUFFER {
            self.flush_buffer()?;
        }
        Ok(())
    }

    fn flush_buffer(&mut self) -> Result<()> {
        self.hasher.update(&self.buffer);
        self.put()
    }

    /// Lets the buffer out, or holds it.
    fn put(&mut self) -> Result<()> {
        if let Some(held) = &mut self.held {
            held.write(&self.buffer)?;
            self.buffer.clear();
            return Ok(());
        }
        self.out
            .write_all(&self.buffer)
            .map_err(output_error(&self.name))?;
        if let Some(tap) = &self.tap
            && !self.buffer.is_empty()
            && !tap.take(&mut self.buffer)
        {
            // Its own error is found by whoever waits for it.
            self.tap = None;
        }
        self.buffer.clear();
        Ok(())
    }

    /// Zeros up to the next block.
    fn pad(&mut self) -> Result<()> {
        let missing = self.position.wrapping_neg() % BLOCK;
        self.write(&[0; BLOCK as usize][..missing as usize])
    }

    fn section(&mut self, kind: SectionKind, payload: &mut Spool) -> Result<()> {
        self.write(&kind.head(payload.length()))?;
        pieces(payload, |piece| self.write(piece))
    }

    fn finish(mut self, trailer_offset: u64) -> Result<HeldIndex<W>> {
        let behind = (SEAL_LENGTH + END_LENGTH) as u64;
        let missing = (self.position + behind).wrapping_neg() % BLOCK;
        self.write(&[0; BLOCK as usize][..missing as usize])?;
        self.flush_buffer()?;
        let index_length = self.position + behind;
        let end = End {
            trailer_offset,
            trailer_length: index_length - END_LENGTH as u64 - trailer_offset,
            index_length,
        }
        .encode();
        // The end too: it says which of the bytes before it are the trailer.
        self.hasher.update(&end);
        self.buffer
            .extend_from_slice(self.hasher.finalize().as_bytes());
        self.buffer.extend_from_slice(&end);
        self.put()?;
        let held = self
            .held
            .ok_or_else(|| Error::Internal("an index whose trailer was not held".into()))?;
        Ok(HeldIndex {
            out: self.out,
            name: self.name,
            held,
            length: index_length,
        })
    }
}

fn output_error(name: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
    move |source| {
        if source.kind() == io::ErrorKind::BrokenPipe {
            return Error::OutputClosed { what: "the index" };
        }
        Error::io("write the index to", name)(source)
    }
}
