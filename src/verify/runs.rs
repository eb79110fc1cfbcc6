//! Roots and snapshots, and which runs a fault hits.

use std::thread;
use std::time::{Duration, Instant};

use super::bricks::{Bricks, fault_of};
use super::finding::{Fault, Finding, Kind, RunHit};
use super::healed::{Missing, Search};
use super::means::{Keyed, Level};
use crate::brick::{open_snapshot, require_metadata};
use crate::error::{Error, Result};
use crate::format::frame::FrameHeader;
use crate::format::root::Root;
use crate::format::sealed::{HEADER_LENGTH, ROOT, SealedHeader};
use crate::format::wire::DecodeError;
use crate::id::BrickName;
use crate::restore::{Lost, Origin, open_index, survey};
use crate::snapshot::{self, Run};
use crate::store::guard::open_file;
use crate::store::layout::RunName;
use crate::store::{MAX_ROOT_LENGTH, MAX_SNAPSHOT_LENGTH, is_missing, read_limited};

/// How long a run may be without its snapshot while it is written or forgotten, and how
/// often that is looked at.
const MOMENT: Duration = Duration::from_millis(250);
const LOOK: Duration = Duration::from_millis(25);

/// Looks at the roots and snapshots of `runs`, once all bricks were looked at.
pub(super) fn check(bricks: &Bricks<'_>, runs: &[RunName]) -> Result<()> {
    let Some(keyed) = &bricks.means.keyed else {
        for run in runs {
            bricks.monitor.check()?;
            in_clear(bricks, run);
        }
        return Ok(());
    };
    let mut search = Search::new(bricks, keyed);
    let mut without = Vec::new();
    for run in runs {
        bricks.monitor.check()?;
        if opened(bricks, keyed, run, &mut search) == Snapshot::Missing {
            without.push(run);
        }
    }
    missing_snapshots(bricks, keyed, without)?;
    let lost = search.end()?;
    if lost.is_empty() {
        return Ok(());
    }
    for run in runs {
        bricks.monitor.check()?;
        let path = bricks.means.layout.root_path(run);
        // One that does not open was reported.
        if let Ok(root) = keyed.store.read_root(&keyed.keys, &path, run.time) {
            hit(bricks, keyed, run, root, &lost)?;
        }
    }
    Ok(())
}

/// What can be said without a key.
fn in_clear(bricks: &Bricks<'_>, run: &RunName) {
    let layout = &bricks.means.layout;
    let path = layout.root_path(run);
    let mut bytes = Vec::new();
    let root = open_file(&path)
        .map_err(Error::io("open", &path))
        .and_then(|file| read_limited(file, &path, MAX_ROOT_LENGTH, &mut bytes))
        .and_then(|()| {
            let decode = |error| Error::decode(&path, 0)(error);
            let header = SealedHeader::decode(ROOT, &bytes).map_err(decode)?;
            let expected = header.sealed_length + HEADER_LENGTH as u64;
            let found = bytes.len() as u64;
            if expected == found {
                return Ok(());
            }
            let error = DecodeError::value("root", "length", 0, expected, found);
            Err(decode(error))
        });
    if !note(bricks, Kind::Root, &path, root) {
        return;
    }
    bricks.state().summary.roots += 1;
    let path = layout.snapshot_path(run);
    let file = match open_file(&path) {
        // Whether the run has one only its root says.
        Err(error) if is_missing(&error) => return,
        file => file.map_err(Error::io("open", &path)),
    };
    let snapshot = file
        .and_then(|file| read_limited(file, &path, MAX_SNAPSHOT_LENGTH, &mut bytes))
        .and_then(|()| {
            let header = FrameHeader::decode(&bytes).and_then(|header| {
                require_metadata(header.fields.class)?;
                let (expected, found) = (header.frame_length() as usize, bytes.len());
                if expected == found {
                    return Ok(());
                }
                Err(DecodeError::value("snapshot", "length", 0, expected, found))
            });
            header.map_err(Error::decode(&path, 0))
        });
    if note(bricks, Kind::Snapshot, &path, snapshot) {
        bricks.state().summary.snapshots += 1;
    }
}

/// Reports an error, but not that a file has gone meanwhile. Whether all was well.
fn note(bricks: &Bricks<'_>, kind: Kind, path: &std::path::Path, outcome: Result<()>) -> bool {
    match outcome {
        Ok(()) => return true,
        Err(Error::Io { source, .. }) if is_missing(&source) => {}
        Err(error) => bricks.report(fault_of(kind, path, error)),
    }
    false
}

/// What there is to say of the snapshot of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Snapshot {
    /// All was said.
    Told,
    /// It is not there, though the root is.
    Missing,
}

/// Runs without their snapshots are looked at once more, a moment later: `forget` deletes
/// the snapshot first, then the root, and whoever archives writes it behind the root.
fn missing_snapshots(
    bricks: &Bricks<'_>,
    keyed: &Keyed<'_>,
    mut runs: Vec<&RunName>,
) -> Result<()> {
    let layout = &bricks.means.layout;
    let start = Instant::now();
    loop {
        let mut left = Vec::new();
        for run in runs {
            let path = layout.root_path(run);
            // One that does not open was reported.
            if let Ok(root) = keyed.store.read_root(&keyed.keys, &path, run.time)
                && check_snapshot(bricks, keyed, run, &root) == Snapshot::Missing
            {
                left.push(run);
            }
        }
        runs = left;
        if runs.is_empty() || start.elapsed() >= MOMENT {
            break;
        }
        bricks.monitor.check()?;
        thread::sleep(LOOK);
    }
    for run in runs {
        let message = "missing, though its run has a root";
        bricks.report(Fault::new(
            Kind::Snapshot,
            layout.snapshot_path(run),
            message,
        ));
    }
    Ok(())
}

fn opened(
    bricks: &Bricks<'_>,
    keyed: &Keyed<'_>,
    run: &RunName,
    search: &mut Search<'_>,
) -> Snapshot {
    let path = bricks.means.layout.root_path(run);
    let root = match keyed.store.read_root(&keyed.keys, &path, run.time) {
        Ok(root) => root,
        Err(error) => {
            if !matches!(&error, Error::Io { source, .. } if is_missing(source)) {
                bricks.cannot_tell();
            }
            note(bricks, Kind::Root, &path, Err(error));
            return Snapshot::Told;
        }
    };
    bricks.state().summary.roots += 1;
    for (name, frames) in &root.bricks {
        bricks.needs(name);
        search.add(&path, name, frames);
    }
    check_snapshot(bricks, keyed, run, &root)
}

fn check_snapshot(bricks: &Bricks<'_>, keyed: &Keyed<'_>, run: &RunName, root: &Root) -> Snapshot {
    let Some(stated) = root.snapshot else {
        return Snapshot::Told;
    };
    let path = bricks.means.layout.snapshot_path(run);
    let fault = |message: &str| {
        bricks.report(Fault::new(Kind::Snapshot, &path, message));
        Snapshot::Told
    };
    let bytes = match keyed.store.read_snapshot(run) {
        Err(Error::Io { source, .. }) if is_missing(&source) => return Snapshot::Missing,
        Err(error) => {
            note(bricks, Kind::Snapshot, &path, Err(error));
            return Snapshot::Told;
        }
        Ok(bytes) => bytes,
    };
    if blake3::hash(&bytes) != stated.hash {
        return fault("its hash is not the one in the run's root");
    }
    if let Some(opener) = &bricks.means.opener {
        match open_snapshot(opener, &path, bytes) {
            Err(error) => {
                note(bricks, Kind::Snapshot, &path, Err(error));
                return Snapshot::Told;
            }
            Ok(found) => {
                let expected = (root.time, root.writer, stated.index_length);
                if expected != (found.time, found.writer, found.index_length) {
                    return fault("time, writer or length are not those in the run's root");
                }
            }
        }
    }
    bricks.state().summary.snapshots += 1;
    Snapshot::Told
}

/// Says whether what was found hits a run, and its members.
fn hit(
    bricks: &Bricks<'_>,
    keyed: &Keyed<'_>,
    run: &RunName,
    root: Root,
    lost: &Missing,
) -> Result<()> {
    let count = lost.hits(&root.bricks);
    if count == 0 {
        return Ok(());
    }
    bricks.state().summary.hits += 1;
    bricks.say(Finding::Run(RunHit {
        run: run.clone(),
        host: root.host.clone(),
        label: root.label.clone(),
        bricks: count,
    }));
    let with_members = bricks.options.members && bricks.means.level() == Level::Frames;
    if let (true, Some(snapshot)) = (with_members, root.snapshot) {
        let run = Run {
            name: run.clone(),
            root,
            snapshot,
        };
        if let Err(error) = members(bricks, keyed, &run, lost) {
            if matches!(error, Error::Interrupted) {
                return Err(error);
            }
            bricks.say(Finding::Warning(format!(
                "the members of run {} cannot be named: {error}",
                run.name
            )));
        }
    }
    Ok(())
}

/// Names the members that are hit, by the run's snapshot.
fn members(bricks: &Bricks<'_>, keyed: &Keyed<'_>, run: &Run, lost: &Missing) -> Result<()> {
    let Keyed { store, key, keys } = keyed;
    let index = snapshot::open(store, key, keys, run, &bricks.options.bricks_in)?;
    let (trailer, _) = open_index(&index, &Origin::from(*store), key)?;
    let layout = &bricks.means.layout;
    let judge = |name: &BrickName, frame: &crate::format::trailer::UsedFrame| {
        lost.holds(name, frame.number).then(|| Lost {
            path: layout.brick_path(name, crate::id::Class::Data),
            reason: format!(
                "frame {} of brick {name} is damaged or missing",
                frame.number
            ),
        })
    };
    let mut count = 0;
    survey(&index, &trailer, &judge, &mut |hit| {
        count += 1;
        bricks.say(Finding::Member(Some(run.name.clone()), hit));
    })?;
    bricks.state().summary.members += count;
    Ok(())
}
