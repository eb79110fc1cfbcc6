//! The awkward streams that lie beside the repository, in `shared/tar-corpus`.

use std::path::Path;

use crate::check::all_ways;
use crate::common::Case;
use crate::common::shell::in_ci;

#[test]
fn every_file_of_the_corpus() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/tar-corpus");
    let Ok(entries) = std::fs::read_dir(&dir) else {
        assert!(!in_ci(), "{} is missing", dir.display());
        eprintln!("SKIPPED: {} is missing", dir.display());
        return;
    };
    let mut cases: Vec<_> = entries
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            Case::new(name, std::fs::read(entry.path()).unwrap())
        })
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(cases.len() > 40, "{} files in the corpus", cases.len());
    all_ways(&cases);
}
