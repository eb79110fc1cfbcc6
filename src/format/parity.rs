//! Parity sets: the head of a parity file, and the description of a set
//! (`formats/parity.md`).

use std::ops::Range;

use super::brick;
use super::wire::{
    CHECK_LENGTH, DecodeError, DecodeResult, Decoder, PREFIX_LENGTH, check, put_check, put_prefix,
    put_uv, uv_length,
};
use crate::id::{BrickName, Class, SetId};

/// Length of a head, at the start and at the end of a parity file.
pub const HEAD_LENGTH: usize = 96;
/// The longest description.
pub const MAX_DESCRIPTION_LENGTH: u64 = 128 << 20;
/// The longest shard.
pub const MAX_SHARD_LENGTH: u32 = 1 << 20;
/// Shard lengths are multiples of this.
pub const BLOCK_LENGTH: u32 = 64;
/// Most bytes of recovery shards in one stripe, their number rounded up to a power of two.
pub const MAX_STRIPE_PARITY: u64 = 64 << 20;
/// Most shards in one stripe: the order of the field.
pub const MAX_STRIPE_SHARDS: u64 = 1 << 16;
/// Most members.
pub const MAX_MEMBERS: u32 = 1 << 16;
/// Most shards of members in a set, and most recovery shards.
pub const MAX_SHARDS: u64 = 1 << 21;
/// Most stripes. `parity add` takes no more than 63,550, for 33 bricks that take all shards
/// that a set may have.
pub const MAX_STRIPES: u64 = 1 << 16;
/// Most stripes times members: that many looks it takes to go through all stripes.
pub const MAX_PARTS: u64 = 1 << 25;
/// All of it, as a share: shares are in millionths.
pub const WHOLE_SHARE: u32 = 1_000_000;

/// What a shard's bytes are compared with: the first bytes of their BLAKE3-256.
pub type ShardCheck = [u8; CHECK_LENGTH];

/// The check of a shard's bytes.
#[must_use]
pub fn shard_check(bytes: &[u8]) -> ShardCheck {
    check(bytes)
}

const HEAD_MAGIC: &[u8; 8] = b"dtarPARI";
const DESCRIPTION_MAGIC: &[u8; 8] = b"dtarPSET";
const HEAD: &str = "parity head";
const DESCRIPTION: &str = "parity description";
const FIXED_LENGTH: usize = PREFIX_LENGTH + 24;

/// What a parity file begins and ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The set.
    pub set: SetId,
    /// Length of the description in bytes.
    pub description_length: u64,
    /// Length of a shard in bytes.
    pub shard_length: u32,
    /// Number of stripes.
    pub stripes: u32,
    /// Number, in its stripe, of the first recovery shard in this file.
    pub first: u32,
    /// How many recovery shards of each stripe are in this file.
    pub count: u32,
}

impl Head {
    /// The 96 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_LENGTH);
        put_prefix(&mut out, HEAD_MAGIC);
        out.extend_from_slice(self.set.as_bytes());
        out.extend_from_slice(&self.description_length.to_le_bytes());
        for number in [self.shard_length, self.stripes, self.first, self.count] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.resize(HEAD_LENGTH - CHECK_LENGTH, 0);
        put_check(&mut out, 0);
        out
    }

    /// Reads the head at the start of `bytes`.
    ///
    /// # Errors
    /// A prefix that this dtar does not know, a check that does not match, a number that
    /// breaks a limit, fewer than 96 bytes.
    pub fn decode(bytes: &[u8]) -> DecodeResult<Self> {
        let mut decoder = Decoder::new(HEAD, bytes);
        decoder.prefix(HEAD_MAGIC)?;
        let mut end = Decoder::new(HEAD, bytes);
        let _fields = end.bytes("fields", HEAD_LENGTH - CHECK_LENGTH)?;
        end.check(0)?;
        let set = SetId(decoder.array("set id")?);
        let start = decoder.position() as u64;
        let description_length = decoder.u64("description length")?;
        if description_length > MAX_DESCRIPTION_LENGTH {
            let expected = format_args!("at most {MAX_DESCRIPTION_LENGTH}");
            let field = "description length";
            return Err(DecodeError::value(
                HEAD,
                field,
                start,
                expected,
                description_length,
            ));
        }
        let shard_length = shard_length(&mut decoder)?;
        let stripes = decoder.u32_in("number of stripes", 1..=MAX_STRIPES)?;
        let most = MAX_STRIPE_SHARDS;
        let first = decoder.u32_in("first recovery shard", 0..=most - 1)?;
        let count = decoder.u32_in("number of recovery shards", 1..=most - u64::from(first))?;
        Ok(Self {
            set,
            description_length,
            shard_length,
            stripes,
            first,
            count,
        })
    }

    /// Where recovery shard `number` of `stripe` stands in the file.
    #[must_use]
    pub fn offset_of(&self, stripe: u32, number: u32) -> u64 {
        let index =
            u64::from(stripe) * u64::from(self.count) + u64::from(number) - u64::from(self.first);
        HEAD_LENGTH as u64 + self.description_length + index * u64::from(self.shard_length)
    }

    /// Where the second description stands: behind the recovery shards.
    #[must_use]
    pub fn end_of_shards(&self) -> u64 {
        self.offset_of(self.stripes, self.first)
    }

    /// Length of the file.
    #[must_use]
    pub fn file_length(&self) -> u64 {
        self.end_of_shards() + self.description_length + HEAD_LENGTH as u64
    }
}

fn shard_length(decoder: &mut Decoder<'_>) -> DecodeResult<u32> {
    let before = decoder.clone();
    let most = u64::from(MAX_SHARD_LENGTH);
    let length = decoder.u32_in("shard length", u64::from(BLOCK_LENGTH)..=most)?;
    if length.is_multiple_of(BLOCK_LENGTH) {
        return Ok(length);
    }
    Err(before.error("shard length", "a multiple of 64", length))
}

/// A brick that a set brings back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its class, and with it the folder where it belongs.
    pub class: Class,
    /// Its name.
    pub name: BrickName,
    /// Its length in bytes.
    pub length: u64,
}

/// How a set is cut into shards and stripes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Length of a shard in bytes.
    pub shard_length: u32,
    /// Number of stripes.
    pub stripes: u32,
    /// Recovery shards of each stripe.
    pub recovery: u32,
    /// Recovery shards of each stripe in one file.
    pub per_file: u32,
    /// The share that was asked for, in millionths; 0 if that is not known.
    pub share: u32,
    /// The members, ascending by name.
    pub members: Vec<Member>,
}

/// Why a shape cannot be: the field, what may stand there, what stands there.
type ShapeFault = (&'static str, String, String);

impl Shape {
    /// How many shards a member of `length` bytes has.
    #[must_use]
    pub fn shards(&self, length: u64) -> u64 {
        length.div_ceil(u64::from(self.shard_length))
    }

    /// The most shards of members that a stripe may have, by the sum of the formats page.
    #[must_use]
    pub fn stripe_shards(&self) -> u64 {
        let stripes = u64::from(self.stripes.max(1));
        let members = self.members.iter();
        members
            .map(|member| self.shards(member.length).div_ceil(stripes))
            .sum()
    }

    /// All shards of members.
    #[must_use]
    pub fn total_shards(&self) -> u64 {
        self.members
            .iter()
            .map(|member| self.shards(member.length))
            .sum()
    }

    /// All recovery shards.
    #[must_use]
    pub fn total_recovery(&self) -> u64 {
        u64::from(self.stripes) * u64::from(self.recovery)
    }

    /// Bytes of all members.
    #[must_use]
    pub fn member_bytes(&self) -> u64 {
        self.members.iter().map(|member| member.length).sum()
    }

    /// Bytes of all recovery shards.
    #[must_use]
    pub fn recovery_bytes(&self) -> u64 {
        self.total_recovery() * u64::from(self.shard_length)
    }

    /// The shards that `stripe` has of a member with `shards` shards.
    #[must_use]
    pub fn part(&self, shards: u64, stripe: u32) -> Range<u64> {
        let stripes = u64::from(self.stripes);
        let edge = |stripe: u64| shards * stripe / stripes;
        edge(u64::from(stripe))..edge(u64::from(stripe) + 1)
    }

    /// The stripe that has shard `shard` of a member with `shards` shards.
    #[must_use]
    pub fn stripe_of(&self, shards: u64, shard: u64) -> u64 {
        let behind = (shard + 1) * u64::from(self.stripes);
        behind.div_ceil(shards.max(1)).saturating_sub(1)
    }

    /// Length of one shard of a member of `length` bytes: the last may be shorter.
    #[must_use]
    pub fn length_of_shard(&self, length: u64, shard: u64) -> usize {
        let shard_length = u64::from(self.shard_length);
        let rest = length.saturating_sub(shard * shard_length);
        usize::try_from(rest.min(shard_length)).unwrap_or(0)
    }

    /// Most members, the longest first, that may all be lost, if nothing else is.
    #[must_use]
    pub fn members_to_spare(&self) -> usize {
        let stripes = u64::from(self.stripes);
        let mut most: Vec<u64> = self
            .members
            .iter()
            .map(|member| self.shards(member.length).div_ceil(stripes))
            .collect();
        most.sort_unstable_by(|a, b| b.cmp(a));
        let mut left = u64::from(self.recovery);
        let fits = |need: &&u64| match left.checked_sub(**need) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        };
        most.iter().take_while(fits).count()
    }

    /// The files of the set: number of the first recovery shard, and how many of each stripe.
    pub fn files(&self) -> impl Iterator<Item = (u32, u32)> + use<> {
        let (recovery, per_file) = (self.recovery, self.per_file.max(1));
        (0..recovery)
            .step_by(per_file as usize)
            .map(move |first| (first, per_file.min(recovery - first)))
    }

    /// Length of the description in bytes.
    #[must_use]
    pub fn description_length(&self) -> u64 {
        let members: usize = self
            .members
            .iter()
            .map(|member| 1 + BrickName::SIZE + uv_length(member.length))
            .sum();
        let checks = (self.total_shards() + self.total_recovery()) * CHECK_LENGTH as u64;
        (FIXED_LENGTH + members) as u64 + checks
    }

    /// Whether all limits of the formats page are kept but those of single fields.
    #[must_use]
    pub fn keeps_limits(&self) -> bool {
        self.fault().is_none()
    }

    fn fault(&self) -> Option<ShapeFault> {
        let fault = |field, most: u64, found: u64| {
            (found > most).then(|| (field, format!("at most {most}"), found.to_string()))
        };
        let rounded = u64::from(self.recovery).next_power_of_two();
        let longest = self.members.iter().map(|member| member.length).max();
        let most_shards = self.shards(longest.unwrap_or(0));
        let parity = rounded * u64::from(self.shard_length);
        let stripe = self.stripe_shards() + rounded;
        let parts = u64::from(self.stripes) * self.members.len() as u64;
        let most_stripes = most_shards.min(MAX_STRIPES);
        fault("number of stripes", most_stripes, u64::from(self.stripes))
            .or_else(|| fault("stripes of all members", MAX_PARTS, parts))
            .or_else(|| fault("recovery shards of a stripe", MAX_STRIPE_PARITY, parity))
            .or_else(|| fault("shards of members", MAX_SHARDS, self.total_shards()))
            .or_else(|| fault("recovery shards", MAX_SHARDS, self.total_recovery()))
            .or_else(|| fault("shards of a stripe", MAX_STRIPE_SHARDS, stripe))
    }
}

/// A whole set: its shape, and the check of each shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// How it is cut.
    pub shape: Shape,
    /// The checks of the members' shards, member by member.
    pub shards: Vec<ShardCheck>,
    /// The checks of the recovery shards, stripe by stripe.
    pub recovery: Vec<ShardCheck>,
}

impl Description {
    /// Its bytes; their BLAKE3-256 is the set id.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let shape = &self.shape;
        let mut out = Vec::new();
        put_prefix(&mut out, DESCRIPTION_MAGIC);
        let members = u32::try_from(shape.members.len()).unwrap_or(u32::MAX);
        for number in [
            shape.shard_length,
            shape.stripes,
            shape.recovery,
            shape.per_file,
            members,
            shape.share,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for member in &shape.members {
            out.push(member.class as u8);
            out.extend_from_slice(member.name.as_bytes());
            put_uv(&mut out, member.length);
        }
        out.extend_from_slice(self.shards.as_flattened());
        out.extend_from_slice(self.recovery.as_flattened());
        out
    }

    /// Reads a description, which is all of `bytes`.
    ///
    /// # Errors
    /// A prefix that this dtar does not know, a limit of the formats page that is broken,
    /// members out of order, bytes that end too early, a critical field.
    pub fn decode(bytes: &[u8]) -> DecodeResult<Self> {
        let mut decoder = Decoder::new(DESCRIPTION, bytes);
        let shape = decode_shape(&mut decoder)?;
        let shards = checks(&mut decoder, "checks of shards", shape.total_shards())?;
        let recovery = checks(
            &mut decoder,
            "checks of recovery shards",
            shape.total_recovery(),
        )?;
        decoder.fields(|_, _| Ok(false))?;
        Ok(Self {
            shape,
            shards,
            recovery,
        })
    }
}

fn decode_shape(decoder: &mut Decoder<'_>) -> DecodeResult<Shape> {
    decoder.prefix(DESCRIPTION_MAGIC)?;
    let before = decoder.clone();
    let shard_length = shard_length(decoder)?;
    let stripes = decoder.u32_in("number of stripes", 1..=MAX_STRIPES)?;
    let recovery = decoder.u32_in("recovery shards of a stripe", 1..=MAX_STRIPE_SHARDS / 2)?;
    let per_file = decoder.u32_in("recovery shards of a file", 1..=u64::from(recovery))?;
    let count = decoder.u32_in("number of members", 1..=u64::from(MAX_MEMBERS))?;
    let asked = decoder.u32_in("share", 0..=u64::from(WHOLE_SHARE))?;
    let mut members: Vec<Member> = Vec::new();
    for _ in 0..count {
        let start = decoder.clone();
        let member = decode_member(decoder)?;
        if members.last().is_some_and(|last| last.name >= member.name) {
            return Err(start.error("member", "names in ascending order", member.name));
        }
        members.push(member);
    }
    let shape = Shape {
        shard_length,
        stripes,
        recovery,
        per_file,
        share: asked,
        members,
    };
    match shape.fault() {
        None => Ok(shape),
        Some((field, expected, found)) => Err(before.error(field, expected, found)),
    }
}

fn decode_member(decoder: &mut Decoder<'_>) -> DecodeResult<Member> {
    let before = decoder.clone();
    let code = decoder.u8("class")?;
    let class = Class::from_code(code)
        .ok_or_else(|| before.error("class", "0 (data) or 1 (metadata)", code))?;
    Ok(Member {
        class,
        name: BrickName(decoder.array("name")?),
        length: decoder.uv_in("length", 1..=brick::MAX_LENGTH)?,
    })
}

fn checks(
    decoder: &mut Decoder<'_>,
    field: &'static str,
    count: u64,
) -> DecodeResult<Vec<ShardCheck>> {
    let length = usize::try_from(count).unwrap_or(usize::MAX);
    let bytes = decoder.bytes(field, length.saturating_mul(CHECK_LENGTH))?;
    Ok(bytes.as_chunks().0.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description() -> Description {
        let member = |name: u8, length| Member {
            class: Class::Data,
            name: BrickName([name; 32]),
            length,
        };
        let shape = Shape {
            shard_length: 64,
            stripes: 2,
            recovery: 3,
            per_file: 2,
            share: 50_000,
            members: vec![member(1, 200), member(2, 64), member(3, 1)],
        };
        Description {
            shards: vec![[7; 16]; 6],
            recovery: vec![[8; 16]; 6],
            shape,
        }
    }

    #[test]
    fn descriptions_go_both_ways() {
        let description = description();
        let bytes = description.encode();
        assert_eq!(bytes.len() as u64, description.shape.description_length());
        assert_eq!(Description::decode(&bytes).unwrap(), description);
        for length in 0..bytes.len() {
            assert!(Description::decode(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn stripes_part_the_shards_of_each_member() {
        let shape = Shape {
            stripes: 7,
            ..description().shape
        };
        for shards in 0..40 {
            let mut next = 0;
            for stripe in 0..7 {
                let part = shape.part(shards, stripe);
                assert_eq!(part.start, next);
                assert!(part.end - part.start <= shards.div_ceil(7));
                for shard in part.clone() {
                    assert_eq!(shape.stripe_of(shards, shard), u64::from(stripe));
                }
                next = part.end;
            }
            assert_eq!(next, shards);
        }
    }

    #[test]
    fn limits_are_kept() {
        let refused = |change: fn(&mut Shape), field: &str| {
            let mut description = description();
            change(&mut description.shape);
            let error = Description::decode(&description.encode()).unwrap_err();
            assert_eq!(error.field, field, "{error}");
        };
        refused(|shape| shape.shard_length = 0, "shard length");
        refused(|shape| shape.shard_length = 96, "shard length");
        refused(|shape| shape.shard_length = 2 << 20, "shard length");
        refused(|shape| shape.stripes = 0, "number of stripes");
        refused(|shape| shape.stripes = 5, "number of stripes");
        let long = |stripes| {
            let mut shape = description().shape;
            shape.stripes = stripes;
            shape.recovery = 1;
            shape.members[0].length = 64 * (1 << 20);
            shape
        };
        assert!(long(1 << 16).keeps_limits());
        assert!(!long((1 << 16) + 1).keeps_limits());
        let many = |members: u32| {
            let mut shape = long(1 << 16);
            shape.members = (0..members)
                .map(|number| {
                    let mut member = shape.members[0];
                    member.name.0[..4].copy_from_slice(&number.to_be_bytes());
                    member.length = if number == 0 { member.length } else { 1 };
                    member
                })
                .collect();
            shape
        };
        assert!(many(512).keeps_limits());
        assert!(!many(513).keeps_limits());
        refused(|shape| shape.recovery = 0, "recovery shards of a stripe");
        refused(|shape| shape.per_file = 0, "recovery shards of a file");
        refused(|shape| shape.per_file = 4, "recovery shards of a file");
        refused(|shape| shape.members.clear(), "number of members");
        refused(|shape| shape.share = WHOLE_SHARE + 1, "share");
        refused(|shape| shape.members.swap(0, 1), "member");
        refused(
            |shape| shape.members[1].name = shape.members[0].name,
            "member",
        );
        refused(|shape| shape.members[1].length = 0, "length");
        refused(|shape| shape.members[1].length = (1 << 40) + 1, "length");
        refused(
            |shape| shape.members[2].length = 1 << 40,
            "shards of members",
        );
        refused(
            |shape| shape.members[2].length = 1 << 23,
            "shards of a stripe",
        );
        refused(
            |shape| {
                shape.shard_length = 1 << 20;
                shape.recovery = 65;
                shape.stripes = 1;
            },
            "recovery shards of a stripe",
        );
    }

    #[test]
    fn heads_go_both_ways_and_any_flipped_bit_is_found() {
        let head = Head {
            set: SetId([9; 32]),
            description_length: 1000,
            shard_length: 128,
            stripes: 3,
            first: 4,
            count: 2,
        };
        let bytes = head.encode();
        assert_eq!(Head::decode(&bytes).unwrap(), head);
        assert_eq!(head.file_length(), 192 + 2000 + 3 * 2 * 128);
        assert_eq!(head.offset_of(1, 5), 96 + 1000 + 3 * 128);
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Head::decode(&bytes).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn members_to_spare_are_counted_by_the_longest() {
        let mut shape = description().shape;
        shape.stripes = 1;
        for (recovery, spare) in [(3, 0), (4, 1), (5, 2), (6, 3)] {
            shape.recovery = recovery;
            assert_eq!(shape.members_to_spare(), spare, "{recovery}");
        }
    }
}
