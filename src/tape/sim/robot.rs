//! What changes the tapes of a virtual library where no other hands are given.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::device::SimDevice;
use crate::format::tape::TapeName;
use crate::tape::drive::Drive;
use crate::tape::raw::RawDrive;
use crate::tape::survey::{self, Labelled};
use crate::tape::{Changer, Request, Wanted};
use crate::{Error, Result};

/// Finds tapes by their labels; otherwise takes one after the other, in the order of the
/// names of their folders.
#[derive(Debug)]
pub struct Robot<T> {
    library: PathBuf,
    /// Those that were put in without being asked for by name.
    offered: BTreeSet<String>,
    tell: T,
}

impl<T: FnMut(&str)> Robot<T> {
    /// The robot of the library in a folder. It says what it does.
    pub fn new(library: &Path, tell: T) -> Self {
        Self {
            library: library.to_owned(),
            offered: BTreeSet::new(),
            tell,
        }
    }

    /// The names of the folders with tapes, in order.
    fn tapes(&self) -> Result<Vec<String>> {
        let entries = fs::read_dir(&self.library).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = entries.map_err(Error::io("list", &self.library))?;
        let tapes = entries.iter().filter(|entry| entry.path().is_dir());
        let mut tapes: Vec<_> = tapes
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        tapes.sort();
        Ok(tapes)
    }

    fn put_in(&self, tape: &str) -> Result<()> {
        let path = self.library.join("loaded");
        fs::write(&path, tape).map_err(Error::io("write", &path))
    }

    /// Whether the label of the tape that was put in has this name.
    fn has_name(&self, name: &TapeName) -> bool {
        let mut drive = RawDrive::new(SimDevice::new(&self.library));
        let label = drive.load().and_then(|()| survey::label(&mut drive));
        // What cannot be read is not found.
        matches!(label, Ok(Labelled::Yes(label)) if label.name == *name)
    }

    fn find(&self, name: &TapeName) -> Result<Option<String>> {
        for tape in self.tapes()? {
            self.put_in(&tape)?;
            if self.has_name(name) {
                return Ok(Some(tape));
            }
        }
        self.put_in("")?;
        Ok(None)
    }

    fn next(&mut self) -> Result<Option<String>> {
        let mut tapes = self.tapes()?.into_iter();
        let next = tapes.find(|tape| !self.offered.contains(tape));
        if let Some(tape) = &next {
            self.put_in(tape)?;
            self.offered.insert(tape.clone());
        }
        Ok(next)
    }
}

impl<T: FnMut(&str)> Changer for Robot<T> {
    fn change(&mut self, request: &Request<'_>) -> Result<bool> {
        let tape = match request.wanted {
            Wanted::Tape(name) => self.find(name)?,
            Wanted::Room | Wanted::Another(_) | Wanted::Any => self.next()?,
        };
        match &tape {
            Some(tape) => (self.tell)(&format!("the robot puts in {tape}")),
            None => (self.tell)(&format!("the robot does not have {}", request.wanted)),
        }
        Ok(tape.is_some())
    }

    fn refuse(&mut self, why: &Error) {
        (self.tell)(&format!("not this one: {why}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::Monitor;
    use crate::tape::{LabelOptions, label_tape};

    #[test]
    fn the_robot_finds_tapes_by_their_labels_and_offers_each_other_one_once() {
        let library = tempfile::tempdir().unwrap();
        for tape in ["b", "a", "c"] {
            fs::create_dir(library.path().join(tape)).unwrap();
        }
        let mut drive = RawDrive::new(SimDevice::new(library.path()));
        let name = |name: &str| name.parse::<TapeName>().unwrap();
        fs::write(library.path().join("loaded"), "c").unwrap();
        drive.load().unwrap();
        let options = LabelOptions {
            names: Vec::new(),
            block: 512,
            overwrite: false,
            time: 7,
        };
        let monitor = Monitor::default();
        label_tape(
            &mut drive,
            &Labelled::Blank,
            name("X-1"),
            &options,
            &monitor,
        )
        .unwrap();
        drive.unload().unwrap();
        let mut told = Vec::new();
        let mut robot = Robot::new(library.path(), |what: &str| told.push(what.to_owned()));
        let mut ask = |wanted: &Wanted| {
            let request = Request {
                wanted,
                attempt: 1,
                drive: "sim",
            };
            let found = robot.change(&request).unwrap();
            let loaded = fs::read_to_string(library.path().join("loaded")).unwrap();
            (found, loaded)
        };
        assert_eq!(ask(&Wanted::Room), (true, "a".into()));
        assert_eq!(ask(&Wanted::Tape(name("X-1"))), (true, "c".into()));
        assert_eq!(ask(&Wanted::Tape(name("X-2"))), (false, String::new()));
        assert_eq!(ask(&Wanted::Any), (true, "b".into()));
        assert_eq!(ask(&Wanted::Another(vec![])), (true, "c".into()));
        assert!(!ask(&Wanted::Room).0);
        assert_eq!(told.len(), 6);
    }
}
