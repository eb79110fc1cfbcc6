//! Getting the right tape into the drive.

use std::fmt;

use rustix::io::Errno;

use super::drive::Drive;
use super::survey::{self, Labelled};
use crate::format::tape::TapeName;
use crate::{Error, Result};

/// How often a tape is asked for before the run gives up.
pub const ATTEMPTS: u32 = 5;

/// What a tape is needed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// To be written: a blank one, or one of the set with room left.
    Room,
    /// This one, to be read.
    Tape(TapeName),
    /// Any of the set that was not read yet; these are known to be missing.
    Another(Vec<TapeName>),
    /// To be labelled.
    Any,
}

impl fmt::Display for Wanted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Room => out.write_str("a blank tape, or one of this set with room left"),
            Self::Tape(name) => write!(out, "the tape {name}"),
            Self::Another(names) if names.is_empty() => {
                out.write_str("another tape of this set, if there is one")
            }
            Self::Another(names) => {
                out.write_str("another tape of this set; not read yet:")?;
                names.iter().try_for_each(|name| write!(out, " {name}"))
            }
            Self::Any => out.write_str("a tape"),
        }
    }
}

/// A request for a tape.
#[derive(Debug)]
pub struct Request<'a> {
    /// Which.
    pub wanted: &'a Wanted,
    /// The number of this request for the same tape, from 1.
    pub attempt: u32,
    /// The drive.
    pub drive: &'a str,
}

/// Whoever puts tapes into the drive: a person, a robot.
pub trait Changer {
    /// Puts in the tape that is asked for; returns false if there is none.
    ///
    /// # Errors
    /// If that failed.
    fn change(&mut self, request: &Request<'_>) -> Result<bool>;

    /// Why the tape in the drive is not taken.
    fn refuse(&mut self, why: &Error);
}

/// What came of a request for a tape.
#[derive(Debug)]
pub enum Obtained<T> {
    /// It is in the drive.
    Tape(T),
    /// There are no more: why the last one was not taken, if there was one.
    NoMore(Option<Error>),
}

impl<T> Obtained<T> {
    /// What was got, or an error that says what was wanted.
    ///
    /// # Errors
    /// Why the last tape was not taken, or [`Error::Refused`].
    pub fn or_refuse(self, drive: &dyn Drive, wanted: &Wanted) -> Result<T> {
        match self {
            Self::Tape(tape) => Ok(tape),
            Self::NoMore(Some(error)) => Err(error),
            Self::NoMore(None) => Err(survey::refused(
                drive,
                format!("needs {wanted}; run the command again when there is one"),
            )),
        }
    }
}

/// Whether the drive is empty.
pub(super) fn is_no_tape(error: &Error) -> bool {
    let none = Errno::NOMEDIUM.raw_os_error();
    matches!(error, Error::Io { source, .. } if source.raw_os_error() == Some(none))
}

/// Loads tapes until `check` accepts one. The one that is in the drive comes first, if
/// `first` says so.
///
/// # Errors
/// What was wrong with the last of [`ATTEMPTS`] tapes; [`Error::Interrupted`]; those of the
/// changer.
pub fn obtain<T>(
    drive: &mut dyn Drive,
    changer: &mut dyn Changer,
    wanted: &Wanted,
    first: bool,
    mut check: impl FnMut(&mut dyn Drive, Labelled) -> Result<T>,
) -> Result<Obtained<T>> {
    let mut attempt = 0;
    let mut last = None;
    let mut in_drive = first;
    loop {
        if !in_drive {
            attempt += 1;
            let name = drive.name();
            let request = Request {
                wanted,
                attempt,
                drive: &name,
            };
            if !changer.change(&request)? {
                return Ok(Obtained::NoMore(last));
            }
        }
        let result = drive
            .load()
            .and_then(|()| survey::label(drive))
            .and_then(|label| check(drive, label));
        match result {
            Ok(accepted) => return Ok(Obtained::Tape(accepted)),
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) if attempt >= ATTEMPTS => return Err(error),
            Err(error) => {
                // Whoever ran the command may not have put any tape in yet: to say so
                // would be noise.
                if attempt > 0 || !is_no_tape(&error) {
                    changer.refuse(&error);
                }
                // A tape that does not even load may not unload either.
                let _ = drive.unload();
                last = Some(error);
            }
        }
        in_drive = false;
    }
}
