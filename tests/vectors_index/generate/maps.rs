//! Maps: steps, markers, and the records that go with them.

use super::super::forge::uv;
use super::super::write::{
    ASIDE, Archive, IN_PLACE, Index, Items, MARKER, MEMBER, OPAQUE, Record, TAIL, marker,
};
use super::{Made, header, prefix_faults, trailers};

fn zeros(kind: u8, length: usize) -> Record {
    Record::new(kind, Items::none().zeros(length))
}

fn none(kind: u8) -> Record {
    Record::new(kind, Items::none())
}

fn steps(steps: &[(u64, u64)]) -> Vec<u8> {
    let entry = |(step, repeat): &(u64, u64)| [uv(*step), uv(*repeat)].concat();
    steps.iter().flat_map(entry).collect()
}

pub fn maps() -> Made {
    let mut made = Made::new("index-map");
    let run = header(b"name", 60);
    good(&mut made, &run);
    markers(&mut made, &run);
    kinds(&mut made, &run);

    let archive = trailers::archive();
    let with = |map: Vec<u8>| archive.plain().with_section(*b"MAPS", map);
    for (name, comment, expect, index) in [
        (
            "kind",
            "an unknown kind of step",
            "value: map step",
            with(steps(&[(4 + 3, 1), (1, 1)])),
        ),
        (
            "repeat-none",
            "a step no times",
            "value: map repeat",
            with(steps(&[(4, 0), (4, 1), (1, 1)])),
        ),
        (
            "step-longer-form",
            "a step not in its shortest form",
            "value: map step",
            with([&[0x84, 0, 1][..], &steps(&[(1, 1)])].concat()),
        ),
        (
            "repeat-longer-form",
            "a number of steps not in its shortest form",
            "value: map repeat",
            with([&[4, 0x81, 0][..], &steps(&[(1, 1)])].concat()),
        ),
        (
            "cut",
            "a step without its number",
            "truncated: map repeat",
            with([steps(&[(4, 1)]), vec![1]].concat()),
        ),
        (
            "run-long",
            "a run of more than 65,536 blocks",
            "value: map",
            with(steps(&[(65_537 * 4, 1), (1, 1)])),
        ),
        (
            "run-longest",
            "a run of as many blocks as there may be",
            "value: map",
            with(steps(&[(u64::MAX - 3, 1), (1, 1)])),
        ),
        (
            "run-beyond",
            "a run beyond the members part",
            "truncated: length",
            with(steps(&[(3 * 4, 1), (1, 1)])),
        ),
        (
            "run-less",
            "a run that ends before its record",
            "magic: magic",
            with(steps(&[(0, 1), (1, 1)])),
        ),
        (
            "repeat-beyond",
            "more equal steps than fit the members part",
            "truncated: length",
            with(steps(&[(4, 2), (1, 1)])),
        ),
        (
            "repeat-many",
            "2^64 − 1 equal steps",
            "truncated: record length",
            with(steps(&[(1, u64::MAX)])),
        ),
        ("empty", "no steps", "value: map", with(Vec::new())),
        (
            "tail-missing",
            "the tail's step is missing",
            "value: map",
            with(steps(&[(4, 1)])),
        ),
        (
            "members-left",
            "steps that leave a part of the members over",
            "value: map",
            with(steps(&[(1, 1)])),
        ),
        (
            "behind-tail",
            "a step behind the tail",
            "value: map",
            with(steps(&[(4, 1), (1, 2)])),
        ),
    ] {
        // A second tail for the step behind the first; the steps that are too many take it.
        let index = match name {
            "behind-tail" | "repeat-many" => index.with(|index| {
                let again = index.section(*b"RECS").clone();
                index.section(*b"RECS").extend(again);
            }),
            _ => index,
        };
        let expect = if name == "repeat-many" {
            "value: map"
        } else {
            expect
        };
        made.refused(name, comment, expect, &index);
    }
    let left = archive
        .plain()
        .with(|index| index.section(*b"RECS").extend(none(OPAQUE).bytes()));
    made.refused(
        "records-left",
        "a record that no step uses",
        "value: map",
        &left,
    );
    let behind = archive
        .plain()
        .with(|index| index.section(*b"RECS").push(0));
    made.refused(
        "records-behind",
        "a byte behind the last record",
        "value: map",
        &behind,
    );
    let cut = archive
        .plain()
        .with(|index| index.section(*b"RECS").truncate(50));
    made.refused(
        "records-cut",
        "the last record is cut short",
        "truncated: length",
        &cut,
    );
    let padding = archive
        .plain()
        .with(|index| *index.members.last_mut().unwrap() = 1);
    made.refused(
        "padding",
        "a byte other than zero behind a record in place",
        "value: record",
        &padding,
    );
    made
}

/// Indexes that are read.
fn good(made: &mut Made, run: &[u8]) {
    let long = Archive::default()
        .step(IN_PLACE, run, &none(MEMBER))
        .step(IN_PLACE, run, &none(MEMBER))
        .step(IN_PLACE, run, &zeros(MEMBER, 3))
        .step(ASIDE, run, &zeros(MEMBER, 700))
        .step(ASIDE, &[], &none(MEMBER))
        .step(ASIDE, &[run, run].concat(), &none(OPAQUE))
        .step(MARKER, run, &zeros(OPAQUE, 700))
        .step(MARKER, &[], &none(OPAQUE))
        .step(MARKER, &[], &none(OPAQUE))
        .step(ASIDE, run, &zeros(TAIL, 1025));
    made.plain(
        "all-kinds",
        "every kind of step, with and without a run",
        &long.plain(),
        &long,
    );
    let single: Vec<_> = long.steps.iter().map(|step| (*step, 1)).collect();
    let apart = long.plain().with_section(*b"MAPS", steps(&single));
    made.plain("not-joined", "equal steps one by one", &apart, &long);
    let blocks = vec![b'v'; 512 * 65_536];
    let most = Archive::default()
        .step(ASIDE, &blocks, &none(OPAQUE))
        .step(ASIDE, &[], &none(TAIL));
    made.plain("run-most", "a run of 65,536 blocks", &most.plain(), &most);
}

fn markers(made: &mut Made, run: &[u8]) {
    let archive = Archive::default()
        .step(MARKER, run, &zeros(OPAQUE, 700))
        .end();
    let with = |block: &[u8]| {
        archive.plain().with(|index: &mut Index| {
            let at = index.members.len() - 512;
            index.members[at..].copy_from_slice(block);
        })
    };
    for (name, comment, expect, block) in prefix_faults(&marker(), 0) {
        let name = format!("marker-{name}");
        if expect == "ok" {
            made.plain(&name, comment, &with(&block), &archive);
        } else {
            made.refused(&name, comment, expect, &with(&block));
        }
    }
    let mut block = marker();
    block[511] = 0xfe;
    made.refused(
        "marker-bytes",
        "a marker of other bytes",
        "value: opaque marker",
        &with(&block),
    );
}

/// Records in steps of a kind that they do not go with.
fn kinds(made: &mut Made, run: &[u8]) {
    let end = |archive: Archive| archive.step(ASIDE, &[], &none(TAIL));
    for (name, comment, place, record) in [
        (
            "member-marked",
            "a member's record behind a marker",
            MARKER,
            none(MEMBER),
        ),
        (
            "opaque-in-place",
            "an opaque run's record in place",
            IN_PLACE,
            zeros(OPAQUE, 5),
        ),
        (
            "opaque-in-place-empty",
            "an opaque run's empty record in place",
            IN_PLACE,
            none(OPAQUE),
        ),
        (
            "opaque-unmarked",
            "an opaque run without a marker",
            ASIDE,
            zeros(OPAQUE, 5),
        ),
    ] {
        let archive = end(Archive::default().step(place, run, &record));
        made.refused(name, comment, "value: map", &archive.plain());
    }
    for (name, comment, place) in [
        ("tail-in-place", "the tail in place", IN_PLACE),
        ("tail-marked", "the tail behind a marker", MARKER),
    ] {
        let archive = Archive::default().step(place, run, &zeros(TAIL, 1024));
        made.refused(name, comment, "value: map", &archive.plain());
    }
    for (name, comment, record) in [
        ("last-member", "a member instead of the tail", none(MEMBER)),
        (
            "last-opaque",
            "an empty opaque run instead of the tail",
            none(OPAQUE),
        ),
    ] {
        let archive = Archive::default().step(ASIDE, run, &record);
        made.refused(name, comment, "value: map", &archive.plain());
    }
}
