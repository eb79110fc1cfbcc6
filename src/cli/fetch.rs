//! A restore straight from an object store: what is small goes into a mirror in the cache
//! folder, bricks through a spool beside it.

use std::path::PathBuf;
use std::sync::Arc;

use super::args::{GlobalArgs, RestoreArgs};
use super::say::Say;
use super::{remote, setup};
use dtar::archive::Monitor;
use dtar::error::{Error, Exit, Result};
use dtar::id::BrickName;
use dtar::index::IndexFile;
use dtar::remote::{Bucket, Outlook, Place, Spool, SpoolOptions, SyncOptions, outlook};
use dtar::restore::{needed, open_unauthenticated};
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
        if is_snapshot {
            let options = SyncOptions {
                jobs: args.remote.jobs.into(),
                parity: false,
            };
            let key = key.filter(|_| !args.unauthenticated);
            let summary = dtar::remote::sync(&layout, &bucket, key.as_ref(), &options, monitor)?;
            remote::tell_download(&summary, say);
        } else {
            dtar::remote::sync_config(&layout, &bucket, monitor)?;
        }
        let global = GlobalArgs {
            store: Some(dir.clone()),
            ..global.clone()
        };
        Ok((Self { bucket, dir }, global))
    }

    /// Looks whether all bricks can be had, and starts to fetch them.
    pub fn supply(
        self,
        index: &IndexFile,
        args: &RestoreArgs,
        key: &dtar::crypto::Key,
        monitor: &Arc<Monitor>,
        say: Say,
    ) -> Result<Spool> {
        let layout = Layout::new(&self.dir);
        let origin = dtar::restore::Origin::without_store(&self.dir);
        let trailer = open_unauthenticated(index, &origin, key)?;
        let plan = needed(index, &trailer, &args.patterns)?;
        let is_away = |name: &BrickName| layout.find_brick(name, &args.bricks).is_err();
        let away = plan.iter().map(|need| need.brick).filter(is_away);
        let away: Vec<BrickName> = away.collect();
        let found = outlook(&self.bucket, &away, args.remote.jobs.into(), monitor)?;
        look_ahead(&found, away.len(), args, self.bucket.place(), say)?;
        let options = SpoolOptions {
            dir: self.dir.join("spool"),
            room: args.spool,
            jobs: args.remote.jobs.into(),
            waits: args.wait,
            tell: Box::new(move |waiting| remote::tell_waiting(waiting, say)),
            bricks_in: args.bricks.clone(),
        };
        Spool::start(self.bucket, plan, options, Arc::clone(monitor))
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
                "{} of {all} bricks that this needs are missing there: push them from where they \
             are, name a folder with copies with --bricks, bring the whole store here with `dtar \
                 pull --all` if a gc has rewritten them, or restore the rest with --keep-going",
                found.missing.len()
            ),
        ));
    }
    if waits == 0 {
        return Ok(());
    }
    let text = format!(
        "{waits} of {all} bricks that this needs lie in cold storage ({} were asked for)",
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
