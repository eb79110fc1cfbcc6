//! The command: all that knows a terminal.

mod archive;
mod args;
mod cold_args;
mod diff;
#[cfg(feature = "s3")]
mod fetch;
mod find;
mod forget;
mod gc;
mod index;
mod indexes;
mod init;
mod key;
mod ls;
mod man;
mod pack;
mod parity;
mod plan;
mod progress;
#[cfg(feature = "s3")]
mod pull;
#[cfg(feature = "s3")]
mod push;
mod rebuild;
#[cfg(feature = "s3")]
mod remote;
#[cfg(feature = "s3")]
mod remote_args;
mod restore;
mod salvage;
mod say;
mod setup;
mod size;
mod snapshots;
mod store;
#[cfg(feature = "s3")]
mod sync;
mod tape;
#[cfg(feature = "s3")]
mod thaw;
mod verify;
mod wait;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Cli, Command};
use dtar::error::{Error, Exit, Result};
use say::Say;

/// Runs the command line.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = u8::try_from(error.exit_code()).unwrap_or(Exit::Usage as u8);
            let printed = error.print();
            let lost = printed.is_err_and(|error| error.kind() != io::ErrorKind::BrokenPipe);
            // Help that nobody got is no success.
            return ExitCode::from(if lost {
                code.max(Exit::Failed as u8)
            } else {
                code
            });
        }
    };
    let say = Say::new(&cli.global);
    let exit = match dispatch(&cli, say) {
        Ok(exit) => exit,
        Err(error) => {
            say.error(&error);
            error.exit()
        }
    };
    ExitCode::from(exit as u8)
}

fn dispatch(cli: &Cli, say: Say) -> Result<Exit> {
    let global = &cli.global;
    if cli.command.is_some() && cli.archive.index.is_some() {
        let message = "--index goes with archiving, not with a command";
        return Err(Error::Usage(message.into()));
    }
    match &cli.command {
        None => archive::run(&cli.archive, global, say),
        Some(Command::Restore(args)) => restore::run(args, global, say),
        Some(Command::Salvage(args)) => salvage::run(args, global, say),
        Some(Command::Ls(args)) => ls::run(args, global, say),
        Some(Command::Snapshots(args)) => snapshots::run(args, global, say),
        Some(Command::Verify(args)) => verify::run(args, global, say),
        Some(Command::Rebuild(args)) => rebuild::run(args, global, say),
        Some(Command::Index(args)) => index::run(args, global, say),
        Some(Command::Diff(args)) => diff::run(args, global, say),
        Some(Command::Find(args)) => find::run(args, global, say),
        Some(Command::Forget(args)) => forget::run(args, global, say),
        Some(Command::Gc(args)) => gc::run(args, global, say),
        #[cfg(feature = "s3")]
        Some(Command::Push(args)) => push::run(args, global, say),
        #[cfg(feature = "s3")]
        Some(Command::Sync(args)) => sync::run(args, global, say),
        #[cfg(feature = "s3")]
        Some(Command::Pull(args)) => pull::run(args, global, say),
        #[cfg(feature = "s3")]
        Some(Command::Thaw(args)) => thaw::run(args, global, say),
        Some(Command::Init(args)) => init::run(args, global, say),
        Some(Command::Key(command)) => key::run(command, global, say),
        Some(Command::Store) => store::run(global, say),
        Some(Command::Pack(args)) => pack::run_pack(args, global, say),
        Some(Command::Plan(args)) => plan::run(args, global, say),
        Some(Command::Unpack(args)) => pack::run_unpack(args, say),
        Some(Command::Parity(command)) => parity::run(command, global, say),
        Some(Command::Tape(command)) => tape::run(command, global, say),
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "dtar", &mut script);
            print(&script)
        }
        Some(Command::Man) => {
            let page = man::page(Cli::command()).map_err(Error::io("write", "the man page"))?;
            print(&page)
        }
    }
}

/// Writes to standard output; a reader that goes away is no failure.
fn print(bytes: &[u8]) -> Result<Exit> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::io("write to", "standard output")(error))
        }
        _ => Ok(Exit::Done),
    }
}
