//! Where bricks and parity files lie: in a store, on a tape's worth of bricks in a plain
//! folder, and in further places that are only read.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Exit, Result};
use crate::id::{BrickName, Class, ParityName};
use crate::store::atomic::{self, TempFile};
use crate::store::guard::refuse_links_to;
use crate::store::layout::{Layout, places_of_brick};
use crate::store::{Store, is_missing};

const BRICK: &str = "brick";
const PARITY: &str = "parity";

/// The folder that is worked on, and further places.
#[derive(Debug, Clone)]
pub struct Places {
    dir: PathBuf,
    extra: Vec<PathBuf>,
    /// Whether bricks stand in `bricks/ab/` and `meta/ab/`, rather than side by side.
    is_store: bool,
    /// Whether it is a store in use, in which `tmp/` is dtar's.
    has_config: bool,
    /// The run that works on it, and its folder for files in the making.
    run: Option<PathBuf>,
}

/// A file with a brick's name.
pub(super) struct Found {
    pub(super) name: BrickName,
    pub(super) path: PathBuf,
    /// Of the file, in bytes.
    pub(super) length: u64,
    /// Where the folder says it.
    pub(super) class: Option<Class>,
}

impl Places {
    /// The folder `dir`, a store or a plain folder of bricks, and folders in which bricks
    /// and parity files may be too; nothing is written there.
    ///
    /// # Errors
    /// [`Error::Refused`] if `dir` is no folder; [`Error::Io`] if that cannot be told.
    pub fn new(dir: &Path, extra: &[PathBuf]) -> Result<Self> {
        for dir in extra.iter().map(PathBuf::as_path).chain([dir]) {
            let found = fs::metadata(dir).map_err(Error::io("open the folder", dir))?;
            if !found.is_dir() {
                return Err(Error::Refused {
                    path: dir.to_owned(),
                    message: "expected a folder of bricks, found something else".into(),
                    exit: Exit::Failed,
                });
            }
        }
        let signs = ["store.toml", "bricks", "meta", "tocs"];
        Ok(Self {
            is_store: signs.iter().any(|sign| dir.join(sign).exists()),
            has_config: Store::stands_in(dir)?,
            dir: dir.to_owned(),
            extra: extra.to_vec(),
            run: None,
        })
    }

    /// The store `dir`, worked on by a run that has the folder `run`.
    pub(crate) fn of_run(dir: &Path, run: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            extra: Vec::new(),
            is_store: true,
            has_config: true,
            run: Some(run.to_owned()),
        }
    }

    /// The same, with one more place.
    pub(super) fn with(&self, further: Option<&Path>) -> Self {
        let mut places = self.clone();
        places.extra.extend(further.map(Path::to_owned));
        places
    }

    /// The folder that is worked on.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where files in the making stand. What is called `tmp` outside of a store is the
    /// user's.
    pub(super) fn temp_dir(&self) -> PathBuf {
        let layout = Layout::new(&self.dir);
        if self.has_config {
            layout.temp_dir()
        } else {
            layout.foreign_temp_dir()
        }
    }

    /// Removes what is left of commands that were cut off, under the lock; and makes the
    /// folder of parity files durable, which one of them may have made and not synced.
    pub(super) fn remove_stale(&self) -> Result<()> {
        atomic::sync_dir(&self.dir)?;
        let dir = self.temp_dir();
        let removed = if self.has_config {
            atomic::remove_stale(&dir)
        } else {
            atomic::remove_remains(&dir)
        };
        removed.map(|_| ())
    }

    /// Begins a file that will get its name later.
    pub(super) fn temp_file(&self) -> Result<TempFile> {
        match &self.run {
            // It must not be made again: that would undo the end of the run.
            Some(dir) => TempFile::create_in(dir),
            None => TempFile::create(&self.temp_dir()),
        }
    }

    /// Removes the folder for files in the making, unless it is a store's, or in use.
    pub(super) fn leave(&self) {
        if !self.has_config {
            // It stays if anything is in it; nothing depends on it.
            let _ = fs::remove_dir(self.temp_dir());
        }
    }

    /// Refuses to write or delete a file of the folder by way of a link.
    pub(super) fn guard(&self, file: &Path) -> Result<()> {
        refuse_links_to(&self.dir, file)
    }

    /// Where a brick belongs.
    pub(super) fn home_of(&self, name: &BrickName, class: Class) -> PathBuf {
        if self.is_store {
            Layout::new(&self.dir).brick_path(name, class)
        } else {
            self.dir.join(format!("{name}.{BRICK}"))
        }
    }

    /// Where a parity file belongs.
    pub(super) fn home_of_parity(&self, name: &ParityName) -> PathBuf {
        let mut path = self.dir.join(PARITY);
        path.push(format!("{:02x}", name.as_bytes()[0]));
        path.push(format!("{name}.{PARITY}"));
        path
    }

    /// All places, and whether each is the folder itself, of which alone something may be
    /// replaced: it may lie in one of the others, or one of them in it.
    fn all(&self) -> impl Iterator<Item = (&PathBuf, bool)> {
        let extra = self.extra.iter().map(|dir| (dir, false));
        std::iter::once((&self.dir, true)).chain(extra)
    }

    /// The files that have a brick's name, the folder's own first, and whether they are its
    /// own. What is found in two ways counts once.
    pub(super) fn copies_of(&self, name: &BrickName) -> Vec<(PathBuf, bool)> {
        let (mut copies, mut seen) = (Vec::new(), HashSet::new());
        for (dir, own) in self.all() {
            for path in places_of_brick(dir, name) {
                if path.is_file() && seen.insert(true_path(&path)) {
                    copies.push((path, own));
                }
            }
        }
        copies
    }

    /// The bricks in the folder.
    pub(super) fn bricks(&self) -> Result<Vec<Found>> {
        let layout = Layout::new(&self.dir);
        let mut found = Vec::new();
        let known =
            [Class::Data, Class::Metadata].map(|class| (layout.bricks_dir(class), Some(class)));
        let plain = (!self.is_store).then(|| (self.dir.clone(), None));
        for (dir, class) in known.into_iter().chain(plain) {
            each_file(&dir, BRICK, |name: BrickName, path, length| {
                found.push(Found {
                    name,
                    path,
                    length,
                    class,
                });
            })?;
        }
        Ok(found)
    }

    /// The parity files in all places, the folder's own first, and whether they are its own.
    pub(super) fn parity_files(&self) -> Result<Vec<(ParityName, PathBuf, bool)>> {
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        for (dir, own) in self.all() {
            for dir in [dir.clone(), dir.join(PARITY)] {
                each_file(&dir, PARITY, |name: ParityName, path, _| {
                    if seen.insert(true_path(&path)) {
                        found.push((name, path, own));
                    }
                })?;
            }
        }
        Ok(found)
    }
}

/// The one path of a file that may be found in several ways.
fn true_path(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Calls `each` for the files `NAME.ending` in `dir`, and in the folders of two hex digits
/// in it, with name, path and length.
fn each_file<N: std::str::FromStr>(
    dir: &Path,
    ending: &str,
    mut each: impl FnMut(N, PathBuf, u64),
) -> Result<()> {
    let mut visit = |name: &str, path: PathBuf, length: u64| {
        let stem = name
            .strip_suffix(ending)
            .and_then(|stem| stem.strip_suffix('.'));
        if let Some(Ok(name)) = stem.map(str::parse) {
            each(name, path, length);
        }
    };
    let mut shards = Vec::new();
    list(dir, |name, path| {
        let is_shard = name.len() == 2 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        match fs::metadata(&path) {
            Ok(found) if found.is_dir() && is_shard => shards.push(path),
            Ok(found) if found.is_file() => visit(name, path, found.len()),
            _ => {}
        }
    })?;
    shards.sort_unstable();
    for shard in shards {
        list(&shard, |name, path| {
            if let Ok(found) = fs::metadata(&path)
                && found.is_file()
            {
                visit(name, path, found.len());
            }
        })?;
    }
    Ok(())
}

/// Calls `each` for what stands in a folder, sorted by name. A folder that is not there
/// is empty.
fn list(dir: &Path, mut each: impl FnMut(&str, PathBuf)) -> Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if is_missing(&error) => return Ok(()),
        Err(error) => return Err(Error::io("list", dir)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("list", dir))?;
        names.extend(entry.file_name().to_str().map(str::to_owned));
    }
    names.sort_unstable();
    for name in names {
        each(&name, dir.join(&name));
    }
    Ok(())
}
