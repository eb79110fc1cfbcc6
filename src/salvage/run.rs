//! One run: what the scanner finds is judged and kept.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use super::chunks::ChunkWriter;
use super::event::{Event, Place, SalvageSummary};
use super::frame::SalvagedFrame;
use super::input::{Outcome as ReadOutcome, Reader};
use super::keyring::{Keyring, Verdict};
use super::output::{Kept, Output};
use super::scan::{Found, Scanner, Structure, footer_of_any};
use super::whole::{Attempt, Outcome, Remains, Whole};
use crate::archive::Monitor;
use crate::brick::open_root;
use crate::error::Result;
use crate::format::frame::FrameHeader;
use crate::format::sealed::{ROOT, SealedHeader};
use crate::format::snapshot::Snapshot;
use crate::id::{ChunkHash, Class};
use crate::store::layout::{Layout, RunName};

/// What a file is to the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// An input.
    Input,
    /// A brick that an earlier run has written.
    Brick,
    /// Frames that an earlier run has written, and that must wait for a key.
    Loose,
}

/// What the run is told to do, and what it has found.
pub(super) struct Run<'a> {
    pub(super) keyring: Keyring<'a>,
    /// Where the output is, in a dry run too.
    pub(super) to: Option<&'a Layout>,
    pub(super) output: Output,
    pub(super) chunks: Option<ChunkWriter>,
    pub(super) summary: SalvageSummary,
    pub(super) monitor: &'a Monitor,
    pub(super) on_event: &'a mut dyn FnMut(&Event<'_>),
    pub(super) block_size: Option<usize>,
    /// There is but one input, so that its length is that of all.
    pub(super) one_input: bool,
    role: Role,
    path: PathBuf,
    attempt: Option<Attempt>,
    /// Bytes that could not be read, up to where reading stands: told as one.
    bad: Option<(u64, u64, String)>,
    hashes: Vec<ChunkHash>,
    bytes: Vec<u8>,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        keyring: Keyring<'a>,
        output: Output,
        chunks: Option<ChunkWriter>,
        monitor: &'a Monitor,
        on_event: &'a mut dyn FnMut(&Event<'_>),
    ) -> Self {
        Self {
            keyring,
            to: None,
            output,
            chunks,
            summary: SalvageSummary::default(),
            monitor,
            on_event,
            block_size: None,
            one_input: false,
            role: Role::Input,
            path: PathBuf::new(),
            attempt: None,
            bad: None,
            hashes: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// Reads a file to its end and keeps what is in it.
    pub(super) fn file(&mut self, path: &Path, role: Role, scanner: &mut Scanner) -> Result<()> {
        self.role = role;
        path.clone_into(&mut self.path);
        let mut reader = match Reader::open(path, self.block_size) {
            Ok(reader) => reader,
            Err(error) => {
                self.unreadable(&error.to_string());
                return Ok(());
            }
        };
        if self.is_input() {
            self.summary.inputs.number += 1;
            let total = reader.length().filter(|_| self.one_input);
            self.monitor
                .total
                .store(total.unwrap_or(0), Ordering::Relaxed);
        }
        scanner.begin(0);
        loop {
            self.monitor.check()?;
            let outcome = match reader.read(scanner.room()) {
                Ok(outcome) => outcome,
                Err(error) => {
                    self.tell_bad();
                    self.unreadable(&error.to_string());
                    ReadOutcome::End
                }
            };
            if !matches!(outcome, ReadOutcome::Bad { .. }) {
                self.tell_bad();
            }
            match outcome {
                ReadOutcome::Bytes(length) => {
                    scanner.advance(length);
                    self.count(length);
                    self.take(scanner)?;
                }
                ReadOutcome::Bad {
                    offset,
                    length,
                    error,
                } => {
                    self.end_run(scanner)?;
                    self.bad_block(offset, length, &error.to_string());
                    scanner.begin(reader.position());
                }
                ReadOutcome::Hole(length) => {
                    // No structure has so many zeros in it.
                    self.end_run(scanner)?;
                    Monitor::add(&self.monitor.stream, length);
                    scanner.begin(reader.position());
                }
                ReadOutcome::Mark => {
                    self.end_run(scanner)?;
                    scanner.begin(reader.position());
                }
                ReadOutcome::End => return self.end_run(scanner),
            }
        }
    }

    fn is_input(&self) -> bool {
        self.role == Role::Input
    }

    fn count(&mut self, length: usize) {
        if self.is_input() {
            self.summary.inputs.bytes += length as u64;
        }
        Monitor::add(&self.monitor.stream, length as u64);
    }

    fn bad_block(&mut self, offset: u64, length: u64, reason: &str) {
        self.summary.bad_blocks.add(length);
        match &mut self.bad {
            Some((start, passed, why)) if *start + *passed == offset && why == reason => {
                *passed += length;
            }
            _ => {
                self.tell_bad();
                self.bad = Some((offset, length, reason.to_owned()));
            }
        }
    }

    fn tell_bad(&mut self) {
        if let Some((offset, length, reason)) = self.bad.take() {
            (self.on_event)(&Event::BadBlock {
                path: &self.path,
                offset,
                length,
                reason,
            });
        }
    }

    pub(super) fn unreadable(&mut self, reason: &str) {
        self.summary.unreadable += 1;
        (self.on_event)(&Event::Unreadable {
            reason: reason.to_owned(),
        });
    }

    /// No byte follows those that the scanner has.
    fn end_run(&mut self, scanner: &mut Scanner) -> Result<()> {
        scanner.end();
        self.take(scanner)?;
        self.break_off()
    }

    fn take(&mut self, scanner: &mut Scanner) -> Result<()> {
        while let Some(found) = scanner.next_found() {
            match found {
                Found::Whole {
                    structure,
                    offset,
                    length,
                } => self.structure(structure, offset, scanner.bytes(offset, length))?,
                Found::Cut { structure, offset } => {
                    self.break_off()?;
                    if structure == Structure::Frame {
                        self.summary.damaged += 1;
                        self.lost(offset, "a frame of which not all is there");
                    }
                }
                Found::Refused { offset, error } => {
                    self.break_off()?;
                    self.summary.refused += 1;
                    self.lost(
                        offset,
                        &format!("a frame that this dtar does not know: {error}"),
                    );
                }
            }
        }
        Ok(())
    }

    fn lost(&mut self, offset: u64, reason: &str) {
        (self.on_event)(&Event::Lost {
            path: &self.path,
            offset,
            reason: reason.to_owned(),
        });
    }

    /// Says that a file of the output is not what its name says.
    fn blocked(&mut self, path: &Path) {
        (self.on_event)(&Event::Blocked { path });
    }

    /// The same, of something that can be kept under this name alone.
    fn not_written(&mut self, path: &Path) {
        self.summary.blocked += 1;
        self.blocked(path);
    }

    fn place(&self, offset: u64) -> Place {
        Place {
            path: self.path.clone(),
            offset,
        }
    }

    fn structure(&mut self, structure: Structure, offset: u64, bytes: &[u8]) -> Result<()> {
        match structure {
            Structure::Frame => self.frame(offset, bytes),
            Structure::BrickHeader => self.brick_header(offset, bytes),
            Structure::Toc => {
                let fits = match &mut self.attempt {
                    Some(attempt) => attempt.toc(offset, bytes)?,
                    None => true,
                };
                if fits { Ok(()) } else { self.break_off() }
            }
            Structure::Footer => self.footer(offset, bytes),
            Structure::Root => {
                self.break_off()?;
                self.root(offset, bytes)
            }
        }
    }

    fn brick_header(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.break_off()?;
        if self.role == Role::Loose {
            return Ok(());
        }
        let place = self.place(offset);
        // A brick of an earlier run can be read again where it stands.
        let temp_dir = self.output.temp_dir().filter(|_| self.is_input());
        self.attempt = Attempt::begin(bytes, place, temp_dir)
            .filter(|attempt| self.keyring.is_wanted(attempt.header.store_id));
        Ok(())
    }

    fn footer(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let Some(attempt) = self.attempt.take() else {
            return Ok(());
        };
        let Some(footer) = footer_of_any(bytes) else {
            return self.keep_remains(attempt.fail());
        };
        let (store, epoch) = (attempt.header.store_id, attempt.header.epoch);
        let keys = self.keyring.own_keys(attempt.is_own(), store, epoch);
        match attempt.footer(offset, bytes, &footer, keys)? {
            Outcome::Whole(whole) => self.whole(whole),
            Outcome::Failed(remains) => self.keep_remains(remains),
        }
    }

    fn whole(&mut self, whole: Whole) -> Result<()> {
        let (store, epoch) = (whole.header.store_id, whole.header.epoch);
        let (name, length) = (whole.name(), whole.file.length());
        let Place { path, offset } = whole.place.clone();
        if let Some(to) = self.to.filter(|_| self.role == Role::Brick)
            && !self.output.note_whole(&whole, to)
        {
            return self.keep_remains(whole.remains());
        }
        let blocked = self.output.is_blocked(&name, whole.header.class);
        if let Some(path) = blocked {
            self.blocked(&path);
            return self.keep_remains(whole.remains());
        }
        let lengths = whole.frames.iter().map(|frame| u64::from(frame.length));
        let (frames, bytes) = (whole.frames.len() as u64, lengths.sum::<u64>());
        let is_own = whole.frames.first().is_some_and(|frame| frame.is_own);
        let keys = self.keyring.own_keys(is_own, store, epoch);
        let is_new = self.output.keep_whole(whole, keys)?;
        if !self.is_input() {
            return Ok(());
        }
        if is_new {
            self.summary.whole_bricks.add(length);
            let path = path.as_path();
            (self.on_event)(&Event::Brick { name, path, offset });
        } else {
            self.summary.again.number += frames;
            self.summary.again.bytes += bytes;
        }
        Ok(())
    }

    fn frame(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let Ok(header) = FrameHeader::decode(bytes) else {
            return self.break_off();
        };
        let length = bytes.len() as u64;
        let frame = match self.keyring.judge(&header, bytes)? {
            Verdict::Sound => {
                let frame = self.opened(&header, bytes)?;
                self.count_frame(|summary| summary.sound.add(length), length);
                if self.is_snapshot(offset, &header, &frame, bytes)? {
                    return Ok(());
                }
                frame
            }
            Verdict::Unverified => {
                self.count_frame(|summary| summary.unverified.add(length), length);
                let mut frame = SalvagedFrame::unverified(&header, bytes);
                frame.is_own = self.keyring.is_own(&header);
                frame
            }
            verdict => {
                self.break_off()?;
                self.not_kept(offset, verdict);
                return Ok(());
            }
        };
        if self.role == Role::Loose {
            self.output.note(frame.identity);
            return Ok(());
        }
        match &mut self.attempt {
            Some(attempt) if attempt.takes(offset, &frame) => attempt.frame(frame, bytes),
            _ => {
                self.break_off()?;
                self.keep(&frame, bytes)
            }
        }
    }

    fn count_frame(&mut self, add: impl FnOnce(&mut SalvageSummary), length: u64) {
        if self.is_input() {
            add(&mut self.summary);
            self.monitor.frames.fetch_add(1, Ordering::Relaxed);
            Monitor::add(&self.monitor.stored, length);
        }
    }

    fn not_kept(&mut self, offset: u64, verdict: Verdict) {
        match verdict {
            Verdict::OtherStore(store) => self.summary.add_other_store(store),
            Verdict::OtherKey => self.summary.other_key += 1,
            Verdict::Damaged(error) => {
                self.summary.damaged += 1;
                self.lost(offset, &error.to_string());
            }
            Verdict::Sound | Verdict::Unverified => {}
        }
    }

    /// What is to be known of a frame that was opened, and of its chunks.
    fn opened(&mut self, header: &FrameHeader<'_>, bytes: &[u8]) -> Result<SalvagedFrame> {
        let opened = std::mem::take(&mut self.keyring.frame);
        self.hashes.clear();
        for place in 0..opened.chunk_count() {
            let chunk = opened.chunk(place).unwrap_or_default();
            let hash = ChunkHash(*blake3::hash(chunk).as_bytes());
            if let Some(chunks) = &mut self.chunks
                && header.fields.class == Class::Data
            {
                chunks.insert(&hash, chunk)?;
            }
            self.hashes.push(hash);
        }
        let is_own = self.keyring.is_own(header);
        let (store, epoch) = (header.fields.store_id, header.fields.epoch);
        let keys = self.keyring.own_keys(is_own, store, epoch);
        let mut frame = SalvagedFrame::verified(header, bytes, &opened, &self.hashes, keys);
        frame.is_own = is_own;
        self.keyring.frame = opened;
        Ok(frame)
    }

    /// Keeps the file of a snapshot: one frame, in no brick, of one chunk.
    fn is_snapshot(
        &mut self,
        offset: u64,
        header: &FrameHeader<'_>,
        frame: &SalvagedFrame,
        bytes: &[u8],
    ) -> Result<bool> {
        let alone = header.fields.number == 0 && self.keyring.frame.chunk_count() == 1;
        let in_brick = |attempt: &Attempt| attempt.takes(offset, frame);
        if !alone
            || frame.class != Class::Metadata
            || self.role != Role::Input
            || self.attempt.as_ref().is_some_and(in_brick)
        {
            return Ok(false);
        }
        let chunk = self.keyring.frame.chunk(0).unwrap_or_default();
        let Ok(snapshot) = Snapshot::decode(chunk) else {
            return Ok(false);
        };
        self.break_off()?;
        let hash = blake3::hash(bytes);
        if let Some(name) = run_name(snapshot.time, hash.as_bytes()) {
            match self.output.snapshot(&name, bytes)? {
                Kept::New => self.summary.snapshots += 1,
                Kept::Again => {}
                Kept::Blocked(path) => self.not_written(&path),
            }
        }
        Ok(true)
    }

    fn root(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let Ok(header) = SealedHeader::decode(ROOT, bytes) else {
            return Ok(());
        };
        if !self.keyring.is_wanted(header.store_id) || self.role != Role::Input {
            return Ok(());
        }
        let Some(keys) = self.keyring.put_keys(header.store_id, header.epoch) else {
            return Ok(());
        };
        let root = match open_root(keys, bytes) {
            Ok(root) => root,
            Err(error) => {
                self.lost(offset, &error.to_string());
                return Ok(());
            }
        };
        self.keyring.settle(header.store_id);
        // Root and snapshot of a run have one name, of which only the time is known.
        let own = *blake3::hash(bytes).as_bytes();
        let hash = root.snapshot.map_or(own, |snapshot| snapshot.hash);
        if let Some(name) = run_name(root.time, &hash) {
            match self.output.root(&name, bytes)? {
                Kept::New => self.summary.roots += 1,
                Kept::Again => {}
                Kept::Blocked(path) => self.not_written(&path),
            }
        }
        Ok(())
    }

    /// The brick that was hoped for is not whole: keeps its frames.
    fn break_off(&mut self) -> Result<()> {
        match self.attempt.take() {
            Some(attempt) => self.keep_remains(attempt.fail()),
            None => Ok(()),
        }
    }

    fn keep_remains(&mut self, mut remains: Remains) -> Result<()> {
        let mut bytes = std::mem::take(&mut self.bytes);
        while let Some(frame) = remains.next(&mut bytes, self.output.writes())? {
            self.keep(&frame, &bytes)?;
        }
        self.bytes = bytes;
        Ok(())
    }

    fn keep(&mut self, frame: &SalvagedFrame, bytes: &[u8]) -> Result<()> {
        let keys = self
            .keyring
            .own_keys(frame.is_own, frame.store, frame.epoch);
        self.output.keep(frame, bytes, keys, &mut self.summary)
    }

    /// Closes what is open.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.summary.store = self.keyring.store();
        self.output.finish(&mut self.summary)
    }
}

/// A name for root and snapshot of the run that ended at `time`.
fn run_name(time: u64, hash: &[u8; 32]) -> Option<RunName> {
    let random = hash
        .first_chunk::<8>()
        .map(|bytes| u64::from_be_bytes(*bytes))?;
    format!("{time:020}-{random:016x}").parse().ok()
}
