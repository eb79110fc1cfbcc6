use std::collections::BTreeSet;
use std::fs;

use super::scene::{SET, Scene};
use crate::archive::Monitor;
use crate::tape::survey::{self, Labelled};
use crate::tape::{
    Catalog, Drive, FileState, RecoverEvent, RecoverSummary, RestoreEvent, RestoreOptions,
    RestoreSummary, What, recover, restore, verify,
};

/// How the files of a tape are.
fn states(scene: &Scene, tape: &str) -> Vec<FileState> {
    scene.load(tape);
    let mut drive = scene.drive();
    drive.load().unwrap();
    let Labelled::Yes(label) = survey::label(&mut drive).unwrap() else {
        panic!("no label on {tape}");
    };
    let mut states = Vec::new();
    verify(&mut drive, &label, None, &Monitor::default(), &mut |file| {
        states.push(file.state.clone());
    })
    .unwrap();
    states
}

/// Nothing on the tape is damaged; what was cut off is told as that.
#[track_caller]
pub fn assert_sound(scene: &Scene, tape: &str, log: &[String]) {
    for state in states(scene, tape) {
        let fine = matches!(state, FileState::Sound | FileState::CutOff);
        let cut_catalog = matches!(&state, FileState::Damaged(why) if why.contains("cut off"));
        assert!(fine || cut_catalog, "{state:?}: {log:?}");
    }
}

/// Five containers on three tapes.
fn written() -> Scene {
    let scene = Scene::new(&[10, 10, 10, 10, 10]);
    scene.tapes(&["A", "B", "C"]);
    scene.write(&["A", "B", "C"]).done();
    scene
}

fn add_fault(scene: &Scene, tape: &str, fault: &str) {
    scene.tape_for_two(tape, fault);
}

/// The number of the block with which a tape file begins.
fn block_of(scene: &Scene, tape: &str, file: usize) -> usize {
    scene.layout(tape)[..file].iter().sum()
}

fn recovered(scene: &Scene, tapes: &[&str]) -> (RecoverSummary, Vec<String>) {
    let mut log = Vec::new();
    let summary = recover(
        &mut scene.drive(),
        &mut scene.hand(tapes),
        None,
        None,
        &Monitor::default(),
        &mut |event| {
            log.push(match event {
                RecoverEvent::Tape(label) => format!("tape {}", label.name),
                RecoverEvent::DamagedCatalog(file, why) => format!("catalog {file}: {why}"),
                RecoverEvent::Reading(number) => format!("reading {number}"),
                RecoverEvent::LeftOut(file, why) => format!("left out {file}: {why}"),
                RecoverEvent::Failed(name, error) => format!("failed {name}: {error}"),
            });
        },
    )
    .unwrap();
    (summary, log)
}

fn restored(
    scene: &Scene,
    catalog: &Catalog,
    what: What,
    tapes: &[&str],
) -> (RestoreSummary, Vec<String>) {
    let options = RestoreOptions {
        what,
        to: scene.dir.path().join("to"),
    };
    let mut log = Vec::new();
    let summary = restore(
        catalog,
        &mut scene.drive(),
        &mut scene.hand(tapes),
        None,
        &options,
        &Monitor::default(),
        &mut |event| {
            log.push(match event {
                RestoreEvent::Tape(name, files) => format!("tape {name}: {files}"),
                RestoreEvent::Container(number) => format!("container {number}"),
                RestoreEvent::Damaged(number, name, why) => {
                    format!("damaged {number} on {name}: {why}")
                }
                RestoreEvent::NoTape(name, _) => format!("no tape {name}"),
            });
        },
    )
    .unwrap();
    (summary, log)
}

fn full(scene: &Scene) -> Catalog {
    let mut text = Vec::new();
    crate::tape::Containers::catalog(&scene.folder(), &mut text).unwrap();
    Catalog::parse(&text, std::path::Path::new("x")).unwrap().0
}

#[test]
fn a_sound_tape_is_sound_and_damage_names_the_brick() {
    let scene = written();
    assert!(
        states(&scene, "A")
            .iter()
            .all(|state| *state == FileState::Sound)
    );
    let block = block_of(&scene, "A", 2) + 3;
    for fault in [
        format!("flip = [{block}]"),
        format!("fail_read = [{block}]"),
    ] {
        add_fault(&scene, "A", &fault);
        let states = states(&scene, "A");
        assert_eq!(states[1], FileState::Sound);
        assert_eq!(states[3], FileState::Sound);
        let FileState::Damaged(why) = &states[2] else {
            panic!("{states:?}");
        };
        let named = |place| why.contains(&Scene::brick_name(2, place).to_string());
        assert!(named(0) || named(1), "{why}");
    }
}

#[test]
fn the_catalog_comes_back_from_tapes_in_any_order() {
    let scene = written();
    let expected = full(&scene);
    for order in [["A", "B", "C"], ["C", "A", "B"], ["B", "C", "A"]] {
        let (summary, log) = recovered(&scene, &order);
        assert_eq!(summary.catalog.places, expected.places);
        assert_eq!(summary.catalog, expected);
        assert!(summary.missing.is_empty() && summary.elsewhere.is_empty());
        assert!(
            !log.iter().any(|line| line.starts_with("reading")),
            "{log:?}"
        );
    }
}

#[test]
fn with_one_tape_missing_it_is_named_and_what_was_on_it() {
    let scene = written();
    let (summary, _) = recovered(&scene, &["A", "C"]);
    assert_eq!(summary.catalog, full(&scene));
    let names: Vec<_> = summary.missing.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["B"]);
    let numbers: Vec<_> = summary.elsewhere.keys().copied().collect();
    assert_eq!(numbers, [3, 4]);
    // The last one is missing: nobody knows of it.
    let (summary, _) = recovered(&scene, &["B", "A"]);
    assert_eq!(summary.catalog.places.len(), 4);
    assert!(summary.missing.is_empty());
}

#[test]
fn without_catalogs_the_containers_say_what_they_hold() {
    let scene = written();
    for (tape, file) in [("A", 3), ("B", 3), ("C", 2)] {
        let block = block_of(&scene, tape, file);
        add_fault(&scene, tape, &format!("flip = [{block}]"));
    }
    let (summary, log) = recovered(&scene, &["B", "C", "A"]);
    assert!(
        log.iter().any(|line| line.starts_with("reading 5")),
        "{log:?}"
    );
    let expected = full(&scene);
    assert_eq!(summary.catalog.places, expected.places);
    assert_eq!(summary.catalog.containers, expected.containers);
}

#[test]
fn a_tape_with_a_damaged_label_still_counts() {
    let scene = written();
    add_fault(&scene, "B", "fail_read = [0]");
    let (summary, log) = recovered(&scene, &["A", "B", "C"]);
    assert_eq!(summary.catalog, full(&scene), "{log:?}");
    assert_eq!(summary.read.len(), 3);
}

#[test]
fn containers_come_back_byte_for_byte_each_tape_loaded_once() {
    let scene = written();
    let catalog = full(&scene);
    let (summary, log) = restored(&scene, &catalog, What::Containers(None), &["A", "B", "C"]);
    assert_eq!(summary.tapes.len(), 3, "{log:?}");
    assert!(summary.lost.is_empty());
    for number in 1..=5 {
        let name = scene.container(number);
        let copy = scene.dir.path().join("to").join(name.file_name().unwrap());
        assert!(fs::read(copy).unwrap() == fs::read(name).unwrap());
    }
    // A rerun finds all there.
    let (summary, _) = restored(&scene, &catalog, What::Containers(None), &[]);
    assert_eq!((summary.files, summary.lost.len()), (0, 0));
}

#[test]
fn single_bricks_touch_the_fewest_tapes() {
    let scene = written();
    let wanted: BTreeSet<_> = [(3, 2), (3, 9), (4, 0)]
        .into_iter()
        .map(|(container, place)| Scene::brick_name(container, place))
        .collect();
    let names = wanted.clone();
    let what = What::Members {
        wanted: Box::new(move |name| names.contains(name)),
        config: true,
    };
    let (summary, log) = restored(&scene, &full(&scene), what, &["B"]);
    assert_eq!(log, ["tape B: 2", "container 3", "container 4"]);
    assert_eq!(summary.files, 4);
    let to = scene.dir.path().join("to");
    for name in wanted {
        assert!(to.join(name.to_string()).is_file());
    }
    assert_eq!(
        fs::read_to_string(to.join("store.toml")).unwrap(),
        super::scene::config()
    );
}

#[test]
fn a_bad_block_costs_a_brick_and_names_it() {
    let scene = written();
    let block = block_of(&scene, "B", 1) + 8;
    add_fault(&scene, "B", &format!("fail_read = [{block}]"));
    let (summary, log) = restored(
        &scene,
        &full(&scene),
        What::Containers(None),
        &["A", "B", "C"],
    );
    assert_eq!(summary.lost.len(), 1, "{log:?}");
    assert!(summary.lost[0].ends_with("000003.tar"));
    // What is sound of it is there.
    let to = scene.dir.path().join("to");
    let there = (0..10)
        .filter(|place| to.join(Scene::brick_name(3, *place).to_string()).is_file())
        .count();
    assert!((8..10).contains(&there), "{there}");
}

#[test]
fn another_copy_takes_the_place_of_a_damaged_one() {
    let scene = written();
    let first = full(&scene);
    // The same set once more, on other tapes.
    fs::remove_file(scene.containers().join("5f5f5f5f-catalog.txt")).unwrap();
    scene.tapes(&["X", "Y", "Z"]);
    let options = crate::tape::WriteOptions {
        label: crate::tape::LabelOptions {
            names: super::scene::names(&["X", "Y", "Z"]),
            ..super::scene::options().label
        },
        ..super::scene::options()
    };
    scene.write_with(&["X", "Y", "Z"], &options).done();
    let mut catalog = full(&scene);
    catalog.absorb(&first);
    assert_eq!(catalog.places.len(), 10);
    add_fault(&scene, "B", "broken = \"read\"");
    // B loads and does not read: Y has what it has.
    let (summary, log) = restored(
        &scene,
        &catalog,
        What::Containers(None),
        &["A", "B", "C", "Y"],
    );
    assert!(summary.lost.is_empty(), "{log:?}");
    assert_eq!(summary.files, 5);
}

#[test]
fn the_wrong_tape_is_refused_by_name() {
    let scene = written();
    let options = RestoreOptions {
        what: What::Containers(Some(BTreeSet::from([5]))),
        to: scene.dir.path().join("to"),
    };
    scene.tape("blank", "");
    let tapes = ["A", "blank", "C"];
    let mut hand = scene.hand(&tapes);
    let summary = restore(
        &full(&scene),
        &mut scene.drive(),
        &mut hand,
        None,
        &options,
        &Monitor::default(),
        &mut |_| {},
    )
    .unwrap();
    assert_eq!(summary.containers, BTreeSet::from([5]));
    assert_eq!(
        hand.asked,
        ["the tape C (1)", "the tape C (2)", "the tape C (3)"]
    );
    assert!(
        hand.refused[0].contains("this is the tape A, and C is needed"),
        "{:?}",
        hand.refused
    );
    assert!(hand.refused[1].contains("a blank tape"));
    assert!(
        scene
            .container(5)
            .to_str()
            .unwrap()
            .contains(&SET.to_string()[..8])
    );
}

#[test]
fn a_tape_that_fails_does_not_cost_what_others_say() {
    let scene = Scene::new(&[10, 60]);
    scene.tape("A", &format!("capacity = {}", scene.capacity(10)));
    scene.write(&["A"]).done();
    // Its catalog, and more of the second container than is tried.
    let (start, catalog) = (block_of(&scene, "A", 2), block_of(&scene, "A", 3));
    let end: usize = scene.layout("A").iter().sum();
    let blocks: Vec<_> = (start + 2..start + 120).chain(catalog..end).collect();
    scene.tape(
        "A",
        &format!("capacity = {}\nfail_read = {blocks:?}", scene.capacity(10)),
    );
    let (summary, log) = recovered(&scene, &["A", "A"]);
    assert!(
        log.iter().any(|line| line.starts_with("failed A")),
        "{log:?}"
    );
    assert!(summary.read.is_empty());
    assert_eq!(summary.missing, super::scene::names(&["A"]));
    assert!(summary.catalog.containers[&1].whole.is_some());
    assert_eq!(summary.elsewhere[&1], super::scene::names(&["A"]));
}

#[test]
fn what_is_not_named_by_its_hash_is_not_taken_from_another_tape() {
    let scene = written();
    let catalog = full(&scene);
    // The third tape's label cannot be read, so it may be the first one.
    add_fault(&scene, "C", "fail_read = [0]");
    let roots = || What::Members {
        wanted: Box::new(|name| matches!(name, crate::format::container::MemberName::Root(_))),
        config: false,
    };
    let (summary, log) = restored(&scene, &catalog, roots(), &["C", "B", "C"]);
    assert_eq!(summary.lost.len(), 2, "{log:?}");
    let found = crate::store::layout::Layout::new(scene.dir.path().join("to"));
    assert_eq!(found.runs().unwrap().len(), 3, "{log:?}");
}
