//! What the server can check about what it gets, and what it says about what it has.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use aws_smithy_types::base64;
use md5::{Digest, Md5};
use sha2::Sha256;

use super::bucket::Object;
use crate::error::{Error, Result};
use crate::id::BrickName;

/// MD5 and SHA-256 of what is sent at once. All servers check the first, some the second;
/// neither has to withstand anybody: names are BLAKE3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checksums {
    md5: [u8; 16],
    sha256: [u8; 32],
}

impl Checksums {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self {
            md5: Md5::digest(bytes).into(),
            sha256: Sha256::digest(bytes).into(),
        }
    }

    pub(super) fn md5(&self) -> String {
        base64::encode(self.md5)
    }

    pub(super) fn sha256(&self) -> String {
        base64::encode(self.sha256)
    }

    /// Whether an etag may be that of these bytes: it is an MD5, or of another kind.
    pub(super) fn may_be(&self, etag: Option<&str>) -> bool {
        etag.and_then(md5_of)
            .is_none_or(|md5| md5 == hex(&self.md5))
    }

    /// Whether the server says that it has exactly these bytes.
    pub(super) fn are(&self, sha256: Option<&str>, etag: Option<&str>) -> bool {
        match sha256 {
            Some(sha256) => sha256 == self.sha256(),
            None => etag.and_then(md5_of) == Some(hex(&self.md5)),
        }
    }
}

/// The MD5 that an etag is, if it looks like one.
fn md5_of(etag: &str) -> Option<String> {
    let etag = etag.trim_matches('"');
    let is_hex = |byte: u8| byte.is_ascii_hexdigit();
    (etag.len() == 32 && etag.bytes().all(is_hex)).then(|| etag.to_ascii_lowercase())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Whether an object is a copy of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    /// By length, and by a checksum of the server's.
    Same,
    /// By length; the server gives no checksum to compare.
    SameLength,
    /// The file's hash is not its name.
    FileDamaged,
    /// They differ, or nobody can tell in what parts the server counts.
    Other,
}

/// Part sizes in MiB that tools use; the server says only how many parts there were.
const PART_SIZES: [u64; 9] = [16, 15, 8, 5, 10, 32, 50, 64, 100];
/// If none of these fits, and so few in whole MiB do, all of them are tried.
const MOST_SIZES: u64 = 8;
/// Parts that anybody sends, at most.
const MOST_PARTS: u64 = 10_000;

/// The lengths that the parts of an object may have had, of which there were `count`.
fn part_sizes(length: u64, count: u64, own_part: u64) -> Vec<u64> {
    if !(1..=MOST_PARTS).contains(&count) {
        return Vec::new();
    }
    let mut sizes = PART_SIZES.map(|size| size << 20).to_vec();
    sizes.push(own_part);
    sizes.sort_unstable();
    sizes.dedup();
    sizes.retain(|size| *size > 0 && length.div_ceil(*size) == count);
    if !sizes.is_empty() {
        return sizes;
    }
    let least = length.div_ceil(count).div_ceil(1 << 20);
    let more = (least..=least + MOST_SIZES).map(|size| size << 20);
    let more: Vec<u64> = more
        .take_while(|size| *size > 0 && length.div_ceil(*size) == count)
        .collect();
    if more.len() as u64 <= MOST_SIZES {
        more
    } else {
        Vec::new()
    }
}

/// Compares a brick's file with an object, reading the file once.
pub(super) fn compare(
    path: &Path,
    name: &BrickName,
    object: &Object,
    own_part: u64,
) -> Result<Comparison> {
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    let length = file.metadata().map_err(Error::io("read", path))?.len();
    let readings = Sums::readings(object, length, own_part);
    let is_silent = readings.is_none();
    let mut sums = readings.unwrap_or_default();
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).map_err(Error::io("read", path))?;
        let bytes = &buffer[..read];
        if bytes.is_empty() {
            break;
        }
        hasher.update(bytes);
        for sum in &mut sums {
            sum.update(bytes);
        }
    }
    if hasher.finalize().as_bytes() != name.as_bytes() {
        return Ok(Comparison::FileDamaged);
    }
    if length != object.length {
        return Ok(Comparison::Other);
    }
    if is_silent {
        return Ok(Comparison::SameLength);
    }
    let same = sums.into_iter().any(Sums::matches);
    Ok(if same {
        Comparison::Same
    } else {
        Comparison::Other
    })
}

/// A hash, and of how many parts it is; 0: of the whole.
fn hash_and_count(text: &str) -> (&str, u64) {
    match text.rsplit_once('-') {
        Some((hash, count)) => (hash, count.parse().unwrap_or(0)),
        None => (text, 0),
    }
}

/// A checksum that the server names, under one reading of how it was made.
struct Sums {
    expected: String,
    is_sha256: bool,
    /// 0: of the whole object.
    part: u64,
    in_part: u64,
    md5: Md5,
    sha256: Sha256,
    /// The hashes of the parts so far.
    parts: Vec<u8>,
    count: u64,
}

impl Sums {
    /// All readings of what the server says, none if its parts have no size that is known;
    /// `None`: it says nothing of use. One that matches is enough: nobody gets two of
    /// these hashes right by accident.
    fn readings(object: &Object, length: u64, own_part: u64) -> Option<Vec<Self>> {
        let etag = object.etag.as_ref().filter(|_| object.etag_is_md5);
        let etag = etag.filter(|etag| md5_of(hash_and_count(etag).0).is_some());
        let said = [(&object.sha256, true), (&etag.cloned(), false)];
        let mut readings = Vec::new();
        let mut is_silent = true;
        for (expected, is_sha256) in said {
            let Some(expected) = expected else {
                continue;
            };
            is_silent = false;
            let count = hash_and_count(expected).1;
            if count == 0 {
                readings.push(Self::of(expected, is_sha256, 0));
                continue;
            }
            let sizes = part_sizes(length, count, own_part).into_iter();
            readings.extend(sizes.map(|size| Self::of(expected, is_sha256, size)));
        }
        (!is_silent).then_some(readings)
    }

    fn of(expected: &str, is_sha256: bool, part: u64) -> Self {
        Self {
            expected: expected.to_owned(),
            is_sha256,
            part,
            in_part: 0,
            md5: Md5::new(),
            sha256: Sha256::new(),
            parts: Vec::new(),
            count: 0,
        }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        while self.part > 0 && self.in_part + bytes.len() as u64 >= self.part {
            let room = usize::try_from(self.part - self.in_part).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.take(now);
            self.end_part();
            bytes = later;
        }
        self.take(bytes);
    }

    fn take(&mut self, bytes: &[u8]) {
        self.in_part += bytes.len() as u64;
        if self.is_sha256 {
            self.sha256.update(bytes);
        } else {
            self.md5.update(bytes);
        }
    }

    fn end_part(&mut self) {
        self.in_part = 0;
        self.count += 1;
        if self.is_sha256 {
            self.parts.extend_from_slice(&self.sha256.finalize_reset());
        } else {
            self.parts.extend_from_slice(&self.md5.finalize_reset());
        }
    }

    fn matches(mut self) -> bool {
        let found = if self.part == 0 {
            self.end_part();
            self.shown(&self.parts)
        } else {
            if self.in_part > 0 {
                self.end_part();
            }
            let of_parts = if self.is_sha256 {
                Sha256::digest(&self.parts).to_vec()
            } else {
                Md5::digest(&self.parts).to_vec()
            };
            format!("{}-{}", self.shown(&of_parts), self.count)
        };
        found == self.expected
    }

    fn shown(&self, hash: &[u8]) -> String {
        if self.is_sha256 {
            base64::encode(hash)
        } else {
            hex(hash)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bucket::State;
    use super::*;

    fn object(length: usize, etag: Option<String>, sha256: Option<String>) -> Object {
        Object {
            length: length as u64,
            etag,
            etag_is_md5: true,
            sha256,
            class: None,
            expiry: None,
            state: State::Hot,
        }
    }

    #[test]
    fn parts_of_long_bricks_are_of_lengths_that_are_found() {
        // A brick of 1 TiB does not go up in 10,000 parts of 16 MiB, but of 105 MiB.
        assert_eq!(part_sizes(1 << 40, 9987, 16 << 20), [105 << 20]);
        assert_eq!(part_sizes(64 << 20, 4, 16 << 20), [16 << 20]);
        // Sent with --part-size 20M, compared without.
        assert!(part_sizes(99 << 20, 5, 16 << 20).contains(&(20 << 20)));
        assert!(part_sizes(64 << 20, 0, 16 << 20).is_empty());
        assert!(part_sizes(1 << 40, u64::MAX, 16 << 20).is_empty());
        assert!(part_sizes(0, 7, 0).is_empty());
    }

    #[test]
    fn a_copy_is_known_by_each_of_the_checksums_that_servers_give() {
        let bytes: Vec<u8> = (0..(6 << 20) + 5).map(|at: u32| (at % 251) as u8).collect();
        let name = BrickName(*blake3::hash(&bytes).as_bytes());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("brick");
        std::fs::write(&path, &bytes).unwrap();
        let whole = Checksums::of(&bytes);
        let parts: Vec<Checksums> = bytes.chunks(5 << 20).map(Checksums::of).collect();
        let md5s: Vec<u8> = parts.iter().flat_map(|part| part.md5).collect();
        let sha256s: Vec<u8> = parts.iter().flat_map(|part| part.sha256).collect();
        let of_parts = format!("{}-2", hex(&Checksums::of(&md5s).md5));
        let sha256_of_parts = format!("{}-2", Checksums::of(&sha256s).sha256());
        let no_count = Checksums::of(&sha256s).sha256();
        let wrong = format!("{}-2", "0".repeat(32));
        let many = format!("{}-999", "0".repeat(32));
        let length = bytes.len();
        for (length, etag, sha256, expected) in [
            (length, Some(hex(&whole.md5)), None, Comparison::Same),
            (length, Some(of_parts.clone()), None, Comparison::Same),
            (length, None, Some(whole.sha256()), Comparison::Same),
            (length, None, Some(sha256_of_parts), Comparison::Same),
            // Some servers leave the number of parts out.
            (
                length,
                Some(of_parts.clone()),
                Some(no_count),
                Comparison::Same,
            ),
            (length, Some(wrong), None, Comparison::Other),
            (length, Some(many), None, Comparison::Other),
            (length, Some(hex(&[0; 16])), None, Comparison::Other),
            (length + 1, Some(hex(&whole.md5)), None, Comparison::Other),
            (length, None, None, Comparison::SameLength),
            (length, Some("W/abc".into()), None, Comparison::SameLength),
        ] {
            let object = object(length, etag, sha256);
            let found = compare(&path, &name, &object, 16 << 20).unwrap();
            assert_eq!(found, expected, "{object:?}");
        }
        let other = BrickName([1; 32]);
        let object = object(length, Some(hex(&whole.md5)), None);
        let found = compare(&path, &other, &object, 16 << 20).unwrap();
        assert_eq!(found, Comparison::FileDamaged);
    }

    #[test]
    fn an_etag_that_is_no_md5_says_nothing() {
        let sums = Checksums::of(b"bytes");
        let own = format!("\"{}\"", hex(&sums.md5));
        assert!(sums.may_be(Some(&own)) && sums.are(None, Some(&own)));
        assert!(sums.may_be(Some("\"x-1\"")) && !sums.are(None, Some("\"x-1\"")));
        assert!(sums.may_be(None) && !sums.are(None, None));
        assert!(!sums.may_be(Some(&hex(&[0; 16]))));
        assert!(sums.are(Some(&sums.sha256()), None) && !sums.are(Some(""), Some(&own)));
    }
}
