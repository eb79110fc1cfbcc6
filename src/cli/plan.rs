//! `dtar plan`: what a restore needs, and where that is.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::args::GlobalArgs;
use super::cold_args::PlanArgs;
use super::indexes::Indexes;
use super::say::Say;
use super::{print, setup, size};
use dtar::container::Shelf;
use dtar::error::{Error, Exit, Result};
use dtar::index::{IndexFile, Trailer};
use dtar::plan::{EXAMPLE, Load, Places, Plan, Prices, loads};
use dtar::restore::needed;
use dtar::store::layout::Layout;

pub fn run(args: &PlanArgs, global: &GlobalArgs, say: Say) -> Result<Exit> {
    if args.example_prices {
        return print(EXAMPLE.as_bytes());
    }
    let Some(path) = &args.index else {
        return Err(Error::Usage(
            "name an index, or a snapshot such as @latest".into(),
        ));
    };
    let prices = args.prices.as_deref().map(read_prices).transpose()?;
    let (index, trailer) = open(path, args, global, say)?;
    let needs = needed(&index, &trailer, &args.patterns)?;
    let layout = Layout::new(setup::store_path(global)?);
    let shelf = Shelf::open(&args.bricks)?;
    for error in shelf.unreadable() {
        say.warn(&format!("{error}; this container is left out"));
    }
    let folders: Vec<PathBuf> = args
        .bricks
        .iter()
        .filter(|path| !path.is_file())
        .cloned()
        .collect();
    let places = Places {
        layout: &layout,
        bricks_in: &folders,
        shelf: &shelf,
        catalogs: &args.catalogs,
    };
    let plan = places.find(needs)?;
    for warning in &plan.warnings {
        say.warn(warning);
    }
    let told = Told::new(&plan, args.tapes);
    let text = if args.list {
        told.list()
    } else if say.is_json() {
        format!("{}\n", told.json(prices.as_ref()))
    } else {
        told.text(prices.as_ref())
    };
    print(text.as_bytes())?;
    Ok(if told.nowhere == 0 {
        Exit::Done
    } else {
        Exit::Damaged
    })
}

/// The index, checked if the key is at hand: bricks are named without.
fn open(
    path: &Path,
    args: &PlanArgs,
    global: &GlobalArgs,
    say: Say,
) -> Result<(IndexFile, Trailer)> {
    let mut indexes = Indexes::new(global, say, false, &args.bricks);
    if setup::selector_of(path)?.is_some() || global.key.is_some() || setup::has_key(global)? {
        return indexes.open(path);
    }
    let index = IndexFile::open(path)?;
    let trailer = index.trailer()?;
    say.note("there is no key here: the index is not checked, and may name other bricks");
    Ok((index, trailer))
}

fn read_prices(path: &Path) -> Result<Prices> {
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    Prices::parse(&text).map_err(|error| Error::Refused {
        path: path.to_owned(),
        message: format!("not a price list: {error}; see `dtar plan --example-prices`"),
        exit: Exit::Usage,
    })
}

/// Bricks and bytes.
#[derive(Debug, Default, Clone, Copy)]
struct Amount {
    bricks: u64,
    bytes: u64,
}

impl Amount {
    fn add(&mut self, bytes: u64) {
        self.bricks += 1;
        self.bytes += bytes;
    }

    fn text(self) -> String {
        let s = if self.bricks == 1 { "" } else { "s" };
        format!("{} brick{s}, {}", self.bricks, size::show(self.bytes))
    }

    fn json(self) -> Value {
        json!({ "bricks": self.bricks, "bytes": self.bytes })
    }
}

/// A plan, added up.
struct Told<'a> {
    plan: &'a Plan,
    loads: Vec<Load>,
    all: Amount,
    /// Of the frames.
    used: u64,
    frames: u64,
    here: Amount,
    buckets: Vec<Amount>,
    on_tape: Amount,
    /// In containers of which no tape is known, by set and number.
    containers: BTreeMap<(String, u32), Amount>,
    nowhere: u64,
}

impl<'a> Told<'a> {
    /// `tapes`: load tapes for what was pushed, too.
    fn new(plan: &'a Plan, tapes: bool) -> Self {
        let (loads, on_none) = loads(plan, tapes);
        let on_none: BTreeSet<_> = on_none.into_iter().collect();
        let mut told = Self {
            plan,
            loads,
            all: Amount::default(),
            used: 0,
            frames: 0,
            here: Amount::default(),
            buckets: vec![Amount::default(); plan.buckets.len()],
            on_tape: Amount::default(),
            containers: BTreeMap::new(),
            nowhere: 0,
        };
        for planned in &plan.bricks {
            let (need, place) = (&planned.need, &planned.place);
            told.all.add(need.length);
            told.used += need.used;
            told.frames += u64::from(need.frames);
            if place.here.is_some() {
                told.here.add(need.length);
            } else if let (Some(&bucket), false) = (place.buckets.first(), tapes) {
                told.buckets[bucket].add(need.length);
            } else if !on_none.contains(&need.brick) {
                told.on_tape.add(need.length);
            } else if let Some(at) = place.containers.first() {
                let key = (at.set.to_string(), at.container);
                told.containers.entry(key).or_default().add(need.length);
            } else if let Some(&bucket) = place.buckets.first() {
                told.buckets[bucket].add(need.length);
            } else {
                told.nowhere += 1;
            }
        }
        told
    }

    /// One object a line: the bricks that are not here.
    fn list(&self) -> String {
        let away = self
            .plan
            .bricks
            .iter()
            .filter(|planned| planned.place.here.is_none());
        let lines = away.map(|planned| {
            let name = planned.need.brick;
            format!("bricks/{:02x}/{name}.brick\n", name.as_bytes()[0])
        });
        lines.collect()
    }

    fn pushed(&self) -> Amount {
        let sum = |sum: Amount, more: &Amount| Amount {
            bricks: sum.bricks + more.bricks,
            bytes: sum.bytes + more.bytes,
        };
        self.buckets.iter().fold(Amount::default(), sum)
    }

    fn text(&self, prices: Option<&Prices>) -> String {
        let mut out = Vec::new();
        // Writing into memory does not fail.
        let _ = self.write(&mut out, prices);
        String::from_utf8_lossy(&out).into_owned()
    }

    fn write(&self, out: &mut dyn Write, prices: Option<&Prices>) -> std::io::Result<()> {
        writeln!(
            out,
            "needed      {}; {} of them ({}), {} frames",
            self.all.text(),
            size::show(self.used),
            percent(self.used, self.all.bytes),
            self.frames
        )?;
        writeln!(out, "at hand     {}", self.here.text())?;
        for (bucket, amount) in self.plan.buckets.iter().zip(&self.buckets) {
            if amount.bricks > 0 {
                let class = bucket.class.as_deref().unwrap_or("STANDARD");
                writeln!(
                    out,
                    "pushed      {}, to {} ({class})",
                    amount.text(),
                    bucket.url
                )?;
            }
        }
        if !self.loads.is_empty() {
            let s = if self.loads.len() == 1 { "" } else { "s" };
            writeln!(
                out,
                "on tape     {}, on {} tape{s}:",
                self.on_tape.text(),
                self.loads.len()
            )?;
            for load in &self.loads {
                let files: Vec<_> = load
                    .files
                    .iter()
                    .map(|file| file.file.to_string())
                    .collect();
                let bricks = load.files.iter().map(|file| file.bricks.len() as u64).sum();
                let amount = Amount {
                    bricks,
                    bytes: load.bytes,
                };
                writeln!(
                    out,
                    "  {}  {}, tape file {}",
                    load.name,
                    amount.text(),
                    files.join(", ")
                )?;
            }
        }
        for ((set, number), amount) in &self.containers {
            let set = set.get(..8).unwrap_or_default();
            writeln!(
                out,
                "container   {}, in {set}-{number:06}.tar",
                amount.text()
            )?;
        }
        if self.nowhere > 0 {
            writeln!(
                out,
                "NOWHERE     {} bricks: not here, and in no catalog or list that is here",
                self.nowhere
            )?;
        }
        let pushed = self.pushed();
        for cost in prices.map_or(Vec::new(), |prices| {
            prices.costs(pushed.bricks, pushed.bytes)
        }) {
            let currency = prices.map_or("", |prices| &prices.currency);
            writeln!(
                out,
                "cost        {:.2} {currency}, after {} h: {}",
                cost.total, cost.tier.hours, cost.tier.name
            )?;
        }
        Ok(())
    }

    fn json(&self, prices: Option<&Prices>) -> Value {
        let bricks = self.plan.bricks.iter().map(|planned| {
            let (need, place) = (&planned.need, &planned.place);
            let containers = place.containers.iter().map(|at| {
                json!({ "set": at.set.to_string(), "container": at.container, "offset": at.offset })
            });
            let buckets = place
                .buckets
                .iter()
                .filter_map(|&at| self.plan.buckets.get(at));
            json!({
                "name": need.brick.to_string(),
                "bytes": need.length,
                "frames": need.frames,
                "used": need.used,
                "here": place.here,
                "containers": containers.collect::<Vec<_>>(),
                "pushed": buckets.map(|bucket| &bucket.url).collect::<Vec<_>>(),
            })
        });
        let tapes = self.loads.iter().map(|load| {
            let files = load.files.iter().map(|file| {
                let bricks = file.bricks.iter();
                let bricks = bricks
                    .map(|(offset, name)| json!({ "name": name.to_string(), "offset": offset }));
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
        let pushed = self.pushed();
        let costs = prices.map(|prices| {
            let costs = prices.costs(pushed.bricks, pushed.bytes);
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
            "needed": self.all.json(),
            "used": self.used,
            "frames": self.frames,
            "here": self.here.json(),
            "pushed": pushed.json(),
            "on_tape": self.on_tape.json(),
            "nowhere": self.nowhere,
            "bricks": bricks.collect::<Vec<_>>(),
            "tapes": tapes.collect::<Vec<_>>(),
            "costs": costs,
        })
    }
}

fn percent(part: u64, whole: u64) -> String {
    match u128::from(part) * 100 {
        _ if whole == 0 => "0 %".to_owned(),
        part => format!("{} %", part / u128::from(whole)),
    }
}
