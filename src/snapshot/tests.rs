use std::io::ErrorKind;

use proptest::prelude::*;

use super::*;
use crate::format::record;

/// Splits `bytes`, given in pieces of `piece` bytes.
fn split(bytes: &[u8], piece: usize) -> Streams {
    let mut streams = Streams::default();
    let mut splitter = Splitter::new();
    for piece in bytes.chunks(piece) {
        splitter.push(piece, &mut streams);
    }
    assert_eq!(splitter.length(), bytes.len() as u64);
    splitter.finish(&mut streams);
    streams
}

fn joined(streams: &Streams, length: usize) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut readers = streams.each_ref().map(Vec::as_slice);
    join(&mut readers, &mut out, length as u64)?;
    Ok(out)
}

fn lengths(streams: &Streams) -> [usize; STREAMS] {
    streams.each_ref().map(Vec::len)
}

/// A header block with a usual checksum.
fn header(name: &str, time: u32) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[TIMES.start..TIMES.end - 1].copy_from_slice(format!("{time:011o}").as_bytes());
    let field = checksum(&block);
    block[CHECKSUM].copy_from_slice(&field);
    block
}

/// Something that looks like a record of so many bytes, with its padding.
fn record(length: u32) -> Vec<u8> {
    let mut bytes = record::MAGIC.to_vec();
    bytes.resize(16, 1);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.resize(length as usize, 7);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

#[test]
fn what_is_taken_apart_leaves_no_block_behind() {
    let mut index = Vec::new();
    for number in 0..100 {
        index.extend_from_slice(&header(&format!("name {number}"), number));
        index.extend(record(60 + number));
    }
    let streams = split(&index, 1000);
    let records: u32 = (0..100).map(|number| 60 + number).sum();
    assert_eq!(
        lengths(&streams),
        [3, 100 * HEADER, 100 * 12, records as usize, 0, 0, 0]
    );
    assert_eq!(joined(&streams, index.len()).unwrap(), index);
}

#[test]
fn a_block_has_the_sum_of_its_bytes() {
    assert_eq!(sum(&[0xff; BLOCK]), 512 * 255);
    let mut block = [0; BLOCK];
    for (byte, value) in block.iter_mut().zip((0..251_u8).cycle()) {
        *byte = value;
    }
    let expected: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    assert_eq!(sum(&block), expected);
}

#[test]
fn a_time_is_in_one_stream_alone() {
    let index = |time| [header("a", time), header("b", time)].concat();
    let (one, other) = (split(&index(1), 512), split(&index(77_777), 512));
    for stream in Stream::ALL {
        let number = stream as usize;
        assert_eq!(one[number] == other[number], stream != Stream::Times);
    }
}

/// A block with such pax records.
fn pax(records: &[u8]) -> Vec<u8> {
    let mut block = records.to_vec();
    block.resize(BLOCK, 0);
    block
}

#[test]
fn each_time_of_a_pax_record_is_in_one_stream_alone() {
    let index = |mtime: &str, atime: &str, ctime: &str| {
        let text = format!("30 mtime={mtime}\n9 atime={atime}\n9 ctime={ctime}\n8 path=1 time=2\n");
        let index = [&header("a", 1)[..], &pax(text.as_bytes()), &header("b", 2)].concat();
        let streams = split(&index, 512);
        assert_eq!(joined(&streams, index.len()).unwrap(), index);
        streams
    };
    let base = index("12.500", "77", "-3");
    assert_eq!(base[Stream::Accesses as usize], b"77");
    // What is no digit ends a time.
    assert!(base[Stream::Changes as usize].is_empty());
    for (other, changed) in [
        (index("99.001", "77", "-3"), Stream::Times),
        (index("12.500", "10", "-3"), Stream::Accesses),
        (index("12.500", "77", "-4"), Stream::Blocks),
    ] {
        for stream in Stream::ALL {
            let number = stream as usize;
            assert_eq!(base[number] == other[number], stream != changed);
        }
    }
    let mut none = base.clone();
    none[Stream::Accesses as usize][0] = b'x';
    assert!(joined(&none, 3 * BLOCK).is_err());
}

#[test]
fn the_longest_record_is_a_record_and_a_longer_one_is_blocks() {
    let longest = record(record::MAX_LENGTH as u32);
    assert_eq!(lengths(&split(&longest, 512))[4], 0);
    let longer = record(record::MAX_LENGTH as u32 + 1);
    assert_eq!(lengths(&split(&longer, 512))[4], longer.len());
}

#[test]
fn what_is_behind_a_record_that_the_end_cuts_short_is_split_all_the_same() {
    let mut index = record(5000);
    index.truncate(512);
    index.extend_from_slice(&header("a", 1));
    let streams = split(&index, 100);
    assert_eq!(lengths(&streams), [3, HEADER, 12, 0, 512, 0, 0]);
    assert_eq!(joined(&streams, index.len()).unwrap(), index);
}

#[test]
fn streams_that_do_not_fit_are_refused() {
    let index = [
        &header("a", 1)[..],
        &record(600),
        &pax(b"30 mtime=12.5\n18 atime=3\n 1 ctime=4\n"),
        &[9; 700],
        &header("b", 2),
    ]
    .concat();
    let streams = split(&index, 512);
    let refused = |streams: &Streams, length| {
        let error = joined(streams, length).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
    };
    refused(&streams, index.len() - 1);
    refused(&streams, index.len() + 1);
    for number in 0..STREAMS {
        let mut longer = streams.clone();
        longer[number].push(1);
        refused(&longer, index.len());
        if !streams[number].is_empty() {
            let mut shorter = streams.clone();
            shorter[number].pop();
            refused(&shorter, index.len());
        }
    }
    for steps in [vec![0, 0, 1], vec![1, 0, 0], vec![0x80; 11], vec![0x80, 0]] {
        let mut broken = streams.clone();
        broken[0] = steps;
        refused(&broken, index.len());
    }
    let mut endless = streams.clone();
    endless[0] = [&[1, 0], &[0xff; 9][..], &[1]].concat();
    refused(&endless, index.len());
}

/// Pieces of which an index may consist, and others.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (0..3_u32, 0..3_u32).prop_map(|(name, time)| header(&name.to_string(), time).to_vec()),
        (20..2000_u32).prop_map(record),
        // Padding that is not zero.
        (21..600_u32).prop_map(|length| {
            let mut bytes = record(length);
            if let Some(last) = bytes.last_mut() {
                *last = 3;
            }
            bytes
        }),
        Just(vec![0; 512]),
        "([0-9]{1,3} [macx]time=-?[0-9.]{0,5}[\n=]?){1,40}".prop_map(String::into_bytes),
        "[0-9]{2} [mac]time=[0-9]{2}[.][0-9]{3}\n".prop_map(|text| pax(text.as_bytes())),
        prop::collection::vec(any::<u8>(), 0..1200),
        // A record that says it is longer than what follows.
        (512..4000_u32).prop_map(|length| record(length)[..512].to_vec()),
    ]
}

proptest! {
    #[test]
    fn whatever_is_split_can_be_joined(
        pieces in prop::collection::vec(piece(), 0..20),
        size in 1..3000_usize,
    ) {
        let index = pieces.concat();
        let streams = split(&index, size);
        prop_assert_eq!(&streams, &split(&index, usize::MAX), "pieces do not matter");
        prop_assert_eq!(joined(&streams, index.len()).unwrap(), index);
    }

    #[test]
    fn any_streams_are_joined_or_refused(
        streams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..1500), STREAMS),
        steps in prop::collection::vec(0..3_u8, 0..30),
        length in 0..5000_usize,
    ) {
        let mut streams: Streams = streams.try_into().unwrap();
        streams[0] = steps;
        if let Ok(out) = joined(&streams, length) {
            prop_assert_eq!(out.len(), length);
        }
    }
}
