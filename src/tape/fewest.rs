//! The fewest tapes that hold all that is wanted: a minimum set cover, by branch and bound.
//! Where a row of containers lies on tapes in a few copies, as sets do, what [`reduce`] leaves
//! of it is little, and the answer exact, with hundreds of tapes as well.

use std::collections::{BTreeMap, BTreeSet};

/// Steps of the search at most, one a group and round: some seconds. Then what was found
/// until then is taken.
const STEPS: usize = 4_000_000;

/// Items that the same tapes hold: the numbers of these tapes, and the bytes.
type Groups = BTreeMap<BTreeSet<usize>, u64>;

/// The fewest tapes that together hold all `items`. Of each item: the numbers of the tapes
/// that hold it, and its length in bytes. An item that is on no tape is left out.
///
/// Of choices that are as few that one is taken which comes of taking, again and again, the
/// tape with the most bytes of what is left, and of these the one with the lowest number, if
/// that is one of them; in any case the same every time.
#[must_use]
pub fn fewest<I: IntoIterator<Item = usize>>(
    items: impl IntoIterator<Item = (I, u64)>,
) -> BTreeSet<usize> {
    let mut groups = Groups::new();
    for (tapes, bytes) in items {
        let tapes: BTreeSet<_> = tapes.into_iter().collect();
        if !tapes.is_empty() {
            add(&mut groups, tapes, bytes.max(1));
        }
    }
    let mut search = Search {
        best: greedy(groups.clone()),
        steps: 0,
    };
    search.go(groups, Vec::new());
    search.best.into_iter().collect()
}

fn add(groups: &mut Groups, tapes: BTreeSet<usize>, bytes: u64) {
    let sum = groups.entry(tapes).or_default();
    *sum = sum.saturating_add(bytes);
}

/// Takes the tape that holds most of what is left, again and again.
fn greedy(mut left: Groups) -> Vec<usize> {
    let mut chosen = Vec::new();
    while let Some(tape) = heaviest(&left, &|_| true) {
        take(&mut left, tape);
        chosen.push(tape);
    }
    chosen
}

/// Removes what a tape holds.
fn take(left: &mut Groups, tape: usize) {
    left.retain(|tapes, _| !tapes.contains(&tape));
}

/// Does without a tape.
fn refuse(left: Groups, tape: usize) -> Groups {
    let mut rest = Groups::new();
    for (mut tapes, bytes) in left {
        tapes.remove(&tape);
        add(&mut rest, tapes, bytes);
    }
    rest
}

/// Of these tapes the one that holds the most bytes, and of several the first.
fn heaviest(left: &Groups, which: &dyn Fn(usize) -> bool) -> Option<usize> {
    let mut weights = BTreeMap::<usize, u64>::new();
    for (tapes, bytes) in left {
        for tape in tapes.iter().copied().filter(|tape| which(*tape)) {
            let weight = weights.entry(tape).or_default();
            *weight = weight.saturating_add(*bytes);
        }
    }
    let weights = weights.into_iter();
    let heaviest = weights.max_by_key(|(tape, bytes)| (*bytes, std::cmp::Reverse(*tape)));
    heaviest.map(|(tape, _)| tape)
}

struct Search {
    best: Vec<usize>,
    steps: usize,
}

impl Search {
    /// Looks for a choice of fewer tapes than the best so far that begins with `chosen`.
    fn go(&mut self, mut left: Groups, mut chosen: Vec<usize>) {
        loop {
            left = self.reduce(left, &mut chosen);
            if chosen.len() + at_least(&left) >= self.best.len() || self.steps > STEPS {
                return;
            }
            let Some(narrowest) = left.keys().min_by_key(|tapes| tapes.len()) else {
                self.best = chosen;
                return;
            };
            let Some(tape) = heaviest(&left, &|tape| narrowest.contains(&tape)) else {
                return;
            };
            let mut rest = left.clone();
            take(&mut rest, tape);
            self.go(rest, [&chosen[..], &[tape]].concat());
            // All choices with it were looked at.
            left = refuse(left, tape);
        }
    }

    /// Takes what has to be taken, and drops what makes no difference.
    fn reduce(&mut self, mut left: Groups, chosen: &mut Vec<usize>) -> Groups {
        loop {
            self.steps += 1 + left.len();
            let forced = left.keys().find(|tapes| tapes.len() == 1);
            if let Some(tape) = forced.and_then(BTreeSet::first).copied() {
                chosen.push(tape);
                take(&mut left, tape);
                continue;
            }
            let before = left.len();
            drop_implied(&mut left);
            match lesser(&left) {
                tapes if !tapes.is_empty() => {
                    for tape in tapes {
                        left = refuse(left, tape);
                    }
                }
                _ if left.len() == before => return left,
                _ => {}
            }
        }
    }
}

/// No fewer tapes than these hold all that is left: so many groups have none in common.
fn at_least(left: &Groups) -> usize {
    let mut groups: Vec<_> = left.keys().collect();
    groups.sort_by_key(|tapes| tapes.len());
    let mut seen = BTreeSet::new();
    let mut count = 0;
    for tapes in groups {
        if tapes.is_disjoint(&seen) {
            seen.extend(tapes);
            count += 1;
        }
    }
    count
}

/// Drops groups of which another is a part: a tape that holds that one holds these.
fn drop_implied(left: &mut Groups) {
    let mut by_first = BTreeMap::<usize, Vec<BTreeSet<usize>>>::new();
    for tapes in left.keys() {
        let first = tapes.first().copied().unwrap_or_default();
        by_first.entry(first).or_default().push(tapes.clone());
    }
    left.retain(|tapes, _| {
        let others = tapes.iter().filter_map(|tape| by_first.get(tape));
        let mut others = others.flatten().filter(|other| *other != tapes);
        !others.any(|other| other.is_subset(tapes))
    });
}

/// Tapes that hold nothing that a certain other one does not hold.
fn lesser(left: &Groups) -> Vec<usize> {
    let mut held = BTreeMap::<usize, Vec<&BTreeSet<usize>>>::new();
    for tapes in left.keys() {
        for tape in tapes {
            held.entry(*tape).or_default().push(tapes);
        }
    }
    let is_lesser = |tape: usize, groups: &[&BTreeSet<usize>]| {
        let others = groups.first().into_iter().copied().flatten();
        others.filter(|other| **other != tape).any(|other| {
            let in_all = groups.iter().all(|tapes| tapes.contains(other));
            // Of two that hold the same the first one stays.
            let is_more = held.get(other).map_or(0, Vec::len) > groups.len();
            in_all && (is_more || *other < tape)
        })
    };
    let held_by = held.iter();
    let lesser = held_by.filter(|(tape, groups)| is_lesser(**tape, groups));
    lesser.map(|(tape, _)| *tape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(items: &[&[usize]]) -> Vec<usize> {
        let items = items.iter().map(|tapes| (tapes.iter().copied(), 100));
        fewest(items).into_iter().collect()
    }

    #[test]
    fn fewer_than_a_greedy_choice() {
        // Tape 3 has the most, but 1 and 2 have all.
        let items: [&[usize]; 6] = [&[1, 3], &[1, 3], &[2, 3], &[2, 3], &[1], &[2]];
        assert_eq!(of(&items), [1, 2]);
        assert_eq!(of(&[]), []);
        assert_eq!(of(&[&[], &[5, 7]]), [5]);
    }

    #[test]
    fn of_as_few_the_one_with_more_bytes_and_then_the_first() {
        let items = |bytes: [u64; 4]| {
            let tapes = [[1, 2], [2, 3], [3, 4], [1, 4]];
            tapes.into_iter().zip(bytes)
        };
        assert_eq!(fewest(items([10, 10, 1, 1])), [2, 4].into());
        assert_eq!(fewest(items([10; 4])), [1, 3].into());
    }

    #[test]
    fn two_copies_of_a_long_row_are_exact() {
        // Ten containers on a tape; of the second copy the ends lie in between.
        let items = (0..6000).map(|container| ([container / 10, 1000 + (container + 5) / 10], 1));
        let chosen = fewest(items);
        assert_eq!(chosen.len(), 600);
    }

    proptest! {
        #[test]
        fn no_choice_is_smaller(items in prop::collection::vec(
            (prop::collection::btree_set(0..9_usize, 1..5), 0..50_u64), 0..14,
        )) {
            let chosen = fewest(items.clone());
            let holds_all = |choice: u32| items.iter().all(|(tapes, _)| {
                tapes.iter().any(|tape| choice >> tape & 1 == 1)
            });
            let bits = chosen.iter().fold(0, |bits, tape| bits | 1 << tape);
            prop_assert!(holds_all(bits));
            let least = (0..1_u32 << 9).filter(|choice| holds_all(*choice));
            let least = least.map(u32::count_ones).min();
            prop_assert_eq!(Some(u32::try_from(chosen.len()).unwrap()), least);
            prop_assert_eq!(fewest(items.into_iter().rev()), chosen);
        }
    }
}
