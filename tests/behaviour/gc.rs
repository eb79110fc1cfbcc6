//! `dtar forget` and `dtar gc`: what nobody needs goes, and nothing else.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use dtar::crypto::{Key, KeyFile};
use dtar::format::note::NoteKind;
use dtar::store::Store;
use dtar::store::runs::Lease;
use serde_json::Value;

use crate::common::block::Stream;
use crate::common::sandbox::{KEY, Run, Sandbox, Watchdog, wait_until};
use crate::common::source::Random;
use crate::json::summary;

const BODY: usize = 700_000;

/// A file for each number, that no other number's has anything in common with.
fn stream(numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let mut stream = Stream::new();
    for number in numbers {
        stream = stream.file(&format!("file-{number}"), &Random(number).bytes(BODY));
    }
    stream.end()
}

/// A few files of those below `end`: in one or two frames of three that make a brick.
fn few(end: u64) -> Vec<u8> {
    stream((0..end).filter(|number| number % 45 < 2))
}

/// Archives with small bricks, of three frames each.
fn archive(sandbox: &Sandbox, name: &str, stream: &[u8]) -> PathBuf {
    let index = sandbox.path().join(name);
    let options = ["-q", "--brick-size", "20M", "--label", name];
    sandbox.archive_to(options, stream, &index).exits(0);
    index
}

/// All files of the store with their lengths.
fn files(sandbox: &Sandbox) -> BTreeMap<PathBuf, u64> {
    crate::common::files::files(&sandbox.store())
}

fn below(sandbox: &Sandbox, folder: &str) -> Vec<PathBuf> {
    let folder = sandbox.store().join(folder);
    let files = files(sandbox).into_keys();
    files.filter(|path| path.starts_with(&folder)).collect()
}

fn bytes_below(sandbox: &Sandbox, folder: &str) -> u64 {
    let folder = sandbox.store().join(folder);
    let files = files(sandbox).into_iter();
    let files = files.filter(|(path, _)| path.starts_with(&folder));
    files.map(|(_, length)| length).sum()
}

/// Collects; what is left is all that runs and their indexes need.
fn gc(sandbox: &Sandbox, options: &[&str]) -> Value {
    let run = sandbox.run(["gc", "--json"].iter().chain(options)).exits(0);
    let verified = sandbox.run(["verify", "--json"]).exits(0);
    assert_eq!(summary(&verified)["strays"], 0, "{}", verified.stderr);
    summary(&run)
}

/// Nothing is left that belongs to a run or a gc.
#[track_caller]
fn is_clean(sandbox: &Sandbox) {
    for folder in ["runs", "tmp", "dead"] {
        let left: Vec<_> = fs::read_dir(sandbox.store().join(folder))
            .into_iter()
            .flatten()
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

fn key() -> Key {
    match KeyFile::parse(KEY.as_bytes()) {
        Ok(KeyFile::Key(key)) => key,
        other => panic!("{other:?}"),
    }
}

#[test]
fn garbage_goes_and_what_is_needed_stays() {
    let sandbox = Sandbox::new();
    let (one, two) = (stream(0..40), stream(35..60));
    let first = archive(&sandbox, "one.tar", &one);
    let second = archive(&sandbox, "two.tar", &two);
    // Nothing to do.
    let before = files(&sandbox);
    let done = gc(&sandbox, &["--threshold", "0"]);
    assert_eq!((&done["deleted"], &done["freed"]), (&0.into(), &0.into()));
    assert_eq!(files(&sandbox), before);
    sandbox
        .run(["forget", "@label:one.tar"])
        .exits(0)
        .says(&["forgot 1 run", "snapshot and root"]);
    sandbox.restores(&first, &one[..]);
    let done = gc(&sandbox, &["--threshold", "0"]);
    assert!(done["deleted"].as_u64() > Some(0), "{done}");
    assert_eq!(done["rewritten"], 0);
    sandbox.restores(&second, &two[..]);
    sandbox.restores(Path::new("@latest"), &two[..]);
    sandbox
        .run(["restore", "one.tar"])
        .exits(3)
        .says(&["brick is missing", "gc may have deleted it"]);
    let freed = before.values().sum::<u64>() - files(&sandbox).values().sum::<u64>();
    assert!(freed >= done["freed"].as_u64().unwrap());
    is_clean(&sandbox);
    // What is gone is stored again, and the old index finds it.
    archive(&sandbox, "again.tar", &one);
    sandbox.restores(&first, &one[..]);
}

#[test]
fn of_bricks_that_are_needed_a_little_that_little_is_moved() {
    let sandbox = Sandbox::new();
    let (one, two) = (stream(0..60), few(60));
    archive(&sandbox, "one.tar", &one);
    let second = archive(&sandbox, "two.tar", &two);
    let before = bytes_below(&sandbox, "bricks");
    sandbox.run(["forget", "@2", "-q"]).exits(0);
    let plan = gc(&sandbox, &["--dry-run"]);
    let done = gc(&sandbox, &[]);
    for field in ["deleted", "rewritten", "moved_frames"] {
        assert_eq!(plan[field], done[field], "{field}");
    }
    assert!(done["rewritten"].as_u64() > Some(0), "{done}");
    // Nothing is missing: roots and indexes name places that frames have left.
    let run = sandbox.run(["verify", "--all-here", "--json"]).exits(0);
    assert_eq!(summary(&run)["strays"], 0);
    for way in ["--quick", "--all-here"] {
        sandbox.run(["verify", way, "two.tar", "@latest"]).exits(0);
    }
    // Bricks alone are enough, as on a tape: what was moved is found by their own TOCs.
    let (tocs, away) = (sandbox.store().join("tocs"), sandbox.path().join("tocs"));
    fs::rename(&tocs, &away).unwrap();
    let catalog = sandbox.path().join("no-catalog");
    let restored = sandbox
        .command(["restore", "two.tar"])
        .env("DTAR_CATALOG", catalog)
        .output()
        .unwrap();
    assert!(
        restored.stdout == two,
        "{}",
        String::from_utf8_lossy(&restored.stderr)
    );
    fs::rename(&away, &tocs).unwrap();
    // A frame holds several of the files.
    let after = bytes_below(&sandbox, "bricks");
    assert!(after < before, "{before} to {after}");
    sandbox.restores(&second, &two[..]);
    sandbox.restores(Path::new("@latest"), &two[..]);
    is_clean(&sandbox);
    // It comes to an end.
    let done = gc(&sandbox, &[]);
    assert_eq!(
        (&done["deleted"], &done["rewritten"]),
        (&0.into(), &0.into())
    );
    // Who archives deduplicates against the new bricks, and all goes on from there.
    let bricks = below(&sandbox, "bricks");
    let third = archive(&sandbox, "three.tar", &two);
    assert_eq!(below(&sandbox, "bricks"), bricks);
    sandbox.run(["forget", "@2"]).exits(0);
    gc(&sandbox, &["--threshold", "100"]);
    sandbox.restores(&third, &two[..]);
    sandbox.restores(Path::new("@latest"), &two[..]);
    // Frames that are moved again keep their origins.
    let one = stream([45]);
    let fourth = archive(&sandbox, "four.tar", &one);
    sandbox.run(["forget", "@2"]).exits(0);
    gc(&sandbox, &["--threshold", "100"]);
    sandbox.restores(&fourth, &one[..]);
    let selected = sandbox.run(["restore", "two.tar", "file-45"]).exits(0);
    assert!(selected.stdout.starts_with(&one[..512 + BODY]));
}

#[test]
fn an_index_that_is_kept_restores_after_a_gc() {
    let sandbox = Sandbox::new();
    let (one, two) = (stream(0..60), few(60));
    let first = archive(&sandbox, "one.tar", &one);
    let second = archive(&sandbox, "two.tar", &two);
    sandbox.run(["forget", "@latest", "@2"]).exits(0);
    gc(&sandbox, &["--keep", "two.tar"]);
    sandbox.restores(&second, &two[..]);
    sandbox.run(["restore", "one.tar"]).exits(3);
    // Once more, with what has been moved.
    gc(&sandbox, &["--keep", "two.tar"]);
    sandbox.restores(&second, &two[..]);
    // An index that was altered keeps nothing, and stops gc.
    let mut bytes = fs::read(&first).unwrap();
    bytes[100] ^= 1;
    fs::write(&first, bytes).unwrap();
    let before = files(&sandbox);
    sandbox.run(["gc", "--keep", "one.tar"]).exits(3);
    assert_eq!(files(&sandbox), before);
    gc(&sandbox, &[]);
    assert!(below(&sandbox, "bricks").is_empty());
    assert!(below(&sandbox, "tocs").is_empty());
    assert!(below(&sandbox, "meta").is_empty());
}

#[test]
fn a_put_key_is_enough() {
    let sandbox = Sandbox::new();
    let (one, two) = (stream(0..60), few(60));
    archive(&sandbox, "one.tar", &one);
    let second = archive(&sandbox, "two.tar", &two);
    sandbox.run(["key", "put", "put"]).exits(0);
    sandbox.run(["forget", "@2", "--key", "put"]).exits(0);
    let done = gc(&sandbox, &["--key", "put", "--keep", "two.tar"]);
    assert!(done["moved_frames"].as_u64() > Some(0), "{done}");
    sandbox.restores(&second, &two[..]);
}

#[test]
fn a_dry_run_writes_nothing() {
    let sandbox = Sandbox::new();
    archive(&sandbox, "one.tar", &stream(0..30));
    archive(&sandbox, "two.tar", &stream([3]));
    sandbox.run(["forget", "@2"]).exits(0);
    let before = files(&sandbox);
    let run = sandbox.run(["gc", "--dry-run"]).exits(0);
    run.says(&["would delete", "rewrite"]);
    assert_eq!(files(&sandbox), before);
    // What is young may be left alone.
    let done = gc(&sandbox, &["--min-age", "1h"]);
    assert_eq!(
        (&done["deleted"], &done["rewritten"]),
        (&0.into(), &0.into())
    );
    assert!(done["left_out"].as_u64() > Some(0), "{done}");
    assert_eq!(files(&sandbox), before);
    let done = gc(&sandbox, &["--min-age", "0s"]);
    assert!(done["deleted"].as_u64() > Some(0), "{done}");
}

/// An archiver that has got all of `stream` but the end, and waits.
fn half(sandbox: &Sandbox, index: &Path, stream: &[u8]) -> (Child, ChildStdin) {
    let mut child = sandbox
        .command(["-q", "--brick-size", "8M"])
        .stdin(Stdio::piped())
        .stdout(File::create(index).unwrap())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&stream[..stream.len() - 1024]).unwrap();
    (child, stdin)
}

fn end_of(child: Child) -> Run {
    let _watchdog = Watchdog::with_limit(&child, Duration::from_secs(120));
    child.wait_with_output().unwrap().into()
}

#[test]
fn gc_waits_for_runs_that_began_before_it() {
    let sandbox = Sandbox::new();
    let (old, new) = (stream(0..40), stream(0..45));
    archive(&sandbox, "old.tar", &old);
    archive(&sandbox, "other.tar", &stream(100..110));
    sandbox.run(["forget", "@label:old.tar"]).exits(0);
    // It relies on what is garbage when gc begins.
    let index = sandbox.path().join("new.tar");
    let (archiver, mut stdin) = half(&sandbox, &index, &new);
    let collector = sandbox
        .command(["gc"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("a dead list", || !below(&sandbox, "dead").is_empty());
    thread::sleep(Duration::from_millis(500));
    assert!(!below(&sandbox, "dead").is_empty(), "gc did not wait");
    // Whoever begins now does without these bricks, and gc does not wait for it.
    let third = stream(0..5);
    let told = sandbox.archive_to(["--json"], &third[..], &sandbox.path().join("third.tar"));
    assert_eq!(summary(&told.exits(0))["deduplicated"], 0);
    stdin.write_all(&[0; 1024]).unwrap();
    drop(stdin);
    end_of(archiver).exits(0);
    let run = end_of(collector).exits(0);
    run.says(&["waiting for a run", "came to be needed meanwhile"]);
    sandbox.restores(&index, &new[..]);
    sandbox.restores(&sandbox.path().join("third.tar"), &third[..]);
    is_clean(&sandbox);
    gc(&sandbox, &[]);
    sandbox.restores(&index, &new[..]);
    sandbox.restores(&sandbox.path().join("third.tar"), &third[..]);
}

#[test]
fn what_a_killed_archiver_leaves_is_collected() {
    let sandbox = Sandbox::new();
    let kept = archive(&sandbox, "kept.tar", &stream(0..5));
    let before = below(&sandbox, "bricks");
    let index = sandbox.path().join("killed.tar");
    let (mut archiver, _stdin) = half(&sandbox, &index, &stream(10..60));
    wait_until("new bricks", || {
        below(&sandbox, "bricks").len() > before.len() + 1
    });
    archiver.kill().unwrap();
    archiver.wait().unwrap();
    assert!(!below(&sandbox, "runs").is_empty());
    // A brick that was about to get its sidecar: nobody needs it.
    let lost = below(&sandbox, "bricks")
        .into_iter()
        .find(|path| !before.contains(path));
    let name = lost.as_ref().and_then(|path| path.file_stem()).unwrap();
    let hex = name.to_str().unwrap();
    let sidecar = format!("tocs/{}/{hex}.toc", &hex[..2]);
    let _ = fs::remove_file(sandbox.store().join(sidecar));
    for key in [&["--json"][..], &["--json", "--no-key"]] {
        let run = sandbox.run(["verify"].iter().chain(key)).exits(0);
        assert_eq!(summary(&run)["strays"], 1);
        assert!(run.stderr.contains(hex), "{}", run.stderr);
    }
    let run = sandbox.run(["gc"]).exits(0);
    run.says(&["ended a run on"]);
    assert_eq!(below(&sandbox, "bricks"), before);
    is_clean(&sandbox);
    sandbox.restores(&kept, &stream(0..5)[..]);
}

#[test]
fn a_run_can_be_ended_by_request() {
    let sandbox = Sandbox::new();
    archive(&sandbox, "old.tar", &stream(0..40));
    sandbox.run(["forget", "@latest"]).exits(0);
    let index = sandbox.path().join("new.tar");
    let (archiver, mut stdin) = half(&sandbox, &index, &stream(0..45));
    let run = sandbox.run(["gc", "--end-runs"]).exits(0);
    run.says(&["ended a run on"]);
    let _ = stdin.write_all(&[0; 1024]);
    drop(stdin);
    end_of(archiver).exits(1).says(&["ended by a gc"]);
    assert!(below(&sandbox, "roots").is_empty());
    sandbox.run(["restore", "new.tar"]).exits(1);
    gc(&sandbox, &[]);
    assert!(below(&sandbox, "bricks").is_empty());
    is_clean(&sandbox);
}

#[test]
fn there_is_one_gc_at_a_time() {
    let sandbox = Sandbox::new();
    archive(&sandbox, "one.tar", &stream(0..5));
    sandbox.run(["forget", "@latest"]).exits(0);
    let store = Store::open(&sandbox.store(), &key()).unwrap();
    let keys = store.put_keys(&key()).unwrap();
    let lease = Lease::take(&store, &keys, NoteKind::GcLease, "").unwrap();
    let before = below(&sandbox, "bricks");
    let run = sandbox.run(["gc"]).exits(1);
    run.says(&["another gc is at work", "--end-runs"]);
    assert_eq!(below(&sandbox, "bricks"), before);
    sandbox
        .run(["gc", "--end-runs"])
        .exits(0)
        .says(&["ended a run"]);
    assert!(below(&sandbox, "bricks").is_empty());
    lease.require().unwrap_err();
}

#[test]
fn one_run_can_be_ended_by_its_name() {
    let sandbox = Sandbox::new();
    archive(&sandbox, "one.tar", &stream(0..5));
    sandbox.run(["forget", "@latest"]).exits(0);
    let store = Store::open(&sandbox.store(), &key()).unwrap();
    let keys = store.put_keys(&key()).unwrap();
    let lease = Lease::take(&store, &keys, NoteKind::GcLease, "").unwrap();
    let other = "--end-runs=00000000000000000007-0123456789abcdef";
    let this = format!("--end-runs={}", lease.name());
    sandbox.run(["gc", "--end-runs=any"]).exits(2);
    let run = sandbox.run(["gc", other]).exits(1);
    run.says(&["another gc is at work", &this]);
    lease.require().unwrap();
    sandbox.run(["gc", &this]).exits(0).says(&["ended a run"]);
    lease.require().unwrap_err();
    assert!(below(&sandbox, "bricks").is_empty());
}

/// A brick that came after gc had listed what there is, and its mark.
#[test]
fn the_mark_of_a_brick_that_comes_meanwhile_stays() {
    let sandbox = Sandbox::new();
    archive(&sandbox, "old.tar", &stream(0..5));
    sandbox.run(["forget", "@latest"]).exits(0);
    let before = below(&sandbox, "bricks");
    let store = Store::open(&sandbox.store(), &key()).unwrap();
    let keys = store.put_keys(&key()).unwrap();
    let lease = Lease::take(&store, &keys, NoteKind::ArchiverLease, "").unwrap();
    let mut gc = sandbox.command(["gc"]);
    let gc = gc.stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the dead list", || !below(&sandbox, "dead").is_empty());
    archive(&sandbox, "new.tar", &stream(10..15));
    let new = below(&sandbox, "bricks");
    let new = new.iter().find(|path| !before.contains(path)).unwrap();
    let bad = sandbox.store().join("bad");
    fs::create_dir_all(&bad).unwrap();
    let (mark, stray) = (
        bad.join(new.file_stem().unwrap()),
        bad.join("ab".repeat(32)),
    );
    fs::write(&mark, b"").unwrap();
    fs::write(&stray, b"").unwrap();
    lease.give_up().unwrap();
    end_of(gc).exits(0);
    assert!(!before[0].exists() && new.exists());
    assert!(mark.exists() && !stray.exists());
}

#[test]
fn what_is_younger_than_any_age_stays() {
    let sandbox = Sandbox::new();
    archive(&sandbox, "one.tar", &stream(0..5));
    sandbox.run(["forget", "@latest"]).exits(0);
    let before = below(&sandbox, "bricks");
    let age = format!("{}s", u64::MAX);
    let left = gc(&sandbox, &["--min-age", &age]);
    assert_eq!(
        (&left["deleted"], &left["left_out"]),
        (&0.into(), &2.into())
    );
    assert_eq!(below(&sandbox, "bricks"), before);
}

/// Without a snapshot nothing in the store says that there was a root. Whoever wrote it
/// remembers.
#[test]
fn gc_stops_if_the_last_root_from_here_is_gone() {
    let sandbox = Sandbox::new();
    let last = |name: &str| {
        let index = sandbox.path().join(name);
        let options = ["-q", "--no-snapshot"];
        let stream = stream(5..8);
        sandbox.archive_to(options, &stream[..], &index).exits(0);
        let root = below(&sandbox, "roots").pop().unwrap();
        fs::remove_file(&root).unwrap();
        (
            index,
            format!("@{}", root.file_stem().unwrap().to_str().unwrap()),
        )
    };
    let kept = archive(&sandbox, "one.tar", &stream(0..5));
    let (index, name) = last("two.tar");
    let before = files(&sandbox);
    let words = ["is gone, which the last run from here wrote", &name[1..]];
    sandbox.run(["gc", "--dry-run"]).exits(3).says(&words);
    let run = sandbox.run(["gc"]).exits(3).says(&words);
    run.says(&["nothing is deleted", &format!("dtar forget {name}")]);
    assert_eq!(files(&sandbox), before);
    sandbox.restores(&index, &stream(5..8)[..]);
    // Somebody has given it up elsewhere.
    sandbox
        .run(["forget", &name])
        .exits(0)
        .says(&["gone already"]);
    assert!(gc(&sandbox, &[])["deleted"].as_u64() > Some(0));
    let (_, name) = last("two.tar");
    let run = sandbox.run(["gc", "--allow-missing"]).exits(3);
    run.says(&[words[0], &name[1..]]);
    assert_eq!(gc(&sandbox, &[])["deleted"], 0);
    sandbox.run(["restore", "two.tar"]).exits(3);
    sandbox.restores(&kept, &stream(0..5)[..]);
}

#[test]
fn a_root_that_is_lost_or_damaged_stops_gc() {
    let sandbox = Sandbox::new();
    archive(&sandbox, "one.tar", &stream(0..5));
    let two = archive(&sandbox, "two.tar", &stream(5..10));
    let roots = below(&sandbox, "roots");
    let good = fs::read(&roots[0]).unwrap();
    let name = roots[0].file_stem().unwrap().to_str().unwrap().to_owned();
    let mut bad = good.clone();
    bad[150] ^= 1;
    for damage in [None, Some(bad)] {
        match damage {
            None => fs::remove_file(&roots[0]).unwrap(),
            Some(bad) => fs::write(&roots[0], bad).unwrap(),
        }
        let before = files(&sandbox);
        let run = sandbox.run(["gc"]).exits(3);
        run.says(&[&name, "nothing is deleted", "dtar forget"]);
        assert_eq!(files(&sandbox), before);
    }
    // What it says can be done.
    sandbox.run(["forget", &format!("@{name}")]).exits(0);
    let done = gc(&sandbox, &[]);
    assert!(done["deleted"].as_u64() > Some(0), "{done}");
    sandbox.restores(&two, &stream(5..10)[..]);
}

#[test]
fn cold_bricks_are_named_and_needed_ones_stay() {
    let sandbox = Sandbox::new();
    archive(&sandbox, "one.tar", &stream(0..5));
    let two = archive(&sandbox, "two.tar", &stream(5..10));
    let away = sandbox.path().join("away");
    fs::rename(sandbox.store().join("bricks"), &away).unwrap();
    let sidecars = below(&sandbox, "tocs").len();
    sandbox.run(["forget", "@2"]).exits(0);
    let run = sandbox.run(["gc"]).exits(0);
    run.says(&[
        "nothing is needed any more",
        "may be deleted where they lie",
    ]);
    assert!(below(&sandbox, "tocs").len() < sidecars);
    fs::rename(&away, sandbox.store().join("bricks")).unwrap();
    sandbox.restores(&two, &stream(5..10)[..]);
    // Now it is a brick without a sidecar.
    let done = gc(&sandbox, &[]);
    assert_eq!((&done["deleted"], &done["cold"]), (&1.into(), &0.into()));
    sandbox.restores(&two, &stream(5..10)[..]);
}

#[test]
fn a_damaged_brick_is_marked_and_not_rewritten() {
    let sandbox = Sandbox::new();
    archive(&sandbox, "one.tar", &stream(0..40));
    let few = archive(&sandbox, "few.tar", &stream([0]));
    sandbox.run(["forget", "@2"]).exits(0);
    for brick in below(&sandbox, "bricks") {
        let mut bytes = fs::read(&brick).unwrap();
        let last = bytes.len() - 1000;
        bytes[last] ^= 1;
        fs::write(&brick, &bytes).unwrap();
    }
    let run = sandbox.run(["gc"]).exits(0);
    run.says(&["is kept", "marked bad"]);
    assert_eq!(below(&sandbox, "bad").len(), 1);
    sandbox.restores(&few, &stream([0])[..]);
    // Once nothing of it is needed it goes, and its mark with it.
    sandbox.run(["forget", "@latest"]).exits(0);
    gc(&sandbox, &[]);
    assert!(below(&sandbox, "bad").is_empty() && below(&sandbox, "bricks").is_empty());
}

#[test]
fn a_snapshot_that_is_to_be_kept_must_be_there() {
    let sandbox = Sandbox::new();
    archive(&sandbox, "one.tar", b"one");
    let before = files(&sandbox);
    let run = sandbox.run(["gc", "--keep", "@latest"]).exits(0);
    run.says(&["@latest is kept by its root"]);
    assert_eq!(files(&sandbox), before);
    sandbox
        .run(["gc", "--keep", "@2"])
        .exits(1)
        .says(&["no snapshot 2"]);
    let help = sandbox.run(["gc", "--help"]).exits(0);
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("`dry_run`") && help.contains("--allow-missing goes on"));
}

#[test]
fn forget_takes_what_index_takes() {
    let sandbox = Sandbox::new();
    for name in ["one.tar", "two.tar", "three.tar", "four.tar"] {
        archive(&sandbox, name, name.as_bytes());
    }
    let none = sandbox.path().join("none.tar");
    let options = ["-q", "--no-snapshot"];
    sandbox.archive_to(options, &b"none"[..], &none).exits(0);
    for (arguments, code, word) in [
        (&["forget"][..], 2, "SNAPSHOT"),
        (&["forget", "one.tar"], 2, "expected a snapshot"),
        (&["forget", "@latest", "@9"], 1, "no snapshot 9"),
        (&["forget", "@0"], 2, "is no time"),
        (&["forget", "@0000"], 1, "no run is named"),
    ] {
        sandbox.run(arguments).exits(code).says(&[word]);
    }
    assert_eq!(below(&sandbox, "roots").len(), 5);
    // Both are found before one goes; twice the same is once.
    let run = sandbox.run(["forget", "@latest", "@2", "@label:four.tar"]);
    run.exits(0).says(&["forgot 2 runs"]);
    let run = sandbox.run(["forget", "--json", "@label:one.tar"]).exits(0);
    assert_eq!(summary(&run)["forgotten"], 1);
    let listed = sandbox.run(["snapshots"]).exits(0);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(
        listed.contains("two.tar") && listed.lines().count() == 2,
        "{listed}"
    );
    // The one without a snapshot has a name all the same.
    let root = below(&sandbox, "roots").pop().unwrap();
    let name = root.file_stem().unwrap().to_str().unwrap();
    sandbox.run(["forget", &format!("@{name}")]).exits(0);
    assert_eq!(below(&sandbox, "roots").len(), 1);
}

#[test]
fn a_time_gives_up_the_one_run_of_that_time_and_never_an_earlier_one() {
    let sandbox = Sandbox::new();
    for name in ["one.tar", "two.tar"] {
        archive(&sandbox, name, name.as_bytes());
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
    let roots = below(&sandbox, "roots");
    let [one, two] = &roots[..] else {
        panic!("{roots:?}")
    };
    let second = |root: &Path| {
        let name = root.file_stem().unwrap().to_str().unwrap();
        let seconds = name[..20].parse::<i64>().unwrap() / 1_000_000_000;
        jiff::Timestamp::from_second(seconds).unwrap().to_string()
    };
    let (earlier, later) = (format!("@{}", second(one)), format!("@{}", second(two)));
    let run = sandbox.run(["forget", "--dry-run", "--json", &later]);
    let run = run.exits(0);
    assert_eq!(
        (&summary(&run)["forgotten"], &summary(&run)["dry_run"]),
        (&1.into(), &true.into())
    );
    assert_eq!(below(&sandbox, "roots"), roots);
    // To restore, a time means what there was then.
    let at = sandbox.run(["restore", "-q", &later]).exits(0);
    assert_eq!(at.stdout, b"two.tar");
    sandbox.run(["forget", &later]).exits(0);
    assert_eq!(below(&sandbox, "roots"), std::slice::from_ref(one));
    let again = sandbox.run(["forget", &later]).exits(1);
    again.says(&["no run ended at that time; the nearest is @"]);
    assert_eq!(below(&sandbox, "roots"), std::slice::from_ref(one));
    sandbox.run(["forget", &earlier]).exits(0);
    sandbox.run(["forget", &earlier]).exits(1);
    for _ in 0..2 {
        archive(&sandbox, "new.tar", b"new");
    }
    let hours = [one, two].map(|root| second(root)[..10].to_owned());
    if hours[0] == hours[1] {
        let day = format!("@{}", hours[0]);
        let many = sandbox.run(["forget", &day]).exits(1);
        many.says(&["2 runs ended at that time"]);
        assert_eq!(below(&sandbox, "roots").len(), 2);
    }
}

/// Whatever gc is at when it dies: everything finished restores, and the next one cleans up.
#[test]
fn a_gc_that_is_killed_leaves_a_good_store() {
    const ROUNDS: u64 = 50;
    let sandbox = Sandbox::new();
    archive(&sandbox, "base.tar", &stream(0..60));
    let kept: Vec<_> = (0..3)
        .map(|number| {
            let stream = stream(number * 20..number * 20 + 3);
            let name = format!("kept-{number}.tar");
            (archive(&sandbox, &name, &stream), stream)
        })
        .collect();
    sandbox.run(["forget", "@label:base.tar", "-q"]).exits(0);
    let mut random = Random(77);
    let mut killed = 0;
    // How long one takes that is not killed.
    let mut usual = Duration::from_millis(60);
    for round in 0..ROUNDS {
        // Some of it is needed by what is kept.
        let garbage = stream((round % 5 * 12..round % 5 * 12 + 12).chain([1000 + round]));
        archive(&sandbox, "garbage.tar", &garbage);
        sandbox.run(["forget", "@latest", "-q"]).exits(0);
        let byte = u64::from(random.bytes(1)[0]);
        let delay = usual.mul_f64(f64::from(u8::try_from(byte).unwrap()) / 200.0);
        let threshold = ["0", "50", "100"][usize::try_from(byte % 3).unwrap()];
        let start = Instant::now();
        let mut child = sandbox
            .command(["gc", "-q", "--threshold", threshold])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(delay);
        let ended = child.try_wait().unwrap();
        let _ = child.kill();
        let status = child.wait().unwrap();
        if let Some(ended) = ended {
            assert!(ended.success());
            usual = start.elapsed();
        } else if !status.success() {
            killed += 1;
        }
        if round % 10 == 9 {
            for (index, stream) in &kept {
                sandbox.restores(index, &stream[..]);
            }
            gc(&sandbox, &["--threshold", threshold]);
            is_clean(&sandbox);
        }
    }
    assert!(killed > 10, "only {killed} were killed");
    for (index, stream) in &kept {
        sandbox.restores(index, &stream[..]);
        let name = index.file_name().unwrap().to_str().unwrap();
        sandbox.restores(Path::new(&format!("@label:{name}")), &stream[..]);
    }
    // Everything that is not needed is gone in the end.
    sandbox.run(["forget", "@latest", "@2", "@3"]).exits(0);
    gc(&sandbox, &[]);
    is_clean(&sandbox);
    for folder in ["bricks", "tocs", "meta", "bad", "roots", "snapshots"] {
        assert!(below(&sandbox, folder).is_empty(), "{folder}");
    }
}
