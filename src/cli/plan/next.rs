//! What to run after a plan.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;

use super::super::args::GlobalArgs;
use super::super::cold_args::PlanArgs;
use super::told::Told;
use dtar::error::Result;
use dtar::store::away::AwayPlace;
use dtar::store::layout::Layout;

/// The folder into which the commands put bricks.
const THAWED: &str = "thawed";

/// What may help where it is not known of some bricks where they are.
pub fn unknown(told: &Told<'_>, has_key: bool, layout: &Layout) -> Result<Vec<&'static str>> {
    let mut lines = Vec::new();
    if told.somewhere.bricks > 0 {
        lines.extend([
            "What is away was moved by hand, or lost: the store has its tables of contents.",
            "Name a folder or container with it with --bricks, or a catalog of containers with",
            "--catalog-of-set; --list names the bricks for other tools.",
        ]);
    }
    if told.nowhere.bricks == 0 {
        return Ok(lines);
    }
    lines.extend(if !has_key {
        [
            "A gc may have moved what is needed of these into other bricks: with the store's key,",
            "or a put key, `dtar plan` finds out (--key FILE).",
        ]
    } else if has_tocs(layout)? {
        [
            "No table of contents here says that a gc has moved what is needed of these: name where",
            "they are (--bricks, --catalog-of-set), or bring what others pushed with `dtar sync`.",
        ]
    } else {
        [
            "There are no tables of contents here, which say what a gc has moved: bring them with",
            "`dtar sync`, `dtar unpack --hot` or `dtar tape restore --hot`, and plan again.",
        ]
    });
    Ok(lines)
}

fn has_tocs(layout: &Layout) -> Result<bool> {
    let mut names = Vec::new();
    for shard in 0..=u8::MAX {
        layout.sidecar_names(shard, &mut names)?;
        if !names.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The commands that bring what is needed here, and restore.
pub fn commands(
    told: &Told<'_>,
    args: &PlanArgs,
    global: &GlobalArgs,
    layout: &Layout,
) -> Vec<String> {
    if told.unknown().bricks > 0 {
        return Vec::new();
    }
    let words = Words::new(args, global);
    let mut lines = tapes(told, args, &words, layout);
    let buckets: Vec<_> = told.plan.buckets.iter().zip(&told.buckets).collect();
    let buckets = buckets.into_iter().filter(|(_, amount)| amount.bricks > 0);
    let buckets: Vec<&AwayPlace> = buckets.map(|(bucket, _)| bucket).collect();
    let mut places = vec![words.bricks.clone()];
    if !lines.is_empty() || buckets.len() > 1 {
        places.push(format!(" --bricks {THAWED}"));
    }
    if !told.containers.is_empty() {
        places.push(" --bricks FOLDER-OF-CONTAINERS".to_owned());
    }
    if buckets.len() == 1 && told.here.bricks > 0 {
        places.push(format!(" --bricks {}", path(layout.path())));
    }
    let places = places.concat();
    for bucket in buckets.iter().filter(|bucket| is_cold(bucket)) {
        let Words {
            dtar, what, bricks, ..
        } = &words;
        lines.push(format!("{dtar} thaw {what} --from {}{bricks}", at(bucket)));
    }
    let (dtar, what) = (&words.dtar, &words.what);
    match buckets[..] {
        [] => lines.push(format!("{dtar} restore{places} {what} | tar x")),
        [bucket] => {
            let wait = if is_cold(bucket) { " --wait" } else { "" };
            let (key, url) = (&words.key, at(bucket));
            lines.push(format!(
                "dtar{key} restore --store {url}{wait}{places} {what} | tar x"
            ));
        }
        _ => {
            for bucket in buckets {
                let (url, index) = (at(bucket), &words.index);
                let wait = if is_cold(bucket) { " --wait" } else { "" };
                lines.push(format!("{dtar} pull {url} {index} --to {THAWED}{wait}"));
            }
            lines.push(format!("{dtar} restore{places} {what} | tar x"));
        }
    }
    lines
}

/// A line for each set of which tapes are to be loaded.
fn tapes(told: &Told<'_>, args: &PlanArgs, words: &Words, layout: &Layout) -> Vec<String> {
    let files = told.loads.iter().flat_map(|load| &load.files);
    let sets: BTreeSet<_> = files.map(|file| file.set).collect();
    let lines = sets.into_iter().map(|set| {
        let plan = &told.plan;
        let found = plan.catalogs.get(&set);
        let found = found
            .filter(|found| plan.catalogs.len() > 1 || !found.starts_with(layout.containers_dir()));
        let catalog = found.map_or_else(String::new, |found| {
            format!(" --from-catalog {}", path(found))
        });
        let Words {
            dtar, bricks, what, ..
        } = words;
        let more = args.catalogs.iter();
        let more = more.map(|file| format!(" --catalog-of-set {}", path(file)));
        let more = more.collect::<Vec<_>>().concat();
        let tapes = if args.tapes { " --tapes" } else { "" };
        format!(
            "{dtar} plan --list=tape{tapes}{more}{bricks} {what} | \
             {dtar} tape restore --only - --to {THAWED}{catalog} --drive DRIVE"
        )
    });
    lines.collect()
}

/// The URL, and the server if it is not in the environment.
fn at(bucket: &AwayPlace) -> String {
    let url = quoted(&bucket.url);
    match &bucket.endpoint {
        Some(endpoint) if std::env::var("AWS_ENDPOINT_URL").ok().as_ref() != Some(endpoint) => {
            format!("{url} --endpoint {}", quoted(endpoint))
        }
        _ => url,
    }
}

fn is_cold(bucket: &AwayPlace) -> bool {
    matches!(bucket.class.as_deref(), Some("GLACIER" | "DEEP_ARCHIVE"))
}

/// What was given on the command line, as it is to be given again.
struct Words {
    /// The program, with store and key.
    dtar: String,
    key: String,
    bricks: String,
    index: String,
    /// Index and patterns.
    what: String,
}

impl Words {
    fn new(args: &PlanArgs, global: &GlobalArgs) -> Self {
        // What stands in the environment need not be said.
        let option = |name: &str, value: Option<&Path>, variable: &str| match value {
            Some(value) if std::env::var_os(variable).as_deref() != Some(value.as_os_str()) => {
                format!(" {name} {}", path(value))
            }
            _ => String::new(),
        };
        let store = option("--store", global.store.as_deref(), "DTAR_STORE");
        let key = option("--key", global.key.as_deref(), "DTAR_KEY");
        let index = match args.index.as_deref() {
            Some(index) if index != Path::new("-") => path(index),
            _ => "INDEX".to_owned(),
        };
        let bricks = args.bricks.iter();
        let bricks = bricks.map(|dir| format!(" --bricks {}", path(dir)));
        let patterns = args.patterns.iter();
        let patterns: Vec<_> = patterns.map(|one| format!(" {}", quoted(one))).collect();
        Self {
            dtar: format!("dtar{store}{key}"),
            key,
            bricks: bricks.collect::<Vec<_>>().concat(),
            what: format!("{index}{}", patterns.concat()),
            index,
        }
    }
}

fn path(path: &Path) -> String {
    quoted(&OsStr::to_string_lossy(path.as_os_str()))
}

/// As a word for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./,:@%+=".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_take_them_otherwise() {
        assert_eq!(quoted("@latest"), "@latest");
        assert_eq!(quoted("*.c"), "'*.c'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
