//! The table of bricks, and the hints that lead into it.

use super::super::forge::uv;
use super::super::write::{
    ASIDE, Archive, IN_PLACE, Items, MEMBER, Record, TAIL, UsedFrame, brick, brick_entry,
    brick_table, hint_page, hints as payload,
};
use super::{Made, header};

/// Two members of two chunks, and one that needs the first chunk again.
fn archive() -> Archive {
    let run = header(b"name", 60);
    let two = Record::new(MEMBER, Items::none().chunk(b"hello ").chunk(b"world"));
    let one = Record::new(MEMBER, Items::none().whole(b"hello "));
    Archive::default()
        .step(IN_PLACE, &run, &two)
        .step(IN_PLACE, &run, &one)
        .step(ASIDE, &[], &Record::new(TAIL, Items::none()))
}

pub fn bricks() -> Made {
    let mut made = Made::new("index-bricks");
    let archive = archive();
    let (index, bytes) = archive.with_brick();
    let (_, used) = brick(&archive.chunks());
    let name = *blake3::hash(&bytes).as_bytes();
    let length = bytes.len() as u64;
    let entry = |frames: &[UsedFrame]| brick_entry(&name, length, frames);
    let with = |table: &[&[u8]]| {
        let table = table.concat();
        index.clone().with_section(*b"BRIK", table).bytes()
    };
    made.good(
        "good",
        "a brick with one frame",
        &index.bytes(),
        &[&bytes],
        &archive,
    );
    let other = |byte| brick_entry(&[byte; 32], 400, &[[0, 80, 300, 1]]);
    let last = [65_535, used[1], used[2], used[3]];
    made.good(
        "frame-last",
        "the last number that a frame may have",
        &with(&[&[1], &entry(&[last])]),
        &[&bytes],
        &archive,
    );
    made.good(
        "not-used",
        "bricks that no hint leads to need not be there",
        &with(&[&[3], &entry(&[used]), &other(1), &other(2)]),
        &[&bytes],
        &archive,
    );
    let [number, offset, size, plain] = used;
    let more = [number + 1, offset + size, 162, plain];
    for (name, comment, expect, table) in [
        (
            "twice",
            "a brick twice",
            "value: brick name",
            [uv(2), entry(&[used]), entry(&[used])].concat(),
        ),
        (
            "twice-apart",
            "a brick twice, with another between",
            "value: brick name",
            [uv(3), other(9), entry(&[used]), other(9)].concat(),
        ),
        (
            "more",
            "more bricks than there are",
            "truncated: brick name",
            [uv(2), entry(&[used])].concat(),
        ),
        (
            "fewer",
            "fewer bricks than there are",
            "value: bricks",
            [uv(0), entry(&[used])].concat(),
        ),
        (
            "behind",
            "a byte behind the last brick",
            "value: bricks",
            [uv(1), entry(&[used]), vec![0]].concat(),
        ),
        (
            "cut",
            "the last brick is cut short",
            "truncated: plain length",
            {
                let table = [uv(1), entry(&[used])].concat();
                table[..table.len() - 1].to_vec()
            },
        ),
        (
            "frames-none",
            "a brick without frames",
            "value: number of frames",
            [uv(1), entry(&[])].concat(),
        ),
        (
            "frames-many",
            "a brick with 65,537 frames",
            "value: number of frames",
            [&uv(1)[..], &name, &uv(length), &uv(65_537)].concat(),
        ),
        (
            "frame-beyond",
            "a frame that ends behind its brick",
            "value: frame",
            [uv(1), entry(&[[number, offset, size + 1, plain]])].concat(),
        ),
        (
            "frame-second-beyond",
            "a second frame that ends behind its brick",
            "value: frame",
            [uv(1), entry(&[used, more])].concat(),
        ),
        (
            "frame-number",
            "a frame at place 65,536",
            "value: frame number",
            [uv(1), entry(&[[65_537, offset, size, plain]])].concat(),
        ),
        (
            "frame-number-second",
            "a second frame at place 65,536",
            "value: frame",
            [
                uv(1),
                brick_entry(
                    &name,
                    length + 999,
                    &[last, [65_536, offset + size, 162, plain]],
                ),
            ]
            .concat(),
        ),
        (
            "frame-empty",
            "a frame of fewer bytes than any can have",
            "value: frame length",
            [uv(1), entry(&[[number, offset, 161, plain]])].concat(),
        ),
        (
            "brick-short",
            "a brick shorter than its header",
            "value: brick length",
            [uv(1), brick_entry(&name, 79, &[used])].concat(),
        ),
        (
            "longer-form",
            "a number not in its shortest form",
            "value: number of bricks",
            [&[0x81, 0][..], &entry(&[used])].concat(),
        ),
    ] {
        made.bad(name, comment, expect, &with(&[&table]), &[&bytes]);
    }
    made.late(
        "missing",
        "the brick is missing",
        "missing brick",
        &index.bytes(),
        &[],
        &archive,
    );
    made
}

pub fn hints() -> Made {
    let mut made = Made::new("index-hints");
    let archive = archive();
    let (index, bytes) = archive.with_brick();
    let with = |hints: Vec<u8>| index.clone().with_section(*b"HINT", hints).bytes();
    let good = |made: &mut Made, name: &str, comment: &str, hints: Vec<u8>| {
        made.good(name, comment, &with(hints), &[&bytes], &archive);
    };
    let all: [[u64; 3]; 2] = [[0, 0, 2], [0, 0, 1]];
    good(&mut made, "good", "two runs in a page", payload(0, &[&all]));
    good(
        &mut made,
        "pages",
        "a page a run",
        payload(0, &[&all[..1], &all[1..]]),
    );
    good(
        &mut made,
        "runs-apart",
        "consecutive chunks run by run",
        payload(0, &[&[[0, 0, 1], [0, 1, 1], [0, 0, 1]]]),
    );
    frames(&mut made);
    levels(&mut made);
    super::copies::hints(&mut made);

    let page = |count: u64, runs: &[u8]| [&[0, 3][..], &hint_page(0, count, runs)].concat();
    let put = |offset: usize, value: &[u8]| {
        let mut hints = payload(0, &[&all]);
        hints[offset..offset + value.len()].copy_from_slice(value);
        hints
    };
    let runs = [0, 0, 2, 0, 0, 1];
    for (name, comment, expect, hints) in [
        (
            "level",
            "a level that no chunk has",
            "value: level",
            put(0, &[8]),
        ),
        (
            "level-1",
            "hints for lists instead of chunks",
            "no hints",
            put(0, &[1]),
        ),
        (
            "count-less",
            "hints for fewer chunks than the records need",
            "value: chunks",
            payload(0, &[&all[..1]]),
        ),
        (
            "count-more",
            "hints for more chunks than the records need",
            "value: chunks",
            payload(0, &[&[all[0], all[0]]]),
        ),
        (
            "count-none",
            "hints for no chunk",
            "value: chunks",
            payload(0, &[]),
        ),
        (
            "count-longer-form",
            "a number not in its shortest form",
            "value: number of chunks",
            [&[0, 0x83, 0][..], &hint_page(0, 3, &runs)].concat(),
        ),
        (
            "chunks-missing",
            "fewer chunks in pages than stated",
            "truncated: length",
            [&[0, 3][..], &hint_page(0, 2, &runs[..3])].concat(),
        ),
        (
            "chunks-beyond",
            "more chunks in a page than stated for the level",
            "value: page",
            [&[0, 2][..], &hint_page(0, 3, &runs)].concat(),
        ),
        (
            "page-cut",
            "a page cut in its head",
            "truncated: chunks before the page",
            payload(0, &[&all])[..2 + 15].to_vec(),
        ),
        (
            "page-long",
            "more than 65,536 bytes in a page",
            "value: length",
            put(2, &65_537_u32.to_le_bytes()),
        ),
        (
            "page-beyond",
            "more bytes in a page than there are",
            "truncated: length",
            put(2, &7_u32.to_le_bytes()),
        ),
        (
            "page-empty",
            "no bytes in a page",
            "value: length",
            [&[0, 3][..], &hint_page(0, 3, b"")].concat(),
        ),
        (
            "page-count-less",
            "a page that holds more chunks than it states",
            "value: page",
            page(2, &runs),
        ),
        (
            "page-count-more",
            "a page that holds fewer chunks than it states",
            "value: page",
            page(3, &runs[..3]),
        ),
        (
            "page-before",
            "a page that states other chunks before it",
            "value: page",
            [&[0, 3][..], &hint_page(1, 3, &runs)].concat(),
        ),
        (
            "page-behind",
            "bytes behind the runs of a page",
            "value: page",
            page(3, &[0, 0, 2, 0, 0, 1, 0]),
        ),
        (
            "behind",
            "a byte behind the last page",
            "value: page",
            [payload(0, &[&all]), vec![0]].concat(),
        ),
        (
            "page-more",
            "a page behind the last chunk",
            "value: page",
            [payload(0, &[&all]), hint_page(3, 1, &[0, 0, 1])].concat(),
        ),
        (
            "run-empty",
            "a run of no chunks",
            "value: number of chunks",
            page(3, &[0, 0, 0, 0, 0, 3]),
        ),
        (
            "run-cut",
            "a run that is cut short",
            "value: page",
            page(3, &[0, 0, 3, 0]),
        ),
        (
            "frame-beyond",
            "a frame that the table of bricks lacks",
            "value: frame ordinal in the hints",
            page(3, &[0, 0, 2, 2, 0, 1]),
        ),
        (
            "frame-before",
            "a frame before the first",
            "value: frame ordinal",
            page(3, &[0, 0, 2, 1, 0, 1]),
        ),
        (
            "place-beyond",
            "a place that the frame lacks",
            "other chunk",
            page(3, &[0, 0, 2, 0, 2, 1]),
        ),
        (
            "place-65536",
            "a place that no frame has",
            "value: place in the frame",
            page(3, &[&[0, 0, 2, 0][..], &uv(65_536), &[1]].concat()),
        ),
        (
            "run-beyond",
            "a run beyond the last place that a frame may have",
            "value: number of chunks",
            page(3, &[&[0][..], &uv(65_534), &[3]].concat()),
        ),
        (
            "other-chunk",
            "a place where another chunk lies",
            "other chunk",
            payload(0, &[&[[0, 0, 1], [0, 0, 1], [0, 0, 1]]]),
        ),
    ] {
        made.late(name, comment, expect, &with(hints), &[&bytes], &archive);
    }
    let missing = index.clone().with(|index| drop(index.sections.remove(4)));
    made.bad(
        "missing",
        "no hints",
        "no hints",
        &missing.bytes(),
        &[&bytes],
    );
    let twice = index.clone().with(|index| {
        let hints = index.sections[4].clone();
        index.sections.insert(4, hints);
    });
    made.bad(
        "twice",
        "a level twice",
        "value: level",
        &twice.bytes(),
        &[&bytes],
    );
    made
}

/// Chunks in two bricks, used back and forth.
fn frames(made: &mut Made) {
    let chunks: [&[u8]; 4] = [b"one", b"two", b"three", b"four"];
    let of = |from: usize| -> Vec<Vec<u8>> {
        chunks[from..from + 2]
            .iter()
            .map(|chunk| chunk.to_vec())
            .collect()
    };
    let [(first, in_first), (second, in_second)] = [brick(&of(0)), brick(&of(2))];
    let items = [3, 0, 1, 2, 3]
        .iter()
        .fold(Items::none(), |items, place| items.chunk(chunks[*place]));
    let archive = Archive::default()
        .step(IN_PLACE, &header(b"name", 300), &Record::new(MEMBER, items))
        .step(ASIDE, &[], &Record::new(TAIL, Items::none()));
    // Bricks stand in the order of first use.
    let table = brick_table(&[(&second, &[in_second]), (&first, &[in_first])]);
    let hints = payload(0, &[&[[0, 1, 1], [1, 0, 2], [0, 0, 2]]]);
    let index = archive.index(table, vec![hints]).bytes();
    made.good(
        "frames",
        "frames of two bricks, back and forth",
        &index,
        &[&first, &second],
        &archive,
    );
}

/// Levels of lists.
fn levels(made: &mut Made) {
    let run = header(b"name", 100);
    let end = |record: &Record| {
        Archive::default().step(IN_PLACE, &run, record).step(
            ASIDE,
            &[],
            &Record::new(TAIL, Items::none()),
        )
    };
    let inner = Items::none().chunk(b"one").zeros(3).chunk(b"two");
    let outer = Items::none().list(1, &inner).chunk(b"one");
    let archive = end(&Record::new(MEMBER, Items::none().list(2, &outer)));
    let (index, bytes) = archive.with_brick();
    made.good(
        "levels",
        "lists of two levels",
        &index.bytes(),
        &[&bytes],
        &archive,
    );
    let order = index.clone().with(|index| index.sections.swap(4, 5));
    made.bad(
        "levels-order",
        "levels out of order",
        "value: level",
        &order.bytes(),
        &[&bytes],
    );
    let missing = index.clone().with(|index| drop(index.sections.remove(5)));
    made.bad(
        "levels-missing",
        "no hints for a level",
        "no hints",
        &missing.bytes(),
        &[&bytes],
    );
    let zeros = (0..3).fold(Items::none(), |items, _| items.zeros(9));
    let archive = end(&Record::new(MEMBER, Items::none().list(1, &zeros)));
    let (index, bytes) = archive.with_brick();
    made.good(
        "level-1-alone",
        "a list without chunks: level 0 does not occur",
        &index.bytes(),
        &[&bytes],
        &archive,
    );
    let none = index.with(|index| index.sections.insert(4, (*b"HINT", 1, vec![0, 0])));
    made.good(
        "level-0-empty",
        "hints for no chunk of a level",
        &none.bytes(),
        &[&bytes],
        &archive,
    );
}
