//! Indexes and frames made by somebody with the right key, but wrongly.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use dtar::brick::{BrickSealer, CompressedFrame, OpenFrame, OpenScratch};
use dtar::format::frame::{Codec, ContentHeader};
use dtar::format::record::{self, Record};
use dtar::format::trailer::{End, encode_head};
use dtar::id::Class;
use dtar::index::IndexFile;
use dtar::key_file;
use dtar::restore::{Origin, open_index};
use dtar::store::Store;

use crate::made::{Made, brick_parts};

/// Where the length of the members part stands in `SUMM`.
const MEMBERS_LENGTH: usize = 64;

/// The parts of an index, to be changed and sealed again.
pub struct Index {
    /// Everything before the two zero blocks.
    pub members: Vec<u8>,
    /// Name, flags and payload of the sections, without `DONE`.
    pub sections: Vec<([u8; 4], u32, Vec<u8>)>,
}

impl Index {
    /// Takes a sound index apart.
    pub fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        let number = |at: usize| {
            let bytes = bytes[at..at + 8].try_into().unwrap();
            usize::try_from(u64::from_le_bytes(bytes)).unwrap()
        };
        let trailer = number(bytes.len() - 48);
        let (mut sections, mut at) = (Vec::new(), trailer + 24);
        while &bytes[at..at + 4] != b"DONE" {
            let flags = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap());
            let end = at + 16 + number(at + 8);
            let name = bytes[at..at + 4].try_into().unwrap();
            sections.push((name, flags, bytes[at + 16..end].to_vec()));
            at = end;
        }
        Self {
            members: bytes[..trailer - 1024].to_vec(),
            sections,
        }
    }

    /// The payload of the first section of this name.
    pub fn section(&mut self, name: [u8; 4]) -> &mut Vec<u8> {
        let section = self.sections.iter_mut().find(|section| section.0 == name);
        &mut section.unwrap().2
    }

    /// Where the record in place with this number begins.
    pub fn record_offset(&self, number: usize) -> usize {
        let blocks = self.members.chunks(512).enumerate();
        let mut records = blocks.filter(|(_, block)| block.starts_with(record::MAGIC));
        records.nth(number).unwrap().0 * 512
    }

    /// Changes a record in place.
    pub fn edit_record(&mut self, number: usize, edit: impl FnOnce(&mut Record)) {
        let start = self.record_offset(number);
        let length = Record::peek_length(&self.members[start..]).unwrap();
        let mut record = Record::decode(&self.members[start..start + length]).unwrap();
        edit(&mut record);
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        let end = start + length.next_multiple_of(512);
        self.members.splice(start..end, bytes);
    }

    /// Seals what is there with the right key, as `forged.tar`.
    pub fn write(mut self, made: &Made) -> PathBuf {
        let length = (self.members.len() as u64).to_le_bytes();
        if let Some(place) = self
            .section(*b"SUMM")
            .get_mut(MEMBERS_LENGTH..MEMBERS_LENGTH + 8)
        {
            place.copy_from_slice(&length);
        }
        let mut bytes = self.members;
        bytes.resize(bytes.len() + 1024, 0);
        let trailer_offset = bytes.len() as u64;
        bytes.extend(encode_head(trailer_offset));
        for (name, flags, payload) in &self.sections {
            put_section(&mut bytes, *name, *flags, payload.len() as u64);
            bytes.extend_from_slice(payload);
        }
        put_section(&mut bytes, *b"DONE", 0, 0);
        bytes.resize((bytes.len() + 96).next_multiple_of(512) - 96, 0);
        write_sealed(made, bytes, trailer_offset)
    }
}

fn put_section(bytes: &mut Vec<u8>, name: [u8; 4], flags: u32, length: u64) {
    bytes.extend(name);
    bytes.extend(flags.to_le_bytes());
    bytes.extend(length.to_le_bytes());
}

/// Seals `bytes`, all of an index before its seal, as `forged.tar`.
pub fn write_sealed(made: &Made, mut bytes: Vec<u8>, trailer_offset: u64) -> PathBuf {
    let key = key_file::load(&made.sandbox.key(), &mut |_| unreachable!()).unwrap();
    let store = Store::open(&made.sandbox.store(), &key).unwrap();
    let sound = IndexFile::open(&made.index).unwrap();
    let mut hasher = open_index(&sound, &Origin::from(&store), &key)
        .unwrap()
        .1
        .index
        .hasher();
    let length = bytes.len() as u64 + 32;
    let end = End {
        trailer_offset,
        trailer_length: length - trailer_offset,
        index_length: length + 64,
    }
    .encode();
    let seal = hasher.update(&bytes).update(&end).finalize();
    bytes.extend(seal.as_bytes());
    bytes.extend(end);
    let path = made.sandbox.path().join("forged.tar");
    fs::write(&path, bytes).unwrap();
    path
}

/// What stands under the seal of a forged frame.
pub struct Content {
    /// How it says that it is compressed.
    pub codec: Codec,
    /// What it says about itself.
    pub header: ContentHeader,
    /// The content.
    pub bytes: Vec<u8>,
}

impl Content {
    /// Stored chunks as they should be, with their table.
    pub fn stored(chunks: &[&[u8]]) -> Self {
        let mut bytes = chunks.concat();
        let plain = bytes.len();
        for chunk in chunks {
            dtar::format::wire::put_uv(&mut bytes, chunk.len() as u64);
        }
        Self {
            codec: Codec::Stored,
            header: ContentHeader {
                content_length: length(bytes.len()),
                plain_length: length(bytes.len()),
                chunk_count: length(chunks.len()),
                table_length: length(bytes.len() - plain),
            },
            bytes,
        }
    }
}

/// A length in 32 bits.
pub fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap()
}

/// The chunks of the only brick's first frame.
pub fn first_frame(made: &Made) -> Vec<Vec<u8>> {
    let key = key_file::load(&made.sandbox.key(), &mut |_| unreachable!()).unwrap();
    let store = Store::open(&made.sandbox.store(), &key).unwrap();
    let brick = made.brick();
    let (head, behind) = brick_parts(&brick).frames[0].clone();
    let mut sealed = vec![0; length_of(behind.end - head.start)];
    let file = fs::File::open(&brick).unwrap();
    file.read_exact_at(&mut sealed, head.start).unwrap();
    let opener = key.opener(*store.id()).unwrap();
    let mut frame = OpenFrame::default();
    opener
        .open(&mut sealed, &mut OpenScratch::default(), &mut frame)
        .unwrap();
    (0..frame.chunk_count())
        .map(|place| frame.chunk(place).unwrap().to_vec())
        .collect()
}

fn length_of(length: u64) -> usize {
    usize::try_from(length).unwrap()
}

/// Puts a frame sealed to the right key in the place of the only brick's first
/// one, padded to the same length, so that the index need not change.
pub fn replace_frame(made: &Made, content: &Content) {
    let key = key_file::load(&made.sandbox.key(), &mut |_| unreachable!()).unwrap();
    let store = Store::open(&made.sandbox.store(), &key).unwrap();
    let brick = made.brick();
    let (head, behind) = brick_parts(&brick).frames[0].clone();
    let sealer =
        BrickSealer::new(*store.id(), store.epoch(), Class::Data, store.recipients()).unwrap();
    let mut frame = CompressedFrame::new();
    frame.header_length = sealer.frame_header_length();
    assert_eq!(frame.header_length as u64, head.end - head.start);
    frame.codec = content.codec;
    frame.bytes.resize(frame.header_length, 0);
    frame.bytes.extend(content.header.encode());
    frame.bytes.extend_from_slice(&content.bytes);
    let room = usize::try_from(behind.end - head.start).unwrap() - 16;
    assert!(frame.bytes.len() <= room, "{} bytes", frame.bytes.len());
    frame.bytes.resize(room, 0);
    sealer.seal_frame(0, &mut frame).unwrap();
    let file = fs::File::options().write(true).open(&brick).unwrap();
    file.write_all_at(&frame.bytes, head.start).unwrap();
}

/// A zstd frame (RFC 8878) that yields `blocks` times 128 KiB of zeros; the
/// content size, if it states one, is `size`.
pub fn zstd_bomb(blocks: usize, size: Option<u32>) -> Vec<u8> {
    // Magic; descriptor: content size in no bytes or in 4; window of 2 MiB.
    let mut bytes = vec![0x28, 0xb5, 0x2f, 0xfd];
    match size {
        None => bytes.extend([0, 11 << 3]),
        Some(size) => {
            bytes.extend([0x80, 11 << 3]);
            bytes.extend(size.to_le_bytes());
        }
    }
    for number in 1..=blocks {
        // Last block, kind 1 (one byte repeated), length.
        let header = u32::from(number == blocks) | 1 << 1 | (128 << 10) << 3;
        bytes.extend(&header.to_le_bytes()[..3]);
        bytes.push(0);
    }
    bytes
}
