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

use super::harness::Made;
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

/// Faults of a prefix, with the offsets at which they are made.
const PREFIX_FAULTS: [(&str, &str, &str, usize, u8); 4] = [
    ("magic", "another magic", "magic: magic", 7, b'?'),
    ("version", "a newer major version", "version: version", 8, 2),
    (
        "feature-bit",
        "an incompatible-feature bit that nobody knows",
        "feature bit: incompatible features",
        13,
        4,
    ),
    (
        "compatible-bit",
        "a compatible-feature bit that nobody knows is ignored",
        "ok",
        10,
        1,
    ),
];
