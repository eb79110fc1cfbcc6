//! Bytes to structs and back, without any I/O: one file for each page of `formats/`.

pub mod record;
pub mod trailer;
pub mod wire;
