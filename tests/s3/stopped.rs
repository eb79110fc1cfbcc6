//! What is cut short here: by a signal, a full disk, a gc that is at work; and what is slow.

use std::fs;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::mounts::with_mounts;
use crate::common::sandbox::{Watchdog, wait_until};
use crate::common::shell::have;
use crate::proxy::{Fault, Proxy, Request};
use crate::scene::{Host, finish, server, stream, summary, text};
use crate::server::Server;

fn interrupt(child: &Child) {
    let id = child.id().to_string();
    let status = Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert!(status.success());
}

#[test]
fn a_signal_ends_transfers_with_130_and_leaves_nothing_half() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (mut host, index) = Host::with_files(&bucket, 6);
    // From the third request for a brick or a part on nothing moves.
    let proxy = |meets: fn(&Request) -> bool| {
        let seen = AtomicU64::new(0);
        Proxy::new(server.port, move |request| {
            if meets(request) && seen.fetch_add(1, Ordering::SeqCst) >= 2 {
                return Fault::Hang;
            }
            Fault::None
        })
    };
    let (url, index) = (bucket.url(), text(&index));
    let dir = host.sandbox.path().join("dir");
    let store = ["restore", "--store", &url, index];
    let pull = ["pull", &url, index, "--to", text(&dir)];
    let push = ["push", &url, "--part-size", "5M", "--jobs", "2"];
    for (arguments, meets) in [
        (&push[..], Request::is_part as fn(&Request) -> bool),
        (&pull, Request::reads_brick),
        (&store, Request::reads_brick),
    ] {
        let proxy = proxy(meets);
        host.endpoint = proxy.url();
        let child = host.start(arguments);
        let _watchdog = Watchdog::new(&child);
        wait_until("nothing moves", || proxy.faults() > 0);
        interrupt(&child);
        let start = Instant::now();
        let run = finish(child).exits(130);
        println!("{}: {:?} after the signal", arguments[0], start.elapsed());
        assert!(start.elapsed() < Duration::from_secs(9), "{}", run.stderr);
        host.endpoint = server.url();
        if arguments[0] == "push" {
            assert!(bucket.objects_in("roots/").is_empty());
            host.push(&[]);
        }
        host.run(pull).exits(0);
        for path in host.files_in(&["bricks"]) {
            assert!(fs::read(dir.join(&path)).unwrap() == bucket.get(&path));
        }
        fs::remove_dir_all(&dir).unwrap();
    }
    host.restores(index, &stream(0, 6), ["--store", &*url]);
}

#[test]
fn a_disk_that_is_full_is_named_and_with_room_a_rerun_finishes() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (host, index) = Host::with_files(&bucket, 6);
    host.push(&["--delete-local"]);
    let (url, endpoint) = (bucket.url(), server.url());
    let index = text(&index);
    fs::write(host.sandbox.path().join("expected"), stream(0, 6)).unwrap();
    let script = format!(
        "export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_ENDPOINT_URL={endpoint}
        export AWS_EC2_METADATA_DISABLED=true
        mkdir dir cache
        mount -t tmpfs -o size=8m tmpfs dir
        \"$1\" pull {url} {index} --to dir && code=0 || code=$?
        test $code = 1
        find dir -type f -not -name '*.brick' >&2
        test -z \"$(find dir -type f -not -name '*.brick')\"
        mount -o remount,size=64m dir
        \"$1\" pull {url} {index} --to dir
        \"$1\" restore {index} --bricks dir | cmp - expected
        mount -t tmpfs -o size=8m tmpfs cache
        export DTAR_CATALOG=$PWD/cache
        \"$1\" restore --store {url} {index} > out && code=0 || code=$?
        test $code != 0
        mount -o remount,size=64m cache
        test -z \"$(find cache -name '*.brick')\"
        \"$1\" restore --store {url} {index} | cmp - expected"
    );
    if let Some(run) = with_mounts(&host.sandbox, &script) {
        run.exits(0).says(&["No space left on device"]);
    }
}

#[test]
fn half_a_brick_that_was_left_here_is_not_taken_for_one() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (host, index) = Host::with_files(&bucket, 1);
    host.push(&[]);
    let brick = &host.files_in(&["bricks"])[0];
    let path = host.sandbox.path().join("dir").join(brick);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, &bucket.get(brick)[..1_000_000]).unwrap();
    let pull = ["pull", &bucket.url(), text(&index), "--to", "dir"];
    host.run(pull)
        .exits(3)
        .says(&[brick, "1000000 bytes long here"]);
    fs::remove_file(&path).unwrap();
    host.run(pull).exits(0);
    assert!(fs::read(&path).unwrap() == bucket.get(brick));
}

#[test]
fn a_thaw_that_expires_midway_is_waited_for_again() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (mut host, index) = Host::with_files(&bucket, 9);
    host.push(&["--delete-local"]);
    let is_cold = Arc::new(AtomicBool::new(true));
    let (cold, reads) = (Arc::clone(&is_cold), AtomicU64::new(0));
    // What is looked at seems to be readable all the while, as it does for some hours.
    let proxy = Proxy::new(server.port, move |request| {
        let is_late = request.reads_brick() && reads.fetch_add(1, Ordering::SeqCst) >= 2;
        if is_late && cold.load(Ordering::SeqCst) {
            return Fault::Answer(403, "InvalidObjectState");
        }
        Fault::None
    });
    host.endpoint = proxy.url();
    let (url, index) = (bucket.url(), text(&index));
    let child = host.start(["restore", "--store", &url, index, "--wait"]);
    let _watchdog = Watchdog::new(&child);
    let restore = thread::spawn(|| finish(child));
    wait_until("one is looked at again", || proxy.faults() > 4);
    assert!(!restore.is_finished());
    is_cold.store(false, Ordering::SeqCst);
    let run = restore.join().unwrap().exits(0);
    let run = run.says(&["waiting for", "has expired", "dtar thaw"]);
    assert!(run.stdout == stream(0, 9));
    // A pull leaves there what has expired, and says so.
    is_cold.store(true, Ordering::SeqCst);
    let dir = host.sandbox.path().join("dir");
    let pull = ["pull", &url, index, "--to", text(&dir)];
    host.run(pull).exits(1).says(&["in cold storage"]);
    is_cold.store(false, Ordering::SeqCst);
    host.run(pull).exits(0);
}

#[test]
fn what_cannot_be_thawed_so_is_said_before_or_by_the_server() {
    let Some(server) = Server::start() else {
        return;
    };
    let bucket = server.bucket();
    let (mut host, index) = Host::with_files(&bucket, 1);
    host.push(&["--storage-class", "DEEP_ARCHIVE"]);
    fs::remove_dir_all(host.sandbox.store().join("bricks")).unwrap();
    let thaw = ["thaw", text(&index), "--from", &bucket.url(), "--tier"];
    let with = |tier| thaw.iter().copied().chain([tier]);
    host.run(with("expedited"))
        .exits(1)
        .says(&["DEEP_ARCHIVE", "--tier standard"]);
    let proxy = Proxy::new(server.port, |request| {
        if request.method == "POST" {
            return Fault::Answer(403, "InvalidObjectState");
        }
        Fault::None
    });
    host.endpoint = proxy.url();
    let run = host.run(with("bulk")).exits(1);
    let run = run.says(&["does not thaw", "DEEP_ARCHIVE"]);
    assert!(!run.stderr.contains("dtar thaw"), "{}", run.stderr);
    host.endpoint = server.url();
    host.run(with("bulk")).exits(0);
    // A class that is readable at once is not asked for.
    let readable = server.bucket();
    let host = Host {
        bucket: &readable,
        ..host
    };
    let pulled = host
        .run(["pull", &bucket.url(), text(&index), "--wait"])
        .exits(0);
    drop(pulled);
    host.push(&["--storage-class", "GLACIER_IR", "--delete-local"]);
    let run = host.run(["thaw", text(&index), "--from", &readable.url(), "--json"]);
    let found = summary(&run.exits(0));
    assert_eq!(
        (&found["asked"], &found["readable"]),
        (&0.into(), &1.into())
    );
}

#[test]
fn what_comes_down_keeps_to_the_rate() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (host, index) = Host::with_files(&bucket, 1);
    host.push(&[]);
    let dir = host.sandbox.path().join("dir");
    let pull = ["pull", &bucket.url(), text(&index), "--to", text(&dir)];
    let other = Host::new(&bucket);
    let small: u64 = ["meta/", "tocs/", "roots/", "snapshots/", "store.toml"]
        .iter()
        .flat_map(|folder| bucket.objects_in(folder))
        .map(|path| bucket.get(&path).len() as u64)
        .sum();
    let rate = small / 2;
    let sync = ["sync", &bucket.url()];
    for (host, arguments, rate, bytes) in [
        (&host, &pull[..], 2 << 20, 3_u64 << 20),
        (&other, &sync, rate, small),
    ] {
        let limit = ["--limit-rate", &rate.to_string()].map(str::to_owned);
        let start = Instant::now();
        let arguments = arguments.iter().map(|text| (*text).to_owned());
        host.run(arguments.chain(limit)).exits(0);
        let took = start.elapsed();
        // The first bytes of each transfer go at once.
        let least = Duration::from_millis(bytes * 1000 / rate) / 2;
        assert!(
            took > least,
            "{bytes} bytes in {took:?}, at {rate} a second"
        );
        println!("{bytes} bytes at {rate} a second took {took:?}");
    }
}

#[test]
fn a_push_says_how_far_it_is_and_how_much_there_is() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (host, _) = Host::with_files(&bucket, 3);
    host.push(&[]);
    host.archive("more", &stream(0, 6));
    let dry = host.push(&["--dry-run"]);
    let bytes = dry["bytes"].as_u64().unwrap();
    let push = [
        "push",
        &bucket.url(),
        "--limit-rate",
        "4M",
        "--part-size",
        "5M",
    ];
    let mut seen = 0;
    let run = host.run(push.iter().chain(&["--json"])).exits(0);
    for line in run.stderr.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        if event["type"] == "progress" {
            seen += 1;
            let (done, total) = (event["bytes"].as_u64(), event["total"].as_u64());
            // What the bucket has already is taken off while that is found out.
            assert!(total >= Some(bytes) && done <= total, "{event}");
        }
    }
    assert!(seen > 0, "{}", run.stderr);
    if !have("script") {
        return;
    }
    let again = server.bucket();
    let command = host.command(["--version"]);
    let binary = command.get_program().to_str().unwrap();
    let line = format!(
        "stty cols 100; {binary} push {} --limit-rate 8M",
        again.url()
    );
    let mut shown = Command::new("script");
    shown.args(["-qec", &line, "/dev/null"]).env_clear();
    let settings = command.get_envs();
    shown
        .env("TERM", "xterm")
        .envs(settings.filter_map(|(key, value)| Some((key, value?))));
    shown.current_dir(host.sandbox.path());
    let output = shown.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("sent "), "{text}");
    assert!(text.contains('%'), "no share of the whole: {text}");
}

#[test]
fn pushes_while_archives_and_gcs_are_at_work_show_no_run_without_its_bricks() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let host = Host::new(&bucket);
    host.archive("first", &stream(0, 2));
    let (host, is_over) = (&host, &AtomicBool::new(false));
    let pushes = thread::scope(|scope| {
        let worker = scope.spawn(move || {
            for nth in 1..6 {
                host.archive("next", &stream(nth, 2));
                host.run(["forget", "@2"]).exits(0);
                host.run(["gc", "--min-age", "0h"]).exits(0);
            }
            is_over.store(true, Ordering::SeqCst);
        });
        let mut pushes = 0;
        while !is_over.load(Ordering::SeqCst) {
            let run = host.push_with(&["--delete-local"]);
            let gives_up = run.code == Some(1) && run.stderr.contains("all the while");
            assert!(run.code == Some(0) || gives_up, "{}", run.stderr);
            pushes += 1;
        }
        worker.join().unwrap();
        pushes
    });
    host.push(&["--delete-local"]);
    let other = Host::new(&bucket);
    other.run(["pull", &bucket.url(), "--all"]).exits(0);
    let verified = other.run(["verify", "--all-here", "--json"]);
    let faults = verified.stderr.lines().filter_map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        (line["type"] == "fault").then_some(line)
    });
    let faults: Vec<_> = faults.collect();
    // Nothing but runs that were forgotten between their root and their snapshot.
    let is_forgotten = |fault: &Value| fault["message"] == "missing, though its run has a root";
    assert!(faults.iter().all(is_forgotten), "{faults:?}");
    assert_eq!(verified.code, Some(if faults.is_empty() { 0 } else { 3 }));
    other.restores("@latest", &stream(5, 2), [] as [&str; 0]);
    println!("{pushes} pushes meanwhile");
}

#[test]
fn a_run_that_ends_while_a_push_is_at_work_waits_for_the_next_one() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let (mut host, _) = Host::with_files(&bucket, 1);
    let home = host.sandbox.path().to_owned();
    let dtar = host.command(["--quiet"]);
    let (binary, settings) = (dtar.get_program().to_owned(), dtar.get_envs());
    let settings = settings.filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())));
    let settings: Vec<_> = settings.collect();
    fs::write(home.join("more"), stream(1, 1)).unwrap();
    let has_run = AtomicBool::new(false);
    let proxy = Proxy::new(server.port, move |request| {
        // The bricks have been listed, and the sidecars have not.
        let is_time = request.path.contains("list-type=2") && request.path.contains("tocs");
        if is_time && !has_run.swap(true, Ordering::SeqCst) {
            let mut archive = Command::new(&binary);
            archive.arg("--quiet").envs(settings.clone());
            archive.stdin(fs::File::open(home.join("more")).unwrap());
            archive.stdout(fs::File::create(home.join("more.index")).unwrap());
            assert!(archive.status().unwrap().success());
            return Fault::Slow(0);
        }
        Fault::None
    });
    host.endpoint = proxy.url();
    host.push(&[]);
    assert_eq!(proxy.faults(), 1);
    // No sidecar on which another host would rely without its brick.
    let with_bricks = |bucket: &crate::server::Bucket| {
        let bricks = bucket.objects_in("bricks/").len() + bucket.objects_in("meta/").len();
        (bucket.objects_in("tocs/").len(), bricks)
    };
    let (sidecars, bricks) = with_bricks(&bucket);
    assert_eq!(sidecars, bricks);
    assert_eq!(bucket.objects_in("roots/").len(), 1);
    host.push(&[]);
    let (more, bricks) = with_bricks(&bucket);
    assert!(more == bricks && more > sidecars, "{more} {bricks}");
    assert_eq!(bucket.objects_in("roots/").len(), 2);
}
