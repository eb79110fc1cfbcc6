//! How bricks are put into sets, and sets cut into stripes (`formats/parity.md`).

use std::str::FromStr;

use crate::format::parity::{
    MAX_SHARD_LENGTH, MAX_SHARDS, MAX_STRIPE_PARITY, MAX_STRIPE_SHARDS, Member, Shape, WHOLE_SHARE,
};

/// Parity as a part of what it protects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share {
    /// In millionths.
    millionths: u32,
}

const WHOLE: u64 = WHOLE_SHARE as u64;

impl Default for Share {
    /// 5 %.
    fn default() -> Self {
        Self { millionths: 50_000 }
    }
}

impl FromStr for Share {
    type Err = String;

    /// Percent, with or without the sign: `5%`, `2.5`; more than 0, at most 100.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected a share such as 5% or 2.5%, at most 100%, found {text:?}");
        let number = text.trim().trim_end_matches('%').trim_end();
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || whole.len() > 3 || fraction.len() > 4 || !digits(whole) {
            return Err(wrong());
        }
        if !digits(fraction) || number.ends_with('.') {
            return Err(wrong());
        }
        let millionths: u32 = format!("{whole}{fraction:0<4}")
            .parse()
            .map_err(|_| wrong())?;
        if millionths == 0 || u64::from(millionths) > WHOLE {
            return Err(wrong());
        }
        Ok(Self { millionths })
    }
}

impl Share {
    /// The share with which a set was made; if it does not say, what it has.
    pub(super) fn of_set(shape: &Shape) -> Self {
        let has = u64::from(shape.recovery) * WHOLE / shape.stripe_shards().max(1);
        let has = u32::try_from(has.clamp(1, WHOLE)).unwrap_or(WHOLE_SHARE);
        let millionths = if shape.share > 0 { shape.share } else { has };
        Self { millionths }
    }

    /// The share of `shards`, rounded up.
    fn of(self, shards: u64) -> u64 {
        (shards * u64::from(self.millionths)).div_ceil(WHOLE)
    }
}

const LEAST_SHARD: u32 = 4 << 10;
const USUAL_SHARD: u32 = 64 << 10;
/// More shards than these are not worth their description, up to the usual length.
const FEW_SHARDS: u64 = 1 << 10;
/// More shards than these make the description long.
const MANY_SHARDS: u64 = 1 << 18;
/// About how long a parity file is, in bytes of recovery shards.
const FILE_LENGTH: u64 = 64 << 20;

/// Cuts `members` into sets of about equal size, with at most `most` members each.
pub fn shapes(mut members: Vec<Member>, most: usize, share: Share) -> Vec<Shape> {
    members.sort_unstable_by_key(|member| member.name);
    members.dedup_by_key(|member| member.name);
    if members.is_empty() {
        return Vec::new();
    }
    let sets = members.len().div_ceil(most.max(1));
    let mut shapes = Vec::new();
    let edge = |set: usize| members.len() * set / sets;
    for set in 0..sets {
        let group = members.get(edge(set)..edge(set + 1)).unwrap_or_default();
        add_shapes(group, share, &mut shapes);
    }
    shapes
}

/// One set, or where it would break a limit, two halves.
fn add_shapes(members: &[Member], share: Share, shapes: &mut Vec<Shape>) {
    if let Some(shape) = shape(members, share) {
        shapes.push(shape);
    } else if members.len() > 1 {
        let (front, back) = members.split_at(members.len() / 2);
        add_shapes(front, share, shapes);
        add_shapes(back, share, shapes);
    }
}

/// The shape of a set of these members. None if no such set keeps the limits, which
/// cannot be with a single member.
fn shape(members: &[Member], part: Share) -> Option<Shape> {
    let mut shape = Shape {
        shard_length: LEAST_SHARD,
        stripes: 1,
        recovery: 1,
        per_file: 1,
        share: part.millionths,
        members: members.to_vec(),
    };
    loop {
        let shards = shape.total_shards();
        let longer = if shape.shard_length < USUAL_SHARD {
            shards > FEW_SHARDS
        } else {
            shape.shard_length < MAX_SHARD_LENGTH && shards > MANY_SHARDS
        };
        if !longer {
            break;
        }
        shape.shard_length *= 2;
    }
    if shape.total_shards() > MAX_SHARDS {
        return None;
    }
    set_stripes(&mut shape, part)?;
    let stripe_row = u64::from(shape.stripes) * u64::from(shape.shard_length);
    let recovery = u64::from(shape.recovery);
    let files = (recovery * stripe_row)
        .div_ceil(FILE_LENGTH)
        .max(2)
        .min(recovery);
    shape.per_file = u32::try_from(recovery.div_ceil(files)).ok()?;
    shape.keeps_limits().then_some(shape)
}

/// Sets the least number of stripes that keeps the limits, and the recovery shards of each.
fn set_stripes(shape: &mut Shape, part: Share) -> Option<()> {
    let most_recovery = MAX_STRIPE_PARITY / u64::from(shape.shard_length);
    let shards = shape.total_shards();
    let longest = shape
        .members
        .iter()
        .map(|member| shape.shards(member.length));
    let longest = longest.max().unwrap_or(0);
    let mut stripes = part.of(shards).div_ceil(most_recovery).max(1);
    while stripes <= longest {
        shape.stripes = u32::try_from(stripes).ok()?;
        let most = shape.stripe_shards();
        let recovery = part.of(most).max(1);
        let fits =
            recovery <= most_recovery && most + recovery.next_power_of_two() <= MAX_STRIPE_SHARDS;
        if fits {
            shape.recovery = u32::try_from(recovery).ok()?;
            return Some(());
        }
        // By a step that grows, lest the search be long.
        stripes += 1 + stripes / 16;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{BrickName, Class};

    fn members(lengths: &[u64]) -> Vec<Member> {
        let member = |(number, &length): (usize, &u64)| Member {
            class: Class::Data,
            name: BrickName(*blake3::hash(&number.to_le_bytes()).as_bytes()),
            length,
        };
        lengths.iter().enumerate().map(member).collect()
    }

    #[test]
    fn shares_are_percent() {
        for (text, millionths) in [
            ("5%", 50_000),
            ("5", 50_000),
            ("2.5 %", 25_000),
            ("0.0001%", 1),
            ("100%", 1_000_000),
        ] {
            assert_eq!(text.parse(), Ok(Share { millionths }), "{text}");
        }
        for text in [
            "", "%", "0", "0.0%", "100.1%", "-1", "1e1", "1.", ".5", "5%x", "1.00001",
        ] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_hundred_usual_bricks_survive_the_loss_of_five() {
        let shapes = shapes(members(&[64 << 20; 200]), 100, Share::default());
        assert_eq!(shapes.len(), 2);
        for shape in shapes {
            assert_eq!(shape.members.len(), 100);
            assert_eq!(shape.shard_length, 64 << 10);
            assert_eq!(shape.members_to_spare(), 5);
            let parity = shape.recovery_bytes();
            assert!(parity <= 321 << 20, "{parity}");
        }
    }

    #[test]
    fn every_choice_keeps_the_limits() {
        for lengths in [
            vec![1],
            vec![80; 3],
            vec![1 << 20, 1, 64 << 20],
            vec![1 << 40],
            vec![1 << 40; 5],
            vec![64 << 20; 3000],
            // As many stripes as there can be.
            vec![63_550 << 20; 33],
            [vec![1 << 40], vec![1; 499]].concat(),
            vec![1; 20_000],
        ] {
            for share in ["0.0001%", "5%", "34%", "100%"] {
                let share = share.parse().unwrap();
                let shapes = shapes(members(&lengths), 16_384, share);
                let covered: usize = shapes.iter().map(|shape| shape.members.len()).sum();
                assert_eq!(covered, lengths.len());
                assert!(shapes.iter().all(Shape::keeps_limits));
                let enough =
                    |shape: &Shape| shape.total_recovery() >= share.of(shape.total_shards());
                assert!(shapes.iter().all(enough));
                assert!(
                    shapes
                        .iter()
                        .all(|shape| shape.recovery == 1 || shape.files().count() > 1)
                );
            }
        }
    }
}
