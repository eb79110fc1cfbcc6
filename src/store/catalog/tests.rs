use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::fs::{FlockOperation, flock};

use super::entry::{self, IDENTITY, Kind};
use super::pages::DataFile;
use super::*;
use crate::store::testing::{self, id, key, length, name, toc, write_dead_list, write_sidecar};

/// A map that is soon too small.
const SMALL_MAP: usize = 256 << 10;

pub(super) struct Bed {
    /// Nothing for a bed that another process will remove.
    _dir: Option<tempfile::TempDir>,
    path: PathBuf,
    pub store: Store,
    pub keys: PutKeys,
}

impl Bed {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (store, keys) = testing::store(&dir.path().join("store"));
        Self {
            path: dir.path().to_owned(),
            _dir: Some(dir),
            store,
            keys,
        }
    }

    /// The bed of another process.
    pub fn again(path: &Path) -> Self {
        let store = Store::open(&path.join("store"), &key(1)).unwrap();
        let keys = store.put_keys(&key(1)).unwrap();
        Self {
            _dir: None,
            path: path.to_owned(),
            store,
            keys,
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn cache(&self) -> PathBuf {
        self.path.join("cache")
    }

    /// As if another process merged runs, until the file is dropped.
    pub fn others_merge(&self) -> File {
        let lock = File::create(self.data_file().with_file_name("merging")).unwrap();
        flock(&lock, FlockOperation::LockExclusive).unwrap();
        lock
    }

    /// What a catalog made from nothing but the store answers, without some bricks.
    pub fn expected(&self, without: &[u32]) -> Answers {
        let cache = self.path.join("expected");
        let (mut catalog, _) =
            Catalog::open_sized(&cache, &self.store, &self.keys, SMALL_MAP).unwrap();
        let without: Vec<_> = without.iter().map(|&brick| name(brick)).collect();
        let answers = answers(&mut catalog, 0..5_000);
        assert!(answers.values().all(|answer| !without.contains(&answer.0)));
        drop(catalog);
        fs::remove_dir_all(cache).unwrap();
        answers
    }

    pub fn data_file(&self) -> PathBuf {
        self.cache()
            .join(self.store.id().to_string())
            .join("data.mdb")
    }

    pub fn open(&self) -> (Catalog, CatalogReport) {
        Catalog::open_sized(&self.cache(), &self.store, &self.keys, SMALL_MAP).unwrap()
    }

    /// Opens it from nothing.
    pub fn open_anew(&self) -> (Catalog, CatalogReport) {
        if self.cache().exists() {
            fs::remove_dir_all(self.cache()).unwrap();
        }
        self.open()
    }

    pub fn sidecar(&self, brick: u32, frames: &[&[u32]]) -> u64 {
        write_sidecar(&self.store, &self.keys, &name(brick), &toc(frames))
    }

    /// The seal of a brick's sidecar.
    pub fn seal(&self, brick: u32) -> SidecarSeal {
        let seal = self.store.layout().sidecar_seal(&name(brick));
        seal.unwrap().unwrap()
    }

    /// Puts a brick on a dead list, or marks it as damaged; returns the path of either.
    pub fn mark(&self, brick: u32, dead: bool) -> PathBuf {
        if dead {
            return write_dead_list(&self.store, &self.keys, &[name(brick)]);
        }
        self.store.mark(&self.keys, &name(brick), "").unwrap();
        self.store.layout().mark_path(&name(brick))
    }

    /// Takes a sidecar away: its seal is drawn at random, so another one is not the same.
    fn remove_sidecar(&self, brick: u32) {
        fs::rename(self.store.toc_path(&name(brick)), self.removed(brick)).unwrap();
    }

    fn put_back(&self, brick: u32) {
        fs::rename(self.removed(brick), self.store.toc_path(&name(brick))).unwrap();
    }

    fn removed(&self, brick: u32) -> PathBuf {
        self.path.join(format!("removed {brick}"))
    }
}

pub(super) type Answers = BTreeMap<u32, (BrickName, u64, u32, u32, FrameInfo)>;

/// What the catalog answers for the chunks of these numbers: brick, its length, frame, place.
pub(super) fn answers(catalog: &mut Catalog, chunks: std::ops::Range<u32>) -> Answers {
    let ids: Vec<_> = chunks.clone().map(id).collect();
    let lengths: Vec<_> = chunks.clone().map(length).collect();
    let mut found = Vec::new();
    catalog.lookup(&ids, &lengths, &mut found).unwrap();
    assert_eq!(found.len(), ids.len());
    let mut answers = Answers::new();
    for (chunk, location) in chunks.zip(found) {
        if let Some(location) = location {
            assert_eq!(location.length, length(chunk));
            let brick = catalog.brick(location.brick).unwrap();
            let frame = catalog.frame(location.brick, location.frame).unwrap();
            let answer = (
                brick.name,
                brick.length,
                location.frame,
                location.place,
                frame,
            );
            answers.insert(chunk, answer);
        }
    }
    answers
}

pub(super) fn bricks(
    catalog: &mut Catalog,
    chunks: std::ops::Range<u32>,
) -> Vec<Option<BrickName>> {
    let answers = answers(catalog, chunks.clone());
    chunks
        .map(|chunk| answers.get(&chunk).map(|answer| answer.0))
        .collect()
}

#[test]
fn an_empty_store_has_nothing() {
    let bed = Bed::new();
    let (mut catalog, report) = bed.open();
    assert_eq!(answers(&mut catalog, 0..9), Answers::new());
    assert_eq!((report.live, report.loaded, report.rebuilt), (0, 0, None));
    assert_eq!(catalog.totals().unwrap(), CatalogTotals::default());
}

#[test]
fn sidecars_are_loaded_once() {
    let bed = Bed::new();
    let brick_length = bed.sidecar(1, &[&[0, 1], &[2]]);
    let (mut catalog, report) = bed.open();
    assert_eq!((report.live, report.loaded), (1, 1));
    let found = answers(&mut catalog, 0..4);
    let first = FrameInfo {
        offset: 80,
        length: 1002,
        plain_length: length(0) + length(1) + 2,
    };
    let second = FrameInfo {
        offset: 1082,
        length: 1001,
        plain_length: length(2) + 1,
    };
    let brick = name(1);
    let expected = [
        (0, (brick, brick_length, 0, 0, first)),
        (1, (brick, brick_length, 0, 1, first)),
        (2, (brick, brick_length, 1, 0, second)),
    ];
    assert_eq!(found, Answers::from(expected));
    let reference = catalog
        .insert(&brick, brick_length, &toc(&[&[0]]), &bed.seal(1))
        .unwrap();
    let mut frames = Vec::new();
    catalog.frames(reference, &mut frames).unwrap();
    assert_eq!(
        frames,
        [first, second],
        "a brick that is known stays as it is"
    );
    assert!(catalog.frame(reference, 2).is_err());
    drop(catalog);
    let (mut catalog, report) = bed.open();
    assert_eq!((report.live, report.loaded), (1, 0));
    assert_eq!(answers(&mut catalog, 0..4), found);
}

#[test]
fn another_length_is_another_chunk() {
    let bed = Bed::new();
    bed.sidecar(1, &[&[0]]);
    let (mut catalog, _) = bed.open();
    let mut found = Vec::new();
    catalog
        .lookup(&[id(0)], &[length(0) + 1], &mut found)
        .unwrap();
    assert_eq!(found, [None]);
}

#[test]
fn made_at_once_and_brick_by_brick_it_answers_alike() {
    let bed = Bed::new();
    let (mut catalog, _) = bed.open();
    let contents: Vec<Vec<u32>> = (0..40u32)
        .map(|brick| (brick * 50..brick * 50 + 100).collect())
        .collect();
    // Each chunk but the outermost stands in two bricks; entered from the last to the first.
    for (brick, chunks) in (0..40).zip(&contents).rev() {
        let frames: Vec<_> = chunks.chunks(30).collect();
        let length = bed.sidecar(brick, &frames);
        catalog
            .insert(&name(brick), length, &toc(&frames), &bed.seal(brick))
            .unwrap();
    }
    let one_by_one = answers(&mut catalog, 0..2100);
    let totals = catalog.totals().unwrap();
    drop(catalog);
    let (mut catalog, report) = bed.open();
    assert_eq!(report.loaded, 0);
    assert_eq!(answers(&mut catalog, 0..2100), one_by_one);
    drop(catalog);
    let (mut catalog, report) = bed.open_anew();
    assert_eq!(report.loaded, 40);
    assert_eq!(answers(&mut catalog, 0..2100), one_by_one);
    assert_eq!(catalog.totals().unwrap(), totals);
    assert_eq!(
        (totals.bricks, totals.frames, totals.chunks),
        (40, 160, 4000)
    );
    assert_eq!(one_by_one.len(), 2050);
}

#[test]
fn of_several_bricks_the_smallest_live_name_wins() {
    let bed = Bed::new();
    let mut sorted = [1, 2, 3];
    sorted.sort_by_key(|&brick| name(brick));
    let [small, middle, great] = sorted;
    let (mut catalog, _) = bed.open();
    for brick in [middle, great, small] {
        let length = bed.sidecar(brick, &[&[0]]);
        catalog
            .insert(&name(brick), length, &toc(&[&[0]]), &bed.seal(brick))
            .unwrap();
    }
    assert_eq!(bricks(&mut catalog, 0..1), [Some(name(small))]);
    drop(catalog);
    for (gone, next) in [(small, Some(middle)), (middle, Some(great)), (great, None)] {
        bed.remove_sidecar(gone);
        let expected = [next.map(name)];
        assert_eq!(bricks(&mut bed.open().0, 0..1), expected);
    }
    assert_eq!(bed.open().1.vanished, 3);
    bed.put_back(great);
    assert_eq!(bricks(&mut bed.open().0, 0..1), [Some(name(great))]);
    bed.put_back(small);
    assert_eq!(bricks(&mut bed.open().0, 0..1), [Some(name(small))]);
}

#[test]
fn a_chunk_twice_in_a_brick_is_found_at_its_first_place() {
    let bed = Bed::new();
    bed.sidecar(1, &[&[5, 0], &[0, 0]]);
    let (mut catalog, _) = bed.open();
    let found = answers(&mut catalog, 0..1);
    assert_eq!((found[&0].2, found[&0].3), (0, 1));
}

#[test]
fn a_vanished_sidecar_hides_its_brick_until_it_is_back() {
    let bed = Bed::new();
    bed.sidecar(1, &[&[0]]);
    bed.sidecar(2, &[&[1]]);
    drop(bed.open());
    bed.remove_sidecar(1);
    let (mut catalog, report) = bed.open();
    assert_eq!((report.live, report.vanished, report.loaded), (1, 1, 0));
    assert_eq!(report.newly_vanished, 1);
    assert_eq!(bricks(&mut catalog, 0..2), [None, Some(name(2))]);
    assert_eq!(catalog.totals().unwrap().bricks, 1);
    drop(catalog);
    let (_, report) = bed.open();
    assert_eq!((report.vanished, report.newly_vanished), (1, 0));
    bed.put_back(1);
    let (mut catalog, report) = bed.open();
    assert_eq!((report.live, report.vanished), (2, 0));
    assert_eq!(bricks(&mut catalog, 0..2), [Some(name(1)), Some(name(2))]);
}

#[test]
fn a_marked_brick_does_not_count() {
    for (dead, known) in [(true, false), (false, false), (true, true), (false, true)] {
        let bed = Bed::new();
        bed.sidecar(1, &[&[0]]);
        if known {
            drop(bed.open());
        }
        let mark = bed.mark(1, dead);
        let (mut catalog, report) = bed.open();
        assert_eq!((report.live, report.marked), (0, 1));
        assert_eq!(bricks(&mut catalog, 0..1), [None]);
        drop(catalog);
        fs::remove_file(mark).unwrap();
        assert_eq!(bricks(&mut bed.open().0, 0..1), [Some(name(1))]);
    }
}

#[test]
fn damaged_sidecars_are_reported_and_left_out() {
    let bed = Bed::new();
    for brick in 0..3 {
        bed.sidecar(brick, &[&[brick]]);
    }
    let path = bed.store.toc_path(&name(0));
    let good = fs::read(&path).unwrap();
    let mut bytes = good.clone();
    bytes[3] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let empty = bed.store.toc_path(&name(1));
    fs::write(&empty, b"").unwrap();
    let (mut catalog, report) = bed.open();
    let mut damaged: Vec<_> = report
        .damaged
        .iter()
        .map(|(path, _)| path.clone())
        .collect();
    damaged.sort();
    let mut expected = vec![path.clone(), empty];
    expected.sort();
    assert_eq!(damaged, expected);
    assert_eq!(bricks(&mut catalog, 0..3), [None, None, Some(name(2))]);
    drop(catalog);
    fs::write(&path, &good).unwrap();
    let (mut catalog, report) = bed.open();
    assert_eq!((report.loaded, report.damaged.len()), (1, 1));
    assert_eq!(
        bricks(&mut catalog, 0..3),
        [Some(name(0)), None, Some(name(2))]
    );
}

/// Damages the catalog by `harm`, and expects that it is made anew and answers as before.
fn made_anew_after(harm: impl FnOnce(&Bed)) {
    let bed = Bed::new();
    for brick in 0..50 {
        let chunks: Vec<_> = (brick * 100..brick * 100 + 100).collect();
        bed.sidecar(brick, &[&chunks]);
    }
    let (mut catalog, _) = bed.open();
    let before = answers(&mut catalog, 0..5000);
    assert_eq!(before.len(), 5000);
    drop(catalog);
    harm(&bed);
    let (mut catalog, report) = bed.open();
    assert!(report.rebuilt.is_some());
    assert_eq!(report.loaded, 50);
    assert_eq!(answers(&mut catalog, 0..5000), before);
    drop(catalog);
    assert_eq!(bed.open().1.rebuilt, None);
    let leftovers: Vec<_> = fs::read_dir(bed.cache()).unwrap().collect();
    assert_eq!(
        leftovers.len(),
        2,
        "the catalog and its lock: {leftovers:?}"
    );
}

#[test]
fn a_garbage_catalog_is_made_anew() {
    made_anew_after(|bed| fs::write(bed.data_file(), vec![0x5a; 100_000]).unwrap());
    made_anew_after(|bed| fs::write(bed.data_file(), b"x").unwrap());
    made_anew_after(|bed| {
        fs::remove_dir_all(bed.data_file().parent().unwrap()).unwrap();
        fs::write(bed.data_file().parent().unwrap(), b"a file").unwrap();
    });
}

#[test]
fn a_truncated_catalog_is_made_anew() {
    for keep in [1, 100, 4096, 8192, 20_000, 100_000] {
        made_anew_after(|bed| {
            let file = File::options().write(true).open(bed.data_file()).unwrap();
            assert!(file.metadata().unwrap().len() > keep);
            file.set_len(keep).unwrap();
        });
    }
}

#[test]
fn a_catalog_with_garbage_behind_good_meta_pages_is_made_anew() {
    for garbage in [0, 0x5a, 0xff] {
        made_anew_after(|bed| {
            let file = File::options().write(true).open(bed.data_file()).unwrap();
            let length = file.metadata().unwrap().len();
            for page in (8192..length).step_by(4096) {
                file.write_all_at(&[garbage; 4096], page).unwrap();
            }
        });
    }
}

#[test]
fn the_catalog_of_another_store_is_made_anew() {
    made_anew_after(|bed| {
        let other = Bed::new();
        other.sidecar(1, &[&[0, 1, 2]]);
        drop(other.open());
        fs::copy(other.data_file(), bed.data_file()).unwrap();
    });
}

#[test]
fn a_catalog_of_another_version_is_made_anew() {
    made_anew_after(|bed| {
        let mut environment =
            Environment::open(bed.data_file().parent().unwrap(), SMALL_MAP).unwrap();
        let checker = Checker::of_store(bed.store.id());
        let mut other = entry::identity(bed.store.id(), [7; 16]);
        other[0] += 1;
        checker.seal(Kind::Meta, IDENTITY, &mut other);
        environment
            .write(|txn, tables| Ok(tables.meta.put(txn, IDENTITY, &other)?))
            .unwrap();
    });
}

#[test]
fn ordinals_that_do_not_verify_make_it_anew() {
    made_anew_after(|bed| {
        let mut environment =
            Environment::open(bed.data_file().parent().unwrap(), SMALL_MAP).unwrap();
        environment
            .write(|txn, tables| Ok(tables.names.put(txn, &name(7).0, &[7; 8])?))
            .unwrap();
    });
}

#[test]
fn runs_that_do_not_verify_make_it_anew() {
    made_anew_after(|bed| {
        let dir = bed.data_file();
        let mut environment = Environment::open(dir.parent().unwrap(), SMALL_MAP).unwrap();
        environment
            .write(|txn, tables| Ok(tables.meta.put(txn, entry::RUNS, &[7; 20])?))
            .unwrap();
    });
}

#[test]
fn a_damaged_record_is_an_error_that_says_what_to_do() {
    let bed = Bed::new();
    let length = bed.sidecar(1, &[&[0]]);
    let (mut catalog, _) = bed.open();
    let brick = catalog
        .insert(&name(1), length, &toc(&[&[0]]), &bed.seal(1))
        .unwrap();
    catalog
        .environment
        .write(|txn, tables| Ok(tables.bricks.put(txn, &entry::brick_key(brick), &[0; 80])?))
        .unwrap();
    let text = catalog.brick(brick).unwrap_err().to_string();
    assert!(text.contains("delete this folder"), "{text}");
}

#[test]
fn the_map_grows_past_its_first_size() {
    let bed = Bed::new();
    let (mut catalog, _) = bed.open();
    assert_eq!(catalog.environment.map_size(), SMALL_MAP);
    let chunks: Vec<_> = (0..30_000).collect();
    let length = bed.sidecar(1, &[&chunks]);
    catalog
        .insert(&name(1), length, &toc(&[&chunks]), &bed.seal(1))
        .unwrap();
    assert!(catalog.environment.map_size() > 4 * SMALL_MAP);
    assert_eq!(answers(&mut catalog, 0..30_001).len(), 30_000);
    drop(catalog);
    let (mut catalog, report) = bed.open();
    assert_eq!(report.rebuilt, None);
    assert_eq!(answers(&mut catalog, 0..30_001).len(), 30_000);
}

#[test]
fn a_catalog_may_go_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<Catalog>();
}

#[test]
fn one_process_opens_it_once() {
    let bed = Bed::new();
    let _open = bed.open();
    let again = Catalog::open_sized(&bed.cache(), &bed.store, &bed.keys, SMALL_MAP);
    assert!(matches!(again, Err(Error::Internal(_))));
}

#[test]
fn a_catalog_that_cannot_be_made_is_an_error_that_names_the_folder() {
    let bed = Bed::new();
    fs::write(bed.cache(), b"a file").unwrap();
    let error = Catalog::open_sized(&bed.cache(), &bed.store, &bed.keys, SMALL_MAP)
        .err()
        .unwrap();
    let text = error.to_string();
    assert!(text.contains(bed.cache().to_str().unwrap()), "{text}");
}

#[test]
fn meta_pages_that_lie_are_found_before_they_are_mapped() {
    let bed = Bed::new();
    bed.sidecar(1, &[&[0]]);
    drop(bed.open());
    let path = bed.data_file();
    let good = fs::read(&path).unwrap();
    DataFile::open(&path).unwrap().unwrap().walk().unwrap();
    // Magic, page size, root of the main table, last page: `MDB_meta` behind a page header.
    for offset in [16, 40, 40 + 48 + 40 + 6, 136 + 6] {
        for page in [0, 4096] {
            fs::write(&path, &good).unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            file.write_all_at(&[0x13], page + offset).unwrap();
            assert!(DataFile::open(&path).is_err(), "{page} + {offset}");
        }
    }
}

#[test]
fn a_missing_or_empty_data_file_is_good() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.mdb");
    assert!(DataFile::open(&path).unwrap().is_none());
    fs::write(&path, b"").unwrap();
    assert!(DataFile::open(&path).unwrap().is_none());
}

/// Whatever byte is damaged: what opens answers right or not at all, and
/// nothing kills the process.
#[test]
fn no_damaged_byte_kills_or_misleads() {
    let bed = Bed::new();
    let chunks: Vec<_> = (0..400).collect();
    for brick in 0..3 {
        bed.sidecar(brick, &[&chunks[..200], &chunks[200..]]);
    }
    let (mut catalog, _) = bed.open();
    let good_answers = answers(&mut catalog, 0..400);
    assert_eq!(good_answers.len(), 400);
    drop(catalog);
    let good = fs::read(bed.data_file()).unwrap();
    for round in 0..150_u32 {
        let mut bytes = good.clone();
        let random = blake3::hash(&round.to_le_bytes());
        for random in random.as_bytes().chunks_exact(8).take(3) {
            let at = u32::from_le_bytes([random[0], random[1], random[2], random[3]]);
            let at = at as usize % bytes.len();
            bytes[at] = random[4];
        }
        fs::write(bed.data_file(), &bytes).unwrap();
        let (mut catalog, _) = bed.open();
        let ids: Vec<_> = chunks.iter().map(|&chunk| id(chunk)).collect();
        let lengths: Vec<_> = chunks.iter().map(|&chunk| length(chunk)).collect();
        let mut found = Vec::new();
        if catalog.lookup(&ids, &lengths, &mut found).is_err() {
            continue;
        }
        for (chunk, location) in (0..).zip(found) {
            let Some(location) = location else { continue };
            if let Ok(brick) = catalog.brick(location.brick) {
                let (_, length, frame, place, info) = good_answers[&chunk];
                assert_eq!((location.frame, location.place), (frame, place));
                assert_eq!(brick.length, length);
                assert_eq!(catalog.frame(location.brick, frame).unwrap(), info);
            }
        }
    }
}

/// Large files are looked at as a whole only then.
#[test]
fn after_a_user_died_every_page_is_looked_at() {
    made_anew_after(|bed| {
        let path = bed.data_file();
        let file = File::options().write(true).open(&path).unwrap();
        let length = file.metadata().unwrap().len();
        for page in (8192..length).step_by(4096) {
            file.write_all_at(&[0x5a; 4096], page).unwrap();
        }
        file.set_len(64 << 20).unwrap();
        fs::write(path.with_file_name("users").join("dead"), b"").unwrap();
    });
}

/// Lists of free pages and overflow pages occur here.
#[test]
fn a_good_file_passes_the_walk() {
    let bed = Bed::new();
    let (mut catalog, _) = bed.open();
    let many: Vec<Vec<u32>> = (0..300).map(|frame| vec![frame + 1_000, 0]).collect();
    let frames: Vec<_> = many.iter().map(Vec::as_slice).collect();
    for brick in 0..200 {
        let frames = if brick % 20 == 0 {
            &frames[..]
        } else {
            &frames[..1]
        };
        let length = bed.sidecar(brick, frames);
        catalog
            .insert(&name(brick), length, &toc(frames), &bed.seal(brick))
            .unwrap();
    }
    drop(catalog);
    DataFile::open(&bed.data_file())
        .unwrap()
        .unwrap()
        .walk()
        .unwrap();
    let (mut catalog, report) = bed.open();
    assert_eq!((report.rebuilt, report.loaded), (None, 0));
    assert_eq!(answers(&mut catalog, 0..1).len(), 1);
}

const CHILD: &str = "DTAR_TEST_CATALOG_CHILD";
const BRICKS_EACH: u32 = 60;

/// Writes sidecars and enters them, as one of several processes.
fn enter_many(bed: &Path, process: u32) {
    let bed = Bed::again(bed);
    let (mut catalog, _) = bed.open();
    for number in 0..BRICKS_EACH {
        let brick = process * BRICKS_EACH + number;
        let chunks: Vec<_> = (brick * 100..brick * 100 + 110).collect();
        let frames = toc(&[&chunks]);
        let length = bed.sidecar(brick, &[&chunks]);
        catalog
            .insert(&name(brick), length, &frames, &bed.seal(brick))
            .unwrap();
        let own = answers(&mut catalog, brick * 100..brick * 100 + 110);
        assert_eq!(own.len(), 110, "of brick {brick}");
    }
}

/// Not a test of its own: the other process of the next one.
#[test]
#[ignore = "run by several_processes_enter_at_once"]
fn child() {
    if let Ok(bed) = std::env::var(CHILD) {
        enter_many(Path::new(&bed), 1);
    }
}

#[test]
fn several_processes_enter_at_once() {
    let bed = Bed::new();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::catalog::tests::child", "--ignored"])
        .env(CHILD, bed.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    enter_many(bed.path(), 0);
    assert!(child.wait().unwrap().success());
    let (mut catalog, report) = bed.open();
    assert_eq!(report.live, u64::from(2 * BRICKS_EACH));
    assert_eq!((report.loaded, report.rebuilt), (0, None));
    let both = answers(&mut catalog, 0..100 * 2 * BRICKS_EACH + 10);
    drop(catalog);
    assert_eq!(
        both,
        answers(&mut bed.open_anew().0, 0..100 * 2 * BRICKS_EACH + 10)
    );
}

/// What another process enters while this one has the catalog open counts, too.
#[test]
fn bricks_of_other_processes_are_seen() {
    let bed = Bed::new();
    let (mut catalog, _) = bed.open();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::catalog::tests::child", "--ignored"])
        .env(CHILD, bed.path())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let first = BRICKS_EACH * 100;
    // The other process has grown the map, too.
    assert_eq!(answers(&mut catalog, first..first + 110).len(), 110);
    assert!(catalog.environment.map_size() > SMALL_MAP);
}
