//! A store on disk: folders, files that appear whole or not at all,
//! `store.toml`, and the catalog (`formats/store.md`).

pub mod atomic;
mod brick_file;
pub mod catalog;
pub mod config;
pub mod guard;
mod host;
pub mod inventory;
pub mod last_run;
pub mod layout;
pub(crate) mod named;
pub(crate) mod new_brick;
pub(crate) mod own_toc;
pub mod places;
pub mod runs;
#[cfg(test)]
pub(crate) mod testing;
pub mod upkeep;
pub mod writeback;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use self::atomic::TempFile;
use self::config::StoreConfig;
use self::layout::{Layout, RunName};
use self::runs::Lease;
use crate::brick::{self, SIDECAR_SEAL_LENGTH, SidecarSeal};
use crate::crypto::{Key, PublicKey, PutKeys};
use crate::error::Exit;
use crate::format::note::{Note, NoteKind};
use crate::format::root::Root;
use crate::format::sealed::{self, SealedHeader, SealedKind};
use crate::format::toc::{MAX_TOC_LENGTH, Toc, TocHeader};
use crate::format::wire::DecodeError;
use crate::id::{BrickName, Class, Epoch, StoreId, WriterId};
use crate::{Error, Result};

pub use self::brick_file::{BrickFile, ReadAt};

/// The longest sidecar in bytes: a TOC and what binds it to its brick (`formats/brick.md`).
pub(crate) const MAX_SIDECAR_LENGTH: u64 = MAX_TOC_LENGTH + SIDECAR_SEAL_LENGTH as u64;

/// The longest root or note in bytes (`formats/store.md#roots`).
pub(crate) const MAX_ROOT_LENGTH: u64 = sealed::HEADER_LENGTH as u64 + sealed::MAX_SEALED_LENGTH;

/// The longest snapshot file: a frame of one chunk, which compression may lengthen a little.
pub(crate) const MAX_SNAPSHOT_LENGTH: u64 = 2 << 20;

/// An open store.
///
/// Several processes may use one store at once: names are hashes of content
/// or random, and nothing in place is ever changed.
#[derive(Debug, Clone)]
pub struct Store {
    layout: Layout,
    config: StoreConfig,
}

/// How much of one kind a store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// The number of files.
    pub count: u64,
    /// Their lengths together, in bytes.
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

/// What stands in a store's folders. Bricks that were moved to cold storage
/// are not present, but their sidecars are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreTotals {
    /// Bricks of file content that are present.
    pub data_bricks: Amount,
    /// Bricks of snapshot content that are present.
    pub metadata_bricks: Amount,
    /// Sidecars.
    pub sidecars: u64,
    /// Roots.
    pub roots: Amount,
    /// Snapshot files.
    pub snapshots: u64,
    /// Dead lists.
    pub dead: u64,
    /// Bricks named in `bad/`.
    pub bad: u64,
}

impl Store {
    /// Makes a store in the folder `dir`, which must be missing or empty, for
    /// `key` and further `recipients`.
    ///
    /// # Errors
    /// [`Error::PutKey`] unless `key` is a secret key; [`Error::Refused`] if
    /// something stands in `dir`; [`Error::Usage`] for too many recipients, for one
    /// that is given twice and for the key's own; [`Error::Io`].
    pub fn create(dir: &Path, key: &Key, recipients: &[PublicKey], epoch: Epoch) -> Result<Self> {
        let own = key.public_key().ok_or(Error::PutKey {
            action: "make a store",
        })?;
        let layout = Layout::new(dir);
        require_empty(&layout)?;
        let mut all = vec![own];
        all.extend_from_slice(recipients);
        let config = StoreConfig {
            store_id: random_id(dir)?,
            epoch,
            recipients: all,
            created: jiff::Timestamp::from_second(jiff::Timestamp::now().as_second())
                .unwrap_or_default()
                .to_string(),
        };
        let text = config.encode(key)?;
        let path = layout.config_path();
        let mut temp = TempFile::create(&layout.temp_dir())?;
        // Its absence shows that it was lost.
        atomic::create_dir(&layout.roots_dir())?;
        // Before `store.toml` is there: who finds it takes the store for made.
        atomic::sync_way_to(dir)?;
        temp.write_all(text.as_bytes())
            .map_err(Error::io("write", &path))?;
        temp.publish_new(&path)?;
        Ok(Self { layout, config })
    }

    /// Opens the store in the folder `dir`.
    ///
    /// # Errors
    /// [`Error::Refused`] if it is no store, or its `store.toml` is damaged,
    /// altered or newer than this dtar; [`Error::WrongKey`];
    /// [`Error::OtherStorePutKey`]; [`Error::WrongEpoch`]; [`Error::Io`].
    pub fn open(dir: &Path, key: &Key) -> Result<Self> {
        let layout = Layout::new(dir);
        let (path, bytes) = read_config(&layout)?;
        let config = StoreConfig::decode(&path, &bytes, key)?;
        Ok(Self { layout, config })
    }

    /// Whether a `store.toml` stands in the folder `dir`.
    ///
    /// # Errors
    /// [`Error::Io`] if that cannot be told.
    pub fn stands_in(dir: &Path) -> Result<bool> {
        let path = Layout::new(dir).config_path();
        match fs::metadata(&path) {
            Ok(_) => Ok(true),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(Error::io("look for", &path)(error)),
        }
    }

    /// The id that the store in the folder `dir` says it has. Nothing vouches for it:
    /// this is for a key that cannot verify `store.toml`.
    ///
    /// # Errors
    /// [`Error::Refused`] if it is no store, or its `store.toml` is damaged or newer
    /// than this dtar; [`Error::Io`].
    pub fn unverified_id(dir: &Path) -> Result<StoreId> {
        let (path, bytes) = read_config(&Layout::new(dir))?;
        StoreConfig::unverified_id(&path, &bytes)
    }

    /// The keys that archiving into it needs.
    ///
    /// # Errors
    /// [`Error::OtherStorePutKey`] and [`Error::WrongEpoch`] for a put key of another
    /// store or epoch.
    pub fn put_keys(&self, key: &Key) -> Result<PutKeys> {
        key.put_keys(*self.id(), self.epoch())
    }

    /// The put key for it: it archives and deduplicates, but cannot read.
    ///
    /// # Errors
    /// As [`Store::put_keys`].
    pub fn put_key(&self, key: &Key) -> Result<Key> {
        key.to_put_key(*self.id(), self.epoch(), self.recipients())
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &StoreId {
        &self.config.store_id
    }

    /// The epoch of the put secret in use.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.config.epoch
    }

    /// Whom bricks are sealed to: the store's own key first.
    #[must_use]
    pub fn recipients(&self) -> &[PublicKey] {
        &self.config.recipients
    }

    /// What `store.toml` says.
    #[must_use]
    pub fn config(&self) -> &StoreConfig {
        &self.config
    }

    /// Its paths.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Its folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.layout.path()
    }

    /// A brick's file.
    #[must_use]
    pub fn brick_path(&self, name: &BrickName, class: Class) -> PathBuf {
        self.layout.brick_path(name, class)
    }

    /// A brick's sidecar.
    #[must_use]
    pub fn toc_path(&self, name: &BrickName) -> PathBuf {
        self.layout.toc_path(name)
    }

    /// Removes what runs that are gone have left in `tmp/`; returns the number of files
    /// and folders.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be listed.
    pub fn remove_stale(&self) -> Result<usize> {
        let dir = self.layout.temp_dir();
        guard::refuse_links(self.path(), &dir)?;
        atomic::remove_stale(&dir)
    }

    /// Begins a file that belongs to no run, and will get its name later.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn temp_file(&self) -> Result<TempFile> {
        let dir = self.layout.temp_dir();
        guard::refuse_links(self.path(), &dir)?;
        TempFile::create(&dir)
    }

    /// Makes a brick of the run durable under its name, and returns its path.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Refused`] if the run was ended.
    pub fn publish_brick(
        &self,
        lease: &Lease,
        file: TempFile,
        name: &BrickName,
        class: Class,
    ) -> Result<PathBuf> {
        let path = self.brick_path(name, class);
        lease.publish(file, &path)?;
        Ok(path)
    }

    /// Writes a brick's sidecar, durably: the bytes of its TOC and what binds them to its
    /// name, which is returned.
    ///
    /// # Errors
    /// As [`Store::publish_brick`].
    pub fn write_sidecar(
        &self,
        lease: &Lease,
        keys: &PutKeys,
        name: &BrickName,
        toc: &[u8],
    ) -> Result<SidecarSeal> {
        let sidecar = brick::make_sidecar(keys, name, toc);
        lease.write(&self.toc_path(name), &sidecar)?;
        SidecarSeal::of(&sidecar).ok_or_else(|| Error::Internal("a sidecar without seal".into()))
    }

    /// Reads a brick's sidecar; its bytes are in `bytes` then.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Decode`] if it is damaged or another brick's;
    /// [`Error::OtherStore`]; [`Error::Refused`] if it is too long for a sidecar.
    pub fn read_sidecar(
        &self,
        keys: &PutKeys,
        name: &BrickName,
        bytes: &mut Vec<u8>,
    ) -> Result<Toc> {
        read_sidecar_of(&self.toc_path(name), *self.id(), keys, name, bytes)
    }

    /// Whether a brick that is on no dead list may be relied upon at this moment: its
    /// sidecar stands, and it carries no mark. To be asked once more before the root is
    /// written, when the dead lists of the run's beginning count and no others
    /// (`formats/collection.md#archive`).
    ///
    /// # Errors
    /// [`Error::Io`] if that cannot be told.
    pub fn brick_counts(&self, name: &BrickName) -> Result<bool> {
        self.layout.brick_counts(name)
    }

    /// Marks a brick as damaged, durably: its chunks are no longer deduplicated against.
    /// `text` says what is wrong. A mark that stands is replaced.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn mark(&self, keys: &PutKeys, name: &BrickName, text: &str) -> Result<()> {
        let writer = WriterId(atomic::random(self.layout.path())?);
        let note = runs::new_mark(name, text, writer);
        let mut file = self.temp_file()?;
        file.write_all(&brick::seal_note(keys, &note)?)
            .map_err(Error::io("write", file.path()))?;
        let path = self.layout.mark_path(name);
        guard::refuse_links_to(self.path(), &path)?;
        file.publish(&path)
    }

    /// Of these marks those that no holder of a key has made. They count, but readers
    /// report them (`formats/collection.md#marks`).
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn unsealed_marks(&self, keys: &PutKeys, marked: &[BrickName]) -> Result<Vec<PathBuf>> {
        let mut unsealed = Vec::new();
        for name in marked {
            let path = self.layout.mark_path(name);
            match self.read_note(keys, &path) {
                Ok(note) if note.kind == NoteKind::Mark && note.bricks == [*name] => {}
                Err(Error::Io { source, .. }) if is_missing(&source) => {}
                Err(error @ Error::Io { .. }) => return Err(error),
                _ => unsealed.push(path),
            }
        }
        Ok(unsealed)
    }

    /// Writes the root of a run, durably, and returns its path.
    ///
    /// # Errors
    /// As [`Store::publish_brick`].
    pub fn write_root(&self, lease: &Lease, run: &RunName, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.layout.root_path(run);
        lease.write(&path, bytes)?;
        Ok(path)
    }

    /// Writes the snapshot file of a run, durably.
    ///
    /// # Errors
    /// As [`Store::publish_brick`].
    pub fn write_snapshot(&self, lease: &Lease, run: &RunName, bytes: &[u8]) -> Result<()> {
        lease.write(&self.layout.snapshot_path(run), bytes)
    }

    /// Reads a note: a dead list or a mark.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Decode`] if it is damaged; [`Error::OtherStore`];
    /// [`Error::Refused`] if it is too long for a note.
    pub fn read_note(&self, keys: &PutKeys, path: &Path) -> Result<Note> {
        let bytes = self.read_sealed(sealed::NOTE, path)?;
        brick::open_note(keys, &bytes).map_err(Error::decode(path, 0))
    }

    /// Reads the snapshot file of a run.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Refused`] if it is too long for one.
    pub fn read_snapshot(&self, run: &RunName) -> Result<Vec<u8>> {
        read_snapshot(&self.layout, run)
    }

    /// Reads the root at `path`, whose name says `time` (see [`Layout::each_root`]).
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Decode`] if it is damaged or was made at another
    /// time than its name says; [`Error::OtherStore`]; [`Error::Refused`] if it
    /// is too long for a root.
    pub fn read_root(&self, keys: &PutKeys, path: &Path, time: u64) -> Result<Root> {
        let bytes = self.read_sealed(sealed::ROOT, path)?;
        let root = brick::open_root(keys, &bytes).map_err(Error::decode(path, 0))?;
        if root.time == time {
            return Ok(root);
        }
        let expected = format_args!("{time}, as its name says");
        let offset = sealed::HEADER_LENGTH as u64;
        let error = DecodeError::value("root", "time", offset, expected, root.time);
        Err(Error::decode(path, 0)(error))
    }

    /// The bytes of a root or a note, which must be of this store and epoch.
    fn read_sealed(&self, kind: SealedKind, path: &Path) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = guard::open_file(path).map_err(Error::io("open", path))?;
        read_limited(file, path, MAX_ROOT_LENGTH, &mut bytes)?;
        let header = SealedHeader::decode(kind, &bytes).map_err(Error::decode(path, 0))?;
        require_own(path, *self.id(), header.store_id)?;
        require_epoch(path, self.epoch(), header.epoch)?;
        Ok(bytes)
    }

    /// What stands in the store's folders.
    ///
    /// # Errors
    /// [`Error::Io`] if one cannot be listed.
    pub fn totals(&self) -> Result<StoreTotals> {
        let mut totals = StoreTotals::default();
        for (class, amount) in [
            (Class::Data, &mut totals.data_bricks),
            (Class::Metadata, &mut totals.metadata_bricks),
        ] {
            self.layout.each_brick(class, |_, bytes| {
                amount.add(bytes);
                Ok(())
            })?;
        }
        let mut names = Vec::new();
        for shard in 0..=u8::MAX {
            names.clear();
            self.layout.sidecar_names(shard, &mut names)?;
            totals.sidecars += names.len() as u64;
        }
        self.layout.each_root(|_, _, bytes| {
            totals.roots.add(bytes);
            Ok(())
        })?;
        totals.snapshots = self.layout.snapshots()?.len() as u64;
        totals.dead = self.layout.dead_lists()?.len() as u64;
        totals.bad = self.layout.marked()?.len() as u64;
        Ok(totals)
    }
}

/// Reads the snapshot file of a run in a store that need not be opened.
///
/// # Errors
/// As [`Store::read_snapshot`].
pub fn read_snapshot(layout: &Layout, run: &RunName) -> Result<Vec<u8>> {
    let path = layout.snapshot_path(run);
    let mut bytes = Vec::new();
    let file = guard::open_file(&path).map_err(Error::io("open", &path))?;
    read_limited(file, &path, MAX_SNAPSHOT_LENGTH, &mut bytes)?;
    Ok(bytes)
}

/// Reads the sidecar of the brick `name` at `path`; its bytes are in `bytes` then. This
/// is for a copy of a store.
///
/// # Errors
/// As [`Store::read_sidecar`].
pub fn read_sidecar(
    path: &Path,
    keys: &PutKeys,
    name: &BrickName,
    bytes: &mut Vec<u8>,
) -> Result<Toc> {
    read_sidecar_of(path, keys.store_id, keys, name, bytes)
}

fn read_sidecar_of(
    path: &Path,
    store: StoreId,
    keys: &PutKeys,
    name: &BrickName,
    bytes: &mut Vec<u8>,
) -> Result<Toc> {
    let file = guard::open_file(path).map_err(Error::io("open", path))?;
    read_limited(file, path, MAX_SIDECAR_LENGTH, bytes)?;
    let decode = |error| Error::decode(path, 0)(error);
    let header = TocHeader::decode(bytes).map_err(decode)?;
    require_own(path, store, header.store_id)?;
    require_epoch(path, keys.epoch, header.epoch)?;
    brick::open_sidecar(keys, name, bytes).map_err(decode)
}

/// Refuses what was written under another put secret. That is no damage.
fn require_epoch(path: &Path, expected: Epoch, found: Epoch) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::Refused {
        path: path.to_owned(),
        message: format!(
            "written in epoch {found}, but the store is in epoch {expected}, and this dtar reads \
             no other; use a newer dtar"
        ),
        exit: Exit::Failed,
    })
}

/// Refuses what names another store.
fn require_own(path: &Path, expected: StoreId, found: StoreId) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::OtherStore {
        path: path.to_owned(),
        expected,
        found,
    })
}

/// The path and the bytes of a store's `store.toml`.
fn read_config(layout: &Layout) -> Result<(PathBuf, Vec<u8>)> {
    let (dir, path) = (layout.path(), layout.config_path());
    let file = match guard::open_file(&path) {
        Err(error) if is_missing(&error) => {
            return Err(Error::Refused {
                path: dir.to_owned(),
                message: "not a dtar store: no store.toml in it; name the store with \
                          --store DIR or DTAR_STORE, bring back a copy of store.toml, or \
                          make a new store in an empty folder with `dtar init`"
                    .to_owned(),
                exit: Exit::Failed,
            });
        }
        result => result.map_err(Error::io("open", &path))?,
    };
    let mut bytes = Vec::new();
    read_limited(file, &path, config::MAX_LENGTH, &mut bytes)?;
    Ok((path, bytes))
}

/// Refuses a folder in which anything stands but `tmp/`, which may be left
/// from an attempt that failed.
fn require_empty(layout: &Layout) -> Result<()> {
    let dir = layout.path();
    let refused = |message: &str| Error::Refused {
        path: dir.to_owned(),
        message: message.to_owned(),
        exit: Exit::Failed,
    };
    let entries = atomic::entries(dir)?;
    if layout.config_path().exists() {
        return Err(refused("there is a store already"));
    }
    for entry in entries {
        if !is_left_of_making(layout, &entry?.path())? {
            return Err(refused(
                "the folder is not empty; name an empty or a new one for the store",
            ));
        }
    }
    Ok(())
}

/// Whether an entry of a folder is what is left if somebody began to make a store there
/// and was cut off.
///
/// # Errors
/// [`Error::Io`].
pub fn is_left_of_making(layout: &Layout, entry: &Path) -> Result<bool> {
    if entry == layout.temp_dir() {
        return atomic::holds_only_remains(entry);
    }
    let is_empty = |dir: &Path| dir.read_dir().is_ok_and(|mut dir| dir.next().is_none());
    Ok(entry == layout.roots_dir() && is_empty(entry))
}

fn random_id(dir: &Path) -> Result<StoreId> {
    let mut id = [0; StoreId::SIZE];
    getrandom::fill(&mut id)
        .map_err(|error| Error::io("draw a random id for", dir)(io::Error::other(error)))?;
    Ok(StoreId(id))
}

/// The error without the path, which stands beside it.
fn without_path(error: Error) -> String {
    match error {
        Error::Decode { source, .. } => source.to_string(),
        Error::Io { source, .. } => source.to_string(),
        Error::Refused { message, .. } => message,
        other => other.to_string(),
    }
}

/// Whether a path leads nowhere.
pub(crate) fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Whether an error says that the medium, or the file system on it, has lost the bytes.
pub(crate) fn is_damage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let lost = [Errno::IO, Errno::BADMSG];
    let code = error.raw_os_error();
    lost.iter().any(|errno| code == Some(errno.raw_os_error()))
}

/// Reads a whole file into `bytes`, which is emptied first.
pub(crate) fn read_limited(file: File, path: &Path, limit: u64, bytes: &mut Vec<u8>) -> Result<()> {
    bytes.clear();
    let length = file.metadata().map_err(Error::io("read", path))?.len();
    if length <= limit {
        // One more than the limit, lest a file that grows meanwhile goes unnoticed.
        file.take(limit + 1)
            .read_to_end(bytes)
            .map_err(Error::io("read", path))?;
    }
    let length = length.max(bytes.len() as u64);
    if length <= limit {
        return Ok(());
    }
    Err(Error::Refused {
        path: path.to_owned(),
        message: format!(
            "{length} bytes long; such a file has at most {limit}; bring back a copy of it"
        ),
        exit: Exit::Damaged,
    })
}

#[cfg(test)]
mod tests;
