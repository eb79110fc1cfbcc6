//! What a gc does, one operation on the store at a time.

use crate::scenario::Scenario;
use crate::world::{
    Archiver, BRICKS, Collector, GCS, Need, OLD, RUNS, Set, Status, Store, bit, has, moved_brick,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    WriteLease,
    /// Ends a gc that is dead, or said to be; gives way to one that lives.
    LookForGc(usize),
    ReadDeadList(usize),
    LookForBrick(u8),
    ReadRoot(usize),
    /// In memory: what may go, and what is to be moved.
    Plan,
    WriteMovedBrick,
    WriteMovedToc,
    WriteDeadList,
    RemoveListOfDead(usize),
    LookForLease(usize),
    AwaitLease(usize),
    CheckRoot(usize),
    /// In memory: what may really go.
    Judge,
    DeleteToc(u8),
    DeleteBrick(u8),
    RemoveDeadList,
    RemoveLease,
}

impl Op {
    /// Whether it renames something from or into the folder of the gc.
    const fn is_fenced(self) -> bool {
        matches!(
            self,
            Self::WriteMovedBrick
                | Self::WriteMovedToc
                | Self::WriteDeadList
                | Self::DeleteToc(_)
                | Self::DeleteBrick(_)
        )
    }
}

/// The operations of a gc, in order (`formats/collection.md#gc`).
pub fn program(scenario: &Scenario, gc: usize) -> Vec<Op> {
    let others = || (0..scenario.gcs).filter(move |&other| other != gc);
    let bricks = || (0..BRICKS).filter(|&brick| scenario.occurs(brick, gc));
    let roots = || (0..scenario.runs).chain([RUNS]);
    let mut ops = vec![Op::WriteLease];
    ops.extend(others().map(Op::LookForGc));
    ops.extend(others().map(Op::ReadDeadList));
    ops.extend(bricks().map(Op::LookForBrick));
    ops.extend(roots().map(Op::ReadRoot));
    ops.extend([Op::Plan, Op::WriteMovedBrick, Op::WriteMovedToc]);
    ops.push(Op::WriteDeadList);
    ops.extend(others().map(Op::RemoveListOfDead));
    ops.extend((0..scenario.runs).map(Op::LookForLease));
    ops.extend((0..scenario.runs).map(Op::AwaitLease));
    ops.extend(roots().map(Op::CheckRoot));
    ops.push(Op::Judge);
    ops.extend(bricks().flat_map(|brick| [Op::DeleteToc(brick), Op::DeleteBrick(brick)]));
    ops.extend([Op::RemoveDeadList, Op::RemoveLease]);
    ops
}

/// A gc at work: itself, its number, and all that it can see or touch.
#[derive(Clone, Copy)]
pub struct Gc<'a> {
    pub scenario: &'a Scenario,
    pub number: usize,
    pub me: Collector,
    pub store: Store,
    pub archivers: [Archiver; RUNS],
    /// What the others are at: that one is dead can be seen by its lock.
    pub others: [Status; GCS],
}

impl Gc<'_> {
    fn op(&self) -> Option<Op> {
        let ops = &self.scenario.collector_ops[self.number];
        ops.get(usize::from(self.me.at)).copied()
    }

    /// Passes everything to which the next operation can lead to `out`.
    pub fn step(mut self, out: &mut impl FnMut(Self)) {
        let Some(op) = self.op().filter(|_| self.me.status == Status::Running) else {
            return;
        };
        if let Op::AwaitLease(run) = op {
            self.await_lease(run, out);
            return;
        }
        if self.scenario.fence && op.is_fenced() && !has(self.store.gc_leases, self.number as u8) {
            // What it would rename from or into its folder went with that.
            self.me.stop(Status::Failed);
            out(self);
            return;
        }
        if let Op::LookForGc(other) = op
            && has(self.store.gc_leases, other as u8)
        {
            self.meet(other, out);
            return;
        }
        self.act(op);
        self.advance(out);
    }

    fn act(&mut self, op: Op) {
        let Self {
            me, store, number, ..
        } = self;
        match op {
            Op::WriteLease => store.gc_leases |= 1 << *number,
            Op::LookForGc(_) | Op::AwaitLease(_) => {}
            Op::ReadDeadList(other) => me.gone |= Set::from(store.lists[other].is_some()) << other,
            Op::LookForBrick(brick) => {
                me.bricks |= (store.bricks | store.tocs) & bit(brick);
                me.tocs |= store.tocs & bit(brick);
            }
            Op::ReadRoot(root) | Op::CheckRoot(root) => me.roots[root] = store.roots[root],
            Op::Plan => self.plan(),
            Op::WriteMovedBrick => {
                store.bricks |= bit(moved_brick(*number));
                store.moved[*number] = me.moving;
            }
            Op::WriteMovedToc => {
                store.tocs |= bit(moved_brick(*number));
                me.tocs |= bit(moved_brick(*number));
                me.moving = 0;
            }
            Op::WriteDeadList => store.lists[*number] = Some(me.doomed),
            Op::RemoveListOfDead(other) => {
                store.lists[other] = None;
                me.gone &= !(1 << other);
            }
            Op::LookForLease(run) => me.waits |= store.leases & (1 << run),
            Op::Judge => self.judge(),
            Op::DeleteToc(brick) => store.tocs &= !bit(brick),
            Op::DeleteBrick(brick) => store.bricks &= !bit(brick),
            Op::RemoveDeadList => store.lists[*number] = None,
            Op::RemoveLease => store.gc_leases &= !(1 << *number),
        }
    }

    /// Goes on to the next operation that has anything to do.
    fn advance(mut self, out: &mut impl FnMut(Self)) {
        if self.me.status == Status::Running {
            self.me.at += 1;
            loop {
                match self.op() {
                    None => {
                        self.me.stop(Status::Done);
                        break;
                    }
                    // What happens in memory takes no time.
                    Some(op @ (Op::Plan | Op::Judge)) => self.act(op),
                    Some(op) if self.idle(op) => {}
                    Some(_) => break,
                }
                self.me.at += 1;
            }
        }
        out(self);
    }

    fn idle(&self, op: Op) -> bool {
        let me = &self.me;
        match op {
            Op::WriteMovedBrick | Op::WriteMovedToc => me.moving == 0,
            Op::RemoveListOfDead(other) => !has(me.gone, other as u8),
            Op::AwaitLease(run) => !has(me.waits, run as u8),
            Op::DeleteToc(brick) | Op::DeleteBrick(brick) => !has(me.doomed, brick),
            Op::WriteDeadList | Op::CheckRoot(_) => me.doomed == 0,
            // A list may name only what was spared in the end.
            Op::RemoveDeadList => self.store.lists[self.number].is_none(),
            _ => false,
        }
    }

    /// Ends a gc that is dead, or said to be; gives way to one that lives.
    fn meet(mut self, other: usize, out: &mut impl FnMut(Self)) {
        let crashed = self.others[other] == Status::Crashed;
        if crashed || self.scenario.ends_living_gcs {
            let mut ends = self;
            ends.store.gc_leases &= !(1 << other);
            ends.advance(out);
        }
        if !crashed {
            self.me.at = self.scenario.collector_ops[self.number].len() as u8 - 1;
            out(self);
        }
    }

    /// Waits until the lease is gone, or ends it: a dead run's, and any if the user says so.
    fn await_lease(mut self, run: usize, out: &mut impl FnMut(Self)) {
        let archiver = &mut self.archivers[run];
        let stands = has(self.store.leases, run as u8);
        if stands && archiver.status != Status::Crashed && !self.scenario.ends_living_runs {
            return;
        }
        if stands {
            archiver.ended |= self.store.roots[run].is_none() && !archiver.success;
            self.store.leases &= !(1 << run);
        }
        self.me.waits &= !(1 << run);
        self.advance(out);
    }

    fn needs(&self) -> impl Iterator<Item = Need> + use<> {
        self.me.roots.into_iter().flatten()
    }

    fn plan(&mut self) {
        let standing = self.me.tocs;
        let old_frames = self.scenario.old_frames;
        let needed = |need: Need| {
            if need.brick == OLD {
                bit(need.frame)
            } else {
                0
            }
        };
        let used = self.needs().map(needed).fold(0, |all, one| all | one);
        let rewrite = self.scenario.moves && has(standing, OLD) && used != 0 && used != old_frames;
        let mut keep = 0;
        for need in self.needs() {
            let carriers = self.store.carriers(need);
            let elsewhere = carriers & standing & !bit(OLD);
            if need.brick == OLD && rewrite {
                if elsewhere == 0 {
                    self.me.moving |= bit(need.frame);
                }
                keep |= elsewhere;
            } else if has(standing, need.brick) {
                keep |= bit(need.brick);
            } else {
                keep |= carriers;
            }
        }
        self.me.doomed = self.me.bricks & !keep;
        self.me.look_anew();
        if self.me.doomed == 0 {
            self.me.tocs = 0;
        }
    }

    fn judge(&mut self) {
        if self.me.doomed == 0 {
            return;
        }
        let sure = self.me.tocs & !self.me.doomed;
        let mut spared = 0;
        for need in self.needs() {
            let carriers = self.store.carriers(need);
            if carriers & sure == 0 {
                spared |= carriers;
            }
        }
        if self.scenario.takes_all_for_moved && has(self.me.tocs, moved_brick(self.number)) {
            spared &= !bit(OLD);
        }
        self.me.doomed &= !spared;
        self.me.look_anew();
        self.me.tocs = 0;
    }
}
