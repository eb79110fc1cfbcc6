//! Parity stays in order: sets over what stays, before anything of a set is deleted
//! (`formats/collection.md#parity`).

use std::collections::HashSet;
use std::path::Path;

use super::plan::{Bricks, Plan};
use super::rewrite::Moved;
use super::{Gc, GcEvent, ParitySummary};
use crate::archive::Monitor;
use crate::error::Result;
use crate::id::BrickName;
use crate::parity::{Collection, KeptSet, Lock, Made, Places, Remade};
use crate::store::Store;

type Tell<'a> = &'a mut dyn FnMut(GcEvent);

/// Which bricks were deleted on purpose, or are about to be.
pub(super) struct GivenUp<'a> {
    store: &'a Store,
    bricks: &'a Bricks,
    missing: HashSet<BrickName>,
    doomed: HashSet<BrickName>,
}

impl<'a> GivenUp<'a> {
    /// `missing` are needed and nowhere, `doomed` are about to be deleted.
    pub(super) fn new(
        store: &'a Store,
        bricks: &'a Bricks,
        missing: &[BrickName],
        doomed: &[BrickName],
    ) -> Self {
        Self {
            store,
            bricks,
            missing: missing.iter().copied().collect(),
            doomed: doomed.iter().copied().collect(),
        }
    }

    /// A brick that was lost by accident has its sidecar still, or somebody needs it.
    fn has(&self, name: &BrickName) -> Result<bool> {
        if self.doomed.contains(name) {
            return Ok(true);
        }
        if self.missing.contains(name) || self.bricks.all.contains_key(name) {
            return Ok(false);
        }
        // It may have come since the bricks were listed.
        Ok(!self.store.layout().anything_stands(name)?)
    }
}

/// What would be done to sets by this plan. What must stay for the sake of parity, as far
/// as that can be told without reading bricks, is taken out of it.
pub(super) fn hold(
    store: &Store,
    bricks: &Bricks,
    plan: &mut Plan,
    monitor: &Monitor,
    tell: Tell<'_>,
) -> Result<ParitySummary> {
    let mut doomed = plan.delete.clone();
    doomed.extend(plan.rewrite.iter().map(|(name, ..)| *name));
    let gone = GivenUp::new(store, bricks, &plan.missing, &doomed);
    let places = Places::of_run(store.path(), &store.layout().temp_dir());
    let found = Collection::find(&places, monitor, &mut |name| gone.has(name))?;
    let Some(collection) = found else {
        return Ok(ParitySummary::default());
    };
    let (remade, kept) = collection.estimate();
    let summary = summary(remade, kept, &mut doomed, tell);
    let left: HashSet<_> = doomed.into_iter().collect();
    plan.delete.retain(|name| left.contains(name));
    plan.rewrite.retain(|(name, ..)| left.contains(name));
    Ok(summary)
}

fn summary(
    remade: Remade,
    kept: Vec<KeptSet>,
    doomed: &mut Vec<BrickName>,
    tell: Tell<'_>,
) -> ParitySummary {
    let all: HashSet<BrickName> = doomed.iter().copied().collect();
    let mut held = HashSet::new();
    let mut kept_sets = 0;
    for mut set in kept {
        set.held.retain(|name| all.contains(name));
        held.extend(set.held.iter().copied());
        if !set.held.is_empty() {
            kept_sets += 1;
            tell(GcEvent::KeptSet(set));
        }
    }
    doomed.retain(|name| !held.contains(name));
    ParitySummary {
        old_sets: remade.old_sets,
        new_sets: remade.new_sets,
        read: remade.read,
        bytes: remade.parity,
        kept_sets,
        held: held.len() as u64,
    }
}

/// Sets over what stays, and a lock: nobody makes others meanwhile.
pub(super) struct Remaking {
    made: Option<Made>,
    _lock: Lock,
}

impl Gc<'_> {
    /// Protects what stays without that which goes. What must stay for the sake of parity
    /// is taken out of `doomed`.
    pub(super) fn remake_parity(
        &self,
        gone: &GivenUp<'_>,
        moved: &Moved,
        doomed: &mut Vec<BrickName>,
        told: &mut ParitySummary,
        tell: Tell<'_>,
    ) -> Result<Remaking> {
        let temp_dir = self.store.layout().temp_dir();
        let lock = Lock::take(&temp_dir, self.monitor, &mut || {
            tell(GcEvent::WaitingForParity);
        })?;
        let places = Places::of_run(self.store.path(), self.lease.dir());
        let found = Collection::find(&places, self.monitor, &mut |name| gone.has(name))?;
        let mut made = None;
        if let Some(mut collection) = found {
            tell(GcEvent::Step("making parity anew"));
            collection.join(&moved.new_bricks);
            let mut done = collection.make(self.monitor)?;
            let kept = std::mem::take(&mut done.kept);
            let before = *told;
            *told = summary(done.remade, kept, doomed, tell);
            told.held += before.held;
            told.kept_sets += before.kept_sets;
            made = Some(done);
        }
        Ok(Remaking { made, _lock: lock })
    }

    /// Deletes the sets in whose place others stand: once the bricks are gone.
    pub(super) fn delete_parity(&self, remaking: &Remaking) -> Result<()> {
        remaking.made.as_ref().map_or(Ok(()), |made| {
            made.finish(&mut |path: &Path| self.lease.delete(path))
        })
    }
}
