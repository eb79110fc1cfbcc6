use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;

use super::SimDevice;
use crate::format::tape::{ContainerName, MAX_BLOCK, TapeFile, TapeFileKind};
use crate::tape::drive::{Drive, Opened, Read};
use crate::tape::raw::{Medium, Operation, RawDrive};

fn library(settings: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("T")).unwrap();
    fs::write(dir.path().join("T/tape.toml"), settings).unwrap();
    fs::write(dir.path().join("loaded"), "T\n").unwrap();
    dir
}

fn device(dir: &Path) -> SimDevice {
    let mut device = SimDevice::new(dir);
    device.open().unwrap();
    device
}

#[track_caller]
fn fails<T: std::fmt::Debug>(result: io::Result<T>, errno: Errno) {
    let error = result.unwrap_err();
    assert_eq!(error.raw_os_error(), Some(errno.raw_os_error()), "{error}");
}

#[test]
fn a_file_ends_with_a_mark_and_the_data_with_nothing() {
    let dir = library("");
    let mut device = device(dir.path());
    device.write(b"one").unwrap();
    device.operate(Operation::WriteMarks(1)).unwrap();
    device.write(b"three").unwrap();
    assert_eq!(device.position(), Some(3));
    device.operate(Operation::Rewind).unwrap();
    let mut buffer = [0; 16];
    assert_eq!(device.read(&mut buffer).unwrap(), 3);
    assert_eq!(device.read(&mut buffer).unwrap(), 0);
    assert!(!device.status().unwrap().end_of_data);
    assert_eq!(device.read(&mut buffer).unwrap(), 5);
    assert_eq!(&buffer[..5], b"three");
    assert_eq!(device.read(&mut buffer).unwrap(), 0);
    assert!(device.status().unwrap().end_of_data);
    fails(device.read(&mut buffer), Errno::IO);
    // Back before the mark, and over it again.
    device.operate(Operation::BackFiles(1)).unwrap();
    assert_eq!(device.read(&mut buffer).unwrap(), 0);
    assert_eq!(device.read(&mut buffer).unwrap(), 5);
    fails(device.operate(Operation::ForwardFiles(1)), Errno::IO);
}

#[test]
fn a_blank_tape_has_no_data_and_an_empty_drive_no_tape() {
    let dir = library("");
    let mut device = device(dir.path());
    fails(device.read(&mut [0; 16]), Errno::IO);
    assert!(device.status().unwrap().end_of_data);
    device.operate(Operation::Eject).unwrap();
    fails(device.open(), Errno::NOMEDIUM);
}

#[test]
fn a_write_protected_tape_is_told_before_anything_is_written() {
    let dir = library("write_protected = true");
    let mut drive = RawDrive::new(SimDevice::new(dir.path()));
    drive.load().unwrap();
    let error = drive.create(TapeFile::LABEL).unwrap_err();
    assert!(error.to_string().contains("write-protected"), "{error}");
}

#[test]
fn a_block_must_fit() {
    let dir = library("");
    let mut device = device(dir.path());
    device.write(&[7; 100]).unwrap();
    device.operate(Operation::Rewind).unwrap();
    fails(device.read(&mut [0; 50]), Errno::NOMEM);
    device.operate(Operation::SetBlock(512)).unwrap();
    fails(device.write(&[7; 100]), Errno::INVAL);
}

#[test]
fn behind_the_early_warning_every_other_write_is_carried_out() {
    let dir = library("capacity = 500\nearly_warning = 300");
    let mut device = device(dir.path());
    let block = [7; 100];
    for _ in 0..2 {
        device.write(&block).unwrap();
    }
    for _ in 0..3 {
        fails(device.write(&block), Errno::NOSPC);
        device.write(&block).unwrap();
    }
    fails(device.write(&block), Errno::NOSPC);
    fails(device.write(&block), Errno::NOSPC);
    assert_eq!(device.capacity(), Some(500));
}

#[test]
fn data_that_comes_too_late_stops_a_tape_with_a_least_rate() {
    let dir = library("least_rate = 1_000_000");
    let mut device = device(dir.path());
    // As much as takes 10 s at this rate: there is time for the next block.
    device.write(&vec![7; 10_000_000]).unwrap();
    thread::sleep(Duration::from_millis(150));
    device.write(&[7; 100]).unwrap();
    device.operate(Operation::WriteMarks(1)).unwrap();
    device.write(&[7; 100]).unwrap();
    thread::sleep(Duration::from_millis(150));
    let error = device.write(&[7; 100]).unwrap_err();
    assert!(error.to_string().contains("ran out of data"), "{error}");
}

fn file(number: u32) -> TapeFile {
    let name = ContainerName {
        set: "5f3e9a02".parse().unwrap(),
        number,
    };
    let kind = TapeFileKind::Container(name);
    TapeFile { number, kind }
}

fn write_file(drive: &mut RawDrive<SimDevice>, number: u32, blocks: usize) {
    drive.create(file(number)).unwrap();
    for at in 0..blocks {
        drive.write(&[u8::try_from(at).unwrap(); 512]).unwrap();
    }
    drive.close().unwrap();
}

#[test]
fn tape_files_are_found_in_any_order() {
    let dir = library("");
    let mut drive = RawDrive::new(SimDevice::new(dir.path()));
    drive.load().unwrap();
    drive.set_block(512);
    for number in 0..4 {
        write_file(&mut drive, number, number as usize + 1);
    }
    drive.finish().unwrap();
    for number in [2, 0, 3, 3, 1, 2] {
        assert_eq!(drive.open(number).unwrap(), Opened::File(None));
        let mut blocks = 0;
        while let Read::Data(length) = drive.read(&mut [0; 512]).unwrap() {
            assert_eq!(length, 512);
            blocks += 1;
        }
        assert_eq!(blocks, number + 1);
    }
    assert_eq!(drive.open(4).unwrap(), Opened::End);
    assert_eq!(drive.open(9).unwrap(), Opened::End);
    // Ten blocks, and four of the marks: the fifth gives way to what comes next.
    assert_eq!(drive.open(4).unwrap(), Opened::End);
    assert_eq!(drive.used().unwrap(), Some(14 * 512));
}

#[test]
fn blocks_of_any_length_are_read_before_the_length_is_known() {
    let dir = library("");
    let mut drive = RawDrive::new(SimDevice::new(dir.path()));
    drive.load().unwrap();
    drive.set_block(MAX_BLOCK);
    drive.create(TapeFile::LABEL).unwrap();
    drive.write(b"label").unwrap();
    drive.close().unwrap();
    let mut drive = RawDrive::new(SimDevice::new(dir.path()));
    drive.load().unwrap();
    assert_eq!(drive.open(0).unwrap(), Opened::File(None));
    let mut buffer = vec![0; MAX_BLOCK as usize];
    assert!(
        matches!(drive.read(&mut buffer).unwrap(), Read::Data(length) if length == buffer.len())
    );
    assert!(buffer.starts_with(b"label\0"));
}

#[test]
fn bad_blocks_are_passed_one_by_one() {
    let dir = library("fail_read = [2, 3]");
    let mut drive = RawDrive::new(SimDevice::new(dir.path()));
    drive.load().unwrap();
    drive.set_block(512);
    write_file(&mut drive, 0, 6);
    drive.open(0).unwrap();
    let mut found = Vec::new();
    let mut buffer = [0; 512];
    loop {
        match drive.read(&mut buffer).unwrap() {
            Read::Data(_) => found.push(Some(buffer[0])),
            Read::Bad { length, .. } => {
                assert_eq!(length, 512);
                found.push(None);
            }
            Read::End => break,
        }
    }
    assert_eq!(found, [Some(0), Some(1), None, None, Some(4), Some(5)]);
}

#[test]
fn what_is_given_up_is_written_over() {
    let dir = library("");
    let mut drive = RawDrive::new(SimDevice::new(dir.path()));
    drive.load().unwrap();
    drive.set_block(512);
    write_file(&mut drive, 0, 2);
    drive.create(file(1)).unwrap();
    for _ in 0..5 {
        drive.write(&[9; 512]).unwrap();
    }
    drive.abandon().unwrap();
    write_file(&mut drive, 1, 1);
    drive.finish().unwrap();
    let layout = fs::read_to_string(dir.path().join("T/layout")).unwrap();
    assert_eq!(layout, "512\n512\nmark\n512\nmark\nmark\n");
}

#[test]
fn a_file_without_its_mark_gets_one_before_the_next() {
    let dir = library("");
    let mut drive = RawDrive::new(SimDevice::new(dir.path()));
    drive.load().unwrap();
    drive.set_block(512);
    write_file(&mut drive, 0, 1);
    drive.create(file(1)).unwrap();
    drive.write(&[9; 512]).unwrap();
    // As if the power had failed.
    let mut drive = RawDrive::new(SimDevice::new(dir.path()));
    drive.load().unwrap();
    drive.set_block(512);
    assert_eq!(drive.open(1).unwrap(), Opened::File(None));
    assert_eq!(drive.open(2).unwrap(), Opened::End);
    write_file(&mut drive, 2, 1);
    let layout = fs::read_to_string(dir.path().join("T/layout")).unwrap();
    assert_eq!(layout, "512\nmark\n512\nmark\n512\nmark\n");
}
