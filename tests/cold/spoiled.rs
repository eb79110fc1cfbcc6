//! Containers and bricks that are damaged or another's.

use std::fs;
use std::path::Path;

use crate::common::files::files;
use crate::common::stored::summary;
use crate::scene::{Scene, listed};

#[test]
fn a_damaged_brick_is_left_out_and_its_runs_wait() {
    let mut scene = Scene::new(1);
    scene.archive();
    let bricks = files(&scene.sandbox.store().join("bricks"));
    // The last one that was written: the first run does without it.
    let age = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let brick = bricks.keys().max_by_key(|path| age(path)).unwrap();
    let good = fs::read(brick).unwrap();
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    fs::write(brick, &bad).unwrap();
    let run = scene.pack("cont", &[]).exits(3);
    let stem = brick.file_stem().unwrap().to_str().unwrap();
    run.says(&[stem, "damaged", "left out"]);
    let members: Vec<_> = scene
        .containers("cont")
        .iter()
        .flat_map(|path| listed(path))
        .collect();
    assert!(!members.iter().any(|name| name.contains(stem)));
    let roots = members
        .iter()
        .filter(|name| name.starts_with("roots/"))
        .count();
    assert_eq!(roots, 1, "{members:?}");
    fs::write(brick, &good).unwrap();
    scene.packs("cont", &[], "containers");
    scene.is_a_store_again("cont");
}

#[test]
fn a_damaged_container_costs_no_more_than_what_is_damaged() {
    let scene = Scene::new(3);
    scene.packs("cont", &["--size", "4M"], "containers");
    let container = &scene.containers("cont")[0];
    let good = fs::read(container).unwrap();
    // The catalog: the headers say the same.
    let mut bad = good.clone();
    let catalog = good
        .windows(14)
        .rposition(|bytes| bytes == b"dtar catalog 1")
        .unwrap();
    bad[catalog + 20] ^= 1;
    fs::write(container, &bad).unwrap();
    scene.restores_from("cont");
    let last = good.iter().rposition(|&byte| byte != 0).unwrap();
    for end in [last - 50, catalog - 600] {
        fs::write(container, &good[..end]).unwrap();
        scene.restores_from("cont");
        let run = unpack(&scene, container).exits(3);
        run.says(&["cut short"]);
    }
    // A byte of a brick. Its magic alone stands in the pages, too.
    let brick = good
        .windows(10)
        .position(|bytes| bytes == b"dtarBRIK\x01\0")
        .unwrap();
    let mut bad = good.clone();
    bad[brick + 5000] ^= 1;
    fs::write(container, &bad).unwrap();
    let run = unpack(&scene, container).exits(3);
    run.says(&["bricks/", "damaged", "left out"]);
    let (index, _) = &scene.runs[0];
    let dir = scene.dir("cont");
    let arguments = [
        "restore",
        "--store",
        "none",
        "--bricks",
        dir.to_str().unwrap(),
    ];
    let run = scene
        .sandbox
        .run(arguments.into_iter().chain([index.to_str().unwrap()]));
    run.exits(3).says(&["bricks/", ".tar", "at byte"]);
}

fn unpack(scene: &Scene, container: &Path) -> crate::common::sandbox::Run {
    let to = scene.dir("spoiled");
    let _ = fs::remove_dir_all(&to);
    let arguments = [
        "unpack",
        container.to_str().unwrap(),
        "--to",
        to.to_str().unwrap(),
    ];
    scene.sandbox.run(arguments)
}

#[test]
fn what_is_no_container_or_another_stores_is_refused() {
    let scene = Scene::new(2);
    scene.packs("cont", &[], "containers");
    let other = Scene::new(1);
    other.packs("cont", &[], "containers");
    let to = scene.sandbox.store();
    let run = scene.sandbox.run([
        "unpack",
        other.containers("cont")[0].to_str().unwrap(),
        "--to",
        to.to_str().unwrap(),
    ]);
    run.exits(1).says(&["belongs to store"]);
    let (index, stream) = &scene.runs[0];
    let plain = scene.dir("plain.tar");
    fs::write(&plain, stream).unwrap();
    unpack(&scene, &plain).exits(1).says(&["not a container"]);
    let arguments = [
        "restore",
        "--bricks",
        plain.to_str().unwrap(),
        index.to_str().unwrap(),
    ];
    scene
        .sandbox
        .run(arguments)
        .exits(1)
        .says(&["not a container"]);
    // Among others in a folder it is just no container.
    fs::copy(&plain, scene.dir("cont").join("plain.tar")).unwrap();
    scene.restores_from("cont");
    // A file that has the name of the next container and is none.
    let set = scene.containers("cont")[0]
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()[..8]
        .to_owned();
    let number = summary(&scene.pack("cont", &[]).exits(0))["containers"].clone();
    assert_eq!(number, 0);
    let next = scene.containers("cont").len();
    fs::copy(
        &plain,
        scene.dir("cont").join(format!("{set}-{next:06}.tar")),
    )
    .unwrap();
    scene.pack("cont", &[]).exits(1).says(&["not a container"]);
}

#[test]
fn anything_in_the_place_of_a_catalog_is_read_or_refused() {
    let scene = Scene::new(3);
    scene.packs("cont", &[], "containers");
    let dir = scene.sandbox.store().join("containers");
    let path = files(&dir).into_keys().next().unwrap();
    let good = fs::read(&path).unwrap();
    let mut random = crate::common::source::Random(3);
    for _ in 0..20 {
        let mut bad = good.clone();
        let position = usize::try_from(random.below(bad.len() as u64)).unwrap();
        bad[position] ^= 1 << random.below(8);
        fs::write(&path, &bad).unwrap();
        let run = scene.pack("cont", &[]).exits(3);
        run.says(&["container catalog", "at byte"]);
    }
    fs::write(&path, &good).unwrap();
    assert_eq!(scene.packs("cont", &[], "containers"), 0);
}
