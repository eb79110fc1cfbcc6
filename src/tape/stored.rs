//! What a store knows of tapes: the catalogs of its sets
//! (`formats/container.md#in-the-store`).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::catalog::{Catalog, Place};
use crate::Result;
use crate::container;
use crate::container::lock::CatalogLock;
use crate::container::unpack::require_same_store;
use crate::error::Error;
use crate::id::{ContainerSetId, TapeId};
use crate::store::atomic;
use crate::store::layout::Layout;

/// The catalogs of the sets of a store, each with its file.
///
/// # Errors
/// [`Error::Io`]; [`Error::Decode`] for a damaged one.
pub fn stored(layout: &Layout) -> Result<Vec<(PathBuf, Catalog)>> {
    let sets = container::sets(layout)?.into_iter();
    sets.map(|stored| {
        let text = fs::read(&stored.path).map_err(Error::io("read", &stored.path))?;
        let (catalog, _) = Catalog::parse(&text, &stored.path)?;
        Ok((stored.path, catalog))
    })
    .collect()
}

/// The catalog of one set of a store, and its file.
///
/// # Errors
/// As [`stored`]. Those of other sets are not read.
pub(super) fn stored_set(
    layout: &Layout,
    set: ContainerSetId,
) -> Result<Option<(PathBuf, Catalog)>> {
    let mut all = container::sets(layout)?.into_iter();
    let Some(stored) = all.find(|stored| stored.set == set) else {
        return Ok(None);
    };
    let text = fs::read(&stored.path).map_err(Error::io("read", &stored.path))?;
    let (catalog, _) = Catalog::parse(&text, &stored.path)?;
    Ok(Some((stored.path, catalog)))
}

/// Enters what is on which tape in the store's catalog of a set, if it has one: of the
/// containers that the catalog knows. Returns how many entries are new.
///
/// # Errors
/// As [`stored`], and those of writing.
pub fn note_places(
    layout: &Layout,
    set: ContainerSetId,
    places: &BTreeSet<Place>,
) -> Result<usize> {
    let _lock = CatalogLock::take(layout)?;
    let Some((path, mut catalog)) = stored_set(layout, set)? else {
        return Ok(0);
    };
    let before = catalog.places.len();
    let known = places
        .iter()
        .filter(|place| catalog.containers.contains_key(&place.container));
    let known: Vec<_> = known.cloned().collect();
    catalog.places.extend(known);
    let new = catalog.places.len() - before;
    if new > 0 {
        write(layout, &path, &catalog)?;
    }
    Ok(new)
}

/// Puts the catalog of a set, as the tapes `read` have it, into the store, with what an
/// older one there knows besides: but of these tapes counts what was found on them. A
/// damaged one there gets the ending `.damaged`. Returns the file.
///
/// # Errors
/// [`Error::OtherStore`]; as [`note_places`].
pub fn put(layout: &Layout, catalog: &Catalog, read: &BTreeSet<TapeId>) -> Result<PathBuf> {
    require_same_store(
        layout,
        catalog.store,
        Path::new("the catalog of these tapes"),
    )?;
    let _lock = CatalogLock::take(layout)?;
    let mut old = None;
    let mut merged = match stored_set(layout, catalog.set) {
        Ok(Some((path, known))) => {
            old = Some(path);
            known
        }
        Ok(None) => Catalog::new(catalog.set, catalog.store),
        Err(Error::Decode { path, .. }) => {
            let aside = path.with_extension("catalog.damaged");
            fs::rename(&path, &aside).map_err(Error::io("rename", &path))?;
            Catalog::new(catalog.set, catalog.store)
        }
        Err(error) => return Err(error),
    };
    merged.places.retain(|place| !read.contains(&place.tape));
    // What was true when a container was entered no tape makes untrue.
    merged.absorb(catalog);
    let last = merged
        .containers
        .last_key_value()
        .map_or(0, |(last, _)| *last);
    let path = layout.container_catalog_path(&merged.set, last);
    write(layout, &path, &merged)?;
    if let Some(old) = old.filter(|old| *old != path) {
        fs::remove_file(&old).map_err(Error::io("remove", &old))?;
    }
    Ok(path)
}

fn write(layout: &Layout, path: &Path, catalog: &Catalog) -> Result<()> {
    let mut text = Vec::new();
    catalog.encode(0, &mut text);
    atomic::write(&layout.temp_dir(), path, &text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::StoreId;
    use crate::tape::catalog::{Container, Sha256Sum, Whole};

    fn catalog(containers: u32) -> Catalog {
        let mut catalog = Catalog::new(ContainerSetId([1; 16]), StoreId([2; 16]));
        for number in 1..=containers {
            let whole = Some(Whole {
                length: 10_240,
                sha256: Sha256Sum([3; 32]),
            });
            let members = None;
            catalog
                .containers
                .insert(number, Container { whole, members });
        }
        catalog
    }

    fn place(container: u32) -> Place {
        Place {
            container,
            tape: TapeId([4; 8]),
            file: container,
            name: "A".parse().unwrap(),
        }
    }

    #[test]
    fn places_are_entered_for_containers_that_the_store_knows() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let places = BTreeSet::from([place(1), place(3)]);
        let set = catalog(0).set;
        assert_eq!(note_places(&layout, set, &places).unwrap(), 0);
        put(&layout, &catalog(2), &BTreeSet::new()).unwrap();
        assert_eq!(note_places(&layout, set, &places).unwrap(), 1);
        assert_eq!(note_places(&layout, set, &places).unwrap(), 0);
        let found = stored(&layout).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].1.places, BTreeSet::from([place(1)]));
        assert_eq!(
            note_places(&layout, ContainerSetId([9; 16]), &places).unwrap(),
            0
        );
    }

    #[test]
    fn a_recovered_catalog_takes_the_place_of_the_older_one() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let mut old = catalog(2);
        old.places.insert(place(2));
        let old_path = put(&layout, &old, &BTreeSet::new()).unwrap();
        let new = put(&layout, &catalog(3), &BTreeSet::new()).unwrap();
        assert!(new != old_path && !old_path.exists());
        let found = stored(&layout).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].1.places, old.places);
        assert_eq!(found[0].1.containers.len(), 3);
        // One that knows less takes nothing away.
        assert_eq!(put(&layout, &catalog(1), &BTreeSet::new()).unwrap(), new);
        assert_eq!(stored(&layout).unwrap(), found);
    }

    #[test]
    fn a_damaged_one_does_not_hinder_and_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let path = put(&layout, &catalog(3), &BTreeSet::new()).unwrap();
        fs::write(&path, b"dtar catalog 1\nrubbish\n").unwrap();
        let new = put(&layout, &catalog(2), &BTreeSet::new()).unwrap();
        assert!(!path.exists() && path.with_extension("catalog.damaged").exists());
        assert_eq!(stored(&layout).unwrap()[0].0, new);
    }

    #[test]
    fn of_a_tape_that_was_read_counts_what_is_on_it() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let mut old = catalog(3);
        old.places.extend([place(1), place(3)]);
        put(&layout, &old, &BTreeSet::new()).unwrap();
        let mut found = catalog(2);
        found.places.insert(place(1));
        put(&layout, &found, &BTreeSet::from([place(1).tape])).unwrap();
        let (_, now) = stored(&layout).unwrap().remove(0);
        assert_eq!(now.places, BTreeSet::from([place(1)]));
    }
}
