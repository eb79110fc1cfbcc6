//! Streams of GNU tar.

use tempfile::TempDir;

use crate::check::{all_ways, all_ways_listed};
use crate::common::Case;
use crate::common::shell::{have, script};
use crate::tree;

/// What `tar -c` with these options makes of the folder `t`, or of what they name.
fn tar(dir: &TempDir, options: &str) -> Case {
    let text = format!("tar --sort=name -cf - {options}");
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
    if !have("tar") {
        return;
    }
    let dir = tree::plain();
    let formats = ["gnu", "oldgnu", "posix", "ustar", "v7"];
    let cases: Vec<_> = formats
        .iter()
        .map(|format| tar(&dir, &format!("--format={format} t")))
        .chain([
            tar(&dir, "-b 1 t"),
            tar(&dir, "-b 77 t"),
            tar(&dir, "--hard-dereference --format=ustar t"),
            tar(&dir, "--pax-option=globexthdr.name=g,comment=text t"),
            tar(&dir, "-T /dev/null"),
        ])
        .collect();
    all_ways_listed(&cases);
}

#[test]
fn long_names_and_large_numbers() {
    if !have("tar") {
        return;
    }
    let dir = tree::rich();
    let cases = ["gnu", "oldgnu", "posix"].map(|format| tar(&dir, &format!("--format={format} t")));
    all_ways_listed(&cases);
}

#[test]
fn names_that_readers_disagree_about() {
    if !have("tar") {
        return;
    }
    let dir = tree::wild();
    let cases = ["gnu", "oldgnu", "posix", "ustar", "v7"]
        .map(|format| tar(&dir, &format!("--format={format} t")));
    all_ways(&cases);
}

#[test]
fn sparse_files_in_every_version() {
    if !have("tar") {
        return;
    }
    let dir = tree::sparse();
    let mut cases = vec![
        tar(&dir, "-S --format=gnu t"),
        tar(&dir, "-S --format=oldgnu t"),
    ];
    for version in ["0.0", "0.1", "1.0"] {
        let options = format!("-S --format=posix --sparse-version={version} t");
        cases.push(tar(&dir, &options));
    }
    all_ways(&cases);
    // Without the large hole, whose size some readers show differently.
    std::fs::remove_file(dir.path().join("t/huge")).unwrap();
    all_ways_listed(&[
        tar(&dir, "-S --format=gnu t"),
        tar(&dir, "-S --format=posix t"),
    ]);
}

#[test]
fn incremental_dumps_and_labels() {
    if !have("tar") {
        return;
    }
    let dir = tree::plain();
    let full = tar(&dir, "--listed-incremental=snapshot --format=gnu t");
    std::fs::write(dir.path().join("t/new"), "new").unwrap();
    std::fs::remove_file(dir.path().join("t/file-1")).unwrap();
    let cases = [
        full,
        tar(&dir, "--listed-incremental=snapshot --format=gnu t"),
        tar(&dir, "--listed-incremental=snapshot.posix --format=posix t"),
        tar(&dir, "-V 'a label' --format=gnu t"),
        tar(&dir, "-V 'a label' --format=posix t"),
    ];
    all_ways(&cases);
}

#[test]
fn volumes_alone_and_in_a_row() {
    if !have("tar") {
        return;
    }
    let dir = tree::plain();
    let mut cases = Vec::new();
    for format in ["gnu", "posix"] {
        let text = format!(
            "rm -f v?; tar -cM -L 500 --format={format} -f v1 -f v2 -f v3 -f v4 t </dev/null"
        );
        script(dir.path(), &text, &[]);
        let volumes = ["v1", "v2"].map(|name| tree::read(&dir, name));
        cases.push(Case::new(format!("{format}, in a row"), volumes.concat()));
        for (number, volume) in volumes.into_iter().enumerate() {
            cases.push(Case::new(format!("{format}, volume {number}"), volume));
        }
    }
    all_ways(&cases);
}

#[test]
fn attributes_and_access_lists() {
    if !["tar", "setfattr", "setfacl"].iter().all(|tool| have(tool)) {
        return;
    }
    let dir = tree::with_attributes();
    all_ways(&[tar(&dir, "--format=posix --xattrs --acls t")]);
    script(dir.path(), "setfacl -bR t", &[]);
    all_ways_listed(&[tar(&dir, "--format=posix --xattrs t")]);
}
