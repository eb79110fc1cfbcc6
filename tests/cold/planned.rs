//! `dtar plan`: exactly what a restore needs, and where it is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::common::sandbox::Run;
use crate::scene::{Scene, restores};

fn plan(scene: &Scene, arguments: &[&str]) -> Run {
    let fixed = ["plan"].into_iter().chain(arguments.iter().copied());
    scene.sandbox.run(fixed)
}

fn json(scene: &Scene, arguments: &[&str]) -> Value {
    let mut more = vec!["--json"];
    more.extend(arguments);
    let run = plan(scene, &more);
    serde_json::from_slice(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run:?}"))
}

fn list(scene: &Scene, arguments: &[&str]) -> Vec<String> {
    let mut more = vec!["--list"];
    more.extend(arguments);
    let run = plan(scene, &more);
    let text = String::from_utf8(run.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Moves all data bricks of the store away.
fn move_away(scene: &Scene) -> PathBuf {
    let away = scene.dir("away");
    fs::create_dir(&away).unwrap();
    fs::rename(scene.sandbox.store().join("bricks"), away.join("bricks")).unwrap();
    away
}

#[test]
fn what_the_plan_lists_is_enough_and_none_of_it_too_much() {
    let scene = Scene::new(4);
    let (index, stream) = &scene.runs[3];
    let away = move_away(&scene);
    for patterns in [&[][..], &["0/2"], &["1", "3/0"]] {
        let mut arguments = vec![text(index)];
        arguments.extend(patterns);
        let listed = list(&scene, &arguments);
        let thawed = scene.dir("thawed");
        let _ = fs::remove_dir_all(&thawed);
        for brick in &listed {
            let to = thawed.join(brick);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(away.join(brick), to).unwrap();
        }
        let mut restore = scene
            .sandbox
            .command(["restore", "--bricks", text(&thawed)]);
        restore.args(&arguments);
        let output = restore.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        if patterns.is_empty() {
            assert!(output.stdout == *stream);
            assert_eq!(listed.len(), 4);
        } else {
            assert!(listed.len() < 3, "{listed:?}");
        }
        for brick in &listed {
            let hidden = scene.dir("hidden");
            fs::rename(thawed.join(brick), &hidden).unwrap();
            let mut restore = scene
                .sandbox
                .command(["restore", "--bricks", text(&thawed)]);
            restore.args(&arguments);
            assert_eq!(restore.output().unwrap().status.code(), Some(3));
            fs::rename(&hidden, thawed.join(brick)).unwrap();
        }
    }
}

#[test]
fn it_takes_no_key_and_says_how_much_of_each_brick_is_needed() {
    let scene = Scene::new(2);
    let (index, _) = &scene.runs[1];
    let with_key = json(&scene, &[text(index)]);
    assert_eq!(with_key["needed"]["bricks"], 2);
    assert_eq!(with_key["here"]["bricks"], 2);
    assert_eq!(with_key["nowhere"], 0);
    let sum = |field: &str| -> u64 {
        let bricks = with_key["bricks"].as_array().unwrap().iter();
        bricks.map(|brick| brick[field].as_u64().unwrap()).sum()
    };
    assert_eq!(with_key["used"], sum("used"));
    assert!(sum("used") < sum("bytes") && sum("used") * 10 > sum("bytes") * 9);
    let key = scene.dir("hidden-key");
    fs::rename(scene.sandbox.key(), &key).unwrap();
    let mut command: Command = scene.sandbox.command(["plan", "--json", text(index)]);
    let output = command.env_remove("DTAR_KEY").output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let without: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(without, with_key);
    assert!(String::from_utf8_lossy(&output.stderr).contains("could not be checked"));
}

#[test]
fn containers_and_tapes_are_named_and_few_of_them() {
    let scene = Scene::new(5);
    scene.packs("cont", &[], "containers");
    let away = move_away(&scene);
    let (index, stream) = &scene.runs[4];
    let run = plan(&scene, &[text(index)]).exits(0);
    let said = String::from_utf8(run.stdout).unwrap();
    assert!(
        said.contains("container") && said.contains("-000001.tar"),
        "{said}"
    );
    // At hand, if the containers are.
    let cont = scene.dir("cont");
    let here = json(&scene, &[text(index), "--bricks", text(&cont)]);
    assert_eq!(here["here"]["bricks"], 5);
    // Two tapes, each with everything.
    for tape in ["A-1", "A-2"] {
        let drive = scene.dir(tape);
        fs::create_dir(&drive).unwrap();
        let from = scene.dir(&format!("from-{tape}"));
        fs::create_dir(&from).unwrap();
        for container in scene.containers("cont") {
            fs::copy(&container, from.join(container.file_name().unwrap())).unwrap();
        }
        let drive = format!("folder:{}", text(&drive));
        let run = scene.sandbox.run([
            "tape",
            "write",
            "--from",
            text(&from),
            "--names",
            tape,
            "--capacity",
            "100M",
            "--drive",
            &drive,
        ]);
        run.exits(0);
    }
    let on_tape = json(&scene, &[text(index)]);
    let tapes = on_tape["tapes"].as_array().unwrap();
    assert_eq!(tapes.len(), 1, "{tapes:?}");
    assert_eq!(on_tape["on_tape"]["bricks"], 5);
    let files = tapes[0]["files"].as_array().unwrap();
    let numbers: Vec<_> = files
        .iter()
        .map(|file| file["file"].as_u64().unwrap())
        .collect();
    assert!(numbers.is_sorted());
    let bricks: BTreeSet<_> = files
        .iter()
        .flat_map(|file| file["bricks"].as_array().unwrap())
        .map(|brick| brick["name"].as_str().unwrap())
        .collect();
    assert_eq!(bricks.len(), 5);
    // What the plan says to run next does it, as printed.
    let said = plan(&scene, &[text(index), "0", "2/1"]).exits(0).stdout;
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("on 1 tape:\n  1. A-1 "), "{said}");
    let drive = format!("folder:{}", text(&scene.dir("A-1")));
    let next = next(&said).replace("DRIVE", &drive);
    assert_eq!(next.lines().count(), 2, "{said}");
    let restored = scene
        .sandbox
        .shell(&next.replace("tar x", "tar t"))
        .output();
    let restored = restored.unwrap();
    let names = String::from_utf8(restored.stdout).unwrap();
    assert!(restored.status.success(), "{next}");
    assert_eq!(
        names.lines().collect::<Vec<_>>(),
        ["0/0", "0/1", "0/2", "0/3", "2/1"]
    );
    let got = crate::common::files::files(&scene.dir("thawed"));
    let needed = list(&scene, &["--bricks", "none", text(index), "0", "2/1"]);
    assert_eq!(got.len(), needed.len());
    restores(
        &scene.sandbox,
        text(&scene.sandbox.store()),
        Some(&away),
        index,
        stream,
    );
}

/// The commands that a plan says to run next.
pub fn next(said: &str) -> String {
    let lines = said.lines().skip_while(|line| !line.starts_with("next"));
    let lines = lines.take_while(|line| line.starts_with("next") || line.starts_with("    "));
    let lines = lines.map(|line| line.trim_start_matches("next").trim().to_owned() + "\n");
    lines.collect()
}

#[test]
fn what_is_nowhere_is_said_and_prices_are_checked() {
    let scene = Scene::new(1);
    let (index, _) = &scene.runs[0];
    move_away(&scene);
    let said = String::from_utf8(plan(&scene, &[text(index)]).exits(3).stdout).unwrap();
    assert!(
        said.contains("\naway ") && said.contains("--bricks"),
        "{said}"
    );
    for file in crate::common::files::files(&scene.sandbox.store().join("tocs")).keys() {
        fs::remove_file(file).unwrap();
    }
    let prices = scene.dir("prices.toml");
    let example = plan(&scene, &["--example-prices"]).exits(0);
    fs::write(&prices, &example.stdout).unwrap();
    let run = plan(&scene, &[text(index), "--prices", text(&prices)]).exits(3);
    let said = String::from_utf8(run.stdout).unwrap();
    assert!(
        said.contains("\nNOWHERE ") && said.contains("deep-archive-bulk"),
        "{said}"
    );
    let tiers = json(&scene, &[text(index), "--prices", text(&prices)]);
    let bytes = tiers["needed"]["bytes"].as_f64().unwrap();
    let bulk = &tiers["costs"][0];
    let expected = bytes / 1e9 * (0.0025 + 0.09) + 0.000_025;
    assert!((bulk["total"].as_f64().unwrap() - expected).abs() < 1e-9);
    assert_eq!(bulk["hours"], 48.0);
    fs::write(&prices, "currency = 5").unwrap();
    let run = plan(&scene, &[text(index), "--prices", text(&prices)]).exits(2);
    run.says(&["prices.toml", "--example-prices"]);
}
