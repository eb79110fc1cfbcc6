//! The texts in containers: label and catalog (`formats/container.md`).

use std::fmt::{self, Write};
use std::str::FromStr;

use super::wire::{DecodeError, DecodeResult, Fault};
use crate::id::{BrickName, Class, ContainerSetId, ParityName, StoreId, TapeId};
use crate::store::layout::RunName;

/// Name of the label's member.
pub const LABEL: &str = "dtar-container.txt";
/// Name of the catalog's member.
pub const CATALOG: &str = "dtar-catalog.txt";
/// The longest label in bytes.
pub const MAX_LABEL_LENGTH: usize = 64 << 10;
/// The longest line of a catalog in bytes, with its line feed.
pub const MAX_LINE_LENGTH: usize = 256;
/// The greatest number of containers of a set.
pub const MAX_CONTAINERS: u32 = 1 << 20;
/// The longest name of a tape.
pub const MAX_TAPE_NAME: usize = 32;

const LABEL_STRUCTURE: &str = "container label";
const CATALOG_STRUCTURE: &str = "container catalog";
const VERSION: &str = "1";

/// The first lines of a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The set.
    pub set: ContainerSetId,
    /// Of the container in the set, from 1.
    pub number: u32,
    /// The store.
    pub store: StoreId,
    /// The longest that a container may be, in bytes.
    pub bound: u64,
    /// When it was begun: seconds since 1970.
    pub time: u64,
}

impl fmt::Display for Label {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            set,
            number,
            store,
            bound,
            time,
        } = self;
        writeln!(out, "dtar container {VERSION}")?;
        writeln!(out, "set {set}\nnumber {number}\nstore {store}")?;
        writeln!(out, "bound {bound}\ntime {time}")
    }
}

impl Label {
    /// Reads the first lines of a label.
    ///
    /// # Errors
    /// What is no label, of a newer format, or has another form.
    pub fn decode(bytes: &[u8]) -> DecodeResult<Self> {
        let mut lines = Lines::new(LABEL_STRUCTURE, bytes);
        lines.version("dtar container")?;
        Ok(Self {
            set: lines.field("set", "32 hex digits")?,
            number: lines
                .field::<Number>("number", "a number from 1 to 1048576")?
                .0,
            store: lines.field("store", "32 hex digits")?,
            bound: lines.field("bound", "a number")?,
            time: lines.field("time", "a number")?,
        })
    }
}

/// That of a container in its set: from 1 to [`MAX_CONTAINERS`].
struct Number(u32);

impl FromStr for Number {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let number = text.parse().map_err(|_| ())?;
        let is_one = (1..=MAX_CONTAINERS).contains(&number);
        is_one.then_some(Self(number)).ok_or(())
    }
}

/// The lines of a short text of the form `word value`.
#[derive(Debug, Clone)]
pub struct Lines<'a> {
    structure: &'static str,
    rest: &'a [u8],
    position: usize,
}

impl<'a> Lines<'a> {
    /// The lines of `bytes`; `structure` is what errors call it.
    #[must_use]
    pub const fn new(structure: &'static str, bytes: &'a [u8]) -> Self {
        Self {
            structure,
            rest: bytes,
            position: 0,
        }
    }

    /// The first line: the kind of text, and its version, which must be 1.
    ///
    /// # Errors
    /// Another kind of text, or one of a newer format.
    pub fn version(&mut self, kind: &str) -> DecodeResult<()> {
        let line = self.line();
        let version = line
            .strip_prefix(kind)
            .and_then(|end| end.strip_prefix(' '));
        let error = |fault| DecodeError {
            structure: self.structure,
            field: "version",
            offset: 0,
            fault,
        };
        match version {
            Some(VERSION) => Ok(()),
            Some(other) if other.parse::<u16>().is_ok() => Err(error(Fault::Version {
                found: other.parse().unwrap_or_default(),
            })),
            _ => Err(error(Fault::Magic {
                found: line.bytes().take(40).collect(),
            })),
        }
    }

    /// The value of the next line, which must begin with `word`.
    ///
    /// # Errors
    /// Another word, or a value of another form.
    pub fn field<T: FromStr>(&mut self, word: &'static str, form: &str) -> DecodeResult<T> {
        let position = self.position;
        let line = self.line();
        let value = line
            .strip_prefix(word)
            .and_then(|end| end.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).ok_or_else(|| {
            let (expected, found) = (format!("`{word}` and {form}"), shown(line));
            DecodeError::value(self.structure, word, position as u64, expected, found)
        })
    }

    /// The next line without its end; empty for what is no text.
    fn line(&mut self) -> &'a str {
        let end = memchr::memchr(b'\n', self.rest);
        let (line, rest) = match end {
            Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
            None => (self.rest, &[][..]),
        };
        self.position += self.rest.len() - rest.len();
        self.rest = rest;
        std::str::from_utf8(line).unwrap_or_default()
    }
}

/// A line for an error: its first characters.
fn shown(line: &str) -> String {
    format!("{:?}", line.chars().take(80).collect::<String>())
}

/// What a member of a container is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberName {
    /// A brick of class data.
    Brick(BrickName),
    /// A brick of class metadata.
    Meta(BrickName),
    /// A sidecar.
    Sidecar(BrickName),
    /// A parity file.
    Parity(ParityName),
    /// A snapshot.
    Snapshot(RunName),
    /// A root.
    Root(RunName),
}

impl MemberName {
    /// That of a brick.
    #[must_use]
    pub const fn brick(class: Class, name: BrickName) -> Self {
        match class {
            Class::Data => Self::Brick(name),
            Class::Metadata => Self::Meta(name),
        }
    }

    /// BLAKE3-256 of the member's bytes, if it is named after that.
    #[must_use]
    pub const fn promised_hash(&self) -> Option<[u8; 32]> {
        match self {
            Self::Brick(name) | Self::Meta(name) => Some(name.0),
            Self::Parity(name) => Some(name.0),
            Self::Sidecar(_) | Self::Snapshot(_) | Self::Root(_) => None,
        }
    }

    /// The brick that it is, if it is one.
    #[must_use]
    pub const fn as_brick(&self) -> Option<&BrickName> {
        match self {
            Self::Brick(name) | Self::Meta(name) => Some(name),
            _ => None,
        }
    }
}

impl fmt::Display for MemberName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Brick(name) => write!(out, "bricks/{:02x}/{name}.brick", name.as_bytes()[0]),
            Self::Meta(name) => write!(out, "meta/{:02x}/{name}.brick", name.as_bytes()[0]),
            Self::Sidecar(name) => write!(out, "tocs/{:02x}/{name}.toc", name.as_bytes()[0]),
            Self::Parity(name) => write!(out, "parity/{:02x}/{name}.parity", name.as_bytes()[0]),
            Self::Snapshot(run) => write!(out, "snapshots/{run}.snap"),
            Self::Root(run) => write!(out, "roots/{run}.root"),
        }
    }
}

/// A text is not the name of such a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a part of a store")]
pub struct ParseMemberNameError;

impl FromStr for MemberName {
    type Err = ParseMemberNameError;

    fn from_str(text: &str) -> Result<Self, ParseMemberNameError> {
        let (folder, rest) = text.split_once('/').ok_or(ParseMemberNameError)?;
        let name = rest.rsplit_once('/').map_or(rest, |(_, name)| name);
        let (stem, _) = name.rsplit_once('.').ok_or(ParseMemberNameError)?;
        let parsed = match folder {
            "bricks" => stem.parse().ok().map(Self::Brick),
            "meta" => stem.parse().ok().map(Self::Meta),
            "tocs" => stem.parse().ok().map(Self::Sidecar),
            "parity" => stem.parse().ok().map(Self::Parity),
            "snapshots" => stem.parse().ok().map(Self::Snapshot),
            "roots" => stem.parse().ok().map(Self::Root),
            _ => None,
        };
        // One name has one spelling: folder, shard and ending are those that it gives.
        parsed
            .filter(|name| name.to_string() == text)
            .ok_or(ParseMemberNameError)
    }
}

/// Length and SHA-256 of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sum {
    /// In bytes.
    pub length: u64,
    /// Of all its bytes.
    pub sha256: [u8; 32],
}

/// A container on a tape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnTape {
    /// The tape.
    pub tape: TapeId,
    /// Number of the tape file.
    pub file: u32,
    /// Number of the container.
    pub container: u32,
    /// The tape's name: `A-Z a-z 0-9 . _ -`, at most 32.
    pub name: String,
}

/// Whether a tape may have this name.
#[must_use]
pub fn is_tape_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_TAPE_NAME).contains(&name.len()) && name.bytes().all(is_plain)
}

/// A line of a catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// The version, and that it is a catalog.
    Catalog,
    /// The set.
    Set(ContainerSetId),
    /// The store.
    Store(StoreId),
    /// A container, and its sum if it is known.
    Container(u32, Option<Sum>),
    /// Where a copy of a container is.
    Tape(OnTape),
    /// The members that follow are in this container.
    In(u32),
    /// A member: where its body begins, in bytes, and its length.
    Member(u64, u64, MemberName),
    /// The end: where the catalog's header stands, and SHA-256 of all lines before.
    End(u64, [u8; 32]),
    /// A line of a later version.
    Other,
}

impl Line {
    /// The line that `text`, without its line feed, is; `offset` is where it stands in the
    /// catalog, for errors.
    ///
    /// # Errors
    /// A known word and another form behind it.
    pub fn decode(text: &[u8], offset: u64) -> DecodeResult<Self> {
        let error = |expected: &str| {
            let found = shown(&String::from_utf8_lossy(text));
            DecodeError::value(CATALOG_STRUCTURE, "line", offset, expected, found)
        };
        let line = std::str::from_utf8(text).map_err(|_| error("text in UTF-8"))?;
        let mut words = line.split(' ');
        let first = words.next().unwrap_or_default();
        if first == "dtar" {
            let mut lines = Lines::new(CATALOG_STRUCTURE, text);
            return lines.version("dtar catalog").map(|()| Self::Catalog);
        }
        let form = match first {
            "set" | "store" => "32 hex digits",
            "container" => "number, length, SHA-256",
            "tape" => "id, number of the tape file, number of the container, name",
            "in" => "number of a container",
            "end" => "offset, SHA-256",
            _ if first.starts_with(|digit: char| digit.is_ascii_digit()) => "offset, length, name",
            _ => return Ok(Self::Other),
        };
        let mut rest = words.clone().map(Some).chain([None, None, None, None]);
        let words: [Option<&str>; 4] = std::array::from_fn(|_| rest.next().flatten());
        let too_many = line.split(' ').count() > 5;
        let parsed = match first {
            "set" => word(words[0]).map(Self::Set),
            "store" => word(words[0]).map(Self::Store),
            "container" => container(words),
            "tape" => tape(words),
            "in" => word(words[0]).map(Self::In),
            "end" => word(words[0])
                .zip(words[1].and_then(sha256))
                .map(|(offset, sum)| Self::End(offset, sum)),
            _ => member(first, words),
        };
        // One line has one spelling.
        parsed
            .filter(|parsed| !too_many && parsed.to_string() == line)
            .ok_or_else(|| error(form))
    }
}

fn word<T: FromStr>(text: Option<&str>) -> Option<T> {
    text?.parse().ok()
}

fn container([number, length, sum, _]: [Option<&str>; 4]) -> Option<Line> {
    let number = word(number)?;
    let sum = match (length?, sum?) {
        ("-", "-") => None,
        (length, sum) => Some(Sum {
            length: length.parse().ok()?,
            sha256: sha256(sum)?,
        }),
    };
    (1..=MAX_CONTAINERS)
        .contains(&number)
        .then_some(Line::Container(number, sum))
}

fn tape([tape, file, container, name]: [Option<&str>; 4]) -> Option<Line> {
    let on = OnTape {
        tape: word(tape)?,
        file: word(file)?,
        container: word(container)?,
        name: name?.to_owned(),
    };
    is_tape_name(&on.name).then_some(Line::Tape(on))
}

fn member(offset: &str, [length, name, ..]: [Option<&str>; 4]) -> Option<Line> {
    let (offset, length): (u64, u64) = (offset.parse().ok()?, word(length)?);
    offset.checked_add(length)?;
    Some(Line::Member(offset, length, word(name)?))
}

fn sha256(text: &str) -> Option<[u8; 32]> {
    // Of the same form, and nothing else.
    text.parse::<BrickName>().ok().map(|hash| hash.0)
}

impl fmt::Display for Line {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Catalog => write!(out, "dtar catalog {VERSION}"),
            Self::Set(set) => write!(out, "set {set}"),
            Self::Store(store) => write!(out, "store {store}"),
            Self::Container(number, None) => write!(out, "container {number} - -"),
            Self::Container(number, Some(Sum { length, sha256 })) => {
                write!(out, "container {number} {length} {}", BrickName(*sha256))
            }
            Self::Tape(OnTape {
                tape,
                file,
                container,
                name,
            }) => write!(out, "tape {tape} {file} {container} {name}"),
            Self::In(number) => write!(out, "in {number}"),
            Self::Member(offset, length, name) => write!(out, "{offset} {length} {name}"),
            Self::End(offset, sum) => write!(out, "end {offset} {}", BrickName(*sum)),
            Self::Other => Ok(()),
        }
    }
}

/// Appends a line with its line feed.
pub fn put_line(out: &mut String, line: &Line) {
    // Writing into memory does not fail.
    let _ = writeln!(out, "{line}");
}

/// The file of a container: `SSSSSSSS-NNNNNN.tar`.
#[must_use]
pub fn file_name(set: &ContainerSetId, number: u32) -> String {
    let [a, b, c, d, ..] = set.as_bytes();
    format!("{a:02x}{b:02x}{c:02x}{d:02x}-{number:06}.tar")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn label() -> Label {
        Label {
            set: ContainerSetId([0xab; 16]),
            number: 7,
            store: StoreId([1; 16]),
            bound: 1 << 40,
            time: 1_795_282_800,
        }
    }

    #[test]
    fn a_label_goes_both_ways_and_text_may_follow() {
        let text = format!("{}\nThis is a tar.\n", label());
        assert_eq!(Label::decode(text.as_bytes()), Ok(label()));
    }

    #[test]
    fn what_is_no_label_is_told_from_a_newer_one() {
        let newer = label().to_string().replace("container 1", "container 2");
        let error = Label::decode(newer.as_bytes()).unwrap_err();
        assert_eq!(error.fault, Fault::Version { found: 2 });
        for other in ["", "dtar", "dtar container", "dtar containers 1\n", "\u{0}"] {
            let error = Label::decode(other.as_bytes()).unwrap_err();
            assert!(matches!(error.fault, Fault::Magic { .. }), "{other}");
        }
        for (word, other) in [
            ("number 7", "number x"),
            ("bound", "bond"),
            ("set ab", "set "),
        ] {
            let text = label().to_string().replacen(word, other, 1);
            let error = Label::decode(text.as_bytes()).unwrap_err();
            assert!(matches!(error.fault, Fault::Value { .. }), "{other}");
        }
        assert!(Label::decode(b"dtar container 1\nset \xff\n").is_err());
    }

    fn lines() -> Vec<Line> {
        let run: RunName = "00000000000000000012-0123456789abcdef".parse().unwrap();
        vec![
            Line::Catalog,
            Line::Set(ContainerSetId([2; 16])),
            Line::Store(StoreId([3; 16])),
            Line::Container(
                1,
                Some(Sum {
                    length: 10_240,
                    sha256: [4; 32],
                }),
            ),
            Line::Container(2, None),
            Line::Tape(OnTape {
                tape: TapeId([5; 8]),
                file: 3,
                container: 1,
                name: "ARCHIVE-A_1.x".into(),
            }),
            Line::In(1),
            Line::Member(512, 0, MemberName::Brick(BrickName([6; 32]))),
            Line::Member(0, 9, MemberName::Meta(BrickName([7; 32]))),
            Line::Member(1, u64::MAX - 1, MemberName::Sidecar(BrickName([8; 32]))),
            Line::Member(1, 2, MemberName::Parity(ParityName([9; 32]))),
            Line::Member(1, 2, MemberName::Snapshot(run.clone())),
            Line::Member(1, 2, MemberName::Root(run)),
            Line::End(1024, [10; 32]),
        ]
    }

    #[test]
    fn lines_go_both_ways_and_are_short() {
        for line in lines() {
            let text = line.to_string();
            assert!(text.len() < MAX_LINE_LENGTH);
            assert_eq!(Line::decode(text.as_bytes(), 0), Ok(line));
        }
        assert_eq!(Line::decode(b"later 1 2 3 4 5 6", 0), Ok(Line::Other));
        assert_eq!(Line::decode(b"", 0), Ok(Line::Other));
    }

    #[test]
    fn lines_of_another_form_are_refused() {
        let hex = "06".repeat(32);
        for text in [
            "set",
            "set 02",
            "container 0 - -",
            "container 1 5 -",
            "container 01 - -",
            "container 1 - - -",
            "tape 0505050505050505 3 1 a/b",
            "tape 0505050505050505 3 1",
            "tape 0505050505050505 3 1 a b",
            "in x",
            "in 1 2",
            "end 5",
            "5 5",
            "+5 5 x",
            "5 5 x y z w",
            &format!("5 5 bricks/07/{hex}.brick"),
            &format!("5 5 bricks/06/{hex}.toc"),
            &format!("5 5 ../bricks/06/{hex}.brick"),
            &format!("5  5 bricks/06/{hex}.brick"),
            &format!("18446744073709551615 1 bricks/06/{hex}.brick"),
        ] {
            if text.starts_with('+') {
                assert_eq!(Line::decode(text.as_bytes(), 0), Ok(Line::Other));
                continue;
            }
            assert!(Line::decode(text.as_bytes(), 0).is_err(), "{text}");
        }
        assert!(Line::decode(b"in \xff", 0).is_err());
        let newer = Line::decode(b"dtar catalog 2", 0).unwrap_err();
        assert_eq!(newer.fault, Fault::Version { found: 2 });
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            bytes: Vec<u8>, line in 0..14_usize, position: prop::sample::Index, value: u8,
        ) {
            let _ = Line::decode(&bytes, 0);
            let _ = Label::decode(&bytes);
            let mut text = lines()[line].to_string().into_bytes();
            let position = position.index(text.len());
            text[position] = value;
            // What is read has one spelling.
            if let Ok(read) = Line::decode(&text, 0) && read != Line::Other {
                prop_assert_eq!(read.to_string().into_bytes(), text);
            }
        }
    }
}
