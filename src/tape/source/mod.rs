//! Where the containers come from that are put on tapes.

use std::io::Write;

use super::catalog::{Place, Sha256Sum, Whole};
use crate::Result;
use crate::id::{ContainerSetId, StoreId, TapeId};

mod folder;

pub use folder::Folder;

/// Where a container is written to: it is hashed there, once.
pub trait Sink: Write {
    /// Of all that was written.
    fn sha256(&self) -> Sha256Sum;
}

/// A container whose content is fixed.
pub trait Planned {
    /// Its number.
    fn number(&self) -> u32;

    /// Its exact length in bytes.
    fn length(&self) -> u64;

    /// Writes it. May be called again after a failure, and gives the same bytes then.
    ///
    /// # Errors
    /// If something that belongs into it has changed or is damaged: the error names it.
    fn write(&mut self, out: &mut dyn Sink) -> Result<()>;
}

/// What comes next.
pub enum Next {
    /// This one.
    Container(Box<dyn Planned>),
    /// One of this number and length, for which there is no room.
    NoRoom {
        /// Its number.
        number: u32,
        /// The room that it needs, in bytes.
        length: u64,
    },
    /// All are on tape.
    Nothing,
}

/// The containers of a set, and what is known of them.
pub trait Containers {
    /// The set.
    fn set(&self) -> ContainerSetId;

    /// The store.
    fn store(&self) -> StoreId;

    /// The next container of at most `room` bytes that is on no tape yet. The same again,
    /// until [`Containers::written`] is called.
    ///
    /// # Errors
    /// If it cannot be planned.
    fn next(&mut self, room: u64) -> Result<Next>;

    /// A container of this number is on a tape of the set, and nobody remembers it: a run
    /// that was cut off has left it. If it is on no other tape, `find` reads it, and returns
    /// what it is if it is whole; returns that if it is what [`Containers::next`] would give.
    ///
    /// # Errors
    /// Those of `find`; if what belongs into the container cannot be read.
    fn adopt(
        &mut self,
        number: u32,
        find: &mut dyn FnMut() -> Result<Option<Whole>>,
    ) -> Result<Option<Whole>>;

    /// A container was written to a tape. It is in the catalog from now on.
    ///
    /// # Errors
    /// If it is not what it was planned to be.
    fn written(&mut self, whole: Whole, place: Place) -> Result<()>;

    /// A container is not on this tape after all: it comes again.
    fn void(&mut self, number: u32, tape: TapeId);

    /// What was written to this tape has been read back and is right: it is remembered.
    ///
    /// # Errors
    /// If that cannot be written down.
    fn confirm(&mut self, tape: TapeId) -> Result<()>;

    /// Appends the text of the catalog, with `end 0`.
    ///
    /// # Errors
    /// If it cannot be had.
    fn catalog(&self, out: &mut Vec<u8>) -> Result<()>;

    /// The longest that the catalog can become by this run, in bytes.
    fn catalog_bound(&self) -> u64;
}
