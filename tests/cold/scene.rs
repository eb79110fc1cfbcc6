//! A store of small bricks, and containers of it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::block::Stream;
use crate::common::files::files;
use crate::common::sandbox::{Run, Sandbox};
use crate::common::shell::tool;
use crate::common::source::Random;
use crate::common::stored::summary;

/// The bound of containers that hold a few bricks each.
pub const BOUND: u64 = 880 << 10;

pub struct Scene {
    pub sandbox: Sandbox,
    random: Random,
    /// Each run: the index, the stream.
    pub runs: Vec<(PathBuf, Vec<u8>)>,
}

impl Scene {
    /// A store with `runs` runs, each with a brick of some 240 KB of its own.
    pub fn new(runs: usize) -> Self {
        let mut scene = Self {
            sandbox: Sandbox::new().kept_on_failure(),
            random: Random(7),
            runs: Vec::new(),
        };
        for _ in 0..runs {
            scene.archive();
        }
        scene
    }

    /// One more run: what the one before had, and more.
    pub fn archive(&mut self) {
        let number = self.runs.len();
        let mut stream = Stream::new();
        for old in 0..=number {
            for part in 0..4 {
                let mut random = Random(100 * old as u64 + part);
                stream = stream.file(&format!("{old}/{part}"), &random.bytes(60_000));
            }
        }
        let stream = stream.end();
        let index = self.sandbox.path().join(format!("run-{number}.tar"));
        self.sandbox
            .archive_to(["--quiet"], &stream[..], &index)
            .exits(0);
        self.runs.push((index, stream));
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.random.below(limit)
    }

    pub fn dir(&self, name: &str) -> PathBuf {
        self.sandbox.path().join(name)
    }

    pub fn pack_command(&self, dir: &str, more: &[&str]) -> Command {
        let size = BOUND.to_string();
        let to = self.dir(dir);
        let mut arguments = vec![OsStr::new("pack"), OsStr::new("--json"), OsStr::new("--to")];
        arguments.push(to.as_os_str());
        if !more.contains(&"--size") {
            arguments.extend([OsStr::new("--size"), OsStr::new(&size)]);
        }
        arguments.extend(more.iter().map(OsStr::new));
        self.sandbox.command(arguments)
    }

    pub fn pack(&self, dir: &str, more: &[&str]) -> Run {
        let size = BOUND.to_string();
        let to = self.dir(dir);
        let mut arguments = vec!["pack", "--json", "--to", to.to_str().unwrap()];
        if !more.contains(&"--size") {
            arguments.extend(["--size", &size]);
        }
        arguments.extend(more);
        self.sandbox.run(arguments)
    }

    /// Packs, which must succeed; what the summary says of `field`.
    #[track_caller]
    pub fn packs(&self, dir: &str, more: &[&str], field: &str) -> u64 {
        let run = self.pack(dir, more).exits(0);
        summary(&run)[field].as_u64().unwrap()
    }

    pub fn containers(&self, dir: &str) -> Vec<PathBuf> {
        let all = files(&self.dir(dir)).into_keys();
        let mut all: Vec<_> = all.filter(|path| ends_with(path, "tar")).collect();
        all.sort();
        all
    }

    /// All run restore from containers in `dir` and nothing else but key and index.
    #[track_caller]
    pub fn restores_from(&self, dir: &str) {
        let dir = self.dir(dir);
        for (index, stream) in &self.runs {
            restores(&self.sandbox, "none", Some(&dir), index, stream);
        }
    }

    /// Unpacks all containers of `dir` into a new folder, and restores from that.
    #[track_caller]
    pub fn is_a_store_again(&self, dir: &str) {
        let to = self.dir("unpacked");
        let _ = fs::remove_dir_all(&to);
        let mut arguments = vec!["unpack".into(), "--to".into(), to.clone()];
        arguments.extend(self.containers(dir));
        self.sandbox
            .run(arguments.iter().map(|path| path.as_os_str()))
            .exits(0);
        assert_eq!(parts(&to), parts(&self.sandbox.store()));
        let store = to.to_str().unwrap();
        let verify = ["--store", store, "verify", "--all-here", "--catalog"];
        let catalog = self.dir("catalog-of-unpacked");
        let run = self
            .sandbox
            .run(verify.into_iter().chain([catalog.to_str().unwrap()]));
        run.exits(0);
        for (number, (_, stream)) in self.runs.iter().rev().enumerate() {
            let index = PathBuf::from(format!("@{}", number + 1));
            restores(&self.sandbox, store, None, &index, stream);
        }
    }
}

#[track_caller]
pub fn restores(sandbox: &Sandbox, store: &str, dir: Option<&Path>, index: &Path, stream: &[u8]) {
    let mut command = sandbox.command(["restore", "--store", store]);
    command.arg(index);
    if let Some(dir) = dir {
        command.arg("--bricks").arg(dir);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(output.stdout == stream, "other bytes: {said}");
}

fn ends_with(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|found| found == ending)
}

/// What of a store is packed: names and contents.
pub fn parts(store: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for folder in ["bricks", "meta", "tocs", "roots", "snapshots", "parity"] {
        for path in files(&store.join(folder)).into_keys() {
            let bytes = fs::read(&path).unwrap();
            found.insert(path.strip_prefix(store).unwrap().to_owned(), bytes);
        }
    }
    found.insert(
        "store.toml".into(),
        fs::read(store.join("store.toml")).unwrap(),
    );
    found
}

/// The names of the members, by `tar`.
#[track_caller]
pub fn listed(container: &Path) -> Vec<String> {
    let output = tool("tar").arg("tf").arg(container).output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}
