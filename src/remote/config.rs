//! `store.toml` in a bucket: it says whose bucket this is, so it goes first both ways.

use std::path::{Path, PathBuf};

use super::bucket::{Bucket, Read};
use crate::archive::Monitor;
use crate::error::{Error, Exit, Result};
use crate::store::atomic;
use crate::store::config::StoreConfig;
use crate::store::layout::Layout;
use crate::store::{guard, read_limited};

/// Its path in the store, and its key below the prefix.
const PATH: &str = "store.toml";
/// The longest one, in bytes.
const MOST: u64 = 1 << 20;

/// Puts `store.toml` into a bucket that has none; whether it had none.
///
/// # Errors
/// [`Error::OtherStore`] if there is another store's; [`Error::Refused`] if the store has
/// none, or if this store's is another there.
pub(super) fn send(
    layout: &Layout,
    bucket: &Bucket,
    dry_run: bool,
    monitor: &Monitor,
) -> Result<bool> {
    let here = read_here(layout)?;
    if let Some(there) = read_there(bucket, monitor)? {
        require_same(layout, bucket, &here, &there)?;
        return Ok(false);
    }
    if dry_run {
        return Ok(true);
    }
    let is_new = bucket.write_new(PATH, &here.clone().into())?;
    // Another store may have come at the same time, and not all servers look.
    let there = read_there(bucket, monitor)?.unwrap_or_default();
    require_same(layout, bucket, &here, &there)?;
    Ok(is_new)
}

/// Checks that the bucket has the store in `layout`, or brings its `store.toml` here if
/// there is no store.
///
/// # Errors
/// As [`send`]; [`Error::Refused`] if there is none in the bucket.
pub(super) fn fetch(layout: &Layout, bucket: &Bucket, monitor: &Monitor) -> Result<()> {
    let Some(there) = read_there(bucket, monitor)? else {
        return Err(Error::Refused {
            path: url(bucket),
            message: "no store here: put one there with `dtar push`, or look at the names of \
                      bucket and prefix"
                .into(),
            exit: Exit::Failed,
        });
    };
    let path = layout.config_path();
    if path.try_exists().map_err(Error::io("look for", &path))? {
        return require_same(layout, bucket, &read_here(layout)?, &there);
    }
    StoreConfig::unverified_id(&url(bucket), &there)?;
    // As a store that is made (`formats/store.md#order-of-writes`).
    atomic::create_dir(&layout.roots_dir())?;
    atomic::sync_way_to(layout.path())?;
    atomic::write(&layout.temp_dir(), &path, &there)
}

fn url(bucket: &Bucket) -> PathBuf {
    bucket.place().show(PATH).into()
}

fn read_here(layout: &Layout) -> Result<Vec<u8>> {
    let path = layout.config_path();
    let file = guard::open_file(&path).map_err(|_| Error::Refused {
        path: layout.path().to_owned(),
        message: "not a dtar store: no store.toml in it; name the store with --store DIR or \
                  DTAR_STORE"
            .into(),
        exit: Exit::Failed,
    })?;
    let mut bytes = Vec::new();
    read_limited(file, &path, MOST, &mut bytes)?;
    Ok(bytes)
}

fn read_there(bucket: &Bucket, monitor: &Monitor) -> Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let read = bucket.read(PATH, MOST, monitor, &mut |more| {
        bytes.extend_from_slice(more);
        Ok(())
    })?;
    match read {
        Read::All(_) => Ok(Some(bytes)),
        Read::Missing => Ok(None),
        Read::Cold(error) => Err(error),
        Read::TooLong(_) => Err(Error::Refused {
            path: url(bucket),
            message: format!("longer than {MOST} bytes: not the store.toml of a store"),
            exit: Exit::Damaged,
        }),
    }
}

fn require_same(layout: &Layout, bucket: &Bucket, here: &[u8], there: &[u8]) -> Result<()> {
    if here == there {
        return Ok(());
    }
    let path = url(bucket);
    let id = |path: &Path, bytes| StoreConfig::unverified_id(path, bytes);
    let (expected, found) = (id(&layout.config_path(), here)?, id(&path, there)?);
    if expected != found {
        return Err(Error::OtherStore {
            path,
            expected,
            found,
        });
    }
    Err(Error::Refused {
        path,
        message: format!(
            "differs from {}, though both are of store {expected}: find out which is right, and \
             put it in the place of the other",
            layout.config_path().display()
        ),
        exit: Exit::Failed,
    })
}
