//! Makes the parity files of a set: one pass over its members.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::PathBuf;

use rayon::ThreadPool;
use rayon::prelude::*;

use super::code::Sums;
use super::places::Places;
use super::read::{hash_file, read_at};
use crate::archive::Monitor;
use crate::error::{Error, Result};
use crate::format::parity::{
    Description, HEAD_LENGTH, Head, Member, Shape, ShardCheck, shard_check,
};
use crate::id::{ParityName, SetId};
use crate::store::atomic::TempFile;

/// A part of a run of originals: shards of one member, one after the other.
pub(super) struct Piece {
    pub(super) member: usize,
    pub(super) shards: Range<u64>,
    /// Number of the first of them in the stripe.
    pub(super) number: usize,
}

impl Piece {
    pub(super) fn count(&self) -> usize {
        usize::try_from(self.shards.end - self.shards.start).unwrap_or(usize::MAX)
    }
}

/// The originals of a stripe, in runs of `run` shards.
pub(super) fn runs(shape: &Shape, stripe: u32, run: usize) -> Vec<Vec<Piece>> {
    let (mut runs, mut number) = (Vec::new(), 0);
    let mut current: Vec<Piece> = Vec::new();
    for (member, Member { length, .. }) in shape.members.iter().enumerate() {
        let mut part = shape.part(shape.shards(*length), stripe);
        while !part.is_empty() {
            let room = (run - number % run) as u64;
            let end = part.end.min(part.start + room);
            let piece = Piece {
                member,
                shards: part.start..end,
                number,
            };
            number += piece.count();
            current.push(piece);
            if number.is_multiple_of(run) {
                runs.push(std::mem::take(&mut current));
            }
            part.start = end;
        }
    }
    if !current.is_empty() {
        runs.push(current);
    }
    runs
}

/// A set whose files have no names yet.
pub(super) struct Encoded {
    pub(super) id: SetId,
    pub(super) description: Description,
    /// In the order of their recovery shards.
    pub(super) files: Vec<(ParityName, TempFile)>,
}

/// How encoding went.
pub(super) enum Outcome {
    Done(Encoded),
    /// These members are not what their names say, or cannot be read.
    Damaged(Vec<Bad>),
}

/// A member that is in no set: its number, and why it cannot be read, if that is it.
pub(super) type Bad = (usize, Option<std::io::Error>);

/// Makes the files of a set from its members, which stand at `paths`.
pub(super) fn encode(
    shape: &Shape,
    paths: &[PathBuf],
    places: &Places,
    pool: &ThreadPool,
    monitor: &Monitor,
) -> Result<Outcome> {
    let mut encoder = Encoder::new(shape, paths, places)?;
    for stripe in 0..shape.stripes {
        if let Some(damaged) = encoder.stripe(stripe, pool, monitor)? {
            return Ok(Outcome::Damaged(damaged));
        }
    }
    let damaged = encoder.misnamed();
    if damaged.is_empty() {
        encoder.finish(monitor).map(Outcome::Done)
    } else {
        Ok(Outcome::Damaged(damaged))
    }
}

struct Encoder<'a> {
    shape: &'a Shape,
    paths: &'a [PathBuf],
    sums: Sums,
    hashers: Vec<blake3::Hasher>,
    /// By member, then by shard.
    shards: Vec<Vec<ShardCheck>>,
    recovery: Vec<ShardCheck>,
    files: Vec<TempFile>,
}

/// What is known of a piece once it was read.
struct Taken {
    hasher: blake3::Hasher,
    checks: std::io::Result<Vec<ShardCheck>>,
}

impl<'a> Encoder<'a> {
    fn new(shape: &'a Shape, paths: &'a [PathBuf], places: &Places) -> Result<Self> {
        let start = HEAD_LENGTH as u64 + shape.description_length();
        let mut files = Vec::new();
        for _ in shape.files() {
            let mut file = places.temp_file()?;
            seek(&mut file, start)?;
            files.push(file);
        }
        Ok(Self {
            shape,
            paths,
            sums: Sums::new(shape.recovery, shape.shard_length),
            hashers: vec![blake3::Hasher::new(); shape.members.len()],
            shards: vec![Vec::new(); shape.members.len()],
            recovery: Vec::new(),
            files,
        })
    }

    /// Encodes one stripe, and returns the members that cannot be read.
    fn stripe(
        &mut self,
        stripe: u32,
        pool: &ThreadPool,
        monitor: &Monitor,
    ) -> Result<Option<Vec<Bad>>> {
        self.sums.clear();
        for run in runs(self.shape, stripe, self.sums.run()) {
            monitor.check()?;
            let damaged = self.run(&run, pool);
            if !damaged.is_empty() {
                return Ok(Some(damaged));
            }
            let count: usize = run.iter().map(Piece::count).sum();
            pool.install(|| self.sums.add_run(count));
            let bytes = count as u64 * u64::from(self.shape.shard_length);
            Monitor::add(&monitor.stream, bytes);
        }
        pool.install(|| self.sums.finish());
        self.write(monitor)?;
        Ok(None)
    }

    /// Reads a run into the buffer of the sums, and returns the members that cannot be read.
    fn run(&mut self, run: &[Piece], pool: &ThreadPool) -> Vec<Bad> {
        let (shape, paths) = (self.shape, self.paths);
        let shard_length = shape.shard_length as usize;
        let mut rest = self.sums.buffer();
        let mut jobs = Vec::with_capacity(run.len());
        for piece in run {
            let (buffer, behind) = rest.split_at_mut(piece.count() * shard_length);
            rest = behind;
            let hasher = self.hashers.get_mut(piece.member).map(std::mem::take);
            jobs.push((piece, hasher.unwrap_or_default(), buffer));
        }
        let taken: Vec<Taken> = pool.install(|| {
            let each = |(piece, hasher, buffer)| take(shape, paths, piece, hasher, buffer);
            jobs.into_par_iter().map(each).collect()
        });
        let mut damaged = Vec::new();
        for (piece, taken) in run.iter().zip(taken) {
            if let Some(hasher) = self.hashers.get_mut(piece.member) {
                *hasher = taken.hasher;
            }
            match (taken.checks, self.shards.get_mut(piece.member)) {
                (Ok(checks), Some(known)) => known.extend(checks),
                (checks, _) => damaged.push((piece.member, checks.err())),
            }
        }
        damaged
    }

    /// Writes the recovery shards of the stripe just finished.
    fn write(&mut self, monitor: &Monitor) -> Result<()> {
        let shard_length = self.shape.shard_length as usize;
        let recovery = self.sums.recovery();
        self.recovery
            .extend(recovery.chunks(shard_length).map(shard_check));
        for (file, (first, count)) in self.files.iter_mut().zip(self.shape.files()) {
            let start = first as usize * shard_length;
            let shards = recovery.get(start..start + count as usize * shard_length);
            let shards = shards.unwrap_or_default();
            write(file, shards)?;
            Monitor::add(&monitor.stored, shards.len() as u64);
        }
        Ok(())
    }

    /// The members whose bytes have another hash than their name.
    fn misnamed(&self) -> Vec<Bad> {
        let members = self.shape.members.iter().zip(&self.hashers).enumerate();
        members
            .filter(|(_, (member, hasher))| hasher.finalize().as_bytes() != member.name.as_bytes())
            .map(|(number, _)| (number, None))
            .collect()
    }

    fn finish(self, monitor: &Monitor) -> Result<Encoded> {
        let description = Description {
            shape: self.shape.clone(),
            shards: self.shards.concat(),
            recovery: self.recovery,
        };
        let bytes = description.encode();
        let id = SetId(*blake3::hash(&bytes).as_bytes());
        let mut files = Vec::new();
        for (mut file, (first, count)) in self.files.into_iter().zip(self.shape.files()) {
            let head = Head {
                set: id,
                description_length: bytes.len() as u64,
                shard_length: self.shape.shard_length,
                stripes: self.shape.stripes,
                first,
                count,
            };
            let head = head.encode();
            write(&mut file, &bytes)?;
            write(&mut file, &head)?;
            seek(&mut file, 0)?;
            write(&mut file, &head)?;
            write(&mut file, &bytes)?;
            let name = ParityName(hash_file(file.path(), monitor)?);
            files.push((name, file));
        }
        Ok(Encoded {
            id,
            description,
            files,
        })
    }
}

/// Reads a piece into `buffer`, and hashes its bytes.
fn take(
    shape: &Shape,
    paths: &[PathBuf],
    piece: &Piece,
    mut hasher: blake3::Hasher,
    buffer: &mut [u8],
) -> Taken {
    let bytes = match read(shape, paths, piece, buffer) {
        Ok(bytes) => bytes,
        Err(error) => {
            let checks = Err(error);
            return Taken { hasher, checks };
        }
    };
    let shards = bytes.chunks(shape.shard_length as usize);
    let (_, checks) = rayon::join(
        || hasher.update(bytes).count(),
        || shards.map(shard_check).collect(),
    );
    Taken {
        hasher,
        checks: Ok(checks),
    }
}

/// Reads a piece into `buffer`, puts zeros behind it, and returns its bytes; an error, too,
/// if they are not all there.
fn read<'a>(
    shape: &Shape,
    paths: &[PathBuf],
    piece: &Piece,
    buffer: &'a mut [u8],
) -> std::io::Result<&'a [u8]> {
    let short = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    let member = shape.members.get(piece.member).ok_or_else(short)?;
    let start = piece.shards.start * u64::from(shape.shard_length);
    let left = member.length.checked_sub(start).ok_or_else(short)?;
    let length = left.min(buffer.len() as u64);
    let file = File::open(paths.get(piece.member).ok_or_else(short)?)?;
    if file.metadata()?.len() != member.length {
        return Err(short());
    }
    let (bytes, behind) = buffer.split_at_mut(usize::try_from(length).map_err(|_| short())?);
    behind.fill(0);
    if read_at(&file, bytes, start)? == bytes.len() {
        return Ok(bytes);
    }
    Err(short())
}

fn write(file: &mut TempFile, bytes: &[u8]) -> Result<()> {
    let written = file.write_all(bytes);
    written.map_err(Error::io("write", file.path()))
}

fn seek(file: &mut TempFile, position: u64) -> Result<()> {
    let sought = file.seek(SeekFrom::Start(position));
    sought.map(|_| ()).map_err(Error::io("write", file.path()))
}
