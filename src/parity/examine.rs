//! Reads all that belongs to a set, and says which shards are whole.

use std::fs::{self, File};
use std::path::PathBuf;

use rayon::ThreadPool;
use rayon::prelude::*;

use super::places::Places;
use super::read::{has_hash, read_at};
use super::sets::ParityFile;
use crate::archive::Monitor;
use crate::error::{Error, Result};
use crate::format::parity::{Description, Member, Shape, ShardCheck, shard_check};
use crate::id::{ParityName, SetId};

/// How much of a file is read at a time.
const PIECE: usize = 1 << 20;
/// Stands for no source.
pub(super) const NOWHERE: u8 = u8::MAX;

/// A file that has a member's name.
#[derive(Debug, Clone)]
pub struct Copy {
    /// Where it is.
    pub path: PathBuf,
    /// Whether its hash is its name.
    pub whole: bool,
    /// Whether it stands in the folder itself, and may be replaced.
    pub own: bool,
}

/// What is there of a member.
#[derive(Debug, Clone)]
pub struct MemberState {
    /// The member.
    pub member: Member,
    /// The files that have its name.
    pub copies: Vec<Copy>,
    /// For each shard the copy that has it whole; none if a copy is whole and as the set says.
    pub(super) sources: Vec<u8>,
    /// Shards that no copy has whole, by what the set says of them.
    pub lost: u64,
    /// Whether a copy is whole by its name, and yet not what the set says: the set is wrong.
    pub at_odds: bool,
    /// Whether it is whole somewhere, or can be brought back.
    pub repairable: bool,
}

impl MemberState {
    /// The copy whose hash is its name.
    #[must_use]
    pub fn whole(&self) -> Option<&PathBuf> {
        let whole = self.copies.iter().find(|copy| copy.whole);
        whole.map(|copy| &copy.path)
    }

    /// Whether no file has its name.
    #[must_use]
    pub const fn is_missing(&self) -> bool {
        self.copies.is_empty()
    }

    /// The copies whose hash is not their name.
    pub fn damaged(&self) -> impl Iterator<Item = &Copy> {
        self.copies.iter().filter(|copy| !copy.whole)
    }

    /// Whether there is a copy, and all are whole.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        !self.is_missing() && self.damaged().next().is_none()
    }
}

/// A parity file, and whether it is whole.
#[derive(Debug, Clone)]
pub struct FileState {
    /// Where it is.
    pub path: PathBuf,
    /// Its name.
    pub name: ParityName,
    /// Whether it stands in the folder itself, and may be replaced.
    pub own: bool,
    /// Number of its first recovery shard in each stripe.
    pub(super) first: u32,
    /// Whether its hash is its name, and each of its shards as the description says.
    pub whole: bool,
}

/// What is there of a set.
#[derive(Debug)]
pub struct SetState {
    /// The set.
    pub id: SetId,
    /// Its members, in the order of the description.
    pub members: Vec<MemberState>,
    /// The parity files that were found.
    pub files: Vec<FileState>,
    /// How many parity files are nowhere to be found.
    pub files_missing: u64,
    /// The fewest recovery shards of a stripe that are left over; below 0: that are too few.
    pub margin: i64,
    /// Recovery shards of a stripe, if none is lost.
    pub full_margin: u32,
    pub(super) description: Description,
    pub(super) heads: Vec<ParityFile>,
    /// For each recovery shard, stripe by stripe, the file that has it whole.
    pub(super) recovery: Vec<Option<u16>>,
}

impl SetState {
    /// Whether nothing is missing, damaged or wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let members = &self.members;
        members.iter().all(MemberState::is_sound) && self.parity_is_sound() && !self.is_wrong()
    }

    /// Whether it says something else of a brick than its bytes, which are whole: it was
    /// forged, or made of something else.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        self.members.iter().any(|member| member.at_odds)
    }

    /// Whether all parity files are there and whole.
    #[must_use]
    pub fn parity_is_sound(&self) -> bool {
        self.files_missing == 0 && self.files.iter().all(|file| file.whole)
    }

    /// The fewest further bricks whose loss it survives, if nothing else is damaged.
    #[must_use]
    pub fn bricks_to_spare(&self) -> u64 {
        let mut shape = self.description.shape.clone();
        shape.recovery = u32::try_from(self.margin).unwrap_or(0);
        let whole: Vec<Member> = self
            .members
            .iter()
            .filter(|state| state.whole().is_some())
            .map(|state| state.member)
            .collect();
        shape.members = whole;
        shape.members_to_spare() as u64
    }

    /// How a set is cut.
    pub(super) const fn shape(&self) -> &Shape {
        &self.description.shape
    }

    /// The recovery shards of a stripe that are whole.
    pub(super) fn have(&self, stripe: u32) -> impl Iterator<Item = (usize, &ParityFile)> {
        let recovery = self.shape().recovery as usize;
        let start = stripe as usize * recovery;
        let sources = self.recovery.get(start..start + recovery);
        let sources = sources.unwrap_or_default().iter().enumerate();
        sources.filter_map(|(number, file)| {
            let file = self.heads.get(usize::from((*file)?))?;
            Some((number, file))
        })
    }
}

/// Reads the members and the parity files of a set.
///
/// # Errors
/// [`Error::Interrupted`]. What cannot be read counts as damaged.
pub(super) fn examine(
    id: SetId,
    description: Description,
    heads: Vec<ParityFile>,
    places: &Places,
    pool: &ThreadPool,
    monitor: &Monitor,
) -> Result<SetState> {
    let shape = &description.shape;
    let mut starts = Vec::with_capacity(shape.members.len());
    let mut next = 0;
    for member in &shape.members {
        let count = usize::try_from(shape.shards(member.length)).unwrap_or(usize::MAX);
        starts.push(next..next + count);
        next += count;
    }
    let each = |(member, range): (&Member, std::ops::Range<usize>)| {
        let checks = description.shards.get(range).unwrap_or_default();
        member_state(shape, *member, checks, places, monitor)
    };
    let members: Result<Vec<_>> =
        pool.install(|| shape.members.par_iter().zip(starts).map(each).collect());
    let mut state = SetState {
        id,
        members: members?,
        files: Vec::new(),
        files_missing: 0,
        margin: 0,
        full_margin: shape.recovery,
        recovery: vec![None; description.recovery.len()],
        description,
        heads,
    };
    read_parity(&mut state, monitor)?;
    judge(&mut state);
    Ok(state)
}

/// Looks at all files that have the member's name.
fn member_state(
    shape: &Shape,
    member: Member,
    checks: &[ShardCheck],
    places: &Places,
    monitor: &Monitor,
) -> Result<MemberState> {
    let mut state = MemberState {
        member,
        copies: Vec::new(),
        sources: vec![NOWHERE; checks.len()],
        lost: 0,
        at_odds: false,
        repairable: true,
    };
    let mut fits = false;
    let paths = places.copies_of(&member.name).into_iter();
    for ((path, own), number) in paths.zip(0..NOWHERE) {
        let mut good = 0;
        let whole = scan(shape, member, checks, &path, monitor, |shard| {
            good += 1;
            if let Some(source) = state.sources.get_mut(shard) {
                *source = number.min(*source);
            }
        })?;
        let length = fs::metadata(&path).map_or(0, |found| found.len());
        fits |= whole && good == checks.len() && length == member.length;
        state.copies.push(Copy { path, whole, own });
    }
    if fits {
        state.sources = Vec::new();
    }
    state.at_odds = state.whole().is_some() && !fits;
    let lost = state.sources.iter().filter(|source| **source == NOWHERE);
    state.lost = lost.count() as u64;
    Ok(state)
}

/// Reads a file that has a member's name: calls `good` for each shard that is whole, and
/// returns whether the file is.
fn scan(
    shape: &Shape,
    member: Member,
    checks: &[ShardCheck],
    path: &PathBuf,
    monitor: &Monitor,
    mut good: impl FnMut(usize),
) -> Result<bool> {
    let Ok(file) = File::open(path) else {
        return Ok(false);
    };
    let shard_length = shape.shard_length as usize;
    let shards = (PIECE / shard_length).max(1);
    let mut buffer = vec![0; shards * shard_length];
    let mut hasher = blake3::Hasher::new();
    let length = file.metadata().map_or(0, |found| found.len());
    let mut whole = length == member.length;
    for (piece, checks) in checks.chunks(shards).enumerate() {
        monitor.check()?;
        let first = piece * shards;
        let offset = first as u64 * shard_length as u64;
        let expected = (member.length - offset).min(buffer.len() as u64);
        let mut bytes = buffer
            .get_mut(..usize::try_from(expected).unwrap_or(0))
            .unwrap_or_default();
        match read_at(&file, bytes, offset) {
            Ok(length) if length == bytes.len() => {
                hasher.update(bytes);
            }
            Ok(length) => {
                whole = false;
                bytes = bytes.get_mut(..length).unwrap_or_default();
            }
            // A sector that cannot be read costs its shard, not those around it.
            Err(_) => {
                whole = false;
                for (number, slot) in bytes.chunks_mut(shard_length).enumerate() {
                    let at = offset + (number * shard_length) as u64;
                    if !read_at(&file, slot, at).is_ok_and(|length| length == slot.len()) {
                        slot.fill(0);
                    }
                }
            }
        }
        for ((number, bytes), check) in bytes.chunks(shard_length).enumerate().zip(checks) {
            let length = shape.length_of_shard(member.length, (first + number) as u64);
            if bytes.len() == length && shard_check(bytes) == *check {
                good(first + number);
            }
        }
        Monitor::add(&monitor.stream, expected);
    }
    if length != member.length {
        // The brick may be what its name says, and the set be wrong about it.
        return has_hash(path, member.name.as_bytes(), monitor);
    }
    Ok(whole && hasher.finalize().as_bytes() == member.name.as_bytes())
}

/// Looks at the recovery shards in all files of the set.
fn read_parity(state: &mut SetState, monitor: &Monitor) -> Result<()> {
    for number in 0..state.heads.len() {
        let Some(file) = state.heads.get(number) else {
            break;
        };
        let mut whole = has_hash(&file.path, file.name.as_bytes(), monitor)?;
        let found = whole_recovery(&state.description, file, monitor)?;
        let shape = &state.description.shape;
        let wanted = u64::from(shape.stripes) * u64::from(file.head.count);
        whole &= found.len() as u64 == wanted;
        let source = u16::try_from(number).ok();
        state.files.push(FileState {
            path: file.path.clone(),
            name: file.name,
            own: file.own,
            first: file.head.first,
            whole,
        });
        for index in found {
            if let Some(known) = state.recovery.get_mut(index) {
                *known = known.or(source);
            }
        }
    }
    let files = &state.files;
    let missing = state
        .description
        .shape
        .files()
        .filter(|(first, _)| files.iter().all(|file| file.first != *first));
    state.files_missing = missing.count() as u64;
    Ok(())
}

/// The recovery shards of a file that are whole, by their place in the description.
fn whole_recovery(
    description: &Description,
    file: &ParityFile,
    monitor: &Monitor,
) -> Result<Vec<usize>> {
    let shape = &description.shape;
    let mut found = Vec::new();
    let Ok(opened) = File::open(&file.path) else {
        return Ok(found);
    };
    let mut buffer = vec![0; shape.shard_length as usize];
    for stripe in 0..shape.stripes {
        monitor.check()?;
        for number in file.head.first..file.head.first + file.head.count {
            let index = stripe as usize * shape.recovery as usize + number as usize;
            let offset = file.head.offset_of(stripe, number);
            let read = read_at(&opened, &mut buffer, offset);
            let is_whole = read.is_ok_and(|length| length == buffer.len())
                && description.recovery.get(index) == Some(&shard_check(&buffer));
            if is_whole {
                found.push(index);
            }
        }
    }
    Ok(found)
}

/// Says what can be brought back.
fn judge(state: &mut SetState) {
    let shape = &state.description.shape;
    let count = |stripe: u32| i64::try_from(state.have(stripe).count()).unwrap_or(0);
    let mut left: Vec<i64> = (0..shape.stripes).map(count).collect();
    for stripe in state.members.iter().flat_map(|member| lost(shape, member)) {
        if let Some(left) = left.get_mut(stripe) {
            *left -= 1;
        }
    }
    for member in &mut state.members {
        let mut stripes = lost(shape, member);
        let repairable = stripes.all(|stripe| left.get(stripe).is_some_and(|left| *left >= 0));
        drop(stripes);
        member.repairable = repairable || member.whole().is_some();
    }
    state.margin = left.into_iter().min().unwrap_or(0);
}

/// The stripes of a member's lost shards, one by one.
fn lost<'a>(shape: &'a Shape, member: &'a MemberState) -> impl Iterator<Item = usize> + 'a {
    let shards = shape.shards(member.member.length);
    let sources = (0_u64..).zip(&member.sources);
    sources
        .filter(|(_, source)| **source == NOWHERE)
        .filter_map(move |(shard, _)| usize::try_from(shape.stripe_of(shards, shard)).ok())
}

/// The sources of a member's shards in a stripe; none if any can be read from a whole copy.
pub(super) fn part_of<'a>(shape: &Shape, member: &'a MemberState, stripe: u32) -> &'a [u8] {
    let part = shape.part(shape.shards(member.member.length), stripe);
    let place = |shard: u64| usize::try_from(shard).unwrap_or(usize::MAX);
    let sources = member.sources.get(place(part.start)..place(part.end));
    sources.unwrap_or_default()
}

/// What to say of a copy that changed between two looks.
pub(super) fn changed(path: &std::path::Path) -> Error {
    Error::Damaged(format!(
        "{}: changed while it was read; start again",
        path.display()
    ))
}
