//! The tools that make and read archives: GNU tar, bsdtar, Python and others.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Whether `tool` can be run. Where it cannot, the test says so and is
/// skipped; in CI (`CI=true`) that is a failure.
#[track_caller]
pub fn have(tool: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", "command -v \"$0\"", tool])
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !found {
        let message = format!("{tool} is not installed: tests/install-tools installs it");
        assert!(!in_ci(), "{message}");
        eprintln!("SKIPPED: {message}");
    }
    found
}

/// Whether this is CI, where nothing may be skipped.
pub fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true")
}

/// A command with a fixed locale and time zone, without standard input.
pub fn tool(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC0")
        .env_remove("TAR_OPTIONS")
        .stdin(Stdio::null());
    command
}

/// Runs a shell script in `dir`, with `arguments` as `$1` and so on.
///
/// Its exit code does not matter to all callers: tar ends with 1 or 2 where a
/// format cannot hold all of a tree, and the stream is of use all the same.
pub fn script(dir: &Path, text: &str, arguments: &[&str]) -> Output {
    tool("bash")
        .args(["-c", text, "bash"])
        .args(arguments)
        .current_dir(dir)
        .output()
        .unwrap()
}

/// Runs a shell script that has to succeed; returns its standard output.
#[track_caller]
pub fn must(dir: &Path, text: &str, arguments: &[&str]) -> Vec<u8> {
    let output = script(dir, text, arguments);
    assert!(
        output.status.success(),
        "{text}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// A Python program of the folder `tests/common`.
pub fn python(program: &str) -> Command {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "common", program]
        .iter()
        .collect();
    let mut command = tool("python3");
    command.arg(path);
    command
}

/// The interpreter of the reference reader's environment, which
/// `tests/install-tools` makes; `None`, said aloud, where it is missing.
#[track_caller]
pub fn reference_python() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/python/bin/python");
    have(path.to_str().unwrap()).then_some(path)
}
