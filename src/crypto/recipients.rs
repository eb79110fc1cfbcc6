//! Whom a store's bricks are sealed to, and who vouches for it
//! (`formats/keys.md#recipients`).
//!
//! `store.toml` ends with a keyed hash that every holder of a put key can make. So
//! the public keys in it count only if something vouches for them that no put key
//! gives: the master secret, or what the put key says of them.

use super::derive::{RECIPIENTS_KEY, derive};
use super::key::{Key, Kind};
use super::public::PublicKey;
use super::secret::Secret;
use crate::error::{Error, Result};
use crate::id::{Epoch, StoreId};

/// Why a list of public keys is not to be sealed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecipientsError {
    /// The first is not that of the key in use.
    #[error("the first public key is not that of the key in use")]
    OwnKey,
    /// They are not those that a holder of the master secret wrote.
    #[error("the public keys are not those that were authenticated with the secret key")]
    NotAuthentic,
    /// They are not those that the put key was made for.
    #[error("the public keys are not those that the put key was made for")]
    OtherThanPutKey,
}

/// BLAKE3-256 of public keys, one after another.
pub(super) fn hash_all(keys: &[PublicKey]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for key in keys {
        hasher.update(key.as_bytes());
    }
    hasher.finalize().into()
}

fn authenticate(
    master: &Secret,
    store_id: StoreId,
    epoch: Epoch,
    keys: &[PublicKey],
) -> blake3::Hash {
    let key = derive(RECIPIENTS_KEY, &[master.expose(), store_id.as_bytes()]);
    let mut hasher = blake3::Hasher::new_keyed(key.expose());
    hasher.update(&epoch.0.to_le_bytes());
    for key in keys {
        hasher.update(key.as_bytes());
    }
    let hash = hasher.finalize();
    zeroize::Zeroize::zeroize(&mut hasher);
    hash
}

impl Key {
    /// What `store.toml` says as `recipients-auth`: `keys` are the store's own public
    /// key and then its recipients.
    ///
    /// # Errors
    /// [`Error::PutKey`]: only the master secret vouches for recipients.
    pub fn authenticate_recipients(
        &self,
        store_id: StoreId,
        epoch: Epoch,
        keys: &[PublicKey],
    ) -> Result<[u8; 32]> {
        match &self.0 {
            Kind::Secret(key) => Ok(authenticate(&key.master, store_id, epoch, keys).into()),
            Kind::Put(_) => Err(Error::PutKey {
                action: "choose the recipients of a store",
            }),
        }
    }

    /// Whether bricks may be sealed to `keys`, the store's own public key first.
    /// `auth` is the `recipients-auth` of `store.toml`; a put key has a hash of the
    /// keys instead.
    ///
    /// # Errors
    /// [`RecipientsError`]: somebody who may not has changed them.
    pub fn verify_recipients(
        &self,
        store_id: StoreId,
        epoch: Epoch,
        keys: &[PublicKey],
        auth: &[u8; 32],
    ) -> Result<(), RecipientsError> {
        let own = keys.first().ok_or(RecipientsError::OwnKey)?;
        match &self.0 {
            Kind::Secret(key) if *own != key.public => Err(RecipientsError::OwnKey),
            Kind::Put(key) if own.hash() != key.public_key_hash => Err(RecipientsError::OwnKey),
            // Comparing hashes of the crate `blake3` takes constant time.
            Kind::Secret(key) if authenticate(&key.master, store_id, epoch, keys) != *auth => {
                Err(RecipientsError::NotAuthentic)
            }
            Kind::Put(key) if hash_all(keys) != key.recipients_hash => {
                Err(RecipientsError::OtherThanPutKey)
            }
            Kind::Secret(_) | Kind::Put(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: StoreId = StoreId([1; 16]);

    fn public(key: &Key) -> PublicKey {
        key.public_key().unwrap()
    }

    #[test]
    fn store_epoch_and_order_are_authenticated() {
        let [key, one, two] = [(); 3].map(|()| Key::generate().unwrap());
        let keys = [public(&key), public(&one), public(&two)];
        let auth = key.authenticate_recipients(STORE, Epoch(2), &keys).unwrap();
        let verify = |store, epoch, keys: &[PublicKey], auth| {
            key.verify_recipients(store, Epoch(epoch), keys, auth)
        };
        let altered = Err(RecipientsError::NotAuthentic);
        assert_eq!(verify(STORE, 2, &keys, &auth), Ok(()));
        assert_eq!(verify(StoreId([2; 16]), 2, &keys, &auth), altered);
        assert_eq!(verify(STORE, 1, &keys, &auth), altered);
        assert_eq!(verify(STORE, 2, &keys, &[0; 32]), altered);
        assert_eq!(verify(STORE, 2, &keys[..2], &auth), altered);
        let swapped = [public(&key), public(&two), public(&one)];
        assert_eq!(verify(STORE, 2, &swapped, &auth), altered);
        let own_key = Err(RecipientsError::OwnKey);
        assert_eq!(verify(STORE, 2, &keys[1..], &auth), own_key);
        assert_eq!(verify(STORE, 2, &[], &auth), own_key);
    }

    #[test]
    fn a_put_key_knows_its_recipients_and_vouches_for_none() {
        let [key, one] = [(); 2].map(|()| Key::generate().unwrap());
        let keys = [public(&key), public(&one)];
        let put = key.to_put_key(STORE, Epoch::FIRST, &keys).unwrap();
        let verify =
            |keys: &[PublicKey]| put.verify_recipients(STORE, Epoch::FIRST, keys, &[0; 32]);
        assert_eq!(verify(&keys), Ok(()));
        assert_eq!(verify(&keys[..1]), Err(RecipientsError::OtherThanPutKey));
        let more = [&keys[..], &keys[1..]].concat();
        assert_eq!(verify(&more), Err(RecipientsError::OtherThanPutKey));
        assert_eq!(verify(&keys[1..]), Err(RecipientsError::OwnKey));
        assert!(matches!(
            put.authenticate_recipients(STORE, Epoch::FIRST, &keys),
            Err(Error::PutKey { .. })
        ));
    }
}
