//! Archivers, gc and parity commands at the same time.

use std::fs;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::common::sandbox::{Run, Sandbox, Watchdog, wait_until};
use crate::scene::{
    archive, below, each_comes_back, forget, gc, in_order, index_of, is_clean, parity, protected,
    restore, stream,
};

fn end_of(child: Child) -> Run {
    let _watchdog = Watchdog::new(&child);
    child.wait_with_output().unwrap().into()
}

fn spawn(sandbox: &Sandbox, arguments: &[&str]) -> Child {
    let mut command = sandbox.command(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

#[test]
fn archivers_gc_and_parity_do_not_disturb_each_other() {
    let sandbox = Sandbox::new();
    archive(&sandbox, 0..6);
    parity(&sandbox, ["add", "--share", "30%"]).exits(0);
    let (done, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    let count = |run: Run| {
        assert!(!run.stderr.contains("panicked at"), "{}", run.stderr);
        rounds.fetch_add(1, Ordering::Relaxed);
        run
    };
    thread::scope(|scope| {
        let repeat = |arguments: &'static [&'static str]| {
            while !done.load(Ordering::Relaxed) {
                count(sandbox.run(arguments)).exits(0);
            }
        };
        scope.spawn(move || repeat(&["parity", "add", "--share", "30%"]));
        scope.spawn(move || repeat(&["parity", "add", "--share", "30%", "--merge"]));
        scope.spawn(move || repeat(&["gc", "-q"]));
        scope.spawn(move || repeat(&["parity", "repair"]));
        // Reads while others delete: it may find fault with what is on its way out.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                count(sandbox.run(["parity", "check"]));
            }
        });
        let (sandbox, done) = (&sandbox, &done);
        let archivers: Vec<_> = [6_u64, 20]
            .into_iter()
            .map(|first| {
                scope.spawn(move || {
                    for number in first..first + 10 {
                        archive(sandbox, [number]);
                        if number % 2 == 0 {
                            forget(sandbox, [number]);
                        }
                    }
                })
            })
            .collect();
        let ended: Vec<_> = archivers
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect();
        done.store(true, Ordering::Relaxed);
        assert!(ended.into_iter().all(|ended| ended.is_ok()));
    });
    parity(&sandbox, ["add", "--share", "30%", "--merge"]).exits(0);
    gc(&sandbox, &[]);
    is_clean(&sandbox);
    in_order(&sandbox);
    // Gc may leave a set of a few bricks, whose share is less than the largest of them.
    parity(&sandbox, ["add", "--share", "30%", "--merge"]).exits(0);
    in_order(&sandbox);
    let lost = each_comes_back(&sandbox);
    restore(
        &sandbox,
        (0..6).chain((6..30).filter(|n| n % 2 == 1 && !(16..20).contains(n))),
    );
    let rounds = rounds.into_inner();
    println!("commands beside 20 runs: {rounds}, bricks lost and brought back {lost}");
}

#[test]
fn what_comes_to_be_needed_meanwhile_stays_in_a_set() {
    let sandbox = protected();
    forget(&sandbox, [4, 9]);
    // A run that relies on what is garbage when gc begins.
    let index = sandbox.path().join("again.tar");
    let mut archiver = sandbox
        .command(["-q"])
        .stdin(Stdio::piped())
        .stdout(fs::File::create(&index).unwrap())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stream = stream(4);
    let mut stdin = archiver.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, &stream[..stream.len() - 1024]).unwrap();
    wait_until("a run", || !below(&sandbox, &["runs"]).is_empty());
    thread::sleep(Duration::from_millis(300));
    let collector = spawn(&sandbox, &["gc"]);
    wait_until("a dead list", || !below(&sandbox, &["dead"]).is_empty());
    // Gc waits for the run, and parity commands need not wait for gc.
    parity(&sandbox, ["add"]).exits(0);
    std::io::Write::write_all(&mut stdin, &[0; 1024]).unwrap();
    drop(stdin);
    end_of(archiver).exits(0);
    end_of(collector)
        .exits(0)
        .says(&["came to be needed meanwhile", "parity set replaced by 1"]);
    parity(&sandbox, ["add"]).exits(0);
    in_order(&sandbox);
    each_comes_back_of(&sandbox);
    sandbox.restores(&index, &stream[..]);
    restore(&sandbox, [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11]);
    assert!(index_of(4) == "4.tar");
}

fn each_comes_back_of(sandbox: &Sandbox) {
    // The spared brick was in the set that was made anew, so it survives like others.
    let found = parity(sandbox, ["check", "--json"]).exits(0);
    assert!(
        found
            .stderr
            .lines()
            .any(|line| line.contains("\"bricks_to_spare\":1"))
    );
}

/// Files that live in `tmp/` while somebody holds them.
#[test]
fn files_in_the_making_are_not_swept_away() {
    let sandbox = protected();
    let temp = sandbox.store().join("tmp");
    fs::create_dir_all(&temp).unwrap();
    let (held, stale) = (temp.join("0123456789abcdef"), temp.join("fedcba9876543210"));
    for path in [&held, &stale] {
        fs::write(path, b"half").unwrap();
    }
    let lock = fs::File::open(&held).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let commands: [&[&str]; 4] = [
        &["parity", "add"],
        &["parity", "repair"],
        &["gc"],
        &["parity", "add", "--merge"],
    ];
    for command in commands {
        sandbox.run(command).exits(0);
        assert!(held.exists(), "{command:?}");
        assert!(!stale.exists(), "{command:?}");
        fs::write(&stale, b"half").unwrap();
    }
    archive(&sandbox, [12]);
    assert!(held.exists() && !stale.exists());
    drop(lock);
    archive(&sandbox, [13]);
    assert!(!held.exists());
}

#[test]
fn one_command_waits_for_another_and_says_so() {
    let sandbox = protected();
    forget(&sandbox, [4]);
    let path = sandbox.store().join("tmp/parity.lock");
    for arguments in [&["parity", "add"][..], &["parity", "repair"], &["gc"]] {
        let lock = fs::File::create(&path).unwrap();
        flock(&lock, FlockOperation::LockExclusive).unwrap();
        let child = spawn(&sandbox, arguments);
        thread::sleep(Duration::from_millis(900));
        let before = below(&sandbox, &["parity", "bricks"]);
        fs::remove_file(&path).unwrap();
        drop(lock);
        assert!(!before.is_empty());
        end_of(child).exits(0).says(&["waiting"]);
    }
    in_order(&sandbox);
    // An archiver needs no lock.
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let lock = fs::File::create(&path).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    archive(&sandbox, [12]);
    assert!(path.exists());
}
