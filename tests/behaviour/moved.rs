//! Frames and chunks that are not where an index says: hints are hints
//! (`formats/collection.md#others-at-the-same-time`).

use std::fs;
use std::io::Write;
use std::path::Path;

use dtar::brick::{BrickSealer, footer};
use dtar::crypto::{Key, KeyFile};
use dtar::format::note::NoteKind;
use dtar::format::origins::Origin;
use dtar::format::toc::Toc;
use dtar::id::{BrickName, Class, WriterId};
use dtar::store::Store;
use dtar::store::runs::Lease;

use crate::common::block::Stream;
use crate::common::sandbox::{KEY, Sandbox};
use crate::common::source::Random;

fn key() -> Key {
    match KeyFile::parse(KEY.as_bytes()) {
        Ok(KeyFile::Key(key)) => key,
        other => panic!("{other:?}"),
    }
}

/// Several bricks of several frames.
fn stream(seed: u64) -> Vec<u8> {
    let mut stream = Stream::new();
    for number in 0..6 {
        let body = Random(seed * 100 + number).bytes(3 << 20);
        stream = stream.file(&format!("file-{number}"), &body);
    }
    stream.end()
}

const SMALL: [&str; 3] = ["--quiet", "--brick-size", "10M"];

/// The bricks of a class that are here.
fn bricks(store: &Store, class: Class) -> Vec<BrickName> {
    let mut names = Vec::new();
    store
        .layout()
        .each_brick(class, |name, _| {
            names.push(name);
            Ok(())
        })
        .unwrap();
    names.sort_unstable();
    names
}

/// Puts all frames of all bricks of a class into one new brick, in another order, and
/// deletes the old ones: what a gc does, but for its care.
fn move_all(store: &Store, class: Class) -> BrickName {
    let keys = store.put_keys(&key()).unwrap();
    let lease = Lease::take(store, &keys, NoteKind::GcLease, "").unwrap();
    let sealer = BrickSealer::new(*store.id(), store.epoch(), class, store.recipients()).unwrap();
    let mut toc = Toc::new(class, WriterId([9; 16]));
    let mut origins: Vec<Vec<Origin>> = Vec::new();
    let mut content = sealer.header();
    let old = bricks(store, class);
    for name in &old {
        let known = store.read_sidecar(&keys, name, &mut Vec::new()).unwrap();
        let path = store.brick_path(name, class);
        let bytes = fs::read(&path).unwrap();
        let frames: Vec<_> = known.frames().iter().enumerate().collect();
        for (number, frame) in frames.into_iter().rev() {
            let start = usize::try_from(frame.offset).unwrap();
            content.extend_from_slice(&bytes[start..][..frame.length as usize]);
            let chunks = known.chunks_of(frame).iter().copied();
            toc.push_frame(frame.length, frame.plain_length, chunks)
                .unwrap();
            let place = u32::try_from(number).unwrap();
            let mut from = vec![(*name, place)];
            from.extend(known.origins().into_iter().flat_map(|all| all.of(number)));
            origins.push(from);
        }
        fs::remove_file(store.toc_path(name)).unwrap();
        fs::remove_file(path).unwrap();
    }
    toc.set_origins(&origins, &[]).unwrap();
    let end = content.len() as u64;
    let contents = sealer.seal_toc(&keys, &toc).unwrap();
    content.extend_from_slice(&contents);
    content.extend_from_slice(&footer(end, contents.len() as u64));
    let name = BrickName(*blake3::hash(&content).as_bytes());
    let mut file = lease.temp_file().unwrap();
    file.write_all(&content).unwrap();
    store.publish_brick(&lease, file, &name, class).unwrap();
    store
        .write_sidecar(&lease, &keys, &name, &contents)
        .unwrap();
    name
}

#[test]
fn frames_that_were_moved_are_found_by_their_origins() {
    let sandbox = Sandbox::new();
    let stream = stream(1);
    let index = sandbox.path().join("index.tar");
    sandbox.archive_to(SMALL, &stream[..], &index).exits(0);
    let store = Store::open(&sandbox.store(), &key()).unwrap();
    assert!(bricks(&store, Class::Data).len() > 1);
    let old = bricks(&store, Class::Metadata);
    let first = move_all(&store, Class::Data);
    move_all(&store, Class::Metadata);
    sandbox.restores(&index, &stream[..]);
    sandbox.restores(Path::new("@latest"), &stream[..]);
    assert_ne!(bricks(&store, Class::Metadata), old);
    // Once more: origins are kept. An index made meanwhile names the second place.
    sandbox.archive("second.tar", &stream[..]);
    let second = move_all(&store, Class::Data);
    assert_ne!(first, second);
    for index in ["index.tar", "second.tar", "@latest", "@2"] {
        sandbox.restores(Path::new(index), &stream[..]);
    }
    // From a copy, with nothing but key, index and --bricks.
    fs::rename(sandbox.store(), sandbox.path().join("copy")).unwrap();
    let arguments = [
        "restore",
        "index.tar",
        "--store",
        "none",
        "--bricks",
        "copy",
    ];
    assert!(sandbox.run(arguments).exits(0).stdout == stream);
    // Without sidecars the bricks themselves say it.
    fs::remove_dir_all(sandbox.path().join("copy/tocs")).unwrap();
    assert!(sandbox.run(arguments).exits(0).stdout == stream);
    fs::remove_dir_all(sandbox.path().join("copy/bricks")).unwrap();
    let run = sandbox.run(arguments).exits(3);
    run.says(&["brick is missing", "gc may have deleted it"]);
}

#[test]
fn chunks_that_were_stored_again_are_found_by_their_ids() {
    let sandbox = Sandbox::new();
    let stream = stream(2);
    let index = sandbox.path().join("index.tar");
    sandbox.archive_to(SMALL, &stream[..], &index).exits(0);
    let store = Store::open(&sandbox.store(), &key()).unwrap();
    // One brick is lost with its sidecar, another is damaged and marked.
    let names = bricks(&store, Class::Data);
    fs::remove_file(store.toc_path(&names[0])).unwrap();
    fs::remove_file(store.brick_path(&names[0], Class::Data)).unwrap();
    let damaged = store.brick_path(&names[1], Class::Data);
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[5000] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let keys = store.put_keys(&key()).unwrap();
    store.mark(&keys, &names[1], "").unwrap();
    let run = sandbox.run(["restore", "index.tar"]).exits(3);
    run.says(&["needed for"]);
    // The same chunks, in other frames and at other places.
    let again = sandbox.path().join("again.tar");
    let shifted = [
        &Stream::new().file("more", &Random(9).bytes(100_000)).0[..],
        &stream,
    ]
    .concat();
    sandbox.archive_to(["-q"], &shifted[..], &again).exits(0);
    sandbox.restores(&index, &stream[..]);
    // Without a catalog, too: a file stands where its folder should be.
    fs::remove_dir_all(sandbox.catalog()).unwrap();
    fs::write(sandbox.catalog(), b"").unwrap();
    sandbox.restores(&index, &stream[..]);
    sandbox.restores(&again, &shifted[..]);
}

#[test]
fn lists_of_chunks_are_found_by_their_ids() {
    let sandbox = Sandbox::new();
    // Enough chunks for a list.
    let stream = Stream::new()
        .file("large", &Random(7).bytes(20 << 20))
        .end();
    let index = sandbox.archive("index.tar", &stream[..]);
    let store = Store::open(&sandbox.store(), &key()).unwrap();
    for name in bricks(&store, Class::Data) {
        fs::remove_file(store.toc_path(&name)).unwrap();
        fs::remove_file(store.brick_path(&name, Class::Data)).unwrap();
    }
    sandbox.run(["restore", "index.tar"]).exits(3);
    let again = sandbox.path().join("again.tar");
    let options = ["-q", "--level", "1", "--brick-size", "40M"];
    sandbox.archive_to(options, &stream[..], &again).exits(0);
    sandbox.restores(&index, &stream[..]);
}

#[test]
fn ls_finds_the_bricks_of_a_snapshot_elsewhere_too() {
    let sandbox = Sandbox::new();
    let stream = Stream::new().file("name", b"content").end();
    sandbox.archive("index.tar", &stream[..]);
    let copy = sandbox.path().join("copy");
    fs::create_dir(&copy).unwrap();
    fs::rename(sandbox.store().join("meta"), copy.join("meta")).unwrap();
    sandbox.run(["ls", "@latest"]).exits(3);
    let run = sandbox.run(["ls", "@latest", "--bricks", "copy"]).exits(0);
    assert!(run.stdout.ends_with(b" name\n"));
}
