//! The content of a snapshot file (`formats/snapshot.md#snapshot-file`).

use super::frame::MAX_CHUNK_LENGTH;
use super::record::{Item, decode_stream};
use super::wire::{DecodeResult, Decoder, put_prefix, put_uv};
use crate::error::{Error, Result};
use crate::id::WriterId;
use crate::snapshot::STREAMS;

const MAGIC: &[u8; 8] = b"dtarSNAP";
const STRUCTURE: &str = "snapshot";

/// Which chunks make up the streams of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// When the run ended: nanoseconds since 1970.
    pub time: u64,
    /// The run.
    pub writer: WriterId,
    /// Length of the index in bytes.
    pub index_length: u64,
    /// The streams, in the order of their numbers.
    pub streams: [StreamItems; STREAMS],
}

/// The chunks of one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamItems {
    /// Length of the stream in bytes.
    pub length: u64,
    /// Chunks and lists that make it up.
    pub items: Vec<Item>,
}

impl Snapshot {
    /// Appends the bytes.
    ///
    /// # Errors
    /// [`Error::Internal`] if they are too many for a chunk.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        put_prefix(out, MAGIC);
        out.extend_from_slice(&self.time.to_le_bytes());
        out.extend_from_slice(self.writer.as_bytes());
        out.extend_from_slice(&self.index_length.to_le_bytes());
        for stream in &self.streams {
            put_uv(out, stream.length);
            put_uv(out, stream.items.len() as u64);
            for item in &stream.items {
                item.encode(out);
            }
        }
        if out.len() - start > MAX_CHUNK_LENGTH as usize {
            return Err(Error::Internal("a snapshot of more than 1 MiB".into()));
        }
        Ok(())
    }

    /// The snapshot that is all of `bytes`.
    ///
    /// # Errors
    /// Whatever breaks a MUST of the page.
    pub fn decode(bytes: &[u8]) -> DecodeResult<Self> {
        let mut decoder = Decoder::new(STRUCTURE, bytes);
        decoder.prefix(MAGIC)?;
        let time = decoder.u64("time")?;
        let writer = WriterId(decoder.array("writer")?);
        let index_length = decoder.u64("length of the index")?;
        let mut streams: [StreamItems; STREAMS] = Default::default();
        for stream in &mut streams {
            stream.length = decoder.uv("length of a stream")?;
            stream.items = decode_stream(&mut decoder, stream.length)?;
        }
        decoder.fields(|_, _| Ok(false))?;
        Ok(Self {
            time,
            writer,
            index_length,
            streams,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ChunkHash;

    fn snapshot() -> Snapshot {
        let chunk = |length| Item::Chunk {
            length,
            hash: ChunkHash([7; 32]),
        };
        let mut streams: [StreamItems; STREAMS] = Default::default();
        streams[1] = StreamItems {
            length: 300,
            items: vec![chunk(100), chunk(200)],
        };
        streams[4] = StreamItems {
            length: 1,
            items: vec![chunk(1)],
        };
        Snapshot {
            time: 1,
            writer: WriterId([2; 16]),
            index_length: 3,
            streams,
        }
    }

    fn encoded(snapshot: &Snapshot) -> Vec<u8> {
        let mut bytes = Vec::new();
        snapshot.encode(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn round_trip() {
        assert_eq!(Snapshot::decode(&encoded(&snapshot())), Ok(snapshot()));
    }

    #[test]
    fn a_snapshot_that_is_cut_short_is_refused() {
        let bytes = encoded(&snapshot());
        for length in 0..bytes.len() {
            assert!(Snapshot::decode(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn items_must_make_up_their_stream_and_be_stored() {
        for (length, item) in [
            (2, Item::Zeros { length: 2 }),
            (2, Item::Whole),
            (
                2,
                Item::Chunk {
                    length: 3,
                    hash: ChunkHash([1; 32]),
                },
            ),
        ] {
            let mut bad = snapshot();
            bad.streams[0] = StreamItems {
                length,
                items: vec![item],
            };
            assert!(Snapshot::decode(&encoded(&bad)).is_err(), "{item:?}");
        }
    }
}
