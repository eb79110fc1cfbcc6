//! Options of the commands for object stores.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// How to reach an object store.
#[derive(Debug, Clone, Args)]
pub struct RemoteArgs {
    /// URL of a server that is not Amazon's [default: `AWS_ENDPOINT_URL`]
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub endpoint: Option<String>,
    /// Region [default: `AWS_REGION`, or that of the profile]
    #[arg(long, value_name = "NAME")]
    pub region: Option<String>,
    /// Transfer at most SIZE a second, such as 10M
    #[arg(long, value_name = "SIZE", value_parser = super::size::parse)]
    pub limit_rate: Option<u64>,
    /// Give a request up, and try it again, if nothing of it moves for so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub timeout: u64,
    /// Transfers at the same time
    #[arg(long, value_name = "NUMBER", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: u16,
}

#[derive(Debug, Args)]
pub struct PushArgs {
    /// Where to: `s3://BUCKET/PREFIX`
    #[arg(value_name = "URL")]
    pub url: String,
    /// Storage class of data bricks and parity, such as `DEEP_ARCHIVE`; all else stays hot
    #[arg(long, value_name = "CLASS")]
    pub storage_class: Option<String>,
    /// Delete bricks here that the bucket has, by length and checksum
    ///
    /// Only data bricks. Deduplication goes on by the tables of contents, which stay.
    #[arg(long)]
    pub delete_local: bool,
    /// Look at all that is in the bucket, and not at what was written down in `away/`
    #[arg(long)]
    pub check: bool,
    /// Only say what would be sent
    #[arg(long, conflicts_with = "delete_local")]
    pub dry_run: bool,
    /// Send files in parts of SIZE; memory is this times --jobs
    #[arg(long, value_name = "SIZE", default_value = "16M", value_parser = super::size::parse)]
    pub part_size: u64,
    #[command(flatten)]
    pub remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub struct SyncArgs {
    /// Where from: `s3://BUCKET/PREFIX`
    #[arg(value_name = "URL")]
    pub url: String,
    /// Bring parity files too
    #[arg(long)]
    pub parity: bool,
    #[command(flatten)]
    pub remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub struct PullArgs {
    /// Where from: `s3://BUCKET/PREFIX`
    #[arg(value_name = "URL")]
    pub url: String,
    /// Bring the bricks that these need: indexes, or snapshots such as @latest
    #[arg(value_name = "INDEX", required_unless_present = "all", value_hint = ValueHint::FilePath)]
    pub indexes: Vec<PathBuf>,
    /// Bring all bricks
    #[arg(long, conflicts_with = "indexes")]
    pub all: bool,
    /// Put them into DIR instead of the store, for `restore --bricks DIR`
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub to: Option<PathBuf>,
    /// Wait for bricks that thaw
    #[arg(long)]
    pub wait: bool,
    #[command(flatten)]
    pub remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub struct ThawArgs {
    /// The index, or a snapshot such as @latest
    #[arg(value_hint = ValueHint::FilePath)]
    pub index: PathBuf,
    /// Only what members with such names need
    #[arg(value_name = "PATTERN")]
    pub patterns: Vec<String>,
    /// Where the bricks are: `s3://BUCKET/PREFIX` [default: where they were pushed to, if that
    /// is one place]
    #[arg(long, value_name = "URL")]
    pub from: Option<String>,
    /// How fast, and how dear: bulk, standard or expedited
    #[arg(long, value_name = "TIER", default_value = "bulk")]
    pub tier: String,
    /// Keep them readable for so many days
    #[arg(long, value_name = "NUMBER", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,
    /// Wait until all can be read
    #[arg(long)]
    pub wait: bool,
    /// Only look, and ask for nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Leave out bricks that are in DIR (repeatable), and in the store
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub bricks: Vec<PathBuf>,
    #[command(flatten)]
    pub remote: RemoteArgs,
}
