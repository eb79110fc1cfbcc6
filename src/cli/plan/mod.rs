//! `dtar plan`: what a restore needs, and where that is.

mod json;
mod next;
mod text;
mod told;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::args::GlobalArgs;
use super::cold_args::PlanArgs;
use super::indexes::Indexes;
use super::say::Say;
use super::{print, setup};
use dtar::container::Shelf;
use dtar::error::{Error, Exit, Result};
use dtar::plan::{EXAMPLE, Places, Prices};
use dtar::restore::Tocs;
use dtar::store::layout::Layout;
use told::Told;

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
    let mut indexes = Indexes::new(global, say, false, &args.bricks);
    let (index, trailer) = indexes.open(path)?;
    let layout = Layout::new(setup::store_path(global)?);
    let shelf = Arc::new(Shelf::open(&args.bricks)?);
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
    let keys = indexes.put_keys(&trailer)?;
    let tocs = keys.map(|keys| Tocs::new(&layout, &folders, Arc::clone(&shelf), keys));
    let plan = places.plan(&index, &trailer, &args.patterns, tocs.as_ref())?;
    for warning in &plan.warnings {
        say.warn(warning);
    }
    let told = Told::new(&plan, args.tapes);
    if told.all.bricks == 0 && !args.patterns.is_empty() {
        say.warn("no member with content matches: `dtar ls` shows the names");
    }
    let text = if let Some(what) = args.list {
        told.list(what)
    } else if say.is_json() {
        format!("{}\n", json::show(&told, prices.as_ref()))
    } else {
        let unknown = next::unknown(&told, tocs.is_some(), &layout)?;
        let next = next::commands(&told, args, global, &layout);
        text::show(&told, args.detail, prices.as_ref(), &unknown, &next)
    };
    print(text.as_bytes())?;
    Ok(Exit::of_damage(told.unknown().bricks > 0))
}

fn read_prices(path: &Path) -> Result<Prices> {
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    Prices::parse(&text).map_err(|error| Error::Refused {
        path: path.to_owned(),
        message: format!("not a price list: {error}; see `dtar plan --example-prices`"),
        exit: Exit::Usage,
    })
}
