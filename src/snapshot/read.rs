//! Reads a snapshot: its chunks, its streams, and the index that they make.

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::chunks::{Chunks, Place};
use super::runs::{Run, refused};
use super::{STREAMS, join};
use crate::brick::open_snapshot;
use crate::crypto::{Key, PutKeys};
use crate::error::{Error, Exit, Result};
use crate::format::record::{Item, decode_list};
use crate::format::snapshot::Snapshot;
use crate::id::ChunkHash;
use crate::index::IndexFile;
use crate::store::Store;

/// Puts together the index that a run made. Bricks are also looked for in the folders
/// `bricks_in`, which must be laid out like a store.
///
/// The streams, and then the index, go to unnamed files in the folder for temporary
/// files. The seal of the index is not checked here: whoever opens it does that.
///
/// # Errors
/// Whatever is missing, damaged, or not what root and snapshot say; a put key.
pub fn open(
    store: &Store,
    key: &Key,
    keys: &PutKeys,
    run: &Run,
    bricks_in: &[PathBuf],
) -> Result<IndexFile> {
    let path = store.layout().snapshot_path(&run.name);
    let snapshot = read_file(store, key, run, &path)?;
    let mut chunks = Chunks::find(store, key, keys, run, bricks_in)?;
    put_together(&path, &snapshot, &mut chunks)
}

/// The index that `snapshot` describes, of its chunks.
pub(super) fn put_together(
    path: &Path,
    snapshot: &Snapshot,
    chunks: &mut Chunks<'_>,
) -> Result<IndexFile> {
    let dir = std::env::temp_dir();
    let temp = || tempfile::tempfile_in(&dir).map_err(Error::io("make a file in", &dir));
    let files = std::iter::repeat_with(temp).take(STREAMS);
    let mut streams = StreamFiles {
        path,
        dir: &dir,
        chunks,
        files: files.collect::<Result<_>>()?,
        plan: Vec::new(),
    };
    for (stream, number) in snapshot.streams.iter().zip(0..) {
        streams.add(&stream.items, number, &mut 0)?;
    }
    streams.write()?;
    let files = streams.files;
    let index = temp()?;
    join_files(files, &index, snapshot.index_length).map_err(|error| {
        if error.kind() == ErrorKind::InvalidData {
            return refused(path.to_owned(), error.to_string(), Exit::Damaged);
        }
        Error::io("use a temporary file in", &dir)(error)
    })?;
    IndexFile::unpacked(index, path)
}

fn join_files(files: Vec<File>, index: &File, length: u64) -> std::io::Result<()> {
    let readers: Vec<_> = files
        .into_iter()
        .map(|file| BufReader::with_capacity(64 << 10, file))
        .collect();
    let mut readers: [_; STREAMS] = readers
        .try_into()
        .map_err(|_| std::io::Error::other("another number of streams"))?;
    join(
        &mut readers,
        BufWriter::with_capacity(256 << 10, index),
        length,
    )
}

/// The snapshot file, if it is the one that the root means.
fn read_file(store: &Store, key: &Key, run: &Run, path: &Path) -> Result<Snapshot> {
    let bytes = match store.read_snapshot(&run.name) {
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
            let message = format!(
                "this snapshot is missing, though its run has a root: the run was interrupted \
                 before it wrote it, or the file was lost; bring back a copy of the file, or use \
                 the index that the run wrote; if there is neither, `dtar forget @{}` gives up \
                 the run",
                run.name
            );
            return Err(refused(path.to_owned(), message, Exit::Damaged));
        }
        result => result?,
    };
    if blake3::hash(&bytes) != run.snapshot.hash {
        let message = "damaged snapshot, or another one: its hash is not the one in the run's \
                       root; take another copy of this file";
        return Err(refused(path.to_owned(), message.into(), Exit::Damaged));
    }
    let snapshot = open_snapshot(&key.opener(*store.id())?, path, bytes)?;
    let (root, found) = (&run.root, &snapshot);
    if (root.time, root.writer, run.snapshot.index_length)
        != (found.time, found.writer, found.index_length)
    {
        let message = "broken snapshot: time, writer or length are not those in the run's root";
        return Err(refused(path.to_owned(), message.into(), Exit::Damaged));
    }
    Ok(snapshot)
}

/// A chunk, and where it belongs.
struct Wanted {
    place: Place,
    stream: u8,
    length: u32,
    offset: u64,
    hash: ChunkHash,
}

/// So many chunks are planned before they are read: what a snapshot claims to hold takes
/// disk, and no memory.
const MOST_WANTED: usize = if cfg!(test) { 5 } else { 1 << 18 };

/// The streams of a snapshot in the making.
struct StreamFiles<'s, 'c> {
    path: &'s Path,
    dir: &'s Path,
    chunks: &'s mut Chunks<'c>,
    files: Vec<File>,
    plan: Vec<Wanted>,
}

impl StreamFiles<'_, '_> {
    /// Adds the chunks that `items` stand for. Lists nest at most seven deep.
    fn add(&mut self, items: &[Item], stream: u8, offset: &mut u64) -> Result<()> {
        for item in items {
            match item {
                Item::Chunk { length, hash } => {
                    self.plan.push(Wanted {
                        place: self.chunks.place(hash)?,
                        stream,
                        length: *length,
                        offset: *offset,
                        hash: *hash,
                    });
                    *offset += u64::from(*length);
                    if self.plan.len() >= MOST_WANTED {
                        self.write()?;
                    }
                }
                Item::List(list) => {
                    let place = self.chunks.place(&list.hash)?;
                    let bytes = self.chunks.chunk(place, &list.hash, list.length)?;
                    let items = decode_list(bytes, list).map_err(Error::decode(self.path, 0))?;
                    self.add(&items, stream, offset)?;
                }
                Item::Whole | Item::Zeros { .. } => {
                    let message = "broken snapshot: a list of other things than chunks";
                    return Err(refused(self.path.to_owned(), message.into(), Exit::Damaged));
                }
            }
        }
        Ok(())
    }

    /// Writes the chunks that are planned to where they belong, each frame's together.
    fn write(&mut self) -> Result<()> {
        self.plan
            .sort_unstable_by_key(|wanted| (wanted.place, wanted.stream, wanted.offset));
        for wanted in self.plan.drain(..) {
            let chunk = self
                .chunks
                .chunk(wanted.place, &wanted.hash, wanted.length)?;
            self.files[usize::from(wanted.stream)]
                .write_all_at(chunk, wanted.offset)
                .map_err(Error::io("write a temporary file in", self.dir))?;
        }
        Ok(())
    }
}
