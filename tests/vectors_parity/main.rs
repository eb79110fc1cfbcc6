//! The vectors of parity in `formats/vectors`.
//!
//! Each file is run through the library. They are made by a second implementation, from
//! the formula of `formats/parity.md#code` alone ([`field`], [`write`]);
//! `DTAR_BLESS=1 cargo test --test vectors_parity` writes them anew.

mod field;
mod generate;
#[path = "../vectors_crypto/harness.rs"]
mod harness;
mod run;
#[path = "../vectors_crypto/vector.rs"]
#[allow(
    dead_code,
    reason = "shared with the vectors of keys and bricks, which need the rest of it"
)]
mod vector;
mod write;

use std::collections::BTreeMap;
use std::fs;

use harness::{files, folder, run_all};

/// The folders whose vectors are run here.
const KINDS: [&str; 4] = [
    "parity-code",
    "parity-description",
    "parity-head",
    "parity-set",
];

#[test]
fn every_vector_gives_what_it_says() {
    run_all(&KINDS, &["parity-code", "parity-set"], run::run);
}

#[test]
fn every_vector_can_be_made_again() {
    let made: BTreeMap<String, String> = generate::all()
        .into_iter()
        .map(|(name, vector)| (name, vector.to_text()))
        .collect();
    if std::env::var_os("DTAR_BLESS").is_some() {
        for (name, text) in &made {
            let path = folder().join(format!("{name}.txt"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }
    assert_eq!(files(&KINDS), made);
}
