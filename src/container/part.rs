//! A container in the making: found, locked, gone on with (`formats/container.md#file-name`).

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::catalog::Head;
use super::gather::{Brick, InSet};
use super::header::{BLOCK, padded};
use super::read::Walk;
use super::write::{Member, Writer};
use crate::archive::Monitor;
use crate::error::{Error, Exit, Result};
use crate::format::container::{LABEL, Label, MemberName};
use crate::store::layout::Layout;

/// What the file of a container is called while it is being made.
pub(super) fn part_path(path: &Path) -> PathBuf {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    part.into()
}

/// A container in the making, locked, and what of it was there.
pub(super) struct Part {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) label: Option<Label>,
    /// Bricks that stand in it, whole, one after another.
    pub(super) kept: Vec<Brick>,
    /// The end of the last of these, in bytes.
    end: u64,
}

/// What the container is to be.
pub(super) struct Expected<'a> {
    /// Of the set, without this container.
    pub(super) head: &'a Head,
    pub(super) in_set: &'a InSet,
    pub(super) bound: u64,
    pub(super) layout: &'a Layout,
    pub(super) monitor: &'a Monitor,
}

impl Part {
    /// Opens or makes the file of the container that will be `target`, and finds what of it
    /// can be kept.
    pub(super) fn open(target: &Path, expected: &Expected<'_>) -> Result<Self> {
        let path = part_path(target);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::io("make", &path))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(Error::Refused {
                path,
                message: "another `dtar pack` is writing it".into(),
                exit: Exit::Failed,
            });
        }
        let mut part = Self {
            path,
            file,
            label: None,
            kept: Vec::new(),
            end: 0,
        };
        part.look(expected)?;
        Ok(part)
    }

    /// Finds what can be kept of it.
    fn look(&mut self, expected: &Expected<'_>) -> Result<()> {
        let head = expected.head;
        let mut walk = Walk::new(BufReader::with_capacity(1 << 20, &self.file), &self.path);
        let mut has_config = false;
        while let Some(found) = walk.next_header().ok().flatten() {
            expected.monitor.check()?;
            let (name, length, offset) = found;
            if name == LABEL {
                let Ok(label) = walk.label(length) else {
                    return Ok(());
                };
                let is_ours = label.set == head.set
                    && label.number == head.last() + 1
                    && label.store == head.store
                    && label.bound == expected.bound;
                if !is_ours {
                    return Ok(());
                }
                self.label = Some(label);
                continue;
            }
            if name == "store.toml" {
                has_config = true;
            }
            let Ok(MemberName::Brick(brick)) = name.parse::<MemberName>() else {
                if has_config && name != "store.toml" || walk.skip(length).is_err() {
                    return Ok(());
                }
                continue;
            };
            // A brick is in a set once.
            if expected.in_set.has_brick(&brick) {
                return Ok(());
            }
            if !has_config || self.label.is_none() || walk.hash(length).ok() != Some(brick.0) {
                return Ok(());
            }
            let sidecar = expected.layout.toc_path(&brick);
            let sidecar = fs::metadata(&sidecar).ok().map(|found| Member {
                name: MemberName::Sidecar(brick),
                path: sidecar,
                length: found.len(),
            });
            self.kept.push(Brick {
                brick: Member {
                    name: MemberName::Brick(brick),
                    path: self.path.clone(),
                    length,
                },
                sidecar,
            });
            self.end = offset + padded(length);
        }
        Ok(())
    }

    /// Where its first brick begins, in bytes, if one is kept: label, pages and `store.toml`
    /// before it may be those of another version of dtar.
    pub(super) fn opening(&self) -> Option<u64> {
        let lengths = self.kept.iter();
        let lengths = lengths.map(|brick| BLOCK + padded(brick.brick.length));
        (!self.kept.is_empty()).then(|| self.end - lengths.sum::<u64>())
    }

    /// Gives up what is kept behind the first `count` bricks.
    pub(super) fn keep(&mut self, count: usize) {
        for brick in self.kept.drain(count..) {
            self.end -= BLOCK + padded(brick.brick.length);
        }
    }

    /// Makes the file so long.
    pub(super) fn cut(&self, length: u64) -> Result<()> {
        self.file
            .set_len(length)
            .map_err(Error::io("write", &self.path))
    }

    /// Hands what is kept to the writer, and the rest goes.
    pub(super) fn read_again(&mut self, writer: &mut Writer<'_, BufWriter<File>>) -> Result<()> {
        self.cut(self.end)?;
        let read = |error| Error::io("read", &self.path)(error);
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0)).map_err(read)?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            let length = match file.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                length => length.map_err(|error| Error::io("read", &self.path)(error))?,
            };
            if length == 0 {
                break;
            }
            writer.take_over(&buffer[..length]);
        }
        // Offsets of what is there: behind each other, each with its header.
        let mut position = self.opening().unwrap_or(self.end);
        for brick in &self.kept {
            writer.enter(position + BLOCK, brick.brick.length, &brick.brick.name);
            position += BLOCK + padded(brick.brick.length);
        }
        Ok(())
    }

    /// Nothing came of it.
    pub(super) fn remove(&self) -> Result<()> {
        fs::remove_file(&self.path).map_err(Error::io("remove", &self.path))
    }
}
