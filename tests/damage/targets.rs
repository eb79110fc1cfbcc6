//! One file of each kind to be damaged, and the structures in it.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::faults::{Kind, Target, index};
use crate::made::{brick_parts, length};
use crate::yard::{Yard, catalog_file};

/// The name of a run that is in no store.
const NEW: &str = "00000000000000000009-0123456789abcdef";

/// A file of each kind, or some.
pub fn targets(yard: &Yard) -> Vec<Target> {
    let mut targets = Targets {
        yard,
        all: Vec::new(),
    };
    targets.of_user();
    targets.bricks();
    targets.runs();
    targets.parity();
    targets.notes();
    targets.all
}

struct Targets<'a> {
    yard: &'a Yard,
    all: Vec<Target>,
}

/// A file that is named by a hash, below a folder of the store.
fn sharded(folder: &str, name: &str, ending: &str) -> PathBuf {
    let file = format!("{name}.{ending}");
    ["store", folder, &name[..2], &file].iter().collect()
}

/// A name with the same first byte and another last one.
fn near(name: &str) -> String {
    let end = if name.ends_with("00") { "ff" } else { "00" };
    format!("{}{end}", &name[..62])
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_owned()
}

impl Targets<'_> {
    /// `other` is what it can be exchanged with, `copy` where a copy would be one more of
    /// its kind.
    fn add(&mut self, kind: Kind, file: PathBuf, other: Option<PathBuf>, copy: Option<PathBuf>) {
        if let Some(other) = &other {
            assert!(self.yard.file(other).is_file(), "{}", other.display());
        }
        let structures = structures(kind, &self.yard.file(&file));
        self.all.push(Target {
            kind,
            file,
            other,
            copy,
            structures,
        });
    }

    /// Of files named by hashes.
    fn add_named(&mut self, kind: Kind, (name, other): (&str, &str), of: impl Fn(&str) -> PathBuf) {
        self.add(kind, of(name), Some(of(other)), Some(of(&near(name))));
    }

    /// What is not, or not only, in the store.
    fn of_user(&mut self) {
        let foreign = |name: &str| Some(Path::new("foreign").join(name));
        let (config, copy) = ("store/store.toml".into(), "store/store.toml.copy".into());
        self.add(Kind::Config, config, foreign("store.toml"), Some(copy));
        self.add(Kind::Key, "key".into(), foreign("key"), None);
        self.add(Kind::Index, "b.tar".into(), None, None);
        let data = catalog_file(&self.yard.sandbox.catalog());
        let data = data.strip_prefix(self.yard.sandbox.path()).unwrap();
        self.add(Kind::Catalog, data.to_owned(), foreign("data.mdb"), None);
    }

    fn brick_of(&self, member: &str) -> String {
        let mut bricks = self.yard.content.brick_of.iter();
        bricks.find(|(of, _)| *of == member).unwrap().1.clone()
    }

    /// The first metadata brick of a run.
    fn metadata(&self, label: &str) -> String {
        let mut bricks = self.yard.archived(label).bricks.iter();
        let stands = |name: &&String| self.yard.file(&sharded("meta", name, "brick")).is_file();
        bricks.find(stands).unwrap().clone()
    }

    /// Bricks of each class and their sidecars.
    fn bricks(&mut self) {
        let of = |member| self.brick_of(member);
        let (needed, partly, garbage) = (of("b"), of("g"), of("e"));
        let own = self.metadata("b");
        let runs = self.yard.content.runs.iter();
        let mut others = runs.map(|run| self.metadata(run.label));
        let other = others.rfind(|name| *name != own).unwrap();
        let of_data = [
            (Kind::Brick, "bricks", &needed, of("a")),
            (Kind::PartlyNeeded, "bricks", &partly, of("c")),
            (Kind::Garbage, "bricks", &garbage, of("f")),
            (Kind::Metadata, "meta", &own, other.clone()),
        ];
        let sidecars = [(&needed, of("a")), (&partly, of("b")), (&own, other)];
        for (kind, folder, name, other) in of_data {
            self.add_named(kind, (name, &other), |name| sharded(folder, name, "brick"));
        }
        for (name, other) in sidecars {
            self.add_named(Kind::Sidecar, (name, &other), |name| {
                sharded("tocs", name, "toc")
            });
        }
    }

    fn runs(&mut self) {
        for (kind, folder, ending) in [
            (Kind::Root, "roots", "root"),
            (Kind::Snapshot, "snapshots", "snap"),
        ] {
            let of = |name: &str| {
                Path::new("store")
                    .join(folder)
                    .join(format!("{name}.{ending}"))
            };
            let [name, other] = ["b", "a"].map(|label| of(&self.yard.archived(label).name));
            self.add(kind, name, Some(other), Some(of(NEW)));
        }
    }

    fn parity(&mut self) {
        let mut names = Vec::new();
        for shard in fs::read_dir(self.yard.sandbox.store().join("parity")).unwrap() {
            let files = fs::read_dir(shard.unwrap().path()).unwrap();
            names.extend(files.map(|file| stem(&file.unwrap().path())));
        }
        names.sort();
        assert!(names.len() > 1);
        let of = |name: &str| sharded("parity", name, "parity");
        self.add_named(Kind::Parity, (&names[0], &names[1]), of);
    }

    /// What dead runs have left, and marks.
    fn notes(&mut self) {
        let store = Path::new("store");
        let [one, two] = self.yard.content.dead.clone();
        let of = |name: &str| store.join("runs").join(name).join("lease");
        self.add(Kind::Lease, of(&one), Some(of(&two)), Some(of(NEW)));
        let of = |name: &str| store.join("dead").join(format!("{name}.dead"));
        self.add(Kind::DeadList, of(&one), Some(of(&two)), Some(of(NEW)));
        let [one, two] = ["e", "f"].map(|of| self.brick_of(of));
        self.add_named(Kind::Mark, (&one, &two), |name| {
            store.join("bad").join(name)
        });
    }
}

/// The structures of a sound file, by the pages of `formats/`.
fn structures(kind: Kind, path: &Path) -> Vec<(String, Range<u64>)> {
    let size = length(path);
    let bytes = fs::read(path).unwrap();
    let number = |at: u64| {
        let at = index(at);
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    };
    let mut found: Vec<(String, Range<u64>)> = Vec::new();
    let mut add = |name: &str, bytes: Range<u64>| {
        assert!(
            bytes.start < bytes.end && bytes.end <= size,
            "{name} {bytes:?} of {size}"
        );
        found.push((name.to_owned(), bytes));
    };
    match kind {
        Kind::Config => {
            let mut start = 0;
            for line in bytes.split_inclusive(|&byte| byte == b'\n') {
                let name = line.split(|&byte| byte == b' ').next().unwrap();
                let end = start + line.len() as u64;
                add(&String::from_utf8_lossy(name), start..end - 1);
                start = end;
            }
        }
        Kind::Key => add("text", 0..size - 1),
        Kind::Brick | Kind::PartlyNeeded | Kind::Garbage | Kind::Metadata => {
            let parts = brick_parts(path);
            add("header", 0..80);
            for (number, (header, body)) in parts.frames.into_iter().enumerate() {
                add(&format!("frame {number} header"), header);
                add(&format!("frame {number} body"), body);
            }
            add("TOC header", parts.toc.start..parts.toc.start + 88);
            add("TOC", parts.toc.start + 88..parts.toc.end);
            add("footer", parts.footer);
        }
        Kind::Sidecar => {
            add("header", 0..88);
            add("sealed", 88..size - 32);
            add("seal of the name", size - 32..size);
        }
        Kind::Root | Kind::Lease | Kind::DeadList | Kind::Mark => {
            add("header", 0..96);
            add("sealed", 96..size);
        }
        Kind::Snapshot => {
            let header = number(16) & 0xffff_ffff;
            add("frame header", 0..header);
            add("frame body", header..size);
        }
        Kind::Index => {
            add("tar header", 0..512);
            let record = number(512 + 16) & 0xffff_ffff;
            add("record", 512..512 + record);
            let trailer = number(size - 48);
            add("padding of the record", 512 + record..trailer - 1024);
            add("end of the archive", trailer - 1024..trailer);
            add("head of the trailer", trailer..trailer + 24);
            let mut at = trailer + 24;
            while !bytes[index(at)..].starts_with(b"DONE") {
                let name = String::from_utf8_lossy(&bytes[index(at)..index(at) + 4]).into_owned();
                let end = at + 16 + number(at + 8);
                add(&name, at..end);
                at = end;
            }
            add("DONE", at..at + 16);
            add("seal", size - 96..size - 64);
            add("end", size - 64..size);
        }
        Kind::Catalog => {
            add("meta pages", 0..8192);
            add("pages", 8192..size);
        }
        Kind::Parity => {
            let description = number(48);
            add("head", 0..96);
            add("description", 96..96 + description);
            add("shards", 96 + description..size - 96 - description);
            add("second description", size - 96 - description..size - 96);
            add("second head", size - 96..size);
        }
    }
    found
}
