//! Gc leaves parity in order (`formats/collection.md#parity`).

use std::fs;
use std::path::PathBuf;

use crate::common::block::Stream;
use crate::common::sandbox::Sandbox;
use crate::common::source::Random;
use crate::scene::{
    ALL, archive, below, bricks, copy, each_comes_back, flip, forget, gc, in_order, parity,
    protected, restore, summary,
};

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
    parity(&sandbox, ["add", "--share", "50%", "--group", "9"]).exits(0);
    copy(&aside, &store.join("parity"));
    assert!(in_order(&sandbox)["sets"].as_u64() > Some(2));
    forget(&sandbox, [2, 5]);
    let done = gc(&sandbox, &[]);
    assert_eq!(done["parity"]["kept_sets"], 0);
    in_order(&sandbox);
    parity(&sandbox, ["repair"]).exits(0);
    each_comes_back(&sandbox);
    restore(&sandbox, [0, 1, 3, 4, 6, 7, 8, 9, 10, 11]);
}

/// The bricks that gc would delete, and the others.
fn doomed_and_staying(sandbox: &Sandbox) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let trial = sandbox.with_copied_store();
    gc(&trial, &[]);
    let left = bricks(&trial.store());
    let stays = |path: &PathBuf| left.iter().any(|left| left.file_name() == path.file_name());
    let (staying, doomed) = bricks(&sandbox.store()).into_iter().partition(stays);
    (doomed, staying)
}

#[test]
fn while_a_brick_is_lost_no_other_of_its_set_is_deleted() {
    let sandbox = protected();
    forget(&sandbox, [5]);
    let (doomed, staying) = doomed_and_staying(&sandbox);
    let bytes = fs::read(&staying[1]).unwrap();
    fs::remove_file(&staying[1]).unwrap();
    let before = below(&sandbox, &ALL);
    let plan = gc(&sandbox, &["--dry-run"]);
    let run = sandbox.run(["gc", "--json"]).exits(0);
    let done = summary(&run);
    assert_eq!((&plan["deleted"], &done["deleted"]), (&0.into(), &0.into()));
    assert_eq!(done["parity"], plan["parity"]);
    assert_eq!(done["parity"]["held"], doomed.len());
    let run = sandbox.run(["gc"]).exits(0);
    run.says(&[
        "must stay with parity set",
        "parity repair",
        "for the sake of parity",
    ]);
    assert_eq!(below(&sandbox, &ALL), before);
    // The brick comes back, and then the others go.
    parity(&sandbox, ["repair"]).exits(0);
    assert_eq!(fs::read(&staying[1]).unwrap(), bytes);
    assert_eq!(gc(&sandbox, &[])["deleted"], doomed.len());
    in_order(&sandbox);
    restore(&sandbox, (0..12).filter(|number| *number != 5));
}

#[test]
fn while_a_brick_is_damaged_no_other_of_its_set_is_deleted() {
    let sandbox = protected();
    forget(&sandbox, [5]);
    let (doomed, staying) = doomed_and_staying(&sandbox);
    let old = below(&sandbox, &["parity"]);
    let whole = below(&sandbox, &["bricks", "meta", "tocs"]);
    flip(&staying[0], 1000);
    let damaged = below(&sandbox, &["bricks", "meta", "tocs"]);
    for _ in 0..2 {
        let done = gc(&sandbox, &[]);
        assert_eq!(done["parity"]["held"], doomed.len());
        assert_eq!(done["deleted"], 0);
        assert_eq!(below(&sandbox, &["bricks", "meta", "tocs"]), damaged);
        let now = below(&sandbox, &["parity"]);
        assert!(old.iter().all(|(path, bytes)| now.get(path) == Some(bytes)));
    }
    parity(&sandbox, ["repair"]).exits(0);
    assert_eq!(below(&sandbox, &["bricks", "meta", "tocs"]), whole);
    assert_eq!(gc(&sandbox, &[])["deleted"], doomed.len());
    in_order(&sandbox);
    each_comes_back(&sandbox);
    restore(&sandbox, (0..12).filter(|number| *number != 5));
}

#[test]
fn rewriting_waits_for_what_parity_has_to_bring_back() {
    let sandbox = Sandbox::new();
    for (label, stream) in [
        ("all", files(0..8)),
        ("few", files([2])),
        ("other", files([9])),
    ] {
        let index = sandbox.path().join(label);
        let options = ["-q", "--label", label];
        sandbox.archive_to(options, &stream[..], &index).exits(0);
    }
    parity(&sandbox, ["add", "--share", "40%"]).exits(0);
    let all = bricks(&sandbox.store().join("bricks"));
    let length = |path: &PathBuf| fs::metadata(path).unwrap().len();
    let other = all.iter().min_by_key(|path| length(path)).unwrap();
    sandbox.run(["forget", "@label:all"]).exits(0);
    fs::remove_file(other).unwrap();
    let before = below(&sandbox, &ALL);
    let done = gc(&sandbox, &[]);
    assert_eq!(
        (&done["rewritten"], &done["new_bricks"]),
        (&0.into(), &0.into())
    );
    assert_eq!(below(&sandbox, &ALL), before);
    parity(&sandbox, ["repair"]).exits(0);
    assert_eq!(gc(&sandbox, &[])["rewritten"], 1);
    in_order(&sandbox);
    for (label, stream) in [("few", files([2])), ("other", files([9]))] {
        sandbox.restores(&sandbox.path().join(label), &stream[..]);
    }
}

#[test]
fn bricks_that_were_moved_away_keep_their_set_until_they_or_it_are_gone() {
    for comes_back in [true, false] {
        let sandbox = protected();
        let (store, cold) = (sandbox.store(), sandbox.path().join("cold"));
        fs::rename(store.join("bricks"), &cold).unwrap();
        forget(&sandbox, [3, 8]);
        let before = below(&sandbox, &ALL);
        let run = sandbox.run(["gc"]).exits(0);
        run.says(&["must stay with parity set", "moved away"]);
        assert_eq!(below(&sandbox, &ALL), before);
        parity(&sandbox, ["check", "--bricks", cold.to_str().unwrap()]).exits(0);
        if comes_back {
            copy(&cold, &store.join("bricks"));
            let done = gc(&sandbox, &[]);
            assert_eq!(done["parity"]["kept_sets"], 0);
            assert!(done["deleted"].as_u64() >= Some(2), "{done}");
            in_order(&sandbox);
        } else {
            fs::remove_dir_all(store.join("parity")).unwrap();
            let run = sandbox.run(["gc"]).exits(0);
            run.says(&["may be deleted where they lie"]);
            copy(&cold, &store.join("bricks"));
        }
        restore(&sandbox, [0, 1, 2, 4, 5, 6, 7, 9, 10, 11]);
    }
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
