//! Ways to damage each structure of each kind of file.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;

use crate::made::{cut, flip, length};
use crate::targets::targets;
use crate::yard::Yard;

/// Kinds of files. There are three of bricks of data: one that is needed, one of which
/// one frame of two is, and one of which nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Config,
    Key,
    Brick,
    PartlyNeeded,
    Garbage,
    Metadata,
    Sidecar,
    Root,
    Snapshot,
    Index,
    Catalog,
    Parity,
    Lease,
    DeadList,
    Mark,
}

/// What is done to a structure, or to a file as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// One bit of the structure.
    Flip,
    /// The structure filled with zeros.
    Zero,
    /// The file cut in the middle of the structure.
    Truncate,
    Delete,
    /// Exchanged with another file of its kind.
    Swap,
    /// A copy of it under another name of its kind.
    Duplicate,
    Empty,
    /// One more byte at its end.
    Grow,
    /// A folder in its place.
    Folder,
}

const OF_STRUCTURES: [Way; 3] = [Way::Flip, Way::Zero, Way::Truncate];
const OF_FILES: [Way; 6] = [
    Way::Delete,
    Way::Swap,
    Way::Duplicate,
    Way::Empty,
    Way::Grow,
    Way::Folder,
];

/// A file, and what can be exchanged with it; paths are relative to the sandbox.
#[derive(Debug, Clone)]
pub struct Target {
    pub kind: Kind,
    pub file: PathBuf,
    pub other: Option<PathBuf>,
    /// Where a copy would be another file of its kind.
    pub copy: Option<PathBuf>,
    pub structures: Vec<(String, Range<u64>)>,
}

/// One damage.
#[derive(Debug, Clone)]
pub struct Fault {
    pub target: Target,
    pub structure: String,
    pub bytes: Range<u64>,
    pub way: Way,
}

impl Fault {
    /// All that can be done to this store.
    pub fn all(yard: &Yard) -> Vec<Self> {
        let mut faults = Vec::new();
        for target in targets(yard) {
            let whole = ("file".to_owned(), 0..length(&yard.file(&target.file)));
            let mut add = |(structure, bytes): &(String, Range<u64>), way| {
                faults.push(Self {
                    target: target.clone(),
                    structure: structure.clone(),
                    bytes: bytes.clone(),
                    way,
                });
            };
            for structure in &target.structures {
                for way in OF_STRUCTURES {
                    add(structure, way);
                }
            }
            for way in OF_FILES {
                add(&whole, way);
            }
            add(&whole, Way::Zero);
        }
        faults.retain(|fault| match fault.way {
            Way::Swap => fault.target.other.is_some(),
            Way::Duplicate => fault.target.copy.is_some(),
            _ => true,
        });
        faults
    }

    /// For messages.
    pub fn text(&self) -> String {
        let (kind, way) = (self.target.kind, self.way);
        format!(
            "{way:?} of {kind:?} {} ({})",
            self.structure,
            self.target.file.display()
        )
    }

    /// Does the damage; whether it changed anything.
    pub fn inflict(&self, yard: &Yard) -> bool {
        let file = yard.file(&self.target.file);
        let size = length(&file);
        let middle = self.bytes.start.midpoint(self.bytes.end);
        match self.way {
            Way::Flip => flip(&file, middle, 0x10),
            Way::Zero => {
                let mut bytes = fs::read(&file).unwrap();
                let range = index(self.bytes.start)..index(self.bytes.end);
                if bytes[range.clone()].iter().all(|&byte| byte == 0) {
                    return false;
                }
                bytes[range].fill(0);
                fs::write(&file, bytes).unwrap();
            }
            Way::Truncate => cut(&file, middle),
            Way::Delete => fs::remove_file(&file).unwrap(),
            Way::Empty => cut(&file, 0),
            Way::Grow => cut(&file, size + 1),
            Way::Swap => {
                let other = yard.file(self.target.other.as_ref().unwrap());
                let (one, two) = (fs::read(&file).unwrap(), fs::read(&other).unwrap());
                fs::write(file, two).unwrap();
                fs::write(other, one).unwrap();
            }
            Way::Duplicate => {
                let copy = yard.file(self.target.copy.as_ref().unwrap());
                fs::create_dir_all(copy.parent().unwrap()).unwrap();
                fs::copy(file, copy).unwrap();
            }
            Way::Folder => {
                fs::remove_file(&file).unwrap();
                fs::create_dir(&file).unwrap();
            }
        }
        true
    }

    /// Puts back what was there in `whole`, as somebody does who has a copy.
    pub fn undo(&self, whole: &Yard, yard: &Yard) {
        let file = &self.target.file;
        let other = self.target.other.iter().filter(|_| self.way == Way::Swap);
        for path in other.chain([file]) {
            let place = yard.file(path);
            if place.is_dir() {
                fs::remove_dir(&place).unwrap();
            }
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::copy(whole.file(path), place).unwrap();
        }
        if let (Way::Duplicate, Some(copy)) = (self.way, &self.target.copy) {
            let _ = fs::remove_file(yard.file(copy));
        }
    }

    /// The names by which a message can tell of it: the file's, or that of what it is about.
    pub fn names(&self) -> Vec<String> {
        let Target {
            kind,
            file,
            other,
            copy,
            ..
        } = &self.target;
        let touched: Vec<&PathBuf> = match self.way {
            Way::Swap => [file].into_iter().chain(other).collect(),
            Way::Duplicate => copy.iter().collect(),
            _ => vec![file],
        };
        let name = |path: &&PathBuf| {
            let stem = match kind {
                Kind::Lease | Kind::Catalog => path.parent().unwrap().file_name(),
                Kind::Config | Kind::Key | Kind::Index => path.file_name(),
                _ => path.file_stem(),
            };
            stem.unwrap().to_str().unwrap().to_owned()
        };
        touched.iter().map(name).collect()
    }

    /// The names of the bricks whose bytes it changes, in hex.
    pub fn bricks(&self) -> Vec<String> {
        use Kind::{Brick, Garbage, Metadata, PartlyNeeded};
        let is_brick = matches!(self.target.kind, Brick | PartlyNeeded | Garbage | Metadata);
        if is_brick && self.way != Way::Duplicate {
            self.names()
        } else {
            Vec::new()
        }
    }

    /// The frames of the file's brick that are harmed: those numbers, or all.
    pub fn harms_frame(&self, number: usize) -> bool {
        let before_frames = self.structure == "header";
        let frame = self
            .target
            .structures
            .iter()
            .find(|(name, _)| *name == format!("frame {number} body"));
        let Some((_, body)) = frame else { return false };
        match self.way {
            Way::Duplicate | Way::Grow => false,
            Way::Truncate => self.bytes.start.midpoint(self.bytes.end) < body.end,
            Way::Flip | Way::Zero if before_frames => false,
            Way::Flip | Way::Zero => {
                let header = format!("frame {number} header");
                [header, format!("frame {number} body"), "file".into()].contains(&self.structure)
            }
            _ => true,
        }
    }
}

/// An offset in a buffer.
pub fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}
