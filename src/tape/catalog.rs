//! The catalog of a set: which containers there are, on which tapes, and what is in them
//! (`formats/container.md#catalog`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::format::tape::TapeName;
use crate::format::wire::{DecodeError, DecodeResult, Fault};
use crate::id::{ContainerSetId, StoreId, TapeId};

const CATALOG: &str = "catalog";

/// The SHA-256 of something.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Sum(pub [u8; 32]);

impl Sha256Sum {
    /// That of bytes in memory.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Sha256Sum {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256Sum {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Sha256Sum({self})")
    }
}

impl FromStr for Sha256Sum {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        // 64 hex digits, as those of a brick's name.
        let sum: crate::id::BrickName = text.parse().map_err(|_| "expected 64 hex digits")?;
        Ok(Self(sum.0))
    }
}

/// What is known of a whole container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole {
    /// Its length in bytes.
    pub length: u64,
    /// Its SHA-256.
    pub sha256: Sha256Sum,
}

/// Where a copy of a container is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The container.
    pub container: u32,
    /// The tape.
    pub tape: TapeId,
    /// The number of the tape file.
    pub file: u32,
    /// What the tape is called.
    pub name: TapeName,
}

/// A member of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where its body begins in the container, in bytes.
    pub offset: u64,
    /// How long that is, in bytes.
    pub length: u64,
    /// Its name, such as `bricks/3f/3f….brick`.
    pub name: String,
}

/// What is known of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Container {
    /// Length and SHA-256; not known of the one in which the catalog stands.
    pub whole: Option<Whole>,
    /// What is in it, in order; `None` if no catalog has said it.
    pub members: Option<Vec<Member>>,
}

/// The catalog of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    /// The set.
    pub set: ContainerSetId,
    /// The store.
    pub store: StoreId,
    /// The containers, by number.
    pub containers: BTreeMap<u32, Container>,
    /// Where copies of them are.
    pub places: BTreeSet<Place>,
}

impl Catalog {
    /// That of a set without containers.
    #[must_use]
    pub const fn new(set: ContainerSetId, store: StoreId) -> Self {
        Self {
            set,
            store,
            containers: BTreeMap::new(),
            places: BTreeSet::new(),
        }
    }

    /// Appends the text; `end` is where its header stands in the container.
    pub fn encode(&self, end: u64, out: &mut Vec<u8>) {
        let mut text = format!("dtar catalog 1\nset {}\nstore {}\n", self.set, self.store);
        // Writing to a string does not fail.
        for (number, container) in &self.containers {
            let _ = match container.whole {
                Some(Whole { length, sha256 }) => {
                    writeln!(text, "container {number} {length} {sha256}")
                }
                None => writeln!(text, "container {number} - -"),
            };
        }
        for place in &self.places {
            let Place {
                container,
                tape,
                file,
                name,
            } = place;
            let _ = writeln!(text, "tape {tape} {file} {container} {name}");
        }
        for (number, container) in &self.containers {
            let Some(members) = &container.members else {
                continue;
            };
            let _ = writeln!(text, "in {number}");
            for member in members {
                let _ = writeln!(text, "{} {} {}", member.offset, member.length, member.name);
            }
        }
        let sum = Sha256Sum::of(text.as_bytes());
        let _ = writeln!(text, "end {end} {sum}");
        out.extend_from_slice(text.as_bytes());
    }

    /// Reads a catalog; returns where it says that its header stands.
    ///
    /// # Errors
    /// If it is none, is damaged, or was written by a newer dtar.
    pub fn parse(text: &[u8]) -> DecodeResult<(Self, u64)> {
        let (body, end) = check_end(text)?;
        let mut parser = Parser {
            offset: 0,
            lines: body,
            members_of: None,
        };
        parser.version()?;
        let mut catalog = Self::new(parser.named("set")?, parser.named("store")?);
        while !parser.lines.is_empty() {
            parser.line(&mut catalog)?;
        }
        Ok((catalog, end))
    }

    /// Takes in what another catalog of the same set knows besides. What this one knows
    /// stays.
    pub fn absorb(&mut self, other: &Self) {
        for (number, container) in &other.containers {
            let own = self.containers.entry(*number).or_default();
            own.whole = own.whole.or(container.whole);
            if own.members.is_none() {
                own.members.clone_from(&container.members);
            }
        }
        self.places.extend(other.places.iter().cloned());
    }

    /// The copies of a container.
    pub fn places_of(&self, container: u32) -> impl Iterator<Item = &Place> {
        self.places
            .iter()
            .filter(move |place| place.container == container)
    }

    /// How many containers there are whose length and SHA-256 are known.
    #[must_use]
    pub fn known(&self) -> usize {
        let containers = self.containers.values();
        containers
            .filter(|container| container.whole.is_some())
            .count()
    }
}

/// The lines before the `end` line, and what that one says.
fn check_end(text: &[u8]) -> DecodeResult<(&str, u64)> {
    let error = |offset: usize, fault| DecodeError {
        structure: CATALOG,
        field: "end",
        offset: offset as u64,
        fault,
    };
    let needed = || Fault::Truncated {
        needed: text.len() as u64 + 1,
        found: text.len() as u64,
    };
    let lines = text
        .strip_suffix(b"\n")
        .ok_or_else(|| error(text.len(), needed()))?;
    let start = memchr::memrchr(b'\n', lines).map_or(0, |at| at + 1);
    let (before, last) = lines.split_at(start);
    let fields = std::str::from_utf8(last).ok().and_then(|line| {
        let (offset, sum) = line.strip_prefix("end ")?.split_once(' ')?;
        Some((number(offset)?, sum.parse::<Sha256Sum>().ok()?))
    });
    let Some((offset, sum)) = fields else {
        let (expected, found) = ("end OFFSET SHA-256".into(), last.escape_ascii().to_string());
        let found = found.chars().take(80).collect();
        return Err(error(start, Fault::Value { expected, found }));
    };
    if Sha256Sum::of(before) != sum {
        return Err(error(start, Fault::Check));
    }
    let before = std::str::from_utf8(before).map_err(|_| error(0, Fault::Check))?;
    Ok((before, offset))
}

/// A number in its shortest form.
fn number<T: FromStr>(text: &str) -> Option<T> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let shortest = text.len() == 1 || !text.starts_with('0');
    if digits && shortest {
        text.parse().ok()
    } else {
        None
    }
}

/// Whether a catalog may name such a member.
fn is_member(name: &str) -> bool {
    let folders = [
        "bricks/",
        "meta/",
        "tocs/",
        "parity/",
        "snapshots/",
        "roots/",
    ];
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/.-".contains(&byte);
    name.len() <= 100
        && folders.iter().any(|folder| name.starts_with(folder))
        && name.bytes().all(plain)
        && name
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.'))
}

struct Parser<'a> {
    offset: usize,
    lines: &'a str,
    members_of: Option<u32>,
}

impl<'a> Parser<'a> {
    fn take(&mut self) -> &'a str {
        let (line, rest) = self.lines.split_once('\n').unwrap_or((self.lines, ""));
        self.offset += line.len() + 1;
        self.lines = rest;
        line
    }

    fn error(&self, field: &'static str, line: &str, expected: &str) -> DecodeError {
        let offset = (self.offset - line.len() - 1) as u64;
        let found: String = line.chars().take(120).collect();
        DecodeError::value(CATALOG, field, offset, expected, found)
    }

    fn version(&mut self) -> DecodeResult<()> {
        let line = self.take();
        let fault = match line.strip_prefix("dtar catalog ") {
            Some("1") => return Ok(()),
            Some(version) => Fault::Version {
                found: version.parse().unwrap_or(u16::MAX),
            },
            None => Fault::Magic {
                found: line.bytes().take(40).collect(),
            },
        };
        Err(DecodeError {
            structure: CATALOG,
            field: "version",
            offset: 0,
            fault,
        })
    }

    fn named<T: FromStr>(&mut self, field: &'static str) -> DecodeResult<T> {
        let line = self.take();
        line.strip_prefix(field)
            .and_then(|rest| rest.strip_prefix(' '))
            .and_then(|value| value.parse().ok())
            .ok_or_else(|| self.error(field, line, "an id in hex digits"))
    }

    fn line(&mut self, catalog: &mut Catalog) -> DecodeResult<()> {
        let line = self.take();
        let fields: Vec<_> = line.splitn(5, ' ').collect();
        match fields.as_slice() {
            ["container", rest @ ..] => self.container(catalog, line, rest),
            ["tape", rest @ ..] => self.tape(catalog, line, rest),
            ["in", rest @ ..] => self.members_of(catalog, line, rest),
            [first, rest @ ..] if first.starts_with(|byte: char| byte.is_ascii_digit()) => {
                self.member(catalog, line, first, rest)
            }
            // A line of a later version.
            _ => Ok(()),
        }
    }

    fn container(&self, catalog: &mut Catalog, line: &str, rest: &[&str]) -> DecodeResult<()> {
        let parsed = match rest {
            [number_, "-", "-"] => number(number_).map(|number| (number, None)),
            [number_, length, sha256] => (|| {
                let sha256 = sha256.parse().ok()?;
                let length = number(length)?;
                Some((number(number_)?, Some(Whole { length, sha256 })))
            })(),
            _ => None,
        };
        let last = catalog
            .containers
            .last_key_value()
            .map_or(0, |(last, _)| *last);
        match parsed {
            Some((number, whole)) if number > last => {
                let members = None;
                catalog
                    .containers
                    .insert(number, Container { whole, members });
                Ok(())
            }
            _ => Err(self.error("container", line, "number, length and SHA-256, in order")),
        }
    }

    fn tape(&self, catalog: &mut Catalog, line: &str, rest: &[&str]) -> DecodeResult<()> {
        let place = (|| {
            let [tape, file, container, name] = rest else {
                return None;
            };
            Some(Place {
                tape: tape.parse().ok()?,
                file: number(file)?,
                container: number(container)?,
                name: name.parse().ok()?,
            })
        })();
        match place {
            Some(place) if catalog.containers.contains_key(&place.container) => {
                catalog.places.insert(place);
                Ok(())
            }
            _ => Err(self.error("tape", line, "id, tape file, a container of the set, name")),
        }
    }

    fn members_of(&mut self, catalog: &mut Catalog, line: &str, rest: &[&str]) -> DecodeResult<()> {
        let container = match rest {
            [text] => number(text),
            _ => None,
        };
        let after = self.members_of.unwrap_or(0);
        let found = container
            .filter(|number| *number > after)
            .and_then(|number| {
                catalog
                    .containers
                    .get_mut(&number)
                    .map(|found| (number, found))
            });
        let Some((number, container)) = found else {
            return Err(self.error("in", line, "a container of the set, in order"));
        };
        container.members = Some(Vec::new());
        self.members_of = Some(number);
        Ok(())
    }

    fn member(
        &self,
        catalog: &mut Catalog,
        line: &str,
        offset: &str,
        rest: &[&str],
    ) -> DecodeResult<()> {
        let member = (|| {
            let [length, name] = rest else {
                return None;
            };
            Some(Member {
                offset: number(offset)?,
                length: number(length)?,
                name: Some(*name).filter(|name| is_member(name))?.to_owned(),
            })
        })();
        let container = self
            .members_of
            .and_then(|number| catalog.containers.get_mut(&number));
        let fits = |member: &Member, container: &Container| {
            let end = member.offset.checked_add(member.length)?;
            let whole = container.whole.map_or(u64::MAX, |whole| whole.length);
            let after = container.members.as_ref()?.last();
            let after = after.map_or(0, |last| last.offset + last.length);
            (member.offset >= after && end <= whole).then_some(())
        };
        match (member, container) {
            (Some(member), Some(container)) if fits(&member, container).is_some() => {
                container.members.get_or_insert_default().push(member);
                Ok(())
            }
            _ => Err(self.error(
                "member",
                line,
                "offset, length, name, in order, in the container",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        let mut catalog = Catalog::new(ContainerSetId([1; 16]), StoreId([2; 16]));
        let member = |offset, name: &str| Member {
            offset,
            length: 700,
            name: name.into(),
        };
        let first = Container {
            whole: Some(Whole {
                length: 20_480,
                sha256: Sha256Sum([3; 32]),
            }),
            members: Some(vec![
                member(1536, "bricks/3f/3f00.brick"),
                member(4096, "roots/1-a.root"),
            ]),
        };
        let last = Container {
            whole: None,
            members: Some(vec![member(1536, "tocs/3f/3f00.toc")]),
        };
        catalog.containers.extend([(1, first), (2, last)]);
        catalog.places.insert(Place {
            container: 1,
            tape: TapeId([4; 8]),
            file: 1,
            name: "ARCHIVE-A".parse().unwrap(),
        });
        catalog
    }

    fn text(catalog: &Catalog) -> String {
        let mut text = Vec::new();
        catalog.encode(77, &mut text);
        String::from_utf8(text).unwrap()
    }

    /// The text with other lines, and the right end.
    fn altered(from: &str, to: &str) -> Vec<u8> {
        let whole = text(&catalog());
        let body = &whole[..whole.rfind("end ").unwrap()];
        assert!(body.contains(from), "{from}");
        let body = body.replacen(from, to, 1);
        let sum = Sha256Sum::of(body.as_bytes());
        format!("{body}end 77 {sum}\n").into_bytes()
    }

    #[test]
    fn catalogs_go_both_ways() {
        let text = text(&catalog());
        assert_eq!(Catalog::parse(text.as_bytes()), Ok((catalog(), 77)));
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let whole = text(&catalog()).into_bytes();
        let end = whole.len() - "77 ".len() - 65;
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            // The place of the header is not under the checksum.
            let is_place = (end..end + 2).contains(&at);
            assert!(Catalog::parse(&flipped).is_err() || is_place, "{at}");
        }
        for length in 0..whole.len() {
            assert!(Catalog::parse(&whole[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_field() {
        for (from, to, field) in [
            ("dtar catalog 1", "dtar catalog 2", "version"),
            ("container 2", "container 1", "container"),
            ("container 1 20480", "container 1 020480", "container"),
            (
                "tape 0404040404040404 1 1",
                "tape 0404040404040404 1 9",
                "tape",
            ),
            ("in 2", "in 3", "in"),
            ("in 2", "in 1", "in"),
            ("4096 700", "2000 700", "member"),
            ("4096 700", "4096 70000", "member"),
            ("4096 700", "18446744073709551615 700", "member"),
            ("roots/1-a.root", "roots/../1-a.root", "member"),
            ("roots/1-a.root", "/roots/1-a.root", "member"),
            ("roots/1-a.root", "store.toml", "member"),
        ] {
            let error = Catalog::parse(&altered(from, to)).unwrap_err();
            assert_eq!(error.field, field, "{from} -> {to}: {error}");
        }
        let more = altered("in 1", "later what no one knows\nin 1");
        assert_eq!(Catalog::parse(&more).unwrap().0, catalog());
    }
}
