//! Restores, and what the model says of them.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::common::sandbox::Run;
use crate::model::Archive;
use crate::world::World;

impl World {
    /// Restores one of the archives, from its index or its snapshot.
    pub fn check(&mut self, number: usize) {
        let archive = self.model.archives[number].clone();
        let from_snapshot = archive.has_snapshot && self.once_in(4);
        let way = if from_snapshot {
            PathBuf::from(format!("@{}", archive.run))
        } else {
            archive.index.clone()
        };
        let store = self.sandbox.store();
        let must = self.model.must_restore(&store, &archive, from_snapshot);
        self.log
            .step(format!("restore {}, must: {must}", way.display()));
        let (run, bytes) = self.output(&way, &[]);
        self.tally.restores += 1;
        self.tally.snapshots_restored += u64::from(from_snapshot);
        self.judge(&archive, must, &run, &bytes);
        if !must && !from_snapshot && run.code != Some(0) {
            self.keep_going(&archive);
        }
    }

    fn judge(&mut self, archive: &Archive, must: bool, run: &Run, bytes: &[u8]) {
        let is_whole = *bytes == archive.stream[..];
        if run.code == Some(0) && is_whole {
            return;
        }
        // Nothing but right bytes comes out, however it ends.
        if run.code == Some(0) || !archive.stream.starts_with(bytes) {
            self.tally.wrong += 1;
            panic!("{}: wrong output: {}", archive.label, run.stderr);
        }
        if must {
            self.tally.lost_runs += 1;
            panic!("{}: lost: {}", archive.label, run.stderr);
        }
        assert!(matches!(run.code, Some(1 | 3)), "{run:?}");
        assert!(!run.stderr.is_empty());
        self.tally.refused += 1;
        self.tally.bytes_beyond += (archive.stream.len() - bytes.len()) as u64;
    }

    /// With zeros for what is lost: all else is right, and in its place.
    fn keep_going(&mut self, archive: &Archive) {
        self.log.step("restore --keep-going");
        let (run, bytes) = self.output(&archive.index, &["--keep-going"]);
        assert_eq!(run.code, Some(3), "{}", run.stderr);
        assert_eq!(bytes.len(), archive.stream.len());
        let pairs = bytes.iter().zip(archive.stream.iter());
        let wrong = pairs.filter(|(found, right)| found != right && **found != 0);
        let wrong = wrong.count() as u64;
        self.tally.wrong += wrong;
        assert_eq!(wrong, 0, "{}", run.stderr);
    }

    /// Restores all.
    pub fn check_all(&mut self) {
        for number in 0..self.model.archives.len() {
            self.check(number);
        }
    }

    fn output(&mut self, way: &Path, options: &[&str]) -> (Run, Vec<u8>) {
        let (run, bytes) = self.sandbox.restore_with(way, options, |mut out| {
            let mut bytes = Vec::new();
            out.read_to_end(&mut bytes).unwrap();
            bytes
        });
        (run, bytes)
    }
}
