//! Bricks are deleted here that the bucket has, whole: the server's word is compared with
//! the file, as far as it reaches (`formats/push.md#away-lists`).

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::bucket::{Bucket, Object, Read};
use super::checksum::{self, Comparison};
use super::local::{Folder, LocalFile, LocalFiles, Name};
use super::parallel::{each_in_parallel, lock};
use super::push::PushSummary;
use super::upload::part_of;
use crate::archive::Monitor;
use crate::error::{Error, Result};
use crate::id::BrickName;
use crate::store::layout::Layout;
use crate::store::{guard, is_missing};

/// Deletes bricks after a push.
pub(super) struct Deletion<'a> {
    pub(super) layout: &'a Layout,
    pub(super) bucket: &'a Bucket,
    pub(super) part_size: u64,
    /// Bricks that stand on away lists: of no others it would be known where they are.
    pub(super) known: &'a HashSet<BrickName>,
    pub(super) monitor: &'a Monitor,
}

/// What becomes of a brick here.
enum Fate {
    Deleted,
    /// It stays, and why.
    Kept(String),
    /// It is not about this push: of a run at work, or it has just come.
    Left,
}

impl Deletion<'_> {
    /// Deletes the bricks here that the bucket has, whole. Their sidecars stay.
    pub(super) fn run(&self, jobs: usize, summary: &mut PushSummary) -> Result<()> {
        let mut files = LocalFiles::new(self.layout, Folder::Bricks);
        let deleted = (AtomicU64::new(0), AtomicU64::new(0));
        let kept = Mutex::new(Vec::new());
        let work = |file: LocalFile| {
            let path = self.layout.path().join(&file.path);
            match self.fate(&file, &path)? {
                Fate::Left => {}
                Fate::Kept(why) => lock(&kept).push((path, why)),
                Fate::Deleted => {
                    self.delete(&path)?;
                    deleted.0.fetch_add(1, Ordering::Relaxed);
                    deleted.1.fetch_add(file.length, Ordering::Relaxed);
                }
            }
            Ok(())
        };
        each_in_parallel(jobs, self.monitor, &mut || files.next(), &work)?;
        summary.deleted = deleted.0.into_inner();
        summary.deleted_bytes = deleted.1.into_inner();
        summary.kept = std::mem::take(&mut lock(&kept));
        Ok(())
    }

    fn fate(&self, file: &LocalFile, path: &Path) -> Result<Fate> {
        let kept = |why: &str| Ok(Fate::Kept(why.to_owned()));
        let Some(Name::Hash(name)) = Folder::Bricks.name_of(&file.path) else {
            return Ok(Fate::Left);
        };
        if !self.known.contains(&name) || !self.layout.sidecar_stands(&name)? {
            return Ok(Fate::Left);
        }
        let Some(object) = self.bucket.look_at(&file.path)? else {
            return kept("the bucket does not have it: `dtar push --check` sends it again");
        };
        if let Some(expiry) = &object.expiry {
            return kept(&format!(
                "a rule of the bucket is going to delete it there ({expiry})"
            ));
        }
        let part = part_of(file.length, self.part_size);
        let comparison = match checksum::compare(path, &name, &object, part) {
            // A gc is at work, too.
            Err(Error::Io { source, .. }) if is_missing(&source) => return Ok(Fate::Left),
            comparison => comparison?,
        };
        match comparison {
            Comparison::Same => Ok(Fate::Deleted),
            Comparison::SameLength => self.read_back(&file.path, &name, &object),
            Comparison::FileDamaged => kept(
                "damaged here: its bytes do not have its name as their hash; run `dtar verify`",
            ),
            Comparison::Other => kept(&format!(
                "length or checksum in the bucket ({} bytes, {}) could not be matched with it, \
                 so it is not deleted: see what is there, or delete the object and push again",
                object.length,
                object.sha256.or(object.etag).unwrap_or_default()
            )),
        }
    }

    /// Where the server names no checksum its bytes have to say what they are.
    fn read_back(&self, path: &str, name: &BrickName, object: &Object) -> Result<Fate> {
        let mut hasher = blake3::Hasher::new();
        if object.state.is_readable() {
            let mut take = |bytes: &[u8]| {
                hasher.update(bytes);
                Ok(())
            };
            let read = self
                .bucket
                .read(path, object.length, self.monitor, &mut take)?;
            if matches!(read, Read::All(_)) {
                return Ok(if hasher.finalize().as_bytes() == name.as_bytes() {
                    Fate::Deleted
                } else {
                    let why = "what the bucket has is altered: delete the object and push again";
                    Fate::Kept(why.to_owned())
                });
            }
        }
        Ok(Fate::Kept(
            "the server names no checksum of it, and it cannot be read there now: thaw it, and \
             try again"
                .to_owned(),
        ))
    }

    fn delete(&self, path: &Path) -> Result<()> {
        guard::refuse_links_to(self.layout.path(), path)?;
        match fs::remove_file(path) {
            Err(error) if !is_missing(&error) => Err(Error::io("remove", path)(error)),
            _ => Ok(()),
        }
    }
}
