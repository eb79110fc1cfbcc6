//! What the sound frames held: which chunks, and the lists among them, without which
//! nobody can say which chunks a long body needs.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::table::{Table, TableWriter, temp_file};
use crate::error::{Error, Result};
use crate::format::record::{copy_of_list, is_list};
use crate::id::ChunkHash;

/// Chunks as they are found.
pub(super) struct ChunkWriter {
    table: TableWriter,
    lists: Lists,
    copied: Vec<u8>,
}

/// Lists, in an unnamed file.
struct Lists {
    dir: PathBuf,
    file: File,
    length: u64,
    places: HashMap<ChunkHash, (u64, u32)>,
}

impl ChunkWriter {
    /// An empty one; files that it needs have no names and stand in `dir`.
    pub(super) fn new(dir: &Path) -> Result<Self> {
        Ok(Self {
            table: TableWriter::new(dir),
            lists: Lists {
                dir: dir.to_owned(),
                file: temp_file(dir)?,
                length: 0,
                places: HashMap::new(),
            },
            copied: Vec::new(),
        })
    }

    /// Notes a chunk of class data.
    pub(super) fn insert(&mut self, hash: &ChunkHash, chunk: &[u8]) -> Result<()> {
        self.table.insert(hash)?;
        if is_list(chunk) {
            return self.lists.insert(*hash, chunk);
        }
        // The copy of a list is the list with its bits inverted.
        let first = chunk.first().map_or(0, |byte| !byte);
        if (1..=3).contains(&first) {
            copy_of_list(chunk, &mut self.copied);
            if is_list(&self.copied) {
                let hash = ChunkHash(*blake3::hash(&self.copied).as_bytes());
                return self.lists.insert(hash, &self.copied);
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Chunks> {
        Ok(Chunks {
            table: self.table.finish()?,
            lists: self.lists,
        })
    }
}

impl Lists {
    fn insert(&mut self, hash: ChunkHash, list: &[u8]) -> Result<()> {
        if self.places.contains_key(&hash) {
            return Ok(());
        }
        self.file
            .write_all_at(list, self.length)
            .map_err(Error::io("keep what was found, in", &self.dir))?;
        // A chunk has at most 1 MiB.
        let length = u32::try_from(list.len()).unwrap_or(u32::MAX);
        self.places.insert(hash, (self.length, length));
        self.length += u64::from(length);
        Ok(())
    }
}

/// The chunks that a run found, to compare indexes with.
pub struct Chunks {
    table: Table,
    lists: Lists,
}

impl Chunks {
    /// Whether the chunk with this hash was found.
    ///
    /// # Errors
    /// [`Error::Io`], of the temporary files in which that stands.
    pub fn contains(&mut self, hash: &ChunkHash) -> Result<bool> {
        self.table.contains(hash)
    }

    /// Reads the list with this hash into `out`, from itself or from its copy. `false`:
    /// neither was found.
    ///
    /// # Errors
    /// As [`Chunks::contains`].
    pub fn list(&mut self, hash: &ChunkHash, out: &mut Vec<u8>) -> Result<bool> {
        let Some(&(offset, length)) = self.lists.places.get(hash) else {
            return Ok(false);
        };
        out.resize(length as usize, 0);
        self.lists
            .file
            .read_exact_at(out, offset)
            .map_err(Error::io("read what was found, in", &self.lists.dir))?;
        Ok(true)
    }
}
