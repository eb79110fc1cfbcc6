//! Copies of lists: where they lie, and what they are good for.

use super::super::write::{
    ASIDE, Archive, IN_PLACE, Index, Items, MEMBER, Record, Section, TAIL, UsedFrame, brick,
    brick_entry, hints as payload,
};
use super::{Made, header};
use crate::forge::uv;

/// A stream with lists of two levels, and its bricks: chunks, lists, copies.
struct Listed {
    archive: Archive,
    chunks: Vec<u8>,
    lists: Vec<u8>,
    copies: Vec<u8>,
    used: [UsedFrame; 3],
    /// What the last brick should hold.
    right: Vec<Vec<u8>>,
}

/// The places of the copies, level by level.
const LEVEL_1: &[[u64; 3]] = &[[2, 0, 2]];
const LEVEL_2: &[[u64; 3]] = &[[2, 2, 1]];

fn section(payload: Vec<u8>) -> Section {
    (*b"COPY", 0, payload)
}

fn both() -> Vec<Section> {
    vec![
        section(payload(1, &[LEVEL_1])),
        section(payload(2, &[LEVEL_2])),
    ]
}

fn inverted(list: &[u8]) -> Vec<u8> {
    list.iter().map(|byte| byte ^ 0xff).collect()
}

fn damaged(brick: &[u8]) -> Vec<u8> {
    let mut bytes = brick.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    bytes
}

impl Listed {
    fn new() -> Self {
        let first = Items::none().chunk(b"one").zeros(3).chunk(b"two");
        let second = Items::none().chunk(b"three").chunk(b"one");
        let outer = Items::none()
            .list(1, &first)
            .chunk(b"four")
            .list(1, &second);
        let record = Record::new(MEMBER, Items::none().list(2, &outer));
        let archive = Archive::default()
            .step(IN_PLACE, &header(b"name", 100), &record)
            .step(ASIDE, &[], &Record::new(TAIL, Items::none()));
        let mut chunks = archive.chunks();
        // Of four chunks; the lists of level 1 and the one of level 2 follow.
        let lists = chunks.split_off(4);
        assert_eq!(lists.len(), 3);
        let right: Vec<_> = lists.iter().map(|list| inverted(list)).collect();
        let (chunks, first) = brick(&chunks);
        let (lists, second) = brick(&lists);
        let (copies, third) = brick(&right);
        Self {
            archive,
            chunks,
            lists,
            copies,
            used: [first, second, third],
            right,
        }
    }

    /// The index with these sections, if these are the bricks.
    fn index(&self, bricks: [&[u8]; 3], copies: Vec<Section>) -> Index {
        let table = bricks.iter().zip(&self.used).flat_map(|(brick, used)| {
            let length = used[1] + used[2];
            brick_entry(blake3::hash(brick).as_bytes(), length, &[*used])
        });
        let hints = vec![
            payload(0, &[&[[0, 0, 4], [0, 0, 1]]]),
            payload(1, &[&[[1, 0, 2]]]),
            payload(2, &[&[[1, 2, 1]]]),
        ];
        let table = [uv(3), table.collect()].concat();
        self.archive.index(table, hints).with(|index| {
            let done = index.sections.pop().unwrap();
            index.sections.extend(copies);
            index.sections.push(done);
        })
    }

    fn sound(&self) -> [&[u8]; 3] {
        [&self.chunks, &self.lists, &self.copies]
    }
}

/// Vectors of `index-hints`.
pub fn hints(made: &mut Made) {
    let listed = Listed::new();
    let bricks = listed.sound();
    let with = |copies: Vec<Section>| listed.index(bricks, copies).bytes();
    let [first, second] = [both().remove(0), both().remove(1)];
    let critical = both()
        .into_iter()
        .map(|(magic, _, bytes)| (magic, 1, bytes));
    for (name, comment, copies) in [
        ("copies", "copies of lists of two levels", both()),
        (
            "copies-critical",
            "the places of copies are critical",
            critical.collect(),
        ),
        (
            "copies-pages",
            "a page a copy",
            vec![
                section(payload(1, &[&[[2, 0, 1]], &[[2, 1, 1]]])),
                second.clone(),
            ],
        ),
        (
            "copies-of-one-level",
            "no copies of the lists of level 1",
            vec![second.clone()],
        ),
        ("copies-none", "no copies", Vec::new()),
    ] {
        let index = with(copies);
        made.good(name, comment, &index, &bricks, &listed.archive);
    }
    let other = |level: u8, runs: &[[u64; 3]]| section(payload(level, &[runs]));
    for (name, comment, expect, copies) in [
        (
            "copies-fewer",
            "fewer copies than lists",
            "value: copies",
            vec![other(1, &[[2, 0, 1]]), second.clone()],
        ),
        (
            "copies-more",
            "more copies than lists",
            "value: copies",
            vec![other(1, &[[2, 0, 3]]), second.clone()],
        ),
        (
            "copies-no-lists",
            "copies of lists of a level that does not occur",
            "value: copies",
            [both(), vec![other(3, LEVEL_2)]].concat(),
        ),
        (
            "copies-twice",
            "copies of the lists of a level twice",
            "value: level",
            vec![first.clone(), first.clone(), second.clone()],
        ),
        (
            "copies-order",
            "copies of level 2 before those of level 1",
            "value: level",
            vec![second.clone(), first.clone()],
        ),
        (
            "copies-level-0",
            "copies of chunks that are no lists",
            "value: level",
            [vec![other(0, &[[2, 0, 5]])], both()].concat(),
        ),
        (
            "copies-level-8",
            "copies of lists of a level that none has",
            "value: level",
            [both(), vec![other(8, LEVEL_2)]].concat(),
        ),
    ] {
        made.bad(name, comment, expect, &with(copies), &bricks);
    }
    let behind = [payload(2, &[LEVEL_2]), vec![0]].concat();
    for (name, comment, expect, level_2) in [
        (
            "copies-frame-beyond",
            "a copy in a frame that the table of bricks lacks",
            "value: frame ordinal in the hints",
            payload(2, &[&[[3, 2, 1]]]),
        ),
        (
            "copies-behind",
            "a byte behind the last page of copies",
            "value: page",
            behind,
        ),
    ] {
        let index = with(vec![first.clone(), section(level_2)]);
        made.late(name, comment, expect, &index, &bricks, &listed.archive);
    }
}

/// Vectors of `index-restore`.
pub fn restores(made: &mut Made) {
    let listed = Listed::new();
    let [chunks, lists, copies] = listed.sound();
    let no_lists = damaged(lists);
    let no_copies = damaged(copies);
    for (name, comment, bricks, there) in [
        (
            "lists-damaged",
            "the frame of the lists is damaged: they are read from their copies",
            [chunks, &no_lists, copies],
            vec![chunks, &no_lists, copies],
        ),
        (
            "lists-missing",
            "the brick of the lists is missing: they are read from their copies",
            [chunks, lists, copies],
            vec![chunks, copies],
        ),
        (
            "copies-damaged",
            "the frame of the copies is damaged, and they are not needed",
            [chunks, lists, &no_copies],
            vec![chunks, lists, &no_copies],
        ),
    ] {
        let index = listed.index(bricks, both()).bytes();
        made.good(name, comment, &index, &there, &listed.archive);
    }
    let without = listed.index([chunks, &no_lists, copies], Vec::new());
    made.late(
        "lists-without-copies",
        "the frame of the lists is damaged, and there are no copies",
        "damaged frame",
        &without.bytes(),
        &[chunks, &no_lists],
        &listed.archive,
    );
    let with_copies = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut copies = listed.right.clone();
        change(&mut copies);
        brick(&copies)
    };
    let plain = with_copies(&|copies| copies[2] = inverted(&copies[2]));
    let marked = with_copies(&|copies| copies[2][0] = 2);
    let other = with_copies(&|copies| *copies[2].last_mut().unwrap() ^= 1);
    let shorter = with_copies(&|copies| copies[2] = copies[2].split_last().unwrap().1.to_vec());
    let exchanged = with_copies(&|copies| copies.swap(0, 1));
    let fewer = with_copies(&|copies| copies.truncate(2));
    for (name, comment, (last, used)) in [
        (
            "copy-damaged",
            "list and copy are in damaged frames",
            (no_copies.clone(), listed.used[2]),
        ),
        ("copy-plain", "the list itself in place of its copy", plain),
        ("copy-kind", "a copy that begins like a list", marked),
        ("copy-other", "a copy of another list", other),
        ("copy-shorter", "a copy without its last byte", shorter),
        ("copy-exchanged", "copies in each other's places", exchanged),
        ("copy-place", "no copy in the place that is named", fewer),
    ] {
        let changed = Listed {
            used: [listed.used[0], listed.used[1], used],
            ..Listed::new()
        };
        let bricks: [&[u8]; 3] = [chunks, &no_lists, &last];
        let index = changed.index(bricks, both()).bytes();
        made.late(
            name,
            comment,
            "list and copy",
            &index,
            &bricks,
            &listed.archive,
        );
    }
}
