//! Which sidecars were made here (`formats/store.md#what-was-made-here`).
//!
//! Whoever has the put secret can seal a TOC in anybody's name, so what a TOC says of
//! its writer proves nothing. What this folder remembers does: the seals of the sidecars
//! that were written from here, 32 bytes each, one after another in a file beside the
//! catalog. It survives the catalog; if it is lost, nothing is but deduplication.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::brick::{SIDECAR_SEAL_LENGTH, SidecarSeal};
use crate::id::StoreId;
use crate::store::is_missing;
use crate::{Error, Result};

/// The seals of the sidecars that were made here. One that is not among them, for
/// whatever reason, is another's.
pub type OwnSeals = HashSet<SidecarSeal>;

/// The file that remembers them.
#[derive(Debug, Clone)]
pub struct OwnSidecars {
    path: PathBuf,
}

impl OwnSidecars {
    /// That of a store, in the folder of catalogs `dir`.
    #[must_use]
    pub fn new(dir: &Path, store: &StoreId) -> Self {
        Self {
            path: dir.join(format!("{store}.own")),
        }
    }

    /// All that is remembered; nothing, if there is no file.
    ///
    /// # Errors
    /// [`Error::Io`] if it is there and cannot be read.
    pub fn read(&self) -> Result<OwnSeals> {
        let bytes = match fs::read(&self.path) {
            Err(error) if is_missing(&error) => Vec::new(),
            read => read.map_err(Error::io("read", &self.path))?,
        };
        Ok(bytes
            .as_chunks()
            .0
            .iter()
            .copied()
            .map(SidecarSeal)
            .collect())
    }

    /// Remembers one. Not durable at once: after a power failure it may be another's.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn add(&self, seal: &SidecarSeal) -> Result<()> {
        self.append(seal).map_err(Error::io("write", &self.path))
    }

    fn append(&self, seal: &SidecarSeal) -> io::Result<()> {
        if let Some(dir) = self.path.parent() {
            fs::create_dir_all(dir)?;
        }
        let mut file = File::options().create(true).append(true).open(&self.path)?;
        // Until the handle is closed; so that what is cut off below is nobody's.
        flock(&file, FlockOperation::LockExclusive)?;
        let length = file.metadata()?.len();
        let torn = length % SIDECAR_SEAL_LENGTH as u64;
        if torn > 0 {
            file.set_len(length - torn)?;
        }
        file.write_all(&seal.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Bed, answers, bricks};
    use super::*;
    use crate::store::testing::{name, toc};

    #[test]
    fn what_is_torn_costs_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let own = OwnSidecars::new(&dir.path().join("later"), &StoreId([1; 16]));
        assert!(own.read().unwrap().is_empty());
        own.add(&SidecarSeal([1; 32])).unwrap();
        own.add(&SidecarSeal([2; 32])).unwrap();
        let bytes = fs::read(&own.path).unwrap();
        fs::write(&own.path, &bytes[..50]).unwrap();
        assert_eq!(own.read().unwrap(), OwnSeals::from([SidecarSeal([1; 32])]));
        own.add(&SidecarSeal([3; 32])).unwrap();
        let expected = [1, 3].map(|byte| SidecarSeal([byte; 32]));
        assert_eq!(own.read().unwrap(), OwnSeals::from(expected));
        let other = OwnSidecars::new(dir.path(), &StoreId([2; 16]));
        assert!(other.read().unwrap().is_empty());
    }

    #[test]
    fn others_are_relied_upon_unless_only_own_are_trusted() {
        let bed = Bed::new();
        bed.sidecar(1, &[&[0, 1]]);
        let (mut catalog, _) = bed.open();
        let length = bed.sidecar(2, &[&[1, 2]]);
        let made = |catalog: &mut crate::store::catalog::Catalog| {
            catalog.insert(&name(2), length, &toc(&[&[1, 2]]), &bed.seal(2))
        };
        made(&mut catalog).unwrap();
        assert_eq!(answers(&mut catalog, 0..4).len(), 3);
        assert_eq!(catalog.trust_own().unwrap(), 1);
        let own = [None, Some(name(2)), Some(name(2)), None];
        assert_eq!(bricks(&mut catalog, 0..4), own);
        drop(catalog);
        let (mut catalog, _) = bed.open();
        assert_eq!(catalog.trust_own().unwrap(), 1);
        assert_eq!(bricks(&mut catalog, 0..4), own);
        // What another process enters meanwhile is another's.
        bed.sidecar(3, &[&[3]]);
        drop(catalog);
        // The catalog may go, what it remembers of itself stays.
        fs::remove_dir_all(bed.data_file().parent().unwrap()).unwrap();
        let (mut catalog, report) = bed.open();
        assert_eq!((report.loaded, catalog.trust_own().unwrap()), (3, 2));
        assert_eq!(bricks(&mut catalog, 0..4), own);
        drop(catalog);
        let (mut catalog, _) = bed.open_anew();
        assert_eq!(catalog.trust_own().unwrap(), 3);
        assert_eq!(bricks(&mut catalog, 0..4), [None; 4]);
        // One that is made from now on is own, without being asked for again.
        let again = bed.sidecar(4, &[&[0]]);
        catalog
            .insert(&name(4), again, &toc(&[&[0]]), &bed.seal(4))
            .unwrap();
        assert_eq!(bricks(&mut catalog, 0..1), [Some(name(4))]);
    }

    /// Somebody with the put secret puts a sidecar of his own in the place of another.
    #[test]
    fn a_replaced_sidecar_takes_its_brick_out() {
        let bed = Bed::new();
        let length = bed.sidecar(1, &[&[0, 1]]);
        let path = bed.store.toc_path(&name(1));
        let (mut catalog, _) = bed.open();
        catalog
            .insert(&name(1), length, &toc(&[&[0, 1]]), &bed.seal(1))
            .unwrap();
        drop(catalog);
        let honest = fs::read(&path).unwrap();
        bed.sidecar(1, &[&[0, 1, 2]]);
        // Known by what it was made from, and that is not what stands.
        assert_eq!(answers(&mut bed.open().0, 0..4).len(), 0);
        // Made anew, it takes what stands; but it is not what was made here.
        let (mut catalog, _) = bed.open_anew();
        assert_eq!(answers(&mut catalog, 0..4).len(), 3);
        drop(catalog);
        fs::write(&path, honest).unwrap();
        assert_eq!(answers(&mut bed.open().0, 0..4).len(), 0);
    }

    /// The forged one is entered first: the maker's index must name what he has written.
    #[test]
    fn a_forged_sidecar_of_a_new_brick_misleads_nobody_who_made_it() {
        let bed = Bed::new();
        bed.sidecar(1, &[&[0, 1, 2]]);
        drop(bed.open());
        let length = bed.sidecar(1, &[&[3]]);
        let (mut catalog, _) = bed.open();
        let brick = catalog
            .insert(&name(1), length, &toc(&[&[3]]), &bed.seal(1))
            .unwrap();
        assert_eq!(catalog.brick(brick).unwrap().length, length);
        assert_eq!(catalog.frame(brick, 0).unwrap().length, 1001);
        assert_eq!(catalog.unentered().unwrap().bricks, 1);
        assert_eq!(answers(&mut catalog, 0..4).len(), 0);
    }
}
