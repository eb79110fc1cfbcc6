//! Where the bricks are that a restore needs.

use std::collections::HashMap;
use std::path::PathBuf;

use crate::container::{Shelf, scan_catalog, sets};
use crate::error::Result;
use crate::format::container::OnTape;
use crate::id::{BrickName, ContainerSetId};
use crate::index::{IndexFile, Trailer};
use crate::restore::{Need, Standing, Tocs, find_needed};
use crate::store::away::{self, AwayPlace};
use crate::store::layout::Layout;

/// Where to look.
#[derive(Debug)]
pub struct Places<'a> {
    /// The store, which need not be one.
    pub layout: &'a Layout,
    /// Folders with bricks.
    pub bricks_in: &'a [PathBuf],
    /// Containers that are at hand.
    pub shelf: &'a Shelf,
    /// Catalogs of sets beside those in the store.
    pub catalogs: &'a [PathBuf],
}

/// A brick in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InContainer {
    /// The set.
    pub set: ContainerSetId,
    /// The number of the container.
    pub container: u32,
    /// Where the brick begins in it, in bytes.
    pub offset: u64,
}

/// Where a brick is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// A file with it, or a container that can be read in place.
    pub here: Option<PathBuf>,
    /// Whether the store has its sidecar, or it is here: if not, and nothing else is known
    /// of it, it was lost, or gc deleted it and nobody could tell what took its place.
    pub stands: bool,
    /// Containers that hold it.
    pub containers: Vec<InContainer>,
    /// Object stores to which it was pushed: places in [`Plan::buckets`].
    pub buckets: Vec<usize>,
}

impl Place {
    /// Whether nothing is known of it.
    #[must_use]
    pub const fn is_nowhere(&self) -> bool {
        self.here.is_none() && self.containers.is_empty() && self.buckets.is_empty()
    }

    fn standing(&self) -> Standing {
        if self.here.is_some() {
            Standing::Here
        } else if !self.is_nowhere() {
            Standing::Away
        } else if self.stands {
            Standing::Somewhere
        } else {
            Standing::Nowhere
        }
    }
}

/// A brick that is needed, and where it is.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The brick, and how much of it.
    pub need: Need,
    /// Where it is.
    pub place: Place,
}

/// What a restore needs, in the order of first use, and where that is.
#[derive(Debug, Default)]
pub struct Plan {
    /// The bricks.
    pub bricks: Vec<Planned>,
    /// Object stores to which some were pushed.
    pub buckets: Vec<AwayPlace>,
    /// Which containers are on which tapes, by set.
    pub tapes: HashMap<ContainerSetId, Vec<OnTape>>,
    /// The file that says this, by set.
    pub catalogs: HashMap<ContainerSetId, PathBuf>,
    /// Catalogs and lists that were left out, and why.
    pub warnings: Vec<String>,
}

impl Places<'_> {
    /// Plans a restore of the members that match `patterns`, as
    /// [`find_needed`](crate::restore::find_needed) says what it needs.
    ///
    /// # Errors
    /// A broken index; [`crate::Error::Io`] if a folder cannot be listed; a catalog among
    /// [`Places::catalogs`] that cannot be read. A damaged one in the store is left out.
    pub fn plan(
        &self,
        index: &IndexFile,
        trailer: &Trailer,
        patterns: &[String],
        tocs: Option<&Tocs>,
    ) -> Result<Plan> {
        let mut first = None;
        let needs = find_needed(index, trailer, patterns, tocs, &mut |names| {
            let plan = self.find(names.iter().copied().map(Need::of).collect())?;
            let bricks = plan.bricks.iter();
            let standings = bricks.map(|planned| planned.place.standing()).collect();
            first.get_or_insert(plan);
            Ok(standings)
        })?;
        match first {
            // The same bricks: their places are known.
            Some(mut plan) if needs.moved.is_empty() => {
                for (planned, need) in plan.bricks.iter_mut().zip(needs.bricks) {
                    planned.need = need;
                }
                Ok(plan)
            }
            _ => self.find(needs.bricks),
        }
    }

    /// Finds these bricks.
    fn find(&self, needs: Vec<Need>) -> Result<Plan> {
        let mut plan = Plan::default();
        let numbers: HashMap<BrickName, usize> =
            needs.iter().map(|need| need.brick).zip(0..).collect();
        for need in needs {
            let here = self.here(&need.brick);
            let place = Place {
                stands: here.is_some() || self.layout.sidecar_stands(&need.brick)?,
                here,
                ..Place::default()
            };
            plan.bricks.push(Planned { need, place });
        }
        for stored in sets(self.layout)? {
            if let Err(error) = catalog(&mut plan, &numbers, &stored.path) {
                plan.warnings
                    .push(format!("{error}; this catalog is left out"));
            }
        }
        for path in self.catalogs {
            catalog(&mut plan, &numbers, path)?;
        }
        self.pushed(&mut plan, &numbers)?;
        Ok(plan)
    }

    /// A file with this brick.
    fn here(&self, name: &BrickName) -> Option<PathBuf> {
        let file = self.layout.find_brick(name, self.bricks_in).ok();
        file.map(|(path, _)| path).or_else(|| {
            let mut copies = self.shelf.copies(name).flatten();
            copies.next().map(|(path, _)| path)
        })
    }

    fn pushed(&self, plan: &mut Plan, numbers: &HashMap<BrickName, usize>) -> Result<()> {
        let Plan {
            bricks,
            buckets,
            warnings,
            ..
        } = plan;
        away::each(
            self.layout,
            &mut |warning| warnings.push(warning),
            &mut |place, name, _| {
                let Some(planned) = numbers.get(&name).and_then(|&at| bricks.get_mut(at)) else {
                    return Ok(());
                };
                let known = buckets.iter().position(|bucket| bucket == place);
                let bucket = known.unwrap_or_else(|| {
                    buckets.push(place.clone());
                    buckets.len() - 1
                });
                if !planned.place.buckets.contains(&bucket) {
                    planned.place.buckets.push(bucket);
                }
                Ok(())
            },
        )
    }
}

/// Adds what the catalog of a set says.
fn catalog(
    plan: &mut Plan,
    numbers: &HashMap<BrickName, usize>,
    path: &std::path::Path,
) -> Result<()> {
    let mut found = Vec::new();
    let scanned = scan_catalog(path, &mut |container, offset, _, name| {
        let number = name.as_brick().and_then(|name| numbers.get(name));
        found.extend(number.map(|&at| (at, container, offset)));
        Ok(())
    })?;
    let set = scanned.head.set;
    for (at, container, offset) in found {
        let place = InContainer {
            set,
            container,
            offset,
        };
        if let Some(planned) = plan.bricks.get_mut(at)
            && !planned.place.containers.contains(&place)
        {
            planned.place.containers.push(place);
        }
    }
    plan.catalogs.insert(set, path.to_owned());
    let tapes = plan.tapes.entry(set).or_default();
    for on in scanned.head.tapes {
        if !tapes.contains(&on) {
            tapes.push(on);
        }
    }
    Ok(())
}
