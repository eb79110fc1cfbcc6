//! Brings back lost and damaged bricks, then parity files.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rayon::ThreadPool;

use super::aside;
use super::examine::{Copy, FileState, MemberState, SetState};
use super::places::Places;
use super::read::hash_file;
use super::rebuild::rebuild;
use crate::archive::Monitor;
use crate::error::{Error, Result};
use crate::format::parity::Member;
use crate::id::BrickName;
use crate::store::atomic::TempFile;

/// How to repair.
#[derive(Debug, Clone, Default)]
pub struct RepairOptions {
    /// Write bricks that were brought back into this folder, and leave all else alone.
    pub to: Option<PathBuf>,
    /// Keep a damaged brick beside the sound one, with `.damaged` behind its name, or
    /// `.damaged.2` and so on.
    pub keep_damaged: bool,
}

/// What became of one set.
#[derive(Debug, Default)]
pub struct Repaired {
    /// Bricks that were brought back, and where they stand now.
    pub bricks: Vec<(BrickName, PathBuf)>,
    /// Bricks that came back wrong.
    pub not_back: Vec<(BrickName, String)>,
    /// Parity files that were made again.
    pub files: Vec<PathBuf>,
    /// What could not be done, and why.
    pub failed: Vec<String>,
}

/// How many bricks are brought back at a time: each takes an open file.
const AT_ONCE: usize = 64;

/// Repairs one set, of which `state` says what is there.
///
/// # Errors
/// [`Error::Io`]; [`Error::Interrupted`]; [`Error::Damaged`] if files change meanwhile.
/// What is in place is whole, whenever it ends, and `done` says what that is.
pub(super) fn repair_set(
    state: &SetState,
    places: &Places,
    options: &RepairOptions,
    pool: &ThreadPool,
    monitor: &Monitor,
    done: &mut Repaired,
) -> Result<()> {
    let repair = Repair {
        places,
        options,
        monitor,
    };
    let mut paths: Vec<Option<PathBuf>> = state
        .members
        .iter()
        .map(|member| member.whole().cloned())
        .collect();
    let members = state.members.iter().enumerate();
    let wanted = members.filter(|(_, member)| is_wanted(member));
    let wanted: Vec<usize> = wanted.map(|(number, _)| number).collect();
    for some in wanted.chunks(AT_ONCE) {
        for (number, path) in repair.bricks(state, some, pool, done)? {
            if let Some(known) = paths.get_mut(number) {
                *known = Some(path);
            }
        }
    }
    if state.is_wrong() {
        done.failed.push(format!(
            "set {}: wrong about bricks that are whole, and cannot be put in order: remove its \
             parity files and run `dtar parity add`",
            state.id
        ));
    }
    if options.to.is_none() {
        repair.replace_copies(state, &paths, done)?;
        if !state.is_wrong() {
            repair.parity(state, paths, pool, done)?;
        }
    } else if !state.parity_is_sound() {
        done.failed.push(format!(
            "set {}: its parity files are missing or damaged, and left alone: repair makes them \
             only without --to",
            state.id
        ));
    }
    Ok(())
}

/// Whether a member is to be brought back, and can be.
fn is_wanted(member: &MemberState) -> bool {
    member.whole().is_none() && member.repairable
}

struct Repair<'a> {
    places: &'a Places,
    options: &'a RepairOptions,
    monitor: &'a Monitor,
}

impl Repair<'_> {
    /// Where files are made: on the file system where they will stand.
    fn temp_dir(&self) -> PathBuf {
        let to = self.options.to.clone();
        to.unwrap_or_else(|| self.places.temp_dir())
    }

    /// Brings back the members of these numbers, and says where they stand.
    fn bricks(
        &self,
        state: &SetState,
        wanted: &[usize],
        pool: &ThreadPool,
        done: &mut Repaired,
    ) -> Result<Vec<(usize, PathBuf)>> {
        let mut back = Vec::new();
        for (number, file) in rebuild(state, wanted, &self.temp_dir(), pool, self.monitor)? {
            let Some(member) = state.members.get(number) else {
                continue;
            };
            let name = member.member.name;
            if hash_file(file.path(), self.monitor)? != *name.as_bytes() {
                let why = format!(
                    "brick {name}: what came back has another hash than its name; the parity was \
                     forged, or made of something else; nothing is changed"
                );
                done.not_back.push((name, why));
                continue;
            }
            let path = self.put(file, member)?;
            done.bricks.push((name, path.clone()));
            back.push((number, path));
        }
        Ok(back)
    }

    /// Gives a brick its name, and returns its path.
    fn put(&self, file: TempFile, member: &MemberState) -> Result<PathBuf> {
        let Member { name, class, .. } = member.member;
        if let Some(to) = &self.options.to {
            let path = to.join(format!("{name}.brick"));
            file.publish(&path)?;
            return Ok(path);
        }
        let damaged = member.damaged().find(|copy| copy.own);
        let home = || self.places.home_of(&name, class);
        let path = damaged.map_or_else(home, |copy| copy.path.clone());
        self.places.guard(&path)?;
        if damaged.is_some() {
            self.set_aside(&path)?;
        }
        file.publish(&path)?;
        Ok(path)
    }

    /// Keeps a damaged file, if that is wanted, under another name.
    fn set_aside(&self, path: &Path) -> Result<()> {
        if self.options.keep_damaged {
            aside::keep(path, &self.places.temp_dir())
        } else {
            Ok(())
        }
    }

    /// Replaces further damaged copies in the folder by whole ones.
    fn replace_copies(
        &self,
        state: &SetState,
        paths: &[Option<PathBuf>],
        done: &mut Repaired,
    ) -> Result<()> {
        for (member, whole) in state.members.iter().zip(paths) {
            let Some(whole) = whole else {
                continue;
            };
            for Copy { path, own, .. } in member.damaged().filter(|copy| copy.path != *whole) {
                if !own {
                    done.failed.push(left_alone(path));
                    continue;
                }
                let file = self.copy(whole)?;
                if hash_file(file.path(), self.monitor)? != *member.member.name.as_bytes() {
                    return Err(super::examine::changed(whole));
                }
                self.places.guard(path)?;
                self.set_aside(path)?;
                file.publish(path)?;
                done.bricks.push((member.member.name, path.clone()));
            }
        }
        Ok(())
    }

    fn copy(&self, from: &Path) -> Result<TempFile> {
        let mut source = fs::File::open(from).map_err(Error::io("open", from))?;
        let mut file = TempFile::create(&self.places.temp_dir())?;
        std::io::copy(&mut source, &mut file).map_err(Error::io("copy", from))?;
        Ok(file)
    }

    /// Makes the parity files that are missing or damaged, if all members are whole.
    fn parity(
        &self,
        state: &SetState,
        paths: Vec<Option<PathBuf>>,
        pool: &ThreadPool,
        done: &mut Repaired,
    ) -> Result<()> {
        if state.parity_is_sound() {
            return Ok(());
        }
        let paths: Option<Vec<PathBuf>> = paths.into_iter().collect();
        let Some(paths) = paths else {
            done.failed.push(format!(
                "set {}: its parity files cannot be made again while bricks are missing",
                state.id
            ));
            return Ok(());
        };
        let shape = state.shape();
        let made =
            super::add::make_again(state.id, shape, &paths, self.places, pool, self.monitor)?;
        let Some(made) = made else {
            done.failed.push(format!(
                "set {}: its parity does not follow from its bricks: it was forged. Remove its \
                 files and run `dtar parity add`",
                state.id
            ));
            return Ok(());
        };
        for ((name, file), (first, _)) in made.files.into_iter().zip(shape.files()) {
            let of_part = || state.files.iter().filter(|file| file.first == first);
            let damaged = of_part().find(|file| !file.whole && file.name == name && file.own);
            if damaged.is_none() && of_part().any(|file| file.whole) {
                continue;
            }
            let path = damaged.map_or_else(
                || self.places.home_of_parity(&name),
                |file| file.path.clone(),
            );
            self.places.guard(&path)?;
            file.publish(&path)?;
            done.files.push(path);
        }
        for FileState { path, own, .. } in state.files.iter().filter(|file| !file.whole) {
            if !own {
                done.failed.push(left_alone(path));
            } else if !done.files.contains(path) {
                done.failed.push(format!(
                    "{}: damaged, and no parity file has this name; remove it",
                    path.display()
                ));
            }
        }
        Ok(())
    }
}

/// What to say of a damaged file that is only read.
fn left_alone(path: &Path) -> String {
    format!(
        "{}: damaged, and left alone, for nothing is written there: replace it yourself",
        path.display()
    )
}

/// Writes `bytes` at `offset` of a file in the making.
pub(super) fn write_at(file: &mut TempFile, offset: u64, bytes: &[u8]) -> Result<()> {
    let sought = file.seek(SeekFrom::Start(offset));
    let written = sought.and_then(|_| file.write_all(bytes));
    written.map_err(Error::io("write", file.path()))
}
