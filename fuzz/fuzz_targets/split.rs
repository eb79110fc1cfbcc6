//! The splitter loses and invents nothing, and finds the same whatever the
//! windows through which it sees the stream.
#![no_main]

use dtar::tar::{BLOCK, BodyKind, Event, MAX_ZERO_BLOCKS, Padding, Splitter};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Default, PartialEq)]
struct Found {
    /// All bytes that the splitter reported, in order.
    stream: Vec<u8>,
    /// The segments: what each is, and where it ends.
    segments: Vec<(String, usize)>,
}

impl Found {
    fn zeros(&mut self, count: u64) {
        let length = self.stream.len() + usize::try_from(count).unwrap();
        self.stream.resize(length, 0);
    }

    fn segment(&mut self, what: String) {
        self.segments.push((what, self.stream.len()));
    }
}

/// Splits `data` through windows whose lengths `length` tells.
fn split(data: &[u8], mut length: impl FnMut() -> usize) -> Found {
    let mut splitter = Splitter::new();
    let mut found = Found::default();
    let (mut position, mut window) = (0, length());
    loop {
        let end = data.len().min(position + window);
        let step = splitter.next(&data[position..end], end == data.len());
        let consumed = &data[position..position + step.consumed];
        position += step.consumed;
        assert_eq!(splitter.offset(), position as u64);
        window = (end - position).max(length());
        match step.event {
            Event::NeedMore => {
                assert!(end < data.len(), "more is needed at the end");
                window = end - position + length();
            }
            Event::ZeroBlocks(count) => {
                assert!((1..=MAX_ZERO_BLOCKS).contains(&count));
                found.zeros(count * BLOCK as u64);
                found.segment("zero blocks".to_owned());
            }
            Event::Group => {
                found.stream.extend_from_slice(splitter.group());
                found.segment("group".to_owned());
            }
            Event::BodyStart { kind, zeros } => {
                if kind == BodyKind::Member {
                    found.stream.extend_from_slice(splitter.group());
                    found.segment(format!("{:?}", splitter.head()));
                }
                found.segment(format!("{kind:?}"));
                found.zeros(zeros);
                found.stream.extend_from_slice(splitter.carried());
            }
            Event::Body => {
                assert!(!consumed.is_empty());
                found.stream.extend_from_slice(consumed);
            }
            Event::BodyEnd { padding } => {
                found.segment("body".to_owned());
                found.stream.extend_from_slice(consumed);
                if padding == Padding::Usual {
                    assert!(consumed.iter().all(|&byte| byte == 0));
                }
                found.segment(format!("{padding:?}"));
            }
            Event::End => break,
        }
    }
    assert_eq!(position, data.len());
    found
}

/// The same with good checksums in all ustar headers, so that what the fuzzer
/// changed in one is looked at.
fn with_good_checksums(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    for block in data.chunks_exact_mut(BLOCK) {
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
    let whole = split(data, || usize::MAX / 4);
    assert!(whole.stream == data, "the stream is not what went in");
    // Windows from one byte to two blocks, as the data has it.
    let mut bytes = data.iter().cycle();
    let pieces = split(data, || {
        bytes.next().map_or(1, |&byte| usize::from(byte) * 4 + 1)
    });
    assert_eq!(whole, pieces);
}
