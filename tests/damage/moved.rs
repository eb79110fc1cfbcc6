//! Frames that gc has moved, and what lies on old media.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::block::Stream;
use crate::common::sandbox::Sandbox;
use crate::common::source::Random;
use crate::common::stored::roots;
use crate::made::{brick_parts, flip, text};
use crate::scene::{events, summary};

/// A run of which gc has moved the only frame into a brick of its own, and the brick
/// that its index names, on a tape.
struct Moved {
    sandbox: Sandbox,
    stream: Vec<u8>,
    /// All that was in the old brick.
    both: Vec<u8>,
    index: PathBuf,
    tape: PathBuf,
    /// The sidecar that the old brick had.
    old: PathBuf,
}

impl Moved {
    fn new() -> Self {
        Self::of(1_000_000)
    }

    /// What is needed of the old brick has so many bytes.
    fn of(length: usize) -> Self {
        let sandbox = Sandbox::new();
        let small = Random(2).bytes(length);
        let stream = Stream::new().file("small", &small).end();
        let both = Stream::new()
            .file("large", &Random(1).bytes(8 << 20))
            .file("small", &small)
            .end();
        let archive = |name: &str, stream: &[u8]| {
            let index = sandbox.path().join(name);
            sandbox
                .archive_to(["-q", "--no-snapshot"], stream, &index)
                .exits(0);
            index
        };
        archive("both.tar", &both);
        let brick = files(&sandbox, "bricks").remove(0);
        let old = files(&sandbox, "tocs").remove(0);
        let tape = sandbox.path().join("tape");
        fs::create_dir(&tape).unwrap();
        fs::copy(&brick, tape.join(brick.file_name().unwrap())).unwrap();
        let index = archive("small.tar", &stream);
        assert_eq!(files(&sandbox, "bricks").len(), 1, "it was deduplicated");
        let first = roots(&sandbox.store()).pop_first().unwrap();
        sandbox.run(["forget", &format!("@{first}")]).exits(0);
        sandbox.run(["gc", "--threshold", "100"]).exits(0);
        assert!(!old.exists() && !brick.exists(), "it was not rewritten");
        let moved = Self {
            sandbox,
            stream,
            both,
            index,
            tape,
            old,
        };
        moved.sandbox.restores(&moved.index, &moved.stream[..]);
        moved
    }

    /// The brick in which the frame is now.
    fn brick(&self) -> PathBuf {
        let mut bricks = files(&self.sandbox, "bricks");
        assert_eq!(bricks.len(), 1);
        bricks.remove(0)
    }
}

/// All files in a folder of the store.
fn files(sandbox: &Sandbox, folder: &str) -> Vec<PathBuf> {
    let files = crate::common::files::files(&sandbox.store().join(folder));
    files.into_keys().collect()
}

fn stem(path: &Path) -> &str {
    path.file_stem().unwrap().to_str().unwrap()
}

/// Or gc would count on the tape, and delete what it has moved.
#[test]
fn rebuild_brings_nothing_back_that_was_moved() {
    let moved = Moved::new();
    let rebuild = ["rebuild", "--json", "--bricks", text(&moved.tape)];
    let run = moved.sandbox.run(rebuild).exits(0);
    assert_eq!(summary(&run)["made"], 0, "{}", run.stderr);
    assert!(!moved.old.exists());
    moved.sandbox.run(["gc"]).exits(0);
    moved.brick();
    moved.sandbox.restores(&moved.index, &moved.stream[..]);
    // It does come back where what was moved is gone.
    fs::remove_file(moved.brick()).unwrap();
    fs::remove_dir_all(moved.sandbox.store().join("tocs")).unwrap();
    let run = moved.sandbox.run(rebuild).exits(0);
    assert_eq!(summary(&run)["made"], 1, "{}", run.stderr);
    assert!(moved.old.exists());
}

/// No root names the brick that gc has made.
#[test]
fn rebuild_finds_what_was_moved_and_lies_elsewhere() {
    let moved = Moved::new();
    let elsewhere = moved.sandbox.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let brick = moved.brick();
    fs::rename(&brick, elsewhere.join(brick.file_name().unwrap())).unwrap();
    fs::remove_dir_all(moved.sandbox.store().join("tocs")).unwrap();
    moved.sandbox.run(["gc"]).exits(3);
    let run = moved
        .sandbox
        .run(["rebuild", "--json", "--bricks", text(&elsewhere)])
        .exits(0);
    assert_eq!(summary(&run)["made"], 1, "{}", run.stderr);
    let run = moved.sandbox.run(["gc", "--json"]).exits(0);
    assert_eq!(summary(&run)["missing"], 0);
    let sidecars = files(&moved.sandbox, "tocs");
    assert_eq!(stem(&sidecars[0]), stem(&brick));
    // Nothing else is taken from there.
    let again = ["rebuild", "--bricks", text(&elsewhere)];
    moved.sandbox.run(again).exits(0);
    assert_eq!(files(&moved.sandbox, "tocs"), sidecars);
    let run = moved.sandbox.run(["verify", "--json"]).exits(0);
    assert_eq!(summary(&run)["missing"], 0, "{}", run.stderr);
    fs::rename(elsewhere.join(brick.file_name().unwrap()), &brick).unwrap();
    moved.sandbox.restores(&moved.index, &moved.stream[..]);
}

/// What a damaged brick's own table says of its frames is not lost with its sidecar.
#[test]
fn salvaged_frames_keep_the_places_that_they_were_moved_from() {
    let moved = Moved::of(8 << 20);
    let brick = moved.brick();
    let frames = brick_parts(&brick).frames;
    assert!(frames.len() > 1);
    flip(&brick, frames[0].1.start, 1);
    fs::remove_dir_all(moved.sandbox.store().join("tocs")).unwrap();
    let run = moved.sandbox.run(["rebuild", "--json"]).exits(0);
    assert_eq!(events(&run, "salvaged").len(), 1, "{}", run.stderr);
    fs::remove_file(&brick).unwrap();
    // The run needs what is left: nothing else says that it is garbage.
    let new = moved.brick();
    moved.sandbox.run(["gc", "--allow-missing"]).exits(3);
    assert_eq!(moved.brick(), new);
}

/// No root names the brick that is damaged.
#[test]
fn verify_names_the_runs_that_a_damaged_moved_frame_hits() {
    let moved = Moved::new();
    let hits = |arguments: &[&str], code: i32| {
        let all = [&["verify", "--json"], arguments].concat();
        let run = moved.sandbox.run(all).exits(code);
        let summary = summary(&run);
        (summary["hits"].clone(), summary["missing"].clone())
    };
    assert_eq!(hits(&[], 0), (0.into(), 0.into()));
    let brick = moved.brick();
    let kept = moved.sandbox.path().join("kept");
    fs::rename(&brick, &kept).unwrap();
    assert_eq!(hits(&[], 0), (0.into(), 0.into()), "it was moved away");
    assert_eq!(hits(&["--all-here", "--no-mark"], 3), (1.into(), 0.into()));
    fs::rename(&kept, &brick).unwrap();
    flip(&brick, brick_parts(&brick).frames[0].1.start, 1);
    assert_eq!(hits(&[], 3), (1.into(), 0.into()));
    // Its chunks are stored again, needed or not.
    let again = moved.sandbox.path().join("again.tar");
    let options = ["-q", "--no-snapshot"];
    let run = moved.sandbox.archive_to(options, &moved.both[..], &again);
    run.exits(0);
    assert_eq!(hits(&[], 3), (0.into(), 0.into()));
    moved.sandbox.restores(&moved.index, &moved.stream[..]);
}
