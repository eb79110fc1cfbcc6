//! Any bytes are split without loss, whatever the windows through which they
//! are seen, and every header group that is rewritten comes back.
#![no_main]

use dtar::format::record::{Item, Kind, Record};
use dtar::id::ChunkHash;
use dtar::tar::rewrite::{Undo, place, restore, write_size};
use dtar::tar::{BodyKind, Event, Globals, Member, Padding, Part, Splitter, parts};
use libfuzzer_sys::fuzz_target;

/// A reported segment: what it is, and its bytes.
#[derive(Debug, Clone, PartialEq)]
enum Segment {
    Zeros,
    Group,
    Member,
    Body(BodyKind),
    Padding(Padding),
}

/// All segments of `stream`, through windows that grow by what `growth` says.
fn split(stream: &[u8], mut growth: impl FnMut() -> usize) -> Vec<(Segment, Vec<u8>)> {
    let mut splitter = Splitter::new();
    let mut segments = Vec::new();
    let (mut start, mut end) = (0, 0);
    loop {
        let step = splitter.next(&stream[start..end], end == stream.len());
        let consumed = &stream[start..start + step.consumed];
        start += step.consumed;
        match step.event {
            Event::NeedMore => {
                assert!(end < stream.len() && end - start < 512);
                end = stream.len().min(end + growth().max(1));
            }
            Event::ZeroBlocks(count) => {
                assert!((1..=128).contains(&count));
                segments.push((Segment::Zeros, vec![0; 512 * count as usize]));
            }
            Event::Group => segments.push((Segment::Group, splitter.group().to_vec())),
            Event::BodyStart { kind, zeros } => {
                if kind == BodyKind::Member {
                    check_member(&splitter);
                    segments.push((Segment::Member, splitter.group().to_vec()));
                }
                let mut body = vec![0; zeros as usize];
                body.extend_from_slice(splitter.carried());
                segments.push((Segment::Body(kind), body));
            }
            Event::Body => {
                let (_, body) = segments.last_mut().expect("a body has begun");
                assert!(!consumed.is_empty());
                body.extend_from_slice(consumed);
            }
            Event::BodyEnd { padding } => {
                segments.push((Segment::Padding(padding), consumed.to_vec()));
            }
            Event::End => return segments,
        }
    }
}

/// The member's group comes back after it was rewritten.
fn check_member(splitter: &Splitter) {
    let (group, head) = (splitter.group(), splitter.head());
    let undo = Undo::of(group, head);
    let record = Record {
        kind: Kind::Member,
        size_form: undo.size_form,
        checksum_form: undo.checksum_form,
        body_length: head.declared,
        body_hash: ChunkHash([0; 32]),
        items: vec![Item::Whole],
        patches: undo.patches,
        padding: None,
        declared: None,
    };
    for length in [80, 10_000] {
        let mut rewritten = group.to_vec();
        write_size(&mut rewritten, head, place(head, length), length);
        restore(&mut rewritten, &record).expect("own records are good");
        assert!(rewritten == group);
    }
}

/// The same with good checksums in all ustar headers, so that what the fuzzer
/// changed in one is looked at.
fn with_good_checksums(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    for block in data.chunks_exact_mut(512) {
        if block[257..262] == *b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    data
}

fuzz_target!(|data: &[u8]| {
    check(data);
    check(&with_good_checksums(data));
});

fn check(data: &[u8]) {
    let whole = split(data, || usize::MAX / 2);
    let joined: Vec<u8> = whole.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    assert!(joined == data, "split and join differ");
    assert!(split(data, || 512) == whole);
    let mut state = data.len();
    let odd = || {
        state = state.wrapping_mul(25_173).wrapping_add(13_849) % 65_536;
        state % 1_500
    };
    assert!(split(data, odd) == whole);
    // The same bytes as a run of an index that somebody forged.
    let mut globals = Globals::default();
    for part in parts(data, true) {
        if let Part::Group { bytes, .. } = part {
            globals.read(bytes);
            let _ = Member::parse(bytes, &globals);
        }
    }
}
