//! The plain tars on tapes, in memory (`formats/container.md#members`).

use crate::Result;
use crate::container::header;
pub(crate) use crate::container::header::{
    BLOCK_SIZE as BLOCK, RECORD_SIZE as RECORD, padded, whole,
};

/// A member's name and the length of its body, if bytes begin with its header.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<(String, u64)> {
    header::parse(bytes.get(..BLOCK)?.try_into().ok()?)
}

/// Appends a member to a tar in memory.
///
/// # Errors
/// If a header cannot hold its name or length.
pub fn put_member(out: &mut Vec<u8>, name: &str, body: &[u8], time: u64) -> Result<()> {
    out.extend_from_slice(&header::header(name, body.len() as u64, time)?);
    out.extend_from_slice(body);
    out.resize(out.len().next_multiple_of(BLOCK), 0);
    Ok(())
}

/// Ends a tar in memory.
pub fn put_end(out: &mut Vec<u8>) {
    let length = (out.len() + 2 * BLOCK).next_multiple_of(RECORD);
    out.resize(length, 0);
}

/// The members of a tar that lies in memory, as far as its headers can be read.
pub fn members(tar: &[u8]) -> impl Iterator<Item = (String, &[u8])> {
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
            ("one".to_owned(), vec![1; 700]),
            ("two/2".to_owned(), vec![]),
            ("three".to_owned(), vec![3; 512]),
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
        let mut archive = ::tar::Archive::new(tar.as_slice());
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
}
