//! A key file is accepted or refused, never stumbled over; and a key that was
//! read is written as it stood.
#![no_main]

use dtar::crypto::KeyFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(KeyFile::Key(key)) = KeyFile::parse(data) else {
        return;
    };
    let text = key.to_text();
    let stands = data
        .windows(text.len())
        .any(|window| window.eq_ignore_ascii_case(text.as_bytes()));
    assert!(stands, "the key is written otherwise than it stood");
    assert!(matches!(
        KeyFile::parse(text.as_bytes()),
        Ok(KeyFile::Key(_))
    ));
});
