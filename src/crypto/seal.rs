//! Sealing with ChaCha20-Poly1305 (RFC 8439): which key, which nonce, which
//! associated data. Nothing else in the crate chooses a nonce.
//!
//! A nonce must never be used twice under one key. That holds
//! - for frames, because a [`FrameKey`] follows from the random key of one
//!   brick, and its one writer numbers the frames that it seals, each number
//!   once (`formats/frame.md#seal`);
//! - for everything else, because a [`OnceKey`] follows from a salt that is
//!   drawn for one structure, and sealing consumes it.

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce, Tag};

use super::derive::{FRAME_KEY, derive};
use super::secret::Secret;
use crate::error::{Error, Result};
use crate::id::{Salt, StoreId};

/// Length of the tag that ends sealed bytes.
pub(crate) const TAG_LENGTH: usize = 16;

const NONCE_LENGTH: usize = 12;

/// A seal does not verify: damaged bytes, altered ones, or another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unverified;

/// The key of the frames that are sealed in one brick.
#[derive(Clone)]
pub(crate) struct FrameKey(Secret);

impl FrameKey {
    /// The frame key that follows from a brick key.
    pub(crate) fn new(brick_key: &Secret, store_id: StoreId, salt: Salt) -> Self {
        Self(derive(
            FRAME_KEY,
            &[brick_key.expose(), store_id.as_bytes(), salt.as_bytes()],
        ))
    }

    /// Nonce of a frame: its number, then eight zero bytes.
    fn nonce(number: u32) -> [u8; NONCE_LENGTH] {
        let mut nonce = [0; NONCE_LENGTH];
        nonce[..4].copy_from_slice(&number.to_le_bytes());
        nonce
    }

    /// Encrypts `content` in place and returns the tag. The caller sees to it
    /// that `number` is used once.
    pub(crate) fn seal(
        &self,
        number: u32,
        header: &[u8],
        content: &mut [u8],
    ) -> Result<[u8; TAG_LENGTH]> {
        seal(&self.0, Self::nonce(number), header, content)
    }

    /// Decrypts `sealed`, content and tag, in place; returns the content.
    pub(crate) fn open<'a>(
        &self,
        number: u32,
        header: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], Unverified> {
        open(&self.0, Self::nonce(number), header, sealed)
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

    fn key() -> FrameKey {
        FrameKey::new(&Secret::copy_of(&[7; 32]), StoreId([1; 16]), Salt([2; 16]))
    }

    #[test]
    fn a_seal_covers_number_header_content_and_tag() {
        let mut sealed = b"content".to_vec();
        let tag = key().seal(3, b"header", &mut sealed).unwrap();
        sealed.extend_from_slice(&tag);
        let open = |number, header: &[u8], mut sealed: Vec<u8>| {
            key()
                .open(number, header, &mut sealed)
                .map(|content| content.to_vec())
        };
        assert_eq!(open(3, b"header", sealed.clone()).unwrap(), b"content");
        assert_eq!(open(4, b"header", sealed.clone()), Err(Unverified));
        assert_eq!(open(3, b"hebder", sealed.clone()), Err(Unverified));
        assert_eq!(open(3, b"header", sealed[..15].to_vec()), Err(Unverified));
        for position in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[position] ^= 1;
            assert_eq!(open(3, b"header", altered), Err(Unverified), "{position}");
        }
    }

    #[test]
    fn store_and_salt_and_brick_key_each_change_the_frame_key() {
        let key = |brick_key, store, salt| {
            let key = FrameKey::new(
                &Secret::copy_of(&[brick_key; 32]),
                StoreId([store; 16]),
                Salt([salt; 16]),
            );
            *key.0.expose()
        };
        let one = key(1, 2, 3);
        assert_eq!(one, key(1, 2, 3));
        assert_ne!(one, key(9, 2, 3));
        assert_ne!(one, key(1, 9, 3));
        assert_ne!(one, key(1, 2, 9));
    }
}
