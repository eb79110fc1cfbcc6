//! What the sound frames held: which chunks, and the lists among them, without which
//! nobody can say which chunks a long body needs.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::table::{KEY, Table, TableWriter, key, temp_file};
use crate::error::{Error, Result};
use crate::format::record::{copy_of_list, is_list};
use crate::id::ChunkHash;

/// A key, and where its list stands: `u64` offset, `u32` length.
const LIST: usize = KEY + 12;

/// Chunks as they are found.
pub(super) struct ChunkWriter {
    table: TableWriter<KEY>,
    lists: ListWriter,
    copied: Vec<u8>,
}

/// Lists, in an unnamed file. Anybody can make chunks that look like them, so what is
/// known of each is kept on disk as well.
struct ListWriter {
    dir: PathBuf,
    file: File,
    length: u64,
    places: TableWriter<LIST>,
}

impl ChunkWriter {
    /// An empty one; files that it needs have no names and stand in `dir`.
    pub(super) fn new(dir: &Path) -> Result<Self> {
        Ok(Self {
            table: TableWriter::new(dir),
            lists: ListWriter {
                dir: dir.to_owned(),
                file: temp_file(dir)?,
                length: 0,
                places: TableWriter::new(dir),
            },
            copied: Vec::new(),
        })
    }

    /// Notes a chunk of class data.
    pub(super) fn insert(&mut self, hash: &ChunkHash, chunk: &[u8]) -> Result<()> {
        self.table.insert(key(hash))?;
        if is_list(chunk) {
            return self.lists.insert(hash, chunk);
        }
        // The copy of a list is the list with its bits inverted.
        let first = chunk.first().map_or(0, |byte| !byte);
        if (1..=3).contains(&first) {
            copy_of_list(chunk, &mut self.copied);
            if is_list(&self.copied) {
                let hash = ChunkHash(*blake3::hash(&self.copied).as_bytes());
                return self.lists.insert(&hash, &self.copied);
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Chunks> {
        Ok(Chunks {
            table: self.table.finish()?,
            lists: self.lists.finish()?,
        })
    }
}

impl ListWriter {
    fn insert(&mut self, hash: &ChunkHash, list: &[u8]) -> Result<()> {
        self.file
            .write_all_at(list, self.length)
            .map_err(Error::io("keep what was found, in", &self.dir))?;
        // A chunk has at most 1 MiB.
        let length = u32::try_from(list.len()).unwrap_or(u32::MAX);
        let mut entry = [0; LIST];
        entry[..KEY].copy_from_slice(&key(hash));
        entry[KEY..KEY + 8].copy_from_slice(&self.length.to_le_bytes());
        entry[KEY + 8..].copy_from_slice(&length.to_le_bytes());
        self.length += u64::from(length);
        self.places.insert(entry)
    }

    fn finish(self) -> Result<Lists> {
        Ok(Lists {
            dir: self.dir,
            file: self.file,
            places: self.places.finish()?,
        })
    }
}

/// Lists that can be found.
struct Lists {
    dir: PathBuf,
    file: File,
    places: Table<LIST>,
}

/// The chunks that a run found, to compare indexes with.
pub struct Chunks {
    table: Table<KEY>,
    lists: Lists,
}

impl Chunks {
    /// Whether the chunk with this hash was found.
    ///
    /// # Errors
    /// [`Error::Io`], of the temporary files in which that stands.
    pub fn contains(&mut self, hash: &ChunkHash) -> Result<bool> {
        Ok(self.table.find(hash)?.is_some())
    }

    /// Reads the list with this hash into `out`, from itself or from its copy. `false`:
    /// neither was found.
    ///
    /// # Errors
    /// As [`Chunks::contains`].
    pub fn list(&mut self, hash: &ChunkHash, out: &mut Vec<u8>) -> Result<bool> {
        let Some(entry) = self.lists.places.find(hash)? else {
            return Ok(false);
        };
        let place = entry[KEY..].split_first_chunk();
        let (offset, length) = place.map_or((0, 0), |(offset, length): (&[u8; 8], &[u8])| {
            let length = length.first_chunk().copied().unwrap_or_default();
            (u64::from_le_bytes(*offset), u32::from_le_bytes(length))
        });
        out.resize(length as usize, 0);
        self.lists
            .file
            .read_exact_at(out, offset)
            .map_err(Error::io("read what was found, in", &self.lists.dir))?;
        Ok(blake3::hash(out).as_bytes() == hash.as_bytes())
    }
}
