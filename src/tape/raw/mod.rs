//! Tapes of blocks and filemarks, without a file system (`formats/tape.md#raw-tape`).
//!
//! [`Medium`] is what the st driver of Linux offers and no more: one `StDevice` talks to
//! it, and the [simulator](super::sim) behaves as it does. All that dtar has to know about
//! tapes stands in [`RawDrive`], above both.

mod drive;
mod medium;
#[cfg(target_os = "linux")]
mod st;

pub use drive::RawDrive;
pub use medium::{Medium, Operation, Status};
#[cfg(target_os = "linux")]
pub use st::StDevice;
