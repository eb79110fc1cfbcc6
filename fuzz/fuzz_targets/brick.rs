//! Brick headers, footers and roots: what is read has one spelling, but for what the
//! format tells a reader to ignore; and any root under a good seal is read or refused.
#![no_main]

use dtar::brick::{open_root, seal_root};
use dtar::crypto::{Key, PutKeys};
use dtar::format::brick::{BrickHeader, Footer};
use dtar::format::root::Root;
use dtar::format::wire::{check, put_prefix};
use dtar::id::{Epoch, StoreId};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

const STORE: StoreId = StoreId([1; 16]);
static KEYS: LazyLock<PutKeys> = LazyLock::new(|| {
    Key::generate()
        .unwrap()
        .put_keys(STORE, Epoch::FIRST)
        .unwrap()
});

/// `data` with prefix and check, so that decoding gets past them.
fn checked<const N: usize>(magic: &[u8; 8], data: &[u8]) -> [u8; N] {
    let mut bytes = Vec::new();
    put_prefix(&mut bytes, magic);
    bytes.extend_from_slice(data);
    bytes.resize(N - 16, 0);
    let check = check(&bytes);
    bytes.extend_from_slice(&check);
    bytes.try_into().unwrap()
}

fuzz_target!(|data: &[u8]| {
    let header: [u8; 80] = checked(b"dtarBRIK", data);
    if let Ok(read) = BrickHeader::decode(&header) {
        assert_eq!(BrickHeader::decode(&read.encode()), Ok(read));
        assert_eq!(read.encode()[..53], header[..53]);
    }

    let bytes: [u8; 64] = checked(b"dtarFOOT", data);
    let length = u64::from_le_bytes(bytes[32..40].try_into().unwrap());
    if let Ok(read) = Footer::decode(&bytes, length) {
        assert_eq!(read.brick_length(), length);
        assert_eq!(read.encode()[..40], bytes[..40]);
    }

    if let Ok(root) = Root::decode(data) {
        let mut sealed = seal_root(&KEYS, &root).unwrap();
        assert_eq!(open_root(&KEYS, &sealed), Ok(root));
        let position = data.first().map_or(0, |&byte| usize::from(byte)) % sealed.len();
        sealed[position] ^= 1;
        // The bits of compatible features are ignored, but sealed.
        assert!(open_root(&KEYS, &sealed).is_err());
    }
});
