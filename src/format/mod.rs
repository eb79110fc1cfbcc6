//! Bytes to structs and back, without any I/O: one file for each page of `formats/`.

pub mod brick;
pub mod container;
pub mod frame;
pub mod frames;
pub mod keyfile;
pub mod lock;
pub mod note;
pub mod origins;
pub mod parity;
pub mod recipient;
pub mod record;
pub mod root;
pub mod sealed;
pub mod snapshot;
pub mod tape;
pub mod toc;
pub mod trailer;
pub mod wire;
