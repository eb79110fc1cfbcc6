//! Promise 5: eight archivers at once, gc and verify at the same time; all restores.
//!
//! Each archiver changes its tree, archives it slowly, forgets runs, and archives again
//! what it has just forgotten, so that it deduplicates against what gc is about to
//! delete. Gc runs in a loop, with and without rewriting; verify runs in a loop, with the
//! key, a put key and without, and must never find a fault. Parity and rebuild run too.
//!
//! `DTAR_ROUNDS` (8): archives of each archiver; the long form is `DTAR_ROUNDS=40`.
//! `DTAR_SEED` (1): what is archived and forgotten follows from it, the timing does not.

#[path = "../common/mod.rs"]
mod common;

mod archiver;
mod others;
mod scene;

use common::log::{setting, tell};
use scene::Scene;

/// Each with a catalog of its own, as on eight hosts.
#[test]
fn archivers_with_catalogs_of_their_own() {
    close("own catalogs", &Scene::new(false, false));
}

/// As on one host; and there are two gcs, of which one ends runs that may be alive.
#[test]
fn archivers_with_one_catalog_and_gcs_that_end_runs() {
    close("one catalog, runs ended", &Scene::new(true, true));
}

fn close(name: &str, scene: &Scene) {
    let seed = setting("DTAR_SEED", 1);
    let counts = scene.run(seed, setting("DTAR_ROUNDS", 8));
    tell(&format!("concurrency, {name}: seed {seed}, {counts}"));
    assert_eq!((counts.lost_runs, counts.lost_bytes), (0, 0));
    assert!(counts.archives > 0 && counts.gcs > 0 && counts.verifies > 0);
    assert!(counts.ended == 0 || scene.ends_runs);
}
