//! The options of `dtar tape`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use dtar::format::tape::{SetPrefix, TapeName, is_block};

use crate::cli::size;

/// Bytes that the generations of LTO tapes hold.
const LTO: [(&str, u64); 5] = [
    ("LTO-5", 1_500_000_000_000),
    ("LTO-6", 2_500_000_000_000),
    ("LTO-7", 6_000_000_000_000),
    ("LTO-8", 12_000_000_000_000),
    ("LTO-9", 18_000_000_000_000),
];

fn parse_capacity(text: &str) -> Result<u64, String> {
    let kinds = LTO.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    kinds.map_or_else(
        || size::parse(text).map_err(|error| format!("{error}, or LTO-5 to LTO-9")),
        |(_, size)| Ok(*size),
    )
}

fn parse_block(text: &str) -> Result<u32, String> {
    let block = u32::try_from(size::parse(text)?).unwrap_or(u32::MAX);
    if block > 0 && is_block(block) {
        return Ok(block);
    }
    Err(format!("expected a multiple of 512 up to 8M, found {text}"))
}

fn parse_set(text: &str) -> Result<SetPrefix, String> {
    let start = text.get(..8).unwrap_or(text);
    start
        .parse()
        .map_err(|()| format!("expected the first 8 hex digits of a set's id, found {text:?}"))
}

#[derive(Debug, Subcommand)]
pub enum TapeCommand {
    /// Give the tape in the drive a name, and make it empty
    ///
    /// Write the same name on its sticker. A tape that holds something is refused, unless
    /// --overwrite is given.
    Label {
        /// 1 to 32 characters out of A-Z a-z 0-9 . _ -
        name: TapeName,
        /// Even if something is on the tape: it is lost then
        #[arg(long)]
        overwrite: bool,
        /// Length of the blocks, without a file system
        #[arg(long, value_name = "SIZE", default_value = "1M", value_parser = parse_block)]
        block: u32,
        #[command(flatten)]
        drive: DriveArgs,
    },
    /// Put containers on tapes, as many as it takes, and read them back
    ///
    /// Containers that are on a tape already are left out; the folder remembers it, and the
    /// store if it is at hand. A run that was interrupted, or
    /// had no more tapes, is gone on with by the next one. Blank tapes are labelled. Each
    /// tape ends with a catalog of the whole set, with SHA-256 checksums. With --json a line
    /// for each "tape" (with --dry-run `containers`, `bytes`, `free`), "container",
    /// "written" (`megabytes_per_second`, `underruns`), "adopted" (found whole) and "done".
    Write(WriteArgs),
    /// Read a tape from front to back, and say what is damaged
    ///
    /// Containers are compared with their SHA-256 in the newest catalog on the tape, bricks
    /// with their names. Exits with 3 if something is damaged. With --json a line for each
    /// "damage": `tape`, `file` (its number on the tape), `what`, `reason`.
    Verify {
        /// Go on with all other tapes that its catalog names
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        drive: DriveArgs,
    },
    /// Say what is on the tape in the drive
    ///
    /// With --json one object a line: "tape" with `id`, `name`, `set`, `store`; "file" with
    /// `number`, `kind`, and of a container `container`, `length`, `sha256`, `members`.
    List {
        #[command(flatten)]
        drive: DriveArgs,
    },
    /// Get containers, or single bricks, from tapes into a folder
    ///
    /// Each tape is loaded once, and read forward. What is there already stays, so a run
    /// that was interrupted can be run again. Then: dtar restore --bricks DIR. Exits with 3
    /// if something that is wanted is on no tape, or damaged on all.
    Restore(RestoreArgs),
    /// Make the catalog of a set from its tapes alone
    ///
    /// Takes tapes in any order, until there are no more. Exits with 3 if containers are on
    /// none of them.
    Recover {
        /// Write the catalog to FILE [default: enter it in the store]
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        to: Option<PathBuf>,
        /// The first 8 digits of the set's id [default: the set of the first tape]
        #[arg(long, value_name = "SET", value_parser = parse_set)]
        set: Option<SetPrefix>,
        #[command(flatten)]
        drive: DriveArgs,
    },
}

/// Which drive, and how tapes are changed.
#[derive(Debug, Args)]
pub struct DriveArgs {
    /// ltfs:DIR, raw:DEVICE, folder:DIR or sim:DIR
    ///
    /// `ltfs:` is a folder where a tape is mounted; `raw:` a device such as /dev/nst0, for
    /// tapes without a file system; `folder:` a folder that stands for a tape, such as a
    /// disk's; `sim:` a library of simulated tapes.
    #[arg(long, value_name = "DRIVE", env = "DTAR_TAPE_DRIVE")]
    pub drive: String,
    /// With ltfs: the device; the tape is mounted and unmounted then
    #[arg(long, value_name = "DEVICE", value_hint = ValueHint::FilePath)]
    pub device: Option<PathBuf>,
    /// Run this to mount a tape, with `DTAR_TAPE_DEVICE` and `DTAR_TAPE_DIR` set
    /// [default: ltfs -o devname=DEVICE DIR]
    #[arg(long, value_name = "COMMAND", requires = "device")]
    pub mount_command: Option<String>,
    /// Run this to unmount it [default: umount DIR]
    #[arg(long, value_name = "COMMAND", requires = "device")]
    pub unmount_command: Option<String>,
    /// Run this to hand it out [default: mt -f DEVICE rewoffl]
    #[arg(long, value_name = "COMMAND", requires = "device")]
    pub eject_command: Option<String>,
    /// Run this to change the tape, instead of asking on the terminal
    ///
    /// It finds in its environment `DTAR_TAPE_WANTED`, a text; `DTAR_TAPE_NAME`, the name of
    /// the tape if a certain one is wanted; `DTAR_TAPE_ATTEMPT`, from 1 to 5; and
    /// `DTAR_TAPE_DRIVE`. It ends with 0 when the tape is in the drive, with 1 if there is
    /// none.
    #[arg(long, value_name = "COMMAND", env = "DTAR_TAPE_CHANGE")]
    pub change_command: Option<String>,
    /// Bytes that a tape holds: a size, or LTO-5 to LTO-9 [default: as the drive says]
    #[arg(long, value_name = "SIZE", value_parser = parse_capacity)]
    pub capacity: Option<u64>,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct WriteArgs {
    /// The folder with the containers, as `dtar pack` makes them
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub from: PathBuf,
    /// The first 8 digits of the set's id, if there are several in DIR
    #[arg(long, value_name = "SET", value_parser = parse_set)]
    pub set: Option<SetPrefix>,
    /// Say what would go on which tape, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Names for blank tapes, in the order in which they come
    /// [default: made up of set and random digits]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub names: Vec<TapeName>,
    /// Write also to tapes that hold something else: it is lost then
    #[arg(long)]
    pub overwrite: bool,
    /// Do not read back what was written
    #[arg(long)]
    pub no_verify: bool,
    /// Delete containers from DIR once they have been read back from a tape
    #[arg(long, conflicts_with_all = ["no_verify", "dry_run"])]
    pub delete: bool,
    /// Leave the last tape in the drive
    #[arg(long)]
    pub keep_loaded: bool,
    /// Bytes to keep free on each tape, besides the catalog's [default: 64M, with ltfs and
    /// folder 16M]
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub reserve: Option<u64>,
    /// Memory between disk and tape
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = size::parse)]
    pub buffer: u64,
    /// Length of the blocks of tapes that are labelled, without a file system
    #[arg(long, value_name = "SIZE", default_value = "1M", value_parser = parse_block)]
    pub block: u32,
    #[command(flatten)]
    pub drive: DriveArgs,
}

#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Into this folder
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub to: PathBuf,
    /// The catalog of the set [default: that of the store, or else the newest on the tape in
    /// the drive]
    #[arg(long = "from-catalog", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub from_catalog: Option<PathBuf>,
    /// Only these containers, by number
    #[arg(long, value_name = "NUMBER", value_delimiter = ',', group = "what")]
    pub containers: Vec<u32>,
    /// Only the bricks that FILE lists, one a line (- for standard input), as bricks
    #[arg(long, value_name = "FILE", group = "what", value_hint = ValueHint::FilePath)]
    pub only: Option<PathBuf>,
    /// Only what is small, as files of a store: all but bricks of file content and parity
    #[arg(long, group = "what")]
    pub hot: bool,
    /// All, as files of a store instead of containers
    #[arg(long, group = "what")]
    pub unpack: bool,
    #[command(flatten)]
    pub drive: DriveArgs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacities_are_sizes_or_kinds_of_tape() {
        assert_eq!(parse_capacity("lto-8"), Ok(12_000_000_000_000));
        assert_eq!(parse_capacity("2M"), Ok(2 << 20));
        assert!(parse_capacity("LTO-1").unwrap_err().contains("LTO-5"));
    }

    #[test]
    fn blocks_are_those_that_a_label_may_name() {
        assert_eq!(parse_block("1M"), Ok(1 << 20));
        assert_eq!(parse_block("8M"), Ok(8 << 20));
        for wrong in ["0", "1000", "16M", "99T"] {
            assert!(parse_block(wrong).is_err(), "{wrong}");
        }
    }
}
