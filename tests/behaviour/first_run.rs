//! What somebody sees who has just installed dtar.

use std::process::Stdio;

use crate::common::block::Stream;
use crate::common::sandbox::{Run, Sandbox};
use crate::common::shell::have;
use crate::run as run_command;

fn stream() -> Vec<u8> {
    Stream::new().file("name", b"content").end()
}

#[test]
fn the_first_run_says_where_store_and_key_are() {
    let sandbox = Sandbox::without_key();
    let index = sandbox.path().join("index.tar");
    let none: [&str; 0] = [];
    let run = sandbox.archive_to(none, &stream()[..], &index).exits(0);
    run.says(&[
        sandbox.key().to_str().unwrap(),
        sandbox.store().to_str().unwrap(),
        "keep a copy",
        "dtar key show --secret",
    ]);
    sandbox.restores(&index, &stream()[..]);
    let run = sandbox.archive_to(none, &stream()[..], &index).exits(0);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
}

#[test]
fn places_default_to_the_users_folders() {
    let sandbox = Sandbox::without_key();
    let home = sandbox.path().join("home");
    let mut command = sandbox.command(["init"]);
    for name in ["DTAR_STORE", "DTAR_KEY", "DTAR_CATALOG"] {
        command.env_remove(name);
    }
    run_command(command).exits(0).says(&[
        home.join(".local/share/dtar/store").to_str().unwrap(),
        home.join(".config/dtar/key").to_str().unwrap(),
    ]);
    assert!(!sandbox.store().exists() && !sandbox.key().exists());
}

#[test]
fn a_second_init_changes_nothing() {
    let sandbox = Sandbox::without_key();
    let first = sandbox.run(["init"]).exits(0);
    first.says(&["made a key", "made a store"]);
    let read = || {
        let config = std::fs::read(sandbox.store().join("store.toml")).unwrap();
        (config, std::fs::read(sandbox.key()).unwrap())
    };
    let before = read();
    let again = sandbox.run(["init"]).exits(1);
    again.says(&[
        sandbox.store().to_str().unwrap(),
        "a store already",
        "nothing was changed",
    ]);
    assert!(read() == before);
    // A folder with something else in it does not become a store.
    let other = sandbox.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("file"), "").unwrap();
    let run = sandbox.run(["init", "--store", "other"]).exits(1);
    run.says(&["other"]);
}

/// Runs the command on a terminal of its own, with standard output going there or to a file.
fn on_terminal(sandbox: &Sandbox, line: &str) -> Run {
    let binary = sandbox.command(["--version"]);
    let line = line.replace("dtar", binary.get_program().to_str().unwrap());
    let mut command = std::process::Command::new("script");
    command
        .args(["-qec", &line, "/dev/null"])
        .env_clear()
        .envs(
            binary
                .get_envs()
                .filter_map(|(key, value)| Some((key, value?))),
        )
        .current_dir(sandbox.path())
        .stdin(Stdio::null());
    run_command(command)
}

#[test]
fn on_a_terminal_it_explains_itself() {
    if !have("script") {
        return;
    }
    let sandbox = Sandbox::new();
    for (line, words) in [
        (
            "dtar",
            "no tar stream on standard input: try `tar c . | dtar > index.tar`",
        ),
        ("dtar > index.tar", "no tar stream on standard input"),
        ("dtar < key", "an index is not for a terminal"),
        (
            "dtar restore index.tar",
            "a tar stream is not for a terminal",
        ),
    ] {
        let run = on_terminal(&sandbox, line).exits(2);
        let said = String::from_utf8_lossy(&run.stdout).into_owned();
        // The terminal may have broken lines.
        assert!(said.contains(words), "{line}: {said}");
    }
    assert!(!sandbox.store().exists(), "a usage error made a store");
}

#[test]
fn without_a_key_or_a_store_it_says_what_to_do() {
    let sandbox = Sandbox::without_key();
    let made = Sandbox::new();
    let index = made.archive("index.tar", &stream()[..]);
    let run = sandbox
        .run(["restore".as_ref(), index.as_os_str()])
        .exits(1);
    run.says(&["no key here", "--key FILE", "dtar key new"]);
    // A key that is named must be there.
    let run = sandbox.run(["ls".as_ref(), index.as_os_str()]).exits(1);
    run.says(&["no key here", sandbox.key().to_str().unwrap()]);
    // Only what the seal protects needs it.
    let mut command = sandbox.command(["ls".as_ref(), index.as_os_str()]);
    command.env_remove("DTAR_KEY");
    run_command(command)
        .exits(0)
        .says(&["warning", "could not be checked"]);
    sandbox.run(["key", "new"]).exits(0).says(&["made a key"]);
    let run = sandbox
        .run(["restore".as_ref(), index.as_os_str()])
        .exits(1);
    run.says(&["not a dtar store", "--store DIR", "--bricks DIR"]);
}

#[test]
fn a_folder_with_a_tmp_of_the_users_does_not_become_a_store() {
    let sandbox = Sandbox::new();
    let index = sandbox.path().join("index.tar");
    let none: [&str; 0] = [];
    let chapter = sandbox.store().join("tmp/thesis/chapter");
    std::fs::create_dir_all(chapter.parent().unwrap()).unwrap();
    std::fs::write(&chapter, "years of work").unwrap();
    sandbox.archive_to(none, &stream()[..], &index).exits(1);
    sandbox.run(["init"]).exits(1).says(&["not empty"]);
    assert_eq!(std::fs::read(&chapter).unwrap(), b"years of work");
    // What a first run leaves that was cut off is no hindrance.
    std::fs::remove_dir_all(chapter.parent().unwrap()).unwrap();
    std::fs::write(sandbox.store().join("tmp/0123456789abcdef"), "half").unwrap();
    sandbox.archive_to(none, &stream()[..], &index).exits(0);
    sandbox.restores(&index, &stream()[..]);
}
