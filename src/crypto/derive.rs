//! Key derivation: BLAKE3 in `derive_key` mode (`formats/keys.md#secrets`).
//!
//! The contexts are part of the format: each is used for one purpose only.

use zeroize::Zeroize;

use super::secret::Secret;

pub(super) const RECIPIENTS_KEY: &str = "dtar 2026-11 recipients key v1";
pub(super) const PUT_SECRET: &str = "dtar 2026-11 put secret v1";
pub(super) const X_WING_SEED: &str = "dtar 2026-11 x-wing seed v1";
pub(super) const CHUNK_ID_KEY: &str = "dtar 2026-11 chunk id key v1";
pub(super) const METADATA_ID_KEY: &str = "dtar 2026-11 metadata id key v1";
pub(super) const TOC_KEY: &str = "dtar 2026-11 toc key v1";
pub(super) const SIDECAR_KEY: &str = "dtar 2026-11 sidecar key v1";
pub(super) const ROOT_KEY: &str = "dtar 2026-11 root key v1";
pub(super) const NOTE_KEY: &str = "dtar 2026-11 note key v1";
pub(super) const GEAR_KEY: &str = "dtar 2026-11 gear key v1";
pub(super) const INDEX_KEY: &str = "dtar 2026-11 index key v1";
pub(super) const STORE_KEY: &str = "dtar 2026-11 store key v1";
pub(super) const BRICK_TOC_KEY: &str = "dtar 2026-11 brick toc key v1";
pub(super) const ONE_ROOT_KEY: &str = "dtar 2026-11 one root key v1";
pub(super) const ONE_NOTE_KEY: &str = "dtar 2026-11 one note key v1";
pub(super) const TOC_SIV_KEY: &str = "dtar 2026-11 toc siv key v1";
pub(super) const ROOT_SIV_KEY: &str = "dtar 2026-11 root siv key v1";
pub(super) const NOTE_SIV_KEY: &str = "dtar 2026-11 note siv key v1";
pub(super) const FRAME_SIV_KEY: &str = "dtar 2026-11 frame siv key v1";
pub(super) const FRAME_KEY: &str = "dtar 2026-11 frame key v1";

/// KDF(`context`, the parts of `input` joined).
pub(super) fn derive(context: &str, input: &[&[u8]]) -> Secret {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in input {
        hasher.update(part);
    }
    let mut output = hasher.finalize_xof();
    let secret = Secret::filled_by(|bytes| output.fill(bytes));
    output.zeroize();
    hasher.zeroize();
    secret
}
