//! A set of containers in a folder, a library of simulated tapes, and who changes them.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::archive::Monitor;
use crate::container::PAGES;
use crate::format::container::{CATALOG, LABEL, MemberName};
use crate::format::tape::{ContainerName, TapeName};
use crate::id::{BrickName, ContainerSetId, StoreId};
use crate::store::layout::RunName;
use crate::tape::plan::Room;
use crate::tape::raw::RawDrive;
use crate::tape::sim::SimDevice;
use crate::tape::{
    Catalog, Changer, Container, Event, Folder, LabelOptions, Member, Request, Sha256Sum, Whole,
    WriteOptions, WriteSummary, ustar, write,
};
use crate::{Error, Result};

pub const SET: ContainerSetId = ContainerSetId([0x5f; 16]);
pub const STORE: StoreId = StoreId([0xa5; 16]);
pub const BLOCK: u32 = 4096;

/// What there is of the store's configuration.
pub fn config() -> String {
    format!("format = 1\nfeatures = []\nstore-id = \"{STORE}\"\n")
}

/// A folder with everything in it.
pub struct Scene {
    pub dir: TempDir,
}

impl Scene {
    /// Containers of so many bricks of 10,000 bytes each.
    pub fn new(bricks: &[usize]) -> Self {
        let scene = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(scene.containers()).unwrap();
        fs::create_dir(scene.library()).unwrap();
        let mut catalog = Catalog::new(SET, STORE);
        for (at, count) in bricks.iter().enumerate() {
            scene.pack(&mut catalog, u32::try_from(at).unwrap() + 1, *count);
        }
        scene
    }

    pub fn containers(&self) -> PathBuf {
        self.dir.path().join("containers")
    }

    pub fn library(&self) -> PathBuf {
        self.dir.path().join("library")
    }

    pub fn container(&self, number: u32) -> PathBuf {
        let set = SET.into();
        self.containers()
            .join(ContainerName { set, number }.to_string())
    }

    /// The content of a brick: other bytes for each container and place.
    pub fn brick(container: u32, place: usize) -> Vec<u8> {
        let seed = u64::from(container) * 1000 + place as u64 + 1;
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let next = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        };
        (0..10_000).map(next).collect()
    }

    pub fn brick_name(container: u32, place: usize) -> MemberName {
        let hash = blake3::hash(&Self::brick(container, place));
        MemberName::Brick(BrickName(*hash.as_bytes()))
    }

    fn pack(&self, catalog: &mut Catalog, number: u32, bricks: usize) {
        let label = format!(
            "dtar container 1\nset {SET}\nnumber {number}\nstore {STORE}\nbound 1000000\ntime 7\n\n"
        );
        let mut tar = Vec::new();
        ustar::put_member(&mut tar, LABEL, label.as_bytes(), 7).unwrap();
        ustar::put_member(&mut tar, "formats/tape.md", b"a page", 7).unwrap();
        ustar::put_member(&mut tar, "store.toml", config().as_bytes(), 7).unwrap();
        let run: RunName = format!("{number:020}-0000000000000000").parse().unwrap();
        let mut members = Vec::new();
        let mut put = |tar: &mut Vec<u8>, name: MemberName, body: &[u8]| {
            members.push(Member {
                offset: tar.len() as u64 + 512,
                length: body.len() as u64,
                name: name.clone(),
            });
            ustar::put_member(tar, &name.to_string(), body, 7).unwrap();
        };
        for place in 0..bricks {
            put(
                &mut tar,
                Self::brick_name(number, place),
                &Self::brick(number, place),
            );
        }
        put(&mut tar, MemberName::Root(run), b"root");
        let container = Container {
            whole: None,
            members: Some(members),
        };
        catalog.containers.insert(number, container);
        let end = tar.len() as u64;
        let mut text = Vec::new();
        catalog.encode(end, &mut text);
        ustar::put_member(&mut tar, CATALOG, &text, 7).unwrap();
        ustar::put_end(&mut tar);
        fs::write(self.container(number), &tar).unwrap();
        let whole = Whole {
            length: tar.len() as u64,
            sha256: Sha256Sum::of(&tar),
        };
        catalog.containers.get_mut(&number).unwrap().whole = Some(whole);
    }

    /// The capacity of a tape that takes so many containers of 10 bricks, besides label,
    /// catalog and reserve, and half a one more.
    pub fn capacity(&self, containers: u64) -> u64 {
        let room = Room {
            block: BLOCK,
            reserve: options().reserve,
        };
        let pages = PAGES
            .iter()
            .map(|(_, body)| 512 + body.len().next_multiple_of(512));
        let label = room.taken(ustar::whole(1024 + pages.sum::<usize>() as u64));
        let bound = crate::tape::Containers::catalog_bound(&self.folder());
        let rest = u64::MAX / 2 - room.for_container(u64::MAX / 2, bound);
        label + rest + containers * 122_880 + 61_440
    }

    /// Puts blank tapes on the shelf that take two containers of 10 bricks.
    pub fn tapes(&self, names: &[&str]) {
        for name in names {
            self.tape_for_two(name, "");
        }
    }

    pub fn tape_for_two(&self, name: &str, fault: &str) {
        self.tape(name, &format!("capacity = {}\n{fault}", self.capacity(2)));
    }

    /// Puts a blank tape on the shelf.
    pub fn tape(&self, name: &str, settings: &str) {
        let dir = self.library().join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("tape.toml"), settings).unwrap();
    }

    /// Puts a tape into the drive.
    pub fn load(&self, name: &str) {
        fs::write(self.library().join("loaded"), name).unwrap();
    }

    pub fn drive(&self) -> RawDrive<SimDevice> {
        RawDrive::new(SimDevice::new(&self.library()))
    }

    pub fn folder(&self) -> Folder {
        Folder::open(&self.containers(), None).unwrap()
    }

    /// Someone who puts in these tapes, one after the other.
    pub fn hand<'a>(&'a self, tapes: &'a [&'a str]) -> Hand<'a> {
        Hand {
            scene: self,
            tapes: tapes.iter(),
            asked: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Writes what is left to write, on these tapes.
    pub fn write(&self, tapes: &[&str]) -> Outcome {
        self.write_with(tapes, &options())
    }

    pub fn write_with(&self, tapes: &[&str], options: &WriteOptions) -> Outcome {
        let mut hand = self.hand(tapes);
        let mut log = Vec::new();
        let result = write(
            &mut self.folder(),
            &mut self.drive(),
            &mut hand,
            options,
            &Monitor::default(),
            &mut |event| log.push(text(&event)),
        );
        Outcome {
            result,
            log,
            refused: hand.refused,
        }
    }

    /// The containers that are remembered as being on tapes, and the names of those.
    pub fn places(&self) -> Vec<(u32, String)> {
        let folder = self.folder();
        let mut text = Vec::new();
        crate::tape::Containers::catalog(&folder, &mut text).unwrap();
        let (catalog, _) = Catalog::parse(&text, std::path::Path::new("x")).unwrap();
        let places = catalog.places.iter();
        places
            .map(|place| (place.container, place.name.to_string()))
            .collect()
    }

    /// What stands on a tape: lengths of runs of blocks, in blocks, one for each tape file.
    pub fn layout(&self, tape: &str) -> Vec<usize> {
        let text = fs::read_to_string(self.library().join(tape).join("layout")).unwrap();
        let mut files = vec![0];
        for line in text.lines() {
            if line == "mark" {
                files.push(0);
            } else {
                *files.last_mut().unwrap() += 1;
            }
        }
        files
    }
}

/// What came of a run.
pub struct Outcome {
    pub result: Result<WriteSummary>,
    pub log: Vec<String>,
    pub refused: Vec<String>,
}

impl Outcome {
    #[track_caller]
    pub fn done(self) -> WriteSummary {
        let summary = self
            .result
            .unwrap_or_else(|error| panic!("{error}; {:?}", self.log));
        assert!(summary.source_error.is_none(), "{:?}", summary.source_error);
        summary
    }
}

fn text(event: &Event<'_>) -> String {
    match event {
        Event::Tape { label, new, .. } => {
            format!("tape {}{}", label.name, if *new { " new" } else { "" })
        }
        Event::Container { number, file, .. } => format!("container {number} at {file}"),
        Event::Written(number, _) => format!("written {number}"),
        Event::Void(number, why) => format!("void {number}: {why}"),
        Event::NoCatalog(why) => format!("no catalog: {why}"),
        Event::Adopted(number) => format!("adopted {number}"),
        Event::ReadingBack => "reading back".into(),
        Event::Done(tape) => format!("done {}: {:?}", tape.name, tape.containers),
    }
}

pub fn options() -> WriteOptions {
    WriteOptions {
        capacity: None,
        reserve: 2 * u64::from(BLOCK),
        memory: 64 << 10,
        verify: true,
        label: LabelOptions {
            names: names(&["A", "B", "C", "D", "E", "F", "G"]),
            block: BLOCK,
            overwrite: false,
            time: 1_795_282_800,
        },
        keep_loaded: false,
    }
}

pub fn names(names: &[&str]) -> Vec<TapeName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

pub struct Hand<'a> {
    scene: &'a Scene,
    tapes: std::slice::Iter<'a, &'a str>,
    pub asked: Vec<String>,
    pub refused: Vec<String>,
}

impl Changer for Hand<'_> {
    fn change(&mut self, request: &Request<'_>) -> Result<bool> {
        self.asked
            .push(format!("{} ({})", request.wanted, request.attempt));
        let Some(tape) = self.tapes.next() else {
            return Ok(false);
        };
        self.scene.load(tape);
        Ok(true)
    }

    fn refuse(&mut self, why: &Error) {
        self.refused.push(why.to_string());
    }
}
