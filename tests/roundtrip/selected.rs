//! `dtar restore INDEX PATTERN…` gives a valid tar of just the members that match.

use std::path::Path;

use crate::common::sandbox::Sandbox;
use crate::common::shell::{have, must};
use crate::tree;

/// What restoring with `patterns` writes, in a file.
fn select(sandbox: &Sandbox, index: &Path, patterns: &[&str]) -> std::path::PathBuf {
    let path = sandbox.path().join("selected.tar");
    let (run, ()) = sandbox.restore_with(index, patterns, |mut stdout| {
        let mut file = std::fs::File::create(&path).unwrap();
        std::io::copy(&mut stdout, &mut file).unwrap();
    });
    run.exits(0);
    path
}

fn names(tar: &Path) -> String {
    let listing = must(Path::new("/"), "tar -tf \"$1\"", &[tar.to_str().unwrap()]);
    String::from_utf8(listing).unwrap()
}

#[test]
fn members_that_match_come_out_whole() {
    if !have("tar") {
        return;
    }
    let dir = tree::rich();
    for format in ["gnu", "posix"] {
        let text = format!("tar --sort=name --format={format} -cf all.tar t; cat all.tar");
        let bytes = must(dir.path(), &text, &[]);
        let sandbox = Sandbox::new();
        let index = sandbox.archive("index.tar", &bytes[..]);
        for (pattern, expected) in [
            ("t/text", "t/text\n"),
            ("t/file-51?", "t/file-511\nt/file-512\nt/file-513\n"),
            ("t/large", "t/large\n"),
        ] {
            let selected = select(&sandbox, &index, &[pattern]);
            assert_eq!(names(&selected), expected, "{format}, {pattern}");
            assert_eq!(std::fs::metadata(&selected).unwrap().len() % 10_240, 0);
            must(
                dir.path(),
                "tar -xOf \"$1\" | cmp - <(tar -xOf all.tar $2)",
                &[selected.to_str().unwrap(), expected.trim()],
            );
        }
        let both = select(&sandbox, &index, &["t/text", "t/large"]);
        assert_eq!(names(&both), "t/large\nt/text\n");
        // Long names stand in extension headers, which belong to the member.
        let long = select(&sandbox, &index, &["t/a-name-of-more-than-*"]);
        assert_eq!(names(&long).lines().count(), 1);
    }
}

#[test]
fn everything_matches_a_pattern_for_everything() {
    if !have("tar") {
        return;
    }
    let dir = tree::sparse();
    let bytes = must(dir.path(), "tar --sort=name -S --format=posix -cf - t", &[]);
    let sandbox = Sandbox::new();
    let index = sandbox.archive("index.tar", &bytes[..]);
    let selected = select(&sandbox, &index, &["**"]);
    assert!(std::fs::read(selected).unwrap() == bytes);
}
