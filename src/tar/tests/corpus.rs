//! Archives that others made.

use std::path::PathBuf;

use super::super::BodyKind;
use super::{Segment, check};

/// The folder with awkward archives; it lies beside the source folder.
pub(super) fn corpus() -> Option<Vec<(String, Vec<u8>)>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/tar-corpus");
    if !folder.is_dir() {
        assert!(
            std::env::var_os("CI").is_none(),
            "{} is missing",
            folder.display()
        );
        return None;
    }
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect();
    files.sort();
    Some(files)
}

#[test]
fn every_archive_is_split_without_loss() {
    for (name, stream) in corpus().into_iter().flatten() {
        println!("{name}");
        check(&stream);
    }
}

#[test]
fn what_is_tar_is_not_opaque() {
    // Their checksums or sizes are no numbers.
    let garbage = ["neg-size.tar", "issue10968.tar", "issue12435.tar"];
    for (name, stream) in corpus().into_iter().flatten() {
        let opaque = check(&stream).iter().any(|segment| {
            matches!(
                segment,
                Segment::Body {
                    kind: BodyKind::Opaque,
                    ..
                }
            )
        });
        assert_eq!(opaque, garbage.contains(&name.as_str()), "{name}");
    }
}

#[test]
fn a_truncated_archive_is_split_without_loss() {
    for (name, stream) in corpus().into_iter().flatten() {
        for length in 0..stream.len().min(6_000) {
            let segments = super::split(&stream[..length]);
            assert!(
                super::join(&segments) == stream[..length],
                "{name} {length}"
            );
        }
    }
}
