//! The catalogs of sets that a store keeps (`formats/container.md#in-the-store`).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::catalog::{Head, Scanned, Writing, scan};
use super::gather::InSet;
use super::lock::CatalogLock;
use super::told::PackOptions;
use crate::error::{Error, Exit, Result};
use crate::format::container::{MemberName, Sum};
use crate::id::ContainerSetId;
use crate::store::Store;
use crate::store::layout::Layout;
use crate::store::runs::Lease;
use crate::store::{atomic, guard, is_missing};

/// The catalog of a set in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSet {
    /// The set.
    pub set: ContainerSetId,
    /// The number of its last container.
    pub number: u32,
    /// The file.
    pub path: PathBuf,
}

/// The sets of a store, in the order of their ids, each with its last catalog.
///
/// # Errors
/// [`Error::Io`].
pub fn sets(layout: &Layout) -> Result<Vec<StoredSet>> {
    let mut last: BTreeMap<ContainerSetId, (u32, PathBuf)> = BTreeMap::new();
    for (set, number, path) in layout.container_catalogs()? {
        let entry = last.entry(set).or_default();
        if number >= entry.0 {
            *entry = (number, path);
        }
    }
    Ok(last
        .into_iter()
        .map(|(set, (number, path))| StoredSet { set, number, path })
        .collect())
}

/// Reads a catalog file through, and calls `each` with container, offset, length and name
/// of each member. What it was told counts only if this succeeds.
///
/// # Errors
/// [`Error::Io`]; [`Error::Decode`]; those of `each`.
pub fn scan_file(
    path: &Path,
    each: &mut dyn FnMut(u32, u64, u64, MemberName) -> Result<()>,
) -> Result<Scanned> {
    let file = guard::open_file(path).map_err(Error::io("open", path))?;
    scan(&mut BufReader::with_capacity(64 << 10, file), path, 0, each)
}

/// A set that is being added to: its catalog as the store has it.
pub(crate) struct OpenSet {
    pub(crate) head: Head,
    stored: Option<OpenCatalog>,
}

/// A catalog of a store. It is read through one handle: who puts containers on tapes
/// replaces the file meanwhile, with other lines before those of the members.
struct OpenCatalog {
    path: PathBuf,
    file: File,
    /// Where the lines of members begin and end.
    body: u64,
    end: u64,
}

impl OpenCatalog {
    /// Opens one, unless it is the file that is open already.
    fn open(
        path: &Path,
        known: Option<&Self>,
        each: &mut dyn FnMut(u32, u64, u64, MemberName) -> Result<()>,
    ) -> Result<Option<(Self, Head)>> {
        let file = guard::open_file(path).map_err(Error::io("open", path))?;
        if let Some(known) = known
            && known.path == path
            && id(&known.file, path)? == id(&file, path)?
        {
            return Ok(None);
        }
        let mut input = BufReader::with_capacity(64 << 10, &file);
        let scanned = scan(&mut input, path, 0, each)?;
        let opened = Self {
            path: path.to_owned(),
            body: scanned.body,
            end: scanned.end,
            file,
        };
        Ok(Some((opened, scanned.head)))
    }
}

/// What tells a file from the one that took its name.
fn id(file: &File, path: &Path) -> Result<(u64, u64)> {
    let found = file.metadata().map_err(Error::io("look at", path))?;
    Ok((found.dev(), found.ino()))
}

/// Bytes of a file, read wherever others read it.
struct Part<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let length = bytes.len().min(left);
        let read = self.file.read_at(&mut bytes[..length], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl OpenSet {
    /// The set to add to, and what it has.
    pub(crate) fn find(store: &Store, options: &PackOptions, in_set: &mut InSet) -> Result<Self> {
        let found = if options.new_set {
            None
        } else {
            choose(sets(store.layout())?, options.set.as_deref())?
        };
        let Some(stored) = found else {
            let mut id = [0; ContainerSetId::SIZE];
            getrandom::fill(&mut id).map_err(|error| {
                Error::io("draw a random id for a set in", &options.to)(io::Error::other(error))
            })?;
            return Ok(OpenSet {
                head: Head::new(ContainerSetId(id), *store.id()),
                stored: None,
            });
        };
        let opened = OpenCatalog::open(&stored.path, None, &mut |_, _, _, name| {
            in_set.add(&name);
            Ok(())
        })?;
        let (catalog, head) =
            opened.ok_or_else(|| Error::Internal("a catalog that was not read".into()))?;
        if head.store != *store.id() {
            return Err(Error::OtherStore {
                path: stored.path,
                expected: *store.id(),
                found: head.store,
            });
        }
        Ok(OpenSet {
            head,
            stored: Some(catalog),
        })
    }

    /// Learns what was entered in the store since: which containers are on tapes.
    ///
    /// # Errors
    /// [`Error::Refused`] if another run has entered a container; `to` is the folder of this
    /// one.
    pub(crate) fn refresh(&mut self, layout: &Layout, to: &Path) -> Result<()> {
        let mut all = sets(layout)?.into_iter();
        let found = all.find(|stored| stored.set == self.head.set);
        let number = found.as_ref().map_or(0, |stored| stored.number);
        if number != self.head.last() {
            return Err(Error::Refused {
                path: to.to_owned(),
                message: format!(
                    "another `dtar pack` has entered container {number} of this set meanwhile, and \
                     this one knew {}; what this one has finished counts. Wait until the other has \
                     ended, and run it again",
                    self.head.last()
                ),
                exit: Exit::Failed,
            });
        }
        let Some(stored) = found else { return Ok(()) };
        let known = self.stored.as_ref();
        let opened = OpenCatalog::open(&stored.path, known, &mut |_, _, _, _| Ok(()))?;
        if let Some((catalog, head)) = opened {
            self.head = head;
            self.stored = Some(catalog);
        }
        Ok(())
    }

    /// The length of the lines of members so far, in bytes.
    pub(crate) fn lines_length(&self) -> u64 {
        self.stored
            .as_ref()
            .map_or(0, |catalog| catalog.end - catalog.body)
    }

    /// The lines of members so far, and what to call them in errors.
    pub(crate) fn lines(&self) -> (Box<dyn BufRead + '_>, PathBuf) {
        match &self.stored {
            Some(catalog) => {
                let part = Part {
                    file: &catalog.file,
                    at: catalog.body,
                    end: catalog.end,
                };
                let lines = BufReader::with_capacity(64 << 10, part);
                (Box::new(lines), catalog.path.clone())
            }
            None => (Box::new(io::empty()), PathBuf::new()),
        }
    }

    /// Enters the next container: publishes the catalog with its sum and `new` lines of
    /// members, in place of the one before. The caller has refreshed the set since it holds
    /// `_lock`.
    pub(crate) fn enter(
        &mut self,
        layout: &Layout,
        lease: &Lease,
        (sum, new): (Sum, &str),
        _lock: &CatalogLock,
    ) -> Result<()> {
        let mut head = self.head.clone();
        head.containers.push(Some(sum));
        let path = layout.container_catalog_path(&head.set, head.last());
        let mut temp = lease.temp_file()?;
        {
            let (mut before, before_path) = self.lines();
            let writing = Writing {
                head: &head,
                before: (before.as_mut(), self.lines_length()),
                new,
                header: 0,
            };
            let mut out = BufWriter::with_capacity(1 << 20, &mut temp);
            writing
                .write(&mut out, &before_path)
                .and_then(|written| out.flush().map(|()| written))
                .map_err(Error::io("write", &path))??;
        }
        // What was written says where its lines are; it need not be read for that.
        let body = head.lines().len() as u64;
        let end = body + self.lines_length() + new.len() as u64;
        lease.publish(temp, &path)?;
        let file = guard::open_file(&path).map_err(Error::io("open", &path))?;
        let old = self.stored.replace(OpenCatalog {
            path: path.clone(),
            file,
            body,
            end,
        });
        self.head = head;
        match old.filter(|old| old.path != path) {
            Some(old) => remove(&old.path),
            None => Ok(()),
        }
    }
}

/// The one set that is meant; nothing: there is none yet.
fn choose(mut sets: Vec<StoredSet>, prefix: Option<&str>) -> Result<Option<StoredSet>> {
    if let Some(prefix) = prefix {
        sets.retain(|stored| stored.set.to_string().starts_with(prefix));
        if sets.is_empty() {
            return Err(Error::Usage(format!(
                "--set {prefix}: no set begins so; `dtar store` lists them"
            )));
        }
    }
    if sets.len() > 1 {
        let ids: Vec<_> = sets.iter().map(|stored| stored.set.to_string()).collect();
        return Err(Error::Usage(format!(
            "there are several sets: choose one with --set ({})",
            ids.join(", ")
        )));
    }
    Ok(sets.pop())
}

/// Removes a catalog that another has replaced.
fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if is_missing(&error) => Ok(()),
        Err(error) => Err(Error::io("remove", path)(error)),
        Ok(()) => path.parent().map_or(Ok(()), atomic::sync_dir),
    }
}
