//! `dtar store`: what is in the store.

use std::fmt::Write as _;

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::args::GlobalArgs;
use super::ls::{escape, put_text};
use super::say::Say;
use super::size::count;
use super::snapshots::{show, show_time, time_of};
use super::{setup, size};
use dtar::error::{Exit, Result};
use dtar::format::note::{Note, NoteKind};
use dtar::id::BrickName;
use dtar::parity::{self, ParityTotals, Places};
use dtar::store::layout::RunName;
use dtar::store::runs::OtherRun;
use dtar::store::upkeep::{Lone, Upkeep};

pub fn run(global: &GlobalArgs, say: Say) -> Result<Exit> {
    let (store, key) = setup::open(global)?;
    let keys = store.put_keys(&key)?;
    let totals = store.totals()?;
    setup::warn_if_set_back(global, say, &store)?;
    let catalog = setup::catalog(global, say, &store, &keys);
    // Whatever is wrong, all else is told: this is where people look.
    let (chunks, exit) = match catalog.and_then(|mut catalog| catalog.totals()) {
        Ok(totals) => (Some(totals.chunks), Exit::Done),
        Err(error) => {
            say.error(&error);
            (None, error.exit())
        }
    };
    let parity = parity::totals(&Places::new(store.path(), &[])?)?;
    let upkeep = Upkeep::of(&store, &keys)?;
    let (bricks, metadata) = (totals.data_bricks, totals.metadata_bricks);
    let text = if say.is_json() {
        let mut value = json!({
            "store": store.path().display().to_string(),
            "store_id": store.id().to_string(),
            "key_id": key.key_id().to_string(),
            "epoch": store.epoch().0,
            "recipients": store.recipients().len(),
            "bricks": bricks.count,
            "brick_bytes": bricks.bytes,
            "metadata_bricks": metadata.count,
            "metadata_brick_bytes": metadata.bytes,
            "sidecars": totals.sidecars,
            "roots": totals.roots.count,
            "snapshots": totals.snapshots,
            "chunks": chunks,
            "parity": {
                "sets": parity.sets,
                "files": parity.files,
                "bytes": parity.bytes,
                "unusable": parity.unusable,
            },
        });
        put_upkeep(&upkeep, &mut value);
        format!("{value}\n").into_bytes()
    } else {
        let text = format!(
            "store       {}\nstore id    {}\nkey id      {}\nrecipients  {}\n\
             bricks      {} here, {}\nmetadata    {} here, {}\nsidecars    {}\nroots       {}\n\
             snapshots   {}\nchunks      {}\n",
            store.path().display(),
            store.id(),
            key.key_id(),
            store.recipients().len(),
            bricks.count,
            size::show(bricks.bytes),
            metadata.count,
            size::show(metadata.bytes),
            totals.sidecars,
            totals.roots.count,
            totals.snapshots,
            chunks.map_or_else(|| "unknown".to_owned(), |chunks| chunks.to_string()),
        );
        let mut text = text.into_bytes();
        tell_parity(&parity, &mut text);
        tell_upkeep(&upkeep, &mut text);
        text
    };
    super::print(&text)?;
    Ok(exit)
}

fn tell_parity(parity: &ParityTotals, out: &mut Vec<u8>) {
    if *parity == ParityTotals::default() {
        return;
    }
    let mut line = format!(
        "parity      {}, {}, {}",
        count(parity.sets, "set"),
        count(parity.files, "file"),
        size::show(parity.bytes)
    );
    if parity.unusable > 0 {
        // Writing to a string cannot fail.
        let _ = write!(line, "; {} of no use", count(parity.unusable, "file"));
    }
    out.extend_from_slice(line.as_bytes());
    out.push(b'\n');
}

/// A heading with a number, and a line for each of them; nothing, if there is none.
fn section<T>(heading: &str, all: &[T], out: &mut Vec<u8>, mut line: impl FnMut(&T, &mut Vec<u8>)) {
    if all.is_empty() {
        return;
    }
    out.extend_from_slice(format!("{heading:<11} {}\n", all.len()).as_bytes());
    for one in all {
        out.extend_from_slice(b"  ");
        line(one, out);
        out.push(b'\n');
    }
}

fn tell_upkeep(upkeep: &Upkeep, out: &mut Vec<u8>) {
    let zone = TimeZone::system();
    let put = |out: &mut Vec<u8>, text: &str| out.extend_from_slice(text.as_bytes());
    section("runs", &upkeep.runs, out, |run, out| {
        let state = if run.is_dead { ", cut off" } else { "" };
        put(
            out,
            &format!("{}  {}{state}", show(&run.name, &zone), kind(run)),
        );
        put_origin(run.lease.as_ref(), out);
    });
    section(
        "dead lists",
        &upkeep.dead_lists,
        out,
        |(name, note), out| {
            let what = match note {
                Some(note) => {
                    let bricks = count(note.bricks.len() as u64, "brick");
                    format!("{bricks} to be deleted")
                }
                None => "does not open: run `dtar gc`".to_owned(),
            };
            put(out, &format!("{}  {what}", show(name, &zone)));
            put_origin(note.as_ref(), out);
        },
    );
    section("damaged", &upkeep.marks, out, |(brick, note), out| {
        put(out, &brick.to_string());
        match note {
            Some(note) => {
                put(out, &format!("  {}", show_time(note.time, &zone)));
                put_origin(Some(note), out);
            }
            None => put(
                out,
                "  not sealed: marked without a key, or by somebody else",
            ),
        }
    });
    section("no snapshot", &upkeep.lone_roots, out, |lone, out| {
        put(out, &format!("{}  ", show(&lone.name, &zone)));
        match &lone.root {
            Ok(root) => {
                escape(&root.host, out);
                put(out, "  ");
                escape(&root.label, out);
                if root.snapshot.is_some() {
                    put(out, "  (its file was not written, or was lost)");
                }
            }
            Err(error) => put(out, &format!("does not open: {error}")),
        }
    });
    section("no root", &upkeep.lone_snapshots, out, |name, out| {
        put(
            out,
            &format!(
                "{}  gc stops: bring the root back, or `dtar forget @{name}`",
                show(name, &zone)
            ),
        );
    });
}

const fn kind(run: &OtherRun) -> &'static str {
    match &run.lease {
        None => "unknown",
        Some(note) => match note.kind {
            NoteKind::GcLease => "gc",
            _ => "archive",
        },
    }
}

/// Host, process and text of a note.
fn put_origin(note: Option<&Note>, out: &mut Vec<u8>) {
    let Some(note) = note else { return };
    out.extend_from_slice(b"  ");
    escape(&note.host, out);
    out.extend_from_slice(format!(", process {}", note.process).as_bytes());
    if !note.text.is_empty() {
        out.extend_from_slice(b"  ");
        escape(&note.text, out);
    }
}

fn put_upkeep(upkeep: &Upkeep, value: &mut Value) {
    let run = |run: &OtherRun| {
        let mut line = named(&run.name, run.lease.as_ref(), "label");
        line["kind"] = json!(kind(run));
        line["dead"] = json!(run.is_dead);
        line
    };
    value["runs"] = upkeep.runs.iter().map(run).collect();
    let list = |(name, note): &(RunName, Option<Note>)| {
        let mut line = named(name, note.as_ref(), "text");
        line["bricks"] = json!(note.as_ref().map(|note| note.bricks.len()));
        line
    };
    value["dead_lists"] = upkeep.dead_lists.iter().map(list).collect();
    let mark = |(brick, note): &(BrickName, Option<Note>)| {
        let mut line = json!({ "name": brick.to_string(), "sealed": note.is_some() });
        if let Some(note) = note {
            put_time(&mut line, note.time);
            put_note(&mut line, note, "text");
        }
        line
    };
    value["marks"] = upkeep.marks.iter().map(mark).collect();
    let lone = |lone: &Lone| {
        let mut line = named(&lone.name, None, "label");
        match &lone.root {
            Ok(root) => {
                put_text(&mut line, "host", &root.host);
                put_text(&mut line, "label", &root.label);
                line["lost"] = json!(root.snapshot.is_some());
            }
            Err(_) => line["lost"] = json!(true),
        }
        line
    };
    value["roots_without_snapshot"] = upkeep.lone_roots.iter().map(lone).collect();
    let without = upkeep.lone_snapshots.iter();
    value["snapshots_without_root"] = without.map(|name| named(name, None, "label")).collect();
}

fn named(name: &RunName, note: Option<&Note>, text: &str) -> Value {
    let mut line = json!({ "name": name.to_string() });
    put_time(&mut line, name.time);
    if let Some(note) = note {
        put_note(&mut line, note, text);
    }
    line
}

fn put_time(line: &mut Value, time: u64) {
    line["time"] = json!(time_of(time).to_string());
    line["time_ns"] = json!(time);
}

fn put_note(line: &mut Value, note: &Note, text: &str) {
    put_text(line, "host", &note.host);
    line["process"] = json!(note.process);
    put_text(line, text, &note.text);
}
