//! From options to a drive, and to who changes its tapes.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Command;

use super::args::DriveArgs;
use crate::cli::say::Say;
use dtar::error::{Error, Result};
#[cfg(target_os = "linux")]
use dtar::tape::raw::StDevice;
use dtar::tape::sim::{Robot, SimDevice};
use dtar::tape::{
    Changer, Drive, MountCommands, MountOptions, MountedDrive, RawDrive, Request, Wanted,
};

/// How the words of `--drive` are to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Files on a file system.
    Mounted,
    /// Blocks and filemarks.
    Raw,
}

/// The drive that the options name.
pub fn open(args: &DriveArgs) -> Result<(Box<dyn Drive>, Kind)> {
    let wrong = || {
        Error::Usage(format!(
            "--drive: expected ltfs:DIR, raw:DEVICE, folder:DIR or sim:DIR, found {:?}",
            args.drive
        ))
    };
    let (kind, place) = args.drive.split_once(':').ok_or_else(wrong)?;
    let path = Path::new(place);
    if place.is_empty() {
        return Err(wrong());
    }
    if args.device.is_some() && kind != "ltfs" {
        return Err(Error::Usage("--device goes with --drive ltfs:DIR".into()));
    }
    Ok(match kind {
        "ltfs" | "folder" => {
            let options = MountOptions {
                commands: mount_commands(args),
                must_be_mounted: kind == "ltfs",
                capacity: args.capacity,
            };
            (Box::new(MountedDrive::new(path, options)), Kind::Mounted)
        }
        #[cfg(target_os = "linux")]
        "raw" => (Box::new(RawDrive::new(StDevice::new(path))), Kind::Raw),
        "sim" => (Box::new(RawDrive::new(SimDevice::new(path))), Kind::Raw),
        _ => return Err(wrong()),
    })
}

fn mount_commands(args: &DriveArgs) -> Option<MountCommands> {
    let mut commands = MountCommands::new(args.device.clone()?);
    let replace = |command: &mut String, by: &Option<String>| {
        if let Some(by) = by {
            command.clone_from(by);
        }
    };
    replace(&mut commands.mount, &args.mount_command);
    replace(&mut commands.unmount, &args.unmount_command);
    replace(&mut commands.eject, &args.eject_command);
    Some(commands)
}

/// Who changes the tapes of the drive that the options name: a command if there is one, the
/// robot of a simulated library, or a person at the terminal.
pub fn changer(args: &DriveArgs, say: Say) -> Box<dyn Changer> {
    let command = args.change_command.clone();
    match args.drive.split_once(':') {
        Some(("sim", library)) if command.is_none() => {
            let tell = move |what: &str| say.note(what);
            Box::new(Robot::new(Path::new(library), tell))
        }
        _ => Box::new(Hands { command, say }),
    }
}

/// A command, or a person at the terminal.
struct Hands {
    command: Option<String>,
    say: Say,
}

impl Hands {
    fn run(&self, command: &str, request: &Request<'_>) -> Result<bool> {
        let name = match request.wanted {
            Wanted::Tape(name) => name.to_string(),
            _ => String::new(),
        };
        self.say
            .note(&format!("changing tapes: {}", request.wanted));
        let status = Command::new("sh")
            .args(["-c", command])
            .env("DTAR_TAPE_WANTED", request.wanted.to_string())
            .env("DTAR_TAPE_NAME", name)
            .env("DTAR_TAPE_ATTEMPT", request.attempt.to_string())
            .env("DTAR_TAPE_DRIVE", request.drive)
            .status()
            .map_err(Error::io("run", Path::new("sh")))?;
        match status.code() {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(Error::Usage(format!(
                "--change-command: `{command}` ended with {status}; expected 0, or 1 if there \
                 is no such tape"
            ))),
        }
    }

    /// Asks where a person sits, whatever the standard streams are.
    fn ask(&self, request: &Request<'_>) -> Result<bool> {
        let path = Path::new("/dev/tty");
        let Ok(mut terminal) = OpenOptions::new().read(true).write(true).open(path) else {
            self.say.note(&format!(
                "needs {}, and there is no terminal to ask on: give a --change-command",
                request.wanted
            ));
            return Ok(false);
        };
        let question = format!(
            "dtar: {}: put in {}, then press Enter (q: there is none): ",
            request.drive, request.wanted
        );
        terminal
            .write_all(question.as_bytes())
            .map_err(Error::io("write to", path))?;
        let mut answer = String::new();
        let length = BufReader::new(terminal)
            .read_line(&mut answer)
            .map_err(Error::io("read from", path))?;
        Ok(length > 0 && !answer.trim().eq_ignore_ascii_case("q"))
    }
}

impl Changer for Hands {
    fn change(&mut self, request: &Request<'_>) -> Result<bool> {
        match &self.command {
            Some(command) => self.run(command, request),
            None => self.ask(request),
        }
    }

    fn refuse(&mut self, why: &Error) {
        self.say.warn(&why.to_string());
    }
}
