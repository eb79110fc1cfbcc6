use std::fs;

use super::scene::{BLOCK, Scene, names, options};
use crate::archive::Monitor;
use crate::format::container::CATALOG;
use crate::format::tape::{LABEL_MEMBER, SUMS_MEMBER};
use crate::tape::plan::Room;
use crate::tape::survey::{self, Labelled};
use crate::tape::{Drive, WriteOptions, label_tape, plan, ustar};

/// The bytes of a tape file, as `dd` would read them behind `mt fsf`.
fn tape_file(scene: &Scene, tape: &str, number: usize) -> Vec<u8> {
    let layout = scene.layout(tape);
    let block = BLOCK as usize;
    let start: usize = layout[..number].iter().sum();
    let data = fs::read(scene.library().join(tape).join("data")).unwrap();
    data[start * block..(start + layout[number]) * block].to_vec()
}

#[test]
fn a_set_spans_tapes_and_each_ends_with_a_catalog() {
    let scene = Scene::new(&[10, 10, 10, 10, 10]);
    scene.tapes(&["A", "B", "C"]);
    let summary = scene.write(&["A", "B", "C"]).done();
    let written: Vec<_> = summary
        .tapes
        .iter()
        .map(|tape| (tape.name.as_str(), tape.containers.clone()))
        .collect();
    assert_eq!(
        written,
        [("A", vec![1, 2]), ("B", vec![3, 4]), ("C", vec![5])]
    );
    for (tape, containers) in [("A", [1, 2]), ("B", [3, 4])] {
        // Label, two containers, catalog, and nothing between the two marks at the end.
        assert_eq!(scene.layout(tape).len(), 6);
        assert_eq!(scene.layout(tape)[4..], [0, 0]);
        let label = tape_file(&scene, tape, 0);
        assert_eq!(ustar::members(&label).next().unwrap().0, LABEL_MEMBER);
        for (at, number) in containers.into_iter().enumerate() {
            let file = tape_file(&scene, tape, at + 1);
            let container = fs::read(scene.container(number)).unwrap();
            assert_eq!(file[..container.len()], container);
            assert!(file[container.len()..].iter().all(|byte| *byte == 0));
        }
        let last = tape_file(&scene, tape, 3);
        let members: Vec<_> = ustar::members(&last).map(|(name, _)| name).collect();
        assert_eq!(members, [CATALOG, SUMS_MEMBER]);
    }
    let on = |pairs: &[(u32, &str)]| -> Vec<_> {
        pairs
            .iter()
            .map(|(number, name)| (*number, (*name).to_owned()))
            .collect()
    };
    assert_eq!(
        scene.places(),
        on(&[(1, "A"), (2, "A"), (3, "B"), (4, "B"), (5, "C")])
    );
    // There is nothing left to do, and nobody is asked for a tape.
    assert!(scene.write(&[]).done().tapes.is_empty());
}

#[test]
fn checksums_are_those_that_sha256sum_checks() {
    let scene = Scene::new(&[3, 4]);
    scene.tape("A", "capacity = 1_000_000");
    scene.write(&["A"]).done();
    let catalog = tape_file(&scene, "A", 3);
    let dir = scene.containers();
    for (name, body) in ustar::members(&catalog) {
        fs::write(dir.join(name), body).unwrap();
    }
    let output = std::process::Command::new("sha256sum")
        .args(["--check", "--strict", SUMS_MEMBER])
        .current_dir(&dir)
        .output()
        .unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{listed}");
    assert_eq!(listed.matches(": OK").count(), 3);
}

#[test]
fn a_later_run_goes_on_behind_the_last_catalog() {
    let scene = Scene::new(&[5, 5]);
    scene.tape("A", "capacity = 2_000_000");
    let second = scene.container(2);
    let aside = second.with_extension("aside");
    fs::rename(&second, &aside).unwrap();
    scene.write(&["A"]).done();
    let before = fs::read(scene.library().join("A/data")).unwrap();
    fs::rename(&aside, &second).unwrap();
    let outcome = scene.write(&["A"]);
    assert!(
        outcome.log.contains(&"container 2 at 3".to_owned()),
        "{:?}",
        outcome.log
    );
    outcome.done();
    let layout = scene.layout("A");
    // Label, container, catalog, container, catalog.
    assert_eq!(layout.len(), 7);
    assert!(layout[..5].iter().all(|blocks| *blocks > 0), "{layout:?}");
    let after = fs::read(scene.library().join("A/data")).unwrap();
    assert_eq!(after[..before.len()], before);
}

#[test]
fn a_plan_is_what_a_run_does() {
    let scene = Scene::new(&[10, 3, 12, 10, 1, 20]);
    scene.tapes(&["A", "B", "C", "D"]);
    let mut drive = scene.drive();
    scene.load("A");
    drive.load().unwrap();
    let label = label_tape(
        &mut drive,
        &Labelled::Blank,
        "A".parse().unwrap(),
        &options().label,
        &Monitor::default(),
    )
    .unwrap();
    let free = scene.capacity(2) - drive.used().unwrap().unwrap();
    let room = Room {
        block: BLOCK,
        reserve: options().reserve,
    };
    let plan = plan(&mut scene.folder(), Some((label.name, free)), free, room).unwrap();
    let planned: Vec<Vec<u32>> = plan
        .tapes
        .iter()
        .map(|tape| tape.containers.iter().map(|(number, _)| *number).collect())
        .collect();
    let written: Vec<_> = scene
        .write_with(
            &["A", "B", "C", "D"],
            &WriteOptions {
                label: crate::tape::LabelOptions {
                    names: names(&["B", "C", "D"]),
                    ..options().label
                },
                ..options()
            },
        )
        .done()
        .tapes
        .into_iter()
        .map(|tape| tape.containers)
        .collect();
    assert_eq!(planned, written);
    assert!(planned.len() > 2);
    assert_eq!(plan.tapes[0].name.as_ref().unwrap().to_string(), "A");
}

#[test]
fn a_container_that_fits_on_no_tape_is_named() {
    let scene = Scene::new(&[2, 100]);
    scene.tapes(&["A", "B"]);
    let outcome = scene.write(&["A", "B"]);
    let error = outcome.result.unwrap_err().to_string();
    assert!(
        error.contains("container 2") && error.contains("smaller containers"),
        "{error}"
    );
    assert_eq!(scene.places(), [(1, "A".to_owned())]);
}

#[test]
fn tapes_that_are_labelled_keep_name_and_id() {
    let scene = Scene::new(&[2]);
    scene.tapes(&["shelf-7"]);
    scene.load("shelf-7");
    let mut drive = scene.drive();
    drive.load().unwrap();
    let label = label_tape(
        &mut drive,
        &Labelled::Blank,
        "STICKER".parse().unwrap(),
        &options().label,
        &Monitor::default(),
    )
    .unwrap();
    drop(drive);
    scene.write(&[]).done();
    assert_eq!(scene.places(), [(1, "STICKER".to_owned())]);
    scene.load("shelf-7");
    let mut drive = scene.drive();
    drive.load().unwrap();
    let Labelled::Yes(found) = survey::label(&mut drive).unwrap() else {
        panic!("no label");
    };
    assert_eq!((found.id, found.name), (label.id, label.name));
    assert!(found.owner.is_some());
    let error = label_tape(
        &mut drive,
        &survey::label(&mut scene_drive(&scene)).unwrap(),
        "OTHER".parse().unwrap(),
        &options().label,
        &Monitor::default(),
    )
    .unwrap_err();
    assert!(error.to_string().contains("--overwrite"), "{error}");
}

fn scene_drive(scene: &Scene) -> impl Drive {
    let mut drive = scene.drive();
    drive.load().unwrap();
    drive
}
