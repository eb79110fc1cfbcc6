//! Used wrongly: exit code 2 and what to do instead.

use std::process::{Command, Stdio};

use crate::common::sandbox::{Run, Sandbox};
use crate::common::shell::have;
use crate::made::{Made, refused, text};

/// Archiving with these arguments is refused as used wrongly.
#[track_caller]
fn used_wrongly(arguments: &[&str], words: &[&str]) {
    let sandbox = Sandbox::new();
    refused(sandbox.run(arguments), 2, words);
    assert!(!sandbox.store().exists(), "a store was made");
}

/// Runs a command line on a terminal; both outputs come back as one.
fn on_terminal(made: &Made, line: &str) -> Run {
    let none: [&str; 0] = [];
    let dtar = made.sandbox.command(none);
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", line, "/dev/null"])
        .env_clear()
        .envs(
            dtar.get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .env("DTAR", dtar.get_program())
        .current_dir(made.sandbox.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Run {
        code: output.status.code(),
        stdout: Vec::new(),
        stderr: String::from_utf8_lossy(&output.stdout).into_owned(),
    }
}

#[test]
fn an_index_is_not_written_to_a_terminal() {
    if !have("script") {
        return;
    }
    let made = Made::small();
    let run = on_terminal(&made, "exec \"$DTAR\" < index.tar");
    let run = run
        .exits(2)
        .says(&["not for a terminal", "> index.tar", "--index FILE"]);
    assert!(!run.stderr.contains("dtarIEND"));
    assert_eq!(made.roots(), 1);
}

#[test]
fn a_stream_is_not_written_to_a_terminal() {
    if !have("script") {
        return;
    }
    let made = Made::small();
    let run = on_terminal(&made, "exec \"$DTAR\" restore index.tar");
    let run = run.exits(2).says(&["not for a terminal", "tar x"]);
    assert!(!run.stderr.contains("again and again"));
}

#[test]
fn a_terminal_is_no_stream() {
    if !have("script") {
        return;
    }
    let made = Made::small();
    on_terminal(&made, "exec \"$DTAR\" > new.tar < /dev/tty")
        .exits(2)
        .says(&["no tar stream on standard input", "tar c . | dtar"]);
    on_terminal(&made, "exec \"$DTAR\" --index new.tar < /dev/tty")
        .exits(2)
        .says(&["no tar stream on standard input"]);
}

#[test]
fn an_empty_stream_is_archived_as_it_is() {
    let made = Made::of(Vec::new());
    assert!(made.restore(&[]).exits(0).stdout.is_empty());
}

#[test]
fn a_folder_on_standard_input_is_an_error() {
    let made = Made::small();
    let output = made
        .sandbox
        .command(["--quiet"])
        .stdin(std::fs::File::open(made.sandbox.path()).unwrap())
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("cannot read standard input"), "{stderr}");
    assert_eq!(made.roots(), 1);
}

#[test]
fn unknown_options_and_commands_are_named() {
    used_wrongly(&["--frobnicate"], &["--frobnicate", "--help"]);
    used_wrongly(&["frobnicate"], &["frobnicate", "--help"]);
    used_wrongly(
        &["restore", "x.tar", "--level", "3"],
        &["--level", "--help"],
    );
    used_wrongly(&["key", "frobnicate"], &["frobnicate", "--help"]);
    used_wrongly(
        &["ls", "--keep-going", "x.tar"],
        &["--keep-going", "--help"],
    );
    used_wrongly(&["--level", "3", "--level", "4"], &["--level"]);
}

#[test]
fn missing_arguments_are_named() {
    used_wrongly(&["restore"], &["INDEX"]);
    used_wrongly(&["ls"], &["INDEX"]);
    used_wrongly(&["key", "put"], &["FILE"]);
    used_wrongly(&["--level"], &["--level"]);
    used_wrongly(&["completions"], &["SHELL"]);
    used_wrongly(&["completions", "cmd"], &["cmd", "bash"]);
}

#[test]
fn levels_beyond_the_range_say_the_range() {
    for level in ["0", "23", "-5", "1000"] {
        let argument = format!("--level={level}");
        used_wrongly(&[&argument], &["--level", level, "1..=22"]);
    }
    used_wrongly(&["--level", "fast"], &["--level", "fast"]);
}

#[test]
fn brick_sizes_beyond_the_range_say_the_range() {
    for size in ["0", "1K", "63K", "2T", "1.9K"] {
        used_wrongly(
            &["--brick-size", size],
            &["--brick-size", size, "64K to 1T"],
        );
    }
    for size in ["", "big", "64Q", "99999999999999999999"] {
        let quoted = format!("{size:?}");
        used_wrongly(
            &["--brick-size", size],
            &["--brick-size", &quoted, "such as 64M"],
        );
    }
}

#[test]
fn unknown_paddings_name_the_known_ones() {
    used_wrongly(&["--pad", "odd"], &["--pad", "odd", "none", "4k", "padme"]);
}

#[test]
fn an_index_file_does_not_go_with_a_command() {
    used_wrongly(
        &["--index", "x.tar", "store"],
        &["--index", "not with a command"],
    );
}

#[test]
fn a_home_that_is_nowhere_names_the_option() {
    let sandbox = Sandbox::new();
    for (variable, option) in [
        ("DTAR_STORE", "--store DIR"),
        ("DTAR_KEY", "--key FILE"),
        ("DTAR_CATALOG", "--catalog DIR"),
    ] {
        let output = sandbox
            .command(["--quiet"])
            .env_remove(variable)
            .env_remove("HOME")
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(
            stderr.contains(option) && stderr.contains("HOME"),
            "{stderr}"
        );
    }
}

#[test]
fn help_tells_the_exit_codes() {
    let sandbox = Sandbox::new();
    let help = sandbox.run(["--help"]).exits(0).stdout;
    let help = String::from_utf8(help).unwrap();
    for word in [
        "0 done",
        "1 failed",
        "2 usage",
        "3 data damaged or missing",
        "130 interrupted",
    ] {
        assert!(help.contains(word), "{word:?} is not in the help");
    }
    let readme = include_str!("../../README.md");
    assert!(readme.contains(
        "Exit codes: 0 done, 1 failed, 2 usage, 3 data damaged or missing, 4 differences"
    ));
}

#[test]
fn errors_in_json_are_json() {
    let made = Made::small();
    let missing = made.sandbox.path().join("missing");
    let run = made
        .sandbox
        .run(["restore", "--json", text(&missing)])
        .exits(1);
    let line: serde_json::Value = serde_json::from_str(run.stderr.trim_end()).unwrap();
    assert_eq!(line["type"], "error");
    assert!(line["message"].as_str().unwrap().contains(text(&missing)));
}
