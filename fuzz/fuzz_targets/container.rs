//! Labels and catalogs of containers: any text is read or refused, what is read is written
//! alike, and takes no more memory than its lines.
#![no_main]

use std::path::Path;

use dtar::format::container::{Label, Line, MAX_CONTAINERS, MemberName};
use dtar::tape::{Catalog, Sha256Sum};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(label) = Label::decode(data) {
        assert!((1..=MAX_CONTAINERS).contains(&label.number));
        assert_eq!(Label::decode(label.to_string().as_bytes()), Ok(label));
    }
    let mut lines = 0;
    for line in data.split(|&byte| byte == b'\n') {
        lines += 1;
        match Line::decode(line, 0) {
            Ok(Line::Other) | Err(_) => {}
            Ok(known) => assert_eq!(known.to_string().as_bytes(), line),
        }
        let name = std::str::from_utf8(line)
            .ok()
            .and_then(|line| line.parse::<MemberName>().ok());
        if let Some(name) = name {
            assert_eq!(name.to_string().as_bytes(), line);
            assert!(!name.to_string().contains("..") && name.to_string().len() < 100);
        }
    }
    // Nobody finds a SHA-256 by chance.
    let mut text = data.to_vec();
    if text.last().is_some_and(|&last| last != b'\n') {
        text.push(b'\n');
    }
    let sum = Sha256Sum::of(&text);
    text.extend_from_slice(format!("end 77 {sum}\n").as_bytes());
    let Ok((catalog, end)) = Catalog::parse(&text, Path::new("catalog")) else {
        return;
    };
    if end != 77 {
        // The text had an end of its own, with its sum.
        return;
    }
    assert!(catalog.containers.len() + catalog.places.len() <= lines);
    let mut written = Vec::new();
    catalog.encode(end, &mut written);
    let again = Catalog::parse(&written, Path::new("written")).unwrap();
    assert_eq!(again, (catalog, end));
    // One with itself is itself.
    let mut both = again.0.clone();
    both.absorb(&again.0);
    assert_eq!(both, again.0);
});
