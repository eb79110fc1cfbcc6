//! The length and SHA-256 of a container that is read from a tape.
//!
//! The last block of a tape file is filled with zeros, so a container's own length must be
//! found: the last byte that is not zero ends its catalog (`formats/container.md#catalog`),
//! and from there the length of the tar follows.

use sha2::{Digest, Sha256};

use super::catalog::{Sha256Sum, Whole};
use super::ustar;

/// So much of the end is kept: longer than an `end` line.
const TAIL: usize = 128;
const ZEROS: [u8; 4096] = [0; 4096];

/// Hashes a tape file from front to back.
#[derive(Debug, Default)]
pub struct Digester {
    hash: Sha256,
    /// Bytes up to the last that is not zero: those that were hashed.
    length: u64,
    /// Zeros behind it.
    zeros: u64,
    /// The last bytes that were hashed.
    tail: Vec<u8>,
}

impl Digester {
    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let Some(last) = bytes.iter().rposition(|byte| *byte != 0) else {
            self.zeros += bytes.len() as u64;
            return;
        };
        let zeros = std::mem::take(&mut self.zeros);
        self.put_zeros(zeros);
        let (used, rest) = bytes.split_at(last + 1);
        self.hash.update(used);
        self.length += used.len() as u64;
        let kept = used.len().saturating_sub(TAIL);
        self.tail
            .extend_from_slice(used.get(kept..).unwrap_or_default());
        let surplus = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..surplus);
        self.zeros = rest.len() as u64;
    }

    fn put_zeros(&mut self, count: u64) {
        let mut left = count;
        while left > 0 {
            let step = left.min(ZEROS.len() as u64);
            let zeros = usize::try_from(step).unwrap_or(ZEROS.len());
            self.hash.update(ZEROS.get(..zeros).unwrap_or_default());
            self.tail
                .extend_from_slice(ZEROS.get(..zeros.min(TAIL)).unwrap_or_default());
            left -= step;
        }
        self.length += count;
        let surplus = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..surplus);
    }

    /// The container's length and SHA-256: of the first `length` bytes if its length is
    /// known, else of as many as the tar must have. None if there are not so many.
    #[must_use]
    pub fn finish(mut self, length: Option<u64>) -> Option<Whole> {
        let found = self.length + self.zeros;
        let length = length.unwrap_or_else(|| ustar::whole(ustar::padded(self.length)));
        let missing = length.checked_sub(self.length)?;
        if length > found {
            return None;
        }
        self.put_zeros(missing);
        Some(Whole {
            length,
            sha256: Sha256Sum(self.hash.finalize().into()),
        })
    }

    /// Where the header of the catalog stands that ends the container, if one does.
    #[must_use]
    pub fn end(&self) -> Option<u64> {
        let text = std::str::from_utf8(self.tail.strip_suffix(b"\n")?).ok();
        let text = text.or_else(|| {
            // The tail may begin in the middle of a character.
            let lines = self.tail.strip_suffix(b"\n")?;
            let start = memchr::memrchr(b'\n', lines)? + 1;
            std::str::from_utf8(lines.get(start..)?).ok()
        })?;
        let last = text.rsplit('\n').next()?;
        let (offset, _) = last.strip_prefix("end ")?.split_once(' ')?;
        offset.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::container::CATALOG;

    fn container(body: &[u8]) -> Vec<u8> {
        let mut tar = Vec::new();
        ustar::put_member(&mut tar, "bricks/x", body, 0).unwrap();
        let text = format!("lines\nend {} {}\n", tar.len(), "0".repeat(64));
        ustar::put_member(&mut tar, CATALOG, text.as_bytes(), 0).unwrap();
        ustar::put_end(&mut tar);
        tar
    }

    #[test]
    fn the_zeros_of_the_last_block_do_not_count() {
        for body in [vec![7; 5000], vec![0; 20_000], vec![0xff; 511]] {
            let tar = container(&body);
            let mut taped = tar.clone();
            taped.resize(tar.len().next_multiple_of(65_536), 0);
            for step in [1, 511, 4096, 65_536] {
                let mut digester = Digester::default();
                taped.chunks(step).for_each(|bytes| digester.update(bytes));
                let end = digester.end().unwrap();
                let header = &tar[usize::try_from(end).unwrap()..];
                assert_eq!(ustar::parse(header).unwrap().0, CATALOG);
                let whole = digester.finish(None).unwrap();
                assert_eq!(whole.length, tar.len() as u64);
                assert_eq!(whole.sha256, Sha256Sum::of(&tar));
            }
        }
    }

    #[test]
    fn one_that_is_cut_off_has_no_end() {
        let tar = container(&[7; 5000]);
        let last = tar.iter().rposition(|byte| *byte != 0).unwrap();
        for length in 0..last {
            let mut digester = Digester::default();
            digester.update(&tar[..length]);
            assert_eq!(digester.end(), None, "{length}");
            assert_eq!(digester.finish(Some(tar.len() as u64)), None);
        }
    }
}
