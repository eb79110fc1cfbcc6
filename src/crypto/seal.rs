//! Sealing with ChaCha20-Poly1305 (RFC 8439): which key, which nonce, which
//! associated data. Nothing else in the crate chooses a nonce.
//!
//! Two different contents must never meet under one key and nonce. That holds
//! - for frames, TOCs, roots and notes by one rule, that of [`ContentKeys`]
//!   (`formats/keys.md#seals`): a salt, or a brick key and a number, is used once; and
//!   should it be used twice all the same, by a machine that was set back or copied,
//!   the key follows from the content too;
//! - for a key under a passphrase, because a [`OnceKey`] follows from a salt that is
//!   drawn for it, and sealing consumes it.

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce, Tag};
use zeroize::{Zeroize, Zeroizing};

use super::derive::{FRAME_KEY, FRAME_SIV_KEY, derive};
use super::secret::Secret;
use crate::error::{Error, Result};
use crate::id::{Salt, Siv, StoreId};

/// Length of the tag that ends sealed bytes.
pub(crate) const TAG_LENGTH: usize = 16;

const NONCE_LENGTH: usize = 12;

/// A seal does not verify: damaged bytes, altered ones, or another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unverified;

/// What the key of a content follows from besides the content: a secret and what the
/// content is bound to. A content may have a number, too, of four bytes, or none.
pub(super) struct ContentKeys {
    siv_key: Secret,
    context: &'static str,
    input: Zeroizing<Vec<u8>>,
}

impl ContentKeys {
    /// The keys that follow from `input`, which begins with a secret: one under
    /// `siv_context`, and one for each content under `context`.
    pub(super) fn new(siv_context: &str, context: &'static str, input: &[&[u8]]) -> Self {
        Self {
            siv_key: derive(siv_context, input),
            context,
            // One allocation of the right length: growing would leave copies behind.
            input: Zeroizing::new(input.concat()),
        }
    }

    /// The SIV: what the content says to its own key.
    fn siv(&self, number: &[u8], content: &[u8]) -> Siv {
        let mut hasher = blake3::Hasher::new_keyed(self.siv_key.expose());
        let hash = hasher.update(number).update(content).finalize();
        hasher.zeroize();
        let mut siv = Siv([0; Siv::SIZE]);
        siv.0.copy_from_slice(&hash.as_bytes()[..Siv::SIZE]);
        siv
    }

    fn key(&self, number: &[u8], siv: Siv) -> Secret {
        derive(self.context, &[&self.input, number, siv.as_bytes()])
    }

    /// Begins to seal `content`: its SIV is known then, and its header can be written.
    pub(super) fn begin<'a>(&self, number: Option<u32>, content: &'a mut [u8]) -> Sealing<'a> {
        let number = Number::from(number);
        let siv = self.siv(number.bytes(), content);
        Sealing {
            key: self.key(number.bytes(), siv),
            nonce: number.nonce(),
            siv,
            content,
        }
    }

    /// Decrypts `sealed`, content and tag, in place; returns the content, once it is
    /// known to be that of the SIV.
    pub(super) fn open<'a>(
        &self,
        number: Option<u32>,
        siv: Siv,
        header: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], Unverified> {
        let number = Number::from(number);
        let key = self.key(number.bytes(), siv);
        let content = open(&key, number.nonce(), header, sealed)?;
        if self.siv(number.bytes(), content) == siv {
            Ok(content)
        } else {
            // Whoever sealed it had the key, but did not keep to the rule.
            Err(Unverified)
        }
    }
}

/// The number of a content, as it stands in derivations: no bytes if it has none.
struct Number(Option<[u8; 4]>);

impl From<Option<u32>> for Number {
    fn from(number: Option<u32>) -> Self {
        Self(number.map(u32::to_le_bytes))
    }
}

impl Number {
    fn bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], <[u8; 4]>::as_slice)
    }

    /// The number, then zero bytes.
    fn nonce(&self) -> [u8; NONCE_LENGTH] {
        let mut nonce = [0; NONCE_LENGTH];
        nonce[..4].copy_from_slice(&self.0.unwrap_or_default());
        nonce
    }
}

/// A content that waits for its header, which carries the SIV.
#[must_use]
pub(crate) struct Sealing<'a> {
    key: Secret,
    nonce: [u8; NONCE_LENGTH],
    siv: Siv,
    content: &'a mut [u8],
}

impl Sealing<'_> {
    /// The SIV, for the header.
    pub(crate) const fn siv(&self) -> Siv {
        self.siv
    }

    /// Encrypts the content in place, with `header` as associated data, and returns the tag.
    pub(crate) fn finish(self, header: &[u8]) -> Result<[u8; TAG_LENGTH]> {
        seal(&self.key, self.nonce, header, self.content)
    }
}

/// The keys of the frames that are sealed in one brick.
pub(crate) struct FrameKeys(ContentKeys);

impl FrameKeys {
    /// The keys that follow from a brick key.
    pub(crate) fn new(brick_key: &Secret, store_id: StoreId, salt: Salt) -> Self {
        let input: [&[u8]; 3] = [brick_key.expose(), store_id.as_bytes(), salt.as_bytes()];
        Self(ContentKeys::new(FRAME_SIV_KEY, FRAME_KEY, &input))
    }

    /// Begins to seal the content of a frame. The caller sees to it that `number` is
    /// used once.
    pub(crate) fn begin<'a>(&self, number: u32, content: &'a mut [u8]) -> Sealing<'a> {
        self.0.begin(Some(number), content)
    }

    /// Opens the sealed bytes of a frame in place.
    pub(crate) fn open<'a>(
        &self,
        number: u32,
        siv: Siv,
        header: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], Unverified> {
        self.0.open(Some(number), siv, header, sealed)
    }
}

/// A key that seals one thing, ever; its nonce is zero.
pub(super) struct OnceKey(Secret);

impl OnceKey {
    /// A key that was derived with a salt of its own.
    pub(super) const fn new(key: Secret) -> Self {
        Self(key)
    }

    /// Encrypts the bytes of `out` from `start` on in place, with those before as
    /// associated data, and appends the tag.
    pub(super) fn seal(self, out: &mut Vec<u8>, start: usize) -> Result<()> {
        let Some((header, content)) = out.split_at_mut_checked(start) else {
            return Err(Error::Internal("nothing to seal".into()));
        };
        let tag = seal(&self.0, [0; NONCE_LENGTH], header, content)?;
        out.extend_from_slice(&tag);
        Ok(())
    }

    /// Decrypts `sealed`, content and tag, in place; returns the content.
    pub(super) fn open<'a>(
        &self,
        header: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], Unverified> {
        open(&self.0, [0; NONCE_LENGTH], header, sealed)
    }
}

fn seal(
    key: &Secret,
    nonce: [u8; NONCE_LENGTH],
    associated: &[u8],
    content: &mut [u8],
) -> Result<[u8; TAG_LENGTH]> {
    ChaCha20Poly1305::new(key.expose().into())
        .encrypt_inout_detached(&Nonce::from(nonce), associated, content.into())
        .map(Into::into)
        .map_err(|_| Error::Internal("too much to seal at once".into()))
}

fn open<'a>(
    key: &Secret,
    nonce: [u8; NONCE_LENGTH],
    associated: &[u8],
    sealed: &'a mut [u8],
) -> Result<&'a mut [u8], Unverified> {
    let (content, tag) = sealed
        .split_last_chunk_mut::<TAG_LENGTH>()
        .ok_or(Unverified)?;
    ChaCha20Poly1305::new(key.expose().into())
        .decrypt_inout_detached(
            &Nonce::from(nonce),
            associated,
            (&mut *content).into(),
            &Tag::from(*tag),
        )
        .map_err(|_| Unverified)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER: &[u8] = b"header";

    fn keys_of(brick_key: u8, store: u8, salt: u8) -> FrameKeys {
        FrameKeys::new(
            &Secret::copy_of(&[brick_key; 32]),
            StoreId([store; 16]),
            Salt([salt; 16]),
        )
    }

    fn keys() -> FrameKeys {
        keys_of(7, 1, 2)
    }

    fn seal_with(keys: &FrameKeys, number: u32, content: &[u8]) -> (Siv, Vec<u8>) {
        let mut sealed = content.to_vec();
        let sealing = keys.begin(number, &mut sealed);
        let siv = sealing.siv();
        let tag = sealing.finish(HEADER).unwrap();
        sealed.extend_from_slice(&tag);
        (siv, sealed)
    }

    fn open_with(
        keys: &FrameKeys,
        number: u32,
        siv: Siv,
        header: &[u8],
        sealed: &[u8],
    ) -> Result<Vec<u8>, Unverified> {
        let mut sealed = sealed.to_vec();
        keys.open(number, siv, header, &mut sealed)
            .map(|content| content.to_vec())
    }

    #[test]
    fn a_seal_covers_number_siv_header_content_and_tag() {
        let (siv, sealed) = seal_with(&keys(), 3, b"content");
        let open = |number, siv, header: &[u8], sealed: &[u8]| {
            open_with(&keys(), number, siv, header, sealed)
        };
        assert_eq!(open(3, siv, HEADER, &sealed).unwrap(), b"content");
        assert_eq!(open(4, siv, HEADER, &sealed), Err(Unverified));
        assert_eq!(open(3, siv, b"hebder", &sealed), Err(Unverified));
        assert_eq!(open(3, siv, HEADER, &sealed[..15]), Err(Unverified));
        for position in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[position] ^= 1;
            assert_eq!(
                open(3, siv, HEADER, &altered),
                Err(Unverified),
                "{position}"
            );
        }
        for position in 0..Siv::SIZE {
            let mut altered = siv;
            altered.0[position] ^= 1;
            assert_eq!(open(3, altered, HEADER, &sealed), Err(Unverified));
        }
    }

    /// Somebody with the key may seal under a SIV that is not that of the content; the
    /// tag is good then.
    #[test]
    fn a_siv_of_another_content_is_refused_behind_a_good_tag() {
        let FrameKeys(keys) = keys();
        let number = Number::from(Some(3));
        for (other, opens) in [(&b"another"[..], false), (b"content", true)] {
            let siv = keys.siv(number.bytes(), other);
            let mut sealed = b"content".to_vec();
            let key = keys.key(number.bytes(), siv);
            let tag = seal(&key, number.nonce(), HEADER, &mut sealed).unwrap();
            sealed.extend_from_slice(&tag);
            assert!(open(&key, number.nonce(), HEADER, &mut sealed.clone()).is_ok());
            assert_eq!(keys.open(Some(3), siv, HEADER, &mut sealed).is_ok(), opens);
        }
    }

    #[test]
    fn store_and_salt_and_brick_key_and_number_each_change_the_keys() {
        let (siv, sealed) = seal_with(&keys_of(1, 2, 3), 4, b"content");
        for (brick_key, store, salt, number) in
            [(9, 2, 3, 4), (1, 9, 3, 4), (1, 2, 9, 4), (1, 2, 3, 9)]
        {
            let keys = keys_of(brick_key, store, salt);
            assert_eq!(
                open_with(&keys, number, siv, HEADER, &sealed),
                Err(Unverified)
            );
            assert_ne!(seal_with(&keys, number, b"content").0, siv);
        }
    }

    #[test]
    fn a_content_with_and_one_without_a_number_differ() {
        let FrameKeys(keys) = keys();
        let begin = |number| keys.begin(number, &mut b"content".to_vec()).siv();
        assert_ne!(begin(None), begin(Some(0)));
    }

    proptest! {
        /// A machine that was set back seals another content under a number that it has
        /// used: the two ciphertexts must not show the XOR of the contents.
        #[test]
        fn a_number_that_is_used_twice_shows_nothing(
            one in prop::collection::vec(any::<u8>(), 32..200),
            position: prop::sample::Index,
            bit in 0_u32..8,
        ) {
            let mut two = one.clone();
            let position = position.index(one.len());
            two[position] ^= 1 << bit;
            let (siv_one, sealed_one) = seal_with(&keys(), 0, &one);
            let (siv_two, sealed_two) = seal_with(&keys(), 0, &two);
            prop_assert_ne!(siv_one, siv_two);
            // Under one key all bytes but one would be the same.
            let same = sealed_one.iter().zip(&sealed_two).filter(|(one, two)| one == two).count();
            prop_assert!(same < one.len() / 2, "{same} of {}", one.len());
            prop_assert_eq!(seal_with(&keys(), 0, &one), (siv_one, sealed_one));
        }
    }
}
