//! The shim beside this file: how it is built, what it is told, what it has seen.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::common::shell::{have, tool};

/// What a call does; the numbers are those of the shim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Open = 1,
    Write,
    Sync,
    Rename,
    Unlink,
    RemoveDir,
    MakeDir,
    Link,
    Truncate,
    Mode,
    Map,
    /// Something that the shim cannot follow.
    Other,
    OpenToRead,
    Read,
    List,
}

impl Kind {
    const ALL: [Self; 15] = [
        Self::Open,
        Self::Write,
        Self::Sync,
        Self::Rename,
        Self::Unlink,
        Self::RemoveDir,
        Self::MakeDir,
        Self::Link,
        Self::Truncate,
        Self::Mode,
        Self::Map,
        Self::Other,
        Self::OpenToRead,
        Self::Read,
        Self::List,
    ];
}

/// A system call on a path below the watched folder.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "they are flags of a record")]
pub struct Call {
    pub kind: Kind,
    /// Whether the file was made by it.
    pub created: bool,
    /// Whether a file that was there lost its bytes by it.
    pub emptied: bool,
    /// Whether it was made to fail, or to do half.
    pub injected: bool,
    /// Whether its file is open such that a write is durable when it returns.
    pub synchronous: bool,
    /// What it returned: a length, a file, or a negative errno.
    pub result: i64,
    pub inode: u64,
    /// Where a write begins, or to which length a file is cut.
    pub offset: u64,
    /// Relative to the watched folder, as are all.
    pub path: PathBuf,
    /// Where a rename or link leads.
    pub second: PathBuf,
    /// The bytes of a write, if they were asked for.
    pub data: Vec<u8>,
}

/// What befalls a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Errno(i32),
    /// A write is done by half.
    Half,
}

/// Which calls a fault befalls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Once,
    /// And all later ones that need room.
    Space,
    /// And all later ones that change something.
    All,
}

/// A fault and the call, counted from 1, that it befalls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Injection {
    pub at: usize,
    pub fault: Fault,
    pub scope: Scope,
}

/// What is counted and recorded beside the calls that change something.
#[derive(Debug, Clone, Copy, Default)]
pub struct Watch {
    /// The bytes of writes.
    pub data: bool,
    /// Calls that read.
    pub reads: bool,
}

/// The path of the shim, built when it is first needed. `None`, said aloud, if there is
/// no compiler; in CI that is a failure.
#[track_caller]
fn library() -> Option<&'static Path> {
    static BUILT: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    if !have("cc") {
        return None;
    }
    let (_, path) = BUILT.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shim.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/shim.c");
        let output = tool("cc")
            .args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror"])
            .arg("-o")
            .args([&path, &source])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        (dir, path)
    });
    Some(path)
}

/// Whether the shim can be had here.
#[track_caller]
pub fn is_there() -> bool {
    library().is_some()
}

/// Lets `command` run under the shim, which watches `root` and records into `log`.
pub fn attach(
    command: &mut Command,
    root: &Path,
    log: &Path,
    watch: Watch,
    injection: Option<Injection>,
) {
    command
        .env("LD_PRELOAD", library().unwrap())
        .env("SHIM_ROOT", root)
        .env("SHIM_LOG", log);
    if watch.data {
        command.env("SHIM_DATA", "1");
    }
    if watch.reads {
        command.env("SHIM_READS", "1");
    }
    if let Some(Injection { at, fault, scope }) = injection {
        let fault = match fault {
            Fault::Errno(errno) => errno,
            Fault::Half => 0,
        };
        let scope = match scope {
            Scope::Once => "once",
            Scope::Space => "space",
            Scope::All => "all",
        };
        command
            .env("SHIM_AT", at.to_string())
            .env("SHIM_FAULT", fault.to_string())
            .env("SHIM_SCOPE", scope);
    }
}

/// The calls recorded in `log`, in the order in which they happened.
pub fn calls(root: &Path, log: &Path) -> Vec<Call> {
    let bytes = fs::read(log).unwrap();
    let mut rest = Rest(&bytes);
    let mut calls = Vec::new();
    while !rest.0.is_empty() {
        let [kind, flags] = [rest.u32(), rest.u32()];
        let [result, inode, offset] = [rest.u64(), rest.u64(), rest.u64()];
        let [first, second] = [rest.u32() as usize, rest.u32() as usize];
        let data = usize::try_from(rest.u64()).unwrap();
        calls.push(Call {
            kind: Kind::ALL[kind as usize - 1],
            created: flags & 1 != 0 && result.cast_signed() >= 0,
            emptied: flags & 0x11 == 0x10 && result.cast_signed() >= 0,
            injected: flags & 2 != 0,
            synchronous: flags & 4 != 0,
            result: result.cast_signed(),
            inode,
            offset,
            path: rest.path(first, root),
            second: rest.path(second, root),
            data: rest.take(data).to_vec(),
        });
    }
    calls
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    fn u32(&mut self) -> u32 {
        u32::from_ne_bytes(self.take(4).try_into().unwrap())
    }

    fn u64(&mut self) -> u64 {
        u64::from_ne_bytes(self.take(8).try_into().unwrap())
    }

    fn path(&mut self, length: usize, root: &Path) -> PathBuf {
        let path = Path::new(std::str::from_utf8(self.take(length)).unwrap());
        path.strip_prefix(root).unwrap_or(path).to_owned()
    }
}
