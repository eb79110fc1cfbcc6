//! Where one store's catalog stands, and whether what stands there is one.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::entry::{self, Checker, IDENTITY, Kind};
use super::environment::Environment;
use super::fault::{Fault, Step};
use super::lookup::LiveSet;
use super::schedule::Schedule;
use super::{Aside, Catalog, OwnSidecars};
use crate::store::{Store, atomic};
use crate::{Error, Result};

/// The place of one store's catalog. Opening, deleting and making it is one
/// process's business at a time; using it is not.
pub(super) struct Place {
    pub dir: PathBuf,
    /// It is not deleted with the catalog.
    own: OwnSidecars,
    /// The file on which whoever opens, deletes or makes it holds a `flock`.
    lock: PathBuf,
}

impl Place {
    pub fn new(base: &Path, store: &Store) -> Result<Self> {
        fs::create_dir_all(base).map_err(Error::io("make the folder", base))?;
        Ok(Self {
            dir: base.join(store.id().to_string()),
            own: OwnSidecars::new(base, store.id()),
            lock: base.join(format!("{}.lock", store.id())),
        })
    }

    fn lock(&self) -> Result<File> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&self.lock)
            .map_err(Error::io("open", &self.lock))?;
        flock(&file, FlockOperation::LockExclusive)
            .map_err(|error| Error::io("lock", &self.lock)(error.into()))?;
        Ok(file)
    }

    /// Opens the catalog; makes it anew, and says why, if it is no good.
    pub fn open(&self, store: &Store, first_map: usize) -> Step<(Catalog, Option<String>)> {
        let _lock = self.lock()?;
        let fault = match self.attempt(store, first_map) {
            Ok(catalog) => return Ok((catalog, None)),
            Err(fault) => fault,
        };
        let Some(damage) = fault.damage() else {
            return Err(fault);
        };
        self.discard()?;
        Ok((self.attempt(store, first_map)?, Some(damage)))
    }

    pub fn open_anew(&self, store: &Store, first_map: usize) -> Step<Catalog> {
        let _lock = self.lock()?;
        self.discard()?;
        self.attempt(store, first_map)
    }

    fn attempt(&self, store: &Store, first_map: usize) -> Step<Catalog> {
        if self.dir.exists() && !self.dir.is_dir() {
            return Err(Fault::Corrupt("not a folder"));
        }
        let mut environment = Environment::open(&self.dir, first_map)?;
        let checker = identify(&mut environment, store)?;
        Ok(Catalog {
            environment,
            checker,
            live: LiveSet::new(store.layout().clone()),
            schedule: Schedule::default(),
            aside: Aside::default(),
            own: self.own.clone(),
        })
    }

    /// Deletes the catalog. It is renamed first: processes that have it open
    /// go on with their files, and nobody opens one that is half deleted.
    /// Deletes what stands there, if anything does.
    fn discard(&self) -> Result<()> {
        let random = atomic::random_name(&self.dir)?;
        let doomed = self.dir.with_extension(format!("{random}.deleted"));
        match fs::rename(&self.dir, &doomed) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed.map_err(Error::io("rename", &self.dir))?,
        }
        let removed = match fs::remove_dir_all(&doomed) {
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => fs::remove_file(&doomed),
            result => result,
        };
        removed.map_err(Error::io("delete", &doomed))
    }
}

/// Checks that the catalog is of this version and store, and writes so in a new one.
/// Returns what checks its values.
fn identify(environment: &mut Environment, store: &Store) -> Step<Checker> {
    let base = Checker::of_store(store.id());
    let known = environment.read(|txn, tables| {
        let Some(sealed) = tables.meta.get(txn, IDENTITY)? else {
            return Ok(None);
        };
        base.open(Kind::Meta, IDENTITY, sealed)
            .and_then(|identity| entry::drawn(store.id(), identity))
            .map(Some)
            .ok_or(Fault::Corrupt("of another version or another store"))
    })?;
    if let Some(drawn) = known {
        return Ok(base.of_catalog(drawn));
    }
    let drawn = atomic::random(environment.dir())?;
    let mut identity = entry::identity(store.id(), drawn);
    base.seal(Kind::Meta, IDENTITY, &mut identity);
    environment.write(|txn, tables| {
        if !tables.names.is_empty(txn)? {
            return Err(Fault::Corrupt("without identity"));
        }
        Ok(tables.meta.put(txn, IDENTITY, &identity)?)
    })?;
    Ok(base.of_catalog(drawn))
}
