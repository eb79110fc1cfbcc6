//! Arguments of the commands for cold storage.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

#[derive(Debug, Args)]
pub struct PackArgs {
    /// The longest that a container may be, such as 100G; it is kept to the byte
    ///
    /// In powers of 1024. Take some percent less than the size of a tape.
    #[arg(long, value_name = "SIZE", value_parser = super::size::parse)]
    pub size: u64,
    /// The folder for the containers
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub to: PathBuf,
    /// Only what INDEX needs, in the order in which it is restored
    ///
    /// Or a snapshot in the store, such as @latest.
    #[arg(long, value_name = "INDEX", conflicts_with = "since", value_hint = ValueHint::FilePath)]
    pub index: Option<PathBuf>,
    /// Only what runs after this one need, beyond what it needs itself
    #[arg(long, value_name = "@SNAPSHOT")]
    pub since: Option<String>,
    /// Parity files too
    #[arg(long)]
    pub parity: bool,
    /// Begin another set, with everything: a second copy for another place
    #[arg(long, conflicts_with = "set")]
    pub new_set: bool,
    /// Go on with the set whose id begins so, if there are several
    #[arg(long, value_name = "ID")]
    pub set: Option<String>,
    /// Stop after COUNT containers; run it again for the next ones
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Say what would be packed; write nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct UnpackArgs {
    /// The containers; `-` for standard input
    #[arg(required = true, value_name = "CONTAINER", value_hint = ValueHint::FilePath)]
    pub containers: Vec<PathBuf>,
    /// The folder: a store, or what is to become one
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub to: PathBuf,
    /// All but the bricks of data and parity: snapshots, roots, tables of contents
    ///
    /// With these `dtar snapshots`, `dtar ls` and `dtar plan` work, and `dtar restore
    /// --bricks` reads the data in the containers.
    #[arg(long)]
    pub hot: bool,
}

/// Which bricks `dtar plan --list` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ListWhat {
    /// All that are not at hand
    All,
    /// What to get from tapes
    Tape,
    /// What was pushed to an object store
    Bucket,
    /// What is in containers of which no tape is known
    Container,
    /// What is in no place that is known
    Nowhere,
}

#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The index, plain or compressed with zstd; `-` for standard input
    ///
    /// Or a snapshot in the store, such as @latest.
    #[arg(value_hint = ValueHint::FilePath)]
    pub index: Option<PathBuf>,
    /// Only what members with such names need, as with `restore`
    #[arg(value_name = "PATTERN")]
    pub patterns: Vec<String>,
    /// Bricks in DIR are at hand, also in containers; or a container (repeatable)
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub bricks: Vec<PathBuf>,
    /// Believe this catalog of containers too, of a tape or beside containers (repeatable)
    ///
    /// Those in the store are found.
    #[arg(long = "catalog-of-set", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub catalogs: Vec<PathBuf>,
    /// Load tapes also for what is in an object store
    #[arg(long)]
    pub tapes: bool,
    /// Only the bricks that are not at hand, one a line, as objects are called
    ///
    /// With =WHERE only those that are to come from there, such as --list=tape.
    #[arg(
        long,
        value_name = "WHERE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "all",
        conflicts_with = "detail"
    )]
    pub list: Option<ListWhat>,
    /// Each brick too, in the order of need: how much of it is needed, and where it is
    #[arg(long)]
    pub detail: bool,
    /// Say what it costs to bring up what is in an object store, by these prices
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub prices: Option<PathBuf>,
    /// Print an example of such a file, and end
    #[arg(long)]
    pub example_prices: bool,
}
