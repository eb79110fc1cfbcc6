//! What the tests around the real binary share.
#![allow(
    dead_code,
    reason = "every test binary compiles all helpers and uses some of them"
)]

pub mod block;
pub mod files;
pub mod kill;
pub mod listing;
pub mod log;
pub mod mounts;
pub mod sandbox;
pub mod shell;
pub mod source;
pub mod stored;
pub mod tree;

/// A named stream to archive.
#[derive(Clone)]
pub struct Case {
    /// Where it comes from, for messages.
    pub name: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Case {
    /// A case from its parts.
    pub fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            bytes: bytes.into(),
        }
    }
}
