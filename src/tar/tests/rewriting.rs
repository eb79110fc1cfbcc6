//! Groups rewritten for the index come back.

use proptest::prelude::*;

use super::super::header::tests::{header, seal};
use super::super::header::{CHECKSUM_FIELD, Header, SIZE_FIELD, checksum, signed_checksum};
use super::super::pax::tests::record as pax_record;
use super::super::rewrite::{Placement, Undo, place, restore, write_size};
use super::super::{BLOCK, BodyHead, Padding};
use super::properties::stream;
use super::{Segment, check, split};
use crate::format::record::{Item, Kind, Patch, Record};
use crate::id::ChunkHash;

fn record(body_length: u64, declared: Option<u64>, undo: Undo) -> Record {
    Record {
        kind: Kind::Member,
        size_form: undo.size_form,
        checksum_form: undo.checksum_form,
        body_length,
        body_hash: ChunkHash([7; 32]),
        items: vec![Item::Whole],
        patches: undo.patches,
        padding: None,
        declared,
    }
}

/// What the group, its description and the body of each member are.
fn members(stream: &[u8]) -> Vec<(Vec<u8>, BodyHead, Record)> {
    split(stream)
        .into_iter()
        .filter_map(|segment| match segment {
            Segment::Body {
                member: Some((group, head)),
                body,
                padding,
                ..
            } => {
                let declared = matches!(padding, Padding::Missing(_)).then_some(head.declared);
                let undo = Undo::of(&group, &head);
                let record = record(body.len() as u64, declared, undo);
                Some((group, head, record))
            }
            _ => None,
        })
        .collect()
}

/// The only member of a stream.
fn member(pieces: &[&[u8]]) -> (Vec<u8>, BodyHead, Record) {
    let mut members = members(&pieces.concat());
    assert_eq!(members.len(), 1);
    members.remove(0)
}

/// Rewrites the group and expects that the record restores it, also from the
/// end of a longer run.
fn check_both_ways(group: &[u8], head: &BodyHead, record: &Record) {
    let mut encoded = Vec::new();
    record.encode(&mut encoded);
    let decoded = Record::decode(&encoded).unwrap();
    for length in [encoded.len(), 0, 99, 100, 9_999, 1 << 20] {
        let placement = place(head, length);
        let mut rewritten = vec![9; BLOCK];
        rewritten.extend_from_slice(group);
        write_size(&mut rewritten[BLOCK..], head, placement, length);
        check_in_index(&rewritten[BLOCK..], head, placement, length);
        restore(&mut rewritten, &decoded).unwrap();
        assert!(rewritten[BLOCK..] == *group);
        assert_eq!(rewritten[..BLOCK], [9; BLOCK]);
    }
}

/// Expects the splitter to see in the index what the page says stands there.
fn check_in_index(group: &[u8], head: &BodyHead, placement: Placement, length: usize) {
    let body = vec![b'r'; length.next_multiple_of(BLOCK)];
    let (index, length) = match placement {
        Placement::InPlace => ([group, &body].concat(), length),
        Placement::Aside => (group.to_vec(), 0),
    };
    let segments = split(&index);
    if length == 0 {
        assert!(matches!(&segments[0], Segment::Group(found) if found == group));
        return;
    }
    let Segment::Body {
        member: Some((found, found_head)),
        ..
    } = &segments[0]
    else {
        panic!("no body in the index");
    };
    assert!(found == group);
    assert_eq!(found_head.declared, length as u64);
    assert_eq!(found_head.map_length, head.map_length);
}

proptest! {
    #[test]
    fn every_group_comes_back(stream in stream()) {
        for (group, head, record) in members(&stream) {
            let mut rewritten = group.clone();
            let placement = place(&head, 200);
            write_size(&mut rewritten, &head, placement, 200);
            restore(&mut rewritten, &record).unwrap();
            prop_assert!(rewritten == group);
        }
    }

    #[test]
    fn every_way_to_write_numbers_comes_back(
        size in 1..5_000_u64,
        size_style in 0..6_usize,
        sum_style in 0..9_usize,
        high in any::<bool>(),
    ) {
        let mut block = header(b'0', 0);
        if high {
            block[..9].copy_from_slice(b"\xe4\xf6\xfc\xff\x80abcd");
        }
        let mut binary = [0; 12];
        binary[0] = 0x80;
        binary[4..].copy_from_slice(&size.to_be_bytes());
        block[SIZE_FIELD].copy_from_slice(&match size_style {
            0 => format!("{size:011o}\0").into_bytes(),
            1 => format!("{size:011o} ").into_bytes(),
            2 => format!("{size:012o}").into_bytes(),
            3 => format!("{size:11o} ").into_bytes(),
            4 => format!("{size:07o}\0abcd").into_bytes(),
            _ => binary.to_vec(),
        });
        let unsigned = checksum(&block);
        let signed = signed_checksum(&block).unsigned_abs();
        block[CHECKSUM_FIELD].copy_from_slice(match sum_style {
            0 => format!("{unsigned:06o}\0 "),
            1 => format!("{unsigned:06o} \0"),
            2 => format!("{unsigned:07o}\0"),
            3 => format!("{unsigned:07o} "),
            4 => format!("{unsigned:08o}"),
            5 => format!("{unsigned:6o}\0\0"),
            6 => format!("{signed:06o}\0 "),
            7 => format!("{signed:6o}  "),
            _ => format!("\0{unsigned:06o}\0"),
        }.as_bytes());
        prop_assert!(Header::parse(&block).is_some());
        let body = vec![1; 5_000];
        let segments = split(&[&block[..], &body].concat());
        let Segment::Body { member: Some((group, head)), .. } = &segments[0] else {
            return Err(TestCaseError::fail("no member"));
        };
        let record = record(head.declared, None, Undo::of(group, head));
        prop_assert_eq!(record.size_form, [1, 2, 3, 0, 0, 0][size_style]);
        let same = unsigned == signed && sum_style == 6;
        let form = if same { 1 } else { [1, 2, 3, 4, 0, 0, 0, 0, 0][sum_style] };
        prop_assert_eq!(record.checksum_form, form);
        check_both_ways(group, head, &record);
    }
}

#[test]
fn an_ordinary_member_needs_no_patch() {
    let (group, head, record) = member(&[&header(b'0', 5), &[1; BLOCK]]);
    assert_eq!((record.size_form, record.checksum_form), (1, 1));
    assert_eq!(record.patches, []);
    check_both_ways(&group, &head, &record);
}

#[test]
fn a_cut_body_is_restored_by_what_was_declared() {
    let (group, head, record) = member(&[&header(b'0', 5_000), &[1; BLOCK]]);
    assert_eq!(record.declared, Some(5_000));
    assert_eq!((record.size_form, record.patches.len()), (1, 0));
    check_both_ways(&group, &head, &record);
}

#[test]
fn pax_sizes_are_patched_in_order() {
    let text = [pax_record("size", "0005"), pax_record("size", "00512")].concat();
    let mut body = text.clone();
    body.resize(BLOCK, 0);
    let extension = header(b'x', text.len() as u64);
    let (group, head, record) = member(&[&extension, &body, &header(b'0', 9), &[1; BLOCK]]);
    let patch = |distance, bytes: &[u8]| Patch {
        distance,
        bytes: bytes.to_vec(),
    };
    let length = group.len() as u64;
    assert_eq!(length, 1_536);
    let expected = [
        patch(1_024 - 8, b"0005"),
        patch(1_024 - 21, b"00512"),
        patch(512 - 124, b"00000000011\0"),
    ];
    assert_eq!(record.patches, expected);
    assert_eq!((record.size_form, record.checksum_form), (0, 1));
    check_both_ways(&group, &head, &record);
    let mut rewritten = group.clone();
    write_size(&mut rewritten, &head, place(&head, 200), 200);
    assert_eq!(&rewritten[BLOCK..][..27], b"13 size=0200\n14 size=00200\n");
    assert_eq!(&rewritten[1_024..][SIZE_FIELD], b"00000000310\0");
}

#[test]
fn a_record_that_does_not_fit_its_digits_stands_aside() {
    let text = pax_record("size", "99");
    let mut body = text.clone();
    body.resize(BLOCK, 0);
    let extension = header(b'x', text.len() as u64);
    let (group, head, record) = member(&[&extension, &body, &header(b'0', 99), &[1; BLOCK]]);
    assert_eq!(place(&head, 99), Placement::InPlace);
    assert_eq!(place(&head, 100), Placement::Aside);
    check_both_ways(&group, &head, &record);
}

#[test]
fn a_sparse_record_longer_than_the_data_stands_aside() {
    for type_flag in *b"Ss" {
        let (group, head, record) = member(&[&header(type_flag, 99), &[1; BLOCK]]);
        assert_eq!(place(&head, 99), Placement::InPlace);
        assert_eq!(place(&head, 100), Placement::Aside);
        check_both_ways(&group, &head, &record);
    }
    let (_, head, _) = member(&[&header(b'0', 99), &[1; BLOCK]]);
    assert_eq!(place(&head, 100), Placement::InPlace);
}

#[test]
fn map_blocks_count_for_the_size_and_hide_the_header_from_forms() {
    let mut text = pax_record("GNU.sparse.major", "1");
    text.extend(pax_record("GNU.sparse.minor", "0"));
    let extension = header(b'x', text.len() as u64);
    text.resize(BLOCK, 0);
    let mut map = b"1\n0\n99\n".to_vec();
    map.resize(BLOCK, 0);
    let main = header(b'0', 512 + 99);
    let (group, head, record) = member(&[&extension, &text, &main, &map, &[1; BLOCK]]);
    assert!(head.sparse);
    assert_eq!((head.map_length, head.declared), (512, 99));
    assert_eq!((record.size_form, record.checksum_form), (0, 0));
    assert_eq!(record.patches.len(), 2);
    assert_eq!(place(&head, 99), Placement::InPlace);
    assert_eq!(place(&head, 100), Placement::Aside);
    check_both_ways(&group, &head, &record);
    for (length, size) in [(99, b"00000001143\0"), (100, b"00000001000\0")] {
        let mut rewritten = group.clone();
        write_size(&mut rewritten, &head, place(&head, length), length);
        assert_eq!(&rewritten[1_024..][SIZE_FIELD], size);
    }
}

#[test]
fn extension_blocks_hide_the_header_from_forms() {
    let mut main = header(b'S', 700);
    main[482] = 1;
    seal(&mut main);
    let (group, head, record) = member(&[&main, &[0; BLOCK], &[1; 2 * BLOCK]]);
    assert_eq!((record.size_form, record.checksum_form), (0, 0));
    check_both_ways(&group, &head, &record);
}

#[test]
fn very_many_sizes_still_fit_a_record() {
    let value = "0".repeat(254) + "5";
    let text = pax_record("size", &value).repeat(10_000);
    let extension = header(b'x', text.len() as u64);
    let mut body = text.clone();
    body.resize(body.len().next_multiple_of(BLOCK), 0);
    let (group, head, record) = member(&[&extension, &body, &header(b'0', 9), &[1; BLOCK]]);
    let mut encoded = Vec::new();
    record.encode(&mut encoded);
    assert!(encoded.len() < 100_000);
    check_both_ways(&group, &head, &record);
}

#[test]
fn a_map_that_does_not_fit_an_older_size_leaves_it_alone() {
    let mut text = pax_record("GNU.sparse.major", "1");
    text.extend(pax_record("GNU.sparse.minor", "0"));
    text.extend(pax_record("size", "07"));
    text.extend(pax_record("size", "611"));
    let extension = header(b'x', text.len() as u64);
    text.resize(BLOCK, 0);
    let mut map = b"1\n0\n99\n".to_vec();
    map.resize(BLOCK, 0);
    let (group, head, record) = member(&[&extension, &text, &header(b'0', 0), &map, &[1; BLOCK]]);
    assert_eq!(place(&head, 99), Placement::Aside);
    let mut rewritten = group.clone();
    write_size(&mut rewritten, &head, Placement::Aside, 99);
    let text = String::from_utf8_lossy(&rewritten[BLOCK..1_024]).into_owned();
    assert!(text.contains("size=07\n12 size=512\n"));
    check_both_ways(&group, &head, &record);
}

#[test]
fn restore_refuses_what_reaches_beyond_the_run() {
    let undo = |distance: u64, bytes: &[u8]| Undo {
        patches: vec![Patch {
            distance,
            bytes: bytes.to_vec(),
        }],
        ..Undo::default()
    };
    for bad in [
        undo(513, b"a"),
        undo(u64::MAX, b"a"),
        undo(1, b"ab"),
        undo(0, b"a"),
    ] {
        assert!(restore(&mut [0; BLOCK], &record(5, None, bad)).is_err());
    }
    restore(&mut [0; BLOCK], &record(5, None, undo(512, b"a"))).unwrap();
    let formed = Undo {
        size_form: 1,
        checksum_form: 1,
        ..Undo::default()
    };
    assert!(restore(&mut [0; 511], &record(5, None, formed.clone())).is_err());
    let too_long = record(1 << 33, None, formed.clone());
    assert!(restore(&mut [0; BLOCK], &too_long).is_err());
    let longest = record((1 << 33) - 1, None, formed);
    restore(&mut [0; BLOCK], &longest).unwrap();
}

#[test]
fn splitting_an_index_of_bodyless_members_changes_nothing() {
    check(&[&header(b'1', 5)[..], &header(b'0', 0)].concat());
}
