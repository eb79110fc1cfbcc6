//! What an archive run does, one operation on the store at a time.

use crate::scenario::Scenario;
use crate::world::{Need, OLD, RUNS, Set, Status, World, bit, has, moved_brick, own_brick};

/// An operation. A listing is one operation an entry: an entry that stands all the
/// while is seen, one that comes or goes meanwhile may be seen or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    WriteLease,
    ReadDeadList(usize),
    LookForToc(u8),
    /// Only in mutations: gives up what was found, if it is dead.
    CompareWithDead,
    WriteBrick,
    WriteToc,
    /// Only in mutations: fails if the brick in use has no TOC or is dead.
    LookAgain,
    WriteRoot,
    ReadLeaseAgain,
    WriteTrailer,
    RemoveLease,
    /// Where a run ends whose lease is gone.
    WithdrawRoot,
}

/// The operations of a run, in order (`formats/collection.md#archive`).
pub fn program(scenario: &Scenario, run: usize) -> Vec<Op> {
    let mut ops = vec![Op::WriteLease];
    ops.extend((0..scenario.gcs).map(Op::ReadDeadList));
    ops.push(Op::LookForToc(OLD));
    ops.extend(
        (0..scenario.runs)
            .filter(|&other| other != run && scenario.wants[other] == scenario.wants[run])
            .map(|other| Op::LookForToc(own_brick(other))),
    );
    if scenario.moves {
        ops.extend((0..scenario.gcs).map(|gc| Op::LookForToc(moved_brick(gc))));
    }
    ops.extend([Op::WriteBrick, Op::WriteToc, Op::WriteRoot]);
    if !scenario.fence {
        ops.push(Op::ReadLeaseAgain);
    }
    ops.extend([Op::WriteTrailer, Op::RemoveLease, Op::WithdrawRoot]);
    ops
}

/// Passes all worlds to which the next operation of `run` can lead to `out`.
pub fn step(scenario: &Scenario, world: &World, run: usize, out: &mut impl FnMut(World)) {
    let ops = &scenario.archiver_ops[run];
    let archiver = world.archivers[run];
    if archiver.status != Status::Running {
        return;
    }
    let mut next = *world;
    let store = &mut next.store;
    let new = &mut next.archivers[run];
    let lease: Set = 1 << run;
    new.at += 1;
    let op = ops[usize::from(archiver.at)];
    let publishes = matches!(op, Op::WriteBrick | Op::WriteToc | Op::WriteRoot);
    if publishes && scenario.fence && store.leases & lease == 0 {
        // What it would rename into place went with its folder.
        new.stop(Status::Failed);
        out(next);
        return;
    }
    match op {
        Op::WriteLease => store.leases |= lease,
        Op::ReadDeadList(gc) => new.dead |= store.lists[gc].unwrap_or(0),
        Op::LookForToc(brick) => {
            let found = has(store.tocs & !archiver.dead, brick)
                && has(scenario.frames(store, brick), scenario.wants[run]);
            if found {
                // It may also do without: the catalog may name another one.
                new.uses = Some(brick);
                let mut taken = next;
                taken.archivers[run].at = pass_idle(scenario, &taken, run);
                out(taken);
                next.archivers[run].uses = None;
            }
        }
        Op::CompareWithDead => {
            new.uses = archiver.uses.filter(|&brick| !has(archiver.dead, brick));
        }
        Op::WriteBrick => store.bricks |= bit(own_brick(run)),
        Op::WriteToc => {
            store.tocs |= bit(own_brick(run));
            // The brick may be written later only in a mutation.
            new.uses = Some(own_brick(run));
        }
        Op::LookAgain => {
            let counts = |brick| has(store.tocs & !store.dead(), brick);
            if !archiver.uses.is_some_and(counts) {
                new.stop(Status::Failed);
            }
        }
        Op::WriteRoot => {
            store.roots[run] = Some(Need {
                brick: archiver.uses.unwrap_or(own_brick(run)),
                frame: scenario.wants[run],
            });
        }
        Op::ReadLeaseAgain => {
            if store.leases & lease == 0 {
                new.at = ops.len() as u8 - 1;
            }
        }
        Op::WriteTrailer => new.success = true,
        Op::RemoveLease => store.leases &= !lease,
        Op::WithdrawRoot => {
            store.roots[run] = None;
            new.stop(Status::Failed);
        }
    }
    let at = pass_idle(scenario, &next, run);
    let new = &mut next.archivers[run];
    new.at = at;
    // The last operation is the withdrawal: who comes to it in order is done.
    let last_in_order = usize::from(archiver.at) + 2 == ops.len();
    if new.status == Status::Running && last_in_order {
        new.stop(Status::Done);
    }
    out(next);
}

/// Where the archiver goes on: it needs no brick of its own if it has found one.
fn pass_idle(scenario: &Scenario, world: &World, run: usize) -> u8 {
    let archiver = &world.archivers[run];
    let mut at = archiver.at;
    let found = archiver.uses.is_some_and(|brick| brick != own_brick(run));
    while found
        && archiver.status == Status::Running
        && matches!(
            scenario.archiver_ops[run][usize::from(at)],
            Op::LookForToc(_) | Op::WriteBrick | Op::WriteToc
        )
    {
        at += 1;
    }
    at
}

const _: () = assert!(RUNS <= 8);
