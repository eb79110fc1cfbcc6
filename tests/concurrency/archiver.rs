//! One of several who archive at once.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::common::sandbox::{Run, Watchdog};
use crate::common::source::Random;
use crate::common::tree::Tree;
use crate::scene::{Kept, Scene};

/// An archiver, and what it must get back.
pub struct Archiver<'a> {
    scene: &'a Scene,
    number: u64,
    random: Random,
    tree: Tree,
    kept: Vec<(String, Kept)>,
    made: u64,
}

impl<'a> Archiver<'a> {
    pub fn new(scene: &'a Scene, seed: u64, number: u64) -> Self {
        Self {
            scene,
            number,
            random: Random(seed.wrapping_mul(1000) + number),
            // Neighbours begin with the same tree.
            tree: Tree::new(seed + number / 2, 10, 2 << 20),
            kept: Vec::new(),
            made: 0,
        }
    }

    /// Archives so many times, and forgets in between. What it has not forgotten.
    pub fn run(mut self, rounds: u64) -> Vec<Kept> {
        for _ in 0..rounds {
            if self.random.below(3) == 0 {
                self.leave_little();
            }
            self.tree.change();
            let stream = self.tree.stream();
            self.archive(stream);
            if !self.kept.is_empty() && self.random.below(2) == 0 {
                let number = self.random.below(self.kept.len() as u64);
                let (label, kept) = self.kept.remove(usize::try_from(number).unwrap());
                self.forget(&label);
                fs::remove_file(&kept.index).unwrap();
                if self.random.below(3) > 0 {
                    self.archive(kept.stream);
                    self.scene.counts().again += 1;
                }
            }
        }
        self.kept.into_iter().map(|(_, kept)| kept).collect()
    }

    /// Gives up a large run of which only little is needed any more.
    fn leave_little(&mut self) {
        let before = self.kept.len();
        self.tree.grow();
        self.archive(self.tree.stream());
        self.tree.thin();
        self.archive(self.tree.stream());
        if self.kept.len() == before + 2 {
            let (label, kept) = self.kept.remove(before);
            self.forget(&label);
            fs::remove_file(kept.index).unwrap();
        }
    }

    fn forget(&self, label: &str) {
        let what = format!("@label:{label}");
        let mut command = self.scene.command(self.number, &["forget", "-q", &what]);
        let output = command.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}");
        self.scene.counts().forgotten += 1;
    }

    fn archive(&mut self, stream: Vec<u8>) {
        self.made += 1;
        let label = format!("archiver-{}-{}", self.number, self.made);
        let index = self.scene.sandbox.path().join(format!("{label}.tar"));
        let mut arguments = vec!["-q", "--label", &label];
        if self.random.below(3) == 0 {
            arguments.extend(["--key", "put-key"]);
        }
        let run = self.slowly(&arguments, &stream, &index);
        match run.code {
            Some(0) => {
                self.scene.counts().archives += 1;
                self.kept.push((label, Kept { index, stream }));
            }
            _ if self.scene.ends_runs && run.stderr.contains("ended by a gc") => {
                assert_eq!(run.code, Some(1), "{}", run.stderr);
                self.scene.counts().ended += 1;
                // Its index must not look finished.
                let refused = self.scene.sandbox.run([Path::new("restore"), &index]);
                assert!(matches!(refused.code, Some(1 | 3)), "{refused:?}");
                assert!(refused.stdout.is_empty());
                fs::remove_file(&index).unwrap();
            }
            _ => panic!("{run:?}"),
        }
    }

    /// Archives with pauses, so that much happens meanwhile.
    fn slowly(&mut self, arguments: &[&str], stream: &[u8], index: &Path) -> Run {
        let mut child = self
            .scene
            .command(self.number, arguments)
            .stdin(Stdio::piped())
            .stdout(File::create(index).unwrap())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _watchdog = Watchdog::new(&child);
        let mut stdin = child.stdin.take().unwrap();
        let piece = stream.len() / 4 + 1;
        for piece in stream.chunks(piece) {
            if stdin.write_all(piece).is_err() {
                // It has ended early: its exit code tells.
                break;
            }
            thread::sleep(Duration::from_millis(self.random.below(60)));
        }
        drop(stdin);
        let mut stderr = String::new();
        let mut pipe = child.stderr.take().unwrap();
        pipe.read_to_string(&mut stderr).unwrap();
        assert!(!stderr.contains("panicked at"), "{stderr}");
        Run {
            code: child.wait().unwrap().code(),
            stdout: Vec::new(),
            stderr,
        }
    }
}
