//! The vectors of keys, frames, bricks, TOCs and roots in `formats/vectors`.
//!
//! Each file is run through the library. Those that have no `source` are made by a
//! second implementation ([`forge`]) from random bytes that follow from their names;
//! `DTAR_BLESS=1 cargo test --test vectors_crypto` writes them anew.

mod forge;
mod generate;
mod run;
mod vector;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use vector::Vector;

/// The folders whose vectors are run here.
const KINDS: [&str; 11] = [
    "brick-footer",
    "brick-header",
    "encapsulation",
    "frame",
    "key-derivation",
    "key-file",
    "passphrase",
    "root",
    "sidecar",
    "store-config",
    "toc",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("formats/vectors")
}

/// All files of our kinds, by `kind/name`.
fn files() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for kind in KINDS {
        let entries = fs::read_dir(folder().join(kind)).expect("every kind has its folder");
        for entry in entries {
            let path = entry.unwrap().path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            assert_eq!(extension, Some("txt"), "{}", path.display());
            let name = path.file_stem().unwrap().to_str().unwrap();
            files.insert(format!("{kind}/{name}"), fs::read_to_string(&path).unwrap());
        }
    }
    files
}

fn kind_of(name: &str) -> &str {
    name.split_once('/').unwrap().0
}

#[test]
fn every_vector_gives_what_it_says() {
    let files = files();
    for kind in KINDS {
        let of_kind = || files.iter().filter(|(name, _)| kind_of(name) == kind);
        let good = |text: &String| Vector::parse(text).text("expect") == "ok";
        assert!(of_kind().any(|(_, text)| good(text)), "no good {kind}");
        let may_fail = kind != "key-derivation";
        let bad = of_kind().any(|(_, text)| !good(text));
        assert_eq!(bad, may_fail, "bad vectors of {kind}");
    }
    let mut failures = Vec::new();
    for (name, text) in &files {
        let vector = Vector::parse(text);
        let found = run::run(kind_of(name), &vector);
        if found != vector.text("expect") {
            failures.push(format!(
                "{name}: expected {}, found {found}",
                vector.text("expect")
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
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
    let files = files();
    for (name, text) in &made {
        assert_eq!(files.get(name), Some(text), "{name}");
    }
    for (name, text) in &files {
        let vendored = Vector::parse(text).find("source").is_some();
        assert_ne!(vendored, made.contains_key(name), "{name} is nobody's");
    }
}

/// Folders whose vectors other tests run.
const ELSEWHERE: [&str; 14] = [
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
    "stream",
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
