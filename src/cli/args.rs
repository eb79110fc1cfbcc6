//! The command line: one definition for parsing, help, completions and man page.

use std::path::PathBuf;

use super::cold_args::{PackArgs, PlanArgs, UnpackArgs};
use clap::{Args, Parser, Subcommand, ValueHint};
use dtar::verify::Percent;

#[cfg(feature = "s3")]
use super::remote_args::{PullArgs, PushArgs, RemoteArgs, SyncArgs, ThawArgs};

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
    after_help = "Exit codes: 0 done, 1 failed, 2 usage, 3 data damaged or missing, \
                  4 differences (diff --exit-code), 130 interrupted."
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
#[derive(Debug, Clone, Args)]
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
    /// The README lists the other fields. With `ls`, `diff`, `find`, `snapshots`,
    /// `store` and `key show`: the output itself as JSON.
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
    ///
    /// Those of 8G and more do not fit into containers.
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
    /// Whose bricks to rely on instead of storing a chunk again
    ///
    /// Whoever has a put key of this store can claim that a brick of his holds a chunk
    /// which it does not hold. `own` relies on no such claim: only on what was written
    /// with this catalog folder, which is remembered in a file there. If that file is
    /// lost, chunks are stored once more, and nothing else happens.
    #[arg(long, value_enum, env = "DTAR_DEDUP_AGAINST", default_value_t = DedupArg::All, value_name = "WHOSE")]
    pub dedup_against: DedupArg,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum DedupArg {
    /// All that stand in the store
    All,
    /// Those that were written from here
    Own,
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
    /// line: `name`, `time`, `time_ns` (since 1970), `stream`, `index`, `missing` (whether
    /// the snapshot's file is not there), `stored` and `snapshot` (bytes of new data and
    /// metadata bricks), `host`, `label`.
    Snapshots(SnapshotsArgs),
    /// Write the index of a snapshot to standard output
    ///
    /// Byte for byte what the run wrote there.
    Index(IndexArgs),
    /// Find members in snapshots: when was it there, and which versions are there
    ///
    /// By name, and of each name the newest snapshot first: when the snapshot was made,
    /// whether the member changed since the next older one that has it (`first`: none
    /// has it; `changed`: other type, content or link; `same`; nothing where that was not
    /// looked at: with --hash, before --since, past a damaged snapshot, with --first), and
    /// what `ls` says of it. `dtar restore '@TIME' NAME` gets it back.
    ///
    /// With --json one object a line: what `ls --json` says, `hash` (BLAKE3-256 of the
    /// body), `change`, and of the snapshot `snapshot` (its name), `time_ns`, `host`,
    /// `label`, or of a file `index`.
    Find(FindArgs),
    /// Say what differs between two indexes
    ///
    /// A line for each member that is not the same, sorted by name: `+` only in NEW, `-`
    /// only in OLD, `*` in both; what changed, a letter each; the sizes in OLD and NEW;
    /// the name. Letters: `T` type, `c` content, `m` mode, `o` owner or group, `t` time,
    /// `l` target of a link, `d` device numbers, `x` extended attributes, ACLs and other
    /// pax records (but not the times of last access and status change).
    ///
    /// Names count as the same with and without `./` in front or `/` behind. If a name
    /// stands several times in one stream, the last counts, as `tar x` leaves it. Memory
    /// does not grow with the number of members; temporary files do.
    ///
    /// With --json one object a line: `change` (added, removed, changed), of changed ones
    /// `what` (type, content, mode, owner, time, link, device, attributes), `old` and
    /// `new`: the member there, as `ls --json` has it, with `hash`, the BLAKE3-256 of its
    /// body. A summary stands on standard error: `added`, `removed`, `changed`, `same`,
    /// `bytes_added`, `bytes_removed`, `overruled` (members before the last of a name),
    /// and with --stat `chunk_bytes`, `chunk_bytes_estimated`.
    Diff(DiffArgs),
    /// Give runs up: deletes their snapshots and roots
    ///
    /// Asks nothing. What only they needed is garbage then, which `dtar gc` deletes; until
    /// it does, their indexes can still be restored. A put key is enough.
    Forget(ForgetArgs),
    /// Delete what nobody needs, and rewrite bricks of which little is needed
    ///
    /// Needed is what the roots of finished runs name, and what the indexes given with
    /// --keep do. Others may archive at the same time: gc waits for runs that began
    /// before it. A put key is enough. Exit code 3 if something that is needed is nowhere,
    /// also if --allow-missing goes on and all else is done. With --json the summary has
    /// `dry_run`, `roots`, `bricks`, `deleted`, `rewritten`, `moved_frames`, `new_bricks`,
    /// `new_bytes`, `freed` (bytes of all that was deleted; the text says what is left of
    /// them after the new bricks), `spared`, `left_out`, `missing`, `cold`, `seconds`.
    Gc(GcArgs),
    /// Check a store, or that all is there that an index needs
    ///
    /// Without INDEX the whole store, as deep as the key at hand reaches: without a key
    /// every brick's bytes against its name; with a put key also tables of contents,
    /// sidecars and roots; with the key every frame, chunk and snapshot. With INDEX all
    /// that a restore does, but for the output.
    ///
    /// Reports every fault, and the runs and members that it hits; exit code 3 if there
    /// is one. Damaged bricks are marked in `bad/`, so that the next archive run stores
    /// their chunks again. With --json a line for each "fault", "hit" (a run), "damage"
    /// (a part of a member), "away" (a brick), "stray" (a file).
    Verify(VerifyArgs),
    /// Protect bricks with parity: what is lost or damaged comes back, without a key
    #[command(subcommand)]
    Parity(ParityCommand),
    /// Put containers on tapes, and get them back
    ///
    /// A container is a plain tar of bricks. Each tape holds a label, containers and a
    /// catalog of all containers so far, and can be read with mt and tar alone.
    #[command(subcommand)]
    Tape(super::tape::TapeCommand),
    /// Make sidecars again from their bricks, and the catalog from the sidecars
    ///
    /// For sidecars that are missing or damaged. What is left of a damaged brick that
    /// has no sidecar goes into a new brick, for which the secret key is needed. Nothing
    /// is deleted; to do it again changes nothing. Exit code 3 if something cannot be
    /// mended.
    Rebuild(RebuildArgs),
    /// Say which bricks a restore needs, and where they are, before it reads any
    ///
    /// How much of each brick is needed; what is at hand, what was pushed to an object store,
    /// the fewest tapes to load and which files to read of each, forward; which commands to
    /// run next. By the index alone: no key is needed for an index that is a file, unless a
    /// gc has moved what is needed into other bricks: then the tables of contents in the
    /// store say which, to a put key too. `--list` names objects for `xargs`; with
    /// --json one object on standard output: `needed`, `used`, `frames`, `here`, `pushed`,
    /// `on_tape`, `nowhere`, `bricks`, `tapes`, `costs`. Exit code 3 if it is not known of
    /// some brick where it is.
    Plan(PlanArgs),
    /// Pack bricks into containers, plain tars sized for a tape or a cold object
    ///
    /// What is not packed yet goes into containers of at most --size bytes: bricks in the
    /// order in which a restore reads them, their tables of contents, the runs that are
    /// whole, a catalog; and the pages and the reader with which it can be read without
    /// dtar. `tar tf` lists them. Each brick is checked by its name as it is read. Cut off
    /// and run again, it goes on where it stopped. A put key is enough. With --json a line
    /// for each "container" (`path`, `bytes`, `bricks`, `found`: it was whole already),
    /// then "summary". Exit code 3 if damaged bricks were left out.
    Pack(PackArgs),
    /// Take what is in containers out into a store; `tar x` does the same unchecked
    ///
    /// What is there is kept. A brick whose name is not its hash is left out; exit code 3.
    /// No key is needed. Bricks need not be taken out to be restored from: `dtar restore
    /// --bricks DIR` finds them in the containers in DIR.
    Unpack(UnpackArgs),
    /// Find frames that survive in raw bytes, and write them out as sound bricks
    ///
    /// Reads damaged bricks, disk images, tape dumps, devices, whatever: what dtar wrote
    /// is found by its markers, wherever it stands. Bricks that are whole are kept under
    /// their names; all other frames go into new bricks, each frame once. With the key
    /// every frame is opened before it is kept; nothing unsound is written. Restore with
    /// `--bricks DIR`, as far as bricks kept their names, or make DIR a store: put
    /// `store.toml` into it.
    ///
    /// Exit code 3 if something could not be read or kept: frames that are damaged, of a
    /// newer dtar, or of another key, or more of them of other stores than of this one.
    /// With --index, exit code 3 if a member is not whole; 0 if all are. With --json the
    /// report is one object a line on standard output: `index`, `name`, `state` (`whole`,
    /// `part` or `gone`), `size`, `lost`.
    Salvage(SalvageArgs),
    /// Put into an object store what it lacks: `s3://BUCKET/PREFIX`
    ///
    /// Objects are named as the files of the store, so `s3cmd sync` and this may take
    /// turns. Each file is hashed while it is sent, and counts only if the hash is its
    /// name; runs come last, so that the bucket never shows one whose bricks are not
    /// there. Cut off at any time, the next push goes on where this one stopped, in the
    /// middle of a brick too. What was pushed is written down in `away/`.
    ///
    /// Credentials come from `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`,
    /// `AWS_PROFILE`, or the machine's role; no key of dtar's is needed. With --json the summary has
    /// `files`, `bytes`, `taken_up` (bytes that were there from a push that was cut off),
    /// `there` (files), `lost`, `unknown` (bricks), `damaged`, `deleted`, `deleted_bytes`,
    /// `kept`, `dry_run`, `seconds`, `bytes_per_second`.
    #[cfg(feature = "s3")]
    Push(PushArgs),
    /// Bring the small files of an object store here: what others have pushed
    ///
    /// Tables of contents, snapshots and their bricks, roots and marks of damage, so that
    /// this host deduplicates against what others stored, lists and restores it. Nothing
    /// goes up, and nothing here is replaced. If there is no store here, it becomes a copy.
    /// What was given up here with `dtar forget`, and still stands there, comes back.
    #[cfg(feature = "s3")]
    Sync(SyncArgs),
    /// Bring bricks from an object store here
    ///
    /// Those that the indexes (or snapshots such as @latest) need, or all. They are
    /// checked by their names. Exit code 1 if some lie in cold storage, 3 if some are
    /// missing or altered there.
    #[cfg(feature = "s3")]
    Pull(PullArgs),
    /// Ask for the bricks that a restore needs, in cold storage
    ///
    /// Exactly those, and none that can be read or were asked for: to do it again costs
    /// nothing. With --json the summary has `asked`, `asked_bytes`, `under_way`,
    /// `readable`, `here` (bricks), `missing`, `dry_run`, `seconds`.
    #[cfg(feature = "s3")]
    Thaw(ThawArgs),
    /// Make a store, and a key if there is none
    Init(InitArgs),
    /// Make and show keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Say what is in the store
    ///
    /// Bricks, sidecars, roots, snapshots and parity; and what comes and goes: runs at work
    /// or cut off, lists of bricks that a gc is about to delete, marks of damaged bricks,
    /// roots without a snapshot. A put key is enough. With --json one object: `store`,
    /// `store_id`, `key_id`, `epoch`, `recipients`, `bricks`, `brick_bytes`,
    /// `metadata_bricks`, `metadata_brick_bytes`, `sidecars`, `roots`, `snapshots`, `chunks`;
    /// `parity` with `sets`, `files`, `bytes`, `unusable` (files); and lists, whose objects
    /// have `name`, `time`, `time_ns`, and `host` and `process` if they are sealed as they
    /// should be: `runs` with `kind` (archive, gc or unknown), `dead`, `label`; `dead_lists`
    /// with `bricks` (how many; null if the list does not open); `marks` with `sealed` and `text`, where `name` is the
    /// brick's; `roots_without_snapshot` with `label` and `lost` (it had one, or the root
    /// does not open); `snapshots_without_root`.
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
    /// Only those of this host
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    /// Only those with this label, the whole of it
    #[arg(long, value_name = "TEXT")]
    pub label: Option<String>,
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
pub struct ForgetArgs {
    /// Which: @latest, @2, '@2026-11-20 12:00', @label:TEXT, @host:NAME, or @ and the
    /// start of a name
    ///
    /// A time means the one run that ended within the day, minute or second that is
    /// written; never, as for restore, an earlier one.
    #[arg(required = true)]
    pub snapshots: Vec<String>,
    /// Only say what would be given up, and delete nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct GcArgs {
    /// Only say what would be done, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Keep what INDEX needs, though its root was forgotten (repeatable)
    ///
    /// A snapshot such as @latest must be there; what it needs is kept in any case.
    #[arg(long, value_name = "INDEX", value_hint = ValueHint::FilePath)]
    pub keep: Vec<PathBuf>,
    /// Leave out what was changed more recently than so long ago: 12h, 3d, 2w
    #[arg(long, value_name = "DURATION", value_parser = super::size::parse_duration)]
    pub min_age: Option<std::time::Duration>,
    /// Rewrite bricks of which less than so many per cent is needed; 0: none
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub threshold: u8,
    /// End other runs that may be alive, instead of waiting for them
    ///
    /// A run that was ended fails, and nothing that was there before is harmed. With a name,
    /// as `dtar store` tells it, only this run.
    #[arg(long, value_name = "RUN", num_args = 0..=1, require_equals = true, default_missing_value = "all")]
    pub end_runs: Option<dtar::gc::EndRuns>,
    /// Go on though needed bricks, or the root of the last run from here, are missing
    ///
    /// What else holds the chunks of a missing brick cannot be told then, and is deleted if
    /// nothing needs it; so is what only missing roots need.
    #[arg(long)]
    pub allow_missing: bool,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "options of a command")]
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
    /// Wait for bricks that are not here yet, and go on as soon as the next is whole
    ///
    /// With --store `s3://…` for bricks that thaw; otherwise for files that somebody else
    /// is bringing into the store or into a --bricks folder.
    #[arg(long)]
    pub wait: bool,
    #[cfg(feature = "s3")]
    #[command(flatten)]
    pub remote: RemoteArgs,
    /// With --store `s3://…`: bytes of bricks that wait here at most, such as 1G
    #[cfg(feature = "s3")]
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = super::size::parse)]
    pub spool: u64,
}

#[derive(Debug, Args)]
pub struct SalvageArgs {
    /// What to read: files, folders with all that is in them, devices; `-` for standard input
    #[arg(value_name = "DEVICE-OR-FILE", required = true, value_hint = ValueHint::AnyPath)]
    pub inputs: Vec<PathBuf>,
    /// Write bricks, sidecars, roots and snapshots to DIR
    ///
    /// What an earlier run wrote there is not written again. A store in use is refused.
    #[arg(long, value_name = "DIR", required_unless_present = "dry_run", value_hint = ValueHint::DirPath)]
    pub to: Option<PathBuf>,
    /// Say which members of INDEX are whole, part or gone (repeatable)
    #[arg(long, value_name = "INDEX", conflicts_with = "no_key", value_hint = ValueHint::FilePath)]
    pub index: Vec<PathBuf>,
    /// Take frames by their headers alone, without a key
    ///
    /// Whole bricks are kept, and checked by structure alone. Other frames go to
    /// DIR/frames; a run with the key and the same DIR makes bricks of what is sound there.
    #[arg(long)]
    pub no_key: bool,
    /// Write nothing, only report
    #[arg(long)]
    pub dry_run: bool,
    /// Keep frames of this store only [default: of the first that is found]
    #[arg(long, value_name = "ID")]
    pub store_id: Option<dtar::id::StoreId>,
    /// Pass SIZE where a read fails [default: 4K on disks, 1M on tapes]
    ///
    /// On a tape, at least as long as its blocks.
    #[arg(long, value_name = "SIZE", value_parser = super::size::parse_block_size)]
    pub block_size: Option<usize>,
    /// Close new bricks before they grow beyond SIZE
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = super::size::parse_brick_size)]
    pub brick_size: u64,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "they are flags")]
pub struct VerifyArgs {
    /// Check what these indexes need: files, `-`, or snapshots such as @latest
    #[arg(value_hint = ValueHint::FilePath)]
    pub index: Vec<PathBuf>,
    /// Look for bricks in DIR too, and check those: a tape, thawed objects (repeatable)
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub bricks: Vec<PathBuf>,
    /// Use no key, though there may be one: only names and what stands in the clear
    #[arg(long, conflicts_with_all = ["index", "members"])]
    pub no_key: bool,
    /// Read only a random share of the bricks, or of the frames of INDEX, such as 5%
    #[arg(long, value_name = "PERCENT", conflicts_with = "quick")]
    pub sample: Option<Percent>,
    /// Draw the share that this number stands for [default: another each time, and said]
    #[arg(long, value_name = "N", requires = "sample")]
    pub seed: Option<u64>,
    /// Look only whether files are there, at their right lengths
    #[arg(long)]
    pub quick: bool,
    /// Take a brick that is not here for a fault, though its sidecar is
    ///
    /// Unless it was pushed, by the lists in `away/`. It is marked as damaged, so that the next archive run stores its chunks again.
    #[arg(long)]
    pub all_here: bool,
    /// Set and remove no marks of damage
    #[arg(long)]
    pub no_mark: bool,
    /// Name the members that a fault hits, of each snapshot (with INDEX they always are)
    #[arg(long)]
    pub members: bool,
}

#[derive(Debug, Args)]
pub struct RebuildArgs {
    /// Look for bricks in DIR too: a tape, thawed objects (repeatable)
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub bricks: Vec<PathBuf>,
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
    /// Look for the bricks of a snapshot in DIR too, a copy of the store (repeatable)
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub bricks: Vec<PathBuf>,
    /// List the index though the key in use is not its store's own, and cannot check it
    #[arg(long)]
    pub unauthenticated: bool,
}

#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "one for each switch of the command line"
)]
pub struct DiffArgs {
    /// The older index: a file, or a snapshot such as @2
    #[arg(value_hint = ValueHint::FilePath)]
    pub old: PathBuf,
    /// The newer index: a file, or a snapshot such as @latest
    #[arg(value_hint = ValueHint::FilePath)]
    pub new: PathBuf,
    /// Only members with such names, as with `restore`
    #[arg(value_name = "PATTERN")]
    pub patterns: Vec<String>,
    /// Do not look at times
    #[arg(long)]
    pub no_times: bool,
    /// Print a summary, and with it how many bytes of chunks NEW needs that OLD does not
    ///
    /// By where they lie, as the two indexes say; of files of more than 64 chunks, lengths
    /// are means. Takes about as long again.
    #[arg(long)]
    pub stat: bool,
    /// End with exit code 4 if there are differences
    #[arg(long)]
    pub exit_code: bool,
    /// Look for the bricks of snapshots in DIR too, a copy of the store (repeatable)
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub bricks: Vec<PathBuf>,
    /// Take an index though the key in use is not its store's own, and cannot check it
    #[arg(long)]
    pub unauthenticated: bool,
}

#[derive(Debug, Args)]
pub struct FindArgs {
    /// Members with such names, as with `restore`
    #[arg(value_name = "PATTERN", required_unless_present = "hash")]
    pub patterns: Vec<String>,
    /// Look in this index or snapshot instead of all snapshots (repeatable, newest first)
    ///
    /// A key in escrow, with --unauthenticated, needs it.
    #[arg(long = "in", value_name = "INDEX", value_hint = ValueHint::FilePath)]
    pub indexes: Vec<PathBuf>,
    /// Only members whose body has this BLAKE3-256, as b3sum prints it (repeatable)
    #[arg(long, value_name = "HEX")]
    pub hash: Vec<String>,
    /// Stop at the newest snapshot that has any
    #[arg(long)]
    pub first: bool,
    /// Only snapshots from TIME on, as with `snapshots`
    #[arg(long, value_name = "TIME", conflicts_with = "indexes")]
    pub since: Option<String>,
    /// Only snapshots up to TIME
    #[arg(long, value_name = "TIME", conflicts_with = "indexes")]
    pub until: Option<String>,
    /// Look for the bricks of snapshots in DIR too, a copy of the store (repeatable)
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub bricks: Vec<PathBuf>,
    /// Take an index though the key in use is not its store's own, and cannot check it
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

#[derive(Debug, Subcommand)]
pub enum ParityCommand {
    /// Make parity for the bricks that have none yet
    Add(ParityAddArgs),
    /// Read bricks and parity, and say what is damaged and whether it can be repaired
    ///
    /// Exits with 3 if anything is missing or damaged. With --json one object a line:
    /// "set" with `margin` (recovery shards left in the stripe that lost most; negative:
    /// too few), "damage" with `kind`, `path`, `reason` and of a brick `name`, `missing`,
    /// `lost_shards`, `repairable`; at the end "summary".
    Check(ParityPlaceArgs),
    /// Bring back what is lost or damaged, bricks first, then parity
    ///
    /// A brick is put in place only if its hash is its name. Exits with 3 if something
    /// cannot be repaired; what can be is. --json as with `check`, and "restored" and
    /// "remade" with `path`.
    Repair {
        #[command(flatten)]
        place: ParityPlaceArgs,
        /// Write the bricks into DIR, and change nothing else
        ///
        /// What is damaged stays as it is where it stands: exit code 0 says that each brick
        /// is whole there or in DIR.
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        to: Option<PathBuf>,
        /// Keep a damaged brick that is replaced, as NAME.brick.damaged, or ….damaged.2 and so on
        #[arg(long)]
        keep_damaged: bool,
    },
}

#[derive(Debug, Args)]
pub struct ParityAddArgs {
    /// The folder of bricks: a store, or any folder with bricks in it [default: the store]
    #[arg(value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
    /// How much of a set may be lost
    ///
    /// Counted in pieces of a brick, mostly of 64 KiB: at 5% and the usual group of 100
    /// bricks, any 5 bricks, or any damage in as many pieces as 5 bricks have.
    #[arg(long, value_name = "PERCENT", default_value = "5%")]
    pub share: dtar::parity::Share,
    /// Most bricks in a set
    ///
    /// The more, the better they bring each other back, and the more a repair has to read.
    #[arg(long, value_name = "BRICKS", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub group: u32,
    /// Make small sets into large ones
    ///
    /// Sets with fewer than half of --group bricks, and no larger --share, are made anew
    /// together with the bricks that have none: all of these are read. After many runs
    /// with few bricks each, so that they survive the loss of whole bricks.
    #[arg(long)]
    pub merge: bool,
}

#[derive(Debug, Args)]
pub struct ParityPlaceArgs {
    /// The folder of bricks: a store, or any folder with bricks in it [default: the store]
    #[arg(value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
    /// Look for bricks and parity in DIR too: a tape, thawed objects (repeatable)
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub bricks: Vec<PathBuf>,
}
