//! Headers of the plain tars on tapes (`formats/container.md#members`).

/// The length of a header, and the unit of bodies.
pub const BLOCK: usize = 512;
/// The unit of the length of a whole tar.
pub const RECORD: usize = 10_240;
/// The greatest number of 11 octal digits.
const MOST_OCTAL: u64 = (1 << 33) - 1;

/// A member's header: a regular file of mode 0444. None if the name or the size is too
/// long for one.
#[must_use]
pub fn header(name: &str, size: u64, time: u64) -> Option<[u8; BLOCK]> {
    if name.len() > 100 || size > MOST_OCTAL || time > MOST_OCTAL {
        return None;
    }
    let mut header = [0; BLOCK];
    let mut put = |at: usize, text: &str| {
        header[at..at + text.len()].copy_from_slice(text.as_bytes());
    };
    put(0, name);
    put(100, "0000444");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{size:011o}"));
    put(136, &format!("{time:011o}"));
    put(148, "        ");
    put(156, "0");
    put(257, "ustar");
    put(263, "00");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Some(header)
}

/// A member's name and the length of its body, if this is a header as [`header`] makes it.
#[must_use]
pub fn parse(block: &[u8]) -> Option<(&str, u64)> {
    let block: &[u8; BLOCK] = block.get(..BLOCK)?.try_into().ok()?;
    let stored = u32::try_from(octal(&block[148..156])?).ok()?;
    let spaces = 8 * u32::from(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    let checksum: u32 = block[148..156].iter().map(|byte| u32::from(*byte)).sum();
    if sum - checksum + spaces != stored || &block[257..262] != b"ustar" || block[156] != b'0' {
        return None;
    }
    let end = block[..100]
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(100);
    let name = std::str::from_utf8(&block[..end]).ok()?;
    Some((name, octal(&block[124..136])?))
}

/// A number in octal digits, which a zero byte or a blank ends, or the field.
fn octal(field: &[u8]) -> Option<u64> {
    let end = field.iter().position(|byte| matches!(byte, 0 | b' '));
    let digits = field.get(..end.unwrap_or(field.len()))?;
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| match digit {
        b'0'..=b'7' => Some(value << 3 | u64::from(digit - b'0')),
        _ => None,
    })
}

/// How long a body is with the zeros behind it.
#[must_use]
pub const fn padded(length: u64) -> u64 {
    length.saturating_add(BLOCK as u64 - 1) / BLOCK as u64 * BLOCK as u64
}

/// How long a tar is that ends with a member whose body, with its zeros, ends here.
#[must_use]
pub const fn whole(end: u64) -> u64 {
    end.saturating_add(2 * BLOCK as u64)
        .div_ceil(RECORD as u64)
        .saturating_mul(RECORD as u64)
}

/// Appends a member to a tar in memory.
pub fn put_member(out: &mut Vec<u8>, name: &str, body: &[u8], time: u64) -> Option<()> {
    out.extend_from_slice(&header(name, body.len() as u64, time)?);
    out.extend_from_slice(body);
    out.resize(out.len().next_multiple_of(BLOCK), 0);
    Some(())
}

/// Ends a tar in memory.
pub fn put_end(out: &mut Vec<u8>) {
    let length = (out.len() + 2 * BLOCK).next_multiple_of(RECORD);
    out.resize(length, 0);
}

/// The members of a tar that lies in memory, as far as its headers can be read.
pub fn members(tar: &[u8]) -> impl Iterator<Item = (&str, &[u8])> {
    let mut at = 0_usize;
    std::iter::from_fn(move || {
        let (name, size) = parse(tar.get(at..)?)?;
        let start = at + BLOCK;
        let end = start.checked_add(usize::try_from(size).ok()?)?;
        let body = tar.get(start..end)?;
        at = end.checked_next_multiple_of(BLOCK)?;
        Some((name, body))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_back_and_other_readers_list_them() {
        let mut tar = Vec::new();
        let bodies = [
            ("one", vec![1; 700]),
            ("two/2", vec![]),
            ("three", vec![3; 512]),
        ];
        for (name, body) in &bodies {
            put_member(&mut tar, name, body, 1_795_282_800).unwrap();
        }
        put_end(&mut tar);
        assert_eq!(tar.len() % RECORD, 0);
        let found: Vec<_> = members(&tar)
            .map(|(name, body)| (name, body.to_vec()))
            .collect();
        assert_eq!(found, bodies);
        let mut archive = tar::Archive::new(tar.as_slice());
        let names: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                assert_eq!(entry.header().mode().unwrap(), 0o444);
                assert_eq!(entry.header().mtime().unwrap(), 1_795_282_800);
                entry.path().unwrap().display().to_string()
            })
            .collect();
        assert_eq!(names, ["one", "two/2", "three"]);
    }

    #[test]
    fn what_is_no_header_is_told() {
        let whole = header("name", 77, 1).unwrap();
        assert_eq!(parse(&whole), Some(("name", 77)));
        for at in 0..BLOCK {
            let mut altered = whole;
            altered[at] ^= 1;
            // The blank behind the checksum may be anything.
            assert!(
                parse(&altered).is_none() || (154..156).contains(&at),
                "{at}"
            );
        }
        assert_eq!(parse(&[0; BLOCK]), None);
        assert_eq!(parse(&whole[..511]), None);
        assert_eq!(header(&"x".repeat(101), 0, 0), None);
        assert_eq!(header("x", 1 << 33, 0), None);
    }
}
