//! Stores that are read-only or full, and outputs that are full.

use std::fs;

use crate::common::block::Stream;
use crate::common::mounts::with_mounts;
use crate::common::sandbox::Sandbox;
use crate::common::source::Random;
use crate::made::{Made, refused, text};

#[test]
fn a_read_only_store_does_not_archive_but_restores() {
    let made = Made::small();
    let script = "
        mount --bind store store
        mount -o remount,ro,bind store
        echo other | \"$1\" > new.tar && code=0 || code=$?
        test $code = 1
        \"$1\" restore index.tar
    ";
    let Some(run) = with_mounts(&made.sandbox, script) else {
        return;
    };
    let store = made.sandbox.store();
    let run = run
        .exits(0)
        .says(&[text(&store), "cannot", "Read-only file system"]);
    assert!(run.stdout == made.stream);
    let new = made.sandbox.path().join("new.tar");
    refused(made.restore_index(&new, &[]), 1, &["not a dtar index"]);
    assert_eq!(made.roots(), 1);
}

#[test]
fn a_full_store_fails_and_works_again_with_room() {
    let sandbox = Sandbox::new();
    let stream = |seed| {
        Stream::new()
            .file("noise", &Random(seed).bytes(3 << 20))
            .end()
    };
    for seed in [1, 2] {
        fs::write(sandbox.path().join(format!("{seed}.tar")), stream(seed)).unwrap();
    }
    let script = "
        mkdir store
        mount -t tmpfs -o size=4m tmpfs store
        \"$1\" < 1.tar > 1.index
        roots=$(ls store/roots)
        \"$1\" < 2.tar > 2.index 2> full.err && code=0 || code=$?
        cat full.err >&2
        test $code = 1
        test \"$(ls store/roots)\" = \"$roots\"
        \"$1\" restore 2.index && code=0 || code=$?
        test $code != 0
        ls -A store/tmp store/runs | grep -v '^$\\|:$' || true
        \"$1\" restore 1.index | cmp - 1.tar
        mount -o remount,size=32m store
        \"$1\" < 2.tar > 2.index
        \"$1\" restore 2.index | cmp - 2.tar
        \"$1\" restore 1.index | cmp - 1.tar
    ";
    let Some(run) = with_mounts(&sandbox, script) else {
        return;
    };
    let runs = sandbox.store().join("runs");
    let run = run
        .exits(0)
        .says(&["cannot write", text(&runs), "No space left"]);
    assert!(
        run.stdout.is_empty(),
        "left in tmp/ or runs/: {:?}",
        run.stdout
    );
}

#[test]
fn a_full_folder_for_the_catalog_is_an_error_not_a_crash() {
    let made = Made::small();
    let script = "
        rm -r catalog
        mkdir catalog
        mount -t tmpfs -o size=16k tmpfs catalog
        \"$1\" < index.tar > new.tar && code=0 || code=$?
        test $code = 1
        umount catalog
        mount -t tmpfs -o size=16k,ro tmpfs catalog
        \"$1\" < index.tar > new.tar && code=0 || code=$?
        test $code = 1
        umount catalog
        \"$1\" < index.tar > new.tar
        \"$1\" restore new.tar | cmp - index.tar
    ";
    if let Some(run) = with_mounts(&made.sandbox, script) {
        let catalog = made.sandbox.catalog();
        run.exits(0)
            .says(&[text(&catalog), "No space left", "Read-only file system"]);
    }
}

#[test]
fn a_full_output_fails() {
    let made = Made::small();
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    let index = text(&made.index);
    for arguments in [
        &["restore", index][..],
        &["restore", index, "--keep-going"],
        &["ls", index],
        &["store"],
        &["key", "show"],
        &["man"],
        &["completions", "bash"],
        &["--help"],
        &["--version"],
    ] {
        let output = made
            .sandbox
            .command(arguments)
            .stdout(full())
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        let told = stderr.contains("standard output") && stderr.contains("No space left");
        assert!(
            told || arguments[0].starts_with('-'),
            "{arguments:?}: {stderr}"
        );
    }
}

#[test]
fn a_full_output_leaves_no_root_of_the_index() {
    let made = Made::small();
    let stream = made.sandbox.path().join("stream.tar");
    fs::write(&stream, Random(9).bytes(30_000)).unwrap();
    let output = made
        .sandbox
        .command(["--quiet"])
        .stdin(fs::File::open(&stream).unwrap())
        .stdout(fs::File::options().write(true).open("/dev/full").unwrap())
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    for word in ["cannot write the index", "standard output", "No space left"] {
        assert!(stderr.contains(word), "{stderr}");
    }
    assert_eq!(made.roots(), 1);
    made.is_whole();
}

#[test]
fn an_index_file_that_cannot_be_made_fails_before_anything_is_stored() {
    let made = Made::small();
    let missing = made.sandbox.path().join("missing/index.tar");
    made.archive_again(&["--index", text(&missing)])
        .exits(1)
        .says(&[text(missing.parent().unwrap()), "No such file"]);
    assert_eq!(made.roots(), 1);
}

#[test]
fn a_store_copied_without_tmp_archives_and_restores() {
    let made = Made::small();
    fs::remove_dir_all(made.sandbox.store().join("tmp")).unwrap();
    made.is_whole();
    // Enough records beside the members that they do not stay in memory.
    let mut stream = Stream::new();
    for number in 0..4000_u32 {
        stream = stream.raw(&[b'?'; 512]).file(&number.to_string(), b"");
    }
    let stream = stream.end();
    let index = made.sandbox.archive("many.tar", &stream[..]);
    made.sandbox.restores(&index, &stream[..]);
}

#[test]
fn a_catalog_that_fills_during_the_run_is_a_warning() {
    let sandbox = Sandbox::new();
    let mut stream = Stream::new();
    for file in 0..6_000_u64 {
        stream = stream.file(&format!("{file}"), &Random(file).bytes(700));
    }
    fs::write(sandbox.path().join("1.tar"), stream.end()).unwrap();
    let script = "
        mkdir catalog
        mount -t tmpfs -o size=256k tmpfs catalog
        \"$1\" --brick-size 1M < 1.tar > 1.index
        \"$1\" restore 1.index | cmp - 1.tar
        bricks=$(find store/bricks -name '*.brick' | wc -l)
        umount catalog
        mount -t tmpfs -o size=16m tmpfs catalog
        \"$1\" --brick-size 1M < 1.tar > 2.index
        test \"$(find store/bricks -name '*.brick' | wc -l)\" = \"$bricks\"
        cmp 1.index 2.index
        umount catalog
    ";
    if let Some(run) = with_mounts(&sandbox, script) {
        run.exits(0).says(&["could not take in", "--catalog DIR"]);
    }
}
