//! The vectors of parity in `formats/vectors`.
//!
//! Each file is run through the library. They are made by a second implementation, from
//! the formula of `formats/parity.md#code` alone ([`field`], [`write`]);
//! `DTAR_BLESS=1 cargo test --test vectors_parity` writes them anew.

mod field;
mod generate;
#[path = "../vectors_crypto/harness.rs"]
#[allow(
    dead_code,
    reason = "shared with the other vectors, which need the rest of it"
)]
mod harness;
mod run;
#[path = "../vectors_crypto/vector.rs"]
#[allow(
    dead_code,
    reason = "shared with the vectors of keys and bricks, which need the rest of it"
)]
mod vector;
mod write;

use harness::{can_be_made_again, run_all};

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
    can_be_made_again(&KINDS, generate::all());
}
