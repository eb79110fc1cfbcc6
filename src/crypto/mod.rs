//! Keys, key derivation, encapsulation and sealing (`formats/keys.md`).
//!
//! Nothing here knows tar or touches a file. The rules for nonces and
//! associated data stand in one place, the private module `seal`.

mod derive;
mod encapsulation;
mod key;
mod key_text;
mod passphrase;
mod public;
mod put;
mod random;
mod recipients;
mod seal;
mod secret;

pub use key::Key;
pub use key_text::KeyFile;
pub use passphrase::{LockedKey, UnlockError};
pub use public::{InvalidPublicKey, PublicKey};
pub use put::{ChunkIdKey, GearKey, IndexKey, PutKeys, SaltedKey, SidecarKey, StoreKey};
pub use recipients::RecipientsError;

pub(crate) use encapsulation::{DecapsulationKey, unwrap_brick_key, wrap_brick_key};
pub(crate) use random::Random;
pub(crate) use seal::{FrameKeys, TAG_LENGTH};
pub(crate) use secret::Secret;
