//! Streams of Python's tarfile.

use crate::check::{all_ways, all_ways_listed};
use crate::common::Case;
use crate::common::shell::{have, python};

#[test]
fn every_format() {
    if !have("python3") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let status = python("streams.py").arg(dir.path()).status().unwrap();
    assert!(status.success());
    let read = |name: &&str| Case::new(*name, std::fs::read(dir.path().join(name)).unwrap());
    let listed = ["ustar", "gnu", "pax", "pax-global", "empty"];
    all_ways_listed(&listed.iter().map(read).collect::<Vec<_>>());
    all_ways(&[read(&"latin-1-gnu")]);
}
