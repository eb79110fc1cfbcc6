//! Objects come down: checked by their names, or as far as the key at hand reaches, before
//! they stand where a store has them. What stands there is never replaced.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::bucket::{Bucket, Read};
use super::config;
use super::confirmed::Confirmed;
use super::listing::{Entry, Side, Sides};
use super::local::{Folder, LocalFiles, Name};
use super::parallel::{each_in_parallel, lock};
use crate::archive::Monitor;
use crate::brick::SIDECAR_SEAL_LENGTH;
use crate::crypto::Key;
use crate::error::{Error, Exit, Result};
use crate::format::brick;
use crate::format::sealed::{self, SealedHeader};
use crate::format::toc::TocHeader;
use crate::format::wire::DecodeError;
use crate::id::{BrickName, StoreId};
use crate::store::atomic::{self, TempFile};
use crate::store::away;
use crate::store::layout::Layout;
use crate::store::{MAX_ROOT_LENGTH, MAX_SIDECAR_LENGTH, MAX_SNAPSHOT_LENGTH, Store, guard};

/// What came down.
#[derive(Debug, Clone, Default)]
pub struct DownloadSummary {
    /// Files that were brought here.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Files that were here.
    pub here: u64,
    /// Objects that are not what they should be, and why: they were left there.
    pub refused: Vec<(String, String)>,
    /// Bricks that the bucket does not have.
    pub missing: Vec<BrickName>,
    /// Bricks in cold storage that nobody has asked for, and that therefore stayed there.
    pub cold: Vec<BrickName>,
}

impl DownloadSummary {
    /// The exit code to end with.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if !self.refused.is_empty() || !self.missing.is_empty() {
            Exit::Damaged
        } else if self.cold.is_empty() {
            Exit::Done
        } else {
            Exit::Failed
        }
    }
}

/// Brings objects into a folder that is laid out like a store.
pub(super) struct Downloader<'a> {
    pub(super) bucket: &'a Bucket,
    pub(super) layout: &'a Layout,
    /// Where files are made: `tmp/` of a store.
    pub(super) temp_dir: PathBuf,
    pub(super) jobs: usize,
    pub(super) monitor: &'a Monitor,
    pub(super) check: Check,
}

/// What is known of the store, to check what comes.
pub(super) struct Check {
    store_id: StoreId,
    store: Option<(Store, crate::crypto::PutKeys)>,
}

impl Check {
    /// As deep as the key at hand reaches, for the store that stands in `layout`.
    pub(super) fn of(layout: &Layout, key: Option<&Key>) -> Result<Self> {
        let store_id = Store::unverified_id(layout.path())?;
        let store = match key {
            None => None,
            Some(key) => {
                let store = Store::open(layout.path(), key)?;
                let keys = store.put_keys(key)?;
                Some((store, keys))
            }
        };
        Ok(Self { store_id, store })
    }

    /// Looks whether a file of a folder is what its name says, as far as that can be told.
    pub(super) fn look_at(&self, folder: Folder, name: &Name, path: &Path) -> Result<()> {
        match (folder, name) {
            (Folder::Tocs, Name::Hash(name)) => {
                if let Some((_, keys)) = &self.store {
                    crate::store::read_sidecar(path, keys, name, &mut Vec::new())?;
                    return Ok(());
                }
                let bytes = read(path, MAX_SIDECAR_LENGTH)?;
                let header = TocHeader::decode(&bytes).map_err(Error::decode(path, 0))?;
                let expected = header.toc_length() + SIDECAR_SEAL_LENGTH as u64;
                require_length(path, "sidecar", &bytes, expected)?;
                self.require_own(path, header.store_id)
            }
            (Folder::Roots, Name::Run(run)) => {
                if let Some((store, keys)) = &self.store {
                    store.read_root(keys, path, run.time)?;
                    return Ok(());
                }
                let bytes = read(path, MAX_ROOT_LENGTH)?;
                let header = SealedHeader::decode(sealed::ROOT, &bytes);
                let header = header.map_err(Error::decode(path, 0))?;
                let expected = sealed::HEADER_LENGTH as u64 + header.sealed_length;
                require_length(path, "root", &bytes, expected)?;
                self.require_own(path, header.store_id)
            }
            // Its root names its hash: whoever reads it compares that.
            (Folder::Snapshots, _) => read(path, MAX_SNAPSHOT_LENGTH).map(|_| ()),
            // A mark counts whatever it holds.
            _ => read(path, MAX_ROOT_LENGTH).map(|_| ()),
        }
    }

    fn require_own(&self, path: &Path, found: StoreId) -> Result<()> {
        if found == self.store_id {
            return Ok(());
        }
        Err(Error::OtherStore {
            path: path.to_owned(),
            expected: self.store_id,
            found,
        })
    }
}

/// What a header says of the length of a file must be so.
fn require_length(path: &Path, what: &'static str, bytes: &[u8], expected: u64) -> Result<()> {
    let found = bytes.len() as u64;
    if found == expected {
        return Ok(());
    }
    let error = DecodeError::value(what, "length", 0, expected, found);
    Err(Error::decode(path, 0)(error))
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = guard::open_file(path).map_err(Error::io("open", path))?;
    let mut bytes = Vec::new();
    crate::store::read_limited(file, path, limit, &mut bytes)?;
    Ok(bytes)
}

/// What came of fetching a file.
#[derive(Debug)]
pub(super) enum Got {
    /// It is here now, so many bytes long.
    Here(u64),
    /// The bucket does not have it.
    Missing,
    /// It lies in cold storage: what the server says.
    Cold(Error),
    /// It is not what its name says.
    Refused(String),
}

impl Downloader<'_> {
    /// Brings a file of at most `most` bytes here, by way of the folder of half-written
    /// files.
    pub(super) fn fetch(&self, folder: Folder, path: &str, most: u64) -> Result<Got> {
        let Some(name) = folder.name_of(path) else {
            return Ok(Got::Refused("not a name of a file of a store".into()));
        };
        let target = self.layout.path().join(path);
        guard::refuse_links(self.layout.path(), &self.temp_dir)?;
        guard::refuse_links_to(self.layout.path(), &target)?;
        let mut temp = TempFile::create(&self.temp_dir)?;
        let mut hasher = blake3::Hasher::new();
        let read = self.bucket.read(path, most, self.monitor, &mut |bytes| {
            hasher.update(bytes);
            Monitor::add(&self.monitor.stream, bytes.len() as u64);
            temp.write_all(bytes).map_err(Error::io("write", &target))
        })?;
        let length = match read {
            Read::All(length) => length,
            Read::Missing => return Ok(Got::Missing),
            Read::Cold(error) => return Ok(Got::Cold(error)),
            Read::TooLong(length) => return Ok(Got::Refused(too_long(length, most))),
        };
        if folder.is_named_by_content() {
            let hash = hasher.finalize();
            if name
                .hash()
                .is_none_or(|name| name.as_bytes() != hash.as_bytes())
            {
                return Ok(Got::Refused(format!(
                    "altered or damaged: its bytes have the hash {hash}, not its name"
                )));
            }
        } else if let Err(error) = self.check.look_at(folder, &name, temp.path()) {
            let temporary = format!("{}: ", temp.path().display());
            return Ok(Got::Refused(error.to_string().replace(&temporary, "")));
        }
        match temp.publish_new(&target) {
            // Somebody else was faster.
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => {
                Ok(Got::Here(0))
            }
            result => result.map(|()| Got::Here(length)),
        }
    }

    /// Brings all files of a folder that are not here; of roots and snapshots, and of
    /// whatever is given, only those in `only`.
    fn fetch_folder(
        &self,
        folder: Folder,
        only: Option<Vec<Entry>>,
        summary: &mut DownloadSummary,
    ) -> Result<()> {
        let mut here = LocalFiles::new(self.layout, folder);
        let mut listing = self.bucket.list(folder.path());
        let mut listed = only.map(Vec::into_iter);
        let there = || match &mut listed {
            Some(entries) => Ok(entries.next()),
            None => listing.next_entry(),
        };
        let mut sides = Sides::new(|| here.next(), there);
        let mut stood = 0;
        let mut next = || {
            while let Some(side) = sides.next()? {
                match side {
                    Side::There(entry) if folder.name_of(&entry.path).is_some() => {
                        return Ok(Some(entry));
                    }
                    Side::Both(..) => stood += 1,
                    _ => {}
                }
            }
            Ok(None)
        };
        let (files, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        let refused = Mutex::new(Vec::new());
        let work = |entry: Entry| {
            match self.fetch(folder, &entry.path, most_of(folder))? {
                Got::Here(length) => {
                    files.fetch_add(1, Ordering::Relaxed);
                    bytes.fetch_add(length, Ordering::Relaxed);
                }
                // Deleted since it was listed.
                Got::Missing => {}
                Got::Cold(error) => return Err(error),
                Got::Refused(why) => {
                    let shown = self.bucket.place().show(&entry.path);
                    lock(&refused).push((shown, why));
                }
            }
            Ok(())
        };
        each_in_parallel(self.jobs, self.monitor, &mut next, &work)?;
        summary.here += stood;
        summary.files += files.into_inner();
        summary.bytes += bytes.into_inner();
        summary.refused.append(&mut lock(&refused));
        Ok(())
    }
}

/// How to bring the small files here.
#[derive(Debug, Clone, Copy)]
pub struct SyncOptions {
    /// Transfers at the same time.
    pub jobs: usize,
    /// Parity files as well.
    pub parity: bool,
}

/// Brings here what the bucket has and the store `layout` lacks of all but the data
/// bricks: so this host deduplicates against what others have pushed. Makes the store if
/// there is none. Nothing goes up.
///
/// # Errors
/// A bucket without a store, or with another one; the first failure of the server, the
/// network or a disk.
pub fn sync(
    layout: &Layout,
    bucket: &Bucket,
    key: Option<&Key>,
    options: &SyncOptions,
    monitor: &Monitor,
) -> Result<DownloadSummary> {
    config::fetch(layout, bucket, monitor)?;
    let downloader = Downloader {
        bucket,
        layout,
        temp_dir: layout.temp_dir(),
        jobs: options.jobs,
        monitor,
        check: Check::of(layout, key)?,
    };
    // Before the rest is listed, so that all that these runs need is found; and here after
    // the rest, for the same reason.
    let roots = all(bucket, Folder::Roots)?;
    let snapshots = all(bucket, Folder::Snapshots)?;
    let mut summary = DownloadSummary::default();
    // Marks before what they are about.
    downloader.fetch_folder(Folder::Bad, None, &mut summary)?;
    downloader.fetch_folder(Folder::Meta, None, &mut summary)?;
    if options.parity {
        downloader.fetch_folder(Folder::Parity, None, &mut summary)?;
    }
    downloader.fetch_folder(Folder::Tocs, None, &mut summary)?;
    downloader.fetch_folder(Folder::Roots, Some(roots), &mut summary)?;
    // A snapshot without a root is the sign of a root that was lost: it is not there yet, or
    // was refused.
    let mut snapshots = snapshots;
    snapshots.retain(|entry| match Folder::Snapshots.name_of(&entry.path) {
        Some(Name::Run(run)) => layout.root_path(&run).exists(),
        _ => false,
    });
    downloader.fetch_folder(Folder::Snapshots, Some(snapshots), &mut summary)?;
    Ok(summary)
}

/// Puts the data bricks that stand in the bucket, and on no away list of the store
/// `layout`, on one: plans rely on these lists. `warn` gets what is wrong with a list.
///
/// # Errors
/// What the server or the network says, or a disk.
pub fn list_bricks(layout: &Layout, bucket: &Bucket, warn: &mut dyn FnMut(String)) -> Result<()> {
    let confirmed = Confirmed::new(layout, bucket.away_place());
    let known = away::known(layout, &confirmed.place, warn)?;
    let mut listing = bucket.list(Folder::Bricks.path());
    while let Some(entry) = listing.next_entry()? {
        if let Some(Name::Hash(name)) = Folder::Bricks.name_of(&entry.path)
            && known
                .binary_search_by_key(&name, |(known, _)| *known)
                .is_err()
        {
            confirmed.add(name, entry.length, entry.class);
        }
    }
    confirmed.write()
}

/// Brings `store.toml` here, if it is not.
///
/// # Errors
/// As [`sync`].
pub fn sync_config(layout: &Layout, bucket: &Bucket, monitor: &Monitor) -> Result<()> {
    config::fetch(layout, bucket, monitor)
}

fn all(bucket: &Bucket, folder: Folder) -> Result<Vec<Entry>> {
    let mut listing = bucket.list(folder.path());
    let mut entries = Vec::new();
    while let Some(entry) = listing.next_entry()? {
        if folder.name_of(&entry.path).is_some() {
            entries.push(entry);
        }
    }
    Ok(entries)
}

/// The longest file of a folder, in bytes.
const fn most_of(folder: Folder) -> u64 {
    match folder {
        Folder::Bricks | Folder::Meta | Folder::Parity => brick::MAX_LENGTH,
        Folder::Tocs => MAX_SIDECAR_LENGTH,
        Folder::Roots | Folder::Bad => MAX_ROOT_LENGTH,
        Folder::Snapshots => MAX_SNAPSHOT_LENGTH,
    }
}

/// Why an object is not brought here that is longer than it may be.
pub(super) fn too_long(found: u64, most: u64) -> String {
    format!("{found} bytes long, and not at most {most}: not what its name says")
}

/// Which bricks to bring here.
pub enum Wanted {
    /// These, with their lengths in bytes.
    Bricks(Vec<(BrickName, u64)>),
    /// All that the bucket has.
    All,
}

/// Brings data bricks into `layout`: a store, or any folder.
///
/// # Errors
/// The first failure of the server, the network or a disk. What was brought until then
/// stays, and is not brought again.
pub fn pull(
    layout: &Layout,
    bucket: &Bucket,
    wanted: Wanted,
    jobs: usize,
    waiter: &super::wait::Waiter<'_>,
    monitor: &Monitor,
) -> Result<DownloadSummary> {
    let is_store = Store::stands_in(layout.path())?;
    let downloader = Downloader {
        bucket,
        layout,
        temp_dir: if is_store {
            layout.temp_dir()
        } else {
            layout.foreign_temp_dir()
        },
        jobs,
        monitor,
        check: Check {
            store_id: StoreId([0; StoreId::SIZE]),
            store: None,
        },
    };
    atomic::create_dir(layout.path())?;
    let summary = Mutex::new(DownloadSummary::default());
    let work = |(name, length): (BrickName, u64)| {
        let path = brick_path(&name);
        if let Ok(found) = layout.path().join(&path).metadata()
            && found.is_file()
        {
            Monitor::add(&monitor.stream, length);
            let mut summary = lock(&summary);
            summary.here += 1;
            if found.len() != length {
                let why = format!(
                    "{} bytes long here, and {length} there: delete the file here, and pull again",
                    found.len()
                );
                summary.refused.push((bucket.place().show(&path), why));
            }
            return Ok(());
        }
        if !waiter.is_readable(bucket, &path, monitor)? {
            lock(&summary).cold.push(name);
            return Ok(());
        }
        let got = downloader.fetch(Folder::Bricks, &path, length)?;
        let mut summary = lock(&summary);
        match got {
            Got::Here(length) => {
                summary.files += 1;
                summary.bytes += length;
            }
            Got::Missing => summary.missing.push(name),
            // What was thawed has just expired.
            Got::Cold(_) => summary.cold.push(name),
            Got::Refused(why) => summary.refused.push((bucket.place().show(&path), why)),
        }
        Ok(())
    };
    match wanted {
        Wanted::Bricks(names) => {
            let total = names.iter().map(|(_, length)| length).sum();
            monitor.total.store(total, Ordering::Relaxed);
            let mut names = names.into_iter();
            each_in_parallel(jobs, monitor, &mut || Ok(names.next()), &work)?;
        }
        Wanted::All => {
            let mut listing = bucket.list(Folder::Bricks.path());
            let mut next = || {
                while let Some(entry) = listing.next_entry()? {
                    if let Some(Name::Hash(name)) = Folder::Bricks.name_of(&entry.path) {
                        return Ok(Some((name, entry.length)));
                    }
                }
                Ok(None)
            };
            each_in_parallel(jobs, monitor, &mut next, &work)?;
        }
    }
    Ok(summary
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// The path of a data brick in a store.
pub(super) fn brick_path(name: &BrickName) -> String {
    format!("bricks/{:02x}/{name}.brick", name.as_bytes()[0])
}
