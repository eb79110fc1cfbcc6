//! What stands on a tape: its label, the names of its files, checksums
//! (`formats/tape.md`).

use std::fmt::{self, Write as _};
use std::str::FromStr;

use super::container::MAX_CONTAINERS;
use super::wire::{DecodeError, DecodeResult, Fault};
use crate::id::{ContainerSetId, StoreId, TapeId};

/// The member that holds a tape's label.
pub const LABEL_MEMBER: &str = "dtar-tape.txt";
/// The member beside a catalog that holds the checksums.
pub const SUMS_MEMBER: &str = "SHA256SUMS";
/// The longest label.
pub const MAX_LABEL: usize = 64 << 10;
/// The length of the blocks of a raw tape, if nothing else is asked for.
pub const DEFAULT_BLOCK: u32 = 1 << 20;
/// The longest block of a raw tape: what every drive transfers at once.
pub const MAX_BLOCK: u32 = 8 << 20;
/// The greatest number of a tape file: a name with a greater one is not dtar's.
pub const MAX_FILES: u32 = 1 << 20;
/// The unit of the length of a block.
const BLOCK_UNIT: u32 = 512;

const LABEL: &str = "tape label";

/// The name of a tape, as on its sticker: 1 to 32 of `A-Z a-z 0-9 . _ -`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TapeName(String);

/// Why a text is no tape's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a tape's name has 1 to 32 characters out of A-Z a-z 0-9 . _ -; found {0:?}")]
pub struct ParseTapeNameError(String);

impl FromStr for TapeName {
    type Err = ParseTapeNameError;

    fn from_str(text: &str) -> Result<Self, ParseTapeNameError> {
        let may_stand = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if (1..=32).contains(&text.len()) && text.bytes().all(may_stand) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseTapeNameError(text.chars().take(80).collect()))
        }
    }
}

impl fmt::Display for TapeName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&self.0)
    }
}

/// What a tape belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The set of containers.
    pub set: ContainerSetId,
    /// The store that the set holds.
    pub store: StoreId,
}

/// A tape's label (`formats/tape.md#label`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The tape.
    pub id: TapeId,
    /// What it is called.
    pub name: TapeName,
    /// The set and store that it belongs to: none, until something is written to it.
    pub owner: Option<Owner>,
    /// Length of the blocks of a raw tape, in bytes; 0 on a mounted one.
    pub block: u32,
    /// When it was labelled: seconds since 1970.
    pub time: u64,
}

impl Label {
    /// Appends the label, with a text for people.
    pub fn encode(&self, out: &mut String) {
        let (set, store) = self.owner.map_or_else(
            || ("-".to_owned(), "-".to_owned()),
            |owner| (owner.set.to_string(), owner.store.to_string()),
        );
        let Self {
            id,
            name,
            block,
            time,
            ..
        } = self;
        // Writing to a string does not fail.
        let _ = write!(
            out,
            "dtar tape 1\nid {id}\nname {name}\nset {set}\nstore {store}\nblock {block}\ntime {time}\n\n\
             This tape holds containers of a dtar store: plain tar files, one in each tape file.\n\
             formats/tape.md in this archive says how to read them.\n"
        );
    }

    /// Reads a label.
    ///
    /// # Errors
    /// If it is none, is damaged, or was written by a newer dtar.
    pub fn parse(text: &[u8]) -> DecodeResult<Self> {
        let mut lines = Lines::new(LABEL, text);
        let (first, offset) = lines.take("version")?;
        match first.strip_prefix("dtar tape ") {
            Some("1") => {}
            Some(version) => {
                return Err(DecodeError {
                    structure: LABEL,
                    field: "version",
                    offset,
                    fault: Fault::Version {
                        found: version.parse().unwrap_or(u16::MAX),
                    },
                });
            }
            None => {
                return Err(DecodeError {
                    structure: LABEL,
                    field: "version",
                    offset,
                    fault: Fault::Magic {
                        found: first.bytes().take(40).collect(),
                    },
                });
            }
        }
        let id = lines.value("id")?;
        let name = lines.value("name")?;
        let owner = lines.owner()?;
        let (block, offset) = lines.word("block")?;
        let block = parse_block(block).ok_or_else(|| {
            DecodeError::value(
                LABEL,
                "block",
                offset,
                format_args!("0 or a multiple of 512 up to {MAX_BLOCK}"),
                block,
            )
        })?;
        let time = lines.value("time")?;
        Ok(Self {
            id,
            name,
            owner,
            block,
            time,
        })
    }
}

fn parse_block(text: &str) -> Option<u32> {
    let block: u32 = text.parse().ok()?;
    is_block(block).then_some(block)
}

/// Whether blocks of a raw tape may be that long; 0 stands for a mounted one.
#[must_use]
pub const fn is_block(block: u32) -> bool {
    block <= MAX_BLOCK && block.is_multiple_of(BLOCK_UNIT)
}

/// Lines of the form `word value`, one after the other.
struct Lines<'a> {
    structure: &'static str,
    text: &'a [u8],
    offset: usize,
}

impl<'a> Lines<'a> {
    const fn new(structure: &'static str, text: &'a [u8]) -> Self {
        Self {
            structure,
            text,
            offset: 0,
        }
    }

    /// The next line and its offset.
    fn take(&mut self, field: &'static str) -> DecodeResult<(&'a str, u64)> {
        let start = self.offset;
        let rest = self.text.get(start..).unwrap_or_default();
        let error = |fault| DecodeError {
            structure: self.structure,
            field,
            offset: start as u64,
            fault,
        };
        let length = memchr::memchr(b'\n', rest).ok_or_else(|| {
            error(Fault::Truncated {
                needed: self.text.len() as u64 + 1,
                found: self.text.len() as u64,
            })
        })?;
        self.offset += length + 1;
        let line = std::str::from_utf8(&rest[..length]).map_err(|_| {
            error(Fault::Value {
                expected: "UTF-8".into(),
                found: rest[..length.min(80)].escape_ascii().to_string(),
            })
        })?;
        Ok((line, start as u64))
    }

    /// The value of the next line, which begins with `field`.
    fn word(&mut self, field: &'static str) -> DecodeResult<(&'a str, u64)> {
        let (line, offset) = self.take(field)?;
        line.strip_prefix(field)
            .and_then(|rest| rest.strip_prefix(' '))
            .map(|value| (value, offset + field.len() as u64 + 1))
            .ok_or_else(|| {
                DecodeError::value(
                    self.structure,
                    field,
                    offset,
                    format_args!("{field} …"),
                    line,
                )
            })
    }

    fn value<T: FromStr<Err: fmt::Display>>(&mut self, field: &'static str) -> DecodeResult<T> {
        let (value, offset) = self.word(field)?;
        value.parse().map_err(|error| {
            DecodeError::value(
                self.structure,
                field,
                offset,
                format_args!("a right value ({error})"),
                value,
            )
        })
    }

    /// `set` and `store`: both, or neither.
    fn owner(&mut self) -> DecodeResult<Option<Owner>> {
        let before = self.offset;
        let nobody = (self.word("set")?.0, self.word("store")?.0) == ("-", "-");
        if nobody {
            return Ok(None);
        }
        self.offset = before;
        Ok(Some(Owner {
            set: self.value("set")?,
            store: self.value("store")?,
        }))
    }
}

/// The first 8 hex digits of a set's id: what stands in names of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetPrefix([u8; 4]);

impl From<ContainerSetId> for SetPrefix {
    fn from(set: ContainerSetId) -> Self {
        let [a, b, c, d, ..] = set.0;
        Self([a, b, c, d])
    }
}

impl fmt::Display for SetPrefix {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl FromStr for SetPrefix {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() != 8 || !digits {
            return Err(());
        }
        u32::from_str_radix(text, 16)
            .map(|value| Self(value.to_be_bytes()))
            .map_err(|_| ())
    }
}

/// A container by its file's name: `SSSSSSSS-NNNNNN.tar` (`formats/container.md#file-name`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerName {
    /// Its set.
    pub set: SetPrefix,
    /// Its number, from 1.
    pub number: u32,
}

impl fmt::Display for ContainerName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{:06}.tar", self.set, self.number)
    }
}

impl FromStr for ContainerName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (set, number) = text
            .strip_suffix(".tar")
            .and_then(|stem| stem.split_once('-'))
            .ok_or(())?;
        Ok(Self {
            set: set.parse()?,
            number: parse_number(number, 6)
                .filter(|number| (1..=MAX_CONTAINERS).contains(number))
                .ok_or(())?,
        })
    }
}

/// A number of at least `width` digits, and no more than it needs.
fn parse_number(text: &str, width: usize) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || text.len() < width || (text.len() > width && text.starts_with('0')) {
        return None;
    }
    text.parse().ok()
}

/// A file on a tape (`formats/tape.md#what-is-on-a-tape`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TapeFile {
    /// Its number.
    pub number: u32,
    /// What it is.
    pub kind: TapeFileKind,
}

/// What a file on a tape is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TapeFileKind {
    /// The label.
    Label,
    /// A container.
    Container(ContainerName),
    /// A catalog of a set.
    Catalog(SetPrefix),
}

impl TapeFile {
    /// The label's.
    pub const LABEL: Self = Self {
        number: 0,
        kind: TapeFileKind::Label,
    };
}

impl fmt::Display for TapeFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.number;
        match self.kind {
            TapeFileKind::Label => out.write_str("dtar-tape.tar"),
            TapeFileKind::Container(name) => write!(out, "{number:04}-{name}"),
            TapeFileKind::Catalog(set) => write!(out, "{number:04}-{set}-catalog.tar"),
        }
    }
}

impl FromStr for TapeFile {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text == Self::LABEL.to_string() {
            return Ok(Self::LABEL);
        }
        let (number, rest) = text.split_once('-').ok_or(())?;
        let number = parse_number(number, 4)
            .filter(|number| (1..=MAX_FILES).contains(number))
            .ok_or(())?;
        let kind = match rest.strip_suffix("-catalog.tar") {
            Some(set) => TapeFileKind::Catalog(set.parse()?),
            None => TapeFileKind::Container(rest.parse()?),
        };
        Ok(Self { number, kind })
    }
}

/// Appends a line of `SHA256SUMS`.
pub fn put_sum(out: &mut String, sha256: &[u8; 32], name: impl fmt::Display) {
    for byte in sha256 {
        let _ = write!(out, "{byte:02x}");
    }
    let _ = writeln!(out, "  {name}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label() -> Label {
        Label {
            id: TapeId(*b"tape-id!"),
            name: "ARCHIVE-A".parse().unwrap(),
            owner: Some(Owner {
                set: ContainerSetId([0x5a; 16]),
                store: StoreId([0xa5; 16]),
            }),
            block: DEFAULT_BLOCK,
            time: 1_795_282_800,
        }
    }

    fn text(label: &Label) -> String {
        let mut text = String::new();
        label.encode(&mut text);
        text
    }

    #[test]
    fn labels_go_both_ways() {
        for owner in [None, label().owner] {
            for block in [0, DEFAULT_BLOCK, MAX_BLOCK] {
                let label = Label {
                    owner,
                    block,
                    ..label()
                };
                assert_eq!(Label::parse(text(&label).as_bytes()), Ok(label));
            }
        }
    }

    #[test]
    fn labels_that_end_early_or_are_altered_are_refused_by_field() {
        let whole = text(&label());
        let needed = whole.find("\n\n").unwrap();
        for length in 0..needed {
            assert!(
                Label::parse(&whole.as_bytes()[..length]).is_err(),
                "{length}"
            );
        }
        for (from, to, field) in [
            ("dtar tape 1", "dtar tape 2", "version"),
            ("dtar tape 1", "dtar container 1", "version"),
            ("id 74", "id 7", "id"),
            ("name ARCHIVE-A", "name ARCHIVE A", "name"),
            ("name ", "nom ", "name"),
            ("block 1048576", "block 1048577", "block"),
            ("block 1048576", "block 16777216", "block"),
            ("set 5a5a", "set -5a5a", "set"),
            ("time 1", "time -1", "time"),
        ] {
            let altered = whole.replacen(from, to, 1);
            assert_ne!(altered, whole);
            assert_eq!(Label::parse(altered.as_bytes()).unwrap_err().field, field);
        }
        let newer = whole.replacen("tape 1", "tape 2", 1);
        let error = Label::parse(newer.as_bytes()).unwrap_err();
        assert_eq!(error.fault, Fault::Version { found: 2 });
    }

    #[test]
    fn names_of_tapes_are_those_of_stickers() {
        for name in ["A", "ARCHIVE-A", "a.b_c-9", &"x".repeat(32)] {
            assert_eq!(name.parse::<TapeName>().unwrap().to_string(), name);
        }
        for name in ["", "A B", "ä", "a/b", &"x".repeat(33)] {
            assert!(name.parse::<TapeName>().is_err(), "{name}");
        }
    }

    #[test]
    fn names_of_tape_files_go_both_ways() {
        let set = SetPrefix([0x5f, 0x3e, 0x9a, 0x02]);
        let container = TapeFileKind::Container(ContainerName { set, number: 17 });
        for (number, kind, name) in [
            (0, TapeFileKind::Label, "dtar-tape.tar"),
            (3, container, "0003-5f3e9a02-000017.tar"),
            (12345, container, "12345-5f3e9a02-000017.tar"),
            (4, TapeFileKind::Catalog(set), "0004-5f3e9a02-catalog.tar"),
        ] {
            let file = TapeFile { number, kind };
            assert_eq!(file.to_string(), name);
            assert_eq!(name.parse(), Ok(file));
        }
        for name in [
            "",
            "0000-5f3e9a02-000017.tar",
            "003-5f3e9a02-000017.tar",
            "00003-5f3e9a02-000017.tar",
            "0003-5F3E9A02-000017.tar",
            "0003-5f3e9a02-000000.tar",
            "0003-5f3e9a02-000017.tar.part",
            "0003-5f3e9a-catalog.tar",
        ] {
            assert_eq!(name.parse::<TapeFile>(), Err(()), "{name}");
        }
    }
}
