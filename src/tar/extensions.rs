//! The extension headers of a group, and what global ones say from then on.

use std::ops::Range;

use super::header::{Header, is_extension, is_pax};
use super::member::pairs;
use super::{BLOCK, MAX_GROUP, padding_after};

/// An extension header with its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension<'a> {
    /// Its type: `x`, `g`, `L`, `K` or `X`.
    pub type_flag: u8,
    /// Its body, without padding.
    pub body: &'a [u8],
    /// Where header, body and padding stand in the group.
    pub range: Range<usize>,
}

impl Extension<'_> {
    /// Whether it tells about all members that follow.
    #[must_use]
    pub const fn is_global(&self) -> bool {
        self.type_flag == b'g'
    }

    /// Whether it holds pax records about the next member.
    #[must_use]
    pub const fn is_pax(&self) -> bool {
        is_pax(self.type_flag)
    }

    /// Keys and values of the pax records in its body.
    pub fn records(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        pairs(self.body)
    }
}

/// The extension headers with which `group` begins.
pub fn extensions(group: &[u8]) -> impl Iterator<Item = Extension<'_>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let header = Header::parse(group.get(start..)?.first_chunk()?)?;
        let size = usize::try_from(header.size).ok()?;
        let body = start + BLOCK;
        let end = body
            .checked_add(size)?
            .checked_add(padding_after(header.size))?;
        if !is_extension(header.type_flag) || end > group.len().min(MAX_GROUP) {
            return None;
        }
        let range = start..end;
        start = end;
        Some(Extension {
            type_flag: header.type_flag,
            body: &group[body..body + size],
            range,
        })
    })
}

/// What global headers said so far.
///
/// Bounded: of the keys that a member knows the last value each, none longer
/// than 64 KiB.
#[derive(Debug, Clone, Default)]
pub struct Globals {
    records: Vec<(&'static [u8], Vec<u8>)>,
}

/// The keys that count in a global header.
const KEYS: [&[u8]; 7] = [
    b"path",
    b"linkpath",
    b"uname",
    b"gname",
    b"uid",
    b"gid",
    b"mtime",
];
/// The longest value that is kept, in bytes.
const MAX_VALUE: usize = 64 << 10;

impl Globals {
    /// Reads the global headers of `group`, in the order of the stream.
    pub fn read(&mut self, group: &[u8]) {
        for extension in extensions(group).filter(Extension::is_global) {
            for (key, value) in pairs(extension.body) {
                self.set(key, value);
            }
        }
    }

    /// Whether nothing holds for later members.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    fn set(&mut self, key: &[u8], value: &[u8]) {
        let Some(key) = KEYS.iter().find(|known| **known == key) else {
            return;
        };
        self.records.retain(|(known, _)| known != key);
        if !value.is_empty() && value.len() <= MAX_VALUE {
            self.records.push((key, value.to_vec()));
        }
    }

    /// Keys and values.
    pub(super) fn records(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.records.iter().map(|(key, value)| (*key, &value[..]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::header::tests::{extension, header};
    use super::super::pax::tests::record;
    use super::*;

    #[test]
    fn extensions_end_at_the_main_header() {
        let group = [
            &extension(b'x', b"")[..],
            &extension(b'L', b"name"),
            &header(b'0', 5),
            &extension(b'g', b"body, not header"),
        ]
        .concat();
        let found: Vec<_> = extensions(&group)
            .map(|extension| (extension.type_flag, extension.body, extension.range))
            .collect();
        assert_eq!(
            found,
            [(b'x', &b""[..], 0..512), (b'L', &b"name"[..], 512..1_536)]
        );
        assert_eq!(extensions(&group[..1_500]).count(), 1);
    }

    #[test]
    fn the_last_global_value_stays_and_an_empty_one_removes_it() {
        let mut globals = Globals::default();
        let first = [
            record("uname", "a"),
            record("gname", "b"),
            record("comment", "c"),
            record("size", "5"),
        ];
        globals.read(&extension(b'g', &first.concat()));
        globals.read(&extension(b'x', &record("path", "not global")));
        let second = [record("uname", "d"), record("gname", "")];
        globals.read(&extension(b'g', &second.concat()));
        let found: Vec<_> = globals.records().collect();
        assert_eq!(found, [(&b"uname"[..], &b"d"[..])]);
    }

    #[test]
    fn globals_do_not_grow_without_bound() {
        let mut globals = Globals::default();
        globals.read(&extension(
            b'g',
            &record("path", &"a".repeat(MAX_VALUE + 1)),
        ));
        assert_eq!(globals.records().count(), 0);
    }
}
