//! Brings back the bytes of lost members, stripe by stripe.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use rayon::ThreadPool;
use rayon::prelude::*;

use super::code::Sums;
use super::encode::{Piece, runs};
use super::examine::{MemberState, NOWHERE, SetState, changed, part_of};
use super::read::read_at;
use super::repair::write_at;
use crate::archive::Monitor;
use crate::error::{Error, Result};
use crate::format::parity::{Shape, ShardCheck, shard_check};
use crate::store::atomic::TempFile;

/// Members in the making, by their number.
type Files = BTreeMap<usize, TempFile>;

/// The members of a set of the numbers `wanted`, from the shards that are whole and those that
/// come back; in `temp_dir`. Their hashes are still to be compared with their names.
pub(super) fn rebuild(
    state: &SetState,
    wanted: &[usize],
    temp_dir: &Path,
    pool: &ThreadPool,
    monitor: &Monitor,
) -> Result<Files> {
    let mut files = Files::new();
    require_room(state, wanted, temp_dir)?;
    for number in wanted {
        files.insert(*number, TempFile::create(temp_dir)?);
    }
    let checks = Checks::new(state);
    for (number, file) in &mut files {
        copy_whole_shards(state, &checks, *number, file, monitor)?;
    }
    let shape = state.shape();
    let mut sums = Sums::new(shape.recovery, shape.shard_length);
    for stripe in 0..shape.stripes {
        let has_lost = |number: &usize| {
            let member = state.members.get(*number);
            member.is_some_and(|member| part_of(shape, member, stripe).contains(&NOWHERE))
        };
        if files.keys().any(has_lost) {
            let mut rebuild = Stripe {
                state,
                checks: &checks,
                number: stripe,
                sums: &mut sums,
            };
            let lost = rebuild.solve(pool, monitor)?;
            write_lost(shape, &mut sums, &lost, state, &mut files)?;
        }
    }
    Ok(files)
}

/// Refuses what does not fit the disk: a forged set may claim any length, and must not
/// fill it on the way.
fn require_room(state: &SetState, wanted: &[usize], temp_dir: &Path) -> Result<()> {
    let members = wanted
        .iter()
        .filter_map(|number| state.members.get(*number));
    let needed: u64 = members.map(|member| member.member.length).sum();
    let existing = temp_dir.ancestors().find(|dir| dir.is_dir());
    let Ok(found) = rustix::fs::statvfs(existing.unwrap_or(Path::new("."))) else {
        return Ok(());
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    if needed > free {
        return Err(Error::Damaged(format!(
            "to bring back its bricks takes {needed} bytes, and {} has {free}: nothing is \
             changed; make room, or name another place with --to",
            temp_dir.display()
        )));
    }
    Ok(())
}

/// Which shard of which member is lost.
struct Lost {
    member: usize,
    shard: u64,
}

/// The checks of the members' shards, found by member.
struct Checks<'a> {
    state: &'a SetState,
    starts: Vec<usize>,
}

impl<'a> Checks<'a> {
    fn new(state: &'a SetState) -> Self {
        let shape = state.shape();
        let mut next = 0;
        let start = |member: &MemberState| {
            let start = next;
            next += usize::try_from(shape.shards(member.member.length)).unwrap_or(usize::MAX);
            start
        };
        let starts = state.members.iter().map(start).collect();
        Self { state, starts }
    }

    fn of(&self, member: usize, shard: u64) -> Option<&ShardCheck> {
        let start = self.starts.get(member)?;
        let shard = usize::try_from(shard).ok()?;
        self.state.description.shards.get(start + shard)
    }
}

/// Copies the shards of a member that some copy has whole.
fn copy_whole_shards(
    state: &SetState,
    checks: &Checks<'_>,
    number: usize,
    file: &mut TempFile,
    monitor: &Monitor,
) -> Result<()> {
    let shape = state.shape();
    let Some(member) = state.members.get(number) else {
        return Ok(());
    };
    let mut buffer = vec![0; shape.shard_length as usize];
    let mut reader = Reader::default();
    for (shard, source) in (0_u64..).zip(&member.sources) {
        if *source == NOWHERE {
            continue;
        }
        monitor.check()?;
        let length = shape.length_of_shard(member.member.length, shard);
        let bytes = buffer.get_mut(..length).unwrap_or_default();
        reader.read(shape, member, *source, shard, bytes)?;
        if checks.of(number, shard) != Some(&shard_check(bytes)) {
            return Err(reader.changed());
        }
        write_at(file, shard * u64::from(shape.shard_length), bytes)?;
    }
    Ok(())
}

/// Reads shards of one member from its copies, of which one is open at a time.
#[derive(Default)]
struct Reader {
    open: Option<(u8, File, std::path::PathBuf)>,
}

impl Reader {
    /// Fills `bytes` with a shard from copy `source`.
    fn read(
        &mut self,
        shape: &Shape,
        member: &MemberState,
        source: u8,
        shard: u64,
        bytes: &mut [u8],
    ) -> Result<()> {
        if self.open.as_ref().is_none_or(|(open, ..)| *open != source) {
            let copy = member.copies.get(usize::from(source));
            let path = copy.map(|copy| copy.path.clone()).unwrap_or_default();
            let file = File::open(&path).map_err(Error::io("open", &path))?;
            self.open = Some((source, file, path));
        }
        let Some((_, file, path)) = &self.open else {
            return Ok(());
        };
        let offset = shard * u64::from(shape.shard_length);
        let length = read_at(file, bytes, offset).map_err(Error::io("read", path))?;
        if length == bytes.len() {
            Ok(())
        } else {
            Err(changed(path))
        }
    }

    fn changed(&self) -> Error {
        let path = self.open.as_ref().map(|(_, _, path)| path.as_path());
        changed(path.unwrap_or(Path::new("")))
    }
}

/// One stripe in which shards are lost.
struct Stripe<'a> {
    state: &'a SetState,
    checks: &'a Checks<'a>,
    number: u32,
    sums: &'a mut Sums,
}

impl Stripe<'_> {
    /// Brings back all lost shards of the stripe, into the buffer of the sums, and says
    /// which they are, in this order.
    fn solve(&mut self, pool: &ThreadPool, monitor: &Monitor) -> Result<Vec<Lost>> {
        let shape = self.state.shape();
        self.sums.clear();
        let (mut originals, mut lost, mut numbers) = (0, Vec::new(), Vec::new());
        for run in runs(shape, self.number, self.sums.run()) {
            monitor.check()?;
            self.fill(&run, pool)?;
            for piece in &run {
                self.note_lost(piece, &mut lost, &mut numbers);
                originals = piece.number + piece.count();
            }
            let count = run.iter().map(Piece::count).sum();
            pool.install(|| self.sums.add_run(count));
        }
        pool.install(|| self.sums.finish());
        let have = self.add_recovery(lost.len())?;
        monitor.check()?;
        pool.install(|| self.sums.solve(originals, &numbers, &have))?;
        Ok(lost)
    }

    fn note_lost(&self, piece: &Piece, lost: &mut Vec<Lost>, numbers: &mut Vec<usize>) {
        let Some(member) = self.state.members.get(piece.member) else {
            return;
        };
        for (shard, number) in piece.shards.clone().zip(piece.number..) {
            if source_of(member, shard) == NOWHERE {
                let member = piece.member;
                lost.push(Lost { member, shard });
                numbers.push(number);
            }
        }
    }

    /// Reads the shards of a run that are whole; the others are zeros.
    fn fill(&mut self, run: &[Piece], pool: &ThreadPool) -> Result<()> {
        let (state, checks) = (self.state, self.checks);
        let shard_length = state.shape().shard_length as usize;
        let mut rest = self.sums.buffer();
        let mut jobs = Vec::with_capacity(run.len());
        for piece in run {
            let (buffer, behind) = rest.split_at_mut(piece.count() * shard_length);
            rest = behind;
            jobs.push((piece, buffer));
        }
        pool.install(|| {
            let each = |(piece, buffer)| fill_piece(state, checks, piece, buffer);
            jobs.into_par_iter().try_for_each(each)
        })
    }

    /// Adds the recovery shards that are needed, and says which.
    fn add_recovery(&mut self, needed: usize) -> Result<Vec<usize>> {
        let shape = self.state.shape();
        let mut buffer = vec![0; shape.shard_length as usize];
        let mut have = Vec::with_capacity(needed);
        for (number, file) in self.state.have(self.number).take(needed) {
            let opened = File::open(&file.path).map_err(Error::io("open", &file.path))?;
            let offset = file
                .head
                .offset_of(self.number, u32::try_from(number).unwrap_or(0));
            let length = read_at(&opened, &mut buffer, offset);
            let length = length.map_err(Error::io("read", &file.path))?;
            let index = self.number as usize * shape.recovery as usize + number;
            let check = self.state.description.recovery.get(index);
            if length != buffer.len() || check != Some(&shard_check(&buffer)) {
                return Err(changed(&file.path));
            }
            self.sums.add_to_recovery(number, &buffer);
            have.push(number);
        }
        Ok(have)
    }
}

/// The copy that has a shard whole; 0 where the whole copy is meant.
fn source_of(member: &MemberState, shard: u64) -> u8 {
    if member.sources.is_empty() {
        let whole = member.copies.iter().position(|copy| copy.whole);
        return whole.map_or(NOWHERE, |whole| u8::try_from(whole).unwrap_or(NOWHERE));
    }
    let shard = usize::try_from(shard).unwrap_or(usize::MAX);
    member.sources.get(shard).copied().unwrap_or(NOWHERE)
}

fn fill_piece(
    state: &SetState,
    checks: &Checks<'_>,
    piece: &Piece,
    buffer: &mut [u8],
) -> Result<()> {
    let shape = state.shape();
    let Some(member) = state.members.get(piece.member) else {
        return Ok(());
    };
    let mut reader = Reader::default();
    let slots = buffer.chunks_mut(shape.shard_length as usize);
    for (shard, slot) in piece.shards.clone().zip(slots) {
        let source = source_of(member, shard);
        if source == NOWHERE {
            slot.fill(0);
            continue;
        }
        let length = shape.length_of_shard(member.member.length, shard);
        let (bytes, behind) = slot.split_at_mut(length);
        behind.fill(0);
        reader.read(shape, member, source, shard, bytes)?;
        if checks.of(piece.member, shard) != Some(&shard_check(bytes)) {
            return Err(reader.changed());
        }
    }
    Ok(())
}

/// Writes the shards that came back to those members that are wanted.
fn write_lost(
    shape: &Shape,
    sums: &mut Sums,
    lost: &[Lost],
    state: &SetState,
    files: &mut Files,
) -> Result<()> {
    let shards = sums.buffer().chunks(shape.shard_length as usize);
    for (lost, bytes) in lost.iter().zip(shards) {
        let member = state.members.get(lost.member);
        if let (Some(file), Some(member)) = (files.get_mut(&lost.member), member) {
            let length = shape.length_of_shard(member.member.length, lost.shard);
            let bytes = bytes.get(..length).unwrap_or_default();
            write_at(file, lost.shard * u64::from(shape.shard_length), bytes)?;
        }
    }
    Ok(())
}
