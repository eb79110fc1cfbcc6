//! Indexes cut short, altered, foreign, or none at all.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use dtar::error::Exit;
use dtar::index::IndexFile;
use dtar::restore::{Origin, open_index};
use dtar::store::Store;
use dtar::{Result, key_file};

use crate::common::block::Stream;
use crate::common::source::Random;
use crate::made::{Made, cut, flip, is_beginning, length, refused, text};

/// Where the structures of an index begin (`formats/index.md`).
struct Parts {
    trailer: u64,
    sections: Vec<u64>,
    seal: u64,
    end: u64,
}

fn parts(index: &Path) -> Parts {
    let bytes = fs::read(index).unwrap();
    let end = bytes.len() - 64;
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let place = |number: u64| usize::try_from(number).unwrap();
    let trailer = number(end + 16);
    let mut sections = Vec::new();
    let mut at = trailer + 24;
    loop {
        sections.push(at);
        let here = place(at);
        if &bytes[here..here + 4] == b"DONE" {
            break;
        }
        at += 16 + number(here + 8);
    }
    assert!(sections.len() > 5, "{} sections", sections.len());
    Parts {
        trailer,
        sections,
        seal: end as u64 - 32,
        end: end as u64,
    }
}

/// What restore does before the first byte comes out, without a process.
struct Opener {
    origin: Origin,
    key: dtar::crypto::Key,
}

impl Opener {
    fn new(made: &Made) -> Self {
        let key = key_file::load(&made.sandbox.key(), &mut |_| unreachable!()).unwrap();
        let store = Store::open(&made.sandbox.store(), &key).unwrap();
        Self {
            origin: Origin::from(&store),
            key,
        }
    }

    fn open(&self, index: &Path) -> Result<()> {
        open_index(&IndexFile::open(index)?, &self.origin, &self.key).map(drop)
    }

    /// Panics unless the index is refused, by an error that names it.
    #[track_caller]
    fn refuses(&self, index: &Path, what: &str) {
        let Err(error) = self.open(index) else {
            panic!("{what}: accepted");
        };
        let message = error.to_string();
        assert!(message.contains(text(index)), "{what}: {message}");
        assert!(
            matches!(error.exit(), Exit::Failed | Exit::Damaged),
            "{what}: {message}"
        );
    }
}

/// A copy of an index, to be damaged.
fn copy(made: &Made) -> PathBuf {
    let path = made.sandbox.path().join("copy.tar");
    fs::copy(&made.index, &path).unwrap();
    path
}

#[test]
fn a_flipped_byte_is_noticed_at_every_offset() {
    let made = Made::small();
    let opener = Opener::new(&made);
    let index = copy(&made);
    opener.open(&index).unwrap();
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(&index)
        .unwrap();
    let bytes = fs::read(&index).unwrap();
    for (offset, &byte) in bytes.iter().enumerate() {
        for bits in [0x01, 0x80, 0xff] {
            file.write_all_at(&[byte ^ bits], offset as u64).unwrap();
            opener.refuses(&index, &format!("byte {offset} ^ {bits:#x}"));
        }
        file.write_all_at(&[byte], offset as u64).unwrap();
    }
    opener.open(&index).unwrap();
}

#[test]
fn an_index_cut_at_any_length_is_refused() {
    let made = Made::small();
    let opener = Opener::new(&made);
    let index = copy(&made);
    for end in (0..length(&index)).rev() {
        cut(&index, end);
        opener.refuses(&index, &format!("cut at {end}"));
    }
}

#[test]
fn bytes_behind_an_index_are_noticed() {
    let made = Made::small();
    let opener = Opener::new(&made);
    let bytes = fs::read(&made.index).unwrap();
    let index = copy(&made);
    for behind in [&b"\n"[..], &[0; 512], &bytes, &bytes[bytes.len() - 512..]] {
        fs::write(&index, [&bytes, behind].concat()).unwrap();
        opener.refuses(&index, &format!("{} bytes behind", behind.len()));
    }
}

#[test]
fn the_command_refuses_flipped_bytes_and_nothing_comes_out() {
    let made = Made::small();
    let index = copy(&made);
    let parts = parts(&index);
    let mut offsets: Vec<u64> = (0..length(&index)).step_by(257).collect();
    offsets.extend([parts.trailer, parts.trailer + 16, parts.seal, parts.end - 1]);
    offsets.extend((parts.end..length(&index)).step_by(7));
    offsets.extend(
        parts
            .sections
            .iter()
            .flat_map(|at| [*at, at + 4, at + 8, at + 16]),
    );
    assert!(offsets.len() >= 40, "{} offsets", offsets.len());
    for offset in offsets {
        flip(&index, offset, 0x20);
        let run = made.restore_index(&index, &[]);
        assert!(matches!(run.code, Some(1 | 3)), "{offset}: {}", run.stderr);
        let code = run.code.unwrap();
        refused(run, code, &[text(&index)]);
        let listed = made.sandbox.run(["ls", text(&index)]);
        assert_eq!(listed.code, Some(code), "{offset}: {}", listed.stderr);
        flip(&index, offset, 0x20);
    }
    assert!(made.restore_index(&index, &[]).exits(0).stdout == made.stream);
}

#[test]
fn an_altered_name_or_mode_is_called_altered() {
    let made = Made::small();
    let index = copy(&made);
    let seal = parts(&index).seal.to_string();
    for offset in [0, 100, 136] {
        flip(&index, offset, 1);
        let words = [
            text(&index),
            "index altered",
            "seal at byte",
            &seal,
            "another copy",
        ];
        refused(made.restore_index(&index, &[]), 3, &words);
        refused(made.restore_index(&index, &["--keep-going"]), 3, &words);
        flip(&index, offset, 1);
    }
}

#[test]
fn a_damaged_end_names_its_byte() {
    let made = Made::small();
    let index = copy(&made);
    let end = parts(&index).end;
    for offset in [16, 24, 32, 40, 48, 63] {
        flip(&index, end + offset, 1);
        let words = [
            text(&index),
            "index end",
            "byte",
            "checksum",
            "another copy",
        ];
        refused(made.restore_index(&index, &[]), 3, &words);
        flip(&index, end + offset, 1);
    }
    flip(&index, end, 1);
    refused(
        made.restore_index(&index, &[]),
        3,
        &["incomplete index", "no trailer"],
    );
}

#[test]
fn an_index_of_a_newer_version_asks_for_a_newer_dtar() {
    let made = Made::small();
    let index = copy(&made);
    let Parts { trailer, end, .. } = parts(&index);
    for place in [trailer, end] {
        flip(&index, place + 8, 2);
        let words = [text(&index), "version 3", "use a newer dtar"];
        refused(made.restore_index(&index, &[]), 1, &words);
        flip(&index, place + 8, 2);
        flip(&index, place + 12, 4);
        let words = [text(&index), "feature bit 2", "use a newer dtar"];
        refused(made.restore_index(&index, &[]), 1, &words);
        flip(&index, place + 12, 4);
    }
}

#[test]
fn an_index_cut_at_its_structures_is_called_incomplete() {
    let made = Made::small();
    let whole = fs::read(&made.index).unwrap();
    let index = copy(&made);
    let Parts {
        trailer,
        sections,
        seal,
        end,
    } = parts(&index);
    let mut places = vec![trailer - 1024, trailer - 512, trailer, trailer + 24];
    places.extend(
        sections
            .iter()
            .flat_map(|at| [*at, at + 8, at + 16, at + 17]),
    );
    places.extend([seal, seal + 16, end, end + 8, end + 63]);
    places.extend((1024..trailer).step_by(512));
    for place in places {
        fs::write(&index, &whole).unwrap();
        cut(&index, place);
        let found = format!("{place} bytes");
        let words = [
            text(&index),
            "incomplete index",
            &found,
            "no trailer",
            "interrupted",
            "restore --incomplete",
        ];
        refused(made.restore_index(&index, &[]), 3, &words);
        refused(made.sandbox.run(["ls", text(&index)]), 3, &words);
    }
}

#[test]
fn incomplete_restores_what_a_cut_index_still_gives() {
    let made = Made::small();
    let whole = fs::read(&made.index).unwrap();
    let index = copy(&made);
    let trailer = parts(&index).trailer;
    let mut most = 0;
    for place in (0..trailer).step_by(512).chain([trailer - 1, 700, 1500]) {
        fs::write(&index, &whole).unwrap();
        cut(&index, place);
        let run = made
            .restore_index(&index, &["--incomplete"])
            .exits(3)
            .says(&[
                "without a trailer",
                "only chunks are verified",
                "stopped",
                "byte",
            ]);
        is_beginning(&run.stdout, &made.stream);
        most = most.max(run.stdout.len());
    }
    // All but the zero blocks at the end.
    assert_eq!(most, made.stream.len() - 1024);
}

#[test]
fn incomplete_takes_a_whole_index_as_usual() {
    let made = Made::small();
    let run = made.restore(&["--incomplete"]).exits(0);
    assert!(run.stdout == made.stream);
    assert!(!run.stderr.contains("without a trailer"), "{}", run.stderr);
}

#[test]
fn incomplete_does_not_take_an_altered_index() {
    let made = Made::small();
    let index = copy(&made);
    flip(&index, 0, 1);
    refused(
        made.restore_index(&index, &["--incomplete"]),
        3,
        &["index altered"],
    );
}

#[test]
fn an_index_of_another_store_names_both() {
    let made = Made::small();
    let other = Made::small();
    let id = |made: &Made| {
        let config = fs::read_to_string(made.config()).unwrap();
        let line = config
            .lines()
            .find(|line| line.starts_with("store-id"))
            .unwrap();
        line.split('"').nth(1).unwrap().to_owned()
    };
    let (expected, found) = (id(&made), id(&other));
    let words = [text(&other.index), "belongs to store", &expected, &found];
    refused(made.restore_index(&other.index, &[]), 1, &words);
    refused(made.sandbox.run(["ls", text(&other.index)]), 1, &words);
}

#[test]
fn what_is_no_index_is_called_so() {
    let made = Made::small();
    let path = made.sandbox.path().join("other");
    let gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0";
    for (what, bytes) in [
        ("text", &b"dear reader\n"[..]),
        ("a plain tar", &made.stream),
        ("nothing", b""),
        ("gzip", gzip),
        ("noise", &Random(5).bytes(10_000)),
        ("a brick", &fs::read(made.brick()).unwrap()),
    ] {
        fs::write(&path, bytes).unwrap();
        let words = [
            text(&path),
            "not a dtar index",
            "give the file that `dtar` wrote",
        ];
        println!("{what}");
        refused(made.restore_index(&path, &[]), 1, &words);
        refused(made.sandbox.run(["ls", text(&path)]), 1, &words);
        let run = made.restore_index(&path, &["--incomplete"]);
        assert!(matches!(run.code, Some(1 | 3)), "{what}: {}", run.stderr);
    }
}

#[test]
fn a_folder_or_a_missing_file_is_no_index() {
    let made = Made::small();
    let store = made.sandbox.store();
    refused(
        made.restore_index(&store, &[]),
        1,
        &[text(&store), "not a dtar index", "folder"],
    );
    let missing = made.sandbox.path().join("missing");
    refused(
        made.restore_index(&missing, &[]),
        1,
        &["cannot open", text(&missing)],
    );
}

/// The index compressed with zstd, at `copy.tar.zst`.
fn compressed(made: &Made) -> PathBuf {
    let path = made.sandbox.path().join("copy.tar.zst");
    let index = fs::read(&made.index).unwrap();
    fs::write(&path, zstd::encode_all(&index[..], 3).unwrap()).unwrap();
    path
}

#[test]
fn a_compressed_index_cut_anywhere_is_refused() {
    let made = Made::small();
    let index = compressed(&made);
    assert!(made.restore_index(&index, &[]).exits(0).stdout == made.stream);
    let whole = fs::read(&index).unwrap();
    let opener = Opener::new(&made);
    for end in 0..whole.len() {
        fs::write(&index, &whole[..end]).unwrap();
        opener.refuses(&index, &format!("cut at {end}"));
    }
    for end in (4..whole.len()).step_by(whole.len() / 20) {
        fs::write(&index, &whole[..end]).unwrap();
        let words = [
            text(&index),
            "compressed index cut short or damaged",
            "another copy",
            "zstd -dc",
            "--incomplete",
        ];
        refused(made.restore_index(&index, &[]), 3, &words);
    }
}

#[test]
fn a_compressed_index_altered_anywhere_is_refused() {
    // Noise, which zstd does not shrink: flips in it reach the index itself.
    let made = Made::small();
    let index = compressed(&made);
    let opener = Opener::new(&made);
    let plain = fs::read(&made.index).unwrap();
    let whole = fs::read(&index).unwrap();
    for offset in 0..whole.len() {
        for bits in [0x01, 0x80] {
            let mut bytes = whole.clone();
            bytes[offset] ^= bits;
            // Some bits of a zstd frame do not matter to its content.
            if zstd::decode_all(&bytes[..]).is_ok_and(|bytes| bytes == plain) {
                continue;
            }
            fs::write(&index, &bytes).unwrap();
            opener.refuses(&index, &format!("byte {offset} ^ {bits:#x}"));
        }
    }
    for offset in (4..whole.len()).step_by(whole.len() / 20) {
        let mut bytes = whole.clone();
        bytes[offset] ^= 0x55;
        fs::write(&index, &bytes).unwrap();
        let run = made.restore_index(&index, &[]);
        assert!(matches!(run.code, Some(1 | 3)), "{offset}: {}", run.stderr);
        let code = run.code.unwrap();
        refused(run, code, &[text(&index)]);
    }
}

#[test]
fn something_else_in_zstd_is_no_index() {
    let made = Made::small();
    let path = made.sandbox.path().join("other.zst");
    for bytes in [&b"dear reader\n"[..], &made.stream, b""] {
        fs::write(&path, zstd::encode_all(bytes, 3).unwrap()).unwrap();
        refused(
            made.restore_index(&path, &[]),
            1,
            &[text(&path), "not a dtar index"],
        );
    }
}

#[test]
fn an_index_piped_in_is_checked_as_well() {
    let made = Made::small();
    let index = copy(&made);
    let restore = || {
        let output = made
            .sandbox
            .command(["restore", "-"])
            .stdin(fs::File::open(&index).unwrap())
            .output()
            .unwrap();
        (output.status.code(), output.stdout, output.stderr)
    };
    assert!(restore().1 == made.stream);
    flip(&index, 0, 1);
    let (code, stdout, stderr) = restore();
    assert_eq!((code, stdout), (Some(3), Vec::new()));
    assert!(String::from_utf8(stderr).unwrap().contains("index altered"));
}

#[test]
fn a_pattern_without_a_match_is_named() {
    let made = Made::small();
    let run = made
        .restore(&["second", "nowhere"])
        .exits(1)
        .says(&["nowhere", "no member"]);
    // The members that match come out all the same, as a valid tar.
    assert!(
        run.stdout
            .starts_with(&Stream::new().file("second", &Random(1).bytes(20_000)).0)
    );
    refused(made.restore(&["["]), 2, &["pattern", "["]);
}
