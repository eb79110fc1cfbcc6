//! Where the frames lie that an index needs of bricks that are gone: gc has moved them into
//! other bricks, the carriers (`formats/collection.md#rewriting`).
//!
//! Said before anything is read, for plans and for whoever fetches bricks; a restore that
//! only misses a frame asks [`super::elsewhere`].

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::frames::FrameSpec;
use super::needed::{Need, needed};
use super::tocs::Tocs;
use crate::error::Result;
use crate::format::trailer::UsedFrame;
use crate::id::BrickName;
use crate::index::{IndexFile, Trailer};

/// How near a brick is; the nearest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// At hand.
    Here,
    /// In a place that is known.
    Away,
    /// The store says that it was not deleted, but nobody says where it is.
    Somewhere,
    /// Nobody knows of it.
    Nowhere,
}

/// Frames that are to be read in other bricks than the index says.
#[derive(Debug, Default)]
pub struct Moved {
    /// Of the old bricks; ascending by number.
    frames: HashMap<BrickName, Vec<Move>>,
    /// Names and lengths in bytes.
    carriers: Vec<(BrickName, u64)>,
}

/// Where a frame lies now: 32 bytes a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Move {
    /// Its number in the old brick.
    number: u32,
    /// The new one.
    carrier: u32,
    frame: Place,
}

/// A [`UsedFrame`] that can be ordered.
type Place = (u32, u64, u32, u32);

impl Moved {
    /// Whether all frames are where the index says.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Where to read the frame that an index names so.
    pub(super) fn follow(&self, spec: FrameSpec) -> FrameSpec {
        let Some(moves) = self.frames.get(&spec.brick) else {
            return spec;
        };
        let at = moves.binary_search_by_key(&spec.frame.number, |one| one.number);
        let found = at.ok().and_then(|at| {
            let Move { carrier, frame, .. } = *moves.get(at)?;
            let (brick, _) = *self.carriers.get(carrier as usize)?;
            let (number, offset, length, plain_length) = frame;
            let frame = UsedFrame {
                number,
                offset,
                length,
                plain_length,
            };
            Some(FrameSpec { brick, frame })
        });
        found.unwrap_or(spec)
    }

    /// The carriers that are used, and their lengths in bytes.
    pub(super) fn carriers(&self) -> impl Iterator<Item = (BrickName, u64)> {
        self.carriers.iter().copied()
    }
}

/// What a restore needs of a store as it is now.
#[derive(Debug, Default)]
pub struct Needs {
    /// The bricks, in the order of their first use: what an index names, or the carriers.
    pub bricks: Vec<Need>,
    /// Frames that are elsewhere than the index says: for the restore.
    pub moved: Arc<Moved>,
}

/// Says of each of these bricks how near it is.
pub type Stand<'a> = dyn FnMut(&[BrickName]) -> Result<Vec<Standing>> + 'a;

/// The bricks that a restore of the members that match `patterns` needs, as [`needed`], and
/// in place of those that are gone the carriers that hold the frames that are needed, as far
/// as the TOCs that are at hand say it. Without `tocs` it is what the index names.
///
/// A brick is gone if it is not at hand, and the store has no sidecar of it or
/// [`Standing::Nowhere`] is said of it. TOCs are read only if some are; of them the needed
/// frames are kept, 32 bytes each.
///
/// # Errors
/// Those of [`needed`] and `stand`; [`crate::Error::Io`] if TOCs cannot be listed.
pub fn find_needed(
    index: &IndexFile,
    trailer: &Trailer,
    patterns: &[String],
    tocs: Option<&Tocs>,
    stand: &mut Stand<'_>,
) -> Result<Needs> {
    let needs = needed(index, trailer, patterns, &Arc::default())?;
    let unmoved = |bricks| Needs {
        bricks,
        moved: Arc::default(),
    };
    let Some(tocs) = tocs else {
        return Ok(unmoved(needs));
    };
    let names: Vec<_> = needs.iter().map(|need| need.brick).collect();
    let mut gone = HashMap::new();
    let mut taken = HashSet::new();
    for (need, standing) in needs.iter().zip(stand(&names)?) {
        let is_gone = standing != Standing::Here
            && (standing == Standing::Nowhere || !tocs.stands(&need.brick)?);
        if is_gone {
            gone.insert(need.brick, Gone::new(standing));
        } else {
            taken.insert(need.brick);
        }
    }
    if gone.is_empty() {
        return Ok(unmoved(needs));
    }
    name_frames(index, trailer, &needs, &mut gone)?;
    let carriers = candidates(tocs, &mut gone)?;
    if carriers.is_empty() {
        return Ok(unmoved(needs));
    }
    let names: Vec<_> = carriers.iter().map(|(name, _)| *name).collect();
    let standings = stand(&names)?;
    let moved = Arc::new(choose(gone, carriers, &standings, taken));
    let bricks = needed(index, trailer, patterns, &moved)?;
    Ok(Needs { bricks, moved })
}

/// A brick that is gone.
struct Gone {
    standing: Standing,
    /// Numbers, lengths and plain lengths of the frames that are needed; ascending.
    needed: Vec<(u32, u32, u32)>,
    /// Where these may be.
    moves: Vec<Move>,
}

impl Gone {
    const fn new(standing: Standing) -> Self {
        Self {
            standing,
            needed: Vec::new(),
            moves: Vec::new(),
        }
    }

    /// Whether a frame is needed that stood here under this number. A frame is moved byte
    /// for byte: one of other lengths is another.
    fn needs(&self, number: u32, length: u32, plain_length: u32) -> bool {
        let wanted = (number, length, plain_length);
        self.needed.binary_search(&wanted).is_ok()
    }
}

/// Enters the frames that are needed of the bricks that are gone.
fn name_frames(
    index: &IndexFile,
    trailer: &Trailer,
    needs: &[Need],
    gone: &mut HashMap<BrickName, Gone>,
) -> Result<()> {
    let numbers: HashMap<_, _> = needs.iter().map(|need| (need.brick, need)).collect();
    let mut bricks = trailer.bricks(index)?;
    for number in 0..bricks.brick_count() {
        let brick = bricks.brick(number)?;
        if let (Some(gone), Some(need)) = (gone.get_mut(&brick.name), numbers.get(&brick.name)) {
            let frames = brick.frames.iter();
            let frames = frames.filter(|frame| need.frames.contains(frame.number));
            gone.needed
                .extend(frames.map(|frame| (frame.number, frame.length, frame.plain_length)));
            gone.needed.sort_unstable();
        }
    }
    Ok(())
}

/// Looks for frames of bricks that are gone in all TOCs; returns the bricks that have some.
fn candidates(tocs: &Tocs, gone: &mut HashMap<BrickName, Gone>) -> Result<Vec<(BrickName, u64)>> {
    let mut carriers = Vec::new();
    tocs.each_brick(|name| {
        let Some((toc, length)) = tocs.read(name) else {
            return Ok(true);
        };
        let Some(origins) = toc.origins() else {
            return Ok(true);
        };
        if !origins.bricks().iter().any(|old| gone.contains_key(old)) {
            return Ok(true);
        }
        let carrier = u32::try_from(carriers.len()).unwrap_or(u32::MAX);
        let mut is_used = false;
        for (number, frame) in toc.frames().iter().enumerate() {
            for (old, place) in origins.of(number) {
                let gone = gone.get_mut(&old);
                let gone = gone.filter(|gone| gone.needs(place, frame.length, frame.plain_length));
                let (Some(gone), Ok(number)) = (gone, u32::try_from(number)) else {
                    continue;
                };
                gone.moves.push(Move {
                    number: place,
                    carrier,
                    frame: (number, frame.offset, frame.length, frame.plain_length),
                });
                is_used = true;
            }
        }
        if is_used {
            carriers.push((*name, length));
        }
        Ok(true)
    })?;
    Ok(carriers)
}

/// Chooses for each frame the nearest brick that has it; of several that are as near one
/// that is needed anyway, and else a carrier, rather than a brick that the store gave up.
fn choose(
    gone: HashMap<BrickName, Gone>,
    carriers: Vec<(BrickName, u64)>,
    standings: &[Standing],
    mut taken: HashSet<BrickName>,
) -> Moved {
    let standing = |one: &Move| {
        let found = standings.get(one.carrier as usize);
        found.copied().unwrap_or(Standing::Nowhere)
    };
    let name = |one: &Move| carriers.get(one.carrier as usize).map(|(name, _)| *name);
    let mut gone: Vec<_> = gone.into_iter().collect();
    gone.sort_unstable_by_key(|(brick, _)| *brick);
    // What there is no choice about comes first.
    let mut open = Vec::new();
    let mut frames: HashMap<BrickName, Vec<Move>> = HashMap::new();
    for (brick, mut old) in gone {
        old.moves.sort_unstable();
        for &(number, ..) in &old.needed {
            let start = old.moves.partition_point(|one| one.number < number);
            let all = old.moves.get(start..).unwrap_or_default();
            let all = all.iter().take_while(|one| one.number == number);
            let nearest = all.clone().map(standing).min();
            let Some(nearest) = nearest.filter(|nearest| *nearest <= old.standing) else {
                taken.insert(brick);
                continue;
            };
            let best: Vec<Move> = all
                .filter(|one| standing(one) == nearest)
                .copied()
                .collect();
            match best[..] {
                [only] if nearest < old.standing => {
                    taken.extend(name(&only));
                    frames.entry(brick).or_default().push(only);
                }
                _ => open.push((brick, nearest == old.standing, best)),
            }
        }
    }
    for (brick, may_stay, best) in open {
        let needed_anyway = best
            .iter()
            .find(|one| name(one).is_some_and(|name| taken.contains(&name)));
        if needed_anyway.is_none() && may_stay && taken.contains(&brick) {
            continue;
        }
        if let Some(&one) = needed_anyway.or(best.first()) {
            taken.extend(name(&one));
            frames.entry(brick).or_default().push(one);
        }
    }
    for moves in frames.values_mut() {
        moves.sort_unstable();
    }
    Moved { frames, carriers }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Standing::{Away, Here, Nowhere, Somewhere};

    const fn name(number: u8) -> BrickName {
        BrickName([number; 32])
    }

    /// What is chosen for the frames of brick 0, which stands so, in carriers 1, 2 and 3:
    /// of each frame the carriers that have it.
    fn chosen(old: Standing, standings: &[Standing], frames: &[&[u32]]) -> Vec<u8> {
        let moves = (0..).zip(frames).flat_map(|(number, carriers)| {
            let carriers = carriers.iter();
            carriers.map(move |carrier| Move {
                number,
                carrier: carrier - 1,
                frame: (number, 80, 9, 9),
            })
        });
        let gone = Gone {
            standing: old,
            needed: (0..)
                .zip(frames)
                .map(|(number, _)| (number, 9, 9))
                .collect(),
            moves: moves.collect(),
        };
        let carriers = (1..).map(|number| (name(number), 500));
        let carriers = carriers.take(standings.len()).collect();
        let chosen = choose(
            HashMap::from([(name(0), gone)]),
            carriers,
            standings,
            HashSet::new(),
        );
        let frames = (0..).zip(frames).map(|(number, _)| {
            let frame = UsedFrame {
                number,
                offset: 80,
                length: 9,
                plain_length: 9,
            };
            let spec = FrameSpec {
                brick: name(0),
                frame,
            };
            chosen.follow(spec).brick.as_bytes()[0]
        });
        frames.collect()
    }

    #[test]
    fn the_nearest_is_chosen() {
        assert_eq!(chosen(Away, &[Nowhere, Here], &[&[1, 2], &[1]]), [2, 0]);
        assert_eq!(chosen(Nowhere, &[Somewhere], &[&[1], &[]]), [1, 0]);
        assert_eq!(chosen(Away, &[Somewhere], &[&[1]]), [0]);
    }

    #[test]
    fn of_those_as_near_few_are_chosen() {
        // Carrier 3 is needed for the last frame, and so serves the others.
        let all = chosen(Nowhere, &[Away; 3], &[&[1, 3], &[2, 3], &[3]]);
        assert_eq!(all, [3, 3, 3]);
        // The old brick is needed for the second.
        assert_eq!(chosen(Away, &[Away], &[&[1], &[]]), [0, 0]);
        assert_eq!(chosen(Away, &[Away], &[&[1], &[1]]), [1, 1]);
    }
}
