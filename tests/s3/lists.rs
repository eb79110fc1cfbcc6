//! Away lists that are forged, stale or damaged: hints, on which nothing hangs.

use std::fs;
use std::path::PathBuf;

use crate::scene::{Host, server, stream, summary, text};

/// Writes a list that says that these bricks are where `host` pushes to, with a check that
/// is right.
fn forge(host: &Host, file: &str, url: &str, bricks: &[String]) -> PathBuf {
    let store = host.sandbox.store();
    let mut lines = format!(
        "dtar away list 1\nurl {url}\nendpoint {}\nstorage-class DEEP_ARCHIVE\n\n",
        host.endpoint
    );
    let mut names: Vec<_> = bricks
        .iter()
        .map(|path| {
            let length = fs::metadata(store.join(path)).unwrap().len();
            let name = path.split('/').next_back().unwrap();
            format!("{} {length}\n", name.strip_suffix(".brick").unwrap())
        })
        .collect();
    names.sort();
    lines.extend(names);
    let check = blake3::hash(lines.as_bytes()).to_hex();
    let place = format!("{url}\n{}", host.endpoint);
    let place = blake3::hash(place.as_bytes()).to_hex();
    let path = store.join(format!("away/{}-{file}.s3", &place[..16]));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let end = format!("end {} {}\n", bricks.len(), &check[..32]);
    fs::write(&path, lines + &end).unwrap();
    path
}

#[test]
fn a_forged_list_deletes_nothing_and_hides_nothing() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (host, index) = Host::with_files(&bucket, 6);
    let bricks = host.files_in(&["bricks"]);
    // All but the bricks is there, so that nothing tells that they are not.
    host.push(&[]);
    for path in &bricks {
        bucket.delete(path);
    }
    fs::remove_dir_all(host.sandbox.store().join("away")).unwrap();
    forge(&host, "0000000000000000", &bucket.url(), &bricks);
    let run = host.push_with(&["--delete-local"]).exits(1);
    let run = run.says(&["the bucket does not have it", "--check"]);
    assert_eq!(summary(&run)["deleted"], 0);
    assert_eq!(host.files_in(&["bricks"]), bricks);
    host.run(["gc", "--min-age", "0h"]);
    host.run(["verify", "--all-here"]).exits(0);
    assert_eq!(host.files_in(&["bricks"]), bricks);
    host.restores(&index, &stream(0, 6), [] as [&str; 0]);
    host.push(&["--check", "--delete-local"]);
    assert!(host.files_in(&["bricks"]).is_empty());
    host.restores(&index, &stream(0, 6), ["--store", &*bucket.url()]);
}

#[test]
fn a_list_that_would_move_a_cursor_is_left_out_with_a_warning() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (host, index) = Host::with_files(&bucket, 1);
    let bricks = host.files_in(&["bricks"]);
    forge(&host, "0000000000000001", "s3://b/\u{1b}[2J", &bricks);
    let run = host.run(["plan", text(&index)]).exits(0);
    assert!(!run.stderr.contains('\u{1b}'), "{:?}", run.stderr);
    assert!(!run.stdout.contains(&0x1b));
    run.says(&["no plain text", "left out"]);
}

#[test]
fn of_a_stale_or_damaged_list_a_push_says_what_to_do() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (host, index) = Host::with_files(&bucket, 3);
    host.push(&[]);
    let list = host.sandbox.store().join(&host.files_in(&["away"])[0]);
    let mut bytes = fs::read(&list).unwrap();
    bytes[30] ^= 1;
    fs::write(&list, bytes).unwrap();
    let run = host.push_with(&[]).exits(0).says(&["left out"]);
    assert_eq!(summary(&run)["files"], 0);
    // The list is made anew, and the brick that is gone there goes up again.
    let brick = &host.files_in(&["bricks"])[0];
    bucket.delete(brick);
    host.push_with(&["--delete-local"]).exits(1);
    assert_eq!(host.files_in(&["bricks"]).len(), 1);
    host.push(&["--check", "--delete-local"]);
    assert_eq!(host.files_in(&["away"]).len(), 1);
    host.restores(&index, &stream(0, 3), ["--store", &*bucket.url()]);
}

#[test]
fn bricks_that_were_pushed_are_no_fault_where_all_should_be_here() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (host, index) = Host::with_files(&bucket, 6);
    host.push(&["--delete-local"]);
    let count = bucket.objects_in("bricks/").len();
    for more in [
        &["--all-here"][..],
        &["--all-here", "--quick", text(&index)],
    ] {
        let arguments = ["verify", "--json"].iter().chain(more);
        let run = host.run(arguments).exits(0);
        let found = summary(&run);
        assert_eq!(
            (&found["away"], &found["missing"]),
            (&count.into(), &0.into())
        );
    }
    assert!(host.files_in(&["bad"]).is_empty());
    // Without the lists nobody knows.
    fs::remove_dir_all(host.sandbox.store().join("away")).unwrap();
    host.run(["verify", "--all-here", "--no-mark"])
        .exits(3)
        .says(&["is not here"]);
    host.run(["verify"]).exits(0);
}
