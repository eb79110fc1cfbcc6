//! Sidecars missing, damaged or foreign, and a catalog of garbage: the run
//! works, at worst it stores again, and the result is right.

use std::fs;
use std::path::PathBuf;

use crate::common::source::Random;
use crate::made::{Made, cut, flip, length, text};

/// Archives again, with these words; then as many bricks stand there, and both
/// indexes restore.
#[track_caller]
fn stored_again(made: &Made, words: &[&str], bricks: usize) {
    made.archive_again(&[]).exits(0).says(words);
    assert_eq!(made.bricks().len(), bricks);
    made.is_whole();
    let again = made.sandbox.path().join("again.tar");
    made.sandbox.restores(&again, &made.stream[..]);
}

#[test]
fn without_its_sidecar_a_brick_is_stored_again_and_told_of() {
    let made = Made::small();
    fs::remove_file(&made.sidecars()[0]).unwrap();
    let tocs = made.sandbox.store().join("tocs");
    let words = [text(&tocs), "1 brick", "no sidecar", "stored again"];
    stored_again(&made, &words, 2);
}

#[test]
fn without_sidecar_and_catalog_a_brick_is_stored_again() {
    let made = Made::small();
    fs::remove_file(&made.sidecars()[0]).unwrap();
    fs::remove_dir_all(made.sandbox.catalog()).unwrap();
    stored_again(&made, &["1 brick,"], 2);
}

#[test]
fn a_sidecar_brought_back_counts_again() {
    let made = Made::small();
    let sidecar = &made.sidecars()[0];
    let away = sidecar.with_extension("away");
    fs::rename(sidecar, &away).unwrap();
    stored_again(&made, &["no sidecar"], 2);
    fs::rename(&away, sidecar).unwrap();
    let run = made.archive_again(&[]).exits(0);
    assert!(!run.stderr.contains("warning"), "{}", run.stderr);
    assert_eq!(made.bricks().len(), 2);
}

#[test]
fn a_damaged_sidecar_is_left_out_with_a_warning() {
    for offset in [0, 8, 20, 60, 80, u64::MAX] {
        let made = Made::small();
        let sidecar = &made.sidecars()[0];
        flip(sidecar, offset.min(length(sidecar) - 1), 1);
        fs::remove_dir_all(made.sandbox.catalog()).unwrap();
        let words = [
            "warning",
            text(sidecar),
            "left out of deduplication",
            "bring back",
        ];
        stored_again(&made, &words, 2);
    }
}

#[test]
fn a_truncated_sidecar_is_left_out_with_a_warning() {
    for kept in [0, 1, 71, 72, 100] {
        let made = Made::small();
        let sidecar = &made.sidecars()[0];
        cut(sidecar, kept);
        fs::remove_dir_all(made.sandbox.catalog()).unwrap();
        stored_again(&made, &["warning", text(sidecar), "left out"], 2);
    }
}

#[test]
fn another_bricks_sidecar_under_this_name_is_left_out() {
    let made = Made::three_bricks();
    let sidecars = made.sidecars();
    fs::copy(&sidecars[1], &sidecars[0]).unwrap();
    fs::remove_dir_all(made.sandbox.catalog()).unwrap();
    let words = ["warning", text(&sidecars[0]), "left out of deduplication"];
    stored_again(&made, &words, 4);
}

#[test]
fn a_sidecar_of_another_store_is_left_out_by_name() {
    let made = Made::small();
    let other = Made::small();
    let sidecar = &made.sidecars()[0];
    fs::copy(&other.sidecars()[0], sidecar).unwrap();
    fs::remove_dir_all(made.sandbox.catalog()).unwrap();
    stored_again(&made, &["warning", text(sidecar), "belongs to store"], 2);
}

#[test]
fn files_of_other_names_among_the_sidecars_are_ignored() {
    let made = Made::small();
    let dir = made.sidecars()[0].parent().unwrap().to_owned();
    for name in ["README", "x.toc", ".toc"] {
        fs::write(dir.join(name), "?").unwrap();
    }
    fs::remove_dir_all(made.sandbox.catalog()).unwrap();
    let run = made.archive_again(&[]).exits(0);
    assert!(!run.stderr.contains("warning"), "{}", run.stderr);
    assert_eq!(made.bricks().len(), 1);
}

#[test]
fn a_marked_brick_is_not_relied_upon() {
    let made = Made::small();
    let dir = made.sandbox.store().join("bad");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join(made.brick().file_stem().unwrap()), "").unwrap();
    stored_again(&made, &["1 brick,"], 2);
}

/// The catalog's one data file.
fn data_file(made: &Made) -> PathBuf {
    fs::read_dir(made.sandbox.catalog())
        .unwrap()
        .map(|entry| entry.unwrap().path().join("data.mdb"))
        .find(|path| path.is_file())
        .unwrap()
}

/// The run works with this in the place of the catalog, and stores nothing again.
#[track_caller]
fn works_with(made: &Made, data: &[u8], words: &[&str]) {
    let path = data_file(made);
    fs::write(&path, data).unwrap();
    let before = made.sandbox.stored_files();
    made.archive_again(&[]).exits(0).says(words);
    assert_eq!(made.sandbox.stored_files(), before);
    let again = made.sandbox.path().join("again.tar");
    assert!(fs::read(&again).unwrap() == fs::read(&made.index).unwrap());
    made.sandbox.run(["store"]).exits(0);
}

#[test]
fn a_catalog_of_noise_is_made_anew() {
    let made = Made::three_bricks();
    for length in [1, 511, 4096, 10_000, 100_000] {
        let noise = Random(length as u64).bytes(length);
        works_with(&made, &noise, &["catalog", "made anew from the store"]);
    }
}

#[test]
fn a_catalog_of_zeros_is_made_anew() {
    let made = Made::three_bricks();
    for length in [1, 4096, 8192, 65_536] {
        works_with(
            &made,
            &vec![0; length],
            &["catalog", "made anew from the store"],
        );
    }
    // An empty file is a catalog in which nothing stands yet.
    works_with(&made, b"", &[]);
}

#[test]
fn a_catalog_cut_at_odd_lengths_works() {
    let made = Made::three_bricks();
    let whole = fs::read(data_file(&made)).unwrap();
    for length in [
        1,
        100,
        4095,
        4097,
        8192,
        12_345,
        (whole.len() / 2) | 1,
        whole.len() - 1,
    ] {
        works_with(&made, &whole[..length.min(whole.len())], &[]);
    }
}

#[test]
fn a_catalog_with_noise_in_each_page_works() {
    let made = Made::three_bricks();
    let whole = fs::read(data_file(&made)).unwrap();
    for page in 0..whole.len() / 4096 {
        let mut data = whole.clone();
        Random(page as u64).fill(&mut data[page * 4096..][..4096]);
        works_with(&made, &data, &[]);
        let mut data = whole.clone();
        data[page * 4096..][..4096].fill(0);
        works_with(&made, &data, &[]);
    }
}

#[test]
fn a_catalog_of_another_store_is_made_anew() {
    let made = Made::three_bricks();
    let other = Made::small();
    let foreign = fs::read(data_file(&other)).unwrap();
    works_with(&made, &foreign, &["another store", "made anew"]);
}

#[test]
fn a_file_in_the_place_of_the_catalog_gives_way() {
    let made = Made::small();
    let dir = data_file(&made).parent().unwrap().to_owned();
    fs::remove_dir_all(&dir).unwrap();
    fs::write(&dir, "not a folder").unwrap();
    made.archive_again(&[]).exits(0).says(&["made anew"]);
    assert_eq!(made.bricks().len(), 1);
}

#[test]
fn incomplete_does_without_missing_sidecars_and_says_so() {
    let made = Made::small();
    fs::remove_dir_all(made.sandbox.store().join("tocs")).unwrap();
    let index = made.sandbox.path().join("cut.tar");
    fs::copy(&made.index, &index).unwrap();
    cut(&index, length(&index) - 512);
    let run = made.restore_index(&index, &["--incomplete"]);
    run.exits(3).says(&["no sidecar", "bring back", "first"]);
}
