//! Notes: any opened bytes are read or refused, what is read is written alike, no byte of a
//! sealed note can change, and a file that is no note of this store is refused.
#![no_main]

use dtar::brick::{open_note, seal_note};
use dtar::crypto::{Key, KeyFile, PutKeys};
use dtar::format::note::{Note, NoteKind};
use dtar::id::{Epoch, StoreId};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

const STORE: StoreId = StoreId([1; 16]);
/// The key of the tests: so that what they keep as seeds opens.
const KEY: &[u8] = b"DTAR-SECRET-KEY-1QURSWPC8QURSWPC8QURSWPC8QURSWPC8QURSWPC8QURSWPC8QURS6WX2GE\n";

fn key() -> Key {
    match KeyFile::parse(KEY) {
        Ok(KeyFile::Key(key)) => key,
        _ => unreachable!("it is a key"),
    }
}

static KEYS: LazyLock<[PutKeys; 2]> = LazyLock::new(|| {
    let of = |store| key().put_keys(StoreId([store; 16]), Epoch::FIRST).unwrap();
    [of(1), of(2)]
});

fuzz_target!(|data: &[u8]| {
    let [keys, others] = &*KEYS;
    assert_eq!(keys.store_id, STORE);
    // Nobody seals by chance.
    assert!(open_note(keys, data).is_err());
    let Some((&[low, high], data)) = data.split_first_chunk() else {
        return;
    };
    let Ok(note) = Note::decode(data) else {
        return;
    };
    let bricks = note.bricks.len();
    assert!(match note.kind {
        NoteKind::ArchiverLease | NoteKind::GcLease => bricks == 0,
        NoteKind::DeadList => bricks > 0,
        NoteKind::Mark => bricks == 1,
    });
    assert!(note.bricks.is_sorted_by(|one, next| one < next));
    let mut written = Vec::new();
    note.encode(&mut written).unwrap();
    assert_eq!(Note::decode(&written), Ok(note.clone()));
    let mut sealed = seal_note(keys, &note).unwrap();
    assert_eq!(open_note(others, &sealed).unwrap_err().field, "store id");
    assert_eq!(open_note(keys, &sealed), Ok(note));
    let position = usize::from(u16::from_le_bytes([low, high])) % sealed.len();
    sealed[position] ^= 1;
    assert!(open_note(keys, &sealed).is_err());
    sealed[position] ^= 1;
    sealed.truncate(position);
    assert!(open_note(keys, &sealed).is_err());
});
