//! `dtar rebuild`: sidecars and catalog made again, and what is left of a brick.

use std::fs;

use dtar::brick::{
    BrickSealer, CompressedFrame, Compressor, FrameBuilder, Pad, frame_header_length,
};
use dtar::crypto::KeyFile;
use dtar::id::{BrickName, Class};
use dtar::store::Store;

use crate::common::sandbox::KEY;
use crate::made::{Made, brick_parts, cut, flip, length, text};
use crate::scene::{Scene, events, summary};

#[test]
fn sidecars_come_back_byte_for_byte_with_a_put_key() {
    let scene = Scene::new();
    let put = scene.put_key();
    let tocs = scene.sandbox.store().join("tocs");
    let before: Vec<_> = scene
        .files("tocs")
        .into_iter()
        .map(|file| (file.clone(), fs::read(scene.file(&file)).unwrap()))
        .collect();
    fs::remove_dir_all(&tocs).unwrap();
    scene
        .verify(&[])
        .exits(3)
        .says(&["missing, though its brick is here", "dtar rebuild"]);
    let run = scene
        .sandbox
        .run(["rebuild", "--json", "--key", text(&put)])
        .exits(0);
    assert_eq!(summary(&run)["made"], 4);
    assert_eq!(summary(&run)["catalog"], 4);
    assert_eq!(events(&run, "sidecar").len(), 4);
    for (file, bytes) in before {
        assert!(
            fs::read(scene.file(&file)).unwrap() == bytes,
            "{}",
            file.display()
        );
    }
    scene.verify(&[]).exits(0);
    let run = scene.sandbox.run(["rebuild", "--json"]).exits(0);
    assert_eq!(
        (&summary(&run)["made"], &summary(&run)["sound"]),
        (&0.into(), &4.into())
    );
}

#[test]
fn the_catalog_is_made_anew() {
    let made = Made::three_bricks();
    let catalog = made.sandbox.catalog();
    fs::remove_dir_all(&catalog).unwrap();
    made.sandbox
        .run(["rebuild"])
        .exits(0)
        .says(&["catalog made anew with 7 bricks"]);
    made.archive_again(&[]).exits(0);
    assert_eq!(made.bricks().len(), 3);
}

#[test]
fn no_sidecar_is_made_of_a_brick_under_another_name() {
    let made = Made::three_bricks();
    let bricks = made.bricks();
    fs::copy(&bricks[1], &bricks[0]).unwrap();
    let sidecar = made.sidecars().remove(0);
    fs::remove_file(&sidecar).unwrap();
    let run = made.sandbox.run(["rebuild", "--json"]).exits(0);
    assert!(!sidecar.exists());
    // All that is in it stands in the other brick, under its own name.
    assert_eq!(events(&run, "elsewhere").len(), 1, "{}", run.stderr);
    assert_eq!(made.bricks().len(), 3);
}

/// A file under another brick's name, cut short so that its hash does not say whose it is:
/// what is in it must not pass for frames of the brick whose name it has.
#[test]
fn frames_of_another_brick_are_not_taken_for_those_of_the_name() {
    for is_moved in [false, true] {
        let made = Made::three_bricks();
        let bricks = made.bricks();
        let other = fs::read(&bricks[1]).unwrap();
        fs::write(&bricks[0], &other[..other.len() - 10]).unwrap();
        fs::remove_file(&made.sidecars()[0]).unwrap();
        if is_moved {
            fs::remove_file(&bricks[1]).unwrap();
        }
        let run = made.sandbox.run(["rebuild", "--json"]).exits(0);
        // What stands in its own brick is not stored again.
        let salvaged = events(&run, "salvaged").len();
        assert_eq!(salvaged, usize::from(is_moved), "{}", run.stderr);
        let run = made.sandbox.run(["gc", "--dry-run"]).exits(3);
        run.says(&[bricks[0].file_stem().unwrap().to_str().unwrap()]);
        let run = made.sandbox.run(["verify", "--json"]).exits(3);
        assert!(summary(&run)["hits"].as_u64() > Some(0), "{}", run.stderr);
        let lost = made.restore(&["--keep-going"]).exits(3).stdout;
        assert_eq!(lost.len(), made.stream.len());
        let differ = lost
            .iter()
            .zip(&made.stream)
            .filter(|(one, two)| one != two);
        assert!(differ.count() <= 2000, "more than the one member is lost");
    }
}

#[test]
fn what_was_salvaged_and_is_damaged_since_is_salvaged_again() {
    let made = Made::many();
    let brick = made.brick();
    flip(&brick, brick_parts(&brick).toc.start + 20, 1);
    fs::remove_file(&made.sidecars()[0]).unwrap();
    made.sandbox.run(["rebuild"]).exits(0);
    let new = made
        .bricks()
        .into_iter()
        .find(|path| *path != brick)
        .unwrap();
    flip(&new, brick_parts(&new).frames[1].1.start, 1);
    let run = made.sandbox.run(["rebuild", "--json"]).exits(0);
    let salvaged = events(&run, "salvaged");
    assert_eq!(salvaged.len(), 1, "{}", run.stderr);
    assert_eq!(salvaged[0]["frames"], 1);
    let run = made.sandbox.run(["rebuild", "--json"]).exits(0);
    assert_eq!(events(&run, "elsewhere").len(), 1, "{}", run.stderr);
    fs::remove_file(&brick).unwrap();
    made.sandbox.restores(&made.index, &made.stream[..]);
}

/// To open a pipe is to wait for its writer.
#[test]
fn a_pipe_in_place_of_a_brick_stops_nothing() {
    let made = Made::three_bricks();
    let brick = made.bricks().remove(0);
    fs::remove_file(&brick).unwrap();
    let status = std::process::Command::new("mkfifo").arg(&brick).status();
    assert!(status.unwrap().success());
    fs::remove_file(&made.sidecars()[0]).unwrap();
    made.sandbox
        .run(["rebuild"])
        .exits(3)
        .says(&["it is no file"]);
}

#[test]
fn the_sidecar_of_a_brick_that_is_away_needs_the_brick() {
    let made = Made::three_bricks();
    let brick = made.bricks().remove(0);
    let sidecar = made.sidecars().remove(0);
    let away = made.sandbox.path().join("away");
    fs::create_dir(&away).unwrap();
    fs::rename(&brick, away.join(brick.file_name().unwrap())).unwrap();
    flip(&sidecar, 60, 1);
    let run = made.sandbox.run(["rebuild"]).exits(3);
    run.says(&[text(&sidecar), "its brick is not here", "--bricks"]);
    made.sandbox
        .run(["rebuild", "--bricks", text(&away)])
        .exits(0);
    made.sandbox.run(["verify"]).exits(0);
    // A sidecar that is gone comes back for a run that needs the brick, and else does not.
    fs::remove_file(&sidecar).unwrap();
    made.sandbox
        .run(["rebuild", "--bricks", text(&away)])
        .exits(0);
    assert!(sidecar.exists());
    fs::remove_file(&sidecar).unwrap();
    fs::remove_dir_all(made.sandbox.store().join("roots")).unwrap();
    made.sandbox
        .run(["rebuild", "--bricks", text(&away)])
        .exits(0);
    assert!(!sidecar.exists());
}

/// The store's own brick must not be relied upon for a sound copy elsewhere.
#[test]
fn a_damaged_brick_whose_sidecar_comes_from_a_copy_is_marked() {
    let made = Made::small();
    let brick = made.brick();
    let tape = made.sandbox.path().join("tape");
    fs::create_dir(&tape).unwrap();
    fs::copy(&brick, tape.join(brick.file_name().unwrap())).unwrap();
    let sidecar = made.sidecars().remove(0);
    let mark = made
        .sandbox
        .store()
        .join("bad")
        .join(brick.file_stem().unwrap());
    for damage in ["flip", "another"] {
        if damage == "flip" {
            flip(&brick, 5000, 1);
        } else {
            let meta = made.sandbox.store().join("meta");
            let other = crate::common::files::files(&meta).pop_first().unwrap().0;
            fs::copy(other, &brick).unwrap();
        }
        fs::remove_file(&sidecar).unwrap();
        made.sandbox
            .run(["rebuild", "--bricks", text(&tape)])
            .exits(0);
        assert!(sidecar.exists() && mark.exists(), "{damage}");
        fs::remove_file(&mark).unwrap();
    }
    fs::remove_file(&sidecar).unwrap();
    made.sandbox
        .run(["rebuild", "--bricks", text(&tape)])
        .exits(0);
    made.archive_again(&[]).exits(0);
    assert_eq!(made.bricks().len(), 2, "its chunks are stored again");
    let again = made.sandbox.path().join("again.tar");
    made.sandbox.restores(&again, &made.stream[..]);
}

/// One bad sector must not keep all the others from being mended.
#[cfg(target_os = "linux")]
#[test]
fn a_sidecar_that_the_disk_has_lost_is_made_again() {
    let made = Made::three_bricks();
    let sidecars = made.sidecars();
    let before = fs::read(&sidecars[0]).unwrap();
    fs::remove_file(&sidecars[0]).unwrap();
    // Its first bytes are nobody's memory: to read them is an I/O error.
    std::os::unix::fs::symlink("/proc/self/mem", &sidecars[0]).unwrap();
    made.sandbox.run(["verify"]).exits(3).says(&["os error 5"]);
    let run = made.sandbox.run(["rebuild", "--json"]).exits(0);
    assert_eq!(summary(&run)["made"], 1, "{}", run.stderr);
    assert!(fs::read(&sidecars[0]).unwrap() == before);
    made.sandbox.run(["verify"]).exits(0);
}

#[test]
fn a_sidecar_that_cannot_be_read_is_reported_and_left_alone() {
    let made = Made::three_bricks();
    let sidecars = made.sidecars();
    fs::remove_file(&sidecars[0]).unwrap();
    fs::create_dir(&sidecars[0]).unwrap();
    fs::remove_file(&sidecars[1]).unwrap();
    let run = made.sandbox.run(["rebuild", "--json"]).exits(3);
    run.says(&[text(&sidecars[0]), "cannot be read"]);
    assert!(sidecars[0].is_dir() && sidecars[1].is_file());
}

/// What is left of a brick whose table and sidecar are lost is found by the markers of
/// its frames, put into a new brick, and found there by the next archive run.
#[test]
fn frames_of_a_brick_that_lost_its_table_go_into_a_new_one() {
    let made = Made::many();
    let brick = made.brick();
    let parts = brick_parts(&brick);
    let frames = parts.frames.len() as u64;
    fs::remove_file(&made.sidecars()[0]).unwrap();
    flip(&brick, parts.toc.start + 20, 1);
    flip(&brick, parts.frames[1].1.start, 1);
    let old = fs::read(&brick).unwrap();

    let put = made.sandbox.path().join("put-key");
    made.sandbox.run(["key", "put", text(&put)]).exits(0);
    let run = made.sandbox.run(["rebuild", "--key", text(&put)]).exits(3);
    run.says(&[text(&brick), "secret key"]);

    let run = made.sandbox.run(["rebuild", "--json"]).exits(0);
    let salvaged = events(&run, "salvaged");
    assert_eq!(salvaged.len(), 1, "{}", run.stderr);
    assert_eq!(salvaged[0]["frames"], frames - 1);
    let lost = salvaged[0]["lost"].as_u64().unwrap();
    let damaged = parts.frames[1].1.end - parts.frames[1].0.start;
    let around = 80 + length(&brick) - parts.toc.start;
    assert_eq!(lost, damaged + around, "bytes lost beyond the frame: 0");

    // Nothing was deleted, and once more changes nothing.
    assert!(fs::read(&brick).unwrap() == old);
    assert_eq!(made.bricks().len(), 2);
    let run = made.sandbox.run(["rebuild", "--json"]).exits(0);
    assert_eq!(events(&run, "elsewhere").len(), 1, "{}", run.stderr);
    assert_eq!(made.bricks().len(), 2);

    // The new brick is sound, and the next run stores the lost frame's chunks alone.
    let name = salvaged[0]["brick"].as_str().unwrap();
    let new = made
        .bricks()
        .into_iter()
        .find(|path| text(path).contains(name))
        .unwrap();
    let run = made.sandbox.run(["verify", "--json"]).exits(3);
    let of_new = |event: &serde_json::Value| event["path"] == text(&new);
    assert!(!events(&run, "fault").iter().any(of_new), "{}", run.stderr);
    let run = made.archive_again(&["--json"]).exits(0);
    let stored = summary(&run)["stored"].as_u64().unwrap();
    assert!(stored < damaged + (1 << 20), "{stored} of {damaged}");
    let again = made.sandbox.path().join("again.tar");
    made.sandbox.restores(&again, &made.stream[..]);
    // The old index finds what was stored again.
    made.sandbox.restores(&made.index, &made.stream[..]);
}

/// What was put into a new brick is needed for what it was needed in the old one.
#[test]
fn gc_keeps_what_was_salvaged() {
    let made = Made::many();
    let brick = made.brick();
    let parts = brick_parts(&brick);
    fs::remove_file(&made.sidecars()[0]).unwrap();
    flip(&brick, parts.toc.start + 20, 1);
    made.sandbox.run(["rebuild"]).exits(0);
    // All places are known, so that all needs are met.
    let run = made.sandbox.run(["gc", "--json"]).exits(0);
    assert_eq!(summary(&run)["missing"], 0);
    assert_eq!(made.bricks().len(), 2);
    fs::remove_file(&brick).unwrap();
    made.sandbox.restores(&made.index, &made.stream[..]);
    made.sandbox.run(["gc"]).exits(0);
    made.sandbox.restores(&made.index, &made.stream[..]);
    let run = made.sandbox.run(["verify", "--json"]).exits(0);
    assert_eq!(summary(&run)["missing"], 0, "{}", run.stderr);
}

/// Where it is not known which frame was which, gc keeps all, and deletes nothing of
/// what might be needed unless it is told to.
#[test]
fn gc_stops_where_it_is_not_known_what_is_missing() {
    let made = Made::many();
    let brick = made.brick();
    let parts = brick_parts(&brick);
    fs::remove_file(&made.sidecars()[0]).unwrap();
    flip(&brick, parts.frames[1].1.start, 1);
    flip(&brick, parts.toc.start + 20, 1);
    made.sandbox.run(["rebuild"]).exits(0);
    fs::remove_file(&brick).unwrap();
    made.sandbox.run(["gc", "--dry-run"]).exits(3);
    let run = made.sandbox.run(["gc"]).exits(3);
    run.says(&["nothing is deleted", "--allow-missing"]);
    made.sandbox.run(["gc", "--allow-missing"]).exits(3);
    assert_eq!(made.bricks().len(), 1, "frames without a place");
    made.restore(&["--keep-going"]).exits(3);
    made.archive_again(&[]).exits(0);
    made.sandbox.restores(&made.index, &made.stream[..]);
}

#[test]
fn a_brick_cut_short_gives_what_is_before_the_cut() {
    let made = Made::many();
    let brick = made.brick();
    let frames = brick_parts(&brick).frames;
    fs::remove_file(&made.sidecars()[0]).unwrap();
    cut(&brick, frames[2].1.start + 1000);
    let run = made.sandbox.run(["rebuild", "--json"]).exits(0);
    assert_eq!(events(&run, "salvaged")[0]["frames"], 2, "{}", run.stderr);
    made.archive_again(&[]).exits(0);
    let again = made.sandbox.path().join("again.tar");
    made.sandbox.restores(&again, &made.stream[..]);
}

#[test]
fn a_brick_of_garbage_gives_nothing_and_harms_nothing() {
    let made = Made::three_bricks();
    fs::write(&made.bricks()[0], vec![7; 5000]).unwrap();
    fs::remove_file(&made.sidecars()[0]).unwrap();
    let run = made.sandbox.run(["rebuild", "--json"]).exits(0);
    assert_eq!(events(&run, "elsewhere")[0]["lost"], 5000);
    made.archive_again(&[]).exits(0);
    let again = made.sandbox.path().join("again.tar");
    made.sandbox.restores(&again, &made.stream[..]);
}

/// Frames of one brick, each with as many tiny chunks as fit.
fn crowded(store: &Store, frames: std::ops::Range<u32>) -> Vec<u8> {
    const CHUNKS: u32 = 16_384;
    let recipients = store.recipients();
    let sealer = BrickSealer::new(*store.id(), store.epoch(), Class::Data, recipients).unwrap();
    let mut bytes = sealer.header();
    for (number, first) in (0..).zip(frames) {
        let mut builder = FrameBuilder::new();
        for chunk in 0..CHUNKS {
            builder.push(&(first * CHUNKS + chunk).to_le_bytes());
        }
        let mut frame = CompressedFrame::new();
        let header = frame_header_length(recipients.len());
        let compressor = &mut Compressor::new();
        builder
            .compress(compressor, 1, header, Pad::None, &mut frame)
            .unwrap();
        sealer.seal_frame(number, &mut frame).unwrap();
        bytes.extend_from_slice(&frame.bytes);
    }
    bytes
}

/// A file that holds more frames than a brick may, made by somebody who has copied those of
/// several together, must not keep others from being rebuilt.
#[test]
fn more_frames_than_fit_a_brick_are_put_into_several() {
    let scene = Scene::new();
    let KeyFile::Key(key) = KeyFile::parse(KEY.as_bytes()).unwrap() else {
        panic!("a key without passphrase");
    };
    let store = Store::open(&scene.sandbox.store(), &key).unwrap();
    let name = BrickName([0xab; 32]);
    let path = store.brick_path(&name, Class::Data);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // 18 frames of 16,384 chunks: a brick has at most 262,144.
    let bytes = [crowded(&store, 0..9), crowded(&store, 9..18)].concat();
    fs::write(&path, bytes).unwrap();
    let frames = || {
        let run = scene.sandbox.run(["rebuild", "--json"]).exits(0);
        let salvaged = events(&run, "salvaged");
        let frames = salvaged
            .iter()
            .map(|event| event["frames"].as_u64().unwrap());
        frames.collect::<Vec<_>>()
    };
    assert_eq!(frames(), [16, 2]);
    assert_eq!(frames(), [0; 0]);
    scene.restore().exits(0);
}
