//! One bit of each byte of a store flipped, in turn, and of an index and the key: found,
//! or harmless; and what is restored meanwhile is right, or refused, or has its replaced
//! ranges named.
//!
//! This calls the library, as the commands do: a process for each flip would take hours.
//! In CI a sample by a seed (`DTAR_SEED`) that has some bytes of each structure; every byte
//! with `DTAR_SWEEP=1`, every n-th with `DTAR_SWEEP=n`:
//!
//! ```text
//! DTAR_SWEEP=1 cargo test --test damage sweep -- --nocapture
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use dtar::archive::Monitor;
use dtar::crypto::Key;
use dtar::error::{Error, Exit, Result};
use dtar::index::IndexFile;
use dtar::key_file;
use dtar::parity::{self, Places};
use dtar::restore::{Hit, Origin, RestoreOptions, restore};
use dtar::snapshot::{self, Run};
use dtar::store::Store;
use dtar::store::runs::dead_bricks;
use dtar::verify::{Finding, Means, VerifyOptions, config_fault, verify_store};

use crate::common::source::Random;
use crate::faults::Fault;
use crate::made::{flip, length};
use crate::yard::{By, Yard};

/// Every so manieth byte, or a sample.
fn step() -> Option<u64> {
    let given = std::env::var("DTAR_SWEEP").ok();
    given.and_then(|step| step.parse().ok())
}

/// A byte of a file of the sandbox.
type Spot = (PathBuf, u64);

/// What has the duty to find a flip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Finder {
    Verify,
    Parity,
    /// Whoever archives reads these.
    DeadList,
    Mark,
    /// Whoever restores.
    Index,
    Key,
    /// A lease is its folder; what stands in it is for people.
    Nobody,
}

fn finder_of(file: &Path) -> Finder {
    let part = |number: usize| file.iter().nth(number).and_then(|part| part.to_str());
    match (part(0), part(1)) {
        (Some("store"), Some("parity")) => Finder::Parity,
        (Some("store"), Some("dead")) => Finder::DeadList,
        (Some("store"), Some("bad")) => Finder::Mark,
        (Some("store"), Some("runs")) => Finder::Nobody,
        (Some("store"), _) => Finder::Verify,
        (Some("key"), _) => Finder::Key,
        _ => Finder::Index,
    }
}

/// A store that is looked at, with what flips do to it.
struct Watch<'a> {
    yard: &'a Yard,
}

impl Watch<'_> {
    fn key(&self) -> Result<Key> {
        key_file::load(&self.yard.sandbox.key(), &mut |path| {
            Err(Error::Internal(path.display().to_string()))
        })
    }

    fn open(&self) -> Result<(Key, Store)> {
        let key = self.key()?;
        let store = Store::open(&self.yard.sandbox.store(), &key)?;
        Ok((key, store))
    }

    /// Whether the one whose duty it is finds something, and names the file.
    fn finds(&self, finder: Finder, path: &Path) -> bool {
        let named = |error: Error| {
            let text = error.to_string();
            assert!(text.contains(path.to_str().unwrap()), "not named: {text}");
            true
        };
        let opened = self.open();
        match finder {
            Finder::Key => return opened.is_err(),
            Finder::Nobody => return false,
            _ => {}
        }
        let (key, store) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let bare = Means::without_key(&self.yard.sandbox.store());
                assert!(path.ends_with("store.toml"), "{error}");
                return config_fault(&bare, &error).is_some() || named(error);
            }
        };
        let keys = store.put_keys(&key).unwrap();
        match finder {
            Finder::Verify => verify(&Means::with_key(&store, &key).unwrap(), path),
            Finder::Parity => {
                let places = Places::new(store.path(), &[]).unwrap();
                let summary = parity::check(&places, &Monitor::default(), &mut |_| ());
                summary.unwrap().exit() != Exit::Done
            }
            Finder::DeadList => dead_bricks(&store, &keys).is_err_and(named),
            Finder::Mark => {
                let marked = store.layout().marked().unwrap();
                let unsealed = store.unsealed_marks(&keys, &marked).unwrap();
                unsealed.iter().any(|found| found == path)
            }
            _ => self
                .restore("b", By::Index, None)
                .is_err_and(|failed| named(failed.1)),
        }
    }

    /// Restores a run; or what came out before the error.
    fn restore(
        &self,
        label: &str,
        by: By,
        on_hit: Option<&mut dyn FnMut(Hit)>,
    ) -> std::result::Result<Vec<u8>, Box<(Vec<u8>, Error)>> {
        let mut output = Vec::new();
        let attempt = || {
            let (key, store) = self.open()?;
            let index = match by {
                By::Index => {
                    IndexFile::open(&self.yard.sandbox.path().join(format!("{label}.tar")))?
                }
                By::Snapshot => {
                    let keys = store.put_keys(&key)?;
                    let name = self.yard.archived(label).name.parse().unwrap();
                    let run = Run::read(&store, &keys, name)?.expect("a root");
                    snapshot::open(&store, &key, &keys, &run, &[])?
                }
            };
            let origin = Origin::from(&store);
            let options = RestoreOptions {
                threads: 1,
                ..RestoreOptions::default()
            };
            let monitor = Arc::new(Monitor::default());
            restore(
                &index,
                &origin,
                &key,
                &mut output,
                &options,
                on_hit,
                &monitor,
            )
        };
        match attempt() {
            Ok(_) => Ok(output),
            Err(error) => Err(Box::new((output, error))),
        }
    }

    /// Restores what may be hit: right, or the beginning and an error; and then, with
    /// zeros for what is lost, right but for ranges that are named.
    fn restores(&self) -> Tally {
        let mut tally = Tally::default();
        for (label, by) in [("b", By::Index), ("h", By::Index), ("c", By::Snapshot)] {
            let stream = &self.yard.archived(label).stream;
            match self.restore(label, by, None) {
                Ok(found) => tally.wrong += usize::from(found != *stream),
                Err(failed) => {
                    let (found, error) = *failed;
                    assert!(!matches!(error, Error::Internal(_)), "{error}");
                    tally.wrong += usize::from(!stream.starts_with(&found));
                    tally.refused += 1;
                    self.losses(label, by, &mut tally);
                }
            }
            tally.restores += 1;
        }
        tally
    }

    /// Bytes that are replaced where a restore keeps going, in ranges that it names or not.
    fn losses(&self, label: &str, by: By, tally: &mut Tally) {
        let archived = self.yard.archived(label);
        let mut named = BTreeSet::new();
        let mut on_hit = |hit: Hit| {
            let mut bodies = archived.bodies.iter();
            let body = bodies.find(|(name, _)| name.as_bytes() == hit.member);
            let start = body.unwrap().1.start as u64 + hit.start;
            named.extend(start..start + hit.length);
        };
        let Ok(found) = self.restore(label, by, Some(&mut on_hit)) else {
            return;
        };
        assert_eq!(found.len(), archived.stream.len());
        let differ = found.iter().zip(&archived.stream).enumerate();
        let differ = differ.filter(|(_, (found, right))| found != right);
        for (at, _) in differ {
            let is_named = named.contains(&(at as u64));
            tally.lost += usize::from(is_named);
            tally.unnamed += usize::from(!is_named);
        }
    }
}

/// Whether verify finds a fault, one of which must name the file.
fn verify(means: &Means<'_>, path: &Path) -> bool {
    let faults: Mutex<Vec<_>> = Mutex::default();
    let options = VerifyOptions {
        all_here: true,
        threads: 1,
        ..VerifyOptions::default()
    };
    let found = |finding| {
        if let Finding::Fault(fault) = finding {
            faults.lock().unwrap().push(fault);
        }
    };
    let monitor = Arc::new(Monitor::default());
    let summary = verify_store(means, &options, &found, &monitor).unwrap();
    let faults = faults.into_inner().unwrap();
    let named = faults.iter().any(|fault| fault.path == path);
    assert!(named || faults.is_empty(), "not named: {faults:?}");
    assert_eq!(faults.is_empty(), summary.exit() == Exit::Done);
    named
}

/// What came of all flips of files of one kind.
#[derive(Default)]
struct Tally {
    injected: usize,
    detected: usize,
    harmless: usize,
    restores: usize,
    refused: usize,
    /// Restores with wrong bytes.
    wrong: usize,
    /// Bytes that a restore which keeps going replaced, and named or not.
    lost: usize,
    unnamed: usize,
}

/// Flips one bit, looks what comes of it, and flips it back.
fn try_spot(yard: &Yard, (file, offset): &Spot, tallies: &Mutex<BTreeMap<Finder, Tally>>) {
    let path = yard.file(file);
    let bit = 1 << (offset % 8);
    flip(&path, *offset, bit);
    let watch = Watch { yard };
    let finder = finder_of(file);
    let found = watch.finds(finder, &path);
    let restored = watch.restores();
    let case = format!("{} at {offset}", file.display());
    assert_eq!(
        (restored.wrong, restored.unnamed),
        (0, 0),
        "{case}: WRONG BYTES"
    );
    assert!(
        found || restored.refused == 0,
        "{case}: not found, but not harmless"
    );
    // All is covered by something; but for the newline behind a key's text.
    let may_pass = finder == Finder::Nobody || finder == Finder::Key;
    assert!(found || may_pass, "{case}: not found");
    if finder == Finder::Verify {
        without_key(&watch, file, &path, *offset, &case);
    }
    flip(&path, *offset, bit);
    let mut tallies = tallies.lock().unwrap();
    let tally = tallies.entry(finder).or_default();
    tally.injected += 1;
    tally.detected += usize::from(found);
    tally.harmless += usize::from(!found);
    tally.restores += restored.restores;
    tally.refused += restored.refused;
    tally.wrong += restored.wrong;
    tally.lost += restored.lost;
    tally.unnamed += restored.unnamed;
}

/// Without a key each byte of a brick is covered by its name, and of a sidecar all but the
/// seal by the brick.
fn without_key(watch: &Watch<'_>, file: &Path, path: &Path, offset: u64, case: &str) {
    let folder = file.iter().nth(1).and_then(|part| part.to_str());
    let covered = match folder {
        Some("bricks" | "meta") => length(path),
        Some("tocs") => length(path) - 32,
        _ => return,
    };
    let bare = Means::without_key(&watch.yard.sandbox.store());
    let found = verify(&bare, path);
    assert_eq!(found, offset < covered, "{case}, without a key");
}

/// The bytes to be flipped.
fn spots(yard: &Yard) -> (Vec<Spot>, String) {
    let mut files = vec![PathBuf::from("b.tar"), PathBuf::from("key")];
    let relative = |file: PathBuf| file.strip_prefix(yard.sandbox.path()).unwrap().to_owned();
    files.extend(
        crate::common::files::files(&yard.sandbox.store())
            .into_keys()
            .map(relative),
    );
    files.sort();
    let size = |file: &PathBuf| length(&yard.file(file));
    if let Some(step) = step() {
        let step_by = usize::try_from(step).unwrap();
        let mut next = 0;
        let each = files.iter().flat_map(|file| {
            let offsets = (next..size(file)).step_by(step_by);
            next = (next + 5) % step;
            offsets.map(|offset| (file.clone(), offset))
        });
        return (each.collect(), format!("every {step}th byte"));
    }
    let seed = std::env::var("DTAR_SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut random = Random(seed);
    let mut spots = BTreeSet::new();
    // Of each file one byte, and of each structure.
    for file in &files {
        spots.insert((file.clone(), random.below(size(file))));
        spots.insert((file.clone(), size(file) - 1));
    }
    for fault in Fault::all(yard) {
        let file = fault.target.file;
        if files.contains(&file) {
            let length = fault.bytes.end - fault.bytes.start;
            spots.insert((file, fault.bytes.start + random.below(length)));
        }
    }
    (
        spots.into_iter().collect(),
        format!("a sample, seed {seed}"),
    )
}

#[test]
fn every_flipped_byte_is_found_or_harmless() {
    let whole = Yard::new();
    let (spots, which) = spots(&whole);
    let tallies = Mutex::default();
    let next = AtomicUsize::new(0);
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..threads {
            let yard = whole.copy();
            let (next, spots, tallies) = (&next, &spots, &tallies);
            scope.spawn(move || {
                while let Some(spot) = spots.get(next.fetch_add(1, Ordering::Relaxed)) {
                    try_spot(&yard, spot, tallies);
                }
                let (key, store) = Watch { yard: &yard }.open().unwrap();
                let means = Means::with_key(&store, &key).unwrap();
                assert!(!verify(&means, yard.sandbox.path()));
            });
        }
    });
    let tallies = tallies.into_inner().unwrap();
    for (finder, tally) in &tallies {
        println!(
            "  {finder:?}: flips {}, detected {}, harmless {}, restores {}, refused {}",
            tally.injected, tally.detected, tally.harmless, tally.restores, tally.refused
        );
    }
    let sum = |of: fn(&Tally) -> usize| tallies.values().map(of).sum::<usize>();
    println!(
        "damage sweep ({which}): flips {}, detected {}, harmless {}; restores {}, refused {}, wrong \
         {}; bytes replaced and named {}, not named {}",
        sum(|tally| tally.injected),
        sum(|tally| tally.detected),
        sum(|tally| tally.harmless),
        sum(|tally| tally.restores),
        sum(|tally| tally.refused),
        sum(|tally| tally.wrong),
        sum(|tally| tally.lost),
        sum(|tally| tally.unnamed),
    );
    assert_eq!(sum(|tally| tally.injected), spots.len());
}
