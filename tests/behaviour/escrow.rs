//! Emergencies: restoring with the key of a further recipient, and without a store.

use std::fs;
use std::path::PathBuf;

use crate::common::block::Stream;
use crate::common::sandbox::{Run, Sandbox};
use crate::common::source::Random;

/// A store that seals to `escrow` too, the index of a run, and what went in.
struct Made {
    sandbox: Sandbox,
    index: PathBuf,
    stream: Vec<u8>,
}

impl Made {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        sandbox.run(["key", "new", "escrow"]).exits(0);
        sandbox.run(["key", "new", "stranger"]).exits(0);
        sandbox.run(["init", "--recipient", "escrow"]).exits(0);
        sandbox.run(["key", "put", "put"]).exits(0);
        // The second has so many chunks that its record holds lists.
        let stream = Stream::new()
            .file("first", b"what only a key can open")
            .file("second", &Random(1).bytes(3 << 20))
            .file("third", &b"again and again ".repeat(100))
            .end();
        let index = sandbox.archive("index.tar", &stream[..]);
        Self {
            sandbox,
            index,
            stream,
        }
    }

    fn restore(&self, arguments: &[&str]) -> Run {
        let all = ["restore", "index.tar"].iter().chain(arguments);
        self.sandbox.run(all)
    }

    /// Moves the bricks into one folder, and removes all else of the store.
    fn lose_store(&self) -> &'static str {
        let thawed = self.sandbox.path().join("thawed");
        fs::create_dir(&thawed).unwrap();
        for brick in self.sandbox.stored_files() {
            if brick.extension().is_some_and(|kind| kind == "brick") {
                fs::rename(&brick, thawed.join(brick.file_name().unwrap())).unwrap();
            }
        }
        fs::remove_dir_all(self.sandbox.store()).unwrap();
        "thawed"
    }

    /// Replaces the first `old` in the index, beginning at `from`.
    fn alter(&self, from: usize, old: &[u8], new: &[u8]) {
        let mut bytes = fs::read(&self.index).unwrap();
        let place = bytes[from..]
            .windows(old.len())
            .position(|part| part == old)
            .unwrap();
        bytes[from + place..][..new.len()].copy_from_slice(new);
        fs::write(&self.index, bytes).unwrap();
    }
}

#[track_caller]
fn refused(run: Run, code: i32, words: &[&str]) {
    let run = run.exits(code).says(words);
    assert!(run.stdout.is_empty(), "something came out");
}

const ESCROW: [&str; 3] = ["--key", "escrow", "--unauthenticated"];
const NOBODY_VOUCHES: [&str; 3] = [
    "without authentication",
    "names, modes, order and which chunks make up a file",
    "nobody else could alter",
];

#[test]
fn a_key_in_escrow_restores_all_and_parts() {
    let made = Made::new();
    let run = made.restore(&ESCROW).exits(0).says(&NOBODY_VOUCHES);
    assert!(run.stdout == made.stream);
    assert!(run.stderr.contains("store.toml"), "{}", run.stderr);

    let part = made.restore(&["second"]).exits(0);
    assert!(part.stderr.contains("restored") && !part.stderr.contains("authentication"));
    let [key, escrow, unauthenticated] = ESCROW;
    let run = made.restore(&["second", key, escrow, unauthenticated]);
    assert!(run.exits(0).stdout == part.stdout);

    // The store's own key checks the seal all the same.
    let run = made.restore(&["--unauthenticated"]).exits(0);
    assert!(run.stdout == made.stream && !run.stderr.contains("authentication"));
}

#[test]
fn an_index_cannot_disown_the_key_of_its_store() {
    let made = Made::new();
    let bytes = fs::read(&made.index).unwrap();
    let summary = bytes
        .windows(4)
        .rposition(|magic| magic == b"SUMM")
        .unwrap();
    let key_id = bytes[summary + 32..summary + 48].to_vec();
    made.alter(summary, &key_id, &[0; 16]);
    let words = ["index.tar", "index altered", "own key", "another copy"];
    refused(made.restore(&["--unauthenticated"]), 3, &words);
    let listed = made.sandbox.run(["ls", "index.tar", "--unauthenticated"]);
    listed.exits(3).says(&words);
}

#[test]
fn without_the_option_a_key_in_escrow_is_told_of_it() {
    let made = Made::new();
    let words = ["index.tar", "wrong key", "--key", "--unauthenticated"];
    refused(made.restore(&["--key", "escrow"]), 1, &words);
    let bricks = made.lose_store();
    refused(
        made.restore(&["--key", "escrow", "--bricks", bricks]),
        1,
        &words,
    );
}

#[test]
fn other_keys_open_nothing() {
    let made = Made::new();
    let words = ["frame 0", "not sealed to this key"];
    refused_body(&made, &["--key", "stranger", "--unauthenticated"], &words);
    let words = ["put key", "name the secret key"];
    refused(
        made.restore(&["--key", "put", "--unauthenticated"]),
        1,
        &words,
    );
    let bricks = made.lose_store();
    let arguments = ["--key", "put", "--unauthenticated", "--bricks", bricks];
    refused(made.restore(&arguments), 1, &words);
}

/// Fails before any byte of a body comes out.
#[track_caller]
fn refused_body(made: &Made, arguments: &[&str], words: &[&str]) {
    let run = made.restore(arguments).exits(1).says(words);
    assert!(run.stdout.len() <= 512, "more than a header came out");
}

#[test]
fn key_index_and_bricks_are_enough() {
    let made = Made::new();
    let bricks = made.lose_store();
    let words = ["not a dtar store", "--store DIR", "--bricks DIR"];
    refused(made.restore(&[]), 1, &words);
    let run = made.restore(&["--bricks", bricks]).exits(0);
    let run = run.says(&["no store here", "--bricks"]);
    assert!(run.stdout == made.stream);
    let run = made.restore(&["--bricks", bricks, "-q"]).exits(0);
    assert!(run.stdout == made.stream && run.stderr.is_empty());
    let [key, escrow, unauthenticated] = ESCROW;
    let arguments = [key, escrow, unauthenticated, "--bricks", bricks];
    let run = made.restore(&arguments).exits(0).says(&NOBODY_VOUCHES);
    assert!(run.stdout == made.stream);
    let run = made.restore(&["--bricks", bricks, "third"]).exits(0);
    assert!(run.stdout.starts_with(b"third"));
    // What is missing is still told.
    let run = made.restore(&["--bricks", "home"]).exits(3);
    run.says(&["is missing", "looked in", "home"]);
    assert!(!made.sandbox.store().exists(), "restore made a store");
}

#[test]
fn a_store_that_lost_store_toml_is_a_folder_of_bricks() {
    let made = Made::new();
    fs::remove_file(made.sandbox.store().join("store.toml")).unwrap();
    let store = made.sandbox.store();
    let run = made.restore(&["--bricks", store.to_str().unwrap()]);
    assert!(run.exits(0).stdout == made.stream);
}

#[test]
fn the_wrong_store_is_named_with_the_way_out() {
    let made = Made::new();
    let bricks = made.lose_store();
    for key in ["key", "stranger"] {
        let other = format!("store-of-{key}");
        let at = ["--store", &other, "--key", key];
        made.sandbox.run(["init"].iter().chain(&at)).exits(0);
        let words = ["--store DIR", "--bricks DIR", "no store"];
        let arguments = ["--store", &other, "--bricks", bricks];
        refused(made.restore(&arguments), 1, &words);
        let [key, escrow, unauthenticated] = ESCROW;
        let more = [&arguments[..], &[key, escrow, unauthenticated]].concat();
        refused(made.restore(&more), 1, &words);
    }
    let run = made.restore(&["--store", "none", "--bricks", bricks]);
    assert!(run.exits(0).stdout == made.stream);
}

#[test]
fn an_altered_index_says_what_it_likes_but_not_what_chunks_are() {
    let made = Made::new();
    let sound = fs::read(&made.index).unwrap();
    // A name, and the record's hash of the body that is one chunk.
    let hash = *blake3::hash(b"what only a key can open").as_bytes();
    let mut other = hash;
    other[0] ^= 1;
    made.alter(0, &hash, &other);
    let run = made.restore(&ESCROW).exits(3);
    let run = run.says(&["does not hold the chunk", "first, byte 0"]);
    assert!(made.stream.starts_with(&run.stdout));

    // The hash of a body of many chunks, each of which is sound.
    fs::write(&made.index, &sound).unwrap();
    let body = Random(1).bytes(3 << 20);
    let hash = *blake3::hash(&body).as_bytes();
    let mut other = hash;
    other[31] ^= 1;
    made.alter(0, &hash, &other);
    made.restore(&ESCROW).exits(3).says(&["second"]);

    // The hash of the stream, in `SUMM`.
    fs::write(&made.index, &sound).unwrap();
    let summary = sound.windows(4).position(|part| part == b"SUMM").unwrap();
    let checksum = summary + 16 + 48;
    made.alter(
        checksum,
        &sound[checksum..=checksum],
        &[sound[checksum] ^ 1],
    );
    made.restore(&ESCROW).exits(3);

    // A mode comes out as it stands: that is what the warning is about.
    fs::write(&made.index, &sound).unwrap();
    made.alter(0, b"0000644", b"0004755");
    let [key, escrow, unauthenticated] = ESCROW;
    let run = made.restore(&["first", key, escrow, unauthenticated]);
    let run = run.exits(0).says(&NOBODY_VOUCHES);
    assert_eq!(run.stdout[100..107], *b"0004755");
    refused(made.restore(&[]), 3, &["index altered"]);
    let own = ["--unauthenticated"];
    refused(made.restore(&own), 3, &["index altered"]);
}

fn listed(run: &Run) -> usize {
    String::from_utf8_lossy(&run.stdout).lines().count()
}

#[test]
fn listing_tells_what_was_checked() {
    let made = Made::new();
    let ls = |arguments: &[&str]| {
        made.sandbox
            .run(["ls", "index.tar"].iter().chain(arguments))
    };
    let run = ls(&[]).exits(0);
    assert_eq!((listed(&run), run.stderr.as_str()), (3, ""));
    let words = ["wrong key", "--unauthenticated"];
    refused(ls(&["--key", "escrow"]), 1, &words);
    let run = ls(&ESCROW).exits(0).says(&["cannot check"]);
    assert_eq!(listed(&run), 3);
    refused(ls(&["--key", "nowhere"]), 1, &["no key here", "nowhere"]);
    let mut command = made.sandbox.command(["ls", "index.tar"]);
    command.env_remove("DTAR_KEY");
    let run = crate::run(command).exits(0);
    let run = run.says(&["warning", "could not be checked"]);
    assert_eq!(listed(&run), 3);

    // The own key needs no store for it.
    fs::remove_dir_all(made.sandbox.store()).unwrap();
    let run = ls(&[]).exits(0);
    assert_eq!((listed(&run), run.stderr.as_str()), (3, ""));
    made.alter(0, b"third", b"thing");
    refused(ls(&[]), 3, &["index altered"]);
    let run = ls(&ESCROW).exits(0);
    assert!(String::from_utf8_lossy(&run.stdout).contains("thing"));
    refused(ls(&["--key", "nowhere"]), 1, &["no key here"]);
}

#[test]
fn a_key_in_escrow_reads_snapshots() {
    let made = Made::new();
    fs::remove_file(&made.index).unwrap();
    let [key, escrow, unauthenticated] = ESCROW;
    let restore = |selector: &str, more: &[&str]| {
        let all = [&["restore", selector, key, escrow][..], more].concat();
        made.sandbox.run(all)
    };
    refused(restore("@latest", &[]), 1, &["wrong key"]);
    let run = restore("@latest", &[unauthenticated]).exits(0);
    assert!(run.says(&NOBODY_VOUCHES).stdout == made.stream);
    let run = restore("@1", &[unauthenticated, "third"]).exits(0);
    assert!(run.stdout.starts_with(b"third"));
    let words = ["only the store's own key knows labels"];
    refused(restore("@label:x", &[unauthenticated]), 1, &words);
    refused(restore("@2", &[unauthenticated]), 1, &["no such snapshot"]);
    for command in [
        &["ls", "@latest"][..],
        &["find", "third", "--in", "@latest"],
        &["diff", "@latest", "@latest"],
    ] {
        let run = made.sandbox.run([command, &ESCROW].concat()).exits(0);
        assert_eq!(run.stdout.is_empty(), command[0] == "diff");
        run.says(&["cannot check"]);
    }
    // Neither sidecars nor roots are read, but a run without a root was interrupted.
    fs::remove_dir_all(made.sandbox.store().join("tocs")).unwrap();
    let run = restore("@latest", &[unauthenticated]).exits(0);
    assert!(run.stdout == made.stream);
    // A copy of the metadata bricks does as well as those in the store.
    let meta = made.sandbox.store().join("meta");
    let copy = made.sandbox.path().join("copy");
    fs::create_dir(&copy).unwrap();
    fs::rename(&meta, copy.join("meta")).unwrap();
    let words = ["incomplete snapshot"];
    refused(restore("@latest", &[unauthenticated]), 3, &words);
    let run = restore("@latest", &[unauthenticated, "--bricks", "copy"]).exits(0);
    assert!(run.stdout == made.stream);
    fs::remove_dir_all(made.sandbox.store().join("roots")).unwrap();
    let bricks = [unauthenticated, "--bricks", "copy"];
    refused(restore("@latest", &bricks), 1, &["no such snapshot"]);
}

#[test]
fn a_damaged_frame_of_a_snapshot_costs_no_other_and_copies_are_read_too() {
    let sandbox = Sandbox::new();
    sandbox.run(["key", "new", "escrow"]).exits(0);
    sandbox.run(["init", "--recipient", "escrow"]).exits(0);
    // Names of noise, so that the snapshot takes several frames.
    let mut noise = Random(5);
    let member = |stream: Stream, _| {
        let name = blake3::Hash::from_slice(&noise.bytes(32)).unwrap();
        stream.file(&name.to_hex(), b"")
    };
    let stream = (0..40_000).fold(Stream::new(), member).end();
    sandbox.archive("index.tar", &stream[..]);
    let copy = sandbox.path().join("copy");
    fs::create_dir_all(copy.join("meta")).unwrap();
    let brick = metadata_brick(&sandbox.store().join("meta"));
    let bytes = fs::read(&brick).unwrap();
    let magic = |bytes: &[u8]| bytes.windows(8).position(|window| window == b"dtarFRAM");
    let first = magic(&bytes).unwrap();
    let second = first + 8 + magic(&bytes[first + 8..]).expect("several frames");
    // The first frame is damaged in the store, the second in a copy.
    for (path, header) in [
        (brick.clone(), first),
        (
            copy.join(brick.strip_prefix(sandbox.store()).unwrap()),
            second,
        ),
    ] {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut damaged = bytes.clone();
        damaged[header + 30] ^= 1;
        fs::write(path, damaged).unwrap();
    }
    let options = ["--key", "escrow", "--unauthenticated", "--bricks", "copy"];
    let run = sandbox.run(["restore", "@latest"].iter().chain(&options));
    assert!(run.exits(0).stdout == stream);
}

/// The only brick in a folder of bricks of class metadata.
fn metadata_brick(dir: &std::path::Path) -> PathBuf {
    let folder = fs::read_dir(dir).unwrap().next().unwrap().unwrap().path();
    fs::read_dir(folder)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path()
}

#[test]
fn to_find_a_member_with_an_escrow_key_snapshots_are_named() {
    let made = Made::new();
    let find = |arguments: &[&str]| {
        let options = ["find", "first", "--key", "escrow", "--unauthenticated"];
        made.sandbox.run(options.iter().chain(arguments))
    };
    find(&[]).exits(2).says(&["--in @latest"]);
    let run = find(&["--in", "@latest"]).exits(0);
    assert_eq!(listed(&run), 1);
}
