//! Snapshots: the store holds a copy of each index.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::common::block::Stream;
use crate::common::sandbox::{Run, Sandbox};
use crate::common::source::Random;
use crate::json::summary;

/// A tree of so many files, with times from `time` on; `changed` has another content.
fn stream(files: u64, time: u64, changed: Option<u64>) -> Vec<u8> {
    let mut stream = Stream::new();
    for number in 0..files {
        let version = if changed == Some(number) { 2 } else { 1 };
        let body = Random(number * 10 + version).bytes(500);
        stream = stream.file(&format!("folder/of/files/number {number}"), &body);
    }
    let mut bytes = stream.end();
    let mut at = 0;
    for number in 0..files {
        set_time(&mut bytes[at..at + 512], time + number * 7919 % 100_000);
        at += 1024;
    }
    bytes
}

fn set_time(block: &mut [u8], time: u64) {
    block[136..148].copy_from_slice(format!("{time:011o}\0").as_bytes());
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// Bytes of the files below a folder.
fn size_of(dir: &Path) -> u64 {
    files(dir)
        .iter()
        .map(|path| fs::metadata(path).unwrap().len())
        .sum()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    crate::common::files::files(dir).into_keys().collect()
}

fn archive(sandbox: &Sandbox, name: &str, options: &[&str], stream: &[u8]) -> (PathBuf, Run) {
    let index = sandbox.path().join(name);
    let run = sandbox.archive_to(options, stream, &index).exits(0);
    (index, run)
}

/// The snapshots, as `dtar snapshots --json` with more `options` lists them.
fn list(sandbox: &Sandbox, options: &[&str]) -> Vec<Value> {
    let arguments = ["snapshots", "--json"].iter().chain(options);
    let run = sandbox.run(arguments).exits(0);
    let text = String::from_utf8(run.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn the_index_comes_back_byte_for_byte() {
    let sandbox = Sandbox::new();
    let first = sandbox.archive("first.tar", &stream(300, 1, None)[..]);
    // Not tar, and hardly more than an end.
    let second = sandbox.archive("second.tar", &b"no tar at all"[..]);
    let third = sandbox.archive("third.tar", &[][..]);
    for (selector, index) in [("@latest", &third), ("@2", &second), ("@3", &first)] {
        let run = sandbox.run(["index", selector]).exits(0);
        assert!(run.stdout == fs::read(index).unwrap(), "{selector}");
    }
    let run = sandbox.run(["index", "@4"]).exits(1);
    run.says(&["no snapshot 4: there are 3", "dtar snapshots"]);
}

#[test]
fn store_and_key_are_enough() {
    let sandbox = Sandbox::new();
    let stream = stream(300, 1, None);
    fs::remove_file(sandbox.archive("index.tar", &stream[..])).unwrap();
    let other = sandbox.with_copied_store();
    let latest = Path::new("@latest");
    other.restores(latest, &stream[..]);
    let run = other.run(["ls", "@latest"]).exits(0);
    assert_eq!(run.stdout.split(|&byte| byte == b'\n').count(), 301);
    // Nor need sidecars be there, nor metadata bricks in the store itself.
    fs::remove_dir_all(other.store().join("tocs")).unwrap();
    other.restores(latest, &stream[..]);
    let copy = other.path().join("copy");
    fs::create_dir(&copy).unwrap();
    fs::rename(other.store().join("meta"), copy.join("meta")).unwrap();
    other
        .run(["index", "@latest"])
        .exits(3)
        .says(&["incomplete snapshot", "--bricks"]);
    let run = other.run(["index", "@latest", "--bricks", "copy"]).exits(0);
    assert!(run.stdout == sandbox.run(["index", "@latest"]).exits(0).stdout);
}

#[test]
fn an_unchanged_stream_adds_a_snapshot_file_and_no_brick() {
    let sandbox = Sandbox::new();
    let stream = stream(300, 1, None);
    sandbox.archive("first.tar", &stream[..]);
    // Now the index names the bricks that the first run made; so do all that follow.
    sandbox.archive("second.tar", &stream[..]);
    let bricks = files(&sandbox.store().join("meta"));
    let (_, run) = archive(&sandbox, "third.tar", &["--json"], &stream);
    assert_eq!(files(&sandbox.store().join("meta")), bricks);
    let told = summary(&run)["snapshot"].as_u64().unwrap();
    assert!((1200..4000).contains(&told), "{told}");
    assert_eq!(files(&sandbox.store().join("snapshots")).len(), 3);
}

#[test]
fn what_changes_little_adds_little() {
    const FILES: u64 = 5000;
    let sandbox = Sandbox::new();
    let meta = sandbox.store().join("meta");
    let mut before = 0;
    let mut grown = |stream: &[u8], name: &str| {
        sandbox.archive(name, stream);
        let now = size_of(&meta);
        let growth = now - before;
        before = now;
        growth
    };
    let first = grown(&stream(FILES, 1_700_000_000, None), "first.tar");
    // A hash of 32 bytes a file, which nothing makes smaller, and little more.
    assert!(first < FILES * 60, "{first}");
    let times = grown(&stream(FILES, 1_600_000_000, None), "times.tar");
    // Three or four octal digits of a time differ from file to file.
    assert!(times < FILES * 4, "{times}");
    let one = grown(&stream(FILES, 1_600_000_000, Some(2500)), "one.tar");
    // A few chunks, lists and hints, and what is around them.
    assert!(one < 40_000, "{one}");
}

#[test]
fn times_of_access_in_pax_records_add_little() {
    const FILES: u64 = 4000;
    let sandbox = Sandbox::new();
    let stream = |round: u64| {
        let time = |seed: u64| {
            let nanos = Random(seed).bytes(8).iter().fold(0, |sum: u64, byte| {
                (sum << 8 | u64::from(*byte)) % 1_000_000_000
            });
            format!("17000{:05}.{nanos:09}", seed % 100_000)
        };
        let member = |stream: Stream, number: u64| {
            let (mtime, atime) = (time(number), time(number + round * 1_000_000));
            let records = [("mtime", mtime.as_bytes()), ("atime", atime.as_bytes())];
            let name = format!("folder/of/files/number {number}");
            stream.pax(b'x', &records).file(&name, b"body")
        };
        (0..FILES).fold(Stream::new(), member).end()
    };
    sandbox.archive("first.tar", &stream(1)[..]);
    let (_, run) = archive(&sandbox, "second.tar", &["--json"], &stream(2));
    let told = summary(&run)["snapshot"].as_u64().unwrap();
    // Eight digits of each differ from before; with all that stands around them it
    // would be twice as much.
    assert!((FILES * 4..FILES * 16).contains(&told), "{told}");
}

#[test]
fn a_put_key_writes_snapshots_and_lists_them_but_reads_none() {
    let sandbox = Sandbox::new();
    sandbox.run(["init"]).exits(0);
    sandbox.run(["key", "put", "put"]).exits(0);
    let stream = stream(100, 1, None);
    let options = ["--key", "put", "--label", "by the putter", "-q"];
    let (index, _) = archive(&sandbox, "index.tar", &options, &stream);
    let listed = list(&sandbox, &["--key", "put"]);
    assert_eq!(listed, list(&sandbox, &[]));
    assert_eq!(listed[0]["label"], "by the putter");
    for command in ["index", "restore", "ls"] {
        sandbox
            .run([command, "@latest", "--key", "put"])
            .exits(1)
            .says(&["put key"]);
    }
    let run = sandbox.run(["index", "@label:by the putter"]).exits(0);
    assert!(run.stdout == fs::read(index).unwrap());
}

#[test]
fn without_a_snapshot_nothing_is_left_of_the_index() {
    let sandbox = Sandbox::new();
    let (_, run) = archive(
        &sandbox,
        "index.tar",
        &["--no-snapshot", "--json"],
        &stream(9, 1, None),
    );
    assert_eq!(summary(&run)["snapshot"], Value::Null);
    assert!(files(&sandbox.store().join("meta")).is_empty());
    assert!(files(&sandbox.store().join("snapshots")).is_empty());
    assert!(list(&sandbox, &[]).is_empty());
    sandbox
        .run(["index", "@latest"])
        .exits(1)
        .says(&["no snapshot in this store"]);
    // It is not in the way of one that has one.
    let kept = sandbox.archive("kept.tar", &b"kept"[..]);
    archive(&sandbox, "other.tar", &["--no-snapshot", "-q"], b"other");
    let run = sandbox.run(["index", "@latest"]).exits(0);
    assert!(run.stdout == fs::read(kept).unwrap());
}

#[test]
fn runs_are_found_by_time_label_host_and_name() {
    let sandbox = Sandbox::new();
    let indexes: Vec<_> = ["one", "two", "three"]
        .map(|label| {
            let name = format!("{label}.tar");
            let (index, _) = archive(&sandbox, &name, &["-q", "--label", label], label.as_bytes());
            fs::read(index).unwrap()
        })
        .to_vec();
    let listed = list(&sandbox, &[]);
    let labels = |listed: &[Value]| -> Vec<String> {
        let label = |run: &Value| run["label"].as_str().unwrap().to_owned();
        listed.iter().map(label).collect()
    };
    assert_eq!(labels(&listed), ["three", "two", "one"]);
    let oldest_first = list(&sandbox, &["--oldest-first"]);
    assert_eq!(labels(&oldest_first), ["one", "two", "three"]);
    let text = |run: &Value, key: &str| run[key].as_str().unwrap().to_owned();
    let two = &listed[1];
    assert_eq!(two["stream"], 3);
    assert_eq!(two["index"], indexes[1].len());
    // Times are exact to the nanosecond, in both directions.
    let time = text(two, "time");
    assert_eq!(
        labels(&list(&sandbox, &["--since", &time])),
        ["three", "two"]
    );
    assert_eq!(labels(&list(&sandbox, &["--until", &time])), ["two", "one"]);
    assert_eq!(labels(&list(&sandbox, &["--since", "today"])).len(), 3);
    assert!(list(&sandbox, &["--until", "2020-01-01"]).is_empty());
    assert_eq!(labels(&list(&sandbox, &["--label", "two"])), ["two"]);
    assert!(list(&sandbox, &["--label", "tw"]).is_empty());
    let host = text(two, "host");
    let options = ["--host", &host, "--since", &time];
    assert_eq!(labels(&list(&sandbox, &options)), ["three", "two"]);
    assert!(list(&sandbox, &["--host", "nobody"]).is_empty());
    for selector in [
        format!("@{time}"),
        "@label:two".into(),
        format!("@{}", text(two, "name")),
    ] {
        let run = sandbox.run(["index", &selector]).exits(0);
        assert!(run.stdout == indexes[1], "{selector}");
    }
    let host = format!("@host:{}", text(two, "host"));
    assert!(sandbox.run(["index", &host]).exits(0).stdout == indexes[2]);
    for (selector, code, word) in [
        ("@host:nobody", 1, "no snapshot is of the host"),
        ("@label:four", 1, "no snapshot has the label"),
        ("@0000000", 1, "no snapshot is named"),
        ("@017", 2, "is no time"),
        ("@2020-01-01", 1, "no snapshot from that time or before"),
        ("@newest", 2, "is no time"),
        ("one.tar", 2, "expected a snapshot"),
    ] {
        sandbox.run(["index", selector]).exits(code).says(&[word]);
    }
    let options = ["snapshots", "--since", "today", "--until", "yesterday"];
    sandbox.run(options).exits(2).says(&["later than --until"]);
    // For people: a line each, below a head.
    let run = sandbox.run(["snapshots"]).exits(0);
    assert_eq!(String::from_utf8(run.stdout).unwrap().lines().count(), 4);
}

#[test]
fn a_snapshot_that_is_damaged_missing_or_another_one_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.archive("one.tar", &b"one"[..]);
    sandbox.archive("two.tar", &b"two"[..]);
    let snapshots = files(&sandbox.store().join("snapshots"));
    let [one, two] = [0, 1].map(|number| fs::read(&snapshots[number]).unwrap());
    let mut damaged = two.clone();
    damaged[1400] ^= 1;
    for bad in [&one, &damaged] {
        fs::write(&snapshots[1], bad).unwrap();
        let run = sandbox.run(["restore", "@latest"]).exits(3);
        run.says(&["damaged snapshot, or another one"]);
    }
    fs::remove_file(&snapshots[1]).unwrap();
    sandbox
        .run(["restore", "@latest"])
        .exits(3)
        .says(&["this snapshot is missing", "dtar forget @"]);
    let listed = list(&sandbox, &[]);
    assert_eq!(
        (&listed[0]["missing"], &listed[1]["missing"]),
        (&true.into(), &false.into())
    );
    let told = String::from_utf8(sandbox.run(["snapshots"]).exits(0).stdout).unwrap();
    assert_eq!(told.matches("its file is missing").count(), 1, "{told}");
    fs::write(&snapshots[1], two).unwrap();
    sandbox.restores(Path::new("@latest"), &b"two"[..]);
    // A frame of it is damaged.
    for brick in files(&sandbox.store().join("meta")) {
        let mut bytes = fs::read(&brick).unwrap();
        bytes[1490] ^= 1;
        fs::write(&brick, bytes).unwrap();
    }
    let run = sandbox.run(["index", "@latest"]).exits(3);
    assert!(run.stdout.is_empty());
}

#[test]
fn bodies_and_snapshots_share_no_chunks() {
    let sandbox = Sandbox::new();
    let index = sandbox.archive("index.tar", &stream(300, 1, None)[..]);
    let index = fs::read(index).unwrap();
    // What the snapshot holds is archived as a file, and the other way round: neither
    // relies on a brick of the other class.
    let (second, _) = archive(&sandbox, "second.tar", &["-q"], &index);
    let meta = sandbox.store().join("meta");
    fs::rename(&meta, sandbox.path().join("away")).unwrap();
    sandbox.restores(&second, &index[..]);
    fs::rename(sandbox.path().join("away"), &meta).unwrap();
    fs::remove_dir_all(sandbox.store().join("bricks")).unwrap();
    let run = sandbox.run(["index", "@2"]).exits(0);
    assert!(run.stdout == index);
}

/// As on a full disk: the root has been written, and the snapshot cannot be.
#[test]
fn a_run_that_cannot_write_its_snapshot_leaves_no_root() {
    let sandbox = Sandbox::new();
    let index = sandbox.path().join("index.tar");
    let archive = |options: &[&str]| {
        let options = ["-q"].iter().chain(options);
        sandbox.archive_to(options, &b"text"[..], &index)
    };
    archive(&["--no-snapshot"]).exits(0);
    let snapshots = sandbox.store().join("snapshots");
    std::fs::write(&snapshots, b"no folder").unwrap();
    archive(&[]).exits(1).says(&["snapshots"]);
    let roots = || std::fs::read_dir(sandbox.store().join("roots")).unwrap();
    assert_eq!(roots().count(), 1);
    std::fs::remove_file(&snapshots).unwrap();
    sandbox.run(["verify"]).exits(0);
    archive(&[]).exits(0);
    assert_eq!(roots().count(), 2);
}
