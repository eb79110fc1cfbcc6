//! Nothing is lost, whatever comes.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::header::tests::{header, seal};
use super::super::pax::tests::record;
use super::super::{BLOCK, Globals, Member, Part, extensions, padding_after, parts};
use super::{Segment, check};

fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    let padding = padding_after(bytes.len() as u64);
    bytes.extend(std::iter::repeat_n(0, padding));
    bytes
}

/// A header with its body, or with another length than it says.
fn member() -> impl Strategy<Value = Vec<u8>> {
    let flag = prop::sample::select(&b"0\x0012345679SsxgLKXVMD"[..]);
    let body = vec(any::<u8>(), 0..1_200);
    (flag, body, -600_i64..600, 0..4_u8).prop_map(|(flag, body, error, odd)| {
        let error = if odd == 0 { error } else { 0 };
        let size = (body.len() as u64).saturating_add_signed(error);
        let mut block = header(flag, size);
        if flag == b'S' {
            block[482] = odd;
            seal(&mut block);
        }
        [block.to_vec(), padded(body)].concat()
    })
}

/// A pax header.
fn pax() -> impl Strategy<Value = Vec<u8>> {
    let pair = prop_oneof![
        (0..3_000_u32).prop_map(|size| record("size", &format!("{size:05}"))),
        Just(
            [
                record("GNU.sparse.major", "1"),
                record("GNU.sparse.minor", "0")
            ]
            .concat()
        ),
        Just(record("GNU.sparse.map", "0,1")),
        Just(record("size", "x")),
        "[a-z=\n]{0,9}".prop_map(|value| record("path", &value)),
        vec(any::<u8>(), 0..20),
    ];
    (prop::sample::select(&b"xgX"[..]), vec(pair, 0..5)).prop_map(|(flag, pairs)| {
        let body = pairs.concat();
        [header(flag, body.len() as u64).to_vec(), padded(body)].concat()
    })
}

/// A map of sparse format 1.0, or nearly.
fn map() -> impl Strategy<Value = Vec<u8>> {
    "[0-2]\n([0-9]{1,3}\n){0,5}".prop_map(|map| padded(map.into_bytes()))
}

pub(super) fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => member(),
        3 => pax(),
        1 => map(),
        2 => (1..5_usize).prop_map(|count| vec![0; count * BLOCK]),
        1 => (120..140_usize).prop_map(|count| vec![0; count * BLOCK]),
        1 => (1..3_usize, 1..255_u8).prop_map(|(count, byte)| vec![byte; count * BLOCK]),
        1 => vec(any::<u8>(), 0..700),
    ];
    let change = (any::<prop::sample::Index>(), any::<u8>());
    (
        vec(piece, 0..8),
        vec(change, 0..3),
        any::<prop::sample::Index>(),
        0..4_u8,
    )
        .prop_map(|(pieces, changes, cut, whether)| {
            let mut stream = pieces.concat();
            if !stream.is_empty() && whether < 2 {
                for (place, byte) in changes {
                    let place = place.index(stream.len());
                    stream[place] = byte;
                }
            }
            if !stream.is_empty() && whether % 2 == 0 {
                stream.truncate(cut.index(stream.len()));
            }
            stream
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_bytes_come_back(stream in vec(any::<u8>(), 0..3_000)) {
        check(&stream);
    }

    #[test]
    fn nearly_tar_comes_back(stream in stream()) {
        check(&stream);
    }
}

/// The stream's runs as a restoring reader has them: what stands before each
/// body, and whether that is a member's.
fn runs(segments: &[Segment]) -> Vec<(Vec<u8>, bool)> {
    let mut runs = vec![(Vec::new(), false)];
    for segment in segments {
        let (run, has_body) = runs.last_mut().unwrap();
        match segment {
            Segment::Body { member, .. } => {
                if let Some((group, _)) = member {
                    run.extend_from_slice(group);
                    *has_body = true;
                }
                runs.push((Vec::new(), false));
            }
            other => other.append_to(run),
        }
    }
    runs
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn runs_have_the_parts_that_were_split(stream in stream()) {
        let segments = check(&stream);
        let mut expected = segments.iter().filter_map(|segment| match segment {
            Segment::Group(group) => Some((group.clone(), false)),
            Segment::Zeros(count) => Some((vec![0; usize::try_from(*count).unwrap() * BLOCK], false)),
            Segment::Body { member, .. } => member.clone().map(|(group, _)| (group, true)),
        });
        for (run, has_body) in runs(&segments) {
            for part in parts(&run, has_body) {
                let found = match part {
                    Part::Group { bytes, has_body } => (bytes.to_vec(), has_body),
                    Part::ZeroBlocks(count) => (vec![0; usize::try_from(count).unwrap() * BLOCK], false),
                };
                prop_assert_eq!(Some(found), expected.next());
            }
        }
        prop_assert_eq!(expected.next(), None);
    }

    #[test]
    fn members_of_any_bytes_can_be_looked_at(stream in stream()) {
        let mut globals = Globals::default();
        for (run, has_body) in runs(&check(&stream)) {
            for part in parts(&run, has_body) {
                if let Part::Group { bytes, .. } = part {
                    globals.read(bytes);
                    let member = Member::parse(bytes, &globals);
                    let extensions: usize = extensions(bytes).map(|found| found.range.len()).sum();
                    prop_assert_eq!(member.is_some(), extensions < bytes.len());
                }
            }
        }
    }
}
