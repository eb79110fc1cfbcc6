//! `restore --keep-going`: damage becomes zeros of the right length, named;
//! all else is as it was.

use std::fs;
use std::ops::Range;

use crate::common::block::Stream;
use crate::common::sandbox::Run;
use crate::common::source::Random;
use crate::made::{Made, brick_parts, cut, flip, text};

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
    let body = Random(4).bytes(10 << 20);
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
    assert!(frames.len() >= 3, "{} frames", frames.len());
    for (number, (header, sealed)) in frames.iter().enumerate() {
        for offset in [header.start + 20, header.end - 20, sealed.start + 1000] {
            flip(&brick, offset, 1);
            let run = made.restore(&["--keep-going"]).exits(3);
            let at = format!("frame {number} at byte {}", header.start);
            let run = run.says(&[text(&brick), &at]);
            let hits = hits(&run);
            let large: Vec<_> = hits.iter().filter(|(name, _)| name == "large").collect();
            assert_eq!(large.len(), 1, "one range, not many: {}", run.stderr);
            // A frame has 4 MiB; one that holds a list of chunks costs all
            // that the list covers.
            assert!(large[0].1.len() < 9 << 20, "{:?}", large[0]);
            assert!(run.stdout == with_zeros(&made.stream, &bodies, &hits));
            flip(&brick, offset, 1);
        }
    }
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
    assert!((5 << 20..7 << 20).contains(&lost), "{lost}: {hits:?}");
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
fn a_lost_list_costs_what_it_covers() {
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
