//! Getting containers, or single bricks, from tapes into a folder: each tape is loaded
//! once and read forward.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::catalog::{Catalog, Member};
use super::change::{Changer, Obtained, Wanted, obtain};
use super::digest::Digester;
use super::drive::{Drive, Opened};
use super::fewest::fewest;
use super::ring::{Go, Pace, Piece, Stream};
use super::survey::{self, Labelled};
use super::ustar;
use crate::archive::Monitor;
use crate::container::unpack::{lease_in, require_same_store};
use crate::format::container::MemberName;
use crate::format::tape::{ContainerName, TapeName};
use crate::id::{StoreId, TapeId};
use crate::store::atomic::{self, TempFile};
use crate::store::config::StoreConfig;
use crate::store::guard::refuse_links_to;
use crate::store::layout::Layout;
use crate::store::runs::Lease;
use crate::{Error, Result};

/// Bytes of memory between tape and folder.
const STREAM: Stream = Stream {
    memory: 64 << 20,
    heed_warning: false,
};
const CONFIG: &str = "store.toml";
/// The longest configuration of a store that is believed.
const MAX_CONFIG: u64 = 1 << 20;
const TEMP_DIR: &str = ".dtar-tmp";

/// What to get.
pub enum What {
    /// Whole containers: these, or all.
    Containers(Option<BTreeSet<u32>>),
    /// Single members, each under its name in a store: those that the function wants.
    Members {
        /// By the member's name.
        wanted: Box<dyn Fn(&MemberName) -> bool>,
        /// Whether the configuration of the store is wanted too.
        config: bool,
    },
}

/// How to restore.
pub struct RestoreOptions {
    /// What.
    pub what: What,
    /// Into this folder.
    pub to: PathBuf,
}

/// What happens while tapes are read.
#[derive(Debug)]
pub enum RestoreEvent<'a> {
    /// A tape is read: its name, and how many tape files of it.
    Tape(&'a TapeName, usize),
    /// A container is there, or all that is wanted of it.
    Container(u32),
    /// A copy of a container is damaged: which, on which tape, and how.
    Damaged(u32, &'a TapeName, String),
    /// A tape cannot be had, and why.
    NoTape(&'a TapeName, Option<&'a Error>),
}

/// What was restored.
#[derive(Debug, Default)]
pub struct RestoreSummary {
    /// The tapes that were loaded.
    pub tapes: Vec<TapeName>,
    /// Containers of which all is there that is wanted.
    pub containers: BTreeSet<u32>,
    /// Files that were written.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// What is wanted and was found nowhere: names of containers, or of members.
    pub lost: Vec<String>,
    /// How fast the tapes were read.
    pub pace: Pace,
}

/// A tape to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapeLoad {
    /// The tape.
    pub id: TapeId,
    /// What it is called.
    pub name: TapeName,
    /// Numbers of tape file and container to read, in the order in which they stand there.
    pub files: Vec<(u32, u32)>,
}

/// A copy that was tried or will be.
type Copy = (TapeId, u32);

struct Run<'a> {
    catalog: &'a Catalog,
    options: &'a RestoreOptions,
    monitor: &'a Monitor,
    report: &'a mut dyn FnMut(RestoreEvent<'_>),
    /// Copies that were of no use: tape and container.
    failed: BTreeSet<Copy>,
    summary: RestoreSummary,
    needs_config: bool,
}

/// Which tapes to load for these containers, and which files to read of each: each tape
/// once, and few of them ([`fewest`]). Containers that are on no tape are left out.
#[must_use]
pub fn tapes_for(catalog: &Catalog, wanted: &BTreeSet<u32>) -> Vec<TapeLoad> {
    choose(catalog, wanted, &BTreeSet::new())
}

/// As [`tapes_for`], without copies that failed.
fn choose(catalog: &Catalog, wanted: &BTreeSet<u32>, failed: &BTreeSet<Copy>) -> Vec<TapeLoad> {
    let mut tapes = BTreeMap::<(TapeName, TapeId), Vec<(u32, u32)>>::new();
    for place in &catalog.places {
        let copy = (place.tape, place.container);
        if wanted.contains(&place.container) && !failed.contains(&copy) {
            let files = tapes.entry((place.name.clone(), place.tape)).or_default();
            files.push((place.file, place.container));
        }
    }
    let mut holders = BTreeMap::<u32, Vec<usize>>::new();
    for (number, files) in tapes.values().enumerate() {
        for (_, container) in files {
            holders.entry(*container).or_default().push(number);
        }
    }
    let length = |container: u32| {
        let found = catalog.containers.get(&container);
        let whole = found.and_then(|found| found.whole);
        whole.map_or(0, |whole| whole.length)
    };
    let items = holders.into_iter();
    let chosen = fewest(items.map(|(container, tapes)| (tapes, length(container))));
    let mut left = wanted.clone();
    let mut loads = Vec::new();
    // In the order of their names: mostly that in which they stand on the shelf.
    for (number, ((name, id), mut files)) in tapes.into_iter().enumerate() {
        if chosen.contains(&number) {
            files.sort_unstable();
            files.retain(|(_, container)| left.remove(container));
            loads.push(TapeLoad { id, name, files });
        }
    }
    loads.retain(|load| !load.files.is_empty());
    loads
}

/// Gets what is wanted from tapes into a folder. What is there already stays.
///
/// `in_drive` is the tape that is in the drive, if that is known: it comes first.
///
/// # Errors
/// [`Error::Io`] if the folder cannot be written, [`Error::Interrupted`]. What cannot be
/// had is in the summary.
pub fn restore(
    catalog: &Catalog,
    drive: &mut dyn Drive,
    changer: &mut dyn Changer,
    in_drive: Option<TapeId>,
    options: &RestoreOptions,
    monitor: &Monitor,
    report: &mut dyn FnMut(RestoreEvent<'_>),
) -> Result<RestoreSummary> {
    let layout = Layout::new(&options.to);
    let lease = match options.what {
        What::Containers(_) => None,
        What::Members { .. } => {
            let source = Path::new("the catalog of these tapes");
            require_same_store(&layout, catalog.store, source)?;
            lease_in(&layout)?
        }
    };
    atomic::create_dir(&options.to)?;
    let temp = options.to.join(TEMP_DIR);
    atomic::remove_remains(&temp)?;
    let wants_config = matches!(options.what, What::Members { config: true, .. });
    let mut run = Run {
        catalog,
        options,
        monitor,
        report,
        failed: BTreeSet::new(),
        summary: RestoreSummary::default(),
        needs_config: wants_config && !options.to.join(CONFIG).exists(),
    };
    let mut in_drive = in_drive;
    loop {
        let wanted = run.wanted();
        let mut tapes = choose(catalog, &wanted, &run.failed);
        if tapes.is_empty() {
            break;
        }
        if let Some(at) = tapes.iter().position(|tape| Some(tape.id) == in_drive) {
            let first = tapes.remove(at);
            tapes.insert(0, first);
        }
        for TapeLoad { id, name, files } in tapes {
            let is_in_drive = in_drive.take() == Some(id);
            run.use_tape(drive, changer, is_in_drive, id, &name, &files)?;
        }
    }
    // Only if it is empty; then it goes.
    let _ = std::fs::remove_dir(&temp);
    lease.as_ref().map_or(Ok(()), Lease::give_up)?;
    run.tell_lost();
    Ok(run.summary)
}

impl Run<'_> {
    /// The containers from which something is wanted that is not there yet.
    fn wanted(&self) -> BTreeSet<u32> {
        let numbers = self.catalog.containers.keys().copied();
        let mut wanted: BTreeSet<_> = numbers.filter(|number| self.is_wanted(*number)).collect();
        if wanted.is_empty() && self.needs_config {
            // Every container has it.
            let mut places = self.catalog.places.iter();
            let untried = places.find(|place| {
                !self.failed.contains(&(place.tape, place.container))
                    && !self.summary.containers.contains(&place.container)
            });
            wanted.extend(untried.map(|place| place.container));
        }
        wanted
    }

    fn is_wanted(&self, number: u32) -> bool {
        if self.summary.containers.contains(&number) {
            return false;
        }
        match &self.options.what {
            What::Containers(only) => {
                only.as_ref().is_none_or(|only| only.contains(&number))
                    && !self.has_container(number)
            }
            What::Members { .. } => !self.members(number).is_empty(),
        }
    }

    fn container_path(&self, number: u32) -> PathBuf {
        let set = self.catalog.set.into();
        self.options
            .to
            .join(ContainerName { set, number }.to_string())
    }

    /// Files appear whole or not at all: one of the right length is right.
    fn has_container(&self, number: u32) -> bool {
        let whole = self
            .catalog
            .containers
            .get(&number)
            .and_then(|container| container.whole);
        std::fs::metadata(self.container_path(number))
            .is_ok_and(|found| whole.is_none_or(|whole| whole.length == found.len()))
    }

    /// The members of a container that are wanted and not there yet.
    fn members(&self, number: u32) -> Vec<Member> {
        let What::Members { wanted, .. } = &self.options.what else {
            return Vec::new();
        };
        self.select(number, wanted)
    }

    fn select(&self, number: u32, wanted: &dyn Fn(&MemberName) -> bool) -> Vec<Member> {
        let container = self.catalog.containers.get(&number);
        let members = container.and_then(|container| container.members.as_ref());
        let is_there = |member: &Member| {
            std::fs::metadata(self.options.to.join(member.name.to_string()))
                .is_ok_and(|found| found.len() == member.length)
        };
        let members = members.into_iter().flatten();
        members
            .filter(|member| wanted(&member.name) && !is_there(member))
            .cloned()
            .collect()
    }

    fn use_tape(
        &mut self,
        drive: &mut dyn Drive,
        changer: &mut dyn Changer,
        is_in_drive: bool,
        id: TapeId,
        name: &TapeName,
        files: &[(u32, u32)],
    ) -> Result<()> {
        let wanted = Wanted::Tape(name.clone());
        let obtained = obtain(drive, changer, &wanted, is_in_drive, |drive, found| {
            check_tape(drive, &found, id, name)
        });
        let why = match obtained {
            Ok(Obtained::Tape(())) => None,
            Ok(Obtained::NoMore(why)) => Some(why),
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) => Some(Some(error)),
        };
        if let Some(why) = why {
            (self.report)(RestoreEvent::NoTape(name, why.as_ref()));
            let copies = self.catalog.places.iter().filter(|place| place.tape == id);
            self.failed
                .extend(copies.map(|place| (id, place.container)));
            return Ok(());
        }
        (self.report)(RestoreEvent::Tape(name, files.len()));
        self.summary.tapes.push(name.clone());
        for (file, container) in files {
            self.monitor.check()?;
            let problem = match self.read_container(drive, *file, *container) {
                Ok(problem) => problem,
                Err(Error::Interrupted) => return Err(Error::Interrupted),
                // The folder, not the tape: it will not get better by trying others.
                Err(error) if is_of(&error, &self.options.to) => return Err(error),
                Err(error) => Some(error.to_string()),
            };
            if let Some(why) = problem {
                self.failed.insert((id, *container));
                (self.report)(RestoreEvent::Damaged(*container, name, why));
                self.rescue(drive, *file, *container)?;
            } else {
                self.summary.containers.insert(*container);
                (self.report)(RestoreEvent::Container(*container));
            }
        }
        drive.unload()
    }

    /// All copies of a container are damaged: what is sound in this one is kept.
    fn rescue(&mut self, drive: &mut dyn Drive, file: u32, container: u32) -> Result<()> {
        let mut others = self.catalog.places_of(container);
        let all_failed = others.all(|place| self.failed.contains(&(place.tape, container)));
        if matches!(self.options.what, What::Members { .. }) || !all_failed {
            return Ok(());
        }
        let members = self.select(container, &|_| true);
        match self.read_members(drive, file, &members) {
            Err(error) if is_of(&error, &self.options.to) => Err(error),
            Err(Error::Interrupted) => Err(Error::Interrupted),
            _ => Ok(()),
        }
    }

    /// Reads one tape file; says what is wrong with it, if anything is.
    fn read_container(
        &mut self,
        drive: &mut dyn Drive,
        file: u32,
        container: u32,
    ) -> Result<Option<String>> {
        match &self.options.what {
            What::Containers(_) => self.copy(drive, file, container),
            What::Members { .. } => {
                let members = self.members(container);
                self.read_members(drive, file, &members)
            }
        }
    }

    fn copy(&mut self, drive: &mut dyn Drive, file: u32, number: u32) -> Result<Option<String>> {
        if drive.open(file)? == Opened::End {
            return Ok(Some("it is not there".into()));
        }
        let expected = self
            .catalog
            .containers
            .get(&number)
            .and_then(|container| container.whole);
        let path = self.container_path(number);
        let mut temp = TempFile::create(&self.options.to.join(TEMP_DIR))?;
        let mut digester = Digester::default();
        let (mut bad, mut written) = (None, 0_u64);
        let limit = expected.map_or(u64::MAX, |whole| whole.length);
        let pace = STREAM.read(drive, self.monitor, |piece| match piece {
            Piece::Data(bytes) => {
                digester.update(bytes);
                let room = usize::try_from(limit - written).unwrap_or(usize::MAX);
                let bytes = bytes.get(..room.min(bytes.len())).unwrap_or_default();
                temp.write_all(bytes).map_err(Error::io("write", &path))?;
                written += bytes.len() as u64;
                Ok(Go::On)
            }
            Piece::Bad { error, .. } => {
                bad = Some(format!("a block at byte {written} cannot be read: {error}"));
                Ok(Go::Stop)
            }
        })?;
        self.summary.pace.add(pace);
        if bad.is_some() {
            return Ok(bad);
        }
        if digester.end().is_none() {
            return Ok(Some("it is cut off".into()));
        }
        let Some(found) = digester.finish(expected.map(|whole| whole.length)) else {
            return Ok(Some("it is cut off".into()));
        };
        if expected.is_some_and(|expected| expected != found) {
            return Ok(Some("its SHA-256 is not that in the catalog".into()));
        }
        temp.set_len(found.length)
            .map_err(Error::io("write", &path))?;
        temp.publish(&path)?;
        self.summary.files += 1;
        self.summary.bytes += found.length;
        Ok(None)
    }

    fn read_members(
        &mut self,
        drive: &mut dyn Drive,
        file: u32,
        members: &[Member],
    ) -> Result<Option<String>> {
        if drive.open(file)? == Opened::End {
            return Ok(Some("it is not there".into()));
        }
        let config = self.needs_config.then_some(self.catalog.store);
        let mut taker = Taker::new(&self.options.to, members, config);
        let pace = if let Some(skip) = taker.first_wanted() {
            taker.at = drive.skip(skip)?;
            STREAM.read(drive, self.monitor, |piece| taker.take(&piece))?
        } else {
            Pace::default()
        };
        self.summary.pace.add(pace);
        self.summary.files += taker.files;
        self.summary.bytes += taker.bytes;
        self.needs_config &= !taker.has_config;
        let lost = taker.finish();
        if lost.is_empty() {
            return Ok(None);
        }
        let lost: Vec<_> = lost.iter().collect();
        Ok(Some(format!(
            "damaged in it: {}",
            super::members::list(&lost)
        )))
    }

    /// What is wanted and could not be had.
    fn tell_lost(&mut self) {
        let mut lost = Vec::new();
        for number in self.wanted() {
            match &self.options.what {
                What::Containers(_) => {
                    let set = self.catalog.set.into();
                    lost.push(ContainerName { set, number }.to_string());
                }
                What::Members { .. } => {
                    lost.extend(
                        self.members(number)
                            .into_iter()
                            .map(|member| member.name.to_string()),
                    );
                }
            }
        }
        if self.needs_config {
            lost.push(CONFIG.into());
        }
        self.summary.lost = lost;
    }
}

/// Whether a tape is the one that is wanted.
fn check_tape(drive: &mut dyn Drive, found: &Labelled, id: TapeId, name: &TapeName) -> Result<()> {
    let what = match found {
        Labelled::Yes(label) if label.id == id => return Ok(()),
        Labelled::Yes(label) if label.name == *name => {
            "another tape of this name (its id is another)".to_owned()
        }
        Labelled::Yes(label) => format!("the tape {}", label.name),
        Labelled::Blank => "a blank tape".into(),
        // Its files may be sound all the same: their hashes tell.
        Labelled::No(_) => return Ok(()),
    };
    Err(survey::refused(
        drive,
        format!("this is {what}, and {name} is needed"),
    ))
}

fn is_of(error: &Error, dir: &Path) -> bool {
    matches!(error, Error::Io { path, .. } if path.starts_with(dir))
}

/// Where the header of a member stands.
fn header_of(member: &Member) -> u64 {
    member.offset.saturating_sub(ustar::BLOCK as u64)
}

/// Takes members out of a container that streams by.
struct Taker<'a> {
    to: &'a Path,
    /// Those that are wanted, in order of their offsets.
    members: &'a [Member],
    next: usize,
    /// The offset of the next byte of the container.
    at: u64,
    current: Option<(TempFile, blake3::Hasher)>,
    hole: bool,
    lost: Vec<MemberName>,
    files: u64,
    bytes: u64,
    /// Where the next header stands, while the configuration is looked for.
    header_at: Option<u64>,
    /// A header or the configuration's body, as far as it has come.
    collected: Vec<u8>,
    config_length: Option<u64>,
    /// The store that it must name.
    store: Option<StoreId>,
    has_config: bool,
    /// The header of the next member, as far as it has come.
    header: Vec<u8>,
}

impl<'a> Taker<'a> {
    fn new(to: &'a Path, members: &'a [Member], config: Option<StoreId>) -> Self {
        Self {
            to,
            members,
            next: 0,
            at: 0,
            current: None,
            hole: false,
            lost: Vec::new(),
            files: 0,
            bytes: 0,
            header_at: config.map(|_| 0),
            collected: Vec::new(),
            config_length: None,
            store: config,
            has_config: false,
            header: Vec::new(),
        }
    }

    /// The offset of the first byte that is wanted, if any is.
    fn first_wanted(&self) -> Option<u64> {
        if self.header_at.is_some() {
            return Some(0);
        }
        self.members.first().map(header_of)
    }

    fn take(&mut self, piece: &Piece<'_>) -> Result<Go> {
        match piece {
            Piece::Data(bytes) => {
                self.look_for_config(bytes)?;
                self.pass(bytes.len() as u64, Some(bytes))?;
            }
            Piece::Bad { length, .. } => {
                // The headers are lost track of.
                self.header_at = None;
                self.pass(*length, None)?;
            }
        }
        let done = self.next == self.members.len() && self.header_at.is_none();
        Ok(if done { Go::Stop } else { Go::On })
    }

    fn pass(&mut self, length: u64, bytes: Option<&[u8]>) -> Result<()> {
        let (start, end) = (self.at, self.at.saturating_add(length));
        self.at = end;
        while let Some(member) = self.members.get(self.next) {
            let member_end = member.offset.saturating_add(member.length);
            self.collect_header(member, (start, end), bytes);
            let (from, to) = (start.max(member.offset), end.min(member_end));
            if from > member.offset && self.current.is_none() {
                self.hole = true;
            }
            if from < to {
                let part = bytes.and_then(|bytes| {
                    let from = usize::try_from(from - start).ok()?;
                    bytes.get(from..usize::try_from(to - start).ok()?)
                });
                self.put(part)?;
            }
            if end < member_end {
                return Ok(());
            }
            self.end_member(member)?;
        }
        Ok(())
    }

    /// Collects what of `bytes`, which are those from `start` to `end` of the container, is
    /// of a member's header.
    fn collect_header(&mut self, member: &Member, (start, end): (u64, u64), bytes: Option<&[u8]>) {
        let (from, to) = (start.max(header_of(member)), end.min(member.offset));
        if from < to
            && let Some(bytes) = bytes
            && let Ok(from) = usize::try_from(from - start)
            && let Ok(to) = usize::try_from(to - start)
        {
            let part = bytes.get(from..to).unwrap_or_default();
            self.header.extend_from_slice(part);
        }
    }

    fn put(&mut self, part: Option<&[u8]>) -> Result<()> {
        let Some(part) = part.filter(|_| !self.hole) else {
            self.hole = true;
            self.current = None;
            return Ok(());
        };
        if self.current.is_none() {
            let temp = TempFile::create(&self.to.join(TEMP_DIR))?;
            self.current = Some((temp, blake3::Hasher::new()));
        }
        if let Some((temp, hash)) = &mut self.current {
            hash.update(part);
            temp.write_all(part)
                .map_err(Error::io("write in", self.to))?;
        }
        Ok(())
    }

    fn end_member(&mut self, member: &Member) -> Result<()> {
        self.next += 1;
        let header = ustar::parse(&self.header);
        self.header.clear();
        // What is not named by its hash must at least be what stands there: another tape, whose
        // label cannot be read, may be in the drive.
        let is_named = member.name.promised_hash().is_some()
            || header.is_some_and(|header| header == (member.name.to_string(), member.length));
        let hole = std::mem::take(&mut self.hole) || !is_named;
        if member.length == 0 && !hole {
            self.put(Some(&[]))?;
        }
        let sound = self.current.take().filter(|(_, hash)| {
            member
                .name
                .promised_hash()
                .is_none_or(|promised| hash.finalize() == promised)
        });
        let Some((temp, _)) = sound.filter(|_| !hole) else {
            self.lost.push(member.name.clone());
            return Ok(());
        };
        let target = self.to.join(member.name.to_string());
        refuse_links_to(self.to, &target)?;
        temp.publish(&target)?;
        self.files += 1;
        self.bytes += member.length;
        Ok(())
    }

    /// Follows the headers from the start of the container to that of the configuration,
    /// which no catalog lists.
    fn look_for_config(&mut self, bytes: &[u8]) -> Result<()> {
        let start = self.at;
        let end = start + bytes.len() as u64;
        while let Some(header_at) = self.header_at {
            let wanted = self.config_length.unwrap_or(ustar::BLOCK as u64);
            let have = self.collected.len() as u64;
            let from = header_at + have;
            if from >= end {
                return Ok(());
            }
            let until = (header_at + wanted).min(end);
            let range = usize::try_from(from - start)
                .ok()
                .zip(usize::try_from(until - start).ok());
            let part = range.and_then(|(from, until)| bytes.get(from..until));
            self.collected.extend_from_slice(part.unwrap_or_default());
            if (self.collected.len() as u64) < wanted {
                return Ok(());
            }
            self.end_collected(header_at)?;
        }
        Ok(())
    }

    fn end_collected(&mut self, header_at: u64) -> Result<()> {
        if self.config_length.take().is_some() {
            let path = self.to.join(CONFIG);
            let found = StoreConfig::unverified_id(&path, &self.collected);
            if found.ok() != self.store {
                // It is damaged; every container has one.
                self.header_at = None;
                return Ok(());
            }
            // A store has this folder from the beginning; its absence shows a loss.
            atomic::create_dir(&Layout::new(self.to).roots_dir())?;
            let temp = self.to.join(TEMP_DIR);
            atomic::write(&temp, &self.to.join(CONFIG), &self.collected)?;
            self.has_config = true;
            self.files += 1;
            self.bytes += self.collected.len() as u64;
            self.header_at = None;
            return Ok(());
        }
        let body = header_at + ustar::BLOCK as u64;
        let parsed = ustar::parse(&self.collected);
        self.header_at = match parsed
            .as_ref()
            .map(|(name, length)| (name.as_str(), *length))
        {
            Some((CONFIG, length)) if length <= MAX_CONFIG => {
                self.config_length = Some(length);
                Some(body)
            }
            Some((name, length)) if name.starts_with("formats/") || header_at == 0 => {
                Some(body + ustar::padded(length))
            }
            _ => None,
        };
        self.collected.clear();
        Ok(())
    }

    /// Names of those that could not be had.
    fn finish(mut self) -> Vec<MemberName> {
        let rest = self.members.get(self.next..).unwrap_or_default();
        self.lost
            .extend(rest.iter().map(|member| member.name.clone()));
        self.lost
    }
}
