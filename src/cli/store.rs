//! `dtar store`: what is in the store.

use serde_json::json;

use super::args::GlobalArgs;
use super::say::Say;
use super::{setup, size};
use dtar::error::{Exit, Result};

pub fn run(global: &GlobalArgs, say: Say) -> Result<Exit> {
    let (store, key) = setup::open(global)?;
    let keys = store.put_keys(&key)?;
    let mut catalog = setup::catalog(global, say, &store, &keys)?;
    let totals = store.totals()?;
    let chunks = catalog.totals()?.chunks;
    let (bricks, metadata) = (totals.data_bricks, totals.metadata_bricks);
    let text = if say.is_json() {
        let value = json!({
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
        });
        format!("{value}\n")
    } else {
        format!(
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
            chunks,
        )
    };
    super::print(text.as_bytes())
}
