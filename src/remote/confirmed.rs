//! Bricks that a bucket is seen to have, on their way to an away list.

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;

use super::parallel::lock;
use crate::error::{Error, Result};
use crate::id::BrickName;
use crate::store::away::{self, AwayPlace};
use crate::store::layout::Layout;

/// Bricks that are confirmed before they are written down.
const BATCH: usize = 1024;

/// Bricks that the bucket has confirmed, and that go on away lists.
pub(super) struct Confirmed<'a> {
    layout: &'a Layout,
    pub(super) place: AwayPlace,
    state: Mutex<ConfirmedState>,
}

#[derive(Default)]
struct ConfirmedState {
    /// By storage class, those that are not written yet.
    waiting: BTreeMap<Option<String>, Vec<(BrickName, u64)>>,
    count: usize,
    all: HashSet<BrickName>,
    failure: Option<Error>,
}

impl<'a> Confirmed<'a> {
    pub(super) fn new(layout: &'a Layout, place: AwayPlace) -> Self {
        Self {
            layout,
            place,
            state: Mutex::default(),
        }
    }

    pub(super) fn add(&self, name: BrickName, length: u64, class: Option<String>) {
        let mut state = lock(&self.state);
        if !state.all.insert(name) {
            return;
        }
        state.waiting.entry(class).or_default().push((name, length));
        state.count += 1;
        if state.count >= BATCH && state.failure.is_none() {
            state.failure = self.write_waiting(&mut state).err();
        }
    }

    pub(super) fn all(&self) -> HashSet<BrickName> {
        lock(&self.state).all.clone()
    }

    fn write_waiting(&self, state: &mut ConfirmedState) -> Result<()> {
        state.count = 0;
        for (class, mut bricks) in std::mem::take(&mut state.waiting) {
            bricks.sort_unstable();
            let place = AwayPlace {
                class,
                ..self.place.clone()
            };
            away::write(self.layout, &place, &bricks)?;
        }
        Ok(())
    }

    /// Writes down what is not yet.
    pub(super) fn write(&self) -> Result<()> {
        let mut state = lock(&self.state);
        if let Some(error) = state.failure.take() {
            return Err(error);
        }
        self.write_waiting(&mut state)
    }
}
