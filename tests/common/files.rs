//! What stands in a folder. Unit tests and fuzz targets use this file too.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// All files below a folder, with their lengths.
pub fn files(dir: &Path) -> BTreeMap<PathBuf, u64> {
    let mut all = BTreeMap::new();
    collect(dir, &mut all);
    all
}

fn collect(dir: &Path, all: &mut BTreeMap<PathBuf, u64>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.metadata() {
            Ok(found) if found.is_dir() => collect(&path, all),
            Ok(found) => drop(all.insert(path, found.len())),
            // Gone a moment ago.
            Err(_) => {}
        }
    }
}

/// All files below a folder, with what is in them.
pub fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = files(dir).into_keys();
    let read = |path| {
        let bytes = fs::read(&path).unwrap();
        (path, bytes)
    };
    files.map(read).collect()
}
