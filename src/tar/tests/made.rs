//! Archives that other programs make here and now, and what other programs
//! see in them and in their indexes.

use std::fs::{self, File};
use std::io::{Seek as _, Write as _};
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use super::super::rewrite::{Placement, place, write_size};
use super::super::{BLOCK, BodyKind, Globals, Member};
use super::corpus::corpus;
use super::{Segment, check};

/// A small tree with what tars find hard: long names, holes, links.
fn tree(folder: &Path) {
    let deep = folder.join("d".repeat(90)).join("e".repeat(90));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("f".repeat(90)), "long").unwrap();
    fs::write(folder.join("plain"), "plain").unwrap();
    fs::write(folder.join("empty"), "").unwrap();
    fs::write(folder.join("block"), [1; 512]).unwrap();
    fs::write(folder.join("\u{fc}"), [2; 513]).unwrap();
    fs::hard_link(folder.join("plain"), folder.join("hard")).unwrap();
    symlink("t".repeat(150), folder.join("soft")).unwrap();
    let sparse = File::create(folder.join("sparse")).unwrap();
    sparse.write_all_at(b"end", 3_000_000).unwrap();
    for index in 0..40 {
        sparse.write_all_at(b"data", 40_000 * index).unwrap();
    }
}

/// What the program prints; `None` if it fails, or if there is no such program.
fn run(program: &str, arguments: &[&str], folder: &Path, input: &[u8]) -> Option<Vec<u8>> {
    let mut stdin = tempfile::tempfile().unwrap();
    stdin.write_all(input).unwrap();
    stdin.rewind().unwrap();
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("LC_ALL", "C.UTF-8")
        .stdin(stdin)
        .stderr(Stdio::null())
        .output();
    let Ok(output) = output else {
        assert!(std::env::var_os("CI").is_none(), "{program} is missing");
        return None;
    };
    output.status.success().then_some(output.stdout)
}

const FORMATS: [(&str, &[&str]); 11] = [
    ("tar", &["--format=gnu"]),
    ("tar", &["--format=oldgnu"]),
    ("tar", &["--format=posix"]),
    ("tar", &["-S", "--format=gnu"]),
    ("tar", &["-S", "--format=posix", "--sparse-version=0.0"]),
    ("tar", &["-S", "--format=posix", "--sparse-version=0.1"]),
    ("tar", &["-S", "--format=posix", "--sparse-version=1.0"]),
    ("tar", &["--format=gnu", "--incremental"]),
    ("tar", &["--format=posix", "--pax-option=comment=x"]),
    ("bsdtar", &["--format=pax"]),
    ("bsdtar", &["--format=gnutar"]),
];

/// The tree in each format.
fn archives() -> Vec<(String, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    tree(folder.path());
    let mut archives = Vec::new();
    for (program, options) in FORMATS {
        let arguments = [&["-c", "-f", "-"], options, &["."]].concat();
        if let Some(stream) = run(program, &arguments, folder.path(), &[]) {
            archives.push((format!("{program} {options:?}"), stream));
        }
    }
    archives
}

/// The members of an archive.
fn members(stream: &[u8]) -> Vec<Member> {
    let mut globals = Globals::default();
    let mut members = Vec::new();
    for segment in check(stream) {
        let (Segment::Group(group)
        | Segment::Body {
            member: Some((group, _)),
            ..
        }) = segment
        else {
            continue;
        };
        globals.read(&group);
        members.extend(Member::parse(&group, &globals));
    }
    members
}

/// Names as `tar -t` prints them, in the order of the archive.
fn names(members: &[Member]) -> String {
    let mut text = String::new();
    for member in members {
        text += std::str::from_utf8(&member.name).unwrap();
        text.push('\n');
    }
    text
}

#[test]
fn archives_of_other_programs_are_understood() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, stream) in archives() {
        let members = members(&stream);
        for reader in ["tar", "bsdtar"] {
            if let Some(listed) = run(reader, &["-tf", "-"], folder, &stream) {
                let listed = String::from_utf8(listed).unwrap();
                assert_eq!(names(&members), listed, "{name} {reader}");
            }
        }
        let size = |name: &str| {
            let mut members = members.iter();
            members
                .find(|member| member.name.ends_with(name.as_bytes()))
                .unwrap()
                .size
        };
        assert_eq!((size("sparse"), size("block")), (3_000_003, 512), "{name}");
        let opaque = |segment: &Segment| {
            let kind = BodyKind::Opaque;
            matches!(segment, Segment::Body { kind: found, .. } if *found == kind)
        };
        assert!(!check(&stream).iter().any(opaque), "{name}");
    }
}

/// The members part of the stream's index, if each record were so long, and
/// the end of the archive.
fn index(stream: &[u8], record_length: usize) -> Vec<u8> {
    let mut index = Vec::new();
    for segment in check(stream) {
        match segment {
            Segment::Body {
                member: Some((mut group, head)),
                ..
            } => {
                let placement = place(&head, record_length);
                write_size(&mut group, &head, placement, record_length);
                index.extend(group);
                if placement == Placement::InPlace {
                    let end = index.len() + record_length.next_multiple_of(BLOCK);
                    index.extend(b"dtarBODY");
                    index.resize(end, 0);
                }
            }
            Segment::Body { kind, .. } => {
                if kind == BodyKind::Opaque {
                    index.extend([0xff; BLOCK]);
                }
            }
            other => other.append_to(&mut index),
        }
    }
    index.resize(index.len() + 2 * BLOCK, 0);
    index
}

/// For each file named: names, types, modes, times and order on one line;
/// `error` if it cannot be read.
const PYTHON: &str = "\
import sys, tarfile
for path in sys.argv[1:]:
    try:
        print(*[ascii([m.name, m.linkname, m.type, m.mode, m.uid, m.gid, m.uname, m.gname, m.mtime])
            for m in tarfile.open(path)])
    except Exception:
        print('error')
";

/// What a reader lists of each archive; `None` if it fails.
type Listings = Vec<Option<Vec<u8>>>;

/// What three readers list of each archive. There may be fewer readers.
fn listings(archives: &[Vec<u8>]) -> Vec<Listings> {
    let folder = tempfile::tempdir().unwrap();
    let mut paths: Vec<String> = Vec::new();
    for (index, archive) in archives.iter().enumerate() {
        let name = format!("{index}.tar");
        fs::write(folder.path().join(&name), archive).unwrap();
        paths.push(name);
    }
    let mut readers: Vec<Listings> = Vec::new();
    for reader in ["tar", "bsdtar"] {
        let list = |path: &String| run(reader, &["-tf", path], folder.path(), &[]);
        readers.push(paths.iter().map(list).collect());
    }
    let mut arguments = vec!["-c", PYTHON];
    arguments.extend(paths.iter().map(String::as_str));
    if let Some(text) = run("python3", &arguments, folder.path(), &[]) {
        let lines = text.split(|&byte| byte == b'\n').take(paths.len());
        let listing = |line: &[u8]| (line != b"error").then(|| line.to_vec());
        readers.push(lines.map(listing).collect());
    }
    readers
}

#[test]
fn readers_list_an_index_as_they_list_the_stream() {
    let (mut names, mut streams): (Vec<_>, Vec<_>) = archives().into_iter().unzip();
    for (name, stream) in corpus().into_iter().flatten() {
        names.push(name);
        streams.push(stream);
    }
    let of_streams = listings(&streams);
    let mut agreed = 0;
    for length in [80, 700] {
        let indexes: Vec<_> = streams.iter().map(|stream| index(stream, length)).collect();
        let of_indexes = listings(&indexes);
        for (at, name) in names.iter().enumerate() {
            let listed = of_streams.iter().map(|reader| &reader[at]);
            let listed: Vec<_> = listed.collect();
            // All must read the stream alike, or nothing is promised.
            if listed.contains(&&None) || listed[0] != listed[1] {
                continue;
            }
            agreed += 1;
            for (reader, of_reader) in listed.iter().zip(&of_indexes) {
                assert_eq!(**reader, of_reader[at], "{name} {length}");
            }
        }
    }
    let readable = of_streams
        .iter()
        .all(|reader| reader.iter().any(Option::is_some));
    assert!(
        agreed >= FORMATS.len() || !readable,
        "{agreed} listings compared"
    );
}
