//! What the commands for object stores share.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::args::GlobalArgs;
use super::indexes::Indexes;
use super::remote_args::RemoteArgs;
use super::say::Say;
use super::{setup, size};
use dtar::archive::Monitor;
use dtar::crypto::Key;
use dtar::error::{Error, Result};
use dtar::id::BrickName;
use dtar::remote::{Access, Bucket, DownloadSummary, Place, Waiting, outlook};
use dtar::restore::{Need, Standing, Tocs, find_needed};
use dtar::store::layout::Layout;

/// The place that a URL names.
pub fn place(url: &str) -> Result<Place> {
    url.parse()
        .map_err(|error| Error::Usage(format!("{error}")))
}

/// Opens the place that a URL names. Says so if what goes there can be read on the way.
pub fn open(url: &str, args: &RemoteArgs, say: Say) -> Result<Bucket> {
    let access = Access {
        endpoint: args.endpoint.clone(),
        region: args.region.clone(),
        limit_rate: args.limit_rate,
        patience: Some(Duration::from_secs(args.timeout)),
    };
    // It is written down in away lists, and said in errors.
    if access.endpoint().is_some_and(|url| url.contains('@')) {
        return Err(Error::Usage(
            "--endpoint or AWS_ENDPOINT_URL: no name and password belong there: set \
             AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                .into(),
        ));
    }
    let bucket = Bucket::open(&place(url)?, &access)?;
    if let Some(endpoint) = bucket.endpoint()
        && !is_private(endpoint)
    {
        say.warn(&format!(
            "{endpoint}: no https: who listens on the way sees the names and lengths of bricks, \
             and can alter what the server is asked for; bricks stay encrypted"
        ));
    }
    Ok(bucket)
}

/// Whether nobody on the way to a server can listen.
fn is_private(endpoint: &str) -> bool {
    let endpoint = endpoint.to_ascii_lowercase();
    let Some(rest) = endpoint.strip_prefix("http://") else {
        return true;
    };
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(host) => host.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let is_loopback = |address: IpAddr| address.is_loopback();
    host == "localhost" || host.parse().is_ok_and(is_loopback)
}

/// A monitor that signals stop.
pub fn monitor(say: Say) -> Result<Arc<Monitor>> {
    let monitor = Arc::new(Monitor::default());
    setup::stop_on_signals(&monitor, say)?;
    Ok(monitor)
}

/// The key, if there is one where it should be; one that is named must be there.
pub fn key_at_hand(global: &GlobalArgs) -> Result<Option<Key>> {
    if global.key.is_some() || setup::has_key(global)? {
        return setup::key(global).map(Some);
    }
    Ok(None)
}

/// Looks in a bucket how near bricks are.
pub struct Sight<'a> {
    pub bucket: &'a Bucket,
    /// Transfers at the same time.
    pub jobs: usize,
    pub monitor: &'a Monitor,
    /// Whether a brick is at hand.
    pub is_here: &'a dyn Fn(&BrickName) -> bool,
}

impl Sight<'_> {
    /// Says how near these are.
    pub fn stand(&self, bricks: &[BrickName]) -> Result<Vec<Standing>> {
        let away = bricks.iter().filter(|name| !(self.is_here)(name));
        let away: Vec<BrickName> = away.copied().collect();
        let found = outlook(self.bucket, &away, self.jobs, self.monitor)?;
        let away: HashSet<_> = away.into_iter().collect();
        let missing: HashSet<_> = found.missing.into_iter().collect();
        let standing = |name| {
            if missing.contains(name) {
                Standing::Nowhere
            } else if away.contains(name) {
                Standing::Away
            } else {
                Standing::Here
            }
        };
        Ok(bricks.iter().map(standing).collect())
    }
}

/// The bricks that a restore from an index needs as far as the TOCs in the store say it.
pub fn needs(
    index: &Path,
    patterns: &[String],
    sight: &Sight<'_>,
    global: &GlobalArgs,
    say: Say,
) -> Result<Vec<Need>> {
    let mut indexes = Indexes::new(global, say, false, &[]);
    let (index, trailer) = indexes.open(index)?;
    let layout = Layout::new(setup::store_path(global)?);
    let keys = indexes.put_keys(&trailer)?;
    let tocs = keys.map(|keys| Tocs::new(&layout, &[], Arc::default(), keys));
    let stand = &mut |names: &[BrickName]| sight.stand(names);
    let needs = find_needed(&index, &trailer, patterns, tocs.as_ref(), stand)?;
    Ok(needs.bricks)
}

/// Says of a brick that it is waited for.
pub fn tell_waiting(waiting: Waiting<'_>, say: Say) {
    match waiting {
        Waiting::Thawing(url) => say.note(&format!("waiting for {url}, which thaws")),
        Waiting::Cold(url) => say.warn(&format!(
            "waiting for {url}, which lies in cold storage, and nobody has asked for it (or what \
             was asked for has expired): run `dtar thaw` meanwhile"
        )),
    }
}

/// Says what could not be brought here.
pub fn tell_download(summary: &DownloadSummary, say: Say) {
    for (url, why) in &summary.refused {
        if say.is_json() {
            say.event(&json!({ "type": "damage", "path": url, "reason": why }));
        } else {
            say.error_text(&format!("{url}: {why}; it was not taken"));
        }
    }
    tell_missing(&summary.missing, say);
    tell_bricks(
        &summary.cold,
        "in cold storage: bring it up with `dtar thaw`, and pull again or with --wait",
        say,
    );
}

/// Says which bricks the bucket does not have, and what may help.
pub fn tell_missing(bricks: &[BrickName], say: Say) {
    tell_bricks(bricks, "not in the bucket", say);
    if !bricks.is_empty() {
        say.note(
            "what is missing was perhaps never pushed, or a gc has moved what is needed of it \
             into other bricks: which ones is known once `dtar sync` has brought the tables of \
             contents, and the store's key (a put key will do) is at hand",
        );
    }
}

/// Says of each of these bricks what is wrong: of the first ones by name.
pub fn tell_bricks(bricks: &[BrickName], what: &str, say: Say) {
    const MOST: usize = 10;
    let most = if say.is_json() { usize::MAX } else { MOST };
    for name in bricks.iter().take(most) {
        if say.is_json() {
            say.event(&json!({ "type": "brick", "name": name.to_string(), "reason": what }));
        } else {
            say.error_text(&format!("{name}.brick: {what}"));
        }
    }
    if bricks.len() > most {
        say.error_text(&format!("and {} more bricks", bricks.len() - most));
    }
}

/// A number of files and bytes.
pub fn amount(files: u64, bytes: u64) -> String {
    format!("{}, {}", size::count(files, "file"), size::show(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_private_without_https() {
        for (endpoint, expected) in [
            ("https://s3.example.org", true),
            ("http://s3.example.org", false),
            ("http://localhost.example.org:9000/", false),
            ("http://localhost:9000/x", true),
            ("http://127.0.0.1:9000", true),
            ("http://[::1]:9000", true),
            ("http://10.0.0.1:9000", false),
            ("HTTP://10.0.0.1:9000", false),
        ] {
            assert_eq!(is_private(endpoint), expected, "{endpoint}");
        }
    }
}
