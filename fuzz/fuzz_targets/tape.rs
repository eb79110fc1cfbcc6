//! Labels of tapes and names on them: any text is read or refused, and what is read is
//! written alike.
#![no_main]

use dtar::format::tape::{ContainerName, Label, MAX_BLOCK, SetPrefix, TapeFile, TapeName};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(label) = Label::parse(data) {
        assert!(label.block <= MAX_BLOCK && label.block % 512 == 0);
        let mut written = String::new();
        label.encode(&mut written);
        assert_eq!(Label::parse(written.as_bytes()), Ok(label));
    }
    for line in data.split(|&byte| byte == b'\n') {
        let Ok(text) = std::str::from_utf8(line) else {
            continue;
        };
        if let Ok(name) = text.parse::<TapeFile>() {
            assert_eq!(name.to_string(), text);
        }
        if let Ok(name) = text.parse::<ContainerName>() {
            assert_eq!(name.to_string(), text);
        }
        if let Ok(set) = text.parse::<SetPrefix>() {
            assert_eq!(set.to_string(), text);
        }
        if let Ok(name) = text.parse::<TapeName>() {
            assert_eq!(name.to_string(), text);
            assert!(!text.contains('/') && text.len() <= 32);
        }
    }
});
