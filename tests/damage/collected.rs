//! Damage and gc: what heals is kept, however it came to be needed, and gc stops where
//! it cannot know.

use std::fs;
use std::path::{Path, PathBuf};

use dtar::brick::seal_note;
use dtar::crypto::KeyFile;
use dtar::format::note::{Note, NoteKind};
use dtar::id::WriterId;
use dtar::store::layout::RunName;
use dtar::store::runs::new_note;
use serde_json::Value;

use crate::common::block::Stream;
use crate::common::sandbox::{KEY, Run, Sandbox};
use crate::common::source::Random;
use crate::made::{flip, text};
use crate::scene::summary;

/// A store with data bricks alone: its runs make no snapshots.
struct Store {
    sandbox: Sandbox,
}

/// Two large files, of which one is wanted longer than the other; the second frame has
/// of both.
const LARGE: u64 = 8_000_000;
const SMALL: u64 = 2_000_000;

fn file(name: &str, seed: u64, length: u64) -> Stream {
    let bytes = Random(seed).bytes(usize::try_from(length).unwrap());
    Stream::new().file(name, &bytes)
}

fn both() -> Vec<u8> {
    let small = file("small", 2, SMALL).end();
    file("large", 1, LARGE).raw(&small).end()
}

fn small() -> Vec<u8> {
    file("small", 2, SMALL).end()
}

impl Store {
    fn new() -> Self {
        Self {
            sandbox: Sandbox::new(),
        }
    }

    /// Archives, and returns the index.
    fn archive(&self, name: &str, stream: &[u8]) -> PathBuf {
        let index = self.sandbox.path().join(name);
        let options = ["-q", "--no-snapshot", "--label", name];
        self.sandbox.archive_to(options, stream, &index).exits(0);
        index
    }

    /// Gives up the run that ended last, or the one before.
    fn forget(&self, number: usize) {
        let mut roots: Vec<_> = fs::read_dir(self.path("roots"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        roots.sort_unstable();
        let root = &roots[roots.len() - number];
        let name = format!("@{}", root.strip_suffix(".root").unwrap());
        self.sandbox.run(["forget", &name]).exits(0);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.sandbox.store().join(name)
    }

    fn bricks(&self) -> Vec<PathBuf> {
        let mut files = self.sandbox.stored_files();
        files.retain(|path| path.extension().is_some_and(|ending| ending == "brick"));
        files
    }

    #[track_caller]
    fn brick(&self) -> PathBuf {
        let mut bricks = self.bricks();
        assert_eq!(bricks.len(), 1, "{bricks:?}");
        bricks.remove(0)
    }

    /// The brick that is not `other`.
    #[track_caller]
    fn other_brick(&self, other: &Path) -> PathBuf {
        let mut bricks = self.bricks();
        bricks.retain(|brick| brick != other);
        assert_eq!(bricks.len(), 1, "{bricks:?}");
        bricks.remove(0)
    }

    fn sidecar(&self, brick: &Path) -> PathBuf {
        let name = brick.file_stem().unwrap().to_str().unwrap();
        self.path("tocs")
            .join(&name[..2])
            .join(format!("{name}.toc"))
    }

    fn mark(&self, brick: &Path) -> PathBuf {
        self.path("bad").join(brick.file_stem().unwrap())
    }

    fn gc(&self, options: &[&str]) -> Run {
        self.sandbox.run(["gc", "--json"].iter().chain(options))
    }

    #[track_caller]
    fn collects(&self, options: &[&str]) -> Value {
        summary(&self.gc(options).exits(0))
    }

    #[track_caller]
    fn restores(&self, index: &Path, stream: &[u8]) {
        self.sandbox.restores(index, stream);
    }

    /// A store in which gc has moved the small file: its index, the old brick's name and
    /// bytes, the new brick.
    #[track_caller]
    fn rewritten() -> (Self, PathBuf, (PathBuf, Vec<u8>), PathBuf) {
        let store = Self::new();
        store.archive("both.tar", &both());
        let old = store.brick();
        let bytes = fs::read(&old).unwrap();
        let index = store.archive("small.tar", &small());
        store.forget(2);
        assert_eq!(store.collects(&["--threshold", "100"])["rewritten"], 1);
        let new = store.brick();
        (store, index, (old, bytes), new)
    }

    /// Stores all chunks of a brick once more, as a run does that knows nothing of it.
    fn again(&self, brick: &Path, stream: &[u8]) {
        fs::create_dir_all(self.path("bad")).unwrap();
        fs::write(self.mark(brick), b"").unwrap();
        self.archive("again.tar", stream);
        fs::remove_file(self.mark(brick)).unwrap();
    }
}

#[test]
fn what_heals_a_rewritten_brick_is_kept() {
    let (store, index, _, new) = Store::rewritten();
    flip(&new, 3_000_000, 1);
    store.sandbox.run(["verify"]).exits(3);
    store.archive("again.tar", &small());
    store.restores(&index, &small());
    store.forget(1);
    store.collects(&[]);
    store.restores(&index, &small());
}

#[test]
fn what_heals_a_brick_is_kept_if_its_damage_shows_only_while_it_is_rewritten() {
    let store = Store::new();
    store.archive("both.tar", &both());
    let old = store.brick();
    let index = store.archive("small.tar", &small());
    store.again(&old, &both());
    store.forget(3);
    store.forget(1);
    flip(&old, LARGE, 1);
    let run = store.gc(&["--threshold", "100"]).exits(0);
    run.says(&["marked bad"]);
    store.restores(&index, &small());
}

/// Two bricks that are damaged at different places heal each other.
#[test]
fn a_brick_with_a_mark_may_heal_another() {
    let store = Store::new();
    store.archive("both.tar", &both());
    let old = store.brick();
    flip(&old, 1_000_000, 1);
    store.sandbox.run(["verify"]).exits(3);
    store.archive("again.tar", &both());
    let again = store.other_brick(&old);
    flip(&again, LARGE + 1_000_000, 1);
    store.sandbox.run(["verify"]).exits(3);
    store.forget(1);
    store.collects(&[]);
    assert!(again.exists() && old.exists());
}

#[test]
fn gc_stops_if_a_damaged_brick_has_lost_its_sidecar() {
    let store = Store::new();
    let index = store.archive("both.tar", &both());
    let old = store.brick();
    flip(&old, 1_000_000, 1);
    store.sandbox.run(["verify"]).exits(3);
    store.archive("again.tar", &both());
    flip(&store.sidecar(&old), 500, 1);
    store.forget(1);
    store.gc(&[]).exits(3).says(&["nothing is deleted"]);
    store.restores(&index, &both());
}

#[test]
fn a_brick_that_lies_elsewhere_does_not_take_the_place_of_one_that_is_here() {
    let (store, index, (old, bytes), new) = Store::rewritten();
    // As if the old brick had been away all the while, and its sidecar come back.
    fs::write(&old, bytes).unwrap();
    store.sandbox.run(["rebuild"]).exits(0);
    assert!(store.sidecar(&old).exists());
    fs::remove_file(&old).unwrap();
    store.collects(&[]);
    assert!(new.exists());
    store.restores(&index, &small());
}

#[test]
fn without_its_folder_of_roots_nothing_is_garbage() {
    let store = Store::new();
    let index = store.archive("both.tar", &both());
    let roots = store.path("roots");
    let away = store.sandbox.path().join("away");
    fs::rename(&roots, &away).unwrap();
    store
        .sandbox
        .run(["verify"])
        .exits(3)
        .says(&[text(&roots), "missing"]);
    let run = store.gc(&[]).exits(3);
    run.says(&[text(&roots), "missing", "nothing is deleted"]);
    store.gc(&["--dry-run"]).exits(3);
    fs::rename(&away, &roots).unwrap();
    store.collects(&[]);
    store.restores(&index, &both());
    // Whoever gives up all runs keeps the folder.
    store.forget(1);
    assert_eq!(store.collects(&[])["deleted"], 1);
}

#[test]
fn a_damaged_dead_list_does_not_stand_in_the_way_of_the_remedy() {
    let store = Store::new();
    let index = store.archive("both.tar", &both());
    let list = store.path("dead/00000000000000000007-0123456789abcdef.dead");
    fs::create_dir_all(list.parent().unwrap()).unwrap();
    fs::write(&list, b"damaged").unwrap();
    let brick = store.brick();
    fs::remove_file(store.sidecar(&brick)).unwrap();
    let run = store.sandbox.run(["rebuild"]).exits(3);
    run.says(&["dtar gc"]);
    store.gc(&[]).exits(3).says(&["dtar rebuild"]);
    store.sandbox.run(["rebuild"]).exits(0);
    store.collects(&[]);
    store.restores(&index, &both());
}

/// As a bad sector does.
#[test]
fn a_sidecar_that_cannot_be_read_stops_nobody() {
    let store = Store::new();
    let index = store.archive("small.tar", &small());
    let brick = store.brick();
    store.archive("both.tar", &file("other", 3, LARGE).end());
    store.forget(1);
    let sidecar = store.sidecar(&brick);
    fs::remove_file(&sidecar).unwrap();
    fs::create_dir(&sidecar).unwrap();
    let run = store.gc(&[]).exits(0).says(&["is kept", "sidecar"]);
    assert_eq!(summary(&run)["deleted"], 1);
    store.restores(&index, &small());
}

#[test]
fn a_lease_that_cannot_be_opened_stops_no_archiver() {
    let store = Store::new();
    let index = store.archive("small.tar", &small());
    let run = store.path("runs/00000000000000000007-0123456789abcdef");
    fs::create_dir_all(run.join("lease")).unwrap();
    store.archive("again.tar", &small());
    store.gc(&[]).exits(1).says(&["--end-runs"]);
    store.collects(&["--end-runs"]);
    assert!(!run.exists());
    store.restores(&index, &small());
}

/// A gc was cut off before it deleted the brick that it had rewritten, and then that brick
/// was damaged: what was moved out of it is all there is.
#[test]
fn what_a_brick_was_rewritten_into_goes_only_if_that_brick_is_read_and_whole() {
    let (store, index, (old, bytes), new) = Store::rewritten();
    let back = || {
        let _ = fs::remove_file(&old);
        fs::write(&old, &bytes).unwrap();
        store.sandbox.run(["rebuild"]).exits(0);
        assert!(store.sidecar(&old).exists());
    };
    // In a frame that is needed; without rewriting nothing else reads it.
    back();
    let at = u64::try_from(bytes.len()).unwrap() * 9 / 10;
    flip(&old, at, 1);
    let run = store.gc(&["--threshold", "0"]).exits(0);
    run.says(&["marked bad", "its hash is not its name"]);
    assert!(new.exists() && store.mark(&old).exists());
    store.restores(&index, &small());
    // A bad sector: reading that file is an I/O error.
    for threshold in ["0", "100"] {
        fs::remove_file(store.mark(&old)).unwrap();
        back();
        fs::remove_file(&old).unwrap();
        std::os::unix::fs::symlink("/proc/self/mem", &old).unwrap();
        let run = store.gc(&["--threshold", threshold]).exits(0);
        run.says(&["marked bad", "cannot read it"]);
        assert!(new.exists() && store.mark(&old).exists());
        store.restores(&index, &small());
    }
    // Whole, it is as good as the new one.
    fs::remove_file(store.mark(&old)).unwrap();
    back();
    assert_eq!(store.collects(&["--threshold", "0"])["deleted"], 1);
    assert!(old.exists() && !new.exists());
    store.restores(&index, &small());
}

/// What a gc leaves that is cut off between the sidecar and the brick.
#[test]
fn a_rewritten_brick_whose_deletion_was_cut_off_goes_with_the_next_gc() {
    let store = Store::new();
    store.archive("both.tar", &both());
    let old = store.brick();
    let bytes = fs::read(&old).unwrap();
    let index = store.archive("small.tar", &small());
    store.forget(2);
    store.collects(&["--threshold", "100"]);
    let new = store.brick();
    fs::write(&old, bytes).unwrap();
    // Without the list nobody knows why the sidecar is missing.
    store.collects(&[]);
    assert_eq!(store.bricks().len(), 2);
    write_list(&store.sandbox, &old);
    store.collects(&[]);
    assert_eq!(store.brick(), new);
    store.restores(&index, &small());
}

/// A sidecar that is made again would outlive the brick that is about to be deleted.
#[test]
fn rebuild_says_that_a_sidecar_is_about_to_be_deleted() {
    let store = Store::new();
    let index = store.archive("both.tar", &both());
    let brick = store.brick();
    fs::write(store.sidecar(&brick), b"damaged").unwrap();
    write_list(&store.sandbox, &brick);
    let run = store.sandbox.run(["rebuild"]).exits(3);
    run.says(&[text(&store.sidecar(&brick)), "not made again", "dtar gc"]);
    // The brick stays, and the list goes.
    store.gc(&[]).exits(0).says(&["is kept"]);
    store.sandbox.run(["rebuild"]).exits(0);
    store.collects(&[]);
    store.restores(&index, &both());
}

/// The list of a gc that has ended.
fn write_list(sandbox: &Sandbox, brick: &Path) {
    let KeyFile::Key(key) = KeyFile::parse(KEY.as_bytes()).unwrap() else {
        panic!("a locked key");
    };
    let store = dtar::store::Store::open(&sandbox.store(), &key).unwrap();
    let keys = store.put_keys(&key).unwrap();
    let name = RunName::draw(7).unwrap();
    let note = Note {
        bricks: vec![
            brick
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .parse()
                .unwrap(),
        ],
        ..new_note(NoteKind::DeadList, Some(&name), WriterId([1; 16]))
    };
    let path = store.layout().dead_path(&name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, seal_note(&keys, &note).unwrap()).unwrap();
}
