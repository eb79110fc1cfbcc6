//! Walks an index and turns it into batches of output, with frames under way.

use std::sync::Arc;

use super::batch::{Batch, Batches, Gone, Name, Op};
use super::elsewhere::Elsewhere;
use super::frames::{FrameCache, FrameSpec};
use super::locate::{Locator, Place};
use super::select::Selection;
use super::slot::{Failure, Slot};
use super::steps::Segment;
use crate::error::{Exit, Result};
use crate::format::record::{Counts, Item, Kind, List, Record, add_counts, decode_list};
use crate::id::ChunkHash;
use crate::index::Region;
use crate::tar::{BLOCK, Extension, Globals, Member, Part, extensions, parts};
use crate::verify::Share;

/// What the walk found worth saying.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Walked {
    /// Members that were emitted.
    pub members: u64,
    /// Patterns that matched nothing.
    pub unmatched: Vec<String>,
    /// Selected members that the stream cuts short, by name: left out.
    pub cut_short: Vec<Vec<u8>>,
    /// Selected hard links whose targets are not selected: names and targets.
    pub dangling: Vec<(Vec<u8>, Vec<u8>)>,
    /// Why lists of chunks were read from their copies, each reason once.
    pub mended: Vec<String>,
    /// Bytes of chunks that were not to be read.
    pub unread: u64,
}

/// Turns segments into batches.
pub(super) struct Walker {
    members: Region,
    pub(super) locator: Locator,
    frames: FrameCache,
    elsewhere: Option<Arc<Elsewhere>>,
    selection: Option<Selection>,
    walked: Walked,
    out: Batches,
    batch: Batch,
    run: Vec<u8>,
    globals: Globals,
    /// Global headers before the next selected member. Readers do not expect
    /// them at the end, so they wait for it.
    waiting_globals: Vec<u8>,
    /// Whether bodies are hashed as a whole: where no hash of the stream is
    /// at hand, or no seal, nothing else says that their chunks were put together right.
    hashes_bodies: bool,
    /// The frames to be read; all, if nothing is said.
    share: Option<Share>,
}

/// Names of members cut short, names of links, and reasons are kept up to so many.
const MOST_NAMES: usize = 1000;
/// Bytes of global headers that wait at most.
const MOST_WAITING: usize = 1 << 20;
/// Blocking factor of a selection's end: 20 blocks, as tar writes.
const RECORD: u64 = 10_240;

impl Walker {
    pub(super) fn new(
        members: Region,
        locator: Locator,
        frames: FrameCache,
        selection: Option<Selection>,
        out: Batches,
    ) -> Self {
        let hashes_bodies = selection.is_some() || !locator.has_trailer();
        Self {
            members,
            locator,
            elsewhere: frames.elsewhere(),
            frames,
            selection,
            hashes_bodies,
            share: None,
            walked: Walked::default(),
            out,
            batch: Batch::default(),
            run: Vec::new(),
            globals: Globals::default(),
            waiting_globals: Vec::new(),
        }
    }

    /// Hashes every body as a whole, though the hash of the stream is at hand.
    pub(super) fn hash_bodies(&mut self) {
        self.hashes_bodies = true;
    }

    /// Reads only the frames of this share, and those of lists. The bodies are others then.
    pub(super) fn read_only(&mut self, share: Share) {
        self.share = Some(share);
        self.hashes_bodies = false;
    }

    /// Emits one segment.
    pub(super) fn segment(&mut self, segment: &Segment) -> Result<Result<(), Gone>> {
        let Segment {
            start,
            length,
            ref record,
        } = *segment;
        self.members.seek(start);
        let mut run = std::mem::take(&mut self.run);
        run.clear();
        run.extend_from_slice(self.members.take(length)?);
        crate::tar::rewrite::restore(&mut run, record)
            .map_err(|source| crate::Error::decode(self.members.path(), start)(source))?;
        let outcome = match self.selection {
            None => self.whole(&run, record),
            Some(_) => self.selected(&run, record),
        };
        self.run = run;
        outcome?;
        Ok(self.send_if_full())
    }

    fn whole(&mut self, run: &[u8], record: &Record) -> Result<()> {
        let body_follows = record.kind == Kind::Member;
        if body_follows && run.len() == BLOCK && self.globals.is_empty() {
            // The usual case, and where members are tiny the one that counts.
            let start = self.batch.bytes.len();
            self.bytes(run);
            self.walked.members += 1;
            return self.body(record, Name::Header(start..start + run.len()));
        }
        let mut name = Vec::new();
        let mut position = 0;
        let mut archive_end = None;
        for part in parts(run, body_follows) {
            match part {
                Part::ZeroBlocks(count) => {
                    if count > 1 {
                        archive_end.get_or_insert(position);
                    }
                    position += count * 512;
                }
                Part::Group { bytes, has_body } => {
                    self.globals.read(bytes);
                    position += bytes.len() as u64;
                    if has_body && let Some(member) = Member::parse(bytes, &self.globals) {
                        name = member.name;
                    }
                }
            }
        }
        if let Some(ahead) = archive_end {
            self.batch.ops.push(Op::ArchiveEnd { ahead });
        }
        self.bytes(run);
        self.walked.members += u64::from(body_follows);
        let name = self.text(&name);
        self.body(record, name)
    }

    fn selected(&mut self, run: &[u8], record: &Record) -> Result<()> {
        let mut wanted_body = None;
        for part in parts(run, record.kind == Kind::Member) {
            let Part::Group { bytes, has_body } = part else {
                continue;
            };
            self.globals.read(bytes);
            let member = Member::parse(bytes, &self.globals);
            let wanted = match (&member, &mut self.selection) {
                (Some(member), Some(selection)) => selection.wants(&member.name),
                _ => false,
            };
            if wanted && let Some(member) = &member {
                self.look_at_link(member);
            }
            match member {
                Some(member) if wanted && has_body => wanted_body = Some((bytes, member.name)),
                Some(_) if wanted => {
                    self.walked.members += 1;
                    self.selected_group(bytes);
                }
                // Global headers go on to hold for what follows.
                _ => {
                    for extension in extensions(bytes).filter(Extension::is_global) {
                        let header = &bytes[extension.range];
                        self.waiting_globals.extend_from_slice(header);
                    }
                    if self.waiting_globals.len() > MOST_WAITING {
                        self.selected_group(&[]);
                    }
                }
            }
        }
        match wanted_body {
            Some((_, name)) if record.declared.is_some() => {
                if self.walked.cut_short.len() < MOST_NAMES {
                    self.walked.cut_short.push(name);
                }
                self.skip(record)
            }
            Some((group, name)) => {
                self.walked.members += 1;
                self.selected_group(group);
                let name = self.text(&name);
                self.body(record, name)
            }
            None => self.skip(record),
        }
    }

    /// Emits the global headers that wait, and a group.
    fn selected_group(&mut self, group: &[u8]) {
        let waiting = std::mem::take(&mut self.waiting_globals);
        self.bytes(&waiting);
        self.bytes(group);
    }

    /// Notes a hard link that cannot be extracted without what it links to.
    fn look_at_link(&mut self, member: &Member) {
        let selected = |selection: &Selection| selection.would_want(&member.link);
        if member.type_flag == b'1'
            && !self.selection.as_ref().is_some_and(selected)
            && self.walked.dangling.len() < MOST_NAMES
        {
            let names = (member.name.clone(), member.link.clone());
            self.walked.dangling.push(names);
        }
    }

    fn text(&mut self, name: &[u8]) -> Name {
        let start = self.batch.bytes.len();
        self.batch.bytes.extend_from_slice(name);
        Name::Text(start..self.batch.bytes.len())
    }

    fn body(&mut self, record: &Record, name: Name) -> Result<()> {
        self.batch.ops.push(Op::Member(name));
        if record.kind == Kind::Tail
            && matches!(record.items.first(), Some(Item::Zeros { length }) if *length >= 1024)
        {
            self.batch.ops.push(Op::ArchiveEnd { ahead: 0 });
        }
        // Of a body that is one chunk, the chunk's hash is the body's.
        let hashed = self.hashes_bodies && record.items != [Item::Whole];
        if hashed {
            self.batch.ops.push(Op::BodyStart);
        }
        for item in &record.items {
            let item = match item {
                Item::Whole => Item::Chunk {
                    // A record refuses "whole" for a longer body.
                    length: u32::try_from(record.body_length).unwrap_or(u32::MAX),
                    hash: record.body_hash,
                },
                other => *other,
            };
            self.item(&item)?;
        }
        if hashed {
            self.batch.ops.push(Op::BodyEnd(record.body_hash));
        }
        self.bytes(record.padding());
        Ok(())
    }

    fn item(&mut self, item: &Item) -> Result<()> {
        match item {
            Item::Zeros { length } => self.batch.ops.push(Op::Zeros(*length)),
            Item::Chunk { length, hash } => self.chunk(*length, hash)?,
            Item::List(list) => self.list(list)?,
            Item::Whole => {}
        }
        // Bodies of many chunks must not gather in one batch.
        if self.batch.is_full() {
            let _ = self.send();
        }
        Ok(())
    }

    fn chunk(&mut self, length: u32, hash: &ChunkHash) -> Result<()> {
        let place = self.locate(0, hash, length)?;
        self.frames.pass(1);
        match place {
            Err(failure) => self.lost(u64::from(length), failure),
            Ok((_, spec, _)) if self.is_left_out(&spec) => {
                self.walked.unread += u64::from(length);
                self.batch.ops.push(Op::Zeros(u64::from(length)));
            }
            Ok((key, spec, place)) => {
                let slot = self.slot(key, spec, place);
                self.batch.ops.push(Op::Chunk {
                    slot,
                    place,
                    length,
                    hash: *hash,
                });
            }
        }
        Ok(())
    }

    fn is_left_out(&self, spec: &FrameSpec) -> bool {
        let share = self.share.as_ref();
        share.is_some_and(|share| !share.holds(&spec.brick, spec.frame.number))
    }

    fn list(&mut self, list: &List) -> Result<()> {
        let level = usize::from(list.level);
        let placed = self.locate(level, &list.hash, list.length)?;
        let copy = self.locator.locate_copy(level)?;
        let found = placed.and_then(|(key, spec, place)| {
            let slot = self.slot(key, spec, place);
            let bytes = slot.chunk(place, list.length, &list.hash)?;
            Ok(self.decode(bytes, list))
        });
        let items = match (found, copy) {
            (Ok(items), _) => items,
            (Err(failure), None) => Err(failure),
            (Err(failure), Some(copy)) => self.list_of_copy(list, copy, failure),
        };
        let items = items.or_else(|failure| {
            let mut bytes = Vec::new();
            let elsewhere = self.elsewhere.as_ref();
            if elsewhere.is_some_and(|all| all.chunk(&list.hash, list.length, &mut bytes)) {
                return self.decode(&bytes, list);
            }
            Err(failure)
        });
        match items {
            Ok(items) => items.iter().try_for_each(|item| self.item(item)),
            Err(failure) => {
                self.pass(&list.counts)?;
                self.lost(list.covers, failure);
                Ok(())
            }
        }
    }

    /// The items of a list that cannot be had, because of `failure`, from its copy.
    fn list_of_copy(
        &mut self,
        list: &List,
        copy: Place,
        failure: Failure,
    ) -> Result<Vec<Item>, Failure> {
        let (key, spec, place) = copy;
        let slot = self.slot(key, spec, place);
        let mut bytes = Vec::new();
        match slot.list_of_copy(place, list.length, &list.hash, &mut bytes) {
            Ok(()) => {
                self.mended(&failure);
                self.decode(&bytes, list)
            }
            Err(also) => Err(failure.and(&also)),
        }
    }

    fn decode(&self, bytes: &[u8], list: &List) -> Result<Vec<Item>, Failure> {
        decode_list(bytes, list).map_err(|error| Failure {
            path: self.members.path().clone(),
            message: format!("in the list of chunks {}: {error}", list.hash),
            exit: Exit::Damaged,
        })
    }

    /// Notes, once, why lists were read from their copies.
    fn mended(&mut self, failure: &Failure) {
        let reason = failure.error().to_string();
        if self.walked.mended.len() < MOST_NAMES && !self.walked.mended.contains(&reason) {
            self.walked.mended.push(reason);
        }
    }

    /// Where a chunk lies.
    fn locate(
        &mut self,
        level: usize,
        hash: &ChunkHash,
        length: u32,
    ) -> Result<Result<Place, Failure>> {
        let place = self.locator.locate(level, hash, length)?;
        Ok(place.ok_or_else(|| Failure {
            path: self.members.path().clone(),
            message: format!(
                "no sidecar in the store names the chunk {hash}; bring back those that are missing"
            ),
            exit: Exit::Damaged,
        }))
    }

    fn slot(&mut self, key: u64, spec: FrameSpec, place: u32) -> Arc<Slot> {
        if let Some(slot) = self.frames.kept(key, place) {
            return slot;
        }
        if self.frames.has_to_wait(&spec.brick) {
            // If nobody takes it any more, that side says why.
            let _ = self.send();
        }
        self.batch.frame_bytes += u64::from(spec.frame.plain_length);
        self.frames.fetch(key, spec)
    }

    fn lost(&mut self, length: u64, failure: Failure) {
        let failure = Box::new(failure);
        self.batch.ops.push(Op::Lost { length, failure });
    }

    fn skip(&mut self, record: &Record) -> Result<()> {
        let mut counts = Counts::default();
        for item in &record.items {
            // `Record::decode` has refused counts that overflow.
            let _ = add_counts(&mut counts, item);
        }
        self.pass(&counts)
    }

    /// Passes chunks that are not wanted.
    fn pass(&mut self, counts: &Counts) -> Result<()> {
        self.locator.skip(counts)?;
        self.frames.pass(counts[0]);
        Ok(())
    }

    /// Ends a selection as tar ends an archive, and the output with it.
    pub(super) fn finish(mut self) -> Walked {
        if let Some(selection) = &self.selection {
            self.walked.unmatched = selection.unmatched().map(str::to_owned).collect();
            self.batch.ops.push(Op::ArchiveEnd { ahead: 0 });
            self.batch.ops.push(Op::EndRecord { record: RECORD });
        }
        // If nobody takes it any more, that side says why.
        let _ = self.send();
        self.walked
    }

    /// Emits bytes as they are.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let start = self.batch.bytes.len();
        self.batch.bytes.extend_from_slice(bytes);
        let range = start..self.batch.bytes.len();
        self.batch.ops.push(Op::Bytes(range));
    }

    fn send_if_full(&mut self) -> Result<(), Gone> {
        if self.batch.is_full() {
            self.send()
        } else {
            Ok(())
        }
    }

    /// Sends what has gathered.
    pub(super) fn send(&mut self) -> Result<(), Gone> {
        let batch = std::mem::take(&mut self.batch);
        self.out.send(batch)
    }
}
