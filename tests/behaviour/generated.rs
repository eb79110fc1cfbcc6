//! Completions and man page, made from the same definitions as the parser.

use std::process::Stdio;

use crate::common::sandbox::Sandbox;
use crate::common::shell::{have, must};

const COMMANDS: [&str; 7] = [
    "restore",
    "ls",
    "init",
    "key",
    "store",
    "completions",
    "man",
];

/// All long options that the help of some command shows.
fn options(sandbox: &Sandbox) -> Vec<String> {
    let mut options = Vec::new();
    for command in COMMANDS.into_iter().chain([""]) {
        let mut arguments: Vec<_> = command.split_whitespace().collect();
        let kinds: &[&str] = if command == "key" {
            &["new", "put", "passphrase", "show"]
        } else {
            &[""]
        };
        for kind in kinds {
            arguments.truncate(1);
            arguments.extend(kind.split_whitespace());
            let help = sandbox
                .run(arguments.iter().copied().chain(["-h"]))
                .exits(0);
            let help = String::from_utf8(help.stdout).unwrap();
            let words = help
                .split_whitespace()
                .filter(|word| word.starts_with("--"));
            options.extend(words.map(|word| word.trim_end_matches(',').to_owned()));
        }
    }
    options.retain(|option| option.len() > 2);
    options.sort();
    options.dedup();
    assert!(options.len() > 15, "{options:?}");
    options
}

#[test]
fn completions_are_scripts() {
    let sandbox = Sandbox::without_key();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = sandbox.run(["completions", shell]).exits(0);
        assert_eq!(run.stderr, "");
        let script = String::from_utf8(run.stdout).unwrap();
        for word in COMMANDS.into_iter().chain(["brick-size", "keep-going"]) {
            assert!(script.contains(word), "{shell} does not complete {word}");
        }
        let file = sandbox.path().join(shell);
        std::fs::write(&file, script).unwrap();
        let checked = matches!(shell, "bash" | "zsh" | "fish")
            && std::process::Command::new(shell)
                .arg("--version")
                .stdout(Stdio::null())
                .status()
                .is_ok();
        if checked {
            must(sandbox.path(), &format!("{shell} -n {shell}"), &[]);
        }
    }
    sandbox.run(["completions", "tcsh"]).exits(2);
    assert!(!sandbox.store().exists() && !sandbox.key().exists());
}

#[test]
fn the_man_page_names_everything() {
    let sandbox = Sandbox::without_key();
    let run = sandbox.run(["man"]).exits(0);
    assert!(run.stdout.is_ascii(), "not every formatter reads UTF-8");
    let page = String::from_utf8(run.stdout).unwrap();
    assert!(page.lines().any(|line| line.starts_with(".TH dtar 1")));
    for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS"] {
        assert!(page.contains(&format!(".SH {section}\n")), "{section}");
    }
    for command in COMMANDS {
        let section = format!(".SH \"DTAR {}\"\n", command.to_uppercase());
        assert!(page.contains(&section), "{command}");
    }
    let plain = page.replace("\\-", "-");
    for option in options(&sandbox) {
        assert!(plain.contains(&option), "{option} is not in the man page");
    }
    assert!(plain.contains("Exit codes"));
    if have("groff") {
        std::fs::write(sandbox.path().join("dtar.1"), page).unwrap();
        let complaints = must(
            sandbox.path(),
            "groff -man -Tutf8 -ww dtar.1 2>&1 >/dev/null",
            &[],
        );
        assert_eq!(String::from_utf8(complaints).unwrap(), "");
    }
}
