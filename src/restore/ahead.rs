//! What the stream will use again, read ahead in the hints.

use std::collections::{HashMap, VecDeque};

/// Runs known ahead at most. A stream that was archived at once has one or two a frame;
/// 2 MiB at most where it is in many pieces.
const MOST_RUNS: usize = 1 << 15;

/// Runs of chunks that the stream has still to use, as far as they are known.
///
/// Positions count the chunks of bodies from the start of the stream.
pub(super) struct Ahead {
    /// Gives the frame, first place and number of chunks of the runs of the stream.
    source: Option<Source>,
    /// How far the walk is, and how far the hints were read.
    position: u64,
    read: u64,
    /// Those of each frame, in the order of use.
    frames: HashMap<u64, VecDeque<Run>>,
    /// Frames in the order of all runs.
    order: VecDeque<u64>,
}

/// Ends with the hints, and where they are broken: the walk says so when it gets there.
pub(super) type Source = Box<dyn FnMut() -> Option<(u64, u32, u32)> + Send>;

/// Chunks that lie one behind the other in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    /// Position of the first.
    start: u64,
    place: u32,
    count: u32,
}

impl Run {
    fn end(self) -> u64 {
        self.start + u64::from(self.count)
    }
}

impl Ahead {
    pub(super) fn new(source: Option<Source>) -> Self {
        Self {
            source,
            position: 0,
            read: 0,
            frames: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Takes note that the walk has passed `count` more chunks.
    pub(super) fn pass(&mut self, count: u64) {
        self.position += count;
        while let Some(frame) = self.order.front()
            && let Some(runs) = self.frames.get_mut(frame)
            && runs.front().is_some_and(|run| run.end() <= self.position)
        {
            runs.pop_front();
            if runs.is_empty() {
                self.frames.remove(frame);
            }
            self.order.pop_front();
        }
        if self.order.len() < MOST_RUNS / 2 {
            self.read();
        }
    }

    /// Reads on in the hints.
    fn read(&mut self) {
        while self.order.len() < MOST_RUNS {
            let Some((frame, place, count)) = self.source.as_mut().and_then(|next| next()) else {
                self.source = None;
                return;
            };
            let run = Run {
                start: self.read,
                place,
                count,
            };
            self.read += u64::from(count);
            if run.end() > self.position {
                self.frames.entry(frame).or_default().push_back(run);
                self.order.push_back(frame);
            }
        }
    }

    /// When the next chunk of `frame` is used; `None`: not as far as is known.
    pub(super) fn next_use(&self, frame: u64) -> Option<u64> {
        let run = self.frames.get(&frame)?.front()?;
        Some(run.start.max(self.position))
    }

    /// The places in `frame` of the chunks that will be used, ascending.
    pub(super) fn places(&self, frame: u64) -> Vec<u32> {
        let runs = self.frames.get(&frame).into_iter().flatten();
        let mut spans: Vec<(u32, u32)> = runs
            .map(|run| {
                let passed = u32::try_from(self.position.saturating_sub(run.start));
                let passed = passed.unwrap_or(run.count).min(run.count);
                (run.place + passed, run.place + run.count)
            })
            .collect();
        spans.sort_unstable();
        let mut places = Vec::new();
        let mut next = 0;
        for (start, end) in spans {
            places.extend(start.max(next)..end);
            next = next.max(end);
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ahead(runs: Vec<(u64, u32, u32)>) -> Ahead {
        let mut runs = runs.into_iter();
        let mut ahead = Ahead::new(Some(Box::new(move || runs.next())));
        ahead.pass(0);
        ahead
    }

    #[test]
    fn what_has_passed_is_forgotten() {
        let mut ahead = ahead(vec![
            (7, 0, 10),
            (8, 0, 5),
            (7, 3, 2),
            (7, 4, 3),
            (7, 20, 1),
        ]);
        assert_eq!(ahead.places(7), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 20]);
        ahead.pass(8);
        assert_eq!(ahead.places(7), [3, 4, 5, 6, 8, 9, 20]);
        assert_eq!((ahead.next_use(7), ahead.next_use(8)), (Some(8), Some(10)));
        ahead.pass(4);
        assert_eq!((ahead.next_use(7), ahead.next_use(8)), (Some(15), Some(12)));
        assert_eq!(ahead.places(8), [2, 3, 4]);
        ahead.pass(9);
        assert_eq!((ahead.next_use(7), ahead.next_use(8)), (None, None));
        assert!(ahead.frames.is_empty() && ahead.order.is_empty());
        assert!(ahead.places(7).is_empty());
    }

    #[test]
    fn only_so_many_runs_are_held() {
        let total = 10 * MOST_RUNS as u64;
        let mut left = total;
        let mut ahead = Ahead::new(Some(Box::new(move || {
            left = left.checked_sub(1)?;
            Some((left % 100, 1, 2))
        })));
        for passed in 0..total {
            ahead.pass(2);
            assert!(ahead.order.len() <= MOST_RUNS);
            let left = total - passed - 1;
            assert!(ahead.order.len() as u64 >= left.min(MOST_RUNS as u64 / 2));
        }
        assert!(ahead.frames.is_empty());
    }

    #[test]
    fn without_hints_nothing_is_known() {
        let mut ahead = Ahead::new(None);
        ahead.pass(1000);
        assert_eq!(ahead.next_use(0), None);
    }
}
