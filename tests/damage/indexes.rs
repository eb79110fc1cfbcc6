//! `dtar verify INDEX`: all that it needs is there and right.

use std::fs;

use crate::common::block::Stream;
use crate::common::source::Random;
use crate::made::{Made, brick_parts, cut, flip, length, text};
use crate::scene::{events, summary};

#[test]
fn a_whole_index_is_read_as_a_restore_reads_it() {
    let made = Made::many();
    for index in [text(&made.index), "@latest"] {
        let run = made.sandbox.run(["verify", "--json", index]).exits(0);
        let summary = summary(&run);
        assert_eq!(summary["bytes"], made.stream.len());
        assert_eq!(summary["indexes"], 1);
        assert!(run.stdout.is_empty());
    }
    let both = ["verify", "--json", text(&made.index), "@latest"];
    let run = made.sandbox.run(both).exits(0);
    assert_eq!(summary(&run)["indexes"], 2);
}

#[test]
fn every_member_that_is_hit_is_named() {
    let made = Made::three_bricks();
    let bricks = made.bricks();
    flip(&bricks[0], 2000, 1);
    fs::remove_file(&bricks[2]).unwrap();
    let run = made
        .sandbox
        .run(["verify", "--json", text(&made.index)])
        .exits(3);
    let damage = events(&run, "damage");
    assert_eq!(damage.len(), 2, "{}", run.stderr);
    for event in damage {
        assert_eq!((&event["start"], &event["end"]), (&0.into(), &2000.into()));
    }
    assert_eq!(summary(&run)["members"], 2);
}

#[test]
fn a_damaged_index_is_a_fault_and_does_not_hide_another() {
    let made = Made::three_bricks();
    let broken = made.sandbox.path().join("broken.tar");
    fs::copy(&made.index, &broken).unwrap();
    flip(&broken, 100, 1);
    let short = made.sandbox.path().join("short.tar");
    fs::copy(&made.index, &short).unwrap();
    cut(&short, length(&short) - 512);
    flip(&made.bricks()[0], 2000, 1);
    let arguments = ["verify", text(&broken), text(&short), text(&made.index)];
    let run = made.sandbox.run(arguments).exits(3);
    run.says(&[text(&broken), "altered", text(&short), "are lost"]);
}

#[test]
fn quick_names_what_is_not_there() {
    let made = Made::three_bricks();
    let bricks = made.bricks();
    let put = made.sandbox.path().join("put-key");
    made.sandbox.run(["key", "put", text(&put)]).exits(0);
    let quick = |more: &[&str]| {
        let mut all = vec!["verify", "--quick", "--json", text(&made.index)];
        all.extend(more);
        made.sandbox.run(all)
    };
    quick(&[]).exits(0);
    quick(&["--key", text(&put)]).exits(0);
    flip(&bricks[0], 2000, 1);
    quick(&[]).exits(0);
    cut(&bricks[0], 2000);
    let away = made.sandbox.path().join("away");
    fs::rename(&bricks[1], &away).unwrap();
    let run = quick(&[]).exits(3);
    assert_eq!(events(&run, "damage").len(), 1, "{}", run.stderr);
    assert_eq!(events(&run, "away").len(), 1);
    let run = quick(&["--all-here"]).exits(3);
    assert_eq!(events(&run, "damage").len(), 2, "{}", run.stderr);
    let sidecar = made.sidecars().remove(1);
    assert_eq!(sidecar.file_stem(), bricks[1].file_stem());
    fs::remove_file(sidecar).unwrap();
    let run = quick(&[]).exits(3);
    assert_eq!(events(&run, "damage").len(), 2, "{}", run.stderr);
    run.says(&["is missing"]);
}

#[test]
fn a_put_key_reads_no_frames() {
    let made = Made::small();
    let put = made.sandbox.path().join("put-key");
    made.sandbox.run(["key", "put", text(&put)]).exits(0);
    let run = made
        .sandbox
        .run(["verify", "--key", text(&put), text(&made.index)]);
    run.exits(1).says(&["put key"]);
    let run = made.sandbox.run(["verify", "--no-key", text(&made.index)]);
    run.exits(2);
}

#[test]
fn a_sample_of_frames_finds_what_is_in_it() {
    let made = Made::many();
    let brick = made.brick();
    let frames = brick_parts(&brick).frames.len();
    flip(&brick, brick_parts(&brick).frames[1].1.start, 1);
    let mut found = 0;
    for seed in 0..12 {
        let seed = seed.to_string();
        let index = text(&made.index);
        let arguments = [
            "verify",
            "--no-mark",
            "--json",
            "--sample",
            "1%",
            "--seed",
            &seed,
            index,
        ];
        let run = made.sandbox.run(arguments);
        let read = summary(&run)["bytes"].as_u64().unwrap();
        assert!(
            read < made.stream.len() as u64 / 2,
            "{read} in {frames} frames"
        );
        match run.code {
            Some(3) => found += 1,
            code => assert_eq!(code, Some(0), "{}", run.stderr),
        }
    }
    assert!((1..12).contains(&found), "{found}");
    let all = ["verify", "--no-mark", "--sample", "100%", text(&made.index)];
    made.sandbox.run(all).exits(3);
}

#[test]
fn lists_are_read_in_a_sample_and_passed_in_a_quick_check() {
    let body = Random(4).bytes(6 << 20);
    let stream = Stream::new()
        .file("before", b"x")
        .file("large", &body)
        .end();
    let made = Made::of(stream);
    let index = text(&made.index);
    made.sandbox
        .run(["verify", "--sample", "1%", index])
        .exits(0);
    fs::remove_dir_all(made.sandbox.store().join("tocs")).unwrap();
    fs::remove_file(made.brick()).unwrap();
    let run = made
        .sandbox
        .run(["verify", "--json", "--quick", index])
        .exits(3);
    let damage = events(&run, "damage");
    let large = damage
        .iter()
        .find(|event| event["member"] == "large")
        .unwrap();
    assert_eq!(
        (&large["start"], &large["end"]),
        (&0.into(), &body.len().into())
    );
}
