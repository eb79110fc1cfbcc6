//! A tape with a file system (LTFS), or any folder that stands for one.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::drive::{Drive, Opened, Read, WriteFault};
use super::lock::lock;
use crate::error::Exit;
use crate::format::tape::TapeFile;
use crate::store::atomic;
use crate::{Error, Result};

/// What a file in the making ends with.
const PART: &str = ".part";
/// So many bytes are passed over where reading fails.
const BAD_STEP: u64 = 1 << 20;

/// Commands around a tape, for `sh -c`. They find the device in `DTAR_TAPE_DEVICE` and the
/// folder in `DTAR_TAPE_DIR`.
#[derive(Debug, Clone)]
pub struct MountCommands {
    /// The device.
    pub device: PathBuf,
    /// Mounts the tape at the folder.
    pub mount: String,
    /// Takes it away from there; what was written is on the tape then.
    pub unmount: String,
    /// Hands the tape out.
    pub eject: String,
}

impl MountCommands {
    /// Those of the reference implementation of LTFS and `mt`.
    #[must_use]
    pub fn new(device: PathBuf) -> Self {
        Self {
            device,
            mount: r#"ltfs -o devname="$DTAR_TAPE_DEVICE" "$DTAR_TAPE_DIR""#.into(),
            unmount: r#"umount "$DTAR_TAPE_DIR""#.into(),
            eject: r#"mt -f "$DTAR_TAPE_DEVICE" rewoffl"#.into(),
        }
    }

    fn run(&self, what: &'static str, command: &str, dir: &Path) -> Result<()> {
        let status = Command::new("sh")
            .args(["-c", command])
            .env("DTAR_TAPE_DEVICE", &self.device)
            .env("DTAR_TAPE_DIR", dir)
            .status()
            .map_err(Error::io("run", Path::new("sh")))?;
        if status.success() {
            return Ok(());
        }
        Err(Error::Refused {
            path: self.device.clone(),
            message: format!(
                "cannot {what} the tape: `{command}` ended with {status}{}",
                if what == "mount" {
                    "; a new tape is formatted with `mkltfs` first"
                } else {
                    ""
                }
            ),
            exit: Exit::Failed,
        })
    }
}

/// What a [`MountedDrive`] is.
#[derive(Debug, Clone, Default)]
pub struct MountOptions {
    /// What to run around each tape: nothing, if whoever changes tapes does it.
    pub commands: Option<MountCommands>,
    /// Whether the folder must be a mount point. With commands it is their business.
    pub must_be_mounted: bool,
    /// Bytes that a tape holds, if the file system is not to be asked.
    pub capacity: Option<u64>,
}

/// A drive that shows its tape as a folder.
#[derive(Debug)]
pub struct MountedDrive {
    dir: PathBuf,
    options: MountOptions,
    /// Whether [`MountCommands::mount`] was run, and not yet the one that undoes it.
    mounted: bool,
    files: Vec<TapeFile>,
    foreign: Option<String>,
    /// What runs that were cut off have left.
    remains: Vec<PathBuf>,
    reading: Option<(PathBuf, File, u64)>,
    writing: Option<(TapeFile, PathBuf, File)>,
    /// Held while a tape is loaded: another run would take what this one writes for what
    /// is left of one that was cut off.
    lock: Option<File>,
}

impl MountedDrive {
    /// The drive whose tapes show in `dir`.
    #[must_use]
    pub fn new(dir: &Path, options: MountOptions) -> Self {
        Self {
            dir: dir.to_owned(),
            options,
            mounted: false,
            files: Vec::new(),
            foreign: None,
            remains: Vec::new(),
            reading: None,
            writing: None,
            lock: None,
        }
    }

    fn path(&self, file: TapeFile) -> PathBuf {
        self.dir.join(file.to_string())
    }

    fn refuse(&self, message: &str) -> Error {
        Error::Refused {
            path: self.dir.clone(),
            message: message.into(),
            exit: Exit::Failed,
        }
    }

    /// Sees what stands on the tape.
    fn list(&mut self) -> Result<()> {
        self.files.clear();
        self.remains.clear();
        self.foreign = None;
        let fault = || Error::io("list", &self.dir);
        for entry in fs::read_dir(&self.dir).map_err(fault())? {
            let entry = entry.map_err(fault())?;
            let name = entry.file_name();
            let text = name.to_str().unwrap_or_default();
            if let Ok(file) = text.parse() {
                self.files.push(file);
            } else if is_part(text) {
                self.remains.push(entry.path());
            } else if !is_part_of_file_system(text) {
                self.foreign.get_or_insert(format!("{}", name.display()));
            }
        }
        self.files.sort_unstable();
        Ok(())
    }

    fn is_mount_point(&self) -> io::Result<bool> {
        let here = fs::metadata(&self.dir)?;
        let above = fs::metadata(self.dir.join(".."))?;
        Ok(here.dev() != above.dev() || here.ino() == above.ino())
    }
}

/// What is read back is to come from the tape, and not from memory.
#[cfg(target_os = "linux")]
fn forget_cached(file: &File) {
    use rustix::fs::{Advice, fadvise};
    // It is advice; without it a fault may go unseen until the next reading.
    let _ = fadvise(file, 0, None, Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
fn forget_cached(_file: &File) {}

fn is_part(name: &str) -> bool {
    name.strip_suffix(PART)
        .is_some_and(|stem| stem.parse::<TapeFile>().is_ok())
}

/// What file systems put into their roots by themselves.
fn is_part_of_file_system(name: &str) -> bool {
    matches!(name, "lost+found" | ".LTFSEE_DATA")
}

fn fault(error: io::Error) -> WriteFault {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => WriteFault::Full,
        _ => WriteFault::Failed(error),
    }
}

impl Drop for MountedDrive {
    fn drop(&mut self) {
        // LTFS writes its index when it is unmounted: what a run has written before it
        // failed is not to be lost.
        if let Some(commands) = self.options.commands.clone().filter(|_| self.mounted) {
            self.reading = None;
            self.writing = None;
            self.lock = None;
            let _ = commands.run("unmount", &commands.unmount, &self.dir);
        }
    }
}

impl Drive for MountedDrive {
    fn name(&self) -> String {
        self.dir.display().to_string()
    }

    fn load(&mut self) -> Result<()> {
        if let Some(commands) = self.options.commands.clone().filter(|_| !self.mounted) {
            commands.run("mount", &commands.mount, &self.dir)?;
            self.mounted = true;
        }
        let is_checked = self.options.must_be_mounted && self.options.commands.is_none();
        if is_checked
            && !self
                .is_mount_point()
                .map_err(Error::io("examine", &self.dir))?
        {
            return Err(self.refuse(
                "no tape is mounted here; mount one, or name its --device, or write \
                 folder:DIR if a plain folder is meant",
            ));
        }
        if self.lock.is_none() {
            let busy = "another run of `dtar tape` uses this tape; wait until it has ended";
            self.lock = lock(&self.dir, busy)?;
        }
        self.list()
    }

    fn unload(&mut self) -> Result<()> {
        self.reading = None;
        self.writing = None;
        self.lock = None;
        let Some(commands) = self.options.commands.clone() else {
            return Ok(());
        };
        if self.mounted {
            commands.run("unmount", &commands.unmount, &self.dir)?;
            self.mounted = false;
        }
        commands.run("eject", &commands.eject, &self.dir)
    }

    fn foreign(&mut self) -> Result<Option<String>> {
        Ok(self.foreign.clone())
    }

    fn block(&self) -> u32 {
        0
    }

    fn set_block(&mut self, _block: u32) {}

    fn capacity(&mut self) -> Result<Option<u64>> {
        if self.options.capacity.is_some() {
            return Ok(self.options.capacity);
        }
        let found = rustix::fs::statvfs(&self.dir)
            .map_err(|error| Error::io("examine", &self.dir)(error.into()))?;
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        Ok(Some(free.saturating_add(self.used()?.unwrap_or(0))))
    }

    fn used(&mut self) -> Result<Option<u64>> {
        let mut used = 0_u64;
        for file in &self.files {
            let path = self.path(*file);
            let length = fs::metadata(&path)
                .map_err(Error::io("examine", &path))?
                .len();
            used = used.saturating_add(length);
        }
        Ok(Some(used))
    }

    fn open(&mut self, number: u32) -> Result<Opened> {
        self.reading = None;
        let Some(file) = self.files.iter().find(|file| file.number == number) else {
            let more = self.files.iter().any(|file| file.number > number);
            return Ok(if more {
                Opened::Unreadable
            } else {
                Opened::End
            });
        };
        let (file, path) = (*file, self.path(*file));
        match File::open(&path) {
            Ok(open) => {
                forget_cached(&open);
                self.reading = Some((path, open, 0));
                Ok(Opened::File(Some(file)))
            }
            Err(_) => Ok(Opened::Unreadable),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<Read> {
        let Some((path, file, at)) = &mut self.reading else {
            return Ok(Read::End);
        };
        match file.read(buffer) {
            Ok(0) => Ok(Read::End),
            Ok(length) => {
                *at += length as u64;
                Ok(Read::Data(length))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Read::Data(0)),
            Err(error) => {
                let length = file.metadata().map_err(Error::io("examine", &*path))?.len();
                let step = BAD_STEP.min(length.saturating_sub(*at));
                if step == 0 {
                    return Err(Error::io("read", &*path)(error));
                }
                *at += step;
                file.seek(SeekFrom::Start(*at))
                    .map_err(Error::io("read", &*path))?;
                Ok(Read::Bad {
                    length: step,
                    error,
                })
            }
        }
    }

    fn skip(&mut self, bytes: u64) -> Result<u64> {
        let Some((path, file, at)) = &mut self.reading else {
            return Ok(0);
        };
        *at += bytes;
        file.seek(SeekFrom::Start(*at))
            .map_err(Error::io("read", &*path))?;
        Ok(bytes)
    }

    fn erase(&mut self) -> Result<()> {
        self.reading = None;
        if let Some(name) = &self.foreign {
            let message = format!(
                "holds {name:?}, which dtar did not write and does not delete; \
                 make the tape empty yourself (`mkltfs`), or take another"
            );
            return Err(self.refuse(&message));
        }
        for file in self.files.drain(..).rev() {
            let path = self.dir.join(file.to_string());
            fs::remove_file(&path).map_err(Error::io("delete", &path))?;
        }
        Ok(())
    }

    fn create(&mut self, file: TapeFile) -> Result<()> {
        self.reading = None;
        // Nobody else writes to a tape at the same time.
        for path in self.remains.drain(..) {
            fs::remove_file(&path).map_err(Error::io("delete", &path))?;
        }
        let path = self.dir.join(format!("{file}{PART}"));
        let open = File::create(&path).map_err(Error::io("make", &path))?;
        self.writing = Some((file, path, open));
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> std::result::Result<(), WriteFault> {
        match &mut self.writing {
            Some((_, _, file)) => file.write_all(bytes).map_err(fault),
            None => Err(WriteFault::Failed(io::Error::other("no tape file is open"))),
        }
    }

    fn close(&mut self) -> std::result::Result<(), WriteFault> {
        let Some((file, path, open)) = &self.writing else {
            return Err(WriteFault::Failed(io::Error::other("no tape file is open")));
        };
        open.sync_all().map_err(fault)?;
        fs::rename(path, self.dir.join(file.to_string())).map_err(fault)?;
        self.files.push(*file);
        self.writing = None;
        self.finish()
    }

    fn abandon(&mut self) -> Result<()> {
        match self.writing.take() {
            Some((_, path, _)) => fs::remove_file(&path).map_err(Error::io("delete", &path)),
            None => Ok(()),
        }
    }

    fn finish(&mut self) -> std::result::Result<(), WriteFault> {
        atomic::sync_dir(&self.dir).map_err(|error| match error {
            Error::Io { source, .. } => fault(source),
            other => WriteFault::Failed(io::Error::other(other.to_string())),
        })
    }
}
