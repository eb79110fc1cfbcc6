//! `dtar push`: what goes up, and what stays written down.

use std::fs;

use crate::scene::{Host, server, stream, summary};

const ALL: [&str; 6] = ["store.toml", "bricks", "meta", "tocs", "snapshots", "roots"];

#[test]
fn a_bucket_holds_the_files_of_the_store_and_a_second_push_sends_nothing() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (host, _) = Host::with_files(&bucket, 9);
    let files = host.files_in(&ALL);
    let dry = host.push(&["--dry-run"]);
    assert_eq!(dry["files"], files.len() - 1, "store.toml is not counted");
    assert!(bucket.objects().is_empty(), "a dry run has written");

    let first = host.push(&["--storage-class", "deep_archive"]);
    assert_eq!(first["files"], dry["files"]);
    assert_eq!(first["bytes"], dry["bytes"]);
    assert_eq!(bucket.objects(), files);
    let mut cold = 0;
    for path in &files {
        if path.starts_with("bricks/") {
            cold += 1;
            assert_eq!(bucket.class(path), "deep_archive", "{path}");
        } else {
            assert_eq!(bucket.class(path), "standard", "{path}");
            assert!(bucket.get(path) == fs::read(host.sandbox.store().join(path)).unwrap());
        }
    }
    assert_eq!(cold, 4, "bricks of 10 MiB, of 27 MiB");
    let lists = host.files_in(&["away"]);
    assert_eq!(lists.len(), 1);
    let list = fs::read_to_string(host.sandbox.store().join(&lists[0])).unwrap();
    assert!(list.contains("storage-class DEEP_ARCHIVE\n"), "{list}");
    assert_eq!(
        list.lines()
            .filter(|line| line.len() > 64 && !line.contains("end "))
            .count(),
        cold
    );

    let again = host.push(&[]);
    assert_eq!(
        (&again["files"], &again["there"]),
        (&0.into(), &first["files"])
    );
    host.archive("more", &stream(0, 12));
    let more = host.push(&["--storage-class", "DEEP_ARCHIVE"]);
    assert_eq!(bucket.objects(), host.files_in(&ALL));
    assert!(more["bytes"].as_u64() < Some(11 << 20), "{more}");
    // What was looked at is written down again, in few lists.
    host.push(&["--check"]);
    assert_eq!(host.files_in(&["away"]).len(), 1);
    assert_eq!(host.push(&[])["files"], 0);
}

#[test]
fn bricks_that_the_bucket_has_are_deleted_here_and_deduplication_goes_on() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (host, index) = Host::with_files(&bucket, 6);
    let bricks = host.files_in(&["bricks"]);
    let pushed = host.push(&["--delete-local"]);
    assert_eq!(pushed["deleted"], bricks.len());
    assert!(host.files_in(&["bricks"]).is_empty());
    assert!(!host.files_in(&["meta"]).is_empty() && !host.files_in(&["tocs"]).is_empty());
    let second = host.archive("second", &stream(0, 6));
    assert!(host.files_in(&["bricks"]).is_empty(), "stored again");
    let run = host.run(["verify"]).exits(0);
    assert!(!run.stderr.contains("missing"), "{}", run.stderr);
    let again = host.push(&[]);
    assert_eq!((&again["unknown"], &again["lost"]), (&0.into(), &0.into()));
    let dir = host.sandbox.path().join("thawed");
    let to = [
        "pull",
        &bucket.url(),
        index.to_str().unwrap(),
        "--to",
        dir.to_str().unwrap(),
    ];
    host.run(to).exits(0);
    for index in [&index, &second] {
        host.restores(index, &stream(0, 6), ["--bricks", dir.to_str().unwrap()]);
    }
    println!(
        "{} bricks deleted here, restored from the bucket",
        bricks.len()
    );
}

#[test]
fn a_brick_is_kept_here_if_the_bucket_has_another() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (host, _) = Host::with_files(&bucket, 3);
    host.push(&[]);
    let brick = &host.files_in(&["bricks"])[0];
    let length = fs::metadata(host.sandbox.store().join(brick))
        .unwrap()
        .len();
    bucket.put(brick, &"x".repeat(usize::try_from(length).unwrap()));
    let run = host
        .push_with(&["--delete-local"])
        .exits(1)
        .says(&[brick, "kept"]);
    assert_eq!(summary(&run)["kept"], 1);
    assert!(host.files_in(&["bricks"]).contains(brick));
    // One of another length is seen by `--check`, and replaced.
    bucket.put(brick, "short");
    host.push_with(&["--check"]).exits(0).says(&["sent again"]);
    host.push(&["--delete-local"]);
    assert!(host.files_in(&["bricks"]).is_empty());
    // What was pushed and has vanished there is missed.
    bucket.delete(brick);
    host.push(&[]);
    let run = host.push_with(&["--check"]).exits(3);
    assert_eq!(summary(&run)["lost"], 1);
}

#[test]
fn a_bucket_with_another_store_is_refused() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (host, _) = Host::with_files(&bucket, 1);
    let (other, _) = Host::with_files(&bucket, 1);
    host.push(&[]);
    let before = bucket.objects();
    for arguments in [vec!["push"], vec!["sync"], vec!["pull", "--all"]] {
        let url = bucket.url();
        let run = other.run(arguments.iter().copied().chain([&*url]));
        run.exits(1).says(&["store.toml", "belongs to store"]);
    }
    assert_eq!(bucket.objects(), before);
    let archive = other.run(["--store", &bucket.url()]);
    archive.exits(2).says(&["archive into a folder"]);
}

#[test]
fn a_damaged_brick_does_not_go_up_nor_what_may_need_it_before_it_is_marked() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (host, _) = Host::with_files(&bucket, 6);
    let brick = &host.files_in(&["bricks"])[0];
    let path = host.sandbox.store().join(brick);
    let sound = fs::read(&path).unwrap();
    let mut bytes = sound.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    host.push_with(&[])
        .exits(3)
        .says(&[brick, "damaged", "dtar verify"]);
    assert_eq!(bucket.open_uploads(), 0, "half an upload is left");
    assert!(!bucket.objects().contains(brick));
    for folder in ["tocs/", "snapshots/", "roots/"] {
        assert!(bucket.objects_in(folder).is_empty(), "{folder}");
    }
    host.run(["verify", "--quiet"]).exits(3);
    host.push_with(&[]).exits(3).says(&["damaged"]);
    assert_eq!(bucket.objects_in("bad/").len(), 1);
    assert_eq!(bucket.objects_in("roots/").len(), 1);
    assert!(!bucket.objects().contains(brick));
    fs::write(&path, &sound).unwrap();
    host.push(&[]);
    assert!(bucket.objects().contains(brick));
}

#[test]
fn a_run_that_is_at_work_is_left_out() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (host, _) = Host::with_files(&bucket, 3);
    let toc = &host.files_in(&["tocs"]).into_iter().find(|toc| {
        let brick = toc.replace("tocs/", "bricks/").replace(".toc", ".brick");
        host.sandbox.store().join(brick).exists()
    });
    let toc = toc.as_ref().unwrap();
    // A brick whose sidecar is still to come.
    fs::remove_file(host.sandbox.store().join(toc)).unwrap();
    fs::write(host.sandbox.store().join("tmp/0123456789abcdef"), "half").unwrap();
    host.push(&[]);
    let brick = toc.replace("tocs/", "bricks/").replace(".toc", ".brick");
    let objects = bucket.objects();
    assert!(!objects.contains(&brick));
    assert!(
        objects
            .iter()
            .all(|path| !path.starts_with("tmp/") && !path.starts_with("away/"))
    );
}

#[test]
fn transfers_keep_to_the_rate() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (host, _) = Host::with_files(&bucket, 1);
    let start = std::time::Instant::now();
    let pushed = host.push(&["--limit-rate", "2M"]);
    let bytes = pushed["bytes"].as_u64().unwrap();
    let took = start.elapsed();
    let least = std::time::Duration::from_millis(bytes * 1000 / (2 << 20)) * 8 / 10;
    assert!(took > least, "{bytes} bytes in {took:?}");
    println!("{bytes} bytes at 2 MiB/s took {took:?}");
}
