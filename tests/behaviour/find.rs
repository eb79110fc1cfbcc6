//! `dtar find` says in which snapshots a member stands, and how it changed.

use std::fs;

use crate::common::block::{Header, Stream};
use crate::common::sandbox::{Run, Sandbox};
use crate::diff::lines;

/// Four runs: a file that comes, changes, stays, and goes.
fn history() -> Sandbox {
    let sandbox = Sandbox::new();
    let streams = [
        Stream::new().file("dir/file", b"one").file("other", b"o"),
        Stream::new()
            .file("./dir/file", b"two!")
            .file("other", b"o"),
        Stream::new().file("dir/file", b"two!").file("other", b"o"),
        Stream::new().file("other", b"o"),
    ];
    for (number, stream) in streams.into_iter().enumerate() {
        sandbox.archive(&format!("{number}.tar"), &stream.end()[..]);
    }
    sandbox
}

fn find(sandbox: &Sandbox, arguments: &[&str]) -> Run {
    sandbox.run(["find"].iter().chain(arguments))
}

/// Size and change of each line of JSON.
fn told(run: &Run) -> Vec<(u64, String)> {
    lines(run)
        .iter()
        .map(|line| {
            let change = line["change"].as_str().unwrap_or("").to_owned();
            (line["size"].as_u64().unwrap(), change)
        })
        .collect()
}

fn expected(lines: &[(u64, &str)]) -> Vec<(u64, String)> {
    let owned = |(size, change): &(u64, &str)| (*size, (*change).to_owned());
    lines.iter().map(owned).collect()
}

#[test]
fn a_member_is_followed_through_all_snapshots() {
    let sandbox = history();
    let run = find(&sandbox, &["dir/file", "--json"]).exits(0);
    assert_eq!(run.stderr, "");
    let history = [(4, "same"), (4, "changed"), (3, "first")];
    assert_eq!(told(&run), expected(&history));
    let snapshots = lines(&sandbox.run(["snapshots", "--json"]).exits(0));
    for (line, snapshot) in lines(&run).iter().zip(&snapshots[1..]) {
        assert_eq!(line["snapshot"], snapshot["name"]);
        assert_eq!(line["time_ns"], snapshot["time_ns"]);
        assert_eq!(line["host"], snapshot["host"]);
    }
    let hash = blake3::hash(b"one").to_hex().to_string();
    assert_eq!(lines(&run)[2]["hash"], hash.as_str());
    // By name, and of each the newest first.
    let run = find(&sandbox, &["dir", "other", "--json"]).exits(0);
    assert_eq!(lines(&run).len(), 7);
    assert_eq!(told(&run)[..3], expected(&history));
    let others = [(1, "same"), (1, "same"), (1, "same"), (1, "first")];
    assert_eq!(told(&run)[3..], expected(&others));
}

#[test]
fn what_is_printed_gets_it_back() {
    let sandbox = history();
    let mut command = sandbox.command(["find", "dir/file"]);
    command.env("TZ", "UTC0");
    let run = crate::run(command).exits(0);
    let text = String::from_utf8(run.stdout).unwrap();
    let oldest = text.lines().last().unwrap();
    assert!(
        oldest.contains("  first  ") && oldest.ends_with(" dir/file"),
        "{oldest}"
    );
    let time = oldest.split("  ").next().unwrap();
    let mut command = sandbox.command(["restore", &format!("@{time}"), "dir/file"]);
    command.env("TZ", "UTC0");
    let run = crate::run(command).exits(0);
    assert_eq!(run.stdout[512..515], *b"one");
}

#[test]
fn the_search_can_be_narrowed() {
    let sandbox = history();
    let run = find(&sandbox, &["dir/file", "--first", "--json"]).exits(0);
    assert_eq!(told(&run), expected(&[(4, "")]));
    let snapshots = lines(&sandbox.run(["snapshots", "--json"]).exits(0));
    assert_eq!(lines(&run)[0]["snapshot"], snapshots[1]["name"]);
    let second = snapshots[2]["time"].as_str().unwrap();
    let run = find(&sandbox, &["dir/file", "--since", second, "--json"]).exits(0);
    // What was before is not known.
    assert_eq!(told(&run), expected(&[(4, "same"), (4, "")]));
    let run = find(&sandbox, &["dir/file", "--until", second, "--json"]).exits(0);
    assert_eq!(told(&run), expected(&[(4, "changed"), (3, "first")]));
    let arguments = ["dir/file", "--in", "1.tar", "--in", "@4", "--json"];
    let run = find(&sandbox, &arguments).exits(0);
    assert_eq!(told(&run), expected(&[(4, "changed"), (3, "first")]));
    assert_eq!(lines(&run)[0]["index"], "1.tar");
    assert!(lines(&run)[0]["snapshot"].is_null() && lines(&run)[1]["index"].is_null());
    let both = ["dir/file", "--in", "1.tar", "--since", second];
    find(&sandbox, &both).exits(2);
}

#[test]
fn bodies_are_found_by_their_hash() {
    let sandbox = history();
    let hash = blake3::hash(b"two!").to_hex().to_string();
    let run = find(&sandbox, &["--hash", &hash, "--json"]).exits(0);
    assert_eq!(told(&run), expected(&[(4, ""), (4, "")]));
    let upper = hash.to_ascii_uppercase();
    assert_eq!(
        lines(&find(&sandbox, &["--hash", &upper, "--json"]).exits(0)).len(),
        2
    );
    // Both a pattern and a hash must fit.
    find(&sandbox, &["other", "--hash", &hash])
        .exits(1)
        .says(&["no such member in the 4 indexes"]);
    find(&sandbox, &["--hash", "00"])
        .exits(2)
        .says(&["--hash", "expected 64 hex digits"]);
    // Empty files have a hash, folders none.
    let stream = Stream::new()
        .file("empty", b"")
        .header(&Header::file("folder/", 0).typeflag(b'5'))
        .end();
    sandbox.archive("empty.tar", &stream[..]);
    let hash = blake3::hash(b"").to_hex().to_string();
    let run = find(&sandbox, &["--hash", &hash, "--json"]).exits(0);
    let names: Vec<_> = lines(&run)
        .iter()
        .map(|line| line["name"].clone())
        .collect();
    assert_eq!(names, ["empty"]);
}

#[test]
fn what_is_nowhere_is_said() {
    let sandbox = history();
    find(&sandbox, &["nowhere", "other"])
        .exits(1)
        .says(&["nowhere: no such member in the 4 indexes"]);
    find(&sandbox, &["other", "--in", "@9"])
        .exits(1)
        .says(&["no snapshot 9: there are 4"]);
    find(&sandbox, &[]).exits(2);
    let empty = Sandbox::new();
    empty.run(["init"]).exits(0);
    find(&empty, &["a"]).exits(1).says(&["in the 0 indexes"]);
}

#[test]
fn one_damaged_snapshot_does_not_hide_the_others() {
    let sandbox = history();
    let folder = sandbox.store().join("snapshots");
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    fs::write(&names[1], b"damaged").unwrap();
    let run = find(&sandbox, &["dir/file", "--json"]).exits(3);
    let told = told(&run);
    // What was in between is not known.
    assert_eq!(told, expected(&[(4, ""), (3, "first")]));
    run.says(&["damaged snapshot"]);
}

#[test]
fn a_content_that_came_back_did_not_stay() {
    let sandbox = Sandbox::new();
    for (number, body) in [b"here", b"gone", b"here"].into_iter().enumerate() {
        let stream = Stream::new().file("file", body).end();
        sandbox.archive(&format!("{number}.tar"), &stream[..]);
    }
    let hash = blake3::hash(b"here").to_hex().to_string();
    let run = find(&sandbox, &["file", "--hash", &hash, "--json"]).exits(0);
    assert_eq!(told(&run), expected(&[(4, ""), (4, "")]));
    let run = find(&sandbox, &["file", "--json"]).exits(0);
    let all = [(4, "changed"), (4, "changed"), (4, "first")];
    assert_eq!(told(&run), expected(&all));
}

#[test]
fn put_keys_and_other_keys_find_nothing() {
    let sandbox = history();
    sandbox.run(["key", "put", "put"]).exits(0);
    sandbox.run(["key", "new", "stranger"]).exits(0);
    find(&sandbox, &["other", "--key", "put"])
        .exits(1)
        .says(&["put key"]);
    find(&sandbox, &["other", "--key", "stranger"])
        .exits(1)
        .says(&["wrong key"]);
}

#[test]
fn of_a_name_that_stands_again_the_last_counts() {
    let sandbox = Sandbox::new();
    let twice = Stream::new().file("a", b"first").file("a", b"second").end();
    for name in ["one.tar", "two.tar"] {
        sandbox.archive(name, &twice[..]);
    }
    let run = find(&sandbox, &["a", "--json"]).exits(0);
    assert_eq!(told(&run), expected(&[(6, "same"), (6, "first")]));
}

#[test]
fn help_names_every_field() {
    let sandbox = Sandbox::new();
    let help = sandbox.run(["find", "--help"]).exits(0);
    let help = String::from_utf8(help.stdout).unwrap();
    for key in ["hash", "change", "snapshot", "time_ns", "index", "label"] {
        assert!(help.contains(&format!("`{key}`")), "{key}");
    }
}
