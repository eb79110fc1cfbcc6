//! A plan for programs.

use serde_json::{Value, json};

use super::told::{Amount, From, Told};
use dtar::plan::{Planned, Prices};

pub fn show(told: &Told<'_>, prices: Option<&Prices>) -> Value {
    let bricks = told
        .bricks()
        .map(|(planned, from)| brick(told, planned, from));
    let pay = told.to_pay();
    let costs = prices.map(|prices| {
        let costs = prices.costs(pay.bricks, pay.bytes);
        let costs = costs.iter().map(|cost| {
            json!({
                "tier": cost.tier.name,
                "total": cost.total,
                "currency": prices.currency,
                "hours": cost.tier.hours,
            })
        });
        costs.collect::<Vec<_>>()
    });
    json!({
        "needed": amount(told.all),
        "used": told.used,
        "frames": told.frames,
        "here": amount(told.here),
        "pushed": amount(told.pushed()),
        "on_tape": amount(told.on_tape),
        "nowhere": told.unknown().bricks,
        "bricks": bricks.collect::<Vec<_>>(),
        "tapes": tapes(told),
        "costs": costs,
    })
}

fn amount(amount: Amount) -> Value {
    json!({ "bricks": amount.bricks, "bytes": amount.bytes })
}

fn brick(told: &Told<'_>, planned: &Planned, from: &From) -> Value {
    let (need, place) = (&planned.need, &planned.place);
    let containers = place.containers.iter().map(
        |at| json!({ "set": at.set.to_string(), "container": at.container, "offset": at.offset }),
    );
    let buckets = place.buckets.iter();
    let buckets = buckets.filter_map(|&at| told.plan.buckets.get(at));
    json!({
        "name": need.brick.to_string(),
        "bytes": need.length,
        "frames": need.frame_count,
        "used": need.used,
        "from": match from {
            From::Here => "here",
            From::Bucket(_) => "bucket",
            From::Tape(..) => "tape",
            From::Container(_) => "container",
            From::Somewhere => "unknown",
            From::Nowhere => "nowhere",
        },
        "here": place.here,
        "containers": containers.collect::<Vec<_>>(),
        "pushed": buckets.map(|bucket| &bucket.url).collect::<Vec<_>>(),
    })
}

fn tapes(told: &Told<'_>) -> Vec<Value> {
    let tapes = told.loads.iter().map(|load| {
        let files = load.files.iter().map(|file| {
            let bricks = file.bricks.iter();
            let bricks =
                bricks.map(|(offset, name)| json!({ "name": name.to_string(), "offset": offset }));
            json!({
                "file": file.file,
                "set": file.set.to_string(),
                "container": file.container,
                "bricks": bricks.collect::<Vec<_>>(),
            })
        });
        json!({
            "id": load.tape.to_string(),
            "name": load.name,
            "bytes": load.bytes,
            "files": files.collect::<Vec<_>>(),
        })
    });
    tapes.collect()
}
