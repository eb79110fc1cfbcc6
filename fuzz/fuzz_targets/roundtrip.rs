//! Any bytes in, the same bytes out, through all stages; and the second time
//! nothing is stored and the index is the same.
#![no_main]

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dtar::archive::{ArchiveOptions, Context, Monitor, archive};
use dtar::crypto::{Key, KeyFile};
use dtar::format::note::NoteKind;
use dtar::id::Epoch;
use dtar::index::IndexFile;
use dtar::restore::{Origin, RestoreOptions, restore};
use dtar::store::Store;
use dtar::store::catalog::Catalog;
use dtar::store::runs::Lease;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

/// The key of the tests: 32 times 7.
const KEY: &[u8] = b"DTAR-SECRET-KEY-1QURSWPC8QURSWPC8QURSWPC8QURSWPC8QURSWPC8QURSWPC8QURS6WX2GE\n";

/// A store that serves a number of runs, then makes room.
struct Place {
    dir: TempDir,
    runs: u32,
}

impl Place {
    fn new() -> Self {
        let shared = Path::new("/dev/shm");
        let dir = if shared.is_dir() {
            tempfile::tempdir_in(shared)
        } else {
            tempfile::tempdir()
        };
        let dir = dir.expect("a temporary folder");
        Store::create(&dir.path().join("store"), &key(), &[], Epoch::FIRST).expect("a new store");
        Self { dir, runs: 0 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn store(&self) -> Store {
        Store::open(&self.path("store"), &key()).expect("the store just made")
    }

    fn archive(&self, data: &[u8]) -> (Vec<u8>, u64) {
        let store = self.store();
        let keys = store.put_keys(&key()).expect("put keys");
        let lease = Lease::take(&store, &keys, NoteKind::ArchiverLease, "").expect("a lease");
        let (catalog, _) =
            Catalog::open(&self.path("catalog"), &store, &keys).expect("the catalog");
        let options = ArchiveOptions {
            threads: 2,
            ..ArchiveOptions::default()
        };
        let (index, summary) = archive(
            Cursor::new(data.to_vec()),
            Vec::new(),
            Path::new("index"),
            Arc::new(Context { store, keys, lease }),
            catalog,
            &options,
            &Arc::new(Monitor::default()),
        )
        .expect("any bytes can be archived");
        (index, summary.bricks)
    }

    fn restore(&self, index: &[u8]) -> Vec<u8> {
        let mut file = tempfile::NamedTempFile::new_in(&self.dir).expect("a temporary file");
        file.write_all(index).expect("a temporary file");
        let index = IndexFile::open(file.path()).expect("an index");
        let mut stream = Vec::new();
        restore(
            &index,
            &Origin::from(&self.store()),
            &key(),
            &mut stream,
            &RestoreOptions::default(),
            None,
            &Arc::new(Monitor::default()),
        )
        .expect("what was archived can be restored");
        stream
    }
}

fn key() -> Key {
    match KeyFile::parse(KEY) {
        Ok(KeyFile::Key(key)) => key,
        _ => panic!("the key of the tests"),
    }
}

thread_local! {
    static PLACE: std::cell::RefCell<Option<Place>> = const { std::cell::RefCell::new(None) };
}

fuzz_target!(|data: &[u8]| {
    PLACE.with_borrow_mut(|place| {
        if place.as_ref().is_some_and(|place| place.runs == 200) {
            *place = None;
        }
        let place = place.get_or_insert_with(Place::new);
        place.runs += 1;
        let (index, _) = place.archive(data);
        assert!(place.restore(&index) == data, "the stream is another");
        let (again, bricks) = place.archive(data);
        assert!(again == index, "the second index is another");
        assert_eq!(bricks, 0, "stored again");
    });
});
