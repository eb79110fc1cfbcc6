//! What a virtual tape is like.

use serde::Deserialize;

/// When a tape is no good at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Broken {
    /// The drive cannot load it.
    Load,
    /// Every read fails.
    Read,
    /// Every write fails.
    Write,
}

/// The file `tape.toml` of a virtual tape. Places are counted from the start of the tape:
/// in bytes, or in blocks from 0, without filemarks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Bytes that the tape says it holds; 0: it says nothing, and has no end.
    pub capacity: u64,
    /// Bytes that it holds in truth, if that is another number.
    pub full_after: Option<u64>,
    /// So many bytes before its end it warns.
    pub early_warning: u64,
    /// It must not be written.
    pub write_protected: bool,
    /// It is no good at all.
    pub broken: Option<Broken>,
    /// Writing these blocks fails.
    pub fail_write: Vec<u64>,
    /// Reading these blocks fails.
    pub fail_read: Vec<u64>,
    /// Reading these blocks succeeds, with some bits flipped.
    pub flip: Vec<u64>,
    /// The process ends when a write would reach this byte: a power cut.
    pub power_cut: Option<u64>,
    /// Milliseconds that each block takes.
    pub slow: u64,
    /// Bytes a second that have to arrive: a write that comes later than that fails.
    pub least_rate: Option<u64>,
}

impl Settings {
    /// Where the tape really ends.
    pub(super) fn end(&self) -> u64 {
        let capacity = if self.capacity == 0 {
            u64::MAX
        } else {
            self.capacity
        };
        self.full_after.unwrap_or(capacity)
    }
}
