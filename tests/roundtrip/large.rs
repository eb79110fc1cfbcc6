//! Many members, and one that is larger than what a size field in octal holds.

use crate::check::whole;
use crate::common::Case;
use crate::common::block::{Header, Stream, base256};
use crate::common::listing::Listing;
use crate::common::sandbox::Sandbox;
use crate::common::source::{Pieces, Random};

#[test]
fn ten_thousand_tiny_files() {
    let stream = (0..10_000).fold(Stream::new(), |stream, number: u32| {
        let body = number
            .to_string()
            .repeat(usize::try_from(number % 40).unwrap());
        stream.file(&format!("d{}/f{number}", number % 100), body.as_bytes())
    });
    let listing = whole(&Sandbox::new(), &Case::new("tiny files", stream.end()));
    assert!(matches!(listing, Listing::Alike(10_000) | Listing::Skipped));
}

/// The stream: a member of 9 GiB, nearly all of it a hole, and a small one behind.
fn nine_gibibytes() -> Pieces<impl Iterator<Item = Vec<u8>>> {
    const PIECE: usize = 1 << 20;
    const PIECES: u64 = 9 << 10;
    let header = Header::gnu("large", 0).size_field(&base256(PIECES << 20));
    let body = (0..PIECES).map(|number| {
        let mut piece = vec![0; PIECE];
        if number % 499 == 498 {
            let place = usize::try_from(number).unwrap() * 7 % (PIECE - 1000);
            Random(number).fill(&mut piece[place..place + 1000]);
        }
        piece
    });
    let end = Stream::new().file("small", b"behind the large one").end();
    Pieces::new(
        std::iter::once(header.0.to_vec())
            .chain(body)
            .chain(std::iter::once(end)),
    )
}

#[test]
fn a_member_of_nine_gibibytes() {
    let sandbox = Sandbox::new();
    let index = sandbox.archive("index.tar", nine_gibibytes());
    sandbox.restores(&index, nine_gibibytes());
    let length = std::fs::metadata(&index).unwrap().len();
    assert!(length < 64 << 10, "an index of {length} bytes");
    let stored: u64 = sandbox
        .stored_files()
        .iter()
        .map(|path| std::fs::metadata(path).unwrap().len())
        .sum();
    assert!(stored < 32 << 20, "{stored} bytes in the store for a hole");
}
