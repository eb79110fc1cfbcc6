//! A place of its own for the real binary: store, key, catalog and home.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::files::files;
use super::source::first_difference;

/// A secret key for tests alone (32 times 7), so that fuzz targets can open
/// what tests wrote.
pub const KEY: &str =
    "DTAR-SECRET-KEY-1QURSWPC8QURSWPC8QURSWPC8QURSWPC8QURSWPC8QURSWPC8QURS6WX2GE\n";

/// A finished command.
#[derive(Debug)]
pub struct Run {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output, where that was not taken elsewhere.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Run {
    /// Panics unless the command ended with `code`.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "unexpected exit code; standard error:\n{}",
            self.stderr
        );
        self
    }

    /// Panics unless every one of `words` stands on standard error.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(
                self.stderr.contains(word),
                "{word:?} is not on standard error:\n{}",
                self.stderr
            );
        }
        self
    }
}

impl From<Output> for Run {
    #[track_caller]
    fn from(output: Output) -> Self {
        no_panic(Self {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

/// Waits until `condition` holds.
#[track_caller]
pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}: in vain");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Store, key, catalog and home of one test; removed with it.
pub struct Sandbox {
    dir: TempDir,
    threads: Option<usize>,
    kept: bool,
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if self.kept && thread::panicking() {
            self.dir.disable_cleanup(true);
            eprintln!("kept for inspection: {}", self.path().display());
        }
    }
}

impl Sandbox {
    /// A sandbox with the key of the tests; the store is made by the first run.
    pub fn new() -> Self {
        let sandbox = Self::without_key();
        let key = sandbox.key();
        std::fs::write(&key, KEY).unwrap();
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
        sandbox
    }

    /// A sandbox in which nothing exists yet.
    pub fn without_key() -> Self {
        Self::in_dir(fast_dir())
    }

    /// A sandbox with a key, on disk rather than in memory: for large streams.
    pub fn on_disk() -> Self {
        let sandbox = Self::in_dir(std::env::temp_dir());
        std::fs::write(sandbox.key(), KEY).unwrap();
        std::fs::set_permissions(sandbox.key(), PermissionsExt::from_mode(0o600)).unwrap();
        sandbox
    }

    fn in_dir(parent: PathBuf) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("dtar-test-")
            .tempdir_in(parent)
            .unwrap();
        std::fs::create_dir(dir.path().join("home")).unwrap();
        Self {
            dir,
            threads: None,
            kept: false,
        }
    }

    /// The same, with the number of worker threads fixed.
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// The same, but it stays if the test fails.
    pub fn kept_on_failure(mut self) -> Self {
        self.kept = true;
        self
    }

    /// Another sandbox with a copy of this one's store as it is, and no catalog.
    pub fn with_copied_store(&self) -> Self {
        let other = Self::new();
        let status = Command::new("cp")
            .arg("-a")
            .args([self.store(), other.store()])
            .status()
            .unwrap();
        assert!(status.success());
        other
    }

    /// The folder that holds everything.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The store.
    pub fn store(&self) -> PathBuf {
        self.path().join("store")
    }

    /// The key file.
    pub fn key(&self) -> PathBuf {
        self.path().join("key")
    }

    /// The catalog.
    pub fn catalog(&self) -> PathBuf {
        self.path().join("catalog")
    }

    /// A shell script in this sandbox, which finds the binary as `dtar`.
    pub fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", script]);
        self.surround(&mut command);
        let binary = PathBuf::from(binary());
        let dir = binary.parent().unwrap().display();
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{dir}:{path}"));
        command
    }

    /// The binary with this sandbox in its environment, and nothing of the user's.
    pub fn command<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments);
        self.surround(&mut command);
        command
    }

    fn surround(&self, command: &mut Command) {
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path().join("home"))
            .env("DTAR_STORE", self.store())
            .env("DTAR_KEY", self.key())
            .env("DTAR_CATALOG", self.catalog())
            .env("RUST_BACKTRACE", "1")
            .current_dir(self.path())
            .stdin(Stdio::null());
        if let Some(threads) = self.threads {
            command.env("RAYON_NUM_THREADS", threads.to_string());
        }
    }

    /// Runs a command to its end.
    pub fn run<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Run {
        let child = self
            .command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _watchdog = Watchdog::new(&child);
        child.wait_with_output().unwrap().into()
    }

    /// Archives what `input` yields; the index goes to the file `index`.
    pub fn archive_to<I: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = I>,
        input: impl Read + Send,
        index: &Path,
    ) -> Run {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(File::create(index).unwrap())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let _watchdog = Watchdog::new(&child);
        let stderr = thread::scope(|scope| {
            scope.spawn(move || feed(input, stdin));
            read_stderr(&mut child)
        });
        no_panic(Run {
            code: child.wait().unwrap().code(),
            stdout: Vec::new(),
            stderr,
        })
    }

    /// Archives `stream` without options; returns the path of the index, `name`.
    #[track_caller]
    pub fn archive(&self, name: &str, stream: impl Read + Send) -> PathBuf {
        let index = self.path().join(name);
        self.archive_to(["--quiet"], stream, &index).exits(0);
        index
    }

    /// Restores `index` with more `arguments`, and hands standard output to `consume`.
    pub fn restore_with<I: AsRef<OsStr>, T>(
        &self,
        index: &Path,
        arguments: impl IntoIterator<Item = I>,
        consume: impl FnOnce(ChildStdout) -> T,
    ) -> (Run, T) {
        let mut child = self
            .command([OsStr::new("restore"), index.as_os_str()])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let _watchdog = Watchdog::new(&child);
        let (stderr, value) = thread::scope(|scope| {
            let stderr = scope.spawn(|| read_stderr(&mut child));
            let value = consume(stdout);
            (stderr.join().unwrap(), value)
        });
        let run = Run {
            code: child.wait().unwrap().code(),
            stdout: Vec::new(),
            stderr,
        };
        (no_panic(run), value)
    }

    /// Panics unless `index` restores to exactly the bytes of `expected`.
    #[track_caller]
    pub fn restores(&self, index: &Path, expected: impl Read) {
        let none: [&str; 0] = [];
        let (run, difference) =
            self.restore_with(index, none, |stdout| first_difference(stdout, expected));
        if let Some(difference) = difference.unwrap() {
            panic!("{difference}; standard error:\n{}", run.stderr);
        }
        run.exits(0);
    }

    /// Files of data bricks and their sidecars, sorted. Those of snapshots are left out.
    pub fn stored_files(&self) -> Vec<PathBuf> {
        let files = |part| files(&self.store().join(part)).into_keys();
        let metadata: Vec<_> = files("meta").collect();
        let of_metadata = |file: &PathBuf| {
            metadata
                .iter()
                .any(|brick| brick.file_stem() == file.file_stem())
        };
        let all = files("bricks").chain(files("tocs"));
        all.filter(|file| !of_metadata(file)).collect()
    }
}

/// Ends a process that has not ended after a long time, so that one that hangs
/// fails its test and not the whole run.
pub struct Watchdog(#[expect(dead_code, reason = "dropped to call the watchdog off")] Sender<()>);

impl Watchdog {
    const LIMIT: Duration = Duration::from_secs(300);

    /// Watches `child` as long as this lives.
    pub fn new(child: &Child) -> Self {
        Self::with_limit(child, Self::LIMIT)
    }

    /// As [`Watchdog::new`], with a limit of its own.
    pub fn with_limit(child: &Child, limit: Duration) -> Self {
        let (call_off, called_off) = channel();
        let pid = child.id().to_string();
        thread::spawn(move || {
            if called_off.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                eprintln!("dtar has not ended after {limit:?} and is killed");
                let _ = Command::new("kill").args(["-9", &pid]).status();
            }
        });
        Self(call_off)
    }
}

/// The binary just built, or the one that `DTAR_TEST_BINARY` names.
fn binary() -> std::ffi::OsString {
    std::env::var_os("DTAR_TEST_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_dtar").into())
}

/// Memory if there is such a place, since every run syncs its files.
fn fast_dir() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let usable = std::env::var_os("TMPDIR").is_none()
        && tempfile::Builder::new().tempfile_in(memory).is_ok();
    if usable {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    }
}

/// Copies `input` into the pipe; a command that ends early is judged by its exit code.
fn feed(mut input: impl Read, mut pipe: impl Write) {
    let mut buffer = vec![0; 1 << 18];
    loop {
        let length = input.read(&mut buffer).unwrap();
        if length == 0 || pipe.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}

fn read_stderr(child: &mut Child) -> String {
    let mut bytes = Vec::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[track_caller]
fn no_panic(run: Run) -> Run {
    assert!(!run.stderr.contains("panicked at"), "{}", run.stderr);
    assert_ne!(run.code, Some(101), "{}", run.stderr);
    run
}
