//! The decoder that all formats share never panics, and what it accepts as
//! `uv` is the one shortest form.
#![no_main]

use dtar::format::wire::{Decoder, put_uv};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut decoder = Decoder::new("fuzz", data);
    if let Ok(value) = decoder.uv("number") {
        let mut again = Vec::new();
        put_uv(&mut again, value);
        assert_eq!(again, data[..decoder.position()]);
    }
    let _ = Decoder::new("fuzz", data).prefix(b"dtarBODY");
    let mut known = Vec::new();
    let result = Decoder::new("fuzz", data).fields(|tag, _| {
        assert!(!known.contains(&tag), "field {tag} reported twice");
        known.push(tag);
        Ok(tag % 2 == 0)
    });
    if result.is_ok() {
        assert!(known.iter().all(|tag| *tag < 128 || tag % 2 == 0));
    }
});
