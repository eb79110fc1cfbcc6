//! Promise 1: killed at any moment, nothing that was finished is lost, nothing that was
//! not looks finished, and what is left is cleaned.
//!
//! Commands are killed (`kill -9`) at random moments of their whole course, by time or
//! by system call. After each kill follow a good archive run, verify, and the restore of
//! all that was finished before; then, now and then, gc, after which no brick may be left
//! that nobody needs.
//!
//! `DTAR_KILLS` (100): how many kills; the long form is `DTAR_KILLS=300`.
//! `DTAR_SEED` (1): what is done follows from it, but for the moments of kills by time.

#[path = "../common/mod.rs"]
mod common;

mod acts;
mod lane;
mod mending;
mod tally;

use std::thread;

use common::log::{setting, tell};
use lane::Lane;
use tally::Tally;

/// Stores that are worked on at once.
const LANES: u64 = 2;

#[test]
fn no_kill_loses_what_was_finished() {
    let (kills, seed) = (setting("DTAR_KILLS", 100), setting("DTAR_SEED", 1));
    let tallies: Vec<Tally> = thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES)
            .map(|number| {
                let share = (kills + number) / LANES;
                scope.spawn(move || Lane::new(seed, number).run(share))
            })
            .collect();
        lanes.into_iter().map(|lane| lane.join().unwrap()).collect()
    });
    let sum = tallies.into_iter().reduce(Tally::plus).unwrap();
    tell(&format!("crash: seed {seed}, {sum}"));
    assert_eq!(sum.kills(), kills);
    assert_eq!((sum.lost_runs, sum.lost_bytes), (0, 0));
}
