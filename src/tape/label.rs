//! Giving tapes their labels (`formats/tape.md#label`).

use super::drive::Drive;
use super::ring::{Stream, WriteFailure};
use super::survey::{self, Labelled};
use super::ustar;
use super::write::{create, put_bytes};
use crate::archive::Monitor;
use crate::container::PAGES;
use crate::format::tape::{LABEL_MEMBER, Label, TapeFile, TapeName};
use crate::id::TapeId;
use crate::{Error, Result};

/// How a tape is labelled.
#[derive(Debug, Clone)]
pub struct LabelOptions {
    /// Names for blank tapes, in the order in which they come.
    pub names: Vec<TapeName>,
    /// The length of blocks on a raw tape, 0 on a mounted one.
    pub block: u32,
    /// Whether tapes that hold something else are written over.
    pub overwrite: bool,
    /// Seconds since 1970, now.
    pub time: u64,
}

/// Whether nothing but its label is on the tape.
pub(super) fn is_bare(drive: &mut dyn Drive) -> Result<bool> {
    Ok(survey::entries(drive)?.len() == 1 && drive.foreign()?.is_none())
}

/// Why a tape is not written.
pub(super) fn wrong_tape(drive: &dyn Drive, found: &Labelled) -> Error {
    let what = match found {
        Labelled::Blank => "it is blank".to_owned(),
        Labelled::No(why) => format!("not a tape of dtar ({why})"),
        Labelled::Yes(Label {
            name,
            owner: Some(owner),
            ..
        }) => format!(
            "{name} is a tape of set {} of store {}",
            owner.set, owner.store
        ),
        Labelled::Yes(label) => {
            format!("{} has a label for no set, and files behind it", label.name)
        }
    };
    survey::refused(
        drive,
        format!("{what}; it is not written over unless --overwrite says so: put in another tape"),
    )
}

pub(super) fn draw_id(drive: &dyn Drive) -> Result<TapeId> {
    let mut id = [0; TapeId::SIZE];
    getrandom::fill(&mut id)
        .map_err(|error| Error::io("draw an id for", drive.name())(std::io::Error::other(error)))?;
    Ok(TapeId(id))
}

/// Labels the tape in the drive, which is loaded, and belongs to no set then.
///
/// # Errors
/// [`Error::Refused`] if something is on it and `overwrite` is not set; those of the drive.
pub fn label_tape(
    drive: &mut dyn Drive,
    found: &Labelled,
    name: TapeName,
    options: &LabelOptions,
    monitor: &Monitor,
) -> Result<Label> {
    let may = match found {
        Labelled::Blank => true,
        Labelled::Yes(label) if label.owner.is_none() => is_bare(drive)? || options.overwrite,
        _ => options.overwrite,
    };
    if !may {
        return Err(wrong_tape(drive, found));
    }
    let label = Label {
        id: draw_id(drive)?,
        name,
        owner: None,
        block: options.block,
        time: options.time,
    };
    write_label(drive, &label, monitor)?;
    Ok(label)
}

/// The length of a label's tape file, in bytes, at most.
#[must_use]
pub fn label_length() -> u64 {
    let pages: u64 = PAGES
        .iter()
        .map(|(_, body)| ustar::BLOCK as u64 + ustar::padded(body.len() as u64))
        .sum();
    ustar::whole(pages + 4 * ustar::BLOCK as u64)
}

/// Makes the tape empty but for this label.
pub(super) fn write_label(drive: &mut dyn Drive, label: &Label, monitor: &Monitor) -> Result<()> {
    let mut text = String::new();
    label.encode(&mut text);
    let mut tar = Vec::new();
    let members = std::iter::once((LABEL_MEMBER, text.as_bytes())).chain(PAGES.iter().copied());
    for (name, body) in members {
        ustar::put_member(&mut tar, name, body, label.time)?;
    }
    ustar::put_end(&mut tar);
    drive.erase()?;
    drive.set_block(label.block);
    let stream = Stream {
        memory: 0,
        heed_warning: false,
    };
    let written = create(drive, TapeFile::LABEL)
        .and_then(|()| stream.write(drive, monitor, |out| put_bytes(out, &tar)));
    match written {
        Ok(_) => Ok(()),
        Err(WriteFailure::Source(error)) => Err(error),
        Err(WriteFailure::Tape(fault)) => Err(fault.into_error(&drive.name())),
    }
}
