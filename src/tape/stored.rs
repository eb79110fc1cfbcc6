//! What a store knows of tapes: the catalogs of its sets
//! (`formats/container.md#in-the-store`).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::catalog::{Catalog, Place};
use crate::Result;
use crate::container;
use crate::error::Error;
use crate::id::ContainerSetId;
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
    let mut found = stored(layout)?.into_iter();
    let Some((path, mut catalog)) = found.find(|(_, catalog)| catalog.set == set) else {
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

/// Puts the catalog of a set into the store, with what an older one there knows besides.
/// Returns the file.
///
/// # Errors
/// As [`note_places`].
pub fn put(layout: &Layout, catalog: &Catalog) -> Result<PathBuf> {
    let mut catalog = catalog.clone();
    let old = stored(layout)?
        .into_iter()
        .find(|(_, old)| old.set == catalog.set);
    if let Some((_, old)) = &old {
        catalog.absorb(old);
    }
    let last = catalog
        .containers
        .last_key_value()
        .map_or(0, |(last, _)| *last);
    let path = layout.container_catalog_path(&catalog.set, last);
    write(layout, &path, &catalog)?;
    if let Some((old, _)) = old.filter(|(old, _)| *old != path) {
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
    use crate::id::{StoreId, TapeId};
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
        put(&layout, &catalog(2)).unwrap();
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
        let old_path = put(&layout, &old).unwrap();
        let new = put(&layout, &catalog(3)).unwrap();
        assert!(new != old_path && !old_path.exists());
        let found = stored(&layout).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].1.places, old.places);
        assert_eq!(found[0].1.containers.len(), 3);
        // One that knows less takes nothing away.
        assert_eq!(put(&layout, &catalog(1)).unwrap(), new);
        assert_eq!(stored(&layout).unwrap(), found);
    }
}
