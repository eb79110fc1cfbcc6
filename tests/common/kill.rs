//! `kill -9` at a chosen moment of a command.
//!
//! Either after a time, or just before the nth call of a kind that leaves something
//! behind; these are counted, and the process killed, by a small library that is
//! preloaded (`kill.c`). Where no C compiler is at hand all kills are by time.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use super::sandbox::{Run, Watchdog};
use super::shell::have;
use super::source::Random;

/// The moment at which a command is killed.
#[derive(Debug, Clone, Copy)]
pub enum Moment {
    /// So long after its start.
    After(Duration),
    /// Before its nth call that makes, renames, deletes or syncs a file or folder.
    Name(u64),
    /// Before its nth write.
    Write(u64),
}

/// How long a command takes, and how many calls it makes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Measure {
    time: Duration,
    names: u64,
    writes: u64,
}

impl Measure {
    /// As [`Measure::draw`], but by calls alone, so that the same comes about again.
    pub fn draw_call(&self, random: &mut Random) -> Moment {
        match random.below(2) {
            _ if self.names == 0 => self.draw(random),
            0 => Moment::Name(1 + random.below(self.names + 1)),
            _ => Moment::Write(1 + random.below(self.writes + 1)),
        }
    }

    /// A moment in the course of such a command, or shortly after it.
    pub fn draw(&self, random: &mut Random) -> Moment {
        let beyond = |count: u64| count + count / 10 + 1;
        let kind = if library().is_some() {
            random.below(4)
        } else {
            0
        };
        match kind {
            0 | 1 => {
                let most = beyond(u64::try_from(self.time.as_micros()).unwrap());
                Moment::After(Duration::from_micros(random.below(most)))
            }
            2 => Moment::Name(1 + random.below(beyond(self.names))),
            _ => Moment::Write(1 + random.below(beyond(self.writes))),
        }
    }
}

/// How a command ended that was to be killed.
pub enum End {
    /// By the kill.
    Killed,
    /// By itself, before its moment came.
    Done(Run),
}

/// Runs `command`, whose output must go elsewhere, and kills it at `moment`.
#[track_caller]
pub fn killed(command: &mut Command, moment: Moment) -> End {
    match moment {
        Moment::After(_) => {}
        Moment::Name(number) => preload(command, "DTAR_KILL_AT", format!("names:{number}")),
        Moment::Write(number) => preload(command, "DTAR_KILL_AT", format!("writes:{number}")),
    }
    let mut child = spawn(command);
    if let Moment::After(time) = moment {
        thread::sleep(time);
        // One that has ended meanwhile is not hit.
        child.kill().unwrap();
    }
    let (signal, run) = end_of(child);
    match signal {
        Some(9) => End::Killed,
        None => End::Done(run),
        Some(other) => panic!("ended by signal {other}: {}", run.stderr),
    }
}

/// Runs `command` to its end, and measures it. `scratch` is a file of the caller's.
#[track_caller]
pub fn measured(command: &mut Command, scratch: &Path) -> (Run, Measure) {
    let counts = library().is_some();
    if counts {
        let _ = std::fs::remove_file(scratch);
        preload(command, "DTAR_KILL_COUNT", scratch.display().to_string());
    }
    let start = Instant::now();
    let (signal, run) = end_of(spawn(command));
    assert_eq!(signal, None, "{}", run.stderr);
    let mut measure = Measure {
        time: start.elapsed(),
        ..Measure::default()
    };
    if counts {
        // Without it, nothing is preloaded here, and all kills are by time.
        let text = std::fs::read_to_string(scratch).unwrap_or_default();
        let mut numbers = text.split_whitespace().map(|n| n.parse().unwrap());
        measure.names = numbers.next().unwrap_or_default();
        measure.writes = numbers.next().unwrap_or_default();
    }
    (run, measure)
}

fn preload(command: &mut Command, variable: &str, value: String) {
    if let Some(library) = library() {
        command.env("LD_PRELOAD", library).env(variable, value);
    }
}

fn spawn(command: &mut Command) -> Child {
    command.stderr(Stdio::piped()).spawn().unwrap()
}

#[track_caller]
fn end_of(mut child: Child) -> (Option<i32>, Run) {
    let _watchdog = Watchdog::new(&child);
    let mut stderr = Vec::new();
    let mut pipe = child.stderr.take().unwrap();
    pipe.read_to_end(&mut stderr).unwrap();
    let status = child.wait().unwrap();
    let run = Run {
        code: status.code(),
        stdout: Vec::new(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    };
    assert!(!run.stderr.contains("panicked at"), "{}", run.stderr);
    (status.signal(), run)
}

/// The library, compiled once for each test binary.
fn library() -> Option<&'static Path> {
    static LIBRARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    LIBRARY.get_or_init(compile).as_deref()
}

fn compile() -> Option<PathBuf> {
    if !cfg!(target_os = "linux") || !have("cc") {
        return None;
    }
    let source: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "common", "kill.c"]
        .iter()
        .collect();
    let name = format!("kill-{}.so", std::process::id());
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .status()
        .unwrap();
    assert!(status.success(), "cc cannot compile {}", source.display());
    Some(library)
}
