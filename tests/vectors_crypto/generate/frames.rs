//! Frames.

use dtar::brick::{BrickSealer, CompressedFrame, Compressor, FrameBuilder, Pad};
use dtar::crypto::PublicKey;
use dtar::id::{Class, Epoch, StoreId};

use super::super::forge::{self, Block, Frame, Random, master, opened, stored, uv, zstd};
use super::super::vector::Vector;
use super::{Made, PREFIX_FAULTS, damaged, put};

const CHUNKS: [&[u8]; 2] = [b"first chunk", b"second"];

fn vector(comment: &str, expect: &str, frame: &[u8]) -> Vector {
    Vector::new(comment, expect)
        .with_hex("master", master())
        .with_hex("store-id", forge::STORE)
        .with_hex("frame", frame)
}

fn good(comment: &str, frame: &[u8], chunks: &[&[u8]]) -> Vector {
    chunks
        .iter()
        .fold(vector(comment, "ok", frame), |vector, chunk| {
            vector.with_hex("chunk", chunk)
        })
}

fn to_master(name: &str) -> Frame {
    Frame::new(name, &[master()])
}

pub fn frames() -> Made {
    let mut made = Made::new("frame");
    good_frames(&mut made);
    headers(&mut made);
    keys(&mut made);
    contents(&mut made);
    compressed(&mut made);
    made
}

/// What the library makes of the same chunks and random bytes.
fn library_seals(name: &str, recipients: &[[u8; 32]]) -> Vec<u8> {
    let recipients: Vec<_> = recipients
        .iter()
        .map(|recipient| PublicKey::from_bytes(&forge::public_key(recipient)).unwrap())
        .collect();
    let sealer = BrickSealer::with_random(
        StoreId(forge::STORE),
        Epoch::FIRST,
        Class::Data,
        &recipients,
        &mut Random::new(name),
    )
    .unwrap();
    let mut builder = FrameBuilder::new();
    for chunk in CHUNKS {
        builder.push(chunk);
    }
    let mut frame = CompressedFrame::new();
    let length = sealer.frame_header_length();
    builder
        .compress(&mut Compressor::new(), 3, length, Pad::None, &mut frame)
        .unwrap();
    sealer.seal_frame(5, &mut frame).unwrap();
    frame.bytes
}

fn good_frames(made: &mut Made) {
    for (name, comment, recipients) in [
        ("stored", "two chunks, stored", &[master()][..]),
        (
            "two-recipients",
            "sealed to another key and to ours",
            &[[9; 32], master()],
        ),
    ] {
        let frame = Frame::new(name, recipients).seal(&stored(&CHUNKS), |_| ());
        assert_eq!(library_seals(name, recipients), frame);
        made.add(name, good(comment, &frame, &CHUNKS));
    }
    let padded = [&stored(&CHUNKS)[..], &[0; 100]].concat();
    let frame = to_master("padded").seal(&padded, |_| ());
    made.add("padded", good("100 bytes of padding", &frame, &CHUNKS));

    let frame = to_master("reserved").seal(&stored(&CHUNKS), |header| put(68, [1; 4])(header));
    made.add(
        "reserved",
        good("reserved bytes are ignored", &frame, &CHUNKS),
    );

    let metadata = to_master("metadata").seal(&stored(&CHUNKS), |header| put(64, [1])(header));
    made.add("metadata", good("class 1, metadata", &metadata, &CHUNKS));
    in_bricks(made, &metadata);

    let mut skippable = to_master("skippable-field");
    skippable.fields = vec![127, 2, 0, 0, 5, 0];
    let frame = skippable.seal(&stored(&CHUNKS), |_| ());
    made.add(
        "skippable-field",
        good("two unknown fields are skipped", &frame, &CHUNKS),
    );

    let mut unknown = to_master("unknown-suite-first");
    let mut entry = unknown.entries[0].clone();
    entry[20] = 9;
    unknown.entries.insert(0, entry);
    let frame = unknown.seal(&stored(&CHUNKS), |_| ());
    let comment = "an entry for our key with an unknown AEAD, then one that we know";
    made.add("unknown-suite-first", good(comment, &frame, &CHUNKS));
}

/// A frame that stands in a brick, in which it need not have been sealed.
fn in_bricks(made: &mut Made, frame: &[u8]) {
    let salt = [7; 16];
    let header = forge::brick_header_of(&salt, &forge::STORE, 2, 1);
    let comment = "in a brick of its store and class, with another salt and epoch";
    let vector_in = |vector: Vector, header: &[u8]| vector.with_hex("brick-header", header);
    made.add(
        "in-brick",
        vector_in(good(comment, frame, &CHUNKS), &header),
    );
    for (name, comment, field, store, class) in [
        (
            "in-brick-class",
            "a frame of class metadata in a brick of class data",
            "class",
            forge::STORE,
            0,
        ),
        (
            "in-brick-store",
            "in a brick of another store",
            "store id",
            *b"some other store",
            1,
        ),
    ] {
        let header = forge::brick_header_of(&salt, &store, 1, class);
        let vector = vector(comment, &format!("header, value: {field}"), frame);
        made.add(name, vector_in(vector, &header));
    }
}

fn headers(made: &mut Made) {
    for (name, comment, expect, offset, byte) in PREFIX_FAULTS {
        let frame = to_master(name).seal(&stored(&CHUNKS), |header| put(offset, [byte])(header));
        let vector = match expect {
            "ok" => good(comment, &frame, &CHUNKS),
            _ => vector(comment, &format!("header, {expect}"), &frame),
        };
        made.add(name, vector);
    }
    let number = |number: u32| number.to_le_bytes().to_vec();
    for (name, comment, expect, offset, bytes) in [
        (
            "header-short",
            "a header shorter than 130 bytes",
            "value: header length",
            16,
            number(129),
        ),
        (
            "header-long",
            "a header longer than 64 KiB",
            "value: header length",
            16,
            number(65_537),
        ),
        (
            "header-beyond",
            "a header longer than the frame",
            "truncated: header",
            16,
            number(60_000),
        ),
        (
            "header-other",
            "a header length in the middle",
            "check: check",
            16,
            number(500),
        ),
        (
            "sealed-short",
            "31 sealed bytes",
            "value: sealed length",
            20,
            number(31),
        ),
        (
            "sealed-long",
            "more than 65 MiB sealed",
            "value: sealed length",
            20,
            number(68_157_441),
        ),
        (
            "sealed-beyond",
            "more sealed bytes than there are",
            "truncated: length",
            20,
            number(1000),
        ),
        (
            "sealed-less",
            "fewer sealed bytes than there are",
            "value: length",
            20,
            number(32),
        ),
        (
            "epoch-zero",
            "epochs begin with 1",
            "value: epoch",
            60,
            number(0),
        ),
        ("class", "an unknown class", "value: class", 64, vec![2]),
        ("codec", "an unknown codec", "value: codec", 65, vec![2]),
        ("seal-kind", "an unknown seal", "value: seal", 66, vec![2]),
        (
            "recipients-none",
            "no recipients",
            "value: number of recipients",
            67,
            vec![0],
        ),
        (
            "recipients-many",
            "33 recipients",
            "value: number of recipients",
            67,
            vec![33],
        ),
        (
            "recipients-beyond",
            "more recipients than fit",
            "truncated: recipient's key id",
            67,
            vec![2],
        ),
        (
            "recipient-beyond",
            "a recipient entry that does not fit",
            "truncated: wrapped key",
            112,
            vec![49, 0],
        ),
    ] {
        let frame = to_master(name).seal(&stored(&CHUNKS), |header| {
            header[offset..offset + bytes.len()].copy_from_slice(&bytes);
        });
        made.add(name, vector(comment, &format!("header, {expect}"), &frame));
    }
    for (name, comment, expect, fields) in [
        (
            "critical-field",
            "an unknown critical field",
            "critical field: field tag",
            vec![128, 1, 0],
        ),
        (
            "repeated-field",
            "a field twice",
            "value: field tag",
            vec![5, 0, 5, 0],
        ),
        (
            "field-beyond",
            "a field that does not fit",
            "truncated: field length",
            vec![5, 2, 0],
        ),
        (
            "field-longer-form",
            "a length not in its shortest form",
            "value: field length",
            vec![5, 0x81, 0, 0],
        ),
    ] {
        let mut frame = to_master(name);
        frame.fields = fields;
        let frame = frame.seal(&stored(&CHUNKS), |_| ());
        made.add(name, vector(comment, &format!("header, {expect}"), &frame));
    }
    let frame = to_master("damage").seal(&stored(&CHUNKS), |_| ());
    let header = 88 + 1194 + 16;
    for (name, comment, expect, offset) in [
        (
            "check-header",
            "a damaged header",
            "header, check: check",
            100,
        ),
        (
            "check-itself",
            "a damaged check",
            "header, check: check",
            header - 1,
        ),
        ("seal-content", "damaged sealed bytes", "seal", header),
        ("seal-tag", "a damaged tag", "seal", frame.len() - 1),
    ] {
        made.add(name, vector(comment, expect, &damaged(&frame, offset)));
    }
    let cut = &frame[..frame.len() - 1];
    made.add(
        "cut",
        vector("the last byte is missing", "header, truncated: length", cut),
    );
    let cut = &frame[..header - 1];
    made.add(
        "cut-header",
        vector("cut in the header", "header, truncated: header", cut),
    );
    let longer = [&frame[..], &[0]].concat();
    made.add(
        "longer",
        vector("a byte too many", "header, value: length", &longer),
    );

    // The check is good again, but the seal covers the header as it was.
    for (name, comment, offset, bit) in [
        ("altered-number", "the frame number was altered", 56, 1),
        ("altered-epoch", "the epoch was altered", 60, 2),
        ("altered-class", "the class was altered", 64, 1),
        ("altered-codec", "the codec was altered", 65, 1),
        ("altered-reserved", "a reserved byte was altered", 68, 1),
        ("altered-siv", "the SIV was altered", 87, 1),
    ] {
        let mut bad = frame.clone();
        bad[offset] ^= bit;
        forge::recheck(&mut bad[..header]);
        made.add(name, vector(comment, "seal", &bad));
    }
}

fn keys(made: &mut Made) {
    let other = [9; 32];
    let frame = Frame::new("other-key", &[other]).seal(&stored(&CHUNKS), |_| ());
    let key_id = &blake3::hash(&forge::public_key(&other)).as_bytes()[..16].to_vec();
    made.add(
        "other-key",
        vector(
            "no recipient entry for this key",
            "not sealed to this key",
            &frame,
        )
        .with_hex("recipient", key_id),
    );

    let mut frame = to_master("other-store");
    frame.store = *b"some other store";
    let frame = frame.seal(&stored(&CHUNKS), |_| ());
    made.add(
        "other-store",
        vector("a frame of another store", "other store", &frame),
    );

    for (name, comment, siv_of) in [
        (
            "siv-other",
            "the tag verifies, but the SIV is that of another content",
            stored(&[b"other"]),
        ),
        (
            "siv-padding",
            "the tag verifies, but the SIV is that of the content without its padding",
            stored(&CHUNKS),
        ),
    ] {
        let mut frame = to_master(name);
        frame.siv_of = Some(siv_of);
        let padded = [&stored(&CHUNKS)[..], &[0; 100]].concat();
        made.add(name, vector(comment, "seal", &frame.seal(&padded, |_| ())));
    }

    // A good frame key, but not the one of this salt.
    let mut frame = to_master("other-brick-key");
    frame.brick_key = [0; 32];
    let frame = frame.seal(&stored(&CHUNKS), |_| ());
    made.add(
        "other-brick-key",
        vector("sealed under another brick key", "seal", &frame),
    );
}

fn contents(made: &mut Made) {
    let content = stored(&CHUNKS)[16..].to_vec();
    let (plain, table) = (content.len(), 2);
    let long_table = [&content[..17], &[11, 0x86, 0]].concat();
    let far = 1 << 20;
    let cases: Vec<(&str, &str, &str, Vec<u8>)> = vec![
        (
            "content-beyond",
            "more content than fits",
            "value: content length",
            {
                let mut bytes = opened(plain, 2, table, &content);
                bytes[0] += 1;
                bytes
            },
        ),
        (
            "content-short",
            "too short for the content's header",
            "truncated: number of chunks",
            vec![0; 16][..8].to_vec(),
        ),
        (
            "padding",
            "padding that is not zero",
            "value: padding",
            [&opened(plain, 2, table, &content)[..], &[0, 0, 1, 0]].concat(),
        ),
        (
            "plain-long",
            "more than 64 MiB plain",
            "value: plain length",
            opened(67_108_865, 2, table, &content),
        ),
        (
            "plain-more",
            "a plain length greater than the content",
            "value: content",
            opened(plain + 1, 2, table, &content),
        ),
        (
            "plain-less",
            "a plain length less than the content",
            "value: content",
            opened(plain - 1, 2, table, &content),
        ),
        (
            "chunks-none",
            "no chunks",
            "value: number of chunks",
            opened(plain, 0, table, &content),
        ),
        (
            "chunks-many",
            "more than 65,536 chunks",
            "value: number of chunks",
            opened(plain, 65_537, table, &content),
        ),
        (
            "table-beyond",
            "a table longer than all",
            "value: table length",
            opened(plain, 2, plain + 1, &content),
        ),
        (
            "table-more",
            "more lengths than chunks",
            "value: chunk lengths",
            opened(plain, 1, table, &content),
        ),
        (
            "table-fewer",
            "fewer lengths than chunks",
            "value: chunk lengths",
            opened(plain, 3, table, &content),
        ),
        (
            "table-cut",
            "a table that ends within a length",
            "truncated: chunk length",
            opened(plain, 2, table, &[&content[..17], &[17, 0x80]].concat()),
        ),
        (
            "table-longer-form",
            "a length not in its shortest form",
            "value: chunk length",
            opened(plain + 1, 2, 3, &long_table),
        ),
        (
            "chunk-empty",
            "a chunk without bytes",
            "value: chunk length",
            opened(plain, 2, table, &[&content[..17], &[17, 0]].concat()),
        ),
        (
            "chunk-long",
            "a chunk longer than 1 MiB",
            "value: chunk length",
            opened(
                plain + 2,
                2,
                4,
                &[&content[..17], &uv(far + 1), &[1]].concat(),
            ),
        ),
        (
            "sum-less",
            "lengths that add up to less",
            "value: chunk lengths",
            opened(plain, 2, table, &[&content[..17], &[11, 5]].concat()),
        ),
        (
            "sum-more",
            "lengths that add up to more",
            "value: chunk lengths",
            opened(plain, 2, table, &[&content[..17], &[11, 7]].concat()),
        ),
    ];
    for (name, comment, expect, opened) in cases {
        // The shortest that can be sealed are 16 bytes and the tag.
        let (frame, expect) = match opened.len() {
            0..16 => (
                to_master(name).seal(&opened, |_| ()),
                "header, value: sealed length".to_owned(),
            ),
            _ => (
                to_master(name).seal(&opened, |_| ()),
                format!("content, {expect}"),
            ),
        };
        made.add(name, vector(comment, &expect, &frame));
    }
}

fn compressed(made: &mut Made) {
    let chunk = [&[b'a'; 1000][..], b"end"].concat();
    let table = uv(1003);
    let plain = 1005;
    let seal = |name: &str, plain: usize, content: &[u8]| {
        let mut frame = to_master(name);
        frame.codec = 1;
        frame.seal(&opened(plain, 1, 2, content), |_| ())
    };
    let tail = [b"end", &table[..]].concat();
    let whole = zstd(&[Block::Repeat(b'a', 1000), Block::Raw(&tail)]);
    let frame = seal("zstd", plain, &whole);
    made.add("zstd", good("one chunk, compressed", &frame, &[&chunk]));

    let bomb = zstd(&[
        Block::Repeat(b'a', 100_000),
        Block::Repeat(b'a', 100_000),
        Block::Raw(&tail),
    ]);
    let fewer = zstd(&[Block::Repeat(b'a', 900), Block::Raw(&tail)]);
    let one_more = zstd(&[Block::Repeat(b'a', 1001), Block::Raw(&tail)]);
    let two = [
        zstd(&[Block::Repeat(b'a', 1000)]),
        zstd(&[Block::Raw(&tail)]),
    ]
    .concat();
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0][..], &whole].concat();
    let mut sized = vec![0x28, 0xb5, 0x2f, 0xfd, 0xa0];
    sized.extend_from_slice(&2000_u32.to_le_bytes());
    sized.extend_from_slice(&whole[6..]);
    let mut dictionary = vec![0x28, 0xb5, 0x2f, 0xfd, 0x01, 11 << 3, 7];
    dictionary.extend_from_slice(&whole[6..]);
    for (name, comment, content) in [
        (
            "zstd-bomb",
            "goes on to yield more than the plain length",
            &bomb,
        ),
        ("zstd-one-more", "yields one byte more", &one_more),
        ("zstd-fewer", "yields fewer bytes", &fewer),
        ("zstd-two-frames", "two zstd frames", &two),
        (
            "zstd-skippable",
            "a skippable zstd frame before",
            &skippable,
        ),
        ("zstd-size", "a zstd frame that states another size", &sized),
        ("zstd-dictionary", "needs a dictionary", &dictionary),
        (
            "zstd-cut",
            "the zstd frame is cut short",
            &whole[..whole.len() - 1].to_vec(),
        ),
        ("zstd-not", "no zstd frame", &vec![1; 50]),
        ("zstd-empty", "no content", &Vec::new()),
    ] {
        let frame = seal(name, plain, content);
        made.add(name, vector(comment, "content, value: content", &frame));
    }
}
