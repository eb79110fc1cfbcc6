//! `dtar parity`: sets of bricks that bring each other back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::args::{GlobalArgs, ParityAddArgs, ParityCommand, ParityPlaceArgs};
use super::progress::{Progress, speed};
use super::say::Say;
use super::size::count;
use super::{setup, size};
use dtar::archive::Monitor;
use dtar::error::{Exit, Result};
use dtar::parity::{
    self, AddOptions, AddSummary, CheckSummary, MemberState, Places, RepairOptions, SetState,
};

pub fn run(command: &ParityCommand, global: &GlobalArgs, say: Say) -> Result<Exit> {
    let start = Instant::now();
    match command {
        ParityCommand::Add(args) => add(args, global, say),
        ParityCommand::Check(args) => {
            let places = places(args, global)?;
            let monitor = monitor(say)?;
            let progress = Progress::start(say, &monitor, "checked");
            let mut report = |state: &SetState| report_set(state, say);
            let summary = parity::check(&places, &monitor, &mut report);
            drop(progress);
            let summary = summary?;
            tell(&summary, &places, start.elapsed(), say, false);
            Ok(summary.exit())
        }
        ParityCommand::Repair {
            place,
            to,
            keep_damaged,
        } => {
            let places = places(place, global)?;
            let options = RepairOptions {
                to: to.clone(),
                keep_damaged: *keep_damaged,
            };
            let monitor = monitor(say)?;
            let progress = Progress::start(say, &monitor, "checked");
            let mut report = |state: &SetState| report_set(state, say);
            let mut waiting = || tell_waiting(say);
            let summary = parity::repair(&places, &options, &monitor, &mut waiting, &mut report);
            drop(progress);
            let summary = summary?;
            tell(&summary, &places, start.elapsed(), say, true);
            Ok(summary.exit_after_repair())
        }
    }
}

fn monitor(say: Say) -> Result<Arc<Monitor>> {
    let monitor = Arc::new(Monitor::default());
    setup::stop_on_signals(&monitor, say)?;
    Ok(monitor)
}

fn folder(dir: Option<&PathBuf>, global: &GlobalArgs) -> Result<PathBuf> {
    dir.cloned().map_or_else(|| setup::store_path(global), Ok)
}

fn places(args: &ParityPlaceArgs, global: &GlobalArgs) -> Result<Places> {
    Places::new(&folder(args.dir.as_ref(), global)?, &args.bricks)
}

fn add(args: &ParityAddArgs, global: &GlobalArgs, say: Say) -> Result<Exit> {
    let start = Instant::now();
    let dir = folder(args.dir.as_ref(), global)?;
    let places = Places::new(&dir, &[])?;
    let options = AddOptions {
        share: args.share,
        group: args.group as usize,
        merge: args.merge,
    };
    let monitor = monitor(say)?;
    let progress = Progress::start(say, &monitor, "protected");
    let summary = parity::add(&places, &options, &monitor, &mut || tell_waiting(say));
    drop(progress);
    let summary = summary?;
    tell_added(&summary, start.elapsed(), say);
    if summary.damaged.is_empty() && summary.unusable.is_empty() {
        Ok(Exit::Done)
    } else {
        Ok(Exit::Damaged)
    }
}

fn tell_waiting(say: Say) {
    say.note("waiting: another parity command, or a gc, is at work here");
}

fn tell_added(summary: &AddSummary, time: Duration, say: Say) {
    for (path, error) in &summary.damaged {
        let why = match error {
            Some(error) => format!("cannot be read: {error}; it is left out"),
            None => "its bytes do not have its name as their hash; it is left out".to_owned(),
        };
        damage(say, "brick", path, &why, &json!({}));
    }
    for file in &summary.unusable {
        damage(say, "parity", &file.path, &file.reason, &json!({}));
    }
    if summary.bricks_to_spare == Some(0) {
        say.warn(
            "there is a set that survives scattered damage, but not the loss of its largest \
             brick: give a larger --share, or add when there are more bricks",
        );
    }
    let mut text = format!(
        "{}, {}, in {}; {} of parity in {}; {} in sets before",
        count(summary.bricks, "brick"),
        size::show(summary.brick_bytes),
        count(summary.sets, "new set"),
        size::show(summary.parity_bytes),
        count(summary.files, "file"),
        if summary.covered == 1 {
            "1 brick was".to_owned()
        } else {
            format!("{} bricks were", summary.covered)
        },
    );
    if summary.merged > 0 {
        let were = if summary.merged == 1 { "was" } else { "were" };
        text = format!("{text}; {} {were} merged", count(summary.merged, "old set"));
    }
    say.summary(
        &text,
        &json!({
            "type": "summary",
            "sets": summary.sets,
            "bricks": summary.bricks,
            "brick_bytes": summary.brick_bytes,
            "merged": summary.merged,
            "files": summary.files,
            "parity_bytes": summary.parity_bytes,
            "covered": summary.covered,
            "bricks_to_spare": summary.bricks_to_spare,
            "damaged": summary.damaged.len(),
            "seconds": time.as_secs_f64(),
            "bytes_per_second": speed(summary.brick_bytes, time),
        }),
    );
}

/// Says what is wrong with a set, and how much it can take; nothing if all is well.
fn report_set(state: &SetState, say: Say) {
    let event = json!({
        "type": "set",
        "set": state.id.to_string(),
        "bricks": state.members.len(),
        "sound": state.is_sound(),
        "wrong": state.is_wrong(),
        "margin": state.margin,
        "full_margin": state.full_margin,
        "bricks_to_spare": state.bricks_to_spare(),
    });
    say.event(&event);
    for member in state.members.iter().filter(|member| !member.is_sound()) {
        report_member(member, say);
    }
    for file in state.files.iter().filter(|file| !file.whole) {
        damage(say, "parity", &file.path, "damaged", &json!({}));
    }
    if state.files_missing > 0 {
        let missing = state.files_missing;
        let why = format!(
            "set {}: {missing} of its parity files are missing",
            state.id
        );
        say.error_text(&why);
    }
    if state.is_wrong() {
        let members = state.members.iter().filter(|member| member.at_odds);
        let names: Vec<String> = members
            .map(|member| member.member.name.to_string())
            .collect();
        say.error_text(&format!(
            "set {}: says something else of bricks than their bytes, which are whole: it was \
             forged, or made of something else; remove its parity files and run `dtar parity \
             add` ({})",
            state.id,
            names.join(", ")
        ));
    }
    if !state.is_sound() && !say.is_json() {
        let spare = state.bricks_to_spare();
        say.note(&match state.margin {
            ..0 => format!("set {}: more is lost than it has parity for", state.id),
            left => format!(
                "set {}: can be repaired; {left} of {} recovery shards are left over in the \
                 stripe that lost most, enough for {} more",
                state.id,
                state.full_margin,
                count(spare, "brick")
            ),
        });
    }
}

fn report_member(member: &MemberState, say: Say) {
    let outcome = if member.repairable {
        "can be brought back"
    } else {
        "cannot be brought back"
    };
    let details = json!({
        "name": member.member.name.to_string(),
        "missing": member.is_missing(),
        "lost_shards": member.lost,
        "repairable": member.repairable,
    });
    if member.is_missing() {
        let path = PathBuf::from(format!("{}.brick", member.member.name));
        let why = format!("missing; {outcome}");
        damage(say, "brick", &path, &why, &details);
    }
    for path in member.damaged().map(|copy| &copy.path) {
        let why = match member.whole() {
            Some(whole) => format!("damaged; a whole copy is {}", whole.display()),
            None => format!("damaged in {} shards; {outcome}", member.lost),
        };
        damage(say, "brick", path, &why, &details);
    }
}

/// Says that a file is damaged.
fn damage(say: Say, kind: &str, path: &Path, reason: &str, details: &Value) {
    if !say.is_json() {
        say.error_text(&format!("{}: {reason}", path.display()));
        return;
    }
    let mut event = json!({
        "type": "damage",
        "kind": kind,
        "path": path.display().to_string(),
        "reason": reason,
    });
    if let (Some(event), Some(details)) = (event.as_object_mut(), details.as_object()) {
        event.extend(details.clone());
    }
    say.event(&event);
}

fn tell(summary: &CheckSummary, places: &Places, time: Duration, say: Say, repaired: bool) {
    for file in &summary.unusable {
        damage(say, "parity", &file.path, &file.reason, &json!({}));
    }
    for path in &summary.restored {
        done(say, "restored", path, "brought back");
    }
    for path in &summary.remade {
        done(say, "remade", path, "made again");
    }
    for why in &summary.failed {
        say.error_text(why);
    }
    if summary.sets == 0 && summary.unusable.is_empty() {
        say.note(&format!(
            "{}: no parity files here: make some with `dtar parity add`",
            places.dir().display()
        ));
    }
    let mut text = format!(
        "{}, {}, {} missing, {} damaged, {} of these repairable; {}, {} missing or damaged; \
         {} in no set",
        count(summary.sets, "set"),
        count(summary.bricks, "brick"),
        summary.missing,
        summary.damaged,
        summary.repairable,
        count(summary.files, "parity file"),
        summary.damaged_files,
        count(summary.uncovered, "brick"),
    );
    if repaired {
        text = format!(
            "{text}; {} brought back, {} made again",
            count(summary.restored.len() as u64, "brick"),
            count(summary.remade.len() as u64, "parity file")
        );
    }
    let mut value = json!({
        "type": "summary",
        "sets": summary.sets,
        "wrong_sets": summary.wrong_sets,
        "bricks": summary.bricks,
        "missing": summary.missing,
        "damaged": summary.damaged,
        "repairable": summary.repairable,
        "files": summary.files,
        "damaged_files": summary.damaged_files,
        "uncovered": summary.uncovered,
        "bricks_to_spare": summary.bricks_to_spare,
        "seconds": time.as_secs_f64(),
    });
    if repaired && let Some(value) = value.as_object_mut() {
        value.insert("restored".into(), summary.restored.len().into());
        value.insert("remade".into(), summary.remade.len().into());
        value.insert("failed".into(), summary.failed.len().into());
    }
    say.summary(&text, &value);
}

fn done(say: Say, kind: &str, path: &Path, what: &str) {
    if say.is_json() {
        say.event(&json!({ "type": kind, "path": path.display().to_string() }));
    } else {
        say.note(&format!("{}: {what}", path.display()));
    }
}
