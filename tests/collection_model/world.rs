//! The store and everybody who works in it, as small numbers.

/// A set of bricks, of runs or of gcs: bit *n* stands for number *n*.
pub type Set = u8;

/// The number of archivers, and of gcs that run beside them.
pub const RUNS: usize = 2;
pub const GCS: usize = 2;
/// The gc that is run alone at the very end.
pub const LAST_GC: usize = GCS;

/// The brick that stands there at the beginning.
pub const OLD: u8 = 0;
pub const BRICKS: u8 = 6;
/// The root that stands there at the beginning.
pub const OLD_ROOT: usize = RUNS;

/// The brick in which a run stores its chunk, if it finds it nowhere.
pub const fn own_brick(run: usize) -> u8 {
    1 + run as u8
}

/// The brick into which a gc moves frames of [`OLD`].
pub const fn moved_brick(gc: usize) -> u8 {
    1 + (RUNS + gc) as u8
}

pub const fn bit(number: u8) -> Set {
    1 << number
}

pub const fn has(set: Set, number: u8) -> bool {
    set & bit(number) != 0
}

/// What a root needs: one frame of one brick. A frame *n* holds chunk *n*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Need {
    pub brick: u8,
    pub frame: u8,
}

/// What stands in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Store {
    pub bricks: Set,
    pub tocs: Set,
    /// The leases of the archivers.
    pub leases: Set,
    /// The leases of the gcs.
    pub gc_leases: Set,
    pub roots: [Option<Need>; RUNS + 1],
    /// The dead list of each gc.
    pub lists: [Option<Set>; GCS + 1],
    /// Which frames of [`OLD`] the brick of each gc holds.
    pub moved: [Set; GCS + 1],
}

impl Store {
    /// The bricks that hold what a root needs: the one that it names, and those whose
    /// TOC says that the frame was moved there.
    pub fn carriers(&self, need: Need) -> Set {
        let mut carriers = bit(need.brick);
        for (gc, &frames) in self.moved.iter().enumerate() {
            if need.brick == OLD && has(frames, need.frame) {
                carriers |= bit(moved_brick(gc));
            }
        }
        carriers
    }

    /// Whether what a root needs can be restored and relied upon.
    pub fn holds(&self, need: Need) -> bool {
        self.carriers(need) & self.bricks & self.tocs != 0
    }

    /// The union of the dead lists.
    pub fn dead(&self) -> Set {
        self.lists.iter().flatten().fold(0, |all, list| all | list)
    }
}

/// How far somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    Running,
    Done,
    Failed,
    Crashed,
}

/// An archive run. It needs one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Archiver {
    pub status: Status,
    /// The next operation of its program.
    pub at: u8,
    /// Bricks that it has seen in dead lists.
    pub dead: Set,
    /// The brick on which it relies.
    pub uses: Option<u8>,
    /// Whether its trailer is written: it was told success.
    pub success: bool,
    /// Whether somebody ended its lease before its root stood.
    pub ended: bool,
}

/// A gc.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Collector {
    pub status: Status,
    pub at: u8,
    /// What it wants to delete, later what it does delete.
    pub doomed: Set,
    /// Frames that it moves out of [`OLD`].
    pub moving: Set,
    /// What it has seen since it began: bricks with or without TOC, and TOCs.
    pub bricks: Set,
    pub tocs: Set,
    /// Roots that it has seen, since it began or since it began to check.
    pub roots: [Option<Need>; RUNS + 1],
    /// Leases for which it waits.
    pub waits: Set,
    /// Gcs that have ended and left a list, which it removes.
    pub gone: Set,
}

/// All of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct World {
    pub store: Store,
    pub archivers: [Archiver; RUNS],
    pub collectors: [Collector; GCS],
}

impl Status {
    const fn first(takes_part: bool) -> Self {
        if takes_part {
            Self::Running
        } else {
            Self::Done
        }
    }
}

impl Archiver {
    pub const fn new(takes_part: bool) -> Self {
        Self {
            status: Status::first(takes_part),
            at: 0,
            dead: 0,
            uses: None,
            success: false,
            ended: false,
        }
    }

    /// Ends it; what only a running one needs is forgotten, so that there are fewer states.
    pub fn stop(&mut self, status: Status) {
        *self = Self {
            status,
            at: 0,
            dead: 0,
            uses: None,
            ..*self
        };
    }
}

impl Collector {
    pub const fn new(takes_part: bool) -> Self {
        Self {
            status: Status::first(takes_part),
            at: 0,
            doomed: 0,
            moving: 0,
            bricks: 0,
            tocs: 0,
            roots: [None; RUNS + 1],
            waits: 0,
            gone: 0,
        }
    }

    pub fn stop(&mut self, status: Status) {
        *self = Self {
            status,
            ..Self::new(true)
        };
    }

    /// Forgets what it has seen but for the TOCs, which nobody else deletes.
    pub fn look_anew(&mut self) {
        self.bricks = 0;
        self.roots = [None; RUNS + 1];
    }
}
