//! Key files: any file is read or refused, what is read is written alike, and a key
//! under a passphrase opens with that passphrase alone.
#![no_main]

use dtar::crypto::{Key, KeyFile, UnlockError};
use dtar::format::keyfile::{KeyKind, decode_line, encode_lower};
use dtar::format::lock::{Cost, Locked};
use dtar::id::{Epoch, StoreId};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

const STORE: StoreId = StoreId([1; 16]);
static KEY: LazyLock<Key> = LazyLock::new(|| Key::generate().unwrap());
static PUT_KEY: LazyLock<Key> = LazyLock::new(|| {
    let recipients = [KEY.public_key().unwrap()];
    KEY.to_put_key(STORE, Epoch::FIRST, &recipients).unwrap()
});

/// A file that is read holds what it is written as.
fn parse(file: &[u8]) {
    match KeyFile::parse(file) {
        Ok(KeyFile::Key(key)) => {
            let text = key.to_text();
            let Ok(KeyFile::Key(again)) = KeyFile::parse(text.as_bytes()) else {
                panic!("a key is not read back");
            };
            assert_eq!(*again.to_text(), *text);
            if let (Some(store), Some(epoch)) = (key.store_id(), key.epoch()) {
                assert!(key.put_keys(store, epoch).is_ok());
                assert!(key.put_keys(store, Epoch(epoch.0 ^ 1)).is_err());
            }
        }
        Ok(KeyFile::Public(key)) => assert_eq!(key.to_text().parse(), Ok(key)),
        Ok(KeyFile::Locked(_)) | Err(_) => {}
    }
}

fuzz_target!(|data: &[u8]| {
    parse(data);
    let _ = Locked::decode(data);
    // With a good checksum, so that reading gets past it.
    for kind in KeyKind::ALL {
        let text = encode_lower(kind, data);
        if let Ok((found, bytes)) = decode_line(&text) {
            assert_eq!((found, bytes.as_slice()), (kind, data));
        }
        parse(text.as_bytes());
    }
    let cost = Cost {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    };
    let key = match data.first() {
        Some(byte) if byte % 2 == 1 => &PUT_KEY,
        _ => &KEY,
    };
    let text = key.lock(data, cost).unwrap();
    let Ok(KeyFile::Locked(locked)) = KeyFile::parse(text.as_bytes()) else {
        panic!("a locked key is not read back");
    };
    assert_eq!(*locked.unlock(data).unwrap().to_text(), *key.to_text());
    let other = [data, b"!"].concat();
    assert_eq!(
        locked.unlock(&other).unwrap_err(),
        UnlockError::WrongPassphrase
    );
});
