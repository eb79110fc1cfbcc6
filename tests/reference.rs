//! The formats are what their pages say: a reader in Python, written from the
//! pages alone, restores what dtar archived.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::Case;
use common::block::{BLOCK, Header, Stream};
use common::files::files;
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

/// Runs the reader, and returns whether it ended well and what it said.
fn says(python: &Path, arguments: &[&OsStr]) -> (bool, String) {
    let output = reader(python).args(arguments).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("Traceback"), "{stderr}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), text + &stderr)
}

fn below(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let files = files(dir).into_keys();
    files
        .filter(|path| path.extension() == Some(OsStr::new(ending)))
        .collect()
}

#[test]
fn the_reference_reader_follows_frames_that_gc_has_moved() {
    let Some(python) = reference_python() else {
        return;
    };
    let sandbox = Sandbox::new();
    let files = |numbers: std::ops::Range<u64>| {
        let add = |stream: Stream, number| {
            let body = Random(number).bytes(3_500_000);
            stream.file(&format!("file-{number}"), &body)
        };
        numbers.fold(Stream::new(), add).end()
    };
    let (all, few) = (files(0..8), files(2..3));
    for (label, stream) in [("all", &all), ("few", &few)] {
        let index = sandbox.path().join(label);
        let options = ["-q", "--label", label];
        sandbox.archive_to(options, &stream[..], &index).exits(0);
    }
    sandbox.run(["forget", "@label:all"]).exits(0);
    let before = below(&sandbox.store().join("bricks"), "brick");
    sandbox.run(["gc"]).exits(0);
    let after = below(&sandbox.store().join("bricks"), "brick");
    assert!(after.iter().all(|path| !before.contains(path)) && !after.is_empty());
    let restore = || {
        let arguments = [OsStr::new("restore"), OsStr::new("--key")];
        let mut command = reader(&python);
        command.args(arguments).arg(sandbox.key()).arg("--bricks");
        command
            .args([sandbox.store(), sandbox.path().join("few")])
            .output()
            .unwrap()
    };
    let output = restore();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout == few);
    fs::remove_dir_all(sandbox.store().join("tocs")).unwrap();
    let output = restore();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing stands in"));
}

#[test]
fn the_reference_reader_lists_notes() {
    let Some(python) = reference_python() else {
        return;
    };
    let sandbox = Sandbox::new();
    sandbox.archive("one.tar", &cases()[2].bytes[..]);
    sandbox.run(["forget", "@latest"]).exits(0);
    sandbox.archive("two.tar", &Random(3).bytes(10_000)[..]);
    let marked = below(&sandbox.store().join("bricks"), "brick").remove(0);
    let mut bytes = fs::read(&marked).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&marked, bytes).unwrap();
    sandbox.run(["verify"]).exits(3);
    // An archiver that waits for its input, and a gc that waits for the archiver.
    let spawn = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let mut archiver = spawn(&["--label", "waits"]);
    let mut input = archiver.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, &[0; 512]).unwrap();
    let (key, store) = (sandbox.key(), sandbox.store());
    let words = ["notes", "--key"].map(OsStr::new);
    let arguments = [words[0], words[1], key.as_os_str(), store.as_os_str()];
    let wait_for = |what: &str| {
        for _ in 0..600 {
            let (ended_well, text) = says(&python, &arguments);
            if ended_well && text.contains(what) {
                return text;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("{what}: in vain");
    };
    wait_for("lease of an archiver");
    let mut gc = spawn(&["gc"]);
    let text = wait_for("dead list");
    archiver.kill().unwrap();
    archiver.wait().unwrap();
    gc.wait().unwrap();
    let name = marked.file_stem().unwrap().to_str().unwrap();
    for word in [
        "lease of an archiver",
        ": waits",
        "lease of a gc",
        "dead list",
        ": mark",
        name,
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!text.contains("does not open"), "{text}");
    // Nobody else's key opens them.
    fs::write(sandbox.store().join("bad").join("0".repeat(64)), b"").unwrap();
    assert!(says(&python, &arguments).1.contains("does not open"));
}

#[test]
fn the_reference_reader_brings_bricks_back() {
    let Some(python) = reference_python() else {
        return;
    };
    let sandbox = Sandbox::new();
    for number in 0..5 {
        sandbox.archive("index.tar", &Random(number).bytes(20_000)[..]);
    }
    let (store, to) = (sandbox.store(), sandbox.path().join("back"));
    fs::create_dir(&to).unwrap();
    sandbox.run(["parity", "add", "--share", "50%"]).exits(0);
    let check = [OsStr::new("parity-check"), store.as_os_str()];
    assert_eq!(
        says(&python, &check),
        (true, "nothing is missing or damaged\n".into())
    );
    let bricks = [
        below(&store.join("bricks"), "brick"),
        below(&store.join("meta"), "brick"),
    ];
    let harmed = [&bricks[0][0], &bricks[0][1], &bricks[1][0]];
    let whole = harmed.map(|path| fs::read(path).unwrap());
    fs::remove_file(harmed[0]).unwrap();
    fs::remove_file(harmed[2]).unwrap();
    let mut bytes = whole[1].clone();
    bytes[9000] ^= 1;
    fs::write(harmed[1], bytes).unwrap();
    let parity = below(&store.join("parity"), "parity").remove(0);
    let mut bytes = fs::read(&parity).unwrap();
    bytes[3] ^= 1;
    fs::write(&parity, bytes).unwrap();
    let (is_whole, text) = says(&python, &check);
    assert!(!is_whole);
    for path in harmed.into_iter().chain([&parity]) {
        assert!(
            text.contains(path.file_stem().unwrap().to_str().unwrap()),
            "{text}"
        );
    }
    let repair = ["parity-repair", "--to"].map(OsStr::new);
    let arguments = [repair[0], repair[1], to.as_os_str(), store.as_os_str()];
    let (ended_well, text) = says(&python, &arguments);
    assert!(ended_well, "{text}");
    for (path, whole) in harmed.into_iter().zip(whole) {
        assert_eq!(fs::read(to.join(path.file_name().unwrap())).unwrap(), whole);
    }
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
