//! `dtar index`: an index from the store.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use super::args::{GlobalArgs, IndexArgs};
use super::indexes::Indexes;
use super::say::Say;
use super::setup;
use dtar::error::{Error, Exit, Result};
use dtar::restore::{Origin, open_index};
use dtar::snapshot::Selector;

pub fn run(args: &IndexArgs, global: &GlobalArgs, say: Say) -> Result<Exit> {
    if io::stdout().is_terminal() {
        return Err(Error::Usage(
            "an index is not for a terminal: redirect standard output (`dtar index @latest > \
             index.tar`)"
                .into(),
        ));
    }
    if !Selector::is_meant(&args.snapshot) {
        return Err(Error::Usage(format!(
            "{}: expected a snapshot, such as @latest; `dtar snapshots` lists what there is",
            args.snapshot
        )));
    }
    let mut indexes = Indexes::new(global, say, false, &args.bricks);
    let index = indexes.find(Path::new(&args.snapshot))?;
    let (key, store, _) = indexes.store()?;
    // Not a byte goes out before the seal is checked.
    open_index(&index, &Origin::from(store), key)?;
    copy(&index)?;
    Ok(Exit::Done)
}

fn copy(index: &dtar::index::IndexFile) -> Result<()> {
    const PIECE: u64 = 256 << 10;
    let mut region = index.region("index", 0, index.length());
    let mut out = setup::output()?;
    let failed = |error: io::Error| {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Error::OutputClosed { what: "the index" };
        }
        Error::io("write the index to", "standard output")(error)
    };
    while region.rest() > 0 {
        let length = usize::try_from(region.rest().min(PIECE)).unwrap_or(usize::MAX);
        out.write_all(region.take(length)?).map_err(failed)?;
    }
    out.flush().map_err(failed)
}
