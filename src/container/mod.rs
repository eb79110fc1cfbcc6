//! Containers: plain tars of parts of a store, sized for a tape or an object
//! (`formats/container.md`).
//!
//! ```text
//! gather (what is not packed, in which order) -> fill (what fits) -> write, hashed -> enter in the store
//! ```

pub(crate) mod catalog;
mod check;
mod docs;
mod fill;
mod gather;
pub(crate) mod header;
pub(crate) mod lock;
mod pack;
mod part;
mod read;
mod shelf;
mod store;
mod told;
pub(crate) mod unpack;
mod write;

pub use catalog::{Head, Scanned};
pub use docs::{PAGES, Page};
pub use pack::pack;
pub use read::{Container, is_container};
pub use shelf::Shelf;
pub use store::{StoredSet, scan_file as scan_catalog, sets};
pub use told::{PackOptions, PackSummary, Packed, Packing};
pub use unpack::{UnpackOptions, UnpackSummary, unpack};
