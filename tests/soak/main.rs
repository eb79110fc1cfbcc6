//! Promise 7: random archives, forgets, gcs, kills and damage, against a model that
//! knows what must restore.
//!
//! What the model says must restore restores byte for byte; what damage may have cost
//! restores, or is refused by name with exit code 3 after nothing but right bytes. Verify
//! names each damage and nothing else. Parity, rebuild and another archive mend; once what
//! stays damaged is forgotten, gc and verify find a sound store.
//!
//! `DTAR_SOAK_SECONDS` (20): how long; the long form is `DTAR_SOAK_SECONDS=1800`.
//! `DTAR_SEED` (1): what is done follows from it, as far as names of bricks, which are
//! random, and times allow. If the test fails it prints the seed and all steps, and keeps
//! the store.

#[path = "../common/mod.rs"]
mod common;

mod damage;
mod mending;
mod model;
mod restoring;
mod steps;
mod tally;
mod world;

use common::log::{setting, tell};
use world::World;

#[test]
fn what_must_restore_restores() {
    let (seconds, seed) = (setting("DTAR_SOAK_SECONDS", 20), setting("DTAR_SEED", 1));
    let mut world = World::new(seed);
    while world.log.seconds() < seconds {
        world.step();
    }
    world.close();
    let steps = world.log.len();
    let tally = &world.tally;
    tell(&format!("soak: seed {seed}, {steps} steps, {tally}"));
    assert_eq!((tally.lost_runs, tally.wrong), (0, 0));
    assert_eq!(tally.reported, tally.to_report);
}
