//! What only somebody with the key can make, wrongly or with intent: records,
//! hints and frames that claim more than there is. Exit code 3, and little memory.

use std::fs;
use std::process::Command;

use dtar::format::frame::{Codec, ContentHeader};
use dtar::format::record::{Counts, Item, List};
use dtar::format::trailer::{PageHead, Place, Run as HintRun, Step, UsedBrick, UsedFrame};
use dtar::format::wire::{Decoder, put_uv};

use crate::common::block::Stream;
use crate::common::sandbox::Run;
use crate::common::shell::have;
use crate::common::source::Random;
use crate::forge::{Content, Index, length, replace_frame, write_sealed, zstd_bomb};
use crate::made::{Made, brick_parts, flip, is_beginning, refused, text};

/// Changes the index of a small archive and seals it again.
///
/// There is no table of contents: with one, what is not where the index says is found.
fn forged(edit: impl FnOnce(&mut Index)) -> (Made, std::path::PathBuf) {
    let forged = forged_with_sidecars(edit);
    fs::remove_dir_all(forged.0.sandbox.store().join("tocs")).unwrap();
    for brick in forged.0.bricks() {
        flip(&brick, brick_parts(&brick).toc.start + 20, 1);
    }
    forged
}

fn forged_with_sidecars(edit: impl FnOnce(&mut Index)) -> (Made, std::path::PathBuf) {
    let made = Made::three_chunks();
    let mut index = Index::read(&made.index);
    edit(&mut index);
    let path = index.write(&made);
    (made, path)
}

/// The changed index is refused with exit code 3 before anything comes out
/// that is not the stream.
#[track_caller]
fn damaged(edit: impl FnOnce(&mut Index), words: &[&str]) {
    let (made, path) = forged(edit);
    let run = made.restore_index(&path, &[]).exits(3).says(words);
    is_beginning(&run.stdout, &made.stream);
}

#[test]
fn an_index_sealed_again_restores() {
    let (made, path) = forged(|_| ());
    assert!(made.restore_index(&path, &[]).exits(0).stdout == made.stream);
}

#[test]
fn a_record_longer_than_the_members_part_is_refused() {
    damaged(
        |index| {
            let offset = index.record_offset(2) + 16;
            index.members[offset..offset + 4].copy_from_slice(&(1_u32 << 20).to_le_bytes());
        },
        &["forged.tar", "index members", "cut short", "1048576 bytes"],
    );
    damaged(
        |index| {
            let offset = index.record_offset(0) + 16;
            index.members[offset..offset + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        },
        &["forged.tar", "body record", "record length", "4294967295"],
    );
}

#[test]
fn a_body_longer_than_its_chunk_is_refused() {
    damaged(
        |index| index.edit_record(1, |record| record.body_length = 2001),
        &["does not hold the chunk", "2001 bytes", "second, byte 0"],
    );
    damaged(
        |index| index.edit_record(1, |record| record.body_length = 2 << 20),
        &["forged.tar", "body record", "2097152"],
    );
}

#[test]
fn items_that_do_not_add_up_are_refused() {
    damaged(
        |index| {
            index.edit_record(1, |record| {
                let hash = record.body_hash;
                record.items = vec![Item::Chunk { length: 2000, hash }];
                record.body_length = 1 << 60;
                record.size_form = 0;
            });
        },
        &["forged.tar", "body record", "2000", "1152921504606846976"],
    );
}

/// The second body as a list of level 1, which is its own noise.
fn as_list(index: &mut Index, covers: u64, chunks: u64) {
    index.edit_record(1, |record| {
        let mut counts = Counts::default();
        counts[0] = chunks;
        record.items = vec![Item::List(List {
            level: 1,
            length: 2000,
            hash: record.body_hash,
            covers,
            counts,
        })];
        record.body_length = covers;
        record.size_form = 0;
    });
}

#[test]
fn a_list_of_noise_that_claims_the_world_is_refused() {
    damaged(
        |index| as_list(index, 1 << 60, 1 << 50),
        &["forged.tar", "no hints for chunks of level 1"],
    );
    damaged(
        |index| {
            as_list(index, 1 << 60, 1);
            let mut hints = vec![1, 1];
            let mut runs = Vec::new();
            HintRun {
                frame: 0,
                place: 1,
                count: 1,
            }
            .encode(0, &mut runs);
            let head = PageHead {
                length: length(runs.len()),
                count: 1,
                first: 0,
            };
            hints.extend(head.encode());
            hints.extend(runs);
            index.sections.push((*b"HINT", 1, hints));
        },
        &["in the list of chunks", "second, byte 0"],
    );
}

#[test]
fn patches_beyond_their_run_are_refused() {
    damaged(
        |index| {
            index.edit_record(0, |record| {
                record.patches = vec![dtar::format::record::Patch {
                    distance: 1 << 20,
                    bytes: vec![0; 10],
                }];
            });
        },
        &["forged.tar", "patch"],
    );
}

/// The brick table with its only brick changed.
fn edit_brick(index: &mut Index, edit: impl FnOnce(&mut UsedBrick)) {
    let section = index.section(*b"BRIK");
    let mut decoder = Decoder::new("table", section);
    assert_eq!(decoder.uv("bricks").unwrap(), 1);
    let mut brick = UsedBrick::decode(&mut decoder).unwrap();
    edit(&mut brick);
    let mut bytes = vec![1];
    brick.encode(&mut bytes);
    *section = bytes;
}

#[test]
fn a_frame_longer_than_its_brick_is_refused() {
    for frame in [1_u32 << 20, 65 << 20] {
        let end = (80 + u64::from(frame)).to_string();
        damaged(
            |index| {
                edit_brick(index, |brick| {
                    brick.length = 1 << 40;
                    brick.frames[0].length = frame;
                });
            },
            &[
                "brick cut short",
                "frame 0 ends at byte",
                &end,
                "first, byte 0",
            ],
        );
    }
    damaged(
        |index| edit_brick(index, |brick| brick.frames[0].length = 1 << 20),
        &[
            "forged.tar",
            "index brick table",
            "frame 0 at 80, 1048576 bytes long",
        ],
    );
}

#[test]
fn a_frame_that_is_shorter_than_the_index_says_is_refused() {
    damaged(
        |index| edit_brick(index, |brick| brick.frames[0].length -= 1),
        &["frame 0 at byte 80", "length"],
    );
    damaged(
        |index| edit_brick(index, |brick| brick.frames[0].offset += 1),
        &["frame 0 at byte 81", "not a frame header"],
    );
}

#[test]
fn a_table_of_more_bricks_than_it_holds_is_refused() {
    damaged(
        |index| {
            let section = index.section(*b"BRIK");
            let mut bytes = Vec::new();
            put_uv(&mut bytes, 1 << 60);
            bytes.extend_from_slice(&section[1..]);
            *section = bytes;
        },
        &["forged.tar", "index brick table", "cut short"],
    );
    damaged(
        |index| {
            let brick = index.section(*b"BRIK");
            let mut name = brick[1..33].to_vec();
            name.extend([100]);
            put_uv(&mut name, 65_536);
            *brick = [&[1], &name[..]].concat();
        },
        &["forged.tar", "index brick table", "cut short"],
    );
}

#[test]
fn frames_without_number_need_no_memory_of_their_own() {
    // Claimed, but never read: 65 MiB each.
    damaged(
        |index| {
            edit_brick(index, |brick| {
                brick.length = 1 << 40;
                brick.frames = (0..1000)
                    .map(|number| UsedFrame {
                        number,
                        offset: 80 + u64::from(number) * (65 << 20),
                        length: 65 << 20,
                        plain_length: 64 << 20,
                    })
                    .collect();
            });
        },
        &["brick cut short"],
    );
}

/// The hints of level 0 anew: one run, in one page.
fn set_hints(index: &mut Index, chunks: u64, run: HintRun) {
    let mut runs = Vec::new();
    run.encode(0, &mut runs);
    let head = PageHead {
        length: length(runs.len()),
        count: u32::try_from(run.count).unwrap(),
        first: 0,
    };
    let mut payload = vec![0];
    put_uv(&mut payload, chunks);
    payload.extend(head.encode());
    payload.extend(runs);
    *index.section(*b"HINT") = payload;
}

#[test]
fn hints_to_nowhere_are_refused() {
    let run = |frame, place, count| HintRun {
        frame,
        place,
        count,
    };
    let cases = [
        (
            3,
            run(5, 0, 3),
            &["frame ordinal in the hints", "below 1", "found 5"][..],
        ),
        (
            3,
            run(0, 60_000, 3),
            &["does not hold the chunk", "place 60000"],
        ),
        (
            3,
            run(0, 1, 3),
            &["does not hold the chunk", "first, byte 0"],
        ),
        (2, run(0, 0, 2), &["index hints", "chunks", "fewer"]),
        (3, run(0, 0, 2), &["forged.tar", "hints", "cut short"]),
        (4, run(0, 0, 4), &["more chunks than its records hold"]),
        (2, run(0, 0, 3), &["index hints", "page"]),
        (
            1 << 60,
            run(0, 0, 3),
            &["more chunks than its records hold"],
        ),
    ];
    for (chunks, run, words) in cases {
        let (made, path) = forged(|index| set_hints(index, chunks, run));
        println!("{chunks} {run:?}");
        let run = made.restore_index(&path, &[]).exits(3).says(words);
        assert!(made.stream.starts_with(&run.stdout));
    }
}

#[test]
fn hints_are_hints_where_there_are_sidecars() {
    let run = |place| HintRun {
        frame: 0,
        place,
        count: 3,
    };
    for place in [1, 60_000] {
        let (made, path) = forged_with_sidecars(|index| set_hints(index, 3, run(place)));
        assert!(made.restore_index(&path, &[]).exits(0).stdout == made.stream);
    }
    let (made, path) = forged_with_sidecars(|index| {
        edit_brick(index, |brick| brick.frames[0].offset += 1);
    });
    assert!(made.restore_index(&path, &[]).exits(0).stdout == made.stream);
}

/// The map anew.
fn set_map(index: &mut Index, steps: &[(u64, Place, u64)]) {
    let mut payload = Vec::new();
    for &(blocks, place, repeat) in steps {
        Step { blocks, place }.encode(repeat, &mut payload);
    }
    *index.section(*b"MAPS") = payload;
}

#[test]
fn maps_that_do_not_fit_are_refused() {
    let in_place = (1, Place::InPlace, 3);
    for (steps, words) in [
        (&[(0, Place::Detached, u64::MAX)][..], &["forged.tar"][..]),
        (
            &[(1, Place::InPlace, u64::MAX)],
            &["forged.tar", "index members", "cut short"],
        ),
        (
            &[(65_537, Place::Detached, 1)],
            &["index map", "at most 65536 blocks", "65537"],
        ),
        (
            &[(60_000, Place::Detached, 1)],
            &["index members", "cut short", "30720000"],
        ),
        (&[in_place], &["index map", "the tail"]),
        (
            &[in_place, (0, Place::Detached, 2)],
            &["index map", "the tail as the last step"],
        ),
        (&[], &["index map", "left over"]),
        (&[(0, Place::Opaque, 1)], &["opaque marker", "not a"]),
        (
            &[(0, Place::InPlace, 1)],
            &["body record", "not a body record"],
        ),
    ] {
        damaged(|index| set_map(index, steps), words);
    }
}

#[test]
fn sections_that_are_not_as_they_should_be_are_refused() {
    damaged(
        |index| drop(index.sections.remove(2)),
        &["sections", "MAPS", "one missing"],
    );
    damaged(
        |index| {
            let again = index.sections[3].clone();
            index.sections.push(again);
        },
        &["sections", "each section once"],
    );
    damaged(
        |index| index.section(*b"SUMM").truncate(50),
        &["index summary", "cut short"],
    );
    damaged(
        |index| index.sections.push((*b"HINT", 0, vec![8, 0])),
        &["index hints", "level"],
    );
}

#[test]
fn a_section_longer_than_the_trailer_is_refused() {
    let made = Made::small();
    let bytes = std::fs::read(&made.index).unwrap();
    let end = bytes.len() - 64;
    let offset = u64::from_le_bytes(bytes[end + 16..end + 24].try_into().unwrap());
    let at = usize::try_from(offset).unwrap() + 24 + 8;
    for claimed in [bytes.len() as u64, 1 << 60, u64::MAX] {
        let mut changed = bytes[..end - 32].to_vec();
        changed[at..at + 8].copy_from_slice(&claimed.to_le_bytes());
        let path = write_sealed(&made, changed, offset);
        let claimed = claimed.to_string();
        let words = ["forged.tar", "index trailer", "cut short", &claimed];
        refused(made.restore_index(&path, &[]), 3, &words);
    }
}

#[test]
fn a_section_of_a_newer_dtar_is_refused_if_critical() {
    let (made, path) = forged(|index| index.sections.push((*b"WARP", 1, vec![1, 2, 3])));
    let words = ["forged.tar", "WARP", "use a newer dtar"];
    refused(made.restore_index(&path, &[]), 1, &words);
    let (made, path) = forged(|index| index.sections.push((*b"WARP", 0, vec![1, 2, 3])));
    assert!(made.restore_index(&path, &[]).exits(0).stdout == made.stream);
}

#[test]
fn another_length_or_checksum_of_the_stream_is_told_at_the_end() {
    for offset in [40, 50] {
        let (made, path) = forged(|index| index.section(*b"SUMM")[offset] ^= 1);
        let run = made.restore_index(&path, &[]).exits(3);
        let run = run.says(&[
            "not the stream that was archived",
            "do not use what came out",
        ]);
        assert!(run.stdout == made.stream);
    }
}

/// An archive whose one member claims 2^50 zero bytes.
pub fn vast_zeros(made: &Made) -> std::path::PathBuf {
    let mut index = Index::read(&made.index);
    let run = HintRun {
        frame: 0,
        place: 0,
        count: 2,
    };
    set_hints(&mut index, 2, run);
    index.edit_record(2, |record| {
        record.body_length = 1 << 50;
        record.size_form = 0;
        record.items = vec![Item::Zeros { length: 1 << 50 }];
    });
    index.write(made)
}

/// Restores, and returns the peak of the memory that it took, in bytes.
#[track_caller]
fn restore_measured(made: &Made, index: &std::path::Path) -> Option<(Run, u64)> {
    if !have("python3") {
        return None;
    }
    let script = "import resource, subprocess, sys\n\
        code = subprocess.run(sys.argv[1:]).returncode\n\
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10\n\
        print('peak', peak, file=sys.stderr)\n\
        sys.exit(code)";
    let dtar = made.sandbox.command(["restore", text(index)]);
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(dtar.get_program())
        .args(dtar.get_args())
        .envs(
            dtar.get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!stderr.contains("panicked at"), "{stderr}");
    let (_, peak) = stderr.trim_end().rsplit_once("peak ").unwrap();
    let peak = peak.parse().unwrap();
    let run = Run {
        code: output.status.code(),
        stdout: output.stdout,
        stderr,
    };
    Some((run, peak))
}

/// The forged frame is refused with these words, within 192 MiB of memory.
#[track_caller]
fn frame_refused(content: &Content, words: &[&str]) {
    let made = Made::small();
    replace_frame(&made, content);
    let Some((run, peak)) = restore_measured(&made, &made.index) else {
        return;
    };
    let brick = made.brick();
    let run = run
        .exits(3)
        .says(&[text(&brick), "frame 0 at byte 80", "another copy"]);
    let run = run.says(words);
    is_beginning(&run.stdout, &made.stream);
    assert!(peak < 192 << 20, "{peak} bytes of memory");
    let run = made.restore(&["--keep-going"]).exits(3);
    assert_eq!(run.stdout.len(), made.stream.len());
}

fn claims(content: usize, plain: u32, chunks: u32, table: u32) -> ContentHeader {
    ContentHeader {
        content_length: length(content),
        plain_length: plain,
        chunk_count: chunks,
        table_length: table,
    }
}

#[test]
fn a_frame_that_expands_beyond_its_length_is_refused() {
    // 4,000 blocks: 500 MiB from 16 KB.
    let bytes = zstd_bomb(4000, None);
    for plain in [100, 21_000, 64 << 20] {
        let content = Content {
            codec: Codec::Zstd,
            header: claims(bytes.len(), plain, 3, 6),
            bytes: bytes.clone(),
        };
        frame_refused(&content, &["frame content", "zstd"]);
    }
}

#[test]
fn a_frame_that_states_a_greater_length_is_refused() {
    let bytes = zstd_bomb(4000, Some(4000 * (128 << 10)));
    let content = Content {
        codec: Codec::Zstd,
        header: claims(bytes.len(), 21_000, 3, 6),
        bytes,
    };
    frame_refused(&content, &["a zstd frame of another size"]);
}

#[test]
fn a_frame_that_lies_about_its_zstd_size_is_refused() {
    let bytes = zstd_bomb(4000, Some(21_000));
    let content = Content {
        codec: Codec::Zstd,
        header: claims(bytes.len(), 21_000, 3, 6),
        bytes,
    };
    frame_refused(&content, &["frame content"]);
}

#[test]
fn a_frame_of_zeros_without_a_table_is_refused() {
    // 64 MiB is a plain length that may be; the table is not one.
    let bytes = zstd_bomb(512, Some(64 << 20));
    let content = Content {
        codec: Codec::Zstd,
        header: claims(bytes.len(), 64 << 20, 65_536, 65_536),
        bytes,
    };
    frame_refused(&content, &["table"]);
}

#[test]
fn a_frame_that_claims_more_than_it_has_is_refused() {
    let sound = || Content::stored(&[&Random(1).bytes(20_000)]);
    for edit in [
        |header: &mut ContentHeader| header.content_length = u32::MAX,
        |header: &mut ContentHeader| header.content_length = 60_000,
        |header: &mut ContentHeader| header.plain_length = u32::MAX,
        |header: &mut ContentHeader| header.plain_length += 1,
        |header: &mut ContentHeader| header.chunk_count = 0,
        |header: &mut ContentHeader| header.chunk_count = u32::MAX,
        |header: &mut ContentHeader| header.chunk_count = 2,
        |header: &mut ContentHeader| header.table_length = u32::MAX,
        |header: &mut ContentHeader| header.table_length = 2,
    ] {
        let mut content = sound();
        edit(&mut content.header);
        frame_refused(&content, &["expected", "found"]);
    }
}

#[test]
fn a_sound_frame_of_other_chunks_is_refused() {
    let stream = Stream::new()
        .file("first", b"some text\n")
        .file("second", &Random(1).bytes(2000))
        .end();
    let made = Made::of(stream);
    let second = Random(2).bytes(2000);
    replace_frame(&made, &Content::stored(&[b"some text\n", &second]));
    let run = made.restore(&[]).exits(3);
    let run = run.says(&[
        "its frame is sound",
        "place 1",
        "second, byte 0",
        "another copy",
    ]);
    is_beginning(&run.stdout, &made.stream);
}

/// What is kept in memory is counted by the lengths in the index.
#[test]
fn a_sound_frame_of_another_plain_length_is_refused() {
    let made = Made::three_chunks();
    let chunks = [&b"some text\n"[..], &Random(1).bytes(2000)];
    replace_frame(&made, &Content::stored(&chunks));
    let run = made.restore(&[]).exits(3);
    run.says(&[
        "frame 0 at byte 80",
        "plain length of 3615, found 2013",
        "first, byte 0",
        "another copy",
    ]);
}

#[test]
fn hand_made_bombs_are_what_they_claim() {
    let bytes = zstd_bomb(16, None);
    let plain = zstd::decode_all(&bytes[..]).unwrap();
    assert!(plain == vec![0; 16 * (128 << 10)]);
    let stream = Stream::new()
        .file("first", b"some text\n")
        .file("second", &Random(1).bytes(2000))
        .file("third", &Random(2).bytes(1600))
        .end();
    let made = Made::of(stream);
    let chunks = [
        &b"some text\n"[..],
        &Random(1).bytes(2000),
        &Random(2).bytes(1600),
    ];
    replace_frame(&made, &Content::stored(&chunks));
    made.is_whole();
}
