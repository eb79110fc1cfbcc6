//! `dtar tape list`, `verify`, `restore` and `recover`.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::args::{DriveArgs, RestoreArgs};
use super::drive::{self, changer};
use super::{count, megabytes, show_pace};
use crate::cli::args::GlobalArgs;
use crate::cli::say::Say;
use crate::cli::{print, setup, size};
use dtar::archive::Monitor;
use dtar::error::{Error, Exit, Result};
use dtar::format::container::MemberName;
use dtar::format::tape::{Label, SetPrefix, TapeName};
use dtar::id::BrickName;
use dtar::store::layout::Layout;
use dtar::store::{Store, atomic};
use dtar::tape::survey::{self, Kind, Labelled};
use dtar::tape::{
    self, Catalog, Changer, Checked, Drive, FileState, Pace, RecoverEvent, RestoreEvent,
    RestoreOptions, Wanted, What,
};

/// The tape in the drive, if it is one of dtar's.
fn label_in(drive: &mut dyn Drive, hands: &mut dyn Changer, wanted: &Wanted) -> Result<Label> {
    let obtained = tape::obtain(drive, hands, wanted, true, |drive, found| match found {
        Labelled::Yes(label) => Ok(label),
        Labelled::Blank => Err(refuse(drive, "this tape is blank")),
        Labelled::No(why) => {
            let message = format!("not a tape of dtar: {why}; dtar tape recover may still read it");
            Err(refuse(drive, &message))
        }
    })?;
    obtained.or_refuse(drive, wanted)
}

fn refuse(drive: &dyn Drive, message: &str) -> Error {
    Error::Refused {
        path: drive.name().into(),
        message: message.into(),
        exit: Exit::Failed,
    }
}

pub fn list(args: &DriveArgs, say: Say) -> Result<Exit> {
    let (mut drive, _) = drive::open(args)?;
    let label = label_in(&mut *drive, &mut *changer(args, say), &Wanted::Any)?;
    let entries = survey::entries(&mut *drive)?;
    let catalog = survey::last_catalog(&mut *drive, &entries, &mut |file, why| {
        say.warn(&format!(
            "tape file {file}, perhaps the newest catalog, is damaged: {why}"
        ));
    })?;
    let mut out = String::new();
    put_label(&mut out, &label, say.is_json());
    for entry in &entries {
        put_entry(&mut out, entry, &label, catalog.as_ref(), say.is_json());
    }
    print(out.as_bytes())
}

fn put_label(out: &mut String, label: &Label, is_json: bool) {
    let set = label.owner.map(|owner| owner.set.to_string());
    let store = label.owner.map(|owner| owner.store.to_string());
    let line = if is_json {
        json!({
            "type": "tape",
            "id": label.id.to_string(),
            "name": label.name.to_string(),
            "set": set,
            "store": store,
            "block": label.block,
            "time": label.time,
        })
        .to_string()
    } else {
        let belongs = match (set, store) {
            (Some(set), Some(store)) => format!("set {set}, store {store}"),
            _ => "belongs to no set yet".into(),
        };
        format!("{} (id {}), {belongs}", label.name, label.id)
    };
    out.push_str(&line);
    out.push('\n');
}

fn put_entry(
    out: &mut String,
    entry: &survey::Entry,
    label: &Label,
    catalog: Option<&Catalog>,
    is_json: bool,
) {
    let container = match &entry.kind {
        Kind::Container(container) => Some(container.number),
        _ => None,
    };
    let known = container.zip(catalog).and_then(|(number, catalog)| {
        let mut places = catalog.places_of(number);
        let counts = places.any(|place| place.tape == label.id && place.file == entry.number);
        catalog.containers.get(&number).filter(|_| counts)
    });
    let kind = match &entry.kind {
        Kind::Label => "label",
        Kind::Container(_) => "container",
        Kind::Catalog => "catalog",
        Kind::Unreadable => "unreadable",
        Kind::Other => "foreign",
    };
    let whole = known.and_then(|known| known.whole);
    let members = known.and_then(|known| known.members.as_ref().map(Vec::len));
    let line = if is_json {
        json!({
            "type": "file",
            "number": entry.number,
            "kind": kind,
            "container": container,
            "length": whole.map(|whole| whole.length),
            "sha256": whole.map(|whole| whole.sha256.to_string()),
            "members": members,
        })
        .to_string()
    } else {
        let mut line = format!("{:>6}  {kind}", entry.number);
        if let Some(number) = container {
            line = format!("{line} {number}");
        }
        match (whole, container) {
            (Some(whole), _) => {
                let members = count(members.unwrap_or(0), "member");
                line = format!("{line}, {}, {members}", size::show(whole.length));
            }
            (None, Some(_)) => line.push_str(", in no catalog on this tape: cut off, perhaps"),
            _ => {}
        }
        line
    };
    out.push_str(&line);
    out.push('\n');
}

pub fn verify(all: bool, args: &DriveArgs, monitor: &Monitor, say: Say) -> Result<Exit> {
    let (mut drive, _) = drive::open(args)?;
    let mut hands = changer(args, say);
    let mut tally = Tally::default();
    let mut label = label_in(&mut *drive, &mut *hands, &Wanted::Any)?;
    let mut catalog = None;
    let mut todo: Option<BTreeSet<TapeName>> = None;
    loop {
        tally.tapes += 1;
        say.note(&format!("reading {}", label.name));
        let found = tape::verify(
            &mut *drive,
            &label,
            catalog.as_ref(),
            monitor,
            &mut |file| {
                tally.tell(file, &label.name, say);
            },
        )?;
        catalog = found.or(catalog);
        let names = catalog.iter().flat_map(|catalog| &catalog.places);
        let names = names.map(|place| place.name.clone());
        let todo = todo.get_or_insert_with(|| names.filter(|_| all).collect());
        todo.remove(&label.name);
        let Some(next) = todo.pop_first() else { break };
        drive.unload()?;
        let wanted = Wanted::Tape(next.clone());
        let obtained =
            tape::obtain(
                &mut *drive,
                &mut *hands,
                &wanted,
                false,
                |drive, found| match found {
                    Labelled::Yes(label) if label.name == next => Ok(label),
                    _ => Err(refuse(drive, &format!("this is not {next}"))),
                },
            )?;
        label = obtained.or_refuse(&*drive, &wanted)?;
    }
    tally.summary(say);
    Ok(if tally.damaged == 0 {
        Exit::Done
    } else {
        Exit::Damaged
    })
}

/// What verifying has found so far.
#[derive(Default)]
struct Tally {
    tapes: usize,
    sound: usize,
    damaged: usize,
    cut_off: usize,
    pace: Pace,
}

impl Tally {
    fn tell(&mut self, file: &Checked, tape: &TapeName, say: Say) {
        self.pace.add(file.pace);
        let what = match &file.kind {
            Kind::Label => "label".to_owned(),
            Kind::Container(container) => format!("container {}", container.number),
            Kind::Catalog => "catalog".into(),
            Kind::Unreadable | Kind::Other => "unknown".into(),
        };
        let place = format!("{tape}, tape file {}, {what}", file.number);
        match &file.state {
            FileState::Sound => self.sound += 1,
            FileState::Unknown(whole) => {
                self.sound += 1;
                say.warn(&format!(
                    "{place}: whole, but no catalog says which SHA-256 it should have (it has {})",
                    whole.sha256
                ));
            }
            FileState::CutOff => {
                self.cut_off += 1;
                say.note(&format!(
                    "{place}: left by a run that was cut off; it counts for nothing"
                ));
            }
            FileState::Damaged(why) => {
                self.damaged += 1;
                if say.is_json() {
                    say.event(&json!({
                        "type": "damage",
                        "tape": tape.to_string(),
                        "file": file.number,
                        "what": what,
                        "reason": why,
                    }));
                } else {
                    say.error_text(&format!("{place}: damaged: {why}"));
                }
            }
        }
    }

    fn summary(&self, say: Say) {
        say.summary(
            &format!(
                "{}: {} right, {} damaged; read {}",
                count(self.tapes, "tape"),
                count(self.sound, "tape file"),
                self.damaged,
                show_pace(&self.pace),
            ),
            &json!({
                "type": "summary",
                "tapes": self.tapes,
                "sound": self.sound,
                "damaged": self.damaged,
                "cut_off": self.cut_off,
                "bytes": self.pace.bytes,
                "megabytes_per_second": megabytes(&self.pace),
            }),
        );
    }
}

pub fn restore(
    args: &RestoreArgs,
    global: &GlobalArgs,
    monitor: &Monitor,
    say: Say,
) -> Result<Exit> {
    let listed = args.only.as_deref().map(read_list).transpose()?;
    let listed = listed.map(Arc::new);
    if listed.as_ref().is_some_and(|listed| listed.is_empty()) {
        say.note("the list of bricks is empty: nothing to get from tapes");
        return Ok(Exit::Done);
    }
    let what = what(args, listed.as_ref());
    let (mut drive, _) = drive::open(&args.drive)?;
    let mut hands = changer(&args.drive, say);
    let (catalog, in_drive) = if let Some(catalog) = known_catalog(args, global)? {
        // Whatever is in the drive may be the first tape that is needed.
        let label = drive.load().and_then(|()| survey::label(&mut *drive));
        let id = match label {
            Ok(Labelled::Yes(label)) => Some(label.id),
            _ => None,
        };
        (catalog, id)
    } else {
        let label = label_in(&mut *drive, &mut *hands, &Wanted::Any)?;
        (catalog_on(&mut *drive, &label, say)?, Some(label.id))
    };
    let options = RestoreOptions {
        what,
        to: args.to.clone(),
    };
    let summary = tape::restore(
        &catalog,
        &mut *drive,
        &mut *hands,
        in_drive,
        &options,
        monitor,
        &mut |event| tell_restore(&event, say),
    )?;
    if (args.hot || args.unpack) && Store::stands_in(&args.to)? {
        // So that plans know what is on which tape.
        tape::put(&Layout::new(&args.to), &catalog, &BTreeSet::new())?;
    }
    for lost in &summary.lost {
        if say.is_json() {
            say.event(&json!({ "type": "damage", "path": lost, "reason": "not restored" }));
        } else {
            say.error_text(&format!("{lost}: not restored"));
        }
    }
    let strangers = listed.map_or_else(Vec::new, |listed| strangers(&listed, &catalog, &args.to));
    tell_strangers(&strangers, say);
    let lost = summary.lost.len() + strangers.len();
    let tapes: Vec<_> = summary.tapes.iter().map(ToString::to_string).collect();
    say.summary(
        &format!(
            "{} of {} from {}{}{}; read {}{}",
            count(usize::try_from(summary.files).unwrap_or(usize::MAX), "file"),
            size::show(summary.bytes),
            count(tapes.len(), "tape"),
            if tapes.is_empty() { "" } else { ": " },
            tapes.join(", "),
            show_pace(&summary.pace),
            match lost {
                0 => String::new(),
                lost => format!("; {lost} not restored"),
            }
        ),
        &json!({
            "type": "summary",
            "tapes": tapes,
            "files": summary.files,
            "bytes": summary.bytes,
            "read": summary.pace.bytes,
            "megabytes_per_second": megabytes(&summary.pace),
            "lost": lost,
        }),
    );
    Ok(Exit::of_damage(lost > 0))
}

/// The bricks on a list that are in no container of a set, nor in the folder already.
fn strangers(listed: &BTreeSet<BrickName>, catalog: &Catalog, to: &Path) -> Vec<BrickName> {
    let members = catalog.containers.values();
    let members = members.flat_map(|container| container.members.iter().flatten());
    let known: BTreeSet<_> = members
        .filter_map(|member| member.name.as_brick())
        .collect();
    let unknown = listed.iter().filter(|name| !known.contains(name));
    let folder = Layout::new(to);
    let is_missing = |name: &&BrickName| folder.find_brick(name, &[]).is_err();
    unknown.filter(is_missing).copied().collect()
}

/// Says that a list does not fit the tapes.
fn tell_strangers(strangers: &[BrickName], say: Say) {
    let Some(first) = strangers.first() else {
        return;
    };
    if say.is_json() {
        for name in strangers {
            let reason = "in no container of this set";
            say.event(&json!({ "type": "damage", "path": name.to_string(), "reason": reason }));
        }
        return;
    }
    say.error_text(&format!(
        "{} on the list, such as {first}, in no container of this set: the list may be older than \
         what a gc has moved since, or the catalog older than the tapes, or the bricks are \
         elsewhere. Plan again; `dtar plan --list=tape` names only what is on tapes",
        count(strangers.len(), "brick"),
    ));
}

/// The catalog that was named, or the store's, if it knows of tapes.
fn known_catalog(args: &RestoreArgs, global: &GlobalArgs) -> Result<Option<Catalog>> {
    if let Some(path) = &args.from_catalog {
        let text = fs::read(path).map_err(Error::io("read", path))?;
        return Ok(Some(Catalog::parse(&text, path)?.0));
    }
    let Some(layout) = super::store(global)? else {
        return Ok(None);
    };
    let mut catalogs = tape::stored(&layout)?;
    catalogs.retain(|(_, catalog)| !catalog.places.is_empty());
    if catalogs.len() > 1 {
        let paths: Vec<_> = catalogs
            .iter()
            .map(|(path, _)| path.display().to_string())
            .collect();
        return Err(Error::Usage(format!(
            "the store has several sets on tapes: choose one with --from-catalog ({})",
            paths.join(", ")
        )));
    }
    Ok(catalogs.pop().map(|(_, catalog)| catalog))
}

/// The newest catalog on the tape in the drive.
fn catalog_on(drive: &mut dyn Drive, label: &Label, say: Say) -> Result<Catalog> {
    let entries = survey::entries(drive)?;
    let catalog = survey::last_catalog(drive, &entries, &mut |file, why| {
        say.warn(&format!(
            "tape file {file}, perhaps the newest catalog, is damaged: {why}"
        ));
    })?;
    let catalog = catalog.ok_or_else(|| {
        let message = format!(
            "{} has no sound catalog: put in another tape of the set, the one written last if \
             there is a choice; or run `dtar tape recover`, and name its catalog with --from-catalog",
            label.name
        );
        refuse(drive, &message)
    })?;
    say.note(&format!(
        "the catalog on {} knows {}; later ones are not in it",
        label.name,
        count(catalog.containers.len(), "container")
    ));
    Ok(catalog)
}

fn what(args: &RestoreArgs, listed: Option<&Arc<BTreeSet<BrickName>>>) -> What {
    if let Some(listed) = listed {
        let bricks = Arc::clone(listed);
        return What::Members {
            wanted: Box::new(move |name| {
                name.as_brick().is_some_and(|brick| bricks.contains(brick))
            }),
            config: false,
        };
    }
    if args.hot || args.unpack {
        let all = args.unpack;
        let is_cold =
            |name: &MemberName| matches!(name, MemberName::Brick(_) | MemberName::Parity(_));
        return What::Members {
            wanted: Box::new(move |name| all || !is_cold(name)),
            config: true,
        };
    }
    let only = args.containers.iter().copied().collect::<BTreeSet<_>>();
    What::Containers(Some(only).filter(|only| !only.is_empty()))
}

/// A brick's name, alone or as the end of its file's path.
fn brick_of(name: &str) -> Option<BrickName> {
    let file = name.rsplit('/').next()?;
    file.strip_suffix(".brick").unwrap_or(file).parse().ok()
}

/// Names of bricks, one a line.
fn read_list(path: &Path) -> Result<BTreeSet<BrickName>> {
    let text = if path == Path::new("-") {
        let mut text = String::new();
        io::stdin()
            .read_to_string(&mut text)
            .map_err(Error::io("read", Path::new("standard input")))?;
        text
    } else {
        fs::read_to_string(path).map_err(Error::io("read", path))?
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            brick_of(line).ok_or_else(|| {
                Error::Usage(format!(
                    "{}: expected the name of a brick in each line, 64 hex digits; found {line:?}",
                    path.display()
                ))
            })
        })
        .collect()
}

fn tell_restore(event: &RestoreEvent<'_>, say: Say) {
    match event {
        RestoreEvent::Tape(name, files) => {
            say.note(&format!("reading {name}: {}", count(*files, "container")));
        }
        RestoreEvent::Container(_) => {}
        RestoreEvent::Damaged(number, tape, why) => {
            say.warn(&format!("container {number} on {tape}: {why}"));
        }
        RestoreEvent::NoTape(name, why) => {
            let why = why.map_or_else(String::new, |why| format!(": {why}"));
            say.warn(&format!("without the tape {name}{why}"));
        }
    }
}

pub fn recover(
    to: Option<&Path>,
    set: Option<SetPrefix>,
    args: &DriveArgs,
    global: &GlobalArgs,
    monitor: &Monitor,
    say: Say,
) -> Result<Exit> {
    let store = super::store(global)?;
    if to.is_none() && store.is_none() {
        // Better said before the tapes are read than after.
        return Err(no_store(global)?);
    }
    let (mut drive, _) = drive::open(args)?;
    let mut hands = changer(args, say);
    let expected = match (&to, &store) {
        (None, Some(layout)) => Some(Store::unverified_id(layout.path())?),
        _ => None,
    };
    let mut tell = |event: RecoverEvent<'_>| tell_recover(&event, say);
    let summary = tape::recover(&mut *drive, &mut *hands, set, expected, monitor, &mut tell)?;
    let to = match (to, store) {
        (Some(to), _) => {
            write_catalog(to, &summary.catalog)?;
            to.to_owned()
        }
        (None, Some(layout)) => tape::put(&layout, &summary.catalog, &summary.tapes)?,
        (None, None) => return Err(no_store(global)?),
    };
    for (number, names) in &summary.elsewhere {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let place = if names.is_empty() {
            "no catalog names a tape that has it".to_owned()
        } else {
            format!("it should be on {}", names.join(", "))
        };
        say.error_text(&format!(
            "container {number} is on none of these tapes: {place}"
        ));
    }
    let missing: Vec<_> = summary.missing.iter().map(ToString::to_string).collect();
    let read: Vec<_> = summary.read.iter().map(ToString::to_string).collect();
    say.summary(
        &format!(
            "{}: {} from {}{}; it lacks nothing that is on them (of a tape that was written after \
             all of these they know nothing)",
            to.display(),
            count(summary.catalog.containers.len(), "container"),
            count(read.len(), "tape"),
            if missing.is_empty() {
                String::new()
            } else {
                format!(", not read: {}", missing.join(", "))
            },
        ),
        &json!({
            "type": "summary",
            "containers": summary.catalog.containers.len(),
            "tapes": read,
            "missing": missing,
            "elsewhere": summary.elsewhere.keys().collect::<Vec<_>>(),
        }),
    );
    Ok(Exit::of_damage(!summary.elsewhere.is_empty()))
}

fn no_store(global: &GlobalArgs) -> Result<Error> {
    Ok(Error::Refused {
        path: setup::store_path(global)?,
        message: "no store is here to enter the catalog in: name a file for it with --to FILE"
            .into(),
        exit: Exit::Failed,
    })
}

fn write_catalog(to: &Path, catalog: &Catalog) -> Result<()> {
    let mut text = Vec::new();
    catalog.encode(0, &mut text);
    let dir = match to.parent() {
        Some(dir) if dir != Path::new("") => dir.to_owned(),
        _ => PathBuf::from("."),
    };
    atomic::write(&dir, to, &text)
}

fn tell_recover(event: &RecoverEvent<'_>, say: Say) {
    match event {
        RecoverEvent::Tape(label) => say.note(&format!("reading {}", label.name)),
        RecoverEvent::DamagedCatalog(file, why) => {
            say.warn(&format!(
                "tape file {file}, perhaps the newest catalog, is damaged: {why}"
            ));
        }
        RecoverEvent::Reading(number) => say.note(&format!(
            "reading container {number} to its end: no sound catalog on this tape knows it"
        )),
        RecoverEvent::Failed(name, error) => {
            say.warn(&format!(
                "{name} cannot be read to its end, and counts as not read: {error}"
            ));
        }
        RecoverEvent::LeftOut(file, why) => {
            say.warn(&format!("tape file {file} is left out: {why}"));
        }
    }
}
