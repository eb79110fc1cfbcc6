//! `dtar sync`, `dtar pull` and `dtar restore --store s3://…`: what comes down.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::common::sandbox::Watchdog;
use crate::proxy::{Fault, Proxy};
use crate::scene::{Host, finish, server, stream, summary};

#[test]
fn hosts_deduplicate_against_each_other_and_restore_each_others_snapshots() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (one, _) = Host::with_files(&bucket, 6);
    one.push(&[]);
    let two = Host::new(&bucket);
    let synced = two.run(["sync", &bucket.url(), "--json"]).exits(0);
    assert!(summary(&synced)["files"].as_u64() > Some(3));
    assert!(two.files_in(&["bricks"]).is_empty());
    assert_eq!(
        two.files_in(&["tocs", "meta", "roots"]),
        one.files_in(&["tocs", "meta", "roots"])
    );
    // It stores only what is new.
    two.archive("own", &stream(0, 9));
    let stored: u64 = two
        .files_in(&["bricks"])
        .iter()
        .map(|path| fs::metadata(two.sandbox.store().join(path)).unwrap().len())
        .sum();
    assert!(stored < 10 << 20, "{stored}");
    two.push(&["--delete-local"]);
    let again = two.run(["sync", &bucket.url(), "--json"]).exits(0);
    assert_eq!(summary(&again)["files"], 0);

    one.run(["sync", &bucket.url()]).exits(0);
    one.run(["pull", &bucket.url(), "@latest"]).exits(0);
    one.restores("@latest", &stream(0, 9), [] as [&str; 0]);
    // A third has lost everything but the key.
    let three = Host::new(&bucket);
    let all = three
        .run(["pull", &bucket.url(), "--all", "--json"])
        .exits(0);
    assert_eq!(
        three.files_in(&["bricks"]),
        bucket.objects_in("bricks/"),
        "{}",
        all.stderr
    );
    three.restores("@latest", &stream(0, 9), [] as [&str; 0]);
    three.restores("@2", &stream(0, 6), [] as [&str; 0]);
    three.run(["verify", "--all-here"]).exits(0);
}

#[test]
fn what_is_altered_there_is_not_taken() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (one, index) = Host::with_files(&bucket, 6);
    one.push(&[]);
    let brick = &one.files_in(&["bricks"])[0];
    let root = &one.files_in(&["roots"])[0];
    let toc = &one.files_in(&["tocs"])[0];
    for path in [brick, root, toc] {
        bucket.put(path, "something else");
    }
    bucket.put("roots/../escape", "x");
    bucket.put("bricks/ab/notes.txt", "x");
    let two = Host::new(&bucket);
    let run = two.run(["sync", &bucket.url()]).exits(3);
    let run = run.says(&[root, toc, "it was not taken"]);
    assert!(two.files_in(&["roots"]).is_empty(), "{}", run.stderr);
    assert!(!two.files_in(&["tocs"]).contains(toc));
    let dir = two.sandbox.path().join("dir");
    let index = index.to_str().unwrap();
    let pull = ["pull", &bucket.url(), index, "--to", dir.to_str().unwrap()];
    two.run(pull).exits(3).says(&[brick, "altered or damaged"]);
    assert!(!dir.join(brick).exists());
    bucket.delete(brick);
    two.run(pull).exits(3).says(&["not in the bucket"]);
    assert!(!two.sandbox.path().join("escape").exists());
    // What is here is never replaced.
    let before = fs::read(one.sandbox.store().join(toc)).unwrap();
    one.run(["sync", &bucket.url()]).exits(0);
    assert!(fs::read(one.sandbox.store().join(toc)).unwrap() == before);
}

#[test]
fn a_download_that_is_cut_goes_on_where_it_was() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (mut host, index) = Host::with_files(&bucket, 6);
    host.push(&[]);
    let reads = AtomicUsize::new(0);
    let proxy = Proxy::new(server.port, move |request| {
        if request.reads_brick() && reads.fetch_add(1, Ordering::SeqCst) % 4 != 3 {
            return Fault::CutAnswer(2 << 20);
        }
        Fault::None
    });
    host.endpoint = proxy.url();
    let dir = host.sandbox.path().join("dir");
    let pull = [
        "pull",
        &bucket.url(),
        index.to_str().unwrap(),
        "--to",
        dir.to_str().unwrap(),
    ];
    host.run(pull).exits(0);
    for brick in host.files_in(&["bricks"]) {
        let pulled = fs::read(dir.join(&brick)).unwrap();
        assert!(pulled == fs::read(host.sandbox.store().join(&brick)).unwrap());
    }
    assert!(proxy.faults() >= 6, "{}", proxy.faults());
    println!("{} downloads cut", proxy.faults());
}

#[test]
fn a_restore_straight_from_the_bucket_reads_what_it_needs_in_bounded_room() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (one, index) = Host::with_files(&bucket, 12);
    one.push(&["--delete-local"]);
    let all = bucket.objects_in("bricks/").len();
    let proxy = Proxy::new(server.port, |_| Fault::None);
    let mut two = Host::new(&bucket);
    two.endpoint = proxy.url();
    let url = bucket.url();
    let store = ["--store", &*url, "--spool", "21M"];
    two.restores(&index, &stream(0, 12), store);
    let read = |proxy: &Proxy| {
        let log = proxy.log();
        let mut bricks: Vec<_> = log
            .iter()
            .filter(|request| request.reads_brick())
            .map(|request| request.path.split('?').next().unwrap().to_owned())
            .collect();
        let count = bricks.len();
        bricks.sort();
        bricks.dedup();
        (count, bricks.len())
    };
    assert_eq!(read(&proxy), (all, all), "each brick once");
    let few = Proxy::new(server.port, |_| Fault::None);
    two.endpoint = few.url();
    let run = two
        .run([
            "restore",
            "--store",
            &url,
            index.to_str().unwrap(),
            "file-0",
        ])
        .exits(0);
    assert!(run.stdout.len() > 3 << 20 && run.stdout.len() < 4 << 20);
    let (count, bricks) = read(&few);
    assert!(
        count <= 2 && bricks <= 2,
        "{count} reads of {bricks} bricks for one file"
    );
    // Snapshots too, and nothing is left over.
    two.restores("@latest", &stream(0, 12), store);
    let mirrors = two.sandbox.catalog().join("mirror");
    let mirror = fs::read_dir(mirrors)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    assert_eq!(fs::read_dir(mirror.join("spool")).unwrap().count(), 0);
    assert!(!mirror.join("bricks").exists());
    // What is missing is said before anything is read.
    bucket.delete(&bucket.objects_in("bricks/")[0]);
    let run = two
        .run(["restore", "--store", &url, index.to_str().unwrap()])
        .exits(3);
    assert!(
        run.says(&["missing there", "--keep-going"])
            .stdout
            .is_empty()
    );
    println!("{all} bricks, each read once; {bricks} of them for one file");
}

#[test]
fn a_brick_that_comes_back_altered_is_read_again_and_then_refused() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (mut host, index) = Host::with_files(&bucket, 3);
    host.push(&["--delete-local"]);
    let url = bucket.url();
    let bad = Arc::new(AtomicUsize::new(1));
    let left = Arc::clone(&bad);
    let proxy = Proxy::new(server.port, move |request| {
        let take = |left: usize| left.checked_sub(1);
        let order = Ordering::SeqCst;
        if request.reads_brick() && left.fetch_update(order, order, take).is_ok() {
            return Fault::AlterAnswer(100_000);
        }
        Fault::None
    });
    host.endpoint = proxy.url();
    host.restores(&index, &stream(0, 3), ["--store", &*url]);
    assert_eq!(proxy.faults(), 1);
    bad.store(usize::MAX, Ordering::SeqCst);
    let run = host
        .run(["restore", "--store", &url, index.to_str().unwrap()])
        .exits(3);
    run.says(&["altered or damaged", "s3://"]);
}

#[test]
fn a_restore_waits_for_files_that_somebody_brings() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (host, index) = Host::with_files(&bucket, 6);
    let store = host.sandbox.store();
    let away = host.sandbox.path().join("away");
    fs::rename(store.join("bricks"), &away).unwrap();
    let dir = host.sandbox.path().join("tape");
    fs::create_dir(&dir).unwrap();
    let arguments = ["restore", index.to_str().unwrap(), "--wait", "--bricks"];
    let child = host.start(arguments.iter().copied().chain([dir.to_str().unwrap()]));
    let _watchdog = Watchdog::new(&child);
    let restore = thread::spawn(|| finish(child));
    let mut brought = 0;
    for brick in host_bricks(&away) {
        thread::sleep(Duration::from_millis(300));
        assert!(!restore.is_finished());
        let target = dir.join(brick.file_name().unwrap());
        let bytes = fs::read(&brick).unwrap();
        // As a copy does: it is there in part for a while.
        fs::write(&target, &bytes[..bytes.len() / 2]).unwrap();
        thread::sleep(Duration::from_millis(300));
        fs::write(&target, &bytes).unwrap();
        brought += 1;
    }
    let run = restore.join().unwrap().exits(0).says(&["waiting for"]);
    assert!(run.stdout == stream(0, 6));
    println!("{brought} bricks brought while the restore waited");
}

fn host_bricks(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let shards = fs::read_dir(dir).unwrap();
    let mut bricks: Vec<_> = shards
        .flat_map(|shard| fs::read_dir(shard.unwrap().path()).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    bricks.sort();
    bricks
}
