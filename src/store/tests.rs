use std::io::Write;

use super::testing::{key, lease, name, put_key, store, toc, write_dead_list, write_sidecar};
use super::*;
use crate::format::note::NoteKind;
use crate::id::WriterId;

#[test]
fn a_store_is_made_and_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b");
    let others = [key(2).public_key().unwrap()];
    let made = Store::create(&path, &key(1), &others, Epoch(3)).unwrap();
    assert_eq!(made.recipients().len(), 2, "its own key and one other");
    for key in [key(1), made.put_key(&key(1)).unwrap()] {
        let store = Store::open(&path, &key).unwrap();
        assert_eq!(store.id(), made.id());
        assert_eq!(store.epoch(), Epoch(3));
        assert_eq!(store.recipients()[0].hash(), key.public_key_hash());
        assert_eq!(store.recipients().len(), 2);
    }
}

#[test]
fn a_put_key_of_another_store_names_that_store() {
    let dir = tempfile::tempdir().unwrap();
    let create = |name| Store::create(&dir.path().join(name), &key(1), &[], Epoch::FIRST).unwrap();
    let [one, two] = ["one", "two"].map(create);
    let put = one.put_key(&key(1)).unwrap();
    let error = Store::open(two.path(), &put).unwrap_err();
    assert!(matches!(error, Error::OtherStorePutKey { expected, found }
            if expected == *two.id() && found == *one.id()));
    let text = error.to_string();
    assert!(text.contains(&format!("for store {}", one.id())), "{text}");
    assert!(two.put_keys(&put).is_err() && two.put_key(&put).is_err());
}

#[test]
fn a_recipient_that_stands_twice_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (recipients, problem) in [([2, 2], "stands twice"), ([2, 1], "own key")] {
        let recipients = recipients.map(|number| key(number).public_key().unwrap());
        let error = Store::create(dir.path(), &key(1), &recipients, Epoch::FIRST).unwrap_err();
        assert!(error.to_string().contains(problem), "{error}");
        assert_eq!(error.exit(), Exit::Usage);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_put_key_makes_no_store() {
    let dir = tempfile::tempdir().unwrap();
    let put = put_key(1, StoreId([1; 16]), Epoch::FIRST, &[]);
    let error = Store::create(dir.path(), &put, &[], Epoch::FIRST);
    assert!(matches!(error, Err(Error::PutKey { .. })));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_folder_with_something_in_it_becomes_no_store() {
    let dir = tempfile::tempdir().unwrap();
    let create = || Store::create(dir.path(), &key(1), &[], Epoch::FIRST);
    fs::write(dir.path().join("thesis.txt"), b"").unwrap();
    let text = create().unwrap_err().to_string();
    assert!(text.contains("not empty"), "{text}");
    fs::remove_file(dir.path().join("thesis.txt")).unwrap();
    create().unwrap();
    let text = create().unwrap_err().to_string();
    assert!(text.contains("a store already"), "{text}");
}

#[test]
fn what_is_no_store_is_called_so() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), b"").unwrap();
    for path in [
        dir.path().join("none"),
        dir.path().to_owned(),
        dir.path().join("file"),
    ] {
        let text = Store::open(&path, &key(1)).unwrap_err().to_string();
        for word in [
            "not a dtar store: no store.toml",
            "--store DIR",
            "`dtar init`",
        ] {
            assert!(text.contains(word), "{text}");
        }
    }
}

#[test]
fn a_huge_store_toml_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = store(dir.path());
    let file = File::create(store.layout().config_path()).unwrap();
    file.set_len(config::MAX_LENGTH + 1).unwrap();
    let text = Store::open(dir.path(), &key(1)).unwrap_err().to_string();
    assert!(text.contains("1048577 bytes long"), "{text}");
}

#[test]
fn a_brick_is_found_wherever_it_may_lie() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = store(&dir.path().join("store"));
    let (name, tape) = (name(1), dir.path().join("tape"));
    let extra = [dir.path().join("none"), tape.clone()];
    let missing = store.layout().find_brick(&name, &extra).unwrap_err();
    let text = missing.to_string();
    for place in ["store/bricks", "store/meta", "none", "tape"] {
        assert!(text.contains(place), "{text}");
    }
    assert_eq!(missing.exit(), Exit::Damaged);
    let (hex, shard) = (name.to_string(), &name.to_string()[..2]);
    for place in [
        format!("tape/{hex}.brick"),
        format!("tape/{shard}/{hex}.brick"),
        format!("tape/bricks/{shard}/{hex}.brick"),
        format!("tape/meta/{shard}/{hex}.brick"),
        format!("store/bricks/{shard}/{hex}.brick"),
        format!("store/meta/{shard}/{hex}.brick"),
    ] {
        let path = dir.path().join(place);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, b"brick").unwrap();
        assert_eq!(store.layout().find_brick(&name, &extra).unwrap().0, path);
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_sidecar_is_read_back_and_no_other_bricks() {
    let dir = tempfile::tempdir().unwrap();
    let (store, keys) = store(dir.path());
    let toc = toc(&[&[1, 2], &[3]]);
    assert!(!store.brick_counts(&name(1)).unwrap());
    write_sidecar(&store, &keys, &name(1), &toc);
    assert!(store.brick_counts(&name(1)).unwrap());
    let mut bytes = Vec::new();
    let found = store.read_sidecar(&keys, &name(1), &mut bytes).unwrap();
    assert_eq!(found, toc);

    let other = store.toc_path(&name(2));
    fs::create_dir_all(other.parent().unwrap()).unwrap();
    fs::rename(store.toc_path(&name(1)), &other).unwrap();
    let error = store.read_sidecar(&keys, &name(2), &mut bytes).unwrap_err();
    assert!(matches!(error, Error::Decode { .. }), "{error}");

    File::create(&other).unwrap().set_len(1 << 30).unwrap();
    let error = store.read_sidecar(&keys, &name(2), &mut bytes).unwrap_err();
    assert!(error.to_string().contains("bytes long"), "{error}");
}

#[test]
fn a_sidecar_of_another_store_of_the_same_key_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (one, keys) = store(&dir.path().join("one"));
    let (other, _) = store(&dir.path().join("other"));
    write_sidecar(&one, &keys, &name(1), &toc(&[&[1]]));
    let path = other.toc_path(&name(1));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::copy(one.toc_path(&name(1)), &path).unwrap();
    let error = other.read_sidecar(&keys, &name(1), &mut Vec::new());
    assert!(matches!(error, Err(Error::OtherStore { .. })));
}

#[test]
fn a_root_is_read_back_if_its_name_tells_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let (one, keys) = store(&dir.path().join("one"));
    let (other, _) = store(&dir.path().join("other"));
    let root = Root {
        time: 12,
        writer: WriterId([5; 16]),
        stream_length: 1,
        stream_xxh3: 2,
        host: b"host".to_vec(),
        label: Vec::new(),
        bricks: vec![(name(1), vec![1].into())],
        snapshot: None,
        stored: None,
    };
    let bytes = brick::seal_root(&keys, &root).unwrap();
    let run = RunName::draw(12).unwrap();
    let path = one.write_root(&lease(&one, &keys), &run, &bytes).unwrap();
    let mut found = Vec::new();
    let list = |path, time, bytes| {
        found.push((path, time, bytes));
        Ok(())
    };
    one.layout().each_root(list).unwrap();
    assert_eq!(found, [(path.clone(), 12, bytes.len() as u64)]);
    assert_eq!(one.read_root(&keys, &path, 12).unwrap(), root);
    let text = one.read_root(&keys, &path, 13).unwrap_err().to_string();
    assert!(
        text.contains("expected 13, as its name says, found 12"),
        "{text}"
    );
    let strange = other.read_root(&keys, &path, 12);
    assert!(matches!(strange, Err(Error::OtherStore { .. })));
}

#[test]
fn totals_count_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let (store, keys) = store(dir.path());
    let lease = lease(&store, &keys);
    for (number, class) in [(1, Class::Data), (2, Class::Data), (3, Class::Metadata)] {
        let mut file = lease.temp_file().unwrap();
        file.write_all(&[0; 10]).unwrap();
        let name = name(number);
        let path = store.publish_brick(&lease, file, &name, class).unwrap();
        assert_eq!(path, store.brick_path(&name, class));
        write_sidecar(&store, &keys, &name, &toc(&[&[number]]));
    }
    let run = RunName::draw(12).unwrap();
    store.write_snapshot(&lease, &run, b"snapshot").unwrap();
    assert_eq!(store.read_snapshot(&run).unwrap(), b"snapshot");
    store.write_root(&lease, &run, b"root").unwrap();
    store.mark(&keys, &name(2), "").unwrap();
    write_dead_list(&store, &keys, &[name(1), name(2)]);
    let amount = |count, bytes| Amount { count, bytes };
    assert_eq!(
        store.totals().unwrap(),
        StoreTotals {
            data_bricks: amount(2, 20),
            metadata_bricks: amount(1, 10),
            sidecars: 3,
            roots: amount(1, 4),
            snapshots: 1,
            dead: 1,
            bad: 1,
        }
    );
}

#[test]
fn remains_of_a_crash_are_removed_and_files_in_the_making_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = store(dir.path());
    let held = store.temp_file().unwrap();
    fs::write(store.layout().temp_dir().join("0123456789abcdef"), b"half").unwrap();
    assert_eq!(store.remove_stale().unwrap(), 1);
    assert!(held.path().exists());
}

#[test]
fn what_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (store, keys) = store(dir.path());
    // A file where a folder should be stops even root.
    fs::write(store.layout().tocs_dir(), b"").unwrap();
    let lease = lease(&store, &keys);
    let error = store
        .write_sidecar(&lease, &keys, &name(1), b"toc")
        .unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("cannot make the folder "), "{text}");
    assert!(text.contains("/tocs"), "{text}");
    // But for the lease.
    assert_eq!(fs::read_dir(lease.dir()).unwrap().count(), 1);
}

/// Root may write anywhere, so this says nothing then; all others are held off.
#[test]
fn a_read_only_store_is_an_error_that_names_the_path() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let (store, keys) = store(dir.path());
    let runs = store.layout().runs_dir();
    fs::create_dir(&runs).unwrap();
    fs::set_permissions(&runs, fs::Permissions::from_mode(0o555)).unwrap();
    let result = Lease::take(&store, &keys, NoteKind::ArchiverLease, "").map(drop);
    fs::set_permissions(&runs, fs::Permissions::from_mode(0o755)).unwrap();
    if !rustix::process::geteuid().is_root() {
        let text = result.unwrap_err().to_string();
        assert!(
            text.starts_with("cannot make ") && text.contains("/runs/"),
            "{text}"
        );
    }
}
