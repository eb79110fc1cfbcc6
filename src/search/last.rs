//! Of entries with one key, the last.

use std::mem;

use super::sort::Sorted;
use crate::error::Result;

/// Goes through sorted entries; of those with one key only the last counts.
pub(super) struct Last {
    from: Sorted,
    key: Vec<u8>,
    value: Vec<u8>,
    /// The first entry with another key, once it was seen.
    next: Option<(Vec<u8>, Vec<u8>)>,
    overruled: u64,
}

impl Last {
    pub(super) const fn new(from: Sorted) -> Self {
        Self {
            from,
            key: Vec::new(),
            value: Vec::new(),
            next: None,
            overruled: 0,
        }
    }

    /// Goes to the next key; `false` at the end.
    pub(super) fn advance(&mut self) -> Result<bool> {
        let mut spare = (mem::take(&mut self.key), mem::take(&mut self.value));
        if let Some(next) = self.next.take() {
            (self.key, self.value) = next;
        } else {
            let Some((key, value)) = self.from.next()? else {
                return Ok(false);
            };
            key.clone_into(&mut self.key);
            value.clone_into(&mut self.value);
        }
        while let Some((key, value)) = self.from.next()? {
            if key != self.key {
                key.clone_into(&mut spare.0);
                value.clone_into(&mut spare.1);
                self.next = Some(spare);
                break;
            }
            value.clone_into(&mut self.value);
            self.overruled += 1;
        }
        Ok(true)
    }

    /// The key.
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The last value with this key.
    pub(super) fn value(&self) -> &[u8] {
        &self.value
    }

    /// How many entries so far did not count.
    pub(super) const fn overruled(&self) -> u64 {
        self.overruled
    }
}

#[cfg(test)]
mod tests {
    use super::super::sort::Sorter;
    use super::*;

    #[test]
    fn the_last_value_of_a_key_counts() {
        let mut sorter = Sorter::new();
        for (key, value) in [("b", "1"), ("a", "2"), ("b", "3"), ("c", "4"), ("b", "5")] {
            sorter.push(key.as_bytes(), value.as_bytes()).unwrap();
        }
        let mut last = Last::new(sorter.finish().unwrap());
        let mut found = Vec::new();
        while last.advance().unwrap() {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            found.push((text(last.key()), text(last.value())));
        }
        let expected = [("a", "2"), ("b", "5"), ("c", "4")];
        assert_eq!(
            found,
            expected.map(|(key, value)| (key.to_owned(), value.to_owned()))
        );
        assert_eq!(last.overruled(), 2);
        assert!(!last.advance().unwrap());
    }
}
