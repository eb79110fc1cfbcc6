//! One version of a member: what of it is compared.

use crate::error::{Error, Result};
use crate::format::wire::{DecodeResult, Decoder, put_uv};
use crate::id::ChunkHash;
use crate::restore::{Listed, normal};
use crate::tar::{BLOCK, Extension, Member, extensions};

/// A member as one index has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Version {
    /// What its headers say.
    pub member: Member,
    /// BLAKE3-256 of its body, as it stood in the stream: that of a file without holes is
    /// what `b3sum` says of it. `None` if it can have no content.
    pub body: Option<ChunkHash>,
    /// Bytes of the body in the stream.
    pub body_length: u64,
    /// Of the map of a sparse member: where its holes are.
    map: Option<Digest>,
    /// Of all pax records that say something else than a [`Member`] holds.
    extended: Option<Digest>,
}

/// A hash of things that are only compared.
type Digest = [u8; 16];

/// What may differ between two versions of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// What kind of member it is.
    Type,
    /// The body, or where the holes in it are.
    Content,
    /// Permissions.
    Mode,
    /// Owner or group, by number or name.
    Owner,
    /// When it was last changed.
    Time,
    /// What a link points to.
    Link,
    /// The numbers of a device.
    Device,
    /// Extended attributes, ACLs, and other pax records.
    Attributes,
}

impl Change {
    /// A letter for it.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Type => 'T',
            Self::Content => 'c',
            Self::Mode => 'm',
            Self::Owner => 'o',
            Self::Time => 't',
            Self::Link => 'l',
            Self::Device => 'd',
            Self::Attributes => 'x',
        }
    }

    /// A word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Content => "content",
            Self::Mode => "mode",
            Self::Owner => "owner",
            Self::Time => "time",
            Self::Link => "link",
            Self::Device => "device",
            Self::Attributes => "attributes",
        }
    }
}

impl Version {
    /// The version that an index lists.
    #[must_use]
    pub fn of(listed: &Listed<'_>) -> Self {
        let Listed {
            member,
            group,
            body,
        } = listed;
        let is_file = matches!(member.letter(), '-' | 'C');
        let empty = || is_file.then(|| ChunkHash(*blake3::hash(&[]).as_bytes()));
        Self {
            member: (*member).clone(),
            body: body.map_or_else(empty, |body| Some(body.body_hash)),
            body_length: body.map_or(0, |body| body.body_length),
            map: map(member.type_flag, group),
            extended: extended(group),
        }
    }

    /// What differs from an `older` version; times only if `times`.
    #[must_use]
    pub fn changes_since(&self, older: &Self, times: bool) -> Vec<Change> {
        let (one, two) = (&older.member, &self.member);
        let owner = |member: &Member| {
            (
                member.uid,
                member.gid,
                member.user.clone(),
                member.group.clone(),
            )
        };
        let same_type = one.letter() == two.letter();
        let content = |version: &Self| {
            (
                version.body,
                version.body_length,
                version.map,
                version.member.size,
            )
        };
        let time = |member: &Member| (member.mtime, member.mtime_nanos);
        // A hard link points to a member, whose name counts as the same with `./` and without.
        let link = |member: &Member| match member.type_flag {
            b'1' => normal(&member.link).to_vec(),
            _ => member.link.clone(),
        };
        [
            (Change::Type, !same_type),
            (
                Change::Content,
                same_type && content(self) != content(older),
            ),
            (Change::Mode, one.mode != two.mode),
            (Change::Owner, owner(one) != owner(two)),
            (Change::Time, times && time(one) != time(two)),
            (Change::Link, same_type && link(one) != link(two)),
            (
                Change::Device,
                same_type && one.is_device() && one.device != two.device,
            ),
            (Change::Attributes, self.extended != older.extended),
        ]
        .into_iter()
        .filter_map(|(change, stands)| stands.then_some(change))
        .collect()
    }

    /// Whether what it holds is the same as in an `older` version: type, content, link.
    #[must_use]
    pub fn holds_the_same(&self, older: &Self) -> bool {
        let changes = self.changes_since(older, false);
        !changes.iter().any(|change| {
            matches!(
                change,
                Change::Type | Change::Content | Change::Link | Change::Device
            )
        })
    }

    /// Appends the bytes that [`Version::decode`] reads.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let member = &self.member;
        out.push(member.type_flag);
        out.extend_from_slice(&member.mtime.to_le_bytes());
        for number in [
            u64::from(member.mtime_nanos),
            u64::from(member.mode),
            member.uid,
            member.gid,
            member.stored_size,
            member.size,
            member.device.0,
            member.device.1,
            self.body_length,
        ] {
            put_uv(out, number);
        }
        for text in [&member.name, &member.link, &member.user, &member.group] {
            put_uv(out, text.len() as u64);
            out.extend_from_slice(text);
        }
        let digests = [self.map, self.extended];
        put_optional(out, self.body.map(|hash| hash.0));
        for digest in digests {
            put_optional(out, digest);
        }
    }

    /// Reads what [`Version::encode`] wrote.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut decoder = Decoder::new("version", bytes);
        Self::try_decode(&mut decoder).map_err(|error| Error::Internal(error.to_string()))
    }

    fn try_decode(decoder: &mut Decoder<'_>) -> DecodeResult<Self> {
        let type_flag = decoder.u8("type")?;
        let mtime = i64::from_le_bytes(decoder.array("time")?);
        let mut number = || decoder.uv("number");
        let mut member = Member {
            type_flag,
            mtime,
            mtime_nanos: number()? as u32,
            mode: number()? as u32,
            uid: number()?,
            gid: number()?,
            stored_size: number()?,
            size: number()?,
            device: (number()?, number()?),
            ..Member::default()
        };
        let body_length = number()?;
        for text in [
            &mut member.name,
            &mut member.link,
            &mut member.user,
            &mut member.group,
        ] {
            let length = decoder.uv("length")? as usize;
            *text = decoder.bytes("text", length)?.to_vec();
        }
        Ok(Self {
            member,
            body: optional(decoder)?.map(ChunkHash),
            body_length,
            map: optional(decoder)?,
            extended: optional(decoder)?,
        })
    }
}

fn put_optional<const N: usize>(out: &mut Vec<u8>, bytes: Option<[u8; N]>) {
    out.push(u8::from(bytes.is_some()));
    out.extend_from_slice(bytes.as_ref().map_or(&[], <[u8; N]>::as_slice));
}

fn optional<const N: usize>(decoder: &mut Decoder<'_>) -> DecodeResult<Option<[u8; N]>> {
    match decoder.u8("whether it stands")? {
        0 => Ok(None),
        _ => decoder.array("hash").map(Some),
    }
}

/// Of what says where the holes of a sparse member are; `None` if it is none.
fn map(type_flag: u8, group: &[u8]) -> Option<Digest> {
    /// Where an old GNU header holds the first entries of the map.
    const ENTRIES: std::ops::Range<usize> = 386..483;
    let mut hasher = None;
    let mut main = 0;
    for extension in extensions(group) {
        main = extension.range.end;
        for (key, value) in extension.records() {
            // The name says nothing of holes.
            if key.starts_with(SPARSE) && key != b"GNU.sparse.name" && extension.is_pax() {
                let hasher = hasher.get_or_insert_with(blake3::Hasher::new);
                hasher.update(key).update(b"=").update(value).update(b"\n");
            }
        }
    }
    let block = group.get(main..main + BLOCK)?;
    if matches!(type_flag, b'S' | b's') {
        hasher
            .get_or_insert_with(blake3::Hasher::new)
            .update(&block[ENTRIES]);
    }
    let mut hasher = hasher?;
    // The map of format 1.0 stands between header and body.
    hasher.update(group.get(main + BLOCK..).unwrap_or_default());
    Some(digest(&hasher))
}

const SPARSE: &[u8] = b"GNU.sparse.";

/// Keys of which a [`Member`] holds the value, and those that change although the member
/// does not.
const LEFT_OUT: [&[u8]; 18] = [
    b"path",
    b"linkpath",
    b"uname",
    b"gname",
    b"uid",
    b"gid",
    b"size",
    b"mtime",
    b"atime",
    b"ctime",
    b"LIBARCHIVE.creationtime",
    b"hdrcharset",
    b"SCHILY.realsize",
    b"SCHILY.devmajor",
    b"SCHILY.devminor",
    b"SCHILY.dev",
    b"SCHILY.ino",
    b"SCHILY.nlink",
];

/// Of the pax records of a group that are not left out; `None` if there are none. Their
/// order does not matter; of several with one key the last counts.
fn extended(group: &[u8]) -> Option<Digest> {
    let extensions: Vec<_> = extensions(group).filter(Extension::is_pax).collect();
    let mut records: Vec<_> = extensions
        .iter()
        .flat_map(Extension::records)
        .filter(|(key, _)| !LEFT_OUT.contains(key) && !key.starts_with(SPARSE))
        .collect();
    if records.is_empty() {
        return None;
    }
    // Of equal keys the last comes first, and stays.
    records.reverse();
    records.sort_by_key(|(key, _)| *key);
    records.dedup_by_key(|(key, _)| *key);
    let mut hasher = blake3::Hasher::new();
    for bytes in records.iter().flat_map(|(key, value)| [key, value]) {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    }
    Some(digest(&hasher))
}

fn digest(hasher: &blake3::Hasher) -> Digest {
    let mut digest = Digest::default();
    hasher.finalize_xof().fill(&mut digest);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version() -> Version {
        Version {
            member: Member {
                type_flag: b'0',
                name: b"a\xff name".to_vec(),
                link: b"target".to_vec(),
                mode: 0o4755,
                uid: u64::MAX,
                gid: 2,
                user: b"user".to_vec(),
                group: Vec::new(),
                stored_size: 3,
                size: 4,
                mtime: -5,
                mtime_nanos: 999_999_999,
                device: (6, 7),
            },
            body: Some(ChunkHash([8; 32])),
            body_length: 9,
            map: None,
            extended: Some([10; 16]),
        }
    }

    #[test]
    fn versions_come_back() {
        for version in [version(), Version::default()] {
            let mut bytes = Vec::new();
            version.encode(&mut bytes);
            assert_eq!(Version::decode(&bytes).unwrap(), version);
        }
    }

    #[test]
    fn each_change_is_told_alone() {
        type Edit = fn(&mut Version);
        let edits: [(Edit, &[Change]); 15] = [
            (|_| (), &[]),
            (|version| version.member.type_flag = 0, &[]),
            (|version| version.member.type_flag = b'2', &[Change::Type]),
            (|version| version.body = None, &[Change::Content]),
            (|version| version.body_length = 1, &[Change::Content]),
            (|version| version.map = Some([1; 16]), &[Change::Content]),
            (|version| version.member.size = 5, &[Change::Content]),
            (|version| version.member.mode = 0o755, &[Change::Mode]),
            (|version| version.member.uid = 1, &[Change::Owner]),
            (|version| version.member.user.clear(), &[Change::Owner]),
            (|version| version.member.group.push(b'g'), &[Change::Owner]),
            (|version| version.member.mtime_nanos = 0, &[Change::Time]),
            (|version| version.member.link.push(b'2'), &[Change::Link]),
            (|version| version.extended = None, &[Change::Attributes]),
            // Names are what versions are matched by; only devices have numbers.
            (
                |version| {
                    version.member.name.clear();
                    version.member.device = (0, 0);
                },
                &[],
            ),
        ];
        for (number, (edit, expected)) in edits.into_iter().enumerate() {
            let mut edited = version();
            edit(&mut edited);
            assert_eq!(edited.changes_since(&version(), true), expected, "{number}");
            let timeless: Vec<_> = expected
                .iter()
                .copied()
                .filter(|change| *change != Change::Time)
                .collect();
            assert_eq!(edited.changes_since(&version(), false), timeless);
        }
    }
}
