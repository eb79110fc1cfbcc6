//! Sparse members by hand: maps that are long, broken, or lie.

use crate::check::all_ways;
use crate::common::Case;
use crate::common::block::{BLOCK, Header, Stream};

/// An old GNU sparse header: up to four entries, and whether blocks with more follow.
fn old_gnu(size: u64, entries: &[(u64, u64)], more: bool) -> Header {
    let mut header = Header::gnu("sparse", size);
    for (entry, offset) in entries.iter().zip((386..).step_by(24)) {
        header = header.field(offset, octal_pair(*entry).as_bytes());
    }
    header
        .field(482, &[u8::from(more)])
        .field(483, b"00010000000\0")
        .typeflag(b'S')
}

fn octal_pair((offset, length): (u64, u64)) -> String {
    format!("{offset:011o}\0{length:011o}\0")
}

/// A block with up to 21 entries more.
fn more_entries(entries: &[(u64, u64)], more: bool) -> Vec<u8> {
    let mut block: Vec<u8> = entries
        .iter()
        .flat_map(|entry| octal_pair(*entry).into_bytes())
        .collect();
    block.resize(BLOCK, 0);
    block[504] = u8::from(more);
    block
}

fn case(name: &str, middle: impl FnOnce(Stream) -> Stream) -> Case {
    let stream = middle(Stream::new().file("before", b"before"));
    Case::new(name, stream.file("after", b"after").end())
}

#[test]
fn old_gnu_sparse_members() {
    let entries: Vec<_> = (0..25).map(|n| (n * 100_000, 10)).collect();
    let body = [b'd'; 250];
    all_ways(&[
        case("one piece", |s| {
            s.header(&old_gnu(10, &entries[..1], false))
                .body(&body[..10])
        }),
        case("large piece", |s| {
            s.header(&old_gnu(5000, &[(0, 5000)], false))
                .body(&[b'd'; 5000])
        }),
        case("nothing but a hole", |s| {
            s.header(&old_gnu(0, &[(0, 0)], false))
        }),
        case("an extension block", |s| {
            s.header(&old_gnu(250, &entries[..4], true))
                .raw(&more_entries(&entries[4..], false))
                .body(&body)
        }),
        case("three extension blocks", |s| {
            s.header(&old_gnu(250, &entries[..4], true))
                .raw(&more_entries(&entries[4..8], true))
                .raw(&more_entries(&entries[8..9], true))
                .raw(&more_entries(&entries[9..], false))
                .body(&body)
        }),
        case("blocks that never end", |s| {
            (0..40).fold(s.header(&old_gnu(250, &entries[..4], true)), |s, _| {
                s.raw(&more_entries(&entries[..4], true))
            })
        }),
        case("a sum that lies", |s| {
            s.header(&old_gnu(10, &entries[..4], false))
                .body(&body[..10])
        }),
    ]);
}

/// A member of pax sparse format 1.0 with that map and data.
fn pax_1_0(stream: Stream, map: &str, data: &[u8]) -> Stream {
    let mut body = Stream::new().body(map.as_bytes()).0;
    body.extend_from_slice(data);
    stream
        .pax(
            b'x',
            &[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.name", b"sparse"),
                ("GNU.sparse.realsize", b"1000000"),
            ],
        )
        .header(&Header::file("GNUSparseFile.0/sparse", body.len() as u64))
        .body(&body)
}

#[test]
fn pax_sparse_1_0_maps() {
    let long = (0..2000).fold(String::new(), |map, n| map + &format!("{}\n1\n", n * 400));
    let data = [b'd'; 2000];
    all_ways(&[
        case("one piece", |s| pax_1_0(s, "1\n500\n10\n", &data[..10])),
        case("large piece", |s| pax_1_0(s, "1\n500\n2000\n", &data)),
        case("no piece", |s| pax_1_0(s, "0\n", b"")),
        case("long map", |s| pax_1_0(s, &format!("2000\n{long}"), &data)),
        case("count beyond the map", |s| {
            pax_1_0(s, "7\n500\n10\n", &data[..10])
        }),
        case("huge count", |s| {
            pax_1_0(s, "99999999999999999999\n500\n10\n", &data[..10])
        }),
        case("no number", |s| pax_1_0(s, "one\n500\n10\n", &data[..10])),
        case("no line break", |s| pax_1_0(s, "1", &data[..10])),
        case("endless digits", |s| {
            pax_1_0(s, &"1".repeat(5000), &data[..10])
        }),
        case("no map", |s| pax_1_0(s, "", b"")),
        case("no data", |s| pax_1_0(s, "1\n500\n10\n", b"")),
    ]);
}

#[test]
fn pax_sparse_0_0_and_0_1() {
    let small: [(&str, &[u8]); 4] = [
        ("GNU.sparse.size", b"1000000"),
        ("GNU.sparse.numblocks", b"1"),
        ("GNU.sparse.offset", b"500"),
        ("GNU.sparse.numbytes", b"10"),
    ];
    let mapped: [(&str, &[u8]); 4] = [
        ("GNU.sparse.size", b"1000000"),
        ("GNU.sparse.numblocks", b"2"),
        ("GNU.sparse.name", b"sparse"),
        ("GNU.sparse.map", b"500,10,900,4000"),
    ];
    let file = |s: Stream, size: usize| {
        s.header(&Header::file("GNUSparseFile.0/x", size as u64))
            .body(&vec![b'd'; size])
    };
    all_ways(&[
        case("0.0", |s| file(s.pax(b'x', &small), 10)),
        case("0.1", |s| file(s.pax(b'x', &mapped), 4010)),
        case("0.1, less data", |s| file(s.pax(b'x', &mapped), 10)),
        case("0.1 and a size", |s| {
            file(s.pax(b'x', &mapped).pax(b'x', &[("size", b"4010")]), 4010)
        }),
    ]);
}
