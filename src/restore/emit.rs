//! Writes the output in order, each chunk only once it is verified.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use super::batch::{Batch, Name, Op};
use super::elsewhere::Elsewhere;
use super::slot::Failure;
use crate::archive::Monitor;
use crate::error::{Error, Result};
use crate::id::ChunkHash;
use crate::tar::{Globals, Member};

/// Bytes that had to be replaced by zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The member's name; empty for bytes that belong to no member.
    pub member: Vec<u8>,
    /// First byte in the member's body (or, outside of members, in the output).
    pub start: u64,
    /// How many.
    pub length: u64,
    /// Why.
    pub reason: String,
    /// The file that is to blame, or the place where it should be.
    pub path: PathBuf,
}

/// Writes batches to `out`.
pub(super) struct Emitter<'a, W: Write> {
    out: Counted<W>,
    checksum: Xxh3,
    monitor: Arc<Monitor>,
    /// Where chunks are looked for that are not where they should be.
    elsewhere: Option<Arc<Elsewhere>>,
    found: Vec<u8>,
    /// Called for each hit; without it, damage ends the run.
    on_hit: Option<&'a mut dyn FnMut(Hit)>,
    hit: Option<Hit>,
    hits: u64,
    /// The member's name, or its header, of which it is only taken when it is asked for.
    member: Vec<u8>,
    member_is_header: bool,
    member_position: u64,
    /// The hash of the body so far, where it is wanted, and the hits before it.
    body: Option<(blake3::Hasher, u64)>,
    position: u64,
    /// Where tar's end-of-archive blocks end, once they were met.
    archive_end: Option<u64>,
}

impl<'a, W: Write> Emitter<'a, W> {
    pub(super) fn new(
        out: W,
        monitor: Arc<Monitor>,
        elsewhere: Option<Arc<Elsewhere>>,
        on_hit: Option<&'a mut dyn FnMut(Hit)>,
    ) -> Self {
        Self {
            out: Counted {
                out,
                buffer: Vec::with_capacity(BUFFER),
                accepted: 0,
            },
            checksum: Xxh3::new(),
            monitor,
            elsewhere,
            found: Vec::new(),
            on_hit,
            hit: None,
            hits: 0,
            member: Vec::new(),
            member_is_header: false,
            member_position: 0,
            body: None,
            position: 0,
            archive_end: None,
        }
    }

    /// Writes a batch. `false`: the reader has gone, and had all it wanted.
    pub(super) fn batch(&mut self, batch: &Batch) -> Result<bool> {
        for op in &batch.ops {
            match self.op(op, &batch.bytes) {
                Ok(()) => {}
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Output(error)) => return self.output_failed(error),
            }
        }
        let written = self.position;
        self.monitor
            .stream
            .store(written, std::sync::atomic::Ordering::Relaxed);
        Ok(true)
    }

    fn op(&mut self, op: &Op, bytes: &[u8]) -> Result<(), Stop> {
        match op {
            Op::Bytes(range) => self.write(&bytes[range.clone()])?,
            Op::Chunk {
                slot,
                place,
                length,
                hash,
            } => match slot.chunk(*place, *length, hash) {
                Ok(chunk) => self.write(chunk)?,
                Err(failure) => self.elsewhere(*length, hash, &failure)?,
            },
            Op::Zeros(length) => self.zeros(*length)?,
            Op::Lost { length, failure } => self.replace(*length, failure)?,
            Op::Member(name) => {
                self.flush_hit();
                let (Name::Text(range) | Name::Header(range)) = name;
                self.member.clear();
                self.member.extend_from_slice(&bytes[range.clone()]);
                self.member_is_header = matches!(name, Name::Header(_));
                self.member_position = 0;
            }
            Op::BodyStart => self.body = Some((blake3::Hasher::new(), self.hits)),
            Op::BodyEnd(hash) => self.end_body(hash)?,
            Op::ArchiveEnd { ahead } => {
                let end = self.position + ahead + 1024;
                self.archive_end.get_or_insert(end);
            }
            Op::EndRecord { record } => {
                let end = (self.position + 1024).next_multiple_of(*record);
                self.zeros(end - self.position)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.checksum.update(bytes);
        if let Some((hasher, _)) = &mut self.body {
            hasher.update(bytes);
        }
        self.position += bytes.len() as u64;
        self.member_position += bytes.len() as u64;
        self.out.write(bytes).map_err(Stop::Output)
    }

    /// Compares the body's hash, unless zeros had to take the place of a part of it.
    fn end_body(&mut self, expected: &ChunkHash) -> Result<(), Stop> {
        match self.body.take() {
            Some((hasher, hits))
                if hits == self.hits && hasher.finalize() != *expected.as_bytes() =>
            {
                Err(Stop::Failed(Error::Damaged(format!(
                    "{}: what was restored is not the body that was archived: their hashes \
                     differ, though every chunk was right; please report this",
                    String::from_utf8_lossy(self.member())
                ))))
            }
            _ => Ok(()),
        }
    }

    /// The name of the member that goes by; empty outside of members.
    fn member(&mut self) -> &[u8] {
        if std::mem::take(&mut self.member_is_header) {
            let parsed = Member::parse(&self.member, &Globals::default());
            self.member = parsed.map(|member| member.name).unwrap_or_default();
        }
        &self.member
    }

    fn zeros(&mut self, mut length: u64) -> Result<(), Stop> {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        while length > 0 {
            self.monitor.check().map_err(Stop::Failed)?;
            let piece = length.min(ZEROS.len() as u64);
            self.write(&ZEROS[..piece as usize])?;
            length -= piece;
        }
        Ok(())
    }

    /// A chunk that is not where it should be, from wherever it is.
    fn elsewhere(&mut self, length: u32, hash: &ChunkHash, failure: &Failure) -> Result<(), Stop> {
        let mut found = std::mem::take(&mut self.found);
        let elsewhere = self.elsewhere.as_ref();
        let written = if elsewhere.is_some_and(|all| all.chunk(hash, length, &mut found)) {
            self.write(&found)
        } else {
            self.replace(u64::from(length), failure)
        };
        self.found = found;
        written
    }

    /// Zeros in place of lost bytes, if that is wanted.
    fn replace(&mut self, length: u64, failure: &Failure) -> Result<(), Stop> {
        if self.on_hit.is_none() {
            return Err(Stop::Failed(self.lost(failure)));
        }
        self.hits += 1;
        let outside = self.member().is_empty();
        let start = if outside {
            self.position
        } else {
            self.member_position
        };
        let reason = failure.error().to_string();
        match &mut self.hit {
            Some(hit) if hit.start + hit.length == start && hit.reason == reason => {
                hit.length += length;
            }
            _ => {
                self.flush_hit();
                self.hit = Some(Hit {
                    member: self.member().to_vec(),
                    start,
                    length,
                    reason,
                    path: failure.path.clone(),
                });
            }
        }
        self.zeros(length)
    }

    fn lost(&mut self, failure: &Failure) -> Error {
        let place = if self.member().is_empty() {
            format!("byte {} of the stream", self.position)
        } else {
            let position = self.member_position;
            let name = String::from_utf8_lossy(self.member());
            format!("{name}, byte {position}")
        };
        Error::Refused {
            path: failure.path.clone(),
            message: format!(
                "{}; needed for {place}. `restore --keep-going` puts zeros there and goes on",
                failure.message
            ),
            exit: failure.exit,
        }
    }

    fn flush_hit(&mut self) {
        if let (Some(hit), Some(on_hit)) = (self.hit.take(), &mut self.on_hit) {
            on_hit(hit);
        }
    }

    /// A reader that closes the pipe after the end-of-archive blocks (`tar x` does) is content.
    fn output_failed(&mut self, error: io::Error) -> Result<bool> {
        if error.kind() != io::ErrorKind::BrokenPipe {
            return Err(Error::io("write to", PathBuf::from("standard output"))(
                error,
            ));
        }
        match self.archive_end {
            Some(end) if self.out.accepted >= end => Ok(false),
            _ => Err(Error::OutputClosed { what: "the stream" }),
        }
    }

    /// Writes what is buffered; gives length, checksum and number of hits.
    /// `None`: the reader has gone, and had all it wanted.
    pub(super) fn finish(mut self) -> Result<(u64, u128, u64, bool)> {
        self.flush_hit();
        let complete = match self.out.flush() {
            Ok(()) => true,
            Err(error) => self.output_failed(error)?,
        };
        Ok((
            self.position,
            self.checksum.digest128(),
            self.hits,
            complete,
        ))
    }
}

enum Stop {
    Failed(Error),
    Output(io::Error),
}

const BUFFER: usize = 256 << 10;

/// Buffers small writes and counts what the reader has accepted.
struct Counted<W: Write> {
    out: W,
    buffer: Vec<u8>,
    accepted: u64,
}

impl<W: Write> Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.buffer.len() + bytes.len() > BUFFER {
            self.flush_buffer()?;
        }
        if bytes.len() >= BUFFER {
            return accept(&mut self.out, bytes, &mut self.accepted);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn flush_buffer(&mut self) -> io::Result<()> {
        accept(&mut self.out, &self.buffer, &mut self.accepted)?;
        self.buffer.clear();
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flush_buffer()?;
        self.out.flush()
    }
}

fn accept(out: &mut impl Write, mut bytes: &[u8], accepted: &mut u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(length) => {
                *accepted += length as u64;
                bytes = &bytes[length..];
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
