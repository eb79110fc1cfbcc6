//! Body records, lists, and the runs that records correct.

use super::super::forge::uv;
use super::super::tokens::to_tokens;
use super::super::vector::{Vector, hex};
use super::super::write::{
    Items, MEMBER, OPAQUE, Record, TAIL, chunk_item, field, list_item, patches, zeros_item,
};
use super::{Made, prefix_faults};

const MIB: u64 = 1 << 20;

/// A record that is read, and what it says.
struct Good {
    record: Record,
    items: Vec<String>,
    lines: Vec<(&'static str, String)>,
    padding: Vec<u8>,
}

fn good(record: Record, items: &[String]) -> Good {
    let length = record.body_length.unwrap_or(record.items.body.len() as u64);
    let padding = match record.kind {
        MEMBER => vec![0; (length.wrapping_neg() % 512) as usize],
        _ => Vec::new(),
    };
    Good {
        record,
        items: items.to_vec(),
        lines: Vec::new(),
        padding,
    }
}

impl Good {
    fn line(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.lines.push((key, value.into()));
        self
    }

    fn padding(self, padding: &[u8]) -> Self {
        let padding = padding.to_vec();
        Self { padding, ..self }
    }

    fn vector(&self, comment: &str, bytes: &[u8]) -> Vector {
        let Record { kind, forms, .. } = self.record;
        let body = &self.record.items.body;
        let hash = self
            .record
            .hash
            .unwrap_or_else(|| blake3::hash(body).into());
        let length = self.record.body_length.unwrap_or(body.len() as u64);
        let mut vector = Vector::new(comment, "ok")
            .with("record", to_tokens(bytes))
            .with("kind", ["member", "opaque", "tail"][usize::from(kind)])
            .with("forms", format!("{} {}", forms[0], forms[1]))
            .with("body-length", length)
            .with_hex("body-hash", hash);
        for item in &self.items {
            vector = vector.with("item", item);
        }
        vector = vector.with("padding", to_tokens(&self.padding));
        for (key, value) in &self.lines {
            vector = vector.with(key, value);
        }
        vector
    }
}

pub(super) fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

pub(super) fn hello() -> Record {
    Record::new(MEMBER, Items::none().whole(b"hello")).forms(1, 1)
}

/// A record of these items' bytes, whose body's length is `covers`.
pub(super) fn of(item: &[u8], covers: u64) -> Record {
    Record {
        body_length: Some(covers),
        ..Record::new(MEMBER, Items::none().raw(item, 0))
    }
}

pub fn records() -> Made {
    let mut made = Made::new("body-record");
    read(&mut made);
    let bytes = hello().bytes();
    let whole = || good(hello(), &["whole".into()]);
    for (name, comment, expect, bytes) in prefix_faults(&bytes, 0) {
        if expect == "ok" {
            let vector = whole().line("not-written", "yes").vector(comment, &bytes);
            made.add(name, vector);
        } else {
            let vector = Vector::new(comment, expect).with("record", to_tokens(&bytes));
            made.add(name, vector);
        }
    }
    for (name, comment, place, value) in [
        ("reserved", "the reserved byte is ignored", 23, vec![0xff]),
        (
            "skippable-field",
            "an unknown field is skipped",
            usize::MAX,
            field(127, b"later"),
        ),
    ] {
        let mut bytes = bytes.clone();
        if place < bytes.len() {
            bytes[place] = value[0];
        } else {
            let record = hello().fields(&[value]);
            bytes = record.bytes();
        }
        let vector = whole().line("not-written", "yes").vector(comment, &bytes);
        made.add(name, vector);
    }
    broken_heads(&mut made, &bytes);
    broken_items(&mut made);
    broken_fields(&mut made);
    made
}

/// Records that are read.
fn read(made: &mut Made) {
    let chunk = |bytes: &[u8]| format!("chunk {} {}", bytes.len(), hash(bytes));
    let mib = vec![b'm'; 1 << 20];
    let inner = Items::none().chunk(b"one").zeros(3).chunk(b"two");
    let list = Items::none().list(1, &inner);
    let deep = (2..=7).fold(list.clone(), |items, level| {
        Items::none().list(level, &items)
    });
    let list_line = format!(
        "list level 1 length {} {} covers 9 below 2",
        inner.bytes.len(),
        hash(&inner.bytes)
    );
    let deep_line = format!(
        "list level 7 length {} {} covers 9 below 2 1 1 1 1 1 1",
        deep.uses[0].1.len(),
        hash(&deep.uses[0].1)
    );
    let member = |items| Record::new(MEMBER, items);
    let many = (0..65_536).fold(Items::none(), |items, _| items.zeros(1));
    for (name, comment, good) in [
        (
            "whole",
            "a body of one chunk",
            good(hello(), &["whole".into()]),
        ),
        (
            "whole-1-mib",
            "the longest body of one chunk",
            good(member(Items::none().whole(&mib)), &["whole".into()]),
        ),
        (
            "empty",
            "a body of no bytes",
            good(member(Items::none()), &[]),
        ),
        (
            "chunks",
            "two chunks, the second as long as a chunk may be",
            good(
                member(Items::none().chunk(b"x").chunk(&mib)),
                &[chunk(b"x"), chunk(&mib)],
            ),
        ),
        (
            "zeros",
            "a zero run of 2^40 bytes between chunks",
            good(
                Record {
                    body_length: Some((1 << 40) + 6),
                    ..member(
                        Items::none()
                            .chunk(b"one")
                            .raw(&zeros_item(1 << 40), 0)
                            .chunk(b"two"),
                    )
                },
                &[
                    chunk(b"one"),
                    format!("zeros {}", 1_u64 << 40),
                    chunk(b"two"),
                ],
            ),
        ),
        ("list", "a list", good(member(list), &[list_line])),
        (
            "list-level-7",
            "a list of the highest level",
            good(member(deep), &[deep_line]),
        ),
        (
            "items-many",
            "as many items as a record may have",
            good(member(many), &["65536 times zeros 1".into()]),
        ),
        (
            "opaque",
            "an opaque run: nothing follows the body",
            good(
                Record::new(OPAQUE, Items::none().whole(b"junk")),
                &["whole".into()],
            ),
        ),
        (
            "tail",
            "the tail: nothing follows the body",
            good(
                Record::new(TAIL, Items::none().zeros(1000)),
                &["zeros 1000".into()],
            ),
        ),
        (
            "block",
            "a body that fills a block: nothing follows",
            good(member(Items::none().zeros(512)), &["zeros 512".into()]),
        ),
        (
            "padding",
            "padding other than zeros, as long as it may be",
            good(hello().fields(&[field(129, &[7; 511])]), &["whole".into()]).padding(&[7; 511]),
        ),
        (
            "padding-none",
            "an empty padding: nothing follows the body",
            good(hello().fields(&[field(129, b"")]), &["whole".into()]).padding(b""),
        ),
        (
            "declared",
            "the stream ended before the declared length: nothing follows the body",
            good(hello().fields(&[field(130, &uv(6))]), &["whole".into()])
                .padding(b"")
                .line("declared", "6"),
        ),
        (
            "declared-padding",
            "a padding counts even beside a declared length",
            good(
                hello().fields(&[field(129, b"p"), field(130, &uv(6))]),
                &["whole".into()],
            )
            .padding(b"p")
            .line("declared", "6"),
        ),
        (
            "tail-padding",
            "a padding counts whatever the kind",
            good(
                Record::new(TAIL, Items::none()).fields(&[field(129, b"p")]),
                &[],
            )
            .padding(b"p"),
        ),
        (
            "patches",
            "patches that touch, up to the run's last byte",
            good(
                hello().fields(&[patches(&[(33_554_432, b"ab"), (7, b"cde"), (4, b"fghi")])]),
                &["whole".into()],
            )
            .line("patch", format!("33554432 {}", hex(b"ab")))
            .line("patch", format!("7 {}", hex(b"cde")))
            .line("patch", format!("4 {}", hex(b"fghi"))),
        ),
    ] {
        // Not in the order in which the library writes fields.
        let vector = good.vector(comment, &good.record.bytes());
        made.add(name, vector);
    }
}

fn broken_heads(made: &mut Made, bytes: &[u8]) {
    let put = |offset: usize, value: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes[offset..offset + value.len()].copy_from_slice(value);
        bytes
    };
    let length = u32::try_from(bytes.len()).unwrap();
    for (name, comment, expect, bytes) in [
        (
            "cut-length",
            "cut in the length",
            "truncated: record length",
            bytes[..19].to_vec(),
        ),
        (
            "length-long",
            "a record of more than 1 MiB",
            "value: record length",
            put(16, &1_048_577_u32.to_le_bytes()),
        ),
        (
            "length-short",
            "a length without room for the record's head",
            "value: record length",
            put(16, &57_u32.to_le_bytes()),
        ),
        (
            "length-more",
            "a length beyond the bytes that are there",
            "value: record length",
            put(16, &(length + 1).to_le_bytes()),
        ),
        ("kind", "an unknown kind", "value: kind", put(20, &[3])),
        (
            "size-form",
            "an unknown size form",
            "value: size form",
            put(21, &[4]),
        ),
        (
            "checksum-form",
            "an unknown checksum form",
            "value: checksum form",
            put(22, &[5]),
        ),
    ] {
        let vector = Vector::new(comment, expect).with("record", to_tokens(&bytes));
        made.add(name, vector);
    }
}

fn broken_items(made: &mut Made) {
    let whole = |length| Record {
        body_length: Some(length),
        ..hello()
    };
    let hash = [9; 32];
    let many = (0..65_537).fold(Items::none(), |items, _| items.zeros(1));
    for (name, comment, expect, record) in [
        (
            "body-length-longer-form",
            "a body length not in its shortest form",
            "value: body length",
            // Behind it everything stands one byte further.
            Record::new(MEMBER, Items::none()),
        ),
        (
            "items-more",
            "more items than there are",
            "truncated: item kind",
            Record {
                count: Some(2),
                ..hello()
            },
        ),
        (
            "items-beyond",
            "more items than a record may have, and than there are",
            "value: number of items",
            Record {
                count: Some(65_537),
                ..hello()
            },
        ),
        (
            "items-too-many",
            "more items than a record may have",
            "value: number of items",
            Record::new(MEMBER, many),
        ),
        (
            "item-kind",
            "an unknown kind of item",
            "value: item kind",
            of(&[4], 5),
        ),
        (
            "whole-and-more",
            "\"whole\" beside another item",
            "value: items",
            Record::new(MEMBER, Items::none().whole(b"hello").zeros(1)),
        ),
        (
            "whole-empty",
            "\"whole\" of no bytes",
            "value: body length",
            whole(0),
        ),
        (
            "whole-long",
            "\"whole\" of more than 1 MiB",
            "value: body length",
            whole(MIB + 1),
        ),
        (
            "chunk-empty",
            "a chunk of no bytes",
            "value: chunk length",
            of(&chunk_item(0), 0),
        ),
        (
            "chunk-long",
            "a chunk of more than 1 MiB",
            "value: chunk length",
            of(&chunk_item(MIB + 1), MIB + 1),
        ),
        (
            "chunk-cut",
            "a chunk whose hash is cut short",
            "truncated: chunk hash",
            of(&chunk_item(5)[..10], 5),
        ),
        (
            "zeros-none",
            "a zero run of no bytes",
            "value: length of the zero run",
            of(&zeros_item(0), 0),
        ),
        (
            "list-level-0",
            "a list of level 0",
            "value: list level",
            of(&list_item(0, 9, &hash, 9, &[]), 9),
        ),
        (
            "list-level-8",
            "a list of level 8",
            "value: list level",
            of(&list_item(8, 9, &hash, 9, &[1; 8]), 9),
        ),
        (
            "list-empty",
            "a list of no bytes",
            "value: list length",
            of(&list_item(1, 0, &hash, 9, &[1]), 9),
        ),
        (
            "list-long",
            "a list of more than 1 MiB",
            "value: list length",
            of(&list_item(1, MIB + 1, &hash, 9, &[1]), 9),
        ),
        (
            "list-covers-none",
            "a list that covers no bytes",
            "value: bytes covered by the list",
            of(&list_item(1, 9, &hash, 0, &[1]), 0),
        ),
        (
            "list-counts-cut",
            "a list without all its counts",
            "truncated: chunks below the list",
            of(&list_item(2, 9, &hash, 9, &[1]), 9),
        ),
        (
            "sum-less",
            "items that yield less than the body",
            "value: items",
            Record {
                body_length: Some(6),
                ..Record::new(MEMBER, Items::none().zeros(5))
            },
        ),
        (
            "sum-more",
            "items that yield more than the body",
            "value: items",
            Record {
                body_length: Some(4),
                ..Record::new(MEMBER, Items::none().zeros(5))
            },
        ),
        (
            "sum-none",
            "items for an empty body",
            "value: items",
            Record {
                body_length: Some(0),
                ..Record::new(MEMBER, Items::none().zeros(5))
            },
        ),
        (
            "no-items",
            "no items for a body",
            "value: items",
            Record {
                body_length: Some(5),
                ..Record::new(MEMBER, Items::none())
            },
        ),
        (
            "sum-overflow",
            "items that add up beyond 64 bits",
            "value: items",
            Record {
                body_length: Some(4),
                ..Record::new(MEMBER, Items::none().raw(&zeros_item(u64::MAX), 0).zeros(5))
            },
        ),
    ] {
        let mut bytes = record.bytes();
        if name == "body-length-longer-form" {
            bytes.splice(24..25, [0x80, 0]);
            let length = u32::try_from(bytes.len()).unwrap();
            bytes[16..20].copy_from_slice(&length.to_le_bytes());
        }
        let vector = Vector::new(comment, expect).with("record", to_tokens(&bytes));
        made.add(name, vector);
    }
}

fn broken_fields(made: &mut Made) {
    for (name, comment, expect, fields) in [
        (
            "critical-field",
            "an unknown critical field",
            "critical field: field tag",
            field(131, b""),
        ),
        (
            "critical-field-255",
            "the last critical field",
            "critical field: field tag",
            field(255, b""),
        ),
        (
            "repeated-field",
            "a field twice",
            "value: field tag",
            [field(129, b""), field(129, b"")].concat(),
        ),
        (
            "repeated-unknown-field",
            "an unknown field twice",
            "value: field tag",
            [field(3, b""), field(3, b"")].concat(),
        ),
        (
            "field-beyond",
            "a field beyond the record",
            "truncated: field length",
            vec![3, 1],
        ),
        (
            "field-cut",
            "a field without length",
            "truncated: field length",
            vec![3],
        ),
        (
            "padding-long",
            "padding of 512 bytes",
            "value: padding",
            field(129, &[0; 512]),
        ),
        (
            "declared-same",
            "a declared length that is the body's",
            "value: declared length",
            field(130, &uv(5)),
        ),
        (
            "declared-less",
            "a declared length below the body's",
            "value: declared length",
            field(130, &uv(4)),
        ),
        (
            "declared-more",
            "bytes behind the declared length",
            "value: declared length",
            field(130, &[9, 0]),
        ),
        (
            "declared-none",
            "no declared length",
            "truncated: declared length",
            field(130, b""),
        ),
        (
            "patch-distance-0",
            "a patch behind the run",
            "value: patch distance",
            patches(&[(0, b"x")]),
        ),
        (
            "patch-far",
            "a patch further back than 32 MiB",
            "value: patch distance",
            patches(&[(33_554_433, b"x")]),
        ),
        (
            "patch-empty",
            "a patch of no bytes",
            "value: patch length",
            patches(&[(9, b"")]),
        ),
        (
            "patch-beyond",
            "a patch that ends behind the run",
            "value: patch length",
            patches(&[(2, b"abc")]),
        ),
        (
            "patch-cut",
            "a patch that is cut short",
            "truncated: patch",
            field(128, &[9, 3, 1, 2]),
        ),
        (
            "patches-overlap",
            "patches that overlap",
            "value: patch distance",
            patches(&[(9, b"ab"), (8, b"ab")]),
        ),
        (
            "patches-order",
            "patches out of order",
            "value: patch distance",
            patches(&[(8, b"ab"), (20, b"ab")]),
        ),
        (
            "patches-same",
            "a patch twice",
            "value: patch distance",
            patches(&[(8, b"ab"), (8, b"ab")]),
        ),
    ] {
        let record = hello().fields(&[fields]).bytes();
        let vector = Vector::new(comment, expect).with("record", to_tokens(&record));
        made.add(name, vector);
    }
}
