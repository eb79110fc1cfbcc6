//! Opens an index, checks its seal and finds the parts of its trailer.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::region::Region;
use crate::error::{Error, Exit, Result};
use crate::format::record;
use crate::format::trailer::{
    END_LENGTH, End, HEAD_LENGTH, OPAQUE_MAGIC, PAGE_HEAD_LENGTH, PageHead, Run, SEAL_LENGTH,
    SECTION_HEAD_LENGTH, SectionKind, Step, Summary, UsedBrick, decode_head, end_is_sound,
};
use crate::format::wire::{DecodeError, Decoder, UV_MAX_LENGTH};

const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Logarithm of the largest window that a compressed index may need: 128 MiB.
const WINDOW_LOG_MAX: u32 = 27;
/// How much of a file without an end is searched for traces of an index.
const SEARCHED: u64 = 64 << 20;

/// An index that can be read by offset.
pub struct IndexFile {
    file: Arc<File>,
    path: Arc<PathBuf>,
    length: u64,
}

impl IndexFile {
    /// Opens the index at `path`, or on standard input for `-`. One that is
    /// compressed, or cannot be read by offset, is first unpacked into an
    /// unnamed temporary file.
    ///
    /// # Errors
    /// Fails if it cannot be read or unpacked.
    pub fn open(path: &Path) -> Result<Self> {
        let mut file = if path == Path::new("-") {
            spool(io::stdin().lock(), path)?
        } else {
            let file = File::open(path).map_err(Error::io("open", path))?;
            let kind = file.metadata().map_err(Error::io("look at", path))?;
            if kind.is_dir() {
                return Err(not_an_index(path, "it is a folder"));
            }
            if kind.is_file() {
                file
            } else {
                spool(file, path)?
            }
        };
        let mut magic = [0; 4];
        let found = file
            .read_at(&mut magic, 0)
            .map_err(Error::io("read", path))?;
        if found == 4 && magic == ZSTD_MAGIC && !has_end(&mut file, path)? {
            let mut unpack = zstd::Decoder::new(&file).map_err(Error::io("unpack", path))?;
            unpack
                .window_log_max(WINDOW_LOG_MAX)
                .map_err(Error::io("unpack", path))?;
            file = spool(unpack, path).map_err(|error| not_unpacked(error, path))?;
        }
        Self::unpacked(file, path)
    }

    /// The index that an unnamed file holds, as it is; errors call it `path`.
    ///
    /// # Errors
    /// Fails if its length cannot be found.
    pub fn unpacked(mut file: File, path: &Path) -> Result<Self> {
        let length = file
            .seek(SeekFrom::End(0))
            .map_err(Error::io("read", path))?;
        Ok(Self {
            file: Arc::new(file),
            path: Arc::new(path.to_owned()),
            length,
        })
    }

    /// The name under which it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length, uncompressed.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// A part of it.
    #[must_use]
    pub fn region(&self, what: &'static str, start: u64, end: u64) -> Region {
        Region::new(&self.file, &self.path, what, start, end)
    }

    /// Finds the trailer's parts. Nothing is authenticated yet: call
    /// [`Trailer::verify`] before relying on any of it.
    ///
    /// # Errors
    /// Not an index; an incomplete, damaged or newer one.
    pub fn trailer(&self) -> Result<Trailer> {
        let mut last = [0; END_LENGTH];
        let start = self.length.saturating_sub(END_LENGTH as u64);
        if self.length >= END_LENGTH as u64 {
            self.file
                .read_exact_at(&mut last, start)
                .map_err(Error::io("read", self.path()))?;
        }
        if !End::is_present(&last) {
            return Err(self.without_end(&last)?);
        }
        let end = End::decode(&last, self.length).map_err(Error::decode(self.path(), start))?;
        Trailer::open(self, end, last)
    }

    /// What a file without an end is.
    fn without_end(&self, last: &[u8]) -> Result<Error> {
        if end_is_sound(last) {
            let why = "it ends like a brick; give the file that `dtar` wrote";
            return Ok(not_an_index(self.path(), why));
        }
        if !self.has_traces()? {
            let why = "nothing in it is an index; give the file that `dtar` wrote";
            return Ok(not_an_index(self.path(), why));
        }
        Ok(Error::Refused {
            path: self.path().to_owned(),
            message: format!(
                "incomplete index: its {} bytes have no trailer, so the run that wrote it was \
                 interrupted, or the file was cut; archive again, or use \
                 `restore --incomplete` to get what is there",
                self.length
            ),
            exit: Exit::Damaged,
        })
    }

    /// Whether a record, an opaque marker or a trailer stands in its first part.
    fn has_traces(&self) -> Result<bool> {
        let mut region = self.region("index", 0, self.length.min(SEARCHED));
        loop {
            let block = region.peek(512)?;
            if block.is_empty() {
                return Ok(false);
            }
            let traces: [&[u8]; 3] = [record::MAGIC, OPAQUE_MAGIC, TRAILER_MAGIC];
            if traces.iter().any(|magic| block.starts_with(magic)) {
                return Ok(true);
            }
            let length = block.len() as u64;
            region.skip(length)?;
        }
    }
}

/// Whether the file ends like an index of its length: a member's name may look
/// like zstd, and zstd may end with an end that it could not compress.
fn has_end(file: &mut File, path: &Path) -> Result<bool> {
    let length = file
        .seek(SeekFrom::End(0))
        .map_err(Error::io("read", path))?;
    let mut last = [0; END_LENGTH];
    file.rewind().map_err(Error::io("read", path))?;
    let Some(start) = length.checked_sub(END_LENGTH as u64) else {
        return Ok(false);
    };
    file.read_exact_at(&mut last, start)
        .map_err(Error::io("read", path))?;
    Ok(End::is_present(&last) && End::stated_length(&last) == Some(length))
}

const TRAILER_MAGIC: &[u8; 8] = crate::format::trailer::MAGIC;
/// Length of the two zero blocks between the members part and the trailer.
const ZERO_BLOCKS: u64 = 1024;

fn not_an_index(path: &Path, why: &str) -> Error {
    Error::Refused {
        path: path.to_owned(),
        message: format!("not a dtar index: {why}"),
        exit: Exit::Failed,
    }
}

/// Says so if the bytes, not the system, are why an index cannot be unpacked.
fn not_unpacked(error: Error, path: &Path) -> Error {
    match error {
        Error::Io { source, .. } if source.raw_os_error().is_none() => Error::Refused {
            path: path.to_owned(),
            message: format!(
                "compressed index cut short or damaged ({source}): take another copy of it; \
                 if there is none, unpack what is there (`zstd -dc`) and use \
                 `restore --incomplete` on that"
            ),
            exit: Exit::Damaged,
        },
        other => other,
    }
}

/// Copies `from` into an unnamed temporary file.
fn spool(mut from: impl Read, path: &Path) -> Result<File> {
    let dir = std::env::temp_dir();
    let mut file = tempfile::tempfile_in(&dir).map_err(Error::io("make a file in", &dir))?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        let length = match from.read(&mut buffer) {
            Ok(0) => return Ok(file),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::io("read", path)(error)),
        };
        file.write_all(&buffer[..length])
            .map_err(Error::io("write a temporary file in", &dir))?;
    }
}

/// From where to where a section's payload goes.
type Span = (u64, u64);

/// The parts of an index, by offset.
pub struct Trailer {
    /// Section `SUMM`.
    pub summary: Summary,
    end: End,
    /// The bytes of the end, which the seal covers.
    end_bytes: [u8; END_LENGTH],
    records: Span,
    map: Span,
    bricks: Span,
    hints: Vec<Span>,
    copies: Vec<Span>,
}

/// Readers of the hints by level; levels that do not occur have none.
pub type Levels = [Option<HintReader>; record::LEVELS];

impl Trailer {
    fn open(index: &IndexFile, end: End, end_bytes: [u8; END_LENGTH]) -> Result<Self> {
        let sections_end = end.trailer_offset + end.trailer_length - SEAL_LENGTH as u64;
        let mut region = index.region("index trailer", end.trailer_offset, sections_end);
        region.decode(HEAD_LENGTH, |bytes| {
            decode_head(bytes, end.trailer_offset).map(|()| ((), HEAD_LENGTH))
        })?;
        let mut found: [Option<Span>; 4] = [None; 4];
        let (mut hints, mut copies) = (Vec::new(), Vec::new());
        loop {
            let (kind, length) = region.decode(SECTION_HEAD_LENGTH, |bytes| {
                SectionKind::decode(bytes).map(|section| (section, SECTION_HEAD_LENGTH))
            })?;
            let start = region.position();
            region.skip(length)?;
            let span = (start, start + length);
            let slot = match kind {
                None => continue,
                Some(SectionKind::Done) if length > 0 => {
                    return Err(region.error("length of DONE", 0, length));
                }
                Some(SectionKind::Done) => break,
                Some(levels @ (SectionKind::Hints | SectionKind::Copies)) => {
                    let spans = if levels == SectionKind::Hints {
                        &mut hints
                    } else {
                        &mut copies
                    };
                    spans.push(span);
                    if spans.len() > record::LEVELS {
                        return Err(region.error("sections", "one HINT or COPY a level", "more"));
                    }
                    continue;
                }
                Some(SectionKind::Summary) => 0,
                Some(SectionKind::Records) => 1,
                Some(SectionKind::Map) => 2,
                Some(SectionKind::Bricks) => 3,
            };
            if found[slot].replace(span).is_some() {
                return Err(region.error("sections", "each section once", "one again"));
            }
        }
        let rest = region.rest();
        if rest >= 512 || region.peek(512)?.iter().any(|&byte| byte != 0) {
            return Err(region.error("padding", "fewer than 512 zero bytes", rest));
        }
        let [Some(summary), Some(records), Some(map), Some(bricks)] = found else {
            return Err(region.error("sections", "SUMM, RECS, MAPS and BRIK", "one missing"));
        };
        let summary = read_summary(index, summary)?;
        if summary.members_length.checked_add(ZERO_BLOCKS) != Some(end.trailer_offset) {
            return Err(region.error(
                "length of the members part",
                end.trailer_offset.saturating_sub(ZERO_BLOCKS),
                summary.members_length,
            ));
        }
        let between = (summary.members_length, end.trailer_offset);
        let mut blocks = index.region("zero blocks before the trailer", between.0, between.1);
        if blocks
            .peek(ZERO_BLOCKS as usize)?
            .iter()
            .any(|&byte| byte != 0)
        {
            return Err(blocks.error("zero blocks", "two", "other bytes"));
        }
        Ok(Self {
            summary,
            end,
            end_bytes,
            records,
            map,
            bricks,
            hints,
            copies,
        })
    }

    /// Checks the seal over the whole index, its end too, with `hasher`, keyed with the
    /// index key.
    ///
    /// # Errors
    /// An index that was altered, or sealed with another key; I/O errors.
    pub fn verify(&self, index: &IndexFile, mut hasher: blake3::Hasher) -> Result<()> {
        let sealed = self.end.trailer_offset + self.end.trailer_length - SEAL_LENGTH as u64;
        let mut buffer = vec![0; 256 << 10];
        let mut position = 0;
        while position < sealed {
            let length = buffer
                .len()
                .min(usize::try_from(sealed - position).unwrap_or(usize::MAX));
            index
                .file
                .read_exact_at(&mut buffer[..length], position)
                .map_err(Error::io("read", index.path()))?;
            hasher.update(&buffer[..length]);
            position += length as u64;
        }
        let mut seal = [0; SEAL_LENGTH];
        index
            .file
            .read_exact_at(&mut seal, sealed)
            .map_err(Error::io("read", index.path()))?;
        // The end as it was read, not as it now stands in the file: all that is relied
        // upon was found through it.
        hasher.update(&self.end_bytes);
        // `blake3::Hash` compares in constant time.
        if hasher.finalize() == seal {
            return Ok(());
        }
        Err(Error::Refused {
            path: index.path().to_owned(),
            message: format!(
                "index altered: the seal at byte {sealed} does not match its other bytes; \
                 nothing in it can be trusted. Take another copy of the index"
            ),
            exit: Exit::Damaged,
        })
    }

    /// The members part.
    #[must_use]
    pub fn members(&self, index: &IndexFile) -> Region {
        index.region("index members", 0, self.summary.members_length)
    }

    /// The records of the trailer.
    #[must_use]
    pub fn records(&self, index: &IndexFile) -> Region {
        index.region(
            "records in the index trailer",
            self.records.0,
            self.records.1,
        )
    }

    /// The map.
    #[must_use]
    pub fn map(&self, index: &IndexFile) -> MapReader {
        MapReader {
            region: index.region("index map", self.map.0, self.map.1),
            step: None,
        }
    }

    /// The table of bricks.
    ///
    /// # Errors
    /// A broken table.
    pub fn bricks(&self, index: &IndexFile) -> Result<BrickTable> {
        BrickTable::open(index.region("index brick table", self.bricks.0, self.bricks.1))
    }

    /// Where the chunks of each level lie.
    ///
    /// # Errors
    /// Levels out of order.
    pub fn hints(&self, index: &IndexFile) -> Result<Levels> {
        let mut readers = [const { None }; record::LEVELS];
        let mut least = 0;
        for span in &self.hints {
            let region = index.region("index hints", span.0, span.1);
            let (level, reader) = HintReader::open(region, least)?;
            readers[level] = Some(reader);
            least = level + 1;
        }
        Ok(readers)
    }

    /// Where the copies of the lists of each level lie; `hints` are those of the lists.
    ///
    /// # Errors
    /// Levels out of order; another number of copies than of lists.
    pub fn copies(&self, index: &IndexFile, hints: &Levels) -> Result<Levels> {
        let mut readers = [const { None }; record::LEVELS];
        let mut least = 1;
        for span in &self.copies {
            let region = index.region("index hints of copies", span.0, span.1);
            let (level, reader) = HintReader::open(region, least)?;
            let lists = hints[level].as_ref().map_or(0, |hints| hints.rest);
            if reader.rest != lists {
                return Err(reader.region.error("copies", lists, reader.rest));
            }
            readers[level] = Some(reader);
            least = level + 1;
        }
        Ok(readers)
    }
}

fn read_summary(index: &IndexFile, span: Span) -> Result<Summary> {
    const MOST: u64 = 64 << 10;
    let mut region = index.region("index summary", span.0, span.1);
    if region.rest() > MOST {
        return Err(region.error("length", format!("at most {MOST}"), region.rest()));
    }
    let length = region.rest() as usize;
    region.decode(length, |bytes| Ok((Summary::decode(bytes)?, length)))
}

/// Reads the map step by step.
pub struct MapReader {
    region: Region,
    step: Option<(Step, u64)>,
}

impl MapReader {
    /// The next step; `None` at the end.
    ///
    /// # Errors
    /// A broken entry.
    pub fn next_step(&mut self) -> Result<Option<Step>> {
        if self.step.is_none() {
            if self.region.rest() == 0 {
                return Ok(None);
            }
            self.step = Some(self.region.decode(2 * UV_MAX_LENGTH, |bytes| {
                let mut decoder = Decoder::new("index map", bytes);
                Ok((Step::decode(&mut decoder)?, decoder.position()))
            })?);
        }
        let Some((step, repeat)) = self.step else {
            return Ok(None);
        };
        self.step = (repeat > 1).then_some((step, repeat - 1));
        Ok(Some(step))
    }

    /// The file, for errors.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.region.path()
    }

    /// Whether no step is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.step.is_none() && self.region.rest() == 0
    }

    /// An error about the map as a whole.
    #[must_use]
    pub fn error(&self, expected: impl std::fmt::Display, found: impl std::fmt::Display) -> Error {
        self.region.error("map", expected, found)
    }
}

/// The bricks of an index; entries are decoded when they are asked for.
///
/// It keeps 16 bytes a brick, and 32 more until it is open.
pub struct BrickTable {
    region: Region,
    /// For each brick: the ordinal of its first frame, and where its entry stands.
    entries: Vec<(u64, u64)>,
    frame_count: u64,
    recent: Vec<(usize, UsedBrick)>,
}

/// Decoded entries kept at hand.
const RECENT: usize = 64;
/// The longest head of an entry, and the longest entry of a frame.
const ENTRY_HEAD: usize = 32 + 2 * UV_MAX_LENGTH;
const FRAME_ENTRY: usize = 4 * UV_MAX_LENGTH;

impl BrickTable {
    fn open(mut region: Region) -> Result<Self> {
        let count = region.decode(UV_MAX_LENGTH, |bytes| {
            let mut decoder = Decoder::new("index brick table", bytes);
            Ok((decoder.uv("number of bricks")?, decoder.position()))
        })?;
        let mut entries = Vec::new();
        let mut frame_count: u64 = 0;
        let mut names = Vec::new();
        for _ in 0..count {
            let start = region.position();
            let brick = read_brick(&mut region)?;
            entries.push((frame_count, start));
            names.push(brick.name);
            frame_count += brick.frames.len() as u64;
        }
        names.sort_unstable();
        if let Some([name, ..]) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let found = format!("{name} again");
            return Err(region.error("brick name", "each brick once", found));
        }
        if region.rest() > 0 {
            return Err(region.error("bricks", "nothing behind the last", region.rest()));
        }
        Ok(Self {
            region,
            entries,
            frame_count,
            recent: Vec::new(),
        })
    }

    /// The file, for errors.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.region.path()
    }

    /// Number of bricks.
    #[must_use]
    pub fn brick_count(&self) -> usize {
        self.entries.len()
    }

    /// Number of frames in all bricks.
    #[must_use]
    pub const fn frame_count(&self) -> u64 {
        self.frame_count
    }

    /// The brick that holds the frame with this ordinal, and the frame's place in its list.
    ///
    /// # Errors
    /// An ordinal beyond the table; a broken table.
    pub fn frame(&mut self, ordinal: u64) -> Result<(usize, &UsedBrick, usize)> {
        if ordinal >= self.frame_count {
            return Err(self.region.error(
                "frame ordinal in the hints",
                format!("below {}", self.frame_count),
                ordinal,
            ));
        }
        let number = self.entries.partition_point(|(base, _)| *base <= ordinal) - 1;
        let (base, _) = self.entries[number];
        let brick = self.brick(number)?;
        Ok((number, brick, (ordinal - base) as usize))
    }

    /// The brick with this number in the table.
    ///
    /// # Errors
    /// A number beyond the table; a broken table.
    pub fn brick(&mut self, number: usize) -> Result<&UsedBrick> {
        if let Some(found) = self.recent.iter().position(|(recent, _)| *recent == number) {
            return Ok(&self.recent[found].1);
        }
        let Some((_, start)) = self.entries.get(number) else {
            return Err(self.region.error("brick", self.entries.len(), number));
        };
        self.region.seek(*start);
        let brick = read_brick(&mut self.region)?;
        if self.recent.len() == RECENT {
            self.recent.remove(0);
        }
        self.recent.push((number, brick));
        Ok(&self.recent[self.recent.len() - 1].1)
    }
}

fn read_brick(region: &mut Region) -> Result<UsedBrick> {
    // Number of frames first, then as many bytes as they can take.
    let count = {
        let base = region.position();
        let mut decoder = Decoder::new("index brick table", region.peek(ENTRY_HEAD)?);
        decoder
            .bytes("brick name", 32)
            .and_then(|_| decoder.uv("brick length"))
            .and_then(|_| decoder.uv_in("number of frames", 1..=65_536))
            .map_err(|source| Error::decode(region.path(), base)(source))?
    };
    let most = ENTRY_HEAD + count as usize * FRAME_ENTRY;
    region.decode(most, |bytes| {
        let mut decoder = Decoder::new("index brick table", bytes);
        Ok((UsedBrick::decode(&mut decoder)?, decoder.position()))
    })
}

/// Reads where the chunks of one level lie, in stream order.
pub struct HintReader {
    region: Region,
    /// Chunks of the level not yet read.
    rest: u64,
    passed: u64,
    page: Vec<u8>,
    page_position: usize,
    /// Chunks of the page that no run has given yet.
    page_rest: u64,
    run: Run,
    previous: u64,
}

impl HintReader {
    /// The hints in `region` and their level, which must be at least `least`.
    fn open(mut region: Region, least: usize) -> Result<(usize, Self)> {
        let (level, rest) = region.decode(1 + UV_MAX_LENGTH, |bytes| {
            let mut decoder = Decoder::new("index hints", bytes);
            let head = (decoder.u8("level")?, decoder.uv("number of chunks")?);
            Ok((head, decoder.position()))
        })?;
        let level = usize::from(level);
        if !(least..record::LEVELS).contains(&level) {
            return Err(region.error("level", format!("{least} to 7, ascending"), level));
        }
        let reader = Self {
            region,
            rest,
            passed: 0,
            page: Vec::new(),
            page_position: 0,
            page_rest: 0,
            run: Run {
                frame: 0,
                place: 0,
                count: 0,
            },
            previous: 0,
        };
        Ok((level, reader))
    }

    /// Ordinal of the frame, and place in it, of the next chunk.
    ///
    /// # Errors
    /// No chunk left; a broken page.
    pub fn next_chunk(&mut self) -> Result<(u64, u32)> {
        if self.rest == 0 {
            return Err(self
                .region
                .error("chunks", "as many as the records hold", "fewer"));
        }
        if self.run.count == 0 {
            self.next_run()?;
        }
        let chunk = (self.run.frame, self.run.place);
        self.advance(1);
        Ok(chunk)
    }

    /// Ordinal of the frame, place of the first, and number of the next chunks that lie
    /// one behind the other: at least one.
    ///
    /// # Errors
    /// No chunk left; a broken page.
    pub fn next_run_of_chunks(&mut self) -> Result<(u64, u32, u32)> {
        let (frame, place) = self.next_chunk()?;
        let more = u32::try_from(self.run.count).unwrap_or(u32::MAX - 1);
        self.advance(u64::from(more));
        Ok((frame, place, more + 1))
    }

    /// Passes `count` chunks.
    ///
    /// # Errors
    /// Fewer are left; a broken page.
    pub fn skip(&mut self, mut count: u64) -> Result<()> {
        if count > self.rest {
            return Err(self.region.error("chunks", count, self.rest));
        }
        while count > 0 {
            if self.run.count == 0 && self.page_rest == 0 {
                let head = self.page_head()?;
                if u64::from(head.count) <= count {
                    self.region.skip(u64::from(head.length))?;
                    self.rest -= u64::from(head.count);
                    self.passed += u64::from(head.count);
                    count -= u64::from(head.count);
                    continue;
                }
                self.load_page(head)?;
            }
            if self.run.count == 0 {
                self.next_run()?;
            }
            let step = count.min(self.run.count);
            self.advance(step);
            count -= step;
        }
        Ok(())
    }

    /// Whether all chunks are read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest == 0
    }

    /// Checks that all chunks are read, and that no bytes follow them.
    ///
    /// # Errors
    /// Something is left.
    pub fn end(&self) -> Result<()> {
        if !self.is_empty() {
            let left = format!("{} more chunks than its records hold", self.rest);
            return Err(self.region.error("chunks", "the end", left));
        }
        if self.region.rest() > 0 {
            let left = format!("{} bytes", self.region.rest());
            let expected = "nothing behind the last";
            return Err(self.region.error("page", expected, left));
        }
        Ok(())
    }

    fn advance(&mut self, count: u64) {
        self.run.count -= count;
        // A run stays within a frame's 65,536 places, or the frame lacks them.
        self.run.place = self
            .run
            .place
            .saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        self.rest -= count;
        self.passed += count;
    }

    fn page_head(&mut self) -> Result<PageHead> {
        let head = self.region.decode(PAGE_HEAD_LENGTH, |bytes| {
            Ok((PageHead::decode(bytes)?, PAGE_HEAD_LENGTH))
        })?;
        if head.first != self.passed || u64::from(head.count) > self.rest {
            return Err(self.region.error(
                "page",
                format!("chunks {} on, at most {}", self.passed, self.rest),
                format!("{} on, {}", head.first, head.count),
            ));
        }
        Ok(head)
    }

    fn load_page(&mut self, head: PageHead) -> Result<()> {
        let bytes = self.region.take(head.length as usize)?;
        self.page.clear();
        self.page.extend_from_slice(bytes);
        self.page_position = 0;
        self.page_rest = u64::from(head.count);
        self.previous = 0;
        Ok(())
    }

    fn next_run(&mut self) -> Result<()> {
        if self.page_rest == 0 {
            let head = self.page_head()?;
            self.load_page(head)?;
        }
        let base = self.region.position() - self.page.len() as u64;
        let mut decoder = Decoder::new("index hints", &self.page);
        let run = decoder
            .bytes("page", self.page_position)
            .and_then(|_| Run::decode(self.previous, &mut decoder))
            .map_err(|source: DecodeError| Error::decode(self.region.path(), base)(source))?;
        let position = decoder.position();
        let ends = position == self.page.len();
        if run.count > self.page_rest || ends != (run.count == self.page_rest) {
            return Err(self.region.error("page", self.page_rest, run.count));
        }
        self.page_position = position;
        self.previous = run.frame;
        self.page_rest -= run.count;
        self.run = run;
        Ok(())
    }
}
