//! `dtar verify`: is all there, and right?

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use super::args::{GlobalArgs, VerifyArgs};
use super::indexes::Indexes;
use super::ls::{escape, put_text};
use super::progress::{Progress, speed};
use super::say::Say;
use super::{setup, size, snapshots};
use dtar::archive::Monitor;
use dtar::error::{Error, Exit, Result};
use dtar::restore::Hit;
use dtar::store::Store;
use dtar::store::layout::RunName;
use dtar::verify::{
    Fault, Finding, Kind, Level, Means, RunHit, Sample, Summary, VerifyOptions, config_fault,
    verify_index, verify_store,
};

pub fn run(args: &VerifyArgs, global: &GlobalArgs, say: Say) -> Result<Exit> {
    let options = options(args, say)?;
    let monitor = Arc::new(Monitor::default());
    setup::stop_on_signals(&monitor, say)?;
    let teller = Teller {
        say,
        kinds: Mutex::default(),
    };
    let start = Instant::now();
    let progress = Progress::start(say, &monitor, "verified");
    let outcome = if args.index.is_empty() {
        store(args, global, &options, &teller, &monitor)
    } else {
        indexes(args, global, &options, &teller, &monitor)
    };
    drop(progress);
    let (summary, bytes) = outcome?;
    teller.advise();
    tell(&summary, bytes, start.elapsed(), options.sample, say);
    Ok(summary.exit())
}

fn options(args: &VerifyArgs, say: Say) -> Result<VerifyOptions> {
    let sample = match (args.sample, args.seed) {
        (None, _) => None,
        (Some(percent), Some(seed)) => Some(Sample { percent, seed }),
        (Some(percent), None) => {
            let mut seed = [0; 4];
            getrandom::fill(&mut seed)
                .map_err(|error| Error::Internal(format!("no random bytes: {error}")))?;
            // Short enough to be typed.
            let seed = u64::from(u32::from_le_bytes(seed));
            say.note(&format!("this share again: --seed {seed}"));
            Some(Sample { percent, seed })
        }
    };
    Ok(VerifyOptions {
        bricks_in: args.bricks.clone(),
        sample,
        quick: args.quick,
        all_here: args.all_here,
        mark: !args.no_mark,
        members: args.members,
        threads: 0,
    })
}

/// Checks the whole store, as deep as the key at hand reaches.
fn store(
    args: &VerifyArgs,
    global: &GlobalArgs,
    options: &VerifyOptions,
    teller: &Teller,
    monitor: &Arc<Monitor>,
) -> Result<(Summary, u64)> {
    let path = setup::store_path(global)?;
    let found = |finding| teller.tell(finding);
    let counted = |summary: Summary| {
        let bytes = monitor.stream.load(std::sync::atomic::Ordering::Relaxed);
        (summary, bytes)
    };
    let bare = Means::without_key(&path);
    // A key that was named and is not there is no reason to do without one.
    if args.no_key || global.key.is_none() && !setup::has_key(global)? {
        if !args.no_key {
            teller
                .say
                .note("no key here: only names and what stands in the clear are checked");
        }
        // Bricks elsewhere can be checked without a store.
        let broken = match Store::unverified_id(&path) {
            Err(error) if args.bricks.is_empty() || Store::stands_in(&path)? => Some(error),
            _ => None,
        };
        let faults = broken
            .map(|error| blame(&bare, error, teller))
            .transpose()?;
        let mut summary = verify_store(&bare, options, &found, monitor)?;
        summary.faults += faults.unwrap_or_default();
        return Ok(counted(summary));
    }
    let key = setup::key(global)?;
    match Store::open(&path, &key) {
        Ok(store) => {
            setup::warn_if_set_back(global, teller.say, &store)?;
            let means = Means::with_key(&store, &key)?;
            Ok(counted(verify_store(&means, options, &found, monitor)?))
        }
        Err(error) => {
            let faults = blame(&bare, error, teller)?;
            teller.say.warn(
                "without a sound store.toml only names and what stands in the clear are checked",
            );
            let mut summary = verify_store(&bare, options, &found, monitor)?;
            summary.faults += faults;
            Ok(counted(summary))
        }
    }
}

/// Reports a `store.toml` that does not open; how many faults that makes.
fn blame(means: &Means<'_>, error: Error, teller: &Teller) -> Result<u64> {
    let Some(fault) = config_fault(means, &error) else {
        return Err(advise(error));
    };
    teller.tell(Finding::Fault(fault));
    Ok(1)
}

/// With another key than the store's, the bytes can be checked all the same.
fn advise(error: Error) -> Error {
    match error {
        Error::WrongKey { ref path, .. } => Error::Refused {
            path: path.clone(),
            message: format!(
                "{}; or check without a key, with --no-key",
                error
                    .to_string()
                    .trim_start_matches(&format!("{}: ", path.display()))
            ),
            exit: error.exit(),
        },
        other => other,
    }
}

/// Checks what indexes need, one after another.
fn indexes(
    args: &VerifyArgs,
    global: &GlobalArgs,
    options: &VerifyOptions,
    teller: &Teller,
    monitor: &Arc<Monitor>,
) -> Result<(Summary, u64)> {
    let (store, key) = setup::open(global)?;
    if !options.quick {
        setup::require_secret(global, &key)?;
    }
    let means = Means::with_key(&store, &key)?;
    let mut sum = Summary::new(means.level());
    let mut finder = Indexes::new(global, teller.say, false, &args.bricks);
    for path in &args.index {
        monitor.check()?;
        let checked = finder.find(path).and_then(|index| {
            verify_index(
                &index,
                &means,
                options,
                &|finding| teller.tell(finding),
                monitor,
            )
        });
        match checked {
            Ok(summary) => sum.add(&summary),
            // One index that cannot be read does not hide what is wrong with others.
            Err(error) if error.exit() == Exit::Damaged => {
                let fault = Fault::new(Kind::Index, path, error.to_string());
                teller.tell(Finding::Fault(fault));
                sum.faults += 1;
            }
            Err(error) => return Err(error),
        }
    }
    Ok((sum, sum.stream))
}

/// Says what was found, and remembers of what kinds it was.
struct Teller {
    say: Say,
    kinds: Mutex<BTreeSet<Kind>>,
}

impl Teller {
    fn tell(&self, finding: Finding) {
        match finding {
            Finding::Fault(fault) => self.fault(&fault),
            Finding::Run(hit) => self.run(&hit),
            Finding::Member(run, hit) => self.member(run.as_ref(), &hit),
            Finding::Away(name) => {
                let name = name.to_string();
                self.say.event(&json!({ "type": "away", "brick": name }));
            }
            Finding::Stray(path) => {
                let path = path.display().to_string();
                if self.say.is_json() {
                    self.say.event(&json!({ "type": "stray", "path": path }));
                } else {
                    self.say
                        .note(&format!("{path}: belongs to nothing in a store"));
                }
            }
            Finding::Warning(text) => self.say.warn(&text),
        }
    }

    fn fault(&self, fault: &Fault) {
        self.kinds
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(fault.kind);
        self.say.fault(fault);
    }

    fn run(&self, hit: &RunHit) {
        let name = hit.run.to_string();
        let time = snapshots::time_of(hit.run.time);
        if self.say.is_json() {
            let mut event = json!({
                "type": "hit",
                "run": name,
                "time": time.to_string(),
                "bricks": hit.bricks,
            });
            put_text(&mut event, "host", &hit.host);
            put_text(&mut event, "label", &hit.label);
            self.say.event(&event);
            return;
        }
        let mut who = Vec::new();
        for text in [&hit.host, &hit.label] {
            if !text.is_empty() {
                who.push(b' ');
                escape(text, &mut who);
            }
        }
        let time = time.to_zoned(jiff::tz::TimeZone::system());
        self.say.error_text(&format!(
            "hit: the run of {}{} (@{name}) needs {} that {} damaged or missing",
            time.strftime("%Y-%m-%d %H:%M:%S"),
            String::from_utf8_lossy(&who),
            bricks(hit.bricks),
            if hit.bricks == 1 { "is" } else { "are" },
        ));
    }

    fn member(&self, run: Option<&RunName>, hit: &Hit) {
        let end = hit.start.saturating_add(hit.length);
        if self.say.is_json() {
            let mut event = json!({
                "type": "damage",
                "start": hit.start,
                "end": end,
                "reason": hit.reason,
            });
            if let Some(run) = run {
                event["run"] = json!(run.to_string());
            }
            put_text(&mut event, "member", &hit.member);
            self.say.event(&event);
            return;
        }
        let mut member = Vec::new();
        escape(&hit.member, &mut member);
        let place = if hit.member.is_empty() {
            "the stream (outside of members)".into()
        } else {
            String::from_utf8_lossy(&member)
        };
        let run = run.map_or(String::new(), |run| format!("@{run}: "));
        self.say.error_text(&format!(
            "{run}{place}: bytes {} to {end} are lost: {}",
            hit.start, hit.reason
        ));
    }

    /// Says, once for each kind of fault, what to do about it.
    fn advise(&self) {
        let kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let remedies: BTreeSet<_> = kinds.iter().map(|kind| kind.remedy()).collect();
        for remedy in remedies {
            self.say.note(remedy);
        }
    }
}

fn bricks(count: u64) -> String {
    counted(count, "brick", "bricks")
}

fn counted(count: u64, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

fn tell(summary: &Summary, bytes: u64, time: Duration, sample: Option<Sample>, say: Say) {
    let speed = speed(bytes, time);
    let depth = match summary.level {
        Level::Bytes => "without a key",
        Level::Tables => "with a put key",
        Level::Frames => "with the key",
    };
    let what = if summary.indexes > 0 {
        format!(
            "{}, {} of content",
            counted(summary.indexes, "index", "indexes"),
            size::show(bytes)
        )
    } else {
        format!(
            "{} of {}, {}, {}",
            bricks(summary.bricks),
            size::show(bytes),
            counted(summary.sidecars, "sidecar", "sidecars"),
            counted(summary.roots, "root", "roots"),
        )
    };
    let faults = match summary.faults {
        0 if summary.members == 0 => "no fault".to_owned(),
        faults => counted(faults, "FAULT", "FAULTS"),
    };
    let mut notes = String::new();
    for (count, text) in [
        (summary.damaged, "damaged"),
        (summary.missing, "missing"),
        (summary.away, "away, their sidecars here"),
        (summary.marked, "newly marked as damaged"),
        (summary.unmarked, "whole again, mark removed"),
    ] {
        if count > 0 {
            notes = format!("{notes}; {} {text}", bricks(count));
        }
    }
    say.summary(
        &format!(
            "verified {what}, {depth}, {}/s: {faults}{notes}",
            size::show(speed)
        ),
        &json!({
            "type": "summary",
            "level": summary.level.name(),
            "bytes": bytes,
            "bricks": summary.bricks,
            "frames": summary.frames,
            "chunks": summary.chunks,
            "sidecars": summary.sidecars,
            "roots": summary.roots,
            "snapshots": summary.snapshots,
            "indexes": summary.indexes,
            "faults": summary.faults,
            "damaged": summary.damaged,
            "missing": summary.missing,
            "away": summary.away,
            "strays": summary.strays,
            "hits": summary.hits,
            "members": summary.members,
            "marked": summary.marked,
            "unmarked": summary.unmarked,
            "seed": sample.map(|sample| sample.seed),
            "seconds": time.as_secs_f64(),
            "bytes_per_second": speed,
        }),
    );
}
