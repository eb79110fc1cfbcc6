//! The map with which the body of a pax sparse 1.0 member begins
//! (`formats/stream.md#does-a-body-follow`).

/// Reads a map block by block, to find where it ends.
#[derive(Debug, Default)]
pub(super) struct MapReader {
    /// Numbers still to come; `None` until the first is read.
    left: Option<u64>,
    number: u64,
    digits: usize,
}

/// What a block of the map told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// The map goes on.
    More,
    /// This is its last block.
    Done,
    /// This is no map.
    Bad,
}

impl MapReader {
    /// Reads one more block.
    pub(super) fn read(&mut self, block: &[u8]) -> Progress {
        for &byte in block {
            let done = match byte {
                b'0'..=b'9' => self.digit(byte - b'0'),
                b'\n' => self.end_of_number(),
                _ => None,
            };
            match done {
                None => return Progress::Bad,
                Some(true) => return Progress::Done,
                Some(false) => {}
            }
        }
        Progress::More
    }

    fn digit(&mut self, digit: u8) -> Option<bool> {
        self.digits += 1;
        self.number = self
            .number
            .checked_mul(10)?
            .checked_add(u64::from(digit))
            .filter(|number| *number < 1 << 63)?;
        Some(false)
    }

    fn end_of_number(&mut self) -> Option<bool> {
        if self.digits == 0 {
            return None;
        }
        let left = match self.left {
            None => self.number.checked_mul(2)?,
            Some(left) => left - 1,
        };
        *self = Self {
            left: Some(left),
            ..Self::default()
        };
        Some(left == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(map: &[u8]) -> Progress {
        MapReader::default().read(map)
    }

    #[test]
    fn a_map_ends_with_its_last_number() {
        assert_eq!(read(b"1\n0\n5\nrest"), Progress::Done);
        assert_eq!(read(b"0\n"), Progress::Done);
        assert_eq!(read(b"2\n0\n5\n10\n"), Progress::More);
        assert_eq!(read(b"1\n0\n5"), Progress::More);
    }

    #[test]
    fn what_is_not_a_number_is_bad() {
        for bad in [
            &b"x"[..],
            b"\n",
            b"1\n\n",
            b"-1\n",
            b"1\n0\n\0",
            b"9223372036854775808\n",
        ] {
            assert_eq!(read(bad), Progress::Bad, "{}", bad.escape_ascii());
        }
        assert_eq!(read(b"9223372036854775807\n"), Progress::More);
    }

    #[test]
    fn a_number_may_cross_blocks() {
        let mut reader = MapReader::default();
        assert_eq!(reader.read(b"1\n12"), Progress::More);
        assert_eq!(reader.read(b"34\n5"), Progress::More);
        assert_eq!(reader.read(b"\nx"), Progress::Done);
    }
}
