//! The catalog of a set from its tapes alone (`formats/tape.md#without-anything-but-tapes`).

use std::collections::{BTreeMap, BTreeSet};

use super::catalog::{Catalog, Place, Whole};
use super::change::{Changer, Obtained, Wanted, obtain};
use super::drive::Drive;
use super::survey::{self, Entry, Kind, Labelled};
use super::verify;
use crate::archive::Monitor;
use crate::format::container::Label as ContainerLabel;
use crate::format::tape::{Label, Owner, SetPrefix, TapeName};
use crate::id::{StoreId, TapeId};
use crate::{Error, Result};

/// What happens while tapes are read.
#[derive(Debug)]
pub enum RecoverEvent<'a> {
    /// A tape is being read.
    Tape(&'a Label),
    /// A catalog is damaged: the number of its tape file, and why.
    DamagedCatalog(u32, String),
    /// A container is read from front to back, since no catalog of its tape knows it.
    Reading(u32),
    /// A tape file is left out: its number, and why.
    LeftOut(u32, String),
    /// The tape of this name cannot be read to its end, and counts as not read.
    Failed(&'a TapeName, &'a Error),
}

/// What tapes said of a set.
#[derive(Debug)]
pub struct RecoverSummary {
    /// The catalog.
    pub catalog: Catalog,
    /// The tapes that were read.
    pub read: Vec<TapeName>,
    /// Their ids.
    pub tapes: BTreeSet<TapeId>,
    /// Tapes that the catalogs name and that were not read.
    pub missing: Vec<TapeName>,
    /// Containers that are on none of the tapes that were read, and the tapes that should
    /// have them.
    pub elsewhere: BTreeMap<u32, Vec<TapeName>>,
}

/// What is known so far.
#[derive(Default)]
struct Known {
    /// The only store whose tapes are wanted.
    store: Option<StoreId>,
    owner: Option<Owner>,
    /// What the catalogs say that were read, and how many containers that one knows which
    /// knows the most: what it says counts where others say something else.
    merged: Option<(usize, Catalog)>,
    tapes: BTreeMap<TapeId, TapeName>,
    /// Tapes that failed.
    failed: BTreeMap<TapeId, TapeName>,
    /// What was found on the tapes that were read.
    places: BTreeSet<Place>,
    wholes: BTreeMap<u32, Whole>,
}

/// Reads tape after tape until there are no more; of the set `only`, or of that of the
/// first one; of the store `store`, if the catalog is to be entered in it.
///
/// # Errors
/// If no tape says anything of the set; those of the drive and of the changer.
pub fn recover(
    drive: &mut dyn Drive,
    changer: &mut dyn Changer,
    only: Option<SetPrefix>,
    store: Option<StoreId>,
    monitor: &Monitor,
    report: &mut dyn FnMut(RecoverEvent<'_>),
) -> Result<RecoverSummary> {
    let mut known = Known {
        store,
        ..Known::default()
    };
    let mut first = true;
    loop {
        monitor.check()?;
        let wanted = Wanted::Another(known.missing());
        let obtained = obtain(drive, changer, &wanted, first, |drive, found| {
            known.accept(drive, found, only)
        });
        let (label, owner) = match obtained {
            Ok(Obtained::Tape(accepted)) => accepted,
            // What was learnt from other tapes is not thrown away.
            Ok(Obtained::NoMore(_)) => break,
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(_) if !known.tapes.is_empty() => break,
            Err(error) => return Err(error),
        };
        first = false;
        known.owner = Some(owner);
        report(RecoverEvent::Tape(&label));
        match known.read_tape(drive, &label, monitor, report) {
            Ok(()) => {
                known.tapes.insert(label.id, label.name.clone());
            }
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            // One bad tape must not cost what the others say.
            Err(error) => {
                report(RecoverEvent::Failed(&label.name, &error));
                known.failed.insert(label.id, label.name.clone());
            }
        }
        if let Err(error) = drive.unload() {
            report(RecoverEvent::Failed(&label.name, &error));
        }
    }
    known.finish(drive)
}

impl Known {
    /// Takes in what a catalog says, if it is of this set.
    fn learn(&mut self, mut catalog: Catalog) {
        if self.owner.map(|owner| (owner.set, owner.store)) != Some((catalog.set, catalog.store)) {
            return;
        }
        let known = catalog.known();
        match &mut self.merged {
            Some((most, merged)) if *most >= known => merged.absorb(&catalog),
            merged => {
                if let Some((_, before)) = merged.take() {
                    catalog.absorb(&before);
                }
                *merged = Some((known, catalog));
            }
        }
    }

    /// Tapes that catalogs name and that were not read.
    fn missing(&self) -> Vec<TapeName> {
        let merged = self.merged.iter();
        let places = merged.flat_map(|(_, catalog)| &catalog.places);
        let unread = places
            .filter(|place| !self.tapes.contains_key(&place.tape))
            .map(|place| (place.tape, place.name.clone()));
        let mut names: BTreeMap<_, _> = unread.collect();
        names.extend(self.failed.clone());
        names.into_values().collect()
    }

    fn accept(
        &self,
        drive: &mut dyn Drive,
        found: Labelled,
        only: Option<SetPrefix>,
    ) -> Result<(Label, Owner)> {
        let label = match found {
            Labelled::Yes(label) => label,
            Labelled::Blank => return Err(survey::refused(drive, "this tape is blank")),
            Labelled::No(why) => {
                // One damaged block must not cost a whole tape.
                return self
                    .guess_label(drive)
                    .ok_or_else(|| survey::refused(drive, format!("not a tape of dtar: {why}")));
            }
        };
        let name = &label.name;
        let Some(owner) = label.owner else {
            return Err(survey::refused(
                drive,
                format!("{name} belongs to no set yet"),
            ));
        };
        if let Some(expected) = self.store.filter(|expected| *expected != owner.store) {
            return Err(survey::refused(
                drive,
                format!(
                    "{name} belongs to store {}, not to store {expected}, in which the catalog is \
                     to be entered: name a file for it with --to FILE",
                    owner.store
                ),
            ));
        }
        let right = match (self.owner, only) {
            (Some(known), _) => known == owner,
            (None, only) => only.is_none_or(|only| only == SetPrefix::from(owner.set)),
        };
        if !right {
            let set = SetPrefix::from(owner.set);
            return Err(survey::refused(
                drive,
                format!("{name} is a tape of the set {set}"),
            ));
        }
        if self.tapes.contains_key(&label.id) {
            return Err(survey::refused(drive, format!("{name} was read already")));
        }
        if self.failed.contains_key(&label.id) {
            return Err(survey::refused(drive, format!("{name} could not be read")));
        }
        Ok((label, owner))
    }

    /// The label of a tape whose own is damaged, from what catalogs say and from its
    /// containers.
    fn guess_label(&self, drive: &mut dyn Drive) -> Option<(Label, Owner)> {
        let entries = survey::entries(drive).ok()?;
        let containers: Vec<_> = containers(&entries).collect();
        let (_, first) = containers.first()?;
        let owner = Owner {
            set: first.set,
            store: first.store,
        };
        let is_other = self.owner.is_some_and(|known| known != owner)
            || self.store.is_some_and(|store| store != owner.store);
        if is_other {
            return None;
        }
        // The newest catalog on it names it in the places of the containers that are on it.
        let catalog = survey::last_catalog(drive, &entries, &mut |_, _| {}).ok()??;
        let place = catalog.places.iter().find(|place| {
            let same = |(number, label): &(u32, ContainerLabel)| {
                (*number, label.number) == (place.file, place.container)
            };
            containers.iter().any(same) && !self.tapes.contains_key(&place.tape)
        })?;
        let label = Label {
            id: place.tape,
            name: place.name.clone(),
            owner: Some(owner),
            block: drive.block(),
            time: 0,
        };
        Some((label, owner))
    }

    fn read_tape(
        &mut self,
        drive: &mut dyn Drive,
        label: &Label,
        monitor: &Monitor,
        report: &mut dyn FnMut(RecoverEvent<'_>),
    ) -> Result<()> {
        let entries = survey::entries(drive)?;
        let mut newest: Option<(u32, Catalog)> = None;
        for entry in entries
            .iter()
            .rev()
            .filter(|entry| entry.kind == Kind::Catalog)
        {
            match survey::catalog(drive, entry.number)? {
                Ok(catalog) => {
                    newest = Some((entry.number, catalog));
                    break;
                }
                Err(why) => report(RecoverEvent::DamagedCatalog(entry.number, why)),
            }
        }
        for (file, container) in containers(&entries) {
            let place = Place {
                container: container.number,
                tape: label.id,
                file,
                name: label.name.clone(),
            };
            let listed = newest
                .as_ref()
                .map(|(number, catalog)| (catalog.places.contains(&place), *number > file));
            match listed {
                Some((true, _)) => {
                    self.places.insert(place);
                }
                Some((false, true)) => report(RecoverEvent::LeftOut(
                    file,
                    "begun by a run that was cut off; the catalog behind it does not count it"
                        .into(),
                )),
                _ => {
                    report(RecoverEvent::Reading(container.number));
                    match verify::read_own_catalog(drive, file, monitor)? {
                        Ok((whole, catalog)) => {
                            self.wholes.insert(container.number, whole);
                            if let Some(catalog) = catalog {
                                self.learn(catalog);
                            }
                            self.places.insert(place);
                        }
                        Err(why) => report(RecoverEvent::LeftOut(file, why)),
                    }
                }
            }
        }
        for entry in entries
            .iter()
            .filter(|entry| matches!(entry.kind, Kind::Unreadable | Kind::Other))
        {
            let why = "its beginning cannot be read".into();
            report(RecoverEvent::LeftOut(entry.number, why));
        }
        if let Some((_, catalog)) = newest {
            self.learn(catalog);
        }
        Ok(())
    }

    fn finish(self, drive: &dyn Drive) -> Result<RecoverSummary> {
        let missing = self.missing();
        let Some(owner) = self.owner else {
            return Err(survey::refused(drive, "no tape of a set was read"));
        };
        let merged = self.merged.map(|(_, catalog)| catalog);
        let mut catalog = merged.unwrap_or_else(|| Catalog::new(owner.set, owner.store));
        // Of tapes that were read, what they hold counts, and not what anybody says of them.
        catalog
            .places
            .retain(|place| !self.tapes.contains_key(&place.tape));
        for place in &self.places {
            catalog.containers.entry(place.container).or_default();
        }
        for (number, whole) in self.wholes {
            let container = catalog.containers.entry(number).or_default();
            container.whole = container.whole.or(Some(whole));
        }
        catalog.places.extend(self.places);
        // Containers are numbered from 1 without gaps.
        let last = catalog
            .containers
            .last_key_value()
            .map_or(0, |(last, _)| *last);
        let elsewhere = (1..=last)
            .filter(|number| {
                let mut places = catalog.places_of(*number);
                !places.any(|place| self.tapes.contains_key(&place.tape))
            })
            .map(|number| {
                let names = catalog.places_of(number).map(|place| place.name.clone());
                (number, names.collect())
            })
            .collect();
        Ok(RecoverSummary {
            catalog,
            tapes: self.tapes.keys().copied().collect(),
            read: self.tapes.into_values().collect(),
            missing,
            elsewhere,
        })
    }
}

fn containers(entries: &[Entry]) -> impl Iterator<Item = (u32, ContainerLabel)> {
    entries.iter().filter_map(|entry| match entry.kind {
        Kind::Container(ref label) => Some((entry.number, label.clone())),
        _ => None,
    })
}
