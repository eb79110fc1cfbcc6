//! The command line: one definition for parsing, help, completions and man page.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueHint};

/// Deduplicating, encrypting tar filter for cold storage.
///
/// Without a command, dtar reads a tar stream on standard input, puts what is
/// new into the store, and writes a small index to standard output:
///
///     tar c . | dtar > index.tar
///     dtar restore index.tar | tar x
#[derive(Debug, Parser)]
#[command(
    name = "dtar",
    version,
    disable_help_subcommand = true,
    verbatim_doc_comment,
    after_help = "Exit codes: 0 done, 1 failed, 2 usage, 3 data damaged or missing, 130 interrupted."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub archive: ArchiveArgs,
    #[command(flatten)]
    pub global: GlobalArgs,
}

/// Options of every command.
#[derive(Debug, Args)]
pub struct GlobalArgs {
    /// Folder of bricks [default: dtar/store in the user's data folder]
    #[arg(long, value_name = "DIR", env = "DTAR_STORE", global = true, value_hint = ValueHint::DirPath)]
    pub store: Option<PathBuf>,
    /// Key file [default: dtar/key in the user's config folder]
    #[arg(long, value_name = "FILE", env = "DTAR_KEY", global = true, value_hint = ValueHint::FilePath)]
    pub key: Option<PathBuf>,
    /// Folder for the catalog, a cache [default: dtar in the user's cache folder]
    #[arg(long, value_name = "DIR", env = "DTAR_CATALOG", global = true, value_hint = ValueHint::DirPath)]
    pub catalog: Option<PathBuf>,
    /// Say nothing but errors and, with --json, the summary
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Summary and progress as JSON lines on standard error
    ///
    /// One object a line; its "type" is "progress" (once a second), "note",
    /// "warning", "error", "damage" or, at the end, "summary". Sizes are in bytes.
    /// The README lists the other fields. With `ls`, `store` and `key show`: the
    /// output itself as JSON.
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ArchiveArgs {
    /// Write the index to FILE instead of standard output
    ///
    /// FILE appears, or is replaced, once the index is whole; a run that fails
    /// leaves it as it was.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub index: Option<PathBuf>,
    /// Compression level, 1 (fast) to 22 (small)
    #[arg(long, default_value_t = dtar::brick::DEFAULT_LEVEL, value_parser = clap::value_parser!(i32).range(1..=22))]
    pub level: i32,
    /// Compress 16 MiB together instead of 6, and look for matches far apart
    ///
    /// Smaller and slower. Takes some 200 MiB of memory, here and on restore; and a
    /// damaged byte costs up to 16 MiB.
    #[arg(long)]
    pub long: bool,
    /// Close bricks before they grow beyond SIZE, such as 64M or 1G
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = super::size::parse_brick_size)]
    pub brick_size: u64,
    /// Round the length of frames up, so that it tells less
    #[arg(long, value_enum, default_value_t = PadArg::None)]
    pub pad: PadArg,
    /// A text to remember this run by
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub label: String,
    /// Put no copy of the index into the store
    ///
    /// Only whoever keeps the index can then restore this run.
    #[arg(long)]
    pub no_snapshot: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PadArg {
    /// Not at all
    None,
    /// To the next 4,096 bytes
    #[value(name = "4k")]
    FourK,
    /// By the PADMÉ rule: at most 12 % more, lengths in few classes
    Padme,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Turn an index back into its tar stream, on standard output
    Restore(RestoreArgs),
    /// List an index, like `tar tv`
    ///
    /// With --json one object a line: `name`, `type` (the letter before the mode),
    /// `mode` (octal), `uid`, `gid`, `user`, `group`, `size`, `mtime` (seconds since
    /// 1970), `mtime_ns`, of a link `link`, of a device `device` (major, minor). JSON
    /// holds no bytes that are not UTF-8: in names they are replaced, and a field such
    /// as `name_hex` holds the true bytes in hex.
    Ls(LsArgs),
    /// List the snapshots: runs whose indexes the store holds
    ///
    /// Newest first: when the run ended, the length of its stream, what it added to
    /// the store, the length of its index, host and label. With --json one object a
    /// line: `name`, `time`, `time_ns` (since 1970), `stream`, `index`, `stored` and
    /// `snapshot` (bytes of new data and metadata bricks), `host`, `label`.
    Snapshots(SnapshotsArgs),
    /// Write the index of a snapshot to standard output
    ///
    /// Byte for byte what the run wrote there.
    Index(IndexArgs),
    /// Make a store, and a key if there is none
    Init(InitArgs),
    /// Make and show keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Say what is in the store
    Store,
    /// Print a completion script for a shell
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
    /// Print the man page, in roff
    Man,
}

#[derive(Debug, Args)]
pub struct SnapshotsArgs {
    /// Only from TIME on: 2026-01-01, "2026-01-01 12:00", yesterday, "3 days ago"
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only up to TIME; of a day up to its end
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Oldest first
    #[arg(long)]
    pub oldest_first: bool,
}

#[derive(Debug, Args)]
pub struct IndexArgs {
    /// Which: @latest, @2 (the one before it), '@2026-11-20 12:00' (the last at or
    /// before), @label:TEXT, @host:NAME, or @ and the start of a name
    pub snapshot: String,
    /// Look for metadata bricks in DIR too, a copy of the store (repeatable)
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub bricks: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The index, plain or compressed with zstd; `-` for standard input
    ///
    /// Or a snapshot in the store, as `dtar index` takes them: @latest, @2,
    /// '@2026-11-20 12:00', @label:TEXT, @host:NAME.
    #[arg(value_hint = ValueHint::FilePath)]
    pub index: PathBuf,
    /// Only members with such names, as a valid tar
    ///
    /// A folder stands for all that is in it. `*` and `?` match within a
    /// name, `**` across folders; a leading `./` does not matter.
    #[arg(value_name = "PATTERN")]
    pub patterns: Vec<String>,
    /// Look for bricks in DIR too: a tape, thawed objects (repeatable)
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub bricks: Vec<PathBuf>,
    /// Put zeros where data is missing or damaged, report each place, and go on
    #[arg(long)]
    pub keep_going: bool,
    /// Restore what an index without its trailer still gives
    #[arg(long)]
    pub incomplete: bool,
    /// With the key of a further recipient (escrow): take an index that it cannot check
    ///
    /// Only the store's own key can tell whether an index was altered. With another
    /// key to which the store seals, names, modes, order and which chunks make up a
    /// file are whatever the index says, and whoever can alter it and put bricks
    /// where dtar looks for them decides what comes out.
    #[arg(long)]
    pub unauthenticated: bool,
}

#[derive(Debug, Args)]
pub struct LsArgs {
    /// The index, plain or compressed with zstd; `-` for standard input
    ///
    /// Or a snapshot in the store, such as @latest.
    #[arg(value_hint = ValueHint::FilePath)]
    pub index: PathBuf,
    /// Only members with such names, as with `restore`
    #[arg(value_name = "PATTERN")]
    pub patterns: Vec<String>,
    /// List the index though the key in use is not its store's own, and cannot check it
    #[arg(long)]
    pub unauthenticated: bool,
}

#[derive(Debug, Args)]
pub struct InitArgs {
    /// Seal everything to this public key too, for example one in escrow (repeatable)
    ///
    /// A public key as `dtar key show` prints it, or a file that holds one.
    #[arg(long, value_name = "KEY")]
    pub recipient: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a new secret key
    New {
        /// Where to write it [default: where --key says]
        #[arg(value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
        /// Protect it with a passphrase
        #[arg(long)]
        passphrase: bool,
    },
    /// Make a put key: it archives into one store, but cannot read
    ///
    /// The store is the one that --store names, or else the default. It must be
    /// there, since a put key serves this store alone, and seals to the recipients
    /// that the store has now. A machine with a put key deduplicates against all
    /// that is in the store, and can restore none of it.
    Put {
        /// Where to write it
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Set, change or remove the passphrase of the key
    ///
    /// Without a terminal, `DTAR_PASSPHRASE` gives the passphrase, for every
    /// command, and `DTAR_NEW_PASSPHRASE` the new one.
    Passphrase {
        /// Remove it
        #[arg(long)]
        remove: bool,
    },
    /// Show what a key is, and its public key
    Show {
        /// Print the secret itself, to be written down
        #[arg(long)]
        secret: bool,
    },
}
