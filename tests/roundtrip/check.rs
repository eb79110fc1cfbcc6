//! What every stream has to stand.

use std::path::Path;

use crate::common::Case;
use crate::common::listing::{Listing, compare_listings};
use crate::common::sandbox::Sandbox;

/// Bytes, listings and a second run of each case; then what is left when it is
/// cut short, and all cases behind one another.
#[track_caller]
pub fn all_ways(cases: &[Case]) -> Vec<Listing> {
    assert!(!cases.is_empty(), "no stream to test");
    let sandbox = Sandbox::new();
    let listings = cases
        .iter()
        .map(|case| {
            let listing = whole(&sandbox, case);
            twice(&sandbox, case);
            cut_short(&sandbox, case);
            listing
        })
        .collect();
    behind_one_another(&sandbox, cases);
    listings
}

/// As [`all_ways`]; besides, the three tar readers have to list each stream alike.
#[track_caller]
pub fn all_ways_listed(cases: &[Case]) {
    for (case, listing) in cases.iter().zip(all_ways(cases)) {
        if let Listing::Apart(reason) = listing {
            panic!("{}: was meant to be listed alike: {reason}", case.name);
        }
    }
}

/// The bytes come back, and the index lists like the stream.
#[track_caller]
pub fn whole(sandbox: &Sandbox, case: &Case) -> Listing {
    let stream = sandbox.path().join("stream.tar");
    std::fs::write(&stream, &case.bytes).unwrap();
    let index = same_bytes(sandbox, &case.name, &case.bytes);
    seed(sandbox, case, &index);
    compare_listings(&case.name, &stream, &index)
}

/// The bytes come back; returns the index's path.
#[track_caller]
fn same_bytes(sandbox: &Sandbox, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    println!("{name}, {} bytes", bytes.len());
    let index = sandbox.archive("index.tar", bytes);
    sandbox.restores(&index, bytes);
    index
}

/// A second run over the same bytes stores nothing and writes the same index.
#[track_caller]
fn twice(sandbox: &Sandbox, case: &Case) {
    let stored = sandbox.stored_files();
    let again = sandbox.archive("again.tar", &case.bytes[..]);
    let name = &case.name;
    assert_eq!(sandbox.stored_files(), stored, "{name}: stored again");
    let first = std::fs::read(sandbox.path().join("index.tar")).unwrap();
    let second = std::fs::read(again).unwrap();
    assert!(first == second, "{name}: the second index differs");
}

/// The stream cut at odd places comes back as short as it went in.
#[track_caller]
fn cut_short(sandbox: &Sandbox, case: &Case) {
    let length = case.bytes.len();
    let mut places = vec![1, 511, 513, 1023, 1537, (length / 2) | 1, (length / 3) | 1];
    places.extend([1, 511, 513].map(|less| length.saturating_sub(less)));
    places.retain(|&place| 0 < place && place < length);
    places.sort_unstable();
    places.dedup();
    for place in places {
        let name = format!("{} cut at {place}", case.name);
        same_bytes(sandbox, &name, &case.bytes[..place]);
    }
}

/// All streams in one, each at a block; each one byte further; and cut.
#[track_caller]
fn behind_one_another(sandbox: &Sandbox, cases: &[Case]) {
    let (mut plain, mut shifted) = (Vec::new(), Vec::new());
    for case in cases {
        plain.extend_from_slice(&case.bytes);
        shifted.extend_from_slice(&case.bytes);
        shifted.push(b'\n');
    }
    same_bytes(sandbox, "all behind one another", &plain);
    same_bytes(sandbox, "all, each shifted by a byte", &shifted);
    same_bytes(sandbox, "all, cut", &plain[..plain.len() / 7 * 5]);
}

/// Keeps small streams and what became of them as seeds for the fuzz targets,
/// if `DTAR_SEEDS` names a folder for them.
fn seed(sandbox: &Sandbox, case: &Case, index: &Path) {
    const LIMIT: u64 = 64 << 10;
    let Some(dir) = std::env::var_os("DTAR_SEEDS") else {
        return;
    };
    let keep = |target: &str, path: &Path| {
        if std::fs::metadata(path).unwrap().len() <= LIMIT {
            let dir = Path::new(&dir).join(target);
            std::fs::create_dir_all(&dir).unwrap();
            let bytes = std::fs::read(path).unwrap();
            let name = blake3::hash(&bytes).to_hex();
            std::fs::write(dir.join(&name[..16]), bytes).unwrap();
        }
    };
    let stream = sandbox.path().join("stream.tar");
    assert_eq!(
        std::fs::metadata(&stream).unwrap().len(),
        case.bytes.len() as u64
    );
    keep("split", &stream);
    keep("roundtrip", &stream);
    keep("index", index);
    keep("keyfile", &sandbox.key());
}
