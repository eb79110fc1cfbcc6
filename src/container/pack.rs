//! Packing into a folder: containers that appear whole, and a run that goes on where another
//! was cut off.

use std::collections::HashSet;
use std::io::{BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use super::catalog::Head;
use super::check::check;
use super::fill::Fill;
use super::gather::{Brick, Carriers, Gather, InSet, Queue, Wanted, carriers};
use super::lock::CatalogLock;
use super::part::{Expected, Part, part_path};
use super::read::Container;
use super::store::OpenSet;
use super::told::{PackOptions, PackSummary, Packed, Packing};
use super::write::{Mark, Member, Opening, Trouble, Writer};
use crate::archive::Monitor;
use crate::crypto::PutKeys;
use crate::error::{Error, Exit, Result};
use crate::format::container::{Label, Line, MAX_CONTAINERS, MemberName, Sum, file_name, put_line};
use crate::format::note::NoteKind;
use crate::id::BrickName;
use crate::store::layout::RunName;
use crate::store::runs::Lease;
use crate::store::{Store, atomic, guard};

/// Packs what is not in a set yet into containers in a folder.
///
/// # Errors
/// What hinders it. A damaged brick does not; it is left out, and told.
pub fn pack(
    store: &Store,
    keys: &PutKeys,
    options: &PackOptions,
    told: &mut dyn FnMut(&Packing<'_>),
    monitor: &Monitor,
) -> Result<PackSummary> {
    let lease = Lease::take(store, keys, NoteKind::ArchiverLease, "dtar pack")?;
    let mut in_set = InSet::default();
    let set = OpenSet::find(store, options, &mut in_set)?;
    let config_path = store.layout().config_path();
    let mut config = Vec::new();
    let file = guard::open_file(&config_path).map_err(Error::io("open", &config_path))?;
    file.take(1 << 20)
        .read_to_end(&mut config)
        .map_err(Error::io("read", &config_path))?;
    let mut pack = Pack {
        store,
        lease: &lease,
        options,
        told,
        monitor,
        config,
        summary: PackSummary {
            set: set.head.set.to_string(),
            ..PackSummary::default()
        },
        set,
        in_set,
        carriers: carriers(store, keys, monitor)?,
        queue: Queue::default(),
        keys,
        void: Vec::new(),
        void_runs: HashSet::new(),
    };
    let outcome = pack.run();
    let summary = std::mem::take(&mut pack.summary);
    match outcome {
        Ok(()) => lease.give_up().map(|()| summary),
        Err(error) => Err(lease.explain(error)),
    }
}

struct Pack<'a> {
    store: &'a Store,
    keys: &'a PutKeys,
    lease: &'a Lease,
    options: &'a PackOptions,
    told: &'a mut dyn FnMut(&Packing<'_>),
    monitor: &'a Monitor,
    config: Vec<u8>,
    summary: PackSummary,
    set: OpenSet,
    in_set: InSet,
    carriers: Carriers,
    queue: Queue,
    /// Bricks that are damaged.
    void: Vec<BrickName>,
    /// Runs whose root or snapshot could not be read: they wait for the next time, for what
    /// is in a set is not packed again.
    void_runs: HashSet<RunName>,
}

impl Pack<'_> {
    fn run(&mut self) -> Result<()> {
        if !self.options.dry_run {
            atomic::create_dir(&self.options.to)?;
        }
        while let Some(path) = self.found()? {
            self.take_over(path)?;
        }
        let gather = Gather {
            store: self.store,
            keys: self.keys,
            in_set: &self.in_set,
            carriers: &self.carriers,
        };
        let wanted = match &self.options.only {
            Some(bricks) => Wanted::These(bricks.clone()),
            None => Wanted::Runs(self.options.since.as_ref()),
        };
        self.queue = gather.queue(wanted, self.options.parity)?;
        let total = self
            .queue
            .bricks
            .iter()
            .map(|brick| brick.brick.length)
            .sum();
        self.monitor.total.store(total, Ordering::Relaxed);
        self.summary.unneeded = self.queue.unneeded;
        self.summary.missing = self.queue.missing.len() as u64;
        for (path, error) in std::mem::take(&mut self.queue.too_long) {
            (self.told)(&Packing::LeftOut(&error));
            self.summary.too_long.push(path);
        }
        let is_enough = |done: u64| self.options.most.is_some_and(|most| done >= most);
        while !is_enough(self.summary.containers) && self.container()? {}
        self.summary.left = self.queue.bricks.len() as u64;
        self.summary.runs_left = self.queue.runs.len() as u64;
        Ok(())
    }

    fn next_path(&self) -> PathBuf {
        let head = &self.set.head;
        self.options.to.join(file_name(&head.set, head.last() + 1))
    }

    /// The next container, if it is there: nobody has entered it.
    fn found(&self) -> Result<Option<PathBuf>> {
        let path = self.next_path();
        let stands = path.try_exists().map_err(Error::io("look for", &path))?;
        Ok(stands.then_some(path))
    }

    /// Enters a container that a run made which was cut off after that.
    fn take_over(&mut self, path: PathBuf) -> Result<()> {
        let container = Container::open(&path)?;
        let head = &self.set.head;
        let expected = (head.set, head.last() + 1, head.store);
        let label = &container.label;
        if (label.set, label.number, label.store) != expected {
            return Err(Error::Refused {
                message: "it has the name of the next container, and is another's; move it away"
                    .into(),
                path,
                exit: Exit::Failed,
            });
        }
        let (sum, members) = check(&container, head, self.monitor)?;
        let mut lines = String::new();
        put_line(&mut lines, &Line::In(label.number));
        let mut bricks = 0;
        for (offset, length, name) in members {
            self.in_set.add(&name);
            bricks += u64::from(name.as_brick().is_some());
            put_line(&mut lines, &Line::Member(offset, length, name));
        }
        if self.options.dry_run {
            self.set.head.containers.push(Some(sum));
        } else {
            atomic::settle(&path)?;
            let lock = self.lock()?;
            self.enter((sum, &lines), &lock)?;
        }
        self.done(&Packed {
            path,
            length: sum.length,
            bricks,
            found: true,
        });
        Ok(())
    }

    /// Nobody else enters anything as long as this is held, and what was entered is known.
    fn lock(&mut self) -> Result<CatalogLock> {
        let layout = self.store.layout();
        let lock = CatalogLock::take(layout)?;
        self.set.refresh(layout, &self.options.to)?;
        Ok(lock)
    }

    fn enter(&mut self, entry: (Sum, &str), lock: &CatalogLock) -> Result<()> {
        self.lease.require()?;
        let layout = self.store.layout();
        self.set.enter(layout, self.lease, entry, lock)
    }

    fn done(&mut self, packed: &Packed) {
        self.summary.containers += 1;
        self.summary.bytes += packed.length;
        self.summary.bricks += packed.bricks;
        (self.told)(&Packing::Done(packed));
    }

    /// Makes the next container; `false`: nothing is left to be packed.
    fn container(&mut self) -> Result<bool> {
        if !self.options.dry_run {
            let layout = self.store.layout();
            self.set.refresh(layout, &self.options.to)?;
        }
        let path = self.next_path();
        let number = self.set.head.last() + 1;
        if number > MAX_CONTAINERS {
            return Err(Error::Usage(
                "this set is full: begin another with --new-set".into(),
            ));
        }
        let mut part = if self.options.dry_run || self.has_nothing()? {
            None
        } else {
            Some(self.part(&path)?)
        };
        let time = SystemTime::now().duration_since(UNIX_EPOCH);
        let mut label = Label {
            set: self.set.head.set,
            number,
            store: self.set.head.store,
            bound: self.options.bound,
            time: time.map_or(0, |time| time.as_secs()),
        };
        if let Some(Part {
            label: Some(kept), ..
        }) = &part
        {
            label = kept.clone();
        }
        let mut head = self.set.head.clone();
        head.containers.push(None);
        let opening = Opening {
            label: &label,
            config: &self.config.clone(),
        };
        // The line `in` of this container besides.
        let lines = head.lines().len() as u64 + self.set.lines_length() + 16;
        if let Some(part) = &mut part {
            let mut fill = Fill::new(label.bound, part.opening().unwrap_or_default(), lines);
            let fits = |brick: &&Brick| fill.take(&brick.both());
            let fitting = part.kept.iter().take_while(fits).count();
            part.keep(fitting);
        }
        let kept = part.as_ref().map_or(Vec::new(), |part| part.kept.clone());
        let begins = part.as_ref().and_then(Part::opening);
        let begins = begins.unwrap_or_else(|| opening.length());
        let mut fill = Fill::new(label.bound, begins, lines);
        let bricks = self.choose(&mut fill, &kept)?;
        if fill.members.is_empty() {
            if let Some(next) = self.queue.bricks.front() {
                return Err(too_small(&next.brick, label.bound));
            }
            part.as_ref().map_or(Ok(()), Part::remove)?;
            return self.nothing_fits(label.bound).map(|()| false);
        }
        if let Some(part) = &mut part {
            self.write(part, &opening, &head, (fill, kept.len()), &path)?;
            return Ok(true);
        }
        // A dry run: as if it had been made.
        head.containers.pop();
        head.containers.push(Some(Sum {
            length: fill.length(),
            sha256: [0; 32],
        }));
        self.set.head = head;
        for member in &fill.members {
            self.in_set.add(&member.name);
        }
        self.done(&Packed {
            path,
            length: fill.length(),
            bricks,
            found: false,
        });
        Ok(true)
    }

    fn part(&self, path: &Path) -> Result<Part> {
        let expected = Expected {
            head: &self.set.head,
            in_set: &self.in_set,
            bound: self.options.bound,
            layout: self.store.layout(),
            monitor: self.monitor,
        };
        Part::open(path, &expected)
    }

    /// Whether nothing is left, so that no file need be begun.
    fn has_nothing(&self) -> Result<bool> {
        if !self.queue.bricks.is_empty() || part_path(&self.next_path()).exists() {
            return Ok(false);
        }
        let mut rest = Fill::new(u64::MAX, 0, 0);
        self.runs_and_parity(&mut rest, &[])
            .map(|_| rest.members.is_empty())
    }

    /// An error if something could be packed that no container of this bound can hold.
    fn nothing_fits(&self, bound: u64) -> Result<()> {
        let mut rest = Fill::new(u64::MAX, 0, 0);
        self.runs_and_parity(&mut rest, &[])?;
        let first = rest.members.first();
        first.map_or(Ok(()), |member| Err(too_small(member, bound)))
    }

    /// Fills a container: bricks that were kept, others, sidecars, parity, roots.
    fn choose(&mut self, fill: &mut Fill, kept: &[Brick]) -> Result<u64> {
        let mut taken: Vec<Brick> = Vec::new();
        for brick in kept {
            if !fill.take(&brick.both()) {
                return Err(Error::Internal(
                    "a container that was begun does not fit".into(),
                ));
            }
            taken.push(brick.clone());
        }
        let is_kept = |name: &MemberName| kept.iter().any(|brick| brick.brick.name == *name);
        while let Some(brick) = self.queue.bricks.pop_front() {
            if is_kept(&brick.brick.name) {
                continue;
            }
            if !fill.take(&brick.both()) {
                self.queue.bricks.push_front(brick);
                break;
            }
            taken.push(brick);
        }
        fill.members.clear();
        let (data, meta): (Vec<_>, Vec<_>) = taken
            .iter()
            .partition(|brick| matches!(brick.brick.name, MemberName::Brick(_)));
        let bricks = data.into_iter().chain(meta);
        let in_order: Vec<&Brick> = bricks.collect();
        fill.members
            .extend(in_order.iter().map(|brick| brick.brick.clone()));
        fill.members
            .extend(in_order.iter().filter_map(|brick| brick.sidecar.clone()));
        let names: Vec<BrickName> = taken
            .iter()
            .filter_map(|brick| brick.brick.name.as_brick().copied())
            .collect();
        let (parity, runs) = self.runs_and_parity(fill, &names)?;
        self.queue.parity = parity;
        self.queue.runs = runs;
        Ok(names.len() as u64)
    }

    /// Takes what of parity and runs is complete with `new` bricks; returns what is not.
    #[expect(clippy::type_complexity, reason = "the two lists of the queue")]
    fn runs_and_parity(
        &self,
        fill: &mut Fill,
        new: &[BrickName],
    ) -> Result<(Vec<(Member, Vec<BrickName>)>, Vec<RunName>)> {
        let new: HashSet<_> = new.iter().collect();
        let has = |name: &BrickName| new.contains(name) || self.in_set.has_brick(name);
        let mut parity = self.queue.parity.clone();
        parity.retain(|(file, bricks)| {
            !(bricks.iter().all(has) && fill.take(std::slice::from_ref(file)))
        });
        let gather = Gather {
            store: self.store,
            keys: self.keys,
            in_set: &self.in_set,
            carriers: &self.carriers,
        };
        let mut runs = Vec::new();
        for run in &self.queue.runs {
            self.monitor.check()?;
            if self.void_runs.contains(run) {
                runs.push(run.clone());
                continue;
            }
            let is_taken = match gather.run_members(run, &has)? {
                Some(members) => members.is_empty() || fill.take(&members),
                None => false,
            };
            if !is_taken {
                runs.push(run.clone());
            }
        }
        Ok((parity, runs))
    }

    fn write(
        &mut self,
        part: &mut Part,
        opening: &Opening<'_>,
        head: &Head,
        (fill, kept): (Fill, usize),
        path: &Path,
    ) -> Result<()> {
        let monitor = self.monitor;
        let name = part.path.clone();
        let output = BufWriter::with_capacity(
            1 << 20,
            part.file
                .try_clone()
                .map_err(Error::io("write", &part.path))?,
        );
        let mut writer = Writer::new(
            output,
            &name,
            (opening.label.number, opening.label.time),
            monitor,
        );
        if kept == 0 {
            part.cut(0)?;
            writer.opening(opening)?;
        } else {
            part.read_again(&mut writer)?;
        }
        for brick in &part.kept {
            self.in_set.add(&brick.brick.name);
        }
        self.summary.resumed += kept as u64;
        let mut bricks = kept as u64;
        let is_of_bricks = |member: &Member| {
            member.name.as_brick().is_some() || member.name_of_sidecar().is_some()
        };
        let (first, rest): (Vec<_>, Vec<_>) =
            fill.members[kept..].iter().cloned().partition(is_of_bricks);
        let left_out = self.void.len();
        for member in &first {
            let is_void = |name| self.void.contains(name);
            if member.name_of_sidecar().is_some_and(is_void) {
                continue;
            }
            bricks += u64::from(
                self.member(member, &mut writer, part)? && member.name.as_brick().is_some(),
            );
        }
        let rest = if self.void.len() == left_out {
            rest
        } else {
            self.still_complete(rest)?
        };
        for member in &rest {
            // The snapshot stands before its root, and not without it.
            if matches!(&member.name, MemberName::Root(run) if self.void_runs.contains(run)) {
                continue;
            }
            self.member(member, &mut writer, part)?;
        }
        let (mut before, before_path) = self.set.lines();
        let length = self.set.lines_length();
        let (output, sum, lines) = writer.finish(head, (before.as_mut(), length, &before_path))?;
        drop(before);
        output
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all())
            .map_err(Error::io("write", &part.path))?;
        if sum.length > opening.label.bound {
            return Err(Error::Internal(
                "a container became longer than planned".into(),
            ));
        }
        let lock = match self.lock() {
            Err(error @ Error::Refused { .. }) => {
                // It has a number that is another's now.
                part.remove()?;
                return Err(error);
            }
            lock => lock?,
        };
        atomic::rename_new_durably(&part.path, path)?;
        self.enter((sum, &lines), &lock)?;
        drop(lock);
        self.done(&Packed {
            path: path.to_owned(),
            length: sum.length,
            bricks,
            found: false,
        });
        Ok(())
    }

    /// Writes a member; `false`: it is left out.
    fn member<W: Write + Seek>(
        &mut self,
        member: &Member,
        writer: &mut Writer<'_, W>,
        part: &Part,
    ) -> Result<bool> {
        let mark = writer.mark();
        match writer.member(member) {
            Ok(()) => {
                self.in_set.add(&member.name);
                Ok(true)
            }
            Err(Trouble::Other(error)) => Err(error),
            Err(Trouble::Source(error)) => {
                self.leave_out(member, &error, writer, mark, part)?;
                Ok(false)
            }
        }
    }

    /// Those of `members`, of runs and parity, of which all bricks are in the set now that
    /// some were left out. The others wait.
    fn still_complete(&mut self, members: Vec<Member>) -> Result<Vec<Member>> {
        let gather = Gather {
            store: self.store,
            keys: self.keys,
            in_set: &self.in_set,
            carriers: &self.carriers,
        };
        let has = |name: &BrickName| self.in_set.has_brick(name);
        let mut complete = Vec::new();
        for member in members {
            let (run, is_complete) = match &member.name {
                MemberName::Root(run) | MemberName::Snapshot(run) => {
                    (Some(run), gather.run_members(run, &has)?.is_some())
                }
                // What serves a set of bricks of which some are missing serves no less.
                _ => (None, true),
            };
            if is_complete {
                complete.push(member);
            } else if let Some(run) = run
                && !self.queue.runs.contains(run)
            {
                self.queue.runs.push(run.clone());
            }
        }
        self.queue.runs.sort_unstable();
        Ok(complete)
    }

    /// Undoes what was written of a member whose file is at fault. A root or snapshot that
    /// went away was forgotten.
    fn leave_out<W: Write + Seek>(
        &mut self,
        member: &Member,
        error: &Error,
        writer: &mut Writer<'_, W>,
        mark: Mark,
        part: &Part,
    ) -> Result<()> {
        let position = mark.position;
        writer.out.flush().map_err(Error::io("write", &part.path))?;
        part.cut(position)?;
        writer
            .out
            .seek(SeekFrom::Start(position))
            .map_err(Error::io("write", &part.path))?;
        writer.back_to(mark);
        if let Some(name) = member.name.as_brick() {
            self.void.push(*name);
        }
        if matches!(error, Error::Io { source, .. } if source.kind() == ErrorKind::NotFound)
            && member.name.as_brick().is_none()
        {
            return Ok(());
        }
        if let MemberName::Snapshot(run) | MemberName::Root(run) = &member.name {
            self.void_runs.insert(run.clone());
            self.queue.runs.push(run.clone());
        }
        self.summary.damaged.push(member.path.clone());
        (self.told)(&Packing::LeftOut(error));
        Ok(())
    }
}

fn too_small(member: &Member, bound: u64) -> Error {
    Error::Usage(format!(
        "--size: {bound} bytes are too few for {} ({} bytes), pages and catalog beside it; give a \
         larger size",
        member.path.display(),
        member.length
    ))
}
