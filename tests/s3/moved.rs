//! Bricks that a gc has rewritten before they were pushed: what is asked for and fetched are
//! those that hold what is needed now.

use std::fs;

use crate::scene::{Host, stream, summary};
use crate::server::Server;

#[test]
fn what_gc_has_moved_is_thawed_and_fetched_from_where_it_is() {
    let Some(server) = Server::start() else {
        return;
    };
    let bucket = server.bucket();
    let host = Host::new(&bucket);
    // Bricks of four frames, each with two files.
    let all = host.sandbox.path().join("all");
    let options = ["--quiet", "--brick-size", "30M"];
    let archived = host.sandbox.archive_to(options, &stream(0, 9)[..], &all);
    archived.exits(0);
    let few = host.archive("few", &stream(4, 1));
    let kept = host.archive("kept", &stream(20, 3));
    host.run(["forget", "-q", "@3"]).exits(0);
    let gc = host.run(["gc", "--json", "--threshold", "100"]).exits(0);
    assert!(
        summary(&gc)["rewritten"].as_u64() > Some(0),
        "{}",
        gc.stderr
    );
    host.push(&["--storage-class", "GLACIER", "--delete-local"]);
    let (url, index) = (bucket.url(), few.to_str().unwrap());

    let listed = host.run(["plan", "--list=bucket", index]).exits(0).stdout;
    let listed = String::from_utf8(listed).unwrap();
    let there = bucket.objects_in("bricks/");
    let needed: Vec<_> = listed.lines().map(str::to_owned).collect();
    assert!(!needed.is_empty() && needed.len() < there.len());
    assert!(needed.iter().all(|brick| there.contains(brick)));
    let named = host.run(["plan", "--list", "--store", "none", index]);
    let named = String::from_utf8(named.exits(3).stdout).unwrap();
    assert!(needed.iter().all(|brick| !named.contains(brick)));

    let cold = host.run(["restore", "--store", &url, index]).exits(1);
    assert!(cold.says(&["cold storage", "dtar thaw"]).stdout.is_empty());
    let thaw = ["thaw", index, "--from", &url, "--json"];
    let asked = summary(&host.run(thaw).exits(0));
    assert_eq!(asked["asked"], needed.len(), "{asked}");
    assert_eq!(asked["missing"], 0);
    // The mirror of the bucket does not know yet what gc has done.
    fs::remove_dir_all(host.sandbox.catalog()).unwrap();
    host.restores(index, &stream(4, 1), ["--store", &*url, "--wait"]);
    let dir = host.sandbox.path().join("dir");
    let pull = ["pull", &url, index, "--to", dir.to_str().unwrap(), "--json"];
    let pulled = summary(&host.run(pull).exits(0));
    assert_eq!(
        (&pulled["files"], &pulled["missing"]),
        (&needed.len().into(), &0.into())
    );
    host.restores(index, &stream(4, 1), ["--bricks", dir.to_str().unwrap()]);
    let first = &needed[0];
    fs::remove_file(dir.join(first)).unwrap();
    let less = host.run(["restore", index, "--bricks", dir.to_str().unwrap()]);
    less.exits(3);
    println!(
        "{} of {} bricks asked for and fetched",
        needed.len(),
        there.len()
    );

    // Who has no tables of contents is told how to get them; then it works.
    let other = Host::new(&bucket);
    let kept = kept.to_str().unwrap();
    let far = other.sandbox.path().join("far");
    let pull = ["pull", &url, index, "--to", far.to_str().unwrap()];
    other
        .run(pull)
        .exits(3)
        .says(&["not in the bucket", "dtar sync"]);
    other.run(["sync", &url]).exits(0);
    other.run(pull).exits(0);
    other
        .run(["thaw", kept, "--from", &url, "--dry-run"])
        .exits(0);
}
