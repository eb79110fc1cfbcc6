//! Wrapping of brick keys with HPKE (`formats/keys.md#encapsulation`).

use hpke::aead::ChaCha20Poly1305;
use hpke::inout::InOutBuf;
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use rand_core::CryptoRng;

use super::derive::{X_WING_SEED, derive};
use super::public::PublicKey;
use super::seal::Unverified;
use super::secret::Secret;
use crate::error::{Error, Result};
use crate::format::recipient::Recipient;
use crate::id::{Salt, StoreId};

pub(super) type HpkePublicKey = <XWing as Kem>::PublicKey;
type Encapsulation = <XWing as Kem>::EncappedKey;
type Tag = hpke::aead::AeadTag<ChaCha20Poly1305>;

const INFO: &[u8] = b"dtar 2026-11 brick key v1";

/// An X-Wing decapsulation key: opens what is sealed to its public key. Wiped when dropped.
#[derive(Clone)]
pub(crate) struct DecapsulationKey(<XWing as Kem>::PrivateKey);

impl DecapsulationKey {
    /// The decapsulation key that follows from a master secret.
    pub(super) fn from_master(master: &Secret) -> Result<Self> {
        let seed = derive(X_WING_SEED, &[master.expose()]);
        <XWing as Kem>::PrivateKey::from_bytes(seed.expose())
            .map(Self)
            .map_err(|error| Error::Internal(error.to_string()))
    }

    /// Its public key.
    pub(super) fn public_key(&self) -> Result<PublicKey> {
        PublicKey::from_bytes(&XWing::sk_to_pk(&self.0).to_bytes())
            .map_err(|error| Error::Internal(error.to_string()))
    }
}

fn info(store_id: StoreId, salt: Salt) -> Vec<u8> {
    [INFO, store_id.as_bytes(), salt.as_bytes()].concat()
}

/// Wraps `brick_key` to `recipient` and appends the recipient entry to `out`.
///
/// # Errors
/// Fails if HPKE does, which it cannot for a valid public key.
pub(crate) fn wrap_brick_key(
    brick_key: &Secret,
    recipient: &PublicKey,
    store_id: StoreId,
    salt: Salt,
    random: &mut impl CryptoRng,
    out: &mut Vec<u8>,
) -> Result<()> {
    let internal = |error: hpke::HpkeError| Error::Internal(error.to_string());
    let public_key = HpkePublicKey::from_bytes(recipient.as_bytes()).map_err(internal)?;
    // Sealed in place: what was the key is ciphertext afterwards.
    let mut wrapped = *brick_key.expose();
    let (encapsulation, tag) =
        hpke::single_shot_seal_inout_detached_with_rng::<ChaCha20Poly1305, HkdfSha256, XWing>(
            &OpModeS::Base,
            &public_key,
            &info(store_id, salt),
            InOutBuf::from(wrapped.as_mut_slice()),
            &[],
            random,
        )
        .map_err(internal)?;
    let wrapped_key = [wrapped.as_slice(), &tag.to_bytes()].concat();
    Recipient::known(recipient.key_id(), &encapsulation.to_bytes(), &wrapped_key).encode(out);
    Ok(())
}

/// Unwraps the brick key of a recipient entry.
///
/// # Errors
/// [`Unverified`] if it is not sealed to this key with this store id and salt.
pub(crate) fn unwrap_brick_key(
    key: &DecapsulationKey,
    recipient: &Recipient<'_>,
    store_id: StoreId,
    salt: Salt,
) -> Result<Secret, Unverified> {
    let encapsulation =
        Encapsulation::from_bytes(recipient.encapsulation).map_err(|_| Unverified)?;
    let (sealed, tag) = recipient
        .wrapped_key
        .split_first_chunk::<{ Secret::SIZE }>()
        .ok_or(Unverified)?;
    let tag = Tag::from_bytes(tag).map_err(|_| Unverified)?;
    let mut opened = Ok(());
    let brick_key = Secret::filled_by(|bytes| {
        bytes.copy_from_slice(sealed);
        opened = hpke::single_shot_open_inout_detached::<ChaCha20Poly1305, HkdfSha256, XWing>(
            &OpModeR::Base,
            &key.0,
            &encapsulation,
            &info(store_id, salt),
            InOutBuf::from(bytes.as_mut_slice()),
            &[],
            &tag,
        );
    });
    opened.map(|()| brick_key).map_err(|_| Unverified)
}
