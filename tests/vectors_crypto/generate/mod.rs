//! Makes the vectors that are not taken from elsewhere.
#![expect(
    clippy::too_many_lines,
    reason = "tables of cases, one fault a row, are read row by row"
)]

mod bricks;
mod frames;
mod keys;
mod notes;
mod roots;
mod snapshots;
mod stores;

use super::forge;
use super::harness::{Made, PREFIX_FAULTS};
use super::vector::Vector;

pub fn all() -> Vec<(String, Vector)> {
    [
        keys::derivation(),
        keys::files(),
        keys::passphrases(),
        keys::entries(),
        frames::frames(),
        bricks::headers(),
        bricks::footers(),
        bricks::tocs(),
        bricks::sidecars(),
        roots::roots(),
        snapshots::files(),
        snapshots::joins(),
        notes::notes(),
        stores::configs(),
    ]
    .into_iter()
    .flat_map(|made| made.vectors)
    .collect()
}

/// An edit that puts `bytes` at `offset`.
fn put<const N: usize>(offset: usize, bytes: [u8; N]) -> impl Fn(&mut [u8]) {
    move |header| header[offset..offset + N].copy_from_slice(&bytes)
}

/// Adds a vector for each fault of a prefix; `holds` is for the one that is ignored.
fn add_prefix_faults(
    made: &mut Made,
    vector: impl Fn(&str, &str, usize, u8) -> Vector,
    holds: impl Fn(Vector) -> Vector,
) {
    for (name, comment, expect, offset, byte) in PREFIX_FAULTS {
        let vector = vector(comment, expect, offset, byte);
        made.add(
            name,
            if expect == "ok" {
                holds(vector)
            } else {
                vector
            },
        );
    }
}

/// The bytes with a damaged one.
fn damaged(bytes: &[u8], offset: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[offset] ^= 1;
    bytes
}

/// As [`damaged`], with a check of the header that is right all the same.
fn altered(bytes: &[u8], offset: usize, header: usize) -> Vec<u8> {
    let mut bytes = damaged(bytes, offset);
    forge::recheck(&mut bytes[..header]);
    bytes
}
