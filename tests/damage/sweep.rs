//! One bit of each byte of a store flipped, in turn: found, or harmless.

use std::num::NonZero;
use std::path::PathBuf;
use std::thread;

use crate::common::shell::in_ci;
use crate::made::{flip, length, text};
use crate::scene::{KINDS, Scene};

/// Every so manieth byte; `DTAR_SWEEP=1` takes each.
fn step() -> u64 {
    let given = std::env::var("DTAR_SWEEP").ok();
    let given = given.and_then(|step| step.parse().ok());
    given.unwrap_or(if in_ci() { 7 } else { 37 })
}

/// A byte of a file of the store.
type Spot = (PathBuf, u64);

/// Flips one bit, verifies, and flips it back; whether that was found.
#[track_caller]
fn is_found(scene: &Scene, (file, offset): &Spot) -> bool {
    let path = scene.file(file);
    let case = format!("{} at {offset}", file.display());
    let bit = 1 << (offset % 8);
    flip(&path, *offset, bit);
    let run = scene.verify(&["--no-mark", "--quiet"]);
    let found = run.code != Some(0);
    if found {
        assert!(matches!(run.code, Some(1 | 3)), "{case}: {:?}", run.code);
        assert!(run.stderr.contains(text(&path)), "{case}: {}", run.stderr);
    } else {
        let restored = scene.restore();
        assert_eq!(restored.code, Some(0), "{case}: {}", restored.stderr);
        assert!(restored.stdout == scene.stream, "{case}");
    }
    flip(&path, *offset, bit);
    found
}

#[test]
fn every_flipped_byte_is_found_or_harmless() {
    let scene = Scene::new();
    let step = step();
    let (mut spots, mut next) = (Vec::new(), 0);
    for kind in KINDS {
        for file in scene.files(kind) {
            let size = length(&scene.file(&file));
            let offsets = (next..size).step_by(usize::try_from(step).unwrap());
            // The last byte of each file, too.
            let offsets = offsets.chain([size - 1]);
            spots.extend(offsets.map(|offset| (file.clone(), offset)));
            next = (next + 5) % step;
        }
    }
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let detected: usize = thread::scope(|scope| {
        let piece = spots.len().div_ceil(threads);
        let workers: Vec<_> = spots
            .chunks(piece)
            .map(|spots| {
                let scene = scene.copy();
                scope.spawn(move || spots.iter().filter(|spot| is_found(&scene, spot)).count())
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .sum()
    });
    let harmless = spots.len() - detected;
    println!(
        "faults injected {}, detected {detected}, harmless {harmless}, every {step}th byte",
        spots.len()
    );
    assert_eq!(harmless, 0, "all bytes of a store are covered by something");
    scene.verify(&[]).exits(0);
}

/// Without a key, all but what only a seal covers: in sidecars the last 32 bytes, and
/// those of bricks that are away; of roots and snapshots what is sealed.
#[test]
fn without_a_key_every_flipped_byte_of_a_brick_is_found() {
    let scene = Scene::new();
    let step = usize::try_from(step() * 2).unwrap();
    for kind in ["bricks", "meta", "tocs"] {
        let file = scene.files(kind).remove(0);
        let path = scene.file(&file);
        let covered = length(&path) - if kind == "tocs" { 32 } else { 0 };
        for offset in (0..covered).step_by(step) {
            flip(&path, offset, 4);
            let run = scene.verify(&["--no-key", "--no-mark", "--quiet"]);
            run.exits(3).says(&[text(&path)]);
            flip(&path, offset, 4);
        }
    }
    scene.verify(&["--no-key"]).exits(0);
}
