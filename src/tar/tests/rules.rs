//! Each rule of `formats/stream.md`.

use super::super::header::tests::{header, seal};
use super::super::pax::tests::record;
use super::super::{MAX_GROUP, Padding, padding_after};
use super::{BLOCK, Segment, check};

/// A segment, told in a word and its lengths.
fn told(segment: &Segment) -> String {
    match segment {
        Segment::Group(group) => format!("group {}", group.len() / BLOCK),
        Segment::Zeros(count) => format!("zeros {count}"),
        Segment::Body {
            kind,
            member,
            body,
            padding,
            padding_bytes,
        } => {
            let group = member
                .as_ref()
                .map(|(group, _)| format!(" {} +", group.len() / BLOCK));
            let padding = match padding {
                Padding::Usual => String::new(),
                Padding::Explicit => format!(" padding {}", padding_bytes.len()),
                Padding::Missing(count) => format!(" missing {count}"),
            };
            format!(
                "{kind:?}{} {}{padding}",
                group.unwrap_or_default(),
                body.len()
            )
            .to_lowercase()
        }
    }
}

fn expect(pieces: &[&[u8]], expected: &[&str]) {
    let found: Vec<_> = check(&pieces.concat()).iter().map(told).collect();
    assert_eq!(found, expected);
}

fn zeros(blocks: usize) -> Vec<u8> {
    vec![0; blocks * BLOCK]
}

/// Bytes with zeros up to the next block.
fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len() + padding_after(bytes.len() as u64), 0);
    bytes
}

/// An extension header with its body.
fn extension(type_flag: u8, body: &[u8]) -> Vec<u8> {
    [&header(type_flag, body.len() as u64)[..], &padded(body)].concat()
}

fn map_1_0(more: &[u8]) -> Vec<u8> {
    let body = [
        &record("GNU.sparse.major", "1")[..],
        &record("GNU.sparse.minor", "0"),
        more,
    ];
    extension(b'x', &body.concat())
}

#[test]
fn an_empty_stream_is_an_empty_tail() {
    expect(&[], &["tail 0"]);
}

#[test]
fn a_short_stream_is_the_tail() {
    expect(&[b"hello"], &["tail 5"]);
    expect(&[&zeros(2), b"hello"], &["tail 1029"]);
    expect(&[&[0; 7]], &["tail 7"]);
}

#[test]
fn a_member_is_group_body_and_padding() {
    let head = header(b'0', 5);
    expect(&[&head, &padded(b"12345")], &["member 1 + 5", "tail 0"]);
    let odd = [&b"12345"[..], &[7; 507]].concat();
    expect(&[&head, &odd], &["member 1 + 5 padding 507", "tail 0"]);
    expect(
        &[&head, b"12345\0\0"],
        &["member 1 + 5 padding 2", "tail 0"],
    );
    expect(&[&head, b"12345"], &["member 1 + 5 padding 0", "tail 0"]);
    expect(&[&head, b"123"], &["member 1 + 3 missing 2", "tail 0"]);
    expect(&[&head], &["member 1 + 0 missing 5", "tail 0"]);
    expect(
        &[&header(b'0', BLOCK as u64), &[1; BLOCK]],
        &["member 1 + 512", "tail 0"],
    );
}

#[test]
fn no_length_no_body() {
    for type_flag in *b"\x000567Sz" {
        expect(&[&header(type_flag, 0)], &["group 1", "tail 0"]);
    }
}

#[test]
fn links_and_directories_have_a_body_only_if_one_is_seen() {
    for type_flag in *b"123456" {
        let head = header(type_flag, 5);
        let body = padded(b"12345");
        expect(&[&head, &body], &["member 1 + 5", "tail 0"]);
        expect(&[&head, &zeros(1)], &["member 1 + 0", "tail 512"]);
        expect(
            &[&head, &header(b'0', 0)],
            &["group 1", "group 1", "tail 0"],
        );
        expect(&[&head], &["member 1 + 0", "tail 0"]);
        expect(&[&head, &body[..511]], &["member 1 + 0", "tail 511"]);
    }
    for type_flag in *b"07DMVSz\0" {
        expect(
            &[&header(type_flag, 5), &zeros(1)],
            &["member 1 + 5", "tail 0"],
        );
    }
}

#[test]
fn extension_headers_join_the_next_main_header() {
    for type_flag in *b"xgLKX" {
        let extension = extension(type_flag, b"text");
        expect(
            &[&extension, &header(b'0', 5), &padded(b"12345")],
            &["member 3 + 5", "tail 0"],
        );
        expect(&[&extension, &header(b'5', 0)], &["group 3", "tail 0"]);
        expect(
            &[&extension, &extension, &header(b'5', 0)],
            &["group 5", "tail 0"],
        );
    }
}

#[test]
fn lone_extension_headers_pass() {
    let lone = extension(b'x', b"text");
    expect(&[&lone], &["group 2", "tail 0"]);
    expect(&[&lone, b"rest"], &["group 2", "tail 4"]);
    expect(&[&lone, &zeros(1)], &["group 2", "tail 512"]);
    expect(&[&lone, &[1; BLOCK]], &["group 2", "opaque 512", "tail 0"]);
    expect(
        &[&lone, &[1; BLOCK], &header(b'0', 0)],
        &["group 2", "opaque 512", "group 1", "tail 0"],
    );
}

#[test]
fn a_lone_extension_header_says_nothing_about_later_members() {
    let size = extension(b'x', &record("size", "1"));
    expect(
        &[&size, &zeros(1), &header(b'0', 5), &padded(b"12345")],
        &["group 2", "zeros 1", "member 1 + 5", "tail 0"],
    );
}

#[test]
fn a_cut_extension_header_is_the_tail() {
    let whole = extension(b'L', b"text");
    let cut = &extension(b'x', &[b'a'; 600])[..1_200];
    expect(&[cut], &["tail 1200"]);
    expect(&[&whole, cut], &["group 2", "tail 1200"]);
    expect(&[&zeros(2), cut], &["zeros 2", "tail 1200"]);
    expect(&[&whole[..BLOCK]], &["tail 512"]);
    // Its body is whole, but not its padding.
    expect(&[&whole[..1_000]], &["tail 1000"]);
}

#[test]
fn an_extension_header_that_is_too_long_is_a_member() {
    let body = vec![b'a'; MAX_GROUP - BLOCK];
    let long = extension(b'x', &body);
    expect(&[&long, &header(b'5', 0)], &["group 32769", "tail 0"]);
    let longer = [&long[..], b"a"].concat();
    expect(&[&longer], &["group 32768", "tail 1"]);
    let body = vec![b'a'; MAX_GROUP - BLOCK + 1];
    let too_long = extension(b'x', &body);
    expect(
        &[&too_long, &header(b'5', 0)],
        &["member 1 + 16776705", "group 1", "tail 0"],
    );
    let small = extension(b'L', b"text");
    expect(
        &[&small, &extension(b'g', &body[..=MAX_GROUP - 3 * BLOCK])],
        &["member 3 + 16775681", "tail 0"],
    );
}

#[test]
fn endless_extension_headers_end_with_the_group() {
    let blocks = MAX_GROUP / BLOCK;
    let endless = header(b'x', 0).repeat(blocks + 2);
    expect(&[&endless], &["group 32769", "group 1", "tail 0"]);
    let endless = header(b'L', 5);
    let endless = [&endless[..], &padded(b"text")].concat().repeat(blocks);
    expect(&[&endless], &["member 32769 + 5", "group 32766", "tail 0"]);
}

#[test]
fn a_claimed_length_costs_no_memory() {
    let huge = header(b'x', (1 << 63) - 1);
    expect(
        &[&huge, &zeros(1)],
        &["member 1 + 512 missing 9223372036854775295", "tail 0"],
    );
    let huge = header(b'0', (1 << 33) - 1);
    expect(&[&huge], &["member 1 + 0 missing 8589934591", "tail 0"]);
}

#[test]
fn pax_size_counts_before_the_size_field() {
    for type_flag in *b"xX" {
        let size = extension(type_flag, &record("size", "5"));
        expect(
            &[&size, &header(b'0', 0), &padded(b"12345")],
            &["member 3 + 5", "tail 0"],
        );
        expect(
            &[&size, &header(b'0', 700), &padded(b"12345")],
            &["member 3 + 5", "tail 0"],
        );
    }
    let zero = extension(b'x', &record("size", "0"));
    expect(&[&zero, &header(b'0', 700)], &["group 3", "tail 0"]);
    let global = extension(b'g', &record("size", "5"));
    expect(&[&global, &header(b'0', 0)], &["group 3", "tail 0"]);
}

#[test]
fn zero_blocks_pass_up_to_128() {
    let member = header(b'5', 0);
    expect(&[&zeros(3), &member], &["zeros 3", "group 1", "tail 0"]);
    expect(
        &[&zeros(128), &member, &zeros(1)],
        &["zeros 128", "group 1", "tail 512"],
    );
    expect(
        &[&zeros(129), &member],
        &["zeros 128", "opaque 512", "group 1", "tail 0"],
    );
    expect(&[&zeros(1000)], &["tail 512000"]);
    expect(
        &[&zeros(130), &[1; BLOCK], &zeros(2), &member],
        &["zeros 128", "opaque 2560", "group 1", "tail 0"],
    );
}

#[test]
fn an_opaque_run_ends_before_a_valid_header_or_with_the_stream() {
    let member = header(b'5', 0);
    let garbage = [&[1; BLOCK][..], &zeros(200), &[2; BLOCK]].concat();
    expect(
        &[&garbage, &member],
        &["opaque 103424", "group 1", "tail 0"],
    );
    expect(&[&garbage, &zeros(9)], &["opaque 108032", "tail 0"]);
    expect(&[&garbage, b"rest"], &["opaque 103428", "tail 0"]);
    let shifted = [&b"x"[..], &member, &[1; BLOCK - 1]].concat();
    expect(&[&shifted], &["opaque 1024", "tail 0"]);
}

#[test]
fn old_sparse_headers_have_extension_blocks() {
    let mut head = header(b'S', 5);
    head[482] = 1;
    seal(&mut head);
    let mut more = [3; BLOCK];
    let mut last = [3; BLOCK];
    last[504] = 0;
    more[504] = 1;
    let body = padded(b"12345");
    expect(&[&head, &more, &last, &body], &["member 3 + 5", "tail 0"]);
    expect(&[&head, &more], &["member 2 + 0 missing 5", "tail 0"]);
    expect(
        &[&head, &more, b"123"],
        &["member 2 + 3 missing 2", "tail 0"],
    );
    let mut empty = header(b'S', 0);
    empty[482] = 1;
    seal(&mut empty);
    expect(&[&empty, &last], &["group 2", "tail 0"]);
    let mut other = header(b'0', 5);
    other[482] = 1;
    seal(&mut other);
    expect(&[&other, &body], &["member 1 + 5", "tail 0"]);
}

#[test]
fn endless_sparse_extensions_end_with_the_group() {
    let mut head = header(b'S', 5);
    head[482] = 1;
    seal(&mut head);
    let endless = vec![1; MAX_GROUP];
    expect(
        &[&head, &endless, &header(b'5', 0)],
        &["group 32768", "opaque 512", "group 1", "tail 0"],
    );
}

#[test]
fn the_map_of_sparse_1_0_belongs_to_the_group() {
    let map = padded(b"1\n10\n5\n");
    let body = padded(b"12345");
    let head = header(b'0', 517);
    expect(
        &[&map_1_0(b""), &head, &map, &body],
        &["member 4 + 5", "tail 0"],
    );
    let size = record("size", "517");
    expect(
        &[&map_1_0(&size), &header(b'0', 0), &map, &body],
        &["member 4 + 5", "tail 0"],
    );
    expect(
        &[&map_1_0(b""), &header(b'0', 512), &map],
        &["group 4", "tail 0"],
    );
    let minor_1 = record("GNU.sparse.minor", "1");
    expect(
        &[&map_1_0(&minor_1), &head, &map, &body],
        &["member 3 + 517", "tail 0"],
    );
}

#[test]
fn a_map_that_cannot_be_read_is_body() {
    let extension = map_1_0(b"");
    let body = padded(b"12345");
    let head = header(b'0', 517);
    for bad in [&b"x"[..], b"1\n10\nx", b"1\n-1\n5\n"] {
        expect(
            &[&extension, &head, &padded(bad), &body],
            &["member 3 + 517", "tail 0"],
        );
    }
    let long = b"100\n".repeat(128);
    // The second block of the map would go beyond the body, or beyond the stream.
    expect(
        &[&extension, &head, &long, &body],
        &["member 3 + 517", "tail 0"],
    );
    expect(
        &[&extension, &header(b'0', 2_000), &long, b"12"],
        &["member 3 + 514 missing 1486", "tail 0"],
    );
    expect(
        &[&extension, &header(b'0', 511), &padded(b"0\n")],
        &["member 3 + 511", "tail 0"],
    );
}

#[test]
fn a_map_that_is_too_long_is_body() {
    let length = MAX_GROUP + 10 * BLOCK;
    let map = [&b"9999999\n"[..], &b"0\n".repeat(length / 2 - 4)].concat();
    let head = header(b'0', length as u64);
    expect(
        &[&map_1_0(b""), &head, &map],
        &["member 3 + 16782336", "tail 0"],
    );
}
