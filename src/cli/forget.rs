//! `dtar forget`: runs are given up.

use serde_json::json;

use super::args::{ForgetArgs, GlobalArgs};
use super::say::Say;
use super::setup;
use dtar::error::{Error, Exit, Result};
use dtar::gc::{forget, select};
use dtar::snapshot::Selector;

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
    // All are found before one goes: @2 is the second of those that are there now.
    let mut runs = selectors
        .iter()
        .map(|selector| select(&store, &keys, selector))
        .collect::<Result<Vec<_>>>()?;
    runs.sort_unstable();
    runs.dedup();
    for run in &runs {
        let done = forget(&store, run)?;
        if let Some(last) = setup::last_run(global, &store) {
            last.forget(run)?;
        }
        if say.is_json() {
            say.event(&json!({
                "type": "forgotten",
                "name": run.to_string(),
                "snapshot": done.snapshot,
                "root": done.root,
            }));
        } else {
            let what = match (done.snapshot, done.root) {
                (true, true) => "snapshot and root",
                (true, false) => "its snapshot; it had no root",
                (false, true) => "its root; it had no snapshot",
                (false, false) => "nothing: somebody else was faster",
            };
            say.note(&format!("forgot @{run}: deleted {what}"));
        }
    }
    let count = runs.len();
    say.summary(
        &format!(
            "forgot {count} run{}; `dtar gc` deletes what nobody needs any more",
            if count == 1 { "" } else { "s" }
        ),
        &json!({ "type": "summary", "forgotten": count }),
    );
    Ok(Exit::Done)
}
