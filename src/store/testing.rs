//! Bytes, keys, TOCs and stores for unit tests.

use std::path::{Path, PathBuf};

use super::layout::RunName;
use super::{Store, atomic, runs};
use crate::brick::{BrickSealer, make_sidecar, seal_note};
use crate::crypto::{Key, KeyFile, PublicKey, PutKeys};
use crate::format::keyfile::KeyMaterial;
use crate::format::note::{Note, NoteKind};
use crate::format::toc::{Toc, TocChunk};
use crate::format::wire::uv_length;
use crate::id::{BrickName, ChunkId, Class, Epoch, StoreId, WriterId};

/// Bytes that do not compress, always the same for one seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

/// A secret key, always the same for one number.
pub(crate) fn key(number: u8) -> Key {
    let master = [number; 32].into();
    let text = KeyMaterial::Secret { master }.encode();
    match KeyFile::parse(text.as_bytes()) {
        Ok(KeyFile::Key(key)) => key,
        other => panic!("{other:?}"),
    }
}

/// The put key of [`key`] for a store with these public keys.
pub(super) fn put_key(number: u8, store: StoreId, epoch: Epoch, recipients: &[PublicKey]) -> Key {
    key(number).to_put_key(store, epoch, recipients).unwrap()
}

/// A store of the key 1.
pub(crate) fn store(dir: &Path) -> (Store, PutKeys) {
    let key = key(1);
    let store = Store::create(dir, &key, &[], Epoch::FIRST).unwrap();
    let keys = store.put_keys(&key).unwrap();
    (store, keys)
}

/// A brick's name, spread over the shards.
pub(crate) fn name(number: u32) -> BrickName {
    BrickName(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

/// A chunk's id.
pub(super) fn id(number: u32) -> ChunkId {
    let mut id = [0; 16];
    id.copy_from_slice(&blake3::hash(&number.to_be_bytes()).as_bytes()[16..]);
    ChunkId(id)
}

/// A chunk's length.
pub(super) fn length(number: u32) -> u32 {
    1 + number % 2_000
}

/// A TOC with one frame for each list of chunk numbers, of 1,000 bytes and one for each chunk.
pub(crate) fn toc(frames: &[&[u32]]) -> Toc {
    let mut toc = Toc::new(Class::Data, WriterId([3; 16]));
    for chunks in frames {
        let plain = chunks.iter().map(|&chunk| {
            let length = length(chunk);
            length + u32::try_from(uv_length(length.into())).unwrap()
        });
        let entries = chunks.iter().map(|&chunk| TocChunk {
            id: id(chunk),
            length: length(chunk),
        });
        let sealed = 1_000 + u32::try_from(chunks.len()).unwrap();
        toc.push_frame(sealed, plain.sum(), entries).unwrap();
    }
    toc
}

/// Writes the sidecar of a brick, and returns the length that the brick would have.
pub(crate) fn write_sidecar(store: &Store, keys: &PutKeys, name: &BrickName, toc: &Toc) -> u64 {
    let sealer = BrickSealer::new(*store.id(), keys.epoch, Class::Data, store.recipients());
    let bytes = sealer.unwrap().seal_toc(keys, toc).unwrap();
    let sidecar = make_sidecar(keys, name, &bytes);
    atomic::write(&store.layout().temp_dir(), &store.toc_path(name), &sidecar).unwrap();
    toc.end() + bytes.len() as u64 + 64
}

/// Writes a dead list, and returns its path.
pub(super) fn write_dead_list(store: &Store, keys: &PutKeys, bricks: &[BrickName]) -> PathBuf {
    let name = RunName::draw(7).unwrap();
    let note = Note {
        bricks: bricks.to_vec(),
        ..runs::new_note(NoteKind::DeadList, Some(&name), WriterId([3; 16]))
    };
    let path = store.layout().dead_path(&name);
    atomic::write(
        &store.layout().temp_dir(),
        &path,
        &seal_note(keys, &note).unwrap(),
    )
    .unwrap();
    path
}

/// A lease of an archiver.
pub(super) fn lease(store: &Store, keys: &PutKeys) -> runs::Lease {
    runs::Lease::take(store, keys, NoteKind::ArchiverLease, "").unwrap()
}
