//! Gc leaves parity in order (`formats/collection.md#parity`).

use std::fs;
use std::path::Path;

use crate::common::block::Stream;
use crate::common::sandbox::Sandbox;
use crate::common::source::Random;
use crate::scene::{
    archive, below, bricks, each_comes_back, flip, forget, gc, in_order, parity, restore, summary,
};

/// Runs 0 to 11, with parity of 15 %.
fn protected() -> Sandbox {
    let sandbox = Sandbox::new();
    archive(&sandbox, 0..12);
    parity(&sandbox, ["add", "--share", "15%"]).exits(0);
    sandbox
}

#[test]
fn what_was_deleted_on_purpose_is_neither_lost_nor_brought_back() {
    let sandbox = protected();
    let old = below(&sandbox, &["parity"]);
    forget(&sandbox, [1, 4, 7]);
    let plan = gc(&sandbox, &["--dry-run"]);
    assert_eq!(below(&sandbox, &["parity"]), old);
    let done = gc(&sandbox, &[]);
    assert_eq!(done["deleted"], 3 * 2, "{done}");
    assert_eq!(done["parity"], plan["parity"]);
    assert_eq!(
        (&done["parity"]["old_sets"], &done["parity"]["new_sets"]),
        (&1.into(), &1.into())
    );
    let left: u64 = bricks(&sandbox.store())
        .iter()
        .map(|path| fs::metadata(path).unwrap().len())
        .sum();
    assert_eq!(done["parity"]["read"], left);
    let new = below(&sandbox, &["parity"]);
    assert!(old.keys().all(|path| !new.contains_key(path)));
    let found = in_order(&sandbox);
    assert_eq!((&found["sets"], &found["bricks"]), (&1.into(), &18.into()));

    let before = below(&sandbox, &["bricks", "meta", "tocs", "parity"]);
    parity(&sandbox, ["repair"]).exits(0);
    assert_eq!(
        below(&sandbox, &["bricks", "meta", "tocs", "parity"]),
        before
    );
    assert_eq!(each_comes_back(&sandbox), 18);
    restore(&sandbox, [0, 2, 3, 5, 6, 8, 9, 10, 11]);
    // It comes to an end.
    let done = gc(&sandbox, &[]);
    assert_eq!(done["parity"]["new_sets"], 0);
    assert_eq!(
        below(&sandbox, &["bricks", "meta", "tocs", "parity"]),
        before
    );
}

#[test]
fn the_share_does_not_change_however_often_sets_are_made_anew() {
    let sandbox = Sandbox::new();
    archive(&sandbox, 0..8);
    parity(&sandbox, ["add", "--share", "2%"]).exits(0);
    for number in 0..6 {
        forget(&sandbox, [number]);
        gc(&sandbox, &[]);
    }
    let remade = below(&sandbox, &["parity"]);
    assert!(!remade.is_empty());
    fs::remove_dir_all(sandbox.store().join("parity")).unwrap();
    parity(&sandbox, ["add", "--share", "2%"]).exits(0);
    assert_eq!(below(&sandbox, &["parity"]), remade);
}

#[test]
fn where_there_is_no_parity_none_is_made() {
    let sandbox = Sandbox::new();
    archive(&sandbox, 0..3);
    forget(&sandbox, [1]);
    let done = gc(&sandbox, &[]);
    assert_eq!(
        (&done["deleted"], &done["parity"]["read"]),
        (&2.into(), &0.into())
    );
    assert!(!sandbox.store().join("parity").exists());
}

#[test]
fn bricks_that_are_in_no_set_stay_in_none() {
    let sandbox = protected();
    let old = below(&sandbox, &["parity"]);
    archive(&sandbox, [12, 13]);
    forget(&sandbox, [12]);
    let done = gc(&sandbox, &[]);
    assert_eq!(
        (&done["deleted"], &done["parity"]["old_sets"]),
        (&2.into(), &0.into())
    );
    assert_eq!(below(&sandbox, &["parity"]), old);
    let found = summary(&parity(&sandbox, ["check", "--json"]).exits(0));
    assert_eq!(found["uncovered"], 2);
}

#[test]
fn when_all_of_a_set_goes_its_parity_goes() {
    let sandbox = protected();
    archive(&sandbox, [12]);
    parity(&sandbox, ["add", "--share", "100%"]).exits(0);
    forget(&sandbox, 0..12);
    let done = gc(&sandbox, &[]);
    assert_eq!(done["parity"]["old_sets"], 1);
    in_order(&sandbox);
    forget(&sandbox, [12]);
    gc(&sandbox, &[]);
    assert!(below(&sandbox, &["parity", "bricks", "meta"]).is_empty());
}

#[test]
fn a_put_key_is_enough() {
    let sandbox = protected();
    sandbox.run(["key", "put", "put"]).exits(0);
    forget(&sandbox, [3]);
    let done = gc(&sandbox, &["--key", "put"]);
    assert_eq!(done["parity"]["new_sets"], 1);
    in_order(&sandbox);
    restore(&sandbox, (0..12).filter(|number| *number != 3));
}

/// Some files of which each fills most of a frame.
fn files(numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let mut stream = Stream::new();
    for number in numbers {
        stream = stream.file(&format!("file-{number}"), &Random(number).bytes(3_500_000));
    }
    stream.end()
}

#[test]
fn bricks_with_moved_frames_join_a_set() {
    let sandbox = Sandbox::new();
    let (all, few) = (files(0..8), files([2]));
    for (label, stream) in [("all", &all), ("few", &few)] {
        let index = sandbox.path().join(label);
        sandbox
            .archive_to(["-q", "--label", label], &stream[..], &index)
            .exits(0);
    }
    parity(&sandbox, ["add", "--share", "30%"]).exits(0);
    let old = bricks(&sandbox.store());
    sandbox.run(["forget", "@label:all"]).exits(0);
    let done = gc(&sandbox, &[]);
    assert_eq!(
        (&done["rewritten"], &done["new_bricks"]),
        (&1.into(), &1.into())
    );
    let fresh = bricks(&sandbox.store())
        .into_iter()
        .find(|path| !old.contains(path))
        .unwrap();
    in_order(&sandbox);
    flip(&fresh, 100_000);
    parity(&sandbox, ["check"])
        .exits(3)
        .says(&["can be repaired"]);
    parity(&sandbox, ["repair"]).exits(0);
    in_order(&sandbox);
    sandbox.restores(&sandbox.path().join("few"), &few[..]);
}

#[test]
fn a_brick_may_be_in_two_sets() {
    let sandbox = protected();
    let (store, aside) = (sandbox.store(), sandbox.path().join("aside"));
    fs::rename(store.join("parity"), &aside).unwrap();
    parity(&sandbox, ["add", "--share", "20%", "--group", "9"]).exits(0);
    copy(&aside, &store.join("parity"));
    assert!(in_order(&sandbox)["sets"].as_u64() > Some(2));
    forget(&sandbox, [2, 5]);
    let done = gc(&sandbox, &[]);
    assert_eq!(done["parity"]["kept_sets"], 0);
    let found = in_order(&sandbox);
    assert_eq!(found["given_up"], 0);
    parity(&sandbox, ["repair"]).exits(0);
    each_comes_back(&sandbox);
    restore(&sandbox, [0, 1, 3, 4, 6, 7, 8, 9, 10, 11]);
}

/// Copies all files into a folder.
fn copy(from: &Path, to: &Path) {
    for (path, bytes) in crate::scene::tree(from) {
        let path = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn what_is_damaged_or_lost_keeps_its_set() {
    let sandbox = protected();
    let all = bricks(&sandbox.store());
    let old = below(&sandbox, &["parity"]);
    // Bricks of runs that stay: one is damaged, one lost. Those of run 5 are given up.
    forget(&sandbox, [5]);
    let doomed: Vec<_> = {
        let trial = sandbox.with_copied_store();
        gc(&trial, &[]);
        let left: Vec<_> = bricks(&trial.store());
        let left: Vec<_> = left
            .iter()
            .map(|path| path.file_name().unwrap().to_owned())
            .collect();
        all.iter()
            .filter(|path| !left.contains(&path.file_name().unwrap().to_owned()))
            .collect()
    };
    assert_eq!(doomed.len(), 2);
    let stay: Vec<_> = all.iter().filter(|path| !doomed.contains(path)).collect();
    let (damaged, lost) = (stay[0], stay[1]);
    let bytes = [fs::read(damaged).unwrap(), fs::read(lost).unwrap()];
    flip(damaged, 1000);
    fs::remove_file(lost).unwrap();
    let run = sandbox.run(["gc"]).exits(0);
    run.says(&["is kept", "parity repair"]);
    let both = below(&sandbox, &["parity"]);
    assert!(old.keys().all(|path| both.contains_key(path)));
    // Those that were given up are neither reported nor brought back, the others are.
    let found = summary(&parity(&sandbox, ["check", "--json"]).exits(3));
    assert_eq!(
        (&found["given_up"], &found["missing"], &found["damaged"]),
        (&2.into(), &1.into(), &1.into()),
        "{found}"
    );
    parity(&sandbox, ["repair"]).exits(0);
    assert_eq!([fs::read(damaged).unwrap(), fs::read(lost).unwrap()], bytes);
    assert!(doomed.iter().all(|path| !path.exists()));
    // The next gc puts them in a set, and the old one goes.
    let done = gc(&sandbox, &[]);
    assert_eq!(
        (&done["parity"]["kept_sets"], &done["parity"]["old_sets"]),
        (&0.into(), &1.into())
    );
    let found = in_order(&sandbox);
    assert_eq!(found["given_up"], 0);
    assert!(
        below(&sandbox, &["parity"])
            .keys()
            .all(|path| path.extension().unwrap() == "parity")
    );
    restore(&sandbox, (0..12).filter(|number| *number != 5));
}

#[test]
fn a_set_with_bricks_that_were_moved_away_is_kept() {
    let sandbox = protected();
    let (store, cold) = (sandbox.store(), sandbox.path().join("cold"));
    fs::rename(store.join("bricks"), &cold).unwrap();
    let cold_name = cold.to_str().unwrap();
    let old = below(&sandbox, &["parity"]);
    forget(&sandbox, [3, 8]);
    let run = sandbox.run(["gc"]).exits(0);
    run.says(&["may be deleted where they lie", "is kept"]);
    let all = below(&sandbox, &["parity"]);
    assert!(old.iter().all(|(path, bytes)| all[path] == *bytes));
    parity(&sandbox, ["check", "--bricks", cold_name]).exits(0);
    // The owner deletes what he was told to.
    let moved = bricks(&cold);
    let is_needed = |path: &Path| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        store
            .join(format!("tocs/{}/{name}.toc", &name[..2]))
            .exists()
    };
    let given_up: Vec<_> = moved.iter().filter(|path| !is_needed(path)).collect();
    assert_eq!(given_up.len(), 2);
    for path in &given_up {
        fs::remove_file(path).unwrap();
    }
    let run = parity(&sandbox, ["check", "--bricks", cold_name]).exits(0);
    run.says(&["were given up by a gc"]);
    let found = summary(&parity(&sandbox, ["check", "--bricks", cold_name, "--json"]).exits(0));
    assert_eq!(
        (&found["missing"], &found["given_up"]),
        (&0.into(), &4.into())
    );
    let before = below(&sandbox, &["bricks", "meta"]);
    parity(&sandbox, ["repair", "--bricks", cold_name]).exits(0);
    assert_eq!(below(&sandbox, &["bricks", "meta"]), before);
    // What is lost by accident comes back all the same.
    let lost = moved.iter().find(|path| is_needed(path)).unwrap();
    let bytes = fs::read(lost).unwrap();
    fs::remove_file(lost).unwrap();
    parity(&sandbox, ["check", "--bricks", cold_name]).exits(3);
    parity(&sandbox, ["repair", "--bricks", cold_name]).exits(0);
    let back = bricks(&store.join("bricks"));
    assert_eq!(back.len(), 1);
    assert_eq!(fs::read(&back[0]).unwrap(), bytes);
    // Again and again the same, until the bricks are back.
    let before = below(&sandbox, &["parity"]);
    gc(&sandbox, &[]);
    let kept = below(&sandbox, &["parity"]);
    assert!(before.keys().all(|path| kept.contains_key(path)));
    copy(&cold, &store.join("bricks"));
    let done = gc(&sandbox, &[]);
    assert_eq!(done["parity"]["kept_sets"], 0);
    in_order(&sandbox);
    restore(&sandbox, [0, 1, 2, 4, 5, 6, 7, 9, 10, 11]);
}

#[test]
fn a_brick_that_is_needed_and_lost_with_its_sidecar_keeps_its_set() {
    let sandbox = protected();
    forget(&sandbox, [0]);
    let old = below(&sandbox, &["parity"]);
    // One that is needed: not of those that gc would delete.
    let trial = sandbox.with_copied_store();
    gc(&trial, &[]);
    let name = bricks(&trial.store().join("bricks"))[0]
        .file_stem()
        .unwrap()
        .to_owned();
    let name = name.to_str().unwrap();
    let store = sandbox.store();
    let brick = store.join(format!("bricks/{}/{name}.brick", &name[..2]));
    let bytes = fs::read(&brick).unwrap();
    fs::remove_file(&brick).unwrap();
    fs::remove_file(store.join(format!("tocs/{}/{name}.toc", &name[..2]))).unwrap();
    let _ = sandbox.run(["gc"]);
    let kept = below(&sandbox, &["parity"]);
    assert!(old.keys().all(|path| kept.contains_key(path)));
    parity(&sandbox, ["repair"]).exits(0);
    assert_eq!(fs::read(&brick).unwrap(), bytes);
    sandbox.run(["rebuild"]).exits(0);
    gc(&sandbox, &[]);
    in_order(&sandbox);
    restore(&sandbox, 1..12);
}

#[test]
fn a_list_that_is_damaged_says_nothing() {
    let sandbox = protected();
    let cold = sandbox.path().join("cold");
    fs::rename(sandbox.store().join("bricks"), &cold).unwrap();
    forget(&sandbox, [3]);
    sandbox.run(["gc"]).exits(0);
    let all = below(&sandbox, &["parity"]);
    let list = all
        .keys()
        .find(|path| path.extension().unwrap() == "gone")
        .unwrap();
    // Of the two given up, that of metadata is gone, and the other is there.
    let cold_name = cold.to_str().unwrap();
    parity(&sandbox, ["check", "--bricks", cold_name]).exits(0);
    flip(list, 60);
    let run = parity(&sandbox, ["check", "--bricks", cold_name]).exits(3);
    run.says(&["missing; can be brought back"]);
    // Nothing else follows than that garbage comes back, and the next gc writes the list anew.
    parity(&sandbox, ["repair", "--bricks", cold_name]).exits(0);
    gc(&sandbox, &[]);
    parity(&sandbox, ["check", "--bricks", cold_name]).exits(0);
}
