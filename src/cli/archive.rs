//! `dtar`: a stream in, an index out.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rustix::io::Errno;
use serde_json::json;
use tempfile::NamedTempFile;

use super::args::{ArchiveArgs, DedupArg, GlobalArgs, PadArg};
use super::progress::{Progress, speed};
use super::say::Say;
use super::{setup, size};
use dtar::archive::{ArchiveOptions, ArchiveSummary, Context, Monitor, archive};
use dtar::brick::{Effort, Pad};
use dtar::error::{Error, Exit, Result};
use dtar::format::note::NoteKind;
use dtar::store::catalog::Catalog;
use dtar::store::runs::Lease;
use dtar::store::writeback::EagerFile;

pub fn run(args: &ArchiveArgs, global: &GlobalArgs, say: Say) -> Result<Exit> {
    refuse_small_bricks(args)?;
    warn_of_large_bricks(args, say);
    refuse_terminals(args)?;
    let target = args.index.as_deref().map(Target::find).transpose()?;
    let (store, key) = setup::open_or_make(global, say)?;
    let keys = store.put_keys(&key)?;
    setup::warn_if_set_back(global, say, &store)?;
    setup::clean_up(say, &store, &keys)?;
    let lease = Lease::take(&store, &keys, NoteKind::ArchiverLease, &args.label)?;
    let mut catalog = setup::catalog(global, say, &store, &keys)?;
    let left_out = match args.dedup_against {
        DedupArg::All => None,
        DedupArg::Own => Some(catalog.trust_own()?),
    };
    let options = ArchiveOptions {
        effort: Effort {
            level: args.level,
            long: args.long,
        },
        brick_size: args.brick_size,
        pad: match args.pad {
            PadArg::None => Pad::None,
            PadArg::FourK => Pad::Blocks,
            PadArg::Padme => Pad::Padme,
        },
        label: args.label.clone(),
        snapshot: !args.no_snapshot,
        threads: 0,
    };
    let last = setup::last_run(global, &store);
    let context = Arc::new(Context { store, keys, lease });
    let unentered = catalog.unentered();
    let start = Instant::now();
    let summary = match target {
        None => to_stdout(context, catalog, &options, say)?,
        Some(target) => target.write(context, catalog, &options, say)?,
    };
    // What it says may have been said before the run.
    if let Some(now) = &summary.unentered
        && summary.unentered != unentered
    {
        setup::warn_unentered(global, say, now)?;
    }
    if let (Some(last), Some(run)) = (last, &summary.run) {
        // All is stored and the index is whole: no reason to fail.
        if let Err(error) = last.remember(run) {
            say.warn(&error.to_string());
        }
    }
    tell(&summary, left_out, start.elapsed(), say);
    Ok(Exit::Done)
}

/// A frame of `--long` and what is around it must fit a brick.
const LONG_BRICK: u64 = 18 << 20;

/// The longest member of a container.
const PACKED_BRICK: u64 = (8 << 30) - 1;

fn warn_of_large_bricks(args: &ArchiveArgs, say: Say) {
    if args.brick_size > PACKED_BRICK {
        say.warn(
            "bricks of 8 GiB and more do not fit into containers: `dtar pack` leaves them out",
        );
    }
}

fn refuse_small_bricks(args: &ArchiveArgs) -> Result<()> {
    if args.long && args.brick_size < LONG_BRICK {
        return Err(Error::Usage(
            "with --long, frames are too large for such bricks: give at least --brick-size 18M"
                .into(),
        ));
    }
    Ok(())
}

fn refuse_terminals(args: &ArchiveArgs) -> Result<()> {
    if io::stdin().is_terminal() {
        return Err(Error::Usage(
            "no tar stream on standard input: try `tar c . | dtar > index.tar`; \
             `dtar --help` says more"
                .into(),
        ));
    }
    if args.index.is_none() && io::stdout().is_terminal() {
        return Err(Error::Usage(
            "an index is not for a terminal: redirect standard output (`> index.tar`) or give --index FILE"
                .into(),
        ));
    }
    Ok(())
}

fn to_stdout(
    context: Arc<Context>,
    catalog: Catalog,
    options: &ArchiveOptions,
    say: Say,
) -> Result<ArchiveSummary> {
    let name = Path::new("standard output");
    to_open(setup::output()?, name, context, catalog, options, say)
}

/// Writes to what is open already.
fn to_open(
    output: File,
    name: &Path,
    context: Arc<Context>,
    catalog: Catalog,
    options: &ArchiveOptions,
    say: Say,
) -> Result<ArchiveSummary> {
    let input = setup::input();
    let (output, summary) = with_monitor(say, |monitor| {
        let output = EagerFile::new(output);
        archive(input, output, name, context, catalog, options, monitor)
    })?;
    let is_special = output.file().metadata().is_ok_and(|found| !found.is_file());
    match rustix::io::retry_on_intr(|| rustix::fs::fsync(output.file())) {
        // A pipe or a device cannot be synced; there is nothing to wait for.
        Ok(()) | Err(Errno::INVAL | Errno::NOTSUP | Errno::NOSYS) => Ok(summary),
        Err(Errno::ROFS) if is_special => Ok(summary),
        // A file keeps what it was told only if the disk has it.
        Err(error) => Err(Error::io("write the index to", name)(error.into())),
    }
}

/// Where `--index` leads. Found before the stream is read: nobody wants to
/// hear after hours that an index cannot be written.
enum Target {
    /// A file beside the one of this name, which it takes the place of once the index is whole.
    File(PathBuf, NamedTempFile),
    /// A pipe or a device, written as it is.
    Special(PathBuf, File),
}

impl Target {
    fn find(path: &Path) -> Result<Self> {
        let kind = match path.metadata() {
            Ok(found) => Some(found.file_type()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io("look at", path)(error)),
        };
        match kind {
            Some(kind) if kind.is_dir() => Err(Error::Usage(format!(
                "--index {}: is a folder; name a file in it",
                path.display()
            ))),
            Some(kind) if !kind.is_file() => {
                let file = OpenOptions::new().write(true).open(path);
                let file = file.map_err(Error::io("open", path))?;
                Ok(Self::Special(path.to_owned(), file))
            }
            // A link goes on to lead where it led.
            Some(_) => Self::beside(&path.canonicalize().map_err(Error::io("look at", path))?),
            None => Self::beside(path),
        }
    }

    fn beside(path: &Path) -> Result<Self> {
        let dir = folder_of(path);
        let temp = tempfile::Builder::new()
            .prefix(".dtar-index-")
            .permissions(default_permissions())
            .tempfile_in(dir)
            .map_err(Error::io("make a file in", dir))?;
        Ok(Self::File(path.to_owned(), temp))
    }

    fn write(
        self,
        context: Arc<Context>,
        catalog: Catalog,
        options: &ArchiveOptions,
        say: Say,
    ) -> Result<ArchiveSummary> {
        match self {
            Self::Special(path, file) => to_open(file, &path, context, catalog, options, say),
            Self::File(path, temp) => {
                let file = temp.reopen().map_err(Error::io("write", &path))?;
                let summary = to_open(file, &path, context, catalog, options, say)?;
                temp.persist(&path)
                    .map_err(|error| Error::io("write", &path)(error.error))?;
                let dir = folder_of(&path);
                File::open(dir)
                    .and_then(|dir| dir.sync_all())
                    .map_err(Error::io("write", dir))?;
                Ok(summary)
            }
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    }
}

/// What any program would give a file that it makes: the umask decides.
fn default_permissions() -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    std::fs::Permissions::from_mode(0o666)
}

/// Runs with progress, and stops on a signal.
fn with_monitor<T>(say: Say, run: impl FnOnce(&Arc<Monitor>) -> Result<T>) -> Result<T> {
    let monitor = Arc::new(Monitor::default());
    setup::stop_on_signals(&monitor, say)?;
    let _progress = Progress::start(say, &monitor, "read");
    run(&monitor)
}

/// `left_out`: bricks of others that were not relied upon, if none were to be.
fn tell(summary: &ArchiveSummary, left_out: Option<u64>, time: std::time::Duration, say: Say) {
    if let Some(offset) = summary.first_opaque {
        say.warn(&format!(
            "{} from byte {offset} on {} not tar; kept as opaque bytes, restored exactly",
            size::show(summary.opaque),
            if summary.opaque == summary.stream {
                "are"
            } else {
                "(in all) are"
            },
        ));
    }
    if summary.truncated {
        say.warn("the stream ends within a member; kept as it is, restored exactly");
    } else if summary.stream == 0 {
        say.warn("the stream is empty: has the program failed that should write it?");
    } else if !summary.ended && summary.first_opaque.is_none() {
        say.warn(
            "the stream has no end-of-archive blocks, as if the program that wrote it had been \
             cut off; kept as it is, restored exactly",
        );
    }
    let speed = speed(summary.stream, time);
    let text = format!(
        "read {}, new {}, stored {}, deduplicated {}, {} brick{}, {}/s",
        size::show(summary.stream),
        size::show(summary.new),
        size::show(summary.stored),
        size::show(summary.deduplicated + summary.zeros),
        summary.bricks,
        if summary.bricks == 1 { "" } else { "s" },
        size::show(speed),
    );
    let text = match left_out {
        None | Some(0) => text,
        Some(1) => format!("{text}; 1 brick of others was not relied upon"),
        Some(bricks) => format!("{text}; {bricks} bricks of others were not relied upon"),
    };
    say.summary(
        &text,
        &json!({
            "type": "summary",
            "read": summary.stream,
            "new": summary.new,
            "stored": summary.stored,
            "deduplicated": summary.deduplicated,
            "zeros": summary.zeros,
            "bricks": summary.bricks,
            "members": summary.members,
            "chunks": summary.chunks,
            "index": summary.index,
            "snapshot": summary.snapshot,
            "run": summary.run.as_ref().map(ToString::to_string),
            "opaque": summary.opaque,
            "truncated": summary.truncated,
            "ended": summary.ended,
            "dedup_against": if left_out.is_some() { "own" } else { "all" },
            "left_out": left_out.unwrap_or(0),
            "seconds": time.as_secs_f64(),
            "bytes_per_second": speed,
        }),
    );
}
