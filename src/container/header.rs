//! Headers of members (`formats/container.md#members`).

use crate::error::{Error, Result};

/// Length of a header, and what bodies are filled up to.
pub(crate) const BLOCK: u64 = BLOCK_SIZE as u64;
/// The same.
pub(crate) const BLOCK_SIZE: usize = 512;
/// The length of a container is a multiple of this.
pub(crate) const RECORD: u64 = RECORD_SIZE as u64;
/// The same.
pub(crate) const RECORD_SIZE: usize = 20 * BLOCK_SIZE;
/// The longest body that twelve octal digits, the last of them a blank, can tell.
pub(crate) const MAX_BODY: u64 = (1 << 33) - 1;

/// A length with what fills the last block.
pub(crate) const fn padded(length: u64) -> u64 {
    length.div_ceil(BLOCK).saturating_mul(BLOCK)
}

/// How long a tar is whose last body, with what fills its block, ends here.
pub(crate) const fn whole(end: u64) -> u64 {
    end.saturating_add(2 * BLOCK)
        .div_ceil(RECORD)
        .saturating_mul(RECORD)
}

/// The header of a member.
pub(crate) fn header(name: &str, length: u64, time: u64) -> Result<[u8; BLOCK_SIZE]> {
    let refuse = |what: &str| Error::Internal(format!("{name}: {what} for a container"));
    if length > MAX_BODY {
        return Err(refuse("too long"));
    }
    let mut header = ::tar::Header::new_ustar();
    // No prefix: a name that is longer than its field is not one of ours.
    let field = &mut header.as_old_mut().name;
    field
        .get_mut(..name.len())
        .ok_or_else(|| refuse("too long a name"))?
        .copy_from_slice(name.as_bytes());
    header.set_mode(0o444);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(length);
    header.set_mtime(time);
    header.set_entry_type(::tar::EntryType::Regular);
    header.set_cksum();
    Ok(*header.as_bytes())
}

/// Name and length that a block says, if it is the header of a member.
pub(crate) fn parse(block: &[u8; BLOCK_SIZE]) -> Option<(String, u64)> {
    let mut header = ::tar::Header::new_ustar();
    header.as_mut_bytes().copy_from_slice(block);
    let stated = header.cksum().ok()?;
    let mut sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    sum -= block[148..156]
        .iter()
        .map(|&byte| u32::from(byte))
        .sum::<u32>();
    if stated != sum + 8 * u32::from(b' ') || !header.entry_type().is_file() {
        return None;
    }
    let length = header.entry_size().ok().filter(|&size| size <= MAX_BODY)?;
    let name = header.path_bytes();
    Some((String::from_utf8(name.into_owned()).ok()?, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_go_both_ways_and_others_read_them() {
        let name = format!("bricks/ab/{}.brick", "ab".repeat(32));
        let block = header(&name, MAX_BODY, 1_795_282_800).unwrap();
        assert_eq!(parse(&block), Some((name, MAX_BODY)));
        assert_eq!(&block[257..265], b"ustar\x0000");
        assert_eq!(block[156], b'0');
        let long = "x".repeat(101);
        assert!(header(&long, 1, 0).is_err());
        assert!(header(&long[1..], 1, 0).is_ok());
        assert!(header("x", MAX_BODY + 1, 0).is_err());
    }

    #[test]
    fn what_is_no_header_is_not_taken_for_one() {
        assert_eq!(parse(&[0; 512]), None);
        let block = header("name", 5, 0).unwrap();
        for position in 0..512 {
            let mut bad = block;
            bad[position] ^= 1;
            assert_ne!(parse(&bad), Some(("name".into(), 5)), "{position}");
        }
    }
}
