//! The vectors of tapes in `formats/vectors`.
//!
//! Each file is run through the library. They are made here from the text of
//! `formats/tape.md` alone; `DTAR_BLESS=1 cargo test --test vectors_tape` writes them anew.

#[path = "../vectors_crypto/harness.rs"]
#[allow(
    dead_code,
    reason = "shared with the vectors of binary structures, which have a prefix"
)]
mod harness;
#[path = "../vectors_crypto/vector.rs"]
#[allow(
    dead_code,
    reason = "shared with the vectors of keys and bricks, which need the rest of it"
)]
mod vector;

use dtar::format::tape::{Label, TapeFile, TapeFileKind};
use harness::{Made, can_be_made_again, decode_class, run_all};
use vector::Vector;

/// The folders whose vectors are run here.
const KINDS: [&str; 2] = ["tape-file", "tape-label"];

#[test]
fn every_vector_gives_what_it_says() {
    run_all(&KINDS, &[], run);
}

#[test]
fn every_vector_can_be_made_again() {
    can_be_made_again(&KINDS, labels().into_iter().chain(names()).collect());
}

fn run(kind: &str, vector: &Vector) -> String {
    if kind == "tape-file" {
        return file(vector);
    }
    let label = match Label::parse(&vector.bytes("label")) {
        Ok(label) => label,
        Err(error) => return decode_class(&error),
    };
    let set = label.owner.map(|owner| owner.set.to_string());
    let store = label.owner.map(|owner| owner.store.to_string());
    assert_eq!(label.id.to_string(), vector.text("id"));
    assert_eq!(label.name.to_string(), vector.text("name"));
    assert_eq!(set.as_deref().unwrap_or("-"), vector.text("set"));
    assert_eq!(store.as_deref().unwrap_or("-"), vector.text("store"));
    assert_eq!(u64::from(label.block), vector.number("block"));
    assert_eq!(label.time, vector.number("time"));
    let mut text = String::new();
    label.encode(&mut text);
    let lines = |text: &[u8]| {
        let end = text.windows(2).position(|pair| pair == b"\n\n").unwrap();
        text[..end].to_vec()
    };
    assert_eq!(lines(text.as_bytes()), lines(&vector.bytes("label")));
    "ok".into()
}

fn file(vector: &Vector) -> String {
    let name = vector.text("name");
    let Ok(file) = name.parse::<TapeFile>() else {
        return "value".into();
    };
    assert_eq!(file.to_string(), name);
    assert_eq!(u64::from(file.number), vector.number("number"));
    let kind = match file.kind {
        TapeFileKind::Label => "label".to_owned(),
        TapeFileKind::Container(name) => format!("container {}", name.number),
        TapeFileKind::Catalog(_) => "catalog".into(),
    };
    assert_eq!(kind, vector.text("kind"));
    "ok".into()
}

const SET: &str = "5f3e9a02c1d4b6875f3e9a02c1d4b687";
const STORE: &str = "00112233445566778899aabbccddeeff";

fn label(set: &str, store: &str, block: u32) -> String {
    format!(
        "dtar tape 1\nid 5f3e9a02c1d4b687\nname ARCHIVE-A\nset {set}\nstore {store}\n\
         block {block}\ntime 1795282800\n\nFor people.\n"
    )
}

fn labels() -> Vec<(String, Vector)> {
    let mut made = Made::new("tape-label");
    for (name, comment, set, store, block) in [
        ("raw", "a tape of a set", SET, STORE, 1_048_576),
        ("mounted", "one with a file system", SET, STORE, 0),
        (
            "bare",
            "one to which nothing was written yet",
            "-",
            "-",
            1_048_576,
        ),
        ("longest-block", "blocks of 8 MiB", SET, STORE, 8_388_608),
    ] {
        let vector = Vector::new(comment, "ok")
            .with_hex("label", label(set, store, block))
            .with("id", "5f3e9a02c1d4b687")
            .with("name", "ARCHIVE-A")
            .with("set", set)
            .with("store", store)
            .with("block", block)
            .with("time", 1_795_282_800_u64);
        made.add(name, vector);
    }
    let good = label(SET, STORE, 1_048_576);
    for (name, comment, expect, from, to) in [
        (
            "newer",
            "of a newer format",
            "version: version",
            "tape 1",
            "tape 2",
        ),
        (
            "container",
            "the label of a container",
            "magic: version",
            "tape 1",
            "container 1",
        ),
        ("id", "an id of 15 digits", "value: id", "id 5f", "id f"),
        (
            "name",
            "a name with a blank",
            "value: name",
            "ARCHIVE-A",
            "ARCHIVE A",
        ),
        (
            "long-name",
            "a name of 33 characters",
            "value: name",
            "ARCHIVE-A",
            "ABCDEFGHIJKLMNOPQRSTUVWXYZ1234567",
        ),
        ("half", "a set and no store", "value: store", STORE, "-"),
        (
            "block",
            "a length that is no multiple of 512",
            "value: block",
            "1048576",
            "1048577",
        ),
        (
            "long-block",
            "blocks of more than 8 MiB",
            "value: block",
            "1048576",
            "8389120",
        ),
        (
            "order",
            "lines in another order",
            "value: id",
            "id 5f3e9a02c1d4b687\n",
            "",
        ),
        (
            "cut",
            "cut off in the last line",
            "truncated: time",
            "time 1795282800\n\nFor people.\n",
            "time 1795",
        ),
    ] {
        assert!(good.contains(from), "{from}");
        let vector = Vector::new(comment, expect);
        made.add(name, vector.with_hex("label", good.replacen(from, to, 1)));
    }
    made.vectors
}

fn names() -> Vec<(String, Vector)> {
    let mut made = Made::new("tape-file");
    for (name, comment, file, number, kind) in [
        ("label", "the label", "dtar-tape.tar", 0, "label"),
        (
            "container",
            "a container",
            "0003-5f3e9a02-000017.tar",
            3,
            "container 17",
        ),
        (
            "many",
            "numbers of more digits",
            "12345-5f3e9a02-1000017.tar",
            12_345,
            "container 1000017",
        ),
        (
            "catalog",
            "a catalog",
            "0004-5f3e9a02-catalog.tar",
            4,
            "catalog",
        ),
    ] {
        let vector = Vector::new(comment, "ok")
            .with("name", file)
            .with("number", number)
            .with("kind", kind);
        made.add(name, vector);
    }
    for (name, comment, file) in [
        (
            "part",
            "a file in the making",
            "0003-5f3e9a02-000017.tar.part",
        ),
        (
            "zero",
            "the number of the label",
            "0000-5f3e9a02-000017.tar",
        ),
        ("few", "too few digits", "003-5f3e9a02-000017.tar"),
        (
            "padded",
            "more digits than are needed",
            "00003-5f3e9a02-000017.tar",
        ),
        ("upper", "a set in upper case", "0003-5F3E9A02-000017.tar"),
        ("none", "container 0", "0003-5f3e9a02-000000.tar"),
    ] {
        made.add(name, Vector::new(comment, "value").with("name", file));
    }
    made.vectors
}
