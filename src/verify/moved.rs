//! Frames that gc has moved (`formats/collection.md#rewriting`): roots and indexes go on
//! naming the places where they stood.

use std::collections::HashMap;

use crate::format::toc::Toc;
use crate::id::BrickName;

/// Where frames of old bricks stand now.
#[derive(Debug, Default)]
pub(super) struct Moved(HashMap<(BrickName, u32), Vec<(BrickName, u32)>>);

impl Moved {
    /// Takes note of the frames of the brick `name` that come from others.
    pub(super) fn add(&mut self, name: &BrickName, toc: &Toc) {
        let Some(origins) = toc.origins() else {
            return;
        };
        for (number, frame) in (0..toc.frames().len()).zip(0..) {
            for origin in origins.of(number) {
                self.0.entry(origin).or_default().push((*name, frame));
            }
        }
    }

    /// Bricks and frames that hold what stood in this place.
    pub(super) fn to(&self, old: &BrickName, place: u32) -> &[(BrickName, u32)] {
        let found = self.0.get(&(*old, place));
        found.map_or(&[], Vec::as_slice)
    }
}

/// The numbers of the frames in a bitmap (`formats/store.md#roots`).
pub(super) fn frames_of(bitmap: &[u8]) -> impl Iterator<Item = u32> {
    (0..).zip(bitmap).flat_map(|(number, byte)| {
        let bits = (0..8).filter(move |bit| byte >> bit & 1 == 1);
        bits.map(move |bit| number * 8 + bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_a_bitmap_are_its_bits() {
        let frames: Vec<_> = frames_of(&[0b1000_0001, 0, 0b10]).collect();
        assert_eq!(frames, [0, 7, 17]);
        assert_eq!(frames_of(&[]).count(), 0);
    }
}
