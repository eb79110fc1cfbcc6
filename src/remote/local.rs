//! The files of a store, in the order of their paths.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::id::BrickName;
use crate::store::layout::{Layout, RunName};

/// The kinds of files that a store and its copy in a bucket share, by folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Folder {
    /// Bricks of class data.
    Bricks,
    /// Bricks of class metadata.
    Meta,
    /// Parity files.
    Parity,
    /// Marks of damage.
    Bad,
    /// Sidecars.
    Tocs,
    /// Snapshots.
    Snapshots,
    /// Roots.
    Roots,
}

impl Folder {
    /// Its name in the store, with a slash behind.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Bricks => "bricks/",
            Self::Meta => "meta/",
            Self::Parity => "parity/",
            Self::Bad => "bad/",
            Self::Tocs => "tocs/",
            Self::Snapshots => "snapshots/",
            Self::Roots => "roots/",
        }
    }

    const fn ending(self) -> &'static str {
        match self {
            Self::Bricks | Self::Meta => ".brick",
            Self::Parity => ".parity",
            Self::Bad => "",
            Self::Tocs => ".toc",
            Self::Snapshots => ".snap",
            Self::Roots => ".root",
        }
    }

    const fn is_sharded(self) -> bool {
        matches!(self, Self::Bricks | Self::Meta | Self::Parity | Self::Tocs)
    }

    /// Whether the files are named after the hash of their bytes.
    #[must_use]
    pub const fn is_named_by_content(self) -> bool {
        matches!(self, Self::Bricks | Self::Meta | Self::Parity)
    }

    /// The name that a path in this folder says, if it has the form of one
    /// (`formats/store.md`). All else is ignored.
    #[must_use]
    pub fn name_of(self, path: &str) -> Option<Name> {
        let file = path.strip_prefix(self.path())?;
        if !self.is_sharded() {
            let stem = file.strip_suffix(self.ending())?;
            return match self {
                Self::Bad => stem.parse().ok().map(Name::Hash),
                _ => stem.parse().ok().map(Name::Run),
            };
        }
        let (shard, file) = file.split_once('/')?;
        let stem = file.strip_suffix(self.ending())?;
        let name: BrickName = stem.parse().ok()?;
        (stem.get(..2) == Some(shard)).then_some(Name::Hash(name))
    }
}

/// What a file is named after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// The hash of a brick or of a parity file.
    Hash(BrickName),
    /// A run.
    Run(RunName),
}

impl Name {
    /// The hash.
    #[must_use]
    pub const fn hash(&self) -> Option<&BrickName> {
        match self {
            Self::Hash(name) => Some(name),
            Self::Run(_) => None,
        }
    }
}

/// A file of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalFile {
    /// Its path in the store, which is its key in a bucket.
    pub path: String,
    /// Its length in bytes.
    pub length: u64,
}

/// The files of one folder, a shard at a time.
pub struct LocalFiles {
    dir: PathBuf,
    folder: Folder,
    shards: std::ops::Range<u16>,
    files: VecDeque<LocalFile>,
}

impl LocalFiles {
    /// The files of `folder` in the store `layout`.
    #[must_use]
    pub fn new(layout: &Layout, folder: Folder) -> Self {
        Self {
            dir: layout.path().to_owned(),
            folder,
            shards: if folder.is_sharded() { 0..256 } else { 0..1 },
            files: VecDeque::new(),
        }
    }

    /// The next file; `None` behind the last.
    ///
    /// # Errors
    /// [`Error::Io`] if a folder is there and cannot be listed.
    pub fn next(&mut self) -> Result<Option<LocalFile>> {
        while self.files.is_empty() {
            let Some(shard) = self.shards.next() else {
                return Ok(None);
            };
            let folder = if self.folder.is_sharded() {
                format!("{}{shard:02x}/", self.folder.path())
            } else {
                self.folder.path().to_owned()
            };
            self.list(&folder)?;
        }
        Ok(self.files.pop_front())
    }

    fn list(&mut self, folder: &str) -> Result<()> {
        let dir = self.dir.join(folder);
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io("list", dir)(error)),
        };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::io("list", &dir))?;
            let Some(file) = entry.file_name().to_str().map(str::to_owned) else {
                continue;
            };
            let path = format!("{folder}{file}");
            if self.folder.name_of(&path).is_none() {
                continue;
            }
            match fs::metadata(entry.path()) {
                Ok(found) if found.is_file() => files.push(LocalFile {
                    path,
                    length: found.len(),
                }),
                Ok(_) => {}
                // It has gone since, by a gc.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("examine", entry.path())(error)),
            }
        }
        files.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        self.files.extend(files);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_form_of_their_folder_count() {
        let hex = "ab".repeat(32);
        let run = "00000000000000000007-0123456789abcdef";
        for (folder, path, counts) in [
            (Folder::Bricks, format!("bricks/ab/{hex}.brick"), true),
            (Folder::Bricks, format!("bricks/cd/{hex}.brick"), false),
            (Folder::Bricks, format!("bricks/{hex}.brick"), false),
            (Folder::Bricks, format!("meta/ab/{hex}.brick"), false),
            (Folder::Meta, format!("meta/ab/{hex}.brick"), true),
            (Folder::Tocs, format!("tocs/ab/{hex}.toc"), true),
            (Folder::Tocs, format!("tocs/ab/{hex}.toc~"), false),
            (Folder::Tocs, "tocs/../store.toml".into(), false),
            (Folder::Parity, format!("parity/ab/{hex}.parity"), true),
            (Folder::Bad, format!("bad/{hex}"), true),
            (Folder::Bad, "bad/../../x".into(), false),
            (Folder::Roots, format!("roots/{run}.root"), true),
            (Folder::Roots, format!("roots/{run}.snap"), false),
            (Folder::Snapshots, format!("snapshots/{run}.snap"), true),
        ] {
            assert_eq!(folder.name_of(&path).is_some(), counts, "{path}");
        }
    }

    #[test]
    fn files_come_in_the_order_of_their_paths() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let mut expected = Vec::new();
        for byte in [0xff, 0x00, 0xab, 0x0a] {
            for last in [9, 1] {
                let mut name = BrickName([byte; 32]);
                name.0[31] = last;
                let path = layout.toc_path(&name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, [0; 3]).unwrap();
                let path = path.strip_prefix(dir.path()).unwrap();
                expected.push(path.to_str().unwrap().to_owned());
            }
        }
        expected.sort();
        let mut files = LocalFiles::new(&layout, Folder::Tocs);
        let mut found = Vec::new();
        while let Some(file) = files.next().unwrap() {
            assert_eq!(file.length, 3);
            found.push(file.path);
        }
        assert_eq!(found, expected);
    }
}
