//! `add`, `check` and `repair`.

use std::fs;
use std::path::Path;

use crate::common::sandbox::{Run, Sandbox};
use crate::scene::{bricks, flip, lines, made, parity, parity_files, stream, tree};

#[test]
fn a_lost_and_a_damaged_brick_come_back_without_a_key() {
    let made = made();
    let store = made.sandbox.store();
    parity(&made.sandbox, ["add", "--share", "15%"]).exits(0);
    parity(&made.sandbox, ["check"]).exits(0);
    let before = tree(&store);
    let bricks = bricks(&store);
    fs::remove_file(&bricks[0]).unwrap();
    flip(&bricks[1], 5_000);
    flip(&bricks[2], 0);

    let damaged = tree(&store);
    let name = bricks[1].file_name().unwrap().to_str().unwrap();
    let run = parity(&made.sandbox, ["check"]).exits(3);
    run.says(&[
        "missing; can be brought back",
        name,
        "damaged in 1 shards",
        "can be repaired",
    ]);
    assert_eq!(tree(&store), damaged, "a check alters nothing");

    parity(&made.sandbox, ["repair"])
        .exits(0)
        .says(&["brought back"]);
    assert_eq!(tree(&store), before);
    parity(&made.sandbox, ["check"]).exits(0);
    made.sandbox.restores(&made.index, &made.stream[..]);
}

#[test]
fn what_is_beyond_the_share_is_reported_and_left_alone() {
    let made = made();
    let store = made.sandbox.store();
    parity(&made.sandbox, ["add", "--share", "5%"]).exits(0);
    let bricks = bricks(&store);
    for path in &bricks[..3] {
        fs::remove_file(path).unwrap();
    }
    let before = tree(&store);
    for command in ["check", "repair"] {
        parity(&made.sandbox, [command])
            .exits(3)
            .says(&["cannot be brought back"]);
        assert_eq!(tree(&store), before);
    }
}

#[test]
fn another_archive_run_adds_another_set() {
    let made = made();
    let summary = |run: &Run| lines(run).pop().unwrap();
    let first = summary(&parity(&made.sandbox, ["--json", "add"]).exits(0));
    assert_eq!(first["type"], "summary");
    assert_eq!(first["sets"], 1);
    made.sandbox.archive("more.tar", &stream(99)[..]);
    let second = summary(&parity(&made.sandbox, ["--json", "add"]).exits(0));
    assert_eq!(second["covered"], first["bricks"]);
    // One of class data, one of class metadata.
    assert_eq!(second["bricks"], 2);
    let third = summary(&parity(&made.sandbox, ["--json", "add"]).exits(0));
    assert_eq!((&third["bricks"], &third["sets"]), (&0.into(), &0.into()));
    let run = parity(&made.sandbox, ["--json", "check"]).exits(0);
    assert_eq!(lines(&run).pop().unwrap()["sets"], 2);
}

#[test]
fn a_plain_folder_of_bricks_will_do() {
    let made = made();
    let tape = made.sandbox.path().join("tape");
    fs::create_dir(&tape).unwrap();
    for path in bricks(&made.sandbox.store()) {
        fs::copy(&path, tape.join(path.file_name().unwrap())).unwrap();
    }
    let tape = tape.to_str().unwrap();
    parity(
        &made.sandbox,
        ["add", tape, "--share", "100%", "--group", "7"],
    )
    .exits(0);
    let before = tree(Path::new(tape));
    assert!(!Path::new(tape).join(".dtar-tmp").exists());
    let bricks = bricks(Path::new(tape));
    fs::remove_file(&bricks[0]).unwrap();
    flip(&bricks[1], 100);
    parity(&made.sandbox, ["check", tape]).exits(3);
    parity(&made.sandbox, ["repair", tape]).exits(0);
    assert_eq!(tree(Path::new(tape)), before);
}

#[test]
fn what_is_called_tmp_outside_of_a_store_is_not_touched() {
    let sandbox = Sandbox::new();
    let user = sandbox.path().join("user");
    let elsewhere = sandbox.path().join("elsewhere");
    for dir in [&user.join("tmp"), &elsewhere] {
        fs::create_dir_all(dir.join("thesis")).unwrap();
        fs::write(dir.join("thesis/chapter"), b"years of work").unwrap();
        fs::write(dir.join("0123456789abcdef"), b"a name like dtar's own").unwrap();
    }
    let linked = sandbox.path().join("linked");
    fs::create_dir(&linked).unwrap();
    std::os::unix::fs::symlink(&elsewhere, linked.join("tmp")).unwrap();
    let before = [tree(&user), tree(&elsewhere)];
    for dir in [&user, &linked] {
        let dir = dir.to_str().unwrap();
        for command in ["add", "repair", "check"] {
            parity(&sandbox, [command, dir]).exits(0);
            assert_eq!([tree(&user), tree(&elsewhere)], before, "{command} {dir}");
        }
    }
    let to = ["repair", "--to", "back", user.to_str().unwrap()];
    parity(&sandbox, to).exits(0);
    assert_eq!([tree(&user), tree(&elsewhere)], before);
}

#[test]
fn bricks_that_were_moved_away_are_found_and_those_that_come_back_go_where_they_should() {
    let made = made();
    let store = made.sandbox.store();
    parity(&made.sandbox, ["add", "--share", "15%"]).exits(0);
    let (cold, back) = (
        made.sandbox.path().join("cold"),
        made.sandbox.path().join("back"),
    );
    fs::rename(store.join("bricks"), &cold).unwrap();
    fs::create_dir(store.join("bricks")).unwrap();
    let moved = bricks(&cold);
    let lost = fs::read(&moved[0]).unwrap();
    fs::remove_file(&moved[0]).unwrap();
    flip(&moved[1], 1000);
    let before = [tree(&store), tree(&cold)];

    parity(&made.sandbox, ["check"]).exits(3);
    let (cold_name, back_name) = (cold.to_str().unwrap(), back.to_str().unwrap());
    parity(&made.sandbox, ["check", "--bricks", cold_name]).exits(3);
    parity(
        &made.sandbox,
        ["repair", "--bricks", cold_name, "--to", back_name],
    )
    .exits(0);
    assert_eq!([tree(&store), tree(&cold)], before);
    let name = moved[0].file_name().unwrap();
    assert_eq!(fs::read(back.join(name)).unwrap(), lost);
    assert_eq!(bricks(&back).len(), 2);
}

#[test]
fn what_repair_leaves_damaged_is_said_and_ends_with_3() {
    let made = made();
    parity(&made.sandbox, ["add", "--share", "15%"]).exits(0);
    let store = made.sandbox.store();
    let (parent, store_name) = (made.sandbox.path(), store.to_str().unwrap());
    // A damaged brick not at its home, in a store that lies in a further place.
    let brick = bricks(&store).remove(0);
    let whole = fs::read(&brick).unwrap();
    let other = store.join(brick.file_name().unwrap());
    fs::rename(&brick, &other).unwrap();
    flip(&other, 100);
    let further = ["--bricks", parent.to_str().unwrap(), "--bricks", store_name];
    parity(&made.sandbox, ["repair"].iter().chain(&further))
        .exits(0)
        .says(&[other.to_str().unwrap()]);
    assert_eq!(fs::read(&other).unwrap(), whole);
    parity(&made.sandbox, ["check"].iter().chain(&further)).exits(0);

    // One in a further place is not touched.
    let cold = made.sandbox.path().join("cold");
    fs::create_dir(&cold).unwrap();
    let copy = cold.join(brick.file_name().unwrap());
    fs::copy(&other, &copy).unwrap();
    flip(&copy, 100);
    let before = fs::read(&copy).unwrap();
    let options = ["repair", "--bricks", cold.to_str().unwrap()];
    let run = parity(&made.sandbox, options).exits(3);
    run.says(&[copy.to_str().unwrap(), "left alone"]);
    assert_eq!(fs::read(&copy).unwrap(), before);

    // A parity file that is missing is not made where only bricks are wanted.
    let file = parity_files(&store).remove(0);
    fs::remove_file(&file).unwrap();
    let run = parity(&made.sandbox, ["repair", "--to", "back"]).exits(3);
    run.says(&["only without --to"]);
    assert!(!file.exists());
    parity(&made.sandbox, ["repair"]).exits(0);
    assert!(file.exists());
}

#[test]
fn a_damaged_brick_is_kept_aside_if_that_is_wanted() {
    let made = made();
    parity(&made.sandbox, ["add"]).exits(0);
    let brick = bricks(&made.sandbox.store()).remove(0);
    let whole = fs::read(&brick).unwrap();
    flip(&brick, 7);
    let damaged = fs::read(&brick).unwrap();
    parity(&made.sandbox, ["repair", "--keep-damaged"]).exits(0);
    assert_eq!(fs::read(&brick).unwrap(), whole);
    let aside = format!("{}.damaged", brick.display());
    assert_eq!(fs::read(&aside).unwrap(), damaged);
    // The next time too.
    flip(&brick, 8);
    let again = fs::read(&brick).unwrap();
    parity(&made.sandbox, ["repair", "--keep-damaged"]).exits(0);
    assert_eq!(fs::read(&brick).unwrap(), whole);
    assert_eq!(fs::read(&aside).unwrap(), damaged);
    assert_eq!(fs::read(format!("{aside}.2")).unwrap(), again);
}

#[test]
fn damage_is_told_as_json() {
    let made = made();
    parity(&made.sandbox, ["add", "--share", "15%"]).exits(0);
    let brick = bricks(&made.sandbox.store()).remove(3);
    fs::remove_file(&brick).unwrap();
    let run = parity(&made.sandbox, ["check", "--json"]).exits(3);
    let damage = lines(&run)
        .into_iter()
        .find(|line| line["type"] == "damage")
        .unwrap();
    assert_eq!(damage["kind"], "brick");
    assert_eq!(damage["missing"], true);
    assert_eq!(damage["repairable"], true);
    let summary = lines(&run).pop().unwrap();
    assert_eq!(
        (&summary["missing"], &summary["repairable"]),
        (&1.into(), &1.into())
    );
    let run = parity(&made.sandbox, ["repair", "--json"]).exits(0);
    assert_eq!(lines(&run).pop().unwrap()["restored"], 1);
    let one = made.sandbox.path().join("one");
    fs::create_dir(&one).unwrap();
    fs::copy(&brick, one.join(brick.file_name().unwrap())).unwrap();
    parity(&made.sandbox, ["add", "one"])
        .exits(0)
        .says(&["1 brick, ", "in 1 new set; "]);
}

#[test]
fn wrong_use_is_refused() {
    let made = made();
    for share in ["0", "101%", "five"] {
        parity(&made.sandbox, ["add", "--share", share]).exits(2);
    }
    parity(&made.sandbox, ["add", "--group", "0"]).exits(2);
    parity(&made.sandbox, ["check", "/no/such/folder"])
        .exits(1)
        .says(&["/no/such/folder"]);
    let index = made.index.to_str().unwrap();
    parity(&made.sandbox, ["add", index])
        .exits(1)
        .says(&["expected a folder"]);
}
