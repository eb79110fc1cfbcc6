//! The bricks to look at: all that stand anywhere, and all that have a sidecar.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::id::{BrickName, Class};
use crate::store::inventory::bricks_below;
use crate::store::layout::Layout;

/// One brick, by name.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) name: BrickName,
    /// Lengths of the copies in the store's own folders, by class.
    own: [Option<u64>; 2],
    /// Copies elsewhere, and their lengths.
    elsewhere: Vec<(PathBuf, u64)>,
}

/// A brick's file.
#[derive(Debug, Clone)]
pub(super) struct Copy {
    pub(super) path: PathBuf,
    /// The class of the store's folder that it stands in; none if it is elsewhere.
    pub(super) folder: Option<Class>,
}

const CLASSES: [Class; 2] = [Class::Data, Class::Metadata];

impl Job {
    pub(super) fn new(name: BrickName) -> Self {
        Self {
            name,
            own: [None; 2],
            elsewhere: Vec::new(),
        }
    }

    /// One brick of the store, wherever it stands.
    pub(super) fn find(layout: &Layout, name: BrickName) -> Self {
        let mut job = Self::new(name);
        for (class, own) in CLASSES.into_iter().zip(&mut job.own) {
            let found = std::fs::metadata(layout.brick_path(&name, class));
            *own = found.ok().map(|found| found.len());
        }
        job
    }

    /// Its files, the store's own first.
    pub(super) fn copies(&self, layout: &Layout) -> Vec<Copy> {
        let own = CLASSES.into_iter().zip(self.own);
        let own = own.filter_map(|(class, length)| {
            length.map(|_| Copy {
                path: layout.brick_path(&self.name, class),
                folder: Some(class),
            })
        });
        let elsewhere = self.elsewhere.iter().map(|(path, _)| Copy {
            path: path.clone(),
            folder: None,
        });
        own.chain(elsewhere).collect()
    }

    /// Bytes of all its files.
    pub(super) fn bytes(&self) -> u64 {
        let own = self.own.iter().flatten();
        own.chain(self.elsewhere.iter().map(|(_, length)| length))
            .sum()
    }

    /// Whether a file of it stands in the store itself.
    pub(super) fn is_own(&self) -> bool {
        self.own.iter().any(Option::is_some)
    }

    /// Whether there is a file of it.
    pub(super) fn is_here(&self) -> bool {
        self.is_own() || !self.elsewhere.is_empty()
    }
}

/// All bricks, ascending by name. Takes some 100 bytes for each.
pub(super) fn gather(layout: &Layout, bricks_in: &[PathBuf]) -> Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for (place, class) in CLASSES.into_iter().enumerate() {
        layout.each_brick(class, |name, length| {
            let mut job = Job::new(name);
            job.own[place] = Some(length);
            jobs.push(job);
            Ok(())
        })?;
    }
    for dir in bricks_in {
        if !dir.is_dir() {
            return Err(Error::Usage(format!(
                "--bricks {}: no folder",
                dir.display()
            )));
        }
        bricks_below(dir, &mut |name, path| {
            let mut job = Job::new(name);
            let length = std::fs::metadata(&path).map_or(0, |found| found.len());
            job.elsewhere.push((path, length));
            jobs.push(job);
        })?;
    }
    let mut names = Vec::new();
    for shard in 0..=u8::MAX {
        names.clear();
        layout.sidecar_names(shard, &mut names)?;
        jobs.extend(names.iter().copied().map(Job::new));
    }
    Ok(merge(jobs))
}

/// Joins what is known of each brick.
fn merge(mut jobs: Vec<Job>) -> Vec<Job> {
    jobs.sort_by_key(|job| job.name);
    let mut merged: Vec<Job> = Vec::with_capacity(jobs.len());
    for job in jobs {
        match merged.last_mut() {
            Some(last) if last.name == job.name => {
                for (own, more) in last.own.iter_mut().zip(job.own) {
                    *own = own.or(more);
                }
                for copy in job.elsewhere {
                    // A folder may be named twice, or be the store.
                    if !last.elsewhere.contains(&copy) {
                        last.elsewhere.push(copy);
                    }
                }
            }
            _ => merged.push(job),
        }
    }
    merged
}
