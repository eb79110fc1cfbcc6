//! How much is free on a tape.

use super::change::is_no_tape;
use super::drive::Drive;
use super::label::label_length;
use super::plan::Room;
use super::source::Containers;
use super::survey::{self, Labelled};
use super::write::WriteOptions;
use crate::Result;
use crate::format::tape::{Owner, TapeName};

/// Bytes free behind the last file of the tape in the drive.
pub(super) fn free(drive: &mut dyn Drive, capacity: Option<u64>) -> Result<u64> {
    let capacity = self::capacity(drive, capacity)?;
    let used = drive
        .used()?
        .ok_or_else(|| survey::refused(drive, "the drive does not tell how much is on the tape"))?;
    Ok(capacity.saturating_sub(used))
}

/// Bytes that a tape holds: as told, or else as the drive tells.
fn capacity(drive: &mut dyn Drive, told: Option<u64>) -> Result<u64> {
    let known = match told {
        Some(told) => Some(told),
        None => drive.capacity()?,
    };
    known.ok_or_else(|| {
        survey::refused(
            drive,
            "the drive does not tell how much a tape holds: say it with --capacity, such as LTO-8",
        )
    })
}

/// What a run would find in the drive, without writing anything: name and free space of the
/// tape in it, if the run would write to it, and the free space of further, blank ones.
///
/// # Errors
/// If the drive does not tell how much a tape holds, and `options` do not either.
pub fn look(
    drive: &mut dyn Drive,
    containers: &dyn Containers,
    options: &WriteOptions,
) -> Result<(Option<(TapeName, u64)>, u64)> {
    let block = options.label.block;
    let room = Room { block, reserve: 0 };
    let blank = |capacity: u64| capacity.saturating_sub(room.taken(label_length()));
    let owner = Owner {
        set: containers.set(),
        store: containers.store(),
    };
    let found = drive.load().and_then(|()| survey::label(drive));
    let found = match (found, options.capacity) {
        (Ok(found), _) => found,
        // Without a tape to ask, what was told must do.
        (Err(_), Some(told)) => return Ok((None, blank(told))),
        (Err(error), None) if is_no_tape(&error) => {
            return Err(survey::refused(
                drive,
                "there is no tape in it to ask how much it holds: put one in, or say it with \
                 --capacity, such as LTO-8",
            ));
        }
        (Err(error), None) => return Err(error),
    };
    let holds = capacity(drive, options.capacity)?;
    let first = match found {
        Labelled::Yes(label) if label.owner == Some(owner) => {
            survey::entries(drive)?;
            Some((label.name, free(drive, options.capacity)?))
        }
        Labelled::Yes(label) if label.owner.is_none() => Some((label.name, blank(holds))),
        _ => None,
    };
    Ok((first, blank(holds)))
}
