//! Keys under a passphrase (`formats/keys.md#passphrase`).

use std::fmt;
use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::key::Key;
use super::seal::{OnceKey, Unverified};
use super::secret::Secret;
use crate::error::{Error, Result};
use crate::format::keyfile::{KeyFileError, KeyMaterial};
use crate::format::lock::{Cost, LOCK_HEADER_LENGTH, LockHeader, Locked};

/// A key under a passphrase.
pub struct LockedKey(pub(super) Locked);

/// Why a key cannot be locked or unlocked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnlockError {
    /// The seal does not verify.
    #[error("wrong passphrase (or a damaged key file)")]
    WrongPassphrase,
    /// Argon2id does not run with this cost.
    #[error("cannot derive a key from the passphrase with {cost}: {reason}")]
    Derivation {
        /// The cost that was asked for.
        cost: Cost,
        /// Why not.
        reason: String,
    },
    /// What came out, or is to go in, is no key.
    #[error("what lies under the passphrase is not a key: {0}")]
    NotAKey(KeyFileError),
}

impl UnlockError {
    /// The error of the library that says this about a file.
    #[must_use]
    pub fn into_error(self, path: &Path) -> Error {
        match self {
            Self::WrongPassphrase => Error::WrongPassphrase {
                path: path.to_owned(),
            },
            other => Error::Refused {
                path: path.to_owned(),
                message: other.to_string(),
                exit: crate::error::Exit::Failed,
            },
        }
    }
}

impl LockedKey {
    /// Opens the key. Takes the time and the memory that the file's header asks for.
    ///
    /// # Errors
    /// [`UnlockError`]; most likely a wrong passphrase.
    pub fn unlock(&self, passphrase: &[u8]) -> Result<Key, UnlockError> {
        let header = self.0.header();
        let key = once_key(passphrase, &header.salt, header.cost)?;
        let (associated, sealed) = self.0.parts();
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let secret = key
            .open(associated, sealed.as_mut_slice())
            .map_err(|Unverified| UnlockError::WrongPassphrase)?;
        let material =
            KeyMaterial::decode_inside(header.inside, secret).map_err(UnlockError::NotAKey)?;
        Key::from_material(&material)
            .ok()
            .flatten()
            .ok_or(UnlockError::NotAKey(KeyFileError::NoKey))
    }

    /// What opening costs.
    #[must_use]
    pub const fn cost(&self) -> Cost {
        self.0.header().cost
    }
}

impl fmt::Debug for LockedKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "LockedKey({})", self.cost())
    }
}

/// Puts a key under a passphrase.
pub(super) fn lock(
    material: &KeyMaterial,
    passphrase: &[u8],
    cost: Cost,
    random: &mut impl CryptoRng,
) -> Result<Locked, UnlockError> {
    let mut salt = [0; 32];
    random.fill_bytes(&mut salt);
    let (inside, secret) = material
        .inside()
        .ok_or(UnlockError::NotAKey(KeyFileError::NoKey))?;
    let header = LockHeader { inside, cost, salt };
    // Room for all from the start: growing would leave copies of the secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * LOCK_HEADER_LENGTH + secret.len()));
    header.encode(&mut bytes);
    bytes.extend_from_slice(&secret);
    let derivation = |reason: String| UnlockError::Derivation { cost, reason };
    once_key(passphrase, &salt, cost)?
        .seal(&mut bytes, LOCK_HEADER_LENGTH)
        .map_err(|error| derivation(error.to_string()))?;
    Locked::decode(&bytes).map_err(|error| derivation(error.to_string()))
}

/// The key that follows from passphrase and salt. It seals one thing, since each
/// locking draws a salt of its own.
fn once_key(passphrase: &[u8], salt: &[u8; 32], cost: Cost) -> Result<OnceKey, UnlockError> {
    let derivation = |error: argon2::Error| UnlockError::Derivation {
        cost,
        reason: error.to_string(),
    };
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(Secret::SIZE))
        .map_err(derivation)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut done = Ok(());
    let key = Secret::filled_by(|bytes| {
        done = argon2.hash_password_into(passphrase, salt, bytes);
    });
    done.map_err(derivation)?;
    Ok(OnceKey::new(key))
}

#[cfg(test)]
mod tests {
    use super::super::KeyFile;
    use super::*;
    use crate::id::{Epoch, StoreId};

    const CHEAP: Cost = Cost {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    };

    fn locked(key: &Key) -> LockedKey {
        let text = key.lock(b"open sesame", CHEAP).unwrap();
        match KeyFile::parse(text.as_bytes()).unwrap() {
            KeyFile::Locked(locked) => locked,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn both_kinds_of_key_come_back() {
        let secret = Key::generate().unwrap();
        let own = [secret.public_key().unwrap()];
        let put = secret.to_put_key(StoreId([1; 16]), Epoch(2), &own).unwrap();
        for key in [secret, put] {
            let back = locked(&key).unlock(b"open sesame").unwrap();
            assert_eq!(*back.to_text(), *key.to_text());
        }
    }

    #[test]
    fn another_passphrase_is_a_wrong_passphrase() {
        let locked = locked(&Key::generate().unwrap());
        assert_eq!(
            locked.unlock(b"open sesam").unwrap_err(),
            UnlockError::WrongPassphrase
        );
    }

    #[test]
    fn a_cost_beyond_the_limits_is_not_written() {
        let key = Key::generate().unwrap();
        for cost in [
            Cost {
                passes: 65,
                ..CHEAP
            },
            Cost { lanes: 2, ..CHEAP },
            Cost {
                memory_kib: 7,
                ..CHEAP
            },
        ] {
            assert!(key.lock(b"x", cost).is_err(), "{cost}");
        }
    }
}
