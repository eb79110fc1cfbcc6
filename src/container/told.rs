//! What to pack, and what is said of it.

use std::path::PathBuf;

use crate::error::{Error, Exit};
use crate::id::BrickName;
use crate::store::layout::RunName;

/// What to pack, and how.
#[derive(Debug, Clone)]
pub struct PackOptions {
    /// The folder for the containers.
    pub to: PathBuf,
    /// The longest that a container may be, in bytes.
    pub bound: u64,
    /// Only these bricks, in this order.
    pub only: Option<Vec<BrickName>>,
    /// Only what runs need that came after this one, beyond what it needs.
    pub since: Option<RunName>,
    /// Parity files too.
    pub parity: bool,
    /// Begin another set.
    pub new_set: bool,
    /// The set to go on with: hex digits with which only its id begins.
    pub set: Option<String>,
    /// Write nothing.
    pub dry_run: bool,
    /// Stop after so many containers.
    pub most: Option<u64>,
}

/// A container that was made, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The file.
    pub path: PathBuf,
    /// In bytes; of one that would be made, at most.
    pub length: u64,
    /// Of its bricks.
    pub bricks: u64,
    /// Whether it was found whole: of a run that was cut off.
    pub found: bool,
}

/// What packing came to.
#[derive(Debug, Clone, Default)]
pub struct PackSummary {
    /// The set.
    pub set: String,
    /// Bricks for which another container has to be made: [`PackOptions::most`] were.
    pub left: u64,
    /// Containers.
    pub containers: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bricks in them.
    pub bricks: u64,
    /// Bricks that were taken over from a container that was cut off.
    pub resumed: u64,
    /// Bricks that no run needs, and that were left out.
    pub unneeded: u64,
    /// Runs of which something is not in the set yet.
    pub runs_left: u64,
    /// Bricks that were left out because they are damaged.
    pub damaged: Vec<PathBuf>,
    /// Bricks that were left out because no container can hold them.
    pub too_long: Vec<PathBuf>,
    /// Bricks that runs need and that are neither in the store nor in the set.
    pub missing: u64,
}

impl PackSummary {
    /// How a program should end.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match Exit::of_damage(!self.damaged.is_empty()) {
            Exit::Done if !self.too_long.is_empty() => Exit::Failed,
            exit => exit,
        }
    }
}

/// Something to tell while it goes on.
#[derive(Debug)]
pub enum Packing<'a> {
    /// A container is done.
    Done(&'a Packed),
    /// A brick is left out, which is damaged or too long.
    LeftOut(&'a Error),
}
