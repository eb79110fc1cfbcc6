//! The protocols of `formats/collection.md`, in all interleavings.
//!
//! Archivers and gcs make one operation on the store at a time, in every order
//! there is, and each may crash before every one of them; a user forgets roots
//! in between. In every world that comes about the promises of [`Promise`] must
//! hold, and after one more gc in those where nobody has anything left to do.
//!
//! That the search can find a fault at all, and that each step of the protocols
//! is needed, is shown by protocols that lack it: each must break its promise.
//! `cargo test --test collection_model -- --nocapture` prints the numbers of
//! states, and the shortest way to each broken promise.
//!
//! What is not in the model: writes that a power failure takes back (that is what
//! fsync is for), frames that are moved twice, and more than one chunk a run.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "all numbers of the model are below eight, and hashes may be cut"
)]

mod archiver;
mod collector;
mod scenario;
mod search;
mod world;

use archiver::Op as Archive;
use collector::Op as Collect;
use scenario::Scenario;
use search::{Outcome, Promise};
use world::{OLD, RUNS};

/// Two runs that need the same chunk, which is there at the beginning.
fn two_archivers() -> Scenario {
    Scenario::new(2, 1)
}

fn two_gcs() -> Scenario {
    Scenario::new(1, 2)
}

/// The brick holds two frames, of which a root needs one: gc moves that one, while
/// the runs come to need the other one, or both.
fn rewriting(scenario: Scenario) -> Scenario {
    scenario.with(|scenario| {
        scenario.moves = true;
        scenario.old_frames = 0b11;
        scenario.wants = [1, 0];
    })
}

/// Two archivers, a gc, and one that follows it.
fn successor() -> Scenario {
    Scenario::new(2, 2).with(|scenario| scenario.in_turn = true)
}

fn tell(name: &str, outcome: &Outcome) {
    println!("{name}: {} states, {} ends", outcome.states, outcome.ends);
    if let Some((promise, way)) = &outcome.broken {
        println!("  breaks {promise:?}:\n    {}", way.join("\n    "));
    }
}

#[track_caller]
fn keeps_all_promises(name: &str, scenario: &Scenario) {
    let outcome = search::explore(scenario);
    tell(name, &outcome);
    assert!(outcome.broken.is_none(), "{name}: {:#?}", outcome.broken);
    assert!(outcome.useful_ends > 0, "{name}: gc never deleted anything");
}

#[track_caller]
fn breaks(promise: Promise, name: &str, scenario: &Scenario) {
    let outcome = search::explore_for(scenario, |broken| broken == promise);
    tell(name, &outcome);
    assert!(
        outcome.broken.is_some(),
        "{name}: {promise:?} holds all the same"
    );
}

#[test]
fn two_archivers_and_a_gc() {
    keeps_all_promises("two archivers", &two_archivers());
    keeps_all_promises(
        "two archivers, no folders",
        &two_archivers().without_fence(),
    );
}

#[test]
fn two_archivers_and_a_gc_that_rewrites() {
    let scenario = rewriting(two_archivers());
    keeps_all_promises("two archivers, rewriting", &scenario);
    keeps_all_promises(
        "two archivers, rewriting, no folders",
        &scenario.without_fence(),
    );
}

#[test]
fn an_archiver_and_two_gcs() {
    keeps_all_promises("two gcs", &two_gcs());
    keeps_all_promises("two gcs, no folders", &two_gcs().without_fence());
}

#[test]
fn an_archiver_and_two_gcs_that_rewrite() {
    let needs = |chunk| rewriting(two_gcs()).with(|scenario| scenario.wants = [chunk; RUNS]);
    keeps_all_promises("two gcs, rewriting", &needs(1));
    for chunk in [0, 1] {
        keeps_all_promises(
            "two gcs, rewriting, no folders",
            &needs(chunk).without_fence(),
        );
    }
}

#[test]
fn two_archivers_and_two_gcs_in_turn() {
    keeps_all_promises("a gc and its successor", &successor().without_fence());
}

/// The larger ones, which nothing but patience keeps out of every run.
#[test]
#[ignore = "takes half a minute and a gigabyte"]
fn more_at_once() {
    keeps_all_promises("a gc and its successor, with folders", &successor());
    let scenario = rewriting(successor()).without_fence();
    keeps_all_promises("a gc and its successor, rewriting", &scenario);
    let scenario = Scenario::new(2, 2).without_fence();
    keeps_all_promises("two archivers, two gcs at once", &scenario);
}

/// Looking at its lease again does not save others from an archiver that was ended while
/// it lived: it publishes a sidecar whose brick has been deleted, and others rely on that.
#[test]
fn without_a_fence_nobody_may_be_ended_who_lives() {
    let run = two_archivers()
        .without_fence()
        .but(|scenario| scenario.ends_living_runs = true);
    breaks(Promise::Needed, "a living run is ended, no folders", &run);
    let gc = two_gcs()
        .without_fence()
        .but(|scenario| scenario.ends_living_gcs = true);
    breaks(Promise::Needed, "a living gc is ended, no folders", &gc);
}

fn archiving(scenario: Scenario, change: impl Fn(&mut Vec<Archive>)) -> Scenario {
    scenario.but(|scenario| scenario.archiver_ops.iter_mut().for_each(change))
}

fn collecting(scenario: Scenario, change: impl Fn(&mut Vec<Collect>)) -> Scenario {
    scenario.but(|scenario| scenario.collector_ops.iter_mut().for_each(change))
}

/// Puts the operation `op` before `other`.
fn advance<T: PartialEq>(ops: &mut Vec<T>, op: &T, other: &T) {
    let place = |ops: &[T], wanted| ops.iter().position(|op| op == wanted).unwrap();
    let op = ops.remove(place(ops, op));
    ops.insert(place(ops, other), op);
}

#[test]
fn each_step_of_an_archiver_is_needed() {
    let open = || two_archivers().without_fence();
    let no_lease = archiving(open(), |ops| {
        ops.retain(|op| !matches!(op, Archive::WriteLease | Archive::ReadLeaseAgain));
    });
    breaks(Promise::Needed, "no lease", &no_lease);
    let late = archiving(two_archivers(), |ops| {
        advance(ops, &Archive::ReadDeadList(0), &Archive::WriteLease);
    });
    breaks(
        Promise::Needed,
        "dead lists are read before the lease stands",
        &late,
    );
    let order = archiving(two_archivers(), |ops| {
        advance(ops, &Archive::LookForToc(OLD), &Archive::ReadDeadList(0));
        let read = ops
            .iter()
            .position(|op| *op == Archive::ReadDeadList(0))
            .unwrap();
        ops.insert(read + 1, Archive::CompareWithDead);
    });
    breaks(
        Promise::Needed,
        "sidecars are listed before dead lists",
        &order,
    );
    let sidecar = archiving(two_archivers(), |ops| {
        advance(ops, &Archive::WriteToc, &Archive::WriteBrick);
    });
    breaks(
        Promise::Needed,
        "a sidecar stands before its brick",
        &sidecar,
    );
    let early = archiving(open(), |ops| {
        advance(ops, &Archive::ReadLeaseAgain, &Archive::WriteRoot);
        advance(ops, &Archive::RemoveLease, &Archive::WriteRoot);
    });
    breaks(
        Promise::Needed,
        "the lease goes before the root stands",
        &early,
    );
    let trailer = archiving(two_archivers(), |ops| {
        advance(ops, &Archive::WriteTrailer, &Archive::WriteRoot);
    });
    breaks(
        Promise::Told,
        "the trailer is written before the root",
        &trailer,
    );
}

/// What version 1 does before it writes the root.
#[test]
fn a_run_must_not_fail_because_a_gc_has_begun() {
    let strict = archiving(two_archivers(), |ops| {
        let root = ops.iter().position(|op| *op == Archive::WriteRoot).unwrap();
        ops.insert(root, Archive::LookAgain);
    });
    breaks(Promise::Spared, "dead lists are read once more", &strict);
}

#[test]
fn each_step_of_a_gc_is_needed() {
    let no_list = collecting(two_archivers(), |ops| {
        ops.retain(|op| *op != Collect::WriteDeadList);
    });
    breaks(Promise::Needed, "no dead list", &no_list);
    let leases = collecting(two_archivers(), |ops| {
        for run in (0..RUNS).rev() {
            advance(ops, &Collect::LookForLease(run), &Collect::WriteDeadList);
        }
    });
    breaks(
        Promise::Needed,
        "leases are listed before the dead list stands",
        &leases,
    );
    let no_wait = collecting(two_archivers(), |ops| {
        ops.retain(|op| !matches!(op, Collect::LookForLease(_) | Collect::AwaitLease(_)));
    });
    breaks(Promise::Needed, "no lease is waited for", &no_wait);
    let roots = collecting(two_archivers(), |ops| {
        for root in 0..=RUNS {
            advance(ops, &Collect::CheckRoot(root), &Collect::AwaitLease(0));
        }
    });
    breaks(
        Promise::Needed,
        "roots are listed again before the wait",
        &roots,
    );
    let lifted = collecting(two_archivers(), |ops| {
        advance(ops, &Collect::RemoveDeadList, &Collect::DeleteToc(OLD));
    });
    breaks(
        Promise::Needed,
        "the dead list goes before the bricks",
        &lifted,
    );
    let alone = collecting(two_gcs(), |ops| {
        ops.retain(|op| !matches!(op, Collect::LookForGc(_)));
    });
    breaks(Promise::Needed, "gcs do not look for each other", &alone);
    let remains = collecting(two_gcs(), |ops| {
        ops.retain(|op| !matches!(op, Collect::RemoveListOfDead(_)));
    });
    breaks(Promise::Clean, "lists of dead gcs are left", &remains);
}

#[test]
fn each_step_of_rewriting_is_needed() {
    let all = rewriting(two_archivers()).but(|scenario| scenario.takes_all_for_moved = true);
    breaks(
        Promise::Needed,
        "a frame is needed that was not moved",
        &all,
    );
    let early = collecting(rewriting(two_archivers()), |ops| {
        advance(ops, &Collect::DeleteToc(OLD), &Collect::WriteMovedToc);
    });
    breaks(
        Promise::Needed,
        "the old brick goes before the new one stands",
        &early,
    );
}
