//! Seals and opens roots (`formats/store.md#roots`).

use rand_core::CryptoRng;

use super::sealed;
use crate::crypto::{PutKeys, Random};
use crate::error::Result;
use crate::format::root::Root;
use crate::format::sealed::ROOT;
use crate::format::wire::DecodeResult;

/// Seals a root: the bytes of its file.
///
/// # Errors
/// Fails if the root breaks a limit, or if the operating system has no random bytes.
pub fn seal_root(keys: &PutKeys, root: &Root) -> Result<Vec<u8>> {
    seal_root_with_random(keys, root, &mut Random::from_os()?)
}

/// As [`seal_root`], with a salt from `random`: for test vectors.
///
/// # Errors
/// Fails if the root breaks a limit.
#[doc(hidden)]
pub fn seal_root_with_random(
    keys: &PutKeys,
    root: &Root,
    random: &mut impl CryptoRng,
) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    root.encode(&mut plain)?;
    sealed::seal(ROOT, keys, &keys.root, &mut plain, random)
}

/// Opens the bytes of a root's file. [`SealedHeader::decode`] says, without keys, of
/// which epoch and store it is.
///
/// [`SealedHeader::decode`]: crate::format::sealed::SealedHeader::decode
///
/// # Errors
/// All that can be wrong with it; a field `epoch` or `store id` if the keys are of
/// another one.
pub fn open_root(keys: &PutKeys, bytes: &[u8]) -> DecodeResult<Root> {
    sealed::open(ROOT, keys, &keys.root, bytes, Root::decode)
}
