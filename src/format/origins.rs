//! Where the frames of a brick that gc has made come from: field 1 of its TOC
//! (`formats/collection.md#rewriting`).

use super::brick::MAX_FRAMES;
use super::wire::{DecodeResult, Decoder, put_uv};
use crate::error::{Error, Result};
use crate::id::BrickName;

/// Most origins that a TOC holds.
pub const MAX_ORIGINS: usize = 1 << 20;

/// A place where a frame stood: the brick, and the number of the frame in it.
pub type Origin = (BrickName, u32);

/// The origins of all frames of a brick.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    /// Ascending.
    bricks: Vec<BrickName>,
    /// Number of a brick, and place in it.
    places: Vec<(u32, u32)>,
    /// Of each frame: where its places end.
    ends: Vec<u32>,
}

impl Origins {
    /// The origins of the frames, in their order. Those without any are from one of the
    /// old bricks, `bricks` among them.
    ///
    /// # Errors
    /// [`Error::Internal`] if a limit of the format breaks.
    pub fn new(frames: &[Vec<Origin>], bricks: &[BrickName]) -> Result<Self> {
        let refuse = |what: &str| Error::Internal(format!("a TOC with {what}"));
        let mut origins = Self {
            bricks: bricks.to_vec(),
            ..Self::default()
        };
        let named = frames.iter().flatten().map(|(brick, _)| *brick);
        origins.bricks.extend(named);
        origins.bricks.sort_unstable();
        origins.bricks.dedup();
        if origins.bricks.is_empty() {
            return Err(refuse("origins in no brick"));
        }
        for frame in frames {
            let mut frame = frame.clone();
            frame.sort_unstable();
            frame.dedup();
            for (brick, place) in frame {
                let number = origins.bricks.binary_search(&brick).unwrap_or_default();
                let number = u32::try_from(number).unwrap_or(u32::MAX);
                if place >= MAX_FRAMES || origins.places.len() == MAX_ORIGINS {
                    return Err(refuse("an origin beyond the limits"));
                }
                origins.places.push((number, place));
            }
            let end = u32::try_from(origins.places.len()).unwrap_or(u32::MAX);
            origins.ends.push(end);
        }
        Ok(origins)
    }

    /// The bricks that frames come from, ascending.
    #[must_use]
    pub fn bricks(&self) -> &[BrickName] {
        &self.bricks
    }

    /// The origins of the frame with this number, ascending.
    pub fn of(&self, frame: usize) -> impl Iterator<Item = Origin> {
        let end = |frame: usize| self.ends.get(frame).map_or(0, |&end| end as usize);
        let start = frame.checked_sub(1).map_or(0, end);
        let places = self.places.get(start..end(frame)).unwrap_or_default();
        places.iter().filter_map(|&(brick, place)| {
            let brick = self.bricks.get(usize::try_from(brick).ok()?)?;
            Some((*brick, place))
        })
    }

    /// How many frames there are.
    pub(super) fn frame_count(&self) -> usize {
        self.ends.len()
    }

    /// Appends the value of the field.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_uv(out, self.bricks.len() as u64);
        for brick in &self.bricks {
            out.extend_from_slice(brick.as_bytes());
        }
        let mut start = 0;
        for &end in &self.ends {
            let end = end as usize;
            put_uv(out, (end - start) as u64);
            for &(brick, place) in self.places.get(start..end).unwrap_or_default() {
                put_uv(out, u64::from(brick));
                put_uv(out, u64::from(place));
            }
            start = end;
        }
    }

    /// Reads the value of the field in the TOC of a brick with so many frames.
    pub(super) fn decode(decoder: &mut Decoder<'_>, frames: usize) -> DecodeResult<Self> {
        let mut origins = Self::default();
        let most = (decoder.rest().len() / BrickName::SIZE).min(MAX_ORIGINS) as u64;
        let count = decoder.uv_in("number of old bricks", 1..=most)?;
        for _ in 0..count {
            let here = decoder.clone();
            let name = BrickName(decoder.array("old brick")?);
            if origins.bricks.last().is_some_and(|last| *last >= name) {
                return Err(here.error("old brick", "names in ascending order", name));
            }
            origins.bricks.push(name);
        }
        for _ in 0..frames {
            // Two bytes at least for each.
            let left = MAX_ORIGINS - origins.places.len();
            let most = left.min(decoder.rest().len() / 2) as u64;
            let first = origins.places.len();
            for _ in 0..decoder.uv_in("number of origins", 0..=most)? {
                let here = decoder.clone();
                let brick = decoder.uv_in("old brick", 0..=count - 1)?;
                let place =
                    decoder.uv_in("place in the old brick", 0..=u64::from(MAX_FRAMES - 1))?;
                let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
                let origin = (narrow(brick), narrow(place));
                let before = origins.places.get(first..).and_then(<[_]>::last);
                if before.is_some_and(|last| *last >= origin) {
                    let found = format_args!("{brick}, {place}");
                    return Err(here.error("origin", "ascending ones", found));
                }
                origins.places.push(origin);
            }
            let end = u32::try_from(origins.places.len()).unwrap_or(u32::MAX);
            origins.ends.push(end);
        }
        if decoder.is_empty() {
            return Ok(origins);
        }
        Err(decoder.error("field", "its end", "more bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ONE: BrickName = BrickName([1; 32]);
    const TWO: BrickName = BrickName([2; 32]);

    fn decode(bytes: &[u8], frames: usize) -> DecodeResult<Origins> {
        Origins::decode(&mut Decoder::new("TOC", bytes), frames)
    }

    fn encoded(origins: &Origins) -> Vec<u8> {
        let mut bytes = Vec::new();
        origins.encode(&mut bytes);
        bytes
    }

    #[test]
    fn origins_are_read_back_frame_by_frame() {
        let frames = [
            vec![(TWO, 7)],
            vec![(TWO, 3), (ONE, 65_535), (TWO, 3)],
            vec![],
        ];
        let origins = Origins::new(&frames, &[]);
        let origins = origins.unwrap();
        let read = decode(&encoded(&origins), 3).unwrap();
        assert_eq!(read, origins);
        assert_eq!(read.bricks(), [ONE, TWO]);
        assert_eq!(read.of(0).collect::<Vec<_>>(), [(TWO, 7)]);
        assert_eq!(read.of(1).collect::<Vec<_>>(), [(ONE, 65_535), (TWO, 3)]);
        assert_eq!(read.of(2).count(), 0);
    }

    #[test]
    fn what_breaks_a_limit_is_refused() {
        assert!(Origins::new(&[vec![]], &[]).is_err());
        assert_eq!(Origins::new(&[vec![]], &[ONE]).unwrap().bricks(), [ONE]);
        assert!(Origins::new(&[vec![(ONE, 65_536)]], &[]).is_err());
        let names = |bricks: &[u8]| -> Vec<u8> { bricks.iter().flat_map(|&b| [b; 32]).collect() };
        for (bytes, frames) in [
            // No brick, a brick beyond the list, a place beyond the brick.
            (vec![0, 1], 1),
            ([&[1][..], &names(&[1]), &[1, 1, 0]].concat(), 1),
            ([&[1][..], &names(&[1]), &[1, 0, 0x80, 0x80, 4]].concat(), 1),
            // Out of order, twice, too few frames, too many.
            ([&[2][..], &names(&[2, 1]), &[1, 0, 0]].concat(), 1),
            ([&[1][..], &names(&[1]), &[2, 0, 1, 0, 0]].concat(), 1),
            ([&[1][..], &names(&[1]), &[2, 0, 1, 0, 1]].concat(), 1),
            ([&[1][..], &names(&[1]), &[1, 0, 0]].concat(), 2),
            ([&[1][..], &names(&[1]), &[1, 0, 0, 1, 0, 0]].concat(), 1),
        ] {
            assert!(decode(&bytes, frames).is_err(), "{bytes:?}");
        }
        let most = vec![vec![(ONE, 0)]; MAX_ORIGINS];
        assert!(Origins::new(&most, &[]).is_ok());
        assert!(Origins::new(&vec![vec![(ONE, 0)]; MAX_ORIGINS + 1], &[]).is_err());
    }

    proptest! {
        #[test]
        fn round_trip(frames in prop::collection::vec(
            prop::collection::btree_set((0..4_u8, 0..65_536_u32), 0..5), 1..20,
        )) {
            let frames: Vec<Vec<Origin>> = frames
                .into_iter()
                .map(|frame| frame.into_iter().map(|(b, p)| (BrickName([b; 32]), p)).collect())
                .collect();
            let origins = Origins::new(&frames, &[BrickName([3; 32])]).unwrap();
            let read = decode(&encoded(&origins), frames.len()).unwrap();
            for (number, frame) in frames.iter().enumerate() {
                prop_assert_eq!(&read.of(number).collect::<Vec<_>>(), frame);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, frames in 0..5_usize) {
            if let Ok(origins) = decode(&bytes, frames) {
                prop_assert_eq!(encoded(&origins), bytes);
            }
        }
    }
}
