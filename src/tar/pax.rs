//! Pax records: what is in the body of an extension header of type `x` or `g`
//! (`formats/stream.md#groups`).

use std::ops::Range;

/// One record: `length key=value\n`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PaxRecord<'a> {
    /// What stands before the first `=`.
    pub(super) key: &'a [u8],
    /// What stands behind it, without the newline.
    pub(super) value: &'a [u8],
    /// Where the value stands in the body.
    pub(super) value_range: Range<usize>,
}

/// The records of `body`, up to the first place where none stands.
pub(super) fn records(body: &[u8]) -> impl Iterator<Item = PaxRecord<'_>> {
    let mut position = 0;
    std::iter::from_fn(move || {
        let rest = body.get(position..)?;
        let space = rest.iter().take(20).position(|&byte| byte == b' ')?;
        let length = usize::try_from(decimal(&rest[..space])?).ok()?;
        let (last, pair) = rest.get(space + 1..length)?.split_last()?;
        let equals = pair.iter().position(|&byte| byte == b'=')?;
        if *last != b'\n' {
            return None;
        }
        let record = PaxRecord {
            key: &pair[..equals],
            value: &pair[equals + 1..],
            value_range: position + space + 1 + equals + 1..position + length - 1,
        };
        position += length;
        Some(record)
    })
}

/// The longest value that is taken for a number, in digits.
const MAX_DIGITS: usize = 255;
/// As many `size` values of a group are rewritten, the last ones: a record
/// must hold the old ones.
const MAX_SIZES: usize = 256;

/// A number below 2^63: digits alone, from one to 255.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > MAX_DIGITS {
        return None;
    }
    let mut value = 0_u64;
    for digit in text {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value
            .checked_mul(10)?
            .checked_add(u64::from(digit - b'0'))?;
    }
    (value < 1 << 63).then_some(value)
}

/// What the pax headers of a group say about its body.
#[derive(Debug, Default)]
pub(super) struct Summary {
    /// The last `size`.
    pub(super) size: Option<u64>,
    /// Where in the group the digits of the last `size` values stand.
    pub(super) sizes: Vec<Range<u32>>,
    /// Whether there is any `GNU.sparse.` key.
    pub(super) sparse: bool,
    major_is_1: bool,
    minor_is_0: bool,
}

impl Summary {
    /// Forgets the group before.
    pub(super) fn clear(&mut self) {
        self.sizes.clear();
        *self = Self {
            sizes: std::mem::take(&mut self.sizes),
            ..Self::default()
        };
    }

    /// Whether the body begins with the map of sparse format 1.0.
    pub(super) const fn has_map(&self) -> bool {
        self.major_is_1 && self.minor_is_0
    }

    /// Reads the pax header whose body stands at `body` in `group`.
    pub(super) fn read(&mut self, group: &[u8], body: Range<usize>) {
        let start = body.start;
        for record in records(group.get(body).unwrap_or_default()) {
            match record.key {
                b"size" => self.read_size(&record, start),
                b"GNU.sparse.major" => self.major_is_1 = record.value == b"1",
                b"GNU.sparse.minor" => self.minor_is_0 = record.value == b"0",
                _ => {}
            }
            self.sparse |= record.key.starts_with(b"GNU.sparse.");
        }
    }

    fn read_size(&mut self, record: &PaxRecord<'_>, start: usize) {
        let place = |at: usize| u32::try_from(start + at);
        let Some(size) = decimal(record.value) else {
            return;
        };
        // Groups are shorter than 2^32 bytes.
        let (Ok(from), Ok(to)) = (
            place(record.value_range.start),
            place(record.value_range.end),
        ) else {
            return;
        };
        self.size = Some(size);
        if self.sizes.len() == 2 * MAX_SIZES {
            self.sizes.drain(..MAX_SIZES);
        }
        self.sizes.push(from..to);
    }

    /// Where the `size` values stand that are to be rewritten.
    pub(super) fn rewritten_sizes(&self) -> &[Range<u32>] {
        &self.sizes[self.sizes.len().saturating_sub(MAX_SIZES)..]
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// One pax record.
    pub(in crate::tar) fn record(key: &str, value: &str) -> Vec<u8> {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length += 1;
        }
        format!("{length} {key}={value}\n").into_bytes()
    }

    fn keys(body: &[u8]) -> Vec<&[u8]> {
        records(body).map(|record| record.key).collect()
    }

    #[test]
    fn records_end_at_the_first_that_is_none() {
        assert_eq!(keys(b"6 a=1\n6 b=2\n"), [b"a", b"b"]);
        assert_eq!(keys(b"6 a=1\n6 b=2"), [b"a"]);
        assert_eq!(keys(b"6 a=1\n6 b=2x"), [b"a"]);
        assert_eq!(keys(b"6 a=1\n 6 b=2\n"), [b"a"]);
        assert_eq!(keys(b"6 a=1\n0 b=2\n"), [b"a"]);
        assert_eq!(keys(b"5 a=\n6 b\n=\n5 c \n"), [&b"a"[..], b"b\n"]);
        assert!(keys(b"3 a\n").is_empty());
        assert!(keys(b"99999999999999999999 a=1\n").is_empty());
        assert!(keys(b"-6 a=1\n").is_empty());
        assert!(keys(b"").is_empty());
    }

    #[test]
    fn the_value_is_where_it_is_said_to_be() {
        let body = [record("a", "x=y\nz"), record("size", "00123")].concat();
        for record in records(&body) {
            assert_eq!(record.value, &body[record.value_range.clone()]);
        }
        assert_eq!(
            records(&body).next().map(|record| record.value),
            Some(&b"x=y\nz"[..])
        );
    }

    #[test]
    fn the_last_size_that_is_a_number_wins() {
        let mut summary = Summary::default();
        let group = [
            record("size", "7"),
            record("size", "0012"),
            record("size", "-1"),
            record("size", "9223372036854775808"),
            record("size", ""),
            record("size", &"0".repeat(256)),
        ]
        .concat();
        summary.read(&group, 0..group.len());
        assert_eq!(summary.size, Some(12));
        let values: Vec<_> = summary
            .rewritten_sizes()
            .iter()
            .map(|range| &group[range.start as usize..range.end as usize])
            .collect();
        assert_eq!(values, [&b"7"[..], b"0012"]);
    }

    #[test]
    fn only_so_many_sizes_are_kept() {
        let mut summary = Summary::default();
        let group = record("size", "7").repeat(10_000);
        summary.read(&group, 0..group.len());
        assert!(summary.sizes.len() <= 2 * MAX_SIZES);
        let kept = summary.rewritten_sizes();
        assert_eq!(kept.len(), MAX_SIZES);
        assert_eq!(
            kept.last().map(|range| range.end as usize),
            Some(group.len() - 1)
        );
    }
}
