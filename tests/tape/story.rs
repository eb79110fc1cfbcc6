//! Only tapes and key are left.

use std::fs;

use super::scene::Scene;
use crate::common::sandbox::Run;
use crate::common::shell::must;
use crate::common::source::Random;

/// Three generations of a tree; returns the last one's stream.
fn archive_generations(scene: &Scene) -> Vec<u8> {
    let tree = scene.path("tree");
    let mut last = Vec::new();
    for generation in 0..3_u64 {
        for folder in 0..3 {
            let dir = tree.join(format!("folder-{folder}"));
            fs::create_dir_all(&dir).unwrap();
            let name = dir.join(format!("file-{generation}"));
            fs::write(name, Random(generation * 10 + folder).bytes(400_000)).unwrap();
        }
        let sort = "tar c --sort=name --owner=0 --group=0 --mtime=@7 --format=ustar tree";
        last = must(scene.sandbox.path(), sort, &[]);
        let index = scene.path(&format!("index-{generation}.tar"));
        let label = format!("generation {generation}");
        let arguments = ["--quiet", "--label", &label];
        scene
            .sandbox
            .archive_to(arguments, &last[..], &index)
            .exits(0);
    }
    last
}

fn numbers(run: &Run, key: &str) -> serde_json::Value {
    let summary = run.stderr.lines().rev().find_map(|line| {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        (value["type"] == "summary").then_some(value)
    });
    summary.unwrap_or_else(|| panic!("{}", run.stderr))[key].clone()
}

#[test]
fn tapes_and_key_are_enough() {
    let scene = Scene::new();
    let stream = archive_generations(&scene);
    let containers = scene.pack("2000K");
    let names = ["T1", "T2", "T3", "T4"];
    for name in names {
        let fault = if name == "T2" {
            "broken = \"write\""
        } else {
            ""
        };
        scene.tape_for(1, name, fault);
    }
    scene.load("T1");
    let plan = scene.write(&["--dry-run", "--json"], &[]).exits(0);
    fs::remove_file(scene.path("library/loaded")).unwrap();
    assert_eq!(numbers(&plan, "containers"), containers);
    let run = scene
        .write(&["--names", "A,B,C,D,E", "--json"], &names)
        .exits(0);
    assert_eq!(numbers(&run, "containers"), containers);
    assert_eq!(
        numbers(&run, "tapes").as_array().unwrap().len(),
        numbers(&plan, "tapes")
    );
    println!(
        "written: {containers} containers on {} tapes, one of no use besides",
        numbers(&run, "tapes")
    );

    // Store, catalogs and containers are lost.
    for lost in ["store", "catalog", "containers"] {
        fs::remove_dir_all(scene.path(lost)).unwrap();
    }
    let written =
        |name: &&str| *name != "T2" && scene.path("library").join(name).join("data").exists();
    let shelf: Vec<_> = names.into_iter().rev().filter(written).collect();
    let tapes = shelf.len();
    scene
        .run(["recover", "--to", "set.catalog"], &shelf)
        .exits(0);

    // What is small makes a store with which snapshots can be read.
    let again = |more: &[&str]| {
        let fixed = ["restore", "--from-catalog", "set.catalog", "--json"];
        run_by_name(&scene, fixed.iter().chain(more).copied())
    };
    again(&["--hot", "--to", "store"]).exits(0);
    let index = scene.sandbox.run(["index", "@latest"]).exits(0).stdout;
    assert_eq!(index, fs::read(scene.path("index-2.tar")).unwrap());

    // One file of the first generation: the fewest tapes.
    let (needed, loaded) = restore_one(&scene, &again);
    println!("one file: {needed} bricks needed, {loaded} of {tapes} tapes loaded");
    assert!(loaded < tapes, "{loaded} of {tapes}");

    // Then everything, as containers and as a store.
    again(&["--to", "containers"]).exits(0);
    again(&["--unpack", "--to", "store"]).exits(0);
    let all = scene.sandbox.run(["restore", "@latest"]).exits(0);
    assert!(all.stdout == stream);
    scene.sandbox.run(["verify"]).exits(0);
}

/// Gets one file with the bricks that it needs alone. Returns how many these are, and how
/// many tapes they took.
fn restore_one(scene: &Scene, again: &dyn Fn(&[&str]) -> Run) -> (usize, usize) {
    let file = "tree/folder-0/file-0";
    // The catalog came with what is small.
    let plan = ["plan", "--list=tape", "@latest", file];
    let listed = scene.sandbox.run(plan).exits(0).stdout;
    fs::write(scene.path("list"), &listed).unwrap();
    let some = again(&["--only", "list", "--to", "thawed"]).exits(0);
    let needed = String::from_utf8(listed).unwrap().lines().count();
    assert_eq!(numbers(&some, "files"), needed);
    let tapes = numbers(&some, "tapes").as_array().unwrap().len();
    let restore = ["restore", "@latest", file, "--bricks", "thawed"];
    let stream = scene.sandbox.run(restore).exits(0).stdout;
    let content = fs::read(scene.path(file)).unwrap();
    assert!(stream.windows(content.len()).any(|found| found == content));
    (needed, tapes)
}

/// Runs `dtar tape` with a person who reads the name that is asked for, and takes that tape
/// off the shelf.
fn run_by_name<'a>(scene: &Scene, arguments: impl Iterator<Item = &'a str>) -> Run {
    let _ = fs::remove_file(scene.path("library/loaded"));
    scene.run_with_change(
        arguments,
        r#"for dir in library/*/; do
            if head -c 65536 "$dir/data" 2>/dev/null | grep -aqx "name $DTAR_TAPE_NAME"
            then basename "$dir" > library/loaded; exit 0; fi
        done; exit 1"#,
    )
}
