//! Stores that are newer, altered, or none at all.

use std::fs;

use crate::made::{Made, refused, text};

/// Puts `config` in place; then restoring and archiving are refused.
#[track_caller]
fn both_refused(made: &Made, config: &[u8], code: i32, words: &[&str]) {
    fs::write(made.config(), config).unwrap();
    refused(made.restore(&[]), code, words);
    made.archive_again(&[]).exits(code).says(words);
}

/// `store.toml` with one line put in the place of another.
fn with_line(config: &str, beginning: &str, line: &str) -> String {
    let lines: Vec<_> = config
        .lines()
        .map(|old| {
            if old.starts_with(beginning) {
                line
            } else {
                old
            }
        })
        .collect();
    let changed = lines.join("\n") + "\n";
    assert_ne!(changed, config, "no line begins with {beginning:?}");
    changed
}

#[test]
fn a_store_of_a_newer_format_asks_for_a_newer_dtar() {
    let made = Made::small();
    let config = fs::read_to_string(made.config()).unwrap();
    let newer = with_line(&config, "format = ", "format = 2");
    let path = made.config();
    let words = [
        text(&path),
        "newer format",
        "2",
        "up to 1",
        "use a newer dtar",
    ];
    both_refused(&made, newer.as_bytes(), 1, &words);
}

#[test]
fn a_store_with_an_unknown_feature_names_it() {
    let made = Made::small();
    let config = fs::read_to_string(made.config()).unwrap();
    let newer = with_line(&config, "features = ", "features = [\"teleport\"]");
    let path = made.config();
    let words = [text(&path), "feature \"teleport\"", "use a newer dtar"];
    both_refused(&made, newer.as_bytes(), 1, &words);
}

#[test]
fn a_changed_byte_in_any_line_is_noticed() {
    let made = Made::small();
    let config = fs::read(made.config()).unwrap();
    let path = made.config();
    let mut start = 0;
    let mut lines = 0;
    for line in config.split_inclusive(|&byte| byte == b'\n') {
        // The last byte but the newline and a quote or bracket: digits and letters.
        for place in [0, line.len() / 2, line.len().saturating_sub(3)] {
            let mut changed = config.clone();
            changed[start + place] ^= 1;
            fs::write(&path, &changed).unwrap();
            let run = made.restore(&[]);
            assert!(matches!(run.code, Some(1 | 3)), "{}", run.stderr);
            let code = run.code.unwrap();
            refused(run, code, &[text(&path)]);
            made.archive_again(&[]).exits(code).says(&[text(&path)]);
        }
        start += line.len();
        lines += 1;
    }
    assert!(lines > 8, "a store.toml of {lines} lines");
}

#[test]
fn a_line_that_is_gone_or_stands_twice_is_noticed() {
    let made = Made::small();
    let config = fs::read_to_string(made.config()).unwrap();
    let lines: Vec<_> = config.lines().collect();
    for place in 0..lines.len() {
        for copies in [0, 2] {
            let mut changed = lines.clone();
            changed.splice(place..=place, std::iter::repeat_n(lines[place], copies));
            fs::write(made.config(), changed.join("\n") + "\n").unwrap();
            let run = made.restore(&[]);
            assert!(matches!(run.code, Some(1 | 3)), "{place}: {}", run.stderr);
            let code = run.code.unwrap();
            refused(run, code, &["store.toml", "bring back a copy"]);
        }
    }
}

#[test]
fn an_altered_value_says_altered_and_what_to_do() {
    let made = Made::small();
    let config = fs::read_to_string(made.config()).unwrap();
    let altered = with_line(&config, "created = ", "created = \"2001-01-01T00:00:00Z\"");
    let words = ["store.toml", "altered", "bring back a copy"];
    both_refused(&made, altered.as_bytes(), 3, &words);
    for other in [config.replace('\n', "\r\n"), format!("{config}\n")] {
        both_refused(&made, other.as_bytes(), 3, &words);
    }
}

#[test]
fn a_store_toml_that_is_no_toml_names_the_byte() {
    let made = Made::small();
    let config = fs::read(made.config()).unwrap();
    for garbage in [&b"\xff\xfe"[..], b"format == 1\n", b"\0\0\0\0"] {
        let words = ["store.toml", "unreadable", "byte", "bring back a copy"];
        both_refused(&made, garbage, 3, &words);
    }
    both_refused(&made, b"", 3, &["store.toml", "format", "found nothing"]);
    let long = [&config[..], &vec![b'#'; 2 << 20]].concat();
    both_refused(&made, &long, 3, &["store.toml", "at most 1048576"]);
}

#[test]
fn a_truncated_store_toml_is_refused_at_every_length() {
    let made = Made::small();
    let config = fs::read(made.config()).unwrap();
    for end in (0..config.len()).step_by(29).chain([config.len() - 1]) {
        fs::write(made.config(), &config[..end]).unwrap();
        let run = made.restore(&[]);
        let code = run.code.unwrap();
        assert!(matches!(code, 1 | 3), "{end}: {}", run.stderr);
        refused(run, code, &["store.toml", "bring back a copy"]);
    }
}

#[test]
fn a_store_without_store_toml_is_none() {
    let made = Made::small();
    fs::remove_file(made.config()).unwrap();
    let store = made.sandbox.store();
    let words = [
        text(&store),
        "not a dtar store",
        "no store.toml",
        "--store DIR",
    ];
    refused(made.restore(&[]), 1, &words);
    let run = made.archive_again(&[]).exits(1);
    run.says(&words).says(&["dtar init"]);
    assert!(!made.config().exists(), "a store was made over the old one");
    made.sandbox.run(["init"]).exits(1).says(&["not empty"]);
}

#[test]
fn a_folder_of_other_files_is_no_store() {
    let made = Made::small();
    let other = made.sandbox.path().join("home");
    fs::write(other.join("letter"), "dear").unwrap();
    let arguments = ["--store", text(&other)];
    let words = [text(&other), "not a dtar store", "--store"];
    refused(made.restore(&arguments), 1, &words);
    made.archive_again(&arguments).exits(1).says(&words);
}

#[test]
fn a_file_is_no_store() {
    let made = Made::small();
    let file = made.index.clone();
    let arguments = ["--store", text(&file)];
    let words = [text(&file), "not a dtar store", "--store"];
    refused(made.restore(&arguments), 1, &words);
    made.archive_again(&arguments).exits(1).says(&words);
}

#[test]
fn an_empty_or_missing_folder_is_no_store_to_restore_from() {
    let made = Made::small();
    let empty = made.sandbox.path().join("empty");
    fs::create_dir(&empty).unwrap();
    for place in [empty, made.sandbox.path().join("missing")] {
        let words = [
            text(&place),
            "not a dtar store",
            "--store DIR",
            "DTAR_STORE",
        ];
        refused(made.restore(&["--store", text(&place)]), 1, &words);
        assert!(!place.join("store.toml").exists(), "restore made a store");
    }
}

#[test]
fn an_empty_folder_becomes_a_store_when_archiving_and_that_is_said() {
    let made = Made::small();
    let empty = made.sandbox.path().join("empty");
    fs::create_dir(&empty).unwrap();
    made.archive_again(&["--store", text(&empty)])
        .exits(0)
        .says(&["made a store", text(&empty)]);
    assert!(empty.join("store.toml").is_file());
}

#[test]
fn a_store_is_not_made_twice() {
    let made = Made::small();
    let store = made.sandbox.store();
    let config = fs::read(made.config()).unwrap();
    refused(
        made.sandbox.run(["init"]),
        1,
        &[text(&store), "a store already"],
    );
    assert_eq!(fs::read(made.config()).unwrap(), config);
}

#[test]
fn a_recipient_that_is_no_key_is_a_usage_error() {
    let made = Made::small();
    let new = made.sandbox.path().join("new");
    let run = made
        .sandbox
        .run(["init", "--store", text(&new), "--recipient", "nonsense"]);
    refused(run, 2, &["--recipient", "dtar key show"]);
    assert!(!new.exists(), "a store was made all the same");
}
