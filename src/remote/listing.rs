//! What stands in a bucket, in the order of keys, and how it differs from what is here.

use std::cmp::Ordering;
use std::collections::VecDeque;

use super::bucket::Bucket;
use super::fault::{Fault, Kind};
use super::local::LocalFile;
use crate::error::Result;

/// An object, by the file of a store that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The path in the store, such as `tocs/ab/ab….toc`.
    pub path: String,
    /// Its length in bytes.
    pub length: u64,
    /// Its storage class, unless it is the standard one.
    pub class: Option<String>,
}

/// The objects below a folder, in the order of their keys, page by page.
pub struct Listing<'a> {
    bucket: &'a Bucket,
    folder: String,
    page: VecDeque<Entry>,
    next: Page,
    last: String,
    /// Pages in a row with nothing on them.
    empty: u32,
}

/// Pages with nothing on them, in a row: a server may skip what was deleted.
const MOST_EMPTY: u32 = 10_000;

/// Which page is next.
enum Page {
    First,
    Token(String),
    None,
}

impl Bucket {
    /// The objects below `folder`, which ends in a slash.
    #[must_use]
    pub fn list(&self, folder: &str) -> Listing<'_> {
        Listing {
            bucket: self,
            folder: folder.to_owned(),
            page: VecDeque::new(),
            next: Page::First,
            last: String::new(),
            empty: 0,
        }
    }
}

impl Listing<'_> {
    /// The next object; `None` behind the last.
    ///
    /// # Errors
    /// What the server or the network says; a server that does not list in the order of keys.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        loop {
            if let Some(entry) = self.page.pop_front() {
                if entry.path <= self.last {
                    let fault = Fault::new(
                        Kind::Final,
                        "the server does not list objects in the order of their keys, on which \
                         dtar relies",
                    );
                    return Err(self.bucket.error(fault, &entry.path, "list it"));
                }
                self.last.clone_from(&entry.path);
                return Ok(Some(entry));
            }
            match std::mem::replace(&mut self.next, Page::None) {
                Page::None => return Ok(None),
                Page::First => self.read_page(None)?,
                Page::Token(token) => self.read_page(Some(&token))?,
            }
        }
    }

    fn read_page(&mut self, token: Option<&str>) -> Result<()> {
        let place = self.bucket.place();
        let request = self
            .bucket
            .client()
            .list_objects_v2()
            .bucket(place.bucket())
            .prefix(place.key(&self.folder))
            .set_continuation_token(token.map(str::to_owned));
        let answer = self
            .bucket
            .send(request.send())
            .map_err(|fault| self.bucket.error(fault, &self.folder, "list what is there"))?;
        for object in answer.contents() {
            let Some(path) = object.key().and_then(|key| place.path_of(key)) else {
                continue;
            };
            let class = object
                .storage_class()
                .map(|class| class.as_str().to_owned());
            self.page.push_back(Entry {
                path: path.to_owned(),
                length: object
                    .size()
                    .and_then(|size| u64::try_from(size).ok())
                    .unwrap_or_default(),
                class: class.filter(|class| class != "STANDARD"),
            });
        }
        if answer.is_truncated() != Some(true) {
            return Ok(());
        }
        self.empty = if self.page.is_empty() {
            self.empty + 1
        } else {
            0
        };
        let next = answer.next_continuation_token();
        if next.is_none() || next == token || self.empty > MOST_EMPTY {
            let fault = Fault::new(
                Kind::Final,
                "the server says that there is more, and does not give it: without it nobody \
                 knows what is there",
            );
            return Err(self.bucket.error(fault, &self.folder, "list what is there"));
        }
        self.next = next.map_or(Page::None, |token| Page::Token(token.to_owned()));
        Ok(())
    }
}

/// What of a file is where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Side {
    /// Here alone.
    Here(LocalFile),
    /// There alone.
    There(Entry),
    /// In both places.
    Both(LocalFile, Entry),
}

/// What is here and what is there, side by side; both come in the order of their paths.
pub(super) struct Sides<L, R> {
    here: L,
    there: R,
    next: Option<(Option<LocalFile>, Option<Entry>)>,
}

impl<L, R> Sides<L, R>
where
    L: FnMut() -> Result<Option<LocalFile>>,
    R: FnMut() -> Result<Option<Entry>>,
{
    /// Compares what the two sources give.
    pub(super) const fn new(here: L, there: R) -> Self {
        Self {
            here,
            there,
            next: None,
        }
    }

    /// What comes next; `None` behind the last.
    ///
    /// # Errors
    /// Those of the sources.
    pub(super) fn next(&mut self) -> Result<Option<Side>> {
        let (left, right) = match self.next.take() {
            Some(next) => next,
            None => ((self.here)()?, (self.there)()?),
        };
        let order = match (&left, &right) {
            (None, None) => {
                self.next = Some((None, None));
                return Ok(None);
            }
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(left), Some(right)) => left.path.cmp(&right.path),
        };
        Ok(match (order, left, right) {
            (Ordering::Less, Some(left), right) => {
                self.next = Some(((self.here)()?, right));
                Some(Side::Here(left))
            }
            (Ordering::Greater, left, Some(right)) => {
                self.next = Some((left, (self.there)()?));
                Some(Side::There(right))
            }
            (_, Some(left), Some(right)) => {
                self.next = Some(((self.here)()?, (self.there)()?));
                Some(Side::Both(left, right))
            }
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_where_comes_out_in_order() {
        let mut here = ["a", "c", "d"].into_iter().map(|path| LocalFile {
            path: path.to_owned(),
            length: 1,
        });
        let mut there = ["b", "c", "e", "f"].into_iter().map(|path| Entry {
            path: path.to_owned(),
            length: 1,
            class: None,
        });
        let mut sides = Sides::new(|| Ok(here.next()), || Ok(there.next()));
        let mut found = Vec::new();
        while let Some(side) = sides.next().unwrap() {
            found.push(match side {
                Side::Here(file) => format!("<{}", file.path),
                Side::There(entry) => format!(">{}", entry.path),
                Side::Both(file, entry) => format!("{}={}", file.path, entry.path),
            });
        }
        assert!(sides.next().unwrap().is_none());
        assert_eq!(found, ["<a", ">b", "c=c", "<d", ">e", ">f"]);
    }
}
