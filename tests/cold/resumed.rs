//! `dtar pack` cut off at any moment goes on where it stopped.

use std::collections::BTreeSet;

use crate::common::kill::{End, Moment, killed, measured};
use crate::common::log::{setting, tell};
use crate::common::source::Random;
use crate::common::stored::{events, summary};
use crate::scene::{Scene, listed};

/// Larger than what is buffered.
const SIZE: [&str; 2] = ["--size", "3M"];

/// `DTAR_PACK_KILLS` (60): how many; `DTAR_SEED` (1).
#[test]
fn what_is_cut_off_goes_on_where_it_stopped() {
    let (kills, seed) = (setting("DTAR_PACK_KILLS", 60), setting("DTAR_SEED", 1));
    let mut random = Random(seed);
    let scene = Scene::new(14);
    let (run, measure) = measured(
        &mut scene.pack_command("measured", &SIZE),
        &scene.dir("calls"),
    );
    run.exits(0);
    let (mut done, mut resumed, mut found) = (0, 0, 0);
    for number in 0..kills {
        let dir = format!("cont-{number}");
        // Each of the calls that make, sync and rename, and some of the writes.
        let moment = match number % 3 {
            0 => measure.draw_call(&mut random),
            _ => Moment::Name(number - number / 3),
        };
        let mut arguments = SIZE.to_vec();
        arguments.push("--new-set");
        let first = killed(&mut scene.pack_command(&dir, &arguments), moment);
        if let End::Done(run) = first {
            run.exits(0);
            continue;
        }
        done += 1;
        // The set of the run that was cut off, if it came to one.
        let catalogs = crate::common::files::files(&scene.sandbox.store().join("containers"));
        let names = catalogs
            .keys()
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
        let names: BTreeSet<String> = names.collect();
        let made = scene.containers(&dir);
        let id = made
            .first()
            .map(|path| path.file_name().unwrap().to_str().unwrap()[..8].to_owned());
        let id = id.filter(|id| names.iter().any(|name| name.starts_with(id.as_str())));
        if let Some(id) = &id {
            arguments.pop();
            arguments.extend(["--set", id]);
        }
        let run = scene.pack(&dir, &arguments).exits(0);
        resumed += summary(&run)["resumed"].as_u64().unwrap();
        let whole = events(&run, "container").into_iter();
        found += whole.filter(|event| event["found"] == true).count();
        if id.is_none() {
            continue;
        }
        let members: Vec<_> = scene
            .containers(&dir)
            .iter()
            .flat_map(|path| listed(path))
            .collect();
        let bricks: Vec<_> = members
            .iter()
            .filter(|name| name.starts_with("bricks/") || name.starts_with("meta/"))
            .collect();
        assert_eq!(
            bricks.iter().collect::<BTreeSet<_>>().len(),
            bricks.len(),
            "a brick twice"
        );
        scene.is_a_store_again(&dir);
        let left = crate::common::files::files(&scene.dir(&dir)).into_keys();
        let left: Vec<_> = left
            .filter(|path| path.extension().unwrap() != "tar")
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
    tell(&format!(
        "pack: seed {seed}, kills {done}, bricks taken over {resumed}, containers found whole {found}"
    ));
    assert!(done > 0 && resumed > 0 && found > 0);
}
