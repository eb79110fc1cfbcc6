//! What goes wrong ends in a clear message, and a rerun finishes.

use std::fs;

use super::scene::Scene;
use crate::common::source::Random;

/// Some bricks in containers of about 300 KB, and so many of these.
fn packed() -> (Scene, u32) {
    let scene = Scene::new();
    let stream = Random(5).bytes(1_500_000);
    let index = scene.path("index.tar");
    scene
        .sandbox
        .archive_to(["--quiet", "--brick-size", "200K"], &stream[..], &index)
        .exits(0);
    let containers = scene.pack(400_000);
    assert!(containers >= 4, "{containers}");
    (scene, containers)
}

/// All containers are on tapes, and the last catalog names them.
#[track_caller]
fn finished(scene: &Scene, containers: u32) {
    let catalog = fs::read_to_string(scene.path("containers/5f5f5f5f-catalog.txt")).unwrap();
    let on_tape = catalog
        .lines()
        .filter(|line| line.starts_with("tape "))
        .count();
    assert_eq!(on_tape, containers as usize, "{catalog}");
    scene.write(&[], &[]).exits(0);
}

#[test]
fn a_power_cut_loses_nothing_and_the_next_run_goes_on() {
    let (scene, containers) = packed();
    let mut adopted = 0;
    for cut in [100_000, 600_000, 1_000_000, 1_400_000] {
        scene.tape("T", &format!("capacity = 9_000_000\npower_cut = {cut}"));
        scene.load("T");
        let run = scene.write(&["--names", "A"], &[]);
        assert_eq!(run.code, Some(137), "{}", run.stderr);
    }
    scene.tape("T", "capacity = 9_000_000");
    scene.load("T");
    let run = scene.write(&["--names", "A"], &[]).exits(0);
    adopted += run.stderr.matches("is on this tape already, whole").count();
    assert!(adopted >= 1, "{}", run.stderr);
    finished(&scene, containers);
    scene.load("T");
    scene
        .run(["verify"], &[])
        .exits(0)
        .says(&["cut off; it counts for nothing"]);
    println!("power cut: 4 runs cut, {adopted} containers found whole, nothing lost");
}

#[test]
fn each_fault_names_what_is_wrong() {
    let (scene, containers) = packed();
    // An empty drive, and nobody who could put in a tape.
    scene.write(&[], &[]).exits(1).says(&["No medium found"]);
    // A tape that nobody wrote with dtar.
    scene.tape("foreign", "capacity = 9_000_000");
    fs::write(scene.path("library/foreign/data"), [7; 512]).unwrap();
    fs::write(scene.path("library/foreign/layout"), "512\nmark\n").unwrap();
    scene
        .write(&[], &["foreign"])
        .exits(1)
        .says(&["not a tape of dtar", "--overwrite"]);
    // One that breaks, one that ends early, one that is good.
    scene.tape("breaks", "capacity = 9_000_000\nfail_write = [8]");
    scene.tape("early", "capacity = 9_000_000\nfull_after = 1_300_000");
    scene.tape("good", "capacity = 9_000_000");
    let tapes = ["breaks", "early", "good"];
    let run = scene.write(&["--names", "A,B,C"], &tapes).exits(0);
    let run = run.says(&[
        "writing failed",
        "ended earlier than it said",
        "written again",
        "MB/s",
        "underrun",
    ]);
    assert!(run.stderr.contains("C: container"), "{}", run.stderr);
    finished(&scene, containers);
    // The list of a tape says what is on it.
    scene.load("good");
    let list = String::from_utf8(scene.run(["list"], &[]).exits(0).stdout).unwrap();
    assert!(
        list.starts_with("C (id ") && list.contains("catalog"),
        "{list}"
    );
    // It is full of this set: neither a new name nor another set may have it.
    scene.load("good");
    scene
        .run(["label", "OTHER"], &[])
        .exits(1)
        .says(&["C is a tape of set", "--overwrite"]);
}

#[test]
fn a_bad_block_in_the_middle_is_told_by_verify_and_by_restore() {
    let (scene, containers) = packed();
    scene.tape("T", "capacity = 9_000_000");
    scene.write(&["--names", "A"], &["T"]).exits(0);
    finished(&scene, containers);
    scene.tape("T", "capacity = 9_000_000\nfail_read = [14]");
    scene.load("T");
    scene
        .run(["verify"], &[])
        .exits(3)
        .says(&["a block cannot be read", "damaged in it: bricks/"]);
    scene.load("T");
    scene
        .run(["restore", "--to", "back"], &[])
        .exits(3)
        .says(&["cannot be read", "not restored"]);
    // The tape is cleaned, and the same command finishes.
    scene.tape("T", "capacity = 9_000_000");
    scene.load("T");
    scene.run(["restore", "--to", "back"], &[]).exits(0);
    for number in 1..=containers {
        let name = format!("5f5f5f5f-{number:06}.tar");
        let same = fs::read(scene.path("back").join(&name)).unwrap()
            == fs::read(scene.path("containers").join(&name)).unwrap();
        assert!(same, "{name}");
    }
}

#[test]
fn a_damaged_catalog_is_told_and_another_tape_has_it() {
    let (scene, containers) = packed();
    for name in ["T1", "T2"] {
        scene.tape(name, "capacity = 1_700_000");
    }
    scene.write(&["--names", "A,B"], &["T1", "T2"]).exits(0);
    finished(&scene, containers);
    let layout = fs::read_to_string(scene.path("library/T2/layout")).unwrap();
    let blocks = layout.lines().filter(|line| *line != "mark").count();
    // The catalog is the last file, and a block long.
    scene.tape(
        "T2",
        &format!("capacity = 1_700_000\nflip = [{}]", blocks - 1),
    );
    scene.load("T2");
    scene
        .run(["restore", "--to", "back"], &[])
        .exits(1)
        .says(&["is damaged", "dtar tape recover"]);
    let _ = fs::remove_file(scene.path("library/loaded"));
    scene
        .run(["recover", "--to", "set.catalog"], &["T2", "T1"])
        .exits(0)
        .says(&["is damaged"]);
    let catalog = fs::read_to_string(scene.path("set.catalog")).unwrap();
    let kept = fs::read_to_string(scene.path("containers/5f5f5f5f-catalog.txt")).unwrap();
    assert_eq!(catalog, kept);
    // With one tape missing its containers are named.
    scene
        .run(["recover", "--to", "part.catalog"], &["T1"])
        .says(&["from 1 tape"]);
}

#[test]
fn a_wrong_tape_is_asked_for_again_by_name() {
    let (scene, containers) = packed();
    for name in ["T1", "T2"] {
        scene.tape(name, "capacity = 1_700_000");
    }
    scene.write(&["--names", "A,B"], &["T1", "T2"]).exits(0);
    let to = [
        "restore",
        "--from-catalog",
        "containers/5f5f5f5f-catalog.txt",
        "--to",
        "back",
    ];
    let last = containers.to_string();
    let only = ["--containers", &last];
    let arguments = || to.iter().chain(&only).copied();
    scene.run(arguments(), &["T1", "T2"]).exits(0).says(&[
        "this is the tape A, and B is needed",
        "changing tapes: the tape B",
    ]);
    fs::remove_dir_all(scene.path("back")).unwrap();
    let wrong = ["T1"; 9];
    let run = scene.run(arguments(), &wrong).exits(3);
    assert_eq!(
        run.stderr.matches("changing tapes").count(),
        5,
        "{}",
        run.stderr
    );
}
