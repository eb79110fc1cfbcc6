//! Brick headers, footers, TOCs, sidecars.

use dtar::brick::{BrickSealer, footer, make_sidecar};
use dtar::crypto::PublicKey;
use dtar::format::origins::Origin;
use dtar::format::toc::{Toc, TocChunk};
use dtar::id::{BrickName, ChunkId, Class, Epoch, StoreId, WriterId};

use super::super::forge::{self, Random, master, toc_plain};
use super::super::run;
use super::super::vector::Vector;
use super::{Made, PREFIX_FAULTS, add_prefix_faults, altered, damaged, put};

fn sealer(name: &str) -> BrickSealer {
    let recipient = PublicKey::from_bytes(&forge::public_key(&master())).unwrap();
    BrickSealer::with_random(
        StoreId(forge::STORE),
        Epoch::FIRST,
        Class::Data,
        &[recipient],
        &mut Random::new(name),
    )
    .unwrap()
}

pub fn headers() -> Made {
    let mut made = Made::new("brick-header");
    let salt = Random::new("brick").array();
    let good = forge::brick_header(&salt);
    assert_eq!(sealer("brick").header(), good);
    let vector = |comment: &str, expect: &str, header: &[u8]| {
        Vector::new(comment, expect).with_hex("header", header)
    };
    let fields = |vector: Vector, class: u8| {
        vector
            .with_hex("store-id", forge::STORE)
            .with_hex("salt", salt)
            .with("epoch", 1)
            .with("class", class)
    };
    let edited = |offset: usize, byte: u8| {
        let mut header = good.clone();
        header[offset] = byte;
        forge::recheck(&mut header);
        header
    };
    made.add(
        "data",
        fields(vector("a brick of class data", "ok", &good), 0),
    );
    made.add(
        "metadata",
        fields(vector("a brick of class metadata", "ok", &edited(52, 1)), 1),
    );
    made.add(
        "reserved",
        fields(
            vector("reserved bytes are ignored", "ok", &edited(60, 1)),
            0,
        ),
    );
    add_prefix_faults(
        &mut made,
        |comment, expect, offset, byte| vector(comment, expect, &edited(offset, byte)),
        |vector| fields(vector, 0),
    );
    made.add(
        "class",
        vector("an unknown class", "value: class", &edited(52, 2)),
    );
    made.add(
        "epoch-zero",
        vector("epochs begin with 1", "value: epoch", &edited(48, 0)),
    );
    let bad = damaged(&good, 20);
    made.add("check", vector("a damaged header", "check: check", &bad));
    made.add("cut", vector("cut short", "truncated: check", &good[..79]));
    made
}

pub fn footers() -> Made {
    let mut made = Made::new("brick-footer");
    let good = forge::footer(2780, 200, 3044);
    assert_eq!(footer(2780, 200)[..], good);
    let vector = |comment: &str, expect: &str, footer: &[u8], length: u64| {
        Vector::new(comment, expect)
            .with_hex("footer", footer)
            .with("brick-length", length)
    };
    let fields = |vector: Vector| vector.with("toc-offset", 2780).with("toc-length", 200);
    let edited = |offset: usize, byte: u8| {
        let mut footer = good.clone();
        footer[offset] = byte;
        forge::recheck(&mut footer);
        footer
    };
    made.add(
        "good",
        fields(vector(
            "the end of a brick of 3,044 bytes",
            "ok",
            &good,
            3044,
        )),
    );
    made.add(
        "reserved",
        fields(vector(
            "reserved bytes are ignored",
            "ok",
            &edited(47, 1),
            3044,
        )),
    );
    add_prefix_faults(
        &mut made,
        |comment, expect, offset, byte| vector(comment, expect, &edited(offset, byte), 3044),
        fields,
    );
    let bad = damaged(&good, 63);
    for (name, comment, expect, footer, length) in [
        ("check", "a damaged check", "check: check", bad, 3044),
        (
            "brick-cut",
            "a brick shorter than the footer says",
            "value: length of the brick",
            good.clone(),
            3043,
        ),
        (
            "sum",
            "offset and lengths do not agree",
            "value: offset of the TOC",
            forge::footer(2780, 199, 3044),
            3044,
        ),
        (
            "overflow",
            "offset and length add up to more than 2^64",
            "value: offset of the TOC",
            forge::footer(u64::MAX, 200, 199 + 64),
            263,
        ),
        (
            "in-header",
            "a TOC within the header",
            "value: offset of the TOC",
            forge::footer(79, 200, 343),
            343,
        ),
        (
            "too-long",
            "a brick longer than 2^40 bytes",
            "value: length of the brick",
            forge::footer(1 << 40, 200, (1 << 40) + 264),
            (1 << 40) + 264,
        ),
    ] {
        made.add(name, vector(comment, expect, &footer, length));
    }
    made
}

const FRAMES: [forge::TocFrame<'_>; 2] = [
    (1400, 303, &[([1; 16], 100), ([2; 16], 200)]),
    (1300, 51, &[([3; 16], 50)]),
];

fn holds(vector: Vector) -> Vector {
    holds_moved(vector, [&[], &[]])
}

/// The same, with origins of each frame: bricks whose names are one byte again and again.
fn holds_moved(vector: Vector, origins: [&[(u8, u32)]; 2]) -> Vector {
    let mut vector = vector.with_hex("writer", forge::WRITER);
    let mut offset = 80;
    for ((length, plain, chunks), origins) in FRAMES.into_iter().zip(origins) {
        vector = vector.with(
            "holds",
            format!("frame at {offset} length {length} plain {plain}"),
        );
        for (brick, place) in origins {
            let brick = BrickName([*brick; 32]);
            vector = vector.with("holds", format!("origin {brick} place {place}"));
        }
        for (id, length) in chunks {
            vector = vector.with("holds", format!("chunk {} length {length}", ChunkId(*id)));
        }
        offset += length;
    }
    vector
}

fn library_seals(name: &str, origins: &[Vec<Origin>]) -> Vec<u8> {
    let mut toc = Toc::new(Class::Data, WriterId(forge::WRITER));
    for (length, plain, chunks) in FRAMES {
        let narrow = |number| u32::try_from(number).unwrap();
        let chunks = chunks.iter().map(|(id, length)| TocChunk {
            id: ChunkId(*id),
            length: narrow(*length),
        });
        toc.push_frame(narrow(length), narrow(plain), chunks)
            .unwrap();
    }
    if !origins.is_empty() {
        toc.set_origins(origins, &[]).unwrap();
    }
    let key = run::parse_key(&forge::key_text("dtar-secret-key-", &master()));
    let keys = key.put_keys(StoreId(forge::STORE), Epoch::FIRST).unwrap();
    sealer(name).seal_toc(&keys, &toc).unwrap()
}

fn toc_vector(comment: &str, expect: &str, toc: &[u8]) -> Vector {
    Vector::new(comment, expect)
        .with_hex("master", master())
        .with_hex("toc", toc)
}

pub fn tocs() -> Made {
    let mut made = Made::new("toc");
    let salt: [u8; 16] = Random::new("toc").array();
    let plain = toc_plain(&FRAMES);
    let good = forge::toc(&salt, &plain, |_| ());
    assert_eq!(library_seals("toc", &[]), good);
    made.add(
        "good",
        holds(toc_vector("two frames, three chunks", "ok", &good)),
    );
    tocs_in_bricks(&mut made, &salt, &good);
    for (name, comment, tail) in [
        (
            "skippable-field",
            "an unknown field is skipped",
            vec![7, 1, 0],
        ),
        ("reserved", "reserved bytes are ignored", vec![]),
    ] {
        let mut plain = [&plain[..], &tail].concat();
        plain[9] = u8::from(name == "reserved");
        let toc = forge::toc(&salt, &plain, |_| ());
        made.add(name, holds(toc_vector(comment, "ok", &toc)));
    }
    toc_headers(&mut made, &salt, &plain, &good);
    toc_contents(&mut made, &salt, &plain);
    toc_origins(&mut made, &salt, &plain);
    made
}

/// TOCs of bricks that gc has made.
fn toc_origins(made: &mut Made, salt: &[u8; 16], plain: &[u8]) {
    let names = |bricks: &[u8]| -> Vec<u8> { bricks.iter().flat_map(|&b| [b; 32]).collect() };
    let with = |count: u8, bricks: &[u8], frames: &[u8]| {
        let value = [&[count][..], &names(bricks), frames].concat();
        let length = u8::try_from(value.len()).unwrap();
        let plain = [plain, &[1, length], &value].concat();
        forge::toc(salt, &plain, |_| ())
    };
    let good = with(2, &[1, 2], &[1, 1, 7, 2, 0, 0, 1, 0x81, 0x01]);
    let origin = |brick: u8, place| (BrickName([brick; 32]), place);
    let origins = [vec![origin(2, 7)], vec![origin(1, 0), origin(2, 129)]];
    assert_eq!(library_seals("toc", &origins), good);
    let comment = "one frame that was moved once, and one that was moved twice";
    let vector = toc_vector(comment, "ok", &good);
    made.add(
        "origins",
        holds_moved(vector, [&[(2, 7)], &[(1, 0), (2, 129)]]),
    );
    let unplaced = with(1, &[2], &[1, 0, 7, 0]);
    let comment = "one frame whose place in the old brick is known, and one of which it is not";
    let vector = toc_vector(comment, "ok", &unplaced);
    made.add("origins-unplaced", holds_moved(vector, [&[(2, 7)], &[]]));
    for (name, comment, expect, toc) in [
        (
            "origins-no-brick",
            "a list of no old brick",
            "value: number of old bricks",
            with(0, &[], &[1, 0, 0, 1, 0, 0]),
        ),
        (
            "origins-bricks-order",
            "old bricks out of order",
            "value: old brick",
            with(2, &[2, 1], &[1, 0, 0, 1, 0, 0]),
        ),
        (
            "origins-brick-beyond",
            "an origin in a brick that is not listed",
            "value: old brick",
            with(1, &[1], &[1, 0, 0, 1, 1, 0]),
        ),
        (
            "origins-place-beyond",
            "an origin at place 65,536",
            "value: place in the old brick",
            with(1, &[1], &[1, 0, 0, 1, 0, 0x80, 0x80, 4]),
        ),
        (
            "origins-order",
            "origins out of order",
            "value: origin",
            with(1, &[1], &[2, 0, 1, 0, 0, 1, 0, 2]),
        ),
        (
            "origins-fewer",
            "origins of one of two frames",
            "truncated: number of origins",
            with(1, &[1], &[1, 0, 0]),
        ),
        (
            "origins-more",
            "origins of more frames than there are",
            "value: field",
            with(1, &[1], &[1, 0, 0, 1, 0, 1, 1, 0, 2]),
        ),
    ] {
        made.add(name, toc_vector(comment, expect, &toc));
    }
}

/// TOCs that stand in a brick, and must agree with it.
fn tocs_in_bricks(made: &mut Made, salt: &[u8; 16], good: &[u8]) {
    let vector = |comment: &str, expect: &str, header: &[u8], offset: u64| {
        toc_vector(comment, expect, good)
            .with_hex("brick-header", header)
            .with("toc-offset", offset)
    };
    let header = forge::brick_header(salt);
    let comment = "the frames end where the TOC begins";
    made.add("in-brick", holds(vector(comment, "ok", &header, 2780)));
    let end = "value: end of the frames";
    let later = vector("the frames end before the TOC begins", end, &header, 2781);
    made.add("in-brick-later", later);
    let comment = "the frames end behind the TOC's beginning";
    made.add("in-brick-earlier", vector(comment, end, &header, 2779));
    let [other_salt, other_store] = [[7; 16], *b"some other store"];
    for (name, comment, field, header) in [
        (
            "in-brick-class",
            "in a brick of another class",
            "class",
            forge::brick_header_of(salt, &forge::STORE, 1, 1),
        ),
        (
            "in-brick-epoch",
            "in a brick of another epoch",
            "epoch",
            forge::brick_header_of(salt, &forge::STORE, 2, 0),
        ),
        (
            "in-brick-store",
            "in a brick of another store",
            "store id",
            forge::brick_header_of(salt, &other_store, 1, 0),
        ),
        (
            "in-brick-salt",
            "in a brick with another salt",
            "salt",
            forge::brick_header_of(&other_salt, &forge::STORE, 1, 0),
        ),
    ] {
        let expect = format!("value: {field}");
        made.add(name, vector(comment, &expect, &header, 2780));
    }
}

fn toc_headers(made: &mut Made, salt: &[u8; 16], plain: &[u8], good: &[u8]) {
    add_prefix_faults(
        made,
        |comment, expect, offset, byte| {
            let toc = forge::toc(salt, plain, put(offset, [byte]));
            toc_vector(comment, expect, &toc)
        },
        holds,
    );
    for (name, comment, expect, offset, number) in [
        (
            "sealed-long",
            "more than 32 MiB sealed",
            "value: sealed length",
            16,
            33_554_433_u32,
        ),
        (
            "sealed-short",
            "fewer sealed bytes than a tag",
            "value: sealed length",
            16,
            15,
        ),
        (
            "sealed-beyond",
            "more sealed bytes than there are",
            "truncated: sealed bytes",
            16,
            1000,
        ),
        (
            "sealed-less",
            "fewer sealed bytes than there are",
            "value: length",
            16,
            100,
        ),
        ("epoch", "a TOC of another epoch", "value: epoch", 20, 2),
        ("epoch-zero", "epochs begin with 1", "value: epoch", 20, 0),
    ] {
        let toc = forge::toc(salt, plain, put(offset, number.to_le_bytes()));
        made.add(name, toc_vector(comment, expect, &toc));
    }
    for (name, comment, expect, offset) in [
        ("check", "a damaged header", "check: check", 30),
        ("seal-content", "damaged sealed bytes", "check: seal", 100),
        ("seal-tag", "a damaged tag", "check: seal", good.len() - 1),
    ] {
        made.add(name, toc_vector(comment, expect, &damaged(good, offset)));
    }
    let store = altered(good, 24, 88);
    made.add(
        "altered-store",
        toc_vector("the store id was altered", "value: store id", &store),
    );
    for (name, comment, offset) in [
        ("altered-bits", "a compatible-feature bit was altered", 10),
        ("altered-salt", "the salt was altered", 40),
        ("altered-siv", "the SIV was altered", 71),
    ] {
        let bad = altered(good, offset, 88);
        made.add(name, toc_vector(comment, "check: seal", &bad));
    }
    let siv = forge::toc_with_siv(salt, plain, &plain[1..], |_| ());
    let comment = "the tag verifies, but the SIV is that of another content";
    made.add("siv-other", toc_vector(comment, "check: seal", &siv));
    let mut other = good.to_vec();
    other[24..40].copy_from_slice(b"some other store");
    forge::recheck(&mut other[..88]);
    let comment = "a TOC of another store";
    made.add(
        "other-store",
        toc_vector(comment, "value: store id", &other),
    );
    let cut = &good[..good.len() - 1];
    made.add(
        "cut",
        toc_vector("cut short", "truncated: sealed bytes", cut),
    );
    made.add(
        "cut-header",
        toc_vector("cut in the header", "truncated: check", &good[..87]),
    );
    let other = Vector::new("sealed with another key", "check: seal")
        .with_hex("master", [9; 32])
        .with_hex("toc", good);
    made.add("other-key", other);
}

fn toc_contents(made: &mut Made, salt: &[u8; 16], plain: &[u8]) {
    let number = |offset: usize, number: u32| {
        let mut plain = plain.to_vec();
        plain[offset..offset + 4].copy_from_slice(&number.to_le_bytes());
        plain
    };
    let with = |tail: &[u8]| [plain, tail].concat();
    let chunk: &[forge::TocChunk] = &[([1; 16], 10)];
    let one = |length, plain, chunks| toc_plain(&[(length, plain, chunks)]);
    let mut longer_form = one(1300, 11, chunk);
    longer_form.pop();
    longer_form.extend([0x8a, 0]);
    let cases: Vec<(&str, &str, &str, Vec<u8>)> = vec![
        (
            "frames-none",
            "no frames",
            "value: number of frames",
            number(0, 0),
        ),
        (
            "frames-many",
            "more than 65,536 frames",
            "value: number of frames",
            number(0, 65_537),
        ),
        (
            "frames-more",
            "more frames than there are",
            "value: number of chunks in a frame",
            [&number(0, 3)[..], &uv3(1300, 11, 1), &[1; 17]].concat(),
        ),
        (
            "frames-fewer",
            "fewer frames than there are",
            "value: number of chunks",
            number(0, 1),
        ),
        (
            "chunks-none",
            "no chunks",
            "value: number of chunks",
            number(4, 0),
        ),
        (
            "chunks-many",
            "more than 262,144 chunks",
            "value: number of chunks",
            number(4, 262_145),
        ),
        (
            "chunks-beyond",
            "more chunks than fit",
            "value: frames and chunks",
            number(4, 100),
        ),
        (
            "chunks-more",
            "more chunks than the frames hold",
            "value: number of chunks",
            {
                let mut plain = with(&[
                    7, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                ]);
                plain[4] = 4;
                plain
            },
        ),
        (
            "chunks-fewer",
            "fewer chunks than the frames hold",
            "value: number of chunks in a frame",
            number(4, 2),
        ),
        ("class", "an unknown class", "value: class", {
            let mut plain = plain.to_vec();
            plain[8] = 2;
            plain
        }),
        (
            "frame-short",
            "a frame shorter than header and tag",
            "value: length of a frame",
            one(161, 11, chunk),
        ),
        (
            "frame-long",
            "a frame longer than any",
            "value: length of a frame",
            one(65_536 + 68_157_441, 11, chunk),
        ),
        (
            "frame-2-32",
            "a frame longer than 2^32 bytes",
            "value: length of a frame",
            one((1 << 32) + 1300, 11, chunk),
        ),
        (
            "plain-long",
            "more than 64 MiB plain",
            "value: plain length",
            one(1300, 67_108_865, chunk),
        ),
        (
            "plain-less",
            "less plain than its chunks",
            "value: plain length",
            one(1300, 9, chunk),
        ),
        (
            "plain-without-table",
            "as much plain as its chunks, without their table",
            "value: plain length",
            one(1300, 10, chunk),
        ),
        (
            "plain-more",
            "more plain than its chunks and their table",
            "value: plain length",
            one(1300, 12, chunk),
        ),
        (
            "frame-empty",
            "a frame without chunks",
            "value: number of chunks in a frame",
            toc_plain(&[(1300, 11, &[]), (1300, 11, chunk), (1300, 11, chunk)]),
        ),
        (
            "chunk-empty",
            "a chunk without bytes",
            "value: chunk length",
            one(1300, 11, &[([1; 16], 0)]),
        ),
        (
            "chunk-long",
            "a chunk longer than 1 MiB",
            "value: chunk length",
            one(1300, 2_000_000, &[([1; 16], 1_048_577)]),
        ),
        (
            "longer-form",
            "a length not in its shortest form",
            "value: chunk length",
            longer_form,
        ),
        (
            "cut-content",
            "the last byte of the content is missing",
            "value: frames and chunks",
            one(100, 5, chunk)[..44].to_vec(),
        ),
        (
            "critical-field",
            "an unknown critical field",
            "critical field: field tag",
            with(&[200, 0]),
        ),
        (
            "repeated-field",
            "a field twice",
            "value: field tag",
            with(&[7, 0, 7, 0]),
        ),
        (
            "field-beyond",
            "a field that does not fit",
            "truncated: field length",
            with(&[7, 9]),
        ),
    ];
    for (name, comment, expect, plain) in cases {
        let toc = forge::toc(salt, &plain, |_| ());
        made.add(name, toc_vector(comment, expect, &toc));
    }
}

fn uv3(length: u64, plain: u64, chunks: u64) -> Vec<u8> {
    [length, plain, chunks]
        .into_iter()
        .flat_map(forge::uv)
        .collect()
}

pub fn sidecars() -> Made {
    let mut made = Made::new("sidecar");
    let salt: [u8; 16] = Random::new("toc").array();
    let toc = forge::toc(&salt, &toc_plain(&FRAMES), |_| ());
    let name: [u8; 32] = Random::new("brick name").array();
    let good = [&toc[..], &forge::sidecar_seal(&name, &toc)].concat();
    let key = run::parse_key(&forge::key_text("dtar-secret-key-", &master()));
    let keys = key.put_keys(StoreId(forge::STORE), Epoch::FIRST).unwrap();
    assert_eq!(make_sidecar(&keys, &BrickName(name), &toc), good);

    let vector = |comment: &str, expect: &str, name: &[u8; 32], sidecar: &[u8]| {
        Vector::new(comment, expect)
            .with_hex("master", master())
            .with_hex("brick-name", name)
            .with_hex("sidecar", sidecar)
    };
    made.add(
        "good",
        holds(vector("the sidecar of a brick", "ok", &name, &good)),
    );
    let mut other = name;
    other[0] ^= 1;
    let comment = "found under the name of another brick";
    made.add(
        "other-name",
        vector(comment, "check: sidecar seal", &other, &good),
    );
    for (file, comment, offset) in [
        ("seal", "damaged last bytes", good.len() - 1),
        ("toc", "a damaged TOC", 100),
    ] {
        let bad = damaged(&good, offset);
        made.add(file, vector(comment, "check: sidecar seal", &name, &bad));
    }
    made.add(
        "bare-toc",
        vector(
            "a TOC without the last 32 bytes",
            "check: sidecar seal",
            &name,
            &toc,
        ),
    );
    made.add(
        "cut",
        vector("cut short", "truncated: sidecar seal", &name, &good[..31]),
    );
    for (file, comment, expect, offset, byte) in PREFIX_FAULTS {
        if expect != "ok" {
            let mut bad = good.clone();
            bad[offset] = byte;
            made.add(file, vector(comment, expect, &name, &bad));
        }
    }
    let of = |edit: &dyn Fn(&mut [u8])| {
        let toc = forge::toc(&salt, &toc_plain(&FRAMES), edit);
        [&toc[..], &forge::sidecar_seal(&name, &toc)].concat()
    };
    let bad = of(&put(20, 2_u32.to_le_bytes()));
    made.add(
        "epoch",
        vector("a sidecar of another epoch", "value: epoch", &name, &bad),
    );
    let bad = of(&put(24, *b"some other store"));
    made.add(
        "other-store",
        vector("a sidecar of another store", "value: store id", &name, &bad),
    );
    made
}
