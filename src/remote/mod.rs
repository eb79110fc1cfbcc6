//! Object stores that speak S3: a store goes up, comes down, and is thawed
//! (`formats/push.md`).
//!
//! ```text
//! push:  store -> what the bucket lacks -> read + hash -> parts -> away list
//! sync:  bucket -> what the store lacks of small files -> checked -> published
//! pull:  bucket -> bricks, by name -> checked -> published
//! ```
//!
//! Objects are named as the files of a store, so other tools can do the same.

mod bucket;
mod checksum;
mod config;
mod confirmed;
mod connector;
mod deletion;
mod download;
mod fault;
mod listing;
mod local;
mod multipart;
mod pace;
mod parallel;
mod place;
mod push;
mod spool;
mod upload;
mod wait;

pub use bucket::{Access, Asked, Bucket, DEFAULT_PATIENCE, Object, Read, State};
pub use download::{DownloadSummary, SyncOptions, Wanted, list_bricks, pull, sync, sync_config};
pub use listing::{Entry, Listing};
pub use local::Folder;
pub use place::{ParsePlaceError, Place};
pub use push::{PushOptions, PushSummary, push};
pub use spool::{Outlook, Spool, SpoolOptions, outlook};
pub use upload::{DEFAULT_PART, LEAST_PART, MOST_PART};
pub use wait::{Tell, ThawOptions, ThawSummary, Waiter, Waiting, thaw, tier};
