//! Makes sets over the bricks that are in none yet.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use rayon::ThreadPool;

use super::encode::{Bad, Encoded, Outcome, encode};
use super::lock::Lock;
use super::merge;
use super::places::{Found, Places};
use super::plan::{Share, shapes};
use super::read::{has_hash, read_at};
use super::sets::{self, Unusable};
use crate::archive::Monitor;
use crate::error::{Error, Result};
use crate::format::brick::{BrickHeader, HEADER_LENGTH, MAX_LENGTH};
use crate::format::parity::{Member, Shape};
use crate::id::{BrickName, Class};
use crate::threads;

/// How to make sets.
#[derive(Debug, Clone, Copy)]
pub struct AddOptions {
    /// Parity as a part of what it protects.
    pub share: Share,
    /// Most bricks in a set.
    pub group: usize,
    /// Make small sets into large ones.
    pub merge: bool,
}

/// What was made.
#[derive(Debug, Default)]
pub struct AddSummary {
    /// Bricks that were in sets before.
    pub covered: u64,
    /// New sets.
    pub sets: u64,
    /// Bricks in them.
    pub bricks: u64,
    /// The lengths of these bricks together, in bytes.
    pub brick_bytes: u64,
    /// Old sets that became part of new ones, or that others made superfluous.
    pub merged: u64,
    /// New parity files.
    pub files: u64,
    /// Recovery shards in them, in bytes.
    pub parity_bytes: u64,
    /// The fewest bricks whose loss a new set survives, if nothing else is damaged.
    pub bricks_to_spare: Option<u64>,
    /// Bricks that are not what their names say, or cannot be read, and why not: in no set.
    pub damaged: Vec<(PathBuf, Option<std::io::Error>)>,
    /// Parity files that are of no use.
    pub unusable: Vec<Unusable>,
}

/// What `dtar parity add` takes for [`AddOptions::group`] if nothing else is said.
pub(super) const USUAL_GROUP: usize = 100;

/// Makes sets over the bricks of the folder that are in none. A brick counts as covered
/// if any parity file names it, and does not err about the length of one that is whole. `waiting` is called if somebody else changes the parity of
/// the folder at the moment.
///
/// # Errors
/// [`Error::Io`]; [`Error::Interrupted`]. What was published before stays, and is whole.
pub fn add(
    places: &Places,
    options: &AddOptions,
    monitor: &Monitor,
    waiting: &mut dyn FnMut(),
) -> Result<AddSummary> {
    places.guard(&places.temp_dir().join("*"))?;
    let lock = Lock::take(&places.temp_dir(), monitor, waiting)?;
    places.remove_stale()?;
    let mut summary = AddSummary::default();
    let (mut known, unusable) = sets::known(places)?;
    if options.merge {
        sets::doubt_damaged(&mut known, monitor)?;
    }
    summary.unusable = unusable;
    let small = merge::small(&known, places, options);
    let mut covered = Covered::new();
    for set in &known {
        for member in &set.shape.members {
            covered.entry(member.name).or_default().push(member.length);
        }
    }
    let (mut members, mut paths) = uncovered(places, &covered, monitor, &mut summary)?;
    let merged = small.merges(members.is_empty());
    if merged {
        small.take(&mut members, &mut paths);
    }
    let total: u64 = members.iter().map(|member| member.length).sum();
    monitor.total.store(total, Ordering::Relaxed);
    let pool = threads::pool(0)?;
    let mut made = Vec::new();
    let mut publish = |set: Encoded| {
        made.push((set.id, set.description.shape.members.clone()));
        publish(set, places, &mut summary)
    };
    let how = (options.group, options.share);
    let work = (places, &*pool, monitor);
    let damaged = protect(members, &paths, how, work, &mut publish)?;
    for (name, error) in damaged {
        summary
            .damaged
            .extend(paths.get(&name).map(|path| (path.clone(), error)));
    }
    if options.merge {
        summary.merged = small.remove(places, if merged { &made } else { &[] })?;
    }
    drop(lock);
    places.leave();
    Ok(summary)
}

/// Puts members into new sets, of which `how` says the most members and the share, and
/// hands these to `publish`. Returns the members that are damaged.
pub(super) fn protect(
    members: Vec<Member>,
    paths: &Paths,
    how: (usize, Share),
    (places, pool, monitor): (&Places, &ThreadPool, &Monitor),
    publish: &mut dyn FnMut(Encoded) -> Result<()>,
) -> Result<Vec<(BrickName, Option<std::io::Error>)>> {
    let (group, share) = how;
    let mut all_damaged = Vec::new();
    let mut groups = shapes(members, group, share);
    groups.reverse();
    while let Some(shape) = groups.pop() {
        match encode(&shape, &paths_of(&shape, paths), places, pool, monitor)? {
            Outcome::Done(set) => publish(set)?,
            Outcome::Damaged(damaged) => {
                let rest = without(&shape, &damaged);
                for (member, error) in damaged {
                    let member = shape.members.get(member);
                    all_damaged.extend(member.map(|member| (member.name, error)));
                }
                groups.extend(shapes(rest, group, share));
            }
        }
    }
    Ok(all_damaged)
}

/// Where bricks are.
pub(super) type Paths = HashMap<BrickName, PathBuf>;

/// The bricks of sets, with the lengths that these say.
type Covered = HashMap<BrickName, Vec<u64>>;

/// The bricks that are in no set, and where they are. A set that is wrong about a brick's
/// length does not cover it.
fn uncovered(
    places: &Places,
    known: &Covered,
    monitor: &Monitor,
    summary: &mut AddSummary,
) -> Result<(Vec<Member>, Paths)> {
    let (mut members, mut paths) = (Vec::new(), Paths::new());
    for found in places.bricks()? {
        let Found {
            name,
            path,
            length,
            class,
        } = found;
        if paths.contains_key(&name) {
            continue;
        }
        let is_whole = || has_hash(&path, name.as_bytes(), monitor);
        let lengths = known.get(&name);
        if lengths.is_some_and(|lengths| lengths.contains(&length))
            || lengths.is_some() && !is_whole()?
        {
            summary.covered += 1;
        } else if (1..=MAX_LENGTH).contains(&length) {
            let class = class.unwrap_or_else(|| class_of(&path));
            members.push(Member {
                class,
                name,
                length,
            });
            paths.insert(name, path);
        } else {
            summary.damaged.push((path, None));
        }
    }
    Ok((members, paths))
}

/// The class that a brick's header says. Whether it is damaged is found out when it is
/// hashed: until then any will do.
fn class_of(path: &Path) -> Class {
    let mut bytes = [0; HEADER_LENGTH];
    let header = File::open(path)
        .and_then(|file| read_at(&file, &mut bytes, 0))
        .ok()
        .and_then(|_| BrickHeader::decode(&bytes).ok());
    header.map_or(Class::Data, |header| header.class)
}

fn paths_of(shape: &Shape, paths: &Paths) -> Vec<PathBuf> {
    let path = |member: &Member| paths.get(&member.name).cloned().unwrap_or_default();
    shape.members.iter().map(path).collect()
}

fn without(shape: &Shape, damaged: &[Bad]) -> Vec<Member> {
    let members = shape.members.iter().enumerate();
    members
        .filter(|(number, _)| damaged.iter().all(|(member, _)| member != number))
        .map(|(_, member)| *member)
        .collect()
}

fn publish(set: Encoded, places: &Places, summary: &mut AddSummary) -> Result<()> {
    let shape = &set.description.shape;
    summary.sets += 1;
    summary.bricks += shape.members.len() as u64;
    summary.brick_bytes += shape.member_bytes();
    summary.parity_bytes += shape.recovery_bytes();
    let spare = shape.members_to_spare() as u64;
    let least = summary
        .bricks_to_spare
        .map_or(spare, |least| least.min(spare));
    summary.bricks_to_spare = Some(least);
    for (name, file) in set.files {
        let home = places.home_of_parity(&name);
        places.guard(&home)?;
        file.publish(&home)?;
        summary.files += 1;
    }
    Ok(())
}

/// Makes the files of a set again, and returns them if they are the same set.
pub(super) fn make_again(
    set: crate::id::SetId,
    shape: &Shape,
    paths: &[PathBuf],
    places: &Places,
    pool: &ThreadPool,
    monitor: &Monitor,
) -> Result<Option<Encoded>> {
    match encode(shape, paths, places, pool, monitor)? {
        Outcome::Done(made) if made.id == set => Ok(Some(made)),
        Outcome::Done(_) => Ok(None),
        Outcome::Damaged(_) => Err(Error::Damaged(format!(
            "bricks of set {set} changed while they were read; start again"
        ))),
    }
}
