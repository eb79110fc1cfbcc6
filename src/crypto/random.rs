//! Random bytes for secrets and salts.

use std::convert::Infallible;
use std::io;

use rand_core::{TryCryptoRng, TryRng};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::error::{Error, Result};

/// Random bytes for one key, brick or root: a fresh 32-byte seed from the
/// operating system, extended by BLAKE3.
///
/// The operating system can refuse, and then it does so here, where it is an
/// error; the generators that HPKE takes cannot fail, other than by a panic.
pub(crate) struct Random(blake3::OutputReader);

impl Random {
    /// A generator with a new seed.
    ///
    /// # Errors
    /// Fails if the operating system has no random bytes.
    pub(crate) fn from_os() -> Result<Self> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice())
            .map_err(io::Error::other)
            .map_err(Error::io("draw random bytes from", "the operating system"))?;
        let mut hasher = blake3::Hasher::new_derive_key("dtar 2026-11 random v1");
        hasher.update(seed.as_slice());
        let output = hasher.finalize_xof();
        hasher.zeroize();
        Ok(Self(output))
    }
}

impl TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Random {}

impl Drop for Random {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for Random {}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::Rng;

    #[test]
    fn two_seeds_give_different_bytes() {
        let draw = || {
            let mut bytes = [0; 32];
            Random::from_os().unwrap().fill_bytes(&mut bytes);
            bytes
        };
        assert_ne!(draw(), draw());
    }
}
