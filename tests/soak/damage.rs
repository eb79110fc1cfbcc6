//! What is done to files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::common::files::files;
use crate::model::{Damage, Part, brick_of};
use crate::world::{HOSTS, World};

/// How a file is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Flip(usize, u8),
    Truncate(usize),
    Delete,
}

impl World {
    fn way(&mut self, length: usize) -> Way {
        match self.pick(4) {
            0 => Way::Delete,
            1 => Way::Truncate(self.pick(length.max(1))),
            _ => Way::Flip(self.pick(length.max(1)), 1 << self.random.below(8)),
        }
    }

    fn apply(path: &Path, good: &[u8], way: Way) {
        match way {
            Way::Delete => fs::remove_file(path).unwrap(),
            Way::Truncate(length) => fs::write(path, &good[..length]).unwrap(),
            Way::Flip(place, bit) => {
                let mut bytes = good.to_vec();
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= bit;
                }
                fs::write(path, bytes).unwrap();
            }
        }
    }

    fn any_file(&mut self, dir: &Path) -> Option<PathBuf> {
        let all: Vec<_> = files(dir).into_keys().collect();
        if all.is_empty() {
            return None;
        }
        let number = self.pick(all.len());
        Some(all[number].clone())
    }

    /// Damages a file that verify knows.
    pub fn damage(&mut self) {
        let (folder, part) = [
            ("bricks", Part::Brick),
            ("bricks", Part::Brick),
            ("meta", Part::Brick),
            ("tocs", Part::Sidecar),
            ("roots", Part::Root),
            ("snapshots", Part::Snapshot),
        ][self.pick(6)];
        let Some(path) = self.any_file(&self.sandbox.store().join(folder)) else {
            return;
        };
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut known = self.model.damages.iter();
        if known.any(|damage| damage.path.to_str().unwrap().contains(&stem))
            || self.model.abandoned.contains(&stem)
        {
            // Twice damaged is another story.
            return;
        }
        let brick = brick_of(&path);
        if brick.is_some_and(|name| !self.model.bricks.contains_key(&name)) {
            // What a killed run has left: nobody needs it.
            return;
        }
        let good = fs::read(&path).unwrap();
        let way = self.way(good.len());
        self.log.step(format!("damage {}, {way:?}", path.display()));
        self.tally.did("damaged");
        Self::apply(&path, &good, way);
        if (part, way) == (Part::Root, Way::Delete) {
            let snapshot = format!("snapshots/{stem}.snap");
            if !self.sandbox.store().join(snapshot).exists() {
                // That is how a run is forgotten.
                let mut archives = self.model.archives.iter();
                if let Some(number) = archives.position(|archive| archive.run == stem) {
                    self.forget(number);
                }
                return;
            }
        }
        let length = good.len() as u64;
        let frames = match (brick, way) {
            (Some(name), _) if part == Part::Brick => match way {
                Way::Delete => self.model.frames_in(&name, 0, length),
                Way::Truncate(end) => self.model.frames_in(&name, end as u64, length),
                Way::Flip(at, _) => self.model.frames_in(&name, at as u64, at as u64 + 1),
            },
            _ => BTreeSet::new(),
        };
        self.model.damages.push(Damage {
            part,
            path,
            good,
            brick,
            frames,
        });
    }

    /// The catalog is a cache: whatever becomes of it, an archive goes well, at the latest
    /// once it was made anew.
    pub fn damage_catalog(&mut self) {
        let host = self.random.below(HOSTS);
        let dir = self.sandbox.path().join(format!("catalog-{host}"));
        let Some(path) = self.any_file(&dir) else {
            return;
        };
        let good = fs::read(&path).unwrap();
        let way = self.way(good.len());
        self.log.step(format!("damage {}, {way:?}", path.display()));
        self.tally.did("catalog damaged");
        Self::apply(&path, &good, way);
        self.trees[usize::try_from(host).unwrap()].change();
        let stream = self.trees[usize::try_from(host).unwrap()].stream();
        let number = self.archive(host, stream.into(), &[]);
        self.check(number);
    }

    /// A store that says something else of itself is refused, or what comes out is right.
    pub fn damage_config(&mut self) {
        let path = self.sandbox.store().join("store.toml");
        let good = fs::read(&path).unwrap();
        let place = self.pick(good.len());
        let way = Way::Flip(place, 1 << self.random.below(8));
        self.log.step(format!("damage {}, {way:?}", path.display()));
        self.tally.did("store.toml damaged");
        Self::apply(&path, &good, way);
        let number = self.pick(self.model.archives.len());
        let archive = self.model.archives[number].clone();
        let run = self.sandbox.run([Path::new("restore"), &archive.index]);
        let is_right = archive.stream.starts_with(&run.stdout);
        self.tally.wrong += u64::from(!is_right);
        assert!(is_right, "{}", run.stderr);
        assert!(run.code != Some(0) || run.stdout == *archive.stream);
        for command in [&["gc"][..], &["snapshots"], &["verify"]] {
            let run = self.sandbox.run(command);
            assert!(matches!(run.code, Some(1 | 3)), "{command:?}: {run:?}");
        }
        fs::write(&path, good).unwrap();
    }

    /// What a killed run or gc has left: without its lease or list nothing is relied upon
    /// that should not be, and the next gc cleans up.
    pub fn damage_remains(&mut self) {
        let store = self.sandbox.store();
        let folder = ["runs", "dead"][self.pick(2)];
        if !self.model.damages.is_empty() {
            return;
        }
        let Some(path) = self.any_file(&store.join(folder)) else {
            return;
        };
        let good = fs::read(&path).unwrap();
        let way = self.way(good.len());
        self.log.step(format!("damage {}, {way:?}", path.display()));
        self.tally.did("lease or list damaged");
        Self::apply(&path, &good, way);
        let is_list = folder == "dead" && way != Way::Delete;
        let host = self.random.below(HOSTS);
        let stream = self.trees[usize::try_from(host).unwrap()].stream();
        if is_list {
            // Which bricks are about to go is not known.
            let (mut command, _, index) = self.archiver(host, &stream, &[]);
            let run = self.run("archive", &mut command);
            let is_newer = run.code == Some(1) && run.stderr.contains("use a newer dtar");
            assert!(is_newer || run.code == Some(3), "{}", run.stderr);
            fs::remove_file(index).unwrap();
        }
        self.collect();
        let number = self.archive(host, stream.into(), &[]);
        self.check(number);
    }

    /// A parity file is made again from the bricks.
    pub fn damage_parity(&mut self) {
        if self.parity.is_none() || !self.model.damages.is_empty() {
            return;
        }
        let Some(path) = self.any_file(&self.sandbox.store().join("parity")) else {
            return;
        };
        let good = fs::read(&path).unwrap();
        let way = self.way(good.len());
        self.log.step(format!("damage {}, {way:?}", path.display()));
        self.tally.did("parity damaged");
        Self::apply(&path, &good, way);
        for (what, code) in [
            ("parity check", 3),
            ("parity repair", 0),
            ("parity check", 0),
        ] {
            let mut command = self.command(0, &[], false);
            command.args(what.split(' '));
            self.run(what, &mut command).exits(code);
        }
        assert!(fs::read(&path).unwrap() == good);
    }
}
