//! Containers and catalogs that lie, and runs that get in each other's way.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use dtar::archive::Monitor;
use dtar::container::{PackOptions, Packing, pack};
use dtar::store::Store;
use dtar::tape::{Place, Sha256Sum, note_places, stored};

use crate::common::files::contents;
use crate::common::stored::{key, summary};
use crate::scene::{BOUND, Scene, parts, restores};

/// Where the body of the first member begins whose name begins so.
fn body_of(container: &[u8], name: &str) -> usize {
    let headers = (0..container.len()).step_by(512);
    let mut found = headers.filter(|&at| {
        container[at..].starts_with(name.as_bytes()) && &container[at + 257..at + 262] == b"ustar"
    });
    found.next().unwrap() + 512
}

/// Changes lines of the catalog at the end of a container, to others of the same length,
/// and gives it the SHA-256 that it should have.
fn forge_catalog(container: &mut [u8], change: impl FnOnce(&mut String)) {
    let start = body_of(container, "dtar-catalog.txt");
    let end = container.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    let text = std::str::from_utf8(&container[start..end]).unwrap();
    let (lines, last) = text.split_at(text.rfind("\nend ").unwrap() + 1);
    let mut lines = lines.to_owned();
    change(&mut lines);
    let offset = last.split(' ').nth(1).unwrap();
    let sum = Sha256Sum::of(lines.as_bytes());
    writeln!(lines, "end {offset} {sum}").unwrap();
    container[start..end].copy_from_slice(lines.as_bytes());
}

/// What is done to a container.
type Forgery<'a> = Box<dyn Fn(&mut Vec<u8>) + 'a>;

/// A folder with a container that a run had made before it was cut off, and that stands in
/// no catalog: the last one.
fn not_entered(scene: &mut Scene) -> PathBuf {
    scene.packs("cont", &[], "containers");
    let catalogs = contents(&scene.sandbox.store().join("containers"));
    scene.archive();
    assert_eq!(scene.packs("cont", &[], "containers"), 1);
    put_back(scene, &catalogs);
    scene.containers("cont").pop().unwrap()
}

#[test]
fn a_dry_run_ends_where_a_container_was_not_entered() {
    let mut scene = Scene::new(1);
    not_entered(&mut scene);
    let before = contents(&scene.sandbox.store());
    assert_eq!(scene.packs("cont", &["--dry-run"], "containers"), 1);
    assert!(contents(&scene.sandbox.store()) == before);
    assert_eq!(scene.packs("cont", &[], "containers"), 1);
    scene.is_a_store_again("cont");
}

#[test]
fn a_container_that_was_not_entered_is_read_before_it_is_believed() {
    let mut scene = Scene::new(1);
    let path = not_entered(&mut scene);
    let good = fs::read(&path).unwrap();
    let number = path.file_stem().unwrap().to_str().unwrap()[9..].to_owned();
    let in_last = format!("in {}", number.trim_start_matches('0'));
    let forgeries: [(&str, Forgery<'_>); 5] = [
        (
            "a brick that is not there",
            Box::new(|bytes| {
                forge_catalog(bytes, |lines| {
                    let last = lines.find(&in_last).unwrap();
                    let name = last + lines[last..].find("bricks/").unwrap();
                    lines.replace_range(name + 20..name + 24, "0000");
                });
            }),
        ),
        (
            "a root that is not there",
            Box::new(|bytes| {
                forge_catalog(bytes, |lines| {
                    let name = lines.rfind("roots/").unwrap();
                    lines.replace_range(name + 22..name + 26, "0000");
                });
            }),
        ),
        (
            "another offset",
            Box::new(|bytes| {
                forge_catalog(bytes, |lines| {
                    let line = lines.rfind(" roots/").unwrap();
                    let digit = lines[..line].rfind('\n').unwrap() + 1;
                    let other = if lines[digit..].starts_with('1') {
                        "2"
                    } else {
                        "1"
                    };
                    lines.replace_range(digit..=digit, other);
                });
            }),
        ),
        (
            "a byte of a brick",
            Box::new(|bytes| {
                let at = body_of(bytes, "bricks/") + 7000;
                bytes[at] ^= 1;
            }),
        ),
        (
            "cut off",
            Box::new(|bytes| {
                let end = body_of(bytes, "bricks/") + 7000;
                bytes.truncate(end);
            }),
        ),
    ];
    let catalogs = contents(&scene.sandbox.store().join("containers"));
    for (what, forge) in &forgeries {
        let mut bad = good.clone();
        forge(&mut bad);
        fs::write(&path, &bad).unwrap();
        let run = scene.pack("cont", &[]);
        assert_eq!(run.code, Some(3), "{what}: {}", run.stderr);
        let name = path.file_name().unwrap().to_str().unwrap();
        run.says(&[name, "byte", "delete it"]);
        let now = contents(&scene.sandbox.store().join("containers"));
        assert!(now == catalogs, "{what}: it was entered");
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(scene.packs("cont", &[], "containers"), 1);
    scene.is_a_store_again("cont");
    println!("{} forged or damaged containers refused", forgeries.len());
}

/// Packs with the library, and does something after the first container.
fn pack_and_meanwhile(
    scene: &Scene,
    dir: &str,
    meanwhile: impl FnOnce(),
) -> dtar::error::Result<u64> {
    let store = Store::open(&scene.sandbox.store(), &key()).unwrap();
    let keys = store.put_keys(&key()).unwrap();
    let options = PackOptions {
        most: None,
        to: scene.dir(dir),
        bound: BOUND,
        only: None,
        since: None,
        parity: false,
        new_set: false,
        set: None,
        dry_run: false,
    };
    let mut meanwhile = Some(meanwhile);
    let mut told = |step: &Packing<'_>| {
        if let (Packing::Done(_), Some(meanwhile)) = (step, meanwhile.take()) {
            meanwhile();
        }
    };
    pack(&store, &keys, &options, &mut told, &Monitor::default()).map(|done| done.containers)
}

#[test]
fn what_is_put_on_tape_while_a_run_packs_is_not_forgotten() {
    let scene = Scene::new(5);
    let layout = Store::open(&scene.sandbox.store(), &key())
        .unwrap()
        .layout()
        .clone();
    let containers = pack_and_meanwhile(&scene, "cont", || {
        let (_, catalog) = stored(&layout).unwrap().pop().unwrap();
        let place = Place {
            container: 1,
            tape: "0123456789abcdef".parse().unwrap(),
            file: 1,
            name: "A".parse().unwrap(),
        };
        assert_eq!(
            note_places(&layout, catalog.set, &BTreeSet::from([place])).unwrap(),
            1
        );
    })
    .unwrap();
    assert!(containers > 2);
    let (_, catalog) = stored(&layout).unwrap().pop().unwrap();
    assert_eq!(catalog.places.len(), 1);
    scene.is_a_store_again("cont");
}

#[test]
fn no_two_runs_give_the_same_number() {
    let scene = Scene::new(5);
    let error = pack_and_meanwhile(&scene, "first", || {
        scene.packs("second", &[], "containers");
    })
    .unwrap_err()
    .to_string();
    assert!(
        error.contains("meanwhile") && error.contains("first"),
        "{error}"
    );
    // Number 1 is in the first folder, the others are in the second, and nothing is missing.
    let mut all = scene.containers("first");
    assert_eq!(all.len(), 1);
    all.extend(scene.containers("second"));
    fs::create_dir(scene.dir("both")).unwrap();
    for path in &all {
        let to = scene.dir("both").join(path.file_name().unwrap());
        assert!(!to.exists());
        fs::copy(path, to).unwrap();
    }
    scene.is_a_store_again("both");
    assert_eq!(scene.packs("first", &[], "containers"), 0);
}

fn unpack(scene: &Scene, containers: &[&Path]) -> crate::common::sandbox::Run {
    let to = scene.dir("spoiled");
    let _ = fs::remove_dir_all(&to);
    let mut command = scene.sandbox.command(["unpack", "--json", "--to"]);
    command.arg(&to).args(containers);
    command.output().unwrap().into()
}

#[test]
fn a_damaged_header_costs_one_member() {
    let scene = Scene::new(3);
    scene.packs("cont", &["--size", "4M"], "containers");
    let container = scene.containers("cont").remove(0);
    let good = fs::read(&container).unwrap();
    let whole = unpack(&scene, &[&container]).exits(0);
    let whole = summary(&whole)["files"].as_u64().unwrap();
    for name in ["formats/brick.md", "store.toml", "bricks/", "roots/"] {
        let mut bad = good.clone();
        bad[body_of(&good, name) - 512] ^= 1;
        fs::write(&container, &bad).unwrap();
        let run = unpack(&scene, &[&container]).exits(3);
        let run = run.says(&[container.to_str().unwrap(), "byte"]);
        let found = summary(&run)["files"].as_u64().unwrap();
        let lost = u64::from(name != "formats/brick.md");
        assert_eq!(found, whole - lost, "{name}: {}", run.stderr);
    }
    // In place nothing is lost: the catalog says where it is.
    let mut bad = good.clone();
    bad[body_of(&good, "bricks/") - 512] ^= 1;
    fs::write(&container, &bad).unwrap();
    scene.restores_from("cont");
}

#[test]
fn a_damaged_configuration_comes_from_the_next_container() {
    let scene = Scene::new(3);
    scene.packs("cont", &[], "containers");
    let containers = scene.containers("cont");
    let mut bad = fs::read(&containers[0]).unwrap();
    let at = body_of(&bad, "store.toml");
    bad[at] = b'=';
    fs::write(&containers[0], &bad).unwrap();
    let all: Vec<_> = containers.iter().map(PathBuf::as_path).collect();
    let run = unpack(&scene, &all).exits(3);
    let run = run.says(&["store.toml"]);
    let damaged = summary(&run)["damaged"].as_array().unwrap().len();
    assert_eq!(damaged, 1, "{}", run.stderr);
    let store = scene.dir("spoiled");
    assert_eq!(parts(&store), parts(&scene.sandbox.store()));
    let (_, stream) = scene.runs.last().unwrap();
    restores(
        &scene.sandbox,
        store.to_str().unwrap(),
        None,
        Path::new("@1"),
        stream,
    );
}

/// Puts the store's catalogs back to what they were.
fn put_back(scene: &Scene, catalogs: &BTreeMap<PathBuf, Vec<u8>>) {
    let dir = scene.sandbox.store().join("containers");
    fs::remove_dir_all(&dir).unwrap();
    fs::create_dir(&dir).unwrap();
    for (path, bytes) in catalogs {
        fs::write(dir.join(path.file_name().unwrap()), bytes).unwrap();
    }
}

#[test]
fn a_container_in_the_making_that_no_longer_fits_is_cut_shorter() {
    let scene = Scene::new(7);
    let dir = scene.sandbox.store().join("containers");
    let mut catalogs = BTreeMap::new();
    pack_and_meanwhile(&scene, "cont", || catalogs = contents(&dir)).unwrap();
    let mut made = scene.containers("cont").into_iter();
    let (_, second) = (made.next().unwrap(), made.next().unwrap());
    made.for_each(|path| fs::remove_file(path).unwrap());
    let whole = fs::read(&second).unwrap();
    let cut = body_of(&whole, "tocs/");
    let part = second.with_extension("tar.part");
    fs::remove_file(&second).unwrap();
    // Another version of dtar had begun it, whose pages were longer.
    let config = body_of(&whole, "store.toml") - 512;
    let mut header = tar::Header::new_ustar();
    header.set_path("formats/more.md").unwrap();
    header.set_size(200 << 10);
    header.set_cksum();
    let page = [header.as_bytes().as_slice(), &vec![b'x'; 200 << 10]].concat();
    let longer = [&whole[..config], &page, &whole[config..cut]].concat();
    // Or earlier containers were put on many tapes meanwhile.
    let layout = Store::open(&scene.sandbox.store(), &key())
        .unwrap()
        .layout()
        .clone();
    let places = (0..5000).map(|number: u64| Place {
        container: 1,
        tape: dtar::id::TapeId(number.to_be_bytes()),
        file: 1,
        name: "A".parse().unwrap(),
    });
    let places: BTreeSet<_> = places.collect();
    for (bytes, places) in [(&longer[..], &BTreeSet::new()), (&whole[..cut], &places)] {
        put_back(&scene, &catalogs);
        for path in scene.containers("cont").into_iter().skip(1) {
            fs::remove_file(path).unwrap();
        }
        fs::write(&part, bytes).unwrap();
        let (_, catalog) = stored(&layout).unwrap().pop().unwrap();
        note_places(&layout, catalog.set, places).unwrap();
        let run = scene.pack("cont", &[]).exits(0);
        assert!(summary(&run)["resumed"].as_u64().unwrap() > 0);
        assert!(!part.exists());
        for path in scene.containers("cont") {
            assert!(fs::metadata(&path).unwrap().len() <= BOUND);
        }
        scene.is_a_store_again("cont");
    }
}
