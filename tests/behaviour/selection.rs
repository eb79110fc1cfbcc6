//! `restore INDEX PATTERN…`: which members, and a tar that readers take.

use std::path::{Path, PathBuf};

use crate::common::block::{Header, Stream};
use crate::common::sandbox::{Run, Sandbox};
use crate::common::shell::{have, must};
use crate::tree;

fn select(sandbox: &Sandbox, index: &Path, patterns: &[&str]) -> (Run, PathBuf) {
    let path = sandbox.path().join("selected.tar");
    let (run, ()) = sandbox.restore_with(index, patterns, |mut stdout| {
        let mut file = std::fs::File::create(&path).unwrap();
        std::io::copy(&mut stdout, &mut file).unwrap();
    });
    (run, path)
}

/// The names that each of three readers lists, which must be the same.
#[track_caller]
fn names(tar: &Path) -> Vec<String> {
    let listed = [
        "tar -tf \"$1\"",
        "bsdtar -tf \"$1\"",
        "python3 -c 'import sys, tarfile
for member in tarfile.open(sys.argv[1]): print(member.name + \"/\" * member.isdir())' \"$1\"",
    ]
    .map(|reader| {
        let text = must(Path::new("/"), reader, &[tar.to_str().unwrap()]);
        String::from_utf8(text).unwrap()
    });
    assert_eq!(listed[0], listed[1]);
    // Python cuts the slash that the archive has.
    assert_eq!(listed[0], listed[2]);
    listed[0].lines().map(str::to_owned).collect()
}

fn readers() -> bool {
    ["tar", "bsdtar", "python3"].iter().all(|tool| have(tool))
}

fn home() -> Vec<u8> {
    let dir = |name: &str| Header::file(name, 0).typeflag(b'5');
    Stream::new()
        .header(&dir("etc/"))
        .file("etc/passwd", b"root")
        .header(&dir("etc/ssh/"))
        .file("etc/ssh/config", &[b'c'; 1000])
        .file("etcetera", b"not in etc")
        .header(&dir("home/"))
        .header(&dir("home/a/"))
        .header(&dir("home/a/.ssh/"))
        .file("home/a/.ssh/id", b"secret")
        .file("home/a/notes", b"notes")
        .file("home/b/.ssh", b"a file")
        .file("home/b/deep/.ssh", b"too deep")
        .end()
}

#[test]
fn folders_globs_and_several_patterns() {
    if !readers() {
        return;
    }
    let sandbox = Sandbox::new();
    let index = sandbox.archive("index.tar", &home()[..]);
    for (patterns, expected) in [
        (
            &["etc/"][..],
            &["etc/", "etc/passwd", "etc/ssh/", "etc/ssh/config"][..],
        ),
        (&["etc/ssh"], &["etc/ssh/", "etc/ssh/config"]),
        (
            &["home/*/.ssh"],
            &["home/a/.ssh/", "home/a/.ssh/id", "home/b/.ssh"],
        ),
        (
            &["home/**/.ssh", "etcetera"],
            &[
                "etcetera",
                "home/a/.ssh/",
                "home/a/.ssh/id",
                "home/b/.ssh",
                "home/b/deep/.ssh",
            ],
        ),
        (&["./etc/passwd", "etc/passwd"], &["etc/passwd"]),
    ] {
        let (run, path) = select(&sandbox, &index, patterns);
        run.exits(0);
        assert_eq!(names(&path), expected, "{patterns:?}");
    }
}

#[test]
fn a_pattern_that_matches_nothing_is_named() {
    let sandbox = Sandbox::new();
    let index = sandbox.archive("index.tar", &home()[..]);
    let (run, _) = select(&sandbox, &index, &["etc/shadow", "etc/passwd", "*.gone"]);
    let run = run
        .exits(1)
        .says(&["etc/shadow: no member", "*.gone: no member"]);
    assert!(!run.stderr.contains("etc/passwd"), "{}", run.stderr);
    // What did match is there all the same.
    if readers() {
        assert_eq!(names(&sandbox.path().join("selected.tar")), ["etc/passwd"]);
    }
    let run = sandbox.run(["ls", "index.tar", "etc/shadow"]).exits(1);
    run.says(&["etc/shadow: no member"]);
    let (run, _) = select(&sandbox, &index, &["["]);
    run.exits(2).says(&["pattern"]);
}

#[test]
fn a_hard_link_without_its_target_is_warned_about() {
    let sandbox = Sandbox::new();
    let stream = Stream::new()
        .file("target", b"linked")
        .header(&Header::file("link", 0).link("target").typeflag(b'1'))
        .end();
    let index = sandbox.archive("index.tar", &stream[..]);
    let (run, path) = select(&sandbox, &index, &["link"]);
    run.exits(0)
        .says(&["link: a hard link to target, which is not selected"]);
    if readers() {
        assert_eq!(names(&path), ["link"]);
    }
    for patterns in [&["link", "target"][..], &["*"]] {
        let (run, path) = select(&sandbox, &index, patterns);
        assert!(!run.exits(0).stderr.contains("hard link"), "{patterns:?}");
        if readers() {
            assert_eq!(names(&path), ["target", "link"]);
        }
    }
}

#[test]
fn long_names_and_their_links_come_with_their_extension_headers() {
    if !readers() {
        return;
    }
    let dir = tree::rich();
    for format in ["gnu", "posix", "ustar"] {
        // ustar cannot hold all of it, and leaves that out.
        let text = format!("tar --sort=name --format={format} -cf all.tar t 2>errors; cat all.tar");
        let stream = must(dir.path(), &text, &[]);
        let sandbox = Sandbox::new();
        let index = sandbox.archive("index.tar", &stream[..]);
        let all = names(&dir.path().join("all.tar"));
        for (pattern, part) in [
            ("t/hard-long", "t/hard-long"),
            ("t/soft-long", "t/soft-long"),
            ("t/ddd*", "t/ddd"),
            ("t/gr*", "t/gr"),
        ] {
            let expected: Vec<_> = all
                .iter()
                .filter(|name| name.starts_with(part))
                .cloned()
                .collect();
            let (run, path) = select(&sandbox, &index, &[pattern]);
            run.exits(i32::from(expected.is_empty()));
            assert_eq!(names(&path), expected, "{format}, {pattern}");
            let selected = path.to_str().unwrap();
            must(
                dir.path(),
                "diff <(tar -tvf all.tar | grep -F \" $2\" | tr -s ' ') <(tar -tvf \"$1\" | tr -s ' ')",
                &[selected, part],
            );
        }
    }
}

#[test]
fn sparse_members_come_out_whole() {
    if !readers() {
        return;
    }
    let dir = tree::sparse();
    for format in [
        "gnu",
        "posix --sparse-version=0.0",
        "posix --sparse-version=0.1",
        "posix",
    ] {
        let text = format!("tar --sort=name -S --format={format} -cf all.tar t; cat all.tar");
        let stream = must(dir.path(), &text, &[]);
        let sandbox = Sandbox::new();
        let index = sandbox.archive("index.tar", &stream[..]);
        let (run, path) = select(&sandbox, &index, &["t/many", "t/few", "t/hole-only"]);
        run.exits(0);
        must(
            dir.path(),
            "rm -rf out; mkdir out; tar -xf \"$1\" -C out
             test $(ls out/t | wc -l) = 3
             for name in many few hole-only; do cmp t/$name out/t/$name; done",
            &[path.to_str().unwrap()],
        );
    }
}

#[test]
fn global_headers_stay_in_force() {
    if !readers() {
        return;
    }
    let stream = Stream::new()
        .pax(b'g', &[("uname", b"early")])
        .file("one", b"1")
        .pax(b'g', &[("uname", b"late")])
        .file("two", b"2")
        .end();
    let sandbox = Sandbox::new();
    let index = sandbox.archive("index.tar", &stream[..]);
    for (pattern, owner) in [("one", "early"), ("two", "late")] {
        let (run, path) = select(&sandbox, &index, &[pattern]);
        run.exits(0);
        assert_eq!(names(&path), [pattern]);
        let listing = must(Path::new("/"), "tar -tvf \"$1\"", &[path.to_str().unwrap()]);
        let listing = String::from_utf8(listing).unwrap();
        assert!(listing.contains(&format!("{owner}/")), "{listing}");
    }
}
