//! A set of frames of one brick.

/// Numbers of frames: frame *n* is bit *n* mod 8 of byte *n* ÷ 8, as in roots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Frames(Vec<u8>);

impl Frames {
    pub(super) fn insert(&mut self, frame: u32) {
        let byte = frame as usize / 8;
        if self.0.len() <= byte {
            self.0.resize(byte + 1, 0);
        }
        self.0[byte] |= 1 << (frame % 8);
    }

    /// Adds those of a bitmap.
    pub(super) fn add(&mut self, bitmap: &[u8]) {
        if self.0.len() < bitmap.len() {
            self.0.resize(bitmap.len(), 0);
        }
        for (byte, more) in self.0.iter_mut().zip(bitmap) {
            *byte |= more;
        }
    }

    pub(super) fn bitmap(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn contains(&self, frame: u32) -> bool {
        let byte = self.0.get(frame as usize / 8);
        byte.is_some_and(|byte| byte >> (frame % 8) & 1 == 1)
    }

    /// Ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        let bits = u32::try_from(self.0.len()).unwrap_or(u32::MAX / 8) * 8;
        (0..bits).filter(|&frame| self.contains(frame))
    }

    pub(super) fn is_within(&self, others: &Self) -> bool {
        self.iter().all(|frame| others.contains(frame))
    }
}

impl FromIterator<u32> for Frames {
    fn from_iter<I: IntoIterator<Item = u32>>(frames: I) -> Self {
        let mut all = Self::default();
        frames.into_iter().for_each(|frame| all.insert(frame));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_those_of_a_bitmap() {
        let mut frames = Frames::default();
        frames.add(&[0b1010_0001, 1]);
        assert_eq!(frames.iter().collect::<Vec<_>>(), [0, 5, 7, 8]);
        frames.insert(3);
        assert!(frames.contains(3) && !frames.contains(4) && !frames.contains(900));
        let few: Frames = [3, 8].into_iter().collect();
        assert!(few.is_within(&frames) && !frames.is_within(&few));
    }
}
