//! Roots: what one finished run needs (`formats/store.md#roots`).

use super::brick::MAX_FRAMES;
use super::frames::Frames;
use super::wire::{DecodeResult, Decoder, put_uv, uv_length};
use crate::error::{Error, Result};
use crate::id::{BrickName, WriterId};

/// The longest host name in bytes.
pub const MAX_HOST_LENGTH: usize = 255;
/// The longest label in bytes.
pub const MAX_LABEL_LENGTH: usize = 4096;

const MAX_BITMAP_LENGTH: u64 = MAX_FRAMES as u64 / 8;
const STRUCTURE: &str = "root";
const TAG_SNAPSHOT: u8 = 1;
const TAG_STORED: u8 = 2;
/// A brick takes its name, a length and a byte of bitmap: so many bytes at least.
const MIN_BRICK_BYTES: u64 = 34;

/// What one finished run needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// When it ended: nanoseconds since 1970.
    pub time: u64,
    /// The run.
    pub writer: WriterId,
    /// Length of its stream in bytes.
    pub stream_length: u64,
    /// XXH3-128 of its stream.
    pub stream_xxh3: u128,
    /// Name of the machine, at most 255 bytes.
    pub host: Vec<u8>,
    /// What the user called it, at most 4,096 bytes.
    pub label: Vec<u8>,
    /// The bricks, ascending by name, each with its frames: the last byte of their bitmap
    /// is not zero.
    pub bricks: Vec<(BrickName, Frames)>,
    /// The snapshot of its index, if the run made one.
    pub snapshot: Option<SnapshotRef>,
    /// What the run wrote. For people; roots of older versions do not say.
    pub stored: Option<Stored>,
}

/// What a root says of the snapshot of its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotRef {
    /// BLAKE3-256 of the snapshot file.
    pub hash: [u8; 32],
    /// Length of the index.
    pub index_length: u64,
}

/// What a run wrote, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Of data bricks.
    pub data: u64,
    /// Of metadata bricks.
    pub metadata: u64,
}

impl Root {
    /// Appends the bytes to seal.
    ///
    /// # Errors
    /// [`Error::Internal`] if a limit breaks, or if bricks or bitmaps are not as they
    /// should be.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<()> {
        let refuse = |what: &str| Err(Error::Internal(format!("a root with {what}")));
        if self.host.len() > MAX_HOST_LENGTH || self.label.len() > MAX_LABEL_LENGTH {
            return refuse("too long a host name or label");
        }
        if !self.bricks.is_sorted_by(|one, next| one.0 < next.0) {
            return refuse("bricks out of order");
        }
        out.extend_from_slice(&self.time.to_le_bytes());
        out.extend_from_slice(self.writer.as_bytes());
        out.extend_from_slice(&self.stream_length.to_le_bytes());
        out.extend_from_slice(&self.stream_xxh3.to_le_bytes());
        for text in [&self.host, &self.label] {
            put_uv(out, text.len() as u64);
            out.extend_from_slice(text);
        }
        put_uv(out, self.bricks.len() as u64);
        for (name, frames) in &self.bricks {
            let bitmap = frames.bitmap();
            if !is_bitmap(bitmap) {
                return refuse("a bitmap that is too long or ends with zero");
            }
            out.extend_from_slice(name.as_bytes());
            put_uv(out, bitmap.len() as u64);
            out.extend_from_slice(bitmap);
        }
        if let Some(SnapshotRef { hash, index_length }) = &self.snapshot {
            out.push(TAG_SNAPSHOT);
            put_uv(out, (hash.len() + uv_length(*index_length)) as u64);
            out.extend_from_slice(hash);
            put_uv(out, *index_length);
        }
        if let Some(Stored { data, metadata }) = self.stored {
            out.push(TAG_STORED);
            put_uv(out, (uv_length(data) + uv_length(metadata)) as u64);
            put_uv(out, data);
            put_uv(out, metadata);
        }
        Ok(())
    }

    /// Reads the opened bytes. Offsets in errors are theirs.
    ///
    /// # Errors
    /// Lengths that break a limit, bricks out of order, a bitmap that ends with zero,
    /// an unknown critical field.
    pub fn decode(opened: &[u8]) -> DecodeResult<Self> {
        let mut decoder = Decoder::new(STRUCTURE, opened);
        let time = decoder.u64("time")?;
        let writer = WriterId(decoder.array("writer")?);
        let stream_length = decoder.u64("length of the stream")?;
        let stream_xxh3 = u128::from_le_bytes(decoder.array("XXH3 of the stream")?);
        let host = text(&mut decoder, "host name", MAX_HOST_LENGTH)?;
        let label = text(&mut decoder, "label", MAX_LABEL_LENGTH)?;
        let bricks = decode_bricks(&mut decoder)?;
        let (mut snapshot, mut stored) = (None, None);
        decoder.fields(|tag, mut value| {
            match tag {
                TAG_SNAPSHOT => {
                    snapshot = Some(SnapshotRef {
                        hash: value.array("hash of the snapshot")?,
                        index_length: value.uv("length of the index")?,
                    });
                }
                TAG_STORED => {
                    stored = Some(Stored {
                        data: value.uv("bytes of data bricks")?,
                        metadata: value.uv("bytes of metadata bricks")?,
                    });
                }
                _ => return Ok(false),
            }
            if value.is_empty() {
                return Ok(true);
            }
            Err(value.error("field", "its end", "more bytes"))
        })?;
        Ok(Self {
            time,
            writer,
            stream_length,
            stream_xxh3,
            host,
            label,
            bricks,
            snapshot,
            stored,
        })
    }
}

fn is_bitmap(bitmap: &[u8]) -> bool {
    bitmap.last().is_some_and(|&last| last != 0) && bitmap.len() as u64 <= MAX_BITMAP_LENGTH
}

fn text(decoder: &mut Decoder<'_>, field: &'static str, limit: usize) -> DecodeResult<Vec<u8>> {
    let length = decoder.uv_in(field, 0..=limit as u64)?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    Ok(decoder.bytes(field, length)?.to_vec())
}

fn decode_bricks(decoder: &mut Decoder<'_>) -> DecodeResult<Vec<(BrickName, Frames)>> {
    let most = decoder.rest().len() as u64 / MIN_BRICK_BYTES;
    let count = decoder.uv_in("number of bricks", 0..=most)?;
    let mut bricks = Vec::with_capacity(usize::try_from(count).unwrap_or_default());
    for _ in 0..count {
        let here = decoder.clone();
        let name = BrickName(decoder.array("brick name")?);
        if bricks.last().is_some_and(|(last, _)| *last >= name) {
            return Err(here.error("brick name", "names in ascending order", name));
        }
        let length = decoder.uv_in("length of a bitmap", 1..=MAX_BITMAP_LENGTH)?;
        let here = decoder.clone();
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let bitmap = decoder.bytes("bitmap", length)?;
        if !is_bitmap(bitmap) {
            return Err(here.error("bitmap", "a last byte that is not zero", 0));
        }
        bricks.push((name, bitmap.to_vec().into()));
    }
    Ok(bricks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> Root {
        Root {
            time: 1,
            writer: WriterId([2; 16]),
            stream_length: 3,
            stream_xxh3: 4,
            host: b"host".to_vec(),
            label: Vec::new(),
            bricks: vec![
                (BrickName([5; 32]), vec![0, 1].into()),
                (BrickName([6; 32]), vec![255].into()),
            ],
            snapshot: None,
            stored: None,
        }
    }

    fn encoded(root: &Root) -> Vec<u8> {
        let mut bytes = Vec::new();
        root.encode(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn round_trip() {
        assert_eq!(Root::decode(&encoded(&root())), Ok(root()));
        let empty = Root {
            bricks: Vec::new(),
            ..root()
        };
        assert_eq!(Root::decode(&encoded(&empty)), Ok(empty));
        let with_fields = Root {
            snapshot: Some(SnapshotRef {
                hash: [7; 32],
                index_length: 300,
            }),
            stored: Some(Stored {
                data: 1 << 40,
                metadata: 0,
            }),
            ..root()
        };
        assert_eq!(Root::decode(&encoded(&with_fields)), Ok(with_fields));
    }

    #[test]
    fn what_must_not_be_written_is_not() {
        let mut out = Vec::new();
        let swapped = root().bricks.into_iter().rev().collect();
        let twice = vec![root().bricks[0].clone(), root().bricks[0].clone()];
        for bricks in [
            swapped,
            twice,
            vec![(BrickName([5; 32]), vec![].into())],
            vec![(BrickName([5; 32]), vec![1, 0].into())],
            vec![(BrickName([5; 32]), vec![1; 8193].into())],
        ] {
            assert!(Root { bricks, ..root() }.encode(&mut out).is_err());
        }
        let host = vec![b'x'; 256];
        assert!(Root { host, ..root() }.encode(&mut out).is_err());
        let label = vec![b'x'; 4097];
        assert!(Root { label, ..root() }.encode(&mut out).is_err());
    }

    #[test]
    fn a_root_that_is_cut_short_is_refused() {
        let bytes = encoded(&root());
        for length in 0..bytes.len() {
            assert!(Root::decode(&bytes[..length]).is_err(), "{length}");
        }
    }
}
