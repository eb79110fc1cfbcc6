//! File systems that are full or read-only, mounted for a test alone.

use std::process::{Command, Stdio};

use super::sandbox::{Run, Sandbox};
use super::shell::in_ci;

/// Runs a script in a mount namespace of its own, as its root, so that it may
/// mount: `$1` is dtar, the sandbox is the current folder and its environment.
/// `None`, said aloud, where that is not possible; in CI that is a failure.
#[track_caller]
pub fn with_mounts(sandbox: &Sandbox, script: &str) -> Option<Run> {
    let launcher = launcher()?;
    let none: [&str; 0] = [];
    let dtar = sandbox.command(none);
    let mut command = Command::new(launcher[0]);
    command.args(&launcher[1..]).args(["env", "-i"]);
    for (name, value) in dtar.get_envs() {
        let mut setting = name.to_owned();
        setting.push("=");
        setting.push(value.unwrap());
        command.arg(setting);
    }
    let output = command
        .args(["bash", "-euc", script, "bash"])
        .arg(dtar.get_program())
        .current_dir(sandbox.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!stderr.contains("panicked at"), "{stderr}");
    Some(Run {
        code: output.status.code(),
        stdout: output.stdout,
        stderr,
    })
}

/// What runs a command where it may mount: a user namespace, or else root's own.
#[track_caller]
fn launcher() -> Option<&'static [&'static str]> {
    const LAUNCHERS: [&[&str]; 2] = [&["unshare", "-rm"], &["sudo", "-n", "unshare", "-m"]];
    let may_mount = |launcher: &&[&str]| {
        Command::new(launcher[0])
            .args(&launcher[1..])
            .args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    let launcher = LAUNCHERS.into_iter().find(may_mount);
    if launcher.is_none() {
        let message = "no mount namespace: run as root, or allow user namespaces or sudo";
        assert!(!in_ci(), "{message}");
        eprintln!("SKIPPED: {message}");
    }
    launcher
}
