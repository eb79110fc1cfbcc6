//! `dtar forget`: runs are given up.

use serde_json::json;

use super::args::{ForgetArgs, GlobalArgs};
use super::say::Say;
use super::setup;
use dtar::error::{Error, Exit, Result};
use dtar::gc::{forget, select, would_forget};
use dtar::snapshot::Selector;
use dtar::store::last_run::LastRun;
use dtar::store::layout::RunName;

pub fn run(args: &ForgetArgs, global: &GlobalArgs, say: Say) -> Result<Exit> {
    let selectors: Vec<Selector> = args
        .snapshots
        .iter()
        .map(|text| {
            if !Selector::is_meant(text) {
                return Err(Error::Usage(format!(
                    "{text}: expected a snapshot, such as @latest; `dtar snapshots` lists what \
                     there is"
                )));
            }
            setup::selector(text)
        })
        .collect::<Result<_>>()?;
    let (store, key) = setup::open(global)?;
    let keys = store.put_keys(&key)?;
    let last = setup::last_run(global, &store);
    // All are found before one goes: @2 is the second of those that are there now.
    let mut runs = Vec::new();
    for selector in &selectors {
        let found = select(&store, &keys, selector);
        runs.push(found.or_else(|error| gone(selector, last.as_ref())?.ok_or(error))?);
    }
    runs.sort_unstable();
    runs.dedup();
    for run in &runs {
        let done = if args.dry_run {
            would_forget(&store, run)?
        } else {
            // First: a gc that finds the root gone must not take that for a loss.
            if let Some(last) = &last {
                last.forget(run)?;
            }
            forget(&store, run)?
        };
        if say.is_json() {
            say.event(&json!({
                "type": "forgotten",
                "dry_run": args.dry_run,
                "name": run.to_string(),
                "snapshot": done.snapshot,
                "root": done.root,
            }));
        } else {
            let what = match (done.snapshot, done.root) {
                (true, true) => "snapshot and root",
                (true, false) => "its snapshot; it had no root",
                (false, true) => "its root; it had no snapshot",
                (false, false) => "nothing: it is gone already",
            };
            let did = if args.dry_run {
                ("would forget", "delete")
            } else {
                ("forgot", "deleted")
            };
            say.note(&format!("{} @{run}: {} {what}", did.0, did.1));
        }
    }
    let count = runs.len();
    let runs = format!("{count} run{}", if count == 1 { "" } else { "s" });
    let text = if args.dry_run {
        format!("would forget {runs}; nothing is deleted")
    } else {
        format!("forgot {runs}; `dtar gc` deletes what nobody needs any more")
    };
    let value = json!({ "type": "summary", "forgotten": count, "dry_run": args.dry_run });
    say.summary(&text, &value);
    Ok(Exit::Done)
}

/// The run that wrote its root last from here, if that is gone and it is the one that is
/// meant: others have given it up.
fn gone(selector: &Selector, last: Option<&LastRun>) -> Result<Option<RunName>> {
    let Selector::Name(name) = selector else {
        return Ok(None);
    };
    let run = last.map(LastRun::missing).transpose()?.flatten();
    Ok(run.filter(|run| run.to_string() == *name))
}
