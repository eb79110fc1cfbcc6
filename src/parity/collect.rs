//! What becomes of the sets when bricks are deleted on purpose
//! (`formats/collection.md#parity`).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::add::{Paths, USUAL_GROUP, protect};
use super::places::Places;
use super::plan::{Share, shapes};
use super::sets::{Known, known, superfluous};
use crate::archive::Monitor;
use crate::error::{Error, Result};
use crate::format::brick::MAX_LENGTH;
use crate::format::gone::Gone;
use crate::format::parity::Member;
use crate::id::{BrickName, Class, SetId};
use crate::store::atomic::sync_dir;
use crate::threads;

/// A set that is kept though members of it were given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptSet {
    /// The set.
    pub id: SetId,
    /// How many of its members were given up.
    pub given_up: u64,
    /// Members that only this set can bring back: they are not here, or damaged.
    pub bricks: Vec<BrickName>,
}

/// What was done, or would be.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Remade {
    /// Sets that go, because members of them were given up, or because another has all of
    /// theirs.
    pub(crate) old_sets: u64,
    /// Sets in their place.
    pub(crate) new_sets: u64,
    /// Bytes of bricks that are read for this.
    pub(crate) read: u64,
    /// Bytes of recovery shards that are made.
    pub(crate) parity: u64,
}

/// The sets of a store, and what is to be done to them.
pub(crate) struct Collection<'a> {
    places: &'a Places,
    known: Vec<Known>,
    /// The sets with members that were given up, and these.
    affected: BTreeMap<SetId, Vec<BrickName>>,
    /// Sets that others make superfluous.
    superfluous: Vec<SetId>,
    /// The shares at which other, complete sets have a brick: the largest.
    covered: HashMap<BrickName, Share>,
    /// What is to be put in new sets, by name, and the share that it had.
    wanted: BTreeMap<BrickName, (Member, Share)>,
    paths: Paths,
    /// Lists of sets of which there is nothing else.
    stray_lists: Vec<PathBuf>,
}

impl<'a> Collection<'a> {
    /// Looks at all sets. `given_up` says which bricks were deleted on purpose, or are
    /// about to be. None if nothing is to be done.
    pub(crate) fn find(
        places: &'a Places,
        given_up: &mut dyn FnMut(&BrickName) -> Result<bool>,
    ) -> Result<Option<Self>> {
        let (known, _) = known(places)?;
        let ids: HashSet<SetId> = known.iter().map(|set| set.id).collect();
        let lists = places.gone_lists()?.into_iter();
        let stray = lists.filter(|(set, _)| !ids.contains(set));
        let mut collection = Self {
            places,
            affected: BTreeMap::new(),
            superfluous: Vec::new(),
            covered: HashMap::new(),
            wanted: BTreeMap::new(),
            paths: Paths::new(),
            stray_lists: stray.map(|(_, path)| path).collect(),
            known: Vec::new(),
        };
        let mut others = Vec::new();
        for set in known {
            let mut gone = Vec::new();
            for member in &set.shape.members {
                if given_up(&member.name)? {
                    gone.push(member.name);
                }
            }
            if gone.is_empty() {
                others.push(set);
            } else {
                collection.affected.insert(set.id, gone);
                collection.known.push(set);
            }
        }
        collection.superfluous = superfluous(&others);
        collection.note_covered(&others);
        collection.known.extend(others);
        collection.note_wanted();
        let is_idle = collection.affected.is_empty()
            && collection.superfluous.is_empty()
            && collection.stray_lists.is_empty();
        Ok((!is_idle).then_some(collection))
    }

    fn note_covered(&mut self, others: &[Known]) {
        for set in others.iter().filter(|set| set.is_complete) {
            for member in &set.shape.members {
                let share = self.covered.entry(member.name).or_insert(set.share());
                *share = set.share().max(*share);
            }
        }
    }

    /// The members that stay, and that no other set has.
    fn note_wanted(&mut self) {
        let affected = self
            .known
            .iter()
            .filter(|set| self.affected.contains_key(&set.id));
        let (mut wanted, mut paths) = (BTreeMap::new(), Paths::new());
        for set in affected {
            let share = set.share();
            for member in self.staying(set) {
                let path = self.places.home_of(&member.name, member.class);
                let found = fs::metadata(&path);
                if !found.is_ok_and(|found| found.is_file() && found.len() == member.length) {
                    continue;
                }
                let entry = wanted.entry(member.name).or_insert((*member, share));
                entry.1 = share.max(entry.1);
                paths.insert(member.name, path);
            }
        }
        (self.wanted, self.paths) = (wanted, paths);
    }

    /// The members of a set that were not given up, and that no other set has as well.
    fn staying<'b>(&'b self, set: &'b Known) -> impl Iterator<Item = &'b Member> {
        let gone = self.affected.get(&set.id);
        let share = set.share();
        set.shape.members.iter().filter(move |member| {
            let is_gone = gone.is_some_and(|gone| gone.binary_search(&member.name).is_ok());
            let covered = self.covered.get(&member.name);
            !is_gone && covered.is_none_or(|covered| *covered < share)
        })
    }

    /// Takes in bricks that stand in for members that were given up.
    pub(crate) fn join(&mut self, bricks: &[BrickName]) {
        let affected = self
            .known
            .iter()
            .filter(|set| self.affected.contains_key(&set.id));
        let Some(share) = affected.map(Known::share).max() else {
            return;
        };
        for name in bricks {
            for class in [Class::Data, Class::Metadata] {
                let path = self.places.home_of(name, class);
                let length = fs::metadata(&path).map_or(0, |found| found.len());
                if (1..=MAX_LENGTH).contains(&length) {
                    let member = Member {
                        class,
                        name: *name,
                        length,
                    };
                    self.wanted.insert(*name, (member, share));
                    self.paths.insert(*name, path);
                }
            }
        }
    }

    /// What is to be put in new sets, by share.
    fn groups(&self) -> BTreeMap<Share, Vec<Member>> {
        let mut groups: BTreeMap<Share, Vec<Member>> = BTreeMap::new();
        for (member, share) in self.wanted.values() {
            groups.entry(*share).or_default().push(*member);
        }
        groups
    }

    /// Most members of a new set: as many as there were in one, or as are usual.
    fn group_size(&self) -> usize {
        let sizes = self.known.iter().map(|set| set.shape.members.len());
        sizes.max().unwrap_or(0).max(USUAL_GROUP)
    }

    /// What would be done.
    pub(crate) fn estimate(&self) -> (Remade, Vec<KeptSet>) {
        let mut remade = Remade::default();
        for (share, members) in self.groups() {
            remade.read += members.iter().map(|member| member.length).sum::<u64>();
            for shape in shapes(members, self.group_size(), share) {
                remade.new_sets += 1;
                remade.parity += shape.total_recovery() * u64::from(shape.shard_length);
            }
        }
        let fresh = self.wanted.keys().copied().collect();
        let kept = self.kept(&fresh);
        remade.old_sets = self.removed(&kept).count() as u64;
        (remade, kept)
    }

    /// Publishes the new sets: before anything is deleted.
    pub(crate) fn make(self, monitor: &Monitor) -> Result<Made<'a>> {
        let pool = threads::pool(0)?;
        let mut remade = Remade::default();
        let mut fresh = HashSet::new();
        let group = self.group_size();
        for (share, members) in self.groups() {
            let mut publish = |set: super::encode::Encoded| {
                let shape = &set.description.shape;
                remade.new_sets += 1;
                remade.read += shape
                    .members
                    .iter()
                    .map(|member| member.length)
                    .sum::<u64>();
                remade.parity += shape.total_recovery() * u64::from(shape.shard_length);
                fresh.extend(shape.members.iter().map(|member| member.name));
                for (name, file) in set.files {
                    file.publish(&self.places.home_of_parity(&name))?;
                }
                Ok(())
            };
            let work = (self.places, &*pool, monitor);
            protect(members, &self.paths, (group, share), work, &mut publish)?;
        }
        let kept = self.kept(&fresh);
        remade.old_sets = self.removed(&kept).count() as u64;
        Ok(Made {
            collection: self,
            remade,
            kept,
        })
    }

    /// The sets with members that stay and are in no other, nor in `fresh`.
    fn kept(&self, fresh: &HashSet<BrickName>) -> Vec<KeptSet> {
        let mut kept = Vec::new();
        for set in &self.known {
            let Some(gone) = self.affected.get(&set.id) else {
                continue;
            };
            let names = self.staying(set).map(|member| member.name);
            let bricks: Vec<_> = names.filter(|name| !fresh.contains(name)).collect();
            if !bricks.is_empty() {
                kept.push(KeptSet {
                    id: set.id,
                    given_up: gone.len() as u64,
                    bricks,
                });
            }
        }
        kept
    }

    /// The sets that go.
    fn removed(&self, kept: &[KeptSet]) -> impl Iterator<Item = &Known> {
        let goes = |set: &&Known| {
            let is_affected = self.affected.contains_key(&set.id);
            is_affected && kept.iter().all(|kept| kept.id != set.id)
                || self.superfluous.contains(&set.id)
        };
        self.known.iter().filter(goes)
    }
}

/// A collection whose new sets stand.
pub(crate) struct Made<'a> {
    collection: Collection<'a>,
    pub(crate) remade: Remade,
    pub(crate) kept: Vec<KeptSet>,
}

impl Made<'_> {
    /// Deletes the old sets, durably, and lists what was given up of those that are kept:
    /// once what was given up is gone. `delete` deletes a file, and says whether it was
    /// there.
    pub(crate) fn finish(&self, delete: &mut dyn FnMut(&Path) -> Result<bool>) -> Result<()> {
        let Self {
            collection, kept, ..
        } = self;
        for KeptSet { id, .. } in kept {
            if let Some(gone) = collection.affected.get(id) {
                write_list(collection.places, *id, gone)?;
            }
        }
        let mut folders = HashSet::new();
        let mut remove = |path: &Path| -> Result<()> {
            if delete(path)? {
                folders.extend(path.parent().map(PathBuf::from));
            }
            Ok(())
        };
        for set in collection.removed(kept) {
            for path in &set.files {
                remove(path)?;
            }
            remove(&collection.places.home_of_gone(&set.id))?;
        }
        for path in &collection.stray_lists {
            remove(path)?;
        }
        folders.iter().try_for_each(|folder| sync_dir(folder))
    }
}

/// Says which members of a set were given up, unless that stands there already.
fn write_list(places: &Places, set: SetId, bricks: &[BrickName]) -> Result<()> {
    if places.gone(&set) == bricks {
        return Ok(());
    }
    let path = places.home_of_gone(&set);
    let bricks = bricks.to_vec();
    let mut file = places.temp_file()?;
    file.write_all(&Gone { set, bricks }.encode())
        .map_err(Error::io("write", &path))?;
    file.publish(&path)
}
