//! Snapshots: their files, and the streams that are joined.

use dtar::brick::{Pad, seal_snapshot_with_random};
use dtar::crypto::PublicKey;
use dtar::format::record::{Counts, Item, List};
use dtar::format::snapshot::{Snapshot, StreamItems};
use dtar::id::{ChunkHash, Epoch, StoreId, WriterId};

use super::super::forge::{self, Frame, Random, master, stored, uv};
use super::super::vector::{Vector, hex};
use super::{Made, PREFIX_FAULTS, put};

const TIME: u64 = 1_700_000_000_123_456_789;
const INDEX_LENGTH: u64 = 10_240;
const BLOCK: usize = 512;

/// The hash of a chunk that is nowhere.
fn hash(number: u8) -> [u8; 32] {
    Random::new(&format!("snapshot chunk {number}")).array()
}

fn chunk(number: u8, length: u64) -> Vec<u8> {
    [&[1][..], &uv(length), &hash(number)].concat()
}

fn list(number: u8, length: u64, covers: u64, counts: &[u64]) -> Vec<u8> {
    let counts: Vec<u8> = counts.iter().flat_map(|count| uv(*count)).collect();
    let level = u8::try_from(counts.len()).unwrap();
    [
        &[2, level][..],
        &uv(length),
        &hash(number),
        &uv(covers),
        &counts,
    ]
    .concat()
}

fn stream(length: u64, items: &[Vec<u8>]) -> Vec<u8> {
    [&uv(length)[..], &uv(items.len() as u64), &items.concat()].concat()
}

fn content(streams: &[Vec<u8>]) -> Vec<u8> {
    [
        &forge::prefix(b"dtarSNAP")[..],
        &TIME.to_le_bytes(),
        &forge::WRITER,
        &INDEX_LENGTH.to_le_bytes(),
        &streams.concat(),
    ]
    .concat()
}

fn streams() -> [Vec<u8>; 7] {
    [
        stream(3, &[chunk(0, 3)]),
        stream(492, &[chunk(1, 400), chunk(2, 92)]),
        stream(12, &[chunk(3, 12)]),
        stream(5_000, &[list(4, 900, 5_000, &[70])]),
        stream(0, &[]),
        stream(7, &[chunk(5, 7)]),
        stream(0, &[]),
    ]
}

/// What [`streams`] are, for whoever reads the vector.
fn holds(vector: Vector) -> Vector {
    let chunk = |number, length| format!("chunk {} length {length}", hex(&hash(number)));
    [
        "stream 0 length 3".to_owned(),
        chunk(0, 3),
        "stream 1 length 492".to_owned(),
        chunk(1, 400),
        chunk(2, 92),
        "stream 2 length 12".to_owned(),
        chunk(3, 12),
        "stream 3 length 5000".to_owned(),
        format!("list {} length 900 covers 5000 counts 70", hex(&hash(4))),
        "stream 4 length 0".to_owned(),
        "stream 5 length 7".to_owned(),
        chunk(5, 7),
        "stream 6 length 0".to_owned(),
    ]
    .iter()
    .fold(
        vector
            .with("time", TIME)
            .with_hex("writer", forge::WRITER)
            .with("index-length", INDEX_LENGTH),
        |vector, line| vector.with("holds", line),
    )
}

/// A file whose frame holds `chunks`, with `edit` done to its header.
fn sealed(name: &str, chunks: &[&[u8]], class: u8) -> Vec<u8> {
    let mut frame = Frame::new(name, &[master()]);
    frame.number = 0;
    frame.seal(&stored(chunks), |header| put(64, [class])(header))
}

fn vector(name: &str, comment: &str, expect: &str, content: &[u8]) -> Vector {
    Vector::new(comment, expect)
        .with_hex("master", master())
        .with_hex("snapshot", sealed(name, &[content], 1))
        .with_hex("content", content)
}

/// What the library makes of the same.
fn library_seals(name: &str) -> Vec<u8> {
    let chunk = |number, length| Item::Chunk {
        length,
        hash: ChunkHash(hash(number)),
    };
    let mut counts = Counts::default();
    counts[0] = 70;
    let list = Item::List(List {
        level: 1,
        length: 900,
        hash: ChunkHash(hash(4)),
        covers: 5_000,
        counts,
    });
    let streams = [
        (3, vec![chunk(0, 3)]),
        (492, vec![chunk(1, 400), chunk(2, 92)]),
        (12, vec![chunk(3, 12)]),
        (5_000, vec![list]),
        (0, Vec::new()),
        (7, vec![chunk(5, 7)]),
        (0, Vec::new()),
    ]
    .map(|(length, items)| StreamItems { length, items });
    let snapshot = Snapshot {
        time: TIME,
        writer: WriterId(forge::WRITER),
        index_length: INDEX_LENGTH,
        streams,
    };
    seal_snapshot_with_random(
        StoreId(forge::STORE),
        Epoch::FIRST,
        &[PublicKey::from_bytes(&forge::public_key(&master())).unwrap()],
        &snapshot,
        Pad::None,
        &mut Random::new(name),
    )
    .unwrap()
}

pub fn files() -> Made {
    let mut made = Made::new("snapshot");
    let good = content(&streams());
    assert_eq!(library_seals("good"), sealed("good", &[&good], 1));
    let mut ok = |name: &str, comment: &str, content: &[u8]| {
        made.add(name, holds(vector(name, comment, "ok", content)));
    };
    ok("good", "streams of chunks, a list, and none", &good);
    let field = [&good[..], &[9, 0]].concat();
    ok("skippable-field", "an unknown field is skipped", &field);
    for (name, comment, expect, offset, byte) in PREFIX_FAULTS {
        let mut edited = good.clone();
        edited[offset] = byte;
        let vector = vector(name, comment, expect, &edited);
        made.add(
            name,
            if expect == "ok" {
                holds(vector)
            } else {
                vector
            },
        );
    }
    let data = Vector::new("a frame of class data", "value: class")
        .with_hex("master", master())
        .with_hex("snapshot", sealed("class", &[&good], 0));
    made.add("class", data);
    let two = Vector::new("a frame of two chunks", "value: number of chunks")
        .with_hex("master", master())
        .with_hex("snapshot", sealed("two-chunks", &[&good, b"more"], 1));
    made.add("two-chunks", two);
    broken_contents(&mut made, &good);
    made
}

fn broken_contents(made: &mut Made, good: &[u8]) {
    let with_first = |first: Vec<u8>| {
        let mut streams = streams();
        streams[0] = first;
        content(&streams)
    };
    let tail = |bytes: &[u8]| [good, bytes].concat();
    for (name, comment, expect, content) in [
        (
            "whole",
            "an item \"whole\"",
            "value: items",
            with_first(stream(3, &[vec![0]])),
        ),
        (
            "zeros",
            "a zero run is stored like any chunk",
            "value: items",
            with_first(stream(3, &[vec![3, 3]])),
        ),
        (
            "items-less",
            "items of fewer bytes than the stream",
            "value: items",
            with_first(stream(4, &[chunk(0, 3)])),
        ),
        (
            "items-more",
            "items of more bytes than the stream",
            "value: items",
            with_first(stream(2, &[chunk(0, 3)])),
        ),
        (
            "items-many",
            "more than 65,536 items",
            "value: number of items",
            with_first([uv(3), uv(65_537)].concat()),
        ),
        (
            "item-kind",
            "an item of a kind that nobody knows",
            "value: item kind",
            with_first(stream(3, &[vec![4, 3]])),
        ),
        (
            "stream-missing",
            "six streams",
            "truncated: length of a stream",
            content(&streams()[..6]),
        ),
        (
            "cut-head",
            "cut in the length of the index",
            "truncated: length of the index",
            good[..44].to_vec(),
        ),
        (
            "critical-field",
            "an unknown critical field",
            "critical field: field tag",
            tail(&[128, 0]),
        ),
        (
            "repeated-field",
            "a field twice",
            "value: field tag",
            tail(&[9, 0, 9, 0]),
        ),
    ] {
        made.add(name, vector(name, comment, expect, &content));
    }
}

/// A header block with the checksum that a join gives it.
fn header(name: u8, time: u64) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    block[..4].copy_from_slice(&[b'n', b'a', b'm', name]);
    block[136..148].copy_from_slice(format!("{time:011o}\0").as_bytes());
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Something that begins like a record, of so many bytes.
fn record(length: u32) -> Vec<u8> {
    let mut bytes = forge::prefix(b"dtarBODY");
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.resize(length as usize, 7);
    bytes
}

fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

/// What of a header stands in streams 1 and 2.
fn taken_apart(block: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let most = [&block[..136], &block[156..]].concat();
    (most, block[136..148].to_vec())
}

/// All in stream 4.
fn blocks_alone(index: &[u8]) -> [Vec<u8>; 7] {
    let mut streams: [Vec<u8>; 7] = Default::default();
    streams[4] = index.to_vec();
    streams
}

fn join_vector(comment: &str, expect: &str, streams: &[Vec<u8>; 7], length: usize) -> Vector {
    let vector = Vector::new(comment, expect);
    let vector = streams
        .iter()
        .enumerate()
        .fold(vector, |vector, (number, stream)| {
            vector.with_hex(&format!("stream-{number}"), stream)
        });
    vector.with("index-length", length)
}

pub fn joins() -> Made {
    let mut made = Made::new("snapshot-join");
    let mut ok = |name, comment, streams: &[Vec<u8>; 7], index: &[u8], split: bool| {
        let vector = join_vector(comment, "ok", streams, index.len()).with_hex("index", index);
        let vector = if split {
            vector.with("split", "these streams")
        } else {
            vector
        };
        made.add(name, vector);
    };
    let none: [Vec<u8>; 7] = Default::default();
    ok("nothing", "no bytes at all", &none, &[], true);

    let (one, two) = (header(b'1', 0o1234), header(b'2', 7));
    let ((most, time), (most_two, time_two)) = (taken_apart(&one), taken_apart(&two));
    let opaque = vec![0xee; BLOCK];
    let index = [&one[..], &padded(record(100)), &opaque, &two, &two, b"rest"].concat();
    let rest = [&opaque[..], b"rest"].concat();
    let streams = [
        vec![0, 3, 1, 1, 4, 1],
        [&most[..], &most_two, &most_two].concat(),
        [&time[..], &time_two, &time_two].concat(),
        record(100),
        rest,
        Vec::new(),
        Vec::new(),
    ];
    let index_length = index.len();
    let comment = "a header, a record, a block, two headers, and what is no block";
    ok("good", comment, &streams, &index, true);

    let repeated = [&one[..], &padded(record(600))].concat().repeat(3);
    let thrice = [
        vec![0, 3, 3],
        most.repeat(3),
        time.repeat(3),
        record(600).repeat(3),
        Vec::new(),
        Vec::new(),
        Vec::new(),
    ];
    ok("repeat", "equal steps stand once", &thrice, &repeated, true);

    let lazy = blocks_alone(&index);
    ok(
        "verbatim",
        "a writer may leave all in stream 4",
        &lazy,
        &index,
        false,
    );

    // Only the usual form of a checksum goes.
    let mut spaced = one.clone();
    spaced[154..156].copy_from_slice(b" \0");
    let other = blocks_alone(&spaced);
    let comment = "a checksum in another form: no header block";
    ok("checksum-form", comment, &other, &spaced, true);

    let mut unclean = padded(record(100));
    unclean[BLOCK - 1] = 1;
    let other = blocks_alone(&unclean);
    let comment = "a record with other bytes than zeros behind it: no record";
    ok("record-padding", comment, &other, &unclean, true);

    let cut = record(1_000)[..BLOCK].to_vec();
    let other = blocks_alone(&cut);
    ok(
        "record-cut",
        "a record that the end cuts short",
        &other,
        &cut,
        true,
    );
    let text = b"20 mtime=12.034\n13 atime=5.\n14 ctime=67=89\n atime=-1 mtime= xtime=2";
    let mut block = text.to_vec();
    block.resize(BLOCK, b' ');
    // A time goes no further than its block, nor does what stands before it.
    block[BLOCK - 8..].copy_from_slice(b" mtime=4");
    let index = [
        &block[..],
        b"2 ctime=",
        &[b'1'; BLOCK - 16],
        b"  atime=",
        b"3 ctime=56",
    ]
    .concat();
    let pax = pax_streams(index.clone());
    let comment = "digits of times in pax records, and what is none";
    ok("pax-times", comment, &pax, &index, true);
    broken_joins(&mut made, &streams, index_length);
    let mut short = pax.clone();
    short[5].pop();
    let mut letter = pax.clone();
    letter[2][0] = b'x';
    let mut more = pax.clone();
    more[6].push(b'1');
    for (name, comment, streams) in [
        ("pax-times-less", "a time is cut short", &short),
        ("pax-times-letter", "a time that is no digit", &letter),
        ("pax-times-more", "a byte of times is left", &more),
    ] {
        let expect = "broken streams";
        made.add(name, join_vector(comment, expect, streams, index.len()));
    }
    made
}

/// The streams of what is all blocks: as the page says it, with no eye on speed.
fn pax_streams(mut index: Vec<u8>) -> [Vec<u8>; 7] {
    let mut streams: [Vec<u8>; 7] = Default::default();
    for block in index.chunks_mut(BLOCK) {
        for (key, number) in [(b" mtime=", 2), (b" atime=", 5), (b" ctime=", 6)] {
            for at in key.len()..=block.len() {
                if &block[at - key.len()..at] != key {
                    continue;
                }
                for byte in &mut block[at..] {
                    match byte {
                        b'.' => {}
                        b'0'..=b'9' => streams[number].push(std::mem::replace(byte, b'0')),
                        _ => break,
                    }
                }
            }
        }
    }
    streams[4] = index;
    streams
}

fn broken_joins(made: &mut Made, good: &[Vec<u8>; 7], length: usize) {
    type Edit = fn(&mut [Vec<u8>; 7]);
    let edits: [(&str, &str, Edit); 18] = [
        ("steps-empty", "a step of nothing", |streams| {
            streams[0].extend([0, 0, 1]);
        }),
        ("steps-repeat", "a step that stands no times", |streams| {
            streams[0].extend([1, 0, 0]);
        }),
        ("steps-cut", "a step without its repeat", |streams| {
            streams[0].pop();
        }),
        ("steps-form", "a number in a longer form", |streams| {
            streams[0][0] = 0x80;
            streams[0].insert(1, 0);
        }),
        ("steps-long", "a number of more than 64 bits", |streams| {
            streams[0] = vec![0xff; 11];
        }),
        ("steps-beyond", "more blocks than there can be", |streams| {
            streams[0] = [&[0xff; 9][..], &[1, 0, 1]].concat();
        }),
        ("headers-less", "a header is cut short", |streams| {
            streams[1].pop();
        }),
        ("headers-more", "a byte of headers is left", |streams| {
            streams[1].push(0);
        }),
        ("times-less", "a time is cut short", |streams| {
            streams[2].pop();
        }),
        ("times-more", "a byte of times is left", |streams| {
            streams[2].push(0);
        }),
        ("records-less", "a record is cut short", |streams| {
            streams[3].pop();
        }),
        ("records-more", "a byte of records is left", |streams| {
            streams[3].push(0);
        }),
        ("record-short", "a record of 19 bytes", |streams| {
            streams[3] = record(100)[..19].to_vec();
            streams[3][16] = 19;
        }),
        ("record-long", "a record of more than 1 MiB", |streams| {
            streams[3][16..20].copy_from_slice(&(1_048_577_u32).to_le_bytes());
        }),
        ("record-head", "a record without its length", |streams| {
            streams[3].truncate(18);
        }),
        ("blocks-less", "a block is cut short", |streams| {
            streams[4].truncate(BLOCK - 1);
        }),
        ("blocks-rest", "fewer bytes than the index has", |streams| {
            streams[4].pop();
        }),
        ("blocks-more", "more bytes than the index has", |streams| {
            streams[4].push(0);
        }),
    ];
    for (name, comment, edit) in edits {
        let mut streams = good.clone();
        edit(&mut streams);
        made.add(
            name,
            join_vector(comment, "broken streams", &streams, length),
        );
    }
    for (name, comment, length) in [
        ("length-less", "an index of a byte less", length - 1),
        ("length-more", "an index of a byte more", length + 1),
        ("length-none", "an index of no bytes", 0),
    ] {
        made.add(name, join_vector(comment, "broken streams", good, length));
    }
}
