//! What each command has to say of each damage: one table, with reasons where it may be
//! silent. Whatever it says, what it lets out is right.

use crate::faults::{Fault, Kind, Way};
use crate::yard::{Archived, By};

/// What is run on the damaged store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// With the key, a put key, or none; on all of the store.
    Verify,
    VerifyWithPutKey,
    VerifyWithoutKey,
    VerifyQuick,
    /// Of the run `b` or `h`.
    VerifyIndex(&'static str),
    Restore(&'static str, By),
    /// Of the run `c`, with `--keep-going`.
    KeepGoing,
    GcDryRun,
    Gc,
    Rebuild,
    /// The stream of `c` and one member more.
    Archive,
    /// The same without a catalog.
    ArchiveAnew,
    ParityCheck,
    ParityRepair,
    Salvage,
}

/// What is asked of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// It finds the damage, and names it.
    Found,
    /// It is not concerned, for this reason, and succeeds.
    Passed(&'static str),
    /// Either, for this reason.
    Either(&'static str),
}

use Expected::{Either, Found, Passed};
use Kind::{
    Brick, Catalog, Config, DeadList, Garbage, Index, Key, Lease, Mark, Metadata, Parity,
    PartlyNeeded, Root, Sidecar, Snapshot,
};

impl Fault {
    /// Whether a restore of this run meets it.
    pub fn hits(&self, run: &Archived, by: By) -> bool {
        let holds = || self.bricks().iter().any(|name| run.bricks.contains(name));
        let of_run = || self.names().contains(&run.name);
        match self.target.kind {
            Config => self.way != Way::Duplicate,
            Key => true,
            Brick | PartlyNeeded | Garbage => holds() && self.harms_frame(0),
            Metadata => by == By::Snapshot && holds() && self.harms_frame(0),
            Index => by == By::Index && run.label == "b",
            Root | Snapshot => by == By::Snapshot && of_run(),
            Sidecar | Catalog | Parity | Lease | DeadList | Mark => false,
        }
    }

    /// What `command` is to say of it. `run` says what is known of a run.
    pub fn expected<'a>(&self, command: Command, run: impl Fn(&str) -> &'a Archived) -> Expected {
        let kind = self.target.kind;
        // Whoever needs the key or the config cannot do without.
        let keyless = matches!(
            command,
            Command::VerifyWithoutKey | Command::ParityCheck | Command::ParityRepair
        );
        if kind == Key {
            return match command {
                _ if keyless => Passed("no key is used"),
                Command::VerifyWithPutKey => Passed("another key is used"),
                _ if self.way == Way::Grow => Either("a zero byte behind the key's line"),
                _ => Found,
            };
        }
        if kind == Config && !keyless && command != Command::Salvage {
            return match self.way {
                Way::Duplicate => Passed("a file of another name is not read"),
                _ => Found,
            };
        }
        match command {
            Command::Verify | Command::VerifyWithPutKey => self.verify(),
            Command::VerifyWithoutKey => self.verify_without_key(),
            Command::VerifyQuick => self.verify_quick(),
            Command::VerifyIndex(label) => self.restore(run(label), By::Index),
            Command::Restore(label, by) => self.restore(run(label), by),
            Command::KeepGoing => match self.restore(run("c"), By::Index) {
                Found => Either("what can be had is had from elsewhere"),
                other => other,
            },
            Command::GcDryRun | Command::Gc => self.gc(command == Command::Gc),
            Command::Rebuild => self.rebuild(),
            Command::Archive | Command::ArchiveAnew => {
                self.archive(command == Command::ArchiveAnew)
            }
            Command::ParityCheck | Command::ParityRepair => self.parity(),
            Command::Salvage => Either("what it writes is checked instead"),
        }
    }

    fn verify(&self) -> Expected {
        match (self.target.kind, self.way) {
            (Parity, _) => Passed("parity is for `parity check`"),
            (Index, _) => Passed("an index is checked if it is named"),
            (Catalog, _) => Passed("the catalog is a cache"),
            (Lease, _) => Passed("a lease is its folder, not what stands in it"),
            (DeadList, _) => Either("a dead list is for those who archive, who refuse it"),
            (Mark, _) => Either("a mark counts whatever is in it"),
            _ => Found,
        }
    }

    fn verify_without_key(&self) -> Expected {
        match self.target.kind {
            Sidecar if self.structure == "seal of the name" && self.way != Way::Truncate => {
                Passed("only a put key checks the seal")
            }
            Sidecar | Root | Snapshot | Config => {
                Either("without a key what stands in the clear is checked")
            }
            _ => match self.verify() {
                Found => Found,
                other => other,
            },
        }
    }

    fn verify_quick(&self) -> Expected {
        match (self.target.kind, self.way) {
            (
                Brick | PartlyNeeded | Garbage | Metadata,
                Way::Delete | Way::Truncate | Way::Empty,
            ) => Found,
            (Brick | PartlyNeeded | Garbage | Metadata, _) => {
                Either("lengths and presence alone are looked at")
            }
            _ => self.verify(),
        }
    }

    fn restore(&self, run: &Archived, by: By) -> Expected {
        if self.hits(run, by) {
            return Found;
        }
        Passed(match self.target.kind {
            Brick | PartlyNeeded | Garbage | Metadata => "no frame of it that is needed is harmed",
            Sidecar => "the index says where frames lie, and so does the brick",
            Root | Snapshot | Index => "it is that of another run",
            Config | Key | Catalog | Parity | Lease | DeadList | Mark => "it is not used",
        })
    }

    fn gc(&self, does_it: bool) -> Expected {
        match (self.target.kind, self.way) {
            (PartlyNeeded, Way::Duplicate) => Passed("a brick that nobody needs is deleted"),
            (PartlyNeeded, Way::Delete) => Passed("a brick may be away"),
            (PartlyNeeded, _) | (DeadList, Way::Folder) if does_it => Found,
            (Brick | Garbage | Metadata | PartlyNeeded, _) => {
                Either("bricks are read only to be rewritten")
            }
            (Sidecar | Root | Config | Key, _) | (Snapshot, Way::Duplicate) => Found,
            (Snapshot, _) => Passed("the root says what is needed"),
            (DeadList, _) => Passed("a new list takes the place of old ones"),
            (Lease, _) => Either("a dead run is ended whatever its lease says"),
            (Mark, _) => Either("a mark counts whatever is in it"),
            (Index | Catalog | Parity, _) => Passed("it is not used"),
        }
    }

    fn rebuild(&self) -> Expected {
        match self.target.kind {
            DeadList if self.way == Way::Delete => {
                Passed("without the list nobody knows what was on it")
            }
            Sidecar | DeadList => Found,
            Brick | PartlyNeeded | Garbage | Metadata => {
                if self.way == Way::Duplicate {
                    Found
                } else {
                    Passed("bricks with a sound sidecar are not read")
                }
            }
            Catalog => Either("the catalog is made anew"),
            Lease => Either("a dead run is ended whatever its lease says"),
            Mark => Either("a mark counts whatever is in it"),
            Root | Snapshot | Index | Parity | Config | Key => Passed("it is not used"),
        }
    }

    fn archive(&self, anew: bool) -> Expected {
        match (self.target.kind, self.way) {
            (Sidecar, Way::Delete) => Either("its chunks are stored again"),
            (Sidecar, _) if !anew => Either("what it says is in the catalog"),
            (DeadList, Way::Delete) => Passed("without the list nobody knows what was on it"),
            (Sidecar | DeadList | Config | Key, _) => Found,
            (Catalog, _) => Either("the catalog is a cache"),
            (Lease, _) => Either("a dead run is ended whatever its lease says"),
            (Mark, _) => Either("a mark counts whatever is in it"),
            _ => Passed("deduplication rests on sidecars alone"),
        }
    }

    fn parity(&self) -> Expected {
        match (self.target.kind, self.way) {
            (Brick | PartlyNeeded | Garbage | Metadata, Way::Duplicate) => {
                Passed("a brick of another name is in no set")
            }
            (Parity, Way::Duplicate) => Either("it is of the same set"),
            (Brick | PartlyNeeded | Garbage | Metadata | Parity, _) => Found,
            _ => Passed("parity is for bricks"),
        }
    }
}
