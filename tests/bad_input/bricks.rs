//! Bricks missing, cut short, damaged in each of their parts, or swapped.

use std::fs;

use crate::common::source::Random;
use crate::made::{Made, brick_parts, cut, flip, is_beginning, length, text};

/// A brick's name: its file's, without the ending.
fn name(path: &std::path::Path) -> &str {
    path.file_stem().unwrap().to_str().unwrap()
}

/// Restoring fails with exit code 3 and these words; what came out is right as
/// far as it goes.
#[track_caller]
fn damaged(made: &Made, words: &[&str]) {
    let run = made.restore(&[]).exits(3).says(words);
    is_beginning(&run.stdout, &made.stream);
}

#[test]
fn a_missing_brick_is_named_with_the_places_looked_in() {
    let made = Made::small();
    let brick = made.brick();
    let thawed = made.sandbox.path().join("thawed");
    fs::create_dir(&thawed).unwrap();
    let moved = thawed.join(brick.file_name().unwrap());
    fs::rename(&brick, &moved).unwrap();
    let bricks = made.sandbox.store().join("bricks");
    let words = [
        name(&brick),
        "is missing",
        "looked in",
        text(&bricks),
        "--bricks DIR",
    ];
    damaged(&made, &words);
    let elsewhere = made.sandbox.path().join("home");
    let run = made.restore(&["--bricks", text(&elsewhere)]).exits(3);
    is_beginning(&run.says(&[text(&elsewhere)]).stdout, &made.stream);
    let run = made.restore(&["--bricks", text(&thawed)]).exits(0);
    assert!(run.stdout == made.stream);
}

#[test]
fn a_brick_that_no_restored_member_needs_may_be_missing() {
    let made = Made::three_bricks();
    let whole = made.restore(&["first"]).exits(0).stdout;
    for brick in made.bricks() {
        fs::rename(&brick, brick.with_extension("away")).unwrap();
        let run = made.restore(&["first"]);
        match run.code {
            Some(0) => assert!(run.stdout == whole),
            _ => drop(run.exits(3).says(&[name(&brick), "first, byte 0"])),
        }
        fs::rename(brick.with_extension("away"), &brick).unwrap();
    }
}

#[test]
fn a_brick_cut_short_names_frame_and_bytes() {
    let made = Made::small();
    let brick = made.brick();
    let (frame, sealed) = brick_parts(&brick).frames[0].clone();
    for end in [
        sealed.end - 1,
        sealed.start,
        frame.start + 10,
        frame.start,
        10,
        0,
    ] {
        cut(&brick, end);
        let (expected, found) = (sealed.end.to_string(), format!("{end} bytes"));
        let words = [
            text(&brick),
            "cut short",
            "frame 0",
            &expected,
            &found,
            "first, byte 0",
            "another copy",
            "--keep-going",
        ];
        damaged(&made, &words);
    }
}

#[test]
fn a_brick_that_lost_toc_and_footer_still_restores() {
    let made = Made::small();
    let brick = made.brick();
    cut(&brick, brick_parts(&brick).toc.start);
    made.is_whole();
}

#[test]
fn flips_outside_of_frames_do_not_hinder_restore() {
    let made = Made::small();
    let brick = made.brick();
    let parts = brick_parts(&brick);
    for range in [0..80, parts.toc, parts.footer] {
        for offset in range.clone().step_by(5).chain([range.end - 1]) {
            flip(&brick, offset, 0x40);
        }
        made.is_whole();
    }
}

#[test]
fn a_flip_anywhere_in_a_frame_is_noticed() {
    let made = Made::small();
    let brick = made.brick();
    let (header, sealed) = brick_parts(&brick).frames[0].clone();
    let mut offsets: Vec<u64> = (header.start..header.start + 72).collect();
    offsets.extend((header.start + 72..header.end).step_by(61));
    offsets.extend([header.end - 1, sealed.start, sealed.end - 1]);
    offsets.extend((sealed.start..sealed.end).step_by(1009));
    for offset in offsets {
        flip(&brick, offset, 0x02);
        let run = made.restore(&[]);
        // A version or feature from the future is no damage, but exits as well.
        assert!(matches!(run.code, Some(1 | 3)), "{offset}: {}", run.stderr);
        let code = run.code.unwrap();
        let run = run
            .exits(code)
            .says(&[text(&brick), "frame 0 at byte 80", "--keep-going"]);
        is_beginning(&run.stdout, &made.stream);
        flip(&brick, offset, 0x02);
    }
    made.is_whole();
}

#[test]
fn a_damaged_frame_header_names_its_byte_in_the_file() {
    let made = Made::small();
    let brick = made.brick();
    let header = brick_parts(&brick).frames[0].0.clone();
    flip(&brick, header.start, 1);
    damaged(
        &made,
        &[
            text(&brick),
            "frame header",
            "magic",
            "at byte 80",
            "another copy",
        ],
    );
    flip(&brick, header.start, 1);
    flip(&brick, header.start + 30, 1);
    let check = format!("at byte {}", header.end - 16);
    damaged(
        &made,
        &[
            text(&brick),
            "frame header",
            "check",
            &check,
            "another copy",
        ],
    );
}

#[test]
fn a_damaged_seal_says_so() {
    let made = Made::small();
    let brick = made.brick();
    let sealed = brick_parts(&brick).frames[0].1.clone();
    flip(&brick, sealed.start + 100, 1);
    let words = [
        text(&brick),
        "frame 0 at byte 80",
        "seal does not verify",
        "first, byte 0",
        "another copy",
    ];
    damaged(&made, &words);
}

#[test]
fn swapped_bricks_are_noticed() {
    let made = Made::three_bricks();
    let bricks = made.bricks();
    let contents = [0, 1].map(|number: usize| fs::read(&bricks[number]).unwrap());
    // Each is one frame of one chunk of the same length: it opens, but holds
    // another chunk.
    assert_eq!(contents[0].len(), contents[1].len());
    fs::write(&bricks[0], &contents[1]).unwrap();
    fs::write(&bricks[1], &contents[0]).unwrap();
    let run = made.restore(&[]).exits(3);
    let run = run.says(&["does not hold the chunk", "2000 bytes", "another copy"]);
    is_beginning(&run.stdout, &made.stream);
    let run = made.restore(&["--keep-going"]).exits(3);
    let hits = run.stderr.matches("bytes 0 to 2000 are zeros now").count();
    assert_eq!(hits, 2, "{}", run.stderr);
}

#[test]
fn a_brick_of_another_store_is_refused_by_name() {
    let made = Made::small();
    let other = Made::small();
    fs::copy(other.brick(), made.brick()).unwrap();
    let run = made.restore(&[]).exits(1);
    let run = run.says(&[text(&made.brick()), "frame of store", "not of store"]);
    is_beginning(&run.stdout, &made.stream);
}

#[test]
fn a_brick_in_the_wrong_shape_is_damage() {
    let made = Made::small();
    let brick = made.brick();
    for bytes in [vec![0; 100_000], Random(3).bytes(100_000)] {
        fs::write(&brick, bytes).unwrap();
        damaged(&made, &[text(&brick), "frame 0", "not a frame header"]);
    }
    fs::remove_file(&brick).unwrap();
    fs::create_dir(&brick).unwrap();
    damaged(&made, &[text(&brick)]);
}

#[test]
fn what_came_out_before_the_damage_is_right() {
    let made = Made::many();
    let brick = made.brick();
    let frames = brick_parts(&brick).frames;
    assert!(frames.len() >= 3, "{} frames", frames.len());
    let last = frames.last().unwrap().1.clone();
    flip(&brick, last.end - 1, 1);
    let run = made
        .restore(&[])
        .exits(3)
        .says(&["seal does not verify", ", byte "]);
    is_beginning(&run.stdout, &made.stream);
    assert!(
        run.stdout.len() > 10 << 20,
        "only {} bytes",
        run.stdout.len()
    );
}

#[test]
fn listing_needs_no_brick() {
    let made = Made::small();
    fs::remove_dir_all(made.sandbox.store().join("bricks")).unwrap();
    let run = made.sandbox.run(["ls", text(&made.index)]).exits(0);
    assert_eq!(String::from_utf8(run.stdout).unwrap().lines().count(), 3);
}

#[test]
fn missing_bricks_do_not_hinder_deduplication() {
    let made = Made::small();
    let before = length(&made.brick());
    fs::remove_file(made.brick()).unwrap();
    made.archive_again(&[]).exits(0);
    assert!(made.bricks().is_empty(), "{before} bytes were stored again");
}
