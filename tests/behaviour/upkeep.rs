//! `dtar store` tells what comes and goes; and what becomes of roots, bricks and notes of
//! another epoch.

use std::fs;
use std::path::Path;

use dtar::brick::seal_note;
use dtar::crypto::Key;
use dtar::format::note::{Note, NoteKind};
use dtar::id::{BrickName, Epoch, WriterId};
use dtar::key_file;
use dtar::store::Store;
use dtar::store::layout::RunName;
use dtar::store::runs::{Lease, new_note};
use serde_json::Value;

use crate::common::files::files;
use crate::common::sandbox::Sandbox;
use crate::common::source::Random;
use crate::json::summary;

fn key(sandbox: &Sandbox) -> Key {
    key_file::load(&sandbox.key(), &mut |_| unreachable!()).unwrap()
}

fn told(sandbox: &Sandbox) -> Value {
    let run = sandbox.run(["store", "--json"]).exits(0);
    serde_json::from_slice(&run.stdout).unwrap()
}

fn text(sandbox: &Sandbox) -> String {
    String::from_utf8(sandbox.run(["store"]).exits(0).stdout).unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn length(value: &Value) -> usize {
    value.as_array().unwrap().len()
}

/// Three runs, of which the second made no snapshot.
fn three_runs() -> Sandbox {
    let sandbox = Sandbox::new();
    for (label, option) in [
        ("one", None),
        ("two", Some("--no-snapshot")),
        ("three", None),
    ] {
        let index = sandbox.path().join(label);
        let options = ["-q", "--label", label].into_iter().chain(option);
        sandbox
            .archive_to(options, label.as_bytes(), &index)
            .exits(0);
    }
    sandbox
}

#[test]
fn where_nothing_is_at_work_little_is_told() {
    let sandbox = three_runs();
    let quiet = told(&sandbox);
    for list in ["runs", "dead_lists", "marks", "snapshots_without_root"] {
        assert_eq!(length(&quiet[list]), 0, "{list}");
    }
    assert_eq!(quiet["parity"]["sets"], 0);
    let lone = &quiet["roots_without_snapshot"];
    assert_eq!((length(lone), &lone[0]["label"]), (1, &"two".into()));
    assert_eq!(lone[0]["lost"], false);
    let text = text(&sandbox);
    assert!(text.contains("no snapshot 1"), "{text}");
    for words in ["runs ", "dead lists", "damaged", "no root", "parity"] {
        assert!(!text.contains(words), "{words:?}: {text}");
    }
}

/// A store in which all that comes and goes is there; the lease of the run at work.
fn busy() -> (Sandbox, Lease) {
    let sandbox = three_runs();
    // A run at work, one that was cut off, a list, marks with and without a seal.
    let key = key(&sandbox);
    let store = Store::open(&sandbox.store(), &key).unwrap();
    let keys = store.put_keys(&key).unwrap();
    let lease = Lease::take(&store, &keys, NoteKind::ArchiverLease, "night\nly").unwrap();
    fs::create_dir(store.layout().run_dir(&RunName::draw(7).unwrap())).unwrap();
    let name = RunName::draw(1_700_000_000_000_000_000).unwrap();
    let list = Note {
        bricks: vec![BrickName([1; 32]), BrickName([2; 32])],
        ..new_note(NoteKind::DeadList, Some(&name), WriterId([3; 16]))
    };
    let layout = store.layout();
    fs::create_dir(layout.dead_dir()).unwrap();
    fs::write(layout.dead_path(&name), seal_note(&keys, &list).unwrap()).unwrap();
    store
        .mark(&keys, &BrickName([4; 32]), "frame 3 is gone")
        .unwrap();
    fs::write(layout.mark_path(&BrickName([5; 32])), "").unwrap();
    // Halves: a snapshot that is lost, and a root.
    let snapshots = layout.snapshots().unwrap();
    fs::remove_file(layout.root_path(&snapshots[0])).unwrap();
    fs::remove_file(layout.snapshot_path(&snapshots[1])).unwrap();
    sandbox
        .run(["parity", "add", "-q", "--share", "50%"])
        .exits(0);
    (sandbox, lease)
}

#[test]
fn what_comes_and_goes_is_told() {
    let (sandbox, lease) = busy();
    let sealed = BrickName([4; 32]);
    let value = told(&sandbox);
    let runs = &value["runs"];
    assert_eq!(length(runs), 2);
    assert_eq!(
        (&runs[0]["dead"], &runs[0]["kind"]),
        (&true.into(), &"unknown".into())
    );
    assert_eq!(
        (&runs[1]["dead"], &runs[1]["kind"]),
        (&false.into(), &"archive".into())
    );
    assert_eq!(runs[1]["name"], lease.name().to_string());
    assert_eq!(
        (&runs[1]["label"], &runs[1]["process"]),
        (&"night\nly".into(), &std::process::id().into())
    );
    assert!(!runs[1]["host"].as_str().unwrap().is_empty());
    let lists = &value["dead_lists"];
    assert_eq!((length(lists), &lists[0]["bricks"]), (1, &2.into()));
    assert_eq!(lists[0]["time"], "2023-11-14T22:13:20Z");
    let marks = &value["marks"];
    assert_eq!(length(marks), 2);
    assert_eq!(
        (&marks[0]["name"], &marks[0]["text"]),
        (&sealed.to_string().into(), &"frame 3 is gone".into())
    );
    assert_eq!(
        (&marks[0]["sealed"], &marks[1]["sealed"]),
        (&true.into(), &false.into())
    );
    let lone = &value["roots_without_snapshot"];
    assert_eq!((length(lone), &lone[1]["label"]), (2, &"three".into()));
    assert_eq!(
        (&lone[0]["lost"], &lone[1]["lost"]),
        (&false.into(), &true.into())
    );
    let lone = names(&sandbox.store().join("snapshots"));
    let name = value["snapshots_without_root"][0]["name"].as_str().unwrap();
    assert_eq!(lone, [format!("{name}.snap")]);
    let parity = &value["parity"];
    assert_eq!(
        (&parity["sets"], &parity["unusable"]),
        (&1.into(), &0.into())
    );
    assert!(parity["bytes"].as_u64().unwrap() > 0);
}

#[test]
fn people_are_told_the_same() {
    let (sandbox, _lease) = busy();
    let text = text(&sandbox);
    for words in [
        "runs        2",
        "  unknown, cut off",
        "  archive  ",
        "  night\\nly",
        "dead lists  1",
        "2 bricks to be deleted",
        "damaged     2",
        "frame 3 is gone",
        "not sealed",
        "no snapshot 2",
        "its file was not written, or was lost",
        "no root     1",
        "gc stops",
        "parity      1 set,",
    ] {
        assert!(text.contains(words), "{words:?}: {text}");
    }
}

/// It keeps runs from beginning, so this is the place where it must show.
#[test]
fn a_list_that_does_not_open_hides_nothing() {
    let (sandbox, _lease) = busy();
    let dead = sandbox.store().join("dead");
    fs::write(dead.join(&names(&dead)[0]), "no list").unwrap();
    let run = sandbox.run(["store", "--json"]).exits(3);
    let value: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(
        (length(&value["dead_lists"]), &value["chunks"]),
        (1, &Value::Null)
    );
    assert_eq!(value["dead_lists"][0]["bricks"], Value::Null);
    run.says(&["does not open", "dtar gc"]);
    let run = sandbox.run(["store"]).exits(3);
    let text = String::from_utf8(run.stdout).unwrap();
    assert!(text.contains("does not open: run `dtar gc`"), "{text}");
}

#[test]
fn the_put_key_is_enough() {
    let sandbox = Sandbox::new();
    sandbox.archive("index.tar", &b"something"[..]);
    sandbox.run(["key", "put", "put"]).exits(0);
    let run = sandbox.run(["store", "--json", "--key", "put"]).exits(0);
    assert!(run.stdout == sandbox.run(["store", "--json"]).exits(0).stdout);
}

/// As if another version had raised the epoch after a theft.
fn raise(sandbox: &Sandbox) {
    let key = key(sandbox);
    let mut config = Store::open(&sandbox.store(), &key)
        .unwrap()
        .config()
        .clone();
    config.epoch = Epoch(config.epoch.0 + 1);
    let text = config.encode(&key).unwrap();
    fs::write(sandbox.store().join("store.toml"), text).unwrap();
}

/// This version raises no epoch. It must harm nothing where another one has.
#[test]
fn what_is_of_another_epoch_is_neither_relied_upon_nor_lost() {
    let sandbox = Sandbox::new();
    let stream = Random(1).bytes(300_000);
    let old = sandbox.archive("old.tar", &stream[..]);
    sandbox.run(["key", "put", "put"]).exits(0);
    raise(&sandbox);
    // The stolen put key is of no use any more, and says so.
    sandbox
        .archive_to(["--key", "put"], &stream[..], &sandbox.path().join("none"))
        .exits(1)
        .says(&["the put key is for epoch 1, but epoch 2 is needed"]);
    let index = sandbox.path().join("new.tar");
    let run = sandbox.archive_to(["--json"], &stream[..], &index).exits(0);
    let told = summary(&run);
    assert_eq!(told["deduplicated"], 0);
    // A catalog that knew them knows them by ids that are no more; a new one leaves them out.
    let run = sandbox.run(["store", "--catalog", "fresh"]).exits(0);
    run.says(&["epoch", "left out of deduplication"]);
    sandbox.restores(&index, &stream[..]);
    let before = ["bricks", "tocs", "meta", "roots"].map(|dir| files(&sandbox.store().join(dir)));
    let run = sandbox.run(["snapshots", "--json"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert_eq!(
        String::from_utf8(run.stdout.clone())
            .unwrap()
            .lines()
            .count(),
        1
    );
    run.says(&["epoch", ".root"]);
    sandbox.run(["gc"]).exits(1).says(&["epoch", ".root"]);
    let after = ["bricks", "tocs", "meta", "roots"].map(|dir| files(&sandbox.store().join(dir)));
    assert_eq!(before, after, "gc deletes nothing if a root does not open");
    let run = sandbox.run(["verify"]);
    assert_ne!(run.code, Some(0));
    run.says(&["epoch"]);
    assert!(names(&sandbox.store().join("bad")).is_empty());
    // What is old restores by its index.
    sandbox.restores(&old, &stream[..]);
}
