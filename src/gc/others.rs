//! The other runs: gcs, of which there must be one, and archivers, which gc waits for.

use std::collections::HashSet;
use std::time::Duration;

use super::{Gc, GcEvent, Run};
use crate::crypto::PutKeys;
use crate::error::{Error, Exit, Result};
use crate::format::note::Note;
use crate::id::WriterId;
use crate::store::Store;
use crate::store::layout::RunName;
use crate::store::runs::OtherRun;

/// How often a run that is waited for is looked at.
const INTERVAL: Duration = Duration::from_millis(100);
/// So often a lease is looked at that does not open: it may be just being written.
const LOOKS: usize = 20;
/// So often the lease of a gc is looked at: it may be locked by one who only looks, too.
const LOOKS_AT_GC: usize = 3;

impl Gc<'_> {
    /// Step 2: ends gcs that are dead, or fails. Returns the writers that are alive.
    pub(super) fn meet_others(
        &self,
        ended: &mut Vec<Run>,
        tell: &mut dyn FnMut(GcEvent),
    ) -> Result<HashSet<WriterId>> {
        let mut living = HashSet::new();
        for name in self.store.layout().leases()? {
            if name == *self.lease.name() {
                continue;
            }
            for look in 1.. {
                let Some(other) = OtherRun::look(self.store, self.keys, &name)? else {
                    break;
                };
                if other.is_archiver() && !other.is_dead {
                    living.extend(other.lease.map(|lease| lease.writer));
                    break;
                }
                if other.is_dead || self.options.end_runs.holds(&name) {
                    self.end(other, ended, tell)?;
                    break;
                }
                let most = other.lease.as_ref().map_or(LOOKS, |_| LOOKS_AT_GC);
                if look == most {
                    return Err(self.at_work(&name, other.lease.as_ref()));
                }
                self.monitor.check()?;
                std::thread::sleep(INTERVAL);
            }
        }
        Ok(living)
    }

    fn at_work(&self, name: &RunName, lease: Option<&Note>) -> Error {
        let message = match lease {
            Some(lease) => format!(
                "another gc is at work, process {} on {}; wait for it, or if it is dead, end it \
                 with --end-runs={name}",
                lease.process,
                String::from_utf8_lossy(&lease.host),
            ),
            None => format!(
                "this may be another gc at work, and its lease does not open; wait for it, or if \
                 it is dead, end it with --end-runs={name}"
            ),
        };
        Error::Refused {
            path: self.store.layout().run_dir(name),
            message,
            exit: Exit::Failed,
        }
    }

    /// Step 6: waits until the runs that are there have ended, or ends them.
    pub(super) fn await_others(
        &self,
        ended: &mut Vec<Run>,
        tell: &mut dyn FnMut(GcEvent),
    ) -> Result<()> {
        for name in self.store.layout().leases()? {
            if name == *self.lease.name() {
                continue;
            }
            let mut is_told = false;
            while let Some(other) = OtherRun::look(self.store, self.keys, &name)? {
                self.monitor.check()?;
                self.lease.require()?;
                if other.is_dead || self.options.end_runs.holds(&name) {
                    self.end(other, ended, tell)?;
                    break;
                }
                if !is_told {
                    tell(GcEvent::Waiting(Box::new(Run::from(&other))));
                    is_told = true;
                }
                drop(other);
                std::thread::sleep(INTERVAL);
            }
        }
        Ok(())
    }

    fn end(
        &self,
        other: OtherRun,
        ended: &mut Vec<Run>,
        tell: &mut dyn FnMut(GcEvent),
    ) -> Result<()> {
        let run = Run::from(&other);
        other.end(self.store)?;
        tell(GcEvent::Ended(Box::new(run.clone())));
        ended.push(run);
        Ok(())
    }
}

impl From<&OtherRun> for Run {
    fn from(other: &OtherRun) -> Self {
        Self {
            name: other.name.clone(),
            lease: other.lease.clone(),
        }
    }
}

/// The writers that are alive, as far as that is known.
pub(super) fn living_writers(store: &Store, keys: &PutKeys) -> Result<HashSet<WriterId>> {
    let mut living = HashSet::new();
    for name in store.layout().leases()? {
        if let Some(other) = OtherRun::look(store, keys, &name)?
            && !other.is_dead
        {
            living.extend(other.lease.map(|lease| lease.writer));
        }
    }
    Ok(living)
}
