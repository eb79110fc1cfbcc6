//! `dtar ls` lists what `tar tv` lists of the stream.

use std::path::Path;

use serde_json::Value;

use crate::common::block::{Header, Stream};
use crate::common::sandbox::Sandbox;
use crate::common::shell::{have, must};
use crate::{run, tree};

/// What `dtar ls` prints, with the time zone that the tools have.
fn ls(sandbox: &Sandbox, arguments: &[&str]) -> Vec<u8> {
    let mut command = sandbox.command(["ls"]);
    command.args(arguments).env("TZ", "UTC0");
    let run = run(command).exits(0);
    assert_eq!(run.stderr, "");
    run.stdout
}

#[track_caller]
fn lists_alike(dir: &Path, options: &str) {
    let text = format!("tar --sort=name {options} -cf all.tar t; cat all.tar");
    let stream = must(dir, &text, &[]);
    let sandbox = Sandbox::new();
    sandbox.archive("index.tar", &stream[..]);
    let expected = must(dir, "tar -tvf all.tar", &[]);
    let found = ls(&sandbox, &["index.tar"]);
    let (found, expected) = [found, expected]
        .map(|text| String::from_utf8(text).unwrap())
        .into();
    assert_eq!(found, expected, "{options}");
}

#[test]
fn it_lists_like_tar() {
    if !have("tar") {
        return;
    }
    let dir = tree::wild();
    for options in [
        "--format=gnu",
        "--format=posix",
        "--format=gnu --numeric-owner",
    ] {
        lists_alike(dir.path(), options);
    }
    let dir = tree::plain();
    for options in ["--format=ustar", "--format=v7"] {
        lists_alike(dir.path(), options);
    }
    let dir = tree::sparse();
    for options in ["-S --format=gnu", "-S --format=posix"] {
        lists_alike(dir.path(), options);
    }
}

#[test]
fn compressed_indexes_list_alike() {
    if !have("zstd") {
        return;
    }
    let sandbox = Sandbox::new();
    let stream = Stream::new()
        .file("one", b"1")
        .file("two", &[2; 2000])
        .end();
    sandbox.archive("index.tar", &stream[..]);
    must(sandbox.path(), "zstd -q index.tar -o index.tar.zst", &[]);
    let plain = ls(&sandbox, &["index.tar"]);
    assert_eq!(plain.split_inclusive(|byte| *byte == b'\n').count(), 2);
    assert_eq!(ls(&sandbox, &["index.tar.zst"]), plain);
    let (run, restored) = sandbox.restore_with(
        &sandbox.path().join("index.tar.zst"),
        ["-q"],
        |mut stdout| {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut stdout, &mut bytes).unwrap();
            bytes
        },
    );
    run.exits(0);
    assert!(restored == stream);
}

#[test]
fn json_has_a_line_for_each_member() {
    let sandbox = Sandbox::new();
    let bad = Header::file("", 0).field(0, b"bad\xff\xc3").sum();
    let device = Header::file("null", 0)
        .field(329, b"0000001\0")
        .field(337, b"0000003\0")
        .typeflag(b'3');
    let stream = Stream::new()
        .file("text", b"12345")
        .header(&bad)
        .header(&Header::file("soft", 0).link("no\nwhere").typeflag(b'2'))
        .header(
            &Header::file("hard", 0)
                .field(157, b"bad\xff\xc3")
                .typeflag(b'1'),
        )
        .header(&device)
        .header(&Header::file("dir/", 0).typeflag(b'5'))
        .end();
    sandbox.archive("index.tar", &stream[..]);
    let text = String::from_utf8(ls(&sandbox, &["--json", "index.tar"])).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |key: &str| -> Vec<Value> { lines.iter().map(|line| line[key].clone()).collect() };
    assert_eq!(
        of("name"),
        [
            "text",
            "bad\u{fffd}\u{fffd}",
            "soft",
            "hard",
            "null",
            "dir/"
        ]
    );
    assert_eq!(of("type"), ["-", "-", "l", "h", "c", "d"]);
    assert_eq!(of("size"), [5, 0, 0, 0, 0, 0]);
    assert_eq!(lines[1]["name_hex"], "626164ffc3");
    assert_eq!(lines[3]["link_hex"], "626164ffc3");
    assert_eq!(lines[2]["link"], "no\nwhere");
    assert!(lines[0]["link"].is_null() && lines[0]["name_hex"].is_null());
    assert_eq!(lines[4]["device"], serde_json::json!([1, 3]));
    for line in &lines {
        assert_eq!(line["mode"], "0644");
        assert_eq!((&line["uid"], &line["gid"]), (&1000.into(), &1000.into()));
        assert_eq!(
            (line["user"].as_str(), line["group"].as_str()),
            (Some("user"), Some("group"))
        );
        assert_eq!(line["mtime"], 0o14_512_345_670_u64);
        assert_eq!(line["mtime_ns"], 0);
    }
    let help = sandbox.run(["ls", "--help"]).exits(0);
    let help = String::from_utf8(help.stdout).unwrap();
    for key in ["name", "mode", "mtime_ns", "link", "device", "name_hex"] {
        assert!(
            help.contains(&format!("`{key}`")),
            "{key} is not documented"
        );
    }
}
