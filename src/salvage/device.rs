//! Whether a folder lies on a disk that is read: to write there would destroy what is sought.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Dev, major, makedev, minor};

use crate::error::{Error, Result};

/// Whether `source` is a block device on which `target`, or the nearest folder above it
/// that is there, lies: itself, or on a partition or a mapping of it.
///
/// What a file system spreads over several devices need not be noticed.
///
/// # Errors
/// [`Error::Io`] if `source` cannot be looked at.
pub(super) fn holds(source: &Path, target: &Path) -> Result<bool> {
    let found = fs::metadata(source).map_err(Error::io("look at", source))?;
    if !found.file_type().is_block_device() {
        return Ok(false);
    }
    let mut above = target.ancestors();
    let Some(folder) = above.find_map(|folder| fs::metadata(folder).ok()) else {
        return Ok(false);
    };
    Ok(is_below(found.rdev(), folder.dev(), below))
}

/// Whether `wanted` is `device`, or one of those that it is made of.
fn is_below(wanted: Dev, device: Dev, below: impl Fn(Dev) -> Vec<Dev>) -> bool {
    let (mut seen, mut waiting) = (HashSet::new(), vec![device]);
    while let Some(device) = waiting.pop() {
        if device == wanted {
            return true;
        }
        if seen.insert(device) {
            waiting.extend(below(device));
        }
    }
    false
}

/// The disk of a partition, and what a mapping consists of, as Linux says.
fn below(device: Dev) -> Vec<Dev> {
    let link = PathBuf::from(format!(
        "/sys/dev/block/{}:{}",
        major(device),
        minor(device)
    ));
    let Ok(folder) = link.canonicalize() else {
        return Vec::new();
    };
    let mut files = Vec::new();
    if folder.join("partition").exists() {
        files.extend(folder.parent().map(|disk| disk.join("dev")));
    }
    for slave in fs::read_dir(folder.join("slaves")).into_iter().flatten() {
        files.extend(slave.map(|slave| slave.path().join("dev")));
    }
    let number = |path: &PathBuf| parse(&fs::read_to_string(path).ok()?);
    files.iter().filter_map(number).collect()
}

/// Such as `8:16`.
fn parse(text: &str) -> Option<Dev> {
    let (major, minor) = text.trim().split_once(':')?;
    Some(makedev(major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_holds_what_lies_on_its_partitions_and_mappings() {
        // 1 is a disk, 2 and 3 its partitions, 4 a mapping of 3; 9 another disk.
        let below = |device| match device {
            2 | 3 => vec![1],
            4 => vec![3, 4],
            _ => Vec::new(),
        };
        for (wanted, device, holds) in [
            (1, 1, true),
            (1, 2, true),
            (2, 2, true),
            (1, 4, true),
            (3, 4, true),
            (2, 4, false),
            (2, 3, false),
            (9, 4, false),
        ] {
            assert_eq!(is_below(wanted, device, below), holds, "{wanted} {device}");
        }
    }

    #[test]
    fn numbers_are_read_and_files_hold_no_folders() {
        assert_eq!(parse("8:17\n"), Some(makedev(8, 17)));
        assert_eq!(parse("none"), None);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(!holds(&file, dir.path()).unwrap());
    }

    #[test]
    fn a_device_with_a_folder_on_it_is_noticed() {
        // Where tests can see the disk on which they run.
        let folder = std::env::temp_dir().join("not/there/yet");
        let device = fs::metadata(std::env::temp_dir()).unwrap().dev();
        let devices = fs::read_dir("/dev").into_iter().flatten().flatten();
        for path in devices.map(|entry| entry.path()) {
            let is_it = fs::metadata(&path)
                .is_ok_and(|found| found.file_type().is_block_device() && found.rdev() == device);
            assert!(!is_it || holds(&path, &folder).unwrap());
        }
    }
}
