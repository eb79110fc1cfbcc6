//! `--json`: lines that programs can read, with numbers that are right.

use std::io::Read;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::common::block::Stream;
use crate::common::sandbox::{Run, Sandbox};
use crate::common::source::Random;

/// Every line of standard error as JSON.
#[track_caller]
pub fn lines(run: &Run) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
    let lines: Vec<Value> = run.stderr.lines().map(parse).collect();
    for line in &lines {
        assert!(line["type"].is_string(), "no type: {line}");
    }
    lines
}

#[track_caller]
pub fn summary(run: &Run) -> Value {
    let lines = lines(run);
    let last = lines.last().expect("a line").clone();
    assert_eq!(last["type"], "summary");
    last
}

/// Noise twice, and zeros.
fn stream() -> Vec<u8> {
    let noise = Random(70).bytes(100_000);
    Stream::new()
        .file("one", &noise)
        .file("two", &noise)
        .file("zeros", &vec![0; 1 << 20])
        .file("empty", b"")
        .end()
}

#[test]
fn the_summary_counts_what_went_in() {
    let sandbox = Sandbox::new();
    let stream = stream();
    let index = sandbox.path().join("index.tar");
    let archive = || {
        let run = sandbox.archive_to(["--json"], &stream[..], &index).exits(0);
        let told = summary(&run);
        let index = std::fs::metadata(&index).unwrap().len();
        assert_eq!(told["index"], index);
        assert_eq!(told["read"], stream.len());
        assert_eq!(told["members"], 3);
        assert_eq!(told["opaque"], 0);
        assert_eq!(told["truncated"], false);
        assert!(told["seconds"].as_f64().unwrap() > 0.0);
        assert!(told["bytes_per_second"].as_u64().unwrap() > 0);
        told
    };
    let first = archive();
    let bricks: Vec<_> = sandbox
        .stored_files()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|kind| kind == "brick"))
        .collect();
    assert_eq!(bricks.len(), 1);
    assert_eq!(first["bricks"], 1);
    assert_eq!(
        first["stored"],
        std::fs::metadata(&bricks[0]).unwrap().len()
    );
    assert_eq!(first["new"], 100_000);
    assert_eq!(first["deduplicated"], 100_000);
    // The file, and the two blocks that end the stream.
    assert_eq!(first["zeros"], (1 << 20) + 1024);
    assert!(first["chunks"].as_u64().unwrap() >= 2);

    let second = archive();
    for (key, value) in [
        ("new", 0),
        ("stored", 0),
        ("bricks", 0),
        ("deduplicated", 200_000),
    ] {
        assert_eq!(second[key], value, "{key}");
    }
    for key in ["zeros", "chunks", "index"] {
        assert_eq!(second[key], first[key], "{key}");
    }

    let (run, _) = sandbox.restore_with(&index, ["--json"], |mut stdout| {
        std::io::copy(&mut stdout, &mut std::io::sink()).unwrap()
    });
    let told = summary(&run.exits(0));
    assert_eq!(told["restored"], stream.len());
    assert_eq!(told["members"], 3);
    assert_eq!(told["replaced_chunks"], 0);
}

#[test]
fn warnings_and_errors_are_lines_too() {
    let sandbox = Sandbox::new();
    let index = sandbox.path().join("index.tar");
    let run = sandbox
        .archive_to(["--json"], &b"no tar"[..], &index)
        .exits(0);
    let lines_of = |run: &Run, kind: &str| -> Vec<Value> {
        lines(run)
            .into_iter()
            .filter(|line| line["type"] == kind)
            .collect()
    };
    // The first run tells of the store that it made.
    assert!(!lines_of(&run, "note").is_empty());
    let run = sandbox.run(["--json", "restore", "missing.tar"]).exits(1);
    let errors = lines_of(&run, "error");
    assert!(
        errors[0]["message"]
            .as_str()
            .unwrap()
            .contains("missing.tar")
    );
    let cut = Stream::new().file("long", &[1; 5000]).0;
    let run = sandbox
        .archive_to(["--json"], &cut[..2000], &index)
        .exits(0);
    assert_eq!(lines_of(&run, "warning").len(), 1);
    assert_eq!(summary(&run)["truncated"], true);
}

/// A stream that pauses in its middle.
struct Pause<'a>(&'a [u8], Option<Duration>);

impl Read for Pause<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.0.len() < 1_000_000
            && let Some(pause) = self.1.take()
        {
            sleep(pause);
        }
        self.0.read(buffer)
    }
}

#[test]
fn progress_comes_once_a_second() {
    let sandbox = Sandbox::new();
    let stream = stream();
    let index = sandbox.path().join("index.tar");
    for (arguments, expected) in [(&["--json"][..], true), (&["--json", "--quiet"], false)] {
        let slow = Pause(&stream, Some(Duration::from_millis(1500)));
        let run = sandbox.archive_to(arguments, slow, &index).exits(0);
        let progress: Vec<_> = lines(&run)
            .into_iter()
            .filter(|line| line["type"] == "progress")
            .collect();
        assert_eq!(!progress.is_empty(), expected, "{arguments:?}");
        for line in progress {
            let bytes = line["bytes"].as_u64().unwrap();
            assert!(bytes <= stream.len() as u64, "{line}");
            assert!(line["total"].is_null());
            assert!(line["stored"].is_u64());
        }
        assert_eq!(summary(&run)["read"], stream.len());
    }
}

#[test]
fn quiet_runs_say_nothing() {
    let sandbox = Sandbox::new();
    let index = sandbox.path().join("index.tar");
    let stream = stream();
    let run = sandbox
        .archive_to(["--quiet"], &stream[..], &index)
        .exits(0);
    assert_eq!(run.stderr, "");
    let (run, ()) = sandbox.restore_with(&index, ["--quiet"], |mut stdout| {
        std::io::copy(&mut stdout, &mut std::io::sink()).unwrap();
    });
    assert_eq!(run.exits(0).stderr, "");
    let run = sandbox.run(["--quiet", "restore", "missing.tar"]).exits(1);
    run.says(&["missing.tar"]);
    let made = Sandbox::without_key();
    let run = made.run(["init", "-q"]).exits(0);
    assert_eq!((run.stderr.as_str(), run.stdout.len()), ("", 0));
}

#[test]
fn the_store_is_told_as_text_and_json() {
    let sandbox = Sandbox::new();
    sandbox.archive("index.tar", &stream()[..]);
    sandbox.archive("again.tar", &stream()[..]);
    let run = sandbox.run(["store", "--json"]).exits(0);
    let told: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(told["bricks"], 1);
    // The second run found all of its index in the store, too.
    assert_eq!(told["metadata_bricks"], 1);
    assert_eq!(told["sidecars"], 2);
    assert_eq!(told["roots"], 2);
    assert_eq!(told["snapshots"], 2);
    assert_eq!(told["recipients"], 1);
    assert_eq!(told["epoch"], 1);
    assert_eq!(told["store"], sandbox.store().to_str().unwrap());
    let config = std::fs::read_to_string(sandbox.store().join("store.toml")).unwrap();
    for key in ["store_id", "key_id"] {
        let id = told[key].as_str().unwrap();
        assert!(config.contains(&format!("\"{id}\"")), "{key} {id}");
    }
    let text = String::from_utf8(sandbox.run(["store"]).exits(0).stdout).unwrap();
    for word in [
        "store id",
        "key id",
        "bricks      1 here",
        "metadata    1 here",
        "sidecars    2",
        "roots       2",
        "snapshots   2",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(text.contains(told["store_id"].as_str().unwrap()));
}
