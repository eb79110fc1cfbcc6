//! A small store with one file or more of each kind, to be damaged.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::block::Stream;
use crate::common::sandbox::{Run, Sandbox};
use crate::common::source::Random;
pub use crate::common::stored::events;
use crate::made::text;

/// A store of two runs, each with a data brick and a snapshot.
pub struct Scene {
    pub sandbox: Sandbox,
    /// The stream of the second run: that of the first and more.
    pub stream: Vec<u8>,
    /// Its index.
    pub index: PathBuf,
}

impl Scene {
    /// Members of noise, so that bytes of the stream are bytes of the bricks.
    pub fn new() -> Self {
        let sandbox = Sandbox::new().with_threads(1);
        let first = Stream::new().file("first", &Random(1).bytes(900));
        sandbox.archive("first.tar", &first.clone().end()[..]);
        let stream = first.file("second", &Random(2).bytes(700)).end();
        let index = sandbox.archive("index.tar", &stream[..]);
        Self {
            sandbox,
            stream,
            index,
        }
    }

    /// The same store and indexes in another place.
    pub fn copy(&self) -> Self {
        let sandbox = self.sandbox.with_copied_store().with_threads(1);
        let index = sandbox.path().join("index.tar");
        fs::copy(&self.index, &index).unwrap();
        Self {
            sandbox,
            stream: self.stream.clone(),
            index,
        }
    }

    /// The files of a kind, sorted; relative to the store.
    pub fn files(&self, kind: &str) -> Vec<PathBuf> {
        let store = self.sandbox.store();
        let mut files = Vec::new();
        collect(&store.join(kind), &mut files);
        files.sort();
        files
            .iter()
            .map(|file| file.strip_prefix(&store).unwrap().to_owned())
            .collect()
    }

    /// A file of the store.
    pub fn file(&self, relative: &Path) -> PathBuf {
        self.sandbox.store().join(relative)
    }

    /// Runs `dtar verify` with more `arguments`.
    pub fn verify(&self, arguments: &[&str]) -> Run {
        let mut all = vec!["verify"];
        all.extend(arguments);
        self.sandbox.run(all)
    }

    /// Restores the index.
    pub fn restore(&self) -> Run {
        self.sandbox.run(["restore", text(&self.index)])
    }

    /// A put key of the store, and arguments that use it.
    pub fn put_key(&self) -> PathBuf {
        let path = self.sandbox.path().join("put-key");
        if !path.exists() {
            self.sandbox.run(["key", "put", text(&path)]).exits(0);
        }
        path
    }
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            collect(&entry.unwrap().path(), files);
        }
    } else if path.exists() {
        files.push(path.to_owned());
    }
}

/// The closing summary.
#[track_caller]
pub fn summary(run: &Run) -> serde_json::Value {
    let mut found = events(run, "summary");
    assert_eq!(found.len(), 1, "{}", run.stderr);
    found.remove(0)
}
