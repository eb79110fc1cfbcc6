//! Finds the frames of a file by their sync markers, where no table of contents is left
//! (`formats/frame.md#what-a-reader-does-with-a-fault`).

use std::fs::File;
use std::ops::Range;

use super::read::{Unread, fill, read_at};
use crate::archive::Monitor;
use crate::error::Result;
use crate::format::frame::{FRAME_MAGIC, FrameHeader, MAX_HEADER_LENGTH};

/// Read at a time.
const WINDOW: usize = 1 << 20;

/// What a scan has left over.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scanned {
    /// Frames that were taken.
    pub(super) frames: u64,
    /// Where there is none, from the first frame on.
    pub(super) gaps: Vec<Range<u64>>,
}

/// Ranges are told apart up to so many; the last then goes on to the end.
const MOST_GAPS: usize = 10_000;

/// Calls `take` with offset and bytes of each frame in `file[start..end]` whose header
/// verifies; what it takes (`true`) is passed over, all else is searched on.
/// What cannot be read holds no frame.
///
/// # Errors
/// Those of `take`; [`crate::Error::Interrupted`].
pub(super) fn scan(
    file: &File,
    range: Range<u64>,
    monitor: &Monitor,
    take: &mut dyn FnMut(u64, &mut Vec<u8>) -> Result<bool>,
) -> Result<Scanned> {
    let mut scan = Scan {
        file,
        end: range.end,
        window: Vec::new(),
        window_start: range.start,
        frame: Vec::new(),
    };
    let mut scanned = Scanned::default();
    let mut taken = range.start;
    let mut at = range.start;
    while let Some(candidate) = scan.next_marker(at, monitor)? {
        at = candidate + 1;
        if let Some(length) = scan.load(candidate)
            && take(candidate, &mut scan.frame)?
        {
            scanned.gap(taken..candidate);
            scanned.frames += 1;
            at = candidate + length;
            taken = at;
        }
    }
    scanned.gap(taken..range.end);
    Ok(scanned)
}

impl Scanned {
    fn gap(&mut self, gap: Range<u64>) {
        if gap.is_empty() {
            return;
        }
        if self.gaps.len() < MOST_GAPS {
            self.gaps.push(gap);
        } else if let Some(last) = self.gaps.last_mut() {
            last.end = gap.end;
        }
    }
}

struct Scan<'a> {
    file: &'a File,
    end: u64,
    window: Vec<u8>,
    window_start: u64,
    frame: Vec<u8>,
}

impl Scan<'_> {
    /// Where the next marker stands, from `at` on.
    fn next_marker(&mut self, mut at: u64, monitor: &Monitor) -> Result<Option<u64>> {
        while at + FRAME_MAGIC.len() as u64 <= self.end {
            monitor.check()?;
            self.move_to(at);
            let from = usize::try_from(at - self.window_start).unwrap_or(usize::MAX);
            let searched = self.window.get(from..).unwrap_or_default();
            let found = searched
                .windows(FRAME_MAGIC.len())
                .position(|bytes| bytes == FRAME_MAGIC);
            if let Some(found) = found {
                return Ok(Some(at + found as u64));
            }
            // A marker may begin in the last bytes of the window.
            let passed = searched.len().saturating_sub(FRAME_MAGIC.len() - 1);
            at += passed.max(1) as u64;
        }
        Ok(None)
    }

    /// Sees to it that the window holds a whole marker at `at`, if one stands there.
    fn move_to(&mut self, at: u64) {
        let window_end = self.window_start + self.window.len() as u64;
        if at >= self.window_start && at + FRAME_MAGIC.len() as u64 <= window_end {
            return;
        }
        self.window_start = at;
        let length = usize::try_from(self.end - at).unwrap_or(usize::MAX);
        self.window.clear();
        self.window.resize(length.min(WINDOW), 0);
        if fill(self.file, at, &mut self.window).is_err() {
            self.read_in_pieces(at);
        }
    }

    /// What cannot be read stays zero.
    fn read_in_pieces(&mut self, at: u64) {
        const PIECE: usize = 4096;
        for (number, piece) in (0_u64..).zip(self.window.chunks_mut(PIECE)) {
            if fill(self.file, at + number * PIECE as u64, piece).is_err() {
                piece.fill(0);
            }
        }
    }

    /// Reads the frame at `at`, if the header is one; its length.
    fn load(&mut self, at: u64) -> Option<u64> {
        let room = usize::try_from(self.end - at).unwrap_or(usize::MAX);
        let head = room.min(MAX_HEADER_LENGTH as usize);
        self.read(at, head).ok()?;
        let length = FrameHeader::decode(&self.frame).ok()?.frame_length();
        if u64::from(length) > self.end - at {
            return None;
        }
        self.read(at, length as usize).ok()?;
        Some(u64::from(length))
    }

    fn read(&mut self, at: u64, length: usize) -> Result<(), Unread> {
        read_at(self.file, at, length, &mut self.frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::frame::{Codec, FrameFields};
    use crate::id::{Class, Epoch, Salt, Siv, StoreId};
    use std::io::Write;

    /// Something with a good header.
    fn frame(number: u32, sealed: u32) -> Vec<u8> {
        let fields = FrameFields {
            store_id: StoreId([1; 16]),
            salt: Salt([2; 16]),
            number,
            epoch: Epoch::FIRST,
            class: Class::Data,
            codec: Codec::Stored,
            siv: Siv([3; 16]),
        };
        let mut entry = Vec::new();
        crate::format::recipient::Recipient::known(crate::id::KeyId([7; 16]), &[5; 1120], &[6; 48])
            .encode(&mut entry);
        let mut bytes = Vec::new();
        fields.encode(sealed, 1, &entry, &mut bytes);
        bytes.resize(bytes.len() + sealed as usize, 9);
        bytes
    }

    fn scanned(bytes: &[u8], takes: impl Fn(u64) -> bool) -> (Vec<u64>, Scanned) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let mut found = Vec::new();
        let range = 0..bytes.len() as u64;
        let scanned = scan(&file, range, &Monitor::default(), &mut |at, _| {
            found.push(at);
            Ok(takes(at))
        });
        (found, scanned.unwrap())
    }

    #[test]
    fn frames_are_found_at_any_offset() {
        let (one, two) = (frame(0, 40), frame(1, 3000));
        for before in [0, 1, 80, WINDOW - 4, WINDOW - 1, WINDOW, 2 * WINDOW - 3] {
            let bytes = [vec![0; before], one.clone(), vec![7; 5], two.clone()].concat();
            let (found, scanned) = scanned(&bytes, |_| true);
            let behind = before + one.len();
            let second = behind as u64 + 5;
            assert_eq!(found, [before as u64, second], "{before}");
            assert_eq!(scanned.frames, 2);
            let mut gaps = vec![0..before as u64, behind as u64..second];
            gaps.retain(|gap| !gap.is_empty());
            assert_eq!(scanned.gaps, gaps);
        }
    }

    #[test]
    fn what_is_not_taken_is_searched_on() {
        let inner = frame(5, 40);
        let mut outer = frame(0, 4000);
        let at = outer.len() - 2000;
        outer[at..][..inner.len()].copy_from_slice(&inner);
        let (found, scanned) = scanned(&outer, |at| at > 0);
        assert_eq!(found, [0, at as u64]);
        let end = (at + inner.len()) as u64;
        assert_eq!(scanned.gaps, [0..at as u64, end..outer.len() as u64]);
    }

    #[test]
    fn a_header_that_says_more_than_there_is_costs_nothing() {
        let whole = frame(1, 40);
        let cut = &frame(0, 60_000_000)[..2000];
        let (found, scanned) = scanned(&[cut, &whole].concat(), |_| true);
        assert_eq!(found, [2000]);
        assert!(matches!(&scanned.gaps[..], [gap] if *gap == (0..2000)));
    }
}
