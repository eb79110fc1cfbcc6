//! Numbers, the end of an index, and indexes compressed as a whole.

use super::super::forge::{Block, uv, zstd};
use super::super::vector::Vector;
use super::super::write::{Archive, IN_PLACE, Items, MEMBER, Record, end};
use super::{Made, header, prefix_faults};

pub fn numbers() -> Made {
    let mut made = Made::new("uv");
    for (name, value) in [
        ("0", 0),
        ("127", 127),
        ("128", 128),
        ("16383", 16_383),
        ("16384", 16_384),
        ("2-32", 1 << 32),
        ("2-63-1", u64::MAX / 2),
        ("2-63", 1 << 63),
        ("2-64-1", u64::MAX),
    ] {
        let vector = Vector::new("a number in its shortest form", "ok");
        let vector = vector.with_hex("bytes", uv(value)).with("value", value);
        made.add(name, vector);
    }
    for (name, comment, expect, bytes) in [
        ("empty", "no byte", "truncated: number", &[][..]),
        (
            "cut",
            "the last byte is missing",
            "truncated: number",
            &[0x80],
        ),
        ("longer-0", "0 in two bytes", "value: number", &[0x80, 0]),
        (
            "longer-127",
            "127 in two bytes",
            "value: number",
            &[0xff, 0],
        ),
        (
            "longer-128",
            "128 in three bytes",
            "value: number",
            &[0x80, 0x81, 0],
        ),
        (
            "longer-10",
            "1 in ten bytes",
            "value: number",
            &[0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0],
        ),
        (
            "2-64",
            "one more than 64 bits hold",
            "value: number",
            &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2],
        ),
        (
            "eleven",
            "eleven bytes",
            "value: number",
            &[
                0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1,
            ],
        ),
    ] {
        made.add(name, Vector::new(comment, expect).with_hex("bytes", bytes));
    }
    made
}

pub fn ends() -> Made {
    let mut made = Made::new("index-end");
    let numbers = [1536, 448, 2048, 0];
    let vector = |comment: &str, expect: &str, end: &[u8], length: u64| {
        Vector::new(comment, expect)
            .with_hex("end", end)
            .with("index-length", length)
    };
    let holds = |vector: Vector| {
        vector
            .with("trailer-offset", numbers[0])
            .with("trailer-length", numbers[1])
    };
    let good = end(numbers, |_| ());
    made.add(
        "good",
        holds(vector("the last 64 bytes", "ok", &good, 2048)),
    );
    for (name, comment, expect, mut bytes) in prefix_faults(&good, 0) {
        super::super::forge::recheck(&mut bytes);
        let vector = vector(comment, expect, &bytes, 2048);
        made.add(
            name,
            if expect == "ok" {
                holds(vector).with("not-written", "yes")
            } else {
                vector
            },
        );
    }
    let mut damaged = good.clone();
    damaged[20] ^= 1;
    made.add("check", vector("damaged", "check: check", &damaged, 2048));
    made.add(
        "cut",
        vector("cut short", "truncated: check", &good[..63], 2048),
    );
    for (name, comment, expect, numbers, length) in [
        (
            "reserved",
            "reserved bytes must be zero",
            "value: reserved",
            [1536, 448, 2048, 1],
            2048,
        ),
        (
            "longer",
            "the index is longer than its end says",
            "value: index length",
            numbers,
            2560,
        ),
        (
            "shorter",
            "the index is shorter than its end says",
            "value: index length",
            numbers,
            1536,
        ),
        (
            "no-blocks",
            "the length is no multiple of 512",
            "value: index length",
            [1536, 449, 2049, 0],
            2049,
        ),
        (
            "sum",
            "offset and length of the trailer do not add up",
            "value: trailer offset and length",
            [1024, 448, 2048, 0],
            2048,
        ),
        (
            "overflow",
            "offset and length of the trailer add up beyond 64 bits",
            "value: trailer offset and length",
            [u64::MAX - 511, 448 + 2048, 2048, 0],
            2048,
        ),
        (
            "offset",
            "the trailer begins within a block",
            "value: trailer offset and length",
            [1535, 449, 2048, 0],
            2048,
        ),
        (
            "trailer-short",
            "a trailer that has no room for its parts",
            "value: trailer offset and length",
            [1984, 0, 2048, 0],
            2048,
        ),
    ] {
        let bytes = end(numbers, |_| ());
        made.add(name, vector(comment, expect, &bytes, length));
    }
    made
}

pub fn compressed() -> Made {
    let mut made = Made::new("index-compressed");
    let record = Record::new(MEMBER, Items::none().zeros(5));
    let archive = |name: &[u8]| {
        Archive::default()
            .step(
                IN_PLACE,
                &header(name, record.bytes().len() as u64),
                &record,
            )
            .end()
    };
    let usual = archive(b"name");
    let index = usual.plain().bytes();
    let mut good = |name: &str, comment: &str, bytes: &[u8]| {
        made.good(name, comment, bytes, &[], &usual);
    };
    good("not", "not compressed", &index);
    let one = zstd(&[Block::Raw(&index)]);
    good("one-frame", "one zstd frame", &one);
    let (front, behind) = index.split_at(700);
    let two = [zstd(&[Block::Raw(front)]), zstd(&[Block::Raw(behind)])].concat();
    good("two-frames", "two zstd frames, one after the other", &two);
    let window = |log: u8| {
        let mut bytes = one.clone();
        bytes[5] = (log - 10) << 3;
        bytes
    };
    good("window", "a window of 128 MiB", &window(27));
    let named = archive(b"\x28\xb5\x2f\xfd");
    made.plain(
        "name",
        "not compressed, though the first name begins like zstd",
        &named.plain(),
        &named,
    );
    for (name, comment, expect, bytes) in [
        (
            "cut",
            "the zstd frame is cut short",
            "damaged compression",
            one[..one.len() - 1].to_vec(),
        ),
        (
            "broken",
            "what follows the first zstd frame is none",
            "damaged compression",
            [&one[..], b"something else"].concat(),
        ),
        (
            "window-more",
            "a window of 256 MiB",
            "damaged compression",
            window(28),
        ),
        (
            "half",
            "the second half of the index is missing",
            "incomplete index",
            zstd(&[Block::Raw(&index[..1024])]),
        ),
    ] {
        made.bad(name, comment, expect, &bytes, &[]);
    }
    made
}
