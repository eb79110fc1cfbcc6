//! Tapes with a file system: folders, and what is run around them.

use std::fs;

use super::scene::Scene;
use crate::common::shell::{have, must};

fn packed() -> (Scene, u32) {
    let scene = Scene::new();
    scene.archive(5);
    let containers = scene.pack("700K");
    (scene, containers)
}

#[test]
fn a_folder_is_a_tape_and_its_files_are_plain_containers() {
    let (scene, containers) = packed();
    fs::create_dir(scene.path("disk")).unwrap();
    let drive = ["--drive", "folder:disk", "--names", "DISK"];
    scene
        .write(&drive, &[])
        .exits(0)
        .says(&["labelled the tape DISK"]);
    let mut names: Vec<_> = fs::read_dir(scene.path("disk"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let in_order = scene.containers();
    let prefix = &in_order[0][..8];
    let taped = (1..).zip(&in_order);
    let mut expected: Vec<_> = taped
        .map(|(number, name)| format!("{number:04}-{name}"))
        .collect();
    expected.push(format!("{:04}-{prefix}-catalog.tar", containers + 1));
    expected.push("dtar-tape.tar".into());
    assert_eq!(names, expected);
    for (name, copy) in in_order.iter().zip(&names) {
        let copy = fs::read(scene.path("disk").join(copy)).unwrap();
        assert!(copy == fs::read(scene.path("containers").join(name)).unwrap());
    }
    if have("tar") {
        let listed = must(&scene.path("disk"), "tar tf dtar-tape.tar", &[]);
        let listed = String::from_utf8(listed).unwrap();
        assert!(
            listed.starts_with("dtar-tape.txt\nformats/README.md\n"),
            "{listed}"
        );
        assert!(
            listed.contains("formats/reference/dtar_reader.py"),
            "{listed}"
        );
    }
    scene
        .run(["verify", "--drive", "folder:disk"], &[])
        .exits(0);
    // What is not dtar's is not touched.
    fs::create_dir(scene.path("full")).unwrap();
    fs::write(scene.path("full/thesis"), b"mine").unwrap();
    fs::remove_file(scene.remembered()).unwrap();
    fs::remove_dir_all(scene.path("store")).unwrap();
    let drive = [
        "--drive",
        "folder:full",
        "--overwrite",
        "--change-command",
        "exit 1",
    ];
    scene.write(&drive, &[]).exits(1).says(&["thesis"]);
    assert_eq!(fs::read(scene.path("full/thesis")).unwrap(), b"mine");
}

#[test]
fn with_little_room_containers_are_made_and_written_in_turns() {
    let scene = Scene::new();
    scene.archive(5);
    fs::create_dir(scene.path("disk")).unwrap();
    let mut turns = 0;
    loop {
        let pack = [
            "pack",
            "--count",
            "1",
            "--size",
            "700K",
            "--to",
            "containers",
        ];
        let said = scene.sandbox.run(pack).exits(0).stderr;
        if scene.containers().is_empty() {
            assert!(said.contains("all is packed"), "{said}");
            break;
        }
        assert_eq!(scene.count(), 1, "{said}");
        turns += 1;
        let write = ["--delete", "--drive", "folder:disk", "--names", "DISK"];
        scene.write(&write, &[]).exits(0);
        assert_eq!(scene.containers().len(), 0);
    }
    assert!(turns > 2, "{turns}");
    let index = fs::read(scene.path("index.tar")).unwrap();
    let stream = scene.sandbox.run(["restore", "index.tar"]).exits(0).stdout;
    fs::remove_dir_all(scene.path("store")).unwrap();
    scene
        .run(
            [
                "restore",
                "--unpack",
                "--to",
                "store",
                "--drive",
                "folder:disk",
            ],
            &[],
        )
        .exits(0);
    let again = scene.sandbox.run(["restore", "index.tar"]).exits(0).stdout;
    assert!(again == stream && !index.is_empty());
    scene.sandbox.run(["verify"]).exits(0);
    println!("{turns} containers, one at a time");
}

#[test]
fn nothing_is_written_to_a_folder_where_no_tape_is_mounted() {
    let (scene, _) = packed();
    fs::create_dir(scene.path("mnt")).unwrap();
    let drive = ["--drive", "ltfs:mnt", "--change-command", "exit 1"];
    scene
        .write(&drive, &[])
        .exits(1)
        .says(&["no tape is mounted here", "folder:DIR"]);
    assert_eq!(fs::read_dir(scene.path("mnt")).unwrap().count(), 0);
}

#[test]
fn a_tape_in_a_device_is_mounted_and_unmounted_around_the_run() {
    let (scene, containers) = packed();
    fs::create_dir(scene.path("mnt")).unwrap();
    // What the real commands do to a tape, done to folders.
    let mount = "echo mount $DTAR_TAPE_DEVICE >> log; test -d slot-$(cat device) && \
                 cp -a slot-$(cat device)/. \"$DTAR_TAPE_DIR\"";
    let unmount = "echo unmount >> log; rm -rf slot-$(cat device); \
                   mv \"$DTAR_TAPE_DIR\" slot-$(cat device); mkdir \"$DTAR_TAPE_DIR\"";
    let eject = "echo eject >> log; echo $(( $(cat device) + 1 )) > device";
    for slot in 1..=6 {
        fs::create_dir(scene.path(&format!("slot-{slot}"))).unwrap();
    }
    fs::write(scene.path("device"), "1\n").unwrap();
    let run = scene.write(
        &[
            "--drive",
            "ltfs:mnt",
            "--device",
            "device",
            "--mount-command",
            mount,
            "--unmount-command",
            unmount,
            "--eject-command",
            eject,
            "--names",
            "A,B,C,D,E,F",
            "--change-command",
            "true",
            "--capacity",
            "1500K",
        ],
        &[],
    );
    let log = fs::read_to_string(scene.path("log")).unwrap();
    let run = run.exits(0);
    assert!(
        log.starts_with("mount device\nunmount\neject\nmount device\n"),
        "{log}"
    );
    assert!(log.ends_with("unmount\neject\n"), "{log}");
    // More than one tape was needed, and each has label, container and catalog.
    assert!(run.stderr.contains("A, B"), "{} {containers}", run.stderr);
    for slot in ["slot-1", "slot-2"] {
        assert!(
            fs::read_dir(scene.path(slot)).unwrap().count() >= 3,
            "{slot}"
        );
    }
}
