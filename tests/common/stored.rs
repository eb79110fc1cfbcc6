//! What stands in a store, seen past the commands.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use dtar::crypto::{Key, KeyFile, PutKeys};
use dtar::format::root::Root;
use dtar::format::toc::Toc;
use dtar::id::BrickName;
use dtar::store::Store;
use dtar::store::layout::RunName;

use serde_json::Value;

pub use super::files::files;
use super::sandbox::{KEY, Run};

/// The key of the tests.
pub fn key() -> Key {
    match KeyFile::parse(KEY.as_bytes()) {
        Ok(KeyFile::Key(key)) => key,
        other => panic!("{other:?}"),
    }
}

/// What runs have left in the store: whatever stands in these folders of it.
pub fn remains(store: &Path, folders: &[&str]) -> Vec<PathBuf> {
    let entries = |folder| fs::read_dir(store.join(folder)).into_iter().flatten();
    let all = folders.iter().flat_map(entries);
    all.map(|entry| entry.unwrap().path()).collect()
}

/// The names of all roots.
pub fn roots(store: &Path) -> BTreeSet<String> {
    stems(&store.join("roots"))
}

fn stems(dir: &Path) -> BTreeSet<String> {
    let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    files(dir).into_keys().map(stem).collect()
}

/// What a command with `--json` says at its end.
pub fn summary(run: &Run) -> Value {
    let last = run.stderr.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {}", run.stderr))
}

/// The JSON lines of a command that are of this type.
pub fn events(run: &Run, kind: &str) -> Vec<Value> {
    let lines = run.stderr.lines();
    let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|event| event["type"] == kind).collect()
}

/// A store opened with the key of the tests.
pub struct Stored {
    store: Store,
    keys: PutKeys,
}

impl Stored {
    /// Opens the store at `path`.
    pub fn open(path: &Path) -> Self {
        let store = Store::open(path, &key()).unwrap();
        let keys = store.put_keys(&key()).unwrap();
        Self { store, keys }
    }

    /// The roots, which must all open.
    pub fn roots(&self) -> BTreeMap<RunName, Root> {
        let layout = self.store.layout();
        let open = |run: RunName| {
            let path = layout.root_path(&run);
            let root = self.store.read_root(&self.keys, &path, run.time);
            (run, root.unwrap())
        };
        layout.runs().unwrap().into_iter().map(open).collect()
    }

    /// What the sidecar of a brick says, if it opens.
    pub fn toc(&self, name: &BrickName) -> Option<Toc> {
        let toc = self.store.read_sidecar(&self.keys, name, &mut Vec::new());
        toc.ok()
    }

    /// The root of a run, if it opens.
    pub fn root(&self, run: &str) -> Option<Root> {
        let run: RunName = run.parse().ok()?;
        let path = self.store.layout().root_path(&run);
        self.store.read_root(&self.keys, &path, run.time).ok()
    }

    /// The old bricks from which a brick has frames, by its sidecar.
    fn origins(&self, brick: &str) -> Vec<String> {
        let Ok(name) = brick.parse::<BrickName>() else {
            return Vec::new();
        };
        let toc = self.store.read_sidecar(&self.keys, &name, &mut Vec::new());
        let toc = toc.unwrap_or_else(|error| panic!("the sidecar of {brick}: {error}"));
        let origins = toc.origins().map(|origins| origins.bricks().to_vec());
        let origins = origins.unwrap_or_default();
        origins.iter().map(ToString::to_string).collect()
    }

    /// Bricks, sidecars, marks and snapshots of which no root needs anything: garbage.
    pub fn garbage(&self) -> Vec<PathBuf> {
        let path = self.store.path();
        let roots = self.roots();
        let needed: BTreeSet<_> = roots
            .values()
            .flat_map(|root| root.bricks.iter().map(|(name, _)| name.to_string()))
            .collect();
        let mut garbage = Vec::new();
        for folder in ["bricks", "meta", "tocs", "bad"] {
            for file in files(&path.join(folder)).into_keys() {
                let name = file.file_stem().unwrap().to_str().unwrap();
                let origins = || self.origins(name);
                if !needed.contains(name) && !origins().iter().any(|old| needed.contains(old)) {
                    garbage.push(file);
                }
            }
        }
        let names: BTreeSet<_> = roots.keys().map(ToString::to_string).collect();
        let snapshots = files(&path.join("snapshots")).into_keys();
        let stem = |file: &PathBuf| file.file_stem().unwrap().to_str().unwrap().to_owned();
        garbage.extend(snapshots.filter(|file| !names.contains(&stem(file))));
        garbage
    }
}
