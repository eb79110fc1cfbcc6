//! Index files: written as a stream, read by offset (`formats/index.md`).
//!
//! The writer knows neither where new chunks will lie nor how long any part of
//! the trailer will be until the stream has ended; what it learns on the way
//! goes to spools, which move to disk once they are large.
#![expect(
    clippy::cast_possible_truncation,
    reason = "lengths are below limits that were checked, and addresses have 64 bits"
)]

mod hints;
mod reader;
mod region;
mod spool;
mod writer;

pub use hints::{BrickSource, FrameRef, OwnFrame, Series, StoredFrame, Used};
pub use reader::{BrickTable, HintReader, IndexFile, Levels, MapReader, Trailer};
pub use region::Region;
pub use writer::{HeldIndex, IndexWriter, Tap};
