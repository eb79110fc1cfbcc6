//! `--index FILE`: there when it is whole, and not before.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;

use crate::common::block::Stream;
use crate::common::sandbox::Sandbox;
use crate::run;

fn stream() -> Vec<u8> {
    Stream::new().file("name", &[7; 5000]).end()
}

/// The names in a folder.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Archives with `--index`, what standard output gets going nowhere.
fn archive(sandbox: &Sandbox, index: &Path) -> crate::common::sandbox::Run {
    let nowhere = sandbox.path().join("nowhere");
    let arguments = ["-q".as_ref(), "--index".as_ref(), index.as_os_str()];
    let run = sandbox.archive_to(arguments, &stream()[..], &nowhere);
    assert_eq!(std::fs::metadata(nowhere).unwrap().len(), 0);
    run
}

#[test]
fn it_is_the_index_that_standard_output_would_get() {
    let sandbox = Sandbox::new();
    let expected = std::fs::read(sandbox.archive("stdout.tar", &stream()[..])).unwrap();
    // Again, since only the second run finds everything in the store.
    let expected_again = std::fs::read(sandbox.archive("stdout.tar", &stream()[..])).unwrap();
    assert!(expected == expected_again);
    let dir = sandbox.path().join("indexes");
    std::fs::create_dir(&dir).unwrap();
    let index = dir.join("index.tar");
    archive(&sandbox, &index).exits(0);
    assert!(std::fs::read(&index).unwrap() == expected);
    assert_eq!(names(&dir), ["index.tar"]);
    // It takes the place of an older one.
    std::fs::write(&index, "an older one").unwrap();
    archive(&sandbox, &index).exits(0);
    assert!(std::fs::read(&index).unwrap() == expected);
    assert_eq!(names(&dir), ["index.tar"]);
}

#[test]
fn a_run_that_fails_leaves_what_was_there() {
    let sandbox = Sandbox::new();
    sandbox.archive("first.tar", &stream()[..]);
    let dir = sandbox.path().join("indexes");
    std::fs::create_dir(&dir).unwrap();
    let index = dir.join("index.tar");
    // No brick can be written, so that the run fails late.
    let bricks = sandbox.store().join("bricks");
    std::fs::remove_dir_all(&bricks).unwrap();
    std::fs::write(&bricks, "no folder").unwrap();
    let fails = || {
        let body = crate::common::source::Random(4).bytes(100_000);
        let stream = Stream::new().file("new", &body).end();
        let arguments = ["-q".as_ref(), "--index".as_ref(), index.as_os_str()];
        let nowhere = sandbox.path().join("nowhere");
        let run = sandbox.archive_to(arguments, &stream[..], &nowhere);
        assert_ne!(run.code, Some(0));
    };
    fails();
    assert!(names(&dir).is_empty(), "{:?}", names(&dir));
    std::fs::write(&index, "an older one").unwrap();
    fails();
    assert_eq!(names(&dir), ["index.tar"]);
    assert_eq!(std::fs::read(&index).unwrap(), b"an older one");
}

#[test]
fn links_devices_and_folders() {
    let sandbox = Sandbox::new();
    let target = sandbox.path().join("target.tar");
    let link = sandbox.path().join("link.tar");
    std::fs::write(&target, "an older one").unwrap();
    symlink(&target, &link).unwrap();
    archive(&sandbox, &link).exits(0);
    assert!(link.is_symlink());
    sandbox.restores(&target, &stream()[..]);

    // A device stays a device.
    let null = sandbox.path().join("null");
    symlink("/dev/null", &null).unwrap();
    archive(&sandbox, &null).exits(0);
    assert!(null.is_symlink() && !Path::new("/dev/null").is_file());

    // Before any of the stream is read.
    let mut command = sandbox.command(["--index", "home"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    run(command).exits(2).says(&["home: is a folder"]);
    let missing = sandbox.path().join("missing/index.tar");
    archive(&sandbox, &missing).exits(1).says(&["missing"]);
}

#[test]
fn it_goes_with_no_command() {
    let sandbox = Sandbox::new();
    let run = sandbox.run(["--index", "x.tar", "store"]).exits(2);
    run.says(&["--index goes with archiving"]);
}
