//! Memory does not grow with the stream: a stream of many GiB, made while it
//! is read, is archived and restored within 256 MiB.
//!
//! What counts is the memory that only dtar can give back: `RssAnon` (heap,
//! stacks) and `RssShmem` of `/proc/PID/status`, looked at every few
//! milliseconds; the greatest sum is the figure. `RssFile` does not count: it
//! is the program itself and the mapped catalog, pages of the page cache that
//! the kernel takes away whenever it needs them. So that a peak between two
//! looks cannot hide, `VmHWM` (the kernel's own peak, of all kinds together)
//! less the greatest `RssFile` seen has to keep the bound too.
//!
//! The stream has 20 GiB, or as many as `DTAR_MEMORY_GIB` says. To see the figures:
//!
//! ```text
//! cargo test --test memory -- --nocapture
//! ```

mod common;

use std::fs::File;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::block::{BLOCK, Header, base256};
use common::sandbox::{Sandbox, Watchdog};
use common::source::{Pieces, Random, first_difference};

const MIB: u64 = 1 << 20;
const BOUND: u64 = 256 * MIB;
const LIMIT: Duration = Duration::from_secs(1200);
const PIECE: usize = 1 << 20;

/// Peaks of one process, in bytes.
#[derive(Debug, Default, Clone, Copy)]
struct Peak {
    /// Anonymous and shared memory, as sampled.
    own: u64,
    /// Pages of mapped files, as sampled.
    mapped: u64,
    /// All of it, as the kernel recorded it.
    all: u64,
}

impl Peak {
    fn look(&mut self, pid: u32) {
        // Gone when the process is: the peaks seen so far stand.
        let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else {
            return;
        };
        let field = |name: &str| -> u64 {
            status
                .lines()
                .find_map(|line| {
                    line.strip_prefix(name)?
                        .strip_suffix("kB")?
                        .trim()
                        .parse()
                        .ok()
                })
                .map_or(0, |kibibytes: u64| kibibytes << 10)
        };
        self.own = self.own.max(field("RssAnon:") + field("RssShmem:"));
        self.mapped = self.mapped.max(field("RssFile:"));
        self.all = self.all.max(field("VmHWM:"));
    }

    #[track_caller]
    fn keeps_bound(self, what: &str, started: Instant) {
        let unmapped = self.all.saturating_sub(self.mapped);
        println!(
            "{what}: peak {} MiB without mapped files (bound {} MiB); with them {} MiB; {:.1} s",
            self.own.max(unmapped) / MIB,
            BOUND / MIB,
            self.all / MIB,
            started.elapsed().as_secs_f64()
        );
        assert!(self.own > 0, "no figure was read from /proc");
        assert!(self.own <= BOUND, "{what}: {self:?}");
        assert!(unmapped <= BOUND, "{what}: {self:?}");
    }
}

/// Runs `work` beside a process and watches its memory meanwhile.
fn watched<T>(pid: u32, work: impl FnOnce() -> T) -> (T, Peak) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut peak = Peak::default();
            while !done.load(Ordering::Relaxed) {
                peak.look(pid);
                thread::sleep(Duration::from_millis(3));
            }
            peak
        });
        let value = work();
        done.store(true, Ordering::Relaxed);
        (value, watcher.join().unwrap())
    })
}

/// The stream: one member of half the length, with chunks of every size; many
/// of 3 MiB, all of small chunks; and a great number of tiny ones. The first
/// 512 MiB are new throughout, so that all stages are busy; then fifteen pieces
/// of sixteen repeat, so that the store stays small.
fn stream(length: u64) -> Pieces<impl Iterator<Item = Vec<u8>>> {
    let pieces = length / MIB;
    let large = member("large", pieces / 2, 0);
    let tiny = (0..pieces).map(|number| {
        let body = number.to_string().repeat(80);
        let mut member = Header::file(&format!("tiny-{number}"), body.len() as u64)
            .0
            .to_vec();
        member.extend_from_slice(body.as_bytes());
        member.resize(member.len().next_multiple_of(BLOCK), 0);
        member
    });
    let middle = (0..pieces / 6)
        .flat_map(move |number| member(&format!("member-{number}"), 3, pieces + 3 * number));
    Pieces::new(
        large
            .chain(tiny)
            .chain(middle)
            .chain(std::iter::once(vec![0; 2 * BLOCK])),
    )
}

/// A member of that many pieces; `first` is the number of the first among all.
fn member(name: &str, pieces: u64, first: u64) -> impl Iterator<Item = Vec<u8>> + use<> {
    let header = Header::gnu(name, 0).size_field(&base256(pieces * MIB));
    let body = (first..first + pieces).map(|number| {
        let seed = if number < 512 || number % 16 == 0 {
            number
        } else {
            number * 7 % 61
        };
        let mut piece = vec![0; PIECE];
        Random(seed ^ 0xabcd).fill(&mut piece);
        piece
    });
    std::iter::once(header.0.to_vec()).chain(body)
}

#[test]
fn a_long_stream_needs_no_more_memory_than_a_short_one() {
    let gibibytes = std::env::var("DTAR_MEMORY_GIB").map_or(20, |text| text.parse().unwrap());
    let length = gibibytes << 30;
    let sandbox = Sandbox::on_disk();
    let index = sandbox.path().join("index.tar");
    println!("a stream of about {gibibytes} GiB");

    let started = Instant::now();
    let mut child = sandbox
        .command(["--quiet"])
        .stdin(Stdio::piped())
        .stdout(File::create(&index).unwrap())
        .spawn()
        .unwrap();
    let _watchdog = Watchdog::with_limit(&child, LIMIT);
    let mut stdin = child.stdin.take().unwrap();
    let (status, peak) = watched(child.id(), || {
        std::io::copy(&mut stream(length), &mut stdin).unwrap();
        drop(stdin);
        child.wait().unwrap()
    });
    assert_eq!(status.code(), Some(0));
    peak.keeps_bound("archive", started);

    let started = Instant::now();
    let mut child = sandbox
        .command(["restore"])
        .arg(&index)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let _watchdog = Watchdog::with_limit(&child, LIMIT);
    let stdout = child.stdout.take().unwrap();
    let ((difference, status), peak) = watched(child.id(), || {
        let difference = first_difference(stdout, stream(length)).unwrap();
        (difference, child.wait().unwrap())
    });
    assert_eq!(difference, None);
    assert_eq!(status.code(), Some(0));
    peak.keeps_bound("restore", started);
}
