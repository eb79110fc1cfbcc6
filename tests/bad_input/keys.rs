//! Keys that are wrong, damaged, missing, or open to others.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::common::sandbox::{KEY, Run};
use crate::common::shell::have;
use crate::made::{Made, refused, text};

/// Restores and archives; both must be refused with this code and these words.
#[track_caller]
fn both_refused(made: &Made, code: i32, words: &[&str]) {
    refused(made.restore(&[]), code, words);
    made.archive_again(&[]).exits(code).says(words);
    assert_eq!(made.roots(), 1, "the run that was refused left a root");
}

/// Gives the sandbox's key file this text.
fn put_key_text(made: &Made, text: &str) {
    fs::write(made.sandbox.key(), text).unwrap();
}

/// Runs a command with variables.
fn run_with(made: &Made, variables: &[(&str, &str)], arguments: &[&str]) -> Run {
    let output = made
        .sandbox
        .command(arguments)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    Run {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn a_wrong_key_is_named_with_the_right_one() {
    let made = Made::small();
    let other = made.sandbox.path().join("other");
    made.sandbox.run(["key", "new", text(&other)]).exits(0);
    fs::rename(&other, made.sandbox.key()).unwrap();
    let words = [text(&made.index), "wrong key", "sealed with key", "--key"];
    refused(made.restore(&[]), 1, &words);
    let config = made.config();
    let words = [text(&config), "wrong key", "sealed to key", "--key"];
    made.archive_again(&[]).exits(1).says(&words);
    refused(made.sandbox.run(["store"]), 1, &words);
}

#[test]
fn a_put_key_does_not_restore() {
    let made = Made::small();
    let put = made.sandbox.path().join("put");
    made.sandbox.run(["key", "put", text(&put)]).exits(0);
    let arguments = ["--key", text(&put)];
    let words = [text(&put), "put key", "not read", "secret key", "--key"];
    refused(made.restore(&arguments), 1, &words);
    refused(
        made.restore(&["--key", text(&put), "--keep-going"]),
        1,
        &words,
    );
    refused(
        made.restore(&["--key", text(&put), "--incomplete"]),
        1,
        &words,
    );
    // It lists and archives all the same.
    made.archive_again(&arguments).exits(0);
    let index = text(&made.index);
    made.sandbox
        .run(["ls", index, "--key", text(&put)])
        .exits(0);
}

#[test]
fn a_put_key_makes_no_store() {
    let made = Made::small();
    let put = made.sandbox.path().join("put");
    made.sandbox.run(["key", "put", text(&put)]).exits(0);
    let store = made.sandbox.path().join("new");
    let arguments = ["--key", text(&put), "--store", text(&store)];
    made.archive_again(&arguments)
        .exits(1)
        .says(&["put key", "make a store", "secret key"]);
    assert!(!store.join("store.toml").exists());
}

#[test]
fn a_put_key_of_another_key_is_a_wrong_key() {
    let made = Made::small();
    let other = Made::small();
    let new = other.sandbox.path().join("new");
    other.sandbox.run(["key", "new", text(&new)]).exits(0);
    let store = other.sandbox.path().join("new-store");
    let at = ["--key", text(&new), "--store", text(&store)];
    other.archive_again(&at).exits(0);
    let put = other.sandbox.path().join("put");
    let mut arguments = vec!["key", "put", text(&put)];
    arguments.extend(at);
    other.sandbox.run(arguments).exits(0);
    made.archive_again(&["--key", text(&put)])
        .exits(1)
        .says(&["key", "store"]);
    assert_eq!(made.roots(), 1);
}

#[test]
fn a_passphrase_opens_and_a_wrong_one_is_refused() {
    let made = Made::small();
    let lock = [("DTAR_NEW_PASSPHRASE", "open sesame")];
    run_with(&made, &lock, &["key", "passphrase"]).exits(0);
    let restore = ["restore", text(&made.index)];
    let right = [("DTAR_PASSPHRASE", "open sesame")];
    assert!(run_with(&made, &right, &restore).exits(0).stdout == made.stream);
    let key = made.sandbox.key();
    for wrong in ["open sesam", "", "open sesame\n"] {
        let wrong = [("DTAR_PASSPHRASE", wrong)];
        let words = [text(&key), "wrong passphrase", "DTAR_PASSPHRASE"];
        refused(run_with(&made, &wrong, &restore), 1, &words);
        refused(run_with(&made, &wrong, &[]), 1, &words);
    }
}

#[test]
fn a_passphrase_that_nobody_can_be_asked_for_names_the_variable() {
    if !have("setsid") {
        return;
    }
    let made = Made::small();
    let lock = [("DTAR_NEW_PASSPHRASE", "open sesame")];
    run_with(&made, &lock, &["key", "passphrase"]).exits(0);
    // In a session of its own dtar has no terminal, even if the tests have one.
    let mut command = std::process::Command::new("setsid");
    let dtar = made.sandbox.command(["restore", text(&made.index)]);
    command
        .arg("--wait")
        .arg(dtar.get_program())
        .args(dtar.get_args());
    command.env_clear();
    command.envs(
        dtar.get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    let output = command.output().unwrap();
    let run = Run {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    let key = made.sandbox.key();
    refused(
        run,
        1,
        &[text(&key), "passphrase", "no terminal", "DTAR_PASSPHRASE"],
    );
}

#[test]
fn a_new_passphrase_must_not_be_empty() {
    let made = Made::small();
    let before = fs::read(made.sandbox.key()).unwrap();
    let lock = [("DTAR_NEW_PASSPHRASE", "")];
    let run = run_with(&made, &lock, &["key", "passphrase"]);
    refused(run, 2, &["empty passphrase"]);
    assert_eq!(fs::read(made.sandbox.key()).unwrap(), before);
}

#[test]
fn a_mistyped_key_fails_its_checksum() {
    let made = Made::small();
    put_key_text(&made, &KEY.replace("QURSWPC8", "QURSWPC9"));
    let key = made.sandbox.key();
    both_refused(
        &made,
        3,
        &[text(&key), "checksum", "a character", "bring back"],
    );
}

#[test]
fn a_truncated_key_is_refused_at_every_length() {
    let made = Made::small();
    let whole = KEY.trim_end();
    let key = made.sandbox.key();
    for end in 0..whole.len() {
        put_key_text(&made, &whole[..end]);
        let run = made.restore(&[]);
        assert!(matches!(run.code, Some(1 | 3)), "{end}: {}", run.stderr);
        let code = run.code.unwrap();
        refused(run, code, &[text(&key), "key", "--key"]);
    }
}

#[test]
fn a_key_with_another_beginning_is_of_no_known_kind() {
    let made = Made::small();
    // A sound checksum under a name that no dtar knows (`formats/keys.md`).
    let odd = bech32::encode_upper::<bech32::Bech32m>(
        bech32::Hrp::parse("dtar-odd-key-").unwrap(),
        &[7; 32],
    );
    put_key_text(&made, &odd.unwrap());
    let key = made.sandbox.key();
    let words = [
        text(&key),
        "unknown kind of key",
        "dtar-odd-key-",
        "dtar-secret-key-",
    ];
    both_refused(&made, 1, &words);
}

#[test]
fn two_keys_in_one_file_are_refused() {
    let made = Made::small();
    put_key_text(&made, &format!("{KEY}# and\n{KEY}"));
    let key = made.sandbox.key();
    both_refused(
        &made,
        1,
        &[text(&key), "second key in line 3", "one key in a file"],
    );
}

#[test]
fn a_file_without_a_key_says_what_it_should_hold() {
    let made = Made::small();
    let key = made.sandbox.key();
    for nothing in ["", "\n\n", "# only a comment\n"] {
        put_key_text(&made, nothing);
        both_refused(&made, 1, &[text(&key), "no key in it", "DTAR-SECRET-KEY-"]);
    }
    put_key_text(&made, "hello world\n");
    both_refused(&made, 1, &[text(&key), "not a key", "DTAR-SECRET-KEY-"]);
    fs::write(&key, [0xff; 100]).unwrap();
    both_refused(&made, 1, &[text(&key), "not a key"]);
}

#[test]
fn a_file_too_long_for_a_key_is_not_read() {
    let made = Made::small();
    fs::write(made.sandbox.key(), vec![b'#'; 1 << 20]).unwrap();
    let key = made.sandbox.key();
    both_refused(&made, 1, &[text(&key), "at most 16384 bytes"]);
}

#[test]
fn a_public_key_does_not_serve_as_key() {
    let made = Made::small();
    let shown = made.sandbox.run(["key", "show"]).exits(0);
    fs::write(made.sandbox.key(), shown.stdout).unwrap();
    let key = made.sandbox.key();
    both_refused(
        &made,
        1,
        &[text(&key), "public key", "--recipient", "--key"],
    );
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    let made = Made::small();
    let key = made.sandbox.key();
    for mode in [0o640, 0o604, 0o660, 0o602, 0o601] {
        fs::set_permissions(&key, PermissionsExt::from_mode(mode)).unwrap();
        let found = format!("mode {mode:04o}");
        let words = [text(&key), &found, "0600", "chmod 600"];
        both_refused(&made, 1, &words);
    }
    for mode in [0o600, 0o400] {
        fs::set_permissions(&key, PermissionsExt::from_mode(mode)).unwrap();
        made.is_whole();
    }
}

#[test]
fn a_missing_key_says_how_to_name_one() {
    let made = Made::small();
    let key = made.sandbox.key();
    fs::remove_file(&key).unwrap();
    both_refused(
        &made,
        1,
        &[text(&key), "no key here", "--key FILE", "DTAR_KEY"],
    );
    assert!(!key.exists(), "a key was made for a store that has one");
}

#[test]
fn a_folder_is_no_key() {
    let made = Made::small();
    let key = made.sandbox.key();
    fs::remove_file(&key).unwrap();
    fs::create_dir(&key).unwrap();
    both_refused(&made, 1, &[text(&key), "directory"]);
}

#[test]
fn a_key_is_never_overwritten() {
    let made = Made::small();
    let key = made.sandbox.key();
    for arguments in [&["key", "new"][..], &["key", "put", text(&key)]] {
        refused(
            made.sandbox.run(arguments),
            1,
            &[text(&key), "never overwritten"],
        );
    }
    assert_eq!(fs::read_to_string(&key).unwrap(), KEY);
}
