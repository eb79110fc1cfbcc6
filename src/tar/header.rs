//! One header block: whether it is one, and its numbers
//! (`formats/stream.md#valid-header`).

use std::ops::Range;

use super::BLOCK;
use crate::chunk::is_zero;

/// Where the size stands in a header.
pub(super) const SIZE_FIELD: Range<usize> = 124..136;
/// Where the checksum stands in a header.
pub(super) const CHECKSUM_FIELD: Range<usize> = 148..156;
/// Where the type stands in a header.
const TYPE_OFFSET: usize = 156;
/// In a main header of type `S`: whether extension blocks follow.
const SPARSE_MORE: usize = 482;
/// In an extension block: whether another follows.
const SPARSE_MORE_EXTENSION: usize = 504;

/// What the splitter needs to know of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// The value of the size field, below 2^63.
    pub(super) size: u64,
    /// The type, as it stands.
    pub(super) type_flag: u8,
}

impl Header {
    /// The header that `block` is, if it is a valid one.
    pub(super) fn parse(block: &[u8; BLOCK]) -> Option<Self> {
        let stated = octal(checksum_field(block))?;
        if stated != checksum(block) && i64::try_from(stated) != Ok(signed_checksum(block)) {
            return None;
        }
        Some(Self {
            size: size(&block[SIZE_FIELD])?,
            type_flag: block[TYPE_OFFSET],
        })
    }
}

/// Whether a header of this type only tells about the next one.
pub(super) const fn is_extension(type_flag: u8) -> bool {
    matches!(type_flag, b'x' | b'g' | b'L' | b'K' | b'X')
}

/// Whether its body holds pax records about the next main header.
pub(super) const fn is_pax(type_flag: u8) -> bool {
    matches!(type_flag, b'x' | b'X')
}

/// Whether it is that of an old GNU (or star) sparse member.
pub(super) const fn is_old_sparse(type_flag: u8) -> bool {
    matches!(type_flag, b'S' | b's')
}

/// Whether a body must be looked for, because most such headers have none.
pub(super) const fn is_usually_bodyless(type_flag: u8) -> bool {
    matches!(type_flag, b'1'..=b'6')
}

/// Whether extension blocks of sparse entries follow a main header of type `S`.
pub(super) const fn has_sparse_extension(main: &[u8; BLOCK]) -> bool {
    main[SPARSE_MORE] != 0
}

/// Whether another extension block follows this one.
pub(super) const fn has_next_sparse_extension(block: &[u8; BLOCK]) -> bool {
    block[SPARSE_MORE_EXTENSION] != 0
}

/// Whether `block` could be a header: looks at the checksum field alone, so
/// that a long opaque run costs one cache line a block.
pub(super) fn may_be_header(block: &[u8; BLOCK]) -> bool {
    const MAX_CHECKSUM: u64 = BLOCK as u64 * 255;
    octal(checksum_field(block)).is_some_and(|sum| sum <= MAX_CHECKSUM)
}

/// Whether all of `block` is zero.
pub(super) fn is_zero_block(block: &[u8; BLOCK]) -> bool {
    // Most blocks that are not zero begin with a name.
    block[0] == 0 && is_zero(block)
}

fn checksum_field(block: &[u8; BLOCK]) -> &[u8] {
    &block[CHECKSUM_FIELD]
}

/// Every other byte of a word.
const EVEN_BYTES: u64 = 0x00ff_00ff_00ff_00ff;

/// The sum of all bytes, those of the checksum field counted as spaces.
pub(super) fn checksum(block: &[u8; BLOCK]) -> u64 {
    // Four sums of 128 bytes each side by side: none exceeds 16 bits.
    let four = words(block).fold(0, |sum, word| {
        sum + (word & EVEN_BYTES) + (word >> 8 & EVEN_BYTES)
    });
    let sum: u64 = (0..64)
        .step_by(16)
        .map(|shift| four >> shift & 0xffff)
        .sum();
    let field: u64 = checksum_field(block).iter().copied().map(u64::from).sum();
    sum - field + 8 * u64::from(b' ')
}

/// The same sum, of the bytes taken as signed.
pub(super) fn signed_checksum(block: &[u8; BLOCK]) -> i64 {
    let negative = |bytes: &[u8]| bytes.iter().map(|&byte| i64::from(byte >> 7)).sum::<i64>();
    let count = negative(block) - negative(checksum_field(block));
    // Far below 2^63.
    checksum(block).cast_signed() - 256 * count
}

fn words(block: &[u8; BLOCK]) -> impl Iterator<Item = u64> {
    let (words, _) = block.as_chunks();
    words.iter().map(|word| u64::from_le_bytes(*word))
}

/// A number in octal: at most one zero byte, spaces, digits, then the field's
/// end, a zero byte or a space.
pub(super) fn octal(field: &[u8]) -> Option<u64> {
    let rest = field.strip_prefix(b"\0").unwrap_or(field);
    let digits = &rest[rest.iter().take_while(|&&byte| byte == b' ').count()..];
    let mut value = 0_u64;
    let mut count = 0;
    for &digit in digits {
        match digit {
            // At most twelve digits of three bits: no overflow.
            b'0'..=b'7' => value = value << 3 | u64::from(digit - b'0'),
            0 | b' ' => break,
            _ => return None,
        }
        count += 1;
    }
    (count > 0).then_some(value)
}

/// The number in a size field, if it can be read and lies below 2^63.
pub(super) fn size(field: &[u8]) -> Option<u64> {
    match field {
        [0x80, number @ ..] => {
            let mut value = 0_u64;
            for &byte in number {
                if value >> 55 != 0 {
                    return None;
                }
                value = value << 8 | u64::from(byte);
            }
            Some(value)
        }
        _ if field.iter().all(|&byte| matches!(byte, 0 | b' ')) => Some(0),
        _ => octal(field),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A ustar header with a valid checksum.
    pub(in crate::tar) fn header(type_flag: u8, size: u64) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        block[..4].copy_from_slice(b"name");
        block[100..108].copy_from_slice(b"0000644\0");
        if size < 1 << 33 {
            block[SIZE_FIELD].copy_from_slice(format!("{size:011o}\0").as_bytes());
        } else {
            block[SIZE_FIELD.start] = 0x80;
            block[SIZE_FIELD.end - 8..SIZE_FIELD.end].copy_from_slice(&size.to_be_bytes());
        }
        block[136..148].copy_from_slice(b"14000000000\0");
        block[TYPE_OFFSET] = type_flag;
        block[257..265].copy_from_slice(b"ustar\x0000");
        seal(&mut block);
        block
    }

    /// An extension: its header and its body, padded.
    pub(in crate::tar) fn extension(type_flag: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = header(type_flag, body.len() as u64).to_vec();
        bytes.extend_from_slice(body);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }

    /// Makes the checksum right.
    pub(in crate::tar) fn seal(block: &mut [u8; BLOCK]) {
        let sum = checksum(block);
        block[CHECKSUM_FIELD].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }

    #[test]
    fn octal_takes_what_the_page_says() {
        for (field, value) in [
            (&b"0000017\0"[..], Some(15)),
            (b"17 garbage", Some(15)),
            (b"17\0garbage", Some(15)),
            (b"  17", Some(15)),
            (b"\0 17", Some(15)),
            (b"\x0017", Some(15)),
            (b"777777777777", Some(0o777_777_777_777)),
            (b"\0\x0017", None),
            (b" \x0017", None),
            (b"", None),
            (b"        ", None),
            (b"18", None),
            (b"1x", None),
            (b"-1", None),
        ] {
            assert_eq!(octal(field), value, "{}", field.escape_ascii());
        }
    }

    #[test]
    fn sizes_may_be_blank_or_binary() {
        let binary = |number: u128| {
            let mut field = [0; 12];
            field[1..].copy_from_slice(&number.to_be_bytes()[5..]);
            field[0] = 0x80;
            field
        };
        assert_eq!(size(&[0; 12]), Some(0));
        assert_eq!(size(&[b' '; 12]), Some(0));
        assert_eq!(size(b"\0 \0 \0 \0 \0 \0 "), Some(0));
        assert_eq!(size(&binary(5)), Some(5));
        assert_eq!(size(&binary((1 << 63) - 1)), Some((1 << 63) - 1));
        assert_eq!(size(&binary(1 << 63)), None);
        assert_eq!(size(&binary(1 << 64)), None);
        assert_eq!(size(&binary(1 << 80)), None);
        assert_eq!(size(&[0xff; 12]), None);
        let mut other = binary(5);
        other[0] = 0x81;
        assert_eq!(size(&other), None);
    }

    #[test]
    fn checksums_are_sums() {
        let mut block: [u8; BLOCK] = std::array::from_fn(|at| (at * at / 3).to_le_bytes()[0]);
        block[CHECKSUM_FIELD].fill(b' ');
        let unsigned: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
        let signed: i64 = block
            .iter()
            .map(|&byte| i64::from(byte.cast_signed()))
            .sum();
        block[CHECKSUM_FIELD].fill(0xee);
        assert_eq!(checksum(&block), unsigned);
        assert_eq!(signed_checksum(&block), signed);
        assert_eq!(checksum(&[0xff; BLOCK]), 504 * 255 + 8 * 32);
        assert_eq!(signed_checksum(&[0xff; BLOCK]), -504 + 8 * 32);
    }

    #[test]
    fn either_checksum_will_do() {
        let mut block = header(b'0', 3);
        assert_eq!(
            Header::parse(&block),
            Some(Header {
                size: 3,
                type_flag: b'0'
            })
        );
        block[0] = 0xe4;
        assert_eq!(Header::parse(&block), None);
        let (unsigned, signed) = (checksum(&block), signed_checksum(&block));
        assert_eq!(unsigned, signed.unsigned_abs() + 256);
        for sum in [unsigned, signed.unsigned_abs()] {
            block[CHECKSUM_FIELD].copy_from_slice(format!("{sum:07o}\0").as_bytes());
            assert!(Header::parse(&block).is_some());
        }
        let wrong = unsigned + 1;
        block[CHECKSUM_FIELD].copy_from_slice(format!("{wrong:07o}\0").as_bytes());
        assert_eq!(Header::parse(&block), None);
    }

    #[test]
    fn a_size_that_cannot_be_read_makes_no_header() {
        for field in [&[0xff; 12][..], b"0000000000x\0"] {
            let mut block = header(b'0', 0);
            block[SIZE_FIELD].copy_from_slice(field);
            seal(&mut block);
            assert_eq!(Header::parse(&block), None);
        }
    }

    #[test]
    fn a_zero_block_is_no_header() {
        assert!(is_zero_block(&[0; BLOCK]));
        assert_eq!(Header::parse(&[0; BLOCK]), None);
        for place in [0, 1, 511] {
            let mut block = [0; BLOCK];
            block[place] = 1;
            assert!(!is_zero_block(&block));
        }
    }
}
