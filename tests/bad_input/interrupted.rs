//! Runs that end early: closed outputs and signals.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::block::{Header, Stream};
use crate::common::sandbox::{Run, Sandbox, Watchdog, wait_until};
use crate::common::source::Random;
use crate::made::{Made, refused, text};

/// A stream of noise, larger than all pipes and buffers.
fn noise(seed: u64, mebibytes: usize) -> Vec<u8> {
    let body = Random(seed).bytes(mebibytes << 20);
    Stream::new().file("noise", &body).end()
}

/// Waits for the end of a process, which must be near.
#[track_caller]
fn end_of(mut child: Child) -> Run {
    let _watchdog = Watchdog::with_limit(&child, Duration::from_secs(60));
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert!(!stderr.contains("panicked at"), "{stderr}");
    Run {
        code: child.wait().unwrap().code(),
        stdout: Vec::new(),
        stderr,
    }
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// What runs have not given a name yet: all that stands in `tmp/` and in folders of runs.
fn temporary(made: &Made) -> Vec<PathBuf> {
    let mut all = entries(&made.sandbox.store().join("tmp"));
    for run in runs(made) {
        all.extend(entries(&run));
    }
    all.retain(|path| !path.ends_with("lease"));
    all
}

/// The folders of runs.
fn runs(made: &Made) -> Vec<PathBuf> {
    entries(&made.sandbox.store().join("runs"))
}

/// What stands in a folder, if that is there: a run may end meanwhile.
fn entries(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    entries.flatten().map(|entry| entry.path()).collect()
}

/// An archive run that has got half of its stream, writes a brick, and waits.
fn half_archived(made: &Made, index: &Path) -> (Child, ChildStdin) {
    let child = made
        .sandbox
        .command(["--quiet"])
        .stdin(Stdio::piped())
        .stdout(File::create(index).unwrap())
        .stderr(Stdio::piped())
        .spawn();
    half_fed(made, child.unwrap())
}

fn half_fed(made: &Made, mut child: Child) -> (Child, ChildStdin) {
    let mut stdin = child.stdin.take().unwrap();
    let stream = noise(7, 16);
    stdin.write_all(&stream[..12 << 20]).unwrap();
    wait_until("half a brick", || !temporary(made).is_empty());
    (child, stdin)
}

/// Nothing of the run is left, and what was there before is sound.
#[track_caller]
fn nothing_left(made: &Made, index: &Path) {
    assert_eq!(made.roots(), 1, "a root was left");
    assert!(temporary(made).is_empty(), "{:?}", temporary(made));
    assert!(runs(made).is_empty(), "{:?}", runs(made));
    let run = made.restore_index(index, &[]);
    assert!(matches!(run.code, Some(1 | 3)), "{}", run.stderr);
    assert!(run.stdout.is_empty());
    made.is_whole();
}

#[test]
fn a_signal_stops_archiving_without_a_trace() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let made = Made::small();
        let index = made.sandbox.path().join("stopped.tar");
        let (child, _stdin) = half_archived(&made, &index);
        send(&child, signal);
        end_of(child).exits(130).says(&["interrupted"]);
        nothing_left(&made, &index);
    }
}

#[test]
fn a_signal_leaves_no_index_file() {
    let made = Made::small();
    let index = made.sandbox.path().join("stopped.tar");
    let child = made
        .sandbox
        .command(["--quiet", "--index", text(&index)])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let (child, _stdin) = half_fed(&made, child.unwrap());
    let before = fs::read_dir(made.sandbox.path()).unwrap().count();
    send(&child, Signal::INT);
    end_of(child).exits(130).says(&["interrupted"]);
    assert!(!index.exists());
    // The file that the index was written to is gone as well.
    assert_eq!(
        fs::read_dir(made.sandbox.path()).unwrap().count(),
        before - 1
    );
}

#[test]
fn a_killed_run_is_cleaned_up_by_the_next() {
    let made = Made::small();
    let index = made.sandbox.path().join("killed.tar");
    let (child, _stdin) = half_archived(&made, &index);
    send(&child, Signal::KILL);
    assert_eq!(end_of(child).code, None);
    assert!(!temporary(&made).is_empty(), "nothing to clean up");
    made.archive_again(&[]).exits(0);
    assert!(temporary(&made).is_empty(), "{:?}", temporary(&made));
    assert!(runs(&made).is_empty(), "{:?}", runs(&made));
    made.is_whole();
}

#[test]
fn a_run_that_is_ended_publishes_nothing() {
    let made = Made::small();
    let index = made.sandbox.path().join("ended.tar");
    let (child, mut stdin) = half_archived(&made, &index);
    let before = made.sandbox.stored_files();
    // What a gc does that was told to end it.
    let run = runs(&made).remove(0);
    fs::rename(run, made.sandbox.store().join("tmp/grave")).unwrap();
    // It may have ended before all is written.
    let _ = stdin.write_all(&noise(7, 16)[12 << 20..]);
    drop(stdin);
    end_of(child).exits(1).says(&["ended by a gc"]);
    assert_eq!(made.sandbox.stored_files(), before);
    made.archive_again(&[]).exits(0);
    fs::remove_file(&index).unwrap();
    assert!(temporary(&made).is_empty(), "{:?}", temporary(&made));
    made.is_whole();
}

#[test]
fn a_run_does_not_clean_up_after_one_that_lives() {
    let made = Made::small();
    let index = made.sandbox.path().join("slow.tar");
    let (child, mut stdin) = half_archived(&made, &index);
    made.archive_again(&[]).exits(0);
    assert!(!temporary(&made).is_empty(), "the other run's file is gone");
    let stream = noise(7, 16);
    stdin.write_all(&stream[12 << 20..]).unwrap();
    drop(stdin);
    end_of(child).exits(0);
    made.sandbox.restores(&index, &stream[..]);
}

/// A restore run whose reader has taken so many bytes and then does nothing.
fn half_restored(made: &Made, taken: usize) -> (Child, ChildStdout) {
    let mut child = made
        .sandbox
        .command(["restore", text(&made.index)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut vec![0; taken]).unwrap();
    (child, stdout)
}

#[test]
fn a_signal_stops_a_restore_whose_reader_stalls() {
    let made = Made::of(noise(8, 16));
    for signal in [Signal::INT, Signal::TERM] {
        let (child, _stdout) = half_restored(&made, 5000);
        send(&child, signal);
        end_of(child).exits(130).says(&["interrupted"]);
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let made = Made::of(noise(8, 16));
    let (child, _stdout) = half_restored(&made, 5000);
    send(&child, Signal::INT);
    thread::sleep(Duration::from_millis(200));
    let start = Instant::now();
    send(&child, Signal::INT);
    end_of(child).exits(130).says(&["interrupted"]);
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_signal_stops_a_restore_that_is_being_read() {
    // Zeros without end: only the signal can be what ends it.
    let made = Made::three_chunks();
    let index = crate::forged::vast_zeros(&made);
    let mut child = made
        .sandbox
        .command(["restore", text(&index)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut vec![0; 100_000]).unwrap();
    send(&child, Signal::INT);
    let reader = thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    end_of(child).exits(130).says(&["interrupted"]);
    reader.join().unwrap().unwrap();
}

/// Archives while the reader of the index takes `taken` bytes and leaves.
fn archive_into_closed(made: &Made, stream: &[u8], taken: usize) -> Run {
    let mut child = made
        .sandbox
        .command(["--quiet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            stdout.read_exact(&mut vec![0; taken]).unwrap();
        });
        scope.spawn(move || stdin.write_all(stream));
    });
    end_of(child)
}

#[test]
fn an_index_that_nobody_takes_is_a_failure_without_root() {
    let made = Made::small();
    let stream = noise(9, 1);
    archive_into_closed(&made, &stream, 0).exits(1).says(&[
        "cannot write the index",
        "standard output",
        "closed it early",
    ]);
    assert_eq!(made.roots(), 1, "a root was left");
    made.is_whole();
}

#[test]
fn an_index_that_is_half_taken_is_a_failure_without_root() {
    let made = Made::small();
    let mut stream = Stream::new();
    for number in 0..3000 {
        stream = stream.file(&format!("file-{number}"), number.to_string().as_bytes());
    }
    archive_into_closed(&made, &stream.end(), 300_000)
        .exits(1)
        .says(&["cannot write the index", "closed it early"]);
    assert_eq!(made.roots(), 1, "a root was left");
}

/// Restores while the reader takes `taken` bytes and leaves.
fn restore_into_closed(made: &Made, taken: usize) -> Run {
    let (child, stdout) = half_restored(made, taken);
    drop(stdout);
    end_of(child)
}

#[test]
fn a_reader_that_leaves_before_the_end_blocks_is_a_failure() {
    let mut stream = noise(10, 2);
    let end = stream.len();
    // Zero blocks that are more than any pipe holds.
    stream.resize(end + (4 << 20), 0);
    let made = Made::of(stream);
    for taken in [0, 100_000, end / 2] {
        restore_into_closed(&made, taken)
            .exits(1)
            .says(&["cannot write the stream", "closed it early"]);
    }
}

#[test]
fn a_reader_that_leaves_behind_the_end_blocks_is_content() {
    let mut stream = noise(10, 2);
    let end = stream.len();
    stream.resize(end + (4 << 20), 0);
    let made = Made::of(stream);
    for taken in [end, end + 100_000] {
        restore_into_closed(&made, taken).exits(0);
    }
}

#[test]
fn a_listing_that_is_cut_off_is_no_failure() {
    let made = Made::small();
    let child = Command::new("bash")
        .args(["-c", "\"$0\" ls \"$1\" | head -n 1; exit ${PIPESTATUS[0]}"])
        .arg(made.sandbox.command(["ls"]).get_program())
        .arg(&made.index)
        .env("DTAR_STORE", made.sandbox.store())
        .env("DTAR_KEY", made.sandbox.key())
        .output()
        .unwrap();
    assert_eq!(child.status.code(), Some(0));
}

#[test]
fn an_interrupted_run_is_taken_up_by_the_next() {
    let made = Made::small();
    let index = made.sandbox.path().join("stopped.tar");
    let stream = noise(7, 16);
    let mut child = made
        .sandbox
        .command(["--quiet", "--brick-size", "5M"])
        .stdin(Stdio::piped())
        .stdout(File::create(&index).unwrap())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&stream[..14 << 20]).unwrap();
    wait_until("a sidecar", || made.sidecars().len() > 1);
    send(&child, Signal::INT);
    end_of(child).exits(130);
    let kept = made.sidecars().len();
    let index = made.sandbox.archive("again.tar", &stream[..]);
    made.sandbox.restores(&index, &stream[..]);
    let bytes: u64 = made
        .bricks()
        .iter()
        .map(|path| crate::made::length(path))
        .sum();
    assert!(
        bytes < 17 << 20,
        "{bytes} bytes: {kept} bricks were not used"
    );
    refused(
        made.restore_index(&made.sandbox.path().join("stopped.tar"), &[]),
        1,
        &["not a dtar index"],
    );
}

/// Whether the program that wrote a stream was cut off cannot be known. Where it looks so,
/// that is said.
#[test]
fn a_stream_that_looks_cut_off_is_told_of_and_kept() {
    let sandbox = Sandbox::new();
    let member = Stream::new().file("name", &[7; 900]);
    let unended = "no end-of-archive blocks";
    for (stream, words) in [
        (Vec::new(), "the stream is empty"),
        (member.clone().0, unended),
        (member.clone().raw(&[0; 100]).0, unended),
        (Stream::new().header(&Header::file("name", 0)).0, unended),
        (member.clone().zeros(1).0, ""),
        (member.end(), ""),
    ] {
        let index = sandbox.path().join("index.tar");
        let none: [&str; 0] = [];
        let run = sandbox.archive_to(none, &stream[..], &index).exits(0);
        let is_warned = run.stderr.contains("warning");
        assert_eq!(is_warned, !words.is_empty(), "{}", run.stderr);
        run.says(&[words]);
        sandbox.restores(&index, &stream[..]);
    }
}
