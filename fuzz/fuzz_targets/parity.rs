//! Parity: heads and descriptions are read or refused; and with sets that say anything,
//! and bricks to which anything happened, check and repair come to an end, alter no brick
//! but to what its name says, and leave nothing behind.
#![no_main]

#[path = "../../tests/common/files.rs"]
mod files;

use dtar::archive::Monitor;
use dtar::format::parity::{Description, HEAD_LENGTH, Head, MAX_PARTS, MAX_STRIPE_PARITY};
use dtar::id::SetId;
use dtar::parity::{AddOptions, Places, RepairOptions, add, check, repair};
use files::contents as tree;
use libfuzzer_sys::fuzz_target;
use std::fs;
use std::path::Path;

/// Takes numbers from the front of the data; zeros behind its end.
struct Source<'a>(&'a [u8]);

impl Source<'_> {
    fn byte(&mut self) -> u8 {
        let (&first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        first
    }

    fn number(&mut self) -> usize {
        usize::from(u16::from_le_bytes([self.byte(), self.byte()]))
    }

    /// Changes a byte of `bytes`, or cuts them, or puts a number in place of four.
    fn harm(&mut self, bytes: &mut Vec<u8>) {
        let (how, at) = (self.byte(), self.number());
        let Some(at) = at.checked_rem(bytes.len()) else {
            return;
        };
        match how % 4 {
            0 => bytes[at] ^= self.byte() | 1,
            1 => bytes.truncate(at),
            2 => bytes[at] = self.byte(),
            _ => {
                let number = (self.number() as u32) << (self.byte() % 17);
                let end = bytes.len().min(at + 4);
                bytes[at..end].copy_from_slice(&number.to_le_bytes()[..end - at]);
            }
        }
    }
}

fn name_of(path: &Path) -> &str {
    path.file_stem().unwrap().to_str().unwrap()
}

/// The file again, with another description or other shards, all checks made good.
fn forge(source: &mut Source<'_>, bytes: &[u8]) -> Vec<u8> {
    let mut head = Head::decode(bytes).unwrap();
    let length = usize::try_from(head.description_length).unwrap();
    let end = bytes.len() - HEAD_LENGTH - length;
    let mut description = bytes[HEAD_LENGTH..HEAD_LENGTH + length].to_vec();
    let mut shards = bytes[HEAD_LENGTH + length..end].to_vec();
    for _ in 0..source.byte() % 4 {
        source.harm(&mut description);
    }
    for _ in 0..source.byte() % 3 {
        source.harm(&mut shards);
    }
    head.set = SetId(*blake3(&description).as_bytes());
    head.description_length = description.len() as u64;
    match source.byte() % 8 {
        0 => head.count = source.number() as u32 % 100 + 1,
        1 => head.first = source.number() as u32 % 100,
        2 => head.stripes = source.number() as u32 + 1,
        _ => {}
    }
    let head = head.encode();
    let mut forged = [&head[..], &description, &shards, &description, &head].concat();
    for _ in 0..source.byte() % 3 {
        source.harm(&mut forged);
    }
    forged
}

fn blake3(bytes: &[u8]) -> blake3::Hash {
    blake3::hash(bytes)
}

fn sets(source: &mut Source<'_>) {
    let base = Path::new("/dev/shm");
    let dir = if base.is_dir() {
        tempfile::tempdir_in(base)
    } else {
        tempfile::tempdir()
    };
    let dir = dir.unwrap();
    let mut bricks = Vec::new();
    for number in 0..source.byte() % 5 + 1 {
        let length = source.number() % 20_000 + 1;
        let mut bytes = vec![number; length];
        bytes[0] = source.byte();
        let path = dir
            .path()
            .join(format!("{}.brick", blake3(&bytes).to_hex()));
        fs::write(&path, &bytes).unwrap();
        bricks.push(path);
    }
    let places = Places::new(dir.path(), &[]).unwrap();
    let monitor = Monitor::default();
    let options = AddOptions {
        share: format!("{}%", source.byte() % 100 + 1).parse().unwrap(),
        group: usize::from(source.byte() % 4 + 1),
        merge: source.byte() & 1 > 0,
    };
    add(&places, &options, &monitor, &mut || {}).unwrap();
    let sound = tree(dir.path());
    for (path, bytes) in &sound {
        if path.extension().is_some_and(|ending| ending == "parity") && source.byte() & 1 > 0 {
            fs::remove_file(path).unwrap();
            let forged = forge(source, bytes);
            let name = format!("{}.parity", blake3(&forged).to_hex());
            fs::write(path.with_file_name(name), forged).unwrap();
        }
    }
    let harmed = source.byte();
    for (number, path) in bricks
        .iter()
        .enumerate()
        .filter(|(number, _)| harmed >> number & 1 > 0)
    {
        let _ = number;
        if source.byte() & 1 > 0 {
            let _ = fs::remove_file(path);
        } else if let Ok(mut bytes) = fs::read(path) {
            source.harm(&mut bytes);
            fs::write(path, bytes).unwrap();
        }
    }
    let before = tree(dir.path());
    let found = check(&places, &monitor, &mut |_| {}).unwrap();
    assert_eq!(tree(dir.path()), before, "a check alters nothing");
    let summary = repair(
        &places,
        &RepairOptions::default(),
        &monitor,
        &mut || {},
        &mut |_| {},
    )
    .unwrap();
    assert!(summary.restored.len() as u64 <= found.missing + found.damaged);
    for (path, bytes) in tree(dir.path()) {
        let is_new = before.get(&path) != Some(&bytes);
        let kind = path.extension().unwrap_or_default();
        if is_new && kind == "brick" {
            assert_eq!(name_of(&path), blake3(&bytes).to_hex().as_str());
        } else if is_new {
            assert_eq!(kind, "parity", "{}", path.display());
            assert_eq!(name_of(&path), blake3(&bytes).to_hex().as_str());
        }
    }
    // What was sound stays so, and nobody puts bricks of his own beside it.
    for (path, bytes) in &before {
        if sound.get(path) == Some(bytes) && path.extension().unwrap() == "brick" {
            assert_eq!(&fs::read(path).unwrap(), bytes);
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&mode, data)) = data.split_first() else {
        return;
    };
    if mode & 1 > 0 {
        sets(&mut Source(data));
        return;
    }
    if let Ok(head) = Head::decode(data) {
        assert_eq!(Head::decode(&head.encode()), Ok(head));
        assert!(head.file_length() > head.end_of_shards());
    }
    if let Ok(description) = Description::decode(data) {
        let written = description.encode();
        assert!(data.starts_with(&written) || data[8..16] != written[8..16]);
        assert_eq!(written.len() as u64, description.shape.description_length());
        assert_eq!(Description::decode(&written), Ok(description.clone()));
        let shape = &description.shape;
        assert!(shape.keeps_limits());
        let rounded = u64::from(shape.recovery).next_power_of_two();
        assert!(rounded * u64::from(shape.shard_length) <= MAX_STRIPE_PARITY);
        assert!(u64::from(shape.stripes) * shape.members.len() as u64 <= MAX_PARTS);
        let files: u32 = shape.files().map(|(_, count)| count).sum();
        assert_eq!(files, shape.recovery);
        for stripe in 0..shape.stripes.min(100) {
            let part = |member: &dtar::format::parity::Member| {
                let part = shape.part(shape.shards(member.length), stripe);
                part.end - part.start
            };
            assert!(shape.members.iter().map(part).sum::<u64>() <= shape.stripe_shards());
        }
    }
});
