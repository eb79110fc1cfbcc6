//! What stands in a store's folders, and below others: bricks, and what belongs to nothing.

use std::fs;
use std::path::{Path, PathBuf};

use super::layout::{
    BRICK, Layout, PARITY, ROOT, SIDECAR, SNAPSHOT, container_catalog, list, run_name, sharded_name,
};
use crate::Result;
use crate::id::BrickName;

/// Folders whose contents come and go, or are no concern of this version.
const FREE: [&str; 2] = ["tmp", "runs"];

/// Calls `each` with name and path of the bricks below `dir`, a mounted tape, a folder
/// of thawed objects or a copy of a store: those that
/// [`Layout::find_brick`] would find there. What is no file is no brick.
///
/// # Errors
/// [`crate::Error::Io`] if a folder is there and cannot be listed.
pub fn bricks_below(dir: &Path, each: &mut dyn FnMut(BrickName, PathBuf)) -> Result<()> {
    list(dir, |file, entry| {
        if let Some(name) = brick_name(file)
            && entry.path().is_file()
        {
            each(name, entry.path());
        }
        Ok(())
    })?;
    for dir in [dir.to_owned(), dir.join("bricks"), dir.join("meta")] {
        for shard in 0..=u8::MAX {
            list(&dir.join(format!("{shard:02x}")), |file, entry| {
                if let Some(name) = sharded_name(file, BRICK, shard)
                    && entry.path().is_file()
                {
                    each(name, entry.path());
                }
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// Calls `each` with what stands in the store's folder and has none of the names of
/// `formats/store.md`. Readers ignore such files.
///
/// # Errors
/// [`crate::Error::Io`] if a folder is there and cannot be listed.
pub fn each_stray(layout: &Layout, each: &mut dyn FnMut(PathBuf)) -> Result<()> {
    list(layout.path(), |file, entry| {
        let path = entry.path();
        match file {
            "store.toml" if path.is_file() => Ok(()),
            "bricks" | "meta" => sharded(&path, BRICK, each),
            "tocs" => sharded(&path, SIDECAR, each),
            "parity" => sharded(&path, PARITY, each),
            "roots" => flat(&path, |file| run_name(file, ROOT).is_some(), each),
            "snapshots" => flat(&path, |file| run_name(file, SNAPSHOT).is_some(), each),
            "bad" => flat(&path, |file| file.parse::<BrickName>().is_ok(), each),
            "containers" => flat(&path, |file| container_catalog(file).is_some(), each),
            "dead" => flat(
                &path,
                |file| {
                    let list = file.strip_suffix(".dead");
                    file.parse::<BrickName>().is_ok()
                        || list.is_some_and(|run| run.parse::<super::layout::RunName>().is_ok())
                },
                each,
            ),
            free if FREE.contains(&free) => Ok(()),
            _ => {
                each(path);
                Ok(())
            }
        }
    })
}

/// The folders of one kind of sharded files.
fn sharded(dir: &Path, ending: &str, each: &mut dyn FnMut(PathBuf)) -> Result<()> {
    list(dir, |file, entry| {
        let path = entry.path();
        match shard(file) {
            Some(shard) if path.is_dir() => flat(
                &path,
                |file| sharded_name(file, ending, shard).is_some(),
                each,
            ),
            _ => {
                each(path);
                Ok(())
            }
        }
    })
}

fn flat(dir: &Path, belongs: impl Fn(&str) -> bool, each: &mut dyn FnMut(PathBuf)) -> Result<()> {
    list(dir, |file, entry| {
        let is_file = fs::metadata(entry.path()).is_ok_and(|found| found.is_file());
        if !belongs(file) || !is_file {
            each(entry.path());
        }
        Ok(())
    })
}

fn shard(file: &str) -> Option<u8> {
    let shard = u8::from_str_radix(file, 16).ok()?;
    (file == format!("{shard:02x}")).then_some(shard)
}

fn brick_name(file: &str) -> Option<BrickName> {
    file.strip_suffix(BRICK)?.strip_suffix('.')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(byte: u8) -> BrickName {
        BrickName([byte; 32])
    }

    fn write(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"").unwrap();
    }

    #[test]
    fn bricks_are_found_where_restore_finds_them() {
        let dir = tempfile::tempdir().unwrap();
        let places = [0xab, 0xcd, 0xef, 0x01].map(name);
        for (place, name) in places.iter().enumerate() {
            write(&super::super::layout::places_of_brick(dir.path(), name)[place]);
        }
        write(&dir.path().join("ab").join(format!("{}.brick", name(0xcd))));
        let mut found = Vec::new();
        bricks_below(dir.path(), &mut |name, _| found.push(name)).unwrap();
        found.sort_unstable();
        let mut expected = places.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }

    #[test]
    fn strays_are_what_has_no_name_of_the_format() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let hex = name(0xab).to_string();
        let run = "00000000000000000012-0123456789abcdef";
        for belongs in [
            "store.toml".to_owned(),
            format!("bricks/ab/{hex}.brick"),
            format!("meta/ab/{hex}.brick"),
            format!("tocs/ab/{hex}.toc"),
            format!("parity/ab/{hex}.parity"),
            format!("roots/{run}.root"),
            format!("snapshots/{run}.snap"),
            format!("bad/{hex}"),
            format!("parity/ab/{hex}.parity"),
            format!("dead/{run}.dead"),
            format!("containers/{}-000012.catalog", "ab".repeat(16)),
            "tmp/anything".to_owned(),
            format!("runs/{run}/lease"),
        ] {
            write(&dir.path().join(belongs));
        }
        let strays = [
            "README".to_owned(),
            format!("bricks/cd/{hex}.brick"),
            format!("bricks/{hex}.brick"),
            format!("tocs/ab/{hex}.brick"),
            format!("roots/{run}.snap"),
            format!("parity/ab/{hex}.brick"),
            format!("containers/{}-12.catalog", "ab".repeat(16)),
            "bad/x".to_owned(),
        ];
        for stray in &strays {
            write(&dir.path().join(stray));
        }
        let mut found = Vec::new();
        each_stray(&layout, &mut |path| found.push(path)).unwrap();
        found.sort_unstable();
        let mut expected: Vec<_> = strays.iter().map(|stray| dir.path().join(stray)).collect();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}
