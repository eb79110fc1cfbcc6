//! Which tapes to load, each once, and what to read of each, forward.

use std::collections::{BTreeMap, BTreeSet};

use super::places::{Plan, Planned};
use crate::id::{BrickName, ContainerSetId, TapeId};
use crate::tape::fewest;

/// A tape to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// The tape.
    pub tape: TapeId,
    /// What its sticker says.
    pub name: String,
    /// What to read, in the order in which it stands on the tape.
    pub files: Vec<TapeFile>,
    /// Bytes of the bricks.
    pub bytes: u64,
}

/// What to read of a tape file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapeFile {
    /// Its number on the tape.
    pub file: u32,
    /// The set of the container in it.
    pub set: ContainerSetId,
    /// The number of the container.
    pub container: u32,
    /// Bricks, and where they begin in the container, ascending.
    pub bricks: Vec<(u64, BrickName)>,
}

/// A brick on a tape: tape file, set, container, offset in it, name and length.
type OnIt = (u32, ContainerSetId, u32, u64, (BrickName, u64));

/// The tapes to load for what is neither here nor, unless `with_pushed`, in an object
/// store: few of them ([`fewest`]), in the order of their names. Returns them, and the
/// bricks that are on none.
#[must_use]
pub fn loads(plan: &Plan, with_pushed: bool) -> (Vec<Load>, Vec<BrickName>) {
    let is_wanted = |planned: &&Planned| {
        let place = &planned.place;
        place.here.is_none() && (with_pushed || place.buckets.is_empty())
    };
    let wanted: Vec<&Planned> = plan.bricks.iter().filter(is_wanted).collect();
    // By tape: the bricks, and where they are on it.
    let mut tapes: BTreeMap<(&str, TapeId), Vec<OnIt>> = BTreeMap::new();
    for planned in &wanted {
        for at in &planned.place.containers {
            for on in plan.tapes.get(&at.set).into_iter().flatten() {
                if on.container == at.container {
                    let brick = (planned.need.brick, planned.need.length);
                    let file = (on.file, at.set, at.container, at.offset, brick);
                    tapes.entry((&on.name, on.tape)).or_default().push(file);
                }
            }
        }
    }
    let mut holders: BTreeMap<BrickName, (Vec<usize>, u64)> = BTreeMap::new();
    for (number, on_it) in tapes.values().enumerate() {
        for (.., (brick, length)) in on_it {
            let (tapes, _) = holders.entry(*brick).or_insert((Vec::new(), *length));
            tapes.push(number);
        }
    }
    let chosen = fewest(holders.into_values());
    let mut left: BTreeSet<_> = wanted.iter().map(|planned| planned.need.brick).collect();
    let mut loads = Vec::new();
    for (number, ((name, tape), on_it)) in tapes.into_iter().enumerate() {
        if chosen.contains(&number) {
            loads.push(load(name, tape, on_it, &mut left));
        }
    }
    loads.retain(|load| !load.files.is_empty());
    (loads, left.into_iter().collect())
}

/// What to read of a tape, of what is left.
fn load(name: &str, tape: TapeId, mut on_it: Vec<OnIt>, left: &mut BTreeSet<BrickName>) -> Load {
    on_it.sort_unstable();
    let mut files: Vec<TapeFile> = Vec::new();
    let mut bytes = 0;
    for (file, set, container, offset, (brick, length)) in on_it {
        if !left.remove(&brick) {
            continue;
        }
        bytes += length;
        match files.last_mut() {
            Some(last) if last.file == file => last.bricks.push((offset, brick)),
            _ => files.push(TapeFile {
                file,
                set,
                container,
                bricks: vec![(offset, brick)],
            }),
        }
    }
    Load {
        tape,
        name: name.to_owned(),
        files,
        bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::super::places::{InContainer, Place};
    use super::*;
    use crate::format::container::OnTape;
    use crate::restore::Need;
    use std::collections::HashMap;

    const SET: ContainerSetId = ContainerSetId([1; 16]);

    fn planned(name: u8, containers: &[(u32, u64)]) -> Planned {
        let need = Need {
            length: 100,
            ..Need::of(BrickName([name; 32]))
        };
        let containers = containers.iter().map(|&(container, offset)| InContainer {
            set: SET,
            container,
            offset,
        });
        let place = Place {
            containers: containers.collect(),
            ..Place::default()
        };
        Planned { need, place }
    }

    fn on(tape: u8, file: u32, container: u32) -> OnTape {
        OnTape {
            tape: TapeId([tape; 8]),
            file,
            container,
            name: format!("T{tape}"),
        }
    }

    fn plan(bricks: Vec<Planned>, tapes: Vec<OnTape>) -> Plan {
        Plan {
            bricks,
            tapes: HashMap::from([(SET, tapes)]),
            ..Plan::default()
        }
    }

    #[test]
    fn each_tape_is_loaded_once_and_read_forward() {
        let bricks = vec![
            planned(1, &[(2, 900)]),
            planned(2, &[(1, 500)]),
            planned(3, &[(2, 100)]),
            planned(4, &[]),
        ];
        let plan = plan(bricks, vec![on(7, 1, 1), on(7, 2, 2), on(8, 1, 3)]);
        let (loads, nowhere) = loads(&plan, true);
        assert_eq!(nowhere, [BrickName([4; 32])]);
        assert_eq!(loads.len(), 1);
        let file = |file: u32, bricks: &[(u64, u8)]| {
            let bricks = bricks.iter();
            TapeFile {
                file,
                set: SET,
                container: file,
                bricks: bricks
                    .map(|&(at, name)| (at, BrickName([name; 32])))
                    .collect(),
            }
        };
        let files = [file(1, &[(500, 2)]), file(2, &[(100, 3), (900, 1)])];
        assert_eq!(loads[0].files, files);
        assert_eq!(loads[0].bytes, 300);
    }

    #[test]
    fn few_tapes_are_loaded() {
        // The last one has everything that the two before have together.
        let bricks = vec![
            planned(1, &[(1, 1), (3, 1)]),
            planned(2, &[(2, 1), (3, 2)]),
            planned(3, &[(2, 2), (3, 3)]),
        ];
        let plan = plan(bricks, vec![on(1, 1, 1), on(2, 1, 2), on(3, 1, 3)]);
        let (loads, nowhere) = loads(&plan, true);
        assert!(nowhere.is_empty());
        let names: Vec<_> = loads.iter().map(|load| &*load.name).collect();
        assert_eq!(names, ["T3"]);
    }

    #[test]
    fn what_is_here_or_was_pushed_needs_no_tape() {
        let mut here = planned(1, &[(1, 1)]);
        here.place.here = Some("x".into());
        let mut pushed = planned(2, &[(1, 2)]);
        pushed.place.buckets.push(0);
        let plan = plan(vec![here, pushed], vec![on(1, 1, 1)]);
        assert!(loads(&plan, false).0.is_empty());
        assert_eq!(loads(&plan, true).0[0].bytes, 100);
    }
}
