//! Containers that lie in a folder as `SSSSSSSS-NNNNNN.tar`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{Containers, Next, Planned, Sink};
use crate::error::Exit;
use crate::format::container::CATALOG;
use crate::format::tape::{ContainerName, SetPrefix};
use crate::id::{ContainerSetId, StoreId, TapeId};
use crate::store::atomic;
use crate::store::layout::Layout;
use crate::tape::catalog::{Catalog, Member, Place, Sha256Sum, Whole};
use crate::tape::digest::Digester;
use crate::tape::lock::lock;
use crate::tape::stored::{note_places, stored_set};
use crate::tape::{members, ustar};
use crate::{Error, Result};

/// The longest catalog that is read.
const MAX_CATALOG: u64 = 1 << 30;
/// The most that one container can add to a catalog besides its members: the lines
/// `container`, `tape` and `in`.
const LINES_OF_CONTAINER: u64 = 256;
const BUFFER: usize = 1 << 20;

/// A folder of containers of one set. What is on which tape is remembered in it, in the
/// file `SSSSSSSS-catalog.txt`.
#[derive(Debug)]
pub struct Folder {
    dir: PathBuf,
    catalog: Catalog,
    /// What is remembered: the catalog with what has been read back from tapes.
    confirmed: BTreeSet<Place>,
    /// Locked as long as this lives: two runs must not put the same container on tapes.
    _lock: Option<File>,
    /// The store that is told, too.
    store: Option<Layout>,
    files: BTreeMap<u32, u64>,
    /// Whether containers are deleted once they have been read back from a tape.
    deletes: bool,
    /// Those that this run has put on tapes.
    new: BTreeSet<u32>,
}

impl Folder {
    /// The folder `dir`; of the set `only`, if there are several in it.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is no set in it, or several; those of reading.
    pub fn open(dir: &Path, only: Option<SetPrefix>) -> Result<Self> {
        let busy = "another run is putting these containers on tapes; wait until it has ended";
        let lock = lock(dir, busy)?;
        let mut sets = BTreeMap::<_, BTreeMap<u32, u64>>::new();
        let fault = || Error::io("list", dir);
        for entry in fs::read_dir(dir).map_err(fault())? {
            let entry = entry.map_err(fault())?;
            let name = entry.file_name();
            let Some(name) = name
                .to_str()
                .and_then(|name| name.parse::<ContainerName>().ok())
            else {
                continue;
            };
            let length = entry.metadata().map_err(fault())?.len();
            sets.entry(name.set)
                .or_default()
                .insert(name.number, length);
        }
        sets.retain(|set, _| only.is_none_or(|only| only == *set));
        let refuse = |message: &str| Error::Refused {
            path: dir.to_owned(),
            message: message.into(),
            exit: Exit::Failed,
        };
        let mut sets = sets.into_iter();
        let Some((set, files)) = sets.next() else {
            return Err(refuse(
                "no containers here: files such as 5f3e9a02-000001.tar; make some with `dtar pack`",
            ));
        };
        if sets.next().is_some() {
            return Err(refuse(
                "containers of several sets are here; name the one to write with --set, by the \
                 8 digits with which the names of its files begin",
            ));
        }
        let mut catalog = read_newest(dir, set, &files)?;
        let remembered = dir.join(state_name(set));
        match fs::read(&remembered) {
            Ok(text) => {
                let (own, _) = Catalog::parse(&text, &remembered)?;
                if own.set == catalog.set {
                    catalog.absorb(&own);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("read", remembered)(error)),
        }
        for number in files.keys() {
            catalog.containers.entry(*number).or_default();
        }
        Ok(Self {
            dir: dir.to_owned(),
            confirmed: catalog.places.clone(),
            _lock: lock,
            store: None,
            catalog,
            files,
            deletes: false,
            new: BTreeSet::new(),
        })
    }

    /// Learns from the store's catalog of the set, if there is one, what is on tapes, and
    /// what the containers must be: of the last one nothing else knows it. Enters there what
    /// is put on tapes.
    ///
    /// # Errors
    /// Those of reading it.
    pub fn with_store(mut self, layout: Layout) -> Result<Self> {
        if let Some((_, known)) = stored_set(&layout, self.catalog.set)? {
            for (number, own) in &mut self.catalog.containers {
                if let Some(known) = known.containers.get(number) {
                    own.whole = known.whole.or(own.whole);
                }
            }
            let places = known.places.into_iter().filter(|place| {
                // What this folder does not know cannot be on its tapes.
                self.catalog.containers.contains_key(&place.container)
            });
            let places: Vec<_> = places.collect();
            self.confirmed.extend(places.iter().cloned());
            self.catalog.places.extend(places);
        }
        self.store = Some(layout);
        Ok(self)
    }

    /// Deletes containers from the folder once this run has read them back from a tape.
    #[must_use]
    pub const fn deleting(mut self) -> Self {
        self.deletes = true;
        self
    }

    /// Deletes the containers that this run has put on this tape, as is written down.
    /// Others may be there unread.
    fn delete(&self, tape: TapeId) -> Result<()> {
        let set = self.prefix();
        let places = self.confirmed.iter();
        let numbers = places.filter(|place| place.tape == tape);
        for number in numbers.map(|place| place.container) {
            if !self.new.contains(&number) {
                continue;
            }
            let path = self.dir.join(ContainerName { set, number }.to_string());
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io("delete", path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn prefix(&self) -> SetPrefix {
        self.catalog.set.into()
    }

    fn in_folder(&self, number: u32, length: u64) -> InFolder {
        let container = self.catalog.containers.get(&number);
        let set = self.prefix();
        let members = container.and_then(|container| container.members.clone());
        InFolder {
            path: self.dir.join(ContainerName { set, number }.to_string()),
            number,
            length,
            whole: container.and_then(|container| container.whole),
            members: members.unwrap_or_default(),
        }
    }
}

fn state_name(set: SetPrefix) -> String {
    format!("{set}-catalog.txt")
}

/// The catalog in the container of the greatest number whose catalog can be read.
fn read_newest(dir: &Path, set: SetPrefix, files: &BTreeMap<u32, u64>) -> Result<Catalog> {
    let mut first_error = None;
    for (number, length) in files.iter().rev() {
        let number = *number;
        let path = dir.join(ContainerName { set, number }.to_string());
        match read_catalog(&path, *length) {
            Ok(catalog) => return Ok(catalog),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error.unwrap_or_else(|| Error::Internal("no container to look into".into())))
}

/// The catalog at the end of a container.
fn read_catalog(path: &Path, length: u64) -> Result<Catalog> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let read = |offset: u64, length: u64| {
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut bytes, offset)
            .map_err(Error::io("read", path))
            .map(|()| bytes)
    };
    let damaged = |message: &str| Error::Refused {
        path: path.to_owned(),
        message: format!("{message}: it is cut off or damaged; make it again with `dtar pack`"),
        exit: Exit::Damaged,
    };
    let tail = length.min(2 * ustar::RECORD as u64);
    let mut digester = Digester::default();
    digester.update(&read(length - tail, tail)?);
    let end = digester
        .end()
        .filter(|end| end.saturating_add(ustar::BLOCK as u64) < length)
        .ok_or_else(|| damaged("has no catalog at its end"))?;
    let header = read(end, ustar::BLOCK as u64)?;
    let start = end + ustar::BLOCK as u64;
    let size = ustar::parse(&header)
        .filter(|(name, size)| {
            name == CATALOG && *size <= MAX_CATALOG && *size <= length.saturating_sub(start)
        })
        .map(|(_, size)| size)
        .ok_or_else(|| damaged("has no catalog where its end says"))?;
    let (catalog, _) = Catalog::parse(&read(start, size)?, path)?;
    Ok(catalog)
}

impl Containers for Folder {
    fn set(&self) -> ContainerSetId {
        self.catalog.set
    }

    fn store(&self) -> StoreId {
        self.catalog.store
    }

    fn next(&mut self, room: u64) -> Result<Next> {
        let taped = |number: u32| self.catalog.places_of(number).next().is_some();
        let Some((number, length)) = self.files.iter().find(|(number, _)| !taped(**number)) else {
            return Ok(Next::Nothing);
        };
        let (number, length) = (*number, *length);
        if length > room {
            return Ok(Next::NoRoom { number, length });
        }
        Ok(Next::Container(Box::new(self.in_folder(number, length))))
    }

    fn adopt(
        &mut self,
        number: u32,
        find: &mut dyn FnMut() -> Result<Option<Whole>>,
    ) -> Result<Option<Whole>> {
        let is_taped = self.catalog.places_of(number).next().is_some();
        let Some(length) = self.files.get(&number).filter(|_| !is_taped) else {
            return Ok(None);
        };
        let length = *length;
        let Some(found) = find()?.filter(|found| found.length == length) else {
            return Ok(None);
        };
        let known = self.catalog.containers.get(&number);
        let expected = if let Some(whole) = known.and_then(|container| container.whole) {
            whole.sha256
        } else {
            let mut hash = HashWriter(Sha256::new());
            self.in_folder(number, length).write(&mut hash)?;
            hash.sha256()
        };
        Ok((found.sha256 == expected).then_some(found))
    }

    fn written(&mut self, whole: Whole, place: Place) -> Result<()> {
        let container = self.catalog.containers.entry(place.container).or_default();
        container.whole = Some(whole);
        self.new.insert(place.container);
        self.catalog.places.insert(place);
        Ok(())
    }

    fn void(&mut self, number: u32, tape: TapeId) {
        let stays = |place: &Place| (place.container, place.tape) != (number, tape);
        self.catalog.places.retain(stays);
        self.confirmed.retain(stays);
    }

    fn confirm(&mut self, tape: TapeId) -> Result<()> {
        let places = self.catalog.places.iter();
        let new = places.filter(|place| place.tape == tape).cloned();
        self.confirmed.extend(new);
        let remembered = Catalog {
            places: self.confirmed.clone(),
            ..self.catalog.clone()
        };
        let mut text = Vec::new();
        remembered.encode(0, &mut text);
        let path = self.dir.join(state_name(self.prefix()));
        atomic::write(&self.dir, &path, &text)?;
        if let Some(layout) = &self.store {
            note_places(layout, self.catalog.set, &self.confirmed)?;
        }
        if self.deletes {
            self.delete(tape)?;
        }
        Ok(())
    }

    fn catalog(&self, out: &mut Vec<u8>) -> Result<()> {
        self.catalog.encode(0, out);
        Ok(())
    }

    fn catalog_bound(&self) -> u64 {
        let mut text = Vec::new();
        self.catalog.encode(0, &mut text);
        text.len() as u64 + self.files.len() as u64 * LINES_OF_CONTAINER
    }
}

/// A hash as something to write to.
struct HashWriter(Sha256);

impl Sink for HashWriter {
    fn sha256(&self) -> Sha256Sum {
        Sha256Sum(self.0.clone().finalize().into())
    }
}

impl Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A container in the folder.
struct InFolder {
    path: PathBuf,
    number: u32,
    length: u64,
    whole: Option<Whole>,
    members: Vec<Member>,
}

impl InFolder {
    fn damaged(&self, what: &str) -> Error {
        Error::Refused {
            path: self.path.clone(),
            message: format!(
                "{what}; it is not put on tape. Make this container again with `dtar pack`, or \
                 take another copy of it"
            ),
            exit: Exit::Damaged,
        }
    }
}

impl Planned for InFolder {
    fn number(&self) -> u32 {
        self.number
    }

    fn length(&self) -> u64 {
        self.length
    }

    fn write(&mut self, out: &mut dyn Sink) -> Result<()> {
        let mut file = File::open(&self.path).map_err(Error::io("open", &self.path))?;
        let mut buffer = vec![0; BUFFER];
        let mut checker = members::Checker::new(&self.members);
        let mut length = 0;
        loop {
            let count = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::io("read", &self.path)(error)),
            };
            let bytes = buffer.get(..count).unwrap_or_default();
            length += count as u64;
            if length > self.length {
                return Err(self.damaged("has grown while it was written"));
            }
            checker.update(bytes);
            if !checker.damaged().is_empty() {
                break;
            }
            out.write_all(bytes)
                .map_err(Error::io("write to", "the tape"))?;
        }
        let damaged = checker.finish();
        if let Some(name) = damaged.first().filter(|_| !damaged.is_empty()) {
            return Err(self.damaged(&format!("{name} in it is damaged or cut off")));
        }
        let is_other = |whole: Whole| whole.sha256 != out.sha256();
        if length != self.length || self.whole.is_some_and(is_other) {
            return Err(self.damaged("is not what the catalog of its set says: it has changed"));
        }
        Ok(())
    }
}
