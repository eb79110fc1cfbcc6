//! Seals and opens notes (`formats/collection.md#notes`).

use rand_core::CryptoRng;

use super::sealed;
use crate::crypto::{PutKeys, Random};
use crate::error::Result;
use crate::format::note::Note;
use crate::format::sealed::NOTE;
use crate::format::wire::DecodeResult;

/// Seals a note: the bytes of its file.
///
/// # Errors
/// Fails if the note breaks a limit, or if the operating system has no random bytes.
pub fn seal_note(keys: &PutKeys, note: &Note) -> Result<Vec<u8>> {
    seal_note_with_random(keys, note, &mut Random::from_os()?)
}

/// As [`seal_note`], with a salt from `random`: for test vectors.
///
/// # Errors
/// Fails if the note breaks a limit.
#[doc(hidden)]
pub fn seal_note_with_random(
    keys: &PutKeys,
    note: &Note,
    random: &mut impl CryptoRng,
) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    note.encode(&mut plain)?;
    sealed::seal(NOTE, keys, &keys.note, &mut plain, random)
}

/// Opens the bytes of a note's file. Whether it belongs where it stands is for the
/// caller to say.
///
/// # Errors
/// All that can be wrong with it; a field `epoch` or `store id` if the keys are of
/// another one.
pub fn open_note(keys: &PutKeys, bytes: &[u8]) -> DecodeResult<Note> {
    sealed::open(NOTE, keys, &keys.note, bytes, Note::decode)
}
