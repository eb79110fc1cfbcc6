//! What of a store is not in a set yet, in the order in which it goes there.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::SystemTime;

use super::header::MAX_BODY;
use super::write::Member;
use crate::archive::Monitor;
use crate::crypto::PutKeys;
use crate::error::{Error, Exit, Result};
use crate::format::container::MemberName;
use crate::format::origins::Origins;
use crate::format::toc::Toc;
use crate::id::{BrickName, Class, ParityName};
use crate::parity;
use crate::store::layout::{Layout, RunName};
use crate::store::{Store, is_missing};

/// What a set has already.
#[derive(Debug, Default)]
pub(crate) struct InSet {
    hashes: HashSet<[u8; 16]>,
    /// Of roots.
    runs: HashSet<RunName>,
}

impl InSet {
    pub(crate) fn add(&mut self, name: &MemberName) {
        match name {
            MemberName::Brick(name) | MemberName::Meta(name) => {
                self.hashes.insert(half(&name.0));
            }
            MemberName::Parity(name) => {
                self.hashes.insert(half(&name.0));
            }
            MemberName::Root(run) => {
                self.runs.insert(run.clone());
            }
            MemberName::Sidecar(_) | MemberName::Snapshot(_) => {}
        }
    }

    pub(crate) fn has_brick(&self, name: &BrickName) -> bool {
        self.hashes.contains(&half(&name.0))
    }

    fn has_parity(&self, name: &ParityName) -> bool {
        self.hashes.contains(&half(&name.0))
    }
}

/// Half of a hash: no two bricks or parity files have the same.
fn half(hash: &[u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash[..16]);
    half
}

/// A brick and its sidecar.
#[derive(Debug, Clone)]
pub(crate) struct Brick {
    pub(crate) brick: Member,
    pub(crate) sidecar: Option<Member>,
}

impl Brick {
    /// What of it becomes members.
    pub(crate) fn both(&self) -> Vec<Member> {
        let both = std::iter::once(&self.brick).chain(&self.sidecar);
        both.cloned().collect()
    }
}

/// What is to be packed.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) bricks: VecDeque<Brick>,
    /// Runs whose roots are not in the set, the oldest first.
    pub(crate) runs: Vec<RunName>,
    /// Parity files, and the bricks that they serve.
    pub(crate) parity: Vec<(Member, Vec<BrickName>)>,
    /// Bricks that no root needs.
    pub(crate) unneeded: u64,
    /// Bricks that are longer than a container can hold, and why that is so.
    pub(crate) too_long: Vec<(PathBuf, Error)>,
    /// Bricks that are wanted, and neither in the store nor in the set.
    pub(crate) missing: HashSet<BrickName>,
}

/// Which bricks are to be packed.
pub(crate) enum Wanted<'a> {
    /// Those that roots need; of runs after this one, if there is one.
    Runs(Option<&'a RunName>),
    /// These, in this order.
    These(Vec<BrickName>),
}

/// By brick, those that frames of it were put into, by gc or a rebuild.
pub(crate) type Carriers = HashMap<BrickName, Vec<BrickName>>;

/// Which bricks of a store hold frames of which others.
pub(crate) fn carriers(store: &Store, keys: &PutKeys, monitor: &Monitor) -> Result<Carriers> {
    let mut carriers = Carriers::new();
    let (mut names, mut bytes) = (Vec::new(), Vec::new());
    for shard in 0..=u8::MAX {
        names.clear();
        store.layout().sidecar_names(shard, &mut names)?;
        for name in &names {
            monitor.check()?;
            let toc = match store.read_sidecar(keys, name, &mut bytes) {
                Err(Error::Io { ref source, .. }) if is_missing(source) => continue,
                Err(error @ Error::Io { .. }) => return Err(error),
                // One that does not open is for verify to report.
                toc => toc.ok(),
            };
            let origins = toc.as_ref().and_then(Toc::origins);
            for old in origins.map_or(&[][..], Origins::bricks) {
                carriers.entry(*old).or_default().push(*name);
            }
        }
    }
    Ok(carriers)
}

pub(crate) struct Gather<'a> {
    pub(crate) store: &'a Store,
    pub(crate) keys: &'a PutKeys,
    pub(crate) in_set: &'a InSet,
    pub(crate) carriers: &'a Carriers,
}

impl Gather<'_> {
    fn layout(&self) -> &Layout {
        self.store.layout()
    }

    pub(crate) fn queue(&self, wanted: Wanted<'_>, with_parity: bool) -> Result<Queue> {
        let mut queue = Queue::default();
        let mut seen = HashSet::new();
        let runs = self.layout().runs()?;
        match wanted {
            Wanted::These(bricks) => {
                for name in self.with_carriers(bricks)? {
                    self.push(&name, &mut seen, &mut queue)?;
                }
            }
            Wanted::Runs(since) => {
                if let Some(since) = since {
                    // What that run needs is left out, whoever needs it too.
                    let root = self
                        .root(since)?
                        .ok_or_else(|| gone(self.layout(), since))?;
                    seen.extend(root);
                }
                for run in runs
                    .iter()
                    .filter(|run| since.is_none_or(|since| *run > since))
                {
                    let Some(bricks) = self.root(run)? else {
                        continue;
                    };
                    for name in self.by_age(bricks, &seen, &mut queue.missing)? {
                        self.push(&name, &mut seen, &mut queue)?;
                    }
                }
                if since.is_none() {
                    for class in [Class::Data, Class::Metadata] {
                        self.layout().each_brick(class, |name, _| {
                            let is_left = !seen.contains(&name) && !self.in_set.has_brick(&name);
                            queue.unneeded += u64::from(is_left);
                            Ok(())
                        })?;
                    }
                }
            }
        }
        queue.runs = runs
            .into_iter()
            .filter(|run| !self.in_set.runs.contains(run))
            .collect();
        if with_parity {
            for file in parity::files(self.layout().path())? {
                if !self.in_set.has_parity(&file.name) {
                    let member = Member {
                        name: MemberName::Parity(file.name),
                        path: file.path,
                        length: file.length,
                    };
                    queue.parity.push((member, file.members));
                }
            }
        }
        Ok(queue)
    }

    /// The bricks that a run needs, those that its root names and those that take their
    /// place; nothing, if it was forgotten a moment ago.
    pub(crate) fn root(&self, run: &RunName) -> Result<Option<Vec<BrickName>>> {
        let path = self.layout().root_path(run);
        match self.store.read_root(self.keys, &path, run.time) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            root => {
                let named = root?.bricks.into_iter().map(|(name, _)| name);
                self.with_carriers(named.collect()).map(Some)
            }
        }
    }

    /// These bricks, and behind each that is neither in the set nor in the store, or that
    /// is marked as damaged, those that frames of it were moved to.
    fn with_carriers(&self, bricks: Vec<BrickName>) -> Result<Vec<BrickName>> {
        let mut all = Vec::with_capacity(bricks.len());
        for name in bricks {
            all.push(name);
            if let Some(carriers) = self.carriers.get(&name)
                && !self.in_set.has_brick(&name)
                && (self.find(&name)?.is_none()
                    || metadata(&self.layout().mark_path(&name))?.is_some())
            {
                all.extend(carriers);
            }
        }
        Ok(all)
    }

    /// In the order in which they were written, which is that in which their run reads them:
    /// by the times of their files, as far as these were kept.
    /// Those that are nowhere are `missing`, unless others have what was in them.
    fn by_age(
        &self,
        bricks: Vec<BrickName>,
        seen: &HashSet<BrickName>,
        missing: &mut HashSet<BrickName>,
    ) -> Result<Vec<BrickName>> {
        let mut aged: Vec<(SystemTime, BrickName)> = Vec::new();
        for name in bricks.into_iter().filter(|name| !seen.contains(name)) {
            let Some((_, _, found)) = self.find(&name)? else {
                if !self.in_set.has_brick(&name) && !self.carriers.contains_key(&name) {
                    missing.insert(name);
                }
                continue;
            };
            let time = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            aged.push((time, name));
        }
        aged.sort_unstable();
        Ok(aged.into_iter().map(|(_, name)| name).collect())
    }

    /// A brick's file in the store.
    fn find(&self, name: &BrickName) -> Result<Option<(Class, PathBuf, fs::Metadata)>> {
        for class in [Class::Data, Class::Metadata] {
            let path = self.layout().brick_path(name, class);
            if let Some(found) = metadata(&path)? {
                return Ok(Some((class, path, found)));
            }
        }
        Ok(None)
    }

    fn push(
        &self,
        name: &BrickName,
        seen: &mut HashSet<BrickName>,
        queue: &mut Queue,
    ) -> Result<()> {
        if !seen.insert(*name) || self.in_set.has_brick(name) {
            return Ok(());
        }
        let Some((class, path, found)) = self.find(name)? else {
            if !self.carriers.contains_key(name) {
                queue.missing.insert(*name);
            }
            return Ok(());
        };
        if found.len() > MAX_BODY {
            let error = Error::Refused {
                path: path.clone(),
                message: format!(
                    "{} bytes: longer than a member of a container can be, {MAX_BODY} at most; it \
                     is left out, and its runs wait. Put this brick where you want it as a file, \
                     and archive with a smaller --brick-size",
                    found.len()
                ),
                exit: Exit::Failed,
            };
            queue.too_long.push((path, error));
            return Ok(());
        }
        let sidecar = self.layout().toc_path(name);
        let sidecar = metadata(&sidecar)?.map(|found| Member {
            name: MemberName::Sidecar(*name),
            path: sidecar,
            length: found.len(),
        });
        let brick = Member {
            name: MemberName::brick(class, *name),
            path,
            length: found.len(),
        };
        queue.bricks.push_back(Brick { brick, sidecar });
        Ok(())
    }

    /// Root and snapshot of a run, if all bricks that the root names are in the set, or
    /// nowhere in the store.
    pub(crate) fn run_members(
        &self,
        run: &RunName,
        has: &dyn Fn(&BrickName) -> bool,
    ) -> Result<Option<Vec<Member>>> {
        let Some(bricks) = self.root(run)? else {
            return Ok(Some(Vec::new()));
        };
        for name in &bricks {
            if !has(name) && self.find(name)?.is_some() {
                return Ok(None);
            }
        }
        let mut members = Vec::new();
        let files = [
            (
                MemberName::Snapshot(run.clone()),
                self.layout().snapshot_path(run),
            ),
            (MemberName::Root(run.clone()), self.layout().root_path(run)),
        ];
        for (name, path) in files {
            if let Some(found) = metadata(&path)? {
                members.push(Member {
                    name,
                    path,
                    length: found.len(),
                });
            }
        }
        Ok(Some(members))
    }
}

fn metadata(path: &std::path::Path) -> Result<Option<fs::Metadata>> {
    match fs::metadata(path) {
        Ok(found) => Ok(found.is_file().then_some(found)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(Error::io("look at", path)(error)),
    }
}

fn gone(layout: &Layout, run: &RunName) -> Error {
    Error::Refused {
        path: layout.root_path(run),
        message: "this run was forgotten; name another with --since".into(),
        exit: Exit::Failed,
    }
}
