//! The crate's cutter is the page's, and stays so.

use std::fmt::Write as _;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

/// `formats/chunk.md#gear-table`.
fn gear(key: &[u8; 32]) -> [u64; 256] {
    let mut bytes = [0; 2_048];
    blake3::Hasher::new_keyed(key)
        .update(b"gear v1")
        .finalize_xof()
        .fill(&mut bytes);
    let mut entries = bytes.as_chunks::<8>().0.iter();
    std::array::from_fn(|_| u64::from_le_bytes(*entries.next().unwrap()))
}

/// As many bytes of BLAKE3's extendable output over `name`.
fn xof(name: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(name.as_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

/// `formats/chunk.md#cut`, word for word.
#[expect(clippy::many_single_char_names, reason = "the names of the page")]
fn plain_cut(gear: &[u64; 256], offset: u64, body: &[u8]) -> usize {
    let (min, average, max, small, large) = if offset < 4 * 1_024 * 1_024 {
        (
            8_192,
            16_384,
            65_536,
            0x7fff_8000_0000_0000,
            0x7ff8_0000_0000_0000,
        )
    } else if offset < 1_024 * 1_024 * 1_024 {
        (
            16_384,
            65_536,
            524_288,
            0x7fff_e000_0000_0000,
            0x7ffe_0000_0000_0000,
        )
    } else {
        (
            65_536,
            262_144,
            1_048_576,
            0x7fff_f800_0000_0000_u64,
            0x7fff_8000_0000_0000,
        )
    };
    let w = &body[..body.len().min(max)];
    let r = w.len();
    if r <= min {
        return r;
    }
    let mut h = 0_u64;
    let mut a = min;
    while a + 1 < r {
        let m = if a < average { small } else { large };
        h = (h << 2).wrapping_add(gear[usize::from(w[a])] << 1);
        if h & (m << 1) == 0 {
            return a;
        }
        h = h.wrapping_add(gear[usize::from(w[a + 1])]);
        if h & m == 0 {
            return a + 1;
        }
        a += 2;
    }
    r
}

/// The lengths of all chunks of `body`, whose first byte stands at `start`.
fn cuts(chunker: &Chunker, start: u64, body: &[u8]) -> Vec<usize> {
    let mut position = 0;
    let mut lengths = Vec::new();
    while position < body.len() {
        let offset = start + position as u64;
        let length = chunker.cut(offset, &body[position..], true).unwrap();
        assert!((1..=MAX_CHUNK).contains(&length));
        lengths.push(length);
        position += length;
    }
    lengths
}

const STARTS: [u64; 6] = [0, (4 << 20) - 1, 4 << 20, (1 << 30) - 1, 1 << 30, 1 << 50];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_crate_cuts_as_the_page_says(
        key: [u8; 32],
        start in prop::sample::select(&STARTS[..]),
        length in 0..1_200_000_usize,
        period in 1..70_000_usize,
    ) {
        let table = gear(&key);
        let chunker = Chunker::new(&table);
        let mut body = xof("property", period.min(length));
        while body.len() < length {
            let more = (length - body.len()).min(body.len());
            body.extend_from_within(..more);
        }
        let mut position = 0;
        for found in cuts(&chunker, start, &body) {
            let offset = start + position as u64;
            prop_assert_eq!(found, plain_cut(&table, offset, &body[position..]));
            position += found;
        }
    }
}

#[test]
fn nothing_is_decided_too_early() {
    let chunker = Chunker::new(&gear(&[1; 32]));
    for (offset, max) in [(0, 65_536), (4 << 20, 524_288), (1 << 30, 1_048_576)] {
        let body = xof("early", max);
        assert_eq!(chunker.cut(offset, &body[..max - 1], false), None);
        let length = chunker.cut(offset, &body, false);
        assert!(length.is_some());
        assert_eq!(chunker.cut(offset, &xof("early", max + 9), false), length);
    }
    assert_eq!(chunker.cut(0, &[], true), Some(0));
    assert_eq!(chunker.cut(0, &[1], true), Some(1));
}

#[test]
fn the_secret_decides_where_cuts_fall() {
    let body = xof("secret", 1 << 20);
    let cuts_under = |key| cuts(&Chunker::new(&gear(&[key; 32])), 0, &body);
    assert_ne!(cuts_under(1), cuts_under(2));
    assert_eq!(cuts_under(1), cuts_under(1));
}

#[test]
fn averages_are_about_what_the_page_says() {
    let chunker = Chunker::new(&gear(&[3; 32]));
    for (offset, average) in [(0, 16_384), (4 << 20, 65_536), (1 << 30, 262_144)] {
        let body = xof("average", (64 * average).min(4 << 20));
        let found = body.len() / cuts(&chunker, offset, &body).len();
        assert!((average / 2..2 * average).contains(&found), "{found}");
    }
}

#[test]
fn one_byte_that_is_not_zero_is_found() {
    let mut bytes = vec![0; 1_000];
    for length in [0, 1, 255, 256, 257, 1_000] {
        assert!(is_zero(&bytes[..length]));
    }
    for place in 0..1_000 {
        bytes[place] = 0x80;
        assert!(!is_zero(&bytes));
        assert!(is_zero(&bytes[..place]));
        bytes[place] = 0;
    }
}

/// The bytes that a vector's `input` line describes.
fn input(description: &str, length: usize) -> Vec<u8> {
    match description.split_once(' ') {
        Some(("xof", name)) => xof(name, length),
        None if description == "zeros" => vec![0; length],
        _ => panic!("unknown input {description:?}"),
    }
}

fn hex_key(text: &str) -> [u8; 32] {
    text.parse::<crate::id::ChunkHash>().unwrap().0
}

/// One vector file, as it should be.
struct Vector {
    name: &'static str,
    comment: &'static str,
    input: &'static str,
    /// Start offset and length of each case.
    cases: Vec<(u64, usize)>,
}

/// Cases around each of `sizes`.
fn around(start: u64, sizes: [usize; 3]) -> Vec<(u64, usize)> {
    let near = |size| [size - 1, size, size + 1].map(|length| (start, length));
    sizes.into_iter().flat_map(near).collect()
}

fn wanted() -> [Vector; 5] {
    let first = around(0, [8_192, 16_384, 65_536]);
    let second = around(4 << 20, [16_384, 65_536, 524_288]);
    let third = around(1 << 30, [65_536, 262_144, 1_048_576]);
    let steps = vec![
        ((4 << 20) - 1, 200_000),
        ((4 << 20) - 50_000, 300_000),
        (4 << 20, 200_000),
        ((1 << 30) - 1, 600_000),
        ((1 << 30) - 300_000, 1_500_000),
        (1 << 30, 600_000),
        ((1 << 40) + 1, 600_000),
    ];
    let zeros = [&first[..], &second, &third].concat();
    [
        (
            "first-step",
            "min, average and max below 4 MiB",
            "xof dtar cut",
            first,
        ),
        (
            "second-step",
            "min, average and max from 4 MiB on",
            "xof dtar cut",
            second,
        ),
        (
            "third-step",
            "min, average and max from 1 GiB on",
            "xof dtar cut",
            third,
        ),
        ("zeros", "a body in which no position cuts", "zeros", zeros),
        (
            "steps",
            "the offset of a chunk's first byte decides, not that of its end",
            "xof dtar steps",
            steps,
        ),
    ]
    .map(|(name, comment, input, cases)| Vector {
        name,
        comment,
        input,
        cases,
    })
}

fn vector_text(vector: &Vector) -> String {
    let key = [0x42; 32];
    let chunker = Chunker::new(&gear(&key));
    let mut text = format!(
        "comment: {}\ngear-key: {}\ninput: {}\n",
        vector.comment,
        crate::id::ChunkHash(key),
        vector.input
    );
    for &(start, length) in &vector.cases {
        write!(text, "cut: {start} {length}:").unwrap();
        for found in cuts(&chunker, start, &input(vector.input, length)) {
            write!(text, " {found}").unwrap();
        }
        text.push('\n');
    }
    text
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("formats/vectors/cut")
}

#[test]
fn vectors_are_what_this_code_makes() {
    for vector in wanted() {
        let path = folder().join(format!("{}.txt", vector.name));
        let text = vector_text(&vector);
        if std::env::var_os("DTAR_BLESS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap();
        assert_eq!(found, text, "{}", path.display());
    }
}

#[test]
fn every_vector_holds_for_the_page_and_for_the_crate() {
    let mut count = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let (mut table, mut description) = ([0; 256], "");
        for line in text.lines() {
            match line.split_once(": ").unwrap() {
                ("gear-key", key) => table = gear(&hex_key(key)),
                ("input", value) => description = value,
                ("cut", case) => {
                    check_case(&table, description, case);
                    count += 1;
                }
                (key, _) => assert_eq!(key, "comment", "{}", path.display()),
            }
        }
    }
    assert!(count >= 60, "{count} cases");
}

fn check_case(table: &[u64; 256], description: &str, case: &str) {
    let (place, lengths) = case.split_once(':').unwrap();
    let (start, length) = place.split_once(' ').unwrap();
    let start: u64 = start.parse().unwrap();
    let body = input(description, length.parse().unwrap());
    let expected: Vec<usize> = lengths
        .split_whitespace()
        .map(|length| length.parse().unwrap())
        .collect();
    assert_eq!(
        cuts(&Chunker::new(table), start, &body),
        expected,
        "{place}"
    );
    let mut position = 0;
    for length in expected {
        let rest = &body[position..];
        assert_eq!(
            plain_cut(table, start + position as u64, rest),
            length,
            "{place}"
        );
        position += length;
    }
}
