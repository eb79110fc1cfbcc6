//! Tapes: putting containers on them, and getting them back (`formats/tape.md`).
//!
//! ```text
//! containers -> ring of blocks -> drive -> tape -> read back -> catalog
//! ```
//! A [`Drive`] shows a tape as a row of tape files: [`MountedDrive`] a tape with a file
//! system, [`RawDrive`] one of blocks and filemarks, either in a real device
//! (`raw::StDevice`, on Linux) or in a [simulated](sim) one.

mod catalog;
mod change;
mod digest;
mod drive;
mod fewest;
mod label;
mod lock;
mod members;
mod mounted;
mod plan;
pub mod raw;
mod recover;
mod restore;
mod ring;
mod room;
pub mod sim;
mod source;
mod stored;
pub mod survey;
mod ustar;
mod verify;
mod write;

pub use catalog::{Catalog, Container, Member, Place, Sha256Sum, Whole};
pub use change::{ATTEMPTS, Changer, Obtained, Request, Wanted, obtain};
pub use drive::{Drive, Opened, Read, WriteFault};
pub use fewest::fewest;
pub use label::{LabelOptions, label_length, label_tape};
pub use mounted::{MountCommands, MountOptions, MountedDrive};
pub use plan::{Plan, PlannedTape, Room, plan};
pub use raw::RawDrive;
pub use recover::{RecoverEvent, RecoverSummary, recover};
pub use restore::{
    RestoreEvent, RestoreOptions, RestoreSummary, TapeLoad, What, restore, tapes_for,
};
pub use ring::Pace;
pub use room::look;
pub use source::{Containers, Folder, Next, Planned, Sink};
pub use stored::{note_places, put, stored};
pub use verify::{Checked, FileState, verify};
pub use write::{Event, TapeSummary, WriteOptions, WriteSummary, write};

#[cfg(test)]
mod tests;
