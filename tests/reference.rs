//! The formats are what their pages say: a reader in Python, written from the
//! pages alone, restores what dtar archived.

mod common;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::Case;
use common::block::{BLOCK, Header, Stream};
use common::sandbox::Sandbox;
use common::shell::{reference_python, tool};
use common::source::{Random, first_difference};

fn reader(python: &Path) -> Command {
    let mut command = tool(python.to_str().unwrap());
    command.arg(folder().join("dtar_reader.py"));
    command
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("formats/reference")
}

/// Streams that use every kind of step, record and item at least once.
fn cases() -> Vec<Case> {
    let mut random = Random(40);
    let members = Stream::new()
        .file("empty", b"")
        .file("small", b"small")
        .header(&Header::gnu("spaces", 0).size_field(b"          4 "))
        .body(b"size")
        .pax(b'x', &[("size", b"3000")])
        .header(&Header::file("pax", 0))
        .body(&[b'p'; 3000])
        .header(&Header::file("padded", 3))
        .raw(b"pad")
        .pad(0xff);
    let holes = [&random.bytes(300_000)[..], &vec![0; 5 << 20], b"end"].concat();
    let large = random.bytes(20 << 20);
    vec![
        Case::new("nothing", b""),
        Case::new("no tar", random.bytes(100_000)),
        Case::new("members", members.clone().end()),
        Case::new(
            "garbage",
            members
                .clone()
                .raw(&[b'g'; 3 * BLOCK])
                .file("a", b"a")
                .end(),
        ),
        Case::new("holes", Stream::new().file("holes", &holes).end()),
        // More than 64 chunks, so that there are lists.
        Case::new("large", Stream::new().file("large", &large).end()),
        Case::new(
            "cut",
            Stream::new().file("large", &large).0[..5_000_001].to_vec(),
        ),
        Case::new("tail", members.zeros(30).raw(b"behind").0),
    ]
}

#[test]
fn the_reference_reader_restores_what_was_archived() {
    let Some(python) = reference_python() else {
        return;
    };
    let sandbox = Sandbox::new();
    for case in cases() {
        let index = sandbox.archive("index.tar", &case.bytes[..]);
        let mut child = reader(&python)
            .args([OsStr::new("restore"), OsStr::new("--key")])
            .arg(sandbox.key())
            .arg("--bricks")
            .args([sandbox.store(), index])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let difference = first_difference(stdout, &case.bytes[..]).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(difference, None, "{}", case.name);
        assert!(status.success(), "{}: {status}", case.name);
    }
    let bricks: Vec<_> = sandbox
        .stored_files()
        .into_iter()
        .filter(|path| path.extension() == Some(OsStr::new("brick")))
        .collect();
    assert!(!bricks.is_empty());
    for brick in bricks {
        let output = reader(&python)
            .args(["verify-brick", "--key"])
            .args([sandbox.key(), brick])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn the_reference_reader_restores_snapshots() {
    let Some(python) = reference_python() else {
        return;
    };
    let sandbox = Sandbox::new();
    // So many members that the streams of the snapshot need lists.
    let many = (0..4000).fold(Stream::new(), |stream, number| {
        stream.file(&format!("many/{number}"), number.to_string().as_bytes())
    });
    let mut cases = cases();
    cases.push(Case::new("many members", many.end()));
    for case in &cases {
        std::fs::remove_file(sandbox.archive("index.tar", &case.bytes[..])).unwrap();
    }
    let mut snapshots: Vec<_> = std::fs::read_dir(sandbox.store().join("snapshots"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    snapshots.sort();
    assert_eq!(snapshots.len(), cases.len());
    let restore = |snapshot: &Path| {
        reader(&python)
            .args(["restore", "--key"])
            .arg(sandbox.key())
            .arg("--bricks")
            .args([&sandbox.store(), snapshot])
            .output()
            .unwrap()
    };
    for (case, snapshot) in cases.iter().zip(&snapshots) {
        let output = restore(snapshot);
        assert!(output.status.success(), "{}: {output:?}", case.name);
        assert!(output.stdout == case.bytes, "{}", case.name);
    }
    // Sidecars are not needed.
    std::fs::remove_dir_all(sandbox.store().join("tocs")).unwrap();
    let (last, case) = (snapshots.last().unwrap(), cases.last().unwrap());
    assert!(restore(last).stdout == case.bytes);
    // One snapshot in the place of another is refused.
    std::fs::copy(&snapshots[0], last).unwrap();
    let output = restore(last);
    assert!(!output.status.success() && output.stdout.is_empty());
}

#[test]
fn the_reference_readers_own_tests_pass() {
    let Some(python) = reference_python() else {
        return;
    };
    let output = tool(python.to_str().unwrap())
        .args(["-B", "-m", "unittest", "discover", "-s", "."])
        .current_dir(folder())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(!text.contains("Ran 0 tests"), "{text}");
}
