//! Options of archiving: levels, sizes of bricks, padding, labels.

use dtar::crypto::{Key, KeyFile};
use dtar::store::Store;

use crate::common::block::Stream;
use crate::common::sandbox::{KEY, Sandbox};
use crate::common::source::Random;

fn key() -> Key {
    match KeyFile::parse(KEY.as_bytes()) {
        Ok(KeyFile::Key(key)) => key,
        other => panic!("{other:?}"),
    }
}

fn text() -> Vec<u8> {
    let lines: Vec<_> = (0..30_000).map(|number| format!("line {number}")).collect();
    let body = lines.join(
        "
",
    );
    Stream::new().file("text", body.as_bytes()).end()
}

fn bricks(sandbox: &Sandbox) -> Vec<u64> {
    sandbox
        .stored_files()
        .iter()
        .filter(|path| path.extension().is_some_and(|kind| kind == "brick"))
        .map(|path| std::fs::metadata(path).unwrap().len())
        .collect()
}

#[test]
fn every_level_restores() {
    let stream = text();
    let mut sizes = Vec::new();
    for level in ["1", "3", "12", "19", "22"] {
        let sandbox = Sandbox::new();
        let index = sandbox.path().join("index.tar");
        let run = sandbox.archive_to(["-q", "--level", level], &stream[..], &index);
        assert_eq!(run.exits(0).stderr, "");
        sandbox.restores(&index, &stream[..]);
        sizes.push(bricks(&sandbox)[0]);
    }
    assert_ne!(sizes[0], sizes[4], "the level makes no difference");
    let sandbox = Sandbox::new();
    for level in ["0", "23", "-1", "fast"] {
        let run = sandbox.run(["--level", level]).exits(2);
        assert!(
            run.stderr.contains("--level") || level == "-1",
            "{}",
            run.stderr
        );
    }
    assert!(!sandbox.store().exists(), "a usage error made a store");
}

#[test]
fn long_finds_matches_far_apart() {
    let one = Random(8).bytes(6 << 20);
    // No chunk is the same, but most of each.
    let mut other = one.clone();
    other.iter_mut().step_by(3000).for_each(|byte| *byte ^= 1);
    let stream = Stream::new().file("one", &one).file("other", &other).end();
    let sizes = [&[][..], &["--long"]].map(|options| {
        let sandbox = Sandbox::new();
        let index = sandbox.path().join("index.tar");
        sandbox.archive_to(options, &stream[..], &index).exits(0);
        sandbox.restores(&index, &stream[..]);
        bricks(&sandbox).iter().sum::<u64>()
    });
    assert!(sizes[0] > 12 << 20, "{sizes:?}");
    assert!(sizes[1] < 8 << 20, "{sizes:?}");
    let run = Sandbox::new().run(["--long", "--brick-size", "16M"]);
    run.exits(2).says(&["--long", "--brick-size 18M"]);
}

#[test]
fn bricks_have_about_the_size_that_is_asked_for() {
    let sandbox = Sandbox::new();
    let body = Random(8).bytes(20 << 20);
    let stream = Stream::new().file("noise", &body).end();
    let index = sandbox.path().join("index.tar");
    let run = sandbox.archive_to(["--brick-size", "6M"], &stream[..], &index);
    run.exits(0).says(&["bricks"]);
    let sizes = bricks(&sandbox);
    let most = 6 << 20;
    assert!((4..=7).contains(&sizes.len()), "{sizes:?}");
    assert!(sizes.iter().all(|size| *size <= most), "{sizes:?}");
    sandbox.restores(&index, &stream[..]);
    for size in ["1K", "2T", "many", ""] {
        sandbox
            .run(["--brick-size", size])
            .exits(2)
            .says(&["--brick-size"]);
    }
}

#[test]
fn padded_frames_restore() {
    let stream = text();
    let mut totals = Vec::new();
    for pad in ["none", "4k", "padme"] {
        let sandbox = Sandbox::new();
        let index = sandbox.path().join("index.tar");
        sandbox
            .archive_to(["-q", "--pad", pad], &stream[..], &index)
            .exits(0);
        sandbox.restores(&index, &stream[..]);
        totals.push(bricks(&sandbox).iter().sum::<u64>());
    }
    assert!(totals[0] < totals[1] && totals[0] < totals[2], "{totals:?}");
}

#[test]
fn the_label_stands_in_the_root() {
    let sandbox = Sandbox::new();
    let index = sandbox.path().join("index.tar");
    sandbox
        .archive_to(["-q", "--label", "nächtlich"], &text()[..], &index)
        .exits(0);
    let key = key();
    let store = Store::open(&sandbox.store(), &key).unwrap();
    let keys = store.put_keys(&key).unwrap();
    let mut labels = Vec::new();
    store
        .layout()
        .each_root(|path, time, _| {
            labels.push(store.read_root(&keys, &path, time)?.label);
            Ok(())
        })
        .unwrap();
    assert_eq!(labels, ["nächtlich".as_bytes()]);
}
