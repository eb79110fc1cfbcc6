//! Whom an archive run believes: bricks of somebody with a stolen put key that do not hold
//! what their TOCs claim, and sidecars that are not those of their bricks.

use std::fs;
use std::path::{Path, PathBuf};

use dtar::brick::{
    BrickSealer, CompressedFrame, Compressor, Effort, FrameBuilder, Pad, footer, make_sidecar,
};
use dtar::crypto::PutKeys;
use dtar::format::toc::{Toc, TocChunk};
use dtar::id::{BrickName, Class, WriterId};
use dtar::key_file;
use dtar::store::Store;
use serde_json::Value;

use crate::common::block::Stream;
use crate::common::sandbox::{Run, Sandbox};
use crate::common::source::Random;
use crate::json::summary;

const BODY: u64 = 300_000;

fn stream(numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let mut stream = Stream::new();
    for number in numbers {
        let body = Random(number).bytes(usize::try_from(BODY).unwrap());
        stream = stream.file(&format!("file-{number}"), &body);
    }
    stream.end()
}

/// A store with one finished run of the host of the test; `put` is the put key that it
/// archives with, and that was stolen.
fn victim() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.run(["init", "-q"]).exits(0);
    sandbox.run(["key", "put", "put"]).exits(0);
    archive(&sandbox, "first.tar", &stream(0..3), &[]);
    sandbox
}

fn archive(sandbox: &Sandbox, name: &str, stream: &[u8], options: &[&str]) -> Value {
    let index = sandbox.path().join(name);
    let mut arguments = vec!["--json", "--key", "put"];
    arguments.extend(options);
    summary(&sandbox.archive_to(arguments, stream, &index).exits(0))
}

fn restore(sandbox: &Sandbox, name: &str) -> Run {
    sandbox.run([Path::new("restore"), &sandbox.path().join(name)])
}

/// Restores exactly.
fn is_whole(sandbox: &Sandbox, name: &str, stream: &[u8]) {
    sandbox.restores(&sandbox.path().join(name), stream);
}

/// All that a thief of the put key has.
struct Thief {
    store: Store,
    keys: PutKeys,
}

impl Thief {
    fn of(sandbox: &Sandbox) -> Self {
        let key = key_file::load(&sandbox.path().join("put"), &mut |_| unreachable!()).unwrap();
        assert!(key.is_put_key());
        let store = Store::open(&sandbox.store(), &key).unwrap();
        let keys = store.put_keys(&key).unwrap();
        Self { store, keys }
    }

    fn sidecars(&self) -> Vec<(BrickName, Toc)> {
        let (mut names, mut bytes) = (Vec::new(), Vec::new());
        for shard in 0..=u8::MAX {
            self.store
                .layout()
                .sidecar_names(shard, &mut names)
                .unwrap();
        }
        let read = |name| {
            self.store
                .read_sidecar(&self.keys, &name, &mut bytes)
                .unwrap()
        };
        let tocs = names.clone().into_iter().map(read).collect::<Vec<_>>();
        let all = names.into_iter().zip(tocs);
        all.filter(|(_, toc)| toc.class() == Class::Data).collect()
    }

    fn sealer(&self) -> BrickSealer {
        let store = &self.store;
        BrickSealer::new(*store.id(), store.epoch(), Class::Data, store.recipients()).unwrap()
    }

    /// A whole brick and its sidecar, in order but for one thing: its chunks are not those
    /// that its TOC, which is `writer`'s like the honest ones, claims.
    fn plant(&self, claimed: &Toc, writer: WriterId) -> BrickName {
        let sealer = self.sealer();
        let mut bytes = sealer.header();
        let mut toc = Toc::new(Class::Data, writer);
        for (number, listed) in (0..).zip(claimed.frames()) {
            let chunks: &[TocChunk] = claimed.chunks_of(listed);
            let mut builder = FrameBuilder::new();
            for chunk in chunks {
                builder.push(&vec![b'?'; chunk.length as usize]);
            }
            let mut frame = CompressedFrame::new();
            builder
                .compress(
                    &mut Compressor::new(),
                    Effort::from(1),
                    sealer.frame_header_length(),
                    Pad::None,
                    &mut frame,
                )
                .unwrap();
            sealer.seal_frame(number, &mut frame).unwrap();
            bytes.extend_from_slice(&frame.bytes);
            let length = u32::try_from(frame.bytes.len()).unwrap();
            let chunks = chunks.iter().copied();
            toc.push_frame(length, frame.plain_length, chunks).unwrap();
        }
        let table = sealer.seal_toc(&self.keys, &toc).unwrap();
        let end = bytes.len() as u64;
        bytes.extend_from_slice(&table);
        bytes.extend_from_slice(&footer(end, table.len() as u64));
        let name = BrickName(*blake3::hash(&bytes).as_bytes());
        put(&self.store.brick_path(&name, Class::Data), &bytes);
        let sidecar = make_sidecar(&self.keys, &name, &table);
        put(&self.store.toc_path(&name), &sidecar);
        name
    }

    /// A sidecar for `name` that claims what `claimed` does.
    fn replace_sidecar(&self, name: &BrickName, claimed: &Toc) {
        let table = self.sealer().seal_toc(&self.keys, claimed).unwrap();
        put(
            &self.store.toc_path(name),
            &make_sidecar(&self.keys, name, &table),
        );
    }
}

fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// What honest TOCs of `stream` would be: the thief knows the content, and can compute them.
fn honest_tocs(sandbox: &Sandbox, stream: &[u8]) -> Vec<(BrickName, Toc)> {
    let copy = sandbox.with_copied_store();
    fs::copy(sandbox.path().join("put"), copy.path().join("put")).unwrap();
    let before: Vec<_> = Thief::of(&copy).sidecars();
    archive(&copy, "index.tar", stream, &["--no-snapshot"]);
    let mut after = Thief::of(&copy).sidecars();
    after.retain(|(name, _)| before.iter().all(|(known, _)| known != name));
    after
}

/// Plants bricks that claim to hold `stream`, as if the victim had written them. Returns
/// the bytes that they claim.
fn plant(sandbox: &Sandbox, stream: &[u8]) -> u64 {
    let thief = Thief::of(sandbox);
    let writer = thief.sidecars()[0].1.writer();
    let mut claimed = 0;
    for (_, toc) in honest_tocs(sandbox, stream) {
        thief.plant(&toc, writer);
        claimed += toc
            .chunks()
            .iter()
            .map(|chunk| u64::from(chunk.length))
            .sum::<u64>();
    }
    claimed
}

fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap()
}

fn marks(sandbox: &Sandbox) -> usize {
    fs::read_dir(sandbox.store().join("bad")).map_or(0, Iterator::count)
}

#[test]
fn forged_tocs_are_found_by_verify_and_then_stored_again() {
    let sandbox = victim();
    let known = stream(10..13);
    let claimed = plant(&sandbox, &known);
    assert_eq!(claimed, 3 * BODY);
    // As it is by default, the run relies on them, and the content is stored nowhere.
    let told = archive(&sandbox, "misled.tar", &known, &[]);
    let misled = number(&told, "deduplicated");
    assert_eq!((misled, number(&told, "new")), (claimed, 0));
    assert_eq!(
        (&told["dedup_against"], number(&told, "left_out")),
        (&"all".into(), 0)
    );
    // Nothing wrong comes out.
    let run = restore(&sandbox, "misled.tar").exits(3);
    assert!(run.stdout.len() < usize::try_from(BODY).unwrap());
    // Neither without a key nor with a put key is anything to be seen.
    sandbox.run(["verify", "--no-key"]).exits(0);
    sandbox.run(["verify", "--key", "put"]).exits(0);
    assert_eq!(marks(&sandbox), 0);
    let run = sandbox.run(["verify", "--json"]).exits(3);
    let told = summary(&run);
    assert_eq!((number(&told, "damaged"), number(&told, "marked")), (1, 1));
    assert_eq!(number(&told, "hits"), 1, "the run that was misled");
    run.says(&["chunk id", "\"hit\""]);
    // The next run stores what was believed to be there, and heals the one before.
    let told = archive(&sandbox, "healed.tar", &known, &[]);
    assert_eq!(
        (number(&told, "deduplicated"), number(&told, "new")),
        (0, claimed)
    );
    is_whole(&sandbox, "healed.tar", &known);
    is_whole(&sandbox, "misled.tar", &known);
    is_whole(&sandbox, "first.tar", &stream(0..3));
    println!(
        "bytes claimed {claimed}, relied upon {misled}, after verify stored {}",
        number(&told, "new")
    );
}

#[test]
fn who_trusts_only_himself_is_not_misled() {
    let sandbox = victim();
    let known = stream(10..13);
    let claimed = plant(&sandbox, &known);
    let own = ["--dedup-against", "own"];
    let told = archive(&sandbox, "second.tar", &known, &own);
    let misled = number(&told, "deduplicated");
    assert_eq!((misled, number(&told, "new")), (0, claimed));
    assert_eq!(
        (&told["dedup_against"], number(&told, "left_out")),
        (&"own".into(), 1)
    );
    is_whole(&sandbox, "second.tar", &known);
    // What was written from here counts in full, of whatever run.
    let told = archive(&sandbox, "both.tar", &stream([0, 1, 2, 10, 11, 12]), &own);
    assert_eq!(
        (number(&told, "deduplicated"), number(&told, "new")),
        (6 * BODY, 0)
    );
    // The catalog is made anew from what stands, and forged TOCs stand there too.
    let catalog = sandbox.catalog();
    let file = |ending: &str| {
        let files = fs::read_dir(&catalog)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let wanted = |path: &PathBuf| path.to_str().unwrap().ends_with(ending);
        files.filter(wanted).collect::<Vec<_>>()
    };
    let lock = file(".lock").remove(0);
    fs::remove_dir_all(lock.with_extension("")).unwrap();
    let told = archive(&sandbox, "again.tar", &known, &own);
    assert_eq!(
        (number(&told, "deduplicated"), number(&told, "new")),
        (claimed, 0)
    );
    is_whole(&sandbox, "again.tar", &known);
    // What it remembers is lost: all is stored once more, and nothing else happens.
    fs::remove_file(file(".own").remove(0)).unwrap();
    let told = archive(&sandbox, "lost.tar", &known, &own);
    assert_eq!(
        (number(&told, "deduplicated"), number(&told, "new")),
        (0, claimed)
    );
    is_whole(&sandbox, "lost.tar", &known);
    let told = archive(&sandbox, "after.tar", &known, &own);
    assert_eq!(
        (number(&told, "deduplicated"), number(&told, "new")),
        (claimed, 0)
    );
    is_whole(&sandbox, "after.tar", &known);
    println!("bytes claimed {claimed}, relied upon {misled}");
}

#[test]
fn another_host_is_trusted_with_all_and_not_with_own() {
    let sandbox = victim();
    let elsewhere = ["--catalog", "elsewhere"];
    let told = archive(&sandbox, "all.tar", &stream(0..3), &elsewhere);
    assert_eq!(number(&told, "new"), 0);
    let mut command = sandbox.command(["--json", "--key", "put", "--index", "own.tar"]);
    command.args(elsewhere).env("DTAR_DEDUP_AGAINST", "own");
    let input = sandbox.path().join("stream");
    fs::write(&input, stream(0..3)).unwrap();
    command.stdin(fs::File::open(input).unwrap());
    let told = summary(&crate::run(command).exits(0));
    assert_eq!(
        (number(&told, "new"), number(&told, "deduplicated")),
        (3 * BODY, 0)
    );
    is_whole(&sandbox, "own.tar", &stream(0..3));
    let run = sandbox.run(["--dedup-against", "none"]).exits(2);
    run.says(&["all", "own"]);
}

#[test]
fn a_replaced_sidecar_is_found_and_mended_and_leaves_nothing_behind() {
    let sandbox = victim();
    let thief = Thief::of(&sandbox);
    let known = stream(10..13);
    let (name, honest) = thief.sidecars().remove(0);
    let sidecar = thief.store.toc_path(&name);
    let as_it_was = fs::read(&sidecar).unwrap();
    let (_, claimed) = honest_tocs(&sandbox, &known).remove(0);
    assert_eq!(honest.frames().len(), claimed.frames().len());
    thief.replace_sidecar(&name, &claimed);
    // A host that knows the brick of old does not believe what it read then, either.
    let told = archive(&sandbox, "careful.tar", &stream(0..3), &["--no-snapshot"]);
    assert_eq!(number(&told, "deduplicated"), 0);
    is_whole(&sandbox, "careful.tar", &stream(0..3));
    // One that reads it now is misled.
    let other = ["--catalog", "elsewhere", "--no-snapshot"];
    let told = archive(&sandbox, "misled.tar", &known, &other);
    assert_eq!(number(&told, "new"), 0);
    restore(&sandbox, "misled.tar").exits(3);
    // Everybody who scrubs finds it: the brick has its table in it.
    for key in [&["--no-key"][..], &["--key", "put"], &[]] {
        let run = sandbox.run(["verify", "--json"].iter().chain(key)).exits(3);
        run.says(&["not the table of contents in its brick"]);
        assert_eq!(marks(&sandbox), 1);
    }
    let told = archive(&sandbox, "stored.tar", &known, &other);
    assert_eq!(number(&told, "deduplicated"), 0);
    is_whole(&sandbox, "stored.tar", &known);
    // As it should be again, with a put key; and the mark goes once all was read.
    sandbox.run(["rebuild", "--key", "put"]).exits(0);
    assert!(fs::read(&sidecar).unwrap() == as_it_was);
    sandbox.run(["verify", "--json"]).exits(0);
    assert_eq!(marks(&sandbox), 0);
    // The catalog that had believed it does not go on to.
    for round in ["once.tar", "twice.tar"] {
        archive(&sandbox, round, &known, &other);
        is_whole(&sandbox, round, &known);
    }
    is_whole(&sandbox, "first.tar", &stream(0..3));
}

#[test]
fn what_gc_moves_for_its_host_stays_its_own() {
    let sandbox = victim();
    archive(&sandbox, "many.tar", &stream(20..60), &["--label", "many"]);
    let kept = stream([20, 21, 0, 1, 2]);
    archive(&sandbox, "kept.tar", &kept, &[]);
    sandbox.run(["forget", "@label:many", "-q"]).exits(0);
    let run = sandbox
        .run(["gc", "--json", "--key", "put", "--threshold", "90"])
        .exits(0);
    assert!(number(&summary(&run), "rewritten") > 0);
    let own = ["--dedup-against", "own"];
    let told = archive(&sandbox, "after.tar", &kept, &own);
    assert_eq!((number(&told, "new"), number(&told, "left_out")), (0, 0));
    is_whole(&sandbox, "after.tar", &kept);
}

#[test]
fn what_gc_moves_of_others_stays_theirs() {
    let sandbox = victim();
    let elsewhere = ["--catalog", "elsewhere"];
    let options = [&elsewhere[..], &["--label", "many"]].concat();
    archive(&sandbox, "many.tar", &stream(20..60), &options);
    let kept = stream([20, 21]);
    archive(&sandbox, "kept.tar", &kept, &elsewhere);
    sandbox.run(["forget", "@label:many", "-q"]).exits(0);
    let run = sandbox
        .run(["gc", "--json", "--key", "put", "--threshold", "90"])
        .exits(0);
    assert!(number(&summary(&run), "rewritten") > 0);
    let told = archive(&sandbox, "own.tar", &kept, &["--dedup-against", "own"]);
    assert_eq!(
        (number(&told, "new"), number(&told, "deduplicated")),
        (2 * BODY, 0)
    );
    is_whole(&sandbox, "own.tar", &kept);
}

/// A store that was copied and put back later is a store; only who wrote to it can tell.
#[test]
fn a_store_that_was_set_back_is_told_of() {
    let sandbox = victim();
    let old = sandbox.with_copied_store();
    let told = archive(&sandbox, "second.tar", &stream(3..4), &[]);
    let run = told["run"].as_str().unwrap().to_owned();
    let root = format!("{run}.root");
    assert!(sandbox.store().join("roots").join(&root).is_file());
    let quiet = |words: &[&str]| {
        let run = sandbox.run(words).exits(0);
        assert!(!run.stderr.contains("is gone"), "{}", run.stderr);
    };
    quiet(&["snapshots"]);
    let away = sandbox.path().join("away");
    fs::rename(sandbox.store(), &away).unwrap();
    fs::rename(old.store(), sandbox.store()).unwrap();
    for command in ["snapshots", "store"] {
        let run = sandbox.run([command]).exits(0);
        run.says(&[&root, "is gone", "older copy"]);
    }
    let index = sandbox.path().join("index.tar");
    let set_back = sandbox.archive_to(["--key", "put"], &b"one more"[..], &index);
    set_back.exits(0).says(&[&root, "is gone"]);
    // It has been said; from now on this is the store.
    quiet(&["snapshots"]);
    // What was forgotten from here is no news, what was forgotten elsewhere is.
    sandbox.run(["forget", "@latest"]).exits(0);
    quiet(&["snapshots"]);
    archive(&sandbox, "again.tar", &stream(0..1), &[]);
    let elsewhere = ["forget", "@latest", "--catalog", "elsewhere"];
    sandbox.run(elsewhere).exits(0);
    sandbox.run(["snapshots"]).exits(0).says(&["is gone"]);
    // Where nothing was written, nothing is missed.
    quiet(&["snapshots", "--catalog", "elsewhere"]);
}
