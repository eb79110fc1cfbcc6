//! Salvaging: whatever bytes are left in, sound bricks out.
//!
//! ```text
//! input (files, devices) -> scan (magics, checks) -> judge (key) -> whole brick, or frames gathered in new ones
//! ```
//!
//! A frame is self-contained, so its own bytes and the key are all that it takes
//! (`formats/frame.md`). A brick that is whole is kept byte for byte under its name, and
//! old indexes find what is in it. Frames of other bricks are put, byte for byte too,
//! into new bricks with a TOC of their own; what lies in them is found by chunk id.

mod chunks;
mod device;
mod event;
mod file;
mod frame;
mod input;
mod keyring;
mod output;
mod report;
mod run;
mod scan;
mod table;
#[cfg(test)]
mod tests;
mod whole;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

pub use chunks::Chunks;
pub use event::{Count, Event, SalvageSummary};
pub use report::{IndexReport, MemberReport, State, compare};
pub use scan::{Found, MAX_LENGTH, Scanner, Structure};

use crate::archive::Monitor;
use crate::crypto::Key;
use crate::error::{Error, Exit, Result};
use crate::id::{Class, StoreId};
use crate::store::Store;
use crate::store::layout::Layout;
use chunks::ChunkWriter;
use input::Files;
use keyring::Keyring;
use output::Output;
use run::{Role, Run};

/// How to salvage.
#[derive(Debug, Clone)]
pub struct SalvageOptions {
    /// Files, folders, devices, or `-` for standard input.
    pub inputs: Vec<PathBuf>,
    /// The folder for what is found. What an earlier run has put there counts as found.
    pub to: Option<PathBuf>,
    /// Write nothing. Otherwise `to` must be given.
    pub dry_run: bool,
    /// Keep frames of this store only; without it, of the first that is found.
    pub store: Option<StoreId>,
    /// Bytes that are passed where a read fails; on a tape, the length of its blocks at least.
    pub block_size: Option<usize>,
    /// Close bricks before they grow beyond this.
    pub brick_size: u64,
    /// Remember which chunks were found, to compare indexes with.
    pub remember_chunks: bool,
}

/// What a run has found.
pub struct Salvaged {
    /// In figures.
    pub summary: SalvageSummary,
    /// The chunks, if they were to be remembered.
    pub chunks: Option<Chunks>,
}

/// Goes through all inputs and keeps what is sound. Without a key, frames are taken by
/// their headers alone, and become bricks only in a later run with the key.
///
/// `on_event` hears at once of what cannot be read or kept.
///
/// # Errors
/// [`Error::Usage`] and [`Error::Refused`] for folders that cannot be; [`Error::Io`] if
/// the output cannot be written; [`Error::Interrupted`]. An input that cannot be read is
/// no error: the summary counts it.
pub fn salvage(
    options: &SalvageOptions,
    key: Option<&Key>,
    monitor: &Monitor,
    on_event: &mut dyn FnMut(&Event<'_>),
) -> Result<Salvaged> {
    let to = options.to.as_deref();
    if to.is_none() && !options.dry_run {
        return Err(Error::Usage("name a folder with --to DIR".into()));
    }
    if let Some(to) = to {
        require_fit(to, &options.inputs)?;
    }
    let keyring = Keyring::new(key, options.store)?;
    let opens = keyring.opens();
    let place = to.map(Layout::new);
    let layout = place.clone().filter(|_| !options.dry_run);
    let output = Output::new(layout, options.brick_size)?;
    let temp_dir = output.temp_dir().unwrap_or_else(std::env::temp_dir);
    let chunks = options
        .remember_chunks
        .then(|| ChunkWriter::new(&temp_dir))
        .transpose()?;
    let mut run = Run::new(keyring, output, chunks, monitor, on_event);
    let mut scanner = Scanner::new(options.block_size.unwrap_or(0).max(input::READ));
    if let Some(to) = &place {
        run.to = Some(to);
        survey(&mut run, to, opens, &mut scanner)?;
    }
    monitor.stream.store(0, Ordering::Relaxed);
    run.block_size = options.block_size;
    run.one_input = matches!(&options.inputs[..], [input] if !input.is_dir());
    all(&mut run, &options.inputs, Role::Input, &mut scanner)?;
    run.finish()?;
    let chunks = run.chunks.map(ChunkWriter::finish).transpose()?;
    run.output.leave();
    Ok(Salvaged {
        chunks,
        summary: run.summary,
    })
}

/// Learns what an earlier run has put into the folder. Frames that waited for a key are
/// an input once there is one.
fn survey(run: &mut Run<'_>, layout: &Layout, opens: bool, scanner: &mut Scanner) -> Result<()> {
    let loose = if opens { Role::Input } else { Role::Loose };
    for (dir, role) in [
        (layout.bricks_dir(Class::Data), Role::Brick),
        (layout.bricks_dir(Class::Metadata), Role::Brick),
        (output::loose_dir(layout), loose),
    ] {
        if dir.is_dir() {
            all(run, &[dir], role, scanner)?;
        }
    }
    Ok(())
}

fn all(run: &mut Run<'_>, inputs: &[PathBuf], role: Role, scanner: &mut Scanner) -> Result<()> {
    let mut files = Files::new(inputs);
    loop {
        match files.next() {
            Ok(Some(path)) => run.file(&path, role, scanner)?,
            Ok(None) => return Ok(()),
            Err(error) => run.unreadable(&error.to_string()),
        }
    }
}

/// Refuses a folder that is a store in use, or that is read from.
fn require_fit(to: &Path, inputs: &[PathBuf]) -> Result<()> {
    let refuse = |message: String| Error::Refused {
        path: to.to_owned(),
        message,
        exit: Exit::Usage,
    };
    if Store::stands_in(to)? {
        return Err(refuse(
            "is a store; name a folder of its own for what is salvaged".into(),
        ));
    }
    if to.exists() && !to.is_dir() {
        return Err(refuse("is no folder".into()));
    }
    let target = resolved(to)?;
    for input in inputs.iter().filter(|input| *input != Path::new("-")) {
        let source = input.canonicalize().map_err(Error::io("look at", input))?;
        if device::holds(&source, &target)? {
            return Err(refuse(format!(
                "lies on {}, which is what is read: writing there destroys what is to be \
                 salvaged; name a folder on another disk with --to",
                input.display()
            )));
        }
        if source.starts_with(&target) || target.starts_with(&source) {
            return Err(refuse(format!(
                "what is read must not stand in it, nor it in what is read ({}); name another \
                 folder with --to",
                input.display()
            )));
        }
    }
    Ok(())
}

/// The true path of a folder that may not be there yet.
fn resolved(dir: &Path) -> Result<PathBuf> {
    match dir.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        result => return result.map_err(Error::io("look at", dir)),
    }
    let above = match dir.parent() {
        Some(above) if above != Path::new("") => resolved(above)?,
        _ => Path::new(".")
            .canonicalize()
            .map_err(Error::io("look at", "."))?,
    };
    Ok(above.join(dir.file_name().unwrap_or_default()))
}
