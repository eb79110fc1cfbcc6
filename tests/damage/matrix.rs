//! Each kind of damage to each kind of file, seen by `verify`, `rebuild`, `restore` and
//! archiving.

use std::fs;
use std::path::{Path, PathBuf};

use crate::made::{cut, flip, is_beginning, length, text};
use crate::scene::{KINDS, Scene};

/// Ways to damage a file; the second file is another of its kind.
const DAMAGES: [&str; 9] = [
    "flip", "truncate", "empty", "grow", "zero", "delete", "swap", "replace", "folder",
];

/// Does the damage; whether it could be done.
fn damage(how: &str, file: &Path, other: Option<&Path>) -> bool {
    let size = length(file);
    match how {
        "flip" => flip(file, size / 2, 0x10),
        "truncate" => cut(file, size * 2 / 3),
        "empty" => cut(file, 0),
        "grow" => {
            let mut bytes = fs::read(file).unwrap();
            bytes.push(0);
            fs::write(file, bytes).unwrap();
        }
        "zero" => fs::write(file, vec![0; usize::try_from(size).unwrap()]).unwrap(),
        "delete" => fs::remove_file(file).unwrap(),
        "swap" | "replace" => {
            let Some(other) = other else { return false };
            let (one, two) = (fs::read(file).unwrap(), fs::read(other).unwrap());
            fs::write(file, two).unwrap();
            if how == "swap" {
                fs::write(other, one).unwrap();
            }
        }
        _ => {
            fs::remove_file(file).unwrap();
            fs::create_dir(file).unwrap();
        }
    }
    true
}

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

/// Whether `verify` may pass over the damage: a brick that is not here may have been
/// moved away, and without a key nobody knows what a root needs.
fn is_no_fault(kind: &str, how: &str, keyless: bool) -> bool {
    let gone = how == "delete";
    match kind {
        "bricks" | "meta" => gone,
        "roots" => gone || keyless,
        "snapshots" | "store.toml" => keyless,
        _ => false,
    }
}

/// Verifies; whether something was found, which must name the file.
#[track_caller]
fn finds(scene: &Scene, arguments: &[&str], file: &Path, case: &str) -> bool {
    let run = scene.verify(arguments);
    if run.code == Some(0) {
        return false;
    }
    let named = if file.exists() || !file.ends_with("store.toml") {
        text(file)
    } else {
        "store.toml"
    };
    let code = run.code;
    assert!(
        matches!(code, Some(1 | 3)),
        "{case}: {code:?} {}",
        run.stderr
    );
    assert!(run.stderr.contains(named), "{case}: {}", run.stderr);
    true
}

#[test]
fn damage_to_any_file_is_found_and_costs_nothing_else() {
    let whole = Scene::new();
    let whole_run = whole.verify(&[]).exits(0);
    assert!(
        whole_run.stderr.contains("no fault"),
        "{}",
        whole_run.stderr
    );
    let (mut injected, mut detected, mut mended) = (0, 0, 0);
    for kind in KINDS {
        let files = whole.files(kind);
        assert!(!files.is_empty(), "no {kind}");
        for how in DAMAGES {
            let scene = whole.copy();
            let paths: Vec<PathBuf> = files.iter().map(|file| scene.file(file)).collect();
            if !damage(how, &paths[0], paths.get(1).map(PathBuf::as_path)) {
                continue;
            }
            let case = format!("{how} of {}", files[0].display());
            injected += 1;
            let found = finds(&scene, &["--no-mark"], &paths[0], &case);
            assert!(found || is_no_fault(kind, how, false), "{case}: not found");
            detected += usize::from(found || how == "delete");
            let found = finds(&scene, &["--no-key", "--no-mark"], &paths[0], &case);
            assert!(found || is_no_fault(kind, how, true), "{case}: not found");
            assert!(!scene.sandbox.store().join("bad").exists(), "{case}");
            restores_or_refuses(&scene, &case);

            let rebuilt = scene.sandbox.run(["rebuild"]);
            assert!(matches!(rebuilt.code, Some(0 | 1 | 3)), "{case}");
            if kind == "tocs" && how != "folder" {
                assert_eq!(rebuilt.code, Some(0), "{case}: {}", rebuilt.stderr);
                scene.verify(&[]).exits(0);
                assert!(fs::read(&paths[0]).unwrap() == fs::read(whole.file(&files[0])).unwrap());
                mended += 1;
            }
            restores_or_refuses(&scene, &case);
            // Marks what must not be relied upon.
            scene.verify(&[]);
            let is_away = kind == "bricks" && how == "delete";
            if !is_away {
                archives_or_refuses(&scene, &case);
            }
        }
    }
    println!("faults injected {injected}, detected {detected}, sidecars mended {mended}");
    assert_eq!(injected, detected);
    assert!(injected > 45, "{injected}");
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
