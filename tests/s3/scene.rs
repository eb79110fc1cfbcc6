//! A host with a store, and a bucket that it pushes to.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use crate::common::block::Stream;
use crate::common::sandbox::{Run, Sandbox, Watchdog};
use crate::common::source::Random;
use crate::server::{Bucket, Server};

/// The server of all tests that need none of their own.
pub fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(Server::start).as_ref()
}

/// Files of 3 MB, `first` to `first + count`; the same number is the same file.
pub fn stream(first: u64, count: u64) -> Vec<u8> {
    let mut stream = Stream::new();
    for number in first..first + count {
        let body = Random(number + 1).bytes(3 << 20);
        stream = stream.file(&format!("file-{number}"), &body);
    }
    stream.end()
}

/// One of several hosts: its own store, key, catalog and home.
pub struct Host<'a> {
    pub sandbox: Sandbox,
    pub bucket: &'a Bucket<'a>,
    /// The server, or what stands before it.
    pub endpoint: String,
    /// How often a request is tried.
    pub attempts: u32,
}

impl<'a> Host<'a> {
    pub fn new(bucket: &'a Bucket<'a>) -> Self {
        Self {
            sandbox: Sandbox::new(),
            bucket,
            endpoint: bucket.server.url(),
            attempts: 2,
        }
    }

    /// The same, with a store of `count` files in bricks of three, archived as `index`.
    pub fn with_files(bucket: &'a Bucket<'a>, count: u64) -> (Self, PathBuf) {
        let host = Self::new(bucket);
        let index = host.archive("index", &stream(0, count));
        (host, index)
    }

    pub fn archive(&self, name: &str, stream: &[u8]) -> PathBuf {
        let index = self.sandbox.path().join(name);
        let run = self
            .sandbox
            .archive_to(["--quiet", "--brick-size", "10M"], stream, &index);
        run.exits(0);
        index
    }

    /// A command that can reach the bucket.
    pub fn command<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Command {
        let mut command = self.sandbox.command(arguments);
        command
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_MAX_ATTEMPTS", self.attempts.to_string());
        command
    }

    pub fn start<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Child {
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    pub fn run<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Run {
        let child = self.start(arguments);
        let _watchdog = Watchdog::new(&child);
        finish(child)
    }

    /// `dtar push` with more arguments; its summary.
    #[track_caller]
    pub fn push(&self, more: &[&str]) -> Value {
        let run = self.push_with(more).exits(0);
        summary(&run)
    }

    pub fn push_with(&self, more: &[&str]) -> Run {
        let url = self.bucket.url();
        let arguments = ["push", &url, "--json", "--part-size", "5M"];
        self.run(arguments.iter().chain(more))
    }

    /// Paths of the files of the store in these folders, sorted.
    pub fn files_in(&self, folders: &[&str]) -> Vec<String> {
        let store = self.sandbox.store();
        let mut files = Vec::new();
        for folder in folders {
            collect(&store, &store.join(folder), &mut files);
        }
        files.sort();
        files
    }

    /// Panics unless `index` restores to `stream`.
    #[track_caller]
    pub fn restores<I: AsRef<OsStr>>(
        &self,
        index: impl AsRef<OsStr>,
        stream: &[u8],
        more: impl IntoIterator<Item = I>,
    ) -> Run {
        let mut command = self.command([OsStr::new("restore"), index.as_ref()]);
        command
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let _watchdog = Watchdog::new(&child);
        let run = finish(child).exits(0);
        assert!(
            run.stdout == stream,
            "what was restored is not what was archived"
        );
        run
    }
}

pub fn finish(child: Child) -> Run {
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!stderr.contains("panicked at"), "{stderr}");
    Run {
        code: output.status.code(),
        stdout: output.stdout,
        stderr,
    }
}

/// What `index` is called on a command line.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The summary among the JSON lines on standard error.
#[track_caller]
pub fn summary(run: &Run) -> Value {
    let mut lines = run
        .stderr
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let found = lines.find(|line| line["type"] == "summary");
    found.unwrap_or_else(|| panic!("no summary: {}", run.stderr))
}

fn collect(store: &Path, dir: &Path, files: &mut Vec<String>) {
    if dir.is_file() {
        let path = dir.strip_prefix(store).unwrap();
        files.push(path.to_str().unwrap().to_owned());
    } else if let Ok(entries) = fs::read_dir(dir) {
        for entry in entries {
            collect(store, &entry.unwrap().path(), files);
        }
    }
}
