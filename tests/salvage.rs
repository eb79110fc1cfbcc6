//! `dtar salvage`, through the binary: what is left of a store is found in any bytes.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::block::Stream;
use common::files::files;
use common::sandbox::{Run, Sandbox};
use common::source::Random;
use common::stored::events;
use serde_json::Value;

/// A finished archive, and a folder for what is salvaged.
struct Made {
    sandbox: Sandbox,
    stream: Vec<u8>,
    index: PathBuf,
}

impl Made {
    fn of(stream: Vec<u8>) -> Self {
        let sandbox = Sandbox::new();
        let index = sandbox.archive("index.tar", &stream[..]);
        Self {
            sandbox,
            stream,
            index,
        }
    }

    /// Three members and a folder without a body, in one brick of one frame.
    fn small() -> Self {
        let stream = Stream::new()
            .file("first", b"some text\n")
            .file("second", &Random(1).bytes(50_000))
            .file("empty", b"");
        Self::of(stream.file("third", &b"again and again ".repeat(100)).end())
    }

    /// Members of 3 MiB each, of noise: `0` to `4`, two in a frame.
    fn large() -> Self {
        let member = |stream: Stream, number: u64| {
            stream.file(&number.to_string(), &Random(number + 1).bytes(3 << 20))
        };
        Self::of((0..5).fold(Stream::new(), member).end())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.sandbox.path().join(name)
    }

    /// The only data brick.
    fn brick(&self) -> PathBuf {
        let mut files = self.sandbox.stored_files();
        files.retain(|path| path.extension().is_some_and(|ending| ending == "brick"));
        let [brick] = &files[..] else {
            panic!("one brick: {files:?}")
        };
        brick.clone()
    }

    /// Salvages `inputs` to the folder `to`, with more `options`.
    fn salvage(&self, inputs: &[&Path], options: &[&str]) -> Run {
        let to = self.path("to");
        let arguments = ["salvage", "--to", text(&to)].into_iter();
        let inputs = inputs.iter().map(|path| text(path));
        self.sandbox
            .run(arguments.chain(inputs).chain(options.iter().copied()))
    }

    /// Salvages what `damage` leaves of the brick, and compares with the index.
    fn salvage_brick(&self, damage: impl FnOnce(&mut Vec<u8>)) -> Run {
        let mut bytes = fs::read(self.brick()).unwrap();
        damage(&mut bytes);
        let input = self.path("input");
        fs::write(&input, bytes).unwrap();
        self.salvage(&[&input], &["--json", "--index", text(&self.index)])
    }

    /// Restores from the bricks that were salvaged, without the store.
    #[track_caller]
    fn restores_by_bricks(&self) {
        fs::remove_dir_all(self.sandbox.store()).unwrap();
        let to = self.path("to");
        let arguments = ["restore", "--bricks", text(&to), text(&self.index)];
        let run = self.sandbox.run(arguments).exits(0);
        assert!(run.stdout == self.stream);
    }

    /// Restores from what was salvaged, by chunk ids alone: as a store, with an index
    /// without its end.
    #[track_caller]
    fn restores_by_chunk(&self) {
        let store = self.path("to");
        fs::copy(
            self.sandbox.store().join("store.toml"),
            store.join("store.toml"),
        )
        .unwrap();
        let mut index = fs::read(&self.index).unwrap();
        index.truncate(index.len() - 64);
        let cut = self.path("cut.tar");
        fs::write(&cut, index).unwrap();
        let run = self.sandbox.run([
            "restore",
            "--incomplete",
            "--store",
            text(&store),
            text(&cut),
        ]);
        // The tail, tar's end, stands in the trailer alone.
        let end = self.stream.len() - 1024;
        let run = run.exits(3).says(&["stopped"]);
        assert!(run.stdout == self.stream[..end], "{}", run.stderr);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Where the frames of a brick stand.
fn frames(brick: &[u8]) -> Vec<Range<usize>> {
    let number = |at: usize| {
        let bytes = brick[at..at + 4].try_into().unwrap();
        u32::from_le_bytes(bytes) as usize
    };
    let (mut found, mut at) = (Vec::new(), 80);
    while brick[at..].starts_with(b"dtarFRAM") {
        let end = at + number(at + 16) + number(at + 20);
        found.push(at..end);
        at = end;
    }
    found
}

/// The members of a report, as name, state and bytes lost.
fn members(run: &Run) -> Vec<(String, String, u64)> {
    let text = String::from_utf8(run.stdout.clone()).unwrap();
    let member = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        let word = |key: &str| value[key].as_str().unwrap().to_owned();
        (word("name"), word("state"), value["lost"].as_u64().unwrap())
    };
    text.lines().map(member).collect()
}

fn states(run: &Run) -> Vec<String> {
    members(run)
        .into_iter()
        .map(|(_, state, _)| state)
        .collect()
}

/// The closing summary of a run with `--json`.
fn summary(run: &Run) -> Value {
    events(run, "summary").remove(0)
}

#[test]
fn a_whole_brick_keeps_its_name_and_old_indexes_find_it() {
    let made = Made::small();
    let run = made.salvage_brick(|bytes| {
        let noise = Random(9).bytes(5000);
        bytes.splice(0..0, noise.iter().copied());
        bytes.extend(noise);
    });
    assert_eq!(states(&run.exits(0)), ["whole"; 4]);
    made.restores_by_bricks();
}

#[test]
fn neither_header_nor_toc_nor_footer_is_needed() {
    for part in ["header", "end"] {
        let made = Made::small();
        let run = made.salvage_brick(|bytes| {
            let end = frames(bytes).last().unwrap().end;
            match part {
                "header" => bytes[..80].fill(0),
                _ => bytes[end..].fill(0),
            }
        });
        let run = run.exits(0);
        assert_eq!(summary(&run)["new_bricks"], 1);
        assert_eq!(states(&run), ["whole"; 4]);
        made.restores_by_chunk();
    }
}

#[test]
fn of_half_a_brick_half_is_left() {
    let made = Made::large();
    let mut plain = 0;
    let run = made.salvage_brick(|bytes| {
        plain = frames(bytes).len();
        bytes.truncate(bytes.len() / 2);
    });
    assert!(plain >= 3);
    let run = run.exits(3);
    let members = members(&run);
    let states: Vec<_> = members.iter().map(|(_, state, _)| state.as_str()).collect();
    assert_eq!((states[0], states[4]), ("whole", "gone"));
    for (name, state, lost) in &members {
        match state.as_str() {
            "whole" => assert_eq!(*lost, 0, "{name}"),
            "gone" => assert_eq!(*lost, 3 << 20, "{name}"),
            _ => assert!((1..3 << 20).contains(lost), "{name}"),
        }
    }
}

#[test]
fn a_list_that_is_lost_is_read_from_its_copy() {
    let made = Made::of(
        Stream::new()
            .file("large", &Random(3).bytes(14 << 20))
            .end(),
    );
    let bytes = fs::read(made.brick()).unwrap();
    let count = frames(&bytes).len();
    assert!(count >= 4, "{count}");
    for lost in 0..count {
        let _ = fs::remove_dir_all(made.path("to"));
        let run = made.salvage_brick(|bytes| {
            let frame = frames(bytes)[lost].clone();
            bytes[frame.end - 20] ^= 1;
        });
        let (_, state, bytes) = members(&run).remove(0);
        // A frame of bodies costs what it held; lists and copies alone cost nothing.
        assert_ne!(state, "gone");
        assert!(bytes <= 7 << 20, "{lost}: {bytes}");
        assert_eq!(run.code, Some(if bytes == 0 { 0 } else { 3 }));
    }
}

#[test]
fn a_store_is_found_in_a_tar_and_in_a_disk_image() {
    let made = Made::small();
    let archive = made.path("store.tar");
    let status = std::process::Command::new("tar")
        .args(["cf", text(&archive), "-C", text(&made.sandbox.store()), "."])
        .status()
        .unwrap();
    assert!(status.success());
    // Files on a disk begin at blocks, in any order, among what else is there.
    let mut image = Random(5).bytes(1 << 20);
    let parts = ["bricks", "meta", "tocs", "roots", "snapshots"];
    let parts = parts.map(|part| files(&made.sandbox.store().join(part)));
    for file in parts.iter().flat_map(BTreeMap::keys).rev() {
        image.extend(fs::read(file).unwrap());
        image.resize(image.len().next_multiple_of(4096), 0);
        image.extend(Random(6).bytes(4096));
    }
    let disk = made.path("disk");
    fs::write(&disk, image).unwrap();
    for input in [archive, disk] {
        let _ = fs::remove_dir_all(made.path("to"));
        let options = ["--json", "--index", text(&made.index)];
        let run = made.salvage(&[&input], &options).exits(0);
        assert_eq!(states(&run), ["whole"; 4]);
        let found = summary(&run);
        assert_eq!(found["whole_bricks"], 2);
        assert_eq!(found["new_bricks"], 0);
        assert_eq!(
            (&found["roots"], &found["snapshots"]),
            (&1.into(), &1.into())
        );
        // With its configuration it is a store again.
        let to = made.path("to");
        fs::copy(
            made.sandbox.store().join("store.toml"),
            to.join("store.toml"),
        )
        .unwrap();
        let run = made
            .sandbox
            .run(["restore", "--store", text(&to), "@latest"])
            .exits(0);
        assert!(run.stdout == made.stream);
    }
}

#[test]
fn nothing_comes_of_a_brick_that_is_damaged_everywhere() {
    let made = Made::large();
    let run = made.salvage_brick(|bytes| {
        for byte in bytes.iter_mut().step_by(4096) {
            *byte ^= 1;
        }
    });
    let run = run.exits(3);
    assert_eq!(states(&run), ["gone"; 5]);
    assert_eq!(summary(&run)["sound"], 0);
    let files = files(&made.path("to"));
    assert!(files.is_empty(), "{files:?}");
}

#[test]
fn standard_input_is_an_input() {
    let made = Made::small();
    let to = made.path("to");
    let output = made
        .sandbox
        .command([
            "salvage",
            "-",
            "--to",
            text(&to),
            "--index",
            text(&made.index),
        ])
        .stdin(fs::File::open(made.brick()).unwrap())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        lines,
        "whole  first\nwhole  second\nwhole  empty\nwhole  third\n"
    );
    assert!(to.join("bricks").is_dir());
}

#[test]
fn inputs_and_store_stay_as_they_are() {
    let made = Made::small();
    let store = made.sandbox.store();
    let before: Vec<_> = made.sandbox.stored_files();
    made.salvage(&[&store], &[]).exits(0);
    made.salvage(&[&store], &["--json"]).exits(0);
    assert_eq!(made.sandbox.stored_files(), before);
    made.sandbox.restores(&made.index, &made.stream[..]);
    let run = made
        .sandbox
        .run(["salvage", text(&made.brick()), "--to", text(&store)]);
    run.exits(2).says(&["is a store"]);
}

#[test]
fn a_run_without_a_key_is_finished_by_one_with_it() {
    let made = Made::small();
    let mut bytes = fs::read(made.brick()).unwrap();
    bytes[..80].fill(0);
    let input = made.path("input");
    fs::write(&input, bytes).unwrap();
    let key = made.path("kept");
    fs::rename(made.sandbox.key(), &key).unwrap();
    made.salvage(&[&input], &["--no-key"])
        .exits(0)
        .says(&["not verified", "DIR/frames"]);
    assert!(!made.path("to/tocs").exists());
    made.salvage(&[&input], &[]).exits(1).says(&["no key here"]);
    fs::rename(&key, made.sandbox.key()).unwrap();
    let nothing = made.path("nothing");
    fs::write(&nothing, b"").unwrap();
    made.salvage(&[&nothing], &[]).exits(0);
    made.restores_by_chunk();
}

#[test]
fn usage_is_checked_before_anything_is_read() {
    let made = Made::small();
    let brick = made.brick();
    let run = |arguments: &[&str]| {
        made.sandbox
            .run(["salvage", text(&brick)].iter().chain(arguments))
    };
    run(&[]).exits(2).says(&["--to"]);
    run(&["--to", "x", "--no-key", "--index", text(&made.index)]).exits(2);
    run(&["--dry-run", "--block-size", "7"]).exits(2);
    run(&["--to", "x", "--index", text(&brick)])
        .exits(1)
        .says(&["not a dtar index"]);
    assert!(!made.path("x").exists());
    let missing = made.path("missing");
    made.salvage(&[&missing], &[]).exits(1).says(&["missing"]);
}

#[test]
fn what_is_called_tmp_in_the_output_is_not_touched() {
    let made = Made::small();
    let thesis = made.path("to/tmp/thesis");
    fs::create_dir_all(&thesis).unwrap();
    let files = [thesis.join("chapter"), made.path("to/tmp/0123456789abcdef")];
    for file in &files {
        fs::write(file, b"years of work").unwrap();
    }
    made.salvage(&[&made.brick()], &[]).exits(0);
    for file in &files {
        assert_eq!(fs::read(file).unwrap(), b"years of work");
    }
    assert!(!made.path("to/.dtar-tmp").exists());
}

#[test]
fn a_damaged_file_in_the_output_does_not_keep_a_sound_brick_out() {
    let made = Made::large();
    let brick = made.brick();
    let below = brick.strip_prefix(made.sandbox.store()).unwrap();
    let standing = made.path("to").join(below);
    fs::create_dir_all(standing.parent().unwrap()).unwrap();
    let mut bytes = fs::read(&brick).unwrap();
    let frame = frames(&bytes).remove(1);
    bytes[frame.end - 20] ^= 1;
    fs::write(&standing, &bytes).unwrap();
    let options = ["--json", "--index", text(&made.index)];
    let run = made.salvage(&[&brick], &options).exits(0);
    let run = run.says(&[text(&standing), "damaged, and in the way"]);
    assert_eq!(states(&run), ["whole"; 5]);
    assert_eq!(summary(&run)["whole_bricks"], 0);
    assert_eq!(summary(&run)["new_bricks"], 1);
    assert_eq!(fs::read(&standing).unwrap(), bytes, "it is not altered");
    made.restores_by_bricks();
}

#[test]
fn a_damaged_root_or_snapshot_in_the_output_is_reported() {
    let made = Made::small();
    let store = made.sandbox.store();
    made.salvage(&[&store], &[]).exits(0);
    made.salvage(&[&store], &[]).exits(0);
    for folder in ["roots", "snapshots"] {
        let (file, _) = files(&made.path("to").join(folder)).pop_first().unwrap();
        let whole = fs::read(&file).unwrap();
        let mut bytes = whole.clone();
        bytes[50] ^= 1;
        fs::write(&file, &bytes).unwrap();
        let run = made.salvage(&[&store], &["--json"]).exits(3);
        let run = run.says(&[text(&file)]);
        assert_eq!(summary(&run)["blocked"], 1, "{folder}");
        assert_eq!(fs::read(&file).unwrap(), bytes);
        fs::write(&file, whole).unwrap();
    }
}

#[test]
fn frames_that_were_found_and_not_kept_end_with_3() {
    let made = Made::large();
    let brick = made.brick();
    let bytes = fs::read(&brick).unwrap();
    let first = frames(&bytes).remove(0);
    // Another key's: all are there, and none is kept.
    made.sandbox.run(["key", "new", "stranger"]).exits(0);
    let run = made.salvage(&[&brick], &["--key", "stranger", "--json"]);
    let run = run.exits(3);
    assert!(summary(&run)["other_key"].as_u64() > Some(0));

    // A newer dtar's: of a codec that is not known yet, the header's check in order.
    let newer = made.path("newer");
    let mut frame = bytes[first].to_vec();
    frame[65] = 9;
    let length = u32::from_le_bytes(frame[16..20].try_into().unwrap()) as usize;
    let check = blake3::hash(&frame[..length - 16]);
    frame[length - 16..length].copy_from_slice(&check.as_bytes()[..16]);
    fs::write(&newer, frame).unwrap();
    let run = made.salvage(&[&newer], &["--json"]).exits(3);
    assert_eq!(summary(&run)["refused"], 1);

    // Mostly another store's.
    let other = Made::small();
    let inputs = [other.brick(), brick];
    let [small, large] = &inputs;
    let run = made.salvage(&[small, large], &["--json"]).exits(3);
    run.says(&["of other stores, more than of the one that was kept"]);
}

/// A disk image of a terabyte, of which next to nothing is stored.
#[test]
fn holes_of_an_image_are_not_read() {
    use std::os::unix::fs::FileExt;
    let made = Made::small();
    let image = made.path("image");
    let file = fs::File::create(&image).unwrap();
    file.set_len(1 << 40).unwrap();
    let brick = fs::read(made.brick()).unwrap();
    file.write_all_at(&brick, (1 << 39) + 12_345).unwrap();
    let run = made.salvage(&[&image], &["--json", "--index", text(&made.index)]);
    let summary = summary(&run.exits(0));
    assert!(summary["read"].as_u64() < Some(8 << 20), "{summary}");
    assert_eq!(summary["whole_bricks"], 1, "{summary}");
}
