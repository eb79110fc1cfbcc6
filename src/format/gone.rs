//! Given-up lists: which members of a parity set were deleted on purpose
//! (`formats/parity.md#given-up-list`).

use super::parity::MAX_MEMBERS;
use super::wire::{CHECK_LENGTH, DecodeResult, Decoder, PREFIX_LENGTH, put_check, put_prefix};
use crate::id::{BrickName, SetId};

const MAGIC: &[u8; 8] = b"dtarGONE";
const GONE: &str = "given-up list";

/// The longest list, in bytes.
pub const MAX_GONE_LENGTH: u64 =
    (PREFIX_LENGTH + SetId::SIZE + 4 + CHECK_LENGTH) as u64 + MAX_MEMBERS as u64 * 32;

/// Members of a set that nobody needs any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// The set.
    pub set: SetId,
    /// The members, ascending by name; one at least.
    pub bricks: Vec<BrickName>,
}

impl Gone {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_prefix(&mut out, MAGIC);
        out.extend_from_slice(self.set.as_bytes());
        let count = u32::try_from(self.bricks.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&count.to_le_bytes());
        for brick in &self.bricks {
            out.extend_from_slice(brick.as_bytes());
        }
        put_check(&mut out, 0);
        out
    }

    /// Reads a list, which is all of `bytes`.
    ///
    /// # Errors
    /// A prefix that this dtar does not know, a check that does not match, a number that
    /// breaks a limit, names out of order, a length that is another.
    pub fn decode(bytes: &[u8]) -> DecodeResult<Self> {
        let mut decoder = Decoder::new(GONE, bytes);
        decoder.prefix(MAGIC)?;
        let mut end = Decoder::new(GONE, bytes);
        let _content = end.bytes("content", bytes.len().saturating_sub(CHECK_LENGTH))?;
        end.check(0)?;
        let set = SetId(decoder.array("set id")?);
        let count = decoder.u32_in("number of bricks", 1..=u64::from(MAX_MEMBERS))?;
        let mut bricks: Vec<BrickName> = Vec::new();
        for _ in 0..count {
            let before = decoder.clone();
            let name = BrickName(decoder.array("name")?);
            if bricks.last().is_some_and(|last| *last >= name) {
                return Err(before.error("name", "names in ascending order", name));
            }
            bricks.push(name);
        }
        let left = decoder.rest().len();
        if left != CHECK_LENGTH {
            let expected = format_args!("{CHECK_LENGTH} bytes behind the names");
            return Err(decoder.error("check", expected, left));
        }
        Ok(Self { set, bricks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_go_both_ways_and_any_flipped_bit_is_found() {
        let gone = Gone {
            set: SetId([9; 32]),
            bricks: vec![BrickName([1; 32]), BrickName([2; 32])],
        };
        let bytes = gone.encode();
        assert_eq!(Gone::decode(&bytes).unwrap(), gone);
        for length in 0..bytes.len() {
            assert!(Gone::decode(&bytes[..length]).is_err(), "{length}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Gone::decode(&bytes).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn limits_are_kept() {
        let refused = |bricks: Vec<BrickName>, field: &str| {
            let set = SetId([9; 32]);
            let error = Gone::decode(&Gone { set, bricks }.encode()).unwrap_err();
            assert_eq!(error.field, field, "{error}");
        };
        refused(Vec::new(), "number of bricks");
        refused(vec![BrickName([1; 32]); 2], "name");
        refused(vec![BrickName([2; 32]), BrickName([1; 32])], "name");
        let mut long = Gone {
            set: SetId([9; 32]),
            bricks: vec![BrickName([1; 32])],
        }
        .encode();
        long.truncate(long.len() - CHECK_LENGTH);
        long.push(0);
        put_check(&mut long, 0);
        assert_eq!(Gone::decode(&long).unwrap_err().field, "check");
    }
}
