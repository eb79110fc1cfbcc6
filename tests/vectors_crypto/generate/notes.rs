//! Notes: leases, dead lists, marks.

use dtar::brick::seal_note_with_random;
use dtar::format::note::{Note, NoteKind};
use dtar::id::{BrickName, Epoch, StoreId, WriterId};

use super::super::forge::{self, Random, master, note_plain};
use super::super::run;
use super::super::vector::{Vector, hex};
use super::{Made, add_prefix_faults, altered, damaged, put};

const TEXTS: [&[u8]; 3] = ["höst".as_bytes(), b"a boot id", b"nightly"];
const ONE: [u8; 32] = [1; 32];
const TWO: [u8; 32] = [2; 32];

/// The good ones: name, comment, kind, bricks.
const GOOD: [(&str, &str, NoteKind, &[[u8; 32]]); 4] = [
    (
        "archiver",
        "the lease of an archiver",
        NoteKind::ArchiverLease,
        &[],
    ),
    ("gc", "the lease of a gc", NoteKind::GcLease, &[]),
    (
        "dead-list",
        "a list of two bricks",
        NoteKind::DeadList,
        &[ONE, TWO],
    ),
    ("mark", "a damaged brick", NoteKind::Mark, &[ONE]),
];

fn vector(comment: &str, expect: &str, note: &[u8]) -> Vector {
    Vector::new(comment, expect)
        .with_hex("master", master())
        .with_hex("note", note)
}

fn holds(vector: Vector, kind: NoteKind, bricks: &[[u8; 32]]) -> Vector {
    let vector = vector
        .with("kind", kind as u8)
        .with("process", 4711)
        .with("time", 1_700_000_000_123_456_789_u64)
        .with_hex("random", b"a random")
        .with_hex("writer", forge::WRITER)
        .with_hex("host", TEXTS[0])
        .with_hex("boot-id", TEXTS[1])
        .with_hex("text", TEXTS[2]);
    bricks
        .iter()
        .fold(vector, |vector, name| vector.with("brick", hex(name)))
}

fn library_seals(name: &str, kind: NoteKind, bricks: &[[u8; 32]]) -> Vec<u8> {
    let note = Note {
        kind,
        process: 4711,
        time: 1_700_000_000_123_456_789,
        random: *b"a random",
        writer: WriterId(forge::WRITER),
        host: TEXTS[0].to_vec(),
        boot_id: TEXTS[1].to_vec(),
        text: TEXTS[2].to_vec(),
        bricks: bricks.iter().map(|name| BrickName(*name)).collect(),
    };
    let key = run::parse_key(&forge::key_text("dtar-secret-key-", &master()));
    let keys = key.put_keys(StoreId(forge::STORE), Epoch::FIRST).unwrap();
    seal_note_with_random(&keys, &note, &mut Random::new(name)).unwrap()
}

pub fn notes() -> Made {
    let mut made = Made::new("note");
    let salt = Random::new("note").array();
    let seal = |plain: &[u8]| forge::note(&salt, plain, plain, |_| ());
    for (name, comment, kind, bricks) in GOOD {
        let good = seal(&note_plain(kind as u8, TEXTS, bricks));
        assert_eq!(library_seals("note", kind, bricks), good);
        made.add(name, holds(vector(comment, "ok", &good), kind, bricks));
    }
    let plain = note_plain(3, TEXTS, &[ONE, TWO]);
    let field = seal(&[&plain[..], &[9, 0]].concat());
    let field = vector("an unknown field is skipped", "ok", &field);
    made.add(
        "skippable-field",
        holds(field, NoteKind::DeadList, &[ONE, TWO]),
    );
    headers(&mut made, &salt, &plain);
    for (name, comment, expect, plain) in contents(&plain) {
        made.add(name, vector(comment, expect, &seal(&plain)));
    }
    made
}

fn headers(made: &mut Made, salt: &[u8; 16], plain: &[u8]) {
    let edited = |edit: &dyn Fn(&mut [u8])| forge::note(salt, plain, plain, edit);
    add_prefix_faults(
        made,
        |comment, expect, offset, byte| vector(comment, expect, &edited(&put(offset, [byte]))),
        |vector| holds(vector, NoteKind::DeadList, &[ONE, TWO]),
    );
    let long = edited(&put(16, ((1_u64 << 30) + 1).to_le_bytes()));
    made.add(
        "sealed-long",
        vector("more than 1 GiB sealed", "value: sealed length", &long),
    );
    let epoch = edited(&put(24, 2_u32.to_le_bytes()));
    made.add(
        "epoch",
        vector("a note of another epoch", "value: epoch", &epoch),
    );
    let good = edited(&|_| ());
    for (name, comment, expect, offset) in [
        ("check", "a damaged header", "check: check", 40),
        ("seal-content", "damaged sealed bytes", "check: seal", 110),
    ] {
        made.add(name, vector(comment, expect, &damaged(&good, offset)));
    }
    let store = altered(&good, 32, 96);
    made.add(
        "altered-store",
        vector("the store id was altered", "value: store id", &store),
    );
    let siv = forge::note(salt, plain, b"other", |_| ());
    let comment = "the tag verifies, but the SIV is that of another content";
    made.add("siv-other", vector(comment, "check: seal", &siv));
    let more = [&good[..], &[0]].concat();
    made.add(
        "more",
        vector("bytes behind the end", "value: length", &more),
    );
    made.add(
        "cut",
        vector(
            "cut short",
            "truncated: sealed bytes",
            &good[..good.len() - 1],
        ),
    );
    made.add("empty", vector("no byte", "truncated: magic", &[]));
}

fn contents(plain: &[u8]) -> Vec<(&'static str, &'static str, &'static str, Vec<u8>)> {
    let with = |tail: &[u8]| [plain, tail].concat();
    let long = vec![b'x'; 4097];
    let [host, boot, text] = TEXTS;
    let mut more = note_plain(3, TEXTS, &[]);
    *more.last_mut().unwrap() = 100;
    vec![
        (
            "kind-zero",
            "kind 0",
            "value: kind",
            note_plain(0, TEXTS, &[]),
        ),
        (
            "kind-unknown",
            "a kind that nobody knows",
            "value: kind",
            note_plain(5, TEXTS, &[]),
        ),
        (
            "lease-of-a-brick",
            "a lease names no brick",
            "value: number of bricks",
            note_plain(1, TEXTS, &[ONE]),
        ),
        (
            "list-of-none",
            "a dead list names a brick at least",
            "value: number of bricks",
            note_plain(3, TEXTS, &[]),
        ),
        (
            "mark-of-two",
            "a mark names one brick",
            "value: number of bricks",
            note_plain(4, TEXTS, &[ONE, TWO]),
        ),
        (
            "bricks-order",
            "bricks out of order",
            "value: brick name",
            note_plain(3, TEXTS, &[TWO, ONE]),
        ),
        (
            "bricks-twice",
            "a brick twice",
            "value: brick name",
            note_plain(3, TEXTS, &[ONE, ONE]),
        ),
        (
            "bricks-beyond",
            "more bricks than there are",
            "value: number of bricks",
            more,
        ),
        (
            "host-long",
            "a host name of 256 bytes",
            "value: host name",
            note_plain(3, [&long[..256], boot, text], &[ONE]),
        ),
        (
            "boot-id-long",
            "a boot id of 65 bytes",
            "value: boot id",
            note_plain(3, [host, &long[..65], text], &[ONE]),
        ),
        (
            "text-long",
            "a text of 4,097 bytes",
            "value: text",
            note_plain(3, [host, boot, &long], &[ONE]),
        ),
        (
            "cut-content",
            "the content is cut short",
            "truncated: writer",
            plain[..30].to_vec(),
        ),
        (
            "critical-field",
            "an unknown critical field",
            "critical field: field tag",
            with(&[128, 0]),
        ),
        (
            "repeated-field",
            "a field twice",
            "value: field tag",
            with(&[9, 0, 9, 0]),
        ),
    ]
}
