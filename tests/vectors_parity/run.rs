//! Runs a vector through the library.

use std::fs;
use std::path::Path;

use dtar::archive::Monitor;
use dtar::error::Exit;
use dtar::format::parity::{Description, Head};
use dtar::parity::{AddOptions, Places, RepairOptions, add, repair};
use reed_solomon_simd::engine::DefaultEngine;
use reed_solomon_simd::rate::{HighRateEncoder, RateEncoder};

use super::harness::decode_class;
use super::vector::Vector;

pub fn run(kind: &str, vector: &Vector) -> String {
    match kind {
        "parity-code" => {
            code(vector);
            "ok".into()
        }
        "parity-head" => {
            let bytes = vector.bytes("head");
            Head::decode(&bytes).map_or_else(
                |error| decode_class(&error),
                |head| {
                    assert_eq!(head.encode(), bytes);
                    "ok".into()
                },
            )
        }
        "parity-description" => {
            let bytes = vector.bytes("description");
            Description::decode(&bytes).map_or_else(
                |error| decode_class(&error),
                |description| {
                    // Fields are not written again.
                    assert!(bytes.starts_with(&description.encode()));
                    "ok".into()
                },
            )
        }
        _ => {
            set(vector);
            "ok".into()
        }
    }
}

/// What the crate computes is what the formula says.
fn code(vector: &Vector) {
    let (originals, recovery) = (vector.list("original"), vector.list("recovery"));
    let length = originals[0].len();
    let engine = DefaultEngine::new();
    let mut encoder =
        HighRateEncoder::new(originals.len(), recovery.len(), length, engine, None).unwrap();
    for shard in &originals {
        encoder.add_original_shard(shard).unwrap();
    }
    let result = encoder.encode().unwrap();
    assert_eq!(result.recovery_iter().collect::<Vec<_>>(), recovery);
}

fn write(dir: &Path, bytes: &[u8]) {
    let name = blake3::hash(bytes).to_hex();
    fs::write(dir.join(format!("{name}.brick")), bytes).unwrap();
}

/// What `dtar parity add` writes is what the second implementation wrote, and it serves.
fn set(vector: &Vector) {
    let dir = tempfile::tempdir().unwrap();
    let bricks = vector.list("brick");
    for brick in &bricks {
        write(dir.path(), brick);
    }
    let places = Places::new(dir.path(), &[]).unwrap();
    let options = AddOptions {
        share: vector.text("share").parse().unwrap(),
        group: 100,
        merge: false,
    };
    add(&places, &options, &Monitor::default(), &mut || {}).unwrap();
    for file in vector.list("file") {
        let name = blake3::hash(&file).to_hex();
        let path = dir
            .path()
            .join(format!("parity/{}/{name}.parity", &name[..2]));
        assert_eq!(fs::read(path).unwrap(), file);
    }
    let lost: Vec<usize> = vector
        .text("lost")
        .split(' ')
        .map(|number| number.parse().unwrap())
        .collect();
    for number in &lost {
        let name = blake3::hash(&bricks[*number]).to_hex();
        fs::remove_file(dir.path().join(format!("{name}.brick"))).unwrap();
    }
    let options = RepairOptions::default();
    let summary = repair(
        &places,
        &options,
        &Monitor::default(),
        &mut || {},
        &mut |_| {},
    )
    .unwrap();
    assert_eq!(summary.exit_after_repair(), Exit::Done);
    for brick in &bricks {
        let name = blake3::hash(brick).to_hex();
        let path = dir.path().join(format!("{name}.brick"));
        assert_eq!(fs::read(path).unwrap(), *brick);
    }
}
