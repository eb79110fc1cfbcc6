//! A random share of bricks or frames, the same for the same seed.

use std::str::FromStr;

use crate::id::BrickName;

/// A share in millionths of the whole, 1 to 1,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percent(u32);

/// Millionths of the whole.
const WHOLE: u32 = 1_000_000;

impl Percent {
    /// So many of `count`, rounded up: at least one, if there is one.
    #[must_use]
    pub fn of(self, count: usize) -> usize {
        let share = (count as u128 * u128::from(self.0)).div_ceil(u128::from(WHOLE));
        usize::try_from(share).unwrap_or(count)
    }
}

/// A text is not a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a share above 0 and up to 100, such as 5%")]
pub struct ParsePercentError;

impl FromStr for Percent {
    type Err = ParsePercentError;

    /// `5`, `5%` or `0.25%`; four digits behind the point count.
    fn from_str(text: &str) -> Result<Self, ParsePercentError> {
        let number = text.strip_suffix('%').unwrap_or(text).trim_end();
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() && part.is_empty() || !digits(whole) || !digits(part) || part.len() > 4
        {
            return Err(ParsePercentError);
        }
        let parse = |text: &str| text.parse::<u32>().map_err(|_| ParsePercentError);
        let whole = if whole.is_empty() { 0 } else { parse(whole)? };
        let share = whole
            .checked_mul(10_000)
            .and_then(|share| share.checked_add(parse(&format!("{part:0<4}")).ok()?))
            .ok_or(ParsePercentError)?;
        if (1..=WHOLE).contains(&share) {
            Ok(Self(share))
        } else {
            Err(ParsePercentError)
        }
    }
}

/// A share to be drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// How much.
    pub percent: Percent,
    /// What decides which: the same bricks or frames for the same number.
    pub seed: u64,
}

impl Sample {
    /// Those of `count` things that are drawn: all whose number is at most this.
    /// `number` is called once for each; `None`: none are there.
    fn limit(self, numbers: &mut [u64]) -> Option<u64> {
        let last = self.percent.of(numbers.len()).checked_sub(1)?;
        let (_, limit, _) = numbers.select_nth_unstable(last);
        Some(*limit)
    }

    /// The bricks that are drawn from `names`.
    #[must_use]
    pub fn bricks<'a>(self, names: impl Iterator<Item = &'a BrickName>) -> Share {
        self.frames(names.map(|name| (*name, 0)))
    }

    /// The frames that are drawn, of bricks and numbers.
    #[must_use]
    pub fn frames(self, frames: impl Iterator<Item = (BrickName, u32)>) -> Share {
        let mut numbers: Vec<u64> = frames
            .map(|(brick, frame)| number(self.seed, &brick, frame))
            .collect();
        Share {
            seed: self.seed,
            limit: self.limit(&mut numbers),
        }
    }
}

/// A share that was drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    seed: u64,
    limit: Option<u64>,
}

impl Share {
    /// Whether this frame of a brick is part of it; for shares of bricks, frame 0.
    #[must_use]
    pub fn holds(&self, brick: &BrickName, frame: u32) -> bool {
        self.limit
            .is_some_and(|limit| number(self.seed, brick, frame) <= limit)
    }
}

/// What the draw goes by: looks random, and follows from the seed.
fn number(seed: u64, brick: &BrickName, frame: u32) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(&seed.to_le_bytes())
        .update(brick.as_bytes())
        .update(&frame.to_le_bytes());
    let mut number = [0; 8];
    number.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_as_people_write_them() {
        for (text, millionths) in [
            ("5%", 50_000),
            ("5", 50_000),
            ("100%", WHOLE),
            ("0.25%", 2500),
            (".5", 5000),
            ("0.0001", 1),
        ] {
            assert_eq!(text.parse(), Ok(Percent(millionths)), "{text}");
        }
        for text in [
            "",
            "%",
            "0",
            "0%",
            "101",
            "-1",
            "1e1",
            "five",
            "0.00001",
            ".",
            "99999999999",
        ] {
            assert_eq!(text.parse::<Percent>(), Err(ParsePercentError), "{text}");
        }
    }

    #[test]
    fn a_share_has_the_size_that_was_asked_for_and_follows_from_the_seed() {
        let names: Vec<_> = (0..200).map(|byte| BrickName([byte; 32])).collect();
        let drawn = |percent: &str, seed| -> Vec<_> {
            let percent = percent.parse().unwrap();
            let share = Sample { percent, seed }.bricks(names.iter());
            let held = names.iter().filter(|name| share.holds(name, 0));
            held.copied().collect()
        };
        for (percent, count) in [("5%", 10), ("0.01%", 1), ("0.6%", 2), ("100%", 200)] {
            assert_eq!(drawn(percent, 7).len(), count, "{percent}");
        }
        assert_eq!(drawn("5%", 7), drawn("5%", 7));
        assert_ne!(drawn("5%", 7), drawn("5%", 8));
        let percent = "5%".parse().unwrap();
        let none = Sample { percent, seed: 1 }.bricks([].iter());
        assert!(!none.holds(&names[0], 0));
    }
}
