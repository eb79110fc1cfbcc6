//! What networks and servers do at times: each ends in a clear message, nothing lost, and
//! a rerun that finishes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::proxy::{Fault, Proxy, Request};
use crate::scene::{Host, server, stream};

#[test]
fn parts_that_are_cut_are_sent_again() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (mut host, index) = Host::with_files(&bucket, 6);
    host.attempts = 4;
    let cuts = AtomicU64::new(0);
    let proxy = Proxy::new(server.port, move |request| {
        // Every other part is cut in its middle, some refused, some answers lost.
        let nth = if request.is_part() {
            cuts.fetch_add(1, Ordering::SeqCst)
        } else {
            3
        };
        match nth % 4 {
            0 => Fault::CutRequest(1 << 20),
            1 => Fault::Answer(503, "SlowDown"),
            2 => Fault::CutAnswer(0),
            _ => Fault::None,
        }
    });
    host.endpoint = proxy.url();
    // One at a time, so that no part has bad luck four times.
    host.push(&["--jobs", "1"]);
    println!("{} faults during a push that succeeded", proxy.faults());
    assert!(proxy.faults() > 6);
    host.endpoint = server.url();
    assert_eq!(host.push(&["--check", "--delete-local"])["files"], 0);
    host.restores(&index, &stream(0, 6), ["--store", &*bucket.url()]);
}

#[test]
fn a_push_that_is_cut_off_is_taken_up_in_the_middle_of_a_brick() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (mut host, index) = Host::with_files(&bucket, 6);
    let parts = AtomicU64::new(0);
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let proxy = Proxy::new(server.port, move |request| {
        if request.is_part() && parts.fetch_add(1, Ordering::SeqCst) >= 3 {
            over.store(true, Ordering::SeqCst);
        }
        if over.load(Ordering::SeqCst) {
            return Fault::CutRequest(0);
        }
        Fault::None
    });
    host.endpoint = proxy.url();
    let run = host.push_with(&["--jobs", "1"]).exits(1);
    run.says(&["s3://", "bricks/", "connection", "run this again"]);
    assert!(
        bucket.objects_in("roots/").is_empty(),
        "a root without its bricks"
    );
    assert!(bucket.open_uploads() > 0);
    host.endpoint = server.url();
    let pushed = host.push(&[]);
    assert!(pushed["taken_up"].as_u64() >= Some(5 << 20), "{pushed}");
    assert_eq!(bucket.open_uploads(), 0);
    assert_eq!(host.push(&["--check", "--delete-local"])["files"], 0);
    host.restores(&index, &stream(0, 6), ["--store", &*bucket.url()]);
    println!("taken up: {}", pushed["taken_up"]);
}

#[test]
fn bytes_that_are_altered_on_the_way_up_never_count() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (mut host, _) = Host::with_files(&bucket, 3);
    let proxy = Proxy::new(server.port, |request| {
        if request.is_part() {
            Fault::AlterRequest(70_000)
        } else {
            Fault::None
        }
    });
    host.endpoint = proxy.url();
    host.push_with(&[])
        .exits(1)
        .says(&["altered on the way", "bricks/"]);
    assert!(bucket.objects_in("bricks/").iter().all(|path| {
        let bytes = bucket.get(path);
        path.contains(&blake3::hash(&bytes).to_string())
    }));
    assert!(bucket.objects_in("roots/").is_empty());
    host.endpoint = server.url();
    host.push(&[]);
    for path in bucket.objects_in("bricks/") {
        let hash = blake3::hash(&bucket.get(&path)).to_string();
        assert!(path.contains(&hash), "{path}");
    }
}

/// One fault for all requests that `judge` picks, what dtar says of it, and its exit code.
fn says(judge: fn(&Request) -> bool, fault: Fault, words: &[&str], code: i32) {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (mut host, index) = Host::with_files(&bucket, 3);
    let proxy = Proxy::new(server.port, move |request| {
        if judge(request) {
            fault.clone()
        } else {
            Fault::None
        }
    });
    host.endpoint = proxy.url();
    host.push_with(&[])
        .exits(code)
        .says(words)
        .says(&["s3://test-bucket"]);
    assert!(proxy.faults() > 0);
    host.endpoint = server.url();
    host.push(&["--delete-local"]);
    host.restores(&index, &stream(0, 3), ["--store", &*bucket.url()]);
}

fn is_put(request: &Request) -> bool {
    request.method == "PUT" && request.path.contains("/bricks/")
}

#[test]
fn a_storm_of_500s_and_503s_ends_in_advice_and_a_rerun_finishes() {
    says(
        |_| true,
        Fault::Answer(503, "SlowDown"),
        &["503", "run this again later"],
        1,
    );
    says(
        is_put,
        Fault::Answer(500, "InternalError"),
        &["500", "run this again later"],
        1,
    );
}

#[test]
fn credentials_that_expire_are_named() {
    says(
        is_put,
        Fault::Answer(400, "ExpiredToken"),
        &["have expired", "renew them"],
        1,
    );
    says(
        is_put,
        Fault::Answer(403, "AccessDenied"),
        &["AccessDenied", "rights"],
        1,
    );
}

#[test]
fn what_is_set_wrongly_is_named() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (mut host, _) = Host::with_files(&bucket, 1);
    let run = host.run(["push", "s3://no-such-bucket/x"]).exits(1);
    run.says(&["s3://no-such-bucket/x", "NoSuchBucket", "make the bucket"]);
    host.run(["push", "bucket/x"])
        .exits(2)
        .says(&["expected s3://"]);
    host.run(["push", &bucket.url(), "--part-size", "1M"])
        .exits(2);
    host.run(["sync", &bucket.url()])
        .exits(1)
        .says(&["no store here", "dtar push"]);
    host.endpoint = "http://127.0.0.1:1".into();
    let run = host.run(["push", &bucket.url()]).exits(1);
    run.says(&["connection", "--endpoint"]);
    let run = host
        .command(["push", &bucket.url()])
        .env_remove("AWS_ACCESS_KEY_ID")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&run.stderr);
    assert!(
        text.contains("no credentials") && text.contains("AWS_PROFILE"),
        "{text}"
    );
    assert_eq!(run.status.code(), Some(1));
}

#[test]
fn a_thaw_that_expires_midway_is_named_and_a_rerun_finishes() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (mut host, index) = Host::with_files(&bucket, 9);
    host.push(&["--delete-local"]);
    let reads = AtomicU64::new(0);
    let proxy = Proxy::new(server.port, move |request| {
        if request.reads_brick() && reads.fetch_add(1, Ordering::SeqCst) >= 2 {
            return Fault::Answer(403, "InvalidObjectState");
        }
        Fault::None
    });
    host.endpoint = proxy.url();
    let (url, index) = (bucket.url(), index.to_str().unwrap());
    let run = host.run(["restore", "--store", &url, index]).exits(1);
    let run = run.says(&["InvalidObjectState", "cold storage", "dtar thaw", "bricks/"]);
    assert!(run.stdout.len() < stream(0, 9).len());
    host.endpoint = server.url();
    host.restores(index, &stream(0, 9), ["--store", &*url]);
}
