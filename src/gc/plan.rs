//! What stands in the store, what meets the needs, and what may go.

use std::collections::{BTreeMap, HashSet};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::meet::Met;
use super::{GcEvent, GcOptions};
use crate::archive::Monitor;
use crate::crypto::PutKeys;
use crate::error::{Error, Exit, Result};
use crate::format::frames::Frames;
use crate::format::origins::Origins;
use crate::id::{BrickName, Class, WriterId};
use crate::store::Store;

/// A brick, or what there is of it.
pub(super) struct Brick {
    /// Class and length of its file, if that is in the store's own folders.
    pub(super) file: Option<(Class, u64)>,
    pub(super) sidecar: Sidecar,
    is_young: bool,
}

pub(super) enum Sidecar {
    Missing,
    /// It stands, but nobody can read it.
    Broken,
    Open(Facts),
}

/// What the plan needs of a TOC.
pub(super) struct Facts {
    writer: WriterId,
    /// Length of each frame.
    pub(super) frames: Vec<u32>,
    pub(super) origins: Option<Origins>,
}

impl Brick {
    pub(super) fn length(&self) -> u64 {
        self.file.map_or(0, |(_, length)| length)
    }

    /// Bytes of these frames.
    pub(super) fn needed_bytes(&self, needed: &Frames) -> u64 {
        let Sidecar::Open(facts) = &self.sidecar else {
            return 0;
        };
        let frames = (0..).zip(&facts.frames);
        let lengths =
            frames.map(|(number, &length)| u64::from(needed.contains(number)) * u64::from(length));
        lengths.sum()
    }
}

/// All bricks of the store.
pub(super) struct Bricks {
    pub(super) all: BTreeMap<BrickName, Brick>,
    marked: HashSet<BrickName>,
    /// Marks of bricks of which nothing is there.
    pub(super) stray_marks: Vec<BrickName>,
}

impl Bricks {
    /// Lists bricks and sidecars, and reads the sidecars. What was changed after `young`
    /// is left alone.
    pub(super) fn list(
        store: &Store,
        keys: &PutKeys,
        young: Option<SystemTime>,
        monitor: &Monitor,
        tell: &mut dyn FnMut(GcEvent),
    ) -> Result<Self> {
        let layout = store.layout();
        let mut all = BTreeMap::new();
        for class in [Class::Data, Class::Metadata] {
            layout.each_brick(class, |name, length| {
                let path = layout.brick_path(&name, class);
                let brick = Brick {
                    file: Some((class, length)),
                    sidecar: Sidecar::Missing,
                    is_young: is_young(&path, young)?,
                };
                all.insert(name, brick);
                Ok(())
            })?;
        }
        let (mut names, mut bytes) = (Vec::new(), Vec::new());
        for shard in 0..=u8::MAX {
            names.clear();
            layout.sidecar_names(shard, &mut names)?;
            for name in &names {
                monitor.check()?;
                let path = store.toc_path(name);
                let sidecar = match store.read_sidecar(keys, name, &mut bytes) {
                    Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                        continue;
                    }
                    Err(error) => {
                        tell(GcEvent::Kept {
                            brick: *name,
                            reason: format!("its sidecar does not open: {error}"),
                        });
                        Sidecar::Broken
                    }
                    Ok(toc) => Sidecar::Open(Facts {
                        writer: toc.writer(),
                        frames: toc.frames().iter().map(|frame| frame.length).collect(),
                        origins: toc.origins().cloned(),
                    }),
                };
                monitor
                    .stream
                    .fetch_add(bytes.len() as u64, Ordering::Relaxed);
                let brick = all.entry(*name).or_insert(Brick {
                    file: None,
                    sidecar: Sidecar::Missing,
                    is_young: false,
                });
                brick.is_young |= brick.file.is_none() && is_young(&path, young)?;
                brick.sidecar = sidecar;
            }
        }
        let mut bricks = Self {
            stray_marks: Vec::new(),
            marked: HashSet::new(),
            all,
        };
        let unsealed = bricks.read_marks(store, keys)?;
        if !unsealed.is_empty() {
            tell(GcEvent::UnsealedMarks(unsealed));
        }
        Ok(bricks)
    }

    /// Takes note of the marks as they are now; those that are not sealed are returned.
    pub(super) fn read_marks(&mut self, store: &Store, keys: &PutKeys) -> Result<Vec<PathBuf>> {
        let marks = store.layout().marked()?;
        let unsealed = store.unsealed_marks(keys, &marks)?;
        let stray = |name: &&BrickName| !self.all.contains_key(name);
        self.stray_marks = marks.iter().filter(stray).copied().collect();
        self.marked = marks.into_iter().collect();
        Ok(unsealed)
    }

    pub(super) fn is_marked(&self, name: &BrickName) -> bool {
        self.marked.contains(name)
    }
}

/// What may go.
#[derive(Default)]
pub(super) struct Plan {
    /// Bricks of which nothing is needed.
    pub(super) delete: Vec<BrickName>,
    /// Bricks to be rewritten, and the frames of them that are needed.
    pub(super) rewrite: Vec<(BrickName, Class, Frames)>,
    /// How many of a living run or too young were left out.
    pub(super) left_out: u64,
    /// Needed bricks that are nowhere.
    pub(super) missing: Vec<BrickName>,
    /// The root that was written last from here, if it is gone.
    pub(super) set_back: Option<PathBuf>,
}

impl Plan {
    /// Why nothing may be deleted.
    pub(super) fn refusal(&self, store: &Store) -> Option<Error> {
        let refused = |path: PathBuf, message: String| {
            Some(Error::Refused {
                path,
                message,
                exit: Exit::Damaged,
            })
        };
        if !self.missing.is_empty() {
            let message = "needed bricks are missing, and what would take their place is not \
                           known, so nothing is deleted: bring them back (`dtar rebuild` makes \
                           sidecars again), give up the runs that need them with `dtar forget`, \
                           or use --allow-missing";
            return refused(store.path().to_owned(), message.into());
        }
        let root = self.set_back.clone()?;
        let name = root.file_stem().unwrap_or_default().to_string_lossy();
        let message = format!(
            "gone, and it is what the last run from here wrote: newer roots of others may be \
             missing, too, and with them what is needed, so nothing is deleted. Bring the roots \
             back; or, if somebody has given this run up elsewhere, say so here with `dtar forget \
             @{name}`, or use --allow-missing"
        );
        refused(root.clone(), message)
    }

    pub(super) fn make(
        bricks: &Bricks,
        met: Met,
        living: &HashSet<WriterId>,
        options: &GcOptions,
    ) -> Self {
        let mut plan = Self {
            missing: met.missing,
            ..Self::default()
        };
        for (name, brick) in &bricks.all {
            let needed = met.frames.get(name);
            match (&brick.sidecar, needed) {
                (Sidecar::Broken, _) | (Sidecar::Missing, Some(_)) => {}
                // It may hold what is missing: only its sidecar would tell.
                (Sidecar::Missing, None) if !plan.missing.is_empty() => plan.left_out += 1,
                (Sidecar::Missing, None) if brick.is_young => plan.left_out += 1,
                (Sidecar::Missing, None) => plan.delete.push(*name),
                (Sidecar::Open(facts), needed) => {
                    let class = brick.file.map(|(class, _)| class);
                    let rewrite = class.zip(needed).filter(|(_, needed)| {
                        !bricks.marked.contains(name)
                            && !facts.has_unplaced()
                            && facts.is_sparse(needed, options.threshold)
                    });
                    if needed.is_some() && rewrite.is_none() {
                        continue;
                    }
                    if brick.is_young || living.contains(&facts.writer) {
                        plan.left_out += 1;
                    } else if let Some((class, needed)) = rewrite {
                        plan.rewrite.push((*name, class, needed.clone()));
                    } else {
                        plan.delete.push(*name);
                    }
                }
            }
        }
        // Frames of one class go into one brick.
        plan.rewrite
            .sort_by_key(|(name, class, _)| (*class as u8, *name));
        plan
    }
}

impl Plan {
    /// Leaves out of the missing bricks those that are here by now: a run that has ended
    /// since bricks were listed, and before roots were, has brought them.
    pub(super) fn look_again(&mut self, bricks: &Bricks, store: &Store) -> Result<()> {
        let layout = store.layout();
        let mut missing = Vec::new();
        for name in std::mem::take(&mut self.missing) {
            if bricks.all.contains_key(&name) || !layout.sidecar_stands(&name)? {
                missing.push(name);
            }
        }
        self.missing = missing;
        Ok(())
    }
}

impl Facts {
    /// Whether it holds frames of which only the old brick is known. Moved, they would
    /// lose that.
    fn has_unplaced(&self) -> bool {
        let count = self.frames.len();
        let origins = self.origins.as_ref();
        origins.is_some_and(|origins| (0..count).any(|frame| origins.of(frame).next().is_none()))
    }

    /// Whether less than so many per cent of its frames, by bytes, are needed.
    fn is_sparse(&self, needed: &Frames, threshold: u8) -> bool {
        let count = u32::try_from(self.frames.len()).unwrap_or(u32::MAX);
        if needed.iter().any(|frame| frame >= count) {
            // Somebody needs what is not in it. That is for others to look into.
            return false;
        }
        let (mut all, mut used) = (0, 0);
        for (number, &length) in (0..).zip(&self.frames) {
            all += u64::from(length);
            used += u64::from(needed.contains(number)) * u64::from(length);
        }
        u128::from(used) * 100 < u128::from(all) * u128::from(threshold)
    }
}

/// Whether a file was changed after `young`.
fn is_young(path: &std::path::Path, young: Option<SystemTime>) -> Result<bool> {
    let Some(young) = young else {
        return Ok(false);
    };
    match std::fs::metadata(path).and_then(|found| found.modified()) {
        Ok(changed) => Ok(changed > young),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("examine", path)(error)),
    }
}
