//! `dtar snapshots`: the runs whose indexes the store holds.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde_json::{Value, json};

use super::args::{GlobalArgs, SnapshotsArgs};
use super::ls::{escape, put_text};
use super::say::Say;
use super::{setup, size};
use dtar::error::{Error, Exit, Result};
use dtar::snapshot::{Moment, Run, runs};
use dtar::store::Store;
use dtar::store::layout::RunName;

pub fn run(args: &SnapshotsArgs, global: &GlobalArgs, say: Say) -> Result<Exit> {
    let (since, until) = range(args.since.as_deref(), args.until.as_deref())?;
    let (store, key) = setup::open(global)?;
    let keys = store.put_keys(&key)?;
    setup::warn_if_set_back(global, say, &store)?;
    // Listed first: a run writes its root, then its snapshot.
    let written = store.layout().snapshots()?;
    let mut names = runs(&store, since, until)?;
    if !args.oldest_first {
        names.reverse();
    }
    let zone = TimeZone::system();
    let mut exit = Exit::Done;
    let mut out = Vec::new();
    for name in names {
        match Run::read(&store, &keys, name) {
            Ok(Some(run)) if !is_wanted(args, &run) => {}
            Ok(Some(run)) => {
                let missing = is_missing(&store, &run.name, &written)?;
                if say.is_json() {
                    out.extend_from_slice(json_line(&run, missing).to_string().as_bytes());
                    out.push(b'\n');
                } else {
                    if out.is_empty() {
                        out.extend_from_slice(HEAD.as_bytes());
                    }
                    line(&run, missing, &zone, &mut out);
                }
            }
            Ok(None) => {}
            // One damaged root does not hide the others.
            Err(error) => {
                say.error(&error);
                exit = error.exit();
            }
        }
    }
    super::print(&out)?;
    Ok(exit)
}

/// Whether host and label are those that are asked for.
fn is_wanted(args: &SnapshotsArgs, run: &Run) -> bool {
    let is = |wanted: &Option<String>, found: &[u8]| {
        wanted.as_ref().is_none_or(|text| text.as_bytes() == found)
    };
    is(&args.host, &run.root.host) && is(&args.label, &run.root.label)
}

/// Whether the snapshot file of a run is not there, though its root says that there is one.
fn is_missing(store: &Store, run: &RunName, written: &[RunName]) -> Result<bool> {
    if written.binary_search(run).is_ok() {
        return Ok(false);
    }
    // It may have come since they were listed.
    let path = store.layout().snapshot_path(run);
    let stands = path.try_exists().map_err(Error::io("look for", &path))?;
    Ok(!stands)
}

/// The times, in nanoseconds since 1970, that the options allow.
pub fn range(since: Option<&str>, until: Option<&str>) -> Result<(u64, u64)> {
    let now = Zoned::now();
    let moment = |name, text: Option<&str>| {
        text.map(|text| Moment::parse(text, &now))
            .transpose()
            .map_err(|error| Error::Usage(format!("{name}: {error}")))
    };
    let since = moment("--since", since)?.map_or(0, |moment| moment.start());
    let until = moment("--until", until)?.map_or(u64::MAX, |moment| moment.end());
    if since > until {
        return Err(Error::Usage(
            "--since is later than --until: no time lies between them".into(),
        ));
    }
    Ok((since, until))
}

const HEAD: &str = "TIME                               STREAM      ADDED      INDEX  HOST  LABEL\n";

/// A time in nanoseconds since 1970. Those from 2262 on, which no `Timestamp` holds, stand
/// as its end.
pub fn time_of(time: u64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(time)).unwrap_or(Timestamp::MAX)
}

/// When a run ended, as people read it and as `@TIME` takes it.
pub fn show(name: &RunName, zone: &TimeZone) -> String {
    show_time(name.time, zone)
}

/// The same of a time in nanoseconds since 1970.
pub fn show_time(time: u64, zone: &TimeZone) -> String {
    let time = time_of(time).to_zoned(zone.clone());
    time.strftime("%Y-%m-%d %H:%M:%S.%9f").to_string()
}

fn added(run: &Run) -> Option<u64> {
    let stored = run.root.stored?;
    Some(stored.data.saturating_add(stored.metadata))
}

fn line(run: &Run, missing: bool, zone: &TimeZone, out: &mut Vec<u8>) {
    let columns = format!(
        "{}  {:>10} {:>10} {:>10}  ",
        show(&run.name, zone),
        size::show(run.root.stream_length),
        added(run).map_or_else(|| "?".to_owned(), size::show),
        size::show(run.snapshot.index_length),
    );
    out.extend_from_slice(columns.as_bytes());
    escape(&run.root.host, out);
    if !run.root.label.is_empty() {
        out.extend_from_slice(b"  ");
        escape(&run.root.label, out);
    }
    if missing {
        let lost = format!(
            "  (its file is missing: snapshots/{}.snap was not written, or was lost)",
            run.name
        );
        out.extend_from_slice(lost.as_bytes());
    }
    out.push(b'\n');
}

fn json_line(run: &Run, missing: bool) -> Value {
    let mut value = json!({
        "name": run.name.to_string(),
        "time": time_of(run.name.time).to_string(),
        "time_ns": run.name.time,
        "stream": run.root.stream_length,
        "index": run.snapshot.index_length,
        "missing": missing,
    });
    if let Some(stored) = run.root.stored {
        value["stored"] = json!(stored.data);
        value["snapshot"] = json!(stored.metadata);
    }
    put_text(&mut value, "host", &run.root.host);
    put_text(&mut value, "label", &run.root.label);
    value
}
