//! Good streams with some bytes overwritten, moved, doubled or left out.

use crate::check::whole;
use crate::common::Case;
use crate::common::block::{Header, Stream};
use crate::common::sandbox::Sandbox;
use crate::common::source::Random;

fn good() -> Vec<u8> {
    let mut random = Random(20);
    Stream::new()
        .file("file", b"a body")
        .pax(b'x', &[("path", b"a name from pax"), ("size", b"700")])
        .header(&Header::file("shadowed", 700))
        .body(&random.bytes(700))
        .header(&Header::gnu("link", 0).link("file").typeflag(b'2'))
        .header(&Header::extension(b'L', 200))
        .body(&[b'n'; 200])
        .header(&Header::gnu("long", 3000))
        .body(&random.bytes(3000))
        .zeros(1)
        .file("last", b"last")
        .end()
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    let limit = bytes.len() as u64;
    let place = usize::try_from(random.below(limit)).unwrap();
    let length = usize::try_from(random.below(40) + 1)
        .unwrap()
        .min(bytes.len() - place);
    match random.below(6) {
        0 => bytes[place] ^= 1 << random.below(8),
        1 => random.fill(&mut bytes[place..place + length]),
        2 => bytes[place..place + length].fill(0),
        3 => drop(bytes.drain(place..place + length)),
        4 => {
            let block = place / 512 * 512;
            let copy = bytes[block..(block + 512).min(bytes.len())].to_vec();
            bytes.splice(block..block, copy);
        }
        _ => {
            // A size field, with the checksum made good again.
            let block = place / 512 * 512;
            if let Some(header) = bytes.get(block..block + 512) {
                let header = Header(header.try_into().unwrap());
                let size = random.next() >> random.below(64);
                let field = format!("{:011o}\0", size % (1 << 33));
                let header = header.field(124, field.as_bytes()).sum();
                bytes[block..block + 512].copy_from_slice(&header.0);
            }
        }
    }
}

#[test]
fn a_hundred_and_fifty_of_them() {
    let sandbox = Sandbox::new();
    let mut random = Random(21);
    for number in 0..150 {
        let mut bytes = good();
        for _ in 0..=random.below(4) {
            mutate(&mut bytes, &mut random);
        }
        whole(&sandbox, &Case::new(format!("mutation {number}"), bytes));
    }
}
