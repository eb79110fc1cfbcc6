//! `dtar find`: in which snapshots a member stands, and how it changed.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::args::{FindArgs, GlobalArgs};
use super::diff::{version_line, written};
use super::indexes::Indexes;
use super::ls::{LEAST_WIDTH, escape, line, put_text};
use super::say::Say;
use super::{setup, snapshots};
use dtar::error::{Error, Exit, Result};
use dtar::id::ChunkHash;
use dtar::search::{Finder, Found, Since};
use dtar::snapshot::{Run, runs};
use dtar::store::layout::RunName;

/// Where to look.
enum Source {
    File(PathBuf),
    /// A run whose root is not read yet.
    Name(RunName),
    Run(Box<Run>),
}

pub fn run(args: &FindArgs, global: &GlobalArgs, say: Say) -> Result<Exit> {
    let bodies = hashes(&args.hash)?;
    let mut indexes = Indexes::new(global, say, args.unauthenticated, &args.bricks);
    let sources = sources(args, &mut indexes)?;
    let mut finder = Finder::new(&args.patterns, &bodies)?;
    let mut searched = Vec::new();
    let mut exit = Exit::Done;
    for source in sources {
        let found = match search(source, &mut indexes, &mut finder, &mut searched) {
            Ok(found) => found,
            // One damaged snapshot does not hide what is in the others.
            Err(error) if args.indexes.is_empty() => {
                say.error(&error);
                exit = error.exit();
                finder.gap();
                continue;
            }
            Err(error) => return Err(error),
        };
        if args.first && found > 0 {
            break;
        }
    }
    if args.since.is_some() {
        finder.gap();
    }
    let mut unmatched: Vec<_> = finder.unmatched().map(str::to_owned).collect();
    let mut histories = finder.finish()?;
    let mut out = BufWriter::new(io::stdout().lock());
    let zone = TimeZone::system();
    let mut width = LEAST_WIDTH;
    let mut any = false;
    while let Some(found) = histories.next_found()? {
        any = true;
        let Some(source) = searched.get(found.source) else {
            return Err(Error::Internal("a member of no index was found".into()));
        };
        let mut bytes = if say.is_json() {
            json_line(&found, source, args.first)
                .to_string()
                .into_bytes()
        } else {
            text_line(&found, source, args.first, &zone, &mut width)
        };
        bytes.push(b'\n');
        if !written(out.write_all(&bytes))? {
            return Ok(exit);
        }
    }
    written(out.flush())?;
    if !any && unmatched.is_empty() {
        unmatched.push(
            args.patterns
                .iter()
                .chain(&args.hash)
                .next()
                .cloned()
                .unwrap_or_default(),
        );
    }
    for pattern in &unmatched {
        say.error_text(&not_found(pattern, &searched));
    }
    Ok(if exit == Exit::Done && !unmatched.is_empty() {
        Exit::Failed
    } else {
        exit
    })
}

fn not_found(pattern: &str, searched: &[Source]) -> String {
    let places = match searched.len() {
        1 => "the one index that was searched".to_owned(),
        number => format!("the {number} indexes that were searched"),
    };
    format!("{pattern}: no such member in {places}")
}

fn hashes(texts: &[String]) -> Result<Vec<ChunkHash>> {
    let parse = |text: &String| {
        text.to_ascii_lowercase().parse().map_err(|error| {
            Error::Usage(format!(
                "--hash: {error}; a BLAKE3-256, as b3sum prints it, is meant"
            ))
        })
    };
    texts.iter().map(parse).collect()
}

/// Where to look, the newest first.
fn sources(args: &FindArgs, indexes: &mut Indexes<'_>) -> Result<Vec<Source>> {
    if args.indexes.is_empty() {
        if indexes.has_escrow_key()? {
            return Err(Error::Usage(
                "with a key in escrow it cannot be told which snapshots there are: name them, \
                 newest first, with --in @latest --in @2, or their names"
                    .into(),
            ));
        }
        let (since, until) = snapshots::range(args.since.as_deref(), args.until.as_deref())?;
        let (_, store, _) = indexes.store()?;
        let names = runs(store, since, until)?;
        return Ok(names.into_iter().rev().map(Source::Name).collect());
    }
    let source = |path: &PathBuf| {
        Ok(match setup::selector_of(path)? {
            Some(selector) if !indexes.has_escrow_key()? => {
                Source::Run(Box::new(indexes.run(&selector)?))
            }
            _ => Source::File(path.clone()),
        })
    };
    args.indexes.iter().map(source).collect()
}

/// Looks through one index; how many members match.
fn search(
    source: Source,
    indexes: &mut Indexes<'_>,
    finder: &mut Finder,
    searched: &mut Vec<Source>,
) -> Result<u64> {
    let source = match source {
        Source::Name(name) => {
            let (_, store, keys) = indexes.store()?;
            match Run::read(store, keys, name)? {
                Some(run) => Source::Run(Box::new(run)),
                // It left no snapshot.
                None => return Ok(0),
            }
        }
        other => other,
    };
    let (index, trailer) = match &source {
        Source::Run(run) => indexes.open_snapshot(run)?,
        Source::File(path) => indexes.open(path)?,
        Source::Name(_) => return Ok(0),
    };
    // Even if it fails half-way, what was found before stays.
    searched.push(source);
    finder.add(&index, &trailer)
}

fn word(since: Since) -> Option<&'static str> {
    match since {
        Since::First => Some("first"),
        Since::Changed => Some("changed"),
        Since::Same => Some("same"),
        Since::Unknown => None,
    }
}

fn text_line(
    found: &Found,
    source: &Source,
    first: bool,
    zone: &TimeZone,
    width: &mut usize,
) -> Vec<u8> {
    let mut out = Vec::new();
    match source {
        Source::Run(run) => out.extend_from_slice(snapshots::show(&run.name, zone).as_bytes()),
        Source::File(path) => escape(bytes_of(path), &mut out),
        Source::Name(_) => {}
    }
    let since = word(found.since).filter(|_| !first).unwrap_or("");
    out.extend_from_slice(format!("  {since:<7}  ").as_bytes());
    out.extend(line(&found.version.member, zone, width));
    out
}

fn json_line(found: &Found, source: &Source, first: bool) -> Value {
    let mut value = version_line(&found.version);
    match source {
        Source::Run(run) => {
            value["snapshot"] = json!(run.name.to_string());
            value["time_ns"] = json!(run.name.time);
            put_text(&mut value, "host", &run.root.host);
            put_text(&mut value, "label", &run.root.label);
        }
        Source::File(path) => put_text(&mut value, "index", bytes_of(path)),
        Source::Name(_) => {}
    }
    if let Some(word) = word(found.since).filter(|_| !first) {
        value["change"] = json!(word);
    }
    value
}

fn bytes_of(path: &Path) -> &[u8] {
    std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str())
}
