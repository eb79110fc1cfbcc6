//! The key in use: all of it, or the half that can only put.

use std::fmt;

use super::derive::{PUT_SECRET, derive};
use super::encapsulation::DecapsulationKey;
use super::public::{PublicKey, key_id};
use super::put::PutKeys;
use super::random::Random;
use super::secret::Secret;
use crate::error::{Error, Result};
use crate::format::keyfile::KeyMaterial;
use crate::id::{Epoch, KeyId};

/// A secret key, which can do everything, or a put key, which archives and
/// deduplicates but cannot read (`formats/keys.md`). Wiped when dropped.
pub struct Key(Kind);

enum Kind {
    Secret(Box<SecretKey>),
    Put(Box<PutKey>),
}

struct SecretKey {
    master: Secret,
    decapsulation: DecapsulationKey,
    public: PublicKey,
}

struct PutKey {
    put_secret: Secret,
    epoch: Epoch,
    public_key_hash: [u8; 32],
}

impl Key {
    /// A new secret key.
    ///
    /// # Errors
    /// Fails if the operating system has no random bytes.
    pub fn generate() -> Result<Self> {
        Self::from_master(Secret::random(&mut Random::from_os()?))
    }

    fn from_master(master: Secret) -> Result<Self> {
        let decapsulation = DecapsulationKey::from_master(&master)?;
        let public = decapsulation.public_key()?;
        Ok(Self(Kind::Secret(Box::new(SecretKey {
            master,
            decapsulation,
            public,
        }))))
    }

    const fn from_put(put_secret: Secret, epoch: Epoch, public_key_hash: [u8; 32]) -> PutKey {
        PutKey {
            put_secret,
            epoch,
            public_key_hash,
        }
    }

    /// The key that a key file holds; `None` if it holds a public or a locked key.
    pub(super) fn from_material(material: &KeyMaterial) -> Result<Option<Self>> {
        match material {
            KeyMaterial::Secret { master } => Self::from_master(Secret::copy_of(master)).map(Some),
            KeyMaterial::Put {
                epoch,
                put_secret,
                public_key_hash,
            } => {
                let key = Self::from_put(Secret::copy_of(put_secret), *epoch, *public_key_hash);
                Ok(Some(Self(Kind::Put(Box::new(key)))))
            }
            KeyMaterial::Locked(_) | KeyMaterial::Public(_) => Ok(None),
        }
    }

    /// What a key file holds of this key.
    pub(super) fn to_material(&self) -> KeyMaterial {
        match &self.0 {
            Kind::Secret(key) => KeyMaterial::Secret {
                master: (*key.master.expose()).into(),
            },
            Kind::Put(key) => KeyMaterial::Put {
                epoch: key.epoch,
                put_secret: (*key.put_secret.expose()).into(),
                public_key_hash: key.public_key_hash,
            },
        }
    }

    /// Whether it is a put key.
    #[must_use]
    pub const fn is_put_key(&self) -> bool {
        matches!(self.0, Kind::Put(_))
    }

    /// The key id; secret key and put key of one store have the same.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        key_id(&self.public_key_hash())
    }

    /// BLAKE3-256 of the public key. Whoever holds a put key compares it with that of
    /// the public key in `store.toml` before sealing anything to that.
    #[must_use]
    pub fn public_key_hash(&self) -> [u8; 32] {
        match &self.0 {
            Kind::Secret(key) => key.public.hash(),
            Kind::Put(key) => key.public_key_hash,
        }
    }

    /// The public key; a put key does not know it.
    #[must_use]
    pub fn public_key(&self) -> Option<PublicKey> {
        match &self.0 {
            Kind::Secret(key) => Some(key.public.clone()),
            Kind::Put(_) => None,
        }
    }

    /// The epoch of a put key; a secret key serves all.
    #[must_use]
    pub const fn epoch(&self) -> Option<Epoch> {
        match &self.0 {
            Kind::Secret(_) => None,
            Kind::Put(key) => Some(key.epoch),
        }
    }

    fn put_secret(&self, epoch: Epoch) -> Result<Secret> {
        match &self.0 {
            Kind::Secret(key) => Ok(derive(
                PUT_SECRET,
                &[key.master.expose(), &epoch.0.to_le_bytes()],
            )),
            Kind::Put(key) if key.epoch == epoch => Ok(key.put_secret.clone()),
            Kind::Put(key) => Err(Error::WrongEpoch {
                expected: epoch,
                found: key.epoch,
            }),
        }
    }

    /// The keys that archiving in `epoch` needs.
    ///
    /// # Errors
    /// [`Error::WrongEpoch`] for a put key of another epoch.
    pub fn put_keys(&self, epoch: Epoch) -> Result<PutKeys> {
        Ok(PutKeys::new(&self.put_secret(epoch)?, epoch))
    }

    /// The put key of `epoch`.
    ///
    /// # Errors
    /// [`Error::PutKey`] for a put key of another epoch.
    pub fn to_put_key(&self, epoch: Epoch) -> Result<Self> {
        let put_secret = self.put_secret(epoch).map_err(|_| Error::PutKey {
            action: "make the put key of another epoch",
        })?;
        let key = Self::from_put(put_secret, epoch, self.public_key_hash());
        Ok(Self(Kind::Put(Box::new(key))))
    }

    /// The decapsulation key; `None` for a put key.
    pub(crate) const fn decapsulation(&self) -> Option<&DecapsulationKey> {
        match &self.0 {
            Kind::Secret(key) => Some(&key.decapsulation),
            Kind::Put(_) => None,
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_put_key() { "put" } else { "secret" };
        write!(out, "Key({kind}, {})", self.key_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ChunkHash;

    #[test]
    fn a_put_key_has_the_same_put_keys_and_no_more() {
        let secret = Key::generate().unwrap();
        let put = secret.to_put_key(Epoch(3)).unwrap();
        let id = |key: &Key| {
            key.put_keys(Epoch(3))
                .unwrap()
                .chunk_id
                .id(&ChunkHash([9; 32]))
        };
        assert_eq!(id(&secret), id(&put));
        assert_eq!(secret.key_id(), put.key_id());
        assert!(put.is_put_key() && !secret.is_put_key());
        assert!(put.public_key().is_none() && put.decapsulation().is_none());
    }

    #[test]
    fn a_put_key_serves_its_own_epoch_only() {
        let put = Key::generate().unwrap().to_put_key(Epoch(3)).unwrap();
        assert!(matches!(
            put.put_keys(Epoch(4)),
            Err(Error::WrongEpoch {
                expected: Epoch(4),
                found: Epoch(3)
            })
        ));
        assert!(matches!(
            put.to_put_key(Epoch(4)),
            Err(Error::PutKey { .. })
        ));
        assert!(put.to_put_key(Epoch(3)).unwrap().is_put_key());
    }

    #[test]
    fn epochs_have_different_keys() {
        let key = Key::generate().unwrap();
        let table = |epoch| key.put_keys(Epoch(epoch)).unwrap().gear.table();
        assert_ne!(table(1), table(2));
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = Key::generate().unwrap();
        let id = key.key_id();
        assert_eq!(format!("{key:?}"), format!("Key(secret, {id})"));
    }
}
