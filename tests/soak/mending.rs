//! Verify, parity, rebuild, and archives that heal.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use dtar::id::BrickName;
use serde_json::Value;

use crate::common::files::files;
use crate::common::stored::{events, roots};
use crate::model::{Damage, Part};
use crate::world::World;

impl World {
    /// Verify, which names each damage, and nothing else.
    pub fn verify(&mut self) {
        let mut command = self.command(0, &["verify", "--json", "--all-here"], false);
        let run = self.run("verify", &mut command);
        let faults = events(&run, "fault");
        let strays = events(&run, "stray");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for damage in &self.model.damages {
            let rest = damage.brick.map(|name| self.files_of(&name));
            if rest.is_some_and(|files| !files.iter().any(|path| path.exists())) {
                // Nobody needed it, and gc has deleted what was left.
                continue;
            }
            let stem = damage.path.file_stem().unwrap().to_str().unwrap();
            let names = |event: &Value| {
                text(&event["path"]).contains(stem) || text(&event["brick"]) == stem
            };
            // What is left of a brick that nobody needs is a stray.
            let is_named = faults.iter().any(names) || strays.iter().any(names);
            self.tally.to_report += 1;
            self.tally.reported += u64::from(is_named);
            assert!(is_named, "{} is not named: {}", stem, run.stderr);
        }
        let suspects: BTreeSet<_> = self
            .model
            .suspects()
            .iter()
            .map(ToString::to_string)
            .collect();
        let damages = &self.model.damages;
        // While a root does not open, or a brick is gone, nobody knows whether what a killed
        // run has left is needed.
        let is_unknown = |damage: &Damage| damage.part == Part::Root || !damage.path.exists();
        let may_be_needed = damages.iter().any(is_unknown);
        for fault in &faults {
            let path = text(&fault["path"]);
            let is_left = text(&fault["message"]) == "missing, though its brick is here";
            let is_known = is_left && may_be_needed
                || suspects.contains(&text(&fault["brick"]))
                || damages
                    .iter()
                    .any(|damage| path == damage.path.to_str().unwrap())
                || self
                    .model
                    .abandoned
                    .iter()
                    .any(|run| path.contains(run.as_str()));
            assert!(is_known, "{fault} without damage: {}", run.stderr);
        }
        assert_eq!(run.code, Some(if faults.is_empty() { 0 } else { 3 }));
    }

    /// The files of a brick.
    fn files_of(&self, name: &BrickName) -> [PathBuf; 3] {
        let (store, hex) = (self.sandbox.store(), name.to_string());
        [("bricks", "brick"), ("meta", "brick"), ("tocs", "toc")]
            .map(|(part, ending)| store.join(format!("{part}/{}/{hex}.{ending}", &hex[..2])))
    }

    /// Parity over all bricks that are there.
    pub fn add_parity(&mut self) {
        if self
            .model
            .damages
            .iter()
            .any(|damage| damage.part == Part::Brick)
        {
            return;
        }
        let store = self.sandbox.store();
        let _ = fs::remove_dir_all(store.join("parity"));
        let mut command = self.command(0, &["parity", "add", "--share", "100%"], false);
        self.run("parity add", &mut command).exits(0);
        let all = ["bricks", "meta"].map(|part| files(&store.join(part)).into_keys());
        self.parity = Some(all.into_iter().flatten().collect());
    }

    /// Mends what can be mended, and gives up the rest; after that the store is sound.
    pub fn heal(&mut self) {
        self.verify();
        self.repair();
        self.rebuild();
        self.bring_back();
        self.verify();
        self.archive_again();
        self.give_up();
        self.verify();
    }

    /// What is as it was is not damaged any more.
    fn settle(&mut self, part: Part) -> u64 {
        let before = self.model.damages.len();
        let is_mended = |damage: &Damage| {
            damage.part == part && fs::read(&damage.path).is_ok_and(|now| now == damage.good)
        };
        self.model.damages.retain(|damage| !is_mended(damage));
        (before - self.model.damages.len()) as u64
    }

    fn repair(&mut self) {
        let Some(members) = self.parity.clone() else {
            return;
        };
        let lost = self.model.damages.iter();
        let lost: Vec<_> = lost
            .filter(|damage| damage.part == Part::Brick)
            .map(|damage| damage.path.clone())
            .collect();
        let mut command = self.command(0, &["parity", "repair"], false);
        let run = self.run("parity repair", &mut command);
        self.tally.by_parity += self.settle(Part::Brick);
        // The largest of a few bricks may be more than the share.
        let length = |path| self.model.damages.iter().find(|damage| damage.path == path);
        if lost.len() == 1 && members.len() > 8 && members.contains(&lost[0]) {
            assert!(
                length(lost[0].clone()).is_none() || run.code == Some(3),
                "{run:?}"
            );
        }
    }

    fn rebuild(&mut self) {
        let mut command = self.command(0, &["rebuild"], false);
        let run = self.run("rebuild", &mut command);
        assert!(matches!(run.code, Some(0 | 3)), "{run:?}");
        self.tally.by_rebuild += self.settle(Part::Sidecar);
        // A gc that was killed deletes sidecars first: of what is on its list and nobody
        // needs, none is made again.
        let is_collecting = !files(&self.sandbox.store().join("dead")).is_empty();
        let left = self.model.damages.iter();
        let left: Vec<_> = left
            .filter(|damage| damage.part == Part::Sidecar)
            // Gc deletes what nobody needs, with or without a sidecar.
            .filter(|damage| {
                let name = damage.brick.expect("the sidecar of a brick");
                let may_be_gone = is_collecting && !self.model.is_needed(&name);
                !may_be_gone && self.files_of(&name).iter().any(|path| path.exists())
            })
            .map(|damage| damage.path.clone())
            .collect();
        // A gc that was killed has put its brick on a list, and the next one decides.
        let is_dying = run.stderr.contains("a gc is about to delete its brick");
        assert!(
            left.is_empty() || is_dying && run.code == Some(3),
            "not made again: {left:?}: {}",
            run.stderr
        );
        self.model.learn(&self.sandbox.store());
    }

    /// Roots and snapshots come back from copies.
    fn bring_back(&mut self) {
        for damage in &self.model.damages {
            if matches!(damage.part, Part::Root | Part::Snapshot) {
                fs::write(&damage.path, &damage.good).unwrap();
            }
        }
        self.settle(Part::Root);
        self.settle(Part::Snapshot);
    }

    /// What is still damaged is marked: archived again, the old indexes restore too.
    fn archive_again(&mut self) {
        let suspects = self.model.suspects();
        let store = self.sandbox.store();
        for number in 0..self.model.archives.len() {
            let archive = self.model.archives[number].clone();
            let relies = archive.needs.keys().any(|name| suspects.contains(name));
            if !relies || self.once_in(3) {
                continue;
            }
            let was_lost = !self.model.must_restore(&store, &archive, false);
            let new = self.archive(0, archive.stream.clone(), &[]);
            let new = self.model.archives[new].clone();
            assert!(
                self.model.must_restore(&store, &new, false),
                "relies on what is marked"
            );
            self.log.step(format!("restore {}, healed", archive.label));
            self.sandbox.restores(&archive.index, &archive.stream[..]);
            self.tally.by_archive += u64::from(was_lost);
        }
    }

    /// Forgets what relies on what is damaged, and what killed runs left; then gc.
    fn give_up(&mut self) {
        let suspects = self.model.suspects();
        for number in (0..self.model.archives.len()).rev() {
            let needs = &self.model.archives[number].needs;
            if needs.keys().any(|name| suspects.contains(name)) {
                self.forget(number);
                self.tally.did("given up");
            }
        }
        for run in std::mem::take(&mut self.model.abandoned) {
            if roots(&self.sandbox.store()).contains(&run) {
                self.forget_run(&run);
            }
        }
        let damages = &self.model.damages;
        if damages.iter().any(|damage| damage.part == Part::Sidecar) {
            self.collect();
            self.rebuild();
        }
        let mut command = self.command(0, &["gc", "--json"], false);
        let before = self.standing();
        let run = self.run("gc", &mut command);
        let gone = std::mem::take(&mut self.model.damages);
        for damage in gone {
            assert!(
                !damage.path.exists(),
                "{}: {}",
                damage.path.display(),
                run.stderr
            );
        }
        self.collected(&before, &run);
        if self.parity.is_some() {
            let mut command = self.command(0, &["parity", "check"], false);
            self.run("parity check", &mut command).exits(0);
        }
    }
}
