//! Makes the vectors.

use super::field::Field;
use super::harness::Made;
use super::vector::{Vector, hex};
use super::write::{Set, head};

pub fn all() -> Vec<(String, Vector)> {
    [codes(), heads(), descriptions(), sets()].concat()
}

fn random(name: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new()
        .update(name.as_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

fn codes() -> Vec<(String, Vector)> {
    let mut made = Made::new("parity-code");
    let field = Field::new();
    for (name, comment, originals, recovery) in [
        ("one", "one recovery shard is the sum of all", 3, 1),
        ("alone", "of a single original", 1, 4),
        ("two", "a whole run of originals", 2, 2),
        (
            "runs",
            "several runs of originals, the last not full",
            11,
            3,
        ),
        ("more", "more recovery shards than originals", 2, 5),
        ("many", "points beyond 256", 300, 2),
    ] {
        let shards: Vec<Vec<u8>> = (0..originals)
            .map(|number| {
                random(
                    &format!("{name} {number}"),
                    if originals > 99 { 64 } else { 128 },
                )
            })
            .collect();
        let mut vector = Vector::new(comment, "ok");
        for shard in &shards {
            vector = vector.with_hex("original", shard);
        }
        for shard in field.recovery(&shards, recovery) {
            vector = vector.with_hex("recovery", shard);
        }
        made.add(name, vector);
    }
    made.vectors
}

fn heads() -> Vec<(String, Vector)> {
    let mut made = Made::new("parity-head");
    let mut add = |name: &str, comment: &str, expect: &str, bytes: Vec<u8>| {
        made.add(name, Vector::new(comment, expect).with_hex("head", bytes));
    };
    let set = random("set", 32).try_into().unwrap();
    let good = head(set, 1000, [4096, 3, 2, 5]);
    add(
        "good",
        "the recovery shards 2 to 6 of three stripes",
        "ok",
        good.clone(),
    );
    let mut bytes = good.clone();
    bytes[20] ^= 1;
    add("check", "a flipped bit", "check: check", bytes);
    add(
        "cut",
        "a byte too few",
        "truncated: check",
        good[..95].to_vec(),
    );
    for (name, comment, field, numbers) in [
        (
            "shard-length",
            "no multiple of 64",
            "shard length",
            [4000, 3, 2, 5],
        ),
        (
            "shard-long",
            "longer than 1 MiB",
            "shard length",
            [(1 << 20) + 64, 3, 2, 5],
        ),
        (
            "stripes",
            "no stripes",
            "number of stripes",
            [4096, 0, 2, 5],
        ),
        (
            "stripes-many",
            "more than 65,536 stripes",
            "number of stripes",
            [4096, 65_537, 2, 5],
        ),
        (
            "count",
            "no shards",
            "number of recovery shards",
            [4096, 3, 2, 0],
        ),
        (
            "beyond",
            "more recovery shards than the field has elements",
            "number of recovery shards",
            [4096, 3, 65_535, 2],
        ),
    ] {
        add(
            name,
            comment,
            &format!("value: {field}"),
            head(set, 1000, numbers),
        );
    }
    let long = head(set, (128 << 20) + 1, [4096, 3, 2, 5]);
    add(
        "description-long",
        "a description of more than 128 MiB",
        "value: description length",
        long,
    );
    made.vectors
}

/// Bricks in the order of their names.
fn bricks(lengths: &[usize]) -> Vec<Vec<u8>> {
    let mut bricks: Vec<Vec<u8>> = lengths
        .iter()
        .map(|length| random(&format!("brick {length}"), *length))
        .collect();
    bricks.sort_by_key(|brick| *blake3::hash(brick).as_bytes());
    bricks
}

fn small() -> Set {
    Set {
        shard_length: 64,
        stripes: 2,
        recovery: 3,
        per_file: 2,
        share: 0,
        bricks: bricks(&[80, 300, 64]),
    }
}

fn descriptions() -> Vec<(String, Vector)> {
    let mut made = Made::new("parity-description");
    let mut add = |name: &str, comment: &str, expect: &str, bytes: Vec<u8>| {
        let vector = Vector::new(comment, expect).with_hex("description", bytes);
        made.add(name, vector);
    };
    let good = small().description();
    add("good", "three bricks in two stripes", "ok", good.clone());
    let field = [&good[..], &[5, 2, 1, 2]].concat();
    add("field", "with a field that may be skipped", "ok", field);
    let field = [&good[..], &[200, 0]].concat();
    add(
        "critical",
        "with a critical field",
        "critical field: field tag",
        field,
    );
    add(
        "cut",
        "a byte too few",
        "truncated: checks of recovery shards",
        good[..good.len() - 1].to_vec(),
    );
    let mut set = small();
    set.bricks.swap(0, 1);
    add(
        "order",
        "names out of order",
        "value: member",
        set.description(),
    );
    set = small();
    let first = set.bricks[0].clone();
    set.bricks[1] = first;
    add("twice", "a name twice", "value: member", set.description());
    let change = |at: usize, value: u32| {
        let mut bytes = good.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    for (name, comment, field, at, value) in [
        ("shard-length", "no multiple of 64", "shard length", 16, 100),
        ("stripes-none", "no stripes", "number of stripes", 20, 0),
        (
            "stripes-many",
            "more than 65,536 stripes",
            "number of stripes",
            20,
            65_537,
        ),
        (
            "stripes",
            "more stripes than the longest brick has shards",
            "number of stripes",
            20,
            6,
        ),
        (
            "recovery-none",
            "no recovery shards",
            "recovery shards of a stripe",
            24,
            0,
        ),
        (
            "recovery",
            "more than 32,768",
            "recovery shards of a stripe",
            24,
            32_769,
        ),
        (
            "per-file",
            "more than there are",
            "recovery shards of a file",
            28,
            4,
        ),
        ("members", "no members", "number of members", 32, 0),
    ] {
        add(name, comment, &format!("value: {field}"), change(at, value));
    }
    let mut bytes = good.clone();
    bytes[40] = 2;
    add("class", "a class that is none", "value: class", bytes);
    made.vectors
}

fn sets() -> Vec<(String, Vector)> {
    let mut made = Made::new("parity-set");
    let lengths = [[100, 5000, 80, 1].as_slice(), &[200]];
    for (name, comment, lengths, share, recovery) in [
        (
            "bricks",
            "four bricks, of which one has two shards",
            lengths[0],
            "40%",
            2,
        ),
        ("alone", "a single brick", lengths[1], "5%", 1),
    ] {
        let set = Set {
            shard_length: 4096,
            stripes: 1,
            recovery,
            per_file: 1,
            share: if share == "5%" { 50_000 } else { 400_000 },
            bricks: bricks(lengths),
        };
        let mut vector = Vector::new(comment, "ok").with("share", share);
        for brick in &set.bricks {
            vector = vector.with_hex("brick", brick);
        }
        for file in set.files() {
            vector = vector.with("file", hex(&file));
        }
        // As many bricks of one shard as there are recovery shards.
        let short = (0..set.bricks.len()).filter(|number| set.bricks[*number].len() <= 4096);
        let lost: Vec<String> = short
            .take(recovery)
            .map(|number| number.to_string())
            .collect();
        made.add(name, vector.with("lost", lost.join(" ")));
    }
    made.vectors
}
