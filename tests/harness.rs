//! The harness finds what it is there to find.

mod common;

use common::block::{Header, Stream, pax_record};
use common::listing::{Listing, compare_listings};
use common::source::first_difference;

#[test]
fn an_index_that_lists_otherwise_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, header: &Header| {
        let path = dir.path().join(name);
        std::fs::write(&path, Stream::new().header(header).body(b"abcd").end()).unwrap();
        path
    };
    let header = Header::file("name", 4);
    let stream = write("stream", &header);
    let shorter = header.clone().size_field(b"00000000003\0");
    let listing = compare_listings("sizes", &stream, &write("shorter", &shorter));
    assert!(matches!(listing, Listing::Alike(1) | Listing::Skipped));
    if listing == Listing::Skipped {
        return;
    }
    for (what, other) in [
        ("name", header.clone().field(0, b"mane").sum()),
        ("mode", header.clone().field(100, b"0000600\0").sum()),
        ("time", header.clone().field(136, b"14512345671\0").sum()),
        ("type", header.clone().typeflag(b'5')),
        ("user", header.clone().field(265, b"other").sum()),
        ("group", header.clone().field(116, b"0000001\0").sum()),
        ("checksum", header.clone().field(0, b"mane")),
    ] {
        let index = write(what, &other);
        let found = std::panic::catch_unwind(|| compare_listings(what, &stream, &index));
        assert!(found.is_err(), "another {what} is not found");
    }
}

#[test]
fn differences_are_found_where_they_are() {
    assert_eq!(first_difference(&b"abc"[..], &b"abc"[..]).unwrap(), None);
    for (found, expected, offset) in [
        (&b"abc"[..], &b"abd"[..], 2),
        (b"ab", b"abc", 2),
        (b"abc", b"", 0),
    ] {
        let difference = first_difference(found, expected).unwrap().unwrap();
        assert_eq!(difference.offset, offset);
    }
}

#[test]
fn pax_records_count_themselves() {
    assert_eq!(pax_record("size", b"1"), b"9 size=1\n");
    assert_eq!(pax_record("a", b"1"), b"6 a=1\n");
    for length in 80..120 {
        let record = pax_record("path", &vec![b'p'; length]);
        let claimed: usize = String::from_utf8_lossy(&record)
            .split(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(claimed, record.len());
    }
}
