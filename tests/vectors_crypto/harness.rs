//! What the tests of vectors share: their files, how they are run, how they are made.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use dtar::format::wire::{DecodeError, Fault};

use super::vector::Vector;

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("formats/vectors")
}

/// All files of these kinds, by `kind/name`.
pub fn files(kinds: &[&str]) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for kind in kinds {
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

/// Runs every file of these kinds with `run`, which gets the kind, and gives what the
/// vector should expect. Each kind has good ones, and bad ones unless it is in `all_good`.
pub fn run_all(kinds: &[&str], all_good: &[&str], run: impl Fn(&str, &Vector) -> String) {
    let files = files(kinds);
    for kind in kinds {
        let of_kind = || files.iter().filter(|(name, _)| kind_of(name) == *kind);
        let good = |text: &String| Vector::parse(text).text("expect") == "ok";
        assert!(of_kind().any(|(_, text)| good(text)), "no good {kind}");
        let bad = of_kind().any(|(_, text)| !good(text));
        assert_eq!(bad, !all_good.contains(kind), "bad vectors of {kind}");
    }
    let mut failures = Vec::new();
    for (name, text) in &files {
        let vector = Vector::parse(text);
        let found = run(kind_of(name), &vector);
        if found != vector.text("expect") {
            failures.push(format!(
                "{name}: expected {}, found {found}",
                vector.text("expect")
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// How vectors call a fault.
pub fn decode_class(error: &DecodeError) -> String {
    let class = match &error.fault {
        Fault::Magic { .. } => "magic",
        Fault::Version { .. } => "version",
        Fault::FeatureBit { .. } => "feature bit",
        Fault::CriticalField { .. } => "critical field",
        Fault::Truncated { .. } => "truncated",
        Fault::Check => "check",
        Fault::Value { .. } => "value",
    };
    format!("{class}: {}", error.field)
}

/// Faults of a prefix, with the offsets at which they are made.
pub const PREFIX_FAULTS: [(&str, &str, &str, usize, u8); 4] = [
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

/// Compares the files of these kinds with those that are `made`, but for those that name
/// a source. With `DTAR_BLESS` they are written anew first.
pub fn can_be_made_again(kinds: &[&str], made: Vec<(String, Vector)>) {
    let made: BTreeMap<String, String> = made
        .into_iter()
        .map(|(name, vector)| (name, vector.to_text()))
        .collect();
    let is_vendored = |text: &str| Vector::parse(text).find("source").is_some();
    let file = |name: &str| folder().join(format!("{name}.txt"));
    if std::env::var_os("DTAR_BLESS").is_some() {
        for kind in kinds {
            fs::create_dir_all(folder().join(kind)).unwrap();
        }
        for (name, text) in files(kinds) {
            if !is_vendored(&text) {
                fs::remove_file(file(&name)).unwrap();
            }
        }
        for (name, text) in &made {
            fs::write(file(name), text).unwrap();
        }
    }
    let files = files(kinds);
    for (name, text) in &made {
        assert_eq!(files.get(name), Some(text), "{name}");
    }
    for (name, text) in &files {
        assert_ne!(
            is_vendored(text),
            made.contains_key(name),
            "{name} is nobody's"
        );
    }
}

/// Vectors of one kind that are made here, by `kind/name`.
pub struct Made {
    kind: &'static str,
    pub vectors: Vec<(String, Vector)>,
}

impl Made {
    pub fn new(kind: &'static str) -> Self {
        Self {
            kind,
            vectors: Vec::new(),
        }
    }

    pub fn add(&mut self, name: &str, vector: Vector) {
        let name = format!("{}/{name}", self.kind);
        assert!(
            self.vectors.iter().all(|(known, _)| *known != name),
            "{name} twice"
        );
        self.vectors.push((name, vector));
    }
}
