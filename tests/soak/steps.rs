//! What is done at random.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::common::files::files;
use crate::common::sandbox::Run;
use crate::common::stored::{remains, roots, summary};
use crate::world::{HOSTS, World};

const MOST_ARCHIVES: usize = 8;
const MOST_DAMAGES: usize = 3;

impl World {
    /// Does one thing, and looks whether all is as it must be.
    pub fn step(&mut self) {
        if self.model.archives.is_empty() {
            self.archive_something();
        }
        match self.random.below(26) {
            0..=5 => drop(self.archive_something()),
            6..=7 => self.forget_something(),
            8..=9 => self.collect(),
            10 => self.kill_archive(),
            11 => self.kill_gc(),
            12 => self.kill_forget(),
            13..=15 if self.model.damages.len() < MOST_DAMAGES => self.damage(),
            16 => self.damage_catalog(),
            17 => self.damage_config(),
            18 => self.add_parity(),
            19 => self.verify(),
            20..=21 => self.heal(),
            22 => self.damage_remains(),
            23 => self.damage_parity(),
            _ => {
                let number = self.pick(self.model.archives.len());
                self.check(number);
            }
        }
        while self.model.archives.len() > MOST_ARCHIVES {
            self.forget(0);
        }
        if self.once_in(8) {
            self.check_all();
        }
    }

    /// At the end all damage is mended or given up, and the store is sound.
    pub fn close(&mut self) {
        self.heal();
        self.check_all();
    }

    fn changed_stream(&mut self, host: u64) -> Arc<Vec<u8>> {
        let way = self.random.below(8);
        let tree = &mut self.trees[usize::try_from(host).unwrap()];
        match way {
            0 => tree.thin(),
            1 => tree.grow(),
            _ => {}
        }
        tree.change();
        Arc::new(tree.stream())
    }

    fn archive_something(&mut self) -> usize {
        let host = self.random.below(HOSTS);
        let stream = self.changed_stream(host);
        let options: &[&str] = match self.random.below(5) {
            0 => &["--no-snapshot"],
            1 => &["--pad", "padme"],
            _ => &[],
        };
        self.archive(host, stream, options)
    }

    fn forget_something(&mut self) {
        if self.model.archives.len() > 1 {
            let number = self.pick(self.model.archives.len());
            self.forget(number);
        }
    }

    /// Gc. While something is damaged it may stop, but then it has deleted nothing.
    pub fn collect(&mut self) {
        let threshold = ["0", "50", "100"][self.pick(3)];
        let mut command = self.command(0, &["gc", "--json", "--threshold", threshold], true);
        let before = self.standing();
        let run = self.run("gc", &mut command);
        self.collected(&before, &run);
    }

    /// Judges a gc that was not killed.
    pub fn collected(&mut self, before: &BTreeSet<String>, run: &Run) {
        let (code, told) = (run.code, &run.stderr);
        let store = self.sandbox.store();
        self.model.learn(&store);
        if let Some(members) = &mut self.parity {
            members.retain(|member| member.exists());
        }
        if self.model.damages.is_empty() {
            assert_eq!(code, Some(0), "{told}");
        }
        match code {
            Some(0) => {
                let left = remains(&store, &["tmp", "runs", "dead"]);
                assert!(left.is_empty(), "left after gc: {left:?}");
                let done = summary(run);
                self.tally.deleted += done["deleted"].as_u64().unwrap();
                self.tally.rewritten += done["rewritten"].as_u64().unwrap();
            }
            // A flipped bit may be one that says that a newer dtar wrote it.
            Some(code) if code == 3 || code == 1 && told.contains("use a newer dtar") => {
                let gone: Vec<_> = before.difference(&self.standing()).cloned().collect();
                assert!(gone.is_empty(), "gc stopped, and deleted {gone:?}: {told}");
            }
            other => panic!("gc: {other:?}: {told}"),
        }
    }

    /// Names of all bricks and sidecars.
    pub fn standing(&self) -> BTreeSet<String> {
        let store = self.sandbox.store();
        let folders = ["bricks", "meta", "tocs"];
        let all = folders.iter().flat_map(|part| files(&store.join(part)));
        all.map(|(path, _)| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect()
    }

    fn kill_archive(&mut self) {
        let host = self.random.below(HOSTS);
        let stream = self.changed_stream(host);
        let before = roots(&self.sandbox.store());
        let (mut command, label, index) = self.archiver(host, &stream, &[]);
        let ended = self.kill("archive", &mut command);
        let now = roots(&self.sandbox.store());
        let new = now.difference(&before).next().cloned();
        if let Some(run) = ended {
            run.exits(0);
            self.finish(label, index, new.unwrap(), stream);
            return;
        }
        let bytes = fs::read(&index).unwrap();
        let end = bytes.len().saturating_sub(64);
        if !bytes[end..].starts_with(b"dtarIEND") {
            let run = self.sandbox.run([Path::new("restore"), &index]);
            assert!(matches!(run.code, Some(1 | 3)), "{run:?}");
            assert!(run.stdout.is_empty());
        }
        fs::remove_file(&index).unwrap();
        self.model.abandoned.extend(new);
        self.model.learn(&self.sandbox.store());
        if self.once_in(3) {
            self.damage_remains();
        }
    }

    fn kill_gc(&mut self) {
        let threshold = ["0", "50", "100"][self.pick(3)];
        let mut command = self.command(0, &["gc", "--json", "--threshold", threshold], true);
        let before = self.standing();
        if let Some(run) = self.kill("gc", &mut command) {
            self.collected(&before, &run);
            return;
        }
        self.model.learn(&self.sandbox.store());
        if self.once_in(2) {
            self.damage_remains();
        }
    }

    fn kill_forget(&mut self) {
        if self.model.archives.len() < 2 {
            return;
        }
        let number = self.pick(self.model.archives.len());
        let archive = self.model.archives[number].clone();
        if !roots(&self.sandbox.store()).contains(&archive.run) {
            return;
        }
        let mut command = self.command(0, &["forget", &format!("@{}", archive.run)], true);
        if let Some(run) = self.kill("forget", &mut command) {
            run.exits(0);
        }
        self.model.archives.remove(number);
        fs::remove_file(&archive.index).unwrap();
        self.model
            .damages
            .retain(|damage| !damage.path.to_str().unwrap().contains(&archive.run));
        if roots(&self.sandbox.store()).contains(&archive.run) {
            self.model.abandoned.insert(archive.run);
        }
    }
}
