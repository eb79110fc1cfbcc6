//! Who takes part, what may happen, and by which rules.

use crate::world::{
    Archiver, BRICKS, Collector, GCS, LAST_GC, Need, OLD, OLD_ROOT, RUNS, Set, Store, World, bit,
    moved_brick, own_brick,
};
use crate::{archiver, collector};

#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "what may happen are independent questions"
)]
pub struct Scenario {
    pub runs: usize,
    pub gcs: usize,
    /// The chunk that each run needs.
    pub wants: [u8; RUNS],
    /// The frames of the brick that is there at the beginning; none: no such brick.
    pub old_frames: Set,
    /// Whether a root needs its frame 0.
    pub old_root: bool,
    /// Whether the user may forget that root, and the root of a finished run, at any time.
    pub forgets: bool,
    /// Whether badly used bricks are rewritten.
    pub moves: bool,
    /// Whether leases of living runs may be ended (`--end-runs`).
    pub ends_living_runs: bool,
    /// Whether the second gc starts only after the first.
    pub in_turn: bool,
    /// Whether anybody may crash at any step.
    pub crashes: bool,
    /// Whether gcs may be ended that live.
    pub ends_living_gcs: bool,
    /// Whether who was ended can no longer write or delete: on file systems.
    pub fence: bool,
    /// Not the protocol: a brick of which frames were moved goes, whoever needs others.
    pub takes_all_for_moved: bool,
    pub archiver_ops: [Vec<archiver::Op>; RUNS],
    pub collector_ops: [Vec<collector::Op>; GCS + 1],
}

impl Scenario {
    /// So many archivers that need the same chunk, and gcs; a brick holds it, and a root needs it.
    pub fn new(runs: usize, gcs: usize) -> Self {
        Self {
            runs,
            gcs,
            wants: [0; RUNS],
            old_frames: 0b1,
            old_root: true,
            forgets: true,
            moves: false,
            ends_living_runs: true,
            in_turn: false,
            crashes: true,
            ends_living_gcs: true,
            fence: true,
            takes_all_for_moved: false,
            archiver_ops: Default::default(),
            collector_ops: Default::default(),
        }
        .with_programs()
    }

    /// The same on a store without folders: there nobody is ended who lives.
    pub fn without_fence(self) -> Self {
        self.with(|scenario| {
            scenario.fence = false;
            scenario.ends_living_runs = false;
            scenario.ends_living_gcs = false;
        })
    }

    /// Writes the programs anew, after what they depend on was set.
    pub fn with_programs(mut self) -> Self {
        self.archiver_ops = std::array::from_fn(|run| archiver::program(&self, run));
        self.collector_ops = std::array::from_fn(|gc| collector::program(&self, gc));
        self
    }

    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self.with_programs()
    }

    /// A mutation: `change` alters the finished programs or rules.
    pub fn but(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub fn start(&self) -> World {
        let old: Set = if self.old_frames == 0 { 0 } else { bit(OLD) };
        let mut roots = [None; RUNS + 1];
        roots[OLD_ROOT] = self.old_root.then_some(Need {
            brick: OLD,
            frame: 0,
        });
        World {
            store: Store {
                bricks: old,
                tocs: old,
                leases: 0,
                gc_leases: 0,
                roots,
                lists: [None; GCS + 1],
                moved: [0; GCS + 1],
            },
            archivers: std::array::from_fn(|run| Archiver::new(run < self.runs)),
            collectors: std::array::from_fn(|gc| Collector::new(gc < self.gcs)),
        }
    }

    /// The frames that a brick holds.
    pub fn frames(&self, store: &Store, brick: u8) -> Set {
        if brick == OLD {
            return self.old_frames;
        }
        let run = (0..RUNS).find(|&run| brick == own_brick(run));
        let gc = (0..=LAST_GC).find(|&gc| brick == moved_brick(gc));
        let own = run.map(|run| bit(self.wants[run]));
        own.or(gc.map(|gc| store.moved[gc])).unwrap_or(0)
    }

    /// Whether a brick can be there when the gc looks.
    pub fn occurs(&self, brick: u8, gc: usize) -> bool {
        assert!(brick < BRICKS);
        let own = (0..self.runs).any(|run| brick == own_brick(run));
        let moved = (0..self.gcs).chain([gc]).any(|gc| brick == moved_brick(gc));
        (brick == OLD && self.old_frames != 0) || own || (self.moves && moved)
    }
}
