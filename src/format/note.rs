//! Notes: leases, dead lists and damage marks (`formats/collection.md#notes`).

use super::frame::code;
use super::wire::{DecodeResult, Decoder, put_uv};
use crate::error::{Error, Result};
use crate::id::{BrickName, WriterId};

/// The longest host name in bytes.
pub const MAX_HOST_LENGTH: usize = 255;
/// The longest boot id in bytes.
pub const MAX_BOOT_ID_LENGTH: usize = 64;
/// The longest text in bytes.
pub const MAX_TEXT_LENGTH: usize = 4096;

const STRUCTURE: &str = "note";
/// Length of a brick's name.
const NAME_LENGTH: u64 = BrickName::SIZE as u64;

/// What a note says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum NoteKind {
    /// An archiver lives.
    ArchiverLease = 1,
    /// A gc lives.
    GcLease = 2,
    /// A gc is about to delete these bricks.
    DeadList = 3,
    /// A brick is damaged.
    Mark = 4,
}

impl NoteKind {
    /// The kind with this code.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::ArchiverLease,
            2 => Self::GcLease,
            3 => Self::DeadList,
            4 => Self::Mark,
            _ => return None,
        })
    }

    /// Whether a note of this kind may name so many bricks.
    const fn may_name(self, bricks: u64) -> bool {
        match self {
            Self::ArchiverLease | Self::GcLease => bricks == 0,
            Self::DeadList => bricks > 0,
            Self::Mark => bricks == 1,
        }
    }

    const fn names(self) -> &'static str {
        match self {
            Self::ArchiverLease | Self::GcLease => "0 in a lease",
            Self::DeadList => "1 at least in a dead list",
            Self::Mark => "1 in a mark",
        }
    }
}

/// A lease, a dead list or a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What it says.
    pub kind: NoteKind,
    /// The process that wrote it.
    pub process: u32,
    /// When: nanoseconds since 1970.
    pub time: u64,
    /// The random half of the run's id; of a mark zero bytes.
    pub random: [u8; 8],
    /// The run.
    pub writer: WriterId,
    /// Name of the machine, at most 255 bytes.
    pub host: Vec<u8>,
    /// What tells one start of that machine from others, at most 64 bytes; empty if
    /// there is nothing.
    pub boot_id: Vec<u8>,
    /// For people, at most 4,096 bytes: the run's label, what is wrong with the brick.
    pub text: Vec<u8>,
    /// Ascending: none in a lease, one in a mark, one at least in a dead list.
    pub bricks: Vec<BrickName>,
}

impl Note {
    /// Appends the bytes to seal.
    ///
    /// # Errors
    /// [`Error::Internal`] if a limit breaks, or if the bricks are not as they should be.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<()> {
        let refuse = |what: &str| Err(Error::Internal(format!("a note with {what}")));
        let texts = [
            (&self.host, MAX_HOST_LENGTH),
            (&self.boot_id, MAX_BOOT_ID_LENGTH),
            (&self.text, MAX_TEXT_LENGTH),
        ];
        if texts.iter().any(|(text, limit)| text.len() > *limit) {
            return refuse("too long a host name, boot id or text");
        }
        if !self.kind.may_name(self.bricks.len() as u64) {
            return refuse("too many or too few bricks");
        }
        if !self.bricks.is_sorted_by(|one, next| one < next) {
            return refuse("bricks out of order");
        }
        out.extend_from_slice(&[self.kind as u8, 0, 0, 0]);
        out.extend_from_slice(&self.process.to_le_bytes());
        out.extend_from_slice(&self.time.to_le_bytes());
        out.extend_from_slice(&self.random);
        out.extend_from_slice(self.writer.as_bytes());
        for (text, _) in texts {
            put_uv(out, text.len() as u64);
            out.extend_from_slice(text);
        }
        put_uv(out, self.bricks.len() as u64);
        for name in &self.bricks {
            out.extend_from_slice(name.as_bytes());
        }
        Ok(())
    }

    /// Reads the opened bytes. Offsets in errors are theirs.
    ///
    /// # Errors
    /// An unknown kind, lengths that break a limit, another number of bricks than the
    /// kind has, bricks out of order, an unknown critical field.
    pub fn decode(opened: &[u8]) -> DecodeResult<Self> {
        let mut decoder = Decoder::new(STRUCTURE, opened);
        let kind = code(&mut decoder, "kind", "1 to 4", NoteKind::from_code)?;
        decoder.bytes("reserved", 3)?;
        let process = decoder.u32("process id")?;
        let time = decoder.u64("time")?;
        let random = decoder.array("random half of the id")?;
        let writer = WriterId(decoder.array("writer")?);
        let host = text(&mut decoder, "host name", MAX_HOST_LENGTH)?;
        let boot_id = text(&mut decoder, "boot id", MAX_BOOT_ID_LENGTH)?;
        let text = text(&mut decoder, "text", MAX_TEXT_LENGTH)?;
        let bricks = decode_bricks(&mut decoder, kind)?;
        decoder.fields(|_, _| Ok(false))?;
        Ok(Self {
            kind,
            process,
            time,
            random,
            writer,
            host,
            boot_id,
            text,
            bricks,
        })
    }
}

fn text(decoder: &mut Decoder<'_>, field: &'static str, limit: usize) -> DecodeResult<Vec<u8>> {
    let length = decoder.uv_in(field, 0..=limit as u64)?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    Ok(decoder.bytes(field, length)?.to_vec())
}

fn decode_bricks(decoder: &mut Decoder<'_>, kind: NoteKind) -> DecodeResult<Vec<BrickName>> {
    const FIELD: &str = "number of bricks";
    let here = decoder.clone();
    let most = decoder.rest().len() as u64 / NAME_LENGTH;
    let count = decoder.uv_in(FIELD, 0..=most)?;
    if !kind.may_name(count) {
        return Err(here.error(FIELD, kind.names(), count));
    }
    let mut bricks = Vec::with_capacity(usize::try_from(count).unwrap_or_default());
    for _ in 0..count {
        let here = decoder.clone();
        let name = BrickName(decoder.array("brick name")?);
        if bricks.last().is_some_and(|last| *last >= name) {
            return Err(here.error("brick name", "names in ascending order", name));
        }
        bricks.push(name);
    }
    Ok(bricks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn note(kind: NoteKind, bricks: &[u8]) -> Note {
        Note {
            kind,
            process: 7,
            time: 1,
            random: *b"at rando",
            writer: WriterId([2; 16]),
            host: b"host".to_vec(),
            boot_id: b"boot".to_vec(),
            text: b"nightly".to_vec(),
            bricks: bricks.iter().map(|&byte| BrickName([byte; 32])).collect(),
        }
    }

    fn encoded(note: &Note) -> Vec<u8> {
        let mut bytes = Vec::new();
        note.encode(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn round_trip() {
        for (kind, bricks) in [
            (NoteKind::ArchiverLease, &[][..]),
            (NoteKind::GcLease, &[]),
            (NoteKind::DeadList, &[1]),
            (NoteKind::DeadList, &[1, 2, 255]),
            (NoteKind::Mark, &[9]),
        ] {
            let note = note(kind, bricks);
            assert_eq!(Note::decode(&encoded(&note)), Ok(note));
        }
    }

    #[test]
    fn what_must_not_be_written_is_not() {
        let mut out = Vec::new();
        for (kind, bricks) in [
            (NoteKind::ArchiverLease, &[1][..]),
            (NoteKind::GcLease, &[1]),
            (NoteKind::DeadList, &[]),
            (NoteKind::DeadList, &[2, 1]),
            (NoteKind::DeadList, &[1, 1]),
            (NoteKind::Mark, &[]),
            (NoteKind::Mark, &[1, 2]),
        ] {
            assert!(note(kind, bricks).encode(&mut out).is_err(), "{kind:?}");
        }
        let lease = || note(NoteKind::ArchiverLease, &[]);
        for long in [
            Note {
                host: vec![b'x'; 256],
                ..lease()
            },
            Note {
                boot_id: vec![b'x'; 65],
                ..lease()
            },
            Note {
                text: vec![b'x'; 4097],
                ..lease()
            },
        ] {
            assert!(long.encode(&mut out).is_err());
        }
        assert!(out.is_empty());
    }

    #[test]
    fn a_note_that_is_cut_short_or_of_another_kind_is_refused() {
        let bytes = encoded(&note(NoteKind::DeadList, &[1, 2]));
        for length in 0..bytes.len() {
            assert!(Note::decode(&bytes[..length]).is_err(), "{length}");
        }
        for kind in [0, 1, 2, 4, 5, 255] {
            let mut bad = bytes.clone();
            bad[0] = kind;
            assert!(Note::decode(&bad).is_err(), "{kind}");
        }
    }

    #[test]
    fn bricks_that_are_not_counted_are_read_as_fields_to_skip() {
        // The second has the bytes of one field: tag 30, length 30, and so many bytes.
        let mut bytes = encoded(&note(NoteKind::DeadList, &[1, 30]));
        let count = bytes.len() - 2 * BrickName::SIZE - 1;
        bytes[count] = 1;
        let read = Note::decode(&bytes).unwrap();
        assert_eq!(read, note(NoteKind::DeadList, &[1]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, position: prop::sample::Index, value: u8) {
            let _ = Note::decode(&bytes);
            let mut bad = encoded(&note(NoteKind::DeadList, &[1, 2]));
            let position = position.index(bad.len());
            bad[position] = value;
            // What is read has one spelling, but for reserved bytes, and for fields of later
            // versions behind it: with a smaller number of bricks the last ones may pass for
            // such fields.
            if let Ok(read) = Note::decode(&bad) {
                bad[1..4].fill(0);
                prop_assert!(bad.starts_with(&encoded(&read)));
            }
        }
    }
}
