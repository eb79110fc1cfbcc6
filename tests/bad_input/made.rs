//! An archive to be damaged: sandbox, stream and index.

use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::common::block::Stream;
use crate::common::sandbox::{Run, Sandbox};
use crate::common::source::Random;

/// A finished archive.
pub struct Made {
    /// Where its store, key and catalog are.
    pub sandbox: Sandbox,
    /// What was archived.
    pub stream: Vec<u8>,
    /// The index.
    pub index: PathBuf,
}

impl Made {
    /// Three small members, the second of noise, in one brick of one frame.
    pub fn small() -> Self {
        let stream = Stream::new()
            .file("first", b"some text\n")
            .file("second", &Random(1).bytes(20_000))
            .file("third", &b"again and again ".repeat(100))
            .end();
        Self::of(stream)
    }

    /// As [`Made::small`], but each body is one chunk.
    pub fn three_chunks() -> Self {
        let stream = Stream::new()
            .file("first", b"some text\n")
            .file("second", &Random(1).bytes(2000))
            .file("third", &b"again and again ".repeat(100))
            .end();
        Self::of(stream)
    }

    /// Three members of noise, one chunk each, each in a brick of its own.
    pub fn three_bricks() -> Self {
        let mut made = Self::of(Stream::new().end());
        let mut stream = Stream::new();
        for (seed, name) in [(1, "first"), (2, "second"), (3, "third")] {
            stream = stream.file(name, &Random(seed).bytes(2000));
            made.index = made.sandbox.archive("index.tar", &stream.clone().end()[..]);
        }
        made.stream = stream.end();
        assert_eq!(made.bricks().len(), 3);
        made
    }

    /// About 15 MiB of noise in members `0`, `1` … of [`Made::PART`] bytes, so few that
    /// no record holds a list: in one brick, two frames of 6 MiB and a rest.
    pub fn many() -> Self {
        let member = |stream: Stream, number: u64| {
            stream.file(&number.to_string(), &Random(number).bytes(Self::PART))
        };
        Self::of((0..Self::PARTS).fold(Stream::new(), member).end())
    }

    /// Length of a body of [`Made::many`].
    pub const PART: usize = 256 << 10;
    /// The number of its members.
    pub const PARTS: u64 = 60;

    /// An archive of `stream`.
    pub fn of(stream: Vec<u8>) -> Self {
        let sandbox = Sandbox::new();
        let index = sandbox.archive("index.tar", &stream[..]);
        Self {
            sandbox,
            stream,
            index,
        }
    }

    /// Archives the stream once more, with more `arguments`.
    pub fn archive_again(&self, arguments: &[&str]) -> Run {
        let index = self.sandbox.path().join("again.tar");
        self.sandbox.archive_to(arguments, &self.stream[..], &index)
    }

    /// Restores with more `arguments`.
    pub fn restore(&self, arguments: &[&str]) -> Run {
        self.restore_index(&self.index, arguments)
    }

    /// Restores another index with more `arguments`.
    pub fn restore_index(&self, index: &Path, arguments: &[&str]) -> Run {
        let mut all = vec!["restore", index.to_str().unwrap()];
        all.extend(arguments);
        self.sandbox.run(all)
    }

    /// Panics unless the index restores to the stream.
    #[track_caller]
    pub fn is_whole(&self) {
        self.sandbox.restores(&self.index, &self.stream[..]);
    }

    /// The bricks' files, sorted.
    pub fn bricks(&self) -> Vec<PathBuf> {
        self.stored("brick")
    }

    /// The sidecars, sorted.
    pub fn sidecars(&self) -> Vec<PathBuf> {
        self.stored("toc")
    }

    fn stored(&self, extension: &str) -> Vec<PathBuf> {
        let mut files = self.sandbox.stored_files();
        files.retain(|path| path.extension().is_some_and(|found| found == extension));
        files
    }

    /// The one brick.
    #[track_caller]
    pub fn brick(&self) -> PathBuf {
        let mut bricks = self.bricks();
        assert_eq!(bricks.len(), 1, "not one brick");
        bricks.remove(0)
    }

    /// `store.toml`.
    pub fn config(&self) -> PathBuf {
        self.sandbox.store().join("store.toml")
    }

    /// How many roots there are.
    pub fn roots(&self) -> usize {
        std::fs::read_dir(self.sandbox.store().join("roots")).map_or(0, Iterator::count)
    }
}

/// The end of a run that had to fail before anything came out.
#[track_caller]
pub fn refused(run: Run, code: i32, words: &[&str]) {
    let run = run.exits(code).says(words);
    assert!(run.stdout.is_empty(), "something came out");
}

/// Panics unless what came out is the beginning of `stream`, and not all of it.
#[track_caller]
pub fn is_beginning(found: &[u8], stream: &[u8]) {
    assert!(found.len() < stream.len(), "all of it came out");
    assert!(stream.starts_with(found), "what came out is wrong");
}

/// The text of a path, for messages.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Flips bits of one byte of a file.
pub fn flip(path: &Path, offset: u64, bits: u8) {
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ bits], offset).unwrap();
}

/// Cuts a file.
pub fn cut(path: &Path, length: u64) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_len(length).unwrap();
}

/// A file's length.
pub fn length(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

/// The parts of a brick, as `formats/brick.md` has them.
pub struct BrickParts {
    /// Header and sealed bytes of each frame.
    pub frames: Vec<(Range<u64>, Range<u64>)>,
    /// The table of contents.
    pub toc: Range<u64>,
    /// The last 64 bytes.
    pub footer: Range<u64>,
}

/// Finds the parts of a sound brick.
pub fn brick_parts(path: &Path) -> BrickParts {
    let bytes = std::fs::read(path).unwrap();
    let number = |at: u64| {
        let at = usize::try_from(at).unwrap();
        u64::from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()))
    };
    let (mut frames, mut at) = (Vec::new(), 80);
    while bytes[usize::try_from(at).unwrap()..].starts_with(b"dtarFRAM") {
        let sealed = at + number(at + 16);
        let end = sealed + number(at + 20);
        frames.push((at..sealed, sealed..end));
        at = end;
    }
    let footer = bytes.len() as u64 - 64;
    BrickParts {
        frames,
        toc: at..footer,
        footer: footer..footer + 64,
    }
}
