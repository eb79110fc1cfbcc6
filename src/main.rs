//! The `dtar` command: parses arguments, calls the library, says how it went.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
