//! Frames: what is sealed comes back, what was changed since does not, and whatever
//! stands under a good seal is read or refused.
#![no_main]

use dtar::brick::{
    BrickSealer, CompressedFrame, Compressor, FrameBuilder, FrameError, OpenFrame, OpenScratch,
    Pad, frame_header_length,
};
use dtar::crypto::Key;
use dtar::format::brick::BrickHeader;
use dtar::format::frame::{Codec, FrameHeader};
use dtar::id::{Class, Epoch, StoreId};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

const STORE: StoreId = StoreId([1; 16]);
static KEY: LazyLock<Key> = LazyLock::new(|| Key::generate().unwrap());

fn sealer() -> BrickSealer {
    let recipient = KEY.public_key().unwrap();
    BrickSealer::new(STORE, Epoch::FIRST, Class::Data, &[recipient]).unwrap()
}

fn open(frame: &mut [u8]) -> Result<OpenFrame, FrameError> {
    let mut out = OpenFrame::new();
    let opener = KEY.opener(STORE).unwrap();
    opener
        .open(frame, &mut OpenScratch::new(), &mut out)
        .map(|()| out)
}

/// Chunks go through builder, sealer and opener; then one byte is changed.
fn round_trip(data: &[u8], position: usize) {
    let mut builder = FrameBuilder::new();
    for chunk in data
        .split(|&byte| byte == 0)
        .filter(|chunk| !chunk.is_empty())
    {
        builder.push(chunk);
    }
    let mut frame = CompressedFrame::new();
    let header = frame_header_length(1);
    let compressed = builder.compress(&mut Compressor::new(), 1, header, Pad::Padme, &mut frame);
    assert_eq!(compressed.is_ok(), !builder.is_empty());
    if compressed.is_err() {
        return;
    }
    let sealer = sealer();
    sealer.seal_frame(0, &mut frame).unwrap();
    let brick = BrickHeader::decode(&sealer.header()).unwrap();
    let header = FrameHeader::decode(&frame.bytes).unwrap();
    assert_eq!(brick.require_frame(&header), Ok(()));
    let opened = open(&mut frame.bytes.clone()).unwrap();
    let chunks = (0..opened.chunk_count()).map(|place| opened.chunk(place).unwrap());
    assert!(
        chunks.eq(data
            .split(|&byte| byte == 0)
            .filter(|chunk| !chunk.is_empty()))
    );

    let position = position % frame.bytes.len();
    frame.bytes[position] ^= 1;
    assert!(open(&mut frame.bytes).is_err());
}

/// Any content stands under a good seal.
fn any_content(data: &[u8], codec: Codec) {
    let header_length = frame_header_length(1);
    let mut frame = CompressedFrame::new();
    frame.codec = codec;
    frame.header_length = header_length;
    frame.bytes.resize(header_length, 0);
    frame.bytes.extend_from_slice(data);
    if sealer().seal_frame(0, &mut frame).is_err() {
        return;
    }
    match open(&mut frame.bytes) {
        Ok(opened) => {
            let count = opened.chunk_count();
            assert!(count > 0 && opened.chunk(count).is_none());
            assert!((0..count).all(|place| !opened.chunk(place).unwrap().is_empty()));
        }
        Err(error) => assert!(matches!(error, FrameError::Content(_)), "{error}"),
    }
}

fuzz_target!(|data: &[u8]| {
    let _ = FrameHeader::decode(data);
    let Some((&[mode, low, high], data)) = data.split_first_chunk() else {
        return;
    };
    match mode % 3 {
        0 => round_trip(data, usize::from(u16::from_le_bytes([low, high]))),
        1 => any_content(data, Codec::Stored),
        _ => any_content(data, Codec::Zstd),
    }
});
