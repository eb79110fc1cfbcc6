//! The key in use: all of it, or the half that can only put.

use std::fmt;

use super::derive::{GEAR_KEY, PUT_SECRET, derive};
use super::encapsulation::DecapsulationKey;
use super::public::{PublicKey, key_id};
use super::put::PutKeys;
use super::random::Random;
use super::recipients::hash_all;
use super::secret::Secret;
use crate::error::{Error, Result};
use crate::format::keyfile::KeyMaterial;
use crate::id::{Epoch, KeyId, StoreId};

/// A secret key, which can do everything, or a put key, which archives and
/// deduplicates but cannot read (`formats/keys.md`). Wiped when dropped.
pub struct Key(pub(super) Kind);

pub(super) enum Kind {
    Secret(Box<SecretKey>),
    Put(Box<PutKey>),
}

pub(super) struct SecretKey {
    pub(super) master: Secret,
    decapsulation: DecapsulationKey,
    pub(super) public: PublicKey,
}

pub(super) struct PutKey {
    store_id: StoreId,
    epoch: Epoch,
    put_secret: Secret,
    gear_key: Secret,
    pub(super) public_key_hash: [u8; 32],
    pub(super) recipients_hash: [u8; 32],
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

    /// The key that a key file holds; `None` if it holds a public or a locked key.
    pub(super) fn from_material(material: &KeyMaterial) -> Result<Option<Self>> {
        match material {
            KeyMaterial::Secret { master } => Self::from_master(Secret::copy_of(master)).map(Some),
            KeyMaterial::Put {
                store_id,
                epoch,
                put_secret,
                gear_key,
                public_key_hash,
                recipients_hash,
            } => Ok(Some(Self(Kind::Put(Box::new(PutKey {
                store_id: *store_id,
                epoch: *epoch,
                put_secret: Secret::copy_of(put_secret),
                gear_key: Secret::copy_of(gear_key),
                public_key_hash: *public_key_hash,
                recipients_hash: *recipients_hash,
            }))))),
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
                store_id: key.store_id,
                epoch: key.epoch,
                put_secret: (*key.put_secret.expose()).into(),
                gear_key: (*key.gear_key.expose()).into(),
                public_key_hash: key.public_key_hash,
                recipients_hash: key.recipients_hash,
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

    /// The store of a put key; a secret key serves all.
    #[must_use]
    pub const fn store_id(&self) -> Option<StoreId> {
        match &self.0 {
            Kind::Secret(_) => None,
            Kind::Put(key) => Some(key.store_id),
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

    fn put_secret(&self, store_id: StoreId, epoch: Epoch) -> Result<Secret> {
        match &self.0 {
            Kind::Secret(key) => Ok(derive(
                PUT_SECRET,
                &[
                    key.master.expose(),
                    store_id.as_bytes(),
                    &epoch.0.to_le_bytes(),
                ],
            )),
            Kind::Put(key) if key.store_id != store_id => Err(Error::OtherStorePutKey {
                expected: store_id,
                found: key.store_id,
            }),
            Kind::Put(key) if key.epoch == epoch => Ok(key.put_secret.clone()),
            Kind::Put(key) => Err(Error::WrongEpoch {
                expected: epoch,
                found: key.epoch,
            }),
        }
    }

    /// Follows from the master secret alone: the same content is cut alike in every
    /// store and epoch.
    fn gear_key(&self) -> Secret {
        match &self.0 {
            Kind::Secret(key) => derive(GEAR_KEY, &[key.master.expose()]),
            Kind::Put(key) => key.gear_key.clone(),
        }
    }

    /// The keys that archiving into a store in `epoch` needs.
    ///
    /// # Errors
    /// [`Error::OtherStorePutKey`] and [`Error::WrongEpoch`] for a put key of another
    /// store or epoch.
    pub fn put_keys(&self, store_id: StoreId, epoch: Epoch) -> Result<PutKeys> {
        let put_secret = self.put_secret(store_id, epoch)?;
        Ok(PutKeys::new(&put_secret, self.gear_key(), store_id, epoch))
    }

    /// The put key of a store in `epoch`, whose public keys are `recipients`, its own
    /// first. The caller has verified them ([`Key::verify_recipients`]).
    ///
    /// # Errors
    /// As [`Key::put_keys`].
    pub fn to_put_key(
        &self,
        store_id: StoreId,
        epoch: Epoch,
        recipients: &[PublicKey],
    ) -> Result<Self> {
        Ok(Self(Kind::Put(Box::new(PutKey {
            store_id,
            epoch,
            put_secret: self.put_secret(store_id, epoch)?,
            gear_key: self.gear_key(),
            public_key_hash: self.public_key_hash(),
            recipients_hash: hash_all(recipients),
        }))))
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

    const STORE: StoreId = StoreId([1; 16]);
    const OTHER_STORE: StoreId = StoreId([2; 16]);

    fn put_key(key: &Key) -> Key {
        let recipients = [key.public_key().unwrap()];
        key.to_put_key(STORE, Epoch(3), &recipients).unwrap()
    }

    #[test]
    fn a_put_key_has_the_same_put_keys_and_no_more() {
        let secret = Key::generate().unwrap();
        let put = put_key(&secret);
        let id = |key: &Key| {
            let keys = key.put_keys(STORE, Epoch(3)).unwrap();
            keys.chunk_id.id(&ChunkHash([9; 32]))
        };
        assert_eq!(id(&secret), id(&put));
        assert_eq!(secret.key_id(), put.key_id());
        assert!(put.is_put_key() && !secret.is_put_key());
        assert!(put.public_key().is_none() && put.decapsulation().is_none());
        assert_eq!((put.store_id(), put.epoch()), (Some(STORE), Some(Epoch(3))));
        assert_eq!((secret.store_id(), secret.epoch()), (None, None));
    }

    #[test]
    fn a_put_key_serves_its_own_store_and_epoch_only() {
        let put = put_key(&Key::generate().unwrap());
        assert!(matches!(
            put.put_keys(STORE, Epoch(4)),
            Err(Error::WrongEpoch {
                expected: Epoch(4),
                found: Epoch(3)
            })
        ));
        assert!(matches!(
            put.put_keys(OTHER_STORE, Epoch(3)),
            Err(Error::OtherStorePutKey {
                expected: OTHER_STORE,
                found: STORE
            })
        ));
        for (store, epoch) in [(STORE, 4), (OTHER_STORE, 3)] {
            assert!(put.to_put_key(store, Epoch(epoch), &[]).is_err());
        }
        assert!(put.to_put_key(STORE, Epoch(3), &[]).unwrap().is_put_key());
    }

    #[test]
    fn stores_and_epochs_have_different_keys() {
        let key = Key::generate().unwrap();
        let id = |store, epoch| {
            let keys = key.put_keys(store, Epoch(epoch)).unwrap();
            keys.chunk_id.id(&ChunkHash([9; 32]))
        };
        assert_eq!(id(STORE, 1), id(STORE, 1));
        assert_ne!(id(STORE, 1), id(STORE, 2));
        assert_ne!(id(STORE, 1), id(OTHER_STORE, 1));
    }

    #[test]
    fn all_stores_and_epochs_of_a_key_cut_alike_and_its_put_keys_too() {
        let key = Key::generate().unwrap();
        let table =
            |key: &Key, store, epoch| key.put_keys(store, Epoch(epoch)).unwrap().gear.table();
        let first = table(&key, STORE, 1);
        assert_eq!(first, table(&key, STORE, 2));
        assert_eq!(first, table(&key, OTHER_STORE, 1));
        assert_eq!(first, table(&put_key(&key), STORE, 3));
        assert_ne!(first, table(&Key::generate().unwrap(), STORE, 1));
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = Key::generate().unwrap();
        let id = key.key_id();
        assert_eq!(format!("{key:?}"), format!("Key(secret, {id})"));
    }
}
