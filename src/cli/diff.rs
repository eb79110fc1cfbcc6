//! `dtar diff`: what differs between two indexes.

use std::io::{self, BufWriter, Write};

use serde_json::{Value, json};

use super::args::{DiffArgs, GlobalArgs};
use super::indexes::Indexes;
use super::ls::{escape, member_line};
use super::say::Say;
use super::size;
use dtar::error::{Error, Exit, Result};
use dtar::search::{Change, DiffOptions, DiffSummary, Difference, Version, diff};

pub fn run(args: &DiffArgs, global: &GlobalArgs, say: Say) -> Result<Exit> {
    let mut indexes = Indexes::new(global, say, args.unauthenticated, &args.bricks);
    let old = indexes.open(&args.old)?;
    let new = indexes.open(&args.new)?;
    let options = DiffOptions {
        patterns: args.patterns.clone(),
        times: !args.no_times,
        chunks: args.stat,
    };
    let mut diff = diff((&old.0, &old.1), (&new.0, &new.1), &options)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let (mut bytes, mut any) = (Vec::new(), false);
    while let Some(difference) = diff.next_difference()? {
        bytes.clear();
        if say.is_json() {
            bytes.extend_from_slice(json_line(&difference).to_string().as_bytes());
        } else {
            line(&difference, &mut bytes);
        }
        bytes.push(b'\n');
        any = true;
        if !written(out.write_all(&bytes))? {
            return Ok(different(args, any));
        }
    }
    if !written(out.flush())? {
        return Ok(different(args, any));
    }
    let unmatched: Vec<_> = diff.unmatched().map(str::to_owned).collect();
    for pattern in &unmatched {
        say.error_text(&format!(
            "{pattern}: no member of either index has such a name"
        ));
    }
    let summary = diff.finish()?;
    tell(&summary, args.stat, say);
    Ok(if unmatched.is_empty() {
        different(args, summary.differs())
    } else {
        Exit::Failed
    })
}

/// How a comparison ends that has found differences, or none: whoever reads its output may
/// have gone away before its end.
fn different(args: &DiffArgs, differs: bool) -> Exit {
    if args.exit_code && differs {
        Exit::Different
    } else {
        Exit::Done
    }
}

/// Whether whoever reads standard output is still there.
pub fn written(outcome: io::Result<()>) -> Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Error::io("write to", "standard output")(error)),
    }
}

/// Sign, letters, sizes before and after, name.
fn line(difference: &Difference, out: &mut Vec<u8>) {
    let size = |version: &Version| version.member.size.to_string();
    let none = || "-".to_owned();
    let (sign, letters, old, new, named) = match difference {
        Difference::Added(new) => ('+', String::new(), none(), size(new), new),
        Difference::Removed(old) => ('-', String::new(), size(old), none(), old),
        Difference::Changed { old, new, changes } => {
            let letters = changes.iter().map(|change| change.letter()).collect();
            ('*', letters, size(old), size(new), &**new)
        }
    };
    out.extend_from_slice(format!("{sign} {letters:<4} {old:>12} {new:>12} ").as_bytes());
    escape(&named.member.name, out);
}

fn json_line(difference: &Difference) -> Value {
    match difference {
        Difference::Added(new) => json!({ "change": "added", "new": version_line(new) }),
        Difference::Removed(old) => json!({ "change": "removed", "old": version_line(old) }),
        Difference::Changed { old, new, changes } => {
            let words: Vec<_> = changes
                .iter()
                .map(|change: &Change| change.word())
                .collect();
            json!({
                "change": "changed",
                "what": words,
                "old": version_line(old),
                "new": version_line(new),
            })
        }
    }
}

/// What `ls` says of a member, and the hash of its body.
pub fn version_line(version: &Version) -> Value {
    let mut value = member_line(&version.member);
    if let Some(hash) = version.body {
        value["hash"] = json!(hash.to_string());
    }
    value
}

fn tell(summary: &DiffSummary, stat: bool, say: Say) {
    let mut text = format!(
        "{} added, {} removed, {} changed, {} the same; {} more, {} less",
        summary.added,
        summary.removed,
        summary.changed,
        summary.same,
        size::show(summary.bytes_added),
        size::show(summary.bytes_removed),
    );
    if summary.overruled > 0 {
        let times = match summary.overruled {
            1 => "1 member is".to_owned(),
            number => format!("{number} members are"),
        };
        text = format!("{text}; {times} not looked at, for a later one has the same name");
    }
    let mut value = json!({
        "type": "summary",
        "added": summary.added,
        "removed": summary.removed,
        "changed": summary.changed,
        "same": summary.same,
        "bytes_added": summary.bytes_added,
        "bytes_removed": summary.bytes_removed,
        "overruled": summary.overruled,
    });
    if let Some(needed) = summary.needed {
        let about = if needed.estimated { "about " } else { "" };
        let bytes = size::show(needed.bytes);
        text = format!("{text}; chunks that only the second needs: {about}{bytes}");
        value["chunk_bytes"] = json!(needed.bytes);
        value["chunk_bytes_estimated"] = json!(needed.estimated);
    }
    if stat || say.is_json() || summary.overruled > 0 {
        say.summary(&text, &value);
    }
}
