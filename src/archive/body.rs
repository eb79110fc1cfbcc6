//! Gathers the items of one body, in lists once they are many
//! (`formats/index.md`, "Items").

use crate::error::Result;
use crate::format::record::{Counts, Item, List, add_counts};
use crate::id::ChunkHash;

/// So many items at most stand in a record or in the last level.
const MOST_ITEMS: usize = 64;
/// A list may close from so many items on.
const LIST_LEAST: usize = 64;
/// A list closes at so many items.
const LIST_MOST: usize = 4096;

/// Stores a list as a chunk of a level; gives its hash.
pub(super) type StoreList<'a> = &'a mut dyn FnMut(usize, &[u8]) -> Result<ChunkHash>;

/// The items of one body. Memory: a list of each level, at most some 250 KiB each.
#[derive(Default)]
pub(super) struct BodyItems {
    levels: Vec<Level>,
    /// A zero run that may still grow.
    zeros: u64,
}

/// Items of one level, as such while they are few, encoded into a list after.
#[derive(Default)]
struct Level {
    items: Vec<Item>,
    in_lists: bool,
    list: Vec<u8>,
    list_items: usize,
    covers: u64,
    counts: Counts,
}

impl Level {
    fn clear(&mut self) {
        self.items.clear();
        self.in_lists = false;
        self.clear_list();
    }

    fn clear_list(&mut self) {
        self.list.clear();
        self.list_items = 0;
        self.covers = 0;
        self.counts = Counts::default();
    }

    fn append(&mut self, item: &Item) {
        item.encode(&mut self.list);
        self.list_items += 1;
        self.covers += item.covers(0);
        // No stream is so long that a count overflows.
        let _ = add_counts(&mut self.counts, item);
    }

    fn closes_after(&self, item: &Item) -> bool {
        let hash = match item {
            Item::Chunk { hash, .. } => hash,
            Item::List(list) => &list.hash,
            Item::Whole | Item::Zeros { .. } => return self.list_items >= LIST_MOST,
        };
        self.list_items >= LIST_MOST
            || (self.list_items >= LIST_LEAST && hash.0[0] == 0 && hash.0[1] < 128)
    }
}

impl BodyItems {
    /// Makes ready for the next body.
    pub(super) fn clear(&mut self) {
        self.levels.iter_mut().for_each(Level::clear);
        self.zeros = 0;
    }

    /// Adds a chunk.
    pub(super) fn chunk(&mut self, length: u32, hash: ChunkHash, store: StoreList) -> Result<()> {
        self.flush_zeros(store)?;
        self.add(0, Item::Chunk { length, hash }, store)
    }

    /// Adds zero bytes.
    pub(super) fn zeros(&mut self, length: u64) {
        self.zeros += length;
    }

    fn flush_zeros(&mut self, store: StoreList) -> Result<()> {
        match std::mem::take(&mut self.zeros) {
            0 => Ok(()),
            length => self.add(0, Item::Zeros { length }, store),
        }
    }

    fn add(&mut self, level: usize, item: Item, store: StoreList) -> Result<()> {
        if self.levels.len() == level {
            self.levels.push(Level::default());
        }
        let this = &mut self.levels[level];
        if !this.in_lists {
            this.items.push(item);
            if this.items.len() <= MOST_ITEMS {
                return Ok(());
            }
            this.in_lists = true;
            for item in std::mem::take(&mut this.items) {
                self.append(level, &item, store)?;
            }
            return Ok(());
        }
        self.append(level, &item, store)
    }

    fn append(&mut self, level: usize, item: &Item, store: StoreList) -> Result<()> {
        let this = &mut self.levels[level];
        this.append(item);
        if this.closes_after(item) {
            self.close(level, store)?;
        }
        Ok(())
    }

    fn close(&mut self, level: usize, store: StoreList) -> Result<()> {
        let this = &mut self.levels[level];
        if this.list_items == 0 {
            return Ok(());
        }
        let above = level + 1;
        let item = Item::List(List {
            level: u8::try_from(above).unwrap_or(u8::MAX),
            length: u32::try_from(this.list.len()).unwrap_or(u32::MAX),
            hash: store(above, &this.list)?,
            covers: this.covers,
            counts: this.counts,
        });
        self.levels[level].clear_list();
        self.add(above, item, store)
    }

    /// The items for the record.
    pub(super) fn finish(&mut self, store: StoreList) -> Result<Vec<Item>> {
        self.flush_zeros(store)?;
        for level in 0.. {
            let Some(this) = self.levels.get_mut(level) else {
                break;
            };
            if !this.in_lists {
                return Ok(std::mem::take(&mut this.items));
            }
            self.close(level, store)?;
        }
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::record::decode_list;
    use std::collections::HashMap;

    /// Items of a body of `count` chunks, and how they read back through the lists.
    fn body(count: u64) -> (Vec<Item>, Vec<Item>) {
        let mut lists = HashMap::new();
        let mut store = |_: usize, bytes: &[u8]| {
            let hash = ChunkHash(*blake3::hash(bytes).as_bytes());
            lists.insert(hash, bytes.to_vec());
            Ok(hash)
        };
        let mut items = BodyItems::default();
        for number in 0..count {
            if number % 10 == 9 {
                items.zeros(3);
                items.zeros(4);
            }
            let hash = ChunkHash(*blake3::hash(&number.to_le_bytes()).as_bytes());
            items.chunk(1, hash, &mut store).unwrap();
        }
        items.zeros(5);
        let top = items.finish(&mut store).unwrap();
        let mut flat = Vec::new();
        let mut stack: Vec<Item> = top.iter().rev().copied().collect();
        while let Some(item) = stack.pop() {
            match item {
                Item::List(list) => {
                    stack.extend(
                        decode_list(&lists[&list.hash], &list)
                            .unwrap()
                            .into_iter()
                            .rev(),
                    );
                }
                other => flat.push(other),
            }
        }
        (top, flat)
    }

    #[test]
    fn few_items_stand_in_the_record() {
        let (top, flat) = body(20);
        assert_eq!(top, flat);
        assert_eq!(top.len(), 20 + 2 + 1);
    }

    #[test]
    fn many_items_go_into_lists_that_read_back() {
        for count in [57, 58, 59, 60, 1000, 5000, 200_000] {
            let (top, flat) = body(count);
            assert!(top.len() <= MOST_ITEMS, "{count}: {}", top.len());
            assert_eq!(flat.len() as u64, count + count / 10 + 1, "{count}");
            assert!(flat.len() <= MOST_ITEMS || matches!(top[0], Item::List(_)));
        }
    }

    #[test]
    fn a_body_that_grows_keeps_its_lists() {
        let (short, _) = body(20_000);
        let (long, _) = body(20_100);
        let same = short
            .iter()
            .zip(&long)
            .take_while(|(one, other)| one == other)
            .count();
        assert!(same + 2 >= short.len(), "{same} of {}", short.len());
    }
}
