//! Servers that lie, hang or never end, and buckets that others have changed: each ends in a
//! clear message, nothing lost, and a rerun that finishes.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::common::sandbox::Run;
use crate::proxy::{Fault, Proxy, Request, ok};
use crate::scene::{Host, server, stream, summary, text};

const ALL: [&str; 6] = ["store.toml", "bricks", "meta", "tocs", "snapshots", "roots"];

fn is_put(request: &Request) -> bool {
    request.method == "PUT" && request.path.contains("/bricks/")
}

/// Small ones go up at once.
fn is_whole(request: &Request) -> bool {
    request.method == "PUT" && request.path.contains("/meta/")
}

fn is_list(request: &Request) -> bool {
    request.path.contains("list-type=2")
}

/// Pushes where some requests meet with a fault; then, without it, all is well.
#[track_caller]
fn push_past(fault: Fault, meets: fn(&Request) -> bool, more: &[&str]) -> Option<Run> {
    let server = server()?;
    let bucket = server.bucket();
    // A brick in parts, and one that goes up at once.
    let (mut host, index) = Host::with_files(&bucket, 4);
    let proxy = Proxy::new(server.port, move |request| {
        if meets(request) {
            fault.clone()
        } else {
            Fault::None
        }
    });
    host.endpoint = proxy.url();
    let start = Instant::now();
    let run = host.push_with(more);
    println!("{:?}, {} faults", start.elapsed(), proxy.faults());
    assert!(proxy.faults() > 0);
    host.endpoint = server.url();
    if run.code != Some(0) {
        assert!(bucket.objects_in("roots/").is_empty());
    }
    host.push(&["--check", "--delete-local"]);
    assert!(host.files_in(&["bricks"]).is_empty());
    host.restores(&index, &stream(0, 4), ["--store", &*bucket.url()]);
    Some(run)
}

#[test]
fn a_checksum_that_the_server_makes_up_is_not_taken_and_the_object_does_not_stay() {
    let lie = "ETag: \"00000000000000000000000000000000\"";
    let fault = Fault::Head(&["etag:"], lie);
    if let Some(run) = push_past(fault, is_whole, &[]) {
        run.exits(1).says(&["altered on the way", "run this again"]);
    }
}

#[test]
fn an_object_that_is_altered_once_on_its_way_is_written_again() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (mut host, _) = Host::with_files(&bucket, 1);
    let puts = AtomicU64::new(0);
    let proxy = Proxy::new(server.port, move |request| {
        if is_put(request) && puts.fetch_add(1, Ordering::SeqCst) == 0 {
            return Fault::AlterRequest(70_000);
        }
        Fault::None
    });
    host.endpoint = proxy.url();
    host.push(&[]);
    assert_eq!(proxy.faults(), 1);
    let brick = &bucket.objects_in("bricks/")[0];
    let hash = blake3::hash(&bucket.get(brick)).to_string();
    assert!(brick.contains(&hash), "{brick}: {hash}");
}

#[test]
fn an_error_that_says_200_is_an_error() {
    fn is_end(request: &Request) -> bool {
        request.method == "POST" && request.path.contains("uploadId=")
    }
    for body in [
        "<Error><Code>InternalError</Code><Message>made by a test</Message></Error>",
        "<CompleteMultipartUploadResult><Key>k</Key></CompleteMultipartUploadResult>",
    ] {
        if let Some(run) = push_past(ok(body), is_end, &[]) {
            run.exits(1)
                .says(&["bricks/", "finish it", "run this again"]);
        }
    }
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    for meets in [is_list, is_put] {
        if let Some(run) = push_past(Fault::Hang, meets, &["--timeout", "1"]) {
            run.exits(1)
                .says(&["nothing has moved for 1 s", "run this again"]);
        }
    }
}

#[test]
fn a_slow_part_at_a_slow_pace_is_not_given_up() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (host, _) = Host::with_files(&bucket, 1);
    // Three seconds, of which none passes without a byte.
    host.push(&["--timeout", "1", "--limit-rate", "1M"]);
}

#[test]
fn an_answer_without_end_fills_neither_memory_nor_disk() {
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n";
    let endless = Fault::SayOn(format!("{head}\r\n<ListBucketResult><Name>"));
    if let Some(run) = push_past(endless, is_list, &[]) {
        run.exits(1).says(&["longer than", "list what is there"]);
    }
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (mut host, index) = Host::with_files(&bucket, 6);
    host.push(&["--delete-local"]);
    let long = format!("{head}Content-Length: 99999999999\r\n\r\n");
    let proxy = Proxy::new(server.port, move |request| {
        let is_small =
            request.method == "GET" && !is_list(request) && request.path.contains("/tocs/");
        if request.reads_brick() || is_small {
            return Fault::SayOn(long.clone());
        }
        Fault::None
    });
    host.endpoint = proxy.url();
    let (url, index) = (bucket.url(), text(&index));
    let dir = host.sandbox.path().join("dir");
    let run = host.run(["pull", &url, index, "--to", text(&dir)]).exits(3);
    run.says(&["99999999999 bytes long", "bricks/"]);
    let run = host.run(["restore", "--store", &url, index]).exits(3);
    run.says(&["99999999999 bytes long", "bricks/"]);
    let other = Host {
        endpoint: proxy.url(),
        ..Host::new(&bucket)
    };
    let run = other.run(["sync", &url]).exits(3);
    run.says(&["99999999999 bytes long", "tocs/"]);
    host.endpoint = server.url();
    host.restores(index, &stream(0, 6), ["--store", &*url]);
}

#[test]
fn a_listing_that_is_not_to_be_relied_on_is_refused() {
    let page = |more: &str, keys: &[&str]| {
        let keys = keys
            .iter()
            .map(|key| format!("<Contents><Key>hosts/all/{key}</Key><Size>7</Size></Contents>"));
        let keys: String = keys.collect();
        ok(&format!(
            "<ListBucketResult>{more}{keys}</ListBucketResult>"
        ))
    };
    let on = "<IsTruncated>true</IsTruncated>";
    let round = format!("{on}<NextContinuationToken>again</NextContinuationToken>");
    let unordered = ["bricks/b", "bricks/a"];
    let long = format!("bricks/{}", "x".repeat(20_000));
    for (fault, words) in [
        (page(on, &[]), "does not give it"),
        (page(&round, &[]), "does not give it"),
        (page("", &unordered), "order of their keys"),
        (ok("no XML"), "list what is there"),
    ] {
        if let Some(run) = push_past(fault, is_list, &[]) {
            run.exits(1).says(&[words, "s3://"]);
        }
    }
    // Keys that lead out of a store, or of any length, are nobody's.
    let keys = ["../x", "bricks/../../x", &*long, "roots/../x.root"];
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (host, _) = Host::with_files(&bucket, 1);
    host.push(&[]);
    let mut sorted = keys;
    sorted.sort_unstable();
    let fault = page("", &sorted);
    let proxy = Proxy::new(server.port, move |request| {
        if is_list(request) {
            fault.clone()
        } else {
            Fault::None
        }
    });
    let other = Host {
        endpoint: proxy.url(),
        ..Host::new(&bucket)
    };
    let run = other.run(["sync", &bucket.url(), "--json"]).exits(0);
    assert_eq!(summary(&run)["files"], 0);
    let names: Vec<_> = fs::read_dir(other.sandbox.path()).unwrap().collect();
    assert!(
        names
            .iter()
            .all(|name| name.as_ref().unwrap().file_name() != "x")
    );
}

#[test]
fn a_redirect_is_told_and_not_followed() {
    let Some(server) = server() else { return };
    let elsewhere = Arc::new(Proxy::new(server.port, |_| Fault::None));
    let there = elsewhere.url();
    let bucket = server.bucket();
    let (mut host, _) = Host::with_files(&bucket, 1);
    let proxy = Proxy::new(server.port, move |_| {
        Fault::Say(format!(
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: {there}\r\nConnection: close\r\n\
             Content-Length: 0\r\n\r\n"
        ))
    });
    host.endpoint = proxy.url();
    host.push_with(&[]).exits(1).says(&["307", "--region"]);
    assert!(elsewhere.log().is_empty());
}

#[test]
fn a_clock_that_is_wrong_and_a_bad_key_are_named_and_no_secret_is() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (mut host, index) = Host::with_files(&bucket, 1);
    fs::remove_dir_all(host.sandbox.store().join("bricks")).unwrap();
    for (status, code, words) in [
        (403, "RequestTimeTooSkewed", "clock"),
        (403, "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
        (400, "InvalidStorageClass", "--storage-class"),
        (501, "NotImplemented", "cannot do that"),
    ] {
        let proxy = Proxy::new(server.port, move |_| Fault::Answer(status, code));
        host.endpoint = proxy.url();
        for arguments in [
            vec!["push", &*bucket.url()],
            vec!["pull", &*bucket.url(), text(&index)],
            vec!["thaw", text(&index), "--from", &*bucket.url()],
        ] {
            let mut command = host.command(arguments);
            command
                .env("AWS_SECRET_ACCESS_KEY", "never+to+be+seen")
                .env("AWS_SESSION_TOKEN", "nor+is+this")
                .env("RUST_LOG", "trace");
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{said}");
            // What is only looked at is answered without a body.
            let is_named = said.contains(code) && said.contains(words);
            assert!(is_named || said.contains("cannot look at it"), "{said}");
            let hidden = ["never+to+be+seen", "nor+is+this", "Signature="];
            assert!(hidden.iter().all(|secret| !said.contains(secret)), "{said}");
        }
    }
}

#[test]
fn a_server_without_https_is_told_of_unless_it_is_here() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (mut host, _) = Host::with_files(&bucket, 1);
    let here = host.run(["push", &bucket.url()]).exits(0);
    assert!(!here.stderr.contains("https"), "{}", here.stderr);
    // By this address the machine itself answers, but it is not the loopback one.
    let password = format!("http://user:secret@127.0.0.1:{}", server.port);
    let run = host.run(["push", &bucket.url(), "--endpoint", &password]);
    let run = run.exits(2).says(&["AWS_SECRET_ACCESS_KEY"]);
    assert!(!run.stderr.contains("secret@"), "{}", run.stderr);
    host.endpoint = format!("http://0.0.0.0:{}", server.port);
    host.run(["push", &bucket.url()])
        .exits(0)
        .says(&["no https"]);
}

#[test]
fn a_bucket_that_was_emptied_gets_everything_again() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (host, index) = Host::with_files(&bucket, 6);
    host.push(&[]);
    for path in bucket.objects() {
        bucket.delete(&path);
    }
    let dry = host.push(&["--dry-run"]);
    let pushed = host.push(&[]);
    assert_eq!(pushed["files"], dry["files"]);
    assert_eq!(bucket.objects(), host.files_in(&ALL));
    host.push(&["--delete-local"]);
    host.restores(&index, &stream(0, 6), ["--store", &*bucket.url()]);
    // What is nowhere any more is said.
    for path in bucket.objects() {
        bucket.delete(&path);
    }
    let run = host.push_with(&[]).exits(3);
    assert!(summary(&run)["lost"].as_u64() >= Some(2), "{}", run.stderr);
}

#[test]
fn a_bucket_that_was_emptied_and_filled_by_another_host_gets_everything_again() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (one, index) = Host::with_files(&bucket, 4);
    one.push(&[]);
    let two = Host::new(&bucket);
    two.run(["sync", &bucket.url()]).exits(0);
    two.archive("own", &stream(9, 1));
    for path in bucket.objects() {
        bucket.delete(&path);
    }
    // It has sidecars of bricks that it never had, and says that they are nowhere now.
    two.push_with(&[])
        .exits(3)
        .says(&["does not have it any more"]);
    for path in bucket.objects_in("tocs/") {
        if one.files_in(&["tocs"]).contains(&path) {
            bucket.delete(&path);
        }
    }
    one.push(&[]);
    let objects = bucket.objects();
    for brick in one.files_in(&["bricks"]) {
        assert!(objects.contains(&brick), "{brick}");
    }
    one.push(&["--delete-local"]);
    one.restores(&index, &stream(0, 4), ["--store", &*bucket.url()]);
}

#[test]
fn what_is_damaged_here_takes_the_place_of_nothing_there() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (host, index) = Host::with_files(&bucket, 6);
    host.push(&[]);
    let before: Vec<_> = bucket
        .objects()
        .iter()
        .map(|path| bucket.get(path))
        .collect();
    let store = host.sandbox.store();
    let mut tried = 0;
    for folder in ["tocs", "roots", "snapshots"] {
        for path in host.files_in(&[folder]) {
            let sound = fs::read(store.join(&path)).unwrap();
            for length in [0, 40, sound.len() - 1] {
                fs::write(store.join(&path), &sound[..length]).unwrap();
                let run = host.push_with(&[]).exits(3);
                run.says(&[&path]);
                tried += 1;
            }
            fs::write(store.join(&path), sound).unwrap();
        }
    }
    let after: Vec<_> = bucket
        .objects()
        .iter()
        .map(|path| bucket.get(path))
        .collect();
    assert!(after == before, "an object was replaced");
    assert_eq!(host.push(&[])["files"], 0);
    // Nor does it go up for the first time, or anything that needs it.
    let other = server.bucket();
    let host = Host {
        bucket: &other,
        ..host
    };
    let toc = &host.files_in(&["tocs"])[0];
    let sound = fs::read(store.join(toc)).unwrap();
    fs::write(store.join(toc), &sound[..100]).unwrap();
    host.push_with(&[]).exits(3).says(&[toc, "dtar rebuild"]);
    assert!(!other.objects().contains(toc) && other.objects_in("roots/").is_empty());
    fs::write(store.join(toc), &sound).unwrap();
    host.push(&[]);
    host.restores(&index, &stream(0, 6), ["--store", &*other.url()]);
    println!("{tried} damaged files, none of them went up");
}

#[test]
fn without_checksums_bytes_are_read_back_before_anything_is_deleted() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (mut host, index) = Host::with_files(&bucket, 6);
    host.push(&[]);
    let bricks = host.files_in(&["bricks"]);
    let sound = bucket.get(&bricks[0]);
    bucket.put(&bricks[0], &"x".repeat(sound.len()));
    let proxy = Proxy::new(server.port, |request| {
        if request.method == "HEAD" {
            return Fault::Head(&["etag:", "x-amz-checksum"], "");
        }
        Fault::None
    });
    host.endpoint = proxy.url();
    let run = host.push_with(&["--delete-local"]).exits(1);
    let run = run.says(&[&bricks[0], "altered"]);
    assert_eq!(summary(&run)["deleted"], bricks.len() - 1);
    assert_eq!(host.files_in(&["bricks"]), &bricks[..1]);
    bucket.delete(&bricks[0]);
    host.push(&["--check", "--delete-local"]);
    assert!(host.files_in(&["bricks"]).is_empty());
    host.restores(&index, &stream(0, 6), ["--store", &*bucket.url()]);
}

#[test]
fn what_a_rule_of_the_bucket_will_delete_stays_here() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (mut host, _) = Host::with_files(&bucket, 3);
    let proxy = Proxy::new(server.port, |request| {
        if request.method == "HEAD" {
            let rule =
                "x-amz-expiration: expiry-date=\"Fri, 21 Dec 2040 00:00:00 GMT\", rule-id=\"r\"";
            return Fault::Head(&[], rule);
        }
        Fault::None
    });
    host.endpoint = proxy.url();
    let bricks = host.files_in(&["bricks"]);
    let run = host.push_with(&["--delete-local"]).exits(1);
    run.says(&["kept", "a rule of the bucket", "2040"]);
    assert_eq!(host.files_in(&["bricks"]), bricks);
}

#[test]
fn two_pushes_at_once_both_end_well() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (mut host, index) = Host::with_files(&bucket, 9);
    let proxy = Proxy::new(server.port, |request| {
        // So that they are at the same uploads for a while.
        Fault::Slow(if request.is_part() { 150 } else { 0 })
    });
    host.endpoint = proxy.url();
    let host = &host;
    let runs: Vec<Run> = std::thread::scope(|scope| {
        let pushes: Vec<_> = (0..3)
            .map(|nth| {
                scope.spawn(move || {
                    std::thread::sleep(Duration::from_millis(300 * nth));
                    host.push_with(&[])
                })
            })
            .collect();
        pushes
            .into_iter()
            .map(|push| push.join().unwrap())
            .collect()
    });
    for run in runs {
        run.exits(0);
    }
    host.push(&["--check", "--delete-local"]);
    assert!(host.files_in(&["bricks"]).is_empty());
    host.restores(&index, &stream(0, 9), ["--store", &*bucket.url()]);
}
