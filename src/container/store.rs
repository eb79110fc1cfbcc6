//! The catalogs of sets that a store keeps (`formats/container.md#in-the-store`).

use std::collections::BTreeMap;
use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::catalog::{Head, Scanned, Writing, scan};
use super::gather::InSet;
use super::told::PackOptions;
use super::write::lines_before;
use crate::error::{Error, Result};
use crate::format::container::MemberName;
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
    /// Of its catalog: file, and where the lines of members begin and end.
    pub(crate) file: Option<(PathBuf, u64, u64)>,
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
                Error::io("draw a random id for a set in", &options.to)(std::io::Error::other(
                    error,
                ))
            })?;
            return Ok(OpenSet {
                head: Head::new(ContainerSetId(id), *store.id()),
                file: None,
            });
        };
        let scanned = scan_file(&stored.path, &mut |_, _, _, name| {
            in_set.add(&name);
            Ok(())
        })?;
        if scanned.head.store != *store.id() {
            return Err(Error::OtherStore {
                path: stored.path,
                expected: *store.id(),
                found: scanned.head.store,
            });
        }
        Ok(OpenSet {
            head: scanned.head,
            file: Some((stored.path, scanned.body, scanned.end)),
        })
    }

    /// The length of the lines of members so far, in bytes.
    pub(crate) fn lines_length(&self) -> u64 {
        self.file.as_ref().map_or(0, |(_, body, end)| end - body)
    }

    /// The lines of members so far, and what to call them in errors.
    pub(crate) fn lines(&self) -> Result<(Box<dyn std::io::BufRead>, PathBuf)> {
        Ok(match &self.file {
            Some((path, body, end)) => (
                Box::new(lines_before(path, *body, *end)?) as Box<dyn std::io::BufRead>,
                path.clone(),
            ),
            None => (Box::new(std::io::empty()), PathBuf::new()),
        })
    }

    /// Publishes the catalog with `new` lines of members, in place of the one before.
    pub(crate) fn enter(
        &mut self,
        layout: &Layout,
        lease: &Lease,
        head: Head,
        new: &str,
    ) -> Result<()> {
        let path = layout.container_catalog_path(&head.set, head.last());
        let mut temp = lease.temp_file()?;
        let (mut before, before_path) = self.lines()?;
        // What was written says where its lines are; it need not be read for that.
        let body = head.lines().len() as u64;
        let end = body + self.lines_length() + new.len() as u64;
        let writing = Writing {
            head: &head,
            before: (before.as_mut(), self.lines_length()),
            new,
            header: 0,
        };
        let mut out = std::io::BufWriter::with_capacity(1 << 20, &mut temp);
        writing
            .write(&mut out, &before_path)
            .and_then(|written| std::io::Write::flush(&mut out).map(|()| written))
            .map_err(Error::io("write", &path))??;
        drop(out);
        lease.publish(temp, &path)?;
        let old = self
            .file
            .take()
            .map(|(old, ..)| old)
            .filter(|old| *old != path);
        if let Some(old) = old {
            remove(&old)?;
        }
        self.file = Some((path, body, end));
        self.head = head;
        Ok(())
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
