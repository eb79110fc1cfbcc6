//! What a data file of LMDB must look like before it is mapped: LMDB trusts
//! its pages, and a damaged one can kill the process.
//!
//! [`DataFile::open`] compares what the meta pages say with the file's length,
//! each time. [`DataFile::walk`] follows every page, the way LMDB would, and
//! takes time; it is for small files and after a process has died. The layout
//! is that of LMDB 0.9 (`mdb.c`): integers in the host's byte order, page
//! numbers and sizes as wide as its words.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::fault::{Fault, Step};
use crate::Error;

const WORD: usize = size_of::<usize>();
/// The root of a table without entries.
const NO_PAGE: u64 = usize::MAX as u64;
/// Pages 0 and 1 are the meta pages.
const FIRST_PAGE: u64 = 2;
/// `MDB_page`: page number (a word), padding and flags (`u16` each), then
/// bounds of the free space (`u16` each) or the number of overflow pages (`u32`).
const PAGE_HEADER: usize = WORD + 8;
/// `MDB_node`: size or lower half of a page number (`u32`), flags or upper half, length of the key (`u16` each).
const NODE_HEADER: usize = 8;
/// How often a file that looks damaged is read before it is said to be.
const ATTEMPTS: u32 = 3;
/// More pages than any transaction takes at the end of the file and gives back.
const MOST_MISSING: u64 = 1 << 20;
/// The depth of LMDB's cursors.
const MAX_DEPTH: u16 = 32;

const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
const OVERFLOW: u16 = 0x04;

/// The data stands on overflow pages.
const BIG: u16 = 0x01;
/// The data is a table.
const TABLE: u16 = 0x02;

/// A persistent flag of a table.
const INTEGER_KEY: u16 = 0x08;

/// The data file of an environment.
pub(super) struct DataFile {
    file: File,
    length: u64,
    meta: Meta,
}

impl DataFile {
    /// Opens a data file and checks that it covers its last used page, for
    /// reading one that is not there would kill the process. Nothing, if the
    /// file is missing or empty: LMDB begins anew then.
    ///
    /// LMDB may leave out final pages that are on the free list.
    pub fn open(path: &Path) -> Step<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open", path)(error).into()),
        };
        if file_length(&file)? == 0 {
            return Ok(None);
        }
        // Another process may be committing: its meta page may be half written.
        let mut opened = Self::examine(&file);
        for _ in 1..ATTEMPTS {
            if !matches!(opened, Err(Fault::Corrupt(_))) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
            opened = Self::examine(&file);
        }
        let (meta, length) = opened?;
        Ok(Some(Self { file, length, meta }))
    }

    fn examine(file: &File) -> Step<(Meta, u64)> {
        let mut page = [0; PAGE_HEADER + Meta::LENGTH];
        read(file, 0, &mut page)?;
        let first = Meta::parse(&page[PAGE_HEADER..])?;
        read(file, first.page_size, &mut page)?;
        let second = Meta::parse(&page[PAGE_HEADER..])?;
        // Only now: pages come before the meta page that needs them.
        let length = file_length(file)?;
        // LMDB goes on from the newer one, and falls back on the other one never.
        let meta = if second.transaction > first.transaction {
            second
        } else {
            first
        };
        if meta.needed()? > length {
            require_free_tail(file, length, meta)?;
        }
        Ok((meta, length))
    }

    /// Its length in bytes.
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Follows every page of every table and of the free list: each must be
    /// what it is said to be, lie within the file, and be used once. No other
    /// process may have the environment open.
    pub fn walk(&self) -> Step<()> {
        let mut walk = Walk::new(&self.file, self.meta);
        let [free, main] = self.meta.tables;
        walk.tree(&free, INTEGER_KEY, Content::Free)?;
        walk.tree(&main, 0, Content::Tables)
    }
}

fn file_length(file: &File) -> Step<u64> {
    let metadata = file.metadata().map_err(|error| Fault::Lmdb(error.into()))?;
    Ok(metadata.len())
}

/// Accepts a file that ends before its last page if all pages that are missing
/// are free: they were taken and given back in one transaction, and LMDB reads
/// none of them.
fn require_free_tail(file: &File, length: u64, meta: Meta) -> Step<()> {
    let first = length / meta.page_size;
    if meta.last_page.saturating_sub(first) > MOST_MISSING {
        return Err(Fault::Corrupt("cut short"));
    }
    let mut walk = Walk::new(file, meta);
    let [free, _] = meta.tables;
    walk.tree(&free, INTEGER_KEY, Content::Free)?;
    if (first..=meta.last_page).all(|page| walk.is_used(page)) {
        return Ok(());
    }
    Err(Fault::Corrupt("cut short"))
}

fn read(file: &File, offset: u64, bytes: &mut [u8]) -> Step<()> {
    match file.read_exact_at(bytes, offset) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(Fault::Corrupt("cut short"))
        }
        Err(error) => Err(Fault::Lmdb(error.into())),
        Ok(()) => Ok(()),
    }
}

/// `MDB_meta`: magic and version (`u32` each), address, size of the map, two
/// tables, last page, transaction.
#[derive(Debug, Clone, Copy)]
struct Meta {
    page_size: u64,
    /// The free list, and the table of tables.
    tables: [Tree; 2],
    last_page: u64,
    transaction: u64,
}

impl Meta {
    const LENGTH: usize = 8 + 2 * WORD + 2 * Tree::LENGTH + 2 * WORD;
    const MAGIC: u64 = 0xbeef_c0de;

    /// How many bytes the file has if none of its last pages are left out.
    fn needed(&self) -> Step<u64> {
        let pages = self.last_page.checked_add(1);
        pages
            .and_then(|pages| pages.checked_mul(self.page_size))
            .ok_or(Fault::Corrupt("a last page beyond all files"))
    }

    fn parse(bytes: &[u8]) -> Step<Self> {
        if number::<4>(bytes, 0)? != Self::MAGIC {
            return Err(Fault::Corrupt("not a catalog"));
        }
        let tables = 8 + 2 * WORD;
        let rest = tables + 2 * Tree::LENGTH;
        let meta = Self {
            // The free list has no use for this field of its own.
            page_size: number::<4>(bytes, tables)?,
            tables: [
                Tree::parse(part(bytes, tables, Tree::LENGTH)?)?,
                Tree::parse(part(bytes, tables + Tree::LENGTH, Tree::LENGTH)?)?,
            ],
            last_page: number::<WORD>(bytes, rest)?,
            transaction: number::<WORD>(bytes, rest + WORD)?,
        };
        if !meta.page_size.is_power_of_two() || !(512..=65_536).contains(&meta.page_size) {
            return Err(Fault::Corrupt("impossible page size"));
        }
        let lost = |tree: &Tree| tree.root != NO_PAGE && tree.root > meta.last_page;
        if meta.tables.iter().any(lost) {
            return Err(Fault::Corrupt("a root page beyond the last"));
        }
        meta.needed()?;
        Ok(meta)
    }
}

/// `MDB_db`: padding (`u32`), flags and depth (`u16` each), four counts, root page (words).
#[derive(Debug, Clone, Copy)]
struct Tree {
    flags: u64,
    depth: u64,
    root: u64,
}

impl Tree {
    const LENGTH: usize = 8 + 5 * WORD;

    fn parse(bytes: &[u8]) -> Step<Self> {
        Ok(Self {
            flags: number::<2>(bytes, 4)?,
            depth: number::<2>(bytes, 6)?,
            root: number::<WORD>(bytes, 8 + 4 * WORD)?,
        })
    }
}

/// What the leaves of a tree hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// Lists of free pages.
    Free,
    /// The catalog's tables.
    Tables,
    /// Values of one of them.
    Values,
}

/// A walk through a file.
struct Walk<'a> {
    file: &'a File,
    meta: Meta,
    /// One bit for each page that is used or free.
    used: Vec<u64>,
}

impl<'a> Walk<'a> {
    fn new(file: &'a File, meta: Meta) -> Self {
        let words = usize::try_from(meta.last_page / 64 + 1).unwrap_or(usize::MAX);
        Self {
            file,
            meta,
            used: vec![0; words],
        }
    }

    fn is_used(&self, page: u64) -> bool {
        let word = usize::try_from(page / 64).unwrap_or(usize::MAX);
        let word = self.used.get(word);
        word.is_some_and(|word| word & 1 << (page % 64) != 0)
    }

    fn tree(&mut self, tree: &Tree, flags: u16, content: Content) -> Step<()> {
        if tree.flags != u64::from(flags) {
            return Err(Fault::Corrupt("a table of another kind"));
        }
        match u16::try_from(tree.depth) {
            _ if tree.root == NO_PAGE => Ok(()),
            Ok(depth @ 1..=MAX_DEPTH) => self.page(tree.root, depth, content),
            _ => Err(Fault::Corrupt("a tree of impossible depth")),
        }
    }

    /// Follows a page that stands `level` levels above the ground; leaves stand at level 1.
    fn page(&mut self, number: u64, level: u16, content: Content) -> Step<()> {
        self.claim(number, 1)?;
        let mut page = Vec::new();
        self.read(number, 1, &mut page)?;
        let kind = if level > 1 { BRANCH } else { LEAF };
        for node in Nodes::of_page(&page, kind)? {
            let node = node?;
            if kind == BRANCH {
                self.page(node.child(), level - 1, content)?;
            } else {
                self.leaf(&node, content)?;
            }
        }
        Ok(())
    }

    fn leaf(&mut self, node: &Node<'_>, content: Content) -> Step<()> {
        match (content, node.flags) {
            (Content::Free, 0) => self.free_pages(node.key, node.data()?),
            (Content::Free, BIG) => {
                let pages = self.overflow(node)?;
                let length = usize::try_from(node.size).unwrap_or(usize::MAX);
                self.free_pages(node.key, part(&pages, PAGE_HEADER, length)?)
            }
            (Content::Tables, TABLE) => {
                let tree = Tree::parse(node.data()?)?;
                self.tree(&tree, 0, Content::Values)
            }
            (Content::Values, 0) => node.data().map(drop),
            (Content::Values, BIG) => self.overflow(node).map(drop),
            _ => Err(Fault::Corrupt("a node of impossible kind")),
        }
    }

    /// A list of free pages: their number, and they, in words.
    fn free_pages(&mut self, key: &[u8], list: &[u8]) -> Step<()> {
        if key.len() != WORD {
            return Err(Fault::Corrupt("a list of free pages without transaction"));
        }
        let count = usize::try_from(number::<WORD>(list, 0)?).unwrap_or(usize::MAX);
        let pages = part(list, WORD, count.saturating_mul(WORD))?;
        for page in pages.chunks_exact(WORD) {
            self.claim(number::<WORD>(page, 0)?, 1)?;
        }
        Ok(())
    }

    /// The overflow pages of a node, with the header of the first.
    fn overflow(&mut self, node: &Node<'_>) -> Step<Vec<u8>> {
        let first = number::<WORD>(node.rest, 0)?;
        let mut page = Vec::new();
        self.check_number(first)?;
        self.read(first, 1, &mut page)?;
        let (kind, count) = (number::<2>(&page, WORD + 2)?, number::<4>(&page, WORD + 4)?);
        let needed = node.size.saturating_add(PAGE_HEADER as u64);
        let room = count.saturating_mul(self.meta.page_size);
        if kind != u64::from(OVERFLOW) || room < needed {
            return Err(Fault::Corrupt("an overflow page that is none"));
        }
        self.claim(first, count)?;
        self.read(first, count, &mut page)?;
        Ok(page)
    }

    /// Reads `count` pages that were claimed; the first must bear its number.
    fn read(&self, first: u64, count: u64, pages: &mut Vec<u8>) -> Step<()> {
        let size = self.meta.page_size;
        pages.resize(usize::try_from(count * size).unwrap_or(usize::MAX), 0);
        read(self.file, first * size, pages)?;
        if number::<WORD>(pages, 0)? == first {
            return Ok(());
        }
        Err(Fault::Corrupt("a page with another number"))
    }

    fn check_number(&self, page: u64) -> Step<()> {
        if (FIRST_PAGE..=self.meta.last_page).contains(&page) {
            return Ok(());
        }
        Err(Fault::Corrupt("a page that is not there"))
    }

    /// Notes that pages are in use, which they may be once only. This also
    /// ends the walk on a file whose pages lead in a circle.
    fn claim(&mut self, first: u64, count: u64) -> Step<()> {
        self.check_number(first)?;
        self.check_number(first.saturating_add(count.saturating_sub(1)))?;
        for page in first..first + count {
            let word = usize::try_from(page / 64).unwrap_or(usize::MAX);
            let bit = 1 << (page % 64);
            match self.used.get_mut(word) {
                Some(word) if *word & bit == 0 => *word |= bit,
                _ => return Err(Fault::Corrupt("a page that is used twice")),
            }
        }
        Ok(())
    }
}

/// The nodes of a page.
struct Nodes<'a> {
    page: &'a [u8],
    kind: u16,
    /// Where the offsets of the nodes not yet seen stand.
    offsets: std::slice::ChunksExact<'a, u8>,
}

impl<'a> Nodes<'a> {
    fn of_page(page: &'a [u8], kind: u16) -> Step<Self> {
        if number::<2>(page, WORD + 2)? != u64::from(kind) {
            return Err(Fault::Corrupt("a page of another kind"));
        }
        let lower = index(page, WORD + 4)?;
        let upper = index(page, WORD + 6)?;
        if lower < PAGE_HEADER || upper < lower || page.len() < upper {
            return Err(Fault::Corrupt("a page with impossible bounds"));
        }
        let offsets = part(page, PAGE_HEADER, lower - PAGE_HEADER)?;
        if offsets.is_empty() || !offsets.len().is_multiple_of(2) {
            return Err(Fault::Corrupt("a page without nodes"));
        }
        Ok(Self {
            page,
            kind,
            offsets: offsets.chunks_exact(2),
        })
    }
}

impl<'a> Iterator for Nodes<'a> {
    type Item = Step<Node<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.offsets.next()?;
        Some(index(offset, 0).and_then(|offset| Node::parse(self.page, offset, self.kind)))
    }
}

/// One node of a page.
struct Node<'a> {
    /// Length of the data in bytes; in a branch, the lower half of the child's number.
    size: u64,
    /// In a branch, the upper half of the child's number.
    flags: u16,
    key: &'a [u8],
    /// From the key's end to the end of the page.
    rest: &'a [u8],
}

impl<'a> Node<'a> {
    fn parse(page: &'a [u8], offset: usize, kind: u16) -> Step<Self> {
        if offset < PAGE_HEADER || !offset.is_multiple_of(2) {
            return Err(Fault::Corrupt("a node at an impossible place"));
        }
        let key_length = index(page, offset + 6)?;
        let key = part(page, offset + NODE_HEADER, key_length)?;
        let node = Self {
            size: number::<4>(page, offset)?,
            flags: u16::try_from(number::<2>(page, offset + 4)?).unwrap_or_default(),
            key,
            rest: page
                .get(offset + NODE_HEADER + key_length..)
                .unwrap_or_default(),
        };
        if kind != BRANCH && key.is_empty() {
            return Err(Fault::Corrupt("a node without a key"));
        }
        Ok(node)
    }

    /// The page to which a node of a branch leads.
    fn child(&self) -> u64 {
        let upper = if WORD > 4 {
            u64::from(self.flags) << 32
        } else {
            0
        };
        upper | self.size
    }

    /// The data within the page.
    fn data(&self) -> Step<&'a [u8]> {
        part(
            self.rest,
            0,
            usize::try_from(self.size).unwrap_or(usize::MAX),
        )
    }
}

/// A part of a structure that must be there.
fn part(bytes: &[u8], offset: usize, length: usize) -> Step<&[u8]> {
    let end = offset.checked_add(length);
    end.and_then(|end| bytes.get(offset..end))
        .ok_or(Fault::Corrupt("a page that is cut short"))
}

/// The number of `SIZE` bytes at `offset`, in the host's byte order.
fn number<const SIZE: usize>(bytes: &[u8], offset: usize) -> Step<u64> {
    let mut wide = [0; 8];
    for (to, from) in wide.iter_mut().zip(part(bytes, offset, SIZE)?) {
        *to = *from;
    }
    Ok(if cfg!(target_endian = "big") {
        u64::from_be_bytes(wide) >> (8 * (8 - SIZE))
    } else {
        u64::from_le_bytes(wide)
    })
}

/// The `u16` at `offset`, a place or length within a page.
fn index(bytes: &[u8], offset: usize) -> Step<usize> {
    Ok(usize::try_from(number::<2>(bytes, offset)?).unwrap_or(usize::MAX))
}
