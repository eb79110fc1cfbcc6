//! What says, in little memory, that a chunk is nowhere.

use crate::id::ChunkId;

/// Says of a chunk that it is in no brick; of some it does not, although they are in none.
pub(super) struct Filter {
    words: Vec<u64>,
}

impl Filter {
    /// Bits for each brick, of some 4,000 chunks, and in all.
    const OF_BRICK: usize = 16 * 4096;
    const LEAST: usize = 1 << 16;
    const MOST: usize = 1 << 29;

    pub(super) fn new(bricks: usize) -> Self {
        let bits = bricks.saturating_mul(Self::OF_BRICK);
        let bits = bits.clamp(Self::LEAST, Self::MOST).next_power_of_two();
        Self {
            words: vec![0; bits / 64],
        }
    }

    /// Four bits of an id, which is uniform: of what was not added one in 400 is let pass.
    fn bits(&self, id: &ChunkId) -> [(usize, u64); 4] {
        let bits = self.words.len() * 64;
        let (parts, _) = id.as_bytes().as_chunks();
        let bit = |part: usize| {
            let bytes: [u8; 4] = parts.get(part).copied().unwrap_or_default();
            let bit = u32::from_le_bytes(bytes) as usize % bits;
            (bit / 64, 1 << (bit % 64))
        };
        [0, 1, 2, 3].map(bit)
    }

    pub(super) fn add(&mut self, id: &ChunkId) {
        for (word, bit) in self.bits(id) {
            self.words[word] |= bit;
        }
    }

    pub(super) fn may_hold(&self, id: &ChunkId) -> bool {
        let bits = self.bits(id);
        bits.iter().all(|&(word, bit)| self.words[word] & bit != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_knows_what_was_added() {
        let mut filter = Filter::new(1);
        let id = |number: u32| {
            let mut id = [0; 16];
            id.copy_from_slice(&blake3::hash(&number.to_le_bytes()).as_bytes()[..16]);
            ChunkId(id)
        };
        (0..1000).for_each(|number| filter.add(&id(number)));
        assert!((0..1000).all(|number| filter.may_hold(&id(number))));
        let wrong = (1000..11_000).filter(|&number| filter.may_hold(&id(number)));
        assert!(wrong.count() < 100);
    }
}
