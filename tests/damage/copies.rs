//! Files where they do not belong.

use std::fs;
use std::path::Path;

use crate::made::{is_beginning, text};
use crate::scene::Scene;

/// What is restored is right, or the beginning of it and an error.
#[track_caller]
fn restores_or_refuses(scene: &Scene, case: &str) {
    let run = scene.restore();
    if run.code == Some(0) {
        assert!(run.stdout == scene.stream, "{case}: wrong bytes");
    } else {
        assert!(matches!(run.code, Some(1 | 3)), "{case}: {}", run.stderr);
        if run.stdout.len() == scene.stream.len() {
            // All chunks were there, and then something else was wrong.
            assert!(run.stdout == scene.stream, "{case}: wrong bytes");
        } else {
            is_beginning(&run.stdout, &scene.stream);
        }
    }
}

/// Archiving refuses, or what it writes restores to the right bytes.
#[track_caller]
fn archives_or_refuses(scene: &Scene, case: &str) {
    let index = scene.sandbox.path().join("again.tar");
    let run = scene
        .sandbox
        .archive_to(["--quiet"], &scene.stream[..], &index);
    match run.code {
        Some(0) => {
            let again = scene.sandbox.run(["restore", text(&index)]);
            assert_eq!(again.code, Some(0), "{case}: {}", again.stderr);
            assert!(again.stdout == scene.stream, "{case}: wrong bytes");
        }
        code => assert!(matches!(code, Some(1 | 3)), "{case}: {}", run.stderr),
    }
}

#[test]
fn copies_under_other_names_are_found_or_are_strays() {
    let scene = Scene::new();
    let other = "ab".repeat(32);
    for (kind, name) in [
        ("bricks", format!("bricks/ab/{other}.brick")),
        ("meta", format!("meta/ab/{other}.brick")),
        ("tocs", format!("tocs/ab/{other}.toc")),
        (
            "roots",
            "roots/00000000000000000007-0123456789abcdef.root".into(),
        ),
    ] {
        let scene = scene.copy();
        let copy = scene.file(Path::new(&name));
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(scene.file(&scene.files(kind)[0]), &copy).unwrap();
        scene.verify(&["--no-mark"]).exits(3).says(&[text(&copy)]);
        restores_or_refuses(&scene, &name);
        archives_or_refuses(&scene, &name);
    }
    // What is none of ours, and a snapshot, which is never written before its root.
    let readme = scene.file(Path::new("bricks/README"));
    fs::write(&readme, "").unwrap();
    let run = scene.verify(&[]).exits(0);
    run.says(&[text(&readme), "belongs to nothing"]);
    let snapshot = scene.file(Path::new(
        "snapshots/00000000000000000007-0123456789abcdef.snap",
    ));
    fs::copy(scene.file(&scene.files("snapshots")[0]), &snapshot).unwrap();
    let root = scene.file(Path::new(
        "roots/00000000000000000007-0123456789abcdef.root",
    ));
    scene.verify(&[]).exits(3).says(&[text(&root), "missing"]);
}

#[test]
fn a_brick_in_the_wrong_folder_is_a_fault() {
    let scene = Scene::new();
    let brick = scene.file(&scene.files("bricks")[0]);
    let wrong = text(&brick).replace("/bricks/", "/meta/");
    fs::create_dir_all(Path::new(&wrong).parent().unwrap()).unwrap();
    fs::copy(&brick, &wrong).unwrap();
    for arguments in [&[][..], &["--no-key"]] {
        scene
            .verify(arguments)
            .exits(3)
            .says(&[&wrong, "belongs into"]);
    }
    // It is in no way damaged.
    assert!(!scene.sandbox.store().join("bad").exists());
}
