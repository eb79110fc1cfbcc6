//! Catalogs as files, or as parts of files: any length, read and written as a stream
//! (`formats/container.md#catalog`).

use std::io::{self, BufRead, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::format::container::{
    Line, MAX_CONTAINERS, MAX_LINE_LENGTH, MemberName, OnTape, Sum, put_line,
};
use crate::format::wire::DecodeError;
use crate::id::{ContainerSetId, StoreId};

const STRUCTURE: &str = "container catalog";

/// What a catalog says before its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The set.
    pub set: ContainerSetId,
    /// The store.
    pub store: StoreId,
    /// The containers from number 1 on, and their sums as far as they are known.
    pub containers: Vec<Option<Sum>>,
    /// The containers that are on tapes.
    pub tapes: Vec<OnTape>,
}

/// A catalog that was read through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanned {
    /// What it says before its members.
    pub head: Head,
    /// Where the lines of members begin, in bytes.
    pub body: u64,
    /// Where its last line begins, in bytes.
    pub end: u64,
    /// Where the header of its member stands in the container.
    pub header: u64,
}

impl Head {
    /// That of a new set.
    #[must_use]
    pub const fn new(set: ContainerSetId, store: StoreId) -> Self {
        Self {
            set,
            store,
            containers: Vec::new(),
            tapes: Vec::new(),
        }
    }

    /// The number of the last container.
    #[must_use]
    pub fn last(&self) -> u32 {
        u32::try_from(self.containers.len()).unwrap_or(u32::MAX)
    }

    /// Its lines.
    #[must_use]
    pub fn lines(&self) -> String {
        let mut text = String::new();
        for line in [Line::Catalog, Line::Set(self.set), Line::Store(self.store)] {
            put_line(&mut text, &line);
        }
        for (number, sum) in (1..).zip(&self.containers) {
            put_line(&mut text, &Line::Container(number, *sum));
        }
        let mut tapes: Vec<_> = self.tapes.iter().collect();
        tapes.sort_by_key(|on| on.container);
        for on in tapes {
            put_line(&mut text, &Line::Tape(on.clone()));
        }
        text
    }

    fn add(&mut self, line: Line) -> Result<(), &'static str> {
        match line {
            Line::Container(number, _) if number != self.last() + 1 => {
                return Err("the containers in a row from 1 on");
            }
            Line::Container(number, _) if number > MAX_CONTAINERS => {
                return Err("fewer containers");
            }
            Line::Container(_, sum) => self.containers.push(sum),
            Line::Tape(on) if on.container > self.last() => return Err("a container of the set"),
            Line::Tape(on) => self.tapes.push(on),
            _ => {}
        }
        Ok(())
    }
}

/// Reads a catalog through, and calls `each` with container, offset, length and name of
/// each member. What it was told counts only if this succeeds.
///
/// # Errors
/// [`Error::Decode`] with offsets from `base` on; those of reading and of `each`.
pub(crate) fn scan(
    input: &mut dyn BufRead,
    path: &Path,
    base: u64,
    each: &mut dyn FnMut(u32, u64, u64, MemberName) -> Result<()>,
) -> Result<Scanned> {
    Scan {
        path,
        base,
        hasher: Sha256::new(),
        position: 0,
        head: None,
        body: None,
        container: 0,
    }
    .run(input, each)
}

struct Scan<'a> {
    path: &'a Path,
    base: u64,
    hasher: Sha256,
    position: u64,
    head: Option<Head>,
    /// Where the lines of members begin.
    body: Option<u64>,
    container: u32,
}

impl Scan<'_> {
    fn run(
        mut self,
        input: &mut dyn BufRead,
        each: &mut dyn FnMut(u32, u64, u64, MemberName) -> Result<()>,
    ) -> Result<Scanned> {
        let mut set = None;
        let mut bytes = Vec::with_capacity(MAX_LINE_LENGTH);
        let mut number = 0_u64;
        loop {
            let here = self.position;
            self.read_line(input, &mut bytes)?;
            let text = bytes.strip_suffix(b"\n").unwrap_or_default();
            let line = Line::decode(text, here).map_err(Error::decode(self.path, self.base))?;
            match (number, &line) {
                (0, Line::Catalog) => {}
                (1, Line::Set(found)) => set = Some(*found),
                (2, Line::Store(store)) => self.head = set.map(|set| Head::new(set, *store)),
                (0..=2, _) => return Err(self.wrong(here, "version, set and store", text)),
                (_, Line::Catalog | Line::Set(_) | Line::Store(_)) => {
                    return Err(self.wrong(here, "this once, in the first lines", text));
                }
                _ => {}
            }
            number += 1;
            match line {
                Line::End(header, sum) => return self.end(here, header, sum),
                Line::In(container) => self.begin(here, container, text)?,
                Line::Member(offset, length, name) => {
                    if self.body.is_none() {
                        return Err(self.wrong(here, "`in` before the first member", text));
                    }
                    each(self.container, offset, length, name)?;
                }
                Line::Container(..) | Line::Tape(_) if self.body.is_some() => {
                    return Err(self.wrong(here, "this before the members", text));
                }
                line => {
                    let added = self.head.as_mut().map_or(Ok(()), |head| head.add(line));
                    added.map_err(|expected| self.wrong(here, expected, text))?;
                }
            }
            self.hasher.update(&bytes);
        }
    }

    /// Fills `bytes` with the next line, line feed included.
    fn read_line(&mut self, input: &mut dyn BufRead, bytes: &mut Vec<u8>) -> Result<()> {
        bytes.clear();
        let mut limited = io::Read::take(input, MAX_LINE_LENGTH as u64);
        limited
            .read_until(b'\n', bytes)
            .map_err(Error::io("read", self.path))?;
        if bytes.last() != Some(&b'\n') {
            return Err(self.wrong(self.position, "a line with its end", bytes));
        }
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn begin(&mut self, here: u64, container: u32, text: &[u8]) -> Result<()> {
        let last = self.head.as_ref().map_or(0, Head::last);
        if container <= self.container || container > last {
            return Err(self.wrong(here, "a container of the set, in ascending order", text));
        }
        self.body.get_or_insert(here);
        self.container = container;
        Ok(())
    }

    fn end(self, here: u64, header: u64, sum: [u8; 32]) -> Result<Scanned> {
        if <[u8; 32]>::from(self.hasher.clone().finalize()) != sum {
            return Err(self.wrong(here, "the SHA-256 of the lines before", b"another"));
        }
        let head = self
            .head
            .ok_or_else(|| Error::Internal("a catalog whose first lines were not read".into()))?;
        Ok(Scanned {
            head,
            body: self.body.unwrap_or(here),
            end: here,
            header,
        })
    }

    fn wrong(&self, here: u64, expected: &str, found: &[u8]) -> Error {
        let found: String = String::from_utf8_lossy(found).chars().take(80).collect();
        let error = DecodeError::value(STRUCTURE, "line", here, expected, format!("{found:?}"));
        Error::decode(self.path, self.base)(error)
    }
}

/// Writes a catalog: the head, the lines of members of an older one, new ones, the end.
pub(crate) struct Writing<'a> {
    pub(crate) head: &'a Head,
    /// Lines of members of the catalog before, and their length.
    pub(crate) before: (&'a mut dyn BufRead, u64),
    /// Lines of members that come in addition.
    pub(crate) new: &'a str,
    /// Where the header of the catalog's member stands.
    pub(crate) header: u64,
}

impl Writing<'_> {
    /// How long it will be, in bytes.
    pub(crate) fn length(&self) -> u64 {
        let head = self.head.lines().len() as u64;
        head + self.before.1 + self.new.len() as u64 + end_line(self.header, [0; 32]).len() as u64
    }

    /// Writes it to `out`. An error to read what was before is told with `path`.
    pub(crate) fn write(self, out: &mut dyn Write, path: &Path) -> io::Result<Result<()>> {
        let mut hasher = Sha256::new();
        let head = self.head.lines();
        hasher.update(&head);
        out.write_all(head.as_bytes())?;
        let (before, mut left) = self.before;
        while left > 0 {
            let found = match before.fill_buf() {
                Ok([]) => Err(io::ErrorKind::UnexpectedEof.into()),
                found => found,
            };
            let bytes = match found {
                Ok(bytes) => bytes,
                Err(error) => return Ok(Err(Error::io("read", path)(error))),
            };
            let length = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            hasher.update(&bytes[..length]);
            out.write_all(&bytes[..length])?;
            before.consume(length);
            left -= length as u64;
        }
        hasher.update(self.new);
        out.write_all(self.new.as_bytes())?;
        out.write_all(end_line(self.header, hasher.finalize().into()).as_bytes())?;
        Ok(Ok(()))
    }
}

/// The longest `end` line.
pub(crate) const MAX_END_LINE: u64 = 4 + 20 + 1 + 64 + 1;

fn end_line(header: u64, sum: [u8; 32]) -> String {
    let mut text = String::new();
    put_line(&mut text, &Line::End(header, sum));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::BrickName;

    fn head() -> Head {
        let sum = Sum {
            length: 10_240,
            sha256: [1; 32],
        };
        Head {
            containers: vec![Some(sum), None],
            ..Head::new(ContainerSetId([2; 16]), StoreId([3; 16]))
        }
    }

    fn lines(container: u32, names: &[u8]) -> String {
        let mut text = String::new();
        put_line(&mut text, &Line::In(container));
        for &name in names {
            let name_of = MemberName::Brick(BrickName([name; 32]));
            put_line(&mut text, &Line::Member(u64::from(name), 5, name_of));
        }
        text
    }

    fn written(head: &Head, before: &str, new: &str) -> String {
        let mut out = Vec::new();
        let mut input = before.as_bytes();
        let writing = Writing {
            head,
            before: (&mut input, before.len() as u64),
            new,
            header: 1024,
        };
        let length = writing.length();
        writing.write(&mut out, Path::new("x")).unwrap().unwrap();
        assert_eq!(out.len() as u64, length);
        String::from_utf8(out).unwrap()
    }

    fn read(text: &str) -> Result<(Scanned, Vec<(u32, u64)>)> {
        let mut found = Vec::new();
        let mut input = text.as_bytes();
        let scanned = scan(
            &mut input,
            Path::new("catalog"),
            0,
            &mut |number, offset, _, _| {
                found.push((number, offset));
                Ok(())
            },
        )?;
        Ok((scanned, found))
    }

    #[test]
    fn a_catalog_goes_both_ways_and_grows() {
        let text = written(&head(), &lines(1, &[7, 8]), &lines(2, &[9]));
        let (scanned, found) = read(&text).unwrap();
        assert_eq!(scanned.head, head());
        assert_eq!(scanned.header, 1024);
        assert_eq!(found, [(1, 7), (1, 8), (2, 9)]);
        let body = usize::try_from(scanned.body).unwrap()..usize::try_from(scanned.end).unwrap();
        let before = &text[body];
        assert!(before.starts_with("in 1\n"));
        assert_eq!(written(&head(), before, ""), text);
        let (empty, found) = read(&written(
            &Head {
                containers: Vec::new(),
                ..head()
            },
            "",
            "",
        ))
        .unwrap();
        assert_eq!((empty.body, found.len()), (empty.end, 0));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let good = written(&head(), &lines(1, &[7, 8]), &lines(2, &[9]));
        for (from, to, expected) in [
            ("dtar catalog 1", "dtar catalog 2", "newer"),
            ("in 1\n", "", "`in` before"),
            ("in 2", "in 1", "ascending"),
            ("in 2", "in 3", "ascending"),
            ("container 2 - -\n", "container 3 - -\n", "in a row"),
            ("container 2 - -\n", "", "a container of the set"),
            ("7 5 ", "6 5 ", "SHA-256"),
            ("set ", "sit ", "version, set and store"),
            ("in 2", "set 02020202020202020202020202020202\nin 2", "once"),
            ("in 2", "container 3 - -\nin 2", "before the members"),
            ("end ", "later ", "a line with its end"),
        ] {
            assert!(good.contains(from));
            let error = read(&good.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(expected), "{from:?}: {error}");
        }
        for length in 0..good.len() {
            assert!(read(&good[..length]).is_err(), "{length}");
        }
        assert!(read(&"x".repeat(300)).is_err());
    }

    #[test]
    fn lines_of_later_versions_are_passed_over() {
        let before = format!("{}later 1 2 3\n", lines(1, &[7]));
        let (_, found) = read(&written(&head(), &before, "")).unwrap();
        assert_eq!(found, [(1, 7)]);
    }
}
