//! Bricks in containers, found by name and read in place.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::header::{BLOCK, BLOCK_SIZE, parse};
use super::read::{Container, is_container};
use crate::error::{Error, Result};
use crate::format::container::MemberName;
use crate::id::{BrickName, Class};
use crate::store::BrickFile;
use crate::store::guard;

/// The containers in some folders, and where bricks lie in them: 32 bytes a brick.
#[derive(Debug, Default)]
pub struct Shelf {
    containers: Vec<PathBuf>,
    /// Ascending.
    places: Vec<Place>,
    /// Containers that cannot be read, and why.
    unreadable: Vec<Error>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// The first bytes of the brick's name.
    name: u64,
    container: u32,
    offset: u64,
    length: u64,
}

fn prefix(name: &BrickName) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&name.as_bytes()[..8]);
    u64::from_be_bytes(first)
}

impl Shelf {
    /// Looks for containers: files in the folders `paths` whose names end with `.tar`, and
    /// those of `paths` that are files.
    ///
    /// # Errors
    /// [`Error::Io`] if a folder cannot be listed; a file among `paths` that is no container.
    /// A container in a folder that cannot be read is left out.
    pub fn open(paths: &[PathBuf]) -> Result<Self> {
        let mut shelf = Self::default();
        for path in paths {
            if path.is_file() {
                shelf.add(Container::open(path)?)?;
                continue;
            }
            for file in tars_in(path)? {
                let added = Container::open(&file).and_then(|container| shelf.add(container));
                shelf.unreadable.extend(added.err());
            }
        }
        shelf.places.sort_unstable();
        shelf.places.dedup();
        Ok(shelf)
    }

    fn add(&mut self, container: Container) -> Result<()> {
        let number = u32::try_from(self.containers.len())
            .map_err(|_| Error::Internal("too many containers".into()))?;
        let places = &mut self.places;
        container.each_member(&mut |offset, length, name| {
            places.extend(name.as_brick().map(|name| Place {
                name: prefix(name),
                container: number,
                offset,
                length,
            }));
            Ok(())
        })?;
        self.containers.push(container.path);
        Ok(())
    }

    /// Why containers were left out, each reason once.
    #[must_use]
    pub fn unreadable(&self) -> &[Error] {
        &self.unreadable
    }

    /// How many containers there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.containers.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.containers.is_empty()
    }

    /// The copies of a brick, with the paths by which errors call them: that of the
    /// container, then that of the member.
    pub fn copies<'a>(
        &'a self,
        name: &'a BrickName,
    ) -> impl Iterator<Item = Result<(PathBuf, BrickFile)>> + 'a {
        let wanted = prefix(name);
        let start = self.places.partition_point(|place| place.name < wanted);
        self.places[start..]
            .iter()
            .take_while(move |place| place.name == wanted)
            .filter_map(move |place| self.read(place, name).transpose())
    }

    /// Calls `each` with the names of all bricks.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn each_brick(&self, each: &mut dyn FnMut(BrickName)) -> Result<()> {
        for place in &self.places {
            let (_, file) = self.file(place)?;
            if let Header::Brick(name, _) = header(&file, place) {
                each(name);
            }
        }
        Ok(())
    }

    fn file(&self, place: &Place) -> Result<(&Path, File)> {
        let path = self.containers.get(place.container as usize);
        let path = path.ok_or_else(|| Error::Internal("no such container".into()))?;
        let file = guard::open_file(path).map_err(Error::io("open", path))?;
        Ok((path, file))
    }

    fn read(&self, place: &Place, name: &BrickName) -> Result<Option<(PathBuf, BrickFile)>> {
        let (path, file) = self.file(place)?;
        let class = match header(&file, place) {
            Header::Brick(found, class) if found == *name => class,
            // The catalog names it here, as far as its name is kept; what the bytes are is
            // found out by whoever opens them.
            Header::Damaged => Class::Data,
            _ => return Ok(None),
        };
        let path = path.join(MemberName::brick(class, *name).to_string());
        let part = BrickFile::part(file, place.offset, place.length);
        Ok(Some((path, part)))
    }
}

/// What the header before a place says.
enum Header {
    /// That a brick of the length is there that the catalog says.
    Brick(BrickName, Class),
    /// Something else.
    Other,
    /// It cannot be read.
    Damaged,
}

fn header(file: &File, place: &Place) -> Header {
    let mut block = [0; BLOCK_SIZE];
    let Some(start) = place.offset.checked_sub(BLOCK) else {
        return Header::Other;
    };
    let read = file.read_exact_at(&mut block, start).ok();
    let Some((name, length)) = read.and_then(|()| parse(&block)) else {
        return Header::Damaged;
    };
    match name.parse() {
        Ok(MemberName::Brick(name)) if length == place.length => Header::Brick(name, Class::Data),
        Ok(MemberName::Meta(name)) if length == place.length => {
            Header::Brick(name, Class::Metadata)
        }
        _ => Header::Other,
    }
}

/// The containers in a folder, by name.
fn tars_in(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if crate::store::is_missing(&error) => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("list", dir)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::io("list", dir))?.path();
        if path.extension().is_some_and(|ending| ending == "tar") && is_container(&path) {
            found.push(path);
        }
    }
    found.sort_unstable();
    Ok(found)
}
