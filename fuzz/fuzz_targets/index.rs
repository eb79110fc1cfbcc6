//! Whatever stands in an index, its reader ends, and what it hands out keeps
//! to the limits of `formats/index.md`.
//!
//! The end, the trailer's offset and the length of the members part are made
//! good first; the seal is not looked at, since whoever holds a put key can
//! make one.
#![no_main]

use std::io::Write;
use std::path::Path;

use dtar::Result;
use dtar::format::record::{HEAD_LENGTH as RECORD_HEAD, Record};
use dtar::format::trailer::{End, Place};
use dtar::index::{IndexFile, Region, Trailer};
use libfuzzer_sys::fuzz_target;

/// Where the length of the members part stands, from the trailer's offset on.
const MEMBERS_LENGTH: usize = 24 + 16 + 64;
/// No walk takes more steps: a repeated map step costs an attacker one byte.
const MOST: usize = 10_000;

/// Makes an index of `data` that gets past the first checks, if a trailer stands in it.
fn mend(data: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = data[..data.len().saturating_sub(64)].to_vec();
    let offset = bytes.windows(8).rposition(|word| word == b"dtarTRLR")?;
    bytes
        .get_mut(offset + 16..offset + 24)?
        .copy_from_slice(&(offset as u64).to_le_bytes());
    if bytes.get(offset + 24..offset + 28) == Some(b"SUMM") {
        let members = (offset as u64).saturating_sub(1024).to_le_bytes();
        bytes
            .get_mut(offset + MEMBERS_LENGTH..offset + MEMBERS_LENGTH + 8)?
            .copy_from_slice(&members);
    }
    let length = (bytes.len() + 64).next_multiple_of(512);
    // The seal ends before the end; the zeros belong before it.
    let seal = bytes
        .len()
        .checked_sub(32)
        .filter(|seal| *seal >= offset + 24)?;
    bytes.splice(
        seal..seal,
        std::iter::repeat_n(0, length - 64 - bytes.len()),
    );
    let end = End {
        trailer_offset: offset as u64,
        trailer_length: (length - 64 - offset) as u64,
        index_length: length as u64,
    };
    bytes.extend_from_slice(&end.encode());
    Some(bytes)
}

fn record(region: &mut Region) -> Result<Record> {
    let length = region.decode(RECORD_HEAD, |head| Ok((Record::peek_length(head)?, 0)))?;
    region.decode(length, |bytes| Ok((Record::decode(bytes)?, length)))
}

/// Walks through map, records, bricks and hints as restore does.
fn walk(index: &IndexFile, trailer: &Trailer) -> Result<()> {
    let mut bricks = trailer.bricks(index)?;
    for ordinal in 0..bricks.frame_count().min(1000) {
        let (_, brick, place) = bricks.frame(ordinal)?;
        assert!(place < brick.frames.len());
    }
    assert!(bricks.frame(bricks.frame_count()).is_err());
    let levels = trailer.hints(index)?;
    let copies = trailer.copies(index, &levels)?;
    for mut hints in levels.into_iter().chain(copies).flatten() {
        for _ in 0..MOST {
            if hints.is_empty() {
                break;
            }
            hints.next_chunk()?;
        }
    }
    let levels = trailer.hints(index)?;
    let copies = trailer.copies(index, &levels)?;
    for mut hints in levels.into_iter().chain(copies).flatten() {
        for count in 1..MOST as u64 {
            hints.skip(count)?;
        }
    }
    let (mut members, mut records) = (trailer.members(index), trailer.records(index));
    let mut map = trailer.map(index);
    for _ in 0..MOST {
        let Some(step) = map.next_step()? else {
            assert!(map.is_empty());
            break;
        };
        members.skip(step.blocks.saturating_mul(512))?;
        match step.place {
            Place::InPlace => {
                let start = members.position();
                record(&mut members)?;
                let length = members.position() - start;
                members.skip(length.wrapping_neg() % 512)?;
            }
            Place::Detached => drop(record(&mut records)?),
            Place::Opaque => {
                members.skip(512)?;
                record(&mut records)?;
            }
        }
    }
    Ok(())
}

fn read(bytes: &[u8]) -> Result<()> {
    let shared = Path::new("/dev/shm");
    let dir = if shared.is_dir() {
        shared.to_owned()
    } else {
        std::env::temp_dir()
    };
    let mut file = tempfile::NamedTempFile::new_in(dir).expect("a temporary file");
    file.write_all(bytes).expect("a temporary file");
    let index = IndexFile::open(file.path())?;
    let trailer = index.trailer()?;
    walk(&index, &trailer)
}

fuzz_target!(|data: &[u8]| {
    let _ = read(data);
    if let Some(mended) = mend(data) {
        let _ = read(&mended);
    }
});
