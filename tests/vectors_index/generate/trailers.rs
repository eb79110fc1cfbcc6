//! Trailers: sections, padding, seal, and what the summary says.

use super::super::write::{
    ASIDE, Archive, IN_PLACE, Index, Items, MEMBER, Record, TAIL, end, field, seal,
};
use super::{Made, header, prefix_faults};

/// A member of zeros and two zero blocks: an index that needs no brick.
pub fn archive() -> Archive {
    let record = Record::new(MEMBER, Items::none().zeros(5));
    let size = record.bytes().len() as u64;
    Archive::default()
        .step(IN_PLACE, &header(b"name", size), &record)
        .end()
}

pub fn trailers() -> Made {
    let mut made = Made::new("index-trailer");
    let archive = archive();
    let plain = || archive.plain();
    made.plain("good", "an index without bricks", &plain(), &archive);
    let head = plain().head;
    for (name, comment, expect, head) in prefix_faults(&head, 0) {
        let index = plain().with(|index| index.head = head);
        if expect == "ok" {
            made.plain(name, comment, &index, &archive);
        } else {
            made.refused(name, comment, expect, &index);
        }
    }
    read(&mut made, &archive);
    for (name, comment, expect, change) in [
        (
            "own-offset",
            "the trailer says that it stands elsewhere",
            "value: own offset",
            Box::new(|index: &mut Index| index.offset = Some(512)) as Box<dyn Fn(&mut Index)>,
        ),
        (
            "zero-blocks",
            "a byte other than zero before the trailer",
            "value: zero blocks",
            Box::new(|index| index.zero_blocks[1023] = 1),
        ),
        (
            "zero-block-one",
            "one zero block before the trailer",
            "value: length of the members part",
            Box::new(|index| index.zero_blocks.truncate(512)),
        ),
        (
            "zero-blocks-three",
            "three zero blocks before the trailer",
            "value: length of the members part",
            Box::new(|index| index.zero_blocks.resize(1536, 0)),
        ),
        (
            "critical-section",
            "an unknown critical section",
            "critical field: magic",
            Box::new(|index| index.sections.insert(2, (*b"LATE", 1, Vec::new()))),
        ),
        (
            "section-beyond",
            "a section that ends behind the seal",
            "truncated: length",
            Box::new(|index| index.sections[3].2 = vec![0; 0]),
        ),
        (
            "done-missing",
            "nothing ends the sections",
            "truncated: flags",
            Box::new(|index| drop(index.sections.pop())),
        ),
        (
            "done-length",
            "the section that ends all has a payload",
            "value: length of DONE",
            Box::new(|index| index.section(*b"DONE").push(0)),
        ),
        (
            "padding",
            "a byte other than zero behind the sections",
            "value: padding",
            Box::new(|index| {
                let length = index.bytes().len();
                let mut padding = Vec::new();
                while index
                    .clone()
                    .with(|index| index.padding = Some(padding.clone()))
                    .bytes()
                    .len()
                    < length
                {
                    padding.push(0);
                }
                *padding.last_mut().unwrap() = 1;
                index.padding = Some(padding);
            }),
        ),
        (
            "padding-block",
            "512 zero bytes more than needed behind the sections",
            "value: padding",
            Box::new(|index| {
                let length = index.bytes().len() + 512;
                let mut padding = Vec::new();
                while index
                    .clone()
                    .with(|index| index.padding = Some(padding.clone()))
                    .bytes()
                    .len()
                    < length
                {
                    padding.push(0);
                }
                index.padding = Some(padding);
            }),
        ),
    ] {
        let mut bytes = plain().with(|index| change(index)).bytes();
        if name == "section-beyond" {
            bytes = beyond(&archive);
        }
        made.bad(name, comment, expect, &bytes, &[]);
    }
    for magic in [*b"SUMM", *b"RECS", *b"MAPS", *b"BRIK"] {
        let name = str::from_utf8(&magic).unwrap();
        let lower = name.to_ascii_lowercase();
        let missing = plain().with(|index| {
            let place = index.place(magic);
            index.sections.remove(place);
        });
        made.refused(
            &format!("missing-{lower}"),
            &format!("no section {name}"),
            "value: sections",
            &missing,
        );
        let twice = plain().with(|index| {
            let place = index.place(magic);
            let section = index.sections[place].clone();
            index.sections.insert(place, section);
        });
        made.refused(
            &format!("twice-{lower}"),
            &format!("two sections {name}"),
            "value: sections",
            &twice,
        );
    }
    seals(&mut made, &plain());
    made
}

/// What a reader overlooks.
fn read(made: &mut Made, archive: &Archive) {
    let plain = || archive.plain();
    let skipped = plain().with(|index| {
        for place in [0, 2, 4] {
            let late = (*b"LATE", 0xffff_fffe, b"later".to_vec());
            index.sections.insert(place, late);
        }
    });
    made.plain(
        "skippable-section",
        "unknown sections are skipped, and may stand more than once",
        &skipped,
        archive,
    );
    let flags = |bits: u32| {
        plain().with(|index| {
            for section in &mut index.sections {
                section.1 = bits;
            }
        })
    };
    made.plain("flags", "all flags are set", &flags(u32::MAX), archive);
    made.plain("flags-none", "no flag is set", &flags(0), archive);
    let order = plain().with(|index| index.sections[..4].reverse());
    made.plain("order", "sections in another order", &order, archive);
}

/// An index with a section whose length goes beyond the seal.
fn beyond(archive: &Archive) -> Vec<u8> {
    let mut bytes = archive.plain().bytes();
    let place = bytes.windows(4).position(|magic| magic == b"BRIK").unwrap();
    bytes[place + 8..place + 16].copy_from_slice(&u64::MAX.to_le_bytes());
    reseal(&mut bytes);
    bytes
}

/// Makes the seal right again.
fn reseal(bytes: &mut [u8]) {
    let at = bytes.len() - 96;
    let (before, behind) = bytes.split_at_mut(at);
    let (place, end) = behind.split_at_mut(32);
    place.copy_from_slice(&seal(1, before, end));
}

/// An index whose verbatim run holds what looks like a trailer, and the same with an end
/// that leads there. All that differs stands behind the seal.
fn trailer_in_the_stream() -> (Archive, Vec<u8>, Vec<u8>) {
    const RUN: usize = 8 * 512;
    let tail = || Record::new(TAIL, Items::none().zeros(1024));
    let first = header(b"name", 0);
    let inner = Archive::default().step(ASIDE, &first, &tail()).plain();
    let done = inner.bytes().windows(4).position(|magic| magic == b"DONE");
    let inner = &inner.bytes()[..done.unwrap()];
    let holding = |skipped: usize| {
        // Skips all between itself and the section `DONE` of the real trailer.
        let skip = [&b"SKIP\0\0\0\0"[..], &(skipped as u64).to_le_bytes()].concat();
        let mut run = [inner, &skip].concat();
        run.resize(RUN, 0);
        Archive::default().step(ASIDE, &run, &tail())
    };
    let bytes = holding(0).plain().bytes();
    let done = bytes.windows(4).rposition(|magic| magic == b"DONE");
    let archive = holding(done.unwrap() - inner.len() - 16);
    let bytes = archive.plain().bytes();
    let (length, offset) = (bytes.len() as u64, first.len() as u64 + 1024);
    let end = end([offset, length - 64 - offset, length, 0], |_| ());
    let altered = [&bytes[..bytes.len() - 64], &end].concat();
    (archive, bytes, altered)
}

fn seals(made: &mut Made, plain: &Index) {
    let (holding, bytes, altered) = trailer_in_the_stream();
    made.good(
        "trailer-inside",
        "the stream holds what looks like a trailer",
        &bytes,
        &[],
        &holding,
    );
    made.bad(
        "end-elsewhere",
        "the end leads to what looks like a trailer in the stream; the seal covers the end",
        "index altered",
        &altered,
        &[],
    );
    let good = plain.bytes();
    let seal_at = good.len() - 96;
    let tail = archive().members.len();
    for (name, comment, place) in [
        ("seal", "a damaged seal", seal_at),
        ("seal-last", "a damaged last byte of the seal", seal_at + 31),
        ("altered-name", "a member's name was altered", 0),
        ("altered-size", "a member's size was altered", 134),
        ("altered-record", "the hash of a body was altered", 512 + 26),
        (
            "altered-trailer",
            "the length of the stream was altered",
            tail + 1024 + 24 + 16 + 40,
        ),
    ] {
        let mut bytes = good.clone();
        bytes[place] ^= 1;
        made.bad(name, comment, "index altered", &bytes, &[]);
    }
    let other = plain.clone().with(|index| index.sealed_epoch = 2);
    made.refused(
        "seal-epoch",
        "sealed with the key of another epoch than the summary's",
        "index altered",
        &other,
    );
    for (name, comment, expect, bytes) in [
        (
            "no-end",
            "cut before its last 64 bytes",
            "incomplete index",
            good[..seal_at + 32].to_vec(),
        ),
        (
            "no-trailer",
            "cut before the zero blocks",
            "incomplete index",
            good[..tail].to_vec(),
        ),
        (
            "no-record",
            "no record and no end",
            "not a dtar index",
            good[..512].to_vec(),
        ),
        ("empty", "no bytes", "not a dtar index", Vec::new()),
        (
            "text",
            "something else",
            "not a dtar index",
            b"not an index\n".repeat(100),
        ),
        (
            "half",
            "the first half of it is missing",
            "value: index length",
            good[512..].to_vec(),
        ),
        (
            "behind",
            "a block behind the end",
            "incomplete index",
            [&good[..], &[0; 512]].concat(),
        ),
    ] {
        made.bad(name, comment, expect, &bytes, &[]);
    }
    let marked = Archive::default().step(
        super::super::write::MARKER,
        &[],
        &Record::new(super::super::write::OPAQUE, Items::none().zeros(700)),
    );
    made.bad(
        "no-end-marker",
        "an opaque marker and no end",
        "incomplete index",
        &marked.members,
        &[],
    );
}

pub fn summaries() -> Made {
    let mut made = Made::new("index-summary");
    let archive = archive();
    let summary = archive.summary();
    let with = |summary: Vec<u8>| archive.plain().with_section(*b"SUMM", summary);
    let put = |offset: usize, bytes: &[u8]| {
        let mut summary = summary.clone();
        summary[offset..offset + bytes.len()].copy_from_slice(bytes);
        summary
    };
    made.plain("good", "all as it is", &with(summary.clone()), &archive);
    made.plain(
        "reserved",
        "reserved bytes are ignored",
        &with(put(36, &[0xff; 4])),
        &archive,
    );
    let skipped = [&summary[..], &field(127, b"later")].concat();
    made.plain(
        "skippable-field",
        "an unknown field is skipped",
        &with(skipped),
        &archive,
    );
    let length = archive.stream.len() as u64;
    let members = archive.members.len() as u64;
    for (name, comment, expect, summary) in [
        (
            "cut",
            "cut short",
            "truncated: number of members",
            summary[..79].to_vec(),
        ),
        (
            "critical-field",
            "an unknown critical field",
            "critical field: field tag",
            [&summary[..], &field(128, b"")].concat(),
        ),
        (
            "repeated-field",
            "a field twice",
            "value: field tag",
            [&summary[..], &field(3, b""), &field(3, b"")].concat(),
        ),
        (
            "field-beyond",
            "a field beyond the section",
            "truncated: field length",
            [&summary[..], &[3, 1]].concat(),
        ),
        (
            "other-store",
            "an index of another store, whose seal would not verify either",
            "other store",
            put(0, b"?"),
        ),
        (
            "other-key",
            "made with another key",
            "wrong key",
            put(16, b"?"),
        ),
        (
            "epoch",
            "another epoch gives another key",
            "index altered",
            put(32, &2_u32.to_le_bytes()),
        ),
        (
            "stream-less",
            "a shorter stream than the steps yield",
            "other stream",
            put(40, &(length - 1).to_le_bytes()),
        ),
        (
            "stream-more",
            "a longer stream than the steps yield",
            "other stream",
            put(40, &(length + 1).to_le_bytes()),
        ),
        (
            "members-less",
            "a shorter members part",
            "value: length of the members part",
            put(64, &(members - 512).to_le_bytes()),
        ),
        (
            "members-more",
            "a longer members part",
            "value: length of the members part",
            put(64, &(members + 512).to_le_bytes()),
        ),
        (
            "members-overflow",
            "a members part beyond 64 bits",
            "value: length of the members part",
            put(64, &u64::MAX.to_le_bytes()),
        ),
        (
            "count-less",
            "fewer members than the steps have",
            "value: map",
            put(72, &0_u64.to_le_bytes()),
        ),
        (
            "count-more",
            "more members than the steps have",
            "value: map",
            put(72, &2_u64.to_le_bytes()),
        ),
    ] {
        let index = with(summary).bytes();
        made.bad(name, comment, expect, &index, &[]);
    }
    // The bytes are out before the last hash is known.
    let index = with(put(48, &[0; 16])).bytes();
    let vector = super::index_vector("another XXH3 of the stream", "other stream", &index, &[]);
    let stream = super::to_tokens(&archive.stream);
    made.add("xxh3", vector.with("stream", stream));
    let none = Archive::default().step(ASIDE, &[], &Record::new(TAIL, Items::none()));
    made.plain("empty", "a stream of no bytes", &none.plain(), &none);
    made
}
