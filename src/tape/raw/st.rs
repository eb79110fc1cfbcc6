//! The st driver of Linux: `/dev/nstN`.
//!
//! The numbers are those of `linux/mtio.h`; `Documentation/scsi/st.rst` of the kernel says
//! what the driver does.
#![expect(
    unsafe_code,
    reason = "an ioctl is unsafe to declare; each block says why its number and type fit"
)]

use std::ffi::{c_int, c_long, c_short};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::ioctl::{Getter, Setter, ioctl, opcode};

use super::medium::{Medium, Operation, Status};

/// `struct mtop`.
#[repr(C)]
#[derive(Clone, Copy)]
struct MtOp {
    operation: c_short,
    count: c_int,
}

/// `struct mtget`.
#[repr(C)]
#[derive(Clone, Copy)]
struct MtGet {
    kind: c_long,
    residual: c_long,
    device_status: c_long,
    general_status: c_long,
    errors: c_long,
    file: c_int,
    block: c_int,
}

/// `struct mtpos`.
#[repr(C)]
#[derive(Clone, Copy)]
struct MtPos {
    block: c_long,
}

const GROUP: u8 = b'm';
const MTIOCTOP: rustix::ioctl::Opcode = opcode::write::<MtOp>(GROUP, 1);
const MTIOCGET: rustix::ioctl::Opcode = opcode::read::<MtGet>(GROUP, 2);
const MTIOCPOS: rustix::ioctl::Opcode = opcode::read::<MtPos>(GROUP, 3);

const MTFSF: c_short = 1;
const MTBSF: c_short = 2;
const MTFSR: c_short = 3;
const MTWEOF: c_short = 5;
const MTREW: c_short = 6;
const MTOFFL: c_short = 7;
const MTSETBLK: c_short = 20;

/// `GMT_EOD`, `GMT_WR_PROT`, `GMT_ONLINE`.
const END_OF_DATA: c_long = 0x0800_0000;
const WRITE_PROTECTED: c_long = 0x0400_0000;
const ONLINE: c_long = 0x0100_0000;

/// A tape device of Linux that does not rewind when it is closed.
#[derive(Debug)]
pub struct StDevice {
    path: PathBuf,
    file: Option<File>,
}

impl StDevice {
    /// The device of this path; nothing is opened yet.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            file: None,
        }
    }

    fn file(&self) -> io::Result<&File> {
        self.file.as_ref().ok_or_else(|| Errno::BADF.into())
    }
}

impl Medium for StDevice {
    fn path(&self) -> &Path {
        &self.path
    }

    fn open(&mut self) -> io::Result<()> {
        if self.file.is_some() {
            return Ok(());
        }
        let open = |write| OpenOptions::new().read(true).write(write).open(&self.path);
        // A tape with its tab closed can still be read.
        let file = match open(true) {
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => open(false),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => open(false),
            result => result,
        }?;
        self.file = Some(file);
        Ok(())
    }

    fn close(&mut self) {
        self.file = None;
    }

    fn operate(&mut self, operation: Operation) -> io::Result<()> {
        let (code, count) = match operation {
            Operation::Rewind => (MTREW, 1),
            Operation::ForwardFiles(count) => (MTFSF, count),
            Operation::BackFiles(count) => (MTBSF, count),
            Operation::ForwardBlocks(count) => (MTFSR, count),
            Operation::WriteMarks(count) => (MTWEOF, count),
            Operation::SetBlock(length) => (MTSETBLK, length),
            Operation::Eject => (MTOFFL, 1),
        };
        let count = c_int::try_from(count).map_err(|_| Errno::INVAL)?;
        let argument = MtOp {
            operation: code,
            count,
        };
        if operation == Operation::Eject && self.file.is_none() {
            // Without a tape the device opens only if it need not wait for one.
            let flags = OFlags::NONBLOCK.bits().cast_signed();
            let file = OpenOptions::new()
                .read(true)
                .custom_flags(flags)
                .open(&self.path)?;
            self.file = Some(file);
        }
        let file = self.file()?;
        // SAFETY: MTIOCTOP reads one `struct mtop`, which MtOp is, and writes nothing.
        unsafe { ioctl(file, Setter::<MTIOCTOP, MtOp>::new(argument)) }?;
        Ok(())
    }

    fn status(&mut self) -> io::Result<Status> {
        let file = self.file()?;
        // SAFETY: MTIOCGET fills one `struct mtget`, which MtGet is; any bytes are a value.
        let found = unsafe { ioctl(file, Getter::<MTIOCGET, MtGet>::new()) }?;
        let is_set = |flag| found.general_status & flag != 0;
        Ok(Status {
            online: is_set(ONLINE),
            write_protected: is_set(WRITE_PROTECTED),
            end_of_data: is_set(END_OF_DATA),
        })
    }

    fn position(&mut self) -> Option<u64> {
        let file = self.file().ok()?;
        // SAFETY: MTIOCPOS fills one `struct mtpos`, which MtPos is; any bytes are a value.
        let found = unsafe { ioctl(file, Getter::<MTIOCPOS, MtPos>::new()) }.ok()?;
        u64::try_from(found.block).ok()
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file()?.read(buffer)
    }

    fn write(&mut self, block: &[u8]) -> io::Result<usize> {
        self.file()?.write(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers in `linux/mtio.h` on machines with longs of 64 bits, as `strace` and
    /// `mt` show them.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn requests_have_the_numbers_of_the_kernel() {
        assert_eq!(MTIOCTOP, 0x4008_6d01);
        assert_eq!(MTIOCGET, 0x8030_6d02);
        assert_eq!(MTIOCPOS, 0x8008_6d03);
    }

    #[test]
    fn what_is_no_tape_is_refused_by_the_system() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut device = StDevice::new(file.path());
        assert!(device.operate(Operation::Rewind).is_err());
        device.open().unwrap();
        assert!(device.operate(Operation::Rewind).is_err());
        assert!(device.status().is_err());
        assert_eq!(device.position(), None);
    }
}
