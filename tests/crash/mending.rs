//! Kills of the commands that check and mend.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::acts::Act;
use crate::common::files::files;
use crate::common::kill::End;
use crate::lane::Lane;

impl Lane {
    fn quiet(&self, arguments: &[&str]) -> Command {
        let mut command = self.sandbox.command(arguments);
        command.stdout(Stdio::null());
        command
    }

    /// A file of one of the store's folders.
    fn any_file(&mut self, folder: &str) -> PathBuf {
        let all = files(&self.sandbox.store().join(folder));
        let number = self.random.below(all.len() as u64);
        all.into_keys()
            .nth(usize::try_from(number).unwrap())
            .unwrap()
    }

    /// Verify, of a store with a damaged brick, which then comes back.
    pub fn kill_verify(&mut self) -> bool {
        let brick = self.any_file("bricks");
        let good = fs::read(&brick).unwrap();
        let mut bad = good.clone();
        let place = self.random.below(bad.len() as u64);
        bad[usize::try_from(place).unwrap()] ^= 1;
        fs::write(&brick, bad).unwrap();
        let mut command = self.quiet(&["verify"]);
        let end = self.kill(Act::Verify, &mut command);
        fs::write(&brick, good).unwrap();
        match end {
            End::Killed => {}
            End::Done(run) => drop(run.exits(3)),
        }
        // It removes the mark, if one was set.
        self.verify();
        assert!(files(&self.sandbox.store().join("bad")).is_empty());
        true
    }

    /// Rebuild, of a store that has lost sidecars, and the catalog.
    pub fn kill_rebuild(&mut self) -> bool {
        // What stands on the list of a gc that was cut off is not made again.
        if !files(&self.sandbox.store().join("dead")).is_empty() {
            self.sandbox.run(["gc"]).exits(0);
        }
        let lost = files(&self.sandbox.store().join("tocs"));
        for sidecar in lost.keys() {
            if self.random.below(2) == 0 {
                fs::remove_file(sidecar).unwrap();
            }
        }
        let mut command = self.quiet(&["rebuild"]);
        let end = self.kill(Act::Rebuild, &mut command);
        if let End::Done(run) = end {
            run.exits(0);
            self.stand_again(&lost);
            return false;
        }
        if self.random.below(2) == 0 {
            // What is not mended harms no restore.
            self.restore_all();
        }
        let mut command = self.quiet(&["rebuild"]);
        self.measure(Act::Rebuild, &mut command).exits(0);
        self.stand_again(&lost);
        true
    }

    /// The sidecars are all there again; and one, perhaps, of a brick that never had one.
    fn stand_again(&self, sidecars: &BTreeMap<PathBuf, u64>) {
        let found = files(&self.sandbox.store().join("tocs"));
        for (path, length) in sidecars {
            assert_eq!(found.get(path), Some(length), "{}", path.display());
        }
    }

    fn add_parity(&mut self) {
        let mut command = self.quiet(&["parity", "add", "--share", "100%"]);
        self.measure(Act::ParityAdd, &mut command).exits(0);
    }

    pub fn parity(&mut self, what: &str) {
        self.log.step(format!("parity {what}"));
        self.sandbox.run(["parity", what]).exits(0);
    }

    /// Parity is made from nothing; what a killed run has left is completed.
    pub fn kill_parity_add(&mut self) -> bool {
        self.give_up_parity();
        let mut command = self.quiet(&["parity", "add", "--share", "100%"]);
        let end = self.kill(Act::ParityAdd, &mut command);
        if let End::Done(run) = &end {
            assert_eq!(run.code, Some(0), "{}", run.stderr);
        }
        self.parity("repair");
        self.add_parity();
        self.parity("check");
        matches!(end, End::Killed)
    }

    /// A brick is lost, and brought back.
    pub fn kill_parity_repair(&mut self) -> bool {
        self.give_up_parity();
        self.add_parity();
        let folder = ["bricks", "meta"][usize::try_from(self.random.below(2)).unwrap()];
        let before = files(&self.sandbox.store().join(folder));
        let brick = self.any_file(folder);
        let good = fs::read(&brick).unwrap();
        if self.random.below(2) == 0 {
            fs::remove_file(&brick).unwrap();
        } else {
            let place = self.random.below(good.len() as u64);
            fs::write(&brick, &good[..usize::try_from(place).unwrap()]).unwrap();
        }
        let mut command = self.quiet(&["parity", "repair"]);
        let end = self.kill(Act::ParityRepair, &mut command);
        let mut command = self.quiet(&["parity", "repair"]);
        self.measure(Act::ParityRepair, &mut command).exits(0);
        assert!(fs::read(&brick).unwrap() == good, "not brought back");
        assert_eq!(files(&self.sandbox.store().join(folder)), before);
        self.parity("check");
        matches!(end, End::Killed)
    }

    /// So that all sets are to be made.
    fn give_up_parity(&self) {
        let _ = fs::remove_dir_all(self.sandbox.store().join("parity"));
    }
}
