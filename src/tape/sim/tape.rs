//! A virtual tape: blocks and marks in two files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::settings::Settings;

/// What stands at one place of a tape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item {
    /// A block: where it begins in the file of data, how long it is, the number of blocks
    /// before it.
    Block {
        offset: u64,
        length: u32,
        number: u64,
    },
    /// A filemark.
    Mark,
}

/// A virtual tape that is in the drive.
#[derive(Debug)]
pub(super) struct Tape {
    pub(super) settings: Settings,
    data: File,
    layout: File,
    layout_length: u64,
    items: Vec<Item>,
}

const MARK: &str = "mark";

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

impl Tape {
    /// Opens the tape in a folder; a folder without data is a blank tape.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let settings = match fs::read_to_string(dir.join("tape.toml")) {
            Ok(text) => toml::from_str(&text).map_err(|error| invalid(error.to_string()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Settings::default(),
            Err(error) => return Err(error),
        };
        let open = |name: &str| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(dir.join(name))
        };
        let mut tape = Self {
            settings,
            data: open("data")?,
            layout: open("layout")?,
            layout_length: 0,
            items: Vec::new(),
        };
        tape.read_layout(&fs::read_to_string(dir.join("layout"))?)?;
        Ok(tape)
    }

    /// Takes in all whole lines: a last one without its end is that of a block which a
    /// power cut took.
    fn read_layout(&mut self, text: &str) -> io::Result<()> {
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let (mut offset, mut number) = (0, 0);
        for line in text.get(..whole).unwrap_or_default().lines() {
            if line == MARK {
                self.items.push(Item::Mark);
                continue;
            }
            let length: u32 = line
                .parse()
                .map_err(|_| invalid(format!("layout: not a block: {line:?}")))?;
            self.items.push(Item::Block {
                offset,
                length,
                number,
            });
            offset += u64::from(length);
            number += 1;
        }
        self.layout_length = whole as u64;
        Ok(())
    }

    pub(super) fn item(&self, at: usize) -> Option<Item> {
        self.items.get(at).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Where a block would begin in the file of data if it stood at this place, and its
    /// number.
    pub(super) fn next_block(&self, at: usize) -> (u64, u64) {
        let before = self.items.get(..at).unwrap_or_default();
        let last = before.iter().rev().find_map(|item| match *item {
            Item::Block {
                offset,
                length,
                number,
            } => Some((offset + u64::from(length), number + 1)),
            Item::Mark => None,
        });
        last.unwrap_or((0, 0))
    }

    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.data.read_exact_at(buffer, offset)
    }

    /// Puts a block or, if there is none, a mark at this place. All behind it is gone.
    pub(super) fn put(&mut self, at: usize, block: Option<&[u8]>) -> io::Result<()> {
        self.cut(at)?;
        let line = if let Some(block) = block {
            let (offset, number) = self.next_block(at);
            let length = u32::try_from(block.len()).map_err(io::Error::other)?;
            self.data.write_all_at(block, offset)?;
            self.items.push(Item::Block {
                offset,
                length,
                number,
            });
            format!("{length}\n")
        } else {
            self.items.push(Item::Mark);
            format!("{MARK}\n")
        };
        self.layout
            .write_all_at(line.as_bytes(), self.layout_length)?;
        self.layout_length += line.len() as u64;
        self.layout.flush()
    }

    fn cut(&mut self, at: usize) -> io::Result<()> {
        if at >= self.items.len() {
            // What a power cut left of a line.
            return self.layout.set_len(self.layout_length);
        }
        self.items.truncate(at);
        let lines = self.items.iter().map(|item| match item {
            Item::Block { length, .. } => format!("{length}\n"),
            Item::Mark => format!("{MARK}\n"),
        });
        self.layout_length = lines.map(|line| line.len() as u64).sum();
        self.layout.set_len(self.layout_length)
    }
}
