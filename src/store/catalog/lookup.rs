//! From a chunk id to a location on which the caller may rely.

use heed::RoTxn;

use super::batch::find_name;
use super::entry::{self, Checker, Entry, ORDINALS, Record};
use super::environment::Tables;
use super::fault::{Fault, Step};
use super::run::Run;
use super::{BrickRef, Location, OwnSeals};
use crate::Result;
use crate::id::{BrickName, ChunkId};
use crate::store::layout::Layout;

/// Whether a brick may be relied upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not looked at yet.
    Unknown,
    /// Its sidecar stands, and it carries no mark.
    Live,
    /// This process has made it.
    Made,
    /// One of these two, made from the sidecar that stands, by somebody who is trusted; and
    /// its record says that it has so many frames.
    Usable(u32),
    /// Anything else.
    Gone,
}

/// What is known of the bricks of the store at the moment, by ordinal.
#[derive(Debug)]
pub(super) struct LiveSet {
    layout: Layout,
    states: Vec<State>,
    /// The bricks on the dead lists of the beginning, sorted: they hold for the whole run.
    dead: Vec<BrickName>,
    /// Whom else to trust than oneself: nobody, or all.
    own: Option<OwnSeals>,
}

impl LiveSet {
    pub const fn new(layout: Layout) -> Self {
        Self {
            layout,
            states: Vec::new(),
            dead: Vec::new(),
            own: None,
        }
    }

    /// Notes which bricks are about to be deleted, whatever else is found out about them.
    pub fn set_dead(&mut self, dead: &[BrickName]) {
        self.dead = dead.to_vec();
    }

    /// From now on relies on no bricks but those with these sidecars.
    pub fn set_own(&mut self, own: OwnSeals) {
        self.own = Some(own);
        for state in &mut self.states {
            if matches!(state, State::Usable(_)) {
                *state = State::Live;
            }
        }
    }

    /// Whether a known brick, of which so much has been found out, may be relied upon.
    ///
    /// What the catalog says of a brick may come from a sidecar that was replaced since:
    /// that counts for nothing, lest what a forger said outlives its being mended.
    fn counts(&self, state: State, record: &Record) -> Result<bool> {
        let name = &record.name;
        let stands = match state {
            State::Made | State::Usable(_) => return Ok(true),
            State::Gone => false,
            State::Live => true,
            State::Unknown => {
                self.dead.binary_search(name).is_err() && self.layout.brick_counts(name)?
            }
        };
        let trusted = |own: &OwnSeals| own.contains(&record.seal);
        Ok(stands
            && self.own.as_ref().is_none_or(trusted)
            && self.layout.sidecar_seal(name)? == Some(record.seal))
    }

    /// Notes whether a brick may be relied upon.
    pub fn set(&mut self, brick: BrickRef, live: bool) {
        self.note(brick, if live { State::Live } else { State::Gone });
    }

    /// Notes that this process has made a brick.
    pub fn set_made(&mut self, brick: BrickRef) {
        self.note(brick, State::Made);
    }

    fn note(&mut self, brick: BrickRef, noted: State) {
        let place = brick.0 as usize;
        if self.states.len() <= place {
            self.states.resize(place + 1, State::Unknown);
        }
        if let Some(state) = self.states.get_mut(place) {
            *state = noted;
        }
    }

    fn state(&self, brick: BrickRef) -> State {
        let state = self.states.get(brick.0 as usize);
        state.copied().unwrap_or(State::Unknown)
    }

    /// The bricks that may be relied upon, as far as they have been looked at.
    pub fn live(&self) -> impl Iterator<Item = BrickRef> {
        let states = (0..).zip(&self.states);
        states
            .filter(|(_, state)| matches!(state, State::Live | State::Made | State::Usable(_)))
            .map(|(ordinal, _)| BrickRef(ordinal))
    }
}

/// One transaction's view.
pub(super) struct Reader<'a, 'txn> {
    pub txn: &'a RoTxn<'txn>,
    pub tables: &'a Tables,
    pub checker: Checker,
    /// Records of the bricks from [`ORDINALS`] on.
    pub aside: &'a [Vec<u8>],
    /// All runs, if chunks are to be looked up.
    pub runs: &'a [Run],
}

impl<'a> Reader<'a, '_> {
    /// The record of a brick.
    pub fn record(&self, brick: BrickRef) -> Step<Record<'a>> {
        let sealed = match brick.0.checked_sub(ORDINALS) {
            Some(aside) => self.aside.get(aside as usize).map(Vec::as_slice),
            None => self.tables.bricks.get(self.txn, &entry::brick_key(brick))?,
        };
        let sealed = sealed.ok_or(Fault::Corrupt("a brick has no record"))?;
        Record::decode(self.checker, brick, sealed)
    }

    /// Where a chunk of this length lies: in the live brick with the smallest
    /// name, so that the answer does not depend on the order of entry.
    pub fn find(&self, live: &mut LiveSet, id: &ChunkId, length: u32) -> Step<Option<Location>> {
        let mut best = None;
        for run in self.runs {
            let Some(block) = run.block(self.txn, self.tables, id)? else {
                continue;
            };
            for sealed in block.find(id) {
                if let Some(entry) = self.checker.open_entry(sealed) {
                    let other = self.usable(live, entry, length)?;
                    best = self.smaller(best, other)?;
                }
            }
        }
        Ok(best)
    }

    fn usable(&self, live: &mut LiveSet, entry: Entry, length: u32) -> Step<Option<Location>> {
        let usable = entry.length == length && entry.frame < self.frames(live, entry.brick)?;
        Ok(usable.then_some(Location {
            brick: entry.brick,
            frame: entry.frame,
            place: entry.place,
            length,
        }))
    }

    /// How many frames a brick has that may be relied upon; any other has none.
    ///
    /// The first time, the record is looked at: what will be asked of it when
    /// the index is written must be there. Bricks that another process entered
    /// since this catalog was opened are looked up in the store then.
    fn frames(&self, live: &mut LiveSet, brick: BrickRef) -> Step<u32> {
        let state = live.state(brick);
        match state {
            State::Usable(frames) => return Ok(frames),
            State::Gone => return Ok(0),
            State::Unknown | State::Live | State::Made => {}
        }
        let record = match self.record(brick) {
            Ok(record) => record,
            // No note of it: whatever its ordinal is, it must not become the length of a list.
            Err(Fault::Corrupt(_)) => return Ok(0),
            Err(fault) => return Err(fault),
        };
        let known = find_name(self.txn, self.tables, self.checker, &record.name)? == Some(brick);
        if known && live.counts(state, &record)? {
            live.note(brick, State::Usable(record.frame_count));
            return Ok(record.frame_count);
        }
        live.note(brick, State::Gone);
        Ok(0)
    }

    fn smaller(&self, a: Option<Location>, b: Option<Location>) -> Step<Option<Location>> {
        let (Some(one), Some(other)) = (a, b) else {
            return Ok(a.or(b));
        };
        let smaller = self.record(other.brick)?.name < self.record(one.brick)?.name;
        Ok(if smaller { b } else { a })
    }
}
