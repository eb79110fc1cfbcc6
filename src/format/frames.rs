//! A set of frames of one brick (`formats/store.md#roots`).

/// Numbers of frames, as a bitmap: frame *n* is bit *n* mod 8 of byte *n* ÷ 8.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frames(Vec<u8>);

impl Frames {
    /// The bytes; the last may be zero if frames were removed.
    #[must_use]
    pub fn bitmap(&self) -> &[u8] {
        &self.0
    }

    /// Adds a frame.
    pub fn insert(&mut self, frame: u32) {
        let byte = frame as usize / 8;
        if self.0.len() <= byte {
            self.0.resize(byte + 1, 0);
        }
        self.0[byte] |= 1 << (frame % 8);
    }

    /// Takes a frame out, if it is in.
    pub fn remove(&mut self, frame: u32) {
        if let Some(byte) = self.0.get_mut(frame as usize / 8) {
            *byte &= !(1 << (frame % 8));
        }
    }

    /// Adds those of another set.
    pub fn add(&mut self, others: &Self) {
        if self.0.len() < others.0.len() {
            self.0.resize(others.0.len(), 0);
        }
        for (byte, more) in self.0.iter_mut().zip(&others.0) {
            *byte |= more;
        }
    }

    /// Whether it has a frame.
    #[must_use]
    pub fn contains(&self, frame: u32) -> bool {
        let byte = self.0.get(frame as usize / 8);
        byte.is_some_and(|byte| byte >> (frame % 8) & 1 == 1)
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }

    /// Ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        let bits = u32::try_from(self.0.len()).unwrap_or(u32::MAX / 8) * 8;
        (0..bits).filter(|&frame| self.contains(frame))
    }

    /// Whether another set has all of it.
    #[must_use]
    pub fn is_within(&self, others: &Self) -> bool {
        self.iter().all(|frame| others.contains(frame))
    }
}

impl From<Vec<u8>> for Frames {
    fn from(bitmap: Vec<u8>) -> Self {
        Self(bitmap)
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
        frames.add(&vec![0b1010_0001, 1].into());
        assert_eq!(frames.iter().collect::<Vec<_>>(), [0, 5, 7, 8]);
        frames.insert(3);
        assert!(frames.contains(3) && !frames.contains(4) && !frames.contains(900));
        let few: Frames = [3, 8].into_iter().collect();
        assert!(few.is_within(&frames) && !frames.is_within(&few));
    }

    #[test]
    fn a_set_is_empty_once_all_frames_are_removed() {
        let mut frames: Frames = [3, 8].into_iter().collect();
        frames.remove(900);
        frames.remove(3);
        assert!(!frames.is_empty() && !frames.contains(3) && frames.contains(8));
        frames.remove(8);
        assert!(frames.is_empty() && Frames::default().is_empty());
    }
}
