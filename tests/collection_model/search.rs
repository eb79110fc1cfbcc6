//! All worlds that can come about, each once, nearest first.

use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

use crate::archiver;
use crate::collector::Gc;
use crate::scenario::Scenario;
use crate::world::{Collector, GCS, LAST_GC, OLD_ROOT, Status, World};

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// What the root of a finished run needs stands in the store, with its TOC.
    Needed,
    /// No run succeeds whose lease was ended before its root stood.
    Told,
    /// No run fails unless its lease was ended.
    Spared,
    /// Nobody waits for ever.
    Ends,
    /// One more gc leaves neither lease nor dead list.
    Clean,
    /// One more gc leaves no brick that no root needs, and no TOC without its brick.
    Collected,
}

/// What a search has found.
pub struct Outcome {
    /// The number of different worlds.
    pub states: usize,
    /// Those in which nobody has anything left to do.
    pub ends: usize,
    /// Those ends in which the gcs had deleted a brick and a run had succeeded.
    pub useful_ends: usize,
    /// The first broken promise, and the shortest way to it.
    pub broken: Option<(Promise, Vec<String>)>,
}

const NONE: u32 = u32::MAX;

struct Search<'a> {
    scenario: &'a Scenario,
    /// The world, the one before it, and who made the step.
    worlds: Vec<(World, u32, Step)>,
    /// Open addressing: numbers of worlds; its length is a power of two.
    table: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Archiver(u8),
    ArchiverCrashes(u8),
    Gc(u8),
    GcCrashes(u8),
    Forget(u8),
}

/// Goes through all interleavings, until a promise is broken.
pub fn explore(scenario: &Scenario) -> Outcome {
    explore_for(scenario, |_| true)
}

/// As [`explore`], until a promise is broken that `counts`.
pub fn explore_for(scenario: &Scenario, counts: impl Fn(Promise) -> bool) -> Outcome {
    let mut search = Search {
        scenario,
        worlds: Vec::new(),
        table: vec![NONE; 1 << 16],
    };
    search.add(scenario.start(), NONE, Step::Forget(0));
    let (mut at, mut ends, mut useful_ends) = (0, 0, 0);
    while at < search.worlds.len() {
        let world = search.worlds[at].0;
        let mut broken = broken_promise(&world).filter(|&promise| counts(promise));
        if broken.is_none() && !search.successors(&world, at) {
            ends += 1;
            useful_ends += usize::from(is_useful(scenario, &world));
            broken = check_end(scenario, &world).filter(|&promise| counts(promise));
        }
        if let Some(promise) = broken {
            return Outcome {
                states: search.worlds.len(),
                ends,
                useful_ends,
                broken: Some((promise, search.way_to(at))),
            };
        }
        at += 1;
    }
    Outcome {
        states: search.worlds.len(),
        ends,
        useful_ends,
        broken: None,
    }
}

impl Search<'_> {
    /// Adds what can follow. False if nothing can.
    fn successors(&mut self, world: &World, at: usize) -> bool {
        let scenario = self.scenario;
        let from = u32::try_from(at).expect("fewer than 2^32 worlds");
        let mut any = false;
        for run in 0..scenario.runs {
            let number = run as u8;
            archiver::step(scenario, world, run, &mut |next| {
                any = true;
                self.add(next, from, Step::Archiver(number));
            });
            if scenario.crashes && world.archivers[run].status == Status::Running {
                let mut next = *world;
                next.archivers[run].stop(Status::Crashed);
                self.add(next, from, Step::ArchiverCrashes(number));
            }
            if scenario.forgets && world.archivers[run].success && world.store.roots[run].is_some()
            {
                let mut next = *world;
                next.store.roots[run] = None;
                self.add(next, from, Step::Forget(number));
            }
        }
        if scenario.forgets && world.store.roots[OLD_ROOT].is_some() {
            let mut next = *world;
            next.store.roots[OLD_ROOT] = None;
            self.add(next, from, Step::Forget(OLD_ROOT as u8));
        }
        for gc in 0..scenario.gcs {
            if scenario.in_turn && gc > 0 && world.collectors[gc - 1].status == Status::Running {
                continue;
            }
            gc_of(scenario, world, gc).step(&mut |done| {
                any = true;
                let mut next = *world;
                next.collectors[gc] = done.me;
                next.store = done.store;
                next.archivers = done.archivers;
                self.add(next, from, Step::Gc(gc as u8));
            });
            if scenario.crashes && world.collectors[gc].status == Status::Running {
                let mut next = *world;
                next.collectors[gc].stop(Status::Crashed);
                self.add(next, from, Step::GcCrashes(gc as u8));
            }
        }
        any
    }

    fn add(&mut self, world: World, from: u32, step: Step) {
        if self.worlds.len() * 2 > self.table.len() {
            self.grow();
        }
        let mut place = self.place(&world);
        while self.table[place] != NONE {
            if self.worlds[self.table[place] as usize].0 == world {
                return;
            }
            place = (place + 1) & (self.table.len() - 1);
        }
        self.table[place] = u32::try_from(self.worlds.len()).expect("fewer than 2^32 worlds");
        self.worlds.push((world, from, step));
    }

    fn place(&self, world: &World) -> usize {
        let hash = BuildHasherDefault::<Mix>::default().hash_one(world);
        hash as usize & (self.table.len() - 1)
    }

    fn grow(&mut self) {
        self.table = vec![NONE; self.table.len() * 4];
        for number in 0..self.worlds.len() {
            let mut place = self.place(&self.worlds[number].0);
            while self.table[place] != NONE {
                place = (place + 1) & (self.table.len() - 1);
            }
            self.table[place] = number as u32;
        }
    }

    fn way_to(&self, at: usize) -> Vec<String> {
        let mut way = Vec::new();
        let mut at = at;
        while self.worlds[at].1 != NONE {
            let (_, from, step) = self.worlds[at];
            at = from as usize;
            way.push(self.tell(&self.worlds[at].0, step));
        }
        way.reverse();
        way
    }

    fn tell(&self, before: &World, step: Step) -> String {
        match step {
            Step::Archiver(run) => {
                let run = usize::from(run);
                let at = usize::from(before.archivers[run].at);
                format!("archiver {run}: {:?}", self.scenario.archiver_ops[run][at])
            }
            Step::Gc(gc) => {
                let gc = usize::from(gc);
                let at = usize::from(before.collectors[gc].at);
                format!("gc {gc}: {:?}", self.scenario.collector_ops[gc][at])
            }
            Step::ArchiverCrashes(run) => format!("archiver {run} crashes"),
            Step::GcCrashes(gc) => format!("gc {gc} crashes"),
            Step::Forget(root) => format!("user: forgets root {root}"),
        }
    }
}

fn gc_of<'a>(scenario: &'a Scenario, world: &World, number: usize) -> Gc<'a> {
    Gc {
        scenario,
        number,
        me: world
            .collectors
            .get(number)
            .copied()
            .unwrap_or(Collector::new(true)),
        store: world.store,
        archivers: world.archivers,
        others: std::array::from_fn::<_, GCS, _>(|gc| world.collectors[gc].status),
    }
}

/// What must hold in every world.
fn broken_promise(world: &World) -> Option<Promise> {
    let store = &world.store;
    for (root, need) in store.roots.iter().enumerate() {
        let finished = root == OLD_ROOT || world.archivers[root].success;
        if finished && need.is_some_and(|need| !store.holds(need)) {
            return Some(Promise::Needed);
        }
    }
    for (run, archiver) in world.archivers.iter().enumerate() {
        if archiver.success && archiver.ended {
            return Some(Promise::Told);
        }
        if archiver.status == Status::Failed && store.leases & (1 << run) != 0 {
            return Some(Promise::Spared);
        }
    }
    None
}

/// What must hold when nobody does anything any more, and after one more gc.
fn check_end(scenario: &Scenario, world: &World) -> Option<Promise> {
    let running = |status| status == Status::Running;
    let archivers = world.archivers.iter().map(|archiver| archiver.status);
    let gcs = world.collectors.iter().map(|gc| gc.status);
    if archivers.chain(gcs).any(running) {
        return Some(Promise::Ends);
    }
    let mut last = gc_of(scenario, world, LAST_GC);
    while last.me.status == Status::Running {
        let mut next = None;
        last.step(&mut |done| next = Some(done));
        match next {
            Some(next) => last = next,
            None => return Some(Promise::Ends),
        }
    }
    let store = &last.store;
    let after = World {
        store: *store,
        ..*world
    };
    if let Some(promise) = broken_promise(&after) {
        return Some(promise);
    }
    if store.leases | store.gc_leases != 0 || store.lists.iter().any(Option::is_some) {
        return Some(Promise::Clean);
    }
    let named = store.roots.iter().flatten();
    let needed = named.fold(0, |all, &need| all | store.carriers(need));
    if (store.bricks | store.tocs) & !needed != 0 || store.tocs & !store.bricks != 0 {
        return Some(Promise::Collected);
    }
    None
}

/// Whether gc has done something beside a run that succeeded.
fn is_useful(scenario: &Scenario, world: &World) -> bool {
    let all = scenario.start().store.bricks;
    all & !(world.store.bricks | world.store.tocs) != 0
        && world.archivers.iter().any(|archiver| archiver.success)
}

/// A small hash for small keys.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(u64::from(byte));
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u64(number as u64);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
