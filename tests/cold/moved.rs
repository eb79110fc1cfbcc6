//! Bricks that gc has rewritten: plans name those that hold what is needed now.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::common::block::Stream;
use crate::common::files::files;
use crate::common::sandbox::{Run, Sandbox, Watchdog};
use crate::common::source::Random;

/// Of so many bytes nine go into a frame, three frames into a brick.
const BODY: usize = 700_000;

fn stream(numbers: &[u64]) -> Vec<u8> {
    let mut stream = Stream::new();
    for number in numbers {
        stream = stream.file(&format!("file-{number}"), &Random(*number).bytes(BODY));
    }
    stream.end()
}

/// A store in which gc has moved what a run needs, and the index of this run.
struct Scene {
    sandbox: Sandbox,
    index: PathBuf,
    stream: Vec<u8>,
}

impl Scene {
    /// `before_gc` is done before the run that needs all is given up.
    fn new(before_gc: impl FnOnce(&Sandbox)) -> Self {
        let sandbox = Sandbox::new();
        let archive = |name: &str, stream: &[u8]| {
            let index = sandbox.path().join(name);
            let options = ["-q", "--brick-size", "20M", "--label", name];
            sandbox.archive_to(options, stream, &index).exits(0);
            index
        };
        archive("all", &stream(&(0..60).collect::<Vec<_>>()));
        let stream = stream(&[0, 1, 27, 28, 100, 101, 102, 103]);
        let index = archive("few", &stream);
        before_gc(&sandbox);
        sandbox.run(["forget", "-q", "@label:all"]).exits(0);
        let gc = sandbox.run(["gc", "--json", "--threshold", "90"]).exits(0);
        assert!(gc.stderr.contains("\"rewritten\":2"), "{}", gc.stderr);
        Self {
            sandbox,
            index,
            stream,
        }
    }

    /// Puts all data bricks into a folder of their own.
    fn move_away(&self) -> PathBuf {
        let away = self.sandbox.path().join("away");
        fs::create_dir(&away).unwrap();
        fs::rename(self.sandbox.store().join("bricks"), away.join("bricks")).unwrap();
        away
    }

    fn plan(&self, more: &[&str]) -> Run {
        let fixed = ["plan", text(&self.index)];
        self.sandbox.run(fixed.iter().chain(more))
    }

    fn list(&self, more: &[&str]) -> Vec<String> {
        let run = self.plan(&[&["--list"], more].concat());
        let text = String::from_utf8(run.stdout).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn restore(&self, bricks: &Path, more: &[&str]) -> Run {
        let fixed = ["restore", "--bricks", text(bricks), text(&self.index)];
        self.sandbox.run(fixed.iter().chain(more))
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn exactly_the_bricks_that_hold_what_is_needed_now_are_listed() {
    let scene = Scene::new(|_| {});
    let here: Value = serde_json::from_slice(&scene.plan(&["--json"]).exits(0).stdout).unwrap();
    assert_eq!(here["nowhere"], 0);
    let away = scene.move_away();
    for patterns in [&[][..], &["file-27"], &["file-0", "file-101"]] {
        let listed = scene.list(patterns);
        let thawed = scene.sandbox.path().join("thawed");
        let _ = fs::remove_dir_all(&thawed);
        for brick in &listed {
            let to = thawed.join(brick);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(away.join(brick), to).unwrap();
        }
        let run = scene.restore(&thawed, patterns).exits(0);
        if patterns.is_empty() {
            assert!(run.stdout == scene.stream);
        } else {
            assert!(listed.len() <= patterns.len(), "{listed:?}");
        }
        for brick in &listed {
            let hidden = scene.sandbox.path().join("hidden");
            fs::rename(thawed.join(brick), &hidden).unwrap();
            scene.restore(&thawed, patterns).exits(3);
            fs::rename(&hidden, thawed.join(brick)).unwrap();
        }
        println!("{} bricks for {patterns:?}, none too many", listed.len());
    }
}

#[test]
fn lengths_and_shares_are_those_of_the_bricks_that_are_there() {
    let scene = Scene::new(|_| {});
    let plan: Value = serde_json::from_slice(&scene.plan(&["--json"]).exits(0).stdout).unwrap();
    let bricks = plan["bricks"].as_array().unwrap();
    for brick in bricks {
        let length = fs::metadata(brick["here"].as_str().unwrap()).unwrap().len();
        assert_eq!(brick["bytes"], length);
        assert!(brick["used"].as_u64().unwrap() > length * 9 / 10, "{brick}");
    }
    let run = scene.plan(&["--detail"]).exits(0);
    let said = String::from_utf8(run.stdout).unwrap();
    for brick in bricks {
        let name = brick["name"].as_str().unwrap();
        let line = said.lines().find(|line| line.contains(name)).unwrap();
        assert!(line.ends_with("  here") && line.contains("100 %"), "{line}");
    }
}

#[test]
fn without_key_or_tables_it_says_what_is_lacking() {
    let scene = Scene::new(|_| {});
    let mut plan = scene.sandbox.command(["plan", text(&scene.index)]);
    let key = scene.sandbox.path().join("hidden-key");
    fs::rename(scene.sandbox.key(), &key).unwrap();
    let run = Run::from(plan.env_remove("DTAR_KEY").output().unwrap()).exits(3);
    let said = String::from_utf8(run.stdout).unwrap();
    assert!(said.contains("NOWHERE     2 bricks"), "{said}");
    assert!(said.contains("put key"), "{said}");
    fs::rename(&key, scene.sandbox.key()).unwrap();
    // A put key is enough.
    let put = scene.sandbox.path().join("put");
    scene.sandbox.run(["key", "put", text(&put)]).exits(0);
    scene.plan(&["--key", text(&put)]).exits(0);
    fs::remove_dir_all(scene.sandbox.store().join("tocs")).unwrap();
    scene.move_away();
    let said = String::from_utf8(scene.plan(&[]).exits(3).stdout).unwrap();
    assert!(said.contains("dtar sync"), "{said}");
}

#[test]
fn a_restore_that_waits_waits_for_these_bricks() {
    let scene = Scene::new(|_| {});
    let away = scene.move_away();
    let listed = scene.list(&[]);
    let coming = scene.sandbox.path().join("coming");
    fs::create_dir(&coming).unwrap();
    let arguments = ["restore", "--wait", text(&scene.index), "--bricks"];
    let mut restore = scene.sandbox.command(arguments);
    restore.arg(&coming);
    let restore = restore.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = restore.spawn().unwrap();
    let _watchdog = Watchdog::new(&child);
    let waiting = std::thread::spawn(|| child.wait_with_output().unwrap());
    for brick in &listed {
        std::thread::sleep(Duration::from_millis(300));
        assert!(!waiting.is_finished());
        let name = Path::new(brick).file_name().unwrap();
        fs::copy(away.join(brick), coming.join(name)).unwrap();
    }
    let run = Run::from(waiting.join().unwrap()).exits(0);
    assert!(run.stdout == scene.stream);
    assert_eq!(files(&coming).len(), listed.len());
}

#[test]
fn the_nearest_copy_counts() {
    let pack = |sandbox: &Sandbox, more: &[&str]| {
        let to = sandbox.path().join("containers");
        let pack = ["pack", "-q", "--size", "1G", "--to", text(&to)];
        sandbox.run(pack.iter().chain(more)).exits(0);
    };
    let scene = Scene::new(|sandbox| pack(sandbox, &[]));
    let containers = scene.sandbox.path().join("containers");
    // The old bricks are in a container, what is needed of them is here.
    assert!(scene.list(&[]).is_empty());
    // Nobody knows where the new ones are; the old ones are there still.
    let away = scene.move_away();
    let said = String::from_utf8(scene.plan(&[]).exits(0).stdout).unwrap();
    assert!(
        said.contains("container") && !said.contains("NOWHERE"),
        "{said}"
    );
    let run = scene.restore(&containers, &[]).exits(0);
    assert!(run.stdout == scene.stream);
    // Both are in containers: the new ones are less to read.
    fs::rename(away.join("bricks"), scene.sandbox.store().join("bricks")).unwrap();
    pack(&scene.sandbox, &["--new-set"]);
    let new = scene.plan(&["--json"]).exits(0).stdout;
    let new: Value = serde_json::from_slice(&new).unwrap();
    fs::remove_dir_all(scene.sandbox.store().join("bricks")).unwrap();
    let packed: Value = serde_json::from_slice(&scene.plan(&["--json"]).exits(0).stdout).unwrap();
    assert_eq!(packed["needed"], new["needed"]);
    assert_eq!(packed["nowhere"], 0);
}
