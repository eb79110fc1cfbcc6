//! What becomes of the sets when bricks are deleted on purpose
//! (`formats/collection.md#parity`).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::add::{Paths, USUAL_GROUP, protect};
use super::encode::Encoded;
use super::places::Places;
use super::plan::{Share, shapes};
use super::sets::{Known, doubt_damaged, known, superfluous};
use crate::archive::Monitor;
use crate::error::Result;
use crate::format::brick::MAX_LENGTH;
use crate::format::parity::{Member, Shape};
use crate::id::{BrickName, Class, SetId};
use crate::store::atomic::sync_dir;
use crate::threads;

/// A set that nothing can take the place of, so that its bricks must stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptSet {
    /// The set.
    pub id: SetId,
    /// Bricks in it that nobody needs, and that are kept for its sake.
    pub held: Vec<BrickName>,
    /// Bricks that only this set can bring back: they are not here, or damaged.
    pub bricks: Vec<BrickName>,
    /// Its parity files.
    pub files: Vec<PathBuf>,
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

impl Remade {
    fn add(&mut self, shape: &Shape) {
        self.new_sets += 1;
        self.read += shape.member_bytes();
        self.parity += shape.recovery_bytes();
    }
}

/// A set with members that were given up.
struct Affected {
    set: Known,
    given_up: Vec<BrickName>,
}

impl Affected {
    fn staying(&self) -> impl Iterator<Item = &Member> {
        let stays = |member: &&Member| self.given_up.binary_search(&member.name).is_err();
        self.set.shape.members.iter().filter(stays)
    }
}

/// The sets of a store, and what is to be done to them.
pub(crate) struct Collection<'a> {
    places: &'a Places,
    affected: Vec<Affected>,
    kept: Vec<KeptSet>,
    /// Sets whose members all stay.
    others: Vec<Known>,
    /// Those of them that yet others make superfluous.
    superfluous: HashSet<SetId>,
    /// The largest share at which complete sets that stay have a brick.
    covered: HashMap<BrickName, Share>,
    /// What is to be put in new sets, by name, and the share that it had.
    wanted: BTreeMap<BrickName, (Member, Share)>,
    paths: Paths,
    /// Most members of a new set: as many as there were in one, or as are usual.
    group: usize,
}

impl<'a> Collection<'a> {
    /// Looks at all sets. `given_up` says which bricks were deleted on purpose, or are
    /// about to be. None if nothing is to be done.
    pub(crate) fn find(
        places: &'a Places,
        monitor: &Monitor,
        given_up: &mut dyn FnMut(&BrickName) -> Result<bool>,
    ) -> Result<Option<Self>> {
        let (mut known, _) = known(places)?;
        doubt_damaged(&mut known, monitor)?;
        let sizes = known.iter().map(|set| set.shape.members.len());
        let mut collection = Self {
            places,
            group: sizes.max().unwrap_or(0).max(USUAL_GROUP),
            affected: Vec::new(),
            kept: Vec::new(),
            others: Vec::new(),
            superfluous: HashSet::new(),
            covered: HashMap::new(),
            wanted: BTreeMap::new(),
            paths: Paths::new(),
        };
        let (mut affected, mut others) = (Vec::new(), Vec::new());
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
                let given_up = gone;
                affected.push(Affected { set, given_up });
            }
        }
        collection.superfluous = superfluous(&others).into_iter().collect();
        for set in &others {
            if !collection.superfluous.contains(&set.id) {
                collection.cover(set);
            }
        }
        collection.others = others;
        for set in affected {
            collection.sort(set);
        }
        collection.note_wanted();
        let is_idle = collection.affected.is_empty()
            && collection.kept.is_empty()
            && collection.superfluous.is_empty();
        Ok((!is_idle).then_some(collection))
    }

    /// Notes what a set protects that stays.
    fn cover(&mut self, set: &Known) {
        if !set.is_complete {
            return;
        }
        for member in &set.shape.members {
            let share = self.covered.entry(member.name).or_insert(set.share());
            *share = set.share().max(*share);
        }
    }

    fn is_covered(&self, member: &Member, share: Share) -> bool {
        let covered = self.covered.get(&member.name);
        covered.is_some_and(|covered| *covered >= share)
    }

    /// Says whether a set can be replaced, or must be kept because of members that are
    /// not here.
    fn sort(&mut self, affected: Affected) {
        let share = affected.set.share();
        let is_needed =
            |member: &&Member| !self.is_covered(member, share) && self.path_of(member).is_none();
        let needed = affected.staying().filter(is_needed);
        let bricks: Vec<_> = needed.map(|member| member.name).collect();
        if bricks.is_empty() {
            self.affected.push(affected);
        } else {
            self.cover(&affected.set);
            self.kept.push(KeptSet {
                id: affected.set.id,
                held: affected.given_up,
                bricks,
                files: affected.set.files,
            });
        }
    }

    /// Where a member stands, at its full length.
    fn path_of(&self, member: &Member) -> Option<PathBuf> {
        let path = self.places.home_of(&member.name, member.class);
        let found = fs::metadata(&path).ok()?;
        (found.is_file() && found.len() == member.length).then_some(path)
    }

    /// The members that stay of sets that others do not cover: all of them, for in a
    /// larger set they are better off.
    fn note_wanted(&mut self) {
        let (mut wanted, mut paths) = (BTreeMap::new(), Paths::new());
        for affected in &self.affected {
            let share = affected.set.share();
            if affected
                .staying()
                .all(|member| self.is_covered(member, share))
            {
                continue;
            }
            for member in affected.staying() {
                if let Some(path) = self.path_of(member) {
                    let entry = wanted.entry(member.name).or_insert((*member, share));
                    entry.1 = share.max(entry.1);
                    paths.insert(member.name, path);
                }
            }
        }
        (self.wanted, self.paths) = (wanted, paths);
    }

    /// Takes in bricks that stand in for members that were given up.
    pub(crate) fn join(&mut self, bricks: &[BrickName]) {
        let shares = self.affected.iter().map(|affected| affected.set.share());
        let Some(share) = shares.max() else {
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

    /// What would be done, if all bricks that are here are sound.
    pub(crate) fn estimate(self) -> (Remade, Vec<KeptSet>) {
        let mut remade = Remade::default();
        for (share, members) in self.groups() {
            for shape in shapes(members, self.group, share) {
                remade.add(&shape);
            }
        }
        remade.old_sets = (self.affected.len() + self.superfluous.len()) as u64;
        (remade, self.kept)
    }

    /// Publishes the new sets: before anything is deleted.
    pub(crate) fn make(mut self, monitor: &Monitor) -> Result<Made> {
        let pool = threads::pool(0)?;
        let mut remade = Remade::default();
        let (mut damaged, mut fresh) = (Vec::new(), Vec::new());
        for (share, members) in self.groups() {
            let mut publish = |set: Encoded| {
                remade.add(&set.description.shape);
                fresh.push((set.id, share, set.description.shape.members));
                let mut files = set.files.into_iter();
                files.try_for_each(|(name, file)| {
                    let home = self.places.home_of_parity(&name);
                    self.places.guard(&home)?;
                    file.publish(&home)
                })
            };
            let (how, work) = ((self.group, share), (self.places, &*pool, monitor));
            let bad = protect(members, &self.paths, how, work, &mut publish)?;
            damaged.extend(bad.into_iter().map(|(name, _)| name));
        }
        let mut old = Vec::new();
        for set in self.others {
            let serves = |(id, share, members): &(SetId, Share, Vec<Member>)| {
                *id != set.id && *share >= set.share() && set.is_within(members)
            };
            if self.superfluous.contains(&set.id) || fresh.iter().any(serves) {
                old.push(set);
            }
        }
        for Affected { set, given_up } in self.affected {
            let is_needed = |name: &&BrickName| {
                let covered = self.covered.get(*name);
                set.has(name) && covered.is_none_or(|covered| *covered < set.share())
            };
            let bricks: Vec<_> = damaged.iter().filter(is_needed).copied().collect();
            if bricks.is_empty() {
                old.push(set);
            } else {
                self.kept.push(KeptSet {
                    id: set.id,
                    held: given_up,
                    bricks,
                    files: set.files,
                });
            }
        }
        remade.old_sets = old.len() as u64;
        Ok(Made {
            old: old.into_iter().flat_map(|set| set.files).collect(),
            kept: self.kept,
            remade,
        })
    }
}

/// A collection whose new sets stand.
pub(crate) struct Made {
    old: Vec<PathBuf>,
    /// The sets that stay as they are, with all their members.
    pub(crate) kept: Vec<KeptSet>,
    pub(crate) remade: Remade,
}

impl Made {
    /// Deletes the old sets, durably: once what was given up is gone. `delete` deletes a
    /// file, and says whether it was there.
    pub(crate) fn finish(&self, delete: &mut dyn FnMut(&Path) -> Result<bool>) -> Result<()> {
        let mut folders = HashSet::new();
        for path in &self.old {
            if delete(path)? {
                folders.extend(path.parent().map(PathBuf::from));
            }
        }
        folders.iter().try_for_each(|folder| sync_dir(folder))
    }
}
