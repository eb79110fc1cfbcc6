//! Several sets that a repair meets: some overlap, some are forged, some cannot be repaired.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use dtar::format::parity::{Description, HEAD_LENGTH, Head};
use dtar::id::SetId;

use crate::common::sandbox::{Run, Sandbox};
use crate::scene::{bricks, copy, made, parity, parity_files, summary, tree};

/// Makes a folder of copies of these bricks, with a set of its own.
fn set_of(sandbox: &Sandbox, name: &str, bricks: &[&PathBuf], share: &str) -> PathBuf {
    let dir = sandbox.path().join(name);
    fs::create_dir(&dir).unwrap();
    for path in bricks {
        fs::copy(path, dir.join(path.file_name().unwrap())).unwrap();
    }
    let arguments = ["add", dir.to_str().unwrap(), "--share", share];
    parity(sandbox, arguments).exits(0);
    dir
}

/// The id of the set in a folder.
fn set_in(dir: &Path) -> Vec<u8> {
    let file = parity_files(dir).remove(0);
    fs::read(file).unwrap()[16..48].to_vec()
}

#[test]
fn what_one_set_brings_back_helps_another_before_it() {
    let made = made();
    let all = bricks(&made.sandbox.store());
    let [one, two, three, ..] = &all[..] else {
        panic!("{all:?}")
    };
    // Each brings back one brick; the first is in both.
    let a = set_of(&made.sandbox, "a", &[one, two], "55%");
    let b = set_of(&made.sandbox, "b", &[one, three], "55%");
    let other = if set_in(&a) < set_in(&b) { two } else { three };
    let dir = made.sandbox.path().join("dir");
    copy(&a, &dir);
    copy(&b, &dir);
    let name = dir.to_str().unwrap();
    let found = summary(&parity(&made.sandbox, ["check", name, "--json"]).exits(0));
    assert_eq!((&found["sets"], &found["bricks"]), (&2.into(), &3.into()));
    let before = tree(&dir);
    let lose = || {
        for path in [one, other] {
            fs::remove_file(dir.join(path.file_name().unwrap())).unwrap();
        }
    };
    lose();
    let found = summary(&parity(&made.sandbox, ["check", name, "--json"]).exits(3));
    assert_eq!(
        (&found["missing"], &found["repairable"]),
        (&2.into(), &1.into())
    );
    let run = parity(&made.sandbox, ["repair", name, "--json"]).exits(0);
    let found = summary(&run);
    assert_eq!(
        (&found["missing"], &found["restored"]),
        (&2.into(), &2.into())
    );
    assert_eq!(found["failed"], 0);
    assert_eq!(tree(&dir), before);

    lose();
    let to = made.sandbox.path().join("to");
    let arguments = ["repair", name, "--to", to.to_str().unwrap()];
    parity(&made.sandbox, arguments).exits(0);
    assert_eq!(bricks(&to).len(), 2);
}

#[test]
fn a_set_that_cannot_be_repaired_does_not_keep_others_from_it() {
    let made = made();
    let all = bricks(&made.sandbox.store());
    let a = set_of(&made.sandbox, "a", &[&all[0], &all[1]], "55%");
    let b = set_of(&made.sandbox, "b", &[&all[2], &all[3]], "55%");
    let (bad, good) = if set_in(&a) < set_in(&b) {
        (0, 2)
    } else {
        (2, 0)
    };
    let dir = made.sandbox.path().join("dir");
    copy(&a, &dir);
    copy(&b, &dir);
    let [bad, good] = [bad, good].map(|number: usize| dir.join(all[number].file_name().unwrap()));
    let whole = fs::read(&good).unwrap();
    for path in [&bad, &good] {
        fs::remove_file(path).unwrap();
    }
    // No file can be put here.
    fs::create_dir_all(bad.join("folder")).unwrap();
    let run = parity(&made.sandbox, ["repair", dir.to_str().unwrap(), "--json"]);
    let run = run.exits(3).says(&[bad.to_str().unwrap()]);
    let found = summary(&run);
    assert_eq!(
        (&found["restored"], &found["failed"]),
        (&1.into(), &1.into())
    );
    assert_eq!(fs::read(&good).unwrap(), whole);
}

/// Replaces the set in a folder by one whose description is another.
fn forge(dir: &Path, alter: impl Fn(&mut Description)) {
    for path in parity_files(dir) {
        let bytes = fs::read(&path).unwrap();
        let head = Head::decode(&bytes).unwrap();
        let start = HEAD_LENGTH + usize::try_from(head.description_length).unwrap();
        let mut description = Description::decode(&bytes[HEAD_LENGTH..start]).unwrap();
        alter(&mut description);
        let description = description.encode();
        let set = SetId(*blake3::hash(&description).as_bytes());
        let description_length = description.len() as u64;
        let head = Head {
            set,
            description_length,
            ..head
        };
        let head = head.encode();
        let shards = &bytes[start..bytes.len() - start];
        let forged = [&head[..], &description, shards, &description, &head].concat();
        fs::remove_file(&path).unwrap();
        let name = blake3::hash(&forged).to_hex();
        fs::write(path.with_file_name(format!("{name}.parity")), forged).unwrap();
    }
}

#[test]
fn a_forged_set_does_not_make_a_sound_brick_a_damaged_one() {
    let made = made();
    let all = bricks(&made.sandbox.store());
    let forgeries: [fn(&mut Description); 2] = [
        |description| description.shape.members[0].length += 1,
        |description| description.shards[0][0] ^= 1,
    ];
    for (number, forgery) in forgeries.into_iter().enumerate() {
        let name = number.to_string();
        let dir = set_of(&made.sandbox, &name, &[&all[0], &all[1]], "55%");
        forge(&dir, forgery);
        let before = tree(&dir);
        for command in ["check", "repair"] {
            let run = parity(&made.sandbox, [command, &name, "--json"]).exits(3);
            assert!(!run.stderr.contains("changed while"), "{}", run.stderr);
            let found = summary(&run);
            assert_eq!(
                (&found["missing"], &found["damaged"]),
                (&0.into(), &0.into())
            );
            assert_eq!(found["wrong_sets"], 1);
            run.says(&["forged"]);
            assert_eq!(tree(&dir), before);
        }
        // What the forged one says must not keep an honest set from what it can do.
        let honest = format!("honest-{name}");
        let honest = set_of(&made.sandbox, &honest, &[&all[0], &all[1]], "55%");
        copy(&honest.join("parity"), &dir.join("parity"));
        let lost = dir.join(all[1].file_name().unwrap());
        let whole = fs::read(&lost).unwrap();
        fs::remove_file(&lost).unwrap();
        parity(&made.sandbox, ["repair", &name]).exits(3);
        assert_eq!(fs::read(&lost).unwrap(), whole);
    }
    // With another length a brick is in no set.
    let dir = set_of(&made.sandbox, "length", &[&all[0], &all[1]], "55%");
    forge(&dir, forgeries[0]);
    let found = summary(&parity(&made.sandbox, ["add", "length", "--json"]).exits(0));
    assert_eq!(
        (&found["bricks"], &found["covered"]),
        (&1.into(), &1.into())
    );
}

#[test]
fn more_members_may_be_lost_than_files_can_be_open() {
    let made = made();
    let dir = made.sandbox.path().join("dir");
    fs::create_dir(&dir).unwrap();
    for number in 0..300_u32 {
        let bytes = number.to_le_bytes();
        let name = format!("{}.brick", blake3::hash(&bytes).to_hex());
        fs::write(dir.join(name), bytes).unwrap();
    }
    let name = dir.to_str().unwrap();
    parity(
        &made.sandbox,
        ["add", name, "--share", "100%", "--group", "300"],
    )
    .exits(0);
    let before = tree(&dir);
    for path in bricks(&dir) {
        fs::remove_file(path).unwrap();
    }
    let dtar = made.sandbox.command([""]).get_program().to_owned();
    let output = std::process::Command::new("sh")
        .args(["-c", "ulimit -n 200; exec \"$0\" parity repair \"$1\""])
        .arg(dtar)
        .arg(name)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Run::from(output)
        .exits(0)
        .says(&["300 bricks brought back"]);
    assert_eq!(tree(&dir), before);
}
