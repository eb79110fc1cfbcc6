//! Parity stays in order: sets over what stays, before anything of a set is deleted
//! (`formats/collection.md#parity`).

use std::collections::HashSet;
use std::path::Path;

use super::plan::Bricks;
use super::rewrite::Moved;
use super::{Gc, GcEvent, ParitySummary};
use crate::error::Result;
use crate::id::{BrickName, Class};
use crate::parity::{Collection, Lock, Places, Remade};
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
        let layout = self.store.layout();
        let classes = [Class::Data, Class::Metadata].into_iter();
        let stands = classes
            .map(|class| layout.brick_path(name, class))
            .any(|path| path.exists());
        Ok(!stands && !layout.sidecar_stands(name)?)
    }
}

/// What would be done.
pub(super) fn estimate(store: &Store, gone: &GivenUp<'_>, tell: Tell<'_>) -> Result<ParitySummary> {
    let places = Places::of_run(store.path(), &store.layout().temp_dir());
    let Some(collection) = Collection::find(&places, &mut |name| gone.has(name))? else {
        return Ok(ParitySummary::default());
    };
    let (remade, kept) = collection.estimate();
    let summary = summary(remade, kept.len());
    for set in kept {
        tell(GcEvent::KeptSet(set));
    }
    Ok(summary)
}

const fn summary(remade: Remade, kept: usize) -> ParitySummary {
    ParitySummary {
        old_sets: remade.old_sets,
        new_sets: remade.new_sets,
        read: remade.read,
        bytes: remade.parity,
        kept_sets: kept as u64,
    }
}

impl Gc<'_> {
    /// Calls `delete` once what stays is protected without that which goes, and then
    /// deletes the old sets.
    pub(super) fn with_parity(
        &self,
        gone: &GivenUp<'_>,
        moved: &Moved,
        tell: Tell<'_>,
        delete: &mut dyn FnMut(Tell<'_>) -> Result<()>,
    ) -> Result<ParitySummary> {
        // Nobody makes a set over bricks that are being deleted.
        let temp_dir = self.store.layout().temp_dir();
        let _lock = Lock::take(&temp_dir, self.monitor, &mut || {
            tell(GcEvent::WaitingForParity);
        })?;
        let places = Places::of_run(self.store.path(), self.lease.dir());
        let Some(mut collection) = Collection::find(&places, &mut |name| gone.has(name))? else {
            delete(tell)?;
            return Ok(ParitySummary::default());
        };
        tell(GcEvent::Step("making parity anew"));
        collection.join(&moved.new_bricks);
        let made = collection.make(self.monitor)?;
        let summary = summary(made.remade, made.kept.len());
        delete(tell)?;
        made.finish(&mut |path: &Path| self.lease.delete(path))?;
        for set in made.kept {
            tell(GcEvent::KeptSet(set));
        }
        Ok(summary)
    }
}
