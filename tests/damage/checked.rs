//! What `dtar verify` says of a whole store, by key and by option.

use std::fs;
use std::path::Path;

use crate::common::block::Stream;
use crate::common::source::Random;
use crate::made::{Made, brick_parts, cut, flip, length, text};
use crate::scene::{Scene, events, summary};

#[test]
fn each_key_goes_as_deep_as_it_reaches() {
    let scene = Scene::new();
    let put = scene.put_key();
    for (arguments, level) in [
        (&["--json"][..], "frames"),
        (&["--json", "--key", text(&put)], "tables"),
        (&["--json", "--no-key"], "bytes"),
    ] {
        let run = scene.verify(arguments).exits(0);
        let summary = summary(&run);
        assert_eq!(summary["level"], level);
        for (field, count) in [
            ("bricks", 4),
            ("sidecars", 4),
            ("roots", 2),
            ("snapshots", 2),
        ] {
            assert_eq!(summary[field], count, "{field} at level {level}");
        }
        assert_eq!(summary["faults"], 0);
        let chunks = summary["chunks"].as_u64().unwrap();
        assert_eq!(chunks > 0, level != "bytes", "{level}: {chunks}");
    }
}

#[test]
fn a_foreign_key_is_no_damage() {
    let scene = Scene::new();
    let other = scene.sandbox.path().join("other-key");
    scene.sandbox.run(["key", "new", text(&other)]).exits(0);
    let run = scene.verify(&["--key", text(&other)]);
    run.exits(1).says(&["wrong key", "--no-key"]);
}

#[test]
fn a_key_that_was_named_and_is_not_there_is_not_done_without() {
    let scene = Scene::new();
    let run = scene.verify(&["--key", "/no/such/key"]);
    run.exits(1).says(&["no key here"]);
}

#[test]
fn every_fault_is_reported_with_its_place() {
    let made = Made::many();
    let brick = made.brick();
    let parts = brick_parts(&brick);
    let frames = parts.frames;
    let places = [
        ("frame", Some(frames[0].0.start), frames[0].0.start + 30),
        ("frame", Some(frames[2].0.start), frames[2].1.start + 5),
        ("footer", None, length(&brick) - 1),
    ];
    for (_, _, offset) in places {
        flip(&brick, offset, 1);
    }
    let faults = |run: &crate::common::sandbox::Run| -> Vec<_> {
        let kind = |event: &serde_json::Value| event["kind"].as_str().unwrap().to_owned();
        let found = events(run, "fault");
        found
            .iter()
            .map(|fault| (kind(fault), fault["offset"].as_u64()))
            .collect()
    };
    let run = made.sandbox.run(["verify", "--json"]).exits(3);
    let found = faults(&run);
    assert_eq!(found.len(), places.len(), "{}", run.stderr);
    for (kind, frame, offset) in places {
        let found = found
            .iter()
            .find(|(found, at)| found == kind && (frame.is_none() || *at == frame));
        assert!(found.is_some(), "{kind} at {offset}: {}", run.stderr);
    }
    // Without table and sidecar what is left is found by its markers.
    flip(&made.sidecars()[0], 70, 1);
    let run = made.sandbox.run(["verify", "--json"]).exits(3);
    let mut kinds: Vec<_> = faults(&run).into_iter().map(|(kind, _)| kind).collect();
    kinds.sort();
    assert_eq!(kinds, ["brick", "footer", "sidecar"], "{}", run.stderr);
}

#[test]
fn frames_are_told_apart_and_runs_and_members_named() {
    let made = Made::many();
    let brick = made.brick();
    let frames = brick_parts(&brick).frames;
    flip(&brick, frames[1].1.start + 5, 1);
    let run = made.sandbox.run(["verify", "--json", "--members"]).exits(3);
    let faults = events(&run, "fault");
    assert_eq!(faults.len(), 1, "{}", run.stderr);
    let fault = &faults[0];
    assert_eq!(fault["kind"], "frame");
    assert_eq!(fault["frame"], 1);
    assert_eq!(fault["offset"], frames[1].0.start);
    assert_eq!(fault["path"], text(&brick));
    let hits = events(&run, "hit");
    assert_eq!(hits.len(), 1);
    assert_eq!(hits[0]["bricks"], 1);
    // The same members as those that a restore has to leave out.
    let restored = made.restore(&["--keep-going", "--json"]).exits(3);
    let ranges = |events: Vec<serde_json::Value>| -> Vec<_> {
        let range = |event: &serde_json::Value| {
            let name = event["member"].as_str().unwrap().to_owned();
            (name, event["start"].as_u64(), event["end"].as_u64())
        };
        events.iter().map(range).collect()
    };
    let lost = ranges(events(&run, "damage"));
    assert!(lost.len() > 10, "{lost:?}");
    assert_eq!(lost, ranges(events(&restored, "damage")));
    // Found at once again, by people's words too.
    let name = brick.file_stem().unwrap().to_str().unwrap();
    let run = made.sandbox.run(["verify"]).exits(3);
    run.says(&[
        name,
        "frame 1 at byte",
        "seal does not verify",
        "hit: the run of",
        "1 FAULT",
    ]);
}

#[test]
fn a_brick_that_was_moved_away_is_no_fault_unless_it_should_be_here() {
    let made = Made::three_bricks();
    let brick = made.bricks().remove(0);
    let thawed = made.sandbox.path().join("thawed");
    fs::create_dir(&thawed).unwrap();
    let moved = thawed.join(brick.file_name().unwrap());
    fs::rename(&brick, &moved).unwrap();
    let run = made.sandbox.run(["verify", "--json"]).exits(0);
    let away = events(&run, "away");
    assert_eq!(away.len(), 1);
    assert_eq!(
        away[0]["brick"],
        brick.file_stem().unwrap().to_str().unwrap()
    );
    let run = made.sandbox.run(["verify", "--all-here"]).exits(3);
    run.says(&["only its sidecar is", "hit: the run of"]);
    // Where it is it can be checked.
    let arguments = ["verify", "--all-here", "--bricks", text(&thawed)];
    made.sandbox.run(arguments).exits(0);
    let sidecar = made.sidecars().remove(0);
    let bytes = fs::read(&sidecar).unwrap();
    fs::remove_file(&sidecar).unwrap();
    made.sandbox
        .run(arguments)
        .exits(3)
        .says(&[text(&sidecar), "missing, though its brick is here"]);
    fs::write(&sidecar, bytes).unwrap();
    flip(&moved, 500, 1);
    made.sandbox.run(arguments).exits(3).says(&[text(&moved)]);
    fs::remove_dir_all(made.sandbox.store().join("tocs")).unwrap();
    let run = made.sandbox.run(["verify"]).exits(3);
    run.says(&["is missing: neither it nor its sidecar is here"]);
}

#[test]
fn bricks_without_a_store_can_be_checked() {
    let made = Made::three_bricks();
    let bricks = made.sandbox.store().join("bricks");
    let arguments = [
        "verify",
        "--json",
        "--no-key",
        "--store",
        "none",
        "--bricks",
        text(&bricks),
    ];
    let run = made.sandbox.run(arguments).exits(0);
    assert_eq!(summary(&run)["bricks"], 3);
    flip(&made.bricks()[1], 100, 1);
    let run = made.sandbox.run(arguments).exits(3);
    run.says(&[text(&made.bricks()[1])]);
    assert!(!made.sandbox.path().join("none").exists());
    let wrong = ["verify", "--no-key", "--bricks", "/no/such/folder"];
    made.sandbox.run(wrong).exits(2);
}

#[test]
fn quick_looks_at_lengths_and_presence_alone() {
    let made = Made::three_bricks();
    let bricks = made.bricks();
    flip(&bricks[0], length(&bricks[0]) / 2, 1);
    made.sandbox.run(["verify", "--quick"]).exits(0);
    cut(&bricks[1], length(&bricks[1]) - 1);
    fs::remove_file(&made.sidecars()[2]).unwrap();
    let run = made.sandbox.run(["verify", "--quick", "--json"]).exits(3);
    let faults = events(&run, "fault");
    assert_eq!(faults.len(), 2, "{}", run.stderr);
    // That one brick is cut short; a missing sidecar costs no stream anything.
    assert!((1..=3).contains(&events(&run, "hit").len()));
    assert!(!made.sandbox.store().join("bad").exists());
}

#[test]
fn a_sample_is_the_same_for_the_same_seed() {
    let made = Made::three_bricks();
    let sampled = |arguments: &[&str]| {
        let mut all = vec!["verify", "--json", "--sample"];
        all.extend(arguments);
        summary(&made.sandbox.run(all).exits(0))
    };
    // Three bricks of data and four of metadata.
    assert_eq!(sampled(&["100%"])["bricks"], 7);
    let one = sampled(&["1%", "--seed", "5"]);
    assert_eq!(one["bricks"], 1);
    assert_eq!(one["seed"], 5);
    assert_eq!(one["bytes"], sampled(&["1%", "--seed", "5"])["bytes"]);
    assert_eq!(sampled(&["50%"])["bricks"], 4);
    let run = made.sandbox.run(["verify", "--sample", "5%"]).exits(0);
    run.says(&["--seed "]);
    made.sandbox.run(["verify", "--sample", "0%"]).exits(2);
}

#[test]
fn a_store_without_its_config_is_looked_at_all_the_same() {
    let scene = Scene::new();
    fs::remove_file(scene.file(Path::new("store.toml"))).unwrap();
    let brick = scene.file(&scene.files("bricks")[0]);
    flip(&brick, 200, 1);
    let run = scene.verify(&[]).exits(3);
    run.says(&["store.toml", text(&brick)]);
    let nothing = scene.sandbox.path().join("home");
    let run = scene.verify(&["--store", text(&nothing)]);
    run.exits(1).says(&["not a dtar store"]);
}

#[test]
fn progress_is_told_in_json_and_a_large_store_is_read_once() {
    let stream = Stream::new()
        .file("noise", &Random(9).bytes(20 << 20))
        .end();
    let made = Made::of(stream);
    let run = made.sandbox.run(["verify", "--json"]).exits(0);
    let bricks: u64 = ["bricks", "meta"]
        .iter()
        .map(|kind| folder_length(&made.sandbox.store().join(kind)))
        .sum();
    let bytes = summary(&run)["bytes"].as_u64().unwrap();
    // But for headers, and what is read of the ends.
    assert!(
        (bricks - 1000..=bricks).contains(&bytes),
        "{bytes} of {bricks}"
    );
}

fn folder_length(path: &Path) -> u64 {
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap();
        entries
            .map(|entry| folder_length(&entry.unwrap().path()))
            .sum()
    } else {
        length(path)
    }
}
