//! `dtar thaw`, and what waits for it.

use std::thread;
use std::time::Duration;

use crate::common::sandbox::Watchdog;
use crate::scene::{Host, finish, server, stream, summary};
use crate::server::Server;

#[test]
fn exactly_what_is_needed_is_asked_for_once_and_waited_for() {
    // One of its own: how long thaws take holds for a whole server.
    let Some(server) = Server::start() else {
        return;
    };
    let bucket = server.bucket();
    let (host, index) = Host::with_files(&bucket, 9);
    host.push(&["--storage-class", "DEEP_ARCHIVE", "--delete-local"]);
    let all = bucket.objects_in("bricks/").len() as u64;
    let (url, index) = (bucket.url(), index.to_str().unwrap());

    // Cold: said before anything is read.
    let cold = host.run(["restore", "--store", &url, index]).exits(1);
    assert!(cold.says(&["cold storage", "dtar thaw"]).stdout.is_empty());
    let dir = host.sandbox.path().join("dir");
    let pull = ["pull", &url, index, "--to", dir.to_str().unwrap()];
    host.run(pull).exits(1).says(&["cold storage"]);

    server.thaws_after(3);
    let thaw = |more: &[&str]| {
        let arguments = ["thaw", index, "--from", &url, "--json"];
        summary(&host.run(arguments.iter().chain(more)).exits(0))
    };
    let dry = thaw(&["--dry-run"]);
    assert_eq!(dry["asked"], all);
    let one = thaw(&["file-0"]);
    let few = one["asked"].as_u64().unwrap();
    assert!((1..=2).contains(&few), "{one}");
    let rest = thaw(&[]);
    assert_eq!(rest["asked"].as_u64().unwrap() + few, all, "{rest}");
    assert_eq!(rest["under_way"], few);
    let again = thaw(&["--wait"]);
    assert_eq!(again["asked"], 0);
    let ready = thaw(&[]);
    assert_eq!(
        (&ready["readable"], &ready["asked"]),
        (&all.into(), &0.into())
    );
    host.restores(index, &stream(0, 9), ["--store", &*url]);
    host.run(pull).exits(0);
    host.restores(index, &stream(0, 9), ["--bricks", dir.to_str().unwrap()]);
    println!("{few} bricks thawed for one file of 9, {all} for all");
}

#[test]
fn a_restore_that_waits_goes_on_as_bricks_thaw() {
    let Some(server) = Server::start() else {
        return;
    };
    let bucket = server.bucket();
    let (host, index) = Host::with_files(&bucket, 6);
    host.push(&["--storage-class", "GLACIER", "--delete-local"]);
    server.thaws_after(4);
    let (url, index) = (bucket.url(), index.to_str().unwrap());
    // It waits also for what nobody has asked for yet.
    let child = host.start(["restore", "--store", &url, index, "--wait"]);
    let _watchdog = Watchdog::new(&child);
    let restore = thread::spawn(|| finish(child));
    thread::sleep(Duration::from_millis(1500));
    assert!(!restore.is_finished());
    host.run(["thaw", index, "--from", &url, "--tier", "expedited"])
        .exits(0);
    let run = restore.join().unwrap().exits(0);
    let run = run.says(&["waiting for", "nobody has asked for it"]);
    assert!(run.stdout == stream(0, 6));
}

#[test]
fn a_tier_that_does_not_exist_is_refused() {
    let Some(server) = crate::scene::server() else {
        return;
    };
    let bucket = server.bucket();
    let host = Host::new(&bucket);
    let run = host.run(["thaw", "index", "--from", &bucket.url(), "--tier", "soon"]);
    run.exits(2).says(&["bulk, standard or expedited"]);
}

#[test]
fn it_is_known_where_bricks_were_pushed_to() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (host, index) = Host::with_files(&bucket, 2);
    let index = index.to_str().unwrap();
    let thaw = ["thaw", "--dry-run", "--json", index];
    host.run(thaw).exits(2).says(&["--from s3://"]);
    host.push(&["--storage-class", "DEEP_ARCHIVE", "--delete-local"]);
    let summary = summary(&host.run(thaw).exits(0));
    assert!(summary["asked"].as_u64().unwrap() > 0, "{summary}");
    // What a list says of another server is not where credentials go.
    let elsewhere = [
        "thaw",
        "--dry-run",
        index,
        "--endpoint",
        "http://127.0.0.1:1",
    ];
    host.run(elsewhere).exits(2).says(&["--from s3://"]);
    let other = server.bucket();
    host.run(["push", &other.url()]).exits(0);
    host.run(thaw).exits(0);
    host.archive("more.tar", &stream(5, 1));
    host.run(["push", &other.url()]).exits(0);
    host.run(thaw)
        .exits(2)
        .says(&["several places", &bucket.url(), &other.url()]);
}
