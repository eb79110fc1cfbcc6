//! Finds the parity files, and reads what they say of their sets.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use super::places::Places;
use super::plan::Share;
use super::read::{hash_file, read_at};
use crate::archive::Monitor;
use crate::error::{Error, Result};
use crate::format::parity::{Description, HEAD_LENGTH, Head, Member, Shape};
use crate::id::{BrickName, ParityName, SetId};

/// A parity file of which a head is whole.
#[derive(Debug, Clone)]
pub(super) struct ParityFile {
    pub(super) path: PathBuf,
    pub(super) name: ParityName,
    /// Whether it stands in the folder itself.
    pub(super) own: bool,
    pub(super) head: Head,
}

impl ParityFile {
    fn has_full_length(&self) -> bool {
        let found = std::fs::metadata(&self.path);
        found.is_ok_and(|found| found.len() == self.head.file_length())
    }
}

/// What was found of one set.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: SetId,
    pub(super) files: Vec<ParityFile>,
}

/// A parity file that is of no use.
#[derive(Debug)]
pub struct Unusable {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// A set that files tell of.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) id: SetId,
    pub(super) shape: Shape,
    pub(super) files: Vec<PathBuf>,
    /// Whether all its files stand, at their full lengths.
    pub(super) is_complete: bool,
}

/// A parity file, and the bricks that it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetFile {
    /// BLAKE3-256 of its bytes, if it is whole.
    pub name: ParityName,
    /// The file.
    pub path: PathBuf,
    /// In bytes.
    pub length: u64,
    /// Ascending.
    pub members: Vec<BrickName>,
}

/// The parity files of a store or a folder of bricks whose descriptions can be read.
///
/// # Errors
/// [`Error::Io`].
pub fn files(dir: &Path) -> Result<Vec<SetFile>> {
    let (groups, _) = find(&Places::new(dir, &[])?)?;
    let mut found = Vec::new();
    for mut group in groups {
        let (description, _) = group.describe();
        let Some(Description { shape, .. }) = description else {
            continue;
        };
        let members: Vec<_> = shape.members.iter().map(|member| member.name).collect();
        found.extend(group.files.into_iter().map(|file| SetFile {
            name: file.name,
            path: file.path,
            length: file.head.file_length(),
            members: members.clone(),
        }));
    }
    Ok(found)
}

/// The sets that files tell of, without the checks of their shards.
pub(super) fn known(places: &Places) -> Result<(Vec<Known>, Vec<Unusable>)> {
    let (groups, mut unusable) = find(places)?;
    let mut sets = Vec::new();
    for mut group in groups {
        let (description, others) = group.describe();
        unusable.extend(others);
        if let Some(Description { shape, .. }) = description {
            let stands = |first| {
                let mut files = group.files.iter();
                files.any(|file| file.head.first == first && file.has_full_length())
            };
            sets.push(Known {
                id: group.id,
                is_complete: shape.files().all(|(first, _)| stands(first)),
                files: group.files.into_iter().map(|file| file.path).collect(),
                shape,
            });
        }
    }
    Ok((sets, unusable))
}

impl Known {
    pub(super) fn has(&self, name: &BrickName) -> bool {
        let members = &self.shape.members;
        members
            .binary_search_by_key(name, |member| member.name)
            .is_ok()
    }

    /// Whether all its members are among these, which are ascending by name.
    pub(super) fn is_within(&self, members: &[Member]) -> bool {
        let name = |member: &Member| member.name;
        let mut own = self.shape.members.iter();
        own.all(|member| members.binary_search_by_key(&member.name, name).is_ok())
    }

    pub(super) fn share(&self) -> Share {
        Share::of_set(&self.shape)
    }
}

/// Looks at the files of complete sets that have members of others: only if their bytes are
/// what their names say may others be deleted because of them.
pub(super) fn doubt_damaged(sets: &mut [Known], monitor: &Monitor) -> Result<()> {
    let mut counts: HashMap<BrickName, u32> = HashMap::new();
    for member in sets.iter().flat_map(|set| &set.shape.members) {
        *counts.entry(member.name).or_default() += 1;
    }
    for set in sets.iter_mut().filter(|set| set.is_complete) {
        let mut members = set.shape.members.iter();
        if members.any(|member| counts.get(&member.name) > Some(&1)) {
            set.is_complete = are_named(&set.files, monitor)?;
        }
    }
    Ok(())
}

/// Whether parity files have the hashes that their names say.
fn are_named(files: &[PathBuf], monitor: &Monitor) -> Result<bool> {
    for path in files {
        let name = path.file_stem().and_then(|name| name.to_str());
        let name: Option<ParityName> = name.and_then(|name| name.parse().ok());
        match hash_file(path, monitor) {
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Ok(hash) if name == Some(ParityName(hash)) => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// Those sets that others make superfluous: another complete set has all their members,
/// and no smaller share.
pub(super) fn superfluous(sets: &[Known]) -> Vec<SetId> {
    let mut having: HashMap<BrickName, Vec<&Known>> = HashMap::new();
    for set in sets.iter().filter(|set| set.is_complete) {
        for member in &set.shape.members {
            having.entry(member.name).or_default().push(set);
        }
    }
    let serves = |set: &Known, other: &Known| {
        let rank = |set: &Known| {
            (
                set.shape.members.len(),
                set.is_complete,
                set.share(),
                set.id,
            )
        };
        rank(set) < rank(other)
            && set.share() <= other.share()
            && set.is_within(&other.shape.members)
    };
    let is_served = |set: &&Known| {
        let first = set.shape.members.first();
        let others = first.and_then(|member| having.get(&member.name));
        others.into_iter().flatten().any(|other| serves(set, other))
    };
    sets.iter().filter(is_served).map(|set| set.id).collect()
}

/// The sets of which a parity file is there, in the order of their ids, and the files
/// that are of no use.
pub(super) fn find(places: &Places) -> Result<(Vec<Group>, Vec<Unusable>)> {
    let mut groups: BTreeMap<SetId, Vec<ParityFile>> = BTreeMap::new();
    let mut unusable = Vec::new();
    for (name, path, own) in places.parity_files()? {
        match read_head(&path) {
            Ok(head) => groups.entry(head.set).or_default().push(ParityFile {
                path,
                name,
                own,
                head,
            }),
            Err(error) => unusable.push(Unusable {
                path,
                reason: error.to_string(),
            }),
        }
    }
    let group = |(id, files)| Group { id, files };
    Ok((groups.into_iter().map(group).collect(), unusable))
}

/// The head at the start of a file, or the one at its end.
fn read_head(path: &Path) -> Result<Head> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let length = file.metadata().map_err(Error::io("read", path))?.len();
    let front = head_at(&file, path, 0);
    let back = length.saturating_sub(HEAD_LENGTH as u64);
    front.or_else(|error| head_at(&file, path, back).map_err(|_| error))
}

fn head_at(file: &File, path: &Path, offset: u64) -> Result<Head> {
    let mut bytes = [0; HEAD_LENGTH];
    let length = read_at(file, &mut bytes, offset).map_err(Error::io("read", path))?;
    let bytes = bytes.get(..length).unwrap_or_default();
    Head::decode(bytes).map_err(Error::decode(path, offset))
}

impl Group {
    /// The description, from the first place where it is whole.
    ///
    /// Files that say of themselves what cannot be in this set are taken out of the group
    /// and returned.
    pub(super) fn describe(&mut self) -> (Option<Description>, Vec<Unusable>) {
        let mut found = None;
        let mut reasons = Vec::new();
        for file in &self.files {
            match description_in(file) {
                Ok(description) => {
                    found = Some(description);
                    break;
                }
                Err(error) => reasons.push(Unusable {
                    path: file.path.clone(),
                    reason: error.to_string(),
                }),
            }
        }
        let Some(description) = found else {
            return (None, reasons);
        };
        let fits = |file: &ParityFile| fits(&file.head, &description.shape);
        let (files, others): (Vec<_>, Vec<_>) = self.files.drain(..).partition(fits);
        self.files = files;
        let unusable = |file: ParityFile| Unusable {
            path: file.path,
            reason: "its head does not agree with the description of its set".into(),
        };
        let others = others.into_iter().map(unusable).collect();
        (Some(description), others)
    }
}

/// Whether such a file belongs to a set of this shape.
fn fits(head: &Head, shape: &Shape) -> bool {
    head.shard_length == shape.shard_length
        && head.stripes == shape.stripes
        && head.first.is_multiple_of(shape.per_file)
        && head.first < shape.recovery
        && head.count == shape.per_file.min(shape.recovery - head.first)
}

/// The description in a file: the first one, or the second.
fn description_in(file: &ParityFile) -> Result<Description> {
    let ParityFile { path, head, .. } = file;
    let opened = File::open(path).map_err(Error::io("open", path))?;
    let length = opened.metadata().map_err(Error::io("read", path))?.len();
    let front = description_at(&opened, path, head, HEAD_LENGTH as u64, length);
    front.or_else(|error| {
        description_at(&opened, path, head, head.end_of_shards(), length).map_err(|_| error)
    })
}

/// `length` is that of the file: no more is allocated than it has.
fn description_at(
    file: &File,
    path: &Path,
    head: &Head,
    offset: u64,
    length: u64,
) -> Result<Description> {
    let damaged = |what| Error::Damaged(format!("{}: its description is {what}", path.display()));
    if offset.saturating_add(head.description_length) > length {
        return Err(damaged("cut short"));
    }
    let size = usize::try_from(head.description_length).map_err(|_| damaged("too long"))?;
    let mut bytes = vec![0; size];
    let read = read_at(file, &mut bytes, offset).map_err(Error::io("read", path))?;
    if read != size || blake3::hash(&bytes).as_bytes() != head.set.as_bytes() {
        return Err(damaged("damaged"));
    }
    Description::decode(&bytes).map_err(Error::decode(path, offset))
}
