//! What the command says and does, apart from the bytes of streams: output for people and
//! programs, options, selections, keys, and several runs at once.

#[path = "../common/mod.rs"]
mod common;
#[path = "../roundtrip/tree.rs"]
#[allow(dead_code, reason = "shared with the tests of round trips")]
mod tree;

mod diff;
mod escrow;
mod find;
mod first_run;
mod gc;
mod generated;
mod index_file;
mod json;
mod keys;
mod listing;
mod moved;
mod options;
mod selection;
mod snapshots;
mod together;
mod trust;
mod upkeep;

use std::process::Command;

use common::sandbox::Run;

/// Runs a prepared command to its end.
fn run(mut command: Command) -> Run {
    command.output().unwrap().into()
}
