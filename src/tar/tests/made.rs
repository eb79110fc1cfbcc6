//! Archives that other programs make here and now.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::Path;
use std::process::Command;

use super::super::{BodyKind, Globals, Member};
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

/// What the program prints; `None` if there is no such program.
fn run(program: &str, arguments: &[&str], folder: &Path, input: &[u8]) -> Option<Vec<u8>> {
    let stdin = tempfile::tempfile().unwrap();
    (&stdin).write_all(input).unwrap();
    std::io::Seek::rewind(&mut &stdin).unwrap();
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("LC_ALL", "C.UTF-8")
        .stdin(stdin)
        .output();
    match output {
        Ok(output) => {
            assert!(output.status.success(), "{program} {arguments:?}");
            Some(output.stdout)
        }
        Err(_) => {
            assert!(std::env::var_os("CI").is_none(), "{program} is missing");
            None
        }
    }
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
    let folder = tempfile::tempdir().unwrap();
    tree(folder.path());
    let formats: [(&str, &[&str]); 11] = [
        ("tar", &["-c", "--format=gnu"]),
        ("tar", &["-c", "--format=oldgnu"]),
        ("tar", &["-c", "--format=posix"]),
        ("tar", &["-cS", "--format=gnu"]),
        ("tar", &["-cS", "--format=posix", "--sparse-version=0.0"]),
        ("tar", &["-cS", "--format=posix", "--sparse-version=0.1"]),
        ("tar", &["-cS", "--format=posix", "--sparse-version=1.0"]),
        ("tar", &["-c", "--format=gnu", "--incremental"]),
        (
            "tar",
            &[
                "-c",
                "--format=posix",
                "--pax-option=globexthdr.name=g,comment=x",
            ],
        ),
        ("bsdtar", &["-c", "--format=pax", "-f", "-"]),
        ("bsdtar", &["-c", "--format=gnutar", "-f", "-"]),
    ];
    for (program, arguments) in formats {
        let arguments = [arguments, &["."]].concat();
        let Some(stream) = run(program, &arguments, folder.path(), &[]) else {
            continue;
        };
        let members = members(&stream);
        for reader in ["tar", "bsdtar"] {
            let Some(listed) = run(reader, &["-tf", "-"], folder.path(), &stream) else {
                continue;
            };
            let listed = String::from_utf8(listed).unwrap();
            assert_eq!(names(&members), listed, "{program} {arguments:?} {reader}");
        }
        let size = |name: &str| {
            let found = members
                .iter()
                .find(|member| member.name.ends_with(name.as_bytes()));
            found.unwrap().size
        };
        assert_eq!((size("sparse"), size("block")), (3_000_003, 512));
        assert!(
            !check(&stream).iter().any(|segment| matches!(
                segment,
                Segment::Body {
                    kind: BodyKind::Opaque,
                    ..
                }
            )),
            "{program} {arguments:?}"
        );
    }
}
