//! Lists, and the runs that records correct.

use super::super::forge::uv;
use super::super::tokens::to_tokens;
use super::super::vector::Vector;
use super::super::write::{Items, MEMBER, Record, field, patches, zeros_item};
use super::records::{hash, hello, of};
use super::{Made, header};

/// What records make of the run before them.
pub fn runs() -> Made {
    let mut made = Made::new("body-run");
    let run = header(b"name", 0o7777);
    let vector = |comment: &str, expect: &str, record: &Record, run: &[u8]| {
        Vector::new(comment, expect)
            .with("record", to_tokens(&record.bytes()))
            .with("run", to_tokens(run))
    };
    let sizes = [
        (1, &b"00000000005\0"[..]),
        (2, b"00000000005 "),
        (3, b"000000000005"),
    ];
    let sums = [
        (1, &b"\0 "[..], 6),
        (2, b" \0", 6),
        (3, b"\0", 7),
        (4, b" ", 7),
    ];
    let with_sum = |mut block: Vec<u8>, (_, end, digits): (u8, &[u8], usize)| {
        let at = block.len() - 512;
        block[at + 148..at + 156].fill(b' ');
        let sum: u32 = block[at..].iter().map(|&byte| u32::from(byte)).sum();
        let field = [format!("{sum:0digits$o}").as_bytes(), end].concat();
        block[at + 148..at + 156].copy_from_slice(&field);
        block
    };
    for (form, size) in sizes {
        let mut corrected = run.clone();
        corrected[124..136].copy_from_slice(size);
        let comment = "a size form, the checksum as it stands";
        let alone = vector(comment, "ok", &hello().forms(form, 0), &run);
        made.add(
            &format!("size-{form}"),
            alone.with("corrected", to_tokens(&corrected)),
        );
        for sum in sums {
            let corrected = with_sum(corrected.clone(), sum);
            let record = hello().forms(form, sum.0);
            let vector = vector(
                "both forms; the checksum is that of the new size",
                "ok",
                &record,
                &run,
            );
            made.add(
                &format!("forms-{form}-{}", sum.0),
                vector.with("corrected", to_tokens(&corrected)),
            );
        }
    }
    let two = [header(b"first", 1), header(b"name\xff\xfe", 2)].concat();
    let corrected = with_sum(two.clone(), sums[2]);
    made.add(
        "last-block",
        vector(
            "a form is about the run's last block; bytes count as unsigned",
            "ok",
            &hello().forms(0, 3),
            &two,
        )
        .with("corrected", to_tokens(&corrected)),
    );
    let mut corrected = run.clone();
    corrected[124..136].copy_from_slice(b"00000000011\0");
    made.add(
        "declared",
        vector(
            "the size is the declared length",
            "ok",
            &hello().forms(1, 0).fields(&[field(130, &uv(9))]),
            &run,
        )
        .with("corrected", to_tokens(&corrected)),
    );
    let mut corrected = run.clone();
    corrected[..3].copy_from_slice(b"abc");
    corrected[511] = b'z';
    corrected[124..136].copy_from_slice(b"00000000005\0");
    let corrected = with_sum(corrected, sums[0]);
    let first = patches(&[(512, b"abc"), (388, b"lost!"), (1, b"z")]);
    made.add(
        "patches-first",
        vector(
            "patches come before the forms, which overwrite them",
            "ok",
            &hello().fields(&[first]),
            &run,
        )
        .with("corrected", to_tokens(&corrected)),
    );
    for (name, comment, expect, record, run) in [
        (
            "size-no-run",
            "a size form without a run",
            "value: size form",
            hello().forms(1, 0),
            &[][..],
        ),
        (
            "checksum-no-run",
            "a checksum form without a run",
            "value: size form",
            hello().forms(0, 1),
            &[],
        ),
        (
            "patch-no-run",
            "a patch without a run",
            "value: patch distance",
            hello().forms(0, 0).fields(&[patches(&[(1, b"x")])]),
            &[],
        ),
        (
            "patch-beyond-run",
            "a patch before the run",
            "value: patch distance",
            hello().fields(&[patches(&[(513, b"x")])]),
            &run,
        ),
        (
            "size-11",
            "a length that does not fit eleven digits",
            "value: size form",
            Record {
                body_length: Some(1 << 33),
                ..of(&zeros_item(1 << 33), 0)
            }
            .forms(1, 0),
            &run,
        ),
        (
            "size-11-space",
            "a length that does not fit eleven digits and a space",
            "value: size form",
            of(&zeros_item(1 << 33), 1 << 33).forms(2, 0),
            &run,
        ),
        (
            "size-12",
            "a length that does not fit twelve digits",
            "value: size form",
            of(&zeros_item(1 << 36), 1 << 36).forms(3, 0),
            &run,
        ),
    ] {
        made.add(name, vector(comment, expect, &record, run));
    }
    let mut corrected = run.clone();
    corrected[124..136].copy_from_slice(b"777777777777");
    let most = (1_u64 << 36) - 1;
    made.add(
        "size-12-most",
        vector(
            "the greatest length in twelve digits",
            "ok",
            &of(&zeros_item(most), most).forms(3, 0),
            &run,
        )
        .with("corrected", to_tokens(&corrected)),
    );
    made
}

pub fn lists() -> Made {
    let mut made = Made::new("body-list");
    let vector = |comment: &str, expect: &str, items: &Items| {
        Vector::new(comment, expect)
            .with(
                "record",
                to_tokens(&Record::new(MEMBER, items.clone()).bytes()),
            )
            .with("list", to_tokens(&items.uses[0].1))
    };
    let chunk = |bytes: &[u8]| format!("chunk {} {}", bytes.len(), hash(bytes));
    let flat = Items::none().chunk(b"one").zeros(3).chunk(b"two");
    made.add(
        "level-1",
        vector("chunks and a zero run", "ok", &Items::none().list(1, &flat))
            .with("item", chunk(b"one"))
            .with("item", "zeros 3")
            .with("item", chunk(b"two")),
    );
    let mixed = Items::none().chunk(b"x").list(1, &flat).zeros(1);
    let line = format!(
        "list level 1 length {} {} covers 9 below 2",
        flat.bytes.len(),
        hash(&flat.bytes)
    );
    made.add(
        "level-2",
        vector(
            "a list beside chunks and zeros",
            "ok",
            &Items::none().list(2, &mixed),
        )
        .with("item", chunk(b"x"))
        .with("item", &line)
        .with("item", "zeros 1"),
    );
    let high = Items::none().list(2, &mixed);
    let both = Items::none().list(1, &flat).list(2, &mixed);
    let high_line = format!(
        "list level 2 length {} {} covers 11 below 3 1",
        mixed.bytes.len(),
        hash(&mixed.bytes)
    );
    made.add(
        "level-3",
        vector(
            "lists of several levels below",
            "ok",
            &Items::none().list(3, &both),
        )
        .with("item", line)
        .with("item", high_line),
    );
    let zeros = |count| (0..count).fold(Items::none(), |items, _| items.zeros(1));
    made.add(
        "items-many",
        vector(
            "as many items as a list may have",
            "ok",
            &Items::none().list(1, &zeros(65_536)),
        )
        .with("item", "65536 times zeros 1"),
    );
    let stating = |level, inner: &Items, covers, counts: &[u64]| {
        Items::none().list_that_states(level, inner, &inner.bytes, covers, counts)
    };
    let holding = |bytes: &[u8]| Items::none().list_that_states(1, &flat, bytes, 9, &[2]);
    let cut = &flat.bytes[..flat.bytes.len() - 1];
    for (name, comment, expect, list) in [
        (
            "items-too-many",
            "more items than a list may have",
            "value: items",
            Items::none().list(1, &zeros(65_537)),
        ),
        (
            "covers-less",
            "the list covers fewer bytes than it states",
            "value: items",
            stating(1, &flat, 10, &[2]),
        ),
        (
            "covers-more",
            "the list covers more bytes than it states",
            "value: items",
            stating(1, &flat, 8, &[2]),
        ),
        (
            "counts-less",
            "the list holds fewer chunks than it states",
            "value: chunks below the list",
            stating(1, &flat, 9, &[3]),
        ),
        (
            "counts-more",
            "the list holds more chunks than it states",
            "value: chunks below the list",
            stating(1, &flat, 9, &[1]),
        ),
        (
            "counts-below",
            "the list below holds other chunks than this one states",
            "value: chunks below the list",
            stating(2, &mixed, 11, &[3, 2]),
        ),
        (
            "whole",
            "\"whole\" in a list",
            "value: items",
            holding(&[0]),
        ),
        (
            "item-kind",
            "an unknown kind of item",
            "value: item kind",
            holding(&[4]),
        ),
        (
            "cut",
            "the last item is cut short",
            "truncated: chunk hash",
            holding(cut),
        ),
        (
            "behind",
            "a byte behind the last item",
            "truncated: length of the zero run",
            holding(&[&flat.bytes[..], &[3]].concat()),
        ),
        (
            "same-level",
            "a list of its own level",
            "value: list level",
            stating(1, &Items::none().list(1, &flat), 9, &[2]),
        ),
        (
            "higher-level",
            "a list of a higher level",
            "value: list level",
            stating(1, &high, 11, &[3]),
        ),
        (
            "level-missing",
            "no list of the level below",
            "value: list level",
            stating(2, &flat, 9, &[2, 0]),
        ),
        (
            "level-skipped",
            "lists, but none of the level below",
            "value: list level",
            stating(3, &Items::none().list(1, &flat), 9, &[2, 1, 0]),
        ),
        (
            "overflow",
            "items that add up beyond 64 bits",
            "value: items",
            holding(&[zeros_item(u64::MAX), zeros_item(10)].concat()),
        ),
    ] {
        made.add(name, vector(comment, expect, &list));
    }
    made
}
