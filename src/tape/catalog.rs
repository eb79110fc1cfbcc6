//! The catalog of a set: which containers there are, on which tapes, and what is in them
//! (`formats/container.md#catalog`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::container::Head;
use crate::container::catalog::scan;
use crate::format::container::{Line, MemberName, OnTape, Sum, put_line};
use crate::format::tape::TapeName;
use crate::format::wire::{DecodeError, DecodeResult};
use crate::id::{BrickName, ContainerSetId, StoreId, TapeId};
use crate::{Error, Result};

const CATALOG: &str = "container catalog";

/// The SHA-256 of something.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Sum(pub [u8; 32]);

impl Sha256Sum {
    /// That of bytes in memory.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Sha256Sum {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        BrickName(self.0).fmt(out)
    }
}

impl fmt::Debug for Sha256Sum {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Sha256Sum({self})")
    }
}

/// What is known of a whole container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole {
    /// Its length in bytes.
    pub length: u64,
    /// Its SHA-256.
    pub sha256: Sha256Sum,
}

/// Where a copy of a container is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The container.
    pub container: u32,
    /// The tape.
    pub tape: TapeId,
    /// The number of the tape file.
    pub file: u32,
    /// What the tape is called.
    pub name: TapeName,
}

/// A member of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where its body begins in the container, in bytes.
    pub offset: u64,
    /// How long that is, in bytes.
    pub length: u64,
    /// What it is.
    pub name: MemberName,
}

/// What is known of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Container {
    /// Length and SHA-256; not known of the one in which the catalog stands.
    pub whole: Option<Whole>,
    /// What is in it, in order; `None` if no catalog has said it.
    pub members: Option<Vec<Member>>,
}

/// The catalog of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    /// The set.
    pub set: ContainerSetId,
    /// The store.
    pub store: StoreId,
    /// The containers, by number.
    pub containers: BTreeMap<u32, Container>,
    /// Where copies of them are.
    pub places: BTreeSet<Place>,
}

impl Catalog {
    /// That of a set without containers.
    #[must_use]
    pub const fn new(set: ContainerSetId, store: StoreId) -> Self {
        Self {
            set,
            store,
            containers: BTreeMap::new(),
            places: BTreeSet::new(),
        }
    }

    /// Appends the text; `end` is where its header stands in the container.
    pub fn encode(&self, end: u64, out: &mut Vec<u8>) {
        let mut text = self.head().lines();
        for (number, container) in &self.containers {
            let Some(members) = &container.members else {
                continue;
            };
            put_line(&mut text, &Line::In(*number));
            for Member {
                offset,
                length,
                name,
            } in members
            {
                put_line(&mut text, &Line::Member(*offset, *length, name.clone()));
            }
        }
        let sum = Sha256Sum::of(text.as_bytes());
        put_line(&mut text, &Line::End(end, sum.0));
        out.extend_from_slice(text.as_bytes());
    }

    fn head(&self) -> Head {
        let last = self
            .containers
            .last_key_value()
            .map_or(0, |(last, _)| *last);
        let sum = |number| {
            let whole = self.containers.get(&number)?.whole?;
            Some(Sum {
                length: whole.length,
                sha256: whole.sha256.0,
            })
        };
        Head {
            containers: (1..=last).map(sum).collect(),
            tapes: self.places.iter().map(on_tape).collect(),
            ..Head::new(self.set, self.store)
        }
    }

    /// Reads a catalog, which `path` is called in errors; returns where it says that its
    /// header stands.
    ///
    /// # Errors
    /// [`Error::Decode`] if it is none, is damaged, or was written by a newer dtar.
    pub fn parse(mut text: &[u8], path: &Path) -> Result<(Self, u64)> {
        let mut members = BTreeMap::<u32, Vec<Member>>::new();
        let scanned = scan(
            &mut text,
            path,
            0,
            &mut |container, offset, length, name| {
                members.entry(container).or_default().push(Member {
                    offset,
                    length,
                    name,
                });
                Ok(())
            },
        )?;
        let Head {
            set,
            store,
            containers,
            tapes,
        } = scanned.head;
        let mut catalog = Self::new(set, store);
        for (number, sum) in (1..).zip(containers) {
            let whole = sum.map(|sum| Whole {
                length: sum.length,
                sha256: Sha256Sum(sum.sha256),
            });
            let members = members.remove(&number);
            check_members(whole, members.as_deref().unwrap_or_default())
                .map_err(Error::decode(path, 0))?;
            catalog
                .containers
                .insert(number, Container { whole, members });
        }
        catalog.places = tapes.iter().filter_map(place).collect();
        Ok((catalog, scanned.header))
    }

    /// Takes in what another catalog of the same set knows besides. What this one knows
    /// stays.
    pub fn absorb(&mut self, other: &Self) {
        for (number, container) in &other.containers {
            let own = self.containers.entry(*number).or_default();
            own.whole = own.whole.or(container.whole);
            if own.members.is_none() {
                own.members.clone_from(&container.members);
            }
        }
        self.places.extend(other.places.iter().cloned());
    }

    /// The copies of a container.
    pub fn places_of(&self, container: u32) -> impl Iterator<Item = &Place> {
        self.places
            .iter()
            .filter(move |place| place.container == container)
    }

    /// How many containers there are whose length and SHA-256 are known.
    #[must_use]
    pub fn known(&self) -> usize {
        let containers = self.containers.values();
        containers
            .filter(|container| container.whole.is_some())
            .count()
    }
}

fn on_tape(place: &Place) -> OnTape {
    OnTape {
        tape: place.tape,
        file: place.file,
        container: place.container,
        name: place.name.to_string(),
    }
}

/// None for a name that no tape may have; such a line is not read at all.
fn place(on: &OnTape) -> Option<Place> {
    Some(Place {
        container: on.container,
        tape: on.tape,
        file: on.file,
        name: on.name.parse().ok()?,
    })
}

/// Members must stand behind each other, and in the container.
fn check_members(whole: Option<Whole>, members: &[Member]) -> DecodeResult<()> {
    let bound = whole.map_or(u64::MAX, |whole| whole.length);
    let mut after = 0;
    for member in members {
        let end = member.offset.checked_add(member.length);
        let Some(end) = end.filter(|end| *end <= bound && member.offset >= after) else {
            let expected = "bodies in the container, in ascending order";
            let found = format!("{} at {}", member.name, member.offset);
            return Err(DecodeError::value(CATALOG, "member", 0, expected, found));
        };
        after = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        let mut catalog = Catalog::new(ContainerSetId([1; 16]), StoreId([2; 16]));
        let member = |offset, name: u8| Member {
            offset,
            length: 700,
            name: MemberName::Brick(BrickName([name; 32])),
        };
        let first = Container {
            whole: Some(Whole {
                length: 20_480,
                sha256: Sha256Sum([3; 32]),
            }),
            members: Some(vec![member(1536, 5), member(4096, 6)]),
        };
        let last = Container {
            whole: None,
            members: Some(vec![member(1536, 7)]),
        };
        catalog.containers.extend([(1, first), (2, last)]);
        catalog.places.insert(Place {
            container: 1,
            tape: TapeId([4; 8]),
            file: 1,
            name: "ARCHIVE-A".parse().unwrap(),
        });
        catalog
    }

    fn text(catalog: &Catalog) -> Vec<u8> {
        let mut text = Vec::new();
        catalog.encode(77, &mut text);
        text
    }

    #[test]
    fn catalogs_go_both_ways() {
        let (found, end) = Catalog::parse(&text(&catalog()), Path::new("x")).unwrap();
        assert_eq!((found, end), (catalog(), 77));
    }

    #[test]
    fn members_that_cannot_be_there_are_refused() {
        let forged = |change: fn(&mut Member)| {
            let mut catalog = catalog();
            let first = catalog.containers.get_mut(&1).unwrap();
            change(&mut first.members.as_mut().unwrap()[1]);
            Catalog::parse(&text(&catalog), Path::new("x"))
        };
        assert!(forged(|_| {}).is_ok());
        for change in [
            (|member| member.offset = 2000) as fn(&mut Member),
            |member| member.length = 20_000,
            |member| member.offset = u64::MAX - 800,
        ] {
            let error = forged(change).unwrap_err().to_string();
            assert!(error.contains("ascending order"), "{error}");
        }
    }

    #[test]
    fn what_is_known_is_not_forgotten() {
        let mut known = catalog();
        let mut other = catalog();
        other.containers.get_mut(&2).unwrap().whole = Some(Whole {
            length: 10_240,
            sha256: Sha256Sum([9; 32]),
        });
        other.containers.get_mut(&1).unwrap().whole = None;
        other.places.clear();
        known.absorb(&other);
        assert_eq!(known.known(), 2);
        assert_eq!(known.places_of(1).count(), 1);
    }
}
