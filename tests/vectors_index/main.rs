//! The vectors of `uv`, body records and indexes in `formats/vectors`.
//!
//! Each file is run through the library: indexes are restored, from a store, with the
//! reader of the command. The files are made by a second implementation ([`write`]);
//! `DTAR_BLESS=1 cargo test --test vectors_index` writes them anew.

#[path = "../vectors_crypto/forge.rs"]
#[allow(
    dead_code,
    reason = "shared with the vectors of keys and bricks, which need the rest of it"
)]
mod forge;
mod generate;
#[path = "../vectors_crypto/harness.rs"]
mod harness;
mod library;
mod run;
mod tokens;
#[path = "../vectors_crypto/vector.rs"]
#[allow(
    dead_code,
    reason = "shared with the vectors of keys and bricks, which need the rest of it"
)]
mod vector;
mod write;

use harness::{can_be_made_again, files, run_all};
use vector::Vector;

/// The folders whose vectors are run here.
const KINDS: [&str; 12] = [
    "body-list",
    "body-record",
    "body-run",
    "index-bricks",
    "index-compressed",
    "index-end",
    "index-hints",
    "index-map",
    "index-restore",
    "index-summary",
    "index-trailer",
    "uv",
];

#[test]
fn every_vector_gives_what_it_says() {
    let runner = run::Runner::new();
    run_all(&KINDS, &[], |kind, vector| runner.run(kind, vector));
}

#[test]
fn the_library_writes_the_good_ones_alike() {
    let files = files(&KINDS);
    for name in [
        "index-hints/copies",
        "index-hints/frames",
        "index-hints/good",
        "index-hints/levels",
        "index-map/all-kinds",
        "index-summary/empty",
        "index-trailer/good",
    ] {
        let index = tokens::from_tokens(Vector::parse(&files[name]).text("index"));
        assert!(library::written_again(&index) == index, "{name}");
    }
}

#[test]
fn every_vector_can_be_made_again() {
    can_be_made_again(&KINDS, generate::all());
}
