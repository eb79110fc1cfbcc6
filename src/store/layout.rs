//! Where things stand in a store (`formats/store.md`).

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::atomic::TempFile;
use super::{atomic, guard, is_missing};
use crate::brick::{SIDECAR_SEAL_LENGTH, SidecarSeal};
use crate::id::{BrickName, Class, ContainerSetId};
use crate::{Error, Result};

/// The number of folders among which names are spread: one for each first byte.
pub const SHARDS: u16 = 256;

pub(super) const BRICK: &str = "brick";
pub(super) const SIDECAR: &str = "toc";
pub(super) const PARITY: &str = "parity";
pub(super) const ROOT: &str = "root";
pub(super) const SNAPSHOT: &str = "snap";
const DEAD_LIST: &str = "dead";
const CONTAINER_CATALOG: &str = "catalog";

/// What root and snapshot of a run, or its folder, are named: `<time>-<random>`. Ordered
/// by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunName {
    /// When the run ended or, of a folder, began: nanoseconds since 1970.
    pub time: u64,
    /// 16 hex digits.
    random: String,
}

impl RunName {
    /// A new name for a run that ended or began at `time` (nanoseconds since 1970).
    ///
    /// # Errors
    /// [`Error::Io`] if the system has no random bytes.
    pub fn draw(time: u64) -> Result<Self> {
        Ok(Self {
            time,
            random: atomic::random_name(Path::new("the name of a run"))?,
        })
    }

    /// The bytes that the 16 hex digits stand for.
    #[must_use]
    pub fn random(&self) -> [u8; 8] {
        // Nobody makes a name with other digits.
        u64::from_str_radix(&self.random, 16).map_or([0; 8], u64::to_be_bytes)
    }
}

impl fmt::Display for RunName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:020}-{}", self.time, self.random)
    }
}

/// A text is not the name of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 20 digits, a hyphen and 16 hex digits")]
pub struct ParseRunNameError;

impl FromStr for RunName {
    type Err = ParseRunNameError;

    fn from_str(text: &str) -> Result<Self, ParseRunNameError> {
        let (time, random) = text.split_once('-').ok_or(ParseRunNameError)?;
        let digits = time.len() == 20 && time.bytes().all(|byte| byte.is_ascii_digit());
        let hex = random.len() == 16
            && random
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !digits || !hex {
            return Err(ParseRunNameError);
        }
        Ok(Self {
            time: time.parse().map_err(|_| ParseRunNameError)?,
            random: random.to_owned(),
        })
    }
}

/// The paths of one store.
#[derive(Debug, Clone)]
pub struct Layout {
    path: PathBuf,
}

impl Layout {
    /// The paths of the store in the folder `path`, which need not exist.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `store.toml`.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.path.join("store.toml")
    }

    /// `tmp/`: files in the making.
    #[must_use]
    pub fn temp_dir(&self) -> PathBuf {
        self.path.join("tmp")
    }

    /// `.dtar-tmp/`: files in the making where no `store.toml` stands. What is called
    /// `tmp` there may be anybody's.
    #[must_use]
    pub fn foreign_temp_dir(&self) -> PathBuf {
        self.path.join(".dtar-tmp")
    }

    /// The folder of the bricks of a class.
    #[must_use]
    pub fn bricks_dir(&self, class: Class) -> PathBuf {
        self.path.join(match class {
            Class::Data => "bricks",
            Class::Metadata => "meta",
        })
    }

    /// A brick's file.
    #[must_use]
    pub fn brick_path(&self, name: &BrickName, class: Class) -> PathBuf {
        sharded(self.bricks_dir(class), name, BRICK)
    }

    /// The folder of the sidecars.
    #[must_use]
    pub fn tocs_dir(&self) -> PathBuf {
        self.path.join("tocs")
    }

    /// A brick's sidecar.
    #[must_use]
    pub fn toc_path(&self, name: &BrickName) -> PathBuf {
        sharded(self.tocs_dir(), name, SIDECAR)
    }

    /// The folder of the roots.
    #[must_use]
    pub fn roots_dir(&self) -> PathBuf {
        self.path.join("roots")
    }

    /// The file of a run's root.
    #[must_use]
    pub fn root_path(&self, run: &RunName) -> PathBuf {
        self.roots_dir().join(format!("{run}.{ROOT}"))
    }

    /// The folder of the snapshots.
    #[must_use]
    pub fn snapshots_dir(&self) -> PathBuf {
        self.path.join("snapshots")
    }

    /// The file of a run's snapshot.
    #[must_use]
    pub fn snapshot_path(&self, run: &RunName) -> PathBuf {
        self.snapshots_dir().join(format!("{run}.{SNAPSHOT}"))
    }

    /// The folder of the folders of living runs.
    #[must_use]
    pub fn runs_dir(&self) -> PathBuf {
        self.path.join("runs")
    }

    /// The folder of a living run.
    #[must_use]
    pub fn run_dir(&self, run: &RunName) -> PathBuf {
        self.runs_dir().join(run.to_string())
    }

    /// The runs that have a folder, the oldest first.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn leases(&self) -> Result<Vec<RunName>> {
        let mut runs = Vec::new();
        list(&self.runs_dir(), |file, entry| {
            let Ok(run) = file.parse::<RunName>() else {
                return Ok(());
            };
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => runs.push(run),
                Ok(_) => {}
                Err(error) if is_missing(&error) => {}
                // A run must not be overlooked because of a fault.
                Err(error) => return Err(Error::io("look at", entry.path())(error)),
            }
            Ok(())
        })?;
        runs.sort_unstable();
        Ok(runs)
    }

    /// The folder of the dead lists.
    #[must_use]
    pub fn dead_dir(&self) -> PathBuf {
        self.path.join("dead")
    }

    /// The dead list of a gc.
    #[must_use]
    pub fn dead_path(&self, run: &RunName) -> PathBuf {
        self.dead_dir().join(format!("{run}.{DEAD_LIST}"))
    }

    /// The gcs that have a dead list, the oldest first.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn dead_lists(&self) -> Result<Vec<RunName>> {
        named(&self.dead_dir(), DEAD_LIST)
    }

    /// The folder of the catalogs of sets of containers.
    #[must_use]
    pub fn containers_dir(&self) -> PathBuf {
        self.path.join("containers")
    }

    /// The catalog of a set whose last container has this number.
    #[must_use]
    pub fn container_catalog_path(&self, set: &ContainerSetId, number: u32) -> PathBuf {
        self.containers_dir()
            .join(format!("{set}-{number:06}.{CONTAINER_CATALOG}"))
    }

    /// The catalogs of sets of containers: set, number of the last container, file.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder is there and cannot be listed.
    pub fn container_catalogs(&self) -> Result<Vec<(ContainerSetId, u32, PathBuf)>> {
        let mut found = Vec::new();
        list(&self.containers_dir(), |file, entry| {
            if let Some((set, number)) = container_catalog(file) {
                found.push((set, number, entry.path()));
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// The folder of the marks.
    #[must_use]
    pub fn marks_dir(&self) -> PathBuf {
        self.path.join("bad")
    }

    /// The file that marks a brick as damaged: it must not be relied upon any more.
    #[must_use]
    pub fn mark_path(&self, name: &BrickName) -> PathBuf {
        self.marks_dir().join(name.to_string())
    }

    /// Appends the names of the bricks whose sidecars stand in one shard, sorted.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder is there and cannot be listed.
    pub fn sidecar_names(&self, shard: u8, names: &mut Vec<BrickName>) -> Result<()> {
        list(&shard_dir(self.tocs_dir(), shard), |file, _| {
            names.extend(sharded_name(file, SIDECAR, shard));
            Ok(())
        })?;
        names.sort_unstable();
        Ok(())
    }

    /// Makes the names of the sidecars in one shard durable.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sync_sidecars(&self, shard: u8) -> Result<()> {
        atomic::sync_dir_if_there(&shard_dir(self.tocs_dir(), shard))?;
        atomic::sync_dir_if_there(&self.tocs_dir())
    }

    /// Makes the names of all sidecars durable.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sync_all_sidecars(&self) -> Result<()> {
        for shard in 0..=u8::MAX {
            atomic::sync_dir_if_there(&shard_dir(self.tocs_dir(), shard))?;
        }
        atomic::sync_dir_if_there(&self.tocs_dir())
    }

    /// Calls `each` with name and length in bytes of the bricks of a class
    /// that are present, in no order.
    ///
    /// # Errors
    /// [`Error::Io`], and those of `each`.
    pub fn each_brick(
        &self,
        class: Class,
        mut each: impl FnMut(BrickName, u64) -> Result<()>,
    ) -> Result<()> {
        for shard in 0..=u8::MAX {
            list(
                &shard_dir(self.bricks_dir(class), shard),
                |file, entry| match sharded_name(file, BRICK, shard) {
                    Some(name) => each(name, length(entry)?),
                    None => Ok(()),
                },
            )?;
        }
        Ok(())
    }

    /// Calls `each` with path, time (nanoseconds since 1970) and length in
    /// bytes of the roots, in no order.
    ///
    /// # Errors
    /// [`Error::Io`], and those of `each`.
    pub fn each_root(&self, mut each: impl FnMut(PathBuf, u64, u64) -> Result<()>) -> Result<()> {
        list(&self.roots_dir(), |file, entry| {
            match run_name(file, ROOT) {
                Some(run) => each(entry.path(), run.time, length(entry)?),
                None => Ok(()),
            }
        })
    }

    /// The runs that have a root, the oldest first.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn runs(&self) -> Result<Vec<RunName>> {
        named(&self.roots_dir(), ROOT)
    }

    /// The runs that have a snapshot file, the oldest first. One without a root has lost it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn snapshots(&self) -> Result<Vec<RunName>> {
        named(&self.snapshots_dir(), SNAPSHOT)
    }

    /// Whether a brick's sidecar stands.
    ///
    /// # Errors
    /// [`Error::Io`] if that cannot be told.
    pub fn sidecar_stands(&self, name: &BrickName) -> Result<bool> {
        stands(&self.toc_path(name))
    }

    /// Whether a brick or its sidecar stands.
    ///
    /// # Errors
    /// [`Error::Io`] if that cannot be told.
    pub fn anything_stands(&self, name: &BrickName) -> Result<bool> {
        Ok(self.sidecar_stands(name)?
            || stands(&self.brick_path(name, Class::Data))?
            || stands(&self.brick_path(name, Class::Metadata))?)
    }

    /// The seal of a brick's sidecar, unverified; nothing if none stands, or a file too
    /// short for one.
    ///
    /// # Errors
    /// [`Error::Io`] if that cannot be told.
    pub fn sidecar_seal(&self, name: &BrickName) -> Result<Option<SidecarSeal>> {
        let path = self.toc_path(name);
        let mut seal = [0; SIDECAR_SEAL_LENGTH];
        let read = guard::open_file(&path).and_then(|file| {
            let length = file.metadata()?.len();
            let Some(at) = length.checked_sub(seal.len() as u64) else {
                return Ok(false);
            };
            file.read_exact_at(&mut seal, at).map(|()| true)
        });
        match read {
            Ok(whole) => Ok(whole.then_some(SidecarSeal(seal))),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(Error::io("read", path)(error)),
        }
    }

    /// Whether a brick may be relied upon that is on no dead list: its sidecar stands,
    /// and it carries no mark.
    ///
    /// # Errors
    /// [`Error::Io`] if that cannot be told.
    pub fn brick_counts(&self, name: &BrickName) -> Result<bool> {
        Ok(self.sidecar_stands(name)? && !stands(&self.mark_path(name))?)
    }

    /// The bricks that carry a mark, sorted.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder is there and cannot be listed.
    pub fn marked(&self) -> Result<Vec<BrickName>> {
        let mut names = Vec::new();
        list(&self.marks_dir(), |file, _| {
            names.extend(BrickName::from_str(file).ok());
            Ok(())
        })?;
        names.sort_unstable();
        Ok(names)
    }

    /// Marks a brick, durably: its chunks are no longer deduplicated against. A brick
    /// that has the mark keeps it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_mark(&self, name: &BrickName) -> Result<()> {
        let path = self.mark_path(name);
        if stands(&path)? {
            return Ok(());
        }
        let temp_dir = self.temp_dir();
        guard::refuse_links(&self.path, &temp_dir)?;
        guard::refuse_links_to(&self.path, &path)?;
        TempFile::create(&temp_dir)?.publish(&path)
    }

    /// Removes the mark of a brick, durably; one that is gone is no failure.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove_mark(&self, name: &BrickName) -> Result<()> {
        let path = self.mark_path(name);
        guard::refuse_links_to(&self.path, &path)?;
        match fs::remove_file(&path) {
            Err(error) if is_missing(&error) => Ok(()),
            Err(error) => Err(Error::io("remove", path)(error)),
            Ok(()) => atomic::sync_dir(&self.marks_dir()),
        }
    }

    /// Finds a brick in the store, or below one of the folders `extra`, as
    /// `NAME.brick`, `ab/NAME.brick`, `bricks/ab/NAME.brick` or `meta/ab/NAME.brick`.
    ///
    /// # Errors
    /// [`Error::BrickMissing`] with all folders in which it was sought;
    /// [`Error::Io`] if it is there and cannot be opened.
    pub fn find_brick(&self, name: &BrickName, extra: &[PathBuf]) -> Result<(PathBuf, File)> {
        let mut unreadable = None;
        for copy in self.copies_of_brick(name, extra) {
            match copy {
                Ok(found) => return Ok(found),
                Err(error) => unreadable = unreadable.or(Some(error)),
            }
        }
        if let Some(error) = unreadable {
            return Err(error);
        }
        let mut looked_in = vec![
            self.bricks_dir(Class::Data),
            self.bricks_dir(Class::Metadata),
        ];
        looked_in.extend_from_slice(extra);
        Err(Error::BrickMissing {
            name: *name,
            looked_in,
        })
    }

    /// All copies of a brick, in the order in which [`Layout::find_brick`] looks
    /// for one: if a copy is damaged, the next may not be. What is no file is no copy.
    pub fn copies_of_brick(
        &self,
        name: &BrickName,
        extra: &[PathBuf],
    ) -> impl Iterator<Item = Result<(PathBuf, File)>> {
        let here = [Class::Data, Class::Metadata].map(|class| self.brick_path(name, class));
        let elsewhere = extra.iter().flat_map(|dir| places_of_brick(dir, name));
        here.into_iter().chain(elsewhere).filter_map(|path| {
            // Looked at before it is opened: to open a pipe is to wait for its writer.
            let opened = match fs::metadata(&path) {
                Ok(found) if !found.is_file() => return None,
                Ok(_) => File::open(&path),
                Err(error) => Err(error),
            };
            match opened {
                Err(error) if is_missing(&error) => None,
                Err(error) => Some(Err(Error::io("open", path)(error))),
                Ok(file) => Some(Ok((path, file))),
            }
        })
    }
}

fn stands(path: &Path) -> Result<bool> {
    path.try_exists().map_err(Error::io("look for", path))
}

/// The places below `dir` where a brick may lie: on a mounted tape, in a
/// folder of thawed objects, in a copy of a store.
#[must_use]
pub fn places_of_brick(dir: &Path, name: &BrickName) -> [PathBuf; 4] {
    let file = format!("{name}.{BRICK}");
    [
        dir.join(file),
        sharded(dir.to_owned(), name, BRICK),
        sharded(dir.join("bricks"), name, BRICK),
        sharded(dir.join("meta"), name, BRICK),
    ]
}

fn shard_dir(dir: PathBuf, shard: u8) -> PathBuf {
    let mut dir = dir;
    dir.push(format!("{shard:02x}"));
    dir
}

fn sharded(dir: PathBuf, name: &BrickName, ending: &str) -> PathBuf {
    let mut path = shard_dir(dir, name.as_bytes()[0]);
    path.push(format!("{name}.{ending}"));
    path
}

/// The name of a file, if it has the form of its folder; all others are ignored.
pub(super) fn sharded_name(file: &str, ending: &str, shard: u8) -> Option<BrickName> {
    let name: BrickName = file.strip_suffix(ending)?.strip_suffix('.')?.parse().ok()?;
    (name.as_bytes()[0] == shard).then_some(name)
}

/// The runs that files in a folder are named after, the oldest first.
fn named(dir: &Path, ending: &str) -> Result<Vec<RunName>> {
    let mut runs = Vec::new();
    list(dir, |file, _| {
        runs.extend(run_name(file, ending));
        Ok(())
    })?;
    runs.sort_unstable();
    Ok(runs)
}

/// Set and number that a catalog is named after, if it is one.
pub(super) fn container_catalog(file: &str) -> Option<(ContainerSetId, u32)> {
    let stem = file.strip_suffix(CONTAINER_CATALOG)?.strip_suffix('.')?;
    let (set, digits) = stem.split_once('-')?;
    let number: u32 = digits.parse().ok()?;
    (format!("{number:06}") == digits).then_some((set.parse().ok()?, number))
}

/// The run that a file is named after, if it is.
pub(super) fn run_name(file: &str, ending: &str) -> Option<RunName> {
    file.strip_suffix(ending)?.strip_suffix('.')?.parse().ok()
}

/// Calls `each` for the entries of a folder whose names are text. A folder
/// that is not there is empty.
pub(super) fn list(
    dir: &Path,
    mut each: impl FnMut(&str, &fs::DirEntry) -> Result<()>,
) -> Result<()> {
    for entry in atomic::entries(dir)? {
        let entry = entry?;
        if let Some(file) = entry.file_name().to_str() {
            each(file, &entry)?;
        }
    }
    Ok(())
}

/// A file's length; 0 for one that has just gone.
fn length(entry: &fs::DirEntry) -> Result<u64> {
    match fs::metadata(entry.path()) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(Error::io("read", entry.path())(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: BrickName = BrickName([0xab; 32]);

    #[test]
    fn paths_are_those_of_the_format() {
        let layout = Layout::new("/s");
        let hex = "ab".repeat(32);
        let path = |path: String| PathBuf::from(path);
        assert_eq!(
            layout.brick_path(&NAME, Class::Data),
            path(format!("/s/bricks/ab/{hex}.brick"))
        );
        assert_eq!(
            layout.brick_path(&NAME, Class::Metadata),
            path(format!("/s/meta/ab/{hex}.brick"))
        );
        assert_eq!(
            layout.toc_path(&NAME),
            path(format!("/s/tocs/ab/{hex}.toc"))
        );
        assert_eq!(layout.mark_path(&NAME), path(format!("/s/bad/{hex}")));
        let run: RunName = "00000000000000000007-0123456789abcdef".parse().unwrap();
        assert_eq!(run.random(), [1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
        for (found, expected) in [
            (layout.run_dir(&run), format!("/s/runs/{run}")),
            (layout.dead_path(&run), format!("/s/dead/{run}.dead")),
        ] {
            assert_eq!(found, path(expected));
        }
        assert_eq!(
            layout.root_path(&"00000000000000000007-0123456789abcdef".parse().unwrap()),
            path("/s/roots/00000000000000000007-0123456789abcdef.root".to_owned())
        );
    }

    #[test]
    fn files_of_other_forms_are_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let shard = layout.tocs_dir().join("ab");
        fs::create_dir_all(&shard).unwrap();
        let hex = NAME.to_string();
        for file in [
            format!("{hex}.toc"),
            format!("{hex}.toc~"),
            format!("{hex}toc"),
            format!("{}.toc", hex.to_uppercase()),
            format!("cd{}.toc", &hex[2..]),
            format!("{hex}.brick"),
            "x.toc".to_owned(),
        ] {
            fs::write(shard.join(file), b"").unwrap();
        }
        let mut names = Vec::new();
        layout.sidecar_names(0xab, &mut names).unwrap();
        layout.sidecar_names(0xcd, &mut names).unwrap();
        assert_eq!(names, [NAME]);
    }

    #[test]
    fn root_names_are_strict() {
        assert_eq!(
            run_name("00000000000000000012-0123456789abcdef.root", ROOT).map(|run| run.time),
            Some(12)
        );
        for bad in [
            "00000000000000000012-0123456789abcde.root",
            "00000000000000000012-0123456789abcdeF.root",
            "+0000000000000000012-0123456789abcdef.root",
            "99999999999999999999-0123456789abcdef.root",
            "00000000000000000012-0123456789abcdefroot",
        ] {
            assert_eq!(run_name(bad, ROOT), None, "{bad}");
        }
    }
}
