//! Names of things: fixed-size byte strings that must not be mixed up.

use std::fmt;
use std::str::FromStr;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} hex digits, found {found:?}")]
pub struct ParseIdError {
    expected: usize,
    found: String,
}

fn write_hex(bytes: &[u8], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], ParseIdError> {
    let error = || ParseIdError {
        expected: 2 * N,
        found: text.chars().take(80).collect(),
    };
    let digits = text.as_bytes();
    // Lower case only: one name has one spelling.
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    if digits.len() != 2 * N {
        return Err(error());
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        match (value(pair[0]), value(pair[1])) {
            (Some(high), Some(low)) => *byte = high << 4 | low,
            _ => return Err(error()),
        }
    }
    Ok(bytes)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $size:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $size]);

        impl $name {
            /// Length in bytes.
            pub const SIZE: usize = $size;

            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $size] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, out)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse_hex(text).map(Self)
            }
        }
    };
}

id!(
    /// A store's name, drawn at random when it is made.
    StoreId, 16
);
id!(
    /// BLAKE3-256 of a brick's bytes: its name.
    BrickName, 32
);
id!(
    /// BLAKE3-256 of a parity file's bytes: its name.
    ParityName, 32
);
id!(
    /// BLAKE3-256 of the description of a parity set.
    SetId, 32
);
id!(
    /// A set of containers, drawn at random.
    ContainerSetId, 16
);
id!(
    /// A tape, drawn at random when it gets its label.
    TapeId, 8
);
id!(
    /// BLAKE3-256 of a chunk's or a body's plaintext. Stands in the index.
    ChunkHash, 32
);
id!(
    /// Keyed BLAKE3 of a chunk hash: stands in TOCs and the catalog, tells an outsider nothing.
    ChunkId, 16
);
id!(
    /// A brick's (or a root's) public random value, from which its keys follow.
    Salt, 16
);
id!(
    /// A synthetic IV: a keyed hash of a sealed content, from which its key follows.
    Siv, 16
);
id!(
    /// Who wrote a TOC or a root: drawn once a run.
    WriterId, 16
);
id!(
    /// The first 16 bytes of the BLAKE3-256 of a public key.
    KeyId, 16
);

/// The number of the put secret in use; the first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The epoch of a new key.
    pub const FIRST: Self = Self(1);
}

impl fmt::Display for Epoch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Whether a brick and its frames hold file content or snapshot content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Class {
    /// Chunks of bodies, and lists of chunks.
    Data = 0,
    /// Content of snapshots: kept where reading is cheap.
    Metadata = 1,
}

impl fmt::Display for Class {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Data => "0 (data)",
            Self::Metadata => "1 (metadata)",
        })
    }
}

impl Class {
    /// The class with this code.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Data),
            1 => Some(Self::Metadata),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_goes_both_ways() {
        let id = StoreId(*b"0123456789abcdef");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("00".parse::<StoreId>().is_err());
        assert!(
            "0123456789ABCDEF0123456789abcdef"
                .parse::<StoreId>()
                .is_err()
        );
        assert!(
            "0123456789abcdeg0123456789abcdef"
                .parse::<StoreId>()
                .is_err()
        );
    }
}
