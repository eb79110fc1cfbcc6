//! The steps of `benches/scale` that need the library: each works on a store
//! that stands there already and prints its figures as one line of JSON.
//!
//! Generated chunks have numbers; id and length follow from the number, so
//! that any of them can be sought later.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use dtar::brick::{BrickSealer, SidecarSeal};
use dtar::crypto::PutKeys;
use dtar::format::note::NoteKind;
use dtar::format::toc::{Toc, TocChunk};
use dtar::format::wire::uv_length;
use dtar::id::{BrickName, ChunkId, Class, WriterId};
use dtar::key_file;
use dtar::store::Store;
use dtar::store::catalog::{Catalog, CatalogReport};
use dtar::store::runs::Lease;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// About what a brick of 64 MiB holds at 2 KiB a chunk after compression.
const CHUNKS_OF_BRICK: u64 = 65_000;
const CHUNKS_OF_FRAME: u64 = 250;
/// What the archiver looks up at once: the chunks of one slab of 2 MiB.
const BATCH: usize = 128;
const LOOKUPS: u64 = 200_000;
/// Bricks that are entered one by one, and the chunks of each: enough for a
/// merge of all that stands there, up to 10 million chunks.
const INSERTS: u64 = 120;
const CHUNKS_OF_INSERT: u64 = 25_000;
/// Numbers from here on belong to no generated sidecar.
const UNKNOWN: u64 = 1 << 48;

const USAGE: &str = "usage: scale sidecars|open|lookup|insert STORE KEY CATALOG CHUNKS";

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    // cargo bench adds this word of its own.
    let arguments: Vec<_> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    match run(&arguments) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("scale: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Outcome<String> {
    let [step, store, key, catalog, chunks] = arguments else {
        return Err(USAGE.into());
    };
    let chunks: u64 = chunks.parse()?;
    let key = key_file::load(Path::new(key), &mut |_| {
        Err(dtar::Error::Usage("this key has a passphrase".into()))
    })?;
    let store = Store::open(Path::new(store), &key)?;
    let bed = Bed {
        keys: store.put_keys(&key)?,
        store,
        catalog: PathBuf::from(catalog),
    };
    match step.as_str() {
        "sidecars" => bed.make_sidecars(chunks),
        "open" => bed.time_opening(),
        "lookup" => bed.time_lookups(chunks),
        "insert" => bed.time_inserts(chunks),
        _ => Err(USAGE.into()),
    }
}

/// A store and where its catalog lies.
struct Bed {
    store: Store,
    keys: PutKeys,
    catalog: PathBuf,
}

impl Bed {
    fn make_sidecars(&self, chunks: u64) -> Outcome<String> {
        let begin = Instant::now();
        let lease = Lease::take(&self.store, &self.keys, NoteKind::ArchiverLease, "")?;
        let mut bytes = 0;
        for first in (0..chunks).step_by(usize::try_from(CHUNKS_OF_BRICK)?) {
            let toc = toc(first..(first + CHUNKS_OF_BRICK).min(chunks))?;
            let sealer = BrickSealer::new(
                *self.store.id(),
                self.keys.epoch,
                Class::Data,
                self.store.recipients(),
            )?;
            let bytes_of_toc = sealer.seal_toc(&self.keys, &toc)?;
            let name = brick_name(first);
            self.store
                .write_sidecar(&lease, &self.keys, &name, &bytes_of_toc)?;
            bytes += fs::metadata(self.store.toc_path(&name))?.len();
        }
        let seconds = begin.elapsed().as_secs_f64();
        Ok(format!(r#"{{"seconds": {seconds:.3}, "bytes": {bytes}}}"#))
    }

    fn open(&self) -> Outcome<(Catalog, CatalogReport, f64)> {
        let begin = Instant::now();
        let (catalog, report) = Catalog::open(&self.catalog, &self.store, &self.keys)?;
        let seconds = begin.elapsed().as_secs_f64();
        if report.rebuilt.is_some() || !report.damaged.is_empty() {
            return Err(format!("a damaged store or catalog: {report:?}").into());
        }
        Ok((catalog, report, seconds))
    }

    fn time_opening(&self) -> Outcome<String> {
        let memory = Memory::watch();
        let (catalog, report, seconds) = self.open()?;
        let peak = memory.peak();
        drop(catalog);
        Ok(format!(
            r#"{{"seconds": {seconds:.4}, "live": {}, "loaded": {}, "memory": {peak}}}"#,
            report.live, report.loaded
        ))
    }

    fn time_lookups(&self, chunks: u64) -> Outcome<String> {
        let (mut catalog, _, _) = self.open()?;
        let memory = Memory::watch();
        let known = |place| scatter(place) % chunks.max(1);
        let mut line = String::from("{");
        let mut time = |what: &str, number: &dyn Fn(u64) -> u64, expected: bool| -> Outcome<()> {
            let rate = look_up(&mut catalog, number, expected)?;
            Ok(write!(line, r#""{what}": {rate:.0}, "#)?)
        };
        time("misses", &|place| UNKNOWN + place, false)?;
        if chunks > 0 {
            time("hits", &known, true)?;
            // As in a stream that was archived before: brick after brick.
            let first = scatter(7) % chunks;
            time("hits_in_order", &|place| (first + place) % chunks, true)?;
        }
        write!(line, r#""memory": {}}}"#, memory.peak())?;
        Ok(line)
    }

    /// Enters bricks as the archiver does, one by one, each durably.
    fn time_inserts(&self, chunks: u64) -> Outcome<String> {
        let (mut catalog, _, _) = self.open()?;
        let memory = Memory::watch();
        let (before, mut seconds, mut slowest) = (written()?, 0.0, 0.0_f64);
        for brick in 0..INSERTS {
            let first = 2 * UNKNOWN + chunks + brick * CHUNKS_OF_INSERT;
            let toc = toc(first..first + CHUNKS_OF_INSERT)?;
            let begin = Instant::now();
            let name = brick_name(first);
            catalog.insert(&name, toc.end(), &toc, &SidecarSeal(*name.as_bytes()))?;
            let elapsed = begin.elapsed().as_secs_f64();
            seconds += elapsed;
            slowest = slowest.max(elapsed);
        }
        drop(catalog);
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let rate = (INSERTS * CHUNKS_OF_INSERT) as f64 / seconds;
        let written = (written()? - before) / (INSERTS * CHUNKS_OF_INSERT);
        let peak = memory.peak();
        Ok(format!(
            r#"{{"rate": {rate:.0}, "seconds_a_brick": {:.4}, "slowest": {slowest:.4}, "written_a_chunk": {written}, "memory": {peak}}}"#,
            seconds / f64::from(u32::try_from(INSERTS)?)
        ))
    }
}

/// Chunks looked up in a second.
fn look_up(catalog: &mut Catalog, number: &dyn Fn(u64) -> u64, expected: bool) -> Outcome<f64> {
    let (mut ids, mut lengths, mut found) = (Vec::new(), Vec::new(), Vec::new());
    let mut spent = Duration::ZERO;
    for first in (0..LOOKUPS).step_by(BATCH) {
        let numbers = (first..first + BATCH as u64).map(number);
        ids.clear();
        lengths.clear();
        for number in numbers {
            ids.push(chunk_id(number));
            lengths.push(chunk_length(number));
        }
        let begin = Instant::now();
        catalog.lookup(&ids, &lengths, &mut found)?;
        spent += begin.elapsed();
        if found.iter().any(|answer| answer.is_some() != expected) {
            return Err("a chunk is not where it should be".into());
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let lookups = LOOKUPS as f64;
    Ok(lookups / spent.as_secs_f64())
}

fn toc(chunks: std::ops::Range<u64>) -> Outcome<Toc> {
    let mut toc = Toc::new(Class::Data, WriterId([3; 16]));
    let mut first = chunks.start;
    while first < chunks.end {
        let end = (first + CHUNKS_OF_FRAME).min(chunks.end);
        let plain: u32 = (first..end).map(chunk_length).sum();
        let entries = (first..end).map(|number| TocChunk {
            id: chunk_id(number),
            length: chunk_length(number),
        });
        // The chunk table has the chunks' lengths (`formats/frame.md#content`).
        let table = (first..end).map(|number| uv_length(chunk_length(number).into()));
        let table = u32::try_from(table.sum::<usize>())?;
        toc.push_frame(1_200 + plain / 3, plain + table, entries)?;
        first = end;
    }
    Ok(toc)
}

fn brick_name(first: u64) -> BrickName {
    BrickName(*blake3::hash(&first.to_le_bytes()).as_bytes())
}

fn chunk_id(number: u64) -> ChunkId {
    let mut id = [0; 16];
    for (seed, half) in (0..).zip(id.chunks_exact_mut(8)) {
        half.copy_from_slice(&xxh3_64_with_seed(&number.to_le_bytes(), seed).to_le_bytes());
    }
    ChunkId(id)
}

/// 2 to 26 KiB, 14 in the mean.
fn chunk_length(number: u64) -> u32 {
    2_048 + u32::try_from(scatter(number) % 24_576).unwrap_or_default()
}

fn scatter(number: u64) -> u64 {
    xxh3_64_with_seed(&number.to_le_bytes(), 2)
}

/// Bytes that this process has sent to the disk.
fn written() -> Outcome<u64> {
    number_in("/proc/self/io", "write_bytes:")
}

/// Watches the memory of this process that no file backs: the catalog's map
/// is left out, and may be dropped by the kernel whenever it likes.
struct Memory {
    stop: Arc<AtomicBool>,
    peak: Arc<AtomicU64>,
    thread: thread::JoinHandle<()>,
}

impl Memory {
    fn watch() -> Self {
        let (stop, peak) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (stopped, highest) = (Arc::clone(&stop), Arc::clone(&peak));
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                highest.fetch_max(Self::now(), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(5));
            }
        });
        Self { stop, peak, thread }
    }

    fn now() -> u64 {
        number_in("/proc/self/status", "RssAnon:").unwrap_or_default() * 1024
    }

    /// The most so far, in bytes.
    fn peak(self) -> u64 {
        let now = Self::now();
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.join().is_err() {
            // Nobody panics there; and if so, a figure is lost, no more.
            let _ = writeln!(io::stderr(), "scale: nobody watched the memory");
        }
        self.peak.load(Ordering::Relaxed).max(now)
    }
}

fn number_in(file: &str, field: &str) -> Outcome<u64> {
    let text = fs::read_to_string(file)?;
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.ok_or("a field of /proc is missing")?.parse()?)
}
