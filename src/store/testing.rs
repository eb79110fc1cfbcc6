//! Keys, TOCs and stores for the tests of this folder.

use std::path::Path;

use super::Store;
use crate::brick::BrickSealer;
use crate::crypto::{Key, KeyFile, PublicKey, PutKeys};
use crate::format::keyfile::KeyMaterial;
use crate::format::toc::{Toc, TocChunk};
use crate::format::wire::uv_length;
use crate::id::{BrickName, ChunkId, Class, Epoch, StoreId, WriterId};

/// A secret key, always the same for one number.
pub(super) fn key(number: u8) -> Key {
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
pub(super) fn store(dir: &Path) -> (Store, PutKeys) {
    let key = key(1);
    let store = Store::create(dir, &key, &[], Epoch::FIRST).unwrap();
    let keys = store.put_keys(&key).unwrap();
    (store, keys)
}

/// A brick's name, spread over the shards.
pub(super) fn name(number: u32) -> BrickName {
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
pub(super) fn toc(frames: &[&[u32]]) -> Toc {
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
pub(super) fn write_sidecar(store: &Store, keys: &PutKeys, name: &BrickName, toc: &Toc) -> u64 {
    let sealer = BrickSealer::new(*store.id(), keys.epoch, Class::Data, store.recipients());
    let bytes = sealer.unwrap().seal_toc(keys, toc).unwrap();
    store.write_sidecar(keys, name, &bytes).unwrap();
    toc.end() + bytes.len() as u64 + 64
}
