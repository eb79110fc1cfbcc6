//! The scanner of `dtar salvage`: whatever the bytes are and however they come, it finds
//! the same, each structure within the bytes and none within another; and frames that are
//! put into them whole are found.
#![no_main]

use std::sync::LazyLock;

use dtar::brick::{
    BrickSealer, CompressedFrame, Compressor, FrameBuilder, Pad, frame_header_length,
};
use dtar::crypto::Key;
use dtar::id::{Class, Epoch, StoreId};
use dtar::salvage::{Found, Scanner, Structure};
use libfuzzer_sys::fuzz_target;

/// Header and frame of a brick.
static PIECES: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let key = Key::generate().unwrap();
    let recipient = key.public_key().unwrap();
    let sealer =
        BrickSealer::new(StoreId([1; 16]), Epoch::FIRST, Class::Data, &[recipient]).unwrap();
    let mut builder = FrameBuilder::new();
    builder.push(b"a chunk");
    let mut frame = CompressedFrame::new();
    builder
        .compress(
            &mut Compressor::new(),
            1,
            frame_header_length(1),
            Pad::None,
            &mut frame,
        )
        .unwrap();
    sealer.seal_frame(0, &mut frame).unwrap();
    [sealer.header(), frame.bytes]
});

fn scan(bytes: &[u8], piece: usize) -> Vec<Found> {
    let mut scanner = Scanner::new(piece);
    let mut found = Vec::new();
    scanner.begin(0);
    for piece in bytes.chunks(piece) {
        scanner.room()[..piece.len()].copy_from_slice(piece);
        scanner.advance(piece.len());
        found.extend(std::iter::from_fn(|| scanner.next_found()));
    }
    scanner.end();
    found.extend(std::iter::from_fn(|| scanner.next_found()));
    found
}

fuzz_target!(|data: &[u8]| {
    let Some((&[piece, mode], data)) = data.split_first_chunk() else {
        return;
    };
    // Bytes of the input stand for themselves, or for a header, a frame, a part of one.
    let mut bytes = Vec::new();
    let mut frames = Vec::new();
    let [header, frame] = &*PIECES;
    if mode % 2 == 0 {
        bytes.extend_from_slice(data);
    } else {
        for &byte in data.iter().take(64) {
            match byte % 4 {
                0 => bytes.push(byte),
                1 => bytes.extend_from_slice(header),
                2 => {
                    frames.push(bytes.len() as u64);
                    bytes.extend_from_slice(frame);
                }
                _ => bytes.extend_from_slice(&frame[..frame.len() * usize::from(byte) / 256]),
            }
        }
    }
    let found = scan(&bytes, usize::from(piece) + 1);
    assert_eq!(found, scan(&bytes, bytes.len().max(1)));
    let mut end = 0;
    for found in &found {
        if let Found::Whole { offset, length, .. } = *found {
            assert!(offset >= end);
            end = offset + length as u64;
            assert!(end <= bytes.len() as u64);
        }
    }
    for start in frames {
        assert!(found.iter().any(|found| matches!(found, Found::Whole {
            structure: Structure::Frame, offset, ..
        } if *offset == start)));
    }
});
