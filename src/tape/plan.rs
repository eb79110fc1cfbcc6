//! What a run will write where, before it writes (`formats/tape.md#planning`).

use super::catalog::{Place, Sha256Sum, Whole};
use super::source::{Containers, Next};
use super::ustar;
use crate::error::Exit;
use crate::format::tape::TapeName;
use crate::id::TapeId;
use crate::{Error, Result};

/// How the space of a tape is shared out.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// The length of blocks, 0 on a mounted tape.
    pub block: u32,
    /// Bytes kept free for marks and for blocks that the drive writes again.
    pub reserve: u64,
}

impl Room {
    /// What a tape file of so many bytes takes.
    #[must_use]
    pub fn taken(self, length: u64) -> u64 {
        match u64::from(self.block) {
            0 => length,
            block => length.div_ceil(block).saturating_mul(block),
        }
    }

    /// What a container may take on a tape with so much free space, if a catalog of at
    /// most `catalog_bound` bytes must fit behind it.
    #[must_use]
    pub fn for_container(self, free: u64, catalog_bound: u64) -> u64 {
        let catalog = self.taken(longest_catalog_file(catalog_bound));
        let room = free.saturating_sub(catalog).saturating_sub(self.reserve);
        match u64::from(self.block) {
            0 => room,
            block => room / block * block,
        }
    }
}

/// The length of a catalog's tape file: its text, and checksums of at most twice the length
/// of the lines about containers.
fn longest_catalog_file(catalog_bound: u64) -> u64 {
    let headers = 2 * ustar::BLOCK as u64;
    let sums = catalog_bound.saturating_mul(2);
    ustar::whole(headers + ustar::padded(catalog_bound) + ustar::padded(sums))
}

/// A tape that will be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedTape {
    /// Its name, if it is in the drive; else it is a blank one.
    pub name: Option<TapeName>,
    /// Number and length of each container.
    pub containers: Vec<(u32, u64)>,
    /// Bytes that this run takes on it, without the catalog at its end.
    pub bytes: u64,
    /// Bytes that are free before the run.
    pub free: u64,
}

/// What will be written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The tapes, in order.
    pub tapes: Vec<PlannedTape>,
    /// Bytes reserved on each for the catalog, at most.
    pub catalog: u64,
}

/// Plans a run: `first` is the name and the free space of the tape in the drive, if it is
/// one to be written; `blank` the free space of each further one, behind its label.
///
/// The containers are of no further use: they believe that all is on tape.
///
/// # Errors
/// If a container is longer than any tape; those of planning containers.
pub fn plan(
    containers: &mut dyn Containers,
    first: Option<(TapeName, u64)>,
    blank: u64,
    room: Room,
) -> Result<Plan> {
    let mut plan = Plan {
        tapes: Vec::new(),
        catalog: room.taken(longest_catalog_file(containers.catalog_bound())),
    };
    let mut tapes = first
        .map(|(name, free)| (Some(name), free))
        .into_iter()
        .chain(std::iter::repeat((None, blank)));
    while !matches!(containers.next(u64::MAX)?, Next::Nothing) {
        // The iterator has no end.
        let Some((name, free)) = tapes.next() else {
            break;
        };
        let is_blank = name.is_none();
        let tape = plan_tape(containers, name, free, room, plan.tapes.len() as u64)?;
        if is_blank && tape.containers.is_empty() {
            return Err(too_long(containers, blank, room)?);
        }
        if !tape.containers.is_empty() {
            plan.tapes.push(tape);
        }
    }
    Ok(plan)
}

fn plan_tape(
    containers: &mut dyn Containers,
    name: Option<TapeName>,
    free: u64,
    room: Room,
    number: u64,
) -> Result<PlannedTape> {
    let mut tape = PlannedTape {
        name,
        containers: Vec::new(),
        bytes: 0,
        free,
    };
    let id = TapeId(number.to_be_bytes());
    loop {
        let left = room.for_container(free.saturating_sub(tape.bytes), containers.catalog_bound());
        let Next::Container(container) = containers.next(left)? else {
            return Ok(tape);
        };
        let (number, length) = (container.number(), container.length());
        let whole = Whole {
            length,
            sha256: Sha256Sum([0; 32]),
        };
        let file = u32::try_from(tape.containers.len()).unwrap_or(u32::MAX);
        let place = Place {
            container: number,
            tape: id,
            file,
            name: planned_name()?,
        };
        containers.written(whole, place)?;
        tape.bytes += room.taken(length);
        tape.containers.push((number, length));
    }
}

fn planned_name() -> Result<TapeName> {
    "planned"
        .parse()
        .map_err(|error| Error::Internal(format!("{error}")))
}

/// The error that the next container fits on no tape.
pub(super) fn too_long(containers: &mut dyn Containers, blank: u64, room: Room) -> Result<Error> {
    let left = room.for_container(blank, containers.catalog_bound());
    Ok(match containers.next(left)? {
        Next::NoRoom { number, length } => Error::Refused {
            path: format!("container {number}").into(),
            message: format!(
                "has {length} bytes, but a blank tape has room for {left} besides label, catalog \
                 and reserve; make smaller containers, take longer tapes, or correct --capacity"
            ),
            exit: Exit::Failed,
        },
        _ => Error::Internal("a container fits, and does not".into()),
    })
}
