//! Keys as the text of key files.

use zeroize::Zeroizing;

use super::key::Key;
use super::passphrase::{LockedKey, lock};
use super::public::PublicKey;
use super::random::Random;
use crate::error::{Error, Result};
use crate::format::keyfile::{KeyFileError, KeyMaterial};
use crate::format::lock::Cost;

/// What a key file holds (`formats/keys.md#key-file`).
#[derive(Debug)]
pub enum KeyFile {
    /// A secret key or a put key.
    Key(Key),
    /// A key under a passphrase.
    Locked(LockedKey),
    /// A public key: a recipient, no secret.
    Public(PublicKey),
}

impl KeyFile {
    /// Reads the bytes of a key file. Its mode is to be checked too:
    /// [`check_mode`](crate::format::keyfile::check_mode).
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(file: &[u8]) -> Result<Self, KeyFileError> {
        Ok(match KeyMaterial::decode(file)? {
            KeyMaterial::Locked(locked) => Self::Locked(LockedKey(locked)),
            KeyMaterial::Public(bytes) => Self::Public(
                PublicKey::from_bytes(&*bytes).map_err(|_| KeyFileError::InvalidPublicKey)?,
            ),
            material => Key::from_material(&material)
                .ok()
                .flatten()
                .map(Self::Key)
                .ok_or(KeyFileError::NoKey)?,
        })
    }

    /// Whether the file's mode matters.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        !matches!(self, Self::Public(_))
    }
}

impl Key {
    /// The one line of a key file that holds this key, in upper case, without newline.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        self.to_material().encode()
    }

    /// The one line of a key file that holds this key under a passphrase.
    ///
    /// # Errors
    /// Fails if the operating system has no random bytes, if `cost` breaks a limit
    /// of the format, or if there is not as much memory as it asks for.
    pub fn lock(&self, passphrase: &[u8], cost: Cost) -> Result<Zeroizing<String>> {
        self.lock_with_random(passphrase, cost, &mut Random::from_os()?)
    }

    /// As [`Key::lock`], with a salt from `random`: for test vectors.
    ///
    /// # Errors
    /// As [`Key::lock`].
    #[doc(hidden)]
    pub fn lock_with_random(
        &self,
        passphrase: &[u8],
        cost: Cost,
        random: &mut impl rand_core::CryptoRng,
    ) -> Result<Zeroizing<String>> {
        lock(&self.to_material(), passphrase, cost, random)
            .map(|locked| KeyMaterial::Locked(locked).encode())
            .map_err(|error| Error::Usage(error.to_string()))
    }
}
