use std::fs;

use super::scene::{Scene, options};
use crate::error::Exit;
use crate::tape::{Folder, LabelOptions, WriteOptions};

/// The containers of a set are on tapes, each once, and all of them are right.
#[track_caller]
fn all_on_tape(scene: &Scene, count: u32) {
    let mut numbers: Vec<_> = scene
        .places()
        .into_iter()
        .map(|(number, _)| number)
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=count).collect::<Vec<_>>());
}

#[test]
fn a_tape_that_ends_early_still_gets_its_catalog() {
    for early_warning in [0, 40_000] {
        let scene = Scene::new(&[10, 10, 10]);
        // It says that there is room for two and a half, and ends in the second one.
        let end = scene.capacity(2) - 130_000;
        scene.tape_for_two(
            "A",
            &format!("full_after = {end}\nearly_warning = {early_warning}"),
        );
        scene.tapes(&["B"]);
        let outcome = scene.write(&["A", "B"]);
        let void = outcome.log.iter().any(|line| {
            line.starts_with("void 2: ") && line.contains("ended earlier than it said")
        });
        assert!(void, "{:?}", outcome.log);
        assert!(
            !outcome
                .log
                .iter()
                .any(|line| line.starts_with("no catalog"))
        );
        outcome.done();
        // Label, one container, the catalog in the place of the second one.
        assert_eq!(scene.layout("A").len(), 5);
        all_on_tape(&scene, 3);
    }
}

#[test]
fn a_tape_that_fails_in_the_middle_is_left_and_the_next_one_goes_on() {
    let scene = Scene::new(&[10, 10, 10]);
    // In the second container.
    let block = scene.capacity(2) / 4096 - 45;
    scene.tape_for_two("A", &format!("fail_write = [{block}]"));
    scene.tapes(&["B"]);
    let outcome = scene.write(&["A", "B"]);
    assert!(
        outcome
            .log
            .iter()
            .any(|line| line.starts_with("void 2: writing failed")),
        "{:?}",
        outcome.log
    );
    let summary = outcome.done();
    assert_eq!(summary.tapes[0].containers, [1]);
    assert_eq!(summary.tapes[1].containers, [2, 3]);
    all_on_tape(&scene, 3);
}

#[test]
fn what_cannot_be_read_back_is_written_again() {
    for (fault, why) in [
        ("fail_read", "cannot be read"),
        ("flip", "not what was written"),
    ] {
        let scene = Scene::new(&[10, 10, 10]);
        let block = scene.capacity(2) / 4096 - 45;
        scene.tape_for_two("A", &format!("{fault} = [{block}]"));
        scene.tapes(&["B"]);
        let outcome = scene.write(&["A", "B"]);
        let void = outcome.log.iter().find(|line| line.starts_with("void"));
        let void = void.unwrap_or_else(|| panic!("{:?}", outcome.log));
        assert!(void.contains(why), "{void}");
        outcome.done();
        all_on_tape(&scene, 3);
    }
}

#[test]
fn tapes_of_no_use_are_passed_over_until_there_are_too_many() {
    let scene = Scene::new(&[2]);
    for (name, broken) in [("L", "load"), ("W", "write"), ("R", "read")] {
        scene.tape(name, &format!("capacity = 1_000_000\nbroken = {broken:?}"));
    }
    scene.tape("good", "capacity = 1_000_000");
    let outcome = scene.write(&["L", "W", "R", "good"]);
    // One that does not load, one that does not take its label. The third is written, and
    // not believed. Of the drive, which was empty at first, nothing is said.
    assert_eq!(outcome.refused.len(), 2, "{:?}", outcome.refused);
    outcome.done();
    // The tape that did not take its label has left the name to the next one.
    assert_eq!(scene.places(), [(1, "B".to_owned())]);
    let scene = Scene::new(&[2]);
    scene.tape("L", "capacity = 1_000_000\nbroken = \"load\"");
    let outcome = scene.write(&["L"; 9]);
    // Five attempts; the last one ends the run.
    assert_eq!(outcome.refused.len(), 4, "{:?}", outcome.refused);
    assert!(outcome.result.is_err());
}

#[test]
fn other_tapes_are_refused_unless_they_may_be_overwritten() {
    let scene = Scene::new(&[2]);
    scene.tape("foreign", "capacity = 1_000_000");
    let block = "x".repeat(512);
    fs::write(scene.library().join("foreign/data"), &block).unwrap();
    fs::write(scene.library().join("foreign/layout"), "512\nmark\nmark\n").unwrap();
    let before = fs::read(scene.library().join("foreign/data")).unwrap();
    let outcome = scene.write(&["foreign"]);
    assert!(
        outcome
            .refused
            .iter()
            .any(|why| why.contains("not a tape of dtar")),
        "{:?}",
        outcome.refused
    );
    let error = outcome.result.unwrap_err().to_string();
    assert!(error.contains("--overwrite"), "{error}");
    assert_eq!(
        fs::read(scene.library().join("foreign/data")).unwrap(),
        before
    );
    let told = WriteOptions {
        label: LabelOptions {
            overwrite: true,
            ..options().label
        },
        ..options()
    };
    scene.write_with(&["foreign"], &told).done();
    all_on_tape(&scene, 1);
}

#[test]
fn two_runs_do_not_write_from_one_folder() {
    let scene = Scene::new(&[2]);
    let first = scene.folder();
    let error = Folder::open(&scene.containers(), None).unwrap_err();
    assert!(error.to_string().contains("another run"), "{error}");
    drop(first);
    scene.folder();
}

#[test]
fn the_tapes_of_another_set_are_not_touched() {
    let other = Scene::new(&[1]);
    other.tape("A", "capacity = 1_000_000");
    other.write(&["A"]).done();
    let scene = Scene::new(&[2]);
    let text = fs::read_to_string(other.library().join("A/layout")).unwrap();
    scene.tape("A", "capacity = 1_000_000");
    // The same tape with another set in its label.
    let data = fs::read(other.library().join("A/data")).unwrap();
    let altered = replace(&data, b"set 5f5f", b"set 6f6f");
    fs::write(scene.library().join("A/data"), &altered).unwrap();
    fs::write(scene.library().join("A/layout"), text).unwrap();
    let outcome = scene.write(&["A"]);
    assert!(
        outcome
            .refused
            .iter()
            .any(|why| why.contains("is a tape of set 6f6f")),
        "{:?}",
        outcome.refused
    );
    assert!(outcome.result.is_err());
    assert_eq!(fs::read(scene.library().join("A/data")).unwrap(), altered);
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes
        .windows(from.len())
        .position(|part| part == from)
        .unwrap();
    let mut bytes = bytes.to_vec();
    bytes[at..at + to.len()].copy_from_slice(to);
    bytes
}

#[test]
fn a_brick_that_changed_is_named_and_the_rest_of_the_tape_counts() {
    let scene = Scene::new(&[3, 3, 3]);
    scene.tape("A", "capacity = 2_000_000");
    let path = scene.container(2);
    let whole = fs::read(&path).unwrap();
    let brick = Scene::brick(2, 1);
    let mut damaged = whole.clone();
    let at = damaged
        .windows(brick.len())
        .position(|part| part == brick)
        .unwrap();
    damaged[at + 77] ^= 1;
    fs::write(&path, &damaged).unwrap();
    let outcome = scene.write(&["A"]);
    let summary = outcome.result.unwrap();
    let error = summary.source_error.unwrap();
    assert!(
        error
            .to_string()
            .contains(&Scene::brick_name(2, 1).to_string()),
        "{error}"
    );
    assert_eq!(error.exit(), Exit::Damaged);
    assert_eq!(scene.places(), [(1, "A".to_owned())]);
    fs::write(&path, &whole).unwrap();
    scene.write(&["A"]).done();
    all_on_tape(&scene, 3);
}

#[test]
fn a_run_that_was_cut_off_anywhere_is_gone_on_with() {
    let whole = {
        let scene = Scene::new(&[2, 3, 1]);
        scene.tape("A", "capacity = 2_000_000");
        scene.write(&["A"]).done();
        fs::read_to_string(scene.library().join("A/layout")).unwrap()
    };
    let lines: Vec<_> = whole.lines().collect();
    let data = |lines: &[&str]| {
        lines
            .iter()
            .filter_map(|line| line.parse::<usize>().ok())
            .sum()
    };
    // The label is long, and one place in it as good as another.
    let label = lines.iter().position(|line| *line == "mark").unwrap();
    let cuts = (0..label).step_by(30).chain(label..lines.len());
    for cut in cuts {
        let scene = Scene::new(&[2, 3, 1]);
        scene.tape("A", "capacity = 2_000_000");
        scene.write(&["A"]).done();
        // As the power cut has left it: so many blocks and marks, and nobody remembers.
        let path = scene.library().join("A");
        fs::write(path.join("layout"), lines[..cut].join("\n") + "\n").unwrap();
        if cut == 0 {
            fs::write(path.join("layout"), "").unwrap();
        }
        let file = fs::OpenOptions::new()
            .write(true)
            .open(path.join("data"))
            .unwrap();
        let length: usize = data(&lines[..cut]);
        file.set_len(length as u64).unwrap();
        fs::remove_file(scene.containers().join("5f5f5f5f-catalog.txt")).unwrap();
        scene.tape("B", "capacity = 2_000_000");
        let told = WriteOptions {
            label: LabelOptions {
                overwrite: true,
                ..options().label
            },
            ..options()
        };
        let outcome = scene.write_with(&["A", "B"], &told);
        let log = outcome.log.clone();
        assert!(
            outcome.result.is_ok(),
            "{cut}: {:?} {log:?}",
            outcome.result.err()
        );
        all_on_tape(&scene, 3);
        scene.load("A");
        super::reading::assert_sound(&scene, "A", &log);
    }
}
