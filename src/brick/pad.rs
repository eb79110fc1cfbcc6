//! How much a frame's length gives away.

use crate::format::frame::MAX_SEALED_LENGTH;

/// To what the sealed bytes of a frame are padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pad {
    /// Nothing: lengths show to the byte.
    #[default]
    None,
    /// A multiple of 4,096 bytes.
    Blocks,
    /// The lengths of Padmé (Nikitin et al., 2019): at most 12 % more,
    /// typically 3 % for a frame, and only O(log log) bits of the length show.
    Padme,
}

impl Pad {
    /// The padded length of `length` sealed bytes; never past the format's limit.
    #[must_use]
    pub fn apply(self, length: usize) -> usize {
        let padded = match self {
            Self::None => length,
            Self::Blocks => length.next_multiple_of(4096),
            Self::Padme => padme(length),
        };
        padded.min(MAX_SEALED_LENGTH as usize).max(length)
    }
}

/// Keeps as many leading bits of the length as the number of its bits has bits.
fn padme(length: usize) -> usize {
    let Some(exponent) = length.checked_ilog2() else {
        return length;
    };
    let kept = exponent.checked_ilog2().map_or(0, |bits| bits + 1);
    length.next_multiple_of(1 << exponent.saturating_sub(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padme_is_that_of_the_paper() {
        for (length, padded) in [
            (1, 1),
            (8, 8),
            (9, 10),
            (100, 104),
            (1000, 1024),
            (4_200_000, 4_325_376),
        ] {
            assert_eq!(Pad::Padme.apply(length), padded, "{length}");
        }
    }

    #[test]
    fn padding_never_shortens_nor_breaks_the_limit() {
        let most = MAX_SEALED_LENGTH as usize;
        for length in [1, 32, 4095, 4096, 4097, 1 << 20, (1 << 26) + 1, most] {
            for pad in [Pad::None, Pad::Blocks, Pad::Padme] {
                assert!(
                    (length..=most).contains(&pad.apply(length)),
                    "{length} {pad:?}"
                );
            }
        }
    }
}
