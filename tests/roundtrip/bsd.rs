//! Streams of bsdtar, tar and others.

use tempfile::TempDir;

use crate::check::{all_ways, all_ways_listed};
use crate::common::Case;
use crate::common::shell::{have, script};
use crate::tree;

fn bsdtar(dir: &TempDir, options: &str) -> Case {
    let text = format!("bsdtar -cf - {options}");
    let output = script(dir.path(), &text, &[]);
    assert!(
        !output.stdout.is_empty(),
        "{text}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Case::new(text, output.stdout)
}

#[test]
fn plain_trees_in_every_format() {
    if !have("bsdtar") {
        return;
    }
    let dir = tree::plain();
    let cases = ["pax", "ustar", "gnutar", "v7"]
        .map(|format| bsdtar(&dir, &format!("--no-xattrs --format={format} t")));
    all_ways_listed(&cases);
}

#[test]
fn long_names_and_sparse_files() {
    if !have("bsdtar") {
        return;
    }
    let (rich, wild, sparse) = (tree::rich(), tree::wild(), tree::sparse());
    all_ways_listed(&[
        bsdtar(&rich, "--format=pax t"),
        bsdtar(&rich, "--format=gnutar t"),
    ]);
    // gnutar and ustar would write the hole out.
    std::fs::remove_file(sparse.path().join("t/huge")).unwrap();
    all_ways(&[
        bsdtar(&wild, "--format=pax t"),
        bsdtar(&wild, "--format=gnutar t"),
        bsdtar(&sparse, "--format=pax t"),
        bsdtar(&sparse, "--format=pax --read-sparse t"),
    ]);
}

#[test]
fn attributes_and_access_lists() {
    if !["bsdtar", "setfattr", "setfacl"]
        .iter()
        .all(|tool| have(tool))
    {
        return;
    }
    let dir = tree::with_attributes();
    all_ways(&[
        bsdtar(&dir, "--format=pax --xattrs --acls t"),
        bsdtar(&dir, "--format=pax --xattrs --acls --fflags t"),
        bsdtar(&dir, "--format=pax --options=xattrheader=SCHILY --xattrs t"),
    ]);
}

#[test]
fn archives_that_are_no_tar() {
    if !have("bsdtar") {
        return;
    }
    let dir = tree::plain();
    let cases = ["cpio", "newc", "zip", "shar", "mtree", "7zip", "iso9660"]
        .map(|format| bsdtar(&dir, &format!("--format={format} t/text t/file-513 t/dir")));
    all_ways(&cases);
    all_ways(&["gzip", "zstd"].map(|filter| bsdtar(&dir, &format!("--{filter} t"))));
}
