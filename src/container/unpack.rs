//! Taking the parts of a store out of containers.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::header::{BLOCK, padded};
use super::read::Walk;
use crate::archive::Monitor;
use crate::error::{Error, Exit, Result};
use crate::format::container::{CATALOG, LABEL, MemberName};
use crate::id::{BrickName, StoreId};
use crate::store::Store;
use crate::store::atomic::TempFile;
use crate::store::config::StoreConfig;
use crate::store::guard::refuse_links_to;
use crate::store::layout::Layout;
use crate::store::runs::Lease;

/// The longest `store.toml`.
const MAX_CONFIG: u64 = 1 << 20;

/// What to take out, and where to.
#[derive(Debug, Clone)]
pub struct UnpackOptions {
    /// The folder: a store, or what is to become one.
    pub to: PathBuf,
    /// All but the bricks of class data: what tells which of them are needed.
    pub hot: bool,
}

/// What came out.
#[derive(Debug, Clone, Default)]
pub struct UnpackSummary {
    /// Containers that were read.
    pub containers: u64,
    /// Files that were written, and their bytes.
    pub files: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Files that were there.
    pub there: u64,
    /// What is damaged: container and member, and what is wrong.
    pub damaged: Vec<String>,
}

impl UnpackSummary {
    /// How a program should end.
    #[must_use]
    pub fn exit(&self) -> Exit {
        Exit::of_damage(!self.damaged.is_empty())
    }
}

/// Takes the parts of a store out of a container that is read from front to end: from a file,
/// a pipe, a tape. What is there is kept; a brick whose name is not its hash is left out.
///
/// # Errors
/// What is no container, or another store's; [`Error::Io`].
pub fn unpack<'a>(
    input: &'a mut dyn Read,
    path: &'a Path,
    options: &'a UnpackOptions,
    summary: &'a mut UnpackSummary,
    monitor: &'a Monitor,
) -> Result<()> {
    let mut walk = Walk::new(Box::new(input) as Box<dyn Read + '_>, path);
    let label = match walk.next_header()? {
        Some((name, length, _)) if name == LABEL => walk.label(length)?,
        _ => {
            return Err(Error::Refused {
                path: path.to_owned(),
                message: format!("not a container of dtar: it does not begin with {LABEL}"),
                exit: Exit::Failed,
            });
        }
    };
    let layout = Layout::new(&options.to);
    require_same_store(&layout, label.store, path)?;
    let lease = lease_in(&layout)?;
    summary.containers += 1;
    let mut ended = false;
    let mut out = Unpack {
        walk,
        path,
        layout,
        options,
        summary,
        monitor,
        store: label.store,
        lease: lease.as_ref(),
    };
    while let Some((name, length, offset)) = out.next_header(ended)? {
        ended = name == CATALOG;
        match out.member(&name, length) {
            Err(Error::Refused {
                path: at,
                message,
                exit: Exit::Damaged,
            }) if at == path => {
                let damage = format!("{}, {name} at byte {offset}: {message}", path.display());
                out.summary.damaged.push(damage);
            }
            result => result?,
        }
        Monitor::add(&monitor.stream, BLOCK + padded(length));
    }
    // Whoever writes into a pipe must not find it closed before the container ends.
    out.walk.finish_record();
    // Only if it is empty: others may be at work there.
    let _ = fs::remove_dir(out.layout.foreign_temp_dir());
    lease.as_ref().map_or(Ok(()), Lease::give_up)?;
    if !ended {
        let what = format!(
            "{}: cut short: it has no catalog at its end",
            path.display()
        );
        out.summary.damaged.push(what);
    }
    Ok(())
}

/// A folder with another store's `store.toml` is no place for this one.
pub(crate) fn require_same_store(layout: &Layout, found: StoreId, path: &Path) -> Result<()> {
    if !Store::stands_in(layout.path())? {
        return Ok(());
    }
    let expected = Store::unverified_id(layout.path())?;
    if expected == found {
        return Ok(());
    }
    Err(Error::OtherStore {
        path: path.to_owned(),
        expected,
        found,
    })
}

/// In a store others may be at work: the folder of a run, so that no gc deletes meanwhile
/// what was found there, or what a root that comes back needs. What a gc is deleting
/// already is on a list that takes a key to be read.
pub(crate) fn lease_in(layout: &Layout) -> Result<Option<Lease>> {
    if !Store::stands_in(layout.path())? {
        return Ok(None);
    }
    let lease = Lease::take_without_key(layout)?;
    if let Some(list) = layout.dead_lists()?.first() {
        return Err(Error::Refused {
            path: layout.dead_path(list),
            message: "a gc is deleting what stands in this list, or was cut off: wait for it, or \
                      run `dtar gc`, and unpack then"
                .into(),
            exit: Exit::Failed,
        });
    }
    Ok(Some(lease))
}

struct Unpack<'a> {
    walk: Walk<'a, Box<dyn Read + 'a>>,
    path: &'a Path,
    layout: Layout,
    options: &'a UnpackOptions,
    summary: &'a mut UnpackSummary,
    monitor: &'a Monitor,
    store: StoreId,
    /// Where a store is.
    lease: Option<&'a Lease>,
}

impl Unpack<'_> {
    /// The next member; nothing, and the damage told, where the container is cut short.
    /// Where a header is damaged, the one behind it: only at the end there is none.
    fn next_header(&mut self, ended: bool) -> Result<Option<(String, u64, u64)>> {
        let here = self.walk.position();
        match self.walk.next_header() {
            Ok(None) if !ended => {
                let found = self.walk.find_header()?;
                if let Some((name, _, offset)) = &found {
                    let what = format!(
                        "{}: at byte {here}: damaged, expected the header of a member; went on at \
                         byte {}, with {name}",
                        self.path.display(),
                        offset - BLOCK
                    );
                    self.summary.damaged.push(what);
                }
                Ok(found)
            }
            Err(Error::Refused {
                message,
                exit: Exit::Damaged,
                ..
            }) => {
                let what = format!("{}: {message}", self.path.display());
                self.summary.damaged.push(what);
                Ok(None)
            }
            found => found,
        }
    }

    fn member(&mut self, name: &str, length: u64) -> Result<()> {
        self.monitor.check()?;
        if name == "store.toml" {
            return self.config(length);
        }
        let Ok(name) = name.parse::<MemberName>() else {
            return Ok(());
        };
        if self.options.hot && matches!(name, MemberName::Brick(_) | MemberName::Parity(_)) {
            return Ok(());
        }
        // The names of members have no other parts than those of a store's folders.
        let target = self.layout.path().join(name.to_string());
        if target.symlink_metadata().is_ok() {
            self.summary.there += 1;
            return Ok(());
        }
        self.file(&target, length, name.promised_hash())
    }

    /// What is called `tmp` is dtar's own in a store alone.
    fn temp_file(&self) -> Result<TempFile> {
        if let Some(lease) = self.lease {
            return lease.temp_file();
        }
        let dir = self.layout.foreign_temp_dir();
        refuse_links_to(self.layout.path(), &dir.join("x"))?;
        TempFile::create(&dir)
    }

    fn file(&mut self, target: &Path, length: u64, stated: Option<[u8; 32]>) -> Result<()> {
        refuse_links_to(self.layout.path(), target)?;
        let mut temp = self.temp_file()?;
        let mut hasher = blake3::Hasher::new();
        self.walk.body(length, &mut |bytes| {
            hasher.update(bytes);
            temp.write_all(bytes).map_err(Error::io("write", target))
        })?;
        let found = BrickName(*hasher.finalize().as_bytes());
        if stated.is_some_and(|stated| stated != found.0) {
            return Err(Error::Refused {
                path: self.path.to_owned(),
                message: format!("damaged: the BLAKE3 of its bytes is {found}; left out"),
                exit: Exit::Damaged,
            });
        }
        match temp.publish_new(target) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                self.summary.there += 1;
            }
            published => {
                published?;
                self.summary.files += 1;
                self.summary.bytes += length;
            }
        }
        Ok(())
    }

    fn config(&mut self, length: u64) -> Result<()> {
        let target = self.layout.config_path();
        if target.symlink_metadata().is_ok() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        if length <= MAX_CONFIG {
            self.walk.body(length, &mut |piece| {
                bytes.extend_from_slice(piece);
                Ok(())
            })?;
        }
        // Another container has one that is right.
        let found = match StoreConfig::unverified_id(&target, &bytes) {
            Err(Error::Refused {
                exit: Exit::Damaged,
                message,
                ..
            }) => {
                return Err(Error::Refused {
                    path: self.path.to_owned(),
                    message: format!("damaged: {message}; left out"),
                    exit: Exit::Damaged,
                });
            }
            found => found?,
        };
        if found != self.store {
            return Err(Error::OtherStore {
                path: self.path.to_owned(),
                expected: self.store,
                found,
            });
        }
        // A store has this folder from the beginning; its absence shows a loss.
        crate::store::atomic::create_dir(&self.layout.roots_dir())?;
        refuse_links_to(self.layout.path(), &target)?;
        let mut temp = self.temp_file()?;
        temp.write_all(&bytes)
            .map_err(Error::io("write", &target))?;
        temp.publish_new(&target)?;
        self.summary.files += 1;
        self.summary.bytes += length;
        Ok(())
    }
}
