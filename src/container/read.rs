//! Reading one container: by its catalog, or by its headers.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::catalog::{Scanned, scan};
use super::header::{BLOCK, BLOCK_SIZE, padded, parse};
use crate::archive::Monitor;
use crate::error::{Error, Exit, Result};
use crate::format::container::{
    CATALOG, LABEL, Label, Line, MAX_LABEL_LENGTH, MAX_LINE_LENGTH, MemberName, Sum,
};
use crate::store::guard;

const BUFFER: usize = 1 << 20;

/// A container that is open.
#[derive(Debug)]
pub struct Container {
    /// The file.
    pub path: PathBuf,
    /// Its label.
    pub label: Label,
    /// In bytes.
    pub length: u64,
    file: File,
}

/// Whether a file begins with the label of a container.
#[must_use]
pub fn is_container(path: &Path) -> bool {
    let mut block = [0; BLOCK_SIZE];
    let read = guard::open_file(path).and_then(|file| file.read_exact_at(&mut block, 0));
    read.is_ok() && parse(&block).is_some_and(|(name, _)| name == LABEL)
}

impl Container {
    /// Opens a container.
    ///
    /// # Errors
    /// [`Error::Refused`] for what is none; those of reading it and of its label.
    pub fn open(path: &Path) -> Result<Self> {
        let file = guard::open_file(path).map_err(Error::io("open", path))?;
        let length = file.metadata().map_err(Error::io("read", path))?.len();
        let mut walk = Walk::new(&file, path);
        let label = match walk.next_header() {
            Ok(Some((name, length, _))) if name == LABEL => walk.label(length)?,
            Err(error @ Error::Io { .. }) => return Err(error),
            _ => {
                return Err(Error::Refused {
                    path: path.to_owned(),
                    message: format!("not a container of dtar: it does not begin with {LABEL}"),
                    exit: Exit::Failed,
                });
            }
        };
        Ok(Self {
            path: path.to_owned(),
            label,
            length,
            file,
        })
    }

    /// The file.
    #[must_use]
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// Calls `each` with offset and length of the body, in bytes, and name of each member
    /// that is part of a store, in their order: by the catalog, or by the headers if that is
    /// damaged. What lies beyond the file is left out.
    ///
    /// # Errors
    /// [`Error::Io`], and those of `each`.
    pub fn each_member(
        &self,
        each: &mut dyn FnMut(u64, u64, MemberName) -> Result<()>,
    ) -> Result<()> {
        let mut members = Vec::new();
        // Where the catalog is damaged or cannot be read, the headers may still be sound.
        if !matches!(self.by_catalog(&mut members), Ok(Some(_))) {
            members.clear();
            self.by_headers(&mut members)?;
        }
        for (offset, length, name) in members {
            if offset.saturating_add(length) <= self.length {
                each(offset, length, name)?;
            }
        }
        Ok(())
    }

    /// The members of this container by its catalog, and what that says; nothing: there is
    /// none.
    pub(super) fn by_catalog(
        &self,
        members: &mut Vec<(u64, u64, MemberName)>,
    ) -> Result<Option<Scanned>> {
        let Some(header) = self.find_catalog()? else {
            return Ok(None);
        };
        let mut walk = Walk::new(&self.file, &self.path);
        walk.go_to(header)?;
        let Some((name, length, offset)) = walk.next_header()? else {
            return Ok(None);
        };
        if name != CATALOG {
            return Ok(None);
        }
        let mut input = BufReader::with_capacity(BUFFER, (&self.file).take(length));
        let number = self.label.number;
        scan(
            &mut input,
            &self.path,
            offset,
            &mut |container, offset, length, name| {
                if container == number {
                    members.push((offset, length, name));
                }
                Ok(())
            },
        )
        .map(Some)
    }

    /// Where the header of the catalog stands, as its last line says.
    fn find_catalog(&self) -> Result<Option<u64>> {
        let mut bytes = Vec::new();
        let mut end = self.length;
        // Zeros: two blocks, and up to 10,240 bytes, or to a block of a tape.
        let mut window = 4 * super::header::RECORD;
        while end > 0 && window <= MAX_FILLING {
            let start = self.length.saturating_sub(window);
            bytes.resize(usize::try_from(end - start).unwrap_or_default(), 0);
            self.file
                .read_exact_at(&mut bytes, start)
                .map_err(Error::io("read", &self.path))?;
            if let Some(last) = bytes.iter().rposition(|&byte| byte != 0) {
                return self.end_line(start + last as u64 + 1);
            }
            end = start;
            window *= 8;
        }
        Ok(None)
    }

    fn end_line(&self, end: u64) -> Result<Option<u64>> {
        let start = end.saturating_sub(MAX_LINE_LENGTH as u64);
        let mut bytes = vec![0; usize::try_from(end - start).unwrap_or_default()];
        self.file
            .read_exact_at(&mut bytes, start)
            .map_err(Error::io("read", &self.path))?;
        let text = bytes.strip_suffix(b"\n").unwrap_or_default();
        let line = text
            .rsplit(|&byte| byte == b'\n')
            .next()
            .unwrap_or_default();
        Ok(match Line::decode(line, 0) {
            Ok(Line::End(header, _)) if header < end => Some(header),
            _ => None,
        })
    }

    fn by_headers(&self, members: &mut Vec<(u64, u64, MemberName)>) -> Result<()> {
        let mut walk = Walk::new(&self.file, &self.path);
        walk.go_to(0)?;
        let mut ended = false;
        loop {
            let found = match walk.next_header() {
                // One damaged header hides one member, and not those behind it.
                Ok(None) if !ended => walk.find_header(),
                found => found,
            };
            let (name, length, offset) = match found {
                Ok(Some(found)) => found,
                Ok(None) => return Ok(()),
                // What stands before a place that cannot be read is good.
                Err(_) if !members.is_empty() => return Ok(()),
                Err(error) => return Err(error),
            };
            ended = name == CATALOG;
            if let Ok(name) = name.parse() {
                members.push((offset, length, name));
            }
            walk.go_to(offset.saturating_add(padded(length)))?;
        }
    }

    /// Length and SHA-256 of the file.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Interrupted`].
    pub fn sum(&self, monitor: &Monitor) -> Result<Sum> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))
            .map_err(Error::io("read", &self.path))?;
        let (mut hasher, mut length) = (Sha256::new(), 0);
        let mut buffer = vec![0; BUFFER];
        loop {
            monitor.check()?;
            let read = match file.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map_err(Error::io("read", &self.path))?,
            };
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            length += read as u64;
        }
        Ok(Sum {
            length,
            sha256: hasher.finalize().into(),
        })
    }
}

/// The longest run of zeros at the end of a container that is looked through.
const MAX_FILLING: u64 = 256 << 20;

/// The headers of a tar, one after another.
pub(crate) struct Walk<'a, R> {
    input: R,
    path: &'a Path,
    /// Behind the last header, or what was read or skipped of its body.
    position: u64,
    /// What is left of the last body, with what fills its block.
    left: u64,
}

impl<'a, R: Read> Walk<'a, R> {
    pub(crate) const fn new(input: R, path: &'a Path) -> Self {
        Self {
            input,
            path,
            position: 0,
            left: 0,
        }
    }

    /// Name, length and offset of the next member's body, of which nothing is read; nothing
    /// at the end of the tar, or where no header is.
    pub(crate) fn next_header(&mut self) -> Result<Option<(String, u64, u64)>> {
        let left = self.left;
        self.pass(left)?;
        let mut block = [0; BLOCK_SIZE];
        match self.input.read_exact(&mut block) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read.map_err(Error::io("read", self.path))?,
        }
        self.position += BLOCK;
        let Some((name, length)) = parse(&block) else {
            return Ok(None);
        };
        self.left = padded(length);
        Ok(Some((name, length, self.position)))
    }

    /// Behind the last header, or what was read or skipped of its body.
    pub(crate) const fn position(&self) -> u64 {
        self.position + self.left
    }

    /// The next header of a member that containers have, wherever it begins: for where one
    /// is damaged. Nothing: none comes any more.
    pub(crate) fn find_header(&mut self) -> Result<Option<(String, u64, u64)>> {
        let mut block = [0; BLOCK_SIZE];
        loop {
            match self.input.read_exact(&mut block) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                read => read.map_err(Error::io("read", self.path))?,
            }
            self.position += BLOCK;
            let known = |name: &str| {
                [CATALOG, "store.toml"].contains(&name)
                    || name.starts_with("formats/")
                    || name.parse::<MemberName>().is_ok()
            };
            if let Some((name, length)) = parse(&block).filter(|(name, _)| known(name)) {
                self.left = padded(length);
                return Ok(Some((name, length, self.position)));
            }
        }
    }

    /// Reads on to where the tar ends, if its end has come; it may also be cut short here.
    pub(crate) fn finish_record(&mut self) {
        let end = self.position.next_multiple_of(super::header::RECORD);
        let _ = self.pass(end - self.position);
    }

    /// Reads on, past `length` bytes.
    fn pass(&mut self, length: u64) -> Result<()> {
        let mut rest = (&mut self.input).take(length);
        let passed = io::copy(&mut rest, &mut io::sink()).map_err(Error::io("read", self.path))?;
        self.position += passed;
        self.left = self.left.saturating_sub(passed);
        if passed < length {
            return Err(self.cut_short(length - passed));
        }
        Ok(())
    }

    fn cut_short(&self, missing: u64) -> Error {
        Error::Refused {
            path: self.path.to_owned(),
            message: format!(
                "cut short: a member ends at byte {}, but the file has {} bytes",
                self.position.saturating_add(missing),
                self.position
            ),
            exit: Exit::Damaged,
        }
    }

    /// Passes the body; an error if it is cut short.
    pub(crate) fn skip(&mut self, length: u64) -> Result<()> {
        self.body(length, &mut |_| Ok(()))
    }

    /// Calls `each` with the bytes of the body, piece by piece.
    pub(crate) fn body(
        &mut self,
        length: u64,
        each: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut buffer = vec![0; BUFFER.min(usize::try_from(length).unwrap_or(BUFFER))];
        let mut left = length;
        while left > 0 {
            let most = buffer
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = match self.input.read(&mut buffer[..most]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map_err(Error::io("read", self.path))?,
            };
            if read == 0 {
                return Err(self.cut_short(left));
            }
            each(&buffer[..read])?;
            left -= read as u64;
            self.left = self.left.saturating_sub(read as u64);
            self.position += read as u64;
        }
        Ok(())
    }

    /// BLAKE3-256 of the body.
    pub(crate) fn hash(&mut self, length: u64) -> Result<[u8; 32]> {
        let mut hasher = blake3::Hasher::new();
        self.body(length, &mut |bytes| {
            hasher.update(bytes);
            Ok(())
        })?;
        Ok(*hasher.finalize().as_bytes())
    }

    /// The body, which is the label.
    pub(crate) fn label(&mut self, length: u64) -> Result<Label> {
        let offset = self.position;
        let mut bytes = Vec::new();
        if length <= MAX_LABEL_LENGTH as u64 {
            self.body(length, &mut |piece| {
                bytes.extend_from_slice(piece);
                Ok(())
            })?;
        }
        Label::decode(&bytes).map_err(Error::decode(self.path, offset))
    }
}

impl Walk<'_, &File> {
    pub(crate) fn go_to(&mut self, position: u64) -> Result<()> {
        self.input
            .seek(SeekFrom::Start(position))
            .map_err(Error::io("read", self.path))?;
        self.position = position;
        self.left = 0;
        Ok(())
    }
}
