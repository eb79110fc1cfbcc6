//! Raw bytes: from files, folders, devices and standard input, each read once from
//! front to end. Nothing is ever written there.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Exit, Result};

/// Bytes read at a time, unless a block size says otherwise.
pub(super) const READ: usize = 1 << 20;
/// Bytes of a disk that are passed where a read fails, unless a block size says otherwise.
const SECTOR: usize = 4096;
/// A tape that yields nothing but errors so often has come to its end.
const MOST_FAILURES: u32 = 64;
/// So many bytes of a disk in a row that cannot be read: there is no disk any more.
const MOST_BAD: u64 = 256 << 20;
/// Shorter holes are read, since to find them costs as much.
const LEAST_HOLE: u64 = 1 << 20;

/// The files that are named, and those in folders that are named.
pub(super) struct Files {
    /// The last comes next.
    waiting: Vec<(PathBuf, bool)>,
}

impl Files {
    pub(super) fn new(inputs: &[PathBuf]) -> Self {
        let named = inputs.iter().rev();
        Self {
            waiting: named.map(|path| (path.clone(), true)).collect(),
        }
    }

    /// The next file. In folders, links are not followed, and what is no file is left out.
    pub(super) fn next(&mut self) -> Result<Option<PathBuf>> {
        while let Some((path, named)) = self.waiting.pop() {
            if path == Path::new("-") && named {
                return Ok(Some(path));
            }
            let found = if named {
                fs::metadata(&path)
            } else {
                fs::symlink_metadata(&path)
            };
            let kind = match found {
                Ok(found) => found.file_type(),
                // Gone since its folder was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !named => continue,
                Err(error) => return Err(Error::io("look at", path)(error)),
            };
            if kind.is_dir() {
                self.list(&path)?;
            } else if named || kind.is_file() {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    fn list(&mut self, dir: &Path) -> Result<()> {
        let mut entries = fs::read_dir(dir)
            .and_then(Iterator::collect::<io::Result<Vec<_>>>)
            .map_err(Error::io("list", dir))?;
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.file_name()));
        let entries = entries.iter().map(|entry| (entry.path(), false));
        self.waiting.extend(entries);
        Ok(())
    }
}

/// Something that can be read.
pub(super) trait Raw {
    /// Reads at `position`, or, if that cannot be chosen, whatever comes next.
    fn read(&mut self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// The next bytes from `position` on that are stored, rather than a hole; where they
    /// end is not looked for much beyond `length` bytes. They begin at `u64::MAX` if
    /// nothing but a hole follows. `None`: that cannot be told.
    fn stored(&mut self, position: u64, length: u64) -> Option<Range<u64>> {
        let _ = (position, length);
        None
    }
}

struct ByOffset(File);

impl Raw for ByOffset {
    fn read(&mut self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_at(buffer, position)
    }

    fn stored(&mut self, position: u64, length: u64) -> Option<Range<u64>> {
        stored(&self.0, position, length)
    }
}

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn stored(file: &File, position: u64, length: u64) -> Option<Range<u64>> {
    use rustix::fs::{SeekFrom, seek};
    use rustix::io::Errno;
    let data_from = |at| match seek(file, SeekFrom::Data(at)) {
        Ok(start) => Some(start),
        // Nothing is stored from there on.
        Err(Errno::NXIO) => Some(u64::MAX),
        Err(_) => None,
    };
    let next = data_from(position)?;
    let start = if next.saturating_sub(position) < LEAST_HOLE {
        position
    } else {
        next
    };
    let mut end = start;
    while end < start.saturating_add(length) {
        let hole = seek(file, SeekFrom::Hole(next.max(end))).ok()?;
        if hole <= end {
            return None;
        }
        let next = data_from(hole)?;
        if next.saturating_sub(hole) >= LEAST_HOLE {
            return Some(start..hole);
        }
        end = next;
    }
    Some(start..end)
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn stored(_file: &File, _position: u64, _length: u64) -> Option<Range<u64>> {
    None
}

struct InOrder<R>(R);

impl<R: Read> Raw for InOrder<R> {
    fn read(&mut self, buffer: &mut [u8], _position: u64) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

/// How an input behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file or a disk of this length: any place of it can be read.
    Offsets(u64),
    /// A tape, or another character device: read in order; the end of a file on a tape
    /// is not the end of the tape.
    Tape,
    /// A pipe.
    Pipe,
}

/// What a read gave.
#[derive(Debug)]
pub(super) enum Outcome {
    /// So many bytes.
    Bytes(usize),
    /// A block that cannot be read. It is passed.
    Bad {
        offset: u64,
        length: u64,
        error: io::Error,
    },
    /// So many bytes of a hole, which are zeros and were not read.
    Hole(u64),
    /// The end of a file on a tape; more may follow.
    Mark,
    End,
}

/// Reads an input and passes what cannot be read.
pub(super) struct Reader {
    raw: Box<dyn Raw>,
    kind: Kind,
    path: PathBuf,
    position: u64,
    /// Bytes passed where a read fails.
    unit: usize,
    /// Up to here reads are of one unit each.
    careful_until: u64,
    /// Up to here there is no hole.
    stored_until: u64,
    failures: u32,
    /// Bytes passed since the last read that gave any.
    bad: u64,
    marked: bool,
}

impl Reader {
    /// Opens `path`, or standard input for `-`.
    pub(super) fn open(path: &Path, block_size: Option<usize>) -> Result<Self> {
        if path == Path::new("-") {
            let raw = Box::new(InOrder(io::stdin()));
            return Ok(Self::new(raw, Kind::Pipe, path, block_size));
        }
        let mut file = File::open(path).map_err(Error::io("open", path))?;
        let found = file.metadata().map_err(Error::io("look at", path))?;
        let kind = found.file_type();
        if found.is_file() {
            let kind = Kind::Offsets(found.len());
            return Ok(Self::new(Box::new(ByOffset(file)), kind, path, block_size));
        }
        if kind.is_block_device() {
            let end = file.seek(SeekFrom::End(0));
            let kind = Kind::Offsets(end.map_err(Error::io("read", path))?);
            return Ok(Self::new(Box::new(ByOffset(file)), kind, path, block_size));
        }
        let kind = if kind.is_char_device() {
            Kind::Tape
        } else {
            Kind::Pipe
        };
        Ok(Self::new(Box::new(InOrder(file)), kind, path, block_size))
    }

    fn new(raw: Box<dyn Raw>, kind: Kind, path: &Path, block_size: Option<usize>) -> Self {
        let usual = match kind {
            Kind::Offsets(_) => SECTOR,
            Kind::Tape | Kind::Pipe => READ,
        };
        Self {
            raw,
            kind,
            path: path.to_owned(),
            position: 0,
            unit: block_size.unwrap_or(usual),
            careful_until: 0,
            stored_until: 0,
            failures: 0,
            bad: 0,
            marked: false,
        }
    }

    /// Its length, if it can be known.
    pub(super) const fn length(&self) -> Option<u64> {
        match self.kind {
            Kind::Offsets(length) => Some(length),
            Kind::Tape | Kind::Pipe => None,
        }
    }

    /// Where the next read begins.
    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    /// Reads into `buffer`, which has room for a block.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<Outcome> {
        if let Kind::Offsets(end) = self.kind
            && self.position >= self.stored_until
            && self.position < end
            && let Some(passed) = self.pass_hole(end, buffer.len() as u64)
        {
            return Ok(Outcome::Hole(passed));
        }
        loop {
            let careful = self.position < self.careful_until;
            let mut length = if careful {
                buffer.len().min(self.unit)
            } else {
                buffer.len()
            };
            if let Kind::Offsets(_) = self.kind {
                let stored = self.stored_until.saturating_sub(self.position);
                length = length.min(usize::try_from(stored).unwrap_or(usize::MAX));
            }
            let room = buffer.get_mut(..length).unwrap_or_default();
            match self.raw.read(room, self.position) {
                Ok(0) if self.kind == Kind::Tape && !self.marked => {
                    self.marked = true;
                    return Ok(Outcome::Mark);
                }
                Ok(0) => return Ok(Outcome::End),
                Ok(length) => {
                    self.position += length as u64;
                    (self.failures, self.bad, self.marked) = (0, 0, false);
                    return Ok(Outcome::Bytes(length));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => match self.kind {
                    Kind::Offsets(end) if self.position >= end => return Ok(Outcome::End),
                    Kind::Offsets(_) if self.bad >= MOST_BAD || is_gone(&error) => {
                        return Err(Error::io("read on", &self.path)(error));
                    }
                    Kind::Offsets(_) if length > self.unit => {
                        self.careful_until = self.position + length as u64;
                    }
                    Kind::Offsets(end) => {
                        let unit = self.unit as u64;
                        let next = (self.position / unit + 1) * unit;
                        return Ok(self.pass(next.min(end), error));
                    }
                    Kind::Tape | Kind::Pipe => return self.pass_block(error),
                },
            }
        }
    }

    /// Passes the hole that is next, if there is one, and says how long it is.
    fn pass_hole(&mut self, end: u64, length: u64) -> Option<u64> {
        let Some(stored) = self.raw.stored(self.position, length) else {
            self.stored_until = u64::MAX;
            return None;
        };
        let start = stored.start.min(end);
        // Behind the end there is nothing but the end.
        self.stored_until = if start < end { stored.end } else { u64::MAX };
        let before = std::mem::replace(&mut self.position, start);
        (start > before).then(|| start - before)
    }

    fn pass(&mut self, next: u64, error: io::Error) -> Outcome {
        let offset = std::mem::replace(&mut self.position, next);
        self.bad += next - offset;
        Outcome::Bad {
            offset,
            length: next - offset,
            error,
        }
    }

    /// A tape stands behind the block that it could not read.
    fn pass_block(&mut self, error: io::Error) -> Result<Outcome> {
        self.failures += 1;
        if error.kind() == io::ErrorKind::OutOfMemory {
            return Err(Error::Refused {
                path: self.path.clone(),
                message: format!(
                    "cannot read: its blocks are longer than {} bytes; give a larger --block-size",
                    self.unit
                ),
                exit: Exit::Failed,
            });
        }
        if self.failures > MOST_FAILURES || !is_bad_block(&error) {
            return Err(Error::io("read", &self.path)(error));
        }
        let next = self.position + self.unit as u64;
        Ok(self.pass(next, error))
    }
}

/// Whether an error says that the device is not there any more.
fn is_gone(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let gone = [Errno::NODEV, Errno::NXIO, Errno::NOMEDIUM];
    error
        .raw_os_error()
        .is_some_and(|code| gone.iter().any(|errno| errno.raw_os_error() == code))
}

/// Whether an error says that a block is bad, rather than that nothing can be read at all.
fn is_bad_block(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let bad = [
        Errno::IO,
        Errno::NODATA,
        Errno::OVERFLOW,
        Errno::ILSEQ,
        Errno::TIMEDOUT,
        Errno::REMOTEIO,
    ];
    error
        .raw_os_error()
        .is_some_and(|code| bad.iter().any(|errno| errno.raw_os_error() == code))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A medium of so many bytes, each its offset, with blocks that cannot be read.
    struct Medium {
        length: u64,
        bad: Vec<std::ops::Range<u64>>,
        /// Where a tape stands.
        position: u64,
        by_offset: bool,
    }

    const EIO: i32 = 5;

    fn low_byte(number: u64) -> u8 {
        number.to_le_bytes()[0]
    }

    impl Raw for Medium {
        fn read(&mut self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
            let from = if self.by_offset {
                position
            } else {
                self.position
            };
            let to = self.length.min(from + buffer.len() as u64);
            if let Some(bad) = self.bad.iter().find(|bad| bad.start < to && from < bad.end) {
                self.position = bad.end;
                return Err(io::Error::from_raw_os_error(EIO));
            }
            self.position = to;
            for (byte, offset) in buffer.iter_mut().zip(from..to) {
                *byte = low_byte(offset);
            }
            Ok(usize::try_from(to.saturating_sub(from)).unwrap())
        }
    }

    /// Where bytes were read, and which blocks were passed.
    fn all(mut reader: Reader, room: usize) -> (u64, Vec<(u64, u64)>) {
        let (mut bytes, mut passed) = (0, Vec::new());
        let mut buffer = vec![0; room];
        loop {
            let start = reader.position();
            match reader.read(&mut buffer).unwrap() {
                Outcome::Bytes(length) => {
                    assert_eq!(buffer[0], low_byte(start));
                    bytes += length as u64;
                }
                Outcome::Bad { offset, length, .. } => passed.push((offset, length)),
                Outcome::Hole(_) | Outcome::Mark => {}
                Outcome::End => return (bytes, passed),
            }
        }
    }

    #[test]
    fn a_bad_sector_costs_no_more_than_itself() {
        let medium = Medium {
            length: 1_000_000,
            bad: vec![8192..8193, 999_999..1_000_000],
            position: 0,
            by_offset: true,
        };
        let kind = Kind::Offsets(medium.length);
        let reader = Reader::new(Box::new(medium), kind, Path::new("disk"), None);
        let (bytes, passed) = all(reader, 65_536);
        assert_eq!(passed, [(8192, 4096), (999_424, 576)]);
        assert_eq!(bytes, 1_000_000 - 4096 - 576);
    }

    /// A disk that drops off the bus at its middle.
    struct Dropped {
        length: u64,
        code: i32,
    }

    impl Raw for Dropped {
        fn read(&mut self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
            if position + buffer.len() as u64 > self.length / 2 {
                return Err(io::Error::from_raw_os_error(self.code));
            }
            Ok(buffer.len())
        }
    }

    #[test]
    fn a_disk_that_is_gone_is_given_up() {
        const ENODEV: i32 = 19;
        for (code, most) in [(EIO, MOST_BAD), (ENODEV, 0)] {
            let length = 1 << 40;
            let kind = Kind::Offsets(length);
            let raw = Box::new(Dropped { length, code });
            let mut reader = Reader::new(raw, kind, Path::new("disk"), Some(1 << 20));
            reader.position = length / 2 - (1 << 20);
            let (mut buffer, mut passed) = (vec![0; 1 << 20], 0);
            let failed = (0..2000).find_map(|_| match reader.read(&mut buffer) {
                Ok(Outcome::Bad { length, .. }) => {
                    passed += length;
                    None
                }
                Ok(_) => None,
                Err(error) => Some(error),
            });
            assert!(failed.is_some());
            assert_eq!(passed, most, "{code}");
        }
    }

    #[test]
    fn long_holes_are_passed_and_short_ones_are_read() {
        const UNIT: u64 = 64 << 10;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        let file = File::create(&path).unwrap();
        // A short hole behind the first bytes, long ones before the next and at the end.
        let (near, far) = (2 * UNIT, 1 << 40);
        for (at, byte) in [(0, 1), (near, 2), (far, 3)] {
            file.write_all_at(&[byte; 1000], at).unwrap();
        }
        file.set_len(far << 1).unwrap();
        let mut reader = Reader::open(&path, None).unwrap();
        let (mut buffer, mut seen) = (vec![0; READ], Vec::<u8>::new());
        let (mut bytes, mut holes) = (0, 0);
        loop {
            match reader.read(&mut buffer).unwrap() {
                Outcome::Bytes(length) => {
                    bytes += length as u64;
                    let found = buffer[..length].iter().filter(|byte| **byte > 0);
                    seen.extend(found);
                }
                Outcome::Hole(length) => holes += length,
                Outcome::End => break,
                other => panic!("{other:?}"),
            }
        }
        let expected = [1, 2, 3].map(|byte| [byte; 1000]);
        assert_eq!(seen, expected.as_flattened());
        assert_eq!(bytes + holes, far << 1);
        assert!(bytes < 4 << 20, "{bytes} bytes were read");
    }

    #[test]
    fn a_tape_goes_on_behind_a_bad_block_and_a_file_mark() {
        let medium = Medium {
            length: 100 << 10,
            bad: std::iter::once(1024..2048).collect(),
            position: 0,
            by_offset: false,
        };
        let reader = Reader::new(Box::new(medium), Kind::Tape, Path::new("tape"), Some(1024));
        let (bytes, passed) = all(reader, 1024);
        assert_eq!(passed, [(1024, 1024)]);
        assert_eq!(bytes, 99 << 10);
    }

    #[test]
    fn a_tape_that_yields_nothing_but_errors_ends_the_run() {
        let mut reader = Reader::new(Box::new(Broken), Kind::Tape, Path::new("tape"), Some(512));
        let mut buffer = [0; 512];
        let failed = (0..100).find_map(|_| reader.read(&mut buffer).err());
        assert!(failed.is_some());
    }

    struct Broken;

    impl Raw for Broken {
        fn read(&mut self, _: &mut [u8], _: u64) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(EIO))
        }
    }

    #[test]
    fn folders_are_read_in_order_and_links_in_them_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("b")).unwrap();
        for name in ["c", "b/2", "b/1", "a"] {
            fs::write(path(name), name).unwrap();
        }
        std::os::unix::fs::symlink(path("a"), path("link")).unwrap();
        let mut files = Files::new(&[dir.path().to_owned(), path("link")]);
        let mut found = Vec::new();
        while let Some(file) = files.next().unwrap() {
            found.push(file);
        }
        let expected = ["a", "b/1", "b/2", "c", "link"].map(path);
        assert_eq!(found, expected);
    }
}
