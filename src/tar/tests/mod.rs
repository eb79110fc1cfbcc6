//! Behaviour of the splitter as a whole.

mod corpus;
mod made;
mod properties;
mod rewriting;
mod rules;
mod vectors;

use super::{BLOCK, BodyHead, BodyKind, Event, MAX_ZERO_BLOCKS, Padding, Splitter};

/// One reported segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    Group(Vec<u8>),
    Zeros(u64),
    Body {
        kind: BodyKind,
        /// Of a member: its group and what was said about it.
        member: Option<(Vec<u8>, BodyHead)>,
        body: Vec<u8>,
        padding: Padding,
        padding_bytes: Vec<u8>,
    },
}

impl Segment {
    pub(super) fn append_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Group(group) => out.extend_from_slice(group),
            Self::Zeros(count) => {
                let length = BLOCK * usize::try_from(*count).unwrap();
                out.resize(out.len() + length, 0);
            }
            Self::Body {
                member,
                body,
                padding_bytes,
                ..
            } => {
                if let Some((group, _)) = member {
                    out.extend_from_slice(group);
                }
                out.extend_from_slice(body);
                out.extend_from_slice(padding_bytes);
            }
        }
    }
}

/// All segments of `stream`, seen through windows that grow by what `growth` says.
pub(super) fn split_in(stream: &[u8], mut growth: impl FnMut() -> usize) -> Vec<Segment> {
    let mut splitter = Splitter::new();
    let (mut start, mut end) = (0, 0);
    let mut segments = Vec::new();
    loop {
        let window = &stream[start..end];
        let step = splitter.next(window, end == stream.len());
        let consumed = &window[..step.consumed];
        start += step.consumed;
        assert_eq!(splitter.offset(), start as u64);
        match step.event {
            Event::NeedMore => {
                assert!(end < stream.len(), "more is wanted where nothing follows");
                assert!(end - start < BLOCK, "so many bytes must suffice");
                end = stream.len().min(end + growth().max(1));
            }
            Event::ZeroBlocks(count) => {
                assert!((1..=MAX_ZERO_BLOCKS).contains(&count));
                segments.push(Segment::Zeros(count));
            }
            Event::Group => {
                let group = splitter.group();
                assert!(!group.is_empty() && group.len().is_multiple_of(BLOCK));
                segments.push(Segment::Group(group.to_vec()));
            }
            Event::BodyStart { kind, zeros } => {
                let mut body = vec![0; usize::try_from(zeros).unwrap()];
                body.extend_from_slice(splitter.carried());
                let member = (kind == BodyKind::Member)
                    .then(|| (splitter.group().to_vec(), splitter.head().clone()));
                segments.push(Segment::Body {
                    kind,
                    member,
                    body,
                    padding: Padding::Usual,
                    padding_bytes: Vec::new(),
                });
            }
            Event::Body => {
                assert!(!consumed.is_empty());
                let Some(Segment::Body { body, .. }) = segments.last_mut() else {
                    panic!("a body must have begun");
                };
                body.extend_from_slice(consumed);
            }
            Event::BodyEnd { padding: found } => {
                let Some(Segment::Body {
                    padding,
                    padding_bytes,
                    ..
                }) = segments.last_mut()
                else {
                    panic!("a body must have begun");
                };
                *padding = found;
                padding_bytes.extend_from_slice(consumed);
            }
            Event::End => {
                assert_eq!(start, stream.len());
                return segments;
            }
        }
    }
}

/// All segments of `stream`, seen as a whole.
pub(super) fn split(stream: &[u8]) -> Vec<Segment> {
    split_in(stream, || usize::MAX / 2)
}

/// The stream that the segments make up.
pub(super) fn join(segments: &[Segment]) -> Vec<u8> {
    let mut stream = Vec::new();
    for segment in segments {
        segment.append_to(&mut stream);
    }
    stream
}

/// Splits `stream` whole and in windows of every kind, and expects the same
/// segments, that nothing is lost, and that every segment is as the page allows.
pub(super) fn check(stream: &[u8]) -> Vec<Segment> {
    let segments = split(stream);
    assert!(join(&segments) == stream, "split and join differ");
    check_shape(&segments);
    let mut state = 1_u32;
    let random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as usize % 1_500
    };
    assert_eq!(split_in(stream, random), segments);
    assert_eq!(split_in(stream, || BLOCK), segments);
    if stream.len() < 50_000 {
        assert_eq!(split_in(stream, || 1), segments);
    }
    segments
}

fn check_shape(segments: &[Segment]) {
    let kinds: Vec<_> = segments
        .iter()
        .map(|segment| match segment {
            Segment::Body { kind, .. } => Some(*kind),
            _ => None,
        })
        .collect();
    let tails = kinds
        .iter()
        .filter(|kind| **kind == Some(BodyKind::Tail))
        .count();
    assert_eq!((tails, kinds.last()), (1, Some(&Some(BodyKind::Tail))));
    for pair in kinds.windows(2) {
        assert_ne!(pair, [Some(BodyKind::Opaque), Some(BodyKind::Opaque)]);
    }
    for segment in segments {
        let Segment::Body {
            kind,
            member,
            body,
            padding,
            ..
        } = segment
        else {
            continue;
        };
        match member {
            Some((group, head)) => check_member(group, head, body, *padding),
            None => assert_eq!(*padding, Padding::Usual),
        }
        assert!(*kind != BodyKind::Opaque || !body.is_empty());
    }
}

fn check_member(group: &[u8], head: &BodyHead, body: &[u8], padding: Padding) {
    assert_eq!(group.len(), head.group_length);
    assert_eq!(head.group_length % BLOCK, 0);
    assert_eq!(head.main % BLOCK, 0);
    assert!(head.main + BLOCK + head.map_length <= head.group_length);
    let missing = match padding {
        Padding::Missing(missing) => missing,
        _ => 0,
    };
    assert_eq!(body.len() as u64 + missing, head.declared);
    assert_eq!(head.declared == 0, head.bodyless);
    for range in &head.pax_sizes {
        let digits = &group[range.start as usize..range.end as usize];
        assert!(!digits.is_empty() && digits.iter().all(u8::is_ascii_digit));
    }
}
