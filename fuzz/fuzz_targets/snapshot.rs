//! Snapshots: any bytes are split and joined again, any streams are joined or refused, and
//! whatever stands under a good seal is read, and then written alike, or refused.
#![no_main]

use dtar::brick::{
    BrickSealer, CompressedFrame, Compressor, FrameBuilder, Pad, frame_header_length, open_snapshot,
};
use dtar::crypto::Key;
use dtar::format::snapshot::Snapshot;
use dtar::id::{Class, Epoch, StoreId};
use dtar::snapshot::{STREAMS, Splitter, Streams, join};
use libfuzzer_sys::fuzz_target;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::LazyLock;

const STORE: StoreId = StoreId([1; 16]);
static KEY: LazyLock<Key> = LazyLock::new(|| Key::generate().unwrap());

fn split(index: &[u8], piece: usize) -> Streams {
    let mut streams = Streams::default();
    let mut splitter = Splitter::new();
    for piece in index.chunks(piece) {
        splitter.push(piece, &mut streams);
    }
    assert_eq!(splitter.length(), index.len() as u64);
    splitter.finish(&mut streams);
    streams
}

fn joined(streams: &Streams, length: u64) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut readers = streams.each_ref().map(Vec::as_slice);
    match join(&mut readers, &mut out, length) {
        Ok(()) => Some(out),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
            None
        }
    }
}

/// An index in pieces, and at once.
fn any_index(index: &[u8], piece: usize) {
    let streams = split(index, piece);
    assert_eq!(streams, split(index, usize::MAX));
    let back = joined(&streams, index.len() as u64);
    assert!(back.as_deref() == Some(index));
    assert!(joined(&streams, index.len() as u64 + 1).is_none());
}

/// Streams of the lengths that stand before them; the last takes the rest.
fn any_streams(data: &[u8], length: u64) {
    let Some((lengths, mut data)) = data.split_first_chunk::<{ 2 * (STREAMS - 1) }>() else {
        return;
    };
    let mut streams = Streams::default();
    for (stream, length) in streams.iter_mut().zip(lengths.as_chunks::<2>().0) {
        let length = usize::from(u16::from_le_bytes(*length)).min(data.len());
        let (bytes, rest) = data.split_at(length);
        *stream = bytes.to_vec();
        data = rest;
    }
    streams[STREAMS - 1] = data.to_vec();
    if let Some(index) = joined(&streams, length) {
        assert_eq!(index.len() as u64, length);
        // What a writer makes of it may be other streams, but the same index.
        any_index(&index, 512);
    }
}

/// Any content under a good seal.
fn any_content(data: &[u8]) {
    let recipient = KEY.public_key().unwrap();
    let sealer = BrickSealer::new(STORE, Epoch::FIRST, Class::Metadata, &[recipient]).unwrap();
    let mut builder = FrameBuilder::new();
    if data.is_empty() || data.len() > 1 << 20 {
        return;
    }
    builder.push(data);
    let mut frame = CompressedFrame::new();
    let header = frame_header_length(1);
    builder
        .compress(&mut Compressor::new(), 1, header, Pad::None, &mut frame)
        .unwrap();
    sealer.seal_frame(0, &mut frame).unwrap();
    let opener = KEY.opener(STORE).unwrap();
    if let Ok(snapshot) = open_snapshot(&opener, Path::new("snapshot"), frame.bytes) {
        let mut written = Vec::new();
        snapshot.encode(&mut written).unwrap();
        assert_eq!(Snapshot::decode(&written), Ok(snapshot));
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&[mode, low, high], data)) = data.split_first_chunk() else {
        return;
    };
    let number = u16::from_le_bytes([low, high]);
    match mode % 3 {
        0 => any_index(data, usize::from(number).max(1)),
        1 => any_streams(data, u64::from(number)),
        _ => any_content(data),
    }
});
