//! Writing one container: bytes, their sum, and what the catalog says of them.

use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::catalog::{Head, Writing};
use super::docs::PAGES;
use super::header::{BLOCK, BLOCK_SIZE, RECORD_SIZE, header, padded, whole};
use crate::archive::Monitor;
use crate::error::{Error, Exit, Result};
use crate::format::container::{CATALOG, LABEL, Label, Line, MemberName, Sum, put_line};
use crate::id::BrickName;
use crate::store::guard;

/// Reads and writes of this length.
const BUFFER: usize = 1 << 20;

const ZEROS: [u8; RECORD_SIZE] = [0; RECORD_SIZE];

/// For people who find the tape.
const LETTER: &str = "
This is a container of dtar, a deduplicating, encrypting archiver: a plain tar file with parts of
a store. The other containers of its set have the same first eight digits in their names.

  formats/          how everything in here is laid out, and a reader in Python that restores
                    from it; begin with formats/README.md and formats/container.md
  bricks/ meta/     the data, encrypted; each file is named after the BLAKE3 hash of its bytes
  tocs/ roots/ snapshots/ store.toml
                    what is in the bricks, and the runs that made them; encrypted
  dtar-catalog.txt  what is in this container and those before it

Nothing can be read without the secret key of the store. With it, and with dtar:

  for each container:  dtar unpack CONTAINER --to STORE     (or: tar x -C STORE -f CONTAINER)
  what can be restored:    dtar snapshots --store STORE --key KEY
  everything of the last:  dtar restore --store STORE --key KEY @latest | tar x
";

/// A file that is to become a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) name: MemberName,
    pub(crate) path: PathBuf,
    /// In bytes.
    pub(crate) length: u64,
}

impl Member {
    /// The brick whose sidecar it is.
    pub(crate) const fn name_of_sidecar(&self) -> Option<&BrickName> {
        match &self.name {
            MemberName::Sidecar(name) => Some(name),
            _ => None,
        }
    }
}

/// Why a member was not written.
pub(crate) enum Trouble {
    /// Its file is at fault; what was written of it is void.
    Source(Error),
    /// What is written to, or the request to stop.
    Other(Error),
}

/// What stands before the bricks.
pub(crate) struct Opening<'a> {
    pub(crate) label: &'a Label,
    /// The bytes of `store.toml`.
    pub(crate) config: &'a [u8],
}

impl Opening<'_> {
    /// Names and contents, in their order.
    fn members(&self) -> impl Iterator<Item = (&'static str, Vec<u8>)> {
        let label = format!("{}{LETTER}", self.label).into_bytes();
        let pages = PAGES.iter().map(|(name, bytes)| (*name, bytes.to_vec()));
        let config = ("store.toml", self.config.to_vec());
        std::iter::once((LABEL, label)).chain(pages).chain([config])
    }

    /// How long that is in the tar, in bytes.
    pub(crate) fn length(&self) -> u64 {
        let lengths = self
            .members()
            .map(|(_, bytes)| BLOCK + padded(bytes.len() as u64));
        lengths.sum()
    }
}

/// A place in a container to which its writer can go back.
#[derive(Clone)]
pub(crate) struct Mark {
    pub(crate) position: u64,
    hasher: Sha256,
    lines: usize,
}

/// A container in the making.
pub(crate) struct Writer<'a, W> {
    pub(crate) out: W,
    /// What it is called in errors.
    path: &'a Path,
    time: u64,
    position: u64,
    hasher: Sha256,
    /// Those of the members, for the catalog.
    lines: String,
    buffer: Vec<u8>,
    monitor: &'a Monitor,
}

impl<'a, W: Write> Writer<'a, W> {
    /// Begins the container number `number`; `time` is that of its label.
    pub(crate) fn new(
        out: W,
        path: &'a Path,
        (number, time): (u32, u64),
        monitor: &'a Monitor,
    ) -> Self {
        let mut lines = String::new();
        put_line(&mut lines, &Line::In(number));
        Self {
            out,
            path,
            time,
            position: 0,
            hasher: Sha256::new(),
            lines,
            buffer: vec![0; BUFFER],
            monitor,
        }
    }

    /// Where it could go on from, should the next member fail.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            position: self.position,
            hasher: self.hasher.clone(),
            lines: self.lines.len(),
        }
    }

    /// Goes back to where it was; the caller has seen to `out`.
    pub(crate) fn back_to(&mut self, mark: Mark) {
        self.position = mark.position;
        self.hasher = mark.hasher;
        self.lines.truncate(mark.lines);
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.position += bytes.len() as u64;
        self.out
            .write_all(bytes)
            .map_err(Error::io("write", self.path))
    }

    fn fill_block(&mut self) -> Result<()> {
        let missing = padded(self.position) - self.position;
        self.put(&ZEROS[..usize::try_from(missing).unwrap_or_default()])
    }

    /// Label, pages and `store.toml`.
    pub(crate) fn opening(&mut self, opening: &Opening<'_>) -> Result<()> {
        for (name, bytes) in opening.members() {
            let header = header(name, bytes.len() as u64, self.time)?;
            self.put(&header)?;
            self.put(&bytes)?;
            self.fill_block()?;
        }
        Ok(())
    }

    /// Takes bytes over that stand in `out` already, and their sum.
    pub(crate) fn take_over(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.position += bytes.len() as u64;
    }

    /// Enters a member whose body begins at `offset`.
    pub(crate) fn enter(&mut self, offset: u64, length: u64, name: &MemberName) {
        put_line(&mut self.lines, &Line::Member(offset, length, name.clone()));
    }

    /// Writes a member, and checks what is named by its hash.
    pub(crate) fn member(&mut self, member: &Member) -> Result<(), Trouble> {
        let Member { name, path, length } = member;
        let mut file = guard::open_file(path)
            .map_err(Error::io("open", path))
            .map_err(Trouble::Source)?;
        let header = header(&name.to_string(), *length, self.time).map_err(Trouble::Other)?;
        self.put(&header).map_err(Trouble::Other)?;
        let offset = self.position;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = std::mem::take(&mut self.buffer);
        let copied = self.copy(&mut file, path, *length, &mut hasher, &mut buffer);
        self.buffer = buffer;
        copied?;
        if let Some(stated) = name.promised_hash()
            && hasher.finalize() != stated
        {
            return Err(Trouble::Source(not_its_hash(path, &hasher)));
        }
        self.fill_block().map_err(Trouble::Other)?;
        self.enter(offset, *length, name);
        Ok(())
    }

    /// Copies `length` bytes, no more and no fewer.
    fn copy(
        &mut self,
        file: &mut File,
        path: &Path,
        length: u64,
        hasher: &mut blake3::Hasher,
        buffer: &mut [u8],
    ) -> Result<(), Trouble> {
        let mut left = length;
        loop {
            self.monitor.check().map_err(Trouble::Other)?;
            let read = match file.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read,
            };
            let read = read
                .map_err(Error::io("read", path))
                .map_err(Trouble::Source)?;
            if read as u64 > left || read == 0 && left > 0 {
                return Err(Trouble::Source(Error::Refused {
                    path: path.to_owned(),
                    message: format!(
                        "changed while it was packed: expected {length} bytes, found {}; look at \
                         it with `dtar verify`",
                        if read == 0 { "fewer" } else { "more" }
                    ),
                    exit: Exit::Damaged,
                }));
            }
            if read == 0 {
                return Ok(());
            }
            left -= read as u64;
            hasher.update(&buffer[..read]);
            self.put(&buffer[..read]).map_err(Trouble::Other)?;
            Monitor::add(&self.monitor.stream, read as u64);
        }
    }

    /// Writes the catalog and the end. Returns length and sum of the whole, and the lines of
    /// its members.
    pub(crate) fn finish(
        mut self,
        head: &Head,
        (before, before_length, before_path): (&mut dyn BufRead, u64, &Path),
    ) -> Result<(W, Sum, String)> {
        let at = self.position;
        let lines = std::mem::take(&mut self.lines);
        let catalog = Writing {
            head,
            before: (before, before_length),
            new: &lines,
            header: at,
        };
        let header = header(CATALOG, catalog.length(), self.time)?;
        self.put(&header)?;
        let path = self.path;
        catalog
            .write(&mut Counted(&mut self), before_path)
            .map_err(Error::io("write", path))??;
        self.fill_block()?;
        let end = whole(self.position);
        self.put(&ZEROS[..2 * BLOCK_SIZE])?;
        let missing = end - self.position;
        self.put(&ZEROS[..usize::try_from(missing).unwrap_or_default()])?;
        let sum = Sum {
            length: self.position,
            sha256: self.hasher.finalize().into(),
        };
        Ok((self.out, sum, lines))
    }
}

/// Bytes that go through [`Writer::put`].
struct Counted<'w, 'a, W>(&'w mut Writer<'a, W>);

impl<W: Write> Write for Counted<'_, '_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.put(bytes).map_err(|error| match error {
            Error::Io { source, .. } => source,
            other => io::Error::other(other),
        })?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn not_its_hash(path: &Path, hasher: &blake3::Hasher) -> Error {
    let found = BrickName(*hasher.finalize().as_bytes());
    Error::Refused {
        path: path.to_owned(),
        message: format!(
            "damaged: its name is not the BLAKE3 of its bytes (found {found}); it is left out. Bring \
             back another copy, or see `dtar verify` and `dtar parity repair`"
        ),
        exit: Exit::Damaged,
    }
}
