//! Whether the shim sees what it should: a fault cannot befall a call that it overlooks.

use std::collections::BTreeSet;
use std::path::Path;

use crate::place::{Place, Step};
use crate::shim::{self, Call, Kind, Watch};

const A: Step = Step::Archive("a", &[1, 2]);

fn seen(calls: &[Call]) -> BTreeSet<(Kind, String)> {
    let folder = |path: &Path| {
        let parts: Vec<_> = path
            .iter()
            .take(2)
            .map(|part| part.to_str().unwrap())
            .collect();
        parts.join("/")
    };
    let mut seen = BTreeSet::new();
    for call in calls {
        seen.insert((call.kind, folder(&call.path)));
        seen.insert((call.kind, folder(&call.second)));
    }
    seen
}

#[test]
fn every_change_is_seen() {
    if !shim::is_there() {
        return;
    }
    let place = Place::new();
    let (run, calls) = place.watch(A, Watch::default(), None);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let found = seen(&calls);
    let folders = ["bricks", "tocs", "meta", "roots", "snapshots", "runs"];
    for folder in folders {
        let folder = format!("store/{folder}");
        for kind in [Kind::Rename, Kind::Sync] {
            assert!(found.contains(&(kind, folder.clone())), "{kind:?} {folder}");
        }
    }
    for (kind, path) in [
        // Made by rustix, which asks the kernel itself: libc's functions see neither.
        (Kind::Rename, "store/store.toml"),
        (Kind::Sync, "a"),
        (Kind::Write, "a"),
        (Kind::Write, "store/runs"),
        (Kind::MakeDir, "store"),
        (Kind::MakeDir, "config"),
        (Kind::Unlink, "store/tmp"),
        (Kind::RemoveDir, "store/tmp"),
    ] {
        assert!(found.contains(&(kind, path.into())), "{kind:?} {path}");
    }
    // What is mapped writable could change without a call: only LMDB's lock file is, of
    // which nothing outlives the processes that use it.
    let is_mapped = |call: &&Call| call.kind == Kind::Map;
    for call in calls.iter().filter(is_mapped) {
        assert_eq!(call.path.file_name().unwrap(), "lock.mdb", "{call:?}");
    }
    assert!(calls.iter().any(|call| call.kind == Kind::Map));
    assert!(calls.iter().all(|call| call.kind != Kind::Other));
}

/// Bytes and names that were recorded, laid out again, are what stands there.
#[test]
fn what_is_recorded_is_what_happened() {
    if !shim::is_there() {
        return;
    }
    crate::power::records_are_whole(&[
        A,
        Step::Archive("b", &[2, 3]),
        Step::Forget("a"),
        Step::Command(&["gc", "--threshold", "0"]),
        Step::Command(&["parity", "add"]),
    ]);
}
