//! Files that appear whole or not at all (`formats/store.md#order-of-writes`).
//!
//! A file is written under a random name in the folder of its run (or in `tmp/`),
//! fsynced, renamed into place, and the folder that received it fsynced. Its writer holds an
//! exclusive `flock` on it while it lives, so that whoever starts a run can
//! tell the remains of a crash from a file in the making.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::writeback::EagerFile;
use crate::{Error, Result};

/// How often a fresh name or a lock may be lost to somebody else before that
/// is taken for a fault: each loss needs a collision of 64 random bits or a
/// cleaner that arrived within microseconds.
const ATTEMPTS: usize = 16;

/// A file in the making: locked, without a final name, gone when dropped.
///
/// Writes are not buffered.
#[derive(Debug)]
pub struct TempFile {
    file: EagerFile,
    path: PathBuf,
    /// Whether dropping removes it: no longer once it has its final name.
    temporary: bool,
}

impl TempFile {
    /// Makes an empty file of a random name in `dir`, and `dir` if need be.
    ///
    /// # Errors
    /// [`Error::Io`] with the path, if it cannot be made or locked.
    pub fn create(dir: &Path) -> Result<Self> {
        create_dir(dir)?;
        Self::create_in(dir)
    }

    /// Makes an empty file of a random name in `dir`, which must be there.
    ///
    /// # Errors
    /// As [`TempFile::create`].
    pub fn create_in(dir: &Path) -> Result<Self> {
        for _ in 0..ATTEMPTS {
            if let Some(temp) = Self::attempt(dir.join(random_name(dir)?))? {
                return Ok(temp);
            }
        }
        Err(Error::io("make a new file in", dir)(
            io::ErrorKind::AlreadyExists.into(),
        ))
    }

    /// Nothing, if the name is taken or a cleaner was faster than the lock.
    fn attempt(path: PathBuf) -> Result<Option<Self>> {
        let file = match OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
        {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            Err(error) => return Err(Error::io("make", path)(error)),
        };
        let mut temp = Self {
            file: EagerFile::new(file),
            path,
            temporary: true,
        };
        flock(temp.file.file(), FlockOperation::LockExclusive)
            .map_err(|error| Error::io("lock", &temp.path)(error.into()))?;
        if is_in_place(temp.file.file(), &temp.path)? {
            return Ok(Some(temp));
        }
        // Not to be removed by its drop: the name is no longer this file's.
        temp.temporary = false;
        Ok(None)
    }

    /// Where it stands until it is published: for error messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Cuts it off at this length, in bytes, or fills it up with zeros.
    ///
    /// # Errors
    /// As the system says.
    pub fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.file().set_len(length)
    }

    /// Makes it durable and gives it its final name, in a folder that is made
    /// if need be. Returns when name and content have reached the disk.
    ///
    /// A file that has this name already is replaced: callers pass names that
    /// follow from the content, or are random.
    ///
    /// # Errors
    /// [`Error::Io`]; the file is removed then.
    pub fn publish(self, target: &Path) -> Result<()> {
        self.settle(target, |from, to| fs::rename(from, to))
    }

    /// Like [`TempFile::publish`], but never replaces a file.
    ///
    /// # Errors
    /// [`Error::Io`], of the kind [`io::ErrorKind::AlreadyExists`] if the name is taken.
    pub fn publish_new(self, target: &Path) -> Result<()> {
        self.settle(target, rename_new)
    }

    fn settle(
        mut self,
        target: &Path,
        rename: impl FnOnce(&Path, &Path) -> io::Result<()>,
    ) -> Result<()> {
        self.file
            .file()
            .sync_all()
            .map_err(Error::io("write", &self.path))?;
        let dir = parent(target);
        create_dir(dir)?;
        rename(&self.path, target).map_err(Error::io("write", target))?;
        self.temporary = false;
        sync_dir(dir)?;
        // Another writer may have made the folder a moment ago and not yet synced its name.
        sync_dir(parent(dir))
    }
}

impl Write for TempFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for TempFile {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if self.temporary {
            // Nothing can be done about a failure here, and nothing need be:
            // the lock goes with the handle, so the next run removes the file.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether a name still leads to the file that was made under it: a cleaner may have
/// found it before it was locked, and somebody else may have taken the name since.
pub(crate) fn is_in_place(file: &File, path: &Path) -> Result<bool> {
    let own = file.metadata().map_err(Error::io("examine", path))?;
    match fs::symlink_metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (own.dev(), own.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("examine", path)(error)),
    }
}

/// Writes `bytes` as the file `target`, by way of a file in `temp_dir`.
///
/// # Errors
/// [`Error::Io`].
pub fn write(temp_dir: &Path, target: &Path, bytes: &[u8]) -> Result<()> {
    let mut temp = TempFile::create(temp_dir)?;
    temp.write_all(bytes).map_err(Error::io("write", target))?;
    temp.publish(target)
}

/// Removes the files in `dir` that no writer holds, and all folders; returns how many.
/// For folders alone that are dtar's own, such as `tmp/` of a store.
///
/// # Errors
/// [`Error::Io`] if `dir` cannot be listed. A folder that is not there is
/// empty; a file that cannot be removed stays for the next run.
pub fn remove_stale(dir: &Path) -> Result<usize> {
    let mut removed = 0;
    each_entry(dir, |entry, _| {
        let path = entry.path();
        let gone = entry.file_type().is_ok_and(|kind| {
            kind.is_file() && remove_unlocked(&path)
                || kind.is_dir() && fs::remove_dir_all(&path).is_ok()
        });
        removed += usize::from(gone);
        true
    })?;
    Ok(removed)
}

/// Removes those files in `dir` that [`TempFile`] has left and no writer holds, and nothing
/// else: for a folder that need not be dtar's own. Returns how many.
///
/// # Errors
/// As [`remove_stale`].
pub fn remove_remains(dir: &Path) -> Result<usize> {
    let mut removed = 0;
    each_entry(dir, |entry, is_remains| {
        removed += usize::from(is_remains && remove_unlocked(&entry.path()));
        true
    })?;
    Ok(removed)
}

/// Whether `dir` is a folder, and no link to one, that holds nothing but what
/// [`TempFile`] makes.
///
/// # Errors
/// [`Error::Io`] if it cannot be listed.
pub fn holds_only_remains(dir: &Path) -> Result<bool> {
    let found = fs::symlink_metadata(dir).map_err(Error::io("look at", dir))?;
    if !found.is_dir() {
        return Ok(false);
    }
    let mut only = true;
    each_entry(dir, |_, is_remains| {
        only &= is_remains;
        only
    })?;
    Ok(only)
}

/// What stands in `dir`. A folder that is not there is empty.
pub(super) fn entries(dir: &Path) -> Result<impl Iterator<Item = Result<fs::DirEntry>>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => Some(entries),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(Error::io("list", dir)(error)),
    };
    let entries = entries.into_iter().flatten();
    Ok(entries.map(move |entry| entry.map_err(Error::io("list", dir))))
}

/// Calls `each` for what stands in `dir`, and whether it is a file named as [`TempFile`]
/// names its own, until that returns `false`. A folder that is not there is empty.
fn each_entry(dir: &Path, mut each: impl FnMut(&fs::DirEntry, bool) -> bool) -> Result<()> {
    for entry in entries(dir)? {
        let entry = entry?;
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        let is_remains = is_file && entry.file_name().to_str().is_some_and(is_random_name);
        if !each(&entry, is_remains) {
            break;
        }
    }
    Ok(())
}

/// Whether the file was nobody's and is gone now. It is removed while the lock
/// is held: its writer, if one is just about to lock it, then finds it unlinked.
fn remove_unlocked(path: &Path) -> bool {
    let Ok(file) = File::open(path) else {
        return false;
    };
    flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() && fs::remove_file(path).is_ok()
}

/// Makes a folder and what is missing above it, durably.
///
/// # Errors
/// [`Error::Io`].
pub fn create_dir(dir: &Path) -> Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let above = parent(dir);
    if above != dir {
        create_dir(above)?;
    }
    match fs::create_dir(dir) {
        Ok(()) => sync_dir(above),
        // Another writer was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(error) => Err(Error::io("make the folder", dir)(error)),
    }
}

/// Makes the names in a folder durable.
///
/// # Errors
/// [`Error::Io`].
pub fn sync_dir(dir: &Path) -> Result<()> {
    match File::open(dir).and_then(|folder| folder.sync_all()) {
        // Some file systems know no fsync of a folder; then there is nothing to wait for.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        result => result.map_err(Error::io("sync the folder", dir)),
    }
}

/// Makes a file that stands in place durable, and its name, as if it had just been
/// published: before something comes to depend on it.
///
/// # Errors
/// [`Error::Io`].
pub fn settle(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(Error::io("sync", path))?;
    sync_dir(parent(path))?;
    sync_dir(parent(parent(path)))
}

/// Gives a file its final name in the same folder, durably, and never replaces a file.
///
/// # Errors
/// [`Error::Io`], of the kind [`io::ErrorKind::AlreadyExists`] if the name is taken.
pub fn rename_new_durably(from: &Path, to: &Path) -> Result<()> {
    rename_new(from, to).map_err(Error::io("write", to))?;
    sync_dir(parent(to))
}

/// As [`sync_dir`], if there is such a folder.
///
/// # Errors
/// [`Error::Io`].
pub fn sync_dir_if_there(dir: &Path) -> Result<()> {
    match sync_dir(dir) {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Makes the names durable that lead to a folder. A run that was cut off may have made
/// folders and not synced them, and none that finds them there would do it again.
///
/// # Errors
/// [`Error::Io`].
pub fn sync_way_to(dir: &Path) -> Result<()> {
    for above in dir.ancestors().skip(1) {
        let above = if above == Path::new("") {
            Path::new(".")
        } else {
            above
        };
        match sync_dir(above) {
            Err(Error::Io { source, .. }) if is_foreign(&source) => {}
            result => result?,
        }
    }
    Ok(())
}

/// Whether a folder refuses to be synced because no run of this user can have made it,
/// or because its file system knows no such thing.
pub(crate) fn is_foreign(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::Unsupported
    )
}

/// The folder in which `path` stands; `.` for a bare name.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // The file system cannot do it in one step.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => rename_unless_there(from, to),
        result => result.map_err(io::Error::from),
    }
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    rename_unless_there(from, to)
}

fn rename_unless_there(from: &Path, to: &Path) -> io::Result<()> {
    if to.try_exists()? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    fs::rename(from, to)
}

/// Sixteen random hex digits: a name that nobody else uses.
pub(super) fn random_name(place: &Path) -> Result<String> {
    Ok(format!("{:016x}", u64::from_le_bytes(random(place)?)))
}

/// Whether `name` is as those of [`random_name`].
fn is_random_name(name: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    name.len() == 16 && name.bytes().all(is_digit)
}

/// Random bytes, from which follows what is in `place`.
pub(super) fn random<const N: usize>(place: &Path) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::io("draw a random name for", place)(io::Error::other(error)))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<PathBuf> {
        fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect()
    }

    #[test]
    fn a_published_file_is_whole_and_leaves_nothing_in_tmp() {
        let dir = tempfile::tempdir().unwrap();
        let (tmp, target) = (dir.path().join("tmp"), dir.path().join("a/b/file"));
        write(&tmp, &target, b"content").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"content");
        assert!(names(&tmp).is_empty());
    }

    #[test]
    fn a_name_that_is_taken_is_success_unless_it_must_be_new() {
        let dir = tempfile::tempdir().unwrap();
        let (tmp, target) = (dir.path().join("tmp"), dir.path().join("file"));
        write(&tmp, &target, b"content").unwrap();
        write(&tmp, &target, b"content").unwrap();
        let error = TempFile::create(&tmp)
            .unwrap()
            .publish_new(&target)
            .unwrap_err();
        assert!(
            matches!(&error, Error::Io { source, .. } if source.kind() == io::ErrorKind::AlreadyExists),
            "{error}"
        );
        assert_eq!(fs::read(&target).unwrap(), b"content");
        assert!(names(&tmp).is_empty());
    }

    #[test]
    fn a_file_that_is_given_up_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let mut temp = TempFile::create(dir.path()).unwrap();
        temp.write_all(b"half").unwrap();
        assert_eq!(names(dir.path()), [temp.path()]);
        drop(temp);
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn only_files_that_nobody_holds_are_stale() {
        let dir = tempfile::tempdir().unwrap();
        let held = TempFile::create(dir.path()).unwrap();
        fs::write(dir.path().join("0123456789abcdef"), b"half").unwrap();
        assert_eq!(remove_stale(dir.path()).unwrap(), 1);
        assert_eq!(names(dir.path()), [held.path()]);
        assert_eq!(remove_stale(&dir.path().join("none")).unwrap(), 0);
    }

    #[test]
    fn in_a_folder_that_is_not_dtars_only_its_own_remains_are_stale() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let held = TempFile::create(dir.path()).unwrap();
        fs::write(path("0123456789abcdef"), b"half").unwrap();
        assert!(holds_only_remains(dir.path()).unwrap());
        let mut kept = vec![held.path().to_owned()];
        for name in ["0123456789ABCDEF", "0123456789abcdef0", "thesis"] {
            fs::write(path(name), b"kept").unwrap();
            kept.push(path(name));
            assert!(!holds_only_remains(dir.path()).unwrap());
        }
        fs::create_dir(path("0123456789abcdee")).unwrap();
        kept.push(path("0123456789abcdee"));
        assert_eq!(remove_remains(dir.path()).unwrap(), 1);
        let mut left = names(dir.path());
        left.sort();
        kept.sort();
        assert_eq!(left, kept);
        std::os::unix::fs::symlink(path("0123456789abcdee"), path("link")).unwrap();
        assert!(holds_only_remains(&path("0123456789abcdee")).unwrap());
        assert!(!holds_only_remains(&path("link")).unwrap());
    }

    #[test]
    fn errors_name_path_and_action() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), b"").unwrap();
        let error = TempFile::create(&dir.path().join("file/tmp")).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("cannot make the folder ") && text.contains("file"),
            "{text}"
        );
    }
}
