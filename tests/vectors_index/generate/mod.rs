//! Makes the vectors.
#![expect(
    clippy::too_many_lines,
    reason = "tables of cases, one fault a row, are read row by row"
)]

mod bodies;
mod bricks;
mod copies;
mod ends;
mod maps;
mod records;
mod restores;
mod trailers;

use super::forge;
use super::harness::{Made, PREFIX_FAULTS};
use super::tokens::to_tokens;
use super::vector::Vector;
use super::write::{Archive, Index};

impl Made {
    /// An index whose bytes, and bricks, a reader refuses.
    fn bad(&mut self, name: &str, comment: &str, expect: &str, index: &[u8], bricks: &[&[u8]]) {
        let vector = index_vector(comment, expect, index, bricks);
        self.add(name, vector);
    }

    /// As [`Made::bad`], where some of `archive`'s stream may come out before the fault is found.
    fn late(
        &mut self,
        name: &str,
        comment: &str,
        expect: &str,
        index: &[u8],
        bricks: &[&[u8]],
        archive: &Archive,
    ) {
        let vector = index_vector(comment, expect, index, bricks);
        self.add(name, vector.with("stream", to_tokens(&archive.stream)));
    }

    /// An index that yields the stream of `archive`.
    fn good(
        &mut self,
        name: &str,
        comment: &str,
        index: &[u8],
        bricks: &[&[u8]],
        archive: &Archive,
    ) {
        self.late(name, comment, "ok", index, bricks, archive);
    }

    /// As [`Made::good`], for an index without bricks.
    fn plain(&mut self, name: &str, comment: &str, index: &Index, archive: &Archive) {
        self.good(name, comment, &index.bytes(), &[], archive);
    }

    /// As [`Made::bad`], for an index without bricks.
    fn refused(&mut self, name: &str, comment: &str, expect: &str, index: &Index) {
        self.bad(name, comment, expect, &index.bytes(), &[]);
    }
}

pub fn all() -> Vec<(String, Vector)> {
    [
        ends::numbers(),
        records::records(),
        bodies::runs(),
        bodies::lists(),
        ends::ends(),
        ends::compressed(),
        trailers::trailers(),
        trailers::summaries(),
        maps::maps(),
        bricks::bricks(),
        bricks::hints(),
        restores::restores(),
    ]
    .into_iter()
    .flat_map(|made| made.vectors)
    .collect()
}

fn index_vector(comment: &str, expect: &str, index: &[u8], bricks: &[&[u8]]) -> Vector {
    let vector = Vector::new(comment, expect)
        .with_hex("master", forge::master())
        .with_hex("store-id", forge::STORE)
        .with("index", to_tokens(index));
    bricks.iter().fold(vector, |vector, brick| {
        vector.with("brick", to_tokens(brick))
    })
}

/// Faults of the prefix at `offset`: name, comment, expectation and bytes.
fn prefix_faults(
    good: &[u8],
    offset: usize,
) -> Vec<(&'static str, &'static str, &'static str, Vec<u8>)> {
    PREFIX_FAULTS
        .into_iter()
        .map(|(name, comment, expect, place, byte)| {
            let mut bytes = good.to_vec();
            bytes[offset + place] = byte;
            (name, comment, expect, bytes)
        })
        .collect()
}

/// A header block of a file with this size in the index, and so much of a name.
fn header(name: &[u8], size: u64) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name);
    block[100..108].copy_from_slice(b"0000644\0");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[136..148].copy_from_slice(b"14512345670\0");
    block[148..156].fill(b' ');
    block[156] = b'0';
    block[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}
