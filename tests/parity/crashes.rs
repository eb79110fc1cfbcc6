//! A gc that is killed: parity keeps what it promises at each step, and the next gc ends in
//! the same state as if nothing had happened.
//!
//! Prints how many states were looked at, and how many kills there were. `DTAR_PARITY_KILLS`
//! (12) says how many are wanted, `DTAR_PARITY_SEED` when they come.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use crate::common::sandbox::Sandbox;
use crate::common::source::Random;
use crate::scene::{
    ALL, archive, below, bricks, forget, gc, in_order, is_clean, parity, protected, restore, tree,
};

type Tree = BTreeMap<PathBuf, Vec<u8>>;

/// All files of a store, by their paths in it.
fn files(store: &Path) -> Tree {
    let files = tree(store).into_iter();
    let inside = |path: PathBuf| path.strip_prefix(store).unwrap().to_owned();
    files.map(|(path, bytes)| (inside(path), bytes)).collect()
}

/// Makes the files of a store these and no others.
fn put(store: &Path, files: &Tree) {
    fs::remove_dir_all(store).unwrap();
    for (path, bytes) in files {
        let path = store.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// The files of a folder of the store.
fn of<'a>(files: &'a Tree, folder: &'a str) -> impl Iterator<Item = (&'a PathBuf, &'a Vec<u8>)> {
    files
        .iter()
        .filter(move |(path, _)| path.starts_with(folder))
}

/// What a gc leaves that is killed just before it makes sets.
fn killed_before_parity(sandbox: &Sandbox) {
    let temp = sandbox.store().join("tmp");
    fs::create_dir_all(&temp).unwrap();
    let path = temp.join("parity.lock");
    let lock = fs::File::create(&path).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let mut gc = sandbox
        .command(["gc"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while below(sandbox, &["dead"]).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(60), "no dead list");
        thread::sleep(Duration::from_millis(5));
    }
    thread::sleep(Duration::from_millis(200));
    gc.kill().unwrap();
    assert_eq!(gc.wait().unwrap().signal(), Some(9));
    fs::remove_file(path).unwrap();
}

/// The states in which a gc may be interrupted, one after the other.
fn states(before: &Tree, after: &Tree) -> Vec<(String, Tree)> {
    let mut state = before.clone();
    let mut states = vec![("no new set".to_owned(), state.clone())];
    let mut keep = |what: &str, state: &Tree| states.push((what.to_owned(), state.clone()));
    let fresh: Vec<_> = of(after, "parity")
        .filter(|(path, _)| !before.contains_key(*path))
        .collect();
    assert!(fresh.len() > 1, "a set has two files at least");
    for (path, bytes) in fresh {
        state.insert(path.clone(), bytes.clone());
        keep("new sets, or a part", &state);
    }
    for folder in ["tocs", "bricks", "meta", "parity", "dead"] {
        let doomed = of(before, folder).filter(|(path, _)| !after.contains_key(*path));
        for (path, _) in doomed {
            state.remove(path);
            keep(&format!("deleting {folder}"), &state);
        }
    }
    states
}

#[test]
fn at_each_step_what_stays_is_protected_and_the_next_gc_ends_alike() {
    let sandbox = protected();
    forget(&sandbox, [2, 6]);
    let undisturbed = sandbox.with_copied_store();
    gc(&undisturbed, &[]);
    is_clean(&undisturbed);
    let after = files(&undisturbed.store());
    killed_before_parity(&sandbox);
    let states = states(&files(&sandbox.store()), &after);
    let staying: Vec<PathBuf> = ["bricks", "meta"]
        .iter()
        .flat_map(|folder| of(&after, folder))
        .map(|(path, _)| path.clone())
        .collect();
    let same = |sandbox: &Sandbox, what: &str| {
        let found = files(&sandbox.store());
        for folder in ALL {
            let names = |tree: &Tree| {
                of(tree, folder)
                    .map(|(path, _)| path.clone())
                    .collect::<Vec<_>>()
            };
            assert_eq!(names(&found), names(&after), "{what}: {folder}");
            assert!(
                of(&found, folder).eq(of(&after, folder)),
                "{what}: {folder}"
            );
        }
        is_clean(sandbox);
    };
    let other = Sandbox::new();
    fs::create_dir(other.store()).unwrap();
    let mut gone = Vec::new();
    for (number, (what, state)) in states.iter().enumerate() {
        // The next gc.
        put(&other.store(), state);
        gc(&other, &[]);
        same(&other, what);
        in_order(&other);
        // One of those that stay is lost before the next gc, and repaired: what may come
        // back beside it goes again.
        put(&other.store(), state);
        let lost = other.store().join(&staying[number % staying.len()]);
        fs::remove_file(&lost).unwrap();
        parity(&other, ["repair"]);
        if fs::read(&lost).ok().as_ref() != after.get(&staying[number % staying.len()]) {
            gone.push(what);
        }
        gc(&other, &[]);
        same(&other, what);
    }
    println!(
        "interrupted states {}, bricks lost {}",
        states.len(),
        gone.len()
    );
    assert!(gone.is_empty(), "{gone:?}");
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

#[test]
fn a_gc_that_is_killed_at_any_moment_harms_no_set() {
    let (kills, seed) = (
        setting("DTAR_PARITY_KILLS", 12),
        setting("DTAR_PARITY_SEED", 1),
    );
    let sandbox = protected();
    let mut random = Random(seed);
    let mut number = || {
        random
            .bytes(4)
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    };
    forget(&sandbox, [1, 3]);
    let mut next = 12;
    // How long a gc takes that is not disturbed.
    let start = Instant::now();
    gc(&sandbox.with_copied_store(), &[]);
    let usual = start.elapsed();
    let (mut killed, mut ended, mut protected) = (0, 0, 0);
    while killed < kills {
        let mut gc = sandbox
            .command(["gc", "-q"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(usual * u32::try_from(number() % 600).unwrap() / 1000);
        gc.kill().unwrap();
        if gc.wait().unwrap().signal() == Some(9) {
            killed += 1;
        } else {
            // There was too little to do: it gets more.
            ended += 1;
            archive(&sandbox, [next]);
            parity(&sandbox, ["add", "--share", "15%"]).exits(0);
            forget(&sandbox, [next]);
            next += 1;
        }
        // A brick that is needed is lost, and comes back.
        let index = (number() % 4) as usize;
        let all = bricks(&sandbox.store());
        let needed: Vec<_> = all
            .iter()
            .filter(|path| has_sidecar(&sandbox, path))
            .collect();
        let lost = needed[index % needed.len()];
        let bytes = fs::read(lost).unwrap();
        fs::remove_file(lost).unwrap();
        parity(&sandbox, ["repair"]);
        if fs::read(lost).ok() == Some(bytes.clone()) {
            protected += 1;
        } else {
            // A set of one run survives no lost brick; it is not for gc to mend that.
            fs::write(lost, bytes).unwrap();
        }
    }
    gc(&sandbox, &[]);
    in_order(&sandbox);
    is_clean(&sandbox);
    restore(&sandbox, (0..12).filter(|number| ![1, 3].contains(number)));
    assert!(protected > 0);
    println!(
        "kills {killed}, ended before {ended}, lost bricks brought back {protected}, seed {seed}"
    );
}

fn has_sidecar(sandbox: &Sandbox, brick: &Path) -> bool {
    let name = brick.file_stem().unwrap().to_str().unwrap();
    sandbox
        .store()
        .join(format!("tocs/{}/{name}.toc", &name[..2]))
        .exists()
}
