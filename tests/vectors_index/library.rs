//! Writes an index again with the library's writer, from what its reader finds in it.

use std::path::Path;

use dtar::Result;
use dtar::crypto::KeyFile;
use dtar::format::record::Record;
use dtar::format::trailer::{Place, UsedFrame};
use dtar::id::{BrickName, Epoch, StoreId};
use dtar::index::{
    BrickSource, BrickTable, FrameRef, HintReader, IndexFile, IndexWriter, Region, StoredFrame,
};

use super::forge;

/// The bricks of an index by their place in its table.
struct Bricks(BrickTable);

impl BrickSource for Bricks {
    fn brick(&mut self, brick: u32) -> Result<(BrickName, u64)> {
        let brick = self.0.brick(brick as usize)?;
        Ok((brick.name, brick.length))
    }

    fn frame(&mut self, frame: StoredFrame) -> Result<UsedFrame> {
        let frames = &self.0.brick(frame.brick as usize)?.frames;
        let found = frames.iter().find(|used| used.number == frame.frame);
        Ok(*found.expect("a frame of the table"))
    }
}

/// What the library's writer makes of the parts of `index`.
pub fn written_again(index: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    std::fs::write(&path, index).unwrap();
    let index = IndexFile::open(&path).unwrap();
    let trailer = index.trailer().unwrap();
    let text = forge::key_text("dtar-secret-key-", &forge::master());
    let Ok(KeyFile::Key(key)) = KeyFile::parse(text.as_bytes()) else {
        panic!("not a secret key");
    };
    let keys = key.put_keys(StoreId(forge::STORE), Epoch::FIRST).unwrap();
    let name = Path::new("index");
    let mut writer = IndexWriter::new(Vec::new(), name, keys.index.hasher(), folder.path());
    let (mut members, mut records) = (trailer.members(&index), trailer.records(&index));
    let mut map = trailer.map(&index);
    while let Some(step) = map.next_step().unwrap() {
        let run = usize::try_from(step.blocks * 512).unwrap();
        writer.verbatim(members.take(run).unwrap()).unwrap();
        match step.place {
            Place::InPlace => {
                writer.record_in_place(record(&mut members)).unwrap();
                let missing = members.position().wrapping_neg() % 512;
                members.skip(missing).unwrap();
            }
            Place::Detached => writer.record_detached(record(&mut records)).unwrap(),
            Place::Opaque => {
                members.skip(512).unwrap();
                writer.opaque(record(&mut records)).unwrap();
            }
        }
    }
    let mut bricks = Bricks(trailer.bricks(&index).unwrap());
    let mut places = |hints: &mut HintReader| {
        let mut places = Vec::new();
        while !hints.is_empty() {
            let (ordinal, place) = hints.next_chunk().unwrap();
            let (brick, used, frame) = bricks.0.frame(ordinal).unwrap();
            let frame = FrameRef::Stored(StoredFrame {
                brick: u32::try_from(brick).unwrap(),
                frame: used.frames[frame].number,
            });
            places.push((frame, place));
        }
        places
    };
    let mut hints = trailer.hints(&index).unwrap();
    let mut copies = trailer.copies(&index, &hints).unwrap();
    for level in 0..hints.len() {
        for (frame, place) in hints[level].as_mut().map_or(Vec::new(), &mut places) {
            writer.hint(level, frame, place).unwrap();
        }
        for (frame, place) in copies[level].as_mut().map_or(Vec::new(), &mut places) {
            writer.copy_hint(level, frame, place).unwrap();
        }
    }
    let used = writer.used().unwrap();
    writer
        .finish(&used, &mut bricks, trailer.summary)
        .unwrap()
        .0
}

fn record(region: &mut Region) -> &[u8] {
    let length = Record::peek_length(region.peek(20).unwrap()).unwrap();
    region.take(length).unwrap()
}
