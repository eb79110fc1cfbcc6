//! Several runs in one store at once.

use std::thread;

use crate::common::block::{Header, Stream};
use crate::common::sandbox::Sandbox;
use crate::common::source::Random;

/// What one of several archivers reads: some of it is everybody's, some its neighbour's.
fn stream(number: u64) -> Vec<u8> {
    let mut stream = Stream::new();
    for (name, seed) in [
        ("everybody's", 1),
        ("mine", 100 + number),
        ("my neighbour's", 101 + number),
    ] {
        let body = Random(seed).bytes(700_000);
        stream = stream
            .header(&Header::file(name, body.len() as u64))
            .body(&body);
    }
    stream
        .file("small", format!("run {number}").as_bytes())
        .end()
}

#[test]
fn archivers_at_once_do_not_disturb_each_other() {
    const RUNS: u64 = 6;
    let sandbox = Sandbox::new().with_threads(1);
    // Not even the store exists when they start.
    sandbox.run(["init"]).exits(0);
    let streams: Vec<_> = (0..RUNS).map(stream).collect();
    let archive_all = |round: &str| {
        thread::scope(|scope| {
            let runs: Vec<_> = streams
                .iter()
                .enumerate()
                .map(|(number, stream)| {
                    let name = format!("{round}-{number}.tar");
                    let sandbox = &sandbox;
                    scope.spawn(move || sandbox.archive(&name, &stream[..]))
                })
                .collect();
            runs.into_iter()
                .map(|run| run.join().unwrap())
                .collect::<Vec<_>>()
        })
    };
    let first = archive_all("first");
    for folder in ["tmp", "runs"] {
        let left: Vec<_> = std::fs::read_dir(sandbox.store().join(folder))
            .unwrap()
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
    for (index, stream) in first.iter().zip(&streams) {
        sandbox.restores(index, &stream[..]);
    }
    let stored = sandbox.stored_files();
    let second = archive_all("second");
    assert_eq!(sandbox.stored_files(), stored, "something was stored again");
    for (index, stream) in second.iter().zip(&streams) {
        sandbox.restores(index, &stream[..]);
    }
    // And with a catalog made from nothing but the store.
    std::fs::remove_dir_all(sandbox.catalog()).unwrap();
    let third = archive_all("third");
    assert_eq!(sandbox.stored_files(), stored, "something was stored again");
    for (second, third) in second.iter().zip(&third) {
        assert!(std::fs::read(second).unwrap() == std::fs::read(third).unwrap());
    }
    let told = sandbox.run(["store", "--json"]).exits(0);
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(told["roots"], 3 * RUNS);
}

#[test]
fn first_runs_at_once_make_one_store_and_one_key() {
    let sandbox = Sandbox::without_key().with_threads(1);
    let stream = stream(0);
    let runs: Vec<_> = thread::scope(|scope| {
        let runs: Vec<_> = (0..4)
            .map(|number| {
                let index = sandbox.path().join(format!("{number}.tar"));
                let (sandbox, stream) = (&sandbox, &stream);
                scope.spawn(move || (sandbox.archive_to(["-q"], &stream[..], &index), index))
            })
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    for (run, index) in runs {
        run.exits(0);
        sandbox.restores(&index, &stream[..]);
    }
    assert_eq!(sandbox.run(["store"]).exits(0).stderr, "");
}
