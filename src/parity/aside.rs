//! Keeps a damaged file under another name, before a sound one takes its own.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::store::atomic::TempFile;

/// Keeps the file at `path` as `….damaged`, or `….damaged.2` and so on: by a second name,
/// or, where there are no links, by a copy made in `temp_dir`. It never loses its own name,
/// for until the sound one is durable its shards may be the last of their kind.
pub(super) fn keep(path: &Path, temp_dir: &Path) -> Result<()> {
    keep_by(path, temp_dir, |from, to| fs::hard_link(from, to))
}

fn keep_by(
    path: &Path,
    temp_dir: &Path,
    link: impl Fn(&Path, &Path) -> io::Result<()>,
) -> Result<()> {
    for number in 1_u32.. {
        let aside = name(path, number);
        match link(path, &aside) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if is_same(path, &aside) {
                    return Ok(());
                }
            }
            Err(_) if aside.symlink_metadata().is_ok() => {}
            Err(_) => return copy(path, &aside, temp_dir),
        }
    }
    Ok(())
}

fn name(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".damaged");
    if number > 1 {
        name.push(format!(".{number}"));
    }
    name.into()
}

/// Whether both are names of one file: one who was cut off has got so far.
fn is_same(path: &Path, other: &Path) -> bool {
    let of = |path: &Path| fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()));
    matches!((of(path), of(other)), (Ok(one), Ok(two)) if one == two)
}

fn copy(path: &Path, aside: &Path, temp_dir: &Path) -> Result<()> {
    let failed = Error::io("set aside", path);
    let mut file = TempFile::create(temp_dir)?;
    let copied = File::open(path).and_then(|mut from| io::copy(&mut from, &mut file));
    copied.map_err(failed)?;
    file.publish_new(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_links(_: &Path, _: &Path) -> io::Result<()> {
        Err(ErrorKind::PermissionDenied.into())
    }

    #[test]
    fn without_links_a_damaged_file_is_copied_and_keeps_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let (path, temp) = (dir.path().join("a.brick"), dir.path().join("temp"));
        for (content, aside) in [
            ("one", "a.brick.damaged"),
            ("two", "a.brick.damaged.2"),
            ("three", "a.brick.damaged.3"),
        ] {
            fs::write(&path, content).unwrap();
            keep_by(&path, &temp, no_links).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            assert_eq!(fs::read_to_string(dir.path().join(aside)).unwrap(), content);
        }
        assert_eq!(fs::read_dir(&temp).unwrap().count(), 0);
    }

    #[test]
    fn with_links_it_gets_a_second_name_once() {
        let dir = tempfile::tempdir().unwrap();
        let (path, temp) = (dir.path().join("a.brick"), dir.path().join("temp"));
        fs::write(&path, "one").unwrap();
        keep(&path, &temp).unwrap();
        keep(&path, &temp).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "two").unwrap();
        keep(&path, &temp).unwrap();
        let kept = |name| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(
            (kept("a.brick.damaged"), kept("a.brick.damaged.2")),
            ("one".into(), "two".into())
        );
    }
}
