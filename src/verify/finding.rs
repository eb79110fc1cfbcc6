//! What a check finds.

use std::path::PathBuf;

use crate::format::wire::DecodeError;
use crate::id::BrickName;
use crate::restore::Hit;
use crate::store::layout::RunName;

/// What a fault is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `store.toml`.
    Config,
    /// A brick as a whole: its bytes are not those that its name says.
    Brick,
    /// A brick's header, or the folder in which it stands.
    Header,
    /// A frame.
    Frame,
    /// The table of contents in a brick.
    Toc,
    /// A brick's footer.
    Footer,
    /// A sidecar.
    Sidecar,
    /// A root.
    Root,
    /// A snapshot file, or the index that it stands for.
    Snapshot,
    /// An index.
    Index,
}

impl Kind {
    /// One word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Brick => "brick",
            Self::Header => "header",
            Self::Frame => "frame",
            Self::Toc => "toc",
            Self::Footer => "footer",
            Self::Sidecar => "sidecar",
            Self::Root => "root",
            Self::Snapshot => "snapshot",
            Self::Index => "index",
        }
    }

    /// What to do about such a fault.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Config => "bring back a copy of store.toml",
            Self::Brick | Self::Header | Self::Frame | Self::Toc | Self::Footer => {
                "bring back another copy of the brick, or name its folder with --bricks on restore; \
                 the next archive run stores again what it still meets of a marked brick"
            }
            Self::Sidecar => "`dtar rebuild` makes sidecars from their bricks",
            Self::Root | Self::Snapshot => "bring back another copy of the file",
            Self::Index => "take another copy of the index",
        }
    }
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What it is in.
    pub kind: Kind,
    /// The file; of something missing, where it should be.
    pub path: PathBuf,
    /// Where in the file, in bytes.
    pub offset: Option<u64>,
    /// The brick that it is about.
    pub brick: Option<BrickName>,
    /// Number of the frame.
    pub frame: Option<u32>,
    /// What is wrong.
    pub message: String,
}

impl Fault {
    /// A fault in a file as a whole.
    pub fn new(kind: Kind, path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self {
            kind,
            path: path.into(),
            offset: None,
            brick: None,
            frame: None,
            message: message.into(),
        }
    }

    /// What a decoder found in a structure that begins `base` bytes into the file.
    pub fn decoding(kind: Kind, path: impl Into<PathBuf>, base: u64, error: DecodeError) -> Self {
        let error = error.moved_by(base);
        Self::new(kind, path, error.to_string()).at(error.offset)
    }

    /// The same, at this offset.
    #[must_use]
    pub const fn at(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }

    /// The same, about this brick.
    #[must_use]
    pub const fn of(mut self, brick: BrickName) -> Self {
        self.brick = Some(brick);
        self
    }

    /// The same, about this frame.
    #[must_use]
    pub const fn in_frame(mut self, frame: u32) -> Self {
        self.frame = Some(frame);
        self
    }
}

/// A run whose stream a fault hits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunHit {
    /// What its root is named.
    pub run: RunName,
    /// Its host.
    pub host: Vec<u8>,
    /// Its label.
    pub label: Vec<u8>,
    /// How many of its bricks are damaged or missing.
    pub bricks: u64,
}

/// What is worth saying.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Something is wrong.
    Fault(Fault),
    /// A brick is not here, but its sidecar is: no fault.
    Away(BrickName),
    /// A file that belongs to nothing: no fault.
    Stray(PathBuf),
    /// A run whose stream a fault hits.
    Run(RunHit),
    /// A part of a member that cannot be restored, and of which run.
    Member(Option<RunName>, Hit),
    /// Something that hindered the check, and is no fault of the store.
    Warning(String),
}
