//! A small store with all that can stand in one: runs that share bricks, forgotten runs,
//! a brick of which a part is needed, parity, and what dead runs have left.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use dtar::brick::seal_note;
use dtar::crypto::{Key, KeyFile};
use dtar::format::note::{Note, NoteKind};
use dtar::id::{BrickName, WriterId};
use dtar::store::Store;
use dtar::store::layout::RunName;
use dtar::store::runs::new_note;

use crate::common::block::{BLOCK, Stream};
use crate::common::sandbox::{KEY, Run, Sandbox};
use crate::common::source::Random;
use crate::made::text;

/// A run whose stream is to be restored.
pub struct Archived {
    /// Its label.
    pub label: &'static str,
    /// What was archived.
    pub stream: Vec<u8>,
    /// Its members, and where their bodies are.
    pub bodies: Vec<(&'static str, Range<usize>)>,
    /// The bricks of both classes that its root names, in hex.
    pub bricks: BTreeSet<String>,
    /// What its root and its snapshot are called.
    pub name: String,
}

/// What is in the store, and alike in all copies of it.
pub struct Content {
    /// Runs that stand: `a`, `b`, `c` (both of these and more), `h` (a part of `g`).
    pub runs: Vec<Archived>,
    /// Brick of the member `a`, and so on, in hex: of `e` and `f` nothing is needed, of `g`
    /// one frame of two.
    pub brick_of: Vec<(&'static str, String)>,
    /// Names of two runs that died: each has left a lease and a dead list.
    pub dead: [String; 2],
}

/// A sandbox with the store, indexes `LABEL.tar`, and things of another store in `foreign`.
pub struct Yard {
    pub sandbox: Sandbox,
    pub content: Arc<Content>,
}

/// Content of `g`: of 64 KiB each, its chunks are all alike but for eight bytes, and so
/// many that there are lists; their copies are the brick's second frame.
fn chunks(count: u64) -> Vec<u8> {
    let chunk = |number: u64| {
        let mut bytes = number.to_be_bytes().to_vec();
        bytes.resize(64 << 10, 0x55);
        bytes
    };
    (0..count).flat_map(chunk).collect()
}

fn key() -> Key {
    match KeyFile::parse(KEY.as_bytes()) {
        Ok(KeyFile::Key(key)) => key,
        other => panic!("{other:?}"),
    }
}

impl Yard {
    pub fn new() -> Self {
        let sandbox = Sandbox::new().with_threads(1);
        let noise = |seed: u64, length| Random(seed).bytes(length);
        let members: [(&'static str, Vec<u8>); 7] = [
            ("a", noise(1, 900)),
            ("b", noise(2, 700)),
            ("c", noise(3, 500)),
            ("e", noise(4, 600)),
            ("f", noise(5, 400)),
            ("g", chunks(67)),
            ("h", chunks(1)),
        ];
        let (mut runs, mut brick_of): (Vec<Archived>, Vec<_>) = (Vec::new(), Vec::new());
        for (label, body) in &members {
            let mut stream = Stream::new();
            let mut bodies = Vec::new();
            for (name, body) in &members[..if *label == "c" { 2 } else { 0 }] {
                put(&mut stream, &mut bodies, name, body);
            }
            put(&mut stream, &mut bodies, label, body);
            let stream = stream.end();
            let before = sandbox.stored_files();
            let index = sandbox.path().join(format!("{label}.tar"));
            let options = ["--quiet", "--label", label];
            sandbox.archive_to(options, &stream[..], &index).exits(0);
            let new = sandbox.stored_files().into_iter();
            let new = new.filter(|file| file.extension().is_some_and(|ending| ending == "brick"));
            brick_of.extend(new.filter(|file| !before.contains(file)).map(|file| {
                let stem = file.file_stem().unwrap().to_str().unwrap();
                (*label, stem.to_owned())
            }));
            runs.push(Archived {
                label,
                stream,
                bodies,
                bricks: BTreeSet::new(),
                name: String::new(),
            });
        }
        for label in ["e", "f", "g"] {
            let run = format!("@label:{label}");
            sandbox.run(["forget", "--quiet", &run]).exits(0);
            fs::remove_file(sandbox.path().join(format!("{label}.tar"))).unwrap();
        }
        runs.retain(|run| !["e", "f", "g"].contains(&run.label));
        let arguments = ["parity", "add", "--quiet", "--share", "60%"];
        sandbox.run(arguments).exits(0);
        let put_key = sandbox.path().join("put-key");
        sandbox.run(["key", "put", text(&put_key)]).exits(0);
        let content = Content {
            runs,
            brick_of,
            dead: [
                "00000000000000000007-0123456789abcdef".into(),
                "00000000000000000008-0123456789abcdef".into(),
            ],
        };
        foreign(&sandbox);
        let mut yard = Self {
            sandbox,
            content: Arc::new(content),
        };
        yard.finish();
        yard
    }

    /// Adds what dead runs have left, and what is known only from roots.
    fn finish(&mut self) {
        let key = key();
        let store = Store::open(&self.sandbox.store(), &key).unwrap();
        let keys = store.put_keys(&key).unwrap();
        let layout = store.layout();
        let content = Arc::get_mut(&mut self.content).unwrap();
        let seal = |path: &Path, note: &Note| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, seal_note(&keys, note).unwrap()).unwrap();
        };
        let writer = WriterId([7; 16]);
        for (name, member) in content.dead.iter().zip(["e", "f"]) {
            let name: RunName = name.parse().unwrap();
            let (_, brick) = content
                .brick_of
                .iter()
                .find(|(of, _)| *of == member)
                .unwrap();
            let brick: BrickName = brick.parse().unwrap();
            let note = |kind, name| new_note(kind, name, writer);
            let lease = note(NoteKind::ArchiverLease, Some(&name));
            seal(&layout.run_dir(&name).join("lease"), &lease);
            let list = Note {
                bricks: vec![brick],
                ..note(NoteKind::DeadList, Some(&name))
            };
            seal(&layout.dead_path(&name), &list);
            let mark = Note {
                bricks: vec![brick],
                ..note(NoteKind::Mark, None)
            };
            let path = layout.mark_path(&brick);
            seal(&path, &mark);
        }
        let names = layout.runs().unwrap();
        assert_eq!(names.len(), content.runs.len());
        for (run, name) in content.runs.iter_mut().zip(names) {
            let root = store.read_root(&keys, &layout.root_path(&name), name.time);
            let root = root.unwrap();
            assert_eq!(root.label, run.label.as_bytes());
            run.bricks = root
                .bricks
                .iter()
                .map(|(name, _)| name.to_string())
                .collect();
            run.name = name.to_string();
        }
    }

    /// The same in another place, damage and all.
    pub fn copy(&self) -> Self {
        let sandbox = Sandbox::without_key().with_threads(1);
        let entries = fs::read_dir(self.sandbox.path()).unwrap();
        let entries = entries.map(|entry| entry.unwrap().path());
        let status = Command::new("cp")
            .arg("-a")
            .args(entries.filter(|path| !path.ends_with("salvaged")))
            .arg(sandbox.path())
            .status()
            .unwrap();
        assert!(status.success());
        Self {
            sandbox,
            content: Arc::clone(&self.content),
        }
    }

    /// A file of the sandbox.
    pub fn file(&self, relative: &Path) -> PathBuf {
        self.sandbox.path().join(relative)
    }

    /// The run with this label.
    pub fn archived(&self, label: &str) -> &Archived {
        let mut runs = self.content.runs.iter();
        runs.find(|run| run.label == label).unwrap()
    }

    /// Restores a run, by its index or by its snapshot.
    pub fn restore(&self, label: &str, by: By, more: &[&str]) -> Run {
        let source = match by {
            By::Index => format!("{label}.tar"),
            By::Snapshot => format!("@{}", self.archived(label).name),
        };
        let mut arguments = vec!["restore", "--quiet", &source];
        arguments.extend(more);
        self.sandbox.run(arguments)
    }
}

/// What a run is restored from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Index,
    Snapshot,
}

fn put(
    stream: &mut Stream,
    bodies: &mut Vec<(&'static str, Range<usize>)>,
    name: &'static str,
    body: &[u8],
) {
    let start = stream.0.len() + BLOCK;
    bodies.push((name, start..start + body.len()));
    *stream = std::mem::take(stream).file(name, body);
}

/// Config, catalog and key of other stores, to stand where they do not belong.
fn foreign(sandbox: &Sandbox) {
    let other = Sandbox::new().with_threads(1);
    other.archive(
        "index.tar",
        &Stream::new().file("x", b"some text").end()[..],
    );
    let dir = sandbox.path().join("foreign");
    fs::create_dir(&dir).unwrap();
    fs::copy(other.store().join("store.toml"), dir.join("store.toml")).unwrap();
    let data = catalog_file(&other.catalog());
    fs::copy(data, dir.join("data.mdb")).unwrap();
    let key = dir.join("key");
    other.run(["key", "new", text(&key)]).exits(0);
}

/// The file in which a catalog has its data.
pub fn catalog_file(dir: &Path) -> PathBuf {
    let folder = fs::read_dir(dir).unwrap().find_map(|entry| {
        let data = entry.unwrap().path().join("data.mdb");
        data.is_file().then_some(data)
    });
    folder.expect("a catalog")
}
