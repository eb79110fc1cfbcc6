//! Circumstances that are not as they should be: nothing is lost, nothing
//! hangs, and nothing that stood there is harmed.

mod common;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::block::{Header, Stream};
use common::sandbox::{Sandbox, Watchdog};
use common::shell::must;
use common::source::Random;

/// A stream of one large member that shares nothing with that of another seed.
fn random_stream(seed: u64, length: usize) -> Vec<u8> {
    let body = Random(seed).bytes(length);
    Stream::new()
        .header(&Header::file("random", length as u64))
        .body(&body)
        .end()
}

/// A stream of members without bodies.
fn bare_stream(count: u32) -> Vec<u8> {
    let members = (0..count).flat_map(|number| Header::file(&format!("empty-{number}"), 0).0);
    members.collect()
}

fn bricks(sandbox: &Sandbox) -> Vec<PathBuf> {
    let mut files = sandbox.stored_files();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "brick"));
    files
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    let status = Command::new("kill").args([name, &pid]).status().unwrap();
    assert!(status.success());
}

#[test]
fn a_brick_marked_during_the_run_is_not_relied_upon() {
    let sandbox = Sandbox::new();
    // More than pipe and buffers hold: once it is written, the catalog was read.
    let stream = random_stream(1, 32 << 20);
    sandbox.archive("first.tar", &stream[..]);
    let mut child = sandbox
        .command(["--quiet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _watchdog = Watchdog::new(&child);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&stream).unwrap();
    let name = bricks(&sandbox)[0].file_stem().unwrap().to_owned();
    let bad = sandbox.store().join("bad");
    fs::create_dir_all(&bad).unwrap();
    fs::write(bad.join(name), b"").unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("marked bad"), "{stderr}");
}

#[test]
fn a_dead_list_that_does_not_open_ends_a_run_by_name() {
    let sandbox = Sandbox::new();
    let stream = random_stream(1, 5000);
    sandbox.archive("first.tar", &stream[..]);
    let dead = sandbox.store().join("dead");
    fs::create_dir_all(&dead).unwrap();
    fs::write(dead.join("00000000000000000007-0123456789abcdef.dead"), b"").unwrap();
    let index = sandbox.path().join("second.tar");
    sandbox
        .archive_to(["--quiet"], &stream[..], &index)
        .exits(3)
        .says(&["0123456789abcdef.dead", "does not open", "dtar gc"]);
    // What is named otherwise is none.
    fs::remove_dir_all(&dead).unwrap();
    fs::create_dir_all(&dead).unwrap();
    fs::write(dead.join("0123456789abcdef"), b"").unwrap();
    sandbox.archive("second.tar", &stream[..]);
}

#[test]
fn an_index_goes_into_a_pipe_and_does_not_replace_it() {
    let sandbox = Sandbox::new();
    let stream = random_stream(2, 5000);
    must(sandbox.path(), "mkfifo pipe", &[]);
    let mut child = sandbox
        .command(["--quiet", "--index", "pipe"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let _watchdog = Watchdog::with_limit(&child, Duration::from_secs(60));
    let mut stdin = child.stdin.take().unwrap();
    let feeder = std::thread::spawn({
        let stream = stream.clone();
        move || stdin.write_all(&stream)
    });
    let pipe = sandbox.path().join("pipe");
    let reader = must(sandbox.path(), "timeout 60 cat pipe", &[]);
    assert!(child.wait().unwrap().success());
    feeder.join().unwrap().unwrap();
    assert!(fs::metadata(pipe).unwrap().file_type().is_fifo());
    let index = sandbox.path().join("index.tar");
    fs::write(&index, reader).unwrap();
    sandbox.restores(&index, &stream[..]);
}

#[test]
fn of_a_link_to_an_index_the_file_is_replaced() {
    let sandbox = Sandbox::new();
    let stream = random_stream(3, 5000);
    must(
        sandbox.path(),
        "mkdir d; echo old > d/real; ln -s d/real link",
        &[],
    );
    let nowhere = sandbox.path().join("nowhere");
    sandbox
        .archive_to(["--quiet", "--index", "link"], &stream[..], &nowhere)
        .exits(0);
    let link = sandbox.path().join("link");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    sandbox.restores(&sandbox.path().join("d/real"), &stream[..]);
}

#[test]
fn a_good_copy_elsewhere_stands_in_for_a_brick_that_is_no_good() {
    let sandbox = Sandbox::new();
    let stream = random_stream(4, 50_000);
    let index = sandbox.archive("index.tar", &stream[..]);
    let brick = bricks(&sandbox).remove(0);
    let path = brick.to_str().unwrap();
    must(sandbox.path(), "mkdir good; cp \"$1\" good/", &[path]);
    for spoil in [
        ": > \"$1\"",
        "truncate -s 20000 \"$1\"",
        "printf spoiled | dd of=\"$1\" bs=1 seek=9000 conv=notrunc status=none",
        "rm \"$1\"; mkdir \"$1\"",
        "rmdir \"$1\"; mkfifo \"$1\"",
    ] {
        must(sandbox.path(), spoil, &[path]);
        let (run, found) = sandbox.restore_with(&index, ["--bricks", "good"], |mut stdout| {
            let mut bytes = Vec::new();
            stdout.read_to_end(&mut bytes).unwrap();
            bytes
        });
        run.exits(0);
        assert!(found == stream, "{spoil}");
        // Without the copy it is damage, and never a wait.
        let none: [&str; 0] = [];
        let (run, ()) = sandbox.restore_with(&index, none, drop);
        run.exits(3);
    }
}

#[test]
fn what_an_incomplete_index_holds_without_bodies_is_restored() {
    let sandbox = Sandbox::new();
    // Enough for several runs.
    let stream = bare_stream(6000);
    let index = sandbox.archive("index.tar", &stream[..]);
    let members = fs::read(index).unwrap();
    let cut = sandbox.path().join("cut.tar");
    let file = Stream::new().file("file", b"body").0;
    let index = sandbox.archive("file.tar", &file[..]);
    // A record must stand in it, or it does not look like an index.
    let record = &fs::read(index).unwrap()[..1024];
    for (length, whole) in [(3_000_000, 2_999_808), (5120, 5120), (700, 512)] {
        fs::write(&cut, [record, &members[..length]].concat()).unwrap();
        let (run, found) = sandbox.restore_with(&cut, ["--incomplete"], |mut stdout| {
            let mut bytes = Vec::new();
            stdout.read_to_end(&mut bytes).unwrap();
            bytes
        });
        run.exits(3);
        assert!(
            found == [&file[..], &stream[..whole]].concat(),
            "{length}: {} bytes",
            found.len()
        );
    }
}

#[test]
fn a_first_run_that_was_interrupted_does_not_stand_in_the_way() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.store().join("tmp")).unwrap();
    let stream = random_stream(5, 5000);
    let index = sandbox.archive("index.tar", &stream[..]);
    sandbox.restores(&index, &stream[..]);
}

#[test]
fn a_store_without_tmp_takes_a_run_that_stores_nothing_new() {
    let sandbox = Sandbox::new();
    // Opaque runs, whose records gather in the trailer: more than stay in memory.
    let one = Stream::new().file("file", b"body").raw(&[0xff; 512]).0;
    let stream = one.repeat(10_000);
    let first = sandbox.archive("first.tar", &stream[..]);
    fs::remove_dir_all(sandbox.store().join("tmp")).unwrap();
    let second = sandbox.archive("second.tar", &stream[..]);
    assert!(fs::read(first).unwrap() == fs::read(second).unwrap());
}

#[test]
fn a_run_that_waits_for_its_reader_can_be_ended() {
    let sandbox = Sandbox::new();
    let stream = random_stream(6, 4 << 20);
    let index = sandbox.archive("index.tar", &stream[..]);
    let bare = sandbox.path().join("bare");
    fs::write(&bare, bare_stream(10_000)).unwrap();
    for twice in [false, true] {
        for restore in [false, true] {
            let mut command = if restore {
                sandbox.command(["restore".as_ref(), index.as_os_str()])
            } else {
                sandbox.command(["--quiet"])
            };
            let mut child = command
                .stdin(File::open(&bare).unwrap())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let _watchdog = Watchdog::with_limit(&child, Duration::from_secs(60));
            // It writes until the pipe is full, and then waits.
            let mut stdout = child.stdout.take().unwrap();
            stdout.read_exact(&mut [0; 1]).unwrap();
            std::thread::sleep(Duration::from_millis(300));
            signal(&child, "-TERM");
            if twice {
                std::thread::sleep(Duration::from_millis(100));
                signal(&child, "-TERM");
            }
            assert_eq!(child.wait().unwrap().code(), Some(130));
        }
    }
}
