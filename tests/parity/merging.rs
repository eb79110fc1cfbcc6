//! Small sets become large ones.

use std::fs;

use crate::common::sandbox::Sandbox;
use crate::scene::{
    archive, below, bricks, each_comes_back, forget, gc, in_order, parity, restore, summary, tree,
};

/// A set after each run.
fn many_sets() -> Sandbox {
    let sandbox = Sandbox::new();
    for number in 0..8 {
        archive(&sandbox, [number]);
        parity(&sandbox, ["add", "--share", "12%"]).exits(0);
    }
    assert_eq!(in_order(&sandbox)["sets"], 8);
    sandbox
}

#[test]
fn small_sets_are_merged_if_that_is_wanted() {
    let sandbox = many_sets();
    let found = in_order(&sandbox);
    assert_eq!(
        found["bricks_to_spare"], 0,
        "small sets survive no lost brick"
    );
    archive(&sandbox, [8]);
    let done = summary(&parity(&sandbox, ["add", "--share", "12%", "--merge", "--json"]).exits(0));
    assert_eq!(
        (&done["merged"], &done["sets"], &done["bricks"]),
        (&8.into(), &1.into(), &18.into())
    );
    let found = in_order(&sandbox);
    assert_eq!((&found["sets"], &found["bricks"]), (&1.into(), &18.into()));
    assert!(found["bricks_to_spare"].as_u64() > Some(0));
    let merged = below(&sandbox, &["parity"]);
    let done = summary(&parity(&sandbox, ["add", "--share", "12%", "--merge", "--json"]).exits(0));
    assert_eq!((&done["merged"], &done["sets"]), (&0.into(), &0.into()));
    assert_eq!(below(&sandbox, &["parity"]), merged);
    each_comes_back(&sandbox);
}

#[test]
fn large_sets_and_those_with_a_larger_share_stay() {
    let sandbox = many_sets();
    let before = below(&sandbox, &["parity"]);
    for options in [["--share", "11%"], ["--group", "4"]] {
        let share = ["--share", "12%"]
            .into_iter()
            .filter(|_| options[0] == "--group");
        let arguments = ["add", "--merge"].into_iter().chain(share).chain(options);
        parity(&sandbox, arguments).exits(0);
        assert_eq!(below(&sandbox, &["parity"]), before);
    }
}

#[test]
fn a_set_with_a_damaged_brick_is_not_deleted() {
    let sandbox = many_sets();
    let brick = bricks(&sandbox.store()).remove(0);
    let whole = fs::read(&brick).unwrap();
    crate::scene::flip(&brick, 4000);
    let done = parity(&sandbox, ["add", "--share", "12%", "--merge", "--json"]).exits(3);
    assert_eq!(summary(&done)["merged"], 7);
    parity(&sandbox, ["repair"]).exits(0);
    assert_eq!(fs::read(&brick).unwrap(), whole);
    let done = parity(&sandbox, ["add", "--share", "12%", "--merge"]).exits(0);
    done.says(&["merged"]);
    assert_eq!(in_order(&sandbox)["sets"], 1);
}

#[test]
fn what_a_crash_left_beside_a_merged_set_goes() {
    for collector in ["add", "gc"] {
        let sandbox = many_sets();
        let old = below(&sandbox, &["parity"]);
        parity(&sandbox, ["add", "--share", "12%", "--merge"]).exits(0);
        let merged = below(&sandbox, &["parity"]);
        // Some of the old ones were not deleted, one in part.
        for (path, bytes) in old.iter().skip(3) {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        if collector == "add" {
            parity(&sandbox, ["add", "--share", "12%", "--merge"]).exits(0);
        } else {
            gc(&sandbox, &[]);
        }
        assert_eq!(below(&sandbox, &["parity"]), merged, "{collector}");
    }
}

/// What was left beside the merged set is all that is sound.
#[test]
fn for_the_sake_of_a_damaged_set_no_other_goes() {
    let sandbox = many_sets();
    let small = below(&sandbox, &["parity"]);
    parity(&sandbox, ["add", "--share", "12%", "--merge"]).exits(0);
    let merged = below(&sandbox, &["parity"]);
    for (path, bytes) in &small {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let damaged = merged.keys().next().unwrap();
    crate::scene::flip(damaged, merged[damaged].len() / 2);
    gc(&sandbox, &[]);
    for (path, bytes) in &small {
        assert_eq!(&fs::read(path).unwrap(), bytes);
    }
    // Merged again it is sound.
    parity(&sandbox, ["add", "--share", "12%", "--merge"]).exits(0);
    assert_eq!(below(&sandbox, &["parity"]), merged);
    assert_eq!(in_order(&sandbox)["sets"], 1);
}

#[test]
fn gc_puts_what_it_makes_anew_into_one_set() {
    let sandbox = many_sets();
    fs::remove_dir_all(sandbox.store().join("parity")).unwrap();
    parity(&sandbox, ["add", "--group", "4"]).exits(0);
    assert!(in_order(&sandbox)["sets"].as_u64() >= Some(4));
    forget(&sandbox, [1, 2, 3]);
    let done = gc(&sandbox, &[]);
    assert!(done["parity"]["old_sets"].as_u64() > Some(1), "{done}");
    assert_eq!(done["parity"]["new_sets"], 1);
    in_order(&sandbox);
    restore(&sandbox, [0, 4, 5, 6, 7]);
}

#[test]
fn a_plain_folder_can_be_merged_too() {
    let sandbox = many_sets();
    let tape = sandbox.path().join("tape");
    fs::create_dir(&tape).unwrap();
    let name = tape.to_str().unwrap();
    for path in bricks(&sandbox.store()) {
        fs::copy(&path, tape.join(path.file_name().unwrap())).unwrap();
        parity(&sandbox, ["add", name]).exits(0);
    }
    parity(&sandbox, ["add", name, "--merge"]).exits(0);
    let found = summary(&parity(&sandbox, ["check", name, "--json"]).exits(0));
    assert_eq!((&found["sets"], &found["bricks"]), (&1.into(), &16.into()));
    let of_set = tree(&tape)
        .into_keys()
        .filter(|path| path.extension().unwrap() != "brick");
    assert_eq!(of_set.count() as u64, found["files"].as_u64().unwrap());
    assert!(!tape.join(".dtar-tmp").exists());
}
