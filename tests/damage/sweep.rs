//! One bit of each byte of a store flipped, in turn: found, or harmless.

use crate::common::shell::in_ci;
use crate::made::{flip, length, text};
use crate::scene::{KINDS, Scene};

/// Every so manieth byte; `DTAR_SWEEP=1` takes each.
fn step() -> u64 {
    let given = std::env::var("DTAR_SWEEP").ok();
    let given = given.and_then(|step| step.parse().ok());
    given.unwrap_or(if in_ci() { 11 } else { 37 })
}

#[test]
fn every_flipped_byte_is_found_or_harmless() {
    let scene = Scene::new();
    let step = step();
    let (mut injected, mut detected, mut harmless) = (0, 0, 0);
    let mut next = 0;
    for kind in KINDS {
        for file in scene.files(kind) {
            let path = scene.file(&file);
            let size = length(&path);
            // The last byte of each file, too.
            for offset in (next..size)
                .step_by(usize::try_from(step).unwrap())
                .chain([size - 1])
            {
                let bit = 1 << (offset % 8);
                flip(&path, offset, bit);
                injected += 1;
                let run = scene.verify(&["--no-mark", "--quiet"]);
                if run.code == Some(0) {
                    let restored = scene.restore();
                    assert_eq!(restored.code, Some(0), "{} at {offset}", file.display());
                    assert!(
                        restored.stdout == scene.stream,
                        "{} at {offset}",
                        file.display()
                    );
                    harmless += 1;
                } else {
                    assert!(matches!(run.code, Some(1 | 3)), "{:?}", run.code);
                    assert!(
                        run.stderr.contains(text(&path)),
                        "{} at {offset}: {}",
                        file.display(),
                        run.stderr
                    );
                    detected += 1;
                }
                flip(&path, offset, bit);
            }
            next = (next + 5) % step;
        }
    }
    println!(
        "faults injected {injected}, detected {detected}, harmless {harmless}, every {step}th byte"
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
