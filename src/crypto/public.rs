//! Public keys: those whom bricks are sealed to.

use std::fmt;
use std::str::FromStr;

use hpke::Deserializable;

use super::encapsulation::HpkePublicKey;
use crate::format::keyfile::{KeyFileError, KeyKind, decode_line, encode_lower};
use crate::id::KeyId;

/// An X-Wing encapsulation key (`formats/keys.md#secrets`). Not a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    bytes: Box<[u8; Self::SIZE]>,
    hash: [u8; 32],
}

/// The bytes are not an X-Wing encapsulation key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a public key of the kind X-Wing")]
pub struct InvalidPublicKey;

impl PublicKey {
    /// Length in bytes.
    pub const SIZE: usize = 1216;

    /// The public key with these bytes.
    ///
    /// # Errors
    /// Fails if there are not 1,216, or if no X-Wing key looks like this.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidPublicKey> {
        HpkePublicKey::from_bytes(bytes).map_err(|_| InvalidPublicKey)?;
        let bytes: [u8; Self::SIZE] = bytes.try_into().map_err(|_| InvalidPublicKey)?;
        Ok(Self {
            bytes: Box::new(bytes),
            hash: blake3::hash(&bytes).into(),
        })
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; Self::SIZE] {
        &self.bytes
    }

    /// BLAKE3-256 of the bytes.
    #[must_use]
    pub const fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// The first 16 bytes of the hash.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        key_id(&self.hash)
    }

    /// As a bech32m string in lower case, `dtar-public-key-1…`.
    #[must_use]
    pub fn to_text(&self) -> String {
        encode_lower(KeyKind::Public, self.bytes.as_slice())
    }
}

/// The key id that belongs to the hash of a public key.
pub(super) fn key_id(hash: &[u8; 32]) -> KeyId {
    let mut id = [0; KeyId::SIZE];
    id.copy_from_slice(&hash[..KeyId::SIZE]);
    KeyId(id)
}

impl FromStr for PublicKey {
    type Err = KeyFileError;

    fn from_str(text: &str) -> Result<Self, KeyFileError> {
        let (kind, bytes) = decode_line(text)?;
        if kind != KeyKind::Public {
            return Err(KeyFileError::OtherKind {
                expected: KeyKind::Public,
                found: kind,
            });
        }
        Self::from_bytes(&bytes).map_err(|InvalidPublicKey| KeyFileError::InvalidPublicKey)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PublicKey({})", self.key_id())
    }
}
