//! `dtar key`, put keys, passphrases and further recipients.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use dtar::brick::{OpenFrame, OpenScratch};
use dtar::crypto::{Key, KeyFile};
use dtar::format::frame::FrameHeader;
use serde_json::Value;

use crate::common::block::Stream;
use crate::common::sandbox::{Run, Sandbox};
use crate::run;

const NEW: &str = "DTAR_NEW_PASSPHRASE";
const OLD: &str = "DTAR_PASSPHRASE";

fn stream() -> Vec<u8> {
    Stream::new().file("name", b"what a key can open").end()
}

/// Runs a command with passphrases in its environment.
fn with(sandbox: &Sandbox, arguments: &[&str], variables: &[(&str, &str)]) -> Run {
    let mut command = sandbox.command(arguments);
    command.envs(variables.iter().copied());
    run(command)
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn text(run: &Run) -> String {
    String::from_utf8(run.stdout.clone()).unwrap()
}

#[test]
fn a_new_key_is_shown_and_kept() {
    let sandbox = Sandbox::without_key();
    let run = sandbox.run(["key", "new"]).exits(0);
    run.says(&["made a key", sandbox.key().to_str().unwrap(), "keep a copy"]);
    assert_eq!(mode(&sandbox.key()), 0o600);
    let before = std::fs::read(sandbox.key()).unwrap();
    let run = sandbox.run(["key", "new"]).exits(1);
    run.says(&["stands there already", "never overwritten"]);
    assert!(std::fs::read(sandbox.key()).unwrap() == before);

    let shown = text(&sandbox.run(["key", "show"]).exits(0));
    assert!(shown.contains("secret key, key id"));
    assert!(shown.contains("\ndtar-public-key-1"));
    assert!(!shown.to_lowercase().contains("dtar-secret-key-"));
    let secret = text(&sandbox.run(["key", "show", "--secret"]).exits(0));
    assert!(secret.starts_with("DTAR-SECRET-KEY-1"), "not the secret");
    assert!(
        before
            .windows(secret.len())
            .any(|part| part == secret.as_bytes())
    );
    let told = sandbox.run(["key", "show", "--json"]).exits(0);
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(told["kind"], "secret key");
    assert_eq!(told["file"], sandbox.key().to_str().unwrap());
    assert!(shown.contains(told["key_id"].as_str().unwrap()));
    assert!(shown.contains(told["public_key"].as_str().unwrap()));
    assert!(told["secret"].is_null());

    // What was written down makes a key again.
    let copy = sandbox.path().join("copy");
    std::fs::write(&copy, secret).unwrap();
    std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o600)).unwrap();
    let again = text(
        &sandbox
            .run(["key", "show", "--json", "--key", "copy"])
            .exits(0),
    );
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(again["key_id"], told["key_id"]);
    std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o640)).unwrap();
    let run = sandbox.run(["key", "show", "--key", "copy"]).exits(1);
    run.says(&["0640", "chmod 600"]);
    // Nor is its public key taken from it.
    let run = sandbox.run(["init", "--recipient", "copy"]).exits(1);
    run.says(&["0640", "chmod 600"]);
}

#[test]
fn a_passphrase_is_set_changed_and_removed() {
    let sandbox = Sandbox::new();
    let index = sandbox.archive("index.tar", &stream()[..]);
    let restore = |variables: &[(&str, &str)]| {
        let mut command = sandbox.command(["restore".as_ref(), index.as_os_str()]);
        command.envs(variables.iter().copied());
        run(command)
    };
    with(&sandbox, &["key", "passphrase"], &[(NEW, "one")]).exits(0);
    assert_eq!(mode(&sandbox.key()), 0o600);
    let file = std::fs::read_to_string(sandbox.key()).unwrap();
    assert!(file.contains("DTAR-LOCKED-KEY-1") && !file.contains("DTAR-SECRET-KEY-1"));
    assert!(restore(&[(OLD, "one")]).exits(0).stdout == stream());
    restore(&[(OLD, "two")])
        .exits(1)
        .says(&["wrong passphrase"]);
    restore(&[]).exits(1).says(&["needs its passphrase", OLD]);
    with(
        &sandbox,
        &["key", "passphrase"],
        &[(OLD, "no"), (NEW, "two")],
    )
    .exits(1);
    with(
        &sandbox,
        &["key", "passphrase"],
        &[(OLD, "one"), (NEW, "two")],
    )
    .exits(0);
    restore(&[(OLD, "one")]).exits(1);
    assert!(restore(&[(OLD, "two")]).exits(0).stdout == stream());
    with(
        &sandbox,
        &["key", "passphrase", "--remove"],
        &[(OLD, "two")],
    )
    .exits(0);
    assert!(restore(&[]).exits(0).stdout == stream());
    let run = with(&sandbox, &["key", "passphrase"], &[(NEW, "")]).exits(2);
    run.says(&["empty passphrase"]);
    assert!(restore(&[]).exits(0).stdout == stream());
}

#[test]
fn a_new_key_can_have_a_passphrase_at_once() {
    let sandbox = Sandbox::without_key();
    let run = with(&sandbox, &["key", "new", "--passphrase"], &[(NEW, "pass")]);
    run.exits(0);
    let file = std::fs::read_to_string(sandbox.key()).unwrap();
    assert!(file.contains("DTAR-LOCKED-KEY-1"));
    let shown = with(&sandbox, &["key", "show"], &[(OLD, "pass")]).exits(0);
    assert!(text(&shown).contains("secret key"));
    let run = with(
        &sandbox,
        &["key", "new", "--passphrase", "other"],
        &[(NEW, "")],
    );
    run.exits(2).says(&["empty passphrase"]);
    assert!(!sandbox.path().join("other").exists());
}

#[test]
fn a_put_key_archives_and_cannot_read() {
    let sandbox = Sandbox::new();
    sandbox.archive("first.tar", &stream()[..]);
    let stored = sandbox.stored_files();
    let put = sandbox.path().join("put");
    let run = sandbox.run(["key", "put", "put"]).exits(0);
    run.says(&["made a put key", "cannot read"]);
    assert_eq!(mode(&put), 0o600);
    sandbox
        .run(["key", "put", "put"])
        .exits(1)
        .says(&["never overwritten"]);

    // It deduplicates against what the secret key has stored …
    let index = sandbox.path().join("second.tar");
    sandbox
        .archive_to(["-q", "--key", "put"], &stream()[..], &index)
        .exits(0);
    assert_eq!(sandbox.stored_files(), stored);
    // … and what it stores the secret key reads.
    let other = Stream::new().file("name", b"something new").end();
    sandbox
        .archive_to(["-q", "--key", "put"], &other[..], &index)
        .exits(0);
    sandbox.restores(&index, &other[..]);

    let run = sandbox
        .run(["restore", "second.tar", "--key", "put"])
        .exits(1);
    run.says(&["put key", "name the secret key"]);
    sandbox.run(["ls", "second.tar", "--key", "put"]).exits(0);
    sandbox.run(["store", "--key", "put"]).exits(0);
    let shown = text(&sandbox.run(["key", "show", "--key", "put"]).exits(0));
    assert!(shown.contains("put key") && !shown.contains("dtar-public-key"));
    let store = sandbox.path().join("new-store");
    let run = sandbox.run(["init", "--key", "put", "--store", store.to_str().unwrap()]);
    run.exits(1).says(&["put key"]);
}

#[test]
fn another_key_is_named() {
    let sandbox = Sandbox::new();
    let index = sandbox.archive("index.tar", &stream()[..]);
    sandbox.run(["key", "new", "other"]).exits(0);
    for arguments in [
        &["restore", "index.tar"][..],
        &["ls", "index.tar"],
        &["store"],
    ] {
        let arguments = arguments.iter().copied().chain(["--key", "other"]);
        sandbox
            .run(arguments)
            .exits(1)
            .says(&["wrong key", "--key"]);
    }
    sandbox.restores(&index, &stream()[..]);
}

fn parse(path: &Path) -> Key {
    match KeyFile::parse(&std::fs::read(path).unwrap()) {
        Ok(KeyFile::Key(key)) => key,
        other => panic!("{other:?}"),
    }
}

/// The chunks of all frames in a brick, opened with `key`.
fn chunks(brick: &Path, sandbox: &Sandbox, key: &Key) -> Vec<Vec<u8>> {
    let told = sandbox.run(["store", "--json"]).exits(0);
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    let opener = key
        .opener(told["store_id"].as_str().unwrap().parse().unwrap())
        .unwrap();
    let mut bytes = std::fs::read(brick).unwrap();
    let (mut frame, mut scratch) = (OpenFrame::new(), OpenScratch::new());
    let mut chunks = Vec::new();
    let mut at = 80;
    while bytes[at..].starts_with(b"dtarFRAM") {
        let length = FrameHeader::decode(&bytes[at..]).unwrap().frame_length() as usize;
        opener
            .open(&mut bytes[at..at + length], &mut scratch, &mut frame)
            .unwrap();
        chunks.extend((0..frame.chunk_count()).map(|place| frame.chunk(place).unwrap().to_vec()));
        at += length;
    }
    chunks
}

/// The holder of a key in escrow has what it takes to read every chunk; see `escrow.rs`
/// for the command.
#[test]
fn a_further_recipient_opens_every_frame() {
    let sandbox = Sandbox::new();
    sandbox.run(["key", "new", "escrow"]).exits(0);
    let public = text(&sandbox.run(["key", "show", "--key", "escrow"]).exits(0));
    std::fs::write(sandbox.path().join("escrow.pub"), public).unwrap();
    sandbox.run(["init", "--recipient", "escrow.pub"]).exits(0);
    let told = text(&sandbox.run(["store"]).exits(0));
    assert!(told.contains("recipients  2"), "{told}");
    let index = sandbox.archive("index.tar", &stream()[..]);
    sandbox.restores(&index, &stream()[..]);

    let brick = sandbox
        .stored_files()
        .into_iter()
        .find(|path| path.extension().is_some_and(|kind| kind == "brick"))
        .unwrap();
    let escrow = parse(&sandbox.path().join("escrow"));
    let opened = chunks(&brick, &sandbox, &escrow);
    assert_eq!(opened, [b"what a key can open"]);
    assert_eq!(opened, chunks(&brick, &sandbox, &parse(&sandbox.key())));
    let run = sandbox
        .run(["restore", "index.tar", "--key", "escrow"])
        .exits(1);
    run.says(&["wrong key"]);

    // A secret key's file says whose public key is meant.
    for (recipient, code) in [("nonsense", 2), ("key", 2), ("escrow", 0)] {
        let store = sandbox.path().join("other");
        let store = store.to_str().unwrap();
        let run = sandbox.run(["init", "--recipient", recipient, "--store", store]);
        assert_eq!(run.code, Some(code), "{recipient}: {}", run.stderr);
    }
}
