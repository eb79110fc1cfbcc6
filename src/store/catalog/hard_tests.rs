//! What must hold when a process dies, others interfere, or the disk is full.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use super::entry::Entry;
use super::merge::Merge;
use super::pages::DataFile;
use super::run::{RunWriter, Runs};
use super::sync::Sync;
use super::tests::{Answers, Bed, answers, bricks};
use super::*;
use crate::store::testing::{id, length, name, toc};

/// A brick's chunks: 100, of which the next one has half, too.
fn chunks(brick: u32) -> Vec<u32> {
    (brick * 50..brick * 50 + 100).collect()
}

fn enter(bed: &Bed, catalog: &mut Catalog, brick: u32) {
    let toc = toc(&[&chunks(brick)]);
    let length = bed.sidecar(brick, &[&chunks(brick)]);
    catalog
        .insert(&name(brick), length, &toc, &bed.seal(brick))
        .unwrap();
}

fn runs(catalog: &mut Catalog) -> Vec<super::run::Run> {
    let checker = catalog.checker;
    let runs = catalog
        .environment
        .read(|txn, tables| Runs::read(txn, tables, checker));
    runs.unwrap().list
}

const CHILD: &str = "DTAR_TEST_KILLED_CHILD";

/// Not a test of its own: enters bricks until it is killed, and says when.
#[test]
#[ignore = "run by a_process_killed_at_any_moment_leaves_a_good_catalog"]
fn child() {
    let Ok(dir) = std::env::var(CHILD) else {
        return;
    };
    let bed = Bed::again(Path::new(&dir));
    let (mut catalog, report) = bed.open();
    assert_eq!(report.rebuilt, None);
    let first = u32::try_from(report.live).unwrap();
    for brick in first..first + 1_000 {
        enter(&bed, &mut catalog, brick);
        eprintln!("{brick}");
    }
}

#[test]
fn a_process_killed_at_any_moment_leaves_a_good_catalog() {
    let bed = Bed::new();
    drop(bed.open());
    for bricks in [3, 17, 4, 29, 11] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::catalog::hard_tests::child", "--ignored"])
            .arg("--nocapture")
            .env(CHILD, bed.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let entered = lines.map_while(Result::ok).take(bricks).count();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(entered, bricks);
        let file = DataFile::open(&bed.data_file()).unwrap().unwrap();
        file.walk().unwrap();
        let (mut catalog, report) = bed.open();
        assert_eq!(report.rebuilt, None);
        // It may have died between a sidecar and its entry.
        assert!(report.loaded <= 1, "{} loaded", report.loaded);
        let chunks = u32::try_from(report.live).unwrap() * 50 + 50;
        assert_eq!(answers(&mut catalog, 0..chunks + 1), bed.expected(&[]));
    }
}

/// Two merges of the same runs, as if there were no lock: step by step, in any
/// order, nothing is lost.
#[test]
fn merges_that_meet_lose_nothing() {
    for order in (1..64_u32).step_by(5) {
        let bed = Bed::new();
        let (mut catalog, _) = bed.open();
        let _others = bed.others_merge();
        for brick in 0..9 {
            enter(&bed, &mut catalog, brick);
        }
        let expected = answers(&mut catalog, 0..600);
        assert_eq!(expected.len(), 500);
        let checker = catalog.checker;
        let (mut merges, mut over) = (Vec::new(), 0);
        for turn in 0..40 {
            let which = (order >> (turn % 6) & 1) as usize;
            if merges.len() <= which {
                let all = runs(&mut catalog);
                merges.push(Merge::begin(&mut catalog.environment, checker, &all).unwrap());
            } else if !merges[which].step(&mut catalog.environment, 4_000).unwrap() {
                over += 1;
                let all = runs(&mut catalog);
                merges[which] = Merge::begin(&mut catalog.environment, checker, &all).unwrap();
            }
            assert_eq!(answers(&mut catalog, 0..600), expected, "{order}, {turn}");
        }
        assert!(over > 0);
    }
}

/// Whoever reads goes on with what stood there when it began.
#[test]
fn a_reader_sees_one_state_while_others_merge() {
    let bed = Bed::new();
    let (mut catalog, _) = Catalog::open(&bed.cache(), &bed.store, &bed.keys).unwrap();
    let others = bed.others_merge();
    for brick in 0..12 {
        enter(&bed, &mut catalog, brick);
    }
    drop(others);
    let checker = catalog.checker;
    let (env, tables) = catalog.environment.snapshots();
    let txn = env.read_txn().unwrap();
    let old = Runs::read(&txn, &tables, checker).unwrap();
    assert_eq!(old.list.len(), 12);
    catalog
        .schedule
        .finish(&mut catalog.environment, checker)
        .unwrap();
    assert_eq!(runs(&mut catalog).len(), 1);
    let reader = Reader {
        txn: &txn,
        tables: &tables,
        checker,
        aside: &[],
        runs: &old.list,
    };
    for chunk in 0..650 {
        let found = reader.find(&mut catalog.live, &id(chunk), length(chunk));
        assert!(found.unwrap().is_some(), "{chunk}");
    }
}

/// Large merges go on a little with each brick, and small ones meanwhile.
#[test]
fn no_brick_waits_for_a_merge_of_everything() {
    let bed = Bed::new();
    let (mut catalog, _) = bed.open();
    let (mut most, mut before) = (0, BTreeMap::new());
    for brick in 0..400 {
        enter(&bed, &mut catalog, brick);
        let list = runs(&mut catalog);
        most = most.max(list.len());
        let counts: BTreeMap<_, _> = list.iter().map(|run| (run.number, run.count)).collect();
        let grown = counts.iter().map(|(number, count)| {
            count.saturating_sub(before.get(number).copied().unwrap_or_default())
        });
        // 16 times its entries, rounded up to blocks, in two levels; and itself.
        let moved: u64 = grown.sum();
        assert!(moved <= 2_200, "{moved} entries moved at {brick}");
        before = counts;
    }
    assert!((6..=16).contains(&most), "{most} runs");
    assert_eq!(answers(&mut catalog, 0..20_051).len(), 20_050);
}

/// The rule of `formats/store.md#catalog`, whatever was entered when and merged.
#[test]
fn the_location_follows_from_the_store_alone() {
    for seed in 0..6_u32 {
        let bed = Bed::new();
        let random = |number: u32| {
            let hash = blake3::hash(&[seed.to_le_bytes(), number.to_le_bytes()].concat());
            u32::from_le_bytes(*hash.as_bytes().first_chunk().unwrap())
        };
        let contents: Vec<Vec<Vec<u32>>> = (0..30_u32)
            .map(|brick| {
                let frame =
                    |frame: u32| (0..9).map(move |n| random(brick * 99 + frame * 9 + n) % 300);
                (0..3).map(|number| frame(number).collect()).collect()
            })
            .collect();
        let mut order: Vec<u32> = (0..30).collect();
        order.sort_by_key(|&brick| random(10_000 + brick));
        let (mut catalog, _) = bed.open();
        for &brick in &order {
            let frames = &contents[brick as usize];
            let frames: Vec<_> = frames.iter().map(Vec::as_slice).collect();
            let length = bed.sidecar(brick, &frames);
            catalog
                .insert(&name(brick), length, &toc(&frames), &bed.seal(brick))
                .unwrap();
        }
        let expected = {
            let mut best = BTreeMap::new();
            for (brick, frames) in (0..).zip(&contents) {
                for (frame, chunks) in (0..).zip(frames) {
                    for (place, chunk) in (0..).zip(chunks) {
                        let location = (name(brick), frame, place);
                        let best = best.entry(*chunk).or_insert(location);
                        *best = location.min(*best);
                    }
                }
            }
            best
        };
        let found = |catalog: &mut Catalog| -> BTreeMap<_, _> {
            let answers = answers(catalog, 0..300).into_iter();
            answers
                .map(|(chunk, (brick, _, frame, place, _))| (chunk, (brick, frame, place)))
                .collect()
        };
        assert_eq!(found(&mut catalog), expected);
        catalog
            .schedule
            .finish(&mut catalog.environment, catalog.checker)
            .unwrap();
        assert_eq!(found(&mut catalog), expected);
        drop(catalog);
        assert_eq!(found(&mut bed.open_anew().0), expected);
    }
}

#[test]
fn a_brick_marked_after_a_merge_leaves() {
    for dead in [true, false] {
        let bed = Bed::new();
        let (mut catalog, _) = bed.open();
        for brick in 0..12 {
            enter(&bed, &mut catalog, brick);
        }
        catalog
            .schedule
            .finish(&mut catalog.environment, catalog.checker)
            .unwrap();
        drop(catalog);
        bed.mark(3, dead);
        let (mut catalog, report) = bed.open();
        assert_eq!((report.marked, report.rebuilt), (1, None));
        assert_eq!(answers(&mut catalog, 0..650), bed.expected(&[3]));
    }
}

/// Entries and records that were right in another catalog of the same store.
#[test]
fn what_a_deleted_catalog_said_is_not_believed() {
    let bed = Bed::new();
    bed.sidecar(1, &[&[0, 1, 2]]);
    let (mut catalog, _) = bed.open();
    let old: Vec<_> = catalog
        .environment
        .read(|txn, tables| {
            let blocks = tables.chunks.iter(txn)?;
            let blocks =
                blocks.map(|block| block.map(|(key, value)| (key.to_vec(), value.to_vec())));
            Ok(blocks.collect::<Result<_, _>>()?)
        })
        .unwrap();
    assert_eq!(old.len(), 1);
    drop(catalog);
    // The ordinal of brick 1 is now brick 2's.
    std::fs::remove_file(bed.store.toc_path(&name(1))).unwrap();
    bed.sidecar(2, &[&[5, 6, 7]]);
    let (mut catalog, _) = bed.open_anew();
    assert_eq!(bricks(&mut catalog, 5..6), [Some(name(2))]);
    let write = catalog.environment.write(|txn, tables| {
        tables.filters.clear(txn)?;
        tables.chunks.clear(txn)?;
        let mut blocks = old.iter();
        blocks.try_for_each(|(key, block)| Ok(tables.chunks.put(txn, key, block)?))
    });
    write.unwrap();
    assert_eq!(answers(&mut catalog, 0..8), Answers::new());
}

/// It would end the run only when the index is written.
#[test]
fn an_entry_without_its_frame_or_brick_does_not_count() {
    let bed = Bed::new();
    bed.sidecar(1, &[&[0], &[1]]);
    let (mut catalog, _) = bed.open();
    let brick = catalog
        .insert(&name(1), 0, &toc(&[&[0]]), &bed.seal(1))
        .unwrap();
    let checker = catalog.checker;
    let entry = |brick, frame, number| Entry {
        brick: BrickRef(brick),
        frame,
        place: 0,
        length: length(number),
    };
    let wrong = [
        (id(10), entry(brick.0, 2, 10)),
        (id(11), entry(brick.0 + 1, 0, 11)),
        (id(12), entry(u32::MAX, 0, 12)),
        (id(13), entry(1 << 31, 0, 13)),
        (id(14), entry(brick.0, 1, 14)),
    ];
    let write = catalog.environment.write(|txn, tables| {
        let mut sorted = wrong;
        sorted.sort_by_key(|(id, _)| *id);
        let entries = sorted.iter().map(|(id, entry)| (id, *entry));
        RunWriter::write_all(txn, tables, checker, 5, entries)
    });
    write.unwrap();
    let found: Vec<_> = answers(&mut catalog, 0..15).into_keys().collect();
    assert_eq!(found, [0, 1, 14]);
}

#[test]
fn a_full_disk_fails_no_run() {
    let bed = Bed::new();
    let (mut catalog, _) = bed.open();
    enter(&bed, &mut catalog, 0);
    assert_eq!(catalog.unentered(), None);
    catalog.environment.room = 0;
    let frames: [&[u32]; 2] = [&[1_000], &[1_001, 1_002]];
    let brick_length = bed.sidecar(1, &frames);
    let brick = catalog
        .insert(&name(1), brick_length, &toc(&frames), &bed.seal(1))
        .unwrap();
    let info = catalog.brick(brick).unwrap();
    assert_eq!(
        (info.name, info.length, info.frame_count),
        (name(1), brick_length, 2)
    );
    let mut all = Vec::new();
    catalog.frames(brick, &mut all).unwrap();
    assert_eq!(all.len(), 2);
    assert_eq!(catalog.frame(brick, 1).unwrap(), all[1]);
    assert!(catalog.frame(brick, 2).is_err());
    enter(&bed, &mut catalog, 2);
    let unentered = catalog.unentered().unwrap();
    assert_eq!(unentered.bricks, 2);
    assert!(unentered.reason.contains("storage"), "{}", unentered.reason);
    assert_eq!(answers(&mut catalog, 0..1_003).len(), 100);
    // Room again: what comes now is entered, what came before by the next run.
    catalog.environment.room = u32::MAX;
    enter(&bed, &mut catalog, 4);
    assert_eq!(answers(&mut catalog, 0..1_003).len(), 200);
    assert_eq!(catalog.brick(brick).unwrap().name, name(1));
    drop(catalog);
    let (mut catalog, report) = bed.open();
    assert_eq!((report.loaded, report.unentered), (2, None));
    assert_eq!(answers(&mut catalog, 0..1_003).len(), 303);
}

/// A merge needs room, too; without, lookups are slower and no more.
#[test]
fn a_disk_that_fills_during_a_merge_fails_no_run() {
    let bed = Bed::new();
    let (mut catalog, _) = bed.open();
    let others = bed.others_merge();
    for brick in 0..20 {
        enter(&bed, &mut catalog, brick);
    }
    drop(others);
    for room in 1..3 {
        catalog.environment.room = room;
        enter(&bed, &mut catalog, 20 + room);
        let unentered = catalog.unentered().unwrap();
        assert_eq!((unentered.bricks, room), (0, room));
        assert_eq!(answers(&mut catalog, 0..1_300), bed.expected(&[]));
        drop(catalog);
        let others = bed.others_merge();
        catalog = bed.open().0;
        drop(others);
    }
    let file = DataFile::open(&bed.data_file()).unwrap().unwrap();
    file.walk().unwrap();
}

#[test]
fn sidecars_without_room_in_the_catalog_are_reported() {
    let bed = Bed::new();
    for brick in 0..3 {
        bed.sidecar(brick, &[&chunks(brick)]);
    }
    let (mut catalog, _) = bed.open();
    for brick in 3..8 {
        bed.sidecar(brick, &[&chunks(brick)]);
    }
    catalog.environment.room = 0;
    let report = Sync::new(&mut catalog, &bed.store, &bed.keys)
        .run()
        .unwrap();
    assert_eq!((report.live, report.loaded), (3, 0));
    assert_eq!(report.unentered.unwrap().bricks, 5);
    assert_eq!(answers(&mut catalog, 0..500).len(), 200);
    catalog.environment.room = u32::MAX;
    let report = Sync::new(&mut catalog, &bed.store, &bed.keys)
        .run()
        .unwrap();
    assert_eq!((report.live, report.loaded), (8, 5));
    assert_eq!(answers(&mut catalog, 0..500).len(), 450);
}

/// LMDB leaves out last pages that were taken and freed in one transaction.
#[test]
fn a_file_without_free_last_pages_is_good() {
    let bed = Bed::new();
    let (mut catalog, _) = bed.open();
    for brick in 0..60 {
        enter(&bed, &mut catalog, brick);
    }
    catalog
        .schedule
        .finish(&mut catalog.environment, catalog.checker)
        .unwrap();
    catalog
        .environment
        .write(|txn, tables| Ok(tables.meta.put(txn, b"scratch", &vec![0; 40_000])?))
        .unwrap();
    let scratch = |txn: &mut heed::RwTxn, tables: &super::environment::Tables| {
        Ok(tables.meta.delete(txn, b"scratch").map(drop)?)
    };
    catalog.environment.write(scratch).unwrap();
    let before = answers(&mut catalog, 0..3_051);
    drop(catalog);
    let whole = std::fs::read(bed.data_file()).unwrap();
    let shortest = (2..whole.len() / 4096).find(|pages| {
        std::fs::write(bed.data_file(), &whole[..pages * 4096]).unwrap();
        DataFile::open(&bed.data_file()).is_ok()
    });
    assert!(shortest.is_some(), "no free last page");
    let (mut catalog, report) = bed.open();
    assert_eq!(report.rebuilt, None);
    assert_eq!(answers(&mut catalog, 0..3_051), before);
    for brick in 60..80 {
        enter(&bed, &mut catalog, brick);
    }
    assert_eq!(answers(&mut catalog, 0..4_051), bed.expected(&[]));
    assert!(runs(&mut catalog).len() < 12);
}

/// `rm -r ~/.cache`, or another process that makes it anew.
#[test]
fn a_catalog_that_is_deleted_meanwhile_fails_no_run() {
    let bed = Bed::new();
    let (mut catalog, _) = bed.open();
    enter(&bed, &mut catalog, 0);
    std::fs::remove_dir_all(bed.cache()).unwrap();
    for brick in 1..30 {
        enter(&bed, &mut catalog, brick);
    }
    assert_eq!(catalog.unentered(), None);
    assert!(runs(&mut catalog).len() < 12);
    let found = answers(&mut catalog, 0..1_600);
    drop(catalog);
    assert_eq!(found, bed.expected(&[]));
    assert_eq!(bed.open().1.loaded, 30);
}
