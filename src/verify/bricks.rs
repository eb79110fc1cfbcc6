//! Bricks with their sidecars, one after another on each thread; and the marks that
//! follow from what was found.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::away::Pushed;
use super::copy::{Harm, Inspected, Inspection, Scratch};
use super::finding::{Fault, Finding, Kind};
use super::jobs::Job;
use super::means::{Level, Means};
use super::sample::Share;
use super::{Found, Summary, VerifyOptions};
use crate::archive::Monitor;
use crate::brick::SIDECAR_SEAL_LENGTH;
use crate::error::{Error, Result};
use crate::format::toc::{Toc, TocHeader};
use crate::format::wire::DecodeError;
use crate::id::BrickName;
use crate::store::guard::open_file;
use crate::store::runs::dead_bricks;
use crate::store::{MAX_SIDECAR_LENGTH, is_missing, read_limited};

/// What all workers share.
pub(super) struct Bricks<'a> {
    pub(super) means: &'a Means<'a>,
    pub(super) options: &'a VerifyOptions,
    pub(super) monitor: &'a Monitor,
    pub(super) jobs: &'a [Job],
    /// The bricks to be read whole; all, if nothing is said.
    pub(super) share: Option<Share>,
    /// Bricks that carry the mark of damage, ascending.
    pub(super) marked: Vec<BrickName>,
    /// Bricks that are where they should be though they are not here, if all else should.
    pushed: Pushed,
    found: &'a Found<'a>,
    state: Mutex<State>,
}

/// What has come out so far.
#[derive(Default)]
pub(super) struct State {
    pub(super) summary: Summary,
    /// What is lost of which brick that is known.
    pub(super) harmed: BTreeMap<BrickName, Harm>,
    /// Bricks that hold frames which gc or a rebuild has moved there.
    pub(super) carriers: Vec<BrickName>,
    /// Bricks that runs need.
    needed: BTreeSet<BrickName>,
    /// What some run needs is not known, or not here.
    is_uncertain: bool,
    /// Bricks that are here and have no sidecar, each with its file.
    without_sidecar: Vec<(BrickName, PathBuf)>,
    /// Bricks that are elsewhere and have no sidecar: a fault if a run needs them.
    unlisted: BTreeSet<BrickName>,
    /// Writing a mark has failed once: it is said once.
    cannot_mark: bool,
}

/// What stands where a brick's sidecar should.
enum Sidecar {
    Missing,
    Damaged,
    /// Its bytes are in the scratch; opened, if there is a key.
    Sound(Option<Toc>),
}

impl<'a> Bricks<'a> {
    pub(super) fn new(
        means: &'a Means<'a>,
        options: &'a VerifyOptions,
        monitor: &'a Monitor,
        jobs: &'a [Job],
        found: &'a Found<'a>,
    ) -> Result<Self> {
        let marked = means.layout.marked()?;
        if let Some(keyed) = &means.keyed {
            for path in keyed.store.unsealed_marks(&keyed.keys, &marked)? {
                found(Finding::Warning(format!(
                    "{}: this mark of damage is not sealed: it was set without a key, or by \
                     somebody else; its brick is not deduplicated against",
                    path.display()
                )));
            }
        }
        let pushed = if options.all_here {
            Pushed::read(&means.layout, found)?
        } else {
            Pushed::default()
        };
        Ok(Self {
            pushed,
            marked,
            means,
            options,
            monitor,
            jobs,
            share: None,
            found,
            state: Mutex::default(),
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // A thread that panicked cannot have left counts in a way that matters.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn into_state(self) -> State {
        self.state
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn report(&self, fault: Fault) {
        self.state().summary.faults += 1;
        (self.found)(Finding::Fault(fault));
    }

    pub(super) fn say(&self, finding: Finding) {
        (self.found)(finding);
    }

    /// Whether a brick is to be read whole.
    pub(super) fn reads(&self, name: &BrickName) -> bool {
        !self.options.quick && self.share.is_none_or(|share| share.holds(name, 0))
    }

    /// Whether a brick or its sidecar is here.
    pub(super) fn knows(&self, name: &BrickName) -> bool {
        self.jobs.binary_search_by_key(name, |job| job.name).is_ok()
    }

    /// Looks at one brick: its sidecar, then its files.
    pub(super) fn check(&self, job: &Job, scratch: &mut Scratch) -> Result<()> {
        let sidecar = self.sidecar(&job.name, scratch);
        let found;
        let job = if job.is_here() {
            job
        } else {
            // It may have come between the listings of bricks and of sidecars.
            found = Job::find(&self.means.layout, job.name);
            &found
        };
        if !job.is_here() {
            // What has gone together with its sidecar was collected meanwhile.
            if matches!(sidecar, Sidecar::Sound(_))
                && self.means.layout.sidecar_stands(&job.name)?
            {
                self.away(job);
            }
            return Ok(());
        }
        let copies = job.copies(&self.means.layout);
        let (mut own, mut elsewhere) = (Verdict::default(), Verdict::default());
        for copy in &copies {
            let inspection = Inspection {
                means: self.means,
                monitor: self.monitor,
                name: job.name,
                copy,
                sidecar: match &sidecar {
                    Sidecar::Sound(toc) => toc.as_ref(),
                    _ => None,
                },
                known: &|name| self.knows(name),
            };
            let whole = self.reads(&job.name);
            let inspected = if whole {
                inspection.whole(scratch)?
            } else {
                inspection.quick()
            };
            // What has gone together with its sidecar was collected meanwhile.
            let Some(mut inspected) = inspected else {
                continue;
            };
            let verdict = if copy.folder.is_some() {
                &mut own
            } else {
                &mut elsewhere
            };
            if whole && inspected.is_named && matches!(sidecar, Sidecar::Sound(_)) {
                verdict.is_misdescribed |= self.compare(&job.name, scratch, &mut inspected);
            }
            self.take(inspected, whole, verdict);
        }
        let verdict = if own.copies > 0 { own } else { elsewhere };
        if verdict.copies == 0 {
            return Ok(());
        }
        if let (Sidecar::Missing, Some(copy)) = (&sidecar, copies.into_iter().next()) {
            let mut state = self.state();
            if copy.folder.is_some() {
                state.without_sidecar.push((job.name, copy.path));
            } else {
                state.unlisted.insert(job.name);
            }
        }
        self.conclude(job.name, verdict);
        Ok(())
    }

    fn away(&self, job: &Job) {
        let mut state = self.state();
        state.summary.away += 1;
        if self.options.all_here && !self.pushed.holds(&job.name) {
            state.harmed.insert(job.name, Harm::total());
            state.summary.faults += 1;
            drop(state);
            let dir = self.means.layout.bricks_dir(crate::id::Class::Data);
            let message = format!("brick {} is not here, only its sidecar is", job.name);
            let fault = Fault::new(Kind::Brick, dir, message);
            self.say(Finding::Fault(fault.of(job.name)));
            self.distrust(&job.name, "the brick is not here");
        } else {
            drop(state);
            self.say(Finding::Away(job.name));
        }
    }

    fn sidecar(&self, name: &BrickName, scratch: &mut Scratch) -> Sidecar {
        let path = self.means.layout.toc_path(name);
        let outcome = match &self.means.keyed {
            Some(keyed) => keyed
                .store
                .read_sidecar(&keyed.keys, name, &mut scratch.sidecar)
                .map(Some),
            None => self
                .read_in_clear(&path, &mut scratch.sidecar)
                .map(|()| None),
        };
        match outcome {
            Ok(toc) => {
                let mut state = self.state();
                state.summary.sidecars += 1;
                if toc.as_ref().is_some_and(|toc| toc.origins().is_some()) {
                    state.carriers.push(*name);
                }
                Sidecar::Sound(toc)
            }
            Err(Error::Io { source, .. }) if is_missing(&source) => Sidecar::Missing,
            Err(error) => {
                self.report(fault_of(Kind::Sidecar, &path, error).of(*name));
                Sidecar::Damaged
            }
        }
    }

    /// What can be said of a sidecar without a key.
    fn read_in_clear(&self, path: &Path, bytes: &mut Vec<u8>) -> Result<()> {
        let file = open_file(path).map_err(Error::io("open", path))?;
        read_limited(file, path, MAX_SIDECAR_LENGTH, bytes)?;
        let header = TocHeader::decode(bytes).map_err(Error::decode(path, 0))?;
        let expected = header.toc_length() + SIDECAR_SEAL_LENGTH as u64;
        let found = bytes.len() as u64;
        if found != expected {
            let error = DecodeError::value("sidecar", "length", 0, expected, found);
            return Err(Error::decode(path, 0)(error));
        }
        match self.means.store_id {
            Some(expected) if expected != header.store_id => Err(Error::OtherStore {
                path: path.to_owned(),
                expected,
                found: header.store_id,
            }),
            _ => Ok(()),
        }
    }

    /// The sidecar of a brick whose bytes are right must be its table of contents. Returns
    /// whether it is not.
    fn compare(&self, name: &BrickName, scratch: &Scratch, inspected: &mut Inspected) -> bool {
        let length = scratch.sidecar.len().saturating_sub(SIDECAR_SEAL_LENGTH);
        let (toc, _) = scratch.sidecar.split_at(length);
        if scratch.toc.is_empty() || toc == scratch.toc {
            return false;
        }
        let same = toc
            .iter()
            .zip(&scratch.toc)
            .take_while(|(one, other)| one == other);
        let at = same.count() as u64;
        let message = format!("not the table of contents in its brick: they differ at byte {at}");
        let fault = Fault::new(Kind::Sidecar, self.means.layout.toc_path(name), message);
        inspected.faults.push(fault.at(at).of(*name));
        true
    }

    /// Reports what was found in one file.
    fn take(&self, inspected: Inspected, whole: bool, verdict: &mut Verdict) {
        let Inspected {
            faults,
            harm,
            is_named,
            is_another: _,
            out_of_reach,
            frames,
            chunks,
        } = inspected;
        {
            let summary = &mut self.state().summary;
            summary.bricks += u64::from(whole);
            summary.frames += frames;
            summary.chunks += chunks;
        }
        for fault in faults {
            if verdict.text.is_empty() {
                verdict.text.clone_from(&fault.message);
            }
            self.report(fault);
        }
        verdict.copies += 1;
        verdict.read |= whole && is_named;
        // The copy of which least is lost counts.
        let better =
            |other: &Harm| !other.all && (harm.all || other.frames.len() < harm.frames.len());
        verdict.is_sound |= !harm.damaged && !out_of_reach && harm.frames.is_empty() && !harm.all;
        verdict.damaged |= harm.damaged;
        match &verdict.harm {
            Some(other) if better(other) => {}
            _ => verdict.harm = Some(harm),
        }
    }

    /// Marks a damaged brick, and takes the mark from one that is whole.
    fn conclude(&self, name: BrickName, verdict: Verdict) {
        let harm = verdict.harm.unwrap_or_default();
        // A damaged copy in the store itself must not be relied upon, though another is sound.
        if verdict.damaged {
            let mut state = self.state();
            state.summary.damaged += 1;
            if harm.all || !harm.frames.is_empty() {
                state.harmed.insert(name, harm);
            }
            drop(state);
            self.distrust(&name, &verdict.text);
            return;
        }
        if harm.all || !harm.frames.is_empty() {
            self.state().harmed.insert(name, harm);
        }
        if verdict.is_misdescribed {
            // It is sound, but others rely on what its sidecar says.
            self.distrust(&name, &verdict.text);
            return;
        }
        let level = self.means.level();
        if self.is_marked(&name) && verdict.is_sound && verdict.read && level == Level::Frames {
            self.unmark(&name);
        }
    }

    fn is_marked(&self, name: &BrickName) -> bool {
        self.marked.binary_search(name).is_ok()
    }

    /// Sees to it that a brick carries a mark.
    fn distrust(&self, name: &BrickName, text: &str) {
        if !self.is_marked(name) && !self.options.quick {
            self.mark(name, text);
        }
    }

    fn mark(&self, name: &BrickName, text: &str) {
        if !self.options.mark || !self.means.layout.path().is_dir() {
            return;
        }
        let outcome = match &self.means.keyed {
            Some(keyed) => keyed.store.mark(&keyed.keys, name, text),
            None => self.means.layout.write_mark(name),
        };
        self.marked_or_not(outcome, |summary| summary.marked += 1);
    }

    fn unmark(&self, name: &BrickName) {
        if !self.options.mark {
            return;
        }
        let outcome = self.means.layout.remove_mark(name);
        self.marked_or_not(outcome, |summary| summary.unmarked += 1);
    }

    fn marked_or_not(&self, outcome: Result<()>, count: impl FnOnce(&mut Summary)) {
        let mut state = self.state();
        match outcome {
            Ok(()) => count(&mut state.summary),
            Err(error) if !std::mem::replace(&mut state.cannot_mark, true) => {
                drop(state);
                self.say(Finding::Warning(format!(
                    "cannot set or remove marks: {error}"
                )));
            }
            Err(_) => {}
        }
    }

    /// Reports the bricks without sidecars, unless these have been written meanwhile. One
    /// that no run needs is what an archiver that was stopped, or is at work, has left.
    pub(super) fn report_missing_sidecars(&self) -> Result<()> {
        let (missing, unlisted, needed, is_uncertain) = {
            let mut state = self.state();
            (
                std::mem::take(&mut state.without_sidecar),
                std::mem::take(&mut state.unlisted),
                std::mem::take(&mut state.needed),
                state.is_uncertain,
            )
        };
        for name in unlisted.intersection(&needed) {
            self.report_missing_sidecar(*name);
        }
        if missing.is_empty() {
            return Ok(());
        }
        let layout = &self.means.layout;
        // The lists before the bricks: gc deletes the bricks first.
        let dying = match &self.means.keyed {
            Some(keyed) => dead_bricks(keyed.store, &keyed.keys).unwrap_or_default(),
            None => Vec::new(),
        };
        let is_at_work = !layout.leases()?.is_empty();
        for (name, brick) in missing {
            if layout.sidecar_stands(&name)? || !brick.exists() {
                continue;
            }
            let is_garbage = match self.means.keyed {
                Some(_) => !is_uncertain && !needed.contains(&name),
                None => is_at_work,
            };
            if is_garbage {
                self.state().summary.strays += 1;
                self.say(Finding::Stray(brick));
            } else if dying.binary_search(&name).is_err() {
                self.report_missing_sidecar(name);
            }
        }
        Ok(())
    }

    fn report_missing_sidecar(&self, name: BrickName) {
        let path = self.means.layout.toc_path(&name);
        let message = "missing, though its brick is here";
        self.report(Fault::new(Kind::Sidecar, path, message).of(name));
    }

    /// Takes note that a run needs a brick.
    pub(super) fn needs(&self, name: &BrickName) {
        self.state().needed.insert(*name);
    }

    /// It is not known what a run needs, or it is not here: a brick that seems not to be
    /// needed may be the one that takes its place.
    pub(super) fn cannot_tell(&self) {
        self.state().is_uncertain = true;
    }
}

/// What the files of a brick, in the store or elsewhere, come to.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is found out by itself")]
struct Verdict {
    copies: u64,
    /// One of them was read whole, and its bytes are those of its name.
    read: bool,
    is_sound: bool,
    /// The sidecar is not its table of contents.
    is_misdescribed: bool,
    damaged: bool,
    harm: Option<Harm>,
    /// What is wrong, for the mark.
    text: String,
}

/// The fault that an error of the library tells of, in the file at `path`.
pub(super) fn fault_of(kind: Kind, path: &Path, error: Error) -> Fault {
    match error {
        Error::Decode { path, source } => Fault::decoding(kind, path, 0, source),
        Error::Refused { path, message, .. } => Fault::new(kind, path, message),
        Error::Io {
            action,
            path,
            source,
        } => Fault::new(kind, path, format!("cannot {action} it: {source}")),
        Error::OtherStore {
            path,
            expected,
            found,
        } => {
            let message = format!("belongs to store {found}, not to store {expected}");
            Fault::new(kind, path, message)
        }
        other => Fault::new(kind, path, other.to_string()),
    }
}
