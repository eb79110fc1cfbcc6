//! A place for store, key, catalog and indexes, and what is done and promised there.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::common::block::Stream;
use crate::common::sandbox::{Run, Sandbox, Watchdog};
use crate::common::shell::must;
use crate::common::source::first_difference;
use crate::shim::{self, Call, Injection, Watch};

/// Somewhat more than a frame holds: two of these in one brick lie in frames of their own.
const LARGE: usize = 4_400_000;
const SMALL: usize = 20_000;
/// No command here takes a second; one that takes this long hangs.
const LIMIT: Duration = Duration::from_secs(100);

/// A stream of files of these numbers: those from 100 on are large. No two have
/// anything in common, and all are compressed easily.
pub fn stream(files: &[u64]) -> Vec<u8> {
    let mut stream = Stream::new();
    for &number in files {
        let length = if number < 100 { SMALL } else { LARGE };
        let mut body = Vec::with_capacity(length + 100);
        for line in 0.. {
            writeln!(body, "file {number:>40} line {line:>40}").unwrap();
            if body.len() >= length {
                break;
            }
        }
        stream = stream.file(&format!("file-{number}"), &body);
    }
    stream.end()
}

/// Something that is done with dtar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A run: the name of its index, which is its label too, and the files of its stream.
    Archive(&'static str, &'static [u64]),
    /// The same without a snapshot.
    ArchiveBare(&'static str, &'static [u64]),
    /// The same with `--index`.
    ArchiveTo(&'static str, &'static [u64]),
    /// Restores the run, into the file `out`.
    Restore(&'static str, &'static [u64]),
    /// Takes the oldest brick of class data away, as a loss would.
    Lose,
    /// Changes a byte in the oldest brick of class data.
    Flip,
    /// Takes a sidecar away.
    LoseSidecar,
    /// Forgets the run of that name.
    Forget(&'static str),
    /// Writes what it finds among the bricks of class data to another folder.
    Salvage,
    /// Packs what is not packed into containers in the folder `packed`.
    Pack,
    /// Any other command.
    Command(&'static [&'static str]),
}

impl Step {
    /// Name and files of the run, if it is one.
    pub const fn run(self) -> Option<(&'static str, &'static [u64])> {
        match self {
            Self::Archive(name, files)
            | Self::ArchiveBare(name, files)
            | Self::ArchiveTo(name, files) => Some((name, files)),
            _ => None,
        }
    }

    /// The run that is no longer promised once this has begun.
    pub const fn gives_up(self) -> Option<&'static str> {
        match self {
            Self::Forget(name) => Some(name),
            _ => None,
        }
    }

    fn arguments(self, place: &Path) -> Vec<String> {
        let path;
        let words: Vec<&str> = match self {
            Self::Archive(name, _) => vec!["--label", name],
            Self::ArchiveBare(name, _) => vec!["--no-snapshot", "--label", name],
            Self::ArchiveTo(name, _) => {
                // So that errors name the whole path.
                path = place.join(name);
                vec!["--label", name, "--index", path.to_str().unwrap()]
            }
            Self::Forget(name) => return vec!["forget".into(), format!("@label:{name}")],
            Self::Restore(name, _) => {
                path = place.join(name);
                vec!["restore", path.to_str().unwrap()]
            }
            Self::Pack => {
                // The shim sees calls with whole paths alone.
                path = place.join("packed");
                let to = path.to_str().unwrap();
                vec!["pack", "--quiet", "--size", "16M", "--to", to]
            }
            Self::Command(words) => words.to_vec(),
            Self::Salvage => {
                path = place.join("salvaged");
                vec!["salvage", "store/bricks", "--to", path.to_str().unwrap()]
            }
            Self::Lose | Self::Flip | Self::LoseSidecar => vec![],
        };
        words.into_iter().map(String::from).collect()
    }
}

/// A folder in memory with all that dtar uses.
pub struct Place {
    sandbox: Sandbox,
    log: TempDir,
}

impl Place {
    /// One in which there is nothing yet.
    pub fn new() -> Self {
        let sandbox = Sandbox::without_key();
        let log = tempfile::tempdir_in(sandbox.path().parent().unwrap()).unwrap();
        Self { sandbox, log }
    }

    /// One in which these steps were done.
    pub fn after(steps: &[Step]) -> Self {
        let place = Self::new();
        for &step in steps {
            place.succeeds(step);
        }
        place
    }

    /// A copy of what is there.
    pub fn copy(&self) -> Self {
        let copy = Self::new();
        let (from, to) = (self.path(), copy.path());
        let paths = [from, to].map(|path| path.to_str().unwrap());
        must(
            Path::new("/"),
            "rmdir \"$2\"/home && cp -a \"$1\"/. \"$2\"",
            &paths,
        );
        copy
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.sandbox.path()
    }

    fn command(&self, arguments: &[String]) -> Command {
        let mut command = self.sandbox.command(arguments);
        command.env("DTAR_KEY", self.path().join("config/dtar/key"));
        command
    }

    /// Does a step; the index of a run goes to the file of its name.
    pub fn run(&self, step: Step) -> Run {
        self.start(step, &mut self.command(&step.arguments(self.path())))
    }

    /// Does a step under the shim; returns what the shim has seen as well.
    pub fn watch(&self, step: Step, watch: Watch, fault: Option<Injection>) -> (Run, Vec<Call>) {
        let log = self.log.path().join("log");
        let mut command = self.command(&step.arguments(self.path()));
        shim::attach(&mut command, self.path(), &log, watch, fault);
        let run = self.start(step, &mut command);
        (run, shim::calls(self.path(), &log))
    }

    fn start(&self, step: Step, command: &mut Command) -> Run {
        let input = step.run().map(|(_, files)| stream(files));
        if let Step::Archive(name, _) | Step::ArchiveBare(name, _) = step {
            // Cut, not made anew: a recorder knows it by its inode.
            command.stdout(File::create(self.path().join(name)).unwrap());
        } else if let Step::Restore(..) = step {
            command.stdout(File::create(self.path().join("out")).unwrap());
        } else {
            command.stdout(Stdio::null());
        }
        finish(command, input.as_deref())
    }

    /// Panics unless the step is done.
    #[track_caller]
    pub fn succeeds(&self, step: Step) {
        let made = |path: &PathBuf| fs::metadata(path).unwrap().modified().unwrap();
        let oldest = |files: Vec<PathBuf>| files.into_iter().min_by_key(made).unwrap();
        let brick = || oldest(self.files("store/bricks"));
        match step {
            Step::Lose => return fs::remove_file(brick()).unwrap(),
            Step::LoseSidecar => {
                return fs::remove_file(self.files("store/tocs").remove(0)).unwrap();
            }
            Step::Flip => {
                let mut bytes = fs::read(brick()).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                return fs::write(brick(), bytes).unwrap();
            }
            _ => {}
        }
        let run = self.run(step);
        assert_eq!(run.code, Some(0), "{step:?}: {}", run.stderr);
    }

    /// Runs any command, and hands what it writes to standard output over.
    pub fn ask(&self, arguments: &[&str]) -> Run {
        let arguments: Vec<_> = arguments.iter().map(|&word| word.to_owned()).collect();
        finish(self.command(&arguments).stdout(Stdio::piped()), None)
    }

    /// What `index` (a file, or `@…`) yields; an error text if it yields anything but
    /// exactly `expected`.
    pub fn restores(&self, index: &str, expected: &[u8]) -> Result<(), String> {
        let run = self.ask(&["restore", "--quiet", index]);
        if run.code != Some(0) {
            return Err(format!("exit code {:?}: {}", run.code, run.stderr));
        }
        match first_difference(&run.stdout[..], expected).unwrap() {
            Some(difference) => Err(difference.to_string()),
            None => Ok(()),
        }
    }

    /// What has the name of a container is one, whole, with nothing damaged in it; they are
    /// unpacked into the folder `unpacked`.
    #[track_caller]
    pub fn containers_are_whole(&self, after: &str) {
        let _ = fs::remove_dir_all(self.path().join("unpacked"));
        let mut containers = self.entries("packed");
        containers.retain(|path| path.extension().is_some_and(|ending| ending == "tar"));
        if containers.is_empty() {
            return;
        }
        let mut arguments = vec!["unpack", "--quiet", "--to", "unpacked"];
        arguments.extend(containers.iter().map(|path| path.to_str().unwrap()));
        let run = self.ask(&arguments);
        assert_eq!(run.code, Some(0), "unpack: {}\nafter {after}", run.stderr);
    }

    /// Containers and key are enough for a run: all is packed.
    #[track_caller]
    pub fn unpacked_restores(&self, label: &str, expected: &[u8], after: &str) {
        let index = format!("@label:{label}");
        let run = self.ask(&["restore", "--quiet", "--store", "unpacked", &index]);
        assert_eq!(run.code, Some(0), "unpacked: {}\nafter {after}", run.stderr);
        let difference = first_difference(&run.stdout[..], expected).unwrap();
        assert!(
            difference.is_none(),
            "unpacked: {label} is another after {after}"
        );
    }

    /// Verify finds nothing wrong, as far as the store has come into being. A run that
    /// was cut off before its snapshot has a root that names one.
    #[track_caller]
    pub fn is_sound(&self, after: &str) {
        if !self.path().join("store/store.toml").exists() {
            return;
        }
        let run = self.ask(&["verify", "--quiet"]);
        let harmless = |line: &str| line.contains("missing, though its run has a root");
        let well = run.code == Some(0) || run.code == Some(3) && run.stderr.lines().all(harmless);
        assert!(well, "verify: {:?} {}\nafter {after}", run.code, run.stderr);
    }

    /// Nothing is left of runs, but of those whose lease could not be written: they are
    /// for the next gc.
    #[track_caller]
    pub fn is_clean(&self, after: &str) {
        let mut left = self.entries("store/runs");
        // One that had not written its lease, or lost it with the power, is for a gc to end.
        let is_written = |lease: Vec<u8>| lease.iter().any(|byte| *byte != 0);
        left.retain(|path| fs::read(path.join("lease")).is_ok_and(is_written));
        left.extend(self.entries("store/tmp"));
        assert!(left.is_empty(), "{left:?} left after {after}");
    }

    /// Not even of those, and no dead list.
    #[track_caller]
    pub fn has_no_runs(&self, after: &str) {
        let left = ["store/tmp", "store/runs", "store/dead"].map(|folder| self.entries(folder));
        assert!(left.concat().is_empty(), "{left:?} left after {after}");
    }

    /// All files in the folders of a folder, in the order of their paths.
    pub fn files(&self, folder: &str) -> Vec<PathBuf> {
        let shards = self.entries(folder);
        let name = |path: &PathBuf| {
            path.strip_prefix(self.path())
                .unwrap()
                .display()
                .to_string()
        };
        shards
            .iter()
            .flat_map(|shard| self.entries(&name(shard)))
            .collect()
    }

    /// What stands in a folder.
    pub fn entries(&self, folder: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path().join(folder));
        let mut paths: Vec<_> = entries
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        paths
    }
}

fn finish(command: &mut Command, input: Option<&[u8]>) -> Run {
    let mut child = command
        .stdin(input.map_or_else(Stdio::null, |_| Stdio::piped()))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _watchdog = Watchdog::with_limit(&child, LIMIT);
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let mut stderr = child.stderr.take().unwrap();
    let (stdout, text) = thread::scope(|scope| {
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // One that ends early is judged by its exit code.
            scope.spawn(move || drop(stdin.write_all(input)));
        }
        let text = scope.spawn(move || {
            let mut bytes = Vec::new();
            stderr.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let mut bytes = Vec::new();
        if let Some(mut stdout) = stdout {
            stdout.read_to_end(&mut bytes).unwrap();
        }
        (bytes, text.join().unwrap())
    });
    Run {
        code: child.wait().unwrap().code(),
        stdout,
        stderr: text,
    }
}
