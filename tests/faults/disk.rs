//! What a disk may hold after a power failure: a model of files, folders and what of
//! them is durable, fed with recorded calls.
//!
//! It grants no more than POSIX does. A write is durable once its file was synced, a
//! name once its folder was, and neither implies the other; a rename is two changes, in
//! two folders, of which either may get lost alone. What was not synced may be there all
//! the same, in any part.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::common::source::Random;
use crate::shim::{Call, Kind};

/// What became of everything that was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// All of it is lost.
    All,
    /// All of it is there, as if the process had been killed.
    Nothing,
    /// Names are there, bytes are not: files are empty or as they were.
    Bytes,
    /// Names and lengths are there, bytes are zeros.
    Zeros,
    /// Bytes are there, names are not.
    Names,
    /// Each write and each name is there or not, as a coin falls.
    Some(u64),
}

/// All files with their bytes, and folders.
pub type Image = BTreeMap<PathBuf, Option<Arc<Vec<u8>>>>;

type Number = usize;

enum Node {
    File(File),
    Folder(Folder),
}

#[derive(Default)]
struct File {
    now: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
    pending: Vec<Change>,
}

enum Change {
    Write(u64, Arc<Vec<u8>>),
    Cut(u64),
}

#[derive(Default)]
struct Folder {
    now: BTreeMap<String, Number>,
    durable: BTreeMap<String, Number>,
    pending: Vec<(String, Option<Number>)>,
}

impl Change {
    fn make(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, data) => {
                let start = usize::try_from(*offset).unwrap();
                let end = start + data.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[start..end].copy_from_slice(data);
            }
            Self::Cut(length) => bytes.resize(usize::try_from(*length).unwrap(), 0),
        }
    }

    /// Only the length is as if it had been made.
    fn make_zeros(&self, bytes: &mut Vec<u8>) {
        let length = match self {
            Self::Write(offset, data) => *offset + data.len() as u64,
            Self::Cut(length) => *length,
        };
        let length = usize::try_from(length).unwrap();
        bytes.resize(bytes.len().max(length), 0);
    }
}

impl File {
    fn after(&self, loss: Loss, coins: &mut Random) -> Arc<Vec<u8>> {
        match loss {
            Loss::Nothing | Loss::Names => Arc::clone(&self.now),
            _ if self.pending.is_empty() => Arc::clone(&self.durable),
            Loss::All | Loss::Bytes => Arc::clone(&self.durable),
            Loss::Zeros => {
                let mut bytes = Vec::clone(&self.durable);
                let pending = self.pending.iter();
                pending.for_each(|change| change.make_zeros(&mut bytes));
                Arc::new(bytes)
            }
            Loss::Some(_) => {
                let mut bytes = Vec::clone(&self.durable);
                let kept = self.pending.iter().filter(|_| coins.below(2) == 0);
                kept.for_each(|change| change.make(&mut bytes));
                Arc::new(bytes)
            }
        }
    }
}

impl Folder {
    fn set(&mut self, name: &str, node: Option<Number>) {
        put(&mut self.now, name, node);
        self.pending.push((name.to_owned(), node));
    }

    fn after(&self, loss: Loss, coins: &mut Random) -> BTreeMap<String, Number> {
        match loss {
            Loss::All | Loss::Names => self.durable.clone(),
            Loss::Nothing | Loss::Bytes | Loss::Zeros => self.now.clone(),
            Loss::Some(_) => {
                let mut entries = self.durable.clone();
                let kept = self.pending.iter().filter(|_| coins.below(2) == 0);
                kept.for_each(|(name, node)| put(&mut entries, name, *node));
                entries
            }
        }
    }
}

fn put(entries: &mut BTreeMap<String, Number>, name: &str, node: Option<Number>) {
    match node {
        Some(node) => entries.insert(name.to_owned(), node),
        None => entries.remove(name),
    };
}

/// The files below one folder.
pub struct Disk {
    nodes: Vec<Node>,
    /// Inodes get used again: this is who has one now.
    by_inode: HashMap<u64, Number>,
}

impl Disk {
    /// An empty folder.
    pub fn new() -> Self {
        Self {
            nodes: vec![Node::Folder(Folder::default())],
            by_inode: HashMap::new(),
        }
    }

    /// Puts an empty file there, durably: the user made it.
    pub fn make(&mut self, name: &str, inode: u64) {
        let number = self.add(Node::File(File::default()), inode);
        let folder = self.folder(0);
        folder.set(name, Some(number));
        folder.durable.insert(name.to_owned(), number);
    }

    /// Takes a file away, durably.
    pub fn remove(&mut self, path: &Path) {
        let (folder, name) = self.place(path);
        self.folder(folder).set(&name, None);
        self.sync(folder);
    }

    fn add(&mut self, node: Node, inode: u64) -> Number {
        self.nodes.push(node);
        let number = self.nodes.len() - 1;
        self.by_inode.insert(inode, number);
        number
    }

    fn folder(&mut self, number: Number) -> &mut Folder {
        match &mut self.nodes[number] {
            Node::Folder(folder) => folder,
            Node::File(_) => panic!("node {number} is a file"),
        }
    }

    fn find(&mut self, path: &Path) -> Number {
        let mut number = 0;
        for name in path {
            number = self.folder(number).now[name.to_str().unwrap()];
        }
        number
    }

    /// The folder in which something stands, and the name that it has there.
    fn place(&mut self, path: &Path) -> (Number, String) {
        let folder = self.find(path.parent().unwrap());
        let name = path.file_name().unwrap().to_str().unwrap();
        (folder, name.to_owned())
    }

    fn set(&mut self, path: &Path, node: Option<Number>) {
        let (folder, name) = self.place(path);
        self.folder(folder).set(&name, node);
    }

    fn sync(&mut self, number: Number) {
        match &mut self.nodes[number] {
            Node::File(file) => {
                file.durable = Arc::clone(&file.now);
                file.pending.clear();
            }
            Node::Folder(folder) => {
                folder.durable = folder.now.clone();
                folder.pending.clear();
            }
        }
    }

    fn change(&mut self, call: &Call, change: Change) {
        let number = self.by_inode.get(&call.inode).copied();
        let number = number.unwrap_or_else(|| panic!("nobody made {}", call.path.display()));
        let Node::File(file) = &mut self.nodes[number] else {
            panic!("{call:?} of a folder");
        };
        change.make(Arc::make_mut(&mut file.now));
        if call.synchronous {
            change.make(Arc::make_mut(&mut file.durable));
        } else {
            file.pending.push(change);
        }
    }

    /// Does what a call did.
    pub fn apply(&mut self, call: &Call) {
        if call.result < 0 {
            return;
        }
        match call.kind {
            Kind::Open if call.created => {
                let file = self.add(Node::File(File::default()), call.inode);
                self.set(&call.path, Some(file));
            }
            Kind::MakeDir => {
                let folder = self.add(Node::Folder(Folder::default()), call.inode);
                self.set(&call.path, Some(folder));
            }
            Kind::Open if call.emptied => self.change(call, Change::Cut(0)),
            Kind::Write => {
                let change = Change::Write(call.offset, Arc::new(call.data.clone()));
                self.change(call, change);
            }
            Kind::Truncate => self.change(call, Change::Cut(call.offset)),
            Kind::Sync if call.path == Path::new("") => self.sync(0),
            Kind::Sync => self.sync(self.by_inode[&call.inode]),
            Kind::Rename => {
                let node = self.find(&call.path);
                self.set(&call.path, None);
                self.set(&call.second, Some(node));
            }
            Kind::Link => {
                let node = self.find(&call.path);
                self.set(&call.second, Some(node));
            }
            Kind::Unlink | Kind::RemoveDir => self.set(&call.path, None),
            Kind::Open | Kind::Mode | Kind::Map => {}
            Kind::Other | Kind::OpenToRead | Kind::Read | Kind::List => {
                panic!("not to be followed: {call:?}");
            }
        }
    }

    /// What may be found if the power fails now.
    pub fn after(&self, loss: Loss) -> Image {
        let mut image = Image::new();
        let mut coins = Random(match loss {
            Loss::Some(seed) => seed,
            _ => 0,
        });
        self.walk(0, Path::new(""), loss, &mut coins, &mut image);
        image
    }

    fn walk(&self, node: Number, at: &Path, loss: Loss, coins: &mut Random, image: &mut Image) {
        match &self.nodes[node] {
            Node::File(file) => {
                image.insert(at.to_owned(), Some(file.after(loss, coins)));
            }
            Node::Folder(folder) => {
                image.insert(at.to_owned(), None);
                for (name, node) in folder.after(loss, coins) {
                    self.walk(node, &at.join(name), loss, coins, image);
                }
            }
        }
    }
}
