//! Members and records depend on stream and key alone.

use crate::common::block::{Header, Stream};
use crate::common::sandbox::Sandbox;
use crate::common::source::{Pieces, Random};

/// About 40 MiB in several bodies, with repetition within and between them.
fn stream() -> Pieces<impl Iterator<Item = Vec<u8>>> {
    let member = |number: u64| {
        let size = 3_000_000 + number * 77_777;
        let mut body = vec![0; usize::try_from(size).unwrap()];
        for (place, piece) in body.chunks_mut(100_000).enumerate() {
            let seed = (place as u64 * 7 + number) % 60;
            if seed != 0 {
                Random(seed).fill(piece);
            }
        }
        Stream::new()
            .header(&Header::file(&format!("member-{number}"), size))
            .body(&body)
            .0
    };
    let garbage = std::iter::once_with(|| Random(99).bytes(70_000));
    Pieces::new((0..6).map(member).chain(garbage).chain((3..9).map(member)))
}

/// Where the trailer of an index begins, by its last 64 bytes (`formats/index.md#end`).
fn trailer(index: &[u8]) -> usize {
    let end = &index[index.len() - 64..];
    assert_eq!(&end[..8], b"dtarIEND");
    number(&end[16..24])
}

fn number(bytes: &[u8]) -> usize {
    usize::try_from(u64::from_le_bytes(bytes.try_into().unwrap())).unwrap()
}

fn members_part(index: &[u8]) -> &[u8] {
    &index[..trailer(index)]
}

/// A section of the trailer (`formats/index.md#trailer`).
fn section(index: &[u8], magic: [u8; 4]) -> &[u8] {
    let mut at = trailer(index) + 24;
    loop {
        let payload = &index[at + 16..];
        let length = number(&index[at + 8..at + 16]);
        if index[at..at + 4] == magic {
            return &payload[..length];
        }
        assert_ne!(&index[at..at + 4], b"DONE", "no section {magic:?}");
        at += 16 + length;
    }
}

#[test]
fn all_stores_of_a_key_have_the_same_members_and_records() {
    let first = Sandbox::new();
    let first_index = std::fs::read(first.archive("index.tar", stream())).unwrap();
    let second = Sandbox::new();
    second.run(["init"]).exits(0);
    second.run(["key", "put", "put"]).exits(0);
    let put = second.path().join("put.tar");
    second
        .archive_to(["-q", "--key", "put"], stream(), &put)
        .exits(0);
    second.restores(&put, stream());
    let put = std::fs::read(put).unwrap();
    let secret = std::fs::read(second.archive("secret.tar", stream())).unwrap();
    // The stores are two: what names store and bricks differs.
    assert!(section(&first_index, *b"SUMM") != section(&put, *b"SUMM"));
    for index in [&put, &secret] {
        assert!(members_part(index) == members_part(&first_index));
        for magic in [*b"RECS", *b"MAPS"] {
            assert!(section(index, magic) == section(&first_index, magic));
        }
    }
    let aside = section(&put, *b"RECS").windows(8);
    let records = aside.filter(|part| part == b"dtarBODY").count();
    assert!(records >= 2, "the opaque run has no record aside");
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let first = Sandbox::new();
    first.archive("nothing", std::io::empty());
    let sandboxes = [1, 2, 4, 7].map(|threads| first.with_copied_store().with_threads(threads));
    let indexes = sandboxes.each_ref().map(|sandbox| {
        let path = sandbox.archive("index.tar", stream());
        sandbox.restores(&path, stream());
        std::fs::read(path).unwrap()
    });
    for index in &indexes[1..] {
        assert!(members_part(index) == members_part(&indexes[0]));
    }
}

#[test]
fn a_second_run_stores_nothing_whatever_the_threads() {
    let sandbox = Sandbox::new().with_threads(1);
    let first = std::fs::read(sandbox.archive("first.tar", stream())).unwrap();
    let stored = sandbox.stored_files();
    let sandbox = sandbox.with_threads(4);
    for name in ["second.tar", "third.tar"] {
        let again = std::fs::read(sandbox.archive(name, stream())).unwrap();
        assert!(again == first, "{name} differs");
        assert_eq!(sandbox.stored_files(), stored);
    }
}

#[test]
fn a_catalog_made_again_changes_nothing() {
    let sandbox = Sandbox::new();
    let first = std::fs::read(sandbox.archive("first.tar", stream())).unwrap();
    let stored = sandbox.stored_files();
    std::fs::remove_dir_all(sandbox.catalog()).unwrap();
    let again = std::fs::read(sandbox.archive("again.tar", stream())).unwrap();
    assert!(again == first, "the index differs");
    assert_eq!(sandbox.stored_files(), stored);
}

#[test]
fn an_index_is_a_stream_like_any_other() {
    let sandbox = Sandbox::new();
    let first = sandbox.archive("first.tar", stream());
    let bytes = std::fs::read(&first).unwrap();
    let second = sandbox.archive("second.tar", &bytes[..]);
    sandbox.restores(&second, &bytes[..]);
    sandbox.restores(&first, stream());
}

#[test]
fn a_member_that_grew_is_stored_by_what_is_new() {
    let sandbox = Sandbox::new();
    let body = Random(5).bytes(20 << 20);
    let grown = [&body[..], &Random(6).bytes(100_000)].concat();
    let store = |name, body: &[u8]| {
        let before: u64 = sizes(&sandbox);
        let stream = Stream::new().file("log", body).end();
        let index = sandbox.archive(name, &stream[..]);
        sandbox.restores(&index, &stream[..]);
        sizes(&sandbox) - before
    };
    let first = store("first.tar", &body);
    assert!(first > 20 << 20, "{first} bytes for noise");
    let more = store("second.tar", &grown);
    assert!(more < 1 << 20, "{more} bytes for what grew by 100,000");
}

fn sizes(sandbox: &Sandbox) -> u64 {
    let files = sandbox.stored_files();
    files
        .iter()
        .map(|path| std::fs::metadata(path).unwrap().len())
        .sum()
}
