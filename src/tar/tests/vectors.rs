//! Small streams and their segments, for whoever writes another splitter
//! (`formats/vectors/README.md`).

use std::fmt::Write as _;
use std::path::PathBuf;

use super::super::header::tests::{header, seal};
use super::super::header::{CHECKSUM_FIELD, SIZE_FIELD, signed_checksum};
use super::super::pax::tests::record;
use super::super::rewrite::{Placement, Undo, place, restore, write_size};
use super::super::{BLOCK, BodyHead, BodyKind, Padding};
use super::{Segment, check};
use crate::format::record::{Item, Kind, Record};
use crate::id::ChunkHash;

/// Record lengths for which a vector tells how the header is rewritten.
const RECORD_LENGTHS: [usize; 2] = [90, 1_000];

fn pad(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

fn extension(type_flag: u8, body: &[u8]) -> Vec<u8> {
    pad([&header(type_flag, body.len() as u64)[..], body].concat())
}

/// The pax records of sparse format 1.0, and more.
fn sparse_1_0(more: &[u8]) -> Vec<u8> {
    let mut body = record("GNU.sparse.major", "1");
    body.extend(record("GNU.sparse.minor", "0"));
    body.extend_from_slice(more);
    extension(b'x', &body)
}

fn with_field(mut block: [u8; BLOCK], offset: usize, bytes: &[u8]) -> Vec<u8> {
    block[offset..offset + bytes.len()].copy_from_slice(bytes);
    if offset != CHECKSUM_FIELD.start {
        seal(&mut block);
    }
    block.to_vec()
}

/// Name, comment and stream of each vector.
fn wanted() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let mut vectors = plain();
    vectors.extend(groups());
    vectors.extend(sparse());
    vectors
}

fn plain() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let file = header(b'0', 5).to_vec();
    let body = pad(b"12345".to_vec());
    let directory = header(b'5', 0).to_vec();
    let zeros = |count: usize| vec![0; count * BLOCK];
    let garbage = vec![1; BLOCK];
    vec![
        ("empty", "no bytes at all", vec![]),
        ("short", "fewer than 512 bytes", b"hello".to_vec()),
        (
            "file",
            "one file, end of archive",
            [&file[..], &body, &zeros(2)].concat(),
        ),
        (
            "padding",
            "padding that is not zero",
            [&file[..], b"12345", &[7; 507]].concat(),
        ),
        (
            "padding-cut",
            "the stream ends in the padding",
            [&file[..], b"12345\0\0"].concat(),
        ),
        (
            "padding-none",
            "the stream ends before the padding",
            [&file[..], b"12345"].concat(),
        ),
        (
            "body-cut",
            "the stream ends in the body",
            [&file[..], b"123"].concat(),
        ),
        (
            "link-with-size",
            "a link has a body only if the next block is neither header nor zero",
            {
                let link = header(b'1', 5).to_vec();
                [&link[..], &body, &link, &directory, &link, &zeros(1)].concat()
            },
        ),
        (
            "zeros",
            "128 zero blocks pass, the 129th begins an opaque run",
            [
                &directory[..],
                &zeros(128),
                &directory,
                &zeros(129),
                &directory,
            ]
            .concat(),
        ),
        (
            "zeros-garbage",
            "zero blocks beyond 128 and what follows are one opaque run",
            [&zeros(130)[..], &garbage, &zeros(1), &directory].concat(),
        ),
        (
            "opaque",
            "an opaque run ends before a valid header or with the stream's last byte",
            [&garbage[..], &zeros(2), &directory, &garbage, b"rest"].concat(),
        ),
        (
            "header-fields",
            "sizes and checksums that no form yields, or another form than the first",
            header_fields(),
        ),
        (
            "not-headers",
            "blocks that are almost headers: one opaque run",
            not_headers(),
        ),
    ]
}

fn header_fields() -> Vec<u8> {
    let file = |offset, bytes: &[u8]| {
        let mut member = with_field(header(b'0', 5), offset, bytes);
        member.extend(pad(b"12345".to_vec()));
        member
    };
    let (size, sum) = (SIZE_FIELD.start, CHECKSUM_FIELD.start);
    let with_name = with_field(header(b'0', 5), 0, b"\xff\xfe");
    let signed = signed_checksum(with_name.first_chunk().unwrap());
    let signed = format!("{signed:06o}\0 ");
    let signed = with_field(*with_name.first_chunk().unwrap(), sum, signed.as_bytes());
    [
        file(size, b"00000000005 "),
        file(size, b"000000000005"),
        file(size, b"          5 "),
        file(size, b"\x80\0\0\0\0\0\0\0\0\0\0\x05"),
        file(size, b"5\0garbage!!!"),
        file(sum, b"005350 \0"),
        file(sum, b"0005350\0"),
        file(sum, b"0005350 "),
        file(sum, b"00005350"),
        file(sum, b"  5350\0 "),
        file(sum, b"\x0005350\0 "),
        signed,
        pad(b"12345".to_vec()),
    ]
    .concat()
}

fn not_headers() -> Vec<u8> {
    [
        with_field(header(b'0', 5), CHECKSUM_FIELD.start, b"0005351\0"),
        with_field(header(b'0', 5), CHECKSUM_FIELD.start, b"\0\x005350\0 "),
        with_field(header(b'0', 5), CHECKSUM_FIELD.start, b"        "),
        with_field(
            header(b'0', 5),
            SIZE_FIELD.start,
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfb",
        ),
        with_field(
            header(b'0', 5),
            SIZE_FIELD.start,
            b"\x80\0\0\0\x80\0\0\0\0\0\0\0",
        ),
        with_field(header(b'0', 5), SIZE_FIELD.start, b"0000000000x\0"),
    ]
    .concat()
}

fn groups() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let body = pad(b"12345".to_vec());
    let long = extension(b'L', b"a long name\0");
    let text = [record("size", "0005"), record("size", "-1")].concat();
    let size = extension(b'x', &text);
    let zero = vec![0; BLOCK];
    vec![
        (
            "group",
            "extension headers before a file and before a directory",
            [
                &long[..],
                &size,
                &header(b'0', 0),
                &body,
                &long,
                &header(b'5', 0),
            ]
            .concat(),
        ),
        (
            "group-alone",
            "extension headers that no main header follows, and what they said is forgotten",
            [&size[..], &zero, &header(b'0', 5), &body, &size].concat(),
        ),
        (
            "group-cut",
            "the stream ends within an extension header",
            [&zero[..], &long, &size[..BLOCK + 9]].concat(),
        ),
        (
            "pax-size",
            "pax size counts before the size field; global headers do not",
            [
                &extension(b'g', &record("size", "7"))[..],
                &size,
                &header(b'0', 700),
                &body,
                &extension(b'X', &[record("size", "5"), record("size", "5")].concat()),
                &header(b'0', 0),
                &body,
                &extension(b'x', b"9 size=5\njunk\n9 size=9\n"),
                &header(b'0', 5),
                &body,
            ]
            .concat(),
        ),
    ]
}

fn sparse() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let body = pad(b"12345".to_vec());
    let map = pad(b"1\n10\n5\n".to_vec());
    let mut more = [3; BLOCK];
    more[504] = 1;
    let mut last = more;
    last[504] = 0;
    let old = with_field(header(b'S', 5), 482, &[1]);
    let bad_map = pad(b"1\n10\nx".to_vec());
    vec![
        (
            "sparse-old",
            "old GNU sparse, with extension blocks and without",
            [
                &old[..],
                &more,
                &last,
                &body,
                &header(b'S', 700),
                &[1; 1_024],
            ]
            .concat(),
        ),
        (
            "sparse-old-cut",
            "the stream ends within extension blocks",
            [&old[..], &more, b"12"].concat(),
        ),
        (
            "sparse-0",
            "pax sparse 0.1: no map in the body",
            [
                &extension(b'x', &record("GNU.sparse.map", "10,5"))[..],
                &header(b'0', 5),
                &body,
            ]
            .concat(),
        ),
        (
            "sparse-1",
            "pax sparse 1.0: the map belongs to the group; with nothing behind it there is no body",
            [
                &sparse_1_0(b"")[..],
                &header(b'0', 512 + 5),
                &map,
                &body,
                &sparse_1_0(&record("size", "00512")),
                &header(b'0', 0),
                &pad(b"0\n".to_vec()),
            ]
            .concat(),
        ),
        (
            "sparse-1-bad-map",
            "maps that cannot be read are body",
            [
                &sparse_1_0(b"")[..],
                &header(b'0', 512 + 5),
                &bad_map,
                &body,
                &sparse_1_0(b""),
                &header(b'0', 512 + 5),
                &b"100\n".repeat(128),
                &body,
            ]
            .concat(),
        ),
    ]
}

/// Bytes as hex, runs of eight and more equal bytes as `byte*count`.
fn tokens(bytes: &[u8]) -> String {
    let mut text = String::new();
    for run in bytes.chunk_by(|a, b| a == b) {
        let byte = run[0];
        let long = run.len() >= 8;
        let after_run = text
            .rsplit(' ')
            .next()
            .is_some_and(|token| token.contains('*'));
        if !text.is_empty() && (long || after_run) {
            text.push(' ');
        }
        if long {
            write!(text, "{byte:02x}*{}", run.len()).unwrap();
        } else {
            text.push_str(&format!("{byte:02x}").repeat(run.len()));
        }
    }
    text
}

fn bytes_of(tokens: &str) -> Vec<u8> {
    let byte = |text: &str| u8::from_str_radix(text, 16).unwrap();
    let mut bytes = Vec::new();
    for token in tokens.split_whitespace() {
        match token.split_once('*') {
            Some((value, count)) => {
                let count: usize = count.parse().unwrap();
                bytes.resize(bytes.len() + count, byte(value));
            }
            None => bytes.extend(
                (0..token.len())
                    .step_by(2)
                    .map(|at| byte(&token[at..at + 2])),
            ),
        }
    }
    bytes
}

/// What the vector file says about the segments.
fn told(segments: &[Segment]) -> String {
    let mut text = String::new();
    for segment in segments {
        match segment {
            Segment::Group(group) => writeln!(text, "group: {}", group.len()),
            Segment::Zeros(count) => writeln!(text, "zeros: {count}"),
            Segment::Body {
                member: Some((group, head)),
                body,
                padding,
                padding_bytes,
                ..
            } => {
                writeln!(text, "member: {} {}", group.len(), body.len()).unwrap();
                match padding {
                    Padding::Usual => {}
                    Padding::Explicit => {
                        writeln!(text, "padding: {}", tokens(padding_bytes)).unwrap();
                    }
                    Padding::Missing(_) => writeln!(text, "declared: {}", head.declared).unwrap(),
                }
                tell_rewriting(&mut text, group, head);
                Ok(())
            }
            Segment::Body { kind, body, .. } => {
                let kind = if *kind == BodyKind::Opaque {
                    "opaque"
                } else {
                    "tail"
                };
                writeln!(text, "{kind}: {}", body.len())
            }
        }
        .unwrap();
    }
    text
}

fn tell_rewriting(text: &mut String, group: &[u8], head: &BodyHead) {
    let undo = Undo::of(group, head);
    writeln!(text, "forms: {} {}", undo.size_form, undo.checksum_form).unwrap();
    for patch in &undo.patches {
        writeln!(text, "patch: {} {}", patch.distance, tokens(&patch.bytes)).unwrap();
    }
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
    for length in RECORD_LENGTHS {
        let placement = place(head, length);
        let mut rewritten = group.to_vec();
        write_size(&mut rewritten, head, placement, length);
        let place = match placement {
            Placement::InPlace => "in-place",
            Placement::Aside => "aside",
        };
        write!(text, "record: {length} {place}").unwrap();
        let sizes = head.pax_sizes.iter();
        let ranges = sizes.map(|range| range.start as usize..range.end as usize);
        let fields = [SIZE_FIELD, CHECKSUM_FIELD];
        let fields = fields.map(|field| head.main + field.start..head.main + field.end);
        for range in ranges.chain(fields) {
            let escaped = rewritten[range.clone()].escape_ascii();
            write!(text, " {}=\"{escaped}\"", range.start).unwrap();
        }
        text.push('\n');
        restore(&mut rewritten, &record).unwrap();
        assert!(rewritten == group);
    }
}

fn vector_text(comment: &str, stream: &[u8]) -> String {
    let mut text = format!("comment: {comment}\n");
    let blocks: Vec<_> = stream.chunks(BLOCK).collect();
    for run in blocks.chunk_by(|a, b| a == b) {
        if run
            .iter()
            .all(|block| block.iter().all(|byte| *byte == block[0]))
        {
            let length: usize = run.iter().map(|block| block.len()).sum();
            writeln!(text, "bytes: {:02x}*{length}", run[0][0]).unwrap();
        } else {
            for block in run {
                writeln!(text, "bytes: {}", tokens(block)).unwrap();
            }
        }
    }
    text + &told(&check(stream))
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("formats/vectors/stream")
}

#[test]
fn vectors_are_what_this_code_makes() {
    for (name, comment, stream) in wanted() {
        let path = folder().join(format!("{name}.txt"));
        let text = vector_text(comment, &stream);
        if std::env::var_os("DTAR_BLESS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(found, text, "{}", path.display());
    }
}

#[test]
fn every_vector_is_split_as_it_says() {
    let mut count = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut stream = Vec::new();
        let mut expected = String::new();
        for line in text.lines() {
            match line.split_once(": ").unwrap() {
                ("comment", _) => {}
                ("bytes", tokens) => stream.extend(bytes_of(tokens)),
                _ => writeln!(expected, "{line}").unwrap(),
            }
        }
        assert_eq!(told(&check(&stream)), expected, "{}", path.display());
        count += 1;
    }
    assert!(count >= wanted().len(), "{count} vectors");
}
