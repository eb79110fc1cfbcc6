//! dtar turns a tar stream into deduplicated, compressed, encrypted *bricks*
//! and a small *index tar*, and an index back into the byte-identical stream.
//!
//! ```text
//! stdin -> tar split -> chunk + hash -> dedup (catalog) -> frame -> compress + seal -> brick -> store
//!              \-> index tar (stdout) <- chunk hashes, then the trailer once every brick is durable
//! index tar -> plan (which bricks, which frames, in what order) -> open + decompress -> verify -> stdout
//! ```
//!
//! The byte layouts are normative in the folder `formats/`. The library prints
//! nothing; everything for a terminal lives in the binary's `cli` module.

pub mod archive;
pub mod brick;
pub mod chunk;
pub mod container;
pub mod crypto;
pub mod error;
pub mod format;
pub mod gc;
pub mod id;
pub mod index;
pub mod key_file;
pub mod parity;
pub mod plan;
#[cfg(feature = "s3")]
pub mod remote;
pub mod restore;
pub mod salvage;
pub mod search;
pub mod snapshot;
pub mod store;
pub mod tape;
pub mod tar;
mod threads;
pub mod verify;

pub use error::{Error, Result};
