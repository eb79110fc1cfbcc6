use std::fs;
use std::path::Path;

use super::*;
use crate::brick::seal_note;
use crate::store::testing::store;

fn take(store: &Store, keys: &PutKeys) -> Lease {
    Lease::take(store, keys, NoteKind::ArchiverLease, "nightly").unwrap()
}

fn entries(dir: &Path) -> usize {
    fs::read_dir(dir).map_or(0, Iterator::count)
}

#[test]
fn a_lease_says_whose_it_is_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, keys) = store(dir.path());
    let lease = take(&store, &keys);
    assert_eq!(store.layout().leases().unwrap(), [lease.name().clone()]);
    let other = OtherRun::look(&store, &keys, lease.name())
        .unwrap()
        .unwrap();
    assert!(!other.is_dead && other.is_archiver());
    let note = other.lease.unwrap();
    assert_eq!(note.writer, lease.writer());
    assert_eq!((note.text, note.host), (b"nightly".to_vec(), host_name()));
    let target = dir.path().join("roots/file");
    lease.write(&target, b"content").unwrap();
    assert!(lease.delete(&target).unwrap());
    assert!(!lease.delete(&target).unwrap());
    let half = lease.temp_file().unwrap();
    lease.give_up().unwrap();
    lease.give_up().unwrap();
    drop(half);
    assert_eq!(entries(&store.layout().runs_dir()), 0);
    assert_eq!(entries(&store.layout().temp_dir()), 0);
}

#[test]
fn a_run_that_was_ended_can_do_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let (store, keys) = store(dir.path());
    let lease = take(&store, &keys);
    let half = lease.temp_file().unwrap();
    let target = dir.path().join("roots/file");
    lease.write(&target, b"content").unwrap();
    let other = OtherRun::look(&store, &keys, lease.name())
        .unwrap()
        .unwrap();
    other.end(&store).unwrap();
    let missed = dir.path().join("roots/missed");
    for error in [
        lease.publish(half, &missed).unwrap_err(),
        lease.write(&missed, b"").unwrap_err(),
        lease.delete(&target).unwrap_err(),
        lease.require().unwrap_err(),
    ] {
        assert!(error.to_string().contains("ended by a gc"), "{error}");
    }
    assert!(target.exists() && !missed.exists());
    let error = lease.explain(Error::Interrupted);
    assert!(matches!(error, Error::Interrupted));
}

#[test]
fn only_dead_archivers_are_cleaned_up() {
    let dir = tempfile::tempdir().unwrap();
    let (store, keys) = store(dir.path());
    let living = take(&store, &keys);
    // What a killed process leaves: the folder, and nobody who holds the lock.
    for kind in [NoteKind::ArchiverLease, NoteKind::GcLease] {
        let name = RunName::draw(now()).unwrap();
        let run = store.layout().run_dir(&name);
        fs::create_dir(&run).unwrap();
        let note = new_note(kind, Some(&name), WriterId([1; 16]));
        fs::write(run.join(LEASE), seal_note(&keys, &note).unwrap()).unwrap();
        fs::write(run.join("half"), b"half").unwrap();
        let found = OtherRun::look(&store, &keys, &name).unwrap().unwrap();
        assert!(found.is_dead);
    }
    let remains = store.layout().temp_dir().join("0123456789abcdef");
    fs::create_dir_all(remains.join("more")).unwrap();
    fs::write(remains.join("half"), b"half").unwrap();
    let ended = clean_up(&store, &keys).unwrap();
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0].1.kind, NoteKind::ArchiverLease);
    assert_eq!(entries(&store.layout().temp_dir()), 0);
    assert_eq!(store.layout().leases().unwrap().len(), 2);
    living.require().unwrap();
}

#[test]
fn a_lease_that_does_not_open_is_nobodys() {
    let dir = tempfile::tempdir().unwrap();
    let (store, keys) = store(dir.path());
    let lease = take(&store, &keys);
    let other = take(&store, &keys);
    let path = |lease: &Lease| lease.dir().join(LEASE);
    fs::copy(path(&other), path(&lease)).unwrap();
    let found = OtherRun::look(&store, &keys, lease.name())
        .unwrap()
        .unwrap();
    assert!(found.lease.is_none() && !found.is_dead, "it is locked");
    assert!(clean_up(&store, &keys).unwrap().is_empty());
    lease.require().unwrap();
}

#[test]
fn dead_lists_must_open_and_be_those_of_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let (store, keys) = store(dir.path());
    let lease = take(&store, &keys);
    let bricks = vec![BrickName([1; 32]), BrickName([2; 32])];
    let list = Note {
        bricks: bricks.clone(),
        ..new_note(NoteKind::DeadList, Some(lease.name()), lease.writer())
    };
    let bytes = seal_note(&keys, &list).unwrap();
    let path = store.layout().dead_path(lease.name());
    lease.write(&path, &bytes).unwrap();
    assert_eq!(dead_bricks(&store, &keys).unwrap(), bricks);
    let other = RunName::draw(now()).unwrap();
    let mut damaged = bytes.clone();
    damaged[100] ^= 1;
    for (name, bytes) in [
        (&other, &bytes[..]),
        (lease.name(), &damaged),
        (&other, b""),
    ] {
        let path = store.layout().dead_path(name);
        fs::write(&path, bytes).unwrap();
        let text = dead_bricks(&store, &keys).unwrap_err().to_string();
        assert!(text.contains("dtar gc"), "{text}");
        fs::remove_file(&path).unwrap();
    }
    assert!(dead_bricks(&store, &keys).unwrap().is_empty());
}
