//! A small tree of files that changes from run to run, and its tar stream.
//!
//! Most bodies are dull: each of their 4 KiB pieces is eight random bytes again and
//! again. No two pieces are alike, so there is much to chunk and to put into frames,
//! and next to nothing to store.

use std::collections::BTreeMap;

use super::block::Stream;
use super::source::Random;

const PIECE: usize = 4096;

/// Files by name. All that happens to it follows from the seed.
#[derive(Clone)]
pub struct Tree {
    files: BTreeMap<String, Vec<u8>>,
    random: Random,
    made: u32,
    /// A body has at most so many bytes when it is made.
    longest: u64,
}

impl Tree {
    /// A tree of `count` files of up to `longest` bytes, and some small ones.
    pub fn new(seed: u64, count: usize, longest: u64) -> Self {
        let mut tree = Self {
            files: BTreeMap::new(),
            random: Random(seed),
            made: 0,
            longest,
        };
        (0..count).for_each(|_| tree.add());
        (0..3).for_each(|_| tree.add_small());
        tree
    }

    /// Changes a few files: parts are overwritten, put in, taken away, files come and go.
    pub fn change(&mut self) {
        if self.files.len() < 9 {
            (0..3).for_each(|_| self.add());
        }
        for _ in 0..=self.random.below(3) {
            match self.random.below(8) {
                0 => self.add(),
                1 => self.add_small(),
                2 if self.files.len() > 3 => {
                    let name = self.any();
                    self.files.remove(&name);
                }
                3 => self.rename(),
                _ => self.edit(),
            }
        }
        while self.files.len() > 24 {
            let name = self.any();
            self.files.remove(&name);
        }
    }

    /// Some frames more.
    pub fn grow(&mut self) {
        (0..9).for_each(|_| self.add());
    }

    /// Leaves only a few files: what most frames hold is needed no more.
    pub fn thin(&mut self) {
        while self.files.len() > 3 {
            let name = self.any();
            self.files.remove(&name);
        }
    }

    /// The tar stream of the tree.
    pub fn stream(&self) -> Vec<u8> {
        let mut stream = Stream::new();
        for (name, body) in &self.files {
            stream = stream.file(name, body);
        }
        stream.end()
    }

    fn any(&mut self) -> String {
        let number = self.random.below(self.files.len() as u64);
        let name = self.files.keys().nth(usize::try_from(number).unwrap());
        name.unwrap().clone()
    }

    fn name(&mut self) -> String {
        self.made += 1;
        format!(
            "folder-{}/file-{}",
            self.random.below(3),
            u64::from(self.made) << 32 | self.random.below(1 << 32)
        )
    }

    fn add(&mut self) {
        let name = self.name();
        let length = self.random.below(self.longest) + 1;
        let body = self.body(length);
        self.files.insert(name, body);
    }

    fn add_small(&mut self) {
        let name = self.name();
        let length = self.random.below(600);
        let body = self.random.bytes(usize::try_from(length).unwrap());
        self.files.insert(name, body);
    }

    /// Dull, but one in eight is noise, that much shorter.
    fn body(&mut self, length: u64) -> Vec<u8> {
        let length = usize::try_from(length).unwrap();
        if self.random.below(8) == 0 {
            return self.random.bytes(length / 8 + 1);
        }
        let mut body = Vec::with_capacity(length + PIECE);
        while body.len() < length {
            let number = self.random.next().to_le_bytes();
            body.extend_from_slice(&number.repeat(PIECE / number.len()));
        }
        body.truncate(length);
        body
    }

    fn rename(&mut self) {
        let (old, new) = (self.any(), self.name());
        let body = self.files.remove(&old).unwrap();
        self.files.insert(new, body);
    }

    fn edit(&mut self) {
        let name = self.any();
        let length = self.files[&name].len() as u64;
        let start = self.random.below(length + 1);
        let count = self.random.below(40_000);
        let new = self.body(count + 1);
        let way = self.random.below(3);
        let body = self.files.get_mut(&name).unwrap();
        let start = usize::try_from(start).unwrap();
        let end = (start + new.len()).min(body.len());
        match way {
            0 => drop(body.splice(start..end, new)),
            1 => drop(body.splice(start..start, new)),
            _ => drop(body.drain(start..end)),
        }
    }
}
