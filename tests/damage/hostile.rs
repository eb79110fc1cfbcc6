//! What an adversary plants in a store, without a key or with a put key: nothing hangs,
//! memory stays bounded, nothing is written but where it was asked for, and nothing that
//! others need is deleted.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::UNIX_EPOCH;

use dtar::brick::{make_sidecar, seal_note, seal_root};
use dtar::crypto::{Key, KeyFile};
use dtar::format::note::{Note, NoteKind};
use dtar::format::root::Root;
use dtar::id::{BrickName, Class, WriterId};
use dtar::store::Store;
use dtar::store::layout::RunName;
use dtar::store::runs::new_note;

use crate::common::sandbox::{KEY, Run};
use crate::common::shell::have;
use crate::faults::{Fault, Kind, Target};
use crate::made::{flip, text};
use crate::yard::{By, Yard};

const MIB: u64 = 1 << 20;
/// What a command may take of memory, all kinds together, whatever is planted.
const MEMORY: u64 = 256 * MIB;

/// Runs commands one after another, each with a limit of time; prints code and standard
/// error of each, and at the end the peak of the memory of all.
const RUNNER: &str = "
import json, os, resource, subprocess, sys
out = []
for command, stdin in json.load(sys.stdin):
    with open(stdin or '/dev/null', 'rb') as stream:
        try:
            done = subprocess.run(command, stdin=stream, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, timeout=60)
            out.append([done.returncode, done.stderr.decode(errors='replace')])
        except subprocess.TimeoutExpired:
            out.append([None, 'hangs'])
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10
json.dump([out, peak], sys.stdout)
";

/// Runs `commands` in the yard. Returns code and standard error of each, and the peak of
/// memory in bytes.
fn run_all(yard: &Yard, commands: &[Vec<&str>]) -> (Vec<(Option<i64>, String)>, u64) {
    let dtar = yard.sandbox.command(["x"]);
    let program = dtar.get_program().to_str().unwrap().to_owned();
    let input = text(&yard.file(Path::new("stream"))).to_owned();
    fs::write(&input, &yard.archived("c").stream).unwrap();
    let commands: Vec<_> = commands
        .iter()
        .map(|command| {
            let archives = command.is_empty() || command[0].starts_with('-');
            let stdin = archives.then_some(&input);
            let words: Vec<&str> = [program.as_str()]
                .into_iter()
                .chain(command.iter().copied())
                .collect();
            (words, stdin)
        })
        .collect();
    let mut child = Command::new("python3")
        .args(["-c", RUNNER])
        .env_clear()
        .envs(
            dtar.get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .current_dir(yard.sandbox.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all(serde_json::to_string(&commands).unwrap().as_bytes())
        .unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// How commands ended.
#[derive(Default)]
struct Ends {
    ran: usize,
    refused: usize,
    hangs: usize,
    panics: usize,
    /// Of memory, in bytes.
    peak: u64,
    failures: Vec<String>,
}

impl Ends {
    /// Runs all `commands` and counts how they end; `what` was planted.
    fn run(&mut self, yard: &Yard, commands: &[Vec<&str>], what: &str) {
        let (runs, peak) = run_all(yard, commands);
        self.peak = self.peak.max(peak);
        if peak > MEMORY {
            self.failures.push(format!("{what}: {} MiB", peak / MIB));
        }
        for (command, (code, stderr)) in commands.iter().zip(runs) {
            let panics = stderr.contains("panicked at");
            self.ran += 1;
            self.refused += usize::from(code != Some(0));
            self.hangs += usize::from(code.is_none());
            self.panics += usize::from(panics);
            if panics || !matches!(code, Some(0 | 1 | 3)) {
                self.failures
                    .push(format!("{command:?} with {what}: {code:?} {stderr}"));
            }
        }
    }

    #[track_caller]
    fn report(&self, what: &str) {
        println!(
            "{what}, commands {}, of these refused {}, hangs {}, panics {}, peak {} MiB of {}",
            self.ran,
            self.refused,
            self.hangs,
            self.panics,
            self.peak / MIB,
            MEMORY / MIB
        );
        assert!(self.failures.is_empty(), "{:#?}", self.failures);
    }
}

/// What is run on each hostile store; the last ones change it.
fn commands<'a>() -> Vec<Vec<&'a str>> {
    [
        "verify --no-mark",
        "verify --no-mark --no-key",
        "verify --no-mark --quick",
        "verify --no-mark --key put-key",
        "verify --no-mark b.tar",
        "restore --keep-going b.tar",
        "restore @latest",
        "snapshots",
        "store",
        "find a",
        "parity check",
        "gc --dry-run --threshold 100",
        "salvage store --to salvaged",
        "--quiet",
        "rebuild",
        "parity repair",
        "gc --threshold 100 --end-runs",
    ]
    .iter()
    .map(|line| line.split(' ').collect())
    .collect()
}

/// One target of each kind.
fn targets(yard: &Yard) -> BTreeMap<Kind, Target> {
    let faults = Fault::all(yard).into_iter();
    faults
        .map(|fault| (fault.target.kind, fault.target))
        .collect()
}

#[test]
fn pipes_devices_and_endless_files_do_not_hang_or_fill_memory() {
    if !have("python3") {
        return;
    }
    let whole = Yard::new();
    let (mut planted, mut ends) = (0, Ends::default());
    for (kind, target) in targets(&whole) {
        // The key and the catalog are the user's own, and an index may come by a pipe.
        if matches!(kind, Kind::Key | Kind::Catalog | Kind::Index) {
            continue;
        }
        for what in ["pipe", "device", "endless"] {
            let yard = whole.copy();
            let file = yard.file(&target.file);
            fs::remove_file(&file).unwrap();
            match what {
                "pipe" => {
                    let made = Command::new("mkfifo").arg(&file).status().unwrap();
                    assert!(made.success());
                }
                "device" => symlink("/dev/zero", &file).unwrap(),
                _ => File::create(&file).unwrap().set_len(1 << 40).unwrap(),
            }
            let commands = commands();
            // To hash a brick is to read all that it claims to have, however long that takes.
            let is_read = what == "endless"
                && matches!(
                    kind,
                    Kind::Brick
                        | Kind::PartlyNeeded
                        | Kind::Garbage
                        | Kind::Metadata
                        | Kind::Parity
                );
            let commands: Vec<_> = commands
                .into_iter()
                .filter(|command| {
                    !is_read
                        || !["verify", "parity", "salvage", "rebuild", "gc"].contains(&command[0])
                })
                .filter(|command| what != "endless" || command[0] != "salvage")
                .collect();
            ends.run(&yard, &commands, &format!("{what} for {kind:?}"));
            planted += 1;
        }
    }
    ends.report(&format!("hostile files: planted {planted}"));
    assert!(ends.refused > 0);
}

/// Files and links below a folder, with what they hold and when that was changed.
fn listing(dir: &Path) -> BTreeMap<PathBuf, (Vec<u8>, u128)> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let found = fs::symlink_metadata(&path).unwrap();
        if found.is_dir() {
            all.insert(path.clone(), (Vec::new(), 0));
            all.extend(listing(&path));
            continue;
        }
        let changed = found
            .modified()
            .unwrap()
            .duration_since(UNIX_EPOCH)
            .unwrap();
        let bytes = if found.is_symlink() {
            fs::read_link(&path)
                .unwrap()
                .into_os_string()
                .into_encoded_bytes()
        } else {
            fs::read(&path).unwrap()
        };
        all.insert(path, (bytes, changed.as_nanos()));
    }
    all
}

#[test]
fn nothing_is_written_or_deleted_through_a_link() {
    let whole = Yard::new();
    let mut folders: Vec<PathBuf> = [
        "bricks",
        "meta",
        "tocs",
        "roots",
        "snapshots",
        "runs",
        "dead",
        "bad",
        "tmp",
        "parity",
    ]
    .map(PathBuf::from)
    .into();
    // And the folders of one that is to go, one that is to be moved, and parity.
    for kind in [
        Kind::Garbage,
        Kind::PartlyNeeded,
        Kind::Sidecar,
        Kind::Parity,
    ] {
        let file = targets(&whole).remove(&kind).unwrap().file;
        let folder = file.parent().unwrap().strip_prefix("store").unwrap();
        folders.push(folder.to_owned());
    }
    let writers: [&[&str]; 8] = [
        &["verify"],
        &["rebuild"],
        &["gc", "--threshold", "100", "--end-runs"],
        &["parity", "repair"],
        &["parity", "add"],
        &["forget", "@label:a"],
        &["salvage", "store", "--to", "store-of-old"],
        &["gc", "--dry-run"],
    ];
    let (mut ran, mut refused, mut changed) = (0, 0, 0);
    for folder in &folders {
        let yard = whole.copy();
        let store = yard.sandbox.store();
        // So that there is something to mark, and something to repair.
        flip(&yard.file(&targets(&whole)[&Kind::Brick].file), 1500, 1);
        let outside = yard.file(Path::new("outside"));
        let place = store.join(folder);
        fs::create_dir_all(&place).unwrap();
        fs::rename(&place, &outside).unwrap();
        symlink(&outside, &place).unwrap();
        fs::write(outside.join("letter"), b"dear").unwrap();
        fs::create_dir(outside.join("letters")).unwrap();
        fs::write(outside.join("letters/first"), b"dear").unwrap();
        let before = listing(&outside);
        let mut check = |what: &[&str], run: &Run| {
            let case = format!("{what:?} with a link for {}", folder.display());
            assert!(
                matches!(run.code, Some(0 | 1 | 3)),
                "{case}: {}",
                run.stderr
            );
            let same = listing(&outside) == before;
            changed += usize::from(!same);
            if !same {
                println!("{case} wrote: {}", run.stderr);
            }
            ran += 1;
            let named = run.stderr.contains("symbolic link") && run.stderr.contains(text(&place));
            refused += usize::from(named);
        };
        let index = yard.file(Path::new("again.tar"));
        let stream = &yard.archived("c").stream;
        let more = crate::common::block::Stream::new()
            .raw(stream)
            .file("new", b"some text")
            .end();
        let run = yard.sandbox.archive_to([""; 0], &more[..], &index);
        check(&["archive"], &run);
        for writer in writers {
            let run = yard.sandbox.run(writer);
            check(writer, &run);
        }
        // Reading through links is no harm.
        for label in ["c", "h"] {
            let run = yard.restore(label, By::Index, &["--keep-going"]);
            assert!(matches!(run.code, Some(0 | 3)), "{}", run.stderr);
        }
    }
    println!(
        "planted links: folders {}, commands {ran}, of these refused {refused}, changes outside {changed}",
        folders.len()
    );
    assert_eq!(changed, 0);
    assert!(refused >= folders.len() - 4, "{refused} of {ran}");
}

#[test]
fn repair_and_salvage_write_into_their_folder_alone() {
    let whole = Yard::new();
    let yard = whole.copy();
    for kind in [Kind::Brick, Kind::Metadata] {
        flip(&yard.file(&targets(&whole)[&kind].file), 1500, 1);
    }
    let out = yard.file(Path::new("out"));
    fs::create_dir(&out).unwrap();
    let of_others = || {
        let mut all = listing(yard.sandbox.path());
        let catalog = yard.sandbox.catalog();
        all.retain(|path, _| !path.starts_with(&out) && !path.starts_with(&catalog));
        all
    };
    let before = of_others();
    for command in [
        &["parity", "repair", "--to", "out"][..],
        &["salvage", "store", "--to", "out"],
        &["salvage", "store", "--to", "out", "--no-key"],
        &["parity", "check"],
        &["gc", "--dry-run"],
        &["verify", "--no-mark"],
        &["restore", "b.tar", "--keep-going"],
        &["restore", "@latest"],
    ] {
        let run = yard.sandbox.run(command);
        assert!(matches!(run.code, Some(0 | 1 | 3)), "{}", run.stderr);
        let after = of_others();
        let changed: Vec<_> = after
            .iter()
            .filter(|(path, found)| before.get(*path) != Some(*found))
            .map(|(path, _)| path)
            .collect();
        assert!(
            changed.is_empty() && after.len() == before.len(),
            "{command:?}: {changed:?}"
        );
    }
}

fn key() -> Key {
    match KeyFile::parse(KEY.as_bytes()) {
        Ok(KeyFile::Key(key)) => key,
        other => panic!("{other:?}"),
    }
}

/// What a thief of a put key may plant, one at a time.
const FORGERIES: [&str; 6] = [
    "dead list of all bricks",
    "marks on all bricks",
    "sidecar of another brick",
    "root of the future",
    "root of bricks that are nowhere",
    "lease of a host that is gone",
];

/// Plants it; the file that has to go again, if it is in the place of an honest one.
fn plant(yard: &Yard, what: &str) -> Option<(PathBuf, Vec<u8>)> {
    let key = key();
    let store = Store::open(&yard.sandbox.store(), &key).unwrap();
    let (layout, keys) = (store.layout(), store.put_keys(&key).unwrap());
    let name: RunName = "00000000000000000042-0123456789abcdef".parse().unwrap();
    let mut bricks = Vec::new();
    for class in [Class::Data, Class::Metadata] {
        layout
            .each_brick(class, |name, _| {
                bricks.push(name);
                Ok(())
            })
            .unwrap();
    }
    bricks.sort_unstable();
    let write = |path: &Path, bytes: &[u8]| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let note = |kind, bricks: &[BrickName], name: Option<&RunName>| {
        let note = Note {
            bricks: bricks.to_vec(),
            host: b"elsewhere".to_vec(),
            boot_id: b"another".to_vec(),
            ..new_note(kind, name, WriterId([9; 16]))
        };
        seal_note(&keys, &note).unwrap()
    };
    let root = |time: u64, bricks: &[BrickName]| {
        let root = Root {
            time,
            writer: WriterId([9; 16]),
            stream_length: u64::MAX,
            stream_xxh3: 0,
            host: vec![b'x'; 255],
            label: vec![b'x'; 4096],
            bricks: bricks
                .iter()
                .map(|name| (*name, vec![0xff; 8192].into()))
                .collect(),
            snapshot: None,
            stored: None,
        };
        seal_root(&keys, &root).unwrap()
    };
    match what {
        "dead list of all bricks" => {
            write(
                &layout.dead_path(&name),
                &note(NoteKind::DeadList, &bricks, Some(&name)),
            );
        }
        "marks on all bricks" => {
            for brick in &bricks {
                let path = layout.mark_path(brick);
                write(&path, &note(NoteKind::Mark, &[*brick], None));
            }
        }
        "sidecar of another brick" => {
            let of = |member: &str| -> BrickName {
                let mut bricks = yard.content.brick_of.iter();
                bricks
                    .find(|(of, _)| *of == member)
                    .unwrap()
                    .1
                    .parse()
                    .unwrap()
            };
            let toc = fs::read(layout.toc_path(&of("a"))).unwrap();
            let path = layout.toc_path(&of("b"));
            let honest = fs::read(&path).unwrap();
            write(
                &path,
                &make_sidecar(&keys, &of("b"), &toc[..toc.len() - 32]),
            );
            return Some((path, honest));
        }
        "root of the future" => {
            let name: RunName = "18446744073709551615-0123456789abcdef".parse().unwrap();
            write(&layout.root_path(&name), &root(u64::MAX, &bricks));
        }
        "root of bricks that are nowhere" => {
            let nowhere: Vec<_> = (0..=u8::MAX).map(|byte| BrickName([byte; 32])).collect();
            write(&layout.root_path(&name), &root(42, &nowhere));
        }
        _ => {
            let path = layout.run_dir(&name).join("lease");
            write(&path, &note(NoteKind::ArchiverLease, &[], Some(&name)));
        }
    }
    None
}

#[test]
fn a_stolen_put_key_costs_space_and_time_but_nobodys_data() {
    if !have("python3") {
        return;
    }
    let whole = Yard::new();
    let (mut restores, mut wrong, mut ends) = (0, 0, Ends::default());
    for what in FORGERIES {
        let yard = whole.copy();
        let honest = plant(&yard, what);
        ends.run(&yard, &commands(), what);
        if let Some((path, bytes)) = honest {
            fs::write(path, bytes).unwrap();
        }
        for label in ["a", "b", "c", "h"] {
            for by in [By::Index, By::Snapshot] {
                let run = yard.restore(label, by, &[]);
                let right = run.code == Some(0) && run.stdout == yard.archived(label).stream;
                if !right {
                    ends.failures
                        .push(format!("{label} by {by:?} after {what}: {}", run.stderr));
                }
                wrong += usize::from(!right);
                restores += 1;
            }
        }
    }
    let what = format!("forged with a put key: {}", FORGERIES.len());
    ends.report(&format!(
        "{what}, restores after them {restores}, wrong {wrong}"
    ));
}
