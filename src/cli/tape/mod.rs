//! `dtar tape`: containers on tapes.

mod args;
mod drive;
mod read;
mod write;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use args::TapeCommand;

use super::args::GlobalArgs;
use super::progress::Progress;
use super::say::Say;
use super::{setup, size};
use dtar::archive::Monitor;
use dtar::error::{Exit, Result};
use dtar::store::Store;
use dtar::store::layout::Layout;
use dtar::tape::Pace;

pub fn run(command: &TapeCommand, global: &GlobalArgs, say: Say) -> Result<Exit> {
    let monitor = Arc::new(Monitor::default());
    setup::stop_on_signals(&monitor, say)?;
    match command {
        TapeCommand::Label {
            name,
            overwrite,
            block,
            drive,
        } => write::label(name, *overwrite, *block, drive, &monitor, say),
        TapeCommand::Write(args) => {
            let _progress = progress(&monitor, say);
            write::write(args, global, &monitor, say)
        }
        TapeCommand::Verify { all, drive } => {
            let _progress = progress(&monitor, say);
            read::verify(*all, drive, &monitor, say)
        }
        TapeCommand::List { drive } => read::list(drive, say),
        TapeCommand::Restore(args) => {
            let _progress = progress(&monitor, say);
            read::restore(args, global, &monitor, say)
        }
        TapeCommand::Recover { to, set, drive } => {
            read::recover(to.as_deref(), *set, drive, global, &monitor, say)
        }
    }
}

/// Tells how far the run has come as JSON lines. A bar would stand in the way of questions
/// and of what is said of each container.
fn progress(monitor: &Arc<Monitor>, say: Say) -> Option<Progress> {
    say.is_json()
        .then(|| Progress::start(say, monitor, "passed"))
}

/// The store, if it is at hand.
fn store(global: &GlobalArgs) -> Result<Option<Layout>> {
    let path = setup::store_path(global)?;
    Ok(Store::stands_in(&path)?.then(|| Layout::new(path)))
}

/// Seconds since 1970, now.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}

/// A speed, as drives are sold by.
fn show_pace(pace: &Pace) -> String {
    format!("{} at {} MB/s", size::show(pace.bytes), megabytes(pace))
}

fn megabytes(pace: &Pace) -> u64 {
    let time = pace.time.max(Duration::from_millis(1)).as_millis();
    u64::try_from(u128::from(pace.bytes) / time / 1000).unwrap_or(u64::MAX)
}

fn count(number: usize, noun: &str) -> String {
    size::count(number as u64, noun)
}
