//! Extension headers by hand: pax, GNU long names, and what nobody should write.

use crate::check::{all_ways, all_ways_listed};
use crate::common::Case;
use crate::common::block::{Header, Stream, base256, pax_record};

/// A member of four bytes behind what `first` writes, with another behind.
fn member(name: &str, declared: u64, first: impl FnOnce(Stream) -> Stream) -> Case {
    let stream = first(Stream::new().file("before", b"before"))
        .header(&Header::file("member", declared))
        .body(b"body");
    Case::new(name, stream.file("after", b"after").end())
}

fn pax_size(name: &str, declared: u64, value: &str) -> Case {
    let name = format!("{name}: size={value} over {declared}");
    member(&name, declared, |stream| {
        stream.pax(b'x', &[("size", value.as_bytes())])
    })
}

#[test]
fn pax_sizes() {
    all_ways_listed(&[
        pax_size("the same", 4, "4"),
        pax_size("instead of zero", 0, "4"),
        pax_size("leading zeros", 0, "0000000000000004"),
    ]);
    all_ways(&[
        pax_size("smaller", 1000, "4"),
        pax_size("none", 4, "0"),
        pax_size("too large", 4, "1000000000000"),
        pax_size("2^63", 4, "9223372036854775808"),
        pax_size("2^64", 4, "18446744073709551616"),
        pax_size("no number", 4, "four"),
        pax_size("minus", 4, "-4"),
        pax_size("plus", 4, "+4"),
        pax_size("space", 4, " 4"),
        pax_size("empty", 4, ""),
        pax_size("fraction", 4, "4.0"),
        pax_size("hexadecimal", 4, "0x4"),
    ]);
}

#[test]
fn pax_sizes_more_than_once() {
    let size = |value: &'static [u8]| ("size", value);
    all_ways(&[
        member("twice in one", 0, |s| {
            s.pax(b'x', &[size(b"9"), size(b"4")])
        }),
        member("in two", 0, |s| {
            s.pax(b'x', &[size(b"9")]).pax(b'x', &[size(b"4")])
        }),
        member("for all", 0, |s| s.pax(b'g', &[size(b"4")])),
        member("for all and one", 0, |s| {
            s.pax(b'g', &[size(b"9")]).pax(b'x', &[size(b"4")])
        }),
        member("Solaris", 4, |s| s.pax(b'X', &[size(b"4")])),
    ]);
}

#[test]
fn pax_headers_that_are_broken() {
    let broken: [(&str, &[u8]); 8] = [
        ("no length", b"size=4\n"),
        ("length too large", b"999 size=4\n"),
        ("length too small", b"3 size=4\n"),
        ("length zero", b"0 size=4\n"),
        (
            "length beyond all numbers",
            b"99999999999999999999999 size=4\n",
        ),
        ("no line break", b"10 size=4x"),
        ("no equals sign", b"9 size 4\n"),
        ("not text", b"\xff\xfe\0\0\xff"),
    ];
    let cases = broken.map(|(name, body)| {
        member(name, 4, |stream| {
            stream
                .header(&Header::extension(b'x', body.len()))
                .body(body)
        })
    });
    all_ways(&cases);
}

#[test]
fn extensions_that_claim_ten_gigabytes() {
    let cases: Vec<_> = b"xgLKX"
        .iter()
        .flat_map(|&typeflag| {
            let header = Header::extension(typeflag, 0).size_field(&base256(10 << 30));
            let octal = Header::extension(typeflag, 0).size_field(b"77777777777\0");
            let kind = char::from(typeflag);
            [
                member(&format!("{kind}, base 256"), 4, |s| {
                    s.header(&header).body(b"short")
                }),
                member(&format!("{kind}, octal"), 4, |s| {
                    s.header(&octal).body(b"short")
                }),
                Case::new(format!("{kind}, alone"), header.0),
            ]
        })
        .collect();
    all_ways(&cases);
}

#[test]
fn extensions_beyond_what_a_group_may_hold() {
    let long = vec![b'n'; (16 << 20) + 1];
    let half = &long[..9 << 20];
    let of = |stream: Stream, typeflag, body: &[u8]| {
        stream
            .header(&Header::extension(typeflag, body.len()))
            .body(body)
    };
    let sandbox = crate::common::sandbox::Sandbox::new();
    for case in [
        member("one of 16 MiB", 4, |s| of(s, b'L', &long)),
        member("two of 9 MiB", 4, |s| of(of(s, b'x', half), b'x', half)),
        member("just below", 4, |s| of(s, b'L', &long[..(16 << 20) - 2048])),
    ] {
        crate::check::whole(&sandbox, &case);
    }
}

#[test]
fn extensions_in_every_order() {
    let long = "l".repeat(300);
    let gnu = |stream: Stream, typeflag, text: &str| {
        let body = [text.as_bytes(), b"\0"].concat();
        stream
            .header(&Header::extension(typeflag, body.len()))
            .body(&body)
    };
    let path: [(&str, &[u8]); 1] = [("path", b"from pax")];
    let mut cases = vec![
        member("L", 4, |s| gnu(s, b'L', &long)),
        member("K and L", 4, |s| gnu(gnu(s, b'K', &long), b'L', &long)),
        member("L twice", 4, |s| gnu(gnu(s, b'L', "first"), b'L', &long)),
        member("x and L", 4, |s| gnu(s.pax(b'x', &path), b'L', &long)),
        member("L and x", 4, |s| gnu(s, b'L', &long).pax(b'x', &path)),
        member("x and g", 4, |s| {
            s.pax(b'x', &path).pax(b'g', &[("comment", b"c")])
        }),
        member("an empty x", 4, |s| s.pax(b'x', &[])),
        member("x and zeros", 4, |s| s.pax(b'x', &path).zeros(1)),
        member("x and garbage", 4, |s| s.pax(b'x', &path).raw(&[b'g'; 512])),
        member("a hundred", 4, |s| {
            (0..100).fold(s, |s, _| s.pax(b'x', &path))
        }),
    ];
    let alone = Stream::new().file("a", b"a").pax(b'x', &path);
    cases.push(Case::new("x at the end", alone.clone().0));
    cases.push(Case::new("x before the end", alone.end()));
    all_ways(&cases);
}

#[test]
fn padding_of_extensions() {
    let record = pax_record("path", b"from pax");
    all_ways(&[member("not zero", 4, |stream| {
        stream
            .header(&Header::extension(b'x', record.len()))
            .raw(&record)
            .pad(b'#')
    })]);
}
