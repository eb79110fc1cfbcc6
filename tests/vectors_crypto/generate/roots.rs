//! Roots.

use dtar::brick::seal_root_with_random;
use dtar::format::root::Root;
use dtar::id::{BrickName, Epoch, StoreId, WriterId};

use super::super::forge::{self, Random, master, root_plain};
use super::super::run;
use super::super::vector::{Vector, hex};
use super::{Made, add_prefix_faults, altered, damaged, put};

const BRICKS: [([u8; 32], &[u8]); 2] = [([1; 32], &[0b1010_0001, 1]), ([2; 32], &[0x80])];

fn vector(comment: &str, expect: &str, root: &[u8]) -> Vector {
    Vector::new(comment, expect)
        .with_hex("master", master())
        .with_hex("root", root)
}

fn holds(vector: Vector, bricks: &[([u8; 32], &[u8])]) -> Vector {
    let vector = vector
        .with("time", 1_700_000_000_123_456_789_u64)
        .with_hex("writer", forge::WRITER)
        .with("stream-length", 10_240)
        .with("stream-xxh3", "ffeeddccbbaa99887766554433221100")
        .with_hex("host", "höst")
        .with_hex("label", b"nightly");
    bricks.iter().fold(vector, |vector, (name, bitmap)| {
        vector.with("brick", format!("{} {}", hex(name), hex(bitmap)))
    })
}

fn plain(bricks: &[([u8; 32], &[u8])]) -> Vec<u8> {
    root_plain("höst".as_bytes(), b"nightly", bricks)
}

fn library_seals(name: &str, bricks: &[([u8; 32], &[u8])]) -> Vec<u8> {
    let root = Root {
        time: 1_700_000_000_123_456_789,
        writer: WriterId(forge::WRITER),
        stream_length: 10_240,
        stream_xxh3: 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff,
        host: "höst".into(),
        label: b"nightly".to_vec(),
        bricks: bricks
            .iter()
            .map(|(name, bitmap)| (BrickName(*name), bitmap.to_vec().into()))
            .collect(),
        snapshot: None,
        stored: None,
    };
    let key = run::parse_key(&forge::key_text("dtar-secret-key-", &master()));
    let keys = key.put_keys(StoreId(forge::STORE), Epoch::FIRST).unwrap();
    seal_root_with_random(&keys, &root, &mut Random::new(name)).unwrap()
}

pub fn roots() -> Made {
    let mut made = Made::new("root");
    let salt = Random::new("root").array();
    let good = forge::root(&salt, &plain(&BRICKS), |_| ());
    assert_eq!(library_seals("root", &BRICKS), good);
    made.add("good", holds(vector("two bricks", "ok", &good), &BRICKS));
    let empty = forge::root(&salt, &plain(&[]), |_| ());
    assert_eq!(library_seals("root", &[]), empty);
    made.add(
        "no-bricks",
        holds(vector("a stream without chunks", "ok", &empty), &[]),
    );
    let reserved = forge::root(&salt, &plain(&BRICKS), put(28, [1; 4]));
    made.add(
        "reserved",
        holds(
            vector("reserved bytes are ignored", "ok", &reserved),
            &BRICKS,
        ),
    );
    let field = [&plain(&BRICKS)[..], &[9, 0]].concat();
    let field = forge::root(&salt, &field, |_| ());
    made.add(
        "skippable-field",
        holds(vector("an unknown field is skipped", "ok", &field), &BRICKS),
    );
    fields(&mut made, &salt);
    headers(&mut made, &salt, &good);
    contents(&mut made, &salt);
    made
}

/// The fields that a root may have.
fn fields(made: &mut Made, salt: &[u8; 16]) {
    let hash = [0xab; 32];
    let snapshot = [&[1, 34][..], &hash, &[0x80, 0x50]].concat();
    let stored = [2, 3, 0x80, 0x01, 7];
    let with = |field: &[u8]| forge::root(salt, &[&plain(&BRICKS), field].concat(), |_| ());
    let both = with(&[&snapshot[..], &stored].concat());
    let both = vector("a run with a snapshot", "ok", &both)
        .with_hex("snapshot-hash", hash)
        .with("index-length", 10_240)
        .with("stored-data", 128)
        .with("stored-metadata", 7);
    made.add("snapshot", holds(both, &BRICKS));
    for (name, comment, expect, field) in [
        (
            "snapshot-short",
            "a hash of a snapshot that is cut short",
            "truncated: hash of the snapshot",
            [&[1, 31][..], &hash[..31]].concat(),
        ),
        (
            "snapshot-more",
            "bytes behind the length of the index",
            "value: field",
            [&[1, 35][..], &hash, &[0x80, 0x50, 0]].concat(),
        ),
        (
            "snapshot-twice",
            "no field stands twice",
            "value: field tag",
            [&snapshot[..], &snapshot].concat(),
        ),
        (
            "stored-short",
            "one of two numbers",
            "truncated: bytes of metadata bricks",
            vec![2, 1, 7],
        ),
    ] {
        made.add(name, vector(comment, expect, &with(&field)));
    }
}

fn headers(made: &mut Made, salt: &[u8; 16], good: &[u8]) {
    let edited = |edit: &dyn Fn(&mut [u8])| forge::root(salt, &plain(&BRICKS), edit);
    add_prefix_faults(
        made,
        |comment, expect, offset, byte| vector(comment, expect, &edited(&put(offset, [byte]))),
        |vector| holds(vector, &BRICKS),
    );
    for (name, comment, expect, length) in [
        (
            "sealed-long",
            "more than 1 GiB sealed",
            "value: sealed length",
            (1_u64 << 30) + 1,
        ),
        (
            "sealed-short",
            "fewer sealed bytes than a tag",
            "value: sealed length",
            15,
        ),
        (
            "sealed-beyond",
            "more sealed bytes than there are",
            "truncated: sealed bytes",
            1000,
        ),
        (
            "sealed-less",
            "fewer sealed bytes than there are",
            "value: length",
            100,
        ),
    ] {
        let root = edited(&put(16, length.to_le_bytes()));
        made.add(name, vector(comment, expect, &root));
    }
    for (name, comment, epoch) in [
        ("epoch", "a root of another epoch", 2_u32),
        ("epoch-zero", "epochs begin with 1", 0),
    ] {
        let root = edited(&put(24, epoch.to_le_bytes()));
        made.add(name, vector(comment, "value: epoch", &root));
    }
    for (name, comment, expect, offset) in [
        ("check", "a damaged header", "check: check", 40),
        ("seal-content", "damaged sealed bytes", "check: seal", 110),
        ("seal-tag", "a damaged tag", "check: seal", good.len() - 1),
    ] {
        made.add(name, vector(comment, expect, &damaged(good, offset)));
    }
    let store = altered(good, 32, 96);
    made.add(
        "altered-store",
        vector("the store id was altered", "value: store id", &store),
    );
    for (name, comment, offset) in [
        ("altered-reserved", "a reserved byte was altered", 28),
        ("altered-salt", "the salt was altered", 48),
        ("altered-siv", "the SIV was altered", 79),
    ] {
        let bad = altered(good, offset, 96);
        made.add(name, vector(comment, "check: seal", &bad));
    }
    let siv = forge::root_with_siv(salt, &plain(&BRICKS), b"other", |_| ());
    let comment = "the tag verifies, but the SIV is that of another content";
    made.add("siv-other", vector(comment, "check: seal", &siv));
    let cut = &good[..good.len() - 1];
    made.add("cut", vector("cut short", "truncated: sealed bytes", cut));
    made.add(
        "cut-header",
        vector("cut in the header", "truncated: check", &good[..95]),
    );
}

fn contents(made: &mut Made, salt: &[u8; 16]) {
    let [one, two] = BRICKS;
    let with = |tail: &[u8]| [&plain(&BRICKS)[..], tail].concat();
    let long = vec![1; 8193];
    let mut more = plain(&BRICKS);
    let count = plain(&[]).len() - 1;
    more[count] = 3;
    let mut far = more.clone();
    far[count] = 100;
    for (name, comment, expect, plain) in [
        (
            "bricks-order",
            "bricks out of order",
            "value: brick name",
            plain(&[two, one]),
        ),
        (
            "bricks-twice",
            "a brick twice",
            "value: brick name",
            plain(&[one, one]),
        ),
        (
            "bricks-more",
            "more bricks than there are",
            "value: number of bricks",
            more,
        ),
        (
            "bricks-beyond",
            "many more bricks than fit",
            "value: number of bricks",
            far,
        ),
        (
            "bitmap-zero",
            "a bitmap that ends with zero",
            "value: bitmap",
            plain(&[([1; 32], &[1, 0])]),
        ),
        (
            "bitmap-empty",
            "a bitmap without bytes",
            "value: length of a bitmap",
            plain(&[([1; 32], &[]), two]),
        ),
        (
            "bitmap-long",
            "a bitmap of more than 65,536 frames",
            "value: length of a bitmap",
            plain(&[([1; 32], &long)]),
        ),
        (
            "host-long",
            "a host name of 256 bytes",
            "value: host name",
            root_plain(&[b'h'; 256], b"", &BRICKS),
        ),
        (
            "label-long",
            "a label of 4,097 bytes",
            "value: label",
            root_plain(b"", &[b'l'; 4097], &BRICKS),
        ),
        (
            "cut-content",
            "the content is cut short",
            "truncated: XXH3 of the stream",
            plain(&[])[..40].to_vec(),
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
    ] {
        let root = forge::root(salt, &plain, |_| ());
        made.add(name, vector(comment, expect, &root));
    }
}
