//! Tapes and folders of containers that are not what they should be.

use std::fs;

use super::scene::Scene;
use crate::common::files::contents;

#[test]
fn what_no_name_vouches_for_is_compared_with_the_store_before_it_goes_on_tape() {
    let scene = Scene::new();
    scene.archive(2);
    assert_eq!(scene.pack("4M"), 1);
    let path = scene.path("containers").join(&scene.containers()[0]);
    let good = fs::read(&path).unwrap();
    // A byte of a root: no hash in the container says what it should be.
    let name = b"roots/";
    let header = (0..good.len())
        .step_by(512)
        .find(|&at| good[at..].starts_with(name));
    let mut bad = good.clone();
    bad[header.unwrap() + 512 + 20] ^= 1;
    fs::write(&path, &bad).unwrap();
    scene.tape("T", "capacity = 20_000_000");
    scene.load("T");
    let run = scene.write(&["--names", "A"], &[]).exits(3);
    run.says(&["-000001.tar", "it has changed"]);
    fs::write(&path, &good).unwrap();
    scene.load("T");
    scene.write(&[], &[]).exits(0);
}

#[test]
fn tapes_are_not_unpacked_into_another_store() {
    let scene = Scene::new();
    scene.archive(2);
    scene.pack("4M");
    scene.tape("T", "capacity = 20_000_000");
    scene.load("T");
    scene
        .write(&["--names", "A", "--keep-loaded"], &[])
        .exits(0);
    let other = Scene::new();
    other.archive(1);
    let to = other.sandbox.store();
    let before = contents(&to);
    for what in ["--unpack", "--hot"] {
        let run = scene.run(["restore", what, "--to", to.to_str().unwrap()], &[]);
        run.exits(1).says(&["belongs to store"]);
    }
    assert!(contents(&to) == before);
    // Nor is its catalog entered in one.
    let run = other.sandbox.command(["tape", "recover"]);
    let mut run = run;
    run.env(
        "DTAR_TAPE_DRIVE",
        format!("sim:{}", scene.path("library").display()),
    );
    run.env("DTAR_TAPE_CHANGE", "exit 1");
    let run: crate::common::sandbox::Run = run.output().unwrap().into();
    run.exits(1).says(&["belongs to store", "--to"]);
    assert!(contents(&to) == before);
}

#[test]
fn numbers_that_no_tape_has_cost_neither_time_nor_memory() {
    let scene = Scene::new();
    scene.archive(2);
    scene.pack("4M");
    fs::create_dir(scene.path("disk")).unwrap();
    let drive = ["--drive", "folder:disk", "--names", "DISK"];
    scene.write(&drive, &[]).exits(0);
    let disk = scene.path("disk");
    let set = scene.containers()[0][..8].to_owned();
    let strange = disk.join(format!("4294967295-{set}-000001.tar"));
    fs::write(&strange, b"").unwrap();
    let verify = ["verify", "--drive", "folder:disk"];
    scene.run(verify, &[]).exits(0);
    fs::remove_file(strange).unwrap();
    // A container whose label says that there are four thousand million.
    let last = disk.join(format!("0001-{set}-000001.tar"));
    let mut bytes = fs::read(&last).unwrap();
    let text = std::str::from_utf8(&bytes[512..1024]).unwrap();
    let number = 512 + text.find("number 1\n").unwrap();
    let changed = text.replacen("number 1\nstore", "number 4294967295\nstore", 1);
    bytes[512..1024].copy_from_slice(&changed.as_bytes()[..512]);
    assert!(number > 512);
    fs::write(&last, &bytes).unwrap();
    let recover = ["recover", "--drive", "folder:disk", "--to", "set.catalog"];
    scene.run(recover, &[]);
    assert!(fs::metadata(scene.path("set.catalog")).is_ok_and(|found| found.len() < 100_000));
    let strange = scene
        .path("containers")
        .join(format!("{set}-4294967295.tar"));
    fs::write(strange, b"").unwrap();
    scene.write(&drive, &[]).exits(0);
}

#[test]
fn two_runs_do_not_write_to_one_tape() {
    let scene = Scene::new();
    scene.archive(2);
    scene.pack("4M");
    fs::create_dir(scene.path("disk")).unwrap();
    let lock = fs::File::open(scene.path("disk")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let drive = ["--drive", "folder:disk", "--names", "DISK"];
    scene.write(&drive, &[]).exits(1).says(&["another"]);
    drop(lock);
    scene.write(&drive, &[]).exits(0);
}
