//! The vectors of keys, frames, bricks, TOCs, roots, snapshots and notes in `formats/vectors`.
//!
//! Each file is run through the library. Those that have no `source` are made by a
//! second implementation ([`forge`]) from random bytes that follow from their names;
//! `DTAR_BLESS=1 cargo test --test vectors_crypto` writes them anew.

mod forge;
mod generate;
mod harness;
mod run;
mod vector;

use std::fs;

use harness::{can_be_made_again, folder, run_all};

/// The folders whose vectors are run here.
const KINDS: [&str; 14] = [
    "brick-footer",
    "brick-header",
    "encapsulation",
    "frame",
    "key-derivation",
    "key-file",
    "note",
    "passphrase",
    "root",
    "sidecar",
    "snapshot",
    "snapshot-join",
    "store-config",
    "toc",
];

#[test]
fn every_vector_gives_what_it_says() {
    run_all(&KINDS, &["key-derivation"], run::run);
}

#[test]
fn every_vector_can_be_made_again() {
    can_be_made_again(&KINDS, generate::all());
}

/// Folders whose vectors other tests run.
const ELSEWHERE: [&str; 20] = [
    "body-list",
    "body-record",
    "body-run",
    "cut",
    "index-bricks",
    "index-compressed",
    "index-end",
    "index-hints",
    "index-map",
    "index-restore",
    "index-summary",
    "index-trailer",
    "parity-code",
    "parity-description",
    "parity-head",
    "parity-set",
    "stream",
    "tape-file",
    "tape-label",
    "uv",
];

#[test]
fn every_folder_of_vectors_is_run_by_some_test() {
    for entry in fs::read_dir(folder()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            let known = KINDS.iter().chain(&ELSEWHERE).any(|kind| *kind == name);
            assert!(known, "no test runs the vectors of {name}");
        }
    }
}
