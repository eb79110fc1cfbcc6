//! What a run says of the ids it may hold, before its blocks are looked at.
//!
//! A Bloom filter in lines of 512 bits (Putze, Sanders, Singler: "Cache-,
//! hash- and space-efficient Bloom filters", 2007): an id has six bits, all in
//! one line. Ids are uniform, so their own bits serve as the hashes. Lines
//! stand in the order of the ids that they stand for, so that whoever has the
//! ids in order makes them one after the other. A wrong "yes" costs a look at
//! a block; a wrong "no", after damage, stores a chunk once more.

use crate::id::ChunkId;

/// Length of a line in bytes.
const LINE: usize = 64;
/// Lines of a part: with LMDB's header they fill a page of 4,096 bytes.
const LINES_OF_PART: u64 = 63;
/// Ids for a line: 10.7 bits for each, and one "yes" of a hundred is wrong.
const IDS_OF_LINE: u64 = 48;
const BITS_OF_ID: u32 = 6;

/// Where in a run's filter the bits of an id are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FilterLine {
    /// The part.
    pub part: u32,
    /// Where in the part the line begins.
    offset: usize,
    bits: u64,
}

impl FilterLine {
    /// The line of `id` in the filter of a run of `count` entries.
    pub fn of(id: &ChunkId, count: u64) -> Self {
        let lines = count.div_ceil(IDS_OF_LINE).max(1);
        let (place, bits) = halves(id);
        let line = (u128::from(place) * u128::from(lines)) >> 64;
        let line = u64::try_from(line).unwrap_or_default();
        let place = usize::try_from(line % LINES_OF_PART).unwrap_or_default();
        Self {
            part: u32::try_from(line / LINES_OF_PART).unwrap_or(u32::MAX),
            offset: place * LINE,
            bits,
        }
    }

    /// Notes the id in its part, which is made longer if need be.
    pub fn set(self, part: &mut Vec<u8>) {
        if part.len() < self.offset + LINE {
            part.resize(self.offset + LINE, 0);
        }
        for (byte, bit) in self.places() {
            if let Some(byte) = part.get_mut(byte) {
                *byte |= bit;
            }
        }
    }

    /// Whether the id may have been noted in its part.
    pub fn is_set(self, part: &[u8]) -> bool {
        self.places()
            .all(|(byte, bit)| part.get(byte).is_some_and(|byte| byte & bit != 0))
    }

    /// Bytes of the part, and one bit in each.
    fn places(self) -> impl Iterator<Item = (usize, u8)> {
        (0..BITS_OF_ID).map(move |number| {
            let bit = (self.bits >> (9 * number)) & 511;
            let byte = usize::try_from(bit / 8).unwrap_or_default();
            (self.offset + byte, 1 << (bit % 8))
        })
    }
}

fn halves(id: &ChunkId) -> (u64, u64) {
    let number = u128::from_be_bytes(*id.as_bytes());
    let half = |number: u128| u64::try_from(number & u128::from(u64::MAX)).unwrap_or_default();
    (half(number >> 64), half(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::id;

    #[test]
    fn what_was_noted_is_found_and_little_else() {
        for count in [1, 47, 48, 49, 5_000, 20_000_u32] {
            let mut parts = vec![Vec::new(); 16];
            for number in 0..count {
                let line = FilterLine::of(&id(number), count.into());
                line.set(&mut parts[line.part as usize]);
            }
            let noted = |number| {
                let line = FilterLine::of(&id(number), count.into());
                line.is_set(&parts[line.part as usize])
            };
            assert!((0..count).all(noted));
            let wrong = (count..count + 10_000)
                .filter(|&number| noted(number))
                .count();
            assert!(wrong < 250, "{wrong} of 10,000 at {count}");
            let longest = parts.iter().map(Vec::len).max().unwrap();
            assert!(longest <= 4_096 - 16, "more than a page: {longest}");
        }
    }

    #[test]
    fn lines_stand_in_the_order_of_the_ids() {
        let line = |byte| FilterLine::of(&ChunkId([byte; 16]), 1_000_000);
        let places: Vec<_> = (0..=255)
            .map(line)
            .map(|line| (line.part, line.offset))
            .collect();
        assert!(places.is_sorted());
        assert_eq!(places[0], (0, 0));
        let last = u32::try_from(1_000_000_u64.div_ceil(48) / 63).unwrap();
        assert_eq!(places[255].0, last);
    }

    #[test]
    fn a_part_that_is_cut_short_holds_nothing_there() {
        let line = FilterLine::of(&id(1), 1);
        let mut part = Vec::new();
        line.set(&mut part);
        assert!(line.is_set(&part));
        assert!(!line.is_set(&part[..part.len() / 64]));
    }
}
