//! Containers as `formats/container.md` says, read by others and by dtar.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use dtar::container::PAGES;

use crate::common::block::Stream;
use crate::common::shell::tool;
use crate::common::source::Random;
use crate::common::stored::{events, summary};
use crate::scene::{BOUND, Scene, listed, parts, restores};

#[test]
fn a_set_is_the_store_again() {
    let mut scene = Scene::new(5);
    assert!(scene.packs("cont", &[], "containers") > 2);
    let mut seen = Vec::new();
    for container in scene.containers("cont") {
        let length = fs::metadata(&container).unwrap().len();
        assert!(length <= BOUND && length % 10_240 == 0, "{length}");
        let names = listed(&container);
        let list = "import sys, tarfile; print(*tarfile.open(sys.argv[1]).getnames(), sep='\\n')";
        let output = tool("python3")
            .args(["-c", list])
            .arg(&container)
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            names.join("\n") + "\n"
        );
        assert_eq!(names[0], "dtar-container.txt");
        assert_eq!(names[1 + PAGES.len()], "store.toml");
        assert_eq!(names.last().unwrap(), "dtar-catalog.txt");
        let rest = &names[2 + PAGES.len()..names.len() - 1];
        let order = ["bricks/", "meta/", "tocs/", "snapshots/", "roots/"];
        let place = |name: &String| order.iter().position(|part| name.starts_with(part));
        // Snapshots and roots stand by time, together.
        let places: Vec<_> = rest
            .iter()
            .map(|name| place(name).unwrap().min(3))
            .collect();
        assert!(places.is_sorted(), "{rest:?}");
        seen.extend_from_slice(rest);
    }
    seen.sort();
    let mut expected: Vec<_> = parts(&scene.sandbox.store()).into_keys().collect();
    expected.retain(|path| path != &PathBuf::from("store.toml"));
    let expected: Vec<_> = expected.iter().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(seen, expected);
    scene.is_a_store_again("cont");
    scene.restores_from("cont");
    assert_eq!(scene.packs("cont", &[], "containers"), 0);
    // What comes later goes into later containers, wherever these stand.
    scene.archive();
    assert_eq!(scene.packs("later", &[], "containers"), 1);
    for container in scene.containers("later") {
        fs::copy(
            &container,
            scene.dir("cont").join(container.file_name().unwrap()),
        )
        .unwrap();
    }
    scene.is_a_store_again("cont");
}

#[test]
fn tar_alone_makes_the_store_again() {
    let scene = Scene::new(3);
    scene.packs("cont", &[], "containers");
    let to = scene.dir("plain");
    fs::create_dir(&to).unwrap();
    for container in scene.containers("cont") {
        let mut tar = crate::common::shell::tool("tar");
        assert!(
            tar.arg("xf")
                .arg(container)
                .arg("-C")
                .arg(&to)
                .status()
                .unwrap()
                .success()
        );
    }
    assert_eq!(parts(&to), parts(&scene.sandbox.store()));
    assert!(to.join("formats/container.md").exists());
    let (_, stream) = &scene.runs[2];
    restores(
        &scene.sandbox,
        to.to_str().unwrap(),
        None,
        &PathBuf::from("@latest"),
        stream,
    );
}

#[test]
fn no_container_is_longer_than_asked_for() {
    let mut scene = Scene::new(6);
    let mut least = u64::MAX;
    for number in 0..12 {
        let bound = 650_000 + scene.below(1_500_000);
        let dir = format!("cont-{number}");
        let run = scene
            .pack(&dir, &["--size", &bound.to_string(), "--new-set"])
            .exits(0);
        for event in events(&run, "container") {
            let length = event["bytes"].as_u64().unwrap();
            assert!(length <= bound, "{length} > {bound}");
            least = least.min(bound - length);
        }
    }
    // Some come close.
    assert!(least < 200_000, "{least}");
    let run = scene
        .pack("cont", &["--size", "300K", "--new-set"])
        .exits(2);
    run.says(&["--size", "too few", ".brick"]);
    assert!(scene.containers("cont").is_empty());
}

#[test]
fn a_dry_run_says_what_comes_and_writes_nothing() {
    let scene = Scene::new(4);
    let run = scene.pack("cont", &["--dry-run"]).exits(0);
    let planned = summary(&run)["containers"].as_u64().unwrap();
    assert!(!scene.dir("cont").exists());
    assert!(!scene.sandbox.store().join("containers").exists());
    assert_eq!(scene.packs("cont", &[], "containers"), planned);
}

#[test]
fn an_index_or_what_came_since_is_packed_alone() {
    let scene = Scene::new(3);
    let (index, stream) = &scene.runs[0];
    scene.packs("one", &["--index", index.to_str().unwrap()], "bricks");
    restores(
        &scene.sandbox,
        "none",
        Some(&scene.dir("one")),
        index,
        stream,
    );
    let (last, _) = &scene.runs[2];
    let run = scene.sandbox.run(
        ["restore", "--store", "none", "--bricks", "one"]
            .iter()
            .map(|part| {
                if *part == "one" {
                    scene.dir("one").to_str().unwrap().to_owned()
                } else {
                    (*part).to_owned()
                }
            })
            .chain([last.to_str().unwrap().to_owned()]),
    );
    run.exits(3).says(&["is missing"]);
    // All that the second run has more than the first, and the third more than the second.
    let since = scene.packs("since", &["--since", "@3", "--new-set"], "bricks");
    let all = scene.packs("all", &["--new-set"], "bricks");
    assert!(since < all);
    scene.restores_from("all");
    fs::rename(
        scene.containers("one")[0].clone(),
        scene.dir("since").join("first.tar"),
    )
    .unwrap();
    let run = scene.pack("x", &[]).exits(2);
    run.says(&["several sets", "--set"]);
}

#[test]
fn parity_goes_with_the_bricks_it_serves() {
    let scene = Scene::new(3);
    scene
        .sandbox
        .run(["parity", "add", "--share", "50%"])
        .exits(0);
    scene.packs("cont", &["--parity"], "containers");
    scene.is_a_store_again("cont");
    let names: Vec<_> = scene
        .containers("cont")
        .iter()
        .flat_map(|path| listed(path))
        .collect();
    assert!(names.iter().any(|name| name.starts_with("parity/")));
}

#[test]
fn all_but_the_data_is_enough_to_restore_from_containers_in_place() {
    let scene = Scene::new(3);
    scene.packs("cont", &[], "containers");
    let hot = scene.dir("hot");
    let mut arguments = vec!["unpack".into(), "--hot".into(), "--to".into(), hot.clone()];
    arguments.extend(scene.containers("cont"));
    scene
        .sandbox
        .run(arguments.iter().map(|path| path.as_os_str()))
        .exits(0);
    assert!(!hot.join("bricks").exists());
    let (_, stream) = &scene.runs[0];
    let index = PathBuf::from("@3");
    restores(
        &scene.sandbox,
        hot.to_str().unwrap(),
        Some(&scene.dir("cont")),
        &index,
        stream,
    );
    // A container by itself, and standard input.
    let first = &scene.containers("cont")[0];
    let piped = scene.dir("piped");
    let mut command = scene
        .sandbox
        .command(["unpack", "-", "--to", piped.to_str().unwrap()]);
    command.stdin(fs::File::open(first).unwrap());
    assert!(command.status().unwrap().success());
    assert!(piped.join("store.toml").exists() && piped.join("roots").exists());
    assert!(!piped.join(".dtar-tmp").exists());
}

/// What gc has moved no root names: the bricks that hold it belong into the set all the same.
#[test]
fn what_gc_has_moved_is_packed() {
    let mut scene = Scene::new(0);
    // Two frames, of which the second run needs one.
    let large = Stream::new().file("large", &Random(1).bytes(8_000_000));
    let small = Stream::new()
        .file("small", &Random(2).bytes(2_000_000))
        .end();
    for (name, stream) in [("both.tar", large.raw(&small).end()), ("small.tar", small)] {
        let index = scene.sandbox.path().join(name);
        scene
            .sandbox
            .archive_to(["-q", "--label", name], &stream[..], &index)
            .exits(0);
        scene.runs.push((index, stream));
    }
    scene.runs.remove(0);
    scene.sandbox.run(["forget", "@label:both.tar"]).exits(0);
    let gc = scene.sandbox.run(["gc", "--json", "--threshold", "100"]);
    assert_eq!(summary(&gc.exits(0))["rewritten"], 1);
    assert_eq!(scene.packs("packed", &["--size", "32M"], "unneeded"), 0);
    scene.restores_from("packed");
    scene.is_a_store_again("packed");
    let only = scene.runs[0].0.to_str().unwrap().to_owned();
    scene.packs(
        "only",
        &["--size", "32M", "--new-set", "--index", &only],
        "bricks",
    );
    scene.restores_from("only");
}

/// What comes back into a store may need what a gc is deleting.
#[test]
fn no_gc_deletes_while_a_container_is_unpacked_into_the_store() {
    let scene = Scene::new(2);
    scene.packs("packed", &[], "containers");
    let container = fs::read(&scene.containers("packed")[0]).unwrap();
    let store = scene.sandbox.store();
    let mut unpack = scene.sandbox.command(["unpack", "-", "--to"]);
    let unpack = unpack
        .arg(&store)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped());
    let mut unpack = unpack.spawn().unwrap();
    let mut stdin = unpack.stdin.take().unwrap();
    stdin.write_all(&container[..container.len() / 2]).unwrap();
    let start = Instant::now();
    while fs::read_dir(store.join("runs")).unwrap().next().is_none() {
        assert!(start.elapsed() < Duration::from_secs(60), "no lease");
        std::thread::sleep(Duration::from_millis(5));
    }
    let run = scene.sandbox.run(["gc"]).exits(1);
    run.says(&["may be another gc at work"]);
    stdin.write_all(&container[container.len() / 2..]).unwrap();
    drop(stdin);
    assert!(unpack.wait().unwrap().success());
    scene.sandbox.run(["gc"]).exits(0);
    let dead = store.join("dead/00000000000000000007-0123456789abcdef.dead");
    fs::create_dir_all(dead.parent().unwrap()).unwrap();
    fs::write(&dead, b"").unwrap();
    let mut arguments = vec!["unpack".into(), "--to".into(), store];
    arguments.extend(scene.containers("packed"));
    let run = scene.sandbox.run(&arguments).exits(1);
    run.says(&["dtar gc"]);
}
