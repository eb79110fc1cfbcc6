//! TOCs, with the origins of moved frames: any opened bytes are read or refused, what is
//! read is written alike, and no
//! byte of a sealed TOC or sidecar can change.
#![no_main]

use dtar::brick::{BrickSealer, make_sidecar, open_brick_toc, open_sidecar, open_toc};
use dtar::crypto::Key;
use dtar::format::brick::{BrickHeader, Footer};
use dtar::format::origins::{MAX_ORIGINS, Origin};
use dtar::format::toc::{Toc, TocHeader};
use dtar::id::{BrickName, Class, Epoch, StoreId};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

const STORE: StoreId = StoreId([1; 16]);
const NAME: BrickName = BrickName([7; 32]);
static KEY: LazyLock<Key> = LazyLock::new(|| Key::generate().unwrap());

fuzz_target!(|data: &[u8]| {
    let _ = TocHeader::decode(data);
    let Some((&[low, high], data)) = data.split_first_chunk() else {
        return;
    };
    let Ok(toc) = Toc::decode(data) else {
        return;
    };
    let mut written = Vec::new();
    toc.encode(&mut written).unwrap();
    assert_eq!(Toc::decode(&written), Ok(toc.clone()));

    if let Some(origins) = toc.origins() {
        let frames: Vec<Vec<Origin>> = (0..toc.frames().len())
            .map(|frame| origins.of(frame).collect())
            .collect();
        assert!(
            frames
                .iter()
                .all(|places| places.is_sorted_by(|one, next| one < next))
        );
        assert!(frames.iter().map(Vec::len).sum::<usize>() <= MAX_ORIGINS);
        let mut again = toc.clone();
        again.set_origins(&frames, origins.bricks()).unwrap();
        assert_eq!(again, toc);
    }

    let keys = KEY.put_keys(STORE, Epoch::FIRST).unwrap();
    let recipient = KEY.public_key().unwrap();
    let sealer = BrickSealer::new(STORE, Epoch::FIRST, toc.class(), &[recipient]).unwrap();
    let sealed = sealer.seal_toc(&keys, &toc).unwrap();
    assert_eq!(open_toc(&keys, &sealed), Ok(toc.clone()));
    let mut brick = BrickHeader::decode(&sealer.header()).unwrap();
    let footer = Footer {
        toc_offset: toc.end(),
        toc_length: sealed.len() as u64,
    };
    assert_eq!(
        open_brick_toc(&keys, &brick, &sealed, &footer),
        Ok(toc.clone())
    );
    brick.class = match brick.class {
        Class::Data => Class::Metadata,
        Class::Metadata => Class::Data,
    };
    assert!(open_brick_toc(&keys, &brick, &sealed, &footer).is_err());
    let elsewhere = KEY.put_keys(StoreId([2; 16]), Epoch::FIRST).unwrap();
    assert_eq!(open_toc(&elsewhere, &sealed).unwrap_err().field, "store id");
    let mut sidecar = make_sidecar(&keys, &NAME, &sealed);
    assert_eq!(open_sidecar(&keys, &NAME, &sidecar), Ok(toc));
    let position = usize::from(u16::from_le_bytes([low, high])) % sidecar.len();
    sidecar[position] ^= 1;
    assert!(open_sidecar(&keys, &NAME, &sidecar).is_err());
});
