//! Streams made by hand: not tar at all, or only nearly.

use crate::check::{all_ways, all_ways_listed};
use crate::common::Case;
use crate::common::block::{BLOCK, Header, Stream, base256};
use crate::common::source::Random;

/// A regular file on each side of what stands between, so that readers and
/// splitter have to find their way back.
fn between(name: &str, middle: impl FnOnce(Stream) -> Stream) -> Case {
    let stream = middle(Stream::new().file("before", b"before"));
    Case::new(name, stream.file("after", b"after").end())
}

#[test]
fn no_tar_at_all() {
    let mut random = Random(10);
    let mut cases = vec![
        Case::new("nothing", b""),
        Case::new("one byte", b"x"),
        Case::new("a text", b"not a tar\n".repeat(1000)),
        Case::new("noise", random.bytes(300_001)),
        Case::new("0xff", vec![0xff; 20_000]),
    ];
    for zeros in [1, 511, 512, 513, 1024, 10_240, 1_000_003] {
        cases.push(Case::new(format!("{zeros} zeros"), vec![0; zeros]));
    }
    all_ways(&cases);
}

#[test]
fn bodies_of_every_size() {
    let mut random = Random(11);
    let mut stream = Stream::new();
    for size in [
        0, 1, 2, 511, 512, 513, 2047, 2048, 2049, 4095, 4096, 4097, 8191, 65_535, 65_536, 65_537,
    ] {
        stream = stream.file(&format!("noise-{size}"), &random.bytes(size));
        stream = stream.file(&format!("zeros-{size}"), &vec![0; size]);
    }
    let mut holes = vec![0; 6 << 20];
    for place in [0, 70_000, 3 << 20, (6 << 20) - 1] {
        holes[place] = 1;
    }
    let large = random.bytes((5 << 20) + 1);
    let cases = [
        Case::new("sizes", stream.end()),
        Case::new("holes", Stream::new().file("holes", &holes).end()),
        Case::new("large", Stream::new().file("large", &large).end()),
        Case::new(
            "the same again and again",
            (0..50)
                .fold(Stream::new(), |stream, number| {
                    stream.file(&format!("copy-{number}"), &large[..100_000])
                })
                .end(),
        ),
    ];
    all_ways_listed(&cases);
}

#[test]
fn ends_that_are_none() {
    let file = || Stream::new().file("file", b"a body");
    let cases = [
        Case::new("no end", file().0),
        Case::new("one zero block", file().zeros(1).0),
        Case::new("three zero blocks", file().zeros(3).0),
        Case::new("half a zero block more", file().zeros(2).raw(&[0; 200]).0),
        Case::new("half a zero block", file().raw(&[0; 200]).0),
        Case::new("a byte behind", file().zeros(2).raw(b"x").0),
        Case::new("garbage behind", file().zeros(2).raw(&[b'x'; 5000]).0),
        Case::new("a member behind", file().zeros(2).file("late", b"late").0),
        Case::new(
            "no padding",
            file().header(&Header::file("x", 3)).raw(b"abc").0,
        ),
        Case::new("no body", file().header(&Header::file("x", 3)).0),
        Case::new(
            "half a header",
            file().raw(&Header::file("x", 3).0[..300]).0,
        ),
        Case::new(
            "only a header",
            Stream::new().header(&Header::file("x", 0)).0,
        ),
    ];
    all_ways(&cases);
}

#[test]
fn padding_that_is_not_zero() {
    let member = |stream: Stream, byte, body: &[u8]| {
        let header = Header::file("padded", body.len() as u64);
        stream.header(&header).raw(body).pad(byte)
    };
    let cases = [
        between("0xff", |stream| member(stream, 0xff, b"body")),
        between("one byte", |stream| member(stream, b'x', &[b'b'; 511])),
        between("spaces", |stream| member(stream, b' ', &[b'b'; 513])),
        between("after zeros", |stream| member(stream, 1, &[0; 100])),
    ];
    all_ways_listed(&cases);
}

#[test]
fn checksums_of_every_form() {
    let header = Header::file("caf\u{e9}-\u{e9}\u{e9}\u{e9}", 4);
    let sum = |form: &dyn Fn(u64) -> String| {
        let digits = std::str::from_utf8(&header.0[148..154]).unwrap();
        let form = form(u64::from_str_radix(digits, 8).unwrap());
        assert_eq!(form.len(), 8);
        header.clone().field(148, form.as_bytes())
    };
    let forms: [(&str, Header); 12] = [
        ("six digits, zero, space", sum(&|n| format!("{n:06o}\0 "))),
        ("six digits, space, zero", sum(&|n| format!("{n:06o} \0"))),
        ("seven digits, zero", sum(&|n| format!("{n:07o}\0"))),
        ("seven digits, space", sum(&|n| format!("{n:07o} "))),
        ("eight digits", sum(&|n| format!("{n:08o}"))),
        ("leading spaces", sum(&|n| format!("{n:>6o}\0 "))),
        ("leading zero byte", sum(&|n| format!("\0{n:06o} "))),
        ("two leading zero bytes", sum(&|n| format!("\0\0{n:05o} "))),
        ("trailing garbage", sum(&|n| format!("{n:06o}\0x"))),
        ("wrong by one", sum(&|n| format!("{:06o}\0 ", n + 1))),
        ("all spaces", sum(&|_| " ".repeat(8))),
        ("signed", header.clone().signed_sum()),
    ];
    let cases =
        forms.map(|(name, header)| between(name, |stream| stream.header(&header).body(b"body")));
    all_ways(&cases);
}

#[test]
fn sizes_of_every_form() {
    let fields: [(&str, [u8; 12]); 20] = [
        ("usual", *b"00000000004\0"),
        ("space", *b"00000000004 "),
        ("twelve digits", *b"000000000004"),
        ("leading spaces", *b"          4\0"),
        ("leading spaces, no end", *b"           4"),
        ("short", *b"4\0\0\0\0\0\0\0\0\0\0\0"),
        ("short, then spaces", *b"4           "),
        ("short, then garbage", *b"4\0garbage!!!"),
        ("leading zero byte", *b"\x0000000000004"),
        ("blank", *b"            "),
        ("zero bytes", [0; 12]),
        ("no digit", *b"0000000000x\0"),
        ("digit nine", *b"00000000009\0"),
        ("minus", *b"-0000000004\0"),
        ("base 256", base256(4)),
        ("base 256, 2^40", base256(1 << 40)),
        ("base 256, 2^63 - 1", base256((1 << 63) - 1)),
        ("base 256, 2^63", base256(1 << 63)),
        ("base 256, 2^64", *b"\x80\0\0\x01\0\0\0\0\0\0\0\0"),
        ("base 256, minus one", [0xff; 12]),
    ];
    let cases = fields.map(|(name, field)| {
        between(name, |stream| {
            let header = Header::gnu("file", 0).size_field(&field);
            stream.header(&header).body(b"body")
        })
    });
    all_ways(&cases);
}

#[test]
fn other_numbers_in_base_256() {
    let large = |offset: usize, width: usize| {
        let mut field = vec![0; width];
        field[0] = 0x80;
        field[width - 4] = 7;
        Header::gnu("file", 4).field(offset, &field).sum()
    };
    let before_1970 = Header::gnu("file", 4).field(136, &[0xff; 12]).sum();
    let cases = [
        between("user", |stream| stream.header(&large(108, 8)).body(b"body")),
        between("group", |stream| {
            stream.header(&large(116, 8)).body(b"body")
        }),
        between("time", |stream| {
            stream.header(&large(136, 12)).body(b"body")
        }),
        between("early", |stream| stream.header(&before_1970).body(b"body")),
    ];
    all_ways(&cases);
}

#[test]
fn zero_blocks_in_the_middle() {
    let cases = [1, 2, 3, 127, 128, 129, 300, 5000].map(|count| {
        between(&format!("{count} zero blocks"), |stream| {
            stream.zeros(count)
        })
    });
    all_ways(&cases);
    all_ways(&[between("zeros and garbage in turn", |mut stream| {
        for count in [1, 2, 130, 1] {
            stream = stream.zeros(count).raw(&[b'g'; BLOCK]);
        }
        stream
    })]);
}

#[test]
fn garbage_between_members() {
    let mut random = Random(12);
    let marker = [
        b"dtarOPAQ".as_slice(),
        &[1, 0, 0, 0, 0, 0, 0, 0],
        &[0xff; 496],
    ]
    .concat();
    let mut cases: Vec<_> = [1, 13, 512, 513, 5000, 5120, 1 << 20]
        .map(|size| {
            let garbage = random.bytes(size);
            between(&format!("{size} bytes"), |stream| stream.raw(&garbage))
        })
        .into();
    cases.push(between("an opaque marker", |stream| stream.raw(&marker)));
    cases.push(Case::new("only an opaque marker", marker));
    all_ways(&cases);
}

#[test]
fn types_of_every_kind() {
    let cases: Vec<_> = (0..=255)
        .step_by(5)
        .chain(*b"\x00\x011234567ABDEIMNSVXgKLx")
        .map(|typeflag: u8| {
            let with_body = Header::gnu("with", 4).link("target").typeflag(typeflag);
            let without = Header::gnu("without", 0).link("target").typeflag(typeflag);
            between(&format!("type {typeflag}"), |stream| {
                stream.header(&with_body).body(b"body").header(&without)
            })
        })
        .collect();
    all_ways(&cases);
}

#[test]
fn links_and_devices_that_claim_a_size() {
    let cases: Vec<_> = b"123456"
        .iter()
        .flat_map(|&typeflag| {
            let header = Header::gnu("claims", 1000)
                .link("target")
                .typeflag(typeflag);
            let kind = char::from(typeflag);
            [
                between(&format!("{kind}, no body"), |s| s.header(&header)),
                between(&format!("{kind}, body"), |s| {
                    s.header(&header).body(&[b'b'; 1000])
                }),
                between(&format!("{kind}, zeros"), |s| s.header(&header).zeros(2)),
                Case::new(format!("{kind}, end"), Stream::new().header(&header).end()),
                Case::new(
                    format!("{kind}, cut"),
                    Stream::new().header(&header).raw(b"xy").0,
                ),
            ]
        })
        .collect();
    all_ways(&cases);
}

#[test]
fn streams_that_look_like_dtar_or_zstd() {
    let index = b"dtarBODY\x01\0\0\0\0\0\0\0".repeat(40);
    let zstd = Header::file("x", 4).field(0, b"\x28\xb5\x2f\xfdname").sum();
    let end = [b"dtarIEND\x01\0\0\0\0\0\0\0".as_slice(), &[0; 48]].concat();
    let cases = [
        between("a body like a record", |stream| {
            stream.file("record", &index)
        }),
        Case::new(
            "the magic of zstd",
            Stream::new().header(&zstd).body(b"body").end(),
        ),
        Case::new(
            "an end",
            [Stream::new().file("a", b"a").end(), end].concat(),
        ),
        Case::new("only a zstd magic", b"\x28\xb5\x2f\xfd"),
    ];
    all_ways(&cases);
}
