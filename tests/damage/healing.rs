//! Marks: a damaged brick leaves deduplication, and comes back when it is whole.

use std::fs;
use std::path::PathBuf;

use crate::made::{Made, brick_parts, cut, flip, text};
use crate::scene::summary;

fn marks(made: &Made) -> Vec<String> {
    let Ok(entries) = fs::read_dir(made.sandbox.store().join("bad")) else {
        return Vec::new();
    };
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_damaged_brick_is_marked_and_the_next_archive_heals() {
    for key in [&[][..], &["--no-key"]] {
        let made = Made::small();
        let brick = made.brick();
        flip(&brick, 5000, 1);
        let mut arguments = vec!["verify", "--json"];
        arguments.extend(key);
        let run = made.sandbox.run(&arguments).exits(3);
        assert_eq!(summary(&run)["marked"], 1);
        assert_eq!(marks(&made), [brick.file_stem().unwrap().to_str().unwrap()]);
        // It is marked already.
        let run = made.sandbox.run(&arguments).exits(3);
        assert_eq!(summary(&run)["marked"], 0);

        made.archive_again(&[]).exits(0);
        assert_eq!(made.bricks().len(), 2, "its chunks are stored again");
        let again = made.sandbox.path().join("again.tar");
        made.sandbox.restores(&again, &made.stream[..]);
        // What was stored again is found by the old index, too, as long as it is there.
        made.sandbox.restores(&made.index, &made.stream[..]);
        let run = made.sandbox.run(["verify", "--json"]).exits(3);
        assert_eq!(summary(&run)["hits"], 0, "{}", run.stderr);
    }
}

/// Whoever gives the newer run up does not take from the older one what heals it.
#[test]
fn gc_keeps_what_takes_the_place_of_a_damaged_brick() {
    let made = Made::small();
    flip(&made.brick(), 5000, 1);
    made.sandbox.run(["verify"]).exits(3);
    made.archive_again(&[]).exits(0);
    made.sandbox.run(["forget", "@latest"]).exits(0);
    made.sandbox.run(["gc", "--threshold", "0"]).exits(0);
    assert_eq!(made.bricks().len(), 2);
    made.sandbox.restores(&made.index, &made.stream[..]);
    // Without the older run there is no need for either.
    made.sandbox.run(["forget", "@latest"]).exits(0);
    made.sandbox.run(["gc"]).exits(0);
    assert_eq!(made.bricks().len(), 0);
}

#[test]
fn a_mark_without_a_seal_counts_and_is_reported() {
    let made = Made::small();
    let bad = made.sandbox.store().join("bad");
    fs::create_dir_all(&bad).unwrap();
    let brick = made.brick();
    let mark = bad.join(brick.file_stem().unwrap());
    fs::write(&mark, b"").unwrap();
    let run = made.archive_again(&[]).exits(0);
    run.says(&["warning", text(&mark), "not sealed"]);
    assert_eq!(made.bricks().len(), 2, "its chunks are stored again");
    let run = made.sandbox.run(["verify"]).exits(0);
    run.says(&["warning", text(&mark), "not sealed", "mark removed"]);
    assert!(!mark.exists());
    // What verify sets with a key is sealed, and nobody is warned.
    flip(&brick, 5000, 1);
    made.sandbox.run(["verify"]).exits(3);
    assert!(mark.exists());
    let run = made.archive_again(&[]).exits(0);
    assert!(!run.stderr.contains("sealed"), "{}", run.stderr);
}

#[test]
fn a_brick_that_is_whole_again_loses_its_mark() {
    let made = Made::small();
    let brick = made.brick();
    flip(&brick, 5000, 1);
    made.sandbox.run(["verify"]).exits(3);
    flip(&brick, 5000, 1);
    // Who cannot open its frames cannot say that they are sound.
    made.sandbox.run(["verify", "--no-key"]).exits(0);
    assert_eq!(marks(&made).len(), 1);
    made.sandbox.run(["verify", "--no-mark"]).exits(0);
    made.sandbox.run(["verify", "--quick"]).exits(0);
    assert_eq!(marks(&made).len(), 1);
    let run = made.sandbox.run(["verify", "--json"]).exits(0);
    assert_eq!(summary(&run)["unmarked"], 1);
    assert!(marks(&made).is_empty());
    made.archive_again(&[]).exits(0);
    assert_eq!(made.bricks().len(), 1);
}

#[test]
fn no_mark_is_set_if_none_is_wanted() {
    let made = Made::small();
    flip(&made.brick(), 5000, 1);
    made.sandbox.run(["verify", "--no-mark"]).exits(3);
    assert!(marks(&made).is_empty());
}

#[test]
fn a_damaged_copy_elsewhere_does_not_mark_a_brick_that_is_whole_here() {
    let made = Made::small();
    let brick = made.brick();
    let elsewhere = made.sandbox.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let copy = elsewhere.join(brick.file_name().unwrap());
    fs::copy(&brick, &copy).unwrap();
    flip(&copy, 5000, 1);
    let arguments = ["verify", "--bricks", text(&elsewhere)];
    made.sandbox.run(arguments).exits(3).says(&[text(&copy)]);
    assert!(marks(&made).is_empty());
    fs::remove_file(&brick).unwrap();
    made.sandbox.run(arguments).exits(3);
    assert_eq!(marks(&made).len(), 1, "no other copy is known");
}

#[test]
fn a_store_that_cannot_be_written_is_checked_all_the_same() {
    let made = Made::small();
    let brick = made.brick();
    flip(&brick, 5000, 1);
    let store = made.sandbox.store();
    // Nobody, not even root, makes a folder where a link leads to nothing.
    std::os::unix::fs::symlink(store.join("nowhere"), store.join("bad")).unwrap();
    let run = made.sandbox.run(["verify"]).exits(3);
    run.says(&[text(&brick), "warning", "cannot set or remove marks"]);
}

#[test]
fn verifying_an_index_marks_the_bricks_that_are_to_blame() {
    let made = Made::three_bricks();
    let brick = made.bricks().remove(1);
    flip(&brick, 2000, 1);
    let run = made.sandbox.run(["verify", text(&made.index)]).exits(3);
    run.says(&[text(&brick), "bytes 0 to 2000 are lost"]);
    assert_eq!(marks(&made), [brick.file_stem().unwrap().to_str().unwrap()]);
}

/// It looks like one that was moved away, until somebody says that none was.
#[test]
fn a_lost_brick_is_declared_lost_and_its_chunks_are_stored_again() {
    let made = Made::small();
    let brick = made.brick();
    let kept = made.sandbox.path().join("kept");
    fs::rename(&brick, &kept).unwrap();
    made.sandbox.run(["verify"]).exits(0);
    for arguments in [["--all-here", "--no-mark"], ["--all-here", "--quick"]] {
        let run = made.sandbox.run([&["verify"], &arguments[..]].concat());
        run.exits(3).says(&["only its sidecar is"]);
    }
    made.archive_again(&[]).exits(0);
    assert!(marks(&made).is_empty() && made.bricks().is_empty());
    let index = text(&made.index);
    made.sandbox.run(["verify", index]).exits(3);
    assert!(marks(&made).is_empty());
    made.sandbox.run(["verify", "--all-here", index]).exits(3);
    assert_eq!(marks(&made).len(), 1);
    fs::remove_dir_all(made.sandbox.store().join("bad")).unwrap();
    let run = made
        .sandbox
        .run(["verify", "--all-here", "--json"])
        .exits(3);
    assert_eq!(summary(&run)["marked"], 1);
    assert!(summary(&run)["hits"].as_u64() > Some(0));
    made.archive_again(&[]).exits(0);
    assert_eq!(made.bricks().len(), 1);
    made.sandbox.run(["gc"]).exits(0);
    for index in ["again.tar", "index.tar"] {
        let index = made.sandbox.path().join(index);
        made.sandbox.restores(&index, &made.stream[..]);
    }
    let run = made
        .sandbox
        .run(["verify", "--all-here", "--json"])
        .exits(3);
    assert_eq!(summary(&run)["hits"], 0, "{}", run.stderr);
    // It was not lost after all.
    fs::rename(&kept, &brick).unwrap();
    let run = made.sandbox.run(["verify", "--json"]).exits(0);
    assert_eq!(summary(&run)["unmarked"], 1);
}

/// Each chunk in two bricks of which neither has a mark.
fn twice(made: &Made) -> [PathBuf; 2] {
    let first = made.brick();
    let bad = made.sandbox.store().join("bad");
    fs::create_dir_all(&bad).unwrap();
    let mark = bad.join(first.file_stem().unwrap());
    fs::write(&mark, b"").unwrap();
    made.archive_again(&[]).exits(0);
    fs::remove_file(&mark).unwrap();
    let second = made.bricks().into_iter().find(|path| *path != first);
    [first, second.unwrap()]
}

/// Restores both indexes with a catalog, with one that is made for it, and without.
#[track_caller]
fn both_restore(made: &Made) {
    for catalog in ["kept", "fresh", "none"] {
        if catalog != "kept" {
            fs::remove_dir_all(made.sandbox.catalog()).unwrap();
        }
        if catalog == "none" {
            fs::write(made.sandbox.catalog(), b"").unwrap();
        }
        for index in ["index.tar", "again.tar"] {
            let index = made.sandbox.path().join(index);
            made.sandbox.restores(&index, &made.stream[..]);
        }
    }
    fs::remove_file(made.sandbox.catalog()).unwrap();
}

#[test]
fn restore_goes_on_looking_where_the_catalog_leads_to_damage() {
    let made = Made::small();
    for damaged in twice(&made) {
        flip(&damaged, 5000, 1);
        both_restore(&made);
        made.sandbox.run(["verify"]).exits(3);
        both_restore(&made);
        flip(&damaged, 5000, 1);
        made.sandbox.run(["verify"]).exits(0);
    }
}

#[test]
fn what_is_left_of_two_damaged_bricks_makes_a_whole() {
    let made = Made::many();
    let [one, two] = twice(&made);
    for (brick, frame) in [(&one, 0), (&two, 1)] {
        flip(brick, brick_parts(brick).frames[frame].1.start, 1);
    }
    both_restore(&made);
    // The catalog knows no brick with a mark.
    made.sandbox.run(["verify"]).exits(3);
    assert_eq!(marks(&made).len(), 2);
    both_restore(&made);
    // What is lost in both is lost, and nothing else.
    flip(&two, brick_parts(&two).frames[0].1.start, 1);
    let found = made.restore(&["--keep-going"]).exits(3).stdout;
    assert_eq!(found.len(), made.stream.len());
    let lost = found
        .iter()
        .zip(&made.stream)
        .filter(|(one, two)| one != two);
    let frame = &brick_parts(&one).frames[0];
    assert!((lost.count() as u64) < frame.1.end - frame.0.start);
}

/// A snapshot heals as bodies do: what of it is damaged is stored again by the next run.
#[test]
fn older_snapshots_restore_from_what_was_stored_again() {
    for damage in ["frame", "table and sidecar", "cut"] {
        let made = Made::small();
        let meta = || crate::common::files::files(&made.sandbox.store().join("meta"));
        let brick = meta().pop_first().unwrap().0;
        let parts = brick_parts(&brick);
        match damage {
            "frame" => flip(&brick, parts.frames[0].1.start, 1),
            "cut" => cut(&brick, parts.frames[0].1.start + 100),
            _ => {
                flip(&brick, parts.frames[0].1.start, 1);
                flip(&brick, parts.toc.start + 20, 1);
            }
        }
        made.sandbox.run(["verify"]).exits(3);
        made.sandbox.run(["restore", "@latest"]).exits(3);
        made.archive_again(&[]).exits(0);
        assert_eq!(meta().len(), 2, "it is stored again");
        if damage == "table and sidecar" {
            let name = brick.file_stem().unwrap().to_str().unwrap();
            let tocs = made.sandbox.store().join("tocs");
            let sidecar = tocs.join(&name[..2]).join(format!("{name}.toc"));
            fs::remove_file(sidecar).unwrap();
        }
        for snapshot in ["@latest", "@2"] {
            let run = made.sandbox.run(["restore", snapshot]).exits(0);
            assert!(run.stdout == made.stream, "{damage} {snapshot}");
        }
    }
}
