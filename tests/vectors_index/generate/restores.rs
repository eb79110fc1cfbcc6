//! Whole indexes with their bricks, and chunks that are not what a record says.

use super::super::forge::{Frame, brick_header, master, stored, uv};
use super::super::tokens::to_tokens;
use super::super::write::{
    ASIDE, Archive, IN_PLACE, Items, MARKER, MEMBER, OPAQUE, Record, TAIL, brick, brick_table,
    field, hints, patches,
};
use super::{Made, header, index_vector};

pub fn restores() -> Made {
    let mut made = Made::new("index-restore");
    rich(&mut made);
    let run = header(b"name", 100);
    let end = |record: &Record| {
        Archive::default().step(IN_PLACE, &run, record).step(
            ASIDE,
            &[],
            &Record::new(TAIL, Items::none()),
        )
    };
    let chunks = Items::none().chunk(b"hello ").chunk(b"world");
    let stream = |archive: &Archive| to_tokens(&archive.stream);

    // Every chunk is right, but not the body.
    let other = Record {
        hash: Some([0; 32]),
        ..Record::new(MEMBER, chunks.clone())
    };
    let archive = end(&other);
    let (index, bytes) = archive.with_brick();
    let comment = "another hash of the body: the reader that computes it must say so";
    let vector = index_vector(comment, "other stream", &index.bytes(), &[&bytes]);
    let vector = vector.with("select", "**").with("stream", stream(&archive));
    made.add("body-hash", vector);

    let archive = end(&Record::new(MEMBER, chunks));
    let (index, bytes) = archive.with_brick();
    let mut damaged = bytes.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let (_, used) = brick(&archive.chunks());
    // Named as the good one: a reader need not hash the brick to see it.
    let frame = |chunks: &[&[u8]], store: [u8; 16]| {
        let mut frame = Frame::new("index", &[master()]);
        frame.store = store;
        let sealed = frame.seal(&stored(chunks), |_| ());
        [brick_header(&frame.salt), sealed].concat()
    };
    for (name, comment, expect, brick, length) in [
        (
            "chunk-other",
            "the frame holds another chunk",
            "other chunk",
            frame(&[b"hello ", b"World"], *b"a store of tests"),
            used[2],
        ),
        (
            "chunk-shorter",
            "the frame holds a shorter chunk",
            "other chunk",
            frame(&[b"hello ", b"worl"], *b"a store of tests"),
            used[2] - 1,
        ),
        (
            "plain-other",
            "the frame is shorter once opened than the index says",
            "damaged frame",
            frame(&[b"hello ", b"world"], *b"a store of tests"),
            used[2],
        ),
        (
            "frame-damaged",
            "the frame is damaged",
            "damaged frame",
            damaged,
            used[2],
        ),
        (
            "frame-other-store",
            "the frame is of another store",
            "damaged frame",
            frame(&[b"hello ", b"world"], *b"another of tests"),
            used[2],
        ),
        (
            "brick-cut",
            "the brick ends within the frame",
            "brick cut short",
            bytes[..bytes.len() - 1].to_vec(),
            used[2],
        ),
    ] {
        let plain = match name {
            "chunk-shorter" => used[3] - 1,
            "plain-other" => used[3] + 1,
            _ => used[3],
        };
        let entry = [used[0], 80, length, plain];
        let length = bytes.len() as u64;
        let table = [
            uv(1),
            super::super::write::brick_entry(blake3::hash(&brick).as_bytes(), length, &[entry]),
        ]
        .concat();
        let index = index.clone().with_section(*b"BRIK", table);
        let vector = index_vector(comment, expect, &index.bytes(), &[&brick]);
        made.add(name, vector.with("stream", stream(&archive)));
    }
    lists(&mut made, &end);
    super::copies::restores(&mut made);
    made.add("patch-beyond-run", {
        let record = Record::new(MEMBER, Items::none().zeros(5)).fields(&[patches(&[(513, b"x")])]);
        let archive = end(&record);
        index_vector(
            "a patch before the run",
            "value: patch distance",
            &archive.plain().bytes(),
            &[],
        )
    });
    made
}

/// Lists whose bytes are not what the item states: found before a byte of them comes out.
fn lists(made: &mut Made, end: &dyn Fn(&Record) -> Archive) {
    let inner = Items::none().chunk(b"one").chunk(b"two");
    for (name, comment, expect, list) in [
        (
            "list-covers",
            "a list that covers other bytes than stated",
            "chunk list",
            Items::none().list_that_states(1, &inner, &inner.bytes, 7, &[2]),
        ),
        (
            "list-counts",
            "a list that holds other chunks than stated",
            "chunk list",
            Items::none().list_that_states(1, &Items::none().chunk(b"one"), &inner.bytes, 6, &[1]),
        ),
        (
            "list-kind",
            "an unknown kind of item in a list",
            "chunk list",
            Items::none().list_that_states(1, &inner, &[4], 6, &[2]),
        ),
    ] {
        let archive = end(&Record::new(MEMBER, list));
        let (index, bytes) = archive.with_brick();
        made.late(name, comment, expect, &index.bytes(), &[&bytes], &archive);
    }
}

/// Every kind of step, record, item, field and form at once.
fn rich(made: &mut Made) {
    let run = header(b"one", 90);
    let mut true_run = header(b"one", 5);
    true_run[..3].copy_from_slice(b"eno");
    let sum: u32 = true_run[..148]
        .iter()
        .chain(&true_run[156..])
        .map(|&byte| u32::from(byte))
        .sum();
    let sum = format!("{:06o}\0 ", sum + 256);
    true_run[148..156].copy_from_slice(sum.as_bytes());
    let hello = Record::new(MEMBER, Items::none().whole(b"hello"))
        .forms(1, 1)
        .fields(&[patches(&[(512, b"eno")])]);
    let inner = Items::none().chunk(b"one").zeros(3).chunk(b"two");
    let outer = Items::none()
        .list(1, &inner)
        .chunk(b"hello")
        .list(1, &inner);
    let listed = Record::new(
        MEMBER,
        Items::none().chunk(b"two").list(2, &outer).zeros(600),
    );
    let padded = Record::new(MEMBER, Items::none().whole(b"two")).fields(&[field(129, b"pad")]);
    let cut = Record::new(MEMBER, Items::none().whole(b"one")).fields(&[field(130, &uv(9))]);
    let archive = Archive::default()
        .step_of(IN_PLACE, &run, &true_run, &hello, &[0; 507])
        .step(IN_PLACE, &run, &listed)
        .step_of(ASIDE, &run, &run, &padded, b"pad")
        .step(
            MARKER,
            &run,
            &Record::new(OPAQUE, Items::none().chunk(b"junk").zeros(9)),
        )
        .step(ASIDE, &[], &Record::new(OPAQUE, Items::none()))
        .step_of(IN_PLACE, &run, &run, &cut, b"")
        .step(
            ASIDE,
            &run,
            &Record::new(TAIL, Items::none().chunk(b"one").zeros(1024)),
        );
    let chunks = archive.chunks();
    // Two bricks: chunks of level 0 in one, lists in the other.
    let data: Vec<_> = chunks.iter().take(4).cloned().collect();
    let lists: Vec<_> = chunks.iter().skip(4).cloned().collect();
    let [(first, in_first), (second, in_second)] = [brick(&data), brick(&lists)];
    let table = brick_table(&[(&first, &[in_first]), (&second, &[in_second])]);
    let payloads = archive
        .levels()
        .into_iter()
        .map(|level| {
            let (ordinal, chunks) = if level == 0 { (0, &data) } else { (1, &lists) };
            let runs: Vec<[u64; 3]> = archive
                .places(level, chunks)
                .into_iter()
                .map(|place| [ordinal, place, 1])
                .collect();
            let pages: Vec<&[[u64; 3]]> = runs.chunks(3).collect();
            hints(level, &pages)
        })
        .collect();
    let index = archive.index(table, payloads).bytes();
    made.good(
        "rich",
        "every kind of step, record, item, field and form",
        &index,
        &[&first, &second],
        &archive,
    );
}
