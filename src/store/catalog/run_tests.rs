//! Runs within a whole catalog: written, looked into, merged.

use std::fs::File;

use rustix::fs::{FlockOperation, flock};

use super::entry::ENTRY;
use super::environment::Tables;
use super::merge::Merge;
use super::pages::DataFile;
use super::run::Run;
use super::tests::{Answers, Bed, answers, bricks};
use super::*;
use crate::store::testing::{name, toc};

type Blocks = Vec<(Vec<u8>, Vec<u8>)>;

fn blocks(txn: &heed::RoTxn, tables: &Tables) -> Step<Blocks> {
    let blocks = tables.chunks.iter(txn)?;
    let blocks = blocks.map(|block| block.map(|(key, value)| (key.to_vec(), value.to_vec())));
    Ok(blocks.collect::<Result<_, _>>()?)
}

impl Catalog {
    fn runs(&mut self) -> Vec<Run> {
        let checker = self.checker;
        let runs = |txn: &heed::RoTxn, tables: &_| Ok(Runs::read(txn, tables, checker)?.list);
        self.environment.read(runs).unwrap()
    }

    fn entries(&mut self) -> usize {
        let blocks = self.environment.read(blocks);
        let blocks = blocks.unwrap();
        blocks.iter().map(|(_, block)| block.len() / ENTRY).sum()
    }

    fn merge_all(&mut self) {
        let runs = self.runs();
        let merge = Merge::begin(&mut self.environment, self.checker, &runs);
        let mut merge = merge.unwrap();
        while merge.step(&mut self.environment, 1 << 20).unwrap() {}
    }
}

/// Enters bricks of 100 chunks each, of which the next one has half, too.
fn enter_bricks(bed: &Bed, catalog: &mut Catalog, bricks: std::ops::Range<u32>) {
    for brick in bricks {
        let chunks: Vec<_> = (brick * 50..brick * 50 + 100).collect();
        let length = bed.sidecar(brick, &[&chunks]);
        let toc = toc(&[&chunks]);
        catalog
            .insert(&name(brick), length, &toc, &bed.seal(brick))
            .unwrap();
    }
}

#[test]
fn runs_are_merged_as_bricks_come() {
    let bed = Bed::new();
    let (mut catalog, _) = bed.open();
    let mut most = 0;
    for brick in 0..150 {
        enter_bricks(&bed, &mut catalog, brick..brick + 1);
        most = most.max(catalog.runs().len());
        let file = DataFile::open(&bed.data_file()).unwrap().unwrap();
        file.walk().unwrap();
    }
    assert!((4..=12).contains(&most), "{most} runs");
    assert_eq!(catalog.entries(), 15_000);
    let before = answers(&mut catalog, 0..7_551);
    assert_eq!(before.len(), 7_550);
    catalog.merge_all();
    let runs = catalog.runs();
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].count, 15_000);
    assert_eq!(answers(&mut catalog, 0..7_551), before);
    drop(catalog);
    assert_eq!(answers(&mut bed.open_anew().0, 0..7_551), before);
}

/// Whatever a merge has done when its process dies, all chunks are found, and
/// the next merge ends it.
#[test]
fn a_merge_that_is_cut_short_loses_nothing() {
    let bed = Bed::new();
    let (mut catalog, _) = bed.open();
    enter_bricks(&bed, &mut catalog, 0..40);
    catalog.merge_all();
    enter_bricks(&bed, &mut catalog, 40..43);
    let before = answers(&mut catalog, 0..2_200);
    let checker = catalog.checker;
    assert_eq!(catalog.runs().len(), 4);
    for cut in 0..15 {
        let runs = catalog.runs();
        let merge = Merge::begin(&mut catalog.environment, checker, &runs);
        let mut merge = merge.unwrap();
        for step in 0..cut {
            assert!(merge.step(&mut catalog.environment, 8_000).unwrap());
            assert_eq!(answers(&mut catalog, 0..2_200), before, "after step {step}");
        }
        let count: u64 = catalog.runs().iter().map(|run| run.count).sum();
        assert_eq!(count, catalog.entries() as u64, "at {cut}");
        assert!(count < 5_500, "{count} at {cut}");
    }
    drop(catalog);
    let (mut catalog, report) = bed.open();
    assert_eq!(report.rebuilt, None);
    catalog.merge_all();
    assert_eq!(answers(&mut catalog, 0..2_200), before);
    assert_eq!((catalog.runs().len(), catalog.entries()), (1, 4_300));
}

#[test]
fn who_merges_is_alone_and_others_go_on() {
    let bed = Bed::new();
    let (mut catalog, _) = bed.open();
    let lock = File::create(bed.data_file().with_file_name("merging")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    enter_bricks(&bed, &mut catalog, 0..10);
    assert_eq!(catalog.runs().len(), 10);
    assert_eq!(answers(&mut catalog, 0..550).len(), 550);
    drop(lock);
    enter_bricks(&bed, &mut catalog, 10..11);
    assert_eq!(catalog.runs().len(), 1);
    assert_eq!(answers(&mut catalog, 0..600).len(), 600);
}

/// One chunk in more bricks than a block has entries.
#[test]
fn a_chunk_in_many_bricks_is_found_in_the_smallest() {
    let bed = Bed::new();
    let smallest = (0..300).map(name).min();
    for brick in 0..300 {
        bed.sidecar(brick, &[&[0, 1_000 + brick]]);
    }
    let (mut catalog, _) = bed.open();
    assert_eq!(bricks(&mut catalog, 0..1), [smallest]);
    assert_eq!(answers(&mut catalog, 1_000..1_300).len(), 300);
    enter_bricks(&bed, &mut catalog, 300..301);
    catalog.merge_all();
    assert_eq!(bricks(&mut catalog, 0..1), [smallest]);
    assert_eq!(answers(&mut catalog, 1_000..1_300).len(), 300);
}

/// Flips one bit in every entry: each such chunk must count as absent, and be
/// found again once it is entered again.
#[test]
fn a_flipped_bit_never_becomes_a_reference() {
    let bed = Bed::new();
    let chunks: Vec<_> = (0..300).collect();
    bed.sidecar(1, &[&chunks]);
    let (mut catalog, _) = bed.open();
    let mut flipped = 0;
    catalog
        .environment
        .write(|txn, tables| {
            for (key, mut block) in blocks(txn, tables)? {
                for entry in block.chunks_exact_mut(ENTRY) {
                    let bit = flipped % (8 * ENTRY);
                    entry[bit / 8] ^= 1 << (bit % 8);
                    flipped += 1;
                }
                tables.chunks.put(txn, &key, &block)?;
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(flipped, 300);
    assert_eq!(answers(&mut catalog, 0..300), Answers::new());
    let length = bed.sidecar(2, &[&chunks]);
    catalog
        .insert(&name(2), length, &toc(&[&chunks]), &bed.seal(2))
        .unwrap();
    assert_eq!(bricks(&mut catalog, 0..300), [Some(name(2)); 300]);
    // A merge leaves what is damaged behind.
    catalog.merge_all();
    assert_eq!(bricks(&mut catalog, 0..300), [Some(name(2)); 300]);
    assert_eq!(catalog.entries(), 300);
}
