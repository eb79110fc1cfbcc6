//! A store with parity, and what is done to it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::common::block::{Header, Stream};
pub use crate::common::files::contents as tree;
use crate::common::sandbox::{Run, Sandbox};
use crate::common::source::Random;
pub use crate::common::stored::summary;

/// A store with twelve bricks of about 60 KB, one of each run, and the first run's index
/// and stream.
pub struct Made {
    pub sandbox: Sandbox,
    pub index: PathBuf,
    pub stream: Vec<u8>,
}

pub fn stream(seed: u64) -> Vec<u8> {
    let body = Random(seed).bytes(60_000);
    Stream::new()
        .header(&Header::file("random", body.len() as u64))
        .body(&body)
        .end()
}

pub fn made() -> Made {
    let sandbox = Sandbox::new();
    for number in (0..12).rev() {
        sandbox.archive("index.tar", &stream(number)[..]);
    }
    Made {
        index: sandbox.path().join("index.tar"),
        stream: stream(0),
        sandbox,
    }
}

/// Runs `dtar parity` without the key.
pub fn parity<I: AsRef<OsStr>>(sandbox: &Sandbox, arguments: impl IntoIterator<Item = I>) -> Run {
    let output = sandbox
        .command(["parity"])
        .args(arguments)
        .env("DTAR_KEY", "/nowhere")
        .output()
        .unwrap();
    output.into()
}

pub fn bricks(dir: &Path) -> Vec<PathBuf> {
    ending_in(dir, "brick")
}

pub fn parity_files(dir: &Path) -> Vec<PathBuf> {
    ending_in(dir, "parity")
}

fn ending_in(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = tree(dir).into_keys().collect();
    found.retain(|path| path.extension().is_some_and(|found| found == ending));
    found
}

pub fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// The objects of a run with `--json`.
pub fn lines(run: &Run) -> Vec<serde_json::Value> {
    let lines = run.stderr.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What stands in some folders of a store.
pub fn below(sandbox: &Sandbox, folders: &[&str]) -> BTreeMap<PathBuf, Vec<u8>> {
    let store = sandbox.store();
    let mut all = BTreeMap::new();
    for folder in folders.iter().filter(|folder| store.join(folder).exists()) {
        all.extend(tree(&store.join(folder)));
    }
    all
}

/// Archives a stream of its own for each number, with the name of its index.
pub fn archive(sandbox: &Sandbox, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        let index = sandbox.path().join(index_of(number));
        let options = ["-q", "--label", &number.to_string()];
        let stream = stream(number);
        sandbox.archive_to(options, &stream[..], &index).exits(0);
    }
}

pub fn index_of(number: u64) -> String {
    format!("{number}.tar")
}

/// Gives up the runs with these numbers.
pub fn forget(sandbox: &Sandbox, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        let run = format!("@label:{number}");
        sandbox.run(["forget", "-q", &run]).exits(0);
    }
}

/// Runs gc; returns its summary, in which `parity` is what became of parity.
pub fn gc(sandbox: &Sandbox, options: &[&str]) -> serde_json::Value {
    summary(&sandbox.run(["gc", "--json"].iter().chain(options)).exits(0))
}

/// Every brick is in a set, and nothing is lost or damaged. Returns the summary.
#[track_caller]
pub fn in_order(sandbox: &Sandbox) -> serde_json::Value {
    let found = summary(&parity(sandbox, ["check", "--json"]).exits(0));
    let found_bricks = bricks(&sandbox.store()).len();
    for field in ["missing", "damaged", "damaged_files", "uncovered"] {
        assert_eq!(found[field], 0, "{field}: {found}");
    }
    assert!(
        found["bricks"].as_u64() >= Some(found_bricks as u64),
        "{found}"
    );
    found
}

/// All runs with these numbers restore.
#[track_caller]
pub fn restore(sandbox: &Sandbox, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        let index = sandbox.path().join(index_of(number));
        sandbox.restores(&index, &stream(number)[..]);
    }
}

/// Each brick, lost alone, comes back.
#[track_caller]
pub fn each_comes_back(sandbox: &Sandbox) -> usize {
    let all = bricks(&sandbox.store());
    for path in &all {
        let bytes = fs::read(path).unwrap();
        fs::remove_file(path).unwrap();
        parity(sandbox, ["repair"]).exits(0).says(&["brought back"]);
        assert_eq!(fs::read(path).unwrap(), bytes);
    }
    all.len()
}

/// What gc and parity alter.
pub const ALL: [&str; 4] = ["bricks", "meta", "tocs", "parity"];

/// Runs 0 to 11, with parity of 15 %.
pub fn protected() -> Sandbox {
    let sandbox = Sandbox::new();
    archive(&sandbox, 0..12);
    parity(&sandbox, ["add", "--share", "15%"]).exits(0);
    sandbox
}

/// Nothing is left that belongs to a run, a gc or a parity command.
#[track_caller]
pub fn is_clean(sandbox: &Sandbox) {
    let left = below(sandbox, &["runs", "tmp", "dead"]);
    assert!(left.is_empty(), "{:?}", left.keys());
}

/// Copies all files into a folder.
pub fn copy(from: &Path, to: &Path) {
    for (path, bytes) in tree(from) {
        let path = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}
