//! `restore --keep-going`: damage becomes zeros of the right length, named;
//! all else is as it was.

use std::fs;
use std::ops::Range;

use crate::common::block::Stream;
use crate::common::sandbox::Run;
use crate::common::source::Random;
use crate::forge::{self, Content, replace_frame};
use crate::made::{Made, brick_parts, cut, flip, is_beginning, text};

/// A hit as standard error tells it: member, and bytes of its body.
fn hits(run: &Run) -> Vec<(String, Range<usize>)> {
    run.stderr
        .lines()
        .filter_map(|line| {
            let line = line.strip_prefix("dtar: ")?;
            let (before, _) = line.split_once(" are zeros now: ")?;
            let (member, range) = before.split_once(": bytes ")?;
            let (start, end) = range.split_once(" to ")?;
            Some((member.to_owned(), start.parse().ok()?..end.parse().ok()?))
        })
        .collect()
}

/// The stream with zeros in these ranges of members, which stand at these
/// offsets in it.
fn with_zeros(stream: &[u8], bodies: &[(&str, usize)], hits: &[(String, Range<usize>)]) -> Vec<u8> {
    let mut expected = stream.to_vec();
    for (member, range) in hits {
        let body = bodies.iter().find(|(name, _)| name == member);
        let body = body.unwrap_or_else(|| panic!("{member} is no member")).1;
        expected[body + range.start..body + range.end].fill(0);
    }
    expected
}

#[test]
fn a_missing_brick_costs_its_member_alone() {
    let made = Made::three_bricks();
    let bodies = [("first", 512), ("second", 3072), ("third", 5632)];
    for (name, body) in bodies {
        assert!(made.stream[body - 512..].starts_with(name.as_bytes()));
    }
    let mut lost = Vec::new();
    for brick in made.bricks() {
        let away = brick.with_extension("away");
        fs::rename(&brick, &away).unwrap();
        let run = made.restore(&["--keep-going"]).exits(3);
        let run = run.says(&["is missing", "1 chunk replaced by zeros"]);
        let hits = hits(&run);
        assert_eq!(hits.len(), 1, "{}", run.stderr);
        assert_eq!(hits[0].1, 0..2000);
        assert!(run.stdout == with_zeros(&made.stream, &bodies, &hits));
        lost.push(hits[0].0.clone());
        fs::rename(&away, &brick).unwrap();
    }
    lost.sort();
    assert_eq!(lost, ["first", "second", "third"]);
}

#[test]
fn a_damaged_frame_costs_its_own_range_alone() {
    // Of many chunks, none of them twice, so that there are lists.
    let body = Random(4).bytes(15 << 20);
    let stream = Stream::new()
        .file("before", b"a few bytes")
        .file("large", &body)
        .file("behind", b"a few more")
        .end();
    let bodies = [
        ("before", 512),
        ("large", 1536),
        ("behind", 1536 + body.len() + 512),
    ];
    let made = Made::of(stream);
    let brick = made.brick();
    let frames = brick_parts(&brick).frames;
    let ((of_copies, _), of_chunks) = frames.split_last().unwrap();
    assert!(of_chunks.len() >= 3, "{} frames", frames.len());
    let (mut lost, mut mended) = (Vec::new(), 0);
    for (number, (header, sealed)) in of_chunks.iter().enumerate() {
        for offset in [header.start + 20, header.end - 20, sealed.start + 1000] {
            flip(&brick, offset, 1);
            let run = made.restore(&["--keep-going"]).exits(3);
            let at = format!("frame {number} at byte {}", header.start);
            let run = run.says(&[text(&brick), &at]);
            let hits = hits(&run);
            assert!(run.stdout == with_zeros(&made.stream, &bodies, &hits));
            let large: Vec<_> = hits.iter().filter(|(name, _)| name == "large").collect();
            assert_eq!(large.len(), 1, "one range, not many: {}", run.stderr);
            assert!(large[0].1.len() <= 6 << 20, "{:?}", large[0]);
            if offset > sealed.start {
                mended += usize::from(run.stderr.contains("read from their copies"));
                lost.extend(hits);
            }
            flip(&brick, offset, 1);
        }
    }
    // Each byte is lost with one frame and no other.
    for (name, length) in [("before", 11), ("large", body.len()), ("behind", 10)] {
        let mut end = 0;
        for (_, range) in lost.iter().filter(|(member, _)| member == name) {
            assert_eq!(range.start, end, "{name}: {lost:?}");
            end = range.end;
        }
        assert_eq!(end, length, "{name}: {lost:?}");
    }
    assert!(mended > 0, "no damaged frame held a list");
    // The last frame has nothing but copies of lists.
    flip(&brick, of_copies.start + 20, 1);
    made.is_whole();
}

/// Length of a body of so many chunks that they stand in lists, yet few enough that two
/// such bodies fit a frame.
const MANY: usize = 2 << 20;

/// Two bodies with lists, in a brick of two frames, but the last list of "many" is lost.
fn without_list() -> Made {
    let [other, many] = [5, 6].map(|seed| Random(seed).bytes(MANY));
    let made = Made::of(
        Stream::new()
            .file("other", &other)
            .file("many", &many)
            .end(),
    );
    assert_eq!(brick_parts(&made.brick()).frames.len(), 2);
    let mut chunks = forge::first_frame(&made);
    // The list that is closed when the body ends comes last.
    chunks.last_mut().unwrap().fill(b'?');
    let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
    replace_frame(&made, &Content::stored(&chunks));
    made
}

#[test]
fn a_list_that_is_lost_alone_costs_nothing() {
    let made = without_list();
    let many = 512 + MANY;
    for (arguments, start) in [(&[][..], 0), (&["--keep-going"], 0), (&["many"], many)] {
        let run = made.restore(arguments).exits(0);
        let place = "its frame is sound, but place";
        let run = run.says(&[
            "warning",
            text(&made.brick()),
            place,
            "read from their copies",
        ]);
        assert!(run.stdout.starts_with(&made.stream[start..2 * many]));
    }
}

#[test]
fn a_list_lost_with_its_copy_costs_what_it_covers() {
    let made = without_list();
    let brick = made.brick();
    let copies = brick_parts(&brick).frames[1].1.start;
    flip(&brick, copies, 1);
    let words = [
        "its frame is sound, but place",
        "copy of this chunk list",
        "frame 1 at byte",
    ];
    let run = made.restore(&[]).exits(3).says(&words);
    is_beginning(&run.stdout, &made.stream);
    let run = made.restore(&["--keep-going"]).exits(3).says(&words);
    let hits = hits(&run);
    assert_eq!(hits.len(), 1, "{}", run.stderr);
    assert_eq!(hits[0].1.end, MANY);
    let bodies = [("many", 512 + MANY + 512)];
    assert!(run.stdout == with_zeros(&made.stream, &bodies, &hits));
}

#[test]
fn lists_and_copies_are_stored_once() {
    let mut made = Made::of(Stream::new().file("many", &Random(6).bytes(MANY)).end());
    let brick = made.brick();
    made.archive_again(&[]).exits(0);
    assert_eq!(made.brick(), brick);
    // What both are found by, the sidecar, is there still; another stream uses them, too.
    let stream = Stream::new().file("before", b"more").raw(&made.stream).0;
    made.index = made.sandbox.archive("index.tar", &stream[..]);
    made.stream = stream;
    let bricks = made.bricks();
    let new = bricks.iter().find(|other| **other != brick).unwrap();
    assert_eq!(bricks.len(), 2);
    assert_eq!(
        brick_parts(new).frames.len(),
        1,
        "neither list nor copy is new"
    );
    flip(&brick, brick_parts(&brick).frames[1].1.start, 1);
    made.is_whole();
}

#[test]
fn a_truncated_brick_costs_what_was_cut() {
    let made = Made::many();
    let brick = made.brick();
    let frames = brick_parts(&brick).frames;
    cut(&brick, frames[1].1.start);
    let run = made
        .restore(&["--keep-going"])
        .exits(3)
        .says(&["cut short"]);
    let hits = hits(&run);
    let names: Vec<_> = (0..Made::PARTS).map(|number| number.to_string()).collect();
    let bodies: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(number, name)| (name.as_str(), 512 + number * (512 + Made::PART)))
        .collect();
    assert!(run.stdout == with_zeros(&made.stream, &bodies, &hits));
    let (name, range) = hits.last().unwrap();
    assert_eq!((name, range.end), (names.last().unwrap(), Made::PART));
    let lost: usize = hits.iter().map(|(_, range)| range.len()).sum();
    assert!((7 << 20..11 << 20).contains(&lost), "{lost}: {hits:?}");
}

#[test]
fn everything_gone_still_gives_headers_and_zeros() {
    let made = Made::small();
    fs::remove_dir_all(made.sandbox.store().join("bricks")).unwrap();
    let run = made.restore(&["--keep-going"]).exits(3);
    let bodies = [("first", 512), ("second", 1536), ("third", 22_528)];
    let hits = hits(&run);
    assert_eq!(hits.len(), 3, "{}", run.stderr);
    assert!(run.stdout == with_zeros(&made.stream, &bodies, &hits));
    assert!(run.stdout != made.stream);
}

#[test]
fn a_list_lost_with_its_brick_costs_what_it_covers() {
    // So many chunks that the record holds a list, which is a chunk of its own.
    let body = Random(6).bytes(3 << 20);
    let made = Made::of(Stream::new().file("many", &body).end());
    fs::remove_file(made.brick()).unwrap();
    let run = made.restore(&["--keep-going"]).exits(3);
    assert_eq!(
        hits(&run),
        [("many".to_owned(), 0..3 << 20)],
        "{}",
        run.stderr
    );
    let mut expected = made.stream.clone();
    expected[512..512 + body.len()].fill(0);
    assert!(run.stdout == expected);
}

#[test]
fn a_copy_beside_its_list_is_not_relied_on() {
    let body = Random(6).bytes(MANY);
    let made = Made::of(Stream::new().file("many", &body).end());
    let list = forge::first_frame(&made).pop().unwrap();
    let copy: Vec<u8> = list.iter().map(|byte| !byte).collect();
    // The store forgets all, and then meets list and copy first as contents of files.
    for folder in ["bricks", "tocs"] {
        fs::remove_dir_all(made.sandbox.store().join(folder)).unwrap();
    }
    fs::remove_dir_all(made.sandbox.catalog()).unwrap();
    let stream = Stream::new().file("list", &list).file("copy", &copy);
    let stream = stream.file("many", &body).end();
    let index = made.sandbox.archive("index.tar", &stream[..]);
    made.sandbox.restores(&index, &stream[..]);
    assert_eq!(brick_parts(&made.brick()).frames.len(), 2);
}

#[test]
fn damage_in_json_names_member_and_range() {
    let made = Made::small();
    fs::remove_file(made.brick()).unwrap();
    let run = made.restore(&["--keep-going", "--json"]).exits(3);
    let events: Vec<serde_json::Value> = run
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let damage: Vec<_> = events
        .iter()
        .filter(|event| event["type"] == "damage")
        .collect();
    assert_eq!(damage.len(), 3);
    assert_eq!(damage[1]["member"], "second");
    assert_eq!(
        (&damage[1]["start"], &damage[1]["end"]),
        (&0.into(), &20_000.into())
    );
    assert!(damage[1]["reason"].as_str().unwrap().contains("is missing"));
    let summary = events
        .iter()
        .find(|event| event["type"] == "summary")
        .unwrap();
    assert!(summary["replaced_chunks"].as_u64().unwrap() >= 3);
}

#[test]
fn a_selection_keeps_going_too() {
    let made = Made::three_bricks();
    for brick in made.bricks() {
        fs::rename(&brick, brick.with_extension("away")).unwrap();
    }
    let run = made.restore(&["--keep-going", "second"]).exits(3);
    assert_eq!(
        hits(&run),
        [("second".to_owned(), 0..2000)],
        "{}",
        run.stderr
    );
    let expected = Stream::new().file("second", &[0; 2000]).0;
    assert!(run.stdout.starts_with(&expected));
    assert!(run.stdout[expected.len()..].iter().all(|&byte| byte == 0));
}

#[test]
fn an_unharmed_stream_keeps_going_to_success() {
    let made = Made::small();
    let run = made.restore(&["--keep-going"]).exits(0);
    assert!(run.stdout == made.stream);
}
