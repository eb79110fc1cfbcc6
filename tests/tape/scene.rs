//! A store in containers, and a library of simulated tapes.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;

use crate::common::sandbox::{Run, Sandbox};
use crate::common::source::Random;

/// The length of blocks of all tapes of these tests.
pub const BLOCK: u64 = 64 << 10;

/// A sandbox with containers in `containers` and tapes in `library`.
pub struct Scene {
    pub sandbox: Sandbox,
}

impl Scene {
    pub fn new() -> Self {
        let sandbox = Sandbox::new();
        fs::create_dir(sandbox.path().join("library")).unwrap();
        Self { sandbox }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.sandbox.path().join(name)
    }

    /// Puts a blank tape on the shelf, or gives one other faults.
    pub fn tape(&self, name: &str, settings: &str) {
        let dir = self.path("library").join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("tape.toml"), settings).unwrap();
    }

    /// A blank tape, or one that was written, that holds so many containers and no more.
    pub fn tape_for(&self, containers: u64, name: &str, fault: &str) {
        let longest = (1..=self.count()).map(|number| self.length(number)).max();
        // Catalog and reserve take less than the slack, and that less than a container.
        let capacity = label_length() + containers * longest.unwrap() + 6 * BLOCK;
        self.tape(name, &format!("capacity = {capacity}\n{fault}"));
    }

    pub fn load(&self, name: &str) {
        fs::write(self.path("library/loaded"), name).unwrap();
    }

    /// Runs `dtar tape` on the library, with these tapes put in one after the other.
    pub fn run<I: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = I>,
        tapes: &[&str],
    ) -> Run {
        fs::write(self.path("queue"), tapes.join("\n") + "\n").unwrap();
        // Takes the first line off the queue; 1 if there is none.
        self.run_with_change(
            arguments,
            "test -n \"$(head -n 1 queue)\" || exit 1; \
             head -n 1 queue > library/loaded; sed -i 1d queue",
        )
    }

    /// Runs `dtar tape` on the library; `change` is what changes tapes.
    pub fn run_with_change<I: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = I>,
        change: &str,
    ) -> Run {
        let output = self
            .sandbox
            .command(["tape"])
            .args(arguments)
            .env("DTAR_TAPE_DRIVE", "sim:library")
            .env("DTAR_TAPE_CHANGE", change)
            .output()
            .unwrap();
        output.into()
    }

    /// Writes what is in `containers`, on these tapes.
    pub fn write(&self, more: &[&str], tapes: &[&str]) -> Run {
        let fixed = ["write", "--from", "containers", "--block", "64K"];
        let fixed = fixed.into_iter().chain(["--reserve", "64K"]);
        self.run(fixed.chain(more.iter().copied()), tapes)
    }

    /// Archives so many streams: each becomes a brick of 180 KB.
    pub fn archive(&self, count: u64) {
        for seed in 0..count {
            let stream = Random(seed + 1).bytes(180_000);
            self.sandbox.archive("index.tar", &stream[..]);
        }
    }

    /// Puts what is new in the store into containers.
    pub fn pack(&self, size: &str) -> u32 {
        let pack = ["pack", "--quiet", "--size", size, "--to", "containers"];
        self.sandbox.run(pack).exits(0);
        self.count()
    }

    /// The names of the containers.
    pub fn containers(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("containers")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names
            .filter(|name| !name.ends_with("-catalog.txt"))
            .collect();
        names.sort();
        names
    }

    pub fn count(&self) -> u32 {
        u32::try_from(self.containers().len()).unwrap()
    }

    /// What a container takes on a tape.
    pub fn length(&self, number: u32) -> u64 {
        let name = &self.containers()[number as usize - 1];
        let length = fs::metadata(self.path("containers").join(name))
            .unwrap()
            .len();
        length.next_multiple_of(BLOCK)
    }

    /// What the folder of containers remembers.
    pub fn remembered(&self) -> PathBuf {
        let prefix = self.containers()[0][..8].to_owned();
        self.path("containers")
            .join(format!("{prefix}-catalog.txt"))
    }
}

/// What a label takes on a tape.
pub fn label_length() -> u64 {
    dtar::tape::label_length().next_multiple_of(BLOCK)
}
