//! A store goes up: what the bucket lacks, in an order in which it never shows a run whose
//! bricks are not there (`formats/push.md#order`).

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use super::bucket::Bucket;
use super::config;
use super::confirmed::Confirmed;
use super::deletion::Deletion;
use super::download::{Check, brick_path};
use super::listing::{Side, Sides};
use super::local::{Folder, LocalFile, LocalFiles, Name};
use super::upload::{Job, Uploaded, Uploader};
use crate::archive::Monitor;
use crate::error::{Error, Exit, Result};
use crate::id::{BrickName, Class};
use crate::store::away::{self, AwayPlace};
use crate::store::is_missing;
use crate::store::layout::Layout;

/// Lists of one place before they are made into one.
const MOST_LISTS: usize = 16;
/// All that goes up, but for `store.toml`.
const ALL: [Folder; 7] = [
    Folder::Bricks,
    Folder::Meta,
    Folder::Parity,
    Folder::Bad,
    Folder::Tocs,
    Folder::Snapshots,
    Folder::Roots,
];
/// Bricks that the bucket is asked for, to see whether lists are out of date.
const MOST_ASKED: usize = 256;
/// How often to look again if a gc took files away meanwhile.
const ROUNDS: usize = 5;

/// How to push.
#[derive(Debug, Clone)]
pub struct PushOptions {
    /// The storage class of bricks of class data and of parity; all else stays hot.
    pub storage_class: Option<String>,
    /// Transfers at the same time.
    pub jobs: usize,
    /// Length in bytes of the parts in which long files are sent.
    pub part_size: u64,
    /// Look at what is in the bucket, and rely on no away list.
    pub check: bool,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Delete bricks here that the bucket has.
    pub delete_local: bool,
}

/// What a push did.
#[derive(Debug, Clone, Default)]
pub struct PushSummary {
    /// Files sent.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Of these, bytes that were there from a push that was cut off.
    pub taken_up: u64,
    /// Files that the bucket had.
    pub there: u64,
    /// Bricks that lists say were pushed, but that neither the bucket nor the store has.
    pub lost: Vec<BrickName>,
    /// Bricks whose sidecars are here, but that are neither here nor known in the bucket.
    pub unknown: u64,
    /// One of them.
    pub one_unknown: Option<BrickName>,
    /// Files that were not sent, and why.
    pub damaged: Vec<(PathBuf, String)>,
    /// No tables of contents, snapshots and roots were sent, because a brick is damaged
    /// here that has no mark.
    pub held_back: bool,
    /// Bricks deleted here.
    pub deleted: u64,
    /// Bytes in them.
    pub deleted_bytes: u64,
    /// Bricks that were kept here, and why.
    pub kept: Vec<(PathBuf, String)>,
}

impl PushSummary {
    /// The exit code to end with.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if !self.damaged.is_empty() || !self.lost.is_empty() {
            Exit::Damaged
        } else if self.kept.is_empty() {
            Exit::Done
        } else {
            Exit::Failed
        }
    }
}

/// Brings the bucket up to date with the store `layout`. `warn` gets what may be wrong.
///
/// # Errors
/// A bucket with another store; the first failure of the server, the network or a disk.
/// What was done until then counts, and is not done again.
pub fn push(
    layout: &Layout,
    bucket: &Bucket,
    options: &PushOptions,
    monitor: &Monitor,
    warn: &mut dyn FnMut(String),
) -> Result<PushSummary> {
    let place = AwayPlace {
        class: options.storage_class.clone(),
        ..bucket.away_place()
    };
    // A bucket that was emptied or made anew has nothing of what lists say.
    let is_new = config::send(layout, bucket, options.dry_run, monitor)?;
    let known = away::known(layout, &place, warn)?;
    let lists = away::lists_of(layout, &place)?;
    let listed: HashSet<BrickName> = known.into_iter().map(|(name, _)| name).collect();
    let mut push = Push {
        layout,
        bucket,
        options,
        monitor,
        check: Check::of(layout, None)?,
        looks: options.check || is_new,
        lists_bricks: options.check || is_new || listed.is_empty(),
        known: if is_new {
            HashSet::new()
        } else {
            listed.clone()
        },
        listed,
        is_stale: false,
        confirmed: Confirmed::new(layout, place),
        warnings: Vec::new(),
        summary: PushSummary::default(),
    };
    let pushed = push.all();
    push.warnings.drain(..).for_each(warn);
    // What was confirmed before something failed counts.
    let written = if options.dry_run {
        Ok(())
    } else {
        push.confirmed.write()
    };
    pushed?;
    written?;
    if !options.dry_run {
        push.tidy(&lists)?;
        if options.delete_local && !push.summary.held_back {
            let deletion = Deletion {
                layout,
                bucket,
                part_size: options.part_size,
                known: &push.known,
                monitor,
            };
            deletion.run(options.jobs, &mut push.summary)?;
        }
    }
    Ok(push.summary)
}

struct Push<'a> {
    layout: &'a Layout,
    bucket: &'a Bucket,
    options: &'a PushOptions,
    monitor: &'a Monitor,
    check: Check,
    /// Whether lists are to be made anew by what is in the bucket.
    looks: bool,
    /// Whether bricks are listed in the bucket; otherwise each is asked for that no
    /// list names.
    lists_bricks: bool,
    /// Bricks that the bucket has, by lists and by what was seen.
    known: HashSet<BrickName>,
    /// Those that lists name.
    listed: HashSet<BrickName>,
    /// A list has turned out to be wrong.
    is_stale: bool,
    confirmed: Confirmed<'a>,
    warnings: Vec<String>,
    summary: PushSummary,
}

impl Push<'_> {
    fn all(&mut self) -> Result<()> {
        for _ in 0..ROUNDS {
            if !self.round()? {
                return Ok(());
            }
        }
        Err(Error::Refused {
            path: self.layout.path().to_owned(),
            message: "files are being deleted here all the while; run this again when the gc \
                      has ended"
                .into(),
            exit: Exit::Failed,
        })
    }

    /// Sends all that the bucket lacks; whether something was gone when it was its turn.
    /// Then what took its place may have come after its folder was listed.
    fn round(&mut self) -> Result<bool> {
        // First, so that all that these runs need is found afterwards.
        let roots = self.files(Folder::Roots)?;
        let snapshots = self.files(Folder::Snapshots)?;
        // A sidecar that comes later may have a brick that came after these were listed.
        let sidecars = self.sidecars()?;
        self.summary.damaged.clear();
        self.expect()?;
        let mut vanished = 0;
        for folder in [Folder::Bricks, Folder::Meta, Folder::Parity, Folder::Bad] {
            let mut files = LocalFiles::new(self.layout, folder);
            vanished += self.send(folder, &mut || files.next())?;
        }
        // Others would rely on what is not there. Of a marked one they know.
        self.summary.held_back = self.has_unmarked_damage()?;
        if self.summary.held_back {
            return Ok(false);
        }
        let mut files = LocalFiles::new(self.layout, Folder::Tocs);
        let stood = |file: &LocalFile| {
            let name = Folder::Tocs.name_of(&file.path);
            let name = name.as_ref().and_then(Name::hash);
            name.is_some_and(|name| sidecars.contains(name))
        };
        self.is_stale = false;
        vanished += self.send(Folder::Tocs, &mut || {
            while let Some(file) = files.next()? {
                if stood(&file) {
                    return Ok(Some(file));
                }
            }
            Ok(None)
        })?;
        if self.is_stale {
            // Then nothing counts that they say.
            (self.looks, self.lists_bricks) = (true, true);
            self.known.clear();
            return Ok(true);
        }
        if vanished > 0 {
            return Ok(true);
        }
        self.summary.held_back = self.has_unmarked_damage()?;
        if self.summary.held_back {
            return Ok(false);
        }
        self.count_unknown()?;
        let runs = roots
            .iter()
            .filter_map(|file| Folder::Roots.name_of(&file.path));
        let runs: Vec<Name> = runs.collect();
        // One that is gone is being forgotten.
        let mut files = roots.into_iter();
        self.send(Folder::Roots, &mut || Ok(files.next()))?;
        // A snapshot without a root is the sign of a root that was lost.
        let refused = &self.summary.damaged;
        let refused: Vec<_> = refused.iter().map(|(path, _)| path.clone()).collect();
        let mut files = snapshots.into_iter();
        let layout = self.layout;
        self.send(Folder::Snapshots, &mut || {
            for file in files.by_ref() {
                let Some(Name::Run(run)) = Folder::Snapshots.name_of(&file.path) else {
                    continue;
                };
                let root = layout.root_path(&run);
                let was_sent = root.exists() && !refused.contains(&root);
                if was_sent && runs.contains(&Name::Run(run)) {
                    return Ok(Some(file));
                }
            }
            Ok(None)
        })?;
        Ok(false)
    }

    fn has_unmarked_damage(&self) -> Result<bool> {
        let marked = self.layout.marked()?;
        let damaged = self.summary.damaged.iter();
        let mut bricks = damaged.filter_map(|(path, _)| {
            let path = path.strip_prefix(self.layout.path()).ok()?.to_str()?;
            [Folder::Bricks, Folder::Meta, Folder::Tocs]
                .into_iter()
                .find_map(|folder| folder.name_of(path)?.hash().copied())
        });
        Ok(bricks.any(|name| marked.binary_search(&name).is_err()))
    }

    /// Takes all that is here for what will be sent; what the bucket has is taken off
    /// again as that is seen.
    fn expect(&self) -> Result<()> {
        let mut total = self.monitor.stream.load(Ordering::Relaxed);
        for folder in ALL {
            let mut files = LocalFiles::new(self.layout, folder);
            while let Some(file) = files.next()? {
                total += file.length;
            }
        }
        self.monitor.total.store(total, Ordering::Relaxed);
        Ok(())
    }

    fn expect_less(&self, length: u64) {
        let less = |total: u64| Some(total.saturating_sub(length));
        let order = Ordering::Relaxed;
        // It always succeeds.
        let _ = self.monitor.total.fetch_update(order, order, less);
    }

    fn sidecars(&self) -> Result<HashSet<BrickName>> {
        let (mut all, mut names) = (HashSet::new(), Vec::new());
        for shard in 0..=u8::MAX {
            self.layout.sidecar_names(shard, &mut names)?;
            all.extend(names.drain(..));
        }
        Ok(all)
    }

    fn files(&self, folder: Folder) -> Result<Vec<LocalFile>> {
        let mut files = LocalFiles::new(self.layout, folder);
        let mut all = Vec::new();
        while let Some(file) = files.next()? {
            all.push(file);
        }
        Ok(all)
    }

    /// Sends those of the files that the bucket lacks; how many were gone.
    fn send(
        &mut self,
        folder: Folder,
        files: &mut dyn FnMut() -> Result<Option<LocalFile>>,
    ) -> Result<u64> {
        let mut found = Found::default();
        let mut there = self.bucket.list(folder.path());
        let lists = folder != Folder::Bricks || self.lists_bricks;
        let mut sides = Sides::new(files, || if lists { there.next_entry() } else { Ok(None) });
        let this = &*self;
        let mut next = || loop {
            let Some(side) = sides.next()? else {
                return Ok(None);
            };
            let length = match &side {
                Side::Here(file) | Side::Both(file, _) => file.length,
                Side::There(_) => 0,
            };
            if let Some(file) = this.wanting(folder, side, &mut found)? {
                return Ok(Some(this.job(folder, file)));
            }
            this.expect_less(length);
        };
        let uploaded = if self.options.dry_run {
            this.only_count(&mut next)?
        } else {
            let uploader = Uploader {
                bucket: self.bucket,
                dir: self.layout.path(),
                jobs: self.options.jobs,
                part_size: self.options.part_size,
                monitor: self.monitor,
            };
            uploader.run(&mut next, &|job, length| this.confirm(folder, job, length))?
        };
        self.known.extend(found.bricks);
        if folder == Folder::Bricks {
            self.known.extend(self.confirmed.all());
        }
        self.warnings.append(&mut found.warnings);
        self.is_stale |= found.is_stale;
        let summary = &mut self.summary;
        summary.there += found.there;
        summary.files += uploaded.files;
        summary.bytes += uploaded.bytes;
        summary.taken_up += uploaded.taken_up;
        summary.damaged.extend(uploaded.damaged);
        summary.damaged.append(&mut found.damaged);
        Ok(uploaded.vanished)
    }

    /// The file, if it is here and the bucket lacks it.
    fn wanting(&self, folder: Folder, side: Side, found: &mut Found) -> Result<Option<LocalFile>> {
        let name = |path: &str| folder.name_of(path);
        match side {
            Side::There(entry) => {
                if let Some(Name::Hash(name)) = name(&entry.path) {
                    self.note(folder, name, entry.length, entry.class, found);
                }
                Ok(None)
            }
            Side::Both(file, entry) if file.length == entry.length => {
                found.there += 1;
                if let Some(Name::Hash(name)) = name(&file.path) {
                    self.note(folder, name, entry.length, entry.class, found);
                }
                Ok(None)
            }
            // Its root says what is right; nothing here does.
            Side::Both(file, entry) if folder == Folder::Snapshots => {
                let why = format!(
                    "{} bytes long, but {} in the bucket: find out with `dtar verify` whether it \
                     is this one that is damaged, and delete the one that is",
                    file.length, entry.length
                );
                found
                    .damaged
                    .push((self.layout.path().join(&file.path), why));
                Ok(None)
            }
            Side::Both(file, entry) => {
                if !self.is_sound(folder, &file, found)? {
                    return Ok(None);
                }
                found.warnings.push(format!(
                    "{}: {} bytes long, but {} has {}: it is sent again",
                    self.bucket.place().show(&entry.path),
                    entry.length,
                    self.layout.path().join(&file.path).display(),
                    file.length
                ));
                Ok(Some(file))
            }
            Side::Here(file) if folder == Folder::Bricks => self.wanting_brick(file, found),
            Side::Here(file) => {
                if folder == Folder::Tocs && self.is_only_listed(&file, found)? {
                    return Ok(None);
                }
                Ok(self.is_sound(folder, &file, found)?.then_some(file))
            }
        }
    }

    /// Whether a list alone says that the brick of a sidecar is in the bucket, which lacks
    /// that sidecar: it was not sent for some reason, or the bucket was emptied meanwhile.
    fn is_only_listed(&self, file: &LocalFile, found: &mut Found) -> Result<bool> {
        let name = Folder::Tocs.name_of(&file.path);
        let Some(name) = name.as_ref().and_then(Name::hash) else {
            return Ok(false);
        };
        if self.looks || !self.listed.contains(name) || found.asked == MOST_ASKED {
            return Ok(false);
        }
        found.asked += 1;
        let is_there = self.bucket.look_at(&brick_path(name))?.is_some();
        found.is_stale |= !is_there;
        Ok(!is_there)
    }

    /// Whether a file is what it says; others would rely on it, and it may take the place
    /// of a better one. Those with hashes for names are looked at on their way.
    fn is_sound(&self, folder: Folder, file: &LocalFile, found: &mut Found) -> Result<bool> {
        let Some(name) = folder.name_of(&file.path) else {
            return Ok(false);
        };
        if folder.is_named_by_content() {
            return Ok(true);
        }
        let path = self.layout.path().join(&file.path);
        match self.check.look_at(folder, &name, &path) {
            Ok(()) => Ok(true),
            // It is told when it is its turn.
            Err(Error::Io { source, .. }) if is_missing(&source) => Ok(true),
            Err(error @ Error::Io { .. }) => Err(error),
            Err(error) => {
                let shown = format!("{}: ", path.display());
                let why = format!(
                    "{}; it was not sent: `dtar verify` says what is lost, `dtar rebuild` makes \
                     sidecars anew",
                    error.to_string().replacen(&shown, "", 1)
                );
                found.damaged.push((path, why));
                Ok(false)
            }
        }
    }

    /// As [`Push::wanting`], for a brick that is here and was not seen there.
    fn wanting_brick(&self, file: LocalFile, found: &mut Found) -> Result<Option<LocalFile>> {
        let Some(Name::Hash(name)) = Folder::Bricks.name_of(&file.path) else {
            return Ok(None);
        };
        // One of a run that has not finished, or that was cut off.
        if !self.layout.sidecar_stands(&name)? {
            return Ok(None);
        }
        if self.lists_bricks {
            return Ok(Some(file));
        }
        if self.known.contains(&name) {
            found.there += 1;
            return Ok(None);
        }
        match self.bucket.look_at(&file.path)? {
            Some(object) if object.length == file.length => {
                found.there += 1;
                self.note(Folder::Bricks, name, object.length, object.class, found);
                Ok(None)
            }
            _ => Ok(Some(file)),
        }
    }

    /// Takes note of a brick that is in the bucket.
    fn note(
        &self,
        folder: Folder,
        name: BrickName,
        length: u64,
        class: Option<String>,
        found: &mut Found,
    ) {
        if folder == Folder::Bricks {
            found.bricks.push(name);
            if self.looks || !self.known.contains(&name) {
                self.confirmed.add(name, length, class);
            }
        }
    }

    fn job(&self, folder: Folder, file: LocalFile) -> Job {
        let is_cold = matches!(folder, Folder::Bricks | Folder::Parity);
        let name = folder.name_of(&file.path);
        Job {
            name: name
                .filter(|_| folder.is_named_by_content())
                .and_then(|name| name.hash().copied()),
            class: self.options.storage_class.clone().filter(|_| is_cold),
            path: file.path,
            length: file.length,
        }
    }

    fn confirm(&self, folder: Folder, job: &Job, length: u64) {
        if let (Folder::Bricks, Some(name)) = (folder, job.name) {
            self.confirmed.add(name, length, job.class.clone());
        }
    }

    fn only_count(&self, next: &mut dyn FnMut() -> Result<Option<Job>>) -> Result<Uploaded> {
        let mut counted = Uploaded::default();
        while let Some(job) = next()? {
            self.monitor.check()?;
            counted.files += 1;
            counted.bytes += job.length;
        }
        Ok(counted)
    }

    /// Counts bricks that are nowhere, as far as is known, though their sidecars are here.
    fn count_unknown(&mut self) -> Result<()> {
        let lost: HashSet<BrickName> = if self.looks {
            let seen = self.confirmed.all();
            self.listed
                .iter()
                .filter(|name| !seen.contains(name))
                .copied()
                .collect()
        } else {
            HashSet::new()
        };
        self.summary.unknown = 0;
        self.summary.lost.clear();
        let mut names = Vec::new();
        for shard in 0..=u8::MAX {
            names.clear();
            self.layout.sidecar_names(shard, &mut names)?;
            for name in &names {
                let is_known = self.known.contains(name) && !lost.contains(name);
                if is_known || self.is_here(name)? {
                    continue;
                }
                if lost.contains(name) {
                    self.summary.lost.push(*name);
                } else {
                    self.summary.unknown += 1;
                    self.summary.one_unknown = Some(*name);
                }
            }
        }
        Ok(())
    }

    fn is_here(&self, name: &BrickName) -> Result<bool> {
        for class in [Class::Data, Class::Metadata] {
            let path = self.layout.brick_path(name, class);
            if path.try_exists().map_err(Error::io("look for", path))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes the away lists of this place into few, after a look at all that is there, or
    /// if they are many.
    fn tidy(&self, before: &[PathBuf]) -> Result<()> {
        if self.looks {
            return away::remove(self.layout, before);
        }
        let place = &self.confirmed.place;
        let lists = away::lists_of(self.layout, place)?;
        if lists.len() <= MOST_LISTS {
            return Ok(());
        }
        let mut all: BTreeMap<AwayPlace, Vec<(BrickName, u64)>> = BTreeMap::new();
        let mut damaged = false;
        away::each(
            self.layout,
            &mut |_| damaged = true,
            &mut |found, name, length| {
                if found.is_same_place(place) {
                    all.entry(found.clone()).or_default().push((name, length));
                }
                Ok(())
            },
        )?;
        if damaged {
            return Ok(());
        }
        for (place, mut bricks) in all {
            bricks.sort_unstable();
            bricks.dedup();
            away::write(self.layout, &place, &bricks)?;
        }
        away::remove(self.layout, &lists)
    }
}

/// What was seen while files were compared.
#[derive(Default)]
struct Found {
    there: u64,
    bricks: Vec<BrickName>,
    warnings: Vec<String>,
    damaged: Vec<(PathBuf, String)>,
    /// A list names a brick that the bucket does not have.
    is_stale: bool,
    /// How many it was asked for.
    asked: usize,
}
