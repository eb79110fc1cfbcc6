//! The end of a run: root and snapshot file (`formats/store.md#order-of-writes`).

use super::snapshot::Stored;
use super::{ArchiveSummary, Context};
use crate::brick::{Pad, seal_root, seal_snapshot};
use crate::error::{Error, Exit, Result};
use crate::format::frames::Frames;
use crate::format::root::{Root, SnapshotRef, Stored as StoredBytes};
use crate::format::snapshot::Snapshot;
use crate::id::BrickName;
use crate::index::Used;
use crate::store::atomic::sync_dir;
use crate::store::catalog::{BrickRef, Catalog};
use crate::store::is_missing;
use crate::store::layout::RunName;
use crate::store::runs::{host_name, now};

/// What root and snapshot file need of the run.
pub(super) struct Publisher<'a> {
    pub(super) context: &'a Context,
    pub(super) catalog: &'a mut Catalog,
    pub(super) label: String,
    pub(super) pad: Pad,
}

impl Publisher<'_> {
    /// Writes the root and the snapshot file, if there is to be one. Returns the name of
    /// both, and what the snapshot added to the store, in bytes.
    pub(super) fn publish(
        &mut self,
        used: &Used,
        snapshot: Option<Stored>,
        summary: &ArchiveSummary,
        stream_xxh3: u128,
        index_length: u64,
    ) -> Result<(RunName, Option<u64>)> {
        let mut bricks = self.bricks(used)?;
        let run = RunName::draw(now())?;
        let metadata = snapshot.as_ref().map_or(0, |snapshot| snapshot.new);
        let snapshot = match snapshot {
            Some(snapshot) => {
                bricks.extend(self.bricks(&snapshot.used)?);
                Some(self.seal_snapshot(&run, snapshot, index_length)?)
            }
            None => None,
        };
        bricks.sort_unstable_by_key(|(name, _)| *name);
        let root = Root {
            time: run.time,
            writer: self.context.lease.writer(),
            stream_length: summary.stream,
            stream_xxh3,
            host: host_name(),
            label: std::mem::take(&mut self.label).into_bytes(),
            bricks,
            snapshot: snapshot.as_ref().map(|bytes| SnapshotRef {
                hash: blake3::hash(bytes).into(),
                index_length,
            }),
            stored: Some(StoredBytes {
                data: summary.stored,
                metadata,
            }),
        };
        let Context { store, keys, lease } = self.context;
        store.write_root(lease, &run, &seal_root(keys, &root)?)?;
        let Some(snapshot) = snapshot else {
            return Ok((run, None));
        };
        store
            .write_snapshot(lease, &run, &snapshot)
            .inspect_err(|_| self.withdraw(&run))?;
        Ok((run, Some(metadata + snapshot.len() as u64)))
    }

    /// Takes the root back whose snapshot file could not be written: it would look like that
    /// of a run whose snapshot was lost. As far as it can: a run that is killed leaves it too.
    fn withdraw(&self, run: &RunName) {
        let Context { store, lease, .. } = self.context;
        let layout = store.layout();
        // One that stands, though perhaps not durably, is as good as written, and without
        // its root it would stop gc.
        let found = layout.snapshot_path(run).symlink_metadata();
        if found.is_err_and(|error| is_missing(&error))
            && lease.delete(&layout.root_path(run)).is_ok()
        {
            let _ = sync_dir(&layout.roots_dir());
        }
    }

    /// The bytes of the snapshot file.
    fn seal_snapshot(&self, run: &RunName, stored: Stored, index_length: u64) -> Result<Vec<u8>> {
        let content = Snapshot {
            time: run.time,
            writer: self.context.lease.writer(),
            index_length,
            streams: stored.streams,
        };
        let store = &self.context.store;
        seal_snapshot(
            *store.id(),
            store.epoch(),
            store.recipients(),
            &content,
            self.pad,
        )
    }

    /// Names and frames of the bricks that are used. Fails if one is no longer to be
    /// relied on.
    fn bricks(&mut self, used: &Used) -> Result<Vec<(BrickName, Frames)>> {
        let store = &self.context.store;
        let bricks = used.bricks().iter().map(|&brick| {
            let name = self.catalog.brick(BrickRef(brick))?.name;
            if store.brick_counts(&name)? {
                return Ok((name, used.bitmap(brick).into()));
            }
            Err(Error::Refused {
                path: store.toc_path(&name),
                message: "this sidecar vanished while the run relied on its brick, or the brick \
                          was marked bad; archive again"
                    .into(),
                exit: Exit::Failed,
            })
        });
        bricks.collect()
    }
}
