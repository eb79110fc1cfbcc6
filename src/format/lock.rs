//! The container of a key under a passphrase (`formats/keys.md#passphrase`).

use std::fmt;

use super::wire::{DecodeError, DecodeResult, Decoder, put_prefix};

/// Length of the header, which is the associated data of the seal.
pub const LOCK_HEADER_LENGTH: usize = 64;

const MAGIC: &[u8; 8] = b"dtarLOCK";
const STRUCTURE: &str = "key under a passphrase";
const ARGON2ID: u8 = 1;
const TAG_LENGTH: usize = 16;

/// What deriving the key from the passphrase costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB: 8 to 4,194,304, and at least 8 a lane.
    pub memory_kib: u32,
    /// Passes over it: 1 to 64.
    pub passes: u32,
    /// Lanes: 1 to 16.
    pub lanes: u32,
}

impl Default for Cost {
    /// What dtar writes: 256 MiB, 3 passes, 1 lane.
    fn default() -> Self {
        Self {
            memory_kib: 262_144,
            passes: 3,
            lanes: 1,
        }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            memory_kib,
            passes,
            lanes,
        } = self;
        write!(
            out,
            "Argon2id, {memory_kib} KiB, {passes} passes, {lanes} lanes"
        )
    }
}

/// Which key is under the passphrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Inside {
    /// A master secret.
    Secret = 1,
    /// A put key.
    Put = 2,
}

impl Inside {
    /// Length of the secret in bytes.
    #[must_use]
    pub const fn length(self) -> usize {
        match self {
            Self::Secret => 32,
            Self::Put => 148,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Secret),
            2 => Some(Self::Put),
            _ => None,
        }
    }
}

/// What stands in the clear before the sealed secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockHeader {
    /// Which key it is.
    pub inside: Inside,
    /// What opening costs.
    pub cost: Cost,
    /// The salt of the derivation.
    pub salt: [u8; 32],
}

impl LockHeader {
    /// Appends the 64 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_prefix(out, MAGIC);
        out.extend_from_slice(&[ARGON2ID, self.inside as u8, 0, 0]);
        for number in [self.cost.memory_kib, self.cost.passes, self.cost.lanes] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.salt);
    }

    fn decode(decoder: &mut Decoder<'_>) -> DecodeResult<Self> {
        decoder.prefix(MAGIC)?;
        let kdf = decoder.u8("KDF")?;
        if kdf != ARGON2ID {
            return Err(DecodeError::value(
                STRUCTURE,
                "KDF",
                16,
                "1 (Argon2id)",
                kdf,
            ));
        }
        let inside = decoder.u8("kind of key")?;
        let inside = Inside::from_code(inside).ok_or_else(|| {
            let expected = "1 (master secret) or 2 (put key)";
            DecodeError::value(STRUCTURE, "kind of key", 17, expected, inside)
        })?;
        let _reserved = decoder.u16("reserved")?;
        let cost = Cost {
            memory_kib: decoder.u32_in("memory", 8..=4_194_304)?,
            passes: decoder.u32_in("passes", 1..=64)?,
            lanes: decoder.u32_in("lanes", 1..=16)?,
        };
        if cost.memory_kib < 8 * cost.lanes {
            return Err(DecodeError::value(
                STRUCTURE,
                "memory",
                20,
                format_args!("at least {} KiB for {} lanes", 8 * cost.lanes, cost.lanes),
                cost.memory_kib,
            ));
        }
        Ok(Self {
            inside,
            cost,
            salt: decoder.array("salt")?,
        })
    }
}

/// A key under a passphrase: header and sealed secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locked {
    header: LockHeader,
    bytes: Vec<u8>,
}

impl Locked {
    /// Reads the container.
    ///
    /// # Errors
    /// A prefix that this dtar does not know, an unknown KDF or kind of key, a cost
    /// beyond the limits, a length other than that kind's.
    pub fn decode(bytes: &[u8]) -> DecodeResult<Self> {
        let mut decoder = Decoder::new(STRUCTURE, bytes);
        let header = LockHeader::decode(&mut decoder)?;
        let expected = header.inside.length() + TAG_LENGTH;
        if decoder.rest().len() != expected {
            let found = format_args!("{} bytes", decoder.rest().len());
            let expected = format_args!("{expected} bytes");
            return Err(decoder.error("sealed secret", expected, found));
        }
        Ok(Self {
            header,
            bytes: bytes.to_vec(),
        })
    }

    /// All its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What stands in the clear.
    #[must_use]
    pub const fn header(&self) -> LockHeader {
        self.header
    }

    /// The associated data, and the sealed secret with its tag.
    #[must_use]
    pub fn parts(&self) -> (&[u8], &[u8]) {
        self.bytes
            .split_at_checked(LOCK_HEADER_LENGTH)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(inside: u8, cost: [u32; 3], sealed: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_prefix(&mut bytes, MAGIC);
        bytes.extend_from_slice(&[ARGON2ID, inside, 0, 0]);
        for number in cost {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.resize(LOCK_HEADER_LENGTH + sealed, 7);
        bytes
    }

    #[test]
    fn limits_are_kept() {
        let decode = |cost| Locked::decode(&container(1, cost, 48));
        assert!(decode([8, 1, 1]).is_ok());
        assert!(decode([4_194_304, 64, 16]).is_ok());
        for (cost, field) in [
            ([7, 1, 1], "memory"),
            ([4_194_305, 1, 1], "memory"),
            ([8, 0, 1], "passes"),
            ([8, 65, 1], "passes"),
            ([8, 1, 0], "lanes"),
            ([1024, 1, 17], "lanes"),
            ([15, 1, 2], "memory"),
        ] {
            assert_eq!(decode(cost).unwrap_err().field, field, "{cost:?}");
        }
    }

    #[test]
    fn lengths_follow_the_kind() {
        assert!(Locked::decode(&container(2, [8, 1, 1], 164)).is_ok());
        for (inside, sealed) in [(2, 48), (2, 163), (2, 165), (1, 164), (3, 164)] {
            assert!(Locked::decode(&container(inside, [8, 1, 1], sealed)).is_err());
        }
    }
}
