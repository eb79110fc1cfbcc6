//! A restore straight from an object store: what is small goes into a mirror in the cache
//! folder, bricks through a spool beside it.

use std::path::PathBuf;
use std::sync::Arc;

use super::args::{GlobalArgs, RestoreArgs};
use super::say::Say;
use super::{remote, setup, size};
use dtar::archive::Monitor;
use dtar::container::Shelf;
use dtar::crypto::Key;
use dtar::error::{Error, Exit, Result};
use dtar::id::BrickName;
use dtar::index::IndexFile;
use dtar::remote::{Bucket, Outlook, Place, Spool, SpoolOptions, SyncOptions, outlook};
use dtar::restore::{Moved, Needs, find_needed, open_unauthenticated};
use dtar::store::layout::Layout;

/// The URL, if the store in use is in an object store.
pub fn url_of(global: &GlobalArgs) -> Option<&str> {
    let store = global.store.as_ref()?.to_str()?;
    Place::is_meant(store).then_some(store)
}

/// The mirror of a bucket, brought up to date as far as the restore needs it.
pub struct Mirror {
    bucket: Bucket,
    dir: PathBuf,
    /// Whether the small files were brought here, too.
    is_synced: bool,
}

impl Mirror {
    /// Brings it up to date; returns it and the options that name it as the store.
    pub fn open(
        url: &str,
        args: &RestoreArgs,
        global: &GlobalArgs,
        monitor: &Monitor,
        say: Say,
    ) -> Result<(Self, GlobalArgs)> {
        let bucket = remote::open(url, &args.remote, say)?;
        let place = format!(
            "{}\n{}",
            bucket.place(),
            bucket.endpoint().unwrap_or_default()
        );
        let digest: String = blake3::hash(place.as_bytes())
            .to_hex()
            .chars()
            .take(16)
            .collect();
        let dir = setup::catalog_dir(global)?.join("mirror").join(digest);
        let layout = Layout::new(&dir);
        let key = remote::key_at_hand(global)?;
        let is_snapshot = setup::selector_of(&args.index)?.is_some();
        let mut mirror = Self {
            bucket,
            dir,
            is_synced: false,
        };
        if is_snapshot {
            let key = key.filter(|_| !args.unauthenticated);
            mirror.sync(key.as_ref(), args, monitor, say)?;
        } else {
            dtar::remote::sync_config(&layout, &mirror.bucket, monitor)?;
        }
        let global = GlobalArgs {
            store: Some(mirror.dir.clone()),
            ..global.clone()
        };
        Ok((mirror, global))
    }

    /// Brings all small files here.
    fn sync(
        &mut self,
        key: Option<&Key>,
        args: &RestoreArgs,
        monitor: &Monitor,
        say: Say,
    ) -> Result<()> {
        let options = SyncOptions {
            jobs: args.remote.jobs.into(),
            parity: false,
        };
        let layout = Layout::new(&self.dir);
        let summary = dtar::remote::sync(&layout, &self.bucket, key, &options, monitor)?;
        remote::tell_download(&summary, say);
        self.is_synced = true;
        Ok(())
    }

    /// Looks whether all bricks can be had, and starts to fetch them. Returns also which
    /// frames are elsewhere than the index says.
    pub fn supply(
        mut self,
        index: &IndexFile,
        args: &RestoreArgs,
        (key, containers): (&Key, &Arc<Shelf>),
        monitor: &Arc<Monitor>,
        say: Say,
    ) -> Result<(Spool, Arc<Moved>)> {
        let origin = dtar::restore::Origin::without_store(&self.dir);
        let trailer = open_unauthenticated(index, &origin, key)?;
        let layout = Layout::new(&self.dir);
        let is_here = |name: &BrickName| {
            layout.find_brick(name, &args.bricks).is_ok()
                || containers.copies(name).next().is_some()
        };
        let mut needs;
        let mut away: Vec<BrickName>;
        let found = loop {
            let sight = remote::Sight {
                bucket: &self.bucket,
                jobs: args.remote.jobs.into(),
                monitor,
                is_here: &is_here,
            };
            let tocs = setup::tocs(&trailer, key, &layout, &args.bricks, containers)?;
            let stand = &mut |names: &[BrickName]| sight.stand(names);
            needs = find_needed(index, &trailer, &args.patterns, tocs.as_ref(), stand)?;
            let names = needs.bricks.iter().map(|need| need.brick);
            away = names.filter(|name| !is_here(name)).collect();
            let found = outlook(&self.bucket, &away, args.remote.jobs.into(), monitor)?;
            if found.missing.is_empty() || self.is_synced || tocs.is_none() {
                break found;
            }
            // Where gc has moved what they held is said by the TOCs.
            self.sync(Some(key), args, monitor, say)?;
        };
        look_ahead(&found, away.len(), args, self.bucket.place(), say)?;
        let options = SpoolOptions {
            dir: self.dir.join("spool"),
            room: args.spool,
            jobs: args.remote.jobs.into(),
            waits: args.wait,
            tell: Box::new(move |waiting| remote::tell_waiting(waiting, say)),
            bricks_in: args.bricks.clone(),
        };
        let Needs { bricks, moved } = needs;
        let spool = Spool::start(self.bucket, bricks, options, Arc::clone(monitor))?;
        Ok((spool, moved))
    }
}

/// Says what is in the way, before anything is read; fails if it would not go away.
fn look_ahead(
    found: &Outlook,
    all: usize,
    args: &RestoreArgs,
    place: &Place,
    say: Say,
) -> Result<()> {
    let waits = found.cold.len() + found.thawing.len();
    if !found.missing.is_empty() && !args.keep_going {
        remote::tell_bricks(&found.missing, "not in the bucket", say);
        return Err(refused(
            place,
            Exit::Damaged,
            format!(
                "{} of {} that this needs {} missing there, and no table of contents there says \
                 that a gc has moved what is needed: push from where the bricks are, name a folder \
                 with copies with --bricks, or restore the rest with --keep-going",
                found.missing.len(),
                size::count(all as u64, "brick"),
                if found.missing.len() == 1 {
                    "is"
                } else {
                    "are"
                },
            ),
        ));
    }
    if waits == 0 {
        return Ok(());
    }
    let text = format!(
        "{waits} of {} that this needs {} in cold storage (asked for: {})",
        size::count(all as u64, "brick"),
        if waits == 1 { "lies" } else { "lie" },
        found.thawing.len()
    );
    if args.wait {
        say.note(&format!("{text}; waiting for each in turn"));
        return Ok(());
    }
    if args.keep_going {
        say.warn(&text);
        return Ok(());
    }
    Err(refused(
        place,
        Exit::Failed,
        format!(
            "{text}: ask for them with `dtar thaw {} --from {place}`, and restore with --wait",
            args.index.display()
        ),
    ))
}

fn refused(place: &Place, exit: Exit, message: String) -> Error {
    Error::Refused {
        path: place.to_string().into(),
        message,
        exit,
    }
}
