use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::error::Exit;
use crate::format::parity::{Description, HEAD_LENGTH, Head, Member, Shape};
use crate::id::{Class, SetId};
use crate::store::testing::noise;

#[path = "../../tests/common/files.rs"]
mod files;
use files::contents as tree;

fn memory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    };
    tempfile::tempdir_in(parent).unwrap()
}

/// Bricks of these lengths in a store's folders; returns their paths.
fn store(dir: &Path, lengths: &[usize]) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for (seed, &length) in (0..).zip(lengths) {
        let bytes = noise(seed, length);
        let name = blake3::hash(&bytes).to_hex();
        let folder = dir.join("bricks").join(&name[..2]);
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{name}.brick"));
        fs::write(&path, bytes).unwrap();
        paths.push(path);
    }
    paths
}

fn protect(dir: &Path, share: &str, group: usize) -> AddSummary {
    let options = AddOptions {
        share: share.parse().unwrap(),
        group,
        merge: false,
    };
    add(&places(dir), &options, &Monitor::default(), &mut || {}).unwrap()
}

fn places(dir: &Path) -> Places {
    Places::new(dir, &[]).unwrap()
}

fn checked(dir: &Path) -> CheckSummary {
    check(&places(dir), &Monitor::default(), &mut |_| {}).unwrap()
}

fn repaired(dir: &Path) -> CheckSummary {
    let options = RepairOptions::default();
    repair(
        &places(dir),
        &options,
        &Monitor::default(),
        &mut || {},
        &mut |_| {},
    )
    .unwrap()
}

fn parity_files(dir: &Path) -> Vec<PathBuf> {
    let all = tree(dir).into_keys();
    let is_parity = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "parity");
    all.filter(is_parity).collect()
}

/// One thing that happens to a file.
#[derive(Debug, Clone)]
enum Harm {
    Lost,
    Flipped(prop::sample::Index),
    Cut(prop::sample::Index),
    Zeroed(prop::sample::Index, usize),
    Longer,
    Swapped(prop::sample::Index),
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        Just(Harm::Lost),
        any::<prop::sample::Index>().prop_map(Harm::Flipped),
        any::<prop::sample::Index>().prop_map(Harm::Cut),
        (any::<prop::sample::Index>(), 1_usize..30_000)
            .prop_map(|(at, length)| Harm::Zeroed(at, length)),
        Just(Harm::Longer),
        any::<prop::sample::Index>().prop_map(Harm::Swapped),
    ]
}

impl Harm {
    fn happen(&self, path: &Path, others: &[PathBuf]) {
        let Ok(mut bytes) = fs::read(path) else {
            return;
        };
        match self {
            Self::Lost => {
                fs::remove_file(path).unwrap();
                return;
            }
            Self::Flipped(_) | Self::Cut(_) | Self::Zeroed(..) if bytes.is_empty() => return,
            Self::Flipped(at) => *at.get_mut(&mut bytes) ^= 0x10,
            Self::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Self::Zeroed(at, length) => {
                let start = at.index(bytes.len());
                let end = bytes.len().min(start + length);
                bytes[start..end].fill(0);
            }
            Self::Longer => bytes.extend_from_slice(b"more"),
            Self::Swapped(other) => {
                let other = &others[other.index(others.len())];
                let Ok(theirs) = fs::read(other) else {
                    return;
                };
                fs::write(other, &bytes).unwrap();
                bytes = theirs;
            }
        }
        fs::write(path, bytes).unwrap();
    }
}

/// How many shards of 4 KiB of a file are not what they were.
fn lost_shards(path: &Path, whole: &[u8]) -> u64 {
    let found = fs::read(path).unwrap_or_default();
    let shards = whole.chunks(4096).enumerate();
    shards
        .filter(|(number, shard)| {
            found.get(number * 4096..number * 4096 + shard.len()) != Some(shard)
        })
        .count() as u64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn damage_up_to_the_share_is_repaired_and_beyond_it_nothing_is_altered(
        lengths in prop::collection::vec(1_usize..120_000, 1..9),
        percent in 1_u32..=100,
        harms in prop::collection::vec((any::<prop::sample::Index>(), harm()), 0..5),
    ) {
        let dir = memory();
        let bricks = store(dir.path(), &lengths);
        let added = protect(dir.path(), &format!("{percent}%"), 100);
        prop_assert_eq!(added.bricks, lengths.len() as u64);
        let before = tree(dir.path());
        prop_assert_eq!(checked(dir.path()).exit(), Exit::Done);
        for (which, harm) in &harms {
            harm.happen(&bricks[which.index(bricks.len())], &bricks);
        }
        let damaged = tree(dir.path());
        let lost: u64 = bricks.iter().map(|path| lost_shards(path, &before[path])).sum();
        let enough = lost <= added.parity_bytes / 4096;
        let summary = checked(dir.path());
        prop_assert_eq!(summary.missing + summary.damaged == summary.repairable, enough);
        prop_assert_eq!(summary.exit() == Exit::Done, damaged == before);
        prop_assert_eq!(&tree(dir.path()), &damaged, "a check alters nothing");

        let summary = repaired(dir.path());
        let after = tree(dir.path());
        if enough {
            prop_assert_eq!(summary.exit_after_repair(), Exit::Done, "{:?}", summary.failed);
            prop_assert_eq!(&after, &before);
        } else {
            prop_assert_eq!(summary.exit_after_repair(), Exit::Damaged);
            for path in &bricks {
                let (was, now) = (damaged.get(path), after.get(path));
                prop_assert!(now == was || now == before.get(path));
                // With one stripe, what lost a shard cannot come back.
                if lost_shards(path, &before[path]) > 0 {
                    prop_assert_eq!(now, was);
                }
            }
            prop_assert_eq!(after.keys().collect::<Vec<_>>(), damaged.keys().collect::<Vec<_>>());
        }
    }

    #[test]
    fn parity_files_lost_or_damaged_are_made_again_as_they_were(
        lengths in prop::collection::vec(1_usize..60_000, 1..5),
        harms in prop::collection::vec((any::<prop::sample::Index>(), harm()), 1..3),
    ) {
        let dir = memory();
        store(dir.path(), &lengths);
        protect(dir.path(), "40%", 3);
        let before = tree(dir.path());
        let files = parity_files(dir.path());
        // One file of each set at least stays as it is; without any there is no set.
        for (which, harm) in &harms {
            let file = &files[which.index(files.len())];
            if before.len() - lengths.len() > 1 && !matches!(harm, Harm::Swapped(_)) && file != &files[0] {
                harm.happen(file, &files);
            }
        }
        let some_left = |set: SetId| {
            parity_files(dir.path()).iter().any(|path| {
                let bytes = fs::read(path).unwrap();
                Head::decode(&bytes).is_ok_and(|head| head.set == set)
            })
        };
        let sets: Vec<SetId> = files.iter().map(|path| Head::decode(&before[path]).unwrap().set).collect();
        prop_assume!(sets.into_iter().all(some_left));
        repaired(dir.path());
        prop_assert_eq!(&tree(dir.path()), &before);
        prop_assert_eq!(checked(dir.path()).exit(), Exit::Done);
    }

    #[test]
    fn a_forged_description_is_no_reason_to_panic_or_to_alter_anything(
        at in any::<prop::sample::Index>(),
        byte: u8,
        lose: bool,
    ) {
        let dir = memory();
        let bricks = store(dir.path(), &[20_000, 5_000, 1]);
        protect(dir.path(), "60%", 100);
        for path in parity_files(dir.path()) {
            let bytes = fs::read(&path).unwrap();
            let head = Head::decode(&bytes).unwrap();
            let length = usize::try_from(head.description_length).unwrap();
            let mut description = bytes[HEAD_LENGTH..HEAD_LENGTH + length].to_vec();
            *at.get_mut(&mut description) = byte;
            let shards = &bytes[HEAD_LENGTH + length..bytes.len() - HEAD_LENGTH - length];
            let head = Head { set: SetId(*blake3::hash(&description).as_bytes()), ..head }.encode();
            let forged = [&head[..], &description, shards, &description, &head].concat();
            let name = blake3::hash(&forged).to_hex();
            fs::remove_file(&path).unwrap();
            fs::write(path.with_file_name(format!("{name}.parity")), forged).unwrap();
        }
        if lose {
            fs::remove_file(&bricks[0]).unwrap();
        }
        let before = tree(dir.path());
        checked(dir.path());
        repaired(dir.path());
        for (path, bytes) in tree(dir.path()) {
            if let Some(known) = before.get(&path) {
                prop_assert_eq!(known, &bytes);
            } else if path.extension().is_some_and(|ending| ending == "brick") {
                let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
                prop_assert_eq!(name, blake3::hash(&bytes).to_hex().to_string());
            }
        }
    }
}

/// A set in stripes, which `add` makes only where there are gigabytes.
fn protect_in_stripes(dir: &Path, bricks: &[PathBuf], stripes: u32, recovery: u32) {
    let mut named: Vec<(BrickName, PathBuf)> = Vec::new();
    for path in bricks {
        let name = path.file_stem().unwrap().to_str().unwrap();
        named.push((name.parse().unwrap(), path.clone()));
    }
    named.sort();
    let member = |(name, path): &(BrickName, PathBuf)| Member {
        class: Class::Data,
        name: *name,
        length: fs::metadata(path).unwrap().len(),
    };
    let shape = Shape {
        shard_length: 64,
        stripes,
        recovery,
        per_file: recovery.div_ceil(2),
        share: 0,
        members: named.iter().map(member).collect(),
    };
    assert!(shape.keeps_limits());
    let paths: Vec<PathBuf> = named.into_iter().map(|(_, path)| path).collect();
    let pool = threads::pool(2).unwrap();
    let (places, monitor) = (places(dir), Monitor::default());
    let encode::Outcome::Done(made) =
        encode::encode(&shape, &paths, &places, &pool, &monitor).unwrap()
    else {
        panic!("the bricks are whole");
    };
    for (name, file) in made.files {
        file.publish(&places.home_of_parity(&name)).unwrap();
    }
}

#[test]
fn stripes_share_the_loss_of_a_brick() {
    let dir = memory();
    let bricks = store(dir.path(), &[6400, 3000, 6400, 1, 640, 5000]);
    // Six stripes: of the longest brick 17 shards at most are in one.
    protect_in_stripes(dir.path(), &bricks, 6, 17);
    let before = tree(dir.path());
    for lost in &bricks {
        fs::remove_file(lost).unwrap();
        let summary = repaired(dir.path());
        assert_eq!(
            summary.exit_after_repair(),
            Exit::Done,
            "{:?}",
            summary.failed
        );
        assert_eq!(tree(dir.path()), before);
    }
    fs::remove_file(&parity_files(dir.path())[0]).unwrap();
    assert_eq!(repaired(dir.path()).exit_after_repair(), Exit::Done);
    assert_eq!(tree(dir.path()), before);
}

#[test]
fn a_stripe_beyond_repair_costs_only_the_bricks_that_lost_shards_in_it() {
    let dir = memory();
    let bricks = store(dir.path(), &[6400, 6400, 6400]);
    protect_in_stripes(dir.path(), &bricks, 10, 2);
    let before = tree(dir.path());
    // Of the hundred shards of a brick the first ten are in the first stripe.
    let zero = |brick: usize, shards: std::ops::Range<usize>| {
        let mut bytes = before[&bricks[brick]].clone();
        bytes[shards.start * 64..shards.end * 64].fill(0);
        fs::write(&bricks[brick], bytes).unwrap();
    };
    zero(0, 0..3);
    zero(1, 10..12);
    zero(2, 20..21);
    let damaged = tree(dir.path());
    let summary = checked(dir.path());
    assert_eq!((summary.damaged, summary.repairable), (3, 2));
    assert_eq!(repaired(dir.path()).exit_after_repair(), Exit::Damaged);
    let after = tree(dir.path());
    assert_eq!(after[&bricks[0]], damaged[&bricks[0]]);
    assert_eq!(after[&bricks[1]], before[&bricks[1]]);
    assert_eq!(after[&bricks[2]], before[&bricks[2]]);
}

#[test]
fn bricks_are_added_once_and_damaged_ones_are_left_out() {
    let dir = memory();
    let bricks = store(dir.path(), &[10_000, 20_000, 30_000]);
    fs::write(&bricks[1], b"something else").unwrap();
    let summary = protect(dir.path(), "5%", 100);
    assert_eq!(summary.damaged.len(), 1);
    assert_eq!(summary.damaged[0].0, bricks[1]);
    assert_eq!((summary.bricks, summary.sets), (2, 1));
    let before = tree(dir.path());
    let summary = protect(dir.path(), "5%", 100);
    assert_eq!((summary.bricks, summary.covered), (0, 2));
    assert_eq!(tree(dir.path()), before);
}

#[test]
fn what_a_crash_left_is_removed_and_a_half_published_set_is_completed() {
    let dir = memory();
    store(dir.path(), &[100_000, 50_000]);
    protect(dir.path(), "20%", 100);
    let before = tree(dir.path());
    let files = parity_files(dir.path());
    assert_eq!(files.len(), 2);
    fs::remove_file(&files[1]).unwrap();
    fs::create_dir(dir.path().join(".dtar-tmp")).unwrap();
    fs::write(dir.path().join(".dtar-tmp/0123456789abcdef"), b"half").unwrap();
    let summary = checked(dir.path());
    assert_eq!((summary.damaged_files, summary.exit()), (1, Exit::Damaged));
    assert_eq!(repaired(dir.path()).exit_after_repair(), Exit::Done);
    assert_eq!(tree(dir.path()), before);
}

#[test]
fn an_empty_folder_has_nothing_to_protect() {
    let dir = memory();
    assert_eq!(protect(dir.path(), "5%", 100).sets, 0);
    assert_eq!(checked(dir.path()).exit(), Exit::Done);
    assert_eq!(repaired(dir.path()).exit_after_repair(), Exit::Done);
    assert!(tree(dir.path()).is_empty());
}

#[test]
fn huge_counts_take_no_memory() {
    let dir = memory();
    let head = |description_length, stripes, count| Head {
        set: SetId([1; 32]),
        description_length,
        shard_length: 1 << 20,
        stripes,
        first: 0,
        count,
    };
    for (number, head) in [
        head(128 << 20, 1, 1),
        head(0, 1 << 21, 65_536),
        head(100, 1 << 21, 1),
    ]
    .iter()
    .enumerate()
    {
        let path = dir
            .path()
            .join(format!("{}.parity", format!("{number:02x}").repeat(32)));
        fs::write(path, head.encode()).unwrap();
    }
    let summary = checked(dir.path());
    assert_eq!((summary.sets, summary.damaged_files), (0, 3));
    assert_eq!(summary.exit(), Exit::Damaged);
}

#[test]
fn forged_recovery_shards_bring_back_nothing() {
    let dir = memory();
    let bricks = store(dir.path(), &[9_000, 9_000]);
    protect(dir.path(), "100%", 100);
    for path in parity_files(dir.path()) {
        let bytes = fs::read(&path).unwrap();
        let head = Head::decode(&bytes).unwrap();
        let length = usize::try_from(head.description_length).unwrap();
        let start = HEAD_LENGTH + length;
        let mut description = Description::decode(&bytes[HEAD_LENGTH..start]).unwrap();
        let mut shards = bytes[start..bytes.len() - start].to_vec();
        // The first recovery shard is another, in the description of both files alike.
        let mut forged = vec![7; 4096];
        description.recovery[0] = crate::format::parity::shard_check(&forged);
        if head.first == 0 {
            forged.extend_from_slice(&shards[4096..]);
            shards = forged;
        }
        let description = description.encode();
        let set = SetId(*blake3::hash(&description).as_bytes());
        let head = Head { set, ..head }.encode();
        let forged = [&head[..], &description, &shards, &description, &head].concat();
        fs::remove_file(&path).unwrap();
        let name = blake3::hash(&forged).to_hex();
        fs::write(path.with_file_name(format!("{name}.parity")), forged).unwrap();
    }
    fs::remove_file(&bricks[0]).unwrap();
    fs::remove_file(&bricks[1]).unwrap();
    let summary = repaired(dir.path());
    assert_eq!(summary.exit_after_repair(), Exit::Damaged);
    assert!(summary.restored.is_empty());
    assert!(bricks.iter().all(|path| !path.exists()));
    assert!(!summary.failed.is_empty());
}
