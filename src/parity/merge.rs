//! Small sets become part of large ones, which survive more for the same share.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::add::{AddOptions, Paths};
use super::places::Places;
use super::sets::{Known, superfluous};
use crate::error::{Error, Result};
use crate::format::parity::Member;
use crate::id::{BrickName, SetId};
use crate::store::atomic::sync_dir;

/// Sets that may be merged.
pub(super) struct Small<'a> {
    sets: Vec<&'a Known>,
    /// Sets all of whose members another has.
    superfluous: Vec<&'a Known>,
    paths: Paths,
}

/// The sets with less than half as many members as a set may have, of which all stand,
/// and whose share is no larger than that which is asked for.
pub(super) fn small<'a>(known: &'a [Known], places: &Places, options: &AddOptions) -> Small<'a> {
    let mut small = Small {
        sets: Vec::new(),
        superfluous: Vec::new(),
        paths: Paths::new(),
    };
    if !options.merge {
        return small;
    }
    let served: HashSet<SetId> = superfluous(known).into_iter().collect();
    for set in known {
        let members = &set.shape.members;
        if served.contains(&set.id) {
            small.superfluous.push(set);
        } else if members.len() * 2 < options.group && set.share() <= options.share {
            let path = |member: &Member| Some((member.name, standing(member, places)?));
            let paths: Option<Vec<_>> = members.iter().map(path).collect();
            if let Some(paths) = paths {
                small.sets.push(set);
                small.paths.extend(paths);
            }
        }
    }
    small
}

/// Where a member stands in the folder, at its full length.
fn standing(member: &Member, places: &Places) -> Option<PathBuf> {
    let copies = places.copies_of(&member.name).into_iter();
    let mut paths = copies.map(|(path, _)| path);
    paths.find(|path| fs::metadata(path).is_ok_and(|found| found.len() == member.length))
}

impl Small<'_> {
    /// Whether merging them makes fewer sets; `alone`: there are no bricks that are in none.
    pub(super) fn merges(&self, alone: bool) -> bool {
        self.sets.len() > usize::from(alone)
    }

    pub(super) fn take(&self, members: &mut Vec<Member>, paths: &mut Paths) {
        members.extend(
            self.sets
                .iter()
                .flat_map(|set| set.shape.members.iter().copied()),
        );
        for (name, path) in &self.paths {
            paths.insert(*name, path.clone());
        }
    }

    /// Deletes those sets of which `made` has all members, and those that others make
    /// superfluous; returns how many.
    pub(super) fn remove(&self, places: &Places, made: &[(SetId, Vec<Member>)]) -> Result<u64> {
        let mut ids = HashSet::new();
        let mut fresh: HashSet<BrickName> = HashSet::new();
        for (id, members) in made {
            ids.insert(*id);
            fresh.extend(members.iter().map(|member| member.name));
        }
        let is_merged = |set: &&&Known| {
            let mut members = set.shape.members.iter();
            !ids.contains(&set.id) && members.all(|member| fresh.contains(&member.name))
        };
        let merged = self.sets.iter().filter(is_merged).chain(&self.superfluous);
        let (mut count, mut folders) = (0, HashSet::new());
        for set in merged.filter(|set| !ids.contains(&set.id)) {
            count += 1;
            for path in &set.files {
                places.guard(path)?;
                if delete(path)? {
                    folders.extend(path.parent().map(PathBuf::from));
                }
            }
        }
        folders.iter().try_for_each(|folder| sync_dir(folder))?;
        Ok(count)
    }
}

fn delete(path: &Path) -> Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("delete", path)(error)),
    }
}
