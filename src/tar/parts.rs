//! What a verbatim run of an index consists of, once it is restored.

use super::{BodyKind, Event, Splitter};

/// A piece of a verbatim run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// A header group, or extension headers that no main header follows.
    Group {
        /// Its bytes.
        bytes: &'a [u8],
        /// Whether its body follows the run. Only ever true of the last part.
        has_body: bool,
    },
    /// So many zero blocks.
    ZeroBlocks(u64),
}

/// The parts of `run`, in order. `body_follows`: a member's body stands behind
/// the run, that is, its record has kind 0.
///
/// It ends early where the run is not one that a writer makes.
pub fn parts(run: &[u8], body_follows: bool) -> impl Iterator<Item = Part<'_>> {
    let mut splitter = Splitter::new();
    let mut ended = false;
    std::iter::from_fn(move || {
        if ended {
            return None;
        }
        let position = usize::try_from(splitter.offset()).ok()?;
        let step = splitter.next(run.get(position..)?, false);
        let end = position + step.consumed;
        let group = |length: usize, has_body| {
            let bytes = run.get(end.checked_sub(length)?..end)?;
            Some(Part::Group { bytes, has_body })
        };
        match step.event {
            Event::ZeroBlocks(count) => return Some(Part::ZeroBlocks(count)),
            Event::Group => return group(splitter.group().len(), false),
            _ => ended = true,
        }
        if let Event::BodyStart { kind, .. } = step.event {
            let length = splitter.group().len();
            return (kind == BodyKind::Member).then(|| group(length, true))?;
        }
        // The splitter waits for what is not in the run.
        match (splitter.pending_group(), splitter.pending_zeros()) {
            (0, 0) => None,
            (0, count) => Some(Part::ZeroBlocks(count)),
            (length, _) => group(length, body_follows),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::BLOCK;
    use super::super::header::tests::header;
    use super::*;

    fn told(run: &[u8], body_follows: bool) -> Vec<(usize, bool)> {
        let mut position = 0;
        parts(run, body_follows)
            .map(|part| match part {
                Part::ZeroBlocks(count) => {
                    let length = BLOCK * usize::try_from(count).unwrap();
                    position += length;
                    (length, false)
                }
                Part::Group { bytes, has_body } => {
                    assert_eq!(bytes, &run[position..][..bytes.len()]);
                    position += bytes.len();
                    (bytes.len(), has_body)
                }
            })
            .collect()
    }

    #[test]
    fn a_run_is_taken_to_pieces() {
        let directory = header(b'5', 0);
        let link = header(b'1', 5);
        let extension = header(b'x', 0);
        let file = header(b'0', 5);
        let run = [
            &directory[..],
            &link,
            &extension,
            &[0; 2 * BLOCK],
            &link,
            &extension,
            &file,
        ]
        .concat();
        let mut expected = vec![
            (512, false),
            (512, false),
            (512, false),
            (1_024, false),
            (512, false),
            (1_024, true),
        ];
        assert_eq!(told(&run, true), expected);
        let end = run.len();
        let bodyless = [&run[..end - 512], &directory].concat();
        expected[5].1 = false;
        assert_eq!(told(&bodyless, false), expected);
    }

    #[test]
    fn a_run_may_end_with_anything_whole() {
        assert_eq!(told(&[], false), []);
        assert_eq!(told(&[0; 3 * BLOCK], false), [(1_536, false)]);
        assert_eq!(told(&header(b'1', 5), true), [(512, true)]);
        assert_eq!(told(&header(b'1', 5), false), [(512, false)]);
        assert_eq!(told(&header(b'x', 0), false), [(512, false)]);
    }

    #[test]
    fn garbage_ends_it() {
        let directory = header(b'5', 0);
        assert_eq!(told(&[&directory[..], &[1; BLOCK]].concat(), true).len(), 1);
        assert_eq!(parts(&[1; 100], true).count(), 0);
    }
}
