//! What goes wrong ends in a clear message, and a rerun finishes.

use std::fs;

use super::scene::{BLOCK, Scene, label_length};

/// Some bricks in containers of about 300 KB, and so many of these.
fn packed() -> (Scene, u32) {
    let scene = Scene::new();
    scene.archive(9);
    let containers = scene.pack("700K");
    assert!(containers >= 4, "{containers}");
    (scene, containers)
}

/// All containers are on tapes, and the last catalog names them.
#[track_caller]
fn finished(scene: &Scene, containers: u32) {
    let catalog = fs::read_to_string(scene.remembered()).unwrap();
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
    // In the label, in the second container, in the third one.
    let half = BLOCK / 2;
    let second = BLOCK + scene.length(1) + 3 * BLOCK + half;
    let third = second - half + scene.length(2) + 3 * BLOCK + half;
    for cut in [BLOCK + half, second, third] {
        scene.tape("T", &format!("capacity = 20_000_000\npower_cut = {cut}"));
        scene.load("T");
        let run = scene.write(&["--names", "A"], &[]);
        assert_eq!(run.code, Some(137), "{}", run.stderr);
    }
    scene.tape("T", "capacity = 20_000_000");
    scene.load("T");
    let run = scene.write(&["--names", "A"], &[]).exits(0);
    let adopted = run.stderr.matches("is on this tape already, whole").count();
    assert_eq!(adopted, 2, "{}", run.stderr);
    finished(&scene, containers);
    scene.load("T");
    scene
        .run(["verify"], &[])
        .exits(0)
        .says(&["cut off; it counts for nothing"]);
    println!("power cut: 3 runs cut, {adopted} containers found whole, nothing lost");
}

#[test]
fn each_fault_names_what_is_wrong() {
    let (scene, containers) = packed();
    // An empty drive, and nobody who could put in a tape.
    scene.write(&[], &[]).exits(1).says(&["No medium found"]);
    // A tape that nobody wrote with dtar.
    scene.tape("foreign", "capacity = 20_000_000");
    fs::write(scene.path("library/foreign/data"), [7; 512]).unwrap();
    fs::write(scene.path("library/foreign/layout"), "512\nmark\n").unwrap();
    scene
        .write(&[], &["foreign"])
        .exits(1)
        .says(&["not a tape of dtar", "--overwrite"]);
    // One that breaks, one that ends early, one that is good.
    let label = label_length();
    let in_first = label / BLOCK + 3;
    let in_second = label + scene.length(1) + 3 * BLOCK;
    scene.tape(
        "breaks",
        &format!("capacity = 20_000_000\nfail_write = [{in_first}]"),
    );
    scene.tape(
        "early",
        &format!("capacity = 20_000_000\nfull_after = {in_second}"),
    );
    scene.tape("good", "capacity = 20_000_000");
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
    scene.tape("T", "capacity = 20_000_000");
    scene.write(&["--names", "A"], &["T"]).exits(0);
    finished(&scene, containers);
    // The pages come first, then bricks.
    let block = label_length() / BLOCK + 8;
    scene.tape(
        "T",
        &format!("capacity = 20_000_000\nfail_read = [{block}]"),
    );
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
    scene.tape("T", "capacity = 20_000_000");
    scene.load("T");
    scene.run(["restore", "--to", "back"], &[]).exits(0);
    for name in scene.containers() {
        let same = fs::read(scene.path("back").join(&name)).unwrap()
            == fs::read(scene.path("containers").join(&name)).unwrap();
        assert!(same, "{name}");
    }
}

/// Containers on several tapes; returns these, in order.
fn on_tapes() -> (Scene, Vec<String>) {
    let (scene, containers) = packed();
    let tapes: Vec<_> = (1..=containers.div_ceil(2))
        .map(|number| format!("T{number}"))
        .collect();
    for tape in &tapes {
        scene.tape_for(2, tape, "");
    }
    let shelf: Vec<_> = tapes.iter().map(String::as_str).collect();
    scene.write(&["--names", "A,B,C,D,E,F"], &shelf).exits(0);
    finished(&scene, containers);
    for tape in &tapes {
        assert!(
            scene.path("library").join(tape).join("data").exists(),
            "{tape} was not used"
        );
    }
    (scene, tapes)
}

#[test]
fn a_damaged_catalog_is_told_and_other_tapes_have_it() {
    let (scene, tapes) = on_tapes();
    let last = tapes.last().unwrap().as_str();
    let layout = fs::read_to_string(scene.path("library").join(last).join("layout")).unwrap();
    let files: Vec<_> = layout.split("mark\n").collect();
    // The catalog is the last file before the two marks.
    let before: usize = files[..files.len() - 3]
        .iter()
        .map(|file| file.lines().count())
        .sum();
    scene.tape_for(2, last, &format!("flip = [{before}]"));
    scene.load(last);
    let mut shelf: Vec<_> = tapes.iter().map(String::as_str).collect();
    shelf.reverse();
    // Neither folder nor store is at hand.
    for name in ["containers", "store"] {
        fs::rename(scene.path(name), scene.path(&format!("{name}.aside"))).unwrap();
    }
    scene
        .run(["restore", "--to", "back"], &[])
        .exits(1)
        .says(&["is damaged", "dtar tape recover"]);
    let _ = fs::remove_file(scene.path("library/loaded"));
    scene.run(["recover"], &shelf).exits(1).says(&["--to FILE"]);
    let to = ["recover", "--to", "set.catalog"];
    scene.run(to, &shelf).exits(0).says(&["is left out"]);
    // With one tape missing it is named, and what was on it.
    let to = ["recover", "--to", "part.catalog"];
    scene.run(to, &shelf[..shelf.len() - 1]).exits(3).says(&[
        "container 1 is on none of these tapes: it should be on A",
        "not read: A",
    ]);
    for name in ["containers", "store"] {
        fs::rename(scene.path(&format!("{name}.aside")), scene.path(name)).unwrap();
    }
    let kept = fs::read_to_string(scene.remembered()).unwrap();
    for name in ["set.catalog", "part.catalog"] {
        assert_eq!(
            fs::read_to_string(scene.path(name)).unwrap(),
            kept,
            "{name}"
        );
    }
}

#[test]
fn a_wrong_tape_is_asked_for_again_by_name() {
    let (scene, tapes) = on_tapes();
    let last = scene.count().to_string();
    // The store knows which tape it is.
    let restore = ["restore", "--to", "back", "--containers", &last];
    let name = ["A", "B", "C", "D", "E", "F"][tapes.len() - 1];
    let needed = format!("this is the tape A, and {name} is needed");
    let asked = format!("changing tapes: the tape {name}");
    scene
        .run(restore, &["T1", tapes.last().unwrap()])
        .exits(0)
        .says(&[&needed, &asked]);
    assert_eq!(fs::read_dir(scene.path("back")).unwrap().count(), 1);
    fs::remove_dir_all(scene.path("back")).unwrap();
    let run = scene.run(restore, &["T1"; 9]).exits(3);
    assert_eq!(
        run.stderr.matches("changing tapes").count(),
        5,
        "{}",
        run.stderr
    );
}

#[test]
fn a_list_that_does_not_fit_the_tapes_is_named() {
    let (scene, containers) = packed();
    scene.tape_for(u64::from(containers), "T", "");
    scene.load("T");
    scene
        .write(&["--names", "A", "--keep-loaded"], &[])
        .exits(0);
    let store = crate::common::files::files(&scene.path("store/bricks"));
    let real = store.keys().next().unwrap().file_name().unwrap();
    let real = real.to_str().unwrap();
    let list = scene.path("list");
    fs::write(&list, format!("{real}\n{}\n", "ab".repeat(32))).unwrap();
    let restore = ["restore", "--only", "list", "--to", "thawed"];
    let run = scene.run(restore, &[]).exits(3);
    run.says(&[
        "1 brick on the list",
        "abab",
        "in no container of this set",
        "dtar plan",
    ]);
    assert!(
        scene
            .path("thawed/bricks")
            .join(&real[..2])
            .join(real)
            .exists()
    );
    fs::write(&list, "").unwrap();
    scene
        .run(restore, &[])
        .exits(0)
        .says(&["list of bricks is empty"]);
}
