//! Thirty-two bytes that nobody else may see.

use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A 32-byte secret: wiped when dropped. It has neither `Debug` nor `Deref`
/// nor `PartialEq`, so that it is neither printed nor compared by accident.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Secret([u8; Self::SIZE]);

impl Secret {
    /// Length in bytes.
    pub(crate) const SIZE: usize = 32;

    /// A copy of `bytes`; wiping the original is the caller's business.
    pub(crate) const fn copy_of(bytes: &[u8; Self::SIZE]) -> Self {
        Self(*bytes)
    }

    /// A secret that `fill` writes in place, so that no second copy of it lies about.
    pub(crate) fn filled_by(fill: impl FnOnce(&mut [u8; Self::SIZE])) -> Self {
        let mut secret = Self([0; Self::SIZE]);
        fill(&mut secret.0);
        secret
    }

    /// A new secret.
    pub(crate) fn random(random: &mut impl CryptoRng) -> Self {
        Self::filled_by(|bytes| random.fill_bytes(bytes))
    }

    /// The bytes.
    pub(crate) const fn expose(&self) -> &[u8; Self::SIZE] {
        &self.0
    }
}
